--- Sources of arguments: lazy, and they know how to split themselves.
--
-- A source is a plain table, so that it can cross to a worker. Two families:
--   indexed (`source.n` is known): the arguments of task i follow from i alone. A chunk is two numbers; each worker makes the
--     arguments itself (indexed.lua).
--   supplied: the coordinator pulls tasks and writes them into blocks: values, or what the worker needs to find them, byte ranges of a
--     file (supply.lua).
local host = require "parlua.host"
local indexed = require "parlua.source.indexed"
local supply = require "parlua.lazy" "parlua.feed.supply"

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

local function is_callable(value)
  local meta = type(value) == "table" and getmetatable(value)
  return type(value) == "function" or type(meta) == "table" and meta.__call ~= nil
end

--- What a generic `for` takes (`parlua.iterate(pairs(t))`): each step's values are the arguments of a task.
---@return parlua.Source
function M.iterate(step, state, control)
  if not is_callable(step) then error("iterate: an iterator function is expected, got " .. type(step), 2) end
  return new { kind = "iterator", step = step, state = state, control = control }
end

--- What a coroutine yields: each time the arguments of a task.
local function of_coroutine(thread)
  return M.iterate(function()
    if coroutine.status(thread) == "dead" then return nil end
    local values = { coroutine.resume(thread) }
    if not values[1] then error(debug.traceback(thread, tostring(values[2])), 0) end
    return unpack(values, 2, table.maxn(values))
  end)
end

--- Turns what may stand for arguments into a source.
---@param arguments any a source, a list, an iterator function, a coroutine
---@return parlua.Source
function M.of(arguments)
  if is_source(arguments) then return arguments end
  local kind = type(arguments)
  if is_callable(arguments) then
    return M.iterate(arguments)
  elseif kind == "table" then
    return M.list(arguments)
  elseif kind == "thread" then
    return of_coroutine(arguments)
  end
  error(("arguments must be a list, a source such as parlua.range(1, 10), an iterator function or a coroutine, got %s"):format(
    kind == "nil" and "nothing" or kind), 0)
end
--- Is the source indexed: can a worker make its arguments from the index?
function Source:is_indexed() return indexed.makes[self.kind] ~= nil end

--- Do workers make the arguments? Not those of a list that they have not inherited.
---@param inherits boolean they are copies of this process
function Source:is_made_by_workers(inherits) return self:is_indexed() and (inherits or self.kind ~= "list") end

--- What workers need to make the arguments: the same without methods, which would travel with each job.
function Source:plain()
  local copy = {}
  for key, value in pairs(self) do copy[key] = value end
  if copy.parts then
    local parts = {}
    for k, part in ipairs(copy.parts) do parts[k] = part:plain() end
    copy.parts = parts
  end
  return copy
end

-- ---- sources made from others ----

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
      local read, i = supply.reader(source), 0
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
      local read = supply.reader(source)
      local function add(list, more, ...)
        if more then list[#list + 1] = indexed.pack(...) end
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
