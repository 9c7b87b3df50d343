--- Sources of arguments: lazy, and they know how to split themselves.
--
-- A source is a plain table, so that it can cross to a worker. Two families:
--   indexed (`source.n` is known): the arguments of task i follow from i alone. A chunk is two numbers; each worker makes the
--     arguments itself, by code that `emit` writes into the worker's loop.
--   supplied: the coordinator pulls tasks (`open`) and writes them into blocks: values, or what the worker needs to find them
--     (byte ranges of a file).
local ffi = require "ffi"
local host = require "parlua.host"
local block = require "parlua.block"
local lazy = require "parlua.lazy"
local csv = lazy "parlua.csv"

local M = {}

---@class parlua.Source
---@field kind string
---@field n? integer number of tasks, when known
local Source = {}
Source.__index = Source
M.Source = Source

local function is_source(value)
  return type(value) == "table" and getmetatable(value) == Source
end
M.is_source = is_source

local function new(source)
  return setmetatable(source, Source)
end

local function check_number(value, name, where)
  if type(value) ~= "number" or value ~= value then
    error(("%s: %s must be a number, got %s"):format(where, name, value ~= value and "nan" or type(value)), 3)
  end
  return value
end

--- Numbers from first to last, as a numeric `for` counts them. Example: `parlua.range(1, 1e6)`, `parlua.range(10)`.
---@param first number with one argument: the last, and the first is 1
---@param last? number
---@param step? number default 1
---@return parlua.Source
function M.range(first, last, step)
  if last == nil then first, last = 1, first end
  check_number(first, "first", "range")
  check_number(last, "last", "range")
  step = step == nil and 1 or check_number(step, "step", "range")
  if step == 0 then error("range: step must not be 0", 2) end
  local n = math.floor((last - first) / step + 1e-10) + 1
  if n ~= n or n == math.huge then error(("range: from %g to %g by %g has no end"):format(first, last, step), 2) end
  if n > 2 ^ 53 then error(("range: %g numbers are more than can be counted (2^53)"):format(n), 2) end
  return new { kind = "range", first = first, step = step, n = n > 0 and n or 0 }
end

--- The items of a plain list. A list serves as it is wherever arguments are expected; this makes it a part of a product or zip.
---@param items any[]
---@return parlua.Source
function M.list(items)
  if type(items) ~= "table" then error("list: a table is expected, got " .. type(items), 2) end
  local n = items.n or #items
  if type(n) ~= "number" or n < 0 or n % 1 ~= 0 then
    error(("list: its field n, the number of items, must be a whole number, got %s"):format(tostring(n)), 0)
  end
  if n == 0 and items.n == nil and next(items) ~= nil then
    error("list: the table has keys, but no items 1, 2, ...; for its pairs take parlua.iterate(pairs(t))", 0)
  end
  return new { kind = "list", items = items, n = n }
end

local function indexed_parts(where, ...)
  local parts = { ... }
  for k = 1, select("#", ...) do
    local part = parts[k]
    if type(part) == "table" and not is_source(part) then part = M.list(part) end
    if not is_source(part) or not part.n or part.kind == "blocks" then
      error(("%s: part %d must be a list, a range, a product or a zip, got %s"):format(where, k,
        is_source(part) and part.kind or type(part)), 3)
    end
    parts[k] = part
  end
  if #parts == 0 then error(where .. ": at least one part is expected", 3) end
  return parts
end

--- Every combination of the parts; the last varies fastest, as nested loops do. Nothing is materialised.
---@param ... parlua.Source|any[]
---@return parlua.Source
function M.product(...)
  local parts, n = indexed_parts("product", ...), 1
  for _, part in ipairs(parts) do n = n * part.n end
  if n > 2 ^ 53 then error(("product: %g combinations are more than can be counted (2^53)"):format(n), 2) end
  return new { kind = "product", parts = parts, n = n }
end

--- The parts in step; as long as the shortest.
---@param ... parlua.Source|any[]
---@return parlua.Source
function M.zip(...)
  local parts, n = indexed_parts("zip", ...), math.huge
  for _, part in ipairs(parts) do n = math.min(n, part.n) end
  return new { kind = "zip", parts = parts, n = n }
