--- Elementwise arithmetic: `a + b`, `2 * a`, `a / b`, with arrays of equal shapes and with numbers. The result is an
--- array of its own, of a type that holds both sides' numbers; `/` gives floating-point numbers.
local start = require "parlua.wire.start"
local core = require "parlua.array.core"
local ffi = require "ffi"
local kinds = require "parlua.array.kinds"
local loops = require "parlua.array.loops"
local make = require "parlua.array.make"

local refuse, show, operators, methods = core.refuse, core.show, core.operators, core.methods

-- A loop for each operation and kind of operands, from a text: LuaJIT makes a trace of each.
local text = [[
local convert = ...
return {
  arrays = function(to, to_step, a, a_step, b, b_step, count)
    for k = 0, count - 1 do to[k * to_step] = VALUE_A OP VALUE_B end
  end,
  right = function(to, to_step, a, a_step, b, _, count)
    for k = 0, count - 1 do to[k * to_step] = VALUE_A OP b end
  end,
  left = function(to, to_step, b, b_step, a, _, count)
    for k = 0, count - 1 do to[k * to_step] = a OP VALUE_B end
  end,
}]]

local made = {}

--- The loops of an operation. `convert`: what elements are made of before, as an int8_t beside an int64_t.
local function loops_of(operator, convert)
  local key = operator .. (convert and tostring(convert) or "")
  if made[key] then return made[key] end
  local value = convert and "convert(%s[k * %s_step])" or "%s[k * %s_step]"
  local code = text:gsub("VALUE_A", (value:format("a", "a"))):gsub("VALUE_B", (value:format("b", "b"))):gsub("OP",
    operator)
  made[key] = start.compile(code, "=parlua.arithmetic")(convert)
  return made[key]
end

-- Complex numbers have no arithmetic in LuaJIT: it is written out, on their parts.
local complex = {
  ["+"] = function(a, b, c, d) return a + c, b + d end,
  ["-"] = function(a, b, c, d) return a - c, b - d end,
  ["*"] = function(a, b, c, d) return a * c - b * d, a * d + b * c end,
  ["/"] = function(a, b, c, d)
    local norm = c * c + d * d
    return (a * c + b * d) / norm, (b * c - a * d) / norm
  end,
}

--- The pointer to the parts of complex numbers.
local function parts(of)
  return ffi.cast(core.kind_of(of).name == "complex" and "double *" or "float *", of._at)
end

local function complex_run(calculate, to, a, a_step, b, b_step, count)
  for k = 0, count - 1 do
    local i, j = 2 * k * a_step, 2 * k * b_step
    to[2 * k], to[2 * k + 1] = calculate(a[i], a[i + 1], b[j], b[j + 1])
  end
end

--- Rows of a result and of two operands of its shape.
local function each_of_three(to, a, b, run)
  if not (core.has(a, core.CONTIGUOUS)) then a = a:copy() end
  if not (core.has(b, core.CONTIGUOUS)) then b = b:copy() end
  run(to._at, 1, a._at, 1, b._at, 1, to._count)
end

--- The kind for an array and a number: an integer that the array's type holds leaves it as it is.
local function kind_with_number(kind, value)
  if type(value) == "cdata" then
    if ffi.istype("complex", value) or ffi.istype("complex float", value) then
      return kinds.common(kind, kinds.of "complex float")
    end
    return kinds.common(kind, kinds.of(ffi.istype("uint64_t", value) and "uint64" or "int64"))
  end
  if kind.class ~= "integer" or value % 1 == 0 and value >= kind.low and value <= kind.high then return kind end
  if value % 1 == 0 and value >= -2 ^ 31 and value < 2 ^ 32 then
    return kinds.common(kind, kinds.of(value < 0 and "int32" or value < 2 ^ 31 and "int32" or "uint32"))
  end
  return kinds.of "double"
end

--- What the result of an operation is made of.
local function result_kind(operator, a, b)
  local kind
  if not core.is(b) then
    kind = kind_with_number(core.kind_of(a), b)
  elseif not core.is(a) then
    kind = kind_with_number(core.kind_of(b), a)
  else
    kind = kinds.common(core.kind_of(a), core.kind_of(b))
  end
  if operator == "/" and kind.class == "integer" then return kinds.of "double" end
  return kind
end

local function check_operand(operator, value, other)
  if core.is(value) then
    core.check_live(value)
  elseif not make.fits(kinds.of "complex", value) then
    refuse("array %s: arrays and numbers go together, got %s and %s", operator, show(other), show(value))
  end
end

--- A number as an array of the kind, of which every element is that one.
local function as_array(kind, value)
  local made_one = core.new(kind, { 1 })
  made_one._at[0] = value
  return made_one
