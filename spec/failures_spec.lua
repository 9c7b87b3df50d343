local helper = require "spec.helper"
local parlua = require "parlua"

describe("a failure", function()
  helper.for_each_engine(function(engine)
    local with = helper.options(engine)

    --- The failure of the only task.
    local function failure_of(f, options)
      local results, failures = parlua.map(f, { "argument" }, with(options))
      assert.equal(1, results.n)
      assert.is_nil(results[1])
      assert.equal(1, #failures)
      return failures[1]
    end

    describe("keeps what was raised:", function()
      it("a message, with its place", function()
        local failure = failure_of(function() error("went wrong") end)
        assert.equal("error", failure.kind)
        assert.truthy(failure.message:find("failures_spec.lua:%d+: went wrong$"), failure.message)
        assert.equal(failure.message, failure.value)
      end)

      it("a message without a place", function()
        assert.equal("bare", failure_of(function() error("bare", 0) end).message)
      end)

      it("a table", function()
        local failure = failure_of(function() error { code = 5, detail = { 1, 2 } } end)
        assert.same({ code = 5, detail = { 1, 2 } }, failure.value)
        assert.equal("{code = 5, detail = {...}}", failure.message)
      end)

      it("nil", function()
        local failure = failure_of(function() error(nil) end)
        assert.equal("error", failure.kind)
        assert.equal("nil", failure.message)
        assert.is_nil(failure.value)
        failure = failure_of(function() error() end)
        assert.equal("nil", failure.message)
      end)

      it("numbers, booleans, 64-bit integers", function()
        local failure = failure_of(function() error(42, 0) end)
        assert.equal("42", failure.message)
        assert.equal(42, failure.value)
        failure = failure_of(function() error(false) end)
        assert.equal("false", failure.message)
        assert.equal(false, failure.value)
        failure = failure_of(function() error(5LL) end)
        assert.equal("5LL", failure.message)
        assert.is_true(failure.value == 5LL)
      end)

      it("text with NUL bytes", function()
        assert.equal("a\0b", failure_of(function() error("a\0b", 0) end).message)
      end)

      it("an object with __tostring", function()
        local failure = failure_of(function()
          error(setmetatable({ code = 7 }, { __tostring = function(self) return "problem number " .. self.code end }))
        end)
        assert.equal("problem number 7", failure.message)
        assert.equal(7, failure.value.code)
        assert.equal("problem number 7", tostring(failure.value))
      end)

      it("an object whose __tostring raises, or returns no string", function()
        local failure = failure_of(function()
          error(setmetatable({ code = 7 }, { __tostring = function() error("cannot say") end }))
        end)
        assert.truthy(failure.message:find("__tostring failed: .*cannot say"), failure.message)
        failure = failure_of(function() error(setmetatable({}, { __tostring = function() return {} end })) end)
        assert.truthy(failure.message:find("__tostring"), failure.message)
      end)

      it("an object whose other metamethods raise", function()
        local failure = failure_of(function()
          local function refuse() error("strict") end
          error(setmetatable({ code = 1 }, { __index = refuse, __newindex = refuse, __eq = refuse, __len = refuse }))
        end)
        assert.equal("error", failure.kind)
        assert.truthy(failure.message:find("code = 1"), failure.message)
      end)

      it("a value that can't cross: its message only", function()
        local failure = failure_of(function() error(coroutine.create(print)) end)
        assert.equal("error", failure.kind)
        assert.equal("<coroutine, suspended>", failure.message)
        if not helper.in_script[engine] then assert.is_nil(failure.value) end
      end)

      it("a value that is larger than any buffer", function()
        local failure = failure_of(function() error({ text = ("x"):rep(1e6) }) end)
        assert.equal(1e6, #failure.value.text)
        failure = failure_of(function() error(("y"):rep(600000), 0) end)
        assert.equal(600000, #failure.message)
      end)
    end)

    it("of a coroutine within the task is the task's", function()
      local failure = failure_of(function()
        local step = coroutine.wrap(function()
          coroutine.yield(1)
          error("inside the coroutine")
        end)
        step()
        step()
      end)
      assert.equal("error", failure.kind)
      assert.truthy(failure.message:find("inside the coroutine"))
    end)

    it("of a yield outside a coroutine is an error that says so", function()
      local failure = failure_of(function() coroutine.yield(5) end)
      assert.equal("error", failure.kind)
      assert.truthy(failure.message:find("attempt to yield"), failure.message)
    end)

    it("of an endless recursion says so, with a traceback that is not endless", function()
      local failure = failure_of(function()
        local function deeper(n) return 1 + deeper(n + 1) end
        return deeper(1)
      end)
      assert.equal("error", failure.kind)
      assert.equal("stack overflow", failure.message)
      assert.is_true(#(failure.traceback or "") < 10000)
      assert.is_true(#failure.message < 10000)
    end)

    it("of many endless recursions in compiled code is told, as is each of the others", function()
      local first = debug.getinfo(1, "l").currentline + 2
      local _, failures = parlua.map(function(x)
        local function deeper(n) return 1 + deeper(n + 1) end
        local sum = 0
        for i = 1, 100 * x do sum = sum + i end
        return sum + deeper(x)
      end, parlua.range(100), with())
      assert.equal(100, #failures)
      for _, failure in ipairs(failures) do
        assert.equal("error", failure.kind)
        assert.equal("stack overflow", failure.message) -- compiled code does not always know the place
        if failure.traceback then -- there may be no stack left to write it
          assert.matches(("failures_spec%%.lua:%d: in function"):format(first), failure.traceback)
        end
      end
    end)

    it("of a handler's own recursion leaves the worker usable", function()
      local results, failures = parlua.map(function(i)
        if i == 3 then
          local function deeper() return deeper() + 1 end
          return deeper()
        end
        return i
      end, parlua.range(20), with())
      assert.equal(1, #failures)
      assert.equal(3, failures[1].index)
      for i = 1, 20 do
        if i ~= 3 then assert.equal(i, results[i]) end
      end
    end)

    it("for lack of memory is of kind memory, and the run goes on", function()
      helper.with_directory(function(directory)
        local script = helper.write(directory .. "/hungry.lua", [[
          local ffi, parlua = require "ffi", require "parlua"
          ffi.cdef "int setrlimit(int which, const unsigned long *limits);"
          local pages = io.open("/proc/self/statm"):read("*n")
          local limit = pages * 4096 + 600e6
          assert(ffi.C.setrlimit(9, ffi.new("unsigned long[2]", limit, limit)) == 0) -- RLIMIT_AS
          local is_elsewhere = require("parlua.host").ranks() -- the limit of this process is not the workers'
          local results, failures = parlua.map(function(i)
            if i % 2 == 0 then
              local t = {}
              for k = 1, 1e9 do t[k] = ("x"):rep(1e6) .. k end
            end
            return i
          end, parlua.range(5), { chunk = 1, memory = is_elsewhere and "600M" })
          print(results[1], results[2], results[3], results[4], results[5], #failures)
          for _, failure in ipairs(failures) do print(failure.index, failure.kind, failure.message, #failure.args) end
        ]])
        local result = helper.run_parlua(("--engine %s -n 2 %s"):format(engine, script))
        assert.equal("1\tnil\t3\tnil\t5\t2\n2\tmemory\tnot enough memory\t1\n4\tmemory\tnot enough memory\t1\n",
          result.stdout,
          result.stderr)
        assert.equal(0, result.status)
      end)
    end)

    it("of a result that can't cross names the path to it", function()
      if helper.in_script[engine] then return end
      local _, failures = parlua.map(function(i)
        if i == 1 then return { handles = { io.tmpfile() } } end
        if i == 2 then return coroutine.create(print) end
        if i == 3 then
          local log = io.tmpfile()
          return function() return log end
        end
        return i
      end, parlua.range(4), with())
      assert.equal(3, #failures)
      for _, failure in ipairs(failures) do assert.equal("unsendable", failure.kind) end
      assert.equal("cannot send result.handles[1]: userdata (FILE*): return its name, or what was read", failures[1].message)
      assert.equal("cannot send result: a coroutine: return what it yields", failures[2].message)
      assert.truthy(failures[3].message:find("^cannot send upvalue 'log' of function at .*failures_spec.lua:%d+: "
        .. "userdata %(FILE%*%): open it in the task, or in `setup`$"),
        failures[3].message)
    end)

    it("of a result that can't cross among several results names which", function()
      if helper.in_script[engine] then return end
      local step, stream = parlua.imap(function() return 1, 2, { x = coroutine.create(print) } end, { 1 }, with())
      for _ in step, stream do error("not expected") end
      assert.equal("unsendable", stream.failures[1].kind)
      assert.equal("cannot send result 3.x: a coroutine: return what it yields", stream.failures[1].message)
    end)

    it("tells the task, its arguments, where it ran and for how long", function()
      local _, failures = parlua.map(function(a, b)
        if a == 2 then error("two") end
        return b
      end, parlua.zip({ 1, 2, 3 }, { "a", { nested = true }, "c" }), with())
      local failure = failures[1]
      assert.equal(2, failure.index)
      assert.same({ 2, { nested = true }, n = 2 }, failure.args)
      assert.equal(1, failure.attempts)
      assert.is_true(failure.worker >= 1 and failure.worker <= 2)
      assert.equal(helper.run("hostname").stdout:match("%S+"), failure.host)
      assert.is_true(failure.seconds >= 0 and failure.seconds < 100)
      assert.equal("string", type(failure.message))
    end)

    it("tells arguments of every kind of source", function()
      for _, case in ipairs {
        { parlua.range(10, 30, 10), 3, { 30, n = 1 } },
        { { "a", "b" }, 2, { "b", n = 1 } },
        { { n = 3, [2] = "b" }, 3, { nil, n = 1 } },
        { parlua.product({ "x", "y" }, parlua.range(2)), 3, { "y", 1, n = 2 } },
        { parlua.iterate(ipairs { "p", "q" }), 2, { 2, "q", n = 2 } },
        { coroutine.create(function()
          coroutine.yield(1)
          coroutine.yield({ t = 1 }, nil, "z")
          coroutine.yield(1, nil)
        end), 2, { { t = 1 }, nil, "z", n = 3 } },
      } do
        local failures = parlua.each(function() error("no") end, case[1], with())
        assert.same(case[3], failures[case[2]].args)
      end
    end)

    it("tells arguments, path and line also where a reduction or an array refuses the result", function()
      local path = helper.write(helper.new_directory() .. "/refused.csv", "1\n2\n3\n")
      local function text(value) return (type(value) == "table" and value.k or value) == "2" and "text" or 1 end
      local function row_text(row) return row.k == 2 and "text" or 1 end
      local into = parlua.array("double", 3)
      for name, case in pairs {
        list = { text, { "1", "2", "3" }, "2" }, iterator = { text, function() return ("1 2 3"):gmatch "%d" end, "2" },
        lines = { text, function() return parlua.lines(path) end, "2", 2 },
        csv = { row_text, function() return parlua.csv(path, { header = { "k" } }) end, { k = 2 }, 2 },
      } do
        local function arguments() return type(case[2]) == "function" and case[2]() or case[2] end
        for how, failures in pairs {
          sum = select(2, parlua.reduce(case[1], arguments(), parlua.sum, with { warn = false })),
          array = select(2, parlua.map(case[1], arguments(), with { as = "array", warn = false })),
          into = select(2, parlua.map(case[1], arguments(), with { into = into, warn = false })),
        } do
          local what = name .. ", " .. how
          assert.equal(1, #failures, what)
          assert.same({ what, 2, { case[3], n = 1 } }, { what, failures[1].index, failures[1].args })
          assert.same({ what, case[4] and path, case[4] }, { what, failures[1].path, failures[1].line })
        end
      end
      into:free()
      helper.remove((path:gsub("/[^/]+$", "")))
    end)

    it("measures how long the task took", function()
      local _, failures = parlua.map(function()
        local now = require("parlua.host").now -- os.clock counts what all threads do
        local began = now()
        while now() - began < 0.02 do end -- luacheck: ignore 542
        error("late")
      end, { 1 }, with())
      assert.is_true(failures[1].seconds >= 0.019, "seconds: " .. failures[1].seconds)
    end)

    describe("has a traceback", function()
      it("of the task's own frames alone", function()
        local function inner(x) error("deep " .. x) end
        local function middle(x)
          inner(x)
          return 1
        end
        local failure = failure_of(function(x)
          middle(x)
          return 2
        end)
        local traceback = failure.traceback
        assert.truthy(traceback:find("^stack traceback:"), traceback)
        assert.truthy(traceback:find("inner"), traceback)
        assert.truthy(traceback:find("middle"), traceback)
        local count = select(2, traceback:gsub("failures_spec.lua:", ""))
        assert.is_true(count >= 3, traceback)
        assert.is_nil(traceback:find("parlua", 1, true) and traceback:find("parlua[./]%a*[.:]?l?u?a?:"), traceback)
        assert.is_nil(traceback:find("xpcall", 1, true), traceback)
        assert.is_nil(traceback:find("busted", 1, true), traceback)
      end)

      it("also when what was raised is no string", function()
        local failure = failure_of(function() error({}) end)
        assert.truthy(failure.traceback:find("failures_spec.lua:"), failure.traceback)
      end)

      it("within a task that runs a nested call", function()
        local _, failures = parlua.map(function()
          local _, inner = parlua.map(function() error("in") end, { 1 })
          error(inner[1].traceback, 0)
        end, { 1 }, with())
        assert.truthy(failures[1].message:find("failures_spec.lua"), failures[1].message)
        assert.is_nil(failures[1].message:find("parlua.loop", 1, true), failures[1].message)
      end)
    end)

    it("as text names the task, its kind and the message", function()
      local failure = failure_of(function() error("bare", 0) end)
      assert.truthy(tostring(failure):find("^task 1 failed %(error%): bare\nstack traceback:"), tostring(failure))
    end)

    describe("with on_error = \"halt\"", function()
      it("is raised, with its traceback, and nothing more is begun", function()
        helper.with_directory(function(directory)
          local path = directory .. "/begun"
          local ok, failure = pcall(parlua.map, function(i)
            local file = io.open(path, "a")
            file:write(i, "\n")
            file:close()
            if i == 3 then error("third") end
            return i
          end, parlua.range(1e6), with { on_error = "halt" })
          assert.is_false(ok)
          assert.equal(3, failure.index)
          assert.truthy(failure.message:find("third"))
          assert.truthy(failure.traceback:find("failures_spec.lua"))
          assert.truthy(tostring(failure):find("task 3 failed"))
          local begun = select(2, helper.read(path):gsub("\n", ""))
          assert.is_true(begun < 1e6, "begun: " .. begun)
          if engine == "serial" then assert.equal(3, begun) end
        end)
      end)

      it("does not stand in the way of the next call", function()
        for _ = 1, 5 do
          assert.is_false(pcall(parlua.map, error, parlua.range(100), with { on_error = "halt" }))
          assert.same({ 1, 2, n = 2 }, (parlua.map(function(x) return x end, { 1, 2 }, with())))
        end
      end)

      it("ends an endless generator", function()
        local n = 0
        local ok, failure = pcall(parlua.each, function(x) if x == 1000 then error("enough") end end, function()
          n = n + 1
          return n
        end, with { on_error = "halt" })
        assert.is_false(ok)
        assert.equal(1000, failure.index)
      end)
    end)

    describe("with max_failures", function()
      it("stops at a share of the tasks, looked at from the twentieth on", function()
        local function fails_until(n)
          return parlua.map(function(i) if i <= n then error("no") end end, parlua.range(400), with { max_failures = "50%", chunk = 1 })
        end
        local _, failures, summary = fails_until(5)
        assert.equal(5, #failures)
        assert.is_nil(summary.stopped)
        _, failures, summary = fails_until(400)
        assert.truthy(summary.stopped:find("max_failures = 50%", 1, true), summary.stopped)
        assert.is_true(#failures >= 20 and #failures < 400)
      end)

      it("ends the run after so many, which it reports", function()
        local results, failures, summary = parlua.map(function(i)
          if i % 2 == 0 then error("even") end
          return i
        end, parlua.range(1e6), with { max_failures = 10, chunk = 5 })
        assert.is_true(#failures >= 10, "failures: " .. #failures)
        assert.is_true(#failures < 1000)
        assert.truthy(summary.stopped:find("max_failures = 10"), summary.stopped)
        assert.is_true(summary.cancelled > 0)
        assert.equal(1e6, summary.tasks + summary.cancelled)
        assert.equal(1e6, results.n)
        local returned = 0
        for i = 1, 1e6 do
          if results[i] then
            returned = returned + 1
            assert(results[i] == i)
          end
        end
        assert.equal(summary.returned, returned)
      end)

      it("runs each task once, whatever fails below that", function()
        local list = {}
        for i = 1, 3000 do list[i] = i end
        for _, arguments in ipairs { parlua.range(20000), list } do
          local results, failures = parlua.map(function(i)
            if i % 10 == 0 then error("no") end
            return i
          end, arguments, with { max_failures = 1e6 })
          assert.equal(results.n / 10, #failures)
          for i = 1, results.n do assert(results[i] == (i % 10 ~= 0 and i or nil)) end
        end
      end)

      if engine == "serial" then
        it("begins no task behind the one that is too much", function()
          for most, last in pairs { ["5%"] = 20, [3] = 30 } do
            local ran = 0
            local _, _, summary = parlua.map(function(i)
              ran = ran + 1
              if i % 10 == 0 then error("no") end
            end, parlua.range(1000), with { max_failures = most })
            assert.same({ last, last }, { ran, summary.tasks })
          end
        end)
      end

      it("ends an endless generator", function()
        local n = 0
        local failures, summary = parlua.each(function() error("always") end, function()
          n = n + 1
          return n
        end, with { max_failures = 3 })
        assert.is_true(#failures >= 3)
        assert.truthy(summary.stopped)
      end)

      it("does nothing while there are fewer", function()
        local _, failures, summary = parlua.map(function(i) if i <= 2 then error("early") end end, parlua.range(1000),
          with { max_failures = 3 })
        assert.equal(2, #failures)
        assert.is_nil(summary.stopped)
        assert.equal(1000, summary.tasks)
      end)
    end)

    describe("with retries", function()
      --- A function that fails until its task's try number `good`, and a way to count tries: one file a task.
      local function stubborn(directory, good)
        return function(i)
          local file = io.open(directory .. "/" .. i, "a")
          file:write("x")
          file:close()
          file = io.open(directory .. "/" .. i)
          local tries = #file:read("*a")
          file:close()
          if tries < good then error("try " .. tries) end
          return i + tries / 10
        end
      end

      it("gives the result of the try that succeeds", function()
        helper.with_directory(function(directory)
          local results, failures, summary = parlua.map(stubborn(directory, 3), parlua.range(40), with { retries = 2 })
          assert.same({}, failures)
          for i = 1, 40 do
            assert.equal(i + 0.3, results[i])
            assert.equal("xxx", helper.read(directory .. "/" .. i))
          end
          assert.equal(40, summary.tasks)
          assert.equal(40, summary.returned)
        end)
      end)

      it("and on_error = \"halt\" does not halt while there is a further try, nor lose the tasks behind", function()
        for _, source in ipairs { parlua.range(40), function()
          local n = 0
          return function()
            n = n + 1
            return n <= 40 and n or nil
          end
        end } do
          helper.with_directory(function(directory)
            local try = stubborn(directory, 2)
            local results, failures = parlua.map(function(i) return i % 10 == 3 and try(i) or i end,
              type(source) == "function" and source() or source, with { retries = 1, on_error = "halt", chunk = 15 })
            assert.same({}, failures)
            assert.equal(40, results.n)
            for i = 1, 40 do assert.equal(i % 10 == 3 and i + 0.2 or i, results[i]) end
          end)
        end
      end)

      it("reports the last try when none succeeds, with their number", function()
        helper.with_directory(function(directory)
          local _, failures, summary = parlua.map(stubborn(directory, 100), parlua.range(10), with { retries = 2 })
          assert.equal(10, #failures)
          for i, failure in ipairs(failures) do
            assert.equal(i, failure.index)
            assert.equal(3, failure.attempts)
            assert.truthy(failure.message:find("try 3"), failure.message)
            assert.same({ i, n = 1 }, failure.args)
            assert.equal("xxx", helper.read(directory .. "/" .. i))
          end
          assert.equal(10, summary.tasks)
          assert.equal(10, summary.failed)
        end)
      end)

      it("keeps a task's arguments for its further tries", function()
        helper.with_directory(function(directory)
          local try = stubborn(directory, 3)
          local n = 0
          local results, failures = parlua.map(function(i, t, text) return (try(i)) and t.x .. text end, function()
            n = n + 1
            if n <= 50 then return n, { x = n * n }, "!" end
          end, with { retries = 2 })
          assert.same({}, failures)
          for i = 1, 50 do assert.equal(i * i .. "!", results[i]) end
        end)
      end)

      it("tries again also in each and over lines", function()
        helper.with_directory(function(directory)
          local path = helper.write(directory .. "/lines", "l1\nl2\nl3\nl4\nl5\n")
          local try = stubborn(directory, 2)
          assert.same({}, (parlua.each(function(line) try(line:sub(2) + 0) end, parlua.lines(path),
            with { retries = 1 })))
          for i = 1, 5 do assert.equal("xx", helper.read(directory .. "/" .. i)) end
        end)
      end)

      it("waits before a further try, twice as long before the next", function()
        helper.with_directory(function(directory)
          local host = require "parlua.host"
          local results, failures = parlua.map(function(i)
            local file = io.open(directory .. "/times" .. i, "a")
            file:write(("%.6f\n"):format(host.now()))
            file:close()
            file = io.open(directory .. "/times" .. i)
            local times = {}
            for line in file:lines() do times[#times + 1] = tonumber(line) end
            file:close()
            if i % 3 == 0 and #times < 3 then error("not yet") end
            return times
          end, parlua.range(9), with { retries = 2, backoff = 0.05 })
          assert.same({}, failures)
          for i = 1, 9 do
            local times = results[i]
            assert.equal(i % 3 == 0 and 3 or 1, #times)
            if i % 3 == 0 then
              assert.is_true(times[2] - times[1] >= 0.05)
              assert.is_true(times[3] - times[2] >= 0.1)
            end
          end
        end)
      end)

      it("waits likewise in a reduction by workers, which a time limit does not count", function()
        helper.with_directory(function(directory)
          local try = stubborn(directory, 2)
          local options = with { retries = 1, backoff = 0.3, timeout = engine ~= "serial" and 0.2 or nil }
          local sum, failures = parlua.reduce(function(i) return math.floor(try(i)) end, parlua.range(3), parlua.sum, options)
          assert.same({}, failures)
          assert.equal(6, sum)
        end)
      end)

      it("tries again only the kinds that retry_on names", function()
        helper.with_directory(function(directory)
          local try = stubborn(directory, 3)
          local _, failures = parlua.map(try, parlua.range(3), with { retries = 3, retry_on = { "crash" } })
          assert.equal(3, #failures)
          assert.equal(1, failures[1].attempts)
          local results = parlua.map(try, parlua.range(3), with { retries = 3, retry_on = { "error" } })
          assert.same({ 1.3, 2.3, 3.3, n = 3 }, results)
        end)
      end)

      it("does not try again what can't cross", function()
        if helper.in_script[engine] then return end
        local _, failures = parlua.map(function() return coroutine.create(print) end, { 1 }, with { retries = 5 })
        assert.equal("unsendable", failures[1].kind)
        assert.equal(1, failures[1].attempts)
      end)
    end)

    it("is reported for every failing task exactly once, beside the results of the others", function()
      local results, failures = parlua.map(function(i)
        if i % 3 ~= 0 then error(i, 0) end
        return i
      end, parlua.range(3e4), with())
      assert.equal(2e4, #failures)
      local k = 0
      for i = 1, 3e4 do
        if i % 3 ~= 0 then
          k = k + 1
          if failures[k].index ~= i or failures[k].value ~= i or results[i] ~= nil then assert.equal(i,
            failures[k].index) end
        elseif results[i] ~= i then
          assert.equal(i, results[i])
        end
      end
    end)
  end)

  describe("of a value that can't cross to a thread", function()
    local function refused(pattern, f, arguments)
      local ok, message = pcall(parlua.map, f, arguments, { engine = "threads", workers = 2 })
      assert.is_false(ok)
      assert.truthy(tostring(message):find(pattern), tostring(message))
    end

    it("among the function's upvalues and globals is an error before any work, which names the path", function()
      local log = io.tmpfile()
      refused("^cannot send upvalue 'log' of function at .*failures_spec.lua:%d+: userdata %(FILE%*%): open it in ",
        function() log:write("x") end, { 1 })
      local state = { parts = { coroutine.create(print) } }
      refused("^cannot send upvalue 'state'%.parts%[1%] of function at .*: a coroutine",
        function() return state.parts end, { 1 })
      log:close()
    end)

    it("among the arguments is a failure of that task alone", function()
      local results, failures = parlua.map(function(x) return type(x) end, { 1, { io.tmpfile() }, "c" },
        { engine = "threads", workers = 2 })
      assert.same({ "number", nil, "string", n = 3 }, results)
      assert.equal(1, #failures)
      assert.equal(2, failures[1].index)
      assert.equal("unsendable", failures[1].kind)
      assert.equal("cannot send argument[1]: userdata (FILE*): send its name, and open it in the task", failures[1].message)
    end)

    it("stands as words among the failure's arguments, where it could not be sent", function()
      local _, failures = parlua.map(function(x) return type(x) end, { { 7, io.tmpfile() }, coroutine.create(print) },
        { engine = "threads", workers = 2 })
      assert.matches("^{7, <file>}$", failures[1].args[1])
      assert.matches("^<coroutine, suspended>$", failures[2].args[1])
      assert.is_nil(failures[1].given)
    end)
  end)
end)

describe("a search with retries", function()
  helper.for_each_engine(function(engine)
    it("runs no task once too often, whatever is cut off behind the hit", function()
      local ffi = require "ffi"
      pcall(ffi.cdef, "void *mmap(void *where, size_t length, int protection, int flags, int fd, long offset);")
      local counts = ffi.cast("uint8_t *", ffi.C.mmap(nil, 4096, 3, 0x21, -1, 0)) -- readable and writable; shared with workers, of no file
      for round = 1, 150 do
        ffi.fill(counts, 4096)
        local index = parlua.find(function(i)
          counts[i] = counts[i] + 1
          if i % 20 == 0 and parlua.task.attempt == 1 then error("not yet", 0) end
          return i >= 300
        end, parlua.range(2000), { engine = engine, workers = 4, chunk = round % 10 + 1, retries = 1 })
        assert.equal(300, index)
        for i = 1, 299 do assert(counts[i] == (i % 20 == 0 and 2 or 1), "task " .. i .. " in round " .. round) end
      end
    end)
  end, { "process" })
end)
