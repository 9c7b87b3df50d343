-- K-means: points are put into k groups, each about a centre of its own. Shows iterations over an array that workers
-- share: nothing of the points is ever sent; of each block of them only sums come back, which a reduction adds up.
--
--   parlua kmeans.lua [points] [groups] [iterations]

local parlua = require "parlua"

local n, k, iterations = tonumber(arg[1]) or 1e6, tonumber(arg[2]) or 16, tonumber(arg[3]) or 20
local D = 8           -- coordinates of a point
local BLOCK = 10000   -- points of a task
local blocks = math.ceil(n / BLOCK)

local function range_of(block) return (block - 1) * BLOCK, math.min(block * BLOCK, n) - 1 end

-- Points about k places, drawn by the workers, each block in place.
local points = parlua.array("double", n, D)
parlua.each(function(block)
  local p, first, last = points:data(), range_of(block)
  for i = first, last do
    local group = i % k
    for d = 0, D - 1 do p[i * D + d] = group * (d + 1) % k + math.random() + math.random() end
  end
end, parlua.range(blocks), { seed = 1 })

local centres = parlua.array("double", k, D)
for group = 1, k do centres:slice(group):assign(points:slice(math.floor((group - 1) * n / k) + group)) end

-- For each group the sums of its points' coordinates, their number, and the sum of their squared distances.
local function sums_of(block)
  local first, last = range_of(block)
  local part = points:view { first + 1, last + 1 }
  local nearest, distances = part:nearest(centres)
  local sums = parlua.array("double", k, D + 2)
  local p, s, near, far = part:data(), sums:data(), nearest:data(), distances:data()
  for i = 0, last - first do
    local place, at = (near[i] - 1) * (D + 2), i * D
    for d = 0, D - 1 do s[place + d] = s[place + d] + p[at + d] end
    s[place + D], s[place + D + 1] = s[place + D] + 1, s[place + D + 1] + far[i]
  end
  return sums
end

local error_before, error_after
for _ = 1, iterations do
  local sums = parlua.reduce(sums_of, parlua.range(blocks), {
    init = function() return parlua.array("double", k, D + 2) end,
    step = function(all, sums) return all + sums end,
  })
  error_after = sums:sum(1)[D + 2]
  error_before = error_before or error_after
  for group = 1, k do -- in place: workers see the new centres
    local count = sums:get(group, D + 1)
    if count > 0 then centres:slice(group):assign(sums:view(group, { 1, D }) / count) end
  end
end

print(("%d points, %d groups, %d iterations"):format(n, k, iterations))
print(("mean squared distance from the centre: %.3f at first, %.3f in the end"):format(error_before / n,
  error_after / n))
