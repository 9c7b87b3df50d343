local helper = require "spec.helper"

local lfs = require "lfs"
local decode = require("cjson").decode

local SQUARES = [[
local job = {}
function job.arguments(first, last)
  local list = {}
  for i = tonumber(first), tonumber(last) do list[#list + 1] = i end
  return list
end
function job.map(n)
  if n % 5 == 0 then error("no multiples of five") end
  return n * n
end
return job
]]

local UPPER = "return { map = function(word) return word:upper() end }\n"

describe("a job", function()
  local directory

  before_each(function() directory = helper.new_directory() end)
  after_each(function() helper.remove(directory) end)

  --- Writes the script job.lua and runs parlua; `words` are options, "job.lua" and its words.
  local function run(script, words, options)
    helper.write(directory .. "/job.lua", script)
    options = options or {}
    options.directory = directory
    return helper.run_parlua(words or "job.lua", options)
  end

  local function shown(result)
    return ("status %d\n%s\n%s"):format(result.status, result.stdout:sub(1, 2000), result.stderr:sub(1, 2000))
  end

  local function names()
    local list = {}
    for name in lfs.dir(directory) do
      if name ~= "." and name ~= ".." then list[#list + 1] = name end
    end
    table.sort(list)
    return list
  end

  helper.for_each_engine(function(engine)
    local on = "--engine " .. engine .. " -n 2 "

    it("writes a line of JSON for each task, failures too, in order", function()
      local result = run(SQUARES, on .. "job.lua 1 6")
      local lines = {}
      for line in result.stdout:gmatch "(.-)\n" do lines[#lines + 1] = line end
      assert.equal(6, #lines, shown(result))
      assert.equal('{"index":1,"args":[1],"result":1}', lines[1])
      assert.equal('{"index":6,"args":[6],"result":36}', lines[6])
      local failed = decode(lines[5])
      assert.same({ 5 }, failed.args)
      assert.equal("error", failed.error.kind)
      assert.truthy(failed.error.message:find "no multiples of five")
      assert.is_nil(failed.result)
      assert.equal(1, result.status)
    end)

    it("that reduces and is halted shows the traceback of the task alone", function()
      local result = run([[
        local function fail(x) error("no " .. x) end
        return { map = function(w) if w == "c" then fail(w) end return 1 end, reduce = require("parlua").sum }
      ]], on .. "--halt job.lua a b c d")
      assert.equal(1, result.status, shown(result))
      assert.truthy(result.stderr:find("\n  \tjob.lua:1: in function 'fail'\n", 1, true), shown(result))
      assert.is_nil(result.stderr:find("parlua/", 1, true), shown(result))
    end)

    it("that reduces writes the one value", function()
      local sum = "return { map = tonumber, reduce = require('parlua').sum }"
      assert.equal("6\n", run(sum, on .. "job.lua 1 2 3").stdout)
      local several = "local p = require 'parlua' return { map = tonumber, reduce = { n = p.count, most = p.max } }"
      assert.same({ n = 3, most = 5 }, decode(run(several, on .. "job.lua 1 5 3").stdout))
      local step = "return { map = function(w) return w end, reduce = function(a, w) return (a or '') .. w end }"
      assert.equal("abc\n", run(step, on .. "--format text job.lua a b c").stdout)
      assert.equal("", run(step, on .. "--format none job.lua a b c").stdout)
    end)

    it("that reduces tells failures, and gives finish the value", function()
      local result = run([[
        local parlua = require "parlua"
        return {
          arguments = parlua.range(1, 10),
          map = function(i) if i == 4 then error("four") end return i end,
          reduce = parlua.sum,
          finish = function(sum, failures, summary) print(sum, #failures, summary.tasks) end,
        }]], on .. "job.lua")
      assert.equal("51\n51\t1\t10\n", result.stdout)
      assert.truthy(result.stderr:find("task 4 (4) failed", 1, true), shown(result))
      assert.equal(1, result.status)
    end)

    it("ends where its stop says so", function()
      local stops = "return { arguments = require('parlua').range(1e9), map = function(i) return i end, stop = function(r) return r == 3 end }"
      local result = run(stops, on .. "--format text job.lua")
      assert.equal("1\n2\n3\n", result.stdout)
      assert.equal(0, result.status, shown(result))
      local reduces = stops:gsub("r == 3", "r >= 6"):gsub("stop =", "reduce = { init = 0, step = function(a, b) return a + b end }, stop =")
      result = run(reduces, on .. "job.lua")
      assert.equal("6\n", result.stdout)
      assert.equal(0, result.status, shown(result))
    end)

    it("tells failures and a summary on standard error", function()
      local result = run(SQUARES, on .. "job.lua 1 6")
      local failure, summary, rest = result.stderr:match "^(.-)\n(.-)\n(.*)$"
      assert.truthy(failure and failure:find "^parlua: task 5 %(5%) failed: error: .*no multiples of five$",
        shown(result))
      assert.truthy(summary:find("^parlua: 6 tasks, 5 returned, 1 failed, %d+%.%d%d s, " .. engine .. " engine, "),
        shown(result))
      assert.equal("", rest)
    end)

    it("ends with status 0 when all tasks returned", function()
      assert.equal(0, run(SQUARES, on .. "job.lua 1 4").status)
    end)

    it("writes the arguments and results of any type", function()
      local result = run([[
        local job = {}
        function job.arguments()
          local t = { { "a", nil, 3 }, { { 1, 2 }, { k = "v" } }, { 0/0 }, { "\255" } }
          local i = 0
          return function()
            i = i + 1
            if t[i] then return unpack(t[i], 1, i == 1 and 3 or #t[i]) end
          end
        end
        function job.map(a, _, c)
          if type(a) ~= "table" then return c or a end
          local copy = { a[1], a[2] }
          copy.self = copy
          return copy
        end
        return job
      ]], on .. "job.lua")
      assert.equal('{"index":1,"args":["a",null,3],"result":3}\n'
        .. '{"index":2,"args":[[1,2],{"k":"v"}],"result":{"$table":[[1,1],[2,2],["self",{"$cycle":"/result"}]]}}\n'
        .. '{"index":3,"args":[{"$number":"nan"}],"result":{"$number":"nan"}}\n'
        .. '{"index":4,"args":[{"$bytes":"/w=="}],"result":{"$bytes":"/w=="}}\n', result.stdout, shown(result))
    end)

    it("stops at the first failure with --halt, with the task's traceback", function()
      local result = run(SQUARES, on .. "-n 1 --halt job.lua 1 100000")
      assert.equal(1, result.status, shown(result))
      assert.truthy(result.stderr:find("task 5 (5) failed: error: ", 1, true), shown(result))
      assert.truthy(result.stderr:find("stack traceback:", 1, true), shown(result))
      assert.equal(1, select(2, result.stderr:gsub("task 5 ", "")))
      assert.equal(1, select(2, result.stdout:gsub('"index":5,', "")))
      assert.is_nil(result.stdout:find('"index":99999,', 1, true))
    end)

    it("keeps its lines whole beside what tasks print", function()
      local result = run([[
        local parlua = require "parlua"
        local job = {}
        function job.arguments() return parlua.range(1, 3000) end
        function job.map(i)
          print(("p"):rep(i % 100))
          return ("r"):rep(i % 100)
        end
        return job
      ]], on .. "job.lua | cat")
      local printed, results = 0, 0
      for line in result.stdout:gmatch "(.-)\n" do
        if line:find "^p*$" then printed = printed + 1
        elseif line:find '^{"index":%d+,"args":%[%d+%],"result":"r*"}$' then results = results + 1
        else error("a mixed line: " .. line) end
      end
      assert.equal(3000, printed)
      assert.equal(3000, results)
    end)

    it("calls finish with the results, the failures and the summary", function()
      local result = run(SQUARES:gsub("return job\n$", [[
        function job.finish(results, failures, summary)
          print(results.n, results[4], results[5], #failures, failures[1].index, summary.tasks, summary.failed)
        end
        return job
      ]]), on .. "--format none job.lua 1 6")
      assert.equal("6\t16\tnil\t1\t5\t6\t1\n", result.stdout, shown(result))
    end)
  end)

  describe("takes its tasks", function()
    local function tasks_are(expected, script, words)
      local result = run(script, "--engine serial --format text job.lua " .. (words or ""))
      assert.equal(expected, result.stdout, shown(result))
      assert.equal(0, result.status, shown(result))
    end

    it("from the words of the command line when it has no `arguments`", function()
      tasks_are("A\nB C\n", UPPER, "a 'b c'")
    end)

    it("from a list", function()
      tasks_are("A\nB\n", "return { arguments = { 'a', 'b' }, map = string.upper }")
    end)

    it("from a function that returns a list", function()
      tasks_are("1\n2\n", "return { arguments = function(n) return { 1, tonumber(n) } end, "
        .. "map = function(x) return x end }", "2")
    end)

    it("from a function that returns an iterator, with state and control variable too", function()
      tasks_are("1a\n2b\n", "return { arguments = function() return ipairs { 'a', 'b' } end, "
        .. "map = function(i, v) return i .. v end }")
      helper.write(directory .. "/lines", "x\ny\n")
      tasks_are("x\ny\n", "return { arguments = function(path) return io.lines(path) end, "
        .. "map = function(line) return line end }", "lines")
    end)

    it("from a function that yields them", function()
      tasks_are("2\n4\n6\n", [[
        local job = {}
        function job.arguments(last)
          for i = 1, tonumber(last) do coroutine.yield(i, i) end
        end
        function job.map(a, b) return a + b end
        return job
      ]], "3")
    end)

    it("from a coroutine", function()
      tasks_are("1\n2\n", [[
        return {
          arguments = function() return coroutine.wrap(function() for i = 1, 2 do coroutine.yield(i) end end) end,
          map = function(x) return x end,
        }]])
    end)

    it("lazily: an endless generator ends at --max-failures", function()
      local result = run([[
        local job = {}
        function job.arguments()
          local i = 0
          while true do
            i = i + 1
            coroutine.yield(i)
          end
        end
        function job.map(i) if i % 1000 == 0 then error("thousand") end return i end
        return job
      ]], "-n 2 --max-failures 3 job.lua")
      assert.equal(1, result.status, shown(result))
      assert.truthy(result.stderr:find("stopped: 3 tasks failed", 1, true), shown(result))
      assert.truthy(result.stdout:find('"index":1,', 1, true))
    end)
  end)

  it("may have helpers of its own in its table, also with names of a reduction's fields", function()
    local result = run([[
      local job = { arguments = { 1, 2 } }
      function job.step(x) return x + 1 end
      function job.init() return 10 end
      function job.format(x) return "<" .. x .. ">" end
      function job.map(x) return job.format(job.step(x) + job.init()) end
      return job
    ]], "--format text job.lua")
    assert.equal("<12>\n<13>\n", result.stdout, shown(result))
    assert.equal(0, result.status)
  end)

  describe("that is wrong is refused before any work, with status 2:", function()
    local function refused(pattern, script, words)
      local result = run(script, words or "job.lua a")
      assert.truthy(result.stderr:find(pattern), shown(result))
      assert.equal("", result.stdout, shown(result))
      assert.equal(2, result.status, shown(result))
    end

    it("no tasks", function() refused("there are no tasks", UPPER, "-n 2 job.lua") end)

    it("options beside map", function()
      refused("the job has a field `workers`.-as options = { workers = 2 }", "return { map = print, arguments = { 1 }, workers = 2 }")
    end)

    it("a reduction's fields beside map", function()
      refused("reduce = { init = 0, step = %.%.%. }", "return { map = print, arguments = { 1 }, init = 0, step = print }")
    end)

    it("a map that is no function", function() refused("`map`", "return { map = 1, arguments = { 1 } }") end)

    it("no map", function()
      refused("`map`", "return { arguments = { 1 } }")
      refused("the job has no function `map`, but one of the name `mapp`", "return { arguments = { 1 }, mapp = print }")
    end)

    it("a misspelt field", function()
      refused("unknown field `arguements` in the job: did you mean `arguments`%?",
        "return { arguements = { 1 }, map = print }")
      refused("did you mean `finish`", "return { finsh = print, map = print }")
      refused("did you mean `options`", "return { option = {}, map = print }")
      refused("did you mean `arguments`", "return { args = {}, map = print }")
    end)

    it("a reduction without a step", function() refused("the job's `reduce`: step must be", "return { reduce = { init = 0 }, map = print }") end)

    it("an option inside the reduction", function()
      refused("options go into the job's `options`", "return { reduce = { step = print, workers = 2 }, map = print }")
    end)

    it("an option that does not exist", function()
      refused("wrokers.*workers", "return { options = { wrokers = 2 }, map = print }")
    end)

    it("options that are no table", function() refused("`options`", "return { options = 2, map = print }") end)

    it("arguments of a wrong type", function()
      refused("`arguments` is a number: it must be a list", "return { arguments = 7, map = print }")
      refused("`arguments` returned a number: it must be",
        "return { arguments = function() return 7 end, map = print }")
      refused("`arguments` returned nothing", "return { arguments = function() end, map = print }")
    end)

    it("arguments that raise, with a traceback into the script", function()
      refused("`arguments` raised an error: .*job.lua:1: attempt to.*stack traceback:.*job.lua:1",
        "local job = { map = print, arguments = function(n) return n + {} end } return job")
    end)

    it("an output that can't be written", function()
      refused("cannot write the results to 'none/x': No such file or directory", UPPER, "-o none/x job.lua a")
      refused("cannot write the results to '/': it is a directory", UPPER, "-o / job.lua a")
    end)
  end)

  it("may have fields of its own", function()
    local result = run("local job = { max = 2, helper = print } function job.map(x) return job.max * x end return job",
      "--format text job.lua 4")
    assert.equal("8\n", result.stdout, shown(result))
  end)

  it("keeps its own options, the command line's being stronger", function()
    local script = "return { options = { format = 'text', engine = 'threads' }, map = string.upper }"
    assert.truthy(run("return { options = { format = 'text', engine = 'serial' }, map = function(x) return x end }",
      "job.lua a").stderr:find "serial engine")
    assert.equal("A\n", run(script:gsub("threads", "serial"), "job.lua a").stdout)
    assert.equal("", run(script:gsub("threads", "serial"), "--format none job.lua a").stdout)
  end)

  describe("in the format", function()
    local function formatted(name, words)
      return run(SQUARES, "--engine serial --format " .. name .. " job.lua " .. words)
    end

    it("json is one array", function()
      local result = formatted("json", "4 6")
      local list = decode(result.stdout)
      assert.equal(3, #list)
      assert.equal(36, list[3].result)
      assert.equal("error", list[2].error.kind)
      assert.equal("[]\n", formatted("json", "1 0").stdout)
    end)

    it("text is the results, one a line, without nil and failures", function()
      local result = run([[
        local job = { arguments = { 1, 2, 3, 4, 5 } }
        local values = { "as it is", nil, { x = 1 }, 0.1 }
        function job.map(i) if i == 5 then error "x" end return values[i] end
        return job
      ]], "--engine serial --format text job.lua")
      assert.equal('as it is\n{"x":1}\n0.1\n', result.stdout, shown(result))
    end)

    it("none is nothing", function()
      assert.equal("", formatted("none", "1 6").stdout)
    end)
  end)

  it("shows the first failures and counts the rest", function()
    local result = run(SQUARES, "--engine serial job.lua 1 100")
    assert.equal(10, select(2, result.stderr:gsub("parlua: task %d+ %(%d+%) failed", "")), shown(result))
    assert.truthy(result.stderr:find("parlua: 10 more tasks failed; the results name each\n", 1, true))
    assert.equal(20, select(2, result.stdout:gsub('"error":', "")))
  end)

  it("shows long arguments and messages of several lines in one short line", function()
    local result = run([[
      return {
        arguments = { ("ä"):rep(1000) },
        map = function() error("first\n  second\0third", 0) end,
      }]], "--engine serial job.lua")
    local line = result.stderr:match "^(.-)\n"
    assert.truthy(line:find("failed: error: first second third", 1, true), shown(result))
    assert.truthy(line:find('%("[\195\164]+%.%.%.%)'))
    assert.is_true(#line < 150)
  end)

  it("shows tracebacks with --debug", function()
    local result = run(SQUARES, "--engine serial --debug job.lua 5 5", { stdin = "" })
    assert.truthy(result.stderr:find("stack traceback:", 1, true), shown(result))
  end)

  it("with --progress json leaves only events on standard error", function()
    local result = run(SQUARES, "--engine serial --progress json job.lua 1 20")
    local events = {}
    for line in result.stderr:gmatch "(.-)\n" do
      local event = decode(line)
      events[#events + 1] = event.event
    end
    assert.equal("start", events[1], shown(result))
    assert.equal("finish", events[#events], shown(result))
    assert.equal(4, select(2, table.concat(events, " "):gsub("failure", "")), shown(result))
  end)

  describe("with --output", function()
    it("writes the file and nothing to standard output", function()
      local result = run(SQUARES, "-o out.jsonl job.lua 1 4")
      assert.equal("", result.stdout)
      assert.equal(4, select(2, helper.read(directory .. "/out.jsonl"):gsub("\n", "")))
      assert.same({ "job.lua", "out.jsonl" }, names())
    end)

    it("replaces a file only when the run is complete, and keeps its permissions", function()
      local path = helper.write(directory .. "/out", "old")
      helper.run("chmod 600 " .. path)
      run([[
        local job = { arguments = { 1 } }
        function job.map() local f = io.open("out") local text = f:read("*a") f:close() return text end
        return job
      ]], "-o out job.lua")
      assert.equal('{"index":1,"args":[1],"result":"old"}\n', helper.read(path))
      assert.equal("rw-------", lfs.attributes(path, "permissions"))
    end)

    it("writes to the file that a link leads to", function()
      helper.write(directory .. "/real", "old")
      lfs.link("real", directory .. "/link", true)
      run(UPPER, "--format text -o link job.lua a")
      assert.equal("A\n", helper.read(directory .. "/real"))
      assert.equal("link", lfs.symlinkattributes(directory .. "/link", "mode"))
    end)

    it("writes to a pipe as it is", function()
      helper.write(directory .. "/job.lua", UPPER)
      local result = helper.run("mkfifo p; cat p & " .. helper.quote(helper.parlua)
        .. " --format text -o p job.lua a; wait", { directory = directory })
      assert.equal("A\n", result.stdout, shown(result))
      assert.equal("named pipe", lfs.attributes(directory .. "/p", "mode"))
    end)

    it("leaves what a halted run has done under another name, and the old file alone", function()
      helper.write(directory .. "/out", "old")
      local result = run(SQUARES, "--halt --engine serial -o out job.lua 1 20")
      assert.equal(1, result.status)
      assert.equal("old", helper.read(directory .. "/out"))
      assert.truthy(helper.read(directory .. "/out.partial"):find '^{"index":1,')
      assert.truthy(result.stderr:find("what was done is in 'out.partial'", 1, true), shown(result))
      assert.same({ "job.lua", "out", "out.partial" }, names())
    end)

    it("leaves no file after a mistake in the job", function()
      local result = run(UPPER, "-o out job.lua")
      assert.equal(2, result.status)
      assert.same({ "job.lua" }, names())
    end)

    it("leaves no file when it is killed", function()
      helper.write(directory .. "/job.lua", [[
        local job = { arguments = { 1, 2 } }
        function job.map(i)
          if i == 2 then
            io.open("running", "w"):close()
            require("ffi").cdef "int pause(void);"
            require("ffi").C.pause()
          end
        end
        return job
      ]])
      local result = helper.run(helper.quote(helper.parlua) .. " -n 1 -o out job.lua & "
        .. "while [ ! -e running ]; do sleep 0.01; done; kill -9 $!; wait $!; echo $?", { directory = directory })
      assert.equal("137\n", result.stdout, shown(result))
      assert.same({ "job.lua", "running" }, names())
    end)
  end)

  describe("whose results can't be written", function()
    it("because the disk is full ends with a message and status 2", function()
      for _, words in ipairs { "job.lua 1 4 >/dev/full", "-o /dev/full job.lua 1 4", "job.lua 1 200000 >/dev/full" } do
        local result = run(SQUARES, "--max-failures 1000000 " .. words)
        assert.equal(2, result.status, shown(result))
        assert.truthy(result.stderr:find("cannot write the results to .*: No space left on device"), shown(result))
      end
    end)

    it("as the file can't grow leaves whole results under another name, and says so", function()
      for format, line in pairs { jsonl = '^{"index":%d+,"args":%[%d+%],"result":%d+}$', csv = "^%d+,square$" } do
        helper.write(directory .. "/job.lua", "return { map = function(x) local square = x * x " .. (format == "csv"
          and "return { square, 'square' }" or "return square") .. " end, arguments = require('parlua').range(20000) }")
        local result = helper.run(("%s ulimit -f 300; %s --format %s -o out job.lua"):format(
          format == "csv" and "trap '' XFSZ;" or "", helper.quote(helper.parlua), format), { directory = directory })
        assert.equal(2, result.status, shown(result))
        assert.truthy(result.stderr:find("cannot write the results to 'out': File too large; what was written is in 'out.partial'", 1,
          true), shown(result))
        local text = helper.read(directory .. "/out.partial")
        assert.truthy(#text > 30000)
        assert.equal("\n", text:sub(-1))
        for each in text:gmatch "[^\n]+" do assert.truthy(each:find(line), each) end
        assert.same({ "job.lua", "out.partial" }, names())
      end
    end)

    it("because the disk is full stops an endless run", function()
      local result = run([[
        return {
          arguments = function() while true do coroutine.yield(1) end end,
          map = function(x) return x end,
        }]], "-n 2 job.lua >/dev/full")
      assert.equal(2, result.status, shown(result))
    end)

    it("because finish could not print ends with status 2", function()
      local result = run("return { map = function(x) return x end, finish = function() print('lost') end }",
        "--format none job.lua 1 >/dev/full")
      assert.equal(2, result.status, shown(result))
      assert.truthy(result.stderr:find("No space left on device", 1, true), shown(result))
    end)

    it("because nobody reads them any more ends quietly with status 141", function()
      helper.write(directory .. "/job.lua", [[
        return {
          arguments = function() while true do coroutine.yield(1) end end,
          map = function(x) return x end,
        }]])
      local result = helper.run("{ " .. helper.quote(helper.parlua) .. " -n 2 job.lua; echo $? >status; } | head -1",
        { directory = directory })
      assert.equal('{"index":1,"args":[1],"result":1}\n', result.stdout, shown(result))
      assert.equal("", result.stderr)
      assert.equal("141\n", helper.read(directory .. "/status"))
    end)
  end)

  it("writes a finished task's line while later ones take long", function()
    helper.write(directory .. "/job.lua", [[
      local job = { arguments = { 1, 2 } }
      function job.map(i)
        while i == 2 and not io.open("seen") do os.execute("sleep 0.02") end
        return i
      end
      return job
    ]])
    -- The reader lets the second task end when it has the first one's line.
    local result = helper.run(helper.quote(helper.parlua) .. " -n 1 --chunk 1 --format text job.lua | { read line; "
      .. "echo got $line; touch seen; cat; }", { directory = directory, seconds = 30 })
    assert.equal("got 1\n2\n", result.stdout, shown(result))
  end)

  it("ends with status 2 and a traceback when finish raises", function()
    local result = run("return { map = function(x) return x end, finish = function(r) return r.x.y end }", "job.lua 1")
    assert.equal(2, result.status)
    assert.truthy(result.stderr:find("the job's `finish` raised an error: .*job.lua:1: .*stack traceback"),
      shown(result))
    assert.truthy(result.stdout:find '^{"index":1,')
  end)

  helper.for_each_engine(function(engine)
    for signal, status in pairs { INT = 130, TERM = 143 } do
      it("that SIG" .. signal .. " ends writes what is done and ends with status " .. status, function()
        helper.write(directory .. "/job.lua", [[
          local job = {}
          function job.arguments()
            local i = 0
            return function() i = i + 1 return i end
          end
          function job.map(i)
            if i == 100 then io.open("running", "w"):close() end
            return i
          end
          function job.finish(results, _, summary) print("finish", results[1], summary.interrupted) end
          return job
        ]])
        -- In the foreground: a shell makes what it runs in the background ignore SIGINT.
        local result = helper.run(
          "{ while [ ! -e running ]; do sleep 0.01; done; kill -" .. signal .. " $(cat pid); } & "
          .. helper.command(engine, "pid") .. " -n 2 -o out job.lua; echo $?", { directory = directory, seconds = 30 })
        assert.equal("finish\t1\tSIG" .. signal .. "\n" .. status .. "\n", result.stdout, shown(result))
        assert.truthy(result.stderr:find("interrupted by SIG" .. signal, 1, true), shown(result))
        assert.truthy(helper.read(directory .. "/out.partial"):find '^{"index":1,')
        assert.same({ "job.lua", "out.partial", "pid", "running" }, names())
      end)
    end
  end)
end)

describe("a job's output file", function()
  local directory
  before_each(function() directory = helper.new_directory() end)
  after_each(function() helper.remove(directory) end)

  local function run(words) return helper.run(helper.quote(helper.parlua) .. " " .. words, { directory = directory }) end

  local function write_job() helper.write(directory .. "/job.lua", "return { arguments = { 1, 2 }, map = function(i) return i end }\n") end

  it("is refused where it is the script, or what another option is to write", function()
    write_job()
    local text = helper.read(directory .. "/job.lua")
    local result = run "-o ./job.lua job.lua"
    assert.equal(2, result.status)
    assert.matches("option 'output': ./job.lua is the script itself", result.stderr, 1, true)
    assert.equal(text, helper.read(directory .. "/job.lua"))
    for pair, told in pairs { ["-o out --report ./out"] = "'output' and 'report'", ["--report out --trace out"] = "'report' and 'trace'",
                              ["-o out --log ./out"] = "'output' and 'log'", ["--journal out --trace out"] = "'journal' and 'trace'" } do
      result = run(pair .. " job.lua")
      assert.equal(2, result.status, pair)
      assert.matches("options " .. told .. ": both name the file", result.stderr, 1, true)
      assert.is_nil(io.open(directory .. "/out"), pair)
    end
    assert.equal(0, run("-o /dev/null --report /dev/null job.lua").status)
  end)

  it("is refused where it is the journal by another path", function()
    write_job()
    helper.run("mkdir sub; touch there.db; ln there.db hard.db; ln -s there.db soft.db", { directory = directory })
    for _, pair in ipairs { { "x.db", "./x.db" }, { "sub/../x.db", "x.db" }, { directory .. "/x.db", "x.db" }, { "there.db", "hard.db" },
                            { "soft.db", "there.db" } } do
      local result = run(("--engine serial --journal %s -o %s job.lua"):format(pair[1], pair[2]))
      assert.equal(2, result.status, table.concat(pair, " "))
      assert.matches("options 'output' and 'journal': both name the file", result.stderr)
      assert.is_nil(io.open(directory .. "/x.db"))
    end
  end)

  it("has nothing left beside it, also of a process that was killed at its very end", function()
    write_job()
    local host = helper.run("hostname").stdout:gsub("%s+$", "")
    local stale = ("%s/out.%d.%s.tmp"):format(directory, 2 ^ 22 + 5, host)
    helper.write(stale, "half")
    helper.write(directory .. "/out", "before")
    assert.equal(0, run("--engine serial --format text -o out job.lua").status)
    assert.equal("1\n2\n", helper.read(directory .. "/out"))
    assert.is_nil(io.open(stale))
  end)

  helper.for_each_engine(function(engine)
    it("that nobody reads does not keep a signal from ending the job", function()
      if engine == "mpi" then return end -- mpirun has a status of its own: spec/mpi_spec.lua
      helper.write(directory .. "/job.lua", [[
        return { arguments = require("parlua").range(1e6), map = function() return ("x"):rep(1000) end }
      ]])
      local result = helper.run(([[
        mkfifo pipe; sleep 60 < pipe & reader=$!
        %s --engine %s job.lua > pipe 2> err & pid=$!
        sleep 1; kill -TERM $pid; wait $pid; echo $?; kill $reader
      ]]):format(helper.quote(helper.parlua), engine), { directory = directory, seconds = 30 })
      assert.equal("143\n", result.stdout, helper.read(directory .. "/err"))
      assert.matches("interrupted by SIGTERM", helper.read(directory .. "/err"))
    end)

    for _, source in ipairs { 'parlua.lines "-"', "io.lines()", "function() return (io.read()) end" } do
      it("or a source that waits: " .. source, function()
        if engine == "mpi" then return end -- likewise
        helper.write(directory .. "/s.lua", ([[
          local parlua = require "parlua"
          local _, _, summary = parlua.map(function(l) return #l end, %s)
          print(summary.interrupted, summary.tasks)
        ]]):format(source))
        local result = helper.run(([[
          mkfifo pipe; exec 3<>pipe; echo hello >&3
          %s --engine %s s.lua < pipe 3>&- & pid=$!
          sleep 1; kill -TERM $pid; wait $pid; echo $?
        ]]):format(helper.quote(helper.parlua), engine), { directory = directory, seconds = 30 })
        assert.equal("SIGTERM\t1\n143\n", result.stdout, result.stderr)
      end)
    end
  end)
end)
