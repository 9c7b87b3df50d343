--- One run: a map function over a source, on an engine. Turns the events of dispatch into results, failures and progress, and applies the
--- policies: retries, halting, limits on failures.
local ffi = require "ffi"
local host = require "parlua.host"
local lazy = require "parlua.lazy"
local block = require "parlua.wire.block"
local engines = require "parlua.run.engine"
local failure = require "parlua.failure"
local options_module = require "parlua.options"
local output = lazy "parlua.report.output"
local report = lazy "parlua.report"
local serial = lazy "parlua.drive.serial"
local batches = lazy "parlua.feed.batches"
local sources = require "parlua.source"
local supply = lazy "parlua.feed.supply"
local task = require "parlua.worker.task"
local writer_module = lazy "parlua.feed.writer"

local M = {}

local C = ffi.C
local cast = ffi.cast
local event_pointer = ffi.typeof("struct event *")
local nothing_given = {}
local NIL, FAILURE, LOWEST = C.TAG_NIL, C.TAG_FAILURE, C.TAG_LOWEST
local DONE, RESULTS, SUPPLY, LOST = C.EVENT_DONE, C.EVENT_RESULTS, C.EVENT_SUPPLY, C.EVENT_LOST
local TEXT, TICK, SIGNAL, TROUBLE = C.EVENT_TEXT, C.EVENT_TICK, C.EVENT_SIGNAL, C.EVENT_TROUBLE

-- ---- a run ----

---@class parlua.Summary
---@field tasks integer tasks that ended
---@field returned integer
---@field failed integer
---@field cancelled integer tasks that were cut off (of a known total)
---@field seconds number
---@field engine string
---@field workers integer of all ranks together
---@field ranks? integer of the MPI job, on the mpi engine under mpirun or srun
---@field interrupted? string "SIGINT", "SIGTERM" or "SIGHUP"
---@field resumed? integer tasks whose outcome was taken from the journal; nil: there is none

local Run = {}
Run.__index = Run

local hostname

local function open_serial(run, job, total)
  local options = run.options
  local halts = (options.on_error == "halt" or options.max_failures) and function(kind, attempt) return not run:may_retry(kind, attempt) end
  return serial.open(job, { key = run.key, total = total, chunk = options.chunk or 0, halts = halts })
end

--- Opens the engine's side.
local function open_driver(run, job)
  local options, name = run.options, run.engine_name
  local total = run.puller and -1 or run.fold and run.fold:blocks(run.source.n) or run.source.n
  if name == "serial" then return open_serial(run, job, total) end
  local workers = run.workers
  local before = engines.before(name)
  if not run.engine then
    run.engine, run.engine_key = engines.take(name, workers, options.memory, run.engines)
    run.owns_engine = true
  end
  local driver, events = host.run(run.engine, job, total, options.chunk or 0, options.timeout or 0, workers, block.is_sparse[job.keep] or false,
    before or false, run.key)
  if driver then return driver, events end
  if run.owns_engine then engines.give(run.engine, name, run.engine_key, run.engines) end
  error(events, 0) -- a message
end

local interrupted -- the signal that ended a run of this program

local function interruption() return "the program was interrupted by " .. interrupted end

--- The signal by which a run was interrupted, or nil.
function M.interrupted() return interrupted end

--- An interactive program goes on after an interruption.
function M.forget_interrupt() interrupted = nil end

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

--- A function for what may be called as one.
local function function_of(f)
  local meta = getmetatable(f)
  if type(meta) ~= "table" or type(meta.__call) ~= "function" then
    error(("the map function must be a function, got %s"):format(f == nil and "nothing" or type(f)), 0)
  end
  return function(...) return f(...) end
end

local no_key = ("\0"):rep(8) -- of a run whose tasks are calls of their own

