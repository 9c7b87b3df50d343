--- Where a run is: parlua status, SIGUSR1, parlua.progress, tasks that keep a run waiting.
local helper = require "spec.helper"
local report = require "parlua.report"

local parlua = helper.quote(helper.parlua)

describe("where a run is", function()
  local directory
  before_each(function() directory = helper.new_directory() end)
  after_each(function() helper.remove(directory) end)

  --- Runs a script in the background, and commands beside it, which end it by `touch go`.
  local function beside(engine, text, commands, options)
    helper.write(directory .. "/script.lua", "local parlua = require 'parlua'\n" .. text)
    return helper.run(("%s --engine %s -n 2 %s script.lua 2> errors & pid=$!\n%s\ntouch go; wait $pid; echo $?"):format(
      parlua, engine, options or "", commands), { directory = directory, seconds = 40 })
  end

  helper.for_each_engine(function(engine)
    it("is told by parlua status and SIGUSR1, while tasks run", function()
      local result = beside(engine, [[
        parlua.map(function(i)
          if i == 2 then error("bad", 0) end
          while i == 3 and not io.open("go") do
            parlua.progress(1, 4)
            io.open("begun", "w"):close()
          end
        end, parlua.range(4), { chunk = 1 })]], ([[
        until test -e begun; do sleep 0.02; done
        until %s status $pid > told && grep -q '1 failed' told; do sleep 0.02; done; cat told
        kill -USR1 $pid; until grep -q 'process' errors; do sleep 0.02; done]]):format(parlua))
      local told, status = result.stdout:match "^(.*\n)(%d+)\n$"
      assert.equal("0", status)
      assert.truthy(told:find("^parlua: process %d+ on %S+, at script.lua:%d+: [23] of 4 tasks %([57][05]%%%), "
        .. "1 failed %(1 error%), running for "), told)
      assert.truthy(told:find(engine .. " engine, ", 1, true), told)
      if engine ~= "serial" then assert.truthy(told:find("longest-running task is 3, for ", 1, true), told) end
      assert.truthy(helper.read(directory .. "/errors"):find("parlua: process %d+ on .*4 tasks"))
    end)

    it("has the part of a long task in it that parlua.progress tells", function()
      local result = beside(engine, [[
        parlua.map(function(i)
          while i == 1 and not io.open("go") do parlua.progress(i, 4) end
        end, { 1, 2 }, { chunk = 1 })]], [[until grep -q '"part":0.25' errors; do sleep 0.02; done]], "--progress json")
      assert.equal("0\n", result.stdout)
      assert.truthy(helper.read(directory .. "/errors"):find('"done":2,"failed":0,', 1, true)
        or helper.read(directory .. "/errors"):find('"event":"finish"', 1, true))
    end)
  end, helper.one_host)

  helper.for_each_engine(function(engine)
    it("names the task for which the run waits, when nothing ends for some time", function()
      local result = beside(engine, [[
        parlua.map(function(i) while i == 5 and not io.open("go") do os.execute("sleep 0.05") end end,
          parlua.range(8), { chunk = 1 })]], [[until grep -q '"longest_task":5' errors; do sleep 0.05; done]],
        "--progress json")
      assert.equal("0\n", result.stdout)
    end)
  end, { "process" })

  if helper.has_mpi then
    it("is told by rank 0, to who asks mpirun or no process by its number; and no rank is ended by the question", function()
      helper.write(directory .. "/script.lua", [[
        local parlua = require "parlua"
        local results = parlua.map(function(i)
          if i == 1 then
            io.open("begun", "w"):close()
            os.execute("while [ ! -e go ]; do sleep 0.02; done")
          end
          return i
        end, parlua.range(20), { chunk = 1 })
        print(#results)]])
      local result = helper.run(("%s script.lua 2> errors & pid=$!\n%s"):format(helper.command "mpi", ([[
        until test -e begun; do sleep 0.02; done
        until PARLUA status $pid > told; do sleep 0.02; done
        PARLUA status > all
        kill -USR1 $pid; until grep -q 'process.*of 20 tasks' errors; do sleep 0.02; done
        touch go; wait $pid; echo $?]]):gsub("PARLUA", parlua)), { directory = directory, seconds = 60 })
      assert.equal("20\n0\n", result.stdout, helper.read(directory .. "/errors"))
      local told = helper.read(directory .. "/told")
      assert.truthy(told:find "^parlua: process %d+ on %S+, at script.lua:%d+: %d+ of 20 tasks", told)
      assert.truthy(helper.read(directory .. "/all"):find(told:match "process %d+ on", 1, true))
    end)
  end

  it("is not told by a process that runs no tasks, and that is not ended by the question", function()
    helper.write(directory .. "/idle.lua", "io.open('begun', 'w'):close() while not io.open('go') do end")
    local result = helper.run(([[%s idle.lua & pid=$!; until test -e begun; do sleep 0.02; done
      %s status $pid 2>&1 | sed "s/$pid/PID/"; touch go; wait $pid; echo $?
      %s status x; echo $?]]):format(parlua, parlua, parlua), { directory = directory })
    assert.equal("parlua: process PID is no parlua that runs tasks\n0\n2\n", result.stdout)
    assert.equal("parlua: parlua status takes the number of a process, not 'x'\n", result.stderr)
  end, helper.one_host)

  it("is told at once by a program between its runs", function()
    helper.write(directory .. "/between.lua", "local parlua = require 'parlua' parlua.map(math.sqrt, { 1, 2 })\n"
      .. "io.open('begun', 'w'):close() while not io.open('go') do end parlua.map(math.sqrt, { 1 })")
    local result = helper.run(([[PARLUA between.lua & pid=$!; until test -e begun; do sleep 0.02; done
      PARLUA status $pid | sed "s/$pid/PID/"; PARLUA status 2>others | grep -c "process $pid runs no tasks just now"
      touch go; wait $pid; echo $?]]):gsub("PARLUA", parlua), { directory = directory })
    assert.equal("parlua: process PID runs no tasks just now\n1\n0\n", result.stdout)
    assert.equal("", result.stderr)
  end, helper.one_host)

  it("is a question that parlua.progress answers with two numbers", function()
    local api = require "parlua"
    assert.has_error(function() api.progress(1) end,
      "parlua.progress takes two numbers, the second above 0, not 1 and nil")
    api.progress(1, 2) -- outside of tasks: nothing
  end)
end)

describe("the bar", function()
  local written
  local function open(columns)
    written = {}
    local stream = {}
    function stream.write(_, text)
      written[#written + 1] = text
      return stream
    end
    function stream.flush() return true end
    return report.open("bar", { stream = stream, columns = columns or 120 })
  end
  local function last() return (written[#written]:gsub("^\r", ""):gsub("\27%[K", "")) end

  it("tells kinds of failures, and which task the run waits for", function()
    local bar = open()
    bar:start { tasks = 100, workers = 2, engine = "process" }
    for _, kind in ipairs { "error", "timeout", "error" } do bar:failure { kind = kind, index = 1 } end
    bar:progress { done = 40, failed = 3, tasks = 100, seconds = 4 }
    assert.truthy(last():find("3 failed (2 error, 1 timeout)", 1, true), last())
    bar:progress { done = 40, failed = 3, tasks = 100, seconds = 44, longest_task = 17, longest_seconds = 34 }
    assert.truthy(last():find("task 17 for 34 s", 1, true), last())
    bar:finish()
    bar = open(40)
    bar:start { tasks = 100, workers = 2, engine = "process" }
    for _, kind in ipairs { "error", "timeout" } do bar:failure { kind = kind, index = 1 } end
    bar:progress { done = 40, failed = 2, tasks = 100, seconds = 4, longest_task = 17, longest_seconds = 34 }
    assert.is_true(#last() < 40)
    assert.is_nil(last():find "timeout")
    bar:finish()
  end)

  it("is filled by the parts of tasks that are under way", function()
    local bar = open()
    bar:start { tasks = 2, workers = 2, engine = "process" }
    bar:progress { done = 0, failed = 0, tasks = 2, part = 1.5, seconds = 1 }
    assert.truthy(last():find("75%% 0/2"), last())
    bar:finish()
  end)

  it("has a time left that does not jump, though tasks come in bursts", function()
    local bar = open()
    bar:start { tasks = 1000, workers = 2, engine = "process" }
    local shown, most = nil, 0
    for second = 1, 90 do -- ten tasks a second, but in bursts of fifty
      bar:progress { done = math.floor(second / 5) * 50, failed = 0, tasks = 1000, seconds = second }
      local minutes, seconds = last():match "(%d+) min (%d+) s left"
      local left = minutes and 60 * minutes + seconds or tonumber(last():match "([%d.]+) s left")
      if second > 20 then most = math.max(most, math.abs(left - (shown - 1))) end
      shown = left or shown
    end
    assert.is_true(most <= 6, "it jumped by " .. most .. " s")
    assert.is_true(math.abs(shown - 10) <= 5, "at the end it was " .. shown .. " s")
    bar:finish()
  end)
end)
