--- What the coordinator pays for a chunk, and what that depends on: its processor time by the number of workers, and the
--- time of a stream while many tasks wait for their next try. And how long a task waits that a source has given which
--- turned slow.
local ffi = require "ffi"
local host = require "parlua.host"
local measure = require "measure"
local parlua = require "parlua"

pcall(ffi.cdef, "int usleep(unsigned int microseconds);")

--- Processor seconds of this process for `n` chunks of one task on so many workers, which sleep half a millisecond each
--- between them: the coordinator is not what limits.
local function coordinator_seconds(workers, n)
  local pause = math.floor(workers / 2000 * 1e6)
  local before = os.clock()
  parlua.each(function() ffi.C.usleep(pause) end, parlua.range(n), { engine = "process", workers = workers, chunk = 1 })
  return os.clock() - before
end

--- The same a chunk, without what starting and ending the workers takes.
local function a_chunk(workers)
  local few, more = 2 * workers, measure.size(6000, 300)
  local times = {}
  for k = 1, measure.size(3, 1) do
    times[k] = (coordinator_seconds(workers, few + more) - coordinator_seconds(workers, few)) / more
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
