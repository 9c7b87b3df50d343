--- One task, from the call to its result: on warm threads back to back and after pauses, what idle workers cost, and on
--- the process engine with its fork. Beside Python's `Pool.apply`.
local ffi = require "ffi"
local measure = require "measure"
local parlua = require "parlua"

ffi.cdef [[
int fork(void);
void _exit(int status);
]]

local PAUSE = 5e-3 -- seconds

local function square(x) return x * x end

--- The run function of a side: the median of the seconds that `calls` calls of f take.
local function median_of(calls, f)
  return function()
    local all = {}
    for k = 1, calls do all[k] = f(k) end
    return measure.median(all)
  end
end

--- A call with one task: its seconds.
local function one_task(options, pause)
  local items = {}
  return function(k)
    if pause then measure.pause(pause) end
    items[1] = k
    local began = measure.now()
    local results = parlua.map(square, items, options)
    local seconds = measure.now() - began
    if results[1] ~= k * k then error("a wrong result") end
    return seconds
  end
end

--- A bare fork, exit and wait.
local function bare_fork()
  local status = ffi.new("int[1]")
  local began = measure.now()
  local pid = ffi.C.fork()
  if pid == 0 then ffi.C._exit(0) end
  ffi.C.waitpid(pid, status, 0)
  return measure.now() - began
end

return function()
  local calls, with_pause, forks = measure.size(20000, 2000), measure.size(400, 50), measure.size(200, 20)
  local threads = { engine = "threads", workers = measure.workers }
  local process = { engine = "process", workers = 1 }
  local idle = measure.size(2, 0.2)

  local got = measure.compare {
    { name = "warm", warm = true, run = median_of(calls, one_task(threads)) },
    measure.python { name = "apply", call = "round_trip", words = { calls, 0 } },
    { name = "paused", run = median_of(with_pause, one_task(threads, PAUSE)) },
    measure.python { name = "apply, paused", call = "round_trip", words = { with_pause, PAUSE } },
    { name = "idle", run = function()
      one_task(threads)(1)
      local began = measure.processor_seconds()
      measure.pause(idle)
      return measure.processor_seconds() - began
    end },
    { name = "fork", warm = true, run = median_of(forks, one_task(process)) },
    { name = "bare fork", run = median_of(forks, bare_fork) },
    measure.python { name = "Pool(1)", call = "one_task_with_start", words = { forks } },
  }
  local function micro(name) return got[name].seconds * 1e6 end
  local function milli(name) return got[name].seconds * 1e3 end
  return {
    measure.row { what = "one task on warm threads, back to back", ours = micro("warm"), unit = "us", at_most = 5,
                  rival = "Pool.apply", theirs = micro("apply") },
    measure.row { what = "the same, after a pause of 5 ms", ours = micro("paused"), unit = "us", at_most = 100,
                  rival = "Pool.apply", theirs = micro("apply, paused") },
    measure.row { what = "idle threads: processor time", ours = got.idle.seconds / idle * 100, unit = "%",
                  at_most = 0.1 },
    measure.row { what = "one task, process engine, fork to result", ours = milli("fork"), unit = "ms", at_most = 2,
                  rival = "bare fork, exit and wait", theirs = milli("bare fork") },
    measure.row { what = "", ours = milli("fork"), unit = "ms", rival = "Pool(1) and apply",
                  theirs = milli("Pool(1)") },
  }
end
