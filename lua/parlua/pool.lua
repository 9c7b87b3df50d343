--- Pools: an engine's workers kept open over several calls, and single calls whose results are asked for later
--- (futures).
--
-- All of a pool's futures are tasks of one run, which are pushed into it one by one, and handed out by a thread while
-- the script does other things (src/run/attendant.h). On serial they are supplied when the script asks for one. The
-- function travels with each task, as codec bytes: workers outlive the calls. A worker that gets the same bytes again
-- goes on with the function that it has, compiled as it is.
local arrays = require "parlua.array.known"
local codec = require "parlua.codec"
local common = require "parlua.common"
local captured_by = require "parlua.wire.captured"
local context = require "parlua.wire.context"
local install = require("parlua.lazy") "parlua.wire.install"
local world = require("parlua.lazy") "parlua.wire.world"
local engines = require "parlua.run.engine"
local failure = require "parlua.failure"
local future_module = require "parlua.future"
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
local warning = require "parlua.run.warning"

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
--- both sides while the call runs: results refer to it. `state` is the number of the script's state as it was when the
--- call was made, `newer` how to make it, where it is not that with which the run began.
local function call_sent(state, newer, bytes, arguments, trouble)
  local shares = not task.owns_process
  if install.bring(state, newer) then cache, cached = {}, 0 end
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

-- ---- pools ----

---@class parlua.Pool
local Pool = { __is_bound = true } -- see src/lua/codec/walk.c
Pool.__index = Pool

local verbs = {}

--- Opens a pool. Workers are started when they are first needed. Example: `local pool = parlua.pool { engine =
--- "threads", workers = 4 }`
---@param options? table defaults for the pool's calls
---@return parlua.Pool
function M.open(options)
  local resolved = options_module.resolve(options)
  local given = {}
  for name, value in pairs(options or {}) do given[name] = value end
  return setmetatable({ options = given, resolved = resolved, engines = {}, waiting = {},
    futures = futures.open(future_module.settle),
    run = false, closed = false, outstanding = 0, aborted = 0, held = {}, window = resolved.window or math.huge,
    is_serial = false,
    verbs = verbs, guard = false,
    is_inside = task.is_inside() }, Pool)
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

-- ---- the run of the futures ----

-- `verbs`: what parlua.future asks of a pool.

--- What closes a pool's run when the pool is collected: nobody holds it, nor any of its futures, and its calls have
--- ended.
local function guard_of(run, kept)
  return common.when_collected(function()
    context.aside(function()
      run:close()
      engines.close(kept)
    end)
  end)
end

--- Serial: gives the run of the pool's futures what was submitted. Elsewhere tasks are pushed.
local function submitted_source(waiting)
  return sources.iterate(function(_, k)
    k = k + 1
    local values = waiting[k]
    if not values then return nil end
    waiting[k] = nil
    return k, unpack(values, 1, values.n)
  end, nil, 0)
end

local function open_run(pool)
  local options = {}
  for name, value in pairs(pool.options) do options[name] = value end
  options.chunk, options.progress, options.max_failures = 1, "none", false
  if type(pool.resolved.on_error) ~= "function" then options.on_error = "skip" end
  local run = run_module.open(M.run_call, submitted_source(pool.waiting), options, pool.futures,
    { engines = pool.engines, unrecorded = true, lasts = true })
  run.is_of_futures = true
  pool.is_serial = engines.runs_in_program(run.engine_name)
  pool.futures.is_serial = pool.is_serial
  local waiting = pool.futures.waiting
  run.driver.chain_of = function(index) return waiting[index] and waiting[index].chain or run.chain end
  pool.run, pool.guard = run, guard_of(run, pool.engines)
  run:pause() -- the script does other work
end

--- The script comes to the pool's run: a signal is the pool's while it waits there (not where it only looks).
local function enter(pool, waits)
  if waits then pool.run:resume() end
  if not pool.is_serial then pool.run.driver.handle:come_back() end
end

--- It goes away: a thread goes on with the run.
local function leave(pool)
  local run = pool.run
  if not run then return end
  run:pause()
  if not pool.is_serial then run.driver.handle:leave(pool.outstanding + pool.aborted) end
