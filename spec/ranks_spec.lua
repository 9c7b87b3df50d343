--- Specs of what all engines promise, on the mpi engine: each by a busted of its own under mpirun. They take as long as mpi_spec.lua, beside
--- which the suite runs them.
local lfs = require "lfs"

local helper = require "spec.helper"

if not helper.has_mpi then return end -- mpi_spec.lua tells

describe("under mpirun", function()
  it("specs of tasks that misbehave pass on it, each started by mpirun", function()
    local result = helper.run("busted -o plainTerminal --lua=" .. helper.quote(helper.parlua)
      .. " spec/hostile_spec.lua spec/memory_spec.lua spec/exits_spec.lua spec/cut_text_spec.lua spec/guard_spec.lua",
      { env = { SPEC_ENGINES = "mpi" } })
    assert.truthy(result.stdout:find("%d+ successes / 0 failures / 0 errors / 0 pending"), result.stdout .. result.stderr)
  end)

  it("specs of what all engines promise pass on three ranks", function()
    local specs = {}
    for name in lfs.dir("spec") do
      -- those of the prompt have an mpirun of their own, on a terminal
      local is_other = name == "mpi_spec.lua" or name:find("^prompt")
      local text = name:find("_spec%.lua$") and not is_other and helper.read("spec/" .. name) or ""
      if text:find("helper%.for_each_engine") or text:find("helper%.engines") then specs[#specs + 1] = "spec/" .. name end
    end
    assert.is_true(#specs >= 19)
    table.sort(specs)
    -- The patterns: one in the name of each test that for_each_engine makes, one in those of tests that go over all engines themselves.
    -- With four workers a rank it takes ten minutes beside other work; the limit only ends what would never end.
    local result = helper.run(helper.mpirun(3) .. " busted -o plainTerminal --filter=engine.mpi: --filter=every.engine --lua="
      .. helper.quote(helper.parlua) .. " " .. table.concat(specs, " "), { env = { SPEC_ENGINES = "mpi" }, seconds = 1800 })
    local count, pending = result.stdout:match("(%d+) successes / 0 failures / 0 errors / (%d+) pending")
    assert.is_true(count and tonumber(count) > 300, result.stdout .. result.stderr)
    -- only what needs a library of C that is not installed
    assert.equal(select(2, result.stdout:gsub(": there is no lib%S+%.so", "")), tonumber(pending), result.stdout)
  end)
end)
