--- What is computed of all elements, or along one dimension: sum, least, largest, mean, and convolution with a kernel.
local C = require "parlua.array.c"
local core = require "parlua.array.core"
local ffi = require "ffi"
local given = require "parlua.array.given"
local host = require "parlua.host"
local kinds = require "parlua.array.kinds"
local make = require "parlua.array.make"
local task = require "parlua.task"

local methods, refuse, show = core.methods, core.refuse, core.show

local moments = ffi.new("struct array_moments")
local WORTH_THREADS = 2 ^ 20 -- elements

--- How many threads a loop in C takes: one in a task, which has a processor to itself.
local function threads_for(count)
  if count < WORTH_THREADS then return 1 end
  if task.is_inside() then return 1 end
  return math.min(host.cores(), math.floor(count / (WORTH_THREADS / 4)))
end

--- The elements one behind the other, whatever their order; a copy where there are gaps.
local function packed(self)
  if core.has(self, core.CONTIGUOUS) then return self end
  local order = {}
  for d = 1, self._rank do order[d] = d end
  table.sort(order, function(a, b)
    local x, y = self._step[a - 1], self._step[b - 1]
    return x > y or x == y and a < b
  end)
  local sorted = self:transpose(unpack(order))
  return core.has(sorted, core.CONTIGUOUS) and sorted or self:copy()
end

local function measure(self, extremes)
  local of = packed(self)
  if C.array_moments(of._kind, of._at, of._count, threads_for(of._count), extremes, moments) ~= 0 then
    refuse("not enough memory to add up the elements of an array")
  end
end

local function complex_sum(self)
  local of, re, im = packed(self), 0, 0
  local at = of._at
  for k = 0, of._count - 1 do re, im = re + at[k].re, im + at[k].im end
  return ffi.new("complex", re, im)
end

-- ---- along a dimension ----

local function check_axis(self, what, axis)
  if type(axis) ~= "number" or axis % 1 ~= 0 or axis < 1 or axis > self._rank then
    if self._rank == 0 then
      refuse("a:%s: the array is a single element, without dimensions, got %s for one", what, show(axis))
    end
    refuse("a:%s: the dimension must be an integer from 1 to %d (the array is %s), got %s", what, self._rank,
      core.shape_text(self), show(axis))
  end
end

--- The array as outer x size x inner elements, one behind the other.
local function around(self, axis)
  local of = core.has(self, core.CONTIGUOUS) and self or self:copy()
  local outer, inner = 1, 1
  for d = 1, axis - 1 do outer = outer * of._shape[d - 1] end
  for d = axis + 1, of._rank do inner = inner * of._shape[d - 1] end
  return of, outer, of._shape[axis - 1], inner
end

local function shape_without(self, axis)
  local shape = core.shape(self)
  table.remove(shape, axis)
  return shape
end

local function add_row(to, from, inner)
  for i = 0, inner - 1 do to[i] = to[i] + tonumber(from[i]) end
end

local function least_row(to, from, inner)
  for i = 0, inner - 1 do
    if from[i] < to[i] or from[i] ~= from[i] then to[i] = from[i] end
  end
end

local function largest_row(to, from, inner)
  for i = 0, inner - 1 do
    if from[i] > to[i] or from[i] ~= from[i] then to[i] = from[i] end
  end
end

--- Folds along a dimension: `row` takes a row into the result, which begins with the first row, or with zeros.
local function fold(self, axis, kind, row, begins_with_first)
  local of, outer, size, inner = around(self, axis)
  local made = core.new(kind, shape_without(self, axis))
  local from, to = of._at, made._at
  for o = 0, outer - 1 do
    if begins_with_first then
      for i = 0, inner - 1 do to[o * inner + i] = from[o * size * inner + i] end
    end
    for k = begins_with_first and 1 or 0, size - 1 do row(to + o * inner, from + (o * size + k) * inner, inner) end
  end
  return made
end

local function refuse_complex(self, what)
  if core.kind_of(self).class == "complex" then refuse("a:%s: complex numbers have no order", what) end
end

local function sum_of(self, axis, what)
  core.check(self, what)
  local is_complex = core.kind_of(self).class == "complex"
  if axis == nil or self._rank == 1 and axis == 1 then
    if is_complex then return complex_sum(self) end
    measure(self, false)
    return moments.sum
  end
  check_axis(self, what, axis)
  if is_complex then refuse("a:%s: of complex numbers it is of all elements, not along a dimension", what) end
  return fold(self, axis, kinds.of "double", add_row, false)
