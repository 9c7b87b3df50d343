--- Short strings that were read last, by their bytes: to look there takes a third of the time that it takes LuaJIT to
--- find out that it has the string. A string's place follows from its bytes. Loaded with the first string that is read.
local bit = require "bit"
local ffi = require "ffi"

ffi.cdef [[
void *mmap(void *place, size_t size, int protection, int flags, int file, intptr_t offset);
int munmap(void *memory, size_t size);
]]

local C = ffi.C
local ffi_string = ffi.string
local band, bxor, rshift = bit.band, bit.bxor, bit.rshift

local CACHED = 2 ^ 14
-- They lie outside of the collector's heap, whose size says how much garbage is kept, in a mapping of their own: pages
-- that nobody uses take no memory, and nobody clears them.
local READ_WRITE, PRIVATE_ANONYMOUS = 3, 0x22 -- as sys/mman.h has them
local function zeros(size)
  local memory = C.mmap(nil, size, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0)
  if ffi.cast("intptr_t", memory) == -1 then error("not enough memory", 0) end
  return ffi.gc(memory, function(kept) C.munmap(kept, size) end)
end
local cached, memory = {}, zeros(CACHED * 17)
local cached_bytes = ffi.cast("uint64_t *", memory)
local cached_lengths = ffi.cast("uint8_t *", memory) + CACHED * 16
cached[0] = memory                       -- it is there as long as what reads it
local masks = ffi.new("uint64_t[9]") -- the first k bytes of a word, as it stands in memory
for k = 1, 8 do ffi.fill(masks + k, k, 255) end

--- A string of 1 to 16 bytes, at a place where whole words can be read.
---@return string
---@return boolean is_found was it here?
return function(word, length)
  local low, high = word[0], 0ULL
  if length <= 8 then
    low = band(low, masks[length])
  else
    high = band(word[1], masks[length - 8])
  end
  local hash = bxor(low, high * 0x9e3779b97f4a7c15ULL, length + 0ULL) * 0xd1b54a32d192ed03ULL
  local k = tonumber(rshift(hash, 50))
  if cached_bytes[2 * k] == low and cached_bytes[2 * k + 1] == high and cached_lengths[k] == length then
    return cached[k + 1], true
  end
  local text = ffi_string(word, length)
  cached_bytes[2 * k], cached_bytes[2 * k + 1], cached_lengths[k], cached[k + 1] = low, high, length, text
  return text, false
end
