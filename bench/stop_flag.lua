--- What a task pays for the store of its index and the look at the limit: the worker's loop over x * x with them, and
--- without. The two take short turns, many times, so that other work on the machine meets both. Beside the time, the
--- instructions that each takes, as valgrind counts them.
local measure = require "measure"
require "parlua.worker" -- struct slot

--- Two functions of n: as the worker's loop writes squares into a block, and what is left when nothing watches it.
local LOOPS = [[
local ffi = require "ffi"
local ROOM = 4096
local slot, words = ffi.new("struct slot"), ffi.new("double[?]", ROOM)
local limit = ffi.new("double[1]")
local volatile_limit = ffi.cast("volatile double *", limit)

local function watched_block(k1, base, limit)
  for k = 0, k1 do
    local i = base + k
    slot.current = i
    if i > limit[0] then return k end
    words[k] = i * i
  end
end

local function bare_block(k1, base)
  for k = 0, k1 do
    local i = base + k
    words[k] = i * i
  end
end

local loops = {}

function loops.watched(n)
  limit[0] = n
  for base = 1, n, ROOM do watched_block(math.min(ROOM - 1, n - base), base, volatile_limit) end
  return words[0]
end

function loops.bare(n)
  for base = 1, n, ROOM do bare_block(math.min(ROOM - 1, n - base), base) end
  return words[0]
end

return loops]]

--- Instructions a task: what twice as many tasks take more, divided by how many more.
local function instructions(name)
  local n = measure.size(2e6, 2e5)
  local function count(tasks)
    local output = measure.shell(("valgrind --tool=callgrind --callgrind-out-file=/dev/null '%s' -e '%s' 2>&1"):format(
      measure.parlua, ('require "parlua.worker" local loops = (function() %s end)() loops.%s(%.0f)'):format(LOOPS, name,
        tasks)))
    return tonumber(output:match("Collected : (%d+)"))
  end
  return (count(2 * n) - count(n)) / n
end

return function()
  local n = measure.size(1e6, 1e5)
  local loops = loadstring(LOOPS)()
  local function side(name)
    return { name = name, warm = true, run = measure.timed(function() return loops[name](n) end) }
  end
  local got = measure.compare({ side "watched", side "bare" }, measure.size(301, 11))
  local function nanoseconds(name) return got[name].seconds / n * 1e9 end
  local rows = {
    measure.row { what = "a worker loop's task with index store and limit", ours = nanoseconds "watched", unit = "ns",
                  rival = "without them", theirs = nanoseconds "bare" },
    measure.row { what = "what they cost a task", ours = nanoseconds "watched" - nanoseconds "bare", unit = "ns",
                  below = 0.5 },
  }
  if pcall(measure.which, "valgrind") then
    rows[#rows + 1] = measure.row { what = "instructions of such a task", ours = instructions "watched", unit = "",
                                    rival = "without them", theirs = instructions "bare" }
  else
    io.stderr:write("bench: stop_flag: no valgrind here, so instructions are not counted\n")
  end
  return rows
end
