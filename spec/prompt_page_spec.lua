--- The sessions that docs/PROMPT.md shows are what the prompt does: each is typed again.
local helper = require "spec.helper"
local terminal = require "spec.terminal"

--- The indented blocks of a page that begin with a prompt, each a list of statements with what they show.
local function sessions(page)
  local found, present = {}, nil
  for line in (helper.read(page) .. "\n"):gmatch("(.-)\n") do
    local text = line:match("^    (.*)$")
    if text and (present or text:find("^> ")) then
      if not present then
        present = {}
        found[#found + 1] = present
      end
      local first, further = text:match("^> (.*)$"), text:match("^>> (.*)$")
      if first then present[#present + 1] = { typed = first, shown = { text } }
      else
        local statement = present[#present]
        if further then statement.typed = statement.typed .. "\n" .. further:gsub("^%s+", "") end
        statement.shown[#statement.shown + 1] = text
      end
    else
      present = nil
    end
  end
  return found
end

--- Takes out what differs from run to run.
local function settled(text)
  return (text:gsub("in [%d.]+ [^%s]*s on %d+ workers?", "in N s on N workers"):gsub("[ \n]+$", ""))
end

local page = "docs/PROMPT.md"

describe(page, function()
  for number, session in ipairs(sessions(page)) do
    it("shows a session as it is, number " .. number, function()
      terminal.with_prompt({ columns = 92, rows = 60 }, function(t)
        for _, statement in ipairs(session) do
          assert.equal(settled(table.concat(statement.shown, "\n")), settled(t:run(statement.typed)))
        end
      end)
    end)
  end

  it("has a session", function() assert.is_true(#sessions(page) > 0) end)
end)
