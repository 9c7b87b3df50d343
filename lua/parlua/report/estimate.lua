--- What a reporter knows of a run: how far it is, how fast it is, when it will end, and these in words. Reporters ask
--- for it; times come with the events.
local units = require "parlua.report.units"

local format, max = string.format, math.max

local M = {}

local RATE_MEMORY = 10 -- seconds after which an old measurement counts for a third

--- The time left, so that it does not jump: it runs down by itself, and bends to what the rate says within a share of
-- what it is.
local function smooth(left, elapsed, state)
  if not state.tasks or state.rate_seconds <= 0 or state.rate_tasks <= 0 then return nil end
  local now = max(0, state.tasks - state.done - (state.part or 0)) * state.rate_seconds / state.rate_tasks
  if not left or now == 0 then return now end
  local run_down = max(0, left - elapsed)
  return run_down + (now - run_down) * (1 - math.exp(-elapsed / max(0.5, 0.1 * run_down)))
end

--- Takes in an event's numbers and measures the rate: an average in which the past fades, so that the time left
-- follows tasks that grow longer, and which is the plain average at the beginning.
function M.update(state, data)
  state.tasks = data.tasks or state.tasks
  state.failed = data.failed or state.failed
  local done, seconds = data.done or state.done, data.seconds or state.seconds
  local elapsed = seconds - state.seconds
  state.part, state.longest_task, state.longest_seconds = data.part or 0, data.longest_task, data.longest_seconds
  if elapsed > 0 then
    local keep = math.exp(-elapsed / max(RATE_MEMORY, seconds / 4)) -- a long run forgets more slowly
    local resumed = data.resumed or 0 -- a journal had their outcomes: they tell nothing of the time that tasks take
    state.rate_tasks = state.rate_tasks * keep + (done - state.done) - (resumed - (state.resumed or 0))
    state.resumed = resumed
    state.rate_seconds = state.rate_seconds * keep + elapsed
    state.done, state.seconds = done, seconds
    state.left = smooth(state.left, elapsed, state)
  end
end

--- A fresh state of what is known.
function M.new()
  return { done = 0, failed = 0, seconds = 0, rate_tasks = 0, rate_seconds = 0, kinds = {} }
end

--- Tasks per second, or nil while nothing is known.
function M.rate(state)
  if state.rate_seconds <= 0 or state.rate_tasks <= 0 then return nil end
  return state.rate_tasks / state.rate_seconds
end

--- Seconds until the last task ends, or nil while nothing is known.
function M.seconds_left(state) return state.tasks and state.left end

--- "3 failed", and by kind: " (2 error, 1 timeout)".
function M.failed_text(state)
  local text, kinds = units.kinds_text(state.kinds)
  return format("%.0f failed", state.failed), kinds > 1 and " (" .. text .. ")" or ""
end

--- Which task has kept the run waiting, when nothing ends; or nil.
function M.stall_text(state)
  return state.longest_task and format("task %.0f for %s", state.longest_task, units.duration(state.longest_seconds))
end

return M
