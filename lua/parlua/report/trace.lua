--- Writes what a run's chunks tell as a trace for Perfetto (ui.perfetto.dev) and chrome://tracing: the trace-event
--- format, a list of JSON objects. A host is a process there, a worker a thread of it; the script's own waits are
--- another. Times are in microseconds since the first run began.
local json = require "parlua.wire.json"
local new_buffer = require("string.buffer").new

local M = {}

local ENOUGH = 65536 -- bytes that are written at once
local SCRIPT = 0     -- the script's own process in the trace

---@class parlua.Trace
local Trace = {}
Trace.__index = Trace

--- Makes the file; raises when that can't be done.
---@param path string
---@param origin number the time that counts as 0
---@return parlua.Trace
function M.open(path, origin)
  local file, message = io.open(path, "w")
  if not file then error(("cannot write the trace '%s': %s"):format(path, (message:gsub("^.*: ", ""))), 0) end
  file:setvbuf("no")
  local self = setmetatable({ path = path, file = file, origin = origin, buffer = new_buffer(), hosts = {}, count = 0,
    named = {}, is_first = true }, Trace)
  self:name(SCRIPT, nil, "process_name", "the script")
  return self
end

--- Appends an object, of which the text is given without braces.
local function put(self, ...)
  self.buffer:put(self.is_first and "[\n{" or ",\n{", ...)
  self.buffer:put "}"
  self.is_first = false
  if #self.buffer >= ENOUGH then self:flush() end
end

function Trace:name(process, thread, what, name)
  put(self, '"ph":"M","pid":', process, thread and ',"tid":' or "", thread or "", ',"name":"', what,
    '","args":{"name":', json.encode(name), "}")
end

--- The number of a worker's host, and the worker is named.
function Trace:process_of(worker, host)
  local process = self.hosts[host]
  if not process then
    self.count = self.count + 1
    process = self.count
    self.hosts[host] = process
    self:name(process, nil, "process_name", host)
  end
  if not self.named[worker] then
    self.named[worker] = true
    self:name(process, worker, "thread_name", ("worker %d"):format(worker))
  end
  return process
end

local function micros(seconds) return ("%.3f"):format(seconds * 1e6) end

--- A chunk, or a part of one, has ended.
function Trace:chunk(worker, host, first, last, seconds, now)
  local process = self:process_of(worker, host)
  local name = first == last and ("task %.0f"):format(first) or ("tasks %.0f-%.0f"):format(first, last)
  put(self, '"ph":"X","cat":"tasks","pid":', process, ',"tid":', worker, ',"name":"', name, '","ts":',
    micros(now - seconds - self.origin), ',"dur":', micros(seconds), ',"args":{"first":', first, ',"last":', last,
    ',"tasks":', last - first + 1, "}")
end

--- The script was in something: "source", "sink", "script".
function Trace:wait(what, from, to)
  put(self, '"ph":"X","cat":"script","pid":0,"tid":1,"name":"', what, '","ts":', micros(from - self.origin), ',"dur":',
    micros(to - from))
end

--- A task has failed.
function Trace:fail(worker, host, failure, now)
  put(self, '"ph":"i","s":"t","cat":"failures","pid":', self:process_of(worker, host), ',"tid":', worker, ',"name":',
    json.encode(("task %.0f failed: %s"):format(failure.index, failure.kind)), ',"ts":', micros(now - self.origin),
    ',"args":{"message":', json.encode(tostring(failure.message):sub(1, 300)), "}")
end

--- A run begins or ends.
function Trace:run(name, from, to)
  put(self, '"ph":"X","cat":"runs","pid":0,"tid":2,"name":', json.encode(name), ',"ts":', micros(from - self.origin),
    ',"dur":', micros(to - from))
end

--- Writes what was collected.
function Trace:flush()
  local text = self.buffer:get()
  if not self.failed and text ~= "" then
    local written, message = self.file:write(text)
    if not written then
      self.failed = true
      require("parlua.report").print("stderr", ("parlua: warning: cannot write the trace '%s': %s\n"):format(self.path,
        message))
    end
  end
end

--- A run has ended: the file is whole, and another run goes on before its end.
function Trace:settle()
  self:flush()
  local place = self.file:seek()
  self.file:write "\n]\n"
  self.file:seek("set", place)
end

return M
