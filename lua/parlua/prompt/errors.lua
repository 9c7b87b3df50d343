--- Errors at the prompt: what was raised, the lines of source that led to it, without what belongs to parlua itself.
local style = require "parlua.prompt.style"
local terminal = require "parlua.terminal"
local value_module = require "parlua.value"
local width = require "parlua.prompt.width"

local M = {}

local getinfo = debug.getinfo
local most_frames = 8
local MOST_LEVELS = 200 -- of the stack that are looked at

--- Texts of statements, by the name of their chunk; of files, once they are read.
local sources = {}

--- Keeps the text of a statement.
---@param chunk_name string as given to loadstring: "=[3]"
---@param text string
function M.keep_source(chunk_name, text) sources[chunk_name] = text end

--- The text of a chunk, by `source` of debug.getinfo; nil: it is not at hand.
function M.source_text(source)
  local text = sources[source]
  if text == nil and source:sub(1, 1) == "@" then
    local file = io.open(source:sub(2), "rb")
    text = file and file:read(2 ^ 20) or false
    if file then file:close() end
    -- not kept: the file may be edited
  end
  return text or nil
end

local function line_of(source, number)
  local text = M.source_text(source)
  if not text then return nil end
  local at = 1
  for _ = 2, number do
    at = text:find("\n", at, true)
    if not at then return nil end
    at = at + 1
  end
  return text:match("^[^\n]*", at)
end

---@class parlua.PromptError what the handler makes
---@field value any what was raised
---@field is_interrupt boolean it was raised by Ctrl-C
---@field levels table[] of the stack, as debug.getinfo tells them: from where it was raised to the statement's own
---@field stop function the statement's own

--- A message handler for terminal.call. `stop`: the statement's own function, where the user's frames end. `rescue`:
--- called while the frames stand.
---@param stop function
---@param rescue? fun()
function M.handler(stop, rescue)
  -- Where the stack was full there is little left of it: the rest is made of this later. Compiled, the loop would ask
  -- for more.
  local function handle(value)
    local levels = {}
    for level = 2, MOST_LEVELS do
      local info = getinfo(level, "nSlf")
      levels[level - 1] = info
      if not info or info.func == stop then break end
    end
    if rescue then rescue() end
    return { value = value, is_interrupt = terminal.interrupted(), levels = levels, stop = stop }
  end
  jit.off(handle)
  return handle
end

--- What was raised, as a text.
---@param record parlua.PromptError
local function message_of(record)
  local value = record.value
  if require("parlua.failure").is(value) then return require("parlua.prompt.show").failure_text(value) end
  if type(value) ~= "string" then return value == nil and "nil" or value_module.format(value) end
  -- whatever was at work: no place of it is to blame
  if record.is_interrupt and ("0: " .. value):find("%d: interrupted!?$") then return "interrupted" end
  return (value:gsub("^parlua/[%w_/]+%.lua:%d+: ", "")) -- the lines of source below say where
end

--- The places of the user's that led to an error, each with its line; of a recursion only one.
---@param record parlua.PromptError
---@return {where: string, line: string?, times: integer}[]
---@return boolean is_deep there are more
local function frames_of(record)
  local frames = {}
  for _, info in ipairs(record.levels) do
    if info.what ~= "C" and not info.source:find("^=parlua") then
      local name = info.func == record.stop and "" or info.name and " in " .. info.name
        or (" in the function at line %d"):format(info.linedefined)
      -- a function whose first instruction has failed, as where the stack was full, has no line yet
      local line = info.currentline > 0 and info.currentline or info.linedefined
      local where = (line > 0 and "%s:%d:" or "%s:"):format(info.short_src, line) .. name
      local last = frames[#frames]
      if last and last.where == where then
        last.times = last.times + 1
      elseif #frames == most_frames then
        break
      else
        frames[#frames + 1] = { where = where, times = 1, line = line > 0 and line_of(info.source, line) or nil }
      end
    end
  end
  return frames, #record.levels == MOST_LEVELS - 1
end

--- The text of an error that no handler has seen, or whose handler ran out of memory. LuaJIT calls none where compiled
--- code finds, as it goes back to the interpreter, that the stack is full: the calls are gone by then, and with them
--- the place.
local function bare_text(message, stop)
  local lines = { style.paint("error", message) }
  local source = stop and getinfo(stop, "S").source
  local line = source and M.source_text(source)
  if line then
    local where = ("  %s:1:  "):format(source:sub(2))
    line = line:match("^%s*([^\n]*)")
    lines[2] = style.paint("faint", where) .. width.cut(line, math.max(20, terminal.size() - #where))
  end
  if message:find("stack overflow", 1, true) then
    lines[#lines + 1] = "Compiled code could not say where: %jit off, and the same again, tells."
  end
  return table.concat(lines, "\n")
end

--- The text that is shown of an error.
---@param record parlua.PromptError
---@param stop? function the statement's own
---@return string
function M.text(record, stop)
  if type(record) ~= "table" then return bare_text(tostring(record), stop) end
  local first, rest = message_of(record):match("^([^\n]*)\n?(.*)$")
  local lines = { style.paint("error", first) }
  if rest ~= "" then lines[#lines + 1] = rest end
  if first == "interrupted" then return lines[1] end
  local columns = terminal.size()
  local frames, is_deep = frames_of(record)
  for k, frame in ipairs(frames) do
    local line = frame.line and frame.line:gsub("^%s+", "")
    local left = math.max(20, columns - width.of(frame.where) - 4)
    lines[#lines + 1] = style.paint("faint", "  " .. frame.where) .. (line and "  " .. width.cut(line, left) or "")
    if frame.times > 1 then
      local times = ("  … %s%d times"):format(k == #frames and is_deep and "at least " or "", frame.times)
      lines[#lines + 1] = style.paint("faint", times)
    end
  end
  return table.concat(lines, "\n")
end

return M
