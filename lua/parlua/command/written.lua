--- How words and results are read and written. Workers have this module by its name, so what it declares is declared
--- there.
local ffi = require "ffi"
local json = require "parlua.lazy" "parlua.wire.json"
require "parlua.wire.header" "lua/ffi_lines.h"

local M = {}

local C = ffi.C

local cell, digits = ffi.new("double[1]"), ffi.new("char[48]")

--- A word or line as the code gets it: a number where it reads as one.
function M.value_of(text)
  if type(text) == "string" and C.parlua_read_number(text, #text, cell) ~= 0 then return cell[0] end
  return text
end

--- A result as it is written; nil: nothing is.
function M.text_of(value)
  local kind = type(value)
  if kind == "number" then return ffi.string(digits, C.parlua_write_number(digits, value)) end
  if kind == "string" or value == nil then return value end
  return json.encode(value)
end

return M
