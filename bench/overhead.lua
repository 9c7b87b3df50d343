--- What the measures of an option's cost share: tasks that take a given time, a run of them, medians.
local ffi = require "ffi"
local parlua = require "parlua"

ffi.cdef "double clock_seconds(void);"

local M = {}

local function busy(n)
  local x = 0
  for k = 1, n do x = x + k % 7 end
  return x
end

--- Iterations of `busy` that take so long on this machine.
local function iterations(seconds)
  local n, least = 1e6, math.huge
  for _ = 1, 10 do
    local began = ffi.C.clock_seconds()
    busy(n)
    least = math.min(least, ffi.C.clock_seconds() - began)
  end
  return math.floor(n * seconds / least)
end

--- A function that runs so many tasks of so many microseconds each, with the options that it is given, and tells the
--- seconds that they took and the processor time of the script's process.
---@param microseconds number
---@param tasks integer
---@return fun(options: parlua.Options): {seconds: number, processor: number}
function M.runner(microseconds, tasks)
  local each = iterations(microseconds * 1e-6)
  return function(options)
    options.progress = "none"
    local clock, began = os.clock(), ffi.C.clock_seconds()
    parlua.map(function(i) return busy(each) + i end, parlua.range(tasks), options)
    return { seconds = ffi.C.clock_seconds() - began, processor = os.clock() - clock }
  end
end

--- The median of a field of the runs in a list, which is sorted by it.
---@param list table[]
---@param name string
---@return number
function M.median(list, name)
  table.sort(list, function(a, b) return a[name] < b[name] end)
  return list[math.ceil(#list / 2)][name]
end

return M
