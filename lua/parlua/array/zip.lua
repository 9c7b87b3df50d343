--- Files of several arrays, .npz: a zip archive with a .npy file for each. Entries that are stored are read where they
--- lie; compressed ones are unpacked. Written ones are stored.
local ffi = require "ffi"
local npy = require "parlua.array.npy"
local record = require "parlua.wire.record"

local M = {}

local bytes_pointer = ffi.typeof "const uint8_t *"

local function refuse(what, message, ...) error(("%s: %s"):format(what, message:format(...)), 0) end

-- ---- zlib ----

local declarations = [[
typedef struct parlua_z_stream {
  const uint8_t *next_in; unsigned avail_in; unsigned long total_in; uint8_t *next_out; unsigned avail_out;
  unsigned long total_out; const char *msg; void *state; void *zalloc; void *zfree; void *opaque; int data_type;
  unsigned long adler, reserved;
} parlua_z_stream;
const char *zlibVersion(void);
int inflateInit2_(parlua_z_stream *, int bits, const char *version, int size);
int inflate(parlua_z_stream *, int flush);
int inflateEnd(parlua_z_stream *);
unsigned long crc32(unsigned long crc, const void *bytes, unsigned length);
unsigned long compressBound(unsigned long length);
int compress2(uint8_t *to, unsigned long *to_length, const uint8_t *from, unsigned long length, int level);
]]

local library

--- The zlib of this system.
function M.zlib(what)
  if library then return library end
  if not pcall(ffi.typeof, "parlua_z_stream") then record.cdef(declarations) end
  local ok, found = pcall(ffi.load, "libz.so.1")
  if not ok then ok, found = pcall(ffi.load, "z") end
  if not ok then refuse(what, "it takes zlib, which is not here (in Debian: zlib1g): %s", found) end
  library = found
  return library
end

local MOST_AT_ONCE = 2 ^ 30

--- The CRC-32 of memory, going on from `crc`.
function M.crc(what, bytes, size, crc)
  local z = M.zlib(what)
  crc = crc or z.crc32(0, nil, 0)
  bytes = ffi.cast(bytes_pointer, bytes)
  for at = 0, size - 1, MOST_AT_ONCE do crc = z.crc32(crc, bytes + at, math.min(MOST_AT_ONCE, size - at)) end
  return tonumber(crc)
end

--- Unpacks what was deflated, without a header, into memory of just the size that it is to have.
local function inflate(what, from, from_size, to, size)
  local z, stream = M.zlib(what), ffi.new "parlua_z_stream"
  if z.inflateInit2_(stream, -15, z.zlibVersion(), ffi.sizeof(stream)) ~= 0 then
    refuse(what, "zlib cannot unpack it")
  end
  local taken, given, status = 0, 0, 0
  while status == 0 do
    stream.next_in, stream.avail_in = from + taken, math.min(MOST_AT_ONCE, from_size - taken)
    stream.next_out, stream.avail_out = to + given, math.min(MOST_AT_ONCE, size - given)
    local had_in, had_out = stream.avail_in, stream.avail_out
    status = z.inflate(stream, 0)
    taken, given = taken + (had_in - stream.avail_in), given + (had_out - stream.avail_out)
    if status == 0 and had_in == stream.avail_in and had_out == stream.avail_out then break end
  end
  z.inflateEnd(stream)
  if status ~= 1 or given ~= size then refuse(what, "what is compressed in it is damaged") end
end

-- ---- reading ----

--- A number of so many bytes at byte `at`; raises where the file does not reach so far.
local function number(file, at, length)
  if at < 0 or at + length > file.size then refuse(file.what, "it is cut short, or its directory is damaged") end
  local value = 0
  for k = length - 1, 0, -1 do value = value * 256 + file.bytes[at + k] end
  return value
end

local END_BYTES, MOST_COMMENT = 22, 65535

--- Where the directory stands, and how many entries it has.
local function find_directory(file)
  for at = file.size - END_BYTES, math.max(0, file.size - END_BYTES - MOST_COMMENT), -1 do
    if number(file, at, 4) == 0x06054b50 then
      local count, offset = number(file, at + 10, 2), number(file, at + 16, 4)
      if (count == 0xffff or offset == 0xffffffff) and at >= 20 and number(file, at - 20, 4) == 0x07064b50 then
        local place = number(file, at - 12, 8) -- of the end record for large archives
        if number(file, place, 4) ~= 0x06064b50 then refuse(file.what, "its directory is damaged") end
        count, offset = number(file, place + 32, 8), number(file, place + 48, 8)
      end
      return offset, count
    end
  end
  refuse(file.what, "it is no .npz file (a zip archive), or it is cut short")
