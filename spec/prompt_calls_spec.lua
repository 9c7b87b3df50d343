--- Parallel calls at the prompt, on a real terminal.
local helper = require "spec.helper"
local terminal = require "spec.terminal"

--- Engines whose tasks run in the prompt's own state: while one computes there is no bar.
local computes_here = { serial = true, async = true }

--- Calls a function for each engine, also under mpirun.
local function for_each_prompt(body)
  local engines = { unpack(helper.engines) }
  if not os.getenv("SPEC_ENGINES") then engines[#engines + 1] = "mpi" end
  for _, engine in ipairs(engines) do
    describe("engine " .. engine .. ":", function()
      body(engine, function(f, options)
        options = options or {}
        options.columns, options.rows = options.columns or 100, options.rows or 50
        if engine == "mpi" then
          options.command = helper.mpirun(2) .. " " .. helper.quote(helper.parlua)
        else
          options.arguments = "--engine " .. engine
        end
        terminal.with_prompt(options, f)
      end)
    end)
  end
end

describe("a call at the prompt", function()
  for_each_prompt(function(engine, prompt)
    it("runs functions that were typed there, with the session's locals", function()
      prompt(function(t)
        t:run("local factor = 3")
        t:run("local function times(x) return factor * x end")
        t:run("function twice(x) return 2 * times(x) end")
        local text = t:run("parlua.map(twice, parlua.range(5))")
        assert.matches("\n{6, 12, 18, 24, 30}\nno failures\n5 tasks in [^\n]* %(" .. engine .. "%)\n$", text)
        t:run("factor = 4")
        assert.matches("\n{8, 16}\n", t:run("(parlua.map(twice, parlua.range(2)))"))
        assert.matches("\n16\n$", t:run("parlua.submit(twice, 2):get()"))
        assert.matches("\n55\n", t:run("parlua.reduce(function(x) return x end, parlua.range(10), parlua.sum)"))
        assert.matches("\nnil\n$", t:run("parlua.task.index"))
      end)
    end)

    it("marks what failed, and lists failures with their arguments", function()
      prompt(function(t)
        t:run("f = function(x, y) if x == 3 then error('no ' .. y) end return x end")
        local text = t:run("parlua.map(f, parlua.zip(parlua.range(4), { 'a', 'b', 'c', 'd' }))")
        assert.matches("\n{1, 2, <failed>, 4}\n… 1 of 4 failed\n", text)
        assert.matches("\ntask  kind   message +arguments\n   3  error  [^\n]*no c  3, \"c\"\n", text)
        assert.matches("1 failed\n$", text)
      end)
    end)

    it("tells of failures that are not looked at", function()
      prompt(function(t)
        t:run("f = function(x) if x > 2 then error('no', 0) end return x end")
        local text = t:run("local r = parlua.map(f, parlua.range(4))")
        assert.matches("\nparlua: map at %[2%]:1: 2 of 4 tasks failed; first, task 3 %(3%): no\nsee failures, %%debug, %%retry\n$", text)
        assert.matches("\n2\n$", t:run("#failures"))
        assert.matches("\nfalse\n$", t:run("parlua.map(f, parlua.range(2))[3] == 1"))
      end)
    end)

    it("is ended by Ctrl-C, gives what is done, and the prompt goes on with its workers", function()
      prompt(function(t)
        t:run("pool = parlua.pool { workers = 2 }")
        local stuck = "f = function(x) if x > 10 then io.open('begun', 'w'):close() while true do end end return x end"
        for _, call in ipairs { "parlua.map(f, parlua.range(40), { chunk = 1 })", "pool:map(f, parlua.range(40), { chunk = 1 })" } do
          t:run(stuck .. " results, failures = nil")
          t:type(call)
          t:press("Enter")
          if not computes_here[engine] then t:wait("10/40") end -- the bar
          t:wait_for_file("begun")
          t:press("C-c")
          local text = t:wait("interrupted: 10 of 40 tasks done", false)
          assert.truthy(text:find("see results, failures, summary", 1, true), text)
          t:wait_for_prompt()
          assert.matches("\n{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}\n$", t:run("{ unpack(results, 1, 12) }"))
          assert.matches('\n"SIGINT"\n40\n$', t:run("summary.interrupted, results.n"))
          assert.matches('\n"cancelled"\n$', t:run("failures[1].kind"))
          t:run("f = function(x) return x end")
          local left = engine ~= "async" and "%d+ tasks never began: %%retry leaves them out\n$" or "" -- it may begin all
          assert.matches("returned now, none failed again\n" .. left, t:run("%retry"))
          assert.matches("\n11\n40\n0\ntrue\n$", t:run("results[11], summary.tasks + summary.cancelled, summary.failed, "
            .. "summary.tasks > 10 and summary.returned == summary.tasks"))
        end
        assert.matches("\n{2, 4, 6}\n", t:run("(pool:map(function(x) return 2 * x end, parlua.range(3)))"))
        assert.matches("\n{2, 4, 6}\n", t:run("(parlua.map(function(x) return 2 * x end, parlua.range(3)))"))
        assert.matches("\n9\n$", t:run("pool:submit(function() return 9 end):get()"))
      end)
    end)

    it("that was ended by Ctrl-C shows its results up to where it came, and how many had not begun", function()
      prompt(function(t)
        t:run("f = function(x) if x > 4 then io.open('begun', 'w'):close() while true do end end return { x = x } end")
        t:type("(parlua.map(f, parlua.range(1000), { chunk = 1 }))")
        t:press("Enter")
        t:wait_for_file("begun")
        if not computes_here[engine] then t:wait(" 4/1000 ") end -- the others have ended
        t:press("C-c")
        local left = engine == "async" and "9%d%d" or "99%d" -- there tasks are begun ahead
        assert.matches("\n *4  +4\n.*cut off, " .. left .. " not begun\n", t:wait_for_prompt())
      end)
    end)

    it("that is assigned gives what is done to its variables, too", function()
      prompt(function(t)
        t:run("stuck = function(x) if x > 4 then io.open('begun', 'w'):close() while true do end end return x end")
        t:type("local r, f, s = parlua.map(stuck, parlua.range(9), { chunk = 1 })")
        t:press("Enter")
        t:wait_for_file("begun")
        if not computes_here[engine] then t:wait(" 4/9 ") end
        t:press("C-c")
        t:wait("interrupted: 4 of 9")
        assert.matches('\n4\n"SIGINT"\n$', t:run("r[4], s.interrupted"))
      end)
    end)

    it("shows what tasks print above the bar", function()
      prompt(function(t)
        local text = t:run("parlua.each(function(x) print('task ' .. x) end, parlua.range(3), { chunk = 1 }) and nil")
        for k = 1, 3 do assert.truthy(text:find("\ntask " .. k .. "\n", 1, true), text) end
      end)
    end)
  end)

  helper.for_each_engine(function(engine)
    it("that failed is mended by %retry, and looked at by %debug", function()
      terminal.with_prompt({ arguments = "--engine " .. engine, columns = 100, rows = 60 }, function(t)
        t:run("limit = 3")
        t:run("parlua.map(function(x) local y = x.a.b end, parlua.range(2))") -- an error without a call of error
        t:type("%debug")
        t:press("Enter")
        t:wait("* 1 [2]:1: the task's function")
        t:wait("Ctrl-D goes back to the session.")
        t:wait_for_prompt()
        t:type("x + 41")
        t:press("Enter")
        t:wait("\n42\n")
        t:press("C-d")
        t:wait_for(function(text) return text:find("\ndebug> *\n> *\n$") end) -- the debugger's is left
        t:run("local function half(x) local y = x / 2 if x > limit then error('too large: ' .. x) end return y end")
        t:run("results, failures = parlua.map(half, parlua.range(5))")
        t:type("%debug")
        t:press("Enter")
        t:wait("task 4 failed: ")
        t:wait("in the task's function\n* 1 [3]:1: half\n")
        t:wait("x = 4")
        t:wait("y = 2")
        t:wait_for_prompt()
        t:type("x * 100 + y")
        t:press("Enter")
        t:wait("\n402\n")
        t:press("C-d")
        t:wait_for(function(text) return text:find("\ndebug> *\n> *\n$") end) -- the debugger's is left
        t:run("limit = 4")
        assert.matches("\n1 task returned now, 1 failed again\n$", t:run("%retry"))
        assert.matches("\n2\n1\n5\n$", t:run("results[4], #failures, failures[1].index"))
        t:run("limit = 9")
        assert.matches("\n1 task returned now, none failed again\n$", t:run("%retry"))
        assert.matches("\n2.5\n0\n$", t:run("results[5], #failures"))
        assert.matches("no task of the last call failed\n$", t:run("%retry"))
        t:run("limit = 4; parlua.map(half, parlua.range(5));")
        assert.matches("\nno task returned, 1 failed again: see failures\n$", t:run("%retry"))
      end)
    end)
  end)

  helper.for_each_engine(function(engine)
    it("whose tasks are tried again has the same random numbers", function()
      terminal.with_prompt({ arguments = "--engine " .. engine, columns = 100 }, function(t)
        t:run("fails = true")
        t:run("function draw(i) local x = math.random() if fails and i > 2 then error(('drew %.17g'):format(x), 0) end return x end")
        t:run("results, failures = parlua.map(draw, parlua.range(4))")
        t:run("drawn = failures[2].message")
        t:type("%debug")
        t:press("Enter")
        t:wait("task 3 failed: drew")
        t:wait_for_prompt()
        assert.equal("true", t:run("('drew %.17g'):format(x) == failures[1].message"):match("\n(%a+)\n"))
        t:press("C-d")
        t:wait_for(function(text) return text:find("\ndebug> *\n> *\n$") end)
        t:run("fails = false")
        t:run("%retry")
        assert.matches("\ntrue\n$", t:run("('drew %.17g'):format(results[4]) == drawn"))
      end)
    end)
  end)

  it("whose result the call did not take is told so by %debug", function()
    terminal.with_prompt({}, function(t)
      t:run("local s, failed = parlua.reduce(function(x) return x == 2 and 'two' or x end, parlua.range(3), parlua.sum)")
      assert.matches("\nthe task returned this time, run serially\nIt may be what the call does with its result that failed: [^\n]*\n?[^\n]*string",
        t:run("%debug"))
    end)
  end)

  it("is what results, failures and summary are of, until these names are given other values", function()
    terminal.with_prompt({}, function(t)
      t:run("x = parlua.map(function(i) if i == 2 then error('A', 0) end return i end, { 1, 2 })")
      t:run("parlua.map(function(i) if i == 1 then error('B', 0) end return i end, { 1, 2 })")
      assert.matches("error  B ", t:run("failures"))
      assert.matches("{<failed>, 2}", t:run("results"))
      assert.matches("2 tasks .* 1 failed", t:run("summary"))
      t:run("results = 'mine'")
      t:run("parlua.map(math.sqrt, { 4 })")
      assert.matches('\n"mine"\n$', t:run("results"))
      assert.matches("\n0\n$", t:run("#failures"))
    end)
  end)

  it("leaves the terminal to what the body of a loop over its results prints", function()
    terminal.with_prompt({}, function(t)
      t:run("wait = function(i) os.execute('sleep 0.15') return i end")
      t:type("for i, x in parlua.imap(wait, parlua.range(6), { progress = 'bar', workers = 2 }) do print('item', i, x) end\n")
      local text = select(2, t:wait_for(function(shown) return shown:find("item%s+6%s+6\n> *\n$") end))
      assert.equal(6, select(2, text:gsub("\nitem ", "")), text)
    end)
  end)

  it("that was interrupted in a loop over its results leaves nothing for the next statement", function()
    terminal.with_prompt({}, function(t)
      t:type("for i in parlua.imap(math.sqrt, parlua.range(1e9)) do io.open('begun', 'w'):close() while true do end end\n")
      t:wait_for_file("begun")
      t:press("C-c")
      t:wait("interrupted")
      t:wait_for_prompt()
      helper.run("sleep 0.5") -- longer than a loop is given to go on by itself
      assert.matches("\n3\n$", t:run("1 + 2"))
    end)
  end)

  it("whose task never returns ends with the terminal, on serial too", function()
    assert.equal("129", terminal.status_after_hangup(function(t)
      t:type("parlua.map(function() io.open('begun', 'w'):close() while true do end end, { 1 }, { engine = 'serial' })\n")
      t:wait_for_file("begun")
    end))
  end)

  it("that ended its worker is not run again in the session by %debug", function()
    terminal.with_prompt({}, function(t)
      t:run("parlua.map(function(i) if i == 2 then os.exit(7) end return i end, { 1, 2 }, { engine = 'process' })")
      assert.matches("ended its worker", t:run("%debug"))
      assert.matches("\n2\n$", t:run("1 + 1"))
    end)
  end)

  it("on threads that is interrupted leaves threads behind, and says so", function()
    terminal.with_prompt({}, function(t)
      t:type("parlua.map(function() io.open('begun', 'w'):close() local ends = os.time() + 3 while os.time() < ends do end "
        .. "end, { 1 }, { engine = 'threads' })\n")
      t:wait_for_file("begun")
      t:press("C-c")
      t:wait("one task runs on until it ends by itself")
    end)
  end)

  it("goes on in the background, and tells when it has ended", function()
    terminal.with_prompt({}, function(t)
      helper.write(t.directory .. "/go", "")
      os.remove(t.directory .. "/go")
      local wait = "local f repeat f = io.open('" .. t.directory .. "/go') until f f:close()"
      t:run("future = parlua.background(function(x) " .. wait .. " return x + 1 end, 41)")
      assert.matches("\n<future 1: running>\n$", t:run("future"))
      t:run("second = parlua.submit(function() " .. wait .. " error('not this one\\nbut more') end)")
      t:run("third = parlua.background(function() " .. wait .. " print('said') end)")
      t:type("1 + ")
      t:wait("> 1 +")
      helper.write(t.directory .. "/go", "")
      t:wait("\nsaid\n")
      t:wait("[call 3 returned]")
      t:wait("[call 1 returned] 42")
      t:wait("[call 2 failed (error)] [3]:1: not this one …") -- its second line is not shown
      t:type("2") -- the line that was being typed is still there
      t:press("Enter")
      t:wait("\n> 1 + 2\n3\n")
      assert.matches("\n42\n$", t:run("future:get()"))
      for _, statement in ipairs { "second.failure", "second:get()" } do
        assert.matches("\ncall 2 failed %(error%): [^\n]*not this one", t:run(statement))
      end
    end)
  end)

  it("is waited for until Ctrl-C, which leaves it and its pool alone", function()
    terminal.with_prompt({}, function(t)
      local wait = "local f repeat f = io.open('" .. t.directory .. "/go') until f f:close()"
      t:run("pool = parlua.pool { workers = 2 }")
      t:run("future = pool:submit(function() " .. wait .. " return 'done' end)")
      for _, statement in ipairs { "future:get()", "future:wait(1000)" } do
        t:type(statement)
        t:press("Enter")
        t:wait(statement .. "\n")
        t:press("C-c")
        t:wait("interrupted")
        t:run("1")
      end
      assert.matches("\n9\n$", t:run("pool:submit(function() return 9 end):get()"))
      helper.write(t.directory .. "/go", "")
      t:wait('[call 1 returned] "done"')
      assert.matches('\n"done"\n$', t:run("future:get()"))
      assert.matches("\nfalse\n$", t:run("pool:submit(function() while true do end end):wait(0.01)"))
    end)
  end)

  it("in the background has methods that return and refuse what they do in a script", function()
    local script = [[
      local parlua = require "parlua"
      local future = parlua.submit(function() return 1 end)
      local function tell(what, ...)
        local values = { n = select("#", ...), ... }
        for k = 1, values.n do values[k] = tostring(values[k]) end
        io.stderr:write(what, " ", table.concat(values, " "), "\n")
      end
      tell("wait", future:wait())
      tell("again", future:wait(), future:wait(0), future:wait(1))
      tell("done", future:done())
      tell("cancel", future:cancel())
      tell("get", future:get())
      local endless = parlua.submit(function() while true do end end)
      tell("endless", endless:wait(0), endless:wait(0.01), endless:done(), endless:cancel(), endless:wait())
      for _, seconds in ipairs { -1, 0 / 0, "x" } do
        tell("seconds", pcall(function() local value = endless:wait(seconds) return value end))
      end
      for _, name in ipairs { "wait", "get", "done", "cancel" } do
        tell("self", pcall(function() local value = future[name](5) return value end))
        tell("self", pcall(function() local value = future[name]() return value end))
      end
    ]]
    helper.with_directory(function(directory)
      local path = directory .. "/script.lua"
      helper.write(path, script)
      local function said(options)
        local command = ("%s --engine process %s %s </dev/null 2>&1 >/dev/null"):format(helper.quote(helper.parlua),
          options, helper.quote(path))
        local pipe = io.popen(command)
        local text = pipe:read "*a"
        pipe:close()
        return text
      end
      local text = said ""
      assert.matches("^wait true\nagain true true true\ndone true\ncancel false\nget 1\n"
        .. "endless false false false true true\nseconds false [^\n]*script.lua:%d+: wait: seconds must be", text)
      assert.equal(text, said "-i")
    end)
    terminal.with_prompt({ arguments = "--engine process" }, function(t)
      local submit = "future = parlua.submit(function() return 1 end) "
      assert.matches("\ntrue\n$", t:run(submit .. "print(future:wait()) future:get()")) -- after get, no line tells its end
      assert.matches("\ntrue\ntrue\ntrue\nfalse\n$",
        t:run("future:wait(), future:wait(1) == true, future:done(), future:cancel()"))
    end)
  end)

  it("is ended with the prompt where it runs in the background", function()
    terminal.with_prompt({}, function(t)
      t:run("future = parlua.background(function() while true do end end)")
      t:press("C-d")
      t:wait("1 call in the background ended with the prompt")
      t:wait("[status 0]")
    end)
  end)
end)

--- Begins a loop without end, and ends it by Ctrl-C.
local function interrupt_loop(t)
  t:type("while true do end")
  t:press("Enter")
  t:wait("while true do end\n")
  t:press("C-c")
  t:wait("interrupted")
  t:wait_for_prompt()
end

describe("Ctrl-C at the prompt", function()
  local statements = {
    "while true do end",
    "for i = 1, math.huge do x = i end",
    "local s = 0 for i = 1, 1e15 do s = s + i % 7 end",
    "repeat until false",
    "local function f() return f() end f()",
    "while true do pcall(error, 'x') end",
    "while true do pcall(function() while true do end end) end",
    "coroutine.wrap(function() while true do end end)()",
    "dofile 'endless.lua'",
    "%load endless.lua",
    "while true do os.execute 'touch begun; exec sleep 1000' end",
    "while true do io.popen('touch begun; exec sleep 1000'):read() end",
    "parlua.each(function(x) total = x if x == 9 then io.open('begun', 'w'):close() end end, parlua.range(1e15), { engine = 'serial' })",
    "parlua.reduce(function(x) if x == 9 then io.open('begun', 'w'):close() end return x end, parlua.range(1e15), parlua.sum, { engine = 'serial' })",
    "local a = ffi.new('double[100]') for i = 0, 1e15 do for k = 0, 99 do a[k] = a[k] + i end end",
    "local t = {} for i = 1, 1e15 do t[i % 10] = { i } end",
    "(function() local t = setmetatable({}, { __index = function(_, k) return k end }) while true do y = t[1] end end)()",
  }

  it("interrupts what runs, and leaves the session as it was", function()
    terminal.with_prompt({ columns = 180 }, function(t)
      helper.write(t.directory .. "/endless.lua", "local n = 0\nfor i = 1, math.huge do n = n + i end\n")
      t:run("kept = 'still here'")
      for _, statement in ipairs(statements) do
        for _ = 1, 2 do -- once more: the state is sound
          t:press("C-l")
          t:wait_for_prompt()
          t:type(statement)
          t:press("Enter")
          t:wait(statement .. "\n")
          if statement:find("begun", 1, true) then t:wait_for_file("begun") end
          t:press("C-c")
          t:wait("interrupted")
          assert.matches('\n"still here"\n$', t:run("kept"))
        end
      end
    end)
  end)

  it("tells at last how to end a function of C that does not return", function()
    terminal.with_prompt({ columns = 100 }, function(t)
      t:wait_for(function(text)
        if text:find("A function of C runs, which can't be interrupted.", 1, true) then return true end
        if text:find("\n> *\n$") then -- also where Ctrl-C came before the function
          t:type("('x'):rep(300):find(('.-'):rep(12) .. 'y')\n")
        else
          t:press("C-c")
        end
      end)
      t:type("\28") -- Ctrl-\
      t:wait("[status 131]")
    end)
  end)

  --- Lets SIGINT come the next time that a function of parlua's own is called. What stands in a text of this name counts
  --- as parlua's own code, which Ctrl-C does not stop.
  local raise_at = "raise_at = load([[local module, name = ... local f = module[name] module[name] = function(...) "
    .. "module[name] = f require('ffi').C.raise(2) return f(...) end]], '=parlua.spec')"
  local endless = "parlua.reduce(function(x) return x end, parlua.range(1e15), parlua.sum, { engine = '%s' })"

  for what, statement in pairs {
    ["before a call on serial has begun"] = "raise_at(require 'parlua.run', 'open') " .. endless:format("serial"),
    ["before a call on process has begun"] = "raise_at(require 'parlua.run', 'open') " .. endless:format("process"),
    ["as a call on serial begins"] = "raise_at(require 'parlua.worker.runner', 'prepare') " .. endless:format("serial"),
    ["as a call on threads begins"] = "raise_at(require 'parlua.host', 'run') " .. endless:format("threads"),
    ["as a submitted call is about to be waited for"] =
      "raise_at(require('parlua.run.policy').Run, 'resume') pool:submit(function() while true do end end):get()",
  } do
    it("that comes " .. what .. " ends it", function()
      terminal.with_prompt({ columns = 180 }, function(t)
        t:run("ffi.cdef 'int raise(int);' kept = 'still here'")
        t:run(raise_at)
        t:run("pool = parlua.pool { engine = 'threads', workers = 1 }")
        t:type(statement)
        t:press("Enter")
        t:wait("\ninterrupted")
        assert.matches('\n"still here"\n$', t:run("kept"))
        assert.matches("\n15\n", t:run("parlua.reduce(math.abs, parlua.range(5), parlua.sum, { engine = 'serial' })"))
        assert.matches("\n6\n$", t:run("pool and parlua.map(math.abs, { 6 }, { engine = 'threads' })[1]"))
      end)
    end)
  end

  it("is told in one word, whatever was at work", function()
    terminal.with_prompt({ columns = 120 }, function(t)
      for _, statement in ipairs { "parlua.exec('sleep', '10')", "coroutine.wrap(function() while true do end end)()",
        "parlua.pool { engine = 'serial' }:submit(function() while true do end end):get()" } do
        t:type(statement)
        t:press("Enter")
        t:wait(statement .. "\n")
        t:press("C-c")
        t:wait_for(function(text) -- the terminal itself writes the ^C, once it is the call's
          return text:gsub("\n?%^C\n", "\n"):find(statement .. "\ninterrupted\n>", 1, true)
        end)
      end
    end)
  end)

  it("leaves a mark where a task before the last one had not begun", function()
    terminal.with_prompt({}, function(t)
      t:run("stuck = function(i) if i % 2 == 1 then io.open('begun' .. i, 'w'):close() while true do end end return i end")
      t:type("(parlua.map(stuck, { 1, 2, 3, 4 }, { chunk = 2, workers = 2, progress = 'none' }))\n")
      t:wait_for_file("begun1")
      t:wait_for_file("begun3")
      t:press("C-c")
      t:wait("\n{<cut off>, <not begun>, <cut off>}\n… 2 cut off, 2 not begun\n")
    end)
  end)

  it("is told once where it ends a call, and with it the statement that goes on to another one", function()
    terminal.with_prompt({}, function(t)
      t:run("stuck = function(i) if i == 2 then io.open('begun', 'w'):close() while true do end end return i end")
      t:type("for k = 1, 2 do parlua.map(stuck, { 1, 2 }, { chunk = 1, workers = 1, progress = 'none' }) end\n")
      t:wait_for_file("begun")
      t:press("C-c")
      local text = t:wait_for_prompt()
      assert.equal(1, select(2, text:gsub("\n[^\n]*interrupted[^\n]*\n", "")), text)
      assert.truthy(text:find("interrupted: 1 of 2 tasks done, 1 cut off, see results", 1, true), text)
    end)
  end)

  it("is not needed to go on where calls that never return were submitted on serial and async", function()
    terminal.with_prompt({ columns = 120 }, function(t)
      for _, engine in ipairs { "serial", "async" } do
        t:run(("pool = parlua.pool { engine = '%s' }"):format(engine))
        t:run("f = pool:submit(function() while true do end end)")
        local shown = t:run("f")
        assert.truthy(shown:find("waits to be asked for>", 1, true), shown)
      end
      t:press("C-d")
      t:wait("2 calls in the background ended with the prompt")
      t:wait("[status 0]")
    end)
  end)

  it("leaves alone calls that run in the background", function()
    terminal.with_prompt({}, function(t)
      local wait = "local f repeat f = io.open('" .. t.directory .. "/go') until f f:close()"
      t:run("future = parlua.submit(function() " .. wait .. " return 'done' end)")
      interrupt_loop(t)
      helper.write(t.directory .. "/go", "")
      t:wait("[call 1 returned] \"done\"")
    end)
  end)

  it("leaves alone a worker that is being forked", function()
    terminal.with_prompt({}, function(t)
      helper.write(t.directory .. "/early.c", [[
        #include <pthread.h>
        #include <signal.h>
        static void press(void) { raise(SIGINT); }
        __attribute__((constructor)) static void begin(void) { pthread_atfork(NULL, NULL, press); }]])
      local made = helper.run("cc -shared -fPIC -o early.so early.c -pthread", { directory = t.directory })
      assert.equal(0, made.status, made.stderr)
      t:run("ffi = require 'ffi'; early = ffi.load('" .. t.directory .. "/early.so')")
      t:run("parlua.map(function(i) return i + 40 end, { 1, 2 }, { engine = 'process' })[2]")
      t:wait("42")
      t:run("parlua.submit(function() return 6 * 9 end):get()")
      t:wait("54")
    end)
  end)

  for_each_prompt(function(engine, prompt)
    if computes_here[engine] then return end -- there they run when they are asked for, in the prompt's own state
    it("leaves alone the programs of calls in the background", function()
      prompt(function(t)
        t:run("wait = 'touch begun; until test -e go; do sleep 0.05; done'")
        for _, call in ipairs { "submit(os.execute, wait)", "background(os.execute, wait)",
          "submit(function() return io.popen(wait .. '; echo done'):read() end)" } do
          t:run("call = parlua." .. call)
          t:wait_for_file("begun")
          interrupt_loop(t)
        end
        helper.write(t.directory .. "/go", "")
        for k, value in ipairs { "0", "0", '"done"' } do t:wait(("[call %d returned] %s"):format(k, value)) end
      end)
    end)
  end)
end)

describe("parlua -i script.lua", function()
  it("stays at the prompt, with the script's locals at hand", function()
    helper.with_directory(function(directory)
      local script = helper.write(directory .. "/script.lua",
        "#!/usr/bin/env parlua\nlocal parlua = require 'parlua'\nlocal first = ...\nlocal function twice(x) return 2 * x end\n"
        .. "local results = parlua.map(twice, parlua.range(3))\nprint('ran with ' .. first)\nreturn 5\n")
      terminal.with_prompt({ arguments = "-i " .. script .. " word" }, function(t)
        t:wait("ran with word")
        assert.matches("\n6\n42\n\"word\"\n$", t:run("results[3], twice(21), first"))
      end)
    end)
  end)

  it("stays after an error, with the locals up to there, and shows the line", function()
    helper.with_directory(function(directory)
      local script = helper.write(directory .. "/script.lua", "local a = 1\nlocal b = { x = 2 }\nerror('here')\n")
      terminal.with_prompt({ arguments = "-i " .. script, columns = 120 }, function(t)
        t:wait("script.lua:3:  error('here')")
        assert.matches("\n1\n{x = 2}\n$", t:run("a, b"))
        t:press("C-d")
        t:wait("[status 1]")
      end)
    end)
  end)

  it("runs a job, too", function()
    helper.with_directory(function(directory)
      local script = helper.write(directory .. "/job.lua",
        "local factor = 10\nreturn { arguments = { 1, 2 }, map = function(x) return factor * x end }\n")
      terminal.with_prompt({ arguments = "-i " .. script, columns = 120 }, function(t)
        t:wait('"result":20')
        assert.matches("\n10\n70\n{10, 20}\n0\n2\n$", t:run("factor, job.map(7), results, #failures, summary.tasks"))
      end)
    end)
  end)

  it("has what came of a job at hand, and tries its failed tasks again", function()
    helper.with_directory(function(directory)
      local script = helper.write(directory .. "/job.lua", "limit = 2\nlocal job = { arguments = { 1, 2, 3 } }\n"
        .. "function job.map(x) if x > limit then error('too large', 0) end return x end\n"
        .. "if ... then job.reduce = require('parlua').sum end\nreturn job\n")
      terminal.with_prompt({ arguments = "-i " .. script }, function(t)
        assert.matches("\n{1, 2, <failed>}\n… 1 of 3 failed\n3\n$", t:run("results, failures[1].index"))
        t:run("limit = 5")
        assert.matches("\n1 task returned now, none failed again\n$", t:run("%retry"))
        assert.matches("\n{1, 2, 3}\n$", t:run("results"))
      end)
      terminal.with_prompt({ arguments = "-i " .. script .. " sum" }, function(t)
        assert.matches("\n3\n3\n$", t:run("results, failures[1].index"))
        t:run("limit = 5")
        assert.matches("The call gave no list of results: what these tasks gave is in _3\n$", t:run("%retry"))
        assert.matches("\n{3}\n$", t:run("_3"))
      end)
    end)
  end)

  it("is interrupted by Ctrl-C, and then stays", function()
    helper.with_directory(function(directory)
      local script = helper.write(directory .. "/script.lua",
        "local a = 7\nfor i = 1, math.huge do\n  a = i\n  if i == 100 then print('begun') end\nend\n")
      terminal.with_prompt({ command = helper.quote(helper.parlua) .. " -i " .. script, is_busy = true }, function(t)
        t:wait("begun")
        t:press("C-c")
        t:wait("interrupted")
        assert.matches("\ntrue\n$", t:run("a > 7"))
      end)
    end)
  end)
end)

describe("mpirun parlua", function()
  if os.getenv("SPEC_ENGINES") then return end

  it("reads a script where mpirun's standard input is one", function()
    terminal.with_prompt({ command = helper.mpirun(2) .. " " .. helper.quote(helper.parlua) .. " < script.lua", is_busy = true,
      files = { ["script.lua"] = "print('it is run')\n" } }, function(t) t:wait("it is run\n[status 0]") end)
  end)

  it("gives a prompt at rank 0, with all that a terminal has", function()
    terminal.with_prompt({ command = helper.mpirun(3) .. " " .. helper.quote(helper.parlua) }, function(t)
      t:type("parlua.rang")
      t:press("Tab")
      t:wait("> parlua.range\n")
      t:press("C-c")
      local text = t:run("select(3, parlua.map(function(x) return x end, parlua.range(100)))")
      assert.matches("100 tasks in [^\n]* %(mpi%)\n$", text)
      t:type("while true do end")
      t:press("Enter")
      t:wait("while true do end\n")
      t:press("C-c")
      t:wait("interrupted")
      assert.matches('\n"größe"\n$', t:run("'größe'"))
      t:press("C-d")
      t:wait("[status 0]")
    end)
  end)
end)
