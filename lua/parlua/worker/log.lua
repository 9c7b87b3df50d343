--- What stands behind parlua.log: levels, the head of each line, where lines go. A worker sends its lines to the
--- coordinator, in their order among what it prints; there they go to standard error, above the bar, or to the file of
--- the option log.
local host = require "parlua.host"
local lazy = require "parlua.lazy"
local options = lazy "parlua.options"
local report = lazy "parlua.report"
local task = require "parlua.task"
local time = lazy "parlua.report.time"
local values = lazy "parlua.value"

local M = {}

local NAMES = { "debug", "info", "warn", "error" }
local SHOWN = { depth = 3, length = 20, bytes = 1000, limit = 4000 }

local host_name

local function show(value)
  local is_shown = type(value) == "table" and not (getmetatable(value) or SHOWN).__tostring
  return is_shown and values.format(value, SHOWN) or value
end

--- The text of a message.
local function text_of(format, ...)
  local n = select("#", ...)
  if n == 0 then return tostring(show(format)) end
  if type(format) ~= "string" then
    error(("parlua.log: the format must be a string, not %s"):format(type(format)), 4)
  end
  local list = { ... }
  for k = 1, n do list[k] = show(list[k]) end
  local ok, text = pcall(string.format, format, unpack(list, 1, n))
  if ok then return text end
  text = text:gsub("^bad argument #(%d+) to '[^']*'", function(k) return "wrong value " .. k - 1 end)
  error(("parlua.log: %s in the format '%s'"):format(text, format), 4)
end

--- Writes a message: each of its lines with a head. Called by parlua.log alone, for the place of errors.
function M.put(level, format, ...)
  if task.log_level == 0 then -- the script's first
    task.log_level = task.log_levels[options.resolve().log_level or "info"]
    if level < task.log_level then return end
  end
  local text = text_of(format, ...)
  host_name = host_name or host.hostname()
  local index, worker = task.place()
  local place = index and ("worker %.0f task %.0f"):format(worker, index) or "script"
  local head = ("%s %-5s %s %s: "):format(time.text(time.now()), NAMES[level], host_name, place)
  text = head .. text:gsub("\n$", ""):gsub("\n", function() return "\n" .. head end) .. "\n"
  if task.log_send then task.log_send(text) else M.write(text, options.resolve().log) end
end

-- ---- in the coordinator ----

local files = {} -- by path

--- Opens the file of the option log, to which lines are added; raises where that can't be done.
---@param path string
function M.open(path)
  if files[path] then return files[path] end
  local file, message = io.open(path, "a")
  if not file then error(("cannot open the log '%s': %s"):format(path, (message:gsub("^.*: ", ""))), 0) end
  files[path] = file
  return file
end

--- Writes whole lines: to a file, or to standard error.
---@param text string
---@param path? string
function M.write(text, path)
  if not path then return report.print("stderr", text) end
  local file = M.open(path)
  local written, message = file:write(text)
  if written then written, message = file:flush() end
  if written or M.is_broken then return end
  M.is_broken = true -- said once; the lines go to standard error
  report.print("stderr", ("parlua: warning: cannot write the log '%s': %s\n"):format(path, message))
end

return M
