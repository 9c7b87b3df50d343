--- Does a function, or one that it holds, have such a string among its constants: does it name that field?
local closure = require "parlua.wire.closure"
local util = require "jit.util"

local M = {}

local MOST = 1000 -- functions that are looked at

local function proto_names(proto, name)
  local info = util.funcinfo(proto)
  for at = -1, -info.gcconsts, -1 do
    local constant = util.funck(proto, at)
    if constant == name then return true end
    if type(constant) == "proto" and proto_names(constant, name) then return true end
  end
  return false
end

local known = setmetatable({}, { __mode = "k" }) -- function -> { name -> boolean }

local function look(f, name)
  local seen, queue = { [f] = true }, { f }
  local at = 0
  local function visit(value)
    if type(value) ~= "function" or seen[value] or #queue >= MOST then return end
    seen[value] = true
    queue[#queue + 1] = value
  end
  while at < #queue do
    at = at + 1
    local each = queue[at]
    local proto = type(each) == "function" and util.funcinfo(each).proto
    if proto then
      if proto_names(proto, name) then return true end
      closure.each_upvalue(each, visit)
      local plan = closure.plans[each] or closure.plan(each)
      for i = 2, #plan do visit(rawget(getfenv(each), plan[i])) end
    end
  end
  return false
end

--- Looked at once for each function.
---@param f any
---@param name string
---@return boolean
function M.names(f, name)
  if type(f) ~= "function" then return false end
  known[f] = known[f] or {}
  if known[f][name] == nil then known[f][name] = look(f, name) end
  return known[f][name]
end

return M
