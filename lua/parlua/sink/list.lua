--- map and each: what becomes of the results of a whole run.
local ffi = require "ffi"
local block = require "parlua.wire.block"
local run_module = require "parlua.run"
local new_table = require "table.new"

local M = {}

local FAILURE, SPARSE = ffi.C.TAG_FAILURE, ffi.C.BLOCK_SPARSE
local cast = ffi.cast
local take_words = run_module.take_words

-- A table is made in its final size up to here (800 MB); beyond, it grows as results come.
local most_preallocated = 1e8

--- Made when the first results come: forked workers then do not share its pages, which would be copied as they are written.
local function new_results(run)
  return new_table(run.total and math.min(run.total, most_preallocated) or 0, 1)
end

--- A result that is neither a number nor nil.
local function take_other(run, index, k, tag)
  local out = run.event.block
  local value = run:special(out, cast(block.halves, out.word), k, tag)
  if tag == FAILURE then
    run:task_failed(index, value)
  else
    run.results[index] = value
  end
end

local function take_results(run, event)
  local results = run.results
  if not results then
    results = new_results(run)
    run.results = results
  end
  local out = event.block
  if out.kind == SPARSE then return run_module.take_sparse(run, event) end
  take_words(results, event.first, out.word, cast(block.halves, out.word), event.from, event.count, take_other, run)
end

---@return table results, parlua.Failure[] failures, parlua.Summary summary
function M.map(f, arguments, options, given)
  local run = run_module.open(f, arguments, options, "first", given)
  run.on_results = take_results
  local failures, summary = run:finish()
  local results = run.results or new_results(run)
  results.n = run.total or run.done
  return results, failures, summary
end

---@return parlua.Failure[] failures, parlua.Summary summary
function M.each(f, arguments, options, given)
  local run = run_module.open(f, arguments, options, "none", given)
  run.on_results = run_module.take_sparse
  return run:finish()
end

return M
