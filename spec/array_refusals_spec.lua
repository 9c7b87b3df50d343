--- Wrong use of every function of arrays: each is an error at the script's own line that names what was given, and what
--- is allowed. A line is code and the words of its error, or of several, one for each value of `X`.
local ffi = require "ffi"
local helper = require "spec.helper"
local parlua = require "parlua"

local a, m = parlua.array("double", { 1, 2, 3, 4 }), parlua.array("double", { { 1, 2, 3 }, { 4, 5, 6 } })
local bytes, complex, one = parlua.array("int8", 3), parlua.array("complex", 2, 2), a:slice(1)
local freed = parlua.array("double", 4)
freed:free()
local endless = {}
endless[1] = endless

local known = { parlua = parlua, ffi = ffi, a = a, m = m, bytes = bytes, complex = complex, one = one, freed = freed, nan = 0 / 0,
  inf = math.huge, endless = endless, ints = ffi.new("int[4]"), f = function() end }
setmetatable(known, { __index = _G })

--- Runs code, which is one line of a script; its error must be at that line, and have these words.
local function refuses(code, words)
  local run = assert(loadstring("local result = " .. code .. " return result", "=script") or loadstring(code, "=script"), code)
  local ok, message = pcall(setfenv(run, known))
  assert.is_false(ok, code .. ": no error was raised")
  assert.equal("script:1: ", tostring(message):sub(1, 10), code .. ": " .. tostring(message))
  assert.truthy(message:find(words, 1, true), code .. ": " .. message .. "\nexpected: " .. words)
end

local gone = "the array was freed: nothing can be done with it after a:free()"
local size = "the size of dimension 1 must be an integer of at least 1, got "
local range = "a range is { first, last } or { first, last, step }, of integers"

