--- Loops over all elements of an array, and of two in step. Where elements lie one behind the other it is one run; else
--- there is a run for each row, a row being along the last dimension.
local core = require "parlua.array.core"

local M = {}

--- Calls run(pointer, count, step, first) for each row; `first` counts the elements before it.
local function each_row(self, run)
  if core.has(self, core.CONTIGUOUS) then return run(self._at, self._count, 1, 0) end
  local rank = self._rank
  local columns, step = self._shape[rank - 1], self._step[rank - 1]
  local index, at, first = {}, 0, 0
  for d = 0, rank - 2 do index[d] = 0 end
  while true do
    run(self._at + at, columns, step, first)
    first = first + columns
    local d = rank - 2
    while d >= 0 do
      index[d], at = index[d] + 1, at + self._step[d]
      if index[d] < self._shape[d] then break end
      at, index[d] = at - self._shape[d] * self._step[d], 0
      d = d - 1
    end
    if d < 0 then return end
  end
end
M.each_row = each_row

--- Calls run(to, to_step, from, from_step, count) for each pair of rows of two arrays of the same shape.
function M.each_pair(to, from, run)
  if core.has(to, core.CONTIGUOUS) and core.has(from, core.CONTIGUOUS) then
    return run(to._at, 1, from._at, 1, to._count)
  end
  local rank = to._rank
  if rank == 0 then return run(to._at, 1, from._at, 1, 1) end
  local columns, index, at, at_from = to._shape[rank - 1], {}, 0, 0
  for d = 0, rank - 2 do index[d] = 0 end
  while true do
    run(to._at + at, to._step[rank - 1], from._at + at_from, from._step[rank - 1], columns)
    local d = rank - 2
    while d >= 0 do
      index[d], at, at_from = index[d] + 1, at + to._step[d], at_from + from._step[d]
      if index[d] < to._shape[d] then break end
      at, at_from, index[d] = at - to._shape[d] * to._step[d], at_from - to._shape[d] * from._step[d], 0
      d = d - 1
    end
    if d < 0 then return end
  end
end

--- Have two arrays the same shape?
function M.same_shape(a, b)
  if a._rank ~= b._rank then return false end
  for d = 0, a._rank - 1 do
    if a._shape[d] ~= b._shape[d] then return false end
  end
  return true
end

return M
