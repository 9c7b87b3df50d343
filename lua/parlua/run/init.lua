--- One run: a map function over a source, on an engine. A driver gives the outcomes of its tasks, a sink takes them. Here stands what is
--- decided in between: which engine, what is tried again, when a run ends early, what a signal does, what progress is told.
--
-- A sink has
--   keep             which results workers keep: "first", "all", "none", "found" or "lacking" (worker/init.lua)
--   begin(run)       called once, before the first outcome
--   take(batch)      tasks that returned (drive/driver.lua)
--   fail(failure)    a task that failed for good
--   ahead()          the last task that may be handed out now
--   limit            tasks behind this one are not wanted (math.huge: all are)
--   is_enough        true: the run can end now
local ffi = require "ffi"
local host = require "parlua.host"
local lazy = require "parlua.lazy"
local common = require "parlua.common"
local engines = require "parlua.run.engine"
local failure = require "parlua.failure"
local options_module = require "parlua.options"
local sources = require "parlua.source"
local supply = lazy "parlua.feed.supply"
local batches = lazy "parlua.feed.batches"
local feeder = lazy "parlua.feed.feeder"
local serial = lazy "parlua.drive.serial"
local dispatch = lazy "parlua.drive.dispatch"
local replay = lazy "parlua.drive.replay"
local journal = lazy "parlua.journal"
local limit = lazy "parlua.run.limit"
local output = lazy "parlua.report.output"
local report = lazy "parlua.report"
local trouble = lazy "parlua.run.trouble"
local warning = lazy "parlua.run.warning"
local task = require "parlua.worker.task"

local M = {}

local C = ffi.C
local nothing_given = {}

---@class parlua.Summary
---@field tasks integer tasks that ended
---@field returned integer
---@field failed integer
---@field cancelled integer tasks that were cut off, or not begun (of a known total)
---@field seconds number
---@field engine string
---@field workers integer of all ranks together
---@field ranks? integer of the MPI job, on the mpi engine under mpirun or srun
---@field interrupted? string "SIGINT", "SIGTERM" or "SIGHUP"
---@field stopped? string why `max_failures` ended the run
---@field replaced? integer tasks that failed, and for which `on_error` gave a result; they count as returned
---@field resumed? integer tasks whose outcome was taken from the journal; nil: there is none

---@class parlua.Run
local Run = {}
Run.__index = Run

-- ---- interruptions ----

local interrupted -- the signal that ended a run of this program

local function interruption() return "the program was interrupted by " .. interrupted end

--- The signal by which a run was interrupted, or nil.
function M.interrupted() return interrupted end

--- An interactive program goes on after an interruption.
function M.forget_interrupt() interrupted = nil end

-- ---- opening ----

-- The kinds of failures that may well pass: memory and unsendable come again.
local default_retry_on = { crash = true, timeout = true, error = true }

local function set_of(names)
  local set = {}
  for _, name in ipairs(names) do set[name] = true end
  return set
end

--- The key of a run's random streams, and what it follows from: the call's own seed; or else the program's seed and the number of the
--- call in it. A call inside a task goes by the task's own stream, and by its number in the task.
---@param base_seed? number of the pool
local function streams_of(options, call_options, base_seed)
  return task.call_key(call_options and call_options.seed, base_seed or options.seed or task.base or 0)
end
M.streams_of = streams_of

local NO_KEY = ("\0"):rep(8) -- of a run whose tasks are calls of their own

local function check_function(f)
  if type(f) == "function" then return f end
  if sources.is_source(f) then error("the map function stands first, then the arguments: parlua.map(f, arguments, options)", 0) end
  if common.is_callable(f) then return common.as_function(f) end
  error(("the map function must be a function, got %s"):format(f == nil and "nothing" or type(f)), 0)
end

--- Opens the driver of a run.
local function open_driver(run, job)
  local options, name, fold = run.options, run.engine_name, run.fold
  local given = { total = run.feeder and -1 or fold and fold:blocks(run.source.n) or run.source.n, chunk = options.chunk or 0,
                  timeout = options.timeout, workers = run.workers, key = run.key, source = run.source, feeder = run.feeder or nil }
  if name == "serial" then
    given.halts = (options.on_error == "halt" or options.max_failures) and function(kind, attempt)
      return not run:may_retry(kind, attempt)
    end
    return serial.open(job, given)
  end
  given.before = engines.before(name)
  if not run.engine then
    run.engine, run.engine_key = engines.take(name, run.workers, options.memory, run.engines)
    run.owns_engine = true
  end
  given.engine = run.engine
  local driver, message = dispatch.open(job, given)
  if driver then return driver end
  if run.owns_engine then engines.give(run.engine, name, run.engine_key, run.engines) end
  error(message, 0)
