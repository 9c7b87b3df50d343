--- Shapes: tables that are nothing but a few fields with numbers, strings and booleans travel as rows of words, and
--- what fields there are is in the block once. For each shape a writer and a reader are written and compiled: a
--- record costs a lookup of each key and one constructor. Objects of a class that both sides have do as well. All
--- else (other metatables, tables in tables, tables that both sides have) goes by the codec.
--
-- A record is a word with TAG_RECORD that leads to: the place of its shape and the number of fields (32 bits each),
-- then a word for each field. Place 0 instead of a shape: these are the values that one task returned. The shape is a
-- string value: "s4:city" for a key that is a string, "n1;" for a number, one after the other in the order of `next`;
-- before them "c2:40;" for a class: the number of a book (wire/context.lua) and the place in it. A string that is the
-- field's in the record before, too, is not written again.
--
-- 35 ns to write a record of a number, a number and a short string (bench/records.lua); half of it where it is known
-- which keys the tables have (worker/made.lua). They are read by wire/shape_read.lua.
local codec = require "parlua.codec"
local ffi = require "ffi"
local block = require "parlua.wire.block"
local context = require "parlua.wire.context"
local start = require "parlua.wire.start"

-- a script may have taken them away
local loadstring, rawequal, setmetatable = start.globals.loadstring, start.globals.rawequal, start.globals.setmetatable
local getmetatable = start.libraries.debug.getmetatable
local concat = start.libraries.table.concat -- a script may have put its own in its place
local M = {}

local C = ffi.C
local cast = ffi.cast
local HEAD, STRING, RECORD, LOWEST = C.BLOCK_HEAD, C.TAG_STRING, C.TAG_RECORD, C.TAG_LOWEST
local NIL, FALSE, TRUE = C.TAG_NIL, C.TAG_FALSE, C.TAG_TRUE
local bytes, halves, doubles = ffi.typeof("char *"), block.halves, ffi.typeof("double *")
local u64 = ffi.typeof("uint64_t *")

local MOST_FIELDS = 18 -- a writer has two upvalues for each, of which a function has 60 at most
local MOST_SHAPES = 64 -- of one job
local MOST_MISSES = 32 -- tables in a row that fit no shape; from then on only one in so many is looked at

local plain = { number = true, string = true, boolean = true }

