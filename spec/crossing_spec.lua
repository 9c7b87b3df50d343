--- What scripts are made of is the same on every engine: classes and other objects that both sides have, data of the FFI, modules with the
--- state that they have, what the script has changed in its state.
local helper = require "spec.helper"
local parlua = require "parlua"

local has_mpi = os.execute("command -v mpirun > /dev/null") == 0
  and require("lfs").attributes(helper.parlua:gsub("[^/]*$", "") .. "parlua_mpi.so", "mode") == "file"

--- Module files beside the scripts.
local modules = {
  account = [[
    local Account = {}
    Account.__index = Account
    Account.__eq = function(a, b) return a.balance == b.balance end
    function Account.new(balance) return setmetatable({ balance = balance }, Account) end
    function Account.is(x) return getmetatable(x) == Account end
    return Account]],
  hidden = [[
    local meta, M = {}, { none = {} }
    meta.__index = meta
    meta.__lt = function(a, b) return a.x < b.x end
    function M.new(x) return setmetatable({ x = x }, meta) end
    function M.is(o) return getmetatable(o) == meta end
    return M]],
  levels = [[
    local level, M = "info", { plugins = {} }
    function M.set(l) level = l end
    function M.get() return level end
    function M.register(name, f) M.plugins[name] = f end
    return M]],
  vectors = [[
    local ffi = require "ffi"
    ffi.cdef "typedef struct { double x, y; } spec_vector_t;"
    local M = {}
    M.vector = ffi.metatype("spec_vector_t", { __index = { norm = function(v) return math.sqrt(v.x * v.x + v.y * v.y) end } })
    return M]],
  parser = [[
    local M, file = { limit = 1 }, io.tmpfile() -- can't cross: it is required again in a worker
    function M.is_open() return io.type(file) end
    function M.limited() return M.limit end
    return M]],
}

