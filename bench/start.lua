--- Whole programs, start to end: one `map` on two threads, and an empty script. Beside a plain loop in luajit, Python's
--- Pool, joblib.
local measure = require "measure"

local program = [[
local parlua = require "parlua"
local results = parlua.map(function(x) return x * x end, parlua.range(100), { engine = "threads", workers = 2 })
local sum = 0
for i = 1, results.n do sum = sum + results[i] end
assert(sum == 338350)
]]

local plain = [[
local function square(x) return x * x end
local results = {}
for i = 1, 100 do results[i] = square(i) end
local sum = 0
for i = 1, 100 do sum = sum + results[i] end
assert(sum == 338350)
]]

return function()
  local luajit = measure.which("luajit")
  local function side(name, times, ...)
    local words = { ... }
    return { name = name, warm = true, run = function()
      local all = {}
      for k = 1, times do all[k] = measure.program_seconds(words) end
      return measure.median(all)
    end }
  end
  local often, seldom = measure.size(100, 10), measure.size(5, 1)
  local rivals = measure.directory .. "/rivals.py"
  local got = measure.compare {
    side("map", often, measure.parlua, "-e", program),
    side("plain", often, luajit, "-e", plain),
    side("pool", seldom, measure.python_path, rivals, "program_pool"),
    side("joblib", seldom, measure.python_path, rivals, "program_joblib"),
    side("empty", often, measure.parlua, "-e", ""),
    side("luajit", often, luajit, "-e", ""),
  }
  local function milli(name) return got[name].seconds * 1e3 end
  local ours = milli("map")
  return {
    measure.row { what = "a program with a map on two threads", ours = ours, unit = "ms", at_most = 2.5,
                  rival = "luajit, a plain loop", theirs = milli("plain") },
    measure.row { what = "", ours = ours, unit = "ms", rival = "multiprocessing.Pool", theirs = milli("pool") },
    measure.row { what = "", ours = ours, unit = "ms", rival = "joblib", theirs = milli("joblib") },
    measure.row { what = "an empty script, parlua -e ''", ours = milli("empty"), unit = "ms", rival = "luajit -e ''",
                  theirs = milli("luajit"), within = 2 },
  }
end
