--- Sources of files: their lines, blocks, rows, and the files themselves. Workers read their own parts of a file
--- (feed/supply.lua).
local csv = require "parlua.lazy" "parlua.source.csv"
local host = require "parlua.host"
local kinds = require "parlua.source.kinds"
local option_checks = require "parlua.lazy" "parlua.options.checks"
local option_names = require "parlua.lazy" "parlua.options.names"

local new = kinds.new

local concat = require("parlua.wire.start").libraries.table.concat -- a script may have put its own in its place
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
  blocks = { raw = "boolean", size = { "number", "string" }, start = "string", record = "number" },
  jsonl = {},
  csv = { header = { "boolean", "table" }, separator = "string", quote = "string", types = "table",
          columns = "table", skip = "number" },
}

local function is_of_type(value, expected)
  if type(expected) == "string" then return type(value) == expected end
  return type(value) == expected[1] or type(value) == expected[2]
end

--- Adds the file of that path, or the files that it matches as a pattern.
local function add_paths(paths, kind, path)
  if type(path) ~= "string" then
    error(("%s: a path is expected, got a list with a %s in it"):format(kind, type(path)), 5)
  end
  if not path:find "[*?[{]" or host.is_file(path) then
    paths[#paths + 1] = path
    return
  end
  if path == "**" or path:sub(-3) == "/**" then path = path .. "/*" end
  local found, message = host.glob(path)
  if not found then error(("%s: '%s': %s"):format(kind, path, message), 5) end
  if #found == 0 then error(("%s: no file matches '%s'"):format(kind, path), 5) end
  table.sort(found)
  for _, one in ipairs(found) do paths[#paths + 1] = one end
end

--- The paths that a source of texts is of: one path or pattern, a list of these, or a source such as parlua.files.
local function paths_of(kind, path)
  local paths, list = {}, path
  if kinds.is_source(path) then
    if path.kind ~= "list" then
      error(("%s: paths are expected, in a list or from parlua.files, got a source of the kind '%s'"):format(kind,
        path.kind), 4)
    end
    list = path.items
  elseif type(path) == "string" then
    list = { path }
  elseif type(path) ~= "table" then
    error(("%s: a path is expected, got %s"):format(kind, path == nil and "nil" or type(path)), 4)
  end
  if list == path and #list == 0 then error(("%s: a path is expected, got an empty list"):format(kind), 4) end
  for k = 1, kinds.is_source(path) and path.n or #list do add_paths(paths, kind, list[k]) end
  return paths
end

local function text_source(kind, path, options)
  local paths = paths_of(kind, path)
  if options ~= nil and type(options) ~= "table" then
    error(kind .. ": options must be a table, got " .. type(options), 3)
  end
  local source = {
    kind = kind, paths = paths, is_text = kind ~= "blocks" or nil,
    path = #paths == 1 and paths[1] or ("%d files"):format(#paths),
  }
  for name, value in pairs(options or {}) do
    local expected = text_options[kind][name]
    if not expected then error(kind .. ": " .. option_names.unknown(name, text_options[kind]), 3) end
    if not is_of_type(value, expected) then
      local wanted = name == "columns" and "list of names" or type(expected) == "table" and concat(expected, " or a ")
        or expected
      error(("%s: option '%s' must be a %s, got %s"):format(kind, name, wanted, type(value)), 3)
    end
    source[name] = value
  end
  return source
end

--- The lines of a text file, without their ends; a task a line. Each worker reads its own byte ranges. The last line
--- may lack its end; CRLF ends are taken off too; other bytes, NUL included, are kept. A pipe (or "-", standard input)
--- is read as a stream; so are files that are compressed by gzip, zstd or xz, whatever they are called. In a task
--- parlua.task.path and .line say where it comes from.
---@param path string|string[]|parlua.Source a path, a pattern ("logs/*.gz"), a list of these, parlua.files
---@param options? {keep_cr: boolean} keep_cr: leave a carriage return at a line's end
---@return parlua.Source
function M.lines(path, options)
  return new(text_source("lines", path, options))
end

--- The size of blocks in bytes.
local function size_of(size)
  if type(size) ~= "string" then return size or 2 ^ 20 end
  local bytes = option_checks.parse_size(size)
  if bytes then return bytes end
  error(('blocks: size must be a number of bytes, or one such as "64K" or "1M", got %q'):format(size), 3)
end

--- A text file in pieces of whole lines; a task a piece. Files, patterns, compressed files: as for parlua.lines.
---@param path string|string[]|parlua.Source
---@param options? {size: integer|string, raw: boolean, start: string, record: integer} size:
--- bytes, about, or "64K" (default 1 MiB); raw: the task gets a pointer (const char *) and a length
--- instead of a string, valid during the task; start: a piece
--- begins with a line that begins so (">" for FASTA); record: pieces are whole records of so many bytes
---@return parlua.Source
function M.blocks(path, options)
  local source = text_source("blocks", path, options)
  source.size = size_of(source.size)
  if source.size < 1 or source.size ~= source.size then
    error(("blocks: size must be at least 1 byte, got %g"):format(source.size), 2)
  end
  local record = source.record
  if record and (record < 1 or record % 1 ~= 0 or record > 2 ^ 40) then
    error(("blocks: record must be a whole number of bytes, at least 1, got %g"):format(record), 2)
  end
  if record and source.start then
    error("blocks: either record (bytes) or start (how a line begins) says where blocks begin, not both", 2)
  end
  if source.start == "" or source.start and source.start:find "\n" then
    error(("blocks: start must be what a line begins with, got %q"):format(source.start), 2)
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
---@param options? {header: boolean|string[], columns: string[], separator: string, quote: string, skip: integer, types:
--- table<string, "auto"|"number"|"string">} header: true (the first row), a list of names, or false: rows are lists,
--- with a field n; columns: rows have these only, which is faster; skip: so many lines at the beginning of each file
--- are passed over
---@return parlua.Source
function M.csv(path, options)
  local source = text_source("csv", path, options)
  source.is_default_separator = source.separator == nil
  source.separator, source.quote = one_byte(source, "separator", ","), one_byte(source, "quote", '"')
  if source.skip and (source.skip < 0 or source.skip % 1 ~= 0) then
    error(("csv: option 'skip' must be a number of lines, got %g"):format(source.skip), 2)
  end
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

return M
