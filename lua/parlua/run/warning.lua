--- The line on standard error about what a call's tasks did not do: a failure is never silent, nor is a call that a
--- signal ended.
local common = require "parlua.common"
local report = require "parlua.report"
local task = require "parlua.task"
local value = require "parlua.lazy" "parlua.value"

local M = {}

local ARGUMENTS = { depth = 2, length = 6, bytes = 40, limit = 60 }
local MOST_MESSAGE = 200

--- Where in the script the running call is: "sweep.lua:12".
---@return string
function M.place()
  local level = 2
  while true do
    local info = debug.getinfo(level, "Sl")
    if not info then return "the script" end
    if info.what ~= "C" and not info.source:find("^=parlua[/.]") and info.currentline > 0 then
      return ("%s:%d"):format(info.short_src, info.currentline)
    end
    level = level + 1
  end
end

--- A task's arguments in a line: `3, "a"`.
function M.arguments(args)
  local parts = {}
  for k = 1, math.min(args.n or #args, ARGUMENTS.length) do parts[k] = value.format(args[k], ARGUMENTS) end
  if (args.n or #args) > ARGUMENTS.length then parts[#parts + 1] = "..." end
  return table.concat(parts, ", ")
end

local function first_of(run)
  local first
  for _, failure in ipairs(run.failures) do
    local counts = failure.kind ~= "cancelled" and failure.index <= run.last and not (run.source_error
      and failure.index == run.total)
    if counts and (not first or failure.index < first.index) then first = failure end
  end
  return first
end

--- A message on one line, cut where it is long.
local function shortened(message)
  local text = common.one_line(message)
  return #text > MOST_MESSAGE and text:sub(1, MOST_MESSAGE) .. "..." or text
end

M.shortened = shortened

--- What is to be told of the run, without the place.
---@param run parlua.Run
local function parts_of(run)
  local parts, summary, first = {}, run:summary(), first_of(run)
  local tasks, failed = run.total or summary.tasks, summary.failed
  if run.source_error then tasks, failed = tasks - 1, failed - 1 end
  if first and not run.tells_failures and not run.reaction then
    local cut = summary.cancelled > 0 and (", %.0f cancelled"):format(summary.cancelled) or ""
    local arguments = M.arguments(first.args)
    parts[1] = ("%.0f of %s failed%s; first, task %.0f%s: %s%s"):format(failed, common.count(tasks, "task"), cut,
      first.index, arguments ~= "" and " (" .. arguments .. ")" or "",
      first.kind ~= "error" and first.kind .. ": " or "", shortened(first.message))
  end
  local why = run.signal and "interrupted by " .. run.signal or run.deadline and run.deadline.stopped
  if why and not run.tells_failures and (summary.cancelled > 0 or not run.total) then
    parts[#parts + 1] = ("%s: %s done"):format(why, run.total
      and ("%.0f of %s are"):format(summary.tasks, common.count(run.total, "task"))
      or common.count(summary.tasks, "task") .. (summary.tasks == 1 and " is" or " are"))
  end
  if run.stopped_engine then
    parts[#parts + 1] = ("the run was ended with %s not done: %s"):format(common.count(summary.cancelled, "task"),
      run.stopped_engine)
  end
  if run.source_error then
    parts[#parts + 1] = ("the source raised an error after %s: %s"):format(common.count(tasks, "task"),
      shortened(run.source_error.message:gsub("^arguments: ", "")))
  end
  if run.left_out then
    parts[#parts + 1] = ("%s left out, as they have no %s; the first is that of task %.0f"):format(
      run.left_out[1] == 1 and "1 result was" or ("%.0f results were"):format(run.left_out[1]), run.left_out[3],
        run.left_out[2])
  end
  return parts
end

local told = {} -- inside tasks: places that were told of in this state, since many tasks may say the same

--- Tells of a run that has ended.
---@param run parlua.Run
function M.tell(run)
  local place = run.place or M.place()
  if task.is_inside() then
    if told[place] then return end
    told[place] = true
  end
  local parts = parts_of(run)
  if #parts == 0 then return end
  local call = run.source.of or run.sink.name
  report.print("stderr", ("parlua: %s at %s: %s\n"):format(call, place, table.concat(parts, "; ")))
end

return M
