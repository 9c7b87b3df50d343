--- What a run is known by in a journal: the code of the map function, the variables that it captured, the source. A
--- journal of another run is refused.
local bit = require "bit"
local util = require "jit.util"
local is_own_source = require("parlua.wire.record").is_own_source
local hash = require "parlua.hash"

local M = {}

-- Instructions that LuaJIT exchanges while it runs a function, by the name that stands for them all.
local same_instruction = {
  JFORI = "FORI", JFORL = "FORL", IFORL = "FORL", JITERL = "ITERL", IITERL = "ITERL", JLOOP = "LOOP", ILOOP = "LOOP",
    IFUNCF = "FUNCF",
  JFUNCF = "FUNCF", IFUNCV = "FUNCV", JFUNCV = "FUNCV", ITERN = "ITERC", ISNEXT = "JMP",
}

--- The functions of loaded modules, by name: "math.sqrt".
local function library_names()
  local names = {}
  for module, fields in pairs(package.loaded) do
    for name, value in pairs(type(fields) == "table" and fields or {}) do
      if type(value) == "function" and type(name) == "string" then
        local full = module .. "." .. name
        if not names[value] or full < names[value] then names[value] = full end
      end
    end
  end
  return names
end

--- Adds the code of a function or prototype to a list: instructions and constants. (Not string.dump: its order of
--- constant tables' fields differs from process to process.)
local function add_code(list, f, names)
  local info = util.funcinfo(f)
  if not info.bytecodes then -- of C
    list[#list + 1] = "C:" .. (library_names()[f] or "?")
    return
  end
  for at = 1, info.bytecodes - 1 do
    local instruction = util.funcbc(f, at)
    local code = bit.band(instruction, 0xff)
    local name = names:sub(6 * code + 1, 6 * code + 6):gsub(" ", "")
    local plain = same_instruction[name] or name
    -- a compiled loop's operand is the number of its trace
    local is_loop = plain == "FORL" or plain == "ITERL" or plain == "LOOP"
    list[#list + 1] = plain .. (is_loop and bit.band(bit.rshift(instruction, 8), 0xff) or bit.rshift(instruction, 8))
  end
  for at = 0, (info.nconsts or 0) - 1 do list[#list + 1] = tostring(util.funck(f, at)) end
  for at = 1, info.gcconsts or 0 do
    local constant = util.funck(f, -at)
    if type(constant) == "proto" then
      add_code(list, constant, names)
    else
      list[#list + 1] = type(constant) == "cdata" and tostring(constant) or constant
    end
  end
end

--- The same with the functions that it uses, which are a part of it. `capture(name, value)` is told of its other
--- upvalues.
local function add_all(list, f, names, seen, capture)
  local info = util.funcinfo(f)
  add_code(list, f, names)
  for at = 1, info.bytecodes and info.upvalues or 0 do
    local name, value = debug.getupvalue(f, at)
    if type(value) ~= "function" then
      capture(name, value)
    elseif not seen[value] then
      seen[value] = true
      local source = debug.getinfo(value, "S")
      if is_own_source(source.source) then -- parlua's own, which keep state
        list[#list + 1] = source.source .. ":" .. source.linedefined
      else
        add_all(list, value, names, seen, capture)
      end
    end
  end
end

--- A number for the code of a function of Lua's, or of a prototype, without what it has captured.
---@return number
function M.code_of(f)
  local list = {}
  add_code(list, f, require("jit.vmdef").bcnames)
  return hash(list)
end

local originals = setmetatable({}, { __mode = "k" })

--- `f` does what `original` does, in another place: a journal knows it as that.
function M.stand_for(f, original) originals[f] = original end

--- A number for the code of a map function and of the functions that it uses; and "name=number" of each variable that
--- these captured, as far as it is data: what a task returns depends on it. Modules are known by their names.
function M.script_of(f)
  while originals[f] do f = originals[f] end
  local list, captured, seen, modules = {}, {}, { [f] = true }, {}
  for _, module in pairs(package.loaded) do modules[module] = true end
  add_all(list, f, require("jit.vmdef").bcnames, seen, function(name, value)
    if modules[value] then return end
    captured[#captured + 1] = ("%s=%.0f"):format(name, hash(value))
  end)
  return ("%.0f"):format(hash(list)), table.concat(captured, " ")
end

--- The first captured variable that differs between two lists, or nil where they are of different variables.
function M.differing(recorded, now)
  local values = {}
  for name, value in recorded:gmatch("(%S+)=(%d+)") do values[#values + 1] = { name, value } end
  local k = 0
  for name, value in now:gmatch("(%S+)=(%d+)") do
    k = k + 1
    if not values[k] or values[k][1] ~= name then return nil end
    if values[k][2] ~= value then return name end
  end
end

--- A source in words.
function M.describe(source)
  if source.label then return source.label end
  if source.kind == "range" then
    return ("range(%.17g, step %.17g, %d tasks)"):format(source.first, source.step, source.n)
  end
  local parts = {}
  for k, part in ipairs(source.parts or {}) do parts[k] = M.describe(part) end
  if source.path then parts[1] = table.concat(source.paths, "\n") end
  return source.kind .. (parts[1] and "(" .. table.concat(parts, ", ") .. ")" or "")
    .. (source:is_indexed() and (" of %d tasks"):format(source.n) or "")
end

return M
