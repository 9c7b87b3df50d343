--- Types of the FFI between states. The numbers by which LuaJIT knows types differ from state to state, so a type
--- travels as a description: its declaration as a string, where that names it ("struct point *"), or a table of a text
--- with `$` and descriptions of what stands for them: { "struct { $ x; $ y; }", size = 16, part, part }. Types without
--- a name are the same if they are described alike.
local bit = require "bit"
local codec = require "parlua.codec"
local ffi = require "ffi"
local start = require "parlua.wire.start"

require("jit").off(true, true)

-- LuaJIT's own; a script may have put others in their place. One that keeps what typeof gave by its text (busted does)
-- would give the same "int" again, which ctype_of has made another type: then every "int" of the state was that.
local concat, typeof = start.libraries.table.concat, start.libraries.ffi.typeof
local M = {}

local band, rshift = bit.band, bit.rshift
local typeinfo = ffi.typeinfo

-- Kinds of types and flags, from LuaJIT's lj_ctype.h (the upper four bits of `info`, and some of the others).
local STRUCT, POINTER, ARRAY, FUNCTION, TYPEDEF, ATTRIBUTE, FIELD, BITS = 1, 2, 3, 6, 7, 8, 9, 10
local CONST, UNION, REFERENCE, VARARG = 0x02000000, 0x00800000, 0x00800000, 0x00800000
local VARIABLE, UNSIGNED = 0x00100000, 0x00800000
local BOOLEAN, COMPLEX_FLAG = 0x08000000, 0x04000000

local function kind_of(info) return rshift(info.info, 28) end
local function child_of(info) return band(info.info, 0xffff) end
local function has(info, flag) return band(info.info, flag) ~= 0 end

local INT64, UINT64 = tonumber(typeof "int64_t"), tonumber(typeof "uint64_t")
local COMPLEX = tonumber(typeof "complex")
-- A ctype is cdata whose content is the number; the number of the type "ctype" itself stands in front of it, where
-- LuaJIT is as expected.
local CTYPE = codec.type_number(typeof "int")
local has_headers = codec.type_number(ffi.new "int64_t") == INT64 and codec.type_number(ffi.new "complex") == COMPLEX

local function is_ctype(value)
  if has_headers then return codec.type_number(value) == CTYPE end
  return tostring(value):find("^ctype<") ~= nil
end

local function number_of(value)
  if has_headers then return codec.type_number(value) end
  return tonumber(typeof(value))
end

--- The ctype with a number.
local function ctype_of(number) return codec.set_ctype(typeof("int"), number) end

-- ---- Descriptions ----

local described = {} -- number -> description
local by_text = {} -- text of a description that is a table -> ctype
local typedefs, looked_at = {}, 0 -- number -> a name for it; how many types were looked at for that

--- A description as one string.
local function text_of(description)
  if type(description) == "string" then return description end
  local parts, k = {}, 0
  for i = 2, #description do parts[i - 1] = "<" .. text_of(description[i]) .. ">" end
  local text = description[1]:gsub("%$", function()
    k = k + 1
    return parts[k]
  end)
  return description.size and text .. description.size or text -- packed ones look the same
end

--- Does a declaration name the type?
local function names(text, number)
  local ok, ctype = pcall(typeof, text)
  return ok and tonumber(ctype) == number
end

local function typedef_of(number)
  local info = typeinfo(looked_at + 1)
  while info do
    looked_at = looked_at + 1
    local child = child_of(info)
    if kind_of(info) == TYPEDEF and info.name and not typedefs[child] then typedefs[child] = info.name end
    info = typeinfo(looked_at + 1)
  end
  local name = typedefs[number]
  return name and names(name, number) and name or nil
end

local describe