end

--- Prepares the source of a run whose tasks the coordinator supplies.
local function open_feeder(run)
  local source = run.source
  local puller = run.journal and run.journal:puller(source, run.options.force) or run.fold and batches.open(source, run.fold)
    or supply.open(source)
  return feeder.open(puller, function(receiver, first, tasks) run.driver:pass(receiver, first, tasks) end)
end

--- The job that workers get.
local function job_of(run, keep)
  local source, puller = run.source, run.feeder and run.feeder.puller
  local described = puller and supply.describe(source, puller, engines.inherits(run.engine_name)) or source:plain()
  if run.engine_name == "serial" and described.kind == "values" then described = { kind = "local", raw = source.raw } end
  return { f = run.f, keep = keep, setup = run.options.setup, stdin = run.options.stdin, fold = run.fold or nil, source = described }
end

--- Opens the journal, the source and the driver of a run, in this order; what was opened is closed when the next raises.
local function open_parts(run, sink, seed, given)
  local options = run.options
  local is_supplied = not run.source:is_made_by_workers(engines.inherits(run.engine_name))
  if options.journal and not task.is_inside() then
    run.journal = journal.open({ f = run.f, source = run.source, keep = given.unrecorded and "call" or sink.keep, seed = seed,
                                 indexed = not is_supplied }, options)
  end
  local ok, message = pcall(function()
    if is_supplied then run.feeder = open_feeder(run) end
    run.total = run.source:is_indexed() and not run.source.is_endless and run.source.n or nil
    run.driver = open_driver(run, job_of(run, sink.keep))
    if run.feeder then run.feeder:attach(run.driver.handle) end
    if run.journal then run.driver = replay.open(run.driver, run.journal, run.feeder or nil, sink.keep) end
  end)
  if ok then return end
  if run.journal then pcall(run.journal.close, run.journal) end
  error(message, 0)
end

--- Begins a run.
---@param f function
---@param arguments any what sources.of takes
---@param call_options? table
---@param sink table see the head of this file
---@param given? table options (resolved), base_seed (of a pool), engines (where warm ones are kept), fold, unrecorded (no journal can record
--- it), after_interrupt
---@return parlua.Run
function M.open(f, arguments, call_options, sink, given)
  given = given or nothing_given
  if interrupted and not given.after_interrupt then error(interruption(), 0) end
  f = check_function(f)
  if type(call_options) == "table" and call_options.is_stream then call_options = nil end -- imap's second result, behind its iterator
  sources.refuse_misunderstood(arguments)
  local options = given.options or options_module.resolve(call_options, given.job_options)
  local engine = engines.choose(options)
  engines.check(engine, task.is_inside() and (call_options or nothing_given) or options) -- the outer limits hold in tasks
  local run = setmetatable({
    f = f, source = sources.of(arguments), options = options, engine_name = engine, sink = sink, failures = {}, began = host.now(),
    retry_on = options.retry_on and set_of(options.retry_on) or default_retry_on, retries = options.retries or 0,
    workers = engines.count_workers(engine, options), engines = given.engines or engines.warm, fold = given.fold or false,
    returned_tasks = 0, failed_tasks = 0, cut_tasks = 0, reached = 0, last = math.huge, ceiling = math.huge, signals = 0,
    -- so that the table need not grow
    driver = false, feeder = false, closed = false, engine = false, engine_key = false, owns_engine = false, cancelled = false,
    journal = false, seconds = false, reaction = false, is_told = false, key = false, paused = false, is_loop = 0, limiter = false, prefix = false,
  }, Run)
  local fold = given.fold
  if fold then
    fold.n, fold.retries, fold.halt = run.source.n, run.retries, options.on_error == "halt"
    fold.retry_on, fold.backoff, fold.seed = run.retry_on, options.backoff, options.seed or 0
  end
  if options.on_error ~= "halt" and options.on_error ~= "skip" then run.reaction = options.on_error end
  if options.on_error == "halt" or options.max_failures then run.limiter = limit.open(options, run.fold) end
  local seed
  run.key = NO_KEY
  if not given.unrecorded then run.key, seed = streams_of(options, call_options, given.base_seed) end
  open_parts(run, sink, seed, given)
  run.signals = host.signals_count()
  if options.debug and engine == "serial" and report.is_terminal(0) and report.is_terminal(2) then
    require("parlua.prompt.debugger").install()
  end
  if sink.begin then sink:begin(run) end
  local kind = options.progress
  if kind and kind ~= "bar" and kind ~= "none" then run:open_report(kind) end
  return run
end

-- ---- outcomes: what a driver tells ----

