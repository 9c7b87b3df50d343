--- imap: results as they come, in order or not. The run goes on only while the loop asks for more: workers are held
--- back when the loop is slow.
local common = require "parlua.common"
local run_module = require "parlua.run"
local context = require "parlua.wire.context"
local order = require "parlua.sink.order"
local task = require "parlua.task"
local new_table = require "table.new"

local M = {}

local is_inside = task.is_inside

-- Tasks that may be handed out beyond what was taken, when the caller does not say: a few milliseconds of the smallest
-- tasks.
local MOST_AHEAD = 200000

---@class parlua.Stream
---@field failures parlua.Failure[] so far
local Stream = { name = "imap", takes_spawned = true, keep = "all", limit = math.huge, is_enough = false,
  takes_pairs = true }
Stream.__index = Stream
Stream.is_stream = true

-- Not closures of their stream, nor is its iterator: a trace that has called a closure keeps it, and then the stream
-- would never be collected.

--- Results that are ready for the loop: copies, since a batch is to be read at once.
local Ready = { is_enough = false }
Ready.__index = Ready

function Ready:take(batch)
  local values, n = batch.values, batch.n
  if batch.numbers then
    local numbers = batch.numbers
    values = new_table(n, 0)
    for j = 0, n - 1 do values[j] = numbers[j] end
  end
  self.last = self.last + 1
  self[self.last] = { first = batch.first, n = n, at = 0, values = values, several = batch.several,
    second = batch.second }
  self.tasks = self.tasks + n
end

function Ready:fail() self.tasks = self.tasks + 1 end

--- Takes the next batch; nil: there is none yet.
function Ready:next()
  if self.first > self.last then return nil end
  local batch = self[self.first]
  self[self.first] = nil
  self.first = self.first + 1
  return batch
end

function Stream:begin(run)
  self.run, self.failures = run, run.failures
  self.is_unordered = run.options.ordered == false
  run:keep_place()
  if run.options.ordered ~= false then
    self.order = order.open(self.ready, run, MOST_AHEAD)
  end
end

function Stream:take(batch) (self.order or self.ready):take(batch) end

function Stream:fail(failure) (self.order or self.ready):fail(failure) end

--- The run goes on when the loop has taken all that was ready: what was handed on is what was taken.
function Stream:ahead()
  if self.order then return self.order:ahead() end
  return self.ready.tasks + (self.run.options.window or MOST_AHEAD)
end

--- Ends the run of a loop over results in their order that may have been left: what lies behind the last one that it
--- took does not count.
local function leave(stream)
  local run, batch = stream.run, stream.batch
  local is_left = stream.order and not stream.over and not run.closed
  run:close()
  if is_left then
    run.last = math.min(run.last, batch and batch.first + batch.at - 1 or 0)
    run:sorted_failures()
  end
  run:tell()
end

--- Opens a stream of f's results over the arguments.
---@param given? table see parlua.run
---@return parlua.Stream
function M.open(f, arguments, options, given)
  local stream = setmetatable({
    run = false, order = false, ready = setmetatable({ first = 1, last = 0, tasks = 0 }, Ready), batch = false,
      failures = false, is_inside = is_inside(),
  }, Stream)
  run_module.open(f, arguments, options, stream, given)
  -- a loop that is left early forgets its stream: workers and terminal are given back when that is collected
  stream.guard = common.when_collected(function() context.aside(function() leave(stream) end) end)
  return stream
end

--- Lets the run go on. Meanwhile the script is in the call; in the body of its loop it is not.
local function step(stream)
  local run = stream.run
  run:resume()
  local more = run:step()
  run:pause(true)
  return more
end

--- The batch whose turn it is, waiting for it; nil: the run is over.
local function next_batch(stream)
  stream.batch = false
  while true do
    local batch = stream.ready:next()
    if batch then
      stream.batch = batch
      local reporter = stream.run.report
      if reporter then reporter:hide() end -- the loop's body may print
      return batch
    end
    if stream.over then return nil end
    if not step(stream) then
      stream.over = true
      if stream.order then stream.order:flush() end
    end
  end
end

--- A task must not take from a stream of the script: a forked worker has a copy of it, and both would take the same
--- items.
local function check_owner(stream)
  if is_inside() == stream.is_inside then return end
  error("imap: this stream belongs to the script that opened it, and a task cannot take from it: give the task its "
    .. "items as arguments, "
    .. "or open a stream in the task", 0)
end

local function check_self(self, what)
  if getmetatable(self) ~= Stream then common.refuse_self(what, "stream", self, 3) end
end

--- Ends the run, whatever its state; safe to call twice. The loop ends too, also before results that are there.
function Stream:close()
  check_self(self, "close")
  check_owner(self)
  leave(self)
  self.batch = false
end

--- The index of the task that has spawned task `index`; nil: it is one of the source's.
---@return integer?
function Stream:parent(index)
  check_self(self, "parent")
  return self.run.spawned and self.run.spawned.parents[index] or nil
end

---@return parlua.Summary
function Stream:summary()
  check_self(self, "summary")
  return self.run:summary()
end

--- Closes a stream that came to its end; raises what the run raises.
local function finish(stream)
  stream:close()
  stream.run:outcome()
  return nil
end

local function guard(stream, ok, ...)
  if ok then return ... end
  stream.over = true
  stream:close()
  error((...), 0)
end

local function step_iterator(stream)
  if stream.run.closed then return nil end
  local batch = stream.batch
  if not batch or batch.at >= batch.n then batch = next_batch(stream) end
  if not batch then return finish(stream) end
  local j = batch.at
  batch.at = j + 1
  local several = batch.several and batch.several[j]
  if several then return batch.first + j, unpack(several, 1, several.n) end
  if batch.second then return batch.first + j, batch.values[j], batch.second[j] end
  return batch.first + j, batch.values[j]
end

--- A stream is its own iterator: the next task's index and results. The common case goes without a protected call.
function Stream.__call(stream)
  local batch = stream.batch
  if batch and batch.at < batch.n and not batch.several and is_inside() == stream.is_inside then
    local j = batch.at
    batch.at = j + 1
    local second = batch.second
    if second then return batch.first + j, batch.values[j], second[j] end
    return batch.first + j, batch.values[j]
  end
  check_owner(stream)
  return guard(stream, pcall(step_iterator, stream))
end

function M.imap(f, arguments, options, given)
  local stream = M.open(f, arguments, options, given)
  stream.run:pause(true)
  return stream, stream
end

return M
