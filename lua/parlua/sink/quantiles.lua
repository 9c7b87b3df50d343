--- Quantiles of numbers in bounded memory: for parlua.quantiles. Up to EXACT numbers all are kept, and the values are
--- exact.
--
-- Beyond, the method of Munro and Paterson (1980): numbers stand in levels, those of level h for 2^h numbers each. A
-- level that is full is sorted, and every second number of it moves on to the next; which ones, the first or the second
-- of each pair, alternates. Each such step moves ranks by at most 2^h, so of n numbers a rank is wrong by at most n *
-- levels / EXACT, usually by much less: of a thousand million numbers by at most 1 in 10,000. No chance is involved:
-- the value is the same to the bit wherever blocks are merged in order.
local bit = require "bit"
local ffi = require "ffi"

local M = {}

local band, bnot, bxor, rshift = bit.band, bit.bnot, bit.bxor, bit.rshift

local EXACT = 2 ^ 17
M.EXACT = EXACT

--- levels[h + 1] has the numbers of level h; `odd` tells which of each pair stays at the next step; n: numbers in all.
function M.new() return { n = 0, odd = false, { } } end

local SIGN, DIGITS = -2 ^ 31, 2 ^ 16
local halves, doubles = ffi.typeof("int32_t *"), ffi.typeof("double[?]")

--- Turns the bits of n doubles into whole numbers of 64 bits, without sign, that have the same order.
local function to_keys(words, n)
  for k = 0, n - 1 do
    local low, high = words[2 * k], words[2 * k + 1]
    if high < 0 then words[2 * k], words[2 * k + 1] = bnot(low), bnot(high) else words[2 * k + 1] = bxor(high, SIGN) end
  end
end

local function from_keys(words, n)
  for k = 0, n - 1 do
    local low, high = words[2 * k], words[2 * k + 1]
    if high < 0 then words[2 * k + 1] = bxor(high, SIGN) else words[2 * k], words[2 * k + 1] = bnot(low), bnot(high) end
  end
end

--- One pass: by 16 bits of half `half` of the keys, from bit `shift` on. Keeps the order of equal ones.
local function sort_by_digit(from, to, n, half, shift, places)
  ffi.fill(places, 4 * (DIGITS + 1))
  for k = 0, n - 1 do
    local digit = band(rshift(from[2 * k + half], shift), 0xffff) + 1
    places[digit] = places[digit] + 1
  end
  for digit = 1, DIGITS do places[digit] = places[digit] + places[digit - 1] end
  for k = 0, n - 1 do
    local digit = band(rshift(from[2 * k + half], shift), 0xffff)
    local at = places[digit]
    places[digit] = at + 1
    to[2 * at], to[2 * at + 1] = from[2 * k], from[2 * k + 1]
  end
end

--- Sorts a list of numbers, digit by digit: ten times as fast as table.sort, which is not compiled (131,072 numbers in
--- some 5 ms).
local function sort(list)
  local n = #list
  if n < 1000 then return table.sort(list) end
  local numbers, others, places = doubles(n), doubles(n), ffi.new("int32_t[?]", DIGITS + 1)
  for k = 1, n do numbers[k - 1] = list[k] end
  local from, to = ffi.cast(halves, numbers), ffi.cast(halves, others)
  to_keys(from, n)
  for half = 0, 1 do
    sort_by_digit(from, to, n, half, 0, places)
    sort_by_digit(to, from, n, half, 16, places)
  end
  from_keys(from, n)
  for k = 1, n do list[k] = numbers[k - 1] end
end

--- Makes room in a level that is full, and in those above.
local function compact(a, h)
  local level = a[h]
  sort(level)
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
    sort(a[1])
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