--- Tasks that returned.
---@param batch parlua.Batch
function Run:take(batch)
  local first, last = batch.first_task or batch.first, batch.last_task or batch.first + batch.n - 1
  self.returned_tasks = self.returned_tasks + batch.tasks
  if last > self.reached then self.reached = last end
  if self.limiter then self:end_at(self.limiter:ended(first, last)) end
  if self.journal and not batch.recorded then self.journal:take(batch, self) end
  if last > self.last then -- the end was known before
    if first > self.last then return end
    if not batch.first_task then batch.n = self.last - first + 1 end
  end
  self.sink:take(batch)
end

--- Is a task that failed at its try `attempt` to be tried again?
function Run:may_retry(kind, attempt)
  return self.retry_on[kind] and attempt <= self.retries and not self.cancelled
end

--- Has a signal come that is to end the run, though it was perhaps not told yet? Programs that tasks run get a Ctrl-C as well.
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

--- Asks the script's `on_error` for a result that stands in for a task that failed. Returns whether there is one.
---@param made parlua.Failure
function Run:replace(made, recorded)
  local results = common.pack(self.reaction(made))
  if results[1] == nil then return false end
  if self.journal and not recorded then self.journal:fail(made) end
  self.returned_tasks, self.replaced = self.returned_tasks + 1, (self.replaced or 0) + 1
  if self.limiter then self:end_at(self.limiter:ended(made.index, made.index)) end
  self.sink:take { first = made.index, n = 1, numbers = false, values = { [0] = results[1] }, several = results.n > 1 and { [0] = results },
                   bytes = 64, tasks = 1, attempt = made.attempts, worker = made.worker, seconds = made.seconds, recorded = true }
  return true
end

