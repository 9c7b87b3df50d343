---@meta parlua
--- What editors know of parlua: the module itself is inside the program. Not loaded by anything; `make install` puts it
--- into PREFIX/share/parlua, for the setting `workspace.library` of lua-language-server. A spec compares it with the
--- module.

local parlua = {}

-- ---- options ----

--- Options of a call, its last argument; also of pools, and of a job in its field `options`. Each may stand on the
--- command line (`--max-failures 3`) and in the environment (`PARLUA_MAX_FAILURES=3`) instead. `false` takes back one
--- without a default.
---@class parlua.Options
---@field workers? integer how many workers, one for each processor if not given; under mpirun and srun in each rank
---@field engine? "auto"|"serial"|"async"|"threads"|"process"|"mpi" default: process, and mpi under mpirun and srun
---@field deadline? number|string|"slurm" seconds since the program began, or "23h50m": no task is begun that would not
--- end by then
---@field timeout? number|string time limit of a task: seconds, or "500ms", "5s", "2m", "1h"
---@field memory? number|string memory limit of a worker: bytes, or "512M", "2G"
---@field max_tasks? integer a worker that has done so many tasks is replaced by a new one
---@field chunk? integer tasks handed to a worker at once; default: measured
---@field seed? integer what the tasks' random numbers follow from: in a call, from it and the task's index alone
---@field stdin? boolean tasks, and the programs that they run, read the script's standard input
---@field retries? integer how often a failed task is tried again; default 0
---@field backoff? number|string wait before the second try, in seconds or as "200ms"; doubled for each further one
---@field retry_on? parlua.FailureKind|parlua.FailureKind[] which failures are tried again; default: crash, timeout,
--- error
---@field on_error? "skip"|"halt"|fun(failure: parlua.Failure): any "halt": stop at the first failure and raise it; a
--- function: what it returns stands in for the result
---@field warn? boolean false: failures that the script does not look at, and a signal that ended the call, are not told
--- on standard error
---@field max_failures? integer|string stop after so many, or at a share such as "5%"
---@field ordered? boolean imap: results in order (default), or as they come
---@field progress? "bar"|"plain"|"json"|"none"|fun(event: string, data: table) default: a bar on a terminal
---@field log_level? "debug"|"info"|"warn"|"error" lines of parlua.log from this level on; default info
---@field log? string file to which lines of parlua.log are added; default: standard error
---@field tag? boolean the index of the task before each line that it prints
---@field report? string a page (HTML) that shows how the run went, is written to this file
---@field trace? string a trace for ui.perfetto.dev is written to this file
---@field journal? string record finished tasks in this SQLite file
---@field resume? boolean go on from the journal: run only what it lacks
---@field retry_failed? boolean on resuming, run failed tasks again
---@field force? boolean begin an old journal anew; with resume, accept one of another run
---@field setup? fun() run in each worker before its first task, and before the submitted calls of a pool
---@field as? "table"|"array" map: "array" packs numeric results into an array
---@field type? string as = "array": the type of its elements; default "double"
---@field fill? number as = "array": what stands for tasks without a result; default NaN
---@field into? parlua.Array map: an array that takes the results
---@field window? integer imap: how many tasks may be handed out beyond those that the loop has taken

--- Options of a job: those of a call, and what the command does with the results.
---@class parlua.JobOptions: parlua.Options
---@field output? string file for the results; default: standard output
---@field format? "jsonl"|"json"|"text"|"csv"|"tsv"|"none" default: jsonl
---@field shard? string "3/10", "3/10:block" or "slurm": a part of the job
---@field debug? boolean run serially, stop at the first failing task, show tracebacks

--- A job: what a script may return.
---@class parlua.Job
---@field map fun(...): any the function that is run for each task
---@field arguments? parlua.Arguments|fun(...: string): parlua.Arguments? or a function of the command line's words,
--- which may also yield tasks
---@field options? parlua.JobOptions
---@field reduce? parlua.Reduction|fun(accumulator: any, result: any, index: integer): any
---@field stop? fun(value: any, index?: integer): boolean? of a job that reduces: stop(accumulator), else stop(result,
--- index)
---@field finish? fun(results: any, failures: parlua.Failure[], summary: parlua.Summary)

-- ---- outcomes ----

---@alias parlua.FailureKind "error"|"timeout"|"crash"|"memory"|"unsendable"|"cancelled"

