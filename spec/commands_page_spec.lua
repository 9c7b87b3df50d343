--- docs/COMMANDS.md: each job gives the same with every tool that it is written for.
local helper = require "spec.helper"

package.path = "bench/?.lua;" .. package.path
local jobs = require "command_jobs"

local has_parallel = os.execute "command -v parallel >/dev/null" == 0
if not has_parallel then print "spec/commands_page_spec.lua: GNU parallel is not installed; its commands are not run" end

describe("docs/COMMANDS.md", function()
  local all = jobs.read()

  it("has twenty jobs and one more, and a table with the time of each", function()
    assert.equal(21, #all)
    local text = helper.read "docs/COMMANDS.md"
    for _, job in ipairs(all) do
      assert.truthy(text:find("\n| " .. job.title .. " | %d+ ms |"), job.title)
    end
  end)

  for _, job in ipairs(all) do
    it("job " .. job.title, function()
      local expected, of
      for _, tool in ipairs(job.tools) do
        if tool ~= "parallel" or has_parallel then
          helper.with_directory(function(directory)
            local result = helper.run(jobs.script(job.commands[tool], directory, helper.parlua:match "^(.*)/"))
            local message = tool .. ": " .. result.stderr .. helper.read(directory .. "/err")
            assert.truthy(#result.stdout > 0, message)
            if expected then assert.equal(expected, result.stdout, message .. " beside " .. of) end
            expected, of = result.stdout, tool
          end)
        end
      end
    end)
  end
end)
