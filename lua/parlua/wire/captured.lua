--- What a map function has captured: tables that it holds itself, or through functions that it calls (upvalues,
--- globals that they name), tables in the modules among these, tables that are a key in one of these (a set of objects,
--- a value for each object), and empty tables that are a named field, as sentinels are. A task's arguments are its own,
--- but where they lead to one of these, it is the one that the function has: a sentinel, a logger, a class.
local closure = require "parlua.wire.closure"
local codec = require "parlua.codec"
local start = require "parlua.wire.start"

require("jit").off(true, true)

local MOST = 1000 -- functions that are looked at
local MOST_FIELDS = 10000 -- of each table

local getmetatable = debug.getmetatable

local function add_field(set, value, is_any)
  if type(value) == "table" and not set[value] and (is_any or next(value) == nil) then
    set[value] = codec.state(value)
  end
end

--- Adds a table, and tables in it: all that are keys, all that are fields of it if it is a module, else those that are
--- empty and have a name. `modules`: gives these.
local function add_table(set, value, modules)
  if set[value] then return end
  set[value] = codec.state(value)
  local is_module, looked = modules()[value], 0
  for key, field in next, value do
    looked = looked + 1
    if looked > MOST_FIELDS and not is_module then return end
    if type(key) == "table" then add_field(set, key, true) end
    if is_module or type(key) == "string" then add_field(set, field, is_module) end
  end
end

--- The modules that are not part of the libraries, as keys.
local function modules_now()
  local modules = {}
  for name, module in next, package.loaded do
    if type(module) == "table" and not start.is_library(name) and module ~= _G then modules[module] = true end
  end
  return modules
end

--- The set: table -> a number that tells what it holds now (0: not known).
---@param list table functions and other values
---@param n integer how many
return function(list, n)
  local set, seen, queue, count = {}, {}, {}, 0
  local known
  local function modules() -- where there is no table, as with most submitted calls, nobody looks at all of them
    known = known or modules_now()
    return known
  end
  local function visit(value)
    local kind = type(value)
    if kind == "function" then
      if not seen[value] and count < MOST then
        seen[value] = true
        count = count + 1
        queue[count] = value
      end
    elseif kind == "table" and value ~= _G then
      add_table(set, value, modules)
      local meta = getmetatable(value)
      if type(meta) == "table" then add_table(set, meta, modules) end
    end
  end
  for k = 1, n do
    if list[k] ~= nil then visit(list[k]) end
  end
  local at = 0
  while at < count do
    at = at + 1
    local f = queue[at]
    closure.each_upvalue(f, visit)
    if debug.getinfo(f, "S").what ~= "C" then
      local plan, environment = closure.plans[f] or closure.plan(f), getfenv(f)
      for i = 2, #plan do
        local global = rawget(environment, plan[i])
        if not rawequal(global, nil) and not rawequal(global, start.globals[plan[i]]) then visit(global) end
      end
    end
  end
  return set
end
