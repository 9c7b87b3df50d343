--- Records a run for its report: a fold over what its chunks tell. Its memory does not grow with the tasks: times go
--- into so many bins, which become twice as wide whenever the run has outgrown them; single chunks are kept as long as
--- there are few. A chunk costs about a microsecond (bench/report.lua).
local ffi = require "ffi"
local groups = require "parlua.report.groups"

local M = {}

local BINS = 480           -- of time
local FIRST_WIDTH = 0.005  -- seconds of a bin at first
local MOST_ROWS = 96       -- of the timeline: more workers share rows
local MOST_PIECES = 2000   -- chunks that are kept one by one
local MOST_SLOW = 10
local MOST_FAILURES = 20000 -- whose times are kept by kind; more are counted only
M.BINS = BINS
M.LEAST = -80              -- tenths of decades: the shortest duration that is told apart, 10 ns
M.MOST = 60                -- and the longest, 1e6 s

local doubles = ffi.typeof("double[?]")
local floor, log10, max, min = math.floor, math.log10, math.max, math.min

---@class parlua.Recorder
---@field began number when the run began, by the clock that all times are of
---@field width number seconds of a bin
---@field workers integer
---@field busy number seconds of work
---@field tasks integer
---@field by_worker table<integer, { busy: number, tasks: number, chunks: integer, first: number, last: number }>
---@field pieces? table[] { worker, from, to, first, last, failed }; nil: there were too many
---@field spent table<string, number> seconds of the coordinator: source, sink, script
local Recorder = {}
Recorder.__index = Recorder

---@param began number
---@param workers integer
---@return parlua.Recorder
function M.new(began, workers)
  local rows = max(1, min(workers, MOST_ROWS))
  local self = setmetatable({
    began = began, width = FIRST_WIDTH, workers = workers, rows = rows, busy = 0, tasks = 0, chunks = 0, last = began,
    by_worker = {}, pieces = {}, spent = { source = 0, sink = 0, script = 0 }, slow = {}, slow_least = 0, resumed = 0,
    bins_busy = doubles(rows * BINS), bins_tasks = doubles(BINS), bins_memory = doubles(BINS),
    bins_children = doubles(BINS), bins_failed = {}, durations = doubles(M.MOST - M.LEAST + 1), failed = 0,
    bins = BINS, groups = groups.new(), failures_kept = 0,
  }, Recorder)
  return self
end

--- The row of the timeline that a worker is in, from 0.
function Recorder:row_of(worker)
  if self.workers <= self.rows then return min(worker, self.rows) - 1 end
  return min(self.rows - 1, floor((worker - 1) * self.rows / self.workers))
end

--- Makes an array of bins fit bins of twice the width. `joined`: what becomes of two.
local function halve(array, offset, joined)
  for k = 0, BINS / 2 - 1 do array[offset + k] = joined(array[offset + 2 * k], array[offset + 2 * k + 1]) end
  for k = BINS / 2, BINS - 1 do array[offset + k] = 0 end
end

local function sum(a, b) return a + b end

local function widen(self)
  for row = 0, self.rows - 1 do halve(self.bins_busy, row * BINS, sum) end
  halve(self.bins_tasks, 0, sum)
  halve(self.bins_memory, 0, max)
  halve(self.bins_children, 0, max)
  for _, array in pairs(self.bins_failed) do halve(array, 0, sum) end
  self.width = 2 * self.width
end

--- The bin of a time.
function Recorder:bin(now)
  local k = floor((now - self.began) / self.width)
  while k >= BINS do
    widen(self)
    k = floor((now - self.began) / self.width)
  end
  return max(k, 0)
end

--- Spreads the seconds from..to over the bins of a worker's row.
local function spread(self, row, from, to)
  local last = self:bin(to) -- may widen the bins
  local first, width, array = self:bin(from), self.width, self.bins_busy
  local at = row * BINS
  if first == last then
    array[at + first] = array[at + first] + to - from
    return
  end
  array[at + first] = array[at + first] + self.began + (first + 1) * width - from
  for k = first + 1, last - 1 do array[at + k] = array[at + k] + width end
  array[at + last] = array[at + last] + to - (self.began + last * width)
end

--- A chunk, or a part of one, has ended.
---@param worker integer from 1
---@param first integer its tasks
---@param last integer
---@param seconds number that it took
---@param now number
---@param describe? fun(index: integer): string the arguments of a task in words
function Recorder:chunk(worker, first, last, seconds, now, describe)
  local tasks = last - first + 1
  if tasks <= 0 then return end
  local from = max(self.began, now - seconds)
  local own = self.by_worker[worker]
  if not own then
    own = { busy = 0, tasks = 0, chunks = 0, first = from, last = from }
    self.by_worker[worker] = own
  end
  own.busy, own.tasks, own.chunks, own.last = own.busy + seconds, own.tasks + tasks, own.chunks + 1, now
  self.busy, self.tasks, self.chunks = self.busy + seconds, self.tasks + tasks, self.chunks + 1
  if now > self.last then self.last = now end
  spread(self, self:row_of(worker), from, now)
  local bin = self:bin(now)
  self.bins_tasks[bin] = self.bins_tasks[bin] + tasks
  local each = seconds / tasks
  local tenth = each > 0 and max(M.LEAST, min(M.MOST, floor(10 * log10(each)))) or M.LEAST
  self.durations[tenth - M.LEAST] = self.durations[tenth - M.LEAST] + tasks
  local pieces = self.pieces
  if pieces then
    if #pieces < MOST_PIECES then pieces[#pieces + 1] = { worker, from, now, first, last } else self.pieces = nil end
  end
  if each > self.slow_least then self:note_slow(worker, first, last, each, describe) end
end

--- Keeps a chunk among the slowest, by the time of a task.
function Recorder:note_slow(worker, first, last, each, describe)
  local slow = self.slow
  local k = #slow
  while k > 0 and slow[k].seconds < each do k = k - 1 end
  table.insert(slow, k + 1, { worker = worker, first = first, last = last, seconds = each,
    arguments = describe and describe(first) })
  slow[MOST_SLOW + 1] = nil
  -- a little more is asked for than the last has: else each of ever longer tasks would come in
  if #slow == MOST_SLOW then self.slow_least = 1.02 * slow[MOST_SLOW].seconds end
end

--- A task has failed for good.
---@param failure { index: integer, kind: string, message: string, traceback: string? }
function Recorder:fail(failure, now)
  self.failed = self.failed + 1
  self.groups:add(failure.index, failure.kind, failure.message, failure.traceback)
  local array = self.bins_failed[failure.kind]
  if not array then
    array = doubles(BINS)
    self.bins_failed[failure.kind] = array
  end
  local bin = self:bin(now)
  array[bin] = array[bin] + 1
  local pieces = self.pieces
  if pieces and self.failures_kept < MOST_FAILURES then
    self.failures_kept = self.failures_kept + 1
    self.failed_tasks = self.failed_tasks or {}
    self.failed_tasks[failure.index] = true
  end
end

--- Memory in bytes that is in use now: of the coordinator, and of its children together.
function Recorder:memory(own, children, now)
  local bin = self:bin(now)
  self.bins_memory[bin] = max(self.bins_memory[bin], own)
  self.bins_children[bin] = max(self.bins_children[bin], children)
  self.has_memory = true
end

return M
