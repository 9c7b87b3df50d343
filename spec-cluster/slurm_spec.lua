-- The mpi engine under Slurm: its own daemons on three hosts, and the batch scripts of examples/cluster as they stand.

local cluster = require "spec-cluster.cluster"
local helper = require "spec.helper"
local terminal = require "spec.terminal"

local parlua = helper.quote(helper.parlua)

--- What Slurm's commands and jobs get: parlua in their PATH, and leave for root to use mpirun.
local environment = {
  SLURM_PMIX_FENCE = "tree", -- see examples/cluster/README.md
  SLURM_CONF = "/run/slurm/slurm.conf",
  PATH = helper.parlua:match "^(.*)/" .. ":" .. os.getenv "PATH",
  OMPI_ALLOW_RUN_AS_ROOT = "1",
  OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = "1",
}

--- Runs a command on node1, which is where users log in.
local function run(command)
  return helper.run(cluster.on("node1", command), { env = environment })
end

--- Runs a Lua script by a command that ends in `parlua`; returns its output, after it has ended well.
local function output_of(launcher, script)
  local result
  helper.with_directory(function(directory)
    helper.write(directory .. "/script.lua", 'local parlua = require "parlua"\n' .. script)
    result = run(launcher .. " parlua " .. directory .. "/script.lua")
  end)
  assert.equal("", result.stderr)
  assert.equal(0, result.status)
  return result.stdout
end

--- Submits a batch script of examples/cluster with the words after it; returns a function that reads a file of the job ("out", "err"), and
--- the job's number.
local function submit(directory, options, words)
  local result = run(("sbatch --parsable --chdir=%s --nodes=3 --cpus-per-task=2 %s examples/cluster/%s"):format(directory, options, words))
  assert.equal("", result.stderr)
  local number = assert(result.stdout:match "^%d+", result.stdout)
  return function(kind)
    local file = io.open(directory .. "/parlua-" .. number .. "." .. kind)
    local text = file and file:read "*a" or ""
    if file then file:close() end
    return text
  end, number
end

--- Waits until a function returns true; raises what `describe` returns when that takes too long.
local function wait_until(test, describe)
  for _ = 1, 1500 do
    if test() then return end
    os.execute "sleep 0.1"
  end
  error("after 150 seconds: " .. describe(), 2)
end

--- Waits for the end of a job; returns its state and exit status.
local function end_of(number)
  local text
  wait_until(function()
    text = run("scontrol show job " .. number .. " --oneliner").stdout
    local state = text:match "JobState=(%u+)"
    return state == "COMPLETED" or state == "FAILED" or state == "CANCELLED" or state == "TIMEOUT"
  end, function() return text end)
  return text:match "JobState=(%u+)", text:match "ExitCode=(%d+)"
end

local function count(text, pattern) return select(2, text:gsub(pattern, "")) end

--- A job whose tasks take a third of a second each, far longer together than any test waits.
local slow = [[
  local parlua = require "parlua"
  return { arguments = function() return parlua.range(10000) end, map = function(x) os.execute "sleep 0.3" return x end }
]]

