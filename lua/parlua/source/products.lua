--- Sources that combine others: every combination of their items, or their items in step.
local arrays = require "parlua.array.known"
local indexed = require "parlua.source.indexed"
local kinds = require "parlua.source.kinds"

local M = {}

local new, is_source, MOST_TASKS = kinds.new, kinds.is_source, kinds.MOST_TASKS

local MOST_ARGUMENTS = 250 -- what a call takes

local function is_part(value)
  return is_source(value) and value.n and value.kind ~= "blocks" and value.kind ~= "spread"
end

local function indexed_parts(where, names, ...)
  local parts = { ... }
  for k = 1, select("#", ...) do
    local part = parts[k]
    if type(part) == "table" and not is_source(part) or arrays.is(part) then part = kinds.list(part) end
    if not is_part(part) then
      error(("%s: %s must be a list, a range, a product or a zip, got %s"):format(
        where, names and "field " .. names[k] or "part " .. k,
        is_source(part) and part.kind or type(part)), 3)
    end
    parts[k] = part
  end
  if #parts == 0 then error(where .. ": at least one part is expected", 3) end
  return parts
end

--- Raises an error where a task would have more arguments than a call takes.
local function check_width(source, where)
  local n = indexed.width(source)
  if n > MOST_ARGUMENTS then
    error(("%s: %d arguments are more than the %d that a task may have; give it a list of them, or a product with "
      .. "named parts"):format(where, n, MOST_ARGUMENTS), 3)
  end
  return source
end

--- The names of a table's fields, in the order of the letters, or as `order` says.
local function field_names(parts, order)
  local names = {}
  for name in pairs(parts) do
    if type(name) ~= "string" then
      error(("product: either lists or parts with names, not both (there is a key %s)"):format(tostring(name)), 3)
    end
    names[#names + 1] = name
  end
  table.sort(names)
  if order == nil then return names end
  local left = {}
  for _, name in ipairs(names) do left[name] = true end
  if type(order) ~= "table" then error("product: order must be a list of names, got " .. type(order), 3) end
  for _, name in ipairs(order) do
    if not left[name] then
      error(("product: order names '%s' twice, or there is no such part"):format(tostring(name)), 3)
    end
    left[name] = nil
  end
  local missing = next(left)
  if missing then error(("product: order does not name the part '%s'"):format(missing), 3) end
  return { unpack(order) }
end

--- Is the value a list of names, one of a part among them: is what stands under `order` no part but the order of the
--- others?
local function is_order(value, parts)
  if type(value) ~= "table" or is_source(value) then return false end
  local names_part = false
  for _, name in ipairs(value) do
    if type(name) ~= "string" then return false end
    names_part = names_part or name ~= "order" and parts[name] ~= nil
  end
  return names_part
end

local function product_of(parts)
  local n, is_endless = 1, nil
  for k, part in ipairs(parts) do
    if part.is_endless and k > 1 then
      error(("product: part %d has no end; only the first may be endless"):format(k), 3)
    end
    is_endless, n = is_endless or part.is_endless, n * part.n
  end
  if is_endless and n > 0 then n = MOST_TASKS end
  if n > MOST_TASKS then error(("product: %g combinations are more than can be counted (2^53)"):format(n), 3) end
  return new { kind = "product", parts = parts, n = n, is_endless = is_endless }
end

--- Combinations with names: one table for each task.
local function named_product(given, options)
  local parts, order = {}, options and options.order
  for name, part in pairs(given) do parts[name] = part end
  if order == nil and is_order(parts.order, parts) then order, parts.order = parts.order, nil end
  local names, list = field_names(parts, order), {}
  for k, name in ipairs(names) do list[k] = parts[name] end
  list = indexed_parts("product", names, unpack(list))
  for k, part in ipairs(list) do
    if indexed.width(part) ~= 1 then
      error(("product: field %s must have one value a task, a list or a range; it is a %s"):format(
        names[k], part.kind), 3)
    end
  end
  local whole = product_of(list)
  return new { kind = "record", names = names, parts = { whole }, n = whole.n, is_endless = whole.is_endless }
end

--- Every combination of the parts; the last varies fastest, as nested loops do. Nothing is materialised. One table of
--- parts with names, `parlua.product { alpha = { 1, 2 }, beta = parlua.range(3) }`, gives each task one table with
--- these fields: the last by the alphabet varies fastest, or the last of the list `order`, which stands beside them or
--- in a table of options behind them.
---@param ... parlua.Source|any[]|table<string, parlua.Source|any[]>
---@return parlua.Source
function M.product(...)
  local first, options = ...
  local is_table = type(first) == "table" and not is_source(first)
  local is_named = is_table and first.n == nil and #first == 0 and next(first) ~= nil
  if is_named and select("#", ...) <= 2 and not is_source(options) then return named_product(first, options) end
  return check_width(product_of(indexed_parts("product", nil, ...)), "product")
end

--- The parts in step; as long as the shortest.
---@param ... parlua.Source|any[]
---@return parlua.Source
function M.zip(...)
  local parts, n, is_endless = indexed_parts("zip", nil, ...), math.huge, true
  for _, part in ipairs(parts) do
    n = math.min(n, part.n)
    is_endless = is_endless and part.is_endless or nil
  end
  return check_width(new { kind = "zip", parts = parts, n = n, is_endless = is_endless }, "zip")
end

return M
