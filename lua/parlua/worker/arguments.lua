--- Arguments that are no plain values, as the worker's loop asks for them: tables by their shape, several that came in
--- one message, those that could not be sent.
local ffi = require "ffi"
local block = require "parlua.wire.block"
local failure = require "parlua.failure"
local shape = require "parlua.lazy" "parlua.wire.shape"
local new_table = require "table.new"

local M = {}

local C = ffi.C
local TUPLE, FAILURE, RECORD = C.TAG_TUPLE, C.TAG_FAILURE, C.TAG_RECORD

local several, several_at, several_place = nil, 0, 0

--- One of several arguments that came in one message: it is decoded for the first of them.
local function shared_argument(chunk, half, k)
  if several and k > several_at and half[2 * k] == several_place then
    several_at = k
  else
    several = { block.special(chunk, half, k, TUPLE) }
    several_at, several_place = k, half[2 * k]
  end
  local width = chunk.width
  local j = k - math.floor(k / width) * width + 1
  local value = several[j]
  for next_word = k + 1, k + width - j do
    if half[2 * next_word + 1] == TUPLE then return value end
  end
  several = nil -- the last: nothing is kept of it
  return value
end

-- Records that were read ahead: reading many at once costs a third of reading each alone.
local AHEAD = 256
local ahead, ahead_from, ahead_stop = false, 0, 0

--- A table that came by its shape. Each is asked for once.
local function record_argument(chunk, half, k)
  if k >= ahead_from and k < ahead_stop then return ahead[k - ahead_from] end
  if chunk.width ~= 1 then return shape.one(chunk, half, k) end
  local values, last = new_table(AHEAD, 0), math.min(k + AHEAD - 1, chunk.last - chunk.origin)
  local stop = shape.read(values, chunk, tonumber(chunk.size), half, k, last)
  ahead, ahead_from, ahead_stop = values, k, stop
  return values[0]
end

-- A worker that no table comes to by its shape does without that module.
if not block.record then
  function block.record(chunk, half, k) return shape.one(chunk, half, k) end
end

--- The argument that stands at word k, which is no number, string, boolean or nil. One that could not be sent fails its
--- task.
function M.special(chunk, half, k, tag)
  if tag == RECORD then return record_argument(chunk, half, k) end
  if tag == FAILURE then
    local record = block.special(chunk, half, k, tag)
    record.given = nil
    error(failure.mark(record), 0)
  end
  if tag == TUPLE then return shared_argument(chunk, half, k) end
  return block.special(chunk, half, k, tag)
end

--- A chunk begins. Tasks of the one before may have been cut off before they had all their arguments.
function M.begin() several, ahead, ahead_stop = nil, false, 0 end

return M
