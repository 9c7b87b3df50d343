--- The workers of a pool: they stay from call to call, get what the script has changed meanwhile, call what they are
--- told once, and make room for new ones.
local ffi = require "ffi"
local helper = require "spec.helper"
local parlua = require "parlua"

ffi.cdef "int getpid(void); int kill(int pid, int signal);"

local forked = { "process" }
local with_workers = { "threads", "process", "mpi" }

--- The processes that tasks run in, sorted.
local function processes(pool)
  local seen, list = {}, {}
  for _, pid in ipairs((pool:map(function() return ffi.C.getpid() end, parlua.range(40), { chunk = 1 }))) do
    if not seen[pid] then
      seen[pid] = true
      list[#list + 1] = pid
    end
  end
  table.sort(list)
  return list
end

local function is_among(list, pid)
  for _, each in ipairs(list) do
    if each == pid then return true end
  end
  return false
end

describe("the workers of a pool", function()
  local pool

  after_each(function()
    if pool then pool:close() end
  end)

  helper.for_each_engine(function(engine)
    it("stay from call to call, whatever the function", function()
      pool = parlua.pool { engine = engine, workers = 1 }
      local first = processes(pool)
      assert.same({ 1, 4, 9, n = 3 }, (pool:map(function(x) return x * x end, { 1, 2, 3 })))
      assert.equal(10, (pool:reduce(function(x) return x end, parlua.range(4), parlua.sum)))
      local sum = 0
      for _, value in pool:imap(function(x) return x end, parlua.range(1000)) do sum = sum + value end
      assert.equal(500500, sum)
      assert.equal(0, #pool:each(tostring, { 1, 2 }))
      assert.same(first, processes(pool))
    end)

    it("are other processes for a call whose function can't be sent, which works all the same", function()
      pool = parlua.pool { engine = engine, workers = 1 }
      local first, file = processes(pool), io.tmpfile()
      local results = pool:map(function() return { io.type(file), ffi.C.getpid() } end, { 1 })
      assert.equal("file", results[1][1])
      assert.are_not.equal(first[1], results[1][2])
      assert.same(first, processes(pool))
      file:close()
    end)

    it("that died are replaced, the others stay", function()
      pool = parlua.pool { engine = engine, workers = 2 }
      local first = processes(pool)
      local results, failures = pool:map(function(x)
        if x == 2 then os.exit(3) end
        return ffi.C.getpid()
      end, { 1, 2, 3 }, { chunk = 1 })
      assert.same({ "crash", "the worker exited with status 3" }, { failures[1].kind, failures[1].message })
      assert.is_nil(results[2])
      local later = processes(pool)
      local kept = 0
      for _, pid in ipairs(first) do kept = kept + (is_among(later, pid) and 1 or 0) end
      assert.is_true(kept < #first or #first == 1)
    end)

    it("that are in tasks when the loop over imap is left do not disturb the next call", function()
      pool = parlua.pool { engine = engine, workers = 2 }
      for _ = 1, 3 do
        local step, stream = pool:imap(function(x)
          if x > 1 then require("parlua.host").sleep(60) end
          return x
        end, parlua.range(10), { chunk = 1 })
        assert.equal(1, select(2, step(stream)))
        step, stream = nil, nil -- luacheck: ignore 311
        collectgarbage()
        collectgarbage()
        assert.same({ 2, 3, n = 2 }, (pool:map(function(x) return x + 1 end, { 1, 2 })))
      end
    end)
  end, forked)

  helper.for_each_engine(function(engine)
    before_each(function() pool = parlua.pool { engine = engine, workers = 2 } end)

    it("see what functions hold, and globals, as they are at each call", function()
      local held = { n = 1 }
      for k = 1, 3 do
        held.n, _G.kept_spec_global = k, { 10 * k }
        local function look(x) return x + held.n + _G.kept_spec_global[1] end
        assert.same({ 11 * k, n = 1 }, (pool:map(look, { 0 })))
        assert.equal(11 * k + 1, pool:submit(look, 1):get())
      end
      _G.kept_spec_global = nil
    end)

    it("see what the tables of a submitted function hold, however deep, each time that it is submitted", function()
      local Counter = { step = 1 }
      Counter.__index = Counter
      local key = {}
      local held = { deep = { er = { n = 0 } }, [key] = setmetatable({ n = 0 }, Counter), list = {} }
      local function helper_of() return held.deep.er.n end
      local function look() return held.deep.er.n + held[key].step + #held.list + helper_of() end
      pool:submit(look):get()
      local changes = {
        function() held.deep.er.n = held.deep.er.n + 10 end,
        function() Counter.step = Counter.step + 100 end,
        function() held.list[#held.list + 1] = true end,
        function() held.deep = { er = { n = 7 } } end,
        function() debug.setmetatable(held[key], { __index = { step = -5 } }) end,
        function() helper_of = function() return 0.5 end end,
      }
      for _ = 1, 2 do
        for _, change in ipairs(changes) do
          for _ = 1, 3 do assert.equal(look(), pool:submit(look):get()) end
          change()
          assert.equal(look(), pool:submit(look):get())
        end
      end
    end)

    it("give objects back with their classes, and take new ones", function()
      for _ = 1, 2 do
        local Class = { name = "of this turn" }
        Class.__index = Class
        local object = setmetatable({ x = 3 }, Class)
        local results = pool:map(function(o)
          o.x = o.x + 1
          return o
        end, { object, object })
        assert.equal(Class, getmetatable(results[2]))
        assert.same({ 4, "of this turn" }, { results[2].x, results[2].name })
      end
    end)

    it("take arrays that were made after they began", function()
      pool:map(tostring, { 1 })
      local array = parlua.array("double", { 1, 2, 3 })
      assert.equal(6, pool:map(function() return array:sum() end, { 1 })[1])
      assert.equal(6, pool:map(function(a) return a:sum() end, { array })[1])
      local into = parlua.array("double", 4)
      pool:map(function(x) return x * x end, parlua.range(4), { into = into })
      assert.equal(30, into:sum())
    end)

    if engine ~= "mpi" then
      it("write into arrays that were made after they began", function()
        pool:map(tostring, { 1 })
        for _, n in ipairs { 4, 40000 } do
          local held, given = parlua.array("double", n), parlua.array("double", n)
          pool:map(function(array, k) held[k], array[k] = k, -k end, parlua.zip({ given, given }, { 1, 2 }))
          assert.same({ 1, 2, 0, -1, -2, 0 }, { held[1], held[2], held[3], given[1], given[2], given[3] })
        end
      end)
    end

    it("take tasks from texts and generators", function()
      helper.with_directory(function(directory)
        local path = helper.write(directory .. "/lines", "a\nbb\nccc\n")
        assert.same({ 1, 2, 3, n = 3 }, (pool:map(string.len, parlua.lines(path))))
        assert.same({ 2, 4, n = 2 }, (pool:map(function(x) return 2 * x end, coroutine.wrap(function()
          coroutine.yield(1)
          coroutine.yield(2)
        end))))
      end)
    end)
  end)
end)

describe("pool:everywhere", function()
  local pool

  after_each(function()
    if pool then pool:close() end
  end)

  helper.for_each_engine(function(engine)
    it("has each worker call a function once, and returns what it gave in each", function()
      pool = parlua.pool { engine = engine, workers = 2 }
      _G.kept_spec_calls = nil
      local results = pool:everywhere(function()
        _G.kept_spec_calls = (_G.kept_spec_calls or 0) + 1
        return _G.kept_spec_calls
      end)
      assert.equal(helper.in_script[engine] and 1 or engine == "mpi" and results.n or 2, results.n)
      for k = 1, results.n do assert.equal(1, results[k]) end
      local function look(x) return _G.kept_spec_calls * x end
      assert.same({ 1, 2, 3, n = 3 }, (pool:map(look, { 1, 2, 3 })))
      assert.equal(4, pool:submit(look, 4):get())
      assert.equal(6, (pool:reduce(look, parlua.range(3), parlua.sum)))
      pool:everywhere(function() _G.kept_spec_calls = 10 end)
      assert.equal(50, pool:submit(look, 5):get())
      assert.same({ 10, n = 1 }, (pool:map(look, { 1 })))
      _G.kept_spec_calls = nil
    end)

    it("raises what the function raises, and forgets it", function()
      pool = parlua.pool { engine = engine, workers = 2 }
      local ok, problem = pcall(pool.everywhere, pool, function() error("no licence", 0) end)
      assert.is_false(ok)
      assert.truthy(tostring(problem):find("no licence", 1, true), tostring(problem))
      assert.is_nil(tostring(problem):find("parlua/", 1, true), tostring(problem)) -- the runner's own lines
      assert.matches("^everywhere at %S-kept_spec%.lua:%d+ failed: no licence\nstack traceback:\n", problem)
      assert.same({ 2, n = 1 }, (pool:map(function(x) return x + 1 end, { 1 })))
      assert.equal(3, pool:submit(function() return 3 end):get())
    end)

    it("refuses what is no function, and a pool that is closed", function()
      pool = parlua.pool { engine = engine, workers = 1 }
      assert.has_error(function() pool:everywhere(3) end, "everywhere: a function is expected, got number")
      pool:close()
      assert.has_error(function() pool:everywhere(print) end, "the pool is closed")
    end)

    it("asks the workers that the command line sets", function()
      if engine == "mpi" then return end -- a program of its own would spawn its ranks
      local result = helper.run(helper.command(engine) .. " -n 3 -", { stdin = [[
        local pool = require("parlua").pool()
        print(pool:everywhere(function() connection = "open" end).n)
        print(pool:submit(function() return connection end):get(), pool:map(function() return connection end, { 1 })[1])]] })
      assert.equal((helper.in_script[engine] and 1 or 3) .. "\nopen\topen\n", result.stdout, result.stderr)
    end)

    it("does not change the random numbers of later calls", function()
      math.randomseed(7)
      pool = parlua.pool { engine = engine, workers = 2 }
      local expected = pool:map(function() return math.random() end, { 1 })[1]
      math.randomseed(7)
      pool:everywhere(function() return 1 end)
      assert.equal(expected, pool:map(function() return math.random() end, { 1 })[1])
    end)
  end)

  helper.for_each_engine(function(engine)
    it("is called by a worker that replaces another too", function()
      pool = parlua.pool { engine = engine, workers = 1 }
      pool:everywhere(function() _G.kept_spec_state = "ready" end)
      local function look(x)
        if x == 1 then os.exit(1) end
        return _G.kept_spec_state
      end
      local results, failures = pool:map(look, { 1, 2 }, { chunk = 1 })
      assert.same({ "crash", "ready" }, { failures[1].kind, results[2] })
      pool:submit(look, 1):wait()
      assert.equal("ready", pool:submit(look, 2):get())
    end)
  end, { "process", "mpi" })
end)

describe("pool:everywhere", function()
  helper.for_each_engine(function(engine)
    it("raises when the function ends its worker", function()
      local pool = parlua.pool { engine = engine, workers = 2 }
      local ok, problem = pcall(pool.everywhere, pool, function() os.exit(3) end)
      assert.is_false(ok)
      assert.truthy(tostring(problem):find("status 3", 1, true), tostring(problem))
      assert.same({ 2, n = 1 }, (pool:map(function(x) return x + 1 end, { 1 })))
      pool:close()
    end)

    it("is called by workers that replace those that were killed between two calls", function()
      local pool = parlua.pool { engine = engine, workers = 2 }
      pool:everywhere(function() _G.kept_spec_state = "ready" end)
      for _, pid in ipairs(processes(pool)) do os.execute("kill -9 " .. pid) end
      local function look() return kept_spec_state end -- luacheck: ignore 113
      local results, failures = pool:map(look, parlua.range(10))
      assert.equal(0, #failures)
      for k = 1, 10 do assert.equal("ready", results[k]) end
      pool:close()
    end)
  end, forked)
end)

describe("submitted calls of a pool", function()
  local pool

  after_each(function()
    if pool then pool:close() end
  end)

  --- Gives each worker a name of its own; workers that begin later have another.
  local function name_workers()
    local names = {}
    for _, name in ipairs(pool:everywhere(function()
      _G.worker_name = ffi.C.getpid() .. tostring({})
      return _G.worker_name
    end)) do names[name] = true end
    return names
  end

  local function name() return _G.worker_name end

  helper.for_each_engine(function(engine)
    before_each(function() pool = parlua.pool { engine = engine, workers = 2 } end)

    it("run in the workers that its other calls have, in whatever order they come", function()
      local names, others = name_workers(), 0
      local function note(result)
        if not names[result] then others = others + 1 end
      end
      for _ = 1, 3 do
        local futures = {}
        for k = 1, 10 do futures[k] = pool:submit(name) end
        for _, future in ipairs(futures) do note(future:get()) end
        for _, result in ipairs((pool:map(name, parlua.range(10), { chunk = 1 }))) do note(result) end
        note(pool:submit(name):get())
        for _, result in pool:imap(name, parlua.range(10), { chunk = 1 }) do note(result) end
        pool:submit(name):on_done(function(future)
          note(future:get())
          note(pool:map(name, { 1 })[1])
        end):wait()
      end
      assert.equal(0, others)
    end)

    it("may be under way while another call of the pool runs, and be made within one", function()
      local function add(a, b) return a + b end
      for round = 1, 3 do
        local futures, sums = {}, {}
        for k = 1, 50 do futures[k] = pool:submit(add, k, round) end
        assert.same({ 2, 3, n = 2 }, (pool:starmap(add, { { 1, 1 }, { 1, 2 } })))
        for k, sum in pool:imap(add, parlua.zip(parlua.range(5), parlua.range(5))) do
          sums[k] = sum + pool:submit(add, sum, round):get() + pool:starmap(add, { { k, k } })[1]
        end
        for k = 1, 5 do assert.equal(6 * k + round, sums[k]) end
        for k = 1, 50 do assert.equal(k + round, futures[k]:get()) end
      end
    end)

    it("that wait for their arguments wait while another call of the pool runs", function()
      local other = parlua.pool { engine = engine, workers = 1 }
      local slow = other:submit(function() require("parlua.host").sleep(0.05) return 20 end)
      local sum = pool:submit(function(a, b) return a + b end, slow, 1)
      assert.equal(4, pool:map(function(x) return 2 * x end, { 2 })[1])
      assert.equal(21, sum:get())
      other:close()
    end)

    it("leave their workers to the next call also where they have failed or were cancelled", function()
      local futures = {}
      for k = 1, 20 do futures[k] = pool:submit(function(x) return x % 2 == 0 and x or error("odd") end, k) end
      for k = 11, 20 do futures[k]:cancel() end
      assert.same({ 1, 4, 9, n = 3 }, (pool:map(function(x) return x * x end, { 1, 2, 3 })))
      for k = 1, 10 do
        futures[k]:wait()
        assert.equal(k % 2 == 0, futures[k].failure == nil)
      end
      assert.equal(5, pool:submit(function() return 5 end):get())
    end)
  end, with_workers)

  helper.for_each_engine(function(engine)
    it("need no more processes than the pool has workers", function()
      local result = helper.run_parlua("-", { stdin = ([[
        local parlua, host = require "parlua", require "parlua.host"
        local function children()
          local file = assert(io.open("/proc/self/task/" .. host.pid() .. "/children"))
          local text = file:read "*a"
          file:close()
          return text
        end
        local pool = parlua.pool { engine = %q, workers = 2 }
        pool:everywhere(function() base = 10 end)
        local first = children()
        for k = 1, 5 do
          assert(pool:submit(function(x) return base + x end, k):get() == 10 + k)
          assert(pool:map(function(x) return base * x end, { k })[1] == 10 * k)
        end
        print(select(2, first:gsub("%%d+", "")), first == children())
        pool:close()
        print(children())
      ]]):format(engine) })
      assert.equal("2\ttrue\n\n", result.stdout, result.stderr)
    end)

    it("find the workers replaced that were killed between two calls, whichever these are", function()
      pool = parlua.pool { engine = engine, workers = 2 }
      local function number() return ffi.C.getpid() end
      local calls = {
        function() return pool:submit(number):get() end,
        function() return pool:map(number, { 1 })[1] end,
      }
      for turn = 0, 7 do
        local before, after = calls[turn % 2 + 1], calls[math.floor(turn / 2) % 2 + 1]
        local killed = before()
        ffi.C.kill(killed, 9)
        for _ = 1, 3 do assert.are_not.equal(killed, after()) end
      end
    end)

    it("go to workers of their own where the function can't be sent, but is there as these are forked", function()
      local result = helper.run_parlua("-", { stdin = ([[
        local parlua = require "parlua"
        local Class = { body = coroutine.create(function() end) }
        Class.__index = Class
        function Class:kind() return type(self.body), base end
        local pool = parlua.pool { engine = %q, workers = 1, window = 2 }
        pool:everywhere(function() base = 10 end)
        local futures = {}
        for k = 1, 6 do futures[k] = pool:submit(k %% 2 == 0 and function() return Class:kind() end or math.abs, -k) end
        for k = 1, 6 do print(futures[k]:get()) end
        print(pool:map(math.abs, { -7 })[1])
        pool:close()
        print(pcall(pool.submit, pool, print))
      ]]):format(engine) })
      assert.equal("1\nthread\t10\n3\nthread\t10\n5\nthread\t10\n7\nfalse\tthe pool is closed\n", result.stdout,
        result.stderr)
    end)
  end, forked)
end)

describe("the option max_tasks", function()
  helper.for_each_engine(function(engine)
    it("has workers replaced that have done so many tasks; none is lost, none is done twice", function()
      local function count(x)
        kept_spec_done = (kept_spec_done or 0) + 1 -- luacheck: ignore 111 113
        return { x, kept_spec_done } -- luacheck: ignore 113
      end
      for _, most in ipairs { 1, 3, 40 } do
        local options = { engine = engine, workers = 2, max_tasks = most }
        local results, failures = parlua.map(count, parlua.range(100), options)
        assert.equal(0, #failures)
        for k = 1, 100 do
          assert.equal(k, results[k][1])
          assert.is_true(results[k][2] <= most)
        end
      end
    end)

    it("counts over the calls of a pool, and submitted ones", function()
      local pool = parlua.pool { engine = engine, workers = 1, max_tasks = 3 }
      local function count()
        kept_spec_done = (kept_spec_done or 0) + 1 -- luacheck: ignore 111 113
        return kept_spec_done -- luacheck: ignore 113
      end
      local counts = {}
      for _ = 1, 4 do
        counts[#counts + 1] = pool:submit(count):get()
        counts[#counts + 1] = pool:map(count, { 1 })[1]
      end
      pool:close()
      if engine == "mpi" then -- each rank has a worker
        for k = 1, 8 do assert.is_true(counts[k] <= 3) end
      else
        assert.same({ 1, 2, 3, 1, 2, 3, 1, 2 }, counts)
      end
    end)

    it("holds for reductions and what tasks spawn", function()
      local options = { engine = engine, workers = 2, max_tasks = 10 }
      assert.equal(500500, (parlua.reduce(function(x) return x end, parlua.range(1000), parlua.sum, options)))
      local results = parlua.map(function(x)
        parlua.spawn(function(y) return -y end, x)
        return x
      end, parlua.range(30), options)
      local sum = 0
      for k = 1, results.n do sum = sum + results[k] end
      assert.same({ 60, 0 }, { results.n, sum })
    end)
  end, with_workers)

  it("is refused where there are no workers", function()
    assert.has_error(function() parlua.map(tostring, { 1 }, { engine = "serial", max_tasks = 2 }) end,
      "option 'max_tasks': the serial engine has no workers that could be replaced; use engine = \"threads\" or "
      .. "engine = \"process\"")
  end)
end)

describe("a worker that has grown", function()
  helper.for_each_engine(function(engine)
    it("beyond half of its memory limit is replaced before the next tasks, which have all of it", function()
      local pool = parlua.pool { engine = engine, workers = 1, memory = "200M" }
      local function keep(megabytes)
        kept_spec_held = kept_spec_held or {} -- luacheck: ignore 111 113
        local more = ffi.new("char[?]", megabytes * 2 ^ 20)
        ffi.fill(more, megabytes * 2 ^ 20, 1)
        table.insert(kept_spec_held, more) -- luacheck: ignore 113
        return #kept_spec_held -- luacheck: ignore 113
      end
      local seen = {}
      for k = 1, 6 do seen[k] = pool:map(keep, { 60 })[1] end
      assert.same({ 1, 2, 1, 2, 1, 2 }, seen)
      for k = 1, 4 do seen[k] = pool:submit(keep, 60):get() end
      assert.same({ 1, 2, 1, 2 }, { seen[1], seen[2], seen[3], seen[4] })
      pool:close()
    end)
  end, forked)
end)
