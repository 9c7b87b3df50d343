--- Templates of --exec and --save: words in which placeholders stand for a task's arguments. A template is taken apart
--- once; no shell sees what is put into it.
local common = require "parlua.common"
local names = require "parlua.options.names"

local M = {}

-- What stands behind a column's name or number, or alone, and what it makes of a path.
local changes = {
  [""] = function(text) return text end,
  ["."] = function(text) -- without the extension; ".bashrc" has none
    return text:match "^(.*[^/])%.[^/.]*$" or text
  end,
  ["/"] = function(text) return text:match "([^/]*)/*$" end,
  ["//"] = function(text)
    local folder = text:match "^(.*[^/])/+[^/]*/*$"
    return folder or text:sub(1, 1) == "/" and "/" or "."
  end,
}
changes["/."] = function(text) return changes["."](changes["/"](text)) end

--- The placeholder between braces: its column (a name, a number, nil: all) and the change of what stands there; nil: it
--- is none.
local function parse_placeholder(inside)
  if inside == "#" then return { is_number = true } end
  local column, change = inside:match "^([%a_\128-\255][%w_ \128-\255-]*)([./]*)$"
  if not column then column, change = inside:match "^(%d*)([./]*)$" end
  if not column or not changes[change] then return nil end
  return { column = column ~= "" and (tonumber(column) or column) or nil, change = change }
end

