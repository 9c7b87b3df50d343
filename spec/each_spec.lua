local helper = require "spec.helper"
local parlua = require "parlua"

describe("parlua.each", function()
  helper.for_each_engine(function(engine)
    local with = helper.options(engine)

    --- The lines of a file, sorted.
    local function sorted_lines(path)
      local lines = {}
      for line in io.lines(path) do lines[#lines + 1] = line end
      table.sort(lines)
      return lines
    end

    it("calls the function once for each task, for its effects", function()
      helper.with_directory(function(directory)
        local path = directory .. "/done"
        local failures, summary = parlua.each(function(i)
          local file = io.open(path, "a")
          file:write(("%04d\n"):format(i))
          file:close()
        end, parlua.range(500), with())
        assert.same({}, failures)
        assert.equal(500, summary.tasks)
        assert.equal(500, summary.returned)
        local lines = sorted_lines(path)
        assert.equal(500, #lines)
        for i = 1, 500 do assert.equal(i, tonumber(lines[i])) end
      end)
    end)

    it("keeps no results, whatever the function returns", function()
      local failures, summary, more = parlua.each(function(i) return i, ("x"):rep(1000), io.stdout,
        coroutine.create(print) end,
        parlua.range(2000), with())
      assert.same({}, failures) -- nothing is sent, so nothing is unsendable
      assert.equal(2000, summary.returned)
      assert.is_nil(more)
    end)

    it("returns the failures, sorted", function()
      local failures, summary = parlua.each(function(i)
        if i % 100 == 7 then error("seven") end
      end, parlua.range(1000), with())
      assert.equal(10, #failures)
      for k, failure in ipairs(failures) do assert.equal(100 * (k - 1) + 7, failure.index) end
      assert.equal(990, summary.returned)
      assert.equal(10, summary.failed)
    end)

    it("does nothing when there are no tasks", function()
      local failures, summary = parlua.each(error, {}, with())
      assert.same({}, failures)
      assert.equal(0, summary.tasks)
    end)

    it("runs many tasks over lists, iterators and coroutines too", function()
      local list = {}
      for i = 1, 20000 do list[i] = i end
      local _, summary = parlua.each(function(x) return x end, list, with())
      assert.equal(20000, summary.returned)
      _, summary = parlua.each(function(k, v) assert(k == v) end, parlua.iterate(ipairs(list)), with())
      assert.equal(20000, summary.returned)
      _, summary = parlua.each(function(x) return x end, coroutine.create(function()
        for i = 1, 20000 do coroutine.yield(i) end
      end), with())
      assert.equal(20000, summary.returned)
    end)

    it("runs each task once, however its chunks are cut for idle workers", function()
      local list = {}
      for i = 1, 20000 do list[i] = i end
      for _ = 1, 20 do
        local _, summary = parlua.each(function(x) return x end, list, with())
        assert.equal(20000, summary.tasks)
      end
    end)

    it("reports every failing task exactly once when all of 100000 fail", function()
      local failures, summary = parlua.each(function(i) error(i, 0) end, parlua.range(1e5), with())
      assert.equal(1e5, #failures)
      assert.equal(1e5, summary.failed)
      assert.equal(0, summary.returned)
      for i = 1, 1e5 do
        if failures[i].index ~= i or failures[i].value ~= i or failures[i].args[1] ~= i then
          assert.same({ i, i, i }, { failures[i].index, failures[i].value, failures[i].args[1] })
        end
      end
    end)

    it("reports every failing task exactly once when more fail in one chunk than a block has room for", function()
      local failures, summary = parlua.each(function(i) error(i, 0) end, parlua.range(40000), with { chunk = 40000 })
      assert.equal(40000, summary.failed)
      assert.equal(40000, #failures)
      for i = 1, 40000 do
        if failures[i].index ~= i or failures[i].value ~= i then assert.same({ i, i }, { failures[i].index, failures[i].value }) end
      end
    end)

    it("reports every failing task exactly once also when tasks come from a generator", function()
      local n = 0
      local failures = parlua.each(function(i) error("no " .. i, 0) end, function()
        n = n + 1
        return n <= 30000 and n or nil
      end, with())
      assert.equal(30000, #failures)
      for i = 1, 30000 do
        if failures[i].index ~= i or failures[i].message ~= "no " .. i or failures[i].args[1] ~= i then
          assert.same({ i, "no " .. i, i }, { failures[i].index, failures[i].message, failures[i].args[1] })
        end
      end
    end)
  end)
end)
