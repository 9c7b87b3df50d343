-- What a time limit, a halt and a cancellation cost: the tasks that they are about, and nothing else.

local ffi = require "ffi"
local helper = require "spec.helper"
local parlua = require "parlua"

pcall(ffi.cdef, "unsigned int usleep(unsigned int microseconds);")

describe("a time limit", function()
  helper.for_each_engine(function(engine)
    local with = helper.options(engine)

    --- Far longer than any limit here; but it ends when the directory is gone: a thread that was given up runs on beside the specs that
    --- follow, and no process may be forked meanwhile.
    local function loop(directory)
      local x = 0
      for _ = 1, 1000 do
        for k = 1, 1e8 do x = x + k end
        local file = io.open(directory .. "/running")
        if not file then return x end
        file:close()
      end
      return x
    end

    for what, hang in pairs {
      ["a compiled loop"] = loop,
      ["a system call"] = function(directory)
        local library = require "ffi"
        pcall(library.cdef, "unsigned int usleep(unsigned int microseconds);")
        for _ = 1, 300 do
          library.C.usleep(1e5)
          local file = io.open(directory .. "/running")
          if not file then return end
          file:close()
        end
      end,
    } do
      it("costs its own task alone, in the middle of a chunk of thousands, that hangs in " .. what, function()
        helper.with_directory(function(directory)
          helper.write(directory .. "/running", "")
          local results, failures, summary = parlua.map(function(i)
            local file = io.open(directory .. "/" .. i % 10, "a")
            file:write(i, "\n")
            file:close()
            if i == 2500 then hang(directory) end
            return i % 3 == 0 and { i } or i
          end, parlua.range(5000), with { chunk = 4000, timeout = 0.6 })
          assert.equal(1, #failures)
          assert.same({ 2500, "timeout", "the task took more than 0.6 s", 1 },
            { failures[1].index, failures[1].kind, failures[1].message, failures[1].attempts })
          assert.equal(4999, summary.returned)
          local counts = {}
          for digit = 0, 9 do
            for i in io.lines(directory .. "/" .. digit) do counts[tonumber(i)] = (counts[tonumber(i)] or 0) + 1 end
          end
          for i = 1, 5000 do
            local result = type(results[i]) == "table" and results[i][1] or results[i]
            if counts[i] ~= 1 or i ~= 2500 and result ~= i then assert.same({ i, 1, i }, { i, counts[i], result }) end
          end
        end)
        helper.let_threads_rest()
      end)
    end

    it("is kept for each try of a task that is tried again", function()
      helper.with_directory(function(directory)
        helper.write(directory .. "/running", "")
        local failures = parlua.each(function() loop(directory) end, { 1 }, with { timeout = 0.1, retries = 2 })
        assert.equal(1, #failures)
        assert.same({ "timeout", 3 }, { failures[1].kind, failures[1].attempts })
      end)
      helper.let_threads_rest()
    end)
  end, { "threads", "process", "mpi" })

  it("is refused by serial before any task runs, in words that name the engines that can", function()
    local ran = false
    local ok, message = pcall(parlua.each, function() ran = true end, { 1 }, { engine = "serial", timeout = 1 })
    assert.is_false(ok)
    assert.truthy(message:find("option 'timeout': the serial engine cannot stop a task; use engine = \"threads\" or engine = \"process\"",
      1, true), message)
    assert.is_false(ran)
    ok, message = pcall(parlua.each, function() ran = true end, { 1 }, { engine = "threads", memory = "100M" })
    assert.is_false(ok)
    assert.truthy(message:find("option 'memory': the threads engine cannot limit a worker's memory; use engine = \"process\"", 1, true),
      message)
    assert.is_false(ran)
  end)

  it("also ends the wait for workers whose set-up does not end", function() -- all at the same time, as it takes 10 s
    helper.with_directory(function(directory)
      helper.write(directory .. "/script.lua", [[
        local parlua = require "parlua"
        local engine, is_later = ...
        local options = { engine = engine, workers = 2, timeout = 0.2, setup = function() while true do end end }
        if is_later then parlua.map(math.sqrt, { 1, 2, 3 }, { engine = engine, workers = 2 }) end -- on workers that are kept, or not
        print(pcall(parlua.map, function(x) return x end, { 1, 2, 3 }, options))
        os.exit(0)
      ]])
      local commands = {}
      for _, words in ipairs { "threads", "process", "threads later" } do
        commands[#commands + 1] = ("%s script.lua %s > '%s' &"):format(helper.quote(helper.parlua), words, words)
      end
      helper.run(table.concat(commands, " ") .. " wait", { directory = directory })
      for _, words in ipairs { "threads", "process", "threads later" } do
        local text = helper.read(directory .. "/" .. words)
        assert.truthy(text:find(("^false\tthe %s engine cannot start workers: their set%%-up takes longer than the time limit"):format(
          words:match "%a+")), text)
      end
    end)
  end)
end)

describe("a halt", function()
  helper.for_each_engine(function(engine)
    -- The file's number is the task's; a task that is cut off has "begun" and not "ended".
    for what, options in pairs { ["on_error = \"halt\""] = { on_error = "halt" }, ["max_failures = 1"] = { max_failures = 1 } } do
      it("by " .. what .. " ends tasks that would run for a minute, and runs none of the rest", function()
        helper.with_directory(function(directory)
          options.engine, options.workers, options.chunk = engine, 2, 1
          local workers = select(3, parlua.map(tostring, { 1 }, { engine = engine, workers = 2 })).workers
          local ok, failure, failures, summary = pcall(parlua.map, function(i)
            local library = require "ffi"
            pcall(library.cdef, "unsigned int usleep(unsigned int microseconds);")
            io.open(directory .. "/begun" .. i, "w"):close()
            if i == 1 then
              for _ = 1, 6000 do -- the other worker's task is to run
                local file = io.open(directory .. "/begun2")
                if file then
                  file:close()
                  break
                end
                library.C.usleep(10000)
              end
              error("the first")
            end
            for _ = 1, 600 do
              library.C.usleep(1e5)
              local file = io.open(directory .. "/begun1")
              if not file then return end
              file:close()
            end
            io.open(directory .. "/ended" .. i, "w"):close()
          end, parlua.range(50), options)
          if options.on_error then
            assert.is_false(ok)
            assert.equal(1, failure.index)
          else
            assert.is_true(ok)
            assert.truthy(summary.stopped)
            assert.same({ 1, 1, "error" }, { #failures, failures[1].index, failures[1].kind })
            assert.same({ 1, 1, 49 }, { summary.tasks, summary.failed, summary.cancelled })
          end
          assert.is_nil(io.open(directory .. "/ended2"))
          -- on ranks tasks that begin are not the first ones; the failed task's worker may have begun another
          local begun = tonumber(helper.run("ls | grep -c begun", { directory = directory }).stdout)
          assert.is_true(begun <= workers + 1, begun)
        end)
        helper.let_threads_rest()
        -- and the next call finds workers
        assert.same({ 1, 4, n = 2 }, (parlua.map(function(x) return x * x end, { 1, 2 }, { engine = engine, workers = 2 })))
      end)
    end
  end, { "threads", "process", "mpi" })

  helper.for_each_engine(function(engine)
    it("finds a task to blame also where all tasks fail at once, and raises the first that came", function()
      for _ = 1, 10 do
        local ok, failure = pcall(parlua.each, function(i) error("no " .. i, 0) end, parlua.range(1000),
          { engine = engine, workers = 2, on_error = "halt" })
        assert.is_false(ok)
        assert.equal("no " .. failure.index, failure.message)
      end
    end)
  end)

  helper.for_each_engine(function(engine)
    it("counts no task behind the failure, though it had returned and waited for its turn", function()
      helper.with_directory(function(directory)
        local function late(x)
          if x > 3 then io.open(directory .. "/" .. x, "w"):close() end
          for _ = 1, x == 3 and 3000 or 0 do
            local file = io.open(directory .. "/6")
            if file then
              file:close()
              error("late", 0)
            end
            require("parlua.host").sleep(0.005)
          end
          return x
        end
        local function options(name) return { engine = engine, workers = 2, chunk = 1, [name] = name == "on_error" and "halt" or 1 } end
        for _, name in ipairs { "on_error", "max_failures" } do
          local seen = {}
          pcall(function()
            for i in parlua.imap(late, parlua.range(8), options(name)) do seen[#seen + 1] = i end
          end)
          assert.same({ 1, 2 }, seen)
          os.remove(directory .. "/6")
        end
        local add = function(a, b) return a + b end
        for _, reducer in ipairs { parlua.sum, { init = 0, step = add }, { init = 0, step = add, merge = add, block = 3 } } do
          assert.equal(3, (parlua.reduce(late, parlua.range(8), reducer, options "max_failures")))
          os.remove(directory .. "/6")
        end
      end)
    end)
  end, { "threads", "process", "mpi" })
end)
