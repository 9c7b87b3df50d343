--- reduce, find, any and all: one value of the results of a whole run.
--
-- Without `merge`, results are folded here, in the order of the tasks: those whose turn it is straight out of the block in which they came;
-- those that are ahead wait, as words, and no more is handed out than a window beyond what was folded. With `merge`, workers fold
-- blocks (parlua.fold), and the blocks' values are merged here in the same way.
local ffi = require "ffi"
local block = require "parlua.wire.block"
local batches = require "parlua.feed.batches"
local failure = require "parlua.failure"
local fold_module = require "parlua.worker.fold"
local options_module = require "parlua.options"
local reducers = require "parlua.sink.reducers"
local run_module = require "parlua.run"
local supply = require "parlua.lazy" "parlua.feed.supply"
local task = require "parlua.worker.task"

local M = {}

local C = ffi.C
local cast = ffi.cast
local FAILURE, TUPLE, NIL, LOWEST = C.TAG_FAILURE, C.TAG_TUPLE, C.TAG_NIL, C.TAG_LOWEST

-- Tasks (or blocks of tasks) that may be handed out beyond what was folded, and memory that those ahead of their turn may fill, about.
local default_window, most_bytes = 2 ^ 20, 64 * 2 ^ 20
local blocks_window = 2 ^ 13

local number_pointer = ffi.typeof("double *")

ffi.cdef [[
void *malloc(size_t size);
void free(void *memory);
]]

local LATER, FAILED, NOTHING = {}, {}, {} -- in place of a value: the task is tried again; it failed; nothing was folded yet

-- ---- what to fold ----

local own_fields = { "init", "step", "merge", "stop", "finish", "block" }
local is_own = {}
for _, name in ipairs(own_fields) do is_own[name] = true end

local function check_function(plan, name, is_needed)
  local value = plan[name]
  if value == nil and not is_needed then return end
  local meta = type(value) == "table" and getmetatable(value)
  if type(value) == "function" or meta and meta.__call and not reducers.is(value) then return end
  error(("reduce: %s must be a function%s, got %s"):format(name,
    name == "step" and " (accumulator, result, index)" or "", value == nil and "nothing" or type(value)), 0)
end

--- Sorts what reduce was given into what it is about and the options of a run.
---@return table plan init, step, merge, stop, finish, block
---@return table options
---@param reduction table a reducer, or a table with the reduction's fields or with reducers by name, and options
local function plan_of(reduction, options)
  local plan, rest, named = {}, {}, nil
  if type(reduction) ~= "table" then
    error(("reduce: a reducer, a table with step, or a table of reducers is expected, got %s"):format(
      reduction == nil and "nothing" or type(reduction)), 0)
  end
  if reducers.is(reduction) then
    for name in pairs(is_own) do plan[name] = reduction[name] end
  else
    for name, value in pairs(reduction) do
      if reducers.is(value) then
        named = named or {}
        named[name] = value
      elseif is_own[name] then
        plan[name] = value
      else
        rest[name] = value
      end
    end
  end
  if options ~= nil and type(options) ~= "table" then error("reduce: options must be a table, got " .. type(options), 0) end
  for name, value in pairs(options or {}) do
    if (name == "stop" or name == "block") and plan[name] == nil then plan[name] = value else rest[name] = value end
  end
  if named then
    if plan.step ~= nil then error("reduce: either step or reducers by name, not both", 0) end
    local together = reducers.of(named, "reduce")
    plan.init, plan.step, plan.merge = together.init, together.step, together.merge
    plan.finish = plan.finish or together.finish
  elseif plan.step == nil then
    for name in pairs(rest) do -- a name that is nearly one of ours explains the missing step
      if type(name) == "string" then
        local nearest, errors = options_module.nearest(name, own_fields)
        if errors <= 2 then error(("unknown option %s in the call; did you mean %s?"):format(name, nearest), 0) end
      end
    end
  end
  check_function(plan, "step", true)
  for _, name in ipairs { "merge", "stop", "finish" } do check_function(plan, name) end
  if plan.block ~= nil and (type(plan.block) ~= "number" or plan.block < 1 or plan.block % 1 ~= 0 or plan.block > 2 ^ 30) then
    error(("wrong value for the option block, from the call: %s; it takes an integer from 1 to 2^30"):format(tostring(plan.block)), 0)
  end
  return plan, rest
