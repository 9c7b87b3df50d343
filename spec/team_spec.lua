-- What an agent tells its parent of a run, and when, over a dispatcher by hand, in plain C: spec/c/team.c.

local helper = require "spec.helper"

describe("an agent", function()
  -- and asks once, for whole groups of blocks; tells no task for a merge that is lost
  it("asks for tasks when half are handed out, gathers what nobody waits for, tells its last at once, rests", function()
    helper.assert_holds_in_c("team", "src/engines/mpi/team.c -Isimulate/ranks -lm")
  end)
end)
