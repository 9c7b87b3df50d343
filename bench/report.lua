-- What a report costs: ./parlua bench/report.lua [MICROSECONDS [TASKS [ROUNDS]]]
-- Runs with and without, by turns; the figures are medians. The processor time is that of the script's process.
local ffi = require "ffi"
local parlua = require "parlua"

ffi.cdef "double clock_seconds(void);"

local microseconds, tasks, rounds = tonumber(arg[1]) or 100, tonumber(arg[2]) or 20000, tonumber(arg[3]) or 9
local page, trace = os.tmpname(), os.tmpname()

local function busy(n)
  local x = 0
  for k = 1, n do x = x + k % 7 end
  return x
end

--- Iterations that take so long on this machine.
local function iterations(seconds)
  local n, least = 1e6, math.huge
  for _ = 1, 10 do
    local began = ffi.C.clock_seconds()
    busy(n)
    least = math.min(least, ffi.C.clock_seconds() - began)
  end
  return math.floor(n * seconds / least)
end

local each = iterations(microseconds * 1e-6)

local function once(options)
  local clock, began = os.clock(), ffi.C.clock_seconds()
  options.progress = "none"
  parlua.map(function(i) return busy(each) + i end, parlua.range(tasks), options)
  return { seconds = ffi.C.clock_seconds() - began, processor = os.clock() - clock }
end

local function median(list, name)
  table.sort(list, function(a, b) return a[name] < b[name] end)
  return list[math.ceil(#list / 2)][name]
end

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
local plain = median(kinds[1][3], "processor")
for _, kind in ipairs(kinds) do
  print(("%-17s %d tasks of %g us: %.3f s, %.3f us of the script's process a task more"):format(kind[1], tasks,
    microseconds, median(kind[3], "seconds"), (median(kind[3], "processor") - plain) / tasks * 1e6))
end
