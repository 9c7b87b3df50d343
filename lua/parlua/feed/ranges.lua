--- Texts that workers take apart themselves: lines, rows, lines of JSON, and blocks of a stream, each a range of its
--- own. The coordinator only cuts: a chunk is a list of ranges of bytes, each in one file, of a mapped text; or, of a
--- stream, the bytes themselves. feed/range_tasks.lua reads them.
--
-- The words of such a chunk: the number of its tasks, the number of ranges, and for each of these where it begins (a
-- number: in the mapped text; a string value: the bytes), its length, the number of the file, and of a stream the line.
-- Where a file of a stream can't be read on, a range stands for one task that fails: its bytes are the message, and its
-- length is below 0. So the files behind it are read, and the failure has its place among the tasks.
local ffi = require "ffi"
local csv = require "parlua.lazy" "parlua.source.csv"
local host = require "parlua.host"
local texts = require "parlua.wire.text"

local concat = require("parlua.wire.start").libraries.table.concat -- a script may have put its own in its place
local M = {}

local const_bytes = ffi.typeof("const char *")
local NEWLINE = 10         -- in place of a quote: lines are rows in which nothing is quoted
local PIECE_BYTES = 2 ^ 17 -- of a stream at once, about
-- Of a mapped text in a chunk, about: what was counted here is still in the cache when a worker reads it. Chunks of
-- 16 MB made workers half as fast again a line. It is cut by so many tasks at a time.
local CACHED_BYTES, CACHED_TASKS = 2 ^ 21, 2 ^ 13
local MOST_RANGES = 1000   -- of a chunk
M.HEAD, M.WIDTH = 2, 4     -- words before the ranges, words of a range

--- How the tasks of each kind are cut: of a mapped text from an offset on; of a stream.
local cuts = {
  lines = {
    mapped = function(text, _, offset, want) return text:cut_lines(offset, want) end,
    stream = function(text, _, want) return text:take_lines(want, PIECE_BYTES) end,
  },
  csv = {
    mapped = function(text, source, offset, want)
      return text:cut_rows(offset, want, source.quote, source.separator)
    end,
    stream = function(text, source, want) return text:take_rows(want, PIECE_BYTES, source.quote, source.separator) end,
  },
  jsonl = {
    mapped = function(text, _, offset, want) return text:cut_rows(offset, want, NEWLINE, NEWLINE) end,
    stream = function(text, _, want) return text:take_rows(want, PIECE_BYTES, NEWLINE, NEWLINE) end,
  },
  blocks = {
    stream = function(text, source)
      if source.is_eager then -- whole lines, as many as were read at once
        local n, at, length, line = text:take_lines(2 ^ 52, source.size)
        return n and 1, at, length, line
      end
      if source.record then return text:take_records(source.size, source.record) end
      return text:take_block(source.size, source.start)
    end,
  },
}

--- Kinds whose tasks may have empty lines in front of them, which are none of theirs, and files a byte order mark.
M.passes_over_ends = { csv = true, jsonl = true }

--- Do workers take texts of this kind apart?
function M.is_kind(kind) return cuts[kind] ~= nil end

--- A message when the bytes in front of `reach` are no longer there: what was read of them may be zeros.
function M.cut_message(text, source, reach)
  local whole, part = text:whole(reach)
  if whole >= reach then return nil end
  local name, from, stop = text:part(part)
  return ("%s: '%s' was cut short while it was read: of %.0f bytes it has %.0f"):format(source.kind, name, stop - from,
    whole - from)
end

--- Raises it.
function M.check_whole(...)
  local message = M.cut_message(...)
  if message then error(message, 0) end
end

-- ---- what stands before the tasks of a file ----

--- A message where a text begins as one in UTF-16 does: its lines would be cut in the middle of characters.
local function wide_message(source, name, bytes)
  local first, second = bytes:byte(1, 2)
  if second and first + second == 0xFF + 0xFE and first >= 0xFE then
    return ("%s: '%s' is a text in UTF-16; iconv -f UTF-16 -t UTF-8 makes one of it that can be read"):format(
      source.kind, name)
  end
end

local function raise(message)
  if message then error(message, 0) end
end

