--- Watches a run for its report (the options report and trace): what its driver, its source and its sink do. It puts
--- itself before methods of this one run, so a run without a report pays nothing.
local about = require "parlua.run.about"
local batches = require "parlua.feed.batches"
local host = require "parlua.host"
local pages = require "parlua.run.pages"
local recorder_module = require "parlua.report.recorder"
local task = require "parlua.task"
local value = require "parlua.lazy" "parlua.value"
local warning = require "parlua.run.warning"

local M = {}

local now = host.now
local max = math.max

local SAMPLE = 0.25           -- seconds between two looks at memory, at least,
local SAMPLES = 200           -- and at most so many in a run, about
local PAGE = 4096
local ARGUMENTS = { depth = 2, length = 6, bytes = 60, limit = 80 }
local LEAST_WAIT = 2e-5       -- seconds: shorter waits are not in a trace

local function resident(path)
  local file = io.open(path)
  if not file then return 0 end
  local pages_of = tonumber(file:read "*a":match "^%d+ (%d+)")
  file:close()
  return (pages_of or 0) * PAGE
end

--- Bytes of memory of this process, and of its children together.
local function memory()
  local children, pid = 0, host.pid()
  local file = io.open(("/proc/%d/task/%d/children"):format(pid, pid))
  local list = file and file:read "*a" or ""
  if file then file:close() end
  for child in list:gmatch "%d+" do children = children + resident("/proc/" .. child .. "/statm") end
  return resident "/proc/self/statm", children
end

