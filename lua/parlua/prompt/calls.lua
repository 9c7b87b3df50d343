--- What the prompt does about calls of parlua: they run compiled, Ctrl-C leaves what is done in `results` and
--- `failures`, and the last call is known to %retry and %debug. Put around the functions of run/ and sink/ when a
--- prompt opens, so that programs pay nothing.
local ffi = require "ffi"
local show = require "parlua.prompt.show"
local style = require "parlua.prompt.style"
local task = require "parlua.task"
local terminal = require "parlua.terminal"
require "parlua.wire.header" "lua/ffi_serial.h"

local M = {}

--- The last call that was made at the prompt, or in a script that it runs.
---@class parlua.LastCall
---@field f function
---@field find? fun(): any the function of that name, as it is now
---@field arguments any
---@field key? string of the call's random numbers
---@field options? table
---@field results? table of a map or a job; of a job that reduces, the value
---@field is_list? boolean the results are a list, to which %retry adds
---@field failures parlua.Failure[]
---@field summary parlua.Summary

---@type parlua.LastCall?
M.last = nil

local interrupted -- a run of this statement that Ctrl-C has ended
local failed_run -- the last run of this statement in which tasks failed
local tell -- of run/warning.lua: the line about such a run
local is_quiet = false -- a command tells of failures itself

--- Calls a function with the compiler on: the hot loops of parlua, and what workers inherit, is compiled.
local function compiled(f, ...)
  local before = terminal.compiler(true)
  local function after(ok, ...)
    terminal.compiler(before)
    if not ok then error((...), 0) end
    return ...
  end
  return after(pcall(f, ...))
end

--- Do its tasks run in this state?
local function is_here(run) return run.engine_name == "serial" or run.engine_name == "async" end

--- Has a run on async go on: what has its tasks wait, a module, is not to be interrupted, but they.
local function attend(step, run, wait)
  terminal.attend(true)
  local ok, more = pcall(step, run, wait)
  terminal.attend(false)
  if not ok then error(more, 0) end
  return more
end

--- Is it a run of single calls, which goes on from statement to statement?
local function is_of_futures(run) return run.is_of_futures end

local SIGINT = 2

--- A run has begun, or its script has come back to it. Ctrl-C that came before was caught for the statement alone, and
--- parlua's own code passes over that: the run takes it. What comes from here on, the run catches itself.
local function take_interrupt()
  if terminal.interrupted() and not task.is_inside() then ffi.C.signals_again(SIGINT) end
end

--- Puts what the prompt does around the methods of a run.
local function surround(Run)
  local step, outcome, failed, resume = Run.step, Run.outcome, Run.failed, Run.resume
  function Run.resume(self)
    local was_paused = self.paused
    resume(self)
    if was_paused then take_interrupt() end
  end
  --- Ctrl-C ends the waiting for a submitted call (M.was_interrupted), not the calls.
  local function step_of_futures(self, wait)
    local before = self.signal
    self.cancel = function(run)
      if run.signal ~= "SIGINT" then return Run.cancel(run) end
    end
    local more = compiled(step, self, wait)
    self.cancel = nil
    if self.signal == "SIGINT" then
      self.signal, self.ctrl_c = before, true
      require("parlua.run").forget_interrupt()
    end
    return more
  end
  function Run.step(self, wait)
    if is_of_futures(self) and not task.is_inside() then return step_of_futures(self, wait) end
    local more
    if self.engine_name == "async" then
      more = attend(step, self, wait)
    elseif is_here(self) then
      more = step(self, wait)
    else
      more = compiled(step, self, wait)
    end
    if self.signal and not self.taken and not task.is_inside() then
      self.taken = true
      terminal.disarm() -- the call returns what is done; what made it goes on
      interrupted = self
    end
    return more
  end
  function Run.failed(self, index, record, attempt, worker)
    -- what runs in this state was itself interrupted
    if is_here(self) and type(record) == "table" and record.message == "interrupted"
      and terminal.interrupted() then
      record = { kind = "cancelled", message = "the run was cancelled", seconds = record.seconds }
    end
    return failed(self, index, record, attempt, worker)
  end
  function Run.outcome(self)
    if not task.is_inside() then
      if is_of_futures(self) then return outcome(self) end
      M.last = { f = self.f, options = self.options, failures = self.failures, summary = self:summary(),
        key = self.key }
      show.know_failures(self.failures)
    end
    return outcome(self)
  end
end

--- Was Ctrl-C typed while the calls of a pool were waited for?
function M.was_interrupted(pool)
  local run = pool.run
  if not run or not run.ctrl_c then return false end
  run.ctrl_c = nil
  return true
end

local installed = false

