--- `map` over small tables of five fields that gives such tables, beside Python's `Pool.map` over dicts with its best
--- chunk size, and beside one plain loop.
local measure = require "measure"
local parlua = require "parlua"

local function next_record(record)
  return { id = record.id, x = record.x + 1, y = record.y * 2, name = record.name, even = not record.even }
end

local function check(results)
  local last = results[results.n]
  return ("%d:%d:%.2f:%d:%s"):format(results.n, last.id, last.x, last.y, last.name)
end

return function()
  local n = measure.size(1e5, 1e4)
  local records = {}
  for i = 1, n do records[i] = { id = i, x = i + 0.25, y = i * 3, name = "n" .. i, even = i % 2 == 0 } end
  local function side(engine)
    return { name = engine, warm = true, run = measure.timed(function()
      return parlua.map(next_record, records, { engine = engine, workers = measure.workers }), check
    end) }
  end
  local got = measure.compare {
    side "threads", side "process",
    measure.python { name = "Pool.map", call = "map_tables", words = { n },
                     chunks = measure.quick and { 1000 } or { 100, 1000, 10000 } },
    measure.plain_loop(n, next_record, records, check),
  }
  local function row(what, engine)
    return measure.row { what = what, ours = n / got[engine].seconds / 1e6, unit = "M/s", more = true, at_least = 1,
                         rival = got["Pool.map"].note, theirs = n / got["Pool.map"].seconds / 1e6 }
  end
  return {
    row(("map over %s small tables giving tables, threads"):format(measure.count(n)), "threads"),
    measure.beside_loop(got, "threads", n),
    row("the same, process engine, fork included", "process"),
    measure.beside_loop(got, "process", n),
  }
end
