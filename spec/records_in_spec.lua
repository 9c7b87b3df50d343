--- Tables as arguments: many of one shape travel by it, and come out as they were, whatever stands between them.
local helper = require "spec.helper"
local parlua = require "parlua"

local Class = {}
Class.__index = Class
function Class:sum() return self.a + self.b end

--- The items, one after the other: they are sent on engines whose workers inherit lists.
local function each(items, n)
  local i = 0
  return function()
    i = i + 1
    if i <= (n or #items) then return items[i] end
  end
end

describe("tables as arguments:", function()
  helper.for_each_engine(function(engine)
    local with = helper.options(engine)

    --- Tasks that return their argument return what was given.
    local function same(items)
      for _, source in ipairs { items, each(items) } do
        local results, failures = parlua.map(function(t) return t end, source, with())
        assert.equal(0, #failures, failures[1] and failures[1].message)
        for k, item in ipairs(items) do assert.same(item, results[k]) end
      end
    end

    local function list(n, f)
      local items = {}
      for i = 1, n do items[i] = f(i) end
      return items
    end

    it("records of numbers, strings and booleans", function()
      same(list(3000, function(i)
        return { id = i, x = i / 3, name = "n" .. i, few = "f" .. i % 3, even = i % 2 == 0, long = ("y"):rep(i % 70) }
      end))
      same(list(500, function(i) return { 0 / 1, -0.0, 2 ^ 53, -1e308, 5e-324, math.huge, i, "z" .. i } end))
    end)

    it("shapes that change in the middle, and what is no record among them", function()
      same(list(2000, function(i)
        local kind = i % 9
        if kind == 0 then return { a = i, b = "x" } end
        if kind == 1 then return { b = "x", a = i } end
        if kind == 2 then return { a = i, b = i % 4 == 0 and "even" or nil } end
        if kind == 3 then return { a = 1, b = { i } } end
        if kind == 4 then return i end
        if kind == 5 then return "s" .. i end
        if kind == 6 then return i % 2 == 0 end
        if kind == 7 then return {} end
        return { a = i, b = "x", [i % 3] = true }
      end))
      same(list(300, function(i) return { ["field" .. i] = i } end)) -- more shapes than are written for
    end)

    it("records larger than a block, among small ones", function()
      same(list(200, function(i) return { a = i, text = ("x"):rep(i % 50 == 0 and 3e6 or 10) } end))
    end)

    it("tables that a task changes are its own", function()
      local shared = { a = 0, b = 0 }
      local results = parlua.map(function(t)
        t.a = t.a + 1
        return t.a
      end, each(list(500, function() return shared end)), with())
      for k = 1, 500 do assert.equal(1, results[k]) end
      assert.equal(0, shared.a)
    end)

    it("beside other arguments, and fewer of them than the task before", function()
      local n, i = 1000, 0
      local function step()
        i = i + 1
        if i > n then return end
        local t = { a = i, b = "b" .. i }
        if i % 4 == 0 then return i, t end
        if i % 4 == 1 then return t, i, "c" end
        if i % 4 == 2 then return t, t, i end
        return t
      end
      local results, failures = parlua.map(function(x, y, z)
        local first, second = type(x) == "table" and x.a or x, type(y) == "table" and y.b or y
        return ("%s %s %s %s"):format(first, second, z, x == y)
      end, step, with())
      assert.equal(0, #failures)
      for k = 1, n do
        local expected = k % 4 == 0 and ("%d b%d nil false"):format(k, k) or k % 4 == 1 and ("%d %d c false"):format(k, k)
          or k % 4 == 2 and ("%d b%d %d true"):format(k, k, k) or ("%d nil nil false"):format(k)
        assert.equal(expected, results[k])
      end
    end)

    it("what both sides have is the same on both, and objects have their methods", function()
      local results, failures = parlua.map(function(t)
        if t == math then return "known" end
        return getmetatable(t) == Class and t:sum() or t.a
      end, each(list(600, function(i)
        if i % 3 == 0 then return math end
        if i % 3 == 1 then return setmetatable({ a = i, b = 1 }, Class) end
        return { a = i, b = 1 }
      end)), with())
      assert.equal(0, #failures)
      for k = 1, 600 do assert.equal(k % 3 == 0 and "known" or k % 3 == 1 and k + 1 or k, results[k]) end
    end)

    it("are told of with failures, and come again with another try", function()
      local items = list(400, function(i) return { a = i, b = "b" .. i } end)
      local _, failures = parlua.map(function(t)
        if t.a % 50 == 0 then error("no " .. t.b, 0) end
      end, each(items), with { retries = 1 })
      assert.equal(8, #failures)
      for k, failure in ipairs(failures) do
        assert.same({ 50 * k, "no b" .. 50 * k, { a = 50 * k, b = "b" .. 50 * k }, 2 },
          { failure.index, failure.message, failure.args[1], failure.attempts })
      end
    end)

    it("of imap, of filters and of reductions", function()
      local items = list(1000, function(i) return { a = i, b = "b" .. i } end)
      local sum = 0
      for k, v in parlua.imap(function(t) return t.a end, each(items), with()) do sum = sum + k * v end
      assert.equal(1000 * 1001 * 2001 / 6, sum)
      assert.equal(500500, (parlua.reduce(function(t) return t.a end, each(items), parlua.sum, with())))
    end)
  end)

  it("go to workers of a pool that stay", function()
    for _, engine in ipairs { "threads", "process" } do
      local pool = parlua.pool { engine = engine, workers = 2 }
      local items = {}
      for i = 1, 1000 do items[i] = { a = i, b = "b" .. i % 10 } end
      for _ = 1, 2 do
        local results = pool:map(function(t) return t.b .. t.a end, items)
        for i = 1, 1000 do assert.equal("b" .. i % 10 .. i, results[i]) end
      end
      pool:close()
    end
  end)
end)
