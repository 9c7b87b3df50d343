--- The sink of a reduction. Without `merge`, results are folded here, in the order of the tasks. With it, workers fold
--- blocks of tasks (worker/fold.lua), and the blocks' values are merged here in the same way.
local common = require "parlua.common"
local failure = require "parlua.failure"
local groups = require "parlua.lazy" "parlua.worker.groups"
local fold_module = require "parlua.worker.fold"
local order = require "parlua.sink.order"

local M = {}

-- Tasks (or blocks of tasks) that may be handed out beyond what was folded.
local MOST_AHEAD, MOST_BLOCKS_AHEAD = 2 ^ 20, 2 ^ 13

local NOTHING = {} -- in place of an accumulator: nothing was merged yet

-- 1.6 ns a number (bench/reduction.lua). Written for each reduction, so that its trace has the step in it. `get` tells
-- what an error in a step left behind.
local loop_text = [[
local step, stop = ...
local kept, at
local function run(accumulator, %s, k, last, first)
  kept = accumulator
  for j = k, last do
    at = j
    kept = step(kept, %s[j], first + j)
%s
  end
  return kept, last + 1, false
end
return run, function() return kept, at end]]

local function make_loop(step, stop, name)
  local line = stop and "    if stop(kept) then return kept, j + 1, true end" or ""
  return common.compile(loop_text:format(name, name, line), "=parlua.reduce")(step, stop)
end

---@class parlua.FoldSink
local Fold = { name = "reduce", takes_spawned = true, limit = math.huge, is_enough = false }
Fold.__index = Fold

--- Makes the sink.
---@param plan table see sink/plan.lua
---@param is_merged boolean outcomes are blocks of tasks
---@return parlua.FoldSink
function M.open(plan, is_merged)
  local combine = plan.step
  if is_merged then
    local merge = plan.merge
    combine = function(a, b) return merge(a, b) end
    if plan.groups then -- mostly as bytes
      local merge_packed = groups.merger(plan.groups.flat, plan.groups.merge)
      combine = function(a, b) return merge_packed(a, b) or merge(a, b) end
    end
  end
  local self = setmetatable({
    plan = plan, is_merged = is_merged, keep = is_merged and "all" or "first", accumulator = NOTHING, folded = 0,
      order = false, run = false,
  }, Fold)
  self.numbers_loop, self.numbers_state = make_loop(combine, plan.stop, "numbers")
  self.values_loop, self.values_state = make_loop(combine, plan.stop, "values")
  if not is_merged then self.accumulator = fold_module.fresh(plan.init) end
  return self
end

function Fold:begin(run)
  self.run = run
  self.is_unordered = run.options.ordered == false and not self.is_always_ordered
  if run.options.ordered == false and not self.is_always_ordered then return end
  self.order = order.open({ take = function(_, batch) self:fold(batch) end, fail = function() end }, run,
    self.is_merged and MOST_BLOCKS_AHEAD or MOST_AHEAD)
end

function Fold:ahead() return self.order and self.order:ahead() or math.huge end

function Fold:take(batch)
  if self.is_enough then return end
  if self.order then
    self.order:take(batch)
    self.order.consumer.is_enough = self.is_enough
  else
    self:fold(batch)
  end
end

--- A task in a block is no task of the order.
function Fold:fail(record)
  if self.order and not self.is_merged and not self.is_enough then self.order:fail(record) end
end

--- It was enough at this task (or block).
function Fold:stop_at(index)
  self.is_enough = true
  if self.order then
    self.order.consumer.is_enough = true
    local fold = self.run.fold
    self.limit = fold and fold:last(index) or self.plan.last and self.plan.last() or index
  end
end

--- Folds a batch.
function Fold:fold(batch)
  local numbers, values, first, k, last = batch.numbers, batch.values, batch.first, 0, batch.n - 1
  if not numbers and not values then return end
  if self.accumulator == NOTHING and self.plan.groups then self.accumulator = {} end
  if self.accumulator == NOTHING then
    if numbers then self.accumulator = numbers[0] else self.accumulator = values[0] end
    k = 1
    self.folded = first
    if self.plan.stop and self.plan.stop(self.accumulator) then return self:stop_at(first) end
  end
  local loop, state, list = self.values_loop, self.values_state, values
  if numbers then loop, state, list = self.numbers_loop, self.numbers_state, numbers end
  while k <= last do
    local ok, accumulator, behind, stopped
    if self.plan.is_ready then
      ok, accumulator, behind, stopped = pcall(loop, self.accumulator, list, k, last, first)
    else
      ok, accumulator, behind, stopped = true, loop(self.accumulator, list, k, last, first)
    end
    if ok then
      self.accumulator, k = accumulator, behind
      self.folded = first + k - 1
      if stopped then return self:stop_at(self.folded) end
    else -- a result that a ready reducer can't take
      local message = failure.of_reducer(accumulator)
      local kept, at = state()
      self.accumulator = kept
      k = at + 1
      self.run:refuse(first + at, message)
    end
  end
end

--- The value, before `finish`.
function Fold:value()
  if self.accumulator == NOTHING then return fold_module.fresh(self.plan.init) end
  return self.accumulator
end

return M
