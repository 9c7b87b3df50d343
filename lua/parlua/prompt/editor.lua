--- Reads a statement on a terminal: waits for keys, gives them to actions.lua or to libedit (terminal.c), draws the
--- line.
local actions = require "parlua.prompt.actions"
local host = require "parlua.host"
local keys_module = require "parlua.prompt.keys"
local line = require "parlua.prompt.line"
local screen = require "parlua.prompt.screen"
local style = require "parlua.prompt.style"
local terminal = require "parlua.terminal"
local width = require "parlua.prompt.width"

local M = {}

local set = line.set

local DRAW_SECONDS = 0.2 -- while more is typed than can be drawn, the line is drawn so often,
local DRAW_SHARE = 5     -- and for a part of the time, by what drawing takes
local PATIENCE = 0.03 -- seconds that more of a long text is waited for, before it is drawn

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

--- Looks for the searched text from place `from` on.
function Editor:look(from)
  local search = self.search
  local at = search.text ~= ""
    and self.history:nearest(from, -1, function(former) return former:find(search.text, 1, true) end)
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

-- ---- keys ----

--- Of many lines that come at once, is this one to be looked at? Each look takes as long as there is text.
function Editor:is_passed(text)
  self.has_passed = self.keys.bytes ~= "" and #text > line.MOST_INDENTED and #text < self.looked_at * 1.25
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
  local is_long = keys > 1 and #(terminal.line()) > line.MOST_INDENTED
  local is_drained = self.keys:is_drained(is_long and PATIENCE or 0)
  local began = host.now()
  if is_drained or began > self.draw_next then
    self:draw()
    local ended = host.now()
    self.draw_next = ended + math.max(DRAW_SECONDS, DRAW_SHARE * (ended - began))
  end
  return is_drained
end

--- Deals with a key. Returns how the statement ends ("accept", "interrupt", "end"), or "libedit" for a key that is
--- libedit's.
function Editor:key(name, text)
  if self.search and self:search_key(name, text) then return end
  self.next_below, self.next_menu, self.next_browsing, self.next_indent = nil, nil, nil, 0
  if name == "nothing" then
    self.next_below, self.next_menu, self.next_browsing = self.below, self.menu, self.browsing
    self.next_indent = self.indent
  end
  local action = actions.by_name[name]
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
    if signature then self.below = actions.signature_lines(signature) end
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
