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

-- Kinds of names, as in src/lua/codec/state.h.
local EVERYWHERE, MODULE, PART = 1, 2, 3

-- Types that have names of their own, as fields of a module.
local nameable = { ["function"] = true, userdata = true }

--- Is a module parlua's own: in the binary? (In package.loaded there are also notes for this state alone.)
local function is_own(name)
  if name ~= "parlua" and name:sub(1, 7) ~= "parlua." then
    return false
  end
  return codec.is_own(name)
end

--- Everything that has a name, five entries each: the object; the module and the field (false: the module itself)
--- that name it; the global under which every state has it, or false; the kind. Of several names for an object, the
--- first is used.
---@param globals table
function M.all(globals)
  start.complete()
  local list, seen = new_table(2600, 0), new_table(0, 600)
  local function add(object, module, field, global, kind)
    if not seen[object] then
      seen[object] = true
      local n = #list
      list[n + 1], list[n + 2], list[n + 3], list[n + 4], list[n + 5] = object, module, field, global, kind
    end
  end

  local function add_parts(name, module, kind)
    if type(module) ~= "table" then return end
    for field, value in next, module do
      if type(field) == "string" and nameable[type(value)] then add(value, name, field, false, kind) end
    end
  end

  for _, entry in ipairs(declared) do
    add(entry.value, "_G", entry.name, entry.name, EVERYWHERE)
  end
  add(globals, "_G", false, "_G", EVERYWHERE)
  add(task.running, "parlua", "task", false, EVERYWHERE)
  for name, value in next, start.globals do
    if type(value) == "function" then
      add(value, "_G", name, name, EVERYWHERE)
    end
  end
  add(start.require, "_G", "require", "require", EVERYWHERE) -- a global of parlua's modules
  for name, fields in next, start.libraries do
    local library = start.values[name]
    if type(library) == "table" then
      add(library, name, false, start.globals[name] == library and name, EVERYWHERE)
      add(fields, name, false, start.globals[name] == library and name, EVERYWHERE) -- likewise
    elseif nameable[type(library)] then
      add(library, name, false, false, EVERYWHERE)
    end
    for field, value in next, fields do
      if type(field) == "string" and (nameable[type(value)] or type(value) == "table") then
        add(value, name, field, false, EVERYWHERE)
      end
    end
    local again = start.opened_again(name)
    if again then
      add(again, name, false, false, EVERYWHERE)
      for field, value in next, fields do
        if start.is_same_builtin(rawget(again, field), value) then add(again[field], name, field, false, EVERYWHERE) end
      end
    end
  end
  -- parlua's own, whatever a script has taken out of package.loaded (src/lua/state.c)
  local own = debug.getregistry()["parlua.loaded"] or {}
  for name, module in next, own do
    if type(module) == "table" or nameable[type(module)] then add(module, name, false, false, EVERYWHERE) end
  end
  local modules = {}
  for name, module in next, package.loaded do
    local is_object = type(module) == "table" or nameable[type(module)]
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
  for name, module in next, own do add_parts(name, module, EVERYWHERE) end
  for _, name in ipairs(modules) do
    local module = rawget(package.loaded, name)
    if module ~= globals then add_parts(name, module, PART) end
  end
  return list
end

return M
