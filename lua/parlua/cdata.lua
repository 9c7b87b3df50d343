--- Objects of the FFI in a line: arrays with their first elements, structs with their fields, texts, pointers by their
--- address. Part of parlua.value, which gives it the texts of other values.
local bit = require "bit"
local ffi = require "ffi"

ffi.cdef [[
struct parlua_shown_part { const void *at; size_t length; };
int parlua_shown_getpid(void) __asm__("getpid");
long parlua_shown_read(int pid, const struct parlua_shown_part *own, unsigned long owns,
  const struct parlua_shown_part *others, unsigned long count, unsigned long flags) __asm__("process_vm_readv");
]]

local M = {}

local texts -- parlua.value

-- Kinds in LuaJIT's table of C types, and flags of theirs.
local NUMBER, STRUCT, POINTER, ARRAY, ENUM = 0, 1, 2, 3, 5
local TYPEDEF, ATTRIBUTE, FIELD, BITFIELD, CONSTANT = 7, 8, 9, 10, 11
local IS_REFERENCE, IS_UNSIGNED, IS_BOOL = 0x00800000, 0x00800000, 0x08000000
local IS_VECTOR_OR_COMPLEX = 0x0c000000
local SUBTYPE = 3 -- of attributes: an unnamed struct in a struct

local MOST_FIELDS, MOST_ELEMENTS, MOST_DEPTH = 12, 8, 4
local MOST_TEXT = 200

local function kind_of(info) return bit.rshift(info.info, 28) end
local function has(info, flags) return bit.band(info.info, flags) ~= 0 end
local function child_of(info) return bit.band(info.info, 0xffff) end

--- A type without what stands before it: names, attributes, and where wanted references.
local function bare_type(number, through_references)
  local info = ffi.typeinfo(number)
  while info do
    local kind = kind_of(info)
    local passes = kind == TYPEDEF or kind == ATTRIBUTE or through_references and kind == POINTER
      and has(info, IS_REFERENCE)
    if not passes then return info end
    info = ffi.typeinfo(child_of(info))
  end
end

local typedefs, last_type = {}, 0 -- numbers of types -> the name that a typedef gives them; the last that was seen

--- Looks through all types where some were declared since.
local function find_typedefs()
  if ffi.typeinfo(last_type) and not ffi.typeinfo(last_type + 1) then return end
  typedefs, last_type = {}, 0
  local info = ffi.typeinfo(1)
  while info do
    last_type = last_type + 1
    local named = kind_of(info) == TYPEDEF and child_of(info)
    if named and not typedefs[named] then typedefs[named] = info.name end
    info = ffi.typeinfo(last_type + 1)
  end
end

--- The text of a type, with the names of typedefs where structs have none of their own.
---@param name string "struct 650 [3]"
---@return string
local function type_name(name)
  return (name:gsub("%f[%w](%a+) (%d+)", function(what, number)
    find_typedefs()
    return typedefs[tonumber(number)] or what
  end))
end

local part_text

