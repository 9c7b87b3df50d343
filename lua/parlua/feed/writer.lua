--- Writes tasks that the coordinator supplies into a block: words, `width` for each task, and values.
local ffi = require "ffi"
local host = require "parlua.host"
local block = require "parlua.wire.block"
local context = require "parlua.wire.context"

local C = ffi.C
local NIL, FALSE, TRUE, ABSENT = C.TAG_NIL, C.TAG_FALSE, C.TAG_TRUE, C.TAG_ABSENT
local STRING, VALUE, TUPLE, FAILURE = C.TAG_STRING, C.TAG_VALUE, C.TAG_TUPLE, C.TAG_FAILURE
local HEAD = C.BLOCK_HEAD
local RANGES_HEAD, RANGE_WIDTH = 2, 4 -- words: see feed/ranges.lua
local place = host.place
local arrays = require "parlua.array.known"
local shape = require "parlua.lazy" "parlua.wire.shape"
local moved = require("parlua.codec").moved
local value = require "parlua.lazy" "parlua.value"

local GIVEN = { length = 3, depth = 2, bytes = 40 } -- what is said of a value that could not be sent
local FEW = 32 -- tables of a run that go by the codec: to get ready for shapes costs more

local Writer = {}
Writer.__index = Writer

local spare = false -- a writer that is not in use

--- A writer into the blocks that `driver:stage(bytes)` gives.
---@param chain? table what values may refer to (wire/context.lua)
---@param shares? boolean workers have this process's memory
local function open(driver, chain, shares)
  local writer = spare
  if not writer then
    return setmetatable({ driver = driver, block = false, words = false, half = false, width = 0, is_idle = false,
      news = false, began = 0, most = math.huge, quick = 0, chain = chain, shares = shares, held = false,
      is_alone = false, by_shape = false, put_record = false, tables = 0, epoch = 0 }, Writer)
  end
  spare = false
  writer.driver, writer.chain, writer.shares = driver, chain, shares
  return writer
end

--- A writer that is not used any more: as it was at first.
local function give(writer)
  writer.driver, writer.block, writer.words, writer.half, writer.width = false, false, false, false, 0
  writer.is_idle, writer.news, writer.began, writer.most, writer.quick = false, false, 0, math.huge, 0
  writer.chain, writer.shares, writer.held, writer.is_alone, writer.by_shape = nil, nil, false, false, false
  writer.put_record, writer.tables, writer.epoch = false, 0, 0
  if writer.plain_words then writer.plain_words = nil end
  spare = writer
end

-- A source may turn slow at any task, and a task that was pulled must not wait for those that were not. Asking the
-- clock at each task would cost more than most sources do. So it is asked only while some worker has nothing to do, or
-- says that it has done with its chunk, in memory that is read at no cost. After a chunk that took long its successors
-- are of one task, and grow while the source stays quick.
local idle_seconds, soon_seconds = 20e-6, 5e-3
local enough_share = 0.25 -- of what is wanted: then a worker that has news gets it
local quick_chunks = 16   -- before chunks may be twice as large
local largest_held = 1e5  -- from there on they are as large as is wanted

--- What the next chunk is wanted for: see `is_due`.
---@param event ffi.cdata* struct event
function Writer:hurry(event)
  self.is_idle, self.news = event.idle ~= 0 or event.news == nil, event.news
  self.began = C.clock_seconds()
end

--- Is a chunk of `count` tasks to be handed out though more are wanted? Asked behind each task.
function Writer:is_due(count, want)
  if count >= self.most then return true end
  if self.is_idle then return C.clock_seconds() - self.began > idle_seconds end
  if self.news[0] == 0 then return false end
  return count >= want * enough_share or C.clock_seconds() - self.began > soon_seconds
end