end

--- Paths that a shell pattern matches, sorted. Directories are left out.
---@param pattern string|string[] "*", "?", "[...]"; "**" stands for any number of directories, at the end for all files below
---@return parlua.Source
function M.files(pattern)
  local patterns = type(pattern) == "table" and pattern or { pattern }
  local found, seen = {}, {}
  for _, one in ipairs(patterns) do
    if type(one) ~= "string" then error("files: a pattern (string) is expected, got " .. type(one), 2) end
    if one == "**" or one:sub(-3) == "/**" then one = one .. "/*" end
    local paths, message = host.glob(one)
    if not paths then error(("files: '%s': %s"):format(one, message), 2) end
    for _, path in ipairs(paths) do
      if not seen[path] then
        seen[path] = true
        found[#found + 1] = path
      end
    end
  end
  table.sort(found)
  return M.list(found)
end

local text_options = {
  lines = { keep_cr = "boolean" },
  blocks = { raw = "boolean", size = "number" },
  csv = { header = { "boolean", "table" }, separator = "string", quote = "string", types = "table" },
}

local function is_of_type(value, expected)
  if type(expected) == "string" then return type(value) == expected end
  return type(value) == expected[1] or type(value) == expected[2]
end

local function text_source(kind, path, options)
  if type(path) ~= "string" then error(kind .. ": a path is expected, got " .. type(path), 3) end
  if options ~= nil and type(options) ~= "table" then error(kind .. ": options must be a table, got " .. type(options), 3) end
  local source = { kind = kind, path = path }
  for name, value in pairs(options or {}) do
    local expected = text_options[kind][name]
    if not expected then error(("%s: unknown option '%s'"):format(kind, tostring(name)), 3) end
    if not is_of_type(value, expected) then
      local wanted = type(expected) == "table" and table.concat(expected, " or a ") or expected
      error(("%s: option '%s' must be a %s, got %s"):format(kind, name, wanted, type(value)), 3)
    end
    source[name] = value
  end
  return source
end

--- The lines of a text file, without their ends; a task a line. Each worker reads its own byte ranges. The last line may lack its
--- end; CRLF ends are taken off too; other bytes, NUL included, are kept. A pipe (or "-", standard input) is read as a stream.
---@param path string
---@param options? {keep_cr: boolean} keep_cr: leave a carriage return at a line's end
---@return parlua.Source
function M.lines(path, options)
  return new(text_source("lines", path, options))
end

--- A text file in pieces of whole lines; a task a piece.
---@param path string
---@param options? {size: integer, raw: boolean} size: bytes, about (default 1 MiB); raw: the task gets a pointer
--- (const char *) and a length instead of a string, valid during the task
---@return parlua.Source
function M.blocks(path, options)
  local source = text_source("blocks", path, options)
  source.size = source.size or 2 ^ 20
  if source.size < 1 or source.size ~= source.size then error(("blocks: size must be at least 1 byte, got %g"):format(source.size), 2) end
  return new(source)
end

local column_types = { auto = true, number = true, string = true }

local function one_byte(source, name, default)
  local value = source[name] or default
  if #value ~= 1 or value == "\n" then
    error(("csv: option '%s' must be one character, got %q"):format(name, value), 3)
  end
  return value:byte()
end

--- Rows of a file of comma-separated values; a task a row: a table by the header's names. A field that reads as a number is one (007 is
--- not), an empty one is nil, what stands in quotes is a string. Quotes may hold separators, line ends and, twice, the quote.
--- Each worker reads its own byte ranges. Example: `parlua.csv("t.csv", { types = { zip = "string" } })`
---@param path string "-": standard input
---@param options? {header: boolean|string[], separator: string, quote: string, types: table<string, "auto"|"number"|"string">}
--- header: true (the first row), a list of names, or false: rows are lists, with a field n
---@return parlua.Source
function M.csv(path, options)
  local source = text_source("csv", path, options)
  source.separator, source.quote = one_byte(source, "separator", ","), one_byte(source, "quote", '"')
  for column, kind in pairs(source.types or {}) do
    if not column_types[kind] then
      error(("csv: the type of column '%s' must be auto, number or string, got %s"):format(tostring(column), tostring(kind)), 2)
    end
  end
  if type(source.header) == "table" then
    source.names = source.header
  elseif source.header == false and source.types then
    error("csv: option 'types' goes by the names of columns, but there is no header", 2)
  end
  return new(source)
