--- The array itself: a C struct with a metatable, so that `a[i]` in a compiled loop is a check, a load and nothing else
--- (1.1 ns beside 0.5 ns through the pointer, bench/array_access.lua). It holds the memory in which its elements lie
--- (src/sys/shared.h); views of the same elements hold it too.
local ffi = require "ffi"
local C = require "parlua.array.c"
local kinds = require "parlua.array.kinds"
local known = require "parlua.array.known"
local record = require "parlua.wire.record"

-- LuaJIT's own: a script's (busted has one) may keep what it gave for a value, and that goes to workers, where the same
-- type is another.
local typeof = require("parlua.wire.start").libraries.ffi.typeof

local M = {}

M.MOST_RANK = 16
local MOST_CHECKED = 2 ^ 28
local MOST_BYTES = 2 ^ 46 -- more than any machine of today can address

-- `_bound`: the largest i of a[i]; 0 where that is not for this array. Shapes and steps are doubles, which compiled
-- code reads without making objects; steps count elements. The comment makes the types those of this module, also where
-- a script keeps what typeof gave by its text (busted does).
local form = [[struct { /* ]] .. tostring(M) .. [[ */
  %s *_at; struct shared_memory *_shared; double _bound, _count; int32_t _kind, _rank, _state, _reserved;
  double _shape[16], _step[16];
}]]

-- Bits of _state.
local CONTIGUOUS, FREED, READ_ONLY, OF_FILE = 1, 2, 4, 8
M.CONTIGUOUS, M.FREED, M.READ_ONLY, M.OF_FILE = CONTIGUOUS, FREED, READ_ONLY, OF_FILE

local has = function(self, bit_of) return bit.band(self._state, bit_of) ~= 0 end

--- Methods, and what is computed when it is asked for; the other files of this folder add theirs.
local methods, properties = {}, {}
M.methods, M.properties = methods, properties

local list, floor = kinds.list, math.floor

--- The kind of an array's elements.
local function kind_of(self) return list[self._kind] end
M.kind_of = kind_of

-- ---- errors ----

--- "3 x 4", of an array or of a list of sizes.
local function shape_text(shape)
  if type(shape) == "cdata" then shape = M.shape(shape) end
  local parts = {}
  for k, size in ipairs(shape) do parts[k] = ("%.0f"):format(size) end
  return table.concat(parts, " x ")
end
M.shape_text = shape_text

