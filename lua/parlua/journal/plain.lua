--- Reads results where no user code may run and nothing of the script is known: in a lookout, in an agent. It reads
--- plain data only, and raises where there is more: objects of classes, functions, arrays.
local ffi = require "ffi"
local codec = require "parlua.codec"
local block = require "parlua.wire.block"
local common = require "parlua.common"
local shape = require "parlua.lazy" "parlua.wire.shape_read"

local M = {}

local C = ffi.C
local SIMPLE = { [C.TAG_NIL] = true, [C.TAG_TRUE] = true, [C.TAG_FALSE] = true, [C.TAG_STRING] = true }
local LOWEST, ABSENT, RECORD, VALUE, TUPLE = C.TAG_LOWEST, C.TAG_ABSENT, C.TAG_RECORD, C.TAG_VALUE, C.TAG_TUPLE
local NO_FUNCTIONS = { functions = false }
local PLAIN = { ["nil"] = true, boolean = true, number = true, string = true, table = true }

--- Decodes what the script's side has encoded.
---@param bytes string
---@return any ...
function M.decode(bytes) return codec.decode(bytes, NO_FUNCTIONS) end

--- Raises where one of the values is neither a table nor plain: an array.
local function assert_plain(...)
  for k = 1, select("#", ...) do assert(PLAIN[type((select(k, ...)))]) end
  return ...
end

--- The values of a block at a place.
function M.at(out, place) return assert_plain(M.decode(block.string(out, tonumber(out.size), place))) end
local at = M.at

--- Reads word `k`. Returns a value; or nil and a table with all that the task returned. Raises where it is not plain.
function M.read(out, half, k)
  local tag, place = half[2 * k + 1], half[2 * k]
  if tag >= 0 or tag < LOWEST or SIMPLE[tag] then return (block.get(out, out.word, half, k)) end
  if tag == ABSENT then return nil, { n = 0 } end
  if tag == VALUE then return (at(out, place)) end
  if tag == TUPLE then
    return nil, common.pack(at(out, place))
  end
  assert(tag == RECORD)
  if shape.head_of(out, tonumber(out.size), place) ~= 0 then return (shape.one(out, half, k)) end
  return nil, shape.tuple(out, tonumber(out.size), place)
end

return M