end

--- Sizes and the offset that stand in the extra field, where they are too large for their own.
local function read_large(file, entry, at, length)
  local behind = at + length
  while at + 4 <= behind do
    local id, size = number(file, at, 2), number(file, at + 2, 2)
    if id == 1 then
      local place = at + 4
      for _, name in ipairs { "size", "packed", "offset" } do
        if entry[name] == 0xffffffff and place + 8 <= at + 4 + size then
          entry[name], place = number(file, place, 8), place + 8
        end
      end
      return
    end
    at = at + 4 + size
  end
end

--- The entries of the directory.
local function entries_of(file)
  local at, count = find_directory(file)
  local list = {}
  for _ = 1, count do
    if number(file, at, 4) ~= 0x02014b50 then refuse(file.what, "its directory is damaged") end
    local name_length, extra, comment = number(file, at + 28, 2), number(file, at + 30, 2), number(file, at + 32, 2)
    number(file, at + 45 + name_length, 1) -- is there
    local entry = {
      flags = number(file, at + 8, 2), method = number(file, at + 10, 2), crc = number(file, at + 16, 4),
      packed = number(file, at + 20, 4), size = number(file, at + 24, 4), offset = number(file, at + 42, 4),
      name = ffi.string(file.bytes + at + 46, name_length),
    }
    read_large(file, entry, at + 46 + name_length, extra)
    list[#list + 1] = entry
    at = at + 46 + name_length + extra + comment
  end
  return list
end

--- The array in the `size` bytes of an entry that begin at byte `at` of memory. What is no .npy file is an array of its
--- bytes. Returns nil and why where it is whole, but of a kind that arrays don't have.
---@param checked boolean its checksum is known to be right
local function array_of(what, entry, shared, at, size, checked)
  local bytes = ffi.cast(bytes_pointer, shared.bytes) + at
  local is_npy = ffi.string(bytes, math.min(#npy.MAGIC, size)) == npy.MAGIC
  local ok, made
  if is_npy or entry.name:find "%.npy$" then
    ok, made = pcall(npy.read, what, shared, at, size)
  else
    ok, made = size > 0, what .. ": it is no .npy file, and has no bytes"
  end
  if is_npy and ok then return made end
  if not checked and M.crc(what, bytes, size) ~= entry.crc then
    if is_npy then error(made, 0) end
    refuse(what, "its checksum is wrong")
  end
  if not ok then return nil, made end
  local C, core = require "parlua.array.c", require "parlua.array.core"
  C.shared_hold(shared)
  return core.over(require("parlua.array.kinds").of "uint8", shared, at, { size }, core.OF_FILE)
end

--- The array of an entry; nil and why: there is none, though nothing is damaged.
local function read_entry(file, entry)
  local what = ("%s, entry '%s'"):format(file.what, entry.name)
  local C, core = require "parlua.array.c", require "parlua.array.core"
  if number(file, entry.offset, 4) ~= 0x04034b50 then refuse(what, "it is not where the directory says") end
  local data = entry.offset + 30 + number(file, entry.offset + 26, 2) + number(file, entry.offset + 28, 2)
  if data + entry.packed > file.size then refuse(what, "it is cut short") end
  if entry.flags % 2 == 1 then return nil, what .. ": it is encrypted" end
  if entry.method == 0 then return array_of(what, entry, file.shared, data, entry.packed, false) end
  if entry.method ~= 8 then
    return nil, ("%s: it is compressed in a way that is not known (%d)"):format(what, entry.method)
  end
  if entry.size > entry.packed * 1100 + 1024 then refuse(what, "its sizes cannot be true") end -- zlib packs no denser
  local unpacked = core.new(require("parlua.array.kinds").of "uint8", { math.max(entry.size, 1) }, true)
  inflate(what, file.bytes + data, entry.packed, unpacked._at, entry.size)
  if M.crc(what, unpacked._at, entry.size) ~= entry.crc then refuse(what, "its checksum is wrong") end
  local first = tonumber(ffi.cast("const char *", unpacked._at) - unpacked._shared.bytes)
  C.shared_hold(unpacked._shared)
  local ok, made, why = pcall(array_of, what, entry, unpacked._shared, first, entry.size, true)
  C.shared_drop(unpacked._shared)
  if not ok then error(made, 0) end
  if not made then return nil, why end
  return made:copy()
end

--- All arrays of an archive, by their names, and of entries that can't be arrays why, if there are any. Raises an error
--- where something is damaged.
---@param shared ffi.cdata* the file's memory, whose hold stays the caller's
---@return table<string, parlua.Array>, table<string, string>?
function M.read(what, shared)
  local file = { what = what, shared = shared, bytes = ffi.cast(bytes_pointer, shared.bytes),
    size = tonumber(shared.size) }
  local arrays, refused = {}, {}
  for _, entry in ipairs(entries_of(file)) do
    if entry.name:sub(-1) ~= "/" then
      local name = entry.name:gsub("%.npy$", "")
      arrays[name], refused[name] = read_entry(file, entry)
    end
  end
  return arrays, next(refused) and refused
end

-- ---- writing ----

local function bytes_of(value, length)
  local parts = {}
  for k = 1, length do
    parts[k] = string.char(value % 256)
    value = math.floor(value / 256)
  end
  return table.concat(parts)
end

M.LONGEST_NAME = 0xffff - #".npy" -- a field of two bytes says how long it is

local LARGE = 0xffffffff
local STORED_LARGE, DATE = bytes_of(45, 2) .. bytes_of(0x800, 2) .. bytes_of(0, 2), bytes_of(0, 2) .. bytes_of(0x21, 2)

--- Writes an archive. `write(bytes, length)` takes strings, and pointers with a length.
---@param arrays table<string, parlua.Array>
function M.write(what, arrays, write)
  local names, at, directory = {}, 0, {}
  for name in pairs(arrays) do names[#names + 1] = name end
  table.sort(names)
  local function put(bytes, length)
    write(bytes, length)
    at = at + (length or #bytes)
  end
  for _, name in ipairs(names) do
    local header, array = npy.header_of(arrays[name])
    array = array.contiguous and array or array:copy()
    local bytes = array.size * require("parlua.array.core").kind_of(array).size
    local size, offset, entry = #header + bytes, at, name .. ".npy"
    local crc = bytes_of(M.crc(what, array._at, bytes, M.crc(what, header, #header)), 4)
    -- elements lie at a multiple of 64, so that they can be read in place
    local pad = -(at + 30 + #entry + 20 + 4 + #header) % 64
    local extra = bytes_of(1, 2) .. bytes_of(16, 2) .. bytes_of(size, 8) .. bytes_of(size, 8) .. bytes_of(0xd935, 2)
      .. bytes_of(pad, 2) .. ("\0"):rep(pad)
    put(bytes_of(0x04034b50, 4) .. STORED_LARGE .. DATE .. crc .. bytes_of(LARGE, 4):rep(2) .. bytes_of(#entry, 2)
      .. bytes_of(#extra, 2) .. entry .. extra)
    put(header)
    put(array._at, bytes)
    local large = bytes_of(1, 2) .. bytes_of(24, 2) .. bytes_of(size, 8) .. bytes_of(size, 8) .. bytes_of(offset, 8)
    directory[#directory + 1] = bytes_of(0x02014b50, 4) .. bytes_of(45, 2) .. STORED_LARGE .. DATE .. crc
      .. bytes_of(LARGE, 4):rep(2) .. bytes_of(#entry, 2) .. bytes_of(#large, 2) .. bytes_of(0, 2) .. bytes_of(0, 2)
      .. bytes_of(0, 2) .. bytes_of(0, 4) .. bytes_of(LARGE, 4) .. entry .. large
  end
  local text, begin = table.concat(directory), at
  put(text)
  local end_of_large = at
  put(bytes_of(0x06064b50, 4) .. bytes_of(44, 8) .. bytes_of(45, 2):rep(2) .. bytes_of(0, 4):rep(2) .. bytes_of(#names,
    8):rep(2)
    .. bytes_of(#text, 8) .. bytes_of(begin, 8))
  put(bytes_of(0x07064b50, 4) .. bytes_of(0, 4) .. bytes_of(end_of_large, 8) .. bytes_of(1, 4))
  put(bytes_of(0x06054b50, 4) .. bytes_of(0, 2):rep(2) .. bytes_of(math.min(#names, 0xffff),
    2):rep(2) .. bytes_of(math.min(#text, LARGE), 4)
    .. bytes_of(LARGE, 4) .. bytes_of(0, 2))
end

return M
