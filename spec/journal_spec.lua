local helper = require "spec.helper"

-- Moments at which the coordinator is killed; JOURNAL_KILLS=200 for a long test.
local kills = tonumber(os.getenv("JOURNAL_KILLS")) or 10

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
    local result = helper.run(("%s %s %s %s"):format(prefix or "", helper.quote(helper.parlua), arguments, path),
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
    assert_fails(run("--journal run.db --resume --seed 3"), "the seed differs %(recorded: 0, now: 3%)")
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
    local result, _, count = run("--engine process --journal run.db", { TASKS = "100000", SLOW = "1" }, "trap '' XFSZ; ulimit -f 800;")
    assert_fails(result, "cannot write the journal 'run.db': ")
    assert.is_true(count > 0)
    assert.equal("ok\n", sql("pragma integrity_check"))
    assert.is_true(tonumber(sql("select count(*) from tasks")) > 0)
  end)

  it("serves one run at a time, and lets others read", function()
    helper.write(path, [[
      local parlua = require "parlua"
      parlua.map(function(i)
        if i < 20 then return i end
        while not io.open("go") do os.execute("sleep 0.02") end
      end, parlua.range(20), { chunk = 1, workers = 1 })]])
    local result = helper.run(([[
      %s --journal run.db script.lua & one=$!
      until test "$(sqlite3 run.db 'select count(*) from tasks' 2>&1)" = 19; do sleep 0.05; done
      %s --journal run.db --resume script.lua; echo "second: $?"
      touch go; wait $one; echo "first: $?"]]):format(helper.quote(helper.parlua), helper.quote(helper.parlua)), { directory = directory })
    assert.truthy(result.stderr:find("another run is using the journal 'run.db'", 1, true), result.stderr)
    assert.truthy(result.stdout:find("second: [12]\nfirst: 0\n"), result.stdout)
    assert.equal(20, tonumber(sql("select count(*) from tasks")))
  end)

  it("survives SIGKILL of the coordinator at any moment", function()
    local env = { TASKS = "1500", SLOW = "1" }
    local plain = run("--engine process --workers 2", env)
    local random, killed = 12345, 0
    for k = 1, kills do
      random = (random * 1103515245 + 12345) % 2 ^ 31
      local seconds = 0.02 + random / 2 ^ 31 * 0.5
      local before = {}
      if k > 1 then
        for task in sql("select task from tasks"):gmatch("%d+") do before[tonumber(task)] = true end
      end
      local result, ran = run("--engine process --workers 2 --journal run.db --resume", env,
        ("timeout --foreground -s KILL %.3f"):format(seconds))
      if result.status == 137 then killed = killed + 1 end
      for task in pairs(ran) do assert.is_nil(before[task], "task " .. task .. " was recorded, and ran again") end
      assert.equal("ok\n", sql("pragma integrity_check"))
      for task in pairs(before) do before[task] = false end
      for task in sql("select task from tasks"):gmatch("%d+") do before[tonumber(task)] = true end
      for _, there in pairs(before) do assert.is_true(there, "a recorded task was lost") end
      if result.status == 0 then helper.remove(directory .. "/run.db") end -- all was done: begin anew
    end
    assert.is_true(killed > 0)
    local final = run("--engine process --workers 2 --journal run.db --resume", env)
    assert.equal(plain.stdout, final.stdout)
  end)
end)
