--- A driver gives outcomes of tasks to a receiver, in batches, decoded once. This one turns the events of dispatch into
--- outcomes; serial has the same events. No one above sees an event, a block or a tag.
--
-- A driver has these verbs: step, arguments, host, raise_ceiling, shorten, cancel, abort, close. A receiver (a run) has
-- these:
--
--   waits()                                  the source has nothing yet, and may take its time
--   take(batch)                              tasks that returned
--   failed(index, record, attempt, worker)   a task did not return; answers with the seconds until its next try;
--                                            nil: that was the last
--   settle(index, record, attempts, worker)  the same where nothing is left to decide
--   counted(n)                               the source is at its end: there are n tasks
--   source_failed(record)                    the source raised where it was to give the next task
--   broke(message)                           the whole run is to end with this error
--   printed(worker, stream, text)  ended_worker(worker)  tick()  signalled(number)  troubled(errno, ended)
local ffi = require "ffi"
local arrays = require "parlua.array.known"
local block = require "parlua.wire.block"
local context = require "parlua.wire.context"
local common = require "parlua.common"
local failure = require "parlua.failure"
local own = require "parlua.source.own"
local line = require "parlua.lazy" "parlua.worker.line"
local shape = require "parlua.lazy" "parlua.wire.shape"
local supply = require "parlua.lazy" "parlua.feed.supply"
local writer_module = require "parlua.lazy" "parlua.feed.writer"
local new_table = require "table.new"

---@class parlua.Batch
---@field first integer index of its first task
---@field n integer number of tasks
---@field numbers ffi.cdata*|false double *: numbers[0 .. n - 1] are the results. To be read during the call only
---@field values table|false values[0 .. n - 1], if there are no `numbers`; may be kept. If there are neither, results
--- are not kept
---@field several table|false several[j]: all that task j returned, with a field n, where that is not one value
---@field second table|false second[j]: the second of two values that task j returned, for receivers with `takes_pairs`
---@field lines parlua.Lines|false lines of a job's output in place of results. To be read during the call only
---@field is_void? boolean none of its tasks returned anything but nil: `values` is empty
---@field bytes number memory that the results take, about
---@field tasks integer tasks that returned; n, except for blocks of tasks
---@field first_task? integer of blocks of tasks: the first task
---@field last_task? integer
---@field attempt integer
---@field worker integer
---@field seconds number how long each task took; 0: not known
---@field recorded boolean it comes from a journal

local C = ffi.C
local cast = ffi.cast
local ABSENT = C.TAG_ABSENT
local NIL, TUPLE, FAILURE, LOWEST, SPARSE = C.TAG_NIL, C.TAG_TUPLE, C.TAG_FAILURE, C.TAG_LOWEST, C.BLOCK_SPARSE
local STRING, RECORD, LINE = C.TAG_STRING, C.TAG_RECORD, C.TAG_LINE
local RESULTS, SUPPLY, LOST, TEXT = C.EVENT_RESULTS, C.EVENT_SUPPLY, C.EVENT_LOST, C.EVENT_TEXT
local TICK, SIGNAL, TROUBLE, DONE = C.EVENT_TICK, C.EVENT_SIGNAL, C.EVENT_TROUBLE, C.EVENT_DONE

local const_bytes = ffi.typeof("const char *")

local FEW = 16    -- so many numbers in a row are worth a batch of their own
local FIRST_SPAWNED = 2 ^ 52 -- see worker/spawn.lua
local NOTHING = { n = 0 }
-- Results of tasks in a row that returned nothing, or nil: nobody writes into these.
local NO_VALUES = {}
local ALL_NOTHING = setmetatable({}, { __index = function() return NOTHING end })
local LATER = 0.01 -- seconds until a source that had nothing yet is asked again
local PATIENCE = 10 -- milliseconds that it is waited for before: who writes steadily is not to find us asleep
local SMALL = 16384 -- bytes of results of which the collector takes no notice
local MIXED = 512 -- results of mixed kinds go together in batches of so many

---@class parlua.Driver
local Driver = {}
Driver.__index = Driver

