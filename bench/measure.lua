--- What the measures share: clocks, medians, running rivals beside parlua, rows of the table.
--
-- A measure is a file that returns a function; it gives rows:
--
--   return function()
--     local got = measure.compare {
--       { name = "ours", run = measure.timed(function() ... return check end) },
--       measure.python { name = "Pool.map", call = "map_range", words = { n } },
--     }
--     return { measure.row { what = ..., ours = n / got.ours.seconds, ... } }
--   end
local ffi = require "ffi"
local parlua = require "parlua"

ffi.cdef [[
struct bench_time { long seconds, nanoseconds; };
int clock_gettime(int clock, struct bench_time *time);
int nanosleep(const struct bench_time *time, struct bench_time *left);
long readlink(const char *path, char *target, size_t size);
int posix_spawn(int *pid, const char *path, const void *actions, const void *attributes, char *const *arguments,
                char *const *environment);
int waitpid(int pid, int *status, int options);
int open(const char *path, int flags, ...);
long lseek(int fd, long offset, int whence);
void *mmap(void *where, size_t length, int protection, int flags, int fd, long offset);
int close(int fd);
struct bench_usage { long user, user_micro, system, system_micro, others[14]; };
int getrusage(int who, struct bench_usage *usage);
extern char **environ;
]]

local C = ffi.C
local M = {}

--- Set by run.lua: small sizes and one repetition; how often each side runs; where temporary files go; bench/ itself.
M.quick = false
M.repetitions = 5
M.scratch = nil ---@type string
M.directory = nil ---@type string

-- Debian's own, for which the packages are installed: another python3 may come first in PATH.
M.python_path = "/usr/bin/python3"
local TIME = "/usr/bin/time"
local TEXT_SEED = 1

-- What runs when a measure says two workers.
M.workers = 2

--- The size of a measure: the real one, or the one of --quick, which only shows that it works.
function M.size(real, quick) return M.quick and quick or real end

-- Clocks ------------------------------------------------------------------------------------------------------------

local CLOCK_MONOTONIC, CLOCK_PROCESS = 1, 2

local function read_clock(clock, time)
  C.clock_gettime(clock, time)
  return tonumber(time.seconds) + tonumber(time.nanoseconds) * 1e-9
end

--- A clock whose struct no module holds: one that a module holds is a part of the script's state, which workers get.
---@return fun(): number monotonic seconds
function M.new_clock()
  local own = ffi.new("struct bench_time")
  return function() return read_clock(CLOCK_MONOTONIC, own) end
end

local time = ffi.new("struct bench_time")

--- Monotonic seconds.
function M.now() return read_clock(CLOCK_MONOTONIC, time) end

--- Seconds of processor time that all threads of this process took.
function M.processor_seconds() return read_clock(CLOCK_PROCESS, time) end

--- Sleeps.
function M.pause(seconds)
  local whole = math.floor(seconds)
  C.nanosleep(ffi.new("struct bench_time", whole, (seconds - whole) * 1e9), nil)
end

---@param values number[]
---@return number
function M.median(values)
  local sorted = {}
  for k, value in ipairs(values) do sorted[k] = value end
  table.sort(sorted)
  local n = #sorted
  if n == 0 then error("the median of nothing", 2) end
  return n % 2 == 1 and sorted[(n + 1) / 2] or (sorted[n / 2] + sorted[n / 2 + 1]) / 2
end

--- A side that runs f here. Garbage of the run before is not its business. f returns its check.
---@return fun(): number, string? seconds and check
function M.timed(f)
  return function()
    collectgarbage()
    local began = M.now()
    local result, check = f()
    local seconds = M.now() - began
    local signal = parlua.interrupted() -- a limit of time, say: what the call returned is not all
    if signal then error("the measurement was interrupted by " .. signal, 0) end
    if type(check) == "function" then result = check(result) end
    return seconds, result
  end
end

