--- `map` of x * x over a range, results in a Lua table, on warm threads and on forked processes (fork included), beside
--- Python's `Pool.map` with its best chunk size, its workers warm or started within the time.
local measure = require "measure"
local parlua = require "parlua"

local function square(x) return x * x end

local function check(results)
  return ("%d:%.0f:%.0f"):format(results.n, results[math.floor(results.n / 2) + 1], results[results.n])
end

return function()
  local n = measure.size(1e7, 1e5)
  local function side(engine)
    return { name = engine, warm = true, run = measure.timed(function()
      return parlua.map(square, parlua.range(n), { engine = engine, workers = measure.workers }), check
    end) }
  end
  local chunks = measure.quick and { 1000 } or { 1000, 10000, 100000, 1000000 }
  local got = measure.compare {
    side "threads", side "process",
    measure.python { name = "Pool.map", call = "map_range", words = { n }, chunks = chunks },
    measure.python { name = "Pool(2).map", call = "map_range_with_start", words = { n }, chunks = chunks },
  }
  local function rate(name) return n / got[name].seconds / 1e6 end
  return {
    measure.row { what = ("map over a range of %s, threads"):format(measure.count(n)), ours = rate("threads"),
                  unit = "M/s", more = true, rival = got["Pool.map"].note, theirs = rate("Pool.map"),
                  at_least = 60, ratio_at_least = 20 },
    measure.row { what = "the same, process engine, fork included", ours = rate("process"), unit = "M/s", more = true,
                  rival = got["Pool(2).map"].note, theirs = rate("Pool(2).map"), at_least = 50 },
  }
end