--- An empty batch. A driver fills the same one again and again.
---@return parlua.Batch
function Driver.new_batch()
  return { first = 0, n = 0, numbers = false, values = false, several = false, second = false, lines = false, bytes = 0,
    tasks = 0,    first_task = false, last_task = false,
           attempt = 1, worker = 0, seconds = 0, recorded = false }
end

--- The fields of a driver.
---@param fields table handle: has next, stage, supply, ... (src/lua/host.c); event: struct event *; source; feeder;
--- timeout
function Driver.new(fields, class)
  fields.batch, fields.is_late, fields.ceiling = Driver.new_batch(), false, math.huge
  return setmetatable(fields, class or Driver)
end

-- ---- decoding ----

--- The first word from k on that is no number; last + 1: all are. 0.4 ns a word (bench/decode.lua).
local function plain_until(half, k, last)
  for at = k, last do
    local tag = half[2 * at + 1]
    if tag < 0 and tag >= LOWEST then return at end
  end
  return last + 1
end

--- The first word from k on with another tag. 0.4 ns a word.
local function tag_until(half, k, last, tag)
  for at = k, last do
    if half[2 * at + 1] ~= tag then return at end
  end
  return last + 1
end

--- The books that the values of a task refer to.
local function use_books(self, task)
  context.use(self.chain_of and self.chain_of(task) or self.chain, self.shares)
end

--- The last of the tasks first..last whose values refer to the same books as those of the first.
local function same_books(self, first, last)
  if not self.chain_of then return last end
  local chain, task = self.chain_of(first), first
  while task < last and self.chain_of(task + 1) == chain do task = task + 1 end
  return task
end

--- The value behind a tagged word of a task.
function Driver:special(out, half, k, tag, task)
  use_books(self, task)
  return block.special(out, half, k, tag)
end

--- The values behind a word that stands for several, with n.
function Driver:tuple(out, half, k, tag, task)
  use_books(self, task)
  return common.pack(block.special(out, half, k, tag))
end

--- Decodes strings from word k on. Returns the first word that is none. 45 ns a string of 12 bytes.
local function decode_strings(values, out, size, half, k, last)
  local read = block.string
  for at = k, last do
    if half[2 * at + 1] ~= STRING then return at end
    values[at - k] = read(out, size, half[2 * at])
  end
  return last + 1
end

--- Decodes records from word k on, of one kind: tables of one shape, or two values each, or several values. Returns the
--- first word that is of another.
local function decode_records(batch, values, out, size, half, k, last, takes_pairs)
  local shape_place, n = shape.head_of(out, size, half[2 * k])
  if shape_place ~= 0 then return shape.read(values, out, size, half, k, last) end
  if n == 2 and takes_pairs then
    batch.second = new_table(last - k + 1, 0)
    return shape.read_pairs(values, batch.second, out, size, half, k, last)
  end
  local several, at = {}, k
  repeat
    local tuple = shape.tuple(out, size, half[2 * at])
    several[at - k], values[at - k] = tuple, tuple[1]
    at = at + 1
  until at > last or half[2 * at + 1] ~= RECORD or shape.head_of(out, size, half[2 * at]) ~= 0
  batch.several = several
  return at
end

--- Decodes words k..last up to the first failure, some at most, into the batch; word 0 is of task `first`. Returns the
--- word behind them.
local function decode_mixed(self, batch, out, half, k, last, takes_pairs, first)
  last = math.min(last, k + MIXED - 1)
  local words, values, several, size = out.word, new_table(last - k + 1, 0), false, tonumber(out.size)
  batch.numbers, batch.values, batch.several, batch.second = false, values, false, false
  if half[2 * k + 1] == STRING then return decode_strings(values, out, size, half, k, last) end
  if half[2 * k + 1] == RECORD then
    use_books(self, first + k) -- records may be of a class
    last = same_books(self, first + k, first + last) - first
    return decode_records(batch, values, out, size, half, k, last, takes_pairs)
  end
  local at = k
  while at <= last do
    local tag = half[2 * at + 1]
    if tag >= 0 or tag < LOWEST then
      values[at - k] = words[at]
    elseif tag == FAILURE or tag == RECORD or tag == LINE then
      break
    elseif tag == TUPLE then
      local tuple = self:tuple(out, half, at, tag, first + at)
      several = several or {}
      several[at - k], values[at - k] = tuple, tuple[1]
    elseif tag == STRING then
      values[at - k] = block.string(out, size, half[2 * at])
    elseif tag == ABSENT then
      several = several or {}
      several[at - k] = NOTHING
    elseif tag ~= NIL then
      values[at - k] = self:special(out, half, at, tag, first + at)
    end
    at = at + 1
  end
  batch.several = several
  return at
