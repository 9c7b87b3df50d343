-- What `make valgrind` runs on each engine: each way of C code once, few times, as valgrind is slow. It raises when something is wrong.
local parlua = require "parlua"
local helper = require "spec.helper"

local engine = assert(package.loaded["parlua.command"].engine, "run it with --engine NAME")
local shares, forks = engine ~= "process", engine == "process"

--- A task's result of each kind, a failure now and then.
local function task(i)
  local what = i % 8
  if what == 0 then return nil end
  if what == 1 then return i * 0.5 end
  if what == 2 then return ("text "):rep(i % 50) .. i end
  if what == 3 then return { i, { nested = true }, text = "x" } end
  if what == 4 then return function() return i end end
  if what == 5 then return i % 3 == 0 end
  if what == 6 and i < 100 then return ("long"):rep(150000) end
  if what == 7 and i % 5 == 0 then error({ code = i }) end
  return i, "second", { "third" }
end

local function expect(condition, what) return condition or error("memcheck: " .. what, 2) end

-- results of all kinds, over generators, lists, iterators and files
local results, failures = parlua.map(task, parlua.range(400))
expect(results.n == 400 and #failures == 10 and results[6 + 16]:sub(1, 8) == "longlong" and results[3][2].nested, "map")
local list = {}
for i = 1, 300 do list[i] = i % 2 == 0 and { i, ("t"):rep(i) } or ("s"):rep(i * 10) end
list[301] = ("long argument"):rep(50000)
expect(#parlua.map(function(x) return #x end, list) == 301, "map over a list")
local count = 0
for _ in parlua.imap(task, parlua.iterate(ipairs(list)), { ordered = false }) do count = count + 1 end
expect(count >= 290, "imap")
for i in parlua.imap(task, parlua.range(1e6), { window = 10 }) do
  if i == 20 then break end
end
collectgarbage()
helper.with_directory(function(directory)
  local path = helper.write(directory .. "/lines", ("a line\r\nanother,\"with, comma\"\n"):rep(500))
  expect(parlua.reduce(function(line) return #line end, parlua.lines(path), parlua.sum) > 5000, "lines")
  expect(parlua.map(function(text) return #text end, parlua.blocks(path, { size = 1000 })).n > 5, "blocks")
  expect(#parlua.map(function(row) return row[1] end, parlua.csv(path, { header = false })) == 1000, "csv")
end)

-- reductions, searches, pools
expect(parlua.reduce(math.sqrt, parlua.range(5000), parlua.stats).n == 5000, "reduce")
expect(parlua.find(function(i) return i > 700 and i end, parlua.range(5000)) == 701, "find")
local pool = parlua.pool { engine = engine }
local future = pool:submit(function(...) return select("#", ...) end, 1, nil, {})
expect(future:get() == 3, "submit")
expect(pool:map(function(x) return -x end, { 1, 2 })[2] == -2, "pool")
pool:close()

-- arrays: captured, as arguments and results, in files
local large, made = parlua.array("double", 20000), 0
results = parlua.map(function(a, k)
  large[k] = a:sum()
  return k % 2 == 0 and large or parlua.array("float", k == 1 and 5 or 50000):fill(k)
end, function()
  made = made + 1
  if made <= 4 then return parlua.array("int16", made == 1 and 7 or 90000):fill(made), made end
end)
expect(large:sum() == 7 + 90000 * 9 and results[2] == large and results[3]:mean() == 3, "arrays")
expect(parlua.map(function(i) return { i, -i } end, parlua.range(50), { as = "array" }):sum() == 0, "as an array")
local points = parlua.array("double", 70, 3):fill(2)
expect(points:nearest(parlua.array("double", { { 0, 0, 0 }, { 2, 2, 1 } })):sum() == 140, "nearest")
helper.with_directory(function(directory)
  local rows = parlua.array("float", 20, 30):fill(1):convolve({ 0.25, 0.5, 0.25 }, { axis = 2 })
  rows:save(directory .. "/a.npy"):save(directory .. "/a.npz"):save(directory .. "/a.png")
  expect(parlua.load(directory .. "/a.npy"):sum() == 600 and parlua.load(directory .. "/a.npz").arr_0:max() == 1, "files")
end)

-- output, failures, tries, halts
parlua.each(function(i) print(("a line of a task "):rep(20) .. i) end, parlua.range(200))
failures = parlua.each(function(i) error(("a long message "):rep(i), 0) end, parlua.range(300), { retries = 1 })
expect(#failures == 300 and failures[300].attempts == 2, "failures")
expect(not pcall(parlua.each, function(i) if i == 30 then error("stop") end end, parlua.range(1e6), { on_error = "halt" }), "halt")
if shares and engine ~= "serial" then
  expect(#parlua.each(function() return coroutine.create(print) end, { 1 }) == 0, "each")
  expect(parlua.map(function() return coroutine.create(print) end, { 1 })[1] == nil, "unsendable")
end
if engine ~= "serial" then
  local step, hang = 0, function(i)
    if i == 3 then while true do end end
    return i
  end
  failures = parlua.each(hang, parlua.range(10), { timeout = 2 })
  expect(#failures == 1 and failures[1].kind == "timeout", "timeout")
  failures = parlua.each(function(x) return x end, function()
    step = step + 1
    if step == 50 then error("the generator") end
    return step
  end)
  expect(#failures == 1 and failures[1].index == 50, "generator")
end
if forks then
  failures = parlua.each(function(i) if i % 20 == 0 then os.exit(3) end end, parlua.range(100))
  expect(#failures == 5 and failures[1].kind == "crash", "exits")
  failures = parlua.each(function() os.execute("kill -9 $PPID") end, { 1 })
  expect(#failures == 1, "kills")
end
print("memcheck: done on " .. engine)
