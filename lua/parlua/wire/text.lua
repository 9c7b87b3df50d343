--- Texts of more than 2 GB, and strings of their bytes. LuaJIT's strings are shorter; a line or a field may be longer.
local ffi = require "ffi"

local cast, ffi_string = ffi.cast, ffi.string
local M = {}

--- Bytes of the longest string.
local MOST = 0x7ffffeff
M.MOST = MOST

local function refuse(length)
  error(("a text of %.0f bytes does not fit into a string, which has at most %.0f: parlua.blocks(path, { raw = true }) "
    .. "gives a pointer to it"):format(length, MOST), 0)
end

local address = ffi.typeof("intptr_t")

--- The bytes between two pointers into a text. `to - from` is wrong from 2 GB on: LuaJIT keeps 32 bits of it.
---@param to ffi.cdata*
---@param from ffi.cdata*
---@return integer
function M.distance(to, from) return tonumber(cast(address, to) - cast(address, from)) end

--- The string of so many bytes. Raises a clear error where there are too many.
---@param at ffi.cdata*
---@param length number
---@return string
function M.string(at, length)
  if length > MOST then refuse(length) end
  return ffi_string(at, length)
end

return M
