--- Tasks that need not run, for the drivers that run tasks in the script's state (serial, async).
local M = {}

--- Moves a driver's run on to the next task that is to be run: `next_task`, behind those of `skips` (ranges in
--- ascending order) that begin there; `skips_at` is the first range not passed yet.
---@param run {next_task: number, skips: number[][], skips_at: integer}
function M.pass(run)
  local range = run.skips[run.skips_at]
  while range and range[1] <= run.next_task do
    run.next_task = math.max(run.next_task, range[2] + 1)
    run.skips_at = run.skips_at + 1
    range = run.skips[run.skips_at]
  end
end

return M
