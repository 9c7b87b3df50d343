--- Pulls tasks one after the other for a run with a journal: hashes their arguments, and passes over those that are
--- recorded.
local common = require "parlua.common"
local hash = require "parlua.hash"
local record = require "parlua.journal.record"
local supply = require "parlua.feed.supply"

local M = {}

local MOST_PASSED = 1000 -- recorded tasks that are passed over at once

--- A puller over a source. Of tasks that are recorded, `passed` has the arguments; see feed/feeder.lua. `refused`: why
--- the journal is one of another run.
---@param journal parlua.Journal
---@param force boolean tasks whose arguments differ run again
function M.open(source, journal, force)
  local inner = not source:is_indexed() and supply.open(source) or nil
  local read = supply.reader(source, inner, nil, nil, true)
  local from = source.is_numbered and 2 or 1 -- of a shard, the number in the whole comes first: it is no argument
  local index, held, ended = 0, nil, false
  local function pack(more, ...)
    if not more then return nil end
    if more == supply.UNREAD then return { n = 0, unread = (...) } end
    return common.pack(...)
  end
  local function next_task()
    if ended then return nil end
    local task = pack(read())
    if not task then ended = true end
    return task
  end
  local puller = { pulled = 0, waits_for = inner and inner.stream }
  --- Is this the recorded task of that number?
  local function is_recorded(task)
    if task.unread then return false end -- nothing is recorded of it: the file may be whole the next time
    if not journal:is_done(index + 1) then return false end
    task.hash = task.hash or hash(unpack(task, from, task.n))
    local recorded = journal:recorded_hash(index + 1)
    if recorded == task.hash then return true end
    if not force then puller.refused = journal:refusal(("the arguments of task %d differ"):format(index + 1)) end
    return false
  end
  local function take(task)
    index = index + 1
    if task.unread then return end
    record.note(journal, index, task.hash or hash(unpack(task, from, task.n)), record.json_list(task, task.n, from))
  end
  function puller.fill(self, writer, want)
    local count, passed = 0, nil
    self.pulled, self.passed = 0, nil
    while count < want do
      local task = held or next_task()
      held = nil
      if not task then break end
      local recorded = is_recorded(task)
      if self.refused then return 0 end
      if recorded and count == 0 and (not passed or #passed < math.min(want, MOST_PASSED)) then
        passed = passed or {}
        index = index + 1
        passed[#passed + 1] = task
        self.passed = passed
      elseif recorded or passed then
        held = task
        break
      elseif task.unread and writer:unread(count, task.unread) == 1
        or not task.unread and writer:task(count, unpack(task, 1, task.n)) then
        take(task)
        count = count + 1
        self.pulled = count
        if writer.is_due and writer:is_due(count, want) then break end
      elseif count == 0 then
        writer:task_alone(task)
        take(task)
        return 1
      else
        held = task
        break
      end
    end
    return count
  end
  return puller
end

return M
