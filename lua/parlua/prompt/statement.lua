--- What is typed becomes a function: expressions give their values, locals last, an error is told at its place.
local lexer = require "parlua.prompt.lexer"
local syntax = require "parlua.prompt.syntax"

local M = {}

--- Locals of the session, by name: a function that has the local as its only upvalue, which statements after it are
--- joined to. It could also assign to it: else LuaJIT would take the local for a constant wherever it compiles.
---@class parlua.Locals
---@field cells table<string, function>
local Locals = {}
Locals.__index = Locals

---@return parlua.Locals
function M.locals()
  local locals = setmetatable({ cells = {} }, Locals)
  --- keep(name, cell): a local of the session from here on; keep(nil, ...): returns the rest.
  function locals.keep(name, ...)
    if name == nil then return ... end
    locals.cells[name] = ...
  end
  return locals
end

function Locals:get(name)
  local cell = self.cells[name]
  if cell then return select(2, debug.getupvalue(cell, 1)) end
end

--- A new local.
function Locals:set(name, value)
  local function cell(is_new, new)
    if is_new then value = new end
    return value
  end
  self.cells[name] = cell
end

--- The names, in order.
function Locals:names()
  local names = {}
  for name in pairs(self.cells) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local is_incomplete = syntax.is_incomplete

--- What starts a line where a failed task is looked at: no statement of Lua begins so.
M.DEBUG_PROMPT = "debug> "

local function without_debug(text) return (("\n" .. text):gsub("\n[ \t]*debug>", "\n>"):sub(2)) end

