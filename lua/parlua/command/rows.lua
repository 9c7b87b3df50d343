--- What a command line writes of rows: those that only a filter looked at as they stand in their file; others under
--- columns in the order of the file, or of the code that makes them.
local lexer = require "parlua.prompt.lexer"
local rows = require "parlua.feed.rows"

local M = {}

local SEPARATORS = { csv = ",", tsv = "\t" }

--- The format of rows and lines that are written as they were read: results are their texts.
---@param source parlua.Source
function M.unchanged(source)
  local format, ending, is_begun = {}, "\n", false

  local function begin(buffer)
    local head = source.header_text
    if is_begun or not head then return end
    is_begun = true
    ending = head:find "\r\n$" and "\r\n" or "\n"
    buffer:put(head, head:find "\n$" and "" or "\n")
  end

  function format.put(buffer, _, _, _, result, failure)
    if failure or result == nil then return end
    begin(buffer)
    buffer:put(result, ending)
  end

  format.close = begin
  return format
end

--- The names that a table's constructor gives to its fields, in their order; nil: the code is no such constructor, or
--- has other items too.
local function names_of_constructor(text)
  local tokens, names, depth = {}, {}, 0
  for _, token in ipairs(lexer.tokens(text)) do
    if token.kind ~= "comment" then tokens[#tokens + 1] = token end
  end
  if #tokens == 0 or tokens[1].text ~= "{" then return nil end
  for k, token in ipairs(tokens) do
    local behind, is_item = tokens[k + 1], depth == 1 and tokens[k - 1].text:find "^[{,;]$" and token.text ~= "}"
    if is_item then
      if token.kind ~= "name" or not behind or behind.text ~= "=" then return nil end
      names[#names + 1] = token.text
    end
    if token.text:find "^[{(%[]$" then depth = depth + 1 end
    if token.text:find "^[})%]]$" then depth = depth - 1 end
    if depth == 0 and k < #tokens then return nil end
  end
  return #names > 0 and names or nil
end

--- Does the code speak of a row as a whole, not of its fields alone?
local function takes_whole(text)
  local before
  local list = lexer.tokens(text)
  for k, token in ipairs(list) do
    local behind = list[k + 1] and list[k + 1].text or ""
    if token.kind == "name" and (token.text == "row" or token.text == "x") and before ~= "." and before ~= ":"
      and not behind:find "^[.%[]" then
      return true
    end
    before = token.text
  end
  return false
end

--- The names of a row's fields: those of the file first, in their order there.
local function sorted_names(row, header)
  local names, seen = {}, {}
  for _, name in ipairs(header) do
    if row[name] ~= nil then names[#names + 1], seen[name] = name, true end
  end
  for _, name in ipairs(rows.names_of(row) or {}) do
    if not seen[name] then names[#names + 1] = name end
  end
  return names
end

--- The format csv or tsv of results that code has made.
---@param kind string
---@param map? string the code
---@param source parlua.Source
---@param given? string[] the columns, as the command line names them
function M.made(kind, map, source, given)
  local format, writer = {}, nil
  local is_whole = not map or takes_whole(map)

  local function columns_of(row)
    local header = source.names or source.found_names or {}
    local made = map and names_of_constructor(map)
    if given or made then return given or made end
    if row == nil then return is_whole and #header > 0 and header or nil end
    if type(row) ~= "table" or not rows.names_of(row) then return nil end
    local names, seen = {}, {}
    for k, name in ipairs(is_whole and header or {}) do names[k], seen[name] = name, true end
    for _, name in ipairs(sorted_names(row, header)) do
      if not seen[name] then names[#names + 1] = name end
    end
    return names
  end

  function format.put(buffer, _, _, _, result, failure)
    if failure or result == nil then return end
    if not writer then
      local columns = columns_of(result)
      writer = rows.open(SEPARATORS[kind], columns)
      if columns then writer:put_head(buffer) end
      writer.is_given = given ~= nil
    end
    writer:put(buffer, result)
  end

  function format.close(buffer)
    local columns = not writer and columns_of(nil)
    if columns then rows.open(SEPARATORS[kind], columns):put_head(buffer) end
  end

  return format
end

--- The columns that an option names. Raises what is wrong.
---@param text? string
---@param spelling string the option
---@return string[]?
function M.columns(text, spelling)
  if not text then return nil end
  local names = {}
  for name in (text .. ","):gmatch "([^,]*)," do names[#names + 1] = name:match "^%s*(.-)%s*$" end
  for _, name in ipairs(names) do
    if name == "" then
      error(("wrong value for the option %s: '%s'; it takes names with commas between them"):format(spelling, text), 0)
    end
  end
  rows.check_columns(names, "the option " .. spelling)
  return names
end

return M
