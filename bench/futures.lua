--- Submitted calls: from submit to result, back to back and after pauses; many at once; how close to the ideal calls of
--- random length come, each in a program of its own. And tasks that wait, on the async engine.
local ffi = require "ffi"
local lengths = require "futures_lengths"
local measure = require "measure"
local parlua = require "parlua"

ffi.cdef [[
int fork(void);
void _exit(int status);
int waitpid(int pid, int *status, int options);
]]

local PAUSE = 5e-3        -- seconds
local WAIT = 0.1          -- of a task that waits
local LINES = 400         -- cache lines that a call may well touch

--- A side in a program of its own (futures_side.lua).
local function side(name, call, engine, n, pause)
  local words = { measure.parlua, measure.directory .. "/futures_side.lua", call, engine, n, pause }
  return { name = name, run = measure.command(words) }
end

--- The share of the workers' time where nobody hands anything out: processes that are forked here, each with its part
--- of the lengths. What they lack to the whole is what the machine gave to others (a virtual one: what its host took) and
--- the forks.
local function bare_share(n)
  return function()
    local each, sum = lengths.draw(n)
    local status, children = ffi.new "int[1]", {}
    local began = measure.now()
    for w = 1, measure.workers do
      children[w] = ffi.C.fork()
      if children[w] == 0 then
        local left = sum / measure.workers
        for k = w, n, measure.workers do
          lengths.spin(math.min(each[k], left)) -- all have as much to do
          left = left - math.min(each[k], left)
        end
        lengths.spin(left)
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
  local calls, with_pause = measure.size(5000, 200), measure.size(100, 10)
  local n, random, tasks = measure.size(1e5, 1000), measure.size(1e4, 100), measure.size(10000, 100)
  local has_cqueues = pcall(require, "cqueues")
  local before = peak()
  local async = has_cqueues and measure.compare { { name = "waiting", run = waiting(tasks) } }
  local grown = peak() - before
  local got = measure.compare {
    side("threads", "round_trip", "threads", calls),
    side("threads, paused", "round_trip", "threads", with_pause, PAUSE),
    side("threads, many", "many", "threads", n),
    side("threads, share", "share", "threads", random),
    side("process", "round_trip", "process", calls),
    side("process, paused", "round_trip", "process", with_pause, PAUSE),
    side("process, many", "many", "process", n),
    side("process, share", "share", "process", random),
    { name = "bare, share", run = bare_share(random) },
    measure.c { name = "threads, bare", program = "awake", words = { with_pause, PAUSE * 1e3, 100 } },
    measure.c { name = "process, bare", program = "awake", words = { with_pause, PAUSE * 1e3, 100, "process" } },
    measure.c { name = "warm", program = "cold", words = { LINES, 0, with_pause } },
    measure.c { name = "cold", program = "cold", words = { LINES, PAUSE * 1e3, with_pause } },
  }
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
    row { what = ("as_completed over %d calls of random length, of the ideal"):format(random),
          ours = got[engine .. ", share"].seconds * 100, unit = "%", more = true, at_least = 98,
          rival = "bare forks, shared out before", theirs = got["bare, share"].seconds * 100 }
  end
  row { what = ("%d cache lines after that pause, C"):format(LINES), ours = got.cold.seconds * 1e6, unit = "us",
        rival = "the same without a pause", theirs = got.warm.seconds * 1e6 }
  if async then
    row { what = ("%d tasks that wait for 0.1 s at once, async"):format(tasks), ours = async.waiting.seconds, unit = "s",
          below = 0.3 }
    row { what = "memory a task", ours = grown / tasks / 1024, unit = "KB" }
  end
  return rows
end
