--- What has changed in the script's state since workers got it as a whole (world.lua): tables, functions and C data
--- that both sides know get another content, globals another value, modules are added. All differences from the whole
--- are sent together each time, so a worker that has missed some has all. Where that is not possible, or is no gain,
--- the state is sent as a whole again.
local codec = require "parlua.codec"
local context = require "parlua.wire.context"
local ctypes = require "parlua.lazy" "parlua.wire.ctypes"
local kinds = require "parlua.wire.entries"
local start = require "parlua.wire.start"
local states = require "parlua.wire.state"

require("jit").off(true, true)

local M = {}

local no_change, copy = states.no_change, states.copy

local bytes_of, size_of = start.libraries.ffi.string, start.libraries.ffi.sizeof
local getmetatable, getupvalue, setmetatable = debug.getmetatable, debug.getupvalue, debug.setmetatable

-- Differences may have so many bytes, or half of those of the whole.
local LEAST_BYTES = 16384

--- Adds objects that have changed. Returns false if there is no difference for one of them.
local function add(world, changed)
  for _, object in ipairs(changed) do -- what forked workers have inherited and can't be sent is not what it was
    if world.inherited[object] then world.is_stale = true end
  end
  for _, object in ipairs(changed) do
    if world.others[object] then return false end
    local place = codec.place_in(world.book, object)
    if not place then return false end
    world.patched[#world.patched + 1] = { object, place }
  end
  return true
end

--- A table's content as a table of its own.
local function content_of_table(object)
  local content = copy(object)
  setmetatable(content, getmetatable(object))
  return content
end

--- The bytes of C data; nil if they mean nothing to a worker.
local function content_of_data(object, shares)
  local kind, _, size = ctypes.cdata(object, shares)
  return kind == "content" and bytes_of(object, size) or nil
end

local standard_files = { [start.libraries.io.stdin] = true, [start.libraries.io.stdout] = true,
                         [start.libraries.io.stderr] = true }

--- Is it a module that has userdata, as an open file? These have their names from it, by which a worker would find
--- what it had before.
local function is_module_with_userdata(object)
  local found = false
  for _, field in next, object do found = found or type(field) == "userdata" and not standard_files[field] end
  if not found then return false end
  for _, module in next, package.loaded do
    if rawequal(module, object) then return true end
  end
  return false
end

local own = getfenv(1) -- the environment of parlua's own modules

--- How a table, function or C data are changed into what they are now; nil if that can't be told.
local function patch_of(world, object, place, shares)
  if type(object) == "table" then
    if is_module_with_userdata(object) then return nil end
    return { kinds.PATCH, place, content_of_table(object) }
  end
  if type(object) == "cdata" then
    local content = content_of_data(object, shares)
    return content and { kinds.PATCH, place, content }
  end
  local environment, values, n = getfenv(object), {}, 0
  local name, value = getupvalue(object, 1)
  while name do
    n = n + 1
    values[n] = value
    name, value = getupvalue(object, n + 1)
  end
  if environment == own then return { kinds.PATCH, place, values, n } end
  if environment == _G then return { kinds.PATCH, place, values, n, _G } end
  if not codec.place_in(world.book, environment) then return nil end
  return { kinds.PATCH, place, values, n, environment }
end

local function sorted(set)
  local names = {}
  for name in next, set do names[#names + 1] = name end
  states.sort_names(names)
  return names
end

--- Notes the names whose value in `now` is not that in `before`.
local function note_names(names, before, now)
  for name, value in next, now do
    if states.is_name(name) and not rawequal(before[name], value) then names[name] = true end
  end
  for name in next, before do
    if states.is_name(name) and rawget(now, name) == nil then names[name] = true end
  end
end

local objects = { table = true, ["function"] = true, userdata = true, cdata = true }

--- Does a world hold an object that is not there any more? Then it is let go. (One table in place of another is held.)
local function holds(before, now)
  local kind = type(before)
  if kind == "table" or kind == "function" then return type(now) == "nil" end
  return objects[kind] and not rawequal(before, now)
end

--- Is there no difference for a global: have workers what another state has there, or were they told why they have no
--- value of it?
local function needs_whole(world, name, value)
  local before = world.globals[name]
  return start.globals[name] ~= nil or holds(before, value) or world.unsent[name] and not rawequal(before, value)
end

--- Entries for globals. Returns false if there is no difference for one of them.
local function add_globals(world, entries)
  if (getmetatable(_G) or false) ~= world.metatable then return false end
  note_names(world.new_names, world.globals, _G)
  for _, name in ipairs(sorted(world.new_names)) do
    local value = rawget(_G, name)
    if needs_whole(world, name, value) then return false end
    if type(value) == "nil" then
      entries[#entries + 1] = { kinds.GONE, name }
    elseif states.is_global(name, value) then
      entries[#entries + 1] = { kinds.GLOBAL, name, value }
    else
      return false
    end
  end
  return true
end

--- The same for modules. Those of parlua itself are loaded when they are needed, on each side.
local function add_modules(world, entries)
  note_names(world.new_modules, world.modules, package.loaded)
  for _, name in ipairs(sorted(world.new_modules)) do
    local value = rawget(package.loaded, name)
    if value == nil or world.modules[name] ~= nil then return false end
    if states.is_module(name, value) then entries[#entries + 1] = { kinds.MODULE, name, value } end
  end
  return true
end

local function entries_of(world, shares)
  local entries = {}
  if world.has_modules and not add_modules(world, entries) then return nil end
  for _, pair in ipairs(world.patched) do
    local patch = patch_of(world, pair[1], pair[2], shares)
    if not patch then return nil end
    entries[#entries + 1] = patch
  end
  if world.has_names and not add_globals(world, entries) then return nil end
  return entries
end

--- Objects that have changed already, for a watch; C data with their size behind them.
local function list_of_changed(world)
  local list = {}
  for _, pair in ipairs(world.patched) do
    list[#list + 1] = pair[1]
    if type(pair[1]) == "cdata" then list[#list + 1] = size_of(pair[1]) end
  end
  return list
end

--- Encodes the differences. Returns false if the whole is to be sent.
local function encode(world, shares)
  local entries, book = entries_of(world, shares), codec.book()
  if not entries then return false end
  if #entries > 0 then
    context.use({ world.book }, shares, 0) -- what is in it is known, or changed by these very differences
    local bytes, problems = codec.encode_items(book, "state", entries)
    if not bytes or next(problems) or #bytes > math.max(LEAST_BYTES, #world.bytes / 2) then return false end
    for _, pair in ipairs(world.patched) do codec.renew(world.book, pair[2]) end
    if not world.change or world.change.bytes ~= bytes then
      world.change = { bytes = bytes, number = codec.number() }
    end
    world.change.book = book
  elseif world.change then
    return false
  end
  world.change_watch = codec.watch(book, list_of_changed(world)) or "none"
  return true
end

--- Do a world's differences go beyond values without objects: may modules have changed, or been loaded?
function M.has_objects(world)
  return not (world.change and world.change.plain) and (world.patched[1] ~= nil or world.has_modules)
end

local plain = { number = true, boolean = true, ["nil"] = true }

--- The globals that differ, where all have plain values. `names`: those that have changed just now.
--- Nil: there are others.
---@return table? plain with n: a name, its value, the next name, ...
local function plain_globals(world, names)
  for _, name in ipairs(names) do
    if not states.is_name(name) or needs_whole(world, name, rawget(_G, name)) then return nil end
  end
  local list, n = {}, 0
  for _, name in ipairs(names) do world.new_names[name] = true end
  for _, name in ipairs(sorted(world.new_names)) do
    local value = rawget(_G, name)
    if not plain[type(value)] then return nil end
    list[n + 1], list[n + 2] = name, value
    n = n + 2
  end
  list.n = n
  return list
end

--- The C data that differ, where nothing else in place does. Nil: there are others, or too many bytes.
---@return table? data a place, its bytes, the next place, ...
local function data_that_differ(world, shares)
  local list, bytes = {}, 0
  for _, pair in ipairs(world.patched) do
    local content = type(pair[1]) == "cdata" and content_of_data(pair[1], shares)
    if not content then return nil end
    list[#list + 1], list[#list + 2] = pair[2], content
    bytes = bytes + #content
  end
  return bytes <= LEAST_BYTES and list or nil
end

--- Notes the differences, where these are nothing but globals with plain values and bytes of C data: workers need
--- decode nothing anew for them. `names`: globals that have changed just now. Returns false where there are others.
local function note_plain(world, names, shares)
  if world.has_modules or world.change and not world.change.plain then return false end
  local data = data_that_differ(world, shares)
  local globals = data and plain_globals(world, names)
  if not globals then return false end
  for k = 1, #data, 2 do codec.renew(world.book, data[k]) end
  world.change = { plain = globals, data = data[1] and data, number = codec.number(), book = no_change }
  if data[1] then world.change_watch = codec.watch(no_change, list_of_changed(world)) or "none" end
  return true
end

--- Looks at the globals; returns the names of those that have changed, or nil where these can't be told.
local function look_at_globals(world)
  local names = codec.changed_fields(world.globals_watch, _G)
  if names == false then return {} end
  world.has_names = true
  if not names then world.globals_watch = codec.watch_fields(_G) or false end
  return names
end

--- Looks at the modules; returns whether some have changed. Those of parlua itself are loaded when they are needed.
local function look_at_modules(world)
  if codec.changes(world.modules_watch) == false then return false end
  world.modules_watch = codec.watch(no_change, { package.loaded })
  local is_changed = false
  for name, value in next, package.loaded do
    is_changed = is_changed or type(name) == "string" and not rawequal(world.modules[name], value)
      and states.is_module(name, value)
  end
  for name in next, world.modules do is_changed = is_changed or rawget(package.loaded, name) == nil end
  world.has_modules = world.has_modules or is_changed
  return is_changed
end

--- Has a world changed since it was looked at? Then its `change` is what it is now.
---@return "same"|"changed"|false how false: it must be sent as a whole
function M.look(world, shares)
  local changed, again = codec.changes(world.watch), false
  if world.change_watch == "none" then
    again = true
  elseif world.change_watch then
    again = codec.changes(world.change_watch)
  end
  if changed == nil or again == nil or not world.globals_watch then return false end
  local has_changed, names = look_at_modules(world), look_at_globals(world)
  if not changed and not again and not has_changed and names and not names[1] then return "same" end
  if changed and not add(world, changed) then return false end
  if names and not has_changed and note_plain(world, names, shares) then return "changed" end
  return encode(world, shares) and "changed"
end

return M
