--- parlua report FILE: the page of a report, made of what a journal has recorded.
local files = require "parlua.journal.file"
local page = require "parlua.report.page"
local pages = require "parlua.run.pages"
local read = require "parlua.journal.read"
local recorder_module = require "parlua.report.recorder"
local texts = require "parlua.job.text"
local time = require "parlua.report.time"
local words_module = require "parlua.command.words"

local M = {}

local MOST_RUNS = 30 -- on a page: the last ones
local MOST_ARGUMENTS = 80
local SELECT = "SELECT task, status, kind, message, traceback, seconds, worker, host, ended, arguments FROM tasks "
  .. "WHERE run = ? AND ended IS NOT NULL ORDER BY ended"
local USAGE = "parlua report: name the journal: parlua report run.db -o run.html"

local column = files.column

--- When the run began, and how many workers had tasks.
local function bounds_of(file, run)
  local began, workers
  file:once("SELECT min(ended - coalesce(seconds, 0)), max(worker) FROM tasks WHERE run = ? AND ended IS NOT NULL",
    function(statement) began, workers = column(statement, 0), column(statement, 1) end, run.run)
  if not began then return nil end
  local noted = run.about.began
  if noted and noted < began then began = noted end
  return began, math.max(workers or 1, run.about.workers or 1)
end

--- A run of the file as it is for the page; nil: it has no tasks yet.
local function record(file, run)
  local began, workers = bounds_of(file, run)
  if not began then return nil end
  local recorder, hosts, seen, names = recorder_module.new(began, workers), {}, {}, {}
  file:once(SELECT, function(statement)
    local index, seconds = column(statement, 0), column(statement, 5) or 0
    local worker = math.max(1, column(statement, 6) or 1)
    local host, ended = column(statement, 7) or "", column(statement, 8)
    hosts[worker] = host
    if not seen[host] then seen[host], names[#names + 1] = true, host end
    if column(statement, 1) == "failed" then
      recorder:fail({ index = index, kind = column(statement, 2) or "error", message = column(statement, 3),
        traceback = column(statement, 4) }, ended)
    end
    recorder:chunk(worker, index, index, seconds, ended, function()
      local text = column(statement, 9) -- a JSON array
      return read.shortened(text and text:match "^%[(.*)%]$" or text, MOST_ARGUMENTS)
    end)
  end, run.run)
  local about = run.about
  about.source, about.hosts = run.source, table.concat(names, ", ", 1, math.min(#names, 20))
  about.seed = run.seed
  local outcome = about.outcome or run.is_open and "it goes on" or not about.ended and "it was cut off" or nil
  return {
    recorder = recorder, ended = math.max(about.ended or (run.is_open and time.now() or run.last), run.last),
    about = about, wall_began = began, host_of = function(worker) return hosts[worker] or "" end,
    summary = { tasks = run.done, failed = run.failed, cancelled = run.total and math.max(0, run.total - run.done) or 0,
      outcome = outcome },
  }
end

--- Runs `parlua report` with the words behind it.
---@param words string[]
---@return integer status
function M.run(words)
  require("parlua.host").ignore_sigpipe()
  return words_module.run(function()
    local paths, values = words_module.read("report", words, { ["-o"] = "output", ["--output"] = "output" }, USAGE)
    if #paths > 1 then error(("parlua report takes one journal, not %d"):format(#paths), 0) end
    local target = values.output or (package.loaded["parlua.command"] or {}).output
      or paths[1]:gsub("%.db$", "") .. ".html"
    local file = read.open(paths[1])
    local made, trouble = pcall(function()
      local runs, parts = read.runs(file), {}
      local first = math.max(1, #runs - MOST_RUNS + 1)
      for k = first, #runs do
        local run = record(file, runs[k])
        if run then parts[#parts + 1] = page.run(run, runs[k].run) end
      end
      if #parts == 0 then error(("the journal '%s' has no task that has ended yet"):format(paths[1]), 0) end
      local why = pages.write(target, page.whole("parlua: " .. paths[1], parts, first - 1))
      if why then error(("cannot write the report '%s': %s"):format(target, (why:gsub("^.*: ", ""))), 0) end
    end)
    file:close()
    if not made then error(trouble, 0) end
    texts.say("the report is in '%s'", target)
  end)
end

return M
