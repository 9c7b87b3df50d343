--- The array itself: a C struct with a metatable, so that `a[i]` in a compiled loop is a check, a load and nothing else
--- (1.5 ns beside 0.8 ns through the pointer, bench/elements.lua). It holds the memory in which its elements lie
--- (src/sys/shared.h); views of the same elements hold it too.
local garbage = require "parlua.garbage"
local ffi = require "ffi"
local C = require "parlua.array.c"
local facts = require "parlua.array.facts"
local known = require "parlua.array.known"
local record = require "parlua.wire.record"
local refusals = require "parlua.array.refusals"
local room = require "parlua.array.room"

-- LuaJIT's own, as in facts.lua.
local typeof = require("parlua.wire.start").libraries.ffi.typeof

local M = {}

M.MOST_RANK = 16

local has, kind_of, shape_text = facts.has, facts.kind_of, facts.shape_text
local CONTIGUOUS, FREED, READ_ONLY, OF_FILE = facts.CONTIGUOUS, facts.FREED, facts.READ_ONLY, facts.OF_FILE
M.CONTIGUOUS, M.FREED, M.READ_ONLY, M.OF_FILE = CONTIGUOUS, FREED, READ_ONLY, OF_FILE
M.has, M.is, M.kind_of, M.shape, M.shape_text = has, facts.is, kind_of, facts.shape, shape_text

local refuse, show, check_live = refusals.refuse, refusals.show, refusals.check_live
local check_whole, refuse_write, refuse_element = refusals.check_whole, refusals.refuse_write, refusals.refuse_element
M.refuse, M.show, M.check_live, M.check_writable = refuse, show, check_live, refusals.check_writable
M.dimensions, M.indices = refusals.dimensions, refusals.indices

-- `_bound`: the largest i of a[i]; 0 where that is not for this array. Shapes and steps are doubles, which compiled
-- code reads without making objects; steps count elements. The comment makes the types those of this module, also where
-- a script keeps what typeof gave by its text (busted does).
local form = [[struct { /* ]] .. tostring(M) .. [[ */
  %s *_at; struct shared_memory *_shared; double _bound, _count; int32_t _kind, _rank, _state, _reserved;
  double _shape[16], _step[16];
}]]

--- Methods, and what is computed when it is asked for; the other files of this folder add theirs.
local methods, properties = {}, {}
M.methods, M.properties = methods, properties

-- ---- elements ----

--- The way from the first element to that of an index, within dimension d.
local function way(self, d, i)
  if type(i) ~= "number" or i < 1 or i > self._shape[d] or i % 1 ~= 0 then refusals.refuse_index(self, d, i) end
  return (i - 1) * self._step[d]
end
M.way = way

local function way_of_many(self, n, ...)
  if n ~= self._rank then refusals.refuse_count(self, n) end
  local at = 0
  for d = 1, n do at = at + way(self, d - 1, (select(d, ...))) end
  return at
end

local function check_array(value, what)
  if not facts.is(value) then
    refuse("%s: called on %s, not on an array (a:%s(...) needs a colon)", what, show(value), what)
  end
end

--- The element at these indices, one for each dimension, from 1.
function methods.get(self, ...)
  if type(self) ~= "cdata" then check_array(self, "get") end
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

--- Raises an error where what is to become an element is no number.
local function check_value(self, value)
  if type(value) == "number" then return value end
  if type(value) ~= "cdata" or not facts.fits(kind_of(self), value) then refusals.refuse_value(self, value) end
  return value
end

--- Sets the element at these indices: `a:set(i, j, value)`.
function methods.set(self, ...)
  if type(self) ~= "cdata" then check_array(self, "set") end
  if has(self, READ_ONLY) then refuse_write(self) end
  local n = select("#", ...) - 1
  local i, j, k, l = ...
  if n == self._rank then
    if n == 1 then
      self._at[way(self, 0, i)] = check_value(self, j)
      return
    elseif n == 2 then
      self._at[way(self, 0, i) + way(self, 1, j)] = check_value(self, k)
      return
    elseif n == 3 then
      self._at[way(self, 0, i) + way(self, 1, j) + way(self, 2, k)] = check_value(self, l)
      return
    end
  end
  if n < 0 then refuse("a:set: there are no indices and no value") end
  self._at[way_of_many(self, n, ...)] = check_value(self, (last_of(n + 1, ...)))
