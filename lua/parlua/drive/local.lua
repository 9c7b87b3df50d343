--- Where the serial driver's run keeps values: in its own tables, as all is one state. A word of a block tells the
--- place. The outlet is what tasks return into, the writer what a source's arguments go to.
local ffi = require "ffi"
local block = require "parlua.wire.block"
local common = require "parlua.common"
local host = require "parlua.host"
local new_buffer = require("string.buffer").new
local own = require "parlua.source.own"

local M = {}

local C = ffi.C
local LOCAL, FAILURE = C.TAG_LOCAL, C.TAG_FAILURE
local copy = own.copy_result

M.MOST_TASKS = 32000 -- words of a block, some room left
local most_tasks = M.MOST_TASKS

--- An empty block of so many bytes, in a buffer's memory, which is not cleared: that would touch all of it.
---@param memory table string.buffer, to be kept as long as the block is used
function M.block(memory, size)
  local out = ffi.cast(block.pointer, (memory:reserve(size)))
  ffi.fill(out, C.BLOCK_HEAD)
  out.size, out.floor = size, size
  return out
end

--- Values in their own table in place of bytes in a block: a word tells the place.
function M.outlet(run)
  local outlet = {}

  function outlet.open(first, kind)
    local memory = table.remove(run.free) or new_buffer()
    local out = M.block(memory, C.BLOCK_BYTES)
    out.first, out.kind = first, kind
    outlet.block, outlet.memory = out, memory
    outlet.half = ffi.cast(block.halves, out.word)
    return out
  end

  function outlet.close(last, count)
    local out = outlet.block
    out.last, out.count = last, count
    run.reached = last
    run.ready[#run.ready + 1] = { block = out, memory = outlet.memory, from = 0, fresh = last - out.first + 1 }
  end

  local waiting -- the place of a value for which a sparse block had no room, and its tag

  --- Every value fits a dense block; a sparse one may be full of failures: then the next waits for `flush`.
  function outlet.put(k, i, tag, ...)
    local values = run.values
    local at = #values + 1
    if run.job.fold then
      if select("#", ...) == 1 then values[at] = (...) else values[at] = common.pack(...) end
    elseif select("#", ...) == 1 then
      values[at] = own.own_result((...))
    else
      values[at] = own.pack_results(...)
    end
    if outlet.block.kind == C.BLOCK_SPARSE then
      if k >= most_tasks / 2 then
        waiting = { at = at, tag = tag }
        return -1
      end
      outlet.block.word[2 * k] = i
      outlet.half[4 * k + 2], outlet.half[4 * k + 3] = at, tag
      return most_tasks
    end
    outlet.half[2 * k], outlet.half[2 * k + 1] = at, tag
    return most_tasks + 1
  end

  --- Puts the value that waits as the first of a new block, which stays open.
  function outlet.flush(i, kind)
    outlet.open(i, kind).word[0] = i
    outlet.half[2], outlet.half[3] = waiting.at, waiting.tag
    return true
  end

  --- One value of a dense block. A table is copied: the function may return the same one again and again.
  function outlet.store(k, _, v)
    if type(v) == "table" then v = copy(v) end
    local values, half = run.values, outlet.half
    local at = #values + 1
    values[at] = v
    half[2 * k], half[2 * k + 1] = at, LOCAL
    return most_tasks + 1
  end

  function outlet.fail(k, i, record)
    local now = host.now()
    record.seconds = now - run.lap
    run.lap = now
    if run.halts and run.halts(record.kind, run.attempt) then
      run.limit[0] = -1
      run.is_halted = true
    end
    return outlet.put(k, i, FAILURE, record)
  end

  return outlet
end

--- A writer of supplied tasks that keeps values as they are.
local Writer = {}
Writer.__index = Writer

function Writer:begin() self.run.arguments = {} end

function Writer:finish() end

function Writer:task(count, ...)
  if self.run.job.fold then -- a batch, whose tasks copy what they get
    self.run.arguments[count + 1] = { n = 1, (...) }
  else
    own.enter(self.run.own)
    self.run.arguments[count + 1] = own.pack(...) -- a generator may give the same table again and again
  end
  return count < most_tasks
end

--- A task that is to fail with this record.
function Writer:unread(count, record)
  self.run.arguments[count + 1] = { n = 0, unread = record }
  return 1
end

function Writer:task_alone(values) self.run.arguments[1] = values end

--- No worker waits for what is pulled.
function Writer.hurry() end

function M.writer(run) return setmetatable({ run = run }, Writer) end

return M
