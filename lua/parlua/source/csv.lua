--- Rows of comma-separated values (RFC 4180): what parlua.csv makes tasks of. C takes many rows apart at once
--- (src/lua/csv.c); a row's constructor is written for its header, so that a row is one table made in its final shape.
local start = require "parlua.wire.start"
local ffi = require "ffi"

local concat = require("parlua.wire.start").libraries.table.concat -- a script may have put its own in its place
local M = {}

require "parlua.wire.header" "lua/csv.h"

local C = ffi.C
local wire_text = require "parlua.wire.text"

local cast, distance, ffi_string = ffi.cast, wire_text.distance, wire_text.string
local const_bytes, bytes = ffi.typeof("const char *"), ffi.typeof("const uint8_t *")
local NUMBER, NIL, TEXT, ODD = C.PARLUA_CSV_NUMBER, C.PARLUA_CSV_NIL, C.PARLUA_CSV_TEXT, C.PARLUA_CSV_ODD
local UNCLOSED = C.PARLUA_CSV_UNCLOSED
local types = { auto = C.PARLUA_CSV_AUTO, string = C.PARLUA_CSV_STRING, number = C.PARLUA_CSV_NUMERIC }

local NEWLINE, RETURN = 10, 13
local MOST_ROWS = 256 -- taken apart at once
local ALONE = 1       -- where a text is one row

--- The text of the quoted field at `p` with quotes in it, and with what stands behind the closing one.
local function quoted_text(p, stop, separator, quote)
  local from, twice = p + 1, false
  p = from
  while p < stop do
    if p[0] == quote then
      if p + 1 < stop and p[1] == quote then
        twice, p = true, p + 1
      else
        break
      end
    end
    p = p + 1
  end
  local text = ffi_string(from, distance(p, from))
  if twice then
    local mark = string.char(quote)
    text = text:gsub(mark:gsub("%p", "%%%0") .. mark:gsub("%p", "%%%0"), (mark:gsub("%%", "%%%%")))
  end
  from = p < stop and p + 1 or p
  local to = from
  while to < stop and to[0] ~= separator and to[0] ~= NEWLINE do to = to + 1 end
  local last = to
  if to > from and to[-1] == RETURN and (to == stop or to[0] == NEWLINE) then last = to - 1 end
  return last > from and text .. ffi_string(from, distance(last, from)) or text
end

--- The text of a field in no quotes.
local function plain_text(p, stop, separator)
  local from = p
  while p < stop and p[0] ~= separator and p[0] ~= NEWLINE do p = p + 1 end
  if p > from and p[-1] == RETURN and (p == stop or p[0] == NEWLINE) then p = p - 1 end
  return ffi_string(from, distance(p, from))
end

--- A reader of the fields that C leaves to Lua: function(at, stop, column), which of the columns are numbers.
local function odd_reader(source, is_number)
  local separator, quote = source.separator, source.quote
  return function(at, stop, column)
    local p = cast(bytes, at)
    local text = (p < stop and p[0] == quote and quoted_text or plain_text)(p, stop, separator, quote)
    if column == nil or not is_number[column] then return text end
    if text == "" then return nil end
    local value = tonumber(text)
    if not value then error(("column '%s': '%s' is no number"):format(tostring(column), text), 0) end
    return value
  end
end

local function describe_count(found, expected)
  if found == UNCLOSED then error("a field is in quotes that are not closed before the file ends", 0) end
  error(("the row has %d field%s, the header %d"):format(found, found == 1 and "" or "s", expected), 0)
end

--- Opens C's reader for so many columns; 0: for rows without names.
local function open(source, columns, kinds)
  local rows = C.parlua_csv_open(source.separator, source.quote, columns, kinds)
  if rows == nil then error("not enough memory", 0) end
  return ffi.gc(rows, C.parlua_csv_close)
end

