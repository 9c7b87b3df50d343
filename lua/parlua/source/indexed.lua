--- Indexed sources: what is known of them. The code that makes the arguments of task i from i alone stands in
--- expressions.lua, which adds to this module where there is such a source.
local M = {}

local kinds = {
  range = true, list = true, spread = true,
  batch = true, enumerate = true, product = true, record = true, take = true, zip = true,
}

--- Can the arguments of tasks of such a source be made from their index?
---@param kind string
function M.is_indexed(kind) return kinds[kind] ~= nil end

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

local FEW_ITEMS = 16 -- that are looked at
local is_changed_by_tasks = { table = true, cdata = true, userdata = true }

--- Is the source, or its description, a short list of values that no task can change?
---@return boolean
function M.is_plain_list(source)
  if source.kind ~= "list" or source.n > FEW_ITEMS then return false end
  local items = source.items
  for k = 1, source.n do
    if is_changed_by_tasks[type(items[k])] then return false end
  end
  return true
end

--- Do tasks of the source get copies of what it holds? Not where there are but numbers.
---@param source table
---@return boolean
function M.has_copies(source)
  if not M.is_indexed(source.kind) or source.kind == "range" or M.is_plain_list(source) then return false end
  if not source.parts then return true end
  for _, part in ipairs(source.parts) do
    if M.has_copies(part) then return true end
  end
  return false
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

return setmetatable(M, {
  __index = function(_, name)
    require "parlua.source.expressions"(M)
    setmetatable(M, nil)
    return M[name]
  end,
})
