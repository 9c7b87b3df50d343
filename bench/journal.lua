-- What a journal costs: ./parlua bench/journal.lua [MICROSECONDS [TASKS [ROUNDS]]]
-- Runs with and without, by turns; the figures are medians. The processor time is the coordinator's and its writer's together.
local ffi = require "ffi"
local parlua = require "parlua"

ffi.cdef "double clock_seconds(void);"

local microseconds, tasks, rounds = tonumber(arg[1]) or 100, tonumber(arg[2]) or 10000, tonumber(arg[3]) or 7
local path = os.tmpname()

local function busy(n)
  local x = 0
  for k = 1, n do x = x + k % 7 end
  return x
end

--- Iterations that take so long on this machine.
local function iterations(seconds)
  local n = 1e6
  busy(n)
  local began = ffi.C.clock_seconds()
  busy(n)
  return math.floor(n * seconds / (ffi.C.clock_seconds() - began))
end

local each = iterations(microseconds * 1e-6)

local function once(journal)
  local clock, began = os.clock(), ffi.C.clock_seconds()
  parlua.map(function(i) return busy(each) + i end, parlua.range(tasks), { journal = journal, force = journal and true, progress = "none" })
  return { seconds = ffi.C.clock_seconds() - began, processor = os.clock() - clock }
end

local function median(list, name)
  table.sort(list, function(a, b) return a[name] < b[name] end)
  return list[math.ceil(#list / 2)][name]
end

local without, with = {}, {}
for k = 1, rounds do
  without[k] = once(false)
  with[k] = once(path)
end
os.remove(path)
local plain, journal = median(without, "seconds"), median(with, "seconds")
print(("%d tasks of %g us: %.3f s, with a journal %.3f s (%+.1f%%); processor time of the journal: %.2f us a task"):format(tasks, microseconds,
  plain, journal, (journal / plain - 1) * 100, (median(with, "processor") - median(without, "processor")) / tasks * 1e6))
