--- What a worker that is a process of its own has around it: the script's environment, directory, locale, umask; and
--- where io.write goes in any worker with a state of its own (wire/install.lua).
local codec = require "parlua.codec"

require("jit").off(true, true)

local M = {}

local set = {} -- what the script has changed in the environment, as it was put in place here last

local function set_environment(environment)
  local first
  for name in next, set do
    if environment[name] == nil then
      first = first or codec.first_environment()
      codec.set_environment(name, first[name])
    end
  end
  for name, value in next, environment do codec.set_environment(name, value or nil) end
  set = environment
end

--- Opens the file that io.output is.
---@param path? string nil: standard output
function M.set_output(path)
  if not path then
    io.output(io.stdout)
    return
  end
  local file, problem = io.open(path, "a")
  if not file then error(("io.output is a file that a worker cannot open: %s"):format(problem), 0) end
  file:setvbuf("no")
  io.output(file)
end

--- Puts the script's surroundings in place.
---@param before table as wire/world.lua has sent it
function M.set(before)
  set_environment(before.environment)
  if before.directory then codec.set_directory(before.directory) end
  if before.locale then os.setlocale(before.locale) end
  if before.umask then codec.set_umask(before.umask) end
end

--- The environment is as the script has changed it already.
function M.are_set(environment) set = environment end

return M
