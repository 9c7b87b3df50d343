--- Graphs of futures: calls of which each may need what earlier ones have returned. Some fail, some are cancelled; what
--- needs them must fail and name the call, what does not must have its value.
local parlua = require "parlua"
local check = require "check"
local tasks = require "tasks"

local M = {}

local hash, wrong = tasks.hash, check.wrong

local MOST_CALLS, MOST_NEEDED = 60, 3
local MODULUS = 1e6

--- The earlier calls that call i needs: none for one in four.
local function needs(plan, i)
  local list = {}
  if hash(plan.seed, i, 15) % 4 == 0 then return list end
  for k = 1, math.min(i - 1, hash(plan.seed, i, 16) % (MOST_NEEDED + 1)) do
    list[k] = hash(plan.seed, i, 16 + k) % (i - 1) + 1
  end
  return list
end

--- What call i returns where those that it needs have returned these.
local function value_of(plan, i, ...)
  local sum = hash(plan.seed, i, 20)
  for k = 1, select("#", ...) do sum = sum + k * select(k, ...) end
  return sum % MODULUS
end

--- The failure of a call that needs one which has failed. It has not begun.
local function check_follower(plan, i, failed, missing, place)
  if failed.kind ~= "error" then wrong("call %d needs a call that failed, but ended as %s", i, failed.kind) end
  local begins = ("argument %d, the call submitted at %s, failed: "):format(missing + 1, place)
  if failed.message:sub(1, #begins) ~= begins then
    wrong("call %d says %q, not %q", i, failed.message, begins)
  end
  if tasks.counts(plan.counts)[i] > 0 then wrong("call %d has begun, though a call that it needs failed", i) end
end

--- Submits all calls of the graph, to two pools in turn. Some are cancelled at once.
local function submit(plan, pools, seen)
  local run, futures = tasks.run, {}
  local function f(i, ...)
    run(plan, i, parlua.task.attempt, i)
    return value_of(plan, i, ...)
  end
  for i = 1, plan.n do
    local arguments = needs(plan, i)
    for k, needed in ipairs(arguments) do arguments[k] = futures[needed] end
    futures[i] = pools[hash(plan.seed, i, 21) % #pools + 1]:submit(f, i, unpack(arguments))
    futures[i]:on_done(function() seen[i] = (seen[i] or 0) + 1 end)
    if hash(plan.seed, i, 22) % 20 == 0 then futures[i]:cancel() end
  end
  return futures
end

--- Waits for them in one of several ways.
local function wait(plan, futures)
  local how = plan.seed % 3
  if how == 0 then
    local ended = {}
    for _, k in parlua.as_completed(futures) do
      if ended[k] then wrong("call %d came twice", k) end
      for _, needed in ipairs(needs(plan, k)) do
        if not ended[needed] and not futures[k].failure then wrong("call %d came before call %d", k, needed) end
      end
      ended[k] = true
    end
  elseif how == 1 then
    parlua.wait(futures)
  else
    for k = #futures, 1, -1 do futures[k]:wait() end
  end
end

--- The call of a soak: see calls.lua.
function M.call(plan, options)
  plan.source, plan.n = "call", math.min(plan.n, MOST_CALLS)
  local given = { engine = options.engine, workers = options.workers, retries = options.retries,
    backoff = options.backoff, timeout = options.timeout }
  local pools, seen = { parlua.pool(given), parlua.pool(given) }, {}
  local futures = submit(plan, pools, seen)
  wait(plan, futures)
  local outcome = { values = {}, expected = {}, has = {}, failures = {}, partial = true }
  for i, future in ipairs(futures) do
    if not future:done() then wrong("call %d has not ended", i) end
    if seen[i] ~= 1 then wrong("the function of call %d was called %d times", i, seen[i] or 0) end
    local failed, missing, values = future.failure, nil, {}
    for k, needed in ipairs(needs(plan, i)) do
      values[k] = outcome.expected[needed]
      if not missing and not outcome.has[needed] then missing = k end
    end
    if failed and failed.kind ~= "cancelled" and missing then
      check_follower(plan, i, failed, missing, futures[needs(plan, i)[missing]].place)
    elseif failed then
      local record = {}
      for name, value in pairs(failed) do record[name] = value end
      record.index = i
      outcome.failures[#outcome.failures + 1] = record
    elseif missing then
      wrong("call %d returned, though a call that it needs failed", i)
    else
      outcome.has[i], outcome.values[i] = true, future:get()
      outcome.expected[i] = value_of(plan, i, unpack(values))
    end
  end
  for _, pool in ipairs(pools) do pool:close() end
  return outcome
end

return M
