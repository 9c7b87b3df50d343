--- Errors at the prompt: what was raised, the lines of source that led to it, without what belongs to parlua itself.
local style = require "parlua.prompt.style"
local terminal = require "parlua.terminal"
local value_module = require "parlua.value"

local M = {}

local most_frames = 8

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
---@field message string
---@field frames {where: string, line: string?}[]

--- A message handler for terminal.call. `stop`: the statement's own function, where the user's frames end. `rescue`:
--- called while the frames stand.
---@param stop function
---@param rescue? fun()
function M.handler(stop, rescue)
  return function(value)
    local failure = require("parlua.failure")
    local record = { value = value, frames = {} }
    if failure.is(value) then
      record.message = require("parlua.prompt.show").failure_text(value)
    elseif type(value) == "string" and terminal.interrupted() and ("0: " .. value):find("%d: interrupted!?$") then
      record.message = "interrupted" -- whatever was at work: no place of it is to blame
    elseif type(value) == "string" then
      record.message = value:gsub("^parlua/[%w_/]+%.lua:%d+: ", "") -- the lines of source below say where
    elseif value == nil then
      record.message = "nil"
    else
      record.message = value_module.format(value)
    end
    for level = 2, 200 do
      local info = debug.getinfo(level, "nSlf")
      if not info then break end
      local is_own = info.source:find("^=parlua")
      if info.what ~= "C" and not is_own and #record.frames < most_frames then
        local name = info.func == stop and "" or info.name and " in " .. info.name
          or (" in the function at line %d"):format(info.linedefined)
        record.frames[#record.frames + 1] = { where = ("%s:%d:"):format(info.short_src, info.currentline) .. name,
                                              line = line_of(info.source, info.currentline) }
      end
      if info.func == stop then break end
    end
    if rescue then rescue() end
    return record
  end
end

--- The text that is shown of an error.
---@param record parlua.PromptError
---@return string
function M.text(record)
  -- the handler itself ran out of memory or stack
  if type(record) ~= "table" then return style.paint("error", tostring(record)) end
  local first, rest = record.message:match("^([^\n]*)\n?(.*)$")
  local lines = { style.paint("error", first) }
  if rest ~= "" then lines[#lines + 1] = rest end
  if first == "interrupted" then return lines[1] end
  for _, frame in ipairs(record.frames) do
    local line = frame.line and frame.line:gsub("^%s+", "")
    lines[#lines + 1] = style.paint("faint", "  " .. frame.where) .. (line and "  " .. line or "")
  end
  return table.concat(lines, "\n")
end

return M
