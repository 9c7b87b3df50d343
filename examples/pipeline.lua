-- Calls that need each other's results: a diamond of futures, without a line of waiting but the last.
--
--     parlua examples/pipeline.lua [samples]
--
--                 samples
--                /       \
--          centred      range      <- both begin when the samples are there
--                \       /
--                 report           <- begins when both are
--
-- Where a call fails, those that need it fail too, and say which one it was.

local parlua = require "parlua"

local n = tonumber(arg[1]) or 1000

local function measure(count)
  local samples = {}
  for i = 1, count do samples[i] = 20 + 5 * math.sin(i / 7) + math.random() end
  return samples
end

local function centre(samples)
  local sum = 0
  for _, value in ipairs(samples) do sum = sum + value end
  local mean, squares = sum / #samples, 0
  for _, value in ipairs(samples) do squares = squares + (value - mean) ^ 2 end
  return { mean = mean, deviation = math.sqrt(squares / #samples) }
end

local function range(samples)
  local low, high = math.huge, -math.huge
  for _, value in ipairs(samples) do low, high = math.min(low, value), math.max(high, value) end
  return { low = low, high = high }
end

local function report(name, centred, limits)
  return ("%s: mean %.2f, deviation %.2f, from %.2f to %.2f"):format(name, centred.mean, centred.deviation, limits.low,
    limits.high)
end

local reports = {}
for k, name in ipairs { "north", "south", "west" } do
  local samples = parlua.submit(measure, name == "west" and "many" or n)
  reports[k] = parlua.submit(report, name, parlua.submit(centre, samples), parlua.submit(range, samples))
end

for future in parlua.as_completed(reports) do
  future:on_done(function() end) -- its end may also be waited for like this
end
for k = 1, #reports do
  local failure = reports[k].failure
  print(failure and "failed: " .. failure.message:gsub("the call submitted at %S+, ", "") or reports[k]:get())
end
