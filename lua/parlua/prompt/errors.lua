--- Errors at the prompt: what was raised, the lines of source that led to it, without what belongs to parlua itself.
local failure = require "parlua.failure"
local ffi = require("parlua.wire.start").libraries.ffi
local record = require "parlua.wire.record"
local style = require "parlua.prompt.style"
local syntax = require "parlua.prompt.syntax"
local terminal = require "parlua.terminal"
local value_module = require "parlua.value"
local width = require "parlua.prompt.width"

local M = {}

local getinfo, getlocal = debug.getinfo, debug.getlocal
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

--- Locals of the session, for the names of functions.
---@type parlua.Locals?
M.locals = nil

--- What the user calls a function that runs: as its caller does, unless that is parlua.
---@param info table as debug.getinfo tells of it
---@param caller? table as debug.getinfo tells of its caller
---@return string?
function M.name_of(info, caller)
  if not (caller and caller.source:find "^=parlua") then return info.name end
  for _, name in ipairs(M.locals and M.locals:names() or {}) do
    if rawequal(M.locals:get(name), info.func) then return name end
  end
  for name, value in next, _G do
    if rawequal(value, info.func) and type(name) == "string" and not name:find "^_%d*$" then return name end
  end
end

---@class parlua.PromptError what the handler makes
---@field value any what was raised
---@field is_interrupt boolean it was raised by Ctrl-C
---@field levels table[] of the stack, as debug.getinfo tells them: from where it was raised to the statement's own
---@field stop function the statement's own
---@field declarations? parlua.WrongDeclarations of C, with a syntax error

local takes_declarations = { [record.cdef] = true } -- functions whose first argument may be declarations of C
for _, name in ipairs { "typeof", "new", "cast", "sizeof", "istype" } do takes_declarations[ffi[name]] = true end

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
    local declarations
    local from = 1 -- where it was raised: the levels above are this handler's
    while levels[from] and levels[from].source:find "^=parlua" do from = from + 1 end
    if type(value) == "string" and levels[from] and takes_declarations[levels[from].func] then
      local _, text = getlocal(from + 1, 1)
      declarations = type(text) == "string" and syntax.declarations(value, text) or nil
    end
    if rescue then rescue() end
    return { declarations = declarations, value = value, is_interrupt = terminal.interrupted(), levels = levels,
      stop = stop }
  end
  jit.off(handle)
  return handle
end

--- What was raised, as a text.
---@param raised parlua.PromptError
local function message_of(raised)
  local value = raised.value
  if failure.is(value) then
    if raised.is_interrupt and value.kind == "cancelled" then return "interrupted" end -- on serial it ran here
    return require("parlua.prompt.show").failure_text(value)
  end
  if type(value) ~= "string" then return value_module.format(value) end
  -- whatever was at work: no place of it is to blame
  if raised.declarations then
    for _, info in ipairs(raised.levels) do
      if info.what ~= "C" and not info.source:find "^=parlua" then
        return syntax.describe_declarations(raised.declarations, M.source_text(info.source), info.short_src)
      end
    end
  end
  local place = syntax.of_file(value)
  if place then return value .. "\n" .. place end
  if raised.is_interrupt and ("0: " .. value):find("%d: interrupted!?$") then return "interrupted" end
  if value:find "^the program was interrupted by SIGINT" then return "interrupted" end -- a loop began its next call
  return (value:gsub("^parlua/[%w_/]+%.lua:%d+: ", "")) -- the lines of source below say where
end

--- Was nothing raised but an interrupt?
function M.is_interrupt(raised) return type(raised) == "table" and message_of(raised) == "interrupted" end

--- The places of the user's that led to an error, each with its line; of a recursion only one.
---@param raised parlua.PromptError
---@return {where: string, line: string?, times: integer}[]
---@return boolean is_deep there are more
local function frames_of(raised)
  local frames, texts = {}, {}
  for level, info in ipairs(raised.levels) do
    if info.what ~= "C" and not info.source:find("^=parlua") then
      local called = M.name_of(info, raised.levels[level + 1])
      local name = info.func == raised.stop and "" or called and " in " .. called
        or (" in the function at line %d"):format(info.linedefined)
      -- a function whose first instruction has failed, as where the stack was full, has no line yet
      local line = info.currentline > 0 and info.currentline or info.linedefined
      if texts[info.source] == nil then texts[info.source] = M.source_text(info.source) or false end
      local text = line > 0 and texts[info.source]
      if text then line = syntax.first_line(text, line) end
      local where = (line > 0 and "%s:%d:" or "%s:"):format(info.short_src, line) .. name
      local last = frames[#frames]
      if last and last.where == where then
        last.times = last.times + 1
      elseif #frames == most_frames then
        break
      else
        frames[#frames + 1] = { where = where, times = 1, line = text and syntax.line(text, line) or nil }
      end
    end
  end
  return frames, #raised.levels == MOST_LEVELS - 1
end

--- The text of an error that no handler has seen, or whose handler ran out of memory. LuaJIT calls none where compiled
--- code finds, as it goes back to the interpreter, that the stack is full: the calls are gone by then, and with them
--- the place.
local function bare_text(raised, stop)
  local message = failure.without_handler(raised)
  local lines = { style.paint("error", message) }
  local source = stop and getinfo(stop, "S").source
  local line = source and M.source_text(source)
  if line then
    local where = ("  %s:1:  "):format(source:sub(2))
    line = line:match("^%s*([^\n]*)")
    lines[2] = style.paint("faint", where) .. width.cut(line, math.max(20, terminal.size() - #where))
  end
  if message ~= raised then
    lines[#lines + 1] = "The stack was too full to say where."
  elseif message:find("stack overflow", 1, true) then
    lines[#lines + 1] = "Compiled code could not say where: %jit off, and the same again, tells."
  end
  return table.concat(lines, "\n")
end

--- The text that is shown of an error.
---@param raised parlua.PromptError
---@param stop? function the statement's own
---@return string
function M.text(raised, stop)
  if type(raised) ~= "table" then return bare_text(tostring(raised), stop) end
  local first, rest = message_of(raised):match("^([^\n]*)\n?(.*)$")
  local lines = { style.paint("error", first) }
  if rest ~= "" then lines[#lines + 1] = rest end
  if first == "interrupted" then return lines[1] end
  local columns = terminal.size()
  local frames, is_deep = frames_of(raised)
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
