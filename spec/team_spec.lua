-- What an agent tells its parent of a run, and when, over a dispatcher by hand, in plain C: spec/c/team.c.

local helper = require "spec.helper"

describe("an agent", function()
  it("asks for tasks when half of them are handed out, sends its last report at once, and tells no task for a lost merge", function()
    local built, result = helper.run_in_c("team", "src/engines/mpi/team.c -Isimulate/ranks -lm")
    if not built then return pending("there is no C compiler") end
    assert.same({ "", 0 }, { built.stderr, built.status })
    assert.same({ "all holds\n", "", 0 }, { result.stdout, result.stderr, result.status })
  end)
end)