--- A task that did not return.
---@class parlua.Failure
---@field index integer the task
---@field parent? integer the task that has spawned it
---@field args table its arguments, with `n`
---@field path? string of lines, rows and blocks: the file that its argument comes from
---@field line? integer and the line
---@field kind parlua.FailureKind
---@field message string always readable
---@field value any what was raised, when it can cross
---@field traceback? string the task's own
---@field worker integer
---@field host string
---@field attempts integer how often it was tried
---@field seconds number how long the last try took

---@class parlua.Summary
---@field tasks integer tasks that ended
---@field returned integer
---@field failed integer
---@field cancelled integer tasks that were cut off, or not begun (of a known total)
---@field seconds number
---@field engine string
---@field workers integer of all ranks together
---@field ranks? integer of the MPI job, on the mpi engine under mpirun or srun
---@field interrupted? string "SIGINT", "SIGTERM" or "SIGHUP"
---@field out_of_time? boolean the deadline ended it
---@field stopped? string why `max_failures` ended the run
---@field replaced? integer tasks that failed, and for which `on_error` gave a result; they count as returned
---@field resumed? integer tasks whose outcome was taken from the journal

--- The stream of imap: its own iterator.
---@class parlua.Stream
---@field failures parlua.Failure[] so far
---@operator call: integer, any
local Stream = {}

--- Ends the run, whatever its state; safe to call twice.
function Stream:close() end

---@return parlua.Summary
function Stream:summary() end

-- ---- arguments ----

--- What may stand for arguments: a list, a source, an iterator function, a coroutine.
---@alias parlua.Arguments any[]|parlua.Source|function|thread

--- A source of arguments; it can also be stepped through: `for x in source do`.
---@class parlua.Source
---@field n? integer number of tasks, when known
---@operator call: any
local Source = {}

--- The first n tasks.
---@param n integer
---@return parlua.Source
function Source:take(n) end

--- Those for whose arguments f returns neither nil nor false; f runs in the script.
---@param f fun(...): any
---@return parlua.Source
function Source:filter(f) end

--- With their number, from 1, as the first argument.
---@return parlua.Source
function Source:enumerate() end

--- Lists of n items each.
---@param n integer
---@return parlua.Source
function Source:batch(n) end

--- Numbers: task i has first + (i - 1) * step. Example: `parlua.range(1, 1e6)`, `parlua.range(10)`,
--- `parlua.range(math.huge)`
---@param first number with one argument: the last, and the first is 1
---@param last? number math.huge: without end
---@param step? number default 1
---@return parlua.Source
function parlua.range(first, last, step) end

--- The items of a plain list, as a source.
---@param items any[]
---@return parlua.Source
function parlua.list(items) end

--- Every combination of lists or ranges, the last varying fastest; or, of one table of them by name, one table with
--- these fields a task. Example: `parlua.product { alpha = { 1, 2 }, beta = parlua.range(3) }`
---@param ... parlua.Source|any[]|table<string, parlua.Source|any[]>
---@return parlua.Source
function parlua.product(...) end

--- Lists or ranges in step, as long as the shortest.
---@param ... parlua.Source|any[]
---@return parlua.Source
function parlua.zip(...) end

--- The lines of a text file, without their ends.
---@param path string|string[]|parlua.Source "-": standard input; a pattern, a list, parlua.files: several files
---@param options? {keep_cr: boolean}
---@return parlua.Source
function parlua.lines(path, options) end

--- A text file in pieces of whole lines; with `raw` a task gets a pointer (const char *) and a length.
---@param path string|string[]|parlua.Source
---@param options? {size: integer|string, raw: boolean, start: string, record: integer}
---@return parlua.Source
function parlua.blocks(path, options) end

--- Paths that a shell pattern matches, sorted.
---@param pattern string|string[] "*", "?", "[...]"; "**" stands for any number of directories
---@return parlua.Source
function parlua.files(pattern) end

--- Rows of a file of comma-separated values, as tables by the names in its header.
---@param path string|string[]|parlua.Source "-": standard input; a pattern, a list, parlua.files: several files
---@param options? {header: boolean|string[], columns: string[], separator: string, quote: string, skip: integer, types:
--- table<string, "auto"|"number"|"string">}
---@return parlua.Source
function parlua.csv(path, options) end

--- The values of a file of JSON lines, parlua's own output included.
---@param path string|string[]|parlua.Source "-": standard input; a pattern, a list, parlua.files: several files
---@param options? table it has none
---@return parlua.Source
function parlua.jsonl(path, options) end

