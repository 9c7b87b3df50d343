--- Decodes blocks of results into batches, which it gives to a receiver. Drivers over blocks (drive/driver.lua) have
--- these as methods, and may have their own `special`, `tuple`, `give` and `failure`, which are called here.
local ffi = require "ffi"
local block = require "parlua.wire.block"
local common = require "parlua.common"
local context = require "parlua.wire.context"
local line = require "parlua.lazy" "parlua.worker.line"
local shape = require "parlua.lazy" "parlua.wire.shape_read"
local new_table = require "table.new"

---@class parlua.Batch
---@field first integer index of its first task
---@field n integer number of tasks
---@field numbers ffi.cdata*|false double *: numbers[0 .. n - 1] are the results. To be read during the call only
---@field values table|false values[0 .. n - 1], if there are no `numbers`; may be kept. If there are neither, results
--- are not kept
---@field several table|false several[j]: all that task j returned, with a field n, where that is not one value
---@field second table|false second[j]: the second of two values that task j returned, for receivers with `takes_pairs`
---@field lines parlua.Lines|false lines of a job's output in place of results. To be read during the call only
---@field is_void? boolean none of its tasks returned anything but nil: `values` is empty
---@field folded? integer|false of blocks of tasks: the last; values[1], ... are those of groups (worker/merging.lua)
---@field bytes number memory that the results take, about
---@field tasks integer tasks that returned; n, except for blocks of tasks
---@field first_task? integer of blocks of tasks: the first task
---@field last_task? integer
---@field attempt integer
---@field worker integer
---@field seconds number how long each task took; 0: not known
---@field recorded boolean it comes from a journal
---@field ended parlua.AsyncTask|false the task, where a driver tells of its arguments by it (Driver:about)
---@field rows? {at: ffi.cdata*, stop: ffi.cdata*}|false rows of a journal that were prepared; those of the batch
--- stand at `at`. To be read during the call only

local C = ffi.C
local cast = ffi.cast
local ABSENT = C.TAG_ABSENT
local NIL, TUPLE, FAILURE, LOWEST = C.TAG_NIL, C.TAG_TUPLE, C.TAG_FAILURE, C.TAG_LOWEST
local STRING, RECORD, LINE = C.TAG_STRING, C.TAG_RECORD, C.TAG_LINE

local const_bytes = ffi.typeof("const char *")

local NOTHING = { n = 0 }
-- Results of tasks in a row that returned nothing, or nil: nobody writes into these.
local NO_VALUES = {}
local ALL_NOTHING = setmetatable({}, { __index = function() return NOTHING end })
local MIXED = 512 -- results of mixed kinds go together in batches of so many

local M = {}

M.FEW = 16 -- so many numbers in a row are worth a batch of their own
local FEW = M.FEW

local spare = false -- a batch that is not in use

--- A batch that no driver fills any more.
---@param batch parlua.Batch
function M.give_batch(batch)
  batch.numbers, batch.values, batch.several, batch.second, batch.lines = false, false, false, false, false
  batch.rows, batch.ended = false, false
  spare = batch
end

--- An empty batch. A driver fills the same one again and again.
---@return parlua.Batch
function M.new_batch()
  local batch = spare
  spare = false
  return batch or { first = 0, n = 0, numbers = false, values = false, several = false, second = false, lines = false,
    bytes = 0, tasks = 0, first_task = false, last_task = false, attempt = 1, worker = 0, seconds = 0,
    recorded = false, rows = false, ended = false }
end

--- The first word from k on that is no number; last + 1: all are. 0.4 ns a word (bench/decode.lua).
local function plain_until(half, k, last)
  for at = k, last do
    local tag = half[2 * at + 1]
    if tag < 0 and tag >= LOWEST then return at end
  end
  return last + 1
end

--- The first word from k on with another tag. 0.4 ns a word.
local function tag_until(half, k, last, tag)
  for at = k, last do
    if half[2 * at + 1] ~= tag then return at end
  end
  return last + 1
end

