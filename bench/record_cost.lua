--- The processor time of one result, all workers and the script together, beside one plain loop that makes it. Unlike times by the
--- clock, it says something on a machine that has other work, too.
local ffi = require "ffi"
local measure = require "measure"
local parlua = require "parlua"

ffi.cdef [[
struct bench_usage { long user, user_micro, system, system_micro, rest[14]; };
int getrusage(int who, struct bench_usage *usage);
]]

local SELF, CHILDREN = 0, -1 -- children that have been waited for

local function processor_seconds()
  local seconds, usage = 0, ffi.new "struct bench_usage"
  for _, who in ipairs { SELF, CHILDREN } do
    ffi.C.getrusage(who, usage)
    seconds = seconds + tonumber(usage.user + usage.system) + tonumber(usage.user_micro + usage.system_micro) * 1e-6
  end
  return seconds
end

--- A side whose seconds are those of all processors.
local function side(name, f)
  return { name = name, warm = true, run = function()
    collectgarbage()
    local before = processor_seconds()
    local results = f()
    return processor_seconds() - before, #results
  end }
end

return function()
  local n, few = measure.size(1e6, 1e4), measure.size(1e5, 1e4)
  local records = {}
  for i = 1, few do records[i] = { id = i, x = i + 0.25, y = i * 3, name = "n" .. i, even = i % 2 == 0 } end
  local kinds = {
    { what = "a record of three fields", n = n, f = function(i) return { a = i, b = i * 0.5, c = "s" .. i % 100 } end },
    { what = "{ i, x, y }", n = n, f = function(i) return { i, i * 0.5, i * 2 } end },
    { what = "a string of 12 bytes", n = n, f = function(i) return "text" .. 1e7 + i end },
    { what = "a record of five fields in and out", n = few, list = records, f = function(record)
      return { id = record.id, x = record.x + 1, y = record.y * 2, name = record.name, even = not record.even }
    end },
  }
  local rows = {}
  for _, kind in ipairs(kinds) do
    local sides = { side("plain loop", function()
      local results = {}
      for i = 1, kind.n do results[i] = kind.f(kind.list and kind.list[i] or i) end
      return results
    end) }
    for _, engine in ipairs { "threads", "process" } do
      sides[#sides + 1] = side(engine, function()
        return (parlua.map(kind.f, kind.list or parlua.range(kind.n), { engine = engine, workers = measure.workers }))
      end)
    end
    local got = measure.compare(sides)
    for _, engine in ipairs { "threads", "process" } do
      rows[#rows + 1] = measure.row { what = ("processor time, %s, %s"):format(kind.what, engine), unit = "ns",
                                      ours = got[engine].seconds / kind.n * 1e9, rival = "plain loop",
                                      theirs = got["plain loop"].seconds / kind.n * 1e9 }
    end
  end
  return rows
end
