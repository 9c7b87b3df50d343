-- Grouped statistics over a CSV file, in one pass: each worker reads its own part of the file, and folds it.
--
--   parlua examples/csv_summary.lua [file.csv]
--
-- Without a file, one with 200,000 measurements is written once, to the folder for temporary files.

local parlua = require "parlua"

local path = arg and arg[1]

--- Writes the file; the numbers come from the seed, so it is always the same.
local function generate(name)
  math.randomseed(1)
  local stations = { Bern = 9, Lagos = 27, Lima = 20, Oslo = 6, ["Paris, Texas"] = 18 }
  local names = {}
  for station in pairs(stations) do names[#names + 1] = station end
  table.sort(names)
  local file = assert(io.open(name .. ".part", "w"))
  file:write("station,day,temperature\n")
  for day = 1, 40000 do
    for _, station in ipairs(names) do
      local quoted = station:find(",") and '"' .. station .. '"' or station
      local temperature = stations[station] + 8 * math.sin(day / 365 * 2 * math.pi) + 4 * (math.random() - 0.5)
      file:write(("%s,%d,%.1f\n"):format(quoted, day, temperature))
    end
  end
  file:close()
  assert(os.rename(name .. ".part", name))
end

if not path then
  path = (os.getenv("TMPDIR") or "/tmp") .. "/parlua_measurements.csv"
  local file = io.open(path)
  if file then file:close() else generate(path) end
end

local function row_itself(row) return row end

local stations, failures, summary = parlua.reduce(row_itself, parlua.csv(path), parlua.group("station", {
  n = parlua.count, low = parlua.min "temperature", high = parlua.max "temperature", stats = parlua.stats "temperature",
}))

local names = {}
for name in pairs(stations) do names[#names + 1] = name end
table.sort(names)
print(("%-14s %7s %7s %7s %7s %9s"):format("station", "n", "low", "mean", "high", "deviation"))
for _, name in ipairs(names) do
  local s = stations[name]
  print(("%-14s %7d %7.1f %7.1f %7.1f %9.2f"):format(name, s.n, s.low, s.stats.mean, s.high, s.stats.deviation or 0))
end
print(("%d rows, %d wrong, %.2f s with %d workers"):format(summary.tasks, #failures, summary.seconds, summary.workers))
