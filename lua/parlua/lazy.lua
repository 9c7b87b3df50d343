--- Modules that are loaded when a field of theirs is first used: a program that only maps does not pay for the rest (a
--- small program's start and end are a few milliseconds in all).

require("jit").off(true, true) -- it makes functions: a trace of it is given up

---@param name string
---@return table module as require gives it, for reading
return function(name)
  return setmetatable({}, {
    __index = function(self, key)
      local value = require(name)[key]
      rawset(self, key, value)
      return value
    end,
  })
end
