--- When a worker is to make room for a new one: it has done `max_tasks` tasks, or holds much of its memory limit. It
--- ends after a chunk; what it was sent beyond is done by others.
local garbage = require "parlua.garbage"

local M = {}

local done = 0 -- tasks of this worker

--- The last task of a chunk that this worker is to do.
function M.last(job, first, last)
  if not job.max_tasks or job.fold then return last end
  return math.min(last, first + math.max(1, job.max_tasks - done) - 1)
end

--- Tasks first..last of the job have been done; they may be blocks of tasks.
function M.note(job, first, last, is_spawned)
  if not job.max_tasks or last < first then return end
  if job.fold and not is_spawned then first, last = job.fold:first(first), job.fold:last(last) end
  done = done + last - first + 1
end

--- Is this worker to end?
function M.is_over(worker, job)
  if job.max_tasks and done >= job.max_tasks then return true end
  if not job.limits_memory or not worker.has_grown() then return false end
  garbage.collect()
  return worker.has_grown()
end

return M
