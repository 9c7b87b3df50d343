--- Arrays within one state: how they are made, what is in them, what is said of wrong use. How workers reach them:
--- array_engines_spec.lua.
local ffi = require "ffi"
require "spec.helper"
local parlua = require "parlua"

--- The message of the error that f raises.
local function message_of(f, ...)
  local ok, message = pcall(f, ...)
  assert.is_false(ok, "no error was raised")
  return tostring(message)
end

--- Does f raise an error that has these words, at a line of this file?
local function refuses(words, f, ...)
  local message = message_of(f, ...)
  assert.truthy(message:find(words, 1, true), message)
  assert.truthy(message:find("array_spec.lua:%d+:"), message)
end

local types = { "float", "double", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "complex", "complex float" }

describe("parlua.array", function()
  it("makes zeros of every type, and tells what it has made", function()
    for _, name in ipairs(types) do
      local a = parlua.array(name, 2, 3)
      assert.equal(name, a.type)
      assert.same({ 2, 3 }, a.shape)
      assert.same({ 2, 2, 6 }, { #a, a.rank, a.size })
      for i = 1, 2 do
        for j = 1, 3 do
          local value = a:get(i, j)
          assert.equal(0, name:find "complex" and value.re + value.im or tonumber(value))
        end
      end
    end
  end)

  it("takes numbers from a table, and from tables in tables", function()
    local a = parlua.array("int16", { { 1, 2, 3 }, { 4, 5, -6 } })
    assert.same({ 2, 3 }, a.shape)
    assert.same({ { 1, 2, 3 }, { 4, 5, -6 } }, a:totable())
    assert.same({ { 1, 2 }, { 3, 4 } }, parlua.array("float", { 1, 2, 3, 4 }, 2, 2):totable())
    assert.equal(9007199254740993LL, parlua.array("int64", { 9007199254740993LL })[1])
  end)

  it("takes the bytes of a string, C memory by pointer and length, and C arrays", function()
    assert.same({ 1, 256 }, parlua.array("uint16", "\1\0\0\1"):totable())
    local memory = ffi.new("double[4]", 1.5, 2.5, 3.5, 4.5)
    assert.same({ 1.5, 2.5, 3.5 }, parlua.array("double", ffi.cast("double *", memory), 3):totable())
    assert.same({ { 1.5, 2.5 }, { 3.5, 4.5 } }, parlua.array("double", memory, 2, 2):totable())
    assert.same({ { 1.5, 2.5 }, { 3.5, 4.5 } }, parlua.array("double", ffi.cast("const double *", memory), 4, 2, 2):totable())
  end)

  it("converts another array", function()
    assert.same({ { 1, -2 } }, parlua.array("int32", parlua.array("double", { { 1.9, -2.9 } })):totable())
  end)

  it("refuses sizes, types and values that can't be, and names what was given", function()
    refuses('there is no type "doubel"; it is float, double', parlua.array, "doubel", 3)
    for given, meant in pairs { float64 = "double", INT32 = "int32", bool = "uint8", complex64 = "complex float" } do
      refuses(('there is no type "%s"; did you mean "%s"?'):format(given, meant), parlua.array, given, 3)
    end
    refuses("the type of the elements stands first", parlua.array, 3)
    refuses("a shape is needed", parlua.array, "double")
    for _, size in ipairs { 0, -1, 1.5, "3", 2 ^ 60 } do
      refuses("the size of dimension 2 must be an integer of at least 1, got", parlua.array, "double", 4, size)
    end
    refuses("got -1", parlua.array, "double", -1)
    refuses("not enough memory for an array of double, 4398046511104: 35184372088832 bytes", parlua.array, "double", 2 ^ 42)
    refuses("not enough memory for an array of double, 9007199254740992 x 9007199254740992", parlua.array, "double", 2 ^ 53, 2 ^ 53)
    refuses("17 dimensions, more than the 16", parlua.array, "double", unpack({ 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 }))
    refuses("the value at [2] is no number of the type double: a table", parlua.array, "double", { 1, {} })
    refuses('the value at [2][1] is no number of the type double: "x"', parlua.array, "double", { { 1 }, { "x" } })
    refuses("the tables are not of one shape: 1 values at [2], where there are 2", parlua.array, "double", { { 1, 2 }, { 3 } })
    refuses("a table of the values is empty", parlua.array, "double", {})
    refuses("a string of 3 bytes is no multiple of the 2 bytes of a int16", parlua.array, "int16", "abc")
    refuses("a pointer needs the number of its elements", parlua.array, "double", ffi.cast("double *", 8))
    refuses("the pointer is NULL", parlua.array, "double", ffi.cast("double *", nil), 2)
    refuses("a shape of 3 x 3 has 9 elements, there are 4", parlua.array, "double", { 1, 2, 3, 4 }, 3, 3)
    refuses("what the elements are made of, is expected, got 5LL (ctype<int64_t>)", parlua.array, "double", 5LL)
  end)

  it("refuses numbers that the type has no room for", function()
    refuses("300 is beyond what a uint8 holds (0 to 255)", parlua.array, "uint8", { 1, 300 })
    local cases = { uint8 = { -1, 256LL, 0 / 0 }, int8 = { 128, -129LL, 200ULL }, int32 = { 2 ^ 31, 1 / 0 },
      int64 = { 2 ^ 63, 9223372036854775808ULL }, uint64 = { 2 ^ 64, -1, -1LL } }
    for name, values in pairs(cases) do
      for _, value in ipairs(values) do
        refuses("beyond what a " .. name .. " holds (", function() parlua.array(name, 2):fill(value) end)
        refuses("beyond what a " .. name .. " holds (", function() parlua.array(name, 2):assign { 1, value } end)
      end
    end
    local fits = { uint8 = { 255, 255.9, -0.5, 200LL }, int64 = { -2 ^ 63, 9223372036854775807ULL }, uint64 = { 2 ^ 63, 5LL }, float = { 1 / 0 } }
    for name, values in pairs(fits) do
      for _, value in ipairs(values) do parlua.array(name, 2):fill(value) end
    end
  end)
end)

describe("an array's elements", function()
  it("are read and set by index, from 1, and through the pointer, from 0", function()
    local a = parlua.array("float", 5)
    a[1], a[5] = 1.5, 5.5
    local p = a:data()
    assert.same({ 1.5, 5.5 }, { p[0], p[4] })
    p[2] = 3
    assert.equal(3, a[3])
    local m = parlua.array("int32", 2, 3, 4)
    m:set(2, 3, 4, 77)
    assert.equal(77, m:get(2, 3, 4))
    assert.equal(77, m:data()[23])
    local deep = parlua.array("int8", 2, 2, 2, 2, 2)
    deep:set(2, 1, 2, 1, 2, 9)
    assert.equal(9, deep:get(2, 1, 2, 1, 2))
    assert.equal(9, deep:sum())
  end)

  it("are checked: an index that is out of range, no integer, or one too many", function()
    local a, m = parlua.array("double", 3), parlua.array("double", 3, 4)
    refuses("index 0 is out of range: the array has the elements 1 to 3", function() return a[0] end)
    refuses("index 4 is out of range", function() a[4] = 1 end)
    refuses("index 1.5: an index is an integer", function() return a[1.5] end)
    refuses("index nan", function() return a[0 / 0] end)
    refuses("a[1]: the array has 2 dimensions (3 x 4)", function() return m[1] end)
    refuses("index 5 of dimension 2 is out of range: it goes from 1 to 4 (the array is 3 x 4)", function() return m:get(1, 5) end)
    refuses("index 0 of dimension 1 is out of range", function() m:set(0, 1, 7) end)
    refuses("1 index for an array of 2 dimensions (3 x 4)", function() return m:get(1) end)
    refuses("3 indices for an array of 2 dimensions (3 x 4)", function() m:set(1, 2, 3, 4) end)
    refuses('index "x" of dimension 1: an index is an integer, got string', function() return m:get("x", 1) end)
    refuses('an array has no field "lenght"', function() return a.lenght end)
    refuses('an array has no field "color" that can be set', function() a.color = 1 end)
    refuses("called on nothing, not on an array", function() a.sum() end)
  end)

  it("are gone after a:free(), but not those that a view holds", function()
    local a = parlua.array("double", 1000, 100):fill(2)
    local view = a:slice(3)
    a:free()
    for _, use in ipairs { function() return a[1] end, function() return a:get(1, 1) end, function() a:set(1, 1, 1) end,
      function() return a:data() end, function() return a:sum() end, function() return a:slice(1) end, function() return a.shape end,
      function() return a + 1 end, function() a:fill(1) end, function() a:free() end, function() return a:reshape(-1) end } do
      refuses("the array was freed", use)
    end
    assert.equal("array of double, freed", tostring(a))
    assert.equal(200, view:sum())
  end)

  it("are given back in time, and leave a collector alone that the script has stopped", function()
    local freed = 0
    collectgarbage()
    collectgarbage "stop"
    for _ = 1, 40 do
      local held = newproxy(true)
      getmetatable(held).__gc = function() freed = freed + 1 end
      parlua.array("double", 1e6)
    end
    local is_running = collectgarbage "isrunning"
    collectgarbage "restart"
    assert.is_true(freed > 0)
    assert.is_false(is_running)
  end)
end)

describe("a view", function()
  local a = parlua.array("double", 3, 4)
  for i = 1, 3 do for j = 1, 4 do a:set(i, j, 10 * i + j) end end

  it("is a slice, which shares the elements", function()
    local row = a:slice(2)
    assert.same({ 21, 22, 23, 24 }, row:totable())
    row[1] = 0
    assert.equal(0, a:get(2, 1))
    a:set(2, 1, 21)
    assert.equal(21, row[1])
    assert.equal(34, a:slice(3, 4):totable())
    refuses("index 4 of dimension 1 is out of range", function() a:slice(4) end)
    refuses("3 indices for an array of 2 dimensions", function() a:slice(1, 1, 1) end)
  end)

  it("is a part by ranges, steps and indices", function()
    assert.same({ { 12, 14 }, { 32, 34 } }, a:view({ 1, 3, 2 }, { 2, 4, 2 }):totable())
    assert.same({ 13, 23, 33 }, a:view(true, 3):totable())
    assert.same({ { 31, 32, 33, 34 } }, a:view({ 3, 3 }):totable())
    local part = a:view({ 2, 3 }, { 2, 3 })
    part:fill(0)
    assert.same({ { 11, 12, 13, 14 }, { 21, 0, 0, 24 }, { 31, 0, 0, 34 } }, a:totable())
    part:assign { { 22, 23 }, { 32, 33 } }
    refuses("the range { 2, 9 } of dimension 2 is not within 1 to 4", function() a:view(true, { 2, 9 }) end)
    refuses("the range { 3, 2 } of dimension 1", function() a:view { 3, 2 } end)
    refuses("a range is { first, last } or { first, last, step }, of integers", function() a:view { 1, 2, 0 } end)
    refuses("dimension 1 takes { first, last }, an index or true, got \"x\"", function() a:view "x" end)
  end)

  it("is another shape of the same elements", function()
    local b = a:reshape(2, 6)
    assert.same({ 2, 6 }, b.shape)
    assert.equal(23, b:get(2, 1))
    assert.same({ 4, 3 }, a:reshape(-1, 3).shape)
    refuses("a shape of 5 x 5 has 25 elements, there are 12", function() a:reshape(5, 5) end)
    refuses("12 elements are no multiple of 5", function() a:reshape(5, -1) end)
    refuses("do not lie one behind the other; take a:copy():reshape(...)", function() a:transpose():reshape(12) end)
    assert.same({ 11, 21, 31, 12 }, a:transpose():copy():reshape(12):view({ 1, 4 }):totable())
  end)

  it("is the array with its dimensions in another order", function()
    local t = a:transpose()
    assert.same({ 4, 3 }, t.shape)
    assert.equal(a:get(3, 2), t:get(2, 3))
    t:set(1, 2, 99)
    assert.equal(99, a:get(2, 1))
    a:set(2, 1, 21)
    local m = parlua.array("int8", 2, 3, 4)
    m:set(2, 3, 4, 5)
    assert.equal(5, m:transpose(3, 1, 2):get(4, 2, 3))
    refuses("each of the dimensions 1 to 3 once, got 1", function() m:transpose(1, 1, 2) end)
    refuses("2 numbers for an array of 3 dimensions", function() m:transpose(1, 2) end)
  end)
end)

describe("what is computed of an array", function()
  it("is its sum, mean, least and largest, of every type, also of views", function()
    for _, name in ipairs(types) do
      if not name:find "complex" then
        local a = parlua.array(name, { { 1, 2, 3 }, { 4, 5, 9 } })
        assert.same({ 24, 4, 1, 9 }, { a:sum(), a:mean(), a:min(), a:max() })
        local t = a:view(true, { 1, 3, 2 })
        assert.same({ 17, 4.25, 1, 9 }, { t:sum(), t:mean(), t:min(), t:max() })
      end
    end
    local sum = parlua.array("complex", { ffi.new("complex", 1, 2), ffi.new("complex", 3, 4) }):sum()
    assert.same({ 4, 6 }, { sum.re, sum.im })
  end)

  it("is an array along a dimension", function()
    local a = parlua.array("double", { { 1, 2, 3 }, { 4, 5, 9 } })
    assert.same({ 5, 7, 12 }, a:sum(1):totable())
    assert.same({ 6, 18 }, a:sum(2):totable())
    assert.same({ 2, 6 }, a:mean(2):totable())
    assert.same({ 1, 2, 3 }, a:min(1):totable())
    assert.same({ 3, 9 }, a:max(2):totable())
    assert.same({ 6, 18 }, a:transpose():sum(1):totable())
    refuses("the dimension must be an integer from 1 to 2 (the array is 2 x 3), got 3", function() a:sum(3) end)
  end)

  it("is the same to the bit with one thread and with several", function()
    local a = parlua.array("double", 3e6)
    local p = a:data()
    for k = 0, 3e6 - 1 do p[k] = 1 / (k + 1) end
    local outside = a:sum()
    assert.equal(outside, parlua.map(function() return a:sum() end, { 1 }, { engine = "serial" })[1])
    assert.is_true(math.abs(outside - 15.491338) < 1e-5)
  end)

  it("tells of NaN, wherever it stands", function()
    local n = 30000
    for _, k in ipairs { 1, 2, 8192, 8193, n - 1, n } do
      local a = parlua.array("double", n):fill(1)
      a[k] = 0 / 0
      assert.is_true(a:min() ~= a:min() and a:max() ~= a:max() and a:sum() ~= a:sum())
    end
    local m = parlua.array("double", { { 1, 0 / 0, 3 }, { 0 / 0, 1, 2 } })
    assert.same({ "nan", "nan", "2" }, { tostring(m:min(1)[1]), tostring(m:min(1)[2]), tostring(m:min(1)[3]) })
    assert.same({ -1 / 0, 1 / 0 }, { parlua.array("float", { 1 / 0, -1 / 0, 0 }):min(), parlua.array("float", { 1 / 0, -1 / 0, 0 }):max() })
  end)

  it("is a 64-bit integer where the least or the largest one is no double", function()
    local a = parlua.array("int64", { 5, 9223372036854775807LL, -9007199254740993LL })
    assert.same({ "-9007199254740993LL", "9223372036854775807LL" }, { tostring(a:min()), tostring(a:max()) })
    assert.same({ 5, "18446744073709551615ULL" }, { parlua.array("uint64", { 5, 18446744073709551615ULL }):min(),
      tostring(parlua.array("uint64", { 18446744073709551615ULL, 5 }):max()) })
  end)

  it("is arithmetic, element by element, with numbers and with arrays of the same shape", function()
    local a, b = parlua.array("double", { { 1, 2 }, { 3, 4 } }), parlua.array("double", { { 10, 20 }, { 30, 40 } })
    assert.same({ { 11, 22 }, { 33, 44 } }, (a + b):totable())
    assert.same({ { 9, 18 }, { 27, 36 } }, (b - a):totable())
    assert.same({ { 10, 40 }, { 90, 160 } }, (a * b):totable())
    assert.same({ { 10, 10 }, { 10, 10 } }, (b / a):totable())
    assert.same({ { 2, 4 }, { 6, 8 } }, (2 * a):totable())
    assert.same({ { 0, 1 }, { 2, 3 } }, (a - 1):totable())
    assert.same({ { 12, 6 }, { 4, 3 } }, (12 / a):totable())
    assert.same({ { -1, -2 }, { -3, -4 } }, (-a):totable())
    assert.same({ { 2, 5 }, { 5, 8 } }, (a + a:transpose()):totable())
    refuses("the shapes differ: 2 x 2 and 4", function() return a + b:reshape(4) end)
    refuses("arrays and numbers go together, got an array (double, 2 x 2) and \"x\"", function() return a + "x" end)
    refuses("and nothing", function() return a + nil end)
  end)

  it("has a type that holds what both sides hold", function()
    local function kind(a, b) return (parlua.array(a, 2) + (type(b) == "string" and parlua.array(b, 2) or b)).type end
    assert.same({ "int32", "int16", "int64", "double", "double", "float" }, { kind("int32", "int8"), kind("int8", "uint8"),
      kind("uint32", "int32"), kind("uint64", "int64"), kind("float", "double"), kind("float", "int16") })
    assert.same({ "uint8", "int16", "double", "float", "int64" },
      { kind("uint8", 200), kind("int8", 300) == "int32" and "int16", kind("int32", 0.5), kind("float", 0.5), kind("int64", 1) })
    assert.equal("double", (parlua.array("int32", { 1 }) / 2).type)
    assert.equal(9007199254740993LL, (parlua.array("int64", { 9007199254740992LL }) + 1)[1])
    local c = parlua.array("complex", { ffi.new("complex", 1, 2) }) * parlua.array("complex", { ffi.new("complex", 3, 4) })
    assert.same({ -5, 10 }, { c[1].re, c[1].im })
    local d = (1 + parlua.array("complex float", 1)) / ffi.new("complex", 0, 1)
    assert.same({ 0, -1 }, { d[1].re, d[1].im })
  end)

  it("is put in place by a function", function()
    local a = parlua.array("double", { { 1, 4 }, { 9, 16 } })
    assert.equal(a, a:map_in_place(math.sqrt))
    assert.same({ { 1, 2 }, { 3, 4 } }, a:totable())
    a:transpose():slice(1):map_in_place(function(x) return -x end)
    assert.same({ { -1, 2 }, { -3, 4 } }, a:totable())
    for _, freed in ipairs { parlua.array("double", 1e6), parlua.array("double", 3, 4):transpose() } do
      local seen = 0
      freed:map_in_place(function() -- its memory is there until the end
        seen = seen + 1
        if seen == 2 then freed:free() end
        return 1
      end)
      assert.is_true(freed.freed and seen >= 12)
    end
    refuses("a function is expected, got 3", function() a:map_in_place(3) end)
  end)

  it("goes through ipairs and pairs, by its elements or its slices", function()
    for _, through in ipairs { ipairs, pairs } do
      local seen = {}
      for i, x in through(parlua.array("float", { 3, 5 })) do seen[i] = x end
      for i, row in through(parlua.array("float", { { 1, 2 }, { 3, 4 } })) do seen[i + 2] = row:sum() end
      assert.same({ 3, 5, 3, 7 }, seen)
      local freed = parlua.array("int8", 3)
      freed:free()
      refuses("the array was freed", function() for _ in through(freed) do error "a step" end end)
    end
  end)

  it("takes nothing but numbers for elements, and says what stands for operations that it has not", function()
    local a, m = parlua.array("double", 3), parlua.array("int64", 2, 2, 2, 2)
    refuses("an element of an array of double is a number, got nothing", function() a[1] = nil end)
    refuses('an element of an array of double is a number, got "5"', function() a[3] = "5" end)
    refuses("got true", function() a:set(1, true) end)
    refuses("an element of an array of int64 is a number, got a table", function() m:set(1, 1, 1, 1, {}) end)
    m:set(1, 2, 1, 2, 5LL)
    assert.equal(5LL, m:get(1, 2, 1, 2))
    refuses("array ^: there is no such operation; a:copy():map_in_place", function() return a ^ 2 end)
    refuses("array %: there is no such operation", function() return a % 2 end)
    refuses("array <: there is no such operation; compare elements", function() return a < a:copy() end)
    refuses("array ..: there is no such operation; tostring(a)", function() return "a: " .. a end)
  end)

  it("is a convolution along a dimension", function()
    local a = parlua.array("double", { 1, 2, 3, 4 })
    assert.same({ 1.25, 2, 3, 3.75 }, a:convolve({ 0.25, 0.5, 0.25 }):totable())
    assert.same({ 1, 2, 3, 2.75 }, a:convolve({ 0.25, 0.5, 0.25 }, { edge = "zero" }):totable())
    assert.same({ 2, 3, 4, 1 }, a:convolve({ 0, 0, 1 }, { edge = "wrap" }):totable())
    assert.same({ 1, 1, 2, 3 }, a:convolve({ 1, 0, 0 }, { edge = "nearest" }):totable())
    local m = parlua.array("float", { { 1, 2, 3 }, { 4, 5, 6 } })
    assert.same({ { 5, 7, 9 }, { 5, 7, 9 } }, m:convolve({ 1, 1, 0 }, { axis = 1, edge = "wrap" }):totable())
    local into = parlua.array("float", 2, 3)
    assert.equal(into, m:convolve({ 0, 0, 1 }, { axis = 2, edge = "zero", into = into }))
    assert.same({ { 2, 3, 0 }, { 5, 6, 0 } }, into:totable())
    assert.same({ { 2, 3, 3 }, { 5, 6, 6 } }, m:transpose():convolve({ 0, 0, 1 }, { axis = 1 }):transpose():totable())
    assert.same({ { 1, 3, 5 }, { 5, 12, 16 } },
      m:convolve({ 1, 1, 0 }, { axis = { 1, 2 }, edge = "zero", into = into }):totable())
    assert.same({ { 1, 3, 5 }, { 5, 12, 16 } }, into:totable())
    refuses("dimension 2 stands twice in the list of axes", function() m:convolve({ 1 }, { axis = { 2, 1, 2 } }) end)
    refuses("or a list of such, got an empty list", function() m:convolve({ 1 }, { axis = {} }) end)
    refuses("an integer from 1 to 2 (the array is 2 x 3), got 3", function() m:convolve({ 1 }, { axis = { 1, 3 } }) end)
    refuses("an odd number of values, got 2", function() a:convolve { 1, 2 } end)
    refuses("elements are float or double, got int8", function() parlua.array("int8", 3):convolve { 1 } end)
    refuses("edge is reflect, nearest, zero or wrap, got \"mirror\"", function() a:convolve({ 1 }, { edge = "mirror" }) end)
    refuses('there is no option "edges"; did you mean edge?', function() a:convolve({ 1 }, { edges = "zero" }) end)
    refuses("options are a table, as { axis = ... }, got 5", function() a:convolve({ 1 }, 5) end)
    assert.same({ 2, 3, 4, 0 }, a:copy():convolve({ 0, 0, 1 }, { edge = "zero", into = a }):totable())
    assert.same({ 3, 4, 0, 0 }, a:convolve({ 0, 0, 1 }, { edge = "zero", into = a }):totable()) -- over itself
    refuses("into must be an array of the same type and shape (double, 4), got an array (float, 2 x 3)", function()
      a:convolve({ 1 }, { into = into })
    end)
  end)

  it("is the nearest of some rows to each row, and the square of the distance", function()
    for _, kind in ipairs { "double", "float" } do
      local points = parlua.array(kind, 37, 5)
      local centres = parlua.array(kind, { { 0, 0, 0, 0, 0 }, { 7, 3, 0, 0, 1 }, { 0, 0, 0, 0, 0 }, { 0, 0, 9, 9, 9 } })
      for i = 1, 37 do for d = 1, 5 do points:set(i, d, i * d * 7 % 11) end end
      local nearest, distances = points:nearest(centres)
      assert.same({ "int32", kind, { 37 }, { 37 } }, { nearest.type, distances.type, nearest.shape, distances.shape })
      for i = 1, 37 do
        local best, least = 0, math.huge
        for c = 1, 4 do
          local distance = 0
          for d = 1, 5 do distance = distance + (points:get(i, d) - centres:get(c, d)) ^ 2 end
          if distance < least then best, least = c, distance end
        end
        assert.same({ best, least }, { nearest[i], distances[i] })
      end
      local turned = parlua.array(kind, 5, 37):assign(points:transpose()):transpose()
      assert.same(nearest:totable(), turned:nearest(centres):totable())
      assert.same({ 4 }, (points:view({ 1, 1 }):fill(100):nearest(centres):totable()))
    end
    local p = parlua.array("double", 2, 3)
    refuses("points and centres are both float or both double, got double and int8", function()
      p:nearest(parlua.array("int8", 1, 3))
    end)
    refuses("rows of the same length, got 2 x 3 and 3 x 2", function() p:nearest(parlua.array("double", 3, 2)) end)
    refuses("an array of centres is expected, got 3", function() p:nearest(3) end)
  end)
end)

describe("an array as text", function()
  local function text(...) return (tostring(parlua.array(...)):gsub("\n[^\n]*$", "")) end

  it("is what NumPy prints, and a line with its type and shape", function()
    assert.equal("[[0. 0.]\n [0. 0.]]\ndouble, 2 x 2", tostring(parlua.array("double", 2, 2)))
    assert.equal("[1 2 3]", text("int32", { 1, 2, 3 }))
    assert.equal("[ -1  20 300]", text("int64", { -1, 20, 300 }))
    assert.equal("[0.1  0.25 3.  ]", text("float", { 0.1, 0.25, 3 }))
    assert.equal("[1.e+00 1.e+10]", text("double", { 1, 1e10 }))
    assert.equal("[ 1. nan inf]", text("double", { 1, 0 / 0, math.huge }))
    assert.equal("[1.+0.j 0.-2.j]", text("complex", { 1, ffi.new("complex", 0, -2) }))
    assert.equal("[[[1]\n  [2]]\n\n [[3]\n  [4]]]", text("uint8", { { { 1 }, { 2 } }, { { 3 }, { 4 } } }))
  end)

  it("is short where there are more than a thousand elements", function()
    assert.equal("[0 0 0 ... 0 0 0]", text("int8", 1001))
    assert.equal("[[0. 0. 0. ... 0. 0. 0.]\n [0. 0. 0. ... 0. 0. 0.]\n [0. 0. 0. ... 0. 0. 0.]\n ...\n [0. 0. 0. ... 0. 0. 0.]\n"
      .. " [0. 0. 0. ... 0. 0. 0.]\n [0. 0. 0. ... 0. 0. 0.]]", text("float", 100, 100))
  end)
end)
