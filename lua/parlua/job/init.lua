--- Job scripts: scripts that return a table with a map function and, usually, the arguments to run it over.
--
--   job.map(...)      run for each task, in parallel
--   job.arguments     where the tasks come from: a function, given the words of the command line, that returns a list,
--                     a generator (`parlua.range`) or an iterator, or that yields the arguments of one task after the
--                     other; or a list or generator itself. Absent: each word is a task
--   job.options       options of the run, weaker than the command line's
--   job.reduce        what becomes of the results: a reducer (`parlua.mean`), a table of reducers, a table with `init`,
--                     `step` and, if there are any, `merge`, `stop`, `finish`, as for parlua.reduce; or a function: the
--                     step. The one value is written instead of the results
--   job.stop          stop(accumulator) of a job that reduces; else stop(result, index): when it is true, that was
--                     enough
--   job.columns       of the formats csv and tsv: names of the columns, in their order
--   job.finish(results, failures, summary)
--                     called at the end, also after Ctrl-C, but not when a failure halted the run; `results` has
--                     holes where tasks failed. Of a job that reduces it gets the value
--
-- `run` writes the results to standard output or to a file, failures and one line of summary to standard error, and
-- returns the exit status. The file appears under its name once the run is complete; what an interrupted or halted run
-- has done is left in `FILE.partial`. The formats:
--
--   jsonl   one line a task, {"index":1,"args":[..],"result":..} or
--           {"index":1,"args":[..],"error":{"kind":..,"message":..}}; parlua.json says how values are written that JSON
--           lacks
--   json    the same objects in one array
--   text    results only, one a line: strings as they are, other values as JSON; nil and failures write nothing
--   csv     results only, rows of comma-separated values under the names of their fields, or of job.columns
--   tsv     the same, separated by tabs
--   none    nothing

local bit = require "bit"
local ffi = require "ffi"
local common = require "parlua.common"
local description = require "parlua.job.description"
local formats = require "parlua.job.format"
local host = require "parlua.host"
local json = require "parlua.wire.json"
local options_module = require "parlua.options"
local outputs = require "parlua.job.output"
local pages = require "parlua.lazy" "parlua.run.pages"
local report = require "parlua.report"
local shards = require "parlua.lazy" "parlua.job.shard"
local texts = require "parlua.job.text"

ffi.cdef [[
int ferror(void *stream);
struct parlua_polled { int fd; short events, revents; };
int parlua_poll(struct parlua_polled *polled, unsigned long count, int milliseconds) __asm__("poll");
]]

local C = ffi.C

local M = {}

local format = string.format

local EXIT = { returned = 0, failed = 1, wrong = 2, SIGHUP = 129, SIGINT = 130, SIGPIPE = 141, SIGTERM = 143,
  later = 75 }
local EINTR, EPIPE = 4, 32
local POLLERR = 8 -- of a pipe: nobody reads it

local SHOWN_FAILURES = 10 -- failures told one by one on standard error

--- What one run keeps: where and how it writes, and what has been seen so far.
local function new_run(job, options, output, manner)
  return {
    job = job,
    map = job.map,
    options = options,
    output = output,
    format = manner.format or formats.of(options.format, job.columns),
    with_traceback = options.debug,
    is_quiet = options.progress == "json",   -- standard error holds events, which tell the same
    manner = manner,
    results = (job.finish and not manner.forgets or manner.keep) and {} or nil,
    most_kept = job.finish and not manner.forgets and math.huge or manner.keeps,
    is_first = true,
    returned = 0,
    reached = 0,
    failed = 0,
    shown = {},
  }
end

--- Tells of a failure on standard error, if there were not too many.
local function show_failure(run, failure, with_traceback)
  if failure.kind == "cancelled" then return end -- the summary counts those
  run.failed = run.failed + 1
  if run.failed > SHOWN_FAILURES and not with_traceback then return end
  run.shown[failure.index] = true
  if not run.is_quiet then report.print("stderr", texts.failure(failure, with_traceback or run.with_traceback)) end