--- Writes rows to a file of comma-separated values; parlua.csv reads them back as they were.
---@param path string
---@param rows table|function|parlua.Source|parlua.Stream
---@param options? {columns: string[], separator: string}
---@return integer n how many rows
function parlua.write_csv(path, rows, options) end

--- Values as JSON and back; what JSON lacks is an object with one key that begins with `$`.
---@class parlua.Json
---@field encode fun(value: any): string one line, the keys of objects sorted; never raises
---@field decode fun(text: string): any raises what is wrong with the text, and where

---@type parlua.Json
parlua.json = nil

--- In a task of map, starmap, each, imap or reduce: hands the call f(...) to the same run, as a new task.
---@param f function
---@param ... any its arguments
function parlua.spawn(f, ...) end

--- In a long task: says how far it is, for the bar.
---@param done number
---@param total number
function parlua.progress(done, total) end

--- Lines for people, from the script and from tasks: time, level, host, worker, task. Where they go say the options log
--- and log_level.
---@class parlua.Log
---@field debug fun(format: string, ...) as string.format, whose %s shows tables too
---@field info fun(format: string, ...)
---@field warn fun(format: string, ...)
---@field error fun(format: string, ...)

---@type parlua.Log
parlua.log = nil

--- What a generic `for` steps through. Example: `parlua.iterate(pairs(t))`
---@param step function
---@param state? any
---@param control? any
---@return parlua.Source
function parlua.iterate(step, state, control) end

--- The first n tasks of a source.
---@param arguments parlua.Arguments
---@param n integer
---@return parlua.Source
function parlua.take(arguments, n) end

--- The tasks of a source for whose arguments f returns neither nil nor false; f runs in the script.
---@param arguments parlua.Arguments
---@param f fun(...): any
---@return parlua.Source
function parlua.filter(arguments, f) end

--- The tasks of a source with their number, from 1, as the first argument.
---@param arguments parlua.Arguments
---@return parlua.Source
function parlua.enumerate(arguments) end

--- Tasks of n items each: lists of what were the arguments of single tasks.
---@param arguments parlua.Arguments
---@param n integer
---@return parlua.Source
function parlua.batch(arguments, n) end

-- ---- calls ----

--- Calls f once for each set of arguments and returns the results in their order.
---@param f function its first result is kept; nil is a result
---@param arguments parlua.Arguments
---@param options? parlua.Options
---@return table results results[i] for task i, nil where it failed or returned nil; results.n: number of tasks
---@return parlua.Failure[] failures sorted by index
---@return parlua.Summary summary
function parlua.map(f, arguments, options) end

--- As parlua.map, where each item is itself a list: the arguments of a task.
---@param f function
---@param lists any[][]|parlua.Arguments
---@param options? parlua.Options
---@return table results
---@return parlua.Failure[] failures
---@return parlua.Summary summary
function parlua.starmap(f, lists, options) end

--- Calls f once for each set of arguments, for its effects; results are not kept.
---@param f function
---@param arguments parlua.Arguments
---@param options? parlua.Options
---@return parlua.Failure[] failures
---@return parlua.Summary summary
function parlua.each(f, arguments, options) end

--- Streams results: `for i, a, b in parlua.imap(f, arguments) do`.
---@param f function
---@param arguments parlua.Arguments
---@param options? parlua.Options
---@return parlua.Stream iterator
---@return parlua.Stream stream the same
function parlua.imap(f, arguments, options) end

--- Folds f's results, in the order of the arguments, to one value.
---@param f function
---@param arguments parlua.Arguments
---@param reduction parlua.Reduction
---@param options? parlua.Options
---@return any value
---@return parlua.Failure[] failures
---@return parlua.Summary summary
function parlua.reduce(f, arguments, reduction, options) end

--- The first task whose result is neither nil nor false.
---@param f function
---@param arguments parlua.Arguments
---@param options? parlua.Options
---@return integer? index nil: there is none
---@return any value its result
---@return parlua.Failure[] failures of tasks before it
---@return parlua.Summary summary
function parlua.find(f, arguments, options) end

--- Is some result neither nil nor false?
---@param f function
---@param arguments parlua.Arguments
---@param options? parlua.Options
---@return boolean
---@return parlua.Failure[] failures
---@return parlua.Summary summary
function parlua.any(f, arguments, options) end

