--- Submitted calls in the script's own state (serial, async). They are sent all the same, to a worker that this state
--- plays too: function and arguments become bytes when the call is submitted, and are made again when it runs. So a
--- call sees what its function held, and its arguments were, when it was submitted; what it changes in them is its own.
--- Modules, and what globals lead to, stay what they are: there is one of each here. On async, where tasks work with
--- sockets of the script, what can't be sent is used as it is.
--
-- A function that is submitted again, and holds what it held, is not made again: a worker keeps it as well.
local arrays = require "parlua.array.known"
local captured_by = require "parlua.wire.captured"
local closure = require "parlua.wire.closure"
local codec = require "parlua.codec"
local common = require "parlua.common"
local content = require "parlua.future.content"
local context = require "parlua.wire.context"
local everywhere = require "parlua.worker.everywhere"
local failure = require "parlua.failure"
local future_module = require "parlua.future"
local kinds = require "parlua.wire.entries"
local start = require "parlua.wire.start"
local states = require "parlua.wire.state"
local task = require "parlua.task"

require("jit").off(true, true) -- loops over pairs, see wire/closure.lua

local M = {}

local MOST_FUNCTIONS = 100 -- of one call, whose globals are looked at to know whether it has changed
local plain = { number = true, string = true, boolean = true, ["nil"] = true }

local MOST_WATCHES = 32 -- of what is known; then one takes the place of all

local heads, is_guarded = {}, false -- what was sent of a function; until the collector comes by, as in calls/sent.lua

---@class parlua.KnownHere
---@field book userdata of what both sides have: all that the script's state leads to
---@field watches userdata[] of the objects in it, and of the tables that its roots are in
---@field globals userdata|false a watch of _G
---@field holders table the tables that its roots are in, as keys
local known = setmetatable({}, { __mode = "v" }) -- `now`: a parlua.KnownHere, until the collector comes by

local function is_same(one, other) -- NaN is what it was
  return rawequal(one, other) or type(one) == "number" and one ~= one and type(other) == "number" and other ~= other
end

