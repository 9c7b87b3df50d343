--- Commands of the prompt: %name, ?name, !command.
local common = require "parlua.common"
local calls = require "parlua.prompt.calls"
local errors = require "parlua.prompt.errors"
local show = require "parlua.prompt.show"
local statement = require "parlua.prompt.statement"
local style = require "parlua.prompt.style"
local terminal = require "parlua.terminal"
local wrap = require("parlua.prompt.width").wrap

local M = {}

local commands = {}

--- Names of the commands, as %help lists them.
M.names = { "all", "bench", "debug", "edit", "help", "history", "jit", "load", "options", "quit", "results", "retry",
  "save", "time", "who" }

local texts = {
  { "?name", "explains a function, an option, a value" },
  { "!command", "runs a command of the shell" },
  { "%all [expression]", "shows a value, without one the last, without bounds" },
  { "%bench f", "runs f() or an expression often, compiled: median and spread" },
  { "%debug", "the first failed task of the last call again, with a prompt where it fails" },
  { "%edit [file]", "opens $EDITOR on the last statement or a file, and runs what is saved" },
  { "%help", "this list" },
  { "%history [n]", "the last n statements" },
  { "%jit on, off", "compiles what is typed (so it is at first); off: interprets it" },
  { "%load file", "runs a file; its locals stay" },
  { "%options engine=threads workers=4", "sets options for all calls; alone it shows them; name= takes one back" },
  { "%quit", "leaves, as Ctrl-D does" },
  { "%results", "former results: _1, _2, ..." },
  { "%retry", "the failed and cut off tasks of the last call again (not those that were not begun); "
    .. "results go to their places" },
  { "%save file", "writes the statements that ran to a file" },
  { "%time statement", "runs it, and tells how long it took" },
  { "%who", "the globals and locals of this session" },
}

