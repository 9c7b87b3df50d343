--- parlua journal FILE: where the runs of a journal are, also while they go on: progress, rate, time left, failures by
--- message, the slowest tasks.
local common = require "parlua.common"
local files = require "parlua.journal.file"
local groups = require "parlua.report.groups"
local read = require "parlua.journal.read"
local units = require "parlua.report.units"
local time = require "parlua.report.time"
local words_module = require "parlua.command.words"

local M = {}

local MOST_GROUPS, MOST_SLOW = 10, 5
local MOST_TOLD = 10     -- runs of a file that are told in full: the last ones
local MOST_ARGUMENTS = 60

local column = files.column

local CALLS = { first = "map, reduce or a job", all = "imap", none = "each", found = "find or any", lacking = "all" }

local function put(...) io.write(string.format(...)) end

local function state_of(run)
  local about = run.about
  if run.is_open then return ("going on: process %.0f on %s"):format(about.pid or 0, about.host or "?") end
  if about.outcome then return "ended early: " .. about.outcome end
  if about.ended then return "ended" end
  return "cut off: --resume goes on with it"
end

local function tell_failures(file, run)
  local found = groups.new()
  file:once("SELECT task, kind, message FROM tasks WHERE run = ? AND status = 'failed'", function(statement)
    found:add(column(statement, 0), column(statement, 1), column(statement, 2))
  end, run.run)
  put "  failures:\n"
  local list = found:sorted()
  for k = 1, math.min(#list, MOST_GROUPS) do
    local group = list[k]
    put("    %6.0f  %s: %s (first: task %.0f)\n", group.count, group.kind, group.message, group.first)
  end
  if #list > MOST_GROUPS then put("    and %s\n", common.count(#list - MOST_GROUPS, "other message")) end
end

local function tell_slowest(file, run)
  local is_first = true
  file:once(("SELECT task, seconds, arguments, worker, host FROM tasks WHERE run = ? AND seconds > 0 "
    .. "ORDER BY seconds DESC LIMIT %d"):format(MOST_SLOW), function(statement)
    if is_first then put "  slowest:\n" end
    is_first = false
    put("    %9s  task %.0f %s, worker %.0f on %s\n", units.short_duration(column(statement, 1)), column(statement, 0),
      read.shortened(column(statement, 2), MOST_ARGUMENTS), column(statement, 3), column(statement, 4) or "?")
  end, run.run)
end

local function tell(file, run)
  local about, done = run.about, run.done
  put("run %.0f (%s)%s: %s\n", run.run, CALLS[run.results] or run.results, about.place and " at " .. about.place or "",
    state_of(run))
  if about.command then put("  %s\n", about.command) end
  if about.began then
    put("  begun %s, %s engine, %s\n", time.text(about.began):sub(1, 19), about.engine or "?",
      common.count(about.workers or 0, "worker"))
  end
  local total = run.total
  put("  %s%s: %.0f returned, %.0f failed\n", total and ("%.0f of "):format(done) or "",
    total and ("%s (%.0f%%)"):format(common.count(total, "task"), total > 0 and math.floor(100 * done / total) or 100)
    or common.count(done, "task"), done - run.failed, run.failed)
  local rate = read.rate(file, run)
  if rate then
    local left = run.is_open and total and (total - done) / rate
    put("  %s%s\n", units.rate(rate), left and ", " .. units.duration(left) .. " left" or "")
  end
  if run.failed > 0 then tell_failures(file, run) end
  tell_slowest(file, run)
end

--- Runs `parlua journal` with the words behind it.
---@param words string[]
---@return integer status
function M.run(words)
  require("parlua.host").ignore_sigpipe()
  return words_module.run(function()
    local paths = words_module.read("journal", words, {}, "parlua journal: name the file: parlua journal run.db")
    for _, path in ipairs(paths) do
      local file = read.open(path)
      local told, trouble = pcall(function()
        local runs = read.runs(file)
        put("%s: %s\n", path, common.count(#runs, "run"))
        local first = math.max(1, #runs - MOST_TOLD + 1)
        if first > 1 then put("(the last %d of them)\n", MOST_TOLD) end
        for k = first, #runs do tell(file, runs[k]) end
      end)
      file:close()
      if not told then error(trouble, 0) end
    end
  end)
end

return M
