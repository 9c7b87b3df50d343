--- What a recorded run amounts to: speed-up, where the time of its workers went, who was slow, what to advise.
local recorder_module = require "parlua.report.recorder"
local units = require "parlua.report.units"

local M = {}

local max, min = math.max, math.min

local FEW = 5 -- tasks: the mean of fewer tells nothing of their worker

local short = units.short_duration

--- The duration below which a share of the tasks lies, by the bins of the distribution.
---@param recorder parlua.Recorder
---@param share number
---@return number seconds 0: nothing is known
function M.quantile(recorder, share)
  local total, n = 0, recorder_module.MOST - recorder_module.LEAST
  for k = 0, n do total = total + recorder.durations[k] end
  if total == 0 then return 0 end
  local passed = 0
  for k = 0, n do
    local here = recorder.durations[k]
    passed = passed + here
    if here > 0 and passed >= share * total then
      local inside = 1 - (passed - share * total) / here
      return 10 ^ ((recorder_module.LEAST + k + inside) / 10)
    end
  end
  return 0
end

--- The run's workers. Those of a rank that gave up in the midst of it do not count in the summary, but had time and
--- tasks too.
local function count_workers(recorder)
  local seen = 0
  for _ in pairs(recorder.by_worker) do seen = seen + 1 end
  return max(recorder.workers, seen), seen
end

--- Of the workers' time in which they had no task: before their first, between tasks, after their last, and of those
--- that never had one.
local function idle_times(recorder, ended)
  local start, finish, between = 0, 0, 0
  for _, own in pairs(recorder.by_worker) do
    start = start + max(0, own.first - recorder.began)
    finish = finish + max(0, ended - own.last)
    between = between + max(0, own.last - own.first - own.busy)
  end
  local workers, seen = count_workers(recorder)
  local unused = (workers - seen) * (ended - recorder.began)
  return start, between, finish, unused
end

---@class parlua.Figures
---@field wall number seconds
---@field capacity number workers x wall
---@field speedup number
---@field efficiency number from 0 to 1
---@field parts { name: string, seconds: number }[] of the capacity

--- The figures of a run.
---@param recorder parlua.Recorder
---@param ended number
---@return parlua.Figures
function M.of(recorder, ended)
  local wall = max(ended - recorder.began, 1e-9)
  local capacity = wall * count_workers(recorder)
  local start, between, finish, unused = idle_times(recorder, ended)
  -- Between tasks workers wait for the coordinator; what it did meanwhile says for what.
  local spent = recorder.spent
  local source, sink = spent.source, spent.sink + spent.script
  local other = max(0, wall - source - sink)
  local whole = max(source + sink + other, 1e-9)
  local is_told = between > 0.02 * capacity
  local for_source = is_told and between * source / whole or 0
  local for_sink = is_told and between * sink / whole or 0
  local busy = min(recorder.busy, capacity)
  return {
    wall = wall, capacity = capacity, speedup = recorder.busy / wall, efficiency = min(1, recorder.busy / capacity),
    parts = {
      { name = "tasks", seconds = busy }, { name = "start", seconds = start },
      { name = "waiting for arguments", seconds = for_source },
      { name = "waiting for results to be taken", seconds = for_sink },
      { name = "waiting for the next chunk", seconds = max(0, between - for_source - for_sink) },
      { name = "end of the run", seconds = finish }, { name = "workers without a task", seconds = unused },
    },
  }
end

---@class parlua.Straggler
---@field worker integer
---@field each number seconds a task
---@field times number of the others' median

--- Workers whose tasks took much longer than the others'.
---@param recorder parlua.Recorder
---@return parlua.Straggler[]
function M.stragglers(recorder)
  local means, list = {}, {}
  for _, own in pairs(recorder.by_worker) do
    if own.tasks >= FEW then means[#means + 1] = own.busy / own.tasks end
  end
  if #means < 3 then return list end
  table.sort(means)
  local median = means[math.floor((#means + 1) / 2)]
  for worker, own in pairs(recorder.by_worker) do
    local each = own.tasks >= FEW and own.busy / own.tasks or 0
    if median > 0 and each > 1.5 * median and own.busy > 0.1 * recorder.busy / #means then
      list[#list + 1] = { worker = worker, each = each, times = each / median }
    end
  end
  table.sort(list, function(a, b) return a.times > b.times end)
  return list
end

--- The part of the capacity by that name.
local function share_of(figures, name)
  for _, part in ipairs(figures.parts) do
    if part.name == name then return part.seconds / figures.capacity end
  end
end

--- What the figures call for, in sentences.
---@param recorder parlua.Recorder
---@param figures parlua.Figures
---@param stragglers parlua.Straggler[]
---@return string[]
function M.advice(recorder, figures, stragglers)
  local list = {}
  local function say(...) list[#list + 1] = (...):format(select(2, ...)) end
  local each = recorder.tasks > 0 and recorder.busy / recorder.tasks or 0
  local slowest = recorder.slow[1]
  local many = recorder.workers > 1 and recorder.tasks > 1
  if many and slowest and slowest.first == slowest.last and slowest.seconds > 0.45 * figures.wall
    and slowest.seconds > 3 * each then
    say("Task %.0f alone took %s of %s: no number of workers makes the run shorter than that. Cut it into smaller "
      .. "tasks, or put it first.", slowest.first, short(slowest.seconds), short(figures.wall))
  end
  if share_of(figures, "waiting for arguments") > 0.2 then
    say("Workers waited for arguments %.0f%% of the time: the source is slower than they are. Let tasks make their own "
      .. "data (from a number, or the name of a file), or use a source that workers cut up, such as parlua.lines.",
      100 * share_of(figures, "waiting for arguments"))
  end
  if share_of(figures, "waiting for results to be taken") > 0.2 then
    say("Workers waited %.0f%% of the time for the script to take results: the loop over imap, or what is done with "
      .. "each result, is the slowest part. Do more of it in the tasks, or fold results with parlua.reduce.",
      100 * share_of(figures, "waiting for results to be taken"))
  end
  if many and each > 0 and each < 20e-6 and share_of(figures, "waiting for the next chunk") > 0.3 then
    say("A task takes %s, which is little beside handing it out and taking its result. Give each task more to do%s.",
      short(each), recorder.spent.source > 0 and ", or use a source that costs nothing to send, such as parlua.range"
      or ", or fold results with parlua.reduce")
  end
  if many and share_of(figures, "end of the run") > 0.25 then
    say("At the end workers were idle for %.0f%% of the time, waiting for the last tasks. Put long tasks first, or cut "
      .. "them into smaller ones.", 100 * share_of(figures, "end of the run"))
  end
  if share_of(figures, "start") > 0.3 then
    say("%.0f%% of the time went by before workers had their first task: the run is short, or set-up is long. A pool "
      .. "(parlua.pool) keeps workers from call to call.", 100 * share_of(figures, "start"))
  end
  if share_of(figures, "workers without a task") > 0.3 then
    say("%.0f%% of the workers' time was that of workers which got no task: there were fewer tasks, or chunks, than "
      .. "workers.", 100 * share_of(figures, "workers without a task"))
  end
  if stragglers[1] then
    say("Worker %.0f took %.1f times as long for a task as the others do at the median: look at its host, and at which "
      .. "tasks it had.", stragglers[1].worker, stragglers[1].times)
  end
  if recorder.failed > 0 and recorder.tasks > 0 and recorder.failed / recorder.tasks > 0.05 then
    say("%.0f of %.0f tasks failed: the table of failures has the first of each kind, with its traceback.",
      recorder.failed, recorder.tasks)
  end
  return list
end

return M