end

--- Gives a batch of n tasks to the receiver.
function Driver:give(receiver, batch, first, n, bytes)
  batch.first, batch.n, batch.tasks, batch.bytes = first, n, n, bytes
  receiver:take(batch)
end

--- A task raised: tries it again if the receiver says so.
function Driver:failure(receiver, index, record, attempt, worker)
  record = failure.sent(record)
  if index == 0 then return receiver:broke(record.message) end -- it stands for the job
  local pace = receiver.pace_count and receiver.pace -- the script's own function may be asked: then the collector runs
  if pace then pace.release(receiver) end
  local delay = receiver:failed(index, record, attempt, worker)
  if pace then pace.hold(receiver) end
  if not delay then return end
  self.retried = self.retried or {}
  self.retried[index] = true
  self.handle:redo(index, attempt + 1, delay)
end

--- Tasks have ended: what was kept for them is let go of, except for those that are to be tried again.
local function release(self, first, last)
  local writer = self.feeder and self.feeder.writer
  if writer and writer.held then writer:release(first, last, self.retried) end
  self.retried = nil
end

--- The result of one task, where it is nothing, or one value that needs no book: many calls of pools give such. Returns
--- whether it was. No loop is entered, so that this is compiled with what asked for it.
local function give_one(self, receiver, event)
  local out, k = event.block, event.from
  local half = cast(block.halves, out.word)
  local tag, value = half[2 * k + 1], nil
  if tag >= 0 or tag < LOWEST then
    value = out.word[k]
  elseif tag == STRING then
    value = block.string(out, tonumber(out.size), half[2 * k])
  elseif tag ~= NIL and tag ~= ABSENT then
    return false
  end
  receiver:take_one(event.first + k, value, tag == ABSENT)
  return true
end

--- Results that come one after the other, a word each.
function Driver:dense(receiver, event)
  local out, batch = event.block, self.batch
  local words, half, first = out.word, cast(block.halves, out.word), event.first
  local k, last = event.from, event.from + event.count - 1
  local each = 8 + tonumber(out.size - out.floor) / math.max(out.count, 1)
  while k <= last do
    local stop = plain_until(half, k, last)
    if stop > last or stop - k >= FEW then
      batch.numbers, batch.values, batch.several, batch.second = words + k, false, false, false
      self:give(receiver, batch, first + k, stop - k, 8 * (stop - k))
      k = stop
    elseif half[2 * k + 1] == FAILURE then
      local record = self:special(out, half, k, FAILURE, first + k)
      self:failure(receiver, first + k, record, event.attempt, event.worker)
      k = k + 1
    elseif half[2 * k + 1] == LINE then
      stop = line.check(out, tonumber(out.size), half, k, last)
      batch.numbers, batch.values, batch.several, batch.second = false, false, false, false
      batch.lines = { from = cast(const_bytes, out), half = half + 2 * k }
      self:give(receiver, batch, first + k, stop - k, each * (stop - k))
      batch.lines = false
      k = stop
    else
      stop = k
      local tag = half[2 * k + 1]
      if tag == ABSENT or tag == NIL then stop = tag_until(half, k, last, tag) end
      if stop - k >= FEW then
        batch.numbers, batch.values, batch.second, batch.is_void = false, NO_VALUES, false, true
        batch.several = tag == ABSENT and ALL_NOTHING
        self:give(receiver, batch, first + k, stop - k, each * (stop - k))
        batch.is_void = false
      else
        stop = decode_mixed(self, batch, out, half, k, last, receiver.takes_pairs, first)
        self:give(receiver, batch, first + k, stop - k, each * (stop - k))
      end
      k = stop
    end
  end