--- Begins a run.
---@param f function
---@param arguments any what sources.of takes
---@param call_options? table
---@param keep "first"|"all"|"none"|"found"|"lacking"
---@param given? {job_options: table, engines: table, fold: parlua.Fold} engines: where warm ones are kept
function M.open(f, arguments, call_options, keep, given)
  given = given or nothing_given
  if interrupted and not given.after_interrupt then error(interruption(), 0) end
  if type(f) ~= "function" then f = function_of(f) end
  if type(call_options) == "table" and call_options.is_stream then call_options = nil end -- imap's second result, behind its iterator
  local options = given.options or options_module.resolve(call_options, given.job_options)
  local engine = engines.choose(options)
  engines.check(engine, options)
  local source = sources.of(arguments)
  local run = setmetatable({
    f = f, source = source, options = options, engine_name = engine, failures = {}, done = 0, failed = 0,
    retry_on = options.retry_on and set_of(options.retry_on) or default_retry_on, began = host.now(), retries = options.retries or 0, key = false,
    workers = engines.count_workers(engine, options), engines = given.engines or engines.warm,
    -- so that the table need not grow
    paused = false, is_loop = 0,
    driver = false, event = false, on_results = false, closed = false, engine = false, engine_key = false, owns_engine = false,
    puller = false, writer = false, results = false, seconds = false,
  }, Run)
  local inherits = engines.inherits(engine)
  local fold = given.fold
  run.fold = fold
  if fold then
    fold.n, fold.retries, fold.halt = source.n, run.retries, options.on_error == "halt"
    fold.retry_on, fold.backoff, fold.seed = run.retry_on, options.backoff, options.seed or 0
  end
  local supplied = not source:is_made_by_workers(inherits)
  local key, seed = no_key, nil
  if not given.unrecorded then key, seed = streams_of(options, call_options, given.base_seed) end
  run.key = key
  if options.journal and not task.is_inside() then
    run:open_journal(given.unrecorded and "call" or keep, seed, supplied)
  end
  if supplied then
    run.puller = run.journal and run.journal_module.puller(source, run.journal, options.force) or fold and batches.open(source, fold)
      or supply.open(source)
  end
  run.total = source:is_indexed() and source.n or nil
  local job = { f = f, keep = keep, init = options.init, stdin = options.stdin, fold = fold,
                source = run.puller and supply.describe(source, run.puller, inherits) or source:plain() }
  if engine == "serial" and job.source.kind == "values" then
    job.source = { kind = "local", raw = source.raw }
  end
  local opened, driver, event = pcall(open_driver, run, job)
  if not opened then
    if run.journal then run.journal:close() end
    error(driver, 0)
  end
  run.driver, run.event = driver, cast(event_pointer, event)
  if run.puller then
    run.writer = not run.puller.text and run.driver.writer and run.driver:writer()
      or writer_module.open(run.driver)
  end
  if run.journal and not run.puller then run:skip_done() end
  if options.debug and engine == "serial" and report.is_terminal(0) and report.is_terminal(2) then
    require("parlua.prompt.debugger").install()
  end
  local kind = options.progress
  if kind and kind ~= "bar" and kind ~= "none" then run:open_report(kind) end
  return run
end

--- Opens the journal that the options name.
function Run:open_journal(keep, seed, supplied)
  self.journal_module = require "parlua.journal"
  if keep == "call" then
    error("option 'journal': single calls (submit) are not recorded; give the pool the option journal = false, or use map", 0)
  end
  self.journal = self.journal_module.open({ f = self.f, source = self.source, keep = keep, seed = seed, indexed = not supplied }, self.options)
  self.keep, self.ceiling, self.resumed = keep, math.huge, 0
end

--- Workers make the arguments: what the journal holds is not handed out, and delivered bit by bit (`replay`: which range, from which task).
function Run:skip_done()
  for _, range in ipairs(self.journal.done) do self.driver:skip(range[1], range[2]) end
  if self.journal.done[1] then self.replay = { at = 1, next = self.journal.done[1][1] } end
end

function Run:raise_ceiling(last)
  self.ceiling = last
  self.driver:raise_ceiling(last)
end

local new_block = ffi.typeof("struct { char bytes[$]; }", C.BLOCK_BYTES)

local most_words = 16000 -- of a block of recorded results, also in pairs