--- A chunk was pulled: how large may the next be?
local function note_pace(writer)
  local seconds = C.clock_seconds() - writer.began
  if seconds > soon_seconds then
    writer.most, writer.quick = 1, 0
  elseif writer.most < math.huge then
    writer.quick = writer.quick + 1
    if writer.quick >= quick_chunks then writer.most, writer.quick = writer.most * 2, 0 end
    if writer.most > largest_held then writer.most = math.huge end
  end
end

--- Arrays among the arguments of the tasks of the chunk that was written last are kept until these have ended: they
--- cross by handle.
---@param first integer the first of the tasks
function Writer:hold(first, count)
  local list = arrays.sent
  if not list then return end
  arrays.sent = false
    self.held = self.held or {}
  for index = first, first + count - 1 do self.held[index] = list end
end

--- Tasks have ended; `again` has those among them that are to be tried once more.
function Writer:release(first, last, again)
  for index = first, last do
    if self.held[index] and not (again and again[index]) then self.held[index] = nil end
  end
end

--- Begins a chunk.
function Writer:begin(bytes)
  if self.chain then moved() end
  arrays.sent = false
  self.block = ffi.cast(block.pointer, self.driver:stage(bytes))
  self.words = self.block.word
  self.half = ffi.cast(block.halves, self.words)
  self.width, self.epoch = 0, self.epoch + 1
end

--- Ends it, with `count` tasks.
function Writer:finish(count)
  if self.news then note_pace(self) end
  self.block.width = self.width
  self.block.count = self.plain_words or count * self.width
  if self.plain_words then self.plain_words = nil end
end

--- Puts a table of plain values as word k by its shape (wire/shape.lua), where a run has many. Returns as `put` does;
--- nil: the codec is to do it.
local function put_shaped(self, words, k, v)
  if self.tables < FEW or not self.by_shape then
    self.tables = self.tables + 1
    return nil
  end
  if not self.put_record then self.put_record = shape.writer(self.chain, true) end
  if not self.put_record(self.block, self.half, k, v, self.epoch) then return nil end
  return tonumber(self.block.floor) >= HEAD + 8 * words and 0 or 1
end

--- Puts one value as word k; `words` are to fit in all. Returns 0, or the bytes that a block needs to hold it.
function Writer:put(words, k, v)
  local half = self.half
  if type(v) == "number" then
    self.words[k] = v
    return 0
  elseif type(v) == "nil" then
    half[2 * k + 1] = NIL
    return 0
  elseif rawequal(v, true) then
    half[2 * k + 1] = TRUE
    return 0
  elseif rawequal(v, false) then
    half[2 * k + 1] = FALSE
    return 0
  end
  local need, message
  if type(v) == "string" then
    need = place(self.block, words, k, STRING, v)
  elseif type(v) == "table" and not self.is_alone then
    need = put_shaped(self, words, k, v)
  end
  if not need then
    context.use(self.chain, self.shares)
    need, message = place(self.block, words, k, VALUE, v)
    if not need then
      local record = { kind = "unsendable", message = message, given = value.format(v, GIVEN) }
      need = place(self.block, words, k, FAILURE, record)
    end
  end
  return need
end

--- Arguments of a task that are tables go in one message: what they share, they share in the worker. Each of their
--- words leads to it. Returns false where that does not pay, or does not work: then they go one by one.
function Writer:tuple(words, at, n, ...)
  local tables = 0
  for j = 1, n do
    if type((select(j, ...))) == "table" then tables = tables + 1 end
  end
  if tables < 2 then return false end
  context.use(self.chain, self.shares)
  if place(self.block, words, at, TUPLE, ...) ~= 0 then return false end
  local half = self.half
  for j = 1, n - 1 do
    if type((select(j + 1, ...))) == "table" then
      half[2 * (at + j)], half[2 * (at + j) + 1] = half[2 * at], TUPLE
    elseif self:put(words, at + j, (select(j + 1, ...))) ~= 0 then
      return false
    end
  end
  return true
end

