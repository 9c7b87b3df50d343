--- The formats of a job's results.
--
-- Each is a table of functions on a buffer: `put` appends a task; `close`, if any, the end. `writes_failures` says
-- whether the output names the tasks that failed, `writes_arguments` whether it has each task's arguments: others are
-- not given them. `put_value`, if any, appends the value of a reduction. One with `open(columns)` is made for each run.
-- With `takes_encoded`, results that are strings may be texts that workers have made of them (`is_encoded`), and
-- `put_lines` appends tasks that workers have written as a whole.

local errors = require "parlua.lazy" "parlua.failure.program"
local json = require "parlua.wire.json"
local line = require "parlua.lazy" "parlua.worker.line"
local rows = require "parlua.feed.rows"

--- What a program that failed had written, and how it ended.
local function put_written(buffer, value)
  for _, name in ipairs { "stdout", "stderr", "status" } do
    if value[name] ~= nil then
      buffer:put(',"', name, '":')
      json.put(buffer, value[name])
    end
  end
end

--- Appends a task's object: 0.1 us for a number.
local function put_record(buffer, index, args, result, failure, is_encoded)
  buffer:put('{"index":', index, ',"args":')
  json.put_list(buffer, args, args.n, "/args")
  if failure then
    buffer:put(',"error":{"kind":')
    json.put(buffer, tostring(failure.kind))
    buffer:put(',"message":')
    json.put(buffer, failure.message)
    if errors.is_error(failure.value) then put_written(buffer, failure.value) end
    buffer:put("}}")
  else
    buffer:put(',"result":')
    if is_encoded and type(result) == "string" then buffer:put(result) else json.put(buffer, result, "/result") end
    buffer:put("}")
  end
end

local jsonl = { writes_failures = true, writes_arguments = true, takes_encoded = true }

function jsonl.put(buffer, _, index, args, result, failure, is_encoded)
  put_record(buffer, index, args, result, failure, is_encoded)
  buffer:put("\n")
end

function jsonl.put_lines(buffer, _, n, lines) line.append(buffer, lines, n, "", "", "\n") end

local array = { writes_failures = true, writes_arguments = true, takes_encoded = true }

function array.put(buffer, is_first, index, args, result, failure, is_encoded)
  buffer:put(is_first and "[\n" or ",\n")
  put_record(buffer, index, args, result, failure, is_encoded)
end

function array.put_lines(buffer, is_first, n, lines)
  line.append(buffer, lines, n, is_first and "[\n" or ",\n", ",\n", "")
end

function array.close(buffer, is_first)
  buffer:put(is_first and "[]\n" or "\n]\n")
end

local text_lines = {}

function text_lines.put(buffer, _, _, _, result, failure)
  if failure or result == nil then return end
  if type(result) == "string" then buffer:put(result) else json.put(buffer, result) end
  buffer:put("\n")
end

--- Results as rows of comma-separated values; the columns are the job's, or the fields of the first result.
local function rows_of(separator)
  return {
    open = function(columns)
      local writer = rows.open(separator, columns)
      return {
        put_value = function(buffer, value) rows.put_value(buffer, value, separator, columns) end,
        takes_encoded = true, encodes = { separator = separator, columns = columns },
        put_lines = function(buffer, _, n, lines)
          if not columns then return line.append_rows(buffer, lines, n, writer) end
          writer:put_head(buffer)
          line.append(buffer, lines, n, "", "", "")
        end,
        put = function(buffer, _, _, _, result, failure)
          if failure or result == nil then return end
          writer:put(buffer, result)
        end,
      }
    end,
  }
end

local none = {}

function none.put() end

local formats = { jsonl = jsonl, json = array, text = text_lines, none = none, csv = rows_of ",", tsv = rows_of "\t" }

--- The format of a run by its name.
---@param columns? string[] of rows
function formats.of(name, columns)
  local one = formats[name]
  return one.open and one.open(columns) or one
end

return formats
