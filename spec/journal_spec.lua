local helper = require "spec.helper"

--- Each task appends its number to the file $RAN. Results of all kinds, and failures.
local script = [[
local parlua = require "parlua"
local function f(i, text)
  local file = io.open(os.getenv("RAN"), "a")
  file:write(i, "\n")
  file:close()
  if os.getenv("SLOW") then local x = 0 for k = 1, 4e5 do x = x + k end end
  if i % 10 == 0 then error("ten " .. i, 0) end
  if i % 10 == 1 then return "a\0b" .. i end
  if i % 10 == 2 then return { i, x = { i } } end
  if i % 10 == 3 then return nil end
  if i % 10 == 4 then return -0.0 end
  if i % 10 == 5 then return false end
  if i % 10 == 6 then return i, text or "second", nil end
  return i / 4
end
local n = tonumber(os.getenv("TASKS") or 200)
local function pairs_of(last)
  local i = 0
  return function()
    i = i + 1
    if i <= last then return i, (os.getenv("TEXT") or "t") .. i end
  end
end
local function show(v)
  if type(v) == "table" then return "{" .. v[1] .. v.x[1] .. "}" end
  return type(v) == "number" and ("%.17g"):format(v) or (tostring(v):gsub("%z", "0"))
end
local source = { range = parlua.range(n), list = {}, iterator = nil }
for i = 1, n do source.list[i] = i end
local arguments = os.getenv("SOURCE") == "iterator" and pairs_of(n) or source[os.getenv("SOURCE") or "range"]
local call, failures = os.getenv("CALL") or "map", nil
if call == "map" then
  local results
  results, failures = parlua.map(f, arguments)
  for i = 1, results.n do print(i, show(results[i])) end
elseif call == "imap" then
  local _
  local stream
  local step, s = parlua.imap(f, arguments)
  stream = s
  for i, a, b in step, s do print(i, show(a), show(b)) end
  failures = stream.failures
elseif call == "each" then
  failures = parlua.each(f, arguments)
elseif call == "reduce" then
  local value
  value, failures = parlua.reduce(f, arguments, { init = "", step = function(all, v) return all .. show(v) end })
  print(value)
end
for _, failure in ipairs(failures) do
  print("failed", failure.index, failure.kind, failure.message, failure.args[1], failure.attempts)
end
]]

