--- What the tasks of a soak do, and what is to come of each. A plan (plain data) says with which odds tasks fail in which ways; what task i
--- of a plan does in its try k follows from the plan's seed, i and k alone, so that the coordinator can tell what must have come of it.
local bit = require "bit"
local ffi = require "ffi"

local host = require "parlua.host"
local parlua = require "parlua"

local M = {}

pcall(ffi.cdef, [[
int kill(int pid, int signal);
int getppid(void);
int open(const char *path, int flags, ...);
int close(int fd);
void *mmap(void *where, size_t length, int protection, int flags, int fd, long offset);
int munmap(void *where, size_t length);
void abort(void);
]])

local C = ffi.C

--- A number from 0 to 2^31 - 1 that follows from the three given.
function M.hash(seed, a, b)
  local x = bit.tobit(seed % 2 ^ 31 + 0x9e3779b9 * (a % 2 ^ 21) + 0x85ebca6b * (b % 2 ^ 10))
  for _ = 1, 3 do
    x = bit.bxor(x, bit.lshift(x, 13))
    x = bit.bxor(x, bit.rshift(x, 17))
    x = bit.bxor(x, bit.lshift(x, 5))
    x = bit.tobit(x + 0x7ed55d16)
  end
  return bit.band(x, 0x7fffffff)
end

-- ---- how often each task was begun ----

M.MOST_TASKS = 65536
local READ_WRITE, SHARED, OPEN_READ_WRITE = 3, 1, 2
local maps = {}

--- A byte for each task, in a file that all workers map.
function M.counts(path)
  local counts = maps[path]
  if not counts then
    local file = C.open(path, OPEN_READ_WRITE)
    assert(file >= 0, "cannot open " .. path)
    local memory = C.mmap(nil, M.MOST_TASKS + 1, READ_WRITE, SHARED, file, 0)
    C.close(file)
    assert(ffi.cast("intptr_t", memory) ~= -1, "cannot map " .. path)
    counts = ffi.gc(ffi.cast("uint8_t *", memory), function(p) C.munmap(p, M.MOST_TASKS + 1) end)
    maps[path] = counts
  end
  return counts
end

-- ---- fates ----

--- Fates by the failure that they end in; those with `from_try` let the task succeed in its second or third try.
M.kinds = { raise = "error", raise_table = "error", flaky = "error", segv = "crash", exit = "crash", abort = "crash", kill = "crash",
            flaky_exit = "crash", hang = "timeout", flaky_hang = "timeout", unsendable = "unsendable" }
local passes = { flaky = true, flaky_exit = true, flaky_hang = true }

--- What task `i` does in its try `attempt`: a key of M.kinds, or "fine", "slow".
function M.fate(plan, i, attempt)
  local fixed = plan.special and plan.special[i]
  if fixed then return fixed end
  local dice, fate = M.hash(plan.seed, i, 0) % 10000, "fine"
  for _, odds in ipairs(plan.odds) do
    dice = dice - odds[2]
    if dice < 0 then
      fate = odds[1]
      break
    end
  end
  if passes[fate] and attempt > 1 + M.hash(plan.seed, i, 1) % 2 then return "fine" end
  return fate
end

--- The failure in which task i ends, or nil; and its tries.
function M.expected(plan, i)
  for attempt = 1, plan.retries + 1 do
    local kind = M.kinds[M.fate(plan, i, attempt)]
    if not kind then return nil, attempt end
    if kind == "unsendable" or attempt > plan.retries then return kind, attempt end
  end
end

-- ---- results ----

local function small_table(i) return { i, twice = { i, i }, text = "t" .. i } end

local function numbers(i, n)
  local list = {}
  for k = 1, n do list[k] = i + k / 2 end
  return list
end

--- What task i returns.
function M.value(plan, i)
  local h = M.hash(plan.seed, i, 2)
  if plan.big > 0 and h % plan.big == 0 then
    local bytes = M.hash(plan.seed, i, 3) % plan.biggest
    if h % 3 == 0 then return numbers(i, math.floor(bytes / 8)) end
    return ("b"):rep(bytes) .. i
  end
  local kind = h % 8
  if plan.plain or kind < 3 then return i * 0.5 end
  if kind == 3 then return ("s"):rep(h % plan.text) .. i end
  if kind == 4 then return small_table(i) end
  if kind == 5 then return h % 16 < 8 end
  if kind == 6 and plan.nils then return nil end
  return "value " .. i
