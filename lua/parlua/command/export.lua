--- parlua export FILE: what a journal has recorded, as rows of comma-separated values or lines of JSON: a task each.
local codec = require "parlua.codec"
local files = require "parlua.journal.file"
local host = require "parlua.host"
local json = require "parlua.wire.json"
local outputs = require "parlua.job.output"
local read = require "parlua.journal.read"
local rows = require "parlua.feed.rows"
local words_module = require "parlua.command.words"

local M = {}

local USAGE = "parlua export: name the journal: parlua export run.db --format csv -o run.csv"

local COLUMNS = { "run", "task", "status", "arguments", "result", "kind", "message", "attempts", "seconds", "began",
  "ended", "worker", "host" }
local SELECT = "SELECT run, task, status, arguments, result, kind, message, attempts, seconds, "
  .. "ended - coalesce(seconds, 0), ended, worker, host, value FROM tasks ORDER BY run, task"
local RESULT, ARGUMENTS, VALUE = 4, 3, 13 -- columns from 0

--- The result as JSON: what the file has of it, or made of its bytes. Then, of a number or string, the value itself.
local function result_text(statement)
  local value = files.column(statement, RESULT)
  local bytes = files.column(statement, VALUE)
  if bytes and value then return value end
  if bytes then return json.encode((codec.decode(bytes, { functions = false }))) end
  if value == nil then return nil end
  return json.encode(value), value
end

local formats = {}

function formats.jsonl(buffer)
  return function(statement)
    buffer:put "{"
    local is_first = true
    for k, name in ipairs(COLUMNS) do
      local text
      if name == "result" then
        text = result_text(statement)
        if not text and files.column(statement, 2) == "returned" then text = "null" end
      elseif name == "arguments" then
        text = files.column(statement, ARGUMENTS)
      else
        local value = files.column(statement, k - 1)
        text = value ~= nil and json.encode(value)
      end
      if text then buffer:put(is_first and '"' or ',"', name, '":', text) end
      is_first = is_first and not text
    end
    buffer:put "}\n"
  end
end

function formats.csv(buffer, separator)
  local writer = rows.open(separator or ",", COLUMNS)
  return function(statement)
    local row = {}
    for k, name in ipairs(COLUMNS) do row[name] = files.column(statement, k - 1) end
    local text, plain = result_text(statement)
    if plain ~= nil then row.result = plain else row.result = text end
    writer:put(buffer, row)
  end
end

function formats.tsv(buffer) return formats.csv(buffer, "\t") end

--- Runs `parlua export` with the words behind it.
---@param words string[]
---@return integer status
function M.run(words)
  host.ignore_sigpipe()
  return words_module.run(function()
    local paths, values = words_module.read("export", words, { ["-o"] = "output", ["--output"] = "output",
      ["--format"] = "format" }, USAGE)
    if #paths > 1 then error(("parlua export takes one journal, not %d"):format(#paths), 0) end
    local command = package.loaded["parlua.command"] or {}
    local format = values.format or command.format or "jsonl"
    if not formats[format] then
      error(("wrong value for the option format: %s; it takes csv, tsv or jsonl"):format(format), 0)
    end
    local file = read.open(paths[1])
    local output, trouble = outputs.open(values.output or command.output)
    if not output then
      file:close()
      error(trouble, 0)
    end
    local put = formats[format](output.buffer)
    local written, why = pcall(file.once, file, SELECT, function(statement)
      put(statement)
      words_module.settle(output)
    end)
    file:close()
    if written then return words_module.finish(output) end
    output:close "discard"
    error(why, 0)
  end)
end

return M
