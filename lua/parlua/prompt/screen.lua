--- Draws the line that is edited: a statement of any number of lines, its prompts, a suggestion behind it, something
--- below it.
local host = require "parlua.host"
local lexer = require "parlua.prompt.lexer"
local style = require "parlua.prompt.style"
local terminal = require "parlua.terminal"
local width = require "parlua.prompt.width"

local M = {}

local REPLACEMENT = "\239\191\189"
local REST = 0.03 -- seconds in which the window's size stays the same

-- rows on the terminal, the cursor's among them (from 0) and its column, what was sent for them, for which width; and
-- `list`: the rows themselves, from `first` on
local drawn = { rows = 0, cursor = 0, column = 0, text = nil, columns = nil, list = nil, first = 1 }

--- Does a row that is too long for a narrowed terminal go on in the next one there? Most have it so; these cut it off.
local function find_whether_it_rewraps()
  if os.getenv "TMUX" then return true end
  local name = os.getenv "TERM" or ""
  for _, start in ipairs { "linux", "screen", "rxvt", "vt", "cons" } do
    if name:sub(1, #start) == start then return false end
  end
  return os.getenv "XTERM_VERSION" == nil
end

local rewraps = find_whether_it_rewraps()

---@class parlua.View
---@field prompt string
---@field continuation string prompt of further lines
---@field text string
---@field cursor integer bytes before it
---@field suggestion? string what may follow the text
---@field below? string[] lines, with colours
---@field plain? boolean no colours in the text: it is no Lua

--- The kind of each byte of Lua: for colours.
local function kinds_of(text)
  local kinds = {}
  for _, token in ipairs(lexer.tokens(text)) do
    if token.kind ~= "name" and token.kind ~= "symbol" then
      for k = token.from, token.to do kinds[k] = token.kind end
    end
  end
  return kinds
end

--- A character as it may be sent to the terminal: no control, no byte that is no UTF-8.
local function shown(text, at, c, length)
  if c == 0xfffd or c >= 0x80 and c < 0xa0 then return REPLACEMENT end
  if c < 32 or c == 127 then return "?" end
  return text:sub(at, at + length - 1)
end

--- Rows of the terminal that grow character by character.
local Rows = {}
Rows.__index = Rows

local function new_rows(columns)
  return setmetatable({ columns = columns, pieces = {}, list = {}, used = 0, kind = nil, run = "" }, Rows)
end

function Rows:flush()
  if self.run ~= "" then self.pieces[#self.pieces + 1] = style.paint(self.kind, self.run) end
  self.run = ""
end

function Rows:break_row()
  self:flush()
  self.list[#self.list + 1] = { text = table.concat(self.pieces), used = self.used }
  self.pieces, self.used = {}, 0
end

function Rows:put(character, columns, kind)
  if self.used + columns > self.columns then self:break_row() end
  if kind ~= self.kind then
    self:flush()
    self.kind = kind
  end
  self.run = self.run .. character
  self.used = self.used + columns
end

--- Where the next character would stand: row from 0, column from 0.
function Rows:place()
  if self.used >= self.columns then return #self.list + 1, 0 end
  return #self.list, self.used
end

function Rows:write(text, kind)
  local at = 1
  while at <= #text do
    local colour = text:match("^\27%[[%d;]*m", at) -- of a prompt of the user's
    local c, length = width.decode(text, at)
    if colour then
      length = #colour
      self:put(colour, 0, kind)
    else
      self:put(shown(text, at, c, length), width.of_character(c), kind)
    end
    at = at + length
  end
end

--- The rows of a view, and the cursor's row and column among them.
local function lay_out(view, columns)
  local rows = new_rows(columns)
  local kinds = view.plain and {} or kinds_of(view.text)
  local row, column
  rows:write(view.prompt, "prompt")
  local text, at = view.text, 1
  while at <= #text do
    if at == view.cursor + 1 then row, column = rows:place() end
    local c, length = width.decode(text, at)
    if c == 10 then
      rows:break_row()
      rows:write(view.continuation, "prompt")
    elseif c == 9 then
      rows:put("  ", 2, kinds[at])
    elseif c < 32 or c == 127 then
      rows:put("^" .. string.char((c + 64) % 128), 2, "faint")
    else
      rows:put(shown(text, at, c, length), width.of_character(c), kinds[at])
    end
    at = at + length
  end
  if not row then row, column = rows:place() end
  if view.suggestion then
    local first, more = view.suggestion:match("^([^\n]*)(\n?)")
    rows:write(first .. (more ~= "" and " …" or ""), "suggestion")
  end
  rows:break_row()
  if row >= #rows.list then rows.list[#rows.list + 1] = { text = "", used = 0 } end -- the cursor behind a full row
  for _, line in ipairs(view.below or {}) do
    rows.list[#rows.list + 1] = { text = line, used = width.of(line) }
  end
  return rows.list, row, column
end

--- The row, from 0, on which a row's column stands where a terminal of so many columns has to wrap it; behind its text:
--- that of its last character.
local function row_of(text, column, columns)
  local row, used, passed, at = 0, 0, 0, 1
  text = text:gsub("\27%[[%d;]*m", "")
  while at <= #text do
    local c, length = width.decode(text, at)
    local wide = width.of_character(c)
    if used + wide > columns then row, used = row + 1, 0 end
    at, used, passed = at + length, used + wide, passed + wide
    if passed > column then break end
  end
  return row
end

--- In a terminal that was made narrower, the rows that were drawn are now more.
local function follow_width(columns)
  local before = drawn.columns
  drawn.columns = columns
  if not rewraps or not before or before <= columns or drawn.rows == 0 then return end
  local rows, cursor = 0, nil
  for k = 0, drawn.rows - 1 do
    local row = drawn.list[drawn.first + k]
    if k == drawn.cursor then cursor = rows + row_of(row.text, drawn.column, columns) end
    rows = rows + 1 + row_of(row.text, row.used - 1, columns)
  end
  drawn.rows, drawn.cursor, drawn.text = rows, cursor, nil
end

--- Escape sequences that go from the cursor to the first drawn row.
local function to_top()
  follow_width((terminal.size()))
  return "\r" .. (drawn.cursor > 0 and ("\27[%dA"):format(drawn.cursor) or "")
end

--- The size of the terminal. While somebody draws at its window with the mouse: once it rests, as it would be another
--- by the time that the picture gets there.
local function resting_size()
  local columns, height = terminal.size()
  while drawn.columns and columns ~= drawn.columns do
    host.sleep(REST)
    local later, later_height = terminal.size()
    if later == columns and later_height == height then break end
    columns, height = later, later_height
  end
  return columns, height
end

--- Draws a view over what is drawn.
---@param view parlua.View
function M.draw(view)
  local columns, height = resting_size()
  local rows, row, column = lay_out(view, columns)
  local first = 1
  if #rows > height then first = math.max(1, math.min(row + 1 - math.floor(height / 2), #rows - height + 1)) end
  local last = math.min(#rows, first + height - 1)
  local parts = {}
  for k = first, last do parts[#parts + 1] = rows[k].text .. (rows[k].used < columns and "\27[K" or "") end
  local text = table.concat(parts, "\r\n") .. "\27[J"
  local up, cursor = last - 1 - row, row - (first - 1)
  if #rows == 1 and columns == 1 then up = 0 end
  text = text .. "\r" .. (up > 0 and ("\27[%dA"):format(up) or "") .. (column > 0 and ("\27[%dC"):format(column) or "")
  if text == drawn.text and columns == drawn.columns then return end
  -- rows that the terminal has wrapped are cleared first: it would join what is written over them when it gets wider
  local clear = drawn.columns and columns ~= drawn.columns and "\27[J" or ""
  io.stdout:write("\27[?25l", to_top(), clear, text, "\27[?25h")
  io.stdout:flush()
  drawn.rows, drawn.cursor, drawn.column, drawn.text = last - first + 1, cursor, column, text
  drawn.list, drawn.first, drawn.columns = rows, first, columns
end

--- Takes what is drawn off the terminal: text can be written there.
function M.hide()
  if drawn.rows > 0 then io.stdout:write(to_top(), "\27[J") end
  drawn.rows, drawn.cursor, drawn.text = 0, 0, nil
end

--- Leaves what is drawn, and goes on below it.
function M.leave()
  follow_width((terminal.size()))
  local below = drawn.rows - 1 - drawn.cursor
  if drawn.rows > 0 then io.stdout:write(below > 0 and ("\27[%dB"):format(below) or "", "\r\n") end
  io.stdout:flush()
  drawn.rows, drawn.cursor, drawn.text = 0, 0, nil
end

--- An empty terminal.
function M.clear()
  io.stdout:write("\27[H\27[2J")
  drawn.rows, drawn.cursor, drawn.text = 0, 0, nil
end

return M
