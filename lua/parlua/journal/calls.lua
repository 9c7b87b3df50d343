--- Calls that tasks have spawned, as bytes that a file can keep. The file has no code: what is read from it is not to
--- be run. What the script has stands there by the way that leads to it from the map function, a global or a module; a
--- function that a task has made by the piece of the script that it was made of, with what it has captured.
local bit = require "bit"
local util = require "jit.util"
local closure = require "parlua.wire.closure"
local codec = require "parlua.codec"
local common = require "parlua.common"
local is_own_source = require("parlua.wire.record").is_own_source
local identity = require "parlua.journal.identity"

local M = {}

local NO_FUNCTIONS = { functions = false }
local MOST_NAMED = 1e5 -- objects of the script that are looked at
local NESTED = "nested" -- a function that a task has made

-- ---- what the script has ----

--- Does the way lead through what is parlua's own?
local function is_own(value)
  return type(value) == "function" and is_own_source(debug.getinfo(value, "S").source)
end

--- The keys of a table by which a way may go on, in an order that is the same in every process.
local function keys_of(list)
  local keys = {}
  for key, value in next, list do
    local kind = type(value)
    if (kind == "table" or kind == "function") and (type(key) == "string" or type(key) == "number") then
      keys[#keys + 1] = key
    end
  end
  table.sort(keys, function(a, b)
    if type(a) ~= type(b) then return type(a) == "number" end
    return a < b
  end)
  return keys
end

--- Gives names to what can be reached from a function: its upvalues, the globals that it names, the fields of tables. A
--- name is a list of steps.
local function name_reached(names, f)
  local queue, first, last = {}, 1, 0
  local function add(value, way, ...)
    if type(value) ~= "function" and type(value) ~= "table" or names[value] or last >= MOST_NAMED then return end
    local name = { unpack(way) }
    for k = 1, select("#", ...) do name[#name + 1] = (select(k, ...)) end
    names[value], last = name, last + 1
    queue[last] = value
  end
  add(f, { "map" })
  while first <= last do
    local value = queue[first]
    local way = names[value]
    queue[first], first = nil, first + 1
    if type(value) == "table" then
      add(getmetatable(value), way, "metatable")
      for _, key in ipairs(keys_of(value)) do add(rawget(value, key), way, "field", key) end
    elseif not is_own(value) and util.funcinfo(value).bytecodes then
      for k = 1, util.funcinfo(value).upvalues do add(select(2, debug.getupvalue(value, k)), way, "upvalue", k) end
      for k = 2, #closure.plan(value) do
        add(rawget(_G, closure.plan(value)[k]), { "module", "_G" }, "field", closure.plan(value)[k])
      end
    end
  end
end

--- Gives names to loaded modules and to the functions in them.
local function name_modules(names)
  local modules = {}
  for module in pairs(package.loaded) do modules[#modules + 1] = tostring(module) end
  table.sort(modules)
  for _, module in ipairs(modules) do
    local value = package.loaded[module]
    if type(value) == "table" or type(value) == "function" then names[value] = { "module", module } end
    for _, key in ipairs(type(value) == "table" and keys_of(value) or {}) do
      local field = value[key]
      if not names[field] then names[field] = { "module", module, "field", key } end
    end
  end
end

local steps = {}

function steps.map(calls) return calls.f, 1 end
function steps.module(_, _, name) return package.loaded[name] or require(name), 2 end
function steps.metatable(_, value) return getmetatable(value), 1 end
function steps.field(_, value, key) return rawget(value, key), 2 end
function steps.upvalue(_, value, k) return select(2, debug.getupvalue(value, k)), 2 end

--- What a name leads to; nil: nothing.
local function find(calls, name)
  local value, k = nil, 1
  while k <= #name do
    local ok, found, taken = pcall(steps[name[k]], calls, value, name[k + 1])
    if not ok or found == nil then return nil end
    value, k = found, k + taken
  end
  return value
end

-- ---- functions that tasks make ----

--- Calls visit(prototype, number) for the prototypes nested in a function, in the order of its dump, and at last for
--- itself.
local function each_prototype(f, visit)
  local count = 0
  local function walk(proto)
    local info = util.funcinfo(proto)
    for at = 1, info.children and info.gcconsts or 0 do
      local constant = util.funck(proto, -at)
      if type(constant) == "proto" then walk(constant) end
    end
    count = count + 1
    visit(proto, count)
  end
  walk(f)
end

local function read_number(text, at)
  local number, scale = 0, 1
  repeat
    local byte = text:byte(at)
    number, scale, at = number + bit.band(byte, 0x7f) * scale, scale * 0x80, at + 1
  until byte < 0x80
  return number, at
end

--- The dump of a prototype nested in a function: LuaJIT's format, where prototypes stand one after the other, each
--- behind those that are nested in it.
local function dump_of(f, number)
  local dump, own = string.dump(f), {}
  local _, head = read_number(dump, 5) -- flags; a name follows, as string.dump keeps it
  local length, at = read_number(dump, head)
  at = at + length
  local head_end, nested = at - 1, {}
  each_prototype(f, function(proto, k)
    local within = 0
    each_prototype(proto, function() within = within + 1 end)
    nested[k] = within
  end)
  for k = 1, number do
    local size, from = read_number(dump, at)
    own[k] = dump:sub(at, from + size - 1)
    at = from + size
  end
  return dump:sub(1, head_end) .. table.concat(own, "", number - nested[number] + 1, number) .. "\0"
end

--- The pieces of code that the script has, by what codes them: { name of a function, number of the prototype in it }.
local function pieces_of(names)
  local pieces, list = {}, {}
  for value, name in pairs(names) do
    local is_wanted = type(value) == "function" and util.funcinfo(value).bytecodes
    -- what stands for an object that can be called is made there
    if is_wanted and (not is_own(value) or name[2] == "parlua.common") then
      list[#list + 1] = { value, name, #name, table.concat(name, " ") }
    end
  end
  table.sort(list, function(a, b)
    if a[3] ~= b[3] then return a[3] < b[3] end
    return a[4] < b[4]
  end)
  for _, each in ipairs(list) do
    each_prototype(each[1], function(proto, number)
      local code = identity.code_of(proto)
      pieces[code] = pieces[code] or { each[2], number }
    end)
  end
  return pieces
end

-- ---- the calls of a run ----

---@class parlua.JournalCalls
local Calls = {}
Calls.__index = Calls

--- Of a run with this map function.
function M.open(f) return setmetatable({ f = f, names = false, pieces = false, codes = {} }, Calls) end

local function look(self)
  self.names = {}
  name_modules(self.names)
  name_reached(self.names, self.f)
end

local function code_of(self, f)
  self.codes[f] = self.codes[f] or identity.code_of(f)
  return self.codes[f]
end

local encode

--- A function that a task has made: the piece of code that it is made of, and its cells.
local function encode_nested(state, f)
  local calls, code = state.calls, identity.code_of(f)
  calls.pieces = calls.pieces or pieces_of(calls.names)
  local piece = calls.pieces[code]
  if not piece or debug.getfenv(f) ~= _G then error("it is no function that the script has", 0) end
  local made = { NESTED, code, piece[1], piece[2], {} }
  state.made[f] = made
  for k = 1, util.funcinfo(f).upvalues do
    local id, _, value = debug.upvalueid(f, k), debug.getupvalue(f, k)
    if not state.cells[id] then
      local cell = {}
      state.cells[id] = cell
      cell[1] = encode(state, value)
    end
    made[5][k] = state.cells[id]
  end
  return made
end

--- The value with what stands in a file for it: copies of tables, and marks for functions, and for what the script has.
function encode(state, value)
  local kind = type(value)
  if kind ~= "table" and kind ~= "function" then return value end
  if state.made[value] then return state.made[value] end
  local name = state.calls.names[value]
  local mark
  if name then
    mark = { "named", kind == "function" and util.funcinfo(value).bytecodes and code_of(state.calls, value) or false,
      name }
    state.made[value] = mark
  elseif kind == "function" then
    if not util.funcinfo(value).bytecodes then error("it is a function of C that no module has", 0) end
    mark = encode_nested(state, value)
  else
    local copy, metatable = {}, debug.getmetatable(value)
    state.made[value] = copy
    for key, field in next, value do copy[encode(state, key)] = encode(state, field) end
    if metatable then state.metatables[#state.metatables + 1] = { copy, encode(state, metatable) } end
    return copy
  end
  state.marks[#state.marks + 1] = mark
  return mark
end

--- A call as bytes, and a number for it that is the same in every process.
---@param call table with n: key, root, depth, function, arguments
---@return string? bytes nil: a file can't hold it
---@return number|string hash or why
function Calls:encode(call)
  if not self.names then look(self) end
  local state = { calls = self, made = {}, marks = {}, cells = {}, metatables = {} }
  local ok, copy = pcall(encode, state, call)
  if not ok then return nil, copy end
  local bytes, message = codec.encode_data(copy, state.marks, state.metatables)
  if not bytes then return nil, message end
  return bytes, require "parlua.hash"(copy, state.marks, state.metatables)
end

--- What a mark stands for.
local function resolve(calls, mark)
  local kind, code = mark[1], mark[2]
  local found = find(calls, mark[3])
  if kind == NESTED and type(found) == "function" then
    found = loadstring(dump_of(found, mark[4]), "=?")
  end
  if found == nil or code and (type(found) ~= "function" or code_of(calls, found) ~= code) then
    error("a function that a task has spawned is not in the script any more, or its code differs", 0)
  end
  return found
end

--- Puts what marks stand for into the tables.
local function put_in(values, seen, value)
  if type(value) ~= "table" then return value end
  if values[value] ~= nil then return values[value] end
  if seen[value] then return value end
  seen[value] = true
  local changed = {}
  for key, field in next, value do
    local new_key, new_field = put_in(values, seen, key), put_in(values, seen, field)
    if new_key ~= key then
      changed[#changed + 1] = { key, new_key, new_field }
    elseif new_field ~= field then
      value[key] = new_field
    end
  end
  for _, each in ipairs(changed) do
    value[each[1]] = nil
    value[each[2]] = each[3]
  end
  return value
end

local function read(calls, bytes)
  local copy, marks, metatables = codec.decode(bytes, NO_FUNCTIONS)
  local values, seen, joined = {}, {}, {}
  for _, mark in ipairs(marks) do values[mark] = resolve(calls, mark) end
  copy = put_in(values, seen, copy)
  for _, each in ipairs(metatables) do
    debug.setmetatable(put_in(values, seen, each[1]), put_in(values, seen, each[2]))
  end
  for _, mark in ipairs(marks) do
    for k, cell in ipairs(mark[1] == NESTED and mark[5] or {}) do
      local f, first = values[mark], joined[cell]
      if first then
        debug.upvaluejoin(f, k, first[1], first[2])
      else
        joined[cell] = { f, k }
        debug.setupvalue(f, k, put_in(values, seen, cell[1]))
      end
    end
  end
  return copy
end

--- The call that bytes stand for. Raises where they are damaged, or the script has not any more what they name.
---@return table call
function Calls:decode(bytes)
  local ok, call = pcall(read, self, bytes)
  if ok and type(call) == "table" and type(call[4]) == "function" then return call end
  error(ok and "a call is damaged" or common.one_line(tostring(call)), 0)
end

return M
