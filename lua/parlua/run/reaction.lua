--- What the script's `on_error` makes of a task that failed: a result that stands in for it, or the end of the call.
local common = require "parlua.common"

local M = {}

--- It has raised: the call ends at that task and raises the same, as with on_error = "halt". Of several such errors
--- that of the first task counts, whichever came first.
local function end_with(run, index, raised, is_spawned)
  if run.raised and run.raised.index <= index then return end
  run.raised = { index = index, value = raised }
  if is_spawned and not run.spawned.is_ordered then
    run:cancel()
  else
    run:end_at(run.fold and run.fold:last(run.fold:block_of(index)) or index)
  end
end

--- Asks it for a result. Returns the results, with n; nil: there is none; or nil and, in a table, what it has raised.
---@param f fun(made: parlua.Failure): any
---@param made parlua.Failure
---@return table? results
---@return {value: any}? raised
function M.ask(f, made)
  local results = common.pack(pcall(f, made))
  if not results[1] then return nil, { value = results[2] } end
  table.remove(results, 1)
  results.n = results.n - 1
  if type(results[1]) == "nil" then return nil end
  return results
end

--- The same of a run's own. Returns whether there is a result, which the run has taken then.
---@param run parlua.Run
---@param made parlua.Failure
---@param recorded? boolean so says a journal
---@param is_spawned? boolean
function M.replaces(run, made, recorded, is_spawned)
  local results, raised = M.ask(run.reaction, made)
  if raised and run.is_of_futures then
    run.sink:note_raised(raised) -- it is the future's, and the other calls go on
  elseif raised then
    end_with(run, made.index, raised.value, is_spawned)
  end
  if not results then return false end
  if run.journal and not recorded and not is_spawned then run.journal:fail(made) end
  run.returned_tasks, run.replaced = run.returned_tasks + 1, (run.replaced or 0) + 1
  local batch = { first = made.index, n = 1, tasks = 1, numbers = false, values = { [0] = results[1] },
    several = results.n > 1 and { [0] = results }, bytes = 64, attempt = made.attempts, worker = made.worker,
    seconds = made.seconds, recorded = true }
  if run.limiter then run:end_at(run.limiter:ended(made.index, made.index)) end
  run.sink:take(batch)
  if run.spawned and not is_spawned then run.spawned:source_returned(made.index, made.index, 1) end
  return true
end

return M
