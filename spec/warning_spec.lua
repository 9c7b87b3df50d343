--- A failure is never silent: what a call leaves on standard error about tasks that failed, and how a script takes care of them itself.
local helper = require "spec.helper"
local parlua = require "parlua"

describe("tasks that failed", function()
  helper.for_each_engine(function(engine)
    --- Runs a script that is called sweep.lua, told of failures as users are.
    local function run(text, words)
      return helper.with_directory(function(directory)
        helper.write(directory .. "/sweep.lua", 'local parlua = require "parlua"\n' .. text)
        return helper.run(("%s %s sweep.lua"):format(helper.command(engine), words or ""),
          { directory = directory, env = { PARLUA_WARN = "" } })
      end)
    end

    it("leave one line for each call that had some, with the place, the counts and the first", function()
      local result = run [[
        local function f(n, name) if n % 2 == 1 then error("odd " .. name, 0) end end
        parlua.map(f, parlua.zip(parlua.range(3, 7), { "a", "b", "c", "d", "e" }))
        parlua.each(function() error({ code = 5 }) end, { { x = 1 } })
        for _ in parlua.imap(function(i) return i.x.y end, { 1, 2 }) do end
        parlua.map(function(i) return i end, { 1, 2 })
        print(parlua.reduce(function(i) error("no", 0) end, parlua.range(3), parlua.sum))
        parlua.find(function(i) error("none", 0) end, parlua.range(2))
        parlua.starmap(function(a, b) error(b, 0) end, { { 1, "x" } })
        parlua.starmap(error, coroutine.wrap(function() coroutine.yield({ "y", 0 }) end))
      ]]
      assert.equal(0, result.status, result.stderr)
      local lines = {}
      for line in result.stderr:gmatch "[^\n]+" do lines[#lines + 1] = line end
      assert.same({
        'parlua: map at sweep.lua:3: 3 of 5 tasks failed; first, task 1 (3, "a"): odd a',
        "parlua: each at sweep.lua:4: 1 of 1 task failed; first, task 1 ({x = 1}): {code = 5}",
        "parlua: imap at sweep.lua:5: 2 of 2 tasks failed; first, task 1 (1): "
          .. "sweep.lua:5: attempt to index local 'i' (a number value)",
        "parlua: reduce at sweep.lua:7: 3 of 3 tasks failed; first, task 1 (1): no",
        "parlua: find at sweep.lua:8: 2 of 2 tasks failed; first, task 1 (1): none",
        'parlua: starmap at sweep.lua:9: 1 of 1 task failed; first, task 1 (1, "x"): x',
        'parlua: starmap at sweep.lua:10: 1 of 1 task failed; first, task 1 ("y", 0): y',
      }, lines)
    end)

    --- A script that may end its own call, as a signal from outside does.
    local function run_ended(text, words)
      return run([[
        local ffi = require "ffi"
        ffi.cdef "int getpid(void); int kill(int pid, int signal);"
        local pid = ffi.C.getpid()
        local function terminate() ffi.C.kill(pid, 15) end
      ]] .. text, words)
    end

    it("or were not done, as a signal ended the call, leave a line that says so", function()
      local result = run_ended [[
        parlua.each(function(i) if i == 5 then error("no") end end, parlua.range(1e12),
          { on_error = function() terminate() return 0 end })
      ]]
      assert.matches("^parlua: each at sweep%.lua:%d: interrupted by SIGTERM: %d+ of 1000000000000 tasks are done\n$", result.stderr)
      assert.equal(143, result.status)
    end)

    it("and tasks of which nobody knew how many there are, that a signal ended, leave one line together", function()
      local result = run_ended [[
        local n = 0
        local function source()
          n = n + 1
          return n
        end
        for i in parlua.imap(function(i) if i == 1 then error("no", 0) end return i end, source) do
          if i == 2 then terminate() end
        end
      ]]
      assert.matches("^parlua: imap at sweep%.lua:%d+: 1 of %d+ tasks? failed.*; first, task 1 %(1%): no; "
        .. "interrupted by SIGTERM: %d+ tasks? %a+ done\n$", result.stderr)
      assert.equal(143, result.status)
    end)

    it("are not told of where a signal came when all was done, nor where the script does not want it", function()
      local text = [[
        local _, summary = parlua.each(function() error("no") end, parlua.range(%s),
          { on_error = function() terminate() return 0 end })
        print(summary.interrupted, summary.cancelled > 0)
      ]]
      local whole, unwanted = run_ended(text:format "1"), run_ended(text:format "1e12", "--no-warn")
      assert.same({ "SIGTERM\tfalse\n", "", 143 }, { whole.stdout, whole.stderr, whole.status })
      assert.same({ "SIGTERM\ttrue\n", "", 143 }, { unwanted.stdout, unwanted.stderr, unwanted.status })
    end)

    it("leave a line also where a loop over imap was left, and where the source raised", function()
      local result = run [[
        local i = 0
        local function source()
          i = i + 1
          if i == 4 then error("no page") end
          return i
        end
        print(parlua.map(function(x) return x end, source).n)
        parlua.map(tostring, coroutine.wrap(function() coroutine.yield(1) error("no line") end))
        for k in parlua.imap(function(x) if x == 1 then error("first", 0) end return x end, parlua.range(10)) do
          if k == 5 then break end
        end
        collectgarbage() collectgarbage()
      ]]
      assert.equal("4\n", result.stdout)
      assert.equal("parlua: map at sweep.lua:8: the source raised an error after 3 tasks: sweep.lua:5: no page\n"
        .. "parlua: map at sweep.lua:9: the source raised an error after 1 task: sweep.lua:9: no line\n"
        .. "parlua: imap at sweep.lua:10: 1 of 10 tasks failed; first, task 1 (1): first\n",
        (result.stderr:gsub(", %d+ cancelled", "")))
    end)

    it("leave no line where the script says so, or takes care of them", function()
      local text = "parlua.map(error, { 1 }, { %s })\n"
      assert.equal("", run(text:format "warn = false").stderr)
      assert.equal("", run(text:format "", "--no-warn").stderr)
      assert.equal("", run(text:format "on_error = function() end").stderr)
      assert.equal("", run("pcall(parlua.map, error, { 1 }, { on_error = 'halt' })").stderr)
    end)

    it("leave a line for each place in a task where calls fail, not for each task", function()
      if engine == "mpi" then return end -- each of two ranks has a worker, which tells
      local result = run [[
        parlua.map(function() parlua.map(error, { 1, 2 }) end, parlua.range(100), { workers = 1 })
      ]]
      assert.equal("parlua: map at sweep.lua:2: 2 of 2 tasks failed; first, task 1 (1): 1\n",
        (result.stderr:gsub("parlua%.loop:%d+: ", "")))
    end)

    it("can have their results replaced by the script", function()
      local seen = {}
      local function half(n)
        if n % 2 == 1 then error("odd", 0) end
        return n / 2
      end
      local function instead(failure)
        seen[#seen + 1] = failure.index
        if failure.args[1] ~= 5 then return -failure.args[1] end
      end
      local results, failures, summary = parlua.map(half, parlua.range(6), { engine = engine, workers = 2, on_error = instead })
      assert.same({ -1, 1, -3, 2, nil, 3, n = 6 }, results)
      assert.same({ 1, 5, "odd" }, { #failures, failures[1].index, failures[1].message })
      assert.same({ 6, 5, 1, 2 }, { summary.tasks, summary.returned, summary.failed, summary.replaced })
      table.sort(seen)
      assert.same({ 1, 3, 5 }, seen)
    end)

    it("can be replaced in loops, reductions, searches and after retries", function()
      local function fail(n)
        if n % 3 == 0 then error("three", 0) end
        return n
      end
      local options = { engine = engine, workers = 2, retries = 1, on_error = function(failure)
        assert.equal(2, failure.attempts)
        return 1000, "instead"
      end }
      local got = {}
      for i, value, text in parlua.imap(fail, parlua.range(4), options) do got[#got + 1] = ("%d %d %s"):format(i, value, tostring(text)) end
      assert.same({ "1 1 nil", "2 2 nil", "3 1000 instead", "4 4 nil" }, got)
      assert.equal(1 + 2 + 1000 + 4 + 5 + 1000, (parlua.reduce(fail, parlua.range(6), parlua.sum, options)))
      local list = parlua.reduce(fail, parlua.range(5), { init = {}, step = function(all, v)
        all[#all + 1] = v
        return all
      end }, options)
      assert.same({ 1, 2, 1000, 4, 5 }, list)
      assert.same({ 3, 1000 }, { (function()
        local index, value = parlua.find(function(n) return fail(n) > 500 and n end, parlua.range(10), options)
        return index, value
      end)() })
    end)

    it("stop the run with the error that the script raises about one", function()
      local ok, message = pcall(parlua.map, error, parlua.range(100), { engine = engine, on_error = function() error("enough", 0) end })
      assert.same({ false, "enough" }, { ok, message })
    end)

    it("stop the run with the error about the first such task, whichever failed first, and count nothing behind it", function()
      local function fail_from_4(n)
        if n == 4 then
          local until_then = os.clock() + 0.05
          while os.clock() < until_then do end
        end
        if n >= 4 then error(n, 0) end
        return n
      end
      local options = { engine = engine, workers = 2, chunk = 1, on_error = function(failure)
        if failure.index % 2 == 0 then error("about " .. failure.index, 0) end
        return -failure.index
      end }
      assert.same({ false, "about 4" }, { pcall(parlua.map, fail_from_4, parlua.range(40), options) })
      assert.same({ false, "about 4" }, { pcall(parlua.reduce, fail_from_4, parlua.range(40), parlua.sum, options) })
      local given = {}
      local ok, message = pcall(function()
        for i, value in parlua.imap(fail_from_4, parlua.range(40), options) do given[i] = value end
      end)
      assert.same({ false, "about 4", { 1, 2, 3 } }, { ok, message, given })
    end)
  end)

  it("can be taken by a function or by a word, nothing else", function()
    local ok, message = pcall(parlua.map, print, { 1 }, { on_error = 5 })
    assert.is_false(ok)
    assert.equal("wrong value for the option on_error, from the call: 5; it takes skip or halt, or a function", message)
  end)
end)
