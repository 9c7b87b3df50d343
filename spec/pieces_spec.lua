-- What a rank's lane holds, ranges of the queue, and packed blocks, in plain C: spec/c/pieces.c.

local helper = require "spec.helper"

describe("ranges of tasks that a rank has, and results on their way from it,", function()
  it("are found, cut, taken and moved, each once and as they were", function()
    helper.assert_holds_in_c("pieces", "src/run/pieces.c src/run/queue.c src/run/work.c src/run/pack.c"
      .. " src/sys/large.c src/sys/huge.c src/sys/lent.c -lm")
  end)
end)
