--- Puts differences of objects into a worker's state, which has the objects (wire/install.lua).
local codec = require "parlua.codec"
local ffi = require "ffi"

require("jit").off(true, true)

local M = {}

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
