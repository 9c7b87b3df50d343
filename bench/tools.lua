--- The figures of README.md's table: whole programs, from their start to their end, in parlua and beside other tools.
--
--   ./parlua bench/tools.lua [REPETITIONS]
--
-- Each tool does the same work with two workers, in turns; the median counts. A tool that is not installed is left out.
-- Lua Lanes is looked for as a module of luajit, else of lua5.1 and lua5.4; Debian has no package of it.
local ffi = require "ffi"

ffi.cdef "double clock_seconds(void);"

local repetitions = tonumber(arg[1]) or 5
local parlua = arg[-1] and arg[-1]:find "/" and arg[-1] or "./parlua"
local CALLS, PROGRAMS, RECORDS = 100000, 500, 20000

local directory = os.tmpname()
os.remove(directory)
assert(os.execute("mkdir " .. directory) == 0)

local function write(name, text)
  local file = assert(io.open(directory .. "/" .. name, "w"))
  file:write(text)
  file:close()
  return directory .. "/" .. name
end

local function has(test) return os.execute(test .. " >/dev/null 2>&1") == 0 end

local python = "/usr/bin/python3"
local has_joblib, has_mpi4py = has(python .. " -c 'import joblib'"), has(python .. " -c 'import mpi4py'")
local lua_with_lanes -- the command that runs a program with it
for _, lua in ipairs { "luajit", "lua5.1", "lua5.4" } do
  if not lua_with_lanes and has(lua .. " -e 'require \"lanes\"'") then lua_with_lanes = lua end
end
local mpirun = "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun -q --oversubscribe -n 3 "

--- A program of each tool that calls a function for a range, in joblib's way and in mpi4py's.
local function python_programs(name, body, count)
  return write(name .. "_joblib.py", ([[
from joblib import Parallel, delayed
from functions_%s import f
results = Parallel(n_jobs=2)(delayed(f)(i) for i in range(1, %d))
assert len(results) == %d
]]):format(name, count + 1, count)), write(name .. "_mpi4py.py", ([[
from mpi4py.futures import MPIPoolExecutor
from functions_%s import f
if __name__ == "__main__":
    with MPIPoolExecutor() as pool:
        results = list(pool.map(f, range(1, %d), chunksize=1000))
    assert len(results) == %d
]]):format(name, count + 1, count)), write("functions_" .. name .. ".py", body)
end

local function lua_program(name, body, count)
  return write(name .. ".lua", ([[
local parlua = require "parlua"
local results = parlua.map(%s, parlua.range(%d))
assert(results.n == %d)
]]):format(body, count, count))
end

--- With Lua Lanes: a lane for each half of the range, which gives back its list, as copying that once costs least.
local function lanes_program(name, body, count)
  return write(name .. "_lanes.lua", ([[
local lanes = require "lanes".configure()
local half = lanes.gen("*", function(first, last)
  local f, results = %s, {}
  for i = first, last do results[#results + 1] = f(i) end
  return results
end)
local running = { half(1, %d), half(%d, %d) }
local results = {}
for k = 1, 2 do
  for _, result in ipairs(running[k][1]) do results[#results + 1] = result end
end
assert(#results == %d)
]]):format(body, math.floor(count / 2), math.floor(count / 2) + 1, count, count))
end

local function calls(title, name, lua, body, count)
  local joblib, mpi4py = python_programs(name, body, count)
  local program = lua_program(name, lua, count)
  return { title = title, {
    "parlua", ("%s -n 2 %s"):format(parlua, program) }, {
    "parlua, mpirun", ("%s %s -n 1 %s"):format(mpirun:gsub("%-n 3", "-n 2"), parlua, program), has "command -v mpirun" }, {
    "Lua Lanes", ("%s %s"):format(lua_with_lanes or "luajit", lanes_program(name, lua, count)), lua_with_lanes ~= nil }, {
    "joblib", ("cd %s && %s %s"):format(directory, python, joblib), has_joblib }, {
    "mpi4py.futures", ("cd %s && %s %s -m mpi4py.futures %s"):format(directory, mpirun, python, mpi4py), has_mpi4py } }
end

local jobs = {
  calls(("%d calls of x * x"):format(CALLS), "square", "function(x) return x * x end", "def f(x):\n    return x * x\n", CALLS),
  calls(("%d records back"):format(RECORDS), "record", "function(i) return { id = i, x = i * 0.5, name = 'n' .. i } end",
    "def f(i):\n    return {'id': i, 'x': i * 0.5, 'name': 'n%d' % i}\n", RECORDS),
  { title = ("%d runs of a program"):format(PROGRAMS), {
    "parlua", ("seq %d | %s -n 2 --exec true"):format(PROGRAMS, parlua) }, {
    "GNU parallel", ("seq %d | parallel -j2 true {}"):format(PROGRAMS), has "command -v parallel" } },
}

local function seconds_of(command)
  local began = ffi.C.clock_seconds()
  assert(os.execute("{ " .. command .. "; } >/dev/null 2>" .. directory .. "/errors") == 0, command)
  return ffi.C.clock_seconds() - began
end

for _, job in ipairs(jobs) do
  local times = {}
  for _ = 1, repetitions do
    for k, tool in ipairs(job) do
      times[k] = times[k] or {}
      if tool[3] ~= false then table.insert(times[k], seconds_of(tool[2])) end
    end
  end
  local ours
  for k, tool in ipairs(job) do
    table.sort(times[k])
    local median = times[k][math.ceil(#times[k] / 2)]
    ours = ours or median
    print(median and ("%-26s %-16s %8.3f s  %6.1f times"):format(job.title, tool[1], median, median / ours)
      or ("%-26s %-16s not installed"):format(job.title, tool[1]))
  end
end
os.execute("rm -r " .. directory)