end

local function complex_result(operator, a, b, kind, shape)
  local to = core.new(kind, shape, true)
  local left, right = core.is(a) and a or as_array(kind, a), core.is(b) and b or as_array(kind, b)
  if core.kind_of(left).class ~= "complex" then left = left:copy(kind.name) end
  if core.kind_of(right).class ~= "complex" then right = right:copy(kind.name) end
  if not core.has(left, core.CONTIGUOUS) then left = left:copy() end
  if not core.has(right, core.CONTIGUOUS) then right = right:copy() end
  complex_run(complex[operator], parts(to), parts(left), core.is(a) and 1 or 0, parts(right), core.is(b) and 1 or 0,
    to._count)
  return to
end

local function calculate(operator, a, b)
  check_operand(operator, a, b)
  check_operand(operator, b, a)
  if core.is(a) and core.is(b) and not loops.same_shape(a, b) then
    refuse("array %s: the shapes differ: %s and %s", operator, core.shape_text(a), core.shape_text(b))
  end
  local kind, shape = result_kind(operator, a, b), core.shape(core.is(a) and a or b)
  if kind.class == "complex" then return complex_result(operator, a, b, kind, shape) end
  local to = core.new(kind, shape, true)
  -- 64-bit integers are added as such; all others as doubles, which hold them
  local ctype = kind.wide and kind.ctype or nil
  local has_wide = core.is(a) and core.kind_of(a).wide or core.is(b) and core.kind_of(b).wide
  local run = loops_of(operator, ctype or has_wide and tonumber or nil)
  if not core.is(b) then
    if ctype then b = ctype(b) end
    loops.each_pair(to, a, function(at, step, from, from_step, count) run.right(at, step, from, from_step, b, 0,
      count) end)
  elseif not core.is(a) then
    if ctype then a = ctype(a) end
    loops.each_pair(to, b, function(at, step, from, from_step, count) run.left(at, step, from, from_step, a, 0,
      count) end)
  else
    each_of_three(to, a, b, run.arrays)
  end
  return to
end

function operators.add(a, b) return calculate("+", a, b) end
function operators.sub(a, b) return calculate("-", a, b) end
function operators.mul(a, b) return calculate("*", a, b) end
function operators.div(a, b) return calculate("/", a, b) end
function operators.unm(a) return calculate("*", a, -1) end

--- Are both the same elements of the same memory, in the same shape?
function operators.eq(a, b)
  if not core.is(a) or not core.is(b) then return false end
  if a._shared ~= b._shared or a._kind ~= b._kind or not loops.same_shape(a, b) then return false end
  return ffi.cast("const char *", a._at) == ffi.cast("const char *", b._at)
end

--- What arrays have not, and what there is instead.
local function lacking(operator, instead)
  return function() refuse("array %s: there is no such operation; %s", operator, instead) end
end

operators.pow = lacking("^", "a:copy():map_in_place(function(x) return x ^ 2 end) is for any function of an element")
operators.mod = lacking("%", "a:copy():map_in_place(function(x) return x % 2 end) is for any function of an element")
operators.lt = lacking("<", "compare elements, or a:min() and a:max()")
operators.le = lacking("<=", "compare elements, or a:min() and a:max()")
operators.concat = lacking("..", "tostring(a) is its text")

-- ---- in place ----

local function check_mapped(kind, value)
  if not make.fits(kind, value) then
    refuse("a:map_in_place: the function returned %s, where an element of an array of %s is to be put", show(value),
      kind.name)
  end
  make.check_room("a:map_in_place", kind, value)
end

local function map_run(f, kind)
  -- numbers between these are elements; what is not is looked at
  local low, high = -math.huge, math.huge
  if kind.wide then
    low, high = 0, 2 ^ 63
  elseif kind.class == "integer" then
    low, high = kind.low - 1, kind.high + 1
  end
  local takes_all = kind.class ~= "integer"
  return function(at, count, step)
    for k = 0, count - 1 do
      local value = f(at[k * step])
      local is_element = type(value) == "number" and (takes_all or value > low and value < high)
      if not is_element then check_mapped(kind, value) end
      at[k * step] = value
    end
  end
end

--- Puts f(element) in the place of each element; returns the array. Elements behind one for which f raises an error, or
--- returns what can't be an element, stay as they were.
---@param f fun(value: number): number
function methods.map_in_place(self, f)
  core.check(self, "map_in_place")
  core.check_writable(self)
  if type(f) ~= "function" then refuse("a:map_in_place: a function is expected, got %s", show(f)) end
  local held = self:transpose() -- keeps the elements, should f free the array
  loops.each_row(held, map_run(f, core.kind_of(self)))
  held:free()
  return self
end
