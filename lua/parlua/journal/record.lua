--- What a journal records: it takes what a sink takes, beside it.
local ffi = require "ffi"
local codec = require "parlua.codec"
local hash = require "parlua.hash"
local json = require "parlua.wire.json"
local new_buffer = require("string.buffer").new
local task = require "parlua.task"
local time = require "parlua.report.time"
require "parlua.wire.header" "lua/ffi_journal.h"

local M = {}

local C = ffi.C
local cast = ffi.cast
local row_pointer = ffi.typeof("const struct journal_row *")
local FIRST_SPAWNED = task.FIRST_SPAWNED
local MOST_BYTES = 9e8 -- of a result: SQLite takes rows of up to 1e9 bytes
local no_values, one = {}, {}
local MOST_TEXT = 1e6  -- bytes of a message or traceback
local MOST_JSON = 65536 -- bytes of arguments, and of a result that is no number or string, that are written as JSON

local buffer = new_buffer()

--- Several values as a JSON array; nil: it would be long. A number alone takes 0.15 us.
---@param list table with n
---@param n integer
---@param from? integer the first of them; default 1
function M.json_list(list, n, from)
  if from and from > 1 then return M.json_list({ unpack(list, from, n) }, n - from + 1) end
  local first = list[1]
  if n == 1 and type(first) == "number" and first % 1 == 0 and first < 1e14 and first > -1e14 and first ~= 0 then
    return "[" .. first .. "]"
  end
  for k = 1, n do
    if type(list[k]) == "string" and #list[k] > MOST_JSON then return nil end
  end
  buffer:reset()
  json.put_list(buffer, list, n)
  return #buffer <= MOST_JSON and buffer:tostring() or nil
end
local json_list = M.json_list

--- A result that goes into the file as bytes, as JSON too.
local function json_result(value, tuple, length)
  if length > MOST_JSON then return nil end
  if tuple then return json_list(tuple, tuple.n) end
  buffer:reset()
  json.put(buffer, value)
  return #buffer <= MOST_JSON and buffer:tostring() or nil
end

--- Is this a number that the file keeps as it is? Not nan, which SQLite makes null, and not -0.
local function is_plain(value) return value == value and not (value == 0 and 1 / value < 0) end

