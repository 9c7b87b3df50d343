-- Which threads are in a task, step by step, in plain C: spec/c/threads.c. Beside such a thread no process is forked.

local helper = require "spec.helper"

local PARTS = "src/engines/threads.c src/engines/engine.c src/slot/slot.c src/sys/signals.c src/sys/hub.c src/sys/bell.c src/sys/clock.c"
  .. " src/sys/barrier.c -lm -pthread"

describe("a thread", function()
  it("is in a task from when it is sent one until it waits again, and when it was given up, until it ends", function()
    helper.assert_holds_in_c("threads", PARTS)
  end)
end)
