--- The calls of a soak: each round draws one, makes it, and looks whether every task ended exactly once, in what it had to end in.
local ffi = require "ffi"
local host = require "parlua.host"
local parlua = require "parlua"
local run_module = require "parlua.run"
local check = require "check"
local graph = require "graph"
local tasks = require "tasks"

local M = {}

local hash, wrong, shown = tasks.hash, check.wrong, check.shown

--- Draws numbers from 1 to n, the same for the same seed.
local function generator(seed)
  local k = 0
  return function(n)
    k = k + 1
    return hash(seed, k, 7) % n + 1
  end
end

-- ---- sources ----

local sources = {
  range = function(plan) return parlua.range(plan.n) end,
  list = function(plan)
    local list = {}
    for i = 1, plan.n do list[i] = 2 * i end
    return list
  end,
  iterator = function(plan)
    local i = 0
    return function()
      i = i + 1
      if i <= plan.n then return i, "x" .. i end
    end
  end,
  product = function(plan) return parlua.product(parlua.range(plan.n / 3), { "a", "b", "c" }) end,
  zip = function(plan) return parlua.zip(parlua.range(plan.n), parlua.range(plan.n, 1, -1)) end,
  lines = function(plan) return parlua.lines(plan.lines) end,
  texts = function(plan)
    return coroutine.wrap(function()
      for i = 1, plan.n do coroutine.yield(tasks.text(plan, i)) end
    end)
  end,
}
local source_names = { "range", "list", "iterator", "product", "zip", "lines", "texts" }

-- ---- the calls ----

local calls = {}

function calls.map(plan, options, f, arguments)
  local results, failures, summary = parlua.map(f, arguments, options)
  if results.n ~= plan.n then wrong("there are %s results, not %d", tostring(results.n), plan.n) end
  return { values = results, failures = failures, summary = summary }
end

function calls.each(_, options, f, arguments)
  local failures, summary = parlua.each(f, arguments, options)
  return { failures = failures, summary = summary, values = {}, unkept = true }
end

local function add(outcome, i, value)
  if outcome.has[i] then wrong("task %s came twice", tostring(i)) end
  if outcome.last and i <= outcome.last then wrong("task %s came behind task %s", tostring(i), outcome.last) end
  if outcome.last then outcome.last = i end
  outcome.has[i], outcome.values[i] = true, value
end

function calls.imap(_, options, f, arguments)
  local outcome = { values = {}, has = {}, last = options.ordered ~= false and 0 or nil }
  local iterator, stream = parlua.imap(f, arguments, options)
  for i, value in iterator do add(outcome, i, value) end
  outcome.failures, outcome.summary = stream.failures, stream:summary()
  return outcome
end

--- Leaves the loop early: closes the stream, or leaves it to be collected.
calls["imap, left early"] = function(plan, options, f, arguments)
  local outcome = { values = {}, has = {}, last = options.ordered ~= false and 0 or nil, partial = true, behind = true }
  local iterator, stream = parlua.imap(f, arguments, options)
  local most = hash(plan.seed, 0, 8) % plan.n
  local count = 0
  for i, value in iterator do
    add(outcome, i, value)
    count = count + 1
    if count > most then break end
  end
  outcome.failures = {}
  for k, failed in ipairs(stream.failures) do outcome.failures[k] = failed end
  if plan.seed % 2 == 0 then stream:close() end
  return outcome
end

--- Two streams at once, taken from in turn.
calls["two streams"] = function(plan, options, f, arguments)
  local outcome = { values = {}, has = {}, last = options.ordered ~= false and 0 or nil }
  local iterator, stream = parlua.imap(f, arguments, options)
  local second = parlua.imap(function(x) return -x end, parlua.range(plan.n), { engine = options.engine, workers = 2, progress = "none" })
  for i, value in iterator do
    add(outcome, i, value)
    local j, negated = second()
    if j and negated ~= -j then wrong("the second stream gave %s for task %d", shown(negated), j) end
  end
  for _ in second do end -- luacheck: ignore 542
  outcome.failures, outcome.summary = stream.failures, stream:summary()
  return outcome
end

local function weight(value) return type(value) == "number" and value or type(value) == "string" and #value or 1 end

--- The sum that serial folding would give.
local function expected_sum(plan, failures, from)
  local sum, failed = from, {}
  for _, each in ipairs(failures) do failed[each.index] = true end
  for i = 1, plan.n do
    if not failed[i] then sum = sum + weight(tasks.value(plan, i)) end
  end
  return sum
end

