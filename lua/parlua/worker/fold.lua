--- Folding in the workers, for reductions with `merge`: tasks are cut into blocks of indices, a worker folds each block
--- that it is given, and only the blocks' values travel. To dispatch, a block is a task. Where blocks begin and end
--- depends on nothing but their number (and the option `block`): a reduction is the same to the bit whatever the
--- engine, the workers, the chunks and the kind of source.
local start = require "parlua.wire.start"
local ffi = require "ffi"
local host = require "parlua.host"
local failure = require "parlua.failure"
local indexed = require "parlua.source.indexed"
local own = require "parlua.source.own"
local groups = require "parlua.lazy" "parlua.worker.groups"
local merging = require "parlua.lazy" "parlua.worker.merging"
local missing = require "parlua.worker.missing"
local task = require "parlua.task"
local texts = require "parlua.lazy" "parlua.worker.texts"

local C = ffi.C

local concat = require("parlua.wire.start").libraries.table.concat -- a script may have put its own in its place
local M = {}
M.__index = M

-- Blocks grow, so that slow tasks (there are few of those) are handed out one by one or nearly, while of a thousand
-- million each block pays for its journey: the first 1024 blocks are single tasks, the next 1024 pairs, and so on up to
-- 4096 tasks a block. The last block is thus at most a thousandth of the whole, and the journey (0.3 us for a number)
-- at most 0.1 ns a task in the long run.
local LEVEL_BLOCKS, MOST_LEVEL = 1024, 12
-- Lines and rows are many and small, and their blocks' values (groups by name) are large: blocks of these grow sooner.
local TEXT_BLOCKS, MOST_TEXT_LEVEL = 64, 16

---@class parlua.Fold
---@field step fun(accumulator, result, index)
---@field init? any see `M.fresh`
---@field is_text? boolean the tasks are lines or rows
---@field block? integer tasks in every block; nil: they grow
---@field groups? {flat: parlua.Flat, init: any, spare: parlua.Spare} values are groups, which go as bytes (groups.lua)
---@field is_ready? boolean `step` is that of ready reducers: what it raises is the failure of the task
---@field merge? fun(a, b): any, group? integer where workers merge values of blocks, too (merging.lua)
---@field n? integer tasks in all, when known
---@field retries integer
---@field retry_on table<string, boolean> kinds of failures that are tried again
---@field backoff number see failure.delay
---@field seed integer
---@field halt boolean a block ends at its first failure
---@return parlua.Fold
function M.new(fields)
  fields.level_blocks = fields.is_text and TEXT_BLOCKS or LEVEL_BLOCKS
  fields.most_level = fields.is_text and MOST_TEXT_LEVEL or MOST_LEVEL
  return setmetatable(fields, M)
end

--- Are the tasks of these arguments lines or rows?
function M.is_text(arguments) return type(arguments) == "table" and rawget(arguments, "is_text") or nil end

--- The first task of block `b`.
function M:first(b)
  if self.block then return (b - 1) * self.block + 1 end
  local blocks = self.level_blocks
  local level = math.min(math.floor((b - 1) / blocks), self.most_level)
  local size = 2 ^ level
  return blocks * (size - 1) + (b - 1 - level * blocks) * size + 1
end

--- The last task of block `b`, as far as the number of tasks is known.
function M:last(b)
  local last = self:first(b + 1) - 1
  return self.n and math.min(last, self.n) or last
end

--- The block that has task `i`.
function M:block_of(i)
  if self.block then return math.floor((i - 1) / self.block) + 1 end
  local blocks, most = self.level_blocks, self.most_level
  local level = math.min(math.floor(math.log((i - 1) / blocks + 1) / math.log(2)), most)
  if blocks * (2 ^ level - 1) > i - 1 then level = level - 1 end -- the logarithm was rounded up
  if level < most and blocks * (2 ^ (level + 1) - 1) <= i - 1 then level = level + 1 end
  local size = 2 ^ level
  return level * blocks + math.floor((i - 1 - blocks * (size - 1)) / size) + 1
end

--- How many blocks `n` tasks make.
function M:blocks(n) return n > 0 and self:block_of(n) or 0 end

--- A fresh accumulator: what the function `init` returns, or a copy of the value `init`.
function M.fresh(init)
  if type(init) == "function" then return init() end
  return own.own(init)
