-- The mean firing rate of simulated neurons: trains of spikes whose intervals are exponential (Poisson processes).
-- Shows several arguments a task (every rate, with every trial) and random numbers that are the same on each engine.
--
--   parlua firing_rate.lua [trials] [seconds]

local parlua = require "parlua"

local trials = tonumber(arg[1]) or 200
local duration = tonumber(arg[2]) or 10       -- seconds of each train
local rates = { 2, 5, 10, 20, 50, 100 }       -- spikes a second

-- One train: how many spikes fall into `duration`. Each task's random numbers follow from its index, so that it is the
-- same train whichever worker simulates it.
local function spike_count(rate)
  local count, time = 0, 0
  while true do
    time = time - math.log(1 - math.random()) / rate
    if time > duration then return count end
    count = count + 1
  end
end

-- The last part varies fastest: all trials of the first rate come first, then those of the second, ...
local counts = parlua.map(spike_count, parlua.product(rates, parlua.range(trials)))

print("rate (Hz)   mean (Hz)   variance/mean of the counts (1 for a Poisson process)")
for k, rate in ipairs(rates) do
  local sum, squares = 0, 0
  for i = (k - 1) * trials + 1, k * trials do
    sum = sum + counts[i]
    squares = squares + counts[i] ^ 2
  end
  local mean = sum / trials
  local variance = squares / trials - mean ^ 2
  print(("%9g %11.2f %11.2f"):format(rate, mean / duration, variance / mean))
end
