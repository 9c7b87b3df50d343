--- A driver that gives outcomes as it is told to: for specs of sinks and of what a run decides, without workers and
--- without time.
local Driver = require "parlua.drive.driver"

---@class parlua.Simulated
---@field calls string[] what was asked of the driver: "ceiling 10", "shorten 5", "cancel", "close"
local Simulated = {}
Simulated.__index = Simulated

--- Opens a driver that gives `script`, an outcome a step: {first, values...} (tasks that returned from `first` on), {
--- failed = index, record, attempt = }, { settled = index, record }, { signal = number }, { counted = n } or { broke =
--- message }.
---@param script table[]
---@return parlua.Simulated
local function open(script)
  return setmetatable({ script = script, at = 0, calls = {}, batch = Driver.new_batch(), last = math.huge }, Simulated)
end

local function give(self, receiver, outcome)
  local batch, values, n = self.batch, {}, table.maxn(outcome) - 1
  for j = 0, n - 1 do values[j] = outcome[j + 2] end
  batch.first, batch.n, batch.tasks, batch.values, batch.bytes = outcome[1], n, n, values, 8 * n
  receiver:take(batch)
end

--- Gives the next outcome. Returns false at the end, or once the run was cancelled.
function Simulated:step(receiver)
  self.at = self.at + 1
  local outcome = self.script[self.at]
  if not outcome or self.is_cancelled then return false end
  if outcome.failed then
    local delay = receiver:failed(outcome.failed, outcome[1], outcome.attempt or 1, 1)
    if delay then self.calls[#self.calls + 1] = ("again %d in %g"):format(outcome.failed, delay) end
  elseif outcome.settled then
    receiver:settle(outcome.settled, outcome[1], 1, 1)
  elseif outcome.signal then
    receiver:signalled(outcome.signal)
  elseif outcome.counted then
    receiver:counted(outcome.counted)
  elseif outcome.broke then
    receiver:broke(outcome.broke)
  else
    give(self, receiver, outcome)
  end
  return true
end

local function note(self, ...) self.calls[#self.calls + 1] = ("%s %s"):format(...):gsub(" $", "") end

function Simulated:arguments(index) return { n = 1, index } end -- luacheck: ignore 212
function Simulated:host() end
function Simulated:raise_ceiling(last) note(self, "ceiling", last) end
function Simulated:shorten(last) note(self, "shorten", last) end
function Simulated:abort(index) note(self, "abort", index) end

function Simulated:cancel()
  self.is_cancelled = true
  note(self, "cancel", "")
end

function Simulated:close()
  note(self, "close", "")
  return true
end

return { open = open }
