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

--- Code that puts the fields of the table v into locals v1, v2, ..., and returns false where it has other keys, or in
--- another order. It has no loop, unlike shape.fields_text: on serial the function of the script and this are one trace
--- of the loop over its tasks, and a loop within would end that trace. Then each call whose function is new would leave
--- traces of its own behind, some 0.3 MB.
local function fields_text(keys)
  local lines, before = {}, ""
  for k, key in ipairs(keys) do
    local literal = shape.literal(key)
    lines[k] = ("  local v%d\n  key, v%d = next(v%s)\n  if key ~= %s then return false end"):format(k, k, before,
      literal)
    before = ", " .. literal
  end
  lines[#lines + 1] = ("  if next(v%s) ~= nil then return false end"):format(before)
  return "  local key\n" .. concat(lines, "\n")
end

--- A copier of one shape: function(v) returns a copy, or false where the table has another shape.
local function make(keys)
  local checks = {}
  for k = 1, #keys do checks[k] = check:format(k, k, k) end
  return assert(loadstring(text:format(fields_text(keys), concat(checks, " or "), shape.constructor(keys)),
    "=parlua.flat"))(next, type, getmetatable)
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
