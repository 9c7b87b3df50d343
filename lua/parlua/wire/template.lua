--- Constructors with fields, `{ x = a, y = b }`, are copies of a template that LuaJIT's parser has made with room for
--- these fields. A dump leaves them out of the template, as their values are not constants: a function that came as a
--- dump makes a table without room, which grows as each field is set. So they are put into the templates again: a table
--- of three fields takes half the time then (bench/records.lua, threads).
local bit = require "bit"
local util = require "jit.util"
local loadstring = require("parlua.wire.start").globals.loadstring -- a script may have taken it away

require("jit").off(true, true) -- runs once for a function

local M = {}

local band, rshift = bit.band, bit.rshift
local funcbc, funcinfo, funck = util.funcbc, util.funcinfo, util.funck

-- What operand A is, as jit.util.funcbc tells it in an instruction's mode.
local DESTINATION, BASE, VARIABLE, RANGE = 1, 2, 3, 4

-- Opcodes have other numbers in other LuaJITs: read off a function.
local sample = loadstring "local a = { x = y } return a"
local TEMPLATE, SET = band(funcbc(sample, 1), 0xff), band(funcbc(sample, 3), 0xff)

--- Is an instruction one that makes a copy of a template?
---@param word integer as jit.util.funcbc gives it
function M.is_copy(word) return band(word, 0xff) == TEMPLATE end

--- Makes room in a template for the fields that are set in its copy, in `register`, behind instruction `pc`.
local function fill(proto, pc, register, template)
  local made = {}
  local word, mode = funcbc(proto, pc + 1)
  while word do
    local a, mode_a = band(rshift(word, 8), 0xff), band(mode, 7)
    local is_set = band(word, 0xff) == SET
    if is_set and rshift(word, 24) == register and a ~= register then
      local key = funck(proto, -1 - band(rshift(word, 16), 0xff))
      if rawget(template, key) == nil then
        rawset(template, key, false)
        made[#made + 1] = key
      end
    elseif a == register and (mode_a == DESTINATION or mode_a == VARIABLE)
      or a <= register and (mode_a == BASE or mode_a == RANGE) then
      break -- the table has gone elsewhere
    end
    pc = pc + 1
    word, mode = funcbc(proto, pc + 1)
  end
  for _, key in ipairs(made) do template[key] = nil end -- its place stays
end

--- Makes room in the templates of a function, or prototype, and of those nested in it.
function M.fill(f)
  local info = funcinfo(f)
  for pc = 1, info.bytecodes - 1 do
    local word = funcbc(f, pc)
    if M.is_copy(word) then fill(f, pc, band(rshift(word, 8), 0xff), funck(f, -1 - rshift(word, 16))) end
  end
  if not info.children then return end
  for at = -1, -info.gcconsts, -1 do
    local constant = funck(f, at)
    if type(constant) == "proto" then M.fill(constant) end
  end
end

return M
