--- Puts differences of objects into a worker's state, which has the objects (wire/install.lua).
local codec = require "parlua.codec"
local ffi = require "ffi"

require("jit").off(true, true)

local M = {}

--- Types of values without objects.
local plain = { number = true, string = true, boolean = true, ["nil"] = true }
M.plain = plain

--- Has an object that is in place nothing but other plain values? As for `apply`, before it.
function M.is_plain(book, place, content, n, environment)
  if type(content) == "string" then return true end
  local object = codec.object_in(book, place)
  if debug.getmetatable(object) ~= debug.getmetatable(content) then return false end
  if n then
    if environment and getfenv(object) ~= environment then return false end
    for i = 1, n do
      if not plain[type(content[i])] then return false end
    end
    return true
  end
  for key, value in next, content do
    if not (plain[type(key)] and plain[type(value)]) then return false end
  end
  return true
end

--- Gives an object that is in place another content: a table that of a table, a function other upvalues, C data bytes.
---@param book userdata of the state that is in place
function M.apply(book, place, content, n, environment)
  local object = codec.object_in(book, place)
  if type(object) == "table" then
    for key in next, object do object[key] = nil end
    debug.setmetatable(object, debug.getmetatable(content))
    for key, value in next, content do rawset(object, key, value) end
  elseif type(object) == "function" then
    for i = 1, n do debug.setupvalue(object, i, content[i]) end
    if environment and getfenv(object) ~= environment then setfenv(object, environment) end
  elseif type(object) == "cdata" then
    ffi.copy(ffi.cast("char *", object), content, #content)
  end
  codec.renew(book, place)
end

return M
