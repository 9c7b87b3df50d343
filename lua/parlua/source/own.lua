--- Copies of arguments and results: each task has its own, so what it changes is seen by no other task, no later call
--- and no second try. Numbers, strings and all that can't be changed are not copied. 0.2 us for a small table
--- (src/lua/copy.c).
local captured = require "parlua.wire.captured"
local table_copy = require "parlua.copy"

local M = {}

local copy = table_copy.copy

--- Looks at what modules there are now, and what the map function and `setup` have captured: these are not copied.
--- Called before tasks run.
function M.refresh(f, setup) table_copy.refresh(captured({ f, setup }, 2)) end

--- A copy of a table.
M.copy = copy

--- A copy of a result; what the function has captured and not changed stays what it is.
M.copy_result = table_copy.copy_result

--- An expression for the task's own value of another one. The check is written out: for numbers the compiled code has
--- nothing of it.
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

--- The same of a task's result.
function M.own_result(value)
  if type(value) == "table" then return M.copy_result(value) end
  return value
end

--- The same of several values in a table with n, in which `has_tables` says whether there is something to copy.
function M.own_all(values)
  if not values.has_tables then return values end
  local made = copy(values)
  made.has_tables = nil -- failures show what is in it
  return made
end

--- One copy of all: what they share, their copies share.
local function pack(copy_all, ...)
  local values = { n = select("#", ...), ... }
  for k = 1, values.n do
    if type(values[k]) == "table" then
      values.has_tables = true
      return copy_all(values)
    end
  end
  return values
end

--- Several values in a table with n, and `has_tables`; tables among them are copied.
function M.pack(...) return pack(copy, ...) end

--- The same of a task's results.
function M.pack_results(...) return pack(M.copy_result, ...) end

return M
