--- Pools: an engine's workers kept open over several calls, and single calls whose results are asked for later
--- (futures).
--
-- All of a pool's futures are tasks of one run whose source is the list of what was submitted; no task is handed out
-- before it is there. The function travels with each task, as codec bytes: workers outlive the calls. A worker that
-- gets the same bytes again goes on with the function that it has, compiled as it is.
local arrays = require "parlua.array.known"
local codec = require "parlua.codec"
local common = require "parlua.common"
local context = require "parlua.wire.context"
local world = require("parlua.lazy") "parlua.wire.world"
local engines = require "parlua.run.engine"
local failure = require "parlua.failure"
local futures = require "parlua.sink.futures"
local host = require "parlua.host"
local list = require "parlua.sink.list"
local options_module = require "parlua.options"
local reduce = require "parlua.sink.reduce"
local run_module = require "parlua.run"
local search = require "parlua.sink.search"
local sources = require "parlua.source"
local stream = require "parlua.sink.stream"
local task = require "parlua.worker.task"

local M = {}

-- Options of a pool that a call in a task does not have: its task's limits hold.
local outer_options = { engine = true, timeout = true, memory = true, workers = true }

local most_cached = 64 -- functions that a worker keeps

local cache, cached = {}, 0

--- The function behind `bytes`. It brings the globals that it names along; but those that the worker's set-up has set
--- stay as they are here.
local function decode(book, bytes)
  local values, names = {}, task.set_up
  for k, name in ipairs(names) do values[k] = rawget(_G, name) end
  local f = codec.decode_book(book, bytes)
  for k, name in ipairs(names) do rawset(_G, name, values[k]) end
  return f
end

--- Runs in workers: the function behind `bytes`, called with the values behind `arguments`. What these hold is known to
--- both sides while the call runs: results refer to it.
local function call_sent(declarations, bytes, arguments, trouble)
  local shares = not task.owns_process
  if declarations then world.declare(declarations) end
  local known = cache[bytes]
  if not known then
    if cached >= most_cached then cache, cached = {}, 0 end
    known = { book = codec.book() }
    context.use(context.base, shares)
    known.f = decode(known.book, bytes)
    cache[bytes], cached = known, cached + 1
  end
  if trouble then error(failure.mark { kind = "unsendable", message = trouble }, 0) end
  context.use(context.longer(context.base, known.book), shares)
  local book = codec.book()
  local values = common.pack(codec.decode_book(book, arguments))
  context.use(context.longer(context.base, known.book, book), shares)
  return known.f(unpack(values, 1, values.n))
end

--- The same in the script's own state, where nothing is sent.
local function call_here(_, f, ...) return f(...) end

--- The map function of that run: leaves out the number of the call. A call that was cancelled before it was handed out
--- has no key.
function M.run_call(_, key, ...)
  if not key then return end
  task.set_key(key)
  if type((select(2, ...))) == "function" then return call_here(...) end
  return call_sent(...)
end

-- ---- futures ----

---@class parlua.Future
---@field done boolean whether the call has ended
---@field failure? parlua.Failure once it is known that the call failed
local Future = {}
Future.__index = Future

--- Raises an error in a task that uses a pool of the script: a forked worker has a copy of the pool, and its workers
--- are not its own.
local function check_owner(pool, what)
  if task.is_inside() == pool.is_inside then return end
  error(("%s: this belongs to the script that opened the pool, and a task cannot use it: submit in the task, which "
    .. "runs the call there, "
    .. "or give the task the result as an argument"):format(what), 3)
end

local close

-- ---- pools that nobody uses ----

-- Pools with calls that have not ended. Others live as long as the script holds them, or one of their futures: then the
-- collector ends their workers.
local busy = {} -- luacheck: ignore 241

local function note_busy(pool) busy[pool] = next(pool.futures.waiting) and true or nil end

--- What closes a pool's run when the pool is collected.
local function guard_of(run, kept)
  return common.when_collected(function()
    run:close()
    engines.close(kept)
  end)
end

--- Lets the pool's run go on until `future` is done or `seconds` are over.
local function advance(future, seconds)
  local pool = future.pool
  local deadline = seconds and host.now() + seconds
  local run = pool.run
  if run then run:resume() end -- while the script waits here, a signal is the pool's
  while not future.done and pool.run do
    local left = deadline and deadline - host.now()
    if left and left < 0 then left = 0 end
    local ok, more = pcall(pool.run.step, pool.run, left)
    if not ok then
      pool:close()
      error(more, 0)
    end
    if not more then -- serial: nothing is submitted that has not run; else the run was interrupted
      if pool.run.engine_name ~= "serial" or pool.run.cancelled then close(pool, pool.run.broken) end
      break
    end
    if left == 0 then break end
  end
  if run then run:pause() end
  note_busy(pool)
  return future.done
