--- A job, ready to run chunks. For each job a loop is written and compiled: LuaJIT turns it, with the map function,
--- into one trace. One protected call stands around the whole chunk, not around each task: a loop in the map function
--- then stays on the trace (a protected call a task costs a third of the speed of a trial division by loop, measured).
--- When a task raises, the cell `current` tells which.
-- 0.7 ns a task for x*x over a range, error capture, progress cell, limit and result included (bench/worker_loop.lua).
local ffi = require "ffi"
local host = require "parlua.host"
local arguments = require "parlua.worker.arguments"
local arrays = require "parlua.array.known"
local block = require "parlua.wire.block"
local garbage = require "parlua.garbage"
local start = require "parlua.wire.start"
local everywhere = require "parlua.lazy" "parlua.worker.everywhere"
local failure = require "parlua.failure"
local fold = require "parlua.lazy" "parlua.worker.fold"
local indexed = require "parlua.source.indexed"
local loop_text = require "parlua.worker.text"
local running = require "parlua.task"
local shape = require "parlua.lazy" "parlua.wire.shape"
local spawn = require "parlua.lazy" "parlua.worker.spawn"
local texts = require "parlua.lazy" "parlua.worker.texts"
local wear = require "parlua.worker.wear"
require "parlua.wire.header" "slot/layout.h"

local M = {}

local C = ffi.C
local cast = ffi.cast
local SPARSE, DENSE = C.BLOCK_SPARSE, C.BLOCK_DENSE
local NIL, ABSENT = C.TAG_NIL, C.TAG_ABSENT
local VALUE, TUPLE, FAILURE = C.TAG_VALUE, C.TAG_TUPLE, C.TAG_FAILURE
local HEAD = C.BLOCK_HEAD
local FIRST_SPAWNED = running.FIRST_SPAWNED
local const_bytes = ffi.typeof("const char *")
local index_cell = ffi.typeof("double *")

-- Why the loop returned.
local DONE, STOPPED, PENDING = loop_text.DONE, loop_text.STOPPED, loop_text.PENDING
local AGAIN, FOUND, KEPT = loop_text.AGAIN, loop_text.FOUND, loop_text.KEPT
local is_sparse = block.is_sparse

---@class parlua.Job
---@field f function the map function
---@field source table what the worker needs of the source (run.lua)
---@field keep "first"|"all"|"none"|"found"|"lacking"|"into"|"packed" which of a task's results are kept; found,
--- lacking: the first that is true, or that is not, and then the chunk ends
---@field into? parlua.Array keep is "into" or "packed": where numbers go
---@field fold? parlua.Fold a task of dispatch is a block of tasks, which is folded to one value
---@field setup? function run once in each worker
---@field max_tasks? integer a worker that has done so many ends
---@field limits_memory? boolean there is the option memory

