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
--   broke(message[, worker])                 the whole run is to end with this error, which comes from a worker
--   printed(worker, stream, text)  ended_worker(worker)  tick()  signalled(number)  troubled(errno, ended)
local ffi = require "ffi"
local arrays = require "parlua.array.known"
local failure = require "parlua.failure"
local outcomes = require "parlua.drive.outcomes"
local own = require "parlua.lazy" "parlua.source.own"
local program_errors = require "parlua.lazy" "parlua.failure.program"
local supply = require "parlua.lazy" "parlua.feed.supply"
local writer_module = require "parlua.lazy" "parlua.feed.writer"
require "parlua.wire.header" "run/event.h"

local C = ffi.C
local SPARSE = C.BLOCK_SPARSE
local RESULTS, SUPPLY, LOST, TEXT = C.EVENT_RESULTS, C.EVENT_SUPPLY, C.EVENT_LOST, C.EVENT_TEXT
local STREAM_PROGRAM, STREAM_OUTPUT, STREAM_ERRORS = C.STREAM_PROGRAM, C.STREAM_OUTPUT, C.STREAM_ERRORS
local TICK, SIGNAL, TROUBLE, DONE = C.EVENT_TICK, C.EVENT_SIGNAL, C.EVENT_TROUBLE, C.EVENT_DONE

local FIRST_SPAWNED = 2 ^ 52 -- see worker/spawn.lua
local LATER = 0.01 -- seconds until a source that had nothing yet is asked again
local PATIENCE = 10 -- milliseconds that it is waited for before: who writes steadily is not to find us asleep
local SMALL = 16384 -- bytes of results of which the collector takes no notice

---@class parlua.Driver
local Driver = { new_batch = outcomes.new_batch, special = outcomes.special, tuple = outcomes.tuple,
  give = outcomes.give, dense = outcomes.dense, sparse = outcomes.sparse }
Driver.__index = Driver

--- The fields of a driver.
---@param fields table handle: has next, stage, supply, ... (src/lua/host.c); event: struct event *; source; feeder;
--- timeout. Then `is_patient` may be set: whoever asks waits for many outcomes, and for none in particular
function Driver.new(fields, class)
  fields.batch, fields.is_late, fields.ceiling, fields.is_patient = outcomes.new_batch(), false, math.huge, false
  return setmetatable(fields, class or Driver)
end

--- A task raised: tries it again if the receiver says so.
function Driver:failure(receiver, index, record, attempt, worker)
  record = failure.sent(record)
  if index == 0 then return receiver:broke(record.message, worker) end -- it stands for the job
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
  if self.retried then self.retried = nil end
end

--- An event's tasks fail, whatever they gave.
function Driver:lose_results(receiver, event, message)
  for index = event.last - event.want + 1, event.last do
    self:failure(receiver, index, { kind = "error", message = message }, event.attempt, event.worker)
  end
end

function Driver:results(receiver, event)
  if self.written then self.written[event.worker] = nil end -- a thread that was to be given up has come back
  if event.count == 1 and event.want == 1 and receiver.is_of_futures and event.block.kind ~= SPARSE
    and outcomes.give_one(self, receiver, event) then
    return
  end
  local puller = self.feeder and self.feeder.puller
  local cut = puller and puller.text and event.last < FIRST_SPAWNED and supply.is_cut(self.source, puller, event)
  if cut then return self:lose_results(receiver, event, cut) end
  local batch = self.batch
  batch.attempt, batch.worker, batch.seconds = event.attempt, event.worker, event.seconds
  batch.rows = event.length > 0 and { at = event.bytes, stop = event.bytes + event.length }
  local pace, out = receiver.pace, event.block
  if pace and event.count <= outcomes.FEW and out.size - out.floor < SMALL then pace = nil end
  if pace then pace.hold(receiver) end
  if out.kind == SPARSE then self:sparse(receiver, event) else self:dense(receiver, event) end
  if pace then pace.release(receiver) end
  if puller and puller.is_checked then puller.is_checked = nil end
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
  return { kind = kind, message = message, seconds = event.seconds, value = self:written_by(event.worker) }
end

--- Before a worker is lost whose task was waiting for a program, it is told what that had written.
function Driver:note_written(worker, stream, text)
  self.written = self.written or {}
  if stream == STREAM_PROGRAM then
    local output, errors, name = text:match "^(%d+) (%d+) (.*)$"
    self.written[worker] = { [STREAM_OUTPUT] = {}, [STREAM_ERRORS] = {}, name = name, output = tonumber(output),
      errors = tonumber(errors) }
  else
    table.insert(self.written[worker][stream], text)
  end
end

--- The same as a value of the task's failure; nil: there is none.
function Driver:written_by(worker)
  local written = self.written and self.written[worker]
  if not written then return nil end
  return program_errors.ended(written.name, table.concat(written[STREAM_OUTPUT]), table.concat(written[STREAM_ERRORS]),
    written.output, written.errors)
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
  local kind = handle:next(wait, self.is_patient)
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
    if self.written then self.written[event.worker] = nil end
  elseif kind == TEXT then
    local text = ffi.string(event.bytes, event.length)
    if event.stream >= STREAM_PROGRAM then
      self:note_written(event.worker, event.stream, text)
    else
      receiver:printed(event.worker, event.stream, text)
    end
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

--- The name of the host that a worker is on, and its rank; nil: this one.
function Driver:host(worker)
  if self.engine then return self.engine:host(worker) end
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
