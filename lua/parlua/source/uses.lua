--- Which fields of a row a function looks at, by its bytecode: what it never asks for need not be read. Known only
--- where each use of the parameter is a field by a name that stands in the code (`row.city`), or where the row is what
--- the function returns; else (it is passed on, stepped through, captured, indexed by a variable) all of it counts.
local bit = require "bit"
local jit_util = require "jit.util"

local loadstring = require("parlua.wire.start").globals.loadstring -- a script may have taken it away
local M = {}

local band, rshift = bit.band, bit.rshift
local funcbc, funcinfo, funck = jit_util.funcbc, jit_util.funcinfo, jit_util.funck

-- What an operand is, as jit.util.funcbc tells it in an instruction's mode: 3 bits for A, 4 for B, 4 for C or D.
local DESTINATION, BASE, VARIABLE, RANGE = 1, 2, 3, 4

--- The opcode of the first (or n-th) instruction of a piece of code: they have other numbers in other LuaJITs.
local function opcode(text, n)
  return band(funcbc(loadstring("return function(r) " .. text .. " end")(), n or 1), 0xff)
end
M.opcode = opcode

--- An instruction: its opcode, its operands (b: nil where there is none, and then c is what is called D), and what
--- these are. nil: there is none.
---@return integer? op, integer a, integer? b, integer c, integer mode_a, integer mode_b, integer mode_c
function M.instruction(f, pc)
  local word, mode = funcbc(f, pc)
  if not word then return nil end
  local mode_b, b, c = band(rshift(mode, 3), 15), nil, rshift(word, 16)
  if mode_b ~= 0 then b, c = rshift(word, 24), band(c, 0xff) end
  return band(word, 0xff), band(rshift(word, 8), 0xff), b, c, band(mode, 7), mode_b, band(rshift(mode, 7), 15)
end
local instruction = M.instruction

local GET, SET, RETURN = opcode("return r.x"), opcode("r.x = nil", 2), opcode("return r")

--- Adds the fields that `f` uses of its parameter in `register` to a set. Returns false where that is not known; else
--- true, and whether f returns the parameter.
local function add_uses(f, register, used)
  local info = funcinfo(f)
  if not info.bytecodes or info.isvararg or info.children or info.params <= register then return false end
  local is_returned = false
  for pc = 1, info.bytecodes - 1 do
    local op, a, b, c, mode_a, mode_b, mode_c = instruction(f, pc)
    if not op then break end
    if a == register and mode_a == DESTINATION then return false end
    if (mode_a == BASE or mode_a == RANGE) and a <= register and op ~= RETURN then return false end
    if a == register and mode_a == VARIABLE then return false end
    if mode_b == RANGE and b <= register or mode_c == RANGE and c <= register then return false end
    if mode_c == VARIABLE and c == register then return false end
    if op == RETURN and a == register then is_returned = true end
    if mode_b == VARIABLE and b == register then
      if op ~= GET and op ~= SET then return false end
      used[funck(f, -c - 1)] = true
    end
  end
  return true, is_returned
end

--- The set of the fields of a row that a job's functions use; nil: all may be.
---@param f function
---@param register integer the parameter that is the row, from 0
---@param fields? table<string, true> those that are used of what f returns; nil: all of it
---@return table<string, true>?
function M.of(f, register, fields)
  local used = {}
  local known, is_returned = add_uses(f, register, used)
  if not known or is_returned and not fields then return nil end
  if is_returned then
    for name in pairs(fields) do used[name] = true end
  end
  return used
end

return M
