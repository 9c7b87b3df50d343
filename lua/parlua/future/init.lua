--- Futures: what a submitted call will have returned. Here stands what they are to a script: asking, waiting, chains of
--- them; parlua.pool hands the calls out.
--
-- Of a pool this needs: resolved (its options), is_inside, is_serial, outstanding (calls that have not ended), and
-- verbs: step(pool, target, seconds), drain(pool, future), begin(pool, future), abort(pool, future). What is waited for
-- (a target) has is_done; and is_patient where it is no call in particular: results may then come some milliseconds
-- later, and cost less.
-- Functions of the script (on_done) and calls whose arguments are there are never run amid a step of a run: they wait
-- in `due` until it is over.
local common = require "parlua.common"
local failure = require "parlua.failure"
local host = require "parlua.host"
local content_module = require "parlua.future.content"
local lazy = require "parlua.lazy"
local task = require "parlua.task"
local unseen = require "parlua.future.unseen"
local reaction = lazy "parlua.run.reaction"
local report = lazy "parlua.report"
local value_module = lazy "parlua.value"
local warning = lazy "parlua.run.warning"

local M = {}

---@class parlua.Future
---@field failure? parlua.Failure of a call that has ended without returning
local Future = { __is_bound = true, is_future = true, is_patient = false } -- see src/lua/codec/walk.c
M.Future = Future

local active = {} -- pools with calls that have not ended: others may be collected
M.active = active

local sequence = 0 -- calls that have ended: in which order they did

local due = { first = 1, last = 0 } -- functions to be called when no run is amid a step

local function add_due(f, argument)
  due.last = due.last + 1
  due[due.last] = { f, argument }
end

--- Calls what waits for the end of a step.
local function run_due()
  while due.first <= due.last do
    local entry = due[due.first]
    due[due.first] = nil
    due.first = due.first + 1
    entry[1](entry[2])
  end
end
M.run_due = run_due

--- Is something waiting for the end of a step?
function M.has_due() return due.first <= due.last end

-- ---- what becomes of a call ----

--- A future of a pool. There may be very many, so it has few fields; `record` and what few need come later.
---@param pool parlua.Pool
---@param index integer its number in the pool
---@param args table|false its arguments, with n; false: it has none
---@param place string where it was submitted
---@return parlua.Future
function M.new(pool, index, args, place)
  pool.outstanding = pool.outstanding + 1
  active[pool] = true
  -- is_done: false, or how many calls had ended when it had; content: first by what its results are read, then these
  return setmetatable({ pool = pool, index = index, args = args, place = place, is_done = false, task = false,
    content = nil, watchers = false }, Future)
end

--- The call goes to another pool.
function M.move(self, pool)
  local from = self.pool
  from.outstanding = from.outstanding - 1
  if from.outstanding == 0 then active[from] = nil end
  pool.outstanding, self.pool = pool.outstanding + 1, pool
  active[pool] = true
end

--- The call has ended. `content`: what it returned, see M.several; or `record`: its failure, and `raised`: what the
--- pool's on_error has raised for it, as { value }.
function M.settle(self, content, record, raised)
  if self.is_done then return end
  sequence = sequence + 1
  self.is_done, self.content = sequence, content
  local pool, watchers = self.pool, self.watchers
  pool.outstanding = pool.outstanding - 1
  if pool.outstanding == 0 then active[pool] = nil end
  if record then
    self.record, self.raised = record, raised
    unseen.keep_watch(self)
  end
  if not watchers then return end
  self.watchers = false
  if watchers.note then return watchers:note(self) end
  for _, watcher in ipairs(watchers) do watcher:note(self) end
end

