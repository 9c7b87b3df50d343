--- Tasks that make tasks: what they hand to their run comes in the same results, whatever the engine.
local helper = require "spec.helper"
local parlua = require "parlua"

local has_cqueues = pcall(require, "cqueues")

local function on_each(body)
  helper.for_each_engine(body)
  if has_cqueues then describe("engine async:", function() body("async") end) end
end

--- A tree: each node spawns two below it.
local function visit(k, depth)
  if depth < 3 then
    parlua.spawn(visit, 2 * k, depth + 1)
    parlua.spawn(visit, 2 * k + 1, depth + 1)
  end
  return k
end

local function root(k) return visit(k, 1) end

describe("parlua.spawn", function()
  on_each(function(engine)
    local options = helper.options(engine)

    it("hands tasks to a map: their results follow those of the source, generation by generation", function()
      local results, failures, summary = parlua.map(root, { 1, 10 }, options())
      assert.same({ 1, 10, 2, 3, 20, 21, 4, 5, 6, 7, 40, 41, 42, 43, n = 14, parents = {
        [3] = 1, [4] = 1, [5] = 2, [6] = 2, [7] = 3, [8] = 3, [9] = 4, [10] = 4, [11] = 5, [12] = 5, [13] = 6, [14] = 6,
      } }, results)
      assert.same({ 0, 14, 14, 0 }, { #failures, summary.tasks, summary.returned, summary.cancelled })
    end)

    it("hands them to a stream, in order or as they end, each with its parent", function()
      local seen = {}
      local each, stream = parlua.imap(root, { 1, 10 }, options())
      for index, k in each do seen[#seen + 1] = ("%d:%d<%s"):format(index, k, stream:parent(index) or "") end
      assert.equal("1:1< 2:10< 3:2<1 4:3<1 5:20<2 6:21<2 7:4<3 8:5<3 9:6<4 10:7<4 11:40<5 12:41<5 13:42<6 14:43<6",
        table.concat(seen, " "))
      local sum, value_of, parent_of = 0, {}, {}
      each, stream = parlua.imap(root, { 1, 10 }, options { ordered = false })
      for index, k in each do
        sum, value_of[index], parent_of[k] = sum + k, k, stream:parent(index)
      end
      assert.equal(245, sum)
      for k, parent in pairs(parent_of) do assert.equal(math.floor(k / 2), value_of[parent]) end
    end)

    it("hands them to a reduction, in the same order", function()
      assert.equal(245, (parlua.reduce(root, { 1, 10 }, parlua.sum, options())))
      local reduction = { init = "", step = function(text, k) return text .. " " .. k end }
      assert.equal(" 1 10 2 3 20 21 4 5 6 7 40 41 42 43", (parlua.reduce(root, { 1, 10 }, reduction, options())))
    end)

    it("takes a source whose end is not known, and ends when nothing is left", function()
      local function numbers()
        return coroutine.wrap(function()
          for k = 1, 4 do coroutine.yield(k) end
        end)
      end
      local results = parlua.map(function(k)
        parlua.spawn(function(x) return { x, "of " .. x } end, k)
        return k
      end, numbers(), options())
      assert.same({ 1, 2, 3, 4, { 1, "of 1" }, { 2, "of 2" }, { 3, "of 3" }, { 4, "of 4" }, n = 8,
        parents = { [5] = 1, [6] = 2, [7] = 3, [8] = 4 } }, results)
    end)

    it("counts what a task has spawned when it returns, not what a try that failed has", function()
      local results = parlua.map(function(k)
        parlua.spawn(function() return "of try " .. parlua.task.depth end)
        if parlua.task.attempt == 1 then error("again") end
        return k
      end, { 7 }, options { retries = 1 })
      assert.same({ 7, "of try 1", n = 2, parents = { [2] = 1 } }, results)
      local _, failures, summary = parlua.map(function()
        parlua.spawn(print)
        error("for good", 0)
      end, { 7 }, options())
      assert.same({ "for good", 1 }, { failures[1].message, summary.tasks })
    end)

    it("retries spawned tasks, and tells of those that fail by their index and parent", function()
      local results, failures = parlua.map(function(k)
        parlua.spawn(function(x)
          if parlua.task.attempt == 1 then error("not yet") end
          return "try " .. parlua.task.attempt .. " of " .. x
        end, k)
        return k
      end, { 1, 2 }, options { retries = 1 })
      assert.same({ 0, "try 2 of 1", "try 2 of 2" }, { #failures, results[3], results[4] })
      failures = select(2, parlua.map(function(k)
        parlua.spawn(function(x) if x == 2 then error("no " .. x, 0) end end, k)
      end, { 1, 2, 3 }, options()))
      assert.equal(1, #failures)
      assert.same({ 5, 2, { 2, n = 1 }, "no 2" },
        { failures[1].index, failures[1].parent, failures[1].args, failures[1].message })
    end)

    if engine ~= "serial" then
      it("ends a spawned task at its time limit, and no other", function()
        local path = os.tmpname()
        os.remove(path)
        local function work(x)
          local sleep = engine == "async" and require("cqueues").sleep or require("parlua.host").sleep
          while x == 2 and not io.open(path) do sleep(0.01) end
          return x
        end
        local results, failures, summary = parlua.map(function(k)
          for x = 1, 3 do parlua.spawn(work, x * k) end
          return k
        end, { 1, 10 }, options { timeout = 0.25, retries = 1, backoff = 0 })
        io.open(path, "w"):close() -- a thread that was given up ends
        helper.let_threads_rest()
        os.remove(path)
        assert.same({ 1, 10, 1, nil, 3, 10, 20, 30 }, { unpack(results, 1, 8) })
        assert.same({ 1, 4, 1, "timeout", "the task took more than 0.25 s", 2, { 2, n = 1 } }, { #failures, failures[1].index,
          failures[1].parent, failures[1].kind, failures[1].message, failures[1].attempts, failures[1].args })
        assert.same({ 8, 7, 1 }, { summary.tasks, summary.returned, summary.failed })
      end)
    end

    it("halts at a spawned task that fails", function()
      local ok, failure = pcall(parlua.map, function(k)
        parlua.spawn(function() error("deep", 0) end)
        return k
      end, { 1 }, options { on_error = "halt" })
      assert.is_false(ok)
      assert.equal("deep", failure.message)
    end)

    it("gives each its own random numbers, which depend on its parent and its place alone", function()
      local function draw()
        return (parlua.map(function()
          parlua.spawn(math.random, 1e6)
          parlua.spawn(function() return math.random(1e6) end)
          return math.random(1e6)
        end, { 1, 2, 3 }, options { seed = 4 }))
      end
      local first = draw()
      assert.same(first, draw())
      local seen = {}
      for k = 1, first.n do
        assert.is_nil(seen[first[k]])
        seen[first[k]] = true
      end
      assert.same(parlua.map(function(k) return first[k] end, parlua.range(9), options()), { n = 9, unpack(first) })
    end)

    it("takes large arguments and many tasks", function()
      local results = parlua.map(function()
        for k = 1, 500 do parlua.spawn(function(x) return x end, k) end
        parlua.spawn(string.len, ("x"):rep(300000))
        return 0
      end, { 1, 2 }, options())
      assert.equal(1004, results.n)
      assert.same({ 1, 500, 300000, 300000 }, { results[3], results[502], results[503], results[1004] })
    end)

    it("says where it can't be used", function()
      local function message_of(f) return (tostring(select(2, pcall(f)))) end
      assert.truthy(message_of(function() parlua.spawn(print) end):find "spawn: no task runs here")
      local _, failures = parlua.map(function() parlua.spawn(5) end, { 1 }, options())
      assert.truthy(failures[1].message:find "spawn: a function is expected, got number$")
      local pool = parlua.pool(options())
      assert.truthy(message_of(function() pool:submit(function() parlua.spawn(print) end):get() end)
        :find "spawn: a submitted call is one call")
      assert.same({ 1, 2, 3, n = 3, parents = { [2] = 1, [3] = 1 } },
        (pool:map(function() return visit(1, 2) end, { 1 })))
      pool:close()
    end)
  end)

  helper.for_each_engine(function(engine)
    it("loses nothing when a worker dies: its task is tried again, with all that it spawns", function()
      helper.with_directory(function(directory)
        local results, failures = parlua.map(function(k)
          for j = 1, 20 do parlua.spawn(function(x) return x end, 100 * k + j) end
          local mark = directory .. "/" .. k
          if k % 3 == 0 and not io.open(mark) then
            io.open(mark, "w"):close()
            os.exit(3)
          end
          return k
        end, parlua.range(9), { engine = engine, workers = 2, retries = 1 })
        assert.same({ 0, 189 }, { #failures, results.n })
        for k = 1, 9 do
          for j = 1, 20 do assert.equal(100 * k + j, results[9 + 20 * (k - 1) + j]) end
        end
      end)
    end)
  end, { "process" })
end)
