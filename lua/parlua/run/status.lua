--- Where a run is, in words: for who asks by SIGUSR1 or `parlua status`.
local common = require "parlua.common"
local ffi = require "ffi"
local host = require "parlua.host"
local report = require "parlua.report"
local units = require "parlua.report.units"
local warning = require "parlua.run.warning"
require "parlua.wire.header" "lua/ffi_ask.h"

local M = {}

--- "3 failed (2 error, 1 timeout)".
local function failed_text(run)
  local counts = {}
  for _, failure in ipairs(run.failures) do counts[failure.kind] = (counts[failure.kind] or 0) + 1 end
  local text, kinds = units.kinds_text(counts)
  return ("%.0f failed%s"):format(run.failed_tasks, kinds > 0 and " (" .. text .. ")" or "")
end

--- Seconds that are left: by the rate, but not before the longest task ends, if that tells how far it is.
---@param own integer tasks that this run has done itself
local function left_of(run, done, own, seconds)
  local left = (run.total - done) * seconds / own
  local task, age = run:longest()
  local share = task and run.parts and run.parts[task]
  return share and share > 0 and math.max(left, age * (1 / share - 1)) or left
end

--- The text, one line or two.
---@param run parlua.Run
---@return string
function M.text(run)
  local done, total, seconds = run:done(), run.total, host.now() - run.began
  local parts = { total and ("%.0f of %s (%d%%)"):format(done, common.count(total, "task"), total > 0
    and math.floor(100 * done / total) or 100) or common.count(done, "task") }
  if run.failed_tasks > 0 then parts[#parts + 1] = failed_text(run) end
  parts[#parts + 1] = "running for " .. units.duration(seconds)
  local own = done - (run.journal and run.driver.resumed or 0)
  if own > 0 then
    parts[#parts + 1] = units.rate(own / seconds)
    if total then parts[#parts + 1] = units.duration(left_of(run, done, own, seconds)) .. " left" end
  end
  parts[#parts + 1] = ("%s engine, %s"):format(run.engine_name, common.count(run.workers, "worker"))
  local text = ("parlua: process %d on %s, at %s: %s\n"):format(host.pid(), host.hostname(), warning.place(),
    table.concat(parts, ", "))
  local task, age, worker = run:longest()
  if task then
    text = text .. ("parlua: the longest-running task is %.0f, for %s, in worker %.0f\n"):format(task,
      units.duration(age), worker)
  end
  return text
end

--- Answers a process that has asked.
---@param run parlua.Run
---@param asker integer
function M.answer(run, asker)
  local text = M.text(run)
  if ffi.C.ask_answer(asker, text, #text) ~= 0 then report.print("stderr", text) end
end

return M
