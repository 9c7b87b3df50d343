--- Where a worker puts results: into blocks of its slot.
local ffi = require "ffi"
local block = require "parlua.wire.block"
local context = require "parlua.wire.context"
local shape = require "parlua.lazy" "parlua.wire.shape"

local C = ffi.C
local cast = ffi.cast
local FALSE, TRUE, VALUE, FAILURE = C.TAG_FALSE, C.TAG_TRUE, C.TAG_VALUE, C.TAG_FAILURE
local HEAD = C.BLOCK_HEAD

--- How the results of one job are stored: in blocks of the worker's slot, of which one is open. `worker` has put and
--- flush (C).
---@param handle ffi.cdata* struct worker *
return function(worker, handle)
  -- is_spent: memory ran out, and what the tasks have kept would make the next ones fail too; the process is to be
  -- replaced
  -- put_record: of the job that runs (wire/shape.lua)
  -- has_blocks: results go into words of `block`; epoch: another number for each
  local outlet = { block = nil, half = nil, is_spent = false, put_record = false, epoch = 0, has_blocks = true }
  local put = worker.put

  function outlet.open(first, kind)
    outlet.block = C.worker_open(handle, first, kind)
    outlet.half = cast(block.halves, outlet.block.word)
    outlet.epoch = outlet.epoch + 1
    return outlet.block
  end

  function outlet.close(last, count, final) C.worker_close(handle, last, count, final) end

  --- The value that did not fit: into a new block (returns true, it stays open) or as one of its own.
  function outlet.flush(task, kind)
    local open = worker.flush(task, kind)
    if open then
      outlet.block = C.worker_current(handle)
      outlet.half = cast(block.halves, outlet.block.word)
      outlet.epoch = outlet.epoch + 1
    end
    return open
  end

  function outlet.put(k, i, tag, ...)
    local room, message = put(k, i, tag, ...)
    if room then return room end
    room, message = put(k, i, FAILURE, { kind = "unsendable", message = message })
    return room or error(message)
  end

  function outlet.store(k, i, v)
    if type(v) == "boolean" then
      outlet.half[2 * k + 1] = v and TRUE or FALSE
      return tonumber(outlet.block.floor - HEAD) / 8
    elseif type(v) == "string" then
      local room = block.put_string(outlet.block, outlet.half, k, v)
      if room then return room end
    elseif type(v) == "table" and context.current == context.base then -- else it may be a submitted call's own
      if outlet.base ~= context.base then outlet.put_record, outlet.base = shape.writer(context.base), context.base end
      local room = outlet.put_record(outlet.block, outlet.half, k, v, outlet.epoch)
      if room then return room end
    end
    return outlet.put(k, i, VALUE, v)
  end

  --- A failure's record: {kind, message, traceback, value, seconds}. A value that can't cross is left out.
  function outlet.fail(k, i, record)
    record.seconds = C.worker_lap(handle)
    outlet.is_spent = outlet.is_spent or worker.owns_process and record.kind == "memory"
    local room = put(k, i, FAILURE, record)
    if room then return room end
    record.value = nil
    return put(k, i, FAILURE, record)
  end

  return outlet
end
