-- When a rank counts as lost, who hears of whom, and in which rank a worker is, in plain C by a clock of its own: spec/c/tree.c.

local helper = require "spec.helper"

describe("ranks that hear of each other", function()
  it("are each found by one other, and are lost when they are silent for too long, and not when nobody could hear them", function()
    helper.assert_holds_in_c("tree", "src/engines/mpi/tree.c -Isimulate/ranks -lm", true)
  end)
end)
