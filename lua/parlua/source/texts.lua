--- Sources of files: their lines, blocks, rows, and the files themselves. Workers read their own parts of a file
--- (feed/supply.lua).
local csv = require "parlua.lazy" "parlua.source.csv"
local host = require "parlua.host"
local kinds = require "parlua.source.kinds"

local new = kinds.new

local M = {}

--- Paths that a shell pattern matches, sorted. Directories are left out.
---@param pattern string|string[] "*", "?", "[...]"; "**": any number of directories, at the end all files below
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
  return kinds.list(found)
end

local text_options = {
  lines = { keep_cr = "boolean" },
  blocks = { raw = "boolean", size = "number" },
  jsonl = {},
  csv = { header = { "boolean", "table" }, separator = "string", quote = "string", types = "table",
          columns = "table" },
}

local function is_of_type(value, expected)
  if type(expected) == "string" then return type(value) == expected end
  return type(value) == expected[1] or type(value) == expected[2]
end

local function text_source(kind, path, options)
  if type(path) ~= "string" then
    local advice = kinds.is_source(path) and "; for many files take these as arguments, and read each in the task" or
      type(path) == "table" and "; for many files take parlua.files, and read each in the task" or ""
    error(("%s: a path is expected, got %s%s"):format(
      kind, kinds.is_source(path) and "a source" or type(path), advice), 3)
  end
  if options ~= nil and type(options) ~= "table" then
    error(kind .. ": options must be a table, got " .. type(options), 3)
  end
  local source = { kind = kind, path = path, is_text = kind ~= "blocks" or nil }
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

--- The lines of a text file, without their ends; a task a line. Each worker reads its own byte ranges. The last line
--- may lack its end; CRLF ends are taken off too; other bytes, NUL included, are kept. A pipe (or "-", standard input)
--- is read as a stream.
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
  if source.size < 1 or source.size ~= source.size then
    error(("blocks: size must be at least 1 byte, got %g"):format(source.size), 2)
  end
  return new(source)
end

--- The values of a file of JSON lines: a task a line, empty lines are none. What parlua itself has written comes out as
--- it was: `{"$number":"nan"}` is a number. Example: `parlua.jsonl "sums.jsonl"`
---@param path string "-": standard input
---@return parlua.Source
function M.jsonl(path, options) return new(text_source("jsonl", path, options)) end

local column_types = { auto = true, number = true, string = true }

local function one_byte(source, name, default)
  local value = source[name] or default
  if #value ~= 1 or value == "\n" then
    error(("csv: option '%s' must be one character, got %q"):format(name, value), 3)
  end
  return value:byte()
end

--- Names for columns: strings, each once.
local function check_names(names, option)
  local seen = {}
  for k = 1, #names do
    local name = names[k]
    if type(name) ~= "string" or seen[name] then
      error(("csv: option '%s' must be a list of different names, but %s is %s"):format(option,
        type(name) == "string" and "'" .. name .. "'" or "item " .. k,
        type(name) == "string" and "in it twice" or "a " .. type(name)), 3)
    end
    seen[name] = true
  end
  if #names == 0 then error(("csv: option '%s' must be a list of names, it is empty"):format(option), 3) end
  return names
end

--- Rows of a file of comma-separated values; a task a row: a table by the header's names. A field that reads as a
--- number is one (007 is not), an empty one is nil, what stands in quotes is a string. Quotes may hold separators, line
--- ends and, twice, the quote. Each worker reads its own byte ranges. Example: `parlua.csv("t.csv", { types = { zip =
--- "string" } })`
---@param path string "-": standard input
---@param options? {header: boolean|string[], columns: string[], separator: string, quote: string, types: table<string, "auto"|"number"|"string">}
--- header: true (the first row), a list of names, or false: rows are lists, with a field n; columns: rows have these
--- only, which is faster
---@return parlua.Source
function M.csv(path, options)
  local source = text_source("csv", path, options)
  source.separator, source.quote = one_byte(source, "separator", ","), one_byte(source, "quote", '"')
  for column, kind in pairs(source.types or {}) do
    if not column_types[kind] then
      error(("csv: the type of column '%s' must be auto, number or string, got %s"):format(
        tostring(column), tostring(kind)), 2)
    end
  end
  if source.columns then check_names(source.columns, "columns") end
  if type(source.header) == "table" then
    source.names = check_names(source.header, "header")
    csv.check_columns(source, source.names, "the option 'header' has")
  elseif source.header == false and (source.types or source.columns) then
    error(("csv: option '%s' goes by the names of columns, but there is no header"):format(
      source.columns and "columns" or "types"), 2)
  end
  return new(source)
end

M.exports = { "files", "lines", "blocks", "csv", "jsonl" }

return M
