--- A file of 2,000,000 rows (60 MB) grouped by a name, with count, mean and maximum: with the columns named, and as they
--- come; every row returned as a table, beside io.lines and string.match in one loop; the same file compressed. Beside
--- mawk and zcat, and beside DuckDB (the npm package @duckdb/node-api, which `make bench` puts into build/duckdb; another
--- folder is named by DUCKDB_NODE) and pandas where Python has it.
local measure = require "measure"
local parlua = require "parlua"

--- Writes the file: 400 names, numbers with one decimal.
local function write(path, n)
  local file, random, lines = assert(io.open(path, "w")), 7, {}
  local function draw(most)
    random = (random * 1103515245 + 12345) % 2 ^ 31
    return math.floor(random / 2 ^ 31 * most)
  end
  file:write("id,city,temp,humidity,station\n")
  for i = 1, n do
    lines[#lines + 1] = ("%d,city%03d,%.1f,%d,st%d\n"):format(i, draw(400), draw(600) / 10 - 20, draw(100), draw(5000))
    if #lines == 10000 or i == n then
      file:write(table.concat(lines))
      lines = {}
    end
  end
  file:close()
end

local AWK = [[mawk -F, 'NR > 1 { n[$2]++; s[$2] += $3; if (!($2 in m) || $3 > m[$2]) m[$2] = $3 }
  END { for (c in n) k++; printf "%%d:%%d:%%.1f", k, n["city007"], m["city007"] }' '%s']]

local NODE = [[cd '%s' && node -e '
const { DuckDBInstance } = require("@duckdb/node-api");
(async () => {
  const connection = await (await DuckDBInstance.create(":memory:", { threads: "2" })).connect();
  const began = performance.now();
  const reader = await connection.runAndReadAll("select city, count(*) n, avg(temp) t, max(temp) m from read_csv(\"%s\") group by city"
    .replaceAll("\"", "\x27"));
  const rows = reader.getRows(), one = rows.find((row) => row[0] == "city007");
  console.log((performance.now() - began) / 1000, rows.length + ":" + one[1] + ":" + one[3].toFixed(1));
})()']]

local PANDAS = [[import sys, time
import pandas
began = time.perf_counter()
t = pandas.read_csv(sys.argv[1]).groupby("city")["temp"].agg(["count", "mean", "max"])
print(time.perf_counter() - began, "%d:%d:%.1f" % (len(t), t.loc["city007", "count"], t.loc["city007", "max"]))]]

return function()
  local n = measure.size(2e6, 2e4)
  local path = measure.scratch .. "/rows.csv"
  write(path, n)
  measure.shell(("gzip -k -1 '%s'"):format(path))
  local reducer = parlua.group("city", { n = parlua.count, mean = parlua.mean "temp", max = parlua.max "temp" })
  local function grouped(source)
    local groups = parlua.reduce(function(row) return row end, source, reducer, { workers = measure.workers })
    local count = 0
    for _ in pairs(groups) do count = count + 1 end
    return ("%d:%d:%.1f"):format(count, groups.city007.n, groups.city007.max)
  end
  local sides = {
    { name = "columns", warm = true, run = measure.timed(function() return grouped(parlua.csv(path, { columns = { "city", "temp" } })) end) },
    { name = "rows", warm = true, run = measure.timed(function()
      local groups = parlua.reduce(function(row) return { city = row.city, temp = row.temp, damp = row.humidity } end, parlua.csv(path),
        reducer, { workers = measure.workers })
      local count = 0
      for _ in pairs(groups) do count = count + 1 end
      return ("%d:%d:%.1f"):format(count, groups.city007.n, groups.city007.max)
    end) },
    { name = "mawk", run = measure.timed(function() return measure.shell(AWK:format(path)) end) },
  }
  local duckdb = os.getenv "DUCKDB_NODE" or measure.directory .. "/../build/duckdb"
  if os.execute(("test -e '%s/node_modules/@duckdb/node-api'"):format(duckdb)) == 0 then
    sides[#sides + 1] = { name = "DuckDB", run = function()
      local seconds, check = measure.shell(NODE:format(duckdb, path)):match "(%S+)%s+(%S+)"
      return tonumber(seconds), check
    end }
  end
  local has_pandas = os.execute(measure.python_path .. " -c 'import pandas' 2>/dev/null") == 0
  if has_pandas then
    local file = assert(io.open(measure.scratch .. "/group.py", "w"))
    file:write(PANDAS)
    file:close()
    sides[#sides + 1] = { name = "pandas", run = measure.command { measure.python_path, measure.scratch .. "/group.py", path } }
  end
  local got = measure.compare(sides)
  local more = measure.compare {
    { name = "returned", warm = true, run = measure.timed(function()
      return parlua.map(function(row) return row end, parlua.csv(path), { workers = measure.workers }), function(rows) return #rows end
    end) },
    { name = "plain", run = measure.timed(function()
      local rows, tonumber = {}, tonumber
      for line in io.lines(path) do
        local id, city, temp, humidity, station = line:match "^([^,]*),([^,]*),([^,]*),([^,]*),([^,]*)$"
        rows[#rows + 1] = { id = tonumber(id), city = city, temp = tonumber(temp), humidity = tonumber(humidity), station = station }
      end
      return #rows - 1
    end) },
  }
  local packed = measure.compare {
    { name = "gzip", run = measure.timed(function()
      return (parlua.reduce(function() return 1 end, parlua.lines(path .. ".gz"), parlua.sum, { workers = measure.workers }))
    end) },
    { name = "zcat", run = measure.timed(function() return tonumber(measure.shell(("zcat '%s.gz' | wc -l"):format(path))) end) },
  }
  local function row(what, ours, rival, theirs, goals)
    goals.what, goals.unit, goals.ours, goals.rival, goals.theirs = what, "s", ours.seconds, rival, theirs.seconds
    return measure.row(goals)
  end
  local size = ("%s rows of a CSV"):format(measure.count(n))
  local rows = {
    row(size .. " grouped by name, columns named", got.columns, "mawk", got.mawk, { ratio_at_least = 2 }),
    row("the same, rows as they come", got.rows, "mawk", got.mawk, { ratio_at_least = 1 }),
    measure.row { what = "the same, every row returned as a table", unit = "M/s", more = true, ours = n / more.returned.seconds / 1e6,
                  at_least = 4, rival = "io.lines, string.match", theirs = n / more.plain.seconds / 1e6 },
    row("lines of the same, compressed by gzip", packed.gzip, "zcat | wc", packed.zcat, { within = 1.25 }),
  }
  if got.DuckDB then table.insert(rows, 2, row("", got.columns, "DuckDB, 2 threads", got.DuckDB, { within = 1.5 })) end
  if got.pandas then table.insert(rows, 2, row("", got.columns, "pandas", got.pandas, {})) end
  return rows
end
