--- Reads a journal that a run may be writing: for `parlua journal`, `export` and `report`. Writes nothing into it.
local files = require "parlua.journal.file"
local time = require "parlua.report.time"

local M = {}

local column = files.column
local RECENT = 60 -- seconds: what counts for the rate

---@class parlua.JournalRun
---@field run integer its number
---@field about table<string, any> command, engine, workers, total, began, ended, ...: as far as they are known
---@field source string the arguments in words
---@field results string what kind of call it was
---@field seed string? what its random numbers follow from
---@field done integer tasks that are recorded
---@field failed integer of them
---@field first number? when the first of them ended, since 1970
---@field last number? and the last

--- Opens the file for reading.
---@param path string
---@return parlua.JournalFile file with close()
function M.open(path)
  local file = io.open(path, "rb")
  if not file then error(("there is no journal '%s'"):format(path), 0) end
  file:close()
  return files.read(path)
end

--- The runs of a file.
---@param file parlua.JournalFile
---@return parlua.JournalRun[]
function M.runs(file)
  local list, by_number = {}, {}
  file:once("SELECT run, source, results, seed FROM runs ORDER BY run", function(statement)
    local run = { run = column(statement, 0), source = column(statement, 1), results = column(statement, 2),
      seed = column(statement, 3), about = {}, done = 0, failed = 0 }
    list[#list + 1], by_number[run.run] = run, run
  end)
  file:once("SELECT run, key, value FROM about", function(statement)
    local run = by_number[column(statement, 0)]
    if run then run.about[column(statement, 1)] = column(statement, 2) end
  end)
  file:once("SELECT run, count(*), sum(status = 'failed'), min(ended), max(ended) FROM tasks GROUP BY run",
    function(statement)
      local run = by_number[column(statement, 0)]
      if not run then return end
      run.done, run.failed = column(statement, 1), column(statement, 2)
      run.first, run.last = column(statement, 3), column(statement, 4)
    end)
  for _, run in ipairs(list) do
    run.total = run.about.total or tonumber(run.source:match "(%d+) tasks%)?$")
    run.is_open = run.about.began ~= nil and run.about.ended == nil and files.is_in_use(file.path)
  end
  return list
end

--- Tasks a second: of the last minute of a run that goes on, else of all of it. nil: not known.
---@param file parlua.JournalFile
---@param run parlua.JournalRun
---@return number?
function M.rate(file, run)
  if not run.first then return nil end
  local began = run.about.began or run.first
  local from, to = began, run.last
  if run.is_open then
    to = time.now()
    from = math.max(began, to - RECENT)
  end
  local recent = file:value("SELECT count(*) FROM tasks WHERE run = ? AND ended >= ?", run.run, from)
  if recent == 0 then return nil end
  return recent / math.max(to - from, 1e-3)
end

--- A text that a row has, cut where it is longer than `most` bytes.
---@param text string?
---@param most integer
---@return string
function M.shortened(text, most)
  if not text then return "" end
  return #text > most and text:sub(1, most) .. "..." or text
end

return M
