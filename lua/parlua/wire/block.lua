--- The words of a block (src/slot/layout.h): how single values are read from it.
local ffi = require "ffi"
local header = require "parlua.wire.header"
local host = require "parlua.host"

header "slot/block.h"
header "lua/ffi.h"

local M = {}

local C = ffi.C
local ffi_string, cast = ffi.string, ffi.cast
local u64 = ffi.typeof("uint64_t *")
local bytes = ffi.typeof("char *")

local NIL, FALSE, TRUE, ABSENT = C.TAG_NIL, C.TAG_FALSE, C.TAG_TRUE, C.TAG_ABSENT
local STRING, LOWEST = C.TAG_STRING, C.TAG_LOWEST
local HEAD, TUPLE, RECORD, FAILURE = C.BLOCK_HEAD, C.TAG_TUPLE, C.TAG_RECORD, C.TAG_FAILURE
local decode = host.value

M.pointer = ffi.typeof("struct block *")
M.halves = ffi.typeof("int32_t *")

--- By what is kept of results: do they come as pairs, an index and a result?
M.is_sparse = { none = true, found = true, lacking = true, into = true, packed = true }

local function outside() error("cannot decode: a value lies outside of its message", 0) end

-- Where most strings are new there is no use in looking whether one was read before: so many found at most stand
-- against those that were not; and so many are then read without.
local MOST_CREDIT, REST = 4096, 2 ^ 15
local LONGEST_CACHED = 16
local credit = MOST_CREDIT
local short_string = false -- wire/short_strings.lua

--- The string at `place` of a block of `size` bytes.
local function read_string(block, size, place)
  local at = 8 * place
  if at < HEAD or at + 8 > size then outside() end
  local p = cast(bytes, block) + at
  local length = tonumber(cast(u64, p)[0])
  if length > size - at - 8 then outside() end
  if length <= LONGEST_CACHED and length > 0 and at + 24 <= size then
    if credit >= 0 then
      if not short_string then
        local is_loaded, loaded = pcall(require, "parlua.wire.short_strings")
        if not is_loaded then -- for want of memory
          credit = -REST
          return ffi_string(p + 8, length)
        end
        short_string = loaded
      end
      local text, is_found = short_string(cast(u64, p + 8), length)
      if is_found then
        if credit < MOST_CREDIT then credit = credit + 1 end
      else
        credit = credit - 1
        if credit < 0 then credit = -REST end
      end
      return text
    end
    credit = credit + 1
    if credit == 0 then credit = MOST_CREDIT / 4 end
  end
  return ffi_string(p + 8, length)
end
M.string = read_string

--- Reads the table of word `k`, a record: function(block, half, k). Set by wire/shape_read.lua and by
--- worker/arguments.lua, without which there is none.
M.record = false

--- The value of word `k`, which is no number (its upper half is `tag`).
---@param block ffi.cdata* struct block *
---@param half ffi.cdata* int32_t *, the halves of its words
local function special(block, half, k, tag)
  if tag == NIL or tag == ABSENT then return nil end
  if tag == TRUE then return true end
  if tag == FALSE then return false end
  local place = half[2 * k]
  if tag == STRING then return (read_string(block, tonumber(block.size), place)) end
  if tag == RECORD and M.record then return M.record(block, half, k) end
  return decode(block, place)
end
M.special = special

--- The value of word `k`.
function M.get(block, words, half, k)
  local tag = half[2 * k + 1]
  if tag >= 0 or tag < LOWEST then return words[k] end
  return special(block, half, k, tag)
end

--- The arguments of task `i`, from the block in which they were supplied. In place of one that could not be sent
--- stands a string that describes it.
function M.arguments(block, i)
  local words, half, width = block.word, cast(M.halves, block.word), block.width
  local at, values = (i - block.origin) * width, { n = 0 }
  for j = 0, width - 1 do
    local tag = half[2 * (at + j) + 1]
    if tag == ABSENT then break end
    values.n = j + 1
    if tag == FAILURE then -- it could not be sent
      values[j + 1] = M.get(block, words, half, at + j).given
    elseif tag == TUPLE then -- of all the arguments
      values[j + 1] = (select(j + 1, M.get(block, words, half, at + j)))
    else
      values[j + 1] = M.get(block, words, half, at + j)
    end
  end
  return values
end

--- Puts a string into the block as word `k`; returns how many words the block has room for, or nil when it does not
--- fit.
function M.put_string(block, half, k, value)
  local length = #value
  local floor = tonumber(block.floor) - 8 - math.floor((length + 7) / 8) * 8
  if floor < HEAD + 8 * (k + 1) then return nil end
  local p = cast(bytes, block) + floor
  cast(u64, p)[0] = length
  ffi.copy(p + 8, value, length)
  block.floor = floor
  half[2 * k] = floor / 8
  half[2 * k + 1] = STRING
  return (floor - HEAD) / 8
end

return M
