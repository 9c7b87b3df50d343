-- What a report costs: ./parlua bench/report.lua [MICROSECONDS [TASKS [ROUNDS]]]
-- Runs with and without, by turns; the figures are medians. The processor time is that of the script's process.
package.path = "bench/?.lua;" .. package.path
local overhead = require "overhead"

local microseconds, tasks, rounds = tonumber(arg[1]) or 100, tonumber(arg[2]) or 20000, tonumber(arg[3]) or 9
local page, trace = os.tmpname(), os.tmpname()

local once = overhead.runner(microseconds, tasks)

local kinds = {
  { "without" }, { "report", { report = page } }, { "report and trace", { report = page, trace = trace } },
}
for _ = 1, rounds do
  for _, kind in ipairs(kinds) do
    kind[3] = kind[3] or {}
    table.insert(kind[3], once(kind[2] or {}))
  end
end
os.remove(page)
os.remove(trace)
local plain, wall = overhead.median(kinds[1][3], "processor"), overhead.median(kinds[1][3], "seconds")
for _, kind in ipairs(kinds) do
  local more, seconds = overhead.median(kind[3], "processor") - plain, overhead.median(kind[3], "seconds")
  print(("%-17s %d tasks of %g us: %.3f s (%+.2f %%), %.3f us of the script's process a task more, %.2f %% of the work")
    :format(kind[1], tasks, microseconds, seconds, 100 * (seconds / wall - 1), more / tasks * 1e6,
      100 * more / (tasks * microseconds * 1e-6)))
end
