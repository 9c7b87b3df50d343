--- Results that a ready reducer can't take, or that lack the field it is about: told, one by one or in a line, and no end to the rest.
local helper = require "spec.helper"
local parlua = require "parlua"

describe("a reduction with ready reducers", function()
  helper.for_each_engine(function(engine)
    local rows = { { x = 1, c = "a" }, { x = "N/A", c = "a" }, { x = 3, c = "b" }, { c = "b" }, { x = 5 }, { x = { 1 }, c = "a" } }
    local function itself(row) return row end
    local with = helper.options(engine)

    for name, value in pairs { sum = 9, min = 1, max = 5 } do
      it("counts a result that it can't take as that task's failure: " .. name, function()
        local got, failures, summary = parlua.reduce(itself, rows, parlua[name] "x", with())
        assert.equal(value, got)
        assert.same({ 2, 6 }, { failures[1].index, failures[2].index })
        assert.same({ "error", 6, 4, 2 }, { failures[1].kind, summary.tasks, summary.returned, summary.failed })
        assert.same({ x = "N/A", c = "a" }, failures[1].args[1])
        assert.equal('field "x": a number is expected, got the string "N/A"', failures[1].message)
      end)
    end

    it("takes a result in all of its reducers, or in none", function()
      local value, failures = parlua.reduce(itself, rows, { rows = parlua.count, sum = parlua.sum "x", a = parlua.max "x" }, with())
      assert.same({ 2, 4, 9, 5 }, { #failures, value.rows, value.sum, value.a })
      local groups, failed = parlua.reduce(itself, rows, parlua.group("c", { n = parlua.count, s = parlua.sum "x" }), with())
      assert.same({ a = { n = 1, s = 1 }, b = { n = 2, s = 3 } }, groups)
      assert.equal(2, #failed)
    end)

    it("does the same for results that are folded in the script", function()
      local value, failures = parlua.reduce(itself, rows, { s = parlua.sum "x", n = parlua.count }, with { on_error = function() end })
      assert.same({ 9, 4, 2, 6 }, { value.s, value.n, failures[1].index, failures[2].index })
    end)

    it("ends when a step of one's own raises", function()
      assert.has_error(function()
        parlua.reduce(itself, rows, { init = 0, step = function(a, row) return a + row.x end, merge = function(a, b) return a + b end }, with())
      end)
    end)

    it("has up to 200 reducers, and more", function()
      for _, n in ipairs { 49, 50, 51, 100, 200, 300 } do
        local many = {}
        for k = 1, n do many["k" .. k] = k % 2 == 0 and parlua.sum or parlua.max end
        local value = parlua.reduce(function(i) return i end, parlua.range(100), many, with())
        assert.same({ 100, 5050, n % 2 == 0 and 5050 or 100 }, { value.k1, value.k2, value["k" .. n] })
      end
    end)

    it("tells of results that it left out, as they lack the field or the key", function()
      helper.with_directory(function(directory)
        helper.write(directory .. "/s.lua", [[
          local parlua = require "parlua"
          local function row(i) return i % 10 == 7 and {} or { x = i, y = i } end
          print(parlua.reduce(row, parlua.range(5000), { a = parlua.sum "x", b = parlua.max "y" }).b)
          print(#parlua.reduce(row, parlua.range(20), parlua.top(3, "z")))
          print(parlua.reduce(row, parlua.range(20), parlua.group("x")).x)
          print((parlua.reduce(function(i) if i > 2 then return i end end, parlua.range(20), parlua.sum)))
        ]])
        local result = helper.run(helper.command(engine) .. " s.lua",
          { directory = directory, env = { PARLUA_WARN = "" } })
        assert.equal("5000\n0\nnil\n207\n", result.stdout, result.stderr)
        assert.equal('parlua: reduce at s.lua:3: 500 results were left out, as they have no field "x"; the first is that of task 7\n'
          .. 'parlua: reduce at s.lua:4: 20 results were left out, as they have no field "z"; the first is that of task 1\n'
          .. 'parlua: reduce at s.lua:5: 2 results were left out, as they have no field "x"; the first is that of task 7\n', result.stderr)
      end)
    end)
  end)
end)
