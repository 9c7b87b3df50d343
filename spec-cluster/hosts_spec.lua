-- The mpi engine over TCP between hosts that have nothing in common but a bridge.

local lfs = require "lfs"

local cluster = require "spec-cluster.cluster"
local helper = require "spec.helper"

local parlua = helper.quote(helper.parlua)

--- Runs a script in a rank on each host; returns its standard output, after it has ended well.
local function output_of(script, hosts)
  local result
  helper.with_directory(function(directory)
    helper.write(directory .. "/script.lua", 'local parlua = require "parlua"\n' .. script)
    result = helper.run(cluster.mpirun("", hosts) .. parlua .. " " .. directory .. "/script.lua")
  end)
  assert.equal("", result.stderr)
  assert.equal(0, result.status)
  return result.stdout
end

describe("three hosts:", function()
  it("every host works", function()
    local output = output_of [=[
      local hosts = parlua.map(function()
        local until_then = os.clock() + 0.05
        while os.clock() < until_then do end
        return io.open("/proc/sys/kernel/hostname"):read()
      end, parlua.range(30), { chunk = 1 })
      local seen = {}
      for i = 1, hosts.n do seen[hosts[i]] = true end
      print(seen.node1, seen.node2, seen.node3)
    ]=]
    assert.equal("true\ttrue\ttrue\n", output)
  end)

  it("a file that is on one host alone is read there, and the others are named", function()
    helper.with_directory(function(directory)
      helper.write(directory .. "/script.lua", [[
        local parlua = require "parlua"
        local file = io.open("/run/own/words.txt", "w")
        for i = 1, 1000 do file:write("word ", i, "\n") end
        file:close()
        local lines, failures, summary = parlua.map(function(line) return line end, parlua.lines "/run/own/words.txt", { chunk = 1 })
        for i = 1, 1000 do assert(lines[i] == "word " .. i) end
        print(lines.n, #failures, summary.workers)
      ]])
      local result = helper.run(cluster.mpirun() .. parlua .. " --workers 2 " .. directory .. "/script.lua")
      assert.equal("1000\t0\t2\n", result.stdout, result.stderr)
      for rank = 1, 2 do
        assert.truthy(result.stderr:find(("parlua: rank %d on node%d leaves its tasks to others: cannot read '/run/own/words.txt': ")
          :format(rank, rank + 1), 1, true), result.stderr)
      end
    end)
  end)

  it("results are those of a serial run, to the byte", function()
    local arguments = "examples/primes.lua 1 20000"
    local serial = helper.run(parlua .. " --engine serial " .. arguments)
    local ranks = helper.run(cluster.mpirun() .. parlua .. " " .. arguments)
    assert.same({ 0, 0 }, { serial.status, ranks.status })
    assert.is_true(#serial.stdout > 100000)
    assert.is_true(serial.stdout == ranks.stdout)
  end)
end)

describe("parlua.pbs", function()
  it("gives what a serial run gives, with the variables that PBS would set", function()
    helper.with_directory(function(directory)
      local primes = lfs.currentdir() .. "/examples/primes.lua"
      local serial = helper.run(parlua .. " --engine serial " .. primes .. " 1 20000")
      helper.write(directory .. "/nodes", "node1\nnode2\nnode3\n")
      local result = helper.run(cluster.on("node1", "bash examples/cluster/parlua.pbs"), { env = {
        PBS_O_WORKDIR = directory,
        PBS_NODEFILE = directory .. "/nodes",
        NCPUS = "2",
        words = primes .. " 1 20000",
        PATH = helper.parlua:match "^(.*)/" .. ":" .. os.getenv "PATH",
        OMPI_ALLOW_RUN_AS_ROOT = "1",
        OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = "1",
        OMPI_MCA_plm_rsh_agent = lfs.currentdir() .. "/spec-cluster/ssh",
      } })
      assert.equal(0, result.status, result.stderr)
      assert.is_true(result.stdout == serial.stdout)
      assert.truthy(result.stderr:find("20000 tasks, 20000 returned, 0 failed, [%d.]+ s, mpi engine, 3 ranks x 2 workers"), result.stderr)
    end)
  end)
end)

describe("a rank that dies in the midst of a large result, where the launcher lets the job go on,", function()
  it("is named in a minute, its tasks are done by others, and the program ends with its own status on all other ranks", function()
    helper.with_directory(function(directory)
      helper.write(directory .. "/script.lua", [=[
        local parlua = require "parlua"
        local results, failures = parlua.map(function(i)
          local function parent_of(process) return io.open("/proc/" .. process .. "/stat"):read("*a"):match("%) %a (%d+)") end
          if io.open("/proc/sys/kernel/hostname"):read() == "node3" and not io.open "/run/own/killer" then
            local killer = io.open("/run/own/killer", "w")
            killer:write([[
              sent() { awk '/eth0/ { print $10 }' /proc/self/net/dev; }
              before=$(sent)
              while [ $(sent) -lt $((before + 20000000)) ]; do :; done
              kill -KILL ]] .. parent_of(parent_of("self")))
            killer:close()
            os.execute "setsid sh /run/own/killer > /dev/null 2>&1 &"
            return ("x"):rep(900e6)
          end
          os.execute "sleep 0.1"
          return i
        end, parlua.range(60), { chunk = 1 })
        for i = 1, 60 do assert(results[i] == i) end
        print(results.n, #failures)
      ]=])
      local result = helper.run(cluster.mpirun "--enable-recovery" .. "sh -c '" .. parlua .. " --workers 1 " .. directory
        .. "/script.lua; echo rank $OMPI_COMM_WORLD_RANK: $?'", { seconds = 100 })
      os.remove "/run/hosts/node3/own/killer"
      assert.truthy(result.stdout:find("60\t0\n", 1, true), result.stdout .. result.stderr)
      assert.truthy(result.stderr:find("parlua: rank 2 on node3 is lost: it was killed", 1, true), result.stderr)
      for _, told in ipairs { "rank 0: 0\n", "rank 1: 0\n", "rank 2: 137\n" } do
        assert.truthy(result.stdout:find(told, 1, true), result.stdout)
      end
      for _, host in ipairs(cluster.hosts) do cluster.wait_until_idle(host) end
    end)
  end)
end)

describe("a host that is lost in mid-run:", function()
  --- Starts a job on three hosts that would take an hour, cuts node3 off once all have worked, and waits for the end of mpirun.
  local function run_and_cut(launcher)
    local result
    helper.with_directory(function(directory)
      helper.write(directory .. "/slow.lua", [[
        local parlua = require "parlua"
        return { arguments = function() return parlua.range(1e5) end, map = function(x) os.execute "sleep 0.1" return x end }
      ]])
      helper.write(directory .. "/out", "")
      result = helper.run(([[
        %s %s %s/slow.lua > %s/out & job=$!
        while [ $(wc -l < %s/out) -lt 20 ]; do sleep 0.1; done
        ip link set to-node3 down
        wait $job
      ]]):format(launcher, parlua, directory, directory, directory), { seconds = 60 })
      result.stdout = helper.read(directory .. "/out")
    end)
    return result
  end

  teardown(function() cluster.cable("node3", "up") end)

  it("mpirun names it in a minute, if told to look, and nothing is left running on any host", function()
    local result = run_and_cut(cluster.mpirun "--mca oob_tcp_keepalive_time 3 --mca oob_tcp_keepalive_intvl 1 --mca oob_tcp_keepalive_probes 3")
    assert.truthy(result.status ~= 0)
    assert.truthy(result.stderr:find("Remote daemon: [^\n]* on node node3"), result.stderr)
    for index = 1, 20 do
      assert.truthy(result.stdout:find(('{"index":%d,"args":[%d],"result":%d}\n'):format(index, index, index), 1, true), index)
    end
    assert.truthy(result.stderr:find("parlua: rank 2 on node3 is lost", 1, true), result.stderr)
    assert.truthy(result.stderr:find "mpi engine, %d ranks x %d workers?, interrupted by SIGTERM", result.stderr)
    for _, host in ipairs(cluster.hosts) do cluster.wait_until_idle(host) end
  end)
end)
