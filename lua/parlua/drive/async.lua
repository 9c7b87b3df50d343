--- The driver of tasks that wait: each is a coroutine of the script's own state, and cqueues (a Lua module) has them
--- wait side by side, for time, sockets, programs. It gives outcomes as drive/driver.lua describes.
--
-- How one task runs stands in drive/async_tasks.lua.
local ffi = require "ffi"
local common = require "parlua.common"
local garbage = require "parlua.garbage"
local host = require "parlua.host"
local indexed = require "parlua.source.indexed"
local own = require "parlua.source.own"
local log = require("parlua.lazy") "parlua.worker.log"
local programs = require "parlua.drive.async_programs"
local skips = require "parlua.drive.skips"
local spawn = require("parlua.lazy") "parlua.worker.spawn"
local task = require "parlua.task"
local tasks = require "parlua.drive.async_tasks"
local runner = require "parlua.worker.runner"
local Base = require "parlua.drive.driver"
require "parlua.wire.header" "lua/ffi_serial.h"

local M = {}

local C = ffi.C
local tick_seconds = 0.1
local chunk_seconds = 1e-3 -- tasks that don't wait run between two looks at signals and at what has ended
local MOST_SUPPLIED = 64 -- tasks that are taken from a source at once: a generator runs no further ahead
local new_cell, cell_pointer = ffi.typeof "double[1]", ffi.typeof "double *"
-- Per cent of what is in use: then the collector begins again. What waits stays: it is looked at half as often, unless
-- the script has settled the pace itself.
local COMMON_PAUSE, LONG_PAUSE = 200, 400

local function load_cqueues()
  local ok, cqueues = pcall(require, "cqueues")
  if ok then return cqueues, require "cqueues.condition" end
  local file, why = io.open "/dev/null" -- one descriptor at least, to look for a module
  if not file then error(common.unopened("async", why), 0) end
  file:close()
  if package.searchpath and package.searchpath("cqueues", package.path) then error(cqueues, 0) end
  error('engine "async": the Lua module cqueues is missing; install it (Debian: apt-get install lua-cqueues; else: '
    .. "luarocks install cqueues), or use engine = \"threads\"", 0)
end

-- Queues that are open. Each has descriptors, which a loop over imap that was left holds until its stream is collected:
-- all garbage is collected when there are so many, and then whenever there are twice as many as that left.
local open_queues, FIRST_BOUND = 0, 16
local bound = FIRST_BOUND

local function new_queue(cqueues)
  if open_queues >= bound then
    garbage.collect()
    bound = math.max(FIRST_BOUND, 2 * open_queues)
  end
  open_queues = open_queues + 1
  local ok, queue = pcall(cqueues.new)
  if ok then return queue end
  garbage.collect()
  ok, queue = pcall(cqueues.new)
  if ok then return queue end
  open_queues = open_queues - 1
  error(common.unopened("async", tostring(queue)), 0)
end

-- ---- the driver ----

---@class parlua.Async
local Driver = {}
Driver.__index = Driver