--- The books that the values of a task refer to.
local function use_books(self, task)
  context.use(self.chain_of and self.chain_of(task) or self.chain, self.shares)
end

--- The value behind a tagged word of a task.
function M:special(out, half, k, tag, task)
  use_books(self, task)
  return block.special(out, half, k, tag)
end

--- The values behind a word that stands for several, with n.
function M:tuple(out, half, k, tag, task)
  use_books(self, task)
  return common.pack(block.special(out, half, k, tag))
end

--- The last of the tasks first..last whose values refer to the same books as those of the first.
local function same_books(self, first, last)
  if not self.chain_of then return last end
  local chain, task = self.chain_of(first), first
  while task < last and self.chain_of(task + 1) == chain do task = task + 1 end
  return task
end

--- Decodes strings from word k on. Returns the first word that is none. 45 ns a string of 12 bytes.
local function decode_strings(values, out, size, half, k, last)
  local read = block.string
  for at = k, last do
    if half[2 * at + 1] ~= STRING then return at end
    values[at - k] = read(out, size, half[2 * at])
  end
  return last + 1
end

--- Decodes records from word k on, of one kind: tables of one shape, or two values each, or several values. Returns the
--- first word that is of another.
local function decode_records(batch, values, out, size, half, k, last, takes_pairs)
  local shape_place, n = shape.head_of(out, size, half[2 * k])
  if shape_place ~= 0 then return shape.read(values, out, size, half, k, last) end
  if n == 2 and takes_pairs then
    batch.second = new_table(last - k + 1, 0)
    return shape.read_pairs(values, batch.second, out, size, half, k, last)
  end
  local several, at = {}, k
  repeat
    local tuple = shape.tuple(out, size, half[2 * at])
    several[at - k], values[at - k] = tuple, tuple[1]
    at = at + 1
  until at > last or half[2 * at + 1] ~= RECORD or shape.head_of(out, size, half[2 * at]) ~= 0
  batch.several = several
  return at
end

--- Decodes words k..last up to the first failure, some at most, into the batch; word 0 is of task `first`. Returns the
--- word behind them.
local function decode_mixed(self, batch, out, half, k, last, takes_pairs, first)
  last = math.min(last, k + MIXED - 1)
  local words, values, several, size = out.word, new_table(last - k + 1, 0), false, tonumber(out.size)
  batch.numbers, batch.values, batch.several, batch.second = false, values, false, false
  if half[2 * k + 1] == STRING then return decode_strings(values, out, size, half, k, last) end
  if half[2 * k + 1] == RECORD then
    use_books(self, first + k) -- records may be of a class
    last = same_books(self, first + k, first + last) - first
    return decode_records(batch, values, out, size, half, k, last, takes_pairs)
  end
  local at = k
  while at <= last do
    local tag = half[2 * at + 1]
    if tag >= 0 or tag < LOWEST then
      values[at - k] = words[at]
    elseif tag == FAILURE or tag == RECORD or tag == LINE then
      break
    elseif tag == TUPLE then
      local tuple = self:tuple(out, half, at, tag, first + at)
      several = several or {}
      several[at - k], values[at - k] = tuple, tuple[1]
    elseif tag == STRING then
      values[at - k] = block.string(out, size, half[2 * at])
    elseif tag == ABSENT then
      several = several or {}
      several[at - k] = NOTHING
    elseif tag ~= NIL then
      values[at - k] = self:special(out, half, at, tag, first + at)
    end
    at = at + 1
  end
  batch.several = several
  return at
end

--- Gives a batch of n tasks to the receiver.
function M:give(receiver, batch, first, n, bytes)
  batch.first, batch.n, batch.tasks, batch.bytes = first, n, n, bytes
  receiver:take(batch)
end

--- The result of one task, where it is nothing, or one value that needs no book: many calls of pools give such. Returns
--- whether it was. No loop is entered, so that this is compiled with what asked for it.
function M.give_one(self, receiver, event)
  local out, k = event.block, event.from
  local half = cast(block.halves, out.word)
  local tag, value = half[2 * k + 1], nil
  if tag >= 0 or tag < LOWEST then
    value = out.word[k]
  elseif tag == STRING then
    value = block.string(out, tonumber(out.size), half[2 * k])
  elseif tag ~= NIL and tag ~= ABSENT then
    return false
  end
  receiver:take_one(event.first + k, value, tag == ABSENT)
  return true
