--- Puts outcomes in the order of their tasks: what is ahead of its turn waits. Says how far ahead tasks may be handed
--- out, so that what waits stays small, in tasks and in bytes.
--
-- The consumer has take(batch) and fail(failure), which come in order; and is_enough. A batch that waited is the same
-- kind of table.
local ffi = require "ffi"
local line = require "parlua.lazy" "parlua.worker.line"

local C = ffi.C

ffi.cdef [[
void *malloc(size_t size);
void free(void *memory);
]]

-- What may wait, about; and with what is counted on before anything has come.
local MOST_BYTES = 64 * 2 ^ 20
local BATCH_BYTES = 400 -- of a batch that waits, besides its values
local FIRST_WINDOW = 64

---@class parlua.Order
---@field turn integer the next task
local Order = {}
Order.__index = Order

--- Opens it.
---@param consumer table take, fail, is_enough
---@param run parlua.Run
---@param most integer tasks that may be handed out ahead, where the option `window` does not say
---@param arguments? fun(index: integer): table kept with what waits
---@return parlua.Order
local function open(consumer, run, most, arguments)
  return setmetatable({
    consumer = consumer, run = run, turn = 1, waiting = {}, held = 0, highest = 0, each = false,
    least = 4 * run.workers, most = most, window = run.options.window or false, arguments = arguments or false,
  }, Order)
end

--- The last task that may be handed out now.
function Order:ahead()
  local before = self.turn - 1
  if self.window then return before + self.window end
  if not self.each then return before + math.max(self.least, FIRST_WINDOW) end
  local room = math.floor((MOST_BYTES - self.held) / self.each)
  return math.max(before + self.least, math.min(before + self.most, self.highest + room))
end

--- Room for numbers that wait. Not of the collector, which lets garbage grow to as much again as what waits: who takes
--- the numbers frees it. Only what a run leaves that was cut off is collected.
local function room_for(n)
  local numbers = C.malloc(8 * n)
  if numbers == nil then error("not enough memory", 0) end
  return ffi.gc(ffi.cast("double *", numbers), C.free)
end

--- Keeps a batch for later.
local function keep(self, batch)
  local numbers, n, arguments = false, batch.n, false
  if batch.numbers then
    numbers = room_for(n)
    ffi.copy(numbers, batch.numbers, 8 * n)
  end
  local lines
  if batch.lines then lines, numbers = line.copy(batch.lines, n, room_for) end
  if self.arguments and not lines then
    arguments = {}
    for j = 0, n - 1 do arguments[j] = self.arguments(batch.first + j) end
  end
  self.waiting[batch.first] = { first = batch.first, n = n, numbers = not lines and numbers, values = batch.values,
    lines = lines or false, memory = numbers,
    several = batch.several, second = batch.second, folded = batch.folded, bytes = batch.bytes, arguments = arguments,
    ended = batch.ended or false }
  self.held = self.held + batch.bytes + BATCH_BYTES
end

--- The last of what counts: a failure may bring the end forward while others wait behind it.
local function last_of(run)
  local last, fold = run.last, run.fold
  return fold and last < math.huge and fold:block_of(last) or last
end

--- Hands on what waits and whose turn has come.
local function drain(self)
  local consumer = self.consumer
  while not consumer.is_enough do
    local item, last = self.waiting[self.turn], last_of(self.run)
    if not item or self.turn > last then return end
    if self.turn + item.n - 1 > last then item.n = last - self.turn + 1 end
    self.waiting[self.turn] = nil
    self.turn = self.turn + item.n
    if item.failure then
      consumer:fail(item.failure)
    else
      self.held = self.held - item.bytes - BATCH_BYTES
      consumer:take(item)
      if item.memory then C.free(ffi.gc(item.memory, nil)) end
    end
  end
end

--- Takes a batch.
---@param batch parlua.Batch
function Order:take(batch)
  local last = batch.first + batch.n - 1
  if last > self.highest then self.highest = last end
  if batch.bytes > 0 then self.each = batch.bytes / batch.n elseif not self.each then self.each = 8 end
  if batch.first ~= self.turn then return keep(self, batch) end
  self.turn = last + 1
  self.consumer:take(batch)
  if next(self.waiting) ~= nil then drain(self) end
end

--- Takes a failure: the task's turn is over.
---@param failure parlua.Failure
function Order:fail(failure)
  local index = failure.index
  if index > self.highest then self.highest = index end
  if index ~= self.turn then
    self.waiting[index] = { n = 1, failure = failure }
    return
  end
  self.turn = index + 1
  self.consumer:fail(failure)
  drain(self)
end

--- The run is over: what still waits, behind tasks that were cut off, is handed on in order.
function Order:flush()
  local firsts = {}
  for first in pairs(self.waiting) do firsts[#firsts + 1] = first end
  table.sort(firsts)
  for _, first in ipairs(firsts) do
    if self.consumer.is_enough then return end
    self.turn = first
    drain(self)
  end
end

return { open = open }
