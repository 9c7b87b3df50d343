--- Reads a statement on a terminal: what keys do beside those that libedit knows (terminal.c).
local host = require "parlua.host"
local keys_module = require "parlua.prompt.keys"
local line = require "parlua.prompt.line"
local screen = require "parlua.prompt.screen"
local statement = require "parlua.prompt.statement"
local style = require "parlua.prompt.style"
local terminal = require "parlua.terminal"
local width = require "parlua.prompt.width"

local M = {}

local set, insert, line_bounds, move_line, break_line = line.set, line.insert, line.bounds, line.move, line.break_line

local DRAW_SECONDS = 0.2 -- while more is typed than can be drawn, the line is drawn so often,
local DRAW_SHARE = 5     -- and for a part of the time, by what drawing takes
local PATIENCE = 0.03 -- seconds that more of a long text is waited for, before it is drawn
local MOST_INDENTED = 4096 -- a text of so many bytes that comes at once is not indented

local Editor = {}
Editor.__index = Editor

---@class parlua.Editing what the editor is given
---@field history table see history.lua
---@field is_complete fun(text: string): boolean
---@field complete fun(text: string, cursor: integer): table? see complete.lua
---@field signature fun(text: string, cursor: integer): string? of the call that the cursor is in
---@field idle fun(editor: table): number? is called while nothing is typed; see keys.lua

--- An editor on the terminal; nil when there is none.
---@param given parlua.Editing
function M.open(given)
  if not terminal.is_terminal() or os.getenv("TERM") == "dumb" or not terminal.open() then return nil end
  local self = setmetatable({ given = given, history = given.history }, Editor)
  self.keys = keys_module.open(function()
    local ok, seconds = pcall(given.idle, self)
    if ok then return seconds end
    self:tell_fault(seconds)
  end)
  return self
end

--- A fault of the prompt's own must not end the session: it is shown, and the line goes on.
function Editor:tell_fault(message)
  self:print_above(style.paint("error", "parlua's prompt: " .. tostring(message)) .. "\n")
end

--- What may follow the text, if the cursor is at its end.
function Editor:suggestion(text, cursor)
  return not self.search and cursor == #text and self.history:suggestion(text) or nil
end

--- Shows the line.
function Editor:draw()
  local text, cursor = terminal.line()
  local suggestion = self:suggestion(text, cursor)
  local below = self.below
  if self.search then
    below = { style.paint("faint", "search: ") .. self.search.text
      .. (self.search.failed and style.paint("error", "  (not found)") or "") }
  end
  screen.draw { prompt = self.prompt, continuation = self.continuation, text = text, cursor = cursor,
    suggestion = suggestion, below = below, plain = text:find("^%s*[!%%?]") ~= nil }
end

--- Writes text above the line.
---@param text string of whole lines
function Editor:print_above(text)
  screen.hide()
  io.stdout:write((text:gsub("\n", "\r\n")))
  self:draw()
end

-- ---- history ----

