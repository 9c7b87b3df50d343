--- What is said when workers can't be started.
local host = require "parlua.host"
local engines = require "parlua.run.engine"
local failure = require "parlua.failure"
local report = require "parlua.report"

local M = {}

--- What limits workers, by errno.
local limits = {
  -- EAGAIN
  [11] = "more processes or threads are not allowed: see ulimit -u, and the limits of the cgroup and the batch system",
  [12] = "there is not enough memory: see ulimit -v", -- ENOMEM
  [23] = "the machine has no more descriptors for files", -- ENFILE
  [24] = "more files may not be open: see ulimit -n", -- EMFILE
  [10] = "they end as soon as they begin", -- ECHILD
  -- EDEADLK
  [35] = "a thread of this program is in a task, and a process forked meanwhile could wait for ever for what it holds",
  [110] = "their set-up takes longer than the time limit (option timeout) and than 10 s", -- ETIMEDOUT
  [112] = "the ranks that had workers are lost", -- EHOSTDOWN
}

local ENOEXEC, ECHILD, EBUSY = 8, 10, 16 -- the first: see M.refused

local function reason(errno) return limits[errno] or host.strerror(errno) end

local function with_place(refusal)
  return ("%s (on rank %d, host %s)"):format(refusal.message, refusal.rank, refusal.host)
end

--- Notes that a worker can't do the job, for want of a file, say. Its rank takes no part in the run then, and others do
--- its tasks. Returns the error with which the run is to end instead. So it does where rank 0, which has the script,
--- lacks something, and where each worker is to call a function.
---@return string? message
function M.refused(run, worker, message)
  local where, rank = run.driver:host(worker)
  if rank == 0 then return message end
  local refusal = { rank = rank, host = where, message = message }
  if run.everywhere then return with_place(refusal) end
  run.refusals = run.refusals or {}
  table.insert(run.refusals, refusal)
  return nil
end

--- The error of a run that has no worker at all. `ended`: how the last one ended that could not begin.
function M.no_workers(run, errno, ended)
  local engine, why = run.engine_name, reason(errno)
  local refusal = run.refusals and run.refusals[1]
  if refusal then return with_place(refusal) end
  if errno == ECHILD then
    why = ("%s (%s)%s"):format(why, failure.status_text(ended), run.options.setup and ": see the option setup" or "")
  end
  if errno == EBUSY then
    why = "too many tasks are over their time limit and cannot be stopped in threads; use " .. engines.killing_engines()
  end
  return ("the %s engine cannot start workers: %s"):format(engine, why)
end

local told = {} -- by engine, workers and reason: what was said once is not said at every call

--- Some workers could not be started, and the run went on without them.
function M.tell_lacking(run, lacking, errno)
  for _, refusal in ipairs(not run.broken and run.refusals or {}) do
    local what = ("rank %d on %s leaves its tasks to others: %s\n"):format(refusal.rank, refusal.host, refusal.message)
    if not told[what] then report.print("stderr", "parlua: " .. what) end
    told[what] = true
  end
  if errno == ENOEXEC then return end
  local what = ("%d workers of the %s engine could be started: %s"):format(run.workers, run.engine_name, reason(errno))
  if not told[what] then report.print("stderr", ("parlua: only %d of %s\n"):format(run.workers - lacking, what)) end
  told[what] = true
end

return M