end

--- Tasks first..last returned, and nothing of it is kept. Failures among them may have been told before.
local function give_empty(self, receiver, first, last)
  local batch, told = self.batch, self.told
  while told and first <= last do
    local stop = first
    while stop <= last and not told[stop] do stop = stop + 1 end
    if stop > first then
      batch.numbers, batch.values, batch.several, batch.second = false, false, false, false
      self:give(receiver, batch, first, stop - first, 0)
    end
    told[stop] = nil
    first = stop + 1
    if next(told) == nil then told, self.told = nil, nil end
  end
  if first > last then return end
  batch.numbers, batch.values, batch.several, batch.second = false, false, false, false
  self:give(receiver, batch, first, last - first + 1, 0)
end

--- Results of which only some are kept: failures, or what is looked for. They come as pairs of an index and a result.
function Driver:sparse(receiver, event)
  local out, batch = event.block, self.batch
  local words, half, place = out.word, cast(block.halves, out.word), event.last - event.want + 1
  local last = event.last
  for k = event.from, event.from + event.count - 1 do
    local index, tag = words[2 * k], half[4 * k + 3]
    if index >= place and index <= last then
      if index > place then give_empty(self, receiver, place, index - 1) end
      place = index + 1
    elseif index > last then -- the event does not tell yet that it has ended
      self.told = self.told or {}
      self.told[index] = true
    end
    if tag == FAILURE then
      local record = self:special(out, half, 2 * k + 1, tag, index)
      self:failure(receiver, index, record, event.attempt, event.worker)
    else
      batch.numbers, batch.several, batch.second = false, false, false
      batch.values = { [0] = self:special(out, half, 2 * k + 1, tag, index) }
      self:give(receiver, batch, index, 1, 8)
    end
  end
  if place <= last then give_empty(self, receiver, place, last) end
end

--- An event's tasks fail, whatever they gave.
function Driver:lose_results(receiver, event, message)
  for index = event.last - event.want + 1, event.last do
    self:failure(receiver, index, { kind = "error", message = message }, event.attempt, event.worker)
  end
end

function Driver:results(receiver, event)
  if event.count == 1 and event.want == 1 and receiver.is_of_futures and event.block.kind ~= SPARSE
    and give_one(self, receiver, event) then
    return
  end
  local puller = self.feeder and self.feeder.puller
  local cut = puller and puller.text and event.last < FIRST_SPAWNED and supply.is_cut(self.source, puller, event)
  if cut then return self:lose_results(receiver, event, cut) end
  local batch = self.batch
  batch.attempt, batch.worker, batch.seconds = event.attempt, event.worker, event.seconds
  local pace, out = receiver.pace, event.block
  if pace and event.count <= FEW and out.size - out.floor < SMALL then pace = nil end
  if pace then pace.hold(receiver) end
  if out.kind == SPARSE then self:sparse(receiver, event) else self:dense(receiver, event) end
  if pace then pace.release(receiver) end
  release(self, event.last - event.want + 1, event.last)
end

-- ---- workers that were lost ----

local causes = {
  [C.LOST_TIMEOUT] = function(self) return "timeout", ("the task took more than %g s"):format(self.timeout or 0) end,
  [C.LOST_CANCELLED] = function() return "cancelled", "the run was cancelled" end,
  [C.LOST_MEMORY] = function(_, status)
    if status == 9 then return "memory", "the kernel ended the worker, as memory ran out" end -- SIGKILL
    return "memory", "not enough memory"
  end,
  [C.LOST_CRASH] = function(_, status) return "crash", failure.status_text(status) end,
}

--- The record of the task in which a worker was lost.
function Driver:lost_record(event)
  local cause = causes[tonumber(event.cause)]
  local kind, message
  if cause then
    kind, message = cause(self, event.status)
  else
    kind, message = "crash", "the worker has overwritten memory that it shares with the coordinator"
  end
  return { kind = kind, message = message, seconds = event.seconds }
end

function Driver:lost(receiver, event)
  receiver:ended_worker(event.worker)
  if event.first ~= 0 then
    self:failure(receiver, event.first, self:lost_record(event), event.attempt, event.worker)
    release(self, event.first, event.first)
  end
