--- Results as they come, in order or not: imap, and what a job's output is made from. Batches of results that are ahead of their turn wait;
--- no more is handed out than `window` tasks beyond what the consumer has taken.
local ffi = require "ffi"
local block = require "parlua.wire.block"
local run_module = require "parlua.run"

local M = {}

local C = ffi.C
local cast = ffi.cast
local FAILURE, TUPLE, LOWEST = C.TAG_FAILURE, C.TAG_TUPLE, C.TAG_LOWEST

-- Tasks that may be handed out beyond what was taken, when the caller does not say: a few milliseconds of the smallest tasks.
local default_window = 200000
local BLOCK_WORDS = 8

-- Results that wait for their turn may fill about so much memory.
local most_bytes = 64 * 2 ^ 20

local LATER, FAILED = {}, {} -- in place of a result: the task is tried again; it failed

---@class parlua.Stream
---@field failures parlua.Failure[] so far
local Stream = {}
Stream.__index = Stream
Stream.is_stream = true

--- Copies an event's results into a batch.
---@return table batch first: index of its first task; n; at: how many were taken; values[0 ..]; tuples[j]: several results; arguments[j]
local function take_batch(stream, event)
  local run, out = stream.run, event.block
  local half, words = cast(block.halves, out.word), out.word
  local first, n, from = event.first + event.from, event.count, event.from
  local values = {}
  local batch = { first = first, n = n, at = 0, values = values }
  for j = 0, n - 1 do
    local k = from + j
    local tag = half[2 * k + 1]
    if tag >= 0 or tag < LOWEST then
      values[j] = words[k]
    elseif tag == TUPLE then
      batch.tuples = batch.tuples or {}
      batch.tuples[j] = run:tuple(out, half, k, tag)
    elseif tag == FAILURE then
      values[j] = run:task_failed(first + j, run:special(out, half, k, tag)) and LATER or FAILED
    else
      values[j] = run:special(out, half, k, tag)
    end
  end
  if stream.with_arguments and run.puller then
    batch.arguments = {}
    for j = 0, n - 1 do batch.arguments[j] = run:arguments_of(first + j) end
  end
  stream.bytes_a_task = (BLOCK_WORDS + tonumber(out.size - out.floor)) / math.max(tonumber(out.count), 1)
  return batch
end

M.take_batch, M.LATER, M.FAILED = take_batch, LATER, FAILED

