--- The driver of tasks that wait: each is a coroutine of the script's own state, and cqueues (a Lua module) has them
--- wait side by side, for time, sockets, programs. It gives outcomes as drive/driver.lua describes.
--
-- A task runs in a coroutine inside of the one that cqueues makes for it, so that between the two what belongs to the
-- running task (parlua.task, its random numbers) can be changed for another's. What cqueues waits for goes through
-- unchanged; where tasks have a time limit, and once the run is cancelled, a condition is added to it.
--
local ffi = require "ffi"
local common = require "parlua.common"
local failure = require "parlua.failure"
local host = require "parlua.host"
local indexed = require "parlua.source.indexed"
local own = require "parlua.source.own"
local programs = require "parlua.drive.async_programs"
local skips = require "parlua.drive.skips"
local spawn = require("parlua.lazy") "parlua.worker.spawn"
local task = require "parlua.worker.task"
local worker = require "parlua.worker"
local Base = require "parlua.drive.driver"

local loadstring = require("parlua.wire.start").globals.loadstring -- a script may have taken it away

local M = {}

local C = ffi.C
local tick_seconds = 0.1
local chunk_seconds = 1e-3 -- tasks that don't wait run between two looks at signals and at what has ended
local MOST_SUPPLIED = 64 -- tasks that are taken from a source at once: a generator runs no further ahead
local new_cell = ffi.typeof("double[1]")
-- Per cent of what is in use: then the collector begins again. What waits stays: it is looked at half as often, unless
-- the script has settled the pace itself.
local COMMON_PAUSE, LONG_PAUSE = 200, 400

--- The task's call; named so that failures show no frames below the task's own.
local call_text = [[
local xpcall, capture = ...
local function all(...) return ... end -- else it were a tail call, and this frame not seen
local function call(f, ...) return all(f(...)) end
return function(f, ...) return xpcall(call, capture, f, ...) end]]
local protected = assert(loadstring(call_text, "=parlua.loop"))(xpcall, failure.capture)

local function load_cqueues()
  local ok, cqueues = pcall(require, "cqueues")
  if ok then return cqueues, require "cqueues.condition" end
  if package.searchpath and package.searchpath("cqueues", package.path) then error(cqueues, 0) end
  error('engine "async": the Lua module cqueues is missing; install it (Debian: apt-get install lua-cqueues; else: '
    .. "luarocks install cqueues), or use engine = \"threads\"", 0)
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
    cqueues = cqueues, POLL = cqueues._POLL, condition = condition, pause = false, queue = cqueues.new(),
    call = job.f, job = job,
    feeder = given.feeder or false, make = not given.feeder and indexed.maker(given.source) or false,
    total = given.total >= 0 and given.total or math.huge, ceiling = math.huge, next_task = 1, most = given.workers,
    timeout = given.timeout or false, key = task.key_number(given.key), cell = new_cell(), running = 0,
    first = false, last = false, -- tasks that run, in the order in which they began
    supplied = {}, supplied_first = 1, supplied_last = 0, again = {}, ready = {}, ready_first = 1, ready_last = 0,
    begun = {}, begun_first = 1, begun_last = 0, runs = false, until_then = 0, -- tasks that have not run yet
    skips = {}, skips_at = 1, free = {}, slots = 0, batch = Base.new_batch(), cancelled = false, last_tick = host.now(),
    broken = false, args = false, args_of = 0, extra = {}, extra_first = 1, extra_last = 0,
    outer_place = task.source_place or nil, tellers = {}, teller = false, current = false,
  }, Driver)
  self.wait_for_program = programs.waiter(cqueues, function() return self.current end)
  self.spawn_send = given.spawned and function(index, ...)
    own.enter(self.own)
    given.spawned(index, own.pack(...))
  end or nil
  self.handle = self
  local puller = given.feeder and given.feeder.puller
  local decode = puller and puller.decode
  if decode then
    function self.call(...) return job.f(decode(...)) end
    self.decode = not puller.shows_bytes and decode
  end
  self.own = own.look(job.f, job.setup)
  worker.prepare(job)
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

---@class parlua.AsyncTask
---@field index integer
---@field args table|false with n; false: they are made of the index
---@field attempt integer
---@field context ffi.cdata* what belongs to the running task: see worker/task.lua
---@field condition any of cqueues, to wake it; false
---@field is_over boolean it was given up, or has ended
---@field teller function|false tells the path and line that its argument is from

