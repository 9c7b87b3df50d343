--- Which keys the tables have that a job's function returns, by its bytecode: known where it returns what a constructor
--- has made, `return { id = i, x = x }`, also as an object, `return setmetatable({ id = i, x = x }, Class)`; or the row
--- of a text as it came. Then nobody has to step through each table to
--- see which keys it has, and a trace of the function and the writer of its results (wire/shape.lua) makes no table:
--- LuaJIT sees that none is needed.
local uses = require "parlua.source.uses"
local start = require "parlua.wire.start"
local jit_util = require "jit.util"

local M = {}

-- What an operand is (see source/uses.lua).
local DESTINATION, BASE, VARIABLE, RANGE, JUMP = 1, 2, 3, 4, 13
local JUMP_BASE = 0x7fff

local instruction, opcode = uses.instruction, uses.opcode
local RETURN, NOTHING = opcode "return r", opcode "return"
local NEW, COPY = opcode "return { r }", opcode "return { 1 }"
local SET_SEVERAL = opcode("return { r() }", 4) -- what a call gave; its operand stands behind the table's
local SET_NAME, SET_PLACE = opcode("r.x = 1", 2), opcode("r[1] = 1", 2)

-- Returns of several values, and of what a call gives: in its place (a tail call), or behind others.
local other_returns = {}
for text, n in pairs { ["return r, r"] = 3, ["return r()"] = 2, ["return r(r())"] = 4, ["return r, r()"] = 4 } do
  other_returns[opcode(text, n)] = true
end

local TAIL_CALL, GLOBAL = opcode("return r()", 2), opcode "return setmetatable"
local UPVALUE = (function()
  local text = "local up = ... return function() return up end"
  return (instruction(start.globals.loadstring(text)(1), 1))
end)()
-- How far behind the function the first argument of a call stands.
local FIRST_ARGUMENT = (function()
  local sample = start.globals.loadstring "return function(r) return r({}) end"()
  local _, table_register = instruction(sample, 2)
  local _, base = instruction(sample, 3)
  return table_register - base
end)()

