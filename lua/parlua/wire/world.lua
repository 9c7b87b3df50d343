--- What a script has made of its state, for workers that have one of their own: its modules with what is in them, its
--- globals, what it changed in the libraries and the metatables of basic types, declarations of the FFI, options of
--- LuaJIT. It is found by comparing with what every state has at its beginning (start.lua), sent once, and put in
--- place in the worker before the job is decoded (install.lua). What changes afterwards is sent as differences from
--- that (difference.lua).
--
-- What of it can't cross (a global that is an open file) is left out. A function that names it says so when it is sent
-- itself; any other that comes to it in a worker, as a module's, gets an error that says so (install.lua, absent.lua).
local absent = require "parlua.lazy" "parlua.wire.absent"
local codec = require "parlua.codec"
local context = require "parlua.wire.context"
local difference = require "parlua.lazy" "parlua.wire.difference"
local kinds = require "parlua.wire.entries"
local makers = require "parlua.wire.makers"
local reached = require "parlua.wire.reached"
local record = require "parlua.wire.record"
local start = require "parlua.wire.start"
local states = require "parlua.wire.state"

require("jit").off(true, true)

local concat = start.libraries.table.concat

local M = {}

local is_module = states.is_module

--- Declarations as they can be sent before anything else: one with types for its `$` as bytes of its own.
local function declarations()
  local list = {}
  for i, declaration in ipairs(record.declarations) do
    if type(declaration) == "string" then
      list[i] = declaration
    else
      list[i] = { codec.encode_as("declaration", unpack(declaration)) }
    end
  end
  return list
end

local function output_path()
  local ok, file = pcall(io.output)
  if not ok or file == start.values.io.stdout or file == start.libraries.io.stdout then return nil end
  if io.type(file) ~= "file" then return nil end
  file:flush()
  return codec.file_path(file)
end

local plain_output, plain_file = start.libraries.io.output, start.libraries.io.stdout
local worlds = {} -- the last, with memory shared or not

local no_settings = {}

--- What is no memory of Lua's, as one string: settings of C modules, the file of io.output, whether the compiler is on.
--- `world`: what was prepared last.
local function others(world)
  local path = output_path()
  if world and not path and not world.has_path and world.is_off == record.is_off and makers.have(world.settings) then
    return world.told, world.all_settings
  end
  local settings = makers.has_modules() and makers.of_modules() or no_settings
  if not settings[1] and not path then return record.is_off, settings, path end
  local bytes = codec.encode(settings, path, record.is_off)
  return bytes, settings, path
end

--- What is said of a global that an entry of the state could not bring along.
local function why_not_sent(name, problem)
  if problem == "too large" then
    return ("global '%s' is not in this worker: it takes more than 1 MB, and only goes along with functions that name "
      .. "it; give it to the task as an argument, or let the function hold it in a local"):format(tostring(name))
  end
  return absent.why(("global '%s'"):format(tostring(name)), problem)
end

