--- How values are shown to people.
local ffi = require "ffi"
local value = require "parlua.value"

describe("a value shown to people", function()
  local format = value.format

  it("is Lua where Lua has a form for it", function()
    assert.equal("nil", format(nil))
    assert.equal("true", format(true))
    assert.equal("0.1", format(0.1))
    assert.equal("9007199254740992", format(2 ^ 53))
    assert.equal("0.30000000000000004", format(0.1 + 0.2))
    assert.equal("nan", format(0 / 0))
    assert.equal("-inf", format(-math.huge))
    assert.equal("-0", format(-0.0 * 1))
    assert.equal("{}", format({}))
    assert.equal('{1, "a", x = {2}}', format({ 1, "a", x = { 2 } }))
  end)

  it("has strings that read back as they are, whatever their bytes", function()
    for _, text in ipairs { "plain", 'quo"te', "back\\slash", "line\nend\r\t", "nul\0001", "caf\195\169", "\255\254x", "\195", "\127" } do
      assert.equal(text, loadstring("return " .. format(text))())
    end
    assert.equal('"caf\195\169"', format("caf\195\169"))
  end)

  it("has its keys in order: the list, numbers, strings, booleans", function()
    local t = { 10, 20, [7] = "g", [-1] = "m", b = 1, a = 2, [true] = 3, ["end"] = 4, ["x y"] = 5 }
    assert.equal('{10, 20, [-1] = "m", [7] = "g", a = 2, b = 1, ["end"] = 4, ["x y"] = 5, [true] = 3}', format(t))
  end)

  it("shows where a cycle leads, and a table that occurs twice two times", function()
    local t = { name = "t", inner = {} }
    t.inner.back = t
    t.inner.self = t.inner
    assert.equal('{inner = {back = <cycle to the whole>, self = <cycle to .inner>}, name = "t"}', format(t))
    local shared = { 1 }
    assert.equal("{{1}, {1}}", format({ shared, shared }))
  end)

  it("keeps to its bounds of depth, length, bytes and of the whole", function()
    assert.equal("{{...}}", format({ { 1 } }, { depth = 1 }))
    assert.equal("{1, 2, ... 3 more}", format({ 1, 2, 3, 4, 5 }, { length = 2 }))
    assert.equal('"abc"...', format("abcdef", { bytes = 3 }))
    assert.equal('"\195\169"...', format("\195\169\195\169", { bytes = 3 }))
    local large = {}
    for k = 1, 1000 do large[k] = { ("x"):rep(100), ("y"):rep(100) } end
    assert.is_true(#format(large, { length = 1000, limit = 5000 }) < 15000)
  end)

  it("is broken over lines where it is wider than it may be", function()
    assert.equal("{1, 2, 3}", format({ 1, 2, 3 }, { width = 20 }))
    assert.equal('{\n  "one",\n  "two",\n  x = {1, 2}\n}', format({ "one", "two", x = { 1, 2 } }, { width = 20 }))
    assert.equal('{\n  a = {\n    "long enough",\n    "to be broken"\n  }\n}', format({ a = { "long enough", "to be broken" } }, { width = 24 }))
  end)

  it("names what has no form: functions, coroutines, files, cdata", function()
    assert.equal("<function math.sqrt>", format(math.sqrt))
    assert.matches("^<function at .*value_spec.lua:%d+>$", format(function() end))
    assert.equal("<coroutine, suspended>", format(coroutine.create(print)))
    assert.equal("<file>", format(io.stdout))
    assert.equal("1LL", format(1LL))
    assert.equal("{<function print>}", format({ print }))
  end)

  it("shows objects of the FFI: structs with their fields, texts, arrays, pointers", function()
    ffi.cdef [[
      typedef struct { double x, y; } value_spec_point;
      struct value_spec_line { value_spec_point from, to; char name[8]; const char *text; int sizes[2]; };
      typedef struct {
        value_spec_point points[2]; union { int a; float b; }; double matrix[2][3]; uint8_t raw[2]; int64_t big; bool ok;
        enum { VALUE_SPEC_RED, VALUE_SPEC_BLUE } colour; int bits : 3; value_spec_point *next;
      } value_spec_deep;
      typedef union { int32_t number; char bytes[4]; } value_spec_either;
    ]]
    local point = ffi.new("value_spec_point", 1, 2.5)
    assert.equal("<value_spec_point: x = 1, y = 2.5>", format(point))
    local line = ffi.new("struct value_spec_line", { point, { 3, 4 }, "größe" })
    local text = '<struct value_spec_line: from = {x = 1, y = 2.5}, to = {x = 3, y = 4}, name = "größe", '
      .. "text = <const char *: NULL>, sizes = {0, 0}>"
    assert.equal(text, format(line))
    assert.equal("{" .. text .. ", 1}", format { line, 1 })
    local deep = ffi.new("value_spec_deep", { colour = 1, big = 2 ^ 40, bits = -2 })
    assert.equal("<value_spec_deep: points = {{x = 0, y = 0}, {x = 0, y = 0}}, a = 0, b = 0, matrix = {{0, 0, 0}, {0, 0, 0}}, "
      .. "raw = {0, 0}, big = 1099511627776LL, ok = false, colour = VALUE_SPEC_BLUE, bits = -2, "
      .. "next = <value_spec_point *: NULL>>", format(deep))
    assert.equal('<value_spec_either: number = 25185, bytes = "ab">', format(ffi.new("value_spec_either", { bytes = "ab" })))
    assert.equal('<char [8]: "Bern">', format(ffi.new("char[8]", "Bern")))
    assert.equal('<char [4]: "full">', format(ffi.new("char[4]", "full")))
    assert.equal("<char [3]: 0, 1, 2>", format(ffi.new("char[3]", { 0, 1, 2 }))) -- int8_t is the same type
    assert.equal("<char [2]: -1, 7>", format(ffi.new("int8_t[2]", { -1, 7 })))
    assert.equal("<value_spec_point [2]: {x = 1, y = 2.5}, {x = 0, y = 0}>", format(ffi.new("value_spec_point[2]", { point, {} })))
    assert.equal("<value_spec_point [?]: {x = 0, y = 0}>", format(ffi.new("value_spec_point[?]", 1)))
    local some = ffi.new("value_spec_point[2]", { { 7, 8 } })
    assert.equal("<value_spec_point: x = 7, y = 8>", format(some[0]))
    assert.matches("^<struct: x = 5>$", format(ffi.new("struct { int x; }", 5)))
    assert.equal("ctype<value_spec_point>", format(ffi.typeof("value_spec_point")))
    assert.equal("{<void *: NULL>, 1}", format { ffi.cast("void *", 0), 1 })
    assert.equal("<value_spec_point *: 0x10>", format(ffi.cast("value_spec_point *", 16)))
    assert.equal("<int (*)[3]: 0x10>", format(ffi.cast("int (*)[3]", 16))) -- nothing is read there
    for _, name in ipairs { "value_spec_point", "int[4]" } do -- what a reference stands for may be no more
      assert.matches("^<cdata<", format(ffi.cast(ffi.typeof("$ *", ffi.typeof(name)), 16)[0]))
    end
    ffi.metatype("value_spec_either", { __tostring = function() return "either" end })
    assert.equal("either", format(ffi.new("value_spec_either")))
    assert.equal("<value_spec_either [1]: either>", format(ffi.new("value_spec_either[1]")))
    assert.equal("1+2i", format(ffi.new("complex", 1, 2)))
  end)

  it("says of itself what __tostring says, also when that fails", function()
    assert.equal("a point", format(setmetatable({}, { __tostring = function() return "a point" end })))
    assert.matches("^<table whose __tostring failed: ", format(setmetatable({}, { __tostring = function() error "no" end })))
  end)

  it("does not call what a metatable would do for a read", function()
    local strict = setmetatable({ a = 1 }, { __index = function() error "read" end })
    assert.equal("{a = 1}", format(strict))
  end)
end)
