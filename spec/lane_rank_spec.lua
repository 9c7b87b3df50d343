-- What a rank is given to try again, what a report that tells of no end does, when blocks of a reduction are wanted, in plain C: spec/c/lane_rank.c.

local helper = require "spec.helper"

local PARTS = "src/engines/mpi/lane_rank.c src/run/pieces.c src/run/work.c src/run/pack.c src/sys/large.c src/sys/huge.c src/sys/lent.c"
  .. " -Isimulate/ranks -lm"

describe("a rank", function()
  it("is given one task to try again for each of its workers, and no more until one has ended; only tasks that have ended count as such", function()
    helper.assert_holds_in_c("lane_rank", PARTS)
  end)
end)
