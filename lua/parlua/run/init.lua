--- One run: a map function over a source, on an engine. A driver gives the outcomes of its tasks, a sink takes them.
--- Here stands what is decided in between: which engine, what is tried again, when a run ends early, what a signal
--- does, what progress is told.
--
-- A sink has
--   keep             which results workers keep: "first", "all", "none", "found" or "lacking" (worker/init.lua)
--   begin(run)       called once, before the first outcome
--   take(batch)      tasks that returned (drive/driver.lua)
--   fail(failure)    a task that failed for good
--   ahead()          the last task that may be handed out now
--   limit            tasks behind this one are not wanted (math.huge: all are)
--   is_enough        true: the run can end now
local codec = require "parlua.codec"
local context = require "parlua.wire.context"
local ffi = require "ffi"
local host = require "parlua.host"
local indexed = require "parlua.source.indexed"
local lazy = require "parlua.lazy"
local common = require "parlua.common"
local engines = require "parlua.run.engine"
local policy = require "parlua.run.policy"
local options_module = require "parlua.options"
local outcomes = require "parlua.drive.outcomes"
local writer_module = lazy "parlua.feed.writer"
local sources = require "parlua.source"
local supply = lazy "parlua.feed.supply"
local batches = lazy "parlua.feed.batches"
local feeder = lazy "parlua.feed.feeder"
local serial = lazy "parlua.drive.serial"
local async = lazy "parlua.drive.async"
local dispatch = lazy "parlua.drive.dispatch"
local replay = lazy "parlua.drive.replay"
local rows = lazy "parlua.drive.rows"
local journal = lazy "parlua.journal"
local deadline = lazy "parlua.run.deadline"
local limit = lazy "parlua.run.limit"
local again = require "parlua.run.again"
local about = lazy "parlua.run.about"
local pages = lazy "parlua.run.pages"
local watch = lazy "parlua.run.watch"
local log = lazy "parlua.worker.log"
local report = lazy "parlua.report"
local task = require "parlua.task"
local library = require "parlua.worker.library"

local M = {}

M.interrupted, M.forget_interrupt, M.interruption = policy.interrupted, policy.forget_interrupt, policy.interruption

local nothing_given = {}
require "parlua.wire.header" "lua/ffi_script.h"
local C, is_prepared = ffi.C, false -- is_prepared: SIGUSR1 asks where a run is

-- The kinds of failures that may well pass: memory and unsendable come again.
local default_retry_on = { crash = true, timeout = true, error = true }

local function set_of(names)
  local set = {}
  for _, name in ipairs(names) do set[name] = true end
  return set
end

--- The key of a run's random streams, and what it follows from: the call's own seed; or else the program's seed and the
--- number of the call in it. A call inside a task goes by the task's own stream, and by its number in the task.
---@param base_seed? number of the pool
local function streams_of(options, call_options, base_seed)
  return task.call_key(call_options and call_options.seed, base_seed or options.seed or task.base or 0)
end
M.streams_of = streams_of

local NO_KEY = ("\0"):rep(8) -- of a run whose tasks are calls of their own

local function check_function(f)
  if type(f) == "function" then return f end
  if sources.is_source(f) then
    error("the map function stands first, then the arguments: parlua.map(f, arguments, options)", 0)
  end
  if common.is_callable(f) then return common.as_function(f) end
  error(("the map function must be a function, got %s"):format(f == nil and "nothing" or type(f)), 0)
end

--- Opens the driver over workers. Returns nil and a message where something of the job can't cross.
---@param state table|false of the script, where the workers have one of their own
local function send_job(given, job, state)
  if not state then return dispatch.open(job, given) end
  local chain, book = given.chain, again.find(given.engine, job, state)
  given.state, given.has_job = state, book ~= nil
  if not book then
    book = context.book()
    chain.own[1] = book
  end
  chain[3], given.book = book, book
  local driver, message, is_again = dispatch.open(job, given)
  if not driver and job.classes then -- one can't cross: then the tasks that have such objects fail
    job.classes = nil
    codec.clear(book)
    driver, message, is_again = dispatch.open(job, given)
  end
  if driver and not given.has_job and again.note(given.engine, job, state, book, is_again) then chain.own[1] = nil end
  return driver, message
end

