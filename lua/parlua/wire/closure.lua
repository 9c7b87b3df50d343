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

local lazy = require "parlua.lazy"
local arrays = lazy "parlua.array.wire"
local absent = lazy "parlua.wire.absent"
local complaint = lazy "parlua.wire.complaint"
local ctypes = lazy "parlua.wire.ctypes"
local lazily = lazy "parlua.wire.lazily"
local makers = lazy "parlua.wire.makers"
local names = lazy "parlua.wire.names"
local plans = lazy "parlua.wire.plan"
local start = require "parlua.wire.start"
local template = lazy "parlua.wire.template"

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

--- function -> plan; the codec looks here before it calls `plan`
closure.plans = setmetatable({}, { __mode = "k" })

--- The plan of a Lua function (wire/plan.lua).
---@param f function
---@return table plan
function closure.plan(f)
  local plan = plans.of(f)
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

--- Declares that `value`, wherever it occurs, stands for the global `name` of the receiving state.
function closure.by_name(name, value) names.declare(name, value) end

--- Everything that has a name (wire/names.lua).
---@param globals table
---@param add_fields function
function closure.names(globals, add_fields) return names.all(globals, add_fields) end

function closure.own_parts(list, add_fields) names.add_own_parts(list, add_fields) end

--- The module that a name stands for in this state. Raises when it can't be loaded.
local function loaded(module)
  local value = rawget(package.loaded, module)
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
    if start.is_known(module) then
      local again = start.opened_again(module)
      return again == nil and start.values[module] or again
    end
    return loaded(module)
  end
  local value
  if module == "_G" then
    value = start.globals[field]
    if value == nil then
      value = rawget(globals, field)
    end
  elseif start.is_known(module) then
    local again = start.opened_again(module)
    value = start.libraries[module][field]
    if again and start.is_same_builtin(rawget(again, field), value) then value = again[field] end
  else
    local holder = loaded(module)
    if type(holder) == "table" then
      value = rawget(holder, field)
      if value == nil and module:sub(1, 6) == "parlua" then value = holder[field] end -- it may not be loaded yet
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

function closure.maker(object) return makers.how(object) end
function closure.remake(module, maker, settings) return makers.make(module, maker, settings) end
closure.builtin = start.builtin

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

-- ---- Errors, and what is not there ----

function closure.complaint(what, number, count, steps, value, reason)
  return complaint.complaint(what, number, count, steps, value, reason)
end

local of_module = setmetatable({}, { __mode = "k" }) -- what wire/lazily.lua has found in modules

--- What a worker is to be told where it uses `value`, which can't be sent, in a module that it requires, if requiring
--- the module does not make it there; nil: it is nil there then, as functions of the module make it when they need it.
--- `kind`, `key`, `holder`: an upvalue of a function, or a field of a table.
function closure.keep(message, module, kind, key, holder, value)
  if type(module) ~= "table" then return nil end
  local found = of_module[module]
  if not found then
    found = lazily.of_module(module)
    of_module[module] = found
  end
  if kind == "upvalue" then
    if found.upvalues[debug.upvalueid(holder, key)] then return nil end
  elseif kind ~= "field" or type(key) ~= "string" or found.fields[key] or holder ~= module and not found.read[key] then
    return nil
  end
  return type(value) .. " " .. absent.why(nil, message)
end

--- What stands for a value that is not there: see `keep`.
function closure.absent(text)
  local kind, why = text:match "^(%l+) (.*)$"
  return absent.of(kind or "userdata", why or text)
end

return closure
