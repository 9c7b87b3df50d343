--- Pi by Monte Carlo in 1000 tasks: beside half the time of one plain LuaJIT with its own math.random, half of the same
--- tasks in order on one thread (the same generator), NumPy in two processes, and OpenMP in C.
local measure = require "measure"
local parlua = require "parlua"

local TASKS = 1000

--- How many of so many samples lie in the quarter of a circle.
local HITS = [[
local samples = ...
local n = 0
for _ = 1, samples do
  local x, y = math.random(), math.random()
  if x * x + y * y < 1 then n = n + 1 end
end
return n]]

return function()
  local samples = measure.size(1e8, 1e6)
  local each = samples / TASKS
  local hits = loadstring(HITS)

  local function side(engine)
    return { name = engine, warm = true, run = measure.timed(function()
      return parlua.reduce(function() return hits(each) end, parlua.range(TASKS), parlua.sum,
        { engine = engine, workers = measure.workers, seed = 1 }) -- else each call draws other numbers
    end, function(count)
      assert(math.abs(4 * count / samples - math.pi) < 0.01)
      return count
    end) }
  end

  local luajit = { measure.which "luajit", "-e", ([[
local function hits(...) %s end
local count = 0
for _ = 1, %d do count = count + hits(%.0f) end
assert(math.abs(4 * count / %.0f - math.pi) < 0.01)]]):format(HITS, TASKS, each, samples) }

  local got = measure.compare {
    side "threads", side "process", side "serial",
    { name = "luajit", run = function() return measure.program_seconds(luajit) end },
    measure.python { name = "numpy", call = "pi", words = { TASKS, each } },
    measure.c { name = "openmp", program = "pi", words = { TASKS, each, measure.workers } },
  }

  local what = ("Monte Carlo pi, %s samples in %d tasks, %%s"):format(measure.count(samples), TASKS)
  local rows = {}
  for _, engine in ipairs { "threads", "process" } do
    local function row(rival, seconds, within)
      rows[#rows + 1] = measure.row {
        what = within and what:format(engine) or "", ours = got[engine].seconds * 1e3, unit = "ms",
        rival = rival, theirs = seconds * 1e3, within = within,
      }
    end
    row("LuaJIT's loop with its own random numbers / 2", got.luajit.seconds / measure.workers, 1.05)
    row("the same tasks one after the other / 2", got.serial.seconds / measure.workers)
    row("NumPy, 2 processes", got.numpy.seconds)
    row("OpenMP C, xoshiro256+, 2 threads", got.openmp.seconds)
  end
  return rows
end
