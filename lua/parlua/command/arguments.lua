--- Where the arguments of a command's tasks come from: the words of the command line, or lines of standard input; with
--- --lines, --csv, ... the lines or rows of files.
local kinds = require "parlua.source.kinds"
local report = require "parlua.report"
local rows = require "parlua.lazy" "parlua.command.rows"
local sources = require "parlua.source"

local M = {}

local STDIN_FD, READ_BYTES = 0, 65536

--- Words that are not cut apart by ":::".
local function lists_of(words)
  local lists, list = {}, {}
  for k, word in ipairs(words) do
    if word == "::::" or word == ":::+" or word == "::::+" then
      error(("%s is of GNU parallel, and not known here: %s"):format(word, word:find "%+$"
        and "for words side by side give rows, as --tsv --exec 'echo {a} {b}'"
        or "for the lines of files take --lines"), 0)
    elseif word == ":::" then
      if k > 1 then lists[#lists + 1] = list end
      list = {}
    else
      list[#list + 1] = word
    end
  end
  lists[#lists + 1] = list
  return lists
end

--- Texts of standard input that end with NUL.
local function null_ended()
  local rest, ended = "", false
  local texts, at = {}, 0
  return function()
    while at == #texts and not ended do
      local bytes = io.stdin:read(READ_BYTES)
      texts, at = {}, 0
      if bytes then
        bytes = rest .. bytes
        local from = 1
        while true do
          local place = bytes:find("\0", from, true)
          if not place then break end
          texts[#texts + 1] = bytes:sub(from, place - 1)
          from = place + 1
        end
        rest = bytes:sub(from)
      else
        ended = true
        if rest ~= "" then texts[1] = rest end
      end
    end
    at = at + 1
    return texts[at]
  end
end

--- The source of what files have, standard input being "-".
local function of_files(paths, open)
  return open(#paths == 0 and "-" or #paths == 1 and paths[1] or paths)
end

--- The names that --header gives to the columns of files without a header.
local function header_of(text)
  if text == ":" then
    error("the option --header: ':' is of GNU parallel; --csv and --tsv take the first line as the names anyway, and "
      .. "--header NAMES names the columns of files that have no header", 0)
  end
  return rows.columns(text, "--header")
end

---@class parlua.CommandArguments
---@field source any
---@field shape "words"|"rows"|"batch"|"text" what a task gets: words; a row; a list of words; text for its standard
--- input
---@field count? integer how many words a task gets, where that is known

--- What tasks of a command get. Raises what is wrong.
---@param command table the values of options by name
---@param words string[] of the command line
---@param is_listed boolean the words are all there are: there may be none
---@param columns? string[] those of a row that are used, as text
---@return parlua.CommandArguments
function M.of(command, words, is_listed, columns)
  if command.csv or command.tsv then
    local types, header = nil, header_of(command.header)
    if columns then
      types = {}
      for _, name in ipairs(columns) do types[name] = "string" end
    end
    return { shape = "rows", source = of_files(words, function(paths)
      return sources.csv(paths, { separator = command.tsv and "\t" or ",", types = types, columns = columns,
        header = header })
    end) }
  elseif command.jsonl then
    return { shape = "rows", source = of_files(words, sources.jsonl) }
  elseif command.lines then
    return { shape = "words", count = 1, source = of_files(words, sources.lines) }
  end
  local lists = lists_of(words)
  if #lists > 1 and (command.null or command.pipe or command.batch) then
    error(("the option %s and ::: can't go together"):format(command.null and "--null" or command.pipe and "--pipe"
      or "--batch"), 0)
  end
  if #words == 0 and not is_listed then
    if report.is_terminal(STDIN_FD) then
      report.print("stderr", "parlua: reading from the terminal; Ctrl-D at the beginning of a line ends it\n")
    end
    if command.pipe then
      return { shape = "text", source = sources.blocks("-", { size = command.pipe }), count = 0 }
    end
    return { shape = "words", count = 1, source = command.null and sources.iterate(null_ended()) or sources.lines "-" }
  elseif command.null or command.pipe then
    error(("the option %s is about standard input, but there are words: %s"):format(
      command.null and "--null" or "--pipe", words[1] or "--"), 0)
  elseif #lists == 1 then
    return { shape = "words", count = 1, source = kinds.list(lists[1]) }
  end
  return { shape = "words", count = #lists, source = sources.product(unpack(lists)) }
end

--- Lists of so many words for each task.
---@param arguments parlua.CommandArguments
---@param size integer
function M.batched(arguments, size)
  if arguments.shape ~= "words" then error("the option --batch is about words and lines, not about rows", 0) end
  arguments.source, arguments.shape, arguments.count = sources.batch(arguments.source, size), "batch", nil
end

return M
