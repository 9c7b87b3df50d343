--- The task that runs in this state: its index, attempt and worker, and its random numbers. Loaded as a state begins, before any script:
--- it puts its own functions in the place of math.random, math.randomseed, os.execute, os.exit and io.popen, so that a script which
--- keeps them in locals has these.
--
-- Outside of tasks they are LuaJIT's own. Inside a task, numbers come from a stream of the task's own, seeded from (seed, index) when the
-- task first asks for one: they depend neither on the engine, nor on the number of workers, nor on chunks. A task that asks for none
-- pays nothing; one that does pays less than for LuaJIT's own (2.7 ns a number beside 3.7 ns, bench/pi.lua).
--
-- The generator is xoshiro256+ of Blackman and Vigna (https://prng.di.unimi.it), made for floating-point numbers, of which the upper
-- 53 bits are used; its state is filled by splitmix64 (Steele, Lea and Flood, 2014), as its authors advise.
local ffi = require "ffi"
local bit = require "bit"

ffi.cdef [[
struct parlua_task {
  volatile double *index;          /* cell with the running task's index; 0 in it: none runs */
  double none;                     /* such a cell, for a state in which no task runs */
  double attempt, worker;
  double seeded;                   /* the task whose stream s0..s3 is; 0: none */
  uint64_t key;                    /* of the run: from its seed */
  int64_t s0, s1, s2, s3;
};
union parlua_bits { double number; uint64_t bits; };
]]

local M = {}

local lshift, rshift, rol, bxor = bit.lshift, bit.rshift, bit.rol, bit.bxor
local floor, select, type, tonumber = math.floor, select, type, tonumber
local native_random, native_randomseed = math.random, math.randomseed

local context = ffi.new("struct parlua_task")
local bits = ffi.new("union parlua_bits")
local outside = ffi.cast("double *", context) + ffi.offsetof("struct parlua_task", "none") / 8
context.index = outside

local GOLDEN = 0x9e3779b97f4a7c15ULL -- 2^64 divided by the golden ratio: the step of splitmix64

--- The output function of splitmix64.
local function mix(z)
  z = bxor(z, rshift(z, 30)) * 0xbf58476d1ce4e5b9ULL
  z = bxor(z, rshift(z, 27)) * 0x94d049bb133111ebULL
  return bxor(z, rshift(z, 31))
end

local function bits_of(number)
  bits.number = number
  return bits.bits
end

--- Begins the stream that belongs to `z`, for the running task.
local function begin_stream(z)
  context.seeded = context.index[0]
  context.s0 = mix(z + GOLDEN)
  context.s1 = mix(z + 2 * GOLDEN)
  context.s2 = mix(z + 3 * GOLDEN)
  context.s3 = mix(z + 4 * GOLDEN)
end

local function task_key(index) return mix(bxor(context.key, bits_of(index) * GOLDEN)) end

--- The next number of the running task's stream, from [0, 1).
local function draw()
  local s0, s1, s2, s3 = context.s0, context.s1, context.s2, context.s3
  local value = s0 + s3
  local t = lshift(s1, 17)
  s2 = bxor(s2, s0)
  s3 = bxor(s3, s1)
  context.s1 = bxor(s1, s2)
  context.s0 = bxor(s0, s3)
  context.s2 = bxor(s2, t)
  context.s3 = rol(s3, 45)
  return tonumber(rshift(value, 11)) * 2 ^ -53
end

local function check_number(k, name, ...)
  local value = (select(k, ...))
  local number = tonumber(value)
  if number and (type(value) == "number" or type(value) == "string") then return number end
  error(("bad argument #%d to '%s' (number expected, got %s)"):format(k, name,
    select("#", ...) < k and "no value" or value == nil and "nil" or type(value)), 3)
end

--- As Lua's own, with its forms: random(), random(m), random(m, n).
local function random(...)
  local n = select("#", ...)
  local m, l = ...
  if n > 0 and type(m) ~= "number" then m = check_number(1, "random", ...) end
  if n > 1 and type(l) ~= "number" then l = check_number(2, "random", ...) end
  local index = context.index[0]
  if index == 0 then
    if n == 0 then return native_random() end
    if n == 1 then return native_random(m) end
    return native_random(m, l)
  end
  if index ~= context.seeded then begin_stream(task_key(index)) end
  if n == 0 then return draw() end
  if n == 1 then return floor(draw() * m) + 1 end
  return floor(draw() * (l - m + 1)) + m
end

--- In a task: begins a stream that rules for the rest of the task. Else: sets the seed of LuaJIT's own numbers, and of the tasks of runs
--- that are given no seed.
local function randomseed(...)
  local seed = check_number(1, "randomseed", ...)
  if context.index[0] ~= 0 then
    begin_stream(mix(bits_of(seed)))
  else
    M.base = seed
    native_randomseed(seed)
  end
end

math.random, math.randomseed = random, randomseed
M.random, M.randomseed = random, randomseed

local native_execute, native_popen = os.execute, io.popen

--- Is this the state of a worker that is a process? Others share the coordinator's.
M.owns_process = false

--- Do tasks of this state, which shares its process, find standard input empty?
M.has_empty_stdin = false

--- As Lua's own. But system(3) keeps Ctrl-C from the whole process while a program runs: in a task it is to reach the run too.
local function execute(...)
  local command = ...
  if context.index[0] == 0 or M.owns_process or type(command) ~= "string" then return native_execute(...) end
  return require("parlua.host").execute(command, M.has_empty_stdin)
end

--- As Lua's own; what the program reads is empty where it would be the script's.
local function popen(command, mode)
  local reads_script = M.has_empty_stdin and context.index[0] ~= 0 and type(command) == "string" and (mode == nil or mode == "r")
  return native_popen(reads_script and "exec </dev/null; " .. command or command, mode)
end

os.execute, M.execute = execute, execute
io.popen, M.popen = popen, popen

--- Says what this worker's tasks, and programs that they run, read: nothing, unless `shared`.
function M.set_stdin(shared)
  M.has_empty_stdin = not shared and not M.owns_process
  require("parlua.host").empty_stdin(not shared, M.owns_process)
end

local native_exit = os.exit

--- Is this the state of a worker that is a thread?
M.is_thread = false

--- As Lua's own. But a worker closes no state: the objects in it that have finalizers are, in a copy of the script, the script's, and
--- their files, temporary directories and locks stand for it alone. A thread has no process to end.
local function exit(status, close)
  if M.is_thread then
    error("os.exit: a task of the threads engine cannot end the program (engine = \"process\" can contain it)", 2)
  end
  return native_exit(status, close and not M.owns_process)
end

os.exit, M.exit = exit, exit

--- What math.randomseed set outside of tasks, or nil.
---@type number?
M.base = nil

local running = {}

function running.index() return context.index[0] end
function running.attempt() return context.attempt end
function running.worker() return context.worker end

--- The running task: `index`, `attempt` (from 1) and `worker` (from 1). All are nil where no task runs.
M.running = setmetatable({}, {
  __index = function(_, key)
    if context.index[0] == 0 then return nil end
    local read = running[key]
    return read and read()
  end,
  __newindex = function() error("parlua.task cannot be written to", 2) end,
})

local last_seed, last_key -- outside tasks: most runs of a program have the same

--- The key of a run's random streams. Inside a task it depends on the task too: its nested runs draw numbers of their own.
---@param seed number
---@return string its 8 bytes: a string crosses to workers more cheaply than a cdata
function M.key(seed)
  local index = context.index[0]
  if index == 0 and seed == last_seed then return last_key end
  local key = mix(bits_of(seed) + GOLDEN)
  if index ~= 0 then key = mix(bxor(key, task_key(index))) end
  bits.bits = key
  local bytes = ffi.string(bits, 8)
  if index == 0 then last_seed, last_key = seed, bytes end
  return bytes
end

--- Is this state running tasks (or about to)? A nested call then runs serially.
function M.is_inside() return context.index ~= outside end

--- Tasks run in this state from here on: `cell` has the index of the running one.
---@param cell ffi.cdata* double *
---@param worker integer
---@param key string
---@return ffi.cdata* before for `leave`
function M.enter(cell, worker, key)
  local before = ffi.new("struct parlua_task", context)
  ffi.copy(bits, key, 8)
  context.index, context.worker, context.key, context.seeded = cell, worker, bits.bits, 0
  return before
end

--- Goes back to what was before `enter`.
function M.leave(before) ffi.copy(context, before, ffi.sizeof(context)) end

--- A chunk begins, or a task is tried again: no stream has begun.
function M.begin(attempt)
  context.attempt = attempt
  context.seeded = 0
end

return M
