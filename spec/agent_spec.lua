-- When an agent looks at its engines again, and in what order it obeys, in plain C: spec/c/agent.c.

local helper = require "spec.helper"

describe("an agent's loop", function()
  it("sleeps until the first of its engines is due, and obeys messages in order when the job is here that they are of", function()
    helper.assert_holds_in_c("agent", "src/engines/mpi/agent.c -Isimulate/ranks -lm")
  end)
end)
