-- Arrays: what they cost to reach, and how fast results come into them.
--
--   parlua bench/array.lua [MEGABYTES]      (default 1000)
--
-- Prints a line for each figure. bench/array.py has those of NumPy, SciPy and joblib beside it, bench/array.c those of C.
local host = require "parlua.host"
local parlua = require "parlua"

local megabytes = tonumber((...)) or 1000
local WORKERS = 2

--- The median of several times.
local function seconds(runs, f)
  local times = {}
  for k = 1, runs do
    local began = host.now()
    f()
    times[k] = host.now() - began
  end
  table.sort(times)
  return times[math.ceil(runs / 2)]
end

local function tell(what, text, ...) print(("%-64s %s"):format(what, text:format(...))) end

-- ---- reaching a large array ----

local n = megabytes * 125000
local large = parlua.array("double", n)
local at = large:data()
for k = 0, n - 1 do at[k] = k % 1000 end

for _, engine in ipairs { "threads", "process" } do
  local options = { engine = engine, workers = WORKERS }
  local nothing = parlua.array("double", 1)
  local function run(a) return seconds(9, function() parlua.map(function(i) return a[i] end, { 1, 1 }, options) end) end
  run(nothing)
  local without, with = run(nothing), run(large)
  tell(("%s: a call whose function captured %d MB, and one of 8 bytes"):format(engine, megabytes), "%.2f ms, %.2f ms",
    with * 1e3, without * 1e3)
end

-- ---- sum ----

tell(("sum of %d MB of doubles"):format(megabytes), "%.1f GB/s", 8 * n / seconds(5, function() large:sum() end) / 1e9)
large:free()

-- ---- 64 arrays of 8 MB in, 8 MB out ----

local function fill(a, value) return a:fill(value) end

local ins, out = {}, parlua.array("double", 64, 1e6)
for k = 1, 64 do ins[k] = fill(parlua.array("double", 1e6), k) end
out:fill(0)

local function double_into(x, k)
  local from, to = x:data(), out:slice(k):data()
  for j = 0, 1e6 - 1 do to[j] = 2 * from[j] end
end

local function double(x)
  local y = parlua.array("double", 1e6)
  local from, to = x:data(), y:data()
  for j = 0, 1e6 - 1 do to[j] = 2 * from[j] end
  return y
end

for _, engine in ipairs { "threads", "process" } do
  local options = { engine = engine, workers = WORKERS }
  local places = {}
  for k = 1, 64 do places[k] = k end
  local into = seconds(5, function() parlua.each(double_into, parlua.zip(ins, places), options) end)
  tell(engine .. ": 64 arrays of 8 MB in, 8 MB out, into an array that is there", "%.1f GB/s", 64 * 16e6 / into / 1e9)
  local fresh = seconds(3, function()
    local results = parlua.map(double, ins, options)
    for k = 1, 64 do results[k]:free() end
  end)
  tell(engine .. ": the same, as results that are new arrays", "%.1f GB/s", 64 * 16e6 / fresh / 1e9)
end
for k = 1, 64 do ins[k]:free() end
out:free()

-- ---- results as an array ----

for _, engine in ipairs { "threads", "process" } do
  local options = { engine = engine, workers = WORKERS, as = "array" }
  local packed = seconds(3, function() parlua.map(function(i) return i * i end, parlua.range(1e8), options):free() end)
  tell(engine .. ': as = "array" over a range of 1e8', "%.0f M tasks/s", 100 / packed)
  local into = parlua.array("double", 1e8):fill(0)
  options = { engine = engine, workers = WORKERS, into = into }
  local placed = seconds(3, function() parlua.map(function(i) return i * i end, parlua.range(1e8), options) end)
  tell(engine .. ": into an array that is there", "%.0f M tasks/s", 100 / placed)
  into:free()
end

-- ---- a Gaussian filter ----

local function gaussian(sigma)
  local radius, kernel, sum = math.floor(4 * sigma + 0.5), {}, 0
  for k = -radius, radius do
    kernel[k + radius + 1] = math.exp(-k * k / (2 * sigma * sigma))
    sum = sum + kernel[k + radius + 1]
  end
  for k = 1, #kernel do kernel[k] = kernel[k] / sum end
  return kernel
end

local images, filtered = parlua.array("float", 16, 1000, 1500), parlua.array("float", 16, 1000, 1500):fill(0)
for k = 0, images.size - 1 do images:data()[k] = k % 251 end
for _, sigma in ipairs { 3, 5 } do
  local kernel = gaussian(sigma)
  local function smooth(i)
    images:slice(i):convolve(kernel, { axis = 1 }):convolve(kernel, { axis = 2, into = filtered:slice(i) })
  end
  for _, workers in ipairs { 1, WORKERS } do
    for _, engine in ipairs { "threads", "process" } do
      local time = seconds(3, function() parlua.each(smooth, parlua.range(16), { engine = engine, workers = workers, chunk = 1 }) end)
      tell(("%s, %d workers: Gaussian filter, sigma %d, 16 x 1000 x 1500 float"):format(engine, workers, sigma), "%.3f s", time)
    end
  end
end
