--- Copies of arguments and results: each task has its own, so what it changes is seen by no other task, no later call and no second try.
--- Numbers, strings and all that can't be changed are not copied. 0.2 us for a small table (src/lua/copy.c).
local table_copy = require "parlua.copy"

local M = {}

local copy = table_copy.copy

--- Looks at what modules there are now: they are not copied. Called before tasks run.
M.refresh = table_copy.refresh

--- A copy of a table.
M.copy = copy

--- An expression for the task's own value of another one. The check is written out: for numbers the compiled code has nothing of it.
---@param expression string may be evaluated twice
---@param name string of M.copy in the code
function M.expression(expression, name)
  return ("(type(%s) == 'table' and %s(%s) or %s)"):format(expression, name, expression, expression)
end

--- A value that a task may change: a copy, if it is a table.
function M.own(value)
  if type(value) == "table" then return copy(value) end
  return value
end

--- The same of several values in a table with n, in which `has_tables` says whether there is something to copy.
function M.own_all(values)
  if not values.has_tables then return values end
  local made = { n = values.n }
  for k = 1, values.n do made[k] = M.own(values[k]) end
  return made
end

--- Several values in a table with n, and `has_tables`; tables among them are copied.
function M.pack(...)
  local values = { n = select("#", ...), ... }
  for k = 1, values.n do
    if type(values[k]) == "table" then values[k], values.has_tables = copy(values[k]), true end
  end
  return values
end

return M
