--- Peak memory of `each` over a long range: the largest process of the program, as its rusage says, and how it grows
--- with the range. Beside Python's imap over a range a thousand times shorter (it queues all tasks at once).
local measure = require "measure"

local MEGABYTE = 1e6

local function program(engine, n)
  return { measure.parlua, "-e", ([[
local parlua = require "parlua"
local failures, summary = parlua.each(function(x) return x * x end, parlua.range(%.0f), { engine = %q, workers = %d })
assert(#failures == 0 and summary.tasks == %.0f)]]):format(n, engine, measure.workers, n) }
end

--- Not seconds, but the medians are the same: megabytes.
local function side(name, words)
  return { name = name, run = function() return measure.peak_bytes(words) / MEGABYTE end }
end

return function()
  local n = measure.size(1e9, 1e7)
  local got = measure.compare {
    side("threads", program("threads", n)), side("threads, tenth", program("threads", n / 10)),
    side("process", program("process", n)), side("process, tenth", program("process", n / 10)),
    side("imap", { measure.python_path, measure.directory .. "/rivals.py", "memory", n / 1000, 1000 }),
  }
  local rows = {}
  for _, engine in ipairs { "threads", "process" } do
    local peak = got[engine].seconds
    rows[#rows + 1] = measure.row {
      what = ("peak memory, each over a range of %s, %s"):format(measure.count(n), engine),
      ours = peak, unit = "MB", below = 20,
      rival = ("imap over a range of %s"):format(measure.count(n / 1000)), theirs = got.imap.seconds,
    }
    rows[#rows + 1] = measure.row {
      what = ("what it grows by from %s to %s"):format(measure.count(n / 10), measure.count(n)),
      ours = peak - got[engine .. ", tenth"].seconds, unit = "MB", at_most = 1,
    }
  end
  return rows
end
