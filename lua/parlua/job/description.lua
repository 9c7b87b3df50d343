--- What a job's table says: its fields are checked, its source and its reduction are made.
local common = require "parlua.common"
local options_module = require "parlua.options"
local reducers = require "parlua.lazy" "parlua.sink.reducers"
local rows = require "parlua.lazy" "parlua.feed.rows"
local texts = require "parlua.job.text"

local format = string.format

local M = {}

local FIELDS = { "arguments", "map", "options", "finish", "reduce", "stop", "columns" }
local ALSO_MEANT = { args = "arguments", opts = "options" }
-- no misspelt fields: as soon helpers of the job's own
local OF_REDUCTIONS = { init = true, step = true, merge = true, block = true }

--- The field that a name was probably meant to be, or nil. The longer the field, the more may be wrong: `max` is not
-- a mistaken `map`.
local function meant_field(name)
  if ALSO_MEANT[name] then return ALSO_MEANT[name] end
  if OF_REDUCTIONS[name] then return nil end
  local field, errors = options_module.nearest(name, FIELDS)
  return errors <= math.floor(#field / 4) and field or nil
end

--- A function of another name that may be what was to be `map`.
local function mistaken_map(job, names)
  for _, name in ipairs(names) do
    local _, errors = options_module.nearest(name, { "map" })
    if type(job[name]) == "function" and errors <= 1 then
      return format(", but one of the name `%s`", name)
    end
  end
  return ""
end

--- Says what is wrong with a job's table, or nil.
function M.complaint(job)
  if type(job) ~= "table" then return format("a job is a table with a function `map`, not a %s", type(job)) end
  local names = {}
  for name in pairs(job) do
    if type(name) == "string" then names[#names + 1] = name end
  end
  table.sort(names)
  local known = {}
  for _, field in ipairs(FIELDS) do known[field] = true end
  for _, name in ipairs(names) do
    local field = not known[name] and meant_field(name)
    if field and job[field] == nil then
      return format("unknown field `%s` in the job: did you mean `%s`?", name, field)
    end
  end
  if type(job.map) ~= "function" then
    return job.map == nil and "the job has no function `map`" .. mistaken_map(job, names)
      or format("the job's `map` must be a function, it is a %s", type(job.map))
  end
  if job.finish ~= nil and type(job.finish) ~= "function" then
    return format("the job's `finish` must be a function, it is a %s", type(job.finish))
  end
  if job.stop ~= nil and type(job.stop) ~= "function" then
    return format("the job's `stop` must be a function, it is a %s", type(job.stop))
  end
  local ok, message = pcall(rows.check_columns, job.columns, "the job")
  if not ok then return message end
  if job.options ~= nil and type(job.options) ~= "table" then
    return format("the job's `options` must be a table, it is a %s", type(job.options))
  end
  return options_module.misplaced(job)
end

--- What the job's `reduce` is about: a reducer, a table of them, a table with `step`, or a function: then that is the
--- step. Returns nil
-- where the job has none; or nil and a message.
function M.plan(job)
  local reduction = job.reduce
  if reduction == nil then return nil end
  if type(reduction) == "function" and reducers.uncalled(reduction) == "" then reduction = { step = reduction } end
  local right, plan, rest = pcall(require("parlua.sink.plan").of, reduction, { stop = job.stop })
  if not right then return nil, format("the job's `reduce`: %s", (tostring(plan):gsub("^reduce: ", ""))) end
  local name = next(rest)
  if name ~= nil then
    return nil, format("the job's `reduce` has a field `%s` that means nothing: options go into the job's `options`",
      tostring(name))
  end
  return plan
end

local SOURCES = { table = true, ["function"] = true, thread = true }
local SOURCE_ADVICE = "it must be a list, a generator such as parlua.range(1, 10), or an iterator"

--- Calls the job's function `arguments`. Returns the source of tasks, or nil and a message.
local function call_arguments(f, ...)
  local thread = coroutine.create(f)
  local results = common.pack(coroutine.resume(thread, ...))
  if not results[1] then
    return nil, "the job's `arguments` raised an error: " .. debug.traceback(thread, texts.error_text(results[2]))
  end
  if coroutine.status(thread) == "suspended" then return common.yields(thread, results) end
  local source = results[2]
  if source == nil then return nil, "the job's `arguments` returned nothing: " .. SOURCE_ADVICE end
  if not SOURCES[type(source)] then
    return nil, format("the job's `arguments` returned a %s: %s", type(source), SOURCE_ADVICE)
  end
  if type(source) ~= "function" or results.n < 3 then return source end
  -- An iterator with state and control variable, as ipairs and io.lines return.
  local state, control = results[3], results[4]
  local function take(...)
    control = ...
    return ...
  end
  return function() return take(source(state, control)) end
end

--- The source of the job's tasks, or nil and a message.
function M.arguments(job, ...)
  local arguments = job.arguments
  if type(arguments) == "function" then return call_arguments(arguments, ...) end
  if arguments == nil then
    if select("#", ...) == 0 then
      return nil, "there are no tasks: the job has no `arguments`, and the command line has no words after the script"
    end
    return { ... }
  end
  if not SOURCES[type(arguments)] then
    return nil, format("the job's `arguments` is a %s: %s, or a function that returns one", type(arguments),
      SOURCE_ADVICE)
  end
  return arguments
end

return M
