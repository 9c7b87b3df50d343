-- What the C core promises about tasks that others stand beside: nobody pays for a neighbour, nothing is lost, nothing starves.
-- `make simulate` tries the same with thousands of schedules; here it is seen from a script.

local helper = require "spec.helper"
local parlua = require "parlua"
local host = require "parlua.host"

local function spin(seconds)
  local now = require("parlua.host").now
  local last = now() + seconds
  while now() < last do end
end

describe("what is decided about a task", function()
  helper.for_each_engine(function(engine)
    it("at its time limit does not hit the one that its worker has gone on to", function()
      local limit = 0.05
      for round = 1, 8 do
        local _, failures, summary = parlua.map(function(i)
          if i % 2 == 1 then -- about as long as the limit
            local ffi = require "ffi"
            pcall(ffi.cdef, "int usleep(unsigned int);")
            ffi.C.usleep(49000 + i * 37 % 3000)
          end
          return i
        end, parlua.range(80), { engine = engine, workers = 8, timeout = limit, chunk = 10, seed = round })
        assert.equal(80, summary.returned + #failures)
        for _, failure in ipairs(failures) do
          assert.equal("timeout", failure.kind)
          assert.equal(1, failure.attempts)
          -- a machine that is busy with others may hold up any task; one that is blamed was over the limit itself
          assert.is_true(failure.index % 2 == 1 or failure.seconds > limit, failure.index .. ": " .. failure.seconds)
        end
      end
    end)

    it("at its time limit does not count what a worker does before the first task of a chunk", function()
      local function begins_late()
        local wear = require "parlua.worker.wear"
        local last = wear.last
        wear.last = function(...)
          require("parlua.host").sleep(0.3)
          return last(...)
        end
      end
      local pool = parlua.pool { engine = engine, workers = 2, timeout = 0.25, setup = begins_late }
      local _, failures = pool:map(function() require("parlua.host").sleep(0.01) end, parlua.range(6))
      assert.same({}, failures)
      pool:close()
    end)

    it("as it is cancelled does not hit the next call", function()
      local pool = parlua.pool { engine = engine, workers = 1 }
      local cancelled = 0
      for round = 1, 150 do
        -- most are about to end as they are cancelled; some surely run, however slowly this program does
        local a, b = pool:submit(spin, round % 15 == 0 and 0.2 or 200e-6), pool:submit(function(x) return x end, round)
        spin(round % 10 * 30e-6)
        if a:cancel() then cancelled = cancelled + 1 end
        assert.equal(round, b:get())
      end
      pool:close()
      assert.is_true(cancelled > 0)
    end)
  end, { "process", "mpi" })

  helper.for_each_engine(function(engine)
    -- one of 3 MB is on its way to the worker in part, as there is no room for all of it
    for what, bytes in pairs { ["small"] = 1, ["large"] = 1e6, ["larger than there is room for"] = 3e6 } do
      it("that is queued behind another: it is cancelled and never runs, its argument being " .. what, function()
        helper.with_directory(function(directory)
          local pool = parlua.pool { engine = engine, workers = 1 }
          local function is_there(name)
            local file = io.open(directory .. "/" .. name)
            if file then file:close() end
            return file
          end
          local function wait_for(name)
            local last = os.time() + 60
            repeat require("parlua.host").sleep(0.001) until is_there(name) or os.time() > last
          end
          local others = {} -- over ranks, each has a worker: all are kept busy
          for k = 1, select(3, pool:map(function(x) return x end, { 1 })).workers do
            others[k] = pool:submit(function()
              helper.write(directory .. "/began" .. k, "")
              wait_for "go"
              return "a"
            end)
          end
          for k = 1, #others do wait_for("began" .. k) end
          local b = pool:submit(function() io.open(directory .. "/ran", "w"):close() end, ("x"):rep(bytes))
          assert.is_true(b:cancel())
          helper.write(directory .. "/go", "")
          for k = 1, #others do assert.equal("a", others[k]:get()) end
          assert.is_true(b:wait(60))
          assert.equal("cancelled", b.failure.kind)
          assert.equal(2e6, pool:submit(function(text) return #text end, ("c"):rep(2e6)):get())
          pool:close()
          assert.is_nil(io.open(directory .. "/ran"))
        end)
      end)
    end
  end, { "threads", "process", "mpi" })
end)

describe("a result", function()
  helper.for_each_engine(function(engine)
    it("of a stream that was closed is not taken for one of the next call's", function()
      local pool = parlua.pool { engine = engine, workers = 2 }
      for round = 1, 15 do
        local step, stream = pool:imap(function(i)
          require("parlua.host").sleep(0.0005 * i)
          return "old" .. i
        end, parlua.range(100), { chunk = 1 })
        step()
        stream:close()
        local results, failures = pool:map(function(i) return "new" .. round .. "." .. i end, parlua.range(4), { chunk = 1 })
        assert.equal(0, #failures)
        for i = 1, 4 do assert.equal("new" .. round .. "." .. i, results[i]) end
      end
      pool:close()
    end)

    it("that is large arrives, also where there are more than a rank may have unread", function()
      local results, failures = parlua.map(function(i) return ("x"):rep(4e5) .. i end, parlua.range(150), { engine = engine, workers = 3 })
      assert.equal(0, #failures)
      for i = 1, 150 do assert.equal(4e5 + #tostring(i), #results[i]) end
    end)

    it("of a large argument behind many small ones comes once, and each task runs once", function()
      local big = ("x"):rep(3e6)
      for _ = 1, 5 do
        helper.with_directory(function(directory)
          local function generate()
            for i = 1, 200 do coroutine.yield(i) end
            coroutine.yield(big)
          end
          local _, failures, summary = parlua.map(function(x)
            local file = io.open(directory .. "/log" .. tostring(parlua.task.worker), "a")
            file:write(type(x) == "number" and x or "big", "\n")
            file:close()
            return type(x) == "number" and x or #x
          end, coroutine.wrap(generate), { engine = engine, workers = 2 })
          assert.same({ 0, 201 }, { #failures, summary.returned })
          local count = 0
          for name in require("lfs").dir(directory) do
            if name:find("^log") then
              for _ in io.lines(directory .. "/" .. name) do count = count + 1 end
            end
          end
          assert.equal(201, count)
        end)
      end
    end)
  end, { "threads", "process", "mpi" })
end)

-- Results and arguments travel in blocks: words from the front, values from the back. Where they meet nothing may be lost.
describe("what fills a block to the last word", function()
  local room = 262144 - 128 - 8 -- of a block, without its header and a value's length
  local count = 24

  -- Every eighth is as large as a block, but for a few words; the others are numbers, and short texts of odd sizes.
  local function filling(i, spare)
    if i % 8 == 3 then return ("x"):rep(room - 8 * ((spare + i) % 12) - i % 3) end
    if i % 4 == 1 then return ("y"):rep(i % 13) end
    return i
  end

  helper.for_each_engine(function(engine)
    local options = helper.options(engine)

    it("comes back as it was", function()
      for spare = 0, 11 do
        local texts = parlua.map(function(i) return filling(i, spare) end, parlua.range(count), options { chunk = 8 })
        local tables = parlua.map(function(i) return { filling(i, spare + 20) } end, parlua.range(count), options { chunk = 8 })
        for i = 1, count do
          assert.is_true(texts[i] == filling(i, spare), ("text %d of %d"):format(i, spare))
          assert.is_true(tables[i][1] == filling(i, spare + 20), ("table %d of %d"):format(i, spare))
        end
        local seen = 0
        local function two(i) return filling(i, spare), i end
        for i, first, second in parlua.imap(two, parlua.range(count), options { chunk = 8 }) do
          assert.is_true(first == filling(i, spare) and second == i, ("two values %d of %d"):format(i, spare))
          seen = seen + 1
        end
        assert.equal(count, seen)
      end
    end)

    it("arrives as it was", function()
      for spare = 0, 11 do
        local items, lengths = {}, {}
        for i = 1, count do
          items[i] = filling(i, spare)
          lengths[i] = type(items[i]) == "string" and #items[i] or items[i]
        end
        local function size(x) return type(x) == "string" and #x or x end
        local results = parlua.map(size, items, options { chunk = 8 })
        for i = 1, count do assert.equal(lengths[i], results[i]) end
        results = parlua.map(function(x, y) return size(x) * 2 + size(y) end, parlua.zip(items, items), options { chunk = 8 })
        for i = 1, count do assert.equal(3 * lengths[i], results[i]) end
      end
    end)

    it("is told as it was raised", function()
      for spare = 0, 11 do
        local results, failures = parlua.map(function(i)
          if i % 8 == 3 then error({ filling(i, spare + 20) }, 0) end
          return i
        end, parlua.range(count), options { chunk = 8 })
        assert.equal(3, #failures)
        for _, failure in ipairs(failures) do assert.is_true(failure.value[1] == filling(failure.index, spare + 20)) end
        for i = 1, count do assert.equal(i % 8 ~= 3 and i or nil, results[i]) end
      end
    end)
  end)
end)

-- Runs inside of tasks, and runs that the collector finds, end at any moment: in the midst of another run's values.
describe("the values of a run", function()
  local Class = { name = "class" }
  Class.__index = Class
  local objects = {}
  for i = 1, 20 do objects[i] = setmetatable({ i }, Class) end

  local function check(results, failures)
    assert.same({}, failures)
    for i = 1, 20 do
      assert.same({ i, i }, { results[i][1][1], results[i][2][1] })
      assert.equal(Class, getmetatable(results[i][1]))
      assert.equal(Class, getmetatable(results[i][2]))
    end
  end

  helper.for_each_engine(function(engine)
    local options = helper.options(engine)

    local inside = {
      map = function() parlua.map(function(x) return x end, { 1, 2 }) end,
      ["imap that is left"] = function()
        for x in parlua.imap(function(x) return { x } end, { 1, 2, 3 }) do if x then break end end
        collectgarbage()
      end,
      submit = function() parlua.submit(function(x) return { x } end, 1):get() end,
    }
    for name, call in pairs(inside) do
      it("arrive and come back though their tasks make calls of their own: " .. name, function()
        local items = {}
        for i = 1, 20 do items[i] = { i, objects[i] } end
        local results, failures = parlua.map(function(item)
          call()
          return { item[2], objects[item[1]] }
        end, items, options())
        check(results, failures)
      end)
    end

    it("come back though streams are forgotten meanwhile", function()
      local function make(i)
        local made = {}
        for k = 1, 40 do made[k] = setmetatable({ i, objects[k % 20 + 1] }, Class) end
        return { made[1], objects[i], made }
      end
      for _ = 1, 30 do
        for _, object in parlua.imap(function(i) return objects[i] end, parlua.range(20), options()) do
          if object[1] == 3 then break end
        end
        check(parlua.map(make, parlua.range(20), options()))
      end
    end)
  end, { "serial", "threads", "process", "mpi" })
end)

describe("tasks that print without end", function()
  helper.for_each_engine(function(engine)
    it("leave those behind them in their workers' queues to others", function()
      helper.with_directory(function(directory)
        helper.write(directory .. "/script.lua", [[
          local parlua = require "parlua"
          local count = 0
          local step, stream = parlua.imap(function(i)
            if i <= 4 then while true do print("spam") end end
            return i
          end, parlua.range(200), { workers = 5, chunk = 1, ordered = false })
          for _ in step, stream do
            count = count + 1
            if count == 196 then break end
          end
          io.stderr:write(count, "\n")
          os.exit(0)
        ]])
        local result = helper.run(helper.command(engine) .. " script.lua >/dev/null", { directory = directory, seconds = 30 })
        assert.equal("196\n", result.stderr)
        assert.equal(0, result.status)
      end)
    end)
  end, { "threads", "process", "mpi" })

  helper.for_each_engine(function(engine)
    it("end at their time limit, and leave others their results", function()
      local result = helper.run_parlua("-", { stdin = ([[
        local parlua = require "parlua"
        local results, failures, summary = parlua.map(function(i)
          if i <= 2 then while true do print("spam") end end
          return i
        end, parlua.range(100), { engine = %q, workers = 3, timeout = 1, chunk = 1 })
        for _, failure in ipairs(failures) do io.stderr:write(failure.index, " ", failure.kind, "\n") end
        io.stderr:write(summary.returned, "\n")
        os.exit(0)
      ]]):format(engine) })
      assert.equal("1 timeout\n2 timeout\n98\n", result.stderr)
      assert.equal(0, result.status)
    end)

    it("do not hold up a script that runs programs, flushes or ends", function()
      local result = helper.run_parlua("-", { stdin = ([[
        local parlua = require "parlua"
        local function chatter(i)
          for k = 1, 20000 do print(i, k, "some text to fill the ring of printed text") end
          return i
        end
        for i in parlua.imap(chatter, parlua.range(4), { engine = %q, workers = 2, ordered = false }) do
          local pipe = io.popen("echo hello")
          assert(pipe:read("*a") == "hello\n")
          pipe:close()
          io.stdout:flush()
          if i then io.stderr:write("leaves\n") os.exit(3) end
        end
      ]]):format(engine) })
      assert.equal("leaves\n", result.stderr)
      assert.equal(3, result.status)
    end)
  end, { "threads", "process" })
end)

describe("a source that turns slow", function()
  helper.for_each_engine(function(engine)
    it("has its tasks begun before it gives the next", function()
      helper.with_directory(function(directory)
        -- Each of the last tasks is given only when the one before it has begun, as its file tells.
        local n, waited = 0, 0
        local function has_begun(i)
          local file = io.open(directory .. "/" .. i)
          if file then file:close() end
          return file ~= nil
        end
        local function generate()
          n = n + 1
          if n > 20010 then return nil end
          if n == 20001 then host.sleep(0.05) end
          if n > 20001 then
            local last = host.now() + 30
            while not has_begun(n - 1) and host.now() < last do host.sleep(0.001) end
            if has_begun(n - 1) then waited = waited + 1 end
          end
          return n
        end
        for _ in parlua.imap(function(i)
          if i > 20000 then io.open(directory .. "/" .. i, "w"):close() end
          return i
        end, generate, { engine = engine, workers = 2 }) do end -- luacheck: ignore 542
        assert.equal(9, waited)
      end)
    end)
  end, { "threads", "process" })
end)

describe("workers", function()
  helper.for_each_engine(function(engine)
    -- Between two chunks one that has grown is replaced before: so all tasks are one chunk.
    it("whose memory is used up bit by bit cost a task each time, and are replaced", function()
      local _, failures, summary = parlua.map(function(i)
        _G.parlua_spec_kept = rawget(_G, "parlua_spec_kept") or {}
        table.insert(_G.parlua_spec_kept, ("x"):rep(1e7) .. i)
        return i
      end, parlua.range(60), { engine = engine, workers = 1, memory = "200M", chunk = 60 })
      assert.is_true(#failures >= 1 and #failures <= 12, "failures: " .. #failures)
      for k, failure in ipairs(failures) do
        assert.equal("memory", failure.kind)
        if k > 1 then assert.is_true(failure.index > failures[k - 1].index + 1) end
      end
      assert.equal(60, summary.returned + #failures)
    end)

    it("that are killed again and again cost the tasks that they were in, and never the call", function()
      local result = helper.run_parlua("-", { stdin = ([[
        local parlua = require "parlua"
        local ffi = require "ffi"
        ffi.cdef "int getpid(void); int kill(int, int);"
        local results, failures, summary = parlua.map(function(i)
          local now = require("parlua.host").now
          local last = now() + 0.002
          while now() < last do end
          if i %% 3 == 0 then ffi.C.kill(ffi.C.getpid(), 9) end
          return i
        end, parlua.range(300), { engine = %q, workers = 3, chunk = 5 })
        for _, failure in ipairs(failures) do assert(failure.index %% 3 == 0 and failure.kind == "crash") end
        print(#failures, summary.returned)
      ]]):format(engine) })
      assert.equal("100\t200\n", result.stdout, result.stderr)
    end)
  end, { "process" })

  it("are refused by the process engine beside threads that are in tasks, and come when those have ended", function()
    helper.with_directory(function(directory)
      local result = helper.run_parlua("-", { stdin = ([[
        local parlua = require "parlua"
        local path = %q
        local pool = parlua.pool { engine = "threads", workers = 1 }
        local future = pool:submit(function()
          local last, file = os.time() + 60, nil
          repeat
            os.date("%%c")
            file = io.open(path)
          until file or os.time() > last
          return "thread"
        end)
        print(pcall(parlua.map, function(i) return i end, parlua.range(2), { engine = "process" }))
        io.open(path, "w"):close()
        print(future:get())
        print(#parlua.map(function(i) return i end, parlua.range(2), { engine = "process" }))
      ]]):format(directory .. "/go") })
      assert.truthy(result.stdout:find("^false\tthe process engine cannot be used now: a thread of this program is in a task"),
        result.stdout)
      assert.truthy(result.stdout:find("\nthread\n2\n$"), result.stdout .. result.stderr)
    end)
  end)

  it("are refused by the process engine beside threads that were given up, and come when those have ended", function()
    helper.with_directory(function(directory)
      local result = helper.run_parlua("-", { stdin = ([[
        local parlua = require "parlua"
        local _, failures = parlua.map(function()
          local last = os.time() + 60
          repeat
            local file = io.open(%q)
            if file then file:close() end
          until file or os.time() > last
        end, parlua.range(1), { engine = "threads", timeout = 0.05, warn = false })
        print(failures[1].kind)
        print(pcall(parlua.map, function(i) return i end, parlua.range(2), { engine = "process" }))
        io.open(%q, "w"):close()
        print(#parlua.map(function(i) return i end, parlua.range(2), { engine = "process" }))
      ]]):format(directory .. "/go", directory .. "/go") })
      local told = "^timeout\nfalse\tthe process engine cannot be used now: a thread .- is still in a task that it was given up in"
      assert.truthy(result.stdout:find(told), result.stdout .. result.stderr)
      assert.truthy(result.stdout:find("\n2\n$"), result.stdout .. result.stderr)
    end)
  end)
end)
