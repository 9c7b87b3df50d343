--- Progress reporters: subscribers to the events of a run.
--
-- A run opens one reporter and tells it what happens: `start`, `progress` (as often as it likes), `failure`, `print`
-- (text that the script or a task wrote) and `finish` (always, also after an error). Times come with the events, in
-- seconds since the start, so a reporter reads no clock. A reporter never raises and never ends a run: what can't be
-- written is dropped, and a progress function that raises is reported once and not called again.
--
--   bar        one line at the foot of the terminal, redrawn at most 10 times a second; not before 0.2 s, and erased at
--              the end
--   plain      a line every few seconds
--   json       one JSON object a line for each event, `{"event":"progress","done":..}`; progress at most 10 times a
--              second
--   none       nothing
--   function   called as f(event, data) for each event
--
-- Whoever writes to the terminal while a run may be going on uses `report.print`, which goes through the open reporter,
-- so that the text stands above the bar. Other parts follow the events of every run with `report.subscribe`.

local ffi = require "ffi"
local json = require "parlua.lazy" "parlua.wire.json"
local new_buffer = require("string.buffer").new

local floor, format, max = math.floor, string.format, math.max

ffi.cdef [[
int isatty(int fd);
int fileno(void *stream);
int ioctl(int fd, unsigned long request, ...);
]]

local M = {}

local STDERR_FD = 2
local TIOCGWINSZ = 0x5413      -- asm-generic/ioctls.h
local FIRST_UPDATE = 0.2       -- seconds: shorter runs show no bar
local UPDATE_INTERVAL = 0.1    -- seconds between two drawings of the bar
local PLAIN_INTERVAL = 3       -- seconds between two plain lines
local RATE_MEMORY = 10         -- seconds after which an old measurement counts for a third

local open_reporters = {}      -- the last is the one that owns the terminal
local subscribers = {}

-- Numbers for people ----------------------------------------------------------------------------------------------

--- A length of time in its two largest units: "0.4 s", "12 s", "3 min 20 s", "2 h 5 min", "3 d 4 h".
---@param seconds number
---@return string
function M.duration(seconds)
  if seconds < 9.95 then return format("%.1f s", seconds) end
  seconds = floor(seconds + 0.5)
  if seconds < 60 then return seconds .. " s" end
  if seconds < 3600 then return format("%d min %d s", floor(seconds / 60), seconds % 60) end
  local minutes = floor(seconds / 60)
  if minutes < 24 * 60 then return format("%d h %d min", floor(minutes / 60), minutes % 60) end
  local hours = floor(minutes / 60)
  return format("%d d %d h", floor(hours / 24), hours % 24)
end

--- A rate with three digits or so: "45 tasks/s", "1.2M tasks/s", "6 tasks/min".
local function rate_text(per_second)
  if per_second >= 999.5e6 then return format("%.1fG tasks/s", per_second / 1e9) end
  if per_second >= 999.5e3 then return format("%.1fM tasks/s", per_second / 1e6) end
  if per_second >= 9999.5 then return format("%.0fk tasks/s", per_second / 1e3) end
  if per_second >= 9.95 then return format("%.0f tasks/s", per_second) end
  if per_second >= 1 then return format("%.1f tasks/s", per_second) end
  if per_second >= 1 / 60 then return format("%.1f tasks/min", per_second * 60) end
  return format("%.1f tasks/h", per_second * 3600)
end

M.rate = rate_text

--- A length of time that may be short: "85 us", "12.5 ms", and as M.duration from a second on.
---@param seconds number
---@return string
function M.short_duration(seconds)
  if seconds < 1e-6 then return format("%.0f ns", seconds * 1e9) end
  if seconds < 1e-3 then return format(seconds < 1e-5 and "%.1f us" or "%.0f us", seconds * 1e6) end
  if seconds < 0.9995 then return format(seconds < 1e-2 and "%.1f ms" or "%.0f ms", seconds * 1e3) end
  return M.duration(seconds)
end

-- What is known of the run ----------------------------------------------------------------------------------------

--- The time left, so that it does not jump: it runs down by itself, and bends to what the rate says within a share of
-- what it is.
local function smooth(left, elapsed, state)
  if not state.tasks or state.rate_seconds <= 0 or state.rate_tasks <= 0 then return nil end
  local now = max(0, state.tasks - state.done - (state.part or 0)) * state.rate_seconds / state.rate_tasks
  if not left or now == 0 then return now end
  local run_down = max(0, left - elapsed)
  return run_down + (now - run_down) * (1 - math.exp(-elapsed / max(0.5, 0.1 * run_down)))
end

