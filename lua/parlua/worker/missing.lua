--- Results that a ready reducer left out because their field or key was missing: counted, with the first of them, so
--- that the script can be told. Counted in the state that folds; a worker sends its count along with a block's value.
local M = {}

local count, first_index, first_name, last_index = 0, nil, nil, nil

--- A result has no `name` (a field; or a text such as "key").
---@param index integer the task
function M.note(name, index)
  if index == last_index then return end -- several reducers may miss something in one result
  last_index = index
  count = count + 1
  if not first_index or index < first_index then first_index, first_name = index, name end
end

--- Takes what was counted since the last time: { n, index, name }; nil: nothing.
---@return table?
function M.take()
  last_index = nil
  if count == 0 then return nil end
  local taken = { count, first_index, first_name }
  count, first_index, first_name = 0, nil, nil
  return taken
end

--- Adds what another state counted.
function M.add(taken)
  if type(taken) ~= "table" or type(taken[1]) ~= "number" or type(taken[2]) ~= "number" then return end
  count = count + taken[1]
  if not first_index or taken[2] < first_index then first_index, first_name = taken[2], tostring(taken[3]) end
end

return M
