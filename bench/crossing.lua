--- What crossing costs: objects of a class as results, calls on warm threads of functions that have captured something, a large array.
--- Medians of several rounds, in one run. `parlua bench/crossing.lua`
local parlua = require "parlua"
local ffi = require "ffi"
local host = require "parlua.host"

local ROUNDS = tonumber((...)) or 5

local function median(list)
  table.sort(list)
  return list[math.floor(#list / 2) + 1]
end

--- Seconds that f takes: the median of several rounds.
local function seconds(f)
  f()
  local times = {}
  for round = 1, ROUNDS do
    collectgarbage()
    local began = host.now()
    f()
    times[round] = host.now() - began
  end
  return median(times)
end

local function memory(f)
  collectgarbage()
  collectgarbage()
  local before = collectgarbage "count"
  local kept = f()
  collectgarbage()
  return (collectgarbage "count" - before) / 1024, kept
end

local Class = {}
Class.__index = Class
for k = 1, 20 do Class["method" .. k] = function(self, x) return self.x + x + k end end

local function object(i) return setmetatable({ x = i, y = 2 * i, name = "object" }, Class) end
local function plain(i) return { x = i, y = 2 * i, name = "object" } end

local N = 1e5
for _, engine in ipairs { "process", "threads" } do
  local options = { engine = engine, workers = 2 }
  local as_plain = seconds(function() return parlua.map(plain, parlua.range(N), options) end) / N
  local as_objects = seconds(function() return parlua.map(object, parlua.range(N), options) end) / N
  local megabytes = memory(function() return parlua.map(object, parlua.range(N), options) end)
  print(("%-8s %d results: plain tables %.2f us, objects of a class with 20 methods %.2f us, %.1f MB"):format(engine, N, as_plain * 1e6,
    as_objects * 1e6, megabytes))
end

local options = { engine = "threads", workers = 2 }
local CALLS = 2000
local function calls(f)
  return seconds(function()
    for _ = 1, CALLS do parlua.map(f, { 1 }, options) end
  end) / CALLS * 1e6
end

print(("a call on warm threads, no captures: %.1f us"):format(calls(function(x) return x end)))

local state = { level = 1, plugins = { a = function(x) return x end }, list = { 1, 2, 3 } }
function state.get(name) return state.plugins[name] end
package.loaded["bench.state"] = state
local a, b, c, d, e, f, g, h, i, j = 1, 2, 3, 4, 5, "f", "g", {}, { 1 }, { 2 }
local k, l, m, n, o, p, q, r, s, t = 1, 2, 3, 4, 5, "f", "g", {}, { 1 }, { 2 }
print(("the same, 20 captured values and a module: %.1f us"):format(calls(function(x)
  return a + b + c + d + e + #f + #g + #h + #i + #j + k + l + m + n + o + #p + #q + #r + #s + #t + #state.list + x
end)))

local array = ffi.typeof "double[1000000]"
for _, engine in ipairs { "process", "threads" } do
  local one = { engine = engine, workers = 1 }
  local empty = seconds(function() return parlua.map(function() return 1 end, { 1 }, one) end)
  local full = seconds(function() return parlua.map(function() return array() end, { 1 }, one) end)
  print(("%-8s double[1e6] as a result: %.1f GB/s (%.1f ms)"):format(engine, 8e6 / (full - empty) / 1e9, (full - empty) * 1e3))
end
