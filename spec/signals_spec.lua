local ffi = require "ffi"
local helper = require "spec.helper"
local lfs = require "lfs"

ffi.cdef [[
int kill(int pid, int signal);
]]

describe("a signal", function()
  local directory

  before_each(function() directory = helper.new_directory() end)
  after_each(function() helper.remove(directory) end)

  --- Runs a script in the foreground (a shell makes what it runs in the background deaf to SIGINT) and sends it
  -- signals: a list of
  --- { the name of a file to wait for, a signal }. The script may read the name of this directory as `...`.
  local function run_with_signals(engine, signals, text, options)
    options = options or {}
    helper.write(directory .. "/script.lua", "local parlua = require 'parlua'\n" .. [[
      local function touch(name) io.open(name, "w"):close() end
      local function pid_file(name)
        local ffi = require "ffi"
        ffi.cdef "int getpid(void);"
        local file = io.open(name .. ".new", "w")
        file:write(ffi.C.getpid(), "\n")
        file:close()
        os.rename(name .. ".new", name)
      end
    ]] .. text)
    local sender = {}
    for k, signal in ipairs(signals) do
      sender[k] = ("n=0; while [ ! -e %s ] && [ $n -lt 3000 ]; do n=$((n+1)); sleep 0.01; done; "
        .. "kill -%s $(cat pid);"):format(
        signal[1], signal[2])
    end
    sender[#sender + 1] = ":;"
    return helper.run(("{ %s } & sh -c 'echo $$ >pid; exec \"$@\"' sh %s --engine %s -n 2 %s"):format(
      table.concat(sender, " "), helper.quote(helper.parlua), engine, options.words or "script.lua"),
      { directory = directory, stdin = options.stdin, seconds = options.seconds or 60 })
  end

  local function is_alive(pid)
    local file = io.open("/proc/" .. pid .. "/stat")
    if not file then return false end
    local stat = file:read("*a") or ""
    file:close()
    return stat ~= "" and stat:match("%) (%a)") ~= "Z"
  end

  local exit = { INT = 130, TERM = 143 }

  helper.for_each_engine(function(engine)
    for _, signal in ipairs { "INT", "TERM" } do
      it("SIG" .. signal .. " ends a call, which returns what is done; the program goes on and ends with " ..
        exit[signal], function()
        local result = run_with_signals(engine, { { "running", signal } }, [[
          local results, failures, summary = parlua.map(function(i)
            if i == 3000 then touch("running") end
            local x = 0
            for k = 1, i > 3000 and 1e5 or 1 do x = x + k end
            return i
          end, parlua.range(1e7), { workers = 1 })
          print(results[1], results[2], results.n, summary.interrupted, summary.cancelled > 0, summary.tasks >= 2999)
          for _, failure in ipairs(failures) do assert(failure.kind == "cancelled") end
          print(#failures <= 2, parlua.interrupted())
        ]])
        assert.equal(("1\t2\t10000000\tSIG%s\ttrue\ttrue\ntrue\tSIG%s\n"):format(signal, signal), result.stdout,
          result.stderr)
        assert.equal("", result.stderr)
        assert.equal(exit[signal], result.status)
      end)
    end

    it("leaves a journal that holds what was done, from which the next run goes on", function()
      -- what runs in serial is not interrupted: it ends once the signal was sent
      local signal = engine == "serial" and "INT $(cat pid); : >go; kill -0" or "INT"
      local text = [[
        local results = parlua.map(function(i)
          if i == 31 and not io.open("go") then
            touch("ready")
            while not io.open("go") do end
          end
          return i
        end, parlua.range(40), { chunk = 1, workers = 1 })
        print(results.n, results[30], results[40])
      ]]
      local result = run_with_signals(engine, { { "ready", signal } }, text, { words = "--journal run.db script.lua" })
      assert.equal("40\t30\tnil\n", result.stdout, result.stderr)
      assert.equal(130, result.status)
      helper.write(directory .. "/go", "")
      result = run_with_signals(engine, {}, text, { words = "--journal run.db --resume script.lua" })
      assert.equal("40\t30\t40\n", result.stdout, result.stderr)
      assert.equal("40\n", helper.run("sqlite3 run.db 'select count(*) from tasks'", { directory = directory }).stdout)
    end)

    it("ends a loop over imap, whose summary tells", function()
      local result = run_with_signals(engine, { { "running", "INT" } }, [[
        local step, stream = parlua.imap(function(i) return i end, (function()
          local n = 0
          return function() n = n + 1 return n end
        end)())
        local last = 0
        for i in step, stream do
          if i == 1000 then touch("running") end
          assert(i > last) -- what was cut off leaves gaps
          last = i
        end
        print(last > 0, stream:summary().interrupted)
      ]])
      assert.equal("true\tSIGINT\n", result.stdout, result.stderr)
      assert.equal(130, result.status)
    end)

    it("lets no further call begin, which says why", function()
      local result = run_with_signals(engine, { { "running", "INT" } }, [[
        parlua.each(function(i) if i == 10 then touch("running") end end, parlua.range(1e12))
        print("first")
        parlua.each(print, { "not expected" })
        print("not reached")
      ]])
      assert.equal("first\n", result.stdout)
      assert.truthy(result.stderr:find("the program was interrupted by SIGINT", 1, true), result.stderr)
      assert.equal(130, result.status)
    end)

    it("at the prompt ends what was typed, and the session goes on", function()
      local result = run_with_signals(engine, { { "running", "INT" } }, "", {
        words = "-i", stdin = table.concat({
          "parlua = require 'parlua'",
          "f = function(i) if i == 10 then io.open('running', 'w'):close() end return i end",
          "_, summary = parlua.each(f, parlua.range(1e12))",
          "print('still here', summary.interrupted)",
          "print(parlua.map(function(x) return 2 * x end, { 21 })[1])",
        }, "\n") .. "\n",
      })
      assert.truthy(result.stdout:find("still here\tSIGINT", 1, true), result.stdout .. result.stderr)
      assert.truthy(result.stdout:find("42\n", 1, true), result.stdout .. result.stderr)
      assert.equal(0, result.status)
    end)
  end)

  -- The serial engine runs tasks in the program's own state, where nothing but a second signal ends one that never
  -- returns.
  helper.for_each_engine(function(engine)
    it("ends tasks that never return, and leaves no process", function()
      local result = run_with_signals(engine, { { "worker1", "INT" } }, [[
        local _, failures, summary = parlua.map(function(i)
          pid_file("worker" .. i)
          while true do end
        end, parlua.range(5), { chunk = 1 })
        for _, failure in ipairs(failures) do print(failure.index, failure.kind, failure.message) end
        print(summary.interrupted, summary.returned, summary.failed + summary.cancelled)
      ]])
      assert.equal(130, result.status)
      assert.truthy(result.stdout:find("1\tcancelled\tthe run was cancelled\n", 1, true), result.stdout ..
        result.stderr)
      assert.truthy(result.stdout:find("SIGINT\t0\t5\n$"), result.stdout .. result.stderr)
      for name in lfs.dir(directory) do
        if name:find("^worker%d$") then assert.is_false(is_alive(tonumber(helper.read(directory .. "/" .. name)))) end
      end
    end)

    it("ends more threads than may be abandoned at time limits", function()
      local result = run_with_signals(engine, { { "running", "INT" } }, [[
        local _, _, summary = parlua.map(function(i)
          local file = io.open("begun", "a")
          file:write("x")
          file:close()
          if #io.open("begun"):read("*a") == 12 then touch("running") end
          while true do end
        end, parlua.range(12), { chunk = 1, workers = 12 })
        print(summary.interrupted, summary.failed)
      ]])
      assert.equal("SIGINT\t12\n", result.stdout, result.stderr)
      assert.equal(130, result.status)
    end)
  end, { "threads", "process" })

  helper.for_each_engine(function(engine)
    it("that comes a second time ends the program at once, and its workers", function()
      local result = run_with_signals(engine, { { "first", "INT" }, { "second", "INT" } }, [[
        local host = require "parlua.host"
        for i in parlua.imap(function(i)
          pid_file("worker" .. i)
          return i
        end, parlua.range(1e9), { chunk = 1, window = 2 }) do
          touch("first") -- the body of the loop is deaf to the first signal, and would be for ever
          while host.signals_count() == 0 do end
          touch("second")
          while true do end
        end
      ]])
      assert.equal(130, result.status) -- by the signal: 128 + 2
      for name in lfs.dir(directory) do
        local pid = name:find("^worker%d$") and tonumber(helper.read(directory .. "/" .. name))
        if pid then
          for _ = 1, 1000 do
            if not is_alive(pid) then break end
            os.execute("sleep 0.01")
          end
          assert.is_false(is_alive(pid))
        end
      end
    end)
  end)

  it("to the whole group, as from a terminal, leaves the decision to the coordinator: what is done is kept", function()
    helper.write(directory .. "/script.lua", [[
      local parlua = require "parlua"
      local results, failures, summary = parlua.map(function(i)
        if i == 500 then
          os.execute("trap '' INT; kill -INT 0")
          while true do end
        end
        return i
      end, parlua.range(1000), { engine = "process", workers = 1, chunk = 10 })
      print(results[1], summary.interrupted, summary.returned >= 400)
      for _, failure in ipairs(failures) do assert(failure.kind == "cancelled", failure.message) end
    ]])
    local result = helper.run(("setsid %s script.lua"):format(helper.quote(helper.parlua)),
      { directory = directory, seconds = 60 })
    assert.equal("1\tSIGINT\ttrue\n", result.stdout, result.stderr)
    assert.equal(130, result.status)
  end)

  it("that is ignored, as under nohup, stays ignored", function()
    helper.write(directory .. "/script.lua", [[
      local ffi, parlua = require "ffi", require "parlua"
      ffi.cdef "int getpid(void); int kill(int, int);"
      local pid = ffi.C.getpid()
      local results, _, summary = parlua.map(function(i)
        if i == 5 then ffi.C.kill(pid, 2) end
        return i
      end, parlua.range(10), { engine = "process", workers = 2 })
      print(results[5], summary.interrupted)
    ]])
    local result = helper.run(("trap '' INT; %s script.lua"):format(helper.quote(helper.parlua)),
      { directory = directory })
    assert.equal("5\tnil\n", result.stdout, result.stderr)
    assert.equal(0, result.status)
  end)

  describe("ends a job", function()
    helper.for_each_engine(function(engine)
      it("with a summary, what is done, and no process left", function()
        local result = run_with_signals(engine, { { "worker1", "INT" } }, [[
          local job = { arguments = function() return parlua.range(1e9) end }
          function job.map(i)
            if i == 2000 then pid_file("worker1") end
            return i
          end
          return job
        ]])
        assert.equal(130, result.status)
        assert.truthy(result.stdout:find('^{"index":1,'), result.stdout:sub(1, 200))
        assert.truthy(result.stderr:find("interrupted by SIGINT", 1, true), result.stderr)
        if engine == "process" then assert.is_false(is_alive(tonumber(helper.read(directory .. "/worker1")))) end
      end)
    end)
  end)
end)

describe("an endless generator", function()
  helper.for_each_engine(function(engine)
    it("runs in constant memory", function()
      -- The peak of the program's memory after many tasks is that after few, and some.
      helper.with_directory(function(directory)
        helper.write(directory .. "/script.lua", [[
          local parlua = require "parlua"
          local function peak()
            return tonumber(io.open("/proc/self/status"):read("*a"):match("VmHWM:%s*(%d+)")) / 1024
          end
          local n, early = 0, nil
          for i, x in parlua.imap(function(n, text, t) return t.x + n end, function()
            n = n + 1
            return n, "some text that is new each time: " .. n, { x = n }
          end) do
            assert(x == 2 * i)
            if i == 100000 then early = peak() end
            if i == 600000 then
              print(peak() - early < 24, peak() - early)
              break
            end
          end
        ]])
        local result = helper.run_parlua(("--engine %s -n 2 script.lua"):format(engine), { directory = directory })
        assert.truthy(result.stdout:find("^true"), result.stdout .. result.stderr)
      end)
    end)

    it("in each runs in constant memory too", function()
      helper.with_directory(function(directory)
        helper.write(directory .. "/script.lua", [[
          local parlua = require "parlua"
          local function peak()
            return tonumber(io.open("/proc/self/status"):read("*a"):match("VmHWM:%s*(%d+)")) / 1024
          end
          local n, early = 0, nil
          parlua.each(function(x) return x end, function()
            n = n + 1
            if n == 200000 then early = peak() end
            if n == 2000000 then return nil end
            return n
          end)
          print(peak() - early < 16, peak() - early)
        ]])
        local result = helper.run_parlua(("--engine %s -n 2 script.lua"):format(engine), { directory = directory })
        assert.truthy(result.stdout:find("^true"), result.stdout .. result.stderr)
      end)
    end)
  end)
end)
