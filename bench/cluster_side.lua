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

--- Strings that are sent and come back.
function calls.large(n, bytes)
  warm { workers = 1 }
  local body, strings = ("x"):rep(tonumber(bytes) - 8), {}
  for k = 1, tonumber(n) do strings[k] = ("%04d"):format(k) .. body .. ("%04d"):format(k) end
  collectgarbage()
  local began = now()
  local results = parlua.map(function(s) return s end, strings, { workers = 1 })
  local seconds = now() - began
  for k = 1, #strings do assert(results[k] == strings[k]) end
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

--- What rank 0 pays for a chunk: chunks of one task that sleeps, so that workers need no processor. Prints the
--- processor time of rank 0 a chunk, in microseconds.
function calls.coordinator(n, sleep)
  local options = { workers = 1, chunk = 1 }
  n, sleep = tonumber(n), tonumber(sleep)
  local function nap()
    local C = require("ffi").C
    if not pcall(function() return C.usleep end) then require("ffi").cdef "int usleep(unsigned int microseconds);" end
    C.usleep(sleep * 1e6)
  end
  parlua.map(nap, parlua.range(2 * parlua.cores()), options)
  local used = read_clock(CLOCK_PROCESS)
  local results = parlua.map(nap, parlua.range(n), options)
  used = read_clock(CLOCK_PROCESS) - used
  assert(results.n == n)
  return used / n * 1e6
end

print(calls[arg[1]](unpack(arg, 2)))