--- The places of the returns of a function, which are all of one kind; nil: some return no value, or more than one, or
--- (not asked for `by_call`) what a call gives.
---@param by_call? boolean those that return what a call gives, and no others
local function returns_of(f, count, by_call)
  local places = {}
  for pc = 1, count - 1 do
    local op = instruction(f, pc)
    if op == (by_call and TAIL_CALL or RETURN) then
      places[#places + 1] = pc
    elseif op == RETURN or op == NOTHING or other_returns[op] then
      return nil
    end
  end
  return #places > 0 and places or nil
end

--- Does an instruction do with a register what could put other keys into its table, or let others have it?
local function is_use(op, a, b, c, mode_a, mode_b, mode_c, register)
  if (mode_a == BASE or mode_a == RANGE) and a <= register then return true end
  if (mode_a == VARIABLE or mode_a == DESTINATION) and a == register then return true end
  if mode_b == RANGE and b <= register or mode_c == RANGE and c <= register then return true end
  if mode_c == VARIABLE and c == register or op == SET_SEVERAL and a == register + 1 then return true end
  return mode_b == VARIABLE and b == register and op ~= SET_NAME and op ~= SET_PLACE
end

--- Is there a jump from inside of first..last to outside, or from outside to inside?
local function is_crossed(f, count, first, last)
  for pc = 1, count - 1 do
    local op, _, _, c, _, _, mode_c = instruction(f, pc)
    if op and mode_c == JUMP then
      local target = pc + c - JUMP_BASE
      if (pc >= first and pc <= last) ~= (target >= first and target <= last) then return true end
    end
  end
  return false
end

--- The keys of the table that stands in a register at `last`, in order; nil: not known.
local function keys_at(f, count, last, register)
  local first = last
  repeat
    first = first - 1
    if first < 1 then return nil end
    local op, a = instruction(f, first)
  until (op == NEW or op == COPY) and a == register
  -- behind the constructor: so that what jumps there comes from there
  if is_crossed(f, count, first + 1, last) then return nil end
  local keys, known = {}, {}
  local function add(key)
    if not known[key] then keys[#keys + 1], known[key] = key, true end
  end
  local op, _, _, place = instruction(f, first)
  if op == COPY then
    for key in next, jit_util.funck(f, -place - 1) do add(key) end
  end
  for pc = first + 1, last - 1 do
    local a, b, c, mode_a, mode_b, mode_c
    op, a, b, c, mode_a, mode_b, mode_c = instruction(f, pc)
    if is_use(op, a, b, c, mode_a, mode_b, mode_c, register) then return nil end
    if mode_b == VARIABLE and b == register then
      if op == SET_NAME then add(jit_util.funck(f, -c - 1)) else add(c) end
    end
  end
  return keys, known, first
end

--- Is the function that a call at `last` calls Lua's own setmetatable? Its table's making begins at `first`.
local function sets_metatable(f, count, last, first)
  local _, base, _, n = instruction(f, last)
  if n ~= 3 then return false end -- two arguments
  local pc = first
  repeat
    pc = pc - 1
    if pc < 1 then return false end
    local _, a, _, _, mode_a = instruction(f, pc)
    if (mode_a == BASE or mode_a == RANGE) and a <= base then return false end
  until mode_a == DESTINATION and a == base
  if is_crossed(f, count, pc + 1, last) then return false end
  local op, _, _, place = instruction(f, pc)
  local called
  if op == GLOBAL and jit_util.funck(f, -place - 1) == "setmetatable" then
    called = rawget(getfenv(f), "setmetatable")
  elseif op == UPVALUE then
    called = select(2, debug.getupvalue(f, place + 1))
  end
  return called == start.globals.setmetatable
end

--- The keys of the table that the return at `last` gives; nil: not known.
local function keys_of(f, count, last, by_call)
  local _, register = instruction(f, last)
  if not by_call then return keys_at(f, count, last, register) end
  local keys, known, first = keys_at(f, count, last, register + FIRST_ARGUMENT)
  if keys and sets_metatable(f, count, last, first) then return keys, known end
end

--- The keys of the tables that a function makes and returns, in the order of their constructor; nil: not known. Tables
--- may lack some of them.
---@param f any
---@return table? keys
---@return boolean? is_object they have a metatable
function M.by(f)
  local info = type(f) == "function" and jit_util.funcinfo(f)
  if not info or not info.bytecodes or info.isvararg or info.children then return nil end
  local places, by_call = returns_of(f, info.bytecodes), false
  if not places then places, by_call = returns_of(f, info.bytecodes, true), true end
  local keys, known
  for _, place in ipairs(places or {}) do
    local more, more_known = keys_of(f, info.bytecodes, place, by_call)
    if not more or keys and #more ~= #keys then return nil end
    for _, key in ipairs(keys or {}) do
      if not more_known[key] then return nil end
    end
    keys, known = keys or more, known or more_known
  end
  return keys, keys and by_call
end

--- Does a function return its parameter in `register`, and nothing else, without a change?
local function returns_parameter(f, register)
  local info = type(f) == "function" and jit_util.funcinfo(f)
  if not info or not info.bytecodes or info.isvararg or info.children or info.params <= register then return false end
  local places = returns_of(f, info.bytecodes)
  if not places then return false end
  for pc = 1, info.bytecodes - 1 do
    local op, a, b, c, mode_a, mode_b, mode_c = instruction(f, pc)
    if op == RETURN then
      if a ~= register then return false end
    elseif op == SET_NAME or op == SET_PLACE then
      if a == register or b == register then return false end
    elseif is_use(op, a, b, c, mode_a, mode_b, mode_c, register) and not (op == uses.GET and b == register) then
      return false
    end
  end
  return true
end

--- The keys of the tables that a job's tasks return; nil: not known.
---@param job parlua.Job
---@return table? keys
---@return boolean? is_object
function M.keys(job)
  local source = job.source
  if job.fold then return nil end
  if source.kind == "csv" and source.names and returns_parameter(job.f, source.enumerated and 1 or 0) then
    return source.columns or source.names
  end
  return M.by(job.f)
end

return M
