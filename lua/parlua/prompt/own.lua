--- The globals of the prompt's own code: those that the state began with. At the prompt people give any name to what
--- they like: `table = { 1, 2 }` must not end the session.
--
-- src/lua/state.c gives this table to each module of the prompt as it is loaded; modules that were there before are
-- given it here.
local start = require "parlua.wire.start"

local own = {}
for name, value in next, start.globals do own[name] = value end
for name, fields in next, start.libraries do
  if own[name] ~= nil then own[name] = fields end
end
own._G = _G
own.package = setmetatable({ loaded = start.libraries.package.loaded, preload = start.libraries.package.preload },
  { __index = start.values.package }) -- paths are what the user says

--- Gives the globals to a module's functions, and to those that they use.
local function adopt(value, seen)
  if seen[value] then return end
  seen[value] = true
  if own.type(value) == "function" then
    local info = own.debug.getinfo(value, "S")
    if info.what == "C" or not own.string.find(info.source, "^=parlua/[%w_]+%.lua") then return end
    own.setfenv(value, own)
    for k = 1, own.math.huge do
      local name, used = own.debug.getupvalue(value, k)
      if not name then return end
      if own.type(used) == "function" or own.type(used) == "table" then adopt(used, seen) end
    end
  elseif own.type(value) == "table" then
    for _, field in own.next, value do
      if own.type(field) == "function" then adopt(field, seen) end
    end
  end
end

for _, name in ipairs { "parlua.value", "parlua.cdata", "parlua.lazy", "parlua.common" } do adopt(require(name), {}) end

debug.getregistry()["parlua.prompt.own"] = own

return own
