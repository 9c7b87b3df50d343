-- The calls that simulate/stack.c makes in virtual time, on workers that die, hang and fail, and what must hold: each task is told once,
-- with its own result or a failure that it can have; what a journal has is not run again; the summary adds up.
local parlua = require "parlua"
local ffi = require "ffi"

ffi.cdef "double simulate_runs(double task);"

local plan = ...
local n = plan.tasks

-- Chance of the script's own: the same for the same seed.
local state = plan.seed % 2147483647 + 1
local function draw(most)
  state = state * 48271 % 2147483647
  return state % most + 1
end

local function check(right, message, ...)
  if not right then error(message:format(...), 0) end
end

local salt = draw(1e6)
local errors, crashes, hangs, length, limit = plan.errors or 0, plan.crashes or 0, plan.hangs or 0, plan.length, plan.limit or 0
if plan.engine == "threads" then crashes = 0 end

-- What becomes of a task; workers know it too.
local function fate(i)
  local x = (i * 7919 + salt) * 48271 % 2147483647 / 2147483647
  if x < errors then return "error" end
  if x < errors + crashes then return "crash" end
  if x < errors + crashes + hangs and limit > 0 then return "timeout" end
  return "result"
end

-- Some results are strings that leave a block room for a few words more, or for none.
require "parlua.wire.block" -- declares what blocks are
local has_strings = plan.large
local block_bytes = ffi.C.BLOCK_BYTES - ffi.C.BLOCK_HEAD

local function value(i)
  if has_strings and i % 7 == salt % 7 then return ("x"):rep(block_bytes - (i + salt) % 128) end
  return i * 3 + salt
end

local function task(i)
  local C = require "ffi".C
  if not pcall(function() return C.simulate_ran end) then
    require "ffi".cdef "void simulate_sleep(double); void simulate_crash(void); void simulate_ran(double);"
  end
  C.simulate_ran(i)
  local what = fate(i)
  if what == "timeout" then C.simulate_sleep(3 * limit + 1) end
  C.simulate_sleep(length * (i % 3))
  if what == "crash" then C.simulate_crash() end
  if what == "error" then error("task " .. i .. " fails") end
  return value(i)
end

local function options(more)
  local given = { engine = plan.engine, workers = plan.workers, retries = plan.retries, retry_on = { "error", "crash", "timeout" } }
  if plan.chunk > 0 then given.chunk = plan.chunk end
  if plan.limit then given.timeout = plan.limit end
  if plan.backoff then given.backoff = plan.backoff end
  for name, option in pairs(more or {}) do given[name] = option end
  return given
end

-- A call can't go on when its workers die as they begin, or too many threads hang: it says so, or ends early with what is done.
local may_end_early = plan.deaths or (plan.engine == "threads" and plan.hangs)

local function is_excused(message)
  return may_end_early and tostring(message):find("cannot start workers", 1, true)
end

-- Failures: of tasks that can fail so, each told once. Returns them by index.
local function check_failures(failures)
  local seen = {}
  for _, failed in ipairs(failures) do
    local index, kind = failed.index, failed.kind
    check(index >= 1 and index <= n and index % 1 == 0, "a failure of task %s", tostring(index))
    check(not seen[index], "two failures of task %d", index)
    -- A worker's end may be told after the limit of the task that it was in.
    local by_death = (plan.deaths and kind == "crash") or (plan.limit and kind == "timeout" and (plan.deaths or fate(index) == "crash"))
    local is_due = kind == fate(index) or by_death or (may_end_early and kind == "cancelled")
    check(is_due, "task %d failed by %s (%s)", index, kind, failed.message)
    check(failed.attempts == plan.retries + 1 or may_end_early, "task %d failed for good at try %d", index, failed.attempts)
    seen[index] = kind
  end
  return seen
end

-- Has the call ended early? Then what else it tells is of a part of the tasks.
local ended_early = false

