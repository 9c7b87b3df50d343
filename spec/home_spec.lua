-- Workers of a rank, which its helper forks, in plain C: spec/c/home.c.

local helper = require "spec.helper"

local PARTS = "src/engines/mpi/home.c src/engines/nursery.c src/engines/engine.c src/slot/slot.c src/sys/hub.c src/sys/bell.c"
  .. " src/sys/clock.c src/sys/family.c src/sys/guard.c src/sys/oom.c src/sys/signals.c src/sys/barrier.c -lm"

describe("the end of a rank's worker", function()
  it("wakes who sleeps, is told though orders wait, and is not taken for that of the next worker in its seat, nor is an order to end it", function()
    helper.assert_holds_in_c("home", PARTS)
  end)
end)
