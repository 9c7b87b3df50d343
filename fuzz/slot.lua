-- The calls that fuzz/slot.c makes on an engine whose workers are played by the fuzzer, and what must hold whatever these do: a call returns
-- or raises a message, and what it returns tells of tasks that exist, each at most once.

local codec = require "parlua.codec"
local parlua = require "parlua"

local workers = 2

local function check(right, message) if not right then error({ violation = message }, 0) end end

local function check_failures(failures, n)
  local seen = {}
  for _, failed in ipairs(failures) do
    check(failed.index >= 1 and failed.index <= n and failed.index % 1 == 0, "a failure of task " .. tostring(failed.index))
    check(not seen[failed.index], "two failures of task " .. failed.index)
    check(type(failed.kind) == "string" and type(failed.message) == "string", "a failure without kind or message")
    seen[failed.index] = true
  end
  return seen
end

local function f(x) return x end

local function add(a, b) return type(b) == "number" and a + b or a end

local function list(n)
  local values = {}
  for i = 1, n do values[i] = i % 2 == 0 and { i } or ("text"):rep(i) end
  return values
end

local calls = {
  function(arguments, n, options)
    local results, failures, summary = parlua.map(f, arguments, options)
    local failed = check_failures(failures, n)
    for i = 1, n do check(not (failed[i] and results[i] ~= nil), "a result and a failure of task " .. i) end
    check(summary.tasks <= n, "more tasks than there are")
  end,
  function(arguments, n, options)
    local last, iterator, stream = 0, parlua.imap(f, arguments, options)
    for i in iterator do
      check(i > last and i <= n, "task " .. i .. " behind task " .. last)
      last = i
    end
    check_failures(stream.failures, n)
  end,
  function(arguments, n, options)
    options.ordered = false
    local iterator, stream = parlua.imap(f, arguments, options)
    for i in iterator do check(i >= 1 and i <= n, "task " .. i) end
    check_failures(stream.failures, n)
  end,
  function(arguments, n, options) check_failures(parlua.each(f, arguments, options), n) end,
  function(arguments, n, options)
    local _, failures = parlua.reduce(f, arguments, { init = 0, step = add }, options)
    check_failures(failures, n)
  end,
  function(arguments, n, options)
    local _, failures = parlua.reduce(f, arguments, { init = 0, step = add, merge = add }, options)
    check_failures(failures, n)
  end,
  function(arguments, n, options)
    local index, _, failures = parlua.find(f, arguments, options)
    check(index == nil or index >= 1 and index <= n and index % 1 == 0, "found task " .. tostring(index))
    check_failures(failures, n)
  end,
  function(arguments, n, options)
    options.on_error = "halt"
    local _, failures = parlua.map(f, arguments, options)
    check_failures(failures, n)
  end,
}

--- Makes the call that the numbers choose. Returns nil, or what is wrong.
local function call(kind, size, how)
  local n = size % 40 + 1
  local options = { engine = "process", workers = workers, progress = "none", retries = how % 2 }
  if how % 8 >= 4 then options.chunk = size % 16 + 1 end
  if how % 32 >= 16 then options.timeout = 5 end
  local arguments = how % 4 >= 2 and list(n) or parlua.range(n)
  local ok, problem = pcall(calls[kind % #calls + 1], arguments, n, options)
  if ok then return nil end
  if type(problem) == "table" and problem.violation then return problem.violation end
  if type(problem) == "table" and problem.index then return nil end -- the failure of a halted run
  if type(problem) ~= "string" then return "raised a " .. type(problem) end
end

--- Messages that the fuzzer's workers may send as they stand: results of all kinds.
local messages = {
  codec.encode({ 1, 2, { "x" } }), codec.encode(1, "two", { 3 }), codec.encode(("long"):rep(50)),
  codec.encode({ kind = "error", message = "raised", value = 1, seconds = 0.5, traceback = "stack traceback:\n\tx" }),
  codec.encode({ kind = "unsendable", message = "cannot send" }),
}

return call, unpack(messages)
