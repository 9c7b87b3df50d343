--- What the codec (src/lua/codec.c) has to know about functions and names.
--
-- A Lua function travels as its bytecode, its upvalues and the globals that it names: those which its bytecode reads or
-- writes (nested functions included) and whose value is not nil. A name that is only computed (`_G[name]`) is not seen.
--
-- Some objects travel by name instead, and are looked up (a module: required) in the receiving state:
--   * the base functions (print, pairs, ...), _G, and the standard libraries with their functions and the three
--     standard files. A Lua function that a script has put into a standard library goes by value;
--   * whatever package.loaded holds, under the name that `require` knows it by, also when the script itself put it
--     there; and the functions (and userdata, as cjson.null) that are fields of a loaded module's table. What a script
--     has assigned to such a field does not cross with the module;
--   * what `codec.by_name` declares.
-- A function that a script defines as a global goes by value, and becomes a global in the receiving state.
--
-- The functions here are called by codec.c, in its order of arguments; this is no public interface.

local bit = require "bit"
local util = require "jit.util"
local new_table = require "table.new"

-- Nothing here runs often enough to be worth compiling, and where memory runs out (a worker at its
-- limit) LuaJIT's trace compiler was seen to retry for ever.
require("jit").off(true, true)

local closure = {}

local base_functions = {
  "assert", "collectgarbage", "dofile", "error", "gcinfo", "getfenv", "getmetatable", "ipairs", "load", "loadfile",
  "loadstring", "module", "newproxy", "next", "pairs", "pcall", "print", "rawequal", "rawget", "rawset", "require",
  "select", "setfenv", "setmetatable", "tonumber", "tostring", "type", "unpack", "xpcall",
}
local standard_libraries = {
  "bit", "coroutine", "debug", "ffi", "io", "jit", "math", "os", "package", "string", "table",
}
local is_standard_library = {}
for _, name in ipairs(standard_libraries) do
  is_standard_library[name] = true
end

-- ---- Plans: what a function needs beside its upvalues ----

local function opcode(instruction)
  return bit.band(instruction, 0xff)
end

-- The two instructions that name a global have other numbers in other versions of LuaJIT: read off a function.
local read_and_write = loadstring("x = y")
local READ_GLOBAL = opcode((util.funcbc(read_and_write, 1)))
local WRITE_GLOBAL = opcode((util.funcbc(read_and_write, 2)))

