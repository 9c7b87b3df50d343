--- The options of parlua: one table that describes each, and the values that a call gets.
--
-- A value comes from, the first that has one: the call itself, the command line, the environment, the job's `options`,
-- the default. The command line arrives from main.c as package.loaded["parlua.command"]: raw strings by option name.
local new_table = require "table.new"

local options = {}

---@class parlua.Option
---@field name string         in a table of options
---@field type string         a key of `checks`
---@field takes string        what a value may be, to complete "it takes ..."
---@field default? any        none: nil
---@field implied? boolean    it has a default, which is made elsewhere
---@field min? number         for numbers and sizes
---@field max? number         for numbers
---@field values? string[]    for choices
---@field long? string        spelling on the command line, when it has one
---@field short? string
---@field metavar? string     what --help calls the value
---@field flags? string[][]    spellings that take no value, each with the value that it stands for
---@field help? string        one line for --help
---@field command_only? boolean  not for calls: about what the command does with the results
---@field unlisted? boolean    not in --help, which is to fit a screen; in the README

local LARGEST_INTEGER = 2 ^ 53 -- every integer up to this is a double

--- In the order in which --help shows them.
---@type parlua.Option[]
local specs = {
  { name = "workers", type = "integer", min = 1, max = 4096, takes = "an integer from 1 to 4096",
    long = "--workers", short = "-n", metavar = "N", help = "how many workers (default: one for each processor)" },
  { name = "engine", type = "choice", values = { "auto", "serial", "threads", "process", "mpi" }, default = "auto",
    long = "--engine", metavar = "NAME", help = "serial, threads, process (the default), mpi" },
  { name = "timeout", type = "number", min = 0, takes = "a number of seconds above 0",
    long = "--timeout", metavar = "SECONDS", help = "time limit of a task; its worker is replaced" },
  { name = "memory", type = "size", min = 2 ^ 20, takes = 'a size of at least 1 MiB, as "512M" or "2G", or in bytes',
    long = "--memory", metavar = "SIZE", help = "memory limit of a worker, as 512M or 2G" },
  { name = "retries", type = "integer", min = 0, max = 1e6, default = 0, takes = "an integer from 0 to 1000000",
    long = "--retries", metavar = "N", help = "how often a failed task is tried again (0)" },
  { name = "backoff", type = "seconds", default = 0, takes = "a number of seconds, 0 or more",
    long = "--backoff", metavar = "SECONDS", help = "wait before a further try, doubling (0)" },
  { name = "retry_on", type = "kinds", values = { "error", "timeout", "crash", "memory", "unsendable" }, implied = true,
    long = "--retry-on", metavar = "KINDS", help = "of failures (crash,timeout,error)", unlisted = true },
  { name = "on_error", type = "choice", values = { "skip", "halt" }, default = "skip",
    flags = { { "--halt", "halt" } }, help = "stop at the first failure" },
  { name = "max_failures", type = "limit", min = 1, max = LARGEST_INTEGER,
    takes = 'an integer of at least 1, or a share of the tasks that ended, as "5%"',
    long = "--max-failures", metavar = "N", help = "stop after N failures, or N% of the tasks" },
  { name = "seed", type = "integer", min = 0, max = LARGEST_INTEGER, implied = true,
    takes = "an integer from 0 to 2^53",
    long = "--seed", metavar = "N", help = "base of the random numbers (0)" },
  { name = "chunk", type = "integer", min = 1, max = 1e9, takes = "an integer from 1 to 1000000000",
    long = "--chunk", metavar = "N", help = "tasks handed to a worker at once (measured)" },
  { name = "ordered", type = "boolean", default = true,
    flags = { { "--unordered", "false" }, { "--ordered", "true" } }, help = "results as they come, not in order" },
  { name = "progress", type = "progress", values = { "bar", "plain", "json", "none" },
    long = "--progress", metavar = "KIND", help = "bar, plain, json or none (a bar on a terminal)" },
  { name = "stdin", type = "boolean", flags = { { "--stdin", "true" } },
    help = "tasks read the script's standard input", unlisted = true },
  { name = "journal", type = "path", takes = "the name of a file",
    long = "--journal", metavar = "FILE", help = "file in which finished tasks are recorded" },
  { name = "resume", type = "boolean",
    flags = { { "--resume", "true" } }, help = "go on from the journal: run only what it lacks" },
  { name = "retry_failed", type = "boolean", flags = { { "--retry-failed", "true" } },
    help = "on resuming, failed tasks run again", unlisted = true },
  { name = "force", type = "boolean", flags = { { "--force", "true" } },
    help = "use a journal of another run all the same", unlisted = true },
  { name = "output", type = "path", takes = "the name of a file", command_only = true,
    long = "--output", short = "-o", metavar = "FILE", help = "file for a job's results (standard output)" },
  { name = "format", type = "choice", values = { "jsonl", "json", "text", "none" }, default = "jsonl",
    command_only = true,
    long = "--format", metavar = "NAME", help = "for a job's results: jsonl, json, text or none" },
  { name = "debug", type = "boolean", command_only = true,
    flags = { { "--debug", "true" } }, help = "stop at a failing task, serially; show tracebacks" },
  -- for calls only
  { name = "init", type = "function", takes = "a function" },
  { name = "as", type = "choice", values = { "table", "array" }, default = "table" },
  { name = "window", type = "integer", min = 1, max = LARGEST_INTEGER, takes = "an integer of at least 1" },
}