--- Has watcher:note(future) called once the call has ended; amid a step, so it is not to run anything of the script's.
local function watch(future, watcher)
  if future.is_done then return watcher:note(future) end
  local watchers = future.watchers
  if not watchers then
    future.watchers = watcher
  elseif watchers.note then
    future.watchers = { watchers, watcher }
  else
    watchers[#watchers + 1] = watcher
  end
end

local function new_failure(future, kind, message)
  return failure.new { index = future.index, args = future.args or { n = 0 }, kind = kind, message = message,
    place = future.place, attempts = 0, worker = 0, host = host.hostname(), seconds = 0 }
end

--- The call has ended without having run.
---@param kind string of the failure
function M.fail(self, kind, message)
  local made, on_error = new_failure(self, kind, message), self.pool.resolved.on_error
  if kind == "cancelled" or type(on_error) ~= "function" then return M.settle(self, nil, made) end
  local results, raised = reaction.ask(on_error, made)
  if results then return M.settle(self, content_module.several(results)) end
  M.settle(self, nil, made, raised)
end

--- It could not be submitted: nothing is told of it.
function M.withdraw(self)
  local pool = self.pool
  self.is_seen, self.is_done = true, sequence
  pool.outstanding = pool.outstanding - 1
  if pool.outstanding == 0 then active[pool] = nil end
end

--- The call is cancelled: so says its failure.
function M.settle_cancelled(future, message) M.fail(future, "cancelled", message) end

-- ---- futures as arguments ----

--- Of a chain of calls that failed, each by its argument, a message names the first two and the last.
local MOST_NAMED = 2

--- Why a call can't begin whose argument `k` has failed. `cause`, of the call: where the chain began, and how many
--- calls ago.
---@return string message
---@return {calls: integer, text: string} cause
local function trouble_of(k, argument)
  local record, before = argument.record, rawget(argument, "cause")
  local name = ("the call submitted at %s, %s: "):format(argument.place,
    record.kind == "cancelled" and "was cancelled" or "failed")
  local cause = before and { calls = before.calls + 1, text = before.text }
    or { calls = 1, text = name .. record.message }
  local why = record.message
  if cause.calls > MOST_NAMED then
    why = ("%d calls before it, %s"):format(cause.calls - 1, cause.text)
  end
  return ("argument %d, %s%s"):format(k, name, why), cause
end

--- All futures among the arguments have ended: the call begins with what they returned.
local function begin_held(future)
  if future.is_done then return end
  local args = future.args
  local given, trouble, kind, cause = { n = args.n }, nil, "error", nil
  for k = 1, args.n do
    local value = args[k]
    if not M.is(value) then
      given[k] = value
    elseif rawget(value, "record") then
      unseen.see(value) -- this call tells of it
      if not trouble then
        kind = value.record.kind == "cancelled" and "cancelled" or "error"
        trouble, cause = trouble_of(k, value)
      end
    else
      given[k] = content_module.first_of(value)
    end
  end
  if trouble then
    future.pool.held[future] = nil
    future.cause = cause
    return M.fail(future, kind, trouble)
  end
  future.pool.verbs.begin(future.pool, future, given)
end

local Argument = {}
Argument.__index = Argument

function Argument:note()
  self.missing = self.missing - 1
  if self.missing == 0 then add_due(begin_held, self.future) end
end

--- Waits for the futures among the arguments, of which there is one at least.
function M.hold(future)
  local args, argument = future.args, setmetatable({ future = future, missing = 0 }, Argument)
  for k = 1, args.n do
    if M.is(args[k]) then
      if args[k].pool.is_inside ~= future.pool.is_inside then
        error(("submit: argument %d is a future of the script that a task has a copy of; give the task what the call "
          .. "has returned, future:get()"):format(k), 0)
      end
      argument.missing = argument.missing + 1
    end
  end
  for k = 1, args.n do
    if M.is(args[k]) then watch(args[k], argument) end
  end
end

local is = common.is_future
M.is = is

--- Is a future among these n values?
function M.is_among(n, a, b, c, ...)
  if type(a) == "table" and is(a) or type(b) == "table" and is(b)
    or type(c) == "table" and is(c) then
    return true
  end
  return n > 3 and M.is_among(n - 3, ...)
end

-- ---- waiting ----

--- A wait in a script that has pools of several engines: none of them is to stand still for long.
local slice_seconds = 0.002

--- Lets pools with calls that have not ended go on, at most for `seconds`. Returns false when no call is left that
--- could end.
local function step_pools(target, seconds)
  local pool = next(active)
  if not pool then return false end
  if not next(active, pool) then return pool.verbs.step(pool, target, seconds) end
  local pools = {}
  for each in pairs(active) do pools[#pools + 1] = each end
  for _, each in ipairs(pools) do
    each.verbs.step(each, target, math.min(seconds or slice_seconds, slice_seconds / #pools))
    if target.is_done then break end
  end
  return true
end

--- Lets calls go on until target.is_done, at most `seconds`. Returns whether it is. A loop that mostly has one round is
--- written with `for` where it is to be compiled with what calls it: LuaJIT ends a trace where a `while` is entered.
local function advance(target, seconds)
  local deadline = seconds and host.now() + seconds
  run_due()
  for _ = 1, math.huge do
    if target.is_done then break end
    local left = deadline and math.max(0, deadline - host.now())
    local goes_on = step_pools(target, left)
    run_due()
    if target.is_done then break end
    if (not goes_on and not next(active)) or left == 0 then break end
  end
  return target.is_done
end

--- Takes what has ended, without waiting.
local function look(future)
  run_due()
  for pool in pairs(active) do pool.verbs.drain(pool, future) end
  run_due()
  return future.is_done and true or false
end

--- Raises an error in a task that uses a future of the script: a forked worker has a copy of it.
local function check_owner(future, what, level)
  if task.is_inside() == future.pool.is_inside then return end
  error(("%s: this belongs to the script that opened the pool, and a task cannot use it: submit in the task, which "
    .. "runs the call there, or give the task the result as an argument"):format(what), level or 3)
end

local function check_seconds(what, seconds, level)
  if seconds ~= nil and (type(seconds) ~= "number" or not (seconds >= 0)) then
    error(("%s: seconds must be a number of at least 0, got %s"):format(what, tostring(seconds)), level or 3)
  end
end

--- Fields of a future: its methods; and `failure`, which looks whether the call has ended.
function Future.__index(self, name)
  if name ~= "failure" then return Future[name] end
  if not self.is_done and task.is_inside() == self.pool.is_inside then look(self) end
  local record = rawget(self, "record")
  if record then unseen.see(self) end
  return record
end

local function check_self(self, what)
  if getmetatable(self) == Future then return end
  common.refuse_self(what, "future", self, 3)
end

--- What it is and what has become of it, for people: whoever reads it has seen its failure.
function Future:__tostring()
  local what = "has not ended"
  local record = rawget(self, "record")
  if record then
    unseen.see(self)
    what = ("failed (%s): %s"):format(record.kind, common.one_line(record.message))
  elseif self.is_done then
    local results = content_module.results(self)
    local values = {}
    for k = 1, results.n do values[k] = value_module.format(results[k], { depth = 2, length = 6, bytes = 60 }) end
    what = results.n == 0 and "returned nothing" or "returned " .. table.concat(values, ", ")
  end
  return ("future: the call submitted at %s %s"):format(self.place, what)
end

--- Waits until the call has ended, at most `seconds`. Returns whether it has.
---@param seconds? number default: as long as it takes; 0: only looks
---@return boolean
function Future:wait(seconds)
  check_self(self, "wait")
  check_seconds("wait", seconds)
  if self.is_done then return true end
  check_owner(self, "wait")
  if seconds == 0 then return look(self) end
  return advance(self, seconds) and true or false
end

--- Has the call ended? Does not wait.
---@return boolean
function Future:done()
  check_self(self, "done")
  if self.is_done then return true end
  check_owner(self, "done")
  return look(self)
end

--- Waits for the call and returns all that it returned; raises its failure (a table, see failures) when it failed, or
--- what the pool's on_error has raised for it.
--- Raises an error when it has not ended within `seconds`; the call goes on.
---@param seconds? number default: as long as it takes
---@return any ...
function Future:get(seconds)
  check_self(self, "get")
  check_seconds("get", seconds)
  if not self.is_done then check_owner(self, "get") end
  if not self:wait(seconds) then
    error(("get: the call submitted at %s has not ended within %g s"):format(self.place, seconds or 0), 2)
  end
  local record = rawget(self, "record")
  if record then
    local raised = self.raised
    unseen.see(self, true)
    if raised then error(raised.value, 0) end
    error(record, 0)
  end
  local content = self.content
  if content_module.is_several(content) then return unpack(content, 1, content.n) end
  return content
end

--- Cancels the call: it is not begun, or, on an engine that can, ended while it runs. Returns false when it has ended
--- already, or can't be stopped any more (a running thread).
---@return boolean
function Future:cancel()
  check_self(self, "cancel")
  if self.is_done then return false end
  check_owner(self, "cancel")
  local pool = self.pool
  if not pool.is_serial and look(self) or not pool.verbs.abort(pool, self) then return false end
  M.settle_cancelled(self, "the call was cancelled")
  run_due()
  return true
end

local Callback = {}
Callback.__index = Callback

local function call_back(callback)
  local ok, message = pcall(callback.f, callback.future)
  if ok then return end
  message = type(message) == "string" and message or value_module.format(message)
  report.print("stderr", ("parlua: on_done at %s: %s\n"):format(callback.place, common.one_line(message)))
end

function Callback:note() add_due(call_back, self) end

--- Has f(future) called in the script once the call has ended: when the script next submits, asks or waits, or as it
--- ends; at once if it has ended. An error in f is told on standard error. Example: `future:on_done(function(f)
--- print(f.failure or f:get()) end)`
---@param f fun(future: parlua.Future)
---@return parlua.Future self
function Future:on_done(f)
  check_self(self, "on_done")
  if not common.is_callable(f) then error(("on_done: a function is expected, got %s"):format(type(f)), 2) end
  check_owner(self, "on_done")
  watch(self, setmetatable({ f = f, future = self, place = warning.place() }, Callback))
  run_due()
  return self
end

-- ---- the program's end ----

local Rest = { is_done = false, is_patient = true }

local waits_at_end = true

--- The program's end waits for no call: what still runs then ends with it.
function M.end_with_program() waits_at_end = false end

local silent_seconds = 5 -- that the program's end waits before it says what for

local function tell_of_wait()
  local calls = 0
  for pool in pairs(active) do calls = calls + pool.outstanding end
  report.print("stderr", ("parlua: the script is over; waiting for %d submitted %s to end (Ctrl-C ends %s)\n"):format(
    calls, calls == 1 and "call" or "calls", calls == 1 and "it" or "them"))
end

--- The program ends: calls that nobody waits for run to their end, unless Ctrl-C has ended the script. Returns whether
--- an on_error has raised what nobody has got.
---@return boolean has_raised
function M.finish(is_interrupted)
  if waits_at_end and not is_interrupted and not task.is_inside() then
    advance(Rest, silent_seconds)
    if next(active) then
      tell_of_wait()
      advance(Rest)
    end
  end
  unseen.tell_all()
  return unseen.has_raised()
end

M.watch, M.advance, M.check_owner, M.check_seconds = watch, advance, check_owner, check_seconds

return M
