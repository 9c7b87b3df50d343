--- find, any and all: look for a result.
local run_module = require "parlua.run"

local M = {}

---@class parlua.Search
---@field best? integer the task that was found
---@field found any its result
local Search = {}
Search.__index = Search

function Search:ahead() return math.huge end -- luacheck: ignore 212

function Search:fail() end

--- Takes results that were looked for; results that were not are not kept.
function Search:take(batch)
  local values = batch.values
  if not values then return end
  for j = 0, batch.n - 1 do
    local index, value = batch.first + j, values[j]
    if self.is_wanted(value) and (not self.best or index < self.best) then
      self.best, self.found = index, value
      if self.is_first then self.limit = index else self.is_enough = true end
    end
  end
end

local function is_true(value) return type(value) == "cdata" or value and true end
local function is_lacking(value) return not value end

--- Looks for results. `is_first`: the one with the lowest index; else any will do.
---@param keep "found"|"lacking"
---@return integer? index
---@return any value
local function search(name, f, arguments, options, given, keep, is_first)
  local sink = setmetatable({ name = name, keep = keep, is_wanted = keep == "found" and is_true or is_lacking,
    is_first = is_first, best = false,
                              found = nil, limit = math.huge, is_enough = false }, Search)
  local run = run_module.open(f, arguments, options, sink, given)
  run:go()
  if sink.best and not is_first and not run.broken then return sink.best, sink.found, {}, run:summary() end
  local failures, summary = run:outcome()
  if sink.best and not run.signal and sink.best <= run.last then return sink.best, sink.found, failures, summary end
  return nil, nil, failures, summary
end

--- The first task whose result is neither nil nor false: the one with the lowest index, on every engine.
---@return integer? index nil: there is none
---@return any value
---@return parlua.Failure[] failures of tasks before it
---@return parlua.Summary summary
function M.find(f, arguments, options, given) return search("find", f, arguments, options, given, "found", true) end

--- Is some result neither nil nor false?
---@return boolean
---@return parlua.Failure[] failures when it is false
---@return parlua.Summary summary
function M.any(f, arguments, options, given)
  local index, _, failures, summary = search("any", f, arguments, options, given, "found", false)
  return index ~= nil, failures, summary
end

--- Did every task return something that is neither nil nor false? A task that failed did not, nor one that an
--- interruption or the deadline cut off.
---@return boolean
---@return parlua.Failure[] failures when no result was nil or false
---@return parlua.Summary summary
function M.all(f, arguments, options, given)
  local index, _, failures, summary = search("all", f, arguments, options, given, "lacking", false)
  local is_whole = not summary.interrupted and not summary.stopped
  return index == nil and #failures == 0 and is_whole, failures, summary
end

return M