--- Which of the names are read: those of the option `columns`, or of what a function uses; all others too whose type is
--- "number", as what stands there is to be one.
local function read_columns(source)
  local names, wanted = source.names, nil
  local kinds, is_number, list = ffi.new("uint8_t[?]", math.max(#names, 1)), {}, {}
  if source.columns then
    wanted = {}
    for _, name in ipairs(source.columns) do wanted[name] = true end
  end
  for k, name in ipairs(names) do
    local kind = source.types and source.types[name] or "auto"
    is_number[name] = kind == "number"
    local is_chosen = not wanted or wanted[name]
    if is_chosen and (not source.used or source.used[name] or is_number[name]) then
      kinds[k - 1] = types[kind]
      list[#list + 1] = name
    end
  end
  return kinds, list, is_number
end

local list_kinds = { auto = ffi.new("uint8_t[1]", types.auto), string = ffi.new("uint8_t[1]", types.string) }

local MOST_WRITTEN = 150 -- a function has at most 200 locals: wide rows go through a loop

local head = [[
local scan, fill, strings, intern, odd, describe_count, names = ...
return function(cursor, most)
  local from = cursor.next
  if from ~= scan.next or scan.row >= scan.rows then fill(cursor, most) end
  local r = scan.row
  local behind = scan.ends[r]
  scan.row, scan.next = r + 1, behind
  cursor.next = behind
  local count = scan.counts[r]
]]

local field = [[
  local v%d
  do
    local cell = cells[%d]
    local kind = cell.kind
    if kind == NUMBER then v%d = cell.number
    elseif kind >= 0 then v%d = strings[kind] or intern(cell, kind)
    elseif kind ~= NIL then v%d = odd(cell, kind, behind, names[%d]) end
  end]]

local wide = [[
  local row = {}
  for k = 1, n do
    local cell = cells[k - 1]
    local kind = cell.kind
    if kind == NUMBER then row[KEY] = cell.number
    elseif kind >= 0 then row[KEY] = strings[kind] or intern(cell, kind)
    elseif kind ~= NIL then row[KEY] = odd(cell, kind, behind, NAME) end
  end]]

--- The text of a reader's code, for the names of the columns that are read (nil: rows are lists) out of so many.
local function reader_text(list, count)
  local lines = { head }
  local function add(text, ...) lines[#lines + 1] = text:format(...) end
  if not list then
    add("  if count == %d then describe_count(count) end", UNCLOSED)
    add("  local n, cells = count, scan.cells + scan.starts[r]")
    add("%s", (wide:gsub("KEY", "k"):gsub("NAME", "nil")))
    add("  row.n = n\n  return row\nend")
  else
    add("  if count ~= %d then describe_count(count, %d) end", count, count)
    add("  local cells = scan.cells + scan.starts[r]")
    if #list > MOST_WRITTEN then
      add("  local n = %d", #list)
      add("%s", (wide:gsub("KEY", "names[k]"):gsub("NAME", "names[k]")))
      add("  return row\nend")
    else
      local fields = {}
      for k, name in ipairs(list) do
        add(field, k, k - 1, k, k, k, k)
        fields[k] = ("[%q] = v%d"):format(name, k)
      end
      add("  return { %s }\nend", concat(fields, ", "))
    end
  end
  return (concat(lines, "\n"):gsub("NUMBER", tostring(NUMBER)):gsub("NIL", tostring(NIL)))
end

--- A function (cursor, most) that reads the row at cursor.next, up to cursor.stop, and puts the cursor behind it. It
--- raises what is wrong with a row. Rows behind it are taken apart as well, up to so many.
---@param source table of names, columns, types, separator, quote; `used`: the columns that are used (nil: all)
---@param is_cut fun() raises that there are no rows
local function make_reader(source, is_cut)
  local kinds, list, is_number = list_kinds.auto, nil, {}
  if source.names then kinds, list, is_number = read_columns(source) end
  local scan, strings = open(source, source.names and #source.names or 0, kinds), {}
  local read_odd = odd_reader(source, is_number)

  local function fill(cursor, most)
    local n = C.parlua_csv_fill(scan, cursor.next, cursor.stop, most)
    if n < 0 then error("not enough memory", 0) end
    if n == 0 then is_cut() end
  end

  local function intern(cell, number)
    local text = ffi_string(cell.at, cell.length)
    strings[number] = text
    return text
  end

  local function odd(cell, kind, behind, column)
    if kind == TEXT then return ffi_string(cell.at, cell.length) end
    return read_odd(cell.at, behind, column)
  end

  local make = start.compile(reader_text(list, source.names and #source.names), "=parlua.csv")
  return make(scan, fill, strings, intern, odd, describe_count, list)
end
M.cursor_reader = make_reader
M.MOST_ROWS = MOST_ROWS

--- A function (text) -> row.
---@param source parlua.Source
function M.reader(source)
  local read = make_reader(source, function() error("there is no row", 0) end)
  local cursor = { next = false, stop = false }
  return function(text)
    local from = cast(const_bytes, text)
    cursor.next, cursor.stop = from, from + #text
    return (read(cursor, ALONE))
  end
end

--- Where the row behind the one at `p` begins.
function M.skip(p, stop, separator, quote) return C.parlua_csv_skip(p, stop, separator, quote) end

local HOW_TO_NAME = "name the columns yourself: { header = { ... }, skip = 1 }"

--- The names in a header: its fields as strings; one column may be without a name (pandas writes its index so), which
--- is then "". Returns nil and a message where they can't be names.
---@param text string
function M.header(text, separator, quote)
  local rows = open({ separator = separator, quote = quote }, 0, list_kinds.string)
  local read_odd = odd_reader({ separator = separator, quote = quote }, {})
  local from, names, seen = cast(const_bytes, text), {}, {}
  if C.parlua_csv_fill(rows, from, from + #text, ALONE) ~= 1 then return nil, "it has no header" end
  if rows.counts[0] == UNCLOSED then return nil, "a name in its header is in quotes that are not closed" end
  for k = 1, rows.counts[0] do
    local cell = rows.cells[k - 1]
    names[k] = cell.kind == ODD and read_odd(cell.at, rows.ends[0]) or ffi_string(cell.at, cell.length)
  end
  for k, name in ipairs(names) do
    if seen[name] and name == "" then
      return nil, ("the header has no names for columns %d and %d; %s"):format(seen[name], k, HOW_TO_NAME)
    elseif seen[name] then
      return nil, ("the header names '%s' twice; %s"):format(name, HOW_TO_NAME)
    end
    seen[name] = k
  end
  return names
end

--- The text of a row or line of JSON as it stands in its file, without its end.
function M.text_of(text) return (text:gsub("^[\r\n]+", ""):gsub("\r?\n$", "")) end

--- The byte order mark that some programs put before a text in UTF-8.
M.MARK = "\239\187\191"

--- A text without it.
---@param text string
---@return string
function M.without_mark(text) return text:sub(1, 3) == M.MARK and text:sub(4) or text end

local function raise_unknown(names, column, whose)
  error(("csv: %s no column '%s'; it has %s"):format(whose, tostring(column), concat(names, ", ")), 0)
end

--- What is wrong with a header that seems to be none of this kind of file: its columns stand between other characters,
--- or its lines have other ends. nil: nothing.
---@param names string[]
---@param text string
---@param is_default boolean is the separator the one that nobody chose?
---@return string?
function M.doubt(names, text, is_default)
  if text:find "\r[^\n]" and not text:find('"', 1, true) then
    return "its lines end with a carriage return alone; tr '\\r' '\\n' writes them as they should be"
  end
  local other = is_default and #names == 1 and names[1]:match "[;\t|]"
  if other then
    local message = "its header is one column, '%s': "
      .. 'say { separator = "%s" } if it is several, { separator = "," } if not'
    return (message:format(names[1], other):gsub("\t", "\\t"))
  end
end

--- Raises an error when `types` or `columns` name a column that is not there, or the code of a command line does
--- (`needed`).
---@param source table
---@param names string[]
---@param whose string "'t.csv' has", for the message
function M.check_columns(source, names, whose)
  local known = {}
  for _, name in ipairs(names) do known[name] = true end
  for column in pairs(source.types or {}) do
    if not known[column] then raise_unknown(names, column, whose) end
  end
  for _, list in ipairs { source.columns or {}, source.needed or {} } do
    for _, column in ipairs(list) do
      if not known[column] then raise_unknown(names, column, whose) end
    end
  end
end

--- Is the string a whole row, or does a quoted field go on behind its end?
function M.is_whole(line, separator, quote)
  local p = cast("const uint8_t *", line)
  local stop, at = p + #line, p
  while at < stop do
    if at[0] == quote then
      local from = at
      at = at + 1
      while true do
        while at < stop and at[0] ~= quote do at = at + 1 end
        if at == stop then return false, from end
        if at + 1 < stop and at[1] == quote then at = at + 2 else break end
      end
    end
    while at < stop and at[0] ~= separator do at = at + 1 end
    at = at + 1
  end
  return true
end

return M