end
M.plan_of = plan_of

-- ---- folding ----

-- 2 ns a number (bench/reduction.lua). Written for each reduction, so that its trace has the step in it.
local loop_text = [[
local step, stop = ...
return function(accumulator, words, half, k, last, base)
  for k = k, last do
    local tag = half[2 * k + 1]
    if tag < 0 and tag >= %d then return accumulator, k, false end
    accumulator = step(accumulator, words[k], base + k)
%s
  end
  return accumulator, last + 1, false
end]]

local function make_loop(step, stop)
  local line = stop and "    if stop(accumulator) then return accumulator, k, true end" or ""
  return assert(loadstring(loop_text:format(LOWEST, line), "=parlua.reduce"))(step, stop)
end

---@class parlua.Folding
local Folding = {}
Folding.__index = Folding

--- Adds one value; returns true when that is enough.
function Folding:add(value, index)
  if self.accumulator == NOTHING then
    self.accumulator = value
  else
    self.accumulator = self.combine(self.accumulator, value, index)
  end
  self.folded = index
  self.stopped = self.stop ~= nil and self.stop(self.accumulator) and true or false
  return self.stopped
end

--- Folds words k..last, of which word k is of index base + k. `special(k)` gives the value of a word that is no number. Returns the first word
--- that it did not fold: one that is tried again, or the one behind at which it was enough.
function Folding:run_words(words, half, k, last, base, special)
  while k <= last and not self.stopped do
    if self.accumulator == NOTHING then
      local tag = half[2 * k + 1]
      if tag >= 0 or tag < LOWEST then
        self:add(words[k], base + k)
        k = k + 1
      end
    else
      local enough
      self.accumulator, k, enough = self.loop(self.accumulator, words, half, k, last, base)
      self.folded = base + k - 1
      if enough then
        self.stopped, self.folded = true, base + k
        return k + 1
      end
    end
    if k <= last and not self.stopped then
      local tag = half[2 * k + 1]
      if tag < 0 and tag >= LOWEST then
        local value = special(k, tag)
        if value == LATER then return k end
        if value ~= FAILED then self:add(value, base + k) end
        k = k + 1
      end
    end
  end
  return k
end

--- The value of a word of an event's block that is no number. Failures are told of.
function Folding:value_of(out, half, k, tag, index)
  local run = self.run
  if tag == NIL then return nil end
  if run.fold then
    if tag == FAILURE then
      local record = failure.sent(run:special(out, half, k, tag))
      run.broken = record.value ~= nil and record.value or record.message
      run:cancel()
      return FAILED
    elseif tag == TUPLE then
      return self:block_value(index, run:tuple(out, half, k, tag))
    end
  elseif tag == FAILURE then
    return run:task_failed(index, run:special(out, half, k, tag)) and LATER or FAILED
  end
  return run:special(out, half, k, tag)
end

--- A block's value, and the failures in it.
function Folding:block_value(b, tuple)
  local worker, fold, behind = self.run.event.worker, self.run.fold, 0
  for _, record in ipairs(type(tuple[2]) == "table" and tuple[2] or {}) do
    record = failure.sent(record)
    local index, attempts = record.index, record.attempts
    if type(index) ~= "number" or index % 1 ~= 0 or index < fold:first(b) or index > fold:last(b) or index <= behind then
      error(("cannot decode the failures of tasks %d to %d: they are damaged"):format(fold:first(b), fold:last(b)), 0)
    end
    behind = index
    self.run:final_failure(index, failure.plain(record), attempts, worker, self:inner_arguments(b, index))
  end
  return tuple[1]
end

--- The arguments of a task in block b.
function Folding:inner_arguments(b, index)
  local run = self.run
  local puller, payload = run.puller, run.event.payload
  if not puller then return supply.arguments_of(run.source, nil, nil, index) end
  if puller.text and run.source.kind ~= "blocks" then
    return supply.arguments_of(run.source, puller, payload, index, run.fold:first(payload.origin))
  end
  local batch = run:arguments_of_unit(b)[1]
  local k = index - run.fold:first(b) + 1
  return batches.arguments(batch, k, puller.text and function(offset, length)
    return supply.piece_arguments(run.source, puller, index, offset, length)
  end)