end

--- What a generic `for` takes (`parlua.iterate(pairs(t))`): each step's values are the arguments of a task.
---@return parlua.Source
function M.iterate(step, state, control)
  if type(step) ~= "function" then error("iterate: an iterator function is expected, got " .. type(step), 2) end
  return new { kind = "iterator", step = step, state = state, control = control }
end

--- Turns what may stand for arguments into a source.
---@param arguments any a source, a list, an iterator function, a coroutine
---@return parlua.Source
function M.of(arguments)
  if is_source(arguments) then return arguments end
  local kind = type(arguments)
  if kind == "table" then
    local meta = getmetatable(arguments)
    if meta and meta.__call then return M.iterate(function(s, c) return arguments(s, c) end) end
    return M.list(arguments)
  elseif kind == "function" then
    return M.iterate(arguments)
  elseif kind == "thread" then
    return M.iterate(function()
      if coroutine.status(arguments) == "dead" then return nil end
      local values = { coroutine.resume(arguments) }
      if not values[1] then error(debug.traceback(arguments, tostring(values[2])), 0) end
      return unpack(values, 2, table.maxn(values))
    end)
  end
  error(("arguments must be a list, a source such as parlua.range(1, 10), an iterator function or a coroutine, got %s"):format(
    kind == "nil" and "nothing" or kind), 0)
end

-- ---- indexed sources: code that makes the arguments of task i ----

local emit = {}

--- Appends to `builder` what makes the arguments of task `i` (the name of a number from 1). Returns the expressions.
local function emit_source(source, builder, i)
  return emit[source.kind](source, builder, i)
end

function emit.range(source, builder, i)
  local first, step = source.first, source.step
  if step == 1 then
    if first == 1 then return { i } end
    return { ("(%s + %s)"):format(i, builder:constant(first - 1)) }
  end
  return { ("(%s + (%s - 1) * %s)"):format(builder:constant(first), i, builder:constant(step)) }
end

function emit.list(source, builder, i)
  return { ("%s[%s]"):format(builder:constant(source.items), i) }
end

