-- How wide should the bins of a histogram be? Tries many widths over the same data and takes the one with the least
-- cross-validated error (Rudemo 1982). Shows a closure: the map function captures the data, only the width varies.
--
--   parlua histogram.lua [values]

local parlua = require "parlua"

local n = tonumber(arg[1]) or 3000

-- The data: a broad hill and a narrow one, normally distributed each (by the method of Box and Muller).
math.randomseed(1)
local data = {}
for i = 1, n do
  local normal = math.sqrt(-2 * math.log(1 - math.random())) * math.cos(2 * math.pi * math.random())
  data[i] = i % 4 == 0 and 5 + 0.4 * normal or 1.5 * normal
end

-- The captured `data` is simply there: the process engine inherits it, the threads engine sends each worker a copy.
local function histogram(width)
  local bins = {}
  for _, x in ipairs(data) do
    local bin = math.floor(x / width)
    bins[bin] = (bins[bin] or 0) + 1
  end
  local squares = 0
  for _, count in pairs(bins) do squares = squares + count ^ 2 end
  local risk = 2 / ((n - 1) * width) - (n + 1) / (n ^ 2 * (n - 1) * width) * squares
  return { width = width, bins = bins, risk = risk }
end

local results = parlua.map(histogram, parlua.range(0.1, 2, 0.05))

local best = results[1]
for _, result in ipairs(results) do
  if result.risk < best.risk then best = result end
end

local first, last, highest = math.huge, -math.huge, 0
for bin, count in pairs(best.bins) do
  first, last, highest = math.min(first, bin), math.max(last, bin), math.max(highest, count)
end
print(("best of %d bin widths: %.2f"):format(results.n, best.width))
for bin = first, last do
  local count = best.bins[bin] or 0
  print((("%7.2f %6d  %s"):format(bin * best.width, count, ("#"):rep(math.ceil(50 * count / highest))):gsub(" +$", "")))
end
