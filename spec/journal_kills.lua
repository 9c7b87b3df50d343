-- Kills the coordinator with SIGKILL at random moments and resumes each time.
--
--   ./parlua spec/journal_kills.lua [KILLS [SEED]]        make kill-test KILLS=200 SEED=...
--
-- A run that comes to its end is compared with an undisturbed one, byte by byte, and the next kind of call begins with a new journal. After each
-- kill: no process of the run is left; the journal passes SQLite's integrity check; what was recorded before is there as it was; no task
-- that had been recorded ran again (each task appends its number to a file); of a job's output there is nothing. Prints figures and
-- its seed; the status is 1 when something was wrong.

local helper = require "spec.helper"
local host = require "parlua.host"
local lfs = require "lfs"

local kills = tonumber(arg[1]) or 200
local seed = tonumber(arg[2]) or os.time() % 1000000

local map_function = [[
local failed_once = {}
local function f(i, text)
  local file = assert(io.open(os.getenv("RAN"), "a"))
  file:write(i, "\n")
  file:close()
  local x = 0
  for k = 1, 3e5 do x = x + k % 3 end
  if i % 10 == 0 then error("ten " .. i, 0) end
  if i % 10 == 1 then return "a\0b" .. i .. (text or "") end
  if i % 10 == 2 then return { i, x = { i } } end
  if i % 10 == 3 then return nil end
  if i % 10 == 4 then return -0.0 end
  if i % 10 == 5 then return i % 20 == 5 end
  if i % 10 == 6 then return i, text or "second", nil end
  if i % 10 == 7 and require("parlua").task.attempt < 2 then error("once more", 0) end
  return math.random()
end
local function show(v)
  if type(v) == "table" then return "{" .. v[1] .. v.x[1] .. "}" end
  return type(v) == "number" and ("%.17g"):format(v) or (tostring(v):gsub("%z", "0"))
end
local parlua = require "parlua"
local n = 400
local list = {}
for i = 1, n do list[i] = i end
local function iterator()
  local i = 0
  return function()
    i = i + 1
    if i <= n then return i, "text " .. i end
  end
end
local options = { retries = 1 }
]]

local epilogue = [[
for _, failure in ipairs(failures) do
  print("failed", failure.index, failure.kind, failure.message, failure.args[1], failure.attempts)
end
]]

