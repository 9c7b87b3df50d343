--- The sink of a pool's submitted calls: each outcome becomes that of its future.
local common = require "parlua.common"

local Futures = { keep = "all", limit = math.huge, is_enough = false }
Futures.__index = Futures

---@class parlua.Futures
---@field waiting table<integer, parlua.Future> those that were handed out and have not ended, by their task in the run
---@field submitted integer calls
---@field handed integer tasks of the run
---@param settle fun(future: parlua.Future, values?: table, failure?: parlua.Failure)
local function open(settle)
  return setmetatable({ settle = settle, waiting = {}, submitted = 0, handed = 0, is_serial = false, run = false },
    Futures)
end

function Futures:begin(run) self.run = run end

--- Serial: no task is handed out before it is there. Elsewhere none comes from the source: they are pushed.
function Futures:ahead() return self.is_serial and self.handed or 0 end

local function take_future(self, index)
  local future = self.waiting[index]
  self.waiting[index] = nil
  return future
end

function Futures:take(batch)
  local values = batch.numbers or batch.values
  for j = 0, batch.n - 1 do
    local future = take_future(self, batch.first + j)
    if future then self.settle(future, batch.several and batch.several[j] or common.pack(values[j])) end
  end
end

function Futures:fail(failure)
  local future, failures = take_future(self, failure.index), self.run.failures
  failures[#failures] = nil -- it is the future's
  if not future then return end
  failure.index, failure.args = future.index, future.args
  self.settle(future, nil, failure)
end

return { open = open }
