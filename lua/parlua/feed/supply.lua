--- Supplied sources: what a run asks of them. A list is all here; of other sources feed/pullers.lua has the rest, whose
--- fields are these too.
local block = require "parlua.wire.block"
local common = require "parlua.common"
local indexed = require "parlua.source.indexed"
local items = require "parlua.feed.items"
local pullers = require "parlua.lazy" "parlua.feed.pullers"

local M = setmetatable({}, { __index = pullers })

--- Prepares a supplied source, or a list whose values are sent, for a run before any work starts: opens its file.
---@return table puller
function M.open(source)
  if source.kind == "list" then return items(source) end
  return pullers.open(source)
end

--- The arguments of task `i` as a table with `n`: for failures and for output.
---@param payload? ffi.cdata* the block in which they were supplied
---@param origin? integer the task of its first word, where the block itself does not tell
function M.arguments_of(source, puller, payload, i, origin)
  if not puller then
    source.make = source.make or indexed.maker(source)
    return common.pack(source.make(i))
  end
  if puller.is_ranges then return pullers.range_arguments(source, puller, payload, i, origin) end
  local values = block.arguments(payload, i)
  if not puller.text then return values end
  return pullers.piece_arguments(source, puller, i, values[1], values[2])
end

--- What a worker needs of the source: sent with the job.
function M.describe(source, puller, inherits)
  if puller.text or puller.is_ranges then return pullers.describe(source, puller, inherits) end
  return { kind = "values", raw = source.raw, is_few = indexed.is_few(source) or nil }
end

return M
