--- Copies of arguments and results: each task has its own, so what it changes is seen by no other task, no later call
--- and no second try. Numbers, strings and all that can't be changed are not copied. Flat tables are copied by
--- wire/flat.lua, others by src/lua/copy.c.
local captured = require "parlua.wire.captured"
local codec = require "parlua.codec"
local context = require "parlua.wire.context"
local ctypes = require "parlua.lazy" "parlua.wire.ctypes"
local world = require "parlua.lazy" "parlua.wire.world"
local start = require "parlua.wire.start"
local table_copy = require "parlua.copy"

local concat = start.libraries.table.concat -- a script may have put its own in its place

local M = {}

local current -- tables that are not copied
local modules, parts -- nor are these; parts of what is captured, where they are results
local walked = setmetatable({}, { __mode = "v" }) -- a book of what there was when it was needed first

--- A copy by way of bytes, as workers get and give it: functions that hold parts of the value (methods that are
--- closures over `self`, say) are copied too, and hold the parts of the copy. Other functions of a result that are not
--- the task's own stay the same. nil: something in it can't be sent.
local function copy_with_functions(value, is_result)
  local made
  context.aside(function()
    local walk, set = walked.walk, current
    if not walk then
      walk = codec.walk(world.roots {})
      walked.walk = walk
    end
    context.use({ walk, captured = function() return set end }, false, 1, not is_result)
    if is_result then
      local bytes = codec.encode_as("result", value)
      if bytes then made = codec.decode(bytes) end
    else
      local bytes = codec.encode_book(codec.book(), "argument", value)
      if bytes then made = codec.decode_book(codec.book(), bytes) end
    end
  end)
  return made
end

local function no_copy() return false end

--- What copies flat tables, loaded when the first table is to be copied; a task may have lost the ways to find modules.
local function flat_copier()
  local is_loaded, make = pcall(require, "parlua.wire.flat")
  return is_loaded and make() or no_copy
end

--- A function that copies by one of table_copy's, where that splits nothing.
local function copier(copy_tables, is_result)
  local copy_flat
  return function(value)
    if type(value) == "table" and modules and not (modules[value] or current and current[value] or parts[value]) then
      copy_flat = copy_flat or flat_copier()
      local made = copy_flat(value)
      if made then return made end
    end
    local made, splits = copy_tables(value)
    if splits then made = copy_with_functions(value, is_result) or made end
    return made
  end
end

local copy = copier(table_copy.copy, false)

local parts_of = setmetatable({}, { __mode = "k" }) -- what was captured -> the tables in it

local function is_own(name) return name == "parlua" or type(name) == "string" and name:find "^parlua%." end

--- Tables that no task gets a part of: libraries, and parlua's own.
local function libraries()
  local set = { [_G] = true }
  for name, module in next, package.loaded do
    if type(module) == "table" and (start.is_library(name) or is_own(name)) then set[module] = true end
  end
  return set
end

--- What the map function and `setup` have captured: this is not copied. Nor are tables in it that are results, where
--- these are looked for (`with_parts`).
function M.look(f, setup, with_parts)
  local set = captured({ f, setup }, 2)
  if with_parts then parts_of[set] = next(set) and table_copy.parts(set, libraries()) or {} end
  return set
end

--- Adds what another function has captured.
local function add(set, f)
  local more = M.look(f, nil, parts_of[set] ~= nil)
  for value, state in next, more do set[value] = state end
  for value, state in next, parts_of[more] or {} do parts_of[set][value] = state end
end

--- From here on these are what is not copied, with the modules that there are now. Returns what it was before.
function M.enter(set)
  local before = current
  if set ~= current then
    current, walked.walk = set, nil
    parts = set and parts_of[set] or {}
    modules = table_copy.refresh(set, parts)
  end
  return before
end

--- Looks at what the map function and `setup` have captured, in a worker, before tasks run.
function M.refresh(f, setup) M.enter(M.look(f, setup)) end

table_copy.data_by(function(value) return ctypes.copy(value) end)

--- A copy of a result; what the function has captured and not changed stays what it is.
M.copy_result = copier(table_copy.copy_result, true)

--- Can a task change such a value: a table, C data, a buffer?
local function is_changed_by_tasks(value)
  local kind = type(value)
  return kind == "table" or kind == "cdata" or kind == "userdata"
end

--- A value that a task may change: a copy.
function M.own(value)
  if is_changed_by_tasks(value) then return copy(value) end
  return value
end

--- The same of a task's result.
function M.own_result(value)
  if type(value) == "table" then return M.copy_result(value) end
  return value
end

--- The same of the items 1 to n of a list: puts copies into their places.
function M.own_items(list, n)
  for k = 1, n do
    if is_changed_by_tasks(list[k]) then
      local copies = copy(list)
      for j = k, n do list[j] = copies[j] end
      return list
    end
  end
  return list
end

--- The same of several values in a table with n, in which `has_tables` says whether there is something to copy.
function M.own_all(values)
  if not values.has_tables then return values end
  local made = copy(values)
  made.has_tables = nil -- failures show what is in it
  return made
end

--- One copy of all: what they share, their copies share.
local function pack(copy_all, ...)
  local values = { n = select("#", ...), ... }
  for k = 1, values.n do
    if is_changed_by_tasks(values[k]) then
      values.has_tables = true
      return copy_all(values)
    end
  end
  return values
end

--- Several values in a table with n, and `has_tables`; tables among them are copied.
function M.pack(...) return pack(copy, ...) end

local function together(...)
  local n = select("#", ...)
  return unpack(copy { ... }, 1, n)
end

--- Appends code that makes a task's own values of the variables of these names. What several share, their copies share.
--- The checks are written out: for numbers the compiled code has nothing of them.
---@param builder parlua.Builder
---@param names string[]
function M.emit(builder, names)
  if #names == 0 then return end
  local copy_one, lines = builder:constant(copy), builder.lines
  local checks = {}
  for k, name in ipairs(names) do
    checks[k] = ("(type(%s) == 'table' or type(%s) == 'cdata' or type(%s) == 'userdata')"):format(name, name, name)
  end
  if #names > 1 then
    local counts = {}
    for k, check in ipairs(checks) do
      checks[k] = builder:variable(check)
      counts[k] = ("(%s and 1 or 0)"):format(checks[k])
    end
    local list = concat(names, ", ")
    lines[#lines + 1] = ("if %s > 1 then"):format(concat(counts, " + "))
    lines[#lines + 1] = ("%s = %s(%s)"):format(list, builder:constant(together), list)
    lines[#lines + 1] = "else"
  end
  for k, name in ipairs(names) do
    lines[#lines + 1] = ("if %s then %s = %s(%s) end"):format(checks[k], name, copy_one, name)
  end
  if #names > 1 then lines[#lines + 1] = "end" end
end

--- Adds what another function has captured. Returns its arguments, a table with n or nil, as they are now.
function M.add(set, f, args)
  add(set, f)
  if not args then return nil end
  local before = M.enter(set)
  local values = pack(copy, unpack(args, 1, args.n))
  M.enter(before)
  return values
end

--- The same of a task's results.
function M.pack_results(...) return pack(M.copy_result, ...) end

return M
