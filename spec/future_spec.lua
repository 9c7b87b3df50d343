--- Submitted calls: they go on by themselves, can be waited for in several ways, and begin when the calls that they need have ended.
local helper = require "spec.helper"
local host = require "parlua.host"
local parlua = require "parlua"

--- Waits, in a task: on async so that others go on.
local function nap(seconds)
  local cqueues = package.loaded.cqueues
  if cqueues and cqueues.running() then return cqueues.sleep(seconds) end
  require("parlua.host").sleep(seconds)
end

--- Waits for something that happens without the script's doing.
local function eventually(is_so)
  local last = host.now() + 60
  while not is_so() do
    assert(host.now() < last, "it has not come to be so within a minute")
    host.sleep(0.005)
  end
end

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

describe("futures", function()
  helper.for_each_engine(function(engine)
    local pool

    before_each(function() pool = parlua.pool { engine = engine, workers = 2 } end)
    after_each(function() pool:close() end)

    it("say whether their call has ended, and with what failure, without a wait", function()
      local good, bad = pool:submit(function() return 1 end), pool:submit(function() error("no", 0) end)
      eventually(function() return good:done() and bad:done() end)
      assert.is_nil(good.failure)
      assert.equal("no", bad.failure.message)
      assert.is_true(good:wait(0))
      assert.equal(1, good:get(0))
    end)

    it("come in the order in which their calls end", function()
      helper.with_directory(function(directory)
        local wide = parlua.pool { engine = engine, workers = 3 }
        local order, futures = engine == "serial" and { 1, 2, 3 } or { 2, 3, 1 }, {}
        for k = 1, 3 do
          futures[k] = wide:submit(function(path)
            while not io.open(path) do nap(0.002) end
            return path:sub(-1)
          end, directory .. "/" .. k)
        end
        local function release(k) helper.write(directory .. "/" .. k, "") end
        release(order[1])
        local seen, places = {}, {}
        for future, k in parlua.as_completed(futures) do
          seen[#seen + 1], places[#places + 1] = tonumber(future:get()), k
          if #seen < 3 then release(order[#seen + 1]) end
        end
        assert.same({ order, order }, { seen, places })
        local again = {}
        for _, k in parlua.as_completed(futures) do again[#again + 1] = k end
        assert.same(order, again)
        for _ in parlua.as_completed({}) do error("there is none") end
        wide:close()
      end)
    end)

    it("can be waited for together: all, the first, the first failure", function()
      local one, two = pool:submit(function() return 1 end), pool:submit(function() return 2 end)
      local ended, open = parlua.wait { one, two }
      assert.same({ 2, 0 }, { #ended, #open })
      local bad = pool:submit(function() error("bad", 0) end)
      ended = parlua.wait({ bad, pool:submit(function() nap(0.3) end) }, "first_failure")
      assert.equal(bad, ended[#ended])
      assert.equal("bad", bad.failure.message)
      ended = parlua.wait({ one, two }, "first", 5)
      assert.equal(2, #ended)
      assert.same({ {}, {} }, { parlua.wait {} })
    end)

    it("are given to a function once their call has ended, which may submit more", function()
      local seen = {}
      local future = pool:submit(function(x) return 2 * x end, 4):on_done(function(ended)
        seen[#seen + 1] = ended:get()
        pool:submit(function(x) return x + 1 end, seen[1]):on_done(function(next_one) seen[#seen + 1] = next_one:get() end)
      end)
      future:get()
      eventually(function()
        pool:submit(function() end):wait()
        return #seen == 2
      end)
      assert.same({ 8, 9 }, seen)
      future:on_done(function(ended) seen[#seen + 1] = ended:get() + 100 end)
      assert.same({ 8, 9, 108 }, seen)
    end)

    it("may be arguments: the call begins when theirs have ended", function()
      local left = pool:submit(function() nap(0.05) return 3, "unused" end)
      local right = pool:submit(function(x) return { x = x } end, 4)
      local both = pool:submit(function(a, b, c) return math.sqrt(a * a + b.x * b.x), c end, left, right, "c")
      local last = pool:submit(function(x) return -x end, both)
      assert.equal(-5, last:get())
      assert.same({ 5, "c" }, { both:get() })
    end)

    it("fail, naming the call, when an argument has failed; and so on along the chain", function()
      local first = pool:submit(function() error("no data", 0) end)
      local second = pool:submit(function(x) return x end, first)
      local third = pool:submit(function(_, x) return x end, 1, second)
      assert.is_true(third:wait())
      assert.equal("error", third.failure.kind)
      assert.truthy(third.failure.message:find("^argument 2, the call submitted at .-future_spec.lua:%d+, failed: "
        .. "argument 1, the call submitted at .-future_spec.lua:%d+, failed: no data$"), third.failure.message)
    end)

    it("tell of a long chain by its first and its last calls", function()
      local behind = pool:submit(function() error("no data", 0) end)
      for _ = 1, 200 do behind = pool:submit(function(x) return x end, behind) end
      assert.is_true(behind:wait())
      assert.matches("^argument 1, the call submitted at %S-future_spec%.lua:%d+, failed: 199 calls before it, "
        .. "the call submitted at %S-future_spec%.lua:%d+, failed: no data$", behind.failure.message)
    end)

    it("are cancelled where an argument was cancelled, and say so", function()
      local waits = pool:submit(tostring, pool:submit(function() nap(0.01) end))
      local second = pool:submit(tostring, waits)
      assert.is_true(waits:cancel())
      assert.is_true(second:wait())
      assert.equal("cancelled", second.failure.kind)
      assert.matches("^argument 1, the call submitted at %S-future_spec%.lua:%d+, was cancelled: the call was cancelled$", second.failure.message)
    end)

    it("that wait for an argument can be cancelled, and end with their pool", function()
      helper.with_directory(function(directory)
        local slow = pool:submit(function(path)
          while not io.open(path) do nap(0.002) end
        end, directory .. "/go")
        local waiting, other = pool:submit(tostring, slow), pool:submit(tostring, slow)
        assert.is_true(waiting:cancel())
        pool:close()
        helper.write(directory .. "/go", "") -- a thread that was given up ends
        assert.equal("cancelled", waiting.failure.kind)
        assert.equal("cancelled", other.failure.kind)
        assert.equal("cancelled", slow.failure.kind)
        helper.let_threads_rest()
      end)
    end)

    it("of several pools can depend on each other", function()
      local other = parlua.pool { engine = engine, workers = 1 }
      local first = other:submit(function() nap(0.02) return 20 end)
      local second = pool:submit(function(x) return x + 1 end, first)
      assert.equal(42, other:submit(function(x) return 2 * x end, second):get())
      other:close()
    end)

    it("draw the same random numbers whether they wait for an argument or not", function()
      local function draws(waits)
        math.randomseed(5)
        local one = pool:submit(function() return 1 end)
        local list = {}
        for k = 1, 3 do list[k] = pool:submit(function() return math.random() end, waits and one or 1) end
        for k = 1, 3 do list[k] = list[k]:get() end
        return list
      end
      assert.same(draws(false), draws(true))
    end)

    it("are bounded by the option window: submit waits then", function()
      local small = parlua.pool { engine = engine, workers = 1, window = 3 }
      local futures, most = {}, 0
      for k = 1, 20 do
        futures[k] = small:submit(function(x) return x end, k)
        most = math.max(most, small.outstanding)
      end
      assert.is_true(most <= 3, most)
      for k = 1, 20 do assert.equal(k, futures[k]:get()) end
      small:close()
    end)

    it("by the thousand cost no more each", function()
      local result = helper.run_parlua("--engine " .. engine .. " -e " .. helper.quote [[
        local parlua = require "parlua"
        local futures = {}
        for k = 1, 5000 do futures[k] = parlua.submit(function(x) return x + 0.5 end, k) end
        parlua.wait(futures)
        for k = 1, 5000 do assert(futures[k]:get() == k + 0.5) end
        print "all"
      ]])
      assert.equal("all\n", result.stdout, result.stderr)
    end)

    it("are tried again as the option retries says", function()
      helper.with_directory(function(directory)
        local retrying = parlua.pool { engine = engine, workers = 1, retries = 2 }
        local future = retrying:submit(function(path)
          local file = io.open(path, "a")
          file:write(parlua.task.attempt, " ")
          file:close()
          if parlua.task.attempt < 3 then error("again", 0) end
          return parlua.task.attempt
        end, directory .. "/tries")
        assert.equal(3, future:get())
        assert.equal("1 2 3 ", helper.read(directory .. "/tries"))
        retrying:close()
      end)
    end)

    it("are replaced by what the pool's on_error returns", function()
      local kind = parlua.pool { engine = engine, workers = 1, on_error = function(failure) return "instead of " .. failure.message end }
      assert.equal("instead of nothing", kind:submit(function() error("nothing", 0) end):get())
      kind:close()
    end)

    it("raise what the pool's on_error has raised for them, and the others go on", function()
      local raised = {}
      local strict = parlua.pool { engine = engine, workers = 2, on_error = function(failure)
        if failure.message ~= "ignored" then error(raised) end
      end }
      local calls = {}
      for k = 1, 6 do
        calls[k] = strict:submit(function(n) error(n == 3 and "wrong" or "ignored", 0) end, k)
      end
      local behind = strict:submit(function(x) return x end, calls[3])
      for k = 1, 6 do
        local ok, problem = pcall(calls[k].get, calls[k])
        assert.is_false(ok)
        if k == 3 then assert.equal(raised, problem) else assert.equal("ignored", problem.message) end
      end
      assert.is_true(behind:wait())
      assert.matches("^argument 1, the call submitted at .*: wrong$", behind.failure.message)
      assert.equal(raised, select(2, pcall(behind.get, behind)))
      assert.equal(7, strict:submit(function() return 7 end):get())
      strict:close()
    end)

    it("are replaced by what on_error returns also where an argument has failed", function()
      local asked = {}
      local lenient = parlua.pool { engine = engine, workers = 2, on_error = function(failure)
        asked[#asked + 1] = failure.message:match "[^:]*$"
        if failure.args.n > 0 then return "instead", 2 end
      end }
      local first = lenient:submit(function() error("no data", 0) end)
      assert.same({ "instead", 2 }, { lenient:submit(function(x) return x end, first):get() })
      assert.same({ "no data", " no data" }, asked)
      lenient:close()
    end)

    it("use what their function held, and their arguments were, when they were submitted", function()
      local one = parlua.pool { engine = engine, workers = 1 }
      local calls, list, none = {}, { 1 }, {}
      local x
      local function add(k)
        list[k] = k
        return #list
      end
      for k = 1, 4 do
        x = k
        calls[k] = one:submit(function() return x end)
      end
      for k = 1, 4 do assert.equal(k, calls[k]:get()) end
      local first = one:submit(add, 2)
      local given = { 1 }
      local returned = one:submit(function(t) return t, none end, given)
      given[1], list[2], list[3] = 7, 5, 6
      assert.equal(2, first:get())
      assert.same({ 1, 5, 6 }, list)
      local copy, same = returned:get()
      assert.same({ 1 }, copy)
      assert.equal(none, same)
      one:close()
    end)

    it("are given no more than can be sent; on async the script's own files and coroutines too", function()
      local one, file, thread = parlua.pool { engine = engine, workers = 1 }, io.tmpfile(), coroutine.create(function() end)
      file:write("written by the script")
      local function read(from)
        from:seek("set")
        return from:read("*a")
      end
      local function held() return thread and "held" end
      local given, made = one:submit(read, file), one:submit(function() return coroutine.create(print) end)
      given:wait()
      made:wait()
      if engine == "async" then
        assert.equal("written by the script", given:get())
        assert.equal("thread", type(made:get()))
        assert.equal("held", one:submit(held):get())
      else
        assert.matches("^cannot send argument: userdata %(FILE%*%)", given.failure.message)
        assert.equal("unsendable", made.failure.kind)
        assert.matches("^cannot send result: a coroutine: return what it yields", made.failure.message)
        local ok, message = pcall(one.submit, one, held)
        assert.is_false(ok)
        assert.matches("cannot send upvalue 'thread' of .*: a coroutine: make it in the task$", message)
      end
      file:close()
      one:close()
    end)

    it("are refused within a table that is an argument, however deep", function()
      local inner = pool:submit(function() return 3 end)
      for _, value in ipairs { { deep = inner }, { { { inner } } }, { [inner] = true } } do
        local call = pool:submit(function(t) return t end, value)
        assert.is_true(call:wait())
        assert.equal("unsendable", call.failure.kind)
        assert.matches("^cannot send .*argument.*: it is a future, ", call.failure.message)
      end
      assert.equal(3, inner:get())
    end)

    it("name in their failures the place where they were submitted", function()
      local line = debug.getinfo(1, "l").currentline + 1
      local call = pool:submit(function() error("wrong", 0) end)
      call:wait()
      assert.matches("future_spec%.lua:" .. line .. "$", call.failure.place)
      assert.matches("^the call submitted at %S-future_spec%.lua:" .. line .. " failed %(error%): wrong\n", tostring(call.failure) .. "\n")
    end)

    it("say what is wrong with what they are asked", function()
      local function message_of(f, ...) return tostring(select(2, pcall(f, ...))) end
      local slow = pool:submit(function() nap(0.2) return 1 end)
      if engine ~= "serial" then
        assert.truthy(message_of(slow.get, slow, 0.01):find "get: the call submitted at .-future_spec.lua:%d+ has not ended within 0.01 s")
      end
      assert.equal(1, slow:get(60))
      assert.truthy(message_of(slow.get, slow, "5"):find "get: seconds must be a number of at least 0, got 5")
      assert.truthy(message_of(slow.on_done, slow, 1):find "on_done: a function is expected, got number")
      assert.truthy(message_of(parlua.wait, slow):find "wait: a list of futures is expected, got one future")
      assert.truthy(message_of(parlua.wait, { slow }, "any"):find 'wait: "first", "all" or "first_failure" is expected, got any')
      assert.truthy(message_of(parlua.as_completed, { 1 }):find "as_completed: item 1 is no future but number")
      assert.truthy(message_of(parlua.race, {}):find "race: there is no future in the list")
      assert.truthy(message_of(slow.get, 3):find "get: a future is expected, got number; it is called with a colon, future:get%(%)")
      for _, f in ipairs(engine ~= "serial" and engine ~= "async" and {
        function() return pool:submit(function(list) return list[1] end, { slow }):get() end,
        function() return pool:submit(function() return slow:get() end):get() end,
      } or {}) do
        assert.truthy(message_of(f):find("it is a future, which belongs to this program: send what it has returned, future:get(), "
          .. "or give it to submit as an argument of its own", 1, true))
      end
    end)

    it("say of themselves what has become of their call", function()
      local place = "^future: the call submitted at .-future_spec.lua:%d+ "
      local one, none = pool:submit(function(x) return x, { "two" } end, 1), pool:submit(function() end)
      local bad = pool:submit(error, "no\nluck", 0)
      parlua.wait { one, none, bad }
      assert.truthy(tostring(one):find(place .. 'returned 1, {"two"}$'))
      assert.truthy(tostring(none):find(place .. "returned nothing$"))
      assert.truthy(tostring(bad):find(place .. "failed %(error%): no"))
      assert.truthy(tostring(pool:submit(nap, 0.01)):find(place .. "has not ended$"))
    end)

    it("run side by side as a list of functions, whose first results come in order", function()
      local captured = 5
      local a, b, c = parlua.run({ function() return captured, 0 end, function() return nil end, function() return "c" end },
        { engine = engine })
      assert.same({ 5, nil, "c" }, { a, b, c })
      local ok, failure = pcall(parlua.run, { function() return 1 end, function() error("second", 0) end }, { engine = engine })
      assert.same({ false, 2, "second" }, { ok, failure.index, failure.message })
      assert.equal(0, select("#", parlua.run({}, { engine = engine })))
      assert.truthy(tostring(select(2, pcall(parlua.run, { 5 }))):find "run: item 1 is no function but number")
    end)
  end)

  helper.for_each_engine(function(engine)
    it("go on while the script does other things", function()
      helper.with_directory(function(directory)
        local pool = parlua.pool { engine = engine, workers = 2 }
        local futures = {}
        for k = 1, 40 do
          futures[k] = pool:submit(function(path, i)
            io.open(path .. i, "w"):close()
            return ("x"):rep(i)
          end, directory .. "/", k)
        end
        eventually(function() return exists(directory .. "/40") end) -- the script asks for nothing meanwhile
        for k = 1, 40 do assert.equal(("x"):rep(k), futures[k]:get()) end
        pool:close()
      end)
    end)
  end, { "threads", "process" })

  it("race: the first to end wins, the others are cancelled", function()
    local pool = parlua.pool { engine = "process", workers = 2 }
    local slow = pool:submit(function() nap(20) return "slow" end)
    local fast = pool:submit(function() return "fast", 2 end)
    assert.same({ "fast", 2 }, { parlua.race { slow, fast } })
    assert.equal("cancelled", slow.failure.kind)
    pool:close()
  end)

  it("whose time is over are ended while the script does other things", function()
    helper.with_directory(function(directory)
      local pool = parlua.pool { engine = "process", workers = 1, timeout = 0.2 }
      local future = pool:submit(function(path)
        local file = assert(io.open(path, "w"))
        file:write(io.open("/proc/self/stat"):read("*n"), " ")
        file:close()
        while true do end
      end, directory .. "/pid")
      local function pid()
        local file = io.open(directory .. "/pid")
        local text = file and file:read("*a"):match("^(%d+) ")
        if file then file:close() end
        return text
      end
      eventually(pid)
      local path = "/proc/" .. pid() .. "/stat"
      eventually(function() return not exists(path) end) -- the script asks for nothing meanwhile
      assert.equal("timeout", future.failure.kind)
      pool:close()
    end)
  end)
end)

describe("a program with submitted calls", function()
  local function run(engine, text, directory)
    helper.write(directory .. "/script.lua", 'local parlua = require "parlua"\n' .. text)
    return helper.run(helper.command(engine) .. " script.lua " .. engine, { directory = directory, env = { PARLUA_WARN = "" } })
  end

  local function on_each(body)
    helper.for_each_engine(body)
    if helper.has_mpi then describe("engine mpi:", function() body("mpi") end) end
  end

  on_each(function(engine)
    it("ends when they have, also those that nobody waits for", function()
      helper.with_directory(function(directory)
        local result = run(engine, [[
          for i = 1, 5 do
            parlua.submit(function(k)
              require("parlua.host").sleep(0.02)
              io.open("done" .. k, "w"):close()
            end, i)
          end
          local first = parlua.submit(function() return 6 end)
          parlua.submit(function(k) io.open("done" .. k, "w"):close() end, first)
          print "script ends"
        ]], directory)
        assert.same({ "script ends\n", "", 0 }, { result.stdout, result.stderr, result.status })
        for i = 1, 6 do assert.is_true(exists(directory .. "/done" .. i), i) end
      end)
    end)

    it("is told of what on_error has raised, where nobody has got it, and has failed", function()
      helper.with_directory(function(directory)
        local text = [[
          local pool = parlua.pool { warn = false, on_error = function(failure) error("on_error is wrong", 0) end }
          local first, second = pool:submit(error, "one"), pool:submit(error, "two")
          print(first:wait(), pcall(first.get, first))
          print(second:wait(), second.failure.message) ]]
        local result = run(engine, text, directory)
        assert.same({ "true\tfalse\ton_error is wrong\ntrue\ttwo\n", 1 }, { result.stdout, result.status }, result.stderr)
        assert.equal('parlua: submit at script.lua:3: the call failed ("two"), and on_error has raised an error: on_error is wrong\n', result.stderr)
        result = run(engine, text .. " pcall(second.get, second)", directory)
        assert.same({ "", 0 }, { result.stderr, result.status })
      end)
    end)

    if engine ~= "serial" and engine ~= "async" then -- there a call that waits holds up the script itself
      it("says what it waits for when that takes long", function()
        helper.with_directory(function(directory)
          helper.write(directory .. "/script.lua", [[
            local parlua = require "parlua"
            for _ = 1, 2 do
              parlua.submit(function() repeat require("parlua.host").sleep(0.01) until io.open "told" end)
            end
          ]])
          local command = helper.command(engine) .. " script.lua 2>&1 | while read -r line; do echo \"$line\"; touch told; done"
          local result = helper.run(command, { directory = directory })
          assert.equal("parlua: the script is over; waiting for 2 submitted calls to end (Ctrl-C ends them)\n", result.stdout)
        end)
      end)
    end

    it("is told of them also where they are collected while a task runs", function()
      helper.with_directory(function(directory)
        local result = run(engine, [[
          parlua.submit(error, "dropped", 0):wait()
          parlua.map(function() collectgarbage() collectgarbage() end, parlua.range(2), { engine = "serial" })
        ]], directory)
        assert.equal(0, result.status, result.stderr)
        assert.equal('parlua: submit at script.lua:2: the call failed ("dropped", 0): dropped\n', result.stderr)
      end)
    end)

    it("is told of failures that nobody has looked at, a line for each place", function()
      helper.with_directory(function(directory)
        local result = run(engine, [[
          parlua.submit(function(name, n) error("no " .. name, 0) end, "luck", 2)
          local looked = parlua.submit(error, "seen", 0)
          looked:wait()
          assert(looked.failure)
          assert(not pcall(function() parlua.submit(error, "raised", 0):get() end))
          local chained = parlua.submit(function(x) return x end, parlua.submit(error, "first", 0))
          assert(chained:wait() and chained.failure)
          local both = parlua.submit(error, "one", 0)
          assert(parlua.submit(print, both, parlua.submit(error, "two", 0)):wait())
          kept = {}
          for i = 1, 4 do kept[i] = parlua.submit(function(k) error("bad " .. k, 0) end, i) end
          if arg[1] ~= "mpi" then
            parlua.pool({ warn = false }):submit(error, "quiet", 0)
            parlua.pool({ on_error = function() end }):submit(error, "taken care of", 0)
          end
          parlua.submit(function() end):on_done(function() error("told", 0) end)
          parlua.submit(print, "fine")
        ]], directory)
        assert.equal(0, result.status, result.stderr)
        local lines = {}
        for line in result.stderr:gmatch "[^\n]+" do lines[#lines + 1] = line end
        table.sort(lines)
        assert.same({
          "parlua: on_done at script.lua:17: told",
          "parlua: submit at script.lua:10: the call failed (a failed call, a failed call): argument 1, "
            .. "the call submitted at script.lua:9, failed: one",
          "parlua: submit at script.lua:12: 3 more calls failed, and nobody has looked at them",
          "parlua: submit at script.lua:12: the call failed (1): bad 1",
          'parlua: submit at script.lua:2: the call failed ("luck", 2): no luck',
        }, lines)
      end)
    end)

    it("is told of a failure when its future is collected", function()
      helper.with_directory(function(directory)
        local result = run(engine, [[
          parlua.submit(error, "lost", 0):wait()
          collectgarbage() collectgarbage()
          io.stderr:write "collected\n"
        ]], directory)
        assert.equal('parlua: submit at script.lua:2: the call failed ("lost", 0): lost\ncollected\n', result.stderr)
      end)
    end)
  end)

  it("forks workers for other calls while they go on, which do not wait for them", function()
    helper.with_directory(function(directory)
      local result = run("process", [[
        local pool = parlua.pool { workers = 2 }
        local futures = {}
        for round = 1, 30 do
          for i = 1, 10 do futures[i] = pool:submit(function(x) return x end, i) end
          local others, failures = parlua.map(function(i)
            collectgarbage()
            pcall(futures[1].done, futures[1])
            return pool:submit(function(x) return 2 * x end, i):get()
          end, parlua.range(10), { workers = 2 })
          assert(#failures == 0 and others[10] == 20)
          for i = 1, 10 do assert(futures[i]:get() == i) end
        end
        print "ended"
      ]], directory)
      assert.same({ "ended\n", "" }, { result.stdout, result.stderr })
    end)
  end)

  it("ends by a signal though they go on, and leaves no worker behind", function()
    for signal, status in pairs { TERM = 128 + 15, KILL = 128 + 9 } do
      helper.with_directory(function(directory)
        helper.write(directory .. "/script.lua", [[
          local parlua = require "parlua"
          parlua.submit(function()
            local file = io.open("pid", "w")
            file:write(require("parlua.host").pid(), "\n")
            file:close()
            io.open("begun", "w"):close()
            while true do end
          end)
          require("parlua.host").sleep(600)
        ]])
        local result = helper.run(("%s script.lua & p=$!; while [ ! -e begun ]; do sleep 0.01; done; kill -%s $p; wait $p"):format(
          helper.command "process", signal), { directory = directory, seconds = 60 })
        assert.equal(status, result.status, result.stderr)
        local pid = helper.read(directory .. "/pid"):match "%d+"
        eventually(function()
          local stat = io.open("/proc/" .. pid .. "/stat")
          local state = stat and stat:read("*a"):match "%) (%a)"
          if stat then stat:close() end
          return not state or state == "Z" or state == "X"
        end)
      end)
    end
  end)
end)
