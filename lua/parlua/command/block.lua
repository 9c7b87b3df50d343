--- --map and --filter over lines of text, a block of lines a task: the lines are read and the results written by C
--- functions (src/lua/lines.c), so that a line costs tens of nanoseconds. What is told of lines is told as of tasks.
local start = require "parlua.wire.start"
local ffi = require "ffi"
local expression = require "parlua.command.expression"
local failure = require "parlua.failure"
local json = require "parlua.lazy" "parlua.wire.json"
require "parlua.wire.header" "lua/ffi_lines.h"

local M = {}

local C = ffi.C
local BLOCK = 2 ^ 20 -- bytes
local MOST_TOLD = 10 -- failures of a block that come with their line

--- Writes a result that is no number.
local function put_other(lines, value)
  local text = type(value) == "string" and value or json.encode(value)
  if C.parlua_put_text(lines, text, #text) == 0 then error("not enough memory", 0) end
end

local template = [[
local ffi, C, put_other, type, filter, map = ...
local ffi_string = ffi.string
return function(lines)
  while C.parlua_next_line(lines) ~= 0 do
    local line = LINE
    local x
    if lines.is_number ~= 0 then x = lines.value else x = ffi_string(lines.text, lines.length) end
    if TEST then
      PUT
    end
  end
end]]

local put_result = [[local v = map(x, line)
      if type(v) == "number" then
        if C.parlua_put_number(lines, v) == 0 then error("not enough memory", 0) end
      elseif v ~= nil then
        put_other(lines, v)
      end]]
local put_line = [[if C.parlua_put_line(lines) == 0 then error("not enough memory", 0) end]]

--- The loop over the lines of a block.
local function compile(plan)
  local pieces = {
    LINE = plan.uses_line and "ffi_string(lines.text, lines.length)" or "nil",
    TEST = plan.filter and "filter(x, line)" or "true", PUT = plan.map and put_result or put_line,
  }
  local text = template:gsub("%u%u%u+", function(name) return pieces[name] end)
  return start.compile(text, "=parlua.loop")(ffi, C, put_other, type,
    plan.filter and expression.compile(plan.filter, "--filter"), plan.map and expression.compile(plan.map, "--map"))
end

local compiled = setmetatable({}, { __mode = "k" })

--- Where in the code an error was: the message without lines of the loop around it.
local function tell(bad, lines, record)
  bad.count = bad.count + 1
  if #bad >= MOST_TOLD then return end
  bad[#bad + 1] = { at = lines.count, line = ffi.string(lines.text, lines.length), message = record.message,
    kind = record.kind }
end

--- The map function: a block of text, as a pointer and a length. Returns what was written, how many lines there were,
--- and those that failed.
---@param plan {map?: string, filter?: string, uses_line: boolean} the code
function M.run(plan, pointer, length)
  local loop = compiled[plan]
  if not loop then
    loop = compile(plan)
    compiled[plan] = loop
  end
  local lines = ffi.gc(ffi.new("struct parlua_lines"), C.parlua_free_lines)
  if type(pointer) == "string" then length = #pointer end
  lines.next = ffi.cast("const char *", pointer)
  lines.stop = lines.next + length
  local bad
  while true do
    local ok, raised = xpcall(loop, failure.capture, lines)
    if ok then break end
    bad = bad or { count = 0 }
    tell(bad, lines, failure.record(raised))
  end
  local text = ffi.string(lines.out, lines.used)
  C.parlua_free_lines(ffi.gc(lines, nil))
  return { text, lines.count, bad }
end

M.BLOCK = BLOCK

return M
