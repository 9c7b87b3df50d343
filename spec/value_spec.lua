--- How values are shown to people.
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

  it("says of itself what __tostring says, also when that fails", function()
    assert.equal("a point", format(setmetatable({}, { __tostring = function() return "a point" end })))
    assert.matches("^<table whose __tostring failed: ", format(setmetatable({}, { __tostring = function() error "no" end })))
  end)

  it("does not call what a metatable would do for a read", function()
    local strict = setmetatable({ a = 1 }, { __index = function() error "read" end })
    assert.equal("{a = 1}", format(strict))
  end)
end)
