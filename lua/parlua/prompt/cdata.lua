--- Objects of the FFI in a line: arrays with their first numbers, structs with their fields, pointers by their address.
local bit = require "bit"
local ffi = require "ffi"
local value_module = require "parlua.value"

local M = {}

local STRUCT, REFERENCE, FIELD, BITFIELD = 1, 2, 9, 10 -- kinds in LuaJIT's table of C types
local MOST_FIELDS = 12

local function line_inside(value) return M.line(value, true) end

local function kind_of(info) return bit.rshift(info.info, 28) end

--- A struct's fields by their names; nil: LuaJIT does not tell, or the struct has a text of its own.
local function struct_line(value, name)
  local told, text = pcall(tostring, value)
  if not ffi.typeinfo or not told or not text:find "^cdata<" then return nil end
  local info = ffi.typeinfo(tonumber(ffi.typeof(value)))
  if info and kind_of(info) == REFERENCE then info = ffi.typeinfo(bit.band(info.info, 0xffff)) end
  if not info or kind_of(info) ~= STRUCT then return nil end
  local parts = {}
  while info.sib do
    info = ffi.typeinfo(info.sib)
    local kind = kind_of(info)
    if info.name and (kind == FIELD or kind == BITFIELD) then
      if #parts == MOST_FIELDS then
        parts[#parts + 1] = "…"
        break
      end
      local item = value[info.name]
      parts[#parts + 1] = info.name .. " = " .. value_module.format(item, { depth = 1, bytes = 40,
        describe = line_inside })
    end
  end
  return #parts > 0 and ("<%s: %s>"):format(name, table.concat(parts, ", ")) or nil
end

--- Arrays of the FFI: the type, and the first numbers. Pointers have no length.
---@param value any
---@param is_inside? boolean it is a part of an object that is there
---@return string? text nil: it has no form of its own
function M.line(value, is_inside)
  if type(value) ~= "cdata" then return nil end
  local name = tostring(ffi.typeof(value)):match("^ctype<(.*)>$")
  if name and name:find "%*$" then -- nothing is read: it may point anywhere
    return ("<%s: %s>"):format(name, value == nil and "NULL" or ("0x%x"):format(tonumber(ffi.cast("intptr_t", value))))
  end
  local count = name and name:match("%[(%d+)%]$")
  if not count then
    local ok, inner = pcall(function()
      return type(value[0]) == "number" and ffi.sizeof(value) / ffi.sizeof(ffi.typeof(value[0]))
    end)
    count = ok and name and name:find("%[%?%]") and inner or nil
  end
  if not count then
    if not name or name:find "&$" and not is_inside then return nil end -- it may stand for what is no more
    local known, text = pcall(struct_line, value, (name:gsub(" &$", "")))
    return known and text or nil
  end
  local length = tonumber(count)
  local parts = {}
  for k = 0, math.min(length, 8) - 1 do
    local ok, item = pcall(function() return value[k] end)
    if not ok then return nil end
    parts[#parts + 1] = type(item) == "number" and value_module.number(item) or tostring(item)
  end
  if length > 8 then parts[#parts + 1] = "…" end
  return ("<%s: %s>"):format(name, table.concat(parts, ", "))
end

return M
