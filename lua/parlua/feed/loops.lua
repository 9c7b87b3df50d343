--- Loops over sources in the script: `for x in parlua.range(3) do`.
local supply = require "parlua.feed.supply"

local M = {}

-- Loops over sources that are under way: the last begun at the end. A loop that was left stays until one around it goes
-- on.
local loops = setmetatable({}, { __mode = "k" })

local function step_values(loop, more, ...)
  if not more then return nil end
  loop.control = ...
  return ...
end

--- A source can be stepped through in the script: `for x in parlua.range(3) do`. Loops over the same source may be
--- nested.
function M.step(source, control)
  local stack = loops[source]
  if not stack then
    stack = {}
    loops[source] = stack
  end
  if type(control) == "nil" then
    stack[#stack + 1] = { read = supply.reader(source) }
  else
    while #stack > 1 and stack[#stack].control ~= control do stack[#stack] = nil end
  end
  local loop = stack[#stack]
  local function take(...)
    if type((...)) == "nil" then stack[#stack] = nil end
    return ...
  end
  return take(step_values(loop, loop.read()))
end

return M
