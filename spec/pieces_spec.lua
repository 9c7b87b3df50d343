-- What a rank's lane holds, ranges of the queue, and packed blocks, in plain C: spec/c/pieces.c.

local helper = require "spec.helper"

local PARTS = "src/run/pieces.c src/run/queue.c src/run/work.c src/run/pack.c"
local FLAGS = "-std=c11 -D_GNU_SOURCE -Isrc -Wall -Wextra -Wshadow -Wpedantic -Werror -O1 -g -fsanitize=address,undefined"
  .. " -fno-sanitize-recover=undefined"

describe("ranges of tasks that a rank has, and results on their way from it,", function()
  it("are found, cut, taken and moved, each once and as they were", function()
    local compiler = os.getenv "CC" or "cc"
    if helper.run("command -v " .. compiler).status ~= 0 then return pending("there is no C compiler") end
    helper.with_directory(function(directory)
      local program = directory .. "/pieces"
      local built = helper.run(("%s %s -o %s spec/c/pieces.c %s -lm"):format(compiler, FLAGS, program, PARTS))
      assert.same({ "", 0 }, { built.stderr, built.status })
      local result = helper.run(program)
      assert.same({ "all holds\n", "", 0 }, { result.stdout, result.stderr, result.status })
    end)
  end)
end)
