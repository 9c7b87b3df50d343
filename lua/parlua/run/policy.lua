--- What a run decides between its driver and its sink: what is tried again, what counts as failed, when it ends early,
--- what a signal does, what progress is told. The methods of a run; parlua.run opens one.
local ffi = require "ffi"
local host = require "parlua.host"
local lazy = require "parlua.lazy"
local common = require "parlua.common"
local engines = require "parlua.run.engine"
local context = require "parlua.wire.context"
local failure = require "parlua.failure"
local about = lazy "parlua.run.about"
local log = lazy "parlua.worker.log"
local output = lazy "parlua.report.output"
local reaction = lazy "parlua.run.reaction"
local report = lazy "parlua.report"
local spawned_module = lazy "parlua.run.spawned"
local status = lazy "parlua.run.status"
local summary = require "parlua.run.summary"
local trouble = lazy "parlua.run.trouble"
local task = require "parlua.task"
require "parlua.wire.header" "lua/ffi_script.h"

local M = {}

local C = ffi.C
local CALLS = 0 -- the stream of what tasks spawn
local FIRST_SPAWNED = task.FIRST_SPAWNED
local STALL = 2 -- seconds in which no task ended, after which it is told which runs for longest
local LOG = 3 -- the stream of what parlua.log writes

---@class parlua.Run
local Run = {
  -- what only some runs have of their own
  fold = false, failed_tasks = 0, cut_tasks = 0, cancelled = false, journal = false, reaction = false, lasts = false,
  is_pushed = false, is_of_futures = false, everywhere = false, pace = false, pace_count = false, is_paced = false,
  paused = false, encodes = false, takes_pairs = false, spawned = false, is_kept = false,
  is_loop = 0, ticked_at = 0, limiter = false, deadline = false, raised = false,
  on_raise = false,
}
Run.__index = Run
for name, method in pairs(summary) do Run[name] = method end

M.Run = Run

local interrupted -- the signal that ended a run of this program

function M.interruption() return "the program was interrupted by " .. interrupted end
Run.interruption = M.interruption

--- The signal by which a run was interrupted, or nil.
function M.interrupted() return interrupted end

--- An interactive program goes on after an interruption: the next signal is a first one, whatever is open.
function M.forget_interrupt()
  interrupted = nil
  C.signals_forget()
end

-- ---- outcomes: what a driver tells ----

--- Tasks have ended, whose parts don't count any more.
local function forget_parts(parts, first, last)
  for index in pairs(parts) do
    if index >= first and index <= last then parts[index] = nil end
  end
end

--- Tasks that returned.
---@param batch parlua.Batch
function Run:take(batch)
  local first, last = batch.first_task or batch.first, batch.last_task or batch.first + batch.n - 1
  self.returned_tasks = self.returned_tasks + batch.tasks
  if last >= FIRST_SPAWNED then
    if self.deadline and not batch.recorded then self.deadline:note(batch.seconds) end
    if self.spawned:counts() then self.spawned:returned(batch) end
    return
  end
  if last > self.reached then self.reached = last end
  if self.parts then forget_parts(self.parts, first, last) end
  if self.limiter then self:end_at(self.limiter:ended(first, last)) end
  if self.deadline and not batch.recorded then self.deadline:note(batch.seconds) end
  if self.journal and not batch.recorded then
    if self.spawned then self.spawned:record(first, last) end
    self.journal:take(batch, self)
  end
  if last > self.last then -- the end was known before
    if first > self.last then return end
    if not batch.first_task then batch.n = self.last - first + 1 end
  end
  self.told_first, self.told_last = first, last
  self.sink:take(batch)
  self.told_last = 0
  if self.spawned then self.spawned:source_returned(first, last, batch.tasks, batch.recorded) end
end

--- A submitted call that returned one value; `is_nothing`: or none.
function Run:take_one(index, value, is_nothing)
  self.returned_tasks = self.returned_tasks + 1
  if index > self.reached then self.reached = index end
  if self.parts then forget_parts(self.parts, index, index) end
  self.sink:take_one(index, value, is_nothing)
end

--- The tasks that tasks of this run have made.
---@return parlua.Spawned
function Run:all_spawned()
  if not self.spawned then self.spawned = spawned_module.open(self) end
  return self.spawned
