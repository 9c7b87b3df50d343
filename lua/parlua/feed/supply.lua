--- Supplied sources: how the coordinator pulls tasks and writes them into blocks.
local ffi = require "ffi"
local host = require "parlua.host"
local block = require "parlua.wire.block"
local indexed = require "parlua.source.indexed"
local csv = require "parlua.lazy" "parlua.source.csv"
local json = require "parlua.lazy" "parlua.wire.json_values"

local M = {}

-- By kind of source: function(source) -> puller; puller:fill(writer, want) writes up to `want` tasks and returns how
-- many (0: exhausted). `fill` is no closure where it can be avoided: compiled code that has called a closure keeps what
-- that holds, a list of arguments say, until the program ends.

local pullers = {}

local NEWLINE = 10 -- in place of a quote: lines are rows in which nothing is quoted

local function fill_items(puller, writer, want)
  local at = puller.at
  local count = writer:items(puller.items, at + 1, math.min(puller.n, at + want))
  puller.at = at + count
  return count
end

--- A list whose values must be sent (the worker does not inherit them).
function pullers.list(source) return { items = source.items, n = source.n, at = 0, fill = fill_items } end

--- A product or zip that holds lists is made in the coordinator only when the source itself can't cross.
local function remember(values, ...)
  values.n = select("#", ...)
  for k = 1, values.n do values[k] = (select(k, ...)) end
  return values
end

local MOST_ARGUMENTS = 250

local function refuse_width(n)
  error(("a task of the source has %d arguments, more than the %d that a task may have; give it one list of them"):format(n,
    MOST_ARGUMENTS), 0)
end

function pullers.iterator(source)
  local step, state, control, ended, held = source.step or source.make(M.reader), source.state, source.control, false, nil
  local function pull(writer, count, first, ...)
    if first == nil then
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

--- A list of lists, each the arguments of a task, for workers that don't inherit it.
function pullers.spread(source)
  return pullers.reader { make = function() return M.reader(source) end }
end

--- Maps the file of a text source; raises a clear error when it can't be read.
local function open_text(source)
  local text, message = host.map_text(source.path)
  if not text then
    local advice = source.path:find "[*?%[]" and "; for the files that a pattern matches take parlua.files, and read each in the task" or ""
    error(("%s: cannot read '%s': %s%s"):format(source.kind, source.path, message, advice), 0)
  end
  return text
end

--- A message when the first `reach` bytes of a text are no longer there: what was read of them may be zeros.
local function cut_message(text, source, reach)
  local whole = text:whole()
  if whole >= reach then return nil end
  return ("%s: '%s' was cut short while it was read: of %.0f bytes it has %.0f"):format(source.kind, source.path, text:length(), whole)
end

--- Raises it.
local function check_whole(...)
  local message = cut_message(...)
  if message then error(message, 0) end
end

--- A text that can only be read from its beginning to its end: `step` gives its pieces.
local function stream_puller(source, text, step)
  local i = 0
  local function numbered_step()
    local piece = step()
    i = i + 1
    if piece ~= nil then return i, piece end
  end
  local puller = pullers.iterator { step = source.enumerated and numbered_step or step }
  function puller.close() text:close() end
  return puller
end

--- Hands out what was cut from the text, as one byte range; returns the number of tasks in it.
local function hand_out(puller, writer, count, offset, length)
  if count == 0 then return 0 end
  if count > 1 then check_whole(puller.text, puller.source, offset + length) end -- of one the worker sees it
  puller.offset = offset + length
  writer:range(offset, length)
  return count
end

local function fill_lines(puller, writer, want)
  return hand_out(puller, writer, puller.text:cut_lines(puller.offset, want))
end

--- Lines: a chunk is one byte range; its words are the offset and the length.
function pullers.lines(source)
  local text = source.text or open_text(source)
  if text:is_stream() then return stream_puller(source, text, function() return text:line(source.keep_cr or false) end) end
  return { text = text, source = source, offset = 0, fill = fill_lines }
end

--- The next row of a stream: the text of one line, or of several where quotes hold line ends.
local function stream_row(text, source)
  local line
  repeat
    line = text:line(true)
    if line == nil then return nil end
  until line ~= "" and line ~= "\r"
  while not csv.is_whole(line, source.separator, source.quote) do
    local more = text:line(true)
    if more == nil then break end
    line = line .. "\n" .. more
  end
  return line
end

--- Bytes of the byte order mark at the beginning of a mapped text.
local function mark_length(text)
  if text:length() < 3 then return 0 end
  return ffi.string(ffi.cast("const char *", text:pointer()), 3) == csv.MARK and 3 or 0
