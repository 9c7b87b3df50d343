--- Rows of comma-separated values (RFC 4180): what parlua.csv makes tasks of. A row's parser is written for its header,
--- so that a row is one table made in its final shape.
local ffi = require "ffi"

local loadstring = require("parlua.wire.start").globals.loadstring -- a script may have taken it away
local M = {}

local cast, ffi_string = ffi.cast, ffi.string
local const_bytes = ffi.typeof("const uint8_t *")

local NEWLINE, RETURN, MINUS, POINT, ZERO, NINE = 10, 13, 45, 46, 48, 57

local power = {}
for k = 0, 15 do power[k] = 10 ^ k end

--- The number that bytes from..to-1 spell in plain decimals, or nil. Up to 15 digits it is exact: the digits and the
--- power of ten are whole numbers that a double holds, and one division rounds once.
local function decimal(from, to)
  local p, negative, digits, value, behind = from, false, 0, 0, nil
  if p < to and p[0] == MINUS then p, negative = p + 1, true end
  if to - p > 1 and p[0] == ZERO and p[1] ~= POINT and p[1] ~= 101 and p[1] ~= 69 then -- 007 is no number
    return nil
  end
  while p < to do
    local c = p[0]
    if c >= ZERO and c <= NINE then
      value, digits = value * 10 + (c - ZERO), digits + 1
    elseif c == POINT and not behind then
      behind = digits
    else
      return nil
    end
    p = p + 1
  end
  if digits == 0 or digits > 15 or behind == digits then return nil end
  if behind then value = value / power[digits - behind] end
  if negative then return -value end
  return value
end

--- The same for what `decimal` does not do: exponents, many digits. A whole number that a double does not hold, such as
--- an identifier of 18 digits, is none.
local function number(from, to)
  local value = decimal(from, to)
  if value then return value end
  local text = ffi_string(from, to - from)
  if not text:find("^-?%d+%.?%d*[eE]?[-+]?%d*$") or text:find("^-?0%d") then return nil end
  value = tonumber(text)
  if not value or value - value ~= 0 then return nil end -- too large, too: inf
  if text:find("^-?%d+$") and ("%.0f"):format(value) ~= text then return nil end
  return value
end

local convert = {}

--- A number where it reads as one, nil where there is nothing, else a string; what stands in quotes is a string.
function convert.auto(from, to, quoted)
  if quoted then return quoted end
  if from == to then return nil end
  local c = from[0]
  if c <= NINE and (c >= ZERO or c == MINUS) then
    local value = number(from, to)
    if value then return value end
  end
  return ffi_string(from, to - from)
end

function convert.string(from, to, quoted) return quoted or ffi_string(from, to - from) end

function convert.number(from, to, quoted, column)
  if not quoted and from == to or quoted == "" then return nil end
  local text = quoted or ffi_string(from, to - from)
  local value = tonumber(text)
  if not value then error(("column '%s': '%s' is no number"):format(tostring(column), text), 0) end
  return value
end

--- The text of a quoted field that begins at `p`, and what follows it.
local function quoted_field(p, stop, quote)
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
  local text = ffi_string(from, p - from)
  if twice then
    local mark = string.char(quote)
    text = text:gsub(mark:gsub("%p", "%%%0") .. mark:gsub("%p", "%%%0"), (mark:gsub("%%", "%%%%")))
  end
  return text, p < stop and p + 1 or p
end

--- Reads one field at `p`: its bytes from, to; its text if it was quoted; and where it ends (at a separator, a line's
--- end or `stop`).
local function field(p, stop, separator, quote)
  if p < stop and p[0] == quote then
    local text, behind = quoted_field(p, stop, quote)
    local from = behind
    while behind < stop and behind[0] ~= separator and behind[0] ~= NEWLINE do behind = behind + 1 end
    local to = behind
    if to > from and to[-1] == RETURN and (behind == stop or behind[0] == NEWLINE) then to = to - 1 end
    if to > from then text = text .. ffi_string(from, to - from) end -- what stands behind the quotes
    return p, p, text, behind
  end
  local from = p
  while p < stop and p[0] ~= separator and p[0] ~= NEWLINE do p = p + 1 end
  if p > from and p[-1] == RETURN and (p == stop or p[0] == NEWLINE) then return from, p - 1, nil, p end
  return from, p, nil, p
end

local function skip_empty_lines(p, stop)
  while p < stop and (p[0] == NEWLINE or (p[0] == RETURN and p + 1 < stop and p[1] == NEWLINE)) do p = p + 1 end
  return p
