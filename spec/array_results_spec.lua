--- Results of map as an array: put into one of the script's (into), or packed into a new one (as = "array").
local ffi = require "ffi"
local helper = require "spec.helper"
local parlua = require "parlua"

local function messages_of(failures)
  local list = {}
  for k, failure in ipairs(failures) do list[k] = failure.index .. ": " .. failure.message end
  return list
end

helper.for_each_engine(function(engine)
  local with = helper.options(engine)

  describe("an array as arguments", function()
    it("is a list of its elements, or of its slices", function()
      local a, m = parlua.array("int16", { 5, 6, 7 }), parlua.array("float", 20, 3, 2)
      for i, part in ipairs(m) do part:fill(i) end
      assert.equal("10 12 14", table.concat(parlua.map(function(x) return 2 * x end, a, with()), " "))
      assert.equal("10 14", table.concat(parlua.map(function(x) return 2 * x end, a:view { 1, 3, 2 }, with()), " "))
      local sums, failures = parlua.map(function(part) return part:sum() * #part end, m, with { as = "array" })
      assert.same({ {}, 20, 18, 360 }, { failures, #sums, sums[1], sums[20] })
      assert.equal("7 13 19", table.concat(parlua.map(function(x, i, part) return x + i + part:get(1, 1) end,
        parlua.zip(a, parlua.range(3), m:view { 1, 9, 4 }), with()), " "))
      a:free()
      assert.has_error(function() parlua.map(function() end, a, with()) end,
        "the array was freed: nothing can be done with it after a:free()")
    end)
  end)

  describe("into", function()
    it("takes numbers, and gives the array, the failures and the summary", function()
      local a = parlua.array("double", 100)
      local result, failures, summary = parlua.map(function(i) return i * i end, parlua.range(100), with { into = a })
      assert.is_true(rawequal(result, a))
      assert.same({ 0, 100, 338350, 10000 }, { #failures, summary.returned, a:sum(), a[100] })
    end)

    it("takes a slice from each task: a number, a list, lists in lists, an array, a view, C data", function()
      local a = parlua.array("float", 7, 2, 2)
      local results, failures = parlua.map(function(i)
        if i == 1 then return { 1, 2, 3, 4 } end
        if i == 2 then return { { 1, 2 }, { 3, 4 } } end
        if i == 3 then return parlua.array("int8", { { 1, 2 }, { 3, 4 } }) end
        if i == 4 then return parlua.array("double", { { 1, 3 }, { 2, 4 } }):transpose() end
        if i == 5 then return ffi.new("double[4]", 1, 2, 3, 4) end
        if i == 6 then return ffi.new("uint8_t[?]", 4, 1, 2, 3, 4) end
        return parlua.array("int32", { 1, 2, 3, 4 })
      end, parlua.range(7), with { into = a })
      assert.same({}, failures)
      for i = 1, 7 do assert.same({ { 1, 2 }, { 3, 4 } }, results:slice(i):totable()) end
    end)

    it("takes any arguments, views with gaps, and more room than there are tasks", function()
      local a = parlua.array("int32", 3, 10)
      local k = 0
      local _, failures = parlua.map(function(x) return { x, -x, 2 * x } end, function()
        k = k + 1
        if k <= 8 then return k end
      end, with { into = a:transpose() })
      assert.same({}, failures)
      assert.same({ { 1, 2, 3, 4, 5, 6, 7, 8, 0, 0 }, { -1, -2, -3, -4, -5, -6, -7, -8, 0, 0 },
        { 2, 4, 6, 8, 10, 12, 14, 16, 0, 0 } }, a:totable())
    end)

    it("makes what does not fit a failure of its task, which says what was given", function()
      local a, rows = parlua.array("uint8", 7), parlua.array("double", 3, 2)
      local _, failures = parlua.map(function(i)
        return ({ 255, 256, 1.5, "x", { 1, 2 }, ffi.cast("int *", 8) })[i]
      end, parlua.range(7), with { into = a })
      assert.same({ "2: task 2 returned 256, which is no uint8", "3: task 3 returned 1.5, which is no uint8",
        '4: task 4 returned "x", where a number is to be put into an array',
        "5: task 5 returned a list of 2, its place in the array (7) is of one number" },
        { unpack(messages_of(failures), 1, 4) })
      local told = engine == "mpi" and "a pointer (int *)" or "C data that are no array of numbers"
      assert.truthy(failures[5].message:find(told, 1, true))
      assert.equal("7: task 7 returned nothing, where a number is to be put into an array", messages_of(failures)[6])
      assert.same({ 255, 0, 0, 0, 0, 0, 0 }, a:totable())
      _, failures = parlua.map(function(i) return i == 2 and 5 or { 1, 2, 3 } end, parlua.range(2), with { into = rows })
      assert.same({ "1: task 1 returned a list of 3, its place in the array (3 x 2) is of 2 numbers",
        "2: task 2 returned a number, that is a list of 1, its place in the array (3 x 2) is of 2 numbers" },
        messages_of(failures))
    end)

    it("takes from arrays and 64-bit integers only what fits", function()
      local a, wide = parlua.array("uint8", 6), parlua.array("int64", 4)
      local _, failures = parlua.map(function(i)
        return ({ 256LL, 200ULL, parlua.array("double", { 300 }), parlua.array("int32", { -5 }), parlua.array("float", { 7 }),
          parlua.array("complex", 1) })[i]
      end, parlua.range(6), with { into = a })
      assert.same({ "1: task 1 returned 256LL, which is no uint8", "3: task 3 returned 300, which is no uint8",
        "4: task 4 returned -5, which is no uint8",
        "6: task 6 returned complex numbers, where such of the type uint8 are to be put into an array" }, messages_of(failures))
      assert.same({ 0, 200, 0, 0, 7, 0 }, a:totable())
      _, failures = parlua.map(function(i) return ({ 2 ^ 63, -2 ^ 63, 9007199254740993LL, 18446744073709551615ULL })[i] end,
        parlua.range(4), with { into = wide })
      assert.same({ 1, 4 }, { failures[1].index, failures[2].index })
      assert.same({ "-9223372036854775808LL", "9007199254740993LL" }, { tostring(wide[2]), tostring(wide[3]) })
    end)

    it("makes a task without a place a failure, where their number was not known before", function()
      local a, k = parlua.array("double", 2), 0
      local _, failures = parlua.map(function(x) return x end, function()
        k = k + 1
        if k <= 3 then return k end
      end, with { into = a })
      assert.same({ "3: task 3 has no place in the array: its first dimension is 2 (2)" }, messages_of(failures))
      assert.same({ 1, 2 }, a:totable())
    end)

    it("is refused before any work where it can't be", function()
      local function refused(pattern, arguments, options)
        local ok, message = pcall(parlua.map, function() error "was run" end, arguments, with(options))
        assert.is_false(ok)
        assert.truthy(tostring(message):find(pattern), message)
      end
      refused("room for 3 tasks, the size of its first dimension %(3 x 4%), and there are 5", parlua.range(5),
        { into = parlua.array("double", 3, 4) })
      refused("option into, from the call: 3; it takes an array", parlua.range(5), { into = 3 })
      refused("exclude each other", parlua.range(5), { into = parlua.array("double", 5), as = "array" })
      local freed = parlua.array("double", 5)
      freed:free()
      refused("the array was freed", parlua.range(5), { into = freed })
    end)
  end)

  describe('as = "array"', function()
    it("packs numbers, and leaves NaN for failures", function()
      local a, failures, summary = parlua.map(function(i)
        if i % 10 == 3 then error "no" end
        return i / 2
      end, parlua.range(40), with { as = "array" })
      assert.same({ "double", 40, 4, 36 }, { a.type, #a, #failures, summary.returned })
      for i = 1, 40 do
        if i % 10 == 3 then assert.is_true(a[i] ~= a[i]) else assert.equal(i / 2, a[i]) end
      end
    end)

    it("packs k numbers a task as n x k", function()
      for _, form in ipairs { "table", "array", "C data" } do
        local a, failures = parlua.map(function(i)
          if i == 2 then error "no" end
          if form == "table" then return { i, 2 * i, 3 * i } end
          if form == "array" then return parlua.array("float", { i, 2 * i, 3 * i }) end
          return ffi.new("double[3]", i, 2 * i, 3 * i)
        end, parlua.range(5), with { as = "array" })
        assert.same({ { 5, 3 }, 1 }, { a.shape, #failures })
        assert.same({ 5, 10, 15 }, a:slice(5):totable())
        assert.is_true(a:get(2, 1) ~= a:get(2, 1) and a:get(2, 3) ~= a:get(2, 3))
      end
    end)

    it("packs into a named type; for an integer type fill is needed where a task fails", function()
      local function f(i)
        if i == 2 then error "no" end
        return i
      end
      local a = parlua.map(f, parlua.range(4), with { as = "array", type = "int16", fill = -1 })
      assert.same({ "int16", { 1, -1, 3, 4 } }, { a.type, a:totable() })
      assert.same({ 1, 0, 3, 4 }, parlua.map(f, parlua.range(4), with { as = "array", fill = 0 }):totable())
      local ok, message = pcall(parlua.map, f, parlua.range(4), with { as = "array", type = "int16" })
      assert.is_false(ok)
      assert.truthy(message:find("1 of 4 tasks gave no result, and an array of int16 has nothing that stands for none", 1, true))
      assert.truthy(message:find("fill: task 2: ", 1, true), message)
      assert.same({ 1, 4, 9 }, parlua.map(function(x) return x * x end, { 1, 2, 3 }, with { as = "array", type = "int64" })
        :copy("double"):totable())
      local complex = parlua.map(function(x) return ffi.new("complex", x, 1) end, { 1, 2 }, with { as = "array", type = "complex" })
      assert.same({ 2, 1 }, { complex[2].re, complex[2].im })
    end)

    it("takes iterators, of which nobody knows how many there are", function()
      local k = 0
      local a = parlua.map(function(x) return x * x end, function()
        k = k + 1
        if k <= 3000 then return k end
      end, with { as = "array", type = "float" })
      assert.same({ { 3000 }, 9e6 }, { a.shape, a[3000] })
    end)

    it("keeps a number that comes after the first result, which came after a wider one", function()
      local seconds = { 0.03, 0, 0, 0.1 }
      local a, failures = parlua.map(function(i)
        local first = os.clock()
        while os.clock() - first < seconds[i] do end
        return i % 3 == 1 and 7 or { 1, 2, 3 }
      end, parlua.range(4), with { as = "array", chunk = 1, workers = 2 })
      assert.equal(2, #failures)
      assert.same({ 7, 7 }, { a[1], a[4] })
    end)

    it("takes as wide as the first result is, whichever comes first", function()
      for _, case in ipairs {
        { 1, { 1, 2, 3 }, { 1, 1 }, 7, failed = "2 3", shape = { 4 } },
        { { 1, 2 }, 5, 6, { 7, 8 }, failed = "2 3", shape = { 4, 2 } },
        { "x", { 1, 2 }, 6, { 7, 8 }, failed = "1 3", shape = { 4, 2 } },
      } do
        local a, failures = parlua.map(function(i)
          local first = os.clock()
          while i == 1 and os.clock() - first < 0.03 do end -- others come before
          return case[i]
        end, parlua.range(4), with { as = "array", chunk = 1, workers = 2 })
        local indices = {}
        for k, failure in ipairs(failures) do indices[k] = failure.index end
        assert.equal(case.failed, table.concat(indices, " "))
        assert.same(case.shape, a.shape)
        local last = case[4]
        for k = 1, case.shape[2] or 1 do
          assert.equal(type(last) == "table" and last[k] or last, case.shape[2] and a:get(4, k) or a[4])
        end
      end
    end)

    it("makes results that are not alike, or no numbers, failures", function()
      local a, failures = parlua.map(function(i) return ({ 1, { 1, 2 }, "x", 4 })[i] end, parlua.range(5),
        with { as = "array", chunk = 5 })
      assert.equal(3, #failures)
      assert.same({ "2: the results are not alike: 2 numbers, and such of 1 number before",
        '3: task 3 returned "x", where numbers are to be packed into an array',
        "5: task 5 returned nothing, where numbers are to be packed into an array" }, messages_of(failures))
      assert.same({ 5, 1, 4 }, { #a, a[1], a[4] })
    end)

    it("is refused where it can't be", function()
      local function refused(words, call, ...)
        local ok, message = pcall(call, ...)
        assert.is_false(ok)
        assert.truthy(tostring(message):find(words, 1, true), message)
      end
      local function f(x) return x end
      refused("there are no tasks", parlua.map, f, {}, with { as = "array" })
      refused('option type, from the call: "flot"', parlua.map, f, { 1 }, with { as = "array", type = "flot" })
      refused("the options into and as are for parlua.map", parlua.each, f, { 1 }, with { as = "array" })
      refused("the options into and as are for parlua.map", parlua.imap, f, { 1 }, with { into = parlua.array("double", 1) })
    end)

    it("packs a million tasks", function()
      local a = parlua.map(function(i) return i end, parlua.range(1e6), with { as = "array" })
      assert.same({ 1e6, 500000500000 }, { #a, a:sum() })
    end)
  end)

  it("tasks that a run ends early without are NaN", function()
    local a, _, summary = parlua.map(function(i)
      if i == 5 then error "no" end
      return i
    end, parlua.range(50), with { as = "array", max_failures = 1, chunk = 1 })
    assert.is_truthy(summary.stopped)
    assert.same({ 1, 2, 3, 4 }, a:view({ 1, 4 }):totable())
    assert.is_true(a[5] ~= a[5])
  end)
end)
