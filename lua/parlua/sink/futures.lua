--- The sink of a pool's submitted calls: each outcome becomes that of its future.
local common = require "parlua.common"

local Futures = { keep = "all", limit = math.huge, is_enough = false }
Futures.__index = Futures

---@class parlua.Futures
---@field waiting table<integer, parlua.Future> those that have not ended, by the number of their call
---@field submitted integer
local function open() return setmetatable({ waiting = {}, submitted = 0, run = false }, Futures) end

function Futures:begin(run) self.run = run end

--- No task is handed out before it is there.
function Futures:ahead() return self.submitted end

local function take_future(self, index)
  local future = self.waiting[index]
  self.waiting[index] = nil
  return future
end

function Futures:take(batch)
  local values = batch.numbers or batch.values
  for j = 0, batch.n - 1 do
    local future = take_future(self, batch.first + j)
    if future then
      future.values, future.done = batch.several and batch.several[j] or common.pack(values[j]), true
    end
  end
end

function Futures:fail(failure)
  local future, failures = take_future(self, failure.index), self.run.failures
  failures[#failures] = nil -- it is the future's
  if not future then return end
  failure.args = future.args
  future.failure, future.done = failure, true
end

return { open = open }
