--- parlua: runs a Lua function over many sets of arguments, in parallel. The public interface.
local host = require "parlua.host"
local lazy = require "parlua.lazy"
local exec = lazy "parlua.exec"
local run = require "parlua.run"
local pool = lazy "parlua.pool"
local several = lazy "parlua.future.several"
local progress = lazy "parlua.worker.progress"
local reduce = lazy "parlua.sink.reduce"
local search = lazy "parlua.sink.search"
local task = require "parlua.task"
local sources = require "parlua.source"
local spawn = lazy "parlua.worker.spawn"
local stream = lazy "parlua.sink.stream"
local collect = require "parlua.sink.list"

local loops = lazy "parlua.feed.loops"

sources.Source.__call = function(source, _, control) return loops.step(source, control) end

local parlua = { _VERSION = "0.1.0" }

parlua.range = sources.range
parlua.list = sources.list
parlua.iterate = sources.iterate
parlua.take = sources.take
parlua.enumerate = sources.enumerate
parlua.batch = sources.batch
parlua.filter = sources.filter

--- Calls f once for each set of arguments and returns the results in their order.
--- Example: `local squares = parlua.map(function(x) return x * x end, parlua.range(1, 10))`
---@param f function its first result is kept (return a table to keep more); nil is a result
---@param arguments any a list, a source, an iterator function or a coroutine
---@param options? parlua.Options a wrong one raises, before any work starts
---@return table results results[i] for task i, nil where it failed or returned nil; results.n: number of tasks
---@return parlua.Failure[] failures sorted by index
---@return parlua.Summary summary
function parlua.map(f, arguments, options) return collect.map(f, arguments, options) end

--- As parlua.map, where each item of the list is itself a list: the arguments of a task.
--- Example: `parlua.starmap(math.max, { { 1, 5 }, { 3, 2, 4 } })` returns { 5, 4 }
---@param f function
---@param lists any[][]|any a list of lists, or a source of lists; a list may have a field n
---@param options? parlua.Options
---@return table results
---@return parlua.Failure[] failures
---@return parlua.Summary summary
function parlua.starmap(f, lists, options) return collect.map(f, sources.spread(lists), options) end

--- Calls f once for each set of arguments, for its effects; results are not kept.
--- Example: `local failures = parlua.each(os.remove, parlua.files("/tmp/run-*.log"))`
---@param f function
---@param arguments any as for parlua.map
---@param options? parlua.Options
---@return parlua.Failure[] failures
---@return parlua.Summary summary
function parlua.each(f, arguments, options) return collect.each(f, arguments, options) end

--- Streams results: `for i, a, b in parlua.imap(f, arguments) do`, all of f's results, in order, or as they end
--- (`ordered = false`). A task that failed is passed over: see the stream's `failures`. Workers are held back while the
--- loop's body is slow (`window`). Raises what parlua.map raises, in the loop: when the run is halted, say.
---@param f function
---@param arguments any as for parlua.map
---@param options? parlua.Options
---@return parlua.Stream iterator to be called for the next task's index and results; nothing at the end
---@return parlua.Stream stream the same: stream.failures, stream:summary(), stream:close()
function parlua.imap(f, arguments, options) return stream.imap(f, arguments, options) end

--- Folds f's results, in the order of the arguments, to one value. `reduction` is a reducer (`parlua.mean`), a table of
--- reducers, whose values then come in a table, or has fields of its own: init (a value, or a function that makes one),
--- step(accumulator, result, index), merge(a, b), stop(accumulator), finish(accumulator); options stand beside them or
--- in the last argument. With `merge`, workers fold blocks of tasks, and only their values travel: then init must be
--- neutral. Example: `local total = parlua.reduce(math.sqrt, parlua.range(1e9), parlua.sum)`
---@param f function
---@param arguments any as for parlua.map
---@param reduction parlua.Reducer|table
---@param options? parlua.Options
---@return any value
---@return parlua.Failure[] failures
---@return parlua.Summary summary
function parlua.reduce(f, arguments, reduction, options) return reduce.reduce(f, arguments, reduction, options) end

--- The first task whose result is neither nil nor false: the one with the lowest index, the same on every engine. The
--- rest is cut off. Example: `local index, divisor = parlua.find(function(d) return 91 % d == 0 and d end,
--- parlua.range(2, 90))`
---@param f function
---@param arguments any as for parlua.map
---@param options? parlua.Options
---@return integer? index nil: there is none
---@return any value its result
---@return parlua.Failure[] failures of tasks before it
---@return parlua.Summary summary
function parlua.find(f, arguments, options) return search.find(f, arguments, options) end

--- Is some result neither nil nor false? The rest is cut off as soon as that is known.
---@param f function
---@param arguments any as for parlua.map
---@param options? parlua.Options
---@return boolean
---@return parlua.Failure[] failures when it is false
---@return parlua.Summary summary
function parlua.any(f, arguments, options) return search.any(f, arguments, options) end

--- Did every task return something that is neither nil nor false? A task that failed did not. The rest is cut off as
--- soon as one has not.
---@param f function
---@param arguments any as for parlua.map
---@param options? parlua.Options
---@return boolean
---@return parlua.Failure[] failures when no result was nil or false
---@return parlua.Summary summary
function parlua.all(f, arguments, options) return search.all(f, arguments, options) end

