--- parlua --exec: a program for each word, line or row.
local common = require "parlua.common"
local arguments_module = require "parlua.command.arguments"
local checks = require("parlua.options.checks").checks
local errors = require "parlua.failure.program"
local engines = require "parlua.run.engine"
local exec = require "parlua.exec"
local failure_module = require "parlua.failure"
local identity = require "parlua.journal.identity"
local program_module = require "parlua.program"
local sources = require "parlua.source"
local task = require "parlua.task"
local template_module = require "parlua.command.template"

local M = {}

local SIGNALLED = 128 -- and the signal: the status that a shell gives

-- A program that takes too long is told to end, and made to a second later; a worker that has not ended it by then is
-- ended itself, so many seconds after the limit. What its program had written is lost then.
local LAST_SECONDS = 5

--- The number that an option's text stands for. Raises what is wrong.
local function number_of(command, name, spelling, spec)
  local text = command[name]
  if not text then return nil end
  local value = checks[spec.type](spec, text, true)
  if not value then
    error(("wrong value for the option %s: '%s'; it takes %s"):format(spelling, text, spec.takes), 0)
  end
  return value
end

local function parse(text, spelling, is_one_word)
  local ok, template = pcall(template_module.parse, text, is_one_word)
  if not ok then error(("the option %s: %s"):format(spelling, template), 0) end
  return template
end

local function check(template, spelling, columns, count)
  local ok, message = pcall(template_module.check, template, columns, count)
  if not ok then error(("the option %s: %s"):format(spelling, message), 0) end
end

--- Raises when the program of a template is not there; where a placeholder stands for it, nobody knows.
local function check_program(template)
  local program = template.words[1]
  if #program ~= 1 or type(program[1]) ~= "string" then return end
  local name = program[1]
  local message = program_module.missing(name)
  if message then
    error(("the option --exec: cannot run '%s': %s%s"):format(name, message,
      name:find("/", 1, true) and "" or " (it is looked for in PATH)"), 0)
  end
end

--- What the tasks of a command know: data only, so that it crosses and a journal knows it.
---@class parlua.ExecPlan
---@field template parlua.Template
---@field shell boolean the template is for sh
---@field shape string of the arguments
---@field wants_all boolean the result has all that is known; else what it wrote alone

--- The arguments of a task as the templates take them.
local function arguments_of(plan, ...)
  if plan.shape == "words" then return common.pack(...) end
  if plan.shape == "text" then return { n = 0 } end
  local row = (...)
  if type(row) ~= "table" then error("the line is no object of JSON, whose fields could be named", 0) end
  for _, name in ipairs(plan.needs or {}) do
    if row[name] == nil then error(("the line has no field '%s', or it is null"):format(name), 0) end
  end
  return row
end

local function words_of(plan, index, arguments)
  if plan.shell then
    return { "/bin/sh", "-c", template_module.text(plan.template, index, arguments, true) }
  end
  return template_module.words(plan.template, index, arguments)
end

--- Makes the folders of a file's name.
local function make_folders(path)
  local folder = path:match "^(.+)/[^/]*$"
  if folder and folder ~= "" then exec.exec("mkdir", "-p", "--", folder) end
end

--- Runs a program, at most for so long: then the task has failed, and what was written until then is kept.
local function run_limited(words, options)
  local ok, stdout, stderr, status = pcall(exec.exec, words, options)
  if ok then return stdout, stderr, status end
  local raised = stdout
  if options.timeout and errors.is_error(raised) and raised.reason == "timeout" then
    raised = failure_module.mark { kind = "timeout", value = raised,
      message = ("the task took more than %g s"):format(options.timeout) }
  end
  error(raised, 0)
end

--- The map function. `save`: the template of the file for what it writes, or nil; `limit`: the seconds that the program
--- may take; nil: there is none.
local function run_program(plan, save, limit, ...)
  local index = task.running.index or 1
  local arguments = arguments_of(plan, ...)
  local words = words_of(plan, index, arguments)
  local options = { stdin = plan.shape == "text" and (...) or nil, timeout = limit }
  local path = save and template_module.text(save, index, arguments)
  if path then
    make_folders(path)
    options.stdout = { file = path .. ".partial" }
  end
  local stdout, stderr, status = run_limited(words, options)
  if path then
    local renamed, why = os.rename(path .. ".partial", path)
    if not renamed then error("the option --save: cannot write " .. why, 0) end
  end
  if plan.wants_all then return { stdout = stdout, stderr = stderr, status = status } end
  return stderr == "" and (stdout or "") or { stdout or "", stderr }
