--- Lines of a job's output, written by its workers: `{"index":1,"args":[1],"result":..}`, or a row of comma-separated
--- values, goes as bytes into the block of results, and from there into the file. It never is a string of Lua, of
--- which a million have to be found or kept.
local block = require "parlua.wire.block"
local ffi = require "ffi"
local json = require "parlua.wire.json"
local json_shapes = require "parlua.wire.json_shapes"
local rows = require "parlua.lazy" "parlua.feed.rows"
local new_buffer = require("string.buffer").new

local M = {}

local C = ffi.C
local cast, copy = ffi.cast, ffi.copy
local HEAD, LINE, VALUE = C.BLOCK_HEAD, C.TAG_LINE, C.TAG_VALUE
local bytes, u64 = ffi.typeof("char *"), ffi.typeof("uint64_t *")

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

--- What writes the rows of one job, whose columns are known: a function that puts the row of task i as word k.
---@param outlet table
---@param given {separator: string, columns: string[]}
---@return fun(k: integer, i: integer, v: any): number
function M.row_writer(outlet, given)
  local buffer, writer = new_buffer(), rows.open(given.separator, given.columns)
  writer:put_head(new_buffer()) -- the coordinator writes that
  return function(k, i, v)
    buffer:reset()
    -- a row that is wrong ends the job: the coordinator says so
    if not pcall(writer.put, writer, buffer, v) then return outlet.put(k, i, VALUE, v) end
    local from, length = buffer:ref()
    return put(outlet.block, outlet.half, k, from, length) or outlet.put(k, i, VALUE, v)
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

return M
