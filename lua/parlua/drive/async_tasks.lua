--- Tasks of the async engine: each is a coroutine inside of the one that cqueues makes for it. Here one begins, goes on
--- when what it waits for is there, and ends; drive/async.lua says which, and tells what came of them.
--
-- There are two coroutines so that between them what belongs to the running task (parlua.task, its random numbers) can
-- be changed for another's. What cqueues waits for goes through unchanged; where tasks have a time limit, and once the
-- run is cancelled, a condition is added to it.
local start = require "parlua.wire.start"
local failure = require "parlua.failure"
local host = require "parlua.host"
local own = require "parlua.source.own"
local programs = require "parlua.drive.async_programs"
local task = require "parlua.task"

local M = {}

--- The task's call; named so that failures show no frames below the task's own.
local call_text = [[
local xpcall, capture = ...
local function all(...) return ... end -- else it were a tail call, and this frame not seen
local function call(f, ...) return all(f(...)) end
return function(f, ...) return xpcall(call, capture, f, ...) end]]
local protected = start.compile(call_text, "=parlua.loop")(xpcall, failure.capture)

---@class parlua.AsyncTask
---@field index integer
---@field args table|false with n; false: they are made of the index
---@field attempt integer
---@field context ffi.cdata* what belongs to the running task: see task.lua
---@field condition any of cqueues, to wake it; false
---@field is_over boolean it was given up, or has ended
---@field teller function|false tells the path and line that its argument is from

