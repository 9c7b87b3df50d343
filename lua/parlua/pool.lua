--- Pools: an engine's workers kept open over several calls, and single calls whose results are asked for later
--- (futures).
--
-- Futures that are under way at the same time are tasks of one run. They are written where whoever holds its dispatcher
-- finds them (calls/sent.lua): the script, or a thread that goes on with the run while the script does other things
-- (src/run/attendant.h). On serial and async they are supplied when the script asks for one. The function travels with
-- them, as codec bytes: workers outlive the calls. A worker that gets the same bytes again goes on with the function
-- that it has, compiled as it is.
--
-- A pool has one set of workers. The run of the futures holds it while calls are under way; before a map, say, it is
-- closed if none is, and opened again at the next submit. What is open at the same time has workers of its own.
local calls_here = require "parlua.calls.run"
local common = require "parlua.common"
local content = require "parlua.future.content"
local context = require "parlua.wire.context"
local engines = require "parlua.run.engine"
local everywhere = require("parlua.lazy") "parlua.calls.everywhere"
local future_module = require "parlua.future"
local futures = require "parlua.sink.futures"
local here = require("parlua.lazy") "parlua.future.here"
local host = require "parlua.host"
local list = require "parlua.sink.list"
local nested = require("parlua.lazy") "parlua.calls.nested"
local options_module = require "parlua.options"
local reduce = require "parlua.sink.reduce"
local room = require("parlua.lazy") "parlua.future.room"
local run_module = require "parlua.run"
local search = require "parlua.sink.search"
local sent = require("parlua.lazy") "parlua.calls.sent"
local sources = require "parlua.source"
local stream = require "parlua.sink.stream"
local task = require "parlua.task"
local unseen = require "parlua.future.unseen"
local ffi = require "ffi"
require "parlua.wire.header" "run/pushed.h"

local M = {}

local C = ffi.C

-- ---- pools ----

---@class parlua.Pool
local Pool = { __is_bound = true } -- see src/lua/codec/walk.c
Pool.__index = Pool

local verbs = {}

--- Opens a pool. Workers are started when they are first needed. Example: `local pool = parlua.pool { engine =
--- "threads", workers = 4 }`
---@param options? table defaults for the pool's calls
---@param inherits? boolean workers of its submitted calls, on process, have what the script had as they were forked
---@return parlua.Pool
function M.open(options, inherits)
  local resolved = options_module.resolve(options)
  engines.check(engines.choose(resolved), resolved)
  local given = {}
  for name, value in pairs(options or {}) do given[name] = value end
  return setmetatable({ options = given, resolved = resolved, engines = { keeps = not inherits }, waiting = {},
    futures = futures.open(future_module.settle, content.several, here),
    run = false, closed = false, outstanding = 0, aborted = 0, held = {},
    window = resolved.window or math.huge, is_serial = false, sent = false, everywhere_list = {},
    verbs = verbs, guard = false, guarded = { run = false }, heirs = false,
    is_inside = task.is_inside() }, Pool)
end

local lend

--- The pool's options with those of one call over them, and what else the call's run is told. The pool's seed is not
--- the call's own.
local function merged(pool, options, what)
  if getmetatable(pool) ~= Pool then common.refuse_self(what, "pool", pool, 3) end
  if pool.run then lend(pool) end
  if pool.closed then error("the pool is closed", 3) end
  local given = { engines = pool.engines, base_seed = pool.options.seed or nil,
    everywhere = pool.everywhere_list[1] and pool.everywhere_list or nil }
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
function Pool:map(f, arguments, options) return list.map(f, arguments, merged(self, options, "map")) end

--- As parlua.starmap, on the pool's workers.
function Pool:starmap(f, lists, options)
  local all, given = merged(self, options, "starmap")
  return list.map(f, sources.spread(lists), all, given)
end

--- As parlua.each, on the pool's workers.
function Pool:each(f, arguments, options) return list.each(f, arguments, merged(self, options, "each")) end

--- As parlua.imap, on the pool's workers. Streams that are open at the same time have workers of their own.
function Pool:imap(f, arguments, options) return stream.imap(f, arguments, merged(self, options, "imap")) end

--- As parlua.reduce, on the pool's workers.
function Pool:reduce(f, arguments, reduction, options)
  return reduce.reduce(f, arguments, reduction, merged(self, options, "reduce"))
end

--- As parlua.find, on the pool's workers.
function Pool:find(f, arguments, options) return search.find(f, arguments, merged(self, options, "find")) end

--- As parlua.any, on the pool's workers.
function Pool:any(f, arguments, options) return search.any(f, arguments, merged(self, options, "any")) end

--- As parlua.all, on the pool's workers.
function Pool:all(f, arguments, options) return search.all(f, arguments, merged(self, options, "all")) end

