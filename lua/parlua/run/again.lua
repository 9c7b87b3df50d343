--- The job that an engine's warm workers have: a call whose function, options and source are those of the call before,
--- and whose captured values have not changed since, sends nothing and encodes nothing.
--
-- That nothing has changed is seen in the memory of all that the job's message was made of (src/lua/codec/watch.c:
-- upvalues, tables with their metatables and sizes, environments, C data): a script can change tables behind anybody's
-- back, and does not say so. Of what no look at memory can tell, as a buffer's content, nothing is kept. The script's
-- globals and modules are watched in the same way, by wire/world.lua.
--
-- What is kept would keep the script's values alive: so it is forgotten each time that the collector has come by, and
-- encoded anew in the next call. It begins with the second call that sends the same bytes: a single one pays nothing.
local codec = require "parlua.codec"
local common = require "parlua.common"
local indexed = require "parlua.source.indexed"

local M = {}

---@class parlua.Kept
---@field job parlua.Job
---@field before string the script's state, as the workers got it
---@field first userdata its books
---@field second userdata
---@field book userdata of the job's objects
---@field watch userdata

local kept = {} ---@type table<userdata, parlua.Kept> by engine (of host.engine)
local latest = false ---@type parlua.Job|false the job that was kept last
local is_guarded = false

local function forget_all() kept, latest, is_guarded = {}, false, false end

--- Are the descriptions of two sources the same, without tables that may have changed?
local function is_same_source(one, other)
  if one.kind ~= other.kind then return false end
  if one.kind == "values" then return one.raw == other.raw and one.is_few == other.is_few end
  if one.kind == "range" then
    return one.n == other.n and one.first == other.first and one.step == other.step
      and one.is_endless == other.is_endless
  end
  for key, value in next, one do
    if type(value) == "table" or other[key] ~= value then return false end
  end
  for key in next, other do
    if one[key] == nil then return false end
  end
  return true
end

local function is_plain(job)
  return not (job.fold or job.encodes or job.into or job.classes or job.is_sent or job.everywhere
    or job.source.kind == "calls")
end

--- The job that was kept last, if a run's would be made of the same: then it need not be made.
---@param run parlua.Run whose tasks are supplied
---@param keep string
---@param spawn_refusal? string
---@return parlua.Job?
function M.job_of(run, keep, spawn_refusal)
  local had, options = latest, run.options
  if had and had.f == run.f and had.keep == keep and had.setup == options.setup and had.stdin == options.stdin
    and had.spawn_refusal == spawn_refusal and had.log_level == options.log_level and had.tag == (options.tag or nil)
    and had.max_tasks == options.max_tasks and had.limits_memory == (options.memory and true or nil)
    and not (run.fold or run.encodes or run.is_pushed or run.everywhere)
    and had.source.kind == "values" and had.source.raw == run.source.raw and indexed.is_plain_list(run.source) then
    return had
  end
end

--- The book of a job that the workers have; nil: it is to be sent.
---@param engine userdata
---@param job parlua.Job
---@param state table the script's state: see wire/world.lua
---@return userdata?
function M.find(engine, job, state)
  local one = kept[engine]
  if not one then return nil end
  local had, chain = one.job, state.chain
  if had.f == job.f and had.keep == job.keep and had.setup == job.setup and one.before == state.before
    and one.first == chain[1] and one.second == chain[2] and had.stdin == job.stdin and had.tag == job.tag
    and had.log_level == job.log_level and had.spawn_refusal == job.spawn_refusal and had.max_tasks == job.max_tasks
    and had.limits_memory == job.limits_memory and is_plain(job)
    and is_same_source(had.source, job.source) and codec.is_unchanged(one.watch) then
    return one.book
  end
  kept[engine] = nil
end

--- The job was sent. Keeps it, if the same has been sent before (`is_again`) and nothing in it can change unseen;
--- returns whether its book is kept.
---@param book userdata
---@return boolean
function M.note(engine, job, state, book, is_again)
  kept[engine] = nil
  local watch = is_again and is_plain(job) and codec.watch(book, {}, true)
  if not watch then return false end
  kept[engine] = { job = job, before = state.before, first = state.chain[1], second = state.chain[2], book = book,
    watch = watch }
  latest = job
  if not is_guarded then
    is_guarded = true
    common.when_collected(forget_all) -- it is garbage at once
  end
  return true
end

return M
