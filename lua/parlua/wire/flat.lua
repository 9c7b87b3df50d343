--- Copies of flat tables: of some fields with numbers, strings and booleans, without a metatable. For each shape
--- (wire/shape.lua) a copier is written and compiled, which takes a tenth of the time that src/lua/copy.c takes for a
--- table of five fields, and leaves a compiled loop compiled.
local shape = require "parlua.wire.shape"
local start = require "parlua.wire.start"

local concat, getmetatable = start.libraries.table.concat, start.libraries.debug.getmetatable
local loadstring = start.globals.loadstring -- a script may have taken it away

local MOST_SHAPES = 64
local MOST_MISSES = shape.MOST_MISSES

local text = [[
local next, type, getmetatable = ...
return function(v)
  if getmetatable(v) ~= nil then return false end
%s
  if %s then return false end
  return %s
end]]

local check = "(type(v%d) ~= 'number' and type(v%d) ~= 'string' and type(v%d) ~= 'boolean')"

--- A copier of one shape: function(v) returns a copy, or false where the table has another shape. It has no loop: on
--- serial it is compiled with the script's function and the loop over the tasks, and a loop within would end that
--- trace. Then each call whose function is new would leave some 0.3 MB of compiled code behind.
local function make(keys)
  local checks = {}
  for k = 1, #keys do checks[k] = check:format(k, k, k) end
  local code = text:format(shape.steps_text(keys), concat(checks, " or "), shape.constructor(keys))
  return assert(loadstring(code, "=parlua.flat"))(next, type, getmetatable)
end

--- A function(v) that returns a copy of a table, or false: it is not flat, or looked at too rarely.
return function()
  local copiers, count, misses, copy = {}, 0, 0, nil

  local function other(v)
    misses = misses + 1
    if misses > MOST_MISSES and misses % MOST_MISSES ~= 0 then return false end
    local found = getmetatable(v) == nil and rawget(v, "__index") == nil and next(v) ~= nil and shape.shape_of(v)
    if not found then return false end
    if not copiers[found] then
      if count == MOST_SHAPES then return false end
      copiers[found], count = make(shape.keys_of(found)), count + 1
    end
    copy = copiers[found]
    return copy(v)
  end

  return function(v)
    local made = copy and copy(v) or other(v)
    if made then misses = 0 end
    return made
  end
end
