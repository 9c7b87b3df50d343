local helper = require "spec.helper"
local lfs = require "lfs"
local parlua = require "parlua"

describe("arguments from", function()
  helper.for_each_engine(function(engine)
    local with = helper.options(engine)

    --- The arguments of every task, as a list of lists with `n`.
    local function tasks_of(arguments, options)
      local results, failures = parlua.map(function(...) return { n = select("#", ...), ... } end, arguments,
        with(options))
      assert.same({}, failures)
      results.n = nil
      return results
    end

    --- As tasks_of, for tasks of one argument each.
    local function values_of(arguments, options)
      local values = {}
      for i, values_of_task in ipairs(tasks_of(arguments, options)) do
        assert.equal(1, values_of_task.n)
        values[i] = values_of_task[1]
      end
      return values
    end

    describe("a range", function()
      it("counts as a numeric for does", function()
        for _, limits in ipairs { { 1, 10 }, { 0, 0 }, { 5, 1 }, { -3, 3 }, { 10, 1, -3 }, { 1, 10, 4 }, { 0, 1,
          0.25 }, { 1, 2, 0.3 },
                                  { 3, -1, -0.5 }, { 1, 5, -1 }, { 2.5, 6 }, { -0.5, 0.5, 0.1 }, { 1e15, 1e15 + 3 },
                                    { 0, 100, 33 } } do
          local expected = {}
          for x = limits[1], limits[2], limits[3] or 1 do expected[#expected + 1] = x end
          local values = values_of(parlua.range(unpack(limits)))
          assert.equal(#expected, #values, table.concat(limits, " "))
          for i, x in ipairs(expected) do assert.is_true(math.abs(x - values[i]) <= 1e-12 * math.abs(x) + 1e-15) end
        end
      end)

      it("reaches its last number where rounding would lose it, and makes each from its index", function()
        local values = values_of(parlua.range(0, 1, 0.1))
        assert.equal(11, #values)
        for i = 1, 11 do assert.equal(0 + (i - 1) * 0.1, values[i]) end
      end)

      it("of one number counts from 1", function()
        assert.same({ 1, 2, 3, 4 }, values_of(parlua.range(4)))
        assert.same({}, values_of(parlua.range(0)))
        assert.same({ 1, 2 }, values_of(parlua.range(2.9)))
      end)
    end)

    describe("a list", function()
      it("gives its items as they are, whatever their types", function()
        local list = { 1, "two", { 3 }, true, false, 6.5, "", ("long"):rep(1000) }
        assert.same(list, values_of(list))
        assert.same(list, values_of(parlua.list(list)))
      end)

      it("with a field n gives nil for its holes", function()
        local results, failures = parlua.map(function(...) return select("#", ...) .. ":" .. tostring((...)) end,
          { n = 5, [2] = "b", [4] = 4 }, with())
        assert.same({}, failures)
        assert.same({ "1:nil", "1:b", "1:nil", "1:4", "1:nil", n = 5 }, results)
      end)

      it("with a field n that is smaller than its length gives the first n", function()
        assert.same({ 1, 2 }, values_of { 1, 2, 3, n = 2 })
      end)

      it("leaves out its other keys", function()
        assert.same({ 1, 2 }, values_of { 1, 2, x = 5 })
      end)

      it("of many items gives each to one task", function()
        local list = {}
        for i = 1, 50000 do list[i] = i % 3 == 0 and "s" .. i or i % 5 == 0 and { i } or i end
        local results = parlua.map(function(x) return type(x) == "table" and x[1] or x end, list, with())
        for i = 1, 50000 do
          local expected = type(list[i]) == "table" and i or list[i]
          if results[i] ~= expected then assert.equal(expected, results[i]) end
        end
      end)
    end)

    describe("a product", function()
      it("gives every combination, the last part varying fastest", function()
        assert.same({ { 1, "a", n = 2 }, { 1, "b", n = 2 }, { 2, "a", n = 2 }, { 2, "b", n = 2 }, { 3, "a", n = 2 },
          { 3, "b", n = 2 } },
          tasks_of(parlua.product(parlua.range(3), { "a", "b" })))
        local expected = {}
        for x = 1, 3 do
          for y = 10, 40, 10 do
            for z = -1, -2, -1 do expected[#expected + 1] = { x, y, z, n = 3 } end
          end
        end
        assert.same(expected, tasks_of(parlua.product(parlua.range(3), parlua.range(10, 40, 10), parlua.range(-1, -2,
          -1))))
      end)

      it("of one part is that part; of an empty part is empty", function()
        assert.same({ 5, 6 }, values_of(parlua.product { 5, 6 }))
        assert.same({}, tasks_of(parlua.product({}, { 1 })))
        assert.same({}, tasks_of(parlua.product({ 1 }, parlua.range(0), { 1 })))
      end)

      it("may hold products and zips", function()
        assert.same({ { 1, 2, "x", n = 3 }, { 1, 2, "y", n = 3 }, { 3, 4, "x", n = 3 }, { 3, 4, "y", n = 3 } },
          tasks_of(parlua.product(parlua.zip({ 1, 3 }, { 2, 4 }), { "x", "y" })))
        assert.same({ { 1, "x", "p", n = 3 }, { 1, "y", "q", n = 3 }, { 2, "x", "r", n = 3 } },
          tasks_of(parlua.zip(parlua.product({ 1, 2 }, { "x", "y" }), { "p", "q", "r" })))
      end)

      it("of three ranges of 1e5 begins at once and holds none of its 1e15 combinations", function()
        collectgarbage()
        local before = collectgarbage("count")
        local all = parlua.product(parlua.range(1e5), parlua.range(1e5), parlua.range(1e5))
        local seen = 0
        for i, a, b, c in parlua.imap(function(a, b, c) return a, b, c end, all, with { window = 1000 }) do
          seen = seen + 1
          assert.same({ seen, 1, 1, seen }, { i, a, b, c })
          if seen == 2000 then break end
        end
        collectgarbage()
        collectgarbage()
        assert.is_true(collectgarbage("count") - before < 4096)
      end)
    end)

    describe("a zip", function()
      it("goes through its parts in step, as far as the shortest", function()
        assert.same({ { 1, "a", n = 2 }, { 2, "b", n = 2 } }, tasks_of(parlua.zip(parlua.range(100), { "a", "b" })))
        assert.same({ { 1, 10, n = 2 }, { 2, 20, n = 2 }, { 3, 30, n = 2 } }, tasks_of(parlua.zip(parlua.range(3),
          parlua.range(10, 90, 10))))
        assert.same({}, tasks_of(parlua.zip(parlua.range(3), {})))
      end)

      it("of many parts passes as many arguments", function()
        local parts = {}
        for k = 1, 40 do parts[k] = parlua.range(k, k + 2) end
        for i, values in ipairs(tasks_of(parlua.zip(unpack(parts)))) do
          assert.equal(40, values.n)
          for k = 1, 40 do assert.equal(k + i - 1, values[k]) end
        end
      end)
    end)

    describe("an iterator", function()
      it("gives each step's values as a task's arguments", function()
        assert.same({ { 1, "a", n = 2 }, { 2, "b", n = 2 } }, tasks_of(parlua.iterate(ipairs { "a", "b" })))
        local seen = {}
        for _, values in ipairs(tasks_of(parlua.iterate(pairs { x = 1, y = 2 }))) do seen[values[1]] = values[2] end
        assert.same({ x = 1, y = 2 }, seen)
        assert.same({ "one", "two" }, values_of(("one two"):gmatch("%a+")))
      end)

      it("ends at the first nil, and is not asked again", function()
        local n = 0
        local function step()
          n = n + 1
          if n == 4 then return nil end
          assert(n < 4, "asked again after its end")
          return n
        end
        assert.same({ 1, 2, 3 }, values_of(step))
      end)

      it("may give false, which is no end", function()
        local list, n = { false, 1, false }, 0
        assert.same(list, values_of(function()
          n = n + 1
          return list[n]
        end))
      end)

      it("may be an object that can be called", function()
        local counter = setmetatable({ n = 0 }, { __call = function(self)
          self.n = self.n + 1
          return self.n <= 3 and self.n or nil
        end })
        assert.same({ 1, 2, 3 }, values_of(counter))
      end)

      it("runs in the script's own state: it may change upvalues and read files", function()
        helper.with_directory(function(directory)
          helper.write(directory .. "/names", "anna\nbert\n")
          assert.same({ "anna", "bert" }, values_of(io.lines(directory .. "/names")))
        end)
      end)

      it("that gives nothing makes no tasks", function()
        assert.same({}, tasks_of(function() return nil end))
        assert.same({}, tasks_of(function() end))
      end)

      it("may give a different number of values at each step, and many", function()
        local n = 0
        local tasks = tasks_of(function()
          n = n + 1
          if n > 60 then return nil end
          local values = {}
          for k = 1, n do values[k] = n * 100 + k end
          return unpack(values)
        end)
        assert.equal(60, #tasks)
        for i, values in ipairs(tasks) do
          assert.equal(i, values.n)
          for k = 1, i do assert.equal(i * 100 + k, values[k]) end
        end
      end)

      it("that raises at its first step ends the call before any work", function()
        local called = false
        local ok, message = pcall(parlua.map, function() called = true end,
          function() error("cannot open the list") end, with())
        assert.is_false(ok)
        assert.truthy(tostring(message):find("arguments: .*sources_spec.lua:%d+: cannot open the list"),
          tostring(message))
        assert.is_false(called)
      end)

      it("that raises at step 1000 fails that task, keeps what was done, and ends there", function()
        local n = 0
        local results, failures, summary = parlua.map(function(x) return x end, function()
          n = n + 1
          if n == 1000 then error("step 1000 is broken") end
          return n
        end, with())
        assert.equal(1, #failures)
        assert.equal(1000, failures[1].index)
        assert.truthy(failures[1].message:find("arguments: .*step 1000 is broken"), failures[1].message)
        assert.equal(1000, results.n)
        for i = 1, 999 do assert.equal(i, results[i]) end
        assert.is_nil(results[1000])
        assert.equal(999, summary.returned)
        assert.equal(1, summary.failed)
      end)

      it("that raises an error object is told readably", function()
        local ok, message = pcall(parlua.map, print, function() error({ code = 5 }) end, with())
        assert.is_false(ok)
        assert.truthy(tostring(message):find("code = 5"), tostring(message))
      end)

      it("that gives a value that can't cross fails that task alone, naming the path", function()
        local list = { { x = 1 }, { x = { y = io.tmpfile() } }, { x = 3 } }
        local n = 0
        local results, failures = parlua.map(function(t) return type(t.x) end, function()
          n = n + 1
          return list[n]
        end, with())
        if engine == "serial" or engine == "async" then -- nothing crosses
          assert.same({ "number", "table", "number", n = 3 }, results)
        else
          assert.same({ "number", nil, "number", n = 3 }, results)
          assert.equal(1, #failures)
          assert.equal(2, failures[1].index)
          assert.equal("unsendable", failures[1].kind)
          assert.truthy(failures[1].message:find("x.y: userdata (FILE*)", 1, true), failures[1].message)
        end
      end)
    end)

    describe("a coroutine", function()
      it("gives what it yields, and not what it returns", function()
        assert.same({ { 1, "a", n = 2 }, { 2, "b", n = 2 } }, tasks_of(coroutine.create(function()
          coroutine.yield(1, "a")
          coroutine.yield(2, "b")
        end)))
        assert.same({ 1, 2 }, values_of(coroutine.wrap(function()
          coroutine.yield(1)
          coroutine.yield(2)
        end)))
      end)

      it("that yields nothing makes no tasks", function()
        assert.same({}, tasks_of(coroutine.create(function() end)))
        assert.same({}, tasks_of(coroutine.wrap(function() end)))
      end)

      it("that raises is told with the place in it", function()
        local ok, message = pcall(parlua.map, print, coroutine.create(function() error("in the coroutine") end), with())
        assert.is_false(ok)
        assert.truthy(tostring(message):find("arguments: .*sources_spec.lua:%d+: in the coroutine"), tostring(message))
        local results, failures = parlua.map(function(x) return x end, coroutine.create(function()
          for i = 1, 20 do coroutine.yield(i) end
          error("after twenty")
        end), with())
        assert.equal(21, results.n)
        assert.equal(1, #failures)
        assert.equal(21, failures[1].index)
        assert.truthy(failures[1].message:find("after twenty"))
      end)

      it("may go through nested loops", function()
        local tasks = tasks_of(coroutine.create(function()
          for x = 1, 3 do
            for y = x, 3 do coroutine.yield(x, y) end
          end
        end))
        assert.equal(6, #tasks)
        assert.same({ 3, 3, n = 2 }, tasks[6])
      end)
    end)

    describe("files", function()
      it("gives the paths that a pattern matches, sorted, without directories", function()
        helper.with_directory(function(directory)
          for _, name in ipairs { "b.txt", "a.txt", "c.md", ".hidden.txt" } do helper.write(directory .. "/" .. name,
            "") end
          lfs.mkdir(directory .. "/d.txt")
          assert.same({ directory .. "/a.txt", directory .. "/b.txt" }, values_of(parlua.files(directory .. "/*.txt")))
          assert.same({ directory .. "/a.txt", directory .. "/b.txt", directory .. "/c.md" },
            values_of(parlua.files { directory .. "/*.md", directory .. "/[ab].txt", directory .. "/a.*" }))
          assert.same({}, values_of(parlua.files(directory .. "/*.none")))
        end)
      end)

      it("goes through directories of any depth for **", function()
        helper.with_directory(function(directory)
          lfs.mkdir(directory .. "/one")
          lfs.mkdir(directory .. "/one/two")
          lfs.mkdir(directory .. "/.git")
          for _, name in ipairs { "top.c", "one/in.c", "one/in.h", "one/two/deep.c", ".git/hidden.c" } do
            helper.write(directory .. "/" .. name, "")
          end
          assert.same({ directory .. "/one/in.c", directory .. "/one/two/deep.c", directory .. "/top.c" },
            values_of(parlua.files(directory .. "/**/*.c")))
          assert.same({ directory .. "/one/two/deep.c" }, values_of(parlua.files(directory .. "/**/two/*.c")))
          assert.same({ directory .. "/one/in.c", directory .. "/one/two/deep.c" }, values_of(parlua.files(directory ..
            "/one/**/*.c")))
          assert.equal(4, #values_of(parlua.files(directory .. "/**")))
        end)
      end)
    end)
  end)

  describe("a source that is wrong:", function()
    local function refused(pattern, f, ...)
      local ok, message = pcall(f, ...)
      assert.is_false(ok)
      assert.truthy(tostring(message):find(pattern), tostring(message))
    end

    it("a range without numbers, without a step, without a beginning", function()
      refused("range: last must be a number, got string", parlua.range, 1, "x")
      refused("range: first must be a number, got table", parlua.range, {}, 1)
      refused("range: .*must be a number, got nil", parlua.range)
      refused("range: .*must be a number, got nan", parlua.range, 1, 0 / 0)
      refused("range: step must not be 0", parlua.range, 1, 2, 0)
      refused("range: first and step must be finite", parlua.range, -math.huge, 1)
      refused("range: first and step must be finite", parlua.range, 1, 5, math.huge)
      refused("range: .*more than can be counted", parlua.range, 1e300)
    end)

    it("a product or zip of something that has no length", function()
      refused("product: part 2 must be a list, a range, a product or a zip, got function", parlua.product, { 1 },
        ipairs)
      refused("zip: part 1 must be .*, got number", parlua.zip, 5)
      refused("zip: part 1 must be .*, got iterator", parlua.zip, parlua.iterate(ipairs {}))
      refused("product: at least one part", parlua.product)
      refused("product: .*nil", parlua.product, { 1 }, nil)
    end)

    it("a product with more combinations than can be counted", function()
      local big = parlua.range(1e6)
      refused("product: .*more than can be counted", parlua.product, big, big, big)
    end)

    it("a list that is none, an iterator that is none, a pattern that is none", function()
      refused("list: a table is expected, got number", parlua.list, 5)
      refused("list: the table has keys, but no items .*parlua.iterate", parlua.list, { a = 1 })
      refused("list: its field n, .*got x", parlua.list, { 1, n = "x" })
      refused("list: its field n, .*got %-1", parlua.list, { 1, n = -1 })
      refused("list: its field n, .*got 0.5", parlua.list, { 1, n = 0.5 })
      refused("iterate: an iterator function is expected, got table", parlua.iterate, {})
      refused("files: a pattern .*got number", parlua.files, 5)
    end)

    it("a product with names whose order is none, or whose parts are none", function()
      refused("product: order names 'b' twice, or there is no such part", parlua.product, { a = { 1 } }, { order = { "a", "b" } })
      refused("product: order does not name the part 'b'", parlua.product, { a = { 1 }, b = { 1 } }, { order = { "a" } })
      refused("product: order names 'bb' twice, or there is no such part", parlua.product, { a = { 1 }, b = { 1 }, order = { "a", "bb" } })
      refused("product: field b must be a list, a range, a product or a zip, got number", parlua.product, { a = { 1 }, b = 2 })
      refused("product: field a must have one value a task.*it is a zip", parlua.product, { a = parlua.zip({ 1 }, { 2 }) })
      refused("product: part 2 has no end; only the first may be endless", parlua.product, { 1 }, parlua.range(math.huge))
    end)

    it("what pairs returns, a future, a source in the function's place", function()
      refused("pairs%(t%) gives three values.*write parlua.iterate%(pairs%(t%)%)", parlua.map, print, pairs { a = 1 })
      refused("ipairs%(t%) gives three values", parlua.map, print, ipairs { 1 })
      local future = parlua.submit(tostring, 1)
      refused("a future is no value that a task could use: .*future:get%(%)", parlua.map, print, { future })
      refused("a future is no value", parlua.map, print, future)
      refused("the map function stands first", parlua.map, parlua.range(3), print)
    end)

    it("a filter that is no function, lines of something that is no path", function()
      refused("filter: a function is expected behind the source, got number", parlua.filter, { 1 }, 5)
      refused("lines: paths are expected, in a list or from parlua.files, got a source of the kind 'range'", parlua.lines, parlua.range(3))
      refused("lines: a path is expected, got a list with a table in it", parlua.lines, { "a", {} })
    end)

    it("names the line of the script that has given a wrong path", function()
      for _, wrong in ipairs { "/no/such/*", { 5 }, 5, {} } do
        local ok, message = pcall(function()
          local source = parlua.lines(wrong)
          return source
        end)
        assert.is_false(ok)
        assert.truthy(message:find("^%S*sources_spec.lua:%d+: lines: "), message)
      end
    end)

    it("a pattern that matches nothing", function()
      refused("lines: no file matches '/no/such/%*'", parlua.lines, "/no/such/*")
    end)

    it("a file that is not there, named without a pattern", function()
      refused("files: '/no/such/file': No such file", parlua.files, "/no/such/file")
    end)

    it("names the script's line", function()
      refused("sources_spec.lua:%d+: range: step", function() return parlua.range(1, 2, 0), nil end)
      refused("sources_spec.lua:%d+: product: part 1", function() return parlua.product(1), nil end)
      refused("sources_spec.lua:%d+: range: last", function() return parlua.range(1, "x"), nil end)
    end)
  end)
end)
