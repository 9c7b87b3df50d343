--- parlua.spawn: a task hands a new one to the run that it is in. The call is told at once, and counts when the task
--- has returned: of a task that fails, or is tried again, what it has spawned until then is forgotten
--- (run/spawned.lua).
local ffi = require "ffi"
local codec = require "parlua.codec"
local common = require "parlua.common"
local context = require "parlua.wire.context"
local task = require "parlua.task"

local C = ffi.C

local M = {}

local CALLS = 0 -- the stream of what tasks spawn
local number = ffi.new("double[1]")

--- The map function of a task that was spawned.
---@param key string of its random numbers
---@param root integer the task of the source that it descends from
---@param depth integer how many have spawned one another from there to it
function M.run(key, root, depth, f, ...)
  task.set_spawned(key, root, depth)
  return f(...)
end

--- In a worker: what sends a call to the coordinator.
---@param handle ffi.cdata* struct worker *
function M.sender(handle, shares)
  return function(...)
    context.use(context.base, shares)
    local bytes, message = codec.encode(...)
    if not bytes then error(("spawn: %s"):format(message), 3) end
    number[0] = #bytes
    local frame = ffi.string(number, 8) .. bytes
    C.worker_print(handle, CALLS, frame, #frame)
  end
end

--- Hands the call f(...) to the run that the running task is in, as a new task: its result arrives in the same stream.
--- It begins when this one has returned.
---@param f function
function M.spawn(f, ...)
  local index = task.place()
  if not index or not task.spawn_send then
    error("spawn: no task runs here: only a task of map, starmap, each, imap or reduce can hand a new one to its run",
      2)
  end
  if task.spawn_refusal then error("spawn: " .. task.spawn_refusal, 2) end
  if not common.is_callable(f) then error(("spawn: a function is expected, got %s"):format(type(f)), 2) end
  for k = 1, select("#", ...) do
    if common.is_future((select(k, ...))) then
      error(("spawn: argument %d is a future: give the task what its call returns, future:get()"):format(k), 2)
    end
  end
  local key = task.call_key(nil, 0)
  task.spawn_send(index, key, task.root(), task.depth() + 1, common.as_function(f), ...)
end

return M
