local helper = require "spec.helper"

local parlua = require "parlua"

-- Jobs drawn at random: every engine must give what serial gives. A failed one names its seed: PROPERTY_SEED=... runs that job alone.

local JOBS = tonumber(os.getenv("PROPERTY_JOBS")) or 40

local functions = {
  { "square", function(x) return (tonumber(x) or 0) ^ 2 end },
  { "inverse", function(x) return 1 / ((tonumber(x) or 0) + 0.5) end },
  { "text", function(x, y) return tostring(x) .. ":" .. tostring(y) end },
  { "table", function(x) return { x, twice = { x } } end },
  { "mixed", function(x)
    x = tonumber(x) or 0
    if x % 5 == 0 then return nil elseif x % 5 == 1 then return false elseif x % 5 == 2 then return "s" .. x end
    return x
  end },
  { "random", function(x) return math.random() + math.random(10) + (tonumber(x) or 0) end },
  { "index", function() return parlua.task.index end },
  { "nested", function(x) return (parlua.reduce(function(i) return i * math.random() end, parlua.range(3), parlua.sum)) + (tonumber(x) or 0) end },
}

--- Sources of n tasks: each call makes a new one, since an iterator serves once.
local sources = {
  { "range", function(n) return parlua.range(n) end },
  { "steps", function(n) return parlua.range(0.5, n - 0.5) end },
  { "list", function(n)
    local list = {}
    for i = 1, n do list[i] = i % 7 == 0 and "w" .. i or i end
    return list
  end },
  { "product", function(n) return parlua.product(parlua.range(math.ceil(n / 3)), { "a", "b", "c" }) end },
  { "zip", function(n) return parlua.zip(parlua.range(n), parlua.range(n, 1, -1)) end },
  { "iterator", function(n)
    local i = 0
    return function()
      i = i + 1
      if i <= n then return i, "x" .. i end
    end
  end },
  { "lines", function(_, path) return parlua.lines(path) end },
  { "rows", function(_, path) return parlua.csv(path, { header = { "only" }, separator = ";" }) end, true },
  { "take", function(n) return parlua.take(parlua.enumerate(parlua.range(2 * n)), n) end },
  { "batch", function(n) return parlua.batch(parlua.range(n), 3) end, true },
}

--- Takes single arguments out of rows and batches.
local function unwrapped(f)
  return function(x, y)
    if type(x) == "table" then x = x.only or x[1] end
    return f(x, y)
  end
end

local function failing(f, modulus)
  return function(x, y)
    if parlua.task.index % modulus == 0 then error("fails: " .. tostring(parlua.task.index), 0) end
    return f(x, y)
  end
end

--- Fails at first, then not.
local function flaky(f, modulus)
  return function(x, y)
    if parlua.task.index % modulus == 0 and parlua.task.attempt < 2 then error("not yet", 0) end
    return f(x, y)
  end
end

local function sum_of(value)
  if type(value) == "table" then return #value end
  return tonumber(value) or (value == nil and 0.25 or #tostring(value))
end

local function add(a, b) return a + b end

local calls = {
  { "map", function(f, arguments, options)
    local results, failures, summary = parlua.map(f, arguments, options)
    return results, failures, summary
  end },
  { "imap", function(f, arguments, options)
    local seen = {}
    local iterator, stream = parlua.imap(f, arguments, options)
    for i, value in iterator do seen[#seen + 1] = { i, value } end
    return seen, stream.failures, stream:summary()
  end },
  { "each", function(f, arguments, options)
    local failures, summary = parlua.each(f, arguments, options)
    return nil, failures, summary
  end },
  { "ordered reduce", function(f, arguments, options)
    return parlua.reduce(f, arguments, { init = 0, step = function(a, v) return a * 0.999 + sum_of(v) end }, options)
  end },
  { "merging reduce", function(f, arguments, options)
    return parlua.reduce(f, arguments, { init = 0, step = function(a, v) return a + sum_of(v) end, merge = add }, options)
  end },
  { "reducers", function(f, arguments, options)
    return parlua.reduce(function(x, y) return sum_of(f(x, y)) end, arguments,
      { mean = parlua.mean, most = parlua.max, n = parlua.count, top = parlua.top(3) }, options)
  end },
  { "stopped reduce", function(f, arguments, options)
    local value, failures = parlua.reduce(f, arguments, {
      init = 0, step = function(a, v) return a + sum_of(v) end, stop = function(a) return a > 100 end,
    }, options)
    return value, failures
  end },
  { "find", function(f, arguments, options)
    local index, value, failures = parlua.find(function(x, y)
      local v = f(x, y)
      return sum_of(v) > 50 and { v }
    end, arguments, options)
    return { index = index, value = value }, failures
  end },
  { "all", function(f, arguments, options)
    return (parlua.all(function(x, y) return sum_of(f(x, y)) < 1e6 end, arguments, options)), {}
  end },
}

--- What can be compared of an outcome.
local function shape(value, failures, summary)
  local told = {}
  for k, each in ipairs(failures) do
    told[k] = { each.index, each.kind, each.message, each.attempts, each.args }
  end
  return { value = value, failures = told, tasks = summary and summary.tasks, returned = summary and summary.returned }
end

local function draw_job(seed)
  local draw = helper.generator(seed)
  local job = {
    f = functions[draw(#functions)], source = sources[draw(#sources)], call = calls[draw(#calls)],
    n = ({ 0, 1, 2, 7, 50, 300, 1500, 4000 })[draw(8)], options = { seed = draw(5), retries = draw(3) - 1 },
    spoil = draw(3), modulus = draw(40) + 3,
  }
  if draw(3) == 1 then job.options.chunk = draw(60) end
  if draw(4) == 1 then job.options.window = draw(50) end
  if job.f[1] == "nested" then job.n = math.min(job.n, 50) end
  job.workers = draw(4)
  job.name = ("%s of %s over %d of %s, spoiled %d by %d, seed %d, retries %d, chunk %s, window %s, %d workers"):format(job.call[1], job.f[1],
    job.n, job.source[1], job.spoil, job.modulus, job.options.seed, job.options.retries, tostring(job.options.chunk),
    tostring(job.options.window), job.workers)
  return job
end

local function run_job(job, engine, path)
  local f = unwrapped(job.f[2])
  if job.spoil == 2 then f = failing(f, job.modulus) elseif job.spoil == 3 then f = flaky(f, job.modulus) end
  local options = { engine = engine, workers = job.workers }
  for name, value in pairs(job.options) do options[name] = value end
  return shape(job.call[2](f, job.source[2](job.n, path), options))
end

describe("every engine gives what serial gives,", function()
  local given = tonumber(os.getenv("PROPERTY_SEED") or "")
  local first = given or os.time() % 1e6
  local jobs = given and 1 or JOBS

  it(("for %d jobs drawn at random from seed %d on"):format(jobs, first), function()
    helper.with_directory(function(directory)
      for seed = first, first + jobs - 1 do
        local job = draw_job(seed)
        local lines = {}
        for i = 1, job.n do lines[i] = tostring(i) end
        local path = helper.write(directory .. "/lines", table.concat(lines, "\n"))
        local told = ("PROPERTY_SEED=%d: %s"):format(seed, job.name)
        local ok, expected = pcall(run_job, job, "serial", path)
        assert.is_true(ok, told .. ": " .. tostring(expected))
        for _, engine in ipairs(helper.engines) do
          local ran, outcome = pcall(run_job, job, engine, path)
          assert.is_true(ran, told .. " on " .. engine .. ": " .. tostring(outcome))
          assert.same(expected, outcome, told .. " on " .. engine)
        end
      end
    end)
  end)
end)
