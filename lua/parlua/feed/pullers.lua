--- Supplied sources but lists: how the coordinator pulls tasks and writes them into blocks. Others ask feed/supply.lua,
--- which loads this when there is such a source.
local ffi = require "ffi"
local host = require "parlua.host"
local indexed = require "parlua.source.indexed"
local range_tasks = require "parlua.lazy" "parlua.feed.range_tasks"
local ranges = require "parlua.lazy" "parlua.feed.ranges"
local csv = require "parlua.lazy" "parlua.source.csv"
local json_values = require "parlua.lazy" "parlua.wire.json_values"
local texts = require "parlua.wire.text"

local M = {}

-- By kind of source: function(source) -> puller; puller:fill(writer, want) writes up to `want` tasks and returns how
-- many (0: exhausted). `fill` is no closure where it can be avoided: compiled code that has called a closure keeps what
-- that holds, a list of arguments say, until the program ends.

local pullers = {}

pullers.list = require "parlua.feed.items"

--- A product or zip that holds lists is made in the coordinator only when the source itself can't cross.
local function remember(values, ...)
  values.n = select("#", ...)
  for k = 1, values.n do values[k] = (select(k, ...)) end
  return values
end

local MOST_ARGUMENTS = 250

local function refuse_width(n)
  error(("a task of the source has %d arguments, more than the %d that a task may have; give it one list of them")
    :format(n, MOST_ARGUMENTS), 0)
end

function pullers.iterator(source)
  local step, state, control = source.step or source.make(M.reader), source.state, source.control
  local ended, held = false, nil
  local function pull(writer, count, first, ...)
    if type(first) == "nil" then
      ended = true
      return 0
    end
    if select("#", ...) >= MOST_ARGUMENTS then refuse_width(select("#", ...) + 1) end
    control = first
    if writer:task(count, first, ...) then return 1 end
    held = remember({}, first, ...)
    return 0
  end
  return {
    pulled = 0, -- tasks in the chunk so far: a step that raises does not take them along
    fill = function(self, writer, want)
      local count, hurries = 0, writer.is_due ~= nil
      self.pulled = 0
      if not held then
        while count < want and not ended and not held do
          count = count + pull(writer, count, step(state, control))
          self.pulled = count
          if hurries and writer:is_due(count, want) then break end
        end
      end
      if count == 0 and held then
        writer:task_alone(held)
        held = nil
        return 1
      end
      return count
    end,
  }
end

--- What is read in the script: `make` gives a function that returns true and a task's arguments, of which the first may
--- be nil.
function pullers.reader(source)
  local read, ended, held = source.make(M.reader), false, nil
  local function pull(writer, count, more, ...)
    if not more then
      ended = true
      return 0
    end
    if more == M.UNREAD then return writer:unread(count, ...) end
    if select("#", ...) > MOST_ARGUMENTS then refuse_width(select("#", ...)) end
    if writer:task(count, ...) then return 1 end
    held = remember({}, ...)
    return 0
  end
  return {
    pulled = 0,
    fill = function(self, writer, want)
      local count = 0
      self.pulled = 0
      if held then
        writer:task_alone(held)
        held = nil
        return 1
      end
      while count < want and not ended and not held do
        count = count + pull(writer, count, read())
        self.pulled = count
      end
      if count > 0 or not held then return count end
      return self:fill(writer, want)
    end,
  }
end

--- The tasks of an indexed source, made in the script for workers that can't make them.
local function one_by_one(source)
  return pullers.reader { make = function() return M.reader(source) end }
end
pullers.spread = one_by_one

--- Opens the files of a text source; raises a clear error when one can't be read.
local function open_text(source)
  local text, message, k = host.map_text(source.paths)
  if not text then
    local name = source.paths[k] == "-" and "standard input" or "'" .. source.paths[k] .. "'"
    error(("%s: cannot read %s: %s"):format(source.kind, name, message), 0)
  end
  return text
end

--- Lines, rows, lines of JSON; blocks of a stream.
local function open_ranges(source) return ranges.open(source, source.text or open_text(source)) end

pullers.lines, pullers.csv, pullers.jsonl = open_ranges, open_ranges, open_ranges

local LOOK_BYTES = 2 ^ 20

--- The length of the next block at the puller's offset, in its file.
local function next_length(puller)
  local left = puller.stop - puller.offset
  if left <= 0 then return 0 end
  if puller.record then return math.min(left, math.max(math.floor(puller.size / puller.record), 1) * puller.record) end
  return puller.text:cut_block(puller.offset, puller.size, puller.start)
end

