local parlua = require "parlua"
local helper = require "spec.helper"

describe("a pool", function()
  helper.for_each_engine(function(engine)
    local pool

    before_each(function() pool = parlua.pool { engine = engine, workers = 2 } end)
    after_each(function() pool:close() end)

    it("runs the set-up of its workers before submitted calls, which find the globals that it has set", function()
      local script = [[
        local parlua = require "parlua"
        connection, other = "closed", "of the script"
        local open = parlua.pool { workers = 1, setup = function() connection = "open" end }
        local function look() return connection, other end
        print(open:map(look, { 1 })[1])
        for _ = 1, 2 do print(open:submit(look):get()) end
        open:submit(function() connection = "lost" end):get()
        print(open:submit(function() return connection end):get())
      ]]
      helper.with_directory(function(directory)
        local result = helper.run_parlua("--engine " .. engine .. " " .. helper.write(directory .. "/script.lua", script))
        assert.equal("open\nopen\tof the script\nopen\tof the script\nlost\n", result.stdout, result.stderr)
      end)
    end)

    it("tells of a set-up that fails by each call", function()
      pool:close()
      pool = parlua.pool { engine = engine, workers = 1, setup = function() error("no licence") end }
      local ok, message = pcall(function() return pool:submit(tostring, 1):get() end)
      assert.is_false(ok)
      assert.truthy(tostring(message):find("setup failed: .*no licence"), tostring(message))
    end)

    it("has any and all too, with its options", function()
      assert.is_true((pool:any(function(x) return x > 5 end, parlua.range(9))))
      assert.is_false((pool:all(function(x) return x > 5 end, parlua.range(9))))
    end)

    it("runs map, each, imap, reduce and find with its own options", function()
      local function square(x) return x * x end
      assert.same({ 1, 4, 9, n = 3 }, (pool:map(square, { 1, 2, 3 })))
      local _, summary = pool:each(square, parlua.range(10))
      assert.equal(10, summary.returned)
      assert.equal(engine, summary.engine)
      local sum = 0
      for _, value in pool:imap(square, parlua.range(4)) do sum = sum + value end
      assert.equal(30, sum)
      assert.equal(30, (pool:reduce(square, parlua.range(4), parlua.sum)))
      assert.equal(3, (pool:find(function(x) return x > 2 end, parlua.range(9))))
    end)

    it("gives all results of a submitted call", function()
      local base = 10
      local future = pool:submit(function(a, b) return a + b + base, nil, "third" end, 1, 2)
      assert.same({ 13, nil, "third", n = 3 }, (function(...) return { n = select("#", ...), ... } end)(future:get()))
      assert.is_true(future:wait(0))
      assert.is_nil(future.failure)
      assert.equal(0, select("#", pool:submit(function() end):get()))
    end)

    it("sees what a function captures at the time of each call", function()
      local factor = 2
      local function times(x) return factor * x end
      local first = pool:submit(times, 5)
      assert.equal(10, first:get())
      factor = 3
      assert.equal(15, pool:submit(times, 5):get())
    end)

    it("takes many calls at once, asked for in any order", function()
      local futures = {}
      for i = 1, 200 do futures[i] = pool:submit(function(x) return -x end, i) end
      for i = 200, 1, -1 do assert.equal(-i, futures[i]:get()) end
    end)

    it("raises a call's failure when its result is asked for, and goes on", function()
      local future = pool:submit(function(x) error("no " .. x, 0) end, "luck")
      assert.is_true(future:wait())
      local ok, failure = pcall(future.get, future)
      assert.is_false(ok)
      assert.equal("error", failure.kind)
      assert.equal("no luck", failure.message)
      assert.same({ n = 1, "luck" }, failure.args)
      assert.equal(failure, future.failure)
      assert.equal(7, pool:submit(function() return 7 end):get())
    end)

    it("does not begin a call that was cancelled before", function()
      local directory, futures = helper.new_directory(), {}
      for i = 1, 20 do
        futures[i] = pool:submit(function(k) -- they wait for the file, so the last has not begun
          local last = os.time() + 60
          repeat
            local file = io.open(directory .. "/go")
            if file then file:close() end
          until file or os.time() > last
          return k
        end, i)
      end
      assert.is_true(futures[20]:cancel())
      helper.write(directory .. "/go", "")
      assert.equal("cancelled", futures[20].failure.kind)
      assert.is_false(pcall(futures[20].get, futures[20]))
      for i = 1, 19 do assert.equal(i, futures[i]:get()) end
      assert.is_false(futures[1]:cancel())
      helper.remove(directory)
    end)

    it("cancels what has not ended when it is closed, and takes no more", function()
      local future = pool:submit(function() return 1 end)
      future:get()
      pool:close()
      pool:close()
      assert.has_error(function() pool:submit(print) end, "the pool is closed")
      assert.has_error(function() pool:map(print, {}) end, "the pool is closed")
    end)

    it("keeps no function alive that was submitted and has ended", function()
      local alive, values = setmetatable({}, { __mode = "k" }), { 1 }
      for k = 1, 50 do
        local function free() return k end
        local function bound() return values[1] + k end
        alive[free], alive[bound] = true, true
        assert.equal(2 * k + 1, pool:submit(free):get() + pool:submit(bound):get())
      end
      for _ = 1, 3 do collectgarbage() end
      local count = 0
      for _ in pairs(alive) do count = count + 1 end
      assert.truthy(count <= 4, count .. " functions are alive") -- the last ones may be in use
    end)

    it("refuses what is no function, and a wait that is no time", function()
      assert.has_error(function() pool:submit("f") end, "submit: a function is expected, got string")
      local future = pool:submit(function() end)
      assert.has_error(function() future:wait(-1) end, "wait: seconds must be a number of at least 0, got -1")
    end)
  end)

  it("ends a running call that is cancelled, on the process engine, and replaces the worker", function()
    local pool = parlua.pool { engine = "process", workers = 1 }
    local future = pool:submit(function() while true do end end)
    assert.is_false(future:wait(0.1))
    assert.is_true(future:cancel())
    assert.equal(2, pool:submit(function() return 2 end):get())
    pool:close()
  end)

  it("contains a crash of a submitted call", function()
    local pool = parlua.pool { engine = "process", workers = 2 }
    local future = pool:submit(function() os.exit(4) end)
    assert.is_true(future:wait(30))
    assert.equal("crash", future.failure.kind)
    assert.equal("the worker exited with status 4", future.failure.message)
    pool:close()
  end)

  it("says what can't be sent", function()
    local pool = parlua.pool { engine = "threads", workers = 1 }
    local file = io.tmpfile()
    assert.has_error(function() pool:submit(function() return file end) end,
      "cannot send upvalue 'file' of function at spec/pool_spec.lua:162: userdata (FILE*)"
      .. ": open it in the task, or in `setup`")
    file:close()
    pool:close()
  end)

  it("calls methods of what its processes have from the script, though it can't be sent", function()
    local result = helper.run_parlua [[-e '
      local parlua = require "parlua"
      step = 1 -- the function below depends on the state of the script
      local Class = { body = coroutine.create(function() end) }
      Class.__index = Class
      function Class:kind() return type(self.body) end
      local pool = parlua.pool { engine = "process", workers = 1 }
      for _ = 1, 2 do print(step, pool:submit(function() return step, Class:kind() end):get()) end']]
    assert.equal("1\t1\tthread\n1\t1\tthread\n", result.stdout, result.stderr)
    assert.equal(0, result.status)
  end)

  it("sends what methods have captured as it is at each call, also before any is waited for", function()
    local settings, Class = { value = 0 }, {}
    Class.__index = Class
    function Class:setting() return settings.value end
    local function ask(object) return tostring(object:setting()) end
    for _, engine in ipairs { "threads", "process" } do
      local pool, futures = parlua.pool { engine = engine, workers = 1 }, {}
      for k = 1, 4 do
        settings.value = k
        futures[k] = pool:submit(ask, setmetatable({}, Class))
      end
      for k = 1, 4 do assert.equal(tostring(k), futures[k]:get(), engine) end
      pool:close()
    end
  end)

  it("of the program's own serves parlua.submit", function()
    local result = helper.run_parlua [[-e 'print(require("parlua").submit(math.max, 1, 3, 2):get())']]
    assert.equal("3\n", result.stdout, result.stderr)
    assert.equal(0, result.status)
  end)
end)

describe("a pool of an engine that can't do what an option asks", function()
  local asked = { serial = { timeout = 1 }, async = { max_tasks = 3 }, threads = { memory = "1 GB" } }

  for engine, options in pairs(asked) do
    local name = next(options)

    it(("is not opened (%s, %s)"):format(engine, name), function()
      local ok, message = pcall(parlua.pool, { engine = engine, [name] = options[name] })
      assert.is_false(ok)
      assert.truthy(message:find(("option '%s': the %s engine"):format(name, engine), 1, true), message)
    end)
  end
end)

describe("a pool that nobody holds any more", function()
  local script = [[
    local parlua, host = require "parlua", require "parlua.host"
    local function workers() -- threads and processes of this program
      local number, file = 0, assert(io.open("/proc/self/task/" .. host.pid() .. "/children"))
      for _ in file:read("*a"):gmatch("%d+") do number = number + 1 end
      file:close()
      for _ in require("lfs").dir("/proc/self/task") do number = number + 1 end
      return number
    end
    local open = parlua.pool { engine = ENGINE, workers = 2 } -- what an engine starts once stays
    open:map(tostring, { 1 })
    open:close()
    local before = workers()
    local function rests()
      collectgarbage()
      collectgarbage()
      return workers() == before
    end
  ]]

  local function run(engine, text)
    local result = helper.run_parlua("-", { stdin = (script .. text):gsub("ENGINE", ("%q"):format(engine)) })
    assert.same({ "", 0 }, { result.stderr, result.status })
    return result.stdout
  end

  helper.for_each_engine(function(engine)
    it("ends its workers, unless one of its futures is held", function()
      assert.equal("7\tfalse\ttrue\n", run(engine, [[
        local future = parlua.pool { engine = ENGINE, workers = 2 }:submit(function() return 7 end)
        local result, was_at_rest = future:get(), rests()
        future = nil
        print(result, was_at_rest, rests())
      ]]))
    end)

    it("ends its workers though a variable has held it", function()
      assert.equal("7\tfalse\ttrue\n", run(engine, [[
        local pool = parlua.pool { engine = ENGINE, workers = 2 }
        local held = { pool }
        local result, was_at_rest = pool:submit(function() return 7 end):get(), rests()
        pool, held[1] = nil, nil
        print(result, was_at_rest, rests())
      ]]))
    end)

    it("runs what was submitted to it", function()
      helper.with_directory(function(directory)
        assert.equal("done\n", run(engine, ([[
          do
            local pool = parlua.pool { engine = ENGINE, workers = 1 }
            pool:submit(function(path)
              require("parlua.host").sleep(0.1)
              io.open(path, "w"):close()
            end, %q)
          end
          rests()
          local last = host.now() + 60
          repeat
            local file = io.open(%q)
            if file then file:close() end
          until file or host.now() > last
          print(host.now() < last and "done" or "lost")
        ]]):format(directory .. "/ran", directory .. "/ran")))
      end)
    end)
  end, { "threads", "process" })

  helper.for_each_engine(function(engine)
    it("is also the program's own, which begins anew when it is needed", function()
      assert.equal("1\tfalse\ttrue\t2\n", run(engine, [[
        local future = parlua.submit(function() return 1 end)
        local result, was_at_rest = future:get(), rests()
        future = nil
        print(result, was_at_rest, rests(), parlua.submit(function() return 2 end):get())
      ]]))
    end)
  end, { "process" })
end)

describe("a pool with large arguments", function()
  helper.for_each_engine(function(engine)
    it("can be closed while they are on their way", function()
      local result = helper.run_parlua("--engine " .. engine .. " -e " .. helper.quote(([[
        local parlua = require "parlua"
        local first, second = ("a"):rep(400000), ("b"):rep(3000000)
        for _ = 1, 30 do
          local pool = parlua.pool { engine = %q, workers = 1 }
          local futures = { pool:submit(string.len, first), pool:submit(string.len, second) }
          pool:close()
          for _, future in ipairs(futures) do assert(future:done()) end
        end
        local pool = parlua.pool { engine = %q, workers = 1 }
        print(pool:submit(string.len, first):get(), pool:submit(string.len, second):get())
        pool:close()
      ]]):format(engine, engine)), { env = { MALLOC_PERTURB_ = "165" } })
      assert.same({ 0, "400000\t3000000\n" }, { result.status, result.stdout })
    end)
  end)

  helper.for_each_engine(function(engine)
    it("says what is wrong when a method is called with a dot", function()
      local pool = parlua.pool { engine = engine, workers = 1 }
      for _, name in ipairs { "map", "starmap", "each", "imap", "reduce", "find", "any", "all", "submit", "everywhere", "close" } do
        local _, message = pcall(pool[name], tostring, { 1 })
        assert.equal(("%s: a pool is expected, got function; it is called with a colon, pool:%s()"):format(name, name), message)
      end
      local loop = pool:imap(tostring, { 1 })
      for _, name in ipairs { "close", "summary", "parent" } do
        local _, message = pcall(loop[name])
        assert.equal(("%s: a stream is expected, got nil; it is called with a colon, stream:%s()"):format(name, name), message)
      end
      pool:close()
    end)
  end)
end)
