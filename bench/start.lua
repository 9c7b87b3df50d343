--- Whole programs, start to end: one `map` on two threads, and an empty script. Beside a plain loop in luajit, Python's
--- Pool, joblib. Then the processor time of small programs.
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

local require_only = 'local parlua = require "parlua"'

--- A program with one map over a list of four numbers.
local function four_tasks(options)
  return require_only .. " parlua.map(function(x) return x * x end, { 1, 2, 3, 4 }, " .. options .. ")"
end

local small = {
  { "requires parlua", require_only },
  { "maps four numbers, serial", four_tasks '{ engine = "serial" }' },
  { "the same, two threads", four_tasks '{ engine = "threads", workers = 2 }' },
  { "the same, two processes", four_tasks '{ engine = "process", workers = 2 }' },
  { "opens a pool of a thread, one task, closes it", require_only .. [[
    local pool = parlua.pool { engine = "threads", workers = 1 }
    pool:map(function(x) return x * x end, { 1 })
    pool:close()]] },
}

return function()
  local luajit = measure.which("luajit")
  --- `which`: 1 is the time that the program takes, 2 its processor time.
  local function side_of(which, name, times, ...)
    local words = { ... }
    return { name = name, warm = true, run = function()
      local all = {}
      for k = 1, times do all[k] = (select(which, measure.program_seconds(words))) end
      return measure.median(all)
    end }
  end
  local function side(...) return side_of(1, ...) end
  local often, seldom = measure.size(100, 10), measure.size(5, 1)
  local rivals = measure.directory .. "/rivals.py"
  local sides = {}
  for k, one in ipairs(small) do sides[k] = side_of(2, one[1], often, measure.parlua, "-e", one[2]) end
  sides[#sides + 1] = side_of(2, "luajit", often, luajit, "-e", "")
  local processor = measure.compare(sides)
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
  local rows = {
    measure.row { what = "a program with a map on two threads", ours = ours, unit = "ms", at_most = 2.5,
                  rival = "luajit, a plain loop", theirs = milli("plain") },
    measure.row { what = "", ours = ours, unit = "ms", rival = "multiprocessing.Pool", theirs = milli("pool") },
    measure.row { what = "", ours = ours, unit = "ms", rival = "joblib", theirs = milli("joblib") },
    measure.row { what = "an empty script, parlua -e ''", ours = milli("empty"), unit = "ms", rival = "luajit -e ''",
                  theirs = milli("luajit"), within = 2 },
  }
  for _, one in ipairs(small) do
    rows[#rows + 1] = measure.row { what = "processor time: " .. one[1], ours = processor[one[1]].seconds * 1e3,
                                    unit = "ms", rival = "luajit -e ''", theirs = processor.luajit.seconds * 1e3 }
  end
  return rows
end
