--- Sources that are made of others: parts of them, with numbers, in batches. Those that can't be made from the index of
--- a task are read in the script: their `make` gets a function that reads a source one task after the other
--- (feed/supply.lua).
local common = require "parlua.common"
local indexed = require "parlua.source.indexed"
local kinds = require "parlua.source.kinds"

local new = kinds.new

local M = {}

local function copy_with(source, field, value)
  local copy = {}
  for key, item in pairs(source) do copy[key] = item end
  copy[field] = value
  return new(copy)
end

local function check_count(value, name, where, least)
  if type(value) ~= "number" or value < least or value % 1 ~= 0 then
    error(("%s: %s must be an integer of at least %d, got %s"):format(where, name, least, tostring(value)), 3)
  end
  return value
end

function M.take(arguments, n)
  local source = kinds.of(arguments)
  check_count(n, "n", "take", 0)
  if source.kind == "list" then return copy_with(source, "n", math.min(n, source.n)) end
  if source:is_indexed() then return new { kind = "take", parts = { source }, n = math.min(n, source.n) } end
  return copy_with(source, "most", math.min(n, source.most or n))
end

function M.enumerate(arguments)
  local source = kinds.of(arguments)
  if source:is_indexed() then
    return new { kind = "enumerate", parts = { source }, n = source.n, is_endless = source.is_endless }
  end
  if source.path and not source.enumerated and source.path ~= "-" then return copy_with(source, "enumerated", true) end
  return new {
    kind = "iterator", is_text = source.is_text,
    make = function(reader)
      local read, i = reader(source), 0
      local function number(more, ...)
        if not more then return nil end
        i = i + 1
        return i, ...
      end
      return function() return number(read()) end
    end,
  }
end

function M.batch(arguments, n)
  local source = kinds.of(arguments)
  check_count(n, "n", "batch", 1)
  if source:is_indexed() then
    local batches = math.ceil(source.n / n)
    return new { kind = "batch", parts = { source }, size = n, n = batches, is_endless = source.is_endless }
  end
  return new {
    kind = "iterator",
    make = function(reader)
      local read = reader(source)
      local function add(list, more, ...)
        if more then list[#list + 1] = indexed.pack(...) end
        return more
      end
      return function()
        local list = {}
        while #list < n and add(list, read()) do end -- luacheck: ignore 542
        return #list > 0 and list or nil
      end
    end,
  }
end

function M.filter(arguments, f)
  local source = kinds.of(arguments)
  if not common.is_callable(f) then error("filter: a function is expected behind the source, got " .. type(f), 2) end
  return new {
    kind = "reader",
    make = function(reader)
      local read = reader(source)
      local pass
      local function look(more, ...)
        if not more or f(...) then return more, ... end
        return pass()
      end
      function pass() return look(read()) end
      return pass
    end,
  }
end

local function check_spread(index, item, level)
  if type(item) == "table" then return end
  error(("starmap: item %d is a %s, not a list of arguments"):format(index, type(item)), level)
end

--- The items of a list (or source) of lists, each of them the arguments of a task, for parlua.starmap.
---@return parlua.Source
function M.spread(arguments)
  local source = kinds.of(arguments)
  if source.kind == "list" then
    for k = 1, source.n do check_spread(k, source.items[k], 4) end
    return new { kind = "spread", items = source.items, n = source.n, of = "starmap" }
  end
  return new {
    kind = "reader", of = "starmap",
    make = function(reader)
      local read, i = reader(source), 0
      local function spread(more, item)
        if not more then return false end
        i = i + 1
        check_spread(i, item, 0)
        return true, unpack(item, 1, item.n or #item)
      end
      return function() return spread(read()) end
    end,
  }
end

return M
