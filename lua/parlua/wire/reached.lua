--- All that a function leads to: the functions and tables in its upvalues, in those of these functions, in these tables
--- and their metatables. A watch of them (src/lua/codec/watch.c) tells of any change in what the function sees, but for
--- globals.
local closure = require "parlua.wire.closure"
local start = require "parlua.wire.start"

require("jit").off(true, true)

local MOST = 1000         -- objects: of more it would cost more to look at all than to send some again
local MOST_FIELDS = 20000 -- of all tables together

local getmetatable = debug.getmetatable

--- Tables and functions, in a list; nil: there are too many. Pools and futures are left out, which never cross; so are
--- the libraries that every state has.
---@param f function
---@return table[]?
return function(f)
  local list, seen, fields = { f }, { [f] = true }, 0
  for _, library in next, start.values do seen[library] = true end
  local function visit(value)
    local kind = type(value)
    if kind ~= "table" and kind ~= "function" or seen[value] then return end
    seen[value] = true
    list[#list + 1] = value
  end
  local at = 0
  while at < #list do
    at = at + 1
    local object = list[at]
    if #list > MOST or object == _G then return nil end
    if type(object) == "function" then
      closure.each_upvalue(object, visit)
    else
      local meta = getmetatable(object)
      if type(meta) == "table" and not rawget(meta, "__is_bound") then visit(meta) end
      if type(meta) ~= "table" or not rawget(meta, "__is_bound") then
        for key, value in next, object do
          fields = fields + 1
          if fields > MOST_FIELDS then return nil end
          visit(key)
          visit(value)
        end
      end
    end
  end
  return list
end
