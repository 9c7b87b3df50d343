local codec = require "parlua.codec"
local context = require "parlua.wire.context"

before_each(function() context.use(nil, false) end) -- calls of other specs have left the books that they went by

--- Encodes and decodes in this state.
local function copy(...)
  return codec.decode(assert(codec.encode(...)))
end

--- The message that encoding something raises.
local function complaint(...)
  local message, problem = codec.encode_as(...)
  assert.is_nil(message)
  return problem
end

--- The interpreter that runs this suite.
local function interpreter()
  local pipe = assert(io.popen("readlink /proc/$PPID/exe"))
  local path = pipe:read("*l")
  pipe:close()
  return path
end

--- Decodes values in a fresh state, in another process, and runs `code` there with the decoded values as `...`.
--- Returns what it prints: the results of `code`, or the error.
local function elsewhere(code, ...)
  local message_path, code_path = os.tmpname(), os.tmpname()
  local file = assert(io.open(message_path, "wb"))
  file:write((assert(codec.encode(...))))
  file:close()
  file = assert(io.open(code_path, "w"))
  file:write(([[
    package.path, package.cpath = %q, %q
    local codec = require "parlua.codec"
    local file = assert(io.open(%q, "rb"))
    local message = file:read("*a")
    file:close()
    local function run(...) %s end
    print(run(codec.decode(message)))
  ]]):format(package.path, package.cpath, message_path, code))
  file:close()
  local pipe = assert(io.popen(("'%s' '%s' 2>&1"):format(interpreter(), code_path)))
  local output = pipe:read("*a")
  pipe:close()
  os.remove(message_path)
  os.remove(code_path)
  return (output:gsub("\n$", ""))
end

--- A function from source text, with the standard environment (busted gives the functions of a spec one of their own).
local function compiled(source, name)
  return setfenv(assert(loadstring(source, name or "=job.lua")), _G)()
end