local function unlink(self, running)
  if running.before then running.before.after = running.after else self.first = running.after end
  if running.after then running.after.before = running.before else self.last = running.before end
  running.before, running.after = false, false
  self.running = self.running - 1
  self.free[#self.free + 1] = running.worker
end

--- The task is over: what it gave is told at the driver's next step.
local function finish(self, running, ok, ...)
  if running.is_over then return end
  running.is_over = true
  unlink(self, running)
  running.seconds = host.now() - running.began
  if ok then
    own.enter(self.own) -- another run may have been made meanwhile
    running.results = own.pack_results(...)
  else
    running.record = failure.record((...))
    running.record.seconds = running.seconds
  end
  self.ready_last = self.ready_last + 1
  self.ready[self.ready_last] = running
end

--- The script's frames of a task that yields to nobody.
local function refuse_yield(self, running, inner)
  finish(self, running, false, failure.mark { kind = "error", traceback = debug.traceback(inner, ""):gsub("^\n", ""),
    message = "attempt to yield from a task to outside of it: a task waits by functions of cqueues" })
end

local run_begun
local create, resume, yield, status = coroutine.create, coroutine.resume, coroutine.yield, coroutine.status

-- No closures are made for a task: tens of thousands may wait, and the collector looks at all that they have.

--- The task has yielded, or is over. Returns true and what it waits for; else it does not go on.
local function pass(self, running, before, resumed, first, ...)
  self.cell[0], task.source_place, task.wait_for_program = before, self.outer_place, nil
  task.exchange(running.context)
  if status(running.inner) == "dead" then
    if not resumed then return finish(self, running, false, first) end
    return finish(self, running, first, ...)
  end
  if first ~= self.POLL then return refuse_yield(self, running, running.inner) end
  return true, first, ...
end

--- Lets the task go on.
local function go_on(self, running, ...)
  if running.is_over then return end -- it was given up while it waited
  local cell = self.cell
  local before = cell[0]
  task.exchange(running.context)
  cell[0], task.source_place = running.index, running.teller or nil
  self.current, task.wait_for_program = running, self.wait_for_program
  task.spawn_send, task.spawn_refusal = self.spawn_send, self.job.spawn_refusal or nil
  return pass(self, running, before, resume(running.inner, ...))
end

--- Waits for what the task waits for.
local function wait(self, running, ...)
  if not running.has_waited then -- those behind it go on in a coroutine of their own
    running.has_waited, self.runs = true, false
    if self.begun_first <= self.begun_last then
      self.runs = true
      self.queue:wrap(run_begun, self)
    end
  end
  local wake = running.condition
  if not wake then return yield(...) end
  local n = select("#", ...)
  local what = { ... }
  what[n + 1] = wake
  return yield(unpack(what, 1, n + 1))
end

local function turn(self, running, goes_on, ...)
  if not goes_on then return end
  -- a tail call: a task may wait any number of times
  return turn(self, running, go_on(self, running, wait(self, running, ...)))
end

local function make_arguments(self, index) return own.pack(self.make(index)) end

--- Runs a task in a coroutine inside of the one of cqueues that calls this.
local function attend(self, running)
  running.inner = create(protected)
  own.enter(self.own)
  local args = running.args and own.own_all(running.args)
  if not args then
    local ok, made = pcall(make_arguments, self, running.index)
    if not ok then return finish(self, running, false, made) end
    args = made
  end
  return turn(self, running, go_on(self, running, running.f or self.call, unpack(args, 1, args.n)))
end

--- Runs tasks that have been begun, one after the other in the same coroutine of cqueues, as long as none waits.
function run_begun(self)
  while self.begun_first <= self.begun_last do
    local running = self.begun[self.begun_first]
    self.begun[self.begun_first] = nil
    self.begun_first = self.begun_first + 1
    if not running.is_over then attend(self, running) end
    if running.has_waited then return end
    if host.now() > self.until_then then break end -- signals are looked at, and results given
  end
  self.runs = false
end

--- Begins a task.
local function begin(self, index, args, attempt, f, teller)
  local number = table.remove(self.free)
  if not number then
    self.slots = self.slots + 1
    number = self.slots
  end
  local running = { index = index, args = args, attempt = attempt, worker = number, began = host.now(), is_over = false,
    condition = self.timeout and self.condition.new() or false, has_waited = false,
    context = task.context(self.cell, number, attempt, self.key),
    f = f or false, teller = teller or false, inner = false, before = self.last, after = false, results = false,
    record = false, seconds = 0, program = false }
  if self.last then self.last.after = running else self.first = running end
  self.last = running
  self.running = self.running + 1
  self.begun_last = self.begun_last + 1
  self.begun[self.begun_last] = running
end

--- A task that runs is given up. Its coroutine is left alone, and collected.
local function give_up(self, running)
  running.is_over = true
  unlink(self, running)
  running.seconds = host.now() - running.began
  if running.program then programs.kill(self.cqueues, running) end
  if running.condition then running.condition:signal() end
end

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

--- Begins tasks, as many as may run at once. The source's are asked for as they are needed.
local function begin_tasks(self, receiver)
  while self.running < self.most and self.begun_last - self.begun_first < MOST_SUPPLIED do
    local again = next_again(self, host.now())
    if again then
      begin(self, again.index, again.args, again.attempt, again.f, again.teller)
    elseif self.extra[self.extra_first] then
      local extra = self.extra[self.extra_first]
      self.extra[self.extra_first] = nil
      self.extra_first = self.extra_first + 1
      begin(self, extra.task, extra.call, 1, spawn.run)
    else
      if not self.feeder then skips.pass(self) end
      if not has_new(self) then return end
      if self.feeder and self.supplied_first > self.supplied_last then
        self.feeder:supply(self, receiver, math.min(MOST_SUPPLIED, self.most - self.running,
          self.ceiling - self.next_task + 1))
        if self.supplied_first > self.supplied_last then return end
      end
      local index, args, teller = self.next_task, false, nil -- an index makes them as the task begins
      if self.feeder then
        args = self.supplied[self.supplied_first]
        teller = self.tellers[self.supplied_first]
        self.supplied[self.supplied_first], self.tellers[self.supplied_first] = nil, nil
        self.supplied_first = self.supplied_first + 1
      end
      self.next_task = index + 1
      begin(self, index, args, 1, nil, teller)
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
    if ended.record then
      tell_failure(self, receiver, ended)
    else
      local batch, results = self.batch, ended.results
      batch.first, batch.n, batch.tasks, batch.bytes, batch.numbers = ended.index, 1, 1, 64, false
      batch.values = self.job.keep ~= "none" and { [0] = results[1] } or false
      batch.several = results.n ~= 1 and { [0] = results } or false
      batch.attempt, batch.worker, batch.seconds = ended.attempt, ended.worker, ended.seconds
      self.args, self.args_of = ended.args, ended.index
      receiver:take(batch)
      self.args = false
    end
  end
  return true
end

--- Ends tasks that are over their time limit: they began in the order in which they are held.
local function end_late(self, receiver, now)
  local found = false
  while self.timeout and self.first and now - self.first.began > self.timeout do
    local late = self.first
    give_up(self, late)
    late.record = { kind = "timeout", message = ("the task took more than %g s"):format(self.timeout),
      seconds = late.seconds }
    tell_failure(self, receiver, late)
    found = true
  end
  return found
end

--- The run was cancelled: what runs is ended.
local function tell_cancelled(self, receiver)
  while self.first do
    local running = self.first
    give_up(self, running)
    running.record = { kind = "cancelled", message = "the run was cancelled", seconds = running.seconds }
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
      self.queue:wrap(run_begun, self)
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
    begin_tasks(self, receiver)
    local has_extra = self.extra[self.extra_first] ~= nil
    if self.running == 0 and #self.again == 0 and not has_extra and not has_new(self) then return false end
    local left = math.min(self.last_tick + tick_seconds, deadline) - host.now()
    if self.timeout and self.first then left = math.min(left, self.first.began + self.timeout - host.now()) end
    if #self.again > 0 and self.running < self.most then left = math.min(left, first_due(self) - host.now()) end
    wait_for_tasks(self, math.max(left, 0))
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
    if not self.decode then return args end
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

function Driver:host() end -- luacheck: ignore 212

function Driver:raise_ceiling(last) self.ceiling = last end

function Driver:shorten(last)
  self.total = math.min(self.total, last)
  local running = self.first
  while running do
    local after = running.after
    if running.index > last then give_up(self, running) end
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
      give_up(self, running)
      return true
    end
    running = running.after
  end
  return false
end

function Driver:close()
  if not self.is_open then return true end
  self.is_open = false
  while self.first do give_up(self, self.first) end
  pcall(self.queue.close, self.queue)
  C.signals_serial(0)
  if self.pause then collectgarbage("setpause", self.pause) end
  return true
end

return M
