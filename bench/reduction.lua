--- One value of a long range: a sum whose blocks the workers fold, a sum that the coordinator folds in order, and a
--- search that hits early. Beside one LuaJIT thread that does the same; with the largest memory of any process.
local measure = require "measure"
local parlua = require "parlua"

local MEGABYTE = 1e6
local HIT = 777

local function identity(x) return x end

--- As workers see it: with no merge, all results travel.
local ordered_sum = { init = 0, step = function(sum, x) return sum + x end }

local function plain_sum(n)
  local sum = 0
  for i = 1, n do sum = sum + identity(i) end
  return sum
end

--- A side that is a program of its own, which reduces a range of n. Not seconds, but the medians are the same: its peak
--- memory in megabytes.
local function peak(name, engine, n, reducer)
  local program = { measure.parlua, "-e", ([[
local parlua = require "parlua"
local ordered_sum = { init = 0, step = function(sum, x) return sum + x end }
local sum = parlua.reduce(function(x) return x end, parlua.range(%.0f), %s, { engine = %q, workers = %d })
assert(math.abs(sum / %.0f - 1) < 1e-9)]]):format(n, reducer, engine, measure.workers, n * (n + 1) / 2) }
  return { name = name, run = function() return measure.peak_bytes(program) / MEGABYTE end }
end

--- The rows of one way to sum: rate and memory, by engine.
---@param sum {what: string, n: integer, reducer: any, text: string, at_least: number, memory_below?: number}
local function rows_of(sum, rows)
  local function side(engine)
    return { name = engine, warm = true, run = measure.timed(function()
      return parlua.reduce(identity, parlua.range(sum.n), sum.reducer, { engine = engine, workers = measure.workers })
    end) }
  end
  local got = measure.compare {
    side "threads", side "process",
    -- its sum is rounded elsewhere: it is no check
    { name = "one", warm = true, run = measure.timed(function()
      plain_sum(sum.n)
    end) },
  }
  local function rate(name) return sum.n / got[name].seconds / 1e6 end
  for _, engine in ipairs { "threads", "process" } do
    rows[#rows + 1] = measure.row {
      what = ("%s of a range of %s, %s"):format(sum.what, measure.count(sum.n), engine), ours = rate(engine),
      unit = "M/s", more = true, rival = "one LuaJIT thread", theirs = rate "one", at_least = sum.at_least,
    }
    local peaks = measure.compare { peak("all", engine, sum.n, sum.text), peak("half", engine, sum.n / 2, sum.text) }
    local memory = peaks.all.seconds
    rows[#rows + 1] = measure.row { what = "its peak memory", ours = memory, unit = "MB", below = sum.memory_below }
    rows[#rows + 1] = measure.row {
      what = ("what it grows by from %s to %s"):format(measure.count(sum.n / 2), measure.count(sum.n)),
      ours = memory - peaks.half.seconds, unit = "MB", at_most = 1,
    }
  end
end

local function search_rows(rows)
  local n = 1e9
  local function side(engine)
    return { name = engine, run = measure.timed(function()
      return parlua.find(function(i) return i > HIT end, parlua.range(n), { engine = engine, workers = measure.workers })
    end) }
  end
  local got = measure.compare { side "threads", side "process" }
  for _, engine in ipairs { "threads", "process" } do
    rows[#rows + 1] = measure.row {
      what = ("find, task %d of %s hits, %s"):format(HIT + 1, measure.count(n), engine),
      ours = got[engine].seconds * 1e3, unit = "ms", below = 50,
    }
  end
end

return function()
  local rows = {}
  rows_of({ what = "sum with merge", n = measure.size(1e9, 1e7), reducer = parlua.sum, text = "parlua.sum",
            at_least = 500, memory_below = 20 }, rows)
  rows_of({ what = "ordered fold", n = measure.size(1e8, 1e6), reducer = ordered_sum, text = "ordered_sum",
            at_least = 40 }, rows)
  search_rows(rows)
  return rows
end
