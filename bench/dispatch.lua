--- What the coordinator pays for a chunk, and what that depends on: its processor time by the number of workers, and the
--- time of a stream while many tasks wait for their next try. And how long a task waits that a source has given which
--- turned slow.
local ffi = require "ffi"
local host = require "parlua.host"
local measure = require "measure"
local parlua = require "parlua"

pcall(ffi.cdef, "int usleep(unsigned int microseconds);")

--- The processor seconds of a process, seen from any other (see clock_getcpuclockid).
local function seconds_of(pid)
  local time = ffi.new "struct bench_time"
  ffi.C.clock_gettime(bit.bor(bit.lshift(bit.bnot(pid), 3), 2), time)
  return tonumber(time.seconds) + tonumber(time.nanoseconds) * 1e-9
end

--- Processor seconds of this process for a chunk of one task on so many workers, which sleep half a millisecond each
--- between them: the coordinator is not what limits. Two tasks look at its clock: the first when all workers have
--- begun and the script's loop is compiled.
local function a_chunk(workers)
  local pause, n = math.floor(workers / 2000 * 1e6), measure.size(6000, 300)
  local from, pid = math.max(3 * workers, measure.size(2000, 100)), host.pid()
  local times = {}
  for k = 1, measure.size(3, 1) do
    local seen = parlua.array("double", 2)
    parlua.each(function(i)
      ffi.C.usleep(pause)
      if i == from then seen[1] = seconds_of(pid) elseif i == from + n then seen[2] = seconds_of(pid) end
    end, parlua.range(from + n + workers), { engine = "process", workers = workers, chunk = 1 })
    times[k] = (seen[2] - seen[1]) / n
  end
  return measure.median(times)
end

--- Seconds of a stream of `n` tasks beside `waiting` tasks that wait for their next try.
local function stream_seconds(waiting, n)
  local function task(i)
    if i <= waiting then error("again", 0) end
    return i
  end
  local seen, began = 0, nil
  for i in parlua.imap(task, parlua.range(waiting + n), { engine = "process", workers = measure.workers, retries = 1,
                                                          backoff = 1000, ordered = false, chunk = 1, window = 1e9 }) do
    if i > waiting then
      began = began or host.now()
      seen = seen + 1
      if seen == n then break end
    end
  end
  return host.now() - began
end

--- The longest time from pulled to begun, over the last tasks of a source that gives `n` at once and then one each 20 ms.
local function longest_wait(engine, n)
  local given, pulled, longest = 0, {}, 0
  local function generate()
    given = given + 1
    if given > n + 20 then return nil end
    if given > n then
      host.sleep(0.02)
      pulled[given] = host.now()
    end
    return given
  end
  local function task() return require("parlua.host").now() end
  for i, begun in parlua.imap(task, generate, { engine = engine, workers = measure.workers }) do
    if pulled[i] then longest = math.max(longest, begun - pulled[i]) end
  end
  return longest
end

return function()
  local few, many = a_chunk(10) * 1e6, a_chunk(measure.size(1000, 50)) * 1e6
  local woken = measure.compare({ measure.c { name = "wake", program = "wake", words = { 10, measure.size(6000, 300) } } }).wake.seconds
  local n, waiting = measure.size(20000, 500), measure.size(40000, 1000)
  local alone, beside = stream_seconds(0, n), stream_seconds(waiting, n)
  return {
    measure.row { what = "a chunk, processor time at the coordinator, 10 workers", ours = few, unit = "us", at_most = 8,
                  rival = "to be woken as often, in C", theirs = woken * 1e6 },
    measure.row { what = "the same, 1000 workers", ours = many, unit = "us", at_most = 8 },
    measure.row { what = ("%d tasks beside %d that wait for their retry"):format(n, waiting), ours = beside, unit = "s",
                  rival = "none wait", theirs = alone, within = 1.1 },
    measure.row { what = "imap, source turns slow: from pulled to begun, process", ours = longest_wait("process", 50000) * 1e3,
                  unit = "ms", at_most = 50 },
    measure.row { what = "the same, threads", ours = longest_wait("threads", 50000) * 1e3, unit = "ms", at_most = 50 },
  }
end
