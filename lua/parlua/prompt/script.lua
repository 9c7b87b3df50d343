--- A script that is run at the prompt (`parlua -i script.lua`, %load): its locals stay, Ctrl-C interrupts it.
local calls = require "parlua.prompt.calls"
local errors = require "parlua.prompt.errors"
local statement = require "parlua.prompt.statement"
local style = require "parlua.prompt.style"

local M = {}

local MOST_KEPT = 1e6 -- results of a job, which may have more than there is memory for

local EXIT_FAILED, EXIT_WRONG = 1, 2

local function read(path)
  if path == "-" then return io.read("*a"), "=stdin" end
  local file, message = io.open(path, "rb")
  if not file then return nil, message end
  local text, why = file:read("*a")
  file:close()
  if not text then return nil, ("%s: %s"):format(path, why or "cannot be read") end
  return text, "@" .. path
end

--- Runs a file. Returns whether that went well, and what it returned; or false and an exit status.
---@param session parlua.Session
---@param path string
function M.load(session, path, ...)
  local text, chunk_name = read(path)
  if not text then
    session:tell_error("parlua: cannot open " .. chunk_name)
    return false, EXIT_WRONG
  end
  if text:sub(1, 3) == "\239\187\191" then text = text:sub(4) end -- a byte order mark
  local compiled, message = statement.compile_script(text, session.locals, chunk_name)
  if not compiled then
    session:tell_error(style.paint("error", message))
    return false, EXIT_WRONG
  end
  local function after(ok, ...)
    calls.tell_failures(session)
    if not ok then return false, EXIT_FAILED end
    return true, ...
  end
  return after(session:run(compiled, ...))
end

local function has(table_value, name)
  local ok, value = pcall(function() return table_value[name] end)
  return ok and value ~= nil
end

--- Runs a script and its job, if it returned one. Returns the exit status.
---@param session parlua.Session
---@param path string
---@return integer
function M.run(session, path, ...)
  local ok, returned = M.load(session, path, ...)
  if not ok then return returned end
  if type(returned) ~= "table" or not (has(returned, "map") or has(returned, "arguments")) then return 0 end
  local job = require "parlua.job"
  local status = 0
  local manner = { keep = calls.keep_results, keeps = MOST_KEPT }
  local run = { run = function(...) status = job.run_as(returned, manner, ...) end, quiet = true }
  _G.job = returned
  if not session:run(run, ...) then status = EXIT_FAILED end
  errors.keep_source(path, nil)
  return status
end

return M