--- A task failed for good. `recorded`: so says a journal; or it is no task of the source, and a journal has no place for it.
---@param record table kind, message, ...; args: else the driver tells
function Run:settle(index, record, attempts, worker, recorded)
  record.index, record.attempts, record.worker = index, attempts, worker
  record.args = record.args or self.driver:arguments(index)
  record.host = record.host or self:host_of(worker)
  record.seconds = record.seconds or 0
  local made = failure.new(record)
  if index > self.reached then self.reached = index end
  if self.reaction and made.kind ~= "cancelled" and self:replace(made, recorded) then return end
  if made.kind == "cancelled" then self.cut_tasks = self.cut_tasks + 1 else self.failed_tasks = self.failed_tasks + 1 end
  self.failures[#self.failures + 1] = made
  if self.journal and not recorded and made.kind ~= "cancelled" then self.journal:fail(made) end
  self.sink:fail(made)
  if self.report then self.report:failure(made) end
  if self.limiter and made.kind ~= "cancelled" and not self.cancelled then self:end_at(self.limiter:failed(index, made)) end
end

--- A task did not return. Answers with the seconds until its next try; nil: it has failed.
function Run:failed(index, record, attempt, worker)
  local is_cut = record.kind == "cancelled"
  if interrupted and self.engine_name == "serial" and record.message == interruption() then -- a run inside of it was
    record, is_cut = { kind = "cancelled", message = "the run was cancelled", seconds = record.seconds }, true
  elseif not is_cut and self:is_interrupted() then -- perhaps a program of the task's was ended: that is no failure of its own
    record.message = "the run was interrupted: " .. record.message
    record.kind, is_cut = "cancelled", true
  end
  if not is_cut and self:may_retry(record.kind, attempt) then
    return failure.delay(self.options.backoff, self.options.seed or 0, index, attempt)
  end
  self:settle(index, record, attempt, worker)
end

--- A task returned what the sink can't take: that is its failure.
function Run:refuse(index, message)
  self.returned_tasks = self.returned_tasks - 1
  self:settle(index, { kind = "error", message = tostring(message), args = self.feeder and { n = 0 } or nil }, 1, 0, true)
end

--- The source is at its end.
function Run:counted(n) self.total = n end

--- The source raised: that is a failure of the task that it was to make.
function Run:source_failed(record)
  self.total = self.total + 1
  self.source_error = record
  record.args = { n = 0 }
  self:settle(self.total, record, 1, 0, true)
end

--- The run is to end with an error.
function Run:broke(message)
  self.broken = message
  self:cancel()
end

--- What tasks printed.
function Run:printed(worker, stream, text)
  self.output = self.output or output.open(report.print)
  self.output:add(worker, stream, text)
end

--- A worker is lost: a line that it left half is not to be joined to its replacement's next one.
function Run:ended_worker(worker)
  if self.output then self.output:end_worker(worker) end
end

function Run:signalled(number)
  self.signal = common.signal_name(number)
  interrupted = self.signal
  self:cancel()
end

--- No worker can be started.
function Run:troubled(errno)
  local message = trouble.no_workers(self.engine_name, errno)
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
    local shows_bar = kind == nil and not task.is_inside() and report.is_terminal(2) and os.getenv("TERM") ~= "dumb"
    if kind == "bar" or shows_bar then
      reporter = self:open_report(kind or "bar")
    else
      self.report, reporter = false, false
    end
  end
  local data = { done = self:done(), failed = self.failed_tasks, tasks = self.total, seconds = host.now() - self.began }
  if reporter then reporter:progress(data) else report.publish("progress", data) end
end

-- ---- going on and ending ----

--- Tasks behind `last` do not count: they are not begun any more, or ended. What lies before runs to its end, so what a run gives
--- depends on no chunk and no timing.
function Run:end_at(last)
  if not last or last >= self.last or self.cancelled then return end
  self.last = last
  self.driver:shorten(last)
end

--- Waits for outcomes, at most so many seconds, and passes them on. Returns false when the run is over.
function Run:step(wait)
  local sink, driver = self.sink, self.driver
  local ceiling = sink:ahead()
  if ceiling ~= self.ceiling then
    self.ceiling = ceiling
    driver:raise_ceiling(ceiling)
  end
  if not driver:step(self, wait) then return false end
  if sink.limit < self.last then self:end_at(sink.limit) end
  if self.journal then self.journal:check_writing() end
  return true
end

--- Nothing more is handed out, what runs is ended.
function Run:cancel()
  self.cancelled = true
  self.driver:cancel()
end

--- The script leaves the run alone for a while. `is_loop`: it comes back soon, from the body of a loop.
function Run:pause(is_loop)
  if self.paused or self.closed then return end
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
  if self.journal then self.journal:close() end
end

--- The failures that count, sorted.
function Run:sorted_failures()
  local list = self.failures
  if self.last < math.huge then
    for k = #list, 1, -1 do
      if list[k].index > self.last then table.remove(list, k) end
    end
  end
  if #list > 1 then table.sort(list, function(a, b) return a.index < b.index end) end
  return list
end

--- How many tasks there were: of a known total, or as far as the run went.
function Run:tasks()
  if self.last < math.huge and not self.signal then return self.total and math.min(self.last, self.total) or self.last end
  return self:done()
end

--- How many results a list of all would have.
function Run:length()
  if self.total then return self.total end
  return math.min(self.reached, self.last)
end

---@return parlua.Summary
function Run:summary()
  local returned, failed, cut = self.returned_tasks, self.failed_tasks, self.cut_tasks
  if self.last < math.huge then
    failed, cut = 0, 0
    for _, each in ipairs(self.failures) do
      if each.index > self.last then -- luacheck: ignore 542
      elseif each.kind == "cancelled" then
        cut = cut + 1
      else
        failed = failed + 1
      end
    end
    if not self.signal then returned = self:tasks() - failed - cut end
  end
  local cancelled = self.total and math.max(0, self.total - returned - failed) or cut
  return { tasks = returned + failed, returned = returned, failed = failed, cancelled = cancelled,
           seconds = self.seconds or host.now() - self.began, engine = self.engine_name, workers = self.workers,
           ranks = self.engine_name == "mpi" and host.ranks() or nil, interrupted = self.signal,
           stopped = self.limiter and self.limiter.stopped or self.stopped_engine, replaced = self.replaced,
           resumed = self.journal and self.driver.resumed or nil }
end

local function run_to_end(run)
  local sink = run.sink
  while run:step() and not sink.is_enough do end -- luacheck: ignore 542
end

--- Runs to the end, or until the sink has enough, and closes. Raises what the driver or the sink raises.
function Run:go()
  local ok, message = pcall(run_to_end, self)
  if ok and self.sink.limit < self.last then self.last = self.sink.limit end
  self:close()
  if not ok then error(message, 0) end
end

--- Keeps where in the script the call is, to be told later.
function Run:keep_place() self.place = warning.place() end

--- Leaves a line on standard error about tasks that failed, once.
function Run:tell()
  if self.is_told or not self.sink.name or self.options.warn == false then return end
  self.is_told = true
  if (self.failed_tasks > 0 or self.left_out) and not self.reaction then warning.tell(self) end
end

--- What a finished run raises or returns.
---@return parlua.Failure[] failures, parlua.Summary summary
function Run:outcome()
  if self.broken then error(self.broken, 0) end
  local failures, halted = self:sorted_failures(), self.limiter and self.limiter.halted
  if halted and halted.index <= self.last then error(halted, 0) end
  if self.signal and task.is_inside() then error(interruption(), 0) end -- the task that it is in is cut off, not done
  self:tell()
  return failures, self:summary()
end

return M
