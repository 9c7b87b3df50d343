-- Programs that tasks have started end with the script, however it ends.
local helper = require "spec.helper"
local lfs = require "lfs"

--- Is the process there, and not only waited for?
local function is_running(pid)
  local file = io.open("/proc/" .. pid .. "/stat")
  local text = file and file:read("*a")
  if file then file:close() end
  return text ~= nil and text ~= "" and not text:find("^%d+ %b() [ZX]")
end

--- The guard of the script's process, or nil.
local function guard_of(owner)
  for pid in lfs.dir("/proc") do
    local file = pid:find("^%d+$") and io.open("/proc/" .. pid .. "/cmdline")
    if file then
      local words = file:read("*a") or ""
      file:close()
      if words:find("^parlua%-guard%z") and words:find("\0" .. owner .. ".", 1, true) then return pid end
    end
  end
end

--- Waits until `what` is true, at most 20 seconds; returns whether it is.
local function wait_for(what)
  for _ = 1, 2000 do
    if what() then return true end
    os.execute("sleep 0.01")
  end
  return false
end

local function words_in(path)
  local words = {}
  for word in (lfs.attributes(path) and helper.read(path) or ""):gmatch("%S+") do words[#words + 1] = word end
  return words
end

--- How a task may start a program: Lua code. The program, a script called `program`, notes its number in `pids` and never ends.
local starts = {
  ["os.execute"] = [[os.execute("./program")]],
  ["os.execute, in the background"] = [[os.execute("./program &")]],
  ["os.execute, in a new session"] = [[os.execute("setsid ./program &")]],
  ["io.popen"] = [[io.popen("./program"):close()]],
  ["posix_spawn"] = [[
    local ffi = require "ffi"
    ffi.cdef "int posix_spawn(int *, const char *, void *, void *, const char *const *, char **); extern char **environ;"
    local words = ffi.new("const char *[2]")
    words[0] = "./program"
    assert(ffi.C.posix_spawn(ffi.new("int[1]"), "./program", nil, nil, words, ffi.C.environ) == 0)]],
  ["fork and exec"] = [[
    local ffi = require "ffi"
    ffi.cdef "int fork(void); int execv(const char *, const char *const *); int waitpid(int, int *, int);"
    local pid = ffi.C.fork()
    local words = ffi.new("const char *[2]")
    words[0] = "./program"
    if pid == 0 then ffi.C.execv("./program", words) end
    ffi.C.waitpid(pid, nil, 0)]],
}

local prologue = [[
  local parlua, ffi = require "parlua", require "ffi"
  ffi.cdef "int getpid(void); int kill(int, int);"
  local function write(path, text) local file = assert(io.open(path, "a")) file:write(text, "\n") file:close() end
  write("owner", ffi.C.getpid())
  --- Waits until so many programs run.
  local function await(n)
    local count, tries = 0, 0
    repeat
      tries = tries + 1
      assert(tries < 500, "the programs have not begun")
      os.execute("sleep 0.02")
      count = 0
      local file = io.open("pids")
      if file then for _ in file:lines() do count = count + 1 end file:close() end
    until count >= n
  end
]]

local ends = {
  ["calls os.exit"] = { "os.exit(3)", 3 },
  ["calls os.exit, closing its state"] = { "os.exit(3, true)", 3 },
  ["raises an error"] = { "error('the end')", 1 },
  ["comes to its end"] = { "", 0 },
  ["is killed"] = { "ffi.C.kill(ffi.C.getpid(), 9)", 137 },
}

describe("programs that tasks start", function()
  helper.for_each_engine(function(engine)
    local directory

    before_each(function()
      directory = helper.new_directory()
      helper.write(directory .. "/program", "#!/bin/sh\necho $$ >>pids\nexec sleep 500 </dev/null >/dev/null 2>&1\n")
      os.execute("chmod +x " .. directory .. "/program")
    end)
    after_each(function()
      for _, pid in ipairs(words_in(directory .. "/pids")) do os.execute("kill -9 " .. pid .. " 2>/dev/null") end
      helper.remove(directory)
    end)

    local function run(text)
      helper.write(directory .. "/script.lua", prologue .. text)
      return helper.run(helper.command(engine) .. " -n 2 script.lua", { directory = directory })
    end

    --- All programs end, and so does the guard.
    local function check_ended(count)
      local pids, owner = words_in(directory .. "/pids"), words_in(directory .. "/owner")[1]
      assert.equal(count, #pids)
      for _, pid in ipairs(pids) do assert.is_true(wait_for(function() return not is_running(pid) end), "a program runs on") end
      assert.is_true(wait_for(function() return not guard_of(owner) end), "the guard runs on")
    end

    for ending, case in pairs(ends) do
      it("end when the script " .. ending, function()
        local result = run([[
          local step, stream = parlua.imap(function(i)
            if i == 1 then return i end
            if i == 2 then os.execute("./program") else io.popen("./program & ./program"):close() end
          end, parlua.range(3), { workers = 3, chunk = 1 })
          assert(step(stream) == 1)
          await(3)
          ]] .. case[1])
        if engine ~= "mpi" or case[2] < 128 then assert.equal(case[2], result.status, result.stderr) end
        check_ended(3)
      end)
    end

    for start, code in pairs(starts) do
      it("by " .. start .. " end with a script that is killed", function()
        run([[
          local step, stream = parlua.imap(function(i)
            if i == 1 then return i end
            ]] .. code .. [[
          end, parlua.range(2), { workers = 2, chunk = 1 })
          assert(step(stream) == 1)
          await(1)
          ffi.C.kill(ffi.C.getpid(), 9)
        ]])
        check_ended(1)
      end)
    end

    it("run on when they have taken the mark off and are in a session of their own", function()
      local result = run([[
        parlua.each(function() os.execute("env -u PARLUA_FAMILY setsid ./program & ./program &") end, parlua.range(1))
        await(2)
      ]])
      assert.equal(0, result.status, result.stderr)
      local running
      local pids = words_in(directory .. "/pids")
      assert.is_true(wait_for(function()
        running = 0
        for _, pid in ipairs(pids) do running = running + (is_running(pid) and 1 or 0) end
        return running < 2
      end))
      assert.is_true(wait_for(function() return not guard_of(words_in(directory .. "/owner")[1]) end))
      assert.equal(1, running)
    end)

    it("end, while what the script itself has started runs on", function()
      local result = run([[
        os.execute("./program &")
        parlua.each(function() os.execute("true") end, parlua.range(4))
        await(1)
        os.exit(0)
      ]])
      assert.equal(0, result.status, result.stderr)
      assert.is_true(wait_for(function() return not guard_of(words_in(directory .. "/owner")[1]) end))
      assert.is_true(is_running(words_in(directory .. "/pids")[1]))
    end)

    it("have one guard; where there are none there is none", function()
      local result = run([[
        local function count()
          local pipe = io.popen("cat /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -c '^" .. ffi.C.getpid() .. "[.]'")
          return pipe:read("*n")
        end
        parlua.each(function(i) return i end, parlua.range(100))
        print(count())
        parlua.each(function(i) os.execute("true") io.popen("true"):close() end, parlua.range(20), { chunk = 1 })
        parlua.each(function(i) os.execute("true") end, parlua.range(20), { chunk = 1 })
        print(count())
      ]])
      assert.equal("0\n1\n", result.stdout, result.stderr)
    end)

    it("are all that a task meets which waits for its children: not the guard", function()
      local result = run([[
        print(parlua.map(function()
          local ffi = require "ffi"
          os.execute("true")
          ffi.cdef "int waitpid(int, int *, int);"
          return ffi.C.waitpid(-1, nil, 0)
        end, parlua.range(1))[1])
      ]])
      assert.equal("-1\n", result.stdout, result.stderr)
    end)
  end, { "process", "mpi" })
end)
