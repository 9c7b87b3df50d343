--- The options of parlua: one table that describes each, and the values that a call gets.
--
-- A value comes from, the first that has one: the call itself, the command line, the environment, the job's `options`,
-- the default. The command line arrives from main.c by parlua.options.command, as
-- package.loaded["parlua.command"]: raw strings by option name.
local checks_module = require "parlua.options.checks"
local host = require "parlua.host"
local names = require "parlua.options.names"
local new_table = require "table.new"
local values = require "parlua.lazy" "parlua.value"

require("jit").off(true) -- what stands outside of functions runs once

local options = {}
local checks, LARGEST_INTEGER = checks_module.checks, checks_module.LARGEST_INTEGER

---@class parlua.Option
---@field name string         in a table of options
---@field type string         a key of `checks`
---@field takes? string       see options.takes
---@field default? any        none: nil
---@field implied? boolean    it has a default, which is made elsewhere
---@field min? number         for numbers and sizes
---@field allows_min? boolean  `min` itself is a value
---@field max? number         for numbers
---@field values? string[]    for choices
---@field long? string        spelling on the command line, when it has one
---@field short? string
---@field metavar? string     what --help calls the value
---@field flags? string[][]    spellings that take no value, each with the value that it stands for
---@field help? string        one line for --help
---@field command_only? boolean  not for calls: about what the command does with the results
---@field call_only? boolean     for calls alone: functions, and what a command has no use for

local engine_names = {}
for i, kind in ipairs(host.engines()) do engine_names[i] = kind.name end

--- The engines in words, for --help.
local function tell_engines()
  local text = table.concat(engine_names, ", "):gsub(", ([^,]*)$", " or %1")
  return (text:gsub("%f[%w]process%f[%W]", "%0 (the default)"))
end

local DURATION = 'as "5s", "200ms", "2m" or "1h"'

