--- Tasks that tasks of a run have made (worker/spawn.lua). What a task spawned is handed out when it has returned. With
--- workers such tasks have numbers of their own, in the order in which they were handed out. The script sees others,
--- behind those of the source, which depend on no timing: first what tasks of the source have spawned, in the order of
--- these, then what those have, and so on; so their results are passed on when all of the generation before have ended.
--- Where no order is wanted they are passed on as they come.
local ffi = require "ffi"
local arrays = require "parlua.array.known"
local codec = require "parlua.codec"
local context = require "parlua.wire.context"
local prefix = require "parlua.run.prefix"
local task = require "parlua.task"

local FIRST = task.FIRST_SPAWNED
local MOST_BYTES = 2 ^ 40 -- of a call

---@class parlua.Spawned
---@field told table<integer, table[]> by task: the calls that it has spawned, as long as it has not returned
---@field open table<number, table> tasks that were handed out and have not ended, by their number with workers
---@field parents table<integer, integer> by index, as the script sees it
---@field records parlua.JournalSpawned|false what a journal has of them
local Spawned = {}
Spawned.__index = Spawned

---@param run parlua.Run
local function open(run)
  return setmetatable({ run = run, told = {}, open = {}, count = 0, generations = {}, parents = {}, numbered = 0,
    source_ended = run:done(), source_total = run.total, buffers = {}, is_ordered = run.sink.is_unordered ~= true,
    records = run.journal and run.journal:spawned() or false, recorded = { first = 1, last = 0, is_given = false },
    prefix = prefix.open(), deepest = math.huge }, Spawned)
end

--- The driver of the tasks themselves, behind what a journal knows.
local function driver_of(self) return self.run.driver.inner or self.run.driver end

-- ---- what tasks tell ----

