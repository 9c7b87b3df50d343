--- Tables of options that methods of arrays take: what is in them is known.
local core = require "parlua.array.core"
local names = require "parlua.options.names"

local M = {}

local NONE = {}

--- The options; an empty table where there are none. Raises an error where one is not known.
---@param what string for errors, as "a:convolve"
---@param options table? as the script gave them
---@param known string[] their names
---@return table
function M.options(what, options, known)
  if options == nil then return NONE end
  if type(options) ~= "table" then
    core.refuse("%s: options are a table, as { %s = ... }, got %s", what, known[1], core.show(options))
  end
  for name in pairs(options) do
    local is_known = false
    for _, one in ipairs(known) do is_known = is_known or one == name end
    if not is_known then
      core.refuse("%s: there is no option %s%s", what, core.show(name), names.suggestion(tostring(name), known))
    end
  end
  return options
end

return M
