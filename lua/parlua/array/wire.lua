--- How arrays cross between states: what the codec (src/lua/codec/encode_data.c, decode_special.c) writes of one is a
--- description, and the elements only where the other side can't reach them.
--
--   the same process (threads)      the number of the memory, which both know
--   script -> forked worker         the number; and, for memory that is younger than the worker, where to open it
--   forked worker -> script         the number of memory whose descriptor goes through a socket (src/sys/shared.h); of
--                                   small arrays the number, which the script knows if the array is its own, and the
--                                   elements
--   other hosts, files              the elements
local ffi = require "ffi"
local C = require "parlua.array.c"
local core = require "parlua.array.core"
local host = require "parlua.host"
local kinds = require "parlua.array.kinds"
local known = require "parlua.array.known"
local lent = require "parlua.array.lent"
local room = require "parlua.array.room"

require "parlua.array"
require("jit").off(true, true)

local M = {}

local description_type = ffi.typeof("struct parlua_array_description")
local HEAD = ffi.offsetof(description_type, "dimension")

-- How the other side comes to the elements: they follow; their memory is known by its number, or can be opened; it
-- was offered.
local CONTENT, KNOWN, OFFERED = 1, 2, 3

local SMALL = 2 ^ 17 -- bytes: up to here elements are copied, as mapping their memory takes as long

--- The script holds what workers have not opened yet.
local function note_sent(array)
  known.sent = known.sent or {}
  table.insert(known.sent, array)
end

--- How an array is to cross.
---@return integer how
---@return boolean names does its number mean something to the other side?
local function way_of(array, shares, is_plain)
  if is_plain then return CONTENT, false end
  local shared = array._shared
  if known.role == "script" then
    if not shares and not known.to_forked then return CONTENT, false end
    note_sent(array)
    if shares or shared.file >= 0 then return KNOWN, true end
    return CONTENT, true
  elseif known.role == "thread" then
    C.shared_leave(shared)
    return OFFERED, true
  elseif known.role == "forked" then
    local is_small = array._count * core.kind_of(array).size <= SMALL
    return not is_small and C.shared_offer(shared) and OFFERED or CONTENT, true
  end
  return CONTENT, false
end

local pid

--- What is written of an array: the description, how many bytes of the array itself tell whether it is still the
--- same; and where the elements are to follow, their number of bytes, what holds them, and the pointer to them. Or
--- nil and why it can't be sent.
---@param shares boolean the other side has the same memory
---@param is_plain boolean it goes to a file
function M.encode(array, shares, is_plain)
  if core.has(array, core.FREED) then return nil, "an array that was freed" end
  local how, names = way_of(array, shares, is_plain)
  local kind, rank, sent = core.kind_of(array), array._rank, array
  if how == CONTENT and not core.has(array, core.CONTIGUOUS) then sent = array:copy() end
  local made = description_type()
  made.how, made.kind, made.rank = how, kind.number, rank
  for d = 0, rank - 1 do made.dimension[d], made.dimension[rank + d] = array._shape[d], array._step[d] end
  if names then
    local shared = array._shared
    made.id, made.bytes, made.file = shared.id, tonumber(shared.size), shared.file
    made.offset = tonumber(ffi.cast("const char *", array._at) - shared.bytes)
    if how == KNOWN and shared.file >= 0 and not shares then
      pid = pid or host.pid()
      made.pid, made.inode = pid, C.shared_inode(shared)
    end
  end
  local text = ffi.string(made, HEAD + 16 * rank)
  if how ~= CONTENT then return text, ffi.sizeof(array) end
  return text, ffi.sizeof(array), sent._count * kind.size, sent, sent._at
end

-- ---- decoding ----

local function corrupt(what) error("cannot decode an array: " .. what, 0) end

