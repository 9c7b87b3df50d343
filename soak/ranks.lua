-- Whole ranks that are killed or stopped while they work: ./parlua soak/ranks.lua [SECONDS [SEED]]. Jobs under `mpirun --enable-recovery`
-- (Open MPI) follow each other. In each, some tasks kill or stop the rank that they run in, at once or a little later. Every task must
-- have its result, unless two ranks were lost in it; the job must end well; nothing may be left behind.
local host = require "parlua.host"
local parlua = require "parlua"

local MARK = "SOAK_OF_RANKS"
local MOST_SECONDS_A_JOB = 100

local function quote(word) return "'" .. word:gsub("'", "'\\''") .. "'" end

-- ---- the script of a job ----

--- Runs in a task: the process of the rank that it runs in. The worker's parent is the rank's helper, whose parent is the rank.
local function rank_process()
  local function parent_of(process) return io.open("/proc/" .. process .. "/stat"):read("*a"):match("%) %a (%d+)") end
  return parent_of(parent_of("self"))
end

--- Harms the task's rank where the plan says so, once in all; not rank 0.
local function harm(plan, index)
  local deed = plan.deeds[index]
  local rank = deed and rank_process()
  if not deed or rank == plan.coordinator then return end
  if not os.rename(("%s/%d"):format(plan.directory, index), ("%s/%d.done"):format(plan.directory, index)) then return end
  if deed.stops then
    os.execute(("(kill -STOP %s; sleep %g; kill -CONT %s) >/dev/null 2>&1 &"):format(rank, deed.seconds, rank))
  elseif deed.seconds > 0 then
    os.execute(("(sleep %g; kill -KILL %s) >/dev/null 2>&1 &"):format(deed.seconds, rank))
  else
    os.execute("kill -KILL " .. rank)
  end
end

--- What is done with each task. `expect` gives the result of task i, from its argument.
local kinds = {
  numbers = { n = 3000, argument = function(i) return i end, expect = function(x) return x * 2 end },
  records = { n = 1000, argument = function(i) return { i, name = "n" .. i } end, expect = function(x) return x.name .. x[1] end },
  large = {
    n = 40,
    argument = function(i) return i .. (string.char(65 + i % 26)):rep(i % 7 == 0 and 20 or 1.2e6 + 1e5 * i) end,
    expect = function(x) return x .. "." end,
  },
  raises = {
    n = 600, argument = function(i) return i end, retries = 1,
    expect = function(x)
      if x % 5 == 0 and parlua.task.attempt == 1 then error("once", 0) end
      return -x
    end,
  },
}
local names = { "large", "numbers", "raises", "records" }

local function draw_plan(directory, n)
  local plan = { directory = directory, deeds = {}, seconds = math.random() * 2e-3, coordinator = tostring(host.pid()) }
  os.execute("rm -rf " .. quote(directory) .. " && mkdir " .. quote(directory))
  for _ = 1, math.random(0, 2) do
    local index = math.random(n)
    plan.deeds[index] = { stops = math.random() < 0.3, seconds = math.random() < 0.5 and 0 or math.random() * 0.05 }
    io.open(("%s/%d"):format(directory, index), "w"):close()
  end
  return plan
end

--- Results are what they must be; a task may fail only as a crash.
local function check_map(name, plan)
  local kind = kinds[name]
  local arguments, expect, n = {}, kind.expect, kind.n
  for i = 1, n do arguments[i] = kind.argument(i) end
  local results, failures = parlua.map(function(x)
    harm(plan, parlua.task.index)
    host.sleep(plan.seconds)
    return expect(x)
  end, arguments, { chunk = math.random() < 0.5 and math.random(1, 8) or nil, retries = kind.retries })
  local failed = {}
  for _, failure in ipairs(failures) do
    assert(failure.kind == "crash", ("%s: task %d failed: %s: %s"):format(name, failure.index, failure.kind, failure.message))
    failed[failure.index] = true
  end
  for i = 1, n do
    local wanted = name == "raises" and -arguments[i] or expect(arguments[i])
    assert(failed[i] or results[i] == wanted, ("%s: task %d has a wrong result"):format(name, i))
  end
  return #failures
end

local function check_reduction(plan)
  local n = 4000
  local value, failures = parlua.reduce(function(i)
    harm(plan, parlua.task.index)
    host.sleep(plan.seconds / 4)
    return i
  end, parlua.range(n), { init = 0, block = 4, step = function(sum, x) return sum + x end, merge = function(a, b) return a + b end })
  local missing = 0
  for _, failure in ipairs(failures) do
    assert(failure.kind == "crash", failure.message)
    missing = missing + failure.index
  end
  assert(value == n * (n + 1) / 2 - missing, "the sum is wrong")
  return #failures
end

local function run_job(seed, directory)
  math.randomseed(seed)
  local failed, calls = 0, math.random(3, 6)
  for _ = 1, calls do
    local name = names[math.random(#names + 1)]
    local plan = draw_plan(directory .. "/deeds", name and kinds[name].n or 4000)
    failed = failed + (name and check_map(name, plan) or check_reduction(plan))
  end
  print(("whole: %d calls, %d tasks failed"):format(calls, failed))
end

-- ---- one job after the other ----

local function output_of(command)
  local pipe = io.popen(command .. " 2>&1; echo status $?")
  local text = pipe:read("*a")
  pipe:close()
  return text
end

local function processes_left(mark)
  return output_of("grep -lsz " .. quote("^" .. MARK .. "=" .. mark .. "$") .. " /proc/[0-9]*/environ | wc -l"):match("%d+")
end

local function run_jobs(seconds, seed)
  local directory, ended = os.tmpname(), os.time() + seconds
  os.execute("rm -f " .. directory .. "; mkdir " .. directory)
  local jobs, lost, failed = 0, 0, 0
  local program = output_of(("readlink /proc/%d/exe"):format(host.pid())):match("[^\n]+")
  print("soak of ranks: seed " .. seed)
  while os.time() < ended do
    math.randomseed(seed)
    local ranks, fan = math.random(3, 7), math.random() < 0.3 and 2 or 256
    local environment = ("OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 PARLUA_MPI_FAN=%d %s=%d"):format(fan, MARK, seed)
    local text = output_of(("env %s timeout -s KILL %d mpirun -q --enable-recovery --oversubscribe --mca pml ob1 --mca btl self,vader "
      .. "-n %d %s %s job %d %s"):format(environment, MOST_SECONDS_A_JOB, ranks, quote(program), quote(arg[0]), seed, directory))
    local tasks = text:match("whole: %d+ calls, (%d+) tasks failed")
    local left = "0"
    for _ = 1, 50 do
      left = processes_left(seed)
      if left == "0" then break end
      host.sleep(0.1)
    end
    if not tasks or left ~= "0" then
      print(("seed %d, %d ranks, fan %d: not whole, or %s processes left:\n%s"):format(seed, ranks, fan, left, text))
      os.exit(1)
    end
    for _ in text:gmatch("is lost: its process has ended") do lost = lost + 1 end
    jobs, failed, seed = jobs + 1, failed + tonumber(tasks), seed + 1
  end
  os.execute("rm -rf " .. directory)
  print(("soak of ranks: %d jobs, %d ranks lost, %d tasks failed as two ranks were lost in them; nothing else"):format(jobs, lost, failed))
end

if arg[1] == "job" then
  run_job(tonumber(arg[2]), arg[3])
else
  run_jobs(tonumber(arg[1]) or 300, tonumber(arg[2]) or os.time() % 1000000)
end
