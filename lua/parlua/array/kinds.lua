--- The types of an array's elements.
local ffi = require "ffi"

local M = {}

---@class parlua.ArrayKind
---@field name string as scripts write it
---@field number integer its place in the list
---@field text string as C writes it
---@field ctype ffi.ctype*
---@field pointer ffi.ctype* to elements
---@field constant ffi.ctype* to elements that can't be written
---@field size integer bytes of an element
---@field class "float"|"integer"|"complex"
---@field signed? boolean of integers
---@field low? number the least and the largest integer
---@field high? number
---@field wide? boolean of integers: not all are doubles; elements are int64_t or uint64_t

local list = {
  { name = "float", class = "float" },
  { name = "double", class = "float" },
  { name = "int8", ctype = "int8_t", signed = true },
  { name = "int16", ctype = "int16_t", signed = true },
  { name = "int32", ctype = "int32_t", signed = true },
  { name = "int64", ctype = "int64_t", signed = true, wide = true },
  { name = "uint8", ctype = "uint8_t" },
  { name = "uint16", ctype = "uint16_t" },
  { name = "uint32", ctype = "uint32_t" },
  { name = "uint64", ctype = "uint64_t", wide = true },
  { name = "complex", class = "complex" },
  { name = "complex float", class = "complex" },
}

local by_name = {}

for number, kind in ipairs(list) do
  kind.number, kind.class = number, kind.class or "integer"
  local text = kind.ctype or kind.name
  kind.text, kind.ctype = text,
    ffi.typeof(text) -- no `$` in what typeof is given: busted keeps its results by the text alone
  kind.pointer, kind.constant = ffi.typeof(text .. " *"), ffi.typeof("const " .. text .. " *")
  kind.size = ffi.sizeof(kind.ctype)
  if kind.class == "integer" then
    local bits = 8 * kind.size
    kind.low, kind.high = kind.signed and -2 ^ (bits - 1) or 0, 2 ^ (kind.signed and bits - 1 or bits) - 1
  end
  by_name[kind.name], by_name[text] = kind, kind
end

by_name["complex double"] = by_name.complex
by_name["double complex"], by_name["float complex"] = by_name.complex, by_name["complex float"]

M.list, M.by_name = list, by_name

--- The least and the largest number of an integer kind, as texts.
---@return string low
---@return string high
function M.limits(kind)
  if kind.wide then
    if kind.signed then return "-9223372036854775808", "9223372036854775807" end
    return "0", "18446744073709551615"
  end
  return ("%.0f"):format(kind.low), ("%.0f"):format(kind.high)
end

local names = {}
for k, kind in ipairs(list) do names[k] = kind.name end
M.names = table.concat(names, ", ", 1, #names - 1) .. " or " .. names[#names]

local others = { -- names of C and NumPy
  float64 = "double", float32 = "float", number = "double", int = "int32", integer = "int32", long = "int64",
  short = "int16", byte = "uint8", char = "int8", bool = "uint8", boolean = "uint8", uint = "uint32",
  complex128 = "complex", complex64 = "complex float", ["complex double"] = "complex", f4 = "float", f8 = "double",
  i1 = "int8", i2 = "int16", i4 = "int32", i8 = "int64", u1 = "uint8", u2 = "uint16", u4 = "uint32", u8 = "uint64",
}

--- What a name means that others give to one of these types, or nil.
---@return string?
function M.of_other(name)
  name = name:lower()
  local plain = name:match "^(.*)_t$" or name
  return by_name[plain] and plain or others[plain]
end

--- The kind that C calls so, or nil: "int", "unsigned char".
---@param text string as tostring(ffi.typeof(...)) has it
---@return parlua.ArrayKind?
function M.of_ctype(text)
  for _, kind in ipairs(list) do
    if tostring(kind.ctype) == "ctype<" .. text .. ">" then return kind end
  end
end

--- The kind of a name, or nil.
---@return parlua.ArrayKind?
function M.of(name) return by_name[name] end

--- Does a kind hold a number: not more, nor less, than it has room for? A fraction is another matter.
---@param kind parlua.ArrayKind
---@param value number|ffi.cdata* a number, or a 64-bit integer
---@return boolean
function M.has_room(kind, value)
  if kind.class ~= "integer" then return true end
  if type(value) == "number" then
    if kind.wide then return value >= kind.low and value < kind.high end -- `high` is one more, as a double
    return value > kind.low - 1 and value < kind.high + 1
  end
  if ffi.istype("uint64_t", value) then
    if kind.wide then return not kind.signed or value <= 9223372036854775807ULL end
    return value <= ffi.cast("uint64_t", kind.high)
  end
  if kind.wide then return kind.signed or value >= 0LL end
  return value >= ffi.cast("int64_t", kind.low) and value <= ffi.cast("int64_t", kind.high)
end

--- The kind that holds what two kinds hold, as far as there is one: what elementwise arithmetic gives.
---@param a parlua.ArrayKind
---@param b parlua.ArrayKind
---@return parlua.ArrayKind
function M.common(a, b)
  if a == b then return a end
  if a.class == "complex" or b.class == "complex" then
    local is_single = (a.size <= 4 or a.name == "complex float") and (b.size <= 4 or b.name == "complex float")
      and (a.class ~= "integer" or a.size <= 2) and (b.class ~= "integer" or b.size <= 2)
    return is_single and by_name["complex float"] or by_name.complex
  end
  if a.class == "float" or b.class == "float" then
    local other = a.class == "float" and b or a
    local float = other == b and a or b
    if float.name == "float" and other.class == "integer" and other.size <= 2 then return float end
    return by_name.double
  end
  if a.signed == b.signed then return a.size > b.size and a or b end
  local signed, unsigned = a, b
  if b.signed then signed, unsigned = b, a end
  if signed.size > unsigned.size then return signed end
  if unsigned.size == 8 then return by_name.double end
  return by_name["int" .. 16 * unsigned.size]
end

return M
