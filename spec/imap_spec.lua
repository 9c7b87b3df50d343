local helper = require "spec.helper"
local parlua = require "parlua"

describe("parlua.imap", function()
  helper.for_each_engine(function(engine)
    local with = helper.options(engine)

    local function identity(x) return x end

    --- An endless generator, and a function that tells how many it has given.
    local function naturals()
      local n = 0
      return function()
        n = n + 1
        return n
      end, function() return n end
    end

    it("gives each index with its result, in order", function()
      local expected = 0
      for i, x in parlua.imap(function(x) return x * x end, parlua.range(1, 5000), with()) do
        expected = expected + 1
        assert.equal(expected, i)
        assert.equal(i * i, x)
      end
      assert.equal(5000, expected)
    end)

    it("keeps the order when tasks take unequal times", function()
      local expected = 0
      for i, x in parlua.imap(function(i)
        local x = 0
        for k = 1, i % 13 == 0 and 3e5 or 10 do x = x + k % 2 end
        return x > 0 and i
      end, parlua.range(300), with { chunk = 1 }) do
        expected = expected + 1
        assert.equal(expected, i)
        assert.equal(i, x)
      end
      assert.equal(300, expected)
    end)

    it("gives each result once when they need no order", function()
      local seen, count = {}, 0
      for i, x in parlua.imap(identity, parlua.range(3000), with { ordered = false }) do
        assert.is_nil(seen[i])
        assert.equal(i, x)
        seen[i] = true
        count = count + 1
      end
      assert.equal(3000, count)
    end)

    it("gives quick results before a slow one when they need no order", function()
      -- on serial one after another is the order; on async a task that does not wait by cqueues stops all others, and
      -- async_spec.lua has those that do
      if helper.in_script[engine] then return end
      helper.with_directory(function(directory)
        local gate, first = directory .. "/gate", nil
        for i in parlua.imap(function(i)
          if i == 1 then
            while not io.open(gate) do parlua.map(identity, { 1 }) end -- until the other result has been seen
          end
          return i
        end, parlua.range(2), with { ordered = false, chunk = 1 }) do
          first = first or i
          helper.write(gate, "")
        end
        assert.equal(2, first)
      end)
    end)

    it("gives all results of a task that returns several, nil among them", function()
      local rows = {}
      for i, a, b, c in parlua.imap(function(x) return x, nil, "c" .. x end, { 1, 2 }, with()) do rows[i] = { a, b,
        c } end
      assert.same({ { 1, nil, "c1" }, { 2, nil, "c2" } }, rows)
      local counts = {}
      local step = parlua.imap(function(n) return unpack({ 1, 2, 3, 4 }, 1, n) end, { 0, 1, 2, 4 }, with())
      for _ = 1, 4 do counts[#counts + 1] = select("#", step()) - 1 end
      assert.equal(4, counts[4])
      assert.equal(2, counts[3])
      assert.is_nil((step()))
    end)

    it("gives nil, true, false, text and tables", function()
      local rows = {}
      for i, x in parlua.imap(function(i) return ({ true, false, nil, "text", { 5 } })[i] end, parlua.range(5),
        with()) do
        rows[i] = { x }
      end
      assert.same({ { true }, { false }, {}, { "text" }, { { 5 } } }, rows)
    end)

    it("passes over failed tasks, which the stream keeps", function()
      local indices = {}
      local step, stream = parlua.imap(function(i)
        if i % 3 == 0 then error("no " .. i) end
        return i
      end, parlua.range(10), with())
      for i in step, stream do indices[#indices + 1] = i end
      assert.same({ 1, 2, 4, 5, 7, 8, 10 }, indices)
      assert.equal(3, #stream.failures)
      assert.same({ 3, 6, 9 }, { stream.failures[1].index, stream.failures[2].index, stream.failures[3].index })
      local summary = stream:summary()
      assert.equal(7, summary.returned)
      assert.equal(3, summary.failed)
      assert.equal(10, summary.tasks)
    end)

    it("gives nothing when every task fails", function()
      local step, stream = parlua.imap(function() error("never") end, parlua.range(500), with())
      for _ in step, stream do error("not expected") end
      assert.equal(500, #stream.failures)
    end)

    it("does nothing when there are no tasks", function()
      for _ in parlua.imap(identity, {}, with()) do error("not expected") end
      for _ in parlua.imap(identity, parlua.range(0), with()) do error("not expected") end
      for _ in parlua.imap(identity, function() return nil end, with()) do error("not expected") end
    end)

    it("stays at its end", function()
      local step, stream = parlua.imap(identity, { 1 }, with())
      assert.equal(1, (step(stream)))
      assert.is_nil((step(stream)))
      assert.is_nil((step(stream)))
    end)

    it("may be left early, and collected", function()
      for _ = 1, 10 do
        for i in parlua.imap(identity, parlua.range(1e9), with()) do
          if i == 3 then break end
        end
      end
      collectgarbage()
      assert.same({ 1, 2, n = 2 }, (parlua.map(identity, { 1, 2 }, with())))
    end)

    it("can be closed, after which it gives nothing", function()
      local step, stream = parlua.imap(identity, parlua.range(1e9), with())
      assert.equal(1, (step(stream)))
      stream:close()
      stream:close()
      assert.is_nil((step(stream)))
    end)

    it("can be closed in its loop, which ends there though further results are ready", function()
      local step, stream = parlua.imap(identity, parlua.range(50), with { chunk = 50 })
      for i, x in step, stream do
        assert.is_true(i <= 2)
        assert.equal(i, x)
        if i == 2 then stream:close() end
      end
      assert.equal(2, stream:summary().returned)
    end)

    it("leaves errors of the loop's body to the caller", function()
      local ok, message = pcall(function()
        for i in parlua.imap(identity, parlua.range(1e6), with()) do
          if i == 10 then error("in the body") end
        end
      end)
      assert.is_false(ok)
      assert.truthy(message:find("in the body"))
      collectgarbage()
      assert.same({ 5, n = 1 }, (parlua.map(identity, { 5 }, with())))
    end)

    it("takes an endless generator, and asks it for no more than the window when the loop ends", function()
      local generator, given = naturals()
      for i, x in parlua.imap(function(x) return 2 * x end, generator, with { window = 100 }) do
        assert.equal(2 * i, x)
        if i == 1000 then break end
      end
      assert.is_true(given() >= 1000)
      assert.is_true(given() <= 1101, "asked for " .. given())
    end)

    it("holds workers back while the body is slow: at most `window` tasks ahead", function()
      local generator, given = naturals()
      local most, taken = 0, 0
      for _ in parlua.imap(identity, generator, with { window = 10, ordered = false }) do
        most = math.max(most, given() - taken)
        taken = taken + 1
        if taken == 200 then break end
      end
      assert.is_true(most <= 10, "was ahead by " .. most)
    end)

    it("gets along with a window of one", function()
      local n = 0
      for i, x in parlua.imap(identity, parlua.range(50), with { window = 1 }) do
        n = n + 1
        assert.equal(n, i)
        assert.equal(n, x)
      end
      assert.equal(50, n)
    end)

    it("streams an endless source also with large results", function()
      for i, text in parlua.imap(function(x) return ("x"):rep(400000 + x) end, naturals(), with()) do
        assert.equal(400000 + i, #text)
        if i == 30 then break end
      end
    end)

    it("serves several streams, one after another and at once", function()
      local total = 0
      for _ = 1, 5 do
        for _, x in parlua.imap(identity, parlua.range(100), with()) do total = total + x end
      end
      assert.equal(5 * 5050, total)
      local pairs_seen = {}
      local other = parlua.imap(function(x) return -x end, parlua.range(50), with())
      for i, x in parlua.imap(identity, parlua.range(50), with()) do
        local j, y = other()
        assert.equal(i, j)
        pairs_seen[i] = x + y
      end
      assert.equal(50, #pairs_seen)
      for i = 1, 50 do assert.equal(0, pairs_seen[i]) end
      assert.is_nil((other()))
    end)

    it("may stand in a loop inside another's body", function()
      local products = {}
      for _, x in parlua.imap(identity, { 2, 3 }, with()) do
        for _, y in parlua.imap(function(y) return x * y end, { 10, 20 }, with()) do products[#products + 1] = y end
      end
      assert.same({ 20, 40, 30, 60 }, products)
    end)

    it("runs each task once however often chunks are cut", function()
      for _ = 1, 30 do
        local iterator, stream = parlua.imap(function(x)
          if x % 26 == 0 and parlua.task.attempt < 2 then error("not yet", 0) end
          return x
        end, parlua.range(4000), with { window = 33, workers = 3, retries = 1 })
        local count = 0
        for _ in iterator do count = count + 1 end
        assert.equal(4000, count)
        assert.equal(4000, stream:summary().tasks)
      end
    end)

    it("gives late results in their place when a task is tried again", function()
      helper.with_directory(function(directory)
        local indices = {}
        for i, x in parlua.imap(function(i)
          local mark = directory .. "/" .. i
          if i % 10 == 0 and not io.open(mark) then
            io.open(mark, "w"):close()
            error("first try")
          end
          return -i
        end, parlua.range(60), with { retries = 1 }) do
          indices[#indices + 1] = i
          assert.equal(-i, x)
        end
        assert.equal(60, #indices)
        for i = 1, 60 do assert.equal(i, indices[i]) end
      end)
    end)

    it("raises at the first failure with on_error = \"halt\"", function()
      local last = 0
      local ok, failure = pcall(function()
        for i in parlua.imap(function(i)
          if i == 5 then error("five") end
          return i
        end, parlua.range(1e6), with { on_error = "halt", chunk = 1 }) do last = i end
      end)
      assert.is_false(ok)
      assert.equal(5, failure.index)
      assert.truthy(failure.message:find("five"))
      assert.is_true(last >= 0)
    end)

    it("raises what the generator raises at its first step", function()
      local ok, message = pcall(function()
        for _ in parlua.imap(identity, function() error("bad generator") end, with()) do error("not expected") end
      end)
      assert.is_false(ok)
      assert.truthy(tostring(message):find("arguments: .*bad generator"))
    end)
  end)
end)

describe("results ahead of their turn", function()
  helper.for_each_engine(function(engine)
    it("are bounded by their bytes, not only by their number", function()
      helper.with_directory(function(directory)
        -- The first task ends when no other has begun for a while: so many did not wait for it.
        local function task(i)
          local path = directory .. "/begun"
          if i > 1 then
            local file = io.open(path, "a")
            file:write("x")
            file:close()
            return ("x"):rep(2 ^ 20) .. i
          end
          local sleep, before, quiet = require("parlua.host").sleep, -1, 0
          while quiet < 10 do
            sleep(0.05)
            local file = io.open(path)
            local now = file and file:seek("end") or 0
            if file then file:close() end
            if now == before then quiet = quiet + 1 else before, quiet = now, 0 end
          end
          return tostring(before)
        end
        local ahead
        for i, value in parlua.imap(task, parlua.range(400), { engine = engine, workers = 2 }) do
          if i == 1 then ahead = tonumber(value) else assert.equal(2 ^ 20 + #tostring(i), #value) end
        end
        assert.is_true(ahead < 200, ahead)
      end)
    end)
  end, { "threads", "process" })
end)

describe("a worker that waits for room, as the loop does something else,", function()
  helper.for_each_engine(function(engine)
    it("has its next task timed from when that can begin", function()
      local sleep = require("parlua.host").sleep
      -- Two results fill a block, and four blocks are all that wait: the worker stops between two chunks.
      local function task(i)
        if i % 8 == 1 then require("parlua.host").sleep(0.15) end
        return ("x"):rep(100000)
      end
      local count = 0
      for i, value in parlua.imap(task, parlua.range(24), { engine = engine, workers = 1, chunk = 8, timeout = 1 }) do
        if i == 1 then sleep(2.5) end
        assert.equal(100000, #value)
        count = count + 1
      end
      assert.equal(24, count)
    end)
  end, { "threads", "process" })
end)