local function reduce_by(reduction)
  return function(plan, options, f, arguments)
    local value, failures, summary = parlua.reduce(f, arguments, reduction(), options)
    local expected = expected_sum(plan, failures, 0)
    if value ~= expected then wrong("the sum is %.17g, not %.17g", value, expected) end
    return { failures = failures, summary = summary, values = {}, unkept = true }
  end
end

local function step(a, v) return a + weight(v) end

calls.reduce = reduce_by(function() return { init = 0, step = step } end)
calls["reduce in the workers"] = reduce_by(function()
  return { init = 0, step = step, merge = function(a, b) return a + b end }
end)

--- Searches for a task in the middle; those before it may fail.
function calls.find(plan, options, f, arguments)
  local wanted = hash(plan.seed, 0, 9) % plan.n + 1
  while wanted <= plan.n and tasks.expected(plan, wanted) do wanted = wanted + 1 end
  local index, _, failures = parlua.find(function(...)
    f(...)
    return parlua.task.index >= wanted
  end, arguments, options)
  local outcome = { failures = failures, values = {}, partial = true, unkept = true }
  if index == nil and wanted <= plan.n and not plan.murders and not plan.timeout then wrong("task %d was not found", wanted) end
  if index and index ~= wanted and not plan.murders and not plan.timeout then wrong("found task %d, not %d", index, wanted) end
  for _, failed in ipairs(failures) do
    if index and failed.index >= index then wrong("task %d behind the one found failed", failed.index) end
  end
  return outcome
end

--- Halts at the first failure.
calls["map, halted"] = function(_, options, f, arguments)
  options.on_error = "halt"
  local ok, results, failures, summary = pcall(parlua.map, f, arguments, options)
  if ok then return { values = results, failures = failures, summary = summary } end
  local raised = results
  if type(raised) ~= "table" or not raised.index then error(raised, 0) end
  return { values = {}, has = {}, failures = { raised }, partial = true }
end

calls["map, max_failures"] = function(plan, options, f, arguments)
  options.max_failures = hash(plan.seed, 0, 10) % 6 + 1
  local results, failures, summary = parlua.map(f, arguments, options)
  local is_stopped = summary.stopped ~= nil
  local final = 0
  for _, failed in ipairs(failures) do final = final + (failed.kind ~= "cancelled" and 1 or 0) end
  if is_stopped and final < options.max_failures then wrong("the run stopped after %d failures", final) end
  if not is_stopped and final >= options.max_failures then wrong("the run did not stop after %d failures", final) end
  return { values = results, failures = failures, summary = summary, partial = is_stopped }
end

--- A task sends SIGINT to the coordinator.
calls["map, interrupted"] = function(plan, options, f, arguments)
  plan.special = { [hash(plan.seed, 0, 11) % plan.n + 1] = "interrupt" }
  local results, failures, summary = parlua.map(f, arguments, options)
  run_module.forget_interrupt()
  return { values = results, failures = failures, summary = summary, partial = summary.interrupted ~= nil }
end

