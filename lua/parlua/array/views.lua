--- Views: other arrays over the same elements. Nothing is copied; what is written through one is seen through all.
local core = require "parlua.array.core"

local M = {}

local methods, refuse, show = core.methods, core.refuse, core.show

--- Copies dimension `from` of an array to dimension `to` of a view.
local function take_dimension(view, to, self, from)
  view._shape[to], view._step[to] = self._shape[from], self._step[from]
end

--- The part at an index of the first dimension, or at several of the first ones: `images:slice(3)` is the third image.
--- At indices of all dimensions it is an array of one element, without dimensions.
function methods.slice(self, ...)
  core.check(self, "slice")
  local n = select("#", ...)
  if n == 0 then refuse("a:slice: at which index of the first dimension?") end
  if n > self._rank then
    refuse("a:slice: %s for an array of %s (%s)", core.indices(n), core.dimensions(self._rank), core.shape_text(self))
  end
  local at = 0
  for d = 1, n do at = at + core.way(self, d - 1, (select(d, ...))) end
  local view = core.view(self, at)
  view._rank = self._rank - n
  for d = n, self._rank - 1 do take_dimension(view, d - n, self, d) end
  return core.settle(view)
end

local function is_index(value) return type(value) == "number" and value % 1 == 0 end

local A_RANGE = "a range is { first, last } or { first, last, step }, of integers"

--- A range { first, last, step } of dimension d: from which element on, how many, how far apart.
local function read_range(self, d, range)
  local size = self._shape[d - 1]
  local first, last, step = range[1], range[2], range[3]
  for key, value in pairs(range) do
    if key ~= 1 and key ~= 2 and key ~= 3 then
      refuse("a:view: %s; that of dimension %d has %s at %s", A_RANGE, d, show(value), show(key))
    end
  end
  if first == nil then first = 1 end
  if last == nil then last = size end
  if step == nil then step = 1 end
  if not (is_index(first) and is_index(last) and is_index(step)) or step < 1 then
    refuse("a:view: %s; dimension %d got { %s, %s, %s }", A_RANGE, d, show(first), show(last), show(step))
  end
  if first < 1 or last > size or last < first then
    refuse("a:view: the range { %.0f, %.0f } of dimension %d is not within 1 to %.0f, or is empty (the array is %s)",
      first, last, d, size, core.shape_text(self))
  end
  return first, math.floor((last - first) / step) + 1, step
end

--- A part of an array: for each dimension a range `{ first, last }` or `{ first, last, step }`, an index (the dimension
--- is left out then), or true for all of it; dimensions that are not named are whole. Example: `image:view({ 100, 200
--- }, { 1, 640, 2 })`
function methods.view(self, ...)
  core.check(self, "view")
  local n = select("#", ...)
  if n > self._rank then
    refuse("a:view: %d %s for an array of %s (%s)", n, n == 1 and "range" or "ranges", core.dimensions(self._rank),
      core.shape_text(self))
  end
  local at, firsts, counts, steps = 0, {}, {}, {}
  for d = 1, self._rank do
    local range = (select(d, ...))
    if d > n or range == nil or range == true then
      firsts[d], counts[d], steps[d] = 1, self._shape[d - 1], 1
    elseif type(range) == "table" then
      firsts[d], counts[d], steps[d] = read_range(self, d, range)
    elseif type(range) == "number" then
      at, counts[d] = at + core.way(self, d - 1, range), false
    else
      refuse("a:view: dimension %d takes { first, last }, an index or true, got %s", d, show(range))
    end
    if counts[d] then at = at + (firsts[d] - 1) * self._step[d - 1] end
  end
  local view, rank = core.view(self, at), 0
  for d = 1, self._rank do
    if counts[d] then
      view._shape[rank], view._step[rank] = counts[d], self._step[d - 1] * steps[d]
      rank = rank + 1
    end
  end
  view._rank = rank
  return core.settle(view)
end

--- Checks a shape, n sizes or one list of them; one may be -1 where `count` elements are to be there: it follows from
--- the others.
---@param what string for errors: "parlua.array" or "a:reshape"
---@param count number?
---@param sizes table
---@param n integer
---@return number[]
function M.check_shape(what, count, sizes, n)
  -- sizes come in a table: where varargs were passed on by a tail call, compiled code now and then mixed them up
  if n == 1 and type(sizes[1]) == "table" then
    sizes = sizes[1]
    n = #sizes
  end
  local shape, open, product = {}, nil, 1
  if n == 0 then refuse("%s: a shape is needed, a size for each dimension", what) end
  if n > core.MOST_RANK then
    refuse("%s: %d dimensions, more than the %d that an array may have", what, n, core.MOST_RANK)
  end
  for d = 1, n do
    local size = sizes[d]
    if count and size == -1 and not open then
      open, shape[d] = d, 1
    elseif not is_index(size) or size < 1 or size > 2 ^ 53 then
      refuse("%s: the size of dimension %d must be an integer of at least 1, got %s", what, d, show(size))
    else
      shape[d] = size
      product = product * size
    end
  end
  if open then
    shape[open] = count / product
    if shape[open] % 1 ~= 0 then refuse("%s: %.0f elements are no multiple of %.0f", what, count, product) end
  elseif count and product ~= count then
    refuse("%s: a shape of %s has %.0f elements, there are %.0f", what, core.shape_text(shape), product, count)
  end
  return shape
end

--- The same elements in another shape; one size may be -1 and follows then. They must lie in order, without gaps, as in
--- a new array: else `a:copy():reshape(...)`.
function methods.reshape(self, ...)
  core.check(self, "reshape")
  return M.reshape("a:reshape", self, { ... }, select("#", ...))
end

--- The same for another caller, whom errors name.
function M.reshape(what, self, sizes, n)
  local shape = M.check_shape(what, self._count, sizes, n)
  if not core.has(self, core.CONTIGUOUS) then
    refuse("a:reshape: the elements of this view do not lie one behind the other; take a:copy():reshape(...)")
  end
  local view = core.view(self, 0)
  core.lay_out(view, shape)
  return view
end

--- The array with its dimensions in another order, by their numbers; without any: in reverse order.
--- Example: `images:transpose(2, 3, 1)`
function methods.transpose(self, ...)
  core.check(self, "transpose")
  local n, rank, order, seen = select("#", ...), self._rank, { ... }, {}
  if n == 0 then
    for d = 1, rank do order[d] = rank + 1 - d end
  elseif n ~= rank then
    refuse("a:transpose: %d %s for an array of %s (%s)", n, n == 1 and "number" or "numbers", core.dimensions(rank),
      core.shape_text(self))
  end
  local view = core.view(self, 0)
  view._rank = rank
  for d = 1, rank do
    local from = order[d]
    if not is_index(from) or from < 1 or from > rank or seen[from] then
      refuse("a:transpose: each of the dimensions 1 to %d once, got %s", rank, show(from))
    end
    seen[from] = true
    take_dimension(view, d - 1, self, from - 1)
  end
  return core.settle(view)
end

return M
