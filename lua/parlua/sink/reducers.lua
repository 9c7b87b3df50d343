--- Ready reducers: how results become one value. Each has
--
--   init     the accumulator to begin with: a value (a table is copied), or a function that makes it; neutral: merging
--            with it changes nothing
--   step     step(accumulator, result, index) -> accumulator
--   merge    merge(accumulator, accumulator of what comes behind) -> accumulator
--   finish   finish(accumulator) -> value; may be absent
--
-- A nil result is passed over by all of them. Called with a field's name, or with a function of the result, a reducer
-- becomes one of that: `parlua.mean "temperature"`.
local fold = require "parlua.lazy" "parlua.worker.fold"
local flat_groups = require "parlua.worker.groups"
local kinds = require "parlua.source.kinds"
local missing = require "parlua.lazy" "parlua.worker.missing"
local quantiles = require "parlua.lazy" "parlua.sink.quantiles"
local reducer_module = require "parlua.sink.reducer"
local together = require "parlua.lazy" "parlua.sink.together"

local M = {}

local new, picker, part_name, fields_of = reducer_module.new, reducer_module.picker, reducer_module.part_name,
  reducer_module.fields_of
local check_number, check_comparable = reducer_module.check_number, reducer_module.check_comparable
M.is = reducer_module.is

--- The sum of the results.
M.sum = new {
  init = 0, check = check_number, flat = flat_groups.one(),
  step = function(sum, v)
    if v == nil then return sum end
    return sum + v
  end,
  merge = function(a, b) return a + b end,
}

--- How many results are neither nil nor false.
M.count = new {
  init = 0, flat = flat_groups.one(),
  step = function(n, v)
    if v then return n + 1 end
    return n
  end,
  merge = function(a, b) return a + b end,
}

local function lesser(a, v)
  if a == nil or v ~= nil and v < a then return v end
  return a
end

local function greater(a, v)
  if a == nil or v ~= nil and v > a then return v end
  return a
end

local function not_nan(choose)
  return function(a, v)
    if v ~= v then return a end
    if type(v) ~= "number" then check_comparable(v) end
    return choose(a, v)
  end
end

--- The least result; nil when there is none. What is not a number (nan) is passed over.
M.min = new { check = check_comparable, step = not_nan(lesser), merge = lesser, flat = flat_groups.one(true) }

--- The greatest result.
M.max = new { check = check_comparable, step = not_nan(greater), merge = greater, flat = flat_groups.one(true) }

--- Where the least or the greatest result is: { index =, value = }, of equal ones the first; nil when there is none.
local function place_of(is_better)
  return new {
    check = check_comparable,
    step = function(a, v, index)
      if v == nil or v ~= v then return a end
      if type(v) ~= "number" then check_comparable(v) end
      if a == nil or is_better(v, a.value) then return { index = index, value = v } end
      return a
    end,
    merge = function(a, b)
      if a == nil or b ~= nil and is_better(b.value, a.value) then return b end
      return a
    end,
  }
end

--- The task with the least result, the first of equal ones: { index =, value = }; nil when there is none.
M.argmin = place_of(function(v, best) return v < best end)

--- The task with the greatest result.
M.argmax = place_of(function(v, best) return v > best end)

--- The mean of the results, nil when there is none: steps as in parlua.stats.
M.mean = new {
  init = function() return { 0, 0 } end, -- n, mean
  check = check_number, flat = flat_groups.list(2),
  step = function(a, v)
    if v == nil then return a end
    local n = a[1] + 1
    a[1], a[2] = n, a[2] + (v - a[2]) / n
    return a
  end,
  merge = function(a, b)
    if b[1] == 0 then return a end
    if a[1] == 0 then return b end
    local n = a[1] + b[1]
    return { n, a[2] + (b[2] - a[2]) * b[1] / n }
  end,
  finish = function(a)
    if a[1] > 0 then return a[2] end
  end,
}

--- Number, mean, variance (of a sample: by n - 1), standard deviation, least and greatest: { n =, mean =, variance =,
--- deviation =, min =, max = }. Welford's method, and that of Chan, Golub and LeVeque to merge: numerically stable.
M.stats = new {
  check = check_number, flat = flat_groups.list(5),
  -- n, mean, sum of squared distances to the mean, least, greatest
  init = function() return { 0, 0, 0, math.huge, -math.huge } end,
  step = function(a, v)
    if v == nil then return a end
    if type(v) ~= "number" then v = v + 0 end -- raises where it is none
    local n = a[1] + 1
    local delta = v - a[2]
    local mean = a[2] + delta / n
    a[1], a[2], a[3] = n, mean, a[3] + delta * (v - mean)
    if v < a[4] then a[4] = v end
    if v > a[5] then a[5] = v end
    return a
  end,
  merge = function(a, b)
    if b[1] == 0 then return a end
    if a[1] == 0 then return b end
    local n = a[1] + b[1]
    local delta = b[2] - a[2]
    local squares = a[3] + b[3] + delta * delta * a[1] * b[1] / n
    return { n, a[2] + delta * b[1] / n, squares, math.min(a[4], b[4]), math.max(a[5], b[5]) }
  end,
  finish = function(a)
    if a[1] == 0 then return { n = 0 } end
    local variance = a[1] > 1 and a[3] / (a[1] - 1) or nil
    local deviation = variance and math.sqrt(variance)
    return { n = a[1], mean = a[2], variance = variance, deviation = deviation, min = a[4], max = a[5] }
  end,
}