--- The text without what starts its lines when it was copied from a prompt: "> ", ">> " and "debug> ". Lines without
--- them, in between, are what was printed there.
---@param text string
---@return string
function M.without_prompts(text)
  text = without_debug(text)
  if not text:find("^%s*>>? ") and not text:find("^%s*>>?\n") then return text end
  local lines = {}
  for line in (text .. "\n"):gmatch("(.-)\n") do
    local typed = line:match("^%s*>>? (.*)$") or line:match("^%s*>>?()$") and ""
    if typed then lines[#lines + 1] = typed end
  end
  return table.concat(lines, "\n")
end

--- The text without a prompt before its first and its last line, where it is typed line by line: no statement of Lua
--- begins so, nor is there ">>" in Lua.
---@param text string
---@return string
function M.without_prompt(text)
  text = without_debug(text):gsub("^%s*>>? ", ""):gsub("^%s*>$", "")
  return (text:gsub("\n[ \t]*>> ?([^\n]*)$", "\n%1"))
end

--- What stands behind the statement: gives the session the locals that it declared.
local function keepers(names)
  local parts = {}
  for _, name in ipairs(names) do
    local new = name == "_new" and "_other" or "_new"
    parts[#parts + 1] = ("_keep(%q, function(_is_%s, %s) if _is_%s then %s = %s end return %s end)"):format(
      name, new, new, new, name, new, name)
  end
  return table.concat(parts, " ")
end

--- The locals that a text declares, and the text with what keeps them, wherever it ends.
local function keeping(text)
  local names, returns = lexer.locals(text)
  local parts, at, is_ended = {}, 1, false
  for _, place in ipairs(returns) do
    parts[#parts + 1] = text:sub(at, place.from - 1) .. keepers(place.names) .. " "
    at, is_ended = place.from, is_ended or place.is_last
  end
  parts[#parts + 1] = text:sub(at)
  if not is_ended then parts[#parts + 1] = "\n" .. keepers(names) end
  return names, table.concat(parts)
end

--- The names of a text that are locals of the session.
local function used_locals(text, locals)
  local used, seen = {}, {}
  for _, token in ipairs(lexer.tokens(text)) do
    if token.kind == "name" and locals.cells[token.text] and not seen[token.text] then
      seen[token.text] = true
      used[#used + 1] = token.text
    end
  end
  return used
end

--- The body inside of a function that has the used locals of the session as upvalues.
local function enclose(body, used, locals, chunk_name)
  local head = "local " .. table.concat({ "_keep", unpack(used) }, ", ") .. " = ... "
  local outer, message = loadstring(head .. "return function(...) " .. body .. "\nend", chunk_name)
  if not outer then return nil, message end
  local inner = outer(locals.keep)
  local place = {}
  for k = 1, math.huge do
    local name = debug.getupvalue(inner, k)
    if not name then break end
    place[name] = k
  end
  for _, name in ipairs(used) do
    if place[name] then debug.upvaluejoin(inner, place[name], locals.cells[name], 1) end
  end
  return inner
end

--- Is a text the beginning of a statement, or of an expression?
local function is_begun(text, expression)
  local value, wrong_value = loadstring("return " .. expression .. "\n", "=x")
  local chunk, message = loadstring(text .. "\n", "=x")
  if value or chunk then return false end
  return is_incomplete(message) or is_incomplete(wrong_value)
end

--- A text whose last part, behind a ";", is an expression, with a `return` there: "x = 5; x". Others as they are.
local function with_value(text)
  if not text:find(";", 1, true) or loadstring(text .. "\n") or loadstring("return " .. text .. "\n") then
    return text
  end
  local tokens = lexer.tokens(text)
  for k = #tokens - 1, 1, -1 do -- behind the last token nothing follows
    local at = tokens[k].text == ";" and tokens[k].kind == "symbol" and tokens[k].to
    if at and loadstring("return " .. text:sub(at + 1) .. "\n") then
      return loadstring(text:sub(1, at)) and text:sub(1, at) .. " return " .. text:sub(at + 1) or text
    end
  end
  return text
end

---@class parlua.Statement
---@field run function
---@field names? string[] the locals that it declares
---@field quiet boolean it ended in ";": its values are not to be printed

--- Compiles a text. Returns nil and a message when it is wrong, nil, nil when it is incomplete.
---@param text string
---@param locals parlua.Locals
---@param chunk_name string
---@return parlua.Statement?
---@return string? message
function M.compile(text, locals, chunk_name)
  text = with_value((text:gsub("^#![^\n]*", "--")))
  local expression, is_marked = text:gsub("^%s*=%s*", "", 1)
  if is_begun(text, expression) then return nil, nil end -- soon known, however long it is
  local quiet = text:find(";%s*$") ~= nil
  local used = used_locals(text, locals)
  -- "return f()" would be a tail call, and an error in f would come without its line; behind a comment the bracket
  -- needs a line of its own
  local bare = expression:gsub("[;%s]+$", "")
  if bare ~= "" and loadstring("return " .. bare .. "\n", chunk_name) and not bare:find("^%s*%-%-[^\n]*$") then
    local run, message = enclose("return _keep(nil, " .. bare .. ")", used, locals, chunk_name)
    if not run then run, message = enclose("return _keep(nil, " .. bare .. "\n)", used, locals, chunk_name) end
    if not run then run, message = enclose("return " .. bare, used, locals, chunk_name) end
    if run then return { run = run, quiet = quiet } end
    return nil, message
  end
  if is_marked > 0 then text = expression end
  local plain, message = loadstring(text .. "\n", chunk_name) -- the end of the line ends a string in quotes
  if not plain then
    if is_incomplete(message) then return nil, nil end
    return nil, syntax.describe(text, message)
  end
  local names, body = keeping(text)
  local run
  run, message = enclose(body, used, locals, chunk_name)
  -- a goto that may not jump over them, say
  if not run and #names > 0 then run, message = enclose(text, used, locals, chunk_name) end
  if not run then return nil, (message:gsub("^.-:%d+: ", "")) end
  return { run = run, quiet = quiet, names = names }
end

--- What an expression is without its mark and its end.
local function bare_of(text) return (text:gsub("^%s*=%s*", "", 1):gsub("[;%s]+$", "")) end

--- A text that returns from within a block, for a script: a function that is called, with its locals outside of it.
local function called_form(text, names, declarations, called)
  local parts, at = {}, 1
  for _, place in ipairs(declarations) do
    parts[#parts + 1] = text:sub(at, place.from - 1) -- without "local"
    parts[#parts + 1] = text:sub(place.from + #"local", place.to)
    if not place.is_function and not place.has_values then parts[#parts + 1] = " = nil" end
    at = place.to + 1
  end
  parts[#parts + 1] = text:sub(at)
  local head = #names > 0 and ("local %s\n"):format(table.concat(names, ", ")) or ""
  return ("%s%s((function(...)\n%s\nend)(...))"):format(head, called, table.concat(parts))
end

--- A text as it is in a script: what was shown is given to a function there.
---@param text string
---@param show string its name
---@param keep string that of a function for what was not shown
---@return string
function M.script_form(text, show, keep)
  text = with_value((text:gsub("^#![^\n]*", "--")))
  local called = text:find ";%s*$" and keep or show
  local bare = bare_of(text)
  if bare ~= "" and not bare:find "^%s*%-%-[^\n]*$" and loadstring("return " .. bare .. "\n") then
    local form = ("%s(%s)"):format(called, bare)
    return loadstring(form) and form or ("%s(%s\n)"):format(called, bare) -- a comment at the end
  end
  if not loadstring(text .. "\n") then text = bare_of(text) end
  local names, returns, declarations = lexer.locals(text)
  local last = returns[#returns]
  if #returns > 1 or (last and not last.is_last) then
    text = called_form(text, names, declarations, called) -- a return in a block would end the script
  elseif last then
    local values = text:sub(last.from + #"return"):gsub("[;%s]+$", "")
    text = ("%s%s(%s\n)"):format(text:sub(1, last.from - 1), called, values)
  end
  return text:find "^%s*%(" and ";" .. text or text -- else it would be a call of what stands before
end

--- The statements of a text that is none as a whole, since expressions stand between them: each is as many lines as
--- it needs. nil when some of it is wrong; second: whether the last one is incomplete.
---@param text string
---@param locals parlua.Locals
---@return string[]?
---@return boolean? is_incomplete
function M.split(text, locals)
  local parts, present = {}, nil
  for line in (text .. "\n"):gmatch("(.-)\n") do
    present = present and present .. "\n" .. line or line
    local compiled, message = M.compile(present, locals, "=x")
    if compiled then
      if not present:find("^%s*$") then parts[#parts + 1] = present end
      present = nil
    elseif message then
      return nil
    end
  end
  return parts, present ~= nil
end

--- Compiles a script: its locals become the session's. Returns nil and a message when it is wrong.
---@param text string
---@param locals parlua.Locals
---@param chunk_name string
---@return parlua.Statement?
---@return string? message
function M.compile_script(text, locals, chunk_name)
  text = text:gsub("^#![^\n]*", "--")
  local plain, message = loadstring(text, chunk_name)
  if not plain then
    return nil, syntax.describe(text, message, chunk_name:match "^@(.*)$" or "standard input")
  end
  local names, body = keeping(text)
  local run = enclose(body, {}, locals, chunk_name) or plain
  return { run = run, names = names, quiet = true }
end

--- Keeps the locals of the statement that has failed, so far as they had values: called while its frame stands.
---@param statement parlua.Statement
---@param locals parlua.Locals
function M.rescue(statement, locals)
  local names = {}
  for _, name in ipairs(statement.names or {}) do names[name] = true end
  if not next(names) then return end
  for level = 3, math.huge do
    local info = debug.getinfo(level, "f")
    if not info then return end
    if info.func == statement.run then
      for k = 1, math.huge do
        local name, value = debug.getlocal(level, k)
        if not name then return end
        if names[name] then locals:set(name, value) end
      end
    end
  end
end

return M
