--- Engines as a run sees them: what each can do, which one a call gets, how many workers it has, and the engines that
--- are kept warm from call to call. All that the Lua side knows of engines stands here.
local common = require "parlua.common"
local garbage = require "parlua.lazy" "parlua.garbage"
local arrays = require "parlua.array.known"
local host = require "parlua.host"
local indexed = require "parlua.source.indexed"
local codec = require "parlua.codec"
local context = require "parlua.wire.context"
local lazy = require "parlua.lazy"
local pace = require "parlua.run.pace"
local task = require "parlua.task"

local record = require "parlua.wire.record"
local world = lazy "parlua.wire.world"

--- The classes of the objects in a source's lists.
local function classes(source)
  if not source or source.n and not source.items and not source.parts then return nil end
  if indexed.is_plain_list(source) then return nil end
  return require "parlua.wire.classes"(source) or nil
end

--- What the functions of a chain's job have captured, for when it is asked for: see src/lua/codec/refer.c.
local function captured(chain) return require "parlua.wire.captured"({ chain.f, chain.setup }, 2) end

local M = {}

--- What each engine can do, by its name (src/engines/engine.h: struct engine_can).
local kinds, kinds_in_order = {}, host.engines()
for _, kind in ipairs(kinds_in_order) do kinds[kind.name] = kind end

local function can(engine, ability) return kinds[engine][ability] end

--- Do tasks run in the script's own state?
function M.runs_in_program(engine) return can(engine, "run_in_program") end

--- Are the engine's workers copies of this process, which see all that the script has?
function M.inherits(engine) return can(engine, "inherit") end

--- Does a run of these engines get workers that are kept, though they are copies of this process? So it is in a pool:
--- they were forked once, and what comes later is sent.
---@param engines table where warm ones are kept
function M.keeps(engine, engines)
  return engines.keeps and can(engine, "inherit") and not can(engine, "run_in_program") or false
end

--- May the engine's workers be on other hosts?
function M.reaches_hosts(engine) return can(engine, "reach_hosts") end

--- Do the engine's workers reach memory that this process shares?
function M.reaches(engine)
  return can(engine, "inherit") or can(engine, "share_memory") or can(engine, "run_in_program")
end