describe("plain values", function()
  it("cross unchanged, nil and false included", function()
    local n = select("#", copy(nil, false, true, nil))
    assert.are.equal(4, n)
    local a, b, c, d = copy(nil, false, true, nil)
    assert.is_nil(a)
    assert.is_false(b)
    assert.is_true(c)
    assert.is_nil(d)
    assert.are.equal(0, select("#", copy()))
  end)

  it("are exact for every kind of number", function()
    local numbers = {
      0, 1, 127, 128, -1, 32767, 32768, -32768, -32769, 2 ^ 31 - 1, 2 ^ 31, -2 ^ 31, -2 ^ 31 - 1, 2 ^ 53,
      0.1, -1e308, 5e-324, 1 / 0, -1 / 0,
    }
    for _, number in ipairs(numbers) do
      assert.are.equal(number, (copy(number)))
      assert.are.equal(number, copy({ k = number }).k)
    end
    local nan = copy(0 / 0)
    assert.are_not.equal(nan, nan)
    local zero = tonumber("-0")
    assert.are.equal(-1 / 0, 1 / copy(zero))
    assert.are.equal(-1 / 0, 1 / copy({ zero, zero })[2])
    assert.are.equal(1 / 0, 1 / copy(0))
  end)

  it("may be thousands in one message", function()
    local values = {}
    for i = 1, 5000 do
      values[i] = i % 3 == 0 and { i } or i
    end
    assert.are.same(values, { copy(unpack(values)) })
  end)

  it("are strings of any bytes and length", function()
    for _, length in ipairs { 0, 1, 62, 63, 64, 65, 255, 256, 65536, 1000000 } do
      local text = ("\0\255a\n"):rep(math.ceil(length / 4)):sub(1, length)
      assert.are.equal(text, (copy(text)))
      local t = copy { text, [text] = text }
      assert.are.equal(text, t[1])
      assert.are.equal(text, t[text])
    end
  end)

  it("write a long string once in a message", function()
    local text = ("x"):rep(10000)
    assert.is_true(#codec.encode { text, text, { text } } < 10100)
    assert.are.same({ text, text, { text } }, (copy { text, text, { text } }))
  end)

  it("are 64-bit integers and complex numbers, by content", function()
    local ffi = require "ffi"
    local a, b, c = copy(-1LL, 18446744073709551615ULL, ffi.new("complex", 1.5, -2))
    assert.is_true(ffi.istype("int64_t", a) and a == -1LL)
    assert.is_true(ffi.istype("uint64_t", b) and b == 18446744073709551615ULL)
    assert.are.equal(1.5, c.re)
    assert.are.equal(-2, c.im)
  end)
end)

describe("tables", function()
  it("keep array parts, holes, index 0, negative, fractional and mixed keys", function()
    local samples = {
      {}, { 1, 2, 3 }, { "a" }, { 1 }, { 1, "a", 2, 3, "b", {} }, { 1, nil, 3 }, { nil, nil, 3 },
      { [0] = 0 }, { [0] = "z", "a", "b" }, { [0] = 1, 2, 3, 4 }, { [-1] = 1, [0.5] = 2, [2 ^ 53] = 3, [1 / 0] = 4 },
      { [true] = 1, [false] = 2 }, { a = { b = { c = {} } } }, { 1, 2, 3, x = 1, y = 2, [10] = 10 },
    }
    for _, sample in ipairs(samples) do
      assert.are.same(sample, (copy(sample)))
    end
    local backwards = {}
    for i = 300, 1, -1 do
      backwards[i] = i % 7 == 0 and "seven" or i
    end
    assert.are.same(backwards, (copy(backwards)))
  end)

  it("keep arrays of numbers of every length", function()
    for length = 0, 600, 7 do
      local numbers = {}
      for i = 1, length do
        numbers[i] = i * 0.5
      end
      assert.are.same(numbers, (copy(numbers)))
      local sizes = {}
      for i = 1, length do
        sizes["key" .. i] = i
      end
      assert.are.same(sizes, (copy(sizes)))
    end
  end)

  it("keep cycles and shared references, also between the values of a message", function()
    local shared = { 1 }
    local t = { shared, shared, key = { shared } }
    t.self, t[t] = t, "by itself"
    local u, other = copy(t, shared)
    assert.are.equal(u, u.self)
    assert.are.equal("by itself", u[u])
    assert.are.equal(u[1], u[2])
    assert.are.equal(u[1], u.key[1])
    assert.are.equal(u[1], other)
    assert.are_not.equal(shared, other)
  end)

  it("keep metatables: classes, inheritance, one metatable for many objects", function()
    local Animal = {}
    Animal.__index = Animal
    function Animal.speak(self) return self.name .. " speaks" end
    local Dog = setmetatable({}, { __index = Animal })
    Dog.__index = Dog
    Dog.__tostring = function(self) return "Dog " .. self.name end
    local a, b = copy(setmetatable({ name = "Rex" }, Dog), setmetatable({ name = "Bello" }, Dog))
    assert.are.equal("Rex speaks", a:speak())
    assert.are.equal("Dog Bello", tostring(b))
    assert.are.equal(getmetatable(a), getmetatable(b))
  end)

  it("are read and written raw: no metamethod is called", function()
    local t = setmetatable({ 1, a = 2 }, {
      __index = function() error("read") end, __newindex = function() error("written") end,
      __len = function() error("measured") end, __pairs = function() error("walked") end, __metatable = "locked",
    })
    local u = copy(t)
    assert.are.equal(1, rawget(u, 1))
    assert.are.equal(2, rawget(u, "a"))
    assert.are.equal("locked", getmetatable(u))
  end)

  it("may nest to any depth", function()
    local function nested(depth)
      local t = {}
      for _ = 2, depth do
        t = { t }
      end
      return t
    end
    for _, depth in ipairs { 2, 119, 120, 121, 122, 500, 200000 } do
      local u, found = copy(nested(depth)), 1
      while u[1] do
        u, found = u[1], found + 1
      end
      assert.are.equal(depth, found)
    end
    local chain = function() return 0 end
    for _ = 1, 5000 do
      local inner = chain
      chain = function() return inner end
    end
    local f, calls = copy(chain), 0
    while type(f) == "function" do
      f, calls = f(), calls + 1
    end
    assert.are.equal(5001, calls)
  end)

  it("may share and refer to what lies at any depth", function()
    local tail = { "tail" }
    local t = tail
    for k = 1, 1000 do
      t = setmetatable({ t, k = k, tail = tail }, { __index = tail })
    end
    tail.head = t
    local u = copy(t)
    local last = u
    while last[1] ~= "tail" do last = last[1] end
    assert.are.equal(last, u.tail)
    assert.are.equal(last, getmetatable(u).__index)
    assert.are.equal(u, last.head)
  end)
end)

describe("functions", function()
  it("keep their upvalues", function()
    local scale, offset = 3, { 4 }
    local f = copy(function(x) return x * scale + offset[1] end)
    assert.are.equal(10, f(2))
  end)

  it("share an upvalue after crossing if they did before", function()
    local count = 0
    local function increment() count = count + 1 end
    local increment2, get = copy(increment, function() return count end)
    increment2()
    increment2()
    assert.are.equal(2, get())
    assert.are.equal(0, count)
  end)

  it("do not share upvalues that are merely equal", function()
    local function counter()
      local count = 0
      return function() count = count + 1 return count end
    end
    local a, b = copy(counter(), counter())
    a()
    assert.are.equal(2, a())
    assert.are.equal(1, b())
  end)

  it("may call themselves and each other through local names", function()
    local function factorial(n) return n < 2 and 1 or n * factorial(n - 1) end
    assert.are.equal(120, copy(factorial)(5))
    local is_odd
    local function is_even(n) return n == 0 or is_odd(n - 1) end
    function is_odd(n) return n ~= 0 and is_even(n - 1) end
    assert.is_true(copy(is_even)(10))
    assert.is_false(copy(is_odd)(10))
  end)

  it("stay one function when met twice", function()
    local f = function() end
    local a, b, t = copy(f, f, { f })
    assert.are.equal(a, b)
    assert.are.equal(a, t[1])
  end)

  it("may take varargs, have many upvalues, nested functions and string constants with NUL", function()
    local f = copy(function(...)
      local n = select("#", ...)
      return function() return n, "a\0b" end
    end)
    local n, text = f(nil, nil)()
    assert.are.equal(2, n)
    assert.are.equal("a\0b", text)
    local source = {}
    for i = 1, 60 do source[i] = ("local v%d = %d"):format(i, i) end
    source[61] = "return function() return v1"
    for i = 2, 60 do source[#source + 1] = (" + v%d"):format(i) end
    source[#source + 1] = " end"
    assert.are.equal(1830, copy(compiled(table.concat(source, "\n")))())
  end)

  it("keep names and lines for their tracebacks", function()
    local f = copy(compiled("return function()\n\n error('no') end", "=some.lua"))
    local _, message = pcall(f)
    assert.are.equal("some.lua:3: no", message)
  end)

  it("bring the globals that they name to another state, nested functions and functions of functions too", function()
    local f = compiled [[
      limit = 5
      classes = { a = { 1, 2 } }
      function helper(x) return x > limit and "large" or "small" end
      function ping(n) return n == 0 and "done" or pong(n - 1) end
      function pong(n) return ping(n) end
      return function(x)
        local function inner() return helper(x), classes.a[2], ping(3), undefined_global end
        return inner()
      end
    ]]
    local output = elsewhere("local f = ... ; return f(6)", f)
    rawset(_G, "limit", nil)
    rawset(_G, "classes", nil)
    rawset(_G, "helper", nil)
    rawset(_G, "ping", nil)
    rawset(_G, "pong", nil)
    assert.are.equal("large\t2\tdone\tnil", output)
  end)

  it("share a global table in another state, and see what is assigned to it", function()
    local f, g = compiled [[
      total = 0
      return function() total = total + 1 end, function() return total end
    ]]
    local output = elsewhere("local f, g = ... ; f() f() return g(), total", f, g)
    rawset(_G, "total", nil)
    assert.are.equal("2\t2", output)
  end)

  it("with an environment of their own get one of their own that falls back to the globals", function()
    local environment = setmetatable({ answer = 42 }, { __index = _G })
    local get = setfenv(function() return answer, math.abs(-1), tostring(1) end, environment) -- luacheck: ignore 113
    local set = setfenv(function(x) answer = x end, environment) -- luacheck: ignore 111
    local get2, set2 = copy(get, set)
    assert.are.equal(getfenv(get2), getfenv(set2))
    assert.are_not.equal(environment, getfenv(get2))
    set2(7)
    local answer, one, text = get2()
    assert.are.same({ 7, 1, "1" }, { answer, one, text })
    assert.are.equal(42, environment.answer)
    assert.is_nil(rawget(_G, "answer"))
    assert.are.equal("7\tnil", elsewhere("local get, set = ... ; set(7) return (get()), answer", get, set))
  end)

  it("find names through an environment's __index, and take a raising one for undefined", function()
    local environment = setmetatable({}, { __index = function(_, name)
      if name == "computed" then return { 5 } end
      error("strict: " .. name)
    end })
    local f = setfenv(function() return computed[1], missing end, environment) -- luacheck: ignore 113
    local value, missing = copy(f)()
    assert.are.equal(5, value)
    assert.is_nil(missing)
  end)

  it("work from the environment that busted gives to tests", function()
    local f = function(x) assert(x) return tostring(x) end
    assert.are.equal("5", elsewhere("local f = ... ; return f(5)", f))
  end)

  it("that have been compiled already cross like others", function()
    local function sum(n)
      local total = 0
      for i = 1, n do
        total = total + math.floor(i)
      end
      while total < 0 do total = total + 1 end
      return total
    end
    for _ = 1, 200 do
      sum(100)
    end
    assert.are.equal(5050, copy(sum)(100))
    assert.are.equal("5050", elsewhere("local f = ... ; return f(100)", sum))
  end)

  it("made in numbers by one piece of code each keep their own upvalues", function()
    local functions = {}
    for i = 1, 1000 do
      functions[i] = function() return i, "a constant that makes the code longer than a short string" end
    end
    local message = assert(codec.encode(functions))
    assert.is_true(#message < 1000 * 40) -- the code is in it once
    local copies = codec.decode(message)
    for i = 1, 1000 do
      assert.are.equal(i, (copies[i]()))
    end
  end)

  it("crossing again and again keeps working", function()
    local base = 2
    local f = function(x) return x * base end
    for _ = 1, 5 do
      f = copy(f)
    end
    assert.are.equal(8, f(4))
  end)
end)

describe("libraries and modules", function()
  it("cross by name", function()
    local values = {
      print, pairs, math, string, string.rep, io, io.stdout, io.stderr, io.stdin, os.time, _G, require("ffi"),
      require("bit").band, jit, coroutine.wrap, table.remove, math.deg, require("jit.util"), codec, codec.encode,
    }
    for i, value in ipairs(values) do
      assert.are.equal(value, (copy(value)), "value " .. i)
      assert.are.equal(value, copy({ value })[1])
    end
    local code = "local p, m, o = ... ; return p == print, m == math, o == io.stdout"
    local output = elsewhere(code, print, math, io.stdout)
    assert.are.equal("true\ttrue\ttrue", output)
  end)

  it("are required by the receiver, with the functions in their fields", function()
    local module = { helper = function() return "original" end }
    package.loaded["spec_codec_module"] = module
    local a, b = copy(module, module.helper)
    assert.are.equal(module, a)
    assert.are.equal(module.helper, b)
    local f = function() return module.helper() end
    local output = elsewhere("return ...", f)
    package.loaded["spec_codec_module"] = nil
    assert.truthy(output:find("cannot load module 'spec_codec_module', which came by name:", 1, true), output)
    assert.are.equal("function", elsewhere("local m = ... ; return type(m.plan)", require "parlua.wire.closure"))
  end)

  it("are noticed when loaded after the first message", function()
    local module = { later = function() end }
    assert.are_not.equal(module, (copy(module)))
    package.loaded["spec_codec_later"] = module
    assert.are.equal(module, (copy { module = module }).module)
    package.loaded["spec_codec_later"] = nil
    local copied = copy { module = { other = function() end } }
    assert.is_table(copied.module)
  end)

  it("a field that the receiver lacks is an error that names it", function()
    local module = { f = function() end }
    package.loaded["spec_codec_fields"] = module
    local message = assert(codec.encode(module.f))
    module.f = nil
    local ok, problem = pcall(codec.decode, message)
    package.loaded["spec_codec_fields"] = nil
    assert.is_false(ok)
    assert.are.equal("cannot find 'f' in module 'spec_codec_fields', which came by name: "
      .. "the module has no such field here", problem)
  end)

  it("a Lua function that the script put into a standard library goes by value", function()
    string.spec_codec_split = function(text) return text:match("(.*),(.*)") end -- luacheck: ignore 142
    local output = elsewhere("local f = ... ; return f('a,b')", string.spec_codec_split) -- luacheck: ignore 143
    string.spec_codec_split = nil -- luacheck: ignore 142
    assert.are.equal("a\tb", output)
  end)

  it("a value can be declared to stand for a global", function()
    local my_print = function() end
    codec.by_name("print", my_print)
    assert.are.equal("true", elsewhere("return ... == print", my_print))
    assert.are.equal(print, (copy(my_print)))
  end)
end)

describe("what cannot cross", function()
  local file = io.tmpfile()
  local thread = coroutine.create(function() end)

  it("is an error that names the value or its path", function()
    assert.are.equal("cannot send result: userdata (FILE*): return its name, or what was read", complaint("result", file))
    assert.are.equal("cannot send argument 2: a coroutine: send what it yields", complaint("argument", 1, thread))
    assert.are.equal("cannot send result.field[3]: userdata (FILE*): return its name, or what was read",
      complaint("result", { field = { 1, 2, file } }))
    assert.are.equal("cannot send result[\"two words\"][true][-1.5]: a coroutine: return what it yields",
      complaint("result", { ["two words"] = { [true] = { [-1.5] = thread } } }))
    assert.are.equal("cannot send the key [userdata (FILE*)] of result.t: userdata (FILE*): return its name, or what was read",
      complaint("result", { t = { [file] = 1 } }))
    assert.are.equal("cannot send getmetatable(result.o).__index.log: userdata (FILE*): return its name, or what was read",
      complaint("result", { o = setmetatable({}, { __index = { log = file } }) }))
    assert.are.equal("cannot send result[1]: a pointer (int *), which means nothing to a process of its own: send what it points to, "
      .. "or make it there, in `setup`", complaint("result", { require("ffi").cast("int *", 8) }))
    local guard = newproxy(true)
    getmetatable(guard).__gc = function() end -- it is there for something of this state's
    assert.are.equal("cannot send result[1]: userdata: return what it holds", complaint("result", { guard }))
    local buffer = require "string.buffer"
    for _, options in ipairs { { dict = { "name" } }, { metatable = { {} } } } do -- which would be lost
      assert.are.equal("cannot send result[1]: userdata: return what it holds", complaint("result", { buffer.new(options) }))
    end
    assert.truthy(codec.encode_as("result", { buffer.new(1000):put(("x"):rep(2000)), buffer.new() }))
  end)

  it("names the function whose upvalue or global it is", function()
    local log = file
    local line = debug.getinfo(1, "l").currentline + 1
    local f = function() return log end
    local here = ("%s:%d"):format(debug.getinfo(1, "S").short_src, line)
    assert.are.equal(("cannot send upvalue 'log' of function at %s: userdata (FILE*)"):format(here)
      .. ": open it in the task, or in `setup`",
      complaint("function", f))
    local settings = { output = file }
    local message = complaint("function", { callback = function() return settings end })
    assert.truthy(message:find("^cannot send upvalue 'settings'%.output of function at .*codec_spec.lua:%d+: userdata"),
      message)
    local g = compiled("connection = ... ; return function() return connection end")
    rawset(_G, "connection", file)
    message = complaint("function", g)
    rawset(_G, "connection", nil)
    assert.are.equal("cannot send global 'connection' named by function at job.lua:1: userdata (FILE*)"
      .. ": open it in the task, or in `setup`", message)
  end)

  it("is a C function that no module has", function()
    local iterate = ("x"):gmatch("x")
    assert.are.equal("cannot send result.f: a C function that no loaded module has, such as coroutine.wrap and io.lines make: "
      .. "return what it gives, in a list",
      complaint("result", { f = iterate }))
  end)

  it("leaves the codec as it was", function()
    assert.is_nil((codec.encode { file }))
    assert.are.same({ 1, 2 }, (copy { 1, 2 }))
  end)

  it("is data that refers to functions, where functions are refused", function()
    for _, value in ipairs { function() end, print, math, io.stdout } do
      local ok, problem = pcall(codec.decode, codec.encode { value }, { functions = false })
      assert.is_false(ok)
      assert.truthy(problem:find("accepted here"), problem)
    end
    assert.are.same({ 1, { "x" } }, codec.decode(codec.encode { 1, { "x" } }, { functions = false }))
  end)
end)

describe("corrupt bytes", function()
  --- Messages of all kinds.
  local function corpus()
    local shared = { "shared", ("long"):rep(50) }
    local count = 0
    local function up() count = count + 1 return count, shared end
    local function factorial(n) return n < 2 and 1 or n * factorial(n - 1) end
    local cycle = { shared, shared, { [0] = 0, 1, 2, 3.5, -1e300, nil, 7 }, name = "x", ["key 2"] = { true, false } }
    cycle.self = setmetatable(cycle, { __index = shared, cycle = cycle })
    local cdata = { -1LL, 5ULL, require("ffi").new("complex", 1, 2) }
    local data = { {}, { 1, 2, 3 }, cycle, ("s"):rep(1000), cdata, shared }
    return {
      { codec.encode(unpack(data)) }, { codec.encode(cycle, cycle) }, { codec.encode(1, 2.5, "x", nil, true) },
      { codec.encode(up, function() return count end) }, { codec.encode(factorial) },
      { codec.encode { print, math, io.stdout } },
      { codec.encode(setfenv(function() return here end, { here = shared })) }, -- luacheck: ignore 113
    }
  end

  --- Whatever comes out must be usable: walk it, as a crash may come late.
  local function walk(value, seen)
    if type(value) == "table" and not seen[value] and value ~= _G and not package.loaded[value] then
      seen[value] = true
      for k, v in next, value do
        walk(k, seen)
        walk(v, seen)
      end
      walk(debug.getmetatable(value), seen)
    end
  end

  local function decode_quietly(message, options)
    local results = { pcall(codec.decode, message, options) }
    if not results[1] then
      assert.are.equal("string", type(results[2]))
      return false, results[2]
    end
    walk({ unpack(results, 2) }, { [math] = true, [io] = true })
    return true
  end

  it("never crash: every truncation is an error", function()
    for _, entry in ipairs(corpus()) do
      local message = entry[1]
      for length = 0, #message - 1 do
        local ok, problem = decode_quietly(message:sub(1, length))
        assert.is_false(ok)
        assert.truthy(problem:find("cannot decode"), problem)
      end
      assert.is_false((decode_quietly(message .. "\0")))
    end
  end)

  it("never crash: random bit flips, byte changes, cuts and insertions", function()
    local seed = tonumber(os.getenv("CODEC_FUZZ_SEED")) or os.time()
    local rounds = tonumber(os.getenv("CODEC_FUZZ_ROUNDS")) or 3000
    io.write(("[codec fuzz: CODEC_FUZZ_SEED=%d] "):format(seed))
    math.randomseed(seed)
    local random, messages = math.random, corpus()
    for round = 1, rounds do
      local message = messages[random(#messages)][1]
      for _ = 1, random(3) do
        local at = random(#message)
        local kind, byte = random(4), message:byte(at)
        if kind == 1 then
          local flipped = string.char(require("bit").bxor(byte, 2 ^ random(0, 7)))
          message = message:sub(1, at - 1) .. flipped .. message:sub(at + 1)
        elseif kind == 2 then
          message = message:sub(1, at - 1) .. string.char(random(0, 255)) .. message:sub(at + 1)
        elseif kind == 3 then
          message = message:sub(1, at - 1) .. message:sub(at + random(8))
        else
          message = message:sub(1, at) .. message:sub(random(#message))
        end
        if #message == 0 then message = "\0" end
      end
      decode_quietly(message, round % 2 == 0 and { functions = false } or nil)
    end
    math.randomseed(os.time())
  end)

  it("with huge counts do not take huge memory", function()
    local before = collectgarbage("count")
    for _, bytes in ipairs {
      "\1\8\255\255\32", "\1\8\0\255\32", ("\1" .. ("\8\255\255"):rep(1000)), "\1\8\0\0\36\255\255\255\255",
      "\1\6\255\255\255\127", "\255\255\255\255\255\255\255\255\255\1", "\255\255\255\127",
    } do
      decode_quietly(bytes)
      assert.is_true(collectgarbage("count") - before < 1000)
    end
  end)

  it("cannot refer to what is not there, or use one kind of object as another", function()
    for _, bytes in ipairs {
      "\1\14\0", "\1\14\1", "\2\9\0\0\32\14\0", "\1\9\0\0\14\255\1\32", "\1\8\0\0\33\0\1\32",
      "\1\8\0\0\34\1\32", "\1\10\14\0", "\1\12\1\1", "\1\12\0\0", "\1\32", "\1\63",
    } do
      local ok, problem = decode_quietly(bytes)
      assert.is_false(ok)
      assert.is_string(problem)
    end
    local t = codec.decode("\1\9\0\0\1\14\1\32") -- a table whose second element is itself
    assert.are.equal(t, t[2])
  end)

  it("that make up another NaN give a plain NaN", function()
    local odd = ("\255"):rep(8)
    local single, list = codec.decode("\2\5" .. odd .. "\8\0\0\36\2\0\0\0" .. odd .. odd .. "\32")
    assert.are.equal("number", type(single))
    assert.are.equal("number", type(list[2]))
    assert.are_not.equal(single, single)
    assert.are_not.equal(list[2], list[2])
  end)

  it("of a function's code are found by its checksum", function()
    local message = assert(codec.encode(function(x) return x + 1, "constant" end))
    local at = assert(message:find("constant", 1, true))
    local ok, problem = pcall(codec.decode, message:sub(1, at - 1) .. "C" .. message:sub(at + 1))
    assert.is_false(ok)
    assert.truthy(problem:find("a function's code is damaged"), problem)
  end)

  it("nested beyond the limit are an error", function()
    local ok, problem = decode_quietly("\1" .. ("\8\0\0"):rep(1000000))
    assert.is_false(ok)
    assert.truthy(problem:find("nested too deeply"), problem)
  end)
end)
