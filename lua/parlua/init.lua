--- parlua: runs a Lua function over many sets of arguments, in parallel. The public interface.
local host = require "parlua.host"
local run = require "parlua.run"
local task = require "parlua.task"
local sources = require "parlua.sources"
local stream = require "parlua.stream"
local collect = require "parlua.collect"

local parlua = { _VERSION = "0.1.0" }

parlua.range = sources.range
parlua.list = sources.list
parlua.product = sources.product
parlua.zip = sources.zip
parlua.lines = sources.lines
parlua.blocks = sources.blocks
parlua.files = sources.files
parlua.iterate = sources.iterate
parlua.csv = sources.csv
parlua.take = sources.take
parlua.enumerate = sources.enumerate
parlua.batch = sources.batch

--- Calls f once for each set of arguments and returns the results in their order.
--- Example: `local squares = parlua.map(function(x) return x * x end, parlua.range(1, 10))`
---@param f function its first result is kept (return a table to keep more); nil is a result
---@param arguments any a list, a source, an iterator function or a coroutine
---@param options? table see the README's table of options
---@return table results results[i] for task i, nil where it failed or returned nil; results.n: number of tasks
---@return parlua.Failure[] failures sorted by index
---@return parlua.Summary summary
function parlua.map(f, arguments, options) return collect.map(f, arguments, options) end

--- Calls f once for each set of arguments, for its effects; results are not kept.
---@return parlua.Failure[] failures
---@return parlua.Summary summary
function parlua.each(f, arguments, options) return collect.each(f, arguments, options) end

--- Streams results: `for i, a, b in parlua.imap(f, arguments) do`, all of f's results, in order, or as they end (`ordered = false`). A task
--- that failed is passed over: see the stream's `failures`. Workers are held back while the loop's body is slow (`window`).
---@return fun(stream): integer, ... iterator
---@return table stream stream.failures, stream:summary(), stream:close()
function parlua.imap(f, arguments, options) return stream.imap(f, arguments, options) end

--- Processors that this process may use: affinity, cgroup quota, batch allocation.
---@return integer
function parlua.cores() return host.cores() end

--- The running task, for what f itself wants to know: `parlua.task.index`, `.attempt`, `.worker`; all nil where no task runs.
parlua.task = task.running

parlua.interrupted = run.interrupted

return parlua
