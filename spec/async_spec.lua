--- The async engine: tasks are coroutines of the script's state, which wait side by side.
local has_cqueues, cqueues = pcall(require, "cqueues")
local helper = require "spec.helper"
local host = require "parlua.host"
local parlua = require "parlua"

describe("the async engine", function()
  it("names the package where cqueues is missing", function()
    local result = helper.run_parlua("--engine async -e " .. helper.quote [[
      package.path, package.cpath = "", ""
      package.loaded.cqueues = nil
      print(pcall(require("parlua").map, print, { 1 }))
    ]])
    assert.truthy(result.stdout:find 'the Lua module cqueues is missing; install it %(Debian: apt%-get install lua%-cqueues', result.stdout)
  end)

  if not has_cqueues then return end
  local with = helper.options "async"

  it("has tasks wait side by side, up to the option workers at once", function()
    local most, now = 0, 0
    local function f(i)
      now = now + 1
      most = math.max(most, now)
      cqueues.sleep(0.01)
      now = now - 1
      return i
    end
    local results, failures, summary = parlua.map(f, parlua.range(100), with { workers = 40 })
    assert.same({ 100, 100, 0, "async", 40 }, { results.n, results[100], #failures, summary.engine, summary.workers })
    assert.equal(40, most)
    assert.equal(1000, (select(3, parlua.map(f, { 1 }, { engine = "async" }))).workers)
  end)

  it("gives results in order, or as they come", function()
    local ended = {} -- the last is the first to end
    local function f(i)
      while i < 3 and not ended[i + 1] do cqueues.sleep(0.001) end
      ended[i] = true
      return -i, "second"
    end
    local ordered, unordered = {}, {}
    for i, a, b in parlua.imap(f, parlua.range(3), with { workers = 3 }) do ordered[#ordered + 1] = ("%d %d %s"):format(i, a, b) end
    ended = {}
    for i in parlua.imap(f, parlua.range(3), with { workers = 3, ordered = false }) do unordered[#unordered + 1] = i end
    assert.same({ "1 -1 second", "2 -2 second", "3 -3 second" }, ordered)
    assert.same({ 3, 2, 1 }, unordered)
  end)

  it("draws the numbers of each task, however they take turns, as serial does", function()
    local function f(i)
      local a = math.random()
      if parlua.task.index ~= i then error "another task's" end
      if cqueues.running() then cqueues.sleep(0.001 * (10 - i)) end
      return { a, math.random(), parlua.task.index, parlua.task.attempt }
    end
    local expected = parlua.map(f, parlua.range(10), { engine = "serial", seed = 3 })
    assert.same(expected, (parlua.map(f, parlua.range(10), with { seed = 3, workers = 10 })))
    assert.is_nil(parlua.task.index)
  end)

  it("ends a task that waits at its time limit, and tries it again as told", function()
    local tries = 0
    local results, failures = parlua.map(function(i)
      if i == 2 then
        tries = tries + 1
        cqueues.sleep(tries < 3 and 60 or 0)
      end
      return i
    end, parlua.range(3), with { timeout = 0.05, retries = 2 })
    assert.same({ { 1, 2, 3, n = 3 }, 0, 3 }, { results, #failures, tries })
    local _, late = parlua.map(function() cqueues.sleep(60) end, { "x" }, with { timeout = 0.02 })
    assert.same({ "timeout", "the task took more than 0.02 s", "x" }, { late[1].kind, late[1].message, late[1].args[1] })
  end)

  it("lets a task with a time limit go on that yields and waits for nothing", function()
    local turns = {}
    local results, failures = parlua.map(function(i)
      for _ = 1, 3 do
        turns[#turns + 1] = i
        cqueues.poll()
      end
      return i
    end, parlua.range(2), with { timeout = 60 })
    assert.same({ { 1, 2, n = 2 }, 0, 6 }, { results, #failures, #turns })
    assert.are_not.same({ 1, 1, 1, 2, 2, 2 }, turns)
  end)

  it("counts no time before a task's turn, and lets one that computes return", function()
    local results, failures = parlua.map(function(i)
      if i == 1 then
        local last = host.now() + 0.4
        while host.now() < last do end -- luacheck: ignore 542
      elseif i == 2 then
        cqueues.sleep(600)
      end
      return i
    end, parlua.range(4), with { timeout = 0.2 })
    assert.same({ 1, nil, 3, 4, n = 4 }, results)
    assert.same({ 1, 2, "timeout" }, { #failures, failures[1].index, failures[1].kind })
  end)

  it("refuses limits that need workers of their own, and names the engines that have them", function()
    assert.has_error(function() parlua.map(tostring, { 1 }, with { memory = "1G" }) end,
      "option 'memory': the async engine cannot limit a worker's memory; use engine = \"process\"")
    assert.has_error(function() parlua.map(tostring, { 1 }, with { max_tasks = 2 }) end,
      "option 'max_tasks': the async engine has no workers that could be replaced; use engine = \"threads\" or "
      .. "engine = \"process\"")
  end)

  it("keeps failures with their tracebacks, arguments of their own and results of their own", function()
    local list, result = { { n = 1 }, { n = 2 } }, {}
    local function f(t)
      t.n = t.n + 10
      result.n = t.n
      cqueues.sleep(0.001)
      if t.n == 12 then error("no " .. t.n) end
      return result
    end
    local results, failures = parlua.map(f, list, with())
    assert.same({ 1, 2 }, { list[1].n, list[2].n })
    assert.is_true(results[1] ~= result)
    assert.truthy(failures[1].message:find "async_spec.lua:%d+: no 12")
    assert.is_nil(failures[1].traceback:find "parlua")
    assert.equal(2, failures[1].args[1].n)
  end)

  it("does not copy what functions have captured, also where calls are made in between", function()
    local shared, pool = { n = 0 }, parlua.pool { engine = "async" }
    local function f()
      cqueues.sleep(0.001)
      return shared
    end
    local first = pool:submit(f)
    local results = parlua.map(f, { 1, 2 }, with())
    assert.equal(shared, results[1])
    assert.equal(shared, results[2])
    assert.equal(shared, (first:get()))
    pool:close()
  end)

  it("ends where the arguments of a task can't be made, which is that task's failure", function()
    local lists = { { 1 }, { 2 }, { 3, 4 } }
    local results, failures = parlua.starmap(function(...)
      lists[2] = 2
      return select("#", ...)
    end, lists, with { workers = 1 })
    assert.same({ 1, 2, 1, 2 }, { results[1], results[3], #failures, failures[1].index })
    assert.matches("a number value", failures[1].message)
  end)

  it("refuses to yield to nobody, and goes on", function()
    local results, failures = parlua.map(function(i)
      if i == 1 then coroutine.yield(5) end
      return coroutine.wrap(function() coroutine.yield(i) end)()
    end, parlua.range(2), with())
    assert.equal(2, results[2])
    assert.truthy(failures[1].message:find "attempt to yield from a task to outside of it")
  end)

  it("folds to the value of the other engines, bit by bit", function()
    local function f(i)
      if i % 50 == 0 and cqueues.running() then cqueues.sleep(0.001) end
      return 1 / i
    end
    local reduction = { sum = parlua.sum, top = parlua.top(2) }
    assert.same((parlua.reduce(f, parlua.range(3000), reduction, { engine = "process" })),
      (parlua.reduce(f, parlua.range(3000), reduction, with { workers = 20 })))
    local index, value = parlua.find(function(i) return i == 7 and i * i end, parlua.range(1e9), with())
    assert.same({ 7, 49 }, { index, value })
  end)

  it("takes generators as it needs them, texts, and rows", function()
    local asked = 0
    local function source()
      asked = asked + 1
      return asked
    end
    for i in parlua.imap(function(x) return x end, source, with { window = 5 }) do
      if i == 10 then break end
    end
    assert.is_true(asked < 100, asked)
    helper.with_directory(function(directory)
      local path = helper.write(directory .. "/rows.csv", "name,n\na,1\nb\nc,3\n")
      local results, failures = parlua.map(function(row) return row.name .. row.n end, parlua.csv(path), with())
      assert.same({ "a1", "c3", 2 }, { results[1], results[3], failures[1].index })
      assert.same({ "name,n", "a,1", "b", "c,3", n = 4 }, (parlua.map(function(line) return line end, parlua.lines(path), with())))
    end)
  end)

  it("gives back what a loop held that was left, once its stream is collected", function()
    local function count_polls()
      local n, pid = 0, host.pid()
      for name in require("lfs").dir(("/proc/%d/fd"):format(pid)) do
        local kind = require("lfs").symlinkattributes(("/proc/%d/fd/%s"):format(pid, name), "target")
        n = n + (kind and kind:find "eventpoll" and 1 or 0)
      end
      return n
    end
    local function settle()
      collectgarbage()
      collectgarbage()
      return count_polls()
    end
    local before = settle()
    local function leave()
      local next_result = parlua.imap(function(i) cqueues.sleep(0.001) return i end, parlua.range(7), with { window = 2 })
      assert.equal(1, (next_result()))
    end
    leave()
    assert.equal(before, settle())
  end)

  it("stops where on_error, max_failures and stop say, and ends what waits", function()
    local began = host.now()
    local ok, failure = pcall(parlua.map, function(i)
      if i == 2 then error("two", 0) end
      cqueues.sleep(i == 1 and 0.01 or 600)
    end, parlua.range(10), with { on_error = "halt", workers = 10 })
    assert.same({ false, 2 }, { ok, failure.index })
    assert.is_true(host.now() - began < 60)
  end)

  it("records in a journal, and goes on from it", function()
    helper.with_directory(function(directory)
      local script = helper.write(directory .. "/script.lua", ([[
        local parlua, cqueues = require "parlua", require "cqueues"
        local resume = arg[1] == "resume"
        local function f(i)
          io.stderr:write(i, " ")
          cqueues.sleep(0.001)
          if i > 3 and not io.open("power") then error("later", 0) end
          return i * 2
        end
        local results = parlua.map(f, parlua.range(5), { engine = "async", journal = %q, resume = resume or nil,
          retry_failed = resume or nil, warn = false })
        print(results[1], results[3], results[5])
      ]]):format(directory .. "/j.db"))
      local first = helper.run_parlua(script, { directory = directory })
      assert.equal("2\t6\tnil\n", first.stdout, first.stderr)
      helper.write(directory .. "/power", "")
      local second = helper.run_parlua(script .. " resume", { directory = directory })
      assert.same({ "2\t6\t10\n", "4 5 " }, { second.stdout, second.stderr })
    end)
  end)

  it("waits for programs of parlua.exec side by side", function()
    helper.with_directory(function(directory)
      local waits = "until [ -e gate ]; do sleep 0.01; done; cat; echo err >&2; exit $0"
      local options, seen = { cwd = directory, stdin = ("x"):rep(200000), check = false }, {}
      local results, failures = parlua.map(function(i)
        if i == 4 then helper.write(directory .. "/gate", "") end
        local out, err, status = parlua.exec("sh", "-c", waits, i, options)
        seen[#seen + 1] = parlua.task.index
        return { #out, err, status }
      end, parlua.range(4), with { workers = 4 })
      assert.same({ 0, { { 200000, "err\n", 1 }, { 200000, "err\n", 2 }, { 200000, "err\n", 3 }, { 200000, "err\n", 4 },
        n = 4 } }, { #failures, results })
      table.sort(seen)
      assert.same({ 1, 2, 3, 4 }, seen)
      local _, late = parlua.map(function(i)
        parlua.exec("sleep", "600", { timeout = i == 1 and 0.05 or nil })
      end, { 1, 2 }, with { timeout = 0.3 })
      assert.same({ "error", "timeout" }, { late[1].kind, late[2].kind })
      assert.equal("timeout", late[1].value.reason)
    end)
  end)

  it("has futures that wait side by side", function()
    local pool = parlua.pool { engine = "async", workers = 10 }
    local futures, began, ended = {}, host.now(), {}
    local function wait(k) -- the last is the first to end
      while k < 3 and not ended[k + 1] do cqueues.sleep(0.001) end
      ended[k] = true
      return 0.03 * (4 - k)
    end
    for k = 1, 3 do futures[k] = pool:submit(wait, k) end
    local order = {}
    for _, k in parlua.as_completed(futures) do order[#order + 1] = k end
    assert.same({ 3, 2, 1 }, order)
    local sum = pool:submit(function(a, b) return a + b end, futures[1], futures[2])
    assert.is_true(math.abs(sum:get() - 0.15) < 1e-9)
    local slow = pool:submit(function() cqueues.sleep(600) end)
    assert.is_false(slow:wait(0.01))
    assert.is_true(slow:cancel())
    assert.equal("cancelled", slow.failure.kind)
    pool:close()
    assert.is_true(host.now() - began < 300)
  end)

  it("ends by Ctrl-C and SIGTERM with what is done", function()
    helper.with_directory(function(directory)
      helper.write(directory .. "/script.lua", [[
        local parlua, cqueues = require "parlua", require "cqueues"
        local has_ended
        local results, failures, summary = parlua.map(function(i)
          if i == 2 then
            while not has_ended do cqueues.sleep(0.001) end
            io.open("begun", "w"):close()
            cqueues.sleep(600)
          end
          has_ended = i == 3
          return i
        end, { 1, 2, 3 }, { engine = "async", warn = false })
        print(results[1], results[3], failures[1].kind, summary.interrupted)
      ]])
      local result = helper.run(("%s script.lua & p=$!; while [ ! -e begun ]; do sleep 0.01; done; kill -TERM $p; wait $p"):format(
        helper.quote(helper.parlua)), { directory = directory })
      assert.same({ "1\t3\tcancelled\tSIGTERM\n", 143 }, { result.stdout, result.status })
    end)
  end)

  it("tells tasks, also those that have waited, and failures where their lines come from", function()
    helper.with_directory(function(directory)
      local path = directory .. "/t.csv"
      helper.write(path, "x\n1\n\n2\n3\n")
      local function place(row)
        local before = parlua.task.line
        cqueues.sleep(0.03 - 0.01 * (type(row) == "table" and row.x or 0))
        assert(before == parlua.task.line and parlua.task.path == path)
        if type(row) == "table" and row.x == 2 then error "two" end
        return before
      end
      local lines, failures = parlua.map(place, parlua.csv(path), { engine = "async", workers = 3, retries = 1 })
      assert.same({ 2, nil, 5, n = 3 }, lines)
      assert.same({ 1, path, 4, 2 }, { #failures, failures[1].path, failures[1].line, failures[1].attempts })
      assert.same({ 1, 2, 3, 4, 5, n = 5 }, (parlua.map(place, parlua.lines(path), { engine = "async", workers = 3 })))
      assert.is_nil(parlua.task.path)
    end)
  end)
end)
