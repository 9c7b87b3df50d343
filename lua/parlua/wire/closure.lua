--- What the codec (src/lua/codec) has to know about functions and names.
--
-- A Lua function travels as its bytecode, its upvalues and the globals that it names: those which its bytecode reads
-- or writes (nested functions included) and whose value is not nil. (To workers, the script's other globals go too:
-- world.lua.)
--
-- Some objects travel by name instead, and are looked up (a module: required) in the receiving state:
--   * what every state has from its beginning: the base functions (print, pairs, ...), _G, the standard libraries
--     with their functions, the three standard files, methods of files and of buffers, parlua's own modules. What a
--     script has put into a library goes by value;
--   * between workers and the script, and where modules of the script can't cross by content: whatever package.loaded
--     holds, under the name that `require` knows it by, and the functions (and userdata, as cjson.null) that are fields
--     of a loaded module's table;
--   * what `codec.by_name` declares.
--
-- The functions here are called by the codec, in its order of arguments; this is no public interface.

local bit = require "bit"
local util = require "jit.util"
local new_table = require "table.new"
local lazy = require "parlua.lazy"
local codec = require "parlua.codec"
local arrays = lazy "parlua.array.wire"
local complaint = lazy "parlua.wire.complaint"
local ctypes = lazy "parlua.wire.ctypes"
local makers = require "parlua.wire.makers"
local record = require "parlua.wire.record"
local start = require "parlua.wire.start"
local task = require "parlua.task"
local template = require "parlua.wire.template"

-- Nothing here runs often enough to be worth compiling, and where memory runs out (a worker at its
-- limit) LuaJIT's trace compiler was seen to retry for ever.
require("jit").off(true, true)

local closure = {}

local getupvalue = debug.getupvalue

--- Calls visit(value) for each upvalue of a function.
function closure.each_upvalue(f, visit)
  local k = 1
  local name, value = getupvalue(f, 1)
  while name do
    visit(value)
    k = k + 1
    name, value = getupvalue(f, k)
  end
end

-- ---- Plans: what a function needs beside its upvalues ----

local function opcode(instruction)
  return bit.band(instruction, 0xff)
end

-- The two instructions that name a global have other numbers in other versions of LuaJIT: read off a function.
local read_and_write = loadstring("x = y")
local READ_GLOBAL = opcode((util.funcbc(read_and_write, 1)))
local WRITE_GLOBAL = opcode((util.funcbc(read_and_write, 2)))

local not_compiled = record.not_compiled

--- Adds the globals that a prototype and those nested in it name.
local function add_names(proto, plan, seen)
  local info = util.funcinfo(proto)
  for at = 1, info.bytecodes - 1 do
    local instruction = util.funcbc(proto, at)
    local code = opcode(instruction)
    if template.is_copy(instruction) then plan.has_templates = true end
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
        if not_compiled[proto] == "all" then not_compiled[constant] = "all" end
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
---@return table plan `off`: jit.off was called for it; `has_templates`: see wire/template.lua
function closure.plan(f)
  local proto = util.funcinfo(f).proto
  local plan = plan_of_proto[proto]
  if not plan then
    plan = { string.dump(f) }
    add_names(proto, plan, {})
    plan_of_proto[proto] = plan
  end
  plan.off = not_compiled[proto] ~= nil
  closure.plans[f] = plan
  return plan
end

local function index(environment, name)
  return environment[name]
end

--- Completes a function that came as a dump.
function closure.complete(f) template.fill(f) end

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
function closure.names(globals)
  start.complete()
  local list, seen = new_table(2600, 0), new_table(0, 600)
  local function add(object, module, field, global, kind)
    if not seen[object] then
      seen[object] = true
      local n = #list
      list[n + 1], list[n + 2], list[n + 3], list[n + 4], list[n + 5] = object, module, field, global, kind
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
      else
        if name:sub(1, 7) ~= "parlua." then modules[#modules + 1] = name end
      end
    end
  end
  table.sort(modules)
  for _, name in ipairs(modules) do
    add(rawget(package.loaded, name), name, false, false, MODULE)
  end
  for name, module in next, own do
    if type(module) == "table" then
      for field, value in next, module do
        if type(field) == "string" and nameable[type(value)] then
          add(value, name, field, false, EVERYWHERE)
        end
      end
    end
  end
  for _, name in ipairs(modules) do
    local module = rawget(package.loaded, name)
    if type(module) == "table" and module ~= globals then
      for field, value in next, module do
        if type(field) == "string" and nameable[type(value)] then
          add(value, name, field, false, PART)
        end
      end
    end
  end
  return list
end

--- The module that a name stands for in this state. Raises when it can't be loaded.
local function loaded(module)
  local value = package.loaded[module]
  if value == nil then
    local ok, result = pcall(start.globals.require, module)
    if not ok then
      error(("cannot load module '%s', which came by name: %s"):format(module, tostring(result)), 0)
    end
    value = result
  end
  return value
end

--- The object that a name stands for in this state. Raises when there is none.
---@param module string
---@param field string|nil
---@param globals table
function closure.resolve(module, field, globals)
  if field == nil then
    if module == "_G" then
      return globals
    end
    local value = start.opened_again(module)
    if value == nil then value = start.values[module] end
    if value ~= nil then
      return value
    end
    return loaded(module)
  end
  local value
  if module == "_G" then
    value = start.globals[field]
    if value == nil then
      value = rawget(globals, field)
    end
  elseif start.libraries[module] then
    local again = start.opened_again(module)
    value = start.libraries[module][field]
    if again and start.is_same_builtin(rawget(again, field), value) then value = again[field] end
  else
    local holder = loaded(module)
    if type(holder) == "table" then
      value = rawget(holder, field)
    end
  end
  if value == nil then
    error(("cannot find '%s' in module '%s', which came by name: the module has no such field here")
      :format(field, module), 0)
  end
  return value
end

local function missing(module, problem)
  return setmetatable({}, {
    __index = function(_, field)
      error(("module '%s' could not be loaded in a worker, so its '%s' is not there: %s"):format(module,
        tostring(field), problem), 2)
    end,
  })
end

--- The module of a name, for what was sent to be merged into it. One that can't be loaded here is only missed by what
--- uses it.
function closure.load(module)
  local ok, value = pcall(loaded, module)
  if ok then
    return value
  end
  return missing(module, value)
end

closure.maker, closure.remake, closure.builtin = makers.how, makers.make, start.builtin

--- What is written of an array, or the array of what was read.
function closure.array(value, ...)
  if type(value) == "string" then return arrays.decode(value, ...) end
  return arrays.encode(value, ...)
end

-- ---- cdata ----

function closure.cdata(value, shares) return ctypes.cdata(value, shares) end
function closure.make(description, size) return ctypes.make(description, size) end
function closure.ctype(description) return ctypes.ctype(description) end
function closure.symbol(description, name, library, address)
  return ctypes.symbol(description, name, library, address)
end
function closure.namespace(library) return ctypes.namespace(library) end
function closure.library(value) return ctypes.library(value) end
function closure.text(value) return ctypes.text(value) end
function closure.buffer(content) return ctypes.buffer(content) end

-- ---- Errors ----

function closure.complaint(what, number, count, steps, value, reason)
  return complaint.complaint(what, number, count, steps, value, reason)
end

return closure
