-- What a lane makes of what stands in its worker's slot, in plain C: spec/c/lane.c.

local helper = require "spec.helper"

local PARTS = "src/run/lane_slot.c src/run/inbox.c src/run/work.c src/run/pack.c src/engines/engine.c src/slot/slot.c"
  .. " src/sys/hub.c src/sys/bell.c src/sys/clock.c src/sys/barrier.c src/sys/large.c src/sys/huge.c src/sys/lent.c -lm"

describe("a lane over a slot", function()
  it("has more short chunks lie ready, blames a task for the third death, keeps a worker that has come back, tells what is through", function()
    helper.assert_holds_in_c("lane", PARTS)
  end)
end)