--- The values that the script's state consists of.
local function roots()
  start.complete()
  local list = {}
  for _, entry in ipairs(states.collect({})) do
    if entry[1] == kinds.METATABLE and entry[4] then -- fields of that of strings
      for _, field in next, entry[3] do list[#list + 1] = field end
    else
      list[#list + 1] = entry[1] == kinds.LIBRARY and entry[4] or entry[3]
    end
  end
  return list
end

--- A watch of all that is known, as it is now; nil: it can't be watched.
local function watch_all(now)
  local holders = states.watched()
  holders[#holders + 1] = package.loaded
  now.holders = {}
  for _, holder in ipairs(holders) do now.holders[holder] = true end
  return codec.watch(now.book, holders)
end

local function has_any(book, objects)
  for _, object in ipairs(objects) do
    if codec.place_in(book, object) then return true end
  end
  return false
end

--- What has changed in what is known: a list of objects; and whether there are other roots. Nil: that can't be told.
local function changes_of(now)
  local changed, has_roots = {}, false
  for _, watch in ipairs(now.watches) do
    local list = codec.changes(watch)
    if list == nil then return nil end
    for _, object in ipairs(list or {}) do
      changed[#changed + 1] = object
      has_roots = has_roots or now.holders[object] or false
    end
  end
  if not now.globals or codec.changed_fields(now.globals, _G) == nil then
    has_roots, now.globals = true, codec.watch_fields(_G) or false
  end
  return changed, has_roots
end

--- Adds what the state has got since. Returns false where it is all to be looked at anew.
local function add_changes(now)
  local changed, has_roots = changes_of(now)
  if not changed then return false end
  if not changed[1] and not has_roots then return true end
  local new = codec.walk(has_roots and roots() or {}, false, now.book, changed)
  for f, head in next, heads do -- what was sent by content is known now
    if has_any(head.book, new) then heads[f] = nil end
  end
  for _, object in ipairs(new) do changed[#changed + 1] = object end
  if not changed[1] then return true end
  if #now.watches < MOST_WATCHES then
    now.watches[#now.watches + 1] = codec.watch(states.no_change, changed)
  else
    now.watches = { watch_all(now) }
  end
  return now.watches[1] ~= nil
end

--- The book of what both sides have.
local function walk()
  local now = known.now
  if now and add_changes(now) then return now.book end
  now = { book = codec.walk(roots()), watches = {}, globals = codec.watch_fields(_G) or false, holders = {} }
  now.watches[1] = watch_all(now)
  known.now = now.watches[1] and now or nil
  return now.book
end

local function forget() heads, is_guarded = {}, false end

local function keep(f, head)
  heads[f] = head
  if is_guarded then return end
  is_guarded = true
  common.when_collected(forget) -- it is garbage at once
end

--- Adds the globals that a function names, and those that it holds do: name -> value. Returns false where there are too
--- many functions.
local function add_globals(names, seen, f)
  if seen[f] or debug.getinfo(f, "S").what == "C" then return true end
  seen[f], seen.n = true, seen.n + 1
  if seen.n > MOST_FUNCTIONS then return false end
  local plan = closure.plans[f] or closure.plan(f)
  for k = 2, #plan do
    local value = rawget(_G, plan[k])
    if value ~= nil then names[plan[k]] = value end
  end
  local is_whole = true
  closure.each_upvalue(f, function(value)
    if type(value) == "function" then is_whole = add_globals(names, seen, value) and is_whole end
  end)
  return is_whole
end

local function is_unchanged(head, book)
  if head.base[1] ~= book or not head.watch or codec.changes(head.watch) ~= false then return false end
  for name, value in next, head.names do
    if not is_same(rawget(_G, name), value) then return false end
  end
  return true
end

--- Sends a function. Returns its head; or nil and a message.
local function head_of(f)
  local there = walk() -- before heads are looked at: it takes away those that no longer hold
  local head = heads[f]
  if head and is_unchanged(head, there) then return head end
  local base, names = { there }, {}
  base.captured = function() return captured_by({ f }, 1) end
  context.use(base, true, 0)
  local book = codec.book()
  local code, message = codec.encode_book(book, "submitted function", f)
  if not code then return nil, message end
  local sent = context.longer(base, book)
  sent.captured, sent.arrays = base.captured, arrays.sent
  head = { f = false, code = code, book = book, base = base, sent = sent, got = false, globals = false, names = names,
    watch = add_globals(names, { n = 0 }, f) and codec.watch(book, {}) or false }
  keep(f, head)
  return head
end

--- Makes the function of a head. Globals that the script has changed since it was sent are as they were while it runs.
local function open(head)
  local before, globals = {}, {}
  for name, value in next, _G do before[name] = value end
  local book = codec.book()
  context.use(head.base, true)
  head.f = codec.decode_book(book, head.code)
  for name, value in next, _G do
    if not is_same(before[name], value) then globals[name] = value end
  end
  for name in next, globals do rawset(_G, name, before[name]) end
  for _, name in ipairs(task.set_up) do globals[name] = nil end -- these are the worker's
  for name in next, everywhere.globals() do globals[name] = nil end
  head.globals = next(globals) ~= nil and globals or false
  head.got = context.longer(head.base, book)
end

---@class parlua.CallHere
---@field head table of its function
---@field args table with n: plain ones
---@field bytes string|false others
---@field chain table by which the script reads its results
---@field got table by which they are written
---@field is_lenient boolean results that can't be sent are given as they are

--- Sends a call. Returns it; or nil and a message: its function can't be sent; `trouble` in it: an argument can't.
---@return parlua.CallHere?
---@return string? message
local function send(f, args)
  arrays.sent = false
  local head, message = head_of(f)
  if not head then return nil, message end
  local call = { head = head, args = args, bytes = false, chain = head.sent, got = false, trouble = false,
    is_lenient = false }
  for k = 1, args.n do
    if not plain[type(args[k])] then
      local book = codec.book()
      context.use(head.sent, true, 0)
      codec.moved()
      call.bytes, call.trouble = codec.encode_book(book, "argument", unpack(args, 1, args.n))
      call.chain = context.longer(head.sent, book)
      call.chain.arrays = arrays.sent
      break
    end
  end
  arrays.sent = false
  return call
end

--- The function and arguments, with n, of a call that is to run.
local function receive(call)
  local head = call.head
  if not head.f then open(head) end
  call.got = head.got
  if not call.bytes then return call.args end
  local book = codec.book()
  context.use(head.got, true)
  local values = common.pack(codec.decode_book(book, call.bytes))
  call.got = context.longer(head.got, book)
  return values
end

local function aside(f, ...)
  local results, args, n = nil, { ... }, select("#", ...)
  context.aside(function() results = common.pack(f(unpack(args, 1, n))) end)
  return unpack(results, 1, results.n)
end

local boxes = setmetatable({}, { __mode = "k" }) -- box -> results: so that nothing else is made of them in between

local function box(...)
  local values = common.pack(...)
  for k = 1, values.n do
    if not plain[type(values[k])] then
      local made = function() end
      boxes[made] = values
      return made
    end
  end
  return ...
end

--- See failure.lua, which leaves out the frames from here on.
local function call_it(f, args) return box(f(unpack(args, 1, args.n))) end

--- Puts globals in place, and gives those that were there before.
local function swap(globals)
  local before = {}
  for name, value in next, globals do
    before[name] = rawget(_G, name)
    rawset(_G, name, value)
  end
  return before
end

local function take_back(names, before, ok, ...)
  for name in next, names do
    names[name] = rawget(_G, name)
    rawset(_G, name, before[name])
  end
  if not ok then error((...), 0) end
  return ...
end

local function run(call, shares_globals)
  if call.trouble then failure.raise { kind = "unsendable", message = call.trouble } end
  local args, head = aside(receive, call), call.head
  if shares_globals or not head.globals then return call_it(head.f, args) end
  return take_back(head.globals, swap(head.globals), xpcall(call_it, failure.capture, head.f, args))
end

--- May what is told of be used in this program alone?
local function is_bound(message) return message:find("belongs to this program", 1, true) end

--- Why a function is not to run as it is, though it can't be sent: it is not to be used by a call on any engine.
local function is_refused(message)
  return message:find(": a coroutine: ", 1, true) or is_bound(message)
end

--- Sends the call f(...). Returns what runs it, and the call, for M.settle; or nil and a message. A function that can't
--- be sent, but that forked workers would have, runs as it is: then there is no call.
---@param engine_run parlua.Run
---@param f function
---@param args table|false with n
---@return function?
---@return parlua.CallHere|false|string
function M.job(engine_run, f, args)
  local is_async = engine_run.engine_name == "async"
  local call, message = aside(send, f, args or { n = 0 })
  if call and not (is_async and call.trouble and not is_bound(call.trouble)) then
    call.is_lenient = is_async
    return function() return run(call, is_async) end, call -- there others run while it waits, with the same globals
  end
  if not is_async and is_refused(message) then return nil, message end
  local handle = engine_run.driver.handle
  local given = handle:look_at(f, args or nil) or { n = 0 }
  return function()
    local own = handle:look_at(f, given) or given
    return f(unpack(own, 1, own.n))
  end, false
end

local function cross(call, ...)
  context.use(call.got, true, #call.head.got)
  local bytes, trouble = codec.encode_result(...)
  if not bytes then return nil, trouble end
  context.use(call.chain, true)
  return common.pack(codec.decode(bytes))
end

--- A call has returned these, with n.
---@param future parlua.Future
function M.settle(future, values)
  local call, results = future.call, boxes[values[1] or boxes] or values
  future.call = nil
  if results ~= values then
    local trouble
    results, trouble = aside(cross, call, unpack(results, 1, results.n))
    if not results and (not call.is_lenient or is_bound(trouble)) then
      return future_module.fail(future, "unsendable", trouble)
    end
    results = results or boxes[values[1]] or values
  end
  future_module.settle(future, content.of(results))
end

--- A call has raised this value: as the script gets it.
function M.raised(future, value)
  local call = future.call
  if plain[type(value)] or not call or not call.got then return value end
  local results = aside(cross, call, value)
  if results then return results[1] end
  if call.is_lenient then return value end
end

return M
