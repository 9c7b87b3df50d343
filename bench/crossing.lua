--- What crossing costs: objects of a class as results, calls on warm threads of functions that have captured something,
--- submitted calls while the script's state changes, a large array of C as a result.
local ffi = require "ffi"
local measure = require "measure"
local parlua = require "parlua"

local Class = {}
Class.__index = Class
for k = 1, 20 do Class["method" .. k] = function(self, x) return self.x + x + k end end

local function object(i) return setmetatable({ x = i, y = 2 * i, name = "object" }, Class) end
local function plain(i) return { x = i, y = 2 * i, name = "object" } end
local function nothing(x) return x end

local state = { level = 1, plugins = { a = function(x) return x end }, list = { 1, 2, 3 } }
function state.get(name) return state.plugins[name] end

--- A function with 20 captured values, and a module of state among what it uses.
local function make_captured()
  package.loaded["bench.state"] = state
  local a, b, c, d, e, f, g, h, i, j = 1, 2, 3, 4, 5, "f", "g", {}, { 1 }, { 2 }
  local k, l, m, n, o, p, q, r, s, t = 1, 2, 3, 4, 5, "f", "g", {}, { 1 }, { 2 }
  return function(x)
    return a + b + c + d + e + #f + #g + #h + #i + #j + k + l + m + n + o + #p + #q + #r + #s + #t + #state.list + x
  end
end

local array = ffi.typeof "double[1000000]"
local FEW = 10 -- calls

--- Megabytes that n objects take, once they are here.
local function megabytes(engine, n)
  collectgarbage()
  collectgarbage()
  local before = collectgarbage "count"
  local kept = parlua.map(object, parlua.range(n), { engine = engine, workers = measure.workers })
  collectgarbage()
  return (collectgarbage "count" - before) / 1024, kept
end

--- The run function of a side: seconds of a call with one task. `change` is called before each. Where there are few,
--- garbage of the call before is not the next one's business. `now` is a clock that changes nothing of the
--- script's state.
local function calls(now, f, engine, n, change)
  local items, options = {}, { engine = engine, workers = measure.workers }
  return function()
    local all = {}
    for k = 1, n do
      items[1] = k
      if change then change(k) end
      if n <= FEW then collectgarbage() end
      local began = now()
      parlua.map(f, items, options)
      all[k] = now() - began
    end
    return measure.median(all)
  end
end

local pool

--- The same of a submitted call; `change` is called before each.
local function submitted(now, n, change)
  return function()
    pool = pool or parlua.pool { engine = "threads", workers = measure.workers }
    local all = {}
    for k = 1, n do
      if change then change(k) end
      local began = now()
      pool:submit(nothing, k):get()
      all[k] = now() - began
    end
    return measure.median(all)
  end
end

--- Seconds of a call on warm threads, as a program of its own that another parlua can run too: of one and of four tasks,
--- by `map` and by a pool's.
local warm_text = [[
  local parlua, ffi, n = require "parlua", require "ffi", %d
  ffi.cdef "typedef struct { long s, n; } bench_time; int clock_gettime(int, bench_time *);"
  local time = ffi.new "bench_time"
  local function now()
    ffi.C.clock_gettime(1, time)
    return tonumber(time.s) + tonumber(time.n) * 1e-9
  end
  local options = { engine = "threads", workers = 2 }
  local pool = parlua.pool(options)
  local function nothing(x) return x end
  local function by_map(items) parlua.map(nothing, items, options) end
  local function by_pool(items) pool:map(nothing, items) end
  local call, items = %s, %s
  local all = {}
  for k = 1, n + 200 do
    local began = now()
    call(items)
    all[math.max(1, k - 200)] = now() - began
  end
  table.sort(all)
  print(all[math.ceil(n / 2)])]]

