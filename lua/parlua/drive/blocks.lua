--- The driver of reductions with `merge`: what dispatch hands out as a task is a block of tasks, which a worker folds
--- to one value (worker/fold.lua). Batches have blocks in place of tasks: `first` and `n` count blocks, `values` are
--- the blocks' values, `tasks` is the number of tasks that returned. Failures are those of tasks. When a worker is lost
--- in a task of a block, the rest of the block is done again.
local ffi = require "ffi"
local batches = require "parlua.feed.batches"
local block = require "parlua.wire.block"
local failure = require "parlua.failure"
local missing = require "parlua.worker.missing"
local range_tasks = require "parlua.lazy" "parlua.feed.range_tasks"
local supply = require "parlua.feed.supply"
local Base = require "parlua.drive.driver"
require "parlua.wire.shape_read" -- lists of values may come by their shape

local M = {}

local C = ffi.C
local cast = ffi.cast

local Driver = setmetatable({}, { __index = Base })
Driver.__index = Driver
M.Driver = Driver

--- The last task of block b, as far as the number of tasks is known.
local function last_of(self, b)
  local last = self.fold:last(b)
  local puller = self.feeder and self.feeder.puller
  return puller and puller.tasks and math.min(last, puller.tasks) or last
end

--- The failures in a block: they were final for the worker.
local function settle_failures(self, receiver, b, list)
  local fold, behind = self.fold, 0
  self.block = b
  for _, record in ipairs(type(list) == "table" and list or {}) do
    record = failure.sent(record)
    local index, attempts = record.index, record.attempts
    if type(index) ~= "number" or index % 1 ~= 0 or index < fold:first(b) or index > fold:last(b)
      or index <= behind then
      error(("cannot decode the failures of tasks %d to %d: they are damaged"):format(fold:first(b), fold:last(b)), 0)
    end
    behind = index
    receiver:settle(index, failure.plain(record), attempts, self.batch.worker)
  end
end

--- How many tasks of block b were given up when their worker was lost.
local function given_up(self, b)
  local n = 0
  for _, pair in ipairs(self.again and self.again[b] or {}) do
    if pair[2] == 0 then n = n + 1 end
  end
  return n
end

function Driver:give(receiver, batch, first, n, bytes)
  local failed, last = 0, first + n - 1
  for j = 0, n - 1 do
    local tuple = batch.several and batch.several[j]
    if tuple then
      if type(tuple[2]) == "table" then failed = failed + #tuple[2] end
      settle_failures(self, receiver, first + j, tuple[2])
      if tuple[3] then missing.add(tuple[3]) end
    end
    if self.again then failed = failed + given_up(self, first + j) end
  end
  batch.several = false
  batch.first, batch.n, batch.bytes = first, n, bytes
  batch.first_task, batch.last_task = self.fold:first(first), last_of(self, last)
  batch.tasks = batch.last_task - batch.first_task + 1 - failed
  receiver:take(batch)
end

--- Values of whole groups of blocks.
function Driver:dense(receiver, event)
  local out, batch = event.block, self.batch
  if out.kind ~= C.BLOCK_FOLDED then return Base.dense(self, receiver, event) end
  local half = cast(block.halves, out.word)
  batch.numbers, batch.several, batch.second = false, false, false
  batch.values, batch.folded = self:special(out, half, 0, half[1], event.first), event.last
  if type(batch.values) ~= "table" then error("cannot decode values of blocks: they are damaged", 0) end
  self:give(receiver, batch, event.first, event.want, tonumber(out.size))
  batch.folded = false
end

--- A block as a whole fails when `step` raises: that ends the reduction.
function Driver:failure(receiver, index, record, attempt, worker)
  if index == 0 then return Base.failure(self, receiver, index, record, attempt, worker) end
  record = failure.sent(record)
  if record.value ~= nil then receiver:broke(record.value) else receiver:broke(record.message) end
end

function Driver:lose_results(_, _, message) error(message, 0) end -- luacheck: ignore 212

--- The worker of a block was lost in one of its tasks: that is the one which failed. The others of the block are done
--- again.
function Driver:lost(receiver, event)
  receiver:ended_worker(event.worker)
  local b, index, fold, delay = event.first, event.inner, self.fold, 0
  if b == 0 then return end
  self.again = self.again or {}
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
    self.block = b
    local wait = receiver:failed(index, self:lost_record(event), attempt, event.worker)
    pair[2] = wait and attempt + 1 or 0
    delay = wait or 0
  end
  if receiver.cancelled then return end
  self:stage_again(b, again, event.payload)
  self.handle:redo_staged(b, 1, delay)
end

--- Are the arguments of the tasks in a text that workers cut up themselves?
local function is_text(self)
  local puller = self.feeder and self.feeder.puller
  return puller and puller.is_ranges
end

--- What was supplied for a block of tasks.
local function supplied(self, b)
  local held = self.handle.arguments
  if held then return held[b - held.origin + 1][1] end
  return block.arguments(self.event.payload, b)[1]
end

--- Puts by what a worker needs to do block b again.
function Driver:stage_again(b, again, payload)
  local puller = self.feeder and self.feeder.puller
  if puller and not is_text(self) then
    local batch, writer = supplied(self, b), self.feeder.writer
    batch.again = again
    writer:begin(0)
    if not writer:task(0, batch) then writer:task_alone({ n = 1, batch }) end
    writer:finish(1)
    writer.block.origin = b
    return
  end
  if puller then
    local writer, list = self.feeder.writer, range_tasks.list_of(payload)
    local tasks, origin = payload.word[0], payload.origin
    writer:begin(0)
    writer:ranges(tasks, list, again)
    writer:finish(1)
    writer.block.origin = origin
    return
  end
  local staged = cast(block.pointer, self.handle:stage(C.BLOCK_HEAD + 16 * #again))
  for k, pair in ipairs(again) do staged.word[2 * k - 2], staged.word[2 * k - 1] = pair[1], pair[2] end
  staged.count = 2 * #again
end

--- The arguments of task `index`, of the block that the receiver is told of.
function Driver:arguments(index)
  local puller, fold = self.feeder and self.feeder.puller, self.fold
  if not puller then return supply.arguments_of(self.source, nil, nil, index) end
  local payload = self.event.payload
  if is_text(self) then return supply.arguments_of(self.source, puller, payload, index, fold:first(payload.origin)) end
  return batches.arguments(supplied(self, self.block), index - fold:first(self.block) + 1, puller.text
    and function(offset, length)
    return supply.piece_arguments(self.source, puller, index, offset, length)
  end)
end

--- Where it comes from, if it is of a text.
function Driver:place_of(index)
  if not is_text(self) then return nil end
  local payload = self.event.payload
  if payload == nil then return nil end
  return supply.place_of(self.source, self.feeder.puller, payload, index, self.fold:first(payload.origin))
end

--- Tasks behind this one are not wanted: but a block is folded as a whole.
function Driver:shorten(last) self.handle:shorten(self.fold:block_of(last)) end

return M
