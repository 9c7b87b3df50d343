-- Reductions, searches and random numbers, two workers: what each does in a second, and the most memory that the
-- coordinator held. Each measurement runs in a process of its own.
--
--   parlua bench/reduce.lua                 all of them
--   parlua bench/reduce.lua NAME ENGINE     one
local ffi = require "ffi"
local host = require "parlua.host"
local parlua = require "parlua"

local function identity(x) return x end
local function add(a, b) return a + b end

local SAMPLES = 1e5

--- Counts samples in the quarter of a circle: a task of Monte Carlo pi.
local function hits()
  local n = 0
  for _ = 1, SAMPLES do
    local x, y = math.random(), math.random()
    if x * x + y * y < 1 then n = n + 1 end
  end
  return n
end

--- The same loop with LuaJIT's own numbers, outside of tasks.
local function plain_pi() for _ = 1, 1000 do hits() end end

local cells = ffi.new("struct { volatile double current; double pad[7]; volatile double limit[1]; }")

--- The worker's inner loop without, and with, the store of the index and the look at the limit.
local function bare(n)
  local sum = 0
  for i = 1, n do sum = sum + i % 7 end
  return sum
end

local function watched(n)
  local sum, limit = 0, cells.limit
  limit[0] = n
  for i = 1, n do
    cells.current = i
    if i > limit[0] then return sum end
    sum = sum + i % 7
  end
  return sum
end

local function seconds_of(f, ...)
  local began = host.now()
  f(...)
  return host.now() - began
end

--- name, how many, what
local measurements = {
  { "sum with merge", 1e9, function(options) parlua.reduce(identity, parlua.range(1e9), parlua.sum, options) end },
  { "sum without merge", 1e8, function(options)
    parlua.reduce(identity, parlua.range(1e8), { init = 0, step = add }, options)
  end },
  { "mean and variance", 1e8, function(options) parlua.reduce(identity, parlua.range(1e8), parlua.mean, options) end },
  { "four reducers", 1e8, function(options)
    parlua.reduce(identity, parlua.range(1e8),
      { a = parlua.mean, b = parlua.max, c = parlua.min, d = parlua.sum }, options)
  end },
  { "early hit of 1e9", 1, function(options) parlua.find(function(i) return i > 777 end, parlua.range(1e9), options) end },
  { "late hit of 1e9", 9e8, function(options) parlua.find(function(i) return i > 9e8 end, parlua.range(1e9), options) end },
  { "Monte Carlo pi", 1e8, function(options) parlua.reduce(hits, parlua.range(1000), parlua.sum, options) end },
}

local function most_memory()
  for line in io.lines("/proc/self/status") do
    local kilobytes = line:match("^VmHWM:%s+(%d+)")
    if kilobytes then return kilobytes / 1024 end
  end
end

local function measure(name, engine)
  for _, each in ipairs(measurements) do
    if each[1] == name then
      local seconds = seconds_of(each[3], { engine = engine, workers = 2 })
      print(("%-20s %-8s %7.3f s %10.1f million/s %6.1f MB"):format(name, engine, seconds, each[2] / seconds / 1e6, most_memory()))
      return
    end
  end
  error("there is no measurement " .. name)
end

if arg[1] then
  measure(arg[1], arg[2] or "process")
else
  local interpreter, script = arg[-1], arg[0]
  for _, each in ipairs(measurements) do
    for _, engine in ipairs { "threads", "process" } do
      os.execute(("'%s' '%s' '%s' %s"):format(interpreter, script, each[1], engine))
    end
  end
  print(("%-20s %-8s %7.3f s, half of it %.3f s"):format("Monte Carlo pi", "a loop", seconds_of(plain_pi), seconds_of(plain_pi) / 2))
  local n, least = 3e8, { math.huge, math.huge }
  for _ = 1, 5 do
    least[1], least[2] = math.min(least[1], seconds_of(bare, n)), math.min(least[2], seconds_of(watched, n))
  end
  print(("index and stop flag: %.2f ns a task (%.2f ns with, %.2f ns without)"):format((least[2] - least[1]) / n * 1e9,
    least[2] / n * 1e9, least[1] / n * 1e9))
end
