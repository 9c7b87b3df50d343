--- The pace of the collector while results are decoded that stay: as their table grows, it would look at all of them
--- again and again (half the time of a million tables). So it rests while results are decoded, and all that was
--- allocated besides is weighed: when that may be as much as what is known to be in use, everything is collected once.
--- The same bound as that of LuaJIT's own pause of 200 per cent, but results count as in use.
--
-- With this, 1e6 records {i, x, y} take half the time (bench/records.lua).
local M = {}

local COMMON_PAUSE = 200  -- LuaJIT's own: a script that has set another wants that one
local LEAST = 8192        -- kilobytes: less is not worth a collection

--- Kilobytes: what was in use when all was last collected, at most; and what the present run has decoded since then.
local base, kept = math.huge, 0

---@class parlua.Pace
---@field count number kilobytes when the last results began to be decoded
local Pace = {}
Pace.__index = Pace

--- Called before results are decoded.
function Pace:hold()
  local count = collectgarbage "count"
  if count < base then base, kept = count, 0 end
  if count - base - kept > math.max(LEAST, base + kept) then
    collectgarbage()
    count = collectgarbage "count"
    base, kept = count, 0
  end
  self.count = count
  collectgarbage "stop"
end

--- Called behind them. The collector begins by itself when the script has doubled what there is.
function Pace:release()
  if self.count then kept = kept + collectgarbage "count" - self.count end
  self.count = false
  collectgarbage "restart"
end

--- Calls f(...) while a run keeps the results that it decodes.
---@param run parlua.Run
---@return boolean ok, any message as of pcall
function M.held(run, f, ...)
  local pause = collectgarbage("setpause", COMMON_PAUSE)
  if pause ~= COMMON_PAUSE or not collectgarbage "isrunning" then
    collectgarbage("setpause", pause)
    return pcall(f, ...)
  end
  local one = setmetatable({ count = false }, Pace)
  kept = 0 -- what runs before this one have kept may be garbage by now
  run.pace = one
  local ok, message = pcall(f, ...)
  run.pace = false
  if one.count then one:release() end
  return ok, message
end

return M
