--- What values the options take. Called by parlua.options for values of calls, of jobs, of the command line and of the
--- environment.
local common = require "parlua.common"

local M = {}

---@alias parlua.OptionCheck fun(spec: parlua.Option, value: any, is_text: boolean): any

--- Every integer up to this is a double.
M.LARGEST_INTEGER = 2 ^ 53

local SIZE_UNITS = { [""] = 1, K = 2 ^ 10, M = 2 ^ 20, G = 2 ^ 30, T = 2 ^ 40 }
local TIME_UNITS = { [""] = 1, ms = 1e-3, s = 1, sec = 1, m = 60, min = 60, h = 3600, d = 86400 }

--- "512M" -> 536870912; nil when it is no size.
function M.parse_size(text)
  local number, unit = text:upper():match("^%s*([%d.]+)%s*([KMGT]?)I?B?%s*$")
  number = tonumber(number)
  return number and math.floor(number * SIZE_UNITS[unit])
end

--- "5s" -> 5, "1h30m" -> 5400; nil when it is no duration.
local function parse_seconds(text)
  local number, unit = text:lower():match("^%s*([%d.e+-]+)%s*(%a*)%s*$")
  number = tonumber(number)
  if number then return TIME_UNITS[unit] and number * TIME_UNITS[unit] end
  local sum, rest = 0, text:lower():gsub("%s+", "")
  repeat
    number, unit, rest = rest:match("^([%d.]+)(%a+)(.*)$")
    if not tonumber(number) or not TIME_UNITS[unit] then return nil end
    sum = sum + tonumber(number) * TIME_UNITS[unit]
  until rest == ""
  return sum
end

local BOOLEANS = { ["true"] = true, yes = true, on = true, ["1"] = true,
                   ["false"] = false, no = false, off = false, ["0"] = false }

local function is_one_of(value, values)
  for _, allowed in ipairs(values) do
    if value == allowed then return true end
  end
  return false
end

--- By the type of an option: the value to use, or nil when the given one is wrong. `is_text`: it comes from the command
--- line or the environment, where everything is a string.
---@type table<string, parlua.OptionCheck>
local checks = {}
M.checks = checks

--- A number of seconds, or a duration as text: `min` itself is allowed where the option says so.
function checks.seconds(spec, value)
  if type(value) == "string" then value = parse_seconds(value) end
  if type(value) ~= "number" or not (value < math.huge) then return nil end
  return (value > spec.min or spec.allows_min and value == spec.min) and value or nil
end

function checks.integer(spec, value, is_text)
  if is_text then value = tonumber(value) end
  local right = type(value) == "number" and value >= spec.min and value <= spec.max and value % 1 == 0
  return right and value or nil
end

--- A number of tasks, or a share of them as text: "5%".
function checks.limit(spec, value, is_text)
  local share = type(value) == "string" and tonumber(value:match("^%s*([%d.]+)%s*%%%s*$"))
  if share then return share > 0 and share <= 100 and share .. "%" or nil end
  return checks.integer(spec, value, is_text)
end

--- A list of words, or text with commas between them.
function checks.kinds(spec, value)
  if type(value) == "string" then
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
  if type(value) == "string" then value = M.parse_size(value) end
  local right = type(value) == "number" and value >= spec.min and value <= M.LARGEST_INTEGER
  return right and math.floor(value) or nil
end

function checks.boolean(_, value, is_text)
  if is_text then value = BOOLEANS[value:lower()] end
  if type(value) == "boolean" then return value end
end

function checks.choice(spec, value)
  return is_one_of(value, spec.values) and value or nil
end

function checks.reaction(spec, value)
  return (common.is_callable(value) or is_one_of(value, spec.values)) and value or nil
end

function checks.progress(spec, value)
  return (type(value) == "function" or is_one_of(value, spec.values)) and value or nil
end

--- The number of this job within its array, and how many there are; nil: it is in none. Raises where the array has
--- gaps: there the numbers do not tell which part is whose.
local function place_in_array()
  local function variable(name) return tonumber(os.getenv("SLURM_ARRAY_TASK_" .. name)) end
  local id, least, most, count = variable "ID", variable "MIN", variable "MAX", variable "COUNT"
  if not (id and least and count) then return nil end
  local step = math.max(variable "STEP" or 1, 1)
  if most and (most - least) / step + 1 ~= count then
    error(("the option shard: 'slurm' takes a job array without gaps, and this one has %d of the numbers from %d to "
      .. "%d; name the part yourself, as in --shard $SLURM_ARRAY_TASK_ID/%d"):format(count, least, most, most), 0)
  end
  return (id - least) / step + 1, count
end

--- A part of a job: "3/10", "3/10:block"; "slurm": by the variables of a job array.
function checks.shard(_, value)
  if type(value) == "table" then return type(value.number) == "number" and value or nil end
  if type(value) ~= "string" then return nil end
  local which, way = value:match("^%s*([^:]*)(:?%l*)%s*$")
  if way ~= "" and way ~= ":block" then return nil end
  local number, count = (which or ""):match("^(%d+)/(%d+)$")
  number, count = tonumber(number), tonumber(count)
  if which == "slurm" then number, count = place_in_array() end
  if not number or not count or number < 1 or number > count or number % 1 ~= 0 then return nil end
  return { number = number, count = count, is_block = way == ":block" }
end

--- Seconds, or "slurm": what the batch job has left.
function checks.deadline(spec, value)
  if value == "slurm" then return value end
  return checks.seconds(spec, value)
end

function checks.path(_, value)
  return type(value) == "string" and value ~= "" and not value:find("%z") and value or nil
end

function checks.array(_, value) return type(value) == "cdata" and require("parlua.array").is(value) and value or nil end

function checks.element(_, value) return require("parlua.array.kinds").of(value) and value or nil end

function checks.number(_, value) return (type(value) == "number" or type(value) == "cdata") and value or nil end

checks["function"] = function(_, value)
  return type(value) == "function" and value or nil
end

return M
