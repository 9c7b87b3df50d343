local helper = require "spec.helper"

-- A few rounds of `make soak`: seeded, so that they are the same each time.

describe("a short soak", function()
  local engines = table.concat(helper.engines, " ")
  if engines:find "process" and pcall(require, "cqueues") then engines = engines .. " async" end

  local function soak(environment)
    environment.SOAK_SEED = environment.SOAK_SEED or "5"
    environment.SOAK_ENGINES = environment.SOAK_ENGINES or engines
    return helper.run(helper.quote(helper.parlua) .. " soak/soak.lua", { env = environment })
  end

  it("of all engines finds that every task ends once, and that nothing stays behind", function()
    local result = soak { SOAK_ROUNDS = "25" }
    assert.equal("", result.stderr)
    assert.truthy(result.stdout:find("soak: all well: 25 runs, %d+ tasks"), result.stdout)
    assert.equal(0, result.status)
  end)

  it("can make a single round again", function()
    local result = soak { SOAK_ROUND = "17" }
    assert.truthy(result.stdout:find("soak: all well: 1 runs, "), result.stdout .. result.stderr)
  end)

  it("tells of a round that goes wrong, and how to have it again", function()
    helper.with_directory(function(directory)
      assert.equal(0, os.execute("cp -r soak " .. directory))
      local function change(file, line, more)
        local path = directory .. "/soak/" .. file
        local text = helper.read(path)
        local _, last = assert(text:find(line, 1, true))
        helper.write(path, text:sub(1, last) .. "\n" .. more .. text:sub(last + 1))
      end
      change("calls.lua", "function M.make(drawn, setting, tally)", "drawn.plan.spoilt = (tally.runs or 0) > 1")
      change("tasks.lua", "function M.run(plan, i, attempt, ...)", "if plan.spoilt and i == 1 then return -1 end")
      local result = helper.run(helper.quote(helper.parlua) .. " soak/soak.lua", {
        directory = directory, env = { SOAK_SEED = "5", SOAK_ROUNDS = "40", SOAK_ENGINES = "serial" },
      })
      assert.equal(1, result.status)
      assert.truthy(result.stdout:find("SOAK_SEED=5 SOAK_ROUND=%d+ SOAK_ENGINES=\"serial\""), result.stdout .. result.stderr)
    end)
  end)
end)