--- Results from..last of a stretch of recorded tasks, as an event like those of workers. values[index] stands behind a word.
function Run:deliver_results(from, last, records)
  self.replay_block = self.replay_block or new_block()
  local out = cast(block.pointer, self.replay_block)
  local words, half, k = out.word, cast(block.halves, out.word), 0
  local is_sparse = block.is_sparse[self.keep]
  self.replayed = {}
  for index = from, last do
    local record = records[index]
    local value = record.values[1]
    local is_kept = not is_sparse or self.keep ~= "none" and value ~= nil
    if is_kept and is_sparse then
      words[2 * k] = index
      half[4 * k + 2], half[4 * k + 3] = k + 1, C.TAG_LOCAL
    elseif is_kept and record.n == 1 and type(value) == "number" then
      words[k] = value
    elseif is_kept then
      half[2 * k], half[2 * k + 1] = k + 1, record.n == 1 and C.TAG_LOCAL or C.TAG_TUPLE
    end
    if is_kept then
      k = k + 1
      record.values.n = record.n
      if record.n == 1 then self.replayed[k] = value else self.replayed[k] = record.values end
    end
  end
  out.kind, out.first, out.last = is_sparse and C.BLOCK_SPARSE or C.BLOCK_DENSE, from, last
  out.count, out.size, out.floor = k, C.BLOCK_BYTES, C.BLOCK_BYTES
  local event = self.event
  event.block, event.first, event.last, event.from, event.count, event.want = out, from, last, 0, k, last - from + 1
  if k > 0 then self.on_results(self, event) end
  self.replayed = nil
  self.done = self.done + last - from + 1
end

--- Delivers recorded tasks first..last. `arguments(index)`: of a task that was pulled.
function Run:deliver(first, last, arguments)
  local events, records, from = self.event, {}, nil
  self.event = ffi.new("struct event", { kind = RESULTS, attempt = 1 })
  self.replay_arguments = arguments
  self.journal:read(first, last, function(index, record) records[index] = record end)
  for index = first, last + 1 do
    local record = records[index]
    local returned = record and record.status == "returned"
    if from and (not returned or index - from >= most_words) then
      self:deliver_results(from, index - 1, records)
      from = nil
    end
    if returned then from = from or index end
    if record and not returned then
      local value = record.values[1]
      self.done = self.done + 1
      self:final_failure(index, { kind = record.kind, message = record.message, traceback = record.traceback, value = value,
        seconds = record.seconds, host = record.host, recorded = true }, record.attempts, record.worker, self:arguments_of(index))
      if self.on_lost then self.on_lost(self, index) end
    end
  end
  self.resumed = self.resumed + last - first + 1
  self.replay_arguments = nil
  self.event = events
end

local page = 1000 -- recorded tasks that are delivered at once

--- Delivers the next recorded tasks. Every other time it leaves it to the workers' results. `all`: nothing else is left.
function Run:deliver_some(all)
  local replay = self.replay
  if not all then
    replay.polled = not replay.polled
    if replay.polled or replay.next > self.ceiling then return false end
  end
  local range = self.journal.done[replay.at]
  local first, last = replay.next, math.min(range[2], replay.next + page - 1)
  if last < range[2] then
    replay.next = last + 1
  else
    range = self.journal.done[replay.at + 1]
    replay.at = replay.at + 1
    if range then replay.next = range[1] else self.replay = nil end
  end
  self:deliver(first, last)
  return true
end

function Run:open_report(kind)
  self.report = report.open(kind)
  self.report:start { tasks = self.total, workers = self.workers, engine = self.engine_name }
  return self.report
end

--- Progress: at the first tick a bar is opened where one is wanted.
function Run:progress()
  local reporter = self.report
  if reporter == nil then
    local kind = self.options.progress
    if kind == "bar" or (kind == nil and not task.is_inside() and report.is_terminal(2) and os.getenv("TERM") ~= "dumb") then
      reporter = self:open_report(kind or "bar")
    else
      self.report, reporter = false, false
    end
  end
  local data = { done = self.done, failed = self.failed, tasks = self.total, seconds = host.now() - self.began }
  if reporter then reporter:progress(data) else report.publish("progress", data) end
end

