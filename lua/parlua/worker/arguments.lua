--- Arguments that are no plain values, as the worker's loop asks for them: tables by their shape, several that came in
--- one message, those that could not be sent.
local ffi = require "ffi"
local block = require "parlua.wire.block"
local failure = require "parlua.failure"
local shape = require "parlua.lazy" "parlua.wire.shape_read"

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

-- The reader of the records that came last, and where their shape is in the chunk.
local read_one, shape_place = false, -1

--- The same where they have another shape, or none came before.
local function other_record(chunk, half, k)
  local reader, place = shape.reader_at(chunk, half, k)
  if not reader then return shape.one(chunk, half, k) end
  reader.begin()
  read_one, shape_place = reader.one, place
  return read_one(chunk, tonumber(chunk.size), half, k, place)
end

--- A table that came by its shape. Each is made when it is asked for: with the function into one trace, not at all.
local function record_argument(chunk, half, k)
  local record = read_one and read_one(chunk, tonumber(chunk.size), half, k, shape_place)
  return record or other_record(chunk, half, k)
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
function M.begin() several, shape_place = nil, -1 end

return M
