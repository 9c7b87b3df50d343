--- What a job says on standard error: its failures and the line of summary.
local common = require "parlua.common"
local json = require "parlua.wire.json"
local report = require "parlua.report"
local units = require "parlua.report.units"
local new_buffer = require("string.buffer").new

local format, count = string.format, common.count

local M = {}

local SHOWN_ARGUMENTS = 60 -- bytes of a failed task's arguments that are shown

--- Writes a line to standard error, above the bar.
function M.say(...) report.print("stderr", "parlua: " .. format(...) .. "\n") end

--- What to do when a deadline has ended a run.
function M.say_how_to_go_on(options)
  if options.journal then
    M.say("the same command with --resume goes on from '%s'", options.journal)
  else
    M.say("with --journal FILE it could go on from there, by --resume")
  end
end

--- An error value as text.
function M.error_text(value)
  local shown, result = pcall(tostring, value)
  return shown and result or type(value)
end

--- A failed task's arguments, shortened.
local function arguments_text(args)
  if type(args) ~= "table" then return "" end
  local buffer = new_buffer()
  json.put_list(buffer, args)
  local text = buffer:tostring():sub(2, -2)
  if #text <= SHOWN_ARGUMENTS then return text end
  local last = SHOWN_ARGUMENTS
  while last > 0 and text:byte(last + 1) >= 0x80 and text:byte(last + 1) < 0xC0 do last = last - 1 end
  return text:sub(1, last) .. "..."
end

--- A failure's traceback, indented, without the message that it may begin with.
function M.traceback(failure)
  local traceback, message = tostring(failure.traceback or ""), tostring(failure.message)
  if traceback:sub(1, #message) == message then traceback = traceback:sub(#message + 1) end
  traceback = traceback:gsub("^%s+", ""):gsub("%s+$", "")
  traceback = traceback:gsub("\n%s*parlua/command/[^\n]*", "")
  local is_own = true -- of programs and lines of code: the message says where, and no other frame is the user's
  for line in traceback:gmatch "\n%s*([^\n]+)" do
    is_own = is_own and (line:find "^parlua/" or line:find "^%[C%]" or line:find "^%-%-%l+:%d") ~= nil
  end
  if is_own then return "" end
  return traceback == "" and "" or "  " .. traceback:gsub("\n", "\n  ") .. "\n"
end

--- A failure in a line, with its traceback below if it is wanted.
function M.failure(failure, with_traceback)
  local place = failure.path and " of " .. failure.path .. (failure.line and format(":%.0f", failure.line) or "") or ""
  local arguments = arguments_text(failure.args)
  local text = format("parlua: task %.0f%s%s failed: %s: %s\n", failure.index or 0, place,
    arguments ~= "" and " (" .. arguments .. ")" or "", tostring(failure.kind), common.one_line(failure.message))
  return with_traceback and text .. M.traceback(failure) or text
end

--- "4 workers"; on ranks, "2 ranks x 2 workers" where each has as many.
local function workers_text(summary)
  local ranks, each = summary.ranks, summary.workers / (summary.ranks or 1)
  if not ranks then return count(each, "worker") end
  if each % 1 == 0 then return count(ranks, "rank") .. " x " .. count(each, "worker") end
  return count(ranks, "rank") .. " with " .. count(summary.workers, "worker")
end

--- The line that a run leaves behind.
function M.summary(summary)
  local parts = {
    count(summary.tasks, "task"), format("%.0f returned", summary.returned), format("%.0f failed", summary.failed),
  }
  if (summary.cancelled or 0) > 0 then parts[#parts + 1] = format("%.0f cancelled", summary.cancelled) end
  if (summary.resumed or 0) > 0 then parts[#parts + 1] = format("%.0f of them from the journal", summary.resumed) end
  parts[#parts + 1] = summary.seconds < 60 and format("%.2f s", summary.seconds) or units.duration(summary.seconds)
  if summary.engine then parts[#parts + 1] = summary.engine .. " engine" end
  if summary.workers then parts[#parts + 1] = workers_text(summary) end
  if summary.interrupted then parts[#parts + 1] = "interrupted by " .. summary.interrupted end
  if summary.halted then parts[#parts + 1] = "halted" end
  if summary.stopped then parts[#parts + 1] = "stopped: " .. summary.stopped end
  return "parlua: " .. table.concat(parts, ", ") .. "\n"
end

return M
