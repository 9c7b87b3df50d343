--- What all sources have in common: their metatable; lists and iterators; and what may stand for a source.
local arrays = require "parlua.array.known"
local common = require "parlua.common"
local indexed = require "parlua.source.indexed"

local M = {}

M.MOST_TASKS = 2 ^ 53 -- whole numbers that a double holds

---@class parlua.Source
---@field kind string
---@field n? integer number of tasks, when known
---@field is_endless? boolean `n` is only as far as can be counted
local Source = {}
Source.__index = Source
M.Source = Source

---@return boolean
function M.is_source(value) return type(value) == "table" and getmetatable(value) == Source end

---@return parlua.Source
function M.new(fields) return setmetatable(fields, Source) end

local new, is_source = M.new, M.is_source

--- Is the source indexed: can a worker make its arguments from the index?
function Source:is_indexed() return indexed.is_indexed(self.kind) end

--- Do workers make the arguments? Not those of a list that they have not inherited.
---@param inherits boolean they are copies of this process
function Source:is_made_by_workers(inherits)
  return self:is_indexed() and (inherits or self.kind ~= "list" and self.kind ~= "spread")
end

--- What workers need to make the arguments: the same without methods, which would travel with each job.
function Source:plain()
  if self.kind == "range" then
    return { kind = "range", n = self.n, first = self.first, step = self.step, is_endless = self.is_endless }
  end
  local copy = {}
  for key, value in pairs(self) do copy[key] = value end
  if copy.parts then
    local parts = {}
    for k, part in ipairs(copy.parts) do parts[k] = part:plain() end
    copy.parts = parts
  end
  return copy
end

require("jit").off(Source.plain) -- as parlua.run's open, for the same fault of LuaJIT's

-- ---- lists, iterators, and what may stand for them ----

--- The elements of an array; of one of more dimensions what stands at each index of the first.
local function list_of_array(array)
  local n, items = array.shape[1], array
  if array.rank == 0 then error("arguments: the array has no dimensions; give { array } for one task", 0) end
  if array.rank > 1 then items = setmetatable({}, { __index = function(_, i) return array:slice(i) end }) end
  return new { kind = "list", items = items, n = n }
end

--- The items of a plain list. A list serves as it is wherever arguments are expected; this makes it a part of a product
--- or zip.
---@param items any[]
---@return parlua.Source
function M.list(items)
  if arrays.is(items) then return list_of_array(items) end
  if type(items) ~= "table" then error("list: a table is expected, got " .. type(items), 2) end
  local n = items.n or #items
  if type(n) ~= "number" or n < 0 or n % 1 ~= 0 then
    error(("list: its field n, the number of items, must be a whole number, got %s"):format(tostring(n)), 0)
  end
  if n == 0 and items.n == nil and next(items) ~= nil then
    error("list: the table has keys, but no items 1, 2, ...; for its pairs take parlua.iterate(pairs(t))", 0)
  end
  return new { kind = "list", items = items, n = n }
end

--- What a generic `for` takes (`parlua.iterate(pairs(t))`): each step's values are the arguments of a task.
---@return parlua.Source
function M.iterate(step, state, control)
  if not common.is_callable(step) then error("iterate: an iterator function is expected, got " .. type(step), 2) end
  return new { kind = "iterator", step = step, state = state, control = control }
end

local ipairs_step = ipairs {}

--- Raises an error where what was given are the first of the values that pairs or ipairs returns, or futures.
local function refuse_misunderstood(arguments)
  if arguments == next or arguments == ipairs_step then
    error(("arguments: %s(t) gives three values, of which a call takes only the first; write parlua.iterate(%s(t)), "
      .. "or give the list itself")
      :format(arguments == next and "pairs" or "ipairs", arguments == next and "pairs" or "ipairs"), 0)
  end
  if type(arguments) ~= "table" then return end
  local item = rawget(arguments, 1)
  if common.is_future(arguments) or common.is_future(item) then
    error("arguments: a future is no value that a task could use: give what it has returned, future:get()", 0)
  end
end

--- Turns what may stand for arguments into a source.
---@param arguments any a source, a list, an array, an iterator function, a coroutine
---@return parlua.Source
function M.of(arguments)
  if is_source(arguments) then return arguments end
  refuse_misunderstood(arguments)
  local kind = type(arguments)
  if arrays.is(arguments) then
    return list_of_array(arguments)
  elseif common.is_callable(arguments) then
    return M.iterate(arguments)
  elseif kind == "table" then
    return M.list(arguments)
  elseif kind == "thread" then
    return M.iterate(common.yields(arguments))
  end
  error(("arguments must be a list, a source such as parlua.range(1, 10), an iterator function or a coroutine, got %s")
    :format(kind == "nil" and "nothing" or kind), 0)
end

--- Raises what `of` does for arguments that have been misunderstood: before what stands behind them is taken for
--- options.
M.refuse_misunderstood = refuse_misunderstood

M.exports = { "Source", "is_source", "list", "iterate", "of", "refuse_misunderstood" }

return M
