--- Sessions at the prompt as pages show them: indented blocks that begin with a prompt.
--
--   local sessions = require "spec.sessions"

local M = {}

---@class spec.Statement
---@field typed string its lines, without prompts and indentation
---@field shown string[] the lines of the page: prompts, what is typed, what it shows

---@class spec.Session
---@field first integer line of the page
---@field last integer
---@field [integer] spec.Statement

--- The sessions of a page.
---@param text string
---@return spec.Session[]
function M.of(text)
  local found, present, number = {}, nil, 0
  for line in text:gmatch("(.-)\n") do
    number = number + 1
    local shown = line:match("^    (.*)$")
    if shown and (present or shown:find("^> ")) then
      if not present then
        present = { first = number }
        found[#found + 1] = present
      end
      present.last = number
      local first, further = shown:match("^> (.*)$"), shown:match("^>> (.*)$")
      if first then present[#present + 1] = { typed = first, shown = { shown } }
      else
        local statement = present[#present]
        if further then statement.typed = statement.typed .. "\n" .. further:gsub("^%s+", "") end
        statement.shown[#statement.shown + 1] = shown
      end
    else
      present = nil
    end
  end
  return found
end

--- The terminal on which they are typed.
M.terminal = { columns = 92, rows = 60 }

--- The text of a page with its sessions as the prompt has them today.
---@param text string
---@param begin fun(body: fun(run: fun(statement: string): string)) calls a function with what types a statement at a new
---prompt and gives all that the terminal shows of it
---@return string
function M.recorded(text, begin)
  local lines = {}
  for line in text:gmatch("(.-)\n") do lines[#lines + 1] = line end
  local sessions = M.of(text)
  for k = #sessions, 1, -1 do -- from the end: the numbers of the lines before stay
    local session, new = sessions[k], {}
    begin(function(run)
      for _, statement in ipairs(session) do
        for line in run(statement.typed):gsub("\n+$", "\n"):gmatch("(.-)\n") do
          new[#new + 1] = (("    " .. line):gsub("%s+$", ""))
        end
      end
    end)
    for _ = session.first, session.last do table.remove(lines, session.first) end
    for at = #new, 1, -1 do table.insert(lines, session.first, new[at]) end
  end
  return table.concat(lines, "\n") .. "\n"
end

return M
