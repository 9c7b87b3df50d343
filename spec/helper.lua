--- What the specs share: running commands, temporary directories, going over the engines.
--
--   local helper = require "spec.helper"

local ffi = require "ffi"
local lfs = require "lfs"
local luassert = require "luassert"

ffi.cdef [[
long readlink(const char *path, char *target, size_t size);
]]

local helper = {}

-- Most specs let tasks fail on purpose: without the lines about that on standard error. spec/warning_spec.lua asks for them.
ffi.cdef "int setenv(const char *name, const char *value, int overwrite);"
ffi.C.setenv("PARLUA_WARN", "false", 0)

--- Far more than any command of the suite needs, also under a sanitizer on a busy machine: only one that hangs
--- reaches it.
local TIME_LIMIT = 120 -- seconds

--- The parlua that runs the specs, and therefore the one that they test.
helper.parlua = (function()
  local target = ffi.new("char[4096]")
  local length = tonumber(ffi.C.readlink("/proc/self/exe", target, 4096))
  return ffi.string(target, length)
end)()

--- The MPI whose mpirun starts ranks; SPEC_MPI=mpich asks for MPICH.
helper.mpi = os.getenv("SPEC_MPI") or "openmpi"

--- The engines that specs go over; SPEC_ENGINES="threads" limits them.
helper.engines = {}
for name in (os.getenv("SPEC_ENGINES") or "serial threads process"):gmatch("%S+") do
  table.insert(helper.engines, name)
end

--- Those whose workers are on the script's host and need no mpirun.
helper.one_host = { "serial", "threads", "process" }

--- Those whose tasks run in the script's own state: nothing crosses there, and what breaks the state breaks the script's.
helper.in_script = { serial = true, async = true }

--- Is the mpi engine there, and an mpirun for it?
helper.has_mpi = lfs.attributes(helper.parlua:gsub("[^/]*$", "") .. "parlua_mpi.so", "mode") == "file"
  and os.execute("command -v mpirun > /dev/null") == 0

--- Calls a function for each engine, inside a `describe` of its own.
---@param body fun(engine: string)
---@param only? string[]  the engines that promise the behaviour; default: all
function helper.for_each_engine(body, only)
  local busted = require "busted"
  for _, engine in ipairs(helper.engines) do
    local is_wanted = not only
    for _, name in ipairs(only or {}) do is_wanted = is_wanted or name == engine end
    if is_wanted then
      busted.describe("engine " .. engine .. ":", function() body(engine) end)
    end
  end
end

--- Workers of a call that names no number, on mpi in each rank; SPEC_WORKERS=4 sets another one.
helper.workers = tonumber(os.getenv "SPEC_WORKERS") or 2

--- A function that completes the options of a call: on this engine, with that many workers where the call names no number.
---@param engine string
---@return fun(options?: table): table
function helper.options(engine)
  return function(options)
    options = options or {}
    options.engine, options.workers = engine, options.workers or helper.workers
    return options
  end
end

--- With SPEC_POOL=1 the calls of specs are a pool's, whose workers stay from one spec to the next.
if os.getenv "SPEC_POOL" then
  local parlua = require "parlua"
  local pool = parlua.pool()
  for _, verb in ipairs { "map", "starmap", "each", "imap", "reduce", "find", "any", "all" } do
    local method = pool[verb]
    parlua[verb] = function(...) return method(pool, ...) end
  end
end

--- Waits until no thread of this program is in a task, also none of those that were given up: no process is forked before.
function helper.let_threads_rest()
  local host = require "parlua.host"
  local last = host.now() + TIME_LIMIT
  while host.threads_in_tasks() > 0 do
    assert(host.now() < last, "a thread is still in a task")
    host.sleep(0.01)
  end
end

