--- What a reducer is (sink/reducers.lua has the ready ones): its fields, how one becomes that of a part of each result,
--- and what it refuses.
local missing = require "parlua.lazy" "parlua.worker.missing"
local value_module = require "parlua.lazy" "parlua.value"

local M = {}

---@class parlua.Reducer
---@field init any
---@field step fun(accumulator, result, index: integer): any
---@field merge? fun(a, b): any
---@field finish? fun(accumulator): any
---@field fields? table<string, true> all that it looks at of a result are these fields; nil: that is not known
---@field check? fun(result) raises what `step` would raise for the result: of several reducers none takes a result that
--- one can't take
---@field flat? parlua.Flat its accumulators are a few numbers (worker/groups.lua)
---@field groups? {flat: parlua.Flat, merge: fun(a, b): any} they are tables by keys, of such accumulators
local Reducer = {}
Reducer.__index = Reducer

function M.new(reducer) return setmetatable(reducer, Reducer) end
local new = M.new

function M.is(value) return getmetatable(value) == Reducer end

--- A function that takes out of a result what counts: a field's name, a function, or nil for the result itself.
function M.picker(of, where, level)
  if type(of) == "function" then return of end
  if type(of) == "string" or type(of) == "number" then
    return function(result) return result[of] end
  end
  error(("%s: the name of a field or a function is expected, got %s"):format(
    where, of == nil and "nothing" or type(of)), level + 1)
end

--- A part's name, for what is told of results that lack it.
function M.part_name(of) return type(of) == "function" and "part" or ("field %s"):format(
  value_module.format(of)) end

--- The set of the fields that a part is: one field's name; nil: not known.
function M.fields_of(of, others)
  if type(of) ~= "string" then return nil end
  local fields = { [of] = true }
  for name in pairs(others or {}) do fields[name] = true end
  return fields
end

--- Raises for a string that stands where a number is expected. `field`: where it was found.
local function refuse(v, field)
  error(("%sa number is expected, got the string %s"):format(field and field .. ": " or "", value_module.quote(v, 40)),
    0)
end

--- Raises for a result that numbers can't be made of.
function M.check_number(v, field)
  if type(v) == "string" and not tonumber(v) then refuse(v, field) end
  if v ~= nil then return v + 0 end
end

--- Raises for a result that has no place among numbers: "N/A" is not to become the least of them because it comes
--- first.
function M.check_comparable(v, field)
  if type(v) == "string" then refuse(v, field) end
  if v ~= nil and v < v then return nil end
end

--- The reducer over a part of each result.
function Reducer:__call(of)
  local pick, step, check, name = M.picker(of, "a reducer's part", 2), self.step, self.check, M.part_name(of)
  return new {
    init = self.init, merge = self.merge, finish = self.finish, fields = M.fields_of(of), flat = self.flat,
    step = function(accumulator, result, index)
      if result == nil then return accumulator end
      local part = pick(result)
      if part == nil then missing.note(name, index) end
      if type(part) == "string" and check then check(part, name) end -- to be told with the field
      return step(accumulator, part, index)
    end,
    check = function(result)
      if result == nil then return end
      local part = pick(result)
      if check then check(part, name) end
    end,
  }
end

return M