end

--- Do the run's workers have what the script has, as copies of this process made for this run?
function Run:inherits() return engines.inherits(self.engine_name) and not self.is_kept end

--- Is a task that failed at its try `attempt` to be tried again?
function Run:may_retry(kind, attempt)
  return self.retry_on[kind] and attempt <= self.retries and not self.cancelled
end

--- Has a signal come that is to end the run, though it was perhaps not told yet? Programs that tasks run get a Ctrl-C
--- as well.
function Run:is_interrupted()
  if self.signal then return true end
  return not task.is_inside() and host.signals_count() ~= self.signals
end

local hostname

--- The name of the host that a worker is on.
function Run:host_of(worker)
  hostname = hostname or host.hostname()
  if not self.engine or worker == 0 then return hostname end
  self.hosts = self.hosts or {}
  local name = self.hosts[worker] or self.driver:host(worker) or hostname
  self.hosts[worker] = name
  return name
end

--- A task failed for good. `recorded`: so says a journal; or it is no task of the source, and a journal has no place
--- for it.
---@param record table kind, message, ...; args: else the driver tells
function Run:settle(index, record, attempts, worker, recorded)
  record.index, record.attempts, record.worker = index, attempts, worker
  local is_spawned = index >= FIRST_SPAWNED
  local is_known = record.args
  record.args = is_known or is_spawned and self.spawned:arguments(index) or self.driver:arguments(index)
  record.host = record.host or self:host_of(worker)
  record.seconds = record.seconds or 0
  if self.deadline and not recorded then self.deadline:note(record.seconds) end
  if self.source.path and self.driver.place_of and not is_spawned and not is_known then
    local path, line = self.driver:place_of(index)
    if path then record.path, record.line = path, line end
  end
  local made = failure.new(record)
  if self.parts then self.parts[index] = nil end
  if not is_spawned then
    if index > self.reached then self.reached = index end
    return self:conclude(made, recorded)
  end
  if self.journal and not recorded and made.kind ~= "cancelled" then self.journal:fail(made) end
  if self.spawned:counts() then self.spawned:failed(index, made) end
end

--- Is the run to end after so many failures, as they come? So it is where no order of them is known.
local function limits_as_they_come(run) return run.spawned and not run.spawned.is_ordered end