--- Asks the source for tasks and writes them; returns how many. What a source gave before it raised are tasks like any other.
local function pull(run, want)
  if run.source_failed then return 0 end
  local puller = run.puller
  run.writer:begin(0)
  local ok, result = xpcall(puller.fill, failure.capture, puller, run.writer, want)
  if ok then return result end
  local record, count = failure.record(result), puller.pulled or 0
  if run.supplied == nil and count == 0 and not puller.passed then
    error(("arguments: %s%s"):format(record.message, record.traceback and "\n" .. record.traceback or ""), 0)
  end
  run.source_failed = record
  return count
end

--- Pulls tasks from the source. A source that raises is a failure of the task that it was to make.
function Run:supply(want)
  local driver, puller = self.driver, self.puller
  puller.passed = nil
  local count = pull(self, want)
  if puller.refused then error(puller.refused, 0) end
  local passed = puller.passed
  if passed then -- recorded tasks: whatever else was pulled comes the next time
    local first = (self.supplied or 0) + 1
    self.supplied = first + #passed - 1
    driver:skip(first, self.supplied)
    self:deliver(first, self.supplied, function(index) return passed[index - first + 1] end)
    return
  end
  if count > 0 then
    self.writer:finish(count)
    self.supplied = (self.supplied or 0) + count
    driver:supply(count)
    if not puller.n or puller.at < puller.n then return end -- of a list it is known now that nothing follows
  end
  driver:exhausted()
  self.supplied = self.supplied or 0
  self.total = self.puller.tasks or self.supplied
  if self.source_failed then
    self.total = self.total + 1
    self.done = self.done + 1
    self.source_failed.message = "arguments: " .. self.source_failed.message
    self.source_failed.recorded = true -- no task of the source: a journal has no place for it
    self:final_failure(self.total, self.source_failed, 1, 0, { n = 0 })
    if self.on_lost then self.on_lost(self, self.total) end
  end
end

function Run:arguments_of(index)
  if self.replay_arguments then return self.replay_arguments(index) end
  local payload = self.event.payload
  if self.driver.arguments then
    local held = self.driver.arguments
    return held[index - held.origin + 1]
  end
  return supply.arguments_of(self.source, self.puller, payload ~= nil and payload or nil, index)
end

--- What was supplied for a block of tasks.
function Run:arguments_of_unit(b)
  local held = self.driver.arguments
  if held then return held[b - held.origin + 1] end
  return block.arguments(self.event.payload, b)
end

local function pack(...) return { n = select("#", ...), ... } end

--- Several results of one task, in a table with n.
function Run:tuple(out, half, k, tag)
  if self.driver.special or self.replayed then return self:special(out, half, k, tag) end
  return pack(block.special(out, half, k, tag))
end

--- The name of the host that a worker is on.
function Run:host_of(worker_number)
  hostname = hostname or host.hostname()
  if not self.engine or worker_number == 0 then return hostname end
  self.hosts = self.hosts or {}
  local name = self.hosts[worker_number] or self.engine:host(worker_number) or hostname
  self.hosts[worker_number] = name
  return name
end

