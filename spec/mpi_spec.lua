-- The mpi engine: the same script under mpirun. What all engines promise is shown by the specs that the last test here runs on it.

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

describe("without mpirun", function()
  it("--engine mpi says how to start", function()
    local result = helper.run_parlua([[-e 'require("parlua").map(math.sqrt, { 4 }, { engine = "mpi" })']])
    assert.equal(1, result.status)
    assert.truthy(result.stderr:find("was not started by mpirun or srun; start it as: mpirun -n 4 parlua", 1, true))
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
      assert.truthy(result.stderr:find("mpi engine, 2 workers", 1, true))
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

  it("SIGTERM to mpirun cancels what runs, and nothing is left behind", function()
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
      local result = helper.run(([[
        %s=1 %s %s --workers 2 job.lua . > out 2> err & pid=$!
        until [ -e began2 ] && [ -e began3 ] && [ -e began4 ]; do sleep 0.05; done
        kill -TERM $pid; wait $pid; echo "ended"
      ]]):format(mark, helper.mpirun(2), helper.quote(helper.parlua)), { directory = directory })
      assert.equal("ended\n", result.stdout)
      assert.truthy(helper.read(directory .. "/out"):find('"kind":"cancelled"', 1, true))
      assert.truthy(helper.read(directory .. "/err"):find("4 tasks, 1 returned, 3 failed, [%d.]+ s, mpi engine, 4 workers, interrupted"))
      assert.same({}, processes_with(mark))
    end)
  end)

  it("engine-independent specs pass on it", function()
    local specs = "spec/map_spec.lua spec/failures_spec.lua spec/sources_spec.lua spec/each_spec.lua spec/imap_spec.lua "
      .. "spec/reduce_spec.lua spec/property_spec.lua spec/random_spec.lua"
    local result = helper.run(helper.mpirun(3) .. " busted -o plainTerminal --lua=" .. helper.quote(helper.parlua) .. " " .. specs,
      { env = { SPEC_ENGINES = "mpi" } })
    assert.truthy(result.stdout:find("%d+ successes / 0 failures / 0 errors / 0 pending"), result.stdout .. result.stderr)
  end)
end)