local function describe_fields(info, number)
  local text, parts, wanted = { has(info, UNION) and "union {" or "struct {" }, {}, 0
  local next_field = info.sib
  while next_field do
    local field = typeinfo(next_field)
    local kind = kind_of(field)
    if kind == FIELD and field.name then
      text[#text + 1] = ("$ %s;"):format(field.name)
      wanted, parts[#parts + 1] = wanted + 1, describe(child_of(field))
    elseif kind == BITS then
      local bytes, width = band(rshift(field.info, 16), 127), band(rshift(field.info, 8), 127)
      local base = has(field, BOOLEAN) and "bool" or ("%sint%d_t"):format(has(field, UNSIGNED) and "u" or "", 8 * bytes)
      text[#text + 1] = ("%s %s:%d;"):format(base, field.name or "", width)
    elseif kind == FIELD or kind == ATTRIBUTE then -- a struct or union without a name inside of this one
      text[#text + 1] = "$;"
      wanted, parts[#parts + 1] = wanted + 1, describe(child_of(field))
    end
    next_field = field.sib
  end
  text[#text + 1] = "}"
  if #parts < wanted then return nil end
  local size = not has(info, VARIABLE) and ffi.sizeof(ctype_of(number)) or nil
  return { concat(text, " "), size = size, unpack(parts) }
end

local function describe_function(info, form)
  local marks, parts = {}, { describe(child_of(info)) }
  local next_argument = info.sib
  while next_argument do
    local argument = typeinfo(next_argument)
    if kind_of(argument) == FIELD then
      marks[#marks + 1] = "$"
      parts[#parts + 1] = describe(child_of(argument))
    end
    next_argument = argument.sib
  end
  if has(info, VARARG) then marks[#marks + 1] = "..." end
  return { form:format(concat(marks, ", ")), unpack(parts) }
end

local function describe_anew(number)
  local info = typeinfo(number)
  local kind, child = kind_of(info), child_of(info)
  if kind ~= FUNCTION and not (kind == POINTER and kind_of(typeinfo(child)) == FUNCTION) then
    local text = tostring(ctype_of(number)):match("^ctype<(.*)>$")
    if text and names(text, number) then return text end
  end
  local name = typedef_of(number)
  if name then return name end
  if kind == POINTER and kind_of(typeinfo(child)) == FUNCTION then
    return describe_function(typeinfo(child), "$ (*)(%s)")
  end
  if kind == FUNCTION then return describe_function(info, "$ (*)(%s)") end
  if kind == POINTER then
    return { has(info, REFERENCE) and "$ &" or has(info, CONST) and "$ * const" or "$ *", describe(child) }
  end
  if kind == ARRAY then
    if has(info, VARIABLE) then return { "$ [?]", describe(child) } end
    return { ("$ [%d]"):format(info.size / ffi.sizeof(ctype_of(child))), describe(child) }
  end
  if kind == STRUCT then return describe_fields(info, number) end
  return nil
end

--- The description of a type; nil if it can't be described.
function describe(number)
  local description = described[number]
  if description == nil then
    description = describe_anew(number)
    described[number] = description
    if type(description) == "table" and kind_of(typeinfo(number)) ~= FUNCTION then -- it is described as a pointer to it
      local text = text_of(description)
      by_text[text] = by_text[text] or ctype_of(number)
    end
  end
  return description
end

local structs_looked_at = 0

--- Describes types without a name that this state has: one of them may be the one that is looked for.
local function look_at_structs()
  local info = typeinfo(structs_looked_at + 1)
  while info do
    structs_looked_at = structs_looked_at + 1
    if kind_of(info) == STRUCT and not info.name then pcall(describe, structs_looked_at) end
    info = typeinfo(structs_looked_at + 1)
  end
end

local by_name = {} -- a description that is a string -> ctype

--- The type that a description describes.
function M.of(description)
  if type(description) == "string" then
    local ctype = by_name[description]
    if not ctype then
      local ok
      ok, ctype = pcall(typeof, description)
      if not ok then -- parlua's own types are declared where they are used first
        require "parlua.array.c"
        ctype = typeof(description)
      end
      by_name[description] = ctype
    end
    return ctype
  end
  if type(description) ~= "table" or type(description[1]) ~= "string" then
    error("cannot decode: a type has no description", 0)
  end
  local text = text_of(description)
  local ctype = by_text[text]
  if ctype then return ctype end
  look_at_structs()
  ctype = by_text[text]
  if not ctype then
    local parts = {}
    for i = 2, #description do parts[i - 1] = M.of(description[i]) end
    ctype = typeof(description[1], unpack(parts))
    if description.size and ffi.sizeof(ctype) ~= description.size then
      error(("a type can't be made again from its fields (%s): declare it with a name"):format(text), 0)
    end
    by_text[text] = ctype
    described[tonumber(ctype)] = description
  end
  return ctype
end

M.STRUCT, M.POINTER, M.ARRAY, M.FUNCTION, M.ATTRIBUTE, M.FIELD = STRUCT, POINTER, ARRAY, FUNCTION, ATTRIBUTE, FIELD
M.REFERENCE, M.VARIABLE, M.COMPLEX_FLAG = REFERENCE, VARIABLE, COMPLEX_FLAG
M.INT64, M.UINT64, M.COMPLEX = INT64, UINT64, COMPLEX
M.kind_of, M.child_of, M.has = kind_of, child_of, has
M.is_ctype, M.number_of, M.ctype_of = is_ctype, number_of, ctype_of
M.describe, M.text_of = describe, text_of

return M
