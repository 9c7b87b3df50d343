--- 1000 tasks of heavy-tailed length, 0.1 to 50 ms, in ascending, descending and random order, chunks measured by
--- parlua itself.
-- A task spins until its length has passed on the monotonic clock, so it needs a processor but no calibration. The
-- ideal is half the sum of the lengths (two workers, no cost); the figure is the ideal in percent of the time of the
-- whole call. Beside it: joblib with the better of its automatic batches and batches of one, workers warm; and, by
-- computation, handing out one task at a time at no cost at all.
local measure = require "measure"
local parlua = require "parlua"

local SHORTEST, LONGEST = 0.1e-3, 50e-3 -- seconds
local SEED = 1

--- Lengths drawn from a Pareto distribution with exponent 1/2, cut off at the longest.
local function draw(n)
  math.randomseed(SEED)
  local lengths = {}
  local share = 1 - math.sqrt(SHORTEST / LONGEST)
  for k = 1, n do lengths[k] = SHORTEST / (1 - math.random() * share) ^ 2 end
  return lengths
end

local function sorted(lengths, order)
  local list = {}
  for k, length in ipairs(lengths) do list[k] = length end
  if order == "ascending" then table.sort(list) end
  if order == "descending" then table.sort(list, function(a, b) return a > b end) end
  return list
end

local function spin(seconds)
  local clock = require("ffi").C.clock_seconds
  local stop = clock() + seconds
  while clock() < stop do end -- luacheck: ignore 542
  return seconds
end

local function sum_of(list)
  local sum = 0
  for _, length in ipairs(list) do sum = sum + length end
  return sum
end

--- Seconds until the end when each of two workers takes the next task as soon as it is free.
local function one_at_a_time(list)
  local a, b = 0, 0
  for _, length in ipairs(list) do
    if a <= b then a = a + length else b = b + length end
  end
  return math.max(a, b)
end

return function()
  local lengths = draw(measure.size(1000, 100))
  local rows, sides, orders = {}, {}, { "ascending", "descending", "random" }
  for _, order in ipairs(orders) do
    local list = sorted(lengths, order)
    local path = measure.scratch .. "/lengths-" .. order
    local file = assert(io.open(path, "w"))
    for _, length in ipairs(list) do file:write(("%.9f\n"):format(length)) end
    file:close()
    for _, engine in ipairs { "threads", "process" } do
      sides[#sides + 1] = { name = engine .. order, run = measure.timed(function()
        return #parlua.map(spin, list, { engine = engine, workers = measure.workers })
      end) }
    end
    sides[#sides + 1] = measure.python { name = "joblib" .. order, call = "heavy_tail", words = { path },
                                         chunks = { "auto", 1 } }
  end
  local got = measure.compare(sides)
  local ideal = sum_of(lengths) / 2
  for _, order in ipairs(orders) do
    local function percent(name) return 100 * ideal / got[name .. order].seconds end
    local best = 100 * ideal / one_at_a_time(sorted(lengths, order))
    local note = got["joblib" .. order].note:gsub("joblib" .. order .. ", chunks", "joblib, batches")
    for _, engine in ipairs { "process", "threads" } do
      rows[#rows + 1] = measure.row {
        what = ("heavy-tailed tasks, %s, %s, of the ideal"):format(order, engine), ours = percent(engine), unit = "%",
        more = true, at_least = 98, rival = note, theirs = percent("joblib"),
      }
    end
    rows[#rows + 1] = measure.row { what = "", ours = percent("threads"), unit = "%", more = true,
                                    rival = "one at a time at no cost", theirs = best }
  end
  return rows
end
