--- The words behind a subcommand: parlua journal FILE, parlua export FILE --format csv.
local host = require "parlua.host"
local names = require "parlua.options.names"
local texts = require "parlua.job.text"

local M = {}

local WRONG, UNREAD = 2, 141 -- exit statuses
local EPIPE = 32
local HELP, NOBODY_READS = { status = 0 }, { status = UNREAD } -- are raised to end a subcommand without a message

--- Runs a subcommand: what its body raises is said.
---@param body fun(...): integer?
---@param ... any what the body is given
---@return integer status of exit: what the body returns, or 0; 2 where it raised; 141: nobody reads the output
function M.run(body, ...)
  local ok, status = pcall(body, ...)
  if ok then return status or 0 end
  if status == HELP or status == NOBODY_READS then return status.status end
  texts.say("%s", texts.error_text(status))
  return WRONG
end

--- Ends the subcommand where its output could not be written.
---@param output parlua.Output
local function check_written(output)
  if output.code == EPIPE then error(NOBODY_READS, 0) end
  if output.code then error(("cannot write %s: %s"):format(output.name, host.strerror(output.code)), 0) end
end

--- Writes out what has been collected, when it is enough.
---@param output parlua.Output
function M.settle(output)
  if not output:settle() then
    output:close "discard"
    check_written(output)
  end
end

--- The output is complete.
---@param output parlua.Output
function M.finish(output)
  output:close "complete"
  check_written(output)
end

--- Reads them.
---@param name string of the subcommand, for messages
---@param words string[]
---@param known table<string, string> by the spelling of an option its name: ["-o"] = "output". All take a value
---@param usage string what is said where no file is named
---@return string[] files
---@return table<string, string> values by name
---Raises what is wrong.
function M.read(name, words, known, usage)
  local files, values, k = {}, {}, 1
  while words[k] do
    local word = words[k]
    local spelling, value = word:match "^(%-%-[^=]+)=(.*)$"
    if not spelling and word:find "^%-%a." then spelling, value = word:sub(1, 2), word:sub(3):gsub("^=", "") end
    spelling = spelling or word
    if word == "--help" or word == "-h" then
      io.write("usage: ", usage:match "parlua %l+ .*$" or usage, "\n")
      error(HELP, 0)
    elseif known[spelling] then
      if not value then
        k = k + 1
        value = words[k]
      end
      if not value then error(("the option %s needs a value"):format(spelling), 0) end
      values[known[spelling]] = value
    elseif word:sub(1, 1) == "-" and word ~= "-" then
      local list = {}
      for each in pairs(known) do list[#list + 1] = each end
      table.sort(list)
      error(("parlua %s has no option %s%s"):format(name, spelling, #list > 0 and names.suggestion(spelling, list)
        or ""), 0)
    else
      files[#files + 1] = word
    end
    k = k + 1
  end
  if #files == 0 then error((usage:gsub("^parlua ", "")), 0) end
  return files, values
end

return M