local function fill_blocks(puller, writer, want)
  local count = 0
  while count < want do
    local length = next_length(puller)
    if length == 0 then
      if puller.part >= puller.text:parts() then break end
      puller.part = puller.part + 1
      local _, from, stop = puller.text:part(puller.part)
      puller.offset, puller.stop = from, stop
    else
      if not writer:task(count, puller.offset, length) then break end
      puller.offset = puller.offset + length
      count = count + 1
    end
  end
  -- workers see it too, at each chunk: this is to end a run that has no end in sight
  if puller.offset >= puller.look_at then
    ranges.check_whole(puller.text, puller.source, puller.offset)
    puller.look_at = puller.offset + LOOK_BYTES
  end
  return count
end

--- Blocks: two words a task, offset and length.
function pullers.blocks(source)
  local text = source.text or open_text(source)
  if text:is_stream() then return ranges.open(source, text) end
  return { text = text, source = source, size = source.size, start = source.start, record = source.record, offset = 0,
           stop = 0,
           part = 0, look_at = 1, fill = fill_blocks }
end

local function as_task(source, i, argument)
  if source.enumerated then return { n = 2, i, argument } end
  return { n = 1, argument }
end

--- The same of a task's bytes. `with_text`: the task gets its text behind it.
local function task_of(source, i, bytes)
  if not source.with_text then return as_task(source, i, range_tasks.argument(source, bytes)) end
  return { n = 2, range_tasks.argument(source, bytes), csv.text_of(bytes) }
end

--- Of a text that was cut short, or that fits into no string, nothing can be told.
local lost = { n = 0 }

--- The same of a task whose argument is one of a range, or of a block.
function M.range_arguments(source, puller, payload, i, origin)
  local bytes = range_tasks.find(source, puller, payload, i - (origin or payload.origin))
  if bytes and source.with_text then return { n = 1, csv.text_of(bytes) } end
  return bytes and as_task(source, i, range_tasks.argument(source, bytes)) or lost
end

--- The arguments of task `i`, a block of a mapped text.
function M.piece_arguments(source, puller, i, offset, length)
  if length > texts.MOST or puller.text:whole(offset + length) < offset + length then return lost end
  return as_task(source, i, ffi.string(ffi.cast("const char *", puller.text:pointer()) + offset, length))
end

--- Is the text that the tasks of an event had for arguments no longer there? They may have been done with zeros: not
--- all of that is noticed by workers, whose results are taken also from the middle of a chunk. Returns a message then.
--- It costs half a microsecond an event.
---@return string?
function M.is_cut(source, puller, event)
  local text, payload = puller.text, event.payload
  if event.want == 0 or event.first == 0 then return nil end -- no task has ended; or task 0, which stands for the job
  if payload ~= nil and puller.is_ranges then
    for r = 0, payload.word[1] - 1 do
      local at = ranges.HEAD + ranges.WIDTH * r
      local message = ranges.cut_message(text, source, payload.word[at] + payload.word[at + 1])
      if message then return message end
    end
    puller.is_checked = true -- until the event is dealt with
    return nil
  end
  local reach = text:length()
  if payload ~= nil and payload.width == 2 then
    local at = (event.last - payload.origin) * 2
    reach = payload.word[at] + payload.word[at + 1]
  end
  return ranges.cut_message(text, source, reach)
end

--- Where task `i` of lines, rows or blocks comes from: the path of its file, and the line; nil where that is not known.
---@param origin? integer the task of the payload's first word, where the block itself does not tell
function M.place_of(source, puller, payload, i, origin)
  if not puller or payload == nil then return nil end
  if puller.is_ranges then
    return range_tasks.place_of(source, puller, payload, i - (origin or payload.origin))
  elseif puller.text and payload.width == 2 then
    local text, offset = puller.text, payload.word[2 * (i - payload.origin)]
    local whole, part = text:whole(offset + 1)
    local name, begin = text:part(part)
    if whole > offset then return name, text:ends(begin, offset) + 1 end
  end
end

local function fill_limited(puller, writer, want)
  local count = puller.left > 0 and puller:fill_all(writer, math.min(want, puller.left)) or 0
  puller.left = puller.left - count
  return count
end

--- Holds a puller to what `take` left of its source.
local function limit(source, puller)
  if source.most then puller.left, puller.fill_all, puller.fill = source.most, puller.fill, fill_limited end
  return puller
end

--- Prepares a supplied source, or a list whose values are sent, for a run before any work starts: opens its file.
---@return table puller
function M.open(source) return limit(source, (pullers[source.kind] or one_by_one)(source)) end