describe("Slurm:", function()
  setup(function()
    local result = helper.run "spec-cluster/slurm start"
    assert.equal("", result.stderr)
    assert.equal(0, result.status)
  end)

  teardown(function()
    local result = helper.run "spec-cluster/slurm stop"
    assert.equal("", result.stderr)
    for _, host in ipairs(cluster.hosts) do assert.same({}, cluster.processes(host)) end
  end)

  local which = [=[
    local hosts = parlua.map(function()
      local until_then = os.clock() + 0.05
      while os.clock() < until_then do end
      return io.open("/proc/sys/kernel/hostname"):read()
    end, parlua.range(30), { chunk = 1 })
    local seen = {}
    for i = 1, hosts.n do seen[hosts[i]] = true end
    print(seen.node1, seen.node2, seen.node3)
  ]=]

  it("srun starts ranks, and all hosts work", function()
    assert.equal("true\ttrue\ttrue\n", output_of("srun --quiet --mpi=pmix --nodes=3", which))
  end)

  it("workers are as many as processors were allotted", function()
    local workers = 'print(parlua.cores(), (select(3, parlua.map(math.sqrt, { 1 }))).engine)'
    local cores = tonumber(helper.run("nproc").stdout)
    assert.equal("3\tmpi\n", output_of("srun --quiet --mpi=pmix --nodes=3", workers))
    assert.equal(3 * cores .. "\tmpi\n", output_of("srun --quiet --mpi=pmix --nodes=3 --cpus-per-task=" .. cores, workers))
    assert.equal(3 * cores .. "\tmpi\n", output_of("srun --quiet --mpi=pmix --ntasks=" .. 3 * cores, workers))
    assert.equal("1\tprocess\n", output_of("srun --quiet --ntasks=1 --cpus-per-task=1", workers))
    assert.equal(cores .. "\tprocess\n", output_of("srun --quiet --ntasks=1 --cpus-per-task=" .. cores, workers))
  end)

  it("a batch script without srun or mpirun is no rank", function()
    helper.with_directory(function(directory)
      local script = helper.write(directory .. "/alone.sbatch", "#!/bin/bash\n" .. parlua
        .. [[ -e 'local p = require "parlua" print(p.cores(), select(3, p.map(math.sqrt, { 1 })).engine)']] .. "\n")
      local result = run("sbatch --wait --nodes=3 --cpus-per-task=1 --output=" .. directory .. "/out " .. script)
      assert.equal(0, result.status)
      assert.equal("1\tprocess\n", helper.read(directory .. "/out"))
    end)
  end)

  it("srun without MPI is refused, as each copy would do all the work", function()
    local result = run("srun --nodes=3 parlua -e 'print(#require(\"parlua\").map(math.sqrt, { 4 }))'")
    assert.equal(1, result.status)
    assert.equal("", result.stdout)
    assert.truthy(result.stderr:find("srun started 3 copies of this program, and no MPI joins them", 1, true), result.stderr)
    result = run("srun --nodes=3 parlua --engine process -e 'print(#require(\"parlua\").map(math.sqrt, { 4 }))'")
    assert.same({ 0, "1\n1\n1\n" }, { result.status, result.stdout })
  end)

  describe("srun --pty", function()
    --- Calls a function with a terminal on which srun shows what rank 0 does, at node1.
    local function with_prompt(options, columns, body)
      local here = helper.run("pwd").stdout:match "[^\n]+"
      terminal.with_prompt({ command = here .. "/" .. cluster.on("node1", "srun --quiet --pty " .. options .. " parlua"),
        env = environment, columns = columns }, body)
    end

    for _, columns in ipairs { 80, 30 } do
      it("gives a prompt at rank 0, with the workers of all hosts, on " .. columns .. " columns", function()
        with_prompt("--mpi=pmix --nodes=3", columns, function(t)
          t:type "parlua.rang"
          t:press "Tab"
          t:wait "> parlua.range\n"
          t:press "C-c"
          t:run "function name() os.execute 'sleep 0.05' return io.open('/proc/sys/kernel/hostname'):read() end"
          t:run "names, failures, summary = parlua.map(name, parlua.range(30), { chunk = 1 })"
          t:run "seen = {} for i = 1, names.n do seen[names[i]] = true end"
          assert.matches("node1 = true,%s+node2 = true,%s+node3 = true%s*}\n$", t:run "seen")
          assert.matches('\n"mpi"\n3\n$', t:run "summary.engine, summary.ranks")
          assert.matches('\n"größe"\n$', t:run "'größe'")
        end)
      end)
    end

    it("is interrupted by Ctrl-C, in a loop and in a call, and left with Ctrl-D", function()
      with_prompt("--mpi=pmix --nodes=3", 80, function(t)
        t:run "kept = 7"
        t:type "while true do end"
        t:press "Enter"
        t:wait "while true do end\n"
        t:press "C-c"
        t:wait "interrupted"
        t:run "kept"
        t:type "parlua.map(function(i) print('at ' .. i) while i > 1 do end return i end, { 1, 2, 3 }, { chunk = 1 })"
        t:press "Enter"
        t:wait "at 3\n"
        t:press "C-c"
        t:wait "interrupted: 1 of 3 tasks done"
        assert.matches("\n49\n$", t:run "parlua.map(function(x) return x * x end, { kept })[1]")
        t:press "C-d"
        t:wait "[status 0]"
        for _, host in ipairs(cluster.hosts) do
          for _, command in ipairs(cluster.processes(host)) do assert.falsy(command:find("%f[%w]parlua$"), command) end
        end
      end)
    end)

    it("of one task uses that host's processors", function()
      with_prompt("--nodes=1 --ntasks=1", 80, function(t)
        assert.matches('\n"process"\n$', t:run "select(3, parlua.map(math.sqrt, { 4 })).engine")
        t:press "C-d"
        t:wait "[status 0]"
      end)
    end)
  end)

  it("programs that a script starts are not ranks", function()
    assert.equal("2\n2\n", output_of("srun --quiet --mpi=pmix --nodes=3", ([[
      local command = %q .. " -e 'io.write(require(\"parlua\").map(math.sqrt, { 4 })[1])'"
      print(io.popen(command):read("*a"))
      print(parlua.map(function() return io.popen(command):read("*a") end, { 1, 2, 3 })[3])
    ]]):format(parlua)))
  end)

  --- Starts the slow job on three hosts, kills the rank on node3 once all work, and returns the result of srun.
  local function run_and_kill(options)
    local result
    helper.with_directory(function(directory)
      helper.write(directory .. "/slow.lua", slow)
      helper.write(directory .. "/out", "")
      result = run(([[sh -c '
        srun --mpi=pmix --nodes=3 %s parlua %s/slow.lua > %s/out & job=$!
        while [ $(wc -l < %s/out) -lt 12 ]; do sleep 0.1; done
        spec-cluster/kill_rank node3
        wait $job
      ']]):format(options, directory, directory, directory))
      result.stdout = helper.read(directory .. "/out")
    end)
    return result
  end

  it("a rank that is killed ends the job, if srun is told so, and what is done is kept", function()
    local result = run_and_kill "--kill-on-bad-exit=1"
    local is_lost_or_ended = result.status == 128 + 9 or result.status == 128 + 15
    assert.is_true(is_lost_or_ended, result.status .. "\n" .. result.stderr)
    assert.truthy(result.stderr:find("node3: task 2: Killed", 1, true), result.stderr)
    assert.truthy(result.stderr:find "mpi engine, 3 ranks x 1 worker, interrupted by SIGTERM", result.stderr)
    for _, host in ipairs(cluster.hosts) do
      for _, command in ipairs(cluster.processes(host)) do assert.falsy(command:find "slow.lua", command) end
    end
  end)

  it("a rank that is killed, without that, is noticed by rank 0: its task is a failure, the others go on", function()
    local result
    helper.with_directory(function(directory)
      helper.write(directory .. "/job.lua", [[
        local parlua = require "parlua"
        return { arguments = function() return parlua.range(600) end, map = function(x)
          os.execute "sleep 0.1"
          if x == 50 then os.execute "spec-cluster/kill_rank node3" end
          return x
        end }
      ]])
      result = run("srun --mpi=pmix --nodes=3 parlua " .. directory .. "/job.lua")
    end)
    assert.truthy(result.stderr:find("parlua: rank 2 on node3 is lost", 1, true), result.stderr)
    assert.truthy(result.stderr:find "600 tasks, %d+ returned, [01] failed, [%d.]+ s, mpi engine, 3 ranks x 1 worker\n", result.stderr)
    assert.equal(128 + 9, result.status, result.stderr) -- of the rank that was killed, though the script's was 0 or 1
  end)

  it("srun returns the script's status, and 1 when tasks have failed", function()
    local scripts = {
      { "print(#parlua.map(math.sqrt, { 4, 9, 16 }))", 0 },
      { 'parlua.map(math.sqrt, { 4 }) error("no", 0)', 1 },
      { "parlua.map(math.sqrt, { 4 }) os.exit(7)", 7 },
      { "return { arguments = function() return parlua.range(3) end, map = function(x) return x == 2 and error 'no' or x end }", 1 },
    }
    helper.with_directory(function(directory)
      for number, script in ipairs(scripts) do
        local file = helper.write(directory .. "/script" .. number .. ".lua", 'local parlua = require "parlua"\n' .. script[1])
        local result = run("srun --mpi=pmix --nodes=3 parlua " .. file)
        assert.equal(script[2], result.status, script[1] .. "\n" .. result.stderr)
      end
    end)
  end)

  for _, script in ipairs { "parlua.sbatch", "mpirun.sbatch" } do
    describe(script, function()
      it("gives what a serial run gives, to the byte", function()
        helper.with_directory(function(directory)
          local primes = helper.quote(helper.run("pwd").stdout:match "[^\n]+" .. "/examples/primes.lua")
          local serial = helper.run(parlua .. " --engine serial " .. primes .. " 1 20000")
          local read, number = submit(directory, "", script .. " " .. primes .. " 1 20000")
          local state, status = end_of(number)
          assert.same({ "COMPLETED", "0" }, { state, status }, read "err")
          assert.is_true(#serial.stdout > 100000)
          assert.is_true(read "out" == serial.stdout)
          assert.truthy(read "err":find("20000 tasks, 20000 returned, 0 failed, [%d.]+ s, mpi engine, 3 ranks x 2 workers"), read "err")
        end)
      end)

      it("keeps what is done when it is signalled, and cancels the rest", function()
        helper.with_directory(function(directory)
          local job = helper.write(directory .. "/slow.lua", slow)
          local read, number = submit(directory, "", script .. " " .. job)
          wait_until(function() return count(read "out", '"result"') >= 12 end, function() return read "err" end)
          local batch = script == "mpirun.sbatch" and "--batch " or "" -- as --signal=B:TERM and --signal=TERM do
          assert.equal(0, run("scancel --signal=TERM " .. batch .. number).status)
          local state, status = end_of(number)
          assert.same({ "FAILED", script == "mpirun.sbatch" and "1" or "143" }, { state, status }, read "err")
          assert.is_true(count(read "out", '"result"') >= 12)
          assert.truthy(read "err":find "mpi engine, 3 ranks x 2 workers, interrupted by SIGTERM", read "err")
          for _, host in ipairs(cluster.hosts) do
            for _, command in ipairs(cluster.processes(host)) do assert.falsy(command:find "slow.lua", command) end
          end
        end)
      end)
    end)
  end

  it("the time limit ends parlua.sbatch in an orderly way, before it ends it by force", function()
    helper.with_directory(function(directory)
      local job = helper.write(directory .. "/slow.lua", slow)
      -- Slurm may send the signal up to a minute early: after 15 to 75 seconds.
      local read, number = submit(directory, "--time=00:02:00 --signal=TERM@45", "parlua.sbatch " .. job)
      local state, status = end_of(number)
      assert.same({ "FAILED", "143" }, { state, status }, read "err")
      assert.is_true(count(read "out", '"result"') >= 12)
      assert.truthy(read "err":find "mpi engine, 3 ranks x 2 workers, interrupted by SIGTERM", read "err")
      assert.falsy(read "err":find "DUE TO TIME LIMIT", read "err")
    end)
  end)

  it("scancel ends parlua.sbatch in an orderly way", function()
    helper.with_directory(function(directory)
      local read, number = submit(directory, "", "parlua.sbatch " .. helper.write(directory .. "/slow.lua", slow))
      wait_until(function() return count(read "out", '"result"') >= 12 end, function() return read "err" end)
      assert.equal(0, run("scancel " .. number).status)
      assert.equal("CANCELLED", (end_of(number)))
      assert.truthy(read "err":find "mpi engine, 3 ranks x 2 workers, interrupted by SIGTERM", read "err")
    end)
  end)

  it("requeue.sbatch goes on in further batch jobs until all is done", function()
    helper.with_directory(function(directory)
      -- squeue says what is left; here a variable does, so that the spec need not wait for a minute
      local script = helper.read "examples/cluster/requeue.sbatch"
      local requeue = helper.write(directory .. "/requeue.sbatch", (script:gsub("\nparlua ", function()
        return "\nexport SLURM_JOB_END_TIME=$(($(date +%s) + 4))\nparlua "
      end)))
      local job = helper.write(directory .. "/job.lua", [[
        local parlua = require "parlua"
        return { arguments = parlua.range(30), map = function(x)
          local log = io.open("log", "a")
          log:write(x, "\n")
          log:close()
          parlua.exec("sleep", 0.5)
          return x
        end }
      ]])
      local result = run(("sbatch --parsable --chdir=%s --cpus-per-task=1 %s %s"):format(directory, requeue, job))
      local number = assert(result.stdout:match "^%d+", result.stderr)
      local out = directory .. "/parlua-" .. number
      local function state() return run("scontrol show job " .. number).stdout end
      local waits_since
      wait_until(function()
        -- Slurm lets a job that is put back wait for two minutes. It is not to begin before its host has done with the batch job before: the
        -- end of that one would be taken for its own. Nor in the second in which its host has: it revokes then what was made up to then for
        -- this job ("Job credential revoked"), and the job would fail. A host that is busy does so long after the job was put back.
        local now = state()
        local is_waiting = run("squeue --noheader --jobs=" .. number .. " '--format=%T %r'").stdout:find "^PENDING BeginTime"
          and not run("sinfo --noheader --format=%T").stdout:find "completing"
        waits_since = is_waiting and (waits_since or os.time()) or nil
        if is_waiting and os.time() - waits_since >= 2 then
          run("scontrol update JobId=" .. number .. " StartTime=now")
        end
        if now:find "JobState=FAILED" then error(now .. helper.read(out .. ".err"), 0) end
        return io.open(out .. ".jsonl") ~= nil
      end, function()
        return state() .. helper.read(out .. ".err")
      end)
      assert.equal(30, count(helper.read(out .. ".jsonl"), '"result"'), helper.read(out .. ".err"))
      assert.equal(30, count(helper.read(directory .. "/log"), "\n"))
      assert.is_true(count(helper.read(out .. ".err"), "stopped: the time is up") >= 1)
      end_of(number)
    end)
  end)

  it("a job array runs the shards of a job, and merge puts them together", function()
    helper.with_directory(function(directory)
      helper.write(directory .. "/job.lua", "return { arguments = require('parlua').range(20), map = math.sqrt }")
      local result = run(("sbatch --wait --chdir=%s --array=1-3 --output=/dev/null --wrap 'parlua --shard slurm "
        .. "--journal part-$SLURM_ARRAY_TASK_ID.db job.lua'"):format(directory))
      assert.equal(0, result.status, result.stderr)
      local merged = helper.run(parlua .. " merge part-1.db part-2.db part-3.db", { directory = directory })
      assert.equal(helper.run(parlua .. " job.lua x", { directory = directory }).stdout, merged.stdout)
      assert.equal("parlua: 20 tasks from 3 journals\n", merged.stderr)
    end)
  end)
end)