end

local function describe_count(found, expected)
  error(("the row has %d field%s, the header %d"):format(found, found == 1 and "" or "s", expected), 0)
end

--- A list of all fields of the row at `p`, and where the next one begins.
local function read_list(p, stop, separator, quote, conversion)
  local list, n = {}, 0
  p = skip_empty_lines(p, stop)
  while true do
    local from, to, text, behind = field(p, stop, separator, quote)
    n = n + 1
    list[n] = conversion(from, to, text, n)
    p = behind
    if p == stop or p[0] == NEWLINE then break end
    p = p + 1
  end
  return list, p < stop and p + 1 or p, n
end

--- A function (p, stop) -> row, where the next row begins, next one begins. It raises what is wrong with a row.
---@param source parlua.Source
function M.reader(source)
  local names, separator, quote = source.names, source.separator, source.quote
  if not names then
    local conversion = convert.auto
    return function(p, stop)
      local list, behind, n = read_list(p, stop, separator, quote, conversion)
      list.n = n
      return list, behind
    end
  end
  local lines, fields, conversions, values = {}, {}, {}, {}
  for k, name in ipairs(names) do
    conversions[k] = convert[source.types and source.types[name] or "auto"]
    values[k] = "v" .. k
    fields[k] = ("[%q] = v%d"):format(name, k)
    lines[#lines + 1] = ([[
  if p then
    from, to, text, behind = field(p, stop, separator, quote)
    v%d = conversions[%d](from, to, text, names[%d])
    n = %d
    if behind == stop or behind[0] == 10 then p = nil else p = behind + 1 end
  end]]):format(k, k, k, k)
  end
  -- a function has at most 200 locals: wide rows go through a table
  if #names > 150 then
    local function conversion(from, to, text, k)
      local convert_column = conversions[k] or convert.auto
      return convert_column(from, to, text, names[k] or k)
    end
    return function(p, stop)
      local list, behind, n = read_list(p, stop, separator, quote, conversion)
      if n ~= #names then describe_count(n, #names) end
      local row = {}
      for k, name in ipairs(names) do row[name] = list[k] end
      return row, behind
    end
  end
  local text = ([[
local field, conversions, names, separator, quote, skip_empty_lines, describe_count = ...
return function(p, stop)
  local from, to, text, behind, n
  local %s
  p = skip_empty_lines(p, stop)
%s
  if p or n < %d then describe_count(p and n + 1 or n, %d) end
  return { %s }, behind < stop and behind + 1 or behind
end]]):format(table.concat(values, ", "), table.concat(lines, "\n"), #names, #names, table.concat(fields, ", "))
  return assert(loadstring(text, "=parlua.csv"))(field, conversions, names, separator, quote, skip_empty_lines,
    describe_count)
end

--- Where the row behind the one at `p` begins.
function M.skip(p, stop, separator, quote)
  p = skip_empty_lines(p, stop)
  while true do
    local _, _, _, behind = field(p, stop, separator, quote)
    p = behind
    if p == stop or p[0] == NEWLINE then return p < stop and p + 1 or p end
    p = p + 1
  end
end

--- The names in a header: the fields of the row at `p` as strings, and where the rows begin.
function M.header(p, stop, separator, quote)
  local names, behind = read_list(p, stop, separator, quote, convert.string)
  local seen = {}
  for k, name in ipairs(names) do
    if seen[name] then return nil, ("the header names '%s' twice"):format(name) end
    seen[name] = true
    if name == "" then return nil, ("the header has no name for column %d"):format(k) end
  end
  return names, behind
end

--- The byte order mark that some programs put before a text in UTF-8.
M.MARK = "\239\187\191"

--- A text without it.
---@param text string
---@return string
function M.without_mark(text) return text:sub(1, 3) == M.MARK and text:sub(4) or text end

--- Raises an error when `types` names a column that is not there.
---@param types? table<string, string>
---@param names string[]
---@param whose string "'t.csv' has", for the message
function M.check_types(types, names, whose)
  local known = {}
  for _, name in ipairs(names) do known[name] = true end
  for column in pairs(types or {}) do
    if not known[column] then
      error(("csv: %s no column '%s'; it has %s"):format(whose, tostring(column), table.concat(names, ", ")), 0)
    end
  end
end

--- Is the string a whole row, or does a quoted field go on behind its end?
function M.is_whole(line, separator, quote)
  local p = cast(const_bytes, line)
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

M.bytes = const_bytes

return M