end

--- Reads the header where the names are not given; returns the offset of the first row.
local function read_header(source, text)
  if source.names or source.header == false then return text:is_stream() and 0 or mark_length(text) end
  local line, length
  if text:is_stream() then
    line = stream_row(text, source) or ""
  else
    length = select(3, text:cut_rows(0, 1, source.quote, source.separator))
    line = ffi.string(ffi.cast("const char *", text:pointer()), length)
    check_whole(text, source, length)
  end
  if line == "" then error(("csv: '%s' is empty: it has no header"):format(source.path), 0) end
  line = csv.without_mark(line)
  local names, message = csv.header(line, source.separator, source.quote)
  if not names then error(("csv: '%s': %s"):format(source.path, message), 0) end
  csv.check_columns(source, names, ("'%s' has"):format(source.path))
  source.found_names = names
  return length
end

--- A csv source with its header's names.
local function with_names(source)
  local copy = {}
  for key, value in pairs(source) do copy[key] = value end
  copy.names = source.names or source.found_names
  return copy
end

local function fill_rows(puller, writer, want)
  local source = puller.source
  return hand_out(puller, writer, puller.text:cut_rows(puller.offset, want, source.quote, source.separator))
end

--- Rows: a chunk is one byte range, as for lines.
function pullers.csv(source)
  local text = source.text or open_text(source)
  local offset = read_header(source, text)
  if text:is_stream() then
    local parse, is_first = csv.reader(with_names(source)), source.names or source.header == false
    return stream_puller(source, text, function()
      local line = stream_row(text, source)
      if line and is_first then line, is_first = csv.without_mark(line), false end
      return line and parse(line)
    end)
  end
  return { text = text, source = source, offset = offset, fill = fill_rows }
end

local function fill_json(puller, writer, want)
  return hand_out(puller, writer, puller.text:cut_rows(puller.offset, want, NEWLINE, NEWLINE))
end

--- Lines of JSON: a chunk is one byte range; empty lines count as none.
function pullers.jsonl(source)
  local text = source.text or open_text(source)
  if not text:is_stream() then return { text = text, source = source, offset = mark_length(text), fill = fill_json } end
  local is_first = true
  return stream_puller(source, text, function()
    local line
    repeat
      line = text:line(false)
      if line and is_first then line, is_first = csv.without_mark(line), false end
    until line ~= ""
    if line then return json.decode(line) end
  end)
end

local LOOK_BYTES = 2 ^ 20

local function fill_blocks(puller, writer, want)
  local count = 0
  while count < want do
    local length = puller.text:cut_block(puller.offset, puller.size)
    if length == 0 or not writer:task(count, puller.offset, length) then break end
    puller.offset = puller.offset + length
    count = count + 1
  end
  if puller.offset >= puller.look_at then -- workers see it too, at each chunk: this is to end a run that has no end in sight
    check_whole(puller.text, puller.source, puller.offset)
    puller.look_at = puller.offset + LOOK_BYTES
  end
  return count
end

--- Blocks: two words a task, offset and length.
function pullers.blocks(source)
  local text = source.text or open_text(source)
  if text:is_stream() then
    return stream_puller(source, text, function() return text:piece(source.size) end)
  end
  return { text = text, source = source, size = source.size, offset = 0, look_at = 1, fill = fill_blocks }
end

--- Bytes of the line or row at `offset` of a mapped text.
local function task_length(source, text, offset)
  if source.kind == "csv" then return (select(3, text:cut_rows(offset, 1, source.quote, source.separator))) end
  if source.kind == "jsonl" then return (select(3, text:cut_rows(offset, 1, NEWLINE, NEWLINE))) end
  return (select(3, text:cut_lines(offset, 1)))
end

local row_readers = setmetatable({}, { __mode = "k" }) -- by source: making one takes a millisecond

local function row_reader(source)
  local reader = row_readers[source]
  if not reader then
    reader = csv.reader(with_names(source))
    row_readers[source] = reader
  end
  return reader
end

--- The argument that these bytes of a mapped text are to a task; of a row that is wrong: its text. Raises an error when
--- they are no longer there: where they were missing stand zeros, which are rare in texts.
local function text_argument(source, text, offset, length)
  local bytes = ffi.string(ffi.cast("const char *", text:pointer()) + offset, length)
  if bytes:find("\0", 1, true) then check_whole(text, source, offset + length) end
  if source.kind == "csv" then
    local ok, row = pcall(row_reader(source), bytes)
    return ok and row or bytes
  elseif source.kind == "jsonl" then
    local ok, value = pcall(json.decode, bytes)
    if ok then return value end
    return (bytes:gsub("[\r\n]+$", ""))
  elseif source.kind == "lines" then
    bytes = bytes:gsub("\n$", "")
    if not source.keep_cr then bytes = bytes:gsub("\r$", "") end
  end
  return bytes