--- Opens the driver of a run on workers.
local function open_dispatch(run, job, given)
  local options, name = run.options, run.engine_name
  local state
  if run.is_kept then job.is_sent = true end
  if run.journal and engines.reaches_hosts(name) then given.rows = rows.describe(run) end
  if run.journal and not given.rows then given.joins = false end
  given.chain, given.shares, state = engines.before(name, job, run.source, run.lasts, run.is_kept)
  run.chain = given.chain
  if not run.engine then
    run.engine, run.engine_key = engines.take(name, run.workers, options.memory, run.engines, run.is_kept,
      indexed.is_few(run.source))
    run.owns_engine = true
  end
  given.engine, given.is_sent = run.engine, run.is_kept
  local driver, message = send_job(given, job, state)
  if driver then return driver end
  if run.owns_engine then
    engines.give(run.engine, name, run.engine_key, run.engines)
    run.engine, run.owns_engine = false, false
  end
  error(message, 0)
end

--- What is told of calls that tasks have spawned in the script's own state.
local function taker_of_calls(run)
  return function(index, call) run:all_spawned():tell(index, call) end
end

--- Opens the driver in the script's own state.
local function open_serial(run, job, given)
  policy.complete()
  local options = run.options
  given.tell_part = function(index, share)
    run:note_part(index, share)
    run:tick()
  end
  given.halts = (options.on_error == "halt" or options.max_failures) and function(kind, attempt)
    return not run:may_retry(kind, attempt)
  end
  given.spawned = taker_of_calls(run)
  return serial.open(job, given)
end

local function open_async(run, job, given)
  policy.complete()
  given.spawned = taker_of_calls(run)
  return async.open(job, given)
end

--- How many tasks of the run may be handed out in any order. 0: a result is to be there before those behind it, or the
--- run may end early, and then the first tasks are to be done rather than the last.
local function orderless(run)
  local source, is_fixed = run.source, run.feeder and not run.feeder.puller.turn
  if not run.sink.takes_any_order or source.is_endless or is_fixed then return 0 end
  return not (run.journal or run.limiter or run.reaction or run.options.deadline) and source.n or 0
end

--- Opens the driver of a run. Here and in what every call goes through no function is made: LuaJIT does not compile
--- what makes one.
local function open_driver(run, job)
  local options, name, fold = run.options, run.engine_name, run.fold
  local total = run.feeder and -1 or fold and fold:blocks(run.source.n) or run.source.n
  local given = {
    total = total, chunk = options.chunk or 0, timeout = options.timeout, workers = run.workers, key = run.key,
    source = run.source, feeder = run.feeder or nil, is_pushed = run.is_pushed,
    is_gathered = run.sink.is_gathered and not run.limiter, any_order = orderless(run),
    -- may it be told that one worker did what several have? Not where each worker's work is shown
    joins = not run.is_pushed and not fold and not (options.report or options.trace),
    -- of workers; that the table need not grow
    chain = false, shares = false, state = false, has_job = false, book = false, engine = false, is_sent = false,
  }
  if name ~= "serial" and name ~= "async" then return open_dispatch(run, job, given) end
  given.log = options.log
  if name == "serial" then return open_serial(run, job, given) end
  return open_async(run, job, given)
end

--- A run of workers is over, and nobody else holds it: tables that it was made of serve the next one.
---@param run parlua.Run
function M.recycle(run)
  if not run.engine or run.journal or run.fold then return end
  if run.feeder and run.feeder.writer then
    writer_module.give(run.feeder.writer)
    run.feeder.writer = false
  end
  outcomes.give_batch(run.driver.batch)
  run.driver.batch = false
end

--- What takes tasks that a journal has.
local function passer(run)
  return function(receiver, first, tasks) run.driver:pass(receiver, first, tasks) end
end

--- Prepares the source of a run whose tasks the coordinator supplies.
local function open_feeder(run)
  local source = run.source
  local puller
  if run.journal then
    puller = run.journal:puller(source, run.options.force)
  elseif run.engine_name == "async" then
    puller = supply.in_script(source)
  else
    puller = run.fold and batches.open(source, run.fold) or supply.open(source)
  end
  return feeder.open(puller, run.journal and passer(run))
end

--- Why the run's tasks can't spawn others; nil: they can.
local function refusal_of(run, keep, into)
  if run.is_pushed or run.sink.settle then
    return "a submitted call is one call, its result has no stream that another's could join; use map or imap"
  elseif run.fold then
    return "the function of this reduction calls spawn through another that it does not hold; "
      .. "call it in the function itself"
  elseif into or keep == "found" or keep == "lacking" or not run.sink.takes_spawned then
    return ("the tasks of %s are those of its source alone"):format(run.sink.name or "this call")
  end