--- A word for the shell.
---@param word string
---@return string
function helper.quote(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

--- Reads a whole file.
---@param path string
---@return string
function helper.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

--- Writes a whole file; returns its path.
---@param path string
---@param text string
---@return string path
function helper.write(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  assert(file:close())
  return path
end

--- Removes a file, or a directory with all that is in it.
---@param path string
function helper.remove(path)
  if lfs.symlinkattributes(path, "mode") == "directory" then
    for name in lfs.dir(path) do
      if name ~= "." and name ~= ".." then helper.remove(path .. "/" .. name) end
    end
    lfs.rmdir(path)
  else
    os.remove(path)
  end
end

--- Calls a function with a new, empty directory, which is removed afterwards whatever happens.
---@param body fun(directory: string): any
---@return any what body returns
function helper.with_directory(body)
  local directory = helper.new_directory()
  local right, result = xpcall(function() return body(directory) end, function(value)
    return type(value) == "string" and debug.traceback(value, 2) or value
  end)
  helper.remove(directory)
  if not right then error(result, 0) end
  return result
end

--- A new, empty directory; whoever asks removes it.
---@return string path
function helper.new_directory()
  local name = os.tmpname()
  os.remove(name)
  assert(lfs.mkdir(name))
  return name
end

---@class spec.Result
---@field stdout string
---@field stderr string
---@field status integer  of exit; 128 + the number of the signal that ended it

--- Runs a command of the shell, with standard input empty unless given.
---@param command string
---@param options? { stdin?: string, env?: table<string, string>, directory?: string, seconds?: number }
---@return spec.Result result
--- Raises when it does not end within two minutes: a test must not hang the suite.
function helper.run(command, options)
  options = options or {}
  local seconds = options.seconds or TIME_LIMIT
  local result
  helper.with_directory(function(directory)
    local words = {}
    for name, value in pairs(options.env or {}) do words[#words + 1] = name .. "=" .. helper.quote(value) end
    local script = helper.write(directory .. "/command", (options.directory and
      "cd " .. helper.quote(options.directory) .. " || exit\n" or "") .. command .. "\n")
    local stdin = options.stdin and helper.write(directory .. "/stdin", options.stdin) or "/dev/null"
    -- the command's own status 124 (another timeout's) is not to be taken for the end of the time limit
    local inner = ("sh %s <%s >%s 2>%s; echo $? >%s"):format(script, stdin, directory .. "/stdout", directory .. "/stderr", directory .. "/status")
    os.execute(("env %s timeout -k 5 %g sh -c %s"):format(table.concat(words, " "), seconds, helper.quote(inner)))
    local ended = lfs.attributes(directory .. "/status", "size") or 0
    result = {
      stdout = helper.read(directory .. "/stdout"),
      stderr = helper.read(directory .. "/stderr"),
      status = ended > 0 and tonumber(helper.read(directory .. "/status")) or nil,
    }
  end)
  if not result.status then
    error(("the command did not end within %g seconds: %s\nstandard output: %s\nstandard error: %s"):format(seconds,
      command, result.stdout:sub(-1000), result.stderr:sub(-1000)), 2)
  end
  return result
end

--- The beginning of a command that runs on so many ranks of this machine: as root in a container too, without a page of mpirun's about a
--- status other than 0, with more ranks than processors, and without setting up a network (which takes longer than all else).
---@param ranks integer
---@param mpi? string "openmpi" or "mpich"; default: helper.mpi
---@return string
function helper.mpirun(ranks, mpi)
  if (mpi or helper.mpi) == "mpich" then return "mpiexec.mpich -n " .. ranks end
  return "env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun -q --oversubscribe --mca pml ob1 --mca btl self,vader -n " .. ranks
end

--- The beginning of a command that runs the parlua under test on an engine, for options and a script to follow: under mpi on two ranks.
--- mpirun takes two seconds to end when the script's status is not 0, unless it need not wait for what it kills then.
---@param engine string
---@param pid_file? string  gets the number of the process that runs the script
---@return string
function helper.command(engine, pid_file)
  local start, is_script = "", ""
  if engine == "mpi" then
    start, is_script = "OMPI_MCA_odls_base_sigkill_timeout=0 " .. helper.mpirun(2) .. " ", '[ "${OMPI_COMM_WORLD_RANK:-$PMI_RANK}" != 0 ] || '
  end
  if pid_file then start = ("%ssh -c '%secho $$ >%s; exec \"$@\"' sh "):format(start, is_script, pid_file) end
  return start .. helper.quote(helper.parlua) .. " --engine " .. engine
end

--- Does a status say that a signal has ended the program? MPICH's mpiexec ends with the signal's number, and adds bit by bit those of other
--- ranks, which it kills then: 11 is SIGINT and SIGKILL (so for any program that is no shell's: `sh -c 'kill -INT $$'`).
---@param engine string
---@param number integer
---@param status integer
function helper.is_ended_by(engine, number, status)
  if engine ~= "mpi" or helper.mpi ~= "mpich" then return status == 128 + number end
  return status == number or status == require("bit").bor(number, 9)
end

--- Runs the parlua under test with arguments written as in a shell.
---@param arguments string  with "--engine mpi": it runs on two ranks
---@param options? table  as for helper.run
---@return spec.Result result
function helper.run_parlua(arguments, options)
  local engine = arguments:find("%-%-engine[ =]mpi") and "mpi"
  return helper.run((engine and helper.command(engine) or helper.quote(helper.parlua)) .. " " .. arguments, options)
end

--- Draws small numbers, 1 to n, that follow from the seed: math.random is under test elsewhere.
---@param seed integer
---@return fun(n: integer): integer
function helper.generator(seed)
  local state = seed * 7919 + 12345
  return function(n)
    state = (state * 1103515245 + 12345) % 2147483648
    return math.floor(state / 65536) % n + 1
  end
end

--- The beginning of scripts that are run on several engines: `run(f, arguments, options)` prints what map returns.
helper.mapping_prologue = [[
package.path = "./?.lua;" .. package.path
local parlua = require "parlua"
local function run(f, arguments, options)
  local results, failures = parlua.map(f, arguments, options)
  for i = 1, results.n do if results[i] ~= nil then print(i, results[i]) end end
  for _, failure in ipairs(failures) do print(failure.index, failure.kind, failure.message) end
end
]]

--- Builds a C program of spec/c with files of src and sanitizers, and runs it: it says "all holds", and nothing else.
--- To be called by a test itself, which is pending where there is no C compiler.
---@param name string spec/c/NAME.c
---@param parts string the files of src, and options for the linker
---@param warns? boolean the files of src also write to standard error
function helper.assert_holds_in_c(name, parts, warns)
  local compiler = os.getenv "CC" or "cc"
  if helper.run("command -v " .. compiler).status ~= 0 then getfenv(2).pending "there is no C compiler" end
  helper.with_directory(function(directory)
    local program = directory .. "/" .. name
    local built = helper.run(("%s -std=c11 -D_GNU_SOURCE -Isrc -Wall -Wextra -Wshadow -Wpedantic -Werror -O1 -g"
      .. " -fsanitize=address,undefined -fno-sanitize-recover=undefined -o %s spec/c/%s.c %s"):format(compiler, program, name, parts))
    luassert.same({ "", 0 }, { built.stderr, built.status })
    local result = helper.run(program)
    luassert.same({ "all holds\n", 0 }, { result.stdout, result.status }, result.stderr)
    if not warns then luassert.equal("", result.stderr) end
  end)
end

return helper
