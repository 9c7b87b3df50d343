--- The sessions that docs/PROMPT.md shows are what the prompt does: each is typed again.
local helper = require "spec.helper"
local sessions = require "spec.sessions"
local terminal = require "spec.terminal"

--- Takes out what differs from run to run.
local function settled(text)
  return (text:gsub("in [%d.]+ [^%s]*s on %d+ workers?", "in N s on N workers"):gsub("[ \n]+$", ""))
end

local page = "docs/PROMPT.md"
local shown = sessions.of(helper.read(page))

describe(page, function()
  for number, session in ipairs(shown) do
    it("shows a session as it is, number " .. number, function()
      terminal.with_prompt(sessions.terminal, function(t)
        for _, statement in ipairs(session) do
          assert.equal(settled(table.concat(statement.shown, "\n")), settled(t:run(statement.typed)))
        end
      end)
    end)
  end

  it("has a session", function() assert.is_true(#shown > 0) end)
end)