--- Did every task return something that is neither nil nor false?
---@param f function
---@param arguments parlua.Arguments
---@param options? parlua.Options
---@return boolean
---@return parlua.Failure[] failures
---@return parlua.Summary summary
function parlua.all(f, arguments, options) end

-- ---- reducers ----

--- How results become one value. Called with a field's name or a function of the result, it becomes one of that:
--- `parlua.mean "t"`.
---@class parlua.Reducer
---@field init any the accumulator to begin with, or a function that makes it
---@field step fun(accumulator: any, result: any, index: integer): any
---@field merge? fun(a: any, b: any): any
---@field finish? fun(accumulator: any): any
---@operator call(string|integer|function): parlua.Reducer

--- A reduction of one's own; options may stand beside its fields.
---@class parlua.OwnReduction: parlua.Options
---@field init any the accumulator to begin with: a value (a table is copied), or a function that makes one
---@field step fun(accumulator: any, result: any, index: integer): any
---@field merge? fun(a: any, b: any): any puts two accumulators together, b's tasks being those behind a's
---@field stop? fun(accumulator: any): boolean? true: that is enough
---@field finish? fun(accumulator: any): any makes the value of the last accumulator
---@field block? integer with merge: tasks in each block

---@alias parlua.Reduction parlua.Reducer|parlua.OwnReduction|table<string, parlua.Reducer>

---@type parlua.Reducer the sum of the results
parlua.sum = nil
---@type parlua.Reducer how many results are neither nil nor false
parlua.count = nil
---@type parlua.Reducer the mean of the results
parlua.mean = nil
---@type parlua.Reducer { n =, mean =, variance =, deviation =, min =, max = }
parlua.stats = nil
---@type parlua.Reducer the least result
parlua.min = nil
---@type parlua.Reducer the greatest result
parlua.max = nil
---@type parlua.Reducer { index =, value = } of the least result, the first of equal ones
parlua.argmin = nil
---@type parlua.Reducer { index =, value = } of the greatest result
parlua.argmax = nil
---@type parlua.Reducer a list of the results, nils left out
parlua.collect = nil

--- Quantiles, a list: `parlua.quantiles(0.25, 0.5, 0.75)`. Exact up to 131,072 results.
---@param ... number shares from 0 to 1
---@return parlua.Reducer
function parlua.quantiles(...) end

--- A reducer that counts in equal intervals; or, of a list of numbers, the picture that parlua.plot.histogram draws.
---@param shape {from: number, to: number, bins: integer}|number[]
---@param ... any
---@return parlua.Reducer
function parlua.histogram(shape, ...) end

--- The k largest results.
---@param k integer
---@param by? string|function a field's name, or a function of the result
---@return parlua.Reducer
function parlua.top(k, by) end

--- A table by keys, each the value of the results that have it.
---@param by string|function the key
---@param reducer? parlua.Reducer|table<string, parlua.Reducer> default: parlua.count
---@return parlua.Reducer
function parlua.group(by, reducer) end

-- ---- single calls and pools ----

--- A submitted call.
---@class parlua.Future
---@field failure? parlua.Failure of a call that has ended without returning
local Future = {}

--- Waits until the call has ended, at most `seconds`; returns whether it has.
---@param seconds? number
---@return boolean
function Future:wait(seconds) end

--- Waits for the call and returns all that it returned; raises its failure. Raises an error when it has not ended
--- within `seconds`; the call goes on.
---@param seconds? number
---@return any ...
function Future:get(seconds) end

--- Has the call ended? Does not wait.
---@return boolean
function Future:done() end

--- Has f(future) called in the script once the call has ended.
---@param f fun(future: parlua.Future)
---@return parlua.Future self
function Future:on_done(f) end

--- Cancels the call; false when that is no longer possible.
---@return boolean
function Future:cancel() end

--- Workers that stay over several calls: the functions of the module, as methods.
---@class parlua.Pool
local Pool = {}

--- Has each of the pool's workers call f once; those that begin later call it too. Raises an error when f fails.
---@param f fun(): any
---@return any[] results what f returned in each worker, with n
function Pool:everywhere(f) end

---@param f function
---@param arguments parlua.Arguments
---@param options? parlua.Options
---@return table results
---@return parlua.Failure[] failures
---@return parlua.Summary summary
function Pool:map(f, arguments, options) end

---@param f function
---@param lists any[][]|parlua.Arguments
---@param options? parlua.Options
---@return table results
---@return parlua.Failure[] failures
---@return parlua.Summary summary
function Pool:starmap(f, lists, options) end

