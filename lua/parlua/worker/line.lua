--- Lines of a job's output, written by its workers: `{"index":1,"args":[1],"result":..}`, or a row of comma-separated
--- values, goes as bytes into the block of results, and from there into the file. It never is a string of Lua, of
--- which a million have to be found or kept.
local block = require "parlua.wire.block"
local ffi = require "ffi"
local json = require "parlua.wire.json"
local json_shapes = require "parlua.wire.json_shapes"
local rows = require "parlua.lazy" "parlua.feed.rows"
local new_buffer = require("string.buffer").new

local concat = require("parlua.wire.start").libraries.table.concat -- a script may have put its own in its place
local M = {}

local C = ffi.C
local cast, copy = ffi.cast, ffi.copy
local HEAD, LINE, VALUE = C.BLOCK_HEAD, C.TAG_LINE, C.TAG_VALUE
local bytes, u64, u32 = ffi.typeof("char *"), ffi.typeof("uint64_t *"), ffi.typeof("const uint32_t *")

ffi.cdef "int memcmp(const void *, const void *, size_t);"

M.MOST_ARGUMENTS = 4 -- that are written out

local plain = { number = true, string = true, boolean = true, ["nil"] = true }

--- Puts bytes into the block as word k; returns how many words there is room for, or nil: they do not fit.
local function put(to, half, k, from, length)
  local floor = tonumber(to.floor) - 8 - math.floor((length + 7) / 8) * 8
  if floor < HEAD + 8 * (k + 1) then return nil end
  local p = cast(bytes, to) + floor
  cast(u64, p)[0] = length
  copy(p + 8, from, length)
  to.floor = floor
  half[2 * k], half[2 * k + 1] = floor / 8, LINE
  return (floor - HEAD) / 8
end

--- What writes the lines of one job. `begin` takes the arguments, before the task may change them; false: they are not
--- plain, and the coordinator is to write the line. `finish` puts the line with the result as word k; returns what
--- `store` of the outlet does. `encode` makes the text of a result alone, of what is no number, boolean or nil.
---@param outlet table see worker/init.lua
---@return fun(i: integer, n: integer, ...): boolean begin
---@return fun(k: integer, i: integer, v: any): number finish
---@return fun(v: any): any encode
function M.writer(outlet)
  local buffer, write = new_buffer(), json_shapes.writer "/result"

  local function encode(v)
    local kind = type(v)
    if kind == "number" or kind == "boolean" or kind == "nil" then return v end
    buffer:reset()
    write(buffer, v)
    return buffer:tostring()
  end

  local function begin(i, n, a, b, c, d)
    if not (plain[type(a)] and plain[type(b)] and plain[type(c)] and plain[type(d)]) then return false end
    buffer:reset()
    buffer:put('{"index":', i, ',"args":[')
    if n > 0 then json.put(buffer, a) end
    if n > 1 then
      buffer:put(",")
      json.put(buffer, b)
    end
    if n > 2 then
      buffer:put(",")
      json.put(buffer, c)
    end
    if n > 3 then
      buffer:put(",")
      json.put(buffer, d)
    end
    buffer:put('],"result":')
    return true
  end

  local function finish(k, i, v)
    write(buffer, v)
    buffer:put("}")
    local from, length = buffer:ref()
    return put(outlet.block, outlet.half, k, from, length) or outlet.put(k, i, VALUE, encode(v))
  end

  return begin, finish, encode
end

--- What writes the rows of one job under columns that are known.
local function writer_of(outlet, separator, columns)
  local buffer, writer = new_buffer(), rows.open(separator, columns)
  writer:put_head(new_buffer()) -- the coordinator writes that
  return function(k, i, v, before)
    buffer:reset()
    if before then buffer:put(before) end
    -- a row that is wrong ends the job: the coordinator says so
    if not pcall(writer.put, writer, buffer, v) then return outlet.put(k, i, VALUE, v) end
    local from, length = buffer:ref()
    return put(outlet.block, outlet.half, k, from, length) or outlet.put(k, i, VALUE, v)
  end
end

local length_before = ffi.typeof("uint32_t[1]")