--- In the order in which --help shows them.
---@type parlua.Option[]
local specs = {
  { name = "workers", type = "integer", min = 1, max = 1e6,
    takes = "an integer from 1 to 4096 (of the async engine to 1000000)",
    long = "--workers", short = "-n", metavar = "N",
    help = "how many workers (one for each processor); under mpirun or srun in each rank" },
  { name = "engine", type = "choice", values = { "auto", unpack(engine_names) }, default = "auto",
    long = "--engine", metavar = "NAME", help = tell_engines() },
  { name = "timeout", type = "seconds", min = 0, takes = "a number of seconds above 0, or text " .. DURATION,
    long = "--timeout", metavar = "TIME",
    help = "time limit of a task, in seconds or as 5s, 2m; its worker is replaced" },
  { name = "memory", type = "size", min = 2 ^ 20, takes = 'a size of at least 1 MiB, as "512M" or "2G", or in bytes',
    long = "--memory", metavar = "SIZE", help = "memory limit of a worker, as 512M or 2G" },
  { name = "max_tasks", type = "integer", min = 1, max = 1e9, takes = "an integer from 1 to 1000000000",
    long = "--max-tasks", metavar = "N", help = "a worker that has done N tasks is replaced by a new one" },
  { name = "chunk", type = "integer", min = 1, max = 1e9, takes = "an integer from 1 to 1000000000",
    long = "--chunk", metavar = "N", help = "tasks handed to a worker at once (measured)" },
  { name = "seed", type = "integer", min = 0, max = LARGEST_INTEGER, implied = true,
    takes = "an integer from 0 to 2^53",
    long = "--seed", metavar = "N", help = "what random numbers follow from (0)" },
  { name = "stdin", type = "boolean", flags = { { "--stdin", "true" } },
    help = "tasks read the script's standard input" },
  { name = "retries", type = "integer", min = 0, max = 1e6, default = 0, takes = "an integer from 0 to 1000000",
    long = "--retries", metavar = "N", help = "how often a failed task is tried again (0)" },
  { name = "backoff", type = "seconds", min = 0, allows_min = true, default = 0,
    takes = "a number of seconds, 0 or more, or text " .. DURATION,
    long = "--backoff", metavar = "TIME", help = "wait before a further try, doubling (0)" },
  { name = "retry_on", type = "kinds", values = { "error", "timeout", "crash", "memory", "unsendable" }, implied = true,
    long = "--retry-on", metavar = "KINDS", help = "of failures, as crash,timeout,error (these)" },
  { name = "on_error", type = "reaction", values = { "skip", "halt" }, default = "skip",
    flags = { { "--halt", "halt" } }, help = "stop at the first failure" },
  { name = "warn", type = "boolean", implied = true,
    flags = { { "--no-warn", "false" }, { "--warn", "true" } }, help = "no line about failed tasks" },
  { name = "max_failures", type = "limit", min = 1, max = LARGEST_INTEGER,
    takes = 'an integer of at least 1, or a share of the tasks that ended, as "5%"',
    long = "--max-failures", metavar = "N", help = "stop after N failures, or N% of the tasks" },
  { name = "ordered", type = "boolean", default = true,
    flags = { { "--unordered", "false" }, { "--ordered", "true" } }, help = "results as they come, not in order" },
  { name = "progress", type = "progress", values = { "bar", "plain", "json", "none" },
    long = "--progress", metavar = "KIND", help = "bar, plain, json or none (a bar on a terminal)" },
  { name = "log_level", type = "choice", values = { "debug", "info", "warn", "error" }, implied = true,
    long = "--log-level", metavar = "LEVEL", help = "lines of parlua.log from this on (info)" },
  { name = "log", type = "path", takes = "the name of a file",
    long = "--log", metavar = "FILE", help = "add lines of parlua.log to this file (standard error)" },
  { name = "tag", type = "boolean",
    flags = { { "--tag", "true" } }, help = "a task's index before what it prints; of --exec: the word" },
  { name = "report", type = "path", takes = "the name of a file",
    long = "--report", metavar = "FILE", help = "a page (HTML) that shows how the run went" },
  { name = "trace", type = "path", takes = "the name of a file",
    long = "--trace", metavar = "FILE", help = "a trace of the run for ui.perfetto.dev" },
  { name = "journal", type = "path", takes = "the name of a file",
    long = "--journal", metavar = "FILE", help = "record finished tasks in this file" },
  { name = "resume", type = "boolean",
    flags = { { "--resume", "true" } }, help = "go on from the journal: run only what it lacks" },
  { name = "retry_failed", type = "boolean", flags = { { "--retry-failed", "true" } },
    help = "on resuming, failed tasks run again" },
  { name = "force", type = "boolean", flags = { { "--force", "true" } },
    help = "use a journal of another run all the same" },
  { name = "output", type = "path", takes = "the name of a file", command_only = true,
    long = "--output", short = "-o", metavar = "FILE", help = "file for a job's results (standard output)" },
  { name = "format", type = "choice", values = { "jsonl", "json", "text", "csv", "tsv", "none" }, default = "jsonl",
    command_only = true,
    long = "--format", metavar = "NAME", help = "of a job's results: jsonl, json, text, csv, tsv or none" },
  { name = "shard", type = "shard", command_only = true,
    takes = 'a part of a job, as "3/10" or "3/10:block", or "slurm" in a job array',
    long = "--shard", metavar = "K/N", help = "every N-th task only, from the K-th on; K/N:block: a contiguous part" },
  { name = "deadline", type = "deadline", min = 0,
    takes = "a number of seconds above 0, text as \"23h50m\", or \"slurm\" in a batch job",
    long = "--deadline", metavar = "TIME", help = "begin no task that would not end by then; status 75" },
  { name = "debug", type = "boolean", command_only = true,
    flags = { { "--debug", "true" } }, help = "run serially, stop at a failing task, show tracebacks" },
  { name = "setup", type = "function", takes = "a function", call_only = true,
    help = "a function, run in each worker before its first task" },
  { name = "window", type = "integer", min = 1, max = LARGEST_INTEGER, takes = "an integer of at least 1",
    call_only = true,
    help = "imap: tasks handed out beyond those that were taken" },
  { name = "as", type = "choice", values = { "table", "array" }, default = "table", call_only = true,
    help = 'map: "array" packs numeric results into an array' },
  { name = "type", type = "element", takes = 'the type of an array\'s elements, as "double" or "int32"',
    call_only = true, help = 'as = "array": the type of its elements (double)' },
  { name = "fill", type = "number", takes = "a number", call_only = true,
    help = 'as = "array": what stands for tasks without a result (NaN)' },
  { name = "into", type = "array", takes = "an array (parlua.array)", call_only = true,
    help = "map: an array that takes the results" },
}
options.specs = specs

