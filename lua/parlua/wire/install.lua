--- Puts a worker's state in order: what world.lua has sent is put in place before a job, or a single call, is decoded.
local absent = require "parlua.lazy" "parlua.wire.absent"
local codec = require "parlua.codec"
local context = require "parlua.wire.context"
local kinds = require "parlua.wire.entries"
local lazily = require "parlua.lazy" "parlua.wire.lazily"
local makers = require "parlua.lazy" "parlua.wire.makers"
local patch = require "parlua.lazy" "parlua.wire.patch"
local record = require "parlua.wire.record"
local start = require "parlua.wire.start"
local states = require "parlua.lazy" "parlua.wire.state"
local surroundings = require "parlua.lazy" "parlua.wire.surroundings"
local task = require "parlua.task"

require("jit").off(true, true)

local M = {}

local MODULE, PRELOAD, LOADERS, LIBRARY, METATABLE = kinds.MODULE, kinds.PRELOAD, kinds.LOADERS, kinds.LIBRARY,
  kinds.METATABLE
local METATYPE, GLOBAL, REMOVED, SETTINGS = kinds.METATYPE, kinds.GLOBAL, kinds.REMOVED, kinds.SETTINGS
local basic = kinds.basic

local required_here = {} -- modules that were required in this state, as something in them can't be sent
local in_place = { modules = {}, globals = {}, preload = {}, libraries = {}, metatables = {} }
local no_change = codec.book()
local version, whole -- of the paths, declarations and so on that are in place; their message
local id, book -- number of the state that is in place as a whole, and its objects
local change, change_book = nil, no_change -- number of the differences that were made to it since, and their objects
local applied = { declarations = 0, libraries = 0, options = 0 }