--- Names as one text, behind its length: what stands before a row whose columns the coordinator does not know yet.
local function head_of(names)
  local parts = {}
  for k, name in ipairs(names) do parts[k] = ("%d:%s"):format(#name, name) end
  local text = concat(parts)
  return ffi.string(length_before(#text), 4) .. text
end

local function names_in(head)
  local names, at = {}, 1
  while at <= #head do
    local length, from = head:match("^(%d+):()", at)
    names[#names + 1] = head:sub(from, from + length - 1)
    at = from + length
  end
  return names
end

--- What writes the rows of one job: a function that puts the row of task i as word k. Where the job does not name its
--- columns these are the fields of the first row of all, which only the coordinator knows: before a row with names
--- stands what names it has. Others go as they are.
---@param outlet table
---@param given {separator: string, columns: string[]?}
---@return fun(k: integer, i: integer, v: any): number
function M.row_writer(outlet, given)
  if given.columns then return writer_of(outlet, given.separator, given.columns) end
  local known, count, head, write = {}, 0, nil, nil

  local function is_known(row)
    local n = 0
    for key in next, row do
      if not known[key] then return false end
      n = n + 1
    end
    return n == count
  end

  return function(k, i, v)
    if type(v) == "number" then
      outlet.block.word[k] = v
      return tonumber(outlet.block.floor - HEAD) / 8
    end
    if type(v) ~= "table" then return outlet.store(k, i, v) end
    if count == 0 or not is_known(v) then
      local names = rows.names_of(v)
      if not names then return outlet.store(k, i, v) end
      known, count, head, write = {}, #names, head_of(names), writer_of(outlet, given.separator, names)
      for _, name in ipairs(names) do known[name] = true end
    end
    return write(k, i, v, head)
  end
end

-- ---- in the coordinator ----

local function outside() error("cannot decode: a line lies outside of its message", 0) end

--- Looks at lines from word k on. Returns the first word that is none.
function M.check(out, size, half, k, last)
  for at = k, last do
    if half[2 * at + 1] ~= LINE then return at end
    local place = 8 * half[2 * at]
    if place < HEAD or place + 8 > size then outside() end
    if tonumber(cast(u64, cast(bytes, out) + place)[0]) > size - place - 8 then outside() end
  end
  return last + 1
end

---@class parlua.Lines
---@field from ffi.cdata* const char *: what the places of lines count from
---@field half ffi.cdata* int32_t *: line j is at place half[2 * j]

--- A copy of n lines, as one block of memory that belongs to the caller; and it.
---@param lines parlua.Lines
---@param room_for fun(doubles: integer): ffi.cdata*
---@return parlua.Lines copy, ffi.cdata* memory
function M.copy(lines, n, room_for)
  local from, half, low, high = lines.from, lines.half, math.huge, 0
  for j = 0, n - 1 do
    local place = 8 * half[2 * j]
    low = math.min(low, place)
    high = math.max(high, place + 8 + tonumber(cast(u64, from + place)[0]))
  end
  local length = high - low
  local memory = room_for(n + math.ceil(length / 8))
  local words = cast(block.halves, memory)
  copy(words, half, 8 * n)
  local to = cast(bytes, memory) + 8 * n
  copy(to, from + low, length)
  return { from = to - low, half = words }, memory
end

--- Appends n lines to a buffer, each with `before` or `behind` or both.
---@param lines parlua.Lines
---@param first_before string before the first of them
function M.append(buffer, lines, n, first_before, before, behind)
  local from, half = lines.from, lines.half
  for j = 0, n - 1 do
    local p = from + 8 * half[2 * j]
    local sign = j == 0 and first_before or before
    if sign ~= "" then buffer:put(sign) end
    buffer:putcdata(p + 8, tonumber(cast(u64, p)[0]))
    if behind ~= "" then buffer:put(behind) end
  end
end

--- Appends n rows before which their names stand.
---@param lines parlua.Lines
---@param writer parlua.Rows
function M.append_rows(buffer, lines, n, writer)
  local from, half, head, fits = lines.from, lines.half, "", false
  for j = 0, n - 1 do
    local p = from + 8 * half[2 * j]
    local length, head_length = tonumber(cast(u64, p)[0]), cast(u32, p + 8)[0]
    local row = p + 12 + head_length
    if head_length + 4 > length then outside() end
    if head_length ~= #head or C.memcmp(p + 12, head, head_length) ~= 0 then
      head = ffi.string(p + 12, head_length)
      fits = false
    end
    if fits then
      buffer:putcdata(row, length - head_length - 4)
    else
      local names = names_in(head)
      writer:put_written(buffer, names, ffi.string(row, length - head_length - 4))
      fits = writer.columns and concat(names, "\0") == concat(writer.columns, "\0")
    end
  end
end

return M
