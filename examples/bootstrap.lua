-- A confidence interval by resampling: how sure is the median of a small sample? Each task draws the sample anew, with
-- random numbers of its own: the interval is the same on every machine, engine and number of workers; --seed gives
-- another.
--
--   parlua examples/bootstrap.lua [resamples]

local parlua = require "parlua"

local resamples = tonumber(arg and arg[1]) or 20000

-- Waiting times between eruptions of a geyser, in minutes.
local sample = { 79, 54, 74, 62, 85, 55, 88, 85, 51, 85, 54, 84, 78, 47, 83, 52, 62, 84, 52, 79, 51, 47, 78, 69, 74,
                 83 }

local function median(values)
  table.sort(values)
  local half = math.floor(#values / 2)
  return #values % 2 == 1 and values[half + 1] or (values[half] + values[half + 1]) / 2
end

local function resampled_median()
  local drawn = {}
  for k = 1, #sample do drawn[k] = sample[math.random(#sample)] end
  return median(drawn)
end

local value, _, summary = parlua.reduce(resampled_median, parlua.range(resamples), {
  spread = parlua.stats, medians = parlua.collect,
})
table.sort(value.medians)

local function quantile(q) return value.medians[math.max(1, math.floor(q * #value.medians + 0.5))] end

print(("median %g minutes, standard error %.2f"):format(median(sample), value.spread.deviation))
print(("95 %% confidence: %g to %g"):format(quantile(0.025), quantile(0.975)))
print(("%d resamples in %.2f s with %d workers"):format(resamples, summary.seconds, summary.workers))
