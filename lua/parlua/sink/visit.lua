--- Calls a function for each task's outcome: what a job's output is made from.
local order = require "parlua.sink.order"
local run_module = require "parlua.run"

local M = {}

-- Tasks that may be handed out beyond what was visited.
local MOST_AHEAD = 200000

local no_values = {}

---@class parlua.Visit
local Visit = { keep = "first", limit = math.huge, is_enough = false }
Visit.__index = Visit

--- Visits outcomes, in the order in which they are given.
local Visitor = { is_enough = false }
Visitor.__index = Visitor

function Visitor:take(batch)
  local visit, run, first, with_arguments = self.visit, self.run, batch.first, self.with_arguments
  if batch.lines then
    self.visited = self.visited + batch.n
    if self.visit_lines(first, batch.n, batch.lines) ~= false then return end
    self.is_enough, self.last = true, first + batch.n - 1
    return
  end
  local values, arguments = batch.numbers or batch.values or no_values, batch.arguments
  for j = 0, batch.n - 1 do
    local args = with_arguments and (arguments and arguments[j] or run.driver:arguments(first + j)) or nil
    self.visited = self.visited + 1
    if visit(first + j, args, values[j], nil, run.encodes) == false then
      self.is_enough, self.last = true, first + j
      return
    end
  end
end

function Visitor:fail(failure)
  self.visited = self.visited + 1
  if self.visit(failure.index, failure.args, nil, failure) == false then
    self.is_enough, self.last = true, failure.index
  end
end

function Visit:begin(run)
  self.run, self.visitor.run = run, run
  if run.options.ordered == false then return end
  local arguments = run.feeder and self.visitor.with_arguments and function(index)
    return run.driver:arguments(index)
  end
  self.order = order.open(self.visitor, run, MOST_AHEAD, arguments)
end

function Visit:ahead()
  if self.order then return self.order:ahead() end
  return self.visitor.visited + (self.run.options.window or MOST_AHEAD)
end

local function look(self)
  local visitor = self.visitor
  if not visitor.is_enough then return end
  self.is_enough = true
  if self.order then self.limit = visitor.last end
end

function Visit:take(batch)
  if self.is_enough then return end
  local place = self.order or self.visitor
  place:take(batch)
  look(self)
end

function Visit:fail(failure)
  if self.is_enough then return end
  local place = self.order or self.visitor
  place:fail(failure)
  look(self)
end

--- Runs f over the arguments and calls visit(index, args, result, failure) for each task, in order unless `ordered` is
--- false. If visit returns false the run ends there: tasks behind that one do not count.
---@param given? table as of a run; without_arguments: the args of tasks that returned are nil; encodes: workers write
--- lines, for visit_lines(first, n, lines), which tells as visit does (worker/line.lua)
---@return parlua.Failure[] failures, parlua.Summary summary
function M.outcomes(f, arguments, options, visit, given)
  given = given or {}
  local visitor = setmetatable({ visit = visit, visited = 0, with_arguments = not given.without_arguments,
    visit_lines = given.visit_lines or false }, Visitor)
  local sink = setmetatable({ visitor = visitor, order = false, run = false }, Visit)
  local run = run_module.open(f, arguments, options, sink, given)
  run:go()
  if sink.order and not sink.is_enough then sink.order:flush() end -- what came behind tasks that were cut off
  return run:outcome()
end

return M