local function engines_that_can(...)
  local names = {}
  for _, kind in ipairs(kinds_in_order) do
    local is_here = not kind.reach_hosts or host.ranks()
    for k = 1, select("#", ...) do
      if is_here and kind[(select(k, ...))] then
        names[#names + 1] = ("engine = %q"):format(kind.name)
        break
      end
    end
  end
  return table.concat(names, " or ")
end

--- The engines that can end a task which does not return, for messages.
function M.killing_engines() return engines_that_can("kill") end

local function refuse(engine, option, why, ...)
  error(("option '%s': the %s engine %s; use %s"):format(option, engine, why, engines_that_can(...)), 0)
end

local MOST_WORKERS = 4096 -- of those that are threads or processes
local MOST_AT_ONCE = 1000 -- tasks of the async engine, unless the option workers says otherwise

--- Raises a clear error for what the engine can't honour.
function M.check(engine, options)
  if options.timeout and not can(engine, "kill") and not can(engine, "abandon") and not can(engine, "end_waiting") then
    refuse(engine, "timeout", "cannot stop a task", "kill", "abandon")
  end
  if options.workers and options.workers > MOST_WORKERS and not can(engine, "run_in_program") then
    error(("wrong value for the option workers: %d; the %s engine takes an integer from 1 to %d"):format(
      options.workers, engine, MOST_WORKERS), 0)
  end
  if options.max_tasks and can(engine, "run_in_program") then
    refuse(engine, "max_tasks", "has no workers that could be replaced", "kill", "abandon")
  end
  if options.memory and not can(engine, "limit_memory") then
    refuse(engine, "memory", "cannot limit a worker's memory", "limit_memory")
  end
end

--- Raises an error when srun started several copies of this program that know nothing of each other: each would do all
--- the work, and write all the results.
local function refuse_copies()
  local copies = tonumber(os.getenv "SLURM_STEP_NUM_TASKS")
  if copies and copies > 1 and os.getenv "SLURM_PROCID" then
    error(("srun started %d copies of this program, and no MPI joins them: each would run every task. "
      .. "For one run over all of them: srun --mpi=pmix (srun --mpi=list shows what there is), or mpirun. "
      .. "For a run of its own in each: --engine process"):format(copies), 0)
  end
end

--- The engine's name for a call: a call inside a task runs serially.
function M.choose(options)
  if task.is_inside() then return "serial" end
  local name = options.engine or "auto"
  if name == "auto" then
    name = host.ranks() and "mpi" or "process"
    if name == "process" then refuse_copies() end
  end
  return name
end

--- How many workers a call uses. Under mpirun or srun, the option says how many each rank has. A program that was
--- started without them spawns as many ranks as its first call on the mpi engine has workers.
function M.count_workers(engine, options)
  if engine == "serial" then return 1 end
  if engine == "async" then return options.workers or MOST_AT_ONCE end
  local ranks, cores = host.ranks()
  if engine == "mpi" and ranks then return options.workers and options.workers * ranks or cores end
  local workers = options.workers or host.cores()
  if engine == "mpi" then
    local ok, message = host.spawn(workers)
    if not ok then error('engine "mpi": ' .. message, 0) end
  end
  return workers
end

-- ---- warm engines ----

local idle = {} -- engine name .. workers -> list of engines that are open and not in use
M.warm = idle
-- Engines of runs that are not closed, and how many workers each may have: a stream that is collected gives its engine
-- back, open.
local in_use, busy_workers = {}, 0

-- A loop over imap that is left by `break` forgets its stream, and Lua's collector, which sees a few small tables, is
-- in no hurry to find it: workers and descriptors would pile up. So all garbage is collected when the runs that are not
-- closed have this many workers, and then whenever they have twice as many as the last collection left: what it costs
-- is shared by as many runs.
local first_bound = 128
local bound = first_bound

--- Closes the runs of streams that nobody holds any more.
local function collect_streams()
  garbage.collect()
  bound = math.max(first_bound, 2 * busy_workers)
end

--- Ends workers that wait for a call of this kind or another: for want of descriptors or memory.
local function end_idle()
  for key, list in pairs(idle) do
    idle[key] = nil
    for _, engine in ipairs(list) do engine:close() end
  end
end

local KEPT = "kept " -- begins the key of workers that are copies of this process and stay

local function take_warm(engines, key)
  local list = engines[key]
  return list and table.remove(list)
end

local FEW_WORKERS = 4

--- What forked workers begin with is loaded here, once: else each would load it anew (0.2 ms of a call with one task).
---@param is_few boolean there are few tasks: they may do without what many tables need
local function load_worker(is_few, workers)
  require "parlua.worker"
  if is_few and workers <= FEW_WORKERS then return end
  require "parlua.worker.other_text"
  require "parlua.worker.made"
  require "parlua.wire.shape_read"
end

--- Takes an engine that is warm, or opens one. Returns it, and the key to give it back with.
---@param engines table where warm ones are kept
---@param is_kept? boolean its workers are copies of this process that stay
---@param is_few? boolean the run has few tasks
function M.take(name, workers, memory, engines, is_kept, is_few)
  if can(name, "inherit") then load_worker(is_few and not is_kept, workers) end
  local key = ("%s%s %d %.0f"):format(is_kept and KEPT or "", name, workers, memory or 0)
  local message
  if busy_workers >= bound then collect_streams() end
  local engine = take_warm(engines, key)
  if not engine and can(name, "inherit") then pace.fork() end
  if not engine then engine, message = host.engine(name, workers, memory or 0) end
  if not engine and busy_workers > 0 then -- for want of descriptors or memory, which forgotten streams may hold
    collect_streams()
    engine = take_warm(engines, key)
    if not engine then engine, message = host.engine(name, workers, memory or 0) end
  end
  if not engine and next(idle) then
    end_idle()
    engine, message = host.engine(name, workers, memory or 0)
  end
  if not engine then error(common.unopened(name, message), 0) end
  in_use[engine], busy_workers = workers, busy_workers + workers
  return engine, key
end

--- Gives an engine back after a run. Workers that are copies of this process end with their run, but for a pool's.
function M.give(engine, name, key, engines)
  busy_workers = busy_workers - (in_use[engine] or 0)
  in_use[engine] = nil
  if (can(name, "inherit") and key:sub(1, #KEPT) ~= KEPT) or engines.closed then
    engine:close()
  else
    engines[key] = engines[key] or {}
    table.insert(engines[key], engine)
  end
end

--- Ends those that wait for the next call and share this process's memory: they may hold arrays of the last one.
function arrays.end_idle()
  for key, list in pairs(idle) do
    if can(key:match "^%l+", "share_memory") then
      idle[key] = nil
      for _, engine in ipairs(list) do engine:close() end
    end
  end
end

--- Ends workers that are kept warm: a pool's, after which none are kept.
function M.close(engines)
  if engines.closed then return end
  for key, list in pairs(engines) do
    if type(list) == "table" then
      for _, engine in ipairs(list) do engine:close() end
      engines[key] = nil
    end
  end
  engines.closed = true
end
-- LuaJIT 2.1.0-beta3 was seen to go from a trace of this loop to the next, and back, for ever
require("jit").off(M.close)

--- What goes before a job: the books that the run's messages go by (wire/context.lua), of which the job's own, the
--- third, is still to come; and for workers with a state of their own the script's state, which they need before they
--- decode the job.
---@param source? table of the run
---@param lasts? boolean the script goes on while tasks are handed out: what it changes is sent with them
---@param is_kept? boolean the workers are copies of this process, perhaps of what it was some time ago
---@return table chain
---@return boolean shares the workers have this process's memory
---@return table|false state see wire/world.lua
function M.before(engine, job, source, lasts, is_kept)
  record.one_thread() -- first: the environment is a part of what workers know
  if can(engine, "inherit") and not is_kept then
    local known = lasts and world.prepare(false, false, true)
    local walk = codec.walk(world.roots(job), lasts)
    local chain = { walk, captured = captured, f = job.f, setup = job.setup, inherits = true }
    job.chain, chain.own = chain, { chain[1] }
    if known then chain.world, chain.version = known.id, known.version end
    return chain, false, false
  end
  local shares = can(engine, "share_memory")
  local found = classes(source)
  if found then job.classes = found end
  local is_distant = can(engine, "reach_hosts")
  local state = world.unchanged(shares, is_distant, is_kept) or world.prepare(shares, is_distant, is_kept)
  context.use(is_kept and { inherits = true, unpack(state.chain) } or state.chain, shares)
  local chain = { state.chain[1], state.chain[2], false, own = {}, captured = captured, f = job.f, setup = job.setup,
    world = state.id, version = state.version, is_distant = is_distant, inherits = is_kept or nil }
  return chain, shares, state
end

return M