local function check_summary(summary, failed)
  local count = 0
  for _, kind in pairs(failed) do
    count = count + 1
    if kind == "cancelled" then ended_early = true end
  end
  if may_end_early and (ended_early or summary.stopped or summary.cancelled > 0) then
    ended_early = true
    return
  end
  check(summary.tasks == n, "the summary tells of %s tasks", tostring(summary.tasks))
  check(summary.failed == count, "the summary tells of %s failures, there are %d", tostring(summary.failed), count)
  check(summary.returned + summary.failed == n, "%d returned and %d failed, of %d", summary.returned, summary.failed, n)
end

local function check_results(results, failed)
  for i = 1, n do
    if failed[i] then
      check(results[i] == nil, "task %d has a result and a failure", i)
    else
      if may_end_early and results[i] == nil then ended_early = true end
      if ended_early and results[i] == nil then return end
      check(fate(i) == "result", "task %d has returned, though it can't", i)
      check(results[i] == value(i), "task %d gave %s", i, tostring(results[i]):sub(1, 40))
    end
  end
end

local function source()
  if not plan.supply then return parlua.range(n) end
  local i = 0
  return function()
    i = i + 1
    if i <= n then return i end
  end
end

local function sum_of(failed)
  local sum = 0
  for i = 1, n do
    if not failed[i] then sum = sum + value(i) end
  end
  return sum
end

local calls = {}

function calls.map()
  local results, failures, summary = parlua.map(task, source(), options())
  local failed = check_failures(failures)
  check_summary(summary, failed)
  check_results(results, failed)
end

function calls.each()
  local failures, summary = parlua.each(task, source(), options())
  check_summary(summary, check_failures(failures))
end

function calls.imap()
  local results, last = {}, 0
  local iterator, stream = parlua.imap(task, source(), options())
  for i, result in iterator do
    check(i > last, "task %d behind task %d", i, last)
    last, results[i] = i, result
  end
  check_results(results, check_failures(stream.failures))
end

function calls.unordered()
  local results = {}
  local iterator, stream = parlua.imap(task, source(), options { ordered = false })
  for i, result in iterator do
    check(results[i] == nil, "task %d was told twice", i)
    results[i] = result
  end
  check_results(results, check_failures(stream.failures))
end

function calls.reduce()
  has_strings = false
  local sum, failures, summary = parlua.reduce(task, source(), parlua.sum, options())
  local failed = check_failures(failures)
  check_summary(summary, failed)
  check(ended_early or (sum or 0) == sum_of(failed), "the sum is %s, expected was %.0f", tostring(sum), sum_of(failed))
end

function calls.halt()
  local ok, message = pcall(parlua.map, task, source(), options { on_error = "halt" })
  local can_fail = plan.deaths
  for i = 1, n do can_fail = can_fail or fate(i) ~= "result" end
  check(ok or can_fail, "the call was halted without a failure: %s", tostring(message))
end

function calls.journal()
  local path = os.tmpname()
  os.remove(path)
  local stop_at = draw(n)
  pcall(parlua.map, task, source(), options { journal = path, max_failures = stop_at })
  local before = {}
  for i = 1, n do before[i] = ffi.C.simulate_runs(i) end
  local results, failures, summary = parlua.map(task, source(), options { journal = path, resume = true })
  for _, suffix in ipairs { "", "-wal", "-shm", "-journal" } do os.remove(path .. suffix) end
  local failed = check_failures(failures)
  check_summary(summary, failed)
  check_results(results, failed)
  local again = 0
  for i = 1, n do
    -- One that has failed may not have run either: workers died before they came to it.
    if ffi.C.simulate_runs(i) == before[i] and not failed[i] then again = again + 1 end
  end
  check(ended_early or again == summary.resumed, "%d tasks did not run again, but %s came from the journal", again, tostring(summary.resumed))
end

local names = { "map", "each", "imap", "unordered", "reduce", "halt", "journal" }
local name = names[draw(#names)]
local ok, message = pcall(calls[name])
if not ok and not is_excused(message) then error(name .. ": " .. tostring(message), 0) end