end

--- Waits until the call has ended, at most `seconds`. Returns whether it has.
---@param seconds? number default: as long as it takes; 0: only looks
---@return boolean
function Future:wait(seconds)
  if seconds ~= nil and (type(seconds) ~= "number" or not (seconds >= 0)) then
    error(("wait: seconds must be a number of at least 0, got %s"):format(tostring(seconds)), 2)
  end
  if self.done then return true end
  check_owner(self.pool, "wait")
  return advance(self, seconds) or false
end

--- Waits for the call and returns all that it returned; raises its failure (a table, see failures) when it failed.
---@return any ...
function Future:get()
  self:wait()
  if self.failure then error(self.failure, 0) end
  return unpack(self.values, 1, self.values.n)
end

--- The future's call is cancelled: so says its failure.
local function end_cancelled(future, message)
  future.failure = failure.new { index = future.index, args = future.args, kind = "cancelled", message = message,
    attempts = 0,
                                 worker = 0, host = host.hostname(), seconds = 0 }
  future.done = true
  future.pool.futures.waiting[future.index] = nil
  note_busy(future.pool)
end

--- Ends a pool. `trouble`: why its workers can't go on, where that is so.
function close(pool, trouble)
  local run = pool.run
  pool.closed, pool.run = true, nil
  if run then run:close() end
  for _, future in pairs(pool.futures.waiting) do end_cancelled(future, trouble or "the pool was closed") end
  engines.close(pool.engines)
  note_busy(pool)
end

--- Cancels the call: it is not begun, or, on an engine that can, ended while it runs. Returns false when it has ended
--- already, or can't be stopped any more (a running thread).
---@return boolean
function Future:cancel()
  local pool = self.pool
  if self.done then return false end
  check_owner(pool, "cancel")
  if pool.waiting[self.index] then
    pool.waiting[self.index] = { n = 1, false }
  elseif not pool.run.driver:abort(self.index) then
    return false
  end
  end_cancelled(self, "the call was cancelled")
  return true
end

-- ---- pools ----

---@class parlua.Pool
local Pool = {}
Pool.__index = Pool

--- Opens a pool. Workers are started when they are first needed. Example: `local pool = parlua.pool { engine =
--- "threads", workers = 4 }`
---@param options? table defaults for the pool's calls
---@return parlua.Pool
function M.open(options)
  local resolved = options_module.resolve(options)
  local given = {}
  for name, value in pairs(options or {}) do given[name] = value end
  return setmetatable({ options = given, resolved = resolved, engines = {}, futures = futures.open(), waiting = {},
    run = false,
                        guard = false, is_inside = task.is_inside() }, Pool)
end

--- The pool's options with those of one call over them, and what else the call's run is told. The pool's seed is not
--- the call's own.
local function merged(pool, options)
  if pool.closed then error("the pool is closed", 3) end
  local given = { engines = pool.engines, base_seed = pool.options.seed or nil }
  if type(options) == "table" and options.is_stream then options = nil end -- imap's second result, behind its iterator
  if options ~= nil and type(options) ~= "table" then return options, given end
  local all = {}
  for name, value in pairs(pool.options) do
    if name ~= "seed" then all[name] = value end
  end
  for name, value in pairs(options or {}) do all[name] = value end
  return all, given
end

--- As parlua.map, on the pool's workers.
function Pool:map(f, arguments, options) return list.map(f, arguments, merged(self, options)) end

--- As parlua.starmap, on the pool's workers.
function Pool:starmap(f, lists, options) return list.map(f, sources.spread(lists), merged(self, options)) end

--- As parlua.each, on the pool's workers.
function Pool:each(f, arguments, options) return list.each(f, arguments, merged(self, options)) end

--- As parlua.imap, on the pool's workers. Streams that are open at the same time have workers of their own.
function Pool:imap(f, arguments, options) return stream.imap(f, arguments, merged(self, options)) end

--- As parlua.reduce, on the pool's workers.
function Pool:reduce(f, arguments, reduction, options)
  return reduce.reduce(f, arguments, reduction, merged(self, options))
end

--- As parlua.find, on the pool's workers.
function Pool:find(f, arguments, options) return search.find(f, arguments, merged(self, options)) end

--- As parlua.any, on the pool's workers.
function Pool:any(f, arguments, options) return search.any(f, arguments, merged(self, options)) end

