--- Where a run ends that allows only so many failures: `on_error = "halt"` and `max_failures`. The end is decided in
--- the order of the tasks, not in the order in which they happened to fail: it is the same on every engine and with
--- every chunk size. Tasks behind it do not count; tasks before it run to their end.
local common = require "parlua.common"
local prefix = require "parlua.run.prefix"

local SHARE_FROM = 20 -- a share of the tasks means something from so many on

---@class parlua.Limiter
---@field halted? parlua.Failure the failure that halted the run
---@field stopped? string why the run was ended
---@field is_over boolean it was ended by failures whose order is not known
local Limiter = {}
Limiter.__index = Limiter

local function open(options, fold)
  local most = options.max_failures
  local self = setmetatable({ halts = options.on_error == "halt", most = most, fold = fold, largest = {},
    failed_at = {}, count = 0, is_over = false }, Limiter)
  if type(most) == "string" then
    self.share = tonumber((most:gsub("%%$", ""))) / 100
    self.prefix = prefix.open()
  end
  return self
end

--- The last task of the block that task `index` is in: blocks are folded as a whole.
local function whole(self, index)
  if not self.fold then return index end
  return self.fold:last(self.fold:block_of(index))
end

--- Puts an index into a heap whose first is the largest.
local function push(heap, index)
  local k = #heap + 1
  heap[k] = index
  while k > 1 do
    local up = (k - k % 2) / 2
    if heap[up] >= index then break end
    heap[k], heap[up] = heap[up], index
    k = up
  end
end

--- Puts an index in the place of the largest.
local function replace_first(heap, index)
  local k, n = 1, #heap
  while true do
    local child = 2 * k
    if child > n then break end
    if child < n and heap[child + 1] > heap[child] then child = child + 1 end
    if heap[child] <= index then break end
    heap[k] = heap[child]
    k = child
  end
  heap[k] = index
end

--- The run has had too many failures. Returns the last task that counts.
local function stop(self, last, failed)
  self.stopped = ("%s failed (max_failures = %s)"):format(common.count(failed, "task"), tostring(self.most))
  return whole(self, last)
end

--- Looks at the share of failures among the tasks up to each one, as far as all before it have ended.
local function look_at_share(self)
  local reached = self.prefix.last
  if reached < SHARE_FROM then return nil end
  table.sort(self.failed_at)
  local counted, list, from = self.count, self.failed_at, 1
  while list[from] and list[from] <= reached do
    counted = counted + 1
    local at = math.max(list[from], SHARE_FROM)
    local is_next_later = not list[from + 1] or list[from + 1] > at
    if is_next_later and counted > self.share * at then return stop(self, at, counted) end
    from = from + 1
  end
  self.count = counted
  local rest = {}
  for k = from, #list do rest[#rest + 1] = list[k] end
  self.failed_at = rest
  return nil
end

--- Tasks first..last have ended. Returns the last task that counts, if that is known now.
function Limiter:ended(first, last)
  if not self.prefix or self.stopped then return nil end
  self.prefix:add(first, last)
  return look_at_share(self)
end

--- A task has failed. Returns the last task that counts, if that is known now.
---@param made parlua.Failure
function Limiter:failed(index, made)
  if self.halts then
    if self.halted and self.halted.index <= index then return nil end
    self.halted = made
    return whole(self, index)
  elseif self.share then
    if self.stopped then return nil end
    table.insert(self.failed_at, index)
    if not self.fold then self.prefix:add(index, index) end
    return look_at_share(self)
  end
  local largest = self.largest
  if #largest < self.most then push(largest, index) elseif index < largest[1] then replace_first(largest, index) end
  if #largest < self.most then return nil end
  return stop(self, largest[1], self.most)
end

--- A task has failed, one of `failed`, and which others are before it is not known. Is the run to end? Failures that
--- come later don't count.
---@param made parlua.Failure
function Limiter:failed_as_they_come(made, failed)
  if self.is_over then return false end
  if self.halts then
    self.halted = made
  elseif self.share or failed < self.most then
    return false
  else
    stop(self, 0, failed)
  end
  self.is_over = true
  return true
end

--- Of how many failures the last one ends the run; nil: that is a share.
---@return integer?
function Limiter:most_failures()
  if self.halts then return 1 end
  return not self.share and self.most or nil
end

return { open = open }
