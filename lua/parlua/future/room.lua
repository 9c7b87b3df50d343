--- The option `window` of a pool: a submitted call waits while so many have not ended.
local future_module = require "parlua.future"

local M = {}

--- What is done as soon as the pool has fewer. Some may have gone to the pool of its heirs.
local Room = { is_patient = false }

function Room.__index(room, name)
  if name ~= "is_done" then return Room[name] end
  local pool = room.pool
  return pool.outstanding + (pool.heirs and pool.heirs.outstanding or 0) < pool.window
end

--- Waits for that.
function M.wait(pool) future_module.advance(setmetatable({ pool = pool }, Room)) end

return M
