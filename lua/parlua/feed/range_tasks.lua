--- The tasks in ranges that were handed out (feed/ranges.lua): their bytes, their arguments, and where they come from.
local ffi = require "ffi"
local block = require "parlua.wire.block"
local csv = require "parlua.lazy" "parlua.source.csv"
local json = require "parlua.lazy" "parlua.wire.json_values"
local ranges = require "parlua.feed.ranges"
local texts = require "parlua.wire.text"

local M = {}

ffi.cdef "void *memchr(const void *, int, size_t);"

local const_bytes = ffi.typeof("const char *")
local STRING = ffi.C.TAG_STRING
local NEWLINE = 10

--- The ranges of a chunk: a list of what `fill` makes. `text`: of a mapped one.
function M.list_of(payload)
  local list, half, words = {}, ffi.cast(block.halves, payload.word), payload.word
  for r = 0, words[1] - 1 do
    local at = ranges.HEAD + ranges.WIDTH * r
    local bytes = half[2 * at + 1] == STRING and block.string(payload, tonumber(payload.size), half[2 * at])
    list[r + 1] = { bytes or words[at], words[at + 1], words[at + 2], words[at + 3] }
  end
  return list
end

local row_readers = setmetatable({}, { __mode = "k" }) -- by source: making one takes a millisecond

--- A function from the bytes of a row to the row, of a csv source whose header has been read.
function M.row_reader(source)
  local reader = row_readers[source]
  if not reader then
    local copy = {}
    for key, value in pairs(source) do copy[key] = value end
    copy.names = source.names or source.found_names
    reader = csv.reader(copy)
    row_readers[source] = reader
  end
  return reader
end

--- The bytes of a task, to be shown.
function M.bytes_of(source, bytes)
  if source.kind ~= "jsonl" then return bytes end
  return (bytes:gsub("^[\r\n]+", ""):gsub("[\r\n]+$", ""))
end

--- The argument that the bytes of a task are; of one that is wrong: the bytes.
function M.argument(source, bytes)
  if source.kind == "csv" then
    local ok, row = pcall(M.row_reader(source), bytes)
    return ok and row or bytes
  elseif source.kind == "jsonl" then
    local ok, value = pcall(json.decode, bytes)
    if ok then return value end
    return M.bytes_of(source, bytes)
  elseif source.kind == "lines" then
    bytes = bytes:gsub("\n$", "")
    if not source.keep_cr then bytes = bytes:gsub("\r$", "") end
  end
  return bytes
end

local function skip(source, p, stop)
  if source.kind == "csv" then return csv.skip(p, stop, source.separator, source.quote) end
  if source.kind == "jsonl" then return csv.skip(p, stop, NEWLINE, NEWLINE) end
  if source.kind == "blocks" then return stop end
  local at = ffi.C.memchr(p, NEWLINE, texts.distance(stop, p))
  return at == nil and stop or ffi.cast(const_bytes, at) + 1
end

--- Line ends in bytes, before `stop`.
local function count_ends(p, stop)
  local n = 0
  while p < stop do
    if p[0] == NEWLINE then n = n + 1 end
    p = p + 1
  end
  return n
end

--- Finds task number `k` (from 0) of a chunk: its range, where that begins in memory, and where its bytes do and end.
--- An output asks for one after the other: goes on from the last.
local function seek(source, puller, payload, k)
  local last = puller.last_asked
  if not last or last.origin ~= payload.origin or last.k > k then
    last = { origin = payload.origin, list = M.list_of(payload), r = 0, k = 0, from = 0, at = 0, stop = 0 }
    puller.last_asked = last
  end
  while true do
    while last.at >= last.stop do
      last.r = last.r + 1
      local range = last.list[last.r]
      if not range then return nil end
      local is_inline = type(range[1]) == "string"
      last.from = is_inline and ffi.cast(const_bytes, range[1])
        or ffi.cast(const_bytes, puller.text:pointer()) + range[1]
      last.at, last.stop = 0, math.abs(range[2])
    end
    local p = last.from + last.at
    local stop = last.from + last.stop
    local behind = last.list[last.r][2] < 0 and stop or skip(source, p, stop)
    if last.k == k then return last.list[last.r], last.from, p, behind end
    last.k, last.at = last.k + 1, texts.distance(behind, last.from)
  end
end

--- Are the bytes of a range no longer there? While an event is dealt with whose ranges were looked at (supply.is_cut),
--- that look is enough: a task that fails would cost two more.
local function is_lost(puller, range)
  if puller.is_checked or type(range[1]) == "string" then return false end
  return puller.text:whole(range[1] + range[2]) < range[1] + range[2]
end

--- The path and the line of a range that stands for what can't be read.
local function trouble_place(puller, range)
  return (puller.stream:part(range[3])), range[4] > 0 and range[4] or nil
end

--- The bytes of task number `k` (from 0) of a chunk; nil: they are no longer there, were never read, or are too many
--- for a string.
function M.find(source, puller, payload, k)
  local range, _, p, behind = seek(source, puller, payload, k)
  local length = range and texts.distance(behind, p) or 0
  if not range or range[2] < 0 or length > texts.MOST or is_lost(puller, range) then return nil end
  return ffi.string(p, length)
end

--- Line ends of a range before `at`: goes on from the last count, since places are asked for one after the other.
local function count_on(last, range, from, at)
  local to = texts.distance(at, from)
  if last.counted ~= range or to < last.counted_to then last.counted, last.counted_to, last.ends = range, 0, 0 end
  last.ends = last.ends + count_ends(from + last.counted_to, at)
  last.counted_to = to
  return last.ends
end

--- The path of its file, and its line.
function M.place_of(source, puller, payload, k)
  local range, from, at, behind = seek(source, puller, payload, k)
  if not range or is_lost(puller, range) then return nil end
  if range[2] < 0 then return trouble_place(puller, range) end
  while ranges.passes_over_ends[source.kind] and at < behind and (at[0] == NEWLINE or at[0] == 13) do at = at + 1 end
  local name, begin = (puller.text or puller.stream):part(range[3])
  if type(range[1]) == "string" then return name, range[4] + count_on(puller.last_asked, range, from, at) end
  return name, puller.text:ends(begin, range[1] + texts.distance(at, from)) + 1
end

--- What tells where a range of one task comes from, as place_of does.
---@return fun(): string?, integer?
function M.teller(source, puller, range)
  local name, line
  return function()
    if name then return name, line end
    if range[2] < 0 then return trouble_place(puller, range) end
    if is_lost(puller, range) then return nil end
    local text, inline = puller.text or puller.stream, type(range[1]) == "string"
    local from = inline and ffi.cast(const_bytes, range[1]) or ffi.cast(const_bytes, text:pointer()) + range[1]
    local at, stop = from, from + range[2]
    while ranges.passes_over_ends[source.kind] and at < stop and (at[0] == NEWLINE or at[0] == 13) do at = at + 1 end
    local part, begin = text:part(range[3])
    name = part
    line = inline and range[4] + count_ends(from, at) or text:ends(begin, range[1] + texts.distance(at, from)) + 1
    return name, line
  end
end

return M
