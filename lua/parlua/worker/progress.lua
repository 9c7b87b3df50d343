--- parlua.progress: a long task says how far it is. The coordinator gets it beside the lines of the log, at most some
--- ten times a second.
local host = require "parlua.host"
local task = require "parlua.task"

local M = {}

local INTERVAL = 0.1 -- seconds between two notes of a task

local last_index, next_time = 0, 0

--- How far the running task is: `done` of `total`.
---@param done number
---@param total number
function M.progress(done, total)
  if type(done) ~= "number" or type(total) ~= "number" or not (total > 0) then
    error(("parlua.progress takes two numbers, the second above 0, not %s and %s"):format(
      type(done) == "number" and done or type(done), type(total) == "number" and total or type(total)), 2)
  end
  local send, index = task.progress_send, task.place()
  if not send or not index then return end
  local now = host.now()
  if index == last_index and now < next_time then return end
  last_index, next_time = index, now + INTERVAL
  send(index, math.max(0, math.min(1, done / total)))
end

return M