-- What only some programs use is loaded when it is first used.
local on_demand = {
  plot = "parlua.plot", background = "parlua.background", json = "parlua.wire.json_values",
  array = "parlua.array", load = "parlua.array", save = "parlua.array",
  write_csv = "parlua.feed.rows", log = "parlua.log",
}
-- the others are modules
local is_member = { array = true, load = true, save = true, background = true, write_csv = true }
local members = {
  { "parlua.source.products", "product", "zip" },
  { "parlua.source.texts", "lines", "blocks", "files", "csv", "jsonl" },
  { "parlua.sink.reducers", "sum", "count", "mean", "stats", "min", "max", "argmin", "argmax", "quantiles", "histogram",
    "top", "collect", "group" },
}
for _, names in ipairs(members) do
  for k = 2, #names do on_demand[names[k]], is_member[names[k]] = names[1], true end
end
setmetatable(parlua, {
  on_demand = on_demand, -- for help and completion
  __index = function(_, name)
    local module = on_demand[name] and require(on_demand[name])
    if module then
      parlua[name] = is_member[name] and module[name] or module
      return parlua[name]
    end
  end,
})

--- Runs a program, without a shell, and waits for its end: nothing needs quotes. Options, in a last table: stdin (a
--- string, { file = "name" }, true: parlua's own, false: nothing), stdout and stderr (a function, called with each
--- line; { file = "name", append = true }; true: parlua's own, false: nowhere; stderr also "stdout"), timeout, cwd, env
--- (a table of variables, false takes one out), check (false: a program that fails raises nothing). In a task it ends
--- with the task, at a time limit or Ctrl-C, and so does what it has started.
--- Example: `local text = parlua.exec("sort", "-u", { stdin = "b\na\nb\n" })`
---@param program string|string[] looked for in PATH where there is no slash in it; or a list: the program and its
--- arguments
---@param ... string|number|table its arguments, then options
---@return string? stdout what it wrote; nil where that went elsewhere
---@return string? stderr
---@return integer|string status the exit status, or the name of the signal that ended it: "SIGKILL"
function parlua.exec(program, ...) return exec.exec(program, ...) end

--- Opens a pool: workers that stay over several calls, and single calls whose results are asked for later. It has the
--- methods map, each, starmap, imap, reduce, find, any, all, submit and close. Example: `local pool = parlua.pool {
--- engine = "threads" }`
---@param options? parlua.Options defaults for the pool's calls
---@return parlua.Pool
function parlua.pool(options) return pool.open(options) end

--- Calls f(...) in a worker of the program's own pool, and returns at once.
--- Example: `local future = parlua.submit(math.sqrt, 2); print(future:get())`
---@param f function
---@param ... any its arguments
---@return parlua.Future future future:get(), wait(seconds), done(), cancel(), on_done(f), future.failure
function parlua.submit(f, ...) return pool.submit(f, ...) end

--- Futures in the order in which their calls end. Example: `for future, k in parlua.as_completed(futures) do
--- print(k, future:get()) end`
---@param futures parlua.Future[]
---@return fun(): parlua.Future?, integer? iterator k: the future's place in the list
function parlua.as_completed(futures) return several.as_completed(futures) end

--- Waits for calls. Example: `local ended, open = parlua.wait(futures, "first", 10)`
---@param futures parlua.Future[]
---@param how? "all"|"first"|"first_failure" default: "all"; "first_failure": until one fails, or all have ended
---@param seconds? number at most so long
---@return parlua.Future[] ended in the order in which they did
---@return parlua.Future[] open the others
function parlua.wait(futures, how, seconds) return several.wait(futures, how, seconds) end

--- Waits for the first call that ends, cancels the others, and returns what it returned, or raises its failure.
---@param futures parlua.Future[]
---@return any ...
function parlua.race(futures) return several.race(futures) end

--- Calls functions side by side, each in a worker of its own, and returns the first result of each, in order. The first
--- failure is raised. Example: `local a, b = parlua.run { load_left, load_right }`
---@param functions function[]
---@param options? parlua.Options
---@return any ...
function parlua.run(functions, options) return collect.run(functions, options) end

--- In a task of map, starmap, each, imap or reduce: hands the call f(...) to the same run, as a new task, which begins
--- when this one has returned. Its result arrives with the others, behind those of the source; results.parents (of
--- imap: stream:parent(index)) tells which task has spawned it. The run ends when none is left.
--- Example: `for _, part in ipairs(parts) do parlua.spawn(solve, part) end`
---@param f function
---@param ... any its arguments
function parlua.spawn(f, ...) return spawn.spawn(f, ...) end

--- In a long task: says how far it is, for the bar. Any number of calls: what comes too soon costs a look at the clock.
--- Example: `for k = 1, n do step(k) parlua.progress(k, n) end`
---@param done number
---@param total number above 0
function parlua.progress(done, total) return progress.progress(done, total) end

--- Processors that this process may use: affinity, cgroup quota, batch allocation. Under MPI, those of all ranks
--- together.
---@return integer
function parlua.cores()
  local _, cores = host.ranks()
  return cores or host.cores()
end

--- The running task, for what f itself wants to know: `parlua.task.index`, `.attempt`, `.worker`; all nil where no task
--- runs.
parlua.task = task.running

parlua.interrupted = run.interrupted

return parlua
