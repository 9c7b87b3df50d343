--- A part of a job: every N-th of its tasks, or a contiguous N-th. A task keeps its number in the whole: results,
--- failures, random numbers and {#} go by that. Inside, the run counts its own tasks from 1, and so does its journal,
--- which says of which part it is: `parlua merge` (command/merge.lua) puts them together.
local identity = require "parlua.journal.identity"
local indexed = require "parlua.source.indexed"
local kinds = require "parlua.source.kinds"
local sources = require "parlua.source"
local supply = require "parlua.feed.supply"
local task = require "parlua.task"

local M = {}

--- How many tasks a source has. nil: that shows only as it is used up.
local function count_tasks(source)
  if source:is_indexed() then return not source.is_endless and source.n or nil end
  local is_file = source.path and source.path ~= "-"
  if not is_file then return nil end
  local read, count = supply.reader(source), 0
  while read() do count = count + 1 end
  return count
end

--- The first task of a part, and how many there are.
local function block_of(source, shard)
  local total = count_tasks(source)
  if not total then
    error(("the option shard: %d/%d:block needs a known number of tasks, and the job's arguments (%s) tell it only at "
      .. "their end; %d/%d takes one of every %d"):format(shard.number, shard.count, source.kind, shard.number,
      shard.count,
      shard.count), 0)
  end
  local first = math.floor(total * (shard.number - 1) / shard.count)
  return first + 1, math.floor(total * shard.number / shard.count) - first
end

--- Steps through the tasks first, first + step, ..., at most `most`: gives the number in the whole, then the arguments.
local function stepper(source, first, step, most)
  local given = 0
  if source:is_indexed() then
    local make, total = indexed.maker(source), source.n
    return function()
      local index = first + given * step
      if index > total or given >= most then return nil end
      given = given + 1
      return index, make(index)
    end
  end
  local read, at = supply.reader(source), 0
  local function take(more, ...)
    if not more then return nil end
    given = given + 1
    return at, ...
  end
  return function()
    if given >= most then return nil end
    local next_one = first + given * step
    while at < next_one - 1 do
      if not read() then return nil end
      at = at + 1
    end
    at = at + 1
    return take(read())
  end
end

--- The map function and the source of a part of a job.
---@param map function
---@param arguments any
---@param shard {number: integer, count: integer, is_block: boolean}
---@return function map
---@return parlua.Source source
function M.of(map, arguments, shard)
  local source = sources.of(arguments)
  local first, step, most, way = shard.number, shard.count, math.huge, ""
  if shard.is_block then
    first, most = block_of(source, shard)
    step, way = 1, ":block"
  end
  local function numbered(index, ...)
    task.renumber(index)
    return map(...)
  end
  identity.stand_for(numbered, map)
  local part = kinds.iterate(stepper(source, first, step, most))
  part.is_numbered = true
  part.label = ("shard %d/%d%s from %.0f step %.0f of %s"):format(shard.number, shard.count, way, first, step,
    identity.describe(source))
  return numbered, part
end

--- The number in the whole, and the arguments without it.
---@param args table
---@return integer index
---@return table args
function M.place_of(args)
  local own = { n = args.n - 1 }
  for k = 2, args.n do own[k - 1] = args[k] end
  return args[1], own
end

--- What a label says; nil: it is of no shard.
---@param label string
---@return {number: integer, count: integer, first: integer, step: integer, whole: string, is_block: boolean}?
function M.read_label(label)
  local number, count, way, first, step, whole = label:match("^shard (%d+)/(%d+)(:?%l*) from (%d+) step (%d+) of (.*)$")
  if not number then return nil end
  return { number = tonumber(number), count = tonumber(count), first = tonumber(first), step = tonumber(step),
    whole = whole, is_block = way == ":block" }
end

return M