end

-- ---- the verbs ----

--- Waits for the next outcomes, at most so many seconds, and gives them to the receiver. Returns false when the run is
--- over; "idle" when nothing has come.
---@param receiver table see the head of this file
---@param wait? number default: as long as it takes
---@return boolean|"idle"
function Driver:step(receiver, wait)
  local handle, event = self.handle, self.event
  local is_late = self.is_late
  if is_late then wait = math.min(wait or LATER, LATER) end
  local kind = handle:next(wait)
  if is_late then -- it is asked again
    self.is_late = false
    handle:raise_ceiling(self.ceiling)
  end
  if kind == RESULTS then
    self:results(receiver, event)
  elseif kind == SUPPLY then
    if self.feeder:is_late(self.engine and PATIENCE or 0) then
      if receiver.waits then receiver:waits() end
      if self.engine then -- what ends meanwhile is told
        self.is_late = true
        handle:raise_ceiling(self.feeder.supplied or 0)
        return true
      end
    end
    self.feeder:supply(self, receiver, event.want, event)
  elseif kind == LOST then
    self:lost(receiver, event)
  elseif kind == TEXT then
    receiver:printed(event.worker, event.stream, ffi.string(event.bytes, event.length))
  elseif kind == TICK then
    receiver:tick()
    return "idle"
  elseif kind == SIGNAL then
    receiver:signalled(event.status)
  elseif kind == TROUBLE then
    receiver:troubled(event.status, event.ended)
  elseif kind == DONE then
    return false
  end
  return true
end

--- The arguments of a task, with n. To be asked while the receiver is told of that task.
function Driver:arguments(index)
  local held = self.handle.arguments
  if held then return own.own_all(held[index - held.origin + 1]) end
  local payload = self.event.payload
  return supply.arguments_of(self.source, self.feeder and self.feeder.puller, payload ~= nil and payload or nil, index)
end

--- Where a task's argument comes from, if it is of a text: the path of the file, and the line. To be asked as
--- `arguments` is.
function Driver:place_of(index)
  local payload = self.event.payload
  return supply.place_of(self.source, self.feeder and self.feeder.puller, payload ~= nil and payload or nil, index)
end

--- The task that has run for longest: index, seconds, worker; nil where that is not known. Of blocks of tasks, the task
--- in the block.
function Driver:longest()
  if self.handle.longest then return self.handle:longest() end
end

--- The name of the host that a worker is on; nil: this one.
function Driver:host(worker)
  return self.engine and self.engine:host(worker)
end

--- Hands out calls that tasks have spawned, as tasks from `first` on.
---@param calls {call: table}[] call: { n, key, root, depth, f, arguments... }
function Driver:push_calls(first, calls)
  local handle = self.handle
  self.writer = self.writer or writer_module.open(handle, self.chain, self.shares)
  local writer, k = self.writer, 1
  while k <= #calls do
    local from = k
    writer:begin(0)
    while calls[k] and writer:task(k - from, unpack(calls[k].call, 1, calls[k].call.n)) do k = k + 1 end
    if k == from then
      writer:task_alone(calls[k].call)
      k = k + 1
    end
    writer:finish(k - from)
    for at = from, k - 1 do calls[at].arrays = arrays.sent end -- workers open them when they come to the task
    arrays.sent = false
    handle:push_range(first + from - 1, k - from)
  end
end

--- Lets tasks up to this one be handed out.
function Driver:raise_ceiling(last)
  self.ceiling = last
  if not self.is_late then self.handle:raise_ceiling(last) end
end

--- Tasks behind this one are not wanted: they are not begun, and end where that is possible.
function Driver:shorten(last) self.handle:shorten(last) end

--- Nothing more is handed out, and what runs is ended.
function Driver:cancel() self.handle:cancel() end

--- Ends one task, if its engine can. Returns whether that was possible.
function Driver:abort(index)
  return self.handle.abort ~= nil and self.handle:abort(index) or false
end

--- Gives everything back. Returns whether the run was this process's to close; then workers that could not be started,
--- and the errno.
function Driver:close() return self.handle:close() end

return Driver