--- Each prints what the engine must not change. `parlua` and `run`, which prints results and failures, are there.
local scripts = {
  ["a class"] = [[
    local Animal = {}
    Animal.__index, Animal.count = Animal, 0
    Animal.__lt = function(a, b) return a.n < b.n end
    local function new(n) return setmetatable({ n = n }, Animal) end
    run(function(a) return tostring(getmetatable(a) == Animal) end, { new(1), new(2) })
    local results = parlua.map(new, { 3, 1, 2 })
    table.sort(results)
    print(results[1].n, results[3].n, getmetatable(results[2]) == Animal)
    local _, failures = parlua.map(function(x) error(new(x)) end, { 1 })
    print(getmetatable(failures[1].value) == Animal)
    local future = parlua.submit(function(a) return a, getmetatable(a) == Animal end, new(7))
    local back, same = future:get()
    print(getmetatable(back) == Animal, same, back.n)
    local sum = parlua.reduce(new, parlua.range(9), { init = 0, step = function(a, p) return a + (getmetatable(p) == Animal and p.n or 0) end })
    print(sum)]],
  ["a class of a module, and a metatable that it hides"] = [[
    local Account, hidden = require "account", require "hidden"
    run(function(a) return tostring(Account.is(a)) .. tostring(a == Account.new(1)) end, { Account.new(1) })
    local results = parlua.map(Account.new, { 4, 4 })
    print(Account.is(results[1]), results[1] == results[2], results[1] == Account.new(4))
    results = parlua.map(hidden.new, { 2, 1 })
    table.sort(results)
    print(hidden.is(results[1]), results[1].x)
    run(function(x) return tostring(x == hidden.none) end, { hidden.none, {} })]],
  ["sentinels that newproxy makes"] = [[
    local NONE, UNIT = newproxy(), newproxy(true)
    local meta = getmetatable(UNIT)
    meta.__tostring, meta.__index, meta.self = function() return "unit" end, function(_, name) return name:upper() end, UNIT
    LOST = newproxy(UNIT)
    run(function(x) return tostring(x == NONE), tostring(x == UNIT), tostring(UNIT), UNIT.metre end, { NONE, UNIT, 1 })
    run(function(x) return tostring(x == LOST), tostring(LOST == NONE) .. tostring(LOST), rawequal(meta.self, UNIT) and 1 or 0 end, { LOST, 2 })
    local results = parlua.map(function(x) return { NONE, x, [NONE] = UNIT, new = newproxy() } end, { NONE })
    local one = results[1]
    print(one[1] == NONE, one[2] == NONE, one[NONE] == UNIT, type(one.new), one.new ~= NONE, getmetatable(one.new))
    local a, b = parlua.submit(function(x) return x, { x } end, UNIT):get()
    print(a == UNIT, b[1] == UNIT)
    local _, failures = parlua.map(function() error(NONE) end, { 1 }, { warn = false })
    print(failures[1].value == NONE)]],
  ["how the collector is set"] = [[
    local function setting(what)
      local value = collectgarbage(what, 200)
      collectgarbage(what, value)
      return value
    end
    collectgarbage("setpause", 137)
    run(function(x) return setting "setpause", setting "setstepmul" end, { 1, 2 })
    collectgarbage("setpause", 161)
    collectgarbage("setstepmul", 333)
    some = 1
    run(function(x) return setting "setpause", setting "setstepmul", some end, { 1, 2 })
    collectgarbage("setpause", 162)
    run(function(x) return setting "setpause", setting "setstepmul" end, { 1, 2 })]],
  ["room that a constructor makes for its fields"] = [[
    local before, within
    local function probe()
      within = collectgarbage "count"
      return 1
    end
    local function make(x)
      before = collectgarbage "count"
      return { a = probe(), b = x, c = { x, y = x }, d = x, "e", f = "f" }
    end
    run(function(x)
      collectgarbage "stop"
      local made = make(x)
      collectgarbage "restart"
      return (within - before) * 1024, made.a + made.b + made.c.y + made.d
    end, { 1, 2 })]],
  ["sentinels, functions and captured tables"] = [[
    local NONE, config = setmetatable({}, { __tostring = function() return "none" end }), { deep = { 1, 2 } }
    local function helper() return 1 end
    run(function(x) return tostring(x == NONE) end, { NONE, 1 })
    local results = parlua.map(function(x)
      if x == 2 then config.deep[1] = 5 end
      return { NONE, helper, config, string.rep, [NONE] = x }
    end, { 1, 2 }, { workers = 1 })
    local first, second = results[1], results[2]
    print(first[1] == NONE, first[2] == helper, first[3] == config, first[4] == string.rep, first[NONE])
    print(second[3].deep[1], second[3].deep[2])]],
  ["sentinels that are keys, or named in a table, of what the function has captured"] = [[
    local function sentinel(name) return setmetatable({}, { __tostring = function() return name end }) end
    local RED, GREEN, NONE = sentinel "red", sentinel "green", {}
    local letters, color, plain = { [RED] = "r", [GREEN] = "g" }, { red = RED, green = GREEN, blue = sentinel "blue" }, { none = NONE }
    run(function(c) return tostring(letters[c]) .. tostring(c) end, { RED, GREEN, color.blue })
    run(function(c) return tostring(c == color.blue) .. tostring(c == plain.none) end, { color.blue, NONE, {} })
    run(function(x) return letters[x.color] .. tostring(x.none == plain.none) end, { { color = GREEN, none = NONE } })
    print(parlua.submit(function(c, n) return letters[c], n == plain.none end, RED, NONE):get())
    local results = parlua.map(function(c) return { c, [c] = letters[c], blue = color.blue } end, { RED, GREEN })
    print(results[1][1] == RED, results[2][GREEN], results[1].blue == color.blue)]],
  ["class libraries that keep registries of classes and objects"] = [[
    local classes, objects = setmetatable({}, { __mode = "k" }), setmetatable({}, { __mode = "k" })
    local function class(name, parent)
      local c = { name = name, subclasses = setmetatable({}, { __mode = "k" }) }
      c.__index = function(_, key)
        local value = rawget(c, key)
        if value == nil and parent then return parent.__index(nil, key) end
        return value
      end
      c.__tostring = function(object) return c.name .. ":" .. object.n end
      if parent then
        parent.subclasses[c] = true
        c.super = parent
      end
      classes[c] = true
      return setmetatable(c, { __call = function(_, n)
        local object = setmetatable({ n = n, class = c }, c)
        objects[object] = true
        return object
      end })
    end
    local Animal = class "Animal"
    function Animal.says(self) return self.n .. "?" end
    local Dog = class("Dog", Animal)
    function Dog.barks(self) return self:says() .. "!" end
    run(function(o) return o:barks() .. tostring(o) .. tostring(o.class == Dog) .. tostring(classes[o.class]) end, { Dog(1), Dog(2) })
    run(function(n)
      local o = Dog(n)
      return tostring(objects[o]) .. tostring(Animal.subclasses[Dog]) .. tostring(Dog.super == Animal)
    end, { 3 })
    local results = parlua.map(Dog, { 5 })
    print(getmetatable(results[1]) == Dog, results[1].class == Dog, results[1]:barks())]],
  ["globals whose names are no strings, and sandboxes"] = [[
    _G[1], _G[true], _G["odd name"] = "one", "true", "odd"
    run(function() return _G[1] .. _G[true] .. _G["odd name"] end, { 1 })
    _G[1], _G[true] = "more", nil
    run(function() return _G[1] .. tostring(_G[true]) end, { 1 })
    _G[1] = nil
    run(function() return tostring(_G[1]) end, { 1 })
    local sandbox = setmetatable({ answer = 42 }, { __index = _G })
    local f = setfenv(assert(loadstring "calls = (calls or 0) + 1 return tostring(answer) .. type(print)"), sandbox)
    local g = setfenv(function() return tostring(calls) end, sandbox)
    run(function() return f() .. g() end, { 1 })]],
  ["buffers that a task changes"] = [[
    local buffer = require "string.buffer"
    local one = buffer.new():put "abcdef"
    run(function(b) return b:get(2) .. #b end, { one, one })
    run(function(t) return t.a:get(2) .. tostring(t.b) end, { { a = one, b = one } })
    run(function(b, n) return b:put(n):tostring() end, parlua.product({ one }, { 1, 2 }))
    print(#one)]],
  ["unions, bit fields, tagged values and 64-bit numbers"] = [[
    local ffi, bit = require "ffi", require "bit"
    ffi.cdef "typedef union { uint32_t word; uint8_t bytes[4]; struct { uint16_t low, high; } half; } spec_union_t;"
    ffi.cdef "typedef struct { unsigned a : 3; unsigned b : 5; int c : 8; } spec_bits_t; enum { SPEC_ONE = 10, SPEC_TWO };"
    ffi.cdef "typedef struct { int kind; union { double d; int64_t i; }; } spec_tagged_t;"
    local made, tagged = 0, nil
    tagged = ffi.metatype("spec_tagged_t", {
      __new = function(ct, v)
        made = made + 1
        local t = ffi.new(ct)
        if v % 1 == 0 then t.kind, t.i = 1, v else t.d = v end
        return t
      end,
      __index = function(t, key) return key == "value" and (t.kind == 1 and tonumber(t.i) or t.d) or nil end,
      __eq = function(a, b) return ffi.istype("spec_tagged_t", b) and a.kind == b.kind and a.i == b.i end,
      __concat = function(a, b) return a.value .. "|" .. b.value end,
      __len = function() return 2 end, __call = function(t, x) return t.value + x end,
    })
    local u, b, half, seven = ffi.new("spec_union_t", 0x01020304), ffi.new("spec_bits_t", 5, 17, -3), tagged(2.5), tagged(7)
    run(function(x)
      return u.bytes[0] + u.half.high .. "," .. b.a .. b.b .. b.c .. half.value .. (half .. seven) .. #seven .. seven(x)
    end, { 1 })
    run(function(c, d, t) c.bytes[0] = 9 return c.word .. " " .. d.b .. tostring(t == seven) .. ffi.C.SPEC_TWO end,
      parlua.zip({ u }, { b }, { tagged(7) }))
    local results = parlua.map(function(n)
      return ({ ffi.new("spec_union_t", n), ffi.new("spec_bits_t", n, n, n), tagged(n / 2) })[n]
    end, parlua.range(3))
    print(results[1].bytes[0], results[2].b, results[3].value, results[3] == tagged(1.5), u.word == 0x01020304)
    run(function(x) return tostring(x + 1) .. tostring(x * 2LL) .. tostring(bit.band(x, 0xffLL)) .. tostring(x / 3) .. tostring(x % 7) .. type(x) end,
      { 9007199254740993LL, -5LL, 18446744073709551615ULL, 0LL })
    print((parlua.reduce(function(x) return ffi.cast("int64_t", x) * 1000000007LL end, parlua.range(100), { init = 0LL,
      step = function(x, y) return x + y end, merge = function(x, y) return x + y end })))]],
  ["two arguments that share a table"] = [[
    local i = 0
    run(function(a, b) return tostring(a == b) .. tostring(a.t == b.t) end, function()
      i = i + 1
      local t = {}
      if i == 1 then return t, t elseif i == 2 then return { t = t }, { t = t } end
    end)]],
  ["lists of any length"] = [[
    local function list(n)
      local head
      for i = n, 1, -1 do head = { v = i, next = head } end
      return head
    end
    local function length(l)
      local n = 0
      while l do n, l = n + 1, l.next end
      return n
    end
    local long = list(30000)
    run(function(l) return length(l) end, { list(20000) })
    run(function() return length(long) end, { 1 })
    print(length(parlua.map(list, { 25000 })[1]))]],
  ["declarations and data of the FFI"] = [[
    local ffi = require "ffi"
    ffi.cdef "size_t strlen(const char *); int abs(int); typedef struct { float m; int id; } spec_body_t; enum spec_color { RED, GREEN };"
    ffi.cdef "typedef struct { int n; spec_body_t list[?]; } spec_bodies_t; struct spec_node { int v; struct spec_node *next; };"
    local body, anonymous, abs, math_library = ffi.typeof "spec_body_t", ffi.typeof "struct { int a; double b[2]; }", ffi.C.abs, ffi.load "m"
    local table_of, bodies = ffi.new("double[16]", 3), ffi.new("spec_bodies_t", 4)
    bodies.list[2].id = 7
    local node, green, null = ffi.new("struct spec_node", 4), ffi.new("enum spec_color", "GREEN"), ffi.cast("void *", 0)
    run(function(s) return tonumber(ffi.C.strlen(s)) + abs(-2) + body(1, 2).id + table_of[5] + bodies.list[2].id end, { "abc" })
    run(function(x) return node.v + tonumber(green) + (null == nil and 1 or 0) + (math_library and 1 or 0) end, { 1 })
    run(function(array) return array[0] + array[1] end, { ffi.new("int[2]", 1, 2) })
    run(function(t, n) return ffi.sizeof(t) * n end, parlua.product({ ffi.typeof "int", body }, { 2 }))
    local results = parlua.map(function(n)
      return ({ body(n, n), anonymous(n), ffi.new("double[?]", 3), 5LL, ffi.new("complex", 1, 2), node })[n]
    end, parlua.range(6))
    print(ffi.istype(body, results[1]), results[1].id, ffi.istype(anonymous, results[2]), results[2].a, ffi.sizeof(results[3]), results[4])
    print(results[5].im, results[6].v, results[6].next == nil)
    local total = parlua.reduce(function(x) return x end, parlua.range(10), { init = function() return body() end,
      step = function(a, x) a.id = a.id + x return a end, merge = function(a, b) a.id = a.id + b.id return a end })
    print(total.id)
    ffi.cdef "int toupper(int);"
    run(function(c) return ffi.C.toupper(c) end, { 97 })]],
  ["types with methods, from a module"] = [[
    local vector = require("vectors").vector
    run(function(x) return vector(x, 4):norm() end, { 3 })
    print(parlua.map(function(x) return vector(x, 4) end, { 3 })[1]:norm())]],
  ["buffers"] = [[
    local buffer = require "string.buffer"
    local prefix = buffer.new():put("a-")
    run(function(s) return tostring(prefix) .. s end, { "x" })
    print(tostring(parlua.map(function(n) return buffer.new():put("n", n) end, { 1 })[1]))]],
  ["declarations that come after a pool has begun"] = [[
    local ffi = require "ffi"
    local pool = parlua.pool { workers = 1 }
    print(pool:submit(function() return 1 end):get())
    ffi.cdef "int isdigit(int);"
    print(pool:submit(function(c) return ffi.C.isdigit(c) ~= 0 end, 48):get())
    pool:close()]],
  ["a module's state"] = [[
    local levels = require "levels"
    levels.set "debug"
    levels.register("twice", function(x) return 2 * x end)
    levels.extra = { 1, 2, 3 }
    run(function(x) return levels.get() .. levels.plugins.twice(x) .. #require("levels").extra end, { 4 })
    levels.set "quiet"
    run(function() return levels.get() end, { 1 })]],
  ["a module that has to be required again"] = [[
    local parser = require "parser"
    parser.limit = 9
    run(function() return parser.limited() .. parser.is_open() end, { 1 })]],
  ["a module that has to be required again, from which things were taken"] = [[
    local parser = require "parser"
    local plain, class = { n = 1 }, { __index = { kind = "class" } }
    parser.extra, parser.list, parser.pair = 1, { setmetatable({}, class), plain, plain }, { { n = 1 }, { n = 2 } }
    local function look()
      local list, pair = require("parser").list, require("parser").pair
      return tostring(parser.extra) .. tostring(list[1].kind) .. tostring(list[2] == list[3]) .. list[2].n .. list[3].n
        .. pair[1].n .. pair[2].n
    end
    run(look, { 1 })
    parser.extra, parser.list[3], parser.pair[1] = nil, { n = 3 }, parser.pair[2]
    setmetatable(parser.list[1], nil)
    run(look, { 1 })]],
  ["a table that a function and a module hold, in a pool's calls"] = [[
    local node = { n = 1 }
    package.loaded.put = { node = node }
    local pool = parlua.pool { workers = 1 }
    local function look() return tostring(require("put").node == node) .. node.n end
    print(pool:submit(look):get())
    node.n = 2
    print(pool:submit(look):get())
    package.loaded.put.more = true
    print(pool:submit(look):get())
    pool:close()]],
  ["an environment that is a table of the script's, too"] = [[
    local environment = setmetatable({ a = 1 }, { __index = _G })
    local get = setfenv(loadstring "return a, b, type(print)", environment)
    local function set(name, value) environment[name] = value end
    package.loaded.put = { get, set }
    local function change(x)
      set("b", x)
      local a, b, kind = get()
      return tostring(a) .. b .. kind .. environment.b
    end
    run(change, { 5 })
    environment.a = nil
    run(change, { 6 })]],
  ["environments that keep globals away"] = [[
    local box = { tostring = tostring, limit = 2 }
    local inside = setfenv(loadstring "return limit, tostring(os), tostring(_G), getfenv(1)", box)
    run(function() local limit, a, b, environment = inside() return limit .. a .. b .. tostring(environment == box) end, { 1 })
    local derived = setmetatable({}, { __index = box })
    local below = setfenv(loadstring "limit = limit + 1; return limit .. tostring(string)", derived)
    run(function() return below() .. rawget(derived, "limit") .. box.limit end, { 1 })
    local pool = parlua.pool { workers = 1 }
    print((pool:map(inside, { 1 })[1]))
    box.limit = 5
    print((pool:map(inside, { 1 })[1]))
    pool:close()]],
  ["parts of what it holds"] = [[
    local colors = { red = { name = "red" }, list = { { 1 }, { deep = { 2 } } } }
    colors.red.all = colors
    local results = parlua.map(function(k) return colors[k] end, { "red", "list" })
    print(results[1] == colors.red, results[2] == colors.list)
    results = parlua.map(function() return { colors.list[2].deep, colors.red } end, { 1 })
    print(results[1][1] == colors.list[2].deep, results[1][2] == colors.red, results[1][2].all == colors)
    results = parlua.map(function() return { package.loaded, package.preload, package.loaders, package } end, { 1 })[1]
    print(results[1] == package.loaded, results[2] == package.preload, results[3] == package.loaders, results[4] == package)
    local first = colors.list[1]
    local weight = { [colors.red] = 3, [first] = 4 }
    run(function(object) return weight[object] end, { colors.red, first, { 1 } })
    local changed = parlua.map(function() local t = { colors.list[1] } t[1][1] = 9 return t end, { 1 })[1]
    print(changed[1][1])]],
  ["parts of C data"] = [[
    local ffi = require "ffi"
    ffi.cdef "typedef struct { int x, y; } spec_inner_t; typedef struct { spec_inner_t a, b[2]; } spec_outer_t;"
    local outer = ffi.new("spec_outer_t", { { 1, 2 }, { { 3, 4 }, { 5, 6 } } })
    local rows = ffi.new("int[2][3]", { { 1, 2, 3 }, { 4, 5, 6 } }) -- must be held: a part does not hold the whole
    local part, row = outer.b[1], rows[1]
    local results = parlua.map(function() return { outer.a, outer.b, part } end, { 1 })[1]
    print(results[1].y, results[2][1].x, results[3].y)
    run(function(inner, numbers) inner.x = inner.x + numbers[2] return inner.x end, parlua.zip({ outer.a, part }, { row, row }))
    print(outer.a.x, part.x, rows[1][2])
    local pool = parlua.pool { workers = 1 }
    for k = 1, 2 do
      outer.b[1].x = 10 * k
      print(pool:map(function() return part.x end, { 1 })[1])
    end
    pool:close()]],
  ["what methods of a class have captured, which changes between submitted calls"] = [[
    local Class, settings, count = {}, { v = 1 }, 1
    Class.__index = Class
    function Class:setting() return settings.v end
    function Class:count() return count end
    local function tell(object) return object:setting() .. " " .. object:count() .. " " .. Class.setting() end
    local function ask(object) return object:setting() .. " " .. object:count() end
    local pool = parlua.pool { workers = 1 }
    local function show()
      local object = setmetatable({}, Class)
      print(pool:submit(ask, object):get(), pool:submit(tell, object):get(), pool:map(ask, { object })[1])
    end
    show()
    settings.v, count = 2, 2
    show()
    settings = { v = 3 }
    show()
    function Class:setting() return "another" end
    show()]],
  ["large tables that methods have captured, which change between submitted calls"] = [[
    step = 0
    local function show(n)
      local large, Class = {}, {}
      Class.__index = Class
      for k = 1, n do large["key " .. k] = k end
      function Class:first() return large["key 1"] end
      function Class:last() return large.last end
      local function tell() return step, Class:first(), Class:last() end
      local pool = parlua.pool { workers = 1 }
      pool:submit(tell):get() -- by then the worker is there
      large["key 1"] = "changed"
      print(n, pool:submit(tell):get())
      large.last = "added"
      print(n, pool:submit(tell):get())
      pool:close()
    end
    show(300)
    show(3000)
    show(100000)]],
  ["buffers that a submitted call is given, changes and returns, by themselves and in tables"] = [[
    local buffer = require("string.buffer").new()
    buffer:put("hello")
    local function add(b) b:put(" there") return b end
    local function add_within(t) t[1]:put(" there") return t end
    print(tostring(parlua.submit(add, buffer):get()), tostring(parlua.submit(add_within, { buffer }):get()[1]))
    print(tostring(parlua.map(add, { buffer })[1]), tostring(parlua.map(add_within, { { buffer } })[1][1]), tostring(buffer))
    buffer:put("!")
    print(tostring(parlua.submit(add, buffer):get()))]],
  ["functions of string.buffer and jit.util that the script has replaced or taken away"] = [[
    local buffer = require "string.buffer"
    local text = buffer.new():put("text")
    require("jit.util").funcinfo = function() return {} end
    buffer.new = function() return "another" end
    local function use(x) return tostring(text) .. x .. require("string.buffer").new() end
    print(parlua.map(use, { 1, 2 })[2], tostring(parlua.map(function() return text end, { 1 })[1]))
    buffer.new = nil
    print(parlua.map(function() return tostring(text), type(require("string.buffer").new) end, { 1 })[1])]],
  ["functions whose captured table a task has replaced"] = [[
    local held = { 1 }
    local function get() return held[1] end
    print(get(), parlua.map(function(k)
      held = { k }
      return get
    end, { 5 }, { workers = 1 })[1]())]],
  ["directory, environment, locale and umask, which change between submitted calls"] = [[
    local ffi = require "ffi"
    ffi.cdef "int chdir(const char *); int setenv(const char *, const char *, int); int unsetenv(const char *); unsigned umask(unsigned);"
    local pool = parlua.pool { workers = 1 }
    local function look()
      return table.concat({ io.popen "pwd":read(), tostring(os.getenv "SPEC_WORD"), io.popen "echo $SPEC_WORD":read(), os.setlocale(nil),
        io.popen "umask":read() }, " ")
    end
    local function show() print(pool:submit(look):get(), pool:map(look, { 1 })[1]) end
    pool:submit(look):get()
    ffi.C.chdir "/usr"
    ffi.C.setenv("SPEC_WORD", "one", 1)
    os.setlocale "C.UTF-8"
    ffi.C.umask(tonumber("037", 8))
    show()
    ffi.C.chdir "/etc"
    ffi.C.umask(tonumber("072", 8))
    ffi.C.setenv("SPEC_WORD", "two", 1)
    show()
    ffi.C.unsetenv "SPEC_WORD"
    os.setlocale "C"
    show()]],
  ["functions that two tables share, of which one is a class"] = [[
    local function name(self) return self.name end
    local Named, Class = { name = name }, { name = name }
    Class.__index = Class
    local pool = parlua.pool { workers = 1 }
    local function compare(object) return Named.name == Class.name, Named.name == object.name, getmetatable(object) == Class end
    print(pool:submit(compare, setmetatable({}, Class)):get())
    run(compare, { setmetatable({}, Class) })]],
  ["arguments of submitted calls that change later"] = [[
    local given, data = { v = 1, sub = { 1 } }, require("ffi").new("int[1]", 1)
    local function read(t, c) return t.v, t.sub[1], c[0] end
    local before = parlua.submit(read, given, data)
    given.v, given.sub[1], data[0] = 2, 2, 2
    local after = parlua.submit(read, given, data)
    print(before:get())
    print(after:get())]],
  ["tables that are keys of what it holds"] = [[
    local first, second = { name = "first" }, { name = "second" }
    local weight = { [first] = 3, [second] = 4 }
    run(function(object) return weight[object] .. object.name end, { first, second })
    print(parlua.submit(function(a, b) return weight[a] + weight[b.inner] end, first, { inner = second }):get())]],
  ["C data whose __eq looks into both"] = [[
    local V = require("ffi").metatype("struct { double x; }", { __eq = function(a, b) return a.x == b.x end })
    local function at(i) return V(i) end
    print(parlua.map(at, { 1, 2 })[2].x, parlua.map(function(v) return v, v end, { V(1), V(2) })[2].x)
    for _, v in parlua.imap(at, { 3 }) do print(v.x) end
    local i = 0
    print(parlua.map(function(v) return v.x end, function() i = i + 1 if i < 3 then return V(i) end end)[2])
    print(parlua.submit(at, 4):get().x, (parlua.find(at, { 5 })))
    print(parlua.map(function() error "no" end, { 1 }, { on_error = function() return V(6) end })[1].x)
    local held = V(7)
    global = V(8)
    run(function() return held.x + global.x end, { 1 })]],
  ["C functions, as such and as pointers"] = [[
    local ffi = require "ffi"
    ffi.cdef "int abs(int); void qsort(void *, size_t, size_t, int (*)(const void *, const void *));"
    local abs, sort = ffi.C.abs, ffi.C.qsort
    run(function() return tostring(sort ~= nil) .. abs(-1) end, { 1 })
    print(parlua.map(function() return ffi.C.abs end, { 1 })[1](-2))
    local pointer = ffi.cast("int (*)(int)", ffi.C.abs)
    run(function(x) return pointer(x) end, { -3 })
    print(parlua.map(function() return { pointer, ffi.C.abs } end, { 1 })[1][1](-4))]],
  ["objects whose methods hold them"] = [[
    local function account(balance)
      local self, calls = { balance = balance }, 0
      function self.deposit(amount)
        self.balance, calls = self.balance + amount, calls + 1
        return self, calls
      end
      return self
    end
    local made = parlua.map(account, { 1, 2 })
    local first, second = made[1], made[2]
    print(first.deposit(5) == first, first.balance, second.balance, select(2, first.deposit(1)))
    local given = account(10)
    run(function(object, amount) object.deposit(amount) return object.balance end,
      parlua.zip({ given, given }, { 1, 2 }))
    print(given.balance)
    print(parlua.reduce(account, parlua.range(5), { init = function() return account(0) end,
      step = function(sum, object) return sum.deposit(object.balance) end,
      merge = function(sum, other) return sum.deposit(other.balance) end }).balance)]],
  ["modules that no file has"] = [[
    package.preload.made = function() return { n = 1 } end
    package.loaded.put = { n = 2 }
    table.insert(package.loaders, function(name) if name == "found" then return function() return { n = 3 } end end end)
    require("made").n = 5
    run(function() return require("made").n + require("put").n + require("found").n end, { 1 })]],
  ["changed libraries, metatables and globals"] = [[
    function string.trim(s) return (s:match "^%s*(.-)%s*$") end
    os.time = function() return 12345 end
    debug.setmetatable(0, { __index = { double = function(x) return 2 * x end } })
    getmetatable("").__add = function(a, b) return a .. "+" .. b end
    function helper_a(x) return x + 1 end
    LATER = 1
    run(function(name, x) return _G[name](x) .. (" a "):trim() .. os.time() .. x:double() .. ("a" + "b") .. tostring(rawget(_G, "LATER")) end,
      parlua.product({ "helper_a" }, { 4 }))
    LATER, helper_a = nil, nil
    run(function() return tostring(rawget(_G, "LATER")) .. tostring(rawget(_G, "helper_" .. "a")) end, { 1 })
    setmetatable(_G, { __index = function(_, name) error("undeclared variable " .. tostring(name), 2) end })
    run(function() return missing_thing end, { 1 })
    run(function(x) return math.sqrt(x) end, { 4 })]],
  ["whether functions are compiled"] = [[
    jit.off()
    run(function() return tostring((jit.status())) end, { 1 })
    jit.on()
    run(function() return tostring((jit.status())) end, { 1 })]],
  ["io.output"] = [[
    local name = os.tmpname()
    io.output(name)
    parlua.map(function(x) io.write("line ", x, "\n") io.flush() end, { 1 })
    io.output():close()
    io.output(io.stdout)
    for line in io.lines(name) do print(line) end
    os.remove(name)]],
  ["calls submitted after the script's state has changed"] = [[
    local pool, n, module = parlua.pool { workers = 1, setup = function() OWN = 0 end }, 1, { v = 1 }
    package.loaded.spec_late = module
    G = 1
    local function f() OWN = OWN + 1 return tostring(G) .. n .. module.v .. tostring(require "spec_late".more) .. OWN end
    local function tell() print(pool:submit(f):get()) end
    tell()
    G, n, module.v = 2, 2, 2
    tell()
    module.more = "more"
    string.shout = function(text) return text:upper() .. "!" end
    tell()
    print(pool:submit(function() return ("a"):shout() end):get())
    G, string.shout = nil, nil
    tell()
    print(pool:submit(function() return tostring(_G["G" .. ""]) .. tostring(("a").shout) end):get())
    print(pool:map(function() return require "spec_late".more end, { 1 })[1])
    local Class = { __index = { v = function() return "old" end } }
    local object = setmetatable({}, Class)
    local function ask(o) return o:v(), o end
    print((pool:submit(ask, object):get()))
    Class.__index.v = function() return "new" end
    local told, back = pool:submit(ask, object):get()
    print(told, getmetatable(back) == Class, (parlua.submit(ask, object):get()))]],
  ["records of several classes"] = [[
    local A, B, Locked = { __index = {} }, { __tostring = function() return "B" end }, {}
    Locked.__metatable = A
    local metatables = { A, B, Locked }
    local results = parlua.map(function(i)
      local record, k = { x = i, s = "a" .. i }, i % 5
      return k == 4 and setmetatable(record, { own = 1 }) or setmetatable(record, metatables[k])
    end, parlua.range(3000))
    local right = 0
    for i = 1, 3000 do
      local k, meta = i % 5, debug.getmetatable(results[i])
      local is_same = meta == metatables[k] or k == 4 and meta.own == 1
      if is_same and results[i].x == i and results[i].s == "a" .. i then right = right + 1 end
    end
    print(right)]],
  ["a table.concat of the script's own"] = [[
    local concat = table.concat
    function table.concat(list, ...) return "<" .. concat(list, ...) .. ">" end
    run(function(x) return table.concat({ x, x }, ",") end, { 1, 2 })]],
  ["a class that only arguments have"] = [[
    local Class = { __index = { get = function(self) return self.n end } }
    local Odd = { file = io.tmpfile() }
    local function new(n) return setmetatable({ n = n, part = setmetatable({}, Class) }, Class) end
    local function same(o) print(o:get(), getmetatable(o) == Class, getmetatable(o.part) == Class) end
    for _, o in ipairs((parlua.map(function(o) return o end, { new(1), new(2) }))) do same(o) end
    for _, o in ipairs((parlua.map(function(o) return o[2] end, parlua.batch({ new(1), new(2) }, 2)))) do same(o) end
    for _, o in ipairs((parlua.map(function(o, n) o.n = n return o end, parlua.product({ new(1) }, { 5, 6 })))) do same(o) end
    run(function(o) return type(o) end, { 1, new(2) })
    print(parlua.map(function(o) return o end, { setmetatable({}, Odd), "other" }, { warn = false })[2])]],
  ["structs and arrays that a task changes"] = [[
    local ffi = require "ffi"
    ffi.cdef "typedef struct { int id; double w[2]; } spec_changed_t;"
    local list = { ffi.new("spec_changed_t", 1), ffi.new("spec_changed_t", 2) }
    local function change(r) r.id = r.id * 10 return r.id end
    run(change, list)
    run(function(t) change(t.a) return t.b.id end, { { a = list[1], b = list[1] } })
    run(function(a) a[1] = 7 return a[1] + ffi.sizeof(a) end, { ffi.new("int[?]", 3) })
    run(function(z) return z.re + z.im end, { ffi.new("complex", 1, 2), ffi.new("complex float", 3, 4) })
    run(function(a, b) return change(a) + change(b) end, parlua.product(list, list))
    print(list[1].id, list[2].id)]],
  ["a table that a submitted function has captured"] = [[
    local none, other = {}, setmetatable({}, { __tostring = function() return "other" end })
    local same, back, last = parlua.submit(function(a) return a == none, none, other end, none):get()
    print(same, back == none, last == other)
    local tagged = { tag = 1 }
    print(parlua.submit(function() return tagged end):get() == tagged)
    run(function() parlua.map(function(x) return x end, { 1 }) return none end, {})
    local results = parlua.map(function() parlua.map(function(x) return x end, { 1 }) return none end, { 1 })
    print(results[1] == none)]],
  ["fields of package, methods of files"] = [[
    package.mine = 5
    getmetatable(io.stdout).__index.twice = function(file, text) return text .. text end
    run(function(x) return package.mine .. io.stdout:twice(x) end, { "a" })]],
  ["libraries that were opened again"] = [[
    local before = { util = require "jit.util", buffer = require "string.buffer" }
    for _, name in ipairs { "jit.util", "string.buffer", "table.new", "string" } do package.loaded[name] = nil end
    local util, buffer, new = require "jit.util", require "string.buffer", require "table.new"
    package.loaded.string = string
    run(function(x) return util.funcinfo(print).ffid == before.util.funcinfo(print).ffid and #new(x, 0) end, { 4 })
    local texts = { before.buffer.new():put "old", buffer.new():put "new" }
    run(function(x) return texts[x]:tostring() .. buffer.decode(before.buffer.encode(x)) end, { 1, 2 })
    package.loaded.table = setmetatable({ sum = function(t) return t[1] + t[2] end }, { __index = table })
    run(function(x) return require "table".sum { x, x } .. require "table".concat { x } end, { 4 })]],
  ["the FFI, taken out of package.loaded and required again"] = [[
    local ffi = require "ffi"
    ffi.cdef "typedef struct { int id; double at[3]; } spec_kept_t; int abs(int);"
    run(function(x) return x.id end, { ffi.new("spec_kept_t", 1) })
    package.loaded.ffi = nil
    local again = require "ffi"
    print(again == ffi, again.sizeof "spec_kept_t", tostring(again.new("spec_kept_t", 5).id))
    local function task(x)
      package.loaded.ffi = nil
      local own = require "ffi"
      local made = own.new("spec_kept_t", x.id + own.C.abs(-1))
      made.at[2] = x.at[2]
      return made, own.sizeof(x), tostring(own.typeof(x) == own.typeof "spec_kept_t")
    end
    for _ = 1, 3 do
      for _, made in ipairs(parlua.map(task, { again.new("spec_kept_t", 2, { 0, 0, 4 }), ffi.new("spec_kept_t", 3) })) do
        print(made.id, made.at[2], ffi.istype("spec_kept_t", made))
      end
    end
    local numbers = parlua.array("double", { 1, 2, 3 })
    print(parlua.map(function(k) return numbers[k] * 2 end, { 1, 2, 3 })[3], numbers:sum())]],
  ["types without a name that differ in how they are packed"] = [[
    local ffi = require "ffi"
    local loose = ffi.typeof "struct { char c; int n; }"
    local tight = ffi.typeof "struct __attribute__((packed)) { char c; int n; }"
    local unit = ffi.typeof "struct { enum { spec_red, spec_blue } e; }"
    local x = ffi.new(loose)
    x.c, x.n = 1, 77
    run(function(value) return value.c, value.n, ffi.sizeof(value) end, { x })
    print((select(2, parlua.map(function(value) return value.n end, { ffi.new(tight) }, { engine = "threads" })))[1].kind)
    run(function() return ffi.sizeof(loose) end, { 1 })]],
  ["parlua's own modules loaded again, as test runners have them"] = [[
    run(function(x) return x end, { 1 })
    for name in pairs(package.loaded) do
      if name:find "^parlua%.wire" then package.loaded[name] = nil end
    end
    local codec, ffi, stand_in = require "parlua.codec", require "ffi", function() end
    codec.by_name("print", stand_in)
    ffi.cdef "typedef struct { int id; } spec_again_t;"
    local known = ffi.new("spec_again_t", 5)
    run(function(x) return tostring(stand_in == print) .. x.id .. known.id .. tostring(2LL) end, { ffi.new("spec_again_t", 4) },
      { engine = "threads" })]],
  ["state that changes between submitted calls"] = [[
    local Class = {}
    Class.__index = Class
    function Class.get(self) return self.x end
    account = setmetatable({ x = 1, list = {} }, Class)
    registry = { account }
    local total = 0
    function bump() total = total + 1 end
    function read() return total end
    package.loaded.spec_levels = { level = "info" }
    local pool = parlua.pool { workers = 2 }
    local function task(k)
      return k, type(counter) == "table" and "a table" or counter or "none", account.x, registry[1] == account,
        getmetatable(account) == Class, read(),
        require "spec_levels".level, #account.list, extra and extra() or "no extra", rawequal(account.self, account),
        other and other[1] == account or "no other"
    end
    local k = 0
    local function show()
      k = k + 1
      print(pool:submit(task, k):get())
    end
    local changes = {
      function() counter = 1 end, function() account.x = 2 end, bump, function() require "spec_levels".level = "debug" end,
      function() account.list = { 1, 2 } end, function() extra = function() return account.x * 10 end end,
      function() account.self = account end, function() other = { account } end, function() counter = nil end,
      function() account.self = nil end, function() table.remove(account.list) end, function() extra = nil end,
      function() counter = { 1 } end, function() counter = nil end,
    }
    show()
    for _, change in ipairs(changes) do change() show() end
    for i = 1, 30 do
      counter, account.x = i, i
      bump()
      if i % 3 == 0 then table.insert(account.list, i) end
      show()
    end
    debug.setmetatable(account, nil)
    show()
    setmetatable(account, Class)
    function Class.more(self) return self:get() + 1 end
    show()
    print(pool:submit(function() return account:more() end):get())
    print(pool:submit(function() return getmetatable(account) end):get() == Class)
    for i = 1, 3 do -- calls with workers of their own, and submitted ones in between
      counter, account.x = 70 + i, 5 * i
      bump()
      print(parlua.map(function() return counter .. account:get() .. read() end, { 1 })[1])
      show()
    end
    function string.shout(text) return text:upper() end
    print(pool:submit(function() return ("x"):shout() end):get())
    big = {}
    for i = 1, 5000 do big[i] = "item" .. i end
    show()
    big, counter = nil, 5
    show()]],
  ["what can't be sent in a part of a source"] = [[
    local items = { 1, coroutine.create(print), 3 }
    for _, source in ipairs { items, parlua.list(items):enumerate(), parlua.product(items, { 1 }),
      parlua.zip(items, { 5, 6, 7 }), parlua.product { x = { 1 }, y = items } } do
      local results, failures, summary = parlua.map(function(a, b)
        if type(a) == "thread" or type(b) == "thread" or type(a) == "table" and type(a.y) == "thread" then error("here", 0) end
        return 1
      end, source)
      print(results.n, #failures, failures[1].index, summary.failed)
    end
    local sum, failures = parlua.reduce(function(a) if type(a) == "thread" then error("here", 0) end return a end,
      parlua.product(items, { 1 }), parlua.sum)
    print(sum, #failures)]],
  ["what workers require after a failure of a ready reducer"] = [[
    local function own() return tostring(require "table" == table) .. tostring(require "string" == string) end
    print((parlua.reduce(function(x) return { x = x } end, { 1, "N/A" }, parlua.sum "x")))
    run(own, { 1, 2, 3 })]],
  ["a metatype of a struct without a name"] = [[
    local ffi, V = require "ffi", nil
    V = ffi.metatype("struct { double x, y; }", {
      __add = function(a, b) return V(a.x + b.x, a.y + b.y) end,
      __index = { norm = function(v) return v.x * v.x + v.y * v.y end } })
    local a = V(1, 2)
    run(function(k) return (a + V(k, k)):norm() end, { 1, 2 })
    local results = parlua.map(function(k) return V(k, 1) end, { 3 })
    print((results[1] + a):norm(), ffi.istype(V, results[1]))]],
  ["a function of LuaJIT as the map function"] = [[
    run(error, { "boom" })
    run(math.sqrt, { 4, 9 })
    print(tostring(select(2, pcall(function() return parlua.submit(error, "late"):get() end))):match "^%C*")]],
  ["methods that a module has given to objects of C"] = [[
    local has_it, cqueues = pcall(require, "cqueues")
    run(function()
      if not has_it then return 5 end
      local controller, result = cqueues.new(), nil
      controller:wrap(function()
        cqueues.sleep(0.001)
        result = 5
      end)
      controller:loop()
      return result
    end, { 1 })]],
  ["a pool that the state leads to"] = [[
    pools = { parlua.pool { workers = 1 } }
    local function add(a, b) return a + b + (counter or 0) end
    for i = 1, 5 do
      counter = i
      print(pools[1]:submit(add, i, 1):get())
    end
    pools = nil
    run(function(x) return add(x, 1) end, { 1 })]],
  ["modules of C that other modules have changed"] = [[
    local has_it, socket = pcall(require, "cqueues.socket")
    run(function()
      if not has_it then return "hi" end
      local a, b = require "cqueues.socket".pair()
      a:write("hi\n")
      a:flush()
      local line = b:read()
      a:close()
      b:close()
      return line
    end, { 1 })]],
  ["large data of C and large strings as results"] = [[
    local ffi = require "ffi"
    local function make(n)
      local data = ffi.new("int32_t[?]", n)
      for i = 0, n - 1, 1000 do data[i] = i end
      data[n - 1] = 7
      return data
    end
    local function told(data)
      if data == nil then return "none" end
      if type(data) == "string" then return #data .. data:sub(-3) end
      if type(data) == "table" then return told(data[1]) .. tostring(ffi.cast("void *", data[1]) == ffi.cast("void *", data[2])) end
      local n, sum = ffi.sizeof(data) / 4, 0
      for i = 0, n - 1 do sum = sum + data[i] end
      return n .. ":" .. sum
    end
    local function f(k)
      local n = 300000 + k -- above and below where they are not copied any more
      if k % 8 == 1 then return make(n)
      elseif k % 8 == 2 then return make(n), "behind"
      elseif k % 8 == 3 then return "before", make(n)
      elseif k % 8 == 4 then local data = make(n) return { data, data }, data
      elseif k % 8 == 5 then return ("x"):rep(4 * n) .. "end"
      elseif k % 8 == 6 then return make(200), ("y"):rep(8 * n)
      elseif k % 8 == 7 then return make(2000000)
      end
      error(make(n))
    end
    for i, a, b in parlua.imap(f, parlua.range(17), { warn = false }) do
      collectgarbage()
      print(i, told(a), b and told(b))
    end
    local results, failures = parlua.map(f, parlua.range(16), { warn = false, chunk = 3 })
    for i = 1, 16 do if results[i] then print(i, told(results[i])) end end
    for _, failure in ipairs(failures) do print(failure.index, told(failure.value)) end]],
  ["buffers of the same length"] = [[
    local buffer, list = require "string.buffer", {}
    for i = 1, 2000 do list[i] = buffer.new():put(("%05d"):format(i):rep(20)) end
    local function wrong(buffers)
      local count = 0
      for i = 1, 2000 do if buffers[i]:tostring() ~= ("%05d"):format(i):rep(20) then count = count + 1 end end
      return count
    end
    local results = parlua.map(function(argument) return { wrong(list), wrong(argument), argument } end, { list })
    print(results[1][1], results[1][2], wrong(results[1][3]))]],
  ["streams that were left, collected in the midst of results"] = [[
    local Class, right = {}, 0
    Class.__index = Class
    for _ = 1, 5 do
      for _ = 1, 5 do
        for _ in parlua.imap(function(x) return x end, parlua.range(10), { workers = 1 }) do break end
      end
      local results = parlua.map(function()
        local list = {}
        for i = 1, 3000 do list[i] = setmetatable({ i }, Class) end
        return list
      end, parlua.range(4), { workers = 1 })
      for k = 1, 4 do
        for i = 1, 3000 do if getmetatable(results[k][i]) == Class then right = right + 1 end end
      end
    end
    print(right)]],
  ["methods that are made when they are first called, caches, tables of functions"] = [[
    local Class = {}
    Class.__index = function(_, name)
      local method = rawget(Class, name) or function(self) return name .. self.id end
      rawset(Class, name, method)
      return method
    end
    local lengths = setmetatable({}, { __mode = "k", __index = function(t, key)
      rawset(t, key, #key.name)
      return rawget(t, key)
    end })
    local key, marks = { name = "abc" }, setmetatable({}, { __index = function(_, word) return "<" .. word .. ">" end })
    local operators = { ["+"] = function(a, b) return a + b end }
    setmetatable(operators, { __index = function(_, name) return function() return "no " .. name end end })
    run(function(i) return setmetatable({ id = i }, Class):first() .. lengths[key] end, { 1, 2 })
    run(function(text) return (text:gsub("%w+", marks)) .. operators[text](3, 4) end, { "a b", "+" })
    operators["-"] = function(a, b) return a - b end
    print(parlua.submit(function(o) return operators["-"](3, 4), o:second(), lengths[key] end, setmetatable({ id = 3 }, Class)):get())]],
  ["objects as accumulators and as errors"] = [[
    local ffi = require "ffi"
    ffi.cdef "typedef struct { double x, y; } spec_sum_t;"
    local sum_of
    sum_of = ffi.metatype("spec_sum_t", { __add = function(a, b) return sum_of(a.x + b.x, a.y + b.y) end,
      __tostring = function(a) return a.x .. ", " .. a.y end })
    print((parlua.reduce(function(i) return sum_of(i, 1) end, parlua.range(5), { init = sum_of(0, 0),
      step = function(sum, v) return sum + v end, merge = function(a, b) return a + b end })))
    local Bag = {}
    Bag.__index = Bag
    function Bag.new() return setmetatable({ n = 0, list = {} }, Bag) end
    function Bag:add(x)
      self.n, self.list[#self.list + 1] = self.n + x, x
      return self
    end
    function Bag:join(other)
      for _, x in ipairs(other.list) do self:add(x) end
      return self
    end
    local bag = parlua.reduce(function(i) return i end, parlua.range(50), { init = Bag.new,
      step = function(a, x) return a:add(x) end, merge = function(a, b) return a:join(b) end })
    print(bag.n, #bag.list, bag.list[17], getmetatable(bag) == Bag)
    local Problem = {}
    Problem.__index = Problem
    local _, failures = parlua.map(function(i) error(setmetatable({ code = i }, Problem)) end, { 4, 5 }, { warn = false })
    print(#failures, getmetatable(failures[1].value) == Problem, failures[2].value.code)
    local ok, failure = pcall(function() parlua.submit(function() error(setmetatable({ code = 9 }, Problem)) end):get() end)
    print(ok, failure.kind, getmetatable(failure.value) == Problem, failure.value.code)]],
  ["the words of the command line"] = [[
    run(function() return type(arg) .. tostring(arg[0] ~= nil) end, { 1 })]],
}

local function output_of(command)
  local result
  helper.with_directory(function(directory)
    for name, text in pairs(modules) do helper.write(directory .. "/" .. name .. ".lua", text) end
    helper.write(directory .. "/script.lua", helper.mapping_prologue .. command.script)
    result = helper.run(("cd %s && %s --progress none script.lua"):format(directory, command.program))
  end)
  assert.equal(0, result.status, result.stdout .. result.stderr)
  return result.stdout
end

describe("a script gives the same as on serial with", function()
  local program = helper.quote(helper.parlua)
  local expected = {}
  local function serial(name)
    expected[name] = expected[name] or output_of { script = scripts[name], program = program .. " --engine serial" }
    return expected[name]
  end

  helper.for_each_engine(function(engine)
    for name, script in pairs(scripts) do
      it(name, function()
        local told = output_of { script = script, program = program .. " --engine " .. engine }
        assert.equal(serial(name), told)
        assert.truthy(#told > 0)
      end)
    end
  end, { "threads", "process" })

  if has_mpi then
    for name, script in pairs(scripts) do
      it(name .. " (mpi)", function()
        assert.equal(serial(name), (output_of { script = script, program = helper.mpirun(2) .. " " .. program }))
      end)
    end
  end
end)

describe("objects of a class", function()
  it("bring no copy of it along", function()
    local text = [[
      local parlua = require "parlua"
      local Class = {}
      Class.__index = Class
      for k = 1, 20 do Class["method" .. k] = function(self) return self.n + k end end
      collectgarbage()
      local before = collectgarbage "count"
      local results = parlua.map(function(i) return setmetatable({ n = i }, Class) end, parlua.range(100000))
      collectgarbage()
      print(collectgarbage "count" - before < 40000, getmetatable(results[1]) == Class, getmetatable(results[100000]) == Class)]]
    for _, engine in ipairs { "threads", "process" } do
      local result = helper.run_parlua("--engine " .. engine .. " -", { stdin = text })
      assert.equal("true\ttrue\ttrue\n", result.stdout, result.stderr)
    end
  end)
end)

describe("a global that can't be sent", function()
  local why_file = "is not in this worker: it can't be sent there, as it is userdata (FILE*): open it in the task, or in `setup`"
  local why_large = "is not in this worker: it takes more than 1 MB, and only goes along with functions that name it; give it "
    .. "to the task as an argument, or let the function hold it in a local"

  helper.for_each_engine(function(engine)
    it("is told of when something in a worker reads it, and is no matter when nothing does", function()
      local large = {}
      for k = 1, 3e5 do large[k] = k end
      rawset(_G, "spec_unsent", { deep = { file = io.tmpfile() } })
      rawset(_G, "spec_large", large)
      package.loaded.spec_reader = { read = setfenv(function(name) return type(_G[name]) end, _G) }
      local reader = package.loaded.spec_reader
      local pool = parlua.pool { engine = engine, workers = 1 }
      local function told(name)
        local ok, value = pcall(function() return pool:submit(reader.read, name):get() end)
        return ok and value or value.message
      end
      local is_there = engine == "process" or helper.in_script[engine]
      for _ = 1, 2 do
        assert.equal("nil", told("spec_nothing"))
        local of_file, of_large = told("spec_unsent"), told("spec_large")
        if is_there then
          assert.equal("table", of_file)
        else
          assert.truthy(of_file:find("global 'spec_unsent'.deep.file " .. why_file, 1, true), of_file)
        end
        if helper.in_script[engine] then
          assert.equal("table", of_large)
        else
          assert.truthy(of_large:find("global 'spec_large' " .. why_large, 1, true), of_large)
        end
      end
      rawget(_G, "spec_unsent").n = 1 -- nobody may see it as it was
      if engine == "process" then assert.truthy(told("spec_unsent"):find(why_file, 1, true)) end
      rawset(_G, "spec_unsent", nil)
      assert.equal("nil", told("spec_unsent"))
      if not helper.in_script[engine] then
        local size = setfenv(function() return #spec_large end, _G) -- luacheck: globals spec_large
        local other = parlua.pool { engine = engine, workers = 1 }
        assert.equal(3e5, other:submit(size):get())
        other:close()
      end
      rawset(_G, "spec_large", nil)
      assert.equal("nil", told("spec_large"))
      assert.is_true(pool:submit(function() return getmetatable(_G) == nil end):get() == (getmetatable(_G) == nil))
      pool:close()
      package.loaded.spec_reader = nil
    end)
  end, { "threads", "process", "mpi", "serial", "async" })
end)

describe("a global that is large", function()
  helper.for_each_engine(function(engine)
    it("goes along with a function that names it, and is not sent with every other call", function()
      local result = helper.run(helper.command(engine) .. " -n 1 -", { stdin = [[
        local parlua = require "parlua"
        large = {}
        for i = 1, 200000 do large[i] = { i, "number " .. i } end
        small = { 7 }
        print(tostring(parlua.map(function() return type(_G["lar" .. "ge"]) end, { 1 })[1]))
        print(parlua.map(function() return _G["sm" .. "all"][1] end, { 1 })[1])
        print(parlua.map(function() return #large end, { 1 })[1])
      ]] })
      local has_own_state = engine == "threads" or engine == "mpi"
      assert.equal((has_own_state and "nil" or "table") .. "\n7\n200000\n", result.stdout, result.stderr)
    end)
  end)
end)

describe("standard functions that the script has replaced", function()
  helper.for_each_engine(function(engine)
    it("are not those that parlua itself calls", function()
      local result = helper.run(helper.command(engine) .. " -n 2 -", { stdin = [[
        local parlua = require "parlua"
        local names = {}
        for name, value in pairs(_G) do
          if type(value) == "function" and name ~= "print" and name ~= "tostring" then names[#names + 1] = name end
        end
        local print, pcall, error, ipairs = print, pcall, error, ipairs
        local function double(x)
          if x == 3 then error "three" end
          return 2 * x
        end
        local function nest(x) return { x, deep = { x } } end
        local options = { warn = false }
        parlua.map(double, { 1 }, options) -- what an engine requires is there
        for _, name in ipairs(names) do _G[name] = function() error(name .. " of the script was called", 0) end end
        local function try(f, ...)
          local ok, results, failures = pcall(f, ...)
          if not ok then return print(results) end
          return results, failures
        end
        local results, failures = try(parlua.map, double, { 1, 2, 3, "4" }, options)
        print(results[2], results[4], #failures, failures[1].message)
        results = try(parlua.map, nest, { {}, "a", { 1, { 2 } } }, options)
        print(results[2].deep[1], results[3][1][2][1])
        print((try(parlua.reduce, double, parlua.range(2), { init = 0, step = function(sum, x) return sum + x end }, options)))
        print(#try(parlua.starmap, function(a, b) return a + b end, { { 1, 2 }, { 3, 4 } }, options))
        try(function() for i, value in parlua.imap(double, parlua.zip(parlua.range(4, 5), { "a", "b" }), options) do print(i, value) end end)
        try(function() print(parlua.submit(nest, { 7 }):get().deep[1][1]) end)
        print(pcall(parlua.map, 1, { 1 }))]] })
      assert.equal("4\t8\t1\tstdin:8: three\na\t2\n6\n2\n1\t8\n2\t10\n7\nfalse\tthe map function must be a function, got number\n",
        result.stdout, result.stderr)
    end)

    it("are not those that parlua itself calls, in libraries and as methods of strings too", function()
      local result = helper.run(helper.command(engine) .. " -n 2 -", { stdin = [[
        local parlua = require "parlua"
        local print, pcall, error, write, require = print, pcall, error, io.write, require
        for _, library in ipairs { "string", "table", "math", "os", "io", "debug", "coroutine", "bit", "jit", "ffi" } do
          local functions, names = require(library), {}
          for name, value in pairs(functions) do
            if type(value) == "function" then names[#names + 1] = name end
          end
          for _, name in ipairs(names) do
            functions[name] = function() error(library .. "." .. name .. " of the script was called", 0) end
          end
        end
        getmetatable("").__index = function(_, key) error("a string was asked for its " .. key, 0) end
        local function double(x)
          if x == 3 then error "three" end
          return 2 * x
        end
        local function nest(x) return { x, deep = { x } } end
        local options = { warn = false }
        local results, failures = parlua.map(double, { 1, 2, 3, "4" }, options)
        print(results[2], results[4], #failures, failures[1].message)
        results = parlua.map(nest, { {}, "a", { 1, { 2 } } }, options)
        print(results[2].deep[1], results[3][1][2][1])
        print(parlua.reduce(double, parlua.range(2), { sum = parlua.sum, stats = parlua.stats }).stats.mean)
        for i, value in parlua.imap(double, parlua.zip(parlua.range(4, 5), { "a", "b" }), options) do print(i, value) end
        print(parlua.submit(nest, { 7 }):get().deep[1][1], (parlua.find(function(x) return x == 2 end, parlua.range(4))))
        print(pcall(parlua.map, double, { 1 }, { timout = 1 }))
        write(failures[1].kind, "\n")
        print(select(2, pcall(parlua.map, function() return ("x"):upper() end, { 1 }, { on_error = "halt" })).message)]] })
      assert.equal("4\t8\t1\tstdin:14: three\na\t2\n3\n1\t8\n2\t10\n7\t2\n" ..
        "false\tunknown option timout in the call; did you mean timeout?\nerror\n" ..
        "a string was asked for its upper\n", result.stdout, result.stderr)
    end)

    it("are seen by workers, and so is what was added to a library, also when it changes later", function()
      local result = helper.run(helper.command(engine) .. " -n 2 -", { stdin = [[
        local parlua = require "parlua"
        local write, tostring_before, format, upper = io.write, tostring, string.format, string.upper
        string.format = function(form, ...) return "<" .. format(form, ...) .. ">" end
        string.upper = function(text) return "up " .. upper(text) end
        string.trim = function(text) return (text:gsub("^%s+", "")) end
        table.concat = function(list) return #list .. " items" end
        table.sum = function(list) return list[1] + list[2] end
        math.floor = function(x) return x - x % 10 end
        math.tau = 6.25
        os.time = function() return 42 end
        io.open = function(name) return nil, name .. " is not there" end
        bit.twice = function(x) return bit.lshift(x, 1) end
        coroutine.isyieldable = function() return "no" end
        tostring = function(x) return "string " .. tostring_before(x) end
        local function look()
          return { string.format("%d", 1), ("%d"):format(2), ("a"):upper(), (" b"):trim(), table.concat { 1, 2 }, table.sum { 1, 2 },
            math.floor(19), math.tau, os.time(), (select(2, io.open "x")), bit.twice(4), coroutine.isyieldable(), tostring(5) }
        end
        local function show(list)
          for _, value in ipairs(list) do write(value, "; ") end
          write "\n"
        end
        show(look())
        show(parlua.map(look, { 1 })[1])
        show(parlua.submit(look):get())
        string.format, math.floor, table.sum = function() return "later" end, nil, nil
        local function again() return { ("%d"):format(1), type(math.floor), type(table.sum), os.time() } end
        show(again())
        show(parlua.map(again, { 1 })[1])
        show(parlua.submit(again):get())]] })
      local first = "<1>; <2>; up A; b; 2 items; 3; 10; 6.25; 42; x is not there; 8; no; string 5; \n"
      assert.equal(first:rep(3) .. ("later; nil; nil; 42; \n"):rep(3), result.stdout, result.stderr)
    end)
  end)
end)

describe("a callback that the script has made for functions of C", function()
  it("is refused where workers have a state of their own, with what to do instead", function()
    local result = helper.run_parlua("--engine threads -", { stdin = [[
      local parlua, ffi = require "parlua", require "ffi"
      local callback = ffi.cast("int (*)(int)", function(x) return x + 1 end)
      print(pcall(parlua.map, function(x) return callback(x) end, { 1 }))
      local made = parlua.map(function(x) return callback_of_worker(x) end, { 1 }, { setup = function()
        callback_of_worker = require("ffi").cast("int (*)(int)", function(x) return x + 1 end)
      end })
      print(made[1])]] })
    assert.equal("false\tcannot send upvalue 'callback' of function at stdin:3: a C function that no library has, "
      .. "such as a callback of this state: make it in the task, or in `setup`\n2\n", result.stdout, result.stderr)
  end)
end)
