--- The prompt: reads, runs and shows statements until the end of input. A session is a table that the other modules
--- of prompt/ are given. Everything here is loaded when a prompt begins, and nothing before.
local own = require "parlua.prompt.own"
setfenv(1, own)
local errors = require "parlua.prompt.errors"
local show = require "parlua.prompt.show"
local statement = require "parlua.prompt.statement"
local style = require "parlua.prompt.style"
local terminal = require "parlua.terminal"

local M = {}

local strings = debug.getmetatable "" -- its __index is the user's while code of the user's runs, else own.string
local MOST_FAULTS = 3 -- of the prompt's own, without a statement between them: then the session ends

local MOST_RESULTS = 200 -- that are kept: they may be large

---@class parlua.Session
---@field locals parlua.Locals
---@field number integer of the last statement
---@field results table what expressions gave: _1, _2, ...
---@field statements string[] those that ran without an error
---@field variables? table in which names are looked up instead of the globals: the debugger's
---@field is_interactive boolean a terminal, with an editor
---@field methods? any what finds the methods of strings for the user's code
---@field ended? integer the exit status that it was left with
local Session = {}
Session.__index = Session

--- The session that is open; a debugger's stands in front of another.
---@type parlua.Session?
M.session = nil

function Session:write(text)
  io.stdout:write(text)
  io.stdout:flush()
end

--- Begins a line behind text that was written without a line end: as many spaces as there are columns lead to the next
--- line, and from the first column to the end of the same.
function Session:begin_line()
  if self.editor then io.stdout:write((" "):rep((terminal.size())), "\r\27[K") end
end

function Session:tell_error(text)
  self:begin_line()
  io.stdout:flush()
  io.stderr:write(text, "\n")
  io.stderr:flush()
end

--- Calls a function so that Ctrl-C ends it. Returns what terminal.call does.
function Session:call(f, handler, ...)
  terminal.watch()
  local compiled = terminal.compiler(self.compiles)
  local methods, users = strings.__index, f ~= show.show and self.methods
  strings.__index = users or methods
  local function after(...)
    if users then self.methods, strings.__index = strings.__index, methods end
    terminal.compiler(compiled)
    return ...
  end
  local function own_handler(...)
    local present = strings.__index
    strings.__index = own.string
    local raised = handler(...)
    strings.__index = present
    return raised
  end
  return after(terminal.call(f, own_handler, ...))
end

--- Is the session over since a signal ended it?
function Session:look_at_signals()
  local run = package.loaded["parlua.run"]
  local signal = run and run.interrupted()
  if signal and signal ~= "SIGINT" then
    self.ended = 1 -- main.c makes 143 or 129 of it
  elseif signal then
    run.forget_interrupt()
  end
  terminal.forget()
end

--- Keeps what an expression gave as _1, _2, ...
function Session:keep_result(value)
  local number = #self.results + 1
  self.results[number] = { value = value }
  if self.variables then return end
  if type(value) ~= "nil" then -- a NULL pointer is equal to nil
    rawset(_G, "_" .. number, value)
  end
  local old = number - MOST_RESULTS
  if old > 0 then
    self.results[old] = {}
    rawset(_G, "_" .. old, nil)
  end
end

--- Shows what a statement gave.
function Session:show(...)
  local count = select("#", ...)
  if count > 0 then self:begin_line() end
  for k = 1, math.min(count, 50) do
    local value = (select(k, ...))
    local ok, text = self:call(show.show, errors.handler(show.show), value, nil, self.shows_all)
    if ok then
      if self.is_interactive and not self.shows_all then text = show.screenful(text) end
      self:write(text .. "\n")
    else
      self:tell_error(errors.text(text))
    end
  end
  if count > 50 then self:write(style.paint("faint", ("… %d more values"):format(count - 50)) .. "\n") end
end