end

--- The job that workers get.
local function job_of(run, keep, into)
  local refusal = refusal_of(run, keep, into)
  local same = run.feeder and not into and run.engine_name ~= "serial" and run.engine_name ~= "async"
    and again.job_of(run, keep, refusal)
  if same then return same end
  local source, puller = run.source, run.feeder and run.feeder.puller
  local described = puller and supply.describe(source, puller, run:inherits()) or source:plain()
  if run.is_pushed then described = { kind = "calls" } end
  if run.engine_name == "serial" and described.kind == "values" then
    described = { kind = "local", raw = source.raw }
  end
  return {
    f = run.f, keep = keep, setup = run.options.setup, stdin = run.options.stdin, fold = run.fold or nil,
      source = described, encodes = run.encodes or nil, into = into or nil,
      spawn_refusal = refusal, log_level = run.options.log_level, tag = run.options.tag or nil,
      max_tasks = run.options.max_tasks, limits_memory = run.options.memory and true or nil,
      everywhere = run.everywhere or nil, is_aside = run.is_pushed and library.sets_calls_aside or nil,
  }
end

--- Opens the driver of a run for a sink. Where something in an indexed source can't cross, the tasks are supplied: then
--- those that get it fail, and no others.
local function open_driver_of(run, sink)
  local ok, driver = pcall(open_driver, run, job_of(run, sink.keep, sink.into))
  if ok then return driver end
  if run.fold and run.fold.merge and type(driver) == "string" and driver:find("^cannot send ") then
    run.fold.merge, run.fold.group = nil, nil -- it may be that: then the script alone merges, as on other engines
    ok, driver = pcall(open_driver, run, job_of(run, sink.keep, sink.into))
    if ok then return driver end
  end
  if run.feeder or type(driver) ~= "string" or not driver:find("^cannot send %.source") then error(driver, 0) end
  run.feeder = open_feeder(run)
  return open_driver(run, job_of(run, sink.keep, sink.into))
end

--- Opens the driver of a run. What can't be sent to workers that stay is there for new ones: then the run has its own.
local function open_some_driver(run, sink)
  if not run.is_kept then return open_driver_of(run, sink) end
  local ok, driver = pcall(open_driver_of, run, sink)
  if ok then return driver end
  if type(driver) ~= "string" or not driver:find("^cannot send ") then error(driver, 0) end
  run.is_kept = false
  if not run.journal and run.source:is_made_by_workers(true) then run.feeder = false end
  return open_driver_of(run, sink)
end

--- Opens the source and the driver of a run.
local function open_sides(run, sink, given, is_supplied)
  if is_supplied then run.feeder = open_feeder(run) end
  run.total = run.source:is_indexed() and not run.source.is_endless and run.source.n or nil
  run.driver = given.driver or open_some_driver(run, sink)
  if run.feeder then run.feeder:attach(run.driver.handle, run.driver.chain, run.driver.shares) end
  if not run.journal then return end
  run.journal:look_out(run.driver.handle, run)
  run.driver = replay.open(run.driver, run.journal, run.feeder or nil, sink.keep)
  if run.journal.has_spawned then run:all_spawned() end
end

--- Opens the journal, the source and the driver of a run, in this order; what was opened is closed when the next
--- raises.
local function open_parts(run, sink, seed, given)
  local options = run.options
  local is_supplied = not run.source:is_made_by_workers(run:inherits())
  if options.journal and not task.is_inside() then
    run.journal = journal.open({
      f = run.f, source = run.source, keep = given.unrecorded and "call" or sink.keep, seed = seed,
        indexed = not is_supplied, about = about.of_run(run),
    }, options)
  end
  local is_here = run.engine_name == "serial" or run.engine_name == "async"
  if given.encodes and not is_here and not run.journal and not run.reaction then run.encodes = given.encodes end
  local ok, message = pcall(open_sides, run, sink, given, is_supplied)
  if ok then return end
  if run.journal then pcall(run.journal.close, run.journal) end
  error(message, 0)
end

