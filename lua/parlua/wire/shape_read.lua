--- Reads tables that came by their shape (wire/shape.lua): for each shape a reader is written and compiled, so that a
--- record is one constructor. Several values of a task come the same way.
--
-- 60 ns to read a record of a number, a number and a short string (bench/records.lua).
local codec = require "parlua.codec"
local ffi = require "ffi"
local block = require "parlua.wire.block"
local shape = require "parlua.wire.shape"
local start = require "parlua.wire.start"

-- a script may have taken them away
local loadstring, setmetatable = start.globals.loadstring, start.globals.setmetatable
local concat = start.libraries.table.concat -- a script may have put its own in its place
local M = {}

local C = ffi.C
local cast = ffi.cast
local HEAD, STRING, RECORD, LOWEST = C.BLOCK_HEAD, C.TAG_STRING, C.TAG_RECORD, C.TAG_LOWEST
local NIL, FALSE, TRUE = C.TAG_NIL, C.TAG_FALSE, C.TAG_TRUE
local halves, doubles = block.halves, ffi.typeof("double *")
local constructor, damaged, filled, keys_of = shape.constructor, shape.damaged, shape.filled, shape.keys_of

local function outside() error("cannot decode: a value lies outside of its message", 0) end

--- The value of a field: no number.
local function field(from, size, tags, j, tag)
  if tag == STRING then return (block.string(from, size, tags[2 * j])) end
  if tag == TRUE then return true end
  if tag == FALSE then return false end
  if tag == NIL then return nil end
  damaged()
end

local reader_text = [[
local cast, doubles, halves, read_string, field, outside, setmetatable = ...
LASTS
local function read(values, from, size, half, k, last, shape_place, class)
LASTS
  for at = k, last do
    local place = half[2 * at]
    if half[2 * at + 1] ~= RECORD then return at end
    if place < LEAST or 8 * place + BODY > size then outside() end
    local body = cast(doubles, from) + place
    local tags = cast(halves, body)
    if tags[0] ~= shape_place or tags[1] ~= FIELDS then return at end
READS
    values[at - k] = TABLE
  end
  return last + 1
end
local function one(from, size, half, k, shape_place)
  local place = half[2 * k]
  if place < LEAST or 8 * place + 8 > size then outside() end
  local body = cast(doubles, from) + place
  local tags = cast(halves, body)
  if tags[0] ~= shape_place or tags[1] ~= FIELDS then return nil end
  if 8 * place + BODY > size then outside() end
READS
  return PLAIN
end
local function begin() RESETS end
return read, one, begin]]

local reader_field = [[
    local v#
    do
      local tag = tags[2 * # + 1]
      if tag >= 0 or tag < LOWEST then
        v# = body[#]
      elseif tag == STRING then
        local p = tags[2 * #]
        if p ~= p# then p#, s# = p, read_string(from, size, p) end
        v# = s#
      else
        v# = field(from, size, tags, #, tag)
      end
    end]]

--- The reader of one shape.
--
--   read(values, block, size, half, k, last, shape_place)   reads words from k on into values from 0 on, as long as
--                                                           they are records of this shape; returns the first
--                                                           that is none
--   one(block, size, half, k, shape_place)                  the table of word k, a record; nil: it has another shape
--   begin()                                                 goes before the first that `one` reads of a block
--
-- Where what uses the fields is compiled with `one` into one trace, no table is made.
local function make_reader(described)
  local keys, number, offset = keys_of(described)
  local lasts, fields, resets = {}, {}, {}
  for k = 1, #keys do
    lasts[k] = ("  local s%d, p%d = nil, -1"):format(k, k)
    resets[k] = ("p%d = -1"):format(k)
    fields[k] = reader_field:gsub("#", tostring(k))
  end
  local plain_table = constructor(keys)
  local parts = { LASTS = concat(lasts, "\n"), READS = filled(concat(fields, "\n")), RESETS = concat(resets, "; "),
    PLAIN = plain_table, TABLE = number and ("setmetatable(%s, class)"):format(plain_table) or plain_table }
  local text = filled(reader_text, { BODY = 8 * (#keys + 1), FIELDS = #keys, LEAST = HEAD / 8 })
  text = text:gsub("%f[%w_]%u+%f[^%w_]", parts) -- keys, which may look like them, come with these
  local read, one, begin = assert(loadstring(text, "=parlua.shape"))(cast, doubles, halves, block.string, field,
    outside, setmetatable)
  return { read = read, one = not number and one, begin = begin, number = number, offset = offset }
end

local readers, reader_count = {}, 0
local MOST_READERS = 1000

local function reader_of(described)
  local reader = readers[described]
  if not reader then
    if reader_count == MOST_READERS then readers, reader_count = {}, 0 end
    reader = make_reader(described)
    readers[described], reader_count = reader, reader_count + 1
  end
  return reader
end

--- Where a record at `place` says that its shape is, and how many values it has.
local function head_of(from, size, place)
  if 8 * place < HEAD or 8 * place + 8 > size then outside() end
  local tags = cast(halves, cast(doubles, from) + place)
  return tags[0], tags[1]
end
M.head_of = head_of

--- Reads records from word k on, as far as they have one shape, into values[0], ...; returns the first word that was
--- not read. The books of the run are in use.
function M.read(values, from, size, half, k, last)
  local shape_place = head_of(from, size, half[2 * k])
  local reader = reader_of(block.string(from, size, shape_place))
  local class = reader.number and codec.object_at(reader.number, reader.offset)
  local stop = reader.read(values, from, size, half, k, last, shape_place, class)
  if stop == k then damaged() end
  return stop
end

--- The reader that has `one` for the record of word k, and the place of its shape; nil: it is to be read by M.one.
function M.reader_at(from, half, k)
  local size = tonumber(from.size)
  local shape_place = head_of(from, size, half[2 * k])
  if shape_place == 0 then return nil end
  local reader = reader_of(block.string(from, size, shape_place))
  return reader.one and reader or nil, shape_place
end

--- Reads the record of word k alone. Raises where it is no table.
function M.one(from, half, k)
  local values = {}
  M.read(values, from, tonumber(from.size), half, k, k)
  return values[0]
end
block.record = M.one

--- One value of a record that is several.
local function value_of(from, size, body, tags, j)
  local tag = tags[2 * j + 1]
  if tag >= 0 or tag < LOWEST then return body[j] end
  return field(from, size, tags, j, tag)
end

--- Reads words from k on, as far as each is two values, into firsts[0], ... and seconds[0], ...; returns the first word
--- that was not read.
function M.read_pairs(firsts, seconds, from, size, half, k, last)
  for at = k, last do
    local place = half[2 * at]
    if half[2 * at + 1] ~= RECORD then return at end
    if 8 * place < HEAD or 8 * place + 24 > size then outside() end
    local body = cast(doubles, from) + place
    local tags = cast(halves, body)
    if tags[0] ~= 0 or tags[1] ~= 2 then return at end
    firsts[at - k], seconds[at - k] = value_of(from, size, body, tags, 1), value_of(from, size, body, tags, 2)
  end
  return last + 1
end

--- The values of a record that is several, with n.
function M.tuple(from, size, place)
  local _, n = head_of(from, size, place)
  if n < 0 or 8 * place + 8 * (n + 1) > size then outside() end
  local body = cast(doubles, from) + place
  local tags, values = cast(halves, body), { n = n }
  for j = 1, n do values[j] = value_of(from, size, body, tags, j) end
  return values
end

return M
