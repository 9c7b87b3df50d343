--- Blocks of tasks that the coordinator supplies, for reductions with `merge`: byte ranges of whole blocks of lines, or
--- batches of arguments. A batch is a table of columns (column j has the j-th argument of each task), with fields n;
--- bad: messages for tasks whose arguments can't be sent; again: pairs of a task and its next attempt.
local codec = require "parlua.codec"
local failure = require "parlua.failure"
local own = require "parlua.source.own"
local supply = require "parlua.feed.supply"

local M = {}

local plain = { number = true, string = true, boolean = true, ["nil"] = true }

local function add_task(batch, k, ...)
  for j = 1, select("#", ...) do
    local value = (select(j, ...))
    local column = batch[j]
    if not column then
      for gap = #batch + 1, j do batch[gap] = {} end
      column = batch[j]
    end
    column[k] = own.own(value)
    if not plain[type(value)] then batch.mixed = true end
  end
  batch.n = k
end

--- Takes out of a batch the tasks whose arguments can't be sent.
local function mark_bad(batch)
  if not batch.mixed or codec.encode_as("argument", batch) then return end
  batch.bad = {}
  for k = 1, batch.n do
    for j = 1, #batch do
      local ok, message = codec.encode_as("argument", batch[j][k])
      if not ok then
        batch.bad[k] = message
        for each = 1, #batch do batch[each][k] = nil end
        break
      end
    end
  end
end

--- Reads tasks of mapped pieces of text: their offsets and lengths.
local function range_reader(puller)
  local at, bytes
  local writer = {}
  function writer.task(_, _, offset, length)
    at, bytes = offset, length
    return true
  end
  return function()
    if puller:fill(writer, 1) == 0 then return end
    return true, at, bytes
  end
end

--- `watched`, of the puller: is told of each block whose arguments are sent, by number and batch.
local function batch_puller(fold, read, text, sends)
  local next_block, held, raised = 1, nil, nil
  local puller = { text = text, tasks = 0, pulled = 0 }

  --- The next block's tasks; nil: there are none. An error of the source is kept for later: what came before it goes
  --- first.
  local function collect()
    local batch = { n = 0 }
    local size = fold:first(next_block + 1) - fold:first(next_block)
    local function add(more, ...)
      if more then add_task(batch, batch.n + 1, ...) end
      return more
    end
    local ok, message = xpcall(function()
      while batch.n < size and add(read()) do end -- luacheck: ignore 542
    end, failure.capture)
    if not ok then raised = message end
    if batch.n == 0 then return nil end
    if sends then
      if puller.watched then puller.watched(next_block, batch) end
      mark_bad(batch)
    end
    next_block = next_block + 1
    puller.tasks = puller.tasks + batch.n
    return batch
  end

  function puller.fill(self, writer, want)
    local count = 0
    self.pulled = 0
    while count < want do
      if not held and not raised then held = collect() end
      if not held then break end
      if not writer:task(count, held) then
        if count > 0 then return count end
        writer:task_alone({ n = 1, held })
      end
      held, count = nil, count + 1
      self.pulled = count
    end
    if count == 0 and raised then error(raised, 0) end
    return count
  end
  return puller
end

--- Lines and rows: ranges of bytes, cut where blocks end.
local function text_puller(fold, puller)
  local fill, next_block, missing = puller.fill, 1, 0
  puller.tasks, puller.is_exact = 0, true
  function puller.fill(self, writer, want)
    if missing > 0 and not self.raised then return 0 end -- the last block was not full: there is no more
    if self.stream then want = 1 end -- its bytes are held in memory
    local first = fold:first(next_block)
    local tasks = fold:first(next_block + want) - first
    local count = fill(self, writer, tasks)
    if count == 0 then return 0 end
    missing = tasks - count
    self.tasks = self.tasks + count
    local blocks = fold:block_of(first + count - 1) - next_block + 1
    next_block = next_block + blocks
    return blocks
  end
  return puller
end

--- A puller that hands out blocks of tasks of `source`.
---@param fold parlua.Fold
function M.open(source, fold)
  if source.path then
    local puller = supply.open(source)
    if puller.is_ranges then return text_puller(fold, puller) end
    if puller.text then return batch_puller(fold, range_reader(puller), puller.text, false) end
    return batch_puller(fold, supply.reader(source, puller), nil, true)
  end
  return batch_puller(fold, supply.reader(source), nil, true)
end

--- The arguments of the k-th task of a batch, as a table with n.
---@param take fun(...) makes arguments of text out of its range
function M.arguments(batch, k, take)
  local values = { n = #batch }
  for j = 1, #batch do values[j] = batch[j][k] end
  return take and take(values[1], values[2]) or values
end

return M