--- Takes a header's names; those of all files must be the same. Returns a message where something is wrong with it.
local function take_header(puller, path, line)
  local source, name = puller.source, path == "-" and "standard input" or "'" .. path .. "'"
  if not line or line == "" then return ("csv: %s is empty: it has no header"):format(name) end
  local text = csv.without_mark(line)
  local names, message = csv.header(text, source.separator, source.quote)
  message = message or csv.doubt(names, text, source.is_default_separator)
  if message then return ("csv: %s: %s"):format(name, message) end
  local first = source.found_names
  if not first then
    csv.check_columns(source, names, name .. " has")
    source.found_names, puller.named_by, source.header_text = names, name, line
    return
  end
  if concat(names, "\0") ~= concat(first, "\0") then
    return ("csv: %s has the columns %s, but %s has %s; read it in a call of its own"):format(name,
      concat(names, ", "), puller.named_by, concat(first, ", "))
  end
end

local function has_header(source) return source.kind == "csv" and not source.names and source.header ~= false end

--- Where the tasks of part k of a mapped text begin.
local function begin_mapped(puller, k)
  local text, source = puller.text, puller.source
  local name, from, stop = text:part(k)
  local p = from < stop and ffi.cast(const_bytes, text:pointer()) + from
  if p then raise(wide_message(source, name, ffi.string(p, math.min(stop - from, 2)))) end
  local has_mark = source.kind ~= "lines" and stop - from >= 3 and ffi.string(p, 3) == csv.MARK
  if has_mark then from, p = from + 3, p + 3 end
  if source.skip and p then
    local length = select(2, text:cut_lines(from, source.skip))
    from, p = from + length, p + length
  end
  if has_header(source) then
    local length = p and select(2, text:cut_rows(from, 1, source.quote, source.separator)) or 0
    local line = p and ffi.string(p, length)
    if length > 0 then M.check_whole(text, source, from + length) end
    raise(take_header(puller, name, line))
    return from + length
  end
  return from
end

local INTERRUPTED = ": " .. host.strerror(4) -- EINTR