--- Once, when the first prompt opens.
function M.install()
  if installed then return end
  installed = true
  local run_module, list = require "parlua.run", require "parlua.sink.list"
  local open, map = run_module.open, list.map
  local surrounded = false
  function run_module.open(...)
    local run = compiled(open, ...)
    if not surrounded then
      surrounded = true
      surround(getmetatable(run))
    end
    take_interrupt()
    return run
  end
  local warning = require "parlua.run.warning"
  tell = warning.tell
  --- Told after the statement, which may show the failures itself.
  function warning.tell(run)
    if task.is_inside() then return tell(run) end
    run.place = run.place or warning.place()
    if not is_quiet and not run.signal then failed_run = run end
  end
  function list.map(f, arguments, options, given)
    local results, failures, summary = map(f, arguments, options, given)
    if not task.is_inside() then
      show.know_results(results, failures, summary)
      M.last = { f = f, arguments = arguments, options = options, results = results, failures = failures,
        summary = summary, is_list = true, key = M.last and M.last.key }
    end
    return results, failures, summary
  end
end

--- What came of a job is that of the last call.
---@param results any
---@param is_list boolean they are a list
---@param failures? parlua.Failure[] nil: the run was halted
---@param summary? parlua.Summary
function M.keep_results(results, is_list, failures, summary)
  local last = M.last or {}
  if is_list and failures then show.know_results(results, failures, summary) end
  M.last = { f = last.f, options = last.options, key = last.key, results = results, is_list = is_list,
    failures = failures or last.failures, summary = summary or last.summary }
end

function M.begin_statement() interrupted, failed_run = nil, nil end

local published = {} -- what the globals of these names were given
local published_call -- whose they are

--- `results`, `failures` and `summary` are those of the last call, as long as nobody gives these names other values.
local function publish(session)
  local last = M.last
  if session.variables or not last or last == published_call then return end
  published_call = last
  for _, name in ipairs { "results", "failures", "summary" } do
    if rawequal(rawget(_G, name), published[name]) then
      rawset(_G, name, last[name])
      published[name] = last[name]
    end
  end
end

--- Tells of failures that the statement has not shown. They are `failures` from here on.
---@param session parlua.Session
---@param ... any what the statement gave, if that was shown
function M.tell_failures(session, ...)
  local run = failed_run
  failed_run = nil
  if not run or session.variables then return end
  for k = 1, select("#", ...) do
    if select(k, ...) == run.failures then return end
  end
  tell(run)
  rawset(_G, "failures", run.failures)
  published.failures = run.failures
  if #run.failures > 0 then session:tell_error(style.paint("faint", "see failures, %debug, %retry")) end
end

--- Remembers what the function of the last call is called, so that %retry and %debug run it as it is defined then.
local function remember_name(session)
  local last = M.last
  if not last or last.find then return end
  local function is_its(value) return value == last.f end
  for _, name in ipairs(session.locals:names()) do
    if is_its(session.locals:get(name)) then
      last.find = function() return session.locals:get(name) end
      return
    end
  end
  for name, value in next, _G do
    if is_its(value) then
      last.find = function() return rawget(_G, name) end
      return
    end
  end
  last.find = function() return last.f end
end

--- The function of a call as it is now.
local function present_function(last)
  local f = last.find and last.find()
  return type(f) == "function" and f or last.f
end

--- Has Ctrl-C ended a call of this statement, of which the line after it tells?
function M.is_interrupted() return interrupted ~= nil and not is_of_futures(interrupted) end

