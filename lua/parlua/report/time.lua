--- The time of day, for logs and journals: seconds since 1970, and as text.
local ffi = require "ffi"

ffi.cdef [[
struct parlua_time { int64_t seconds; int64_t nanoseconds; }; /* struct timespec */
/* under a name of its own: a script may declare it otherwise */
int parlua_clock_gettime(int clock, struct parlua_time *time) __asm__("clock_gettime");
]]

local M = {}

local REALTIME = 0
local time = ffi.new("struct parlua_time")
local second, second_text = -1, ""

--- Seconds since 1970.
---@return number
function M.now()
  ffi.C.parlua_clock_gettime(REALTIME, time)
  return tonumber(time.seconds) + tonumber(time.nanoseconds) * 1e-9
end

--- "2026-11-26 18:30:02.125".
---@param seconds number since 1970
---@return string
function M.text(seconds)
  local whole = math.floor(seconds)
  if whole ~= second then second, second_text = whole, os.date("%Y-%m-%d %H:%M:%S", whole) end
  return ("%s.%03d"):format(second_text, (seconds - whole) * 1000)
end

return M
