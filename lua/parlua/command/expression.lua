--- The code of --map, --filter, --each, --reduce: expressions or statements, which know `x` and, of rows, the columns'
--- names.
local bit = require "bit"
local util = require "jit.util"
local lexer = require "parlua.prompt.lexer"
local syntax = require "parlua.prompt.syntax"

local M = {}

--- Fails with the message of a syntax error and a caret below its place.
local function refuse(spelling, text, message)
  error(("the code of %s: %s"):format(spelling, syntax.describe(text, message)), 0)
end

--- The last byte of the code, behind which only comments come; 0: there is none.
local function last_byte(text)
  local tokens = lexer.tokens(text)
  for k = #tokens, 1, -1 do
    if tokens[k].kind ~= "comment" then return tokens[k].to end
  end
  return 0
end

--- The code between two others, which are on its first and its last line: LuaJIT places the last operation of an
--- expression on the line of what follows.
local function within(head, text, behind)
  local line = head .. text:sub(1, last_byte(text)) .. behind
  return loadstring(line) and line .. " " or head .. text .. "\n" .. behind .. "\n"
end

--- An expression's code gives its value; statements say themselves what they return. Returns the text of a function's
--- body. Raises a syntax error.
---@param text string
---@param spelling string the option
---@return string body
function M.body(text, spelling)
  local chunk_name = "=" .. spelling
  if last_byte(text) == 0 then error(("the code of %s is empty"):format(spelling), 0) end
  local value, wrong = loadstring("return " .. text .. "\n", chunk_name)
  if value then -- in brackets: a call at the end of a function leaves nothing of that for an error to point to
    local body = within("return (", text, ")")
    if loadstring(body) then return body end
    error(("the code of %s is several values, and one is wanted; join them, as in x .. \" \" .. x * x:\n  %s"):format(
      spelling, text), 0)
  end
  local compiled, message = loadstring(text .. "\n", chunk_name)
  if compiled then return within("", text, "") end
  if wrong:find "near '<eof>'" and not message:find "near '<eof>'" then
    error(("the code of %s is not complete:\n  %s"):format(spelling, text), 0)
  end
  refuse(spelling, text, message)
end

--- The names that a text uses and that may be columns: no fields, methods or keywords.
---@param text string
---@return string[]
function M.names(text)
  local names, seen, before = {}, { x = true, row = true, line = true }, nil
  for _, token in ipairs(lexer.tokens(text)) do
    if token.kind == "name" and before ~= "." and before ~= ":" and not seen[token.text]
      and not token.text:find "[\128-\255]" then
      names[#names + 1] = token.text
      seen[token.text] = true
    end
    if token.kind ~= "comment" then before = token.text end
  end
  return names
end

local GET = bit.band(util.funcbc(loadstring "return x", 1), 0xff) -- the instruction that reads a global

--- Adds the globals that a function reads, and those of the functions in it. `function_` may be a prototype.
local function add_globals(found, function_)
  for pc = 1, math.huge do
    local instruction = util.funcbc(function_, pc)
    if not instruction then break end
    if bit.band(instruction, 0xff) == GET then
      found[#found + 1] = util.funck(function_, -bit.rshift(instruction, 16) - 1)
    end
  end
  for k = 1, util.funcinfo(function_).gcconsts do
    local constant = util.funck(function_, -k)
    if type(constant) == "proto" then add_globals(found, constant) end
  end
end

--- The names that code reads and that nobody knows: neither does the code assign to them, nor is there such a global.
--- In the code of rows they are columns.
---@param text string
---@param spelling string
---@return string[]
function M.unknown(text, spelling)
  local read, names = {}, {}
  add_globals(read, loadstring("local x, line, row = ... " .. M.body(text, spelling)))
  for _, name in ipairs(read) do
    if _G[name] == nil and not text:find(name .. "%s*=[^=]") then names[#names + 1] = name end
  end
  return names
end

--- Does a text use a name?
function M.uses(text, name)
  for _, token in ipairs(lexer.tokens(text or "")) do
    if token.kind == "name" and token.text == name then return true end
  end
  return false
end

--- What stands before the code of a function of rows: each name is a column where the row has it, else a global.
local function prelude(text)
  local parts = {}
  for _, name in ipairs(M.names(text)) do
    parts[#parts + 1] = ("local %s = x.%s if %s == nil then %s = _G.%s end "):format(name, name, name, name, name)
  end
  return table.concat(parts)
end

--- The text of a function (x, line) with that code.
---@param text string
---@param spelling string
---@param is_row boolean x is a row
function M.function_text(text, spelling, is_row)
  local head = is_row and "local row = x " .. prelude(text) or ""
  return ("function(x, line) %s%send"):format(head, M.body(text, spelling))
end

--- Compiles code to a function (x, line).
---@param text string
---@param spelling string
---@param is_row? boolean
---@return function
function M.compile(text, spelling, is_row)
  return assert(loadstring("return " .. M.function_text(text, spelling, is_row), "=" .. spelling))()
end

--- Compiles a chunk of statements, with parameters. Raises a syntax error with its place.
---@param text string
---@param spelling string
---@param parameters? string
---@return function
function M.chunk(text, spelling, parameters)
  local head = parameters and "local " .. parameters .. " = ... " or ""
  local compiled, message = loadstring(head .. text .. "\n", "=" .. spelling)
  if not compiled then refuse(spelling, text, message) end
  return compiled
end

return M
