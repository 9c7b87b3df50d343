--- Sources of unusual shapes: many parts, no end, names, filters; and stepping through sources in the script.
local helper = require "spec.helper"
local parlua = require "parlua"

local function count(...) return select("#", ...) end

describe("arguments of many parts", function()
  local function lists(n, length)
    local parts = {}
    for k = 1, n do
      parts[k] = {}
      for j = 1, length do parts[k][j] = 1000 * k + j end
    end
    return parts
  end

  --- The sum of all arguments, which depends on each.
  local function digest(...)
    local sum = 0
    for k = 1, select("#", ...) do sum = sum + k * select(k, ...) end
    return sum
  end

  helper.for_each_engine(function(engine)
    local function with(options)
      local all = { engine = engine, workers = 2 }
      for name, value in pairs(options or {}) do all[name] = value end
      return all
    end

    for _, n in ipairs { 12, 13, 40, 41, 60, 100, 199, 250 } do
      it("come in step: zip of " .. n .. " lists", function()
        local parts, expected = lists(n, 3), { n = 3 }
        for i = 1, 3 do
          local sum = 0
          for k = 1, n do sum = sum + k * parts[k][i] end
          expected[i] = sum
        end
        assert.same(expected, (parlua.map(digest, parlua.zip(unpack(parts)), with())))
        assert.equal(expected[1] + expected[2] + expected[3], (parlua.reduce(digest, parlua.zip(unpack(parts)), parlua.sum, with())))
        local function repeated()
          local i = 0
          return function()
            i = i + 1
            if i > 3 then return nil end
            local values = {}
            for k = 1, n do values[k] = parts[k][i] end
            return unpack(values, 1, n)
          end
        end
        assert.same(expected, (parlua.map(digest, repeated(), with())))
        assert.equal(expected[1] + expected[2] + expected[3], (parlua.reduce(digest, repeated(), parlua.sum, with())))
      end)
    end

    it("come in combinations: the last varies fastest", function()
      local parts = lists(30, 1)
      parts[2], parts[30] = { "a", "b" }, parlua.range(3)
      local results = parlua.map(function(...) return (select(2, ...)) .. (select(30, ...)) .. count(...) end, parlua.product(unpack(parts)), with())
      assert.equal("a130 a230 a330 b130 b230 b330", table.concat(results, " "))
    end)

    it("may be numbered, taken from, put into batches, and named in failures", function()
      local source = parlua.zip(unpack(lists(50, 4)))
      local results, failures = parlua.map(function(i, ...)
        if i == 2 then error("no") end
        return i .. ":" .. count(...)
      end, parlua.take(parlua.enumerate(source), 3), with())
      assert.same({ "1:50", nil, "3:50", n = 3 }, results)
      assert.equal(51, failures[1].args.n)
      assert.equal(50002, failures[1].args[51])
      assert.same({ 2, n = 1 }, (parlua.map(function(list) return #list end, parlua.batch(parlua.take(source, 2), 2), with())))
    end)

    it("that can't be sent fail their task", function()
      if engine == "serial" or engine == "async" then return end
      local i = 0
      local function wide()
        i = i + 1
        if i > 2 then return nil end
        local values = {}
        for k = 1, 60 do values[k] = k end
        if i == 2 then values[55] = coroutine.create(print) end
        return unpack(values, 1, 60)
      end
      local results, failures = parlua.map(count, wide, with { timeout = 20 })
      assert.equal(60, results[1])
      assert.equal("unsendable", failures[1].kind)
    end)

    it("beyond 250 are an error that says so", function()
      local i = 0
      local ok, message = pcall(parlua.map, count, function()
        i = i + 1
        if i == 1 then return unpack(lists(251, 1)) end
      end, with())
      assert.is_false(ok)
      assert.truthy(tostring(message):find("has 251 arguments, more than the 250", 1, true), tostring(message))
    end)
  end)

  it("beyond 250 are refused where the source is made", function()
    for _, make in ipairs { parlua.zip, parlua.product } do
      local ok, message = pcall(make, unpack(lists(251, 1)))
      assert.is_false(ok)
      assert.truthy(message:find("251 arguments are more than the 250 that a task may have", 1, true), message)
    end
  end)
end)

describe("a range", function()
  local function values(...)
    return (parlua.map(function(x) return x end, parlua.range(...), { engine = "serial" }))
  end

  it("has first + (i - 1) * step at place i", function()
    local found = values(0, 1, 0.1)
    assert.equal(11, found.n)
    for i = 1, 11 do assert.equal(0 + (i - 1) * 0.1, found[i]) end
    assert.same({ 3, 1, -1, n = 3 }, values(3, -2, -2))
  end)

  it("of whole numbers ends as `for` does", function()
    for _, case in ipairs {
      { 1, 10, 3 }, { 1, 10, 4 }, { 10, 1, -3 }, { 5, 4, 1 }, { -7, 7, 7 }, { 0, 1e11 - 1, 1e11 }, { 0, 2 ^ 53 - 1, 2 ^ 52 },
    } do
      local n = 0
      for _ = case[1], case[2], case[3] do n = n + 1 end
      assert.equal(n, parlua.range(unpack(case)).n)
    end
  end)

  it("of fractions reaches an end that is missed by rounding alone", function()
    assert.equal(4, parlua.range(0, 0.3, 0.1).n)
    assert.equal(3, parlua.range(0, 0.29, 0.1).n)
    assert.equal(100001, parlua.range(0, 1, 1e-5).n)
    assert.equal(10000001, parlua.range(0, 1, 1e-7).n)
  end)

  helper.for_each_engine(function(engine)
    it("up to math.huge counts without end", function()
      local with = { engine = engine, workers = 2 }
      assert.equal(1001, (parlua.find(function(x) return x > 1000 end, parlua.range(math.huge), with)))
      assert.same({ 5, 7, 9, n = 3 }, (parlua.map(function(x) return x end, parlua.take(parlua.range(5, math.huge, 2), 3), with)))
      assert.same({ "a1", "b2", n = 2 }, (parlua.map(function(x, i) return x .. i end, parlua.zip({ "a", "b" }, parlua.range(math.huge)), with)))
      local seen = 0
      local step, stream = parlua.imap(function(x) return -x end, parlua.range(-1, -math.huge, -1), with)
      for i, x in step, stream do
        seen = seen + 1
        assert.equal(i, x)
        if i == 3000 then break end
      end
      stream:close()
      assert.equal(3000, seen)
      assert.same({ n = 0 }, (parlua.map(print, parlua.range(1, -math.huge), with)))
    end)

    it("without end has no number of tasks, in a summary or for progress", function()
      local tasks = "not told"
      local _, _, summary = parlua.reduce(function(x) return x end, parlua.range(math.huge), {
        init = 0, step = function(a, x) return a + x end, stop = function(a) return a > 1e4 end,
        engine = engine, progress = function(event, data) if event == "start" then tasks = data.tasks end end,
      })
      assert.is_nil(tasks)
      assert.equal(0, summary.cancelled)
    end)
  end)
end)

describe("combinations with names", function()
  helper.for_each_engine(function(engine)
    local with = { engine = engine, workers = 2 }

    local function show(c) return c.alpha .. c.beta end

    it("give each task one table, the last name by the alphabet varying fastest", function()
      local results, _, summary = parlua.map(show, parlua.product { beta = parlua.range(3), alpha = { "x", "y" } }, with)
      assert.equal("x1 x2 x3 y1 y2 y3", table.concat(results, " "))
      assert.equal(6, summary.tasks)
    end)

    it("vary as `order` says, beside the parts or behind them", function()
      local order = { "beta", "alpha" }
      for _, source in ipairs {
        parlua.product { beta = parlua.range(3), alpha = { "x", "y" }, order = order },
        parlua.product({ beta = parlua.range(3), alpha = { "x", "y" } }, { order = order }),
      } do
        assert.equal("x1 y1 x2 y2 x3 y3", table.concat(parlua.map(show, source, with), " "))
      end
    end)

    it("may have a part called order", function()
      local source = parlua.product { name = { "a" }, order = { 1, 2 } }
      assert.same({ "a1", "a2", n = 2 }, (parlua.map(function(c) return c.name .. c.order end, source, with)))
    end)

    it("may be many, and are the task's own to change", function()
      local parts = {}
      for k = 1, 70 do parts["p" .. k] = { k } end
      parts.p70 = { 1, 2 }
      local results = parlua.map(function(c)
        local sum = 0
        for name, value in pairs(c) do sum, c[name] = sum + value, nil end
        return sum
      end, parlua.product(parts), with)
      assert.same({ 69 * 35 + 1, 69 * 35 + 2, n = 2 }, results)
    end)

    it("stand in failures, and in reductions and batches", function()
      local source = parlua.product { a = { 1, 2 }, b = { { 10 }, { 20 } } }
      local _, failures = parlua.map(function(c) if c.a == 2 then error "two" end end, source, with)
      assert.same({ { a = 2, b = { 10 } }, n = 1 }, failures[1].args)
      assert.equal(60 + 6, (parlua.reduce(function(c) return c.a + c.b[1] end, source, parlua.sum, with)))
      assert.same({ 3, 1, n = 2 }, (parlua.map(function(list) return #list end, source:batch(3), with)))
    end)
  end)
end)

describe("parlua.starmap", function()
  helper.for_each_engine(function(engine)
    local with = { engine = engine, workers = 2 }

    it("spreads each list over the arguments of a task", function()
      local lists = { { 1, 2 }, { 3 }, {}, { nil, 5, n = 2 }, { 6, nil, 8, nil, n = 4 } }
      local results = parlua.starmap(function(...) return count(...) .. tostring((...)) .. tostring((select(2, ...))) end, lists, with)
      assert.same({ "212", "13nil", "0nilnil", "2nil5", "46nil", n = 5 }, results)
    end)

    it("takes a source of lists, and serves in pools", function()
      local pool = parlua.pool(with)
      local function add(a, b) return a + b end
      assert.same({ 3, 7, n = 2 }, (pool:starmap(add, parlua.batch(parlua.range(4), 2))))
      assert.same({ 3, 7, n = 2 }, (pool:starmap(add, { { 1, 2 }, { 3, 4 } }, { chunk = 1 })))
      pool:close()
    end)

    it("tells of failures by the arguments", function()
      local _, failures = parlua.starmap(function(a, b) return a.x + b end, { { 1, 2 } }, with)
      assert.same({ 1, 2, n = 2 }, failures[1].args)
    end)

    it("says which item is no list", function()
      local ok, message = pcall(parlua.starmap, count, { { 1 }, 2 }, with)
      assert.is_false(ok)
      assert.truthy(message:find("starmap: item 2 is a number, not a list of arguments", 1, true))
    end)
  end)
end)

describe("a source", function()
  helper.for_each_engine(function(engine)
    local with = { engine = engine, workers = 2 }

    it("has methods: filter, take, enumerate, batch", function()
      local source = parlua.range(20):filter(function(x) return x % 3 == 0 end):take(4):enumerate()
      assert.equal("1:3 2:6 3:9 4:12", table.concat(parlua.map(function(i, x) return i .. ":" .. x end, source, with), " "))
      assert.same({ 2, 2, 1, n = 3 }, (parlua.map(function(list) return #list end, parlua.range(5):batch(2), with)))
      assert.same({ 1, 2, n = 2 }, (parlua.map(function(x) return x end, parlua.list { 1, 2, 3 }:take(2), with)))
    end)

    it("can be filtered by all arguments, by a function that runs in the script, again in each call", function()
      local asked = 0
      local source = parlua.filter(parlua.zip({ 1, 2, 3, 4 }, { "a", "b", "c", "d" }), function(x, name)
        asked = asked + 1
        return x > 1 and name ~= "c"
      end)
      for _ = 1, 2 do assert.same({ "2b", "4d", n = 2 }, (parlua.map(function(x, name) return x .. name end, source, with))) end
      assert.equal(8, asked)
      assert.same({ n = 0 }, (parlua.map(print, source:filter(function() return false end), with)))
    end)

    it("keeps nil among what is filtered", function()
      local results = parlua.map(tostring, parlua.filter({ nil, 1, nil, 2, n = 4 }, function(x) return x ~= 1 end), with)
      assert.same({ "nil", "nil", "2", n = 3 }, results)
    end)
  end)

  it("can be stepped through in the script, again and again, and in nested loops", function()
    local function text(source)
      local words = {}
      for a, b in source do words[#words + 1] = tostring(a) .. (b ~= nil and tostring(b) or "") end
      return table.concat(words, " ")
    end
    local source = parlua.range(3)
    assert.equal("1 2 3", text(source))
    assert.equal("1 2 3", text(source))
    assert.equal("1a 2b", text(parlua.enumerate(parlua.list { "a", "b" })))
    assert.equal("11 12 21 22", text(parlua.product({ 1, 2 }, { 1, 2 })))
    assert.equal("", text(parlua.range(0)))
    assert.equal("4 6", text(parlua.range(6):filter(function(x) return x > 3 and x % 2 == 0 end)))
    local words = {}
    for x in source do
      for y in source do
        words[#words + 1] = x .. y
        if y == x then break end
      end
    end
    assert.equal("11 21 22 31 32 33", table.concat(words, " "))
    helper.with_directory(function(directory)
      assert.equal("one two", text(parlua.lines(helper.write(directory .. "/file", "one\ntwo\n"))))
    end)
  end)
end)