--- Adds a task behind `count` others. False: it does not fit this chunk.
function Writer:task(count, ...)
  local n = select("#", ...)
  if count == 0 then self.width = n > 0 and n or 1 end
  local width = self.width
  local words = (count + 1) * width
  if n > width or HEAD + 8 * words > tonumber(self.block.floor) then return false end
  local at = count * width
  local a, b = ...
  if n > 1 and type(a) == "table" and self:tuple(words, at, n, ...) then
    for j = n, width - 1 do self.half[2 * (at + j) + 1] = ABSENT end
    return true
  end
  if self:put(words, at, a) ~= 0 then return false end
  if n > 1 and self:put(words, at + 1, b) ~= 0 then return false end
  for j = 2, n - 1 do
    if self:put(words, at + j, (select(j + 1, ...))) ~= 0 then return false end
  end
  for j = n, width - 1 do self.half[2 * (at + j) + 1] = ABSENT end
  return true
end

--- Adds a task that is to fail with this record, since its argument can't be read. Returns how many that are: 0 where
--- it does not fit.
function Writer:unread(count, record)
  if count == 0 then self.width = 1 end
  local at, words = count * self.width, (count + 1) * self.width
  local fits = HEAD + 8 * words <= tonumber(self.block.floor)
  if not fits or place(self.block, words, at, FAILURE, record) ~= 0 then return 0 end
  for j = 1, self.width - 1 do self.half[2 * (at + j) + 1] = ABSENT end
  return 1
end

--- A chunk of this one task, however large. `values` has a field n.
function Writer:task_alone(values)
  local missing, bytes = 0, 0
  self.is_alone = true -- what does not fit is to be told in bytes
  repeat
    bytes = bytes + missing
    self:begin(bytes)
    bytes = tonumber(self.block.size)
    self.width = math.max(values.n, 1)
    missing = 0
    for j = 1, values.n do missing = missing + self:put(self.width, j - 1, values[j]) end
  until missing == 0
  self.is_alone = false
end

--- Adds items first..last of a list, a task each, to an empty chunk; returns how many fitted (at least one).
function Writer:items(items, first, last)
  if last < first then return 0 end
  self.width = 1
  local words, n = self.words, 0
  local room = (tonumber(self.block.floor) - HEAD) / 8
  for i = first, last do
    local v = items[i]
    if n >= room then break end
    if type(v) == "number" then
      words[n] = v
    else
      if self:put(n + 1, n, v) ~= 0 then break end
      room = (tonumber(self.block.floor) - HEAD) / 8
    end
    n = n + 1
  end
  if n == 0 then
    self:task_alone({ n = 1, items[first] })
    return 1
  end
  return n
end

--- Words for the whole chunk: how many tasks it has, and ranges of a text (feed/ranges.lua). `again`: pairs of numbers
--- behind them.
function Writer:ranges(tasks, list, again)
  local pairs_at = RANGES_HEAD + RANGE_WIDTH * #list
  local words = pairs_at + 2 * (again and #again or 0)
  local bytes = HEAD + 8 * words
  for _, range in ipairs(list) do
    if type(range[1]) == "string" then bytes = bytes + 8 + math.floor((#range[1] + 7) / 8) * 8 end
  end
  if bytes > tonumber(self.block.floor) then self:begin(bytes) end
  self.width = 1
  self.block.is_range = 1
  self.words[0], self.words[1] = tasks, #list
  for r, range in ipairs(list) do
    local at = RANGES_HEAD + RANGE_WIDTH * (r - 1)
    if type(range[1]) == "string" then
      block.put_string(self.block, self.half, at, range[1])
    else
      self.words[at] = range[1]
    end
    for k = 1, RANGE_WIDTH - 1 do self.words[at + k] = range[k + 1] end
  end
  for k, pair in ipairs(again or {}) do
    self.words[pairs_at + 2 * k - 2], self.words[pairs_at + 2 * k - 1] = pair[1], pair[2]
  end
  self.plain_words = words
end

return { open = open, give = give }
