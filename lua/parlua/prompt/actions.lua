--- What keys do to the text that is edited: to lines, with the history, by completion. Each is a function of the editor
--- (editor.lua) and what was typed. It returns how the statement ends, or "libedit" for a key that is libedit's.
local line = require "parlua.prompt.line"
local screen = require "parlua.prompt.screen"
local statement = require "parlua.prompt.statement"
local style = require "parlua.prompt.style"
local terminal = require "parlua.terminal"
local width = require "parlua.prompt.width"

local set, insert, line_bounds, move_line, break_line = line.set, line.insert, line.bounds, line.move, line.break_line
local MOST_INDENTED = line.MOST_INDENTED

local actions = {}

-- ---- history ----

--- Goes to what was typed before, or after that.
local function browse(self, step)
  local text, cursor = terminal.line()
  if not self.browsing and text:find("\n", 1, true) and move_line(step) then return end
  local list = self.history.list
  local browsing = self.browsing
  if not browsing then
    if step > 0 then return end
    browsing = { at = #list + 1, typed = text, prefix = cursor == #text and text or "" }
  end
  local prefix, present = browsing.prefix, text
  local at = self.history:nearest(browsing.at + step, step, function(former)
    return former ~= present and former:sub(1, #prefix) == prefix
  end)
  if at then
    browsing.at = at
    set(list[at])
  elseif step > 0 then
    browsing.at = #list + 1
    set(browsing.typed)
  end
  self.browsing = browsing
  return true
end

-- ---- completion ----

--- Candidates side by side, in the columns of the terminal: the first of them, in at most so many rows.
local function grid(candidates, columns, most_rows)
  local widest, count, across = 0, 0, 1
  for k, candidate in ipairs(candidates) do -- as many as there is room for, the widest of them included
    local wider = math.max(widest, math.min(width.of(candidate) + 2, columns))
    local fits = math.max(1, math.floor(columns / wider))
    if k > fits * most_rows then break end
    widest, count, across = wider, k, fits
  end
  local rows, lines = math.ceil(count / across), {}
  for r = 1, rows do
    local parts = {}
    for c = 0, across - 1 do
      local candidate = r + c * rows <= count and candidates[r + c * rows]
      if candidate then parts[#parts + 1] = width.pad(width.cut(candidate, columns - 1), widest) end
    end
    lines[#lines + 1] = (table.concat(parts):gsub("%s+$", ""))
  end
  if count < #candidates then lines[#lines + 1] = style.paint("faint", ("… %d in all"):format(#candidates)) end
  return lines
end

--- The signature below the line, cut to its width.
local function signature_lines(signature)
  local columns = terminal.size()
  return { style.paint("faint", width.cut(signature, columns - 1)) }
end

function actions.tab(self)
  local text, cursor = terminal.line()
  local before = text:sub(1, cursor)
  if before:match("[^\n]*$"):find("^%s*$") and before:find("\n", 1, true) then return insert("  ") end
  local menu = self.menu
  if menu and menu.expected == text then -- again: the next of several
    menu.at = menu.at % #menu.words + 1
    local word = menu.words[menu.at]
    set(menu.head .. word .. menu.tail, #menu.head + #word)
    menu.expected = menu.head .. word .. menu.tail
    self.next_menu, self.next_below = menu, self.below
    return
  end
  local found = self.given.complete(text, cursor)
  local signature = self.given.signature(text, cursor)
  if not found or #found.words == 0 then
    if signature then self.next_below = signature_lines(signature) end
    return
  end
  local head, tail = text:sub(1, found.from), text:sub(cursor + 1)
  if #found.words == 1 then
    local word = found.words[1] .. (found.suffix or "")
    set(head .. word .. tail, #head + #word)
    if signature then self.next_below = signature_lines(signature) end
    return
  end
  local common = found.common
  if #head + #common > cursor then
    set(head .. common .. tail, #head + #common)
    text = head .. common .. tail
  end
  local columns, height = terminal.size()
  local lines = grid(found.words, columns, math.max(2, math.min(12, height - 4)))
  if signature then table.insert(lines, 1, signature_lines(signature)[1]) end
  self.next_below = lines
  self.next_menu = { words = found.words, at = 0, head = head, tail = tail, expected = text }
end

-- ---- keys ----

function actions.enter(self)
  local typed, cursor = terminal.line()
  local text = cursor == #typed and statement.without_prompt(typed) or typed -- copied along, and not pasted as a whole
  if text ~= typed then set(text) end
  if not self:is_passed(text) and self.given.is_complete(text) then
    set(text)
    return "accept"
  end
  local follows = self.keys.bytes
  self.owns_indent = false
  self.next_indent = break_line(follows ~= "" and (follows:find "^[ \t]" ~= nil or #text > MOST_INDENTED))
end

actions["alt-enter"] = function(self)
  self.owns_indent = false
  self.next_indent = break_line()
end
function actions.up(self) self.next_browsing = browse(self, -1) and self.browsing end
function actions.down(self) self.next_browsing = browse(self, 1) and self.browsing end
actions["ctrl-p"], actions["ctrl-n"] = actions.up, actions.down

actions["ctrl-r"] = function(self)
  local text = terminal.line()
  self.search = { text = "", typed = text, at = #self.history.list, before = {} }
end

actions["ctrl-c"] = function() return "interrupt" end

actions["ctrl-d"] = function(self)
  local text, cursor = terminal.line()
  if text == "" then return "end" end
  if cursor == #text then
    self.next_below = { style.paint("faint", "Ctrl-C drops what is typed; Ctrl-D leaves where there is nothing") }
    return
  end
  set(text:sub(1, cursor) .. text:sub(width.after(text, cursor) + 1), cursor)
end

actions.delete, actions.backspace, actions.left = line.delete, line.backspace, line.left

function actions.right(self)
  local text, cursor = terminal.line()
  local suggestion = self:suggestion(text, cursor)
  if suggestion then return set(text .. suggestion) end
  set(text, width.after(text, cursor))
end
actions["ctrl-f"] = actions.right

function actions.home()
  local text, cursor = terminal.line()
  local start = line_bounds(text, cursor)
  set(text, start == cursor and 0 or start)
end
actions["ctrl-a"] = actions.home

actions["end"] = function(self)
  local text, cursor = terminal.line()
  local suggestion = self:suggestion(text, cursor)
  if suggestion then return set(text .. suggestion) end
  local _, stop = line_bounds(text, cursor)
  set(text, stop == cursor and #text or stop)
end
actions["ctrl-e"] = actions["end"]

actions["ctrl-left"] = function()
  local text, cursor = terminal.line()
  set(text, (text:sub(1, cursor):match("^(.-)[%w_\128-\255]*[^%w_\128-\255]*$") or ""):len())
end

actions["ctrl-right"] = function(self)
  local text, cursor = terminal.line()
  local suggestion = self:suggestion(text, cursor)
  if suggestion then return insert(suggestion:match("^[^%w_\128-\255]*[%w_\128-\255]*")) end
  set(text, text:match("^[^%w_\128-\255]*[%w_\128-\255]*()", cursor + 1) - 1)
end

--- Of a statement of several lines, the rest of the line goes; else libedit does it, and keeps it for Ctrl-Y.
actions["ctrl-k"] = function()
  local text, cursor = terminal.line()
  local _, stop = line_bounds(text, cursor)
  if stop == #text then return "libedit" end
  if stop == cursor then stop = cursor + 1 end
  set(text:sub(1, cursor) .. text:sub(stop + 1), cursor)
end

actions["ctrl-l"] = function() screen.clear() end

actions["ctrl-z"] = function(self)
  screen.leave()
  terminal.suspend()
  self:draw()
end

function actions.paste(self, text)
  text = text:gsub("\r\n?", "\n")
  text = statement.without_prompts(text)
  insert((text:gsub("\n+$", self.given.is_complete(text) and "" or "\n")))
end

--- Spaces that are typed where the line was indented are those of the indentation.
local function is_indentation(self, text)
  if text ~= " " then return false end
  local text_now, cursor = terminal.line()
  if cursor ~= #text_now or not text_now:find "\n *$" then return false end
  self.owns_indent = true -- from here on it is the user's
  return self.indent > 0
end

function actions.character(self, text)
  if is_indentation(self, text) then
    self.next_indent = self.indent - 1
    return
  end
  local _, cursor = terminal.line()
  if text:byte() < 0x80 and self.libedit_inserts ~= false then return "libedit" end
  insert(text)
  local now, at = terminal.line()
  if #now == 0 and at == cursor then return "libedit" end
end

function actions.characters(self, text)
  if is_indentation(self, text:sub(1, 1)) then text = text:gsub("^" .. (" ?"):rep(self.indent), "") end
  insert(text)
  local now, cursor = terminal.line()
  if #now < MOST_INDENTED and not self.owns_indent then line.outdent() end
  if text:sub(-1) == "(" then
    local signature = self.given.signature(now, cursor)
    if signature then self.next_below = signature_lines(signature) end
  end
end

function actions.unknown() end
function actions.nothing() end

return { by_name = actions, signature_lines = signature_lines }
