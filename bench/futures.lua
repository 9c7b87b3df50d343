--- Submitted calls: from submit to result, back to back and after pauses; many at once; how close to the ideal calls of
--- random length come. And tasks that wait, on the async engine.
local ffi = require "ffi"
local host = require "parlua.host"
local measure = require "measure"
local parlua = require "parlua"

ffi.cdef [[
int fork(void);
void _exit(int status);
int waitpid(int pid, int *status, int options);
]]

local PAUSE = 5e-3        -- seconds
local WAIT = 0.1          -- of a task that waits
local MEAN_LENGTH = 200e-6 -- of calls of random length, with an exponential distribution

local function nothing() end

--- Pools stay for all repetitions, as they do in a program.
local pools = {}

local function pool_of(engine)
  pools[engine] = pools[engine] or parlua.pool { engine = engine, workers = measure.workers }
  return pools[engine]
end

--- The run function of a side: the median of the seconds that a call takes.
local function round_trip(engine, calls, pause)
  return function()
    local pool, all = pool_of(engine), {}
    pool:submit(nothing):get()
    for k = 1, calls do
      if pause then measure.pause(pause) end
      local began = measure.now()
      pool:submit(nothing):get()
      all[k] = measure.now() - began
    end
    return measure.median(all)
  end
end

local function many(engine, n)
  return measure.timed(function()
    local pool, futures = pool_of(engine), {}
    for k = 1, n do futures[k] = pool:submit(nothing) end
    parlua.wait(futures)
  end)
end

local function spin(seconds)
  local last = host.now() + seconds
  while host.now() < last do end
end

--- Lengths of n calls, and their sum.
local function draw_lengths(n)
  local lengths, sum = {}, 0
  math.randomseed(1)
  for k = 1, n do
    lengths[k] = -math.log(1 - math.random()) * MEAN_LENGTH
    sum = sum + lengths[k]
  end
  return lengths, sum
end

--- The share of the workers' time that calls of random length had.
local function share(engine, n)
  return function()
    local pool, futures = pool_of(engine), {}
    local lengths, sum = draw_lengths(n)
    local began = measure.now()
    for k = 1, n do futures[k] = pool:submit(spin, lengths[k]) end
    for future in parlua.as_completed(futures) do future:get() end
    return sum / measure.workers / (measure.now() - began)
  end
end

--- The same where nobody hands anything out: processes that are forked here, each with its part of the lengths. What
--- they lack to the whole is what the machine gave to others (a virtual one: what its host took) and the forks.
local function bare_share(n)
  return function()
    local lengths, sum = draw_lengths(n)
    local status, children = ffi.new "int[1]", {}
    local began = measure.now()
    for w = 1, measure.workers do
      children[w] = ffi.C.fork()
      if children[w] == 0 then
        local left = sum / measure.workers
        for k = w, n, measure.workers do
          spin(math.min(lengths[k], left)) -- all have as much to do
          left = left - math.min(lengths[k], left)
        end
        spin(left)
        ffi.C._exit(0)
      end
    end
    for w = 1, measure.workers do ffi.C.waitpid(children[w], status, 0) end
    return sum / measure.workers / (measure.now() - began)
  end
end

local function waiting(n)
  return measure.timed(function()
    local cqueues = require "cqueues"
    parlua.each(function() cqueues.sleep(WAIT) end, parlua.range(n), { engine = "async", workers = n })
  end)
end

--- Memory of this process at its most, in bytes.
local function peak()
  for line in io.lines "/proc/self/status" do
    local kilobytes = line:match "^VmHWM:%s*(%d+)"
    if kilobytes then return kilobytes * 1024 end
  end
end

return function()
  local calls, with_pause = measure.size(5000, 200), measure.size(200, 10)
  local n, lengths, tasks = measure.size(1e5, 1000), measure.size(1e4, 100), measure.size(10000, 100)
  local has_cqueues = pcall(require, "cqueues")
  local before = peak()
  local async = has_cqueues and measure.compare { { name = "waiting", run = waiting(tasks) } }
  local grown = peak() - before
  local got = measure.compare {
    { name = "threads", warm = true, run = round_trip("threads", calls) },
    { name = "threads, paused", run = round_trip("threads", with_pause, PAUSE) },
    { name = "threads, many", run = many("threads", n) },
    { name = "threads, share", run = share("threads", lengths) },
    { name = "process", warm = true, run = round_trip("process", calls) },
    { name = "process, paused", run = round_trip("process", with_pause, PAUSE) },
    { name = "process, many", run = many("process", n) },
    { name = "process, share", run = share("process", lengths) },
    { name = "bare, share", run = bare_share(lengths) },
    measure.c { name = "threads, bare", program = "awake", words = { with_pause, PAUSE * 1e3, 100 } },
    measure.c { name = "process, bare", program = "awake", words = { with_pause, PAUSE * 1e3, 100, "process" } },
  }
  for _, pool in pairs(pools) do pool:close() end
  local rows = {}
  local function row(fields) rows[#rows + 1] = measure.row(fields) end
  for _, case in ipairs { { "threads", 3, 1 }, { "process", 4, 0.7 } } do
    local engine = case[1]
    row { what = "submit to result, back to back, " .. engine, ours = got[engine].seconds * 1e6, unit = "us",
          at_most = case[2] }
    row { what = "the same, after a pause of 5 ms", ours = got[engine .. ", paused"].seconds * 1e6, unit = "us",
          at_most = 40, rival = "asked and answered in C, no more", theirs = got[engine .. ", bare"].seconds * 1e6 }
    row { what = ("%d calls submitted, then waited for"):format(n), ours = n / got[engine .. ", many"].seconds / 1e6,
          unit = "M/s", more = true, at_least = case[3] }
    row { what = ("as_completed over %d calls of random length, of the ideal"):format(lengths),
          ours = got[engine .. ", share"].seconds * 100, unit = "%", more = true, at_least = 98,
          rival = "bare forks, shared out before", theirs = got["bare, share"].seconds * 100 }
  end
  if async then
    row { what = ("%d tasks that wait for 0.1 s at once, async"):format(tasks), ours = async.waiting.seconds, unit = "s",
          below = 0.3 }
    row { what = "memory a task", ours = grown / tasks / 1024, unit = "KB" }
  end
  return rows
end
