--- The values of JSON that hold no others: strings, numbers, and what JSON has no form for (wire/json.lua says how each
--- is written). Each function appends to a `string.buffer`.
local arrays = require("parlua.array.known").numbers
local bit = require "bit"
local ffi = require "ffi"
require "parlua.wire.header" "lua/ffi_json.h"

local type, next, tostring, tonumber = type, next, tostring, tonumber
local byte, find, format, gsub = string.byte, string.find, string.format, string.gsub
local band, bor, lshift, rshift = bit.band, bit.bor, bit.lshift, bit.rshift
local floor, huge = math.floor, math.huge

local M = {}

local C = ffi.C
local number_text = ffi.new("char[24]")
local EXACT = 2 ^ 53          -- up to here every integer is a double
local SHORT = 1e14            -- up to here string.buffer writes an integer as its digits

-- Strings ---------------------------------------------------------------------------------------------------------

local ESCAPES = {
  ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\b"] = "\\b", ["\f"] = "\\f",
}
for code = 0, 31 do
  local character = string.char(code)
  ESCAPES[character] = ESCAPES[character] or format("\\u%04x", code)
end
ESCAPES["\127"] = "\\u007f"
local LINE_ENDS = { ["\168"] = "\\u2028", ["\169"] = "\\u2029" }   -- by the last byte of their UTF-8

--- Does the text hold well-formed UTF-8 only (no overlong forms, no surrogates, nothing above U+10FFFF)?
local function is_utf8(text)
  local i, length = 1, #text
  while i <= length do
    local b = byte(text, i)
    if b < 0x80 then
      i = i + 1
    else
      local more, low, high
      if b >= 0xC2 and b <= 0xDF then more, low, high = 1, 0x80, 0xBF
      elseif b >= 0xE0 and b <= 0xEF then
        more, low, high = 2, b == 0xE0 and 0xA0 or 0x80, b == 0xED and 0x9F or 0xBF
      elseif b >= 0xF0 and b <= 0xF4 then
        more, low, high = 3, b == 0xF0 and 0x90 or 0x80, b == 0xF4 and 0x8F or 0xBF
      else
        return false
      end
      if i + more > length then return false end
      for j = i + 1, i + more do
        local c = byte(text, j)
        if c < low or c > high then return false end
        low, high = 0x80, 0xBF
      end
      i = i + more + 1
    end
  end
  return true
end

local DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

--- The bytes of a string in base64 (RFC 4648, padded).
local function base64(text)
  local length = #text
  local groups = floor((length + 2) / 3)
  local from, to = ffi.cast("const uint8_t *", text), ffi.new("uint8_t[?]", 4 * groups)
  local digits = ffi.cast("const uint8_t *", DIGITS)
  for i = 0, groups - 1 do
    local at = 3 * i
    local a = from[at]
    local b = at + 1 < length and from[at + 1] or 0
    local c = at + 2 < length and from[at + 2] or 0
    local bits = bor(lshift(a, 16), lshift(b, 8), c)
    to[4 * i] = digits[rshift(bits, 18)]
    to[4 * i + 1] = digits[band(rshift(bits, 12), 63)]
    to[4 * i + 2] = at + 1 < length and digits[band(rshift(bits, 6), 63)] or 61
    to[4 * i + 3] = at + 2 < length and digits[band(bits, 63)] or 61
  end
  return ffi.string(to, 4 * groups)
end

--- Appends a string.
local function put_string(buffer, text)
  if not find(text, '[%c"\\\128-\255]') then
    buffer:put('"', text, '"')
  elseif not find(text, "[\128-\255]") then
    buffer:put('"', (gsub(text, '[%c"\\]', ESCAPES)), '"')
  elseif is_utf8(text) then
    text = gsub(text, '[%z\1-\31\127"\\]', ESCAPES)
    text = gsub(gsub(text, "\226\128([\168\169])", LINE_ENDS), "\194\133", "\\u0085")
    buffer:put('"', text, '"')
  else
    buffer:put('{"$bytes":"', base64(text), '"}')
  end
