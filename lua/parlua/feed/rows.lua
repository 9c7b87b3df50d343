--- Rows of comma-separated values, written so that parlua.csv reads the same: what jobs with the formats csv and tsv
--- write, and `parlua.write_csv`.
local host = require "parlua.host"
local json = require "parlua.wire.json"
local kinds = require "parlua.source.kinds"
local loops = require "parlua.feed.loops"
local report = require "parlua.lazy" "parlua.report"
local option_names = require "parlua.lazy" "parlua.options.names"
local outfile = require "parlua.lazy" "parlua.outfile"
local new_buffer = require("string.buffer").new

local concat = require("parlua.wire.start").libraries.table.concat -- a script may have put its own in its place
local M = {}

local BATCH_BYTES = 2 ^ 16

---@class parlua.Rows
---@field columns string[]|false names of columns; false: not known yet, or rows are lists
local Rows = {}
Rows.__index = Rows

--- Raises unless these can be names of columns.
---@param columns any
---@param where string for the message
function M.check_columns(columns, where)
  if columns == nil then return end
  if type(columns) ~= "table" or #columns == 0 then
    error(("%s: columns must be a list of names, got %s"):format(where, type(columns) == "table" and "an empty table"
      or type(columns)), 0)
  end
  local seen = {}
  for k, name in ipairs(columns) do
    if type(name) ~= "string" or seen[name] then
      error(("%s: columns must be a list of different names, but %s"):format(where, type(name) ~= "string"
        and ("item %d is a %s"):format(k, type(name)) or ("'%s' is in it twice"):format(name)), 0)
    end
    seen[name] = true
  end
end

--- Opens a writer of rows into a buffer.
---@param separator string
---@param columns? string[] default: the fields of the first row that has names, sorted
---@return parlua.Rows
function M.open(separator, columns)
  return setmetatable({
    separator = separator, columns = columns or false, is_first = true,
    special = '["\r\n%' .. separator .. "]", known = false,
  }, Rows)
end

--- Would a reader take this for something else than the string that it is?
local function is_ambiguous(text, special)
  if text == "" or text:find(special) then return true end
  local first = text:byte()
  return first >= 48 and first <= 57 or first == 45 -- what reads as a number begins with a digit or a minus
end

local function put_text(buffer, text, is_quoted)
  if not is_quoted then
    buffer:put(text)
  else
    buffer:put('"', (text:gsub('"', '""')), '"')
  end
end

local function put_field(self, buffer, value)
  local kind = type(value)
  if kind == "nil" then return end
  if kind == "number" then
    if value ~= value or value == math.huge or value == -math.huge then
      buffer:put(value ~= value and "nan" or value > 0 and "inf" or "-inf")
    else
      json.put(buffer, value)
    end
  elseif kind == "string" then
    put_text(buffer, value, is_ambiguous(value, self.special))
  elseif kind == "boolean" then
    buffer:put(value and "true" or "false")
  else
    put_text(buffer, json.encode(value), true)
  end
end

local function put_line(self, buffer, row, n, names)
  for k = 1, n do
    if k > 1 then buffer:put(self.separator) end
    put_field(self, buffer, row[names and names[k] or k])
  end
  -- a line with nothing in it would be no row
  if n == 1 and row[names and names[1] or 1] == nil then buffer:put('""') end
  buffer:put("\n")
end