function commands.help(session)
  local columns = terminal.size()
  local lines = {}
  for _, text in ipairs(texts) do
    local beside = columns >= 60 and #text[1] <= 15
    local wrapped = wrap(text[2], beside and columns - 20 or columns - 7, "")
    if not beside then lines[#lines + 1] = "  " .. style.paint("name", text[1]) end
    for k, line in ipairs(wrapped) do
      local head = beside and (k == 1 and style.paint("name", ("%-17s"):format("  " .. text[1])) or (" "):rep(17))
        or "     "
      lines[#lines + 1] = head .. " " .. line
    end
  end
  session:write(table.concat(lines, "\n") .. "\n")
end

function commands.quit(session) session.ended = session.ended or 0 end

-- ---- time ----

function commands.time(session, text)
  if text == "" then error("%time needs a statement: %time parlua.map(f, xs)", 0) end
  local host = require "parlua.host"
  local wall, cpu = host.now(), os.clock()
  session:execute(text)
  session:write(style.paint("faint",
    ("took %s; %s of this process's processor time"):format(show.seconds(host.now() - wall),
    show.seconds(math.max(0, os.clock() - cpu)))) .. "\n")
end

--- Runs in a worker: measures f for about a second.
local function measure(f)
  local host = require "parlua.host"
  local now = host.now
  local sample_seconds, all_seconds, most = 2e-3, 1, 200
  local function run(n)
    local began = now()
    for _ = 1, n do f() end
    return now() - began
  end
  local n, seconds = 1, run(1)
  while seconds < sample_seconds and n < 1e9 do
    n = math.max(2 * n, math.min(100 * n, math.floor(n * sample_seconds / math.max(seconds, 1e-9))))
    seconds = run(n)
  end
  local samples = { seconds / n }
  local began = now()
  while #samples < most and (now() - began < all_seconds or #samples < 3) do samples[#samples + 1] = run(n) / n end
  table.sort(samples)
  local function quantile(q) return samples[math.max(1, math.ceil(q * #samples))] end
  return { median = quantile(0.5), low = quantile(0.25), high = quantile(0.75), least = samples[1], samples = #samples,
    runs = n }
end

--- A function from what is typed behind a command.
local function function_of(session, text)
  local is_name = text:find("^[%a_][%w_.:]*$")
  local compiled, message
  for _, form in ipairs { is_name and "%s" or "function() return %s\nend", "function() %s\nend" } do
    compiled, message = statement.compile(form:format(text), session.locals, "=%bench")
    if compiled then break end
  end
  if not compiled then error(message or "the expression is not complete", 0) end
  if session.variables then setfenv(compiled.run, session.variables) end
  local f = compiled.run()
  if type(f) ~= "function" then
    error(("%%bench needs a function or an expression; %s is a %s"):format(text, type(f)), 0)
  end
  return f
end

function commands.bench(session, text)
  if text == "" then error("%bench needs a function or an expression: %bench f, or %bench f(10)", 0) end
  local f = function_of(session, text)
  local last = calls.last
  -- in a process of its own: compiled, and still Ctrl-C ends it
  local results, failures, summary = calls.quietly(require("parlua").map, function() return measure(f) end, { 1 },
    { engine = "process", workers = 1, progress = "none" })
  calls.last = last
  if summary.interrupted then error("interrupted", 0) end
  if failures[1] then error(failures[1].message, 0) end
  local m = results[1]
  local runs = style.paint("faint", ("(%d × %d runs, compiled)"):format(m.samples, m.runs))
  session:write(("median %s, half of the runs from %s to %s, at best %s  %s\n"):format(
    style.paint("number", show.seconds(m.median)), show.seconds(m.low), show.seconds(m.high), show.seconds(m.least),
    runs))
end

function commands.jit(session, text)
  if text == "on" or text == "off" then
    session.compiles = text == "on"
  elseif text ~= "" then
    error("%jit takes on or off", 0)
  end
  session:write(session.compiles and "what is typed is compiled\n"
    or "what is typed is interpreted; tasks in workers are compiled\n")
end

-- ---- files ----

--- Runs a command of the shell. Ctrl-C is the command's.
local function execute(command)
  io.stdout:flush()
  return terminal.execute(command)
end

--- A path as it was typed: without quotes around it, with the home in place of "~".
local function path_of(text)
  text = text:match "^(['\"])(.*)%1$" and text:sub(2, -2) or text
  local home = os.getenv "HOME"
  return home and (text:gsub("^~%f[/%z]", (home:gsub("%%", "%%%%")))) or text
end

function commands.load(session, path)
  if path == "" then error("%load needs the name of a file", 0) end
  require("parlua.prompt.script").load(session, path_of(path))
end

--- What a saved file begins with: results are printed, and known as they were at the prompt.
local SAVED_HEAD = [[
-- typed at parlua's prompt
local parlua = require "parlua"
local ffi = require "ffi"
local _count = 0

local function _keep(...)
  for k = 1, select("#", ...) do
    _count = _count + 1
    local value = (select(k, ...))
    if value ~= nil then _G["_" .. _count] = value end
  end
  if select("#", ...) > 0 then _G._ = (...) end
end

local function _show(...)
  _keep(...)
  if select("#", ...) > 0 then print(...) end
end

]]

function commands.save(session, path)
  if path == "" then error("%save needs the name of a file", 0) end
  path = path_of(path)
  local old = io.open(path, "rb")
  local before = old and old:read("*a")
  if old then old:close() end
  local is_own = before == nil or before == "" or before:find("^%-%- typed at parlua's prompt")
  if not is_own then error(path .. " is a file of something else, and is left as it is", 0) end
  local file, message = io.open(path, "wb")
  if not file then error(message, 0) end
  file:write(SAVED_HEAD)
  for _, text in ipairs(session.statements) do file:write(statement.script_form(text, "_show", "_keep"), "\n") end
  local ok, why = file:close()
  if not ok then error(why, 0) end
  session:write(("%s written to %s\n"):format(show.plural(#session.statements, "statement"), path))
end

local function is_directory(path)
  local directory = io.open(path .. "/.")
  return directory ~= nil and directory:close()
end

--- An editor says little of a path that cannot be written, or only when it has been typed for.
local function check_editable(path)
  if is_directory(path) then error(("%%edit: %s is a directory"):format(path), 0) end
  local folder = path:match "^(.+)/[^/]*$"
  if folder and not is_directory(folder) then
    error(("%%edit: %s could not be saved, there is no directory %s"):format(path, folder), 0)
  end
end

function commands.edit(session, path)
  local editor = os.getenv("VISUAL") or os.getenv("EDITOR") or "vi"
  local own = path == ""
  path = path_of(path)
  if not own then check_editable(path) end
  if own then
    path = os.tmpname()
    local file = assert(io.open(path, "wb"))
    file:write(session.statements[#session.statements] or "", "\n")
    file:close()
  end
  local status = execute(editor .. " " .. common.shell_word(path))
  local file = io.open(path, "rb")
  local text = file and file:read("*a")
  if file then file:close() end
  if own then os.remove(path) end
  if status ~= 0 then
    error(("the editor (%s) ended with status %d; set EDITOR to another"):format(editor, math.floor(status / 256)), 0)
  end
  if not text or text:find("^%s*$") then return end
  if not own then return require("parlua.prompt.script").load(session, path) end
  text = text:gsub("%s+$", "")
  if session.history then session.history:add(text) end
  session:write(style.paint("faint", text) .. "\n")
  session:take(text)
end

commands["!"] = function(session, text)
  if text == "" then error("! needs a command: !ls", 0) end
  local status = execute(text)
  if status ~= 0 then
    session:tell_error(style.paint("error", status % 128 ~= 0 and ("ended by signal %d"):format(status % 128)
      or ("status %d"):format(math.floor(status / 256))))
  end
end

-- ---- the session ----

function commands.all(session, text)
  session.shows_all = true
  local ok, message = pcall(session.execute, session, text == "" and "_" or text)
  session.shows_all = nil
  if not ok then error(message, 0) end
end

function commands.history(session, text)
  local list = session.history and session.history.list or session.statements
  local count = text == "" and 20 or tonumber(text)
  if not count then error(("%%history takes how many statements are to be shown, got %s"):format(text), 0) end
  for k = math.max(1, #list - count + 1), #list do session:write(list[k] .. "\n") end
end

--- A name and its value, in a line of the terminal.
local function named(head, value)
  local columns = terminal.size()
  return head .. show.in_line(value, columns - #head - 1) .. "\n"
end

function commands.results(session)
  for k = math.max(1, #session.results - 19), #session.results do
    session:write(named(("_%d = "):format(k), session.results[k].value))
  end
  if #session.results == 0 then session:write("no expression has given anything yet\n") end
end

local first_globals -- those that were there before anything was typed

function M.remember_globals()
  first_globals = {}
  for name in next, _G do first_globals[name] = true end
end

function commands.who(session)
  local lines = {}
  for _, name in ipairs(session.locals:names()) do
    lines[#lines + 1] = named("local " .. name .. " = ", session.locals:get(name))
  end
  local names = {}
  for name in next, _G do
    if type(name) == "string" and not (first_globals or {})[name] and not name:find("^_%d*$") then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  for _, name in ipairs(names) do lines[#lines + 1] = named(name .. " = ", rawget(_G, name)) end
  if #lines == 0 then lines[1] = "nothing yet\n" end
  local text = table.concat(lines)
  session:write(session.is_interactive and show.screenful(text:sub(1, -2), "in the globals") .. "\n" or text)
end

function commands.options(session, text)
  local options = require "parlua.options"
  local given = package.loaded["parlua.command"]
  local before = {}
  for name, value in pairs(given) do before[name] = value end
  local asked = {}
  for word in text:gsub("%s+=%s*", "="):gmatch("%S+") do
    local name, value = word:match("^([%a_]+)=(.*)$")
    local is_asked = not name and options.spec(word) ~= nil
    if is_asked then
      name, asked[word] = word, true
    elseif not name then
      error(("%%options takes name=value, got %s; for example: %%options engine=threads workers=4"):format(word), 0)
    end
    local spec = options.spec(name)
    if not spec then
      local nearest = options.nearest(name, options.call_names())
      error(("there is no option %s; did you mean %s?"):format(name, nearest), 0)
    end
    if not is_asked then given[name] = value ~= "" and value or nil end
  end
  options.reread "%options"
  local message = require("parlua.options.command").check {}
  if message then
    for name in pairs(given) do given[name] = nil end
    for name, value in pairs(before) do given[name] = value end
    options.reread "%options"
    error(message, 0)
  end
  local lines = {}
  local resolved = options.resolve()
  for _, name in ipairs(options.call_names()) do
    if given[name] ~= nil or asked[name] or text == "" and resolved[name] ~= nil then
      local is_set = resolved[name] ~= nil
      lines[#lines + 1] = is_set and ("%s = %s"):format(name, show.in_line(resolved[name])) or name .. " is not set"
    end
  end
  session:write(table.concat(lines, "\n") .. (#lines > 0 and "\n" or ""))
end

--- In the debugger's prompt there is a task already.
local function refuse_in_debugger(session, name)
  if not session.variables then return end
  error(("%%%s is not for the debugger's prompt: leave it first (Ctrl-D)"):format(name), 0)
end

function commands.retry(session)
  refuse_in_debugger(session, "retry")
  local ok, returned, failed, not_begun, unplaced = session:call(calls.retry, errors.handler(calls.retry))
  session:look_at_signals()
  if not ok then return session:tell_error(errors.text(returned)) end
  local outcome = returned > 0 and show.plural(returned, "task") .. " returned now" or "no task returned"
  session:write(outcome .. (failed == 0 and ", none" or ", " .. failed) .. " failed again"
    .. (returned == 0 and ": see failures\n" or "\n"))
  if unplaced and returned > 0 then
    session:keep_result(unplaced)
    session:write(("The call gave no list of results: what these tasks gave is in _%d\n"):format(#session.results))
  end
  if not_begun > 0 then
    local text = show.plural(not_begun, "task") .. " never began: %retry leaves them out"
    session:write(style.paint("faint", text) .. "\n")
  end
end

function commands.debug(session)
  refuse_in_debugger(session, "debug")
  local ok, failed, message = session:call(calls.debug, errors.handler(calls.debug))
  session:look_at_signals()
  if not ok then return session:tell_error(errors.text(failed)) end
  if failed then return end
  session:write("the task returned this time, run serially\n")
  if message then
    session:write("It may be what the call does with its result that failed: " .. message .. "\n")
  end
end

--- Explains a name, or what an expression gives.
commands["?"] = function(session, text)
  local help = require "parlua.prompt.help"
  text = text:gsub("^%?+", ""):gsub("%s+$", "")
  if text == "" then return help.print(nil) end
  for _, one in ipairs(text:find "^%%" and texts or {}) do
    if one[1]:match "^%%%a+" == text then
      local lines = wrap(one[2], terminal.size() - 1, "")
      return session:write(style.paint("name", one[1]) .. "\n" .. table.concat(lines, "\n") .. "\n")
    end
  end
  local value
  local compiled = statement.compile((text:gsub(":([%a_][%w_]*)$", ".%1")), session.locals, "=?") -- ?future:get
  if compiled and not compiled.names then
    if session.variables then setfenv(compiled.run, session.variables) end
    local ok, found = pcall(compiled.run)
    if ok then value = found end
  end
  help.print(value, text)
end

--- Does what a line that begins with %, ? or ! says.
---@param session parlua.Session
---@param line string
function M.run(session, line)
  local mark = line:sub(1, 1)
  local name, rest = mark, line:sub(2)
  if mark == "%" then name, rest = line:match("^%%(%a*)%s*(.*)$") end
  rest = rest:match("^%s*(.-)%s*$")
  local command = commands[name]
  if not command then
    local nearest, edits = require("parlua.options").nearest(name or "", M.names)
    local is_near = edits and edits <= math.min(2, #name / 2, #nearest / 2)
    local hint = is_near and ("did you mean %%%s?"):format(nearest) or "%help lists the commands"
    return session:tell_error(style.paint("error", ("there is no command %%%s; %s"):format(name or "", hint)))
  end
  local ok, message = pcall(command, session, rest)
  if not ok then session:tell_error(style.paint("error", tostring(message))) end
end

return M