local groups = {
  ["parlua.array"] = {
    { "parlua.array(X)", "the type of the elements stands first, as in parlua.array(\"double\", 1000), got ",
      nil_ = "nothing", ["true"] = "true", ["{}"] = "a table", ["3, 3"] = "3" },
    { "parlua.array(X, 3)", "parlua.array: there is no type ", ["''"] = '""; it is float, double',
      ["'float64'"] = '"float64"; did you mean "double"?' },
    { "parlua.array('double', X)", "parlua.array: " .. size, nil_ = "nothing", ["true"] = "true", f = "a function", nan = "nan",
      inf = "inf", ["-inf"] = "-inf", ["0"] = "0", ["-3"] = "-3", ["1.5"] = "1.5", ["1e300"] = "1.0000000000000001e+300",
      ["coroutine.create(f)"] = "a coroutine" },
    { "parlua.array('double', 4, X)", "the size of dimension 2 must be an integer of at least 1, got ", nil_ = "nothing",
      ["5LL"] = "5LL", ["'2'"] = '"2"', ["{}"] = "a table" },
    { "parlua.array('double', X)", "not enough memory for an array of double, ", ["2 ^ 53, 2 ^ 53"] = "9007199254740992 x",
      ["2 ^ 42"] = "4398046511104: 35184372088832 bytes" },
    { "parlua.array('double', X)", "parlua.array: ", ["{ 1, {} }"] = "the value at [2] is no number of the type double: a table",
      ["{ { 1 }, 2 }"] = "the tables are not of one shape: 2 at [2]", ["{ 1, 2 }, 3"] = "a shape of 3 has 3 elements, there are 2",
      ["{ 1, 2 }, 'x'"] = size .. '"x"', ["{ 1, 2, 3 }, -1, 2"] = "3 elements are no multiple of 2", endless = "more than 16 deep",
      ["{ { { 1 }, [3] = { 2 } } }"] = "at [1]", ["'abc'"] = "a string of 3 bytes is no multiple of the 8 bytes of a double",
      ["('x'):rep(16), 3"] = "a shape of 3 has 3 elements, there are 2", ["a, 3"] = "a shape of 3 has 3 elements, there are 4",
      ["5LL"] = "a shape, or what the elements are made of, is expected, got 5LL" },
    { "parlua.array('double', { X })", "parlua.array: ", [""] = "a table of the values is empty", ["1, nil, 3"] = "at [2]",
      ["1, 2, [4] = 3"] = "at [3]", ["1, 'x'"] = 'the value at [2] is no number of the type double: "x"' },
    { "parlua.array('double', ffi.cast('double *', ints), X)", "a pointer needs the number of its elements", nil_ = "got nothing",
      ["0"] = "got 0", ["-1"] = "got -1", nan = "got nan", ["1.5"] = "got 1.5", ["'x'"] = 'got "x"' },
    { "parlua.array('double', X)", "parlua.array: the memory is of ", ints = 'int, the elements are to be double; parlua.array("int32", '
      .. '...):copy("double") converts numbers', ["ffi.cast('const int *', ints), 2"] = "int, the elements",
      ["ffi.new 'int[2][2]'"] = "int, the elements", ["ffi.cast('double **', ints), 2"] = "pointers, the elements are to be double" },
    { "parlua.array('double', ffi.cast('double *', nil), 3)", "the pointer is NULL" },
    { "parlua.array('int8', X)", "parlua.array: ", ["{ 300 }"] = "300 is beyond what a int8 holds (-128 to 127)",
      ["parlua.array('double', { 1, 300 })"] = "300 is beyond what a int8 holds", ["parlua.array('double', { nan })"] = "nan is beyond",
      ["parlua.array('uint8', { 200 })"] = "200 is beyond what a int8" },
    { "parlua.array('double', freed)", gone },
  },
  elements = {
    { "a[X]", "the array has the elements 1 to 4", ["0"] = "index 0 is out of range", ["5"] = "index 5 is out of range",
      ["-1"] = "index -1 is out of range" },
    { "a[X]", ": an index is an integer", ["1.5"] = "index 1.5", nan = "index nan", inf = "index inf" },
    { "a[X]", "an array has no field ", ["'1'"] = '"1"', ["true"] = "true", nil_ = "nothing", ["{}"] = "a table", ["1LL"] = "1LL" },
    { "a[5] = 1", "index 5 is out of range: the array has the elements 1 to 4" },
    { "a[1] = X", "an element of an array of double is a number, got ", nil_ = "nothing", ["'5'"] = '"5"', ["{}"] = "a table",
      ["ffi.new('complex', 1, 2)"] = "1+2i" },
    { "a.x = 1", 'an array has no field "x" that can be set' },
    { "m[1]", "a[1]: the array has 2 dimensions (2 x 3); take a:get(...) and a:set(...) for an element, a:slice(i) for a part" },
    { "one[1]", "a[1]: the array has 0 dimensions (a single element); take a:get(...)" },
    { "a:get(X)", "", [""] = "0 indices for an array of 1 dimension (4)", ["1, 1"] = "2 indices for an array of 1 dimension (4)",
      ["0"] = "index 0 is out of range: it goes from 1 to 4", nil_ = "an index is missing: the array has 1 dimension (4)",
      ["'1'"] = 'index "1": an index is an integer, got string', ["1LL"] = "index 1LL: an index is an integer, got cdata" },
    { "m:get(1, X)", "", nil_ = "an index of dimension 2 is missing: the array has 2 dimensions (2 x 3)",
      ["4"] = "index 4 of dimension 2 is out of range: it goes from 1 to 3 (the array is 2 x 3)" },
    { "one:get(1)", "1 index for an array of 0 dimensions (a single element)" },
    { "a:set(X)", "", [""] = "there are no indices and no value", ["1"] = "0 indices for an array of 1 dimension",
      ["1, nil"] = "a number, got nothing", ["5, 1"] = "index 5 is out of range", ["1, 1, 1"] = "2 indices for an array of 1 dimension" },
    { "m:set(1, 1, {})", "an element of an array of double is a number, got a table" },
    { "complex:set(1, 1, 'x')", 'an element of an array of complex is a number, got "x"' },
    { "#one", "#a: the array has no dimensions; a:get() is its element" },
    { "ipairs(one)", "ipairs: the array has no dimensions" },
    { "a()", "an array can't be called: a[i] and a:get(i, j) are its elements, and ipairs(a) goes through them" },
  },
  ["parts and shapes"] = {
    { "a:slice(X)", "", [""] = "at which index of the first dimension?", ["5"] = "index 5 is out of range: it goes from 1 to 4",
      ["1, 1"] = "2 indices for an array of 1 dimension (4)", ["true"] = "an index is an integer, got boolean" },
    { "m:view(X)", "", ["false"] = "dimension 1 takes { first, last }, an index or true, got false",
      m = "got an array (double, 2 x 3)", ["true, 4"] = "index 4 of dimension 2 is out of range",
      ["1, 1, 1"] = "3 ranges for an array of 2 dimensions (2 x 3)" },
    { "a:view { X }", range, ["1.5, 2"] = "dimension 1 got { 1.5, 2, 1 }", ["1, 2, 0"] = "got { 1, 2, 0 }", ["1, nan"] = "got { 1, nan, 1 }",
      ["1, 2, 3, 4"] = "that of dimension 1 has 4 at 4", ["first = 2"] = 'that of dimension 1 has 2 at "first"' },
    { "a:view { X }", "is not within 1 to 4, or is empty (the array is 4)", ["0, 2"] = "{ 0, 2 }", ["2, 1"] = "{ 2, 1 }", ["1, 5"] = "{ 1, 5 }" },
    { "a:reshape(X)", "a:reshape: ", [""] = "a shape is needed", ["{}"] = "a shape is needed", nil_ = size .. "nothing",
      ["5"] = "a shape of 5 has 5 elements, there are 4", ["3, -1"] = "4 elements are no multiple of 3",
      ["-1, -1"] = "the size of dimension 2 must be an integer of at least 1, got -1", ["0"] = size .. "0", ["2.5"] = size .. "2.5",
      endless = size .. "a table", ["unpack({ 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 })"] = "17 dimensions, more than the 16" },
    { "m:transpose():reshape(6)", "do not lie one behind the other; take a:copy():reshape(...)" },
    { "m:transpose(X)", "a:transpose: ", ["1"] = "1 number for an array of 2 dimensions (2 x 3)",
      ["1, 1"] = "each of the dimensions 1 to 2 once, got 1", ["1, 3"] = "got 3", ["'x', 1"] = 'got "x"', ["1, nil"] = "got nothing" },
  },
  ["what changes elements"] = {
    { "a:fill(X)", "a:fill: a number of the type double is expected, got ", [""] = "nothing", ["'x'"] = '"x"',
      a = "an array (double, 4)", ["ffi.new('complex', 1, 2)"] = "1+2i" },
    { "bytes:fill(X)", "is beyond what a int8 holds (-128 to 127)", ["300"] = "300", nan = "nan" },
    { "a:assign(X)", "a:assign: ", [""] = "an array, a table or a number of the type double is expected, got nothing",
      ["'x'"] = 'got "x"', ["{}"] = "a table of the values is empty", ["{ 1, 2 }"] = "the shapes differ: 2 into 4",
      ["{ 1, 2, 3, 'x' }"] = "the value at [4]", m = "the shapes differ: 2 x 3 into 4", one = "the shapes differ: a single element into 4" },
    { "bytes:assign(X)", "a:assign: 300 is beyond what a int8 holds (-128 to 127)", ["300"] = "", ["{ 1, 2, 300 }"] = "",
      ["parlua.array('double', { 1, 2, 300 })"] = "" },
    { "a:copy(X)", "a:copy: ", ["'float32'"] = 'there is no type "float32"; did you mean "float"?',
      ["3"] = 'the type of the elements is a name, as "double" or "int32", got 3' },
    { "(a * 100):copy 'int8'", "a:copy: 400 is beyond what a int8 holds (-128 to 127)" },
    { "(complex + 1e9):copy 'int16'", "a:copy: 1000000000 is beyond what a int16 holds" },
    { "parlua.array('uint64', { 2 ^ 63 }):copy 'int64'", "9223372036854775808ULL is beyond what a int64 holds" },
    { "a:copy():map_in_place(X)", "a:map_in_place: ", [""] = "a function is expected, got nothing", ["3"] = "a function is expected, got 3",
      f = "the function returned nothing, where an element of an array of double is to be put",
      ["function() return 'x' end"] = 'returned "x"' },
    { "bytes:copy():map_in_place(X)", "a:map_in_place: ", ["function() return 300 end"] = "300 is beyond what a int8 holds", f = "nothing" },
  },
  ["what is computed"] = {
    { "m:sum(X)", "a:sum: the dimension must be an integer from 1 to 2 (the array is 2 x 3), got ", ["0"] = "0", ["3"] = "3",
      ["'x'"] = '"x"', nan = "nan", ["1.5"] = "1.5", ["false"] = "false", ["{}"] = "a table" },
    { "m:mean(3)", "a:mean: the dimension must be an integer from 1 to 2" },
    { "m:max(3)", "a:max: the dimension must be an integer from 1 to 2" },
    { "one:sum(1)", "a:sum: the array is a single element, without dimensions, got 1 for one" },
    { "complex:min()", "a:min: complex numbers have no order" },
    { "complex:mean(1)", "a:mean: of complex numbers it is of all elements, not along a dimension" },
    { "a + X", "array +: arrays and numbers go together, got an array (double, 4) and ", nil_ = "nothing", ["'x'"] = '"x"',
      ["{}"] = "a table", ["true"] = "true", f = "a function", ints = "cdata<int [4]>" },
    { "nil * a", "array *: arrays and numbers go together, got an array (double, 4) and nothing" },
    { "a - m", "array -: the shapes differ: 4 and 2 x 3" },
    { "m / m:transpose()", "array /: the shapes differ: 2 x 3 and 3 x 2" },
    { "2 ^ a", "array ^: there is no such operation; a:copy():map_in_place(function(x) return x ^ 2 end)" },
    { "a < 3", "array <: there is no such operation; compare elements, or a:min() and a:max()" },
    { "a .. 'x'", "array ..: there is no such operation; tostring(a) is its text" },
    { "a:convolve(X)", "a:convolve: the kernel", [""] = " is a list of numbers, got nothing", ["3"] = "got 3",
      ["{}"] = ": a table of the values is empty",
      ["{ 1, 2 }"] = " is a list of an odd number of values, got 2", ["{ 'x' }"] = 'the value at [1] is no number of the type double: "x"',
      ["{ 1, [3] = 1 }"] = "at [2]", m = "an odd number of values, got 2 x 3", ["parlua.array('complex', 3)"] = "of real numbers" },
    { "a:convolve({ 1 }, X)", "a:convolve: ", ["3"] = "options are a table, as { axis = ... }, got 3",
      ["{ axis = 2 }"] = "the dimension must be an integer from 1 to 1", ["{ axis = false }"] = "got false",
      ["{ axis = {} }"] = "got an empty list",
      ["{ axis = { 1, 1 } }"] = "dimension 1 stands twice", ["{ edge = 'x' }"] = 'edge is reflect, nearest, zero or wrap, got "x"',
      ["{ edge = false }"] = "got false", ["{ into = 3 }"] = "into must be an array of the same type and shape (double, 4), got 3",
      ["{ into = false }"] = "got false", ["{ into = m }"] = "got an array (double, 2 x 3)",
      ["{ intoo = a }"] = 'there is no option "intoo"; did you mean into?' },
    { "a:convolve({ 1 }, { into = freed })", gone },
    { "bytes:convolve { 1 }", 'a:convolve: elements are float or double, got int8; a:copy("double") makes them so' },
    { "m:nearest(X)", "a:nearest: ", [""] = "an array of centres is expected, got nothing", ["{ 1, 2, 3 }"] = "got a table",
      a = "rows of the same length, got 2 x 3 and 4", ["parlua.array('float', 2, 3)"] = "both float or both double, got double and float" },
  },
  ["without a colon"] = {
    { "a.X(1)", "called on 1, not on an array", get = "get:", set = "set:", data = "data:", slice = "slice:", view = "view:", reshape = "reshape:",
      transpose = "transpose:", fill = "fill:", assign = "assign:", copy = "copy:", map_in_place = "map_in_place:", sum = "sum:",
      mean = "mean:", min = "min:", max = "max:", convolve = "convolve:", nearest = "nearest:", totable = "totable:", bytes = "bytes:",
      save = "save:", free = "free:" },
  },
  ["after a:free()"] = {
    { "freed:X", gone, ["get(1)"] = "", ["set(1, 1)"] = "", ["data()"] = "", ["slice(1)"] = "", ["view()"] = "", ["reshape(4)"] = "",
      ["transpose()"] = "", ["fill(1)"] = "", ["assign(a)"] = "", ["copy()"] = "", ["map_in_place(f)"] = "", ["sum()"] = "", ["mean()"] = "",
      ["min()"] = "", ["max(1)"] = "", ["convolve { 1 }"] = "", ["nearest(m)"] = "", ["totable()"] = "", ["bytes()"] = "",
      ["save 'x.npy'"] = "", ["free()"] = "" },
    { "X", gone, ["freed[1]"] = "", ["freed[1] = 1"] = "", ["#freed"] = "", ["freed.size"] = "", ["freed.shape"] = "", ["freed.type"] = "",
      ["freed.rank"] = "", ["freed.read_only"] = "", ["freed.contiguous"] = "", ["freed + 1"] = "", ["a - freed"] = "", ["-freed"] = "",
      ["ipairs(freed)"] = "", ["pairs(freed)"] = "", ["a:assign(freed)"] = "", ["a:convolve(freed)"] = "", ["m:nearest(freed)"] = "",
      ["parlua.map(f, freed)"] = "", ["parlua.zip(freed, a)"] = "", ["parlua.save('x.npz', { x = freed })"] = "",
      ["parlua.map(f, { 1 }, { into = freed })"] = "" },
  },
  files = {
    { "parlua.load(X)", "parlua.load: ", [""] = "the name of a file is expected, got nothing", ["3"] = "got 3",
      ["''"] = "cannot read '': No such file",
      ["'x\\0y'"] = "has a NUL in it", ["'/'"] = "cannot read '/': Is a directory", ["'/etc/passwd'"] = "/etc/passwd: it is no .npy",
      ["'/etc/passwd', 3"] = "options are a table, as { type = ... }, got 3" },
    { "parlua.load('/etc/passwd', { X })", "parlua.load: ", ["typ = 'int8'"] = 'there is no option "typ"; did you mean type?',
      ["check = 3"] = "check must be true or false, got 3", ["shape = { 2 }"] = "whose type is to be named",
      ["type = 'float64'"] = 'did you mean "double"?', ["type = 3"] = "a name, as \"double\" or \"int32\", got 3" },
    { "parlua.load('/etc/passwd', { type = 'int8', shape = X })", "parlua.load: ", ["{}"] = "a shape is needed", ["{ 0 }"] = size .. "0",
      ["{ -1 }"] = size .. "-1", ["{ nan }"] = size .. "nan", ["'x'"] = 'shape must be a list of sizes, got "x"', endless = size .. "a table",
      ["{ 2 ^ 53, 2 ^ 53 }"] = "'/etc/passwd' has " },
    { "parlua.load('/etc/passwd', { type = 'int8', offset = X })", "parlua.load: offset must be an integer of at least 0, got ", ["-1"] = "-1",
      ["1.5"] = "1.5", nan = "nan", inf = "inf", ["'x'"] = '"x"', ["false"] = "false" },
    { "parlua.load('/etc/passwd', { type = 'int8', offset = 1e18 })", "behind the offset of 1000000000000000000 there is no int8" },
    { "a:save(X)", "a:save: ", [""] = "the name of a file is expected, got nothing", ["{}"] = "got a table",
      ["'x'"] = "'x': the ending of the name",
      ["'x\\0.npy'"] = "has a NUL in it", ["'/nowhere/x.npy'"] = "cannot write '/nowhere/x.npy': No such file",
      ["'x.npy', 3"] = "options are a table, as { format = ... }, got 3",
      ["'x.npy', { formt = 'npy' }"] = 'there is no option "formt"; did you mean',
      ["'x.npy', { format = 3 }"] = "the option format is npy, npz, pgm, ppm, png, raw or bin, got 3",
      ["'x.npy', { format = false }"] = "got false",
      ["'x.npy', { bits = 8 }"] = "bits is an option of pictures (pgm, ppm, png), and 'x.npy' is to be npy",
      ["'x.png'"] = "a picture is of rows x columns" },
    { "m:save('x.png', { X })", "a:save: ", ["bits = 9"] = "bits must be 8 or 16, got 9", ["low = 'x'"] = 'low must be a finite number, got "x"',
      ["high = {}"] = "high must be a finite number, got a table", ["low = nan"] = "got nan", ["high = inf"] = "got inf",
      ["low = 5, high = 1"] = "low must be less than high, got 5 and 1" },
    { "parlua.save(X)", "parlua.save: ", [""] = "the name of a file is expected, got nothing",
      ["'x.npy'"] = "an array is expected, or a table of arrays",
      ["a, 'x.npy'"] = "the name of a file is expected, got an array (double, 4)", ["'x.npz', {}"] = "got a table",
      ["'x.npz', { x = 3 }"] = 'at "x" it has 3',
      ["'x.npz', { a }"] = "at 1 it has an array (double, 4)", ["'x.npz', { ['x\\0'] = a }"] = "has no NUL and at most 65531 bytes",
      ["'x.npz', { [('x'):rep(65532)] = a }"] = "of 65532 bytes" },
  },
}

