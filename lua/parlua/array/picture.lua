--- Pictures: PGM and PPM, read and written, and PNG, written. A picture is an array of rows x columns, grey, or of
--- rows x columns x 3 (red, green, blue), of uint8 or uint16.
local core = require "parlua.array.core"
local ffi = require "ffi"
local kinds = require "parlua.array.kinds"
local zip = require "parlua.array.zip"

local M = {}

local function refuse(what, message, ...) error(("%s: %s"):format(what, message:format(...)), 0) end

-- ---- reading PGM and PPM ----

local bytes_pointer = ffi.typeof "const uint8_t *"

local function is_space(byte) return byte == 32 or byte >= 9 and byte <= 13 end

--- The next number of a header, or of the values of a file in text form, behind blanks and comments; and the place
--- behind it.
local function next_number(what, bytes, size, at)
  while at < size and (is_space(bytes[at]) or bytes[at] == 35) do
    if bytes[at] == 35 then
      while at < size and bytes[at] ~= 10 do at = at + 1 end
    else
      at = at + 1
    end
  end
  local value, first = 0, at
  while at < size and bytes[at] >= 48 and bytes[at] <= 57 do
    value, at = value * 10 + bytes[at] - 48, at + 1
    if value > 2 ^ 31 then refuse(what, "a number in it is too large") end
  end
  if at == first then
    refuse(what, at >= size and "it is cut short" or "there is no number where one is expected (byte %d)", at)
  end
  return value, at
end

local function read_text(what, bytes, size, at, made, count, highest)
  local value
  for k = 0, count - 1 do
    value, at = next_number(what, bytes, size, at)
    if value > highest then refuse(what, "a value is %.0f, more than the highest, %.0f", value, highest) end
    made._at[k] = value
  end
end

local function read_bytes(from, to, count)
  for k = 0, count - 1 do to[k] = from[2 * k] * 256 + from[2 * k + 1] end
end

--- A picture in memory.
function M.read(what, bytes, size)
  bytes = ffi.cast(bytes_pointer, bytes)
  local form = size >= 2 and bytes[0] == 80 and bytes[1] - 48 or 0
  if form ~= 2 and form ~= 3 and form ~= 5 and form ~= 6 then refuse(what, "it is no PGM or PPM picture") end
  local width, at = next_number(what, bytes, size, 2)
  local height, highest
  height, at = next_number(what, bytes, size, at)
  highest, at = next_number(what, bytes, size, at)
  if width < 1 or height < 1 then refuse(what, "a picture of %.0f x %.0f points", width, height) end
  if highest < 1 or highest > 65535 then
    refuse(what, "its highest value is %.0f; it must be from 1 to 65535", highest)
  end
  local channels = (form == 3 or form == 6) and 3 or 1
  local kind, count = kinds.of(highest > 255 and "uint16" or "uint8"), width * height * channels
  local is_text = form < 4
  local there = is_text and (size - at) / 2 or (size - at - 1) / kind.size
  if there < count - (is_text and 1 or 0) then
    refuse(what, "it is cut short: %.0f x %.0f points take %.0f values, there are %.0f", width, height, count,
      math.floor(there))
  end
  local made = core.new(kind, channels == 3 and { height, width, 3 } or { height, width }, true)
  if is_text then
    read_text(what, bytes, size, at, made, count, highest)
  elseif kind.size == 1 then
    ffi.copy(made._at, bytes + at + 1, count)
  else
    read_bytes(bytes + at + 1, made._at, count)
  end
  return made
end

-- ---- what is written ----

--- Sizes of a picture.
local function check(what, array, most_channels)
  local shape = core.shape(array)
  local channels = shape[3] or 1
  if #shape < 2 or #shape > 3 or channels > most_channels or channels == 2 then
    refuse(what, "a picture is of rows x columns, or rows x columns x 3%s; the array is %s",
      most_channels == 4 and " (or 4)" or "",
      core.shape_text(array))
  end
  if core.kind_of(array).class == "complex" then refuse(what, "a picture is not of complex numbers") end
  return shape[1], shape[2], channels
end

local function scale(from, to, count, low, factor, highest)
  for k = 0, count - 1 do
    local value = (tonumber(from[k]) - low) * factor
    to[k] = value ~= value and 0 or math.min(math.max(math.floor(value + 0.5), 0), highest)
  end
