--- The time that is left (option `deadline`): no task is handed out that, by the durations seen so far, would not end
--- in time. What runs is waited for; what still runs at the deadline itself is ended.
local exec = require "parlua.lazy" "parlua.exec"
local host = require "parlua.host"

local M = {}

local WINDOW = 100         -- durations that are kept
local SHARE = 0.95         -- so many of them are not longer than the estimate
local MOST_MARGIN = 60     -- seconds that are left to a batch job for its end
local MARGIN_SHARE = 0.05
-- So many estimates before the deadline, and at least so many seconds, each worker is given one task at a time.
local NEAR, NEAR_SECONDS = 20, 1

---@class parlua.Deadline
---@field at number host.now() then
---@field stopped? string why the run was ended
---@field is_expired boolean it has passed, and what ran was ended
local Deadline = {}
Deadline.__index = Deadline

--- When this program began, by host.now().
local function beginning()
  local file, uptime = io.open("/proc/self/stat"), io.open("/proc/uptime")
  local ticks = file and tonumber(file:read("*a"):match("%) %a" .. (" %S+"):rep(18) .. " (%d+)"))
  local since_boot = uptime and uptime:read("*n")
  if file then file:close() end
  if uptime then uptime:close() end
  return ticks and since_boot and host.now() - (since_boot - ticks / 100) or host.now()
end

--- "1-02:03:04", "02:03:04", "03:04" -> seconds.
local function parse_slurm(text)
  local days, rest = text:match "^%s*(%d+)%-(.*)$"
  local seconds = 0
  for number in (rest or text):gmatch "%d+" do seconds = seconds * 60 + tonumber(number) end
  if not (rest or text):find "%d" then return nil end
  return seconds + (tonumber(days) or 0) * 86400
end

--- Seconds that the batch job has left; raises when Slurm does not say.
local function slurm_seconds()
  local job, ends = os.getenv "SLURM_JOB_ID", tonumber(os.getenv "SLURM_JOB_END_TIME")
  if not job then error("the option deadline: 'slurm' is for jobs of Slurm, and this is none (no SLURM_JOB_ID)", 0) end
  if ends then return ends - os.time() end
  local ok, text = pcall(exec.exec, "squeue", "--noheader", "--jobs", job, "--format=%L", { timeout = 60 })
  local seconds = ok and parse_slurm(text)
  if not seconds then
    error(("the option deadline: squeue does not tell what job %s has left: %s"):format(job, tostring(text)), 0)
  end
  return seconds
end

local slurm_at

--- The deadline of a run.
---@param value number|"slurm" seconds since the program began; what the batch job has left
---@return parlua.Deadline
function M.open(value)
  local at
  if value == "slurm" then
    if not slurm_at then
      local left = slurm_seconds()
      slurm_at = host.now() + left - math.min(MOST_MARGIN, MARGIN_SHARE * left)
    end
    at = slurm_at
  else
    at = beginning() + value
  end
  return setmetatable({ at = at, durations = {}, count = 0, estimate = 0, is_stale = false, is_over = false,
    is_expired = false }, Deadline)
end

--- Tasks took so long, each.
function Deadline:note(seconds)
  if not (seconds > 0) then return end
  self.count = self.count + 1
  self.durations[(self.count - 1) % WINDOW + 1] = seconds
  self.is_stale = true
end

--- How long a task takes, nearly always.
local function estimate(self)
  if self.is_stale then
    local sorted = {}
    for k, seconds in ipairs(self.durations) do sorted[k] = seconds end
    table.sort(sorted)
    self.estimate, self.is_stale = sorted[math.ceil(SHARE * #sorted)], false
  end
  return self.estimate
end

--- Ends the run behind what was handed out.
local function stop(self, run)
  self.is_over = true
  local last = run.ceiling
  if run.fold then last = run.fold:last(run.fold:block_of(math.max(1, run.reached))) end
  run:end_at(last)
  if run.total and last >= run.total then return end -- the rest is under way
  self.stopped = "the time is up"
end

--- The last task that may be handed out now.
---@param run parlua.Run
---@param ahead integer as far as the sink is concerned
---@return integer
function Deadline:ceiling(run, ahead)
  local left = self.at - host.now()
  if left <= 0 and not self.is_expired then
    if not self.is_over then stop(self, run) end
    self.is_expired, self.stopped = true, "the time is up"
    if not run.cancelled then run:cancel() end
  end
  if self.is_over then return math.min(ahead, run.ceiling) end
  local each = estimate(self)
  if left > math.max(NEAR * each, NEAR_SECONDS) then return ahead end
  if each > left then
    stop(self, run)
    return math.min(ahead, run.ceiling)
  end
  return run.fold and ahead or math.min(ahead, run:done() + run.workers)
end

return M