local by_name, defaults = new_table(0, #specs), {} ---@type table<string, parlua.Option>, table<string, any>
for _, spec in ipairs(specs) do by_name[spec.name], defaults[spec.name] = spec, spec.default end

--- The variable of the environment that sets an option; nil: none does.
---@param spec parlua.Option
---@return string?
function options.variable(spec) return (spec.long or spec.flags) and "PARLUA_" .. spec.name:upper() or nil end

local or_function = "%s, or a function"
local lists = { progress = or_function, reaction = or_function, kinds = "a list of %s, or one of them" }

--- What a value of an option may be, to complete "it takes ...".
---@param spec parlua.Option
---@return string
function options.takes(spec)
  if spec.type == "boolean" then return "true or false" end
  if not spec.values then return spec.takes end
  local words = table.concat(spec.values, ", "):gsub(", ([^,]*)$", " or %1")
  return (lists[spec.type] or "%s"):format(words)
end

options.nearest = names.nearest

--- A value as a message shows it.
local function show(value) return values.format(value, { depth = 1, length = 4, bytes = 40, limit = 80 }) end
options.show = show

--- Raises the error for a wrong value. `origin` completes "from ...".
local function refuse(spec, value, origin)
  local message = ("wrong value for the option %s, from %s: %s; it takes %s"):format(spec.name, origin, show(value),
    options.takes(spec))
  if spec.values and type(value) == "string" then
    local nearest, errors = names.nearest(value, spec.values)
    if errors <= 2 then message = message .. (" (did you mean %s?)"):format(nearest) end
  elseif spec.type == "element" and type(value) == "string" then
    local meant = require("parlua.array.kinds").of_other(value)
    if meant then message = message .. (" (did you mean %q?)"):format(meant) end
  end
  error(message, 0)
end

-- Where values come from --------------------------------------------------------------------------------------------

local changed_by -- what has changed the command line's options since: as messages call it

--- How the command line spells an option: for messages.
local function spelling(spec, value)
  if changed_by then return changed_by end
  for _, flag in ipairs(spec.flags or {}) do
    if flag[2] == value then return flag[1] end
  end
  return spec.long
end

--- Puts the options of the environment and then of the command line into a table; raises at the first wrong one.
local function read_given(into)
  local command = package.loaded["parlua.command"] or {}
  for _, spec in ipairs(specs) do
    local check = checks[spec.type]
    local variable = options.variable(spec)
    local text = variable and os.getenv(variable)
    if text and text ~= "" then
      local value = check(spec, text, true)
      if value == nil then refuse(spec, text, "the environment variable " .. variable) end
      into[spec.name] = value
    end
    text = command[spec.name]
    if text then
      local value = check(spec, text, true)
      if value == nil then refuse(spec, text, spelling(spec, text)) end
      into[spec.name] = value
    end
  end
  return into
end

--- Of the command line and the environment; read once, since neither changes while a script runs.
local given ---@type table?

--- The defaults, and over them what is given.
local base ---@type table?

local function read_once()
  given = read_given({})
  base = {}
  for name, value in pairs(defaults) do base[name] = value end
  for name, value in pairs(given) do base[name] = value end
end

local function option_names(is_call)
  local list = {}
  for _, spec in ipairs(specs) do
    if not (is_call and spec.command_only) then list[#list + 1] = spec.name end
  end
  return list
end

--- What a name that is no option may have been meant for.
local explained = {
  init = "; what is to run in each worker before its first task is the option setup (init is the accumulator of a "
    .. "reduction)",
  threads = '; did you mean engine = "threads", or workers?',
  processes = '; did you mean engine = "process", or workers?',
  stop = "; stop belongs to parlua.reduce and to jobs; for the first result that counts take parlua.find",
  map = "; did you mean to give the map function first: parlua.map(f, arguments, options)?",
}

--- Checks a table of options and puts it over `into`. `false` stands for "none" where an option has no default.
local function merge(into, from, is_call)
  local origin = is_call and "the call" or "the job's options"
  if type(from) ~= "table" then
    error(("the options of %s must be a table, not %s"):format(is_call and "a call" or "a job", show(from)), 0)
  end
  for name, value in pairs(from) do
    local spec = by_name[name]
    if not spec then
      local what = type(name) == "string" and name or "[" .. tostring(name) .. "]"
      local advice = explained[name] or names.suggestion(what, option_names(is_call))
      error(("unknown option %s in %s%s"):format(what, origin, advice), 0)
    elseif is_call and spec.command_only then
      error(("the option %s is for the command line or a job's options, not for a call"):format(name), 0)
    end
    local checked = checks[spec.type](spec, value, false)
    if checked == nil and not (value == false and spec.default == nil and not spec.implied) then
      refuse(spec, value, origin)
    end
    into[name] = checked
  end
end

local last = { options = false, count = 0, resolved = false } -- the latest call's, and what came of them

--- Are a call's options those of the call before?
local function is_last(call_options)
  if not last.resolved then return false end
  local count = 0
  if call_options then
    if type(call_options) ~= "table" then return false end
    for name, value in pairs(call_options) do
      if last.options[name] ~= value then return false end
      count = count + 1
    end
  end
  return count == last.count
end

local function remember(call_options, resolved)
  local copy, count = {}, 0
  for name, value in pairs(call_options or copy) do
    if type(value) == "table" or type(value) == "cdata" then return end -- what is in it may change, or is large
    copy[name], count = value, count + 1
  end
  last.options, last.count, last.resolved = copy, count, resolved
end

--- The options for one call: its own over the command line's, over the environment's, over the job's, over the
--- defaults; all checked. An option that nobody sets and that has no default is nil. In a call or a job, `false`
--- takes back a `timeout` (or whatever has no default) that is set further down.
---
--- A call with the same options as the one before gets the same table, for a fifth of the time.
---@param call_options? table  of the call
---@param job_options? table   of the job script
---@return table options       not to be written to
---@nodiscard
--- Raises a string that names the option, where the value came from, what was given and what is allowed.
--- Example: `local chosen = options.resolve({ timeout = 2.5, memory = "512M" })`
function options.resolve(call_options, job_options)
  if not base then read_once() end
  if not job_options and is_last(call_options) then return last.resolved end
  local resolved = new_table(0, 16) -- more than are ever set in one call: it need not grow
  for name, value in pairs(job_options and defaults or base) do resolved[name] = value end
  if job_options then
    merge(resolved, job_options, false)
    for name, value in pairs(given) do resolved[name] = value end
  end
  if call_options then merge(resolved, call_options, true) end
  if resolved.debug and (given.engine or "serial") == "serial" then -- it stops at a failure, for a person
    resolved.engine, resolved.on_error, resolved.retries = "serial", "halt", 0
    resolved.timeout, resolved.memory = nil, nil
    resolved.progress = resolved.progress or "none"
  end
  if not resolved.journal then
    if resolved.resume then
      error("the option resume goes on from a journal: name its file with the option journal (--journal FILE)", 0)
    elseif resolved.retry_failed or resolved.force then
      error(("the option %s is about a journal: name its file with the option journal (--journal FILE)"):format(
        resolved.retry_failed and "retry_failed" or "force"), 0)
    end
  elseif resolved.retry_failed and not resolved.resume then
    error("the option retry_failed says what is done on resuming: it needs the option resume (--resume)", 0)
  end
  if not job_options then remember(call_options, resolved) end
  return resolved
end

-- For the prompt ----------------------------------------------------------------------------------------------------

--- The description of an option of calls; nil: there is none of that name.
---@param name string
---@return parlua.Option?
function options.spec(name)
  local spec = by_name[name]
  return spec and not spec.command_only and spec or nil
end

--- Names of the options that a call may have.
---@return string[]
function options.call_names() return option_names(true) end

--- Reads the command line and the environment anew: package.loaded["parlua.command"] has been changed.
---@param by string what has changed it, for messages: "%options"
function options.reread(by) changed_by, given, base, last.resolved = by, nil, nil, false end

-- For jobs ---------------------------------------------------------------------------------------------------------

--- How a job's table has been misunderstood: options beside `map`, a reduction's fields without the reduction.
---@param job table
---@return string? message
---@nodiscard
function options.misplaced(job)
  for _, spec in ipairs(specs) do
    local value = rawget(job, spec.name)
    if value ~= nil and checks[spec.type](spec, value, false) ~= nil then
      return ("the job has a field `%s`, which is the name of an option: options go into its table `options`, "
        .. "as options = { %s = %s }; a value or function of the job's own needs another name"):format(
          spec.name, spec.name, show(value))
    end
  end
  local init = rawget(job, "init")
  local has_value = init ~= nil and type(init) ~= "function"
  local is_reduction = rawget(job, "step") ~= nil and (has_value or rawget(job, "merge") ~= nil)
  if is_reduction and rawget(job, "reduce") == nil then
    return "the job has the fields of a reduction, but no `reduce`: they go into a table of its own, as "
      .. "reduce = { init = 0, step = ... }"
  end
end

return options
