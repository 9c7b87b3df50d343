--- Several reducers as one, which goes through the results once.
local start = require "parlua.wire.start"
local fold = require "parlua.lazy" "parlua.worker.fold"
local flat_groups = require "parlua.worker.groups"
local reducer_module = require "parlua.sink.reducer"

local M = {}

local AT_ONCE = 50 -- functions that one function calls: it has each as an upvalue, of which there are 60 at most

--- One function that calls several, in one pass, without a loop. More than it can have are called by several such
--- functions.
---@param head string its parameters, of which the first is what it returns
---@param line string the call of function number #
local function in_turn(head, line, tail, functions)
  local parts = {}
  for from = 1, #functions, AT_ONCE do
    local parameters, lines, some = {}, {}, {}
    for k = from, math.min(from + AT_ONCE - 1, #functions) do
      parameters[#parameters + 1], some[#some + 1] = "f" .. k, functions[k]
      lines[#lines + 1] = line:gsub("#", tostring(k))
    end
    local text = ("local %s = ...\nreturn function%s\n%s\n%s end"):format(table.concat(parameters, ", "), head,
      table.concat(lines, "\n"), tail)
    parts[#parts + 1] = start.compile(text, "=parlua.reducers")(unpack(some))
  end
  if #parts == 1 then return parts[1] end
  return in_turn(head, "f#" .. head, tail, parts)
end

--- Several reducers in one pass; their values come in a table by their names.
---@param count parlua.Reducer parlua.count, which looks at no field
function M.of(names, reducers, count)
  local inits, steps, merges, checks, n, fields, flats = {}, {}, {}, {}, #names, {}, { n = #names }
  for k, name in ipairs(names) do
    local reducer = reducers[name]
    flats[k] = reducer.flat
    inits[k], steps[k], merges[k] = reducer.init, reducer.step, reducer.merge
    if reducer.check then checks[#checks + 1] = reducer.check end
    if fields and reducer.fields then
      for field in pairs(reducer.fields) do fields[field] = true end
    elseif reducer ~= count then
      fields = nil
    end
  end
  local add = in_turn("(a, v, i)", "a[#] = f#(a[#], v, i)", "return a", steps)
  local check = #checks > 0 and in_turn("(v)", "f#(v)", "", checks) or nil
  return reducer_module.new {
    init = function()
      local accumulators = {}
      for k = 1, n do accumulators[k] = fold.fresh(inits[k]) end
      return accumulators
    end,
    check = check, fields = fields, flat = flat_groups.together(flats),
    step = check and function(a, v, i)
      check(v)
      return add(a, v, i)
    end or add,
    merge = #merges == n and in_turn("(a, b)", "a[#] = f#(a[#], b[#])", "return a", merges) or nil,
    finish = function(accumulators)
      local values = {}
      for k, name in ipairs(names) do
        local finish = reducers[name].finish
        local value = accumulators[k]
        if finish then value = finish(value) end
        values[name] = value
      end
      return values
    end,
  }
end

return M
