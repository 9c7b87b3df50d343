--- The driver over workers: a run of dispatch (src/run/dispatch.h) on an engine.
local ffi = require "ffi"
local arrays = require "parlua.array.known"
local host = require "parlua.host"
local block = require "parlua.wire.block"
local Driver = require "parlua.drive.driver"
local blocks = require "parlua.lazy" "parlua.drive.blocks"
require "parlua.wire.header" "run/event.h"

local M = {}

local event_pointer = ffi.typeof("struct event *")

--- Opens a run on an engine. Returns the driver; or nil and a message: something of the job can't cross.
---@param job parlua.Job
---@param given table engine (of host.engine), total (tasks or blocks; -1: supplied), chunk (0: measured), timeout,
--- workers, state (of the script, see wire/world.lua, which a worker needs before it decodes the job; false: it has
--- it), book (empty, for the job's objects), chain, shares (see wire/context.lua), key (of the random streams), rows
--- (what agents need for those of a journal), source, feeder, is_sent (the job goes to the workers as a message, though
--- they are copies of this process), is_gathered (nobody sees a result before all have come), any_order
--- (so many tasks may be handed out in any order), has_job (the workers have the job: run/again.lua)
---@return parlua.Driver?
---@return string? message
---@return boolean? is_again the job's message is that of the engine's last one
function M.open(job, given)
  local state = given.state
  local handle, event, is_again = host.run(given.engine, not given.has_job and job, given.total, given.chunk,
    given.timeout or 0, given.workers, block.is_sparse[job.keep] or false, state and state.before or false, given.key,
    given.book, given.is_pushed or false, given.is_sent or false, job.fold and job.fold.group or given.joins and 1 or 0,
    given.rows or false, state and state.first or false, given.is_gathered or false, given.any_order or 0)
  arrays.sent = false -- the job holds them
  if not handle then return nil, event end
  return Driver.new({ handle = handle, event = ffi.cast(event_pointer, event), engine = given.engine,
    source = given.source,
                      feeder = given.feeder, timeout = given.timeout, fold = job.fold,
    chain = given.chain, shares = given.shares }, job.fold and blocks.Driver
                        or Driver), nil, is_again
end

return M
