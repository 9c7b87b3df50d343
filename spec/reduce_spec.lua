local helper = require "spec.helper"

local parlua = require "parlua"

local function add(a, b) return a + b end

--- A reduction by addition whose blocks workers fold.
local function merged(init) return { init = init or 0, step = add, merge = add } end

local function plain(init) return { init = init or 0, step = add } end

helper.for_each_engine(function(engine)
  local function with(options)
    local all = { engine = engine, workers = 2 }
    for name, value in pairs(options or {}) do all[name] = value end
    return all
  end

  describe("reduce", function()
    local inverse = function(i) return 1 / i end

    --- What a loop makes of the same.
    local function looped(n)
      local sum = 0
      for i = 1, n do sum = sum + 1 / i end
      return sum
    end

    it("folds in the order of the tasks, to the bit", function()
      for _, chunk in ipairs { 1, 7, 1000 } do
        assert.equal(looped(5000), (parlua.reduce(inverse, parlua.range(5000), plain(), with { chunk = chunk })))
      end
      assert.equal(looped(300000), (parlua.reduce(inverse, parlua.range(300000), plain(), with { workers = 3 })))
    end)

    it("hands each result with its index to step, nil too", function()
      local seen = parlua.reduce(function(x) return x ~= 3 and x * 2 or nil end, { 5, 3, 4 }, {
        init = {}, step = function(list, result, index)
          list[#list + 1] = index .. "=" .. tostring(result)
          return list
        end,
      }, with())
      assert.same({ "1=10", "2=nil", "3=8" }, seen)
    end)

    it("with merge gives the same to the bit whatever the chunks and workers, and however the arguments are supplied", function()
      local n = 20000
      local list = {}
      for i = 1, n do list[i] = i end
      local function iterator()
        local i = 0
        return function()
          i = i + 1
          if i <= n then return i end
        end
      end
      local expected = parlua.reduce(inverse, parlua.range(n), merged(), { engine = "serial" })
      assert.is_true(math.abs(expected - looped(n)) < 1e-10)
      for _, arguments in ipairs { parlua.range(n), list, iterator(), parlua.take(parlua.range(2 * n), n) } do
        assert.equal(expected, (parlua.reduce(inverse, arguments, merged(), with())))
      end
      for _, chunk in ipairs { 1, 3, 100 } do
        assert.equal(expected, (parlua.reduce(inverse, parlua.range(n), merged(), with { chunk = chunk, workers = 3 })))
      end
    end)

    it("takes the size of blocks", function()
      local sizes = parlua.reduce(function(i) return i end, parlua.range(10), {
        init = function() return {} end,
        step = function(list, i)
          list[#list + 1] = i
          return list
        end,
        merge = function(a, b)
          a.sizes = a.sizes or tostring(#a)
          return { sizes = a.sizes .. " " .. #b }
        end,
        block = 4,
      }, with())
      assert.equal("4 4 2", sizes.sizes)
    end)

    it("gives init where there are no tasks", function()
      assert.equal(7, (parlua.reduce(inverse, {}, plain(7), with())))
      assert.equal(7, (parlua.reduce(inverse, {}, merged(7), with())))
      assert.same({ n = 0 }, (parlua.reduce(inverse, {}, parlua.stats, with())))
      assert.is_nil((parlua.reduce(inverse, {}, parlua.mean, with())))
    end)

    it("never writes into the caller's init", function()
      local init = {}
      local function append(list, v)
        list[#list + 1] = v
        return list
      end
      local function join(a, b)
        for _, v in ipairs(b) do a[#a + 1] = v end
        return a
      end
      for _ = 1, 2 do
        assert.same({ 1, 2, 3 }, (parlua.reduce(tonumber, { 1, 2, 3 }, { init = init, step = append }, with())))
        assert.same({ 1, 2, 3 }, (parlua.reduce(tonumber, { 1, 2, 3 }, { init = init, step = append, merge = join }, with())))
      end
      assert.same({}, init)
    end)

    it("leaves out tasks that fail, and tells of them", function()
      for _, reduction in ipairs { plain(), merged() } do
        local sum, failures, summary = parlua.reduce(function(i)
          if i % 1000 == 7 then error("seven: " .. i, 0) end
          return i
        end, parlua.range(3000), reduction, with())
        assert.equal(3000 * 3001 / 2 - 7 - 1007 - 2007, sum)
        assert.equal(3, #failures)
        assert.same({ 7, 1007, 2007 }, { failures[1].index, failures[2].index, failures[3].index })
        assert.equal("seven: 1007", failures[2].message)
        assert.same({ n = 1, 1007 }, failures[2].args)
        assert.equal("error", failures[2].kind)
        assert.equal(3000, summary.tasks)
        assert.equal(2997, summary.returned)
        assert.equal(3, summary.failed)
      end
    end)

    it("tells the arguments of tasks that fail in batches of supplied arguments", function()
      local function pairs_of()
        local i = 0
        return function()
          i = i + 1
          if i <= 3000 then return i, "x" .. i end
        end
      end
      local _, failures = parlua.reduce(function(i)
        if i == 2500 then error("here") end
        return i
      end, pairs_of(), merged(), with())
      assert.equal(1, #failures)
      assert.same({ n = 2, 2500, "x2500" }, failures[1].args)
    end)

    it("tries tasks again", function()
      for _, reduction in ipairs { plain(), merged() } do
        local sum, failures = parlua.reduce(function(i)
          if i == 1500 and parlua.task.attempt < 3 then error("not yet") end
          if i == 1600 then error("never") end
          return i == 1500 and parlua.task.attempt or 0
        end, parlua.range(2000), reduction, with { retries = 2 })
        assert.equal(3, sum)
        assert.equal(1, #failures)
        assert.equal(1600, failures[1].index)
        assert.equal(3, failures[1].attempts)
      end
    end)

    it("raises what step raises", function()
      local step = function(a, b)
        if b == 1200 then error("a bad step", 0) end
        return a + b
      end
      for _, reduction in ipairs { { init = 0, step = step }, { init = 0, step = step, merge = add } } do
        local ok, message = pcall(parlua.reduce, tonumber, parlua.range(2000), reduction, with())
        assert.is_false(ok)
        assert.equal("a bad step", message)
      end
    end)

    it("halts at a failure when told to", function()
      for _, reduction in ipairs { plain(), merged() } do
        local ok, failed = pcall(parlua.reduce, function(i)
          if i == 1500 then error("stop here", 0) end
          return i
        end, parlua.range(2000), reduction, with { on_error = "halt" })
        assert.is_false(ok)
        assert.equal("stop here", failed.message)
        assert.equal(1500, failed.index)
      end
    end)

    it("ends when stop says that it is enough", function()
      local value, failures, summary = parlua.reduce(function(i)
        if i > 1000 and i % 2 == 0 then error("behind the end") end
        return i
      end, parlua.range(1e9), { init = 0, step = add, stop = function(sum) return sum >= 1275 end }, with())
      assert.equal(1275, value)
      assert.same({}, failures)
      assert.is_true(summary.tasks < 1e9)
      assert.is_true(summary.enough)
    end)

    it("with merge asks stop at the ends of blocks, the same ones everywhere", function()
      local function sum(on)
        return (parlua.reduce(tonumber, parlua.range(1e9), { init = 0, step = add, merge = add, stop = function(v) return v > 1e7 end },
          { engine = on, workers = 2 }))
      end
      assert.equal(sum "serial", sum(engine))
    end)

    it("merges 16 blocks side by side, then 16 such groups, whoever does it", function()
      local function nested(a, b) return "(" .. a .. b .. ")" end
      --- The value of blocks first..last: of whole groups of `size`, of each group's parts in their order.
      local function value_of(first, last, size)
        if first == last then return ("%d;"):format(first) end
        local value
        for from = first, last, size do
          local part = value_of(from, math.min(from + size - 1, last), size / 16)
          value = value and nested(value, part) or part
        end
        return value
      end
      for _, n in ipairs { 1, 15, 16, 17, 700 } do
        local value = parlua.reduce(function(i) return ("%d;"):format(i) end, parlua.range(n), {
          init = "", block = 1, step = function(text, result) return text .. result end, merge = nested,
        }, with())
        assert.equal(value_of(1, n, 256), value)
      end
    end)

    it("folds as results come when order does not matter", function()
      for _, reduction in ipairs { plain(), merged() } do
        assert.equal(5000 * 5001 / 2, (parlua.reduce(tonumber, parlua.range(5000), reduction, with { ordered = false })))
      end
    end)

    it("folds the lines of a file in the workers", function()
      helper.with_directory(function(directory)
        local lines, bytes = {}, 0
        for i = 1, 5000 do
          lines[i] = ("x"):rep(i % 50)
          bytes = bytes + #lines[i]
        end
        local path = helper.write(directory .. "/text", table.concat(lines, "\n") .. "\n")
        local length = function(line) return #line end
        assert.equal(bytes, (parlua.reduce(length, parlua.lines(path), parlua.sum, with())))
        assert.equal(bytes, (parlua.reduce(length, parlua.lines(path), parlua.sum, with { chunk = 2 })))
        assert.equal(bytes + 5000, (parlua.reduce(length, parlua.blocks(path, { size = 100 }), parlua.sum, with())))
        local _, failures = parlua.reduce(function(line)
          if #line == 49 then error("long") end
          return #line
        end, parlua.lines(path), parlua.sum, with { chunk = 3, retries = 1 })
        assert.equal(100, #failures)
        assert.equal(49, failures[1].index)
        assert.equal(4999, failures[100].index)
        assert.same({ n = 1, ("x"):rep(49) }, failures[100].args)
        assert.equal(2, failures[7].attempts)
      end)
    end)

    it("reduces by several reducers in one pass", function()
      local value = parlua.reduce(function(i) return i % 1000 end, parlua.range(10000),
        { mean = parlua.mean, stats = parlua.stats, most = parlua.max, least = parlua.min, n = parlua.count, engine = engine, workers = 2 })
      assert.equal(999, value.most)
      assert.equal(0, value.least)
      assert.equal(10000, value.n)
      assert.is_true(math.abs(value.mean - 499.5) < 1e-9)
      assert.is_true(math.abs(value.stats.mean - 499.5) < 1e-9)
      assert.is_true(math.abs(value.stats.variance - 83341.584) < 0.001)
      assert.equal(math.sqrt(value.stats.variance), value.stats.deviation)
      assert.same({ 10000, 0, 999 }, { value.stats.n, value.stats.min, value.stats.max })
    end)

    it("tells where the least and the greatest are, the first of equal ones", function()
      local function zigzag(i) return { height = (i * 7919) % 1000, none = i < 5 and 0 / 0 or i } end
      local value = parlua.reduce(zigzag, parlua.range(5000), { low = parlua.argmin "height", high = parlua.argmax "height",
        third = parlua.argmin "none" }, with())
      assert.same({ low = { index = 1000, value = 0 }, high = { index = 321, value = 999 }, third = { index = 5, value = 5 } }, value)
      assert.is_nil((parlua.reduce(function() return nil end, parlua.range(10), parlua.argmax, with())))
    end)

    it("gives quantiles, exactly", function()
      local function shuffled(i) return (i * 7919) % 10001 end
      local value = parlua.reduce(shuffled, parlua.range(10001), parlua.quantiles(0, 0.25, 0.5, 0.999, 1), with())
      assert.same({ 0, 2500, 5000, 9990, 10000 }, value)
      assert.same({ 2.5 }, (parlua.reduce(tonumber, { 4, 1, 3, 2 }, parlua.quantiles(0.5), with())))
      assert.same({ 1.75 }, (parlua.reduce(tonumber, { 4, 1, 3, 2 }, parlua.quantiles { 0.25 }, with())))
      assert.same({}, (parlua.reduce(tonumber, {}, parlua.quantiles(0.5), with())))
    end)

    it("takes any reducer within a group: the largest of each, their quantiles, where they are", function()
      local rows = function(i) return { city = i % 3 == 0 and "a" or "b", t = (i * 7) % 31, i = i } end
      local value = parlua.reduce(rows, parlua.range(300), parlua.group("city",
        { top = parlua.top(2, "t"), middle = parlua.quantiles(0.5) "t", at = parlua.argmax "t" }), with())
      assert.same({ 30, 30 }, { value.a.top[1].t, value.a.top[2].t })
      assert.is_true(value.a.top[1].i < value.a.top[2].i)
      assert.equal(value.a.top[1].i, value.a.at.index)
      assert.equal(1, #value.b.middle)
      local ungrouped = parlua.reduce(rows, parlua.range(300), parlua.group("city", parlua.top(1, "t")), with())
      assert.equal(value.b.top[1].i, ungrouped.b[1].i)
    end)

    it("takes hundreds of reducers in one pass", function()
      for _, n in ipairs { 40, 41, 60, 61, 200, 1000 } do
        local all = {}
        for k = 1, n do all["k" .. k] = k % 2 == 0 and parlua.sum or parlua.count end
        local value = parlua.reduce(function(i) return i end, parlua.range(3000), all, with())
        assert.same({ 3000, 4501500 }, { value.k1, value.k2 })
        assert.equal(n % 2 == 0 and 4501500 or 3000, value["k" .. n])
      end
      local ok, message = pcall(function()
        local all = {}
        for k = 1, 1001 do all["k" .. k] = parlua.sum end
        parlua.reduce(tonumber, { 1 }, all, with())
      end)
      assert.is_false(ok)
      assert.truthy(message:find("1001 reducers are more than the 1000", 1, true), message)
    end)

    it("reduces the results of each key by itself", function()
      local rows = function(i) return { city = i % 2 == 0 and "a" or "b", t = i } end
      local value = parlua.reduce(rows, parlua.range(3000), parlua.group("city", { n = parlua.count, t = parlua.max "t" }), with())
      assert.same({ a = { n = 1500, t = 3000 }, b = { n = 1500, t = 2999 } }, value)
    end)

    it("keeps the largest, earlier ones first where they are equal", function()
      local value = parlua.reduce(function(i) return { i = i, score = i % 10 } end, parlua.range(3000), parlua.top(3, "score"), with())
      assert.same({ { i = 9, score = 9 }, { i = 19, score = 9 }, { i = 29, score = 9 } }, value)
    end)

    it("counts in a histogram, and collects", function()
      local counts = parlua.reduce(function(i) return i end, parlua.range(-1, 5000), parlua.histogram { from = 0, to = 10, bins = 5 }, with())
      assert.same({ 2, 2, 2, 2, 3 }, { unpack(counts, 1, 5) })
      assert.equal(1, counts.below)
      assert.equal(4990, counts.above)
      local list = parlua.reduce(function(i) return i % 2 == 0 and i or nil end, parlua.range(4000), parlua.collect, with())
      assert.equal(2000, #list)
      assert.equal(4000, list[2000])
    end)

    it("serves inside a task", function()
      local sums = parlua.map(function(n) return (parlua.reduce(tonumber, parlua.range(n), parlua.sum)) end, { 10, 3000 }, with())
      assert.same({ 55, 3000 * 3001 / 2, n = 2 }, sums)
    end)
  end)

  describe("find", function()
    it("gives the lowest index", function()
      for _ = 1, 5 do
        local index, value = parlua.find(function(i) return i > 4321 and "found " .. i end, parlua.range(1e8), with { workers = 3 })
        assert.equal(4322, index)
        assert.equal("found 4322", value)
      end
    end)

    it("waits for slower tasks before a hit", function()
      local host = require "parlua.host"
      local index = parlua.find(function(i)
        if i == 1 then host.sleep(0.05) end
        return i == 1 or i == 2
      end, parlua.range(1000), with { chunk = 1 })
      assert.equal(1, index)
    end)

    it("gives nil when there is none", function()
      local index, value, failures, summary = parlua.find(function() return false end, parlua.range(1e5), with())
      assert.is_nil(index)
      assert.is_nil(value)
      assert.same({}, failures)
      assert.equal(1e5, summary.tasks)
    end)

    it("tells of failures before the hit only", function()
      local index, _, failures = parlua.find(function(i)
        if i == 5 or i == 50 then error("no") end
        return i >= 20
      end, parlua.range(1000), with { chunk = 10 })
      assert.equal(20, index)
      assert.equal(1, #failures)
      assert.equal(5, failures[1].index)
    end)

    it("halts at a failure before the hit, not at one behind it", function()
      local function find(bad)
        return pcall(parlua.find, function(i)
          if i == bad then error("bad") end
          return i == 20
        end, parlua.range(1000), with { chunk = 10, on_error = "halt" })
      end
      local ok, failed = find(5)
      assert.is_false(ok)
      assert.equal(5, failed.index)
      local found, index = find(500)
      assert.is_true(found)
      assert.equal(20, index)
    end)

    it("looks through a list and an iterator", function()
      assert.equal(3, (parlua.find(function(word) return word == "c" end, { "a", "b", "c", "d" }, with())))
      local i = 0
      assert.equal(700, (parlua.find(function(n) return n == 700 end, function()
        i = i + 1
        return i
      end, with())))
    end)

    it("gives large values", function()
      local index, value = parlua.find(function(i) return i == 9 and ("x"):rep(1e6) end, parlua.range(100), with())
      assert.equal(9, index)
      assert.equal(1e6, #value)
    end)
  end)

  it("any tells whether some result is true, and cuts off the rest", function()
    assert.is_true((parlua.any(function(i) return i == 5000 end, parlua.range(1e9), with())))
    assert.is_false((parlua.any(function(i) return i == 0 end, parlua.range(1e5), with())))
    assert.is_false((parlua.any(tostring, {}, with())))
  end)

  it("all tells whether every result is true, and cuts off the rest", function()
    assert.is_false((parlua.all(function(i) return i ~= 5000 end, parlua.range(1e9), with())))
    assert.is_true((parlua.all(function(i) return i > 0 end, parlua.range(1e5), with())))
    assert.is_true((parlua.all(tostring, {}, with())))
    local answer, failures = parlua.all(function(i) return i < 5 or error("five") end, parlua.range(5), with())
    assert.is_false(answer)
    assert.equal(5, failures[1].index)
  end)
end)

describe("a worker that is lost in a block of tasks", function()
  local ffi = require "ffi"
  pcall(ffi.cdef, "int raise(int);")

  --- Sums 1..n in blocks; task `bad` ends badly. For a range, a list and lines.
  local function sum_without(bad, options, expected, behave)
    local n, list = 3000, {}
    for i = 1, n do list[i] = i end
    helper.with_directory(function(directory)
      local path = helper.write(directory .. "/lines", table.concat(list, "\n"))
      local function iterator()
        local i = 0
        return function()
          i = i + 1
          if i <= n then return i end
        end
      end
      for name, arguments in pairs { range = parlua.range(n), list = list, iterator = iterator(), lines = parlua.lines(path) } do
        options.block = 64
        local sum, failures, summary = parlua.reduce(function(i)
          i = tonumber(i)
          if i == bad then behave() end
          return i
        end, arguments, parlua.sum, options)
        assert.equal(n * (n + 1) / 2 - bad, sum, name)
        assert.equal(1, #failures, name)
        assert.equal(bad, failures[1].index, name)
        assert.equal(tostring(bad), tostring(failures[1].args[1]), name)
        assert.equal(n, summary.tasks, name)
        assert.equal(expected.attempts or 1, failures[1].attempts, name)
        assert.equal(expected.kind, failures[1].kind, name)
      end
    end)
  end

  local with = helper.options("process")

  it("costs the task that crashed, and no other", function()
    sum_without(1234, with(), { kind = "crash" }, function() ffi.C.raise(9) end)
    sum_without(1, with(), { kind = "crash" }, function() os.exit(3) end)
    sum_without(3000, with(), { kind = "crash" }, function() ffi.C.raise(11) end)
  end)

  it("costs a task that is over its time limit, and no other", function()
    sum_without(1300, with { timeout = 0.15 }, { kind = "timeout" }, function() while true do end end)
  end)

  it("tries the task again", function()
    sum_without(777, with { retries = 2 }, { kind = "crash", attempts = 3 }, function() ffi.C.raise(9) end)
    local sum, failures = parlua.reduce(function(i)
      if i == 100 and parlua.task.attempt == 1 then ffi.C.raise(9) end
      return i == 100 and 1000 * parlua.task.attempt or 1
    end, parlua.range(200), parlua.sum, { engine = "process", workers = 2, block = 64, retries = 1 })
    assert.equal(2199, sum)
    assert.same({}, failures)
  end)

  it("does not take a block of many short tasks for a long one", function()
    local host = require "parlua.host"
    for _, engine in ipairs { "process", "threads" } do
      local sum, failures = parlua.reduce(function(i)
        host.sleep(0.02)
        return i
      end, parlua.range(20), parlua.sum, { engine = engine, workers = 1, block = 20, timeout = 0.2 })
      assert.equal(210, sum)
      assert.same({}, failures)
    end
  end)

  it("is replaced in threads when a task is over its time limit", function()
    local host = require "parlua.host"
    local sum, failures = parlua.reduce(function(i)
      if i == 150 then host.sleep(1) end
      return i
    end, parlua.range(200), parlua.sum, { engine = "threads", workers = 2, block = 64, timeout = 0.2 })
    assert.equal(200 * 201 / 2 - 150, sum)
    assert.equal(1, #failures)
    assert.equal(150, failures[1].index)
    assert.equal("timeout", failures[1].kind)
  end)
end)

describe("what reduce is given", function()
  local function refused(reduction, options)
    local ok, message = pcall(parlua.reduce, tonumber, { 1 }, reduction, options)
    assert.is_false(ok)
    return message
  end

  it("is checked", function()
    assert.equal("reduce: a reducer, a table with step, or a table of reducers is expected, got nothing", refused(nil))
    assert.equal("reduce: step must be a function (accumulator, result, index), got nothing", refused { init = 0 })
    assert.equal("unknown option stpe in the call; did you mean step?", refused { init = 0, stpe = add })
    assert.equal("unknown option mrge in the call; did you mean merge?", refused { step = add, mrge = add })
    assert.equal("reduce: merge must be a function, got number", refused { init = 0, step = add, merge = 3 })
    assert.truthy(refused({ init = 0, step = add, enigne = "serial" }):find("did you mean engine?", 1, true))
    assert.truthy(refused({ init = 0, step = add, block = 0 }):find("it takes an integer from 1", 1, true))
    assert.equal("reduce: either step or reducers by name, not both", refused { step = add, n = parlua.count })
    local hint = "got function, parlua.histogram itself; it makes a reducer when it is called: "
      .. "parlua.histogram { from = 0, to = 1, bins = 10 }"
    assert.equal("reduce: a reducer, a table with step, or a table of reducers is expected, " .. hint, refused(parlua.histogram))
    assert.equal("reduce: 'h' must be a reducer, " .. hint, refused { n = parlua.count, h = parlua.histogram })
    for name, example in pairs { top = '(10, "score")', quantiles = "(0.25, 0.5, 0.75)" } do
      assert.truthy(select(2, pcall(parlua.group, "x", parlua[name])):find(
        ("group: a reducer or a table of reducers is expected, got function, parlua.%s itself; it makes a reducer when it is "
        .. "called: parlua.%s%s"):format(name, name, example), 1, true))
    end
    assert.truthy(select(2, pcall(parlua.group, "x", parlua.range(3))):find("got table: a source, as parlua.reduce takes "
      .. "them: parlua.reduce(f, source, reducer)", 1, true))
  end)

  it("gives quantiles of more numbers than are kept, nearly, and the same everywhere", function()
    local n, expected = 1e6, nil
    for _, engine in ipairs(helper.engines) do
      local value = parlua.reduce(function(i) return (i * 7919) % n end, parlua.range(n), parlua.quantiles(0.01, 0.5, 0.99),
        { engine = engine, workers = 2 })
      for k, share in ipairs { 0.01, 0.5, 0.99 } do assert.is_true(math.abs(value[k] / n - share) < 2e-4, value[k]) end
      expected = expected or value
      assert.same(expected, value)
    end
  end)

  it("refuses quantiles that are none", function()
    for _, shares in ipairs { { -0.1 }, { 1.1 }, { "x" }, { 0 / 0 }, {} } do
      local ok, message = pcall(parlua.quantiles, unpack(shares))
      assert.is_false(ok)
      assert.truthy(message:find("quantiles: share", 1, true), message)
    end
  end)
end)