local by_name, by_word = {}, {} ---@type table<string, parlua.Option>
for _, spec in ipairs(specs) do
  by_name[spec.name] = spec
  if spec.long then by_word[spec.long] = spec end
  if spec.short then by_word[spec.short] = spec end
  for _, flag in ipairs(spec.flags or {}) do by_word[flag[1]] = spec end
  if spec.long or spec.flags then spec.variable = "PARLUA_" .. spec.name:upper() end
  if spec.values then
    local words = table.concat(spec.values, ", "):gsub(", ([^,]*)$", " or %1")
    spec.takes = spec.type == "progress" and words .. ", or a function" or spec.type == "kinds" and "a list of " .. words or words
  elseif spec.type == "boolean" then
    spec.takes = "true or false"
  end
end

-- Names -------------------------------------------------------------------------------------------------------------

--- The number of insertions, deletions, substitutions and swaps of neighbours that turn one word into another
--- (Damerau-Levenshtein distance, where no piece is edited twice).
local function distance(a, b)
  local before, previous, current = {}, {}, {} -- three rows of the table of distances between prefixes
  for j = 0, #b do current[j] = j end
  for i = 1, #a do
    before, previous, current = previous, current, before
    current[0] = i
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      local best = math.min(previous[j] + 1, current[j - 1] + 1, previous[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        best = math.min(best, before[j - 2] + 1)
      end
      current[j] = best
    end
  end
  return current[#b]
end

--- The word of a list that is most like the given one: the first of those with the fewest typing errors between them.
---@param word string
---@param list string[]
---@return string? nearest  nil when the list is empty
---@return integer? errors  how many single edits apart they are
---@nodiscard
function options.nearest(word, list)
  local nearest, least
  for _, candidate in ipairs(list) do
    local errors = distance(word:lower(), candidate:lower())
    if not least or errors < least then nearest, least = candidate, errors end
  end
  return nearest, least
end

--- "; did you mean x?" when some word of the list is like the given one, else a list of them all.
local function suggestion(word, list)
  local nearest, errors = options.nearest(word, list)
  if errors <= math.max(2, math.floor(#word / 3)) then return "; did you mean " .. nearest .. "?" end
  return "; there are: " .. table.concat(list, ", ")
end

-- Values ------------------------------------------------------------------------------------------------------------

--- A value as a message shows it.
local function show(value)
  if type(value) == "string" then
    if #value > 40 then value = value:sub(1, 37) .. "..." end
    return ("%q"):format(value)
  elseif type(value) == "number" or type(value) == "boolean" then
    return tostring(value)
  end
  return "a " .. type(value)
end

local SIZE_UNITS = { [""] = 1, K = 2 ^ 10, M = 2 ^ 20, G = 2 ^ 30, T = 2 ^ 40 }

--- "512M" -> 536870912; nil when it is no size.
local function parse_size(text)
  local number, unit = text:upper():match("^%s*([%d.]+)%s*([KMGT]?)I?B?%s*$")
  number = tonumber(number)
  return number and math.floor(number * SIZE_UNITS[unit])
end

local BOOLEANS = { ["true"] = true, yes = true, on = true, ["1"] = true,
                   ["false"] = false, no = false, off = false, ["0"] = false }

local function is_one_of(value, values)
  for _, allowed in ipairs(values) do
    if value == allowed then return true end
  end
  return false
end

--- For each type: the value to use, or nil when the given one is wrong. `is_text`: it comes from the command line or
--- the environment, where everything is a string.
local checks = {}

function checks.number(spec, value, is_text)
  if is_text then value = tonumber(value) end
  return type(value) == "number" and value > spec.min and value < math.huge and value or nil
end

function checks.integer(spec, value, is_text)
  if is_text then value = tonumber(value) end
  local right = type(value) == "number" and value >= spec.min and value <= spec.max and value % 1 == 0
  return right and value or nil
end

function checks.seconds(_, value, is_text)
  if is_text then value = tonumber(value) end
  return type(value) == "number" and value >= 0 and value < math.huge and value or nil
end

--- A number of tasks, or a share of them as text: "5%".
function checks.limit(spec, value, is_text)
  local share = type(value) == "string" and tonumber(value:match("^%s*([%d.]+)%s*%%%s*$"))
  if share then return share > 0 and share <= 100 and share .. "%" or nil end
  return checks.integer(spec, value, is_text)
end

--- A list of words, or text with commas between them.
function checks.kinds(spec, value, is_text)
  if is_text then
    local words = {}
    for word in value:gmatch("[^,%s]+") do words[#words + 1] = word end
    value = words
  end
  if type(value) ~= "table" or #value == 0 then return nil end
  local kinds = {}
  for k, word in pairs(value) do
    if type(k) ~= "number" or not is_one_of(word, spec.values) then return nil end
    kinds[k] = word
  end
  return kinds
end

function checks.size(spec, value)
  if type(value) == "string" then value = parse_size(value) end
  local right = type(value) == "number" and value >= spec.min and value <= LARGEST_INTEGER
  return right and math.floor(value) or nil
end

function checks.boolean(_, value, is_text)
  if is_text then value = BOOLEANS[value:lower()] end
  if type(value) == "boolean" then return value end
end

function checks.choice(spec, value)
  return is_one_of(value, spec.values) and value or nil
end

function checks.progress(spec, value)
  return (type(value) == "function" or is_one_of(value, spec.values)) and value or nil
end

function checks.path(_, value)
  return type(value) == "string" and value ~= "" and not value:find("%z") and value or nil
end

checks["function"] = function(_, value)
  return type(value) == "function" and value or nil
end

--- Raises the error for a wrong value. `origin` completes "from ...".
local function refuse(spec, value, origin)
  local message = ("wrong value for the option %s, from %s: %s; it takes %s"):format(spec.name, origin, show(value),
    spec.takes)
  if spec.values and type(value) == "string" then
    local nearest, errors = options.nearest(value, spec.values)
    if errors <= 2 then message = message .. (" (did you mean %s?)"):format(nearest) end
  end
  error(message, 0)
end

-- Where values come from --------------------------------------------------------------------------------------------

local defaults = {}
for _, spec in ipairs(specs) do defaults[spec.name] = spec.default end

--- How the command line spells an option: for messages.
local function spelling(spec, value)
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
    local text = spec.variable and os.getenv(spec.variable)
    if text and text ~= "" then
      local value = check(spec, text, true)
      if value == nil then refuse(spec, text, "the environment variable " .. spec.variable) end
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
  local names = {}
  for _, spec in ipairs(specs) do
    if not (is_call and spec.command_only) then names[#names + 1] = spec.name end
  end
  return names
end

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
      error(("unknown option %s in %s%s"):format(what, origin, suggestion(what, option_names(is_call))), 0)
    elseif is_call and spec.command_only then
      error(("the option %s is for the command line or a job's options, not for a call"):format(name), 0)
    end
    local checked = checks[spec.type](spec, value, false)
    if checked == nil and not (value == false and spec.default == nil and not spec.implied) then refuse(spec, value, origin) end
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
    if type(value) == "table" then return end -- what is in it may change
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
  if resolved.debug and (given.engine or "serial") == "serial" then -- it stops where a task fails, and waits there for a person
    resolved.engine, resolved.on_error, resolved.retries, resolved.timeout, resolved.memory = "serial", "halt", 0, nil, nil
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

--- Reads the command line and the environment anew: somebody has changed package.loaded["parlua.command"].
function options.reread() given, base, last.resolved = nil, nil, false end

-- The command line --------------------------------------------------------------------------------------------------

--- Every spelling that --help shows, for suggestions.
local function spellings()
  local words = { "--help", "--version" }
  for _, spec in ipairs(specs) do
    if spec.long then words[#words + 1] = spec.long end
    for _, flag in ipairs(spec.flags or {}) do words[#words + 1] = flag[1] end
  end
  table.sort(words)
  return words
end

--- Splits a word of the command line: "--timeout=2" -> "--timeout", "2"; "-n4" -> "-n", "4".
local function split_word(word)
  if word:sub(1, 2) ~= "--" then
    local rest = word:sub(3):gsub("^=", "")
    return word:sub(1, 2), #word > 2 and rest or nil
  end
  local name, value = word:match("^([^=]*)=(.*)$")
  return name or word, value
end

--- Reads one option of the command line into package.loaded["parlua.command"]; the value is checked later.
---@param word string       such as "--timeout" or "--timeout=2"
---@param next_word? string the word that follows it
---@return integer? used    how many words the option takes: 1 or 2; nil when it is wrong
---@return string? message  then
function options.read_word(word, next_word)
  local name, value = split_word(word)
  local spec = by_word[name]
  if not spec then return nil, ("unknown option %s%s"):format(name, suggestion(name, spellings())) end
  local command = package.loaded["parlua.command"]
  for _, flag in ipairs(spec.flags or {}) do
    if flag[1] == name then
      if value then return nil, ("the option %s takes no value, but %s was given"):format(name, show(value)) end
      command[spec.name] = flag[2]
      return 1
    end
  end
  if value then
    command[spec.name] = value
    return 1
  end
  if not next_word or next_word:sub(1, 2) == "--" then
    return nil, ("the option %s needs a value: it takes %s"):format(name, spec.takes)
  end
  command[spec.name] = next_word
  return 2
end

--- Checks what the command line and the environment say, before any script runs.
---@return string? message  what is wrong, if anything
---@nodiscard
function options.check_command()
  local right, message = pcall(options.resolve)
  if not right then return message end
end

local HEAD = [[
usage: parlua [options] script.lua [arguments]           (-h, --help; --version)

]]

local FOOT = [[
  -e CODE, -l MODULE, -i, -v, -j, -O, -b, -E, --, -   as for luajit

examples:  parlua --engine threads primes.lua 1 1000000
           parlua -n 8 --timeout 10 -o sums.jsonl job.lua
           parlua -e 'print(2^53)'
]]

--- The page that `parlua --help` prints; it fits 24 lines of 80 columns.
---@return string
---@nodiscard
function options.help()
  local lines = { HEAD }
  for _, spec in ipairs(specs) do
    local word = spec.long and spec.long .. " " .. spec.metavar or spec.flags and spec.flags[1][1]
    if word and not spec.unlisted then
      lines[#lines + 1] = ("  %-4s%-22s%s\n"):format(spec.short and spec.short .. "," or "", word, spec.help)
    end
  end
  lines[#lines + 1] = FOOT
  return table.concat(lines)
end

return options
