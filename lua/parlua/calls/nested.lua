--- Calls that a task submits to a pool of the script: they run in the task, at once.
local M = {}

-- Options of a pool that a call in a task does not have: its task's limits hold.
local outer_options = { engine = true, timeout = true, memory = true, workers = true, max_tasks = true }

--- Runs f(...) in the task, with the pool's other options.
---@param open fun(options: table): parlua.Pool
---@param pool parlua.Pool
---@return parlua.Future that has ended
function M.submit(open, pool, f, ...)
  local options = {}
  for name, value in pairs(pool.options) do
    if not outer_options[name] then options[name] = value end
  end
  local nested = open(options)
  local future = nested:submit(f, ...)
  future:wait()
  nested:close()
  return future
end

return M
