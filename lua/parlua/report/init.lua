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

local estimate = require "parlua.report.estimate"
local ffi = require "ffi"
local reporters = require "parlua.report.reporters"

local write = reporters.write

ffi.cdef [[
int isatty(int fd);
int fileno(void *stream);
int ioctl(int fd, unsigned long request, ...);
]]

local M = {}

local STDERR_FD = 2
local TIOCGWINSZ = 0x5413 -- asm-generic/ioctls.h

local open_reporters = {} -- the last is the one that owns the terminal
local subscribers = {}

--- The object to write to: "stdout" and 1, "stderr" and 2 stand for the standard streams.
local function stream_of(stream)
  if stream == "stdout" or stream == 1 then return io.stdout end
  if stream == "stderr" or stream == 2 then return io.stderr end
  return stream
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
  estimate.update(self.state, data)
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
  local handlers = type(kind) == "function" and reporters.call or reporters.kinds[kind]
  if not handlers then
    error(("unknown progress '%s': it is bar, plain, json, none or a function"):format(tostring(kind)), 2)
  end
  local reporter = setmetatable({
    handlers = handlers,
    f = type(kind) == "function" and kind or nil,
    stream = environment.stream or io.stderr,
    columns = function() return environment.columns or terminal_columns() end,
    style = environment.style or environment.stream and {} or nil,
    interval = reporters.interval(handlers, environment.interval, #subscribers > 0),
    state = estimate.new(),
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