end

--- Takes one task's outcome; returns false when no more can be written.
local function take_outcome(run, index, args, result, failure, is_encoded)
  local stop = run.job.stop
  if run.shard then
    index, args = shards.place_of(args)
    if failure then failure.index, failure.args = index, args end
  end
  run.reached = math.max(run.reached, index)
  local told = run.format.put(run.output.buffer, run.is_first, index, args, result, failure, is_encoded)
  run.is_first = false
  if told then
    run.output:flush()
    report.print("stderr", told)
  end
  if failure then
    show_failure(run, failure)
  else
    run.returned = run.returned + 1
    if run.results and index <= run.most_kept then run.results[index] = result end
  end
  if stop and not failure and stop(result, index) then return false end
  -- where a signal came while nobody read the output, the run has to see it
  return run.output:settle() or run.output.code == EINTR
end

--- Takes lines of tasks that workers have written.
local function take_lines(run, first, n, lines)
  run.reached = math.max(run.reached, first + n - 1)
  run.format.put_lines(run.output.buffer, run.is_first, n, lines)
  run.is_first, run.returned = false, run.returned + n
  return run.output:settle() or run.output.code == EINTR
end

--- Keeps the summary of a run that is about to raise, to be told.
local function take_summary(run, summary)
  summary.halted = true
  run.summary = summary
end

--- Runs the tasks of a job that reduces. Returns failures and summary; or nil and the error.
local function run_reduction(run, source, options, plan)
  local ran, value, failures, summary = xpcall(function()
    local given = { options = options, tells_failures = true, on_raise = function(...) take_summary(run, ...) end }
    return require("parlua.sink.reduce").run_plan(run.job.map, source, plan, nil, given)
  end, function(raised)
    return type(raised) == "string" and options.debug and debug.traceback(raised, 2) or raised
  end)
  if not ran then return nil, value end
  for _, failure in ipairs(failures) do show_failure(run, failure) end
  run.returned = summary.returned
  run.results = value
  local put_value = formats.of(options.format, run.job.columns).put_value
  if put_value then
    put_value(run.output.buffer, value)
  elseif options.format == "text" and type(value) == "string" then
    run.output.buffer:put(value, "\n")
  elseif options.format ~= "none" then
    json.put(run.output.buffer, value, "/value")
    run.output.buffer:put("\n")
  end
  return failures, summary
end

--- Runs the tasks. Returns failures and summary; or nil and the error.
local function run_tasks(run, source, options)
  local outcomes = require("parlua.sink.visit").outcomes
  -- While tasks take long, their elders' lines don't wait.
  local unsubscribe = report.subscribe(function(event)
    if event == "progress" and #run.output.buffer > 0 then run.output:settle() end
    if event == "waiting" then run.output:flush() end
  end)
  local function handle(value)
    if type(value) == "string" and options.debug then return debug.traceback(value, 2) end
    return value
  end
  -- where nobody but the file wants the results, workers write their lines
  local encodes = run.format.takes_encoded and not run.results and not run.job.stop and not run.shard
  local needs_arguments = run.format.writes_arguments or run.shard ~= nil -- a shard's tasks know their places by them
  local ran, failures, summary = xpcall(function()
    return outcomes(run.map, source, nil, function(index, args, result, failure, is_encoded)
      return take_outcome(run, index, args, result, failure, is_encoded)
    end, {
      options = options, encodes = encodes and (run.format.encodes or true), without_arguments = not needs_arguments,
      visit_lines = function(...) return take_lines(run, ...) end,
      on_raise = function(...) take_summary(run, ...) end,
    })
  end, handle)
  unsubscribe()
  if ran then return failures, summary end
  return nil, failures
end

--- The failure for which the run was halted: tells of it and writes it, if that has not been done.
local function take_halt(run, failure)
  if not run.shown[failure.index] then
    show_failure(run, failure, true)
    run.format.put(run.output.buffer, run.is_first, failure.index, failure.args or { n = 0 }, nil, failure)
    run.is_first = false
  elseif not run.is_quiet and not run.with_traceback then
    report.print("stderr", texts.traceback(failure))
  end