local calls = {
  { "map, a range", [[
    local results, failures = parlua.map(f, parlua.range(n), options)
    for i = 1, results.n do print(i, show(results[i])) end]] },
  { "map, an iterator", [[
    local results, failures = parlua.map(f, iterator(), options)
    for i = 1, results.n do print(i, show(results[i])) end]] },
  { "imap, a list", [[
    local step, stream = parlua.imap(f, list, options)
    for i, a, b in step, stream do print(i, show(a), show(b)) end
    local failures = stream.failures]] },
  { "reduce, in order", [[
    local value, failures = parlua.reduce(f, list, { init = "", step = function(all, v) return all .. show(v) end }, options)
    print(value)]] },
  { "reduce with merge", [[
    local reduction = { init = 0, step = function(a, v) return type(v) == "number" and a + v or a end, merge = function(a, b) return a + b end }
    local value, failures = parlua.reduce(f, parlua.range(n), reduction, options)
    print(("%.17g"):format(value))]] },
  { "each, then map", [[
    local first = parlua.each(f, parlua.range(n / 2), options)
    local results, failures = parlua.map(function(i) return f(i + n) end, parlua.range(n / 2), options)
    print(#first)
    for i = 1, results.n do print(i, show(results[i])) end]] },
  { "a job", [[
    return { map = f, arguments = parlua.range(n), options = { retries = 1, output = "out.jsonl" } }]], is_job = true },
}

local engines = { "process", "threads", "process", "serial" }

local state = seed

--- A number from 0 up to 1: the same run of them for the same seed.
local function random()
  state = (state * 1103515245 + 12345) % 2 ^ 31
  return math.floor(state / 2 ^ 8) / 2 ^ 23
end

local directory = helper.new_directory()
local mark = "JOURNAL_KILLS_" .. directory:gsub("%W", "_")
local count = { killed = 0, ended = 0, executed = 0 }
local longest_end = 0

local function fail(...)
  print(("journal_kills: seed %d, kill %d: %s"):format(seed, count.killed + count.ended, (...):format(select(2, ...))))
  print("what it left is in " .. directory)
  os.exit(1)
end

local function exists(name) return lfs.attributes(directory .. "/" .. name, "mode") ~= nil end

--- Processes of the run that are still there.
local function left_over()
  local found = 0
  for pid in lfs.dir("/proc") do
    local file = pid:find("^%d+$") and io.open("/proc/" .. pid .. "/environ", "rb")
    local text = file and file:read("*a")
    if file then file:close() end
    if text and text:find(mark, 1, true) then found = found + 1 end
  end
  return found
end

local function wait_for_end()
  local began = host.now()
  while left_over() > 0 do
    if host.now() - began > 20 then fail("%d processes outlive their coordinator by 20 s", left_over()) end
    host.sleep(0.002)
  end
  longest_end = math.max(longest_end, host.now() - began)
end

local function read_ran()
  local ran, total = {}, 0
  if not exists("ran") then return ran, total end
  for line in io.lines(directory .. "/ran") do
    ran[tonumber(line)] = (ran[tonumber(line)] or 0) + 1
    total = total + 1
  end
  os.remove(directory .. "/ran")
  return ran, total
end

--- Rows of the journal by the number that the task wrote.
local function recorded()
  local rows = {}
  if (lfs.attributes(directory .. "/run.db", "size") or 0) == 0 then return rows end
  local result = helper.run("sqlite3 run.db 'pragma integrity_check; select count(*) from sqlite_master'", { directory = directory })
  if not result.stdout:find("^ok\n") then fail("integrity check: %s%s", result.stdout, result.stderr) end
  if result.stdout == "ok\n0\n" then return rows end
  result = helper.run([[sqlite3 run.db "select run, task, hex(run || hash || status || quote(result) || quote(message)
    || attempts || worker || host) from tasks"]], { directory = directory })
  if result.status ~= 0 then fail("the journal can't be read: %s", result.stderr) end
  for run, task, row in result.stdout:gmatch("(%d+)|(%d+)|(%x*)\n") do rows[tonumber(task) + (run == "2" and 400 or 0)] = row end
  return rows
end

local function start(call, engine, arguments)
  return ("%s=1 RAN=ran exec %s --engine %s --workers 2 %s %s"):format(mark, helper.quote(helper.parlua), engine, arguments,
    call.is_job and "job.lua" or "script.lua")
end

--- What a run gives: standard output, or a job's file.
local function outcome(call, stdout)
  if not call.is_job then return stdout end
  return exists("out.jsonl") and helper.read(directory .. "/out.jsonl") or ""
end

local function clean()
  for _, name in ipairs { "run.db", "run.db-wal", "run.db-shm", "run.db-journal", "out.jsonl" } do os.remove(directory .. "/" .. name) end
end

--- One kind of call on one engine, until it has come to its end or enough was killed.
local function campaign(call, engine)
  helper.write(directory .. (call.is_job and "/job.lua" or "/script.lua"), map_function .. call[2] .. "\n" .. (call.is_job and "" or epilogue))
  clean()
  local began = host.now()
  local plain = helper.run(start(call, engine, ""), { directory = directory })
  local seconds = host.now() - began
  local expected = outcome(call, plain.stdout)
  if #expected < 100 and call[1] ~= "reduce with merge" then fail("the undisturbed run: %s%s", plain.stdout, plain.stderr) end
  read_ran()
  clean()
  local before = {}
  while true do
    local kill = ""
    if count.killed < kills then kill = ("sleep %.4f; kill -KILL $pid 2> kill.err;"):format(random() * 1.2 * seconds) end
    local result = helper.run(("(%s) & pid=$!; %s wait $pid 2> wait.err; echo $? > status"):format(
      start(call, engine, "--journal run.db --resume") .. " > out 2> err", kill), { directory = directory })
    local status = tonumber(helper.read(directory .. "/status"))
    if result.status ~= 0 then fail("the shell: %s", result.stderr) end
    wait_for_end()
    local ran, total = read_ran()
    count.executed = count.executed + total
    local now = recorded()
    for task in pairs(ran) do
      if before[task] then fail("%s, %s: task %d was recorded, and ran again", call[1], engine, task) end
    end
    for task, row in pairs(before) do
      if now[task] ~= row then fail("%s, %s: the record of task %d was %s, is %s", call[1], engine, task, row, tostring(now[task])) end
    end
    before = now
    if status == 137 then
      count.killed = count.killed + 1
      local text = call.is_job and outcome(call, "") or ""
      if text ~= "" and text ~= expected then fail("%s: an output that is not whole", call[1]) end
    else
      count.ended = count.ended + 1
      local text = outcome(call, helper.read(directory .. "/out"))
      if text ~= expected or status ~= plain.status then
        helper.write(directory .. "/expected", expected)
        fail("%s, %s: status %d, and the results are not those of an undisturbed run; standard error: %s", call[1], engine, status,
          helper.read(directory .. "/err"):sub(1, 2000))
      end
      return
    end
  end
end

local round = 0
while count.killed < kills do
  campaign(calls[round % #calls + 1], engines[round % #engines + 1])
  round = round + 1
end
print(("journal_kills: seed %d: %d kills, %d runs came to their end and gave the results of an undisturbed one, %d executions of tasks; the last "
  .. "process was gone %.3f s after its coordinator"):format(seed, count.killed, count.ended, count.executed, longest_end))
helper.remove(directory)