--- What reading a stream returns; where it raises: false and the message, unless a signal came.
local function read(f, ...)
  local ok, n, at, length, line = pcall(f, ...)
  if ok then return n, at, length, line end
  if type(n) ~= "string" or n:sub(-#INTERRUPTED) == INTERRUPTED then error(n, 0) end
  return false, n
end

--- Notes what was taken, to know the line that follows.
local function note(puller, bytes, line) puller.last_bytes, puller.last_line = bytes, line end

--- The line that comes next.
local function next_line(puller) return puller.last_line + select(2, puller.last_bytes:gsub("\n", "")) end

--- The same of the part that a stream begins. Returns a message where it can't be read, or is not what is wanted.
local function begin_stream(puller)
  local source, left = puller.source, puller.source.skip or 0
  puller.is_at_begin = left == 0 and source.kind ~= "blocks"
  note(puller, "", 1 + left)
  while left > 0 do
    local n, message = read(puller.stream.take_lines, puller.stream, left, 0)
    if n == false then return message end
    if not n then break end
    left = left - n
  end
  if has_header(source) then
    local stream = puller.stream
    local n, at, length, number = read(stream.take_rows, stream, 1, 0, source.quote, source.separator)
    if n == false then return at end
    local name, line = stream:part(puller.part), n and ffi.string(at, length)
    if n then note(puller, line, number) end
    local message = puller.is_at_begin and line and wide_message(source, name, line)
    puller.is_at_begin = false
    return message or take_header(puller, name, line)
  end
end

-- ---- pulling ----

--- Cuts up to `want` tasks. Hands out ranges of several files at once where these are small.
local function fill_mapped(puller, writer, want)
  local text, source, list, count, bytes = puller.text, puller.source, {}, 0, 0
  local cut, is_exact, range = cuts[source.kind].mapped, puller.is_exact, nil
  while count < want and (is_exact or #list < MOST_RANGES and bytes < CACHED_BYTES) do
    if puller.offset >= puller.stop then
      if puller.part == puller.parts then break end
      puller.part, range = puller.part + 1, nil
      puller.offset, puller.stop = puller.begins[puller.part], select(3, text:part(puller.part))
    else
      local most = want - count
      local n, length = cut(text, source, puller.offset, is_exact and most or math.min(most, CACHED_TASKS))
      if n > 1 then M.check_whole(text, source, puller.offset + length) end -- of one the worker sees it
      if n == 0 then
        puller.offset = puller.stop
      else
        if range then
          range[2] = range[2] + length
        else
          range = { puller.offset, length, puller.part, 0 }
          list[#list + 1] = range
        end
        count, bytes, puller.offset = count + n, bytes + length, puller.offset + length
      end
    end
  end
  if count > 0 then writer:ranges(count, list) end
  return count
end

--- The bytes of a stream that were taken. Nil and a message: one task's are too many for a string, or no text.
local function string_of(puller, at, length, line)
  local source, name = puller.source, puller.stream:part(puller.part)
  if length > texts.MOST then
    return nil, ("%s: '%s', line %.0f: %.0f bytes do not fit into a string, which has at most %.0f"):format(source.kind,
      name, line, length, texts.MOST)
  end
  local bytes = ffi.string(at, length)
  if not puller.is_at_begin then return bytes end
  puller.is_at_begin = false
  local message = wide_message(source, name, bytes)
  if message then
    puller.is_left = true
    return nil, message
  end
  return M.passes_over_ends[source.kind] and csv.without_mark(bytes) or bytes
end

--- A range that stands for what can't be read: see the head of this file.
---@param line integer 0: not known
local function trouble(puller, message, line) return 1, { message, -#message, puller.part, line } end

--- Where a stream broke off: what is whole of the block that it had read of. Nil: nothing.
local function rest_of_block(puller, message)
  local stream, source = puller.stream, puller.source
  if source.kind ~= "blocks" or message:find(": it is compressed by ", 1, true) then return nil end
  if source.record then
    local list, first = {}, nil
    repeat
      local n, at, length, line = read(stream.take_records, stream, source.record, source.record)
      if n then list[#list + 1], first = ffi.string(at, length), first or line end
    until not n
    return first and concat(list), first
  end
  local n, at, length, line = read(stream.take_lines, stream, 2 ^ 52, 2 ^ 52)
  if not n or length > texts.MOST then return nil end
  local bytes = ffi.string(at, length)
  if not source.start then return bytes, line end
  local last, place = 0, bytes:find("\n" .. source.start, 1, true)
  while place do -- of the last one that begins so nobody knows whether it is whole
    last, place = place, bytes:find("\n" .. source.start, place + 1, true)
  end
  if last > 0 then return bytes:sub(1, last), line end
end

local function take(puller, want)
  while true do
    if not puller.is_left then
      local n, at, length, line = false, puller.broken, nil, nil
      if not at then n, at, length, line = read(cuts[puller.source.kind].stream, puller.stream, puller.source, want) end
      if n == false then
        puller.broken = at
        local bytes, first = rest_of_block(puller, at)
        if bytes then
          note(puller, bytes, first)
          return 1, { bytes, #bytes, puller.part, first }
        end
        puller.is_left, puller.broken = true, nil
        return trouble(puller, at, next_line(puller))
      end
      if n then
        local bytes, message = string_of(puller, at, length, line)
        if message then return trouble(puller, message, line) end
        note(puller, bytes, line)
        return n, { bytes, #bytes, puller.part, line }
      end
    end
    local part, message = read(puller.stream.next_part, puller.stream)
    puller.part = part == false and puller.part + 1 or part
    if not puller.part then return 0 end
    message = message or begin_stream(puller)
    puller.is_left = message ~= nil
    if message then return trouble(puller, message, 0) end
  end
end

--- The same of a stream. What was read before an error (a signal's) is handed out before it is raised. One file of
--- which nothing can be read at all makes no task.
local function fill_stream(puller, writer, want)
  local list, count, bytes = {}, 0, 0
  if puller.raised then error(puller.raised, 0) end
  puller.pulled = 0
  while puller.part and count < want and (puller.is_exact or bytes < PIECE_BYTES) do
    local ok, n, range = pcall(take, puller, want - count)
    if not ok then
      if count == 0 then error(n, 0) end
      puller.raised = n
      break
    end
    if n == 0 then break end
    if range[2] < 0 and not puller.has_given and #puller.source.paths == 1 then error(range[1], 0) end
    puller.has_given = true
    list[#list + 1], count, bytes = range, count + n, bytes + #range[1]
    if not puller.is_exact and not puller.is_of_files then break end -- who waits for a pipe gets what there is
  end
  if count > 0 then writer:ranges(count, list) end
  return count
end

local function close_stream(puller) puller.stream:close() end

--- A puller over an open text.
function M.open(source, text)
  if text:is_stream() then
    local puller = { stream = text, is_ranges = true, source = source, part = 1, pulled = 0, fill = fill_stream,
                     close = close_stream, is_of_files = source.kind == "blocks", has_given = false, is_left = false }
    for _, path in ipairs(source.paths) do puller.is_of_files = puller.is_of_files and host.is_file(path) end
    raise(begin_stream(puller))
    return puller
  end
  local puller = { text = text, is_ranges = true, source = source, part = 0, parts = text:parts(), begins = {},
                   offset = 0, stop = 0,
                   fill = fill_mapped }
  for k = 1, puller.parts do puller.begins[k] = begin_mapped(puller, k) end
  if puller.parts == 0 and has_header(source) then source.found_names = {} end
  return puller
end

return M
