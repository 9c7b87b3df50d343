-- What becomes of tasks when memory runs out for the machine, or for a group of its processes. (Lua's own lack of memory is in
-- failures_spec.lua, a worker's limit in process_spec.lua.)

local lfs = require "lfs"

local helper = require "spec.helper"

--- A new memory cgroup with a limit; nil where none can be made. The caller removes it.
local function new_cgroup(bytes)
  local function try(directory, limit_file)
    local path = directory .. "/parlua-spec-" .. tostring({}):match("0x(%x+)")
    if not lfs.mkdir(path) then return nil end
    local file = io.open(path .. "/" .. limit_file, "w")
    if file and file:write(bytes) and file:close() then return path end
    if file then pcall(file.close, file) end
    lfs.rmdir(path)
  end
  for line in io.lines("/proc/self/cgroup") do
    local controllers, own = line:match("^%d+:(.-):(.*)$")
    if own == "/" then own = "" end
    if controllers == "memory" then
      return try("/sys/fs/cgroup/memory" .. own, "memory.limit_in_bytes")
    elseif controllers == "" and lfs.attributes("/sys/fs/cgroup/cgroup.controllers") then
      -- version 2: a group that has processes of its own can't have limited ones below it, but beside it
      return try("/sys/fs/cgroup" .. own, "memory.max") or try("/sys/fs/cgroup" .. own:gsub("/[^/]*$", ""), "memory.max")
    end
  end
end

describe("the kernel's choice when memory runs out", function()
  helper.for_each_engine(function(engine)
    it("falls on workers before all others, not on the coordinator", function()
      local result = helper.run_parlua("--engine " .. engine .. " -n 2 -", { stdin = [[
        local parlua = require "parlua"
        local function score() return io.open("/proc/self/oom_score_adj"):read("*n") end
        local before = score()
        local scores = parlua.map(function() return io.open("/proc/self/oom_score_adj"):read("*n") end, { 1, 2 })
        print(scores[1], scores[2], score() == before and before < 1000)
      ]] })
      assert.equal("1000\t1000\ttrue\n", result.stdout, result.stderr)
    end)
  end, { "process", "mpi" })
end)

describe("a worker that the kernel ends for lack of memory", function()
  helper.for_each_engine(function(engine)
    it("is a memory failure of its task, and the others go on", function()
      local group = new_cgroup(150e6)
      if not group then
        print("spec/memory_spec.lua: the kernel's end of a worker is not shown, as no memory cgroup can be made here")
        return
      end
      local result
      helper.with_directory(function(directory)
        local script = helper.write(directory .. "/script.lua", [[
          local ffi, parlua = require "ffi", require "parlua"
          local results, failures = parlua.map(function(i)
            if i == 3 then
              local held = {}
              for k = 1, 4000 do held[k] = ffi.new("char[?]", 1e6, 1) end
            end
            return i
          end, parlua.range(8), { chunk = 1 })
          print(results[1], results[2], results[3], results[4], results[8], #failures)
          for _, failure in ipairs(failures) do print(failure.index, failure.kind, failure.message) end
        ]])
        local ok, message = pcall(function()
          local start = engine == "mpi" and helper.mpirun(2) .. " " or ""
          result = helper.run(("echo $$ > %s/cgroup.procs; %s%s --engine %s -n 2 %s"):format(group, start,
            helper.quote(helper.parlua), engine, script))
        end)
        assert(lfs.rmdir(group), "the cgroup is still in use")
        assert(ok, message)
      end)
      assert.equal("1\t2\tnil\t4\t8\t1\n3\tmemory\tthe kernel ended the worker, as memory ran out\n", result.stdout, result.stderr)
      assert.equal(0, result.status)
    end)
  end, { "process", "mpi" })
end)

describe("the memory of large tables", function()
  it("keeps what is in it where a library has put a function of four parameters in the place of mremap, as UCX does under MPI", function()
    helper.with_directory(function(directory)
      helper.write(directory .. "/ucx.c", [[
        #define _GNU_SOURCE
        #include <stddef.h>
        #include <sys/syscall.h>
        #include <unistd.h>
        void *mremap(void *memory, size_t old, size_t size, int flags)
        {
          return (void *)syscall(SYS_mremap, memory, old, size, flags, NULL);
        }]])
      helper.write(directory .. "/script.lua", [[
        local list = {}
        for i = 1, 600000 do list[i] = i end
        local wrong = 0
        for i = 1, 600000 do wrong = wrong + (list[i] == i and 0 or 1) end
        print(wrong)]])
      local result = helper.run(("cc -shared -fPIC -o ucx.so ucx.c || exit; env LD_PRELOAD=./ucx.so %s %s script.lua"):format(
        "ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0", helper.quote(helper.parlua)), { directory = directory })
      assert.same({ "0\n", "", 0 }, { result.stdout, result.stderr, result.status })
    end)
  end)
end)

describe("the memory of workers", function()
  helper.for_each_engine(function(engine)
    it("is collected at the pace that the script or a task has set", function()
      local result = helper.run_parlua("--engine " .. engine .. " -n 2 -", { stdin = [[
        local parlua = require "parlua"
        local function pause_later()
          for _ = 1, 3 do collectgarbage() end
          local pause = collectgarbage("setpause", 200)
          collectgarbage("setpause", pause)
          return pause
        end
        local function set()
          local before = collectgarbage("setpause", 150)
          local pause = pause_later()
          collectgarbage("setpause", before)
          return pause
        end
        print(parlua.map(set, { 1 })[1])
        collectgarbage("setpause", 300)
        print(parlua.map(pause_later, { 1 })[1])
        collectgarbage("setpause", 200)
        print(parlua.map(pause_later, { 1 })[1] >= 200)
      ]] })
      assert.equal("150\n300\ntrue\n", result.stdout, result.stderr)
    end)

    it("is given back when their pool is closed", function()
      -- a state takes half a megabyte at least: forty of them more than the room that all else has here
      local result = helper.run_parlua("--engine " .. engine .. " -", { stdin = [[
        local parlua = require "parlua"
        local function resident() return tonumber(io.open("/proc/self/status"):read("*a"):match("RssAnon:%s*(%d+)")) end
        local function use_pools(count)
          for _ = 1, count do
            local pool = parlua.pool { workers = 2 }
            pool:map(function(i) return { i, tostring(i) } end, parlua.range(3000))
            pool:close()
          end
          collectgarbage()
          collectgarbage()
          return resident()
        end
        local before = use_pools(20)
        local grown = use_pools(40) - before
        print(grown < 20e3 or grown)
      ]] })
      assert.equal("true\n", result.stdout, result.stderr)
    end)
  end, { "threads", "process" })
end)
