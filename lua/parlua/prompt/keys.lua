--- Keys from the bytes that a terminal sends.
local terminal = require "parlua.terminal"
local width = require "parlua.prompt.width"

local M = {}

local escape_seconds = 0.05 -- what follows an escape as part of the same key comes at once
local sequence_seconds = 0.5 -- a sequence that has begun ends, though a slow connection may bring it in pieces

--- Names of keys by what follows ESC [ or ESC O.
local letters = { A = "up", B = "down", C = "right", D = "left", H = "home", F = "end", Z = "back-tab" }
local numbers = { ["1"] = "home", ["7"] = "home", ["4"] = "end", ["8"] = "end", ["3"] = "delete", ["5"] = "page-up",
  ["6"] = "page-down" }

local Keys = {}
Keys.__index = Keys

--- Keys of the terminal on standard input. `idle()`: called while nothing is typed; returns after how many seconds it
--- is to be called again, nil: need not be.
---@param idle fun(): number?
function M.open(idle) return setmetatable({ bytes = "", idle = idle }, Keys) end

--- Waits for more bytes. Returns false at the end of input, nil when nothing came in time or the window has changed.
function Keys:more(seconds)
  local bytes = terminal.wait(seconds)
  if not bytes then
    self.ended = true
    return false
  end
  -- Ctrl-D that was typed while a statement ran: the terminal took it for the end of a line, which now reads as zero
  if self.is_ahead and seconds == 0 then bytes = bytes:gsub("%z", "\4") end
  self.is_ahead = false
  if bytes == "" then return nil end
  self.bytes = self.bytes .. bytes
  return true
end

function Keys:take(count)
  local taken = self.bytes:sub(1, count)
  self.bytes = self.bytes:sub(count + 1)
  return taken
end

--- The text of a bracketed paste, up to its end.
function Keys:paste()
  local from = 1
  while true do
    local first, last = self.bytes:find("\27[201~", from, true)
    if first then
      local text = self.bytes:sub(1, first - 1)
      self.bytes = self.bytes:sub(last + 1)
      return text
    end
    from = math.max(1, #self.bytes - 5)
    if self:more() == false then return self:take(#self.bytes) end
  end
end

--- What terminals send besides keys: answers to questions (of colours, say) that end with BEL or ESC \. Returns
--- whether it was one; it is taken then.
function Keys:message()
  if #self.bytes < 3 then return false end -- a key that was pressed together with Alt comes alone
  while true do
    local last = self.bytes:match("^\27[%]PX^_][^\7\27]*\7()") or self.bytes:match("^\27[%]PX^_][^\7\27]*\27\\()")
    if last then return self:take(last - 1) ~= "" end
    if self.bytes:find("^\27.[^\7\27]*\27[^\\]") or not self:more(escape_seconds) then return false end
  end
end

--- A key that begins with an escape.
function Keys:escape()
  if #self.bytes == 1 and not self:more(escape_seconds) then
    self:take(1)
    return "escape"
  end
  local second = self.bytes:sub(2, 2)
  if second:find("[%]PX^_]") and self:message() then return "unknown" end
  if second ~= "[" and second ~= "O" then
    local first = self:take(1)
    if second == "\r" or second == "\n" then
      self:take(1)
      return "alt-enter"
    end
    return "escape", first -- what follows is a key of its own: libedit knows ESC f and the like
  end
  while not self.bytes:find("^\27[%[O][0-?]*[ -/]*[^ -?]") do
    if not self:more(second == "[" and sequence_seconds or escape_seconds) then break end
  end
  -- a click of an old mouse, with three more bytes; a function key of Linux' console, with one
  local longer = self.bytes:match("^\27%[M...()") or self.bytes:match("^\27%[%[[A-E]()")
  if longer then
    self:take(longer - 1)
    return "unknown"
  end
  local kind, parameters, final = self.bytes:match("^\27([%[O])([0-?]*[ -/]*)([^ -?])")
  if not kind then return "unknown", self:take(#self.bytes) end
  self:take(3 + #parameters)
  if final == "~" and parameters == "200" then return "paste", self:paste() end
  local name = final == "~" and numbers[parameters:match("^%d*")] or letters[final]
  if not name then return "unknown" end
  local modifier = parameters:match(";(%d+)$")
  if modifier == "5" or modifier == "3" then name = "ctrl-" .. name end
  return name
end

local controls = { ["\r"] = "enter", ["\n"] = "enter", ["\t"] = "tab", ["\127"] = "backspace", ["\8"] = "backspace" }

--- Takes text that came at once; a character whose end has not come yet stays.
function Keys:run(run)
  local last = #run
  while last > #run - 4 and last > 1 and run:byte(last) >= 0x80 and run:byte(last) < 0xc0 do last = last - 1 end
  local first = run:byte(last)
  local length = first < 0xc0 and 1 or first < 0xe0 and 2 or first < 0xf0 and 3 or 4
  if #run == #self.bytes and first >= 0xc0 and last + length - 1 > #run then run = run:sub(1, last - 1) end
  self:take(#run)
  if not run:find "[\128-\255]" then return run end
  local parts, at = {}, 1
  while at <= #run do
    local c, used = width.decode(run, at)
    parts[#parts + 1] = width.encode(c)
    at = at + used
  end
  return table.concat(parts)
end

--- Has all been taken that was typed so far?
---@param seconds number that what may follow is waited for
function Keys:is_drained(seconds)
  if self.bytes == "" and not self.ended then self:more(seconds) end
  return self.bytes == ""
end

--- Waits for a key. Returns its name and its text: "character" (the character), "ctrl-x", "enter", "tab", "up",
--- "characters" (several that came at once), "paste" (what was pasted), "end of input", and "nothing" when the window
--- has another size.
---@return string name
---@return string? text
function Keys:next()
  while self.bytes == "" do
    if self.ended then return "end of input" end
    local seconds = self.idle()
    local came = self:more(seconds)
    if came == nil and not seconds then return "nothing" end
  end
  local first = self.bytes:byte()
  if first == 27 then return self:escape() end
  local text = self.bytes:sub(1, 1)
  if controls[text] then return controls[text], self:take(1) end
  if first < 32 then
    self:take(1)
    return "ctrl-" .. string.char(first + 96), text
  end
  local run = self.takes_runs and self.bytes:match "^[\32-\126\128-\255]+" or ""
  if #run > 4 then return "characters", self:run(run) end
  local length = first < 0xc0 and 1 or first < 0xe0 and 2 or first < 0xf0 and 3 or 4
  while #self.bytes < length do
    if not self:more(escape_seconds) then break end
  end
  local c, used = width.decode(self.bytes, 1)
  self:take(used)
  return "character", width.encode(c)
end

return M
