--- Calls for bench/futures.lua whose lengths are random, with an exponential distribution.
local host = require "parlua.host"

local MEAN = 200e-6 -- seconds

local M = {}

--- Lengths of n calls, and their sum.
function M.draw(n)
  local lengths, sum = {}, 0
  math.randomseed(1)
  for k = 1, n do
    lengths[k] = -math.log(1 - math.random()) * MEAN
    sum = sum + lengths[k]
  end
  return lengths, sum
end

--- Computes for so long.
function M.spin(seconds)
  local last = host.now() + seconds
  while host.now() < last do end
end

return M