--- A side that does what parlua does in one loop of the script: the results of f over n arguments, kept in a list. No
--- tool whose results are values of one LuaJIT state can be much faster, however many workers it has.
---@param n integer
---@param f fun(argument: any): any
---@param arguments? table  the argument of each; without it the number itself
---@param check fun(results: table): string
---@return bench.Side
function M.plain_loop(n, f, arguments, check)
  return { name = "plain loop", warm = true, run = M.timed(function()
    local results = { n = n }
    if arguments then
      for i = 1, n do results[i] = f(arguments[i]) end
    else
      for i = 1, n do results[i] = f(i) end
    end
    return results, check
  end) }
end

-- Sides, interleaved ------------------------------------------------------------------------------------------------

---@class bench.Side
---@field name string
---@field run fun(): number, any  seconds of one repetition; what must be the same on every side (nil: nothing)
---@field prepare? fun()  before the first repetition
---@field warm? boolean  run it once before it counts

--- Runs all sides in turn, as often as `repetitions` says, so that what else happens on the machine meets all of them.
--- Raises an error when their checks differ.
---@param sides bench.Side[]
---@param repetitions? integer
---@return table<string, {seconds: number, check: any}> by name: medians
function M.compare(sides, repetitions)
  local got, expected, expected_of = {}, nil, nil
  for _, side in ipairs(sides) do
    got[side.name] = { all = {} }
    if side.prepare then side.prepare() end
    if side.warm then side.run() end
  end
  for _ = 1, repetitions or M.repetitions do
    for _, side in ipairs(sides) do
      local seconds, check = side.run()
      table.insert(got[side.name].all, seconds)
      if check ~= nil then
        check = tostring(check)
        if expected and check ~= expected then
          error(("%s gives %s where %s gives %s"):format(side.name, check, expected_of, expected))
        end
        expected, expected_of = check, side.name
      end
    end
  end
  for _, side in ipairs(sides) do
    got[side.name].seconds = M.median(got[side.name].all)
    got[side.name].note = side.note
  end
  return got
end

-- Other programs ----------------------------------------------------------------------------------------------------

local function quote(word) return "'" .. tostring(word):gsub("'", "'\\''") .. "'" end

local function command_line(words)
  local quoted = {}
  for k, word in ipairs(words) do quoted[k] = quote(word) end
  return table.concat(quoted, " ")
end

--- Runs a command for the shell; returns what it printed.
function M.shell(command)
  local pipe = assert(io.popen(command .. "\nprintf '\\n%d' $?", "r"))
  local output = pipe:read("*a")
  pipe:close()
  local text, status = output:match("^(.*)\n(%d+)$")
  if status ~= "0" then error(("`%s` ends with status %s: %s"):format(command, status, text)) end
  return text
end

--- The run function of a side that is another program: it prints the seconds that it measured, and the check.
---@param words any[]
---@return fun(): number, string?
function M.command(words)
  return function()
    local output = M.shell(command_line(words))
    local seconds, check = output:match("^(%S+)%s*(%S*)%s*$")
    if not tonumber(seconds) then error(("`%s` printed: %s"):format(command_line(words), output)) end
    return tonumber(seconds), check ~= "" and check or nil
  end
end

