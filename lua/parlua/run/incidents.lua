--- What a run does where something fails, is printed or takes its time: methods of a run (run/policy.lua), which most
--- small programs never call.
local ffi = require "ffi"
local common = require "parlua.common"
local failure = require "parlua.failure"
local host = require "parlua.host"
local lazy = require "parlua.lazy"
local log = lazy "parlua.worker.log"
local output = lazy "parlua.report.output"
local reaction = lazy "parlua.run.reaction"
local report = lazy "parlua.report"
local status = lazy "parlua.run.status"
local task = require "parlua.task"
local trouble = lazy "parlua.run.trouble"
require "parlua.wire.header" "lua/ffi_ask.h"

local C = ffi.C
local CALLS = 0 -- the stream of what tasks spawn
local FIRST_SPAWNED = task.FIRST_SPAWNED
local STALL = 2 -- seconds in which no task ended, after which it is told which runs for longest
local LOG = 3 -- the stream of what parlua.log writes

--- Adds them to the methods of runs.
---@param Run table
---@param interrupted fun(): string? the signal that ended a run of this program
---@param interruption fun(): string what is said of it
---@param note_interrupted fun(signal: string)
return function(Run, interrupted, interruption, note_interrupted)
  local hostname

  --- The name of the host that a worker is on.
  function Run:host_of(worker)
    hostname = hostname or host.hostname()
    if not self.engine or worker == 0 then return hostname end
    self.hosts = self.hosts or {}
    local name = self.hosts[worker] or self.driver:host(worker) or hostname
    self.hosts[worker] = name
    return name
  end

  --- A task failed for good. `recorded`: so says a journal; or it is no task of the source, and a journal has no place
  --- for it.
  ---@param record table kind, message, ...; args: else the driver tells
  function Run:settle(index, record, attempts, worker, recorded)
    record.index, record.attempts, record.worker = index, attempts, worker
    local is_spawned = index >= FIRST_SPAWNED
    local is_known = record.args
    record.args = is_known or is_spawned and self.spawned:arguments(index) or self.driver:arguments(index)
    record.host = record.host or self:host_of(worker)
    record.seconds = record.seconds or 0
    if self.deadline and not recorded then self.deadline:note(record.seconds) end
    if self.source.path and self.driver.place_of and not is_spawned and not is_known then
      local path, line = self.driver:place_of(index)
      if path then record.path, record.line = path, line end
    end
    local made = failure.new(record)
    if self.parts then self.parts[index] = nil end
    if not is_spawned then
      if index > self.reached then self.reached = index end
      return self:conclude(made, recorded)
    end
    if self.journal and not recorded and made.kind ~= "cancelled" then self.journal:fail(made) end
    if self.spawned:counts() then self.spawned:failed(index, made) end
  end

  --- Is the run to end after so many failures, as they come? So it is where no order of them is known.
  local function limits_as_they_come(run) return run.spawned and not run.spawned.is_ordered end

  --- A task has failed, and has its index: what follows from that.
  ---@param made parlua.Failure
  ---@param recorded? boolean as of Run:settle
  ---@param is_spawned? boolean
  function Run:conclude(made, recorded, is_spawned)
    local index, is_cut = made.index, made.kind == "cancelled"
    if self.limiter and self.limiter.is_over then return end
    if self.reaction and index <= self.last and not is_cut and reaction.replaces(self, made, recorded, is_spawned) then
      return
    end
    if is_cut then self.cut_tasks = self.cut_tasks + 1 else self.failed_tasks = self.failed_tasks + 1 end
    self.failures[#self.failures + 1] = made
    if self.journal and not recorded and not is_spawned and not made.is_unread and not is_cut then
      self.journal:fail(made)
    end
    -- the sink hands on what waits for this task's turn: it has to know the end before
    if self.limiter and not is_cut and not self.cancelled then
      if limits_as_they_come(self) then
        if self.limiter:failed_as_they_come(made, self.failed_tasks) then self:cancel() end
      else
        self:end_at(self.limiter:failed(index, made))
      end
    end
    if index <= self.last then self.sink:fail(made) end
    if self.spawned and not is_spawned then self.spawned:source_failed() end
    if self.report then self.report:failure(made) end
  end

  --- A task did not return. Answers with the seconds until its next try; nil: it has failed.
  function Run:failed(index, record, attempt, worker)
    if self.spawned then self.spawned:forget(index) end
    local is_cut = record.kind == "cancelled"
    -- a run inside of it was interrupted
    if interrupted() and self.engine_name == "serial" and record.message == interruption() then
      record, is_cut = { kind = "cancelled", message = "the run was cancelled", seconds = record.seconds }, true
    -- perhaps a program of the task's was ended: that is no failure of its own
    elseif not is_cut and self:is_interrupted() then
      record.message = "the run was interrupted: " .. record.message
      record.kind, is_cut = "cancelled", true
    end
    if not is_cut and not record.is_unread and self:may_retry(record.kind, attempt) then
      return failure.delay(self.options.backoff, self.options.seed or 0, index, attempt)
    end
    self:settle(index, record, attempt, worker)
  end

  --- What a failure of a task is to say of its arguments. To be asked while the sink takes the task's result.
  ---@return {args: table, path: string?, line: integer?}
  function Run:about(index)
    local told = { args = self.driver:arguments(index) }
    if self.source.path and self.driver.place_of then told.path, told.line = self.driver:place_of(index) end
    return told
  end

  --- A task returned what the sink can't take: that is its failure.
  ---@param told? table as of Run:about, where the result has waited
  function Run:refuse(index, message, told)
    self.returned_tasks = self.returned_tasks - 1
    if not told then
      local is_told = index >= self.told_first and index <= self.told_last and not self.fold
      told = (is_told or not self.feeder) and self:about(index) or { args = { n = 0 } }
    end
    self:settle(index, { kind = "error", message = tostring(message), args = told.args, path = told.path,
      line = told.line }, 1, 0, true)
  end

  --- The source raised: that is a failure of the task that it was to make.
  function Run:source_failed(record)
    self.total = self.total + 1
    self.source_error = record
    record.args = { n = 0 }
    self:settle(self.total, record, 1, 0, true)
  end

  --- The run is to end with an error. `worker`: the one that can't do the job; workers of other ranks may be able to.
  function Run:broke(message, worker)
    if worker and self.engine_name == "mpi" then
      message = trouble.refused(self, worker, message)
      if not message then return end
    end
    self.broken = message
    self:cancel()
  end

  --- What tasks printed.
  function Run:printed(worker, stream, text)
    if stream == CALLS then return self:all_spawned():receive(worker, text) end
    self.output = self.output or output.open(function(to, lines)
      if to ~= LOG then return report.print(to, lines) end
      if lines:find("\0", 1, true) then -- what parlua.progress tells
        lines = lines:gsub("%z(%S+) (%S+)\n", function(index, share)
          self:note_part(tonumber(index), tonumber(share))
          return ""
        end)
      end
      if lines ~= "" then log.write(lines, self.options.log) end
    end, self.options.tag)
    self.output:add(worker, stream, text)
  end

  --- How far a running task is.
  function Run:note_part(index, share)
    self.parts = self.parts or {}
    self.parts[index] = share
  end

  --- The task that has run for longest: index, seconds, worker; nil where that is not known.
  function Run:longest()
    local driver = self.driver.inner or self.driver
    if driver.longest then return driver:longest() end
  end

  function Run:signalled(number)
    self.signal = common.signal_name(number)
    note_interrupted(self.signal)
    self:cancel()
  end

  --- No worker can be started.
  function Run:troubled(errno, ended)
    local message = trouble.no_workers(self, errno, ended)
    if self:done() > 0 then -- what is done is kept
      self.stopped_engine = message
      return self:cancel()
    end
    self.broken_engine = true
    self:close()
    error(message, 0)
  end

  function Run:open_report(kind)
    self.report = report.open(kind)
    self.report:start { tasks = self.total, workers = self.workers, engine = self.engine_name }
    return self.report
  end

  --- Progress: at the first tick a bar is opened where one is wanted.
  function Run:tick()
    local reporter = self.report
    if reporter == nil then
      local kind = self.options.progress
      local shows_bar = kind == nil and not self.is_nested and report.is_terminal(2) and os.getenv("TERM") ~= "dumb"
      if kind == "bar" or shows_bar then
        reporter = self:open_report(kind or "bar")
      else
        self.report, reporter = false, false
      end
    end
    local asker = C.ask_taken()
    if asker ~= 0 and not self.is_nested then status.answer(self, asker) end
    local done, seconds = self:done(), host.now() - self.began
    local data = { done = done, failed = self.failed_tasks, tasks = self.total, seconds = seconds }
    if self.parts then
      local sum = 0
      for _, share in pairs(self.parts) do sum = sum + share end
      data.part = sum
    end
    if done ~= self.ticked then self.ticked, self.ticked_at = done, seconds end
    if seconds - self.ticked_at >= STALL then data.longest_task, data.longest_seconds = self:longest() end
    data.resumed = self.journal and self.driver.resumed or nil
    if reporter then reporter:progress(data) else report.publish("progress", data) end
  end
end