--- The names of a row's fields, sorted; nil: it has none.
local function names_of(row)
  local names = {}
  for key in next, row do
    if type(key) ~= "string" then return nil end
    names[#names + 1] = key
  end
  table.sort(names)
  return #names > 0 and names or nil
end
M.names_of = names_of

local function has_other(self, row)
  if not self.known then
    self.known = {}
    for _, name in ipairs(self.columns) do self.known[name] = true end
  end
  for key in next, row do
    if not self.known[key] then return key end
  end
end

local function raise_other(self, name)
  error(("a row has the field '%s', for which there is no column: the columns are those of the first row (%s); name "
    .. "all of them, with columns = { ... } in a job or call, or --columns on a command line without a script"):format(
    tostring(name), concat(self.columns, ", ")), 0)
end

local function raise_named(name)
  error(("a row has the field '%s', but the first row was a list, and so there are no names of columns; name them with "
    .. "columns"):format(name), 0)
end

--- Appends the names of the columns, if they are known; rows follow.
function Rows:put_head(buffer)
  if not self.is_first then return end
  self.is_first, self.is_given = false, self.columns ~= false
  if self.columns then put_line(self, buffer, self.columns, #self.columns) end
end

--- Appends a row: a table with fields of these names, or a list; another value is a row of one field. Raises an error
--- for a field that has no column, unless the columns were given.
---@param buffer table string.buffer
---@param row any
function Rows:put(buffer, row)
  if type(row) ~= "table" then row = { row } end
  if self.is_first then
    local is_given = self.columns ~= false
    self.columns = self.columns or names_of(row) or false
    self:put_head(buffer)
    self.is_given = is_given
  end
  if not self.columns then
    local n = row.n or #row
    if n == 0 and names_of(row) then raise_named(names_of(row)[1]) end
    return put_line(self, buffer, row, math.max(n, 1))
  end
  if #row > 0 and row[self.columns[1]] == nil then -- a list: its items are the columns in their order
    if #row > #self.columns then
      error(("a row has %d items, but there are %d columns"):format(#row, #self.columns), 0)
    end
    return put_line(self, buffer, row, #self.columns)
  end
  local other = not self.is_given and has_other(self, row)
  if other then raise_other(self, other) end
  put_line(self, buffer, row, #self.columns, self.columns)
end

--- The rows that a value stands for: a table of tables is as many, one behind the other or, where it has names, each
--- behind its name in the column "key"; another value is one.
local function rows_of(value)
  if type(value) ~= "table" then return { value } end
  for _, item in next, value do
    if type(item) ~= "table" then return { value } end
  end
  if next(value) == nil or #value > 0 then return value end
  local keys, list, seen, columns = {}, {}, {}, {}
  for key in next, value do keys[#keys + 1] = key end
  table.sort(keys, function(a, b)
    if type(a) == type(b) and type(a) ~= "boolean" then return a < b end
    return tostring(a) < tostring(b)
  end)
  for k, key in ipairs(keys) do
    local row = { key = key }
    for name, field in next, value[key] do
      if type(name) ~= "string" or name == "key" then return { value } end
      if not seen[name] then columns[#columns + 1], seen[name] = name, true end
      row[name] = field
    end
    list[k] = row
  end
  table.sort(columns)
  table.insert(columns, 1, "key")
  return list, columns
end

--- The names of all fields of rows, sorted; nil: some row has none.
local function names_of_all(list)
  local all = {}
  for _, row in ipairs(list) do
    for _, name in ipairs(type(row) == "table" and names_of(row) or {}) do all[name] = true end
    if type(row) ~= "table" or not names_of(row) then return nil end
  end
  return names_of(all)
end

--- Appends a value as a whole, as rows under their names.
---@param buffer table string.buffer
---@param value any
---@param separator string
---@param columns? string[] default: all fields that there are, sorted
function M.put_value(buffer, value, separator, columns)
  local list, found = rows_of(value)
  local writer = M.open(separator, columns or found or names_of_all(list))
  writer:put_head(buffer)
  for _, row in ipairs(list) do writer:put(buffer, row) end
end

--- The fields of a line that a writer has written, each as it stands there.
local function split(text, separator)
  local fields, at, last = {}, 1, #text - 1 -- without the line's end
  repeat
    local to
    if text:byte(at) == 34 then -- a quote
      to = at
      repeat to = text:find('"', to + 1, true) + 1 until text:byte(to) ~= 34
    else
      to = text:find(separator, at, true) or last + 1
    end
    fields[#fields + 1] = text:sub(at, to - 1)
    at = to + 1
  until to > last
  return fields
end

--- Appends a line that another writer has written for a row whose fields have these names, and no others.
---@param names string[]
---@param text string with its end
function Rows:put_written(buffer, names, text)
  if self.is_first then
    self.columns = names
    self:put_head(buffer)
    self.is_given = false
  end
  if not self.columns then
    local n = names[1] == "n" and not names[2] and tonumber(text) -- a list of so many times nil
    return n and n > 0 and put_line(self, buffer, {}, n) or n or raise_named(names[1])
  end
  local given, of = {}, split(text, self.separator)
  for k, name in ipairs(names) do given[name] = of[k] end
  local other = has_other(self, given)
  if other then raise_other(self, other) end
  for k, name in ipairs(self.columns) do
    if k > 1 then buffer:put(self.separator) end
    buffer:put(given[name] or "")
  end
  buffer:put("\n")
end

--- The same of the results of imap; tasks that returned nil make no row.
local function stream_stepper(stream)
  return function()
    repeat
      local index, row = stream()
      if index == nil or row ~= nil then return row end
    until false
  end
end

--- A function that gives one row after the other.
local function stepper(rows)
  if kinds.is_source(rows) then
    local control
    return function()
      control = loops.step(rows, control)
      return control
    end
  elseif type(rows) == "function" then
    return rows
  elseif type(rows) == "table" and rows.is_stream then
    return stream_stepper(rows)
  elseif type(rows) ~= "table" then
    error("write_csv: rows must be a list, an iterator or a source, got " .. type(rows), 0)
  end
  local k, n = 0, rows.n or #rows
  return function()
    repeat k = k + 1 until k > n or rows[k] ~= nil
    if k <= n then return rows[k] end
  end
end

--- What ended a run before all its tasks were done, or nil.
local function cut_short(summary)
  return summary.interrupted and "interrupted by " .. summary.interrupted or summary.stopped
    and "stopped: " .. summary.stopped or nil
end

local OPTIONS = { columns = true, separator = true }

--- Writes rows to a file of comma-separated values, which appears when it is complete; rows of an imap that
--- was interrupted are left in `path.partial`. Rows are tables: with names,
--- then the first line names the columns (those of the first row, sorted, or the option `columns`), or lists.
--- parlua.csv reads numbers and strings back as they were. Example: `parlua.write_csv("t.csv", { { a = 1, b = "x" } })`
---@param path string "-": standard output; devices and pipes are written to as they are
---@param rows table|function|parlua.Source|parlua.Stream a list, in which nil is passed over; an iterator; a source;
--- the results of imap: `parlua.write_csv("t.csv", parlua.imap(f, parlua.csv "s.csv"))` holds few rows at a time
---@param options? {columns: string[], separator: string}
---@return integer n how many rows
function M.write_csv(path, rows, options)
  if type(path) ~= "string" then error("write_csv: a path is expected, got " .. type(path), 2) end
  -- imap returns its stream twice
  if options == rows and type(rows) == "table" and rows.is_stream then options = nil end
  options = options or {}
  if type(options) ~= "table" then error("write_csv: options must be a table, got " .. type(options), 2) end
  for name in pairs(options) do
    if not OPTIONS[name] then error("write_csv: " .. option_names.unknown(name, OPTIONS), 2) end
  end
  local packed = path:match "%.gz$" or path:match "%.zst$" or path:match "%.xz$" or path:match "%.bz2$"
  if packed then
    error(("write_csv: '%s' would be no compressed file: write the name without '%s', and compress it then"):format(
      path, packed), 2)
  end
  local separator = options.separator or ","
  if type(separator) ~= "string" or #separator ~= 1 or separator:find '["\r\n%w.-]' then
    error(("write_csv: option 'separator' must be one character that is part of no number, got %s"):format(
      tostring(separator)), 2)
  end
  M.check_columns(options.columns, "write_csv")
  local step = stepper(rows)
  local writer, buffer, n = M.open(separator, options.columns), new_buffer(2 * BATCH_BYTES), 0
  local file, message
  if path == "-" then
    io.stdout:flush() -- what was printed goes before
    file = outfile.stdout()
  else
    file, message = outfile.open(path)
  end
  if not file then error("write_csv: " .. message, 2) end
  local function check(done, code)
    if not done then error(("write_csv: cannot write '%s': %s"):format(path, host.strerror(code)), 0) end
  end
  local is_theirs = false -- does the iterator of the rows run?
  local ok, raised = pcall(function()
    while true do
      is_theirs = true
      local row = step()
      is_theirs = false
      if row == nil then break end
      writer:put(buffer, row)
      n = n + 1
      if #buffer >= BATCH_BYTES then
        check(file:write(buffer:ref()))
        buffer:reset()
      end
    end
    if writer.is_first and writer.columns then put_line(writer, buffer, writer.columns, #writer.columns) end
    check(file:write(buffer:ref()))
    local cut = type(rows) == "table" and rows.is_stream and n > 0 and cut_short(rows:summary())
    local published, name = file:publish(cut and ".partial" or "")
    check(published, name)
    if cut and name then
      report.print("stderr", ("parlua: write_csv: the run was %s; what was done is in '%s.partial'\n"):format(cut,
        path))
    end
  end)
  local closed, code = file:close()
  if ok and not closed then ok, raised = pcall(check, false, code) end
  if ok then return n end
  if not is_theirs then error(raised, 2) end
  if type(raised) == "string" then raised = raised:gsub("^parlua/[%w_/]+%.lua:%d+: ", "") end
  error(raised, 0) -- it names its own place
end

return M