--- Runs a compiled statement. Returns whether it raised nothing, and what it gave; shows what it raised.
---@param compiled parlua.Statement
function Session:run(compiled, ...)
  local calls = require "parlua.prompt.calls"
  calls.begin_statement(self)
  if self.variables then setfenv(compiled.run, self.variables) end
  local handler = errors.handler(compiled.run, function() statement.rescue(compiled, self.locals) end)
  local function after(ok, ...)
    self:look_at_signals()
    if not ok and not (calls.is_interrupted() and errors.is_interrupt((...))) then -- which is told in full below
      self:tell_error(errors.text((...), compiled.run))
    end
    calls.end_statement(self)
    return ok, ...
  end
  return after(self:call(compiled.run, handler, ...))
end

--- Runs Lua. Returns whether that went well.
---@param text string
function Session:execute(text)
  self.number = self.number + 1
  local name = self.is_interactive and ("=[%d]"):format(self.number) or "=stdin"
  errors.keep_source(name, text)
  local compiled, message = statement.compile(text, self.locals, name)
  if not compiled then
    self:tell_error(self.is_interactive and style.paint("error", message or "the statement is not complete")
      or message or "the statement is not complete")
    return false
  end
  local function after(ok, ...)
    local calls = require "parlua.prompt.calls"
    if not ok then
      calls.tell_failures(self)
      return false
    end
    self.statements[#self.statements + 1] = text
    for k = 1, math.min(select("#", ...), 50) do self:keep_result((select(k, ...))) end
    if select("#", ...) > 0 and not self.variables then rawset(_G, "_", (...)) end
    if compiled.quiet then
      calls.tell_failures(self)
    else
      self:show(...)
      calls.tell_failures(self, ...)
    end
    return true
  end
  return after(self:run(compiled))
end

--- Is a text something that can be run, or told to be wrong, as it stands?
function Session:is_complete(text)
  if text:find("^%s*$") or text:find("^%s*[!%%?]") then return true end
  local compiled, message = statement.compile(text, self.locals, "=x")
  -- a beginning ends where an expression may stand by itself
  if not compiled and text:find("\n", 1, true) and (message or loadstring("return " .. text:match "[^\n]*$")) then
    local parts, is_incomplete = statement.split(text, self.locals)
    if parts then return not is_incomplete end
  end
  return compiled ~= nil or message ~= nil
end

--- Does what a line asks for: a command, or Lua.
function Session:take(text)
  if text:find("^%s*$") then return end
  if text:find("^%s*[!%%?]") then
    require("parlua.prompt.commands").run(self, text:match("^%s*(.-)%s*$"))
    return
  end
  local parts
  if text:find("\n", 1, true) and not statement.compile(text, self.locals, "=x") then
    local is_incomplete
    parts, is_incomplete = statement.split(text, self.locals)
    if is_incomplete then parts = nil end -- at the end of input
  end
  for _, part in ipairs(parts or { text }) do
    if not self:execute(part) then return end
  end
end

--- The prompts: _PROMPT and _PROMPT2, if the user has set them, as in lua.
local function prompts(session)
  local function text_of(name, default)
    local value = rawget(_G, name)
    if value == nil then return default end
    local ok, text = pcall(tostring, value)
    return ok and type(text) == "string" and text:gsub("[\r\n]", " ") or default
  end
  return text_of("_PROMPT", session.first_prompt), text_of("_PROMPT2", ">> ")
end

--- Reads lines plainly up to a whole statement.
function Session:read_plainly()
  local text
  while true do
    local first, further = prompts(self)
    local line, is_interrupted = terminal.read_line(text and further or first)
    if not line and text and not is_interrupted then return text end -- to be told that it is not complete
    if not line then
      self:write("\n")
      return nil, is_interrupted and "interrupt" or "end"
    end
    text = statement.without_prompt(text and text .. "\n" .. line or line)
    if self:is_complete(text) then return text end
  end
end

function Session:read()
  if not self.editor then return self:read_plainly() end
  return self.editor:read(prompts(self))
end

--- Opens the line editor, where there is a terminal.
function Session:open_editor()
  local complete = require("parlua.lazy") "parlua.prompt.complete"
  local background = require "parlua.prompt.background"
  self.history = self.history or require("parlua.prompt.history").open()
  self.editor = require("parlua.prompt.editor").open {
    history = self.history,
    is_complete = function(text) return self:is_complete(text) end,
    complete = function(text, cursor) return complete.candidates(self, text, cursor) end,
    signature = function(text, cursor) return complete.signature(self, text, cursor) end,
    idle = function(editor)
      local methods = strings.__index
      strings.__index = self.methods or methods
      local seconds = background.idle(self, editor)
      if self.methods then self.methods, strings.__index = strings.__index, methods end
      return seconds
    end,
  }
  self.is_interactive = self.editor ~= nil
end

--- Says once that the history can't be kept.
function Session:tell_trouble()
  local history = self.history
  if history.trouble then self:tell_error(style.paint("faint", history.trouble)) end
  history.trouble = nil
end

--- Reads and does statements until the session is left.
function Session:loop()
  local background = require "parlua.prompt.background"
  self:look_at_signals()
  self:tell_trouble()
  while not self.ended do
    local text, why = self:read()
    if not self.editor then background.tell(self) end
    if text then
      self.faults = 0
      if self.editor then self.history:add(text) end
      self:tell_trouble()
      self:take(text)
    elseif why == "end" then
      break
    end
  end
end

---@param given? {variables: table, first_prompt: string}
---@return parlua.Session
function M.open(given)
  local outer = M.session
  local session = setmetatable({ locals = statement.locals(), number = 0, results = {}, statements = {},
    compiles = true, first_prompt = given and given.first_prompt or "> ",
    variables = given and given.variables, history = outer and outer.history, is_interactive = false }, Session)
  style.choose(terminal.is_terminal())
  require("parlua.prompt.calls").install()
  require("parlua.prompt.background").install()
  require("parlua.prompt.records").follow_headers()
  return session
end

--- Runs a session to its end.
---@param session parlua.Session
function M.run(session)
  local outer = M.session
  M.session = session
  session:open_editor()
  terminal.guard(true)
  session.methods, strings.__index = strings.__index, own.string
  local names = errors.locals
  if not session.variables then errors.locals = session.locals end
  local ok, message
  repeat -- a fault of the prompt's own ends the statement
    ok, message = pcall(session.loop, session)
    session.faults = (session.faults or 0) + 1
    if not ok then session:tell_error(style.paint("error", "parlua's prompt: " .. tostring(message))) end
  until ok or session.faults > MOST_FAULTS
  strings.__index, session.methods = session.methods, nil
  terminal.guard(false)
  errors.locals = names
  if not ok then error(message, 0) end
  require("parlua.prompt.background").leave(session)
  M.session = outer
  return session.ended
end

--- Names that are there without `require`.
local function set_globals()
  if rawget(_G, "parlua") == nil then _G.parlua = require "parlua" end
  if rawget(_G, "ffi") == nil then _G.ffi = require "ffi" end
  if rawget(_G, "help") == nil then
    _G.help = function(what) return require("parlua.prompt.help").print(what) end
  end
end

--- `parlua` alone on a terminal, or `parlua -i`: runs the script, if there is one, and its job; then the prompt.
---@param compiles boolean what is typed is compiled (not after -j off)
---@param path? string of the script; "-": standard input
---@param ... string its words
---@return integer status of the script
function M.start(compiles, path, ...)
  local session = M.open()
  session.compiles = compiles
  set_globals()
  require("parlua.worker.library").execute_outside = terminal.execute
  require("parlua.prompt.commands").remember_globals()
  local status = 0
  if path then status = require("parlua.prompt.script").run(session, path, ...) end
  if terminal.is_terminal() and os.getenv("TERM") ~= "dumb" then
    session:write(style.paint("faint", "?name explains, Tab completes, %help lists the commands, Ctrl-D leaves")
      .. "\n")
  end
  return M.run(session) or status
end

require("parlua.prompt.debugger").prompt = M

return M