--- The task `index` has spawned a call: { n, key, root, depth, f, arguments... }.
function Spawned:tell(index, call)
  local list = self.told[index]
  if not list then
    list = {}
    self.told[index] = list
    if self.records then self.records:hold(index) end
  end
  list[#list + 1] = call
end

local function pack_call(index, ...) return index, { n = select("#", ...), ... } end

local function decode(bytes) return pack_call(codec.decode(bytes)) end

--- Bytes of a worker, of which a call may be a part: its length, and then itself.
function Spawned:receive(worker, text)
  local bytes = (self.buffers[worker] or "") .. text
  local driver = driver_of(self)
  local length = ffi.new("double[1]")
  while #bytes >= 8 do
    ffi.copy(length, bytes, 8)
    local size = length[0]
    if not (size >= 1 and size <= MOST_BYTES and size % 1 == 0) then break end -- overwritten by a task
    if #bytes < 8 + size then break end
    context.use(driver.chain, driver.shares)
    local ok, index, call = pcall(decode, bytes:sub(9, 8 + size))
    if ok and type(index) == "number" and type(call[4]) == "function" then self:tell(index, call) end
    bytes = bytes:sub(9 + size)
  end
  self.buffers[worker] = bytes
  if self.records then self.records:go_on() end
end

--- A worker has ended: what it has told in part is forgotten.
function Spawned:end_worker(worker) self.buffers[worker] = nil end

--- A try of the task has failed: what it has spawned does not count.
function Spawned:forget(index)
  self.told[index] = nil
  if self.records then self.records:release(index) end
end

-- ---- numbers ----

local function generation_of(self, depth)
  local generation = self.generations[depth]
  if not generation then
    generation = { open = 0, failed = 0 }
    self.generations[depth] = generation
  end
  return generation
end

--- Passes on what has become of a task whose index is known. Behind the run's end it does not count.
local function pass_on(self, made)
  local run, index = self.run, made.index
  if index <= run.last then
    if self.is_ordered and index > run.reached then run.reached = index end
    if made.failure then
      made.failure.index, made.failure.parent = index, self.parents[index]
      run:conclude(made.failure, nil, true)
    else
      made.batch.first = index
      if run.limiter and self.is_ordered then run:end_at(run.limiter:ended(index, index)) end
      if index <= run.last then run.sink:take(made.batch) end
    end
  end
  if not self.is_ordered then return end
  self.prefix:add(index, index)
  if self.prefix.last >= run.last and not run.cancelled then run:cancel() end -- what else runs is behind the end
end

--- Gives a task the index by which the script knows it.
local function give_index(self, made)
  self.numbered = self.numbered + 1
  made.index = self.source_total and self.source_total + self.numbered or FIRST + self.numbered
  self.parents[made.index] = made.parent and made.parent.index or made.root
end

local function by_birth(a, b)
  local p, q = a.parent and a.parent.index or a.root, b.parent and b.parent.index or b.root
  if p ~= q then return p < q end
  return a.nth < b.nth
end

--- Gives indexes to the next generations, as long as all that could belong to them is known.
local function number_generations(self, is_over)
  while true do
    local depth = (self.last_numbered or 0) + 1
    local generation, before = self.generations[depth], self.generations[depth - 1]
    if not generation then return end
    local is_known = is_over
    if depth == 1 then
      is_known = is_known or self.source_total and self.source_ended >= self.source_total
    else
      is_known = is_known or before.open == 0
    end
    if not is_known then return end
    self.last_numbered = depth
    self.prefix.last = math.max(self.prefix.last, self.source_total or 0)
    table.sort(generation, by_birth)
    for _, made in ipairs(generation) do give_index(self, made) end
    for k, made in ipairs(generation) do
      generation[k] = false
      if made.is_ended then pass_on(self, made) end
    end
  end
end

-- ---- handing out ----

--- Which of tasks first..last have spawned others, in order.
local function tellers(self, first, last)
  local indexes = {}
  for index in pairs(self.told) do
    if index >= first and index <= last then indexes[#indexes + 1] = index end
  end
  table.sort(indexes)
  return indexes
end

--- What tasks first..last have spawned, by their number in order: the tasks, and their calls.
local function take_told(self, first, last)
  local indexes, lists = tellers(self, first, last), {}
  for k, index in ipairs(indexes) do
    lists[k] = self.told[index]
    self.told[index] = nil
  end
  return indexes, lists
end

--- A task that has been spawned.
local function add_made(self, parent, nth, number, call)
  local above = self.open[parent]
  local made = { call = call, root = above and above.root or parent, depth = (above and above.depth or 0) + 1,
    nth = nth, parent = above or false, index = false, is_ended = false, failure = false, batch = false,
    arrays = false, task = parent, number = number, known = false }
  self.open[number] = made
  local generation = generation_of(self, made.depth)
  generation.open = generation.open + 1
  if self.is_ordered then generation[#generation + 1] = made else give_index(self, made) end
  return made
end

--- Has tasks run. They are handed out together as far as their numbers follow one another.
local function push(self, list)
  local k = 1
  arrays.sent = false
  while k <= #list do
    local from, calls = list[k].number, {}
    repeat
      calls[#calls + 1] = list[k]
      k = k + 1
    until not list[k] or list[k].number ~= from + #calls
    driver_of(self):push_calls(from, calls)
  end
end

--- Gives what a journal has of a task.
local function give_recorded(self, made)
  local run, record = self.run, self.records:outcome(made.known)
  run.driver.resumed = run.driver.resumed + 1
  if record.status ~= "returned" then
    return run:settle(made.number, { kind = record.kind, message = record.message, traceback = record.traceback,
      value = record.values[1], seconds = record.seconds, host = record.host }, record.attempts, record.worker, true)
  end
  record.values.n = record.n
  run:take { first = made.number, n = 1, tasks = 1, numbers = false, recorded = true, bytes = 0, attempt = 1,
    values = run.sink.keep ~= "none" and { [0] = record.values[1] } or false,
    several = record.n ~= 1 and { [0] = record.values } or false, worker = 0, seconds = record.seconds or 0 }
end

--- Has tasks of the list run; those that a journal has are given. What these have spawned in turn waits for its turn:
--- a chain of them may be long.
local function begin(self, list)
  if self.run.total then self.run.total = self.run.total + #list end
  self.count = self.count + #list
  local to_run, recorded = {}, self.recorded
  for _, made in ipairs(list) do
    if made.known and made.known.is_ended then
      recorded.last = recorded.last + 1
      recorded[recorded.last] = made
    else
      if self.records then self.records:begin(made.number, made.call) end
      to_run[#to_run + 1] = made
    end
  end
  push(self, to_run)
  if recorded.is_given then return end
  recorded.is_given = true
  while recorded.first <= recorded.last do
    local made = recorded[recorded.first]
    recorded[recorded.first] = nil
    recorded.first = recorded.first + 1
    give_recorded(self, made)
  end
  recorded.is_given = false
end

--- Adds to the list what one task has spawned: calls, or what a journal has of them.
local function add_spawned(self, list, parent, items, recorded)
  for nth, item in ipairs(items) do
    local call, known = item, item.known or false
    if recorded then call, known = not item.is_ended and self.records:call(item), item end
    local made = add_made(self, parent, nth, item.number or FIRST + self.count + #list + 1, call)
    made.known = known
    list[#list + 1] = made
  end
end

--- Tasks first..last, of a generation, have returned: what they have spawned is handed out, unless it would be behind
--- the run's end.
---@param recorded boolean a journal has them
local function hand_out(self, first, last, recorded, depth)
  if recorded and not self.records or not recorded and next(self.told) == nil then return end
  if depth >= self.deepest then return take_told(self, first, last) end
  local list = {}
  if recorded then
    self.records:each_parent(first, last, function(parent)
      add_spawned(self, list, parent, self.records:take(parent), true)
    end)
  else
    local indexes, lists = take_told(self, first, last)
    for k, index in ipairs(indexes) do add_spawned(self, list, index, lists[k], false) end
  end
  begin(self, list)
end

--- A task of a generation has failed. The run may end at it: what later generations spawn is behind.
local function note_failed(self, depth)
  local run = self.run
  local most = run.limiter and not run.reaction and self.is_ordered and run.limiter:most_failures()
  if not most then return end
  generation_of(self, depth).failed = generation_of(self, depth).failed + 1
  local failed = 0
  for each = 0, math.min(depth, self.deepest) do
    failed = failed + generation_of(self, each).failed
    if failed >= most then
      self.deepest = each
      return
    end
  end
end

--- A task that was spawned has ended.
local function ended(self, id, made)
  made.is_ended, made.call = true, false
  self.open[id] = nil
  local generation = generation_of(self, made.depth)
  generation.open = generation.open - 1
  if made.index then pass_on(self, made) end
  number_generations(self)
end

-- ---- outcomes ----

--- Tasks first..last have returned, and are about to be recorded: what they have spawned is recorded before.
function Spawned:record(first, last)
  local records = self.records
  if not records then return end
  for _, index in ipairs(tellers(self, first, last)) do records:put(index, self.told[index]) end
  records:each_parent(first, last, function(parent) records:put(parent, {}) end)
end

--- Tasks of the source have returned.
---@param recorded boolean a journal has them
function Spawned:source_returned(first, last, count, recorded)
  self.source_ended = self.source_ended + count
  hand_out(self, first, last, recorded, 0)
  number_generations(self)
end

--- One of them has failed.
function Spawned:source_failed()
  self.source_ended = self.source_ended + 1
  note_failed(self, 0)
  number_generations(self)
end

--- The source is at its end, after so many tasks.
function Spawned:counted(n)
  self.source_total = n
  self.run.total = n + self.count
  number_generations(self)
end

--- Tasks that were spawned have returned.
---@param batch parlua.Batch
function Spawned:returned(batch)
  local values = batch.numbers or batch.values
  for j = 0, batch.n - 1 do
    local id = batch.first + j
    local made = self.open[id]
    if made then
      made.batch = { first = 0, n = 1, tasks = 1, numbers = false, values = values and { [0] = values[j] } or false,
        several = batch.several and batch.several[j] and { [0] = batch.several[j] } or false,
        second = batch.second and { [0] = batch.second[j] } or false, bytes = 64, attempt = batch.attempt,
        worker = batch.worker, seconds = batch.seconds, recorded = false, rows = batch.rows,
        first_task = false, last_task = false }
      if self.records and not batch.recorded then
        self:record(id, id)
        made.batch.first = id
        self.run.journal:take(made.batch, self.run)
      end
      hand_out(self, id, id, batch.recorded, made.depth)
      ended(self, id, made)
    end
  end
end

--- One that was spawned has failed for good.
function Spawned:failed(id, failure)
  local made = self.open[id]
  if not made then return end
  made.failure = failure
  if failure.kind ~= "cancelled" then note_failed(self, made.depth) end
  ended(self, id, made)
end

--- Do spawned tasks count? Not where the run ends at one of the source's.
function Spawned:counts()
  local last = self.run.last
  return last == math.huge or self.source_total ~= nil and last > self.source_total
end

--- The run ends at this task, one that was spawned: no other is begun.
function Spawned:end_at(last)
  self.deepest, self.run.total = -1, last
end

--- By the index of a spawned task that counts: that of the task which has spawned it.
---@return table<integer, integer>
function Spawned:parents_of()
  for index in pairs(self.parents) do
    if index > self.run.last then self.parents[index] = nil end
  end
  return self.parents
end

--- The arguments of such a task, with n.
function Spawned:arguments(id)
  local made = self.open[id]
  local call = made and (made.call or made.known and self.records:call(made.known))
  if not call then return { n = 0 } end
  return { n = call.n - 4, unpack(call, 5, call.n) }
end

--- The run is over: what was cut off leaves gaps in no generation.
function Spawned:flush() number_generations(self, true) end

return { open = open }