end

--- Ends a pool. `trouble`: why its workers can't go on, where that is so.
local function close(pool, trouble)
  local run = pool.run
  pool.closed, pool.run = true, false
  if run then run:close() end
  local open = {}
  for _, future in pairs(pool.futures.waiting) do open[#open + 1] = future end
  for future in pairs(pool.held) do open[#open + 1] = future end
  pool.futures.waiting, pool.held, pool.waiting = {}, {}, {}
  table.sort(open, function(a, b) return a.index < b.index end)
  for _, future in ipairs(open) do future_module.settle_cancelled(future, trouble or "the pool was closed") end
  engines.close(pool.engines)
end

--- Takes one event of the run; closes the pool where the run can't go on. Returns what the run's step does.
local function step_run(pool, seconds)
  local run = pool.run
  local ok, more = pcall(run.step, run, seconds)
  if not ok then
    pool:close()
    error(more, 0)
  end
  if more then return more end
  if not pool.is_serial or run.cancelled then close(pool, run.broken) end -- the run was interrupted
  return false
end

--- Lets the pool's calls go on until target.is_done, at most for `seconds`. Returns false when they can't.
function verbs.step(self, target, seconds)
  if not self.run or self.is_inside ~= task.is_inside() then return false end -- a worker's copy of it goes nowhere
  local deadline = seconds and host.now() + seconds
  local goes_on
  enter(self, true)
  repeat
    local left = deadline and math.max(0, deadline - host.now())
    goes_on = step_run(self, left) and true or false
  until target.is_done or not goes_on or left == 0 or self.outstanding == 0 or future_module.has_due()
  leave(self)
  return goes_on
end

--- Takes what has ended, without waiting. Serial runs what was submitted up to `future`.
function verbs.drain(self, future)
  if not self.run or self.is_inside ~= task.is_inside() then return end
  if self.run.engine_name == "serial" then
    if future.pool == self then verbs.step(self, future) end
    return
  end
  enter(self, false)
  repeat
    local more = step_run(self, 0)
  until not more or more == "idle"
  leave(self)
end

--- What a function has captured, looked at when it is needed.
local function captured(f)
  return function() return captured_by({ f }, 1) end
end

--- Encodes a call: the function, which the worker may have already, and the arguments, which may refer to what the
--- function holds. It sees the script's state as it is now: where that has changed since the run began, it goes along.
--- Returns the values that its task gets; or nil and a message.
local function encode_call(pool, future)
  local driver, f, args = pool.run.driver, future.f, future.given or future.args
  local chain = driver.chain
  local ok, state = pcall(world.prepare, driver.shares, chain.is_distant)
  if not ok then return nil, state end
  local is_newer, newer = state.id ~= chain.world, false
  if is_newer then newer = state.version == chain.version and world.newer(state) or state.before end
  local is_old = chain.inherits and not is_newer -- what was inherited may have changed where nobody looks
  if not is_old then
    chain = { state.chain[1], state.chain[2], not chain.inherits and chain[3] or nil, captured = captured(f),
              inherits = chain.inherits }
  end
  arrays.sent = false
  local function_book, book = codec.book(), codec.book()
  context.use(context.longer(chain), driver.shares, is_old and #chain or 0, is_old)
  local bytes, message = codec.encode_book(function_book, "submitted function", f)
  if not bytes then return nil, message end
  local longer = context.longer(chain, function_book)
  longer.captured = chain.captured
  context.use(longer, driver.shares, #chain, is_old)
  local arguments, trouble = codec.encode_book(book, "argument", unpack(args, 1, args.n))
  future.chain = context.longer(chain, function_book, book)
  future.arrays, arrays.sent = arrays.sent, false -- workers open them when they come to the call
  return { future.task, future.key, state.id, newer, bytes, arguments or "", trouble, n = 7 }
end

--- Puts a call into the run. Returns nil and a message when it can't be sent.
local function push(pool, future)
  local values, message = encode_call(pool, future)
  if not values then return nil, message end
  local run = pool.run
  local writer = run.feeder.writer
  enter(pool, false)
  writer:begin(0)
  if not writer:task(0, unpack(values, 1, values.n)) then writer:task_alone(values) end
  writer:finish(1)
  run.driver.handle:push(future.task)
  step_run(pool, 0) -- hands it out, if a worker is free
  leave(pool)
  return true
end

--- Hands the call out. Returns nil and a message when it can't be sent; raises when there is no run for it.
local function hand_out(pool, future)
  if pool.closed then return true, future_module.settle_cancelled(future, "the pool was closed") end
  if not pool.run then open_run(pool) end
  local calls = pool.futures
  local index = calls.handed + 1
  calls.handed, calls.waiting[index], future.task = index, future, index
  pool.held[future] = nil
  if pool.is_serial then
    local args = future.given or future.args
    pool.run.driver.handle:look_at(future.f)
    pool.waiting[index] = { n = args.n + 3, future.key, false, future.f, unpack(args, 1, args.n) }
    return true
  end
  local ok, message = push(pool, future)
  if not ok then calls.waiting[index] = nil end
  return ok, message
end

--- A call begins that has waited for its arguments.
function verbs.begin(self, future)
  local ok, sent, message = pcall(hand_out, self, future)
  if not ok or not sent then
    self.held[future] = nil
    future_module.settle(future, nil, failure.new { index = future.index, args = future.args, kind = "unsendable",
      message = tostring(message or sent), attempts = 0, worker = 0, host = host.hostname(), seconds = 0 })
  end
end

--- Sees to it that a call does not begin, or is ended. Returns whether that is possible.
function verbs.abort(self, future)
  local calls = self.futures
  if self.held[future] then
    self.held[future] = nil
    return true
  end
  if self.is_serial then
    if not self.waiting[future.task] then return self.run.driver:abort(future.task) end
    self.waiting[future.task] = { n = 1, false }
    calls.waiting[future.task] = nil
    return true
  end
  enter(self, false)
  local can = self.run.driver:abort(future.task)
  if can then self.aborted = 1 end -- its worker is still to be ended, though nobody waits for that
  leave(self)
  return can
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

local has_room = { is_done = false }

--- Waits until fewer calls than the option `window` says have not ended.
local function wait_for_room(pool)
  while pool.outstanding >= pool.window and not pool.closed do
    if not verbs.step(pool, has_room, 0.05) and not future_module.has_due() then break end
    future_module.run_due()
  end
end

--- Calls f(...) in one of the pool's workers. Returns at once. An argument that is a future stands for what its call
--- returns: this one begins when that has ended, and fails when it has failed.
---@param f function
---@return parlua.Future
function Pool:submit(f, ...)
  if self.closed then error("the pool is closed", 2) end
  if task.is_inside() ~= self.is_inside then return submit_here(self, f, ...) end
  if not common.is_callable(f) then error(("submit: a function is expected, got %s"):format(type(f)), 2) end
  f = common.as_function(f)
  if self.outstanding >= self.window then wait_for_room(self) end
  local index = self.futures.submitted + 1
  local future = future_module.new(self, index, common.pack(...), (run_module.streams_of(self.resolved, nil)),
    warning.place())
  self.futures.submitted, future.f = index, f
  local ok, held = pcall(future_module.hold, future)
  if not ok then
    future_module.withdraw(future)
    error(held, 2)
  end
  if held then
    self.held[future] = true
    future_module.run_due()
    return future
  end
  local sent, message
  ok, sent, message = pcall(hand_out, self, future)
  if not ok or not sent then
    future_module.withdraw(future)
    error(message or sent, ok and 2 or 0)
  end
  future_module.run_due()
  return future
end

--- Ends the pool: calls that have not ended are cancelled, workers are stopped. Safe to call twice.
function Pool:close()
  if self.closed then return end
  if task.is_inside() ~= self.is_inside then
    error("close: this belongs to the script that opened the pool, and a task cannot close it", 2)
  end
  close(self)
  future_module.run_due()
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
