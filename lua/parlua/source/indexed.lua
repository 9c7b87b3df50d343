--- Indexed sources: the code that makes the arguments of task i from i alone. It goes into the worker's loop, where LuaJIT compiles it
--- together with the map function.
local own = require "parlua.source.own"

local M = {}

--- By kind of source: function(source, builder, i) -> expressions.
local makes = {}
M.makes = makes

--- Appends to `builder` what makes the arguments of task `i` (the name of a number from 1). Returns the expressions.
---@param source parlua.Source
---@param builder parlua.Builder
---@param i string
---@return string[]
local function emit(source, builder, i)
  return makes[source.kind](source, builder, i)
end
M.emit = emit

function makes.range(source, builder, i)
  local first, step = source.first, source.step
  if step == 1 then
    if first == 1 then return { i } end
    return { ("(%s + %s)"):format(i, builder:constant(first - 1)) }
  end
  return { ("(%s + (%s - 1) * %s)"):format(builder:constant(first), i, builder:constant(step)) }
end

--- An item that is a table is copied: it is the task's own. The code asks for the type only.
function makes.list(source, builder, i)
  builder.copy = builder.copy or builder:constant(own.copy)
  return { own.expression(("%s[%s]"):format(builder:constant(source.items), i), builder.copy) }
end

function makes.product(source, builder, i)
  local parts, indices = source.parts, {}
  local rest = builder:variable(i .. " - 1")
  for k = #parts, 1, -1 do
    if k == 1 then
      indices[1] = builder:variable(rest .. " + 1")
    else
      local n = builder:constant(parts[k].n)
      local quotient = builder:variable(("floor(%s / %s)"):format(rest, n))
      indices[k] = builder:variable(("%s - %s * %s + 1"):format(rest, quotient, n))
      rest = quotient
    end
  end
  local expressions = {}
  for k, part in ipairs(parts) do
    for _, expression in ipairs(emit(part, builder, indices[k])) do expressions[#expressions + 1] = expression end
  end
  return expressions
end

function makes.zip(source, builder, i)
  local expressions = {}
  for _, part in ipairs(source.parts) do
    for _, expression in ipairs(emit(part, builder, i)) do expressions[#expressions + 1] = expression end
  end
  return expressions
end


function makes.take(source, builder, i) return emit(source.parts[1], builder, i) end

function makes.enumerate(source, builder, i) return { i, unpack(emit(source.parts[1], builder, i)) } end

--- One value as it is, several as a list with `n`. Tables are copied: a generator may give the same one again and again.
local function pack(...)
  if select("#", ...) == 1 then return own.own((...)) end
  local values = own.pack(...)
  values.has_tables = nil
  return values
end

function makes.batch(source, builder, i)
  local part, size = source.parts[1], source.size
  local make, n = M.maker(part), part.n
  local function batch(b)
    local list, first = {}, (b - 1) * size
    for k = 1, math.min(size, n - first) do list[k] = pack(make(first + k)) end
    return list
  end
  return { ("%s(%s)"):format(builder:constant(batch), i) }
end

M.pack = pack

--- Collects lines of code, and the constants that it uses.
---@class parlua.Builder
local Builder = {}
Builder.__index = Builder

function M.builder()
  return setmetatable({ lines = {}, names = {}, constants = {}, variables = 0 }, Builder)
end

--- A name for a value in the code.
function Builder:constant(value)
  local k = #self.constants + 1
  self.constants[k] = value
  self.names[k] = "c" .. k
  return self.names[k]
end

--- A new local variable with the value of `expression`.
function Builder:variable(expression)
  self.variables = self.variables + 1
  local name = "x" .. self.variables
  self.lines[#self.lines + 1] = ("local %s = %s"):format(name, expression)
  return name
end

--- A function from a task's index to its arguments, for indexed sources.
---@return fun(i: integer): ...
function M.maker(source)
  local builder = M.builder()
  local expressions = emit(source, builder, "i")
  local names = table.concat(builder.names, ", ")
  local text = ("local floor%s = ...\nreturn function(i)\n%s\nreturn %s\nend"):format(names ~= "" and ", " .. names or "",
    table.concat(builder.lines, "\n"), table.concat(expressions, ", "))
  return assert(loadstring(text, "=parlua.source"))(math.floor, unpack(builder.constants))
end

return M
