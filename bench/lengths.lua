--- Lengths of tasks with a heavy tail, 0.1 to 50 ms, for the measures that run such tasks.
local SHORTEST, LONGEST = 0.1e-3, 50e-3 -- seconds
local SEED = 1

local M = {}

--- Lengths drawn from a Pareto distribution with exponent 1/2, cut off at the longest.
---@return number[] seconds
function M.draw(n)
  math.randomseed(SEED)
  local lengths = {}
  local share = 1 - math.sqrt(SHORTEST / LONGEST)
  for k = 1, n do lengths[k] = SHORTEST / (1 - math.random() * share) ^ 2 end
  return lengths
end

--- The same in "ascending" or "descending" order, or as they were drawn ("random").
function M.sorted(lengths, order)
  local list = {}
  for k, length in ipairs(lengths) do list[k] = length end
  if order == "ascending" then table.sort(list) end
  if order == "descending" then table.sort(list, function(a, b) return a > b end) end
  return list
end

--- Writes them to a file, one a line.
---@return string path
function M.write(path, list)
  local file = assert(io.open(path, "w"))
  for _, length in ipairs(list) do file:write(("%.9f\n"):format(length)) end
  file:close()
  return path
end

function M.sum(list)
  local sum = 0
  for _, length in ipairs(list) do sum = sum + length end
  return sum
end

return M