--- Checks a description, and where the elements must lie.
---@return number[] shape, number first, number behind bytes from the first element to the least place and behind the
--- largest
local function check(made, length)
  local rank, kind = made.rank, kinds.list[made.kind]
  if not kind or rank < 0 or rank > core.MOST_RANK or length ~= HEAD + 16 * rank then
    corrupt "its description is damaged"
  end
  local shape, low, high, count = {}, 0, 0, 1
  for d = 1, rank do
    local size, step = made.dimension[d - 1], made.dimension[rank + d - 1]
    if not (size >= 1 and size <= 2 ^ 53 and size % 1 == 0 and step % 1 == 0 and math.abs(step) <= 2 ^ 53) then
      corrupt "its shape is damaged"
    end
    shape[d], count = size, count * size
    if step < 0 then low = low + (size - 1) * step else high = high + (size - 1) * step end
  end
  if count > 2 ^ 53 or high > 2 ^ 53 or low < -2 ^ 53 then corrupt "its shape is damaged" end
  return shape, low * kind.size, (high + 1) * kind.size, count * kind.size
end

--- The memory that a description names; nil where it is not to be had.
local function find(made)
  if made.how == OFFERED then
    if known.role ~= "script" then corrupt "its memory is another's" end
    return C.shared_claim(made.id)
  end
  if made.how == KNOWN and made.pid ~= 0 then
    return C.shared_open(made.id, made.pid, made.file, made.inode, made.bytes)
  end
  return C.shared_find(made.id)
end

--- An array over memory that was found.
local function over(made, shared, shape, low, high)
  local kind, rank = kinds.list[made.kind], made.rank
  local offset = made.offset
  if not (offset + low >= 0 and offset + high <= tonumber(shared.size) and offset % kind.size == 0) then
    C.shared_drop(shared)
    corrupt "its elements lie outside of its memory"
  end
  if made.how == OFFERED then room.note(tonumber(shared.size)) end
  local array = core.over(kind, shared, offset, shape, known.is_captured and core.READ_ONLY or 0)
  if known.role ~= "script" then lent.note(array, tonumber(shared.size)) end
  for d = 0, rank - 1 do array._step[d] = made.dimension[rank + d] end
  return core.settle(array)
end

--- An array of elements that came along.
local function of_content(made, shape, bytes, content, size)
  local kind = kinds.list[made.kind]
  if size ~= bytes then corrupt "its elements are not all there" end
  if known.is_captured and size > 2 ^ 16 then
    local shared = C.shared_of_message(content, size)
    if shared ~= nil then return core.over(kind, shared, 0, shape) end
  end
  local array = core.new(kind, shape, true)
  ffi.copy(array._at, content, size)
  if not known.is_captured then return array end
  C.shared_hold(array._shared)
  local offset = ffi.cast("const char *", array._at) - array._shared.bytes
  return core.over(kind, array._shared, tonumber(offset), shape, core.READ_ONLY)
end

--- The array of a description.
---@param text string
---@param content any light userdata: the bytes of its elements
---@param size integer how many
---@param is_plain boolean the message comes from a file
function M.decode(text, content, size, is_plain)
  if type(text) ~= "string" or #text < HEAD then corrupt "its description is damaged" end
  local made = description_type() -- not a pointer to the text: that may be garbage before all of it is read
  ffi.copy(made, text, math.min(#text, ffi.sizeof(made)))
  local shape, low, high, bytes = check(made, #text)
  if made.how == CONTENT then
    local shared = made.id ~= 0 and not is_plain and C.shared_find(made.id) or nil
    if shared ~= nil then return over(made, shared, shape, low, high) end
    return of_content(made, shape, bytes, content, size)
  end
  if is_plain or made.how ~= KNOWN and made.how ~= OFFERED then corrupt "its description is damaged" end
  local shared = find(made)
  if shared == nil then
    error("an array could not be opened, as its memory is gone, or no file descriptor is free", 0)
  end
  return over(made, shared, shape, low, high)
end

return M