--- Begins a run.
---@param f function
---@param arguments any what sources.of takes
---@param call_options? table
---@param sink table see the head of this file
---@param given? table options (resolved), base_seed (of a pool), engines (where warm ones are kept), fold, unrecorded
--- (no journal can record it), is_pushed (tasks are submitted calls, calls/sent.lua), lasts (the script goes on while
--- its tasks are handed out), tells_failures (the caller does), on_raise (is given the summary of a run that raises),
--- everywhere (worker/everywhere.lua), after_interrupt, driver (for specs: drive/simulated.lua)
---@return parlua.Run
function M.open(f, arguments, call_options, sink, given)
  given = given or nothing_given
  if policy.interrupted() and not given.after_interrupt then error(policy.interruption(), 0) end
  f = check_function(f)
  -- imap's second result, behind its iterator
  if type(call_options) == "table" and call_options.is_stream then call_options = nil end
  sources.refuse_misunderstood(arguments)
  local options = given.options or options_module.resolve(call_options, given.job_options)
  if (options.into ~= nil or options.as == "array") and not sink.takes_arrays then
    error(("%s: the options into and as are for parlua.map"):format(sink.name or "this call"), 0)
  end
  if (options.type ~= nil or options.fill ~= nil) and options.as ~= "array" then
    error(('%s: the options type and fill are for parlua.map with as = "array"'):format(sink.name or "this call"), 0)
  end
  if not is_prepared and not task.is_inside() then
    is_prepared = true
    C.ask_prepare()
  end
  local engine = engines.choose(options)
  -- the outer limits hold in tasks
  engines.check(engine, task.is_inside() and (call_options or nothing_given) or options)
  local run = setmetatable({
    f = f, source = sources.of(arguments), options = options, engine_name = engine, sink = sink, began = host.now(),
    retry_on = options.retry_on and set_of(options.retry_on) or default_retry_on, retries = options.retries or 0,
    workers = engines.count_workers(engine, options), engines = given.engines or engines.warm, failures = {},
    returned_tasks = 0, reached = 0, told_first = 0, told_last = 0, signals = 0, last = math.huge, ceiling = math.huge,
    -- so that the table need not grow beyond 32 fields; what few runs have stands in their class (policy.lua)
    driver = false, feeder = false, closed = false, engine = false, engine_key = false, owns_engine = false,
    seconds = false, is_told = false, key = NO_KEY, is_nested = task.is_inside(), chain = false, total = nil,
    pace = false,
  }, policy.Run)
  if engines.keeps(engine, run.engines) then run.is_kept = true end
  if given.everywhere then run.everywhere = given.everywhere end
  if given.tells_failures then run.tells_failures = true end
  if given.lasts then run.lasts = true end
  if given.on_raise then run.on_raise = given.on_raise end
  if given.is_pushed then run.is_pushed = true end
  local fold = given.fold
  if fold then
    run.fold = fold
    fold.n, fold.retries, fold.halt = run.source.n, run.retries, options.on_error == "halt"
    fold.retry_on, fold.backoff, fold.seed = run.retry_on, options.backoff, options.seed or 0
    if not fold.merge or not engines.reaches_hosts(engine) then fold.merge, fold.group = nil, nil end
  end
  if options.log then log.open(options.log) end
  if (options.report or options.trace) and not task.is_inside() then
    pages.check_apart(options)
    if options.report then pages.check(options.report) end
  end
  if options.on_error ~= "halt" and options.on_error ~= "skip" then run.reaction = options.on_error end
  if options.on_error == "halt" or options.max_failures then run.limiter = limit.open(options, run.fold) end
  if options.deadline and not given.unrecorded and not task.is_inside() then
    run.deadline = deadline.open(options.deadline)
  end
  local seed, call
  if not given.unrecorded then run.key, seed, call = streams_of(options, call_options, given.base_seed) end
  if options.report then run.seed, run.number = seed, call end
  open_parts(run, sink, options.journal and seed and task.origin(seed, call), given)
  -- a journal records all values of a task together
  if sink.takes_pairs and not run.journal then run.takes_pairs = true end
  run.signals = host.signals_count()
  if options.debug and engine == "serial" and report.is_terminal(0) and report.is_terminal(2) then
    package.loaded["parlua.debugger"]() -- the command's (src/main.c)
  end
  if sink.begin then sink:begin(run) end
  if (options.report or options.trace) and not given.unrecorded and not task.is_inside() then watch.attach(run) end
  local kind = options.progress
  if kind and kind ~= "bar" and kind ~= "none" then run:open_report(kind) end
  if not run.is_nested then C.ask_run(1) end
  return run
end

-- What a call is made of is put into tables, some of them in loops over pairs. Where LuaJIT 2.1.0-beta3 compiles such a
-- loop into one trace with all that follows, and makes its table only at the end (option "sink"), it was seen to make
-- an empty one. So traces end here; what is called from here is compiled by itself. It costs a call 1.5 us.
require("jit").off(M.open)

return M
