-- Where processes, threads, files or address space are limited: a run goes on with the workers that it can have, and says so.

local ffi = require "ffi"
local helper = require "spec.helper"

-- Sanitizers take address space without measure, and files for themselves.
ffi.cdef "void __asan_init(void); void __tsan_init(void); int geteuid(void);"
local is_sanitized = pcall(function() return ffi.C.__asan_init end) or pcall(function() return ffi.C.__tsan_init end)

local script = [[
  local ffi, parlua = require "ffi", require "parlua"
  ffi.cdef "int setrlimit(int which, const unsigned long *limits);"
  local function limit(which, soft, hard) assert(ffi.C.setrlimit(which, ffi.new("unsigned long[2]", soft, hard or soft)) == 0) end
  local function bytes() return io.open("/proc/self/statm"):read("*n") * 4096 end
  local function run(n, options)
    local results, failures, summary = parlua.map(function(i)
      local x = 0
      for k = 1, 1e5 do x = x + k end
      return i
    end, parlua.range(n), options or { chunk = 1 })
    for i = 1, n do assert(results[i] == i) end
    return #failures, summary.workers
  end
]]

--- Runs the script and `text`.
local function run(engine, workers, text, prefix)
  local result
  helper.with_directory(function(directory)
    os.execute("chmod 755 " .. directory)
    local path = helper.write(directory .. "/script.lua", script .. text)
    result = helper.run(("%s %s --engine %s -n %d %s"):format(prefix or "", helper.quote(helper.parlua), engine, workers, path))
  end)
  return result
end

--- The number of workers that the message tells, which must be that of the summary.
local function told(result, wanted, why)
  assert.equal(0, result.status, result.stderr)
  local count = result.stderr:match("^parlua: only (%d+) of " .. wanted .. " workers of the %a+ engine could be started: " .. why .. "[^\n]*\n$")
  assert.truthy(count, result.stderr)
  assert.equal(("0\t%s\n"):format(count), result.stdout)
  return tonumber(count)
end

describe("with too little", function()
  helper.for_each_engine(function(engine)
    it("address space for all workers, the run goes on with fewer, and says so once", function()
      if is_sanitized then return end
      local result = run(engine, 40, [[
        limit(9, bytes() + 64e6) -- RLIMIT_AS
        print(run(200))
        run(200) -- by now the script itself may take more
      ]])
      assert.is_true(told(result, 40, "there is not enough memory: see ulimit %-v") < 40)
    end)

    it("address space for any, the call raises what was too little", function()
      if is_sanitized then return end
      local result = run(engine, 2, [[
        collectgarbage()
        limit(9, bytes() + 1.5e6)
        print(select(2, pcall(parlua.map, math.sqrt, { 4 })))
      ]])
      assert.equal(("the %s engine cannot start workers: there is not enough memory: see ulimit -v\n"):format(engine), result.stdout)
    end)

    it("room for files, the call works, or raises what was too little", function()
      if is_sanitized then return end
      for files = 4, 12 do
        local result = run(engine, 6, ([[
          local ok, failures, workers = pcall(function() limit(7, %d) return run(50) end) -- RLIMIT_NOFILE
          print(ok, failures, workers)
        ]]):format(files))
        assert.equal(0, result.status, result.stderr)
        local refused = result.stdout:find("^false\tcannot open the " .. engine .. " engine: Too many open files")
        assert.truthy(refused or result.stdout == "true\t0\t6\n", result.stdout)
      end
    end)

    it("files for a descriptor each, the ends of workers without one are found", function()
      if is_sanitized or engine ~= "process" then return end
      local result = run(engine, 10, [[
        limit(7, 24) -- RLIMIT_NOFILE
        local results, failures = parlua.map(function(i)
          if i % 4 == 0 then os.exit(9) end
          return i
        end, parlua.range(60), { chunk = 1 })
        print(#failures, failures[1].kind, results[59])
      ]], "timeout 60")
      assert.same({ "15\tcrash\t59\n", 0 }, { result.stdout, result.status }, result.stderr)
    end)

    it("processes for all workers, the run goes on with fewer, and says so", function()
      if is_sanitized then return end
      if ffi.C.geteuid() ~= 0 or os.execute("command -v setpriv >/dev/null && setpriv --reuid=65534 --clear-groups " ..
        helper.quote(helper.parlua) .. " -e 'return' 2>/dev/null") ~= 0 then
        print("spec/limits_spec.lua: ulimit -u is not tested, as it takes root, setpriv, and a parlua that others may run")
        return
      end
      -- root's processes are not limited; those of a user that has no others are counted from 0
      local result = run(engine, 8, "limit(6, 4) print(run(200))", "setpriv --reuid=65533 --clear-groups") -- RLIMIT_NPROC
      assert.equal(3, told(result, 8, "more processes or threads are not allowed: see ulimit %-u"))
    end)

    it("files for a descriptor each, 1000 workers work, and leave some to the script", function()
      if is_sanitized then return end
      local result = run(engine, 1000, [[
        limit(7, 256, 1024)
        local held = {}
        for _ = 1, 100 do held[#held + 1] = assert(io.open("/dev/null")) end
        print(run(5000))
        for _ = 1, 100 do held[#held + 1] = assert(io.open("/dev/null")) end
      ]])
      assert.equal("0\t1000\n", result.stdout, result.stderr)
      assert.equal("", result.stderr)
    end)
  end, { "threads", "process" })
end)

-- A loop that is left early forgets its stream, which holds workers and descriptors until the collector finds it.
describe("loops over imap that are left by break", function()
  helper.for_each_engine(function(engine)
    it("do not use up the descriptors, however many there are", function()
      local result = run(engine, 8, [[
        limit(7, 200) -- RLIMIT_NOFILE
        local most = 0
        for k = 1, 100 do
          for i, v in parlua.imap(function(x) return 2 * x end, parlua.range(1e9)) do
            assert(v == 2 * i)
            if i == 3 then break end
          end
          local count = 0
          for _ in io.popen("ls /proc/" .. require("parlua.host").pid() .. "/fd"):lines() do count = count + 1 end
          most = math.max(most, count)
        end
        print(most < 200)
        print(run(100))
      ]])
      assert.equal(0, result.status, result.stderr)
      assert.equal("true\n0\t" .. (engine == "serial" and 1 or 8) .. "\n", result.stdout, result.stderr)
      assert.equal("", result.stderr)
    end)

    it("leave enough of them for a pool, where there are few", function()
      local result = run(engine, 2, [[
        limit(7, 24)
        for _ = 1, 20 do
          for i in parlua.imap(function(x) return x end, parlua.range(100)) do
            if i == 2 then break end
          end
        end
        print(parlua.submit(function() return "done" end):get())
      ]])
      assert.equal("done\n", result.stdout, result.stderr)
    end)

    it("do not take a stream away that is still held", function()
      local result = run(engine, 8, [[
        local streams = {}
        for k = 1, 40 do streams[k] = { parlua.imap(function(x) return k * x end, parlua.range(1e6)) } end
        for _ = 1, 3 do
          for k = 1, 40 do
            local step, state, control = unpack(streams[k])
            local i, v = step(state, control)
            streams[k][3] = i
            assert(v == k * i)
          end
        end
        for k = 1, 40 do streams[k][2]:close() end
        print("all there")
      ]])
      assert.equal("all there\n", result.stdout, result.stderr)
    end)
  end, { "serial", "threads", "process", "async" })
end)