--- As parlua.all, on the pool's workers.
function Pool:all(f, arguments, options) return search.all(f, arguments, merged(self, options)) end

--- Gives the run of the pool's futures what was submitted.
local function submitted_source(waiting)
  return sources.iterate(function(_, k)
    k = k + 1
    local values = waiting[k]
    if not values then return nil end
    waiting[k] = nil
    return k, unpack(values, 1, values.n)
  end, nil, 0)
end

local function begin_run(pool)
  local options = {}
  for name, value in pairs(pool.options) do options[name] = value end
  options.chunk, options.progress, options.on_error, options.max_failures = 1, "none", "skip", false
  local run = run_module.open(M.run_call, submitted_source(pool.waiting), options, pool.futures, { engines = pool.engines,
    unrecorded = true })
  run.is_of_futures = true
  local waiting = pool.futures.waiting
  run.driver.chain_of = function(index) return waiting[index] and waiting[index].chain or run.chain end
  pool.guard = guard_of(run, pool.engines)
  return run
end

--- Inside a task, a call submitted to a pool of the script runs in the task, at once.
local function submit_here(pool, f, ...)
  local options = {}
  for name, value in pairs(pool.options) do
    if not outer_options[name] then options[name] = value end
  end
  local nested = M.open(options)
  local future = nested:submit(f, ...)
  future:wait()
  nested:close()
  return future
end

--- Encodes a call: the function, which the worker may have already, and the arguments, which may refer to what the
--- function holds.
local function encode_call(pool, future, values, f, ...)
  local driver = pool.run.driver
  arrays.sent = false
  local function_book, book = codec.book(), codec.book()
  context.use(context.longer(driver.chain), driver.shares, #driver.chain, true)
  local bytes, message = codec.encode_book(function_book, "submitted function", f)
  if not bytes then return nil, message end
  context.use(context.longer(driver.chain, function_book), driver.shares, #driver.chain, true)
  local arguments, trouble = codec.encode_book(book, "argument", ...)
  future.chain = context.longer(driver.chain, function_book, book)
  future.arrays, arrays.sent = arrays.sent, false -- workers open them when they come to the call
  values[2], values[3], values[4], values[5] = world.declarations_since(pool), bytes, arguments or "", trouble
  values.n = 5
  return true
end

--- Calls f(...) in one of the pool's workers. Returns at once.
---@param f function
---@return parlua.Future
function Pool:submit(f, ...)
  if self.closed then error("the pool is closed", 2) end
  if task.is_inside() ~= self.is_inside then return submit_here(self, f, ...) end
  if not common.is_callable(f) then error(("submit: a function is expected, got %s"):format(type(f)), 2) end
  f = common.as_function(f)
  for k = 1, select("#", ...) do
    local value = (select(k, ...))
    if type(value) == "table" and rawget(value, "is_future") then
      error(("submit: argument %d is a future; give what it has returned, future:get()"):format(k), 2)
    end
  end
  local calls = self.futures
  local is_first, index = not self.run, calls.submitted + 1
  local future = setmetatable({ pool = self, index = index, args = common.pack(...), done = false, is_future = true },
    Future)
  local values = { n = future.args.n + 3, (run_module.streams_of(self.resolved, nil)), false, f, ... }
  self.waiting[index], calls.waiting[index], calls.submitted = values, future, index
  local function take_back(message, level)
    self.waiting[index], calls.waiting[index], calls.submitted = nil, nil, index - 1
    note_busy(self)
    error(message, level)
  end
  if is_first then
    local ok, run = pcall(begin_run, self)
    if not ok then take_back(run, 0) end
    self.run = run
    run:pause() -- the script does other work
  end
  if self.run.engine_name ~= "serial" then
    local ok, message = encode_call(self, future, values, f, ...)
    if not ok then take_back(message, 3) end
  end
  if self.run.engine_name ~= "serial" then self.run:step(0) end -- hands it out, if a worker is free
  note_busy(self)
  return future
end

--- Ends the pool: calls that have not ended are cancelled, workers are stopped. Safe to call twice.
function Pool:close()
  if self.closed then return end
  check_owner(self, "close")
  close(self)
end

local default = setmetatable({}, { __mode = "v" })

--- Calls f(...) in a worker of the program's own pool. Its workers end when no future of it is left.
---@return parlua.Future
function M.submit(f, ...)
  local pool = default.pool
  if not pool or pool.closed then pool = M.open() end
  default.pool = pool
  return pool:submit(f, ...)
end

return M
