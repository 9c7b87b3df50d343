--- Where text is wrong: the line of source, with a caret below the place. For what is typed, for files, for
--- declarations of C.
local lexer = require "parlua.prompt.lexer"
local width = require "parlua.prompt.width"

local M = {}

--- Does the message of a syntax error say that the text ended too early?
---@param message string
---@return boolean
function M.is_incomplete(message) return message:find("near '<eof>'$") ~= nil end

--- Line number `number` of a text.
---@param text string
---@param number integer
---@return string?
function M.line(text, number)
  local at = 1
  for _ = 2, number do
    at = text:find("\n", at, true)
    if not at then return nil end
    at = at + 1
  end
  return text:match("^[^\n]*", at)
end

--- A line with a caret below its byte `at`.
local function with_caret(line, at)
  local column = width.of((line:sub(1, at - 1):gsub("\t", " ")))
  return ("  %s\n  %s^"):format(line:gsub("\t", " "), (" "):rep(column))
end

--- Where the syntax error of a text stands: the first word without which the text would only be too short; where it is
--- too short, behind its last word.
---@return integer? byte
local function place_of(text, message)
  local tokens = lexer.tokens(text)
  local low, high = 1, #tokens
  if high == 0 then return nil end
  if M.is_incomplete(message) then return tokens[high].to + 1 end
  while low < high do -- the error comes with one word and stays
    local middle = math.floor((low + high) / 2)
    local _, present = loadstring(text:sub(1, tokens[middle].to), "=x")
    if present and not M.is_incomplete(present) then high = middle else low = middle + 1 end
  end
  return tokens[low].from
end

--- A message with the line of source and a caret below the place.
---@param text string
---@param message string as loadstring gives it
---@param path? string of the file that holds the text
---@return string
function M.describe(text, message, path)
  local at = place_of(text, message)
  local what = message:gsub("^.-:%d+: ", "")
  if not at then return what end
  local before = text:sub(1, at - 1)
  local line_number = select(2, before:gsub("\n", "\n")) + 1
  local line_start = before:find "[^\n]*$"
  local where = path and ("%s:%d: "):format(path, line_number)
    or text:find("\n", 1, true) and ("line %d: "):format(line_number) or ""
  local line = text:match("^[^\n]*", line_start)
  return ("syntax error: %s%s\n%s"):format(where, what, with_caret(line, at - line_start + 1))
end

--- The line of source and the caret for a message that tells of a syntax error in a file, as require and dofile raise
--- it; nil: it is none.
---@param message string
---@return string?
function M.of_file(message)
  for line in message:gmatch "[^\n]+" do
    line = line:match "^%s*(.*)$"
    local path = line:match "^(.-):%d+: "
    local file = path and not path:find "^%[" and io.open(path, "rb")
    local text = file and file:read(2 ^ 20)
    if file then file:close() end
    if text then
      local plain = text:gsub("^#[^\n]*", "--")
      local _, present = loadstring(plain, "@" .. path)
      if present == line then return (M.describe(plain, present, path):match "\n(.*)$") end
    end
  end
end

---@class parlua.WrongDeclarations what is known of a syntax error in declarations of C
---@field text string the declarations
---@field line integer of them
---@field what string

--- What a message says of declarations that FFI functions were given; nil: it is no such message.
---@param message string
---@param declarations string
---@return parlua.WrongDeclarations?
function M.declarations(message, declarations)
  local what, line = message:match "^.-:%d+: (.* near '.*') at line (%d+)$"
  if not what then what, line = message:match "^.-:%d+: (.* near '.*')$", 1 end
  if what then return { text = declarations, line = tonumber(line), what = what } end
end

--- The text of such an error.
---@param wrong parlua.WrongDeclarations
---@param source? string the chunk that holds the declarations
---@param name string of the chunk
---@return string
function M.describe_declarations(wrong, source, name)
  local line, token = M.line(wrong.text, wrong.line) or "", wrong.what:match " near '(.*)'$"
  local at = source and source:find(wrong.text, 1, true)
  local where = ("line %d of the declarations"):format(wrong.line)
  if at then
    local first = select(2, source:sub(1, at - 1):gsub("\n", "\n"))
    where = ("%s:%d"):format(name, first + wrong.line)
  end
  local found, behind = line:find(token, 1, true)
  if found and line:find(token, behind + 1, true) then found = nil end -- it may be either
  return ("%s: %s\n%s"):format(where, wrong.what, found and with_caret(line, found) or "  " .. line)
end

--- The line at which a call begins that LuaJIT places at the line where its last argument, a long string, ends.
---@param text string of the chunk
---@param number integer
---@return integer
function M.first_line(text, number)
  local line = M.line(text, number)
  if not line or not line:find "%]=*%]" then return number end
  local at, present = 1, 1
  for _, token in ipairs(lexer.tokens(text)) do
    present, at = present + select(2, text:sub(at, token.from - 1):gsub("\n", "\n")), token.from
    if present > number then break end
    if token.kind == "string" and present < number then
      if present + select(2, token.text:gsub("\n", "\n")) == number then return present end
    end
  end
  return number
end

return M
