--- Text that workers cut up themselves, in the ranges of a chunk (feed/ranges.lua). Where a text was cut short it has
--- fewer lines than were counted.
local ffi = require "ffi"
local block = require "parlua.wire.block"
local lazy = require "parlua.lazy"
local csv = lazy "parlua.source.csv"
local failure = require "parlua.failure"
local cut_message = require("parlua.worker.text").cut_message
local json = lazy "parlua.wire.json_values"
local uses = lazy "parlua.source.uses"
local wire_text = require "parlua.wire.text"

local M = {}

ffi.cdef [[
struct parlua_cursor { const char *next, *stop, *from, *begin; double range, part, line; };
struct mapping_loop { const void *mapping; volatile double *cell; double replaced; struct mapping_loop *outer; };
void *memchr(const void *, int, size_t);
void mapping_enter(struct mapping_loop *);
void mapping_leave(struct mapping_loop *);
]]

--- Where a loop is in the text: the next task's, where its range ends, the present task's; where the range begins, its
--- number from 0, its file and line.
function M.cursor() return ffi.new "struct parlua_cursor" end

--- For a loop that reads memory which may be cut short: for mapping_enter (src/sys/mapping.h).
function M.guard() return ffi.new "struct mapping_loop" end

local C = ffi.C
local cast = ffi.cast
local const_bytes = ffi.typeof("const char *")
local distance, text_string = wire_text.distance, wire_text.string

--- A function that raises it.
local function raise_cut(source)
  return function() error(cut_message(source), 0) end
end

--- By kind of source: how a task's argument is read at the cursor, and how one is passed over.
local kinds = { lines = {}, csv = {}, jsonl = {} }
M.kinds = kinds

local RANGES_HEAD, RANGE_WIDTH = 2, 4 -- words: see feed/ranges.lua
local u64 = ffi.typeof("uint64_t *")

--- What sets a cursor on the ranges of chunks: `begin(chunk)` before the first, `advance()` on the next one; that
--- raises an error where there is none, and the failure of one that stands for what can't be read. `pass()` goes on to
--- the next one, too; it returns true where that is such a one.
function M.ranger(source, cursor)
  local text = not source.is_stream and source.text or nil
  local base = text and cast(const_bytes, text:pointer())
  local chunk, words, half
  --- Goes to the next range. Returns a message where that can't be read: it is passed over, as its task is.
  local function enter()
    local r = cursor.range + 1
    if r >= words[1] then error(cut_message(source), 0) end
    local at = RANGES_HEAD + RANGE_WIDTH * r
    local from, length
    if half[2 * at + 1] == C.TAG_STRING then
      from = cast(const_bytes, chunk) + 8 * half[2 * at]
      length = tonumber(cast(u64, from)[0])
      from = from + 8
      if words[at + 1] < 0 then
        cursor.next, cursor.stop, cursor.from, cursor.begin, cursor.range = from + length, from + length, from, from, r
        cursor.part, cursor.line = words[at + 2], words[at + 3]
        return ffi.string(from, length)
      end
    else
      from, length = base + words[at], words[at + 1]
    end
    cursor.next, cursor.stop, cursor.from, cursor.begin, cursor.range = from, from + length, from, from, r
    cursor.part, cursor.line = words[at + 2], words[at + 3]
  end
  local ranger = {}
  function ranger.begin(next_chunk)
    chunk, words, half = next_chunk, next_chunk.word, cast(block.halves, next_chunk.word)
    cursor.next, cursor.stop, cursor.range = nil, nil, -1
  end
  function ranger.advance()
    local message = enter()
    if message then failure.raise { kind = "error", message = message, is_unread = true } end
  end
  function ranger.pass() return enter() ~= nil end
  return ranger
end

--- Lines that go to the next range where the present one is at its end.
local function advance_lines(builder, advance)
  builder.lines[#builder.lines + 1] = ([[
    if cursor.next >= cursor.stop then %s() end
    cursor.from = cursor.next]]):format(builder:constant(advance))
end

