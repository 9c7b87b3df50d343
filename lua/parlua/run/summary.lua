--- What a run that has ended tells: its failures, how many tasks there were, the summary, and a line on standard error.
--- Methods of a run; parlua.run.policy takes them over.
local common = require "parlua.common"
local host = require "parlua.host"
local lazy = require "parlua.lazy"
local warning = lazy "parlua.run.warning"

local M = {}

---@class parlua.Summary
---@field tasks integer tasks that ended
---@field returned integer
---@field failed integer
---@field cancelled integer tasks that were cut off, or not begun (of a known total)
---@field seconds number
---@field engine string
---@field workers integer of all ranks together
---@field ranks? integer of the MPI job, on the mpi engine under mpirun or srun
---@field interrupted? string "SIGINT", "SIGTERM" or "SIGHUP"
---@field stopped? string why `max_failures`, or the deadline, ended the run
---@field out_of_time? boolean the deadline did
---@field replaced? integer tasks that failed, and for which `on_error` gave a result; they count as returned
---@field resumed? integer tasks whose outcome was taken from the journal; nil: there is none

local function by_index(a, b) return a.index < b.index end

--- Of a million failures this takes as long as all else about them: most come in order.
local function sort(list)
  for k = 2, #list do
    if by_index(list[k], list[k - 1]) then return table.sort(list, by_index) end
  end
end

--- The failures that count, sorted.
function M.sorted_failures(self)
  local list = self.failures
  if self.last < math.huge then
    for k = #list, 1, -1 do
      if list[k].index > self.last then table.remove(list, k) end
    end
  end
  sort(list)
  return list
end

--- Did it end before all that it was to do had ended?
function M.is_cut_off(self) return self.signal or self.deadline and self.deadline.is_expired end

--- How many tasks there were: of a known total, or as far as the run went.
function M.tasks(self)
  if self.last < math.huge and not self:is_cut_off() then
    return self.total and math.min(self.last, self.total) or self.last
  end
  return self:done()
end

--- The driver says that the run is over. Raises an error where a task has ended neither as a result nor as a failure,
--- though nothing has ended the run early: such a result would be missing in silence.
function M.check_whole(self)
  local total, done = self.total, self:done()
  if not total or done == total or self.cancelled or self.last < math.huge then return end
  error(("%s: only %.0f of %s have returned or failed, and the run is over. This is a fault of parlua: its results are "
    .. "not to be used. Please report it"):format(self.sink.name or "job", done, common.count(total, "task")), 0)
end

--- How many results a list of all would have.
function M.length(self)
  if self.total then return self.total end
  return math.min(self.reached, self.last)
end

---@return parlua.Summary
function M.summary(self)
  local returned, failed, cut = self.returned_tasks, self.failed_tasks, self.cut_tasks
  if self.last < math.huge then
    failed, cut = 0, 0
    for _, each in ipairs(self.failures) do
      if each.index > self.last then -- luacheck: ignore 542
      elseif each.kind == "cancelled" then
        cut = cut + 1
      else
        failed = failed + 1
      end
    end
    if not self:is_cut_off() then returned = self:tasks() - failed - cut end
  end
  local cancelled = self.total and math.max(0, self.total - returned - failed) or cut
  local out_of_time = self.deadline and self.deadline.stopped or nil
  return { tasks = returned + failed, returned = returned, failed = failed, cancelled = cancelled,
           seconds = self.seconds or host.now() - self.began, engine = self.engine_name, workers = self.workers,
           ranks = self.engine_name == "mpi" and host.ranks() or nil, interrupted = self.signal,
           stopped = self.limiter and self.limiter.stopped or self.stopped_engine or out_of_time,
           out_of_time = out_of_time and true or nil, replaced = self.replaced,
           resumed = self.journal and self.driver.resumed or nil }
end

--- The call ends with an error. A job gets the summary before.
function M.raise(self, value)
  if self.on_raise then self.on_raise(self:summary()) end
  error(value, 0)
end

--- Keeps where in the script the call is, to be told later.
function M.keep_place(self) self.place = warning.place() end

--- Leaves a line on standard error about tasks that failed, and about a run that was ended before all were done, once.
function M.tell(self)
  if self.is_told or not self.sink.name or self.options.warn == false then return end
  self.is_told = true
  local has_failed = (self.failed_tasks > 0 or self.left_out) and not self.reaction
  local is_late = self.deadline and self.deadline.stopped
  if has_failed or self.signal or is_late or self.stopped_engine then warning.tell(self) end
end

return M