function emit.product(source, builder, i)
  local parts, indices = source.parts, {}
  local rest = builder:variable(i .. " - 1")
  for k = #parts, 1, -1 do
    if k == 1 then
      indices[1] = builder:variable(rest .. " + 1")
    else
      local n = builder:constant(parts[k].n)
      local quotient = builder:variable(("floor(%s / %s)"):format(rest, n))
      indices[k] = builder:variable(("%s - %s * %s + 1"):format(rest, quotient, n))
      rest = quotient
    end
  end
  local expressions = {}
  for k, part in ipairs(parts) do
    for _, expression in ipairs(emit_source(part, builder, indices[k])) do expressions[#expressions + 1] = expression end
  end
  return expressions
end

function emit.zip(source, builder, i)
  local expressions = {}
  for _, part in ipairs(source.parts) do
    for _, expression in ipairs(emit_source(part, builder, i)) do expressions[#expressions + 1] = expression end
  end
  return expressions
end

M.emit = emit_source

function emit.take(source, builder, i) return emit_source(source.parts[1], builder, i) end

function emit.enumerate(source, builder, i) return { i, unpack(emit_source(source.parts[1], builder, i)) } end

local function pack_item(...)
  if select("#", ...) == 1 then return (...) end
  return { n = select("#", ...), ... }
end

function emit.batch(source, builder, i)
  local part, size = source.parts[1], source.size
  local make, n = M.maker(part), part.n
  local function batch(b)
    local list, first = {}, (b - 1) * size
    for k = 1, math.min(size, n - first) do list[k] = pack_item(make(first + k)) end
    return list
  end
  return { ("%s(%s)"):format(builder:constant(batch), i) }
end

--- Collects lines of code, and the constants that it uses.
local Builder = {}
Builder.__index = Builder
M.Builder = Builder

function M.builder()
  return setmetatable({ lines = {}, names = {}, constants = {}, variables = 0 }, Builder)
end

--- A name for a value in the code.
function Builder:constant(value)
  local k = #self.constants + 1
  self.constants[k] = value
  self.names[k] = "c" .. k
  return self.names[k]
end

--- A new local variable with the value of `expression`.
function Builder:variable(expression)
  self.variables = self.variables + 1
  local name = "x" .. self.variables
  self.lines[#self.lines + 1] = ("local %s = %s"):format(name, expression)
  return name
end

--- A function from a task's index to its arguments, for indexed sources.
---@return fun(i: integer): ...
function M.maker(source)
  local builder = M.builder()
  local expressions = emit_source(source, builder, "i")
  local names = table.concat(builder.names, ", ")
  local text = ("local floor%s = ...\nreturn function(i)\n%s\nreturn %s\nend"):format(names ~= "" and ", " .. names or "",
    table.concat(builder.lines, "\n"), table.concat(expressions, ", "))
  return assert(loadstring(text, "=parlua.source"))(math.floor, unpack(builder.constants))
end

--- Is the source indexed: can a worker make its arguments from the index?
function Source:is_indexed()
  return emit[self.kind] ~= nil
end

-- ---- supplied sources: how the coordinator pulls tasks ----
-- open(source, first) returns a puller: puller:fill(writer, want) writes up to `want` tasks and returns how many (0: exhausted).

local pullers = {}

--- A list whose values must be sent (the worker does not inherit them).
function pullers.list(source)
  local items, n, at = source.items, source.n, 0
  return {
    fill = function(_, writer, want)
      local last = math.min(n, at + want)
      local count = writer:items(items, at + 1, last)
      at = at + count
      return count
    end,
  }
end

--- A product or zip that holds lists is made in the coordinator only when the source itself can't cross.
local function remember(values, ...)
  values.n = select("#", ...)
  for k = 1, values.n do values[k] = (select(k, ...)) end
  return values
end

function pullers.iterator(source)
  local step, state, control, ended, held = source.step or source.make(), source.state, source.control, false, nil
  local function pull(writer, count, first, ...)
    if first == nil then
      ended = true
      return 0
    end
    control = first
    if writer:task(count, first, ...) then return 1 end
    held = remember({}, first, ...)
    return 0
  end
  return {
    pulled = 0, -- tasks in the chunk so far: a step that raises does not take them along
    fill = function(self, writer, want)
      local count = 0
      self.pulled = 0
      if not held then
        while count < want and not ended and not held do
          count = count + pull(writer, count, step(state, control))
          self.pulled = count
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

ffi.cdef [[
struct parlua_cut { double offset, stop, count; };
]]

--- Maps the file of a text source; raises a clear error when it can't be read.
local function open_text(source)
  local text, message = host.map_text(source.path)
  if not text then error(("%s: cannot read '%s': %s"):format(source.kind, source.path, message), 0) end
  return text
end

--- A text that can only be read from its beginning to its end: `step` gives its pieces.
local function stream_puller(source, step)
  local i = 0
  if not source.enumerated then return pullers.iterator { step = step } end
  return pullers.iterator {
    step = function()
      local piece = step()
      i = i + 1
      if piece ~= nil then return i, piece end
    end,
  }
end

--- Lines: a chunk is one byte range; its words are the offset and the length.
function pullers.lines(source)
  local text = source.text or open_text(source)
  if text:is_stream() then return stream_puller(source, function() return text:line(source.keep_cr or false) end) end
  local cut = ffi.new("struct parlua_cut")
  return {
    text = text,
    fill = function(_, writer, want)
      local count, offset, length = text:cut_lines(cut.offset, want)
      if count == 0 then return 0 end
      cut.offset = offset + length
      writer:range(offset, length)
      return count
    end,
  }
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

--- The function that reads one row.
local function row_reader(source)
  local read = csv.reader(source)
  return function(line)
    local p = ffi.cast(csv.bytes, line)
    return (read(p, p + #line))
  end
end

--- Reads the header where the names are not given; returns the offset of the first row.
local function read_header(source, text)
  if source.names or source.header == false then return 0 end
  local line, length
  if text:is_stream() then
    line = stream_row(text, source) or ""
  else
    length = select(3, text:cut_rows(0, 1, source.quote, source.separator))
    line = ffi.string(ffi.cast("const char *", text:pointer()), length)
  end
  if line == "" then error(("csv: '%s' is empty: it has no header"):format(source.path), 0) end
  local p = ffi.cast(csv.bytes, line)
  local names, message = csv.header(p, p + #line, source.separator, source.quote)
  if not names then error(("csv: '%s': %s"):format(source.path, message), 0) end
  for column in pairs(source.types or {}) do
    local found = false
    for _, name in ipairs(names) do found = found or name == column end
    if not found then error(("csv: '%s' has no column '%s'; it has %s"):format(source.path, column, table.concat(names, ", ")), 0) end
  end
  source.found_names = names
  return length
end

--- Rows: a chunk is one byte range, as for lines.
function pullers.csv(source)
  local text = source.text or open_text(source)
  local offset = read_header(source, text)
  if text:is_stream() then
    local parse = row_reader(M.with_names(source))
    return stream_puller(source, function()
      local line = stream_row(text, source)
      return line and parse(line)
    end)
  end
  return {
    text = text,
    fill = function(_, writer, want)
      local count, from, length = text:cut_rows(offset, want, source.quote, source.separator)
      if count == 0 then return 0 end
      offset = from + length
      writer:range(from, length)
      return count
    end,
  }
end

--- A csv source with its header's names.
function M.with_names(source)
  local copy = {}
  for key, value in pairs(source) do copy[key] = value end
  copy.names = source.names or source.found_names
  return copy
end

--- Blocks: two words a task, offset and length.
function pullers.blocks(source)
  local text = source.text or open_text(source)
  if text:is_stream() then
    return stream_puller(source, function() return text:piece(source.size) end)
  end
  local offset = 0
  return {
    text = text,
    fill = function(_, writer, want)
      local count = 0
      while count < want do
        local length = text:cut_block(offset, source.size)
        if length == 0 then break end
        if not writer:task(count, offset, length) then break end
        offset = offset + length
        count = count + 1
      end
      return count
    end,
  }
end

--- Bytes of the line or row at `offset` of a mapped text.
local function task_length(source, text, offset)
  if source.kind == "csv" then return (select(3, text:cut_rows(offset, 1, source.quote, source.separator))) end
  return (select(3, text:cut_lines(offset, 1)))
end

--- The argument that these bytes of a mapped text are to a task; of a row that is wrong: its text.
local function text_argument(source, text, offset, length)
  local bytes = ffi.string(ffi.cast("const char *", text:pointer()) + offset, length)
  if source.kind == "csv" then
    local ok, row = pcall(row_reader(M.with_names(source)), bytes)
    return ok and row or bytes
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

--- The arguments of task `i`, a piece of text.
function M.piece_arguments(source, puller, i, offset, length)
  return as_task(source, i, text_argument(source, puller.text, offset, length))
end

--- The arguments of task `i` as a table with `n`: for failures and for output.
---@param payload? ffi.cdata* the block in which they were supplied
---@param origin? integer the task of its first word, where the block itself does not tell
function M.arguments_of(source, puller, payload, i, origin)
  if not puller then
    source.make = source.make or M.maker(source)
    return remember({}, source.make(i))
  end
  if not puller.text then return block.arguments(payload, i) end
  if source.kind == "blocks" then
    local range = block.arguments(payload, i)
    return as_task(source, i, text_argument(source, puller.text, range[1], range[2]))
  end
  local offset = payload.word[0]
  for _ = origin or payload.origin, i - 1 do offset = offset + task_length(source, puller.text, offset) end
  return as_task(source, i, text_argument(source, puller.text, offset, task_length(source, puller.text, offset)))
end

--- Prepares a source for a run before any work starts: opens its file, checks its first item.
---@param fold? parlua.Fold tasks are handed out in blocks
---@return table puller, or nil when workers make the arguments themselves
function M.open(source, inherits, fold)
  if source:is_indexed() and (inherits or source.kind ~= "list") then return nil end
  if fold then return require("parlua.batches").open(source, fold, pullers) end
  return M.limit(source, pullers[source.kind](source))
end

--- Holds a puller to what `take` left of its source.
function M.limit(source, puller)
  local left, fill = source.most, puller.fill
  if not left then return puller end
  function puller.fill(self, writer, want)
    local count = left > 0 and fill(self, writer, math.min(want, left)) or 0
    left = left - count
    return count
  end
  return puller
end

--- What a worker needs of the source: sent with the job.
function M.describe(source, inherits, puller)
  if source:is_indexed() then
    if source.kind == "list" and not inherits then return { kind = "values" } end
    return source
  end
  if puller.text then
    return { kind = source.kind, path = source.path, raw = source.raw, keep_cr = source.keep_cr, enumerated = source.enumerated,
             names = source.names or source.found_names, types = source.types, separator = source.separator, quote = source.quote,
             text = inherits and puller.text or nil }
  end
  return { kind = "values", raw = source.raw }
end

-- ---- sources made from others ----

--- Reads a source in the coordinator, one task after the other: a function that returns true and a task's arguments, or nothing at the end.
---@param puller? table of the source, when it is open
function M.reader(source, puller)
  local i = 0
  if source:is_indexed() then
    local make, n = M.maker(source), source.n
    return function()
      if i >= n then return end
      i = i + 1
      return true, make(i)
    end
  end
  puller = puller or M.open(source, false)
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
    if puller.text then held = as_task(source, i, text_argument(source, puller.text, offset, length)) end
    return true, unpack(held, 1, held.n)
  end
end

local function copy_with(source, field, value)
  local copy = {}
  for key, item in pairs(source) do copy[key] = item end
  copy[field] = value
  return new(copy)
end

local function check_count(value, name, where, least)
  if type(value) ~= "number" or value < least or value % 1 ~= 0 then
    error(("%s: %s must be an integer of at least %d, got %s"):format(where, name, least, tostring(value)), 3)
  end
  return value
end

--- The first n tasks of a source. Example: `parlua.take(parlua.lines("big.log"), 1000)`
---@return parlua.Source
function M.take(arguments, n)
  local source = M.of(arguments)
  check_count(n, "n", "take", 0)
  if source.kind == "list" then return copy_with(source, "n", math.min(n, source.n)) end
  if source:is_indexed() then return new { kind = "take", parts = { source }, n = math.min(n, source.n) } end
  return copy_with(source, "most", math.min(n, source.most or n))
end

--- The tasks of a source with their number, from 1, as the first argument.
---@return parlua.Source
function M.enumerate(arguments)
  local source = M.of(arguments)
  if source:is_indexed() then return new { kind = "enumerate", parts = { source }, n = source.n } end
  if source.path and not source.enumerated and source.path ~= "-" then return copy_with(source, "enumerated", true) end
  return new {
    kind = "iterator",
    make = function()
      local read, i = M.reader(source), 0
      local function number(more, ...)
        if not more then return nil end
        i = i + 1
        return i, ...
      end
      return function() return number(read()) end
    end,
  }
end

--- Tasks of n items each: their argument is a list of n (the last may have fewer) of what were the arguments of single tasks; where those
--- are several, an item is a list of them, with a field n.
---@return parlua.Source
function M.batch(arguments, n)
  local source = M.of(arguments)
  check_count(n, "n", "batch", 1)
  if source:is_indexed() then
    return new { kind = "batch", parts = { source }, size = n, n = math.ceil(source.n / n) }
  end
  return new {
    kind = "iterator",
    make = function()
      local read = M.reader(source)
      local function add(list, more, ...)
        if more then list[#list + 1] = pack_item(...) end
        return more
      end
      return function()
        local list = {}
        while #list < n and add(list, read()) do end -- luacheck: ignore 542
        return #list > 0 and list or nil
      end
    end,
  }
end

return M
