--- Specs of what all engines promise, on those that the suite's own engines leave out: tasks that are coroutines of the
--- script's state, and a pool whose workers stay from spec to spec.
local helper = require "spec.helper"

local has_cqueues = pcall(require, "cqueues")

--- Runs specs by a busted of their own. Returns how many passed; raises what it has told when not all did.
local function run(names, env)
  local paths = {}
  for k, name in ipairs(names) do paths[k] = "spec/" .. name .. "_spec.lua" end
  local result = helper.run(("busted -o plainTerminal --filter=engine.%s: --lua=%s %s"):format(env.SPEC_ENGINES,
    helper.quote(helper.parlua), table.concat(paths, " ")), { env = env })
  local count = tonumber(result.stdout:match("(%d+) successes / 0 failures / 0 errors / 0 pending"))
  return count or error(result.stdout .. result.stderr, 0)
end

describe("specs of what all engines promise pass", function()
  local is_here = (os.getenv("SPEC_ENGINES") or "process"):find("process") and not os.getenv("SPEC_POOL")
  if not is_here then return end -- these are such specs

  -- The whole takes minutes: SPEC_WHOLE=1 has it run too.
  local is_whole = os.getenv "SPEC_WHOLE"

  if has_cqueues then
    for _, names in ipairs {
      { "nested", "own", "output", "sources", "wide", "random", "failures", "hostile", "exec", "warning", "ends", "page" },
      { "rows", "text", "records", "records_in", "lines_written", "csv", "odd_results", "files", "shard", "halts",
        "future", "pool", "kept", "spawn" },
    } do
      it("on async: " .. table.concat(names, ", "), function()
        assert.is_true(run(names, { SPEC_ENGINES = "async" }) > 100)
      end)
    end
  end

  for _, names in ipairs {
    { "map", "nested", "sources", "wide", "records" },
    is_whole and { "own", "output", "random", "failures", "hostile", "exec", "warning", "ends", "rows", "text", "records_in",
      "lines_written", "csv" },
    is_whole and { "again", "array_engines", "array_results", "calls_faults", "capture", "core", "crossing", "differences", "each",
      "odd_results", "packed" },
  } do
    it("over a pool on process whose workers stay: " .. table.concat(names, ", "), function()
      assert.is_true(run(names, { SPEC_ENGINES = "process", SPEC_POOL = "1" }) > 90)
    end)
  end
end)