--- A task has failed, and has its index: what follows from that.
---@param made parlua.Failure
---@param recorded? boolean as of Run:settle
---@param is_spawned? boolean
function Run:conclude(made, recorded, is_spawned)
  local index, is_cut = made.index, made.kind == "cancelled"
  if self.limiter and self.limiter.is_over then return end
  if self.reaction and index <= self.last and not is_cut and reaction.replaces(self, made, recorded, is_spawned) then
    return
  end
  if is_cut then self.cut_tasks = self.cut_tasks + 1 else self.failed_tasks = self.failed_tasks + 1 end
  self.failures[#self.failures + 1] = made
  if self.journal and not recorded and not is_spawned and not made.is_unread and not is_cut then
    self.journal:fail(made)
  end
  -- the sink hands on what waits for this task's turn: it has to know the end before
  if self.limiter and not is_cut and not self.cancelled then
    if limits_as_they_come(self) then
      if self.limiter:failed_as_they_come(made, self.failed_tasks) then self:cancel() end
    else
      self:end_at(self.limiter:failed(index, made))
    end
  end
  if index <= self.last then self.sink:fail(made) end
  if self.spawned and not is_spawned then self.spawned:source_failed() end
  if self.report then self.report:failure(made) end
end

--- A task did not return. Answers with the seconds until its next try; nil: it has failed.
function Run:failed(index, record, attempt, worker)
  if self.spawned then self.spawned:forget(index) end
  local is_cut = record.kind == "cancelled"
  if interrupted and self.engine_name == "serial" and record.message == M.interruption() then -- a run inside of it was
    record, is_cut = { kind = "cancelled", message = "the run was cancelled", seconds = record.seconds }, true
  -- perhaps a program of the task's was ended: that is no failure of its own
  elseif not is_cut and self:is_interrupted() then
    record.message = "the run was interrupted: " .. record.message
    record.kind, is_cut = "cancelled", true
  end
  if not is_cut and not record.is_unread and self:may_retry(record.kind, attempt) then
    return failure.delay(self.options.backoff, self.options.seed or 0, index, attempt)
  end
  self:settle(index, record, attempt, worker)
end

--- What a failure of a task is to say of its arguments. To be asked while the sink takes the task's result.
---@return {args: table, path: string?, line: integer?}
function Run:about(index)
  local told = { args = self.driver:arguments(index) }
  if self.source.path and self.driver.place_of then told.path, told.line = self.driver:place_of(index) end
  return told
end

--- A task returned what the sink can't take: that is its failure.
---@param told? table as of Run:about, where the result has waited
function Run:refuse(index, message, told)
  self.returned_tasks = self.returned_tasks - 1
  if not told then
    local is_told = index >= self.told_first and index <= self.told_last and not self.fold
    told = (is_told or not self.feeder) and self:about(index) or { args = { n = 0 } }
  end
  self:settle(index, { kind = "error", message = tostring(message), args = told.args, path = told.path,
    line = told.line }, 1, 0, true)
end

--- The source is at its end.
function Run:counted(n)
  self.total = n
  if self.spawned then self.spawned:counted(n) end
end

--- The source raised: that is a failure of the task that it was to make.
function Run:source_failed(record)
  self.total = self.total + 1
  self.source_error = record
  record.args = { n = 0 }
  self:settle(self.total, record, 1, 0, true)
end

--- The run is to end with an error. `worker`: the one that can't do the job; workers of other ranks may be able to.
function Run:broke(message, worker)
  if worker and self.engine_name == "mpi" and trouble.is_refused(self, worker, message) then return end
  self.broken = message
  self:cancel()
end

--- What tasks printed.
function Run:printed(worker, stream, text)
  if stream == CALLS then return self:all_spawned():receive(worker, text) end
  self.output = self.output or output.open(function(to, lines)
    if to ~= LOG then return report.print(to, lines) end
    if lines:find("\0", 1, true) then -- what parlua.progress tells
      lines = lines:gsub("%z(%S+) (%S+)\n", function(index, share)
        self:note_part(tonumber(index), tonumber(share))
        return ""
      end)
    end
    if lines ~= "" then log.write(lines, self.options.log) end
  end)
  self.output:add(worker, stream, text)
end

--- How far a running task is.
function Run:note_part(index, share)
  self.parts = self.parts or {}
  self.parts[index] = share
end

--- The task that has run for longest: index, seconds, worker; nil where that is not known.
function Run:longest()
  local driver = self.driver.inner or self.driver
  if driver.longest then return driver:longest() end
end

--- A worker is lost: a line that it left half is not to be joined to its replacement's next one.
function Run:ended_worker(worker)
  if self.output then self.output:end_worker(worker) end
  if self.spawned then self.spawned:end_worker(worker) end
end

function Run:signalled(number)
  self.signal = common.signal_name(number)
  interrupted = self.signal
  self:cancel()
end

--- No worker can be started.
function Run:troubled(errno, ended)
  local message = trouble.no_workers(self, errno, ended)
  if self:done() > 0 then -- what is done is kept
    self.stopped_engine = message
    return self:cancel()
  end
  self.broken_engine = true
  self:close()
  error(message, 0)
end

-- ---- progress ----

function Run:open_report(kind)
  self.report = report.open(kind)
  self.report:start { tasks = self.total, workers = self.workers, engine = self.engine_name }
  return self.report
end

--- Tasks that ended.
function Run:done() return self.returned_tasks + self.failed_tasks + self.cut_tasks end

--- Progress: at the first tick a bar is opened where one is wanted.
function Run:tick()
  local reporter = self.report
  if reporter == nil then
    local kind = self.options.progress
    local shows_bar = kind == nil and not self.is_nested and report.is_terminal(2) and os.getenv("TERM") ~= "dumb"
    if kind == "bar" or shows_bar then
      reporter = self:open_report(kind or "bar")
    else
      self.report, reporter = false, false
    end
  end
  local asker = C.ask_taken()
  if asker ~= 0 and not self.is_nested then status.answer(self, asker) end
  local done, seconds = self:done(), host.now() - self.began
  local data = { done = done, failed = self.failed_tasks, tasks = self.total, seconds = seconds }
  if self.parts then
    local sum = 0
    for _, share in pairs(self.parts) do sum = sum + share end
    data.part = sum
  end
  if done ~= self.ticked then self.ticked, self.ticked_at = done, seconds end
  if seconds - self.ticked_at >= STALL then data.longest_task, data.longest_seconds = self:longest() end
  data.resumed = self.journal and self.driver.resumed or nil
  if reporter then reporter:progress(data) else report.publish("progress", data) end
end

-- ---- going on and ending ----

--- The source has nothing yet, for which what is there is not to wait.
function Run:waits() -- luacheck: ignore 212/self
  report.publish("waiting", {})
end

--- Tasks behind `last` do not count: they are not begun any more, or ended. What lies before runs to its end, so what a
--- run gives depends on no chunk and no timing.
function Run:end_at(last)
  if not last or last >= self.last or self.cancelled then return end
  self.last = last
  if self.spawned and self.spawned:counts() then return self.spawned:end_at(last) end
  self.driver:shorten(last)
end

--- Waits for outcomes, at most so many seconds, and passes them on. Returns false when the run is over.
function Run:step(wait)
  local sink, driver = self.sink, self.driver
  local ceiling = sink:ahead()
  if self.deadline then ceiling = self.deadline:ceiling(self, ceiling) end
  if ceiling ~= self.ceiling then
    self.ceiling = ceiling
    driver:raise_ceiling(ceiling)
  end
  local more = driver:step(self, wait)
  if not more then
    if self.spawned then self.spawned:flush() end
    self:check_whole()
    return false
  end
  if sink.limit < self.last then self:end_at(sink.limit) end
  if self.journal then self.journal:check_writing() end
  return more
end

--- Nothing more is handed out, what runs is ended.
function Run:cancel()
  self.cancelled = true
  self.driver:cancel()
end

--- The script leaves the run alone for a while. `is_loop`: it comes back soon, from the body of a loop. A worker leaves
--- the process's signals alone: it may be a thread of the coordinator's.
function Run:pause(is_loop)
  if self.paused or self.closed or task.is_worker then return end
  self.paused, self.is_loop = true, is_loop and 1 or 0
  C.signals_pause(self.is_loop)
end

--- The script has come back.
function Run:resume()
  if not self.paused then return end
  self.paused = false
  C.signals_resume(self.is_loop)
end

--- Gives back workers and terminal. Safe to call twice. A forked copy is not this process's to close.
function Run:close()
  if self.closed then return end
  self:resume()
  self.closed = true
  self.seconds = host.now() - self.began
  if not self.is_nested then C.ask_run(-1) end
  local is_own, lacking, errno = self.driver:close()
  if not is_own then return end
  if lacking and not self.broken_engine then
    trouble.tell_lacking(self, lacking, errno)
    self.workers = self.workers - lacking
  end
  if self.output then self.output:close() end
  if self.report then self.report:finish(self:summary()) end
  if self.owns_engine then engines.give(self.engine, self.engine_name, self.engine_key, self.engines) end
  if self.feeder then self.feeder:close() end
  if self.journal then self.journal:close(about.of_end(self)) end
  context.forget(self.chain)
  self.chain = false
end

local function run_to_end(run)
  local sink = run.sink
  while run:step() and not sink.is_enough do end -- luacheck: ignore 542
end

--- Runs to the end, or until the sink has enough, and closes. Raises what the driver or the sink raises.
function Run:go()
  local ok, message = pcall(run_to_end, self)
  if self.pace then self.pace.release(self) end
  if ok and self.sink.limit < self.last then self.last = self.sink.limit end
  self:close()
  if not ok then self:raise(message) end
end

--- What a finished run raises or returns.
---@return parlua.Failure[] failures, parlua.Summary summary
function Run:outcome()
  if self.broken then self:raise(self.broken) end
  local failures, halted = self:sorted_failures(), self.limiter and self.limiter.halted
  if halted and halted.index <= self.last then self:raise(halted) end
  local raised = self.raised
  if raised and raised.index <= self.last then self:raise(raised.value) end
  if self.signal and task.is_inside() then error(M.interruption(), 0) end -- the task that it is in is cut off, not done
  self:tell()
  return failures, self:summary()
end

return M