--- Takes in an event's numbers and measures the rate: an average in which the past fades, so that the time left
-- follows tasks that grow longer, and which is the plain average at the beginning.
local function update(state, data)
  state.tasks = data.tasks or state.tasks
  state.failed = data.failed or state.failed
  local done, seconds = data.done or state.done, data.seconds or state.seconds
  local elapsed = seconds - state.seconds
  state.part, state.longest_task, state.longest_seconds = data.part or 0, data.longest_task, data.longest_seconds
  if elapsed > 0 then
    local keep = math.exp(-elapsed / max(RATE_MEMORY, seconds / 4)) -- a long run forgets more slowly
    local resumed = data.resumed or 0 -- a journal had their outcomes: they tell nothing of the time that tasks take
    state.rate_tasks = state.rate_tasks * keep + (done - state.done) - (resumed - (state.resumed or 0))
    state.resumed = resumed
    state.rate_seconds = state.rate_seconds * keep + elapsed
    state.done, state.seconds = done, seconds
    state.left = smooth(state.left, elapsed, state)
  end
end

--- A fresh state of what is known.
local function new_state()
  return { done = 0, failed = 0, seconds = 0, rate_tasks = 0, rate_seconds = 0, kinds = {} }
end

--- Tasks per second, or nil while nothing is known.
local function rate_of(state)
  if state.rate_seconds <= 0 or state.rate_tasks <= 0 then return nil end
  return state.rate_tasks / state.rate_seconds
end

--- Seconds until the last task ends, or nil while nothing is known.
local function seconds_left(state) return state.tasks and state.left end

