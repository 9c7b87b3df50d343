--- What a future holds of what its call returned. Most return one value: that is held as it is.
local M = {}

--- What a call has returned that returned more or less than one value: with n. Alone it is what it returned.
local Several = {}

local nothing = setmetatable({ n = 0 }, Several)

--- The content of a future whose call has returned these, with n.
function M.several(values)
  if values.n == 0 then return nothing end
  return setmetatable(values, Several)
end

--- The same, whether it is one value or not.
function M.of(values)
  if values.n == 1 then return (values[1]) end
  return M.several(values)
end

function M.is_several(content) return type(content) == "table" and getmetatable(content) == Several end

--- The first value that the call has returned.
function M.first_of(future)
  local content = future.content
  if M.is_several(content) then return content[1] end
  return content
end

--- All that the call has returned, with n; nil: it has not returned.
---@return table?
function M.results(future)
  if not future.is_done or rawget(future, "record") then return nil end
  local content = future.content
  return M.is_several(content) and content or { n = 1, content }
end

return M