--- Globals that workers do not have, in an order of names: { name, message }.
local function unsent_of(state, problems)
  local list = {}
  for i, problem in next, problems do
    if state[i][1] == kinds.GLOBAL then
      list[#list + 1] = { state[i][2], why_not_sent(state[i][2], problem) }
    end
  end
  for name, value in next, _G do
    if states.is_name(name) and states.too_large[value] and not rawequal(start.globals[name], value) then
      list[#list + 1] = { name, why_not_sent(name, "too large") }
    end
  end
  table.sort(list, function(one, other) return states.is_before(one[1], other[1]) end)
  return list
end

--- The same for modules, which a worker may still load by itself.
local function unsent_modules(state, problems)
  local list = {}
  for i, problem in next, problems do
    if state[i][1] == kinds.MODULE then
      list[#list + 1] = { state[i][2], absent.why(absent.title_of(state[i]), problem) }
    end
  end
  for name, value in next, package.loaded do
    if type(name) == "string" and states.too_large[value] and not rawequal(value, _G) then
      list[#list + 1] = { name, absent.why(("module '%s'"):format(name), "too large") }
    end
  end
  table.sort(list, function(one, other) return one[1] < other[1] end)
  return list
end

--- Leaves out of the entries for libraries, metatables and the like what can't be sent. Returns whether there was any.
local function reduce(state, problems, missing)
  local is_reduced = false
  for i, problem in next, problems do
    local kind = state[i][1]
    if kind ~= kinds.GLOBAL and kind ~= kinds.MODULE then
      state[i] = absent.reduce(state[i], problem, i, missing)
      is_reduced = true
    end
  end
  return is_reduced
end

--- The state, encoded.
---@return string bytes, userdata book
---@return table left_out what is not in it: `globals`, `modules` (see unsent_of), and parts (absent.lua)
local function encode_state(shares, settings)
  local state, missing = states.collect(settings), {}
  local bytes, problems, book
  repeat
    book = codec.book()
    context.use(nil, shares)
    bytes, problems = codec.encode_items(book, "state", state)
    if not bytes then error(problems, 0) end
    for i, problem in next, problems do
      local kind, value = state[i][1], state[i][3]
      if problem == "too large" and (kind == kinds.GLOBAL or kind == kinds.MODULE) and type(value) ~= "string" then
        states.too_large[value] = true
      end
    end
  until next(problems) == nil or not reduce(state, problems, missing)
  return bytes, book, { globals = unsent_of(state, problems), modules = unsent_modules(state, problems),
                        parts = missing }
end

local no_change = states.no_change

--- Of globals that could not be sent, those that a copy of this process can't go on with, as nobody would see that they
--- have changed since; the others lead to what is added to `watched`, and is a key in `inherited`.
local function not_inherited(unsent, watched, inherited)
  local list = {}
  for _, pair in ipairs(unsent) do
    local value = rawget(_G, pair[1])
    local objects = not states.too_large[value] and reached(value)
    if objects then
      for _, object in ipairs(objects) do watched[#watched + 1], inherited[object] = object, true end
    else
      list[#list + 1] = pair
    end
  end
  return list
end

--- The whole state, anew.
local function begin_world(key, shares, told, settings)
  local world = worlds[key]
  local bytes, book, left_out = encode_state(shares, settings)
  -- else workers that have it need nothing, unless they have inherited what could not be sent and may have changed
  if not world or world.bytes ~= bytes or world.change or world.is_stale then
    world = { bytes = bytes, number = codec.number() }
    worlds[key] = world
  end
  world.book, world.chain, world.told, world.left_out = book, { book, no_change }, told, left_out
  local watched = states.watched()
  world.inherited, world.is_stale = {}, false
  world.not_inherited = key == "own" and not_inherited(left_out.globals, watched, world.inherited) or left_out.globals
  world.unsent = {}
  for _, pair in ipairs(left_out.globals) do world.unsent[pair[1]] = true end
  world.watch = codec.watch(book, watched)
  states.note(world, watched)
  return world
end

--- Is there a function of C in a table, but none of LuaJIT's?
local function has_c_function(module)
  local util = start.libraries["jit.util"]
  for _, value in next, module do
    if type(value) == "function" then
      local info = util.funcinfo(value)
      if info.addr and not info.ffid then return true end
    end
  end
  return false
end

--- Names of the modules that workers require before anything is put in place: something in them can't cross; or they
--- are modules of C to which others have added (their table has two names, as `_cqueues` and `cqueues`), perhaps where
--- nobody sees it: methods of its objects. One may have put functions of its own into another (cqueues.socket into
--- _cqueues.socket).
local function required()
  local set, names, seen = codec.required(), {}, {}
  for name, value in next, package.loaded do
    if type(name) == "string" and states.is_module(name, value) then
      local first = type(value) == "table" and seen[value]
      if set[value] then
        names[#names + 1] = name
      elseif first == nil then
        seen[value] = name
      elseif first and has_c_function(value) then
        names[#names + 1], names[#names + 2] = name, first ~= true and first or nil
        seen[value] = true
      end
    end
  end
  table.sort(names)
  return names
end

--- The functions in package.preload, as bytes, that make modules of these names.
local function preload_of(names)
  local list = {}
  for _, name in ipairs(names) do
    local f = rawget(package.preload, name)
    if type(f) == "function" and start.preload[name] ~= f then list[name] = codec.encode_as("preload", f) or nil end
  end
  return list
end

--- What every worker is to have first, as bytes: paths, declarations, the state as a whole.
local function first_of(world, path, has_own_surroundings)
  local text = { path = package.path, cpath = package.cpath, id = world.number, state = world.bytes,
                 declarations = declarations(), libraries = record.libraries, options = record.options,
                 off = record.is_off, output = path, modules = required(), pause = world.pause,
                 multiplier = world.multiplier, left_out = world.left_out }
  world.required = concat(text.modules, " ")
  context.use(nil, false)
  text.preload = preload_of(text.modules)
  if has_own_surroundings then
    text.directory, text.environment, text.locale = codec.directory(), codec.environment(), os.setlocale(nil)
    text.umask = codec.umask()
    world.environment = text.environment
  end
  local first, problem = codec.encode_as("", text)
  if not first then error(problem, 0) end
  return first
end

--- The message of a state: which it is, and its differences from the whole. With `first` it is complete; else workers
--- have had that, or it comes beside the message.
local function message_of(world, first)
  local change = world.change
  context.use(nil, false)
  return (assert(codec.encode_as("", { version = world.version, first = first, change = change and change.bytes,
                                       plain = change and change.plain, data = change and change.data,
                                       number = change and change.number })))
end

--- What workers of a run are to have before they decode its job.
---@param shares boolean they have this process's memory
---@param distant boolean they are processes of their own, which were there before the script
---@param lasts? boolean they are copies of this process that stay: directory, environment, locale and umask may
--- change since
---@return {before: string, id: number, version: number, book: userdata, chain: table} the same `id`: the same in all;
--- the same `version`: the same but for differences (M.complete has all); chain: the books of the state
function M.prepare(shares, distant, lasts)
  start.complete()
  local key = shares and "shares" or distant and "distant" or "own"
  local world = worlds[key]
  local told, settings, path = others(world)
  local how = world and world.watch and world.told == told and difference.look(world, shares)
  if how and how ~= "same" and difference.has_objects(world) and concat(required(), " ") ~= world.required then
    how = nil -- one was loaded since
  end
  if not how then world = begin_world(key, shares, told, settings) end
  world.is_off, world.has_path = record.is_off, path ~= nil
  world.settings, world.all_settings = makers.number, settings
  local pause, multiplier = codec.collector()
  local is_paced = world.pause == pause and world.multiplier == multiplier
  world.pause, world.multiplier = pause, multiplier
  local surroundings = lasts and codec.surroundings() or world.surroundings
  local is_there = world.surroundings == surroundings
  world.surroundings = surroundings
  if how == "same" and is_paced and is_there and not distant then return world end
  if not how or not is_paced or not is_there or distant then
    local first = first_of(world, path, distant or lasts)
    if first ~= world.first then world.first, world.version, world.before = first, codec.number(), false end
  end
  local change = world.change
  if not world.before or world.told_change ~= (change and change.number) then
    world.before, world.id, world.complete = message_of(world, nil), codec.number(), false
    world.told_change = change and change.number
  end
  world.chain[2] = change and change.book or no_change
  return world
end

--- The state as it was prepared last, if it can be told at once that nothing of it has changed; else nil.
---@param shares boolean
---@param distant boolean
---@param lasts? boolean
---@return table?
function M.unchanged(shares, distant, lasts)
  local world = worlds[shares and "shares" or "own"]
  if distant or not world or not world.watch or world.change_watch == "none" or world.is_off ~= record.is_off
    or world.has_path or makers.has_modules() and not makers.have(world.settings) then
    return nil
  end
  if lasts and world.surroundings ~= codec.surroundings() then return nil end
  local pause, multiplier = codec.collector()
  if pause == world.pause and multiplier == world.multiplier
    and (not world.change_watch or codec.is_unchanged(world.change_watch)) and world.globals_watch
    and codec.is_unchanged(world.globals_watch, world.modules_watch, world.watch)
    and codec.is_output(plain_output, plain_file) then
    return world
  end
end
jit.on(M.unchanged)

--- The message for workers that may have had none of the state's `version`.
function M.complete(world)
  world.complete = world.complete or message_of(world, world.first)
  return world.complete
end

--- In a worker that was forked: the state as it was prepared last before that.
function M.of_fork() return worlds.own end

--- Values from which a worker that is forked is looked at, nearest first: the job, what the script's running
--- functions hold, modules, globals.
function M.roots(job)
  start.complete()
  local roots = { job.f, job.setup, job.fold, job.source and (job.source.items or job.source) }
  local list = {}
  for i = 1, 4 do
    if roots[i] ~= nil then list[#list + 1] = roots[i] end
  end
  local level = 2
  while true do
    local info = debug.getinfo(level, "Sf")
    if not info then break end
    if info.source:sub(1, 7) ~= "=parlua" and info.what ~= "C" then
      list[#list + 1] = info.func
      local at = 1
      local name, value = debug.getlocal(level, at)
      while name do
        if type(value) == "table" or type(value) == "function" then list[#list + 1] = value end
        at = at + 1
        name, value = debug.getlocal(level, at)
      end
    end
    level = level + 1
  end
  for name, value in next, package.loaded do
    if type(name) == "string" and is_module(name, value) then list[#list + 1] = value end
  end
  for name, value in next, _G do
    if not rawequal(start.globals[name], value) then list[#list + 1] = value end
  end
  return list
end

return M
