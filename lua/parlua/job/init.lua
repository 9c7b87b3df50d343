--- Job scripts: scripts that return a table with a map function and, usually, the arguments to run it over.
--
--   job.map(...)      run for each task, in parallel
--   job.arguments     where the tasks come from: a function, given the words of the command line, that returns a list,
--                     a generator (`parlua.range`) or an iterator, or that yields the arguments of one task after the
--                     other; or a list or generator itself. Absent: each word is a task
--   job.options       options of the run, weaker than the command line's
--   job.reduce        what becomes of the results: a reducer (`parlua.mean`), a table of reducers, a table with `init`, `step`
--                     and, if there are any, `merge`, `stop`, `finish`, as for parlua.reduce; or a function: the step. The one
--                     value is written instead of the results
--   job.stop          stop(accumulator) of a job that reduces; else stop(result, index): when it is true, that was enough
--   job.finish(results, failures, summary)
--                     called at the end, also after Ctrl-C, but not when a failure halted the run; `results` has
--                     holes where tasks failed. Of a job that reduces it gets the value
--
-- `run` writes the results to standard output or to a file, failures and one line of summary to standard error, and
-- returns the exit status. The file appears under its name once the run is complete; what an interrupted or halted run
-- has done is left in `FILE.partial`. The formats:
--
--   jsonl   one line a task, {"index":1,"args":[..],"result":..} or
--           {"index":1,"args":[..],"error":{"kind":..,"message":..}}; parlua.json says how values are written that JSON
--           lacks
--   json    the same objects in one array
--   text    results only, one a line: strings as they are, other values as JSON; nil and failures write nothing
--   none    nothing

local ffi = require "ffi"
local host = require "parlua.host"
local json = require "parlua.wire.json"
local options_module = require "parlua.options"
local report = require "parlua.report"
local new_buffer = require("string.buffer").new

local format = string.format

ffi.cdef [[
ssize_t write(int fd, const void *bytes, size_t length);
int open(const char *path, int flags, ...);
int close(int fd);
int fchmod(int fd, unsigned int mode);
int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags);
char *realpath(const char *path, char *resolved);
void free(void *pointer);
int getpid(void);
int ferror(void *stream);
char *strerror(int code);
struct parlua_pollfd { int fd; short events, revents; };
int poll(struct parlua_pollfd *fds, unsigned long count, int timeout_ms);
struct parlua_statx {
  uint32_t mask, blksize;
  uint64_t attributes;
  uint32_t nlink, uid, gid;
  uint16_t mode;
  uint8_t rest[226];
};
int statx(int dir, const char *path, int flags, unsigned int mask, struct parlua_statx *found);
]]

local C = ffi.C

local M = {}

local EXIT = { returned = 0, failed = 1, wrong = 2, SIGHUP = 129, SIGINT = 130, SIGPIPE = 141, SIGTERM = 143 }

local STDOUT_FD = 1
local EINTR, EAGAIN, EPIPE = 4, 11, 32
local POLLOUT = 4
local O_WRONLY, O_CREAT, O_EXCL, O_CLOEXEC = 1, 0x40, 0x80, 0x80000
local O_DIRECTORY = (ffi.arch == "x64" or ffi.arch == "x86") and 0x10000 or 0x4000
local O_TMPFILE = 0x400000 + O_DIRECTORY
local AT_FDCWD, AT_SYMLINK_FOLLOW = -100, 0x400
local STATX_TYPE_AND_MODE = 3
local S_IFMT, S_IFREG, S_IFDIR = 0xF000, 0x8000, 0x4000

local BATCH_BYTES = 65536     -- a pipe's capacity
local FLUSH_SECONDS = 0.2     -- a finished task's line waits no longer than about this
local SHOWN_FAILURES = 10     -- failures told one by one on standard error
local SHOWN_ARGUMENTS = 60    -- bytes of a failed task's arguments that are shown

-- Text on standard error ------------------------------------------------------------------------------------------

--- Writes a line to standard error, above the bar.
local function say(...)
  report.print("stderr", "parlua: " .. format(...) .. "\n")
