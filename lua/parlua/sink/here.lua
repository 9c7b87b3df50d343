--- A reduction with `merge` whose results travel: for a run with a journal, which records the result of each task. They
--- are folded in the script, in the blocks in which workers would have folded them, so that the value is the same to
--- the bit.
local fold_module = require "parlua.worker.fold"
local merging = require "parlua.worker.merging"

local NOTHING = {}

--- A plan without `merge` for one that has it.
---@param plan table see sink/plan.lua
---@param is_text? boolean the tasks are lines or rows
---@return table plan last(): the last task that went into the value
return function(plan, is_text)
  local fold = fold_module.new { block = plan.block, is_text = is_text }
  local merge, step, stop = plan.merge, plan.step, plan.stop
  local whole, value, block, last, merged = NOTHING, NOTHING, 0, 0, 0
  local tree = not stop and merging.open(function(a, b) return merge(a, b) end)
  local function close()
    if value == NOTHING then return end
    if tree then
      tree:add(block, 1, value)
    elseif whole == NOTHING then
      whole = value
    else
      whole = merge(whole, value)
    end
    value, merged = NOTHING, last
  end
  local here = { is_whole = false, is_ready = plan.is_ready }
  function here.init() return here end
  function here.step(_, v, index)
    if index > last then -- of another block; those before it are whole
      close()
      if stop and whole ~= NOTHING and merged > 0 and stop(whole) then
        here.is_whole = true
        return here
      end
      local before = block
      block = fold:block_of(index)
      for b = before + 1, tree and block - 1 or 0 do tree:add(b, 1, fold_module.fresh(plan.init)) end -- all failed
      value, last = fold_module.fresh(plan.init), fold:last(block)
    end
    value = step(value, v, index)
    if index == last and stop then
      close()
      here.is_whole = stop(whole) and true or false
    end
    return here
  end
  here.stop = stop and function() return here.is_whole end
  function here.last() return merged end
  function here.finish()
    if not here.is_whole then close() end
    local is_any, all = false, nil
    if tree then is_any, all = tree:value() end
    if is_any then whole = all end
    if whole == NOTHING then whole = fold_module.fresh(plan.init) end
    if plan.finish then return plan.finish(whole) end
    return whole
  end
  return here
end
