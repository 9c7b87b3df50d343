--- What a reduction is about: sorts what reduce, or a job, was given into the reduction's own fields and the options of
--- a run.
local common = require "parlua.common"
local options_module = require "parlua.options"
local reducers = require "parlua.sink.reducers"

local M = {}

local own_fields = { "init", "step", "merge", "stop", "finish", "block" }
local is_own = {}
for _, name in ipairs(own_fields) do is_own[name] = true end

--- Fields that stand without their names, as in { 0, function ... end }.
local function hint_of(rest)
  if not rest or rest[1] == nil then return "" end
  return "; its fields have names: { init = 0, step = function(sum, x) return sum + x end }"
end

local function check_function(plan, name, rest)
  local value, is_needed = plan[name], rest ~= nil
  if value == nil and not is_needed then return end
  if common.is_callable(value) and not reducers.is(value) then return end
  error(("reduce: %s must be a function%s, got %s%s"):format(name,
    name == "step" and " (accumulator, result, index)" or "", value == nil and "nothing" or type(value),
    hint_of(rest)), 0)
end

--- Takes the fields of a reduction out of a table; the rest are options.
local function sort_fields(reduction, plan, rest)
  local named
  for name, value in pairs(reduction) do
    if reducers.is(value) then
      named = named or {}
      named[name] = value
    elseif is_own[name] then
      plan[name] = value
    else
      local hint = reducers.uncalled(value)
      if hint ~= "" then error(("reduce: '%s' must be a reducer, got function%s"):format(tostring(name), hint), 0) end
      rest[name] = value
    end
  end
  return named
end

local function use_reducer(plan, reducer)
  if plan.merge == nil and plan.init == nil and plan.step == nil then plan.groups = reducer.groups end
  for name in pairs(is_own) do
    if plan[name] == nil then plan[name] = reducer[name] end
  end
  plan.is_ready, plan.fields = true, reducer.fields
end

local function check_block(block)
  if block ~= nil and (type(block) ~= "number" or block < 1 or block % 1 ~= 0 or block > 2 ^ 30) then
    error(("wrong value for the option block, from the call: %s; it takes an integer from 1 to "
      .. "2^30"):format(tostring(block)), 0)
  end
end

--- A name that is nearly one of a reduction's fields, and no option, or nearer to the field: or any that is nearly one,
--- where it explains a missing step.
local function check_names(rest, has_step)
  for name in pairs(rest) do
    if type(name) == "string" and not (has_step and options_module.spec(name)) then
      local nearest, errors = options_module.nearest(name, own_fields)
      local _, others = options_module.nearest(name, options_module.call_names())
      if errors <= 2 and (errors <= others or not has_step) then
        error(("unknown option %s in the call; did you mean %s?"):format(name, nearest), 0)
      end
    end
  end
end

--- Sorts it.
---@param reduction table a reducer, or a table with the reduction's fields or with reducers by name, and options
---@return table plan init, step, merge, stop, finish, block; is_ready: it is made of ready reducers
---@return table options
function M.of(reduction, options)
  local plan, rest = {}, {}
  if type(reduction) ~= "table" then
    error(("reduce: a reducer, a table with step, or a table of reducers is expected, got %s"):format(
      reduction == nil and "nothing" or type(reduction)) .. reducers.uncalled(reduction), 0)
  end
  local named
  if reducers.is(reduction) then use_reducer(plan, reduction) else named = sort_fields(reduction, plan, rest) end
  if options ~= nil and type(options) ~= "table" then
    error("reduce: options must be a table, got " .. type(options), 0)
  end
  for name, value in pairs(options or {}) do
    if (name == "stop" or name == "block") and plan[name] == nil then plan[name] = value else rest[name] = value end
  end
  if named then
    if plan.step ~= nil then error("reduce: either step or reducers by name, not both", 0) end
    local finish = plan.finish
    plan.init, plan.merge = nil, nil
    use_reducer(plan, reducers.of(named, "reduce"))
    plan.finish = finish or plan.finish
  end
  check_names(rest, plan.step ~= nil)
  check_function(plan, "step", rest)
  for _, name in ipairs { "merge", "stop", "finish" } do check_function(plan, name) end
  check_block(plan.block)
  return plan, rest
end

return M
