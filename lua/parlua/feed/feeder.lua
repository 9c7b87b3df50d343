--- Pulls the tasks of a source that the coordinator supplies, and hands them to dispatch (or to serial) as they are
--- wanted.
local ffi = require "ffi"
local failure = require "parlua.failure"
local task = require "parlua.task"
local writer_module = require "parlua.feed.writer"
require "parlua.wire.header" "lua/ffi_script.h"

---@class parlua.Feeder
---@field puller table see feed/supply.lua
---@field supplied integer|false tasks (or blocks of tasks) so far; false: none was asked for
local C = ffi.C

local Feeder = {}
Feeder.__index = Feeder

--- A feeder for what a puller gives. `attach` comes before the first task.
---@param passed? fun(receiver, first: integer, tasks: table[]) takes tasks that a journal has
function Feeder.open(puller, passed)
  return setmetatable({ puller = puller, writer = false, handle = false, passed = passed or false, supplied = false },
    Feeder)
end

--- Says where the tasks go: the handle of a run.
---@param chain? table what values may refer to (wire/context.lua)
---@param shares? boolean workers have this process's memory
function Feeder:attach(handle, chain, shares)
  self.handle = handle
  self.writer = not self.puller.text and not self.puller.is_ranges and handle.writer and handle:writer()
    or writer_module.open(handle, chain, shares)
  self.writer.by_shape = chain and not chain.is_distant -- ranks cut blocks into small pieces: each word for itself
end

--- Asks the source for tasks and writes them; returns how many. Tasks that a source gave before it raised are tasks
--- like any other.
local function pull(self, receiver, want)
  if self.raised or self.is_interrupted then return 0 end
  local puller = self.puller
  self.writer:begin(0)
  local may_wait = not puller.text and not puller.items and not task.is_inside() -- a list makes nobody wait
  if may_wait then C.signals_break(1) end
  local ok, result = xpcall(puller.fill, failure.capture, puller, self.writer, want)
  if may_wait then C.signals_break(0) end
  if ok then return result end
  if may_wait and receiver:is_interrupted() then -- a signal ended what the source waited for
    self.is_interrupted = true
    return puller.pulled or 0
  end
  local record, count = failure.record(result), puller.pulled or 0
  record.traceback = record.traceback and failure.script_frames(record.traceback)
  local is_own = puller.text or puller.is_ranges -- no code of the script's has run
  if not is_own then record.message = "arguments: " .. record.message end
  if not self.supplied and count == 0 and not puller.passed then
    local traceback = record.traceback and not is_own and "\n" .. record.traceback or ""
    error(record.message .. traceback, 0)
  end
  self.raised = record
  return count
end

--- Would the source make us wait, and longer than that? Of a pipe that is known.
---@param milliseconds integer
function Feeder:is_late(milliseconds)
  local stream = self.puller.stream or self.puller.waits_for
  return stream and not self.puller.raised and not stream:is_ready(milliseconds) or false
end

--- About `want` tasks are wanted.
---@param event? ffi.cdata* struct event: says whether workers wait, and whether the last tasks are wanted
function Feeder:supply(_, receiver, want, event)
  local puller, handle = self.puller, self.handle
  if event then
    self.writer:hurry(event)
    if event.last > 0 and puller.turn then puller:turn(event.last) end
  end
  if puller.passed then puller.passed = nil end -- a nil in a new field would take room, too
  local count = pull(self, receiver, want)
  if puller.refused then error(puller.refused, 0) end
  local passed = puller.passed
  if passed then -- what else was pulled comes the next time
    local first = (self.supplied or 0) + 1
    self.supplied = first + #passed - 1
    handle:skip(first, self.supplied)
    self.passed(receiver, first, passed)
    return
  end
  if count > 0 then
    self.writer:finish(count)
    if self.writer.hold then
      local is_last = event and event.last > 0
      self.writer:hold(is_last and event.last - count + 1 or (self.supplied or 0) + 1, count)
    end
    self.supplied = (self.supplied or 0) + count
    handle:supply(count)
    if not puller.n or puller.at < puller.n then return end -- of a list it is known now that nothing follows
  end
  handle:exhausted()
  if self.is_interrupted then return end
  self.supplied = self.supplied or 0
  receiver:counted(puller.tasks or self.supplied)
  if self.raised then
    receiver:source_failed(self.raised)
  end
end

--- Nothing more is wanted: lets go of what the source has open.
function Feeder:close()
  if self.puller.close then self.puller:close() end
end

return Feeder