--- Opens it.
---@param job parlua.Job
---@param given table key, total (-1: supplied), timeout, workers (tasks at once), source, feeder
function M.open(job, given)
  local cqueues, condition = load_cqueues()
  local self = setmetatable({
    cqueues = cqueues, POLL = cqueues._POLL, condition = condition, pause = false, queue = new_queue(cqueues),
    call = job.f, job = job,
    feeder = given.feeder or false, make = not given.feeder and indexed.maker(given.source) or false,
    total = given.total >= 0 and given.total or math.huge, ceiling = math.huge, next_task = 1, most = given.workers,
    timeout = given.timeout or false, key = task.key_number(given.key), cell = new_cell(), running = 0,
    first = false, last = false, -- tasks that run, in the order in which they began
    supplied = {}, supplied_first = 1, supplied_last = 0, again = {}, ready = {}, ready_first = 1, ready_last = 0,
    begun = {}, begun_first = 1, begun_last = 0, runs = false, until_then = 0, -- tasks that have not run yet
    skips = {}, skips_at = 1, free = {}, slots = 0, batch = Base.new_batch(), cancelled = false, last_tick = host.now(),
    broken = false, args = false, args_of = 0, extra = {}, extra_first = 1, extra_last = 0,
    on_end = false, tellers = {}, teller = false, current = false,
    outer_place = task.source_place or nil, outer_send = task.spawn_send, outer_refusal = task.spawn_refusal,
    log_level = task.log_levels[job.log_level or "info"], tags = false,
  }, Driver)
  self.wait_for_program = programs.waiter(cqueues, function() return self.current end)
  self.spawn_send = given.spawned and function(index, ...)
    own.enter(self.own)
    given.spawned(index, own.pack(...))
  end or nil
  if job.tag then
    self.tags = host.tag(ffi.cast(cell_pointer, self.cell))
    function self.log_untagged(text) -- lines of the log name the task themselves
      local output, errors = self.tags(false, "held")
      log.write(text, given.log)
      self.tags(true, output, errors)
    end
  end
  self.handle = self
  local puller = given.feeder and given.feeder.puller
  local decode = puller and puller.decode
  if decode then
    function self.call(...) return job.f(decode(...)) end
    self.decode = not puller.shows_bytes and decode
  end
  self.own = own.look(job.f, job.setup, true)
  runner.prepare(job)
  C.signals_serial(1)
  local pause = collectgarbage("setpause", LONG_PAUSE)
  if pause == COMMON_PAUSE then self.pause = pause else collectgarbage("setpause", pause) end
  self.is_open = true
  return self
end

-- ---- what a feeder and a journal ask of the handle ----

local Writer = {}
Writer.__index = Writer

function Writer.begin() end
function Writer.finish() end
function Writer.hurry() end

function Writer:task(_, ...)
  local driver = self.driver
  driver.supplied_last = driver.supplied_last + 1
  own.enter(driver.own)
  driver.supplied[driver.supplied_last] = own.pack(...) -- a generator may give the same table again and again
  driver.tellers[driver.supplied_last] = driver.feeder.puller.teller
  return true
end

--- A task that is to fail with this record.
function Writer:unread(count, record)
  self:task(count)
  self.driver.supplied[self.driver.supplied_last].unread = record
  return 1
end

function Driver:writer() return setmetatable({ driver = self }, Writer) end

function Driver:supply() end

function Driver:exhausted() self.total = self.next_task - 1 + self.supplied_last - self.supplied_first + 1 end

--- The function of a submitted call: what it has captured is not copied. Returns its arguments as they are now.
function Driver:look_at(f, args) return own.add(self.own, f, args) end

