local helper = require "spec.helper"

-- What tasks print: it arrives at the coordinator's output in whole lines.
describe("what tasks print", function()
  --- Runs a script on an engine; returns its result. It must return 0.
  local function run_script(engine, text, options)
    local result
    helper.with_directory(function(directory)
      options = options or {}
      options.directory = directory
      helper.write(directory .. "/script.lua", "local parlua = require 'parlua'\n" .. text)
      result = helper.run_parlua(("--engine %s -n 2 script.lua"):format(engine), options)
    end)
    assert.equal(0, result.status, result.stderr)
    return result
  end

  local function sorted(text)
    local lines = {}
    for line in text:gmatch("[^\n]*\n") do lines[#lines + 1] = line end
    table.sort(lines)
    return table.concat(lines)
  end

  helper.for_each_engine(function(engine)
    it("with print, io.write and io.stdout:write arrives on standard output", function()
      local result = run_script(engine, [[
        parlua.each(function(i)
          if i == 1 then print("a print", 1, nil, true) end
          if i == 2 then io.write("a write ", 2, "\n") end
          if i == 3 then io.stdout:write("a method ", 3, "\n") end
          if i == 4 then
            io.stdout:write("several ")
            io.stdout:write("calls\n")
          end
        end, parlua.range(4))
      ]])
      assert.equal("a method 3\na print\t1\tnil\ttrue\na write 2\nseveral calls\n", sorted(result.stdout))
      assert.equal("", result.stderr)
    end)

    it("with io.stderr arrives on standard error", function()
      local result = run_script(engine, [[
        parlua.each(function(i) io.stderr:write("warning ", i, "\n") end, parlua.range(3))
      ]])
      assert.equal("", result.stdout)
      assert.equal("warning 1\nwarning 2\nwarning 3\n", sorted(result.stderr))
    end)

    it("comes in the order in which one worker wrote it", function()
      local result = run_script(engine, [[
        local count = 0
        parlua.each(function()
          count = count + 1
          local worker = io.open("/proc/self/stat"):read("*n") .. tostring(_G):gsub(" ", "") -- processes may share the second, threads the first
          print(worker, "line", count)
          io.write(worker, "\tpart one, ")
          io.write("part two of ", count, "\n")
        end, parlua.range(500))
      ]])
      local texts, counts, sum = {}, {}, 0
      for worker, line in result.stdout:gmatch("(%S+)\t(.-\n)") do
        texts[worker] = (texts[worker] or "") .. line
        if line:find("^line") then counts[worker] = (counts[worker] or 0) + 1 end
      end
      for worker, count in pairs(counts) do
        local expected = {}
        for k = 1, count do expected[k] = ("line\t%d\npart one, part two of %d\n"):format(k, k) end
        assert.equal(table.concat(expected), texts[worker])
        sum = sum + count
      end
      assert.equal(500, sum)
    end)

    it("is whole lines: those of two workers never mix", function()
      local result = run_script(engine, [[
        parlua.each(function(i)
          for k = 1, 20 do
            io.write("<", i, " ")
            io.write(k, (" x"):rep(i % 40))
            io.write(">\n")
          end
        end, parlua.range(300), { chunk = 1 })
      ]])
      local expected = {}
      for i = 1, 300 do
        for k = 1, 20 do expected[#expected + 1] = ("<%d %d%s>\n"):format(i, k, (" x"):rep(i % 40)) end
      end
      assert.equal(sorted(table.concat(expected)), sorted(result.stdout))
    end)

    it("is there before the call returns", function()
      local result = run_script(engine, [[
        print("before")
        parlua.each(function(i) print("task") end, parlua.range(3))
        print("after")
        parlua.map(function(i) io.write("second ") end, { 1 })
        io.write("end\n")
      ]])
      assert.equal("before\ntask\ntask\ntask\nafter\nsecond end\n", result.stdout)
    end)

    it("keeps a last line without an end", function()
      local result = run_script(engine, [[parlua.each(function(i) io.write("no end") end, { 1 })]])
      assert.equal("no end", result.stdout)
    end)

    it("keeps long lines whole, and NUL bytes", function()
      local result = run_script(engine, [[
        parlua.each(function(i) print((string.char(96 + i)):rep(50000) .. "\0") end, parlua.range(8))
      ]])
      local expected = {}
      for i = 1, 8 do expected[i] = string.char(96 + i):rep(50000) .. "\0\n" end
      assert.is_true(table.concat(expected) == sorted(result.stdout))
    end)

    it("keeps a line that is longer than any buffer complete", function()
      local result = run_script(engine, [[parlua.each(function() print(("x"):rep(1000000)) end, { 1 },
        { workers = 1 })]])
      assert.is_true(("x"):rep(1000000) .. "\n" == result.stdout)
    end)

    it("may be much", function()
      local result = run_script(engine, [[
        parlua.each(function(i) print("line", i, ("y"):rep(50)) end, parlua.range(40000))
      ]])
      assert.equal(40000, select(2, result.stdout:gsub("line\t%d+\ty+\n", "")))
    end)

    it("before it fails is kept", function()
      local result = run_script(engine, [[
        local _, failures = parlua.map(function(i)
          print("doing", i)
          error("failed")
        end, parlua.range(3))
        print(#failures)
      ]])
      assert.equal("3\ndoing\t1\ndoing\t2\ndoing\t3\n", sorted(result.stdout))
    end)

    it("before the run halts is kept", function()
      local result = run_script(engine, [[
        print(pcall(parlua.map, function(i)
          print("doing")
          error("failed")
        end, { 1 }, { on_error = "halt" }))
      ]])
      assert.truthy(result.stdout:find("^doing\nfalse\ttask 1 failed"), result.stdout)
    end)

    it("goes to a file that the script has opened as io.output, if it has", function()
      helper.with_directory(function(directory)
        local result = run_script(engine, ([[
          local file = io.open(%q, "w")
          parlua.each(function(i)
            local own = io.open(%q .. i, "w")
            own:write("own ", i)
            own:close()
          end, parlua.range(2))
          file:close()
        ]]):format(directory .. "/out", directory .. "/own"))
        assert.equal("", result.stdout)
        assert.equal("own 1", helper.read(directory .. "/own1"))
        assert.equal("own 2", helper.read(directory .. "/own2"))
      end)
    end)

    it("with a print that the script has made is printed by that", function()
      local result = run_script(engine, [[
        local plain = print
        function print(...) plain("[own]", ...) end
        parlua.each(function(i) print("task", i) end, { 1 })
      ]])
      assert.equal("[own]\ttask\t1\n", result.stdout)
    end)

    it("honours __tostring and a changed tostring", function()
      local result = run_script(engine, [[
        parlua.each(function(i) print(setmetatable({}, { __tostring = function() return "object" end })) end, { 1 })
      ]])
      assert.equal("object\n", result.stdout)
    end)

    it("does not stop a run whose output is closed: the program ends as others do", function()
      local result
      helper.with_directory(function(directory)
        helper.write(directory .. "/script.lua", [[
          local parlua = require 'parlua'
          parlua.each(function(i) print("line", i) end, parlua.range(1e9))
        ]])
        result = helper.run(helper.command(engine) .. " -n 2 script.lua | head -1 | wc -l", { directory = directory })
      end)
      assert.equal("1", result.stdout:match("%d+"))
    end)
  end)

  helper.for_each_engine(function(engine)
    it("with C's printf, in processes, arrives in whole lines too", function()
      local result = run_script(engine, [[
        parlua.each(function(i)
          local ffi = require "ffi"
          ffi.cdef "int printf(const char *format, ...);"
          ffi.C.printf("from C: %d\n", ffi.cast("int", i))
        end, parlua.range(3))
      ]])
      assert.equal("from C: 1\nfrom C: 2\nfrom C: 3\n", sorted(result.stdout))
    end)

    it("by programs that tasks start arrives too", function()
      local result = run_script(engine, [[
        parlua.each(function(i) os.execute("echo program " .. i) end, parlua.range(3))
      ]])
      assert.equal("program 1\nprogram 2\nprogram 3\n", sorted(result.stdout))
    end)

    it("is kept when its worker dies afterwards, as far as lines are whole", function()
      local result = run_script(engine, [[
        local _, failures = parlua.map(function(i)
          print("doing", i)
          io.stdout:flush()
          require("ffi").cdef "int getpid(void); int kill(int, int);"
          require("ffi").C.kill(require("ffi").C.getpid(), 9)
        end, parlua.range(3))
        print(#failures)
      ]])
      assert.equal("3\ndoing\t1\ndoing\t2\ndoing\t3\n", sorted(result.stdout))
    end)

    it("is no part of the next line when its worker ends in the middle of one", function()
      local result = run_script(engine, [[
        local _, failures = parlua.map(function(i)
          for _, file in ipairs { io.stdout, io.stderr } do
            if i % 3 == 0 then
              file:write("half of ", i)
            else
              file:write("whole ", i, "\n")
            end
            file:flush()
          end
          if i % 3 == 0 then os.exit(1) end
        end, parlua.range(30), { workers = 1 })
        assert(#failures == 10)
      ]])
      local expected = {}
      for i = 1, 30 do expected[i] = (i % 3 == 0 and "half of %d\n" or "whole %d\n"):format(i) end
      local all = sorted(table.concat(expected)) -- under mpi each rank has a worker
      local function ended(text) return text:sub(-1) == "\n" and text or text .. "\n" end -- whichever came last
      assert.equal(all, sorted(ended(result.stdout)))
      assert.equal(all, sorted(ended(result.stderr)))
    end)

    it("before os.exit in a task is kept", function()
      local result = run_script(engine, [[
        local _, failures = parlua.map(function(i)
          print("doing", i)
          io.write("no end")
          os.exit(2)
        end, { 1 })
        print()
        print(#failures, failures[1].message)
      ]])
      assert.equal("doing\t1\nno end\n1\tthe worker exited with status 2\n", result.stdout)
    end)

    it("by the script itself before the call is printed once", function()
      local result = run_script(engine, [[
        io.write("before, no line end")
        parlua.each(function(i) return i end, parlua.range(100))
        pcall(parlua.map, function() os.exit(1) end, { 1, 2 })
        print(" and after")
      ]])
      assert.equal("before, no line end and after\n", result.stdout)
    end)
  end, { "process", "mpi" })
end)
