--- In which shape the values of blocks (worker/fold.lua) are merged: it follows from the blocks' numbers alone, so that
--- a reduction is the same to the bit wherever parts of it are merged.
--
-- 16 blocks side by side are a group, of which the first begins with block 1; 16 such groups are a larger group, and so
-- on. A group's value is that of its first part, with which those behind it are merged in their order, one by one. What
-- is left at the end and makes up no whole group is merged in the same way.
--
-- Over MPI, values of blocks that one rank has are merged there, by a worker (src/engines/mpi/folding.h): all whole
-- groups among them.
local block = require "parlua.wire.block"
local ffi = require "ffi"
local groups = require "parlua.lazy" "parlua.worker.groups"

local C = ffi.C
local cast = ffi.cast

local M = {}

-- A merge may copy what it merges (a list), and a group's first value may have to be unpacked (groups by key): more
-- levels would do that more often. Smaller groups would save more of what travels.
local GROUP = 16
M.GROUP = GROUP

--- How many blocks the part has that begins with block `first` and ends with block `last` at most: those of the largest
--- whole group, or one.
---@return integer
function M.part(first, last)
  local size = 1
  while (first - 1) % (size * GROUP) == 0 and first + size * GROUP - 1 <= last do size = size * GROUP end
  return size
end

--- The function that merges two values of a plan (sink/plan.lua), and the one that makes a table of groups of what may
--- have come as bytes.
---@param plan table merge, groups
---@return fun(a, b): any combine
---@return fun(value): any whole
function M.combiner(plan)
  local merge = plan.merge
  if not plan.groups then return function(a, b) return merge(a, b) end, function(value) return value end end
  local merge_packed = groups.merger(plan.groups.flat, plan.groups.merge)
  local function whole(value)
    if type(value) == "string" then return merge_packed({}, value) end
    return value
  end
  return function(a, b)
    a = whole(a)
    return merge_packed(a, b) or merge(a, b)
  end, whole
end

---@class parlua.Merging
local Merging = {}
Merging.__index = Merging

--- Merges values that come in the order of their blocks.
---@param combine fun(a, b): any
---@return parlua.Merging
function M.open(combine)
  -- by level: the value of a group's parts that have come, if any has
  return setmetatable({ combine = combine, values = {}, has = {}, top = 0 }, Merging)
end

--- Adds the value of the `size` blocks that end with block `last`: of one, or of a whole group.
function Merging:add(last, size, value)
  local combine, values, has, level, group = self.combine, self.values, self.has, 1, GROUP
  while group <= size do level, group = level + 1, group * GROUP end
  while true do
    if has[level] then
      has[level] = false
      value = combine(values[level], value)
    end
    if last % group ~= 0 then
      values[level], has[level] = value, true
      if level > self.top then self.top = level end
      return
    end
    values[level] = nil
    level, group = level + 1, group * GROUP
  end
end

--- The value of all that was added.
---@return boolean is_any
---@return any value
function Merging:value()
  local is_any, value = false, nil
  for level = 1, self.top do
    if self.has[level] then
      if is_any then value = self.combine(self.values[level], value) else value = self.values[level] end
      is_any = true
    end
  end
  return is_any, value
end

-- ---- in a worker ----

--- Values of blocks side by side, of which whole groups are merged as soon as all of their parts are there.
---@class parlua.Parts
---@field n integer
---@field values table
---@field lasts integer[] the last block of each
---@field sizes integer[] how many blocks each is of

---@param parts parlua.Parts
local function push(parts, combine, last, size, value)
  local values, lasts, sizes, n, group = parts.values, parts.lasts, parts.sizes, parts.n + 1, size * GROUP
  values[n], lasts[n], sizes[n] = value, last, size
  while last % group == 0 and n >= GROUP do
    local from = n - GROUP + 1
    if sizes[from] ~= size or lasts[from] ~= last - group + size then break end
    value = values[from]
    for k = from + 1, n do value = combine(value, values[k]) end
    n, size, group = from, group, group * GROUP
    values[n], lasts[n], sizes[n] = value, last, size
  end
  parts.n = n
end

--- Calls take(last block, number of blocks, value) for each value of a block of results.
---@param results ffi.cdata* struct block *
local function each_value(results, take)
  local words, halves, first = results.word, cast(block.halves, results.word), results.first
  if results.kind ~= C.BLOCK_FOLDED then
    for k = 0, results.count - 1 do take(first + k, 1, (block.get(results, words, halves, k))) end
    return
  end
  local list, last, k = block.get(results, words, halves, 0), results.last, 0
  if type(list) ~= "table" then error("cannot decode values of a reduction: they are damaged", 0) end
  while first <= last do
    local size = M.part(first, last)
    k, first = k + 1, first + size
    take(first - 1, size, list[k])
  end
end

local UNIT = 16 -- blocks in a string begin at multiples of so many bytes

--- The function that merges blocks of results, which stand in a string one behind the other, to a list of values.
---@param fold parlua.Fold
---@param pack? fun(groups: table): any makes bytes of groups
function M.merger(fold, pack)
  local combine = M.combiner(fold)
  return function(bytes)
    local parts, at = { n = 0, values = {}, lasts = {}, sizes = {} }, 0
    local function take(last, size, value) push(parts, combine, last, size, value) end
    while at < #bytes do
      local results = cast(block.pointer, cast("const char *", bytes) + at)
      each_value(results, take)
      at = at + math.ceil(tonumber(results.size) / UNIT) * UNIT
    end
    local list = { n = parts.n }
    for k = 1, parts.n do
      local value = parts.values[k]
      if pack and type(value) == "table" then value = pack(value) end
      list[k] = value
    end
    return list
  end
end

return M
