--- What of a script's state can't be sent to workers is told where it is used, never left out in silence; and what
--- functions make when they first need it is made in each worker.
local helper = require "spec.helper"

local MODULES = {
  audit = [[
    local M, file = { config = {} }, nil
    function M.open(to) file = to end
    function M.note(text) if file then file:write(text) return "noted" end return "not noted" end
    function M.config_note(text) if M.config.file then M.config.file:write(text) return "noted" end return "not noted" end
    function M.double(x) return 2 * x end
    return M]],
  store = [[
    local M, made, by_name = {}, nil, {}
    local function connect() return io.tmpfile() end
    function M.close() if made then made:close() end end
    function M.upvalue() made = made or connect() return io.type(made) end
    function M.field() if not M.conn then M.conn = connect() end return io.type(M.conn) end
    function M.global() store_conn = store_conn or connect() return io.type(store_conn) end
    function M.table(name) by_name[name] = by_name[name] or connect() return io.type(by_name[name]) end
    function M.global_alone() return io.type(store_conn) end
    local target
    function M.open(to) if target then target:close() end target = to end
    function M.write(text) return target:write(text) end
    return M]],
}

--- What a script writes on an engine, with the modules beside it; and its standard error.
local function run(engine, text)
  return helper.with_directory(function(directory)
    for name, source in pairs(MODULES) do helper.write(directory .. "/" .. name .. ".lua", source) end
    helper.write(directory .. "/script.lua", ([[
      local parlua = require "parlua"
      package.path = %q .. "/?.lua;" .. package.path
      --- What a task returns, or the message of its failure.
      local function try(f)
        local ok, results, failures = pcall(parlua.map, f, { 1 }, { warn = false })
        print(not ok and results or failures[1] and failures[1].message or tostring(results[1]))
      end
    ]]):format(directory) .. text)
    local result = helper.run(helper.command(engine) .. " -n 1 " .. directory .. "/script.lua")
    assert.equal(0, result.status, result.stderr)
    local lines = {}
    for line in result.stdout:gmatch "[^\n]+" do -- what goes on a message is indented
      if not line:find "^[\t ]" then lines[#lines + 1] = line:gsub("^%S+:%d+: ", "") end
    end
    return lines, result.stderr
  end)
end

local FILE = "as it is userdata (FILE*): open it in the task, or in `setup`"

--- Has a worker of the engine the script's own state?
local function has_all(engine) return engine == "process" or helper.in_script[engine] end

--- Asserts what a script writes: `expected` has for each line what it is where workers have the script's own state, and
--- a part of what it is elsewhere (nil: the same).
local function assert_writes(engine, text, expected)
  local lines, err = run(engine, text)
  for k, pair in ipairs(expected) do
    local line = lines[k] or err
    if has_all(engine) or not pair[2] then
      assert.equal(pair[1], line)
    else
      assert.truthy(line:find(pair[2], 1, true), line)
    end
  end
end

describe("what can't be sent of a script's state", function()
  local function each(what, text, expected)
    helper.for_each_engine(function(engine)
      it(what, function() assert_writes(engine, text, expected) end)
    end, { "threads", "process", "mpi", "serial", "async" })
  end

  each("is told where a task uses a field of a library", [[
    local file = io.tmpfile()
    function string.note(s) file:write(s) return #s end
    function string.twice(s) return s .. s end
    table.file, table.limits = file, { file = file, level = 3 }
    os.time = function() file:write "time" return 5 end
    math.list = {}
    for k = 1, 2e5 do math.list[k] = k end
    try(function() return ("ab"):note() end)
    try(function() return ("ab"):twice() end)
    try(function() return table.file:write "x" and "written" end)
    try(function() return table.limits.level end)
    try(function() return table.limits.file:write "x" and "written" end)
    try(function() return os.time() end)
    try(function() return math.list[7] end)
    try(function() return math.floor(2.5) end)
  ]], {
    { "2", "string.note is not in this worker: upvalue 'file' of function at " },
    { "abab" },
    { "written", "table.file is not in this worker: it can't be sent there, " .. FILE },
    { "3" },
    { "written", "table.limits.file is not in this worker: it can't be sent there, " .. FILE },
    { "5", "os.time is not in this worker: upvalue 'file' of function at " },
    { "7", "math.list is not in this worker: it takes more than 1 MB; give it to the task as an argument, or let the function hold it" },
    { "2" },
  })

  each("is told where a task uses a metatable of a basic type", [[
    local file, co = io.tmpfile(), coroutine.create(function() return 1 end)
    debug.setmetatable(1, { __index = { co = co, half = function(n) return n / 2 end, note = function() file:write "x" return 1 end } })
    getmetatable("").__add = function(a, b) file:write(a) return a .. b end
    getmetatable("").__mul = function(a, n) return a:rep(n) end
    try(function() return (4):half() end)
    try(function() return (4):note() end)
    try(function() return (select(2, coroutine.resume((4).co))) end)
    try(function() return "a" + "b" end)
    try(function() return "a" * 3 end)
    try(function() return ("a"):upper() end)
  ]], {
    { "2" },
    { "1", "debug.getmetatable(0).__index.note is not in this worker: upvalue 'file' of function at " },
    { "1", "debug.getmetatable(0).__index.co is not in this worker: it can't be sent there, as it is a coroutine: make it in the task" },
    { "ab", "getmetatable(\"\").__add is not in this worker: upvalue 'file' of function at " },
    { "aaa" },
    { "A" },
  })

  each("is told where a task needs the metatable of _G", [[
    local file = io.tmpfile()
    setmetatable(_G, { __index = function(_, name) file:write(name) return name == "lazy" and 42 or nil end })
    try(function() return lazy end)
  ]], { { "42", "getmetatable(_G).__index is not in this worker: upvalue 'file' of function at " } })

  each("is told where a task needs a metatype", [[
    local ffi, file = require "ffi", io.tmpfile()
    ffi.cdef "typedef struct { int n; } absent_t;"
    ffi.metatype("absent_t", { __index = { note = function(s) file:write "x" return s.n end, get = function(s) return s.n end } })
    try(function() return ffi.new("absent_t", 3):get() end)
    try(function() return ffi.new("absent_t", 3):note() end)
  ]], { { "3" }, { "3", ".__index.note is not in this worker: upvalue 'file' of function at " } })

  each("is told where a task requires what a loader of the script's gives", [[
    local file = io.tmpfile()
    package.preload["made.here"] = function() file:write "x" return { n = 1 } end
    table.insert(package.loaders, 2, function(name)
      file:write(name)
      return name == "made.there" and function() return { n = 2 } end or nil
    end)
    package.loaded["made.coroutine"] = coroutine.create(function() end)
    package.loaded["made.large"] = {}
    for k = 1, 2e5 do package.loaded["made.large"][k] = k end
    try(function() return require "made.here".n end)
    try(function() return require "made.there".n end)
    try(function() return type(require "made.coroutine") end)
    try(function() return #package.loaded["made.large"] end)
    try(function() return require "audit".double(4) end)
  ]], {
    { "1", "package.preload['made.here'] is not in this worker: upvalue 'file' of function at " },
    { "2", "module 'made.there' not found:" },
    { "thread", "module 'made.coroutine' is not in this worker: it can't be sent there, as it is a coroutine" },
    { "200000", "module 'made.large' is not in this worker: it takes more than 1 MB; give it to the task as an argument" },
    { "8" },
  })

  each("is told where a task uses a field or an upvalue of a module that the script has set", [[
    local audit = require "audit"
    audit.open(io.tmpfile())
    audit.extra, audit.config.file, audit.config.level = io.tmpfile(), io.tmpfile(), 5
    audit.lines = io.lines(arg[0])
    audit.step = coroutine.create(function() return "stepped" end)
    try(function() return audit.note "x" end)
    try(function() return audit.config_note "x" end)
    try(function() return audit.config.level end)
    try(function() return audit.extra:write "x" and "written" end)
    try(function() return type(audit.lines()) end)
    try(function() return (select(2, coroutine.resume(audit.step))) end)
    try(function() return audit.double(4) end)
  ]], {
    { "noted", "upvalue 'file' of function at " },
    { "noted", "module 'audit'.config.file is not in this worker: it can't be sent there, " .. FILE },
    { "5" },
    { "written", "module 'audit'.extra is not in this worker: it can't be sent there, " .. FILE },
    { "string", "module 'audit'.lines is not in this worker: it can't be sent there, as it is a C function that no loaded module has" },
    { "stepped", "module 'audit'.step is not in this worker: it can't be sent there, as it is a coroutine" },
    { "8" },
  })
end)

describe("a module with an object of a C module in it", function()
  helper.for_each_engine(function(engine)
    it("is made again by its function in package.preload; else a C function that is given the object tells", function()
      assert_writes(engine, [[
        local lpeg = require "lpeg"
        package.preload.grammar = function()
          local lpeg = require "lpeg"
          local M = { number = lpeg.C(lpeg.R "09" ^ 1) / tonumber }
          function M.parse(text) return lpeg.match(M.number, text) end
          return M
        end
        local grammar = require "grammar"
        try(function() return grammar.parse "42" end)
        local inline = { number = lpeg.P "1" }
        function inline.parse(text) return require "lpeg".match(inline.number, text) end
        package.loaded.inline = inline
        try(function() return require "inline".parse "1" end)
      ]], {
        { "42" },
        { "2", "lpeg-pattern expected, got userdata); module 'inline'.number is not in this worker: it can't be sent there, as it is userdata" },
      })
    end)
  end, { "threads", "process", "mpi", "serial", "async" })
end)

describe("a module that connects when it is first asked", function()
  helper.for_each_engine(function(engine)
    it("does so in each worker, wherever it keeps its connection", function()
      assert_writes(engine, [[
        local store = require "store"
        store.global()
        try(function() return store.global_alone() end)
        for _ = 1, 2 do
          try(function() return store.upvalue() end)
          try(function() return store.field() end)
          try(function() return store.global() end)
          try(function() return store.table "here" end)
          store.upvalue() store.field() store.global() store.table "here"
        end
        try(function() return require "store".upvalue() end)
      ]], {
        { "file", "global 'store_conn' is not in this worker: it can't be sent there, " .. FILE },
        { "file" }, { "file" }, { "file" }, { "file" }, { "file" }, { "file" }, { "file" }, { "file" }, { "file" },
      })
    end)
  end, { "threads", "process", "mpi", "serial", "async" })
end)

describe("a variable that a function sets whether or not it is set", function()
  helper.for_each_engine(function(engine)
    it("is told of where it can't be sent: no function fills it", function()
      assert_writes(engine, [[
        local store = require "store"
        store.open(io.tmpfile())
        try(function() return store.write "x" end)
      ]], { { "true", "upvalue 'target' of function at " } })
    end)
  end, { "threads", "process", "mpi", "serial", "async" })
end)

describe("a global that is large", function()
  local why = "global 'large' is not in this worker: it takes more than 1 MB, and only goes along with functions that name it"

  helper.for_each_engine(function(engine)
    it("goes along with a function that has another environment, which the script's state leads to", function()
      assert_writes(engine, [[
        large = {}
        for k = 1, 2e5 do large[k] = k end
        local around = setmetatable({}, { __index = function(_, name) return _G[name] end })
        package.loaded.holder = { around = around }
        local size = setfenv(function() return #large end, around)
        local pool = parlua.pool { workers = 1 }
        print(pool:submit(size):get(), pool:submit(size):get())
        try(size)
        pool:close()
      ]], { { "200000\t200000" }, { "200000" } })
    end)

    it("is not there for functions that don't name it, nor as it was before", function()
      local is_told = not helper.in_script[engine]
      local function told(value) return { value, is_told and why or nil } end
      local lines = run(engine, [[
        large = {}
        for k = 1, 2e5 do large[k] = k end
        local pool = parlua.pool { workers = 1 }
        local function named() return large[1] end
        local function hidden() return _G["lar" .. "ge"][1] end
        local function map(f)
          local results, failures = pool:map(f, { 1 }, { warn = false })
          print(failures[1] and failures[1].message or results[1])
        end
        local function submit(f) print(select(2, pcall(function() return pool:submit(f):get() end))) end
        for _, ask in ipairs { map, submit } do
          large[1] = 1
          ask(named) ask(hidden) ask(named)
          large[1] = 7
          ask(named) ask(hidden)
          large[1] = 8
          ask(hidden) ask(named)
        end
        large = nil
        map(function() return type(_G["lar" .. "ge"]) end)
        submit(function() return type(_G["lar" .. "ge"]) end)
        pool:close()
      ]])
      local expected = {}
      for _ = 1, 2 do
        for _, pair in ipairs { { "1" }, told "1", { "1" }, { "7" }, told "7", told "8", { "8" } } do
          expected[#expected + 1] = pair
        end
      end
      expected[#expected + 1], expected[#expected + 2] = { "nil" }, { "nil" }
      local at = 0
      for _, line in ipairs(lines) do
        if line ~= "stack traceback:" then
          at = at + 1
          local pair = expected[at]
          if pair[2] then assert.truthy(line:find(pair[2], 1, true), line) else assert.equal(pair[1], line) end
        end
      end
      assert.equal(#expected, at)
    end)
  end, { "threads", "process", "mpi", "serial", "async" })
end)

describe("a pool's forked workers", function()
  helper.for_each_engine(function(engine)
    it("do not go on with what a global that can't be sent was, once the script has changed it", function()
      local lines = run(engine, [[
        log = { file = io.tmpfile() }
        local pool = parlua.pool { workers = 1 }
        local function ask() print(select(2, pcall(function() return pool:submit(function() return _G["l" .. "og"].n end):get() end))) end
        ask() ask()
        log.n = 1
        ask()
        pool:close()
      ]])
      assert.equal("nil", lines[1])
      assert.equal("nil", lines[2])
      assert.truthy(lines[3]:find("global 'log'.file is not in this worker: it can't be sent there, " .. FILE, 1, true), lines[3])
    end)
  end, { "process" })
end)

describe("a global with a plain value that changes from call to call", function()
  helper.for_each_engine(function(engine)
    it("is what the script has set it to, with whatever else changes", function()
      local lines = run(engine, [[
        counter, word, flag, gone = 0, "a", false, 1
        local module = { n = 0 }
        package.loaded.counted = module
        local pool = parlua.pool { workers = 1 }
        local function ask()
          local function f() return table.concat({ counter, word, tostring(flag), tostring(gone), tostring(made), require "counted".n }, " ") end
          print(pool:map(f, { 1 })[1])
          print(pool:submit(f):get())
        end
        ask()
        counter = 1 ask()
        counter, flag = 2, true ask()
        gone = nil ask()
        word = "b" counter = 3 ask()
        module.n, counter = 4, 4 ask()
        counter = 5 ask()
        made = 6 ask()
        made, gone = 7, 8 ask()
        package.loaded.another = { n = 1 }
        counter = 9 ask()
        gone, made = nil, nil ask()
        pool:close()
      ]])
      local expected = { "0 a false 1 nil 0", "1 a false 1 nil 0", "2 a true 1 nil 0", "2 a true nil nil 0", "3 b true nil nil 0",
        "4 b true nil nil 4", "5 b true nil nil 4", "5 b true nil 6 4", "5 b true 8 7 4", "9 b true 8 7 4", "9 b true nil nil 4" }
      for k, line in ipairs(expected) do
        assert.equal(line, lines[2 * k - 1])
        assert.equal(line, lines[2 * k])
      end
      assert.equal(2 * #expected, #lines)
    end)
  end, { "threads", "process", "mpi", "serial", "async" })
end)

describe("what a pool's workers have of a state that changes", function()
  --- `expected`: for each line what it is in the script, and a part of what it is in workers of a state of their own
  --- (nil: the same); for `process`, whose workers inherit what was there before the pool, perhaps another.
  local function each(what, text, expected)
    helper.for_each_engine(function(engine)
      it(what, function()
        local lines, err = run(engine, [[
          local pool, buffer = parlua.pool { workers = 1 }, require "string.buffer"
          local function ask(f)
            local _, told = pcall(function() return pool:submit(f):get() end)
            print((tostring(told):match "[^\n]*"))
          end
        ]] .. text)
        for k, row in ipairs(expected) do
          local line, elsewhere = lines[k] or err, engine == "process" and row[3] or row[2]
          if helper.in_script[engine] or not elsewhere then
            assert.equal(row[1], line)
          else
            assert.truthy(line:find(elsewhere, 1, true), line)
          end
        end
      end)
    end, { "threads", "process", "mpi", "serial", "async" })
  end

  each("is a table with the keys that it has now, also in a module with something that can't be sent", [[
    package.preload.keyed = function() return { keys = { [{}] = true }, file = io.tmpfile() } end
    local keyed = require "keyed"
    local function count()
      local n = 0
      for _ in pairs(keyed.keys) do n = n + 1 end
      return n
    end
    local added = { {}, function() end, 2LL, buffer.new() }
    for k = 0, #added do
      local key = added[k]
      if key ~= nil then keyed.keys[key] = true end
      other = buffer.new() -- so that all is sent anew
      ask(count)
    end
    for _, key in ipairs(added) do
      keyed.keys[key], other = nil, buffer.new()
      ask(count)
    end
  ]], { { "1" }, { "2" }, { "3" }, { "4" }, { "5" }, { "4" }, { "3" }, { "2" }, { "1" } })

  each("is the environment that a function has now, the globals too", [[
    word = "global"
    function say() return word end
    package.preload.speaker = function() return { say = function() return word end, file = io.tmpfile() } end
    local speaker = require "speaker"
    local function both() return say() .. " " .. speaker.say() end
    for _, environment in ipairs { _G, { word = "own" }, _G, { word = "other" }, _G } do
      setfenv(say, environment)
      setfenv(speaker.say, environment)
      ask(both)
      setfenv(say, { word = "last" })
      ask(both)
      setfenv(say, _G)
      ask(both)
    end
  ]], {
    { "global global" }, { "last global" }, { "global global" }, { "own own" }, { "last own" }, { "global own" },
    { "global global" }, { "last global" }, { "global global" }, { "other other" }, { "last other" }, { "global other" },
    { "global global" }, { "last global" }, { "global global" },
  })

  each("is no global that could not be sent and is not there any more", [[
    later = coroutine.create(print)
    pool:close()
    pool = parlua.pool { workers = 1 }
    local function kind() return type(_G["la" .. "ter"]) end
    ask(kind)
    later = nil
    ask(kind)
    later = coroutine.create(print)
    ask(kind)
    later = 5
    ask(kind)
    later = nil
    ask(kind)
  ]], {
    { "thread", "global 'later' is not in this worker: it can't be sent there, as it is a coroutine", "thread" },
    { "nil" },
    { "thread", "global 'later' is not in this worker: it can't be sent there, as it is a coroutine" },
    { "number" },
    { "nil" },
  })

  each("is a buffer where a module has one now, and is told of where the module has what can't be sent", [[
    package.preload.holder = function()
      local M, hidden = { field = "old" }, "old"
      function M.set(value) hidden = value end
      function M.get() return hidden end
      return M
    end
    local holder = require "holder"
    local function all() return ("%s %s %s"):format(holder.field, holder.new, holder.get()) end
    local function write_field() return holder.field:write "x" and "written" end
    local function write_new() return holder.new:write "x" and "written" end
    local function write_hidden() return holder.get():write "x" and "written" end
    local function resume() return (select(2, coroutine.resume(holder.field))) end
    ask(all)
    holder.field, holder.new = buffer.new():put "field", buffer.new():put "new"
    holder.set(buffer.new():put "hidden")
    ask(all)
    holder.field:put "s"
    ask(all)
    holder.field, holder.new = io.tmpfile(), io.tmpfile()
    holder.set(io.tmpfile())
    ask(write_field)
    ask(write_new)
    ask(write_hidden)
    holder.field, holder.new = coroutine.create(function() return "resumed" end), nil
    holder.set "set"
    ask(resume)
    ask(function() return tostring(holder.new) .. " " .. holder.get() end)
    holder.field = coroutine.wrap(function() return "resumed" end)
    ask(function() return holder.field() end)
    holder.field = "new"
    ask(all)
  ]], {
    { "old nil old" },
    { "field new hidden" },
    { "fields new hidden" },
    { "written", "module 'holder'.field is not in this worker: it can't be sent there, " .. FILE },
    { "written", "module 'holder'.new is not in this worker: it can't be sent there, " .. FILE },
    { "written", "upvalue 'hidden' of function at " },
    { "resumed", "module 'holder'.field is not in this worker: it can't be sent there, as it is a coroutine" },
    { "nil set" },
    { "resumed", "module 'holder'.field is not in this worker: it can't be sent there, as it is a C function" },
    { "new nil set" },
  })

  each("is a module that is a buffer now, or told of as one that can't be sent", [[
    local function text() return tostring(package.loaded.handle) end
    package.loaded.handle = "old"
    ask(text)
    package.loaded.handle = buffer.new():put "new"
    ask(text)
    package.loaded.handle = io.tmpfile()
    ask(function() return package.loaded.handle:write "x" and "written" end)
    package.loaded.handle = "last"
    ask(text)
  ]], {
    { "old" }, { "new" },
    { "written", "module 'handle' is not in this worker: it can't be sent there, " .. FILE },
    { "last" },
  })
end)