end

local function as_task(source, i, argument)
  if source.enumerated then return { n = 2, i, argument } end
  return { n = 1, argument }
end

--- Of a text that was cut short nothing can be told.
local lost = { n = 0 }

--- The arguments of task `i`, a piece of text.
function M.piece_arguments(source, puller, i, offset, length)
  if puller.text:whole() < offset + length then return lost end
  return as_task(source, i, text_argument(source, puller.text, offset, length))
end

--- Is the text that the tasks of an event had for arguments no longer there? They may have been done with zeros: not
--- all of that is noticed by workers, whose results are taken also from the middle of a chunk. Returns a message then.
--- It costs half a microsecond an event.
---@return string?
function M.is_cut(source, puller, event)
  local text, payload = puller.text, event.payload
  if event.want == 0 or event.first == 0 then return nil end -- no task has ended; or task 0, which stands for the job
  local reach = text:length()
  if payload ~= nil and source.kind ~= "blocks" then
    reach = payload.word[0] + payload.word[1]
  elseif payload ~= nil and payload.width == 2 then
    local at = (event.last - payload.origin) * 2
    reach = payload.word[at] + payload.word[at + 1]
  end
  return cut_message(text, source, reach)
end

--- The arguments of task `i` as a table with `n`: for failures and for output.
---@param payload? ffi.cdata* the block in which they were supplied
---@param origin? integer the task of its first word, where the block itself does not tell
function M.arguments_of(source, puller, payload, i, origin)
  if not puller then
    source.make = source.make or indexed.maker(source)
    return remember({}, source.make(i))
  end
  if not puller.text then return block.arguments(payload, i) end
  if source.kind == "blocks" then
    local range = block.arguments(payload, i)
    return M.piece_arguments(source, puller, i, range[1], range[2])
  end
  local start, offset, at = payload.word[0], payload.word[0], origin or payload.origin
  if puller.text:whole() < start + payload.word[1] then return lost end
  local last = puller.last_asked -- an output asks for one after the other: go on from there
  if last and last.start == start and last.task <= i then offset, at = last.offset, last.task end
  for _ = at, i - 1 do offset = offset + task_length(source, puller.text, offset) end
  puller.last_asked = { start = start, task = i, offset = offset }
  return as_task(source, i, text_argument(source, puller.text, offset, task_length(source, puller.text, offset)))
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
function M.open(source) return limit(source, pullers[source.kind](source)) end

--- A puller that gives the tasks of any source as they are: the script reads what workers would cut up themselves. Its
--- `decode`, where there is one, makes a task's arguments of what it gives, or raises what is wrong with them.
function M.in_script(source)
  local inner = M.open(source)
  local is_csv = inner.text and source.kind == "csv"
  local puller = pullers.reader { make = function() return M.reader(source, inner, is_csv) end }
  if is_csv then
    local row_of = csv.reader(with_names(source))
    function puller.decode(a, b)
      if source.enumerated then return a, row_of(b) end
      return row_of(a)
    end
  end
  function puller.close()
    if inner.close then inner:close() end
  end
  return puller
end

--- What a worker needs of the source: sent with the job.
function M.describe(source, puller, inherits)
  if not puller.text then return { kind = "values", raw = source.raw } end
  return { kind = source.kind, path = source.path, raw = source.raw, keep_cr = source.keep_cr, enumerated = source.enumerated,
           names = source.names or source.found_names, types = source.types, columns = source.columns,
           separator = source.separator, quote = source.quote,
           text = inherits and puller.text or nil, length = puller.text:length(),
           version = puller.text:version() } -- warm workers keep a job, and with it their file, as long as nothing of it changes
end

--- Reads a source in the coordinator, one task after the other: a function that returns true and a task's arguments, or
--- nothing at the end.
---@param puller? table of the source, when it is open
---@param is_raw? boolean rows of CSV as they stand in the file
function M.reader(source, puller, is_raw)
  local i = 0
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
  function writer.range(_, from, bytes) offset, length = from, bytes end
  return function()
    if puller:fill(writer, 1) == 0 then return end
    i = i + 1
    if puller.text then
      held = as_task(source, i, is_raw and ffi.string(ffi.cast("const char *", puller.text:pointer()) + offset, length)
        or text_argument(source, puller.text, offset, length))
    end
    return true, unpack(held, 1, held.n)
  end
end

return M