--- Kinds of failures, the most frequent first: "2 error, 1 timeout".
---@param counts table<string, integer>
---@return string text, integer kinds
function M.kinds_text(counts)
  local kinds, parts = {}, {}
  for kind in pairs(counts) do kinds[#kinds + 1] = kind end
  table.sort(kinds, function(a, b)
    if counts[a] ~= counts[b] then return counts[a] > counts[b] end
    return a < b
  end)
  for k, kind in ipairs(kinds) do parts[k] = format("%.0f %s", counts[kind], kind) end
  return table.concat(parts, ", "), #kinds
end

--- "3 failed", and by kind: " (2 error, 1 timeout)".
local function failed_text(state)
  local text, kinds = M.kinds_text(state.kinds)
  return format("%.0f failed", state.failed), kinds > 1 and " (" .. text .. ")" or ""
end

--- Which task has kept the run waiting, when nothing ends; or nil.
local function stall_text(state)
  return state.longest_task and format("task %.0f for %s", state.longest_task, M.duration(state.longest_seconds))
end

--- "1 task", "2 tasks".
local function count(n, noun)
  return format("%.0f %s%s", n, noun, n == 1 and "" or "s")
end

-- Writing ---------------------------------------------------------------------------------------------------------

--- The object to write to: "stdout" and 1, "stderr" and 2 stand for the standard streams.
local function stream_of(stream)
  if stream == "stdout" or stream == 1 then return io.stdout end
  if stream == "stderr" or stream == 2 then return io.stderr end
  return stream
end

--- Writes and flushes; returns true, or nil, message and errno, whatever the stream does.
local function write(stream, text)
  local called, written, message, code = pcall(stream.write, stream, text)
  if not called then return nil, tostring(written) end
  if not written then return nil, message, code end
  called, written, message, code = pcall(stream.flush, stream)
  if not called then return nil, tostring(written) end
  if not written then return nil, message, code end
  return true
end

--- Is this file descriptor a terminal?
---@param fd integer
---@return boolean
function M.is_terminal(fd)
  return ffi.C.isatty(fd) == 1
end

--- Columns of the terminal on standard error: COLUMNS if it is set, else what the terminal says, else 80.
local function terminal_columns()
  local columns = tonumber(os.getenv("COLUMNS") or "")
  if columns and columns >= 1 then return columns end
  local size = ffi.new("unsigned short[4]")   -- struct winsize: rows, columns, and the size in pixels
  if ffi.C.ioctl(STDERR_FD, TIOCGWINSZ, size) == 0 and size[1] > 0 then return size[1] end
  return 80
end

-- The reporters ---------------------------------------------------------------------------------------------------

-- Each is a table of functions on a reporter: on_start, on_progress, on_failure, on_print, on_finish, of which any may
-- be absent.
-- `reporter.due` is the time at which progress is next of interest.

local bar = require "parlua.report.bar" {
  rate_of = rate_of, seconds_left = seconds_left, failed_text = failed_text, stall_text = stall_text, count = count,
  rate = rate_text, duration = M.duration, write = write, first_update = FIRST_UPDATE,
  update_interval = UPDATE_INTERVAL,
}

local plain = {}

--- One line of progress.
local function plain_text(state)
  local parts = { state.tasks and format("%.0f of %s", state.done, count(state.tasks, "task"))
                  or count(state.done, "task") }
  if state.failed > 0 then parts[#parts + 1] = table.concat({ failed_text(state) }) end
  local rate, left = rate_of(state), seconds_left(state)
  if rate then parts[#parts + 1] = rate_text(rate) end
  parts[#parts + 1] = left and M.duration(left) .. " left" or M.duration(state.seconds)
  parts[#parts + 1] = stall_text(state)
  return "parlua: " .. table.concat(parts, ", ") .. "\n"
end

function plain.on_start(reporter)
  reporter.due = reporter.interval   -- seconds between two lines
end

function plain.on_progress(reporter, data)
  reporter.due = data.seconds + reporter.interval
  write(reporter.stream, plain_text(reporter.state))
end

local json_lines = {}

-- A failure's members that a reader gets; `args` is a packed list and written apart.
local FAILURE_MEMBERS = { "kind", "message", "traceback", "worker", "host", "attempts", "seconds" }

--- Writes one event as a line.
local function write_event(reporter, event, data)
  local buffer = new_buffer()
  buffer:put('{"event":"', event, '"')
  local keys = {}
  for key, value in pairs(data or {}) do
    if type(key) == "string" and type(value) ~= "table" then keys[#keys + 1] = key end
  end
  table.sort(keys)
  for _, key in ipairs(keys) do
    buffer:put(",", json.encode(key), ":")
    json.put(buffer, data[key])
  end
  buffer:put("}\n")
  return write(reporter.stream, buffer:tostring())
end

function json_lines.on_start(reporter, data)
  reporter.due = 0
  write_event(reporter, "start", data)
end

function json_lines.on_progress(reporter, data)
  reporter.due = data.seconds + UPDATE_INTERVAL
  write_event(reporter, "progress", data)
end

function json_lines.on_failure(reporter, failure)
  local buffer = new_buffer()
  buffer:put('{"event":"failure","index":')
  json.put(buffer, failure.index)
  if type(failure.args) == "table" then
    buffer:put(',"args":')
    json.put_list(buffer, failure.args, nil, "/args")
  end
  for _, name in ipairs(FAILURE_MEMBERS) do
    if failure[name] ~= nil then
      buffer:put(',"', name, '":')
      json.put(buffer, failure[name])
    end
  end
  buffer:put("}\n")
  write(reporter.stream, buffer:tostring())
end

-- Standard error holds events only; other text that goes there becomes one.
function json_lines.on_print(reporter, stream, text)
  if stream == reporter.stream or stream == io.stderr then
    return write_event(reporter, "print", { stream = "stderr", text = text })
  end
  return write(stream, text)
end

function json_lines.on_finish(reporter, summary)
  write_event(reporter, "finish", summary)
end

local none = {}

function none.on_start(reporter)
  reporter.due = math.huge
end

local call = {}

--- Calls the progress function, until it raises.
local function call_function(reporter, event, data)
  if not reporter.f or reporter.calling then return end   -- what the function itself prints is no event
  reporter.calling = true
  local returned, message = pcall(reporter.f, event, data)
  reporter.calling = false
  if returned then return end
  reporter.f = nil
  reporter.due = math.huge
  write(reporter.stream, "parlua: warning: the progress function raised an error and is not called again: "
    .. tostring(message) .. "\n")
end

function call.on_start(reporter, data) call_function(reporter, "start", data) end
function call.on_progress(reporter, data) call_function(reporter, "progress", data) end
function call.on_failure(reporter, failure) call_function(reporter, "failure", failure) end
function call.on_finish(reporter, summary) call_function(reporter, "finish", summary) end

function call.on_print(reporter, stream, text)
  local written, message, code = write(stream, text)
  call_function(reporter, "print", { stream = stream == io.stdout and "stdout" or "stderr", text = text })
  return written, message, code
end

local KINDS = { bar = bar, plain = plain, json = json_lines, none = none }

-- The interface ---------------------------------------------------------------------------------------------------

---@class parlua.Reporter
---@field interval number|nil seconds within which it wants to hear of progress; nil when it does not care
local Reporter = {}
Reporter.__index = Reporter

--- Tells those who follow all runs; for a run that has opened no reporter. The reporters' methods do it themselves.
---@param event "start"|"progress"|"failure"|"finish"
---@param data table|nil as for the reporters' method of that name
function M.publish(event, data)
  for i = #subscribers, 1, -1 do subscribers[i](event, data) end
end
local publish = M.publish

--- The run begins.
---@param data { tasks: number|nil, workers: integer, engine: string, done: number|nil } done: by an earlier run
function Reporter:start(data)
  self.state.tasks, self.state.done = data.tasks, data.done or 0
  local f = self.handlers.on_start
  if f then f(self, data) end
  publish("start", data)
end

--- So much is done. May be called at any rate: what comes too soon costs a comparison.
---@param data { done: number, failed: number, tasks: number|nil, seconds: number }
function Reporter:progress(data)
  if #subscribers > 0 then publish("progress", data) end
  if data.seconds < self.due or self.closed then return end
  update(self.state, data)
  local f = self.handlers.on_progress
  if f then f(self, data) end
end

--- A task failed.
---@param failure table
function Reporter:failure(failure)
  local kinds = self.state.kinds
  kinds[failure.kind or "error"] = (kinds[failure.kind or "error"] or 0) + 1
  local f = self.handlers.on_failure
  if f and not self.closed then f(self, failure) end
  publish("failure", failure)
end

--- The script goes on, and may write: what is drawn is taken off until the next progress.
function Reporter:hide()
  local f = self.handlers.on_hide
  if f and not self.closed then f(self) end
end

--- Text that the script or a task wrote.
---@param stream table|userdata|"stdout"|"stderr"|1|2 where it goes
---@param text string
---@return true|nil written
---@return string|nil message why not
---@return integer|nil errno
function Reporter:print(stream, text)
  stream = stream_of(stream)
  local f = self.handlers.on_print
  if f and not self.closed then return f(self, stream, text) end
  return write(stream, text)
end

--- The run is over, one way or another. What was drawn is gone when this returns. Further events are dropped.
---@param summary table|nil nil after an error
function Reporter:finish(summary)
  if self.closed then return end
  local f = self.handlers.on_finish
  if f then f(self, summary) end
  self.closed = true
  for i = #open_reporters, 1, -1 do
    if open_reporters[i] == self then table.remove(open_reporters, i) end
  end
  publish("finish", summary)
end

--- Seconds within which a reporter wants to hear of progress, or nil.
local function interval_of(handlers, environment)
  if handlers == plain then return environment.interval or PLAIN_INTERVAL end
  if handlers == none and #subscribers == 0 then return nil end
  return UPDATE_INTERVAL
end

--- Opens a reporter, which owns the terminal until its `finish`.
---@param kind nil|"bar"|"plain"|"json"|"none"|function nil: a bar if standard error is a terminal, else none
---@param environment? { stream: table, columns: number, style: parlua.BarStyle, interval: number, is_terminal: any }
---   for tests: where to write instead of standard error, its width, what it can show, seconds between plain lines,
---   whether it is a terminal
---@return parlua.Reporter
---raises for a kind that does not exist
function M.open(kind, environment)
  environment = environment or {}
  if kind == nil then
    local is_terminal = environment.is_terminal
    if is_terminal == nil then is_terminal = M.is_terminal(STDERR_FD) and os.getenv("TERM") ~= "dumb" end
    kind = is_terminal and "bar" or "none"
  end
  local handlers = type(kind) == "function" and call or KINDS[kind]
  if not handlers then
    error(format("unknown progress '%s': it is bar, plain, json, none or a function", tostring(kind)), 2)
  end
  local reporter = setmetatable({
    handlers = handlers,
    f = type(kind) == "function" and kind or nil,
    stream = environment.stream or io.stderr,
    columns = function() return environment.columns or terminal_columns() end,
    style = environment.style or environment.stream and {} or nil,
    interval = interval_of(handlers, environment),
    state = new_state(),
    due = 0,
    drawn = false,
    mid_line = false,
    closed = false,
  }, Reporter)
  open_reporters[#open_reporters + 1] = reporter
  return reporter
end

--- Writes text to a stream, above the bar if one is drawn.
---@param stream table|userdata|"stdout"|"stderr"|1|2
---@param text string
---@return true|nil written
---@return string|nil message why not
---@return integer|nil errno
function M.print(stream, text)
  local reporter = open_reporters[#open_reporters]
  if reporter then return reporter:print(stream, text) end
  return write(stream_of(stream), text)
end

--- Calls a function with every event but `print` of every run, `f(event, data)`, progress as often as the run tells it.
-- What it raises is raised in the run.
---@param f fun(event: string, data: table|nil)
---@return fun() unsubscribe
function M.subscribe(f)
  subscribers[#subscribers + 1] = f
  return function()
    for i = #subscribers, 1, -1 do
      if subscribers[i] == f then table.remove(subscribers, i) end
    end
  end
end

return M
