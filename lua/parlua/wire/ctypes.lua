--- Types and data of the FFI between states. The numbers by which LuaJIT knows types differ from state to state, so a
--- type travels as a description: its declaration as a string, where that names it ("struct point *"), or a table of
--- a text with `$` and descriptions of what stands for them: { "struct { $ x; $ y; }", size = 16, part, part }. Types
--- without a name are the same if they are described alike.
local arrays = require("parlua.array.known").numbers
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

-- ---- The numbers of types ----

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
function M.ctype(description)
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
    for i = 2, #description do parts[i - 1] = M.ctype(description[i]) end
    ctype = typeof(description[1], unpack(parts))
    if description.size and ffi.sizeof(ctype) ~= description.size then
      error(("a type can't be made again from its fields (%s): declare it with a name"):format(text), 0)
    end
    by_text[text] = ctype
    described[tonumber(ctype)] = description
  end
  return ctype
end

-- ---- Data ----

--- Is there a pointer in data of this type?
local pointers = {}
local function has_pointers(number)
  local known = pointers[number]
  if known ~= nil then return known end
  local info = typeinfo(number)
  local kind, found = kind_of(info), false
  if kind == POINTER or kind == FUNCTION then
    found = true
  elseif kind == ARRAY or kind == ATTRIBUTE then
    found = has_pointers(child_of(info))
  elseif kind == STRUCT then
    local next_field = info.sib
    while next_field and not found do
      local field = typeinfo(next_field)
      if kind_of(field) == FIELD or kind_of(field) == ATTRIBUTE then found = has_pointers(child_of(field)) end
      next_field = field.sib
    end
  end
  pointers[number] = found
  return found
end

local bytes_of = typeof("const uint8_t *")
local address_in = typeof("const uintptr_t *")

--- Are all pointers in `size` bytes of data of this type null?
local function are_null(number, bytes, size)
  if not has_pointers(number) then return true end
  local info = typeinfo(number)
  local kind = kind_of(info)
  if kind == POINTER then return ffi.cast(address_in, bytes)[0] == 0 end
  if kind == ARRAY then
    local child = child_of(info)
    local step = ffi.sizeof(ctype_of(child))
    for at = 0, size - step, step do
      if not are_null(child, bytes + at, step) then return false end
    end
    return true
  end
  local next_field = info.sib
  while next_field do
    local field = typeinfo(next_field)
    local child, offset = child_of(field), field.size or 0
    if (kind_of(field) == FIELD or kind_of(field) == ATTRIBUTE) and has_pointers(child) then
      local child_info = typeinfo(child)
      local length = child_info.size and ffi.sizeof(ctype_of(child)) or size - offset
      if not are_null(child, bytes + offset, length) then return false end
    end
    next_field = field.sib
  end
  return true
end

local function symbol(number, value)
  local info = typeinfo(number)
  local address = tonumber(ffi.cast("uintptr_t", value))
  local name, library = codec.symbol_of(address)
  if not name then return nil, "a C function that no library has, such as a callback of this state" end
  local description = describe(number)
  if kind_of(info) ~= FUNCTION then return "symbol", description, name, library, address end
  return "symbol", description, name, library, address
end

local no_pointer = "a pointer (%s), which means nothing to a process of its own: send what it points to, or make it "
  .. "there, in `setup`"

--- Can these data be sent, as far as pointers in them go? nil: they can; else why not.
local function pointer_in(number, bytes, size)
  if are_null(number, bytes, size) then return nil end
  return no_pointer:format(tostring(ctype_of(number)):match("^ctype<(.*)>$"))
end

--- A part of a struct or of an array goes as data of its own. The codec finds them where the reference points to.
local function referred(number, value, shares)
  local info = typeinfo(number)
  local description = describe(number)
  if has(info, VARIABLE) or not info.size or not description then
    return nil, ("a reference to C data of the type %s"):format(tostring(ctype_of(number)))
  end
  local size = ffi.sizeof(ctype_of(number))
  local reason = not shares and pointer_in(number, ffi.cast(bytes_of, value), size)
  if reason then return nil, reason end
  return "reference", description, size
end

--- What is sent for a cdata: its kind ("int64", "uint64", "complex": its bytes are enough; "array"; "ctype";
--- "symbol"; "content"; "reference") and what goes with that; or nil and why it can't be sent.
---@param shares boolean the other side has the same memory
function M.cdata(value, shares)
  if is_ctype(value) then
    local description = describe(tonumber(value))
    if not description then return nil, ("the type %s, which has no declaration"):format(tostring(value)) end
    return "ctype", description
  end
  local number = number_of(value)
  if arrays[number] then return "array" end
  if number == INT64 then return "int64" end
  if number == UINT64 then return "uint64" end
  if number == COMPLEX then return "complex" end
  local info = typeinfo(number)
  local kind = kind_of(info)
  if kind == FUNCTION then return symbol(number, value) end
  if kind == POINTER and has(info, REFERENCE) then return referred(child_of(info), value, shares) end
  if kind == POINTER and kind_of(typeinfo(child_of(info))) == FUNCTION and value ~= nil then
    return symbol(number, value)
  end
  local size = kind == POINTER and ffi.sizeof("void *") or ffi.sizeof(value)
  if not shares and has_pointers(number) then
    local first = kind == POINTER and ffi.new("const uintptr_t [1]", ffi.cast("uintptr_t", value)) or value
    local reason = pointer_in(number, ffi.cast(bytes_of, first), size)
    if reason then return nil, reason end
  end
  local description = describe(number)
  if not description then
    return nil, ("C data of the type %s, which has no declaration"):format(tostring(ctype_of(number)))
  end
  return "content", description, size
