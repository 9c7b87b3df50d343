--- parlua.exec: programs, without a shell.
local ffi = require "ffi"
local checks = require("parlua.options.checks").checks
local common = require "parlua.common"
local errors = require "parlua.failure.program"
local names = require "parlua.options.names"
local task = require "parlua.task"
local library = require "parlua.worker.library"
require "parlua.wire.block" -- declares what layout.h builds on
require "parlua.wire.header" "slot/layout.h"

local M = {}

local ENOENT = 2
local SIGKILL, SIGTERM = 9, 15
local GRACE = 1 -- seconds that a program has to end by itself when it is told to
local KEPT = ffi.C.KEPT_BYTES -- of what a program wrote that has no memory for all of it
local OPTIONS = { "stdin", "stdout", "stderr", "timeout", "cwd", "env", "check" }
local TIMEOUT = { min = 0 }

--- The last line of a text that says something.
local function last_line(text)
  local line = text and text:match("([^\n]*%S[^\n]*)%s*$")
  return line and (#line > 300 and line:sub(1, 300) .. "..." or line)
end

-- ---- what was asked for ----

--- Words for a program: strings, and numbers as Lua writes them.
local function check_words(words)
  if #words == 0 and (words.n or 0) == 0 then error("exec: there is no program", 3) end
  for k = 1, words.n or #words do
    local word = words[k]
    if type(word) == "number" then word = tostring(word) end
    local what = k == 1 and "the program" or ("argument %d of '%s'"):format(k - 1, words[1])
    if type(word) ~= "string" then
      error(("exec: %s must be a string or a number, got %s"):format(what, word == nil and "nil" or type(word)), 3)
    elseif word:find("\0", 1, true) then
      error(("exec: %s has a NUL byte in it, which no program can be given"):format(what), 3)
    end
    words[k] = word
  end
  if words[1] == "" then error("exec: the program's name is empty", 3) end
  words.n = nil
  return words
end

--- Words and options of a call: exec("ls", "-l", { cwd = "/" }), or exec({ "ls", "-l" }, { cwd = "/" }).
local function split_arguments(first, ...)
  if type(first) == "table" then
    local options, more = ...
    if more ~= nil or options ~= nil and type(options) ~= "table" then
      error("exec: behind a list of words stands a table of options, or nothing", 3)
    end
    local words = { n = 0 }
    for k = 1, math.max(#first, rawget(first, "n") or 0) do words[k], words.n = first[k], k end
    return words, options or {}
  end
  local words = common.pack(first, ...)
  local options = words[words.n]
  if type(options) ~= "table" then return words, {} end
  words[words.n], words.n = nil, words.n - 1
  return words, options
end

local function wrong(name, value, takes)
  error(("exec: option '%s' must be %s, got %s"):format(name, takes, type(value) == "string" and errors.quote(value)
    or type(value) == "table" and "a table" or tostring(value)), 4)
end

local function check_options(options)
  for name in pairs(options) do
    local known = false
    for _, other in ipairs(OPTIONS) do known = known or name == other end
    if not known then
      error(("exec: unknown option %s%s"):format(tostring(name), names.suggestion(tostring(name), OPTIONS)), 3)
    end
  end
end

--- The name of the file in { file = "name" }.
local function file_of(name, value, takes, has_append)
  for key in pairs(value) do
    if key ~= "file" and not (has_append and key == "append") then wrong(name, value, takes) end
  end
  if type(value.file) ~= "string" or value.file:find("\0", 1, true) then wrong(name, value, takes) end
  return value.file
end

--- What the program reads. Returns what program.start takes as `input`, and the text.
local function input_of(stdin)
  local takes = "a string, { file = \"name\" }, true or false"
  if stdin == nil then
    -- a worker's own process has an empty one where it is to have
    if task.is_inside() and not task.owns_process and not library.shares_stdin then return false end
    return nil
  elseif type(stdin) == "string" then
    return true, stdin
  elseif type(stdin) == "table" then
    return file_of("stdin", stdin, takes)
  elseif type(stdin) ~= "boolean" then
    wrong("stdin", stdin, takes)
  end
  if stdin == false then return false end
  return nil -- this process's own
end

--- Gives a function lines of a stream: returns a function that takes bytes; nil: the end.
local function in_lines(handle)
  local rest = ""
  return function(bytes)
    if not bytes then
      if rest ~= "" then handle(rest) end
      return
    end
    local from = 1
    while true do
      local at = bytes:find("\n", from, true)
      if not at then break end
      handle(rest .. bytes:sub(from, at - 1))
      rest, from = "", at + 1
    end
    rest = rest .. bytes:sub(from)
  end
end

--- Where output goes. Returns what program.start takes, whether it goes on at a file's end, and what is done with bytes
--- as they come: nil, where they are collected or go elsewhere.
local function output_of(name, value)
  local takes = "a function, { file = \"name\", append = true }, true or false"
  if name == "stderr" then takes = takes .. ', or "stdout"' end
  if value == nil then return true, false end
  if common.is_callable(value) then return true, false, in_lines(value) end
  if value == true then
    local stream = name == "stdout" and io.stdout or io.stderr
    return true, false, function(bytes)
      if bytes then stream:write(bytes) end
    end
  elseif value == false then
    return false, false
  elseif name == "stderr" and value == "stdout" then
    return {}, false
  elseif type(value) ~= "table" then
    wrong(name, value, takes)
  end
  return file_of(name, value, takes, true), value.append and true or false
end

--- Programs of tasks in the script's own process are known by a mark, as those of workers are: they end with the
--- script.
local function mark_of_task()
  if not task.is_inside() or task.owns_process then return nil end
  local mark, name = require("parlua.program").mark()
  return mark and { [name] = mark }
end

local function environment_of(env)
  if env == nil then return mark_of_task() end
  local takes = "a table of variables: strings, or false to take one out"
  if type(env) ~= "table" then wrong("env", env, takes) end
  local changes = mark_of_task() or {}
  for name, value in pairs(env) do
    if type(value) == "number" then value = tostring(value) end
    local is_name = type(name) == "string" and name ~= "" and not name:find("[=%z]")
    if not is_name or value ~= false and (type(value) ~= "string" or value:find("\0", 1, true)) then
      wrong("env", env, takes)
    end
    changes[name] = value
  end
  return changes
end

local function seconds_of(timeout)
  if timeout == nil or timeout == false then return nil end
  return checks.seconds(TIMEOUT, timeout) or wrong("timeout", timeout, 'a number of seconds above 0, or text as "5s"')
end

-- ---- the run ----

--- Waits for what comes from the program, or its end. Where tasks are coroutines, others go on meanwhile.
local function next_event(running, seconds)
  if task.wait_for_program then return task.wait_for_program(running, seconds) end
  return running:wait(seconds)
end

--- Tells the program to end, and makes it after a while. `sinks` get what it still writes.
local function stop(running, pass_on)
  running:kill(SIGTERM)
  local until_then, now = GRACE, require("parlua.host").now
  local began = now()
  repeat
    local event = next_event(running, math.max(0, until_then - (now() - began)))
    pass_on()
  until event == "ended" or event == "late" or event == "abandoned"
  running:kill(SIGKILL) -- what the program has started, too
  while next_event(running) ~= "ended" do pass_on() end
  pass_on()
end

--- Runs a started program to its end. Returns why it was ended, if it did not end by itself.
local function attend(running, timeout, sinks)
  local now = require("parlua.host").now
  local until_then = timeout and now() + timeout
  local function pass_on()
    for stream = 1, 2 do
      if sinks[stream] then
        local bytes = running:take(stream)
        if bytes ~= "" then sinks[stream](bytes) end
      end
    end
  end
  while true do
    local event = next_event(running, until_then and math.max(0, until_then - now()))
    if event == "abandoned" then
      running:kill(SIGKILL)
    elseif event == "late" or event == "interrupted" then
      stop(running, pass_on)
    end
    pass_on()
    if event == "ended" then return nil end
    if event ~= "data" then return event end
  end
end

local function message_of(program, status, stderr)
  local what = type(status) == "number" and ("exited with status %d"):format(status) or "was killed by " .. status
  local line = last_line(stderr)
  return ("%s %s%s"):format(errors.quote(program), what, line and ": " .. line or "")
end

local function start(words, options, input, text, output, error_output, append, collects)
  local running, message, about = require("parlua.program").start(words, {
    input = input, text = text, output = output, error = error_output, append = append, directory = options.cwd,
    environment = environment_of(options.env), collects_output = collects[1], collects_error = collects[2],
  })
  if running then return running end
  local program = words[1]
  if about == program and not program:find("/", 1, true) and message == require("parlua.host").strerror(ENOENT) then
    message = message .. " (it is looked for in PATH)"
  elseif about and about ~= program then
    message = message .. ": " .. errors.quote(about)
  end
  errors.fail { program = program, reason = "start",
    message = ("cannot start %s: %s"):format(errors.quote(program), message) }
end

--- Ends the task as one of that kind.
local function raise_as(kind, message, value)
  error(require("parlua.failure").mark { kind = kind, message = message, value = value }, 0)
end

--- Attends the program, and hands on what it has written. Returns why it was ended, its output, its errors.
local function run(running, timeout, sinks, collects)
  local why = attend(running, timeout, sinks)
  for stream = 1, 2 do
    if sinks[stream] then sinks[stream](nil) end
  end
  return why, collects[1] and running:take(1) or nil, collects[2] and running:take(2) or nil
end

--- The run of the program raised: it ends. Where that is for want of memory, the end of what it wrote is kept.
local function raise(running, why)
  local is_memory = type(why) == "string" and why:find("not enough memory", 1, true)
  if is_memory and task.is_inside() then
    local ok, value = pcall(function() return errors.ended(running:remains(KEPT)) end)
    running:close()
    raise_as("memory", "not enough memory for what the program writes", ok and value or nil)
  end
  running:close()
  error(why, 0)
end

--- See parlua.exec.
function M.exec(program, ...)
  local words, options = split_arguments(program, ...)
  check_words(words)
  check_options(options)
  if options.cwd ~= nil and type(options.cwd) ~= "string" then wrong("cwd", options.cwd, "the name of a directory") end
  local timeout = seconds_of(options.timeout)
  local input, text = input_of(options.stdin)
  local output, appends, take_output = output_of("stdout", options.stdout)
  local error_output, error_appends, take_error = output_of("stderr", options.stderr)
  local sinks, collects = { take_output, take_error },
    { output == true and not take_output, error_output == true and not take_error }
  local running = start(words, options, input, text, output, error_output, appends or error_appends, collects)
  local ok, why, stdout, stderr = pcall(run, running, timeout, sinks, collects)
  if not ok then raise(running, why) end
  local status, signal = running:status()
  running:close()
  if signal then status = common.signal_name(signal) end
  if why == "interrupted" and task.is_inside() then
    raise_as("cancelled", "the run was cancelled", errors.ended(words[1], stdout, stderr))
  elseif why == "interrupted" or why == "abandoned" then
    error(why == "interrupted" and "interrupted!" or "the task was given up", 0)
  elseif why == "late" then
    errors.fail { program = words[1], reason = "timeout", status = status, signal = signal, stdout = stdout,
      stderr = stderr, message = ("%s took more than %g s"):format(errors.quote(words[1]), timeout) }
  elseif status ~= 0 and options.check ~= false then
    errors.fail { program = words[1], reason = "status", status = status, signal = signal, stdout = stdout,
      stderr = stderr, message = message_of(words[1], status, stderr) }
  end
  return stdout, stderr, status
end

return M
