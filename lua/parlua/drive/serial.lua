--- The serial driver: runs the tasks in the coordinator's own state, by the same loop as a worker. What stands here has
--- the methods of a run of src/lua/host.c, and gives the same events; values stay in a table of their own, and a word
--- tells the place.
local ffi = require "ffi"
local block = require "parlua.wire.block"
local host = require "parlua.host"
local later = require "parlua.drive.later"
local library = require "parlua.worker.library"
local local_values = require "parlua.drive.local"
local own = require "parlua.source.own"
local runner = require "parlua.worker.runner"
local skips = require "parlua.drive.skips"
local task = require "parlua.task"
require "parlua.feed.supply" -- what a failure needs: a task of this state may lose the ways to find modules
local Base = require "parlua.drive.driver"
local blocks = require "parlua.lazy" "parlua.drive.blocks"
local log = require "parlua.lazy" "parlua.worker.log"
require "parlua.wire.header" "run/event.h"
require "parlua.wire.header" "lua/ffi_serial.h"

local M = {}

local C = ffi.C
local LOCAL, FAILURE = C.TAG_LOCAL, C.TAG_FAILURE

local chunk_seconds = 1e-3 -- tasks run between two looks at signals and at the consumer
local tick_seconds = 0.1
local MOST_SUPPLIED = 64   -- tasks that are taken from a source at once: a generator runs no further ahead

local Run = {}
Run.__index = Run

--- The value of a tagged word of one of the run's blocks.
function Run:special(out, half, k, tag)
  if tag == LOCAL or tag == FAILURE or tag == C.TAG_TUPLE or tag == C.TAG_VALUE then return self.values[half[2 * k]] end
  return block.special(out, half, k, tag)
end

local function open(job, options)
  local slot = ffi.new("struct slot")
  local run = setmetatable({
    slot = slot, limit = slot.limit, options = options, halts = options.halts, total = options.total, next_task = 1,
    size = options.chunk > 0 and options.chunk or 1, ceiling = math.huge, ready = {}, free = {}, values = {},
      again = {}, skips = {}, skips_at = 1,
    events = ffi.new("struct event"), last_tick = host.now(), staged = nil,
  }, Run)
  run.key = task.key_number(options.key)
  if job.source.kind == "local" then job.source.run = run end
  job.run, run.extra, run.extra_first, run.extra_last = run, {}, 1, 0
  run.spawn_send = options.spawned and function(index, ...)
    own.enter(run.own)
    options.spawned(index, own.pack(...))
  end or nil
  if run.total < 0 then run.total = math.huge end
  run.unknown = options.total < 0
  run.outlet = local_values.outlet(run)
  run.job = job
  run.index_cell = runner.index_cell(ffi.cast("struct slot *", slot), job)
  if job.tag then
    run.tags = host.tag(run.index_cell)
    function run.log_untagged(text) -- lines of the log name the task themselves
      local output, errors = run.tags(false, "held")
      log.write(text, options.log)
      run.tags(true, output, errors)
    end
  end
  run.runner = runner.open(job, ffi.cast("struct slot *", slot), run.outlet)
  run.own = own.look(job.f, job.setup, not task.is_inside())
  runner.prepare(job)
  run.open_signals = not task.is_worker -- one leaves the signals of the program alone: it may be a thread of it
  run.is_nested = task.is_inside()
  if run.open_signals then C.signals_serial(1) end
  return run
end

local function special(self, out, half, k, tag) return self.handle:special(out, half, k, tag) end

local Driver = setmetatable({ special = special, tuple = special }, { __index = Base })
Driver.__index = Driver

--- Calls that tasks have spawned, as tasks from `first` on.
function Driver:push_calls(first, calls)
  local run = self.handle
  for k, made in ipairs(calls) do
    run.extra_last = run.extra_last + 1
    run.extra[run.extra_last] = { task = first + k - 1, call = made.call }
    run:look_at(made.call[4])
  end
end

--- The first call that waits; nil: there is none.
function Run:take_extra()
  local extra = self.extra[self.extra_first]
  if not extra then return nil end
  self.extra[self.extra_first] = nil
  self.extra_first = self.extra_first + 1
  return extra
end

local BlocksDriver -- made when it is first needed

