--- Failures of submitted calls that nobody has looked at: they are told on standard error when the future is collected,
--- or when the program ends.
local common = require "parlua.common"
local content = require "parlua.future.content"
local lazy = require "parlua.lazy"
local task = require "parlua.task"
local report = lazy "parlua.report"
local value_module = lazy "parlua.value"
local warning = lazy "parlua.run.warning"

local M = {}

local unseen = {} -- notes about failures that nobody has looked at

local told = {} -- by place: how many lines were left out

local has_raised = false -- what an on_error has raised was told

--- A line on standard error about a failure that nobody has looked at: one for each place; others there are counted.
local function tell(note)
  unseen[note] = nil
  if note.is_inside ~= task.is_inside() then return end -- a forked worker has a copy of the script's
  has_raised = has_raised or note.is_raised
  if told[note.place] then
    told[note.place] = told[note.place] + 1
    return
  end
  told[note.place] = 0
  report.print("stderr", note.text)
end

local FAILED = setmetatable({}, { __tostring = function() return "a failed call" end })

--- A call's arguments for people, in brackets: what futures among them have given.
local function shown(args)
  if not args or args.n == 0 then return "" end
  local values = { n = args.n }
  for k = 1, args.n do
    local value = args[k]
    if common.is_future(value) then
      if rawget(value, "record") then
        value = FAILED
      else
        value = value.is_done and content.first_of(value) or nil
      end
    end
    values[k] = value
  end
  return (" (%s)"):format(warning.arguments(values))
end

--- What is told if nobody asks: when the future is collected, or the program ends.
function M.keep_watch(future)
  local options = future.pool.resolved
  local record, place, raised = rawget(future, "record"), future.place, rawget(future, "raised")
  local text
  if raised then
    local message = type(raised.value) == "string" and raised.value or value_module.format(raised.value)
    text = ("parlua: submit at %s: the call failed%s, and on_error has raised an error: %s\n"):format(place,
      shown(future.args), warning.shortened(message))
  elseif rawget(future, "is_seen") or options.warn == false or type(options.on_error) == "function"
    or record.kind == "cancelled" then
    return
  else
    local kind = record.kind ~= "error" and record.kind .. ": " or ""
    text = ("parlua: submit at %s: the call failed%s: %s%s\n"):format(place, shown(future.args), kind,
      warning.shortened(record.message))
  end
  local note = { is_inside = future.pool.is_inside, place = place, index = future.index, text = text,
    is_raised = raised ~= nil }
  unseen[note] = true
  future.note, future.guard = note, common.when_collected(function()
    -- collected while a task of the script's own state runs, or in a forked copy: it is told at the end, by the script
    if unseen[note] and note.is_inside == task.is_inside() then tell(note) end
  end)
end

--- Somebody has looked at what became of the call: nothing is told of it. What on_error has raised for it is told all
--- the same, unless `knows_raised`: it was raised.
---@param knows_raised? boolean
function M.see(future, knows_raised)
  future.is_seen = true
  local note = rawget(future, "note")
  if note and (knows_raised or not note.is_raised) then
    unseen[note] = nil
    future.note = false
  end
end

--- A signal has ended the pool's run: says so, with how many calls that has cut off.
function M.tell_interrupted(pool, run)
  local calls = pool.outstanding + (pool.heirs and pool.heirs.outstanding or 0) + run.cut_tasks
  if pool.resolved.warn == false or calls == 0 then return end
  report.print("stderr", ("parlua: interrupted by %s: %s cancelled\n"):format(run.signal, calls == 1
    and "a submitted call is" or ("%d submitted calls are"):format(calls)))
end

--- Was an error of an on_error told? Then nobody has got it.
---@return boolean
function M.has_raised() return has_raised end

--- The program ends: tells of failures that nobody has looked at.
function M.tell_all()
  local notes = {}
  for note in pairs(unseen) do notes[#notes + 1] = note end
  table.sort(notes, function(a, b)
    if a.place == b.place then return a.index < b.index end
    return a.place < b.place
  end)
  for _, note in ipairs(notes) do tell(note) end
  for place, more in pairs(told) do
    if more > 0 then
      report.print("stderr", ("parlua: submit at %s: %d more %s failed, and nobody has looked at %s\n"):format(place,
        more, more == 1 and "call" or "calls", more == 1 and "it" or "them"))
    end
  end
  told = {}
end

return M