--- Arguments in words.
local function in_words(args)
  local parts = {}
  for k = 1, math.min(args.n or #args, ARGUMENTS.length) do parts[k] = value.format(args[k], ARGUMENTS) end
  return table.concat(parts, ", ")
end

--- The arguments of a task in words, while the run is told of it.
local function describe(driver, index)
  local ok, text = pcall(function() return in_words(driver:arguments(index)) end)
  return ok and text or ""
end

--- Of a fold whose arguments are sent, workers keep only the value: the arguments of the first task of each block are
--- kept here until the block is done, by the index of the task.
local function keep_heads(feeder, fold)
  local heads = {}
  function feeder.puller.watched(block, batch) heads[fold:first(block)] = batches.arguments(batch, 1) end
  return heads
end

--- Calls a method, and adds the time that it takes to what the coordinator spent on `what`.
local function timed(object, name, what, recorder, trace)
  local method = object[name]
  if not method then return end
  local function finish(from, ...) -- no function is made a call: that would not compile
    local to = now()
    recorder.spent[what] = recorder.spent[what] + to - from
    if trace and to - from > LEAST_WAIT then trace:wait(what, from, to) end
    return ...
  end
  object[name] = function(...) return finish(now(), method(...)) end
end

--- Notes each chunk that the driver tells of.
local function watch_chunks(run, driver, recorder, trace)
  local next_look = 0
  local function look(at)
    if at < next_look then return end
    next_look = at + max(SAMPLE, (at - recorder.began) / SAMPLES)
    local own, children = memory()
    recorder:memory(own, children, at)
  end
  local results, lost, fold = driver.results, driver.lost, driver.fold
  -- Of a fold, the driver knows only arguments that the source makes of the index.
  local heads = fold and run.feeder and keep_heads(run.feeder, fold)
  local function describe_one(index)
    if not heads then return describe(driver, index) end
    return heads[index] and in_words(heads[index])
  end
  local function note(worker, first, last, seconds, at)
    local first_block, last_block = first, last
    if fold then first, last = fold:first(first), math.min(fold:last(last), run.total or math.huge) end
    recorder:chunk(worker, first, last, seconds, at, describe_one)
    if trace then trace:chunk(worker, run:host_of(worker), first, last, seconds, at) end
    for block = heads and first_block or 1, heads and last_block or 0 do heads[fold:first(block)] = nil end
  end
  if driver.on_end ~= nil then -- of the async engine, which tells of tasks one by one
    function driver.on_end(worker, index, seconds)
      local at = now()
      look(at)
      note(worker, index, index, max(0, seconds or 0), at)
    end
    return
  end
  local spent = recorder.spent
  --- To unpack results is the script's work, too, beside what the sink does with them.
  local function unpacked(from, sink_before, ...)
    local to = now()
    spent.sink = spent.sink + max(0, to - from - (spent.sink - sink_before))
    return ...
  end
  function driver.results(self, receiver, event)
    local at, fresh = now(), event.want
    look(at)
    if fresh > 0 then
      note(event.worker, event.last - fresh + 1, event.last, max(0, event.seconds) * fresh, at)
    end
    return unpacked(now(), spent.sink, results(self, receiver, event))
  end
  function driver.lost(self, receiver, event)
    if event.first ~= 0 and event.seconds > 0 and not fold then
      note(event.worker, event.first, event.first, event.seconds, now())
    end
    return lost(self, receiver, event)
  end
end

--- What the page tells of a run, once it has ended.
local function hosts_of(run, recorder)
  local seen, list = {}, {}
  for worker in pairs(recorder.by_worker) do
    local name = run:host_of(worker)
    if not seen[name] then
      seen[name] = true
      list[#list + 1] = name
    end
  end
  table.sort(list)
  if #list > 20 then list[21] = ("and %d more"):format(#list - 20) end
  return table.concat(list, ", ", 1, math.min(#list, 21))
end

--- Begins to watch a run that has just been opened.
---@param run parlua.Run
function M.attach(run)
  local options = run.options
  local recorder = recorder_module.new(run.began, run.workers)
  local trace = options.trace and pages.trace(options.trace, run.began)
  local told = about.of_run(run)
  told.place = warning.place()
  local driver = run.driver.inner or run.driver
  watch_chunks(run, driver, recorder, trace)
  timed(run.sink, "take", "sink", recorder, trace)
  if run.feeder then timed(run.feeder, "supply", "source", recorder, trace) end
  local settle, close, pause, resume = run.settle, run.close, run.pause, run.resume
  local left

  function run.settle(self, index, record, attempts, worker, recorded)
    settle(self, index, record, attempts, worker, recorded)
    local made = self.failures[#self.failures]
    if made and made.index == index and made.kind ~= "cancelled" then
      recorder:fail(made, now())
      if trace then trace:fail(math.max(1, worker or 1), self:host_of(worker or 0), made, now()) end
    end
  end

  function run.pause(self, is_loop)
    left = left or now()
    return pause(self, is_loop)
  end

  function run.resume(self)
    if left then
      recorder.spent.script = recorder.spent.script + now() - left
      if trace and now() - left > LEAST_WAIT then trace:wait("script", left, now()) end
      left = nil
    end
    return resume(self)
  end

  function run.close(self)
    if self.closed then return end
    local hosts, ended = {}, now()
    for worker in pairs(recorder.by_worker) do hosts[worker] = self:host_of(worker) end
    local host_names = hosts_of(self, recorder)
    recorder:memory(select(1, memory()), 0, max(recorder.began, ended)) -- of children that have not ended: seen before
    close(self)
    if host.pid() ~= told.pid then return end -- a forked copy
    local summary, at_end = self:summary(), about.of_end(self)
    told.workers, told.hosts = at_end.workers, host_names
    told.source, told.seed = about.source_of(self), self.seed and task.origin(self.seed, self.number)
    recorder.workers = math.max(1, summary.workers)
    if trace then
      trace:run("run at " .. told.place, recorder.began, ended)
      trace:settle()
    end
    if not options.report then return end
    pages.add(options.report, {
      recorder = recorder, ended = ended, about = told, wall_began = told.began,
      host_of = function(worker) return hosts[worker] or "" end,
      summary = { tasks = summary.tasks, failed = summary.failed, cancelled = summary.cancelled,
        resumed = summary.resumed and summary.resumed > 0 and summary.resumed or nil, outcome = at_end.outcome },
    })
  end
end

return M
