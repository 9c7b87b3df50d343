-- Kills processes of scripts at random moments while arrays are captured, made, returned, written, saved.
--
--   ./parlua spec/array_kills.lua [KILLS [SEED [ENGINES]]]        make kill-test KILLS=200 SEED=...
--
-- Each script goes through calls that use arrays in all ways. On `process` and `mpi` some of its workers are killed first: what the script
-- gets then is right or a failure, else it says so. At last its coordinator is killed, or under mpirun any process of the job but mpirun.
-- Afterwards there is no process of it, no name of ours in /dev/shm, nothing in its TMPDIR, and what tasks have saved is whole. Prints
-- figures and its seed; the status is 1 when something was wrong.

local helper = require "spec.helper"
local host = require "parlua.host"
local lfs = require "lfs"
local parlua = require "parlua"

local kills = tonumber(arg[1]) or 200
local seed = tonumber(arg[2]) or os.time() % 1000000
local engines = {}
for name in (arg[3] or (helper.has_mpi and "threads process mpi" or "threads process")):gmatch "%S+" do engines[#engines + 1] = name end

local PATIENCE = 60 -- seconds, until all that was killed has gone

local script = [[
local parlua = require "parlua"
local directory, engine = arg[1], arg[2]
local options = { workers = 2, warn = false, engine = engine }
local SMALL, LARGE, TASKS = 50, 40000, 12 -- elements; results of up to 128 kB are copied, larger ones are shared

local function complain(...)
  local file = io.open(directory .. "/wrong", "a")
  file:write(string.format(...), "\n")
  file:close()
end

-- Results that are right, or failures of workers that died.
local function look(what, results, failures, is_right)
  local failed = {}
  for _, failure in ipairs(failures) do
    failed[failure.index] = true
    if failure.kind ~= "crash" then complain("%s: task %d: %s: %s", what, failure.index, failure.kind, failure.message) end
  end
  for i = 1, TASKS do
    if not failed[i] and not is_right(results, i) then complain("%s: the result of task %d is wrong", what, i) end
  end
end

local numbers, written = parlua.array("double", TASKS, LARGE), parlua.array("double", TASKS, LARGE)
for i = 1, TASKS do numbers:slice(i):fill(i) end
local tasks, list = parlua.range(TASKS), {}
for i = 1, TASKS do list[i] = numbers:slice(i) end
local pool
local round = 0
while true do
  round = round + 1
  local size = round % 2 == 0 and SMALL or LARGE
  local function is_filled(results, i) return results[i].size == size and results[i][1] == i and results[i][size] == i end

  local results, failures = parlua.map(function(i) return parlua.array("double", size):fill(numbers:get(i, LARGE)) end, tasks, options)
  look("made", results, failures, is_filled)
  results, failures = parlua.map(function(x) return x:view({ 1, size }):copy() end, list, options)
  look("arguments", results, failures, is_filled)
  results, failures = parlua.map(function(i) return numbers:slice(i) end, tasks, { into = written, workers = 2, warn = false, engine = engine })
  look("into", results, failures, function(all, i) return all:get(i, 1) == i and all:get(i, LARGE) == i end)
  results, failures = parlua.map(function(i) return { i, round } end, tasks, { as = "array", workers = 2, warn = false, engine = engine })
  look("as", results, failures, function(all, i) return all:get(i, 1) == i and all:get(i, 2) == round end)
  if engine ~= "mpi" then
    failures = parlua.each(function(i) written:slice(i):fill(-round * i) end, tasks, options)
    look("written", written, failures, function(all, i) return all:get(i, 1) == -round * i and all:get(i, LARGE) == -round * i end)
  end
  failures = parlua.each(function(i) numbers:slice(i):save(("%s/saved/%d.npy"):format(directory, i)) end, tasks, options)
  look("saved", written, failures, function() return true end)
  pool = pool or parlua.pool { workers = 2, engine = engine, retries = 3 }
  results, failures = pool:map(function(x) return x:copy() end, list, { warn = false })
  size = LARGE
  look("pool", results, failures, is_filled)
  if round == 1 then io.open(directory .. "/begun", "w"):close() end
end
]]

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read "*a" or ""
  if file then file:close() end
  return text
end

--- The processes below one, in the order of their making.
local function below(pid, list)
  list = list or {}
  local path = ("/proc/%d/task"):format(pid)
  if not lfs.attributes(path) then return list end
  local ok, iterate, state = pcall(lfs.dir, path)
  for thread in ok and iterate or next, ok and state or {} do
    for child in read(path .. "/" .. thread .. "/children"):gmatch "%d+" do
      list[#list + 1] = tonumber(child)
      below(tonumber(child), list)
    end
  end
  return list
end

local function is_alive(pid) return lfs.attributes("/proc/" .. pid) ~= nil and not read(("/proc/%d/stat"):format(pid)):find "%) Z" end

local function kill(pid) os.execute(("kill -KILL %d 2> /dev/null"):format(pid)) end

--- What a script has left, in words; "": nothing.
local function left(directory)
  local list = {}
  for name in lfs.dir "/dev/shm" do
    if name:find "parlua" then list[#list + 1] = "/dev/shm/" .. name end
  end
  for name in lfs.dir(directory .. "/tmp") do
    if name ~= "." and name ~= ".." then list[#list + 1] = directory .. "/tmp/" .. name end
  end
  for name in lfs.dir "/proc" do
    if name:find "^%d+$" and is_alive(name) and read("/proc/" .. name .. "/environ"):find("TMPDIR=" .. directory .. "/tmp", 1, true) then
      list[#list + 1] = "process " .. name .. " (" .. read("/proc/" .. name .. "/cmdline"):gsub("%z", " ") .. ")"
    end
  end
  return table.concat(list, ", ")
end

--- What is wrong with the files that tasks have saved; nil: nothing. Who is killed between the two calls that give a whole file the name
--- of an old one leaves it under another: the next who saves there removes it.
local function damaged(directory)
  for name in lfs.dir(directory .. "/saved") do
    if name ~= "." and name ~= ".." then
      local number, rest = name:match "^(%d+)%.npy(.*)$"
      number = (rest == "" or tostring(rest):find "^%.%d+%.[^/]+%.tmp$") and tonumber(number)
      if not number then return "there is a file saved/" .. name end
      local ok, array = pcall(parlua.load, directory .. "/saved/" .. name)
      if not ok then return array end
      if array:min() ~= number or array:max() ~= number then return "elements of saved/" .. name .. " are wrong" end
      if rest ~= "" then array:save(("%s/saved/%d.npy"):format(directory, number)) end
      if rest ~= "" and lfs.attributes(directory .. "/saved/" .. name) then return "saved/" .. name .. " stays" end
    end
  end
end

local counts = { script = 0, worker = 0 }

--- Starts a script on an engine, kills some of it, at last the script. Returns what is wrong, or nil.
local function attack(engine, directory)
  for _, name in ipairs { "/tmp", "/saved" } do
    os.execute(("rm -rf '%s%s' && mkdir '%s%s'"):format(directory, name, directory, name))
  end
  os.remove(directory .. "/begun")
  os.remove(directory .. "/wrong")
  local command = ("%s %s/script.lua %s %s"):format(helper.quote(helper.parlua), directory, directory, engine)
  if engine == "mpi" then command = helper.mpirun(3) .. " " .. command end
  local pid = tonumber((helper.run(("TMPDIR=%s/tmp %s > %s/out 2>&1 & echo $!"):format(directory, command, directory)).stdout))
  local began = host.now()
  -- Else while it starts; but a job under mpirun has no arrays before, and a rank that dies then is Open MPI's business: now and then it
  -- forgets a directory of its own, or waits.
  if math.random(4) > 1 or engine == "mpi" then
    while not lfs.attributes(directory .. "/begun") do
      if not is_alive(pid) then return "the script has ended: " .. read(directory .. "/out") end
      if host.now() - began > PATIENCE then return "the script has not come through its first round" end
      host.sleep(0.005)
    end
    for _ = 1, engine == "process" and math.random(0, 3) or 0 do
      local workers = below(pid)
      if #workers > 0 then
        kill(workers[math.random(#workers)])
        counts.worker = counts.worker + 1
      end
      host.sleep(math.random() * 0.03)
    end
    if engine == "process" and not is_alive(pid) then return "the script has ended with its worker: " .. read(directory .. "/out") end
  end
  host.sleep(math.random() * 0.08)
  local victims = engine == "mpi" and below(pid) or {}
  if engine == "mpi" and #victims > 0 then
    kill(victims[math.random(#victims)]) -- a worker, a helper or a rank
    host.sleep(math.random() * 0.05)
    victims = below(pid)
    for _, victim in ipairs(victims) do -- and a rank, with which the job ends
      if read(("/proc/%d/comm"):format(victim)):find "^parlua" then
        kill(victim)
        break
      end
    end
  else
    kill(pid)
  end
  counts.script = counts.script + 1
  local deadline = host.now() + PATIENCE
  while (is_alive(pid) or left(directory) ~= "") and host.now() < deadline do host.sleep(0.01) end
  if is_alive(pid) then
    kill(pid)
    return "it has not ended, though a rank was killed"
  end
  local remains = left(directory)
  if remains ~= "" then return "left behind: " .. remains end
  local wrong = read(directory .. "/wrong")
  return wrong ~= "" and wrong or damaged(directory)
end

helper.with_directory(function(directory)
  helper.write(directory .. "/script.lua", script)
  for k = 1, kills do
    math.randomseed(seed + k)
    local engine = engines[(k - 1) % #engines + 1]
    local problem = attack(engine, directory)
    if problem then
      print(("array kills: %s, kill %d of seed %d: %s"):format(engine, k, seed, problem))
      os.exit(1)
    end
  end
end)
print(("array kills: all well: %d scripts and %d workers killed on %s, seed %d"):format(counts.script, counts.worker,
  table.concat(engines, ", "), seed))
