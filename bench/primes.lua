--- Primality of the numbers from 1e6 to 2e6 by trial division: beside the same loop on one LuaJIT thread, OpenMP in C
--- with guided chunks, and Python's Pool.
local measure = require "measure"
local parlua = require "parlua"

local function is_prime(n)
  for d = 2, math.sqrt(n) do
    if n % d == 0 then return 0 end
  end
  return 1
end

local function sum_of(results)
  local sum = 0
  for i = 1, results.n do sum = sum + results[i] end
  return sum
end

return function()
  local first = 1e6
  local last = first + measure.size(1e6, 1e5)
  local n = last - first + 1
  local function side(engine)
    return { name = engine, warm = true, run = measure.timed(function()
      return parlua.map(is_prime, parlua.range(first, last), { engine = engine, workers = measure.workers }), sum_of
    end) }
  end
  local got = measure.compare {
    side "threads", side "process",
    { name = "one", warm = true, run = measure.timed(function()
      local results = { n = n }
      for i = first, last do results[i - first + 1] = is_prime(i) end
      return results, sum_of
    end) },
    measure.c { name = "openmp", program = "primes", words = { first, last, measure.workers } },
    measure.python { name = "Pool.map", call = "primes", words = { first, last },
                     chunks = measure.quick and { 1000 } or { 1000, 10000 } },
  }
  local function rate(name) return n / got[name].seconds / 1e6 end
  local function row(engine, what, rival, theirs, goals)
    goals = goals or {}
    return measure.row { what = what, ours = rate(engine), unit = "M/s", more = true, rival = rival,
                         theirs = rate(theirs), at_least = goals.at_least, ratio_at_least = goals.ratio_at_least }
  end
  local goals = { at_least = 12, ratio_at_least = 1.85 }
  return {
    row("threads", "primality of 1e6 to 2e6, threads", "one LuaJIT thread", "one", goals),
    row("process", "the same, process engine, fork included", "one LuaJIT thread", "one", goals),
    row("process", "", "OpenMP C, guided, 2 threads", "openmp"),
    row("process", "", got["Pool.map"].note, "Pool.map"),
  }
end
