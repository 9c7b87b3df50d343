--- Arrays: what a large one costs to reach, how fast elements go in and out, a filter over images, k-means. Beside C
--- on two threads, NumPy, SciPy and joblib.
local measure = require "measure"
local parlua = require "parlua"

local ENGINES = { "threads", "process" }

--- The options of a call on an engine.
local function with(engine, more)
  local options = { engine = engine, workers = measure.workers }
  for name, value in pairs(more or {}) do options[name] = value end
  return options
end

--- A side for each engine: f(options).
local function sides_of(f, more)
  local sides = {}
  for k, engine in ipairs(ENGINES) do
    sides[k] = { name = engine, warm = true, run = measure.timed(function() return f(with(engine, more)) end) }
  end
  return sides
end

--- A call whose function has captured a large array, beside one that has captured a small one.
local function reach_rows(rows)
  local megabytes = measure.size(1000, 50)
  local large, small = parlua.array("double", megabytes * 125000), parlua.array("double", 1)
  local at = large:data()
  for k = 0, large.size - 1 do at[k] = k % 1000 end
  local function call(a)
    return function(options)
      for _ = 1, 10 do parlua.map(function(i) return a[i] end, { 1, 1 }, options) end
    end
  end
  local with_it, without = measure.compare(sides_of(call(large))), measure.compare(sides_of(call(small)))
  for _, engine in ipairs(ENGINES) do
    rows[#rows + 1] = measure.row {
      what = ("a call whose function captured an array of %d MB, %s"):format(megabytes, engine),
      ours = with_it[engine].seconds * 100, unit = "ms", rival = "one of 8 bytes", theirs = without[engine].seconds * 100,
      at_most = without[engine].seconds * 100 + 5,
    }
  end
  local got = measure.compare {
    { name = "parlua", run = measure.timed(function() large:sum() end) },
    measure.c { name = "c", program = "arrays", words = { "sum", megabytes } },
    measure.python { name = "numpy", call = "array_sum", words = { megabytes } },
  }
  for _, rival in ipairs { { "c", "C, 2 threads", 1.2 }, { "numpy", "NumPy" } } do
    rows[#rows + 1] = measure.row {
      what = rival[3] and ("a:sum() of %d MB of doubles"):format(megabytes) or "", ours = got.parlua.seconds * 1e3, unit = "ms",
      rival = rival[2], theirs = got[rival[1]].seconds * 1e3, within = rival[3],
    }
  end
  large:free()
end

--- 64 arrays in, 64 out.
local function double_rows(rows)
  local count, size = 64, measure.size(1e6, 1e4)
  local ins, places, out = {}, {}, parlua.array("double", count, size):fill(0)
  for k = 1, count do ins[k], places[k] = parlua.array("double", size):fill(k), k end
  local function into(options)
    parlua.each(function(x, k)
      local from, to = x:data(), out:slice(k):data()
      for j = 0, size - 1 do to[j] = 2 * from[j] end
    end, parlua.zip(ins, places), options)
  end
  local function fresh(options)
    local results = parlua.map(function(x)
      local y = parlua.array("double", size)
      local from, to = x:data(), y:data()
      for j = 0, size - 1 do to[j] = 2 * from[j] end
      return y
    end, ins, options)
    for k = 1, count do results[k]:free() end
  end
  local bytes = count * 16 * size / 1e9
  local rivals = measure.compare {
    measure.c { name = "c", program = "arrays", words = { "double", count * size * 8 / 1e6 } },
    measure.python { name = "joblib", call = "array_double", words = { count, size } },
  }
  local reused, new = measure.compare(sides_of(into)), measure.compare(sides_of(fresh))
  for _, engine in ipairs(ENGINES) do
    local function row(what, ours, rival, theirs, at_least)
      rows[#rows + 1] = measure.row {
        what = what, ours = bytes / ours, unit = "GB/s", more = true, rival = rival, theirs = bytes / theirs, at_least = at_least,
      }
    end
    local what = ("%d arrays of %g MB in, as much out, %s"):format(count, 8 * size / 1e6, engine)
    row(what .. ", in place", reused[engine].seconds, "C, 2 threads, in place", rivals.c.seconds, 12)
    row(what .. ", new arrays", new[engine].seconds, "joblib, memory maps", rivals.joblib.seconds)
  end
end

--- Results of a range as an array.
local function packed_rows(rows)
  local n = measure.size(1e8, 1e6)
  local into = parlua.array("double", n):fill(0)
  local function packed(options)
    options.as = "array"
    parlua.map(function(i) return i * i end, parlua.range(n), options):free()
  end
  local function placed(options)
    options.into = into
    parlua.map(function(i) return i * i end, parlua.range(n), options)
  end
  local new, reused = measure.compare(sides_of(packed)), measure.compare(sides_of(placed))
  for _, engine in ipairs(ENGINES) do
    rows[#rows + 1] = measure.row {
      what = ('as = "array" over a range of %s, %s'):format(measure.count(n), engine), ours = n / new[engine].seconds / 1e6,
      unit = "M/s", more = true, at_least = 400,
    }
    rows[#rows + 1] = measure.row {
      what = "the same, into an array that is there", ours = n / reused[engine].seconds / 1e6, unit = "M/s", more = true,
    }
  end
