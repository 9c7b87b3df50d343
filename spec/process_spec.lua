local ffi = require "ffi"
local helper = require "spec.helper"
local lfs = require "lfs"
local parlua = require "parlua"

ffi.cdef [[
int getpid(void);
int kill(int pid, int signal);
void abort(void);
unsigned int usleep(unsigned int microseconds);
]]

local SIGKILL = 9

--- Appends to a file, which is how a task tells that it ran.
local function append(path, text)
  local file = io.open(path, "a")
  file:write(text)
  file:close()
end

--- How often each number stands in a file of numbers.
local function counts_in(path)
  local counts = {}
  for line in io.lines(path) do
    local i = tonumber(line)
    counts[i] = (counts[i] or 0) + 1
  end
  return counts
end

--- The processes whose parent is `parent`.
local function children_of(parent)
  local children = {}
  for name in lfs.dir("/proc") do
    local file = name:find("^%d+$") and io.open("/proc/" .. name .. "/stat")
    local stat = file and file:read("*a")
    if file then file:close() end
    if stat and tonumber(stat:match("%) %a (%d+)")) == parent then children[#children + 1] = tonumber(name) end
  end
  return children
end

local function is_alive(pid)
  local file = io.open("/proc/" .. pid .. "/stat")
  if not file then return false end
  local stat = file:read("*a") or ""
  file:close()
  return stat:match("%) (%a)") ~= "Z" and stat ~= ""
end

--- Waits for a condition; raises when it does not come true for very long.
local function wait_for(what, condition)
  for _ = 1, 6000 do
    local value = condition()
    if value then return value end
    ffi.C.usleep(10000)
  end
  error("waited in vain for " .. what)
end

--- Functions of C, also for tasks in processes that are not forked from this one.
local function libc()
  local found = require "ffi"
  pcall(found.cdef, "int getpid(void); int kill(int pid, int signal); void abort(void); unsigned int usleep(unsigned int);")
  return found.C
end

-- What only processes promise, those of a cluster too: a worker that dies, hangs or grows costs one failure.
describe("a process as worker", function()
  helper.for_each_engine(function(engine)
    local with = helper.options(engine)

    --- Maps over 1..n, task `culprit` calling `die`; checks that it alone failed. Returns its failure.
    local function only_failure(culprit, n, die, options)
      local results, failures, summary = parlua.map(function(i)
        if i == culprit then die() end
        return i
      end, parlua.range(n), with(options))
      assert.equal(1, #failures)
      local failure = failures[1]
      assert.equal(culprit, failure.index)
      assert.same({ culprit, n = 1 }, failure.args)
      assert.equal(n, results.n)
      for i = 1, n do
        if i ~= culprit and results[i] ~= i then assert.equal(i, results[i]) end
      end
      assert.is_nil(results[culprit])
      assert.equal(n - 1, summary.returned)
      assert.equal(1, summary.failed)
      return failure
    end

    describe("makes one failure of a worker that", function()
      it("touches memory that is not its own", function()
        local failure = only_failure(7, 20, function() ffi.cast("int *", 16)[0] = 1 end)
        assert.equal("crash", failure.kind)
        assert.truthy(failure.message:find("SIGSEGV", 1, true) or failure.message:find("exited with status 1", 1, true),
          failure.message)
        assert.equal(1, failure.attempts)
        assert.is_true(failure.worker >= 1 and failure.worker <= helper.workers * (engine == "mpi" and 3 or 1))
      end)

      it("exits with a status", function()
        local failure = only_failure(7, 20, function() os.exit(3) end)
        assert.equal("crash", failure.kind)
        assert.equal("the worker exited with status 3", failure.message)
      end)

      it("exits with status 0", function()
        local failure = only_failure(7, 20, function() os.exit(0) end)
        assert.equal("crash", failure.kind)
        assert.equal("the worker exited with status 0", failure.message)
        assert.equal("crash", only_failure(1, 1, function() os.exit() end).kind)
      end)

      it("aborts", function()
        local failure = only_failure(7, 20, function() libc().abort() end)
        assert.equal("crash", failure.kind)
        assert.truthy(failure.message:find("the worker was killed by SIGABRT", 1, true), failure.message)
      end)

      it("is killed from outside, in its first task and in its last", function()
        for _, culprit in ipairs { 1, 40 } do
          local failure = only_failure(culprit, 40, function()
            libc().kill(libc().getpid(), SIGKILL)
            libc().usleep(60e6)
          end)
          assert.equal("crash", failure.kind)
          assert.equal("the worker was killed by SIGKILL", failure.message)
        end
      end)

      it("dies in the middle of a chunk of thousands: what was finished is kept and not run again", function()
        helper.with_directory(function(directory)
          local path = directory .. "/ran"
          local results, failures = parlua.map(function(i)
            append(path, i .. "\n")
            if i == 2500 then os.exit(3) end
            return i % 2 == 0 and i or { i }
          end, parlua.range(5000), with { workers = 1, chunk = 4000 })
          assert.equal(1, #failures)
          assert.equal(2500, failures[1].index)
          local counts = counts_in(path)
          for i = 1, 5000 do
            if counts[i] ~= 1 then assert.same({ i, 1 }, { i, counts[i] }) end
            local result = results[i]
            if i ~= 2500 then assert.equal(i, type(result) == "table" and result[1] or result) end
          end
        end)
      end)

      it("dies again and again: each death is one failure, each task runs once", function()
        helper.with_directory(function(directory)
          local path = directory .. "/ran"
          local function run(arguments)
            os.remove(path)
            local _, failures, summary = parlua.map(function(i)
              append(path, i .. "\n")
              if i % 50 == 0 then os.exit(1) end
              return i
            end, arguments, with())
            assert.equal(20, #failures)
            for k, failure in ipairs(failures) do
              assert.equal(50 * k, failure.index)
              assert.same({ 50 * k, n = 1 }, failure.args)
            end
            local counts = counts_in(path)
            for i = 1, 1000 do assert.equal(1, counts[i]) end
            assert.equal(980, summary.returned)
          end
          run(parlua.range(1000))
          local n = 0
          run(function()
            n = n + 1
            return n <= 1000 and n or nil
          end)
        end)
      end)

      it("dies while each is running: failures before it are kept", function()
        local failures = parlua.each(function(i)
          if i == 100 then os.exit(1) end
          if i % 10 == 0 then error(i, 0) end
        end, parlua.range(200), with { chunk = 200 })
        assert.equal(20, #failures)
        for k, failure in ipairs(failures) do
          assert.equal(10 * k, failure.index)
          assert.equal(k == 10 and "crash" or "error", failure.kind)
        end
      end)

      it("dies at every task", function()
        local failures = parlua.each(function() os.exit(9) end, parlua.range(30), with())
        assert.equal(30, #failures)
        for i, failure in ipairs(failures) do assert.equal(i, failure.index) end
      end)
    end)

    it("tries a task again that killed its worker, with retries", function()
      helper.with_directory(function(directory)
        local mark = directory .. "/mark"
        local results, failures = parlua.map(function(i)
          if i == 5 then
            append(mark, "x")
            if #helper.read(mark) < 3 then os.exit(1) end
          end
          return i
        end, parlua.range(10), with { retries = 2 })
        assert.same({}, failures)
        assert.equal(5, results[5])
        assert.equal("xxx", helper.read(mark))
      end)
    end)

    describe("with a timeout", function()
      it("ends a compiled endless loop, and replaces the worker", function()
        local failure = only_failure(4, 12, function() while true do end end, { timeout = 0.2 }) -- luacheck: ignore 542
        assert.equal("timeout", failure.kind)
        assert.equal("the task took more than 0.2 s", failure.message)
        assert.is_true(failure.seconds >= 0.2, "seconds: " .. failure.seconds)
      end)

      it("ends a task that sleeps", function()
        assert.equal("timeout", only_failure(1, 1, function() libc().usleep(60e6) end, { timeout = 0.1 }).kind)
      end)

      it("replaces workers that end one after another, however they end", function()
        local result = helper.run_parlua("--engine " .. engine .. " -n 2 -", { seconds = 60, stdin = [[
          local ffi, parlua = require "ffi", require "parlua"
          ffi.cdef "int getpid(void); int kill(int pid, int signal);"
          local function task(i)
            if i % 4 == 0 then while true do end end
            if i % 4 == 1 then libc().kill(ffi.C.getpid(), 9) end
          end
          for _ = 1, 15 do
            local _, failures = parlua.map(task, parlua.range(24), { timeout = 0.01 })
            assert(#failures >= 12) -- on a busy machine a short task may be over the limit too
          end]] })
        assert.equal(0, result.status, result.stderr)
      end)

      it("leaves many short tasks alone, whatever they take together", function()
        local _, failures = parlua.map(function(i)
          libc().usleep(2000)
          return i
        end, parlua.range(200), with { timeout = 0.15, chunk = 100 })
        assert.same({}, failures)
      end)

      it("does not count the time in which a slow consumer holds a task up", function()
        local count = 0
        local step, stream = parlua.imap(function(i) return ("x"):rep(100000) .. i end, parlua.range(40),
          with { timeout = 0.2, chunk = 40 })
        for _ in step, stream do
          count = count + 1
          if count == 1 then libc().usleep(500000) end
        end
        assert.same({}, stream.failures)
        assert.equal(40, count)
      end)
    end)

    it("with a memory limit fails the task that needs more, and runs the others", function()
      local failure = only_failure(3, 8, function()
        local t = {} -- luacheck: ignore 241
        for k = 1, 1e9 do t[k] = ("x"):rep(1e6) .. k end
      end, { memory = "100M" })
      assert.equal("memory", failure.kind)
      assert.truthy(failure.message:find("not enough memory"), failure.message)
    end)

    it("with a memory limit fails the task that uses it up bit by bit, and even holds on to it", function()
      local failure = only_failure(3, 8, function()
        local t = {}
        for k = 1, 1e9 do t[k] = { k } end
        return #t
      end, { memory = "60M" })
      assert.equal("memory", failure.kind)
      failure = only_failure(3, 8, function()
        _G.parlua_spec_hoard = {}
        for k = 1, 1e9 do _G.parlua_spec_hoard[k] = { k } end
      end, { memory = "60M" })
      assert.equal("memory", failure.kind)
      assert.truthy(failure.message:find("not enough memory"), failure.message)
    end)

    it("goes on when a worker is killed from outside while it waits for work", function()
      -- A cluster's workers stay for the next call; others are forked for it.
      local kept = parlua.map(function() return libc().getpid() end, { 1 }, with())[1]
      local n, victim = 0, nil
      local results, failures = parlua.map(function(i) return i end, function()
        n = n + 1
        if n == 500 then
          victim = engine == "mpi" and kept or children_of(ffi.C.getpid())[1]
          libc().kill(victim, SIGKILL)
          wait_for("its end", function() return not is_alive(victim) end)
        end
        return n <= 1000 and n or nil
      end, with())
      assert.equal(1000, results.n)
      assert.is_true(#failures <= 1) -- none, unless it was in a task
      local holes = 0
      for i = 1, 1000 do
        if results[i] == nil then holes = holes + 1 else assert.equal(i, results[i]) end
      end
      assert.equal(#failures, holes)
    end)

    it("gives up with a clear error when workers end as soon as they begin", function()
      local ok, message = pcall(parlua.map, function(x) return x end, { 1, 2, 3 },
        with { setup = function() os.exit(4) end })
      assert.is_false(ok)
      assert.equal(("the %s engine cannot start workers: they end as soon as they begin (the worker exited with status 4): "
        .. "see the option setup"):format(engine), message)
      if engine == "process" then assert.same({}, children_of(ffi.C.getpid())) end
    end)

    it("gives up with the reason when a worker fails before its first task, each time", function()
      local function breaks_library() require("parlua.worker.wear").last = function() error("no such field", 0) end end
      for _, call in ipairs { "map", "submit" } do
        local pool = parlua.pool(with { setup = breaks_library })
        local ok, message = pcall(function()
          if call == "map" then return pool:map(function(x) return x end, parlua.range(1e6)) end
          return pool:submit(function(x) return x end, 1):get()
        end)
        assert.is_false(ok)
        assert.equal("parlua itself failed in a worker: no such field", call == "map" and message or message.message)
        pool:close()
      end
    end)

    it("lets tasks run programs and read what they say", function()
      local results = parlua.map(function(i)
        local pipe = io.popen("echo " .. i)
        local text = pipe:read("*a")
        pipe:close()
        return { text, os.execute("exit 0") }
      end, parlua.range(4), with())
      for i = 1, 4 do assert.same({ i .. "\n", 0 }, results[i]) end
    end)
  end, { "process", "mpi" })
end)

-- What only forking gives: the function sees all that the script has, and nothing is left of the workers.
describe("the process engine", function()
  local with = helper.options("process")

  describe("shows the function", function()
    it("the script's upvalues and globals as they are at the call", function()
      local upvalue = 1
      _G.parlua_spec_global = 1
      local function f() return { upvalue, _G.parlua_spec_global } end
      assert.same({ { 1, 1 }, n = 1 }, (parlua.map(f, { 0 }, with())))
      upvalue, _G.parlua_spec_global = 2, 20
      assert.same({ { 2, 20 }, n = 1 }, (parlua.map(f, { 0 }, with())))
      _G.parlua_spec_global = nil
    end)

    it("what can't be sent: open files, coroutines, cdata", function()
      local file = io.tmpfile()
      file:write("content")
      file:seek("set")
      local step = coroutine.wrap(function() coroutine.yield("yielded") end)
      local array = ffi.new("double[3]", 1, 2, 3)
      local results = parlua.map(function() return { file:read("*a"), step(), array[2] } end, { 1 },
        with { workers = 1 })
      assert.same({ { "content", "yielded", 3 }, n = 1 }, results)
      file:close()
    end)

    it("a copy: what a task changes stays its own", function()
      local counter = 0
      parlua.each(function() counter = counter + 1 end, parlua.range(100), with())
      assert.equal(0, counter)
    end)

    it("also arguments that can't be sent, as far as they stand in a list", function()
      local results, failures = parlua.map(function(file) return io.type(file) end, { io.tmpfile(), io.tmpfile() },
        with())
      assert.same({}, failures)
      assert.same({ "file", "file", n = 2 }, results)
    end)
  end)

  it("ends the programs that a task runs together with the task", function()
    helper.with_directory(function(directory)
      local failures = parlua.each(function(i)
        os.execute(("sh -c 'echo $$ >%s/%d.new; mv %s/%d.new %s/%d; while :; do sleep 0.1; done'; true"):format(directory, i,
          directory, i, directory, i))
      end, { 1, 2 }, with { timeout = 0.5 })
      assert.equal(2, #failures)
      for i = 1, 2 do
        local pid = tonumber(helper.read(directory .. "/" .. i))
        wait_for("the program's end", function() return not is_alive(pid) end)
      end
    end)
  end)

  describe("leaves no process behind", function()
    --- All of this process's children are gone: a run waits for its own. Those of a pool end when the pool is collected,
    --- as is the program's own, of which other specs may have used futures.
    local function no_children()
      collectgarbage()
      assert.same({}, children_of(ffi.C.getpid()))
    end

    it("when a run ends", function()
      parlua.map(function(x) return x end, parlua.range(100), with())
      no_children()
    end)

    it("when tasks fail, crash or time out", function()
      parlua.map(function(i)
        if i == 1 then os.exit(1) end
        if i == 2 then error("x") end
        if i == 3 then ffi.C.usleep(60e6) end
      end, parlua.range(10), with { timeout = 0.1 })
      no_children()
    end)

    it("when a run halts", function()
      pcall(parlua.map, function(i)
        if i == 1 then error("stop") end
        ffi.C.usleep(60e6)
      end, parlua.range(10), with { on_error = "halt", chunk = 1 })
      no_children()
    end)

    it("when the consumer's loop is left, once its stream is closed or collected", function()
      local step, stream = parlua.imap(function(x) return x end, parlua.range(1e9), with())
      step(stream)
      stream:close()
      no_children()
      for _ in parlua.imap(function(x) return x end, parlua.range(1e9), with()) do break end -- luacheck: ignore 512
      step, stream = nil, nil -- luacheck: ignore 311
      collectgarbage()
      collectgarbage()
      no_children()
    end)

    it("nor ends anything else, when the loop is left as a worker has just died", function()
      local result = helper.run_parlua("-e " .. helper.quote([[
        local parlua = require "parlua"
        for _ = 1, 20 do
          local iterator, stream = parlua.imap(function(i)
            if i == 5 then os.exit(1) end
            return i
          end, parlua.range(10), { engine = "process", workers = 1, chunk = 10 })
          assert(iterator() == 1)
          stream:close()
        end
        print "well"
      ]]))
      assert.same({ 0, "well\n" }, { result.status, result.stdout })
    end)

    it("when the generator raises", function()
      pcall(parlua.map, function(x) return x end, function() error("no") end, with())
      no_children()
    end)

    it("when the coordinator is killed", function()
      helper.with_directory(function(directory)
        local script = helper.write(directory .. "/long.lua", [[
          local ffi, parlua = require "ffi", require "parlua"
          ffi.cdef "int getpid(void); unsigned int usleep(unsigned int);"
          local directory = ...
          parlua.each(function(i)
            io.open(directory .. "/worker" .. i, "w"):write(ffi.C.getpid(), "\n")
            while true do if i == 1 then ffi.C.usleep(1000) end end
          end, parlua.range(2), { engine = "process", workers = 2, chunk = 1 })
        ]])
        local pipe = io.popen(("%s %s %s & echo $!"):format(helper.quote(helper.parlua), script, directory))
        local coordinator = pipe:read("*n")
        local workers = wait_for("both workers", function()
          local pids = {}
          for k = 1, 2 do
            local file = io.open(directory .. "/worker" .. k)
            pids[k] = file and file:read("*n")
            if file then file:close() end
          end
          return #pids == 2 and pids or #children_of(coordinator) == 2 and children_of(coordinator)
        end)
        ffi.C.kill(coordinator, SIGKILL)
        pipe:close()
        for _, pid in ipairs(workers) do wait_for("a worker's end", function() return not is_alive(pid) end) end
      end)
    end)
  end)
end)