end

--- Room for n words that wait. Not of the collector, which lets garbage grow to as much again as what waits: whoever folds the words
--- frees it. Only what a run leaves that was cut off is collected.
local function room_for(n)
  local words = C.malloc(8 * n)
  if words == nil then error("not enough memory", 0) end
  return ffi.gc(cast(number_pointer, words), C.free)
end

--- Keeps words k..last of a block for later.
function Folding:keep(out, half, k, last, base)
  local from = k
  local function put_by(to)
    if to < from then return end
    local n = to - from + 1
    local words = room_for(n)
    ffi.copy(words, out.word + from, 8 * n)
    self.waiting[base + from] = { words = words, n = n, values = self.kept }
    self.kept = nil
  end
  for j = k, last do
    local tag = half[2 * j + 1]
    if tag < 0 and tag >= LOWEST then
      local value = self:value_of(out, half, j, tag, base + j)
      if value == LATER then
        put_by(j - 1)
        from = j + 1
      elseif value ~= nil then
        self.kept = self.kept or {}
        self.kept[j - from] = value
      end
    end
  end
  put_by(last)
end

--- Folds what waits and whose turn has come.
function Folding:drain()
  while not self.stopped do
    local batch = self.waiting[self.turn]
    if not batch then return end
    self.waiting[self.turn] = nil
    local values = batch.values
    self:run_words(batch.words, cast(block.halves, batch.words), 0, batch.n - 1, self.turn, function(k) return values and values[k] end)
    self.turn = self.turn + batch.n
    C.free(ffi.gc(batch.words, nil))
  end
end

--- Takes an event's results.
function Folding:take(event)
  local run, out = self.run, event.block
  local half, first, k, last = cast(block.halves, out.word), event.first, event.from, event.from + event.count - 1
  self:count(first + k, first + last)
  self.bytes_each = 8 + tonumber(out.size - out.floor) / math.max(tonumber(out.count), 1)
  if self.ordered and first + k ~= self.turn then
    self:keep(out, half, k, last, first)
  else
    local base = first
    local function special(at, tag) return self:value_of(out, half, at, tag, base + at) end
    repeat
      k = self:run_words(out.word, half, k, last, base, special)
      if self.ordered then
        self.turn = base + k
        if k <= last and not self.stopped then
          self:keep(out, half, k + 1, last, base) -- behind a task that is tried again
          k = last + 1
        end
      else
        if k <= last then k = k + 1 end
      end
    until k > last or self.stopped
  end
  if self.ordered then
    self:drain()
    self:hold_back()
  end
  return run
end

--- Blocks of tasks: how many tasks have ended.
function Folding:count(first, last)
  local run = self.run
  if not run.fold or last < first then return end
  local most = run.puller and run.puller.tasks or run.fold.n
  run.done = run.done + math.min(run.fold:last(last), most) - run.fold:first(first) + 1
end

--- Lets so much be handed out as the window allows.
function Folding:hold_back()
  local most = self.run.fold and blocks_window or default_window
  local window = self.run.options.window or math.max(4 * self.run.workers, math.floor(math.min(most, most_bytes / self.bytes_each)))
  self.run:raise_ceiling(self.turn - 1 + window)
end

--- Task `index` failed without a result.
function Folding:skip(index)
  if not self.ordered then return end
  if index == self.turn then
    self.turn = index + 1
    self:drain()
    self:hold_back()
  else
    local words = room_for(1)
    cast(block.halves, words)[1] = NIL
    self.waiting[index] = { words = words, n = 1, values = { [0] = FAILED } }
  end
end

