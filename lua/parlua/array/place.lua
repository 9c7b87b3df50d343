--- Results of tasks put into an array: what task i returned becomes element i of an array of one dimension, or slice i
--- of one of more. In the workers where these reach the array, else in the script.
local core = require "parlua.array.core"
local ffi = require "ffi"
local kinds = require "parlua.array.kinds"
local loops = require "parlua.array.loops"
local make = require "parlua.array.make"

local M = {}

local show, shape_text = core.show, core.shape_text

local function refuse(message, ...) error(message:format(...), 0) end

--- How many elements a C array has, and a pointer to them; nil: it is none of numbers.
local function elements_of(data)
  local name = tostring(ffi.typeof(data)):match "^ctype<(.-) ?%[[%d?]+%]>$"
  local ok, size = pcall(function() return ffi.sizeof(ffi.typeof(name)) end)
  if not name or not ok or name:find "struct" or name:find "%*" or name:find "%[" then return nil end
  return ffi.sizeof(data) / size, data
end

--- The sizes of a slice of an array: those of its dimensions but the first.
local function slice_text(into)
  if into._rank == 1 then return "one number" end
  local shape = core.shape(into)
  table.remove(shape, 1)
  return shape_text(shape) .. " numbers"
end

local function refuse_size(into, i, n, what)
  refuse("task %.0f returned %s of %.0f, its place in the array (%s) is of %s", i, what, n, shape_text(into),
    slice_text(into))
end

--- Is a number one that the kind holds? An integer type takes no fractions, and no more than it has room for.
local function holds(kind, value)
  if kind.class ~= "integer" then return true end
  if type(value) == "number" and value % 1 ~= 0 then return false end
  return kinds.has_room(kind, value)
end
M.holds = holds

local function check_value(kind, i, value)
  if not make.fits(kind, value) then
    refuse("task %.0f returned %s, where a number is to be put into an array", i, show(value))
  end
  if not holds(kind, value) then refuse("task %.0f returned %s, which is no %s", i, show(value), kind.name) end
end

--- The same for all elements of an array, where its type does not say that they fit.
local function check_elements(kind, i, array)
  local other = core.kind_of(array)
  if kinds.common(kind, other) == kind or kind.class == "float" and other.class ~= "complex" then return end
  if other.class == "complex" then
    refuse("task %.0f returned complex numbers, where such of the type %s are to be put into an array", i, kind.name)
  end
  loops.each_row(array, function(at, count, step)
    for k = 0, count - 1 do check_value(kind, i, at[k * step]) end
  end)
end

--- Checks the numbers of a list, or of a list of lists; returns how many there are.
local function check_list(kind, i, list)
  local count = 0
  for k = 1, #list do
    local value = list[k]
    if type(value) == "table" then
      count = count + check_list(kind, i, value)
    else
      check_value(kind, i, value)
      count = count + 1
    end
  end
  return count
end

--- Puts them at a pointer in order; returns the place behind the last.
local function put_list(to, list, at)
  for k = 1, #list do
    local value = list[k]
    if type(value) == "table" then
      at = put_list(to, value, at)
    else
      to[at], at = value, at + 1
    end
  end
  return at
end

local function put_data(slice, kind, i, data, count)
  for k = 0, count - 1 do check_value(kind, i, data[k]) end
  for k = 0, count - 1 do slice._at[k] = data[k] end
end

--- Puts what task i returned in its place. Raises what is wrong with it.
---@param into parlua.Array
function M.put(into, i, value)
  if i > into._shape[0] then
    refuse("task %.0f has no place in the array: its first dimension is %.0f (%s)", i, into._shape[0], shape_text(into))
  end
  local kind = core.kind_of(into)
  local slice = into:slice(i)
  local count = slice._count
  local is_own = core.has(slice, core.CONTIGUOUS)
  local to = is_own and slice or core.new(kind, core.shape(slice))
  if core.is(value) then
    if value._count ~= count then refuse_size(into, i, value._count, "an array") end
    check_elements(kind, i, value)
    if shape_text(value) == shape_text(slice) then
      make.copy_elements(slice, value)
      return
    end
    make.copy_elements(to:reshape(count), (core.has(value, core.CONTIGUOUS) and value or value:copy()):reshape(count))
  elseif type(value) == "table" then
    local n = check_list(kind, i, value)
    if n ~= count then refuse_size(into, i, n, "a list") end
    put_list(to._at, value, 0)
  elseif type(value) == "cdata" and not make.fits(kind, value) then
    local n, data = elements_of(value)
    if not n then
      refuse("task %.0f returned C data that are no array of numbers: %s", i, tostring(ffi.typeof(value)))
    end
    if n ~= count then refuse_size(into, i, n, "C data") end
    put_data(to, kind, i, data, count)
  else
    check_value(kind, i, value)
    if count ~= 1 then refuse_size(into, i, 1, "a number, that is a list") end
    to._at[0] = value
  end
  if not is_own then make.copy_elements(slice, to) end
end

--- How many numbers a result is, for an array that has a row for each; nil: it is none.
function M.width(value)
  if type(value) == "number" then return 1 end
  if core.is(value) then return value._count end
  if type(value) == "table" then
    local n = 0
    for k = 1, #value do
      local inner = M.width(value[k])
      if not inner then return nil end
      n = n + inner
    end
    return n > 0 and n or nil
  end
  if type(value) == "cdata" then
    if make.fits(kinds.of "complex", value) then return 1 end
    return (elements_of(value))
  end
end

--- What the worker's loop is written with (worker/text.lua): the pointer and the step of an array of one dimension,
--- and the condition under which a number v can be put there as it is; nil where that can't be.
---@return ffi.cdata* at, integer step, string condition
function M.direct(into)
  local kind = core.kind_of(into)
  if into._rank ~= 1 or kind.class == "complex" then return nil end
  local condition = ("i <= %.0f"):format(into._shape[0])
  if kind.wide then return nil end
  if kind.class == "integer" then
    condition = ("%s and v >= %.0f and v <= %.0f and v %% 1 == 0"):format(condition, kind.low, kind.high)
  end
  return into._at, into._step[0], condition
end

return M
