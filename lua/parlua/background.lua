--- Calls in the background: each in a worker of its own, which begins at once and ends with the call.
local host = require "parlua.host"
local pool_module = require "parlua.pool"

local M = {}

--- Calls f(...) in a worker of its own, and returns at once; the worker ends with the call. At the prompt a line
--- tells when. Parallel calls inside of it run serially. The worker is a process; while calls on threads run, from
--- which none can be forked, it is a thread. Example: `local future = parlua.background(train, data);
--- print(future:get())`
---@param f function
---@param ... any its arguments
---@return parlua.Future future as parlua.submit gives
function M.background(f, ...)
  if type(f) ~= "function" then error(("background: a function is expected, got %s"):format(type(f)), 2) end
  local engine = host.threads_in_tasks() > 0 and "threads" or "process"
  local pool = pool_module.open { workers = 1, engine = engine }
  pool.is_for_one_call = true
  local ok, future = pcall(pool.submit, pool, f, ...)
  if not ok then
    pool:close()
    error(future, 2)
  end
  return future:on_done(function() pool:close() end)
end

return M