function kinds.lines.emit(source, builder, _, advance)
  advance_lines(builder, advance)
  builder.lines[#builder.lines + 1] = ([[
    local from, stop = cursor.next, cursor.stop
    local to = cast(char_pointer, memchr(from, 10, distance(stop, from)))
    if to == nil then to = stop end
    cursor.next = to + 1]]):gsub("distance", (builder:constant(distance)))
  if not source.keep_cr then
    builder.lines[#builder.lines + 1] = "if to > from and to[-1] == 13 then to = to - 1 end"
  end
  return { ("%s(from, %s(to, from))"):format(builder:constant(text_string), builder:constant(distance)) }
end

function kinds.lines.skip(_, cursor)
  local to = C.memchr(cursor.next, 10, distance(cursor.stop, cursor.next))
  cursor.next = to == nil and cursor.stop or cast(const_bytes, to) + 1
end

--- The text of the task at the cursor, which has been read.
local function text_at(cursor) return csv.text_of(ffi.string(cursor.from, cursor.next - cursor.from)) end

local function with_text(source, builder, expression)
  if not source.with_text then return { expression } end
  return { expression, builder:constant(text_at) .. "(cursor)" }
end

function kinds.csv.emit(source, builder, job, advance)
  if source.names and job then
    source.used = uses.of(job.f, source.enumerated and 1 or 0, job.fold and job.fold.fields)
  end
  local read = builder:constant(csv.cursor_reader(source, raise_cut(source)))
  advance_lines(builder, advance)
  builder.lines[#builder.lines + 1] = ("local row = %s(cursor, %d)"):format(read, csv.MOST_ROWS)
  return with_text(source, builder, "row")
end

function kinds.csv.skip(source, cursor)
  cursor.next = csv.skip(cursor.next, cursor.stop, source.separator, source.quote)
end

--- The value of the line at the cursor, which is put behind it.
local function read_json(cursor)
  local from, stop = cursor.next, cursor.stop
  while from < stop and (from[0] == 10 or from[0] == 13) do from = from + 1 end
  cursor.next = csv.skip(from, stop, 10, 10)
  return json.decode_bytes(from, distance(cursor.next, from))
end

function kinds.jsonl.emit(source, builder, _, advance)
  advance_lines(builder, advance)
  builder.lines[#builder.lines + 1] = ("local value = %s(cursor)"):format(builder:constant(read_json))
  return with_text(source, builder, "value")
end

function kinds.jsonl.skip(_, cursor) cursor.next = csv.skip(cursor.next, cursor.stop, 10, 10) end

-- A block of a stream: all of its range.
kinds.pieces = {}

function kinds.pieces.emit(source, builder, _, advance)
  advance_lines(builder, advance)
  builder.lines[#builder.lines + 1] = ([[
    local from, length = cursor.next, %s(cursor.stop, cursor.next)
    cursor.next = cursor.stop]]):format(builder:constant(distance))
  if source.raw then return { "from", "length" } end
  return { builder:constant(text_string) .. "(from, length)" }
end

function kinds.pieces.skip(_, cursor) cursor.next = cursor.stop end

--- Passes over the task at the cursor.
function M.skip(source, cursor, ranger)
  if cursor.next >= cursor.stop and ranger.pass() then return end
  kinds[source.kind].skip(source, cursor)
end

--- Where the task comes from that the cursor is on: the path of the file, and the line.
function M.place(source, cursor)
  local text = not source.is_stream and source.text
  local from, stop = cursor.from, cursor.stop
  if source.kind == "csv" or source.kind == "jsonl" then
    while from < stop and (from[0] == 10 or from[0] == 13) do from = from + 1 end
  end
  if text then
    local offset = distance(from, cast(const_bytes, text:pointer()))
    local part = kinds[source.kind] and cursor.part or select(2, text:whole(offset + 1))
    local name, begin = text:part(part)
    return name, text:ends(begin, offset) + 1
  end
  local line, p = cursor.line, cursor.begin
  while p < from do
    if p[0] == 10 then line = line + 1 end
    p = p + 1
  end
  cursor.begin, cursor.line = p, line -- the next task of the range goes on from here
  return source.paths[cursor.part], line
end

return M