end

--- The values of a picture as uint8 or uint16. Integers stay as they are; of floating-point numbers the least becomes
--- black and the largest white, unless `low` and `high` say otherwise.
local function values_of(what, array, options)
  local kind, low, high, bits = core.kind_of(array), options.low, options.high, options.bits
  if bits ~= nil and bits ~= 8 and bits ~= 16 then refuse(what, "bits must be 8 or 16, got %s", core.show(bits)) end
  if kind.class == "integer" and low == nil and high == nil then
    local least, largest = array:min(), array:max()
    if least < 0 or largest > 65535 then
      refuse(what, "values from %.0f to %.0f are none of a picture (0 to 65535); name low and high", least, largest)
    end
    bits = bits or (kind.size == 1 or kind.size > 2 and largest < 256) and 8 or 16
    if bits == 8 and largest > 255 then refuse(what, "a value is %.0f, more than 8 bits hold", largest) end
    low, high = 0, bits == 8 and 255 or 65535
  end
  low, high, bits = low or array:min(), high or array:max(), bits or 8
  local highest = bits == 8 and 255 or 65535
  local from = core.has(array, core.CONTIGUOUS) and array or array:copy()
  local made = core.new(kinds.of(bits == 8 and "uint8" or "uint16"), core.shape(array), true)
  scale(from._at, made._at, made._count, low, high > low and highest / (high - low) or 0, highest)
  return made, highest
end

--- Two bytes a value, the higher first.
local function swap(array)
  local at = ffi.cast("uint8_t *", array._at)
  for k = 0, array._count - 1 do at[2 * k], at[2 * k + 1] = at[2 * k + 1], at[2 * k] end
  return array
end

--- Writes PGM or PPM, by the number of channels.
function M.write_pnm(what, array, options, write)
  local rows, columns, channels = check(what, array, 3)
  local values, highest = values_of(what, array, options)
  if highest > 255 then swap(values) end
  write(("P%d\n%.0f %.0f\n%d\n"):format(channels == 3 and 6 or 5, columns, rows, highest))
  write(values._at, values._count * core.kind_of(values).size)
end

local function big(value)
  return string.char(math.floor(value / 2 ^ 24) % 256, math.floor(value / 65536) % 256, math.floor(value / 256) % 256,
    value % 256)
end

local COLOURS = { [1] = 0, [3] = 2, [4] = 6 } -- PNG's numbers of grey, colour, colour with opacity
local LEVEL = 6

--- Writes PNG.
function M.write_png(what, array, options, write)
  local rows, columns, channels = check(what, array, 4)
  local values, highest = values_of(what, array, options)
  if highest > 255 then swap(values) end
  local z = zip.zlib(what)
  local row = columns * channels * core.kind_of(values).size
  local length = rows * (row + 1)
  if rows > 2 ^ 31 or columns > 2 ^ 31 or length > 2 ^ 31 - 2 ^ 20 then
    refuse(what, "the picture is too large for PNG")
  end
  local plain = core.new(kinds.of "uint8", { length }) -- each row behind a zero: as it is, without a filter
  for r = 0, rows - 1 do
    ffi.copy(plain._at + r * (row + 1) + 1, ffi.cast("const char *", values._at) + r * row, row)
  end
  local most = ffi.new("unsigned long [1]", z.compressBound(length))
  local packed = core.new(kinds.of "uint8", { tonumber(most[0]) }, true)
  if z.compress2(packed._at, most, plain._at, length, LEVEL) ~= 0 then refuse(what, "zlib cannot compress it") end
  local size = tonumber(most[0])
  local function chunk(name, bytes, count)
    local crc = zip.crc(what, bytes, count, zip.crc(what, name, 4))
    write(big(count) .. name)
    write(bytes, count)
    write(big(crc))
  end
  write "\137PNG\r\n\26\n"
  local head = big(columns) .. big(rows) .. string.char(highest > 255 and 16 or 8, COLOURS[channels], 0, 0, 0)
  chunk("IHDR", head, #head)
  chunk("IDAT", packed._at, size)
  chunk("IEND", "", 0)
end

return M
