local helper = require "spec.helper"

local local_random = math.random -- as a script may keep it
local parlua = require "parlua"

--- The chi-square statistic of counts that are to be equal.
local function chi_square(counts, bins)
  local total, sum = 0, 0
  for k = 1, bins do total = total + (counts[k] or 0) end
  for k = 1, bins do sum = sum + ((counts[k] or 0) - total / bins) ^ 2 / (total / bins) end
  return sum
end

--- Beyond five standard deviations of the statistic lies less than one case in ten thousand; the seeds are fixed.
local function is_plausible(statistic, bins)
  local degrees = bins - 1
  return math.abs(statistic - degrees) < 5 * math.sqrt(2 * degrees)
end

describe("math.random", function()
  --- What tasks 1..n draw in this state.
  local function expected(f, n, seed) return (parlua.map(f, parlua.range(n), { engine = "serial", seed = seed or 0 })) end

  local function three() return ("%.17g %.17g %d"):format(math.random(), math.random(), math.random(100)) end

  local function one() return math.random() end

  helper.for_each_engine(function(engine)
    local function with(options)
      local all = { engine = engine, workers = 2, seed = 0 }
      for name, value in pairs(options or {}) do all[name] = value end
      return all
    end

    it("gives a task the same numbers whatever the engine, workers and chunks", function()
      local numbers = expected(three, 500)
      for _, chunk in ipairs { 1, 13, 500 } do
        assert.same(numbers, (parlua.map(three, parlua.range(500), with { chunk = chunk, workers = 3 })))
      end
    end)

    it("goes by the seed", function()
      assert.same(expected(three, 50, 7), (parlua.map(three, parlua.range(50), with { seed = 7 })))
      assert.are_not.same(expected(three, 50), (parlua.map(three, parlua.range(50), with { seed = 7 })))
    end)

    it("is the same when the script keeps it in a local", function()
      local random = math.random
      assert.same(expected(one, 100), (parlua.map(function() return random() end, parlua.range(100), with())))
      assert.same(expected(one, 100), (parlua.map(function() return local_random() end, parlua.range(100), with())))
    end)

    it("is the same when a task is tried again", function()
      local numbers = expected(one, 40)
      local function retried(i)
        local x = math.random()
        if i % 3 == 0 and parlua.task.attempt < 3 then error("once more") end
        return x
      end
      assert.same(numbers, (parlua.map(retried, parlua.range(40), with { retries = 2 })))
      local list = parlua.reduce(retried, parlua.range(40), parlua.collect, with { retries = 2, block = 8 })
      for i = 1, 40 do assert.equal(numbers[i], list[i]) end
    end)

    it("is the same in reductions whose blocks workers fold", function()
      local numbers, list = expected(one, 3000), parlua.reduce(one, parlua.range(3000), parlua.collect, with())
      for i = 1, 3000 do assert.equal(numbers[i], list[i]) end
    end)

    it("draws integers between its arguments", function()
      local bounds = parlua.map(function()
        local least, most = math.huge, -math.huge
        for _ = 1, 1000 do
          local x, y = math.random(-3, 3), math.random(5)
          least, most = math.min(least, x), math.max(most, x)
          assert(x % 1 == 0 and y % 1 == 0 and y >= 1 and y <= 5)
        end
        return least * 100 + most
      end, parlua.range(4), with())
      assert.same({ -297, -297, -297, -297, n = 4 }, bounds)
    end)

    it("refuses what is no number", function()
      local messages = parlua.map(function(i)
        if i == 1 then return (select(2, pcall(math.random, {}))) end
        return (select(2, pcall(math.random, nil)))
      end, parlua.range(2), with())
      assert.same({ "bad argument #1 to 'random' (number expected, got table)",
        "bad argument #1 to 'random' (number expected, got nil)", n = 2 }, messages)
    end)

    it("can be seeded in a task, for the rest of that task", function()
      local numbers = parlua.map(function(i)
        if i % 2 == 1 then math.randomseed(99) end
        return math.random()
      end, parlua.range(6), with { chunk = 3 })
      assert.equal(numbers[1], numbers[3])
      assert.equal(numbers[1], numbers[5])
      local others = expected(one, 6)
      for _, i in ipairs { 2, 4, 6 } do assert.equal(others[i], numbers[i]) end
    end)

    it("draws other numbers in the nested calls of each task, and goes on after one", function()
      local function nested() return parlua.map(one, { 1, 2 })[1] end
      local numbers = parlua.map(nested, parlua.range(4), with())
      assert.same(expected(nested, 4), numbers)
      for i = 2, 4 do assert.are_not.equal(numbers[1], numbers[i]) end
      local function between(is_nested)
        local a = math.random()
        if is_nested then parlua.map(one, { 1, 2, 3 }) end
        return a + math.random()
      end
      assert.equal(parlua.map(between, { false }, with())[1], parlua.map(between, { true }, with())[1])
    end)

    it("stands beside parlua.task, which tells index, attempt and worker", function()
      local task, workers = parlua.task, helper.workers * (require("parlua.host").ranks() or 1)
      local told = parlua.map(function()
        if task.index == 3 and task.attempt == 1 then error("again") end
        return { parlua.task.index, task.attempt, task.worker >= 1 and task.worker <= workers }
      end, parlua.range(4), with { retries = 1 })
      assert.same({ { 1, 1, true }, { 2, 1, true }, { 3, 2, true }, { 4, 1, true }, n = 4 }, told)
      assert.is_nil(parlua.task.index)
    end)
  end)

  describe("over the calls of a program", function()
    local head = [[
      local parlua = require "parlua"
      local function draw() return math.random() end
      local function map(options) return parlua.map(draw, { 1, 2 }, options)[1] end
      local seen, same = {}, 0
      local function tell(name, number) -- as a letter: the same number is the same letter
        local letter = seen[number]
        if not letter then
          same = same + 1
          letter = string.char(96 + same)
          seen[number] = letter
        end
        io.write(name, ":", letter, " ")
      end
      local function number(x) io.write(("%.17g "):format(x)) end
    ]]

    --- What the script prints on each engine, which is the same.
    local function output(text, options)
      return helper.with_directory(function(directory)
        local path, all = helper.write(directory .. "/script.lua", head .. text), nil
        for _, engine in ipairs(helper.engines) do
          local result = helper.run_parlua((options or "") .. " --engine " .. engine .. " " .. path)
          assert.equal("", result.stderr)
          all = all or result.stdout
          assert.equal(all, result.stdout)
        end
        return all
      end)
    end

    it("draws other numbers in each call, of whatever kind, and the same ones in each run of the program", function()
      local text = [[
        number(map()) number(map())
        for i, x in parlua.imap(draw, { 1 }) do number(x) end
        number((parlua.reduce(draw, { 1 }, parlua.sum)))
        number((parlua.reduce(draw, { 1 }, { init = 0, step = function(a, b) return a + b end })))
        number((select(2, parlua.find(draw, { 1 }))))
        local a, b = parlua.submit(draw), parlua.submit(draw)
        number(b:get()) number(a:get())
        local pool = parlua.pool { workers = 1 }
        number(pool:map(draw, { 1 })[1]) number(pool:submit(draw):get())
      ]]
      local first, count, seen = output(text), 0, {}
      for word in first:gmatch "%S+" do
        assert.is_nil(seen[word])
        seen[word], count = true, count + 1
      end
      assert.equal(10, count)
      assert.equal(first, output(text))
      assert.are_not.equal(first, output(text, "--seed 1"))
    end)

    it("depends on the seed alone in a call that is given one", function()
      assert.equal("a:a b:b c:a d:a pool:a ", output [[
        tell("a", map { seed = 7 }) tell("b", map()) tell("c", map { seed = 7 })
        tell("d", (parlua.reduce(draw, { 1 }, parlua.sum, { seed = 7 })))
        tell("pool", parlua.pool { seed = 3 }:map(draw, { 1 }, { seed = 7 })[1])
      ]])
    end)

    it("takes the seed of a pool for the pool's calls, which differ", function()
      assert.equal("1:a 2:b 3:c again:a ", output [[
        local pool = parlua.pool { seed = 3, workers = 1 }
        math.randomseed(1)
        for k = 1, 3 do tell(k, pool:map(draw, { 1 })[1]) end
        math.randomseed(1)
        tell("again", pool:map(draw, { 1 })[1])
      ]])
    end)

    it("counts anew from math.randomseed on, which sets the seed", function()
      assert.equal("1:a 2:b 1:c 2:d 1:c 2:d 1:e ", output [[
        tell(1, map()) tell(2, map())
        for _ = 1, 2 do
          math.randomseed(42)
          tell(1, map()) tell(2, parlua.submit(draw):get())
        end
        math.randomseed(43)
        tell(1, map())
      ]])
    end)

    it("draws in a submitted call what the only task of a call would", function()
      assert.equal("map:a submit:a ", output [[
        math.randomseed(5)
        tell("map", map())
        math.randomseed(5)
        tell("submit", parlua.submit(draw):get())
      ]])
    end)

    it("goes, in a call inside a task, by the task's own stream and the number of the call in the task", function()
      local text = [[
        local function nested()
          local a, b = map(), map()
          local c = parlua.submit(draw):get()
          return { a, b, c, (parlua.reduce(draw, { 1 }, parlua.sum)), map { seed = 9 }, draw() }
        end
        for _, options in ipairs { {}, { chunk = 1 }, { seed = 5 }, { seed = 5, retries = 1 } } do
          for _, list in ipairs(parlua.map(function(i)
            local list = nested()
            if options.retries and parlua.task.attempt == 1 then error("once more") end
            return list
          end, parlua.range(3), options)) do
            for k, x in ipairs(list) do tell(k, x) end
          end
          print()
        end
      ]]
      local lines = {}
      for line in output(text):gmatch "[^\n]+" do lines[#lines + 1] = line end
      assert.equal("1:a 2:b 3:c 4:d 5:e 6:f 1:g 2:h 3:i 4:j 5:e 6:k 1:l 2:m 3:n 4:o 5:e 6:p ", lines[1])
      assert.equal(lines[3], lines[4])
      assert.are_not.equal(lines[1], lines[2])
    end)

    it("begins its nested calls anew at math.randomseed in the task", function()
      assert.equal("1:a 2:a 3:b ", output [[
        local list = parlua.map(function()
          math.randomseed(4)
          local a = map()
          math.randomseed(4)
          return { a, map(), map() }
        end, { 1 })[1]
        for k, x in ipairs(list) do tell(k, x) end
      ]])
    end)

    it("is the same when a run goes on from a journal", function()
      helper.with_directory(function(directory)
        local path = helper.write(directory .. "/script.lua", head .. [[
          for _ = 1, 2 do
            local numbers = parlua.map(function(i)
              if i == 2 and os.getenv "FAILS" then error "not yet" end
              return math.random()
            end, { 1, 2 })
            print(numbers[1], numbers[2])
          end
        ]])
        local function run(options, env)
          return helper.run_parlua(options .. " " .. path, { directory = directory, env = env }).stdout
        end
        local whole = run ""
        run("--journal run.db", { FAILS = "1" })
        assert.equal(whole, run "--journal run.db --resume --retry-failed")
      end)
    end)
  end)

  it("is the same in nested calls under --seed, on every engine", function()
    helper.with_directory(function(directory)
      local path = helper.write(directory .. "/script.lua", [[
        local parlua = require "parlua"
        math.randomseed(9)
        print(parlua.map(function() return parlua.map(function() return math.random() end, { 1 })[1] end, { 1 })[1])
      ]])
      for _, seed in ipairs { "", "--seed 5 " } do
        local serial_output = helper.run_parlua(seed .. "--engine serial " .. path).stdout
        assert.truthy(tonumber(serial_output))
        for _, engine in ipairs(helper.engines) do
          assert.equal(serial_output, helper.run_parlua(seed .. "--engine " .. engine .. " " .. path).stdout)
        end
      end
    end)
  end)

  it("outside of tasks is LuaJIT's own: seeded, it repeats, and runs do not disturb it", function()
    math.randomseed(3)
    local a, b = math.random(), math.random(10)
    math.randomseed(3)
    assert.equal(a, math.random())
    parlua.map(one, parlua.range(3), { engine = "serial" })
    assert.equal(b, math.random(10))
    local ok, message = pcall(function() math.random({}) end)
    assert.is_false(ok)
    assert.truthy(message:find("bad argument #1 to 'random' (number expected, got table)", 1, true))
  end)

  describe("in neighbouring tasks", function()
    local tasks, bins = 1e5, 100

    for seed = 0, 2 do
      it("is even and independent (seed " .. seed .. ")", function()
        local first, second = {}, {}
        for i, a, b in parlua.imap(function() return math.random(), math.random() end, parlua.range(tasks),
          { engine = "threads", workers = 2, seed = seed }) do
          first[i], second[i] = a, b
        end
        local firsts, neighbours, within = {}, {}, {}
        local function add(counts, bin) counts[bin] = (counts[bin] or 0) + 1 end
        for i = 1, tasks do
          add(firsts, math.floor(first[i] * bins) + 1)
          add(within, math.floor(first[i] * 10) * 10 + math.floor(second[i] * 10) + 1)
          if i % 2 == 0 then add(neighbours, math.floor(first[i - 1] * 10) * 10 + math.floor(first[i] * 10) + 1) end
        end
        for _, counts in ipairs { firsts, neighbours, within } do
          assert.is_true(is_plausible(chi_square(counts, bins), bins), chi_square(counts, bins))
        end
        for _, lag in ipairs { 1, 2, 64, 1024 } do
          local sum = 0
          for i = 1, tasks - lag do sum = sum + (first[i] - 0.5) * (first[i + lag] - 0.5) end
          -- of independent draws: mean 0, and 1/12 the standard deviation of each product
          assert.is_true(math.abs(sum) < 5 / 12 * math.sqrt(tasks - lag), "lag " .. lag)
        end
      end)
    end
  end)
end)
