--- Quantiles of numbers in bounded memory: for parlua.quantiles. Up to EXACT numbers all are kept, and the values are exact.
--
-- Beyond, the method of Munro and Paterson (1980): numbers stand in levels, those of level h for 2^h numbers each. A level that is full is
-- sorted, and every second number of it moves on to the next; which ones, the first or the second of each pair, alternates. Each such
-- step moves ranks by at most 2^h, so of n numbers a rank is wrong by at most n * levels / EXACT, usually by much less: of a thousand
-- million numbers by less than 1 in 10,000. No chance is involved: the value is the same to the bit wherever blocks are merged in order.
local M = {}

local EXACT = 2 ^ 17
M.EXACT = EXACT

--- levels[h + 1] has the numbers of level h; `odd` tells which of each pair stays at the next step; n: numbers in all.
function M.new() return { n = 0, odd = false, { } } end

--- Makes room in a level that is full, and in those above.
local function compact(a, h)
  local level = a[h]
  table.sort(level)
  local above = a[h + 1] or {}
  a[h + 1] = above
  local from, count = a.odd and 2 or 1, #above
  a.odd = not a.odd
  local whole = #level - #level % 2
  for k = from, whole, 2 do
    count = count + 1
    above[count] = level[k]
  end
  a[h] = #level > whole and { level[#level] } or {}
  if count >= EXACT then compact(a, h + 1) end
end

--- Takes a number; what is not a number (nan) is passed over.
function M.step(a, v)
  if v ~= v then return a end
  local level = a[1]
  if type(v) ~= "number" then v = v + 0 end -- raises where it is none
  level[#level + 1] = v
  a.n = a.n + 1
  if #level >= EXACT then compact(a, 1) end
  return a
end

function M.merge(a, b)
  a.n = a.n + b.n
  for h = 1, #b do
    local level = a[h] or {}
    a[h] = level
    local count = #level
    for k, v in ipairs(b[h]) do level[count + k] = v end
  end
  for h = 1, #b do
    if #a[h] >= EXACT then compact(a, h) end
  end
  return a
end

--- All numbers in order, with how many each stands for.
local function weighted(a)
  local all = {}
  for h, level in ipairs(a) do
    for _, v in ipairs(level) do all[#all + 1] = { v, 2 ^ (h - 1) } end
  end
  table.sort(all, function(x, y) return x[1] < y[1] end)
  return all
end

--- The numbers at ranks (from 0, in ascending order).
local function at_ranks(a, ranks)
  local found = {}
  if #a == 1 then
    table.sort(a[1])
    for k, rank in ipairs(ranks) do found[k] = a[1][rank + 1] end
    return found
  end
  local all, behind, at = weighted(a), 0, 0
  for k, rank in ipairs(ranks) do
    while at < #all and behind <= rank do
      at = at + 1
      behind = behind + all[at][2]
    end
    found[k] = all[at][1]
  end
  return found
end

--- The quantiles `shares` (from 0 to 1), a list; between two neighbours in proportion. Without numbers: an empty list.
function M.finish(a, shares)
  local values = {}
  if a.n == 0 then return values end
  local ranks, seen = {}, {}
  for _, share in ipairs(shares) do
    local place = share * (a.n - 1)
    for _, rank in ipairs { math.floor(place), math.ceil(place) } do
      if not seen[rank] then ranks[#ranks + 1], seen[rank] = rank, true end
    end
  end
  table.sort(ranks)
  for k, v in ipairs(at_ranks(a, ranks)) do seen[ranks[k]] = v end
  for k, share in ipairs(shares) do
    local place = share * (a.n - 1)
    local low, high = seen[math.floor(place)], seen[math.ceil(place)]
    values[k] = low == high and low or low + (high - low) * (place - math.floor(place))
  end
  return values
end

return M