---@param f function
---@param arguments parlua.Arguments
---@param options? parlua.Options
---@return parlua.Failure[] failures
---@return parlua.Summary summary
function Pool:each(f, arguments, options) end

---@param f function
---@param arguments parlua.Arguments
---@param options? parlua.Options
---@return parlua.Stream iterator
---@return parlua.Stream stream
function Pool:imap(f, arguments, options) end

---@param f function
---@param arguments parlua.Arguments
---@param reduction parlua.Reduction
---@param options? parlua.Options
---@return any value
---@return parlua.Failure[] failures
---@return parlua.Summary summary
function Pool:reduce(f, arguments, reduction, options) end

---@param f function
---@param arguments parlua.Arguments
---@param options? parlua.Options
---@return integer? index
---@return any value
---@return parlua.Failure[] failures
---@return parlua.Summary summary
function Pool:find(f, arguments, options) end

---@param f function
---@param arguments parlua.Arguments
---@param options? parlua.Options
---@return boolean
---@return parlua.Failure[] failures
---@return parlua.Summary summary
function Pool:any(f, arguments, options) end

---@param f function
---@param arguments parlua.Arguments
---@param options? parlua.Options
---@return boolean
---@return parlua.Failure[] failures
---@return parlua.Summary summary
function Pool:all(f, arguments, options) end

--- Calls f(...) in one of the pool's workers, and returns at once.
---@param f function
---@param ... any
---@return parlua.Future
function Pool:submit(f, ...) end

--- Ends the pool: calls that have not ended are cancelled.
function Pool:close() end

--- What is raised where a program can't be started, fails, or takes too long.
---@class parlua.ExecError
---@field program string
---@field reason "start"|"status"|"timeout"|"ended" ended: its task was, by a time limit, Ctrl-C, a crash
---@field message string
---@field status? integer|string its exit status, or the name of the signal that ended it
---@field signal? integer that signal's number
---@field stdout? string what it had written, where that was collected
---@field stderr? string
---@field missing? integer so many bytes of the beginning of these are lost

---@class parlua.ExecOptions
---@field stdin? string|boolean|{file: string} text; true: parlua's own; false: nothing (as in tasks)
---@field stdout? boolean|fun(line: string)|{file: string, append?: boolean} true: parlua's own; false: nowhere
---@field stderr? boolean|"stdout"|fun(line: string)|{file: string, append?: boolean}
---@field timeout? number|string seconds, or "5s"
---@field cwd? string
---@field env? table<string, string|number|false> variables that are set, or taken out
---@field check? boolean false: a program that fails raises nothing

--- Runs a program, without a shell, and waits for its end.
---@param program string|string[] looked for in PATH where there is no slash in it; or a list: the program and its
--- arguments
---@param ... string|number|parlua.ExecOptions its arguments, then options
---@return string? stdout what it wrote; nil where that went elsewhere
---@return string? stderr
---@return integer|string status the exit status, or the name of the signal that ended it: "SIGKILL"
function parlua.exec(program, ...) end

--- Opens a pool. Example: `local pool = parlua.pool { engine = "threads" }`
---@param options? parlua.Options defaults for the pool's calls
---@return parlua.Pool
function parlua.pool(options) end

--- Calls f(...) in a worker of the program's own pool, and returns at once.
---@param f function
---@param ... any
---@return parlua.Future
function parlua.submit(f, ...) end

--- Futures in the order in which their calls end, each with its place in the list.
---@param futures parlua.Future[]
---@return fun(): parlua.Future?, integer?
function parlua.as_completed(futures) end

--- Waits for calls: returns those that have ended, and the others.
---@param futures parlua.Future[]
---@param how? "all"|"first"|"first_failure"
---@param seconds? number
---@return parlua.Future[] ended
---@return parlua.Future[] open
function parlua.wait(futures, how, seconds) end

--- Waits for the first call that ends, cancels the others, and returns what it returned.
---@param futures parlua.Future[]
---@return any ...
function parlua.race(futures) end

--- Calls functions side by side, each in a worker of its own, and returns the first result of each.
---@param functions function[]
---@param options? parlua.Options
---@return any ...
function parlua.run(functions, options) end

--- At the prompt: calls f in the background, whose calls of parlua go on beside what is typed.
---@param f function
---@param ... any
---@return parlua.Future
function parlua.background(f, ...) end

-- ---- the rest ----

