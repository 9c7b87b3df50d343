--- How an array looks as text: as NumPy prints it, all of it up to a thousand elements, else the first and the last
--- three of each dimension.
local core = require "parlua.array.core"
local ffi = require "ffi"

local M = {}

local MOST_SHOWN, EDGE, WIDTH = 1000, 3, 75

local function is_shown(size, i, is_short) return not is_short or size <= 2 * EDGE or i <= EDGE or i > size - EDGE end

--- Calls visit(value) for each element that is shown.
local function visit(self, d, at, is_short, call)
  if d == self._rank then return call(self._at[at]) end
  local size = self._shape[d]
  for i = 1, size do
    if is_shown(size, i, is_short) then
      visit(self, d + 1, at + (i - 1) * self._step[d], is_short, call)
    end
    if is_short and size > 2 * EDGE and i == EDGE then call(nil, d) end
  end
end

local function is_finite(x) return x == x and x ~= math.huge and x ~= -math.huge end

--- Digits behind the point, at most 8, without zeros at the end.
local function digits_needed(x)
  local text = ("%.8f"):format(x):gsub("0+$", "")
  return #text - text:find(".", 1, true)
end

--- With so many digits behind the point, and in the exponent.
local function exponent_text(x, digits, width)
  local text = ("%." .. digits .. "e"):format(x):gsub("^(-?%d)e", "%1.e")
  return (text:gsub("(%d+)$", function(exponent) return ("0"):rep(width - #exponent) .. exponent end))
end

local function odd(x) return x ~= x and "nan" or x > 0 and "inf" or "-inf" end

--- A function that writes floating-point numbers of these values alike.
local function float_format(values)
  local largest, least, digits = 0, math.huge, 0
  for _, x in ipairs(values) do
    if is_finite(x) and x ~= 0 then
      largest, least = math.max(largest, math.abs(x)), math.min(least, math.abs(x))
    end
  end
  if largest >= 1e8 or least < 1e-4 or largest / least > 1e3 then
    local width = 2
    for _, x in ipairs(values) do
      if is_finite(x) then
        local mantissa, exponent = ("%.8e"):format(x):match "%.(%d-)0*e[+-](%d+)"
        digits, width = math.max(digits, #mantissa), math.max(width, #exponent)
      end
    end
    return function(x) return is_finite(x) and exponent_text(x, digits, width) or odd(x) end
  end
  for _, x in ipairs(values) do
    if is_finite(x) then digits = math.max(digits, digits_needed(x)) end
  end
  return function(x)
    if not is_finite(x) then return odd(x) end
    local text = ("%." .. digits .. "f"):format(x):gsub("(%.%d-)0+$", "%1")
    if digits == 0 then text = text .. "." end
    -- zeros at the end are left blank, so that the points stand below each other
    return text .. (" "):rep(digits == 0 and 0 or digits - (#text - text:find(".", 1, true)))
  end
end

local function integer_text(x) return type(x) == "cdata" and tostring(x):gsub("U?LL$", "") or ("%d"):format(x) end

local function complex_format(values)
  local parts = {}
  for _, x in ipairs(values) do
    parts[#parts + 1] = tonumber(x.re)
    parts[#parts + 1] = tonumber(x.im)
  end
  local write = float_format(parts)
  return function(x)
    local imaginary = write(tonumber(x.im)):gsub("%s+$", "")
    return write(tonumber(x.re)):gsub("%s+$", "") .. (imaginary:sub(1, 1) == "-" and "" or "+") .. imaginary .. "j"
  end
end

local float = ffi.new "float[1]"

local function to_float(x)
  float[0] = x
  return float[0]
end

--- A float as the double that has the same few digits.
local function single(x)
  if not is_finite(x) then return x end
  for digits = 1, 9 do
    local short = tonumber(("%." .. digits .. "g"):format(x))
    if to_float(short) == x then return short end
  end
end

--- Texts of the elements that are shown, all of one width.
local function texts_of(self, is_short)
  local kind, values = core.kind_of(self), {}
  visit(self, 0, 0, is_short, function(value)
    if value ~= nil then values[#values + 1] = kind.name == "float" and single(value) or value end
  end)
  local write = kind.class == "integer" and integer_text or kind.class == "complex" and complex_format(values)
    or float_format(values)
  local texts, width = {}, 0
  for k, value in ipairs(values) do
    texts[k] = write(value)
    width = math.max(width, #texts[k])
  end
  for k, text in ipairs(texts) do texts[k] = (" "):rep(width - #text) .. text end
  return texts
end

local function row_text(parts, indent)
  local lines, line = {}, "["
  for k, part in ipairs(parts) do
    local piece = (k > 1 and " " or "") .. part
    if k > 1 and #line + #piece + indent >= WIDTH then
      lines[#lines + 1] = line
      line, piece = (" "):rep(indent + 1), part
    end
    line = line .. piece
  end
  lines[#lines + 1] = line .. "]"
  return table.concat(lines, "\n")
end

local function block_text(self, d, is_short, texts, place)
  local size, parts = self._shape[d], {}
  for i = 1, size do
    if is_shown(size, i, is_short) then
      if d == self._rank - 1 then
        place.at = place.at + 1
        parts[#parts + 1] = texts[place.at]
      else
        parts[#parts + 1] = block_text(self, d + 1, is_short, texts, place)
      end
    end
    if is_short and size > 2 * EDGE and i == EDGE then parts[#parts + 1] = "..." end
  end
  if d == self._rank - 1 then return row_text(parts, d) end
  return "[" .. table.concat(parts, ("\n"):rep(self._rank - 1 - d) .. (" "):rep(d + 1)) .. "]"
end

--- The elements as NumPy prints them.
function M.elements(self)
  local is_short = self._count > MOST_SHOWN
  local texts = texts_of(self, is_short)
  if self._rank == 0 then return (texts[1]:gsub("%s+$", "")) end
  return block_text(self, 0, is_short, texts, { at = 0 })
end

core.operators.tostring = function(self)
  local kind = core.kind_of(self)
  if core.has(self, core.FREED) then return ("array of %s, freed"):format(kind.name) end
  return ("%s\n%s%s"):format(M.elements(self), kind.name, self._rank > 0 and ", " .. core.shape_text(self) or "")
end

return M
