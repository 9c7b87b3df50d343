-- Pi by throwing darts: the share of random points of the unit square that fall into the quarter circle is pi / 4.
-- Shows how to cut one long loop into tasks: a task throws many darts, so that what it costs to hand it out is nothing.
--
--   parlua montecarlo_pi.lua [tasks]

local parlua = require "parlua"

local tasks = tonumber(arg[1]) or 100
local DARTS = 100000 -- a task

-- Each task has random numbers of its own, so the estimate does not depend on how many workers there are (--seed:
-- others).
local function hits()
  local count = 0
  for _ = 1, DARTS do
    local x, y = math.random(), math.random()
    if x * x + y * y <= 1 then count = count + 1 end
  end
  return count
end

-- Each result is added and forgotten: any number of tasks needs no more memory than one.
local total = parlua.reduce(hits, parlua.range(tasks), parlua.sum)

local darts = tasks * DARTS
local estimate = 4 * total / darts
local error_of_estimate = math.sqrt(estimate * (4 - estimate) / darts)
print(("pi is about %.4f, give or take %.4f (%d million darts)"):format(estimate, error_of_estimate, darts / 1e6))
