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

--- What may stand in place of a script (lua/parlua/command).
local SUBCOMMANDS = "export journal merge report status"

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
  return ([=[
# Completion of parlua's options for bash. Made by docs/package/completion.lua.
_parlua() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
  COMPREPLY=()
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
]=]):format(table.concat(cases, "\n"), table.concat(files, "|"), quote(table.concat(words, " ")), quote(SUBCOMMANDS))
end

function shells.zsh()
  local lines = {}
  for _, spelling in ipairs(all) do
    local help = spelling.help:gsub("[%[%]:]", " ")
    local value = ""
    if spelling.values then
      value = (":%s:(%s)"):format(spelling.metavar, table.concat(spelling.values, " "))
    elseif spelling.metavar then
      value = (":%s:%s"):format(spelling.metavar, spelling.is_file and "_files" or " ")
    end
    local excluded = #spelling.words > 1 and ("(%s)"):format(table.concat(spelling.words, " ")) or ""
    for _, word in ipairs(spelling.words) do
      lines[#lines + 1] = "  " .. quote(("%s%s[%s]%s"):format(excluded, word, help, value)) .. " \\"
    end
  end
  return ([[
#compdef parlua
# Completion of parlua's options for zsh. Made by docs/package/completion.lua.
_arguments -s \
%s
  '1:script, command or word:{ _alternative "commands:command:(%s)" "files:file:_files" }' \
  '*:file:_files'
]]):format(table.concat(lines, "\n"), SUBCOMMANDS)
end

local make = shells[arg[1] or ""] or error("usage: parlua docs/package/completion.lua bash|zsh", 0)
io.write(make())
