--- Writes the completion of parlua's options for a shell: ./parlua docs/package/completion.lua bash|zsh
--
-- Options and their values come from the table that reads them (lua/parlua/options.lua).
package.path = "docs/package/?.lua;" .. package.path
local common = require "common"

local run, own = common.spellings()
local all = { { words = { "-h", "--help" }, help = "the list of options", is_file = false } }
for _, list in ipairs { run, own } do
  for _, spelling in ipairs(list) do all[#all + 1] = spelling end
end
all[#all + 1] = { words = { "--version" }, help = "what this is", is_file = false }

--- What may stand in place of a script (lua/parlua/command), and the options of each.
local OUTPUT = { words = { "-o", "--output" }, metavar = "FILE", is_file = true, help = "the file that is written" }
local FORMAT = { words = { "--format" }, metavar = "FORMAT", help = "of what is written",
                 values = { "csv", "jsonl", "tsv" } }
local SUBCOMMANDS = {
  { name = "export", OUTPUT, FORMAT }, { name = "journal" }, { name = "merge", OUTPUT }, { name = "report", OUTPUT },
  { name = "status" },
}
local names = {}
for k, command in ipairs(SUBCOMMANDS) do names[k] = command.name end

--- A word of a shell, in single quotes.
local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

local shells = {}

function shells.bash()
  local words, cases, files = {}, {}, {}
  for _, spelling in ipairs(all) do
    for _, word in ipairs(spelling.words) do words[#words + 1] = word end
    local pattern = table.concat(spelling.words, "|")
    if spelling.values then
      cases[#cases + 1] = ("    %s)\n      COMPREPLY=($(compgen -W %s -- \"$word\"))\n      return ;;"):format(pattern,
        quote(table.concat(spelling.values, " ")))
    elseif spelling.is_file then
      files[#files + 1] = pattern
    elseif spelling.metavar then
      cases[#cases + 1] = ("    %s)\n      return ;;"):format(pattern)
    end
  end
  local commands = {}
  for k, command in ipairs(SUBCOMMANDS) do
    local its, its_cases = {}, {}
    for _, option in ipairs(command) do
      for _, word in ipairs(option.words) do its[#its + 1] = word end
      its_cases[#its_cases + 1] = ("        %s) COMPREPLY=($(compgen %s -- \"$word\")); return ;;\n"):format(
        table.concat(option.words, "|"), option.values and "-W " .. quote(table.concat(option.values, " ")) or "-f")
    end
    commands[k] = ("      %s)\n        options=%s\n%s        ;;"):format(command.name, quote(table.concat(its, " ")),
      #its == 0 and "" or ("        case $before in\n%s        esac\n"):format(table.concat(its_cases)))
  end
  return ([=[
# Completion of parlua's options for bash. Made by docs/package/completion.lua.
_parlua() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} options=none
  COMPREPLY=()
  if [ "$COMP_CWORD" -gt 1 ] && [ ! -e "${COMP_WORDS[1]}" ]; then # a command, not a script of its name
    case ${COMP_WORDS[1]} in
%s
    esac
    if [ "$options" != none ]; then
      if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$word"))
      else
        COMPREPLY=($(compgen -f -- "$word"))
      fi
      return
    fi
  fi
  case $before in
%s
    %s)
      COMPREPLY=($(compgen -f -- "$word"))
      return ;;
  esac
  if [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W %s -- "$word"))
  else
    COMPREPLY=($(compgen -f -- "$word"))
    [ "$COMP_CWORD" != 1 ] || COMPREPLY+=($(compgen -W %s -- "$word"))
  fi
}
complete -o filenames -F _parlua parlua
]=]):format(table.concat(commands, "\n"), table.concat(cases, "\n"), table.concat(files, "|"),
    quote(table.concat(words, " ")), quote(table.concat(names, " ")))
end

--- An option as zsh's _arguments takes it: a line for each of its words.
local function zsh_lines(option, lines)
  local help = option.help:gsub("[%[%]:]", " ")
  local value = ""
  if option.values then
    value = (":%s:(%s)"):format(option.metavar, table.concat(option.values, " "))
  elseif option.metavar then
    value = (":%s:%s"):format(option.metavar, option.is_file and "_files" or " ")
  end
  local excluded = #option.words > 1 and ("(%s)"):format(table.concat(option.words, " ")) or ""
  for _, word in ipairs(option.words) do
    lines[#lines + 1] = quote(("%s%s[%s]%s"):format(excluded, word, help, value))
  end
end

function shells.zsh()
  local lines, commands = {}, {}
  for _, spelling in ipairs(all) do zsh_lines(spelling, lines) end
  for k, command in ipairs(SUBCOMMANDS) do
    local its = {}
    for _, option in ipairs(command) do zsh_lines(option, its) end
    its[#its + 1] = quote "*:file:_files"
    commands[k] = ("    %s) shift words; (( CURRENT-- )); _arguments %s; return ;;"):format(command.name,
      table.concat(its, " "))
  end
  return ([==[
#compdef parlua
# Completion of parlua's options for zsh. Made by docs/package/completion.lua.
if (( CURRENT > 2 )) && [[ ! -e $words[2] ]]; then # a command, not a script of its name
  case $words[2] in
%s
  esac
fi
_arguments -s \
  %s \
  '1:script, command or word:{ _alternative "commands:command:(%s)" "files:file:_files" }' \
  '*:file:_files'
]==]):format(table.concat(commands, "\n"), table.concat(lines, " \\\n  "), table.concat(names, " "))
end

local make = shells[arg[1] or ""] or error("usage: parlua docs/package/completion.lua bash|zsh", 0)
io.write(make())
