--- What a journal knows of tasks that tasks of the run have spawned. Each has a row of its own in the table `spawned`,
--- which is on the disk before that of the task which has spawned it: its number, its place among what that has
--- spawned, and the call. On resuming, a recorded task has spawned what stands there; one that runs again spawns anew,
--- and where it spawns the same as before, that keeps its number, and so what became of it.
local ffi = require "ffi"
local calls = require "parlua.journal.calls"
local files = require "parlua.journal.file"
local record = require "parlua.journal.record"
local hash = require "parlua.hash"
local task = require "parlua.task"
require "parlua.wire.header" "lua/ffi_journal.h"

local C = ffi.C
local column = files.column
local FIRST = task.FIRST_SPAWNED

---@class parlua.JournalSpawned
---@field last number how many numbers were given
local Spawned = {}
Spawned.__index = Spawned

local SELECT = "SELECT s.task, s.parent, s.nth, s.hash, t.status FROM spawned s LEFT JOIN tasks t "
  .. "ON t.run = s.run AND t.task = s.task WHERE s.run = ? AND length(s.call) > 0 ORDER BY s.parent, s.nth"

---@param journal parlua.Journal
local function open(journal)
  local self = setmetatable({ journal = journal, calls = calls.open(journal.f), old = {}, last = 0 }, Spawned)
  journal.left_out = {}
  if not journal.has_spawned then return self end
  journal.file:once(SELECT, function(statement)
    local number, parent, nth = column(statement, 0), column(statement, 1), column(statement, 2)
    local status = column(statement, 4)
    if status == "failed" and journal.retry_failed then status = nil end
    self.old[parent] = self.old[parent] or {}
    self.old[parent][nth] = { number = number, parent = parent, nth = nth, hash = column(statement, 3),
      is_ended = status ~= nil }
    self.last = math.max(self.last, number - FIRST)
  end, journal.run)
  for parent in pairs(self.old) do self:hold(parent) end
  return self
end

--- The row of a task that has spawned others comes behind those of these: until `put`, the lookout leaves it alone.
function Spawned:hold(parent)
  if self.journal.notes then C.lookout_hold(self.journal.notes, parent) end
end

--- It may put it, unless what the file has of such others is out of date.
function Spawned:release(parent)
  if self.journal.notes and not self.old[parent] then C.lookout_release(self.journal.notes, parent) end
end

--- All are held of which the script knows that they have spawned others.
function Spawned:go_on()
  if self.journal.notes then C.lookout_go_on(self.journal.notes) end
end

--- What a recorded task has spawned: { number, is_ended, ... } by their place. Asked once.
function Spawned:take(parent)
  local old = self.old[parent]
  self.old[parent] = nil
  self:release(parent)
  return old
end

--- Calls visit(parent) for recorded parents first..last.
function Spawned:each_parent(first, last, visit)
  if last - first < 4096 then
    for parent = first, last do
      if self.old[parent] then visit(parent) end
    end
    return
  end
  local parents = {}
  for parent in pairs(self.old) do
    if parent >= first and parent <= last then parents[#parents + 1] = parent end
  end
  for _, parent in ipairs(parents) do visit(parent) end
end

--- The call of one of them.
function Spawned:call(known)
  local bytes = self.journal.file:value("SELECT call FROM spawned WHERE run = ? AND parent = ? AND nth = ?",
    self.journal.run, known.parent, known.nth)
  local ok, call = pcall(self.calls.decode, self.calls, bytes)
  if ok then return call end
  error(self.journal:refusal(("%s (spawned by task %.0f)"):format(call, known.parent)), 0)
end

--- Records what a task has spawned, which is about to be recorded itself. Gives each call its `number`, and where it is
--- the same as before, `known`. What a file can't hold is left out, and so is the task: both run again on resuming.
---@param list table[] calls
function Spawned:put(parent, list)
  local old, left_out = self.old[parent] or {}, self.journal.left_out
  for nth, call in ipairs(list) do
    local bytes, sum = self.calls:encode(call)
    local known = old[nth]
    if bytes and known and known.hash == sum then
      call.number, call.known = known.number, known
    else
      self.last = self.last + 1
      call.number = FIRST + self.last
      if bytes then
        record.spawned(self.journal, call.number, parent, nth, sum, bytes)
      else
        left_out[parent], left_out[call.number] = true, true
      end
    end
  end
  for nth, known in pairs(old) do
    if nth > #list then record.spawned(self.journal, known.number, parent, nth, 0, "") end -- it does not count any more
  end
  self.old[parent] = nil
  self:release(parent)
end

--- Notes the arguments of a task that is to run.
function Spawned:begin(number, call)
  local args = { unpack(call, 5, call.n) }
  record.note(self.journal, number, hash(unpack(args, 1, call.n - 4)), record.json_list(args, call.n - 4),
    self.journal.left_out[number])
end

--- What became of one that has ended: status, values with n, or the fields of a failure (journal/init.lua).
function Spawned:outcome(known)
  local outcome
  self.journal:read(known.number, known.number, function(_, found) outcome = found end)
  return outcome
end

return { open = open }