--- Adds the globals that a prototype and those nested in it name.
local function add_names(proto, plan, seen)
  local info = util.funcinfo(proto)
  for at = 1, info.bytecodes - 1 do
    local instruction = util.funcbc(proto, at)
    local code = opcode(instruction)
    if code == READ_GLOBAL or code == WRITE_GLOBAL then
      local name = util.funck(proto, -1 - bit.rshift(instruction, 16))
      if not seen[name] then
        seen[name] = true
        plan[#plan + 1] = name
      end
    end
  end
  if info.children then
    for at = -1, -info.gcconsts, -1 do
      local constant = util.funck(proto, at)
      if type(constant) == "proto" then
        add_names(constant, plan, seen)
      end
    end
  end
end

local weak = { __mode = "k" }
local plan_of_proto = setmetatable({}, weak)

--- function -> plan; the codec looks here before it calls `plan`
closure.plans = setmetatable({}, weak)

--- The plan of a Lua function: its dump, then the names of its globals. Made once for all closures of the same code.
---@param f function
---@return string[] plan
function closure.plan(f)
  local proto = util.funcinfo(f).proto
  local plan = plan_of_proto[proto]
  if not plan then
    plan = { string.dump(f) }
    add_names(proto, plan, {})
    plan_of_proto[proto] = plan
  end
  closure.plans[f] = plan
  return plan
end

local function index(environment, name)
  return environment[name]
end

--- What a global is in a function's environment, as the function itself would see it; nil if its __index raises.
function closure.lookup(environment, name)
  local ok, value = pcall(index, environment, name)
  if ok then
    return value
  end
end

-- ---- Names ----

local declared = {}

--- Declares that `value`, wherever it occurs, stands for the global `name` of the receiving state.
function closure.by_name(name, value)
  declared[#declared + 1] = { name = name, value = value }
end

--- Is it one of the libraries' functions that LuaJIT has written in Lua?
local function is_builtin(value)
  local info = util.funcinfo(value)
  return not info.source or info.loc:find("^builtin:") ~= nil
end

-- Types that have names of their own, as fields of a module.
local nameable = { ["function"] = true, userdata = true }

--- Everything that has a name, four entries each: the object; the module and the field (false: the module itself) that
--- name it; the global under which every state has it, or false. Of several names for an object, the first is used.
---@param globals table
---@param is_c_function fun(f: function): boolean
function closure.names(globals, is_c_function)
  local list, seen = new_table(1400, 0), new_table(0, 400) -- some 300 names: tables that grow to that cost half of all this
  local function is_library_function(value)
    return is_c_function(value) or is_builtin(value)
  end
  local function add(object, module, field, global)
    if not seen[object] then
      seen[object] = true
      local n = #list
      list[n + 1], list[n + 2], list[n + 3], list[n + 4] = object, module, field, global
    end
  end
  local function add_fields(library, module, accept)
    for field, value in next, library do
      if type(field) == "string" and nameable[type(value)] and (type(value) == "userdata" or accept(value)) then
        add(value, module, field, false)
      end
    end
  end
  local function anything()
    return true
  end

  for _, entry in ipairs(declared) do
    add(entry.value, "_G", entry.name, entry.name)
  end
  add(globals, "_G", false, "_G")
  local first_globals = debug.getregistry()["parlua.globals"] or globals -- a script may have replaced some since
  local task = package.loaded["parlua.worker.task"]
  if task then
    add(task.random, "math", "random", false)
    add(task.randomseed, "math", "randomseed", false)
    add(task.running, "parlua", "task", false)
  end
  for _, name in ipairs(base_functions) do
    for _, holder in ipairs { globals, first_globals } do
      local value = rawget(holder, name)
      if type(value) == "function" and is_library_function(value) then
        add(value, "_G", name, name)
      end
    end
  end
  local loaded = package.loaded
  for _, name in ipairs(standard_libraries) do
    local library = rawget(loaded, name)
    if type(library) == "table" then
      add(library, name, false, name ~= "ffi" and name)
      add_fields(library, name, is_library_function)
    end
  end
  local modules = {}
  for name, module in next, loaded do
    local is_object = type(module) == "table" or nameable[type(module)]
    if type(name) == "string" and not is_standard_library[name] and is_object then
      modules[#modules + 1] = name
    end
  end
  table.sort(modules)
  for _, name in ipairs(modules) do
    add(rawget(loaded, name), name, false, false)
  end
  for _, name in ipairs(modules) do
    local module = rawget(loaded, name)
    if type(module) == "table" and module ~= globals then
      add_fields(module, name, anything)
    end
  end
  return list
end

--- The object that a name stands for in this state. Raises when there is none.
---@param module string
---@param field string|nil
---@param globals table
function closure.resolve(module, field, globals)
  local holder
  if module == "_G" then
    holder = globals
  else
    holder = package.loaded[module]
    if holder == nil then
      local ok, result = pcall(require, module)
      if not ok then
        error(("cannot load module '%s', which came by name: %s"):format(module, tostring(result)), 0)
      end
      holder = result
    end
  end
  if field == nil then
    return holder
  end
  local value
  if type(holder) == "table" then
    value = rawget(holder, field)
  end
  if value == nil then
    error(("cannot find '%s' in module '%s', which came by name: the module has no such field here")
      :format(field, module), 0)
  end
  return value
end

-- ---- cdata ----

local ffi, int64, uint64, complex

local function load_ffi()
  local library = require "ffi"
  int64, uint64, complex = library.typeof("int64_t"), library.typeof("uint64_t"), library.typeof("complex")
  ffi = library
end

--- Which of the kinds of cdata that cross a cdata is; nil if it does not cross.
function closure.whole(value)
  if not ffi then
    load_ffi()
  end
  return ffi.istype(int64, value) and "int64" or ffi.istype(uint64, value) and "uint64"
    or ffi.istype(complex, value) and "complex" or nil
end

--- A new cdata of such a kind, for the codec to fill.
function closure.zero(kind)
  if not ffi then
    load_ffi()
  end
  if kind == "int64" then
    return int64()
  elseif kind == "uint64" then
    return uint64()
  end
  return complex()
end

-- ---- Errors ----

--- The name of a userdata's type: what its metatable says, or the name under which the registry has that metatable.
local function type_name(value)
  local metatable = debug.getmetatable(value)
  if type(metatable) ~= "table" then
    return nil
  end
  local name = rawget(metatable, "__name")
  if type(name) == "string" then
    return name
  end
  for key, object in next, debug.getregistry() do
    if type(key) == "string" and object == metatable then
      return key
    end
  end
end

--- What a value is, for an error message: `userdata (FILE*)`, `a C function`, ...
local function describe(value)
  local kind = type(value)
  if kind == "userdata" then
    local name = type_name(value)
    return name and ("userdata (%s)"):format(name) or "userdata"
  elseif kind == "cdata" then
    return ("cdata (%s)"):format(tostring(require("ffi").typeof(value)):match("^ctype<(.*)>$") or "unknown")
  elseif kind == "function" then
    return "a C function that no loaded module has"
  elseif kind == "thread" then
    return "a coroutine"
  end
  return "a " .. kind
end

local function where_defined(f)
  local info = debug.getinfo(f, "S")
  return ("%s:%d"):format(info.short_src, info.linedefined)
end

local LONGEST_KEY = 40

--- One key, as it would be written after a table's name: `.name`, `[3]`, `["two words"]`.
local function subscript(key)
  if type(key) == "string" then
    if key:find("^[%a_][%w_]*$") and #key <= LONGEST_KEY then
      return "." .. key
    end
    local shown = #key > LONGEST_KEY and key:sub(1, LONGEST_KEY) .. "..." or key
    local quoted = ("%q"):format(shown):gsub("[%c\127-\255]", function(c)
      return ("\\%d"):format(c:byte())
    end)
    return "[" .. quoted .. "]"
  end
  if type(key) == "number" or type(key) == "boolean" then
    return ("[%s]"):format(tostring(key))
  end
  return ("[%s]"):format(describe(key))
end

-- A longer path is shown by its two ends.
local LONGEST_PATH = 12

--- The message for a value that can't be sent.
---@param what string what the values of the message are called
---@param number integer which of them it is in
---@param count integer how many there are
---@param steps table three entries a step, the innermost first: kind, key or name, function or false
---@param value any the culprit
---@param reason string|nil what is wrong with it, if not its type
---@return string
function closure.complaint(what, number, count, steps, value, reason)
  local path = count > 1 and ("%s %d"):format(what, number) or what
  local suffix = ""
  local total = #steps / 3
  for step = total, 1, -1 do
    local kind, key, f = steps[3 * step - 2], steps[3 * step - 1], steps[3 * step]
    if kind == "upvalue" then
      path, suffix = ("upvalue '%s'"):format(key), " of function at " .. where_defined(f)
    elseif kind == "global" then
      path, suffix = ("global '%s'"):format(key), " named by function at " .. where_defined(f)
    elseif kind == "metatable" then
      path = ("getmetatable(%s)"):format(path)
    elseif kind == "key" then
      path = ("the key %s of %s"):format(subscript(key), path)
    elseif total <= LONGEST_PATH or step <= LONGEST_PATH / 2 or step > total - LONGEST_PATH / 2 then
      path = path .. subscript(key)
    elseif step == total - LONGEST_PATH / 2 then
      path = path .. " ... "
    end
  end
  return ("cannot send %s%s: %s"):format(path, suffix, reason or describe(value))
end

return closure
