-- Tasks that do what they should not. Each costs at most itself: the others return, the next call works, and nothing hangs.

local helper = require "spec.helper"

local prologue = [[
local ffi, parlua = require "ffi", require "parlua"
local concat, tostring, print = table.concat, tostring, print
--- Shows the results of a call in a line, and then its failures.
local function show(results, failures)
  local shown = {}
  for i = 1, results.n do shown[i] = tostring(results[i]) end
  for _, failure in ipairs(failures) do
    shown[#shown + 1] = ("[%d %s: %s]"):format(failure.index, failure.kind, failure.message:sub(1, 100):gsub("\n.*", ""))
  end
  print(concat(shown, " "))
end
--- A task of four: the second does `misdeed`.
local function try(misdeed, options)
  show(parlua.map(function(i)
    if i == 2 then misdeed() end
    return i
  end, parlua.range(4), options))
end
]]

local all_right, one_failed = "^1 2 3 4$", "^1 nil 3 4 %[2 error: "
local crashed = "^1 nil 3 4 %[2 crash: the worker exited with status 1%]$"
local told = "^1 nil 3 4 %[2 error: .*: no more%]$"

--- What each does, and the line that is shown; or a table of lines by engine, with one for all others.
local misdeeds = {
  { "raises in a finalizer", "^1 %w+ 3 4", [[
    local p = newproxy(true)
    getmetatable(p).__gc = function() error("in a finalizer") end
    p = nil
    collectgarbage()
    collectgarbage()]] },
  { "raises an object whose __tostring raises one whose __tostring raises", one_failed .. ".*innermost", [[
    local inner = setmetatable({}, { __tostring = function() error("innermost") end })
    error(setmetatable({}, { __tostring = function() error(inner) end }))]] },
  { "yields across the call", one_failed .. ".*attempt to yield", "coroutine.yield(1)" },
  { "recurses without end", one_failed .. ".*stack overflow", "local function deeper(n) return 1 + deeper(n + 1) end deeper(1)" },
  { "recurses without end in a metamethod", one_failed .. ".*stack overflow", [[
    local meta = {}
    meta.__index = function(t, k) return t[k .. "x"] end
    return setmetatable({}, meta).x]] },
  { "gives a pattern that is too complex", one_failed .. ".*pattern too complex",
    [[return (("x"):rep(1e5)):find((".-"):rep(1e5) .. "b")]] },
  { "raises in a coroutine in a coroutine", one_failed .. ".*innermost", [[
    coroutine.wrap(function() coroutine.wrap(function() error("innermost") end)() end)()]] },
  { "raises through functions of C", one_failed .. ".*in the comparison", [[
    table.sort({ 3, 2, 1 }, function() ("x"):gsub(".", function() error("in the comparison") end) end)]] },
  { "raises through a C function that calls back", one_failed .. ".*in the callback", [[
    local ffi = require "ffi"
    pcall(ffi.cdef, "void qsort(void *, size_t, size_t, int (*)(const void *, const void *));")
    ffi.C.qsort(ffi.new("int[3]", 3, 2, 1), 3, 4, function() error("in the callback") end)]] },
  { "turns the compiler off", all_right, "jit.off() jit.flush() jit.off(true, true)" },
  { "stops the collection of garbage", all_right, [[collectgarbage("stop") for _ = 1, 1e5 do local _ = {} end]] },
  { "closes standard output and error", all_right, [[
    io.stdout:close()
    io.stderr:close()
    io.write("")]] },
  { "closes all files but the standard ones", all_right, [[
    local ffi = require "ffi"
    pcall(ffi.cdef, "int close(int);")
    for fd = 3, 200 do ffi.C.close(fd) end]], only = { "process", "mpi" } },
  { "closes the standard files under Lua's feet", all_right, [[
    local ffi = require "ffi"
    pcall(ffi.cdef, "int close(int);")
    for fd = 0, 2 do ffi.C.close(fd) end]], only = { "process", "mpi" } },
  { "writes to a full disk", one_failed .. ".*No space left on device", [[
    local file = assert(io.open("/dev/full", "w"))
    assert(file:write(("x"):rep(1e6)))
    assert(file:close())]] },
  { "writes to a pipe that nobody reads", "^1 nil 3 4 %[2 crash: the worker was killed by SIGPIPE%]$", [[
    local pipe = io.popen("exec true", "w")
    os.execute("sleep 0.05")
    for _ = 1, 100 do
      pipe:write(("x"):rep(1e5))
      pipe:flush()
    end]], only = { "process", "mpi" } },
  { "sends SIGTERM to the helper of its rank", all_right, [[
    local ffi = require "ffi"
    pcall(ffi.cdef, "int kill(int, int); int getppid(void);")
    ffi.C.kill(ffi.C.getppid(), 15)]], only = { "mpi" } },
  { "forks: its child ends where the task does", all_right, [[
    local ffi = require "ffi"
    pcall(ffi.cdef, "int fork(void); int waitpid(int, int *, int);")
    local pid = ffi.C.fork()
    if pid > 0 then ffi.C.waitpid(pid, nil, 0) end]], only = { "threads", "process", "mpi" } },
  { "calls os.exit(0)", { threads = one_failed .. ".*os.exit: a task of the threads engine",
    "^1 nil 3 4 %[2 crash: the worker exited with status 0%]$" }, "os.exit(0)", only = { "threads", "process", "mpi" } },
  { "raises each signal that can be caught", { threads = "^0$", mpi = "^18$", "^19$" }, [[]], only = { "threads", "process", "mpi" }, script = [[
    local deaths = 0
    for number = 1, 31 do
      if not ({ [9] = 1, [18] = 1, [19] = 1, [20] = 1, [21] = 1, [22] = 1 })[number] then -- those end or stop a process for sure
        local results, failures = parlua.map(function(i)
          local ffi = require "ffi"
          pcall(ffi.cdef, "int raise(int);")
          if i == 2 then ffi.C.raise(number) end
          return i
        end, parlua.range(4))
        assert(results[1] == 1 and results[3] == 3 and results[4] == 4 and #failures <= 1)
        if failures[1] then
          assert(failures[1].index == 2 and failures[1].kind == "crash", failures[1].message)
          deaths = deaths + 1
        else
          assert(results[2] == 2)
        end
      end
    end
    print(deaths)]] },
  { "loses modules and the ways to find them", all_right, [[
    package.path, package.cpath, package.preload, package.loaders = "/nowhere", "", nil, nil
    for name in pairs(package.loaded) do package.loaded[name] = nil end]], alone = true },
  { "leaves a hook that raises", { serial = "raises", crashed }, [[debug.sethook(function() error("from the hook") end, "", 1)]],
    alone = true },
  { "takes globals away", { serial = "raises", "^1 nil 3 4 %[2 %w+: " }, [[
    local g = _G
    for name in pairs(g) do g[name] = nil end
    g.error("no more")]], alone = true },
  { "takes the functions for strings away", { serial = "raises", told }, [[
    for name in pairs(string) do string[name] = nil end
    for name in pairs(table) do table[name] = nil end
    error("no more")]], alone = true },
  { "gives strings metamethods that raise", { serial = "raises", told }, [[
    local error = error
    getmetatable("").__index = function() error("no strings") end
    error("no more")]], alone = true },
  { "changes environments", { serial = "raises", async = all_right, "^1 %w+ 3 4" }, [[
    local setfenv, pcall = setfenv, pcall
    for level = 0, 9 do pcall(setfenv, level, {}) end]], alone = true },
  { "reaches into the functions that called it",
    { serial = "raises", async = "^1 2 nil nil %[3 error: .*%[4 error: ", crashed }, [[
    for level = 1, 30 do
      local info = debug.getinfo(level, "f")
      if not info then break end
      for k = 1, 60 do
        if not debug.setupvalue(info.func, k, nil) then break end
      end
    end]], alone = true },
}

--- The script's lines for one misdeed.
local function script_of(case)
  return case.script and ("do\n%s\nend\n"):format(case.script) or ("try(function()\n%s\nend)\n"):format(case[3])
end

local function is_for(case, engine)
  if not case.only then return true end
  for _, name in ipairs(case.only) do
    if name == engine then return true end
  end
  return false
end

describe("where tasks run in the script's own process, it ends as any program does after a task that", function()
  helper.for_each_engine(function(engine)
    for _, case in ipairs {
      { "touches memory that is not its own", "ffi.cast('int *', 16)[0] = 1", 128 + 11, sanitized = 1 },
      { "aborts", "pcall(ffi.cdef, 'void abort(void);') ffi.C.abort()", 128 + 6 },
      { "closes the standard files under Lua's feet", "pcall(ffi.cdef, 'int close(int);') for fd = 0, 2 do ffi.C.close(fd) end print(1)", 1 },
      { "calls os.exit", "os.exit(7)", 7, only = "serial" },
    } do
      if (case.only or engine) == engine then
        it(case[1], function()
          local result = helper.run_parlua("--engine " .. engine .. " -n 2 -", { stdin = prologue ..
            ("show(parlua.map(function(i)\nlocal ffi = require 'ffi'\nif i == 2 then %s end\nreturn i\nend, parlua.range(4)))"):format(case[2]) })
          assert.equal("", result.stdout)
          if result.status ~= case.sanitized then assert.equal(case[3], result.status, result.stderr) end
        end)
      end
    end
  end, { "serial", "threads" })
end)

it("a task of the serial engine that forks goes on twice, as any script", function()
  local result = helper.run_parlua("--engine serial -", { stdin = prologue .. [[
    local results = parlua.map(function(i)
      if i ~= 2 then return i end
      pcall(ffi.cdef, "int fork(void); int waitpid(int, int *, int);")
      local pid = ffi.C.fork()
      if pid > 0 then ffi.C.waitpid(pid, nil, 0) end
      return pid > 0 and "parent" or "child"
    end, parlua.range(3))
    io.write(results[2], " ")
  ]] })
  assert.same({ "child parent ", 0 }, { result.stdout, result.status }, result.stderr)
end)

describe("a task that", function()
  helper.for_each_engine(function(engine)
    --- Misdeeds that leave the worker as it was are done one after another in one program, which is run when first asked for.
    local lines
    local function line_of(case)
      if not lines then
        local text = { prologue }
        for k, each in ipairs(misdeeds) do
          if is_for(each, engine) and not each.alone then
            text[#text + 1] = ("print('case %d')\n%s"):format(k, script_of(each))
          end
        end
        local result = helper.run_parlua("--engine " .. engine .. " -n 2 -", { stdin = table.concat(text) .. "print('end')\n" })
        assert.equal(0, result.status, result.stdout .. result.stderr)
        lines = {}
        for k, line in result.stdout:gmatch("case (%d+)\n([^\n]*)\n") do lines[tonumber(k)] = line end
      end
      for k, each in ipairs(misdeeds) do
        if each == case then return lines[k] end
      end
    end

    for _, case in ipairs(misdeeds) do
      if is_for(case, engine) then
        it(case[1], function()
          local expected = case[2]
          if type(expected) == "table" then
            expected = expected[engine] or helper.in_script[engine] and expected.serial or expected[1]
          end
          if not case.alone then
            local line = line_of(case) or "nothing"
            assert.truthy(line:gsub("\t", " "):find(expected), line)
            return
          end
          -- What breaks a worker's state breaks the script's own on serial: there the call raises, and the program ends in good order.
          local result = helper.run_parlua("--engine " .. engine .. " -n 2 -", { stdin = prologue .. script_of(case)
            .. (not helper.in_script[engine] and "show(parlua.map(function(i) return -i end, parlua.range(4), { workers = 3 }))\n" or "") })
          if expected == "raises" then
            assert.equal(1, result.status, result.stdout .. result.stderr)
            assert.truthy(result.stderr:find("^parlua: "), result.stderr)
          else
            assert.equal(0, result.status, result.stdout .. result.stderr)
            local first, second = result.stdout:match("^([^\n]*)\n?([^\n]*)")
            assert.truthy(first:find(expected), result.stdout .. result.stderr)
            assert.equal(not helper.in_script[engine] and "-1 -2 -3 -4" or "", second)
          end
        end)
      end
    end
  end)
end)

describe("a task that changes the directory, the environment and the umask", function()
  helper.for_each_engine(function(engine)
    local is_shared = helper.in_script[engine] or engine == "threads"

    it(is_shared and "changes those of the program" or "leaves those of the script alone", function()
      local result = helper.run(helper.command(engine) .. " -n 2 -", { stdin = [[
        local ffi, parlua = require "ffi", require "parlua"
        ffi.cdef "int chdir(const char *); int setenv(const char *, const char *, int); unsigned umask(unsigned);"
        ffi.C.chdir "/usr"
        ffi.C.umask(0x12)
        local failures = parlua.each(function()
          ffi.C.chdir "/"
          ffi.C.setenv("SPEC_CHANGED", "yes", 1)
          ffi.C.umask(0x3f)
        end, { 1 })
        print(#failures, io.popen "pwd":read(), os.getenv "SPEC_CHANGED", ffi.C.umask(0))]] })
      assert.equal(is_shared and "0\t/\tyes\t63\n" or "0\t/usr\tnil\t18\n", result.stdout, result.stderr)
    end)
  end)
end)
