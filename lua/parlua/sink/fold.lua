--- The sink of a reduction. Without `merge`, results are folded here, in the order of the tasks. With it, workers fold
--- blocks of tasks (worker/fold.lua), and the blocks' values are merged here: as worker/merging.lua says; or one by
--- one, as they come, where there is `stop`, which is asked behind each, or where order does not matter.
local start = require "parlua.wire.start"
local failure = require "parlua.failure"
local fold_module = require "parlua.worker.fold"
local merging = require "parlua.worker.merging"
local order = require "parlua.sink.order"

local M = {}

-- Tasks (or blocks of tasks) that may be handed out beyond what was folded. Blocks: more where there are many workers.
-- Over MPI their values wait in their ranks to be merged, for up to half a second: when no more blocks may be handed
-- out meanwhile, ranks ask each other for theirs, and what they get stands side by side no more.
local MOST_AHEAD, MOST_BLOCKS_AHEAD, BLOCKS_A_WORKER = 2 ^ 20, 2 ^ 13, 2 ^ 9

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
  return start.compile(loop_text:format(name, name, line), "=parlua.reduce")(step, stop)
end

---@class parlua.FoldSink
local Fold = { name = "reduce", takes_spawned = true, limit = math.huge, is_enough = false }
Fold.__index = Fold

--- Makes the sink.
---@param plan table see sink/plan.lua
---@param is_merged boolean outcomes are blocks of tasks
---@return parlua.FoldSink
function M.open(plan, is_merged)
  local combine, whole = plan.step, nil
  if is_merged then combine, whole = merging.combiner(plan) end
  local self = setmetatable({
    plan = plan, is_merged = is_merged, keep = is_merged and "all" or "first", accumulator = NOTHING, folded = 0,
      is_gathered = not plan.stop, order = false, run = false, whole = whole,
      merging = is_merged and not plan.stop and merging.open(combine),
  }, Fold)
  self.numbers_loop, self.numbers_state = make_loop(combine, plan.stop, "numbers")
  self.values_loop, self.values_state = make_loop(combine, plan.stop, "values")
  if not is_merged then self.accumulator = fold_module.fresh(plan.init) end
  return self
end

function Fold:begin(run)
  self.run = run
  self.is_unordered = run.options.ordered == false and not self.is_always_ordered
  if self.is_unordered then
    self.merging = false
    return
  end
  local most = MOST_AHEAD
  if self.is_merged then most = math.min(math.max(MOST_BLOCKS_AHEAD, BLOCKS_A_WORKER * run.workers), most) end
  self.order = order.open({ take = function(_, batch) self:fold(batch) end, fail = function() end }, run, most)
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

--- A result that a ready reducer can't take: `raised`, of a task or block.
---@param ended? parlua.AsyncTask the task, where the driver can't tell of it any more
function Fold:refuse(index, raised, ended)
  self.run:refuse(index, failure.of_reducer(raised), ended and self.run.driver:about(ended))
end

--- Merges the value of the `size` blocks that end with block `last`.
function Fold:merge(last, size, value)
  local tree = self.merging
  if self.plan.is_ready then
    local ok, raised = pcall(tree.add, tree, last, size, value)
    if not ok then self:refuse(last, raised) end
  else
    tree:add(last, size, value)
  end
end

--- Merges a batch.
function Fold:merge_batch(batch)
  local first, last = batch.first, batch.first + batch.n - 1
  if not batch.folded then
    local list = batch.numbers or batch.values
    for j = 0, last - first do self:merge(first + j, 1, list[j]) end
    return
  end
  local k = 0
  while first <= last do
    local size = merging.part(first, batch.folded)
    k, first = k + 1, first + size
    self:merge(first - 1, size, batch.values[k])
  end
end

--- Folds a batch.
function Fold:fold(batch)
  local numbers, values, first, k, last = batch.numbers, batch.values, batch.first, 0, batch.n - 1
  if not numbers and not values then return end
  if self.merging then return self:merge_batch(batch) end
  if batch.folded then k, last = 1, values.n end
  if self.accumulator == NOTHING then
    if numbers then self.accumulator = numbers[0] else self.accumulator = values[0] end
    if self.whole then self.accumulator = self.whole(self.accumulator) end
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
      local kept, at = state()
      self.accumulator = kept
      k = at + 1
      self:refuse(first + at, accumulator, batch.ended)
    end
  end
end

--- The value, before `finish`.
function Fold:value()
  local is_any, value = self.accumulator ~= NOTHING, self.accumulator
  if self.merging then is_any, value = self.merging:value() end
  if not is_any then return fold_module.fresh(self.plan.init) end
  return self.whole and self.whole(value) or value
end

return M