--- Makes a runner: a function that runs one chunk.
---@param job parlua.Job
---@param slot ffi.cdata* struct slot *
---@return fun(chunk: ffi.cdata*, limit: ffi.cdata*)
function M.open(job, slot, outlet)
  local source = job.source
  local loops, text = {}, source.text
  local store = outlet.store
  local none = is_sparse[job.keep]
  local kind = none and SPARSE or DENSE

  if source.path and not text and not source.is_stream then
    local message, k
    text, message, k = host.map_text(source.paths)
    if not text then error(("cannot read '%s': %s"):format(source.paths[k], message), 0) end
    -- since the coordinator has opened it
    if text:length() < source.length then error(loop_text.cut_message(source), 0) end
    source.text = text
  end

  local put_values = job.keep == "all" and shape.put_values

  local function collect(k, i, words, half, room, ...)
    if select("#", ...) == 1 then
      local v = ...
      if type(v) == "number" then
        words[k] = v
        return room
      elseif type(v) == "nil" then
        half[2 * k + 1] = NIL
        return room
      end
      return store(k, i, v)
    end
    local n = select("#", ...)
    if n == 0 then
      half[2 * k + 1] = ABSENT
      return room
    end
    if n == 2 or n == 3 then
      local more = put_values(outlet.block, half, k, n, ...)
      if more then return more end
    end
    return outlet.put(k, i, TUPLE, ...)
  end

  local function fetch(chunk, i)
    local half, width, values, n = cast(block.halves, chunk.word), chunk.width, {}, 0
    local at = (i - chunk.origin) * width
    for j = 0, width - 1 do
      local tag = half[2 * (at + j) + 1]
      if tag == ABSENT then break end
      n = j + 1
      if tag == FAILURE then values[n] = (outlet.special or arguments.special)(chunk, half, at + j, tag) end -- raises
      values[n] = block.get(chunk, chunk.word, half, at + j)
    end
    return unpack(values, 1, n)
  end

  local reader = loop_text.is_text[source.kind] and texts.kinds[source.kind]
  local cursor = (reader or source.path) and texts.cursor() or nil
  local memchr = reader and C.memchr
  local ranger = reader and texts.ranger(source, cursor)
  local folder = job.fold and fold.folder(job, slot, cursor, reader, ranger)

  local function loop_for(width)
    local loop = loops[width]
    if loop then return loop end
    local builder = indexed.builder()
    local expressions
    if job.fold then
      local carries = source.kind == "local" and loop_text.supplied["local"]
        or not reader and not source.n and loop_text.supplied.values
      expressions = carries and carries({ run = source.run }, builder, width) or {}
    elseif reader then
      expressions = reader.emit(source, builder, job, ranger.advance)
      if source.enumerated then table.insert(expressions, 1, "i") end
    elseif loop_text.supplied[source.kind] then
      expressions = loop_text.supplied[source.kind](source, builder, width)
    else
      expressions = indexed.emit(source, builder, "i")
    end
    local make = start.compile(loop_text.text(job, builder, expressions, width, outlet), "=parlua.loop")
    loop = make(xpcall, type, math.floor, unpack, cast, slot, folder and folder.run or job.f, store, collect, fetch,
      outlet.special or arguments.special, ffi.string, memchr, const_bytes, cursor, builder.constants)
    loops[width] = loop
    return loop
  end

  --- The loop over tasks that were spawned: their function is among their arguments. Those of a reduction merge values
  --- of blocks.
  local function spawned_loop(width)
    local name = "spawned" .. width
    if loops[name] then return loops[name] end
    local builder = indexed.builder()
    local values = setmetatable({ source = { kind = "values" }, fold = false }, { __index = job })
    local make = job.run and loop_text.supplied["local"] or loop_text.supplied.values
    local expressions = make({ run = job.run }, builder, width)
    loops[name] = start.compile(loop_text.text(values, builder, expressions, width), "=parlua.loop")(xpcall, type,
      math.floor, unpack, cast, slot, folder and folder.merge or spawn.run, store, collect, fetch,
      outlet.special or arguments.special, ffi.string, memchr, const_bytes, cursor, builder.constants)
    return loops[name]
  end

  --- Text: sets the cursor on task `first`.
  local function seek(chunk, first)
    ranger.begin(chunk)
    local from = chunk.origin
    if job.fold then from, first = job.fold:first(from), job.fold:first(first) end
    for _ = from, first - 1 do texts.skip(source, cursor, ranger) end
  end

  --- Sets the cursor on the first task of a chunk, which may begin in the middle of what was read. Where the text was
  --- cut short, and that task is no longer there: returns what its failure says.
  local function seek_first(chunk)
    local ok, message = pcall(seek, chunk, chunk.first)
    if ok then return nil end
    if message ~= loop_text.cut_message(source) then error(message, 0) end
    return message
  end

  local function lacks(reach) return text:whole(reach) < reach end

  --- Is some of the text that a chunk needs no longer there?
  local function is_cut(chunk)
    if reader then
      for r = 0, chunk.word[1] - 1 do
        if lacks(chunk.word[2 + 4 * r] + chunk.word[3 + 4 * r]) then return true end
      end
      return false
    end
    if job.fold then return lacks(text:length()) end
    local at = (chunk.last - chunk.origin) * chunk.width
    return lacks(chunk.word[at] + chunk.word[at + 1])
  end

  local guard = text and text:length() > 0 and texts.guard() -- of whatever file is read
  local source_place = source.path and function() return texts.place(source, cursor) end or nil

  --- The last task that may be begun, though the loop was stopped where the text ends.
  local function last_allowed(limit)
    local last = limit[0]
    return last == -1 and guard and guard.replaced < math.huge and guard.replaced or last
  end

  --- The text was cut short (or what arrays are mapped from): the tasks of the chunk that stand in the open block, from
  --- task `base` on, may have been done with zeros. They fail, and so do all behind them. What was put into the block
  --- stays where it is, as the coordinator may be reading it.
  ---@return number base, integer k, integer entries, number last as in the runner
  local function fail_rest(base, entries, last, limit, message)
    local k, has_failed = 0, {}
    if none then
      for j = 0, entries - 1 do has_failed[tonumber(outlet.block.word[2 * j])] = true end
    end
    for i = base, last do
      if i > slot.current then slot.current = i end
      if i > last_allowed(limit) and i >= slot.current then return base, k, entries, i - 1 end
      if has_failed[i] then
        k = k + 1
      elseif outlet.fail(none and entries or k, i, { kind = "error", message = message }) >= 0 then
        k, entries = k + 1, entries + 1
      else
        outlet.close(i - 1, none and entries or k, 0)
        if outlet.flush(i, kind) then
          base, k, entries = i, 1, 1
        else
          base, k, entries = i + 1, 0, 0
          outlet.open(base, kind)
        end
      end
    end
    return base, k, entries, last
  end

  local function run_chunk(chunk, limit)
    local is_spawned = chunk.first >= FIRST_SPAWNED
    local loop = is_spawned and spawned_loop(chunk.width) or loop_for(chunk.width)
    local last = wear.last(job, chunk.first, chunk.last)
    local awords, ahalf, origin = chunk.word, cast(block.halves, chunk.word), chunk.origin
    local missed = reader and not is_spawned and seek_first(chunk)
    local place_before = running.source_place
    running.source_place = not is_spawned and source_place or nil
    arguments.begin()
    running.begin(chunk.attempt, chunk.key)
    if folder and not is_spawned then folder.begin(chunk, limit) end
    -- the open block holds what tasks base .. base + k - 1 returned (or, where nothing is kept, `entries` failures)
    local base, k, entries, why = chunk.first, 0, 0, AGAIN
    outlet.open(base, kind)
    if missed then
      base, k, entries, last = fail_rest(base, entries, last, limit, missed)
      why = DONE
    end
    while why == AGAIN do
      local out = outlet.block
      local words = out.word
      local ok, reached, found
      if arrays.files then arrays.prepare() end
      ok, reached, why, found = xpcall(loop, failure.capture, k, last - base, base, (tonumber(out.floor) - HEAD) / 8,
        limit, words, cast(block.halves, words), chunk, awords, ahalf, origin)
      local cut = guard and not is_spawned and is_cut(chunk) and loop_text.cut_message(source)
        or arrays.files and arrays.cut()
      if cut then
        base, k, entries, last = fail_rest(base, entries, last, limit, cut)
        why = DONE
      elseif ok then
        k = reached
        if why == KEPT then
          why = PENDING
          if outlet.put(entries, base + k, VALUE, found) >= 0 then k, entries, why = k + 1, entries + 1, AGAIN end
        elseif why == FOUND then
          last = base + k
          why = PENDING
          if outlet.put(entries, last, VALUE, found) >= 0 then k, entries, why = k + 1, entries + 1, DONE end
        end
      elseif failure.is_cut(reached) then
        k, why = slot.current - base, STOPPED
      else
        local task = slot.current
        -- where it was the text that was wrong
        if reader and not is_spawned and cursor.next == cursor.from then texts.skip(source, cursor, ranger) end
        k, why = task - base, PENDING
        -- no record: memory ran out before one was made; what the task held is let go, to have some for it
        if type(reached) == "string" then garbage.collect() end
        if outlet.fail(none and entries or k, task, failure.record(reached)) >= 0 then
          k, entries, why = k + 1, entries + 1, AGAIN
        end
        if outlet.is_spent then last = task end
      end
      if why == STOPPED then
        last = base + k - 1
      elseif why ~= AGAIN and why ~= DONE then
        local task = base + k
        outlet.close(task - 1, none and entries or k, 0)
        if why == PENDING and outlet.flush(task, kind) then
          base, k, entries = task, 1, 1
        else
          base, k, entries = why == PENDING and task + 1 or task, 0, 0
          outlet.open(base, kind)
        end
        why = AGAIN
      end
      if why == AGAIN and base + k > last then why = DONE end
    end
    running.source_place = place_before
    wear.note(job, chunk.first, last, is_spawned)
    outlet.close(last, none and entries or last - base + 1, 1)
  end

  if not guard then return run_chunk end
  return function(chunk, limit)
    guard.cell = limit
    C.mapping_enter(guard)
    local ok, message = pcall(run_chunk, chunk, limit)
    C.mapping_leave(guard)
    if not ok then error(message, 0) end
  end
end

--- The cell of a slot that has the index of the running task.
function M.index_cell(slot, job)
  return cast(index_cell, slot) + ffi.offsetof("struct slot", job.fold and "inner" or "current") / 8
end

--- Runs a job's `setup`, once; raises what it raises with its traceback. Notes which globals it sets: functions that
--- arrive later must not bring back what these were in the script.
function M.prepare(job)
  running.set_up = {}
  if not job.setup then return end
  local ok, message = everywhere.noting_globals(running.set_up, job.setup)
  if not ok then
    message = failure.record(message)
    error(("setup failed: %s"):format(message.message .. (message.traceback and "\n" .. message.traceback or "")), 0)
  end
end

return M
