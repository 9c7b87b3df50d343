--- What is said of a wrong use of arrays: each error names what was given and what is allowed.
local C = require "parlua.array.c"
local facts = require "parlua.array.facts"
local ffi = require "ffi"
local is_own_source = require("parlua.wire.record").is_own_source
local known = require "parlua.array.known"

local M = {}

local has, is, kind_of, shape_text = facts.has, facts.is, facts.kind_of, facts.shape_text
local FREED, READ_ONLY, OF_FILE = facts.FREED, facts.READ_ONLY, facts.OF_FILE

local named = { table = "a table", ["function"] = "a function", thread = "a coroutine", userdata = "a userdata" }

--- A value as an error names it.
local function show(value)
  if type(value) == "string" then return ("%q"):format(#value > 40 and value:sub(1, 37) .. "..." or value) end
  if is(value) then
    if has(value, FREED) then return "an array that was freed" end
    return "an array (" .. kind_of(value).name .. ", " .. shape_text(value) .. ")"
  end
  return value == nil and "nothing" or type(value) == "number" and ("%.17g"):format(value)
    or named[type(value)] or tostring(value)
end
M.show = show

--- Raises an error that points at the script's line: whatever of parlua's own lies between is passed over.
local function refuse(message, ...)
  if select("#", ...) > 0 then message = message:format(...) end
  local level = 2
  local info = debug.getinfo(level, "S")
  while info and (is_own_source(info.source) or info.what == "C") do
    level = level + 1
    info = debug.getinfo(level, "S")
  end
  error(message, level)
end
M.refuse = refuse

M.freed_message = "the array was freed: nothing can be done with it after a:free()"

--- Raises an error where the file of an array was cut short: what is not there any more reads as zeros.
function M.check_whole(self)
  local path = C.shared_cut(self._shared)
  if path ~= nil then refuse("%s", known.cut_message(ffi.string(path))) end
end

--- Raises an error where an array is of no use any more.
local function check_live(self)
  if has(self, FREED) then refuse(M.freed_message) end
  if has(self, OF_FILE) then M.check_whole(self) end
end
M.check_live = check_live

--- Why an array can't be written to.
local function read_only_message(self)
  if has(self, OF_FILE) then
    return "the array is read-only: it is mapped from a file, which is not to change; a:copy() can be written to"
  end
  return "the array is read-only here: on the mpi engine the workers of a node share one copy of what a task has "
    .. "captured. Return what is new, or let the call put it in place: parlua.map(f, arguments, { into = array })"
end

--- Raises the error of a write to an array that is read-only.
local function refuse_write(self)
  check_live(self)
  refuse(read_only_message(self))
end
M.read_only_message, M.refuse_write = read_only_message, refuse_write

--- Raises an error where the array can't be written to.
function M.check_writable(self)
  check_live(self)
  if has(self, READ_ONLY) then refuse_write(self) end
end

--- "1 dimension", "2 dimensions"; "1 index", "2 indices".
local function dimensions(n) return n == 1 and "1 dimension" or ("%d dimensions"):format(n) end
local function indices(n) return n == 1 and "1 index" or ("%d indices"):format(n) end
M.dimensions, M.indices = dimensions, indices

--- Raises the error of a[i].
function M.refuse_element(self, i)
  check_live(self)
  if self._rank ~= 1 then
    refuse("a[%s]: the array has %s (%s); take a:get(...) and a:set(...) for an element%s", show(i),
      dimensions(self._rank), shape_text(self), self._rank > 1 and ", a:slice(i) for a part" or "")
  end
  if i % 1 ~= 0 then refuse("index %s: an index is an integer", show(i)) end
  refuse("index %s is out of range: the array has the elements 1 to %.0f", show(i), self._bound)
end

--- Raises the error of an index in dimension d (from 0).
function M.refuse_index(self, d, i)
  check_live(self)
  local dimension = self._rank > 1 and (" of dimension %d"):format(d + 1) or ""
  if type(i) ~= "number" then
    if i == nil then
      refuse("an index%s is missing: the array has %s (%s)", dimension, dimensions(self._rank), shape_text(self))
    end
    refuse("index %s%s: an index is an integer, got %s", show(i), dimension, type(i))
  end
  if i % 1 ~= 0 then refuse("index %s%s: an index is an integer", show(i), dimension) end
  refuse("index %s%s is out of range: it goes from 1 to %.0f (the array is %s)", show(i), dimension, self._shape[d],
    shape_text(self))
end

--- Raises the error of what is to become an element.
function M.refuse_value(self, value)
  check_live(self)
  refuse("an element of an array of %s is a number, got %s", kind_of(self).name, show(value))
end

--- Raises the error of so many indices.
function M.refuse_count(self, n)
  check_live(self)
  refuse("%s for an array of %s (%s)", indices(n), dimensions(self._rank), shape_text(self))
end

return M
