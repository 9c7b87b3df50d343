--- Copies of arguments and results: each task has its own, so what it changes is seen by no other task, no later call and no second try.
--- Numbers, strings and all that can't be changed are not copied. Requires nothing.
local M = {}

local shared = {} -- tables that stay what they are: modules

--- Looks at what modules there are now. Called before tasks run.
function M.refresh()
  for _, module in pairs(package.loaded) do
    if type(module) == "table" then shared[module] = true end
  end
end
M.refresh()

--- Copies a table with all that is in it: shared references and cycles stay as they are among the copies. Metatables, and what they index,
--- are not copied, nor modules, functions, userdata and cdata. 0.15 us for a small table. Not by recursion: lists may be long chains.
---@param root table
---@return table
local function copy(root)
  if shared[root] then return root end
  local made = {}
  local copies, queue, n = { [root] = made }, { root }, 1
  local function place(value)
    local copied = copies[value]
    if copied then return copied end
    if shared[value] then return value end
    copied = {}
    copies[value] = copied
    n = n + 1
    queue[n] = value
    return copied
  end
  while n > 0 do
    local from = queue[n]
    queue[n], n = nil, n - 1
    local to, meta = copies[from], debug.getmetatable(from)
    if meta then -- a class: a field that leads to it leads to the same
      copies[meta] = copies[meta] or meta
      local class = rawget(meta, "__index")
      if type(class) == "table" and class ~= from then copies[class] = copies[class] or class end
    end
    for key, value in next, from do
      if type(key) == "table" then key = place(key) end
      if type(value) == "table" then value = place(value) end
      to[key] = value
    end
    if meta then debug.setmetatable(to, meta) end
  end
  return made
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
