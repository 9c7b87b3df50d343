-- What a journal costs: ./parlua bench/journal.lua [MICROSECONDS [TASKS [ROUNDS]]]
-- Runs with and without, by turns; the figures are medians. The processor time is the coordinator's and its writer's together.
package.path = "bench/?.lua;" .. package.path
local overhead = require "overhead"

local microseconds, tasks, rounds = tonumber(arg[1]) or 100, tonumber(arg[2]) or 10000, tonumber(arg[3]) or 7
local path = os.tmpname()

local once = overhead.runner(microseconds, tasks)

local without, with = {}, {}
for k = 1, rounds do
  without[k] = once {}
  with[k] = once { journal = path, force = true }
end
os.remove(path)
local plain, journal = overhead.median(without, "seconds"), overhead.median(with, "seconds")
print(("%d tasks of %g us: %.3f s, with a journal %.3f s (%+.1f%%); processor time of the journal: %.2f us a task"):format(tasks, microseconds,
  plain, journal, (journal / plain - 1) * 100, (overhead.median(with, "processor") - overhead.median(without, "processor")) / tasks * 1e6))
