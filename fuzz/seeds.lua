-- What fuzzing begins with: messages of every kind that the codec writes, each a file in the directory given. Run by the target itself
-- (fuzz/codec.c) in its own state.
--
-- Returns the codes of all functions in them, as keys: the target takes no others (see there).

local codec = require "parlua.codec"
local ffi = require "ffi"

local directory = ...

local codes, count = {}, 0
local dump = string.dump
string.dump = function(...) -- luacheck: ignore 122
  local code = dump(...)
  codes[code] = true
  return code
end

--- `functions`: whether the receiver accepts functions and names: the first byte of the target's input.
local function seed(functions, ...)
  local message = assert(codec.encode(...))
  count = count + 1
  if not directory then return end
  local file = assert(io.open(("%s/seed-%02d"):format(directory, count), "wb"))
  file:write(functions and "\1" or "\0", message)
  file:close()
end

local kept -- the book of what both sides have

--- A message whose objects become a book, and which may refer to another.
local function seed_book(...)
  local message = assert(codec.encode_book(codec.book(), "value", ...))
  count = count + 1
  if not directory then return end
  local file = assert(io.open(("%s/seed-%02d"):format(directory, count), "wb"))
  file:write("\3", message)
  file:close()
end

--- A table in a table in a table ...
local function nested(levels)
  local value = { "innermost" }
  for _ = 1, levels do value = { value } end
  return value
end

local function data()
  local shared = { "shared", ("long"):rep(50) }
  local cycle = { shared, shared, { [0] = 0, 1, 2, 3.5, -1e300, nil, 7 }, name = "x", ["key 2"] = { true, false } }
  cycle.self = setmetatable(cycle, { __index = shared, cycle = cycle })
  local numbers, mixed, fields = {}, {}, {}
  for i = 1, 300 do
    numbers[i] = i / 8
    mixed[i] = i % 3 == 0 and { i } or i % 3 == 1 and "text " .. i or i
    fields["field " .. i] = i
  end
  local class = { __index = { name = "class" } }
  seed(false)
  seed(false, nil, true, false, 0, 127, 128, -1, 32767, -32769, 2 ^ 31, 0.1, -1e308, 1 / 0, 0 / 0)
  seed(false, "", "short", ("s"):rep(63), ("s"):rep(64), ("s"):rep(3000), "a\0b\255")
  seed(false, {}, { 1, 2, 3 }, { x = 1, y = { z = "deep" } }, { [1.5] = 1, [-1] = 2, [0] = 3, [true] = 4, [2 ^ 40] = 5 })
  seed(false, numbers, mixed)
  seed(false, fields)
  seed(false, cycle, shared, cycle)
  seed(false, { setmetatable({ 1 }, class), setmetatable({ 2 }, class) }, class)
  seed(false, -1LL, 5ULL, ffi.new("complex", 1, 2), { [0] = 1LL, 2ULL })
  seed(false, nested(100))
  seed(false, { kind = "error", message = "raised", traceback = "stack traceback:\n\tjob.lua:1", value = { 1 }, seconds = 0.25 })
end

local function functions()
  local shared, calls = { "shared" }, 0
  local function up() calls = calls + 1 return calls, shared end
  local function read() return calls end
  local function factorial(n) return n < 2 and 1 or n * factorial(n - 1) end
  local even, odd
  function even(n) return n == 0 or odd(n - 1) end
  function odd(n) return n ~= 0 and even(n - 1) end
  local with_environment = loadstring("return function() return here, print end")()
  setfenv(with_environment, setmetatable({ here = shared }, { __index = _G }))
  local named = loadstring("helper = function(x) return x + 1 end  return function(x) return helper(x), math.sqrt(x) end")()
  local proxy, with_meta = newproxy(), newproxy(true)
  getmetatable(with_meta).__index = { proxy, with_meta }
  seed(true, proxy, { proxy, [proxy] = with_meta }, with_meta)
  seed(true, up, read)
  seed(true, factorial, even)
  seed(true, with_environment, shared)
  seed(true, named)
  seed(true, function(...) return function() return shared end, ... end)
  seed(true, { f = up, [read] = "as a key" }, setmetatable({}, { __call = read, __index = up }))
  seed(true, print, math, math.sin, io.stdout, _G, coroutine, require("parlua.codec"), codec.encode)
  seed(true, { f = factorial, keep = "first", source = { kind = "range", n = 10 }, key = 7ULL, path = package.path })
  _G.helper = nil
end

--- What only messages of one program have: C data, modules, objects of books.
local function special()
  ffi.cdef "typedef struct { double x, y; } fuzz_point_t; struct fuzz_node { int v; struct fuzz_node *next; };"
  local buffer = require("string.buffer").new():put("content")
  local class, hits = { __index = { name = "class" } }, 0
  local function method() hits = hits + 1 return class end
  class.__call = method
  package.loaded["fuzz.module"] = { state = { 1, 2 }, method = method, file = io.stdout }
  package.loaded["fuzz.required"] = { maker = string.gmatch("a", "a"), state = { 1, { 2 } }, method = function() return hits end }
  local point = ffi.new("fuzz_point_t", 1, 2)
  seed(true, ffi.typeof "fuzz_point_t", point, { point, point }, ffi.new("int[3]", 1), ffi.new("double[?]", 2), ffi.new("struct fuzz_node"))
  seed(true, ffi.typeof "struct { int a; fuzz_point_t b[2]; }", ffi.new("struct { int a; }", 1), ffi.C, buffer, { buffer, buffer })
  seed(true, nested(1000), method)
  seed_book(package.loaded["fuzz.module"], package.loaded["fuzz.required"], method, class)
  kept = codec.book()
  local shared = { "shared", { 1 } }
  assert(codec.encode_book(kept, "value", class, method, shared, point))
  codec.context({ kept }, false)
  seed_book(setmetatable({ 1 }, class), shared, { shared, method, { shared } })
  seed(true, setmetatable({ 1 }, class), shared, method)
end

data()
functions()
special()
string.dump = dump -- luacheck: ignore 122
return codes