--- Opens a serial run.
---@param job parlua.Job
---@param given table key, total (tasks or blocks; -1: supplied), chunk (0: measured), source, feeder, halts (a
--- function: is the run to say, after a
--- failure of such a kind at such a try, whether it goes on before the next task is begun?)
---@return parlua.Driver
function M.open(job, given)
  local handle = open(job, given)
  local class = Driver
  if job.fold then
    BlocksDriver = BlocksDriver or setmetatable({ special = special, tuple = special }, { __index = blocks.Driver })
    BlocksDriver.__index = BlocksDriver
    class = BlocksDriver
  end
  return Base.new({ handle = handle, event = handle.events, source = given.source, feeder = given.feeder,
    fold = job.fold }, class)
end

function Run:stage(bytes)
  local size = math.max(bytes or 0, C.BLOCK_BYTES)
  if not self.staged or self.staged_size < size then
    self.staged, self.staged_size = ffi.new("char[?]", size), size
  end
  local staged = ffi.cast(block.pointer, self.staged)
  staged.size, staged.floor = size, size
  return staged
end

local function plain_chunk(run)
  run.plain = run.plain or ffi.new("struct block")
  return run.plain
end

--- Runs tasks first..last; what they gave stands in self.ready.
function Run:run_chunk(chunk, first, last, attempt)
  local began = host.now()
  local asked = self.asked or began -- the source's time counts as well: a slow one is not to be read far ahead
  self.asked = nil
  self.lap = began
  self.attempt = attempt
  chunk.first, chunk.last, chunk.attempt, chunk.key = first, last, attempt, self.key
  self.limit[0] = self.cancelled and -1 or last
  self.values, self.reached, self.is_halted, self.rest = {}, first - 1, false, nil
  local cell = self.open_signals and C.signals_watch(self.limit)
  local not_copied = own.enter(self.own)
  local before, shared, level = task.enter(self.index_cell, 1), library.shares_stdin, task.log_level
  library.shares_stdin, task.log_level = self.job.stdin, task.log_levels[self.job.log_level or "info"]
  local send, tell = task.log_send, task.progress_send
  local spawn_send, refusal = task.spawn_send, task.spawn_refusal
  task.spawn_send, task.spawn_refusal = self.spawn_send, self.job.spawn_refusal or nil
  task.progress_send = not self.is_nested and self.options.tell_part or nil
  if self.tags then
    self.tags(true)
    task.log_send = send or self.log_untagged
  end
  -- through C: a task can't yield to whoever called the script's function
  local ok, message = host.call(self.runner, chunk, self.limit)
  if self.tags then self.tags(false) end
  task.log_send, task.progress_send = send, tell
  task.spawn_send, task.spawn_refusal = spawn_send, refusal
  task.leave(before)
  own.enter(not_copied)
  library.shares_stdin, task.log_level = shared, level
  if self.open_signals then C.signals_watch(cell) end
  if not ok then error(message, 0) end
  if self.is_halted and self.reached < last then
    self.rest = { chunk = chunk, first = self.reached + 1, last = last }
  end
  local n, now = last - first + 1, host.now()
  self.seconds_each = (now - began) / n
  if self.options.chunk == 0 and n >= math.min(self.size, self.unknown and MOST_SUPPLIED or math.huge) then
    local each = math.max((now - asked) / n, 1e-15)
    self.size = math.max(1, math.min(math.floor(chunk_seconds / each), n * 8,
      self.sparse and 2 ^ 30 or local_values.MOST_TASKS))
  end
end

function Run:supply(count)
  local first, chunk = self.next_task, plain_chunk(self)
  if self.staged then
    chunk = ffi.cast(block.pointer, self.staged)
    chunk.origin = first
    self.payload = chunk
  end
  if self.arguments then self.arguments.origin = first end
  self.next_task = first + count
  self:run_chunk(chunk, first, first + count - 1, 1)
end

--- What this function has captured is not copied either: a call of a pool. Returns its arguments as they are now.
function Run:look_at(f, args) return own.add(self.own, f, args) end