--- A side in Python: a function of rivals.py, or of what `launch` starts. With `chunks`, each size is tried once and the best one counts.
---@param side {name: string, call: string, words?: any[], chunks?: any[], launch?: any[]}
---@return bench.Side
function M.python(side)
  local words = { unpack(side.launch or { M.python_path, M.directory .. "/rivals.py" }) }
  for _, word in ipairs { side.call, unpack(side.words or {}) } do words[#words + 1] = word end
  if not side.chunks then return { name = side.name, run = M.command(words) } end
  local chosen
  local made = { name = side.name }
  function made.prepare()
    local best = math.huge
    for _, chunk in ipairs(side.chunks) do
      words[#words + 1] = chunk
      local run = M.command({ unpack(words) })
      words[#words] = nil
      local seconds = #side.chunks > 1 and run() or 0
      if seconds < best then best, chosen, made.note = seconds, run, ("%s, chunks of %s"):format(side.name, chunk) end
    end
  end
  function made.run() return chosen() end
  return made
end

--- Compiles bench/NAME.c; returns the program's path.
---@param compiler? string default "gcc"
function M.compile(name, compiler)
  local program = M.scratch .. "/" .. name
  M.shell(command_line { compiler or "gcc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-fopenmp", "-I" .. M.directory .. "/../src", "-o", program,
                         M.directory .. "/" .. name .. ".c", "-lm" })
  return program
end

--- A side in C: the program bench/NAME.c.
---@param side {name: string, program: string, words: any[]}
---@return bench.Side
function M.c(side)
  return { name = side.name, run = M.command { M.compile(side.program), unpack(side.words) } }
end

--- This program.
M.parlua = (function()
  local target = ffi.new("char[4096]")
  return ffi.string(target, C.readlink("/proc/self/exe", target, 4096))
end)()

--- The path of a program, as the shell finds it.
function M.which(name) return (M.shell("command -v " .. quote(name)):gsub("\n", "")) end

local OF_CHILDREN = -1
local usage = ffi.new("struct bench_usage")

--- Seconds of processor time of all programs that have ended.
local function children_seconds()
  C.getrusage(OF_CHILDREN, usage)
  return tonumber(usage.user + usage.system) + tonumber(usage.user_micro + usage.system_micro) * 1e-6
end

--- Runs a program to its end, with no shell between.
---@param words string[] its path, then arguments
---@return number seconds
---@return number processor seconds of processor time that it took, and the processes that it has waited for
function M.program_seconds(words)
  local arguments = ffi.new("const char *[?]", #words + 1)
  for k, word in ipairs(words) do arguments[k - 1] = word end
  local pid, status = ffi.new("int[1]"), ffi.new("int[1]")
  local began, used = M.now(), children_seconds()
  local trouble = C.posix_spawn(pid, words[1], nil, nil, ffi.cast("char *const *", arguments), C.environ)
  if trouble ~= 0 then error(("cannot run '%s'"):format(words[1])) end
  C.waitpid(pid[0], status, 0)
  local seconds = M.now() - began
  if status[0] ~= 0 then error(("`%s` fails"):format(table.concat(words, " "))) end
  return seconds, children_seconds() - used
end

--- Runs a program to its end; returns the largest memory (bytes) that it or any of its processes had.
---@param words string[]
function M.peak_bytes(words)
  local path = M.scratch .. "/peak"
  M.shell(command_line { TIME, "-f", "%M", "-o", path, unpack(words) })
  local file = assert(io.open(path))
  local kilobytes = tonumber(file:read("*a"):match("(%d+)%s*$"))
  file:close()
  return kilobytes * 1024
end

--- Path and size of a text, the same for all measures of a run: it is made once.
---@param bytes integer about
function M.text(bytes)
  local path = ("%s/text-%d"):format(M.scratch, bytes)
  local file = io.open(path)
  if not file then
    require("text").write(path, bytes, TEXT_SEED)
    file = assert(io.open(path))
  end
  local size = file:seek("end")
  file:close()
  return path, size
end

--- Maps a file to read; returns where it is and its length. It stays mapped.
function M.map_file(path)
  local fd = C.open(path, 0)
  if fd < 0 then error(("cannot open '%s'"):format(path)) end
  local length = tonumber(C.lseek(fd, 0, 2))
  local PROT_READ, MAP_PRIVATE = 1, 2
  local bytes = C.mmap(nil, length, PROT_READ, MAP_PRIVATE, fd, 0)
  C.close(fd)
  if ffi.cast("intptr_t", bytes) == -1 then error(("cannot map '%s'"):format(path)) end
  return ffi.cast("const uint8_t *", bytes), length
end

-- Rows --------------------------------------------------------------------------------------------------------------

--- A number of tasks: 1e7, 250000.
function M.count(n) return (("%g"):format(n):gsub("e%+0*", "e"):gsub("^(1)(0+)$", function(_, zeros)
  return "1e" .. #zeros
end)) end

--- How a figure is written: three digits that count.
function M.figure(value, unit)
  local digits = value == 0 and 0 or math.max(0, 2 - math.floor(math.log10(math.abs(value))))
  return ("%%.%df %%s"):format(math.min(digits, 4)):format(value, unit)
end

---@class bench.Measure
---@field what string
---@field unit string
---@field ours number
---@field more? boolean more is better (a rate); otherwise less is (a time)
---@field rival? string
---@field theirs? number in the same unit
---@field at_least? number what is to be reached
---@field at_most? number
---@field below? number
---@field ratio_at_least? number what is to be reached beside the rival: how many times better
---@field within? number times the rival's figure that may be needed

---@class bench.Row
---@field reached? boolean nil: nothing is to be reached

--- A row of the table: texts, and whether what was to be reached is.
---@param m bench.Measure
---@return bench.Row
function M.row(m)
  local ratio = m.theirs and (m.more and m.ours / m.theirs or m.theirs / m.ours)
  local goals, reached = {}, true
  local function goal(text, is_reached)
    goals[#goals + 1] = text
    reached = reached and is_reached
  end
  if m.at_least then goal(("at least %g %s"):format(m.at_least, m.unit), m.ours >= m.at_least) end
  if m.at_most then goal(("at most %g %s"):format(m.at_most, m.unit), m.ours <= m.at_most) end
  if m.below then goal(("under %g %s"):format(m.below, m.unit), m.ours < m.below) end
  if m.ratio_at_least then goal(("at least %gx"):format(m.ratio_at_least), ratio >= m.ratio_at_least) end
  if m.within then goal(("within %gx of it"):format(m.within), ratio >= 1 / m.within) end
  return {
    what = m.what, ours = M.figure(m.ours, m.unit), rival = m.rival or "",
    theirs = m.theirs and M.figure(m.theirs, m.unit) or "",
    ratio = ratio and (ratio < 10 and "%.2fx" or "%.0fx"):format(ratio) or "", reach = table.concat(goals, ", "),
    reached = #goals > 0 and reached or nil, missed = #goals > 0 and not reached or nil,
  }
end

--- The row of a side beside that of M.plain_loop, both of n tasks.
---@param got table what M.compare returned
---@param name string the side's
---@return bench.Row
function M.beside_loop(got, name, n)
  return M.row { what = "the same", unit = "M/s", more = true, ours = n / got[name].seconds / 1e6, rival = "one plain loop",
                 theirs = n / got["plain loop"].seconds / 1e6 }
end

local columns = {
  { "measure", "what" }, { "parlua", "ours" }, { "beside", "rival" }, { "its figure", "theirs" }, { "ratio", "ratio" },
  { "to reach", "reach" }, { "reached", "verdict" },
}

--- The table, as Markdown that reads well as it is.
---@param rows bench.Row[]
---@return string
function M.table(rows)
  local widths = {}
  for k, column in ipairs(columns) do
    widths[k] = #column[1]
    for _, row in ipairs(rows) do
      row.verdict = row.missed and "NO" or row.reached and "yes" or ""
      widths[k] = math.max(widths[k], #row[column[2]])
    end
  end
  local lines = {}
  local function line(cell)
    local cells = {}
    for k, column in ipairs(columns) do cells[k] = ("%-" .. widths[k] .. "s"):format(cell(column, widths[k])) end
    lines[#lines + 1] = ("| " .. table.concat(cells, " | ") .. " |\n")
  end
  line(function(column) return column[1] end)
  line(function(_, width) return ("-"):rep(width) end)
  for _, row in ipairs(rows) do line(function(column) return row[column[2]] end) end
  return table.concat(lines)
end

return M
