local helper = require "spec.helper"
local parlua = require "parlua"

-- What only threads promise: workers that stay warm, functions that cross between states, and an end of what can't be
-- stopped.
describe("the threads engine", function()
  local with = helper.options("threads")

  --- Runs a script of its own; returns its result.
  local function run_script(text, options)
    local result
    helper.with_directory(function(directory)
      options = options or {}
      options.directory = directory
      for name, content in pairs(options.modules or {}) do helper.write(directory .. "/" .. name .. ".lua", content) end
      helper.write(directory .. "/script.lua", "local parlua = require 'parlua'\n" .. text)
      result = helper.run_parlua("--engine threads -n 2 script.lua", options)
    end)
    return result
  end

  it("makes os.exit an error of the task", function()
    local results, failures = parlua.map(function(i)
      if i == 2 then os.exit(3) end
      return i
    end, { 1, 2, 3 }, with())
    assert.same({ 1, nil, 3, n = 3 }, results)
    assert.equal(1, #failures)
    assert.equal("error", failures[1].kind)
    assert.truthy(failures[1].message:find("os.exit: a task of the threads engine cannot end the program"),
      failures[1].message)
  end)

  it("makes os.exit an error also where the function holds it as an upvalue", function()
    local result = run_script([[
      local exit = os.exit
      local _, failures = parlua.map(function() exit(3) end, { 1 })
      print(#failures, failures[1].message)
    ]])
    assert.equal(0, result.status)
    assert.truthy(result.stdout:find("^1\t.*cannot end the program"), result.stdout)
  end)

  describe("sends the function", function()
    it("with upvalues that several functions share", function()
      local count = 0
      local function increase() count = count + 1 end
      local function read() return count end
      local results = parlua.map(function()
        local before = read()
        increase()
        increase()
        return read() - before
      end, parlua.range(10), with())
      for i = 1, 10 do assert.equal(2, results[i]) end
      assert.equal(0, count) -- a copy
    end)

    it("with classes and their instances", function()
      local Point = {}
      Point.__index = Point
      function Point.new(x, y) return setmetatable({ x = x, y = y }, Point) end
      function Point.__add(a, b) return Point.new(a.x + b.x, a.y + b.y) end
      function Point:norm() return self.x * self.x + self.y * self.y end
      local origin = Point.new(1, 1)
      local results = parlua.map(function(x)
        local sum = origin + Point.new(x, x)
        assert(getmetatable(sum) == Point and getmetatable(origin) == Point)
        return sum:norm()
      end, { 1, 2 }, with())
      assert.same({ 8, 18, n = 2 }, results)
    end)

    it("with modules that it requires, by name, once in each worker", function()
      local result = run_script([[
        local tool = require "tool"
        local results = parlua.map(function(x) return tool.double(x) + tool.loads() + require("other").one end,
          parlua.range(20))
        print(table.concat(results, " "), tool.loads())
      ]], { modules = {
        tool = [[
          local loads = (_G.loads or 0) + 1
          _G.loads = loads
          return { double = function(x) return 2 * x end, loads = function() return loads end }
        ]],
        other = "return { one = 1 }",
      } })
      local expected = {}
      for i = 1, 20 do expected[i] = 2 * i + 2 end
      assert.equal(table.concat(expected, " ") .. "\t1\n", result.stdout, result.stderr)
    end)

    it("with the globals that it names, functions among them", function()
      local result = run_script([[
        factor = 3
        function triple(x) return factor * x end
        function helper_of(x) return triple(x) + 1 end
        print(table.concat(parlua.map(function(x) return helper_of(x) end, { 1, 2, 3 }), " "))
        factor = 5
        print(table.concat(parlua.map(function(x) return helper_of(x) end, { 1, 2, 3 }), " "))
      ]])
      assert.equal("4 7 10\n6 11 16\n", result.stdout, result.stderr)
    end)

    it("anew when what it captures has changed between calls", function()
      local base = 1
      local function f(x) return x + base end
      assert.same({ 2, n = 1 }, (parlua.map(f, { 1 }, with())))
      base = 10
      assert.same({ 11, n = 1 }, (parlua.map(f, { 1 }, with())))
    end)

    it("with the script's package.path", function()
      helper.with_directory(function(directory)
        helper.write(directory .. "/far_module.lua", "return { answer = 42 }")
        local before = package.path
        package.path = directory .. "/?.lua;" .. before
        local results, failures = parlua.map(function() return require("far_module").answer end, { 1, 2 }, with())
        package.path = before
        assert.same({}, failures)
        assert.same({ 42, 42, n = 2 }, results)
      end)
    end)

    it("with a module that it holds, found on the script's package.path, to workers that never had a job", function()
      helper.with_directory(function(directory)
        helper.write(directory .. "/held_module.lua", "return { answer = function(x) return 42 + x end }")
        local before = package.path
        package.path = directory .. "/?.lua;" .. before
        local held = require "held_module"
        local pool = parlua.pool { engine = "threads", workers = 1 }
        local results = pool:map(function(x) return held.answer(x) end, { 1, 2 })
        pool:close()
        package.path, package.loaded.held_module = before, nil
        assert.same({ 43, 44, n = 2 }, results)
      end)
    end)
  end)

  it("stays warm: a worker's globals live on from call to call", function()
    local result = run_script([[
      local function count() calls = (rawget(_G, "calls") or 0) + 1 return calls end
      local most = 0
      for _ = 1, 50 do
        local results = parlua.map(count, { 1, 2 })
        most = math.max(most, results[1], results[2])
      end
      print(most > 2)
    ]])
    assert.equal("true\n", result.stdout, result.stderr)
  end)

  it("stays warm also when a run is halted, or its loop left", function()
    local result = run_script([[
      local function touch(i)
        touched = true
        if i == 20 then error("stop") end
        return i
      end
      local function is_warm() return rawget(_G, "touched") == true end
      print(pcall(parlua.map, touch, parlua.range(1e6), { on_error = "halt" }))
      local function leave() -- a function of its own: nothing on the stack then holds the loop's stream
        for i in parlua.imap(touch, parlua.range(1e6)) do
          if i == 1000 then break end -- long enough for the loop to be compiled
        end
      end
      leave()
      collectgarbage()
      collectgarbage()
      local results = parlua.map(is_warm, parlua.range(1000), { chunk = 1 })
      local cold = 0
      for i = 1, 1000 do cold = cold + (results[i] and 0 or 1) end
      print(cold)
    ]])
    assert.truthy(result.stdout:find("\n0\n$"), result.stdout .. result.stderr)
  end)

  it("starts no threads for a second call", function()
    local result = run_script([[
      local function threads()
        local n = 0
        for _ in io.popen("ls /proc/self/../" .. require("parlua.host").pid() .. "/task"):lines() do n = n + 1 end
        return n
      end
      parlua.map(function(x) return x end, { 1, 2, 3 })
      local first = threads()
      for _ = 1, 10 do parlua.map(function(x) return -x end, { 1, 2, 3 }) end
      print(threads() == first, first >= 2 and first <= 3)
    ]])
    assert.equal("true\ttrue\n", result.stdout, result.stderr)
  end)

  it("runs several streams at once, each with threads of its own", function()
    local a = parlua.imap(function(x) return x end, parlua.range(10), with())
    local b = parlua.imap(function(x) return 2 * x end, parlua.range(10), with())
    for i = 1, 10 do
      assert.same({ i, i }, { a() })
      assert.same({ i, 2 * i }, { b() })
    end
    assert.is_nil((a()))
    assert.is_nil((b()))
  end)

  it("abandons a task at its time limit, and replaces the thread", function()
    local result = run_script([[
      local results, failures, summary = parlua.map(function(i)
        if i == 4 then while true do end end
        return i
      end, parlua.range(12), { timeout = 0.2 })
      print(#failures, failures[1].index, failures[1].kind, failures[1].message, failures[1].args[1])
      print(results.n, results[3], results[4], results[12], summary.returned)
      print(table.concat(parlua.map(function(x) return -x end, { 1, 2, 3 }), " "))
    ]])
    assert.equal("1\t4\ttimeout\tthe task took more than 0.2 s\t4\n12\t3\tnil\t12\t11\n-1 -2 -3\n", result.stdout,
      result.stderr)
    assert.equal(0, result.status)
  end)

  it("takes a thread that comes back after its time limit no further", function()
    local results, failures = parlua.map(function(i)
      if i == 1 then
        local library = require "ffi"
        library.cdef "unsigned int usleep(unsigned int microseconds);"
        library.C.usleep(400000)
      end
      return i
    end, parlua.range(6), with { timeout = 0.1 })
    assert.equal(1, #failures)
    assert.equal("timeout", failures[1].kind)
    assert.same({ nil, 2, 3, 4, 5, 6, n = 6 }, results)
    assert.same({ 7, n = 1 }, (parlua.map(function(x) return x end, { 7 }, with())))
  end)

  it("lets a thread that comes back after its time limit begin no further task of its chunk", function()
    helper.with_directory(function(directory)
      local result = run_script(([[
        local directory = %q
        local function threads()
          local pipe = io.popen("ls /proc/$PPID/task | wc -l")
          local count = tonumber(pipe:read("*a"))
          pipe:close()
          return count
        end
        local before = threads()
        local pool = parlua.pool { workers = 2, timeout = 0.1, chunk = 10 }
        local failures = pool:each(function(i)
          local file = assert(io.open(directory .. "/" .. i, "a"))
          file:write("x")
          file:close()
          if i == 3 then
            local library = require "ffi"
            library.cdef "unsigned int usleep(unsigned int microseconds);"
            library.C.usleep(500000)
          end
        end, parlua.range(20))
        pool:close()
        print(#failures, failures[1].index)
        local until_then = os.time() + 60
        while threads() > before and os.time() < until_then do end
        print(threads() == before)
      ]]):format(directory))
      assert.equal("1\t3\ntrue\n", result.stdout, result.stderr)
      for i = 1, 20 do assert.equal("x", helper.read(directory .. "/" .. i), "task " .. i) end
    end)
  end)

  it("gives everything back once a task that was left alone has ended, also when its pool was closed before", function()
    local result = run_script([[
      local function held()
        os.execute("{ ls /proc/$PPID/fd | wc -l; grep -c '/dev/zero' /proc/$PPID/maps; ls /proc/$PPID/task | wc -l; } > held")
        local file = io.open("held")
        local text = file:read("*a")
        file:close()
        return text
      end
      local before = held()
      local pool = parlua.pool { workers = 1, timeout = 0.1 }
      local failures = pool:each(function()
        local library = require "ffi"
        library.cdef "unsigned int usleep(unsigned int microseconds);"
        library.C.usleep(800000)
      end, { 1 })
      pool:close()
      print(failures[1].kind, held() ~= before)
      local until_then = os.time() + 60
      while held() ~= before and os.time() < until_then do end
      print(held() == before)
    ]])
    assert.equal("timeout\ttrue\ntrue\n", result.stdout, result.stderr)
  end)

  it("ends the run, tells why, and keeps what is done when more than 8 tasks can't be stopped", function()
    local result = run_script([[
      local results, failures, summary = parlua.map(function(i)
        while i > 1 do end
        return i
      end, parlua.range(20), { timeout = 0.05, workers = 4, chunk = 1, warn = true })
      local timeouts = 0
      for _, failure in ipairs(failures) do timeouts = timeouts + (failure.kind == "timeout" and 1 or 0) end
      print(results[1], timeouts, summary.failed + summary.cancelled, summary.stopped)
    ]])
    local why = "the threads engine cannot start workers: too many tasks are over their time limit and cannot be stopped in threads; "
      .. 'use engine = "process"'
    assert.truthy(result.stdout:find("1\t8\t19\t" .. why, 1, true), result.stdout .. result.stderr)
    assert.truthy(result.stderr:find("not done: " .. why, 1, true), result.stderr)
    assert.equal(0, result.status)
  end)

  it("works on after that, while those tasks still run and when they have ended", function()
    local result = run_script([[
      local function slow()
        local library = require "ffi"
        library.cdef "unsigned int usleep(unsigned int microseconds);"
        library.C.usleep(600000)
      end
      print((select(3, parlua.map(slow, parlua.range(30), { timeout = 0.05, workers = 4 })).stopped ~= nil))
      local until_then = os.time() + 3
      repeat
        local results, failures = parlua.map(function(x) return "result " .. x end, parlua.range(2000), { workers = 4 })
        assert(#failures == 0 and results.n == 2000)
        for i = 1, 2000 do assert(results[i] == "result " .. i) end
      until os.time() > until_then
      print "well"
    ]])
    assert.equal("true\nwell\n", result.stdout, result.stderr)
    assert.equal(0, result.status)
  end)

  it("ends with the program also while a worker's state can't be closed", function()
    local result = run_script([[
      local results = parlua.map(function(i)
        kept = kept or newproxy(true)
        getmetatable(kept).__gc = function() while true do end end
        return i
      end, parlua.range(4), { workers = 2 })
      print(results[4])
    ]])
    assert.equal("4\n", result.stdout, result.stderr)
    assert.equal(0, result.status)
  end)

  it("ends with the program also while a task runs that never ends", function()
    local result = run_script([[
      pcall(parlua.map, function(i) if i == 1 then error("stop") end while true do end end, { 1, 2 },
        { on_error = "halt", chunk = 1 })
      print("end")
    ]])
    assert.equal("end\n", result.stdout, result.stderr)
    assert.equal(0, result.status)
  end)

  it("keeps each worker's state apart from the script's", function()
    _G.parlua_spec_mine = "mine"
    local results = parlua.map(function()
      local before = rawget(_G, "parlua_" .. "spec_mine")
      _G["parlua_" .. "spec_mine"] = "theirs"
      return tostring(before)
    end, { 1 }, with { workers = 1 })
    assert.equal("mine", _G.parlua_spec_mine)
    _G.parlua_spec_mine = nil
    assert.equal("mine", results[1])
    results = parlua.map(function() return tostring(rawget(_G, "parlua_" .. "spec_mine")) end, { 1 }, with { workers = 1 })
    assert.equal("nil", results[1])
  end)

  it("collects the garbage of tasks in each worker", function()
    local results = parlua.map(function()
      for _ = 1, 200 do
        local t = {} -- luacheck: ignore 241
        for k = 1, 1000 do t[k] = { k } end
      end
      return collectgarbage("count")
    end, parlua.range(20), with())
    for i = 1, 20 do assert.is_true(results[i] < 64 * 1024, "KiB in use: " .. results[i]) end
  end)

  it("loads into a worker only what its job has a use for, and the rest when another job has", function()
    local result = run_script([[
      local pool = parlua.pool { workers = 1 }
      local function is_loaded(name) return package.loaded[name] ~= nil end
      local spared = { "parlua", "parlua.run", "parlua.source.own", "parlua.wire.captured", "parlua.wire.names",
        "parlua.wire.plan", "parlua.wire.shape", "parlua.value", "parlua.worker.fold" }
      local function of_all(i)
        local found = is_loaded "parlua.worker.runner" and {} or { "no runner" }
        for _, name in ipairs(spared) do found[#found + 1] = is_loaded(name) and name or nil end
        return i .. ": " .. table.concat(found, " ")
      end
      print(pool:map(of_all, parlua.range(1))[1])
      local points = { { x = 1 }, { x = 2 } }
      local function move(point)
        point.x = point.x + 1
        return { x = point.x }
      end
      for _ = 1, 2 do
        local results = pool:map(move, parlua.product(points, { points[1] }))
        print(results[1].x, results[2].x, points[1].x, points[2].x)
      end
      print(pool:map(function() return is_loaded "parlua.source.own" and is_loaded "parlua.wire.shape" end, { 1 })[1])
      pool:close()
    ]])
    assert.equal("1: \n2\t3\t1\t2\n2\t3\t1\t2\ntrue\n", result.stdout, result.stderr)
    assert.equal(0, result.status)
  end)
end)