local function show(value)
  if type(value) == "string" then return ("%q"):format(#value > 40 and value:sub(1, 37) .. "..." or value) end
  if M.is(value) then return "an array (" .. kind_of(value).name .. ", " .. shape_text(value) .. ")" end
  return value == nil and "nothing" or type(value) == "number" and ("%.17g"):format(value)
    or type(value) == "table" and "a table" or tostring(value)
end
M.show = show

--- Raises an error that points at the script's line: whatever of parlua's own lies between is passed over.
local function refuse(message, ...)
  if select("#", ...) > 0 then message = message:format(...) end
  local level = 2
  local info = debug.getinfo(level, "S")
  while info and (info.source:sub(1, 8) == "=parlua/" or info.what == "C") do
    level = level + 1
    info = debug.getinfo(level, "S")
  end
  error(message, level)
end
M.refuse = refuse

local freed_message = "the array was freed: nothing can be done with it after a:free()"

--- Raises an error where the file of an array was cut short: what is not there any more reads as zeros.
local function check_whole(self)
  local path = C.shared_cut(self._shared)
  if path ~= nil then refuse("%s", known.cut_message(ffi.string(path))) end
end

local function check_live(self)
  if has(self, FREED) then refuse(freed_message) end
  if has(self, OF_FILE) then check_whole(self) end
end
M.check_live = check_live

local function read_only_message(self)
  if has(self, OF_FILE) then
    return "the array is read-only: it is mapped from a file, which is not to change; a:copy() can be written to"
  end
  return "the array is read-only here: on the mpi engine the workers of a node share one copy of what a task has "
    .. "captured. Return what is new, or let the call put it in place: parlua.map(f, arguments, { into = array })"
end

local function refuse_write(self)
  check_live(self)
  refuse(read_only_message(self))
end

--- Raises an error where the array can't be written to.
function M.check_writable(self)
  check_live(self)
  if has(self, READ_ONLY) then refuse_write(self) end
end

--- Raises the error of a[i].
local function refuse_element(self, i)
  check_live(self)
  if self._rank ~= 1 then
    refuse("a[%s]: the array has %d dimensions (%s); take a:get(...) and a:set(...) for an element, a:slice(i) for a "
      .. "part",
      show(i), self._rank, shape_text(self))
  end
  if i % 1 ~= 0 then refuse("index %s: an index is an integer", show(i)) end
  refuse("index %s is out of range: the array has the elements 1 to %.0f", show(i), self._bound)
end

--- Raises the error of an index in dimension d (from 0).
local function refuse_index(self, d, i)
  check_live(self)
  local dimension = self._rank > 1 and (" of dimension %d"):format(d + 1) or ""
  if type(i) ~= "number" then
    if i == nil then
      refuse("an index%s is missing: the array has %d dimensions (%s)", dimension, self._rank, shape_text(self))
    end
    refuse("index %s%s: an index is an integer, got %s", show(i), dimension, type(i))
  end
  if i % 1 ~= 0 then refuse("index %s%s: an index is an integer", show(i), dimension) end
  refuse("index %s%s is out of range: it goes from 1 to %.0f (the array is %s)", show(i), dimension, self._shape[d],
    shape_text(self))
end

local function refuse_count(self, n)
  check_live(self)
  refuse("%d %s for an array of %d dimensions (%s)", n, n == 1 and "index" or "indices", self._rank, shape_text(self))
end

-- ---- elements ----

--- The way from the first element to that of an index, within dimension d.
local function way(self, d, i)
  if type(i) ~= "number" or i < 1 or i > self._shape[d] or i % 1 ~= 0 then refuse_index(self, d, i) end
  return (i - 1) * self._step[d]
end
M.way = way

local function way_of_many(self, n, ...)
  if n ~= self._rank then refuse_count(self, n) end
  local at = 0
  for d = 1, n do at = at + way(self, d - 1, (select(d, ...))) end
  return at
end

--- The element at these indices, one for each dimension, from 1.
function methods.get(self, ...)
  local n = select("#", ...)
  local i, j, k = ...
  if n == self._rank then
    if n == 1 then return self._at[way(self, 0, i)] end
    if n == 2 then return self._at[way(self, 0, i) + way(self, 1, j)] end
    if n == 3 then return self._at[way(self, 0, i) + way(self, 1, j) + way(self, 2, k)] end
  end
  return self._at[way_of_many(self, n, ...)]
end

local function last_of(n, ...) return (select(n, ...)) end

--- Sets the element at these indices: `a:set(i, j, value)`.
function methods.set(self, ...)
  if has(self, READ_ONLY) then refuse_write(self) end
  local n = select("#", ...) - 1
  local i, j, k, l = ...
  if n == self._rank then
    if n == 1 then
      self._at[way(self, 0, i)] = j
      return
    elseif n == 2 then
      self._at[way(self, 0, i) + way(self, 1, j)] = k
      return
    elseif n == 3 then
      self._at[way(self, 0, i) + way(self, 1, j) + way(self, 2, k)] = l
      return
    end
  end
  if n < 0 then refuse("a:set: there are no indices and no value") end
  self._at[way_of_many(self, n, ...)] = last_of(n + 1, ...)
end

-- ---- types with their metatables ----

--- Metamethods that the other files add.
M.operators = {}

--- Functions that all types share.
local function field(self, key)
  local method = methods[key]
  if method ~= nil then return method end
  local property = properties[key]
  if property ~= nil then return property(self) end
  refuse("an array has no field %s", show(key))
end

local function index(self, key)
  if type(key) == "number" then
    if key >= 1 and key <= self._bound and key % 1 == 0 then return self._at[(key - 1) * self._step[0]] end
    return refuse_element(self, key)
  end
  return field(self, key)
end

--- What is said where a file is cut short from which an array of this state is mapped; nil: none is.
---@param is_sure? boolean what is garbage was collected
---@return string?
function known.cut(is_sure)
  for array in pairs(known.files) do
    local path = not has(array, FREED) and array._shared ~= nil and C.shared_cut(array._shared) or nil
    if path ~= nil and is_sure then return known.cut_message(ffi.string(path)) end
    if path ~= nil then
      collectgarbage()
      collectgarbage()
      return known.cut(true)
    end
  end
end

--- Makes what is gone from files read as zeros, in this thread.
known.prepare = C.shared_prepare

--- The last use of an array of a file may have shown that the file was cut short.
local function finish(self, ...)
  if has(self, OF_FILE) then check_whole(self) end
  return ...
end

local guarded = {}

--- A method that looks once more when it has read the elements.
local function guard(method)
  local made = guarded[method]
  if not made then
    made = function(self, ...) return finish(self, method(self, ...)) end
    guarded[method] = made
  end
  return made
end

--- Of arrays that are read only, some of which are files.
local function index_read_only(self, key)
  if type(key) == "number" then
    local value = index(self, key)
    if C.mapping_cuts ~= 0 and has(self, OF_FILE) then check_whole(self) end
    return value
  end
  local value = field(self, key)
  return type(value) == "function" and has(self, OF_FILE) and M.is(self) and key ~= "free" and guard(value) or value
end

local function set_index(self, key, value)
  if type(key) ~= "number" then refuse("an array has no field %s that can be set", show(key)) end
  if key >= 1 and key <= self._bound and key % 1 == 0 then
    self._at[(key - 1) * self._step[0]] = value
    return
  end
  refuse_element(self, key)
end

local function length(self)
  return self._shape[0]
end

local function let_go(self)
  if self._shared ~= nil then
    C.shared_drop(self._shared)
    self._shared = nil
  end
end

local types, read_only_types = {}, {}
local is_array = known.numbers

--- The ctype of arrays of a kind.
local function type_of(kind, is_read_only)
  local made = is_read_only and read_only_types or types
  local ctype = made[kind.number]
  if ctype then return ctype end
  ctype = typeof(form:format((is_read_only and "const " or "") .. kind.text))
  local operators = M.operators
  record.metatype(ctype, { -- it is no type of the script's, for workers to be told of
    __index = is_read_only and index_read_only or index, __len = length, __gc = let_go,
    __newindex = is_read_only and refuse_write or set_index,
    __tostring = operators.tostring, __add = operators.add, __sub = operators.sub, __mul = operators.mul,
    __div = operators.div, __unm = operators.unm, __eq = operators.eq,
  })
  local number = tonumber(ctype)
  is_array[number] = true
  made[kind.number] = ctype
  return ctype
end

--- Is a value an array?
function M.is(value) return type(value) == "cdata" and is_array[tonumber(typeof(value))] == true end

local function check_array(value, what)
  if not M.is(value) then
    refuse("%s: called on %s, not on an array (a:%s(...) needs a colon)", what, show(value), what)
  end
end

--- Raises an error where the value on which a method is called is no array: `a.sum()`.
function M.check(value, what)
  check_array(value, what)
  check_live(value)
  return value
end

-- ---- memory ----

-- Lua's collector sees a small object where an array takes a gigabyte: it is told by what was allocated since it last
-- looked.
local LEAST = 64 * 2 ^ 20
local allocated, limit = 0, LEAST

--- What is garbage is let go of.
function M.collect()
  collectgarbage()
  allocated = 0
  limit = math.max(LEAST, C.shared_total() / 4, collectgarbage "count" * 2048)
end

--- So many bytes more are held.
local function note(bytes)
  allocated = allocated + bytes
  if allocated > limit then M.collect() end
end
M.note = note

--- A worker has nothing to do: what it has finished with is not kept from others.
function known.rest()
  if allocated > 2 ^ 20 then M.collect() end
end

local place = ffi.new("char *[1]")

--- Memory; where it begins is in place[0].
local function allocate(bytes, is_raw, describe, ...)
  if bytes <= MOST_BYTES then
    note(bytes)
    local shared = C.shared_new(bytes, not is_raw, place)
    if shared == nil then
      M.collect()
      C.shared_trim()
      shared = C.shared_new(bytes, not is_raw, place)
    end
    if shared ~= nil then return shared end
  end
  refuse("not enough memory for an array of %s: %.0f bytes", describe(...), bytes)
end

--- Fills in the sizes of a new array's dimensions, with rows that lie side by side: the last index varies fastest.
local function lay_out(self, shape)
  local step = 1
  self._rank = #shape
  for d = #shape, 1, -1 do
    self._shape[d - 1], self._step[d - 1] = shape[d], step
    step = step * shape[d]
  end
  self._count, self._bound = step, #shape == 1 and shape[1] or 0
  return step
end
M.lay_out = lay_out

local function describe(kind, shape) return ("%s, %s"):format(kind.name, shape_text(shape)) end

--- A new array of zeros; the shape is a list of sizes that were checked.
---@param kind parlua.ArrayKind
---@param shape number[]
---@param is_raw? boolean all elements are set at once: there need not be zeros
function M.new(kind, shape, is_raw)
  local count = 1
  for d = 1, #shape do count = count * shape[d] end
  local shared = allocate(count * kind.size, is_raw or false, describe, kind, shape)
  local self = type_of(kind)()
  self._shared, self._at, self._kind, self._state = shared, ffi.cast(kind.pointer, place[0]), kind.number, CONTIGUOUS
  lay_out(self, shape)
  return self
end

--- An array over memory that is there, whose hold it takes over.
---@param offset number of the first element, in bytes
---@param state? integer
function M.over(kind, shared, offset, shape, state)
  if shared.read_only == 2 then state = bit.bor(state or 0, OF_FILE) end -- SHARED_FILE
  local is_read_only = shared.read_only ~= 0 or bit.band(state or 0, READ_ONLY) ~= 0
  local self = type_of(kind, is_read_only)()
  self._shared, self._kind = shared, kind.number
  self._at = ffi.cast(is_read_only and kind.constant or kind.pointer, shared.bytes + offset)
  self._state = bit.bor(CONTIGUOUS, is_read_only and READ_ONLY or 0, state or 0)
  if is_read_only then known.why_read_only = read_only_message(self) end
  if has(self, OF_FILE) then known.note_file(self) end
  lay_out(self, shape)
  return self
end

--- What NaNs are in elements that come from outside. Lua would take some NaNs for values of another type: they become
--- plain ones.
---@return boolean is_double, number numbers how many numbers there are; 0: they have no NaNs
local function numbers_in(kind, count)
  if kind.class == "integer" then return false, 0 end
  local is_complex = kind.class == "complex"
  return kind.size == (is_complex and 16 or 8), is_complex and 2 * count or count
end

--- Are there such NaNs?
function M.has_odd_nans(kind, at, count)
  local is_double, n = numbers_in(kind, count)
  return n > 0 and C.array_has_odd_nans(is_double, at, n)
end

--- Puts plain ones in their place.
function M.mend(self)
  local is_double, n = numbers_in(kind_of(self), self._count)
  if n > 0 then C.array_mend_nans(is_double, self._at, n) end
  return self
end

--- An array over a file's memory that can be read without harm: a copy with plain NaNs, where it has others. Of large
--- files that is looked for only where it is asked for, as they would have to be read.
---@param all? boolean of large ones, too
function M.checked(self, all)
  local kind = kind_of(self)
  local is_large = self._count * kind.size > MOST_CHECKED
  if is_large and not all or not M.has_odd_nans(kind, self._at, self._count) then return self end
  return M.mend(self:copy())
end

--- Does each step follow from the shape, as in a new array?
local function is_contiguous(self)
  local step = 1
  for d = self._rank - 1, 0, -1 do
    if self._shape[d] ~= 1 and self._step[d] ~= step then return false end
    step = step * self._shape[d]
  end
  return true
end

--- Settles what follows from shape and steps.
function M.settle(self)
  local count = 1
  for d = 0, self._rank - 1 do count = count * self._shape[d] end
  self._count, self._bound = count, self._rank == 1 and self._shape[0] or 0
  self._state = bit.bor(bit.band(self._state, bit.bnot(CONTIGUOUS)), is_contiguous(self) and CONTIGUOUS or 0)
  return self
end

--- Another array of the same memory, whose first element is `at` elements behind; its dimensions are still to be set.
function M.view(self, at)
  check_live(self)
  local view = type_of(kind_of(self), has(self, READ_ONLY))()
  C.shared_hold(self._shared)
  view._shared, view._at, view._kind, view._state = self._shared, self._at + at, self._kind, self._state
  if has(self, OF_FILE) then known.note_file(view) end
  return view
end

-- ---- what scripts ask for ----

--- The sizes of its dimensions, as a list.
function M.shape(self)
  local shape = {}
  for d = 1, self._rank do shape[d] = self._shape[d - 1] end
  return shape
end

function properties.shape(self)
  if has(self, FREED) then refuse(freed_message) end
  return M.shape(self)
end

function properties.type(self) return kind_of(self).name end

function properties.rank(self) return self._rank end

function properties.size(self) return self._count end

function properties.read_only(self) return has(self, READ_ONLY) end

function properties.freed(self) return has(self, FREED) end

function properties.contiguous(self) return has(self, CONTIGUOUS) end

--- The typed pointer to the first element (pointer[0]); of a read-only array to constants. It is good as long as the
--- array is held.
function methods.data(self)
  check_live(self)
  return self._at
end

local LARGE = 2 ^ 25 -- bytes: to have such memory back is worth starting threads anew

--- Lets go of an array's memory. Threads that wait for the next call may hold what the last one has captured: where it
--- is large they are ended.
local function let_go_now(self)
  local shared = self._shared
  local id, is_large = shared.id, shared.size >= LARGE
  let_go(self)
  if not is_large or known.role ~= "script" or not known.end_idle then return end
  local held = C.shared_find(id)
  if held == nil then return end
  C.shared_drop(held)
  known.end_idle()
end

--- Lets go of the memory now, not when the collector finds the array: for the next array of its size, or for the
--- system. Views of it keep the memory; this array is of no use any more.
function methods.free(self)
  check_array(self, "free")
  if has(self, FREED) then refuse(freed_message) end
  let_go_now(self)
  self._at, self._bound, self._count, self._state = nil, 0, 0, bit.bor(self._state, FREED)
  for d = 0, self._rank - 1 do self._shape[d] = 0 end
end

M.has, M.floor = has, floor

return M
