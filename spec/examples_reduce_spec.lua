local helper = require "spec.helper"

describe("the example", function()
  helper.for_each_engine(function(engine)
    local function run(words)
      local result = helper.run_parlua("--engine " .. engine .. " -n 2 examples/" .. words)
      assert.equal(0, result.status, result.stderr)
      return result.stdout
    end

    it("search.lua finds the smallest counterexample", function()
      assert.truthy(run("search.lua"):find("133^5 + 110^5 + 84^5 + 27^5 = 144^5", 1, true))
      assert.equal("there is none with bases up to 50\n", run "search.lua 50")
    end)

    it("bootstrap.lua gives the same interval everywhere", function()
      local function lines(words) return run(words):match "^(.-\n.-\n)" end
      local text = lines "bootstrap.lua 2000"
      assert.truthy(text:find "^median 74 minutes, standard error %d%.%d+\n95 %% confidence: 5%d%.?5? to 8%d%.?5?\n$", text)
      assert.equal(helper.run_parlua("--engine serial examples/bootstrap.lua 2000").stdout:match "^(.-\n.-\n)", text)
    end)

    it("csv_summary.lua summarises a file that it writes once", function()
      helper.with_directory(function(directory)
        local path = helper.write(directory .. "/t.csv", 'station,day,temperature\nOslo,1,-3.5\n"Paris, Texas",1,20\nOslo,2,0.5\n')
        local text = run("csv_summary.lua " .. helper.quote(path))
        assert.truthy(text:find "Oslo +2 +%-3%.5 +%-1%.5 +0%.5 +2%.83")
        assert.truthy(text:find "Paris, Texas +1 +20%.0")
        assert.truthy(text:find "3 rows, 0 wrong")
      end)
    end)
  end)
end)
