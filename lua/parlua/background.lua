--- Calls in the background: each in a worker of its own, which begins at once and ends with the call.
local pool_module = require "parlua.pool"

local M = {}

local function pack(...) return { n = select("#", ...), ... } end

--- Calls f(...) in a worker of its own, and returns at once; the worker ends with the call. At the prompt a line
--- tells when. Parallel calls inside of it run serially. Example: `local future = parlua.background(train, data);
--- print(future:get())`
---@param f function
---@param ... any its arguments
---@return parlua.Future future future:get(), future:wait(seconds), future:cancel(), future.failure
function M.background(f, ...)
  if type(f) ~= "function" then error(("background: a function is expected, got %s"):format(type(f)), 2) end
  local pool = pool_module.open { workers = 1, engine = "process" }
  pool.is_for_one_call = true
  local ok, future = pcall(pool.submit, pool, f, ...)
  if not ok then
    pool:close()
    error(future, 2)
  end
  local Future = getmetatable(future)
  --- Waits as a future does; what has ended needs its worker no more.
  local function closing(method)
    return function(self, ...)
      local results = pack(pcall(method, self, ...))
      if self.done and not pool.closed then pool:close() end
      if not results[1] then error(results[2], 0) end
      return unpack(results, 2, results.n)
    end
  end
  future.wait, future.cancel = closing(Future.wait), closing(Future.cancel)
  function future.get(self)
    self.was_asked = true
    return closing(Future.get)(self)
  end
  return future
end

return M