end

-- ---- what is written ----

--- A text whose last line has an end.
local function ended_line(text) return text:find "[^\n]$" and text .. "\n" or text end

--- A text with something before each of its lines; its last line has an end.
local function tagged(text, tag)
  if text == "" then return "" end
  text = text:gsub("\n$", "")
  return tag .. text:gsub("\n", function() return "\n" .. tag end) .. "\n"
end

--- The words of a task, for --tag; of a piece of standard input its number.
local function tag_words(plan, index, args)
  local first = args[1]
  if plan.shape == "text" then return ("%.0f"):format(index) end
  if plan.shape == "rows" or plan.shape == "batch" then
    local parts = {}
    for k, value in ipairs(plan.shape == "batch" and first or {}) do parts[k] = template_module.text_of(value) end
    for _, name in ipairs(plan.template.names) do parts[#parts + 1] = template_module.text_of(first[name]) end
    return table.concat(parts, " ")
  end
  local parts = {}
  for k = 1, args.n do parts[k] = template_module.text_of(args[k]) end
  return table.concat(parts, " ")
end

--- The same before each line of what it wrote: in one line.
local function tag_of(...) return common.one_line(tag_words(...)) .. "\t" end

--- The format of a command's output: what each program wrote, whole. Notes the worst status.
local function new_format(plan, is_tagged)
  local format = { worst = 0, writes_arguments = is_tagged }

  function format.put(buffer, _, index, args, result, failure)
    local stdout, stderr = result, nil
    if failure then
      local value = failure.value
      local is_exit = errors.is_error(value)
      stdout, stderr = is_exit and value.stdout or "", is_exit and value.stderr or ""
      local status = is_exit and value.reason == "status" and value.status
      if type(status) == "string" then status = SIGNALLED + (value.signal or 0) end
      format.worst = math.max(format.worst, status or 1)
      if is_exit and value.missing then
        stderr = ("%sparlua: task %.0f had written more: the first %.0f bytes are lost\n"):format(
          ended_line(stderr or ""), index, value.missing)
      end
    elseif type(result) == "table" then
      stdout, stderr = result[1], result[2]
    end
    if is_tagged then
      local tag = tag_of(plan, index, args)
      stdout, stderr = tagged(stdout or "", tag), tagged(stderr or "", tag)
    end
    if stdout and stdout ~= "" then buffer:put(stdout) end
    return stderr and stderr ~= "" and stderr or nil
  end

  return format
end

--- A source whose tasks write files of different names. Words are looked at before anything runs; what is read as the
--- run goes on, when its turn comes. A journal knows the source as what it was.
local function with_own_files(plan, save, source)
  local seen, index = {}, 0
  local function note(...)
    index = index + 1
    local path = template_module.text(save, index, arguments_of(plan, ...))
    if seen[path] then
      error(("the option --save: tasks %d and %d would both write '%s'; tell them apart, by {#} for example"):format(
        seen[path], index, path), 0)
    end
    seen[path] = index
  end
  local step, control = sources.of(source), nil
  local function take(...)
    control = ...
    if control ~= nil then note(...) end
    return ...
  end
  if not source:is_indexed() then
    local checked = sources.iterate(function() return take(step(nil, control)) end)
    checked.label = identity.describe(source)
    return checked
  end
  repeat take(step(nil, control)) until control == nil
  return source
end

--- Shows what would be run.
local function show_all(plan, save, source)
  local index = 0
  local function show(...)
    index = index + 1
    local arguments = arguments_of(plan, ...)
    local text
    if plan.shell then
      text = template_module.text(plan.template, index, arguments, true)
    else
      text = template_module.shown(template_module.words(plan.template, index, arguments))
    end
    if save then
      text = text .. " > " .. common.shell_word(template_module.text(save, index, arguments))
    end
    return (io.stdout:write(text, "\n"))
  end
  local step, control = sources.of(source), nil
  local function again(...)
    control = ...
    if control == nil then return false end
    return show(...)
  end
  while again(step(nil, control)) do end -- luacheck: ignore 542
  return io.stdout:flush() and 0 or 2
end

--- The task itself ends its program at the time limit, so that what this has written is kept; the run's own limit
--- comes behind that. A journal knows the function by what it does, not by the limit.
local function with_time_limit(plan, save, options, map)
  local limit = options.timeout
  if not limit then return options, map end
  local changed = {}
  for name, value in pairs(options) do changed[name] = value end
  changed.timeout = engines.choose(options) ~= "serial" and limit + LAST_SECONDS or nil
  local function limited(...) return run_program(plan, save, limit, ...) end
  identity.stand_for(limited, map)
  return changed, limited
end

--- The job that a command line with --exec stands for.
---@param command table the values of options by name
---@param words string[]
---@param is_listed boolean
---@return table job with a field `manner` for parlua.job.run_as; or `status`: nothing is left to do
function M.job(command, words, is_listed)
  local is_shell = command.shell ~= nil
  local template = parse(command.exec, "--exec", is_shell)
  if is_shell then
    template_module.check_quotes(template)
    if template_module.is_placeholder(template) then
      error("the option --exec: with --shell, what is put in is one word: lines that are commands are run by "
        .. "--exec 'sh -c {}', without --shell", 0)
    end
  end
  local save = command.save and parse(command.save, "--save", true)
  if save and not save.has_placeholder then
    error("the option --save: there is no placeholder in it, so all would go to one file; parlua -o does that", 0)
  end
  local batch = number_of(command, "batch", "--batch",
    { type = "integer", min = 1, max = 100000, takes = "an integer from 1 to 100000" })
  local pipe = number_of(command, "pipe", "--pipe", { type = "size", min = 1, takes = 'a size, as "1M"' })
  if not pipe and not (command.csv or command.tsv or command.jsonl) then
    template_module.complete(template, is_shell)
  end
  local columns = (command.csv or command.tsv) and M.columns(template, save)
  local arguments = arguments_module.of({ csv = command.csv, tsv = command.tsv, jsonl = command.jsonl,
    header = command.header, lines = command.lines, null = command.null, batch = batch, pipe = pipe }, words, is_listed,
    columns)
  if batch then arguments_module.batched(arguments, batch) end
  local is_rows = arguments.shape == "rows"
  if is_rows and (template.takes_all or template.most > 0 or save and save.takes_all) then
    error("the option --exec: rows have columns, as {name}, not {} or {1}", 0)
  end
  if is_rows and not template.has_placeholder then
    error("the option --exec: a row has columns, none of which is in the template: name them, as in 'echo {city}'", 0)
  end
  if not is_rows then
    check(template, "--exec", nil, arguments.count)
    if save then check(save, "--save", nil, arguments.count) end
  end
  if not is_shell then check_program(template) end
  local format = command.format
  local plan = { template = template, shell = is_shell, shape = arguments.shape,
    wants_all = format ~= nil and format ~= "none" }
  if command.jsonl then plan.needs = M.columns(template, save) end
  if save and not save.has_number then arguments.source = with_own_files(plan, save, arguments.source) end
  if command.dry_run then return { status = show_all(plan, save, arguments.source) } end
  local job = { arguments = arguments.source, map = function(...) return run_program(plan, save, nil, ...) end,
    manner = { adapt = function(options, map) return with_time_limit(plan, save, options, map) end } }
  if format then return job end
  local written = new_format(plan, command.tag ~= nil)
  job.manner.format = written
  function job.manner.status(status) return status == 1 and math.max(1, written.worst) or status end
  return job
end

--- The columns that templates name.
function M.columns(template, save)
  local names, seen = {}, {}
  for _, one in ipairs { template, save } do
    for _, name in ipairs(one and one.names or {}) do
      if not seen[name] then names[#names + 1] = name end
      seen[name] = true
    end
  end
  return #names > 0 and names or nil
end

return M