-- ---- the run of the futures ----

-- `verbs`: what parlua.future asks of a pool.

--- What closes a pool's run when the pool is collected: nobody holds it, nor any of its futures, and its calls have
--- ended.
local function guard_of(guarded, kept)
  return common.when_collected(function()
    context.aside(function()
      if guarded.run then guarded.run:close() end
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
  local is_serial = engines.runs_in_program(engines.choose(pool.resolved))
  if not is_serial then options.chunk = nil end
  local run = run_module.open(is_serial and calls_here.run_here or calls_here.run, submitted_source(pool.waiting),
    options, pool.futures, { engines = pool.engines, unrecorded = true, is_pushed = not is_serial, lasts = true })
  run.is_of_futures = true
  pool.is_serial = is_serial
  pool.futures.is_serial = pool.is_serial
  local calls = pool.futures
  run.driver.chain_of = function(index)
    local future = calls:of(index)
    return future and future.content or run.chain
  end
  run.driver.arguments = function(_, index)
    local future = calls:of(index)
    return future and future.args or { n = 0 }
  end
  if not is_serial then
    pool.sent = sent.open(run.driver, run:inherits())
    pool.sent:set_everywhere(pool.everywhere_list)
  end
  pool.run, pool.guarded.run = run, run
  pool.guard = pool.guard or guard_of(pool.guarded, pool.engines)
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
  if run and run.signal then
    unseen.tell_interrupted(pool, run)
    trouble = trouble or run.interruption()
  end
  pool.closed, pool.run, pool.guarded.run = true, false, false
  if run then run:close() end
  if pool.heirs then pool.heirs:close() end
  local open = pool.futures:remove_all()
  for future in pairs(pool.held) do open[#open + 1] = future end
  pool.held, pool.waiting = {}, {}
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

--- A signal has come, perhaps together with what was asked for: then it is the pool's too. Returns whether its calls
--- go on: the signal was that of another run.
local function end_interrupted(pool)
  while pool.run and not pool.run.cancelled do
    local more = step_run(pool, 0)
    if not more or more == "idle" then break end
  end
  if pool.run and not pool.run.cancelled then return true end
  while pool.run and step_run(pool) do end -- what runs ends
  return false
end

--- Lets the pool's calls go on until target.is_done, at most for `seconds`. Returns false when they can't.
function verbs.step(self, target, seconds)
  if not self.run or self.is_inside ~= task.is_inside() then return false end -- a worker's copy of it goes nowhere
  local deadline = seconds and host.now() + seconds
  local goes_on
  enter(self, true)
  self.run.driver.is_patient = target.is_patient
  for _ = 1, math.huge do -- see future.lua: advance
    local left = deadline and math.max(0, deadline - host.now())
    goes_on = step_run(self, left) and true or false
    if target.is_done or not goes_on or left == 0 or self.outstanding == 0 or future_module.has_due() then break end
  end
  if self.run and C.signals_count() ~= self.run.signals and not end_interrupted(self) then goes_on = false end
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

--- Are submitted calls under way? Those that wait for their arguments are not.
local function is_under_way(pool)
  local calls = pool.outstanding
  for _ in pairs(pool.held) do calls = calls - 1 end
  return calls > 0
end

--- The pool's workers serve its other calls too: if no submitted call is under way, the run of those gives them back.
function lend(pool)
  if pool.is_serial or pool.is_inside ~= task.is_inside() then return end
  if is_under_way(pool) then verbs.drain(pool) end
  local run = pool.run
  if not run or is_under_way(pool) then return end
  pool.run, pool.guarded.run, pool.sent, pool.aborted = false, false, false, 0
  run:close()
end
require("jit").off(lend) -- it has a loop over pairs, as engines.close
require("jit").off(is_under_way)

--- Gives the run what was put there, or takes what has come: `wish` says which.
local function attend(pool, wish)
  if wish == C.INTAKE_HAND_OUT then
    pool.run.driver.handle:hand_out(pool.outstanding + pool.aborted)
  else
    enter(pool, false)
    step_run(pool, 0)
    leave(pool)
  end
end

local hand_out

--- A function can't be sent to workers that stay. Workers that are forked now may have it all the same: the call goes
--- to a pool of such workers. As hand_out.
local function leave_to_heirs(pool, future, f, args, seed, number)
  pool.heirs = pool.heirs or M.open(pool.options, true)
  pool.heirs.everywhere_list = pool.everywhere_list
  future_module.move(future, pool.heirs)
  return hand_out(pool.heirs, future, f, args, seed, number)
end

--- Hands the call out: f(...), with these numbers of its random numbers. Returns nil and a message when it can't be
--- sent; raises when there is no run for it.
function hand_out(pool, future, f, args, seed, number)
  if pool.closed then return true, future_module.settle_cancelled(future, "the pool was closed") end
  if not pool.run then open_run(pool) end
  local calls = pool.futures
  local index = calls.handed + 1
  if pool.is_serial then
    local job, call = here.job(pool.run, f, args)
    if not job then return nil, call end
    calls:add(index, future)
    future.task, future.call = index, call
    pool.waiting[index] = { n = 2, number, job }
    return true
  end
  local wish, chain = pool.sent:put(index, f, args, seed, number)
  if not wish and pool.run.is_kept then return leave_to_heirs(pool, future, f, args, seed, number) end
  if not wish then return nil, chain end
  calls:add(index, future)
  future.task, future.content = index, chain
  if wish ~= 0 then attend(pool, wish) end
  return true
end

--- A call begins that has waited for its arguments.
---@param args table with n: what its arguments have become
function verbs.begin(self, future, args)
  local held = self.held[future]
  self.held[future] = nil
  local ok, is_sent, message = pcall(hand_out, self, future, held.f, args, held.seed, held.number)
  if not ok or not is_sent then
    future_module.fail(future, "unsendable", tostring(message or is_sent))
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
    calls:remove(future.task)
    return true
  end
  enter(self, false)
  local can = self.run.driver:abort(future.task)
  if can then self.aborted = 1 end -- its worker is still to be ended, though nobody waits for that
  leave(self)
  return can
end

--- What the random numbers of the call that is submitted now follow from: the seed and the call's number in the
--- program; where nothing is sent, its key.
local function streams_of(pool)
  local seed = pool.resolved.seed or task.base or 0
  if not pool.is_serial then return seed, task.next_call() end
  return seed, (task.call_key(nil, seed))
end

--- Calls f(...) in one of the pool's workers. Returns at once. An argument that is a future stands for what its call
--- returns: this one begins when that has ended, and fails when it has failed.
---@param f function
---@return parlua.Future
function Pool:submit(f, ...)
  if getmetatable(self) ~= Pool then common.refuse_self("submit", "pool", self, 2) end
  if task.is_inside() ~= self.is_inside then return nested.submit(M.open, self, f, ...) end
  if run_module.interrupted() then error(run_module.interruption(), 2) end
  if self.closed then error("the pool is closed", 2) end
  if not common.is_callable(f) then error(("submit: a function is expected, got %s"):format(type(f)), 2) end
  if type(f) ~= "function" then f = common.as_function(f) end
  if self.window < math.huge then room.wait(self) end
  if not self.run then open_run(self) end
  if self.sent then self.sent:rouse() end
  local n, index, has_futures = select("#", ...), self.futures.submitted + 1, false
  local args = n > 0 and { n = n, ... }
  if n > 0 then has_futures = future_module.is_among(n, ...) end
  local seed, number = streams_of(self)
  local future = future_module.new(self, index, args, host.place_in_script(2))
  self.futures.submitted = index
  if has_futures then
    local ok, message = pcall(future_module.hold, future)
    if not ok then
      future_module.withdraw(future)
      error(message, 2)
    end
    self.held[future] = { f = f, seed = seed, number = number }
    future_module.run_due()
    return future
  end
  local is_sent, message = hand_out(self, future, f, args, seed, number)
  if not is_sent then
    future_module.withdraw(future)
    error(message, 2)
  end
  future_module.run_due()
  return future
end

--- Has each of the pool's workers call f once, and returns what it has returned there: a list with an item for each
--- worker. Workers that begin later, or replace others, call it too, before anything else. Raises an error when f fails
--- in one of them; then those that come later don't call it. Example: `pool:everywhere(function() connection = open()
--- end)`
---@param f function
---@return any[] results with n
function Pool:everywhere(f)
  if getmetatable(self) ~= Pool then common.refuse_self("everywhere", "pool", self, 2) end
  if self.closed then error("the pool is closed", 2) end
  if not common.is_callable(f) then error(("everywhere: a function is expected, got %s"):format(type(f)), 2) end
  f = common.as_function(f)
  if task.is_inside() ~= self.is_inside then return { n = 1, (f()) } end
  local all, options, given = self.everywhere_list, merged(self, nil, "everywhere")
  options.engine, options.workers = self.resolved.engine, self.resolved.workers -- also where the command line says them
  local ok, results = pcall(everywhere.call, all, f, options, given)
  if self.sent then self.sent:set_everywhere(all) end
  if self.heirs and self.heirs.sent then self.heirs.sent:set_everywhere(all) end
  if not ok then error(results, 0) end
  return results
end

--- Ends the pool: calls that have not ended are cancelled, workers are stopped. Safe to call twice.
function Pool:close()
  if getmetatable(self) ~= Pool then common.refuse_self("close", "pool", self, 2) end
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
