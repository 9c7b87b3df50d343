--- 1000 tasks of heavy-tailed length, 0.1 to 50 ms, in ascending, descending and random order, chunks measured by
--- parlua itself.
-- A task spins until its length has passed on the monotonic clock, so it needs a processor but no calibration. The
-- ideal is half the sum of the lengths (two workers, no cost); the figure is the ideal in percent of the time of the
-- whole call. Beside it: joblib with the better of its automatic batches and batches of one, workers warm; and, by
-- computation, handing out one task at a time at no cost at all; and the same in C (heavy_tail.c).
local lengths_of = require "lengths"
local measure = require "measure"
local parlua = require "parlua"

local function spin(seconds)
  local clock = require("ffi").C.clock_seconds
  local stop = clock() + seconds
  while clock() < stop do end -- luacheck: ignore 542
  return seconds
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
  local lengths = lengths_of.draw(measure.size(1000, 100))
  local rows, sides, orders = {}, {}, { "ascending", "descending", "random" }
  for _, order in ipairs(orders) do
    local list = lengths_of.sorted(lengths, order)
    local path = lengths_of.write(measure.scratch .. "/lengths-" .. order, list)
    for _, engine in ipairs { "threads", "process" } do
      sides[#sides + 1] = { name = engine .. order, run = measure.timed(function()
        return #parlua.map(spin, list, { engine = engine, workers = measure.workers })
      end) }
    end
    sides[#sides + 1] = measure.c { name = "C" .. order, program = "heavy_tail", words = { measure.workers, path } }
    sides[#sides + 1] = measure.python { name = "joblib" .. order, call = "heavy_tail", words = { path },
                                         chunks = { "auto", 1 } }
  end
  local got = measure.compare(sides)
  local ideal = lengths_of.sum(lengths) / 2
  for _, order in ipairs(orders) do
    local function percent(name) return 100 * ideal / got[name .. order].seconds end
    local best = 100 * ideal / one_at_a_time(lengths_of.sorted(lengths, order))
    local note = got["joblib" .. order].note:gsub("joblib" .. order .. ", chunks", "joblib, batches")
    for _, engine in ipairs { "process", "threads" } do
      rows[#rows + 1] = measure.row {
        what = ("heavy-tailed tasks, %s, %s, of the ideal"):format(order, engine), ours = percent(engine), unit = "%",
        more = true, at_least = 98, rival = note, theirs = percent("joblib"),
      }
    end
    rows[#rows + 1] = measure.row { what = "", ours = percent("threads"), unit = "%", more = true,
                                    rival = "one at a time at no cost", theirs = best }
    rows[#rows + 1] = measure.row { what = "", ours = percent("process"), unit = "%", more = true,
                                    rival = "one at a time in C", theirs = percent("C") }
  end
  return rows
end
