--- parlua --map, --filter, --each, --reduce: Lua for each word, line or row.
local arguments_module = require "parlua.command.arguments"
local block = require "parlua.command.block"
local common = require "parlua.common"
local csv = require "parlua.lazy" "parlua.source.csv"
local expression = require "parlua.command.expression"
local options_module = require "parlua.options"
local rows = require "parlua.lazy" "parlua.command.rows"
local sources = require "parlua.source"
local texts = require "parlua.job.text"
local written = require "parlua.command.written"

local M = {}

local MOST_TOLD = 10 -- failures that are told one by one

-- ---- one task for each ----

--- The map function of a job whose tasks are words, lines or rows.
---@param gives? "line"|"text" a task gives the text of its row, or what it makes as text
local function map_function(command, is_row, gives)
  if is_row and not (gives or command.filter or command.map or command.each) then
    return function(row) return row end -- so plain that the columns are known of which the reducer makes use
  end
  local filter = command.filter and expression.compile(command.filter, "--filter", is_row)
  local map = command.map and expression.compile(command.map, "--map", is_row)
  local each = command.each and expression.compile(command.each, "--each", is_row)
  local gives_value = command.reduce ~= nil or is_row
  local gives_line, gives_text = gives == "line", gives == "text"
  return function(argument, text)
    local x, line = argument, argument
    if is_row then line = text else x = written.value_of(argument) end
    if filter and not filter(x, line) then return nil end
    if each then
      each(x, line)
      return nil
    end
    if gives_line then return line end
    local value = argument
    if map then value = map(x, line) elseif gives_value then value = x end
    if gives_text then return written.text_of(value) end
    return value
  end
end

local function uses_line(command)
  for _, name in ipairs { "map", "filter", "each" } do
    if expression.uses(command[name], "line") then return true end
  end
  return false
end

-- ---- a block of lines for each ----

--- The format of results of blocks: lines are counted and told of as tasks are.
---@param path string of the text
local function block_format(path)
  local format = { lines = 0, failed = 0, told = 0 }

  local function told_of(bad, first)
    local parts = {}
    for _, one in ipairs(bad) do
      if format.told < MOST_TOLD then
        format.told = format.told + 1
        parts[#parts + 1] = texts.failure { index = first + one.at, args = { n = 1, one.line }, kind = one.kind,
          message = one.message, path = path, line = first + one.at }
      end
    end
    return table.concat(parts)
  end

  function format.put(buffer, _, _, _, result, failed)
    if failed then return nil end
    buffer:put(result[1])
    local first, bad = format.lines, result[3]
    format.lines = format.lines + result[2]
    if not bad then return nil end
    format.failed = format.failed + bad.count
    return told_of(bad, first)
  end

  --- The counts of the run in lines.
  function format.summary(summary)
    local changed = {}
    for name, value in pairs(summary) do changed[name] = value end
    changed.tasks, changed.failed = format.lines + summary.failed, format.failed + summary.failed
    changed.returned = changed.tasks - changed.failed
    return changed
  end

  function format.rest()
    local rest = format.failed - format.told
    return rest > 0 and ("parlua: %s failed\n"):format(common.count(rest, "more task")) or nil
  end

  return format
end

--- Options that are about single lines: then each line is a task of its own.
local function is_about_lines(options, command)
  return command.format ~= nil or options.journal or options.timeout or (options.retries or 0) > 0
    or options.max_failures or options.on_error ~= "skip" or options.debug or options.ordered == false
    or options.shard or options.deadline or options.chunk or options.progress == "json"
end

--- May lines go in blocks?
local function can_go_in_blocks(command, words)
  if not (command.map or command.filter) or command.reduce or command.each then return false end
  if command.csv or command.tsv or command.jsonl or command.null then return false end
  if command.lines and #words ~= 1 or not command.lines and #words > 0 then return false end
  for _, name in ipairs { "parlua", "print", "io" } do
    if expression.uses(command.map, name) or expression.uses(command.filter, name) then return false end
  end
  return not is_about_lines(options_module.resolve(), command)
end

local function block_job(command, words)
  local plan = { map = command.map, filter = command.filter, uses_line = uses_line(command) }
  local path = command.lines and words[1] or "-"
  local format = block_format(path)
  local source = sources.blocks(path, { size = block.BLOCK, raw = true })
  source.is_eager = true -- who writes into a pipe line by line is answered line by line
  return {
    arguments = source,
    map = function(pointer, length) return block.run(plan, pointer, length) end,
    manner = {
      format = format, summary = format.summary, forgets = true, rest = format.rest,
      status = function(status) return status == 0 and format.failed > 0 and 1 or status end,
    },
  }
end

-- ---- reductions ----

