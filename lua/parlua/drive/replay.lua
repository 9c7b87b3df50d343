--- A driver around another one, which gives the outcomes that a journal has recorded, each in its place, and leaves the
--- rest to the other.
local Driver = require "parlua.drive.driver"
local block = require "parlua.wire.block"
local new_table = require "table.new"

local PAGE = 1000 -- recorded tasks that are given at once

---@class parlua.Replay
---@field resumed integer tasks whose outcome came from the journal
local Replay = {}
Replay.__index = Replay

--- Opens it around `inner`. Tasks whose arguments workers make are known to be recorded or not; those of a feeder are
--- compared one by one as they are pulled.
local function open(inner, journal, feeder, keep)
  local self = setmetatable({
    inner = inner, handle = inner.handle, journal = journal, batch = Driver.new_batch(), resumed = 0,
      ceiling = math.huge, last = math.huge,
    is_sparse = block.is_sparse[keep], keep = keep, range = false, place = 0, polled = false, values = false,
  }, Replay)
  self.batch.recorded = true
  if not feeder then
    for _, range in ipairs(journal.done) do inner.handle:skip(range[1], range[2]) end
    if journal.done[1] then self.range, self.place = 1, journal.done[1][1] end
  end
  return self
end

--- Gives recorded tasks from..last, which all returned.
function Replay:give(receiver, from, last, records)
  local batch, values, several = self.batch, new_table(last - from + 1, 0), false
  for index = from, last do
    local record = records[index]
    values[index - from] = record.values[1]
    if record.n ~= 1 then
      several = several or {}
      record.values.n = record.n
      several[index - from] = record.values
    end
  end
  batch.first, batch.n, batch.tasks, batch.values, batch.several, batch.bytes = from, last - from + 1, last - from + 1,
    values, several, 0
  if self.keep == "none" then batch.values = false end
  receiver:take(batch)
end

--- The same where only some results are kept: those that are looked for.
function Replay:give_sparse(receiver, from, last, records)
  local place = from
  for index = from, last + 1 do
    local is_found = index <= last and records[index].values[1] ~= nil
    if is_found or index > last then
      local batch = self.batch
      batch.first, batch.n, batch.tasks, batch.values, batch.several = place, index - place, index - place, false, false
      if batch.n > 0 then receiver:take(batch) end
      place = index + 1
    end
    if is_found then self:give(receiver, index, index, records) end
  end
end

--- Gives recorded tasks first..last. `pulled`: the arguments of those that were pulled.
function Replay:deliver(receiver, first, last, pulled)
  local records, from = {}, nil
  self.pulled, self.pulled_from = pulled, first
  self.journal:read(first, last, function(index, record) records[index] = record end)
  for index = first, last + 1 do
    local record = records[index]
    local returned = record and record.status == "returned"
    if from and not returned then
      if self.is_sparse and self.keep ~= "none" then
        self:give_sparse(receiver, from, index - 1, records)
      else
        self:give(receiver, from, index - 1, records)
      end
      from = nil
    end
    if returned then from = from or index end
    if record and not returned then
      receiver:settle(index, { kind = record.kind, message = record.message, traceback = record.traceback,
        value = record.values[1],
                               seconds = record.seconds, host = record.host }, record.attempts, record.worker, true)
    end
  end
  self.resumed = self.resumed + last - first + 1
  self.pulled = nil
end

--- A feeder has pulled tasks from `first` on that are recorded.
function Replay:pass(receiver, first, tasks)
  self:deliver(receiver, first, first + #tasks - 1, tasks)
end

--- Gives the next recorded tasks. Every other time it leaves it to the workers' results. `all`: nothing else is left.
local function deliver_some(self, receiver, all)
  if not all then
    self.polled = not self.polled
    if self.polled or self.place > self.ceiling then return false end
  end
  local done = self.journal.done
  local range, first = done[self.range], self.place
  local last = math.min(range[2], first + PAGE - 1, self.last)
  if last < range[2] then
    self.place = last + 1
  else
    self.range = done[self.range + 1] and self.range + 1 or false
    self.place = self.range and done[self.range][1] or 0
  end
  if last >= first then self:deliver(receiver, first, last) end
  if self.place > self.last then self.range = false end
  return true
end

function Replay:step(receiver, wait)
  if self.range and deliver_some(self, receiver) then return true end
  local is_more_here = self.range and self.place <= self.ceiling
  if self.inner:step(receiver, is_more_here and 0 or wait) then return true end
  if not self.range or receiver.cancelled then return false end
  return deliver_some(self, receiver, true)
end

function Replay:arguments(index)
  if self.pulled then return self.pulled[index - self.pulled_from + 1] end
  return self.inner:arguments(index)
end

function Replay:place_of(index)
  if not self.pulled and self.inner.place_of then return self.inner:place_of(index) end
end

function Replay:raise_ceiling(last)
  self.ceiling = last
  self.inner:raise_ceiling(last)
end

function Replay:shorten(last)
  self.last = math.min(self.last, last)
  if self.place > self.last then self.range = false end
  self.inner:shorten(last)
end

function Replay:host(worker) return self.inner:host(worker) end
function Replay:cancel() self.inner:cancel() end
function Replay:abort(index) return self.inner:abort(index) end
function Replay:close() return self.inner:close() end

return { open = open }
