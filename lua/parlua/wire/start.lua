--- What a state has from its beginning, before any script: its libraries with what is in them. Objects among this are the same in every state
--- and go by name (closure.lua); what a script has changed is found by comparing (world.lua). Loaded as a state begins.
local M = {}

local libraries = {
  "bit", "coroutine", "debug", "ffi", "io", "jit", "math", "os", "package", "string", "table", "jit.opt", "jit.util", "jit.profile",
  "string.buffer", "table.new", "table.clear",
}

local function copy(from)
  local to = {}
  if type(from) == "table" then
    for key, value in next, from do to[key] = value end
  end
  return to
end

-- Loaded by name only where it is used: their functions are the same in every state.
local rest = { "string.buffer", "table.new", "table.clear", "jit.util", "jit.profile" }

--- Takes it all down; again in a worker, once its own `print` and the like are in place.
function M.take()
  M.globals = copy(_G)
  M.libraries, M.values = {}, {}
  for _, name in ipairs(libraries) do
    local value = package.loaded[name]
    if value ~= nil then M.libraries[name], M.values[name] = copy(value), value end
  end
  M.preload, M.loaders = copy(package.preload), copy(package.loaders)
  M.string_meta = debug.getmetatable("")
  M.string_fields = copy(M.string_meta)
  M.is_whole = false
end

local function add(name, value, fields)
  M.libraries[name], M.values[name] = copy(fields or value), value
end

--- Adds what is not worth its time when a state begins: methods, iterators, libraries that nobody has asked for.
function M.complete()
  if M.is_whole then return end
  M.is_whole = true
  for _, name in ipairs(rest) do
    if M.libraries[name] == nil then
      local ok, value = pcall(M.globals.require, name)
      if ok then add(name, value) end
    end
  end
  local file = debug.getmetatable(io.stdout)
  add("metatable of files", file)
  if type(file.__index) == "table" and file.__index ~= file then add("methods of files", file.__index) end
  add("metatable of strings", M.string_meta, {})
  local buffer = M.values["string.buffer"]
  if buffer then
    local meta = debug.getmetatable(buffer.new())
    add("metatable of buffers", meta)
    if type(meta.__index) == "table" and meta.__index ~= meta then add("methods of buffers", meta.__index) end
  end
  local ffi = M.values.ffi
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

M.take()

return M
