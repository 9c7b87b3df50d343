--- The files of NumPy: .npy, one array. A header, of which each version has its own length field, then the elements.
-- https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
local core = require "parlua.array.core"
local ffi = require "ffi"
local kinds = require "parlua.array.kinds"
local nans = require "parlua.array.nans"

local M = {}

local MAGIC = "\147NUMPY"
M.MAGIC = MAGIC
local MOST_HEADER = 2 ^ 20 -- bytes; of an array it is 128

-- NumPy's names of the types, without the order of bytes.
local codes = {
  f4 = "float", f8 = "double", i1 = "int8", i2 = "int16", i4 = "int32", i8 = "int64", u1 = "uint8", u2 = "uint16",
  u4 = "uint32", u8 = "uint64", c8 = "complex float", c16 = "complex", b1 = "uint8",
}
local code_of = {}
for code, name in pairs(codes) do
  if code ~= "b1" then code_of[name] = code end
end

local bytes_pointer = ffi.typeof "const uint8_t *"

--- Raises an error about a file.
local function refuse(what, message, ...) error(("%s: %s"):format(what, message:format(...)), 0) end

local function shorten(text) return #text > 60 and text:sub(1, 57) .. "..." or text end

-- ---- the header ----

local function read_type(what, header)
  local descr = header:match "'descr'%s*:%s*'([^']*)'" or header:match '"descr"%s*:%s*"([^"]*)"'
  if not descr then
    if header:find "'descr'%s*:%s*%[" then
      refuse(what, "its elements are records (a structured dtype), which arrays here don't have")
    end
    refuse(what, "its header has no type: %s", shorten(header))
  end
  local order, code = descr:match "^([<>|=]?)(%a%d+)$"
  local name = code and codes[code]
  if not name then
    local why = descr:find "O" and " (Python objects)" or descr:find "f2" and " (16 bit floats)" or ""
    refuse(what, "its elements are of NumPy's type '%s'%s; what can be read is %s", shorten(descr), why, kinds.names)
  end
  return kinds.of(name), order == ">"
end

local function read_shape(what, header)
  local text = header:match "['\"]shape['\"]%s*:%s*%(([%d%sL,]*)%)"
  if not text then refuse(what, "its header has no shape: %s", shorten(header)) end
  local shape, count = {}, 1
  for size in text:gmatch "%d+" do
    local number = tonumber(size)
    if number > 2 ^ 53 then refuse(what, "a dimension has %s elements", shorten(size)) end
    if number == 0 then refuse(what, "it has no elements (its shape is (%s))", shorten(text)) end
    shape[#shape + 1], count = number, count * number
  end
  if #shape > core.MOST_RANK then
    refuse(what, "it has %d dimensions, more than the %d that an array may have", #shape, core.MOST_RANK)
  end
  if count > 2 ^ 53 then refuse(what, "its shape is (%s), more than there can be", shorten(text)) end
  return shape, count
end

--- What a header says.
---@param what string the file, for errors
---@param bytes ffi.cdata* const uint8_t *
---@param size integer
---@return table kind, is_swapped, is_fortran, shape, count, offset (of the elements)
function M.header(what, bytes, size)
  if size < 10 or ffi.string(bytes, 6) ~= MAGIC then refuse(what, "it is no .npy file") end
  local version, length, at = bytes[6], bytes[8] + 256 * bytes[9], 10
  if version < 1 or version > 3 then
    refuse(what, "it is of version %d.%d of .npy; 1, 2 and 3 are known", version, bytes[7])
  end
  if version > 1 then
    if size < 12 then refuse(what, "it is cut short: it ends in its header") end
    length, at = length + 65536 * (bytes[10] + 256 * bytes[11]), 12
  end
  if length > MOST_HEADER then refuse(what, "its header is of %.0f bytes", length) end
  if at + length > size then
    refuse(what, "it is cut short: its header is of %d bytes, the file of %.0f", at + length, size)
  end
  local header = ffi.string(bytes + at, length)
  if not header:find "^%s*{.*}%s*$" then refuse(what, "its header is damaged: %s", shorten(header)) end
  local fortran = header:match "['\"]fortran_order['\"]%s*:%s*(%a+)"
  if fortran ~= "True" and fortran ~= "False" then refuse(what, "its header does not say the order of the elements") end
  local kind, is_swapped = read_type(what, header)
  local shape, count = read_shape(what, header)
  return { kind = kind, is_swapped = is_swapped, is_fortran = fortran == "True", shape = shape, count = count,
           offset = at + length }
end

local function reversed(list)
  local made = {}
  for k = 1, #list do made[k] = list[#list + 1 - k] end
  return made
end

local function swap_bytes(at, count, size)
  at = ffi.cast("uint8_t *", at)
  for k = 0, count - 1 do
    local first = k * size
    for b = 0, size / 2 - 1 do at[first + b], at[first + size - 1 - b] = at[first + size - 1 - b], at[first + b] end
  end
end

--- The array in a part of memory that is mapped from a file: over the file itself, or a copy where the elements are not
--- as the machine has them.
---@param shared ffi.cdata* struct shared_memory *, whose hold stays the caller's
---@param from integer where the part begins
---@param size integer
---@param all? boolean look for NaNs also where it is large
function M.read(what, shared, from, size, all)
  local C = require "parlua.array.c"
  local header = M.header(what, ffi.cast(bytes_pointer, shared.bytes) + from, size)
  local kind, count = header.kind, header.count
  local shape = header.is_fortran and reversed(header.shape) or header.shape
  local bytes = count * kind.size
  if header.offset + bytes > size then
    refuse(what, "it is cut short: %s of %s take %.0f bytes, there are %.0f", core.shape_text(header.shape), kind.name,
      bytes,
      size - header.offset)
  end
  local offset, made = from + header.offset
  local unit = kind.class == "complex" and kind.size / 2 or kind.size
  if header.is_swapped or offset % unit ~= 0 then
    made = core.new(kind, shape, true)
    ffi.copy(made._at, shared.bytes + offset, bytes)
    if header.is_swapped then swap_bytes(made._at, bytes / unit, unit) end
    nans.mend(made)
  else
    C.shared_hold(shared)
    made = nans.checked(core.over(kind, shared, offset, shape, core.OF_FILE), all)
  end
  return header.is_fortran and made:transpose() or made
end

-- ---- writing ----

--- The header of an array, and whether its elements are to be written in Fortran's order.
function M.header_of(array)
  local turned = array:transpose()
  local is_fortran = not core.has(array, core.CONTIGUOUS) and core.has(turned, core.CONTIGUOUS)
  local kind = core.kind_of(array)
  local sizes = {}
  for k, size in ipairs(core.shape(array)) do sizes[k] = ("%.0f"):format(size) end
  local text = ("{'descr': '%s%s', 'fortran_order': %s, 'shape': (%s%s), }"):format(kind.size == 1 and "|" or "<",
    code_of[kind.name], is_fortran and "True" or "False", table.concat(sizes, ", "), #sizes == 1 and "," or "")
  local length = #text + 1
  local pad = -(10 + length) % 64
  length = length + pad
  local head = MAGIC .. "\1\0" .. string.char(length % 256, math.floor(length / 256))
  return head .. text .. (" "):rep(pad) .. "\n", is_fortran and turned or array
end

return M