end

local shapes = {} -- description or its text -> what `make` needs to know

local function shape_of(key, description)
  local ctype = M.ctype(description)
  local number = tonumber(ctype)
  local info = typeinfo(number)
  local kind = kind_of(info)
  local shape = { ctype = ctype, finalized = kind == STRUCT }
  if not has(info, VARIABLE) or kind ~= ARRAY and kind ~= STRUCT then
    shape.size = ffi.sizeof(ctype)
  else
    local array = info
    if kind == STRUCT then
      local last = typeinfo(info.sib)
      while last.sib do last = typeinfo(last.sib) end
      array = typeinfo(child_of(last))
    end
    shape.base, shape.element = kind == STRUCT and info.size or 0, ffi.sizeof(ctype_of(child_of(array)))
  end
  shapes[key] = shape
  return shape
end

--- New data of a type, `size` bytes, for the codec to fill. It has no finalizer: what it was made of is still there
--- and has it.
function M.make(description, size)
  local key = description
  if type(key) == "table" then key = text_of(description) end
  local shape = shapes[key] or shape_of(key, description)
  local value
  if shape.size == size then
    value = ffi.new(shape.ctype)
  elseif shape.element and size >= shape.base and (size - shape.base) % shape.element == 0 then
    value = ffi.new(shape.ctype, (size - shape.base) / shape.element)
  else
    error(("cannot decode: C data of %s has %s bytes here"):format(text_of(description), tostring(shape.size)), 0)
  end
  if shape.finalized then ffi.gc(value, nil) end
  return value
end

--- A copy of data that can be changed: a struct, a union, an array, a string.buffer. Other data are what they are.
function M.copy(value)
  if type(value) == "userdata" then
    local content = M.text(value)
    return content and M.buffer(content) or value
  end
  if is_ctype(value) then return value end
  local number = number_of(value)
  local size = ffi.sizeof(value)
  local info = typeinfo(number)
  if kind_of(info) == POINTER and has(info, REFERENCE) then
    number = child_of(info)
    if has(typeinfo(number), VARIABLE) or not typeinfo(number).size then return value end
    size = ffi.sizeof(ctype_of(number))
  end
  if arrays[number] then return value end -- a handle: its elements are the script's, on every engine
  local kind = kind_of(typeinfo(number))
  if kind ~= STRUCT and (kind ~= ARRAY or has(typeinfo(number), COMPLEX_FLAG)) then return value end
  local description = describe(number)
  if not description then return value end
  local made = M.make(description, size)
  ffi.copy(made, value, size)
  return made
end

--- A function of C.
function M.symbol(description, name, library, address)
  if codec.symbol_of(address) ~= name then
    local message
    address, message = codec.find_symbol(library, name)
    if not address then error(("cannot find the C function '%s': %s"):format(name, message), 0) end
  end
  return ffi.cast(M.ctype(description), address)
end

-- ---- Namespaces ----

local namespaces = setmetatable({}, { __mode = "v" })
local namespace_meta = debug.getmetatable(ffi.C)

--- Is a userdata an FFI namespace? Then true and the path of its library (nil: ffi.C).
function M.library(value)
  if debug.getmetatable(value) ~= namespace_meta or type(value) ~= "userdata" then return nil end
  if rawequal(value, ffi.C) then return true end
  return true, codec.library_of(value)
end

function M.namespace(library)
  if library == nil then return ffi.C end
  local namespace = namespaces[library] or ffi.load(library)
  namespaces[library] = namespace
  return namespace
end

-- ---- string.buffer ----

local buffer_metas = setmetatable({}, { __mode = "k" }) -- there is one for each time that the library was opened

--- Is it the metatable of buffers?
local function is_of_buffers(meta)
  if type(meta) ~= "table" then return false end
  local known = buffer_metas[meta]
  if known == nil then
    start.complete()
    local own = start.libraries["methods of buffers"] or start.libraries["metatable of buffers"]
    local methods = rawget(meta, "__index")
    known = own ~= nil and type(methods) == "table" and start.is_same_builtin(rawget(methods, "commit"), own.commit)
    buffer_metas[meta] = known
  end
  return known
end

--- The content of a string.buffer; nil for other userdata.
function M.text(value)
  if not is_of_buffers(debug.getmetatable(value)) then return nil end
  return value:tostring()
end

function M.buffer(content)
  local value = require("string.buffer").new()
  value:put(content)
  return value
end

return M