--- Declares what the script has declared, where that was not done before.
function M.declare(list)
  for i = applied.declarations + 1, #list do
    local declaration = list[i]
    if type(declaration) == "string" then
      pcall(record.cdef, declaration)
      record.known[declaration] = true
    else
      pcall(function() record.cdef(codec.decode(declaration[1])) end)
    end
  end
  applied.declarations = math.max(applied.declarations, #list)
end

--- Takes back what was put in place before and is not among what came now: `now` and `before` have the names as keys.
local function take_back(into, before, now, first)
  for name in next, before do
    if not now[name] then rawset(into, name, first[name]) end
  end
end

local function library_of(name)
  if name == "_G" then return _G end
  if not start.values[name] then start.complete() end
  return start.values[name]
end

--- Puts what is taken back at each state's start in order, before the libraries are changed again.
local function restore_libraries()
  for _, place in ipairs(in_place.libraries) do
    library_of(place[1])[place[2]] = (place[1] == "_G" and start.globals or start.libraries[place[1]])[place[2]]
  end
  for name in next, in_place.metatables do
    if name == "_G" then
      debug.setmetatable(_G, nil)
    elseif name ~= "string" then
      debug.setmetatable(basic[name][1], nil)
    end
  end
  debug.setmetatable("", start.string_meta)
  for key in next, start.string_meta do start.string_meta[key] = start.string_fields[key] end
end

local function install(state)
  local now = { modules = {}, globals = {}, preload = {}, libraries = {}, metatables = {} }
  local loaders
  restore_libraries()
  for _, entry in next, state do -- one that could not cross is not there
    local kind, name, value = entry[1], entry[2], entry[3]
    if kind == MODULE then
      package.loaded[name], now.modules[name] = value, true
    elseif kind == PRELOAD then
      package.preload[name], now.preload[name] = value, true
    elseif kind == LOADERS then
      loaders = loaders or {}
      loaders[name] = value
    elseif kind == LIBRARY then
      rawset(library_of(name), value, entry[4])
      table.insert(now.libraries, { name, value })
    elseif kind == REMOVED then
      rawset(library_of(name), value, nil)
      table.insert(now.libraries, { name, value })
    elseif kind == METATYPE then
      pcall(record.metatype, name, value)
    elseif kind == GLOBAL then
      rawset(_G, name, value)
      now.globals[name] = true
    elseif kind == SETTINGS and value[1] then
      makers.set_modules(value)
    end
  end
  take_back(package.loaded, in_place.modules, now.modules, start.values)
  take_back(package.preload, in_place.preload, now.preload, start.preload)
  take_back(_G, in_place.globals, now.globals, start.globals)
  loaders = loaders or start.loaders
  for i = 1, math.max(#package.loaders, #loaders) do package.loaders[i] = loaders[i] end
  for _, entry in next, state do -- at the end: from here on they have their say
    if entry[1] == METATABLE then
      local name, value = entry[2], entry[3]
      now.metatables[name] = true
      if entry[4] then
        for key, field in next, value do start.string_meta[key] = field end
        for key in next, start.string_meta do
          if value[key] == nil then start.string_meta[key] = nil end
        end
      elseif name == "_G" then
        debug.setmetatable(_G, value)
      else
        debug.setmetatable(basic[name][1], value)
      end
    end
  end
  in_place = now
  codec.forget_names()
end

-- ---- What the script could not send ----

local unsent = {}                            -- global -> why the script could not send it
local own_meta, of_script = {}, nil          -- the metatable of _G where it had none; the __index that it had
local brought = false                        -- unsent globals that functions brought along: name -> value
local unsent_modules, module_meta = {}, {}   -- module -> why; the metatable of package.loaded
local is_loading = {}

--- An error is raised where a global is read that the script could not send; but a function that also sets the global
--- makes its own.
local function read_global(globals, name)
  local why = unsent[name]
  if why and not lazily.fills_global(debug.getinfo(2, "f").func, name) then error(why, 2) end
  if type(of_script) == "function" then return of_script(globals, name) end
  return of_script and of_script[name]
end

own_meta.__index = read_global

--- Sees to it that read_global is asked.
local function ask_read_global()
  local meta = debug.getmetatable(_G)
  if next(unsent) == nil then
    if meta == own_meta then
      debug.setmetatable(_G, nil)
    elseif meta and rawget(meta, "__index") == read_global then
      rawset(meta, "__index", of_script)
    end
    of_script = nil
  elseif meta == nil then
    debug.setmetatable(_G, own_meta)
  elseif rawget(meta, "__index") ~= read_global then
    of_script = rawget(meta, "__index")
    rawset(meta, "__index", read_global)
  end
end

local function tell_of_unsent(list)
  unsent = {}
  for _, pair in ipairs(list) do unsent[pair[1]] = pair[2] end
  ask_read_global()
end

--- A module that could not be sent is loaded where it is asked for; else why it was not sent is told.
function module_meta.__index(_, name)
  local why = unsent_modules[name]
  if not why or is_loading[name] then return nil end
  is_loading[name] = true
  local ok, value = pcall(start.globals.require, name)
  is_loading[name] = nil
  if ok then return value end
  error(("%s; nor can it be loaded here: %s"):format(why, tostring(value)), 2)
end

local function tell_of_modules(list)
  unsent_modules = {}
  for _, pair in ipairs(list) do unsent_modules[pair[1]] = pair[2] end
  local meta = debug.getmetatable(package.loaded)
  if meta == nil and list[1] then
    debug.setmetatable(package.loaded, module_meta)
  elseif meta == module_meta and not list[1] then
    debug.setmetatable(package.loaded, nil)
  end
end

--- Puts others in the place of the large globals that functions have brought along: each is there only for those that
--- name it.
---@param globals table|false
function M.exchange(globals)
  if globals == brought then return end
  for name, value in next, brought or {} do
    if rawequal(rawget(_G, name), value) then rawset(_G, name, nil) end
  end
  for name, value in next, globals or {} do rawset(_G, name, value) end
  brought = globals
end

--- The unsent globals that decode(...) brings along are there from then on.
---@return table|false globals for `exchange`
---@return any result of decode
function M.bring_along(decode, ...)
  M.exchange(false)
  if next(unsent) == nil then return false, decode(...) end
  local before = {}
  for name in next, unsent do before[name] = rawget(_G, name) end
  local result = decode(...)
  local globals = false
  for name in next, unsent do
    local value = rawget(_G, name)
    if value ~= nil and not rawequal(value, before[name]) then
      globals = globals or {}
      globals[name] = value
    end
  end
  brought = globals
  return globals, result
end

local compiles, output = true, nil -- is the compiler on; the file that io.output was set to

local first     -- what came with the job
local present   -- number of the state in place
local inherited -- in a forked worker: the books of its job

--- What a forked worker has in place, as `install` notes it.
local function inventory()
  local found = { modules = {}, globals = {}, preload = {}, libraries = {}, metatables = {} }
  local lists = { [MODULE] = found.modules, [PRELOAD] = found.preload, [GLOBAL] = found.globals,
                  [METATABLE] = found.metatables }
  for _, entry in ipairs(states.collect({})) do
    local names = lists[entry[1]]
    if names then
      names[entry[2]] = true
    elseif entry[1] == LIBRARY or entry[1] == REMOVED then
      table.insert(found.libraries, { entry[2], entry[3] })
    end
  end
  for name, value in next, _G do
    if states.too_large[value] then found.globals[name] = true end
  end
  return found
end

--- Puts in place what came first.
local function apply_first(before)
  package.path, package.cpath = before.path, before.cpath
  if before.environment then surroundings.set(before) end
  for i = applied.libraries + 1, #before.libraries do pcall(start.libraries.ffi.load, before.libraries[i], true) end
  applied.libraries = #before.libraries
  M.declare(before.declarations)
  for i = applied.options + 1, #before.options do
    pcall(start.libraries["jit.opt"].start, unpack(before.options[i], 1, before.options[i].n))
  end
  applied.options = #before.options
  if before.off == compiles then
    compiles = not before.off
    if compiles then jit.on() else jit.off() end
  end
  M.exchange(false)
  if id ~= before.id then
    id, change, change_book = nil, nil, no_change
    if package.loaded["parlua.wire.absent"] then absent.forget() end
    -- those of required modules are needed before the state, in which they are with all that they share
    for name, bytes in next, before.preload do package.preload[name] = codec.decode(bytes) end
    for _, name in ipairs(before.modules) do
      -- what came whole until now has only the script's values, none that requiring it makes here
      if in_place.modules[name] and not required_here[name] then package.loaded[name] = nil end
      required_here[name] = true
      pcall(start.globals.require, name)
    end
    local fresh = codec.book()
    context.use(nil, false)
    local state, left_out = codec.decode_items(fresh, before.state), before.left_out
    if left_out.parts[1] then absent.complete(state, left_out.parts) end
    install(state)
    of_script = nil
    tell_of_modules(left_out.modules)
    id, book = before.id, fresh
  end
  tell_of_unsent(before.left_out.globals)
  collectgarbage("setpause", before.pause)
  collectgarbage("setstepmul", before.multiplier)
  if before.output ~= output then surroundings.set_output(before.output) end
  output = before.output
end

local is_plain_change -- no object has come with the differences: globals and objects in place have plain values

--- Makes differences to the state that is in place.
local function apply_change(bytes)
  local fresh = codec.book()
  context.use({ book }, false)
  is_plain_change = true
  for _, entry in ipairs(codec.decode_items(fresh, bytes)) do
    local kind, name, value = entry[1], entry[2], entry[3]
    if kind == kinds.PATCH then
      is_plain_change = is_plain_change and patch.is_plain(book, name, value, entry[4], entry[5])
      patch.apply(book, name, value, entry[4], entry[5])
    elseif kind == MODULE then
      is_plain_change = false
      package.loaded[name], in_place.modules[name] = value, true
    elseif kind == GLOBAL then
      is_plain_change = is_plain_change and patch.plain[type(value)] or false
      rawset(_G, name, value)
      in_place.globals[name] = true
    elseif kind == kinds.GONE then
      rawset(_G, name, nil)
    end
  end
  change_book = fresh
  ask_read_global() -- what has changed may be the metatable of _G
  codec.forget_names()
end

--- The same for differences that are nothing but globals with plain values, and bytes of C data.
local function apply_plain(list, data)
  for at = 1, list.n, 2 do
    local name, value = list[at], list[at + 1]
    rawset(_G, name, value)
    in_place.globals[name] = value ~= nil or in_place.globals[name]
  end
  for at = 1, data and #data or 0, 2 do patch.apply(book, data[at], data[at + 1]) end
  change_book, is_plain_change = no_change, true
end

--- Puts a worker's state in order.
local function apply(before)
  if version ~= before.version then
    if not before.first then error("the script's state is not the one that a call's differences are from", 0) end
    version = nil
    apply_first(codec.decode(before.first))
    version, whole = before.version, before.first
  end
  if change and change > (before.number or 0) and whole then -- an older call, which is tried again, say
    id = nil
    apply_first(codec.decode(whole))
  end
  if (before.change or before.plain) and change ~= before.number then
    change = nil
    if before.plain then apply_plain(before.plain, before.data) else apply_change(before.change) end
    change = before.number
  end
end

--- A forked worker has its state from the script, and the books that the script had of it.
local function begin_inherited()
  inherited = context.base
  in_place = inventory()
  local world = require("parlua.wire.world").of_fork()
  if world then
    version, id, book = world.version, world.number, world.book
    for name in (world.required or ""):gmatch "%S+" do required_here[name] = true end
    if world.environment then surroundings.are_set(world.environment) end
    for _, pair in ipairs(world.not_inherited) do rawset(_G, pair[1], nil) end
    tell_of_unsent(world.not_inherited)
  end
end

--- In a forked worker that stays: what the script had is in place, and no job's books are of use.
function M.inherit()
  context.base = {}
  begin_inherited()
end

--- Puts a worker's state in order for the job that follows; returns the books of what came with it.
---@param before table as `prepare` has encoded it, without the whole
---@param read_whole fun(): string
---@return userdata state
---@return userdata change
---@return boolean is_plain the second has no objects: what refers to the first alone needs no more to be done
function M.apply(before, read_whole)
  before.first = version == before.version and whole or read_whole()
  apply(before)
  whole = before.first
  first, present = before, nil
  return book, change_book, change_book == no_change or is_plain_change
end

--- The same for one call: the state of such a number. Returns whether another was in place, or another job has come.
---@param number number
---@param newer string|false what `prepare` has encoded; false: what came with the job, or was inherited
function M.bring(number, newer)
  if present == number then return false end
  if not newer and first and not present then
    present = number
    return true
  end
  if not first and not inherited then begin_inherited() end
  if newer or first then
    local kept = task.set_up or {} -- globals of the worker's own
    local values = task.globals(kept)
    apply(newer and codec.decode(newer) or first)
    task.restore_globals(kept, values)
    local walk = inherited and inherited[1]
    context.base = walk and { walk, book, change_book } or { book, change_book, first and context.base[3] or nil }
  else
    context.base = inherited
  end
  present = number
  return true
end

return M
