--- Options with which the command line itself says what is to be done with each of its words, or with each line of
--- standard input: parlua --exec 'gzip -9 {}' files..., parlua --map 'x * x' (lua/parlua/command). They mean nothing in
--- a call or a job, so they are no options of these, and have no variables.
local M = {}

--- In the order in which --help shows them.
---@type parlua.Option[]
M.specs = {
  { name = "exec", long = "--exec", metavar = "TEMPLATE", takes = "a program and its arguments, as 'gzip -9 {}'",
    takes_dashes = true, help = "runs a program; {} {.} {/} {//} {/.} {#} {name}: the word" },
  { name = "shell", flags = { { "--shell", "true" } }, help = "of --exec: the template is for sh" },
  { name = "save", long = "--save", metavar = "TEMPLATE", takes = "a name for each output, as 'out/{/.}.txt'",
    help = "of --exec: a file for each output" },
  { name = "batch", long = "--batch", metavar = "N", takes = "an integer from 1 to 100000",
    help = "of --exec: so many words for each program" },
  { name = "pipe", long = "--pipe", metavar = "SIZE", takes = 'a size, as "1M" or "100K"',
    help = "of --exec: a program for so much of standard input" },
  { name = "dry_run", flags = { { "--dry-run", "true" } }, help = "of --exec: shows what would be run" },
  { name = "map", long = "--map", metavar = "CODE", takes = "an expression of x, as 'x * x'", takes_dashes = true,
    help = "writes what the expression gives" },
  { name = "filter", long = "--filter", metavar = "CODE", takes = "an expression of x, as 'x > 3'",
    takes_dashes = true, help = "writes, or goes on with, those for which it is true" },
  { name = "each", long = "--each", metavar = "CODE", takes = "statements about x, as 'print(x)'", takes_dashes = true,
    help = "runs the statements" },
  { name = "reduce", long = "--reduce", metavar = "NAME", takes = "a reducer, as 'sum' or 'group(\"city\")'",
    help = "writes the one value: sum, count, mean, stats, ..." },
  { name = "header", long = "--header", metavar = "NAMES", takes = "names with commas between them, as city,t",
    help = "of --csv, --tsv: the columns of files that have no header" },
  { name = "columns", long = "--columns", metavar = "NAMES", takes = "names with commas between them, as city,t",
    help = "of --format csv, tsv: the columns, in their order" },
  { name = "with", long = "--with", metavar = "FILE", takes = "the name of a Lua file",
    help = "a Lua file whose functions the code uses" },
  { name = "begin", long = "--begin", metavar = "CODE", takes = "statements of Lua", takes_dashes = true,
    help = "is run before all" },
  { name = "finish", long = "--end", metavar = "CODE", takes = "statements of Lua", takes_dashes = true,
    help = "is run at the end, with value, failures, summary" },
  { name = "null", letter = "-0", flags = { { "--null", "true" } },
    help = "words of standard input end with NUL" },
  { name = "lines", flags = { { "--lines", "true" } }, help = "the words are files; each line counts" },
  { name = "csv", flags = { { "--csv", "true" } }, help = "files, or standard input, of CSV; each row counts" },
  { name = "tsv", flags = { { "--tsv", "true" } }, help = "the same with tabs" },
  { name = "jsonl", flags = { { "--jsonl", "true" } }, help = "the same with a line of JSON each" },
}

local by_name = {}
for _, spec in ipairs(M.specs) do by_name[spec.name] = spec end

local KINDS = { "exec", "map", "filter", "each", "reduce" }
local INPUTS = { "null", "lines", "csv", "tsv", "jsonl", "pipe" }

--- What each option goes with.
local OF = {
  shell = { "exec" }, save = { "exec" }, batch = { "exec" }, pipe = { "exec" }, dry_run = { "exec" },
  header = { "csv", "tsv" }, columns = { "map", "filter", "reduce" }, with = { "map", "filter", "each", "reduce" },
  begin = { "map", "filter", "each", "reduce" },
  finish = { "map", "filter", "each", "reduce" }, null = KINDS, lines = KINDS, csv = KINDS, tsv = KINDS, jsonl = KINDS,
}

local function spelling(name)
  local spec = by_name[name]
  return spec.long or spec.flags[1][1]
end

local function has_one(command, names)
  for _, name in ipairs(names) do
    if command[name] then return name end
  end
end

---@return boolean
function M.is_own_job() return has_one(package.loaded["parlua.command"] or {}, KINDS) ~= nil end

--- What does not go together on a command line, or nil.
---@param command table the values of options by name
---@return string? message
function M.complaint(command)
  for _, spec in ipairs(M.specs) do
    local wanted = command[spec.name] and OF[spec.name]
    if wanted and not has_one(command, wanted) then
      local spellings = {}
      for k, name in ipairs(wanted) do spellings[k] = spelling(name) end
      return ("the option %s goes with %s; options stand before all words"):format(spelling(spec.name),
        table.concat(spellings, ", "))
    end
  end
  local kind = has_one(command, KINDS)
  for _, name in ipairs { "map", "filter", "each", "reduce" } do
    if kind == "exec" and command[name] then
      return ("the options --exec and %s can't go together"):format(spelling(name))
    end
  end
  if command.each and (command.map or command.reduce) then
    return ("the options --each and %s can't go together: --each keeps no results"):format(
      command.map and "--map" or "--reduce")
  end
  local input
  for _, name in ipairs(INPUTS) do
    if command[name] and input then
      return ("the options %s and %s can't go together: both say how arguments are read"):format(spelling(input),
        spelling(name))
    end
    input = input or command[name] and name
  end
end

return M