--- Each task that returns has spawned another, which says whose it is.
calls["map, spawned"] = function(plan, options, f, arguments)
  local function child(i) return -i end
  local results, failures, summary = parlua.map(function(...)
    local value = f(...)
    parlua.spawn(child, parlua.task.index)
    return value
  end, arguments, options)
  local own, failed_at, has_child = {}, {}, {}
  for _, failed in ipairs(failures) do
    if failed.index <= plan.n then
      own[#own + 1], failed_at[failed.index] = failed, true
    else
      if not plan.murders and not plan.timeout then wrong("spawned task %d failed: %s", failed.index, failed.message) end
      failed_at[failed.index] = true
    end
  end
  for index = plan.n + 1, results.n do
    local parent = results.parents[index]
    if has_child[parent] then wrong("task %d has two tasks that it has spawned", parent) end
    has_child[parent] = true
    if not failed_at[index] and results[index] ~= -parent then
      wrong("the task that task %d has spawned returned %s", parent, shown(results[index]))
    end
  end
  for i = 1, plan.n do
    if (has_child[i] or false) == (failed_at[i] or false) then
      wrong("task %d %s", i, failed_at[i] and "failed, but what it has spawned ran" or "returned, but what it has spawned is lost")
    end
  end
  local children = results.n - plan.n
  local failed_children = #failures - #own
  summary.tasks, summary.failed = summary.tasks - children, summary.failed - failed_children
  summary.returned = summary.returned - (children - failed_children)
  return { values = results, failures = own, summary = summary }
end

--- Very many quick calls, of which some workers are killed; then tasks that wait, side by side.
calls["pool, many"] = function(plan, options)
  local pool = parlua.pool { engine = options.engine, workers = options.workers }
  local futures = {}
  for k = 1, 3000 do futures[k] = pool:submit(function(x, text) return x .. text end, k, "!") end
  for k = 3000, 1, -1 do
    local ok, value = pcall(futures[k].get, futures[k])
    if not ok and not plan.murders then wrong("call %d failed: %s", k, shown(tostring(value))) end
    if ok and value ~= k .. "!" then wrong("call %d returned %s", k, shown(value)) end
  end
  pool:close()
  if pcall(require, "cqueues") then
    local count = 0
    for _, value in parlua.imap(function(k)
      require("cqueues").sleep(0.001 * (k % 10))
      if k % 50 == 0 then parlua.spawn(function() return 1 end) end
      return 1
    end, parlua.range(500), { engine = "async", ordered = false, progress = "none" }) do count = count + value end
    if count ~= 510 then wrong("%d of 510 waiting tasks returned", count) end
  end
  plan.n = 0
  return { values = {}, failures = {}, unkept = true, partial = true }
end

calls["pool, map"] = function(_, options, f, arguments)
  local pool = parlua.pool { engine = options.engine, workers = options.workers }
  local results, failures, summary = pool:map(f, arguments, options)
  local again = pool:map(function(x) return x + 1 end, parlua.range(20))
  for i = 1, 20 do
    if again[i] ~= i + 1 then wrong("the pool's second map gave %s for task %d", shown(again[i]), i) end
  end
  pool:close()
  return { values = results, failures = failures, summary = summary }
end

--- Workers that stay: the call's functions and those of others go to them in turn, each has called one function before all
--- others, and some make room for new ones.
calls["pool, kept"] = function(plan, options, f, arguments)
  local pool = parlua.pool { engine = options.engine, workers = options.workers }
  pool:everywhere(function() soak_ready = (soak_ready or 0) + 1 end) -- luacheck: ignore 111 113
  local has_workers = options.engine ~= "serial" and options.engine ~= "async"
  local max_tasks = has_workers and plan.seed % 2 == 0 and 30 or nil
  local function look(turn)
    for _, ready in ipairs((pool:map(function() return soak_ready end, parlua.range(20), -- luacheck: ignore 113
      { progress = "none", max_tasks = max_tasks }))) do
      if ready ~= 1 then wrong("in turn %d a worker had called the function %s times", turn, shown(ready)) end
    end
  end
  look(1)
  local results, failures, summary = pool:map(f, arguments, options)
  look(2)
  local sum = pool:reduce(function(x) return x end, parlua.range(1000), parlua.sum, { max_tasks = max_tasks, progress = "none" })
  if sum ~= 500500 then wrong("the pool's sum is %s", shown(sum)) end
  pool:close()
  soak_ready = nil -- luacheck: ignore 111
  return { values = results, failures = failures, summary = summary }
end

--- Single calls: asked for in another order, some cancelled; the pool may be closed before they have ended.
calls["pool, submit"] = function(plan, options)
  plan.source = "call"
  plan.n = math.min(plan.n, 60)
  local pool = parlua.pool { engine = options.engine, workers = options.workers, retries = options.retries, backoff = options.backoff,
                             timeout = options.timeout }
  local outcome, futures = { values = {}, has = {}, failures = {}, partial = true }, {}
  local run = tasks.run
  local f = function(i) return run(plan, i, parlua.task.attempt, i) end
  for i = 1, plan.n do
    futures[i] = pool:submit(f, i)
    if hash(plan.seed, i, 12) % 6 == 0 then futures[i]:cancel() end
    if hash(plan.seed, i, 13) % 5 == 0 then futures[i]:wait(0) end
  end
  local close_at = plan.seed % 3 == 0 and plan.n / 2 or -1
  for i = plan.n, 1, -1 do
    if i < close_at then
      pool:close()
    else
      if hash(plan.seed, i, 14) % 9 == 0 then futures[i]:cancel() end
      if not futures[i]:wait(60) then wrong("call %d did not end", i) end
    end
  end
  pool:close()
  for i = 1, plan.n do
    local future = futures[i]
    if not future:done() then wrong("call %d has not ended, though its pool is closed", i) end
    if future.failure then
      local failed = {}
      for name, value in pairs(future.failure) do failed[name] = value end
      failed.index = i
      outcome.failures[#outcome.failures + 1] = failed
    else
      add(outcome, i, future:get())
    end
  end
  for i = 1, plan.n do
    if not outcome.has[i] and not futures[i].failure then wrong("call %d neither returned nor failed", i) end
  end
  return outcome
end

calls["pool, graph"] = graph.call

local call_names = {}
for name in pairs(calls) do call_names[#call_names + 1] = name end
table.sort(call_names)

-- ---- drawing a round ----

local can = {
  serial = { "raise", "raise_table", "flaky", "slow" },
  threads = { "raise", "raise_table", "flaky", "slow", "unsendable", "hang" },
  process = { "raise", "raise_table", "flaky", "slow", "unsendable", "hang", "flaky_hang", "segv", "exit", "abort", "kill", "flaky_exit" },
}
can.mpi = can.process
can.async = { "raise", "raise_table", "flaky", "slow", "hang", "flaky_hang" } -- those that wait do it by cqueues

-- One task in how many has a fate; those that cost time are rare.
local rarity = { hang = 400, flaky_hang = 600, segv = 60, exit = 40, abort = 60, kill = 50, flaky_exit = 50, slow = 30, unsendable = 40,
                 raise = 12, raise_table = 20, flaky = 15 }

-- Calls where what tasks of the plan return stays in the worker.
local keeps_nothing = { each = true, find = true, ["reduce in the workers"] = true, ["pool, graph"] = true }

local function draw_odds(draw, plan, engine, call)
  for _, fate in ipairs(can[engine]) do
    if draw(3) == 1 and not (fate == "unsendable" and keeps_nothing[call]) then
      local rare = rarity[fate] * 2 ^ (draw(5) - 1)
      local odds = math.floor(10000 / rare)
      if odds > 0 then plan.odds[#plan.odds + 1] = { fate, odds } end
    end
  end
end

--- How many tasks of the plan have this fate in their first try.
local function count_fate(plan, ...)
  local count = 0
  for i = 1, plan.n do
    local fate = tasks.fate(plan, i, 1)
    for k = 1, select("#", ...) do
      if fate == select(k, ...) then count = count + 1 end
    end
  end
  return count
end

--- What round `round` is to be: a plan for its tasks, the call and its options.
---@param setting {engines: string[], counts: string, directory: string}
function M.draw(seed, round, setting)
  local own = hash(seed, round, 1)
  local draw = generator(own)
  local engine = setting.engines[round % #setting.engines + 1]
  local plan = { seed = own, odds = {}, retries = draw(3) - 1, counts = setting.counts, coordinator = host.pid(), text = 60,
                 big = 0, biggest = 0, text_bytes = 50, hang = engine == "threads" and 0.8 or 0,
                 waits = engine == "async" }
  plan.n = ({ 1, 2, 9, 30, 100, 300, 1000, 3000 })[draw(8)] + draw(7) - 1
  plan.source = source_names[draw(#source_names)]
  if plan.source == "product" then plan.n = math.ceil(plan.n / 3) * 3 end
  if plan.source == "texts" and draw(2) == 1 then plan.text_bytes = 400000 end
  local call = call_names[draw(#call_names)]
  if engine == "serial" and call == "map, interrupted" then call = "map" end
  plan.nils = call == "map" or call == "imap"
  plan.plain = draw(5) == 1 -- numbers alone
  if not plan.plain and draw(3) == 1 then
    plan.big, plan.biggest = draw(30) + 5, ({ 5000, 300000, 3000000 })[draw(3)]
    if plan.biggest == 3000000 then plan.big = plan.big * 4 end
  end
  if plan.text_bytes > 1000 or plan.biggest > 100000 then plan.n = math.min(plan.n, 150) end
  if plan.source == "product" then plan.n = math.ceil(plan.n / 3) * 3 end
  draw_odds(draw, plan, engine, call)
  -- tasks that end their worker cost some milliseconds each, those that hang a time limit
  while count_fate(plan, "hang", "flaky_hang") > 4 or count_fate(plan, "segv", "exit", "abort", "kill", "flaky_exit") > 40 do
    for _, odds in ipairs(plan.odds) do odds[2] = odds[2] / 2 end
  end
  local options = { engine = engine, workers = draw(engine == "async" and 40 or 4), retries = plan.retries, progress = "none" }
  if draw(3) == 1 then options.chunk = draw(80) end
  if draw(4) == 1 then options.backoff = draw(10) / 1000 end
  if count_fate(plan, "hang", "flaky_hang") > 0 then
    options.timeout = 0.4
    plan.timeout = 0.4
  elseif engine ~= "serial" and draw(4) == 1 then
    options.timeout = 60
  end
  if (call:find("^imap") or call == "two streams") then
    if draw(2) == 1 then options.ordered = false end
    if draw(3) == 1 then options.window = draw(40) end
  end
  if (engine == "process" or engine == "mpi") and draw(5) == 1 and call ~= "map, interrupted" and plan.n > 5 then
    plan.murders, plan.special = true, {}
    for _ = 1, draw(2) do plan.special[draw(plan.n)] = "murder" end
  end
  plan.may_repeat = call == "reduce in the workers"
  return { plan = plan, call = call, options = options, engine = engine }
end

--- A drawn round in words.
function M.describe(drawn)
  local plan, options, odds = drawn.plan, drawn.options, {}
  for _, each in ipairs(plan.odds) do odds[#odds + 1] = ("%s %g/10000"):format(each[1], each[2]) end
  local words = {}
  for _, name in ipairs { "workers", "chunk", "retries", "backoff", "timeout", "window", "ordered" } do
    if options[name] ~= nil then words[#words + 1] = name .. " = " .. tostring(options[name]) end
  end
  return ("%s on %s over %d of %s; %s; tasks: %s%s%s"):format(drawn.call, drawn.engine, plan.n, plan.source, table.concat(words, ", "),
    #odds > 0 and table.concat(odds, ", ") or "all return", plan.murders and ", some kill another worker" or "",
    plan.big > 0 and (", one in %d returns up to %d bytes"):format(plan.big, plan.biggest) or "")
end

local function write_lines(plan)
  local file = assert(io.open(plan.lines, "wb"))
  for i = 1, plan.n do file:write("line ", i, "\n") end
  file:close()
end

--- Makes the call and looks at what comes of it: raises what went wrong. Adds to the tally.
function M.make(drawn, setting, tally)
  local plan = drawn.plan
  if plan.source == "lines" then
    plan.lines = setting.directory .. "/lines"
    write_lines(plan)
  end
  ffi.fill(tasks.counts(plan.counts), tasks.MOST_TASKS)
  local outcome = calls[drawn.call](plan, drawn.options, tasks.map_function(plan), sources[plan.source] and sources[plan.source](plan))
  tally.runs, tally.tasks = (tally.runs or 0) + 1, (tally.tasks or 0) + plan.n
  if outcome.unkept then
    outcome.has = {}
    local failed = {}
    for _, each in ipairs(outcome.failures) do failed[each.index] = true end
    if not outcome.partial then
      for i = 1, plan.n do
        outcome.has[i] = not failed[i] or nil
        if not failed[i] then outcome.values[i] = tasks.value(plan, i) end
      end
    end
  end
  check.check(plan, outcome, tally)
  check.check_counts(plan, outcome)
end

--- Starts all workers that the engine will ever be asked for in rounds to come, so that what is held afterwards is what stays.
function M.warm_up(engine, setting)
  for round = 1, 3 do
    local drawn = M.draw(1, round, { engines = { engine }, counts = setting.counts, directory = setting.directory })
    M.make(drawn, setting, {})
  end
  local function task(x)
    host.sleep(0.002)
    return x
  end
  local arguments = parlua.range(50)
  for workers = 1, 4 do
    local options = { engine = engine, workers = workers, chunk = 1, progress = "none" }
    local first, second = parlua.imap(task, arguments, options), parlua.imap(task, arguments, options)
    for _ in first do second() end
    for _ in second do end -- luacheck: ignore 542
  end
  local pool = parlua.pool { engine = engine, workers = 4, chunk = 1 } -- beside those that are kept
  pool:map(task, arguments)
  pool:close()
end

--- Has the workers that M.warm_up has started on the engine, and that stay, give back what they keep for later: garbage, and what LuaJIT
--- has compiled of jobs that are over, which it keeps until there are 1,000 traces.
function M.collect(engine)
  local function task(x)
    jit.flush()
    collectgarbage()
    collectgarbage()
    return x
  end
  for workers = 1, 4 do
    local options = { engine = engine, workers = workers, chunk = 1, progress = "none" }
    local first, second = parlua.imap(task, parlua.range(workers), options), parlua.imap(task, parlua.range(workers), options)
    for _ in first do second() end
    for _ in second do end -- luacheck: ignore 542
  end
end

--- On mpi the message of a large job is kept until its engine's next call: makes one, of a small job, on each engine that
--- M.warm_up has started.
function M.settle()
  local function task(x) return x end
  for workers = 1, 4 do
    local options = { engine = "mpi", workers = workers, progress = "none" }
    local first, second = parlua.imap(task, parlua.range(20), options), parlua.imap(task, parlua.range(20), options)
    for _ in first do second() end
    for _ in second do end -- luacheck: ignore 542
  end
end

return M