function Editor:browse(step)
  local text, cursor = terminal.line()
  if not self.browsing and text:find("\n", 1, true) and move_line(step) then return end
  local list = self.history.list
  local browsing = self.browsing
  if not browsing then
    if step > 0 then return end
    browsing = { at = #list + 1, typed = text, prefix = cursor == #text and text or "" }
  end
  local prefix, present = browsing.prefix, text
  local at = self.history:find(browsing.at + step, step, function(former)
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

--- Looks for the searched text from place `from` on.
function Editor:look(from)
  local search = self.search
  local at = search.text ~= ""
    and self.history:find(from, -1, function(former) return former:find(search.text, 1, true) end)
  search.failed = not at and search.text ~= ""
  if at then
    search.at = at
    set(self.history.list[at], (self.history.list[at]:find(search.text, 1, true)) - 1)
  end
end

--- A key while Ctrl-R searches. Returns true when it is dealt with.
function Editor:search_key(name, text)
  local search = self.search
  if name == "ctrl-r" or name == "up" then
    self:look(search.at - 1)
  elseif name == "character" or name == "characters" or name == "paste" then
    search.before[#search.before + 1] = { text = search.text, at = search.at }
    search.text = search.text .. text:match("^[^\n]*")
    self:look(math.min(search.at, #self.history.list))
  elseif name == "backspace" then
    local before = table.remove(search.before)
    if before then
      search.text, search.at = before.text, before.at
      self:look(search.at)
    end
  elseif name == "ctrl-g" or name == "ctrl-c" then
    set(search.typed)
    self.search = nil
  elseif name ~= "nothing" then
    self.search = nil -- the line that was found is edited, or run
    set((terminal.line()))
    return name == "escape" or name == "tab"
  end
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

function Editor:tab()
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

local actions = {}

--- Of many lines that come at once, is this one to be looked at? Each look takes as long as there is text.
function Editor:is_passed(text)
  self.has_passed = self.keys.bytes ~= "" and #text > MOST_INDENTED and #text < self.looked_at * 1.25
  if not self.has_passed then self.looked_at = #text end
  return self.has_passed
end

--- Is the text complete that ended with lines which nobody has looked at?
function Editor:is_ended()
  if not self.has_passed then return false end
  self.has_passed = false
  local text, cursor = terminal.line()
  return cursor == #text and text:find "\n%s*$" ~= nil and self.given.is_complete(text)
end

--- Draws the line when nothing more is typed, and from time to time. Returns whether nothing more is.
---@param keys integer how many were taken since
function Editor:draw_at_rest(keys)
  local is_long = keys > 1 and #(terminal.line()) > MOST_INDENTED
  local is_drained = self.keys:is_drained(is_long and PATIENCE or 0)
  local began = host.now()
  if is_drained or began > self.draw_next then
    self:draw()
    local ended = host.now()
    self.draw_next = ended + math.max(DRAW_SECONDS, DRAW_SHARE * (ended - began))
  end
  return is_drained
end

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
actions.tab = Editor.tab
function actions.up(self) self.next_browsing = self:browse(-1) and self.browsing end
function actions.down(self) self.next_browsing = self:browse(1) and self.browsing end
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

--- Deals with a key. Returns how the statement ends ("accept", "interrupt", "end"), or "libedit" for a key that is
--- libedit's.
function Editor:key(name, text)
  if self.search and self:search_key(name, text) then return end
  self.next_below, self.next_menu, self.next_browsing, self.next_indent = nil, nil, nil, 0
  if name == "nothing" then
    self.next_below, self.next_menu, self.next_browsing = self.below, self.menu, self.browsing
    self.next_indent = self.indent
  end
  local action = actions[name]
  local outcome = "libedit"
  if action then outcome = action(self, text) end
  self.below, self.menu, self.browsing = self.next_below, self.next_menu, self.next_browsing
  self.indent = self.next_indent
  -- what follows a key of libedit's may be a part of it
  self.keys.takes_runs = self.is_emacs and (outcome ~= "libedit" or name == "character")
  return outcome
end

--- After libedit has had a character.
function Editor:after_character(text)
  if not self.owns_indent then line.outdent() end
  if text == "(" then
    local signature = self.given.signature(terminal.line())
    if signature then self.below = signature_lines(signature) end
  end
end

--- Reads a statement.
---@param prompt string
---@param continuation string
---@return string? text nil: there is none
---@return string? why then: "interrupt" or "end"
function Editor:read(prompt, continuation)
  self.prompt, self.continuation = prompt, continuation
  self.below, self.menu, self.browsing, self.search, self.indent, self.looked_at = nil, nil, nil, nil, 0, 0
  self.is_emacs = terminal.is_emacs()
  self.keys.takes_runs, self.keys.is_ahead = self.is_emacs, true
  self.draw_next, self.has_passed, self.owns_indent = 0, false, false
  local outcome, text, last
  local keys = 0 -- that were taken since all were
  -- behind text that was written without a line end, the prompt begins a line: as many spaces as there are columns
  -- lead to the next one, and from the first column to the end of the same
  io.stdout:write((" "):rep((terminal.size())), "\r\27[K", "\27[?2004h") -- and bracketed paste
  local function next_character()
    if last then self:after_character(last) end
    last = nil
    while true do
      keys = self:draw_at_rest(keys) and 0 or keys
      if keys == 0 and self:is_ended() then
        outcome, text = "accept", (terminal.line()):gsub("\n%s*$", "")
        return nil
      end
      keys = keys + 1
      local name, bytes = self.keys:next()
      if name == "end of input" then
        outcome = "end"
        return nil
      end
      local ok, result = pcall(self.key, self, name, bytes)
      if not ok then
        self:tell_fault(result)
        result = nil
      end
      if result == "libedit" and bytes and bytes ~= "\0" then -- zero would leave it deaf to the end of the line
        if name == "character" then last = bytes end
        return (width.decode(bytes, 1))
      elseif result == "libedit" then
        local code = name == "backspace" and 127 or name == "escape" and 27
        if code then return code end -- other keys without a character mean nothing to libedit
      elseif result then
        outcome, text = result, (terminal.line())
        return nil
      end
    end
  end
  local ok, message = pcall(terminal.edit, next_character)
  if ok then
    self.keys.bytes = self.keys.bytes .. message
    local at = self.keys.bytes:find("\3", 1, true)
    if at then -- Ctrl-C, typed after the statement: is for it
      self.keys.bytes = self.keys.bytes:sub(at + 1)
      if outcome == "accept" then terminal.interrupt() end
    end
  end
  self.below, self.menu, self.search = nil, nil, nil
  if outcome == "accept" or outcome == "interrupt" then
    self:finish_drawing(text, outcome == "interrupt" and style.paint("faint", "^C") or "")
  else
    screen.leave()
  end
  io.stdout:write("\27[?2004l")
  io.stdout:flush()
  if not ok then error(message, 0) end
  if outcome == "accept" then return text end
  return nil, outcome or "end"
end

--- Draws the statement for the last time: without suggestion and cursor.
function Editor:finish_drawing(text, mark)
  screen.draw { prompt = self.prompt, continuation = self.continuation, text = text, cursor = #text,
    plain = text:find("^%s*[!%%?]") ~= nil }
  io.stdout:write(mark)
  screen.leave()
end

return M
