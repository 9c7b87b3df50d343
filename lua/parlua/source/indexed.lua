--- Indexed sources: the code that makes the arguments of task i from i alone. It goes into the worker's loop, where
--- LuaJIT compiles it together with the map function.
local common = require "parlua.common"
local own = require "parlua.lazy" "parlua.source.own"

local concat = require("parlua.wire.start").libraries.table.concat -- a script may have put its own in its place
local M = {}

--- By kind of source: function(source, builder, i) -> expressions.
local makes = {}
M.makes = makes

-- A source of more values is not written out in the code, but made in a table: a function of LuaJIT has at most 60
-- upvalues and 200 locals, and a call a frame of 250 slots.
local MOST_WRITTEN = 12

local function emit(source, builder, i)
  return makes[source.kind](source, builder, i)
end

--- How many values a task of the source has; for parts that are lists, whose items may be spread, see `spread`.
---@return integer
local function width(source)
  if source.kind == "record" or not source.parts or source.kind == "batch" then return 1 end
  local sum = source.kind == "enumerate" and 1 or 0
  for _, part in ipairs(source.parts) do sum = sum + width(part) end
  return sum
end
M.width = width

--- Do tasks of the source get copies of what it holds? Not where there are but numbers.
---@param source table
---@return boolean
function M.has_copies(source)
  if not makes[source.kind] or source.kind == "range" then return false end
  if not source.parts then return true end
  for _, part in ipairs(source.parts) do
    if M.has_copies(part) then return true end
  end
  return false
end

--- Appends to `builder` what makes the arguments of task `i` (the name of a number from 1). Returns the expressions,
--- the last of which may have several values.
---@param source parlua.Source
---@param builder parlua.Builder
---@param i string
---@return string[]
function M.emit(source, builder, i)
  local n = width(source)
  if n <= MOST_WRITTEN then
    local expressions = emit(source, builder, i)
    if builder.items[1] then
      own.emit(builder, builder.items)
      builder.items = {}
    end
    return expressions
  end
  local fill = M.filler(source)
  local function values(index)
    local list = {}
    fill(list, 0, index)
    return own.own_items(list, n)
  end
  return { ("unpack(%s(%s), 1, %d)"):format(builder:constant(values), i, n) }
end

local fillers = {}

--- A function (list, at, i) that puts the arguments of task i into a list, behind `at`, and returns where the last one
--- stands.
function M.filler(source)
  local make = fillers[source.kind]
  if make then return make(source) end
  local value = M.maker(source) -- of one value
  return function(list, at, i)
    list[at + 1] = value(i)
    return at + 1
  end
end

function fillers.list(source)
  local items = source.items
  return function(list, at, i)
    list[at + 1] = items[i]
    return at + 1
  end
end

local function fillers_of(source)
  local list = {}
  for k, part in ipairs(source.parts) do list[k] = M.filler(part) end
  return list
end

function fillers.zip(source)
  local parts = fillers_of(source)
  return function(list, at, i)
    for k = 1, #parts do at = parts[k](list, at, i) end
    return at
  end
end

function fillers.product(source)
  local parts, n, indices = fillers_of(source), {}, {}
  for k, part in ipairs(source.parts) do n[k] = part.n end
  return function(list, at, i)
    local rest = i - 1
    for k = #parts, 2, -1 do
      local quotient = math.floor(rest / n[k])
      indices[k], rest = rest - quotient * n[k] + 1, quotient
    end
    indices[1] = rest + 1
    for k = 1, #parts do at = parts[k](list, at, indices[k]) end
    return at
  end
end

function fillers.take(source) return M.filler(source.parts[1]) end

function fillers.enumerate(source)
  local fill = M.filler(source.parts[1])
  return function(list, at, i)
    list[at + 1] = i
    return fill(list, at + 1, i)
  end
end

function makes.range(source, builder, i)
  local first, step = source.first, source.step
  if step == 1 then
    if first == 1 then return { i } end
    return { ("(%s + %s)"):format(i, builder:constant(first - 1)) }
  end
  return { ("(%s + (%s - 1) * %s)"):format(builder:constant(first), i, builder:constant(step)) }
end

--- The builder's items become the task's own when all its arguments are known.
local function add_item(builder, expression)
  local name = builder:variable(expression)
  table.insert(builder.items, name)
  return name
end

function makes.list(source, builder, i)
  return { add_item(builder, ("%s[%s]"):format(builder:constant(source.items), i)) }
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

--- One table with named fields.
function makes.record(source, builder, i)
  local names, part = source.names, source.parts[1]
  if #names <= MOST_WRITTEN then
    local fields = {}
    for k, expression in ipairs(emit(part, builder, i)) do fields[k] = ("[%q] = %s"):format(names[k], expression) end
    return { "{ " .. concat(fields, ", ") .. " }" }
  end
  local fill = M.filler(part)
  local function record(index)
    local list, made = {}, {}
    fill(list, 0, index)
    own.own_items(list, #names)
    for k, name in ipairs(names) do made[name] = list[k] end
    return made
  end
  return { ("%s(%s)"):format(builder:constant(record), i) }
end

--- The items of a list of lists, each spread over several arguments.
function makes.spread(source, builder, i)
  local list = add_item(builder, ("%s[%s]"):format(builder:constant(source.items), i))
  return { ("unpack(%s, 1, %s.n or #%s)"):format(list, list, list) }
end

function makes.take(source, builder, i) return emit(source.parts[1], builder, i) end

function makes.enumerate(source, builder, i) return { i, unpack(emit(source.parts[1], builder, i)) } end

--- One value as it is, several as a list with `n`. Tables are copied: a generator may give the same one again and
--- again.
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
---@field items string[] variables with items of lists that the task is to have copies of
local Builder = {}
Builder.__index = Builder

function M.builder()
  return setmetatable({ lines = {}, names = {}, constants = {}, items = {}, variables = 0 }, Builder)
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
  local expressions = M.emit(source, builder, "i")
  local names = concat(builder.names, ", ")
  local text = ("local floor, unpack%s = ...\nreturn function(i)\n%s\nreturn %s\nend"):format(
    names ~= "" and ", " .. names or "",
    concat(builder.lines, "\n"), concat(expressions, ", "))
  return common.compile(text, "=parlua.source")(math.floor, unpack, unpack(builder.constants))
end

return M
