--- What a script has made of its state, for workers that have one of their own: its modules with what is in them, its
--- globals, what it changed in the libraries and the metatables of basic types, declarations of the FFI, options of
--- LuaJIT. It is found by comparing with what every state has at its beginning (start.lua), sent once, and put in
--- place in the worker before the job is decoded.
--
-- What of it can't cross (a global that is an open file) is left out: a function that names it says so when it is
-- sent itself.
local codec = require "parlua.codec"
local context = require "parlua.wire.context"
local makers = require "parlua.wire.makers"
local record = require "parlua.wire.record"
local start = require "parlua.wire.start"

require("jit").off(true, true)

local M = {}

-- ---- In the script's state ----

-- The state is a list of entries: { kind, name, value }, modules first: what belongs to a module is then found there.
local MODULE, PRELOAD, LOADERS, LIBRARY, METATABLE, METATYPE, GLOBAL, REMOVED, SETTINGS = 1, 2, 3, 4, 5, 6, 7, 8, 9

--- Adds names and values of a table that `accept(key, value)` accepts, sorted by name.
local function add(state, kind, from, accept)
  local names = {}
  for key, value in next, from do
    if type(key) == "string" and accept(key, value) then names[#names + 1] = key end
  end
  table.sort(names)
  for _, name in ipairs(names) do state[#state + 1] = { kind, name, from[name] } end
end

-- Modules and globals that take more than 1 MB to send. They are not sent with every call: a function that names the
-- global takes it along, a module is required anew in the worker.
local too_large = setmetatable({}, { __mode = "k" })

local function is_module(name, value)
  if too_large[value] then return false end
  if name == "parlua" or name:sub(1, 7) == "parlua." or start.is_library(name) then return false end
  return value ~= _G and (type(value) ~= "userdata" or debug.getmetatable(value) ~= nil)
end

local function add_libraries(state)
  for name, library in next, start.values do
    if type(library) == "table" and name ~= "package" and name ~= "metatable of strings" then
      local was = start.libraries[name]
      for key, value in next, library do
        if not rawequal(was[key], value) and value == value then state[#state + 1] = { LIBRARY, name, key, value } end
      end
      for key in next, was do
        if rawget(library, key) == nil then state[#state + 1] = { REMOVED, name, key } end
      end
    end
  end
  for name in next, start.globals do
    if rawget(_G, name) == nil then state[#state + 1] = { REMOVED, "_G", name } end
  end
end

local basic = { ["nil"] = { n = 1 }, boolean = { true, n = 1 }, number = { 0, n = 1 }, string = { "", n = 1 },
                ["function"] = { print, n = 1 }, thread = { coroutine.create(print), n = 1 } }

--- Do the fields of a table differ from those in a copy of it?
local function differs(fields, copy)
  for key, value in next, fields do
    if not rawequal(copy[key], value) then return true end
  end
  for key in next, copy do
    if rawget(fields, key) == nil then return true end
  end
  return false
end

--- Fields that a script has put into `package`.
local function add_package(state)
  for key, value in next, package do
    if start.libraries.package[key] == nil then state[#state + 1] = { LIBRARY, "package", key, value } end
  end
end

local function add_metatables(state)
  for name, sample in next, basic do
    local meta = debug.getmetatable(sample[1])
    if name == "string" and meta == start.string_meta then
      if differs(meta, start.string_fields) then
        local fields = {}
        for key, value in next, meta do fields[key] = value end
        state[#state + 1] = { METATABLE, name, fields, true }
      end
    elseif meta ~= nil or name == "string" then
      state[#state + 1] = { METATABLE, name, meta }
    end
  end
  local meta = debug.getmetatable(_G)
  if meta ~= nil then state[#state + 1] = { METATABLE, "_G", meta } end
end

--- The state as entries.
local function collect(settings)
  local state = {}
  add(state, MODULE, package.loaded, is_module)
  add(state, PRELOAD, package.preload, function(name, value) return start.preload[name] ~= value end)
  if differs(package.loaders, start.loaders) then
    local loaders = {}
    for i, loader in ipairs(package.loaders) do loaders[i] = loader end
    state[#state + 1] = { LOADERS, "loaders", loaders }
  end
  add_libraries(state)
  add_package(state)
  add_metatables(state)
  for _, entry in ipairs(record.metatypes) do state[#state + 1] = { METATYPE, entry[1], entry[2] } end
  add(state, GLOBAL, _G, function(name, value)
    return not rawequal(start.globals[name], value) and not too_large[value]
  end)
  state[#state + 1] = { SETTINGS, "settings", settings }
  return state
end

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

local worlds = {} -- the last, with memory shared or not

--- Tables that are no object of a book, and whose change is a change of the state.
local function watched()
  local list = { _G, package, package.loaded, package.preload, package.loaders, start.string_meta, record.declarations,
                 record.metatypes, record.libraries, record.options }
  for name, library in next, start.values do
    if type(library) == "table" and name ~= "_G" then list[#list + 1] = library end
  end
  return list
end

--- What is no memory of Lua's, as one string: settings of C modules, the file of io.output, whether the compiler is on.
local function others()
  local settings = makers.of_modules()
  local path = output_path()
  if not settings[1] and not path then return record.is_off, settings, path end
  local bytes = codec.encode(settings, path, record.is_off)
  return bytes, settings, path
end

--- The state, encoded.
local function encode_state(shares, settings)
  local state, book = collect(settings), codec.book()
  context.use(nil, shares)
  local bytes, problems = codec.encode_items(book, "state", state)
  if not bytes then error(problems, 0) end
  for i, problem in next, problems do
    if problem == "too large" and type(state[i][3]) ~= "string" then too_large[state[i][3]] = true end
  end
  return bytes, book
end

--- What workers of a run are to have before they decode its job.
---@param shares boolean they have this process's memory
---@param distant boolean they are processes of their own, which were there before the script
---@return {before: string, id: number, book: userdata, chain: table} the same `id`: the same in all
function M.prepare(shares, distant)
  start.complete()
  local key = shares and "shares" or distant and "distant" or "own"
  local world = worlds[key]
  local told, settings, path = others()
  local same = world and world.watch and world.told == told and codec.unchanged(world.watch)
  if same and not distant then return world end
  if not same then
    local bytes, book = encode_state(shares, settings)
    if not world or world.bytes ~= bytes then
      world = { bytes = bytes, number = codec.number() }
      worlds[key] = world
    end
    world.book, world.chain, world.told, world.watch = book, { book }, told, codec.watch(book, watched())
  end
  local text = { path = package.path, cpath = package.cpath, id = world.number, state = world.bytes,
                 declarations = declarations(), libraries = record.libraries, options = record.options,
                 off = record.is_off, output = path }
  if distant then
    text.directory, text.environment, text.locale = codec.directory(), codec.environment(), os.setlocale(nil)
  end
  context.use(nil, shares)
  local before, problem = codec.encode_as("", text)
  if not before then error(problem, 0) end
  if before ~= world.before then world.before, world.id = before, codec.number() end
  return world
end

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
    if info.source:sub(1, 8) ~= "=parlua/" and info.what ~= "C" then
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

-- ---- In the worker ----

local in_place = { modules = {}, globals = {}, preload = {}, libraries = {}, metatables = {} }
local id, book
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

local function set_environment(environment)
  for name, value in next, environment do codec.set_environment(name, value or nil) end
end

local output

local function set_output(path)
  if path == output then return end
  output = path
  if not path then
    io.output(io.stdout)
    return
  end
  local file, problem = io.open(path, "a")
  if not file then error(("io.output is a file that a worker cannot open: %s"):format(problem), 0) end
  file:setvbuf("no")
  io.output(file)
end

--- Takes back what was put in place before and is not among what came now: `now` and `before` have the names as keys.
local function take_back(into, before, now, first)
  for name in next, before do
    if not now[name] then rawset(into, name, first[name]) end
  end
end

local function library_of(name) return name == "_G" and _G or start.values[name] end

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
  local loaders = start.loaders
  restore_libraries()
  for _, entry in next, state do -- one that could not cross is not there
    local kind, name, value = entry[1], entry[2], entry[3]
    if kind == MODULE then
      package.loaded[name], now.modules[name] = value, true
    elseif kind == PRELOAD then
      package.preload[name], now.preload[name] = value, true
    elseif kind == LOADERS then
      loaders = value
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
    elseif kind == SETTINGS then
      makers.set_modules(value)
    end
  end
  take_back(package.loaded, in_place.modules, now.modules, start.values)
  take_back(package.preload, in_place.preload, now.preload, start.preload)
  take_back(_G, in_place.globals, now.globals, start.globals)
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

local compiles = true

local first     -- what came with the job
local present   -- number of the state in place
local inherited -- in a forked worker: the books of its job

--- What a forked worker has in place, as `install` notes it.
local function inventory()
  local found = { modules = {}, globals = {}, preload = {}, libraries = {}, metatables = {} }
  local kinds = { [MODULE] = found.modules, [PRELOAD] = found.preload, [GLOBAL] = found.globals,
                  [METATABLE] = found.metatables }
  for _, entry in ipairs(collect({})) do
    local names = kinds[entry[1]]
    if names then
      names[entry[2]] = true
    elseif entry[1] == LIBRARY or entry[1] == REMOVED then
      table.insert(found.libraries, { entry[2], entry[3] })
    end
  end
  return found
end

--- Puts a worker's state in order.
local function apply(before)
  start.complete()
  package.path, package.cpath = before.path, before.cpath
  if before.environment then set_environment(before.environment) end
  if before.directory then codec.set_directory(before.directory) end
  if before.locale then os.setlocale(before.locale) end
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
  if id ~= before.id then
    id = nil
    local fresh = codec.book()
    context.use(nil, false)
    install(codec.decode_items(fresh, before.state))
    id, book = before.id, fresh
  end
  if before.output ~= output then set_output(before.output) end
end

--- Puts a worker's state in order for the job that follows; returns the book of what came with it.
---@param before table as `prepare` has encoded it
function M.apply(before)
  apply(before)
  first, present = before, nil
  return book
end

--- The same for one call: the state of such a number. Returns whether another was in place.
---@param number number
---@param newer string|false what `prepare` has encoded; false: what came with the job, or was inherited
function M.bring(number, newer)
  if present == number then return false end
  if not newer and first and not present then
    present = number
    return false
  end
  if not first and not inherited then
    inherited = context.base
    in_place = inventory()
  end
  if newer or first then
    local kept, values = package.loaded["parlua.worker.task"].set_up or {}, {} -- globals of the worker's own
    for k, name in ipairs(kept) do values[k] = rawget(_G, name) end
    apply(newer and codec.decode(newer) or first)
    for k, name in ipairs(kept) do rawset(_G, name, values[k]) end
    context.base = { book, first and context.base[2] or nil }
  else
    context.base = inherited
  end
  present = number
  return true
end

return M