end

--- The sum of all elements, as a double (a complex number for complex ones); or, with the number of a dimension, an
--- array of the sums along it. It is the same to the bit however many threads add.
function methods.sum(self, axis) return sum_of(self, axis, "sum") end

--- The mean of all elements, or an array of the means along a dimension.
function methods.mean(self, axis)
  local sum = sum_of(self, axis, "mean")
  if type(sum) == "number" then return sum / self._count end
  if not core.is(sum) then return ffi.new("complex", sum.re / self._count, sum.im / self._count) end
  local size = self._shape[axis - 1]
  for k = 0, sum._count - 1 do sum._at[k] = sum._at[k] / size end
  return sum
end

local EXACT = 2 ^ 53 -- up to here doubles are all integers

--- The least or the largest 64-bit integer, which need not be a double.
local function wide_extreme(self, is_largest)
  local of = packed(self)
  local at, best = of._at, of._at[0]
  for k = 1, of._count - 1 do
    local x = at[k]
    if is_largest and x > best or not is_largest and x < best then best = x end
  end
  return best
end

local function least_or_largest(self, what, axis, field, row)
  core.check(self, what)
  refuse_complex(self, what)
  if axis == nil or self._rank == 1 and axis == 1 then
    measure(self, true)
    local value = moments[field]
    if core.kind_of(self).wide and math.abs(value) >= EXACT then return wide_extreme(self, field == "largest") end
    return value
  end
  check_axis(self, what, axis)
  return fold(self, axis, core.kind_of(self), row, true)
end

--- The least and the largest element, in one turn.
function make.extremes(self)
  measure(self, true)
  local least, largest = moments.least, moments.largest
  if core.kind_of(self).wide and math.max(math.abs(least), math.abs(largest)) >= EXACT then
    return wide_extreme(self, false), wide_extreme(self, true)
  end
  return least, largest
end

--- The least element, or an array of the least along a dimension. NaN where an element is. Beyond 2^53 that of an
--- array of 64-bit integers is such an integer.
function methods.min(self, axis) return least_or_largest(self, "min", axis, "least", least_row) end

--- The largest element, or an array of the largest along a dimension. NaN where an element is.
function methods.max(self, axis) return least_or_largest(self, "max", axis, "largest", largest_row) end

-- ---- convolution ----

local CONVOLVE = { "axis", "edge", "into" }
local edges = { reflect = 0, nearest = 1, zero = 2, wrap = 3 }

--- What helps who has elements of another kind than float or double.
local function made_so(kind) return kind.class == "integer" and "; a:copy(\"double\") makes them so" or "" end

local function read_kernel(kernel)
  if type(kernel) == "table" then kernel = make.from_table("a:convolve: the kernel", kinds.of "double", kernel) end
  if not core.is(kernel) then refuse("a:convolve: the kernel is a list of numbers, got %s", show(kernel)) end
  core.check_live(kernel)
  if kernel._rank ~= 1 or kernel._count % 2 == 0 then
    refuse("a:convolve: the kernel is a list of an odd number of values, got %s", core.shape_text(kernel))
  end
  if core.kind_of(kernel).class == "complex" then
    refuse("a:convolve: the kernel is of real numbers, got %s", show(kernel))
  end
  return kernel:copy "double"
end

--- The dimensions to convolve along, in order.
local function read_axes(self, axis)
  if type(axis) ~= "table" then
    check_axis(self, "convolve", axis)
    return { axis }
  end
  if #axis == 0 then refuse("a:convolve: axis is the number of a dimension, or a list of such, got an empty list") end
  local seen, axes = {}, {}
  for k, d in ipairs(axis) do
    check_axis(self, "convolve", d)
    if seen[d] then refuse("a:convolve: dimension %d stands twice in the list of axes", d) end
    seen[d], axes[k] = true, d
  end
  return axes
end

--- One step: along a dimension, or along the last two.
local function convolve_once(from, to, axis, both, kernel, edge)
  local _, outer, size, inner = around(from, axis)
  local shape = ffi.new("uint64_t [3]", outer, size, inner)
  local is_double = core.kind_of(from).name == "double"
  if C.array_convolve(is_double, from._at, to._at, shape, both, kernel._at, kernel._count, edge) ~= 0 then
    refuse("not enough memory for a convolution")
  end
