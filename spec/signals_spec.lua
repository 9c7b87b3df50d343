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
    return helper.run(("{ :; %s } & %s -n 2 %s"):format(table.concat(sender, " "), helper.command(engine, "pid"),
      options.words or "script.lua"),
      { directory = directory, stdin = options.stdin, seconds = options.seconds or 60 })
  end

  local function is_alive(pid)
    local file = io.open("/proc/" .. pid .. "/stat")
    if not file then return false end
    local stat = file:read("*a") or ""
    file:close()
    return stat ~= "" and stat:match("%) (%a)") ~= "Z"
  end

  local exit = { INT = 130, TERM = 143, HUP = 129 }

  helper.for_each_engine(function(engine)
    it("SIGXFSZ is an error of what writes a file longer than it may become, in tasks and outside; programs are ended by it", function()
      local result = run_with_signals(engine, {}, [[
        local ffi = require "ffi"
        ffi.cdef "struct spec_limit { unsigned long now, most; }; int getrlimit(int, struct spec_limit *);"
        ffi.cdef "int setrlimit(int, const struct spec_limit *);"
        local function look(path)
          local limit = ffi.new "struct spec_limit"
          ffi.C.getrlimit(1, limit)
          local before = limit.now
          limit.now = 1024
          ffi.C.setrlimit(1, limit)
          local file = io.open(path, "w")
          file:setvbuf "no"
          local ok, message = file:write(("x"):rep(5000))
          file:close()
          local status = os.execute(("head -c 5000 /dev/zero 2>/dev/null > '%s'; echo $? > '%s.status'"):format(path, path))
          local told = io.open(path .. ".status"):read "*l"
          limit.now = before
          ffi.C.setrlimit(1, limit)
          return tostring(ok), message, status, told
        end
        print(look "outside")
        local results, failures = parlua.map(function(path) return table.concat({ look(path) }, " ") end, { "inside" })
        print(results[1] or failures[1].kind .. " " .. failures[1].message)
      ]])
      local inside = (engine == "process" or engine == "mpi") and "crash the worker was killed by SIGXFSZ" or
        "nil File too large 0 153" -- a worker that is a process ends by each signal, as any program
      assert.equal("nil\tFile too large\t0\t153\n" .. inside .. "\n", result.stdout, result.stderr)
      assert.equal(0, result.status)
    end)
  end)

  helper.for_each_engine(function(engine)
    it("SIGINT that ends a script ends the calls that nobody waits for", function()
      local result = run_with_signals(engine, { { "running", "INT" } }, [[
        local host = require "parlua.host"
        local function wait_for_ever() while true do host.sleep(0.01) end end
        for _ = 1, 100 do parlua.submit(wait_for_ever) end
        touch("running")
        while true do host.sleep(0.01) end
      ]])
      assert.truthy(result.stderr:find("interrupted!", 1, true), result.stderr)
      assert.equal(1, result.status)
    end)

    for _, signal in ipairs { "INT", "TERM", "HUP" } do
      it("SIG" .. signal .. " ends a call, which returns what is done; the program goes on and ends with " ..
        exit[signal], function()
        local result = run_with_signals(engine, { { "running", signal } }, [[
          local results, failures, summary = parlua.map(function(i)
            if i == 3000 then touch("running") end
            local x = 0
            for k = 1, i > 3000 and 1e5 or 1 do x = x + k end
            return i
          end, parlua.range(1e7), { workers = 1 })
          print(results[1], results[2], results.n, summary.interrupted, summary.cancelled > 0, summary.tasks >= 2)
          for _, failure in ipairs(failures) do assert(failure.kind == "cancelled") end
          print(#failures <= 2 * summary.workers, parlua.interrupted())
        ]])
        assert.equal(("1\t2\t10000000\tSIG%s\ttrue\ttrue\ntrue\tSIG%s\n"):format(signal, signal), result.stdout,
          result.stderr)
        assert.equal("", result.stderr)
        assert.equal(exit[signal], result.status)
      end)
    end

    it("during a call inside a task ends both: the task is cut off, not done, and not recorded", function()
      local result = run_with_signals(engine, { { "running", "TERM" } }, [[
        local results, failures, summary = parlua.map(function(i)
          parlua.each(function(j) if i == 2 and j == 1000 then touch("running") end end, parlua.range(i == 1 and 20 or 1e12))
          return i
        end, parlua.range(9), { workers = 1, chunk = 1, journal = "run.db" })
        for _, failure in ipairs(failures) do assert(failure.kind == "cancelled") end
        print(results[2], results[3], summary.interrupted)
      ]])
      assert.equal("nil\tnil\tSIGTERM\n", result.stdout, result.stderr)
      assert.equal(143, result.status)
      local rows = helper.run("sqlite3 run.db 'select task, status from tasks where task > 1'", { directory = directory })
      assert.equal("", rows.stdout)
    end)

    it("leaves 'all' untrue: what it cut off gave nothing", function()
      local result = run_with_signals(engine, { { "running", "INT" } }, [[
        local all, _, summary = parlua.all(function(i)
          if i == 3000 then touch("running") end
          return true
        end, parlua.range(1e13), { workers = 1 })
        print(all, summary.interrupted)
      ]])
      assert.equal("false\tSIGINT\n", result.stdout, result.stderr)
    end)

    for _, signal in ipairs { "TERM", "HUP" } do
      it("SIG" .. signal .. " that comes several times at once, as from timeout or from a terminal and its shell, counts once", function()
        local result = run_with_signals(engine, {}, ([[
          local ffi = require "ffi"
          ffi.cdef "int getpid(void); int kill(int, int); unsigned int usleep(unsigned int);"
          local pid = ffi.C.getpid()
          local count = 0
          for i in parlua.imap(function(i) return i end, parlua.range(1e9)) do
            count = i
            if i == 100 then
              for _ = 1, 3 do ffi.C.kill(pid, %d) end
            end
          end
          for _ = 1, 3 do ffi.C.kill(pid, %d) end
          print(count >= 100, parlua.interrupted())
        ]]):format(signal == "TERM" and 15 or 1, signal == "TERM" and 1 or 15))
        assert.equal("true\tSIG" .. signal .. "\n", result.stdout, result.stderr)
        assert.equal(exit[signal], result.status)
      end)
    end

    it("of a child's end, from programs that the script and its tasks run, disturbs nothing", function()
      for _, start in ipairs { "", engine ~= "mpi" and "trap '' CHLD; " or nil } do -- mpirun itself waits for its children
        helper.write(directory .. "/children.lua", [[
          local parlua = require "parlua"
          local sum = 0
          for i, text in parlua.imap(function(i)
            local pipe = io.popen("echo " .. i)
            local text = pipe:read("*a")
            pipe:close()
            os.execute("exit 3")
            return text
          end, parlua.range(30)) do
            local pipe = io.popen("echo " .. i)
            assert(pipe:read("*a") == text)
            pipe:close()
            os.execute("true")
            sum = sum + tonumber(text)
          end
          print(sum)
        ]])
        local result = helper.run(start .. helper.command(engine) .. " -n 2 children.lua",
          { directory = directory })
        assert.equal("465\n", result.stdout, result.stderr)
        assert.equal("", result.stderr)
        assert.equal(0, result.status)
      end
    end)

    it("of a pipe that nobody reads any more ends a script and its workers as it ends any program", function()
      helper.write(directory .. "/talk.lua", [[
        local parlua = require "parlua"
        for i in parlua.imap(function(i) return i end, parlua.range(1e9)) do print(i) end
      ]])
      local result = helper.run(("{ %s -n 2 talk.lua; echo $? >status; } | head -n 1"):format(helper.command(engine)), { directory = directory })
      assert.equal("1\n", result.stdout)
      if engine == "mpi" then return end -- the status is mpirun's, which reads the output itself
      assert.equal("141\n", helper.read(directory .. "/status"))
    end)

    it("leaves a journal that holds what was done, from which the next run goes on", function()
      if engine == "mpi" then return end -- there it is shown by mpi_spec.lua
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

    it("ends a loop that is slow to take large results", function()
      local result = run_with_signals(engine, { { "running", "INT" } }, [[
        local host = require "parlua.host"
        local step, stream = parlua.imap(function(i) return ("x"):rep(100000) .. i end, parlua.range(1000), { chunk = 200 })
        for i in step, stream do
          if i == 1 then
            os.execute("sleep 0.3") -- meanwhile the workers fill all room for results
            touch("running")
            while host.signals_count() == 0 do end
          end
        end
        print(stream:summary().interrupted)
      ]])
      assert.equal("SIGINT\n", result.stdout, result.stderr)
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

    it("ends a call whose task has a pool of its own open", function()
      local result = run_with_signals(engine, { { "done", "INT" } }, [[
        local function tell(event, data) -- another worker may have task 1
          if event == "progress" and data.done == 1 and io.open("running") then touch("done") end
        end
        local results, _, summary = parlua.map(function(i)
          if i == 1 then return "kept" end
          local library = require "parlua"
          local pool = library.pool()
          local future = pool:submit(function(x) return x end, 5)
          touch "running"
          while pool and future do end
        end, parlua.range(2), { chunk = 1, workers = 1, progress = tell })
        print(results[1], summary.interrupted, summary.cancelled)
      ]])
      assert.equal("kept\tSIGINT\t1\n", result.stdout, result.stderr)
      assert.equal(130, result.status)
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
        print(summary.interrupted, summary.failed, summary.cancelled)
      ]])
      assert.equal("SIGINT\t0\t12\n", result.stdout, result.stderr)
      assert.equal(130, result.status)
    end)
  end, { "threads", "process", "mpi" })

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
      assert.is_true(helper.is_ended_by(engine, 2, result.status), result.status)
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

  helper.for_each_engine(function(engine)
    it("SIGSTOP to the whole group costs no task its time: SIGCONT goes on", function()
      helper.write(directory .. "/script.lua", [[
        local parlua = require "parlua"
        local results, failures = parlua.map(function(i)
          if i == 2 then io.open("running", "w"):close() end
          local C = require("ffi").C
          pcall(require("ffi").cdef, "unsigned int usleep(unsigned int);")
          for _ = 1, 40 do C.usleep(5000) end -- in steps: one sleep's time would be over when the group goes on
          return i
        end, parlua.range(6), { chunk = 1, timeout = 0.8 })
        for _, failure in ipairs(failures) do print(tostring(failure)) end
        print(#failures, results[6])
      ]])
      local result = helper.run(([[
        parlua=%s
        signal() { $parlua -e "local C = require('ffi').C require('ffi').cdef 'int kill(int, int);' assert(C.kill($1, $2) == 0)"; }
        setsid $parlua --engine %s -n 2 script.lua & pid=$!
        while [ ! -e running ]; do sleep 0.01; done
        signal -$pid 19
        while ! grep -q '^State:.T' /proc/$pid/status; do sleep 0.01; done
        sleep 1.2; signal -$pid 18
        wait $pid
      ]]):format(helper.quote(helper.parlua), engine), { directory = directory, seconds = 60 })
      assert.same({ "0\t6\n", "" }, { result.stdout, result.stderr })
      assert.equal(0, result.status)
    end)
  end, { "threads", "process" })

  it("SIGSTOP to one worker stops its task alone; SIGCONT, or a time limit, goes on", function()
    for _, options in ipairs { "timeout = 0.3", "" } do
      os.remove(directory .. "/stopped")
      helper.write(directory .. "/script.lua", ([[
        local ffi, parlua = require "ffi", require "parlua"
        ffi.cdef "int getpid(void); int kill(int, int);"
        local results, failures = parlua.map(function(i)
          if i == 2 then
            local file = io.open("stopped.new", "w")
            file:write(ffi.C.getpid(), "\n")
            file:close()
            os.rename("stopped.new", "stopped")
            ffi.C.kill(ffi.C.getpid(), 19)
          end
          return i
        end, parlua.range(100), { engine = "process", workers = 2, %s })
        print(results[1], results[2], results[100], failures[1] and failures[1].kind)
      ]]):format(options))
      local result = helper.run(([[
        n=0; %s script.lua & pid=$!
        while [ ! -e stopped ] && [ $n -lt 3000 ]; do n=$((n+1)); sleep 0.01; done
        %s
        wait $pid
      ]]):format(helper.quote(helper.parlua), options == "" and
        "until grep -q '^State:.T' /proc/$(cat stopped)/status; do sleep 0.01; done; kill -CONT $(cat stopped)" or ""),
        { directory = directory, seconds = 60 })
      assert.equal(options == "" and "1\t2\t100\tnil\n" or "1\tnil\t100\ttimeout\n", result.stdout, result.stderr)
      assert.equal(0, result.status)
    end
  end)

  it("does not stop a task of the serial engine that never returns; the second ends the program", function()
    local result = run_with_signals("serial", { { "first", "INT" }, { "second", "INT" } }, [[
      parlua.each(function()
        os.execute("{ until [ -e first ]; do sleep 0.01; done; sleep 0.3; touch second; } &") -- not later: it is deaf to SIGINT
        touch("first")
        while true do end
      end, { 1 })
      print("not reached")
    ]])
    assert.same({ "", 130 }, { result.stdout, result.status })
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

  it("that a task sends to the coordinator ends the run as any other would", function()
    local result = run_with_signals("process", {}, [[
      local ffi = require "ffi"
      ffi.cdef "int kill(int, int); int getppid(void);"
      local results, _, summary = parlua.map(function(i)
        if i == 500 then
          ffi.C.kill(ffi.C.getppid(), 15)
          while true do end
        end
        return i
      end, parlua.range(1000), { workers = 1, chunk = 10 })
      print(results[1], results[490], summary.interrupted)
    ]])
    assert.equal("1\t490\tSIGTERM\n", result.stdout, result.stderr)
    assert.equal(143, result.status)
  end)

  it("is a first one where an interactive program goes on after an interruption, also while a stream is left open", function()
    local result = run_with_signals("threads", {}, [[
      local ffi = require "ffi"
      ffi.cdef "int kill(int, int); int getpid(void);"
      local pid = ffi.C.getpid()
      local step, stream = parlua.imap(function(i) return i end, parlua.range(100), { engine = "serial" })
      step()
      for round = 1, 3 do
        local _, _, summary = parlua.map(function(i)
          if i == 5 then ffi.C.kill(pid, 2) end
          while i == 6 do require("parlua.host").sleep(0.01) end
          return i
        end, parlua.range(1000), { workers = 1, chunk = 10 })
        io.stderr:write(round, " ", tostring(summary.interrupted), "\n")
        require("parlua.run").forget_interrupt()
      end
      stream:close()
    ]])
    assert.equal("1 SIGINT\n2 SIGINT\n3 SIGINT\n", result.stderr, result.stdout)
    assert.equal(0, result.status)
  end)

  helper.for_each_engine(function(engine)
    for _, signal in ipairs { "INT", "TERM", "HUP" } do
      it("SIG" .. signal .. " after a run does what it did before: ends the program", function()
        local result = run_with_signals(engine, { { "running", signal } }, [[
          print(#parlua.map(math.abs, { 1, 2 }))
          io.stdout:flush()
          touch("running")
          while true do end
        ]])
        assert.equal("2\n", result.stdout, result.stderr)
        assert.equal(exit[signal], result.status)
      end)
    end

    for number, signal in pairs { [2] = "INT", [15] = "TERM", [1] = "HUP" } do
      it("SIG" .. signal .. " that comes as a call ends, too late for the call, ends the program", function()
        local result = run_with_signals(engine, {}, ([[
          local ffi = require "ffi"
          ffi.cdef "int raise(int);"
          local Run = require("parlua.run.policy").Run
          local close = Run.close
          function Run.close(run)
            Run.close = close
            ffi.C.raise(%d)
            return close(run)
          end
          parlua.map(math.abs, { 1, 2 })
          while true do end
        ]]):format(number))
        local is_interrupted = signal == "INT" and result.stderr:find("interrupted!", 1, true)
        assert.truthy(is_interrupted or result.status == exit[signal], result.stderr)
      end)
    end

    it("that the script ignores after a run stays ignored, in later runs too", function()
      local result = run_with_signals(engine, {}, [[
        local ffi = require "ffi"
        ffi.cdef "typedef void (*handler)(int); handler signal(int, handler); int kill(int, int); int getpid(void); int usleep(unsigned);"
        parlua.map(math.abs, { 1 })
        ffi.C.signal(2, ffi.cast("handler", 1)) -- SIGINT, SIG_IGN
        ffi.C.kill(ffi.C.getpid(), 2)
        ffi.C.usleep(2000) -- runs that follow each other within a millisecond share their handlers
        for _ in parlua.imap(math.abs, { 1, 2, 3 }) do ffi.C.kill(ffi.C.getpid(), 2) end
        ffi.C.kill(ffi.C.getpid(), 2)
        print("here")
      ]])
      assert.equal("here\n", result.stdout, result.stderr)
      assert.equal(0, result.status)
    end)
  end, { "serial", "threads", "process" })

  it("that is ignored, as under nohup, stays ignored, by programs that tasks run too", function()
    helper.write(directory .. "/script.lua", [[
      local ffi, parlua = require "ffi", require "parlua"
      ffi.cdef "int getpid(void); int kill(int, int);"
      local pid = ffi.C.getpid()
      local results, _, summary = parlua.map(function(i)
        if i == 5 then
          ffi.C.kill(pid, 2)
          ffi.C.kill(pid, 1)
        end
        return i == 6 and os.execute("kill -INT $$; kill -HUP $$; exit 9") or i
      end, parlua.range(10), { engine = "process", workers = 2 })
      print(results[5], results[6] / 256, summary.interrupted)
    ]])
    local result = helper.run(("trap '' INT HUP; %s script.lua"):format(helper.quote(helper.parlua)),
      { directory = directory })
    assert.equal("5\t9\tnil\n", result.stdout, result.stderr)
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
        if engine == "process" or engine == "mpi" then assert.is_false(is_alive(tonumber(helper.read(directory .. "/worker1")))) end
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