end

-- ---- in the worker ----

local chunk_name = "=parlua.loop"

local MOST_WRITTEN = 40 -- columns of a batch that are written out in the code

-- 1.0 ns a task for a sum over a range (bench/reduction.lua). `kept` is stored at each step: it must outlive an error
-- in the next task.
local text = [[
local slot, f, step, limit, constants, cursor, floor, cast, memchr, ffi_string, char_pointer, unpack, raise = ...
%s
local kept
local function run(first, last, block, batch, origin)
  local limit = limit.cell
  for i = first, last do
    slot.inner = i
    if block > limit[0] then return false end
%s
    local v = f(%s)
    kept = step(kept, v, i)
  end
  return true
end
return run, function() return kept end, function(value) kept = value end
]]

--- The failure of an argument that could not be sent.
local function raise_unsendable(message) error(failure.mark { kind = "unsendable", message = message }, 0) end

--- Is what was raised the doing of `step`? Called while the stack of the error stands.
local function raised_in_step(line)
  local level = 3
  while true do
    local info = debug.getinfo(level, "Sl")
    if not info then return false end
    if info.source == chunk_name then return info.currentline == line end
    level = level + 1
  end
end

--- What folds the blocks of one job. `run(b, batch)` folds block b and returns its value and, if there were any, its
--- failures; `begin(chunk, limit)` goes before the blocks of a chunk.
---@param job parlua.Job
---@param cursor ffi.cdata* for text
---@param reader? {emit: function, skip: function} how a task's argument is read from a text; nil: it comes from the
--- index, or in a
--- batch: a table of columns, with a field n
function M.folder(job, slot, cursor, reader, ranger)
  local fold, source = job.fold, job.source
  local cell, loops, again, text_last = { cell = nil }, {}, nil, nil
  local by_index = not reader and source.n
  local pack = fold.groups and groups.packer(fold.groups.flat, fold.groups.spare, M.fresh(fold.groups.init))
  local step_line

  local function handler(value)
    local ok, in_step = pcall(raised_in_step, step_line)
    local record = failure.capture(value)
    if ok and in_step then record.in_step = true end
    return record
  end

  local function expressions_for(builder, columns)
    if reader then
      local expressions = reader.emit(source, builder, job, ranger.advance)
      if source.enumerated then table.insert(expressions, 1, "i") end
      return expressions
    end
    if by_index then return indexed.emit(source, builder, "i") end
    builder.lines[1] = "if batch.bad and batch.bad[i - origin] then raise(batch.bad[i - origin]) end"
    local expressions = {}
    if columns > MOST_WRITTEN then
      local function values(batch, k)
        local list = {}
        for j = 1, columns do list[j] = batch[j][k] end
        return own.own_items(list, columns)
      end
      return { ("unpack(%s(batch, i - origin), 1, %d)"):format(builder:constant(values), columns) }
    end
    for j = 1, columns do expressions[j] = builder:variable(("batch[%d][i - origin]"):format(j)) end
    own.emit(builder, expressions)
    if source.kind == "blocks" then
      local at = ("%s + %s"):format(builder:constant(ffi.cast("const char *", source.text:pointer())), expressions[1])
      builder.lines[#builder.lines + 1] = "cursor.from = " .. at
      expressions = source.raw and { at, expressions[2] } or { ("ffi_string(%s, %s)"):format(at, expressions[2]) }
      if source.enumerated then table.insert(expressions, 1, "i") end
    end
    return expressions
  end

  --- The inner loop; for batches, with so many columns.
  local function loop_for(columns)
    local loop = loops[columns]
    if loop then return loop end
    local builder, names = indexed.builder(), {}
    local expressions = expressions_for(builder, columns)
    for k, name in ipairs(builder.names) do names[k] = ("local %s = constants[%d]"):format(name, k) end
    local whole = text:format(concat(names, "\n"), concat(builder.lines, "\n"), concat(expressions,
      ", "))
    step_line = 1
    for _ in whole:match("^(.*)kept = step"):gmatch("\n") do step_line = step_line + 1 end
    local run, get, set = start.compile(whole, chunk_name)(slot, job.f, fold.step, cell, builder.constants,
      cursor, math.floor,
      ffi.cast, reader and C.memchr, ffi.string, ffi.typeof("const char *"), unpack, raise_unsendable)
    loop = { run = run, get = get, set = set }
    loops[columns] = loop
    return loop
  end

  local folder = { merge = fold.merge and merging.merger(fold, pack) }

  --- Tasks whose worker was lost as it ran them, and what is next: another attempt; 0: they have failed for good. In
  --- the words of a chunk behind those of a text; or in the batch.
  local function read_again(chunk)
    local from, list = reader and 2 + 4 * chunk.word[1] or 0, nil
    if not reader and not by_index then return nil end
    for k = from, chunk.count - 2, 2 do
      list = list or {}
      list[#list + 1] = { chunk.word[k], chunk.word[k + 1] }
    end
    return list
  end

  function folder.begin(chunk, limit)
    cell.cell = limit
    again = read_again(chunk)
    text_last = reader and fold:first(chunk.origin) + chunk.word[0] - 1
  end

  --- How far to go from task i on without a stop, and as which attempt (0: not at all).
  local function stretch(list, i, last)
    for _, pair in ipairs(list) do
      if pair[1] == i then return i, pair[2] end
      if pair[1] > i and pair[1] <= last then last = pair[1] - 1 end
    end
    return last, 1
  end

  --- Runs tasks i..stop; returns whether they returned, and what was raised or whether all were begun.
  local function run_stretch(run, i, stop, attempt, b, batch, origin)
    if attempt == 1 then return xpcall(run, handler, i, stop, b, batch, origin) end
    if attempt == 0 then
      if reader then texts.skip(source, cursor, ranger) end
      return true, true
    end
    task.begin(attempt)
    local ok, answer = xpcall(run, handler, i, stop, b, batch, origin)
    task.begin(1)
    return ok, answer
  end

  --- The record of the task that raised; an error of `step` is one of the whole reduction.
  local function record_of(raised, index, attempt)
    local record = failure.record(raised)
    if record.in_step and fold.is_ready then -- a result that a ready reducer can't take
      record.in_step = nil
      record.traceback = nil
      record.message = failure.of_reducer(record.message)
    elseif record.in_step then
      record.in_step = nil
      error(failure.mark(record), 0)
    end
    if reader and cursor.next == cursor.from then texts.skip(source, cursor, ranger) end
    record.index, record.attempts = index, attempt
    return record
  end

  --- Waits before a further try: `blocked` says that the task has no part in it. A run that is cancelled goes on at
  --- once.
  local function pause(seconds, b)
    local until_time = C.clock_seconds() + seconds
    if seconds <= 0 then return end
    slot.blocked = 1
    repeat
      local left = until_time - C.clock_seconds()
      if left > 0 then host.sleep(math.min(left, 0.02)) end
    until left <= 0 or cell.cell[0] < b
    slot.blocked = 0
  end

  function folder.run(b, batch)
    local first, last = fold:first(b), fold:last(b)
    if batch then last = first + batch.n - 1 end
    if text_last and text_last < last then last = text_last end
    local list = batch and batch.again or again
    local loop = loop_for(batch and #batch or 0)
    local i, attempt, lap, failures = first, 1, C.clock_seconds(), nil
    loop.set(M.fresh(fold.init))
    while i <= last do
      local stop = i
      if attempt == 1 then
        stop = last
        if list then stop, attempt = stretch(list, i, last) end
      end
      local ok, answer = run_stretch(loop.run, i, stop, attempt, b, batch, first - 1)
      if ok then
        if not answer then failure.raise_cut() end
        i, attempt = stop + 1, 1
      else
        if slot.inner ~= i then i, attempt = slot.inner, 1 end
        local record = record_of(answer, i, attempt)
        if fold.retry_on[record.kind] and not record.is_unread and attempt <= fold.retries then
          pause(failure.delay(fold.backoff, fold.seed, i, attempt), b)
          attempt = attempt + 1
          if reader then cursor.next = cursor.from end
        else
          local now = C.clock_seconds()
          record.seconds, lap = now - lap, now
          failures = failures or {}
          failures[#failures + 1] = record
          if fold.halt then break end
          i, attempt = i + 1, 1
        end
      end
    end
    slot.inner = 0
    local left_out = missing.take()
    local value = loop.get()
    if pack then value = pack(value) end
    if failures or left_out then return value, failures, left_out end
    return value
  end

  return folder
end

return M