--- Quantiles of the results, a list: `parlua.quantiles(0.25, 0.5, 0.75)`. Exact up to 131,072 results; of more, a rank
--- is wrong by less than one in 5,000 (quantiles.lua).
---@param ... number shares from 0 to 1
---@return parlua.Reducer
function M.quantiles(...)
  local shares = { ... }
  if type(shares[1]) == "table" and #shares == 1 then shares = { unpack(shares[1]) } end
  for k = 1, math.max(#shares, select("#", ...)) do
    local share = shares[k]
    if type(share) ~= "number" or not (share >= 0 and share <= 1) then
      error(("quantiles: share %d must be a number from 0 to 1, got %s"):format(k, tostring(share)), 2)
    end
  end
  if #shares == 0 then
    error("quantiles: shares from 0 to 1 are expected, as in parlua.quantiles(0.25, 0.5, 0.75)", 2)
  end
  return new {
    init = quantiles.new, check = check_number,
    step = function(a, v)
      if v == nil then return a end
      return quantiles.step(a, v)
    end,
    merge = quantiles.merge,
    finish = function(a) return quantiles.finish(a, shares) end,
  }
end

--- The results in a list, nils left out.
M.collect = new {
  init = function() return {} end,
  step = function(list, v)
    if v ~= nil then list[#list + 1] = v end
    return list
  end,
  merge = function(a, b)
    local n = #a
    for k = 1, #b do a[n + k] = b[k] end
    return a
  end,
}

--- Counts results in `bins` equal intervals between `from` and `to` (`to` itself counts in the last): a list of counts,
--- with fields below, above, from and to. Example: `parlua.histogram { from = 0, to = 1, bins = 10 }`. Of a list of
--- numbers it draws the picture that parlua.plot.histogram does.
---@param shape {from: number, to: number, bins: integer}
---@return parlua.Reducer
function M.histogram(shape, ...)
  if type(shape) == "cdata" or type(shape) == "table" and (shape[1] ~= nil or shape.n) then
    return require("parlua.plot").histogram(shape, ...)
  end
  if type(shape) ~= "table" then
    error("histogram: a table { from =, to =, bins = } is expected, got " .. type(shape)
      .. "; a list of numbers is drawn by parlua.plot.histogram(numbers)", 2)
  end
  for name in pairs(shape) do
    if name ~= "from" and name ~= "to" and name ~= "bins" then
      error(("histogram: unknown field '%s'; the reducer takes { from =, to =, bins = }, and a list of numbers or "
        .. "records is drawn: parlua.plot.histogram(rows, \"x\")"):format(tostring(name)), 2)
    end
  end
  local from, to, bins = shape.from, shape.to, shape.bins
  if type(from) ~= "number" or type(to) ~= "number" or not (from < to) then
    error("histogram: from and to must be numbers, from the smaller", 2)
  end
  if type(bins) ~= "number" or bins < 1 or bins % 1 ~= 0 then
    error("histogram: bins must be an integer of at least 1", 2)
  end
  local scale, empty = bins / (to - from), { below = 0, above = 0, from = from, to = to }
  for k = 1, bins do empty[k] = 0 end
  return new {
    init = empty, check = check_comparable,
    step = function(counts, v)
      if v == nil or v ~= v then return counts end
      if type(v) ~= "number" then check_comparable(v) end
      if v < from then
        counts.below = counts.below + 1
      elseif v > to then
        counts.above = counts.above + 1
      else
        local k = math.min(math.floor((v - from) * scale) + 1, bins)
        counts[k] = counts[k] + 1
      end
      return counts
    end,
    merge = function(a, b)
      a.below, a.above = a.below + b.below, a.above + b.above
      for k = 1, bins do a[k] = a[k] + b[k] end
      return a
    end,
  }
end

--- Inserts an item behind those whose key is not smaller, of which there are at most `most`.
local function insert(top, most, key, value)
  local keys, values, n = top.keys, top.values, #top.keys
  if n == most and key <= keys[n] then return end
  local k = math.min(n + 1, most)
  while k > 1 and key > keys[k - 1] do
    keys[k], values[k] = keys[k - 1], values[k - 1]
    k = k - 1
  end
  keys[k], values[k] = key, value
end

--- The k largest results, largest first; of equal ones those with the lower index. `by`: what counts, a field's name or
--- a function. Example: `parlua.top(10, "score")`
---@param k integer
---@param by? string|function
---@return parlua.Reducer
function M.top(k, by)
  if type(k) ~= "number" or k < 1 or k % 1 ~= 0 then error("top: k must be an integer of at least 1", 2) end
  local pick = by ~= nil and picker(by, "top", 2) or nil
  return new {
    init = { keys = {}, values = {} },
    check = function(v)
      if v ~= nil and pick then check_comparable(pick(v), part_name(by)) else check_comparable(v) end
    end,
    step = function(top, v, index)
      if v == nil then return top end
      local key = v
      if pick then key = pick(v) end
      if key == nil then missing.note(part_name(by), index) end
      if type(key) ~= "number" then check_comparable(key) end
      if key ~= nil and key == key then insert(top, k, key, v) end
      return top
    end,
    merge = function(a, b)
      for j = 1, #b.keys do insert(a, k, b.keys[j], b.values[j]) end
      return a
    end,
    finish = function(top) return top.values end,
  }
end

local examples = { quantiles = "(0.25, 0.5, 0.75)", histogram = " { from = 0, to = 1, bins = 10 }",
  top = '(10, "score")', group = '("city", parlua.count)' }

--- A hint for a reducer that was to be called: ", parlua.top itself; it has to be called: parlua.top(10)". Else "".
---@param value any
---@return string
function M.uncalled(value)
  for name, example in pairs(examples) do
    if rawequal(value, M[name]) then
      return (", parlua.%s itself; it makes a reducer when it is called: parlua.%s%s"):format(name, name, example)
    end
  end
  return ""
end

local MOST_TOGETHER = 1000

--- A hint for a source that stands in place of a reducer: it has come to the wrong function. Else "".
local function misplaced(value)
  if not kinds.is_source(value) then return "" end
  return ": a source, as parlua.reduce takes them: parlua.reduce(f, source, reducer)"
end

--- A reducer, or a table of them by name, as one reducer.
---@return parlua.Reducer
function M.of(value, where)
  if M.is(value) then return value end
  if type(value) ~= "table" or next(value) == nil or kinds.is_source(value) then
    error(("%s: a reducer or a table of reducers is expected, got %s"):format(
      where, value == nil and "nothing" or type(value)) .. M.uncalled(value) .. misplaced(value), 3)
  end
  local names = {}
  for name, reducer in pairs(value) do
    if not M.is(reducer) then
      local given = type(reducer) .. M.uncalled(reducer)
      error(("%s: '%s' must be a reducer, got %s"):format(where, tostring(name), given), 3)
    end
    names[#names + 1] = name
  end
  if #names > MOST_TOGETHER then
    error(("%s: %d reducers are more than the %d that a table may have"):format(where, #names, MOST_TOGETHER), 3)
  end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  return together.of(names, value, M.count)
end

--- Reduces the results of each key by itself; the value is a table by keys. Results without a key are passed over.
--- Example: `parlua.group("city", { mean = parlua.mean "t", max = parlua.max "t" })`
---@param by string|function the key: a field's name, or a function of the result
---@param reducer? parlua.Reducer|table<string, parlua.Reducer> default: parlua.count
---@return parlua.Reducer
function M.group(by, reducer)
  local key_of, each = picker(by, "group", 2), reducer == nil and M.count or M.of(reducer, "group")
  local check, key_name = each.check, type(by) == "function" and "key" or part_name(by)
  local init, step, merge, finish = each.init, each.step, each.merge, each.finish
  local spare = { of = {} }
  return new {
    init = function() return flat_groups.take(spare) end,
    fields = (each == M.count or each.fields) and fields_of(by, each.fields),
    groups = each.flat and merge and { flat = each.flat, merge = merge, init = init, spare = spare } or nil,
    check = function(v)
      if v ~= nil and key_of(v) ~= nil and check then check(v) end
    end,
    step = function(groups, v, i)
      if v == nil then return groups end
      local key = key_of(v)
      if key == nil or key ~= key then
        missing.note(key_name, i)
        return groups
      end
      local accumulator = groups[key]
      if accumulator == nil then
        local of = spare.of
        accumulator = of[key]
        if accumulator == nil then accumulator = fold.fresh(init) else of[key] = nil end
      end
      groups[key] = step(accumulator, v, i)
      return groups
    end,
    merge = merge and function(a, b)
      for key, accumulator in pairs(b) do
        if a[key] == nil then a[key] = accumulator else a[key] = merge(a[key], accumulator) end
      end
      return a
    end,
    finish = function(groups)
      if not finish then return groups end
      local values = {}
      for key, accumulator in pairs(groups) do values[key] = finish(accumulator) end
      return values
    end,
  }
end

return M
