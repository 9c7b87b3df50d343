--- The collector, and its pace in a worker. A worker's own heap is small, a few hundred kilobytes, and LuaJIT collects
--- when a heap has doubled: then it would look at all of it again for each few hundred kilobytes of garbage. So each
--- collection waits for a certain amount of garbage at least. More than that, or than what is in use, is never kept. A
--- task that makes a small table takes 10 to 25 % less time.
local M = {}

local collectgarbage, floor, max = collectgarbage, math.floor, math.max
local newproxy, getmetatable = newproxy, debug.getmetatable

local COMMON_PAUSE = 200 -- LuaJIT's own: a script, or a task, that has set another wants that one
local LEAST = 768        -- kilobytes of garbage: with more, strings no longer lie in a processor's own cache

local set = COMMON_PAUSE -- the last that was set here

local adapt

--- Calls `adapt` at the end of the next collection, before LuaJIT looks when the one after it begins.
local function arm()
  getmetatable(newproxy(true)).__gc = adapt
end

--- Sets when the next collection begins, by what is in use now.
function adapt()
  local wanted = 100 + max(100, floor(LEAST / collectgarbage "count" * 100))
  local pause = collectgarbage("setpause", wanted)
  if pause == set or pause == COMMON_PAUSE then set = wanted else collectgarbage("setpause", pause) end
  arm()
end

-- Large strings are a different matter: each is a piece of memory of its own, and LuaJIT collects step by step, at what
-- else is made. By the time it has come round a dozen of them have come and gone, where one would do that stays in the
-- processor's cache. The system may take 10 ms for 8 MB that nobody has used for a while.
local LARGE = 12000 -- kilobytes that are made beyond what is in use, and as much again: then all is collected

local most = 0 -- kilobytes in use from which on that is done

local function note_most() most = 2 * collectgarbage "count" + LARGE end

--- Called behind each chunk.
function M.tidy()
  if collectgarbage "count" < most then return end
  if collectgarbage "isrunning" then collectgarbage() end
  note_most()
end

--- Called as a worker's life begins.
function M.begin()
  arm()
  note_most()
end

--- Collects all garbage. A collector that the script has stopped stays so: LuaJIT's starts again with a collection.
function M.collect()
  local runs = collectgarbage "isrunning"
  collectgarbage()
  if not runs then collectgarbage "stop" end
end

return M
