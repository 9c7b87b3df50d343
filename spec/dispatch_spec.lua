-- What the dispatcher hands out, takes back and tells, over lanes by hand, in plain C: spec/c/dispatch.c.

local helper = require "spec.helper"

local PARTS = "src/run/loop.c src/run/handout.c src/run/ending.c src/run/outcomes.c src/run/watch.c src/run/intake.c"
  .. " src/run/queue.c src/run/work.c src/run/pack.c src/run/chunks.c src/run/balance.c src/engines/engine.c src/slot/slot.c"
  .. " src/sys/hub.c src/sys/bell.c src/sys/signals.c src/sys/large.c src/sys/huge.c -lm"

describe("the dispatcher", function()
  it("hears of idle workers' ends, gives the last task away, and lets neither idle workers nor due tasks wait", function()
    local built, result = helper.run_in_c("dispatch", PARTS)
    if not built then return pending("there is no C compiler") end
    assert.same({ "", 0 }, { built.stderr, built.status })
    assert.same({ "all holds\n", "", 0 }, { result.stdout, result.stderr, result.status })
  end)
end)
