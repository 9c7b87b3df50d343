--- `map` over a list of numbers held in Lua, beside Python's `Pool.map` over a list of floats with its best chunk size;
--- and over the same numbers as an iterator gives them.
local measure = require "measure"
local parlua = require "parlua"

local function square(x) return x * x end

local function check(results)
  return ("%d:%.0f:%.0f"):format(results.n, results[math.floor(results.n / 2) + 1], results[results.n])
end

return function()
  local n = measure.size(1e6, 1e5)
  local items = {}
  for i = 1, n do items[i] = i + 0.5 end
  local function side(engine)
    return { name = engine, warm = true, run = measure.timed(function()
      return parlua.map(square, items, { engine = engine, workers = measure.workers }), check
    end) }
  end
  local got = measure.compare {
    side "threads", side "process",
    measure.python { name = "Pool.map", call = "map_list", words = { n },
                     chunks = measure.quick and { 1000 } or { 1000, 10000, 100000 } },
  }
  local function iterator_side(engine)
    return { name = engine, warm = true, run = measure.timed(function()
      local k = 0
      local function step()
        k = k + 1
        return items[k]
      end
      return parlua.map(square, step, { engine = engine, workers = measure.workers }), check
    end) }
  end
  local by_iterator = measure.compare { iterator_side "threads", iterator_side "process" }
  local function row(what, engine)
    return measure.row { what = what, ours = n / got[engine].seconds / 1e6, unit = "M/s", more = true, at_least = 15,
                         rival = got["Pool.map"].note, theirs = n / got["Pool.map"].seconds / 1e6 }
  end
  return {
    row(("map over a list of %s numbers, threads"):format(measure.count(n)), "threads"),
    row("the same, process engine, fork included", "process"),
    measure.row { what = "the same as items of an iterator, process beside threads", unit = "M/s", more = true,
                  ours = n / by_iterator.process.seconds / 1e6, rival = "threads", at_least = 16, ratio_at_least = 0.9,
                  theirs = n / by_iterator.threads.seconds / 1e6 },
  }
end