end

local function gaussian(sigma)
  local radius, kernel, sum = math.floor(4 * sigma + 0.5), {}, 0
  for k = -radius, radius do
    kernel[#kernel + 1] = math.exp(-k * k / (2 * sigma * sigma))
    sum = sum + kernel[#kernel]
  end
  for k = 1, #kernel do kernel[k] = kernel[k] / sum end
  return kernel
end

--- The median of how many times as fast one side was as another in the same turn: turns are compared one by one, as the
--- processors of a machine that others use, too, may be of half the speed a second later.
local function gain(slow, fast)
  local ratios = {}
  for k, seconds in ipairs(slow.all) do ratios[k] = seconds / fast.all[k] end
  return measure.median(ratios)
end

local function filter_rows(rows)
  local images, height, width = 16, measure.size(1000, 100), measure.size(1500, 150)
  local stack, filtered = parlua.array("float", images, height, width), parlua.array("float", images, height, width):fill(0)
  for k = 0, stack.size - 1 do stack:data()[k] = k % 251 end
  for _, sigma in ipairs { 3, 5 } do
    local kernel = gaussian(sigma)
    local function smooth(options)
      parlua.each(function(i)
        stack:slice(i):convolve(kernel, { axis = { 1, 2 }, into = filtered:slice(i) })
      end, parlua.range(images), options)
    end
    local sides = {}
    for _, engine in ipairs(ENGINES) do
      for workers = 1, 2 do -- one right before two
        sides[#sides + 1] = { name = engine .. workers, warm = true,
          run = measure.timed(function() smooth { engine = engine, workers = workers, chunk = 1 } end) }
      end
    end
    for _, kind in ipairs { "threads", "fork" } do
      for workers = 1, 2 do
        sides[#sides + 1] = measure.c { name = kind .. " of C" .. workers, program = "filter",
          words = { images, height, width, sigma, workers, kind } }
      end
    end
    sides[#sides + 1] = measure.python { name = "scipy", call = "array_filter", words = { images, height, width, sigma } }
    local got = measure.compare(sides)
    for _, engine in ipairs(ENGINES) do
      local what = ("Gaussian filter, sigma %d, %d x %d x %d float, %s"):format(sigma, images, height, width, engine)
      rows[#rows + 1] = measure.row {
        what = what, ours = got[engine .. 2].seconds * 1e3, unit = "ms", rival = "scipy.ndimage, joblib, 2 threads",
        theirs = got.scipy.seconds * 1e3, ratio_at_least = 1,
      }
      local kind = engine == "threads" and "threads" or "fork"
      rows[#rows + 1] = measure.row {
        what = "  two workers beside one", ours = gain(got[engine .. 1], got[engine .. 2]), unit = "x", more = true, at_least = 1.9,
        rival = ("the same kernel in C, %s"):format(kind == "threads" and "2 threads" or "2 forks"),
        theirs = gain(got[kind .. " of C1"], got[kind .. " of C2"]),
      }
    end
  end
end

local function kmeans_rows(rows)
  local n = measure.size(1e6, 1e4)
  local function side(engine)
    local program = { "/bin/sh", "-c", ("exec '%s' --engine %s -n %d '%s/../examples/kmeans.lua' %d 16 20 > /dev/null"):format(
      measure.parlua, engine, measure.workers, measure.directory, n) }
    return { name = engine, run = function() return measure.program_seconds(program) end }
  end
  local got = measure.compare { side "threads", side "process",
    measure.python { name = "numpy", call = "array_kmeans", words = { n } } }
  for _, engine in ipairs(ENGINES) do
    rows[#rows + 1] = measure.row {
      what = ("k-means, %s points of 8 doubles, 16 groups, 20 iterations, %s (the whole program)"):format(measure.count(n), engine),
      ours = got[engine].seconds, unit = "s", rival = "NumPy, joblib, 2 threads", theirs = got.numpy.seconds, ratio_at_least = 2,
    }
  end
end

local parts = { reach = reach_rows, double = double_rows, packed = packed_rows, filter = filter_rows, kmeans = kmeans_rows }

--- All, or one part: arrays:filter.
return function(wanted)
  if wanted and not parts[wanted] then
    error("arrays has the parts reach, double, packed, filter, kmeans; there is no " .. wanted, 0)
  end
  local rows = {}
  for _, name in ipairs { "reach", "double", "packed", "filter", "kmeans" } do
    if wanted == nil or wanted == name then parts[name](rows) end
  end
  return rows
end