--- Tasks first..last are not to be run. Ranges come in ascending order.
function Driver:skip(first, last)
  if self.feeder then -- those that were pulled before are behind none that is skipped
    self.next_task = math.max(self.next_task, last + 1)
    return
  end
  self.skips[#self.skips + 1] = { first, last }
end

--- Calls that tasks have spawned, as tasks from `first` on.
function Driver:push_calls(first, calls)
  for k, made in ipairs(calls) do
    self.extra_last = self.extra_last + 1
    self.extra[self.extra_last] = { task = first + k - 1, call = made.call }
    self:look_at(made.call[4])
  end
end

-- ---- tasks ----

-- Tasks that wait for a further try: few at a time, so a list.

local function next_again(self, now)
  local at
  for k, again in ipairs(self.again) do
    if again.at <= now and (not at or again.at < self.again[at].at) then at = k end
  end
  return at and table.remove(self.again, at)
end

local function first_due(self)
  local due = math.huge
  for _, again in ipairs(self.again) do due = math.min(due, again.at) end
  return due
end

local function has_new(self) return self.next_task <= self.total and self.next_task <= self.ceiling end

--- Begins tasks, as many as may run at once. The source's are asked for as they are needed. Returns true where it only
--- passed over tasks that a journal has: there may be more to begin at once.
local function begin_tasks(self, receiver)
  while self.running < self.most and self.begun_last - self.begun_first < MOST_SUPPLIED do
    local again = next_again(self, host.now())
    if again then
      tasks.begin(self, again.index, again.args, again.attempt, again.f, again.teller)
    elseif self.extra[self.extra_first] then
      local extra = self.extra[self.extra_first]
      self.extra[self.extra_first] = nil
      self.extra_first = self.extra_first + 1
      tasks.begin(self, extra.task, extra.call, 1, spawn.run)
    else
      if not self.feeder then skips.pass(self) end
      if not has_new(self) then return end
      if self.feeder and self.supplied_first > self.supplied_last then
        self.feeder:supply(self, receiver, math.min(MOST_SUPPLIED, self.most - self.running,
          self.ceiling - self.next_task + 1))
        if self.supplied_first > self.supplied_last then return has_new(self) end
      end
      local index, args, teller = self.next_task, false, nil -- an index makes them as the task begins
      if self.feeder then
        args = self.supplied[self.supplied_first]
        teller = self.tellers[self.supplied_first]
        self.supplied[self.supplied_first], self.tellers[self.supplied_first] = nil, nil
        self.supplied_first = self.supplied_first + 1
      end
      self.next_task = index + 1
      tasks.begin(self, index, args, 1, nil, teller)
    end
  end
end

-- ---- outcomes ----

--- Tells of a task that did not return.
local function tell_failure(self, receiver, ended)
  self.args, self.args_of, self.teller = ended.args, ended.index, ended.teller
  local delay = receiver:failed(ended.index, ended.record, ended.attempt, ended.worker)
  self.args = false
  if delay and not self.cancelled then
    self.again[#self.again + 1] = { index = ended.index, args = ended.args, attempt = ended.attempt + 1,
      f = ended.f, teller = ended.teller, at = host.now() + delay }
  end
end

--- Tells of tasks that have ended. Returns whether there were some.
local function tell_ready(self, receiver)
  if self.ready_first > self.ready_last then return false end
  while self.ready_first <= self.ready_last do
    local ended = self.ready[self.ready_first]
    self.ready[self.ready_first] = nil
    self.ready_first = self.ready_first + 1
    self.args, self.args_of, self.teller = ended.args, ended.index, ended.teller
    if self.on_end then self.on_end(ended.worker, ended.index, (ended.record or ended).seconds) end
    if ended.record then
      tell_failure(self, receiver, ended)
    else
      local batch, results = self.batch, ended.results
      batch.first, batch.n, batch.tasks, batch.bytes, batch.numbers = ended.index, 1, 1, 64, false
      batch.values = self.job.keep ~= "none" and { [0] = results[1] } or false
      batch.several = results.n ~= 1 and { [0] = results } or false
      batch.attempt, batch.worker, batch.seconds, batch.ended = ended.attempt, ended.worker, ended.seconds, ended
      receiver:take(batch)
      self.args = false
    end
  end
  return true
end

--- Ends tasks that are over their time limit: they begin in the order in which they are held. One whose turn has not
--- come (without `inner`) has used up nothing of it.
local function end_late(self, receiver, now)
  local found = false
  while self.timeout and self.first and self.first.inner and now - self.first.began > self.timeout do
    local late = self.first
    tasks.give_up(self, late)
    late.record = { kind = "timeout", message = ("the task took more than %g s"):format(self.timeout),
      seconds = late.seconds, value = late.written }
    tell_failure(self, receiver, late)
    found = true
  end
  return found
end

--- The run was cancelled: what runs is ended.
local function tell_cancelled(self, receiver)
  while self.first do
    local running = self.first
    tasks.give_up(self, running)
    running.record = { kind = "cancelled", message = "the run was cancelled", seconds = running.seconds,
      value = running.written }
    tell_failure(self, receiver, running)
  end
end

--- Lets tasks go on until one of them has ended, at most for `seconds`.
local function wait_for_tasks(self, seconds)
  if self.running == 0 then
    if seconds > 0 then host.sleep(seconds) end
    return
  end
  if self.begun_first <= self.begun_last then
    seconds, self.until_then = 0, host.now() + chunk_seconds
    if not self.runs then
      self.runs = true
      self.queue:wrap(tasks.run_begun, self)
    end
  end
  local ok, message = self.queue:step(seconds)
  if not ok then self.broken = message end
end

--- See drive/driver.lua.
function Driver:step(receiver, seconds)
  local deadline = seconds and host.now() + seconds or math.huge
  while true do
    local signal = C.signals_pending()
    if signal ~= 0 then
      receiver:signalled(signal)
      return true
    end
    local now = host.now()
    if self.cancelled then tell_cancelled(self, receiver) end
    if tell_ready(self, receiver) or end_late(self, receiver, now) then return true end
    if self.broken then error(self.broken, 0) end
    if self.cancelled then return false end
    if now - self.last_tick > tick_seconds then
      self.last_tick = now
      receiver:tick()
      return true
    end
    local has_passed = begin_tasks(self, receiver)
    local has_extra = self.extra[self.extra_first] ~= nil
    if self.running == 0 and #self.again == 0 and not has_extra and not has_new(self) then return false end
    local left = math.min(self.last_tick + tick_seconds, deadline) - host.now()
    if self.timeout and self.first then left = math.min(left, self.first.began + self.timeout - host.now()) end
    if #self.again > 0 and self.running < self.most then left = math.min(left, first_due(self) - host.now()) end
    wait_for_tasks(self, has_passed and 0 or math.max(left, 0))
    if host.now() >= deadline and self.ready_first > self.ready_last then
      receiver:tick()
      return "idle"
    end
  end
end

--- The arguments of the task that the receiver is told of.
function Driver:arguments(index)
  if self.args and self.args_of == index then
    own.enter(self.own)
    local args = own.own_all(self.args)
    if not self.decode or args.n == 0 then return args end
    local values = common.pack(pcall(self.decode, unpack(args, 1, args.n)))
    if not values[1] then return args end
    return { n = values.n - 1, unpack(values, 2, values.n) }
  end
  if not self.make then return { n = 0 } end
  local values = common.pack(pcall(self.make, index))
  if not values[1] then return { n = 0 } end -- that is how the task failed
  return { n = values.n - 1, unpack(values, 2, values.n) }
end

--- Where its argument comes from: the path of a file, and the line; nil: that is not known.
function Driver:place_of(index)
  if self.args and self.args_of == index and self.teller then return self.teller() end
end

--- What a failure of a task is to say of its arguments, where its result has waited: as of Run:about.
---@param ended parlua.AsyncTask
function Driver:about(ended)
  local args, index, teller = self.args, self.args_of, self.teller
  self.args, self.args_of, self.teller = ended.args, ended.index, ended.teller
  local about = { args = self:arguments(ended.index) }
  about.path, about.line = self:place_of(ended.index)
  self.args, self.args_of, self.teller = args, index, teller
  return about
end

function Driver:host() end -- luacheck: ignore 212

function Driver:raise_ceiling(last) self.ceiling = last end

function Driver:shorten(last)
  self.total = math.min(self.total, last)
  local running = self.first
  while running do
    local after = running.after
    if running.index > last then tasks.give_up(self, running) end
    running = after
  end
  for k = #self.again, 1, -1 do
    if self.again[k].index > last then table.remove(self.again, k) end
  end
end

function Driver:cancel() self.cancelled = true end

--- Ends one task, whose outcome nobody wants.
function Driver:abort(index)
  local running = self.first
  while running do
    if running.index == index then
      tasks.give_up(self, running)
      return true
    end
    running = running.after
  end
  return false
end

function Driver:close()
  if not self.is_open then return true end
  self.is_open = false
  while self.first do tasks.give_up(self, self.first) end
  pcall(self.queue.close, self.queue)
  open_queues = open_queues - 1
  C.signals_serial(0)
  if self.pause then collectgarbage("setpause", self.pause) end
  return true
end

return M