end

--- What an error number means.
local function reason(code)
  return ffi.string(C.strerror(code))
end

--- "1 task", "2 tasks".
local function count(n, noun)
  return format("%.0f %s%s", n, noun, n == 1 and "" or "s")
end

--- A text on one line, without control characters.
local function one_line(text)
  return (tostring(text):gsub("%s*\n%s*", " "):gsub("%c", " "))
end

--- A failed task's arguments, shortened.
local function arguments_text(args)
  if type(args) ~= "table" then return "" end
  local buffer = new_buffer()
  json.put_list(buffer, args)
  local text = buffer:tostring():sub(2, -2)
  if #text <= SHOWN_ARGUMENTS then return text end
  local last = SHOWN_ARGUMENTS
  while last > 0 and text:byte(last + 1) >= 0x80 and text:byte(last + 1) < 0xC0 do last = last - 1 end
  return text:sub(1, last) .. "..."
end

--- A failure's traceback, indented, without the message that it may begin with.
local function traceback_text(failure)
  local traceback, message = tostring(failure.traceback or ""), tostring(failure.message)
  if traceback:sub(1, #message) == message then traceback = traceback:sub(#message + 1) end
  traceback = traceback:gsub("^%s+", ""):gsub("%s+$", "")
  return traceback == "" and "" or "  " .. traceback:gsub("\n", "\n  ") .. "\n"
end

--- A failure in a line, with its traceback below if it is wanted.
local function failure_text(failure, with_traceback)
  local text = format("parlua: task %.0f (%s) failed: %s: %s\n", failure.index or 0, arguments_text(failure.args),
    tostring(failure.kind), one_line(failure.message))
  return with_traceback and text .. traceback_text(failure) or text
end

--- "4 workers"; on ranks, "2 ranks x 2 workers" where each has as many.
local function workers_text(summary)
  local ranks, each = summary.ranks, summary.workers / (summary.ranks or 1)
  if not ranks then return count(each, "worker") end
  if each % 1 == 0 then return count(ranks, "rank") .. " x " .. count(each, "worker") end
  return count(ranks, "rank") .. " with " .. count(summary.workers, "worker")
end

--- The line that a run leaves behind.
local function summary_text(summary)
  local parts = {
    count(summary.tasks, "task"), format("%.0f returned", summary.returned), format("%.0f failed", summary.failed),
  }
  if (summary.cancelled or 0) > 0 then parts[#parts + 1] = format("%.0f cancelled", summary.cancelled) end
  if (summary.resumed or 0) > 0 then parts[#parts + 1] = format("%.0f of them from the journal", summary.resumed) end
  parts[#parts + 1] = summary.seconds < 60 and format("%.2f s", summary.seconds) or report.duration(summary.seconds)
  if summary.engine then parts[#parts + 1] = summary.engine .. " engine" end
  if summary.workers then parts[#parts + 1] = workers_text(summary) end
  if summary.interrupted then parts[#parts + 1] = "interrupted by " .. summary.interrupted end
  if summary.halted then parts[#parts + 1] = "halted" end
  if summary.stopped then parts[#parts + 1] = "stopped: " .. summary.stopped end
  return "parlua: " .. table.concat(parts, ", ") .. "\n"
end

-- The place where results go --------------------------------------------------------------------------------------

-- Bytes are collected and written with write(2): a forked worker that ends by os.exit must not write its copy of a
-- stdio buffer, and a write that a signal cuts short must not lose bytes.

---@class parlua.Sink
---@field name string for messages
---@field code integer|nil the error number of the write that failed; nothing is written after it
local Sink = {}
Sink.__index = Sink

--- A sink for an open file descriptor.
local function new_sink(fd, name)
  return setmetatable({ fd = fd, name = name, buffer = new_buffer(BATCH_BYTES * 2), flushed = host.now() }, Sink)
end

--- Writes bytes to the descriptor; returns true, or nil and the error number.
local function write_all(fd, pointer, length)
  while length > 0 do
    local written = tonumber(C.write(fd, pointer, length))
    if written >= 0 then
      pointer, length = pointer + written, length - written
    else
      local code = ffi.errno()
      if code == EAGAIN then
        C.poll(ffi.new("struct parlua_pollfd", { fd, POLLOUT, 0 }), 1, -1)
      elseif code ~= EINTR then
        return nil, code
      end
    end
  end
  return true
end

--- Writes out what was collected. Returns false after an error, which `code` keeps.
function Sink:flush()
  self.flushed = host.now()
  if self.code or #self.buffer == 0 then return not self.code end
  local written, code, _
  -- What tasks and the script printed goes before: it may have been written up to the middle of a line.
  if self.fd == STDOUT_FD then
    written, _, code = io.stdout:flush()
    if not written then
      self.code = code or -1
      return false
    end
  end
  if self.is_terminal then
    written, _, code = report.print("stdout", self.buffer:tostring())
  else
    written, code = write_all(self.fd, self.buffer:ref())
  end
  self.buffer:reset()
  if not written then self.code = code or -1 end
  return not self.code
end

--- Called after each task: writes out what is enough or has waited long enough. Returns false after an error.
function Sink:settle()
  if #self.buffer >= BATCH_BYTES or host.now() - self.flushed >= FLUSH_SECONDS then return self:flush() end
  return not self.code
end

--- The type and permissions of what is at a path, or nil.
local function mode_of(path)
  local found = ffi.new("struct parlua_statx")
  if C.statx(AT_FDCWD, path, 0, STATX_TYPE_AND_MODE, found) ~= 0 then return nil end
  return found.mode
end

--- The path itself where it is a symbolic link.
local function resolved(path)
  local real = C.realpath(path, nil)
  if real == nil then return path end
  local text = ffi.string(real)
  C.free(real)
  return text
end

--- A descriptor for a new file in the target's folder that has no name yet, so that nothing is left of it if this
-- process is killed; where the file system can't do that, one with a temporary name. Returns fd, and whether it is
-- named; or nil and the error number.
local function open_new(target, temporary)
  local folder = target:match("^(.*)/[^/]*$") or "."
  local permissions = ffi.cast("unsigned int", 438)   -- 0666, of which the umask takes away
  local fd = C.open(folder == "" and "/" or folder, O_TMPFILE + O_WRONLY + O_CLOEXEC, permissions)
  if fd >= 0 then
    if mode_of("/proc/self/fd/" .. fd) then return fd, false end
    C.close(fd)
  end
  fd = C.open(temporary, O_WRONLY + O_CREAT + O_EXCL + O_CLOEXEC, permissions)
  if fd < 0 then return nil, ffi.errno() end
  return fd, true
end

--- A sink that writes to a file, which gets its name at the end. Devices and pipes are written to directly.
-- Returns nil and a message when the file can't be written.
local function open_file(path)
  local mode = mode_of(path)
  local kind = mode and bit.band(mode, S_IFMT)
  if kind == S_IFDIR then return nil, format("cannot write the results to '%s': it is a directory", path) end
  local fd, named, target, temporary
  if mode and kind ~= S_IFREG then
    fd = C.open(path, O_WRONLY + O_CLOEXEC)
    if fd < 0 then named = ffi.errno() end
  else
    target = mode and resolved(path) or path
    temporary = format("%s.%d.tmp", target, C.getpid())
    fd, named = open_new(target, temporary)
  end
  if not fd or fd < 0 then return nil, format("cannot write the results to '%s': %s", path, reason(named)) end
  if target and mode then C.fchmod(fd, bit.band(mode, 511)) end
  local sink = new_sink(fd, "'" .. path .. "'")
  sink.path, sink.target, sink.temporary, sink.named = path, target, temporary, named
  return sink
end

--- A sink for standard output.
local function open_stdout()
  local sink = new_sink(STDOUT_FD, "standard output")
  sink.is_terminal = report.is_terminal(STDOUT_FD)
  return sink
end

--- Gives the file its name; returns true or sets `code`.
function Sink:publish(target)
  if not self.named then
    os.remove(self.temporary)
    if C.linkat(AT_FDCWD, "/proc/self/fd/" .. self.fd, AT_FDCWD, self.temporary, AT_SYMLINK_FOLLOW) ~= 0 then
      self.code = ffi.errno()
      return nil
    end
    self.named = true
  end
  local renamed, _, code = os.rename(self.temporary, target)
  if not renamed then
    self.code = code
    return nil
  end
  self.named = false
  return true
end

--- Writes what is left and closes. `outcome` says what becomes of a file: "complete" gives it its name, "partial" the
-- name with `.partial`, "discard" removes it. Returns the path of a partial file.
function Sink:close(outcome)
  self:flush()
  if self.fd == STDOUT_FD then return nil end
  local partial
  if self.target and not self.code and outcome ~= "discard" then
    partial = outcome == "partial" and self.path .. ".partial" or nil
    local published = self:publish(partial and self.target .. ".partial" or self.target)
    -- on resuming, what an interrupted run left is part of the whole
    if published and not partial and self.resumes then os.remove(self.target .. ".partial") end
  end
  if C.close(self.fd) ~= 0 and not self.code then self.code = ffi.errno() end
  if self.named and self.target then os.remove(self.temporary) end
  return not self.code and partial or nil
end

-- Formats ---------------------------------------------------------------------------------------------------------

-- Each is a table of functions on a buffer: `put` appends a task; `close`, if any, the end. `writes_failures` says
-- whether the output names the tasks that failed.

--- Appends a task's object: 0.1 us for a number.
local function put_record(buffer, index, args, result, failure)
  buffer:put('{"index":', index, ',"args":')
  json.put_list(buffer, args, args.n, "/args")
  if failure then
    buffer:put(',"error":{"kind":')
    json.put(buffer, tostring(failure.kind))
    buffer:put(',"message":')
    json.put(buffer, failure.message)
    buffer:put("}}")
  else
    buffer:put(',"result":')
    json.put(buffer, result, "/result")
    buffer:put("}")
  end
end

local jsonl = { writes_failures = true }

function jsonl.put(buffer, _, index, args, result, failure)
  put_record(buffer, index, args, result, failure)
  buffer:put("\n")
end

local array = { writes_failures = true }

function array.put(buffer, is_first, index, args, result, failure)
  buffer:put(is_first and "[\n" or ",\n")
  put_record(buffer, index, args, result, failure)
end

function array.close(buffer, is_first)
  buffer:put(is_first and "[]\n" or "\n]\n")
end

local text_lines = {}

function text_lines.put(buffer, _, _, _, result, failure)
  if failure or result == nil then return end
  if type(result) == "string" then buffer:put(result) else json.put(buffer, result) end
  buffer:put("\n")
end

local none = {}

function none.put() end

local FORMATS = { jsonl = jsonl, json = array, text = text_lines, none = none }

-- The job's table -------------------------------------------------------------------------------------------------

local FIELDS = { "arguments", "map", "options", "finish", "reduce", "stop" }
local ALSO_MEANT = { args = "arguments", opts = "options" }
local OF_REDUCTIONS = { init = true, step = true, merge = true, block = true } -- no misspelt fields: as soon helpers of the job's own

--- The field that a name was probably meant to be, or nil. The longer the field, the more may be wrong: `max` is not
-- a mistaken `map`.
local function meant_field(name)
  if ALSO_MEANT[name] then return ALSO_MEANT[name] end
  if OF_REDUCTIONS[name] then return nil end
  local field, errors = options_module.nearest(name, FIELDS)
  return errors <= math.floor(#field / 4) and field or nil
end

--- Says what is wrong with a job's table, or nil.
local function complaint(job)
  if type(job) ~= "table" then return format("a job is a table with a function `map`, not a %s", type(job)) end
  local names = {}
  for name in pairs(job) do
    if type(name) == "string" then names[#names + 1] = name end
  end
  table.sort(names)
  local known = {}
  for _, field in ipairs(FIELDS) do known[field] = true end
  for _, name in ipairs(names) do
    local field = not known[name] and meant_field(name)
    if field and job[field] == nil then
      return format("unknown field `%s` in the job: did you mean `%s`?", name, field)
    end
  end
  if type(job.map) ~= "function" then
    return job.map == nil and "the job has no function `map`"
      or format("the job's `map` must be a function, it is a %s", type(job.map))
  end
  if job.finish ~= nil and type(job.finish) ~= "function" then
    return format("the job's `finish` must be a function, it is a %s", type(job.finish))
  end
  if job.stop ~= nil and type(job.stop) ~= "function" then
    return format("the job's `stop` must be a function, it is a %s", type(job.stop))
  end
  if job.options ~= nil and type(job.options) ~= "table" then
    return format("the job's `options` must be a table, it is a %s", type(job.options))
  end
  return options_module.misplaced(job)
end

--- What the job's `reduce` is about: a reducer, a table of them, a table with `step`, or a function: then that is the step. Returns nil
-- where the job has none; or nil and a message.
local function plan_of(job)
  local reduction = job.reduce
  if reduction == nil then return nil end
  if type(reduction) == "function" then reduction = { step = reduction } end
  local right, plan, rest = pcall(require("parlua.sink.plan").of, reduction, { stop = job.stop })
  if not right then return nil, format("the job's `reduce`: %s", (tostring(plan):gsub("^reduce: ", ""))) end
  local name = next(rest)
  if name ~= nil then
    return nil, format("the job's `reduce` has a field `%s` that means nothing: options go into the job's `options`", tostring(name))
  end
  return plan
end

local SOURCES = { table = true, ["function"] = true, thread = true }
local SOURCE_ADVICE = "it must be a list, a generator such as parlua.range(1, 10), or an iterator"

--- An error value as text.
local function error_text(value)
  local shown, result = pcall(tostring, value)
  return shown and result or type(value)
end

--- Keeps what a resumed coroutine gave.
local function pack(...)
  return { n = select("#", ...), ... }
end

--- An iterator over what a coroutine yields; `first` is what it has yielded already.
local function yielded(thread, first)
  local pending = first
  local function take(resumed, ...)
    if not resumed then error(debug.traceback(thread, error_text((...))), 0) end
    if coroutine.status(thread) == "dead" then return nil end
    return ...
  end
  return function()
    if pending then
      local values = pending
      pending = nil
      return unpack(values, 2, values.n)
    end
    if coroutine.status(thread) == "dead" then return nil end
    return take(coroutine.resume(thread))
  end
end

--- Calls the job's function `arguments`. Returns the source of tasks, or nil and a message.
local function call_arguments(f, ...)
  local thread = coroutine.create(f)
  local results = pack(coroutine.resume(thread, ...))
  if not results[1] then
    return nil, "the job's `arguments` raised an error: " .. debug.traceback(thread, error_text(results[2]))
  end
  if coroutine.status(thread) == "suspended" then return yielded(thread, results) end
  local source = results[2]
  if source == nil then return nil, "the job's `arguments` returned nothing: " .. SOURCE_ADVICE end
  if not SOURCES[type(source)] then
    return nil, format("the job's `arguments` returned a %s: %s", type(source), SOURCE_ADVICE)
  end
  if type(source) ~= "function" or results.n < 3 then return source end
  -- An iterator with state and control variable, as ipairs and io.lines return.
  local state, control = results[3], results[4]
  local function take(...)
    control = ...
    return ...
  end
  return function() return take(source(state, control)) end
end

--- The source of the job's tasks, or nil and a message.
local function arguments_of(job, ...)
  local arguments = job.arguments
  if type(arguments) == "function" then return call_arguments(arguments, ...) end
  if arguments == nil then
    if select("#", ...) == 0 then
      return nil, "there are no tasks: the job has no `arguments`, and the command line has no words after the script"
    end
    return { ... }
  end
  if not SOURCES[type(arguments)] then
    return nil, format("the job's `arguments` is a %s: %s, or a function that returns one", type(arguments),
      SOURCE_ADVICE)
  end
  return arguments
end

-- Running ---------------------------------------------------------------------------------------------------------

--- What one run keeps: where and how it writes, and what has been seen so far.
local function new_run(job, options, sink)
  return {
    job = job,
    sink = sink,
    format = FORMATS[options.format],
    with_traceback = options.debug,
    is_quiet = options.progress == "json",   -- standard error holds events, which tell the same
    results = job.finish and {} or nil,
    is_first = true,
    returned = 0,
    failed = 0,
    shown = {},
    started = host.now(),
  }
end

--- Tells of a failure on standard error, if there were not too many.
local function show_failure(run, failure, with_traceback)
  run.failed = run.failed + 1
  if run.failed > SHOWN_FAILURES and not with_traceback then return end
  run.shown[failure.index] = true
  if not run.is_quiet then report.print("stderr", failure_text(failure, with_traceback or run.with_traceback)) end
end

--- Takes one task's outcome; returns false when no more can be written.
local function take_outcome(run, index, args, result, failure)
  local stop = run.job.stop
  if failure then
    show_failure(run, failure)
  else
    run.returned = run.returned + 1
    if run.results then run.results[index] = result end
  end
  run.format.put(run.sink.buffer, run.is_first, index, args, result, failure)
  run.is_first = false
  if stop and not failure and stop(result, index) then return false end
  return run.sink:settle()
end

--- Runs the tasks of a job that reduces. Returns failures and summary; or nil and the error.
local function run_reduction(run, source, options, plan)
  local ran, value, failures, summary = xpcall(function()
    return require("parlua.sink.reduce").run_plan(run.job.map, source, plan, nil, { options = options })
  end, function(raised)
    return type(raised) == "string" and options.debug and debug.traceback(raised, 2) or raised
  end)
  if not ran then return nil, value end
  for _, failure in ipairs(failures) do show_failure(run, failure) end
  run.returned = summary.returned
  run.results = value
  if options.format == "text" and type(value) == "string" then
    run.sink.buffer:put(value, "\n")
  elseif options.format ~= "none" then
    json.put(run.sink.buffer, value, "/value")
    run.sink.buffer:put("\n")
  end
  return failures, summary
end

--- Runs the tasks. Returns failures and summary; or nil and the error.
local function run_tasks(run, source, options)
  local outcomes = require("parlua.sink.visit").outcomes
  -- While tasks take long, their elders' lines don't wait.
  local unsubscribe = report.subscribe(function(event)
    if event == "progress" and #run.sink.buffer > 0 then run.sink:settle() end
  end)
  local function handle(value)
    if type(value) == "string" and options.debug then return debug.traceback(value, 2) end
    return value
  end
  local ran, failures, summary = xpcall(function()
    return outcomes(run.job.map, source, nil, function(index, args, result, failure)
      return take_outcome(run, index, args, result, failure)
    end, { options = options })
  end, handle)
  unsubscribe()
  if ran then return failures, summary end
  return nil, failures
end

--- What is known of a run that raised.
local function own_summary(run)
  return {
    tasks = run.returned + run.failed, returned = run.returned, failed = run.failed,
    seconds = host.now() - run.started, halted = true,
  }
end

--- The failure for which the run was halted: tells of it and writes it, if that has not been done.
local function take_halt(run, failure)
  if not run.shown[failure.index] then
    show_failure(run, failure, true)
    run.format.put(run.sink.buffer, run.is_first, failure.index, failure.args or { n = 0 }, nil, failure)
    run.is_first = false
  elseif not run.is_quiet and not run.with_traceback then
    report.print("stderr", traceback_text(failure))
  end
end

--- Calls the job's finish. Returns true, or nil and the error with its traceback.
local function call_finish(run, failures, summary)
  if not run.reduces then run.results.n = summary.tasks end
  return xpcall(function() run.job.finish(run.results, failures, summary) end, function(value)
    return debug.traceback(error_text(value), 2)
  end)
end

--- The error number of what could not be written to standard output by print, or nil.
local function stdout_error()
  local flushed, _, code = io.stdout:flush()
  if not flushed then return code end
  return C.ferror(io.stdout) ~= 0 and -1 or nil
end

--- Tells of what could not be written and returns the exit status.
local function unwritable(name, code)
  if code == EPIPE then return EXIT.SIGPIPE end
  say("cannot write the results to %s: %s", name, code > 0 and reason(code) or "writing failed")
  return EXIT.wrong
end

--- Ends the output. Returns an exit status if it could not be written.
local function close_output(run, outcome)
  local sink = run.sink
  if run.format.close and outcome ~= "discard" then run.format.close(sink.buffer, run.is_first) end
  local partial = sink:close(outcome)
  if sink.code then return unwritable(sink.name, sink.code) end
  if partial then say("what was done is in '%s'", partial) end
  return nil
end

--- Ends a run that raised `raised`: a failure that halted it, or a message. Returns the exit status.
local function end_badly(run, raised)
  local is_failure = type(raised) == "table" and raised.kind ~= nil
  if is_failure then
    take_halt(run, raised)
  else
    say("%s", error_text(raised))
  end
  local written_any = run.returned + run.failed > 0
  local status = close_output(run, written_any and "partial" or "discard")
  if written_any and not run.is_quiet then
    report.print("stderr", summary_text(is_failure and raised.summary or own_summary(run)))
  end
  return status or (is_failure and EXIT.failed or EXIT.wrong)
end

--- Ends a run that returned, if not of all tasks. Returns the exit status.
local function end_well(run, failures, summary)
  local status = close_output(run, (summary.interrupted or summary.stopped) and "partial" or "complete")
  if status == EXIT.SIGPIPE then return status end
  if run.job.finish and not status then
    local finished, message = call_finish(run, failures, summary)
    if not finished then
      say("the job's `finish` raised an error: %s", message)
      status = EXIT.wrong
    end
  end
  local code = stdout_error()
  if code and not status then
    status = unwritable("standard output", code)
    if status == EXIT.SIGPIPE then return status end
  end
  local untold = run.failed - SHOWN_FAILURES
  if not run.is_quiet then
    if untold > 0 then
      say("%s failed%s", count(untold, "more task"), run.format.writes_failures and "; the results name each" or "")
    end
    report.print("stderr", summary_text(summary))
  end
  return status or EXIT[summary.interrupted] or (summary.failed > 0 and EXIT.failed or EXIT.returned)
end

--- Runs a job: see the head of this file.
---@param job table what the script returned
---@param ... string the command line's words after the script
---@return integer status 0: all tasks returned; 1: some failed; 2: the job or an option is wrong, or the results can't
---   be written; 130, 143: interrupted, terminated; 141: nobody reads the results any more
function M.run(job, ...)
  host.ignore_sigpipe()
  local message = complaint(job)
  if message then
    say("%s", message)
    return EXIT.wrong
  end
  local resolved_well, options = pcall(options_module.resolve, nil, job.options)
  if not resolved_well then
    say("%s", error_text(options))
    return EXIT.wrong
  end
  local plan, source, sink
  plan, message = plan_of(job)
  if message then
    say("%s", message)
    return EXIT.wrong
  end
  source, message = arguments_of(job, ...)
  if source == nil then
    say("%s", message)
    return EXIT.wrong
  end
  if options.output and options.output == options.journal then
    say("options 'output' and 'journal': both name the file %s; each needs one of its own", options.output)
    return EXIT.wrong
  end
  if options.output and options.output ~= "-" then   -- "-" is standard output
    sink, message = open_file(options.output)
  else
    sink = open_stdout()
  end
  if not sink then
    say("%s", message)
    return EXIT.wrong
  end
  sink.resumes = options.resume
  local run = new_run(job, options, sink)
  local failures, outcome
  if plan then
    run.reduces, run.format = true, none
    failures, outcome = run_reduction(run, source, options, plan)
  else
    failures, outcome = run_tasks(run, source, options)
  end
  if not failures then return end_badly(run, outcome) end
  return end_well(run, failures, outcome)
end

return M
