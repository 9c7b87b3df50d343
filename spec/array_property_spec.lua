--- Arrays, views of them and views of views, drawn at random and treated at random, beside lists of Lua that are treated
--- alike. SEED repeats a run.
local helper = require "spec.helper"
local parlua = require "parlua"

local types = { "float", "double", "int16", "int32", "int64", "uint8", "uint32", "uint64", "int8", "uint16" }

--- A list in lists of the places of an array's elements in the list of all values, from `first` on.
local function places(shape, d, first)
  if d > #shape then return first[1] end
  local made = {}
  for i = 1, shape[d] do
    made[i] = places(shape, d + 1, first)
    if d == #shape then first[1] = first[1] + 1 end
  end
  return made
end

--- Lists in lists, each innermost value through f.
local function through(list, f)
  if type(list) ~= "table" then return f(list) end
  local made = {}
  for i, value in ipairs(list) do made[i] = through(value, f) end
  return made
end

local function flat(list, into)
  into = into or {}
  if type(list) ~= "table" then into[#into + 1] = list else for _, value in ipairs(list) do flat(value, into) end end
  return into
end

local function shape_of(list)
  local shape = {}
  while type(list) == "table" do shape[#shape + 1], list = #list, list[1] end
  return shape
end

--- In another shape.
local function shaped(values, shape)
  return through(places(shape, 1, { 1 }), function(k) return values[k] end)
end

--- What stands at indices of a list in lists.
local function at(list, indices)
  for _, i in ipairs(indices) do list = list[i] end
  return list
end

--- With its dimensions in another order.
local function turned(list, order)
  local before = shape_of(list)
  local shape, indices = {}, {}
  for d, from in ipairs(order) do shape[d] = before[from] end
  local function make(d)
    if d > #shape then return at(list, indices) end
    local made = {}
    for i = 1, shape[d] do
      indices[order[d]] = i
      made[i] = make(d + 1)
    end
    return made
  end
  return make(1)
end

--- A part: for each dimension { first, last, step } or an index.
local function part(list, ranges, d)
  local range = ranges[d]
  if range == nil then return list end
  if type(range) == "number" then return part(list[range], ranges, d + 1) end
  local made = {}
  for i = range[1], range[2], range[3] do made[#made + 1] = part(list[i], ranges, d + 1) end
  return made
end

--- An array beside the lists: `values` of all elements of its memory, and `cells`, the places of its own among them.
local function new_pair(draw)
  local shape, count = {}, 1
  for d = 1, draw(8) do
    shape[d] = draw(count > 60 and 1 or 4)
    count = count * shape[d]
  end
  local values = {}
  for k = 1, count do values[k] = draw(100) end
  local name = types[draw(#types)]
  return { array = parlua.array(name, values, shape), values = values, cells = places(shape, 1, { 1 }), type = name }
end

--- An order of n numbers.
local function shuffled(n, draw)
  local order = {}
  for d = 1, n do order[d] = d end
  for d = n, 2, -1 do
    local k = draw(d)
    order[d], order[k] = order[k], order[d]
  end
  return order
end

local views = {}

function views.slice(pair, draw)
  local i = draw(#pair.cells)
  return pair.array:slice(i), pair.cells[i]
end

function views.part(pair, draw)
  local shape, ranges = shape_of(pair.cells), {}
  for d = 1, draw(#shape) do
    local first = draw(shape[d])
    ranges[d] = draw(5) == 1 and first or { first, first + draw(shape[d] - first + 1) - 1, draw(3) }
  end
  return pair.array:view(unpack(ranges)), part(pair.cells, ranges, 1)
end

function views.turned(pair, draw)
  local order = shuffled(#shape_of(pair.cells), draw)
  return pair.array:transpose(unpack(order)), turned(pair.cells, order)
end

function views.reshaped(pair, draw)
  local list = flat(pair.cells)
  local shape = draw(2) == 1 and { #list } or { 1, #list, 1 }
  local ok, array = pcall(pair.array.reshape, pair.array, shape)
  assert.equal(pair.array.contiguous, ok)
  if ok then return array, shaped(list, shape) end
  return pair.array, pair.cells
end

local writes = {}

function writes.fill(pair, draw)
  local value = draw(100)
  pair.array:fill(value)
  for _, k in ipairs(flat(pair.cells)) do pair.values[k] = value end
end

function writes.function_of_each(pair)
  pair.array:map_in_place(function(x) return x % 10 + 1 end)
  for _, k in ipairs(flat(pair.cells)) do pair.values[k] = pair.values[k] % 10 + 1 end
end

function writes.table(pair, draw)
  local list = through(pair.cells, function() return draw(100) end)
  if type(list) ~= "table" then return end
  pair.array:assign(list)
  local cells = flat(pair.cells)
  for k, value in ipairs(flat(list)) do pair.values[cells[k]] = value end
end

--- The array's own elements in another order: source and target overlap.
function writes.itself_turned(pair)
  local shape = shape_of(pair.cells)
  if #shape < 2 then return end
  local least = math.min(shape[1], shape[2])
  local square = pair.array:view({ 1, least }, { 1, least })
  local order = { 2, 1 }
  for d = 3, #shape do order[d] = d end
  local cells = part(pair.cells, { { 1, least, 1 }, { 1, least, 1 } }, 1)
  local given = through(turned(cells, order), function(k) return pair.values[k] end)
  square:assign(square:transpose(unpack(order)))
  local targets = flat(cells)
  for k, value in ipairs(flat(given)) do pair.values[targets[k]] = value end
end

--- The same, a place further.
function writes.itself_shifted(pair)
  local n = type(pair.cells) == "table" and #pair.cells or 0
  if n < 2 then return end
  local forward = n % 2 == 0
  local low, high = { 1, n - 1, 1 }, { 2, n, 1 }
  local from, to = forward and low or high, forward and high or low
  local given = flat(through(part(pair.cells, { from }, 1), function(k) return pair.values[k] end))
  pair.array:view(to):assign(pair.array:view(from))
  for k, place in ipairs(flat(part(pair.cells, { to }, 1))) do pair.values[place] = given[k] end
end

local function plain(value) return through(value, tonumber) end

local reads = {}

function reads.elements(pair)
  assert.same(shape_of(pair.expected), pair.array.shape)
  assert.same(pair.expected, plain(pair.array:totable()))
  assert.equal(pair.array:copy():bytes(), pair.array:bytes())
end

function reads.one(pair, draw)
  local indices = {}
  for d, size in ipairs(pair.array.shape) do indices[d] = draw(size) end
  assert.equal(at(pair.expected, indices), tonumber(pair.array:get(unpack(indices))))
end

function reads.moments(pair)
  local list, sum = flat(pair.expected), 0
  for _, value in ipairs(list) do sum = sum + value end
  assert.same({ sum, math.min(unpack(list)), math.max(unpack(list)), sum / #list },
    { pair.array:sum(), pair.array:min(), pair.array:max(), pair.array:mean() })
end

function reads.along(pair, draw)
  local shape = shape_of(pair.expected)
  if #shape < 2 then return end
  local d, order = draw(#shape), {}
  for k = 1, #shape do
    if k ~= d then order[#order + 1] = k end
  end
  order[#order + 1] = d
  local function fold(list, f)
    if type(list[1]) ~= "table" then return f(list) end
    local made = {}
    for i, inner in ipairs(list) do made[i] = fold(inner, f) end
    return made
  end
  local rows = turned(pair.expected, order)
  assert.same(fold(rows, function(row) return math.max(unpack(row)) end), plain(pair.array:max(d):totable()))
  assert.same(fold(rows, function(row) return math.min(unpack(row)) end), plain(pair.array:min(d):totable()))
  assert.same(fold(rows, function(row)
    local sum = 0
    for _, value in ipairs(row) do sum = sum + value end
    return sum
  end), plain(pair.array:sum(d):totable()))
end

function reads.arithmetic(pair)
  local double = pair.array:copy "double"
  assert.same(through(pair.expected, function(x) return 3 * x - 1 end), plain((3 * double - 1):totable()))
  assert.same(through(pair.expected, function(x) return x + x * x end), plain((pair.array + double * pair.array):totable()))
  assert.same(through(pair.expected, function(x) return 1 / x end), plain((1 / pair.array:copy "double"):totable()))
end

function reads.text(pair)
  assert.equal(tostring(pair.array:copy()), tostring(pair.array))
end

-- What stands at place i of n and beyond; nil: a zero does.
local beyond = {
  nearest = function(i, n) return math.max(1, math.min(n, i)) end,
  zero = function(i, n) return i >= 1 and i <= n and i or nil end,
  wrap = function(i, n) return (i - 1) % n + 1 end,
  reflect = function(i, n)
    local k = (i - 1) % (2 * n)
    return k < n and k + 1 or 2 * n - k
  end,
}

--- A list of rows, each of which is convolved.
local function convolved(rows, kernel, edge)
  local middle = (#kernel + 1) / 2
  local made = {}
  for r, row in ipairs(rows) do
    made[r] = {}
    for i = 1, #row do
      local sum = 0
      for k, factor in ipairs(kernel) do
        local j = beyond[edge](i + k - middle, #row)
        if j then sum = sum + factor * row[j] end
      end
      made[r][i] = sum
    end
  end
  return made
end

local function names_of(set)
  local names = {}
  for name in pairs(set) do names[#names + 1] = name end
  table.sort(names)
  return names
end
local view_names, write_names, read_names = names_of(views), names_of(writes), names_of(reads)

--- Draws an array and treats it; returns it with what its elements should be by then.
local function treat(draw)
  local pair = new_pair(draw)
  for _ = 1, draw(8) do
    if draw(2) == 1 and type(pair.cells) == "table" then
      pair.array, pair.cells = views[view_names[draw(#view_names)]](pair, draw)
    else
      writes[write_names[draw(#write_names)]](pair, draw)
    end
  end
  pair.expected = through(pair.cells, function(k) return pair.values[k] end)
  return pair
end

--- Calls f(pair, draw) for many of them, and says which one was wrong.
local function for_many(count, f)
  local first = tonumber(os.getenv "SEED") or os.time()
  for seed = first, first + count - 1 do
    local draw = helper.generator(seed)
    local ok, message = pcall(function() f(treat(draw), draw) end)
    if not ok then
      error(("SEED=%d: %s"):format(seed, type(message) == "table" and tostring(message.message) or tostring(message)), 0)
    end
  end
end

describe("arrays and views that are drawn at random", function()
  it("have the elements that lists of Lua have, however they are read", function()
    for_many(400, function(pair, draw)
      reads.elements(pair)
      for _ = 1, 3 do reads[read_names[draw(#read_names)]](pair, draw) end
    end)
  end)

  -- Whole numbers, whose sums are exact in any order; rows of some elements, and of more than a strip of C's has.
  it("are convolved along one dimension or two as by plain loops, whatever stands beyond the edges", function()
    local first = tonumber(os.getenv "SEED") or os.time()
    for seed = first, first + 39 do
      local draw = helper.generator(seed)
      local function size() return draw(4) == 1 and draw(700) or draw(12) end
      local height, width = size(), size()
      if height > 12 then width = draw(12) end
      local rows, kernel, edge = {}, {}, ({ "nearest", "zero", "wrap", "reflect" })[draw(4)]
      for r = 1, height do
        rows[r] = {}
        for c = 1, width do rows[r][c] = draw(9) - 5 end
      end
      for k = 1, 2 * draw(draw(4) == 1 and 20 or 3) - 1 do kernel[k] = draw(5) - 3 end
      if draw(2) == 1 then
        for k = 1, #kernel do kernel[k] = kernel[#kernel + 1 - k] end
      end
      local a = parlua.array(draw(2) == 1 and "float" or "double", rows)
      local across = convolved(rows, kernel, edge)
      local down = turned(convolved(turned(rows, { 2, 1 }), kernel, edge), { 2, 1 })
      local both = convolved(down, kernel, edge)
      local function check(expected, array)
        local difference = parlua.array(a.type, expected) - array:reshape(height, width)
        assert.same({ 0, 0 }, { difference:min(), difference:max() },
          ("SEED=%d: %d x %d, %d, %s"):format(seed, height, width, #kernel, edge))
      end
      check(across, a:convolve(kernel, { axis = 2, edge = edge }))
      check(down, a:convolve(kernel, { edge = edge }))
      check(both, a:convolve(kernel, { axis = { 1, 2 }, edge = edge }))
      a = a:reshape(height, 1, width)
      check(both, a:convolve(kernel, { axis = { 3, 1 }, edge = edge, into = a }))
    end
  end)

  it("are the same when they were saved and loaded", function()
    helper.with_directory(function(directory)
      for_many(40, function(pair)
        pair.array:save(directory .. "/a.npy"):save(directory .. "/a.npz")
        for _, loaded in ipairs { parlua.load(directory .. "/a.npy"), parlua.load(directory .. "/a.npz").arr_0 } do
          assert.same({ pair.type, pair.array.shape, pair.array:bytes() }, { loaded.type, loaded.shape, loaded:bytes() })
        end
      end)
    end)
  end)

  helper.for_each_engine(function(engine)
    it("reach tasks and come from them as they are", function()
      local pairs_, list = {}, {}
      for_many(60, function(pair) pairs_[#pairs_ + 1], list[#list + 1] = pair, pair.array end)
      local results, failures = parlua.map(function(array, k)
        local captured = list[k]
        assert(captured.type == array.type and captured:bytes() == array:bytes(), "captured and given differ")
        return { array, array:copy() }
      end, parlua.zip(list, parlua.range(#list)), helper.options(engine)())
      assert.same({}, failures)
      for k, pair in ipairs(pairs_) do
        for i = 1, 2 do
          assert.same({ pair.type, pair.array.shape }, { results[k][i].type, results[k][i].shape })
          assert.same(pair.expected, plain(results[k][i]:totable()))
        end
      end
    end)
  end)
end)
