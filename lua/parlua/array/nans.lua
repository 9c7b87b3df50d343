--- NaNs from outside. Lua would take some for values of another type: they become plain ones.
local C = require "parlua.array.c"
local facts = require "parlua.array.facts"

local M = {}

local kind_of = facts.kind_of
local MOST_CHECKED = 2 ^ 28

--- What numbers elements are made of, as far as they may be NaNs.
---@return boolean is_double, number numbers how many numbers there are; 0: they have no NaNs
local function numbers_in(kind, count)
  if kind.class == "integer" then return false, 0 end
  local is_complex = kind.class == "complex"
  return kind.size == (is_complex and 16 or 8), is_complex and 2 * count or count
end

--- Are there such NaNs?
function M.has_odd_nans(kind, at, count)
  local is_double, n = numbers_in(kind, count)
  return n > 0 and C.array_has_odd_nans(is_double, at, n)
end

--- Puts plain ones in their place.
function M.mend(self)
  local is_double, n = numbers_in(kind_of(self), self._count)
  if n > 0 then C.array_mend_nans(is_double, self._at, n) end
  return self
end

--- An array over a file's memory that can be read without harm: a copy with plain NaNs, where it has others. Of large
--- files that is looked for only where it is asked for, as they would have to be read.
---@param all? boolean of large ones, too
function M.checked(self, all)
  local kind = kind_of(self)
  local is_large = self._count * kind.size > MOST_CHECKED
  if is_large and not all or not M.has_odd_nans(kind, self._at, self._count) then return self end
  return M.mend(self:copy())
end

return M
