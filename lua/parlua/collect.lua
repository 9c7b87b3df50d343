--- map and each: what becomes of the results of a whole run.
local ffi = require "ffi"
local block = require "parlua.block"
local run_module = require "parlua.run"
local new_table = require "table.new"

local M = {}

local FAILURE = ffi.C.TAG_FAILURE
local cast = ffi.cast
local take_words = run_module.take_words

-- A table is made in its final size up to here (800 MB); beyond, it grows as results come.
local most_preallocated = 1e8

---@return table results, parlua.Failure[] failures, parlua.Summary summary
function M.map(f, arguments, options, given)
  local run = run_module.open(f, arguments, options, "first", given)
  local results, out, half
  local function other(index, k, tag)
    local value = run:special(out, half, k, tag)
    if tag == FAILURE then
      run:task_failed(index, value)
    else
      results[index] = value
    end
  end
  -- made when the first results come: forked workers then do not share its pages, which would be copied as they are written
  local function make_results()
    local total = run.total
    results = new_table(total and math.min(total, most_preallocated) or 0, 1)
  end
  function run.on_results(_, event)
    if not results then make_results() end
    out = event.block
    if out.kind == ffi.C.BLOCK_SPARSE then return run_module.take_sparse(run, event) end
    half = cast(block.halves, out.word)
    take_words(results, event.first, out.word, half, event.from, event.count, other)
  end
  local failures, summary = run:finish()
  if not results then make_results() end
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
