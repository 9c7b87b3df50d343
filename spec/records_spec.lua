-- Records and strings as results: whatever way they travel, they come out as they were.

local parlua = require "parlua"
local helper = require "spec.helper"

describe("results that are records:", function()
  helper.for_each_engine(function(engine)
    local with = helper.options(engine)

    --- The results of f for 1..n are what f gives here.
    local function same(n, f)
      local results, failures = parlua.map(f, parlua.range(n), with())
      assert.equal(0, #failures)
      for i = 1, n do assert.same(f(i), results[i]) end
      return results
    end

    it("tables of one shape, with numbers, strings and booleans", function()
      same(3000, function(i) return { id = i, x = i / 3, name = "n" .. i % 10, even = i % 2 == 0, text = ("y"):rep(i % 50) } end)
    end)

    it("lists, and tables with keys that are numbers", function()
      same(2000, function(i) return { i, i * 2, "z" .. i } end)
      same(50, function(i) return { [0] = i, [-3] = "a", [7] = true, name = i } end)
      same(50, function(i) return { [0.5] = i, [1e300] = 2, [true] = 3 } end)
      same(50, function(i) return { [i] = i } end)
    end)

    it("tables with a number among names, wherever that comes in their order", function()
      for number = 1, 6 do
        same(40, function(i)
          local t = {}
          for k = 1, i % 5 do t["f" .. k .. "_" .. i] = k end
          t[number] = i
          for k = 1, i % 4 do t["g" .. k .. "_" .. i] = k end
          return t
        end)
      end
    end)

    it("shapes that change in the middle, and fields that are not there", function()
      same(2000, function(i)
        if i % 3 == 0 then return { a = i, b = "x" } end
        if i % 3 == 1 then return { b = "x", a = i } end
        return { a = i, b = i % 2 == 0 and "even" or nil, c = i % 5 == 0 or nil }
      end)
      same(300, function(i) return { ["field" .. i] = i } end) -- more shapes than are written for
    end)

    it("tables of a constructor in the function, whatever else comes into them", function()
      local function twice(i) return i, i * 2 end
      local class = { name = "class" }
      local last
      same(200, function(i)
        local t = { a = i }
        if i > 100 then t.b = i elseif i % 2 == 0 then t[1] = "one" end
        return t
      end)
      same(200, function(i) return { a = i > 100 and { i } or i, b = i % 3 > 0 and "b" or nil, c = 5 } end)
      same(200, function(i) if i % 50 == 0 then return { a = i, b = 1 } end return { b = 2, a = "x" } end)
      same(200, function(i)
        local t = { a = i }
        for k = 1, i % 4 do
          if k == 3 then return t end
          t.b = k
        end
        return t
      end)
      same(200, function(i)
        local t = { a = i }
        for k = 1, 3 do
          if k > 1 then return t end
          t = i % 2 == 0 and { z = i } or i
        end
        return t
      end)
      same(200, function(i) local t = { a = i } t["k" .. i % 3] = i return t end)
      same(200, function(i) return { i, twice(i) } end)
      same(200, function(i) return { a = 1, twice(i) } end)
      same(200, function(i) local t = { a = 1 } local other = t other.b = i return t end)
      same(200, function(i) local t = { a = 1 } rawset(t, "b" .. i % 2, i) return t end)
      same(200, function(i) local t if i % 2 == 0 then t = { a = i } else t = { b = i } end return t end)
      same(200, function(i) local t = { a = i } if i % 2 == 0 then t = { "other" } end return t end)
      same(200, function(i) local t = { a = i } last = t return t end)
      assert.is_true(last == nil or last.a >= 1)
      local results = parlua.map(function(i) return setmetatable({ a = i }, class) end, parlua.range(40), with())
      assert.equal(class, getmetatable(results[40]))
      same(200, function(i) return { nan = 0 / 0 ~= i, huge = i / 0, tiny = -i * 2 ^ -1074, big = i + 2 ^ 53 } end)
      same(200, function(i)
        local t = { text = ("x"):rep(i * i) } -- more than a message holds
        t.length = #t.text
        return t
      end)
    end)

    it("what a function without a return at its end gives, and what raises in a constructor", function()
      same(200, function(i) if i % 2 == 0 then return { a = i } end end)
      local results, failures = parlua.map(function(i)
        return { a = i, b = i % 10 == 0 and error("ten") or 1 }
      end, parlua.range(300), with())
      assert.equal(30, #failures)
      for i = 1, 300 do assert.same(i % 10 > 0 and { a = i, b = 1 } or nil, results[i]) end
    end)

    it("tables with tables in them, and other results, among records", function()
      same(1000, function(i)
        local kind = i % 7
        if kind == 0 then return { a = 1, b = { i } } end
        if kind == 1 then return i end
        if kind == 2 then return nil end
        if kind == 3 then return "s" .. i end
        if kind == 4 then return i % 2 == 0 end
        return { a = i, b = "same" }
      end)
    end)

    it("tables without a field, with many fields, with fields of any bytes", function()
      same(20, function() return {} end)
      same(20, function(i)
        local t = {}
        for k = 1, 17 + i % 5 do t["f" .. k] = k * i end
        return t
      end)
      same(20, function(i) return { ["%d %s"] = i, ["a\0b\n\"]]"] = "\0\255", ["end"] = 1, HEAD = 2, RECORD = "TRUE", [""] = 0 } end)
    end)

    it("numbers to the last bit", function()
      local results = parlua.map(function(i) return { x = i == 1 and 0 / 0 or i == 2 and -0.0 or i == 3 and 1 / 0 or 2 ^ -1074 } end,
        parlua.range(4), with())
      assert(results[1].x ~= results[1].x and 1 / results[2].x == -math.huge and results[3].x == math.huge and results[4].x == 2 ^ -1074)
    end)

    it("strings of all lengths, more than a message holds, and the same again and again", function()
      same(3000, function(i) return ("q"):rep(i % 300) .. i end)
      same(3000, function(i) return { s = ("q"):rep(i % 300), t = i } end)
      same(12, function(i) return { s = ("q"):rep(100000 + i), t = "t" } end)
      same(8, function(i) return { s = ("q"):rep(400000 + i), t = "t" } end)
      same(2000, function(i) return { s = "level " .. math.floor(i / 100), t = "always" } end)
    end)

    it("tables with a metatable keep it", function()
      local Class = {}
      Class.__index = Class
      local results = parlua.map(function(i) return setmetatable({ a = i }, i % 2 == 0 and Class or nil) end, parlua.range(100), with())
      for i = 1, 100 do
        assert.equal(i, results[i].a)
        assert.equal(i % 2 == 0 and Class or nil, getmetatable(results[i]))
      end
    end)

    it("a table that the function has captured is that table", function()
      local none, other = { kind = "none", n = 0 }, { kind = "none", n = 1 }
      local results = parlua.map(function(i) return i % 3 == 0 and none or i % 3 == 1 and other or { kind = "some", n = i } end,
        parlua.range(300), with())
      for i = 1, 300 do
        if i % 3 == 0 then assert.equal(none, results[i]) end
        if i % 3 == 1 then assert.equal(other, results[i]) end
        if i % 3 == 2 then assert.same({ kind = "some", n = i }, results[i]) end
      end
    end)

    it("a table that one task gives twice is one table", function()
      for _, a, b in parlua.imap(function(i)
        local t = { i = i }
        return t, t
      end, parlua.range(50), with()) do
        assert.equal(a, b)
      end
      local results = parlua.map(function(i)
        local t = { i = i }
        return { a = t, b = t }
      end, parlua.range(50), with())
      assert.equal(results[7].a, results[7].b)
    end)

    it("what a task does to its table afterwards, and to that of another task, is not seen", function()
      local results = parlua.map(function(i)
        last = last or { n = 0 } -- luacheck: ignore
        last.n = i -- luacheck: ignore
        return last -- luacheck: ignore
      end, parlua.range(100), with { workers = 1 })
      last = nil -- luacheck: ignore
      for i = 1, 100 do assert.same({ n = i }, results[i]) end
    end)

    it("failures stand among records", function()
      local results, failures = parlua.map(function(i)
        if i % 100 == 0 then error("hundred", 0) end
        return { a = i, s = "x" .. i % 3 }
      end, parlua.range(1000), with())
      assert.equal(10, #failures)
      for i = 1, 1000 do assert.same(i % 100 ~= 0 and { a = i, s = "x" .. i % 3 } or nil, results[i]) end
    end)

    it("several values of a task: two, three, more, with nil, strings, tables among them", function()
      local function values(i)
        local kind = math.floor(i / 40) % 7
        if kind == 0 then return i, i * 2 end
        if kind == 1 then return nil, "b" .. i end
        if kind == 2 then return i, nil end
        if kind == 3 then return i, true, "c" end
        if kind == 4 then return end
        if kind == 5 then return { i }, i end
        return 1, 2, 3, 4, i
      end
      local seen = 0
      for i, a, b, c, d, e in parlua.imap(values, parlua.range(2000), with()) do
        seen = seen + 1
        assert.same({ values(i) }, { a, b, c, d, e })
      end
      assert.equal(2000, seen)
      local count = 0
      for _, a, b in parlua.imap(function(i) return i, -i end, parlua.range(5000), with { ordered = false }) do
        assert(a == -b)
        count = count + a
      end
      assert.equal(5000 * 5001 / 2, count)
      local future = parlua.submit(function(x) return x, "y", nil end, 5)
      assert.same({ n = 3, 5, "y", nil }, { n = select("#", future:get()), future:get() })
    end)

    it("records are journalled and folded like other results", function()
      helper.with_directory(function(directory)
        local function f(i) return { a = i, s = "x" }, i end
        local options = with { journal = directory .. "/j.db" }
        local results = parlua.map(f, parlua.range(50), options)
        assert.same({ a = 50, s = "x" }, results[50])
      end)
      assert.equal(5050, (parlua.reduce(function(i) return { a = i, s = "x" } end, parlua.range(100), parlua.sum "a", with())))
      local list = parlua.reduce(function(i) return { a = i } end, parlua.range(100), parlua.collect, with())
      assert.same({ a = 100 }, list[100])
    end)
  end)

  it("what a damaged message says is refused, wherever it points", function()
    local ffi = require "ffi"
    local shape, reading, block = require "parlua.wire.shape", require "parlua.wire.shape_read", require "parlua.wire.block"
    local C, size = ffi.C, 4096
    local memory = ffi.new("uint64_t[?]", size / 8)
    local to = ffi.cast(block.pointer, memory)
    local half = ffi.cast(block.halves, to.word)
    local random = 7
    local function draw(n)
      random = (random * 1103515245 + 12345) % 2 ^ 31
      return math.floor(random / 2 ^ 31 * n)
    end
    local function fill()
      ffi.fill(memory, size)
      to.size, to.floor = size, size
      local write = shape.writer {}
      for k = 0, 9 do assert(write(to, half, k, { a = k, b = "text" .. k, c = k % 2 == 0 }, 1)) end
      return tonumber(to.floor)
    end
    fill()
    local values = {}
    assert.equal(10, reading.read(values, to, size, half, 0, 9))
    assert.same({ a = 9, b = "text9", c = false }, values[9])
    local refused = 0
    for _ = 1, 3000 do
      local floor = fill()
      local bytes = ffi.cast("uint8_t *", memory)
      for _ = 1, 1 + draw(3) do
        local at = draw(2) == 0 and C.BLOCK_HEAD + draw(80) or floor + draw(size - floor)
        bytes[at] = draw(256)
      end
      local k = draw(10)
      local ok, message = pcall(function()
        if half[2 * k + 1] ~= C.TAG_RECORD then return end
        reading.tuple(to, size, half[2 * k])
        reading.read_pairs({}, {}, to, size, half, k, 9)
        reading.read({}, to, size, half, k, 9)
        local reader, place = reading.reader_at(to, half, k)
        if reader then
          reader.begin()
          for at = k, 9 do
            if half[2 * at + 1] == C.TAG_RECORD then reader.one(to, size, half, at, place) end
          end
        end
      end)
      if not ok then
        refused = refused + 1
        assert.truthy(message:find("cannot decode", 1, true), message)
      end
    end
    assert(refused > 100)
  end)
end)

describe("objects that a task makes by setmetatable as it returns them", function()
  helper.for_each_engine(function(engine)
    it("have their class and fields, whatever else the function does", function()
      local result = helper.run(helper.command(engine) .. " -n 2 -", { stdin = [[
        local parlua = require "parlua"
        local set = setmetatable
        local One, Other = { name = "one" }, { name = "other" }
        One.__index, Other.__index = One, Other
        local function try(f)
          local results, names, sum = parlua.map(f, parlua.range(3000)), {}, 0
          for i, object in ipairs(results) do
            local name = object.name or "none"
            names[name] = (names[name] or 0) + 1
            local fields = 0
            for _ in next, object do fields = fields + 1 end
            sum = sum + fields * i + object.x
          end
          print(names.one, names.other, names.none, sum, type(results[2999].y))
        end
        try(function(i) return setmetatable({ x = i, y = 2 * i }, One) end)
        try(function(i) return set({ x = i, y = 2 * i }, One) end)
        try(function(i) return setmetatable({ x = i, y = "y" }, i % 2 == 0 and One or Other) end)
        try(function(i) return setmetatable({ x = i, y = i % 3 > 0 and { i } or true }, One) end)
        try(function(i) return setmetatable({ x = i, y = i > 2000 and i or nil }, One) end)
        try(function(i)
          if i % 2 == 0 then return setmetatable({ x = i, y = 2 }, One) end
          return setmetatable({ x = i, y = 1 }, One)
        end)
        try(function(i)
          if i % 2 == 0 then return setmetatable({ x = i }, One) end
          return { x = i, y = 1 }
        end)
        try(function(i) return setmetatable({ x = i, y = 1 }, nil) end)
        try(function(i) return setmetatable({ x = i, y = 1 }, { __index = { name = "other" } }) end)
        try(function(i)
          local object = { x = i, y = 1 }
          if i % 2 == 0 then object.z = i end
          return setmetatable(object, Other)
        end)
        try(function(i)
          if i % 100 == 0 then
            setmetatable = function(t, class)
              t.z = i
              return set(t, class)
            end
          end
          local object = setmetatable
          setmetatable = i % 100 == 1 and set or object
          return setmetatable({ x = i, y = 1 }, One)
        end)
      ]] })
      local lines = {}
      for line in result.stdout:gmatch "[^\n]+" do lines[#lines + 1] = line end
      assert.equal(11, #lines, result.stderr)
      local expected = {
        "3000\tnil\tnil\t13504500\tnumber", "3000\tnil\tnil\t13504500\tnumber", "1500\t1500\tnil\t13504500\tstring",
        "3000\tnil\tnil\t13504500\ttable", "3000\tnil\tnil\t11503500\tnumber", "3000\tnil\tnil\t13504500\tnumber",
        "1500\tnil\t1500\t11253000\tnumber", "nil\tnil\t3000\t13504500\tnumber", "nil\t3000\tnil\t13504500\tnumber",
        "nil\t3000\tnil\t15756000\tnumber",
      }
      for k, line in ipairs(expected) do assert.equal(line, lines[k]) end
      assert.truthy(lines[11]:find "^3000\tnil\tnil\t%d+\tnumber$")
    end)
  end, { "threads", "process", "mpi", "serial", "async" })
end)