--- A task failed for good.
function Run:final_failure(index, record, attempt, worker_number, arguments)
  record.index, record.args, record.attempts, record.worker = index, arguments, attempt, worker_number
  record.host = record.host or self:host_of(worker_number)
  local is_recorded = record.recorded
  record.recorded = nil
  record.seconds = record.seconds or 0
  local made = failure.new(record)
  self.failed = self.failed + 1
  self.failures[#self.failures + 1] = made
  if self.journal and not is_recorded and made.kind ~= "cancelled" then self.journal:failure(made) end
  if self.on_failure then self.on_failure(self, made) end
  if self.report then self.report:failure(made) end
  local most = self.options.max_failures
  if made.kind == "cancelled" or self.cancelled then return end
  if self.options.on_error == "halt" and self.on_halt then
    self.on_halt(self, made)
  elseif self.options.on_error == "halt" then
    self.halted = made
    self:cancel()
  elseif most and self:too_many(most) then
    self.stopped = ("%d tasks failed (max_failures = %s)"):format(self.failed, tostring(most))
    self:cancel()
  end
end

--- `max_failures`: a number, or a share of the tasks that ended ("5%"), looked at from the twentieth on.
function Run:too_many(most)
  if type(most) == "number" then return self.failed >= most end
  local share = tonumber((most:gsub("%%$", ""))) / 100
  return self.done >= 20 and self.failed > share * self.done
end

--- Is a task that failed at its try `attempt` to be tried again?
function Run:may_retry(kind, attempt)
  return self.retry_on[kind] and attempt <= self.retries and not self.cancelled
end

--- Seconds until then.
function Run:retry_delay(index, attempt)
  return failure.delay(self.options.backoff, self.options.seed or 0, index, attempt)
end

--- Task `index` did not return: tries it again or records its failure. Returns true when it is tried again.
function Run:task_failed(index, record)
  record = failure.sent(record)
  if index == 0 then
    self.broken = record.message
    self:cancel()
    return false
  end
  local attempt = self.event.attempt
  if interrupted and self.engine_name == "serial" and record.message == interruption() then -- a run inside of it was
    record = { kind = "cancelled", message = "the run was cancelled", seconds = record.seconds }
  end
  if self:may_retry(record.kind, attempt) then
    self.done = self.done - 1
    self.driver:redo(index, attempt + 1, self:retry_delay(index, attempt))
    return true
  end
  self:final_failure(index, record, attempt, self.event.worker, self:arguments_of(index))
  return false
end

--- The value behind a tagged word, for serial runs too.
function Run:special(out, half, k, tag)
  if self.replayed and tag < 0 then return self.replayed[half[2 * k]] end
  local driver = self.driver
  if driver.special then return driver:special(out, half, k, tag) end
  return block.special(out, half, k, tag)
end

local causes = {
  [C.LOST_TIMEOUT] = function(run) return "timeout", ("the task took more than %g s"):format(run.options.timeout) end,
  [C.LOST_CANCELLED] = function() return "cancelled", "the run was cancelled" end,
  [C.LOST_DAMAGED] = function() return "crash", "the worker has overwritten memory that it shares with the coordinator" end,
  [C.LOST_MEMORY] = function(_, status)
    if status == 9 then return "memory", "the kernel ended the worker, as memory ran out" end -- SIGKILL
    return "memory", "not enough memory"
  end,
  [C.LOST_CRASH] = function(_, status) return "crash", failure.status_text(status) end,
}

function Run:lost(event)
  if self.output then self.output:end_worker(event.worker) end
  if event.first == 0 then return end
  local kind, message = causes[tonumber(event.cause)](self, event.status)
  if self.lose then return self.lose(self, event, { kind = kind, message = message, seconds = event.seconds }) end
  self.done = self.done + 1
  local retried = self:task_failed(event.first, { kind = kind, message = message, seconds = event.seconds })
  if not retried and self.on_lost then self.on_lost(self, event.first) end
end

--- An event's tasks fail, whatever they gave.
function Run:lose_results(event, message)
  if self.fold then error(message, 0) end
  self.done = self.done + event.want
  for index = event.last - event.want + 1, event.last do
    local retried = self:task_failed(index, { kind = "error", message = message })
    if not retried and self.on_lost then self.on_lost(self, index) end
  end
end

local signal_names = { [1] = "SIGHUP", [2] = "SIGINT", [15] = "SIGTERM" }

--- What limits workers, by errno.
local limits = {
  [11] = "more processes or threads are not allowed: see ulimit -u, and the limits of the cgroup and the batch system", -- EAGAIN
  [12] = "there is not enough memory: see ulimit -v",                                                              -- ENOMEM
  [23] = "the machine has no more descriptors for files",                                                          -- ENFILE
  [24] = "more files may not be open: see ulimit -n",                                                              -- EMFILE
  [10] = "they end as soon as they begin",                                                                         -- ECHILD
  [112] = "the ranks that had workers are lost",                                                                   -- EHOSTDOWN
}

local function why_lacking(errno) return limits[errno] or host.strerror(errno) end

local told = {} -- by message: what was said once is not said at every call

--- Workers could not be started, and the run went on without them.
function Run:tell_lacking(lacking, errno)
  if self.broken_engine then return end
  local message = ("parlua: only %d of %d workers of the %s engine could be started: %s"):format(self.workers - lacking, self.workers,
    self.engine_name, why_lacking(errno))
  if not told[message] then report.print("stderr", message .. "\n") end
  told[message] = true
  self.workers = self.workers - lacking
end

--- Waits for one event and handles it. Returns false when the run is over.
function Run:step(wait)
  local replay = self.replay
  if replay and self:deliver_some() then return true end
  local kind = self.driver:next(replay and replay.next <= self.ceiling and 0 or wait)
  local event = self.event
  local cut = kind == RESULTS and self.puller and self.puller.text and supply.is_cut(self.source, self.puller, event)
  if cut then
    self:lose_results(event, cut)
  elseif kind == RESULTS then
    if self.journal then self.journal:results(self, event) end
    if not self.fold then self.done = self.done + event.want end
    self.on_results(self, event)
  elseif kind == SUPPLY then
    self:supply(event.want)
  elseif kind == LOST then
    self:lost(event)
  elseif kind == TEXT then
    self.output = self.output or output.open(report.print)
    self.output:add(event.worker, event.stream, ffi.string(event.bytes, event.length))
  elseif kind == TICK then
    self:progress()
  elseif kind == SIGNAL then
    self.signal = signal_names[event.status] or "signal"
    interrupted = self.signal
    self:cancel()
  elseif kind == TROUBLE then
    self.broken_engine = true
    self:close()
    local why = why_lacking(event.status)
    if event.status == 16 then -- EBUSY
      why = "too many tasks are over their time limit and cannot be stopped in threads; use " .. engines.killing_engines()
    end
    error(("the %s engine cannot start workers: %s"):format(self.engine_name, why), 0)
  elseif kind == DONE then
    if not self.replay or self.signal or self.halted or self.stopped or self.broken then return false end
    self:deliver_some(true)
  end
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
  if lacking then self:tell_lacking(lacking, errno) end
  if self.output then self.output:close() end
  if self.report then self.report:finish(self:summary()) end
  if self.owns_engine then engines.give(self.engine, self.engine_name, self.engine_key, self.engines) end
  if self.puller and self.puller.close then self.puller:close() end
  if self.journal then self.journal:close() end
end

---@return parlua.Summary
function Run:summary()
  return { tasks = self.done, returned = self.done - self.failed, failed = self.failed,
           cancelled = self.total and math.max(0, self.total - self.done) or 0, seconds = self.seconds or host.now() - self.began,
           engine = self.engine_name, workers = self.workers,
           ranks = self.engine_name == "mpi" and host.ranks() or nil, interrupted = self.signal, stopped = self.stopped,
           resumed = self.journal and self.resumed or nil }
end

local function by_index(a, b) return a.index < b.index end

local function run_to_end(run)
  while run:step() do end -- luacheck: ignore 542
end

--- Runs to the end. Returns the failures, sorted, and the summary; raises the failure of a halted run.
function Run:finish()
  local ok, message = pcall(run_to_end, self)
  self:close()
  if not ok then error(message, 0) end
  return self:outcome()
end

--- What a finished run raises or returns.
function Run:outcome()
  if self.broken then error(self.broken, 0) end
  if #self.failures > 1 then table.sort(self.failures, by_index) end
  if self.halted then error(self.halted, 0) end
  if self.signal and task.is_inside() then error(interruption(), 0) end -- the task that it is in is cut off, not done
  return self.failures, self:summary()
end

-- ---- decoding blocks of results ----

--- Numbers and nils of words from..from+count-1 into `into`; anything else through `other(context, index, k, tag)`.
-- About 2 ns a word (bench/decode.lua).
local function take_words(into, first, words, half, from, count, other, context)
  for k = from, from + count - 1 do
    local tag = half[2 * k + 1]
    if tag >= 0 or tag < LOWEST then
      into[first + k] = words[k]
    elseif tag ~= NIL then
      other(context, first + k, k, tag)
    end
  end
end
M.take_words = take_words

--- See parlua.stream.
function M.outcomes(...) return require("parlua.sink.stream").outcomes(...) end

--- Failures of a block in which only failures are kept.
function M.take_sparse(run, event)
  local out = event.block
  local half = cast(block.halves, out.word)
  for k = event.from, event.from + event.count - 1 do
    run:task_failed(out.word[2 * k], run:special(out, half, 2 * k + 1, FAILURE))
  end
end

return M