for name, cases in pairs(groups) do
  describe("wrong use of arrays: " .. name, function()
    it("is an error at the script's line that names what was given", function()
      for _, case in ipairs(cases) do
        local count = 0
        for value, more in pairs(case) do
          if type(value) == "string" then
            local code = case[1]:gsub("%f[%w]X%f[%W]", function() return value == "nil_" and "nil" or value end)
            refuses(code, case[2])
            refuses(code, more)
            count = count + 1
          end
        end
        if count == 0 then refuses(case[1], case[2]) end
      end
    end)
  end)
end

-- Options of calls name no line: they may come from elsewhere.
describe("wrong options of map about arrays", function()
  it("are told before any task runs", function()
    local function refused(words, options, call)
      local ok, message = pcall(call or parlua.map, function() error "was run" end, { 1, 2, 3 }, options)
      assert.is_false(ok)
      assert.truthy(tostring(message):find(words, 1, true), message)
    end
    refused("wrong value for the option into, from the call: 3; it takes an array (parlua.array)", { into = 3 })
    refused("the option into takes an array with a dimension for the tasks", { into = one })
    refused("has room for 2 tasks, the size of its first dimension (2 x 3), and there are 3", { into = m })
    refused('the options into and as = "array" exclude each other', { into = a, as = "array" })
    refused('map: the options type and fill are for parlua.map with as = "array"', { type = "double" })
    refused('map: the options type and fill are for parlua.map with as = "array"', { into = a, fill = 3 })
    refused('each: the options type and fill are for parlua.map with as = "array"', { type = "double" }, parlua.each)
    refused('wrong value for the option as, from the call: "arrays"; it takes table or array (did you mean array?)', { as = "arrays" })
    refused('from the call: "float64"; it takes the type of an array\'s elements, as "double" or "int32" (did you mean "double"?)',
      { as = "array", type = "float64" })
    for _, fill in ipairs { 300, 0.5, 0 / 0 } do
      refused("it takes a number that is of the type int8", { as = "array", type = "int8", fill = fill })
    end
    refused('wrong value for the option fill, from the call: "x"; it takes a number', { as = "array", fill = "x" })
    refused("unknown option into in the call", { into = a }, parlua.reduce)
  end)

  it("leave no file", function()
    assert.equal("", helper.run("ls x x.npy x.npz x.png 2>/dev/null").stdout)
  end)
end)

describe("a function of map_in_place that fails midway", function()
  it("leaves the elements behind as they were", function()
    local b = parlua.array("int8", { 1, 2, 3 })
    pcall(b.map_in_place, b, function(x) return x < 2 and x + 100 or 1000 end)
    assert.same({ 101, 2, 3 }, b:totable())
  end)
end)
