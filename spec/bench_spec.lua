--- The frame of the benchmark: medians, verdicts, the table, a run of the measures that need no rival.

local helper = require "spec.helper"

package.path = "bench/?.lua;" .. package.path
local measure = require "measure"

describe("the benchmark", function()
  it("takes the median", function()
    assert.equal(3, measure.median { 9, 3, 1 })
    assert.equal(2.5, measure.median { 4, 1, 2, 3 })
  end)

  it("says whether a time is reached, and how many times better it is", function()
    local row = measure.row { what = "w", ours = 2, unit = "ms", at_most = 2.5, rival = "r", theirs = 8 }
    assert.same({ "2.00 ms", "8.00 ms", "4.00x", "at most 2.5 ms", true },
      { row.ours, row.theirs, row.ratio, row.reach, row.reached })
    assert.is_true(measure.row({ what = "w", ours = 3, unit = "ms", at_most = 2.5 }).missed)
  end)

  it("says whether a rate and its ratio are both reached", function()
    local function row(ours, theirs)
      return measure.row { what = "w", ours = ours, unit = "M/s", more = true, at_least = 60, theirs = theirs,
                           ratio_at_least = 20 }
    end
    assert.is_true(row(100, 5).reached)
    assert.is_true(row(100, 6).missed)
    assert.is_true(row(50, 1).missed)
  end)

  it("takes what is within a number of times the rival's figure", function()
    assert.is_true(measure.row({ what = "w", ours = 3, unit = "s", theirs = 2, within = 1.5 }).reached)
    assert.is_true(measure.row({ what = "w", ours = 3.1, unit = "s", theirs = 2, within = 1.5 }).missed)
  end)

  it("runs all sides as often as it should and takes their medians", function()
    local order, seconds = {}, { 5, 1, 3 }
    local function side(name)
      local k = 0
      return { name = name, run = function()
        k = k + 1
        order[#order + 1] = name
        return seconds[k], "same"
      end }
    end
    local got = measure.compare({ side "a", side "b" }, 3)
    assert.equal("a b a b a b", table.concat(order, " "))
    assert.equal(3, got.b.seconds)
  end)

  it("raises an error when two sides give different results", function()
    local function side(name, check) return { name = name, run = function() return 1, check end } end
    assert.has_error(function() measure.compare({ side("a", 1), side("b", 2) }, 1) end)
  end)

  it("prints a table and writes it to a file, and leaves nothing else behind", function()
    local directory = helper.new_directory()
    local result = helper.run(("TMPDIR=%s %s bench/run.lua --quick --output %s/table.md worker_loop decode"):format(
      helper.quote(directory), helper.quote(helper.parlua), helper.quote(directory)))
    assert.equal(0, result.status, result.stderr)
    local text = helper.read(directory .. "/table.md")
    assert.truthy(text:find("| worker loop, x*x over a range, a task", 1, true), text)
    assert.truthy(result.stdout:find(text, 1, true))
    assert.equal("table.md\n", helper.run("ls " .. helper.quote(directory)).stdout)
  end)

  it("refuses a measure that does not exist", function()
    local result = helper.run(helper.quote(helper.parlua) .. " bench/run.lua --quick wurker_loop")
    assert.equal(2, result.status)
    assert.equal("bench: there is no measure 'wurker_loop'\n", result.stderr)
  end)
end)
