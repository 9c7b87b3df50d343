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
    if what == NAME then
      refuse("%s: the type of the elements stands first, as in parlua.array(\"double\", 1000), got %s", what,
        show(name))
    end
    refuse("%s: the type of the elements is a name, as \"double\" or \"int32\", got %s", what, show(name))
  end
  local meant = kinds.of_other(name)
  if meant then refuse("%s: there is no type %s; did you mean %s?", what, show(name), show(meant)) end
  refuse("%s: there is no type %s; it is %s", what, show(name), kinds.names)
end
M.check_kind = check_kind

-- ---- from a table ----

--- The shape of nested tables, by their first items.
local function shape_of_table(what, t)
  local shape = {}
  while type(t) == "table" do
    local n = #t
    if n == 0 then refuse("%s: a table of the values is empty", what) end
    shape[#shape + 1] = n
    if #shape > core.MOST_RANK then refuse("%s: tables in tables, more than %d deep", what, core.MOST_RANK) end
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

M.check_room = check_room

--- Raises an error where a list of n values has one behind a gap.
local function check_gaps(what, t, n, path)
  local key = next(t, n)
  while key ~= nil do
    if type(key) == "number" and key > n and key % 1 == 0 then
      refuse("%s: there is no value at %s, and one at %s", what, place_text(path) .. ("[%d]"):format(n + 1),
        place_text(path) .. ("[%.0f]"):format(key))
    end
    key = next(t, key)
  end
end

local function fill_from(what, self, kind, t, shape, d, at, path)
  local n, step = shape[d], self._step[d - 1]
  if type(t) ~= "table" or #t ~= n then
    refuse("%s: the tables are not of one shape: %s at %s, where there are %d values elsewhere", what,
      type(t) == "table" and #t .. " values" or show(t), place_text(path), n)
  end
  check_gaps(what, t, n, path)
  for i = 1, n do
    path[d] = i
    if d < #shape then
      fill_from(what, self, kind, t[i], shape, d + 1, at + (i - 1) * step, path)
    else
      local value = t[i]
      if not fits(kind, value) then
        refuse("%s: the value at %s is no number of the type %s: %s", what, place_text(path), kind.name, show(value))
      end
      check_room(what, kind, value)
      self._at[at + (i - 1) * step] = value
    end
    path[d + 1] = nil
  end
  path[d] = nil
end

--- An array of the numbers in a table; `what` is who asks for it, for errors.
local function from_table(what, kind, t)
  local shape = shape_of_table(what, t)
  local self = core.new(kind, shape)
  fill_from(what, self, kind, t, shape, 1, 0, {})
  return self
end
M.from_table = from_table

-- ---- from bytes ----

local function from_bytes(kind, bytes, length, what)
  if length == 0 or length % kind.size ~= 0 then
    refuse("parlua.array: %s of %.0f bytes is no multiple of the %d bytes of a %s", what, length, kind.size, kind.name)
  end
  local self = core.new(kind, { length / kind.size }, true)
  ffi.copy(self._at, bytes, length)
  return nans.mend(self)
end

local function is_pointer(value)
  local name = tostring(ffi.typeof(value))
  return name:find("%*>$") ~= nil or name:find("%* const>$") ~= nil
end

--- Raises an error where C memory has other elements than the array is to have: their bytes would be other numbers.
--- Bytes, structs and void may be anything.
local function check_elements(kind, name)
  local elements = name:match "^ctype<(.-) ?[%*%[]" or ""
  local plain = elements:gsub("^const ", "")
  local is_pointers = name:find "%*.*[%*%[]" or name:find "%(%*"
  local other = not is_pointers and kinds.of_ctype(plain)
  if not is_pointers and (not other or other == kind or other.size == 1) then return end
  refuse("parlua.array: the memory is of %s, the elements are to be %s%s", is_pointers and "pointers" or plain,
    kind.name, not other and ""
      or ("; parlua.array(\"%s\", ...):copy(\"%s\") converts numbers"):format(other.name, kind.name))
end

--- From C memory: a pointer to elements with their number, or a C array, which has a length. Returns the array, and
--- whether the number was used up (1, or 0).
local function from_memory(kind, memory, count)
  local name = tostring(ffi.typeof(memory))
  if not (is_pointer(memory) or name:find "%]>$" or name:find "^ctype<struct" or name:find "^ctype<union") then
    refuse("parlua.array: a shape, or what the elements are made of, is expected, got %s (%s)", show(memory), name)
  end
  check_elements(kind, name)
  if is_pointer(memory) then
    if type(count) ~= "number" or count < 1 or count % 1 ~= 0 then
      refuse("parlua.array: a pointer needs the number of its elements: parlua.array(\"%s\", pointer, 1000), got %s",
        kind.name, show(count))
    end
    if memory == nil then refuse("parlua.array: the pointer is NULL") end
    local self = core.new(kind, { count }, true)
    ffi.copy(self._at, memory, count * kind.size)
    return nans.mend(self), 1
  end
  return from_bytes(kind, memory, ffi.sizeof(memory), "C data"), 0
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

--- Raises an error where an array has an element that a kind has no room for.
local function check_room_of_all(what, kind, from)
  local other = core.kind_of(from)
  if kind.class ~= "integer" or kinds.common(kind, other) == kind then return end
  if other.class == "complex" then from = from:copy "double" end
  local least, largest = M.extremes(from)
  check_room(what, kind, least)
  check_room(what, kind, largest)
end

--- Copies the elements of an array of the same shape, which may be some of those that they are copied to. Integers take
--- only what they have room for.
---@param what string? who copies, for errors
function M.copy_elements(to, from, what)
  check_room_of_all(what or "a:assign", core.kind_of(to), from)
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
  M.copy_elements(made, self, "a:copy")
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
  return M.fill("a:fill", self, value)
end

--- The same for another caller, whom errors name.
function M.fill(what, self, value)
  local kind = core.kind_of(self)
  check_room(what, kind, value)
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
  local kind = core.kind_of(self)
  if type(from) == "table" then from = from_table("a:assign", kind, from) end
  if not core.is(from) then
    if not fits(kind, from) then
      refuse("a:assign: an array, a table or a number of the type %s is expected, got %s", kind.name, show(from))
    end
    return M.fill("a:assign", self, from)
  end
  core.check_live(from)
  if not loops.same_shape(self, from) then
    refuse("a:assign: the shapes differ: %s into %s", core.shape_text(from), core.shape_text(self))
  end
  M.copy_elements(self, from, "a:assign")
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
  local from, count = ...
  local n, used = select("#", ...), 1
  local made
  if core.is(from) then
    core.check_live(from)
    made = core.new(kind, core.shape(from), true)
    M.copy_elements(made, from, NAME)
  elseif type(from) == "table" then
    made = from_table(NAME, kind, from)
  elseif type(from) == "string" then
    made = from_bytes(kind, from, #from, "a string")
  elseif type(from) == "cdata" then
    local more
    made, more = from_memory(kind, from, count)
    used = used + more
  else
    return core.new(kind, views.check_shape(NAME, nil, { ... }, n))
  end
  if n == used then return made end
  return views.reshape(NAME, made, { select(used + 1, ...) }, n - used)
end

return M
