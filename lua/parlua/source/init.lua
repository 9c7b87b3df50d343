--- Sources of arguments: lazy, and they know how to split themselves.
--
-- A source is a plain table, so that it can cross to a worker. Two families:
--   indexed (`source.n` is known): the arguments of task i follow from i alone. A chunk is two numbers; each worker
--     makes the arguments itself (indexed.lua).
--   supplied: the coordinator pulls tasks and writes them into blocks: values, or what the worker needs to find them,
--     byte ranges of a file (feed/supply.lua).
-- Here are numbers. kinds.lua has what all have in common, lists and iterators; products.lua combinations; texts.lua
-- files; derived.lua what is made of other sources.
local derived = require "parlua.lazy" "parlua.source.derived"
local kinds = require "parlua.source.kinds"

local M = {}

local new, MOST_TASKS = kinds.new, kinds.MOST_TASKS

local function check_number(value, name, where)
  if type(value) ~= "number" or value ~= value then
    error(("%s: %s must be a number, got %s"):format(where, name, value ~= value and "nan" or type(value)), 3)
  end
  return value
end

--- How many numbers there are from first to last. Of whole numbers as many as `for` counts. Of others the last counts
--- as reached if it is missed by no more than rounding.
local function count_range(first, last, step)
  local steps = (last - first) / step
  if first % 1 == 0 and last % 1 == 0 and step % 1 == 0 then return math.floor(steps) + 1 end
  return math.floor(steps + 1e-10 * math.max(1, math.abs(steps) * 1e-3)) + 1
end

--- Numbers from first to last: task i has first + (i - 1) * step. Example: `parlua.range(1, 1e6)`, `parlua.range(10)`.
---@param first number with one argument: the last, and the first is 1
---@param last? number math.huge: without end
---@param step? number default 1
---@return parlua.Source
function M.range(first, last, step)
  if last == nil then first, last = 1, first end
  check_number(first, "first", "range")
  check_number(last, "last", "range")
  step = step == nil and 1 or check_number(step, "step", "range")
  if step == 0 then error("range: step must not be 0", 2) end
  if math.abs(first) == math.huge or math.abs(step) == math.huge then
    error(("range: first and step must be finite, got %g and %g"):format(first, step), 2)
  end
  if math.abs(last) == math.huge then
    local is_endless = (last > 0) == (step > 0)
    local n = is_endless and MOST_TASKS or 0
    return new { kind = "range", first = first, step = step, n = n, is_endless = is_endless or nil }
  end
  local n = count_range(first, last, step)
  if n > MOST_TASKS then error(("range: %g numbers are more than can be counted (2^53)"):format(n), 2) end
  return new { kind = "range", first = first, step = step, n = n > 0 and n or 0 }
end

-- Loaded when one is made, as a program that maps over numbers or a list does not pay for the rest.
local others = {
  { "parlua.source.products", "product", "zip" },
  { "parlua.source.texts", "files", "lines", "blocks", "csv", "jsonl" },
}

--- A function that stands for one of a module, as which it is called: what that raises for its caller, it does here.
local function later(module, name)
  return function(...) return require(module)[name](...) end
end

for _, name in ipairs(kinds.exports) do M[name] = kinds[name] end
for _, names in ipairs(others) do
  for k = 2, #names do M[names[k]] = later(names[1], names[k]) end
end

--- The first n tasks of a source. Example: `parlua.take(parlua.lines("big.log"), 1000)`
---@return parlua.Source
function M.take(arguments, n) return derived.take(arguments, n) end

--- The tasks of a source with their number, from 1, as the first argument.
---@return parlua.Source
function M.enumerate(arguments) return derived.enumerate(arguments) end

--- Tasks of n items each: their argument is a list of n (the last may have fewer) of what were the arguments of single
--- tasks; where those are several, an item is a list of them, with a field n.
---@return parlua.Source
function M.batch(arguments, n) return derived.batch(arguments, n) end

--- The tasks of a source for whose arguments f returns neither nil nor false. f runs in the script. Example:
--- `parlua.filter(parlua.files("**/*.log"), function(path) return not path:find "old" end)`
---@param f fun(...): any
---@return parlua.Source
function M.filter(arguments, f) return derived.filter(arguments, f) end

function M.spread(arguments) return derived.spread(arguments) end

local Source = kinds.Source
Source.take, Source.enumerate, Source.batch, Source.filter = M.take, M.enumerate, M.batch, M.filter

return M
