--- Lists of records as aligned tables with a header.
local style = require "parlua.prompt.style"
local value_module = require "parlua.value"
local width = require "parlua.prompt.width"

local M = {}

local MOST_ROWS = 20 -- of a table of records
local MOST_SEEN = 1e5 -- rows that are looked through for columns which the shown ones lack
local MOST_NAMED = 10 -- of these columns

local headers = {} -- of files of comma-separated values, the latest first
local MOST_HEADERS = 20
local follows = false

--- Keeps the headers of files that are read from here on: rows are shown with their columns in that order.
function M.follow_headers()
  if follows then return end
  follows = true
  local csv = require "parlua.source.csv"
  local check = csv.check_columns
  function csv.check_columns(source, names, whose)
    local place = {}
    for k, name in ipairs(names) do place[name] = k end
    table.insert(headers, 1, place)
    headers[MOST_HEADERS + 1] = nil
    return check(source, names, whose)
  end
end

--- In the order of a header that has all names; by the alphabet where there is none.
local function sort(names)
  for _, place in ipairs(headers) do
    local has_all = true
    for _, name in ipairs(names) do has_all = has_all and place[name] ~= nil end
    if has_all then return table.sort(names, function(a, b) return place[a] < place[b] end) end
  end
  table.sort(names)
end

local function is_plain(value)
  local kind = type(value)
  return kind == "number" or kind == "string" or kind == "boolean" or kind == "nil"
end

--- The columns of a list of records, their names in order; nil: it is no such list.
---@param list table
---@param count integer
---@param has_holes? boolean entries may be nil
---@param most? integer of the rows that are looked at
---@return string[]?
function M.columns(list, count, has_holes, most)
  if count < 2 then return nil end
  local names, seen = {}, {}
  local shown = 0
  for k = 1, math.min(count, most or MOST_ROWS) do
    local record = rawget(list, k)
    if type(record) ~= "nil" or not has_holes then
      if type(record) ~= "table" or getmetatable(record) ~= nil or next(record) == nil then return nil end
      for name, value in next, record do
        if type(name) ~= "string" or not is_plain(value) or #name > 40 then return nil end
        if not seen[name] then names[#names + 1] = name end
        seen[name] = (seen[name] or 0) + 1
      end
      shown = shown + 1
    end
  end
  local shared = 0
  for _, name in ipairs(names) do
    if seen[name] == shown then shared = shared + 1 end
  end
  if shared == 0 or #names > 30 then return nil end
  sort(names)
  return names
end

--- A table of records by keys, such as parlua.group gives, as a list of them in the order of their keys; nil: it is no
--- such table.
---@param by_key table
---@return table? list
---@return string[]? keys
---@return string[]? names the columns
function M.keyed(by_key)
  local keys, list, labels = {}, {}, {}
  for key, record in next, by_key do
    local kind = type(key)
    if type(record) ~= "table" or #keys == MOST_SEEN or kind ~= "string" and kind ~= "number"
      or kind == "string" and #key > 40 then
      return nil
    end
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b)
    if type(a) ~= type(b) then return type(a) == "number" end
    return a < b
  end)
  for k, key in ipairs(keys) do
    list[k] = rawget(by_key, key)
    labels[k] = type(key) == "string" and value_module.quote(key):sub(2, -2) or value_module.number(key)
  end
  local names = M.columns(list, #list, false, math.huge)
  if not names then return nil end
  for _, record in ipairs(list) do -- all of one shape: else it is no table, but some tables
    for _, name in ipairs(names) do
      if rawget(record, name) == nil then return nil end
    end
  end
  return list, labels, names
end

--- Columns that only rows have which are left out.
---@param list table
---@param count integer
---@param names string[] as M.columns gives them
---@return string text ", some with a, b"; "" without such columns
function M.further(list, count, names)
  local seen, found, more = {}, {}, 0
  for _, name in ipairs(names) do seen[name] = true end
  for k = MOST_ROWS + 1, math.min(count, MOST_SEEN) do
    local record = rawget(list, k)
    for name in next, type(record) == "table" and record or {} do
      if type(name) == "string" and not seen[name] then
        seen[name] = true
        if #found < MOST_NAMED then found[#found + 1] = value_module.quote(name, 40):sub(2, -2) else more = more + 1 end
      end
    end
  end
  if #found == 0 then return "" end
  table.sort(found)
  return ", some with " .. table.concat(found, ", ") .. (more > 0 and (" and %d more columns"):format(more) or "")
end

local function cell_text(value)
  if value == nil then return "" end
  if type(value) == "number" then
    if value % 1 == 0 and math.abs(value) < 1e15 then return ("%.0f"):format(value) end
    return ("%.6g"):format(value)
  end
  local text = type(value) == "string" and value_module.quote(value):sub(2, -2) or tostring(value)
  return text
end

--- Rows of cells as aligned lines with a header; columns that have no room are named below.
---@param header string[]
---@param rows string[][] cells
---@param right boolean[] which columns stand at the right
---@param columns integer
---@return string[] lines
function M.table_lines(header, rows, right, columns)
  local widths = {}
  for c, name in ipairs(header) do
    widths[c] = width.of(name)
    for _, row in ipairs(rows) do widths[c] = math.max(widths[c], width.of(row[c])) end
    widths[c] = math.min(widths[c], math.max(8, math.floor(columns * 0.6)))
  end
  local fit, used = 0, 0
  for c = 1, #header do
    local left = columns - used - (c > 1 and 2 or 0)
    if widths[c] > left and c > 1 then
      if left < 12 then break end
      widths[c] = left -- the column is cut
    end
    used = used + widths[c] + (c > 1 and 2 or 0)
    fit = c
  end
  local lines = {}
  local function add(cells, kind)
    local parts = {}
    for c = 1, fit do
      local text = width.cut(cells[c], math.min(widths[c], columns))
      text = width.pad(text, math.min(widths[c], columns), right[c])
      parts[c] = kind and style.paint(kind, text) or text
    end
    lines[#lines + 1] = (table.concat(parts, "  "):gsub(" +$", ""))
  end
  add(header, "title")
  for _, row in ipairs(rows) do add(row) end
  if fit < #header then
    lines[#lines + 1] = style.paint("faint", width.cut("also: " .. table.concat(header, ", ", fit + 1), columns))
  end
  return lines
end

--- The table of a list of records.
---@param list table
---@param count integer
---@param names string[] as M.columns gives them
---@param columns integer of the terminal
---@param mark? fun(index: integer): string what stands for a record that is nil
---@param most? integer of the rows
---@param labels? string[] what stands before the rows; else their numbers
---@return string text
---@return integer left how many rows were left out
function M.text(list, count, names, columns, mark, most, labels)
  most = most or MOST_ROWS
  local rows, right = {}, {}
  local header = { "" }
  for c, name in ipairs(names) do header[c + 1], right[c + 1] = name, true end
  right[1] = labels == nil
  for k = 1, math.min(count, most) do
    local row, record = { labels and labels[k] or tostring(k) }, rawget(list, k)
    for c, name in ipairs(names) do
      local value = record and record[name]
      if value ~= nil and type(value) ~= "number" then right[c + 1] = false end
      row[c + 1] = cell_text(value)
    end
    if not record and mark then row[2] = mark(k) end
    rows[k] = row
  end
  return table.concat(M.table_lines(header, rows, right, columns), "\n"), math.max(0, count - most)
end

return M
