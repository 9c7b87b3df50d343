--- What the codec has to know about a function to send it: its bytecode and the names of its globals.
local bit = require "bit"
local util = require "jit.util"
local record = require "parlua.wire.record"
local template = require "parlua.wire.template"

require("jit").off(true, true)

local M = {}

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

local plan_of_proto = setmetatable({}, { __mode = "k" })

--- The plan of a Lua function: its dump, then the names of its globals. Made once for all closures of the same code.
---@param f function
---@return table plan `off`: jit.off was called for it; `has_templates`: see wire/template.lua
function M.of(f)
  local proto = util.funcinfo(f).proto
  local plan = plan_of_proto[proto]
  if not plan then
    plan = { string.dump(f) }
    add_names(proto, plan, {})
    plan_of_proto[proto] = plan
  end
  plan.off = not_compiled[proto] ~= nil
  return plan
end

return M