--- After Ctrl-C in a call: says what is done, and where it is.
function M.end_statement(session)
  remember_name(session)
  publish(session)
  if not interrupted then return end
  local run, last = interrupted, M.last
  interrupted = nil
  local is_last = last and last.failures == run.failures
  local summary = is_last and last.summary or run:summary() -- the same table: %retry changes it
  if is_of_futures(run) then return session:tell_error(style.paint("error", "interrupted")) end
  local total = summary.tasks + summary.cancelled
  local cut = show.count_cut_off(run.failures)
  local done, left = summary.tasks, run.total and summary.cancelled - cut or 0
  local parts = { ("%.0f of %s done"):format(done, run.total and show.plural(total, "task") or "the tasks") }
  if summary.failed > 0 then parts[#parts + 1] = ("%.0f failed"):format(summary.failed) end
  if cut > 0 then parts[#parts + 1] = ("%.0f cut off"):format(cut) end
  if left > 0 then parts[#parts + 1] = ("%.0f not begun"):format(left) end
  local names = session.variables or _G
  if is_last and last.results then
    rawset(names, "results", last.results)
    parts[#parts + 1] = "see results, failures, summary"
  else
    parts[#parts + 1] = "see failures, summary"
  end
  rawset(names, "failures", run.failures)
  rawset(names, "summary", summary)
  if names == _G then published = { results = rawget(_G, "results"), failures = run.failures, summary = summary } end
  session:tell_error(style.paint("error", "interrupted: ") .. table.concat(parts, ", "))
  if cut > 0 and run.engine_name == "threads" then
    local text = ("Threads cannot be stopped: %s, and meanwhile the process engine cannot be used. Use %%options "
      .. "engine=process for tasks that may take for ever."):format(cut == 1 and "one task runs on until it ends by "
      .. "itself" or cut .. " tasks run on until they end by themselves")
    session:tell_error(table.concat(require("parlua.prompt.width").wrap(text, terminal.size() - 1, ""), "\n"))
  end
end

--- Calls a function with calls that tell of no failures.
function M.quietly(f, ...)
  is_quiet = true
  local function after(ok, ...)
    is_quiet = false
    if not ok then error((...), 0) end
    return ...
  end
  return after(pcall(f, ...))
end

--- The map function of a run that tries tasks of a call again: with the function as it is now, and the numbers of the
--- task's own place.
local function in_place_of(last)
  local f, key = present_function(last), last.key
  return function(_, index, ...)
    if key then task.set_key(key, index) end
    return f(...)
  end
end

--- Runs the tasks of the last call that failed once more. Results go to their places, what fails again stays in the
--- list of failures.
---@return integer returned
---@return integer failed
---@return integer not_begun tasks that are not run again, as they never ran
---@return table? unplaced the results, where the call has no list to which they belong
function M.retry()
  local last = M.last
  if not last then error("there was no call yet", 0) end
  local failures = last.failures
  if #failures == 0 then error("no task of the last call failed", 0) end
  local again, options = {}, {}
  for k, failure in ipairs(failures) do again[k] = failure end
  for name, value in pairs(last.options or {}) do options[name] = value end
  options.journal, options.resume, options.retry_failed, options.force = nil, nil, nil, nil
  options.max_failures, options.on_error = nil, "skip"
  options.debug, options.output, options.format = nil, nil, nil
  local run_again = in_place_of(last)
  local source = require("parlua").iterate(function(_, k)
    k = k + 1
    if again[k] then return k, again[k].index, unpack(again[k].args, 1, again[k].args.n) end
  end, nil, 0)
  local results, failed_again = M.quietly(require("parlua.sink.list").map, run_again, source, options)
  local is_left = {}
  for _, failure in ipairs(failed_again) do is_left[failure.index] = failure end
  local kept, summary = {}, last.summary
  local not_begun = summary.cancelled - show.count_cut_off(again)
  for k, failure in ipairs(again) do
    local new = is_left[k]
    local has_ended = k <= results.n and not (new and new.kind == "cancelled")
    if has_ended and failure.kind == "cancelled" then
      summary.tasks, summary.cancelled = summary.tasks + 1, summary.cancelled - 1
    end
    if new or k > results.n then
      if new then
        new.index, new.args = failure.index, failure.args
        new.attempts = (failure.attempts or 0) + (new.attempts or 1)
      end
      kept[#kept + 1] = new or failure
    elseif last.is_list then
      last.results[failure.index] = results[k]
    end
  end
  for k = 1, #again do failures[k] = kept[k] end
  summary.failed = #kept - show.count_cut_off(kept)
  summary.returned = summary.tasks - summary.failed
  M.last = last
  return #again - #kept, #kept, not_begun, not last.is_list and results or nil
end

--- Runs the first task of the last call that failed in this state, and opens the debugger where it fails.
---@return boolean failed
---@return string? message else: how it had failed, where that may have been behind the task's own function
function M.debug()
  local last = M.last
  local failure = last and last.failures[1]
  for _, one in ipairs(last and last.failures or {}) do -- the first that can be run in this process
    if one.kind ~= "crash" and one.kind ~= "memory" and one.kind ~= "cancelled" then
      failure = one
      break
    end
  end
  if not failure then error(last and "no task of the last call failed" or "there was no call yet", 0) end
  if failure.kind == "crash" or failure.kind == "memory" then
    error(("task %s ended its worker (%s): run here, it would end this session; its arguments are in "
      .. "failures[1].args, %%retry runs it in a worker again"):format(tostring(failure.index), failure.message), 0)
  end
  local debugger, failure_module = require "parlua.prompt.debugger", require "parlua.failure"
  local observer = failure_module.observer
  local opened = false
  failure_module.observer = function(record, level)
    opened = true
    debugger.open(record, level + 1, failure.index)
  end
  local options = { engine = "serial", progress = "none", setup = last.options and last.options.setup }
  local source = require("parlua").iterate(function(_, k)
    if k == 0 then return 1, failure.index, unpack(failure.args, 1, failure.args.n) end
  end, nil, 0)
  local ok, message = pcall(M.quietly, require("parlua.sink.list").map, in_place_of(last), source, options)
  failure_module.observer = observer
  M.last = last
  if not ok then error(message, 0) end
  return opened, not last.is_list and failure.message or nil
end

return M