end

--- The same plain value?
function M.same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for key, value in pairs(a) do
    if not M.same(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

-- ---- arguments ----

--- The text that is task i's argument, of up to `plan.text_bytes`.
function M.text(plan, i) return ("a"):rep(M.hash(plan.seed, i, 4) % plan.text_bytes) .. i end

local checks = {
  range = function(_, i, a) return a == i end,
  list = function(_, i, a) return a == 2 * i end,
  iterator = function(_, i, a, b) return a == i and b == "x" .. i end,
  product = function(_, i, a, b) return a == math.floor((i - 1) / 3) + 1 and b == ("abc"):sub((i - 1) % 3 + 1, (i - 1) % 3 + 1) end,
  zip = function(plan, i, a, b) return a == i and b == plan.n - i + 1 end,
  lines = function(_, i, a) return a == "line " .. i end,
  texts = function(plan, i, a) return a == M.text(plan, i) end,
  call = function(_, i, a) return a == i end,
}

-- ---- doing it ----

local function spin(seconds)
  local stop, n = host.now() + seconds, 0
  while host.now() < stop do
    for k = 1, 1000 do n = n + k % 7 end
  end
  return n
end

local function sleep(seconds)
  local cqueues = package.loaded.cqueues
  if cqueues and cqueues.running() then return cqueues.sleep(seconds) end
  local stop = host.now() + seconds
  while host.now() < stop do host.sleep(math.max(stop - host.now(), 0)) end
end

local function read(path)
  local file = io.open(path)
  local text = file and file:read("*a") or ""
  if file then file:close() end
  return text
end

--- Kills another worker of the same parent, if there is one.
local function murder(h)
  local parent, own = C.getppid(), host.pid()
  local victims = {}
  if not read(("/proc/%d/comm"):format(parent)):find("^parlua") then return end -- the run's own has gone
  for pid in read(("/proc/%d/task/%d/children"):format(parent, parent)):gmatch("%d+") do
    if tonumber(pid) ~= own and read(("/proc/%s/comm"):format(pid)):find("^parlua") then victims[#victims + 1] = tonumber(pid) end
  end
  if #victims > 0 then C.kill(victims[h % #victims + 1], 9) end
end

local acts = {
  raise = function(plan, i) error(("task %d raises"):format(i), plan.seed % 2) end,
  raise_table = function(_, i) error({ task = i, what = "raises a table" }) end,
  segv = function() ffi.cast("int *", 0)[0] = 1 end,
  exit = function(_, i) os.exit(i % 3) end,
  abort = function() C.kill(host.pid(), 6) end,
  kill = function() C.kill(host.pid(), 9) end,
  hang = function(plan, i)
    if plan.waits then
      sleep(1e6)
    elseif plan.hang > 0 then
      if i % 2 == 0 then spin(plan.hang) else sleep(plan.hang) end
    elseif i % 2 == 0 then
      while true do end
    else
      while true do host.sleep(1) end
    end
  end,
  slow = function(plan, i)
    local seconds = M.hash(plan.seed, i, 5) % 5 / 1000
    if i % 2 == 0 then spin(seconds) else sleep(seconds) end
  end,
  murder = function(plan, i) murder(M.hash(plan.seed, i, 6)) end,
  interrupt = function(plan) -- a run on threads catches signals only once it sleeps
    local path = ("/proc/%d/status"):format(plan.coordinator)
    while tonumber(read(path):match("SigCgt:%s*%x*(%x)"), 16) % 4 < 2 do host.sleep(0.001) end
    C.kill(plan.coordinator, 2)
  end,
}
acts.flaky, acts.flaky_exit, acts.flaky_hang = acts.raise, acts.exit, acts.hang

--- Task i of the plan, in its try `attempt`, with its arguments.
function M.run(plan, i, attempt, ...)
  local counts = M.counts(plan.counts)
  counts[i] = counts[i] + 1
  if not checks[plan.source](plan, i, ...) then error(("SOAK: task %d got the wrong arguments: %s"):format(i, tostring((...))), 0) end
  local fate = M.fate(plan, i, attempt)
  local act = acts[fate]
  if act then act(plan, i) end
  if fate == "unsendable" then return { i, coroutine.create(spin) } end
  return M.value(plan, i)
end

--- The map function of a plan.
function M.map_function(plan)
  return function(...)
    local task = parlua.task
    return M.run(plan, task.index, task.attempt, ...)
  end
end

return M