--- The shape of a table, or nil: it has none.
local function shape_of(v)
  local parts, n = {}, 0
  for key, value in next, v do
    n = n + 1
    if n > MOST_FIELDS or not plain[type(value)] then return nil end
    if type(key) == "string" then
      parts[n] = ("s%d:%s"):format(#key, key)
    elseif type(key) == "number" and key % 1 == 0 and key > -2 ^ 31 and key < 2 ^ 31 then
      parts[n] = ("n%d;"):format(key)
    else
      return nil
    end
  end
  return concat(parts)
end

local function damaged() error("cannot decode: the shape of a record is damaged", 0) end

--- The keys that a shape stands for; and where its class is: the number of a book of the chain and the place in it.
local function keys_of(shape)
  local number, offset, first = shape:match("^c(%d+):(%d+);()")
  local keys, at = {}, first or 1
  while at <= #shape do
    local key, behind = shape:match("^n(%-?%d+);()", at)
    if key then
      keys[#keys + 1], at = tonumber(key), behind
    else
      local length
      length, behind = shape:match("^s(%d+):()", at)
      length = tonumber(length) or damaged()
      if behind + length - 1 > #shape then damaged() end
      keys[#keys + 1], at = shape:sub(behind, behind + length - 1), behind + length
    end
  end
  if #keys > MOST_FIELDS then damaged() end
  return keys, tonumber(number), tonumber(offset)
end

local FEW = 3 -- keys: to step through them costs less than the end of a trace at a loop

local function literal(key) return type(key) == "string" and ("%q"):format(key) or ("%d"):format(key) end

--- Code that puts the fields of the table v into locals v1, v2, ...; it has no other keys.
local function reads_text(keys)
  local lines = {}
  for k, key in ipairs(keys) do lines[k] = ("  local v%d = v[%s]"):format(k, literal(key)) end
  return concat(lines, "\n")
end

--- The same of a table that may have others, or these in another order: then it returns false. It steps from key to
--- key, and has no loop.
local function steps_text(keys)
  local lines, before = {}, ""
  for k, key in ipairs(keys) do
    lines[k] = ("  local v%d\n  key, v%d = next(v%s)\n  if key ~= %s then return false end"):format(k, k, before,
      literal(key))
    before = ", " .. literal(key)
  end
  lines[#lines + 1] = ("  if next(v%s) ~= nil then return false end"):format(before)
  return "  local key\n" .. concat(lines, "\n")
end

--- The same, faster for many keys: a step has to find the key before.
local function fields_text(keys)
  if #keys <= FEW then return steps_text(keys) end
  return ([[
  local count = 0
  for _ in next, v do count = count + 1 end
  if count ~= %d then return false end
%s]]):format(#keys, reads_text(keys))
end

--- The constructor of a table of the locals v1, v2, ...
local function constructor(keys)
  local items, listed = {}, 0
  for k, key in ipairs(keys) do
    local is_next = key == k and listed == k - 1 -- else it would be another item of the list
    if is_next then listed = k end
    items[k] = is_next and "v" .. k or ("[%s] = v%d"):format(literal(key), k)
  end
  return "{ " .. concat(items, ", ") .. " }"
end

M.MOST_MISSES, M.damaged = MOST_MISSES, damaged
M.shape_of, M.keys_of, M.constructor = shape_of, keys_of, constructor
M.steps_text, M.fields_text = steps_text, fields_text

-- ---- writing ----

--- Puts the bytes of a string below `top`; returns the new top, or nil: there is no room.
local function put_bytes(base, top, lowest, v)
  local length = #v
  top = top - 8 - math.floor((length + 7) / 8) * 8
  if top < lowest then return nil end
  local p = cast(bytes, base) + top
  cast(u64, p)[0] = length
  ffi.copy(p + 8, v, length)
  return top
end

local writer_head = [[
local next, type, rawequal, put_bytes, place_shape, cast, doubles, halves, tonumber, shape, getmetatable, class = ...
local at_epoch, shape_place = -1, 0
%s
return function(block, half, k, v, epoch)
%s
  local top, lowest = tonumber(block.floor), HEAD + 8 * (k + 1)
  if epoch ~= at_epoch then
    top = place_shape(block, top, lowest, shape)
    if not top then return nil end
    at_epoch, shape_place = epoch, top / 8
%s
  end
  top = top - BODY
  if top < lowest then return nil end
  local place = top / 8
  local body = cast(doubles, block) + place
  local tags = cast(halves, body)
  tags[0], tags[1] = shape_place, FIELDS
%s
  block.floor = top
  half[2 * k], half[2 * k + 1] = place, RECORD
  return (top - HEAD) / 8
end]]

local writer_field = [[
  if type(v#) == "number" then
    body[#] = v#
  elseif type(v#) == "string" then
    if v# ~= s# then
      top = put_bytes(block, top, lowest, v#)
      if not top then
        at_epoch = -1
        return nil
      end
      s#, p# = v#, top / 8
    end
    tags[2 * #], tags[2 * # + 1] = p#, STRING
  elseif rawequal(v#, true) then
    tags[2 * # + 1] = TRUE
  elseif rawequal(v#, false) then
    tags[2 * # + 1] = FALSE
  else
    at_epoch = -1
    return false
  end]]

local constants = {
  HEAD = HEAD, STRING = STRING, RECORD = RECORD, TRUE = TRUE, FALSE = FALSE, LOWEST = LOWEST,
}

--- A text with the constants in it put in.
local function filled(text, more)
  return (text:gsub("%f[%w_]%u+%f[^%w_]", function(name) return constants[name] or more and more[name] end))
end

M.filled = filled

--- Puts a shape into the block; returns the new top or nil.
local function place_shape(to, top, lowest, shape)
  top = put_bytes(to, top, lowest, shape)
  if top then to.floor = top end
  return top
end

--- A writer of one shape: function(block, half, k, v, epoch) puts the table v as word k; `epoch` is another number for
--- each block. Returns how many words there is room for; nil: it does not fit the block; false: the shape is another.
---@param is_sure? boolean tables that come have no other keys, and without a class no metatable: only their fields, and
--- their class, are looked at
local function make_writer(shape, class, is_sure)
  local keys = keys_of(shape)
  local lasts, resets, fields = {}, {}, {}
  for k = 1, #keys do
    lasts[k] = ("local s%d, p%d = nil, 0"):format(k, k)
    resets[k] = ("    s%d = nil"):format(k)
    fields[k] = writer_field:gsub("#", tostring(k))
  end
  -- constants are put in before the keys, which may look like them
  local text = filled(writer_head, { BODY = 8 * (#keys + 1), FIELDS = #keys }):format(concat(lasts, "\n"),
    (is_sure and not class and "" or "  if getmetatable(v) ~= class then return false end\n")
      .. (is_sure and reads_text(keys) or fields_text(keys)),
    concat(resets, "\n"), filled(concat(fields, "\n")))
  return assert(loadstring(text, "=parlua.shape"))(next, type, rawequal, put_bytes, place_shape, cast, doubles, halves,
    tonumber, shape, getmetatable, class)
end

--- How the shape of an object begins: where its class is; nil: the coordinator does not have it.
local function prefix_of(class)
  if class == nil then return "" end
  local number, offset = codec.place_of(class)
  return number and ("c%d:%d;"):format(number, offset) or nil
end

--- The same for tables that have these keys and no others, as their making shows (worker/made.lua); nil: they have no
--- shape. Where the writer, and what makes the tables, are compiled into one trace, no table is ever made.
---@param keys table in the order of the constructor
---@param environment? table|false objects: of the function that makes them by setmetatable
function M.sure_writer(keys, environment)
  local ones = {}
  for k = 1, #keys do ones[k] = ("local v%d = 1"):format(k) end
  local shape = #keys > 0 and #keys <= MOST_FIELDS
    and shape_of(assert(loadstring(concat(ones, " ") .. " return " .. constructor(keys)))())
  if not shape then return nil end
  local write, misses = not environment and make_writer(shape, nil, true), 0
  local function put(to, half, k, v, epoch)
    if misses == MOST_MISSES then return false end
    local room = write(to, half, k, v, epoch)
    if room then
      if misses > 0 then misses = 0 end
    elseif room == false then
      misses = misses + 1
    end
    return room
  end
  if not environment then return put end
  return function(to, half, k, v, epoch)
    if rawget(environment, "setmetatable") ~= setmetatable then return false end -- a task may have put its own there
    if write then return put(to, half, k, v, epoch) end
    if misses == MOST_MISSES or context.current ~= context.base then return false end
    misses = misses + 1
    local class = getmetatable(v)
    local prefix = type(class) == "table" and prefix_of(class)
    if not prefix then return false end
    write, misses = make_writer(prefix .. shape, class, true), 0
    return put(to, half, k, v, epoch)
  end
end

--- The tables that the worker and the coordinator both have: these cross as references.
---@param chain table books (wire/context.lua)
local function known_tables(chain)
  local known = {}
  for _, book in ipairs(chain) do
    for _, object in next, debug.getfenv(book) do
      if type(object) == "table" then known[object] = true end
    end
  end
  for _, module in next, package.loaded do
    if type(module) == "table" then known[module] = true end
  end
  return known
end

--- What puts the tables of one job into blocks: function(block, half, k, v, epoch) returns how many words there is room
--- for; or nil or false: the codec is to do it.
---@param chain table books that results may refer to
---@param is_plain? boolean objects of classes are left to the codec, which knows what has changed of them
function M.writer(chain, is_plain)
  local writers, count, known, misses, write = {}, 0, nil, 0, nil
  local prefixes = {} -- class -> how it begins a shape; false: the coordinator does not have it

  local function known_prefix(class)
    if class == nil then return "" end
    if is_plain then return false end
    if prefixes[class] == nil then prefixes[class] = prefix_of(class) or false end
    return prefixes[class]
  end

  local function other(to, half, k, v, epoch)
    misses = misses + 1
    if misses > MOST_MISSES and misses % MOST_MISSES ~= 0 then return nil end
    local class = getmetatable(v)
    local shape, prefix = shape_of(v), known_prefix(class)
    if not shape or not prefix then return nil end
    shape = prefix .. shape
    if not writers[shape] then
      if count == MOST_SHAPES then return nil end
      writers[shape], count = make_writer(shape, class), count + 1
    end
    write = writers[shape]
    return write(to, half, k, v, epoch)
  end

  return function(to, half, k, v, epoch)
    known = known or known_tables(chain)
    if known[v] then return nil end
    local room = write and write(to, half, k, v, epoch)
    if room == false or not write then room = other(to, half, k, v, epoch) end
    if room then misses = 0 end
    return room
  end
end

local function put_value(to, body, tags, j, v, top, lowest)
  if type(v) == "number" then
    body[j] = v
  elseif type(v) == 'nil' then
    tags[2 * j + 1] = NIL
  elseif type(v) == "string" then
    top = put_bytes(to, top, lowest, v)
    if not top then return nil end
    tags[2 * j], tags[2 * j + 1] = top / 8, STRING
  elseif rawequal(v, true) then
    tags[2 * j + 1] = TRUE
  elseif rawequal(v, false) then
    tags[2 * j + 1] = FALSE
  else
    return nil
  end
  return top
end

--- Puts two or three values of one task as word k. Returns how many words there is room for; nil: the codec is to do
--- it.
function M.put_values(to, half, k, n, a, b, c)
  local top, lowest = tonumber(to.floor) - 8 * (n + 1), HEAD + 8 * (k + 1)
  if top < lowest then return nil end
  local place = top / 8
  local body = cast(doubles, to) + place
  local tags = cast(halves, body)
  tags[0], tags[1] = 0, n
  top = put_value(to, body, tags, 1, a, top, lowest)
  top = top and put_value(to, body, tags, 2, b, top, lowest)
  if n == 3 then top = top and put_value(to, body, tags, 3, c, top, lowest) end
  if not top then return nil end
  to.floor = top
  half[2 * k], half[2 * k + 1] = place, RECORD
  return (top - HEAD) / 8
end

return M
