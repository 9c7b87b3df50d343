--- Measures parlua beside other tools, on this machine, now:
--
--   ./parlua bench/run.lua [--quick] [--repetitions N] [--output FILE] [measure ...]
--
-- `make bench` installs the rivals (Python's multiprocessing, joblib, mpi4py, NumPy and SciPy, GNU parallel, mawk, gcc with OpenMP) and
-- runs all measures. A measure is a file of its own and can be run alone: `./parlua bench/run.lua map_range`, and of some
-- a part: `commands:each`. Each runs
-- in a process of its own, so that no measure sees another's heap or compiled traces; all work is done by two workers;
-- parlua and its rivals take turns, and what counts is the median. Ratios say how many times better parlua's figure is
-- than the rival's. What is not reached stands in the table as NO: nothing here fails on a time, only on a wrong result
-- or a measure that does not work.
--
-- `--quick` takes small sizes and one repetition: it shows that every measure works, its figures mean little. The table
-- is printed and written to build/bench.md. Temporary files (a text of 500 MB) go below $TMPDIR and are removed at the
-- end.
local directory = arg[0]:match("^(.*)/") or "."
package.path = directory .. "/?.lua;" .. package.path

local ffi = require "ffi"
local cjson = require "cjson"
local measure = require "measure"
local parlua = require "parlua"

ffi.cdef "char *mkdtemp(char *pattern);"

local OUTPUT = "build/bench.md"

--- The parts of the table, and their measures in order.
local parts = {
  { title = "Speed and memory", "worker_loop", "decode", "map_range", "map_list", "map_tables", "round_trip", "futures",
    "requests", "crossing", "start",
    "heavy_tail", "dispatch", "primes", "memory", "words", "lines", "records", "record_cost", "csv", "commands" },
  { title = "Reduction, search, random numbers", "reduction", "pi", "stop_flag" },
  { title = "Arrays", "arrays" },
  { title = "The mpi engine", "cluster" },
}

local function fail(message)
  io.stderr:write("bench: ", message, "\n")
  os.exit(2)
end

--- The options, and the measures that were named (none: all).
local function parse(words)
  local options, names = { repetitions = 5, output = OUTPUT }, {}
  local k = 1
  local function value(word)
    k = k + 1
    return words[k] or fail(word .. " needs a value")
  end
  while words[k] do
    local word = words[k]
    if word == "--quick" then
      options.quick, options.repetitions = true, 1
    elseif word == "--repetitions" then
      options.repetitions = tonumber(value(word)) or fail("--repetitions needs a number")
    elseif word == "--output" then
      options.output = value(word)
    elseif word == "--rows" then -- of the processes that it starts: rows of one measure, on standard output
      options.rows, options.scratch = value(word), value("--rows")
    elseif word:match("^%-") then
      fail(("unknown option '%s'"):format(word))
    else
      names[word] = true
    end
    k = k + 1
  end
  return options, names
end

--- Runs one measure here and prints its rows as JSON.
local function print_rows(options)
  measure.quick, measure.repetitions = options.quick, options.repetitions
  measure.scratch, measure.directory = options.scratch, directory
  local name, part = options.rows:match "^([%w_]+):?([%w_]*)$"
  print(cjson.encode(require(name)(part ~= "" and part or nil)))
end

--- Runs one measure in a process of its own; what it has to say goes to standard error.
---@return bench.Row[]? rows nil: it did not work
local function rows_of(name, options, scratch)
  local worked, output = pcall(measure.shell, ("'%s' '%s/run.lua' %s --repetitions %d --rows '%s' '%s'"):format(
    measure.parlua, directory, options.quick and "--quick" or "", options.repetitions, name, scratch))
  return worked and cjson.decode(output) or nil
end

local function first_match(path, pattern)
  local file = io.open(path)
  local text = file and file:read("*a") or ""
  if file then file:close() end
  return text:match(pattern)
end

local function heading(title, options)
  return ("## %s\n\nparlua %s, %s, %d processors; %s; medians of %d; %s sizes\n\n"):format(title, parlua._VERSION,
    first_match("/proc/cpuinfo", "model name%s*:%s*([^\n]+)") or "unknown processor", parlua.cores(),
    os.date("%Y-%m-%d %H:%M"), options.repetitions, options.quick and "small" or "full")
end

local function check_names(names)
  for name in pairs(names) do
    local known = false
    for _, part in ipairs(parts) do
      for _, one in ipairs(part) do known = known or one == name:match "^[^:]*" end
    end
    if not known then fail(("there is no measure '%s'"):format(name)) end
  end
end

--- Runs the wanted measures.
---@return string text, integer missed figures not reached, integer broken measures that did not work
local function run_all(names, options, scratch)
  local texts, missed, broken = {}, 0, 0
  for _, part in ipairs(parts) do
    local rows = {}
    for _, name in ipairs(part) do
      local wanted = next(names) == nil and { name } or {}
      for given in pairs(names) do
        if given:match "^[^:]*" == name then wanted[#wanted + 1] = given end
      end
      table.sort(wanted)
      for _, one in ipairs(wanted) do
        local began = measure.now()
        local found = rows_of(one, options, scratch)
        io.stderr:write(("bench: %s, %.0f s\n"):format(one, measure.now() - began))
        if not found then
          broken = broken + 1
          found = { { what = one .. ": DID NOT WORK", ours = "", rival = "", theirs = "", ratio = "", reach = "" } }
        end
        for _, row in ipairs(found) do
          rows[#rows + 1] = row
          missed = missed + (row.missed and 1 or 0)
        end
      end
    end
    if #rows > 0 then texts[#texts + 1] = heading(part.title, options) .. measure.table(rows) end
  end
  return table.concat(texts, "\n"), missed, broken
end

local function main(words)
  local options, names = parse(words)
  if options.rows then return print_rows(options) end
  check_names(names)
  local pattern = (os.getenv("TMPDIR") or "/tmp") .. "/parlua-bench-XXXXXX"
  local buffer = ffi.new("char[?]", #pattern + 1, pattern)
  if ffi.C.mkdtemp(buffer) == nil then fail(("cannot make a directory like %s"):format(pattern)) end
  local scratch = ffi.string(buffer)
  local worked, text, missed, broken = xpcall(run_all, debug.traceback, names, options, scratch)
  measure.shell(("rm -rf '%s'"):format(scratch))
  if not worked then error(text, 0) end
  os.execute(("mkdir -p '%s'"):format(options.output:match("^(.*)/") or "."))
  local file, message = io.open(options.output, "w")
  if not file then fail(message) end
  file:write(text)
  file:close()
  print(text)
  print(("%d not reached; %d did not work; written to %s"):format(missed, broken, options.output))
  if broken > 0 then os.exit(1) end
end

main(arg)