--- Appends the names of a struct's fields, also of those of unnamed structs in it, until there are `most`.
local function add_names(names, info, most)
  while info.sib and #names < most do
    info = ffi.typeinfo(info.sib)
    local kind = kind_of(info)
    if kind == ATTRIBUTE and bit.band(bit.rshift(info.info, 16), 0xff) == SUBTYPE then
      local inner = bare_type(child_of(info))
      if inner then add_names(names, inner, most) end
    elseif info.name and (kind == FIELD or kind == BITFIELD) then
      names[#names + 1] = info.name
    end
  end
  return names
end

--- The fields of a struct as text.
local function fields_text(value, info, depth)
  local parts = add_names({}, info, MOST_FIELDS + 1)
  for k, name in ipairs(parts) do
    parts[k] = k > MOST_FIELDS and "…" or name .. " = " .. part_text(value[name], depth + 1)
  end
  return #parts > 0 and table.concat(parts, ", ") or nil
end

--- Names of a struct's fields; nil: the value is no struct, or none with fields.
---@param value any
---@return string[]?
function M.fields(value)
  if type(value) ~= "cdata" or not ffi.typeinfo then return nil end
  local info = bare_type(tonumber(ffi.typeof(value)), true)
  local names = info and kind_of(info) == STRUCT and add_names({}, info, math.huge) or {}
  return names[1] and names or nil
end

--- How many elements an array has; nil: the type is none, or of nothing.
local function count_elements(value, info)
  if kind_of(info) ~= ARRAY or has(info, IS_VECTOR_OR_COMPLEX) then return nil end
  local element = bare_type(child_of(info))
  if not element or not element.size or element.size == 0 then return nil end
  return math.floor((info.size or ffi.sizeof(value)) / element.size), element
end

--- How many elements an array of the FFI has; nil: the value is none.
---@param value any
---@return integer?
function M.length(value)
  local info = type(value) == "cdata" and ffi.typeinfo and bare_type(tonumber(ffi.typeof(value)), true)
  return info and tostring(ffi.typeof(value)) ~= tostring(value) and count_elements(value, info) or nil
end

--- An array of characters as a text in quotes; nil: they are none.
local function characters_text(value, count)
  local bytes = ffi.string(value, math.min(count, MOST_TEXT + 1))
  local text = bytes:match "^[^%z]*"
  if text == "" and bytes:find "[^%z]" then return nil end
  local quoted = texts.quote(text, MOST_TEXT)
  return not quoted:find "\\%d" and quoted or nil
end

--- What an array holds. Second: whether it is a text in quotes.
local function elements_text(value, info, depth)
  local count, element = count_elements(value, info)
  if not count then return nil end
  if kind_of(element) == NUMBER and element.size == 1 and not has(element, IS_UNSIGNED + IS_BOOL) then
    local text = characters_text(value, count)
    if text then return text, true end
  end
  local parts = {}
  for k = 0, math.min(count, MOST_ELEMENTS) - 1 do parts[#parts + 1] = part_text(value[k], depth + 1) end
  if count > MOST_ELEMENTS then parts[#parts + 1] = "…" end
  return table.concat(parts, ", ")
end

--- What a struct, an array or an enumeration's value holds; nil: it has no form of its own.
---@return string?
---@return boolean? is_bare it stands without brackets
local function content(value, info, depth)
  local kind = kind_of(info)
  if kind == STRUCT then
    return fields_text(value, info, depth)
  elseif kind == ARRAY then
    return elements_text(value, info, depth)
  elseif kind == ENUM then
    local number = tonumber(value)
    while info.sib do
      info = ffi.typeinfo(info.sib)
      if kind_of(info) == CONSTANT and info.size == number then return info.name, true end
    end
    return ("%d"):format(number), true
  end
end

local function name_of(value) return type_name(tostring(ffi.typeof(value)):match "^ctype<(.*)>$") end

local function pointer_text(value)
  return ("<%s: %s>"):format(name_of(value),
    value == nil and "NULL" or ("0x%x"):format(tonumber(ffi.cast("uintptr_t", ffi.cast("void *", value)))))
end

--- A field of a struct, an element of an array.
function part_text(value, depth)
  if type(value) == "number" then return texts.number(value) end
  if type(value) ~= "cdata" then return texts.format(value, { depth = 1, bytes = 40 }) end
  local info = bare_type(tonumber(ffi.typeof(value)), true)
  if info and kind_of(info) == POINTER then return pointer_text(value) end
  local own = tostring(value)
  if not info or not own:find "^cdata<" then return own end
  if depth >= MOST_DEPTH then return "{...}" end
  local text, is_bare = content(value, info, depth)
  if not text then return "<" .. own .. ">" end
  return is_bare and text or "{" .. text .. "}"
end

--- Can be read what a reference stands for? It may be no more.
local function is_readable(value, size)
  if not size or size == 0 or size > 2 ^ 20 then return false end
  local bytes = ffi.new("char[?]", size)
  local own = ffi.new("struct parlua_shown_part", bytes, size)
  local other = ffi.new("struct parlua_shown_part", ffi.cast("void *", value), size)
  return ffi.C.parlua_shown_read(ffi.C.parlua_shown_getpid(), own, 1, other, 1, 0) == size
end

local function line(value)
  local number = tonumber(ffi.typeof(value))
  local told = tostring(value)
  if told == tostring(ffi.typeof(value)) then return type_name(told) end -- it is a type
  local info, outer = bare_type(number, true), bare_type(number)
  if not info then return nil end
  if kind_of(info) == POINTER then return pointer_text(value) end
  if not told:find "^cdata<" then return nil end
  if kind_of(outer) == POINTER and not is_readable(value, info.size) then return nil end
  local text = content(value, info, 0)
  return text and ("<%s: %s>"):format((name_of(value):gsub(" ?%(?&%)?", "")), text)
end

--- An object of the FFI as text.
---@param value any
---@param value_module table parlua.value
---@return string? text nil: it has no form of its own
function M.line(value, value_module)
  if type(value) ~= "cdata" or not ffi.typeinfo then return nil end
  texts = value_module
  local ok, text = pcall(line, value)
  return ok and text or nil
end

return M
