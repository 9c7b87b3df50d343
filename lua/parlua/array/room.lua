--- The memory of arrays: made, and given back in time although Lua's collector does not see how much it is.
local C = require "parlua.array.c"
local garbage = require "parlua.garbage"
local ffi = require "ffi"
local known = require "parlua.array.known"
local refuse = require("parlua.array.refusals").refuse

local M = {}

local MOST_BYTES = 2 ^ 46 -- more than any machine of today can address

-- Lua's collector sees a small object where an array takes a gigabyte: it is told by what was allocated since it last
-- looked.
local LEAST = 64 * 2 ^ 20
local allocated, limit = 0, LEAST

--- What is garbage is let go of.
local function collect()
  garbage.collect()
  allocated = 0
  limit = math.max(LEAST, C.shared_total() / 4, collectgarbage "count" * 2048)
end
M.collect = collect

--- So many bytes more are held.
function M.note(bytes)
  allocated = allocated + bytes
  if allocated > limit then collect() end
end

--- A worker has nothing to do: what it has finished with is not kept from others.
function known.rest()
  if allocated > 2 ^ 20 then collect() end
end

local place = ffi.new("char *[1]")

--- New memory, or an error. `describe(...)` tells of what it is to be.
---@param is_raw boolean there need not be zeros
---@return ffi.cdata* shared, ffi.cdata* at where it begins
function M.allocate(bytes, is_raw, describe, ...)
  if bytes <= MOST_BYTES then
    M.note(bytes)
    local shared = C.shared_new(bytes, not is_raw, place)
    if shared == nil then
      collect()
      C.shared_trim()
      shared = C.shared_new(bytes, not is_raw, place)
    end
    if shared ~= nil then return shared, place[0] end
  end
  refuse("not enough memory for an array of %s: %.0f bytes", describe(...), bytes)
end

return M
