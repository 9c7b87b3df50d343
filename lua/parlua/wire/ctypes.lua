--- Data of the FFI between states, namespaces of libraries, and buffers. Types travel as descriptions
--- (wire/declarations.lua).
local arrays = require("parlua.array.known").numbers
local codec = require "parlua.codec"
local declarations = require "parlua.wire.declarations"
local ffi = require "ffi"
local start = require "parlua.wire.start"

require("jit").off(true, true)

local M = {}

local typeinfo, typeof = ffi.typeinfo, start.libraries.ffi.typeof
local STRUCT, POINTER, ARRAY = declarations.STRUCT, declarations.POINTER, declarations.ARRAY
local FUNCTION, ATTRIBUTE, FIELD = declarations.FUNCTION, declarations.ATTRIBUTE, declarations.FIELD
local REFERENCE, VARIABLE, COMPLEX_FLAG = declarations.REFERENCE, declarations.VARIABLE, declarations.COMPLEX_FLAG
local INT64, UINT64, COMPLEX = declarations.INT64, declarations.UINT64, declarations.COMPLEX
local kind_of, child_of, has = declarations.kind_of, declarations.child_of, declarations.has
local is_ctype, number_of, ctype_of = declarations.is_ctype, declarations.number_of, declarations.ctype_of
local describe, text_of = declarations.describe, declarations.text_of

M.ctype = declarations.of

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
  local address = tonumber(ffi.cast("uintptr_t", value))
  local name, library = codec.symbol_of(address)
  if not name then
    return nil, "a C function that no library has, such as a callback of this state: make it in the task, or in `setup`"
  end
  return "symbol", describe(number), name, library, address
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
  local made = declarations.of(description)
  local number = tonumber(made)
  local info = typeinfo(number)
  local kind = kind_of(info)
  local shape = { ctype = made, finalized = kind == STRUCT }
  if not has(info, VARIABLE) or kind ~= ARRAY and kind ~= STRUCT then
    shape.size = ffi.sizeof(made)
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
  -- volatile data can't be copied: others write there, and it stays what it is
  return pcall(ffi.copy, made, value, size) and made or value
end

--- A function of C.
function M.symbol(description, name, library, address)
  if codec.symbol_of(address) ~= name then
    local message
    address, message = codec.find_symbol(library, name)
    if not address then error(("cannot find the C function '%s': %s"):format(name, message), 0) end
  end
  return ffi.cast(declarations.of(description), address)
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

local BUFFER_WORDS = 8 -- a buffer is at least so long
local option_words     -- where a buffer with options has something, one without has nothing

--- Was it made with options (`dict`, `metatable`)? No function of Lua's tells.
local function has_options(value)
  local function words(buffer) -- a cast of the buffer itself leads to its content
    return ffi.cast("const uintptr_t *", tonumber(("%p"):format(buffer)))
  end
  if not option_words then
    local new = require("string.buffer").new
    local plain, other = new(), new { dict = { "a" }, metatable = { {} } }
    option_words = {}
    for k = 0, BUFFER_WORDS - 1 do
      if words(plain)[k] == 0 and words(other)[k] ~= 0 then option_words[#option_words + 1] = k end
    end
  end
  local own = words(value)
  for _, k in ipairs(option_words) do
    if own[k] ~= 0 then return true end
  end
  return false
end

--- The content of a string.buffer without options; nil for other userdata.
function M.text(value)
  if not is_of_buffers(debug.getmetatable(value)) or has_options(value) then return nil end
  return value:tostring()
end

function M.buffer(content)
  local value = require("string.buffer").new()
  value:put(content)
  return value
end

return M
