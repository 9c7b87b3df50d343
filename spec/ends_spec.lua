--- Where a run ends that ends early: at a task, found in the order of the tasks. What lies behind it does not count, whatever the engine, the
--- chunks and the timing.
local helper = require "spec.helper"
local parlua = require "parlua"

describe("the end of a run that ends early", function()
  helper.for_each_engine(function(engine)
    local chunks = { 1, 3, 64, false }

    --- Calls a function with options for each size of chunks; what it returns must be the same each time.
    local function same_for_chunks(expected, call)
      for _, chunk in ipairs(chunks) do
        assert.same(expected, call { engine = engine, workers = 3, chunk = chunk })
      end
    end

    local function with(options, more)
      for name, value in pairs(more) do options[name] = value end
      return options
    end

    local function numbers(summary, failures)
      local indices = {}
      for k, failure in ipairs(failures) do indices[k] = failure.index end
      return { summary.tasks, summary.returned, summary.failed, summary.cancelled, table.concat(indices, " ") }
    end

    --- Every 10th task fails, and all behind 95 do.
    local function late(i)
      if i % 10 == 0 or i > 95 then error("late", 0) end
      return i
    end

    it("is the last result that a loop over imap took before it was left", function()
      same_for_chunks({ 14, 13, 1, 86, "10" }, function(options)
        local stream = parlua.imap(late, parlua.range(100), options)
        for i in stream do
          if i == 14 then break end
        end
        stream:close()
        local summary = stream:summary()
        return numbers(summary, stream.failures)
      end)
    end)

    it("is the n-th failure with max_failures", function()
      same_for_chunks({ 30, 27, 3, 970, "10 20 30" }, function(options)
        local results, failures, summary = parlua.map(late, parlua.range(1000), with(options, { max_failures = 3 }))
        assert.same({ 29, nil, nil, 1000 }, { results[29], results[30], results[31], results.n })
        assert.equal("3 tasks failed (max_failures = 3)", summary.stopped)
        return numbers(summary, failures)
      end)
    end)

    it("is the n-th failure also where the number of tasks is not known", function()
      same_for_chunks({ 30, 27, 3, 0, "10 20 30", 30 }, function(options)
        local i = 0
        local results, failures, summary = parlua.map(late, function()
          i = i + 1
          if i <= 5000 then return i end
        end, with(options, { max_failures = 3 }))
        local all = numbers(summary, failures)
        all[6] = results.n
        return all
      end)
    end)

    it("is the task at which the share of failures is too large", function()
      same_for_chunks({ 103, 86, 17, 897, "10 20 30 40 50 60 70 80 90 96 97 98 99 100 101 102 103" }, function(options)
        local _, failures, summary = parlua.map(late, parlua.range(1000), with(options, { max_failures = "16%" }))
        return numbers(summary, failures)
      end)
      same_for_chunks({ 20, 0, 20, 980, "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20" }, function(options)
        local _, failures, summary = parlua.map(error, parlua.range(1000), with(options, { max_failures = "5%" }))
        return numbers(summary, failures)
      end)
    end)

    it("is the first failure with halt, which is raised", function()
      same_for_chunks({ 10, "late" }, function(options)
        local ok, failure = pcall(parlua.map, late, parlua.range(1000), with(options, { on_error = "halt" }))
        assert.is_false(ok)
        return { failure.index, failure.message }
      end)
    end)

    it("is the task at which a fold has enough", function()
      same_for_chunks({ 26, 24, 2, 974, "10 20", 321 }, function(options)
        local value, failures, summary = parlua.reduce(late, parlua.range(1000), {
          init = 0, step = function(a, v) return a + v end, stop = function(a) return a > 300 end,
        }, options)
        local all = numbers(summary, failures)
        all[6] = value
        return all
      end)
    end)

    it("is the first hit of a search", function()
      same_for_chunks({ 42, 38, 4, 958, "10 20 30 40", 42 }, function(options)
        local index, _, failures, summary = parlua.find(function(i) return late(i) == 42 end, parlua.range(1000), options)
        local all = numbers(summary, failures)
        all[6] = index
        return all
      end)
    end)

    it("is before the failures behind the stop of a job, whose status is that of what counts", function()
      helper.with_directory(function(directory)
        helper.write(directory .. "/job.lua", [[
          return { arguments = require("parlua").range(1, 100000), stop = function(r) return r == 5 end,
            map = function(i) if i > 5 then error("late") end return i end }
        ]])
        helper.write(directory .. "/fold.lua", [[
          return { arguments = require("parlua").range(1, 100000), stop = function(s) return s >= 15 end,
            reduce = { init = 0, step = function(a, b) return a + b end },
            map = function(i) if i > 5 then error("late") end return i end }
        ]])
        for _, name in ipairs { "job", "fold" } do
          for _, chunk in ipairs { 1, 4, 64 } do
            local result = helper.run(("%s --chunk %d --format text %s.lua"):format(helper.command(engine), chunk, name),
              { directory = directory })
            assert.equal(0, result.status, result.stderr)
            assert.equal(name == "job" and "1\n2\n3\n4\n5\n" or "15\n", result.stdout)
            assert.matches("^parlua: 5 tasks, 5 returned, 0 failed, 99995 cancelled,", result.stderr)
          end
        end
      end)
    end)

    it("leaves tasks before it alone, however long they take", function()
      local results, failures = parlua.map(function(i)
        if i == 1 then require("parlua.host").sleep(0.3) end
        if i == 3 then error("third", 0) end
        return i
      end, parlua.range(100), { engine = engine, workers = 2, chunk = 1, max_failures = 1 })
      assert.same({ 1, 2, 1, 3 }, { results[1], results[2], #failures, failures[1].index })
    end)
  end)
end)

describe("what is open when a call raises before its first task", function()
  it("is closed: a journal whose source can't be opened can be used again", function()
    helper.with_directory(function(directory)
      helper.write(directory .. "/s.lua", [[
        local parlua = require "parlua"
        for _, source in ipairs { function() return parlua.lines("/nonexistent") end, function() return parlua.csv("/nonexistent") end,
                                  function() return parlua.range(0, 10, 0) end, function() return function() error("at once", 0) end end } do
          print((pcall(function() parlua.map(tostring, source(), { journal = "j.db", force = true }) end)))
          local again = io.popen("exec " .. arg[1] .. [=[ -e 'print((pcall(require("parlua").map, tostring, {1},
            { journal = "j.db", force = true })))']=])
          print(again:read("*a"))
          again:close()
        end
      ]])
      local result = helper.run(helper.quote(helper.parlua) .. " s.lua " .. helper.quote(helper.parlua), { directory = directory })
      assert.equal(("false\ntrue\n\n"):rep(4), result.stdout, result.stderr)
    end)
  end)
end)

describe("a pool", function()
  helper.for_each_engine(function(engine)
    it("takes a stream of its own as the source of a call, and what can be called as a function", function()
      local pool = parlua.pool { engine = engine, workers = 2 }
      local results = pool:map(function(i, x) return i * 100 + x end, pool:imap(function(x) return x + 1 end, parlua.range(20)))
      assert.same({ 102, 2021, 20 }, { results[1], results[20], results.n })
      assert.equal(230, (pool:reduce(function(_, x) return x end, (pool:imap(function(x) return x + 1 end, parlua.range(20))), parlua.sum)))
      local callable = setmetatable({}, { __call = function(_, x) return x * 2 end })
      assert.equal(10, pool:submit(callable, 5):get())
      local result = helper.run_parlua("-", { stdin = [[
        local callable = setmetatable({}, { __call = function(_, x) return x * 2 end })
        print(require("parlua").submit(callable, 6):get())
      ]] })
      assert.equal("12\n", result.stdout, result.stderr)
      pool:close()
    end)
  end)
end)
