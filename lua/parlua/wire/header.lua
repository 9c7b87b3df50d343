--- Declares the functions and types of a header of parlua's C side, once in a state. Each module declares what it uses:
--- a worker is spared the rest.
local ffi = require "ffi"
local host = require "parlua.host"

local declared = {}

---@param name string below src: "run/event.h"
return function(name)
  if declared[name] then return end
  ffi.cdef(host.header(name))
  declared[name] = true
end
