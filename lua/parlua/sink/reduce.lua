--- reduce: one value of the results of a whole run.
local fold_module = require "parlua.worker.fold"
local engines = require "parlua.run.engine"
local fold_sink = require "parlua.sink.fold"
local merging = require "parlua.worker.merging"
local options_module = require "parlua.options"
local plans = require "parlua.sink.plan"
local run_module = require "parlua.run"
local missing = require "parlua.worker.missing"
local task = require "parlua.task"
local uses = require("parlua.lazy") "parlua.wire.captured_names"

local M = {}

--- Folds f's results to one value, by a plan.
---@param plan table see sink/plan.lua
---@return any value, parlua.Failure[] failures, parlua.Summary summary
function M.run_plan(f, arguments, plan, options, given)
  local all = {}
  for name, value in pairs(given or {}) do all[name] = value end
  all.options = all.options or options_module.resolve(options)
  local has_reaction = type(all.options.on_error) ~= "string" -- results that stand in for failures are made here
  local is_here = plan.merge and (has_reaction or all.options.journal and not task.is_inside()
    or engines.choose(all.options) == "async" or uses.names(f, "spawn"))
  if is_here then plan = require "parlua.sink.here"(plan, fold_module.is_text(arguments)) end
  if plan.merge then
    all.fold = fold_module.new {
      step = plan.step, init = plan.init, block = plan.block, is_ready = plan.is_ready,
      is_text = fold_module.is_text(arguments), fields = plan.fields,
      groups = plan.groups, merge = not plan.stop and plan.merge or nil, group = merging.GROUP,
    }
  end
  local sink = fold_sink.open(plan, plan.merge ~= nil)
  sink.is_always_ordered = is_here
  missing.take()
  local run = run_module.open(f, arguments, options, sink, all)
  run:go()
  run.left_out = missing.take()
  local failures, summary = run:outcome()
  summary.enough = sink.is_enough or nil
  local value = sink:value()
  if plan.finish then value = plan.finish(value) end
  return value, failures, summary
end

--- Folds f's results to one value.
---@return any value, parlua.Failure[] failures, parlua.Summary summary
function M.reduce(f, arguments, reduction, options, given)
  local plan, rest = plans.of(reduction, options)
  return M.run_plan(f, arguments, plan, rest, given)
end

return M