end

-- Numbers and the other values that hold nothing ------------------------------------------------------------------

--- Appends a number.
local function put_number(buffer, x)
  if floor(x) == x and x < SHORT and x > -SHORT then
    if x == 0 and 1 / x < 0 then buffer:put("-0.0") else buffer:put(x) end
  elseif x ~= x then
    buffer:put('{"$number":"nan"}')
  elseif x == huge then
    buffer:put('{"$number":"inf"}')
  elseif x == -huge then
    buffer:put('{"$number":"-inf"}')
  elseif floor(x) == x and x <= EXACT and x >= -EXACT then
    buffer:put(format("%d", x))
  else
    local length = C.parlua_json_number(x, number_text)
    if length > 0 then
      buffer:putcdata(number_text, length)
      return
    end
    local text = format("%.15g", x)
    if tonumber(text) ~= x then
      text = format("%.16g", x)
      if tonumber(text) ~= x then text = format("%.17g", x) end
    end
    buffer:put(text)
  end
end

--- The name of a library function, as "string.rep", or nil.
local function library_name(f)
  local best
  for module, contents in next, package.loaded do
    if type(module) == "string" and type(contents) == "table" then
      for name, value in next, contents do
        if value == f and type(name) == "string" then
          local full = module == "_G" and name or module .. "." .. name
          if not best or #full < #best or (#full == #best and full < best) then best = full end
        end
      end
    end
  end
  return best
end

--- The name under which a userdata's metatable was registered, or nil.
local function userdata_name(value)
  local metatable = debug.getmetatable(value)
  if not metatable then return nil end
  for name, registered in next, debug.getregistry() do
    if rawequal(registered, metatable) and type(name) == "string" then return name end
  end
  return nil
end

local COMPLEX, INT64, UINT64 = ffi.typeof("complex"), ffi.typeof("int64_t"), ffi.typeof("uint64_t")

local put_opaque

--- Appends the elements of an array: lists in lists, a level for each dimension.
local function put_elements(buffer, elements)
  if type(elements) == "number" then return put_number(buffer, elements) end
  if type(elements) ~= "table" then return put_opaque(buffer, elements, "cdata") end
  for k = 1, #elements do
    buffer:put(k == 1 and "[" or ",")
    put_elements(buffer, elements[k])
  end
  buffer:put("]")
end

--- Appends a value that has no plain form and is no table.
function put_opaque(buffer, value, kind)
  local name
  if kind == "function" then
    local info = debug.getinfo(value, "S")
    if info.what == "C" then
      name = library_name(value) or "built-in"
    else
      local path = info.source:match("^@(.*)") or info.short_src
      name = path .. ":" .. info.linedefined
    end
  elseif kind == "userdata" then
    local text = tostring(value)
    if not debug.getmetatable(value) and (text == "userdata: NULL" or text == "userdata: (nil)") then
      buffer:put("null")
      return
    end
    name = userdata_name(value) or "userdata"
  elseif kind == "thread" then
    name = coroutine.status(value)
  elseif ffi.istype(COMPLEX, value) then
    buffer:put('{"$complex":[')
    put_number(buffer, value.re)
    buffer:put(",")
    put_number(buffer, value.im)
    buffer:put("]}")
    return
  elseif ffi.istype(INT64, value) then
    kind, name = "int64", gsub(tostring(ffi.cast(INT64, value)), "LL$", "")
  elseif ffi.istype(UINT64, value) then
    kind, name = "uint64", gsub(tostring(ffi.cast(UINT64, value)), "ULL$", "")
  elseif arrays[tonumber(ffi.typeof(value))] and not value.freed then
    return put_elements(buffer, value:totable())
  else
    name = gsub(gsub(tostring(ffi.typeof(value)), "^ctype<", ""), ">$", "")
  end
  buffer:put('{"$', kind, '":')
  put_string(buffer, name)
  buffer:put("}")
end

M.is_utf8, M.put_string, M.put_number, M.put_opaque = is_utf8, put_string, put_number, put_opaque

return M