--- The sides of it, for this parlua and the one that BENCH_BEFORE names.
local function warm_sides()
  local sides, before = {}, os.getenv "BENCH_BEFORE"
  for _, which in ipairs { { "map of 1", "by_map", "{ 1 }" }, { "map of 4", "by_map", "{ 1, 2, 3, 4 }" },
                           { "pool of 1", "by_pool", "{ 1 }" }, { "pool of 4", "by_pool", "{ 1, 2, 3, 4 }" } } do
    local script = ("%s/warm_%s.lua"):format(measure.scratch, which[1]:gsub(" ", "_"))
    local file = assert(io.open(script, "w"))
    file:write(warm_text:format(measure.size(3000, 50), which[2], which[3]))
    file:close()
    sides[#sides + 1] = { name = which[1], run = measure.command { measure.parlua, script } }
    if before then sides[#sides + 1] = { name = which[1] .. " before", run = measure.command { before, script } } end
  end
  return sides, before
end

--- Seconds of the first call of a program on threads, behind `setup`.
local function first_call(setup)
  local script = measure.scratch .. "/first_call.lua"
  local file = assert(io.open(script, "w"))
  file:write(setup, [[

    local parlua = require "parlua"
    local host = require "parlua.host"
    local options = { engine = "threads", workers = 2 }
    local began = host.now()
    parlua.map(function(x) return x end, { 1 }, options)
    print(host.now() - began)]])
  file:close()
  return measure.command { measure.parlua, script }
end

return function()
  local now = measure.new_clock()
  local function count(k) _G.bench_counter = k end
  local n, times, rounds = measure.size(1e5, 1000), measure.size(2000, 50), measure.size(5, 1)
  local function map_of(f, engine)
    return measure.timed(function()
      return #parlua.map(f, parlua.range(n), { engine = engine, workers = measure.workers })
    end)
  end
  local has_penlight = pcall(require, "pl.class")
  _G.bench_counter = 0
  local sides = {
    { name = "call", warm = true, run = calls(now, nothing, "threads", times) },
    { name = "captured", warm = true, run = calls(now, make_captured(), "threads", times) },
    { name = "call, changed", warm = true, run = calls(now, nothing, "threads", times, count) },
    { name = "call, struct", warm = true, run = calls(now, nothing, "threads", times, measure.now) },
    { name = "submit", warm = true, run = submitted(now, times) },
    { name = "submit, changed", warm = true, run = submitted(now, times, count) },
  }
  for _, engine in ipairs { "process", "threads" } do
    sides[#sides + 1] = { name = "plain, " .. engine, warm = true, run = map_of(plain, engine) }
    sides[#sides + 1] = { name = "objects, " .. engine, warm = true, run = map_of(object, engine) }
    local function one() return 1 end
    local function make() return array() end
    sides[#sides + 1] = { name = "one, " .. engine, warm = true, run = calls(now, one, engine, rounds) }
    sides[#sides + 1] = { name = "array, " .. engine, warm = true, run = calls(now, make, engine, rounds) }
  end
  sides[#sides + 1] = measure.c { name = "C", program = "pass", words = { ffi.sizeof(array), 4 * rounds + 1 } }
  if has_penlight then
    sides[#sides + 1] = { name = "first", run = first_call 'require "pl"\npackage.loaded.settings = { level = 3 }' }
  end
  local of_warm, before = warm_sides()
  for _, side in ipairs(of_warm) do sides[#sides + 1] = side end
  local got = measure.compare(sides)
  pool:close()
  pool, _G.bench_counter = nil, nil
  local rows = {}
  local function row(fields) rows[#rows + 1] = measure.row(fields) end
  local function micro(name) return got[name].seconds * 1e6 end
  for _, engine in ipairs { "process", "threads" } do
    row { what = ("%s objects of a class with 20 methods, %s"):format(measure.count(n), engine),
          ours = got["objects, " .. engine].seconds / n * 1e6, unit = "us", rival = "plain tables of the same fields",
          theirs = got["plain, " .. engine].seconds / n * 1e6, within = 1.25 }
    row { what = "their memory", ours = (megabytes(engine, n)), unit = "MB", below = 40 }
  end
  row { what = "a call on warm threads, nothing captured", ours = micro "call", unit = "us", at_most = 4.1 }
  for _, name in ipairs { "map of 1", "map of 4", "pool of 1", "pool of 4" } do
    row { what = name .. ", in a program of its own", ours = micro(name), unit = "us",
          rival = before and "the parlua that BENCH_BEFORE names" or nil, theirs = before and micro(name .. " before"),
          within = before and 1 or nil }
  end
  row { what = "20 captured values and a module of state", ours = micro "captured", unit = "us", below = 10 }
  row { what = "a call while a global changes before each", ours = micro "call, changed", unit = "us" }
  row { what = "a call while a C struct of a module changes", ours = micro "call, struct", unit = "us" }
  row { what = "submit to result, threads, nothing changes", ours = micro "submit", unit = "us" }
  row { what = "a global changes before each", ours = micro "submit, changed", unit = "us" }
  if has_penlight then
    row { what = "first call after require \"pl\" and a configured module, threads", ours = micro "first" / 1e3,
          unit = "ms", below = 5 }
  end
  for _, engine in ipairs { "process", "threads" } do
    local seconds = got["array, " .. engine].seconds - got["one, " .. engine].seconds
    row { what = "double[1e6] as a result, " .. engine, ours = 8e6 / seconds / 1e9, unit = "GB/s", more = true,
          rival = "a forked process in C", theirs = 8e6 / got.C.seconds / 1e9,
          at_least = engine == "process" and 2 or nil }
  end
  return rows
end
