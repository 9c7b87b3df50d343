--- The life of a worker: it receives jobs and chunks until it is told to stop. src/lua/worker.c calls it in the
--- worker's own state. How a chunk runs stands in worker/runner.lua.
local ffi = require "ffi"
local host = require "parlua.host"
local arrays = require "parlua.array.known"
local block = require "parlua.wire.block"
local codec = require "parlua.codec"
local context = require "parlua.wire.context"
local everywhere = require "parlua.lazy" "parlua.worker.everywhere"
local garbage = require "parlua.garbage"
local indexed = require "parlua.source.indexed"
local install = require "parlua.lazy" "parlua.wire.install"
local library = require "parlua.worker.library"
local outlet_over = require "parlua.worker.outlet"
local own = require "parlua.lazy" "parlua.source.own"
local runner_module = require "parlua.worker.runner"
local running = require "parlua.task"
local spawn = require "parlua.lazy" "parlua.worker.spawn"
local start = require "parlua.wire.start"
local wear = require "parlua.worker.wear"
require "parlua.wire.header" "lua/ffi_worker.h"

local LOG = 3 -- the stream of what parlua.log writes
local M = {}

local C = ffi.C
local cast = ffi.cast
local bytes_pointer, length_pointer = ffi.typeof "const char *", ffi.typeof "const uint64_t *"
local SPARSE, FAILURE = C.BLOCK_SPARSE, C.TAG_FAILURE

local MOST_COMPARED = 65536 -- bytes of a job

--- The bytes of the job in a message; nil where there are many.
local function bytes_of(message, half)
  local at = cast(bytes_pointer, message) + 8 * half[2]
  local length = tonumber(cast(length_pointer, at)[0])
  return length <= MOST_COMPARED and ffi.string(at + 8, length) or nil
end

--- The script's state as a whole: what a message ends with.
local function whole_of(message, half)
  local at = cast(bytes_pointer, message) + 8 * half[4]
  return ffi.string(at + 8, tonumber(cast(length_pointer, at)[0]))
end

local kept = {} -- of the job that was decoded last: its bytes, the book of the state, its own book

--- The job in a message, behind what is needed to decode it (src/lua/host.c). nil: it is the one that was decoded last,
--- with all that it refers to; since then the script has changed globals with plain values alone.
local function read_job(message, shares)
  local half = cast(block.halves, message.word)
  context.use(nil, false)
  local state, change, is_plain = install.apply(block.get(message, message.word, half, 0),
    function() return whole_of(message, half) end)
  local bytes = bytes_of(message, half)
  if bytes and is_plain and kept.bytes == bytes and kept.state == state then
    install.exchange(kept.globals)
    context.base = { state, change, kept.book }
    context.use(context.base, shares)
    return nil
  end
  kept = {}
  context.use({ state, change }, shares)
  local book = codec.book()
  arrays.is_captured = arrays.role == "distant"
  arrays.files = false -- those of jobs before may not be collected yet
  if arrays.begin_job then arrays.begin_job() end
  local ok, globals, job = pcall(install.bring_along, host.value, message, half[2], book)
  arrays.is_captured = false
  if not ok then error(globals, 0) end
  context.base = { state, change, book }
  context.use(context.base, shares)
  if not (job.setup or job.everywhere or arrays.begin_job) then
    kept = { bytes = bytes, state = state, book = book, globals = globals }
  end
  return job
end

local has_captured = false -- something is kept of what the last job had captured

--- Notes what the job's functions have captured, where tasks get copies.
local function look_at_captured(job)
  if job.fold or indexed.has_copies(job.source) then
    own.refresh(job.f, job.setup)
    has_captured = true
  elseif has_captured then
    own.enter(nil)
    has_captured = false
  end
end

--- Called when what follows has raised an error of parlua's own within a chunk whose first task was not begun: the run
--- ends with that. Else each of its tasks would cost some workers.
---@type fun(why: string)?
M.give_up = nil

--- Receives jobs and chunks until told to stop. `worker` comes from src/lua/worker.c (its `owns_process`: it is no
--- thread); `inherited` is the job of a forked worker.
function M.main(worker, inherited)
  local handle = cast("struct worker *", worker.pointer)
  local slot = C.worker_slot(handle)
  local outlet = outlet_over(worker, handle)
  local runner, trouble, present, has_everywhere, message
  running.is_worker = true
  arrays.role = inherited and "forked" or worker.owns_process and "distant" or "thread"

  local function load(job)
    local ok, result = pcall(function()
      library.set_stdin(job.stdin)
      library.set_aside(job.is_aside)
      local cell = runner_module.index_cell(slot, job)
      running.enter(cell, slot.id)
      running.log_level = running.log_levels[job.log_level or "info"]
      running.spawn_refusal = job.spawn_refusal or nil
      worker.tag(job.tag and cell or nil)
      look_at_captured(job)
      outlet.put_record = false
      runner_module.prepare(job)
      if job.everywhere then everywhere.call(job.everywhere) end
      return runner_module.open(job, slot, outlet)
    end)
    present, has_everywhere = job, has_everywhere or job.everywhere ~= nil
    if ok then runner, trouble = result, nil else runner, trouble, kept = nil, result, {} end
  end

  function running.progress_send(index, share) -- beside the log, where no line begins with a zero byte
    local note = ("\0%.0f %.4f\n"):format(index, share)
    C.worker_print(handle, LOG, note, #note)
  end
  function running.log_send(text) C.worker_print(handle, LOG, text, #text) end
  running.spawn_send = function(...) -- loaded by those that use it
    running.spawn_send = spawn.sender(handle, not worker.owns_process)
    return running.spawn_send(...)
  end
  --- Says instead of a result why the job can't be done; task 0 stands for the job.
  local function refuse(why)
    outlet.open(0, SPARSE)
    outlet.put(0, 0, FAILURE, { kind = "error", message = why })
    outlet.close(message.first - 1, 1, 1)
  end
  function M.give_up(why) refuse("parlua itself failed in a worker: " .. why) end

  running.owns_process = worker.owns_process
  running.is_thread = not worker.owns_process
  if inherited and inherited.is_sent then -- later ones come as this one does
    install.inherit()
  elseif inherited then
    context.base = inherited.chain
    context.use(inherited.chain, false)
    load(inherited)
  else
    start.globals.print = print -- a thread has its own
  end
  garbage.begin()
  while true do
    message = C.worker_receive(handle)
    if message.kind == C.BLOCK_STOP then return end
    if message.kind == C.BLOCK_JOB then
      local globals = has_everywhere and everywhere.globals()
      local ok, job = pcall(read_job, message, not worker.owns_process)
      if globals then everywhere.restore(globals) end
      if not ok then
        runner, trouble = nil, job
      elseif job then
        load(job)
      end
    elseif runner then
      runner(message, C.worker_limit(handle))
      garbage.tidy()
      if arrays.rest then arrays.rest() end
      if outlet.is_spent or wear.is_over(worker, present) then return end
    else
      refuse(tostring(trouble))
    end
  end
end

return M
