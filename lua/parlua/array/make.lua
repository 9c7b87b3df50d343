--- parlua.array: new arrays, of zeros or of what is there: tables, strings, C memory, other arrays.
local ffi = require "ffi"
local core = require "parlua.array.core"
local facts = require "parlua.array.facts"
local kinds = require "parlua.array.kinds"
local loops = require "parlua.array.loops"
local nans = require "parlua.array.nans"
local views = require "parlua.array.views"

local M = {}

local NAME = "parlua.array" -- for errors

local refuse, show, methods = core.refuse, core.show, core.methods

--- The kind of a name, or an error.
local function check_kind(what, name)
  local kind = kinds.of(name)
  if kind then return kind end
  if type(name) ~= "string" then
    refuse("%s: the type of the elements stands first, as in parlua.array(\"double\", 1000), got %s", what, show(name))
  end
  local meant = kinds.of_other(name)
  if meant then refuse("%s: there is no type %s; did you mean %s?", what, show(name), show(meant)) end
  refuse("%s: there is no type %s; it is %s", what, show(name), kinds.names)
end
M.check_kind = check_kind

-- ---- from a table ----

--- The shape of nested tables, by their first items.
local function shape_of_table(t)
  local shape = {}
  while type(t) == "table" do
    local n = #t
    if n == 0 then refuse("parlua.array: a table of the values is empty") end
    shape[#shape + 1] = n
    if #shape > core.MOST_RANK then refuse("parlua.array: tables in tables, more than %d deep", core.MOST_RANK) end
    t = t[1]
  end
  return shape
end

local function place_text(path)
  local parts = {}
  for k, index in ipairs(path) do parts[k] = ("[%d]"):format(index) end
  return table.concat(parts)
end

local fits = facts.fits
M.fits = fits

--- Raises an error where a number is beyond what the kind holds. Fractions of integers are cut off.
local function check_room(what, kind, value)
  if kinds.has_room(kind, value) then return end
  refuse("%s: %s is beyond what a %s holds (%s to %s)", what, show(value), kind.name, kinds.limits(kind))
end

local function fill_from(self, kind, t, shape, d, at, path)
  local n, step = shape[d], self._step[d - 1]
  if type(t) ~= "table" or #t ~= n then
    refuse("parlua.array: the tables are not of one shape: %s at %s, where there are %d values elsewhere",
      type(t) == "table" and #t .. " values" or show(t), place_text(path), n)
  end
  for i = 1, n do
    path[d] = i
    if d < #shape then
      fill_from(self, kind, t[i], shape, d + 1, at + (i - 1) * step, path)
    else
      local value = t[i]
      if not fits(kind, value) then
        refuse("parlua.array: the value at %s is no number of the type %s: %s", place_text(path), kind.name,
          show(value))
      end
      check_room(NAME, kind, value)
      self._at[at + (i - 1) * step] = value
    end
    path[d + 1] = nil
  end
  path[d] = nil
end

local function from_table(kind, t, ...)
  local shape = shape_of_table(t)
  local self = core.new(kind, shape)
  fill_from(self, kind, t, shape, 1, 0, {})
  if select("#", ...) > 0 then return self:reshape(...) end
  return self
end

-- ---- from bytes ----

local function from_bytes(kind, bytes, length, what, ...)
  if length == 0 or length % kind.size ~= 0 then
    refuse("parlua.array: %s of %.0f bytes is no multiple of the %d bytes of a %s", what, length, kind.size, kind.name)
  end
  local shape = { length / kind.size }
  if select("#", ...) > 0 then shape = views.check_shape(NAME, shape[1], ...) end
  local self = core.new(kind, shape, true)
  ffi.copy(self._at, bytes, length)
  return nans.mend(self)
end

local function is_pointer(value)
  local name = tostring(ffi.typeof(value))
  return name:find("%*>$") ~= nil or name:find("%* const>$") ~= nil
end

--- From C memory: a pointer to elements with their number (and perhaps a shape), or a C array, which has a length.
local function from_memory(kind, memory, ...)
  local name = tostring(ffi.typeof(memory))
  if not (is_pointer(memory) or name:find "%]>$" or name:find "^ctype<struct" or name:find "^ctype<union") then
    refuse("parlua.array: a shape, or what the elements are made of, is expected, got %s (%s)", show(memory), name)
  end
  if is_pointer(memory) then
    local count = ...
    if type(count) ~= "number" or count < 1 or count % 1 ~= 0 then
      refuse("parlua.array: a pointer needs the number of its elements: parlua.array(\"%s\", pointer, 1000), got %s",
        kind.name, show(count))
    end
    if memory == nil then refuse("parlua.array: the pointer is NULL") end
    local self = core.new(kind, { count }, true)
    ffi.copy(self._at, memory, count * kind.size)
    nans.mend(self)
    if select("#", ...) > 1 then return self:reshape(select(2, ...)) end
    return self
  end
  local size = ffi.sizeof(memory)
  return from_bytes(kind, memory, size, "C data", ...)
end

-- ---- values into arrays ----

local function convert(to, to_step, from, from_step, count)
  for k = 0, count - 1 do to[k * to_step] = from[k * from_step] end
end

--- Of complex numbers into others: the real parts.
local function copy_real(to, to_step, from, from_step, count)
  for k = 0, count - 1 do to[k * to_step] = from[k * from_step].re end
end

--- The first byte of an array's elements, and the one behind the last.
local function extent(array)
  local low, high = 0, 0
  for d = 0, array._rank - 1 do
    local way = (array._shape[d] - 1) * array._step[d]
    if way < 0 then low = low + way else high = high + way end
  end
  local size, at = core.kind_of(array).size, tonumber(ffi.cast("intptr_t", array._at))
  return at + low * size, at + (high + 1) * size
end

--- Might writing the one change what is still to be read of the other?
function M.overlap(to, from)
  if to._shared ~= from._shared then return false end
  local low, high = extent(to)
  local first, behind = extent(from)
  return first < high and low < behind
end

--- Copies the elements of an array of the same shape, which may be some of those that they are copied to.
function M.copy_elements(to, from)
  if M.overlap(to, from) then from = from:copy() end
  local kind, other = core.kind_of(to), core.kind_of(from)
  if kind == other and core.has(to, core.CONTIGUOUS) and core.has(from, core.CONTIGUOUS) then
    ffi.copy(to._at, from._at, to._count * kind.size)
    return
  end
  loops.each_pair(to, from, other.class == "complex" and kind.class ~= "complex" and copy_real or convert)
end

--- An array of its own with the same elements, one behind the other; of another type, if one is given.
---@param name? string
function methods.copy(self, name)
  core.check(self, "copy")
  local made = core.new(name == nil and core.kind_of(self) or check_kind("a:copy", name), core.shape(self), true)
  M.copy_elements(made, self)
  return made
end

local function fill_run(value)
  return function(to, count, step)
    for k = 0, count - 1 do to[k * step] = value end
  end
end

--- Sets all elements to a value; returns the array.
function methods.fill(self, value)
  core.check(self, "fill")
  core.check_writable(self)
  local kind = core.kind_of(self)
  if not fits(kind, value) then
    refuse("a:fill: a number of the type %s is expected, got %s", kind.name, show(value))
  end
  check_room("a:fill", kind, value)
  if value == 0 and core.has(self, core.CONTIGUOUS) then
    ffi.fill(self._at, self._count * kind.size)
  else
    loops.each_row(self, fill_run(value))
  end
  return self
end

--- Sets all elements to those of another array of the same shape, or of a table, or to a number; returns the array.
function methods.assign(self, from)
  core.check(self, "assign")
  core.check_writable(self)
  if type(from) == "table" then from = from_table(core.kind_of(self), from) end
  if not core.is(from) then return methods.fill(self, from) end
  core.check_live(from)
  if not loops.same_shape(self, from) then
    refuse("a:assign: the shapes differ: %s into %s", core.shape_text(from), core.shape_text(self))
  end
  M.copy_elements(self, from)
  return self
end

--- The elements as tables in tables.
---@return table
function methods.totable(self)
  core.check(self, "totable")
  if self._rank == 0 then return self._at[0] end
  local made = {}
  for i = 1, self._shape[0] do
    if self._rank == 1 then made[i] = self[i] else made[i] = self:slice(i):totable() end
  end
  return made
end

--- The elements' bytes, in order, as a string.
---@return string
function methods.bytes(self)
  core.check(self, "bytes")
  if not core.has(self, core.CONTIGUOUS) then return self:copy():bytes() end
  return ffi.string(self._at, self._count * core.kind_of(self).size)
end

--- Makes an array: of zeros, `parlua.array("float", 480, 640)`; or of what is given instead of a shape, which may
--- follow then: numbers in a table (or in tables of tables), the bytes of a string, a pointer with the number of
--- elements, a C array, another array.
---@param name string type of the elements
function M.array(name, ...)
  local kind = check_kind(NAME, name)
  local from = ...
  if core.is(from) then
    core.check_live(from)
    local made = core.new(kind, core.shape(from), true)
    M.copy_elements(made, from)
    if select("#", ...) > 1 then return made:reshape(select(2, ...)) end
    return made
  elseif type(from) == "table" then
    return from_table(kind, from, select(2, ...))
  elseif type(from) == "string" then
    return from_bytes(kind, from, #from, "a string", select(2, ...))
  elseif type(from) == "cdata" then
    return from_memory(kind, from, select(2, ...))
  end
  return core.new(kind, views.check_shape(NAME, nil, ...))
end

return M
