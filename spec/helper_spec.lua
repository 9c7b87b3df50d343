local helper = require "spec.helper"

describe("helper.run", function()
  it("gives a command's own status, also that of a time limit of its own", function()
    for _, status in ipairs { 0, 1, 124, 137 } do assert.equal(status, helper.run("exit " .. status).status) end
    assert.equal(124, helper.run("timeout 0.05 sleep 60").status)
    assert.equal(128 + 9, helper.run("kill -KILL $$").status)
  end)

  it("raises when a command does not end in time, with what it printed", function()
    local right, message = pcall(helper.run, "echo begun; sleep 60", { seconds = 0.2 })
    assert.is_false(right)
    assert.truthy(message:find("did not end within 0.2 seconds: echo begun; sleep 60\nstandard output: begun", 1, true), message)
  end)
end)
