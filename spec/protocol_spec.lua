-- The protocol of slot, claim, cut and sleep (docs/PROTOCOL.md) between two processes, in plain C: spec/c/protocol.c. It is compiled for this
-- processor, and for aarch64 where there are a compiler for it and qemu-user to run it. qemu executes the instructions of aarch64, but orders
-- memory as this processor does: it shows that system calls, atomic operations and layout are right there, not the order of plain stores.

local helper = require "spec.helper"

local PARTS = {
  "src/slot/slot.c", "src/slot/mailbox.c", "src/sys/barrier.c", "src/sys/bell.c", "src/sys/buffer.c", "src/sys/clock.c", "src/sys/hub.c",
  "src/sys/huge.c", "src/sys/large.c", "src/sys/lent.c", "src/sys/mapping.c", "src/sys/offers.c", "src/sys/pieces.c", "src/sys/streams.c",
}
local FLAGS = "-std=c11 -D_GNU_SOURCE -Isrc -Wall -Wextra -Wshadow -Wpedantic -Werror -O2 -pthread"

local function is_there(program) return helper.run("command -v " .. program).status == 0 end

--- Compiles and runs the program; returns what it printed.
local function check_protocol(compiler, runner)
  return helper.with_directory(function(directory)
    local program = directory .. "/protocol"
    local built = helper.run(("%s %s -o %s spec/c/protocol.c %s"):format(compiler, FLAGS, program, table.concat(PARTS, " ")) .. " -lm")
    assert.equal("", built.stderr)
    assert.equal(0, built.status)
    local result = helper.run(runner .. program)
    assert.equal("", result.stderr)
    assert.equal(0, result.status)
    return result.stdout
  end)
end

describe("the protocol between a coordinator and a worker", function()
  it("holds on this processor", function()
    local compiler = os.getenv "CC" or "cc"
    if not is_there(compiler) then return pending("there is no C compiler") end
    assert.truthy(check_protocol(compiler, ""):find("all holds", 1, true))
  end)

  it("holds on aarch64", function()
    if not is_there "aarch64-linux-gnu-gcc" then return pending("there is no compiler for aarch64 (in Debian: gcc-aarch64-linux-gnu)") end
    if not is_there "qemu-aarch64" then return pending("there is nothing that runs programs for aarch64 (in Debian: qemu-user)") end
    assert.truthy(check_protocol("aarch64-linux-gnu-gcc -static", "qemu-aarch64 "):find("all holds", 1, true))
  end)
end)
