--- Classes of the objects among a run's arguments. Workers with a state of their own get them with the job: then an
--- object costs its fields, and what comes back is of the script's own class. Only what stands in lists is looked at,
--- and of long ones some items: what an iterator will give is not known. An object whose class was not found brings a
--- copy of it.
require("jit").off(true, true)

local MOST_ITEMS, MOST_TABLES, MOST_CLASSES = 200, 2000, 100

local getmetatable = debug.getmetatable

local function is_source(value) return type(value) == "table" and type(rawget(value, "kind")) == "string" end

--- Adds the lists of items in a source, also in sources that it is made of.
local function add_lists(source, lists, depth)
  for key, value in next, source do
    if type(value) == "table" then
      if key == "items" then
        lists[#lists + 1] = value
      elseif depth < 4 and (is_source(value) or is_source(rawget(value, 1))) then
        add_lists(value, lists, depth + 1)
      end
    end
  end
end

--- Are there tables among the items of a list that are looked at?
local function has_tables(items)
  local n = #items
  for i = 1, n, math.max(1, math.floor(n / MOST_ITEMS)) do
    if type(items[i]) == "table" then return true end
  end
  return false
end

--- The classes: a list of tables; nil: there are none.
---@param source table
return function(source)
  if source.kind == "list" and not has_tables(source.items) then return nil end
  local lists, classes, seen, queue, count = {}, {}, {}, {}, 0
  if type(source) == "table" then add_lists(source, lists, 1) end
  local function visit(value)
    if type(value) == "table" and not seen[value] and count < MOST_TABLES then
      seen[value] = true
      count = count + 1
      queue[count] = value
    end
  end
  for _, items in ipairs(lists) do
    local n = #items
    for i = 1, n, math.max(1, math.floor(n / MOST_ITEMS)) do visit(items[i]) end
  end
  local at = 0
  while at < count and #classes < MOST_CLASSES do
    at = at + 1
    local value = queue[at]
    local class = getmetatable(value)
    if type(class) == "table" and not seen[class] then
      seen[class] = true
      classes[#classes + 1] = class
    end
    for _, field in next, value do visit(field) end
  end
  return classes[1] and classes
end
