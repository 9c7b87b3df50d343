-- The mpi engine: the same script under mpirun. What all engines promise is shown by the specs that spec/ranks_spec.lua runs on it.

local lfs = require "lfs"

local helper = require "spec.helper"

local has_mpirun = os.execute("command -v mpirun > /dev/null") == 0
local has_engine = lfs.attributes(helper.parlua:gsub("[^/]*$", "") .. "parlua_mpi.so", "mode") == "file"

--- Runs parlua on `ranks` ranks of this machine.
local function run_ranks(ranks, arguments, options)
  return helper.run(helper.mpirun(ranks) .. " " .. helper.quote(helper.parlua) .. " " .. arguments, options)
end

--- Runs a script on `ranks` ranks; returns its output, after it has ended well.
local function output_of(ranks, script)
  local result
  helper.with_directory(function(directory)
    result = run_ranks(ranks, helper.write(directory .. "/script.lua", 'local parlua = require "parlua"\n' .. script))
  end)
  assert.equal("", result.stderr)
  assert.equal(0, result.status)
  return result.stdout
end

--- Processes that belong to a run which has `word` in its environment.
local function processes_with(word)
  local found = {}
  for pid in lfs.dir("/proc") do
    local file = pid:find("^%d+$") and io.open("/proc/" .. pid .. "/environ", "rb")
    local text = file and file:read("*a")
    if file then file:close() end
    if text and text:find(word, 1, true) then found[#found + 1] = pid end
  end
  return found
end

--- Those that are still there after a while: Open MPI's own daemon ends a moment after the program.
local function processes_left(word)
  local found = processes_with(word)
  for _ = 1, 100 do
    if #found == 0 then break end
    os.execute("sleep 0.1")
    found = processes_with(word)
  end
  return found
end

describe("without mpirun", function()
  it("a missing shared object, or one whose MPI is missing, tells which package is missing; other engines work", function()
    helper.with_directory(function(directory)
      local copy = directory .. "/parlua"
      assert.equal(0, os.execute("cp " .. helper.quote(helper.parlua) .. " " .. copy))
      local function try(engine)
        return helper.run(helper.quote(copy) .. " --engine " .. engine .. [[ -e 'print(require("parlua").map(math.sqrt, { 4 })[1])']])
      end
      local result = try("mpi")
      assert.equal(1, result.status)
      assert.truthy(result.stderr:find('engine "mpi": there is no parlua_mpi.so beside the program', 1, true), result.stderr)
      assert.truthy(result.stderr:find("packages openmpi-bin and libopenmpi-dev", 1, true))
      helper.write(directory .. "/parlua_mpi.so", "no shared object")
      result = try("mpi")
      assert.equal(1, result.status)
      assert.truthy(result.stderr:find("is the MPI library installed? in Debian: package openmpi-bin", 1, true), result.stderr)
      assert.same({ "2\n", "", 0 }, { try("process").stdout, try("process").stderr, try("process").status })
    end)
  end)

  it("copies that srun started without MPI do not each do all the work", function()
    local map = [[-e 'print(select("#", require("parlua").map(math.sqrt, { 4 })))']]
    local step = { SLURM_STEP_NUM_TASKS = "3", SLURM_PROCID = "1" }
    local result = helper.run(helper.quote(helper.parlua) .. " " .. map, { env = step })
    assert.same({ 1, "" }, { result.status, result.stdout })
    assert.truthy(result.stderr:find("srun started 3 copies of this program, and no MPI joins them", 1, true))
    assert.truthy(result.stderr:find("srun --mpi=pmix", 1, true))
    assert.equal("3\n", helper.run(helper.quote(helper.parlua) .. " --engine process " .. map, { env = step }).stdout)
    assert.equal("3\n", helper.run(helper.quote(helper.parlua) .. " " .. map, { env = { SLURM_STEP_NUM_TASKS = "1", SLURM_PROCID = "0" } }).stdout)
  end)

  it("a missing shared object is told once, by rank 0", function()
    helper.with_directory(function(directory)
      local copy = directory .. "/parlua"
      assert.equal(0, os.execute("cp " .. helper.quote(helper.parlua) .. " " .. copy))
      local command = helper.quote(copy) .. " -e 'print(1)'"
      local first = helper.run(command, { env = { PMIX_RANK = "0" } })
      assert.truthy(first.stderr:find("there is no parlua_mpi.so beside the program", 1, true))
      assert.same({ 2, "" }, { first.status, first.stdout })
      local second = helper.run(command, { env = { PMIX_RANK = "1" } })
      assert.same({ 2, "", "" }, { second.status, second.stdout, second.stderr })
    end)
  end)
end)

if not (has_mpirun and has_engine) then
  print("spec/mpi_spec.lua: not run, as mpirun or parlua_mpi.so is missing")
  return
end

--- Starts parlua without mpirun.
local function run_alone(arguments, options)
  return helper.run(helper.quote(helper.parlua) .. " " .. arguments, options)
end

if has_mpirun and os.execute("command -v mpiexec.mpich > /dev/null && command -v mpirun.openmpi > /dev/null") == 0 then
  it("the launcher of another MPI is told from the own one", function()
    local launch = helper.mpi == "mpich" and helper.mpirun(2, "openmpi"):gsub("mpirun ", "mpirun.openmpi ") or helper.mpirun(2, "mpich")
    local result = helper.run(launch .. " " .. helper.quote(helper.parlua) .. " -e 'print(1)'")
    assert.equal("", result.stdout)
    assert.truthy(result.stderr:find("started as 2 processes, but by another MPI than parlua_mpi.so was built with (", 1, true),
      result.stderr)
  end)
end

describe("without mpirun, ranks of its own:", function()
  if helper.mpi == "mpich" then -- Debian's is built without MPI_Comm_spawn
    it("an MPI that has no MPI_Comm_spawn is an error that says what to do", function()
      local result = run_alone([==[--engine mpi --workers 2 -e 'require("parlua").map(math.sqrt, { 4 })']==])
      assert.equal(1, result.status)
      assert.truthy(result.stderr:find('parlua: engine "mpi": this MPI did not start 2 more processes', 1, true), result.stderr)
      assert.truthy(result.stderr:find("or start the program as: mpirun -n 4 parlua", 1, true))
    end)
    return
  end

  it("workers are started, kept from call to call, and shut down", function()
    helper.with_directory(function(directory)
      local mark = "SPEC_MARK" .. directory:gsub("%W", "_")
      local script = helper.write(directory .. "/script.lua", [[
        local parlua = require "parlua"
        local function agents()
          local parents = parlua.map(function()
            local until_then = os.clock() + 0.02
            while os.clock() < until_then do end
            local helper = io.open("/proc/self/stat"):read("*a"):match("%) %a (%d+)")
            return io.open("/proc/" .. helper .. "/stat"):read("*a"):match("%) %a (%d+)")
          end, parlua.range(24), { engine = "mpi", workers = 3, chunk = 1 })
          local seen, list = {}, {}
          for i = 1, parents.n do
            local parent = parents[i]
            if not seen[parent] then list[#list + 1] = parent end
            seen[parent] = true
          end
          table.sort(list)
          return table.concat(list, " ")
        end
        local factor = 3
        local results, failures, summary = parlua.map(function(x) return x * factor end, parlua.range(10000), { engine = "mpi", workers = 3 })
        for i = 1, 10000 do assert(results[i] == 3 * i) end
        print(#failures, summary.engine, summary.workers)
        local before = agents()
        print(select(2, before:gsub("%d+", "")), agents() == before)
        print(select(3, parlua.map(math.sqrt, { 1 }, { engine = "mpi", workers = 5 })).workers, agents() == before)
        print(select(3, parlua.map(math.sqrt, { 1 })).engine)
      ]])
      local result = run_alone(script, { env = { [mark] = "1" } })
      assert.same({ "0\tmpi\t3\n3\ttrue\n5\ttrue\nprocess\n", "", 0 }, { result.stdout, result.stderr, result.status })
      assert.same({}, processes_left(mark))
    end)
  end)

  it("a job script runs on them, and ends with its status", function()
    helper.with_directory(function(directory)
      local script = helper.write(directory .. "/job.lua", [[
        local parlua = require "parlua"
        return { arguments = function(n) return parlua.range(tonumber(n)) end, map = function(x)
          if x == 2 then os.exit(5) end
          return x * x
        end }
      ]])
      local result = run_alone("--engine mpi --workers 2 " .. script .. " 3")
      assert.equal(1, result.status)
      assert.truthy(result.stdout:find('{"index":3,"args":[3],"result":9}\n', 1, true))
      assert.truthy(result.stdout:find('"kind":"crash"', 1, true))
      assert.truthy(result.stderr:find("3 tasks, 2 returned, 1 failed, [%d.]+ s, mpi engine, 2 workers"))
    end)
    local map = 'require("parlua").map(math.sqrt, { 4 }) '
    for code, status in pairs { ["os.exit(3)"] = 3, ["os.exit(4, true)"] = 4 } do
      local result = run_alone("--engine mpi --workers 2 -e " .. helper.quote(map .. code))
      assert.same({ status, "", "" }, { result.status, result.stdout, result.stderr })
    end
    local result = run_alone("--engine mpi --workers 2 -e " .. helper.quote(map .. 'error("no", 0)'))
    assert.same({ 1, "", 1 }, { result.status, result.stdout, (result.stderr:find("parlua: no\n", 1, true)) })
  end)

  it("standard input stays the script's", function()
    local lines = {}
    for i = 1, 20000 do lines[i] = tostring(i) end
    local result = run_alone("--engine mpi --workers 2 -e " .. helper.quote([[
      local parlua = require "parlua"
      parlua.map(math.sqrt, { 4 })
      os.execute("sleep 0.2")
      print((parlua.reduce(tonumber, parlua.lines("-"), parlua.sum)))
    ]]), { stdin = table.concat(lines, "\n") .. "\n" })
    assert.same({ "200010000\n", "", 0 }, { result.stdout, result.stderr, result.status })
  end)

  it("one that is killed is known at once, and the program ends", function()
    helper.with_directory(function(directory)
      local mark = "SPEC_MARK" .. directory:gsub("%W", "_")
      local script = helper.write(directory .. "/script.lua", [[
        local parlua = require "parlua"
        local ok, message, _, summary = pcall(parlua.map, function(i)
          local helper = io.open("/proc/self/stat"):read("*a"):match("%) %a (%d+)")
          local rank = io.open("/proc/" .. helper .. "/stat"):read("*a"):match("%) %a (%d+)")
          if i == 5 then os.execute("kill -9 " .. rank) end
          os.execute("sleep 0.02")
          return i
        end, parlua.range(1e5), { engine = "mpi", workers = 2, chunk = 1 })
        print(ok, ok and summary.stopped or message)
      ]])
      local result = run_alone(script, { env = { [mark] = "1" }, seconds = 60 })
      assert.truthy(result.stderr:find("is lost: its process has ended", 1, true), result.stderr)
      assert.truthy(result.stdout:find("^true\tthe mpi engine cannot start workers: the ranks that had workers are lost\n"), result.stdout)
      assert.same({}, processes_left(mark))
    end)
  end)

  it("one that is killed while they start ends the program, which says why", function()
    helper.with_directory(function(directory)
      local mark = "SPEC_MARK" .. directory:gsub("%W", "_")
      helper.write(directory .. "/script.lua", [[
        local parlua = require "parlua"
        print("before")
        parlua.map(math.sqrt, { 4 }, { engine = "mpi", workers = 2 })
        print("not reached")
      ]])
      -- it ends in a constructor, long before it could meet the others
      helper.write(directory .. "/end.c", [[
        #include <signal.h>
        #include <stdlib.h>
        #include <string.h>
        #include <unistd.h>
        __attribute__((constructor)) static void end(int count, char **words)
        {
          const char *rank = getenv("OMPI_COMM_WORLD_RANK");
          if (count < 2 || strcmp(words[1], "--mpi-agent") != 0 || !rank || strcmp(rank, "1") != 0) return;
          sleep(1);
          raise(SIGKILL);
        }
      ]])
      local compiler = os.getenv "CC" or "cc"
      if helper.run("command -v " .. compiler).status ~= 0 then return pending "there is no C compiler" end
      local result = helper.run(([[
        %s -shared -fPIC -o end.so end.c
        LD_PRELOAD=./end.so %s=1 %s script.lua 2> err
        echo "status $?"
      ]]):format(compiler, mark, helper.quote(helper.parlua)), { directory = directory, seconds = 60 })
      local errors = helper.read(directory .. "/err")
      assert.equal("before\nstatus 1\n", result.stdout, errors)
      assert.truthy(errors:find("one of the 2 processes that it starts has ended before it was ready", 1, true), errors)
      assert.same({}, processes_left(mark))
    end)
  end)

  it("the prompt uses them", function()
    local result = run_alone("-i --engine mpi --workers 2", { stdin = [[
      p = require "parlua"
      for k = 1, 3 do print("got", p.map(function(x) return x * k end, p.range(10))[10]) end
    ]] })
    assert.equal(0, result.status)
    assert.truthy(result.stdout:find("got\t10\ngot\t20\ngot\t30\n", 1, true), result.stdout .. result.stderr)
  end)

  it("an MPI that refuses to start them is an error that says what to do", function()
    local result = run_alone([==[--engine mpi --workers 99 -e 'require("parlua").map(math.sqrt, { 4 })']==],
      { env = { OMPI_MCA_rmaps_base_oversubscribe = "0" } })
    assert.equal(1, result.status)
    assert.truthy(result.stderr:find('parlua: engine "mpi": this MPI did not start 99 more processes', 1, true), result.stderr)
    assert.truthy(result.stderr:find("ask for fewer workers, or allow more processes than there are slots", 1, true))
  end)

  it("they end with their coordinator, however that ends", function()
    for signal, kinds in pairs { INT = '"kind":"cancelled"', TERM = '"kind":"cancelled"', KILL = "" } do
      helper.with_directory(function(directory)
        local mark = "SPEC_MARK" .. directory:gsub("%W", "_")
        helper.write(directory .. "/job.lua", [[
          local parlua = require "parlua"
          return { arguments = function() return parlua.range(4) end, map = function(x)
            io.open(arg[1] .. "/began" .. x, "w"):close()
            while true do end
          end }
        ]])
        -- a shell lets what it starts in the background ignore SIGINT
        local result = helper.run(([[
          %s=1 perl -e '$SIG{INT} = "DEFAULT"; exec @ARGV' \
            %s --engine mpi --workers 2 job.lua . > out 2> err & pid=$!
          until [ -e began1 ] && [ -e began2 ]; do sleep 0.05; done
          kill -%s $pid; wait $pid
          echo "ended"
        ]]):format(mark, helper.quote(helper.parlua), signal), { directory = directory })
        assert.equal("ended\n", result.stdout)
        assert.same({}, processes_left(mark))
        assert.truthy(helper.read(directory .. "/out"):find(kinds, 1, true))
        if kinds ~= "" then assert.truthy(helper.read(directory .. "/err"):find("interrupted by SIG" .. signal, 1, true)) end
      end)
    end
  end)
end)

describe("under mpirun", function()
  it("the script runs once, and maps over several calls on all ranks", function()
    local output = output_of(3, [[
      local factor = 3
      local results, failures, summary = parlua.map(function(x) return x * factor end, parlua.range(100000))
      for i = 1, 100000 do assert(results[i] == 3 * i) end
      print(results.n, #failures, summary.engine, summary.workers == parlua.cores() and summary.workers)
      local text = ("long"):rep(1e6)
      local texts = parlua.map(function(x) return text .. x end, parlua.range(8), { workers = 2 })
      for i = 1, 8 do assert(texts[i] == text .. i) end
      local arguments = {}
      for i = 1, 50 do arguments[i] = ("a"):rep(20000 * i) end
      local lengths = parlua.map(function(s) return #s end, arguments)
      for i = 1, 50 do assert(lengths[i] == 20000 * i) end
      print(select(3, parlua.map(math.sqrt, { 1 }, { workers = 2 })).workers)
    ]])
    assert.equal("100000\t0\tmpi\t3\n6\n", output)
  end)

  it("what a function captured is sent once to each node, along a tree, and is the same in every worker", function()
    local script = [[
      local text = {}
      for i = 1, 300000 do text[i] = string.char(i * i % 251) end
      text = table.concat(text)
      local numbers, sum = {}, 0
      for i = 1, 50000 do
        numbers[i] = i / 3
        sum = sum + numbers[i]
      end
      for k = 1, 3 do
        local results = parlua.map(function(x)
          local total = 0
          for i = 1, #numbers do total = total + numbers[i] end
          return { #text, text:byte(x * 1000), total + k }
        end, parlua.range(64), { chunk = 1 })
        for i = 1, 64 do
          assert(results[i][1] == 300000 and results[i][2] == (i * 1000) ^ 2 % 251 and results[i][3] == sum + k)
        end
      end
    ]]
    -- PARLUA_MPI_APART: each rank counts as a node; bytes are those of the three calls' captures, in multiples
    for variables, copies in pairs { [""] = 0, ["PARLUA_MPI_APART=1 "] = 2, ["PARLUA_MPI_APART=1 PARLUA_MPI_PIECE=1000 "] = 2 } do
      helper.with_directory(function(directory)
        local path = helper.write(directory .. "/script.lua", 'local parlua = require "parlua"\n' .. script)
        local result = helper.run("export PARLUA_MPI_COUNT=1 " .. variables .. ";" .. helper.mpirun(7) .. " "
          .. helper.quote(helper.parlua) .. " " .. path)
        assert.same({ 0, "" }, { result.status, result.stdout })
        local bytes = tonumber(result.stderr:match("^parlua: rank 0 sent %d+ messages, (%d+) bytes; received %d+ messages, %d+ bytes\n$"))
        assert.equal(copies, math.floor(bytes / (3 * 600000)), result.stderr)
      end)
    end
  end)

  it("every rank has workers", function()
    local output = output_of(2, [[
      local parents = parlua.map(function()
        local until_then = os.clock() + 0.05
        while os.clock() < until_then do end
        return io.open("/proc/self/stat"):read("*a"):match("%) %a (%d+)")
      end, parlua.range(16), { chunk = 1 })
      local seen, count = {}, 0
      for i = 1, 16 do
        local parent = parents[i]
        if not seen[parent] then count = count + 1 end
        seen[parent] = true
      end
      print(count)
    ]])
    assert.equal("2\n", output)
  end)

  it("what a worker of another rank has not begun is taken back for one that is idle", function()
    -- the second of two workers becomes slow: it keeps what it has begun, neither the chunk queued behind that nor most of its own
    local output = output_of(2, [[
      local sleep = require("parlua.host").sleep
      local function run_slow(n, from, seconds, options)
        local workers = parlua.map(function(x)
          if x >= from and parlua.task.worker == 2 then
            sleep(seconds)
            return 2
          end
          return 1
        end, parlua.range(n), options)
        local slow = 0
        for i = 1, n do slow = slow + (workers[i] == 2 and 1 or 0) end
        return slow
      end
      print(run_slow(20, 1, 0.1, { chunk = 5 }) <= 5)
      print(run_slow(100000, 50000, 0.02) <= 200) -- some 25,000 of them were its own
    ]])
    assert.equal("true\ntrue\n", output)
  end)

  it("a rank has a worker for each of its processors, shared with ranks on the same ones, or as many as are asked for", function()
    local cores = require("parlua.host").cores()
    local code = [[local _, _, s = require("parlua").map(math.sqrt, { 1 }) print(require("parlua").cores(), s.workers, s.ranks)]]
    local function try(ranks, options, environment)
      local command = helper.mpirun(ranks) .. " --bind-to none " .. helper.quote(helper.parlua) .. options .. " -e " .. helper.quote(code)
      local result = helper.run(command, { env = environment })
      assert.equal("", result.stderr)
      return result.stdout
    end
    assert.equal(("%d\t%d\t1\n"):format(cores, cores), try(1, ""))
    local each = math.max(1, math.floor(cores / 3))
    assert.equal(("%d\t%d\t3\n"):format(3 * each, 3 * each), try(3, ""))
    assert.equal(("%d\t6\t3\n"):format(3 * each), try(3, " --workers 2"))
    if cores >= 2 then assert.equal("4\t4\t2\n", try(2, "", { SLURM_CPUS_PER_TASK = "2" })) end
  end)

  it("a job script writes its results once", function()
    helper.with_directory(function(directory)
      local script = helper.write(directory .. "/job.lua", [[
        local parlua = require "parlua"
        return { arguments = function(n) return parlua.range(tonumber(n)) end, map = function(x) return x * x end }
      ]])
      local result = run_ranks(2, script .. " 3")
      assert.equal(0, result.status)
      assert.equal('{"index":1,"args":[1],"result":1}\n{"index":2,"args":[2],"result":4}\n{"index":3,"args":[3],"result":9}\n',
        result.stdout)
      assert.truthy(result.stderr:find("mpi engine, 2 ranks x 1 worker\n", 1, true), result.stderr)
    end)
  end)

  it("a task that crashes, exits, hangs, raises or is killed, on any rank, is one failure", function()
    local output = output_of(3, [[
      local ffi = require "ffi"
      local results, failures = parlua.map(function(x)
        local what = x % 8
        if what == 1 then ffi.cast("int *", 0)[0] = 1 end
        if what == 2 then os.exit(7) end
        if what == 3 and x < 10 then while true do end end
        if what == 4 then error("raised") end
        if what == 5 then os.execute("kill -9 $PPID") end
        return x
      end, parlua.range(40), { timeout = 0.5, workers = 2 })
      local kinds, returned = {}, 0
      for i = 1, 40 do if results[i] then returned = returned + 1 end end
      for _, f in ipairs(failures) do
        assert(f.worker >= 1 and f.worker <= 6 and #f.host > 0)
        kinds[f.kind] = (kinds[f.kind] or 0) + 1
      end
      print(returned, #failures, kinds.crash, kinds.timeout, kinds.error)
    ]])
    assert.equal("19\t21\t15\t1\t5\n", output)
  end)

  it("a worker of another rank can be ended while large results of it are on their way", function()
    local output = output_of(2, [[
      local function large(i)
        if i % 2 == 0 then error("raised", 0) end
        return ("x"):rep(4e6) .. i
      end
      for _ = 1, 3 do
        local _, failures = parlua.map(large, parlua.range(40), { workers = 1, max_failures = 3, chunk = 4 })
        assert(#failures >= 3)
      end
      local results, failures = parlua.map(function(i)
        if i % 4 == 0 then while true do end end
        return ("x"):rep(4e6) .. i
      end, parlua.range(8), { workers = 1, timeout = 0.5, chunk = 4 })
      for i = 1, 8 do assert(i % 4 == 0 or results[i] == ("x"):rep(4e6) .. i) end
      print(#failures, failures[1].index, failures[2].index)
    ]])
    assert.equal("2\t4\t8\n", output)
  end)

  it("workers that were killed between two calls are replaced, however many", function()
    local output = output_of(2, [[
      local ffi = require "ffi"
      ffi.cdef "int kill(int pid, int signal);"
      for _ = 1, 5 do
        local pids = parlua.map(function()
          local until_then = os.clock() + 0.005
          while os.clock() < until_then do end
          return tonumber(io.open("/proc/self/stat"):read("*a"):match("%d+"))
        end, parlua.range(60), { chunk = 1, workers = 6 })
        for _, pid in ipairs(pids) do ffi.C.kill(pid, 9) end
        local results, failures = parlua.map(function(x) return x end, parlua.range(1000), { workers = 6 })
        assert(results.n == 1000 and results[1000] == 1000 and #failures == 0)
      end
      print "well"
    ]])
    assert.equal("well\n", output)
  end)

  it("what finished before a crash is kept: no task runs twice", function()
    helper.with_directory(function(directory)
      local output = output_of(2, ([[
        local directory = %q
        local results, failures = parlua.map(function(x)
          local file = assert(io.open(directory .. "/" .. x, "a"))
          file:write("x")
          file:close()
          if x %% 10 == 0 then os.exit(1) end
          return x
        end, parlua.range(60), { chunk = 20 })
        print(#failures)
      ]]):format(directory))
      assert.equal("6\n", output)
      for x = 1, 60 do assert.equal("x", helper.read(directory .. "/" .. x)) end
    end)
  end)

  it("lines that tasks print arrive whole, and before the call returns", function()
    local output = output_of(3, [[
      parlua.each(function(x) print(("line "):rep(20) .. x) end, parlua.range(2000))
      print("end")
    ]])
    local count, sum = 0, 0
    for line in output:gmatch("[^\n]+") do
      local x = line:match("^" .. ("line "):rep(20) .. "(%d+)$")
      if x then count, sum = count + 1, sum + x end
    end
    assert.same({ 2000, 2001000 }, { count, sum })
    assert.equal("end\n", output:sub(-4))
  end)

  it("programs that a script starts are not ranks", function()
    local output = output_of(2, ([[
      local command = %q .. " -e 'io.write(require(\"parlua\").map(math.sqrt, { 4 })[1])'"
      print(io.popen(command):read("*a"))
      print(parlua.map(function() return io.popen(command):read("*a") end, { 1, 2, 3 })[3])
    ]]):format(helper.quote(helper.parlua)))
    assert.equal("2\n2\n", output)
  end)

  it("the job ends with the status of an interrupted script also where mpirun answers late, as on a busy machine", function()
    if helper.mpi == "mpich" then return end -- a rank's parent is another program there, and it kills all at once
    helper.with_directory(function(directory)
      local script = helper.write(directory .. "/script.lua", [[
        local parlua, ffi = require "parlua", require "ffi"
        ffi.cdef "int getpid(void); int getppid(void); int kill(int, int);"
        local pid, mpirun = ffi.C.getpid(), ffi.C.getppid()
        local _, _, summary = parlua.map(function(i)
          if i == 1 then io.popen("kill -INT " .. pid):close() end
          return i
        end, parlua.range(1e9))
        print(summary.interrupted)
        io.stdout:flush()
        os.execute("{ sleep 1; kill -CONT " .. mpirun .. "; } > /dev/null 2>&1 &")
        ffi.C.kill(mpirun, 19) -- SIGSTOP
      ]])
      local result = helper.run(helper.command "mpi" .. " " .. script)
      assert.equal("SIGINT\n", result.stdout, result.stderr)
      assert.equal(130, result.status, result.stderr)
    end)
  end)

  it("the job ends with the script's status, and says nothing", function()
    for script, status in pairs { ["return"] = 0, ["os.exit(3)"] = 3, ["os.exit(4, true)"] = 4 } do
      local result = run_ranks(2, "-e " .. helper.quote(script))
      assert.same({ status, "", "" }, { result.status, result.stdout, result.stderr })
    end
    local result = run_ranks(2, "-e 'error(\"no\", 0)'")
    assert.equal(1, result.status)
    assert.truthy(result.stderr:find("^parlua: no\n"))
  end)

  it("one rank is enough, and other engines can be asked for", function()
    assert.equal("9\tmpi\n", output_of(1, [[
      local results, _, summary = parlua.map(function(x) return x * x end, { 1, 2, 3 })
      print(results[3], summary.engine)
    ]]))
    assert.equal("9\tprocess\n", output_of(2, [[
      local results, _, summary = parlua.map(function(x) return x * x end, { 1, 2, 3 }, { engine = "process" })
      print(results[3], summary.engine)
    ]]))
  end)

  for _, signal in ipairs { "TERM", "INT" } do
    it("SIG" .. signal .. " to mpirun cancels what runs, and nothing is left behind", function()
      helper.with_directory(function(directory)
        local mark = "SPEC_MARK" .. directory:gsub("%W", "_")
        helper.write(directory .. "/job.lua", [[
          local parlua = require "parlua"
          return { arguments = function() return parlua.range(4) end, map = function(x)
            if x == 1 then return x end
            io.open(arg[1] .. "/began" .. x, "w"):close()
            while true do end
          end }
        ]])
        -- a shell lets what it starts in the background ignore SIGINT
        local result = helper.run(([[
          %s=1 perl -e '$SIG{INT} = "DEFAULT"; exec @ARGV' %s %s --workers 2 job.lua . > out 2> err & pid=$!
          until [ -e began2 ] && [ -e began3 ] && [ -e began4 ] && grep -q result out; do sleep 0.05; done
          kill -%s $pid; wait $pid; echo "ended"
        ]]):format(mark, helper.mpirun(2), helper.quote(helper.parlua), signal), { directory = directory })
        assert.equal("ended\n", result.stdout)
        local out, err = helper.read(directory .. "/out"), helper.read(directory .. "/err")
        assert.truthy(out:find('"kind":"cancelled"', 1, true), out .. err)
        assert.truthy(err:find(
          "1 task, 1 returned, 0 failed, 3 cancelled, [%d.]+ s, mpi engine, 2 ranks x 2 workers, interrupted"), err)
        assert.same({}, processes_left(mark))
      end)
    end)
  end

  it("when a rank is killed the job ends, a message names it, and nothing is left behind", function()
    helper.with_directory(function(directory)
      local mark = "SPEC_MARK" .. directory:gsub("%W", "_")
      helper.write(directory .. "/job.lua", [[
        local parlua = require "parlua"
        return { arguments = function() return parlua.range(3) end, map = function(x)
          local parent = io.open("/proc/self/stat"):read("*a"):match("%) %a (%d+)")
          local agent = io.open("/proc/" .. parent .. "/stat"):read("*a"):match("%) %a (%d+)")
          local file = io.open(arg[1] .. "/worker" .. parlua.task.worker .. ".new", "w")
          file:write(agent)
          file:close()
          os.rename(arg[1] .. "/worker" .. parlua.task.worker .. ".new", arg[1] .. "/worker" .. parlua.task.worker)
          while true do end
        end }
      ]])
      local result = helper.run(([[
        %s=1 %s %s --workers 1 job.lua . > out 2> err & pid=$!
        until [ -e worker1 ] && [ -e worker2 ] && [ -e worker3 ]; do sleep 0.05; done
        kill -KILL $(cat worker2); wait $pid || echo "ended"
      ]]):format(mark, helper.mpirun(3), helper.quote(helper.parlua)), { directory = directory })
      assert.equal("ended\n", result.stdout)
      assert.same({}, processes_left(mark))
      local message, host = helper.read(directory .. "/err"), require("parlua.host").hostname()
      if helper.mpi == "mpich" then -- its mpiexec kills all at once, and tells the host itself
        assert.truthy((message .. helper.read(directory .. "/out")):find("RUNNING AT " .. host, 1, true), message)
      else
        assert.truthy(message:find("parlua: rank 1 on " .. host .. " is lost", 1, true), message)
        assert.truthy(message:find("mpi engine, 3 ranks x 1 worker, interrupted by SIGTERM", 1, true), message)
      end
    end)
  end)

  it("SIGKILL to rank 0 leaves nothing behind", function()
    helper.with_directory(function(directory)
      local mark = "SPEC_MARK" .. directory:gsub("%W", "_")
      helper.write(directory .. "/script.lua", [[
        local parlua = require "parlua"
        local file = io.open("pid", "w")
        file:write(require("parlua.host").pid(), "\n")
        file:close()
        parlua.each(function(x)
          io.open("began" .. x, "w"):close()
          while true do end
        end, parlua.range(2), { chunk = 1 })
      ]])
      helper.run(([[
        %s=1 %s %s --workers 1 script.lua > out 2> err & pid=$!
        until [ -e began1 ] && [ -e began2 ]; do sleep 0.05; done
        kill -KILL $(cat pid); wait $pid
      ]]):format(mark, helper.mpirun(2), helper.quote(helper.parlua)), { directory = directory })
      for _ = 1, 1000 do
        if #processes_with(mark) == 0 then break end
        os.execute("sleep 0.01")
      end
      assert.same({}, processes_with(mark))
    end)
  end)

  it("a rank's helper that is killed costs its workers' tasks; the run goes on with the other ranks, or raises where there is none", function()
    for ranks = 1, 2 do
      local result
      helper.with_directory(function(directory)
        result = run_ranks(ranks, helper.write(directory .. "/script.lua", [[
          local parlua = require "parlua"
          local ok, results, failures = pcall(parlua.map, function(i)
            if i == 2 then os.execute("kill -9 $(ps -o ppid= -p $PPID)") end
            local later = os.clock() + 0.03 -- so that the loss is seen while the run goes on
            while os.clock() < later do end
            return i
          end, parlua.range(20), { chunk = 1, workers = 2 })
          if not ok then return print(results) end
          local returned = 0
          for i = 1, 20 do returned = returned + (results[i] == i and 1 or 0) end
          for _, failure in ipairs(failures) do assert(failure.kind == "crash", failure.message) end
          print(returned + #failures, returned >= 17)
        ]]))
      end)
      assert.truthy(result.stderr:find("parlua: rank %d has lost its helper: it can start no more workers"), result.stderr)
      assert.equal(0, result.status)
      if ranks == 1 then
        -- what was done is kept, if there was anything
        local told = result.stdout .. result.stderr
        assert.truthy(told:find("of the mpi engine could be started: ", 1, true) or told:find("cannot start workers: ", 1, true), told)
      else
        assert.equal("20\ttrue\n", result.stdout)
      end
    end
  end)

  it("rank 0 alone writes the journal, and the next run goes on from it, also when rank 0 was killed", function()
    helper.with_directory(function(directory)
      helper.write(directory .. "/script.lua", [[
        local parlua = require "parlua"
        local results, failures = parlua.map(function(i)
          local file = io.open("ran", "a")
          file:write(i, "\n")
          file:close()
          for _ = 1, 100 do
            if i < 150 or io.open("go") then break end
            os.execute("sleep 0.05")
          end
          if i % 50 == 0 then error("no", 0) end
          return math.random()
        end, parlua.range(200), { chunk = 1 })
        for i = 1, 200 do print(results[i] and ("%.17g"):format(results[i])) end
        for _, failure in ipairs(failures) do print(failure.index, failure.message) end
      ]])
      local function sql(text) return helper.run("sqlite3 run.db " .. helper.quote(text), { directory = directory }).stdout end
      local start = helper.mpirun(3) .. " " .. helper.quote(helper.parlua) .. " --workers 1 "
      local plain = helper.run("touch go; " .. start .. "script.lua; rm go ran", { directory = directory })
      assert.equal("", plain.stderr)
      -- rank 0 is the one that has the journal open
      local killed = helper.run(([[
        %s --journal run.db script.lua > out 2> err & pid=$!
        until test "$(sqlite3 run.db 'select count(*) from tasks' 2> /dev/null)" -ge 149; do sleep 0.05; done
        kill -KILL $(sqlite3 -cmd '.timeout 20000' run.db "select value from meta where key = 'owner'" | sed 's/process \([0-9]*\) on .*/\1/')
        wait $pid
        test $? -gt 0 && echo "killed"]]):format(start), { directory = directory })
      assert.equal("killed\n", killed.stdout, killed.stderr)
      assert.equal("ok\n", sql("pragma integrity_check"))
      local recorded = {}
      for task in sql("select task from tasks"):gmatch("%d+") do recorded[task] = true end
      os.remove(directory .. "/ran")
      local result = helper.run("touch go; " .. start .. "--journal run.db --resume script.lua", { directory = directory })
      assert.equal("", result.stderr)
      assert.equal(plain.stdout, result.stdout)
      for task in helper.read(directory .. "/ran"):gmatch("%d+") do assert.is_nil(recorded[task], task .. " ran again") end
      assert.equal("200|3\n", sql("select count(*), count(distinct worker) from tasks"))
    end)
  end)

  local function sql(directory, path, text)
    return helper.run(("sqlite3 %s %s"):format(path, helper.quote(text)), { directory = directory }).stdout
  end

  it("the rows of a journal are those that another engine writes, also where results are joined on their way", function()
    helper.with_directory(function(directory)
      helper.write(directory .. "/script.lua", [[
        local parlua = require "parlua"
        local made = {
          numbers = function(i) return i / 7 end,
          texts = function(i) return "s" .. i end,
          records = function(i) return { x = i, y = "s" .. i } end,
          several = function(i) return i, "s" .. i, nil end,
          mixed = function(i) if i % 3 == 0 then return i elseif i % 3 == 1 then return true end end,
          functions = function(i) return i % 2 == 0 and print or i end,
        }
        local f = made[os.getenv "RESULTS"]
        local function g(i)
          if i % 17 == 0 then error("no " .. i, 0) end
          return f(i)
        end
        local list, n = {}, 0
        for i = 1, 1000 do list[i] = i end
        local sources = { range = parlua.range(1000), list = list, iterator = function()
          n = n + 1
          return n <= 1000 and n or nil
        end }
        local source = sources[os.getenv "SOURCE"]
        if os.getenv "CALL" == "each" then parlua.each(g, source) else parlua.map(g, source) end
      ]])
      local columns = "select task, hash, arguments, status, result, length(value) > 0, kind, message, attempts, host, seconds > 0 "
        .. "from tasks order by task"
      for _, what in ipairs { "map range numbers", "map range records", "map range functions", "map list texts",
        "map iterator several", "map iterator mixed", "each range numbers", "each iterator numbers" } do
        local call, source, results = what:match("(%S+) (%S+) (%S+)")
        local env = { CALL = call, SOURCE = source, RESULTS = results }
        helper.run(helper.quote(helper.parlua) .. " --engine process --journal one.db script.lua", { directory = directory, env = env })
        helper.run(helper.mpirun(2) .. " " .. helper.quote(helper.parlua) .. " --workers 110 --journal two.db script.lua",
          { directory = directory, env = env })
        local expected = sql(directory, "one.db", columns)
        assert.truthy(expected:find("\n999|", 1, true), what)
        assert.equal(expected, sql(directory, "two.db", columns), what)
        assert.equal("1\n", sql(directory, "two.db", "select count(distinct worker) > 55 from tasks"), what)
        os.remove(directory .. "/one.db")
        os.remove(directory .. "/two.db")
      end
    end)
  end)

  it("a row of the journal says when the task ended, also where the script took its result later", function()
    if helper.mpi == "mpich" then return end -- the ranks are spawned; Debian's is built without MPI_Comm_spawn
    helper.with_directory(function(directory)
      helper.write(directory .. "/script.lua", [[
        local parlua = require "parlua"
        local function count()
          local n = 0
          for _ in io.lines "ran" do n = n + 1 end
          return n
        end
        for i in parlua.imap(function(i)
          local file = io.open("ran", "a")
          file:write(i, "\n")
          file:close()
          return i
        end, parlua.range(4), { chunk = 1 }) do
          if i == 1 then
            while count() < 4 do os.execute "sleep 0.02" end
            os.execute "sleep 2; date +%s.%N > back"
          end
        end
      ]])
      -- the ranks are spawned: rank 0 has no workers
      local result = helper.run(helper.quote(helper.parlua) .. " --engine mpi --workers 2 --journal run.db script.lua",
        { directory = directory, env = { OMPI_ALLOW_RUN_AS_ROOT = "1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = "1" } })
      assert.equal("", result.stderr)
      local back = helper.read(directory .. "/back"):match("%S+")
      assert.equal("4|4\n", sql(directory, "run.db", ("select count(*), sum(ended < %s) from tasks"):format(back)))
    end)
  end)

  it("goes on from the journal of many workers when rank 0 was killed at any moment", function()
    helper.with_directory(function(directory)
      helper.write(directory .. "/script.lua", [[
        local parlua = require "parlua"
        local ffi = require "ffi"
        ffi.cdef "int usleep(unsigned int);"
        local results, _, summary = parlua.map(function(i)
          if os.getenv "SLOW" then ffi.C.usleep(10000) end
          return i / 3
        end, parlua.range(20000))
        for i = 1, 20000 do assert(results[i] == i / 3) end
        print("all", summary.resumed)
      ]])
      local start = helper.mpirun(2) .. " " .. helper.quote(helper.parlua) .. " --workers 110 "
      for _, least in ipairs { 1, 300, 1500 } do
        os.remove(directory .. "/run.db")
        local killed = helper.run(([[
          SLOW=1 %s --journal run.db script.lua > out 2> err & pid=$!
          until test "$(sqlite3 run.db 'select count(*) from tasks' 2> /dev/null)" -ge %d; do sleep 0.01; done
          kill -KILL $(sqlite3 -cmd '.timeout 20000' run.db "select value from meta where key = 'owner'" | sed 's/process \([0-9]*\) on .*/\1/')
          wait $pid
          test $? -gt 0 && echo "killed"]]):format(start, least), { directory = directory })
        assert.equal("killed\n", killed.stdout, killed.stderr)
        assert.equal("ok\n", sql(directory, "run.db", "pragma integrity_check"))
        assert.equal("1|0\n", sql(directory, "run.db", ("select count(*) >= %d, sum(result != task / 3.0) from tasks"):format(least)))
        local count = tonumber(sql(directory, "run.db", "select count(*) from tasks"))
        local result = helper.run(start .. "--journal run.db --resume script.lua", { directory = directory })
        assert.equal(("all\t%d\n"):format(count), result.stdout, result.stderr)
        assert.equal("20000|20000\n", sql(directory, "run.db", "select count(*), sum(result = task / 3.0) from tasks"))
      end
    end)
  end)

  it("64 ranks on this machine: every task once, every rank at work, an end", function()
    local output = output_of(64, [[
      -- Takes turns: no worker gets a second task before all have one, so that each rank is seen.
      local directory = os.tmpname()
      os.remove(directory)
      assert(os.execute("mkdir " .. directory) == 0)
      local parents, failures = parlua.map(function(i)
        io.open(directory .. "/" .. i, "w"):close()
        repeat local pipe = io.popen("ls " .. directory .. " | wc -l; sleep 0.05") until pipe:read("*n") == 64
        return io.open("/proc/self/stat"):read("*a"):match("%) %a (%d+)")
      end, parlua.range(64), { workers = 1, chunk = 1 })
      os.execute("rm -r " .. directory)
      local seen, count = {}, 0
      for i = 1, 64 do
        local parent = parents[i]
        if not seen[parent] then count = count + 1 end
        seen[parent] = true
      end
      print(count, #failures)
      local results = parlua.map(function(x) return 2 * x end, parlua.range(1e5))
      for i = 1, 1e5 do assert(results[i] == 2 * i) end
    ]])
    assert.equal("64\t0\n", output)
  end)

  it("ranks that were started in another directory read the script's files", function()
    helper.with_directory(function(directory)
      helper.write(directory .. "/words.txt", ("word\n"):rep(1000))
      helper.write(directory .. "/script.lua", [[
        local parlua = require "parlua"
        local lengths, failures = parlua.map(function(line) return #line end, parlua.lines "words.txt", { workers = 1 })
        print(lengths.n, #failures, lengths[1000])
      ]])
      local parlua = helper.quote(helper.parlua)
      local other = helper.mpi == "mpich" and "-n 1 -wdir /" or "-wdir / -n 1"
      local result = helper.run(("%s %s script.lua : %s %s script.lua"):format(helper.mpirun(2), parlua, other, parlua),
        { directory = directory })
      assert.same({ "1000\t0\t4\n", "" }, { result.stdout, result.stderr })
    end)
  end)

  --- Runs `calls` on three ranks of two workers, all of which are there. The file words.txt, 1000 lines of four letters, is there as
  --- /dev/fd/99, by a descriptor that only rank 0 and its workers have. Checks that it is told why ranks 1 and 2 leave their tasks to
  --- others, for each of `reasons`. Returns what was printed.
  local function run_lacking(calls, reasons)
    return helper.with_directory(function(directory)
      helper.write(directory .. "/words.txt", ("word\n"):rep(1000))
      helper.write(directory .. "/script.lua", [[
        local parlua, parlua_host = require "parlua", require "parlua.host"
        local function has_file()
          local file = io.open "/dev/fd/99"
          if file then return file:close() end
          error("there is no file", 0)
        end
        parlua.map(function(i) -- all workers are there
          io.open("there" .. i, "w"):close()
          for k = 1, 6 do
            while not io.open("there" .. k) do parlua_host.sleep(0.001) end
          end
        end, parlua.range(6), { chunk = 1 })
        local function four()
          parlua_host.sleep(0.001)
          return 4
        end
      ]] .. calls)
      local parlua = helper.quote(helper.parlua) .. " --workers 2 script.lua"
      local result = helper.run(("%s bash -c %s : -n 2 %s"):format(helper.mpirun(1), helper.quote("exec " .. parlua .. " 99< words.txt"),
        parlua), { directory = directory })
      local host = helper.run("uname -n").stdout:match "%S+"
      for rank = 1, 2 do
        local place = ("parlua: rank %d on %s leaves its tasks to others: "):format(rank, host)
        for _, reason in ipairs(reasons) do assert.truthy(result.stderr:find(place .. reason, 1, true), result.stdout .. result.stderr) end
      end
      return result.stdout
    end)
  end

  it("a rank that lacks a file of the source, or whose set-up raises, leaves its tasks to others; its host and the reason are told", function()
    local printed = run_lacking([[
      local function try(map, source, options)
        local lengths, failures, summary = parlua.map(map, source, options)
        local all = true
        for i = 1, 1000 do all = all and lengths[i] == 4 end
        print(lengths.n, #failures, all, summary.workers)
      end
      try(function(line) return line and four() end, parlua.lines "/dev/fd/99", { chunk = 1 })
      try(four, parlua.range(1000), { setup = has_file, chunk = 1 })
      print(select(2, pcall(parlua.map, four, parlua.range(1000), { setup = error })))
      try(four, parlua.range(1000), {})
    ]], { "cannot read '/dev/fd/99': ", "setup failed: there is no file" })
    local part = "1000\t0\ttrue\t2\n"
    assert.equal(part:rep(2) .. "setup failed: nil\n1000\t0\ttrue\t6\n", (printed:gsub("\nstack traceback:\n.-\n1000", "\n1000")))
  end)

  it("a reduction leaves tasks to the ranks that have what they need, too, with a merge and without, from every source", function()
    local printed = run_lacking([[
      local function add(a, b) return a + b end
      local function add_length(sums, row)
        sums[row.k] = (sums[row.k] or 0) + row.x
        return sums
      end
      local function add_sums(sums, more)
        for k, x in pairs(more) do sums[k] = (sums[k] or 0) + x end
        return sums
      end
      local function number(x) return x end
      local function row(x) return { k = "all", x = x } end
      local ways = {
        { "step", number, { init = 0, step = add }, number },
        { "merge", number, { init = 0, step = add, merge = add }, number },
        { "table", row, { init = {}, step = add_length, merge = add_sums }, function(sums) return sums.all end },
        { "sum", number, parlua.sum, number },
        { "group", row, parlua.group("k", parlua.sum "x"), function(sums) return sums.all end },
      }
      local function try(name, way, length, source, options)
        local _, made, reducer, sum_of = unpack(way)
        local value, failures, summary = parlua.reduce(function(task) return four() and made(length(task)) end, source, reducer, options)
        print(way[1], name, sum_of(value), #failures, summary.workers)
      end
      local function length(text) return #text end
      local function items()
        local k = 0
        return function()
          k = k + 1
          if k <= 1000 then return k end
        end
      end
      for _, way in ipairs(ways) do
        try("lines", way, length, parlua.lines "/dev/fd/99")
        try("csv", way, function(fields) return #fields[1] end, parlua.csv("/dev/fd/99", { header = false }))
        try("blocks", way, length, parlua.blocks("/dev/fd/99", { size = 10 }))
        try("range", way, function() return 4 end, parlua.range(1000), { setup = has_file })
        try("items", way, function() return 4 end, items(), { setup = has_file })
        local ok, why = pcall(try, "range", way, length, parlua.range(1000), { setup = function() error("no licence", 0) end })
        print(ok, (why:match "[^\n]+"))
      end
    ]], { "cannot read '/dev/fd/99': ", "setup failed: there is no file" })
    local lines = {}
    for _, way in ipairs { "step", "merge", "table", "sum", "group" } do
      for _, source in ipairs { "lines 4000", "csv 4000", "blocks 5000", "range 4000", "items 4000" } do
        lines[#lines + 1] = (("%s %s 0 2\n"):format(way, source):gsub(" ", "\t"))
      end
      lines[#lines + 1] = "false\tsetup failed: no licence\n"
    end
    assert.equal(table.concat(lines), printed)
  end)

  it("a function of pool:everywhere that raises on a rank other than 0 ends that call, whose error names the rank and its host", function()
    local printed = run_lacking([[
      local pool = parlua.pool()
      print(select(2, pcall(pool.everywhere, pool, has_file)))
      print(pool:map(four, parlua.range(10)).n)
    ]], {})
    local host = helper.run("uname -n").stdout:match "%S+"
    local message, place, rest = printed:match "^(everywhere at [^\n]+)\n.- %((on rank [12], host %S+)%)\n(.*)$"
    assert.matches("^everywhere at %S*script%.lua:%d+ failed: there is no file$", message, printed)
    assert.truthy(place == "on rank 1, host " .. host or place == "on rank 2, host " .. host, printed)
    assert.equal("10\n", rest)
  end)

  it("a call for which every rank lacks something raises, and names one of them", function()
    if helper.mpi == "mpich" then return end -- Debian's can't spawn ranks
    helper.with_directory(function(directory)
      helper.write(directory .. "/script.lua", [[
        local parlua = require "parlua"
        local options = { setup = function() error("no licence", 0) end }
        print(select(2, pcall(parlua.map, function() end, parlua.range(1000), options)))
        print(select(2, pcall(parlua.reduce, function() return 1 end, parlua.range(1000), parlua.sum, options)))
        print(parlua.map(function() return 1 end, parlua.range(10)).n)
      ]])
      local result = helper.run(helper.quote(helper.parlua) .. " --engine mpi --workers 2 script.lua", { directory = directory })
      local error_of_rank = "setup failed: no licence.-%(on rank [12], host %S+%)\n"
      assert.truthy(result.stdout:find("^" .. error_of_rank:rep(2) .. "10\n$"), result.stdout .. result.stderr)
    end)
  end)

  --- Runs a map of 100 tasks on four ranks, under a launcher that lets the job go on without a lost one. The task for which `condition`
  --- holds first kills its rank. Prints what `shown` says; the file `lost` is there when some task did so.
  local function run_losing(directory, condition, options, shown, environment)
    local script = helper.write(directory .. "/script.lua", ([[
      local parlua = require "parlua"
      local results, failures = parlua.map(function(i)
        local helper = io.open("/proc/self/stat"):read("*a"):match("%%) %%a (%%d+)")
        local rank = io.open("/proc/" .. helper .. "/stat"):read("*a"):match("%%) %%a (%%d+)")
        if %s and os.rename("whole", "lost") then os.execute("kill -9 " .. rank) end
        require("parlua.host").sleep(0.005)
        return i
      end, parlua.range(100), %s)
      for i = 1, 100 do assert(results[i] == i) end
      print(%s)
    ]]):format(condition, options, shown))
    helper.write(directory .. "/whole", "")
    local command = helper.mpirun(4):gsub("mpirun ", "mpirun --enable-recovery ")
    return helper.run(("%s %s %s"):format(command, helper.quote(helper.parlua), script),
      { directory = directory, seconds = 60, env = environment })
  end

  it("the tasks of a rank that is lost are done by others, where the launcher lets the job go on", function()
    if helper.mpi == "mpich" then return end -- its mpiexec ends the job
    helper.with_directory(function(directory)
      local result = run_losing(directory, "i == 20 and parlua.task.worker > 1", "{ chunk = 1 }", "results.n, #failures")
      assert.equal("100\t0\n", result.stdout)
      if lfs.attributes(directory .. "/lost") then
        assert.truthy(result.stderr:find("parlua: rank %d on .- is lost: its process has ended"), result.stderr)
      end
    end)
  end)

  it("the ranks below one that is lost end, and say why; others do their tasks", function()
    if helper.mpi == "mpich" then return end -- its mpiexec ends the job
    helper.with_directory(function(directory)
      local result = run_losing(directory, "parlua.task.worker == 2", "{ chunk = 1, workers = 1 }",
        "results.n, #failures, #parlua.map(function(i) return i end, parlua.range(100), { workers = 1 })", { PARLUA_MPI_FAN = "1" })
      assert.equal("100\t0\t100\n", result.stdout)
      assert.truthy(lfs.attributes(directory .. "/lost"))
      assert.truthy(result.stderr:find("parlua: rank 1 on .- is lost: its process has ended"), result.stderr)
      assert.truthy(result.stderr:find("parlua: rank 2 on .- ends: rank 1 on .-, from which it gets its tasks, is lost"), result.stderr)
    end)
  end)

  it("ranks form a tree where there are many, which gives the same", function()
    helper.with_directory(function(directory)
      local script = helper.write(directory .. "/script.lua", [[
        local parlua = require "parlua"
        local factor = 3
        local results, failures, summary = parlua.map(function(i)
          if i % 1000 == 0 then error("no", 0) end
          if i % 500 == 0 then print("line " .. i) end
          return i % 2 == 0 and i * factor or ("x"):rep(i % 50)
        end, parlua.range(20000), { workers = 2 })
        for i = 1, 20000 do
          assert(results[i] == (i % 1000 ~= 0 and (i % 2 == 0 and i * factor or ("x"):rep(i % 50)) or nil))
        end
        io.stderr:write(#failures, " ", summary.workers, "\n")
        local texts = {}
        for i = 1, 300 do texts[i] = ("y"):rep(i * 100) end
        local lengths = parlua.map(function(text) return #text end, texts, { chunk = 1, workers = 2 })
        for i = 1, 300 do assert(lengths[i] == i * 100) end
        local found = parlua.find(function(i) return i > 7000 end, parlua.range(1e9), { workers = 2 })
        io.stderr:write(tostring(found), "\n")
      ]])
      local result = run_ranks(5, script, { env = { PARLUA_MPI_FAN = "2" } })
      assert.equal("20 10\n7001\n", result.stderr)
      local lines = {}
      for line in result.stdout:gmatch "[^\n]+" do lines[#lines + 1] = tonumber(line:match "^line (%d+)$") end
      table.sort(lines)
      for k = 1, 20 do assert.equal(1000 * k - 500, lines[k]) end
      assert.equal(20, #lines)
    end)
  end)

  it("large strings go and come back as they were, also those of tasks that are tried again, or in which a worker dies", function()
    local output = output_of(3, [[
      local strings = {}
      for k = 1, 24 do strings[k] = k .. (string.char(96 + k)):rep(k % 6 == 0 and 10 or 2.5e6 + k) .. k end
      local function back(s)
        local task = parlua.task
        if task.index % 4 == 0 and task.attempt == 1 then error("once", 0) end
        if task.index % 7 == 0 and task.attempt == 1 then require("ffi").cast("int *", 0)[0] = 1 end
        return s
      end
      for _, chunk in ipairs { 1, 3, 8 } do
        local results, failures = parlua.map(back, strings, { chunk = chunk, retries = 1 })
        local whole = 0
        for k = 1, 24 do whole = whole + (results[k] == strings[k] and 1 or 0) end
        print(whole, #failures)
      end
    ]])
    assert.equal(("24\t0\n"):rep(3), output)
  end)

  it("a rank that has no memory for a large string loses that task alone", function()
    helper.with_directory(function(directory)
      local script = helper.write(directory .. "/script.lua", [[
        local parlua = require "parlua"
        local body, strings, kinds = ("x"):rep(200e6), {}, {}
        for k = 1, 20 do strings[k] = k % 4 == 1 and k .. body or tostring(k) end
        body = nil
        local function length(s)
          local is_own = parlua.task.worker <= parlua.cores() / 2
          for _ = 1, is_own and #s > 10 and 1000 or 0 do -- until the other rank has lost one
            if io.open(arg[1]) then break end
            os.execute("sleep 0.01")
          end
          return #s
        end
        local results = parlua.map(length, strings, { workers = 2, chunk = 1, on_error = function(failure)
          io.open(arg[1], "w"):close()
          kinds[failure.kind] = true
          return #failure.args[1]
        end })
        for k = 1, 20 do assert(results[k] == #strings[k], k) end
        for kind in pairs(kinds) do print(kind) end
      ]])
      local command = ("%s %s %s"):format(helper.quote(helper.parlua), script, directory .. "/given")
      local limited = "sh -c 'ulimit -v 250000; exec " .. command .. "'"
      local result = helper.run(("%s %s : -n 1 %s"):format(helper.mpirun(1), command, limited))
      assert.same({ "memory\n", "" }, { result.stdout, result.stderr })
    end)
  end)

  it("a host without memory for a large job leaves its tasks to others, and passes the job on", function()
    -- PARLUA_MPI_APART: each rank counts as a host; rank 3 gets the job through rank 1
    helper.with_directory(function(directory)
      local script = helper.write(directory .. "/script.lua", [[
        local parlua = require "parlua"
        local text = ("x"):rep(120e6)
        for k = 1, 2 do
          local results, failures = parlua.map(function(i) return #text + i * k end, parlua.range(100), { workers = 1, chunk = 1 })
          for i = 1, 100 do assert(results[i] == #text + i * k) end
          print(results.n, #failures)
          text = text .. "y"
        end
        local small = parlua.map(function(i) return i, parlua.task.worker end, parlua.range(100), { workers = 1, chunk = 1 })
        print(small.n)
      ]])
      local command = ("%s %s"):format(helper.quote(helper.parlua), script)
      local limited = "sh -c 'ulimit -v 250000; exec " .. command .. "'"
      local result = helper.run(("export PARLUA_MPI_APART=1; %s %s : -n 1 %s : -n 2 %s"):format(helper.mpirun(1), command,
        limited, command))
      assert.same({ 0, "100\t0\n100\t0\n100\n" }, { result.status, result.stdout })
      local _, told = result.stderr:gsub("parlua: rank 1 on %S+ leaves its host's tasks to others: no memory for a call's job of 12%d+ bytes", "")
      assert.equal(2, told, result.stderr)
      assert.truthy(result.stderr:find("only 3 of 4 workers of the mpi engine could be started: there is not enough memory", 1, true),
        result.stderr)
    end)
  end)

  it("a rank that may open few files has fewer workers, in one call after the other", function()
    helper.with_directory(function(directory)
      local script = helper.write(directory .. "/script.lua", [[
        local parlua = require "parlua"
        for _, letter in ipairs { "a", "b", "c" } do
          local text = letter:rep(20000)
          local results, failures = parlua.map(function(i) return #text + i end, parlua.range(500), { workers = 70 })
          print(results.n, #failures, results[500])
        end
      ]])
      local parlua = helper.quote(helper.parlua)
      local result = helper.run(("%s %s %s : -n 1 sh -c 'ulimit -n 60; exec %s %s'"):format(helper.mpirun(1), parlua, script,
        parlua, script))
      assert.equal(("500\t0\t20500\n"):rep(3), result.stdout)
      assert.truthy(result.stderr:find("of 140 workers of the mpi engine could be started: more files may not be open", 1, true),
        result.stderr)
    end)
  end)
end)
