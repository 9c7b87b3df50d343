--- Which variables a script's functions fill when they first need them, as in `conn = conn or connect()`: those that
--- one function both reads and sets. What can't be sent of such a variable is nil in a worker, whose functions then
--- make their own; of any other variable it is missed (absent.lua).
local bit = require "bit"
local util = require "jit.util"
local loadstring = require("parlua.wire.start").globals.loadstring

require("jit").off(true, true)

local M = {}

local band, rshift = bit.band, bit.rshift
local funcbc, funcinfo, funck, upvalue_id = util.funcbc, util.funcinfo, util.funck, debug.upvalueid

-- Opcodes have other numbers in other LuaJITs: read off a function.
local sample = loadstring [[
  local u
  return function(t)
    u = t u = "text" u = 1 u = nil
    g = u
    t.a = g
    return t.b
  end]]()

local function opcode(f, at) return band(funcbc(f, at), 0xff) end

-- What an instruction does with a variable.
local READS, SETS = 1, 2
local of_upvalue = { [opcode(sample, 1)] = SETS, [opcode(sample, 2)] = SETS, [opcode(sample, 3)] = SETS,
                     [opcode(sample, 4)] = SETS, [opcode(sample, 5)] = READS }
local of_global = { [opcode(sample, 6)] = SETS, [opcode(sample, 7)] = READS }
local of_field = { [opcode(sample, 8)] = SETS, [opcode(sample, 9)] = READS }

local function note(set, name, does) set[name] = bit.bor(set[name] or 0, does) end

--- Notes what a prototype, and those nested in it, do with names of globals and of fields; and the prototype itself
--- with its upvalues, by their number.
local function look(proto, names, fields, upvalues)
  local info = funcinfo(proto)
  for at = 1, info.bytecodes - 1 do
    local word = funcbc(proto, at)
    local code = band(word, 0xff)
    if of_global[code] then
      note(names, funck(proto, -1 - rshift(word, 16)), of_global[code])
    elseif of_field[code] then
      note(fields, funck(proto, -1 - band(rshift(word, 16), 0xff)), of_field[code])
    elseif of_upvalue[code] and upvalues then
      local number = of_upvalue[code] == READS and rshift(word, 16) or band(rshift(word, 8), 0xff)
      note(upvalues, number + 1, of_upvalue[code])
    end
  end
  if not info.children then return end
  for at = -1, -info.gcconsts, -1 do
    local constant = funck(proto, at)
    if type(constant) == "proto" then look(constant, names, fields) end
  end
end

--- Does a function both read and set a global?
function M.fills_global(f, name)
  if type(f) ~= "function" or not funcinfo(f).bytecodes then return false end
  local names = {}
  look(f, names, {})
  return names[name] == READS + SETS
end

local MOST = 2000 -- objects of a module that are looked at

--- What a module's functions do: upvalues (by their identity) and fields (by their name) that one of them fills, and
--- fields that one of them reads.
function M.of_module(module)
  local found = { upvalues = {}, fields = {}, read = {} }
  local seen, queue = { [module] = true, [_G] = true, [package.loaded] = true }, { module }
  local function visit(value)
    local kind = type(value)
    if (kind == "table" or kind == "function") and not seen[value] and #queue < MOST then
      seen[value] = true
      queue[#queue + 1] = value
    end
  end
  local at = 1
  while queue[at] do
    local object = queue[at]
    at = at + 1
    if type(object) == "table" then
      for key, value in next, object do
        visit(key)
        visit(value)
      end
      visit(debug.getmetatable(object))
    elseif funcinfo(object).bytecodes then
      local names, fields, upvalues = {}, {}, {}
      look(object, names, fields, upvalues)
      for name, does in next, fields do
        if does == READS + SETS then found.fields[name] = true end
        if does ~= SETS then found.read[name] = true end
      end
      for number, does in next, upvalues do
        if does == READS + SETS then found.upvalues[upvalue_id(object, number)] = true end
      end
      local number = 1
      local name, value = debug.getupvalue(object, 1)
      while name do
        visit(value)
        number = number + 1
        name, value = debug.getupvalue(object, number)
      end
    end
  end
  return found
end

return M
