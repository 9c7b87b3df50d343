--- What of a script's state goes to workers that have one of their own, as a list of entries: what differs from what
--- every state has at its beginning (start.lua). world.lua sends them; difference.lua and install.lua use it too.
local codec = require "parlua.codec"
local kinds = require "parlua.wire.entries"
local record = require "parlua.wire.record"
local start = require "parlua.wire.start"

require("jit").off(true, true)

local M = {}

local MODULE, PRELOAD, LOADERS, LIBRARY, METATABLE = kinds.MODULE, kinds.PRELOAD, kinds.LOADERS, kinds.LIBRARY,
  kinds.METATABLE
local METATYPE, GLOBAL, REMOVED, SETTINGS = kinds.METATYPE, kinds.GLOBAL, kinds.REMOVED, kinds.SETTINGS
local basic = kinds.basic

-- What globals may be called; only strings can be written as names.
local name_types = { string = true, number = true, boolean = true }

local function is_before(one, other)
  local kind, other_kind = type(one), type(other)
  if kind ~= other_kind then return kind < other_kind end
  if kind == "boolean" then return other and not one end
  return one < other
end

M.is_before = is_before

--- Sorts names of globals.
function M.sort_names(names) table.sort(names, is_before) end

--- Is it a key under which a global goes with the state?
function M.is_name(key) return name_types[type(key)] or false end

--- Adds names and values of a table that `accept(key, value)` accepts, sorted by name.
local function add(state, kind, from, accept)
  local names = {}
  for key, value in next, from do
    if (type(key) == "string" or kind == GLOBAL and name_types[type(key)]) and accept(key, value) then
      names[#names + 1] = key
    end
  end
  M.sort_names(names)
  for _, name in ipairs(names) do state[#state + 1] = { kind, name, from[name] } end
end

-- Modules and globals that take more than 1 MB to send. They are not sent with every call: a function that names the
-- global takes it along, a module is required anew in the worker.
local too_large = setmetatable({}, { __mode = "k" })

--- Does what package.loaded has under a name go with the state?
local function is_module(name, value)
  if too_large[value] then return false end
  if name == "parlua" or name:sub(1, 7) == "parlua." or start.is_library(name) then return false end
  return not rawequal(value, _G) and (type(value) ~= "userdata" or debug.getmetatable(value) ~= nil)
end

local function add_libraries(state)
  for name, library in next, start.values do
    if type(library) == "table" and name ~= "package" and name ~= "metatable of strings" then
      local was = start.libraries[name]
      for key, value in next, library do
        if not rawequal(was[key], value) then state[#state + 1] = { LIBRARY, name, key, value } end
      end
      for key in next, was do
        if rawget(library, key) == nil then state[#state + 1] = { REMOVED, name, key } end
      end
    end
  end
  for name in next, start.globals do
    if rawget(_G, name) == nil then state[#state + 1] = { REMOVED, "_G", name } end
  end
end

--- Do the fields of a table differ from those in a copy of it?
local function differs(fields, copy)
  for key, value in next, fields do
    if not rawequal(copy[key], value) then return true end
  end
  for key in next, copy do
    if rawget(fields, key) == nil then return true end
  end
  return false
end

--- Fields that a script has put into `package`.
local function add_package(state)
  for key, value in next, package do
    if start.libraries.package[key] == nil then state[#state + 1] = { LIBRARY, "package", key, value } end
  end
end

local function add_metatables(state)
  for name, sample in next, basic do
    local meta = debug.getmetatable(sample[1])
    if name == "string" and meta == start.string_meta then
      if differs(meta, start.string_fields) then
        local fields = {}
        for key, value in next, meta do fields[key] = value end
        state[#state + 1] = { METATABLE, name, fields, true }
      end
    elseif meta ~= nil or name == "string" then
      state[#state + 1] = { METATABLE, name, meta }
    end
  end
  local meta = debug.getmetatable(_G)
  if meta ~= nil then state[#state + 1] = { METATABLE, "_G", meta } end
end

--- Does what _G has under a name go with the state?
local function is_global(name, value)
  return not rawequal(start.globals[name], value) and not too_large[value]
end

M.is_module, M.is_global, M.too_large = is_module, is_global, too_large

--- Tables that say what can be done with strings.
function M.of_strings() return { start.values.string, start.string_meta } end

--- Has a script changed what can be done with every plain value: strings' methods, metatables of basic types?
function M.has_changed_plain()
  for name, sample in next, basic do
    local meta = name == "string" and start.string_meta or nil
    if debug.getmetatable(sample[1]) ~= meta then return true end
  end
  return differs(start.string_meta, start.string_fields) or differs(start.values.string, start.libraries.string)
end

--- The state as entries.
function M.collect(settings)
  local state = {}
  add(state, MODULE, package.loaded, is_module)
  add(state, PRELOAD, package.preload, function(name, value) return start.preload[name] ~= value end)
  if differs(package.loaders, start.loaders) then
    for i, loader in ipairs(package.loaders) do state[#state + 1] = { LOADERS, i, loader } end
  end
  add_libraries(state)
  add_package(state)
  add_metatables(state)
  for _, entry in ipairs(record.metatypes) do state[#state + 1] = { METATYPE, entry[1], entry[2] } end
  add(state, GLOBAL, _G, is_global)
  state[#state + 1] = { SETTINGS, "settings", settings }
  return state
end

--- Tables that are no object of a book, and whose change is a change of the state: besides the globals and the modules.
function M.watched()
  local list = { package, package.preload, package.loaders, start.string_meta, record.declarations,
                 record.metatypes, record.libraries, record.options }
  for _, library in next, start.values do
    if type(library) == "table" and library ~= _G then list[#list + 1] = library end
  end
  return list
end

M.no_change = codec.book() -- an empty one

--- A table with the same fields.
local function copy(from)
  local to = {}
  for key, value in next, from do to[key] = value end
  return to
end
M.copy = copy

--- Notes what a world that was just encoded as a whole consists of, for its differences (difference.lua). `watched`:
--- what is looked at besides its book.
function M.note(world, watched)
  world.globals, world.modules, world.metatable = copy(_G), copy(package.loaded), debug.getmetatable(_G) or false
  world.change, world.change_watch = false, false
  world.patched = {}        -- { object, place in the world's book }
  world.new_names = {}      -- globals that have another value, or none
  world.new_modules = {}
  world.has_names, world.has_modules = false, false -- has something changed in _G, in package.loaded?
  world.others = {}         -- tables that no difference is known for
  for _, root in ipairs(watched) do world.others[root] = true end
  world.globals_watch = codec.watch_fields(_G) or false
  world.modules_watch = codec.watch(M.no_change, { package.loaded }) or false
end

return M
