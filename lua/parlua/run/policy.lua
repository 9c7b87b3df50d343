--- What a run decides between its driver and its sink: what is tried again, what counts as failed, when it ends early,
--- what a signal does, what progress is told. The methods of a run; parlua.run opens one.
local ffi = require "ffi"
local host = require "parlua.host"
local lazy = require "parlua.lazy"
local engines = require "parlua.run.engine"
local context = require "parlua.wire.context"
local about = lazy "parlua.run.about"
local report = lazy "parlua.report"
local spawned_module = lazy "parlua.run.spawned"
local summary = require "parlua.run.summary"
local trouble = lazy "parlua.run.trouble"
local task = require "parlua.task"
require "parlua.wire.header" "lua/ffi_script.h"

local M = {}

local C = ffi.C
local FIRST_SPAWNED = task.FIRST_SPAWNED

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

-- What a run does where something fails, is printed or takes its time: run/incidents.lua, which puts these methods in
-- their places when the first of them is called.
local incidents = {
  "host_of", "settle", "conclude", "failed", "about", "refuse", "source_failed", "broke", "printed", "note_part",
  "longest", "signalled", "troubled", "open_report", "tick",
}
local is_complete = false

--- Loads them: before tasks run in the script's own state, as one may lose the ways to find modules.
function M.complete()
  if is_complete then return end
  is_complete = true
  require "parlua.run.incidents"(Run, M.interrupted, M.interruption, function(signal) interrupted = signal end)
end

for _, name in ipairs(incidents) do
  Run[name] = function(...)
    M.complete()
    return Run[name](...)
  end
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

--- The source is at its end.
function Run:counted(n)
  self.total = n
  if self.spawned then self.spawned:counted(n) end
end

--- A worker is lost: a line that it left half is not to be joined to its replacement's next one.
function Run:ended_worker(worker)
  if self.output then self.output:end_worker(worker) end
  if self.spawned then self.spawned:end_worker(worker) end
end

--- Tasks that ended.
function Run:done() return self.returned_tasks + self.failed_tasks + self.cut_tasks end

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