--- The worker of block `event.first` was lost in one of its tasks: that is the one which failed. The others of the block are done again.
function Folding:lose_block(event, record)
  local run, b, index = self.run, event.first, event.inner
  local fold, delay = run.fold, 0
  local again = self.again[b] or {}
  self.again[b] = again
  if index >= fold:first(b) and index <= fold:last(b) and index % 1 == 0 then
    local pair
    for _, each in ipairs(again) do
      if each[1] == index then pair = each end
    end
    if not pair then
      pair = { index, 1 }
      again[#again + 1] = pair
    end
    local attempt = pair[2]
    if run:may_retry(record.kind, attempt) then
      pair[2] = attempt + 1
      delay = run:retry_delay(index, attempt)
    else
      pair[2] = 0
      if record.kind == "cancelled" then run.done = run.done + 1 end
      run:final_failure(index, record, attempt, event.worker, self:inner_arguments(b, index))
    end
  end
  if run.cancelled then return end
  self:stage_again(b, again, event.payload)
  run.driver:redo_staged(b, 1, delay)
end

--- Puts by what a worker needs to do block b again.
function Folding:stage_again(b, again, payload)
  local run = self.run
  local puller = run.puller
  if puller and not (puller.text and run.source.kind ~= "blocks") then
    local batch = run:arguments_of_unit(b)[1]
    batch.again = again
    local writer = run.writer
    writer:begin(0)
    if not writer:task(0, batch) then writer:task_alone({ n = 1, batch }) end
    writer:finish(1)
    writer.block.origin = b
    return
  end
  local staged = cast(block.pointer, run.driver:stage(C.BLOCK_HEAD + 8 * (3 + 2 * #again)))
  local n = 0
  if puller then
    for k = 0, 2 do staged.word[k] = payload.word[k] end
    staged.width, staged.origin, n = 1, payload.origin, 3
  end
  for k, pair in ipairs(again) do
    staged.word[n + 2 * k - 2], staged.word[n + 2 * k - 1] = pair[1], pair[2]
  end
  staged.count = n + 2 * #again
end

local function only_up_to(failures, last)
  local kept = {}
  for _, each in ipairs(failures) do
    if each.index <= last then kept[#kept + 1] = each end
  end
  table.sort(kept, function(a, b) return a.index < b.index end)
  return kept
end

--- Steps through a run until it is over or `is_enough` says so, and closes it.
local function go(run, is_enough)
  local ok, message = xpcall(function()
    while run:step() do
      if is_enough() then break end
    end
  end, function(value) return value end)
  run:close()
  if not ok then error(message, 0) end
end

--- Folds f's results to one value.
---@return any value, parlua.Failure[] failures, parlua.Summary summary
function M.reduce(f, arguments, reduction, options, given)
  local plan, rest = plan_of(reduction, options)
  return M.run_plan(f, arguments, plan, rest, given)
end

--- The same reduction for a run with a journal, which records the result of each task: they are folded here, in the blocks in which workers
--- would have folded them, so that the value is the same to the bit.
local function fold_here(plan)
  local fold = fold_module.new { block = plan.block }
  local merge, step, stop = plan.merge, plan.step, plan.stop
  local whole, value, last, merged = NOTHING, NOTHING, 0, 0
  local function close()
    if value == NOTHING then return end
    if whole == NOTHING then whole = value else whole = merge(whole, value) end
    value, merged = NOTHING, last
  end
  local here = { is_whole = false }
  function here.init() return here end
  function here.step(_, v, index)
    if index > last then -- of another block; those before it are whole
      close()
      if stop and whole ~= NOTHING and merged > 0 and stop(whole) then
        here.is_whole = true
        return here
      end
      value, last = fold_module.fresh(plan.init), fold:last(fold:block_of(index))
    end
    value = step(value, v, index)
    if index == last and stop then
      close()
      here.is_whole = stop(whole) and true or false
    end
    return here
  end
  here.stop = stop and function() return here.is_whole end
  --- The last task that went into the value.
  function here.last() return merged end
  function here.finish()
    if not here.is_whole then close() end
    if whole == NOTHING then whole = fold_module.fresh(plan.init) end
    if plan.finish then return plan.finish(whole) end
    return whole
  end
  return here
end

function M.run_plan(f, arguments, plan, options, given)
  local all, here = {}, nil
  for name, value in pairs(given or {}) do all[name] = value end
  all.options = all.options or options_module.resolve(options)
  if plan.merge and all.options.journal and not task.is_inside() then
    here = fold_here(plan)
    plan = here
  end
  if plan.merge then all.fold = fold_module.new { step = plan.step, init = plan.init, block = plan.block } end
  local run = run_module.open(f, arguments, options, plan.merge and "all" or "first", all)
  local folding = setmetatable({
    run = run, ordered = here ~= nil or run.options.ordered ~= false, turn = 1, waiting = {}, again = {}, bytes_each = 8, stopped = false,
    stop = plan.stop, combine = plan.merge or plan.step, folded = 0, accumulator = NOTHING,
  }, Folding)
  folding.loop = make_loop(folding.combine, plan.stop)
  if not plan.merge then folding.accumulator = fold_module.fresh(plan.init) end
  function run.on_results(_, event) folding:take(event) end
  if plan.merge then
    function run.lose(_, event, record) folding:lose_block(event, record) end
  else
    function run.on_lost(_, index) folding:skip(index) end
  end
  if folding.ordered then folding:hold_back() end
  go(run, function() return folding.stopped end)
  local value = folding.accumulator
  if value == NOTHING then value = fold_module.fresh(plan.init) end
  local failures, summary
  if folding.stopped and not run.broken then
    local last = run.fold and run.fold:last(folding.folded) or here and here.last() or folding.folded
    if run.halted and run.halted.index <= last then error(run.halted, 0) end
    failures, summary = folding.ordered and only_up_to(run.failures, last) or run.failures, run:summary()
    summary.enough = true
  else
    failures, summary = run:outcome()
  end
  if plan.finish then value = plan.finish(value) end
  return value, failures, summary
end

-- ---- find, any, all ----

--- Looks for results. `first`: the one with the lowest index; else any will do.
---@param keep "found"|"lacking"
---@return integer? index
---@return any value
local function search(f, arguments, options, given, keep, first)
  local run = run_module.open(f, arguments, options, keep, given)
  local best, found, halted
  local function shorten(index) if first then run.driver:shorten(index) end end
  function run.on_results(_, event)
    local out = event.block
    local half = cast(block.halves, out.word)
    for k = event.from, event.from + event.count - 1 do
      local index, tag = out.word[2 * k], half[4 * k + 3]
      local value = run:special(out, half, 2 * k + 1, tag)
      if tag == FAILURE then
        if not best or index < best then run:task_failed(index, value) end
      elseif not best or index < best then
        best, found = index, value
        shorten(index)
      end
    end
  end
  -- what failed behind the first hit does not count: whether it is seen depends on chance
  if first then
    function run.on_halt(_, failed)
      if halted and halted.index < failed.index then return end
      halted = failed
      shorten(failed.index)
    end
  end
  go(run, function() return best and not first end)
  if best and not run.signal and not run.broken and not (halted and halted.index < best) then
    local summary = run:summary()
    return best, found, only_up_to(run.failures, first and best or 0), summary
  end
  if halted and not run.signal then run.halted = halted end
  local failures, summary = run:outcome()
  return nil, nil, failures, summary
end

--- The first task whose result is neither nil nor false: the one with the lowest index, on every engine.
---@return integer? index nil: there is none
---@return any value
---@return parlua.Failure[] failures of tasks before it
---@return parlua.Summary summary
function M.find(f, arguments, options, given) return search(f, arguments, options, given, "found", true) end

--- Is some result neither nil nor false?
---@return boolean
---@return parlua.Failure[] failures when it is false
---@return parlua.Summary summary
function M.any(f, arguments, options, given)
  local index, _, failures, summary = search(f, arguments, options, given, "found", false)
  return index ~= nil, failures, summary
end

--- Did every task return something that is neither nil nor false? A task that failed did not, nor one that an interruption cut off.
---@return boolean
---@return parlua.Failure[] failures when no result was nil or false
---@return parlua.Summary summary
function M.all(f, arguments, options, given)
  local index, _, failures, summary = search(f, arguments, options, given, "lacking", false)
  return index == nil and #failures == 0 and not summary.interrupted, failures, summary
end

return M
