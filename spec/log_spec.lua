--- parlua.log, and the tags of what tasks print.
local helper = require "spec.helper"

local engines = {}
for _, name in ipairs(helper.engines) do engines[#engines + 1] = name end
if helper.has_mpi then engines[#engines + 1] = "mpi" end
local has_cqueues = pcall(require, "cqueues")
if has_cqueues and not table.concat(engines, " "):find "async" then engines[#engines + 1] = "async" end

local LINE = "^%d%d%d%d%-%d%d%-%d%d %d%d:%d%d:%d%d%.%d%d%d (%l+) +(%S+) (.-): (.*)$"

describe("the log", function()
  local directory
  before_each(function() directory = helper.new_directory() end)
  after_each(function() helper.remove(directory) end)

  local function run(engine, text, options)
    helper.write(directory .. "/script.lua", "local parlua = require 'parlua'\n" .. text)
    local result = helper.run_parlua(("--engine %s -n 2 %s script.lua"):format(engine, options or ""),
      { directory = directory })
    assert.equal(0, result.status, result.stderr)
    return result
  end

  --- The lines of a log: level, host, place and message of each.
  local function read(text)
    local lines = {}
    for line in text:gmatch "[^\n]+" do
      local level, host, place, message = line:match(LINE)
      assert.is_truthy(level, line)
      lines[#lines + 1] = { level = level, host = host, place = place, message = message }
    end
    return lines
  end

  for _, engine in ipairs(engines) do
    describe("engine " .. engine .. ":", function()
      it("has whole lines with level, host, worker and task, in each worker's order", function()
        local result = run(engine, [[
          parlua.log.warn("begin %d", 1)
          parlua.each(function(i)
            parlua.log.info("first of %d", i)
            parlua.log.debug("not wanted")
            parlua.log.error("second of %d: %s", i, { i })
          end, parlua.range(40))
          parlua.log.info("100%")]])
        assert.equal("", result.stdout)
        local lines, open, seen = read(result.stderr), {}, 0
        assert.equal(82, #lines)
        assert.same({ "warn", "script", "begin 1" }, { lines[1].level, lines[1].place, lines[1].message })
        assert.same({ "info", "script", "100%" }, { lines[82].level, lines[82].place, lines[82].message })
        for k = 2, 81 do
          local line = lines[k]
          local worker, task = line.place:match "^worker (%d+) task (%d+)$"
          assert.equal(require("parlua.host").hostname(), line.host)
          if line.level == "info" then
            assert.is_nil(open[worker])
            assert.equal("first of " .. task, line.message)
            open[worker] = task
          else
            assert.same({ "error", open[worker] }, { line.level, task })
            assert.equal(("second of %s: {%s}"):format(task, task), line.message)
            open[worker], seen = nil, seen + 1
          end
        end
        assert.equal(40, seen)
      end)

      it("begins at the level that is asked for, and goes to a file if one is named", function()
        helper.write(directory .. "/run.log", "kept\n")
        local result = run(engine, [[
          local log = parlua.log
          parlua.each(function(i) log.debug("d") log.warn("w\nsecond line") end, { 1 })
          parlua.each(function(i) log.debug("lost") log.error("e") end, { 1 }, { log_level = "error" })
          log.debug("own")]], "--log run.log --log-level debug")
        assert.equal("", result.stderr)
        local text = helper.read(directory .. "/run.log")
        assert.equal("kept\n", text:sub(1, 5))
        local messages = {}
        for k, line in ipairs(read(text:sub(6))) do messages[k] = line.level .. " " .. line.message end
        assert.same({ "debug d", "warn w", "warn second line", "error e", "debug own" }, messages)
      end)

      it("begins at the level of the pool whose call it is", function()
        local result = run(engine, [[
          local pool = parlua.pool { log_level = "error" }
          pool:submit(function() parlua.log.warn("lost") parlua.log.error("call") end):get()
          parlua.log.warn("own")
          pool:map(function() parlua.log.warn("lost") parlua.log.error("map") end, { 1 }, { log_level = "error" })
          pool:map(function() parlua.log.warn("map") end, { 1 }, { log_level = "warn" })
          pool:close()]])
        local messages = {}
        for k, line in ipairs(read(result.stderr)) do messages[k] = line.level .. " " .. line.message end
        assert.same({ "error call", "warn own", "error map", "warn map" }, messages)
      end)

      it("fails the task that gives it a wrong value, and says where", function()
        local result = run(engine, [[
          local _, failures = parlua.map(function(i) parlua.log.info("%d", i) end, { 1, "x", 3 })
          print(#failures, failures[1].message)]], "--log-level info")
        assert.truthy(result.stdout:find("1\tscript.lua:2: parlua.log: wrong value 1 (number expected, got string) in "
          .. "the format '%d'", 1, true), result.stdout)
      end)

      it("is beside the index of the task before what tasks print, with --tag", function()
        local result = run(engine, [[
          parlua.each(function(i)
            io.write("half ", i)
            print(" and a half\nsecond")
            io.stderr:write("error ", i, "\n")
          end, parlua.range(9))
          print("own")]], "--tag")
        local expected, lines = { "own" }, {}
        for i = 1, 9 do
          expected[#expected + 1] = ("%d\thalf %d and a half"):format(i, i)
          expected[#expected + 1] = ("%d\tsecond"):format(i)
        end
        for line in result.stdout:gmatch "[^\n]+" do lines[#lines + 1] = line end
        table.sort(expected)
        table.sort(lines)
        assert.same(expected, lines)
        local errors = {}
        for line in result.stderr:gmatch "[^\n]+" do errors[#errors + 1] = line end
        table.sort(errors)
        for i = 1, 9 do assert.equal(("%d\terror %d"):format(i, i), errors[i]) end
      end)

      it("leaves no half line of a task for another one, or for the script, with --tag", function()
        local result = run(engine, [[
          for _ = 1, 2 do
            parlua.each(function(i)
              io.write("part ", i)
              io.stderr:write("error ", i)
              if i == 2 then
                parlua.log.info("within")
                io.write(" and more\nrest")
                io.stderr:write(" and more")
              end
            end, parlua.range(9), { on_error = "skip" })
            io.write("own\n")
            io.flush()
            io.stderr:write("own\n")
          end]], "--tag")
        for _, what in ipairs { { result.stdout, "part" }, { result.stderr, "error" } } do
          local lines, expected = {}, { "own", "own" }
          for line in what[1]:gmatch "([^\n]*)\n" do
            if not line:match(LINE) then lines[#lines + 1] = line end
          end
          for i = 1, 9 do
            for _ = 1, 2 do
              expected[#expected + 1] = ("%d\t%s %d%s"):format(i, what[2], i, i == 2 and " and more" or "")
              if i == 2 and what[2] == "part" then expected[#expected + 1] = "2\trest" end
            end
          end
          assert.equal("own", lines[#lines])
          table.sort(lines)
          table.sort(expected)
          assert.same(expected, lines)
        end
      end)
    end)
  end

  if has_cqueues then
    it("is beside each line of tasks that wait within lines of theirs, with --tag", function()
      local result = run("async", [[
        local cqueues = require "cqueues"
        local long = ("x"):rep(9000)
        parlua.each(function(i)
          io.write("begin ", i)
          cqueues.sleep(0.01 * (4 - i))
          io.stderr:write("error ")
          cqueues.sleep(0.01)
          parlua.log.info("in %d", i)
          print(" end ", i)
          io.stderr:write(i)
          io.write("rest")
        end, { 1, 2, 3 })
        local late = parlua.each(function(i) io.write("late ", i) cqueues.sleep(100) end, { 4, 5 }, { timeout = 0.02, on_error = "skip" })
        parlua.each(function(i) io.write(long) cqueues.sleep(0) print("behind") end, { 6, 7 })
        print("own", late[1].kind)]], "--tag")
      local lines, errors, messages = {}, {}, {}
      for line in result.stdout:gmatch "[^\n]+" do lines[#lines + 1] = line:gsub("x+", "x") end
      for line in result.stderr:gmatch "[^\n]+" do
        local message = select(4, line:match(LINE))
        if message then messages[#messages + 1] = message else errors[#errors + 1] = line end
      end
      assert.equal("own\ttimeout", table.remove(lines))
      for _, list in ipairs { lines, errors, messages } do table.sort(list) end
      assert.same({ "1\tbegin 1 end \t1", "1\tbehind", "1\tlate 4", "1\trest", "1\tx", "2\tbegin 2 end \t2", "2\tbehind",
        "2\tlate 5", "2\trest", "2\tx", "3\tbegin 3 end \t3", "3\trest" }, lines)
      assert.same({ "1\terror 1", "2\terror 2", "3\terror 3" }, errors)
      assert.same({ "in 1", "in 2", "in 3" }, messages)
    end)
  end

  it("says why it can't be opened, before any task runs", function()
    helper.write(directory .. "/script.lua", "require('parlua').each(print, { 1 })")
    local result = helper.run_parlua("--log nowhere/run.log script.lua", { directory = directory })
    assert.equal(1, result.status)
    assert.equal("", result.stdout)
    assert.truthy(result.stderr:find("cannot open the log 'nowhere/run.log': No such file or directory", 1, true))
  end)

  it("is no tag of the log's own lines", function()
    local result = run("serial", "parlua.each(function(i) parlua.log.info('x') end, { 1 })", "--tag")
    assert.equal(1, #read(result.stderr))
  end)
end)
