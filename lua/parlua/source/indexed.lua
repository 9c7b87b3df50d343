--- Indexed sources: the code that makes the arguments of task i from i alone. It goes into the worker's loop, where
--- LuaJIT compiles it together with the map function.
local common = require "parlua.common"
local own = require "parlua.lazy" "parlua.source.own"

local concat = require("parlua.wire.start").libraries.table.concat -- a script may have put its own in its place
local M = {}

--- By kind of source: function(source, builder, i) -> expressions; function(source) -> see M.filler.
local makes, fillers = {}, {}
M.makes, M.fillers = makes, fillers

-- Sources that are made of others: combined.lua, which is loaded where there is one.
local combined = { batch = true, enumerate = true, product = true, record = true, take = true, zip = true }

--- Can the arguments of tasks of such a source be made from their index?
---@param kind string
function M.is_indexed(kind) return makes[kind] ~= nil or combined[kind] ~= nil end

--- What is known of a kind of source.
local function known(by_kind, kind)
  if combined[kind] and not makes[kind] then require("parlua.source.combined")(M) end
  return by_kind[kind]
end

-- A source of more values is not written out in the code, but made in a table: a function of LuaJIT has at most 60
-- upvalues and 200 locals, and a call a frame of 250 slots.
local MOST_WRITTEN = 12
M.MOST_WRITTEN = MOST_WRITTEN

--- The expressions of one source, whatever they are.
local function emit(source, builder, i)
  return known(makes, source.kind)(source, builder, i)
end
M.emit_part = emit

--- How many values a task of the source has; for parts that are lists, whose items may be spread, see `spread`.
---@return integer
local function width(source)
  if source.kind == "record" or not source.parts or source.kind == "batch" then return 1 end
  local sum = source.kind == "enumerate" and 1 or 0
  for _, part in ipairs(source.parts) do sum = sum + width(part) end
  return sum
end
M.width = width

local FEW = 256 -- tasks: LuaJIT compiles no trace for fewer, and it does not pay to look at their function

--- Is the source, or its description as workers get it, known to have so few tasks?
---@return boolean
function M.is_few(source) return source.is_few or source.n ~= nil and source.n < FEW end

--- Do tasks of the source get copies of what it holds? Not where there are but numbers.
---@param source table
---@return boolean
function M.has_copies(source)
  if not M.is_indexed(source.kind) or source.kind == "range" then return false end
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

--- A function (list, at, i) that puts the arguments of task i into a list, behind `at`, and returns where the last one
--- stands.
function M.filler(source)
  local make = known(fillers, source.kind)
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

--- The items of a list of lists, each spread over several arguments.
function makes.spread(source, builder, i)
  local list = add_item(builder, ("%s[%s]"):format(builder:constant(source.items), i))
  return { ("unpack(%s, 1, %s.n or #%s)"):format(list, list, list) }
end

--- One value as it is, several as a list with `n`. Tables are copied: a generator may give the same one again and
--- again.
function M.pack(...)
  if select("#", ...) == 1 then return own.own((...)) end
  local values = own.pack(...)
  values.has_tables = nil
  return values
end

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