--- What makes the argument of a task from its bytes, where that is the task's own work: function(source) -> a function.
local decoders = {}

function decoders.csv(source) return range_tasks.row_reader(source) end

function decoders.jsonl() return function(text) return json_values.decode_line(text) end end

function decoders.blocks(source)
  if source.raw then return function(text) return ffi.cast("const char *", text), #text end end
  return function(text) return text end
end

--- A puller that gives the tasks of any source as they are: the script reads what workers would cut up themselves. Its
--- `teller` tells where the task comes from that it gave last; its `decode`, where there is one, makes a task's
--- arguments of what it gives, or raises what is wrong with them; failures show what it makes, unless `shows_bytes`.
function M.in_script(source)
  local inner = M.open(source)
  local decode = (inner.is_ranges or source.raw) and decoders[source.kind]
  local puller
  local function note(teller) puller.teller = teller end
  puller = pullers.reader { make = function() return M.reader(source, inner, decode ~= nil, note, true) end }
  if decode then
    local argument = decode(source)
    function puller.decode(a, b)
      if source.enumerated then return a, argument(b) end
      if source.with_text then return argument(a), a end
      return argument(a)
    end
    puller.shows_bytes = source.raw or source.with_text
  end
  function puller.close()
    if inner.close then inner:close() end
  end
  return puller
end

--- What a worker needs of a text: sent with the job.
function M.describe(source, puller, inherits)
  local text = puller.text
  local kind = not text and source.kind == "blocks" and "pieces" or source.kind
  return { kind = kind, path = source.path, paths = source.paths, raw = source.raw, keep_cr = source.keep_cr,
           enumerated = source.enumerated, with_text = source.with_text, names = source.names or source.found_names,
           types = source.types, columns = source.columns, separator = source.separator, quote = source.quote,
           is_stream = not text or nil,
           text = inherits and text or nil, length = text and text:length(),
           -- warm workers keep a job, and with it its files, as long as nothing of them changes
           version = text and text:version() }
end

M.UNREAD = "unread"

--- Reads a source in the coordinator, one task after the other: a function that returns true and a task's arguments, or
--- nothing at the end.
---@param puller? table of the source, when it is open
---@param is_raw? boolean the bytes as they stand in the file
---@param note? fun(teller: function) is told before each task of a text what tells its path and line
---@param goes_on? boolean for a task in whose place a file can't be read, the function returns UNREAD and a record;
--- else it raises, and is at its end
function M.reader(source, puller, is_raw, note, goes_on)
  local i, unread = 0, nil
  if source:is_indexed() then
    local make, n = indexed.maker(source), source.n
    return function()
      if i >= n then return end
      i = i + 1
      return true, make(i)
    end
  end
  puller = puller or M.open(source)
  local held, offset, length
  local writer = {}
  function writer.task(_, _, ...)
    if puller.text then offset, length = ... else held = { n = select("#", ...), ... } end
    return true
  end
  function writer.ranges(_, _, list)
    local range = list[1]
    local bytes = range[1]
    if note then note(range_tasks.teller(source, puller, range)) end
    if range[2] < 0 then
      unread = { kind = "error", message = bytes, is_unread = true }
      unread.path, unread.line = range_tasks.teller(source, puller, range)()
      if goes_on then return end
      local left = #source.paths - range[3]
      error(left == 0 and bytes or ("%s; nor were the %d files behind it read: what is made of a source here (by "
        .. "filter, zip, batch, shard, a loop) needs all of its tasks"):format(bytes, left), 0)
    end
    if type(bytes) ~= "string" then
      bytes = texts.string(ffi.cast("const char *", puller.text:pointer()) + range[1], range[2])
      -- where it is no longer there stand zeros, which are rare in texts
      if bytes:find("\0", 1, true) then ranges.check_whole(puller.text, source, range[1] + range[2]) end
    end
    if is_raw then
      held = as_task(source, i, source.with_text and csv.text_of(bytes) or range_tasks.bytes_of(source, bytes))
    else
      held = task_of(source, i, bytes)
    end
  end
  return function()
    i = i + 1
    if puller:fill(writer, 1) == 0 then return end
    if unread then
      local record = unread
      unread = nil
      return M.UNREAD, record
    end
    if puller.text and not puller.is_ranges then
      held = as_task(source, i, texts.string(ffi.cast("const char *", puller.text:pointer()) + offset, length))
      if note then
        local part = select(2, puller.text:whole(offset + 1))
        note(range_tasks.teller(source, puller, { offset, length, part, 0 }))
      end
    end
    return true, unpack(held, 1, held.n)
  end
end

return M
