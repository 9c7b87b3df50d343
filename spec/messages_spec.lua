-- Messages between ranks, and large ones that each node gets once, in plain C over an MPI by hand: spec/c/messages.c.

local helper = require "spec.helper"

describe("a message between ranks", function()
  it("arrives as it was whatever its length or the memory, is kept until each node has it, and waits for no lost rank", function()
    helper.assert_holds_in_c("messages", "src/engines/mpi/transport.c src/engines/mpi/share.c src/engines/mpi/report.c"
      .. " src/run/pack.c src/sys/lent.c src/sys/huge.c -Wl,--wrap=malloc -Isimulate/ranks -lm", true)
  end)
end)