--- Tasks first..last are not to be run. Ranges come in ascending order.
function Run:skip(first, last)
  self.skips[#self.skips + 1] = { first, last }
  self:pass_skipped()
end

Run.pass_skipped = skips.pass

function Run:exhausted() self.total = self.next_task - 1 end

function Run:redo(index, attempt, delay)
  local again = { task = index, attempt = attempt, at = host.now() + delay, payload = nil }
  if self.staged then -- it is used again: keep this task's arguments
    again.bytes = ffi.new("char[?]", self.staged_size)
    ffi.copy(again.bytes, self.staged, self.staged_size)
  end
  again.arguments = self.arguments
  later.push(self.again, again)
end

function Run:redo_staged() error("a block of tasks is not lost in serial runs") end

--- Tasks behind `last` are not wanted.
function Run:shorten(last)
  self.total = math.min(self.total, last)
  self.extra = {}
  if self.rest then
    self.rest.last = math.min(self.rest.last, last)
    if self.rest.first > last then self.rest = nil end
  end
  local kept = {}
  for _, again in ipairs(self.again) do
    if again.task <= last then later.push(kept, again) end
  end
  self.again = kept
end

function Run:raise_ceiling(last) self.ceiling = last end

function Run:cancel() self.cancelled = true end

function Run:close()
  if self.open_signals then C.signals_serial(0) end
  if self.open_signals and self.is_nested and self.signal then C.signals_again(self.signal) end
  self.open_signals = false
  -- compiled traces of the job's loop may hold this run for long, but are not to hold what its tasks returned
  self.values, self.ready, self.free, self.again, self.delivered = {}, {}, {}, {}, nil
  return true
end

--- Takes the next task that is due to be tried again, waiting for it a little where nothing else is left.
function Run:take_again(wait)
  if #self.again == 0 then return nil end
  local pause = self.again[1].at - host.now()
  if pause > 0 then
    if not wait then return nil end
    host.sleep(math.min(pause, 0.02)) -- then signals are looked at again
    if pause > 0.02 then return nil end
  end
  return later.pop(self.again)
end

local function give_back(run)
  local last = run.delivered
  if last then
    run.free[#run.free + 1] = last.memory
    run.delivered = nil
  end
end

function Run:next(wait)
  local event = self.events
  give_back(self)
  while true do
    local ready = table.remove(self.ready, 1)
    if ready then
      self.delivered = ready
      event.kind = C.EVENT_RESULTS
      event.block, event.first, event.from, event.count = ready.block, ready.block.first, 0, ready.block.count
      event.want, event.worker, event.attempt = ready.fresh, 1, self.attempt
      event.payload = self.payload
      event.last, event.seconds = ready.block.last, self.seconds_each
      return C.EVENT_RESULTS
    end
    local signal = self.open_signals and C.signals_pending() or 0
    if signal ~= 0 then
      self.signal = signal
      event.kind, event.status = C.EVENT_SIGNAL, signal
      return C.EVENT_SIGNAL
    end
    local now = host.now()
    if now - self.last_tick > tick_seconds or wait == 0 then
      self.last_tick = now
      return C.EVENT_TICK
    end
    if self.cancelled then return C.EVENT_DONE end
    local rest = self.rest
    local more = self.next_task <= self.total and self.next_task <= self.ceiling
    local extra = not rest and not more and self:take_extra()
    local again = not rest and not extra and self:take_again(not more)
    if rest then
      self:run_chunk(rest.chunk, rest.first, rest.last, self.attempt)
    elseif again then
      local chunk = plain_chunk(self)
      self.arguments = again.arguments
      if again.bytes then
        self.staged = again.bytes
        self.payload = ffi.cast(block.pointer, again.bytes)
        chunk = self.payload
      end
      self:run_chunk(chunk, again.task, again.task, again.attempt)
    elseif extra then
      self.arguments = { extra.call, origin = extra.task }
      self.staged, self.payload = nil, nil
      self:run_chunk(plain_chunk(self), extra.task, extra.task, 1)
    elseif not more and #self.again == 0 then
      return C.EVENT_DONE
    elseif more then
      local n = math.min(self.size, self.total - self.next_task + 1, self.ceiling - self.next_task + 1)
      if self.unknown then
        self.asked = host.now()
        event.want = math.min(n, MOST_SUPPLIED)
        return C.EVENT_SUPPLY
      end
      local first, range = self.next_task, self.skips[self.skips_at]
      if range then n = math.min(n, range[1] - first) end
      self.next_task = first + n
      self:pass_skipped()
      self:run_chunk(plain_chunk(self), first, first + n - 1, 1)
    end
  end
end

--- The writer for a source's puller: values stay as they are, byte ranges go into words.
function Run:writer() return local_values.writer(self) end

return M