end

--- Convolves along dimensions with a kernel, as the smoothing of signals and images needs it: element i of the result
--- is the sum of kernel[k] * a[i + k - middle]. Options: `axis` (1), a dimension or a list of some, which are taken in
--- turn: `{ 1, 2 }` of an image is a filter of two dimensions; `edge`: what stands beyond the edges, "reflect" (the
--- elements in reverse order), "nearest", "zero" or "wrap"; `into`: an array for the result.
--- Example: `image:convolve({ 0.25, 0.5, 0.25 }, { axis = { 1, 2 } })`
---@return any the result, an array of the same type and shape
function methods.convolve(self, kernel, options)
  core.check(self, "convolve")
  options = given.options("a:convolve", options, CONVOLVE)
  local kind, edge = core.kind_of(self), options.edge
  if edge == nil then edge = "reflect" end
  edge = edges[edge]
  if kind.class ~= "float" then
    refuse("a:convolve: elements are float or double, got %s%s", kind.name, made_so(kind))
  end
  local axis = options.axis
  if axis == nil then axis = 1 end
  local axes = read_axes(self, axis)
  if not edge then refuse("a:convolve: edge is reflect, nearest, zero or wrap, got %s", show(options.edge)) end
  kernel = read_kernel(kernel)
  local into = options.into
  if into == nil then into = core.new(kind, core.shape(self), true) end
  if core.is(into) then core.check_live(into) end
  if not core.is(into) or core.kind_of(into) ~= kind or core.shape_text(into) ~= core.shape_text(self) then
    refuse("a:convolve: into must be an array of the same type and shape (%s, %s), got %s", kind.name,
      core.shape_text(self), show(into))
  end
  core.check_writable(into)
  local from, k = core.has(self, core.CONTIGUOUS) and self or self:copy(), 1
  while k <= #axes do
    local both = axes[k] == self._rank - 1 and axes[k + 1] == self._rank
    local is_last = k + (both and 1 or 0) == #axes
    local to = is_last and core.has(into, core.CONTIGUOUS) and not make.overlap(into, from) and into
      or core.new(kind, core.shape(self), true)
    convolve_once(from, to, axes[k], both, kernel, edge)
    if not rawequal(from, self) then from:free() end -- its memory is the next one's
    from, k = to, k + (both and 2 or 1)
  end
  if rawequal(from, into) then return into end
  make.copy_elements(into, from)
  from:free()
  return into
end

-- ---- nearest points ----

--- For each row of an array of points the number of the nearest row of another one, and the square of its distance;
--- of equally near ones the first: a step of k-means, of vector quantisation, of a table of colours. Both are arrays of
--- two dimensions, of the same type, float or double, with rows of the same length.
--- Example: `local nearest, distances = points:nearest(centres)`
---@param centres parlua.Array
---@return parlua.Array numbers of type int32, one for each row, from 1
---@return parlua.Array distances their squares, of the points' type
function methods.nearest(self, centres)
  core.check(self, "nearest")
  if not core.is(centres) then refuse("a:nearest: an array of centres is expected, got %s", show(centres)) end
  core.check_live(centres)
  local kind = core.kind_of(self)
  if kind.class ~= "float" or core.kind_of(centres) ~= kind then
    local other = core.kind_of(centres)
    refuse("a:nearest: points and centres are both float or both double, got %s and %s%s", kind.name, other.name,
      (kind.class == "complex" or other.class == "complex") and "" or "; a:copy(\"double\") makes them so")
  end
  if self._rank ~= 2 or centres._rank ~= 2 or self._shape[1] ~= centres._shape[1] then
    refuse("a:nearest: points and centres are arrays of two dimensions with rows of the same length, got %s and %s",
      core.shape_text(self), core.shape_text(centres))
  end
  local of = core.has(self, core.CONTIGUOUS) and self or self:copy()
  local to = core.has(centres, core.CONTIGUOUS) and centres or centres:copy()
  local n, width = self._shape[0], self._shape[1]
  local numbers, distances = core.new(kinds.of "int32", { n }, true), core.new(kind, { n }, true)
  local room = core.new(kind, { tonumber(C.array_nearest_room(width)) }, true)
  C.array_nearest(kind.name == "double", of._at, n, to._at, centres._shape[0], width, room._at, numbers._at,
    distances._at)
  return numbers, distances
end
