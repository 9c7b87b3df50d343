--- Looks at what came of a soak's call: every task must have ended exactly once, in what it had to end in.
local tasks = require "tasks"

local M = {}

-- Sources of which it is not known beforehand how many tasks they give.
local is_unknown = { iterator = true, texts = true, lines = true }

-- ---- what went wrong ----

local Violation = { __tostring = function(self) return self.violation end }

--- Raises what went wrong.
function M.wrong(...) error(setmetatable({ violation = (...):format(select(2, ...)) }, Violation), 0) end

--- A value in a message.
function M.shown(value)
  local text = type(value) == "table" and "a table" or tostring(value)
  return #text > 60 and ("%s... (%d bytes)"):format(text:sub(1, 60), #text) or text
end

local wrong, shown = M.wrong, M.shown

-- ---- looking at what came of a call ----

---@class soak.Outcome
---@field values table results by index
---@field expected? table what they must be, by index; nil: tasks.value
---@field has? table indices for which there was a result; nil: all that did not fail
---@field failures table
---@field summary? table
---@field partial? boolean the rest may have been cut off

--- A failure that nothing in the plan explains: by chance a worker was killed from outside, or a task took longer than it should.
local function is_allowed(plan, failed, kind)
  if failed.kind == "crash" and plan.murders and failed.message:find("SIGKILL", 1, true) then return "killed" end
  if failed.kind == "timeout" and plan.timeout and failed.seconds >= plan.timeout * 0.9 and kind ~= "timeout" then return "late" end
  return nil
end

local function check_failure(plan, outcome, failed, tally)
  local kind, tries = tasks.expected(plan, failed.index)
  -- what is cut off is not tried again
  if outcome.partial then kind = tasks.kinds[tasks.fate(plan, failed.index, failed.attempts)] end
  if tostring(failed.message):find("SOAK:", 1, true) then wrong("%s", failed.message) end
  if failed.kind == "cancelled" then
    if not outcome.partial then wrong("task %d was cancelled: %s", failed.index, failed.message) end
    return
  end
  local allowed = is_allowed(plan, failed, kind)
  if allowed then
    tally[allowed] = (tally[allowed] or 0) + 1
  elseif failed.kind ~= kind then
    wrong("task %d failed (%s: %s), but %s", failed.index, failed.kind, failed.message, kind and "should have failed as " .. kind or
      "should have returned")
  elseif not outcome.partial and not plan.murders and not plan.timeout and failed.attempts ~= tries then
    wrong("task %d failed after %d tries, not %d", failed.index, failed.attempts, tries)
  end
  tally[failed.kind] = (tally[failed.kind] or 0) + 1
end

--- Looks at each task once.
function M.check(plan, outcome, tally)
  local failed_at, holes, cut = {}, 0, 0
  for _, failed in ipairs(outcome.failures) do
    if failed.index < 1 or failed.index > plan.n or failed.index % 1 ~= 0 then wrong("there is no task %s that failed", failed.index) end
    if failed_at[failed.index] then wrong("task %d failed twice", failed.index) end
    failed_at[failed.index] = true
    if failed.kind == "cancelled" then cut = cut + 1 end
    check_failure(plan, outcome, failed, tally)
  end
  for i = 1, plan.n do
    local value = outcome.values[i]
    local given = value ~= nil or (not outcome.partial and not failed_at[i])
    if outcome.has then given = outcome.has[i] end
    if given and failed_at[i] then wrong("task %d both returned and failed", i) end
    if given then
      local kind = tasks.expected(plan, i)
      if kind then wrong("task %d returned %s, but should have failed as %s", i, shown(value), kind) end
      local expected = tasks.value(plan, i)
      if outcome.expected then expected = outcome.expected[i] end
      if not tasks.same(value, expected) then wrong("task %d returned %s, not %s", i, shown(value), shown(expected)) end
    elseif not failed_at[i] then
      holes = holes + 1
    end
  end
  if holes > 0 and not outcome.partial then wrong("%d of %d tasks neither returned nor failed", holes, plan.n) end
  local summary = outcome.summary
  if summary then
    local ended = plan.n - holes - cut
    if outcome.has == nil and outcome.partial and plan.nils then ended = summary.tasks end
    if not outcome.behind and summary.tasks ~= ended then wrong("the summary tells of %d tasks, but %d ended", summary.tasks, ended) end
    if summary.failed ~= #outcome.failures - cut then
      wrong("the summary tells of %d failures, but there are %d", summary.failed, #outcome.failures - cut)
    end
    if summary.returned ~= summary.tasks - summary.failed then wrong("the summary's numbers do not add up") end
    if not is_unknown[plan.source] and summary.cancelled ~= plan.n - summary.tasks then
      wrong("%d tasks were cancelled, but the summary says %d", plan.n - summary.tasks, summary.cancelled)
    end
    tally.cancelled = (tally.cancelled or 0) + summary.cancelled
  end
end

--- No task was begun more often than it was tried.
function M.check_counts(plan, outcome)
  local counts, tries_of = tasks.counts(plan.counts), {}
  if plan.may_repeat then return end
  for _, failed in ipairs(outcome.failures) do
    if failed.kind ~= "cancelled" then tries_of[failed.index] = failed.attempts end
  end
  for i = 1, plan.n do
    local _, tries = tasks.expected(plan, i)
    local most = tries_of[i] or tries
    if plan.murders or plan.timeout then most = plan.retries + 1 end
    local least = (outcome.partial or plan.murders or plan.timeout) and 0 or most
    if counts[i] > most or counts[i] < least then wrong("task %d was begun %d times, not %d", i, counts[i], most) end
  end
end

return M
