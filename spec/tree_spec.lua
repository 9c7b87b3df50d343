-- When a rank counts as lost, who hears of whom, and in which rank a worker is, in plain C by a clock of its own: spec/c/tree.c.

local helper = require "spec.helper"

describe("ranks that hear of each other", function()
  it("are each found by one other, and are lost when they are silent for too long, and not when nobody could hear them", function()
    local built, result = helper.run_in_c("tree", "src/engines/mpi/tree.c -Isimulate/ranks -lm")
    if not built then return pending("there is no C compiler") end
    assert.same({ "", 0 }, { built.stderr, built.status })
    assert.same({ "all holds\n", 0 }, { result.stdout, result.status }, result.stderr)
  end)
end)
