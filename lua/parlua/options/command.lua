--- The command line and the environment, for src/main.c: reading one option, checking all before a script runs, the
--- page of help.
local names = require "parlua.options.names"
local options = require "parlua.options"
local programs = require "parlua.options.programs"
local rivals = require("parlua.lazy") "parlua.options.rivals"

local M = {}

local PREFIX = "PARLUA_" -- of the environment's variables

local all = {} -- what the command line may say
for _, specs in ipairs { options.specs, programs.specs } do
  for _, spec in ipairs(specs) do all[#all + 1] = spec end
end

local by_word = {} ---@type table<string, parlua.Option>
for _, spec in ipairs(all) do
  if spec.long then by_word[spec.long] = spec end
  if spec.short then by_word[spec.short] = spec end
  for _, flag in ipairs(spec.flags or {}) do by_word[flag[1]] = spec end
  if spec.letter then by_word[spec.letter] = spec end
end

--- Every spelling that --help shows, for suggestions.
local function spellings()
  local words = { "--help", "--version" }
  for _, spec in ipairs(all) do
    if spec.long then words[#words + 1] = spec.long end
    for _, flag in ipairs(spec.flags or {}) do words[#words + 1] = flag[1] end
  end
  table.sort(words)
  return words
end

--- Splits a word of the command line: "--timeout=2" -> "--timeout", "2"; "-n4" -> "-n", "4".
local function split_word(word)
  if word:sub(1, 2) ~= "--" then
    local rest = word:sub(3):gsub("^=", "")
    return word:sub(1, 2), #word > 2 and rest or nil
  end
  local name, value = word:match("^([^=]*)=(.*)$")
  return name or word, value
end

--- Reads one option of the command line into package.loaded["parlua.command"]; the value is checked later.
---@param word string       such as "--timeout" or "--timeout=2"
---@param next_word? string the word that follows it
---@return integer? used    how many words the option takes: 1 or 2; nil when it is wrong
---@return string? message  then
function M.read_word(word, next_word)
  local name, value = split_word(word)
  local spec = by_word[name]
  if not spec then
    local advice = rivals.advice(name)
    return nil, "unknown option " .. name .. (advice ~= "" and advice or names.suggestion(name, spellings()))
  end
  local command = package.loaded["parlua.command"]
  for _, flag in ipairs(spec.flags or {}) do
    if flag[1] == name or spec.letter == name then
      if value then return nil, ("the option %s takes no value, but %s was given"):format(name, options.show(value)) end
      command[spec.name] = flag[2]
      return 1
    end
  end
  if value then
    command[spec.name] = value
    return 1
  end
  if not next_word or next_word:sub(1, 2) == "--" and not spec.takes_dashes then
    return nil, ("the option %s needs a value: it takes %s"):format(name, options.takes(spec))
  end
  command[spec.name] = next_word
  return 2
end

--- Checks what the command line and the environment say, before any script runs.
---@param variables string[] the names of the environment's variables that begin with PARLUA_
---@return string? message  what is wrong, if anything
---@nodiscard
function M.check(variables)
  local known, list = {}, {}
  for _, spec in ipairs(options.specs) do
    local variable = options.variable(spec)
    if variable then known[variable], list[#list + 1] = true, variable:sub(#PREFIX + 1) end
  end
  for _, name in ipairs(variables) do
    if not known[name] and name:sub(1, #PREFIX + 4) ~= PREFIX .. "MPI_" then -- those are for measurements and tests
      local advice = names.suggestion(name:sub(#PREFIX + 1), list):gsub("%u[%u_]*", PREFIX .. "%0")
      return ("unknown environment variable %s%s"):format(name, advice)
    end
  end
  local right, message = pcall(options.resolve)
  if not right then return message end
  return programs.complaint(package.loaded["parlua.command"])
end

M.advice = function(word) return rivals.advice(word) end

--- Does the command line itself say what is to be done with each of its words (--exec, --map, ...)?
M.is_own_job = programs.is_own_job

--- What the command line says of a job's results, where the script is no job.
---@param script? string nil: there is none
---@return string? message
---@nodiscard
function M.check_no_job(script)
  local command = package.loaded["parlua.command"]
  local word = command.output and "--output" or command.format and "--format" or command.shard and "--shard"
  if not word then return nil end
  local is_about = word == "--shard" and "is for" or "is about the results of"
  if not script then return ("the option %s %s a job script, but there is no script"):format(word, is_about) end
  return ("the option %s %s a job, but '%s' is none: it returned no table with a function `map`"):format(word, is_about,
    script)
end

local HEAD = [[
usage: parlua [options] script.lua [arguments]           (-h, --help; --version)
       parlua [options] --exec TEMPLATE [words]     (or --map, --each, ... CODE)
       parlua journal FILE               where the run of a journal is, or was
       parlua report FILE -o PAGE.html   a page that shows how it went
       parlua export FILE [--format csv] [-o FILE]     its tasks as text
       parlua merge FILES [-o FILE]      journals or outputs of shards, together
       parlua status [PID]               where programs are that run now
A file called journal, report, ... in this folder is a script, as ./journal is.

Each option may also stand in a call, as { max_failures = 3 }, in a job's table
`options`, and in the environment, as PARLUA_MAX_FAILURES=3.

]]

local FOOT = [[

  -e CODE, -l MODULE, -i, -v, -j, -O, -b, -E, --, -   as for luajit

examples:  parlua --engine threads primes.lua 1 1000000
           parlua -n 8 --timeout 10 -o sums.jsonl job.lua
           parlua --exec 'gzip -9 {}' *.txt
           seq 9 | parlua --map 'x * x'
]]

local WORDS_WIDTH, WIDTH = 25, 80

--- A line of help for a spelling, broken where it is too long.
local function help_lines(short, word, help)
  local lines = {}
  local line = ("  %-4s%-" .. WORDS_WIDTH - 6 .. "s"):format(short and short .. "," or "", word)
  line = line .. (#line < WORDS_WIDTH and "" or " ")
  local indent = (" "):rep(WORDS_WIDTH)
  for piece in help:gmatch "%S+" do
    if #line + #piece + 1 > WIDTH then
      lines[#lines + 1], line = line, indent
    end
    line = line .. (line:sub(-1) == " " and "" or " ") .. piece
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n") .. "\n"
end

--- The page that `parlua --help` prints: every option.
---@return string
---@nodiscard
function M.help()
  local lines, only_calls = { HEAD }, {}
  for _, spec in ipairs(options.specs) do
    if spec.long then lines[#lines + 1] = help_lines(spec.short, spec.long .. " " .. spec.metavar, spec.help) end
    for k, flag in ipairs(spec.flags or {}) do
      local help = k > 1 and ("takes %s back"):format(spec.flags[1][1]) or spec.help
      lines[#lines + 1] = help_lines(nil, flag[1], help)
    end
    if spec.call_only and spec.help then only_calls[#only_calls + 1] = help_lines(nil, spec.name, spec.help) end
  end
  lines[#lines + 1] = "\nwithout a script, for each word, or line of standard input:\n"
  for _, spec in ipairs(programs.specs) do
    if spec.long then lines[#lines + 1] = help_lines(spec.short, spec.long .. " " .. spec.metavar, spec.help) end
    for _, flag in ipairs(spec.flags or {}) do lines[#lines + 1] = help_lines(spec.letter, flag[1], spec.help) end
  end
  lines[#lines + 1] = "\nin calls only:\n" .. table.concat(only_calls)
  lines[#lines + 1] = FOOT
  return table.concat(lines)
end

return M
