-- soak: hours of use in minutes. Calls of all kinds, drawn at random, whose tasks crash, hang, raise, are cancelled; after each, every task
-- must have ended exactly once, and all that was held must be given back. Run by `make soak`:
--
--   SOAK_SECONDS=600   how long          SOAK_ENGINES="process"   only these (serial, threads, process, async, mpi)
--   SOAK_SEED=...      the same again    SOAK_ROUND=17            only this round of it     SOAK_ROUNDS=50   so many, whatever they take
--
-- This file is run twice: without arguments it starts the parts (this machine's engines; mpi under mpirun) and tells what became of
-- them, also when one hangs or dies; with "part" and a directory it is one of them.

local directory_of_this = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = directory_of_this .. "/?.lua;" .. package.path

local ffi = require "ffi"
local host = require "parlua.host"

local seed = tonumber(os.getenv("SOAK_SEED")) or os.time() % 1000000
local seconds = tonumber(os.getenv("SOAK_SECONDS")) or 600
local only_round, most_rounds = tonumber(os.getenv("SOAK_ROUND")), tonumber(os.getenv("SOAK_ROUNDS"))

pcall(ffi.cdef, [[
unsigned alarm(unsigned seconds);
ssize_t readlink(const char *path, char *target, size_t size);
int setenv(const char *name, const char *value, int overwrite);
]])

-- A round that takes longer hangs. The slowest take some seconds.
local MOST_SECONDS_A_ROUND = 180
-- What a round leaves behind must be gone so soon: tasks that threads were left alone with end by themselves.
local SETTLE_SECONDS = 20
local TELL_SECONDS = 5
-- On a busy machine others may have done all tasks before a rank's workers were up: warming up is repeated until nothing more is held.
local MOST_WARM_UPS = 10

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read("*a") or ""
  if file then file:close() end
  return text
end

-- The engines of this machine; async needs a Lua module.
local ENGINES_HERE = "serial threads process" .. (pcall(require, "cqueues") and " async" or "")

local counted = { "runs", "tasks", "error", "crash", "timeout", "unsendable", "killed", "late", "cancelled" }
local names = { error = "raises", crash = "crashes", timeout = "timeouts", cancelled = "cancellations", killed = "killed from outside",
                late = "late by chance" }

local function told(tally)
  local words = {}
  for _, name in ipairs(counted) do words[#words + 1] = ("%d %s"):format(tally[name] or 0, names[name] or name) end
  return table.concat(words, ", ")
end

-- ---- a part ----

local function part(directory)
  local calls, resources = require "calls", require "resources"
  local engines = {}
  local default = host.ranks() and "mpi" or ENGINES_HERE
  for name in (os.getenv("SOAK_ENGINES") or default):gmatch("%S+") do engines[#engines + 1] = name end
  local setting = { engines = engines, directory = directory, counts = directory .. "/counts" }
  local tally, began, last_told, series = {}, host.now(), host.now(), {}

  local function repeat_words(round) return ("SOAK_SEED=%d SOAK_ROUND=%d SOAK_ENGINES=%q"):format(seed, round, table.concat(engines, " ")) end

  local function fail(round, drawn, message)
    io.write(("soak: round %d: %s\n  the round: %s\n  again: %s\n"):format(round, message, calls.describe(drawn), repeat_words(round)))
    os.exit(1)
  end

  local before
  local function settle()
    local deadline = host.now() + SETTLE_SECONDS
    while true do
      local more = resources.more(before, resources.take())
      if not more or host.now() > deadline then return more end
      if host.ranks() then calls.settle() end
      host.sleep(0.01)
    end
  end

  local function one_round(round)
    local drawn = calls.draw(seed, round, setting)
    write(directory .. "/round", ("round %d: %s\n  again: %s"):format(round, calls.describe(drawn), repeat_words(round)))
    if os.getenv("SOAK_VERBOSE") then print(round, calls.describe(drawn)) io.flush() end
    ffi.C.alarm(MOST_SECONDS_A_ROUND)
    local ok, problem = xpcall(calls.make, function(value)
      if type(value) == "table" and value.violation then return value.violation end
      return debug.traceback(tostring(value), 2)
    end, drawn, setting, tally)
    if not ok then fail(round, drawn, problem) end
    local more = settle()
    if more then fail(round, drawn, "something is left behind: " .. more) end
    for _, engine in ipairs(engines) do -- whose workers are part of this process
      if engine == "threads" then calls.collect(engine) end
    end
    for name, kb in pairs(resources.memory()) do
      series[name] = series[name] or {}
      table.insert(series[name], kb)
    end
  end

  write(directory .. "/round", "warming up")
  for _ = 1, host.ranks() and MOST_WARM_UPS or 1 do
    for _, engine in ipairs(engines) do calls.warm_up(engine, setting) end
    host.sleep(1.5) -- tasks that threads were left alone with end
    local held = resources.take()
    local is_warm = before and not resources.more(before, held)
    before = held
    if is_warm then break end
  end

  local round, stop = only_round or 1, began + seconds
  while true do
    one_round(round)
    if only_round or most_rounds and round >= most_rounds or not most_rounds and host.now() >= stop then break end
    round = round + 1
    if host.now() - last_told > TELL_SECONDS then
      last_told = host.now()
      local memory = series["resident memory"]
      io.write(("soak: %d s: round %d, %s; %.1f MB\n"):format(last_told - began, round, told(tally), memory[#memory] / 1024))
      io.flush()
    end
  end
  ffi.C.alarm(0)
  local grown, course = resources.growth(series)
  if grown then
    io.write(("soak: memory grows from round to round: %s\n  again: SOAK_SEED=%d SOAK_SECONDS=%g\n"):format(grown, seed, seconds))
    os.exit(1)
  end
  if course ~= "" then io.write("soak: memory, the least in each of eight windows: ", course, "\n") end
  local list = {}
  for name, value in pairs(tally) do list[#list + 1] = name .. " " .. value end
  write(directory .. "/tally", table.concat(list, "\n"))
end

-- ---- all parts ----

local function own_path()
  local target = ffi.new("char[4096]")
  return ffi.string(target, ffi.C.readlink("/proc/self/exe", target, 4096))
end

local function quote(word) return "'" .. word:gsub("'", "'\\''") .. "'" end

--- Runs a part; returns its tally, or nil and what is wrong.
local function run_part(name, command, directory)
  write(directory .. "/round", "")
  write(directory .. "/tally", "")
  write(directory .. "/counts", ("\0"):rep(65537))
  io.write(("soak: %s, SOAK_SEED=%d\n"):format(name, seed))
  io.flush()
  local status = os.execute(("exec %s %s %s part %s"):format(command, quote(own_path()), quote(arg[0]), quote(directory)))
  if status == 0 then
    local tally = {}
    for key, value in read(directory .. "/tally"):gmatch("(%S+) (%d+)") do tally[key] = tonumber(value) end
    if not tally.runs then return nil, "the part ended without a tally" end
    return tally
  end
  if status == 256 then return nil, "see above" end
  local signal = status % 256
  local how = signal == 14 and ("did not end within %d s"):format(MOST_SECONDS_A_ROUND)
    or signal > 0 and ("ended the program by signal %d"):format(signal) or ("ended the program with status %d"):format(status / 256)
  return nil, ("%s; in %s"):format(how, read(directory .. "/round"))
end

local function main()
  local directory = os.tmpname()
  os.remove(directory)
  assert(os.execute("mkdir " .. directory) == 0)
  local began, total = host.now(), {}
  local wanted = os.getenv("SOAK_ENGINES")
  local parts, ranks = {}, "mpirun -q --oversubscribe --mca btl self,vader -n 3"
  local has_mpi = os.execute("command -v mpirun > /dev/null") == 0 and io.open(own_path():match("^.*/") .. "parlua_mpi.so") ~= nil
  local locals = (wanted or ENGINES_HERE):gsub("%f[%w]mpi%f[%W]", "")
  if locals:find("%S") then parts[1] = { "on this machine: " .. locals, "env SOAK_ENGINES=" .. quote(locals) } end
  if not wanted or wanted:find("mpi") then
    if not has_mpi then error("soak: without mpirun and parlua_mpi.so beside the program: use SOAK_ENGINES=\"serial threads process\"", 0) end
    local as_root = "env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 SOAK_ENGINES=mpi "
    parts[#parts + 1] = { "mpi on 3 ranks", as_root .. ranks }
  end
  ffi.C.setenv("SOAK_SECONDS", tostring(seconds / #parts), 1)
  ffi.C.setenv("SOAK_SEED", tostring(seed), 1)
  local problem
  for _, each in ipairs(parts) do
    local tally
    tally, problem = run_part(each[1], each[2], directory)
    if not tally then break end
    for name, value in pairs(tally) do total[name] = (total[name] or 0) + value end
  end
  os.execute("rm -rf " .. directory)
  if problem then
    io.write("soak: failed: ", problem, "\n")
    os.exit(1)
  end
  io.write(("soak: all well: %s, in %d seconds\n"):format(told(total), host.now() - began))
end

if arg[1] == "part" then part(arg[2]) else main() end