--- Pieces of a word: strings, and placeholders. {{name}} is {name} as it stands.
local function parse_word(word)
  local pieces, from = {}, 1
  local function add(text)
    if text == "" then return end
    if type(pieces[#pieces]) == "string" then text = table.remove(pieces) .. text end
    pieces[#pieces + 1] = text
  end
  while true do
    local at, last, inside = word:find("{([^{}]*)}", from)
    if not at then break end
    if word:sub(at - 1, at - 1) == "{" and at - 1 >= from and word:sub(last + 1, last + 1) == "}" then
      add(word:sub(from, at - 2) .. "{" .. inside .. "}")
      from = last + 2
    else
      add(word:sub(from, at - 1))
      local placeholder = parse_placeholder(inside)
      if inside:find "^%%$" or inside:find "^=.+=$" or inside:find "^%-%d+$" or inside:find "^%+.?$" then
        error(("unknown placeholder {%s}: it is of GNU parallel%s; {{%s}} stands for the text itself"):format(inside,
          inside:find "^=" and ", code for each word, as --map has it" or "", inside), 0)
      end
      if placeholder then pieces[#pieces + 1] = placeholder else add(word:sub(at, last)) end
      from = last + 1
    end
  end
  add(word:sub(from))
  return pieces
end

local SPECIAL = { ["|"] = true, ["&"] = true, [";"] = true, ["<"] = true, [">"] = true, ["$"] = true, ["`"] = true,
  ["("] = true, [")"] = true }

--- Words of a text as a shell would take them apart: spaces between them, quotes and backslashes. What else a shell
--- would do something about is refused. Raises what is wrong.
local function split(text)
  local words, word, at = {}, nil, 1
  while at <= #text do
    local c = text:sub(at, at)
    if c:find "%s" then
      if word then words[#words + 1], word = word, nil end
      at = at + 1
    elseif c == "'" then
      local last = text:find("'", at + 1, true)
      if not last then error("a ' has no end", 0) end
      word = (word or "") .. text:sub(at + 1, last - 1)
      at = last + 1
    elseif c == '"' then
      local piece, k = {}, at + 1
      while true do
        local d = text:sub(k, k)
        if d == "" then error('a " has no end', 0) end
        if d == '"' then break end
        if d == "\\" and text:find('^["\\$`]', k + 1) then
          k = k + 1
          d = text:sub(k, k)
        end
        piece[#piece + 1] = d
        k = k + 1
      end
      word = (word or "") .. table.concat(piece)
      at = k + 1
    elseif c == "\\" then
      if at == #text then error("a backslash stands at the end", 0) end
      word = (word or "") .. text:sub(at + 1, at + 1)
      at = at + 2
    elseif c == "{" and parse_placeholder(text:match("^{([^{}]*)}", at) or "-") then -- a column's name may have spaces
      local piece = text:match("^{[^{}]*}", at)
      word = (word or "") .. piece
      at = at + #piece
    elseif SPECIAL[c] then
      error(("%s is for a shell: add --shell, or put it in quotes"):format(c), 0)
    else
      word = (word or "") .. c
      at = at + 1
    end
  end
  if word then words[#words + 1] = word end
  return words
end

---@class parlua.Template
---@field words table[] pieces of each word
---@field names string[] columns that it names

--- Columns that pieces name, and whether they have a placeholder.
local function look_at(template, pieces)
  for _, piece in ipairs(pieces) do
    if type(piece) == "table" then
      template.has_placeholder = true
      template.has_number = template.has_number or piece.is_number or false
      if type(piece.column) == "string" then template.names[#template.names + 1] = piece.column end
      if type(piece.column) == "number" then
        template.most, template.least = math.max(template.most, piece.column), math.min(template.least, piece.column)
      end
      if not piece.column and not piece.is_number then template.takes_all = true end
    end
  end
end

--- Takes a template apart. Raises what is wrong with it.
---@param text string
---@param is_one_word? boolean it is not split: for a shell, or the name of a file
---@return parlua.Template
function M.parse(text, is_one_word)
  local words = is_one_word and { text } or split(text)
  if #words == 0 or words[1] == "" then error("it is empty", 0) end
  local template = { words = {}, names = {}, most = 0, least = 1, has_placeholder = false, takes_all = false }
  for k, word in ipairs(words) do
    template.words[k] = parse_word(word)
    look_at(template, template.words[k])
  end
  return template
end

--- Raises where a template for a shell has a placeholder inside of quotes: what is put in has quotes of its own, which
--- would end those.
---@param template parlua.Template
function M.check_quotes(template)
  local open, outer = nil, {} -- the quote that we are in; those around it, of commands in "$(...)"
  for _, piece in ipairs(template.words[1]) do
    if type(piece) == "table" then
      if open then
        error(("the option --exec: a placeholder stands between %s and %s; with --shell leave these quotes out: what "
          .. "is put in is quoted, as in echo {} or echo \"see \"{}"):format(open, open), 0)
      end
    else
      local at = 1
      while at <= #piece do
        local c = piece:sub(at, at)
        if c == "\\" and open ~= "'" then
          at = at + 1
        elseif open == nil and (c == "'" or c == '"') then
          open = c
        elseif c == open then
          open = nil
        elseif open ~= "'" and piece:find("^%$%(", at) then
          outer[#outer + 1] = open or ""
          open, at = nil, at + 1
        elseif open == nil and c == ")" and #outer > 0 then
          open = table.remove(outer)
          if open == "" then open = nil end
        end
        at = at + 1
      end
    end
  end
end

--- Is it all one placeholder?
---@param template parlua.Template
---@return boolean
function M.is_placeholder(template)
  return #template.words == 1 and #template.words[1] == 1 and type(template.words[1][1]) == "table"
end

--- Without a placeholder, all arguments stand at the end.
---@param template parlua.Template
---@param is_one_word? boolean
function M.complete(template, is_one_word)
  if template.has_placeholder then return end
  local all = parse_placeholder ""
  if is_one_word then
    local word = template.words[1]
    word[#word + 1] = " "
    word[#word + 1] = all
  else
    template.words[#template.words + 1] = { all }
  end
  template.has_placeholder, template.takes_all = true, true
end

--- Checks that columns are there. Raises the message where one is not.
---@param template parlua.Template
---@param columns? string[] names of columns; nil: the arguments have none
---@param count? integer how many arguments a task has, where that is known
function M.check(template, columns, count)
  for _, name in ipairs(template.names) do
    local is_known = false
    for _, column in ipairs(columns or {}) do is_known = is_known or column == name end
    if not is_known then
      error(("unknown placeholder {%s}%s; {{%s}} stands for the text itself"):format(name,
        columns and names.suggestion(name, columns) or ": arguments have names with --csv, --tsv or --jsonl", name), 0)
    end
  end
  if template.least < 1 then
    error("unknown placeholder {0}: arguments are counted from 1, as {1}; {{0}} stands for the text itself", 0)
  end
  if count and template.most > count then
    error(("there is no argument %d for {%d}: a task has %d"):format(template.most, template.most, count), 0)
  end
end

local function text_of(value)
  if type(value) == "string" then return value end
  if value == nil then return "" end
  if type(value) == "table" then return require("parlua.wire.json").encode(value) end
  return tostring(value)
end
M.text_of = text_of

--- What a placeholder stands for: a text, or a list of them.
local function values_of(piece, index, arguments)
  if piece.is_number then return ("%.0f"):format(index) end
  local change = changes[piece.change]
  if piece.column then return change(text_of(arguments[piece.column])) end
  local n = arguments.n or #arguments
  if n == 1 then return change(text_of(arguments[1])) end
  local texts = {}
  for k = 1, n do texts[k] = change(text_of(arguments[k])) end
  return texts
end

local function put_pieces(pieces, index, arguments, change)
  local parts = {}
  for k, piece in ipairs(pieces) do
    if type(piece) == "string" then
      parts[k] = piece
    else
      local value = values_of(piece, index, arguments)
      if type(value) == "table" then
        for j, one in ipairs(value) do value[j] = change(one) end
        value = table.concat(value, " ")
      else
        value = change(value)
      end
      parts[k] = value
    end
  end
  return table.concat(parts)
end

local function as_it_is(text) return text end

--- The words for a task. Several arguments become several words where their placeholder stands alone.
---@param template parlua.Template
---@param index integer
---@param arguments table by number and, of rows, by name; n: how many
---@return string[]
function M.words(template, index, arguments)
  local words = {}
  for _, pieces in ipairs(template.words) do
    local only = #pieces == 1 and pieces[1]
    local values = type(only) == "table" and values_of(only, index, arguments)
    if type(values) == "table" then
      for _, value in ipairs(values) do words[#words + 1] = value end
    else
      words[#words + 1] = values or put_pieces(pieces, index, arguments, as_it_is)
    end
  end
  return words
end

--- The one text for a task; for a shell with what is put in quoted.
---@param template parlua.Template
---@param is_for_shell? boolean
---@return string
function M.text(template, index, arguments, is_for_shell)
  return put_pieces(template.words[1], index, arguments, is_for_shell and common.shell_word or as_it_is)
end

--- Words as one would type them.
---@param words string[]
---@return string
function M.shown(words)
  local quoted = {}
  for k, word in ipairs(words) do quoted[k] = common.shell_word(word) end
  return table.concat(quoted, " ")
end

return M