end

--- Hands the results on, in a manner that keeps them; `failures` and `summary` are nil when the run raised.
local function hand_on(run, failures, summary)
  if not run.manner.keep or run.is_part then return end
  if not run.reduces then run.results.n = math.max(run.results.n or 0, run.reached) end
  run.manner.keep(run.results, not run.reduces, failures, summary)
end

--- Calls the job's finish. Returns true, or nil and the error with its traceback.
local function call_finish(run, failures, summary)
  if not run.reduces and run.results then run.results.n = run.reached end
  return xpcall(function() run.job.finish(run.results, failures, summary) end, function(value)
    local text = texts.error_text(value)
    return run.manner.finish and text or debug.traceback(text, 2)
  end)
end

--- The error number of what could not be written to standard output by print, or nil.
local function stdout_error()
  local flushed, _, code = io.stdout:flush()
  if not flushed then return code end
  if C.ferror(io.stdout) == 0 then return nil end
  local polled = ffi.new("struct parlua_polled", 1)
  return C.parlua_poll(polled, 1, 0) > 0 and bit.band(polled.revents, POLLERR) ~= 0 and EPIPE or -1
end

--- Tells of what could not be written and returns the exit status.
local function unwritable(name, code, partial)
  if code == EPIPE then return EXIT.SIGPIPE end
  if code == EINTR then return nil end -- a signal ends the run, and nobody read the output
  texts.say("cannot write the results to %s: %s%s", name, code > 0 and host.strerror(code) or "writing failed",
    partial and ("; what was written is in '%s'"):format(partial) or "")
  return EXIT.wrong
end

--- Ends the output. Returns an exit status if it could not be written.
local function close_output(run, outcome)
  local output = run.output
  if run.format.close and outcome ~= "discard" then run.format.close(output.buffer, run.is_first) end
  local partial = output:close(outcome)
  if output.code then return unwritable(output.name, output.code, partial) end
  if partial then texts.say("what was done is in '%s'", partial) end
  return nil
end

--- Ends a run that raised `raised`: a failure that halted it, or a message. Returns the exit status.
local function end_badly(run, raised)
  local is_failure = type(raised) == "table" and raised.kind ~= nil
  if is_failure then
    take_halt(run, raised)
  else
    texts.say("%s", texts.error_text(raised))
  end
  local summary = run.summary
  if summary and run.manner.summary then summary = run.manner.summary(summary) end
  local status = close_output(run, not (run.is_first or run.reduces) and "partial" or "discard")
  if summary and summary.tasks > 0 and not run.is_quiet then report.print("stderr", texts.summary(summary)) end
  return status or (is_failure and EXIT.failed or EXIT.wrong)
end

--- Ends a run that returned, if not of all tasks. Returns the exit status.
local function end_well(run, failures, summary)
  local manner = run.manner
  if manner.summary then summary = manner.summary(summary) end
  local status = close_output(run, (summary.interrupted or summary.stopped) and "partial" or "complete")
  if status == EXIT.SIGPIPE then return status end
  if run.job.finish and not run.is_part and not status then
    local finished, message = call_finish(run, failures, summary)
    if not finished then
      texts.say("%s raised an error: %s", manner.finish or "the job's `finish`", message)
      status = EXIT.wrong
    end
  end
  local code = stdout_error()
  if code and not status then
    status = unwritable("standard output", code)
    if status == EXIT.SIGPIPE then return status end
  end
  local untold = run.failed - SHOWN_FAILURES
  if not run.is_quiet then
    if untold > 0 then
      texts.say("%s failed%s", common.count(untold, "more task"), run.format.writes_failures
        and "; the results name each" or "")
    end
    local rest = manner.rest and manner.rest()
    if rest then report.print("stderr", rest) end
    report.print("stderr", texts.summary(summary))
    if summary.out_of_time then texts.say_how_to_go_on(run.options) end
  end
  return status or EXIT[summary.interrupted] or summary.out_of_time and EXIT.later
    or summary.failed > 0 and EXIT.failed or EXIT.returned