--- The reducer that --reduce names: a field of parlua, or an expression of these.
local function reducer_of(text)
  local parlua = require "parlua"
  local compiled, message = loadstring("return " .. text .. "\n", "=--reduce")
  if not compiled then expression.chunk(text, "--reduce") end
  if not compiled then error(message, 0) end
  local known = setmetatable({}, { __index = function(_, name)
    local value = parlua[name]
    if value == nil then value = _G[name] end
    return value
  end })
  local ok, reducer = pcall(setfenv(compiled, known))
  if not ok then error(("the code of --reduce: %s"):format(tostring(reducer)), 0) end
  local hint = require("parlua.sink.reducers").uncalled(reducer):gsub("parlua%.", "")
  if hint ~= "" then error("the option --reduce: a reducer is expected, got function" .. hint, 0) end
  if reducer == nil then
    local names = require("parlua.options.names")
    local list = { "sum", "count", "mean", "stats", "min", "max", "argmin", "argmax", "quantiles", "histogram", "top",
      "collect", "group" }
    error(("the option --reduce: there is no reducer '%s'%s"):format(text, names.suggestion(text, list)), 0)
  end
  return reducer
end

-- ---- the job ----

--- The format of values that are not text yet.
local values_format = {}

function values_format.put(buffer, _, _, _, result, failure)
  local text = not failure and written.text_of(result)
  if text then buffer:put(text, "\n") end
end

--- Is a row written as it was read?
local function is_unchanged(command)
  local kind = command.csv and "csv" or command.tsv and "tsv" or "text"
  return not (command.map or command.reduce or command.each) and (command.format or kind) == kind
end

--- The columns that the code needs: names that stand for nothing else.
local function columns_of(command)
  local needed = {}
  for _, name in ipairs { "filter", "map", "each" } do
    for _, column in ipairs(command[name] and expression.unknown(command[name], "--" .. name) or {}) do
      needed[#needed + 1] = column
    end
  end
  return needed
end

--- The job whose tasks are these.
local function tasks_job(command, source, is_row)
  local gives
  if is_row and is_unchanged(command) then
    gives = "line"
  elseif not (command.format or command.reduce or command.each or options_module.resolve().journal) then
    gives = "text" -- a journal has the values themselves, so that numbers are numbers there
  end
  if is_row then
    source.needed = columns_of(command)
    if source.names then csv.check_columns(source, source.names, "the option --header has") end
    source.with_text = gives == "line" or uses_line(command)
  end
  local job = { arguments = source, map = map_function(command, is_row, gives), manner = { forgets = true },
    reduce = command.reduce and reducer_of(command.reduce) or nil,
    columns = command.reduce and rows.columns(command.columns, "--columns") or nil }
  if gives == "line" then
    job.manner.format = rows.unchanged(source)
  elseif not command.reduce and (command.format == "csv" or command.format == "tsv") then
    job.manner.format = rows.made(command.format, command.map, source, rows.columns(command.columns, "--columns"))
  end
  if not command.format then
    local writes_nothing = command.each and not command.reduce
    if not (gives or writes_nothing or command.reduce) then job.manner.format = values_format end
    job.options = { format = writes_nothing and "none" or gives and "text" or nil }
  end
  return job
end

--- Runs the file of --with: its globals, and the fields of the table that it returns, are known to the code.
local function load_helpers(path)
  local chunk, message = loadfile(path)
  if not chunk then error(("the option --with: %s"):format(message), 0) end
  local given = chunk()
  if type(given) ~= "table" then return end
  for name, value in pairs(given) do
    if type(name) == "string" and rawget(_G, name) == nil then rawset(_G, name, value) end
  end
end

--- The job that a command line with code stands for.
---@param command table the values of options by name
---@param words string[]
---@param is_listed boolean
---@return table job with a field `manner` for parlua.job.run_as
function M.job(command, words, is_listed)
  if rawget(_G, "parlua") == nil then _G.parlua = require "parlua" end
  for _, name in ipairs { "filter", "map", "each" } do -- errors before anything runs
    if command[name] then expression.body(command[name], "--" .. name) end
  end
  local ending = command.finish and expression.chunk(command.finish, "--end", "value, failures, summary")
  local beginning = command.begin and expression.chunk(command.begin, "--begin")
  if command.with then load_helpers(command.with) end
  if beginning then
    local ok, raised = pcall(beginning)
    if not ok then error("the code of --begin raised an error: " .. texts.error_text(raised), 0) end
  end
  local job
  if can_go_in_blocks(command, words) and not is_listed then
    job = block_job(command, words)
  else
    local arguments = arguments_module.of(command, words, is_listed)
    if arguments.shape == "words" and (arguments.count or 1) > 1 then
      error(("a task has %d words, one of each list behind :::, of which code on the command line would see the first "
        .. "alone; --exec sees all ({1}, {2}), and a script by parlua.product(list, list)"):format(arguments.count), 0)
    end
    job = tasks_job(command, arguments.source, arguments.shape == "rows")
  end
  if ending then
    function job.finish(value, failures, summary) ending(value, failures, summary) end
    job.manner.finish = "the code of --end"
  end
  return job
end

return M
