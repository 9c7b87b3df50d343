--- Functions of Lua's library that do to the process what a task may not: os.execute, io.popen, os.exit; and what tasks
--- find as standard input. Loaded as a state begins, before any script, as task.lua is.
local task = require "parlua.task"

local M = {}

local native_execute, native_popen = os.execute, io.popen

--- Do tasks of this state, which shares its process, find standard input empty?
M.has_empty_stdin = false

--- Was the running call told to let its tasks have the script's standard input?
M.shares_stdin = false

--- In the coordinator's state: does Ctrl-C at the terminal not concern the programs of submitted calls?
M.sets_calls_aside = false

local is_aside = false -- the same where tasks run that share the coordinator's process

--- Says whether Ctrl-C at the terminal leaves alone what this worker's tasks run. A worker that is a process leaves the
--- group of processes that the terminal signals.
function M.set_aside(aside)
  is_aside = aside and not task.owns_process or false
  if aside and task.owns_process then require("parlua.terminal").apart() end
end

--- A command for the shell that Ctrl-C does not reach, as one behind which "&" stands in a script.
local function aside(command) return "trap '' INT QUIT\n" .. command end

--- At the prompt, runs a command outside of tasks: Ctrl-C ends what called os.execute, too.
---@type (fun(command: string): integer)?
M.execute_outside = nil

--- As Lua's own. But system(3) keeps Ctrl-C from the whole process while a program runs: in a task it is to reach the
--- run too.
local function execute(...)
  local command = ...
  if type(command) ~= "string" or task.owns_process then return native_execute(...) end
  if not task.place() then return (M.execute_outside or native_execute)(command) end
  return require("parlua.host").execute(is_aside and aside(command) or command, M.has_empty_stdin)
end

--- As Lua's own; what the program reads is empty where it would be the script's.
local function popen(command, mode)
  local reads = type(command) == "string" and (mode == nil or mode == "r")
  local reads_script = reads and M.has_empty_stdin and task.place()
  if reads_script then command = "exec </dev/null; " .. command end
  if is_aside and type(command) == "string" and task.place() then command = aside(command) end
  return native_popen(command, mode)
end

os.execute, io.popen = execute, popen

--- Says what this worker's tasks, and programs that they run, read: nothing, unless `shared`.
function M.set_stdin(shared)
  M.has_empty_stdin, M.shares_stdin = not shared and not task.owns_process, shared and true or false
  require("parlua.host").empty_stdin(not shared, task.owns_process)
end

local native_exit = os.exit

--- Called before os.exit ends the program.
---@type fun()?
M.before_exit = nil

--- As Lua's own. But a worker closes no state: the objects in it that have finalizers are, in a copy of the script, the
--- script's, and their files, temporary directories and locks stand for it alone. A thread has no process to end.
local function exit(status, close)
  if task.is_thread then
    error("os.exit: a task of the threads engine cannot end the program (engine = \"process\" can contain it)", 2)
  end
  if M.before_exit and not task.owns_process then M.before_exit() end
  return native_exit(status, close and not task.owns_process)
end

os.exit = exit

return M
