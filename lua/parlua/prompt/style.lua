--- Colours of the prompt: none where NO_COLOR is set or the terminal is dumb.
local M = {}

local codes = {
  keyword = "35", string = "32", number = "36", comment = "90", faint = "90", suggestion = "90", error = "31",
  prompt = "1;34", name = "1", failed = "31", good = "32", title = "1",
}

--- Are colours wanted on standard output?
---@type boolean
M.on = false

--- Looks at the environment anew.
---@param is_terminal boolean
function M.choose(is_terminal)
  local none = os.getenv("NO_COLOR")
  M.on = is_terminal and (none == nil or none == "") and os.getenv("TERM") ~= "dumb"
end

--- The text in the colour of a kind.
---@param kind string?
---@param text string
---@return string
function M.paint(kind, text)
  local code = M.on and codes[kind]
  if not M.on and kind == "suggestion" then code = "2" end -- it is not typed, and has to look so; faint is no colour
  if not code or text == "" then return text end
  return "\27[" .. code .. "m" .. text .. "\27[0m"
end

return M
