-- What the dispatcher hands out, takes back and tells, over lanes by hand, in plain C: spec/c/dispatch.c.

local helper = require "spec.helper"

local PARTS = "src/run/loop.c src/run/handout.c src/run/ending.c src/run/outcomes.c src/run/watch.c src/run/intake.c"
  .. " src/run/queue.c src/run/work.c src/run/pack.c src/run/chunks.c src/run/balance.c src/engines/engine.c src/slot/slot.c"
  .. " src/sys/hub.c src/sys/bell.c src/sys/signals.c src/sys/large.c src/sys/huge.c src/sys/lent.c simulate/ranks/no_barrier.c -lm"

describe("the dispatcher", function()
  it("hears of idle workers' ends, gives the last task away, and lets neither idle workers nor due tasks wait", function()
    helper.assert_holds_in_c("dispatch", PARTS)
  end)
end)