-- The batch in which a task was tried first may itself still wait: what became of a further try stands beside it.
local function add_batch(stream, batch)
  if stream.ordered then
    local place = stream.run.event.attempt > 1 and stream.redone or stream.waiting
    place[batch.first] = batch
  else
    stream.queue[#stream.queue + 1] = batch
  end
end

-- Not closures of their stream, nor is its iterator: a trace that has called a closure keeps it, and then the stream would never be collected.

local function take_results(run, event)
  if event.block.kind == C.BLOCK_SPARSE then return run_module.take_sparse(run, event) end
  add_batch(run.stream, take_batch(run.stream, event))
end

local function take_failure(run, failed)
  if run.stream.with_arguments then run.stream.by_index[failed.index] = failed end
end

local function take_lost(run, index)
  add_batch(run.stream, { first = index, n = 1, at = 0, values = { [0] = FAILED } })
end

--- Opens a stream of f's results over the arguments.
---@param keep "first"|"all"
---@param given? table see parlua.run
function M.open(f, arguments, options, keep, given)
  local run = run_module.open(f, arguments, options, keep, given)
  local stream = setmetatable({
    run = run, ordered = run.options.ordered ~= false, waiting = {}, redone = {}, queue = {}, turn = 1, taken = 0, by_index = {},
    failures = run.failures, bytes_a_task = 8, window = run.options.window,
  }, Stream)
  run.stream, run.on_results, run.on_failure, run.on_lost = stream, take_results, take_failure, take_lost
  -- a loop that is left early forgets its stream: workers and terminal are given back when that is collected
  stream.guard = newproxy(true)
  getmetatable(stream.guard).__gc = function() run:close() end
  stream:hold_back()
  return stream
end

--- Lets so many tasks be handed out as the window allows.
function Stream:hold_back()
  local window = self.window
    or math.max(4 * self.run.workers, math.floor(math.min(default_window, most_bytes / self.bytes_a_task)))
  self.run:raise_ceiling((self.ordered and self.turn - 1 or self.taken) + window)
end

--- Takes the batch that begins with task `first`, if it is there.
function Stream:take_waiting(first)
  local place = self.waiting[first] and self.waiting or self.redone
  local batch = place[first]
  place[first] = nil
  return batch
end

--- Lets the run go on. Meanwhile the script is in the call; in the body of its loop it is not.
function Stream:step()
  local run = self.run
  run:resume()
  local more = run:step()
  if self.is_loop then run:pause(true) end
  return more
end

--- The batch whose turn it is, waiting for it; nil: the run is over.
function Stream:next_batch()
  self.batch = nil
  self:hold_back()
  while true do
    local batch
    if self.ordered then
      batch = self:take_waiting(self.turn)
    else
      batch = table.remove(self.queue, 1)
    end
    if batch then
      self.batch = batch
      return batch
    end
    if self.over then
      local nearest -- tasks that a cancelled run cut off leave gaps
      for _, place in ipairs { self.waiting, self.redone } do
        for first in pairs(place) do nearest = math.min(first, nearest or first) end
      end
      if not nearest then return nil end
      self.turn = nearest
    elseif not self:step() then
      self.over = true
    end
  end
end

--- The result of task `index` that was to be tried again: waits for it. Returns the batch that holds it, or nil when it was cut off.
function Stream:late(index)
  while true do
    local batch = self.redone[index]
    self.redone[index] = nil
    if batch and batch.values[0] ~= LATER then return batch end
    if self.over then return nil end
    if not batch and not self:step() then self.over = true end
  end
end

--- Takes the next task's outcome: index, the batch that holds it and its place there; nil at the end.
function Stream:take()
  while true do
    local batch = self.batch
    if not batch or batch.at >= batch.n then batch = self:next_batch() end
    if not batch then return nil end
    local j = batch.at
    local index = batch.first + j
    batch.at = j + 1
    self.turn, self.taken = index + 1, self.taken + 1
    if batch.values[j] ~= LATER then return index, batch, j end
    self.taken = self.taken - 1
    if self.ordered then
      local late = self:late(index)
      if late then
        self.taken = self.taken + 1
        return index, late, 0
      end
    end
  end
end

--- Ends the run, whatever its state; safe to call twice.
function Stream:close() self.run:close() end

---@return parlua.Summary
function Stream:summary() return self.run:summary() end

--- Closes a stream that came to its end; raises what the run raises.
local function finish(stream)
  stream:close()
  stream.run:outcome()
  return nil
end

local function guard(stream, ok, ...)
  if ok then return ... end
  stream:close()
  error((...), 0)
end

local function step_iterator(stream)
  if stream.run.closed then return nil end
  while true do
    local index, batch, j = stream:take()
    if not index then return finish(stream) end
    local value = batch.values[j]
    if batch.tuples and batch.tuples[j] then
      local tuple = batch.tuples[j]
      return index, unpack(tuple, 1, tuple.n)
    elseif value ~= FAILED then
      return index, value
    end
  end
end

--- A stream is its own iterator: the next task's index and results. The common case goes without a protected call.
function Stream.__call(stream)
  local batch = stream.batch
  if batch and batch.at < batch.n and not batch.tuples then
    local j = batch.at
    local value = batch.values[j]
    if value ~= FAILED and value ~= LATER then
      batch.at = j + 1
      local index = batch.first + j
      stream.turn, stream.taken = index + 1, stream.taken + 1
      return index, value
    end
  end
  return guard(stream, pcall(step_iterator, stream))
end

function M.imap(f, arguments, options, given)
  local stream = M.open(f, arguments, options, "all", given)
  stream.is_loop = true
  stream.run:pause(true)
  return stream, stream
end

--- Runs f over the arguments and calls visit(index, args, result, failure) for each task, in order unless `ordered` is false. If visit
--- returns false the run ends quietly.
---@return parlua.Failure[] failures, parlua.Summary summary
function M.outcomes(f, arguments, options, visit, given)
  local stream = M.open(f, arguments, options, "first", given)
  stream.with_arguments = true
  local run = stream.run
  local stopped = false
  local ok, message = xpcall(function()
    while true do
      local index, batch, j = stream:take()
      if not index then return end
      local value = batch.values[j]
      local answer
      if value == FAILED then
        local failed = stream.by_index[index]
        stream.by_index[index] = nil
        answer = visit(index, failed.args, nil, failed)
      else
        local arguments_of_task = batch.arguments and batch.arguments[j] or run:arguments_of(index)
        answer = visit(index, arguments_of_task, value, nil)
      end
      if answer == false then
        stopped = true
        return
      end
    end
  end, function(e) return type(e) == "string" and debug.traceback(e, 2) or e end)
  stream:close()
  if not ok then error(message, 0) end
  if stopped then return run.failures, run:summary() end
  return run:outcome()
end

return M
