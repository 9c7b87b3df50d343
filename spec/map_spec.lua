local helper = require "spec.helper"
local parlua = require "parlua"

describe("parlua.map", function()
  helper.for_each_engine(function(engine)
    --- Options for this engine, two workers unless told.
    local with = helper.options(engine)

    local function square(x) return x * x end

    -- On serial the tasks' own loop is compiled here, and LuaJIT keeps the constants of the first few that it compiled.
    if engine ~= "serial" then it("keeps neither results nor arguments once nobody holds them", function()
      local held = setmetatable({}, { __mode = "v" })
      local function call(round)
        local items = {}
        for i = 1, 200 do items[i] = i end
        held["items " .. round] = items
        held["results " .. round] = parlua.map(square, items, with { chunk = 1 })
        held["failures " .. round] = select(2, parlua.map(square, function(_, i)
          i = (i or 0) + 1
          return i <= 200 and i or nil
        end, with { chunk = 1 }))
        held["stream " .. round] = select(2, parlua.imap(square, items, with()))
      end
      for round = 1, 5 do call(round) end
      call(0) -- leaves other things behind in the stack's unused part
      for _ = 1, 4 do collectgarbage() end
      for name in pairs(held) do if not name:find(" 0$") then error("still held: " .. name) end end
    end) end

    it("gives the results in the order of the arguments, no failures and a summary", function()
      local results, failures, summary = parlua.map(square, parlua.range(1, 1000), with())
      for i = 1, 1000 do assert.equal(i * i, results[i]) end
      assert.equal(1000, results.n)
      assert.same({}, failures)
      assert.equal(1000, summary.tasks)
      assert.equal(1000, summary.returned)
      assert.equal(0, summary.failed)
      assert.equal(0, summary.cancelled)
      assert.equal(engine, summary.engine)
      assert.equal(engine == "serial" and 1 or helper.workers * (engine == "mpi" and require("parlua.host").ranks() or 1), summary.workers)
      assert.is_true(summary.seconds >= 0)
      assert.is_nil(summary.interrupted)
    end)

    it("gives results of every type that can cross", function()
      local shared = { "shared" }
      local arguments = { 1.5, -0.0, 1 / 0, 0 / 0, true, false, "", "text\0with\0zeros", ("long"):rep(1000),
        { a = { b = { 1, 2, 3 } } },
        { shared, shared } }
      local results = parlua.map(function(x) return x end, arguments, with())
      assert.equal(#arguments, results.n)
      for i = 1, #arguments do
        if i == 4 then assert.is_true(results[i] ~= results[i]) else assert.same(arguments[i], results[i]) end
      end
      assert.equal(-1 / 0, 1 / results[2])
      assert.equal(results[11][1], results[11][2])
    end)

    it("gives 64-bit integers, complex numbers, functions and tables with metatables", function()
      local results = parlua.map(function(i)
        local class = { __index = { hello = function(self) return "hello " .. self.name end } }
        return ({ 2LL ^ 60 + 1, 1ULL, 3i, function(x) return x + i end, setmetatable({ name = "you" }, class) })[i]
      end, parlua.range(5), with())
      assert.is_true(results[1] == 2LL ^ 60 + 1)
      assert.is_true(results[2] == 1ULL)
      assert.equal(3, results[3].im)
      assert.equal(14, results[4](10))
      assert.equal("hello you", results[5]:hello())
    end)

    it("tells nil results, which are results, from failed tasks: both are holes, the latter have a failure", function()
      local results, failures, summary = parlua.map(function(x)
        if x == 2 then return nil end
        if x == 3 then error("three") end
        if x == 4 then return end
        return x
      end, parlua.range(6), with())
      assert.same({ 1, nil, nil, nil, 5, 6, n = 6 }, results)
      assert.equal(1, #failures)
      assert.equal(3, failures[1].index)
      assert.equal(5, summary.returned)
      assert.equal(1, summary.failed)
    end)

    it("keeps the first of several results", function()
      local results = parlua.map(function(x) return x, "second" end, { 7, 8 }, with())
      assert.same({ 7, 8, n = 2 }, results)
    end)

    it("tells tasks that return nothing from those that return nil, however many lie side by side", function()
      local function sometimes(what)
        return function(i)
          if i % 700 == 1 then return i end
          if what == "nil" then return nil end
        end
      end
      for _, chunk in ipairs { 0, 1, 40 } do
        for _, what in ipairs { "nil", "nothing" } do
          local function options() return with { chunk = chunk > 0 and chunk or nil } end
          local results = parlua.map(sometimes(what), parlua.range(2000), options())
          assert.same({ n = 2000, [1] = 1, [701] = 701, [1401] = 1401 }, results)
          local counts = {}
          local next_of, state, at = parlua.imap(sometimes(what), parlua.range(100), options())
          for _ = 1, 100 do
            local values = (function(...) return { n = select("#", ...), ... } end)(next_of(state, at))
            at = values[1]
            counts[values.n] = (counts[values.n] or 0) + 1
          end
          assert.same(what == "nil" and { [2] = 100 } or { 99, 1 }, counts)
        end
      end
      assert.same({ n = 3000 }, (parlua.map(function() end, parlua.range(3000), with())))
    end)

    it("passes several arguments, nil and false among them", function()
      local results = parlua.map(function(...) return { n = select("#", ...), ... } end,
        parlua.zip({ 1, 2 }, { "a", "b" }, { false, true }), with())
      assert.same({ { 1, "a", false, n = 3 }, { 2, "b", true, n = 3 }, n = 2 }, results)
      results = parlua.map(function(...) return { n = select("#", ...), ... } end, coroutine.wrap(function()
        coroutine.yield(1)
        coroutine.yield(2, nil, "c")
        coroutine.yield(3, nil)
        coroutine.yield(4, "b")
      end), with())
      assert.same({ { 1, n = 1 }, { 2, nil, "c", n = 3 }, { 3, nil, n = 2 }, { 4, "b", n = 2 }, n = 4 }, results)
    end)

    it("does nothing when there are no tasks", function()
      for _, nothing in ipairs { {}, parlua.range(0), parlua.range(5, 1), parlua.list({}), parlua.product({ 1 }, {}),
                                 parlua.zip({}, { 1 }), parlua.iterate(pairs({})), (function() return nil end) } do
        local results, failures, summary = parlua.map(square, nothing, with())
        assert.same({ n = 0 }, results)
        assert.same({}, failures)
        assert.equal(0, summary.tasks)
      end
    end)

    it("runs a single task", function()
      assert.same({ 49, n = 1 }, (parlua.map(square, { 7 }, with())))
      assert.same({ 49, n = 1 }, (parlua.map(square, parlua.range(7, 7), with())))
    end)

    it("runs a million tasks", function()
      local results, failures = parlua.map(square, parlua.range(1e6), with())
      assert.equal(1e6, results.n)
      assert.equal(0, #failures)
      local wrong = 0
      for i = 1, 1e6 do wrong = wrong + (results[i] == i * i and 0 or 1) end
      assert.equal(0, wrong)
    end)

    it("mixes small results with ones that are larger than any buffer", function()
      local results, failures = parlua.map(function(i)
        if i % 50 == 7 then return ("x"):rep(300000 + i) end
        if i % 50 == 9 then return { ("y"):rep(600000 + i) } end
        if i % 3 == 0 then return nil end
        return i
      end, parlua.range(200), with())
      assert.equal(0, #failures)
      for i = 1, 200 do
        local result = results[i]
        if i % 50 == 7 then
          assert.equal(300000 + i, #result)
        elseif i % 50 == 9 then
          assert.equal(600000 + i, #result[1])
        elseif i % 3 == 0 then
          assert.is_nil(result)
        else
          assert.equal(i, result)
        end
      end
    end)

    it("sends arguments that are larger than any buffer among small ones", function()
      local arguments = {}
      for i = 1, 60 do arguments[i] = i % 20 == 3 and ("z"):rep(500000 + i) or i % 7 == 0 and { i } or i end
      local results, failures = parlua.map(function(x)
        return type(x) == "string" and #x or type(x) == "table" and x[1] or x
      end, arguments, with())
      assert.equal(0, #failures)
      for i = 1, 60 do assert.equal(i % 20 == 3 and 500000 + i or i, results[i]) end
    end)

    it("gives the same for every number of workers and every size of chunk", function()
      local expected = {}
      for i = 1, 500 do expected[i] = i % 11 == 0 and "word " .. i or i + 0.5 end
      expected.n = 500
      for _, workers in ipairs { 1, 2, 5 } do
        for _, chunk in ipairs { 1, 3, 499, 500, 10000 } do
          assert.same(expected, (parlua.map(function(i) return i % 11 == 0 and "word " .. i or i + 0.5 end,
            parlua.range(500),
            with { workers = workers, chunk = chunk })))
        end
      end
    end)

    it("takes more workers than there are tasks", function()
      assert.same({ 1, 4, n = 2 }, (parlua.map(square, { 1, 2 }, with { workers = 8 })))
    end)

    it("keeps the order of results also with ordered = false", function()
      local results = parlua.map(square, parlua.range(300), with { ordered = false })
      for i = 1, 300 do assert.equal(i * i, results[i]) end
    end)

    it("takes anything that can be called as the map function", function()
      local callable = setmetatable({ factor = 3 }, { __call = function(self, x) return self.factor * x end })
      assert.same({ 3, 6, n = 2 }, (parlua.map(callable, { 1, 2 }, with())))
      assert.same({ 3, 5, n = 2 }, (parlua.map(math.floor, { 3.5, 5.1 }, with())))
      assert.same({ "A", "B", n = 2 }, (parlua.map(string.upper, { "a", "b" }, with())))
    end)

    it("gives the function its upvalues", function()
      local factor, words = 10, { "a", "b", "c" }
      assert.same({ "10a", "20b", "30c", n = 3 }, (parlua.map(function(i) return factor * i .. words[i] end,
        parlua.range(3), with())))
    end)

    it("runs recursive functions, also ones that call each other", function()
      local is_odd
      local function is_even(n) if n == 0 then return true end return is_odd(n - 1) end
      function is_odd(n) if n == 0 then return false end return is_even(n - 1) end
      local function fibonacci(n) return n < 2 and n or fibonacci(n - 1) + fibonacci(n - 2) end
      assert.same({ false, true, false, n = 3 }, (parlua.map(is_even, { 1, 2, 3 }, with())))
      assert.same({ 1, 1, 2, 3, 5, 8, n = 6 }, (parlua.map(fibonacci, parlua.range(6), with())))
    end)

    it("runs a call inside a task serially, in that task's worker", function()
      local results = parlua.map(function(i)
        local inner, failures, summary = parlua.map(function(j)
          if j == 2 then error("inner " .. i) end
          return 10 * i + j
        end, parlua.range(3))
        return { inner[1], inner[2], inner[3], summary.engine, failures[1].message:match("inner %d"), #failures,
          inner.n }
      end, parlua.range(3), with())
      for i = 1, 3 do assert.same({ 10 * i + 1, nil, 10 * i + 3, "serial", "inner " .. i, 1, 3 }, results[i]) end
    end)

    it("runs a call inside a task serially also where it asks for another engine", function()
      local results = parlua.map(function(i)
        local inner, _, summary = parlua.map(function(j) return i + j end, { 1, 2 }, { engine = "threads",
          workers = 4 })
        return { inner[1], inner[2], summary.engine }
      end, { 10, 20 }, with())
      assert.same({ { 11, 12, "serial" }, { 21, 22, "serial" }, n = 2 }, results)
    end)

    it("goes on with a task after a nested call, whose failures are not the task's", function()
      local results, failures = parlua.map(function(i)
        parlua.each(function() error("nested") end, parlua.range(3))
        for _ in parlua.imap(function(x) return x end, parlua.range(100)) do break end -- luacheck: ignore 512
        if i == 2 then error("own") end
        return i
      end, parlua.range(3), with())
      assert.same({ 1, nil, 3, n = 3 }, results)
      assert.equal(1, #failures)
      assert.equal(2, failures[1].index)
    end)

    it("can be called many times, one after another", function()
      for round = 1, 20 do
        local results = parlua.map(function(x) return x + round end, { 1, 2, 3 }, with())
        assert.same({ 1 + round, 2 + round, 3 + round, n = 3 }, results)
      end
    end)

    it("may be called in the body of another call's loop", function()
      local sums = {}
      for i, x in parlua.imap(function(x) return 10 * x end, { 1, 2, 3 }, with()) do
        sums[i] = parlua.map(function(y) return x + y end, { 1, 2 }, with())
      end
      assert.same({ { 11, 12, n = 2 }, { 21, 22, n = 2 }, { 31, 32, n = 2 } }, sums)
    end)

    it("runs `setup` in a worker before its first task", function()
      local results, failures = parlua.map(function(x) return x + _G.parlua_spec_base end, parlua.range(50),
        with { setup = function() _G.parlua_spec_base = (_G.parlua_spec_base or 0) + 100 end })
      _G.parlua_spec_base = nil
      assert.same({}, failures)
      for i = 1, 50 do assert.equal(i + 100, results[i]) end
    end)

    it("raises what `setup` raises, with its place", function()
      local ok, message = pcall(parlua.map, square, { 1, 2, 3 }, with { setup = function() error("no licence") end })
      assert.is_false(ok)
      assert.truthy(tostring(message):find("setup failed: .*map_spec.lua:%d+: no licence"), tostring(message))
    end)

    it("runs the `setup` of a call inside a task", function()
      local results = parlua.map(function(i)
        return parlua.map(function(j) return i + j + _G.parlua_spec_inner end, { 1 },
          { setup = function() _G.parlua_spec_inner = 100 end })[1]
      end, { 10 }, with())
      _G.parlua_spec_inner = nil
      assert.same({ 111, n = 1 }, results)
    end)

    it("calls the given function for progress", function()
      local events = {}
      parlua.map(square, parlua.range(10), with { progress = function(name, data) events[#events + 1] = { name,
        data } end })
      assert.equal("start", events[1][1])
      assert.equal(10, events[1][2].tasks)
      assert.equal("finish", events[#events][1])
      assert.equal(10, events[#events][2].returned)
    end)

    it("sees arguments that the function changes in its own copy or in place, but never half-way", function()
      local results = parlua.map(function(t)
        t.x = t.x + 1
        return t
      end, { { x = 1 }, { x = 2 } }, with())
      assert.same({ { x = 2 }, { x = 3 }, n = 2 }, results)
    end)

    it("balances tasks of very different length", function()
      local results, failures = parlua.map(function(i)
        local n = i % 97 == 0 and 1e6 or 10
        local x = 0
        for k = 1, n do x = x + k % 3 end
        return x > 0 and i
      end, parlua.range(2000), with())
      assert.equal(0, #failures)
      for i = 1, 2000 do assert.equal(i, results[i]) end
    end)

    describe("refuses, before any work,", function()
      local function refused(pattern, ...)
        local ok, message = pcall(parlua.map, ...)
        assert.is_false(ok)
        assert.truthy(tostring(message):find(pattern), tostring(message))
      end

      it("what is no function", function()
        refused("map function must be a function, got nothing", nil, { 1 }, with())
        refused("map function must be a function, got table", {}, { 1 }, with())
        refused("map function must be a function, got string", "f", { 1 }, with())
      end)

      it("what are no arguments", function()
        refused("arguments must be a list.*got nothing", square, nil, with())
        refused("arguments must be a list.*got number", square, 5, with())
        refused("arguments must be a list.*got string", square, "abc", with())
      end)

      it("an unknown option, with the nearest name", function()
        refused("worker.*did you mean workers%?", square, { 1 }, { engine = engine, worker = 2 })
      end)

      it("an unknown engine, with the nearest name", function()
        refused("thread.*did you mean threads%?", square, { 1 }, { engine = "thread" })
      end)

      it("a wrong value", function()
        refused("option workers.*integer from 1", square, { 1 }, { engine = engine, workers = 0 })
        refused("option chunk.*integer from 1", square, { 1 }, { engine = engine, chunk = 0.5 })
      end)

    end)
  end)

  helper.for_each_engine(function(engine)
    local with = helper.options(engine)
    local TASKS, OCTAVE, SHORTEST = 360, 40, 20e-6 -- tasks; of so many the last takes twice as long as the first; seconds

    --- Begins task i, and takes the longer the larger i is. Returns when it has begun.
    local function begin(i)
      local clock = require("ffi").C.clock_seconds
      local began = clock()
      local last = began + SHORTEST * 2 ^ (i / OCTAVE)
      while clock() < last do end
      return began
    end

    --- Was some task begun behind the last?
    local function is_turned(began)
      assert.equal(TASKS, #began)
      for i = 1, TASKS - 1 do if began[i] > began[TASKS] then return true end end
      return false
    end

    local list = {}
    for i = 1, TASKS do list[i] = i end

    it("begins the last tasks before others where tasks take longer and longer", function()
      assert.is_true(is_turned(parlua.map(begin, list, with { chunk = 1 })))
      assert.is_true(is_turned(parlua.map(begin, parlua.range(TASKS), with { chunk = 1 })))
    end)

    it("begins the last task last where the call may end before it", function()
      assert.is_false(is_turned(parlua.map(begin, list, with { on_error = "halt", chunk = 1, workers = 1 })))
      assert.is_false(is_turned(parlua.map(begin, parlua.range(TASKS), with { deadline = 1e6, chunk = 1, workers = 1 })))
    end)

    it("gives each task its own arguments, large or not, and each array back, when the last tasks come first", function()
      local texts = {}
      for i = 1, TASKS do texts[i] = { i, ("x"):rep(i % 7 == 0 and 3e5 or i) } end
      local results, failures = parlua.map(function(item)
        local clock = require("ffi").C.clock_seconds
        local last = clock() + SHORTEST * 2 ^ (item[1] / OCTAVE)
        while clock() < last do end
        if item[1] % 100 == 99 then error("task " .. item[1]) end
        return { item[1], #item[2] }
      end, texts, with())
      assert.equal(TASKS, results.n)
      for i = 1, TASKS do if i % 100 ~= 99 then assert.same({ i, #texts[i][2] }, results[i]) end end
      assert.equal(3, #failures)
      for k, failure in ipairs(failures) do
        assert.equal(100 * k - 1, failure.index)
        assert.equal(100 * k - 1, failure.args[1][1])
        assert.truthy(failure.message:find("task " .. failure.index, 1, true))
      end
    end)
  end, { "threads", "process" })

  it("refuses what an engine cannot do, and names those that can", function()
    local function refused(pattern, options)
      local ok, message = pcall(parlua.map, function(x) return x end, { 1 }, options)
      assert.is_false(ok)
      assert.truthy(tostring(message):find(pattern), tostring(message))
    end
    refused("option 'timeout': the serial engine .*threads.*process", { engine = "serial", timeout = 1 })
    refused("option 'memory': the serial engine .*process", { engine = "serial", memory = "100M" })
    refused("option 'memory': the threads engine .*process", { engine = "threads", memory = "100M" })
  end)

  it("runs on processes when no engine is named", function()
    local _, _, summary = parlua.map(function(x) return x end, { 1, 2 })
    assert.equal(require("parlua.host").ranks() and "mpi" or "process", summary.engine)
  end)

  it("uses as many workers as there are processors when told nothing", function()
    local _, _, summary = parlua.map(function(x) return x end, { 1, 2 })
    assert.equal(parlua.cores(), summary.workers)
    assert.is_true(parlua.cores() >= 1)
  end)
end)