local function unlink(self, running)
  if running.before then running.before.after = running.after else self.first = running.after end
  if running.after then running.after.before = running.before else self.last = running.before end
  running.before, running.after = false, false
  self.running = self.running - 1
  self.free[#self.free + 1] = running.worker
end

--- The task is over: what it gave is told at the driver's next step.
local function finish(self, running, ok, ...)
  if running.is_over then return end
  running.is_over = true
  unlink(self, running)
  running.seconds = host.now() - running.began
  if ok then
    own.enter(self.own) -- another run may have been made meanwhile
    running.results = own.pack_results(...)
  else
    running.record = failure.record((...))
    running.record.seconds = running.seconds
  end
  self.ready_last = self.ready_last + 1
  self.ready[self.ready_last] = running
end

--- The script's frames of a task that yields to nobody.
local function refuse_yield(self, running, inner)
  finish(self, running, false, failure.mark { kind = "error", traceback = debug.traceback(inner, ""):gsub("^\n", ""),
    message = "attempt to yield from a task to outside of it: a task waits by functions of cqueues" })
end

local run_begun
local create, resume, yield, status = coroutine.create, coroutine.resume, coroutine.yield, coroutine.status

-- No closures are made for a task: tens of thousands may wait, and the collector looks at all that they have.

--- With the option tag: what the running task prints gets its index. Others print while it waits, so a half line of its
--- own is held meanwhile.
local function take_output(self, running)
  self.tags(true, running.half_output, running.half_errors)
  running.half_output, running.half_errors = nil, nil
  running.log_before, task.log_send = task.log_send, task.log_send or self.log_untagged
end

local function leave_output(self, running, is_over)
  task.log_send = running.log_before
  if is_over then return self.tags(false) end
  running.half_output, running.half_errors = self.tags(false, "held")
end

--- The task has yielded, or is over. Returns true and what it waits for; else it does not go on.
local function pass(self, running, before, level, resumed, first, ...)
  local is_over = status(running.inner) == "dead"
  if self.tags then leave_output(self, running, is_over or first ~= self.POLL) end
  self.cell[0], task.source_place, task.wait_for_program = before, self.outer_place, nil
  task.spawn_send, task.spawn_refusal = self.outer_send, self.outer_refusal -- a run that is left is not held
  task.log_level = level
  task.exchange(running.context)
  if is_over then
    if not resumed then return finish(self, running, false, first) end
    return finish(self, running, first, ...)
  end
  if first ~= self.POLL then return refuse_yield(self, running, running.inner) end
  return true, first, ...
end

--- Lets the task go on.
local function go_on(self, running, ...)
  if running.is_over then return end -- it was given up while it waited
  local cell = self.cell
  local before = cell[0]
  task.exchange(running.context)
  cell[0], task.source_place = running.index, running.teller or nil
  self.current, task.wait_for_program = running, self.wait_for_program
  task.spawn_send, task.spawn_refusal = self.spawn_send, self.job.spawn_refusal or nil
  local level = task.log_level
  task.log_level = self.log_level
  if self.tags then take_output(self, running) end
  return pass(self, running, before, level, resume(running.inner, ...))
end

--- Waits for what the task waits for.
local function wait(self, running, ...)
  if not running.has_waited then -- those behind it go on in a coroutine of their own
    running.has_waited, self.runs = true, false
    if self.begun_first <= self.begun_last then
      self.runs = true
      self.queue:wrap(run_begun, self)
    end
  end
  local wake = running.condition
  if not wake then return yield(...) end
  local n = select("#", ...)
  local what, waits = { ... }, false
  for k = 2, n do waits = waits or what[k] ~= nil end -- the first says that cqueues is meant
  if not waits then return yield(...) end -- it lets others have their turn, and goes on by itself
  what[n + 1] = wake
  return yield(unpack(what, 1, n + 1))
end

local function turn(self, running, goes_on, ...)
  if not goes_on then return end
  -- a tail call: a task may wait any number of times
  return turn(self, running, go_on(self, running, wait(self, running, ...)))
end

local function make_arguments(self, index) return own.pack(self.make(index)) end

--- Runs a task in a coroutine inside of the one of cqueues that calls this.
local function attend(self, running)
  running.inner, running.began = create(protected), host.now() -- others may have computed while it waited for its turn
  own.enter(self.own)
  local given = running.args
  if given and given.unread then return finish(self, running, false, failure.mark(given.unread)) end
  local args = given and own.own_all(given)
  if not args then
    local ok, made = pcall(make_arguments, self, running.index)
    if not ok then return finish(self, running, false, made) end
    args = made
  end
  return turn(self, running, go_on(self, running, running.f or self.call, unpack(args, 1, args.n)))
end

--- Runs tasks that have been begun, one after the other in the same coroutine of cqueues, as long as none waits.
function run_begun(self)
  while self.begun_first <= self.begun_last do
    local running = self.begun[self.begun_first]
    self.begun[self.begun_first] = nil
    self.begun_first = self.begun_first + 1
    if not running.is_over then attend(self, running) end
    if running.has_waited then return end
    if host.now() > self.until_then then break end -- signals are looked at, and results given
  end
  self.runs = false
end

--- Begins a task.
function M.begin(self, index, args, attempt, f, teller)
  local number = table.remove(self.free)
  if not number then
    self.slots = self.slots + 1
    number = self.slots
  end
  local running = { index = index, args = args, attempt = attempt, worker = number, began = host.now(), is_over = false,
    condition = self.timeout and self.condition.new() or false, has_waited = false,
    context = task.context(self.cell, number, attempt, self.key),
    f = f or false, teller = teller or false, inner = false, before = self.last, after = false, results = false,
    record = false, seconds = 0, program = false }
  if self.last then self.last.after = running else self.first = running end
  self.last = running
  self.running = self.running + 1
  self.begun_last = self.begun_last + 1
  self.begun[self.begun_last] = running
end

--- A task that runs is given up. Its coroutine is left alone, and collected.
function M.give_up(self, running)
  running.is_over = true
  unlink(self, running)
  running.seconds = host.now() - running.began
  if running.half_output or running.half_errors then
    take_output(self, running)
    leave_output(self, running, true)
  end
  if running.program then running.written = programs.kill(self.cqueues, running) end
  if running.condition then running.condition:signal() end
end

M.run_begun = run_begun

return M