end

--- May the job be run in parts?
local function check_shard(options, plan)
  if plan and not options.journal then
    error("the option shard: a job that reduces has its value when all tasks are done: name a file with --journal, put "
      .. "the journals of all shards together with `parlua merge`, and go on from that with --resume", 0)
  end
  return options.shard
end

--- Makes the run one of a part of the job. Returns its options and its source.
local function use_shard(run, options, source)
  run.shard = options.shard
  run.map, source = shards.of(run.job.map, source, options.shard)
  if run.job.reduce ~= nil then run.format, run.results, run.is_part = formats.none, nil, true end
  local reaction = options.on_error
  if type(reaction) ~= "string" then
    local changed = {}
    for name, value in pairs(options) do changed[name] = value end
    changed.on_error = function(failure)
      local index, args = failure.index, failure.args
      failure.index, failure.args = shards.place_of(args)
      local function back(...)
        failure.index, failure.args = index, args
        return ...
      end
      return back(reaction(failure))
    end
    options = changed
  end
  return options, source
end

--- Looks at all that can be wrong before anything runs, and opens the output. Raises a message.
local function prepare(job, manner, ...)
  local function check(value, message)
    if message then error(message, 0) end
    return value
  end
  check(nil, description.complaint(job))
  local options = options_module.resolve(nil, job.options)
  if manner.adapt then options, job.map = manner.adapt(options, job.map) end
  local plan = check(description.plan(job))
  local source = check(description.arguments(job, ...))
  if options.output then pages.check_apart(options) end
  local script = rawget(_G, "arg") and arg[0]
  if options.output and type(script) == "string" and outputs.is_same(options.output, script) then
    error(format("option 'output': %s is the script itself; name another file", options.output), 0)
  end
  local output = check(outputs.open(options.output))
  output.resumes, output.is_by_line = options.resume, options.format == "jsonl"
  local shard = options.shard and check_shard(options, plan)
  return options, not shard and plan or nil, source, output
end

local function run_job(job, manner, ...)
  host.ignore_sigpipe()
  local right, options, plan, source, output = pcall(prepare, job, manner, ...)
  local run = right and new_run(job, options, output, manner)
  if right and options.shard then right, options, source = pcall(use_shard, run, options, source) end
  if not right then
    texts.say("%s", texts.error_text(options))
    return EXIT.wrong
  end
  local failures, outcome
  if plan then
    run.reduces, run.format = true, formats.none
    failures, outcome = run_reduction(run, source, options, plan)
  else
    failures, outcome = run_tasks(run, source, options)
  end
  hand_on(run, failures, failures and outcome)
  if not failures then return end_badly(run, outcome) end
  return end_well(run, failures, outcome)
end

--- Runs a job in a manner of its own.
---@param job table
---@param manner? table of what is other than usual. format: writes results, as those in format.lua do, and may return
--- what is to be written to standard error; adapt(options, map): other options and another map function for this run;
--- status(status) makes the exit status; summary(summary) what is told;
--- keep(results, is_list, failures, summary) gets the results of the first `keeps` tasks, or a reduction's value;
--- rest(): a line before that; finish: what the job's `finish` is, in words (a line that needs no traceback); forgets:
--- results are not kept for `finish`
---@param ... string the command line's words
---@return integer status
function M.run_as(job, manner, ...)
  manner = manner or {}
  local status = run_job(job, manner, ...)
  return manner.status and manner.status(status) or status
end

--- Runs a job: see the head of this file.
---@param job table what the script returned
---@param ... string the command line's words after the script
---@return integer status 0: all tasks returned; 1: some failed; 2: the job or an option is wrong, or the results can't
---   be written; 130, 143: interrupted, terminated; 141: nobody reads the results any more
function M.run(job, ...) return run_job(job, {}, ...) end

return M
