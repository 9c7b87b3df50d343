--- What the command's options are, for the pages made of them: the manual page and the completions of shells.
local options = require "parlua.options"
local programs = require "parlua.options.programs"

local M = {}

---@class package.Spelling
---@field words string[]    as it may be typed, the long one last: { "-n", "--workers" }
---@field metavar? string   what stands for its value; nil: it takes none
---@field help string
---@field values? string[]  what the value may be, where it is one of a few words
---@field is_file boolean   the value is the name of a file

local FILES = { FILE = true }

local function spellings_of(specs)
  local list = {}
  for _, spec in ipairs(specs) do
    if spec.long then
      list[#list + 1] = {
        words = { spec.short, spec.long }, metavar = spec.metavar, help = spec.help,
        values = spec.values, is_file = FILES[spec.metavar] or false,
      }
      if not spec.short then list[#list].words = { spec.long } end
    end
    for k, flag in ipairs(spec.flags or {}) do
      local help = k > 1 and ("takes %s back"):format(spec.flags[1][1]) or spec.help
      list[#list + 1] = { words = { flag[1] }, help = help, is_file = false }
      if spec.letter then list[#list].words = { spec.letter, flag[1] } end
    end
  end
  return list
end

--- Those of a run, and those of a command that says itself what to do with its words.
---@return package.Spelling[] run, package.Spelling[] own
function M.spellings() return spellings_of(options.specs), spellings_of(programs.specs) end

return M