describe("a journal", function()
  local directory, path, run_number

  before_each(function()
    directory = helper.new_directory()
    path = helper.write(directory .. "/script.lua", script)
    run_number = 0
  end)

  after_each(function() helper.remove(directory) end)

  local function sql(text) return helper.run(("sqlite3 %s/run.db %s"):format(directory, helper.quote(text))).stdout end

  --- Runs the script; returns the result, and which tasks ran in it (how often).
  local function run(arguments, env, prefix)
    run_number = run_number + 1
    local all = { RAN = directory .. "/ran" .. run_number }
    for name, value in pairs(env or {}) do all[name] = value end
    local start = arguments:find("%-%-engine mpi") and helper.mpirun(2) or ""
    local result = helper.run(("%s %s %s %s %s"):format(prefix or "", start, helper.quote(helper.parlua), arguments, path),
      { env = all, directory = directory })
    local ran, count = {}, 0
    local file = io.open(all.RAN)
    if file then
      for line in file:lines() do
        ran[tonumber(line)] = (ran[tonumber(line)] or 0) + 1
        count = count + 1
      end
      file:close()
    end
    return result, ran, count
  end

  local function assert_fails(result, pattern)
    assert.not_equal(0, result.status)
    assert.truthy(result.stderr:find(pattern), result.stderr)
  end

  helper.for_each_engine(function(engine)
    local base = "--engine " .. engine .. " --workers 2 "

    for _, kind in ipairs { "map range", "map list", "map iterator", "imap range", "imap iterator", "each range", "reduce range", "reduce list" } do
      it("gives results and failures as they were, without running a task again: " .. kind, function()
        local call, source = kind:match("(%S+) (%S+)")
        local env = { CALL = call, SOURCE = source }
        local plain = run(base, env)
        assert.equal(0, plain.status, plain.stderr)
        local first, _, count = run(base .. "--journal run.db", env)
        assert.equal(plain.stdout, first.stdout)
        assert.equal(200, count)
        assert.equal("180|20\n", sql("select sum(status = 'returned'), sum(status = 'failed') from tasks"))
        local second, _, again = run(base .. "--journal run.db --resume", env)
        assert.equal(plain.stdout, second.stdout)
        assert.equal(0, again)
        -- as if the run had been cut off: with gaps of all sizes
        sql("delete from tasks where task % 7 < 3 or task between 50 and 90")
        local lacking = 200 - tonumber(sql("select count(*) from tasks"))
        local third, ran, rest = run(base .. "--journal run.db --resume", env)
        assert.equal(plain.stdout, third.stdout)
        assert.equal(lacking, rest)
        for i in pairs(ran) do assert.is_true(i % 7 < 3 or i >= 50 and i <= 90) end
        local fourth, failed, tries = run(base .. "--journal run.db --resume --retry-failed", env)
        assert.equal(plain.stdout, fourth.stdout)
        assert.equal(20, tries)
        for i in pairs(failed) do assert.equal(0, i % 10) end
        assert.equal("ok\n", sql("pragma integrity_check"))
      end)
    end

    it("is not overwritten by the output of the job", function()
      helper.write(path, "return { arguments = { 1 }, map = function(i) return i end }")
      local result = run(base .. "--journal run.db --output run.db")
      assert.equal(2, result.status)
      assert.truthy(result.stderr:find("both name the file run.db", 1, true), result.stderr)
    end)

    it("serves jobs, and records nothing of a task that was cut off", function()
      helper.write(path, [[
        local job = {}
        function job.arguments() return { 1, 2, 3, 4, 5, 6 } end
        function job.map(i)
          local file = io.open(os.getenv("RAN"), "a")
          file:write(i, "\n")
          file:close()
          if i == 4 and os.getenv("BAD") then error("bad", 0) end
          return i * i
        end
        return job]])
      local halted = run(base .. "--chunk 1 --halt --journal run.db", { BAD = "1" })
      assert.equal(1, halted.status)
      assert.equal("4|bad\n", sql("select task, message from tasks where status = 'failed'"))
      local done = tonumber(sql("select count(*) from tasks where status = 'returned'"))
      local result, _, count = run(base .. "--journal run.db --resume --retry-failed")
      assert.equal(0, result.status, result.stderr)
      assert.equal(6 - done, count)
      local _, lines = result.stdout:gsub("\n", "")
      assert.equal(6, lines)
      assert.truthy(result.stdout:find('36'))
    end)

    it("runs tasks whose arguments differ again, with --force", function()
      local env = { SOURCE = "iterator", CALL = "imap" }
      run(base .. "--journal run.db", env)
      env.TEXT = "other"
      assert_fails(run(base .. "--journal run.db --resume", env), "of another run: the arguments of task 1 ")
      local forced, _, count = run(base .. "--journal run.db --resume --force", env)
      assert.truthy(forced.stdout:find("6\t6\tother6\n"), forced.stdout)
      assert.equal(200, count)
    end)
  end)

  it("is refused when it is of another script, other arguments or another seed", function()
    run("--journal run.db")
    assert_fails(run("--journal run.db"), "holds a run already: go on with it by %-%-resume")
    assert_fails(run("--journal run.db --resume --seed 3"), "the seed, or .* differs %(recorded: 0 in call 1, now: 3 in call 1%)")
    assert_fails(run("--journal run.db --resume", { TASKS = "300" }), "the arguments differ .*200 tasks.*300 tasks")
    assert_fails(run("--journal run.db --resume", { CALL = "each" }), "it was another kind of call %(recorded: map, reduce or a job, now: each%)")
    helper.write(path, (script:gsub("i / 4", "i / 8")))
    assert_fails(run("--journal run.db --resume"), "the code of the map function differs")
    assert.equal(200, tonumber(sql("select count(*) from tasks")))
    local _, _, count = run("--journal run.db --resume --force")
    assert.equal(0, count)
    _, _, count = run("--journal run.db --force")
    assert.equal(200, count)
  end)

  it("knows the calls of a script apart", function()
    helper.write(path, [[
      local parlua = require "parlua"
      for k = 1, 3 do
        local results = parlua.map(function(i) return i * k end, parlua.range(5))
        print(table.concat(results, " "))
      end]])
    local first = run("--journal run.db")
    assert.equal("1 2 3 4 5\n2 4 6 8 10\n3 6 9 12 15\n", first.stdout)
    assert.equal(first.stdout, run("--journal run.db --resume").stdout)
    assert.equal("1|5\n2|5\n3|5\n", sql("select run, count(*) from tasks group by run"))
  end)

  it("says what it can't record, and where a file can't be", function()
    assert_fails(run("--resume"), "goes on from a journal: name its file")
    assert_fails(run("--journal run.db --retry-failed"), "needs the option resume")
    assert_fails(run("--journal no/such/run.db"), "cannot open the journal 'no/such/run.db'.*No such file or directory")
    helper.write(directory .. "/text.db", ("no database\n"):rep(100))
    assert_fails(run("--journal text.db"), "journal 'text.db': file is not a database")
    assert.equal(("no database\n"):rep(100), helper.read(directory .. "/text.db"))
    helper.write(path, 'print(require("parlua").submit(math.sqrt, 4):get())')
    assert_fails(run("--journal run.db"), "single calls %(submit%) are not recorded; give the pool the option journal = false")
    helper.write(path, 'print(require("parlua").pool({ journal = false }):submit(math.sqrt, 4):get())')
    assert.equal("2\n", run("--journal run.db").stdout)
  end)

  it("stops with a clear error when the disk is full, and nothing that was recorded is lost", function()
    local result, _, count = run("--engine process --journal run.db", { TASKS = "100000", SLOW = "1" }, "ulimit -f 500;")
    assert_fails(result, "cannot write the journal 'run.db': disk I/O error %(File too large%)%. "
      .. "What was recorded before is in it: go on by %-%-resume")
    assert.is_true(count > 0)
    assert.equal("ok\n", sql("pragma integrity_check"))
    local recorded = {}
    for task in sql("select task from tasks"):gmatch("%d+") do recorded[tonumber(task)] = true end
    assert.truthy(next(recorded))
    local again, ran = run("--engine process --journal run.db --resume", { TASKS = "100000", SLOW = "1" }, "trap '' XFSZ; ulimit -f 800;")
    assert_fails(again, "cannot write the journal 'run.db'")
    for task in pairs(ran) do assert.is_nil(recorded[task]) end
  end)

  it("needs a directory in which files can be made, and says so", function()
    local as_other = helper.run("id -u").stdout == "0\n" and "setpriv --reuid=65534 --regid=65534 --clear-groups " or ""
    helper.write(path, 'print(#require("parlua").map(math.sqrt, { 1, 2, 3 }))')
    local result = helper.run(([[
      chmod 755 . && mkdir fixed && cp %s copy && chmod 755 copy && chmod 644 script.lua && ./copy --journal fixed/run.db script.lua &&
      chmod 666 fixed/run.db && chmod 555 fixed &&
      { %s ./copy --journal fixed/run.db --resume script.lua; %s ./copy --journal fixed/new.db script.lua; chmod 755 fixed; }
      chmod 444 fixed/run.db; %s ./copy --journal fixed/run.db --resume script.lua
      ls fixed; ./copy --journal fixed/run.db --resume script.lua]]):format(helper.quote(helper.parlua), as_other, as_other, as_other),
      { directory = directory })
    assert.truthy(result.stderr:find("the journal 'fixed/run.db': [^\n]*; the directory must be one in which files can be made"), result.stderr)
    assert.truthy(result.stderr:find("cannot open the journal 'fixed/new.db': Permission denied", 1, true), result.stderr)
    assert.truthy(result.stderr:find("cannot open the journal 'fixed/run.db': Permission denied", 1, true), result.stderr)
    assert.equal("3\nrun.db\n3\n", result.stdout)
  end)

  it("says when the SQLite library is missing", function()
    assert(os.execute("mkdir " .. directory .. "/lib") == 0)
    helper.write(directory .. "/lib/libsqlite3.so.0", "no library")
    local result, _, count = run("--journal run.db", { LD_LIBRARY_PATH = directory .. "/lib" })
    assert_fails(result, "the option journal needs the SQLite library %(in Debian: apt%-get install libsqlite3%-0%)")
    assert.equal(0, count)
    assert.equal(0, run("", { LD_LIBRARY_PATH = directory .. "/lib" }).status)
  end)

  it("leaves alone what is no journal, or a damaged one", function()
    assert.equal("", helper.run("sqlite3 other.db 'create table t (a)'", { directory = directory }).stdout)
    assert_fails(run("--journal other.db"), "'other.db' is a database, but no journal of parlua's")
    assert_fails(run("--journal other.db --force"), "'other.db' is a database, but no journal of parlua's")
    run("--journal run.db", { TASKS = "2000" })
    local bytes = helper.read(directory .. "/run.db")
    local damaged = bytes:sub(1, 8192) .. ("\165"):rep(8192) .. bytes:sub(16385)
    helper.write(directory .. "/run.db", damaged)
    local result, _, count = run("--journal run.db --resume", { TASKS = "2000" })
    assert_fails(result, "the journal 'run.db'.* what can still be read of it: sqlite3 run.db .recover")
    assert.equal(0, count)
    assert.is_true(damaged == helper.read(directory .. "/run.db"))
    helper.write(directory .. "/run.db", bytes:sub(1, 12000))
    assert_fails(run("--journal run.db --resume", { TASKS = "2000" }), "the journal 'run.db'")
  end)

  it("keeps no write-ahead log on a file system that is not known to be this machine's own", function()
    helper.write(path, [[
      local parlua = require "parlua"
      parlua.map(function(i)
        if i < 20 then return i end
        while not io.open("go") do os.execute("sleep 0.02") end
      end, parlua.range(20), { chunk = 1, workers = 2 })]])
    -- a C library's fstatfs that says: NFS
    helper.write(directory .. "/nfs.c", [[
      #define _GNU_SOURCE
      #include <dlfcn.h>
      #include <sys/vfs.h>
      int fstatfs(int fd, struct statfs *found)
      {
        int (*real)(int, struct statfs *) = (int (*)(int, struct statfs *))dlsym(RTLD_NEXT, "fstatfs");
        int status = real(fd, found);
        found->f_type = 0x6969;
        return status;
      }]])
    for _, preload in ipairs { "", "LD_PRELOAD=./nfs.so ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0" } do
      local result = helper.run(([[
        rm -f go run.db; cc -shared -fPIC -o nfs.so nfs.c -ldl || exit
        env %s %s --journal run.db script.lua & one=$!
        until test "$(sqlite3 run.db 'select count(*) from tasks' 2>&1)" = 19; do sleep 0.05; done
        ls run.db*; sqlite3 run.db 'pragma journal_mode'
        touch go; wait $one; echo $?; ls run.db*; sqlite3 run.db 'select count(*) from tasks']]):format(preload, helper.quote(helper.parlua)),
        { directory = directory })
      assert.equal(preload == "" and "run.db\nrun.db-shm\nrun.db-wal\nwal\n0\nrun.db\n20\n" or "run.db\ndelete\n0\nrun.db\n20\n", result.stdout)
    end
  end)

  it("serves several calls of one program at a time", function()
    helper.write(path, [[
      local parlua = require "parlua"
      for i, squares in parlua.imap(function(i) return i * i end, parlua.range(3)) do
        local inner = parlua.map(function(k) return k + squares end, parlua.range(4))
        print(i, table.concat(inner, " "))
      end]])
    local first = run("--journal run.db")
    assert.equal("1\t2 3 4 5\n2\t5 6 7 8\n3\t10 11 12 13\n", first.stdout, first.stderr)
    assert.equal(first.stdout, run("--journal run.db --resume").stdout)
    assert.equal("1|3\n2|4\n3|4\n4|4\n", sql("select run, count(*) from tasks group by run"))
  end)

  it("holds what was done when the script leaves by os.exit, and is then free", function()
    helper.write(path, [[
      local parlua = require "parlua"
      for i in parlua.imap(function(i) return i end, parlua.range(100), { chunk = 1 }) do
        if i == 50 then os.exit(3) end
      end]])
    assert.equal(3, run("--journal run.db").status)
    assert.is_true(tonumber(sql("select count(*) from tasks")) >= 50)
    assert.equal(3, run("--journal run.db --resume").status)
  end)

  it("is refused when a variable that the map function uses differs", function()
    local text = [[
      local parlua = require "parlua"
      local scale, by = %d, { one = { 1 }, two = { %d } }
      local function helper(i) return i * scale + by.two[1] end
      parlua.map(function(i) return helper(i) end, parlua.range(5))]]
    helper.write(path, text:format(2, 3))
    run("--journal run.db")
    assert.equal(0, run("--journal run.db --resume").status)
    helper.write(path, text:format(3, 3))
    assert_fails(run("--journal run.db --resume"), "the variable 'scale' differs, which the map function uses")
    helper.write(path, text:format(2, 4))
    assert_fails(run("--journal run.db --resume"), "the variable 'by' differs, which the map function uses")
  end)

  it("gives random numbers and attempts as they were", function()
    helper.write(path, [[
      local parlua = require "parlua"
      local results, failures = parlua.map(function(i)
        if i % 3 == 0 and parlua.task.attempt < 3 then error("again", 0) end
        if i % 7 == 0 then error("never", 0) end
        return math.random()
      end, parlua.range(60), { retries = 2, seed = 5 })
      for i = 1, 60 do print(results[i] and ("%.17g"):format(results[i])) end
      for _, failure in ipairs(failures) do print(failure.index, failure.attempts, failure.message) end]])
    local plain = run("")
    assert.equal(plain.stdout, run("--journal run.db").stdout)
    assert.equal("20\n", sql("select count(*) from tasks where attempts = 3 and task % 3 = 0"))
    sql("delete from tasks where task % 4 = 1")
    assert.equal(plain.stdout, run("--journal run.db --resume").stdout)
  end)

  helper.for_each_engine(function(engine)
    it("serves one run at a time, lets others read, and holds what is done while a task goes on", function()
      helper.write(path, ([[
        local parlua = require "parlua"
        parlua.map(function(i)
          if i < 20 then return i end
          while not io.open("go") do os.execute("sleep 0.02") end
        end, parlua.range(20), { chunk = 1, workers = 1, engine = %q })]]):format(engine))
      local result = helper.run(([[
        %s --journal run.db script.lua & one=$!
        until test "$(sqlite3 run.db 'select count(*) from tasks' 2>&1)" = 19; do sleep 0.05; done
        %s --journal run.db --resume script.lua; echo "second: $?"
        touch go; wait $one; echo "first: $?"]]):format(helper.quote(helper.parlua), helper.quote(helper.parlua)), { directory = directory })
      assert.truthy(result.stderr:find("another run is using the journal 'run.db' %(process %d+ on [^)]+%)"), result.stderr)
      assert.truthy(result.stdout:find("second: [12]\nfirst: 0\n"), result.stdout)
      assert.equal(20, tonumber(sql("select count(*) from tasks")))
    end)

    it("serves reductions with merge, to the bit, and searches", function()
      helper.write(path, ([[
        local parlua = require "parlua"
        local function f(i)
          local file = io.open(os.getenv("RAN"), "a")
          file:write(i, "\n")
          file:close()
          if i %% 500 == 0 then error("no", 0) end
          return 1 / i
        end
        local options = { engine = %q, workers = 2 }
        print(("%%.17g %%d"):format(parlua.reduce(f, parlua.range(3000), parlua.sum, options), 0))
        local value, failures = parlua.reduce(f, parlua.range(3000), { init = 0, step = function(a, v) return a + v end,
          merge = function(a, b) return a + b end, stop = function(a) return a > 8 end, block = 70 }, options)
        print(("%%.17g"):format(value), #failures)
        print(parlua.find(function(i) return f(i) < 0.01 and "found" end, parlua.range(3000), options))
        print(parlua.any(function(i) return f(i) > 2 end, parlua.range(30), options))
        print(parlua.all(function(i) return f(i) > 0 end, parlua.range(30), options))
      ]]):format(engine))
      local plain = run("")
      assert.equal(0, plain.status, plain.stderr)
      local first = run("--journal run.db")
      local function settled(text) return (text:gsub("table: %w+", "table")) end
      assert.equal(settled(plain.stdout), settled(first.stdout))
      sql("delete from tasks where task % 5 = 2")
      local again, ran = run("--journal run.db --resume")
      assert.equal(settled(plain.stdout), settled(again.stdout))
      assert.is_nil(ran[1])
      assert.truthy(ran[2])
    end)

    it("serves every kind of source", function()
      helper.write(directory .. "/text", (("line of text\n"):rep(60)))
      helper.write(directory .. "/table.csv", (("1,2,three\n"):rep(60)))
      helper.write(path, ([[
        local parlua = require "parlua"
        local function f(...)
          local file = io.open(os.getenv("RAN"), "a")
          file:write(parlua.task.index, "\n")
          file:close()
          local words = { parlua.task.index }
          for k = 1, select("#", ...) do
            local v = select(k, ...)
            words[#words + 1] = type(v) == "table" and (v.n and "table" or table.concat(v, "+")) or tostring(v)
          end
          return table.concat(words, " ")
        end
        local sources = {
          lines = function() return parlua.lines("text") end,
          blocks = function() return parlua.blocks("text", { size = 40 }) end,
          csv = function() return parlua.csv("table.csv") end,
          product = function() return parlua.product({ "a", "b" }, parlua.range(30)) end,
          zip = function() return parlua.zip(parlua.range(60), parlua.range(61, 120)) end,
          take = function() return parlua.take(parlua.lines("text"), 50) end,
          enumerate = function() return parlua.enumerate(parlua.lines("text")) end,
          batch = function() return parlua.batch(parlua.range(120), 2) end,
          coroutine = function() return coroutine.wrap(function() for i = 1, 60 do coroutine.yield(i, nil, { i }) end end) end,
        }
        local results = parlua.map(f, sources[os.getenv("SOURCE")](), { engine = %q, workers = 2 })
        for i = 1, results.n do print(results[i]) end
      ]]):format(engine))
      for _, source in ipairs { "lines", "blocks", "csv", "product", "zip", "take", "enumerate", "batch", "coroutine" } do
        local env = { SOURCE = source }
        local plain, _, total = run("", env)
        assert.equal(0, plain.status, plain.stderr)
        local first = run("--journal run.db --force", env)
        assert.equal(plain.stdout, first.stdout, first.stderr)
        assert.equal(total, tonumber(sql("select count(distinct task) from tasks")))
        sql("delete from tasks where task % 3 = 0 or task between 20 and 25")
        local lacking = total - tonumber(sql("select count(*) from tasks"))
        local again, _, count = run("--journal run.db --resume", env)
        assert.equal(plain.stdout, again.stdout, again.stderr)
        assert.equal(lacking, count)
      end
    end)

    it("serves a job with an output, which is whole or not there", function()
      helper.write(path, [[
        return {
          arguments = function() return require("parlua").range(30) end,
          map = function(i)
            local file = io.open(os.getenv("RAN"), "a")
            file:write(i, "\n")
            file:close()
            if i == 20 and os.getenv("BAD") then error("bad", 0) end
            return ("r"):rep(i)
          end,
        }]])
      local words = "--engine " .. engine .. " --workers 2 --chunk 1 "
      run(words .. "-o plain")
      local halted = run(words .. "--halt --journal run.db -o out", { BAD = "1" })
      assert.equal(1, halted.status)
      local partial = helper.read(directory .. "/out.partial")
      assert.truthy(partial:find('"message":"bad"}}\n', 1, true), partial)
      for line in partial:gmatch("[^\n]*\n?") do assert.truthy(line == "" or line:find("^{.*}\n$"), partial) end
      local done = tonumber(sql("select count(*) from tasks where status = 'returned'"))
      local result, _, count = run(words .. "--journal run.db --resume --retry-failed -o out")
      assert.equal(0, result.status, result.stderr)
      assert.equal(30 - done, count)
      assert.equal(helper.read(directory .. "/plain"), helper.read(directory .. "/out"))
      assert.is_nil(io.open(directory .. "/out.partial"))
    end)
  end, { "serial", "threads", "process" }) -- mpi_spec.lua shows a journal on several ranks

  it("survives SIGKILL of the coordinator at any moment", function()
    -- 200 moments: make kill-test
    local result = helper.run(helper.quote(helper.parlua) .. " spec/journal_kills.lua 10", { seconds = 300 })
    assert.equal(0, result.status, result.stdout .. result.stderr)
    assert.truthy(result.stdout:find("10 kills, %d+ runs came to their end"), result.stdout)
  end)
end)

describe("a journal of a run that Ctrl-C ended", function()
  helper.for_each_engine(function(engine)
    it("has no failures of tasks whose programs Ctrl-C ended, also where tries are left", function()
      if engine == "mpi" then return end -- mpirun has a status of its own: spec/mpi_spec.lua
      for _, options in ipairs { "", "--retries 2", "--max-failures 1" } do
        helper.with_directory(function(directory)
          helper.write(directory .. "/s.lua", [[
            local parlua = require "parlua"
            local _, failures, summary = parlua.map(function(i)
              io.open("begun" .. i, "w"):close()
              if os.execute("sleep 60") ~= 0 then error("the program failed", 0) end
              return i
            end, parlua.range(6), { workers = 2 })
            local kinds = {}
            for k, failure in ipairs(failures) do kinds[failure.kind] = true end
            print(summary.interrupted, summary.failed, summary.stopped, kinds.error)
          ]])
          -- to the whole group, as a terminal does
          local result = helper.run(([[
            perl -e 'setpgrp; $SIG{INT} = "DEFAULT"; exec @ARGV' %s --engine %s %s --journal j.db s.lua & pid=$!
            until [ -e begun1 ]; do sleep 0.05; done
            sleep 0.3; perl -e 'kill "INT", -$ARGV[0]' $pid; wait $pid; echo $?
            sqlite3 j.db "select count(*) from tasks"
          ]]):format(helper.quote(helper.parlua), engine, options), { directory = directory, seconds = 60 })
          assert.equal("SIGINT\t0\tnil\tnil\n130\n0\n", result.stdout, result.stderr)
        end)
      end
    end)
  end)
end)