--- Draws lists, results and functions in the terminal or as SVG: `parlua.plot(ys)`, `parlua.plot(xs, ys)`.
---@class parlua.Plot
---@operator call(any): any
---@field histogram fun(values: any, ...: any): any

---@type parlua.Plot
parlua.plot = nil

--- Processors that this process may use; under MPI those of all ranks together.
---@return integer
function parlua.cores() end

--- The running task; all nil where no task runs.
---@type {index: integer?, attempt: integer?, worker: integer?}
parlua.task = nil

--- The signal that has interrupted a run of this program: "SIGINT", "SIGTERM", "SIGHUP", or nil.
---@return string?
function parlua.interrupted() end

---@type string
parlua._VERSION = nil

-- ---- arrays ----

--- Many numbers of one type in one or more dimensions, in memory that every worker sees. Indices begin at 1; the
--- pointer at 0.
---@class parlua.Array
---@field type string of its elements: "double", "int32", ...
---@field shape integer[] the sizes of its dimensions
---@field rank integer how many dimensions
---@field size integer how many elements
---@field read_only boolean
---@field freed boolean nothing can be done with it after a:free()
---@field contiguous boolean elements lie one behind the other, as in a new array
---@field [integer] number elements of an array of one dimension
---@field data fun(self: parlua.Array): ffi.cdata* the typed pointer to the first element
---@field get fun(self: parlua.Array, ...: integer): number
---@field set fun(self: parlua.Array, ...: number) indices, then the value
---@field slice fun(self: parlua.Array, ...: integer): parlua.Array the part at an index of the first dimension
---@field view fun(self: parlua.Array, ...: integer[]|integer|boolean): parlua.Array a range, an index or true for each
--- dimension
---@field reshape fun(self: parlua.Array, ...: integer): parlua.Array
---@field transpose fun(self: parlua.Array, ...: integer): parlua.Array
---@field fill fun(self: parlua.Array, value: number): parlua.Array
---@field assign fun(self: parlua.Array, from: parlua.Array|table|number): parlua.Array
---@field copy fun(self: parlua.Array, type?: string): parlua.Array
---@field map_in_place fun(self: parlua.Array, f: fun(value: number): number): parlua.Array
---@field sum fun(self: parlua.Array, axis?: integer): number|parlua.Array
---@field mean fun(self: parlua.Array, axis?: integer): number|parlua.Array
---@field min fun(self: parlua.Array, axis?: integer): number|parlua.Array
---@field max fun(self: parlua.Array, axis?: integer): number|parlua.Array
---@field convolve fun(self: parlua.Array, kernel: number[]|parlua.Array, options?: { axis?: integer, edge?: string,
--- into?: parlua.Array }): parlua.Array
---@field totable fun(self: parlua.Array): table
---@field bytes fun(self: parlua.Array): string
---@field save fun(self: parlua.Array, path: string, options?: { format?: string, low?: number, high?: number, bits?:
--- integer }): parlua.Array as .npy, .npz, .pgm, .ppm, .png, .raw or .bin
---@field free fun(self: parlua.Array) lets go of the memory now
---@operator add(parlua.Array|number): parlua.Array
---@operator sub(parlua.Array|number): parlua.Array
---@operator mul(parlua.Array|number): parlua.Array
---@operator div(parlua.Array|number): parlua.Array
---@operator unm: parlua.Array
---@operator len: integer

--- Makes an array: of zeros, by the sizes of its dimensions; or of a table (of tables), a string, a pointer and the
--- number of elements, C data, another array; then a shape may follow.
---@param type "float"|"double"|"int8"|"int16"|"int32"|"int64"|"uint8"|"uint16"|"uint32"|"uint64"|"complex"|"complex
--- float"
---@param ... any
---@return parlua.Array
function parlua.array(type, ...) end

--- Loads an array from a .npy file (mapped: read-only), a PGM or PPM picture, or plain elements of a named type; of an
--- .npz file a table of arrays by names. Its entries that can't be arrays raise an error when they are asked for; the
--- second result says why, by their names.
---@param path string
---@param options? { type?: string, shape?: integer[], offset?: integer, check?: boolean }
---@return parlua.Array|table<string, parlua.Array> loaded, table<string, string>? refused
function parlua.load(path, options) end

--- Saves an array, as a:save does; or several as .npz.
---@param path string
---@param what parlua.Array|table<string, parlua.Array>
---@param options? { format?: string, low?: number, high?: number, bits?: integer }
function parlua.save(path, what, options) end

return parlua
