--- Each task has its own arguments: what it changes is seen by no other task, no later call and no second try.
local helper = require "spec.helper"
local parlua = require "parlua"

describe("a task's arguments", function()
  helper.for_each_engine(function(engine)
    local with = helper.options(engine)

    --- Changes its argument, and tells what it was.
    local function take_off(point, ...)
      local before = point[1]
      point[1], point.deep.x = point[1] - 1, point.deep.x - 1
      return before * 1000 + point.deep.x, ...
    end

    local function point(x) return { x, deep = { x = 1 } } end

    local shared = { point(1), point(2), point(3) }
    local sources = {
      list = function() return shared end,
      zip = function() return parlua.zip(shared, { "a", "b", "c" }) end,
      product = function() return parlua.product(shared, parlua.range(5)) end,
      enumerate = function() return parlua.take(parlua.zip(shared, shared), 3) end,
      iterator = function()
        local i = 0
        return function()
          i = i + 1
          return shared[i]
        end
      end,
      iterate = function() return parlua.iterate(pairs { [shared[1]] = shared[2] }) end,
    }
    for name, source in pairs(sources) do
      it("are its own in every call: " .. name, function()
        local first = parlua.map(take_off, source(), with { chunk = 2 })
        for _ = 1, 2 do assert.same(first, (parlua.map(take_off, source(), with { chunk = 3 }))) end
        assert.same({ point(1), point(2), point(3) }, shared)
        for i = 1, first.n do assert.equal(0, first[i] % 1000) end
      end)
    end

    it("share in the task what they share in the script", function()
      local common = { 0 }
      local list = { { part = common }, { part = common } }
      local others = { { part = common }, common }
      local function shares(a, b)
        local part = b.part or b
        a.part[1] = a.part[1] + 1
        return a.part == part and part[1] == 1
      end
      local k = 0
      local function pairs_of()
        k = k + 1
        if k < 3 then return list[k], others[k] end
      end
      for name, source in pairs {
        zip = parlua.zip(list, others), ["zip with others"] = parlua.zip(list, others, { 1, 2 }, { "a", "b" }),
        product = parlua.product(list, others), starmap = parlua.zip(list, others):filter(function() return true end), iterator = pairs_of,
      } do
        local results = parlua.map(shares, source, with { chunk = 2 })
        for i = 1, results.n do assert.is_true(results[i], name .. " " .. i) end
      end
      local named = parlua.product { a = list, b = others }
      assert.same({ true, true, true, true, n = 4 }, (parlua.map(function(t) return shares(t.a, t.b) end, named, with())))
      local rows = { { list[1], others[1] }, { list[2], common } }
      assert.same({ true, true, n = 2 }, (parlua.starmap(shares, rows, with())))
      local many = {}
      for j = 1, 15 do many[j] = list end
      assert.same({ true, true, n = 2 }, (parlua.map(function(...) return shares((...), (select(15, ...))) end, parlua.zip(unpack(many)), with())))
      assert.equal(0, common[1])
    end)

    it("are its own in batches", function()
      local function drain(list)
        local sum = 0
        while #list > 0 do sum = sum + table.remove(list)[1] end
        return sum
      end
      for _ = 1, 2 do assert.same({ 3, 3, n = 2 }, (parlua.map(drain, parlua.batch(shared, 2), with()))) end
      local row = {}
      local i = 0
      local function rows()
        i = i + 1
        if i > 4 then return nil end
        row[1] = i
        return row
      end
      assert.same({ 3, 7, n = 2 }, (parlua.map(drain, parlua.batch(rows, 2), with())))
    end)

    it("are fresh at each try", function()
      local results = parlua.map(function(rows)
        local header = table.remove(rows, 1)
        if parlua.task.attempt < 3 then error "network" end
        return header .. #rows
      end, { { "h", 1, 2, 3 }, { "k", 1 } }, with { retries = 2 })
      assert.same({ "h3", "k1", n = 2 }, results)
    end)

    it("are fresh at each try, and in the failures, of a generator", function()
      local i = 0
      local function rows()
        i = i + 1
        if i <= 2 then return { "h", i } end
      end
      local failures = parlua.each(function(rows_of)
        table.remove(rows_of, 1)
        error(#rows_of .. " left", 0)
      end, rows, with { retries = 1 })
      assert.same({ "1 left", "1 left" }, { failures[1].message, failures[2].message })
      assert.same({ "h", 2 }, failures[2].args[1])
    end)

    it("may be one table that a generator fills again and again", function()
      local row = {}
      local function rows()
        row.id = (row.id or 0) + 1
        if row.id <= 8 then return row end
      end
      local results = parlua.map(function(r) return r.id end, rows, with())
      assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, n = 8 }, results)
      row = {}
      assert.equal(36, (parlua.reduce(function(r)
        r.id = r.id + 0
        return r.id
      end, rows, parlua.sum, with())))
    end)

    it("are its own in a reduction with merge, whose blocks have many tasks", function()
      local items = {}
      for k = 1, 3000 do items[k] = shared[1] end
      local function sum() return (parlua.reduce(take_off, items, parlua.sum, with { block = 100 })) end
      assert.equal(3000 * 1000, sum())
      assert.equal(3000 * 1000, sum())
      local k = 0
      assert.equal(3000 * 1000, (parlua.reduce(take_off, function()
        k = k + 1
        return items[k]
      end, parlua.sum, with())))
    end)

    it("keep their cycles, metatables and modules", function()
      local Class = { __index = { name = function(self) return "class " .. self.x end } }
      local object = setmetatable({ x = 5 }, Class)
      object.self = object
      assert.same({ "class 5 true", n = 1 }, (parlua.map(function(o)
        return o:name() .. " " .. tostring(o.self == o and require("table") == table)
      end, { object }, with())))
    end)

    it("stay as they are in the script, whatever shapes they have", function()
      local function list()
        local made = {}
        for i = 1, 300 do
          local one = {}
          for k = 1, i % 7 do one[("k%d"):format(i * k % 11)] = ({ i, "s" .. i, i % 2 == 0, i / 3 })[k % 4 + 1] end
          if i % 5 == 0 then one[1], one[2] = i, "two" end
          if i % 9 == 0 then one[3.5] = 1 end
          if i % 13 == 0 then one.deep = { i } end
          made[i] = one
        end
        return made
      end
      local given = list()
      local results = parlua.map(function(one)
        local was = {}
        for key, value in pairs(one) do
          was[key] = value
          one[key] = nil
        end
        one.gone = true
        return was
      end, given, with {})
      local expected = list()
      assert.same(expected, given)
      for i = 1, #expected do assert.same(expected[i], results[i]) end
    end)

    it("of long chains are copied without end", function()
      local chain
      for k = 1, 20000 do chain = { k, chain } end
      if engine ~= "serial" and engine ~= "process" then return end -- others have a bound for nested tables
      assert.same({ 20000, n = 1 }, (parlua.map(function(list)
        local n = 0
        while list do n, list = n + 1, list[2] end
        return n
      end, { chain }, with())))
    end)

    it("stand beside results that are a table of their own each", function()
      local out = {}
      local results = parlua.map(function(i)
        out[1] = i
        return out
      end, { 1, 2, 3 }, with())
      assert.same({ { 1 }, { 2 }, { 3 }, n = 3 }, results)
      local seen = {}
      for _, a, b in parlua.imap(function(i)
        out[1] = i
        return out, out
      end, { 1, 2, 3 }, with()) do
        seen[#seen + 1] = a[1] .. b[1]
      end
      assert.same({ "11", "22", "33" }, seen)
    end)
  end)

  it("are pulled on serial only as they are needed", function()
    local made = 0
    local function endless()
      made = made + 1
      return made
    end
    for i in parlua.imap(function(x) return x end, endless, { engine = "serial" }) do
      assert.is_true(made - i <= 64)
      if i == 5000 then break end
    end
    made = 0
    assert.equal(3, (parlua.find(function(i) return i == 3 end, endless, { engine = "serial" })))
    assert.is_true(made <= 64)
  end)
end)