end

-- ---- types with their metatables ----

--- Metamethods that the other files add.
M.operators = {}

--- Functions that all types share.
local function field(self, key)
  local method = methods[key]
  if method ~= nil then return method end
  local property = properties[key]
  if property ~= nil then
    if has(self, FREED) and key ~= "freed" then refuse(refusals.freed_message) end
    return property(self)
  end
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
      garbage.collect()
      garbage.collect()
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
  return type(value) == "function" and has(self, OF_FILE) and facts.is(self) and key ~= "free" and guard(value) or value
end

local function set_index(self, key, value)
  if type(key) ~= "number" then refuse("an array has no field %s that can be set", show(key)) end
  if key >= 1 and key <= self._bound and key % 1 == 0 then
    if type(value) ~= "number" then check_value(self, value) end
    self._at[(key - 1) * self._step[0]] = value
    return
  end
  refuse_element(self, key)
end

local function length(self)
  local size = self._shape[0]
  if size == 0 then
    check_live(self)
    refuse("#a: the array has no dimensions; a:get() is its element")
  end
  return size
end

local function refuse_call()
  refuse("an array can't be called: a[i] and a:get(i, j) are its elements, and ipairs(a) goes through them")
end

local function let_go(self)
  if self._shared ~= nil then
    C.shared_drop(self._shared)
    self._shared = nil
  end
end

local function next_part(self, i)
  i = i + 1
  if i > self._shape[0] then return nil end
  return i, self._rank == 1 and self[i] or methods.slice(self, i)
end

--- `for i, x in ipairs(a)`: its elements, or the parts at each index of the first dimension.
local function each(self)
  check_live(self)
  if self._rank == 0 then refuse("ipairs: the array has no dimensions; a:get() is its element") end
  return next_part, self, 0
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
    __newindex = is_read_only and refuse_write or set_index, __call = refuse_call,
    __tostring = operators.tostring, __add = operators.add, __sub = operators.sub, __mul = operators.mul,
    __div = operators.div, __unm = operators.unm, __eq = operators.eq,
    __pow = operators.pow, __mod = operators.mod, __lt = operators.lt, __le = operators.le, __concat = operators.concat,
    __pairs = each, __ipairs = each,
  })
  local number = tonumber(ctype)
  is_array[number] = true
  made[kind.number] = ctype
  return ctype
end

--- Raises an error where the value on which a method is called is no array: `a.sum()`.
function M.check(value, what)
  check_array(value, what)
  check_live(value)
  return value
end

-- ---- memory ----

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
  local shared, at = room.allocate(count * kind.size, is_raw or false, describe, kind, shape)
  local self = type_of(kind)()
  self._shared, self._at, self._kind, self._state = shared, ffi.cast(kind.pointer, at), kind.number, CONTIGUOUS
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
  if is_read_only then known.why_read_only = refusals.read_only_message(self) end
  if has(self, OF_FILE) then known.note_file(self) end
  lay_out(self, shape)
  return self
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

properties.shape = facts.shape

function properties.type(self) return kind_of(self).name end

function properties.rank(self) return self._rank end

function properties.size(self) return self._count end

function properties.read_only(self) return has(self, READ_ONLY) end

function properties.freed(self) return has(self, FREED) end

function properties.contiguous(self) return has(self, CONTIGUOUS) end

--- The typed pointer to the first element (pointer[0]); of a read-only array to constants. It is good as long as the
--- array is held.
function methods.data(self)
  if type(self) ~= "cdata" then check_array(self, "data") end
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
  if has(self, FREED) then refuse(refusals.freed_message) end
  let_go_now(self)
  self._at, self._bound, self._count, self._state = nil, 0, 0, bit.bor(self._state, FREED)
  for d = 0, self._rank - 1 do self._shape[d] = 0 end
end

return M
