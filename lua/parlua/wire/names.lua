--- What the codec (src/lua/codec) sends by its name (wire/closure.lua): a list of all objects that have one, made when
--- a state first sends one that may.
local new_table = require "table.new"
local codec = require "parlua.codec"
local start = require "parlua.wire.start"
local task = require "parlua.task"

require("jit").off(true, true)

local M = {}

local declared = {}

--- Declares that `value`, wherever it occurs, stands for the global `name` of the receiving state.
function M.declare(name, value)
  declared[#declared + 1] = { name = name, value = value }
end

-- Kinds of names, and which fields have one, as in src/lua/codec/state.h.
local EVERYWHERE, MODULE, PART = 1, 2, 3
local FUNCTIONS, NAMEABLE, OBJECTS = 1, 2, 3

-- Types that have names of their own, as fields of a module.
local nameable = { ["function"] = true, userdata = true }

--- Is a module parlua's own: in the binary? (In package.loaded there are also notes for this state alone.)
local function is_own(name)
  if name ~= "parlua" and name:sub(1, 7) ~= "parlua." then
    return false
  end
  return codec.is_own(name)
end

--- parlua's own modules, whatever a script has taken out of package.loaded (src/lua/state.c).
local function own_modules() return debug.getregistry()["parlua.loaded"] or {} end

--- Everything that has a name, but the parts of parlua's own modules; five entries each: the object; the module and the
--- field (false: the module itself) that name it; the global under which every state has it, or false; the kind. Of
--- several names for an object, the first is used.
---@param globals table
---@param add_fields fun(list: table, fields: table, module: string|false, kind: integer, types: integer, are_global:
--- boolean) adds those of a table's fields that have a value of these types (module: false: they are modules); see
--- src/lua/codec/state.c
function M.all(globals, add_fields)
  start.complete()
  local list = new_table(2100, 0)
  local function add(object, module, field, global, kind)
    local n = #list
    list[n + 1], list[n + 2], list[n + 3], list[n + 4], list[n + 5] = object, module, field, global, kind
  end
  for _, entry in ipairs(declared) do
    add(entry.value, "_G", entry.name, entry.name, EVERYWHERE)
  end
  add(globals, "_G", false, "_G", EVERYWHERE)
  add(task.running, "parlua", "task", false, EVERYWHERE)
  add_fields(list, start.globals, "_G", EVERYWHERE, FUNCTIONS, true)
  add(start.require, "_G", "require", "require", EVERYWHERE) -- a global of parlua's modules
  for name, fields in next, start.libraries do
    local library = start.values[name]
    if type(library) == "table" then
      local global = start.globals[name] == library and name
      add(library, name, false, global, EVERYWHERE)
      add(fields, name, false, global, EVERYWHERE) -- likewise
    elseif nameable[type(library)] then
      add(library, name, false, false, EVERYWHERE)
    end
    add_fields(list, fields, name, EVERYWHERE, OBJECTS, false)
    local again = start.opened_again(name)
    if again then
      add(again, name, false, false, EVERYWHERE)
      for field, value in next, fields do
        if start.is_same_builtin(rawget(again, field), value) then add(again[field], name, field, false, EVERYWHERE) end
      end
    end
  end
  local own, modules = own_modules(), {}
  add_fields(list, own, false, EVERYWHERE, OBJECTS, false)
  for name, module in next, package.loaded do
    local is_object = own[name] ~= module and (type(module) == "table" or nameable[type(module)])
    if type(name) == "string" and is_object and not start.is_library(name) then
      if is_own(name) then
        add(module, name, false, false, EVERYWHERE)
      elseif name:sub(1, 7) ~= "parlua." then
        modules[#modules + 1] = name
      end
    end
  end
  table.sort(modules)
  for _, name in ipairs(modules) do
    add(rawget(package.loaded, name), name, false, false, MODULE)
  end
  for _, name in ipairs(modules) do
    local module = rawget(package.loaded, name)
    if type(module) == "table" and module ~= globals then add_fields(list, module, name, PART, NAMEABLE, false) end
  end
  return list
end

--- Adds the functions and userdata in parlua's own modules. Hardly any message has one, and they are as many as all
--- else.
---@param list table
---@param add_fields function see above
function M.add_own_parts(list, add_fields)
  for name, module in next, own_modules() do
    if type(module) == "table" then add_fields(list, module, name, EVERYWHERE, NAMEABLE, false) end
  end
end

return M
