--- What is known of an array: its kind, its shape, its state. Nothing here fails.
local kinds = require "parlua.array.kinds"
local known = require "parlua.array.known"

-- LuaJIT's own: a script's (busted has one) may keep what it gave for a value, and that goes to workers, where the same
-- type is another.
local own = require("parlua.wire.start").libraries.ffi
local istype = own.istype

local M = {}

-- Bits of _state.
M.CONTIGUOUS, M.FREED, M.READ_ONLY, M.OF_FILE = 1, 2, 4, 8

local list = kinds.list

M.is = known.is

--- Is a bit of its state set?
function M.has(self, bit_of) return bit.band(self._state, bit_of) ~= 0 end

--- The kind of an array's elements.
function M.kind_of(self) return list[self._kind] end

--- May a value be an element of the kind?
function M.fits(kind, value)
  if type(value) == "number" then return true end
  if type(value) ~= "cdata" then return false end
  if istype("int64_t", value) or istype("uint64_t", value) then return true end
  return kind.class == "complex" and (istype("complex", value) or istype("complex float", value))
end

--- The sizes of its dimensions, as a list.
function M.shape(self)
  local shape = {}
  for d = 1, self._rank do shape[d] = self._shape[d - 1] end
  return shape
end

--- "3 x 4", of an array or of a list of sizes; "a single element" where there are no dimensions.
function M.shape_text(shape)
  if type(shape) == "cdata" then shape = M.shape(shape) end
  if #shape == 0 then return "a single element" end
  local parts = {}
  for k, size in ipairs(shape) do parts[k] = ("%.0f"):format(size) end
  return table.concat(parts, " x ")
end

return M
