--- parlua's side of the measures of bench/cluster.lua: mpirun -n N parlua cluster_side.lua CALL WORDS... prints the seconds that it took,
--- with workers warm and MPI's start left out.
local ffi = require "ffi"
local parlua = require "parlua"

ffi.cdef [[
struct bench_time { long seconds, nanoseconds; };
int clock_gettime(int clock, struct bench_time *time);
]]

local CLOCK_MONOTONIC, CLOCK_PROCESS = 1, 2

local function read_clock(clock)
  local time = ffi.new("struct bench_time")
  ffi.C.clock_gettime(clock, time)
  return tonumber(time.seconds) + tonumber(time.nanoseconds) * 1e-9
end

local function now() return read_clock(CLOCK_MONOTONIC) end

--- All workers have run a task.
local function warm(options)
  parlua.map(function(x) return x end, parlua.range(10000), options)
  collectgarbage()
end

local calls = {}

--- Tasks that do nothing; their results (nil) are kept.
function calls.empty(n)
  warm { workers = 1 }
  local began = now()
  local results = parlua.map(function() end, parlua.range(tonumber(n)), { workers = 1 })
  local seconds = now() - began
  assert(results.n == tonumber(n))
  return seconds
end

--- A message to the worker and one back for every task.
function calls.single(n)
  warm { workers = 1 }
  local began = now()
  local results = parlua.map(function(x) return x end, parlua.range(tonumber(n)), { workers = 1, chunk = 1 })
  local seconds = now() - began
  assert(results.n == tonumber(n))
  return seconds
end

--- Strings that are sent and come back: the seconds of the program's call number `which` (default: 1).
function calls.large(n, bytes, which)
  warm { workers = 1 }
  local body, strings = ("x"):rep(tonumber(bytes) - 8), {}
  for k = 1, tonumber(n) do strings[k] = ("%04d"):format(k) .. body .. ("%04d"):format(k) end
  local seconds
  for _ = 1, which or 1 do
    collectgarbage()
    local began = now()
    local results = parlua.map(function(s) return s end, strings, { workers = 1 })
    seconds = now() - began
    for k = 1, #strings do assert(results[k] == strings[k]) end
  end
  return seconds
end

--- Tasks of the lengths that stand in a file, in seconds.
function calls.heavy_tail(path)
  local lengths = {}
  for line in io.lines(path) do lengths[#lengths + 1] = tonumber(line) end
  warm { workers = 1 }
  local began = now()
  local results = parlua.map(function(seconds)
    local clock = require("ffi").C.clock_seconds
    local stop = clock() + seconds
    while clock() < stop do end -- luacheck: ignore 542
    return seconds
  end, lengths, { workers = 1 })
  local seconds = now() - began
  assert(results.n == #lengths)
  return seconds
end

--- A task that sleeps, so that it needs no processor.
local function napping(seconds)
  return function(i)
    local C = require("ffi").C
    if not pcall(function() return C.usleep end) then require("ffi").cdef "int usleep(unsigned int microseconds);" end
    C.usleep(seconds * 1e6)
    return 1 / i
  end
end

--- How many values the script has to merge of a reduction whose blocks are single tasks that sleep.
function calls.merges(n, sleep, workers)
  local merges, options = 0, { workers = tonumber(workers) }
  local reduction = {
    init = 0, block = 1, step = function(sum, x) return sum + x end,
    merge = function(a, b)
      merges = merges + 1
      return a + b
    end,
  }
  warm(options)
  local value = parlua.reduce(napping(tonumber(sleep)), parlua.range(tonumber(n)), reduction, options)
  local there = merges
  assert(value == parlua.reduce(function(i) return 1 / i end, parlua.range(tonumber(n)), reduction, { engine = "serial" }))
  return there
end

--- What rank 0 pays for a chunk: chunks of one task that sleeps. Prints the processor time of rank 0 a chunk, in
--- microseconds.
function calls.coordinator(n, sleep, workers)
  local options = { workers = tonumber(workers) or 1, chunk = 1 }
  n, sleep = tonumber(n), tonumber(sleep)
  local nap = napping(sleep)
  parlua.map(nap, parlua.range(2 * parlua.cores() * options.workers), options)
  local used = read_clock(CLOCK_PROCESS)
  local results = parlua.map(nap, parlua.range(n), options)
  used = read_clock(CLOCK_PROCESS) - used
  assert(results.n == n)
  return used / n * 1e6
end

print(calls[arg[1]](unpack(arg, 2)))
