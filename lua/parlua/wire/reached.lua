--- All that a value leads to: functions and tables in upvalues, in tables and their metatables, and C data. A watch of
--- them (src/lua/codec/watch.c) tells of any change in what the value is, but for globals.
local closure = require "parlua.wire.closure"
local start = require "parlua.wire.start"

require("jit").off(true, true)

local MOST = 1000         -- objects: of more it would cost more to look at all than to go without
local MOST_FIELDS = 20000 -- of all tables together

local getmetatable, size_of, type_of = debug.getmetatable, start.libraries.ffi.sizeof, start.libraries.ffi.typeof

--- Tables, functions and C data (these with their size behind them), in a list; nil: there are too many, or some whose
--- size is not known. Pools and futures are left out, which never cross; so are the libraries that every state has.
---@param value any
---@return table[]?
return function(value)
  local list, queue, seen, fields, is_known = {}, {}, {}, 0, true
  for _, library in next, start.values do seen[library] = true end
  local function visit(object)
    local kind = type(object)
    if kind ~= "table" and kind ~= "function" and kind ~= "cdata" or seen[object] then return end
    seen[object] = true
    list[#list + 1] = object
    if kind ~= "cdata" then
      queue[#queue + 1] = object
    elseif tostring(type_of(object)):find "&" then
      is_known = false
    else
      list[#list + 1] = size_of(object)
    end
  end
  visit(value)
  local at = 0
  while at < #queue do
    at = at + 1
    local object = queue[at]
    if #list > MOST or object == _G or not is_known then return nil end
    if type(object) == "function" then
      closure.each_upvalue(object, visit)
    else
      local meta = getmetatable(object)
      if type(meta) ~= "table" or not rawget(meta, "__is_bound") then
        if type(meta) == "table" then visit(meta) end
        for key, field in next, object do
          fields = fields + 1
          if fields > MOST_FIELDS then return nil end
          visit(key)
          visit(field)
        end
      end
    end
  end
  return is_known and list or nil
end
