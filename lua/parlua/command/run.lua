--- The command line's own jobs: it says itself what is to be done with each of its words, or with each line of standard
--- input. They become ordinary jobs (parlua.job), so all options of jobs hold.
local host = require "parlua.host"
require "parlua" -- sources can be called then
local texts = require "parlua.job.text"

local M = {}

local WRONG = 2 -- exit status

--- The words without "--", behind which options end; raises where an option stands behind words: it would be one.
local function only_words(words, is_listed)
  if is_listed then return words end
  for k, word in ipairs(words) do
    if word == "--" then
      table.remove(words, k)
      return words
    elseif word:find "^%-%-." or word == "-n" or word == "-o" then
      error(("'%s' stands behind words: options come before them; where it is a word itself, put -- before the words")
        :format(word), 0)
    end
  end
  return words
end

--- The message of a source about files, as one about the option that has opened it.
local function of_option(command, message)
  return (message:gsub("^parlua/command/%l+%.lua:%d+: ", ""):gsub("^(%l+): ", function(source)
    local option = command.tsv and "tsv" or source == "blocks" and "lines" or source
    if command[option] then return ("the option --%s: "):format(option) end
  end))
end

--- Runs what the command line says.
---@param words string[] those behind the options
---@param is_listed boolean "--" stands before them: there may be none
---@return integer status
function M.run(words, is_listed)
  host.ignore_sigpipe()
  local command = package.loaded["parlua.command"]
  local maker = command.exec and "parlua.command.exec" or "parlua.command.code"
  local made, job = pcall(function()
    return require(maker).job(command, only_words(words, is_listed), is_listed)
  end)
  if not made then
    texts.say("%s", of_option(command, texts.error_text(job)))
    return WRONG
  end
  if job.status then return job.status end -- there is nothing more to do
  return require("parlua.job").run_as(job, job.manner)
end

return M
