--- The time of day, for logs and journals: seconds since 1970, and as text.
local host = require "parlua.host"

local M = {}

local second, second_text = -1, ""

--- Seconds since 1970.
---@return number
M.now = host.time

--- "2026-11-26 18:30:02.125".
---@param seconds number since 1970
---@return string
function M.text(seconds)
  local whole = math.floor(seconds)
  if whole ~= second then second, second_text = whole, os.date("%Y-%m-%d %H:%M:%S", whole) end
  return ("%s.%03d"):format(second_text, (seconds - whole) * 1000)
end

return M
