--- The kinds of reporters (report/init.lua): each is a table of functions on a reporter, on_start, on_progress,
--- on_failure, on_print, on_hide, on_finish, of which any may be absent. `reporter.due` is the time at which progress
--- is next of interest.
local common = require "parlua.common"
local estimate = require "parlua.report.estimate"
local json = require "parlua.lazy" "parlua.wire.json"
local new_buffer = require("string.buffer").new
local units = require "parlua.report.units"

local format = string.format

local M = {}

local UPDATE_INTERVAL = 0.1 -- seconds between two drawings of the bar
local PLAIN_INTERVAL = 3    -- seconds between two plain lines

--- Writes and flushes; returns true, or nil, message and errno, whatever the stream does.
---@param stream table|userdata
local function write(stream, text)
  local called, written, message, code = pcall(stream.write, stream, text)
  if not called then return nil, tostring(written) end
  if not written then return nil, message, code end
  called, written, message, code = pcall(stream.flush, stream)
  if not called then return nil, tostring(written) end
  if not written then return nil, message, code end
  return true
end

M.write = write

local bar = require "parlua.report.bar" { write = write, update_interval = UPDATE_INTERVAL }

local plain = {}

--- One line of progress.
local function plain_text(state)
  local parts = { state.tasks and format("%.0f of %s", state.done, common.count(state.tasks, "task"))
                  or common.count(state.done, "task") }
  if state.failed > 0 then parts[#parts + 1] = table.concat({ estimate.failed_text(state) }) end
  local rate, left = estimate.rate(state), estimate.seconds_left(state)
  if rate then parts[#parts + 1] = units.rate(rate) end
  parts[#parts + 1] = left and units.duration(left) .. " left" or units.duration(state.seconds)
  parts[#parts + 1] = estimate.stall_text(state)
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

M.kinds = { bar = bar, plain = plain, json = json_lines, none = none }
M.call = call

--- Seconds within which such a reporter wants to hear of progress; nil: it does not care.
---@param handlers table one of the kinds, or `call`
---@param given? number seconds between plain lines
---@param is_followed boolean somebody follows all runs, whatever the reporter
function M.interval(handlers, given, is_followed)
  if handlers == plain then return given or PLAIN_INTERVAL end
  return (handlers ~= none or is_followed) and UPDATE_INTERVAL or nil
end

return M
