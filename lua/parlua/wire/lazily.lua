--- Which variables a script's functions fill when they first need them, as in `conn = conn or connect()`: those that
--- one function sets where they are nil. What can't be sent of such a variable is nil in a worker, whose functions then
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

-- Instructions that jump: where a value is there, where it is none, where it is not nil, where it is nil; and those by
-- which a function ends.
local tests = loadstring [[
  local tests = {}
  function tests.is_there(t) if not t then t = 1 end end
  function tests.is_none(t) if t then t = 1 end end
  function tests.is_no_nil(t) if t == nil then t = 1 end end
  function tests.is_nil(t) if t ~= nil then t = 1 end end
  local ends = {
    function() end, function(t) return t end, function(t) return t, t end, function(t) return t() end,
    function(t) return t(t()) end, function(t) return t() , t() end,
  }
  return tests, ends]]
local is_end = {}
do
  local ends
  tests, ends = tests()
  for name, f in next, tests do tests[name] = opcode(f, 1) end
  for _, f in next, ends do is_end[opcode(f, funcinfo(f).bytecodes - 1)] = true end
end

--- Does a function ask whether the value that instruction `at` has put into a register is there, to go on where it is
--- not: by `not x`, `x or`, `x == nil`, or by a return where it is?
local function asks(proto, at, bytecodes)
  if at + 2 >= bytecodes then return false end
  local register, word = band(rshift(funcbc(proto, at), 8), 0xff), funcbc(proto, at + 1)
  local code = band(word, 0xff)
  if code == tests.is_there then return rshift(word, 16) == register end
  if code == tests.is_no_nil then return band(rshift(word, 8), 0xff) == register end
  if code == tests.is_none and rshift(word, 16) ~= register then return false end
  if code == tests.is_nil and band(rshift(word, 8), 0xff) ~= register then return false end
  if code ~= tests.is_none and code ~= tests.is_nil then return false end
  local last = at + 2 + rshift(funcbc(proto, at + 2), 16) - 0x8000 -- before the place that is jumped to
  return last < bytecodes and is_end[band(funcbc(proto, last), 0xff)] == true
end

-- What an instruction does with a variable; ASKS: it is read as `asks` says.
local READS, SETS, ASKS = 1, 2, 4
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
    local does = of_global[code] or of_field[code] or of_upvalue[code]
    local noted = does == READS and asks(proto, at, info.bytecodes) and READS + ASKS or does
    if of_global[code] then
      note(names, funck(proto, -1 - rshift(word, 16)), noted)
    elseif of_field[code] then
      note(fields, funck(proto, -1 - band(rshift(word, 16), 0xff)), noted)
    elseif does and upvalues then
      local number = does == READS and rshift(word, 16) or band(rshift(word, 8), 0xff)
      note(upvalues, number + 1, noted)
    end
  end
  if not info.children then return end
  for at = -1, -info.gcconsts, -1 do
    local constant = funck(proto, at)
    if type(constant) == "proto" then look(constant, names, fields) end
  end
end

local function fills(does) return band(does or 0, SETS + ASKS) == SETS + ASKS end

--- Does a function set a global where it is nil?
function M.fills_global(f, name)
  if type(f) ~= "function" or not funcinfo(f).bytecodes then return false end
  local names = {}
  look(f, names, {})
  return fills(names[name])
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
        if fills(does) then found.fields[name] = true end
        if does ~= SETS then found.read[name] = true end
      end
      for number, does in next, upvalues do
        if fills(does) then found.upvalues[upvalue_id(object, number)] = true end
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
