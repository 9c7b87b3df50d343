--- The task that runs in this state: its index, attempt and worker, and its random numbers. Loaded as a state begins,
--- before any script: it puts its own functions in the place of math.random and math.randomseed, so that a script which
--- keeps them in locals has these.
--
-- Outside of tasks they are LuaJIT's own. Inside a task, numbers come from a stream of the task's own, which begins
-- when the task first asks for one. It follows from the call's key and the task's index, and the key from the seed and
-- the number of the call: the engine, the number of workers and the chunks don't count. A task that asks for none pays
-- nothing; one that does pays less than for LuaJIT's own (2.7 ns a number beside 3.7 ns, bench/pi.lua).
--
-- The generator is xoshiro256+ of Blackman and Vigna (https://prng.di.unimi.it), made for floating-point numbers, of
-- which the upper 53 bits are used; its state is filled by splitmix64 (Steele, Lea and Flood, 2014), as its authors
-- advise.
local ffi = require "ffi"
local bit = require "bit"

ffi.cdef [[
struct parlua_task {
  volatile double *index;          /* cell with the running task's index; 0 in it: none runs */
  double none;                     /* such a cell, for a state in which no task runs */
  double attempt, worker;
  double seeded;                   /* the task whose stream s0..s3 is; 0: none */
  double based;                    /* the task whose base and number of calls follow; 0: none */
  double calls;                    /* that it has made */
  double shown, shown_for;         /* the number that a task of a shard has in the whole; its own number here */
  uint64_t base;                   /* where the task's stream and the keys of its calls come from */
  uint64_t key;                    /* of the call that the task belongs to */
  double root, depth, spawned_for; /* of a task that was spawned: see worker/spawn.lua; its number */
  double call_seed, call_number;   /* a task that is a call of its own: what its key follows from; 0: it is none */
  int64_t s0, s1, s2, s3;
};
union parlua_bits { double number; uint64_t bits; };
]]

local M = {}

local lshift, rshift, rol, bxor = bit.lshift, bit.rshift, bit.rol, bit.bxor
local floor, select, type, tonumber = math.floor, select, type, tonumber
local copy, new, size_of, string_of = ffi.copy, ffi.new, ffi.sizeof, ffi.string -- a script may put its own there
local native_random, native_randomseed = math.random, math.randomseed

local context = new("struct parlua_task")
local bits = new("union parlua_bits")
local outside = ffi.cast("double *", context) + ffi.offsetof("struct parlua_task", "none") / 8
context.index = outside

local GOLDEN = 0x9e3779b97f4a7c15ULL -- 2^64 divided by the golden ratio: the step of splitmix64
local CALL = 0xd1b54a32d192ed03ULL   -- odd, and as irregular: keeps keys of calls apart from seeds of tasks

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

local function set_base(z)
  context.based, context.base, context.calls = context.index[0], z, 0
end

--- The base of the running task.
local function base()
  local index = context.index[0]
  if index == context.based then return context.base end
  if context.call_number == 0 then
    set_base(mix(bxor(context.key, bits_of(index) * GOLDEN)))
  else -- the only task of its call
    local key = mix(bxor(mix(bits_of(context.call_seed) + GOLDEN), bits_of(context.call_number) * CALL))
    set_base(mix(bxor(key, bits_of(1) * GOLDEN)))
  end
  return context.base
end

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
  if index ~= context.seeded then begin_stream(base()) end
  if n == 0 then return draw() end
  if n == 1 then return floor(draw() * m) + 1 end
  return floor(draw() * (l - m + 1)) + m
end

--- In a task: begins a stream that rules for the rest of the task, and for its calls. Else: sets the seed of LuaJIT's
--- own numbers, and of the tasks of calls that are given no seed; calls are counted anew.
local function randomseed(...)
  local seed = check_number(1, "randomseed", ...)
  if context.index[0] ~= 0 then
    set_base(mix(bits_of(seed)))
    begin_stream(context.base)
  else
    M.base, M.calls = seed, 0
    native_randomseed(seed)
  end
end

math.random, math.randomseed = random, randomseed

--- Names of the globals that the worker's set-up has set.
---@type string[]
M.set_up = {}

--- Is this the state of a worker that is a process? Others share the coordinator's.
M.owns_process = false

--- Is this the state of a worker that is a thread?
M.is_thread = false

--- What math.randomseed set outside of tasks, or nil.
---@type number?
M.base = nil
--- Calls of the program since it began, or since math.randomseed.
M.calls = 0

local running = {}

function running.index()
  local index = context.index[0]
  if context.spawned_for == index then return context.root end
  if context.shown_for == index then return context.shown end
  return index
end
function running.attempt() return context.attempt end
function running.worker() return context.worker end
function running.depth() return M.depth() end
function running.path() return M.source_place and (M.source_place()) end
function running.line() return M.source_place and (select(2, M.source_place())) end

--- The levels of parlua.log. Lines below `log_level` are not written; 0: what the options say, not looked at yet.
M.log_levels = { debug = 1, info = 2, warn = 3, error = 4 }
M.log_level = 0

--- In a worker: sends lines of the log to the coordinator.
---@type fun(text: string)?
M.log_send = nil

--- Tells the coordinator how far the running task is: a share from 0 to 1. Set where somebody listens.
---@type (fun(index: number, share: number))?
M.progress_send = nil

--- The running task's index and its worker; nil: none runs.
function M.place()
  local index = context.index[0]
  if index ~= 0 then return index, context.worker end
end

--- Waits for what comes from a program (of parlua.program), or its end, at most `seconds`, as its own `wait` does; lets
--- other tasks go on; nil: none could.
---@type (fun(program: userdata, seconds?: number): string)?
M.wait_for_program = nil

--- Where the running task's argument comes from: a function that gives the path of a file, and the line; nil: it is of
--- no text.
---@type function?
M.source_place = nil

--- The running task: `index`, `attempt` (from 1) and `worker` (from 1); of lines, rows and blocks `path` and `line`.
--- All are nil where no task runs.
M.running = setmetatable({}, {
  __index = function(_, key)
    if context.index[0] == 0 then return nil end
    local read = running[key]
    return read and read()
  end,
  __newindex = function() error("parlua.task cannot be written to", 2) end,
})

local function key_string(z)
  bits.bits = z
  return string_of(bits, 8)
end

local require, host = require, nil -- a script may put its own in the place of the global

--- The key of a call that begins now.
---@param given? number the call's own seed: the key follows from it alone
---@param seed number else from this and the number of the call in the program; in a task, from the task's stream and
--- the number in it
---@return string key its 8 bytes
---@return number? seed that the key follows from; nil: a task
---@return number? call and which call of the program it is
function M.call_key(given, seed)
  local key
  if M.is_inside() then
    local of_task = base()
    context.calls = context.calls + 1
    key = mix(bxor(of_task, bits_of(context.calls) * CALL))
  else
    M.calls = M.calls + 1
    host = host or require "parlua.host" -- in C no object is made of each step
    if given then return host.call_key(given), given end
    return host.call_key(seed, M.calls), seed, M.calls
  end
  if given then return key_string(mix(bits_of(given) + GOLDEN)), given end
  return key_string(key)
end

--- What the key of a call follows from in words, for the journal.
---@param seed number
---@param call? number
function M.origin(seed, call)
  return call and ("%.17g in call %d"):format(seed, call) or ("%.17g"):format(seed)
end

--- The number that the bytes of a key are.
function M.key_number(key)
  copy(bits, key, 8)
  return bits.bits + 0
end

--- The running task is a call of its own, with its own key: it draws what the only task of such a call would, or task
--- `index` of it.
---@param key string
---@param index? integer default 1
function M.set_key(key, index)
  set_base(mix(bxor(M.key_number(key), bits_of(index or 1) * GOLDEN)))
  context.seeded = 0
  begin_stream(context.base)
end

--- The same in a worker, which works the key out when it is asked for.
---@param seed number
---@param number integer of the call in the program
function M.set_call(seed, number)
  context.call_seed, context.call_number = seed, number
  context.seeded, context.based = 0, 0
end

--- The running task was spawned: it has a key of its own, and belongs to a task of the source.
---@param key string
function M.set_spawned(key, root, depth)
  M.set_key(key)
  context.root, context.depth, context.spawned_for = root, depth, context.index[0]
end

--- Tasks that were spawned have numbers from here on with workers (src/run/queue.h: FIRST_EXTRA).
M.FIRST_SPAWNED = 2 ^ 52

--- How many tasks have spawned one another up to the running one; 0: it is of the source.
function M.depth() return context.spawned_for == context.index[0] and context.depth or 0 end

--- The task of the source that the running one is, or descends from.
function M.root()
  local index = context.index[0]
  return context.spawned_for == index and context.root or index
end

--- Tells the run that the running task has spawned a call: its number, key, root, depth, function, arguments. Nil where
--- no task runs.
---@type fun(index: number, ...)?
M.spawn_send = nil

--- Why the tasks of the running job can't spawn others; nil: they can.
---@type string?
M.spawn_refusal = nil

--- The globals of these names, to be given to `restore_globals` when a message has brought others.
---@param names string[]
function M.globals(names)
  local values = {}
  for k, name in ipairs(names) do values[k] = rawget(_G, name) end
  return values
end

function M.restore_globals(names, values)
  for k, name in ipairs(names) do rawset(_G, name, values[k]) end
end

--- The number of a call that begins now, outside of tasks.
function M.next_call()
  M.calls = M.calls + 1
  return M.calls
end

--- The running task is number `index` of the whole of which this run is a shard: so it is called, and it draws what it
--- would draw there.
function M.renumber(index)
  context.shown, context.shown_for = index, context.index[0]
  set_base(mix(bxor(context.key, bits_of(index) * GOLDEN)))
  context.seeded = 0
end

--- Is this state running tasks (or about to)? A nested call then runs serially.
function M.is_inside() return context.index ~= outside end

--- Tasks run in this state from here on: `cell` has the index of the running one.
---@param cell ffi.cdata* double *
---@param worker integer
---@return ffi.cdata* before for `leave`
function M.enter(cell, worker)
  local before = new("struct parlua_task", context)
  context.index, context.worker, context.seeded, context.based, context.shown_for = cell, worker, 0, 0, -1
  return before
end

--- Goes back to what was before `enter`.
function M.leave(before) copy(context, before, size_of(context)) end

--- What belongs to a task that runs beside others of this state: its stream, and what `running` says of it.
---@param cell ffi.cdata* double *: will have its index while it runs
---@param key ffi.cdata* uint64_t
---@return ffi.cdata*
function M.context(cell, worker, attempt, key)
  local made = new("struct parlua_task")
  made.index, made.worker, made.attempt, made.key = cell, worker, attempt, key
  return made
end

local between = new("struct parlua_task")

--- The task begins, or goes on, to which `other` belongs; called again, what was before does.
function M.exchange(other)
  local bytes = size_of(context)
  copy(between, context, bytes)
  copy(context, other, bytes)
  copy(other, between, bytes)
end

--- A chunk of a call begins, or a task is tried again: no stream has begun.
---@param key? ffi.cdata* uint64_t
function M.begin(attempt, key)
  context.attempt = attempt
  context.seeded, context.based, context.shown_for, context.call_number, context.spawned_for = 0, 0, -1, 0, 0
  if key then context.key = key end
end

return M
