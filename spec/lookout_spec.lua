-- Rows of a journal are written also while the script is away: in the body of a loop, in a generator, in a function of a
-- reduction (src/lua/lookout.c).

local helper = require "spec.helper"

-- Each task appends its number to the file `ran`. If $KILL is set the script goes away, until no task begins any more and
-- the journal has a row for each that began, and is killed then.
local script = [==[
local parlua = require "parlua"
local n = tonumber(os.getenv "TASKS")
local function f(i)
  local file = io.open("ran", "a")
  file:write(i, "\n")
  file:close()
  return i * 10
end
local function be_away()
  if not os.getenv "KILL" then return end
  os.execute [[
    last=; while
      ran=$(wc -l <ran); rows=$(sqlite3 run.db "select count(*) from tasks" 2>/dev/null)
      [ "$ran" != "$rows" ] || [ "$ran" != "$last" ]
    do last=$ran; sleep 0.1; done
    kill -9 $PPID]]
end
local place, k = os.getenv "PLACE", 0
local function pulled()
  if k == n then return nil end
  k = k + 1
  if place == "generator" and k == 13 then be_away() end
  return k, "text " .. k
end
local source = place == "generator" and pulled or parlua.range(n)
local list = {}
for i = 1, n do list[i] = i end
if place == "list" then source = list end
local options = { chunk = 3, workers = 2, journal = "run.db", resume = os.getenv "RESUME" and true }
if place == "step" then
  print((parlua.reduce(f, source, { init = 0, step = function(sum, value)
    if sum == 0 then be_away() end
    return sum + value
  end }, options)))
else
  local sum = 0
  for i, value in parlua.imap(f, source, options) do
    if i == 1 and place ~= "generator" then be_away() end
    sum = sum + value
  end
  print(sum)
end
]==]

-- The same with tasks that fail, and with tasks that tasks have made: $BODY is that of the map function.
local other_script = [==[
local parlua = require "parlua"
local function note(name)
  local file = io.open("ran", "a")
  file:write(name, "\n")
  file:close()
end
local function leaf(name)
  note(name)
  return name .. "!"
end
local bodies = {}
function bodies.fail(i)
  note(i)
  if i % 3 == 0 then error("no " .. i, 0) end
  if i % 3 == 1 then error { code = i, list = { 1, 2 } } end
  return i
end
function bodies.retry(i)
  note(i)
  error("again " .. i, 0)
end
function bodies.spawn(i)
  note(i)
  if i <= 4 then
    for k = 1, 5 do parlua.spawn(leaf, i .. "." .. k) end
  end
  return i
end
function bodies.large(i)
  note(i)
  return i % 2 == 0 and ("x"):rep(300000 + i) or { ("y"):rep(400000), i }
end
local body, n = os.getenv "BODY", tonumber(os.getenv "TASKS")
local options = { chunk = 2, workers = 2, journal = "run.db", resume = os.getenv "RESUME" and true, warn = false,
  retries = body == "retry" and 1 or nil, backoff = 0 }
local count = 0
-- away until nothing begins any more, no row comes, and there are some
local function be_away()
  os.execute [[
    last= rounds=0; while
      rows=$(sqlite3 run.db "select count(*) from tasks" 2>/dev/null)
      now="$(wc -l <ran) $rows" rounds=$((rounds + 1))
      [ "$now" != "$last" ] || [ "${rows:-0}" -lt "${LEAST:-0}" ] && [ $rounds -lt 100 ]
    do last=$now; sleep 0.6; done
    kill -9 $PPID]]
end
for i in parlua.imap(bodies[body], parlua.range(n), options) do
  count = count + 1
  local is_time = body == "spawn" and i > 4 or body ~= "spawn"
  if os.getenv "KILL" and is_time then be_away() end
end
if body == "retry" and os.getenv "KILL" then be_away() end
print(count)
]==]

