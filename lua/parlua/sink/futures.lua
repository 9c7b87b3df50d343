--- The sink of a pool's submitted calls: each outcome becomes that of its future.
local NOTHING = { n = 0 }

local Futures = { keep = "all", limit = math.huge, is_enough = false }
Futures.__index = Futures

---@class parlua.Futures
---@field waiting table<integer, parlua.Future> those that were handed out and have not ended, by their task in the run
---@field submitted integer calls
---@field handed integer tasks of the run
---@param settle fun(future: parlua.Future, content: any, failure?: parlua.Failure) content: one value, or
--- several(list with n)
---@param several fun(values: table): table
local function open(settle, several)
  return setmetatable({ settle = settle, several = several, waiting = {}, submitted = 0, handed = 0,
    is_serial = false, run = false }, Futures)
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
  local values, lists, waiting, settle = batch.numbers or batch.values, batch.several, self.waiting, self.settle
  for j = 0, batch.n - 1 do
    local index = batch.first + j
    local future = waiting[index]
    if future then
      waiting[index] = nil
      local list = lists and lists[j]
      if list then settle(future, self.several(list)) else settle(future, values[j]) end
    end
  end
end

--- One call has returned one value, or nothing.
function Futures:take_one(index, value, is_nothing)
  local future = self.waiting[index]
  if not future then return end
  self.waiting[index] = nil
  if is_nothing then value = self.several(NOTHING) end
  self.settle(future, value)
end

function Futures:fail(failure)
  local future, failures = take_future(self, failure.index), self.run.failures
  failures[#failures] = nil -- it is the future's
  if not future then return end
  failure.index, failure.args = future.index, future.args or { n = 0 }
  self.settle(future, nil, failure)
end

return { open = open }
