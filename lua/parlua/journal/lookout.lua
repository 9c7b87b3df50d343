--- Rows of tasks that end while the script is away: a thread puts them (src/lua/lookout.h), in a Lua state of its own,
--- by the same code as the script. It reads plain data only. What it can't read waits for the script: objects of
--- classes, functions, arrays. So do tasks that have spawned others, whose rows come before their own, and failures
--- that have tries left.
local ffi = require "ffi"
local codec = require "parlua.codec"
local block = require "parlua.wire.block"
local failure = require "parlua.failure"
local host = require "parlua.host"
local indexed = require "parlua.source.indexed"
local plain = require "parlua.journal.plain"
local recorder = require "parlua.journal.record"
local task = require "parlua.task"
require "parlua.wire.header" "run/glimpse.h"
require "parlua.wire.header" "lua/ffi_journal.h"

local M = {}

local C = ffi.C
local cast = ffi.cast
local FAILURE = C.TAG_FAILURE

-- ---- in the script ----

--- Has rows of a run written while the script is away, if its source can be made again in another state.
---@param journal parlua.Journal
---@param handle any of the driver; only one over workers can be looked at
---@param run parlua.Run
function M.open(journal, handle, run)
  if type(handle) ~= "userdata" then return end
  local what = codec.encode_data(journal.run, journal.make and run.source:plain() or false, run.retry_on, run.retries)
  if not what then return end
  journal.lookout = handle:look_out(journal.file.handle, what)
  journal.notes = journal.lookout and cast("struct lookout *", journal.lookout) or false
end

-- ---- in the lookout's state ----

---@class parlua.Lookout
---@field package lookout ffi.cdata* struct lookout *
---@field make? function a task's arguments from its index; nil: the script has noted them
local Lookout = {}
Lookout.__index = Lookout

local hash, json, length = ffi.new("double[1]"), ffi.new("const char *[1]"), ffi.new("uint32_t[1]")

--- Are the arguments of a task known? Of one that was pulled, the script has noted them, unless it has recorded it.
function Lookout:knows(index)
  if self.make and index < task.FIRST_SPAWNED then return true end
  if C.lookout_noted(self.lookout, index, hash, json, length) == 0 then return false end
  self.hashes[index] = hash[0]
  self.texts[index] = json[0] ~= nil and ffi.string(json[0], length[0]) or nil
  return true
end

--- Puts the row of one task.
function Lookout:put(index, value, several)
  local batch = self.batch
  batch.first, batch.values[0], batch.several = index, value, several and { [0] = several } or false
  if several then batch.values[0] = several[1] end
  recorder.take(self, batch, self)
end

--- Puts the row of a task that failed, if that was its last try. What an interruption may have ended is not recorded;
--- the script looks at that in the same way.
function Lookout:fail(index, record, glimpse)
  record = failure.sent(record)
  local has_tries = self.retry_on[record.kind] and glimpse.attempt <= self.retries
  if has_tries or host.signals_count() ~= self.signals or not self:knows(index) then return end
  record.index, record.attempts, record.worker, record.host = index, glimpse.attempt, glimpse.worker, self.host
  record.seconds = record.seconds or 0
  recorder.fail(self, record)
end

--- Where the words of tasks are, by index, in a block of pairs.
local function places(glimpse)
  local words, at = glimpse.block.word, {}
  for k = 0, glimpse.count - 1 do at[words[2 * k]] = 2 * k + 1 end
  return at
end

--- Puts rows of what a glimpse shows. Returns the last task that it has come to: the script may want to come back.
function Lookout:look(glimpse)
  local out, batch = glimpse.block, self.batch
  local half, first = cast(block.halves, out.word), out.first
  local pairs_at = out.kind == C.BLOCK_SPARSE and places(glimpse)
  batch.attempt, batch.worker = glimpse.attempt, glimpse.worker
  for index = glimpse.first, glimpse.last do
    if C.lookout_is_wanted(self.lookout) ~= 0 then return index - 1 end
    if C.lookout_holds(self.lookout, index) == 0 then
      local k = pairs_at and pairs_at[index] or not pairs_at and index - first
      local ok, value, several = true, nil, nil
      if k and half[2 * k + 1] == FAILURE then
        ok, value = pcall(plain.at, out, half[2 * k])
        if ok then self:fail(index, value, glimpse) end
      else
        if k then ok, value, several = pcall(plain.read, out, half, k) end
        if ok and self:knows(index) then self:put(index, value, several) end
      end
    end
  end
  return glimpse.last
end

--- The name of this host, where all workers are that are looked at.
function Lookout:host_of() return self.host end

--- Makes what reads glimpses.
---@param lookout lightuserdata
---@param journal lightuserdata
---@param what string as `open` has made it
---@return fun(glimpse: lightuserdata): number
function M.begin(lookout, journal, what)
  local number, source, retry_on, retries = plain.decode(what)
  local self = setmetatable({
    lookout = cast("struct lookout *", lookout), run = number, hashes = {}, texts = {}, host = host.hostname(),
    make = source and indexed.maker(source) or nil, retry_on = retry_on, retries = retries,
    signals = host.signals_count(),
    file = { handle = cast("struct journal *", journal), row = ffi.new("struct journal_row"),
      broken = function() return "the journal can't be written" end },
    batch = { n = 1, numbers = false, values = {}, several = false, attempt = 1, worker = 0, seconds = 0 },
  }, Lookout)
  return function(glimpse) return self:look(cast("struct glimpse *", glimpse)) end
end

return M