describe("a journal", function()
  local directory

  before_each(function() directory = helper.new_directory() end)
  after_each(function() helper.remove(directory) end)

  local function run(engine, env, name)
    return helper.run(helper.command(engine) .. " " .. (name or "script.lua"), { env = env, directory = directory })
  end

  local function sql(text) return helper.run(("sqlite3 %s/run.db %s"):format(directory, helper.quote(text))).stdout end

  helper.for_each_engine(function(engine)
    for _, place in ipairs { "loop", "list", "step", "generator" } do
      it("has the rows of all tasks that have ended before the script is killed while it is away: " .. place, function()
        helper.write(directory .. "/script.lua", script)
        local env = { PLACE = place, TASKS = "20", KILL = "1" }
        assert.equal(137, run(engine, env).status)
        local ended = sql "select task from tasks where status = 'returned'"
        assert.truthy(#ended > 0) -- the script would not have been killed if a task that had ended had no row
        env.KILL, env.RESUME = nil, "1"
        local result = run(engine, env)
        assert.equal("2100\n", result.stdout, result.stderr)
        local ran = helper.read(directory .. "/ran")
        for task in ended:gmatch "%d+" do assert.equal(1, select(2, ("\n" .. ran:gsub("\n", "\n\n")):gsub("\n" .. task .. "\n", ""))) end
      end)
    end
  end, { "threads", "process" })

  helper.for_each_engine(function(engine)
    --- What ran before the kill and after it, each as a list; and the rows in between.
    local function killed_and_resumed(env)
      helper.write(directory .. "/other.lua", other_script)
      env.KILL = "1"
      assert.equal(137, run(engine, env, "other.lua").status)
      local before, rows = helper.read(directory .. "/ran"), sql "select task, status, message from tasks order by task"
      env.KILL, env.RESUME = nil, "1"
      local result = run(engine, env, "other.lua")
      return before, rows, helper.read(directory .. "/ran"):sub(#before + 1), result
    end

    it("has rows of tasks that have failed for good while the script is away", function()
      local before, rows, again = killed_and_resumed { BODY = "fail", TASKS = "20" }
      local _, ran = before:gsub("\n", "")
      assert.equal(ran, select(2, rows:gsub("\n", ""))) -- each that began has ended, and has its row
      assert.matches("3|failed|no 3\n", rows)
      for name in again:gmatch "[^\n]+" do assert.is_nil(("\n" .. before):find("\n" .. name .. "\n", 1, true)) end
    end)

    it("has rows of results in several pieces while the script is away, as far as a worker has room for them", function()
      local before, rows, again = killed_and_resumed { BODY = "large", TASKS = "20", LEAST = "2" }
      local _, ran = before:gsub("\n", "")
      local _, recorded = rows:gsub("|returned|", "")
      -- The script has taken one at the most. Each worker has room for one, and may be about to put the next.
      assert.truthy(recorded >= 2 and ran - recorded <= 2, before .. rows)
      for task in rows:gmatch "(%d+)|returned" do assert.is_nil(("\n" .. again):find("\n" .. task .. "\n", 1, true)) end
    end)

    it("has rows of tasks that were spawned, while the script is away", function()
      local before, rows, again, result = killed_and_resumed { BODY = "spawn", TASKS = "60" }
      local spawned = select(2, before:gsub("%.", ""))
      assert.truthy(spawned > 0)
      assert.equal(spawned, select(2, rows:gsub("450359962737%d+|returned", "")))
      for name in again:gmatch "[^\n]+" do assert.is_nil(("\n" .. before):find("\n" .. name .. "\n", 1, true)) end
      assert.equal("80\n", result.stdout, result.stderr)
    end)
  end, { "threads", "process" })

  helper.for_each_engine(function(engine)
    it("has the same rows whether the script was away or not, of results of all kinds", function()
      helper.write(directory .. "/kinds.lua", [[
        local parlua = require "parlua"
        local Class = {}
        Class.__index = Class
        local results = {
          function() return 1.5 end, function() return "two" end, function() end, function() return nil end,
          function() return { a = "x" } end, function() return { 1, { 2, { 3 } } } end,
          function() return 1, "second", nil end, function() return setmetatable({ 7 }, Class) end,
          function() return print end, function() error("nine", 0) end, function() return -0.0 end,
          function() return false end, function() return parlua.array("double", { 1, 2 }) end,
          function() return { parlua.array("double", { 3 }), Class } end, function() return ("x"):rep(300000) end,
          function() return 0 / 0 end, function() return "last" end,
        }
        local function f(i) return results[(i - 1) % #results + 1]() end
        local k = 0
        local function pulled() k = k + 1 if k <= 34 then return k, { k, text = "t" .. k } end end
        local call, source = os.getenv "CALL", os.getenv "SOURCE" == "pulled" and pulled or parlua.range(34)
        local options = { chunk = 2, workers = 2, journal = "run.db", force = true, warn = false }
        local function be_away() if os.getenv "AWAY" then os.execute "sleep 0.25" end end
        if call == "each" then
          options.on_error = be_away
          parlua.each(f, source, options)
        else
          for i in parlua.imap(f, source, options) do
            if i % 12 == 1 then be_away() end
          end
        end]])
      for _, kind in ipairs { "imap range", "imap pulled", "each range" } do
        local call, source = kind:match "(%S+) (%S+)"
        local rows = {}
        for k, away in ipairs { false, "1" } do
          local result = run(engine, { CALL = call, SOURCE = source, AWAY = away or nil }, "kinds.lua")
          assert.equal(0, result.status, result.stderr)
          rows[k] = sql "select task, hash, arguments, status, substr(result, 1, 40), hex(value), kind, message, attempts from tasks"
        end
        assert.truthy(select(2, rows[1]:gsub("\n", "")) >= 30)
        assert.equal(rows[1], rows[2])
      end
    end)

    it("has no row of a task without those of what it has spawned", function()
      helper.write(directory .. "/tree.lua", [[
        local parlua = require "parlua"
        local function visit(name, depth)
          if depth < 3 then
            parlua.spawn(visit, name .. "a", depth + 1)
            parlua.spawn(visit, name .. "b", depth + 1)
          end
          return name
        end
        local names, is_first = {}, not os.getenv "RESUME"
        local options = { chunk = 1, workers = 2, journal = "run.db", resume = not is_first or nil }
        for _, name in parlua.imap(function(name) return visit(name, 1) end, { "x", "y", "z" }, options) do
          if is_first then os.execute "sleep 0.4; kill -9 $PPID" end
          names[#names + 1] = name
        end
        print(table.concat(names, " "))]])
      run(engine, {}, "tree.lua")
      local result = run(engine, { RESUME = "1" }, "tree.lua")
      assert.equal("x y z xa xb ya yb za zb xaa xab xba xbb yaa yab yba ybb zaa zab zba zbb\n", result.stdout, result.stderr)
    end)
  end)
end)
