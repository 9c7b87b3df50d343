--- What a state has from its beginning, before any script: its libraries with what is in them. Objects among this are
--- the same in every state and go by name (closure.lua); what a script has changed is found by comparing (world.lua).
--- Loaded as a state begins.
require("jit").off(true, true) -- runs once in a state
local new_table = require "table.new"

local M = {}

local libraries = {
  "bit", "coroutine", "debug", "ffi", "io", "jit", "math", "os", "package", "string", "table", "jit.opt",
  "jit.util", "jit.profile",
  "string.buffer", "table.new", "table.clear",
}

local builtins -- number of a function of LuaJIT's -> its library and field

local FIELDS = 16 -- most libraries have no more

--- A table with the same fields; an empty one for what is no table.
local function copy(from)
  local to = new_table(0, type(from) == "table" and FIELDS or 0)
  for key, value in next, type(from) == "table" and from or to do to[key] = value end
  return to
end

-- Loaded by name only where it is used: their functions are the same in every state.
local rest = { "table.clear", "jit.profile" }

-- Loaded as a state begins, though they are loaded by name: parlua calls their functions, which a script may replace.
local needed = { "jit.util", "string.buffer" }

local function add(name, value, fields)
  M.libraries[name], M.values[name] = copy(fields or value), value
end

--- What parlua's modules have for globals (src/lua/state.c). The libraries in it are copies, which no script changes.
local own = debug.getregistry()["parlua.globals"]

local first_require = require

--- In parlua's modules: as `require`, but a library is the copy.
function own.require(name)
  local value = M.values[name]
  if value == nil then return first_require(name) end
  return type(value) == "table" and M.libraries[name] or value
end
M.require = own.require

--- Code that is made here, as a function. It has the globals that parlua's modules have, whatever the script's are.
---@param text string
---@param chunk_name string
---@return function
function M.compile(text, chunk_name) return setfenv(assert(loadstring(text, chunk_name)), own) end

--- Takes it all down.
function M.take()
  for _, name in ipairs(needed) do pcall(first_require, name) end
  M.globals = copy(_G)
  M.libraries, M.values = {}, {}
  for _, name in ipairs(libraries) do
    local value = package.loaded[name]
    if value ~= nil then M.libraries[name], M.values[name] = copy(value), value end
  end
  for name, fields in next, M.libraries do
    if name ~= "package" and rawget(own, name) ~= nil then own[name] = fields end
  end
  M.preload, M.loaders = copy(package.preload), copy(package.loaders)
  M.string_meta = debug.getmetatable("")
  M.string_fields = copy(M.string_meta)
  local file = debug.getmetatable(io.stdout)
  add("metatable of files", file)
  if type(file.__index) == "table" and file.__index ~= file then add("methods of files", file.__index) end
  M.is_whole, builtins = false, nil
end

--- Adds what is not worth its time when a state begins: methods, iterators, libraries that nobody has asked for.
function M.complete()
  if M.is_whole then return end
  M.is_whole = true
  for _, name in ipairs(rest) do
    if M.libraries[name] == nil then
      local ok, value = pcall(M.globals.require, name)
      if ok and (type(value) ~= "function" or M.libraries["jit.util"].funcinfo(value).ffid) then add(name, value) end
    end
  end
  add("metatable of strings", M.string_meta, {})
  local buffer = M.libraries["string.buffer"]
  if buffer then
    local meta = debug.getmetatable(buffer.new())
    add("metatable of buffers", meta)
    if type(meta.__index) == "table" and meta.__index ~= meta then add("methods of buffers", meta.__index) end
  end
  local ffi = M.libraries.ffi
  if ffi then
    add("metatable of C data", debug.getmetatable(ffi.typeof "int"))
    add("metatable of C libraries", debug.getmetatable(ffi.C))
  end
  local iterators = { ipairs = (ipairs {}), pairs = (pairs {}) }
  add("iterators", iterators)
  local searchers = {}
  for i, loader in ipairs(M.loaders) do searchers["loader " .. i] = loader end
  add("searchers", searchers)
end

--- Is it the name of a library, or of what else every state has?
---@param name string
---@return boolean
function M.is_known(name)
  if M.libraries[name] == nil and string.sub(name, 1, 6) ~= "parlua" then M.complete() end
  return M.libraries[name] ~= nil
end

--- Are two functions the same function of LuaJIT? A library that is opened again has functions of its own.
local function is_same_builtin(a, b)
  if type(a) ~= "function" or type(b) ~= "function" then return false end
  local util = M.libraries["jit.util"]
  local number = util and util.funcinfo(a).ffid
  return number ~= nil and number == util.funcinfo(b).ffid
end

--- What package.loaded has under the name of a library when that is the library opened again, as `require` does after
--- the name was taken out of package.loaded: another table with other functions that do the same.
function M.opened_again(name)
  local value, fields = rawget(package.loaded, name), M.libraries[name]
  if type(value) ~= "table" or not fields or rawequal(value, M.values[name]) then return nil end
  for field, first in next, fields do
    local now = rawget(value, field)
    if not rawequal(now, first) and is_same_builtin(now, first) then return value end
  end
end

--- Does package.loaded have the library itself under its name? A script may have put a table of its own there.
function M.is_library(name)
  if not M.libraries[name] then return false end
  local value = rawget(package.loaded, name)
  return value == nil or rawequal(value, M.values[name]) or M.opened_again(name) ~= nil
end

M.is_same_builtin = is_same_builtin

--- The library and the field of a function of LuaJIT's, by its number: also of one from a library that was opened
--- again since.
function M.builtin(f)
  local util = M.libraries["jit.util"]
  local number = util and util.funcinfo(f).ffid
  if not number then return nil end
  if not builtins then
    M.complete()
    builtins = {}
    local function note(library, fields)
      for field, value in next, fields do
        local its = type(field) == "string" and type(value) == "function" and util.funcinfo(value).ffid
        if its then builtins[its] = { library, field } end
      end
    end
    note("_G", M.globals)
    for name, fields in next, M.libraries do note(name, fields) end
  end
  local found = builtins[number]
  if found then return found[1], found[2] end
end

M.take()

return M
