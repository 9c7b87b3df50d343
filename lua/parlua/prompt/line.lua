--- The line that is edited, as libedit holds it (terminal.c): what the prompt itself does to it.
local lexer = require "parlua.prompt.lexer"
local terminal = require "parlua.terminal"
local width = require "parlua.prompt.width"

local M = {}

M.MOST_INDENTED = 4096 -- a text of so many bytes that comes at once is not indented

--- Another text. `cursor`: how many bytes stand before it; default: all.
---@param text string
---@param cursor? integer
local function set(text, cursor) terminal.set_line(text, cursor or #text) end

--- Puts text in at the cursor.
---@param what string
local function insert(what)
  local text, cursor = terminal.line()
  set(text:sub(1, cursor) .. what .. text:sub(cursor + 1), cursor + #what)
end

--- Where the line that an offset is in begins, and where it ends.
local function line_bounds(text, cursor)
  local start = text:sub(1, cursor):match(".*\n()") or 1
  local stop = text:find("\n", cursor + 1, true) or #text + 1
  return start - 1, stop - 1
end

--- Moves the cursor a line up or down, if there is one.
local function move_line(step)
  local text, cursor = terminal.line()
  local start, stop = line_bounds(text, cursor)
  local column = width.of(text:sub(start + 1, cursor))
  local first, last
  if step < 0 then
    if start == 0 then return false end
    first, last = line_bounds(text, start - 1)
  else
    if stop == #text then return false end
    first, last = line_bounds(text, stop + 1)
  end
  local at = first
  while at < last and width.of(text:sub(first + 1, at)) < column do at = width.after(text, at) end
  set(text, at)
  return true
end

--- A further line, indented by what is open, or by nothing (`is_plain`). Returns how many spaces that are.
---@param is_plain? boolean
---@return integer
local function break_line(is_plain)
  local text, cursor = terminal.line()
  local before = text:sub(1, cursor)
  if is_plain or lexer.is_open(before) then
    insert "\n"
    return 0
  end
  local rest = text:sub(cursor + 1):match("^%s*(%a*)")
  local depth = lexer.depth(before)
  if rest == "end" or rest == "until" or rest == "else" or rest == "elseif" then depth = math.max(0, depth - 1) end
  insert("\n" .. ("  "):rep(depth))
  return 2 * depth
end

--- A word that closes a block goes to where the block began, once it is typed.
local function outdent()
  local text, cursor = terminal.line()
  local start = line_bounds(text, cursor)
  local space, word = text:sub(start + 1, cursor):match("^(%s*)([%a%)%}]+)$")
  if start == 0 or not word then return end
  if word == "end" or word == "else" or word == "elseif" or word == "until" or word == "}" or word == ")" then
    local depth = lexer.depth(text:sub(1, start))
    local wanted = ("  "):rep(math.max(0, depth - 1))
    if #wanted < #space then
      set(text:sub(1, start) .. wanted .. text:sub(start + #space + 1), cursor - (#space - #wanted))
    end
  end
end

--- Removes the character behind the cursor.
function M.delete()
  local text, cursor = terminal.line()
  set(text:sub(1, cursor) .. text:sub(width.after(text, cursor) + 1), cursor)
end

--- Removes the character before the cursor, or a step of the indentation.
function M.backspace()
  local text, cursor = terminal.line()
  local from = width.before(text, cursor)
  local start = line_bounds(text, cursor)
  local indent = text:sub(start + 1, cursor)
  if start > 0 and #indent >= 2 and indent:find("^ +$") then from = cursor - 2 end
  set(text:sub(1, from) .. text:sub(cursor + 1), from)
end

--- A character to the left.
function M.left()
  local text, cursor = terminal.line()
  set(text, width.before(text, cursor))
end

M.set, M.insert, M.bounds, M.move, M.break_line, M.outdent = set, insert, line_bounds, move_line, break_line, outdent

return M