--- Puts a result into the row: numbers and strings as they are, so that one can read them; other values as bytes of the
--- codec, and as JSON beside them. Returns what must be kept until the row was put; nil: the file
--- can't hold it (a function, or too large).
local function set_result(row, value, tuple)
  row.result_bytes, row.json, row.json_bytes = 0, nil, 0
  if not tuple and value == nil then
    row.result_kind = C.JOURNAL_NIL
    return true
  end
  if not tuple and type(value) == "number" and is_plain(value) then
    row.result_kind, row.number = C.JOURNAL_NUMBER, value
    return true
  end
  local bytes, kind = value, C.JOURNAL_TEXT
  if tuple then
    bytes, kind = codec.encode_data(unpack(tuple, 1, tuple.n)), C.JOURNAL_BYTES
  elseif type(value) ~= "string" then
    bytes, kind = codec.encode_data(value), C.JOURNAL_BYTES
  end
  if not bytes or #bytes > MOST_BYTES then return nil end
  row.result_kind, row.result, row.result_bytes = kind, bytes, #bytes
  local text = kind == C.JOURNAL_BYTES and json_result(value, tuple, #bytes)
  if text then row.json, row.json_bytes = text, #text end
  return bytes, text
end

--- Puts a text into the row, cut where it is too long.
local function set_text(row, name, value)
  if value and #value > MOST_TEXT then value = value:sub(1, MOST_TEXT) .. "..." end
  row[name], row[name .. "_bytes"] = value, value and #value or 0
  return value
end

--- What all rows of a batch have in common.
local function set_common(row, attempts, seconds, worker, host_name)
  row.failed, row.attempts, row.seconds, row.worker = 0, attempts, seconds > 0 and seconds or -1, worker
  row.host, row.host_bytes, row.ended = host_name, #host_name, time.now()
  row.kind, row.kind_bytes, row.message, row.message_bytes, row.traceback, row.traceback_bytes = nil, 0, nil, 0, nil, 0
end

--- The hash of values, and they as JSON.
local function hash_made(...)
  local n = select("#", ...)
  if n == 1 then
    one[1] = (...)
    return hash((...)), json_list(one, 1)
  end
  return hash(...), json_list({ ... }, n)
end

--- A task was pulled, or spawned: its row is to have this hash of its arguments, and this JSON (nil: none).
--- `is_left_out`: it will have no row.
function M.note(journal, index, sum, text, is_left_out)
  journal.hashes[index], journal.texts[index] = sum, text
  if journal.notes and not is_left_out then C.lookout_note(journal.notes, index, sum, text, text and #text or 0) end
end

--- The row of a task that was pulled is put, or will not be: nothing is kept for it any more.
local function forget(journal, index)
  journal.hashes[index], journal.texts[index] = nil, nil
  if journal.notes then C.lookout_forget(journal.notes, index) end
end

--- The hash of a task's arguments, as they were pulled or as the source makes them of the index, and they as JSON. An
--- agent may know neither: the script completes the row.
local function arguments_of(journal, index)
  local known, text = journal.hashes[index], journal.texts[index]
  if known then
    forget(journal, index)
    return known, text
  end
  if journal.make and index < FIRST_SPAWNED then return hash_made(journal.make(index)) end
  return 0, nil
end

--- Puts the arguments of a task into the row. Returns what must be kept until the row was put.
local function set_arguments(journal, row, index)
  local text
  row.hash, text = arguments_of(journal, index)
  row.arguments, row.arguments_bytes = text, text and #text or 0
  return text
end

local function put(journal, index)
  local row = journal.file.row
  if journal.left_out and journal.left_out[index] then
    forget(journal, index)
    return
  end
  row.run, row.task = journal.run, index
  local anchor = set_arguments(journal, row, index) -- luacheck: ignore
  if C.journal_put(journal.file.handle, row) ~= 0 then error(journal.file:broken(), 0) end
end

--- Records numbers: with what the writer does, 1.2 us of processor time each (bench/journal.lua). Returns how many were
--- recorded: up to one that the file does not keep as it is.
local function put_numbers(journal, numbers, from, n, first)
  local row, handle = journal.file.row, journal.file.handle
  row.run, row.result_bytes, row.result_kind, row.json, row.json_bytes = journal.run, 0, C.JOURNAL_NUMBER, nil, 0
  local left_out = journal.left_out
  for k = from, n - 1 do
    local value, index = numbers[k], first + k
    if not is_plain(value) or left_out and left_out[index] then return k end
    row.number, row.task = value, index
    local anchor = set_arguments(journal, row, index) -- luacheck: ignore
    if C.journal_put(handle, row) ~= 0 then error(journal.file:broken(), 0) end
  end
  return n
end

--- Records a task that returned. One that returned what the file can't hold is left out: it runs again on resuming.
local function put_value(journal, index, value, tuple)
  local anchor, text = set_result(journal.file.row, value, tuple)
  if anchor then put(journal, index) else forget(journal, index) end
  return anchor, text
end

--- Takes one row that was prepared, of so many bytes.
local function append_one(journal, at, bytes)
  local row, handle = cast(row_pointer, at), journal.file.handle
  local index = row.task
  if journal.left_out and journal.left_out[index] then
    forget(journal, index)
    return 0
  end
  if not journal.completes and not journal.hashes[index] then return C.journal_append(handle, at, bytes) end
  local sum, text = arguments_of(journal, index)
  return C.journal_complete(handle, row, sum, text, text and #text or 0)
end

--- Records tasks whose rows were prepared (drive/rows.lua). Those of a batch stand in a row.
local function append(journal, batch)
  local rows, first, last = batch.rows, batch.first, batch.first + batch.n - 1
  local is_as_it_is = not (journal.completes or journal.left_out) and next(journal.hashes) == nil
  local from, code = rows.at, 0
  while code == 0 do
    local bytes = tonumber(C.journal_row_bytes(rows.at, rows.stop - rows.at))
    local index = bytes > 0 and cast(row_pointer, rows.at).task
    if not index or index < first or index > last then break end
    if not is_as_it_is then code = append_one(journal, rows.at, bytes) end
    rows.at = rows.at + bytes
  end
  if is_as_it_is then code = C.journal_append(journal.file.handle, from, rows.at - from) end
  if code ~= 0 then error(journal.file:broken(), 0) end
end

--- Records tasks that returned.
---@param journal parlua.Journal
---@param batch parlua.Batch
---@param run parlua.Run
function M.take(journal, batch, run)
  if batch.rows then return append(journal, batch) end
  local first, n, row = batch.first, batch.n, journal.file.row
  set_common(row, batch.attempt, batch.seconds, batch.worker, run:host_of(batch.worker))
  if batch.numbers then
    local k = 0
    while true do
      k = put_numbers(journal, batch.numbers, k, n, first)
      if k >= n then return end
      put_value(journal, first + k, batch.numbers[k])
      k = k + 1
    end
  end
  local values, several = batch.values or no_values, batch.several
  for k = 0, n - 1 do put_value(journal, first + k, values[k], several and several[k]) end
end

--- Records a task that was spawned, before the one that has done so.
---@param journal parlua.Journal
---@param number number of the task
---@param parent number
---@param nth integer of what the parent has spawned
---@param sum number the hash of the call
---@param call string
function M.spawned(journal, number, parent, nth, sum, call)
  local row = journal.file.row
  ffi.fill(row, ffi.sizeof(row))
  row.run, row.task, row.parent, row.nth, row.hash = journal.run, number, parent, nth, sum
  row.call, row.call_bytes = call, #call
  local code = C.journal_put(journal.file.handle, row)
  ffi.fill(row, ffi.sizeof(row))
  if code ~= 0 then error(journal.file:broken(), 0) end
end

--- What is kept of a raised value that no file can hold as it is: its fields, without the metatable.
local function fields_of(value)
  if type(value) ~= "table" or not getmetatable(value) then return nil end
  local fields = {}
  for name, field in next, value do fields[name] = field end
  return fields
end

--- Records a task that failed.
---@param failure parlua.Failure
function M.fail(journal, failure)
  local row = journal.file.row
  set_common(row, failure.attempts, failure.seconds, failure.worker, failure.host)
  row.failed = 1
  local anchor, text = set_result(row, failure.value)
  if not anchor then anchor, text = set_result(row, fields_of(failure.value)) end
  if not anchor or row.result_bytes > MOST_TEXT then
    row.result_kind, row.result_bytes, row.json, row.json_bytes = C.JOURNAL_NIL, 0, nil, 0
  end
  local kind, message = set_text(row, "kind", failure.kind), set_text(row, "message", failure.message)
  local traceback = set_text(row, "traceback", failure.traceback)
  put(journal, failure.index)
  return anchor, text, kind, message, traceback -- kept until the row was put
end

return M