end

--- Results that come one after the other, a word each.
function M:dense(receiver, event)
  local out, batch = event.block, self.batch
  local words, half, first = out.word, cast(block.halves, out.word), event.first
  local k, last = event.from, event.from + event.count - 1
  local each = 8 + tonumber(out.size - out.floor) / math.max(out.count, 1)
  while k <= last do
    local stop = plain_until(half, k, last)
    if stop > last or stop - k >= FEW then
      batch.numbers, batch.values, batch.several, batch.second = words + k, false, false, false
      self:give(receiver, batch, first + k, stop - k, 8 * (stop - k))
      k = stop
    elseif half[2 * k + 1] == FAILURE then
      local record = self:special(out, half, k, FAILURE, first + k)
      self:failure(receiver, first + k, record, event.attempt, event.worker)
      k = k + 1
    elseif half[2 * k + 1] == LINE then
      stop = line.check(out, tonumber(out.size), half, k, last)
      batch.numbers, batch.values, batch.several, batch.second = false, false, false, false
      batch.lines = { from = cast(const_bytes, out), half = half + 2 * k }
      self:give(receiver, batch, first + k, stop - k, each * (stop - k))
      batch.lines = false
      k = stop
    else
      stop = k
      local tag = half[2 * k + 1]
      if tag == ABSENT or tag == NIL then stop = tag_until(half, k, last, tag) end
      if stop - k >= FEW then
        batch.numbers, batch.values, batch.second, batch.is_void = false, NO_VALUES, false, true
        batch.several = tag == ABSENT and ALL_NOTHING
        self:give(receiver, batch, first + k, stop - k, each * (stop - k))
        batch.is_void = false
      else
        stop = decode_mixed(self, batch, out, half, k, last, receiver.takes_pairs, first)
        self:give(receiver, batch, first + k, stop - k, each * (stop - k))
      end
      k = stop
    end
  end
end

--- Tasks first..last returned, and nothing of it is kept. Failures among them may have been told before.
local function give_empty(self, receiver, first, last)
  local batch, told = self.batch, self.told
  while told and first <= last do
    local stop = first
    while stop <= last and not told[stop] do stop = stop + 1 end
    if stop > first then
      batch.numbers, batch.values, batch.several, batch.second = false, false, false, false
      self:give(receiver, batch, first, stop - first, 0)
    end
    told[stop] = nil
    first = stop + 1
    if next(told) == nil then told, self.told = nil, nil end
  end
  if first > last then return end
  batch.numbers, batch.values, batch.several, batch.second = false, false, false, false
  self:give(receiver, batch, first, last - first + 1, 0)
end

--- Results of which only some are kept: failures, or what is looked for. They come as pairs of an index and a result.
function M:sparse(receiver, event)
  local out, batch = event.block, self.batch
  local words, half, place = out.word, cast(block.halves, out.word), event.last - event.want + 1
  local last = event.last
  for k = event.from, event.from + event.count - 1 do
    local index, tag = words[2 * k], half[4 * k + 3]
    if index >= place and index <= last then
      if index > place then give_empty(self, receiver, place, index - 1) end
      place = index + 1
    elseif index > last then -- the event does not tell yet that it has ended
      self.told = self.told or {}
      self.told[index] = true
    end
    if tag == FAILURE then
      local record = self:special(out, half, 2 * k + 1, tag, index)
      self:failure(receiver, index, record, event.attempt, event.worker)
    else
      batch.numbers, batch.several, batch.second = false, false, false
      batch.values = { [0] = self:special(out, half, 2 * k + 1, tag, index) }
      self:give(receiver, batch, index, 1, 8)
    end
  end
  if place <= last then give_empty(self, receiver, place, last) end
end

return M
