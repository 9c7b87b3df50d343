local helper = require "spec.helper"

local parlua = require "parlua"

helper.for_each_engine(function(engine)
  local with = helper.options(engine)

  local function all(...) return { n = select("#", ...), ... } end

  local function letters()
    local i = 0
    return function()
      i = i + 1
      if i <= 5 then return string.char(96 + i), i end
    end
  end

  it("a source that raises is told of with the frames of the script alone, alike on each engine", function()
    local _, message = pcall(parlua.starmap, math.max, parlua.range(3), with())
    assert.equal("arguments: starmap: item 1 is a number, not a list of arguments", message)
    _, message = pcall(parlua.map, tostring, parlua.filter(function() error "bad filter" end, parlua.range(3)), with())
    assert.truthy(message:find("^arguments: [^\n]*derived_sources_spec.lua:%d+: bad filter\nstack traceback:\n[^\n]*'error'\n"
      .. "[^\n]*derived_sources_spec.lua:%d+: in function [^\n]+$"), message)
  end)

  it("take gives the first tasks of any source", function()
    assert.same({ 1, 2, 3, n = 3 }, (parlua.map(tonumber, parlua.take(parlua.range(1e9), 3), with())))
    assert.same({ "a", "b", n = 2 }, (parlua.map(tostring, parlua.take({ "a", "b", "c" }, 2), with())))
    assert.same({ "a", "b", n = 2 }, (parlua.map(tostring, parlua.take(letters(), 2), with())))
    assert.same({ n = 0 }, (parlua.map(tostring, parlua.take(letters(), 0), with())))
    assert.same({ 7, n = 1 }, (parlua.map(tonumber, parlua.take({ 7 }, 10), with())))
  end)

  it("starmap refuses a list with an item that is no list, before any task runs", function()
    local pool = parlua.pool(with())
    for _, starmap in ipairs { parlua.starmap, function(f, lists) return pool:starmap(f, lists) end } do
      local ok, message = pcall(starmap, function() error "ran" end, { { 1 }, 2, { 3 } }, with())
      assert.is_false(ok)
      assert.matches("starmap: item 2 is a number, not a list of arguments$", message)
    end
    pool:close()
  end)

  it("enumerate puts the number first", function()
    assert.same({ { n = 2, 1, "a" }, { n = 2, 2, "b" }, n = 2 }, (parlua.map(all, parlua.enumerate { "a", "b" }, with())))
    local taken = parlua.map(all, parlua.take(parlua.enumerate(letters()), 2), with())
    assert.same({ { n = 3, 1, "a", 1 }, { n = 3, 2, "b", 2 }, n = 2 }, taken)
  end)

  it("batch makes lists of n items", function()
    local batches = parlua.map(function(list) return list end, parlua.batch(parlua.range(7), 3), with())
    assert.same({ { 1, 2, 3 }, { 4, 5, 6 }, { 7 }, n = 3 }, batches)
    batches = parlua.map(function(list) return list end, parlua.batch(letters(), 2), with())
    assert.equal(3, batches.n)
    assert.same({ { n = 2, "c", 3 }, { n = 2, "d", 4 } }, batches[2])
  end)

  it("sources made of others stand in each other", function()
    local source = parlua.batch(parlua.enumerate(parlua.take(parlua.product({ "x", "y" }, parlua.range(5)), 4)), 3)
    local batches = parlua.map(function(list) return list end, source, with())
    assert.same({ { n = 3, 4, "x", 4 } }, batches[2])
  end)

  it("a stream's results are arguments of another", function()
    local squares = parlua.imap(function(x) return x * x end, parlua.range(100), with())
    local sums = {}
    for i, sum in parlua.imap(function(index, square) return index + square end, squares, with()) do sums[i] = sum end
    assert.equal(100, #sums)
    assert.equal(10100, sums[100])
    local count = 0
    for _ in parlua.imap(function(_, square) return square end, parlua.imap(function(x) return x * x end, parlua.range(10), with())) do
      count = count + 1
    end
    assert.equal(10, count)
  end)

  describe("csv:", function()
    local directory
    before_each(function() directory = helper.new_directory() end)
    after_each(function() helper.remove(directory) end)

    local function rows(text, options)
      local results, failures = parlua.map(function(row) return row end, parlua.csv(helper.write(directory .. "/a.csv", text), options), with())
      return results, failures
    end

    it("a row is a table by the header's names", function()
      assert.same({ { a = 1, b = "x" }, { a = -2.5, b = "y" }, n = 2 }, (rows "a,b\n1,x\n-2.5,y\n"))
      assert.same({ { a = 1, b = "x" }, n = 1 }, (rows "\239\187\191a,b\r\n1,x\r\n"))
      assert.same({ n = 0 }, (rows "a,b\n"))
    end)

    it("what reads as a number is one", function()
      local found = rows "n\n1e3\n007\n-0.125\n.5\n12345678901234567890\n0x10\n1-2\n\"5\"\n-\n"
      local values = {}
      for k = 1, found.n do values[k] = found[k].n end
      assert.same({ 1000, "007", -0.125, ".5", "12345678901234567890", "0x10", "1-2", "5", "-" }, values)
    end)

    it("whole numbers that a double does not hold stay strings, and so do those beyond all doubles", function()
      local found = rows("id\n9007199254740992\n9007199254740993\n479386071891505153\n-479386071891505153\n100000000000000000000\n"
        .. "1e400\n0.30000000000000004\n")
      local values = {}
      for k = 1, found.n do values[k] = found[k].id end
      assert.same({ 2 ^ 53, "9007199254740993", "479386071891505153", "-479386071891505153", 1e20, "1e400",
        0.30000000000000004 }, values)
    end)

    it("a byte order mark is no part of it, before quotes and without a header too", function()
      local mark = "\239\187\191"
      for _, is_stream in ipairs { false, true } do
        local function first(text, options)
          local path = helper.write(directory .. "/mark.csv", mark .. text)
          if not is_stream then return (parlua.map(function(row) return row end, parlua.csv(path, options), with()))[1] end
          local fifo = directory .. "/fifo"
          os.execute(("rm -f %s; mkfifo %s; cat %s >%s &"):format(fifo, fifo, path, fifo))
          return (parlua.map(function(row) return row end, parlua.csv(fifo, options), with()))[1]
        end
        assert.same({ id = 1, x = "a" }, first '"id","x"\n1,a\n')
        assert.same({ 1, "a", n = 2 }, first("1,a\n", { header = false }))
        assert.same({ "1", "a", n = 2 }, first('"1",a\n', { header = false }))
        assert.same({ p = "1", q = "a" }, first('"1",a\n', { header = { "p", "q" } }))
      end
    end)

    it("types rule with any number of columns", function()
      for _, columns in ipairs { 3, 149, 151, 400 } do
        local names, values = {}, {}
        for k = 1, columns do names[k], values[k] = "c" .. k, "0" .. k end
        local last = "c" .. columns
        local text = table.concat(names, ",") .. "\n" .. table.concat(values, ",") .. "\n"
        local found = rows(text, { types = { c2 = "number", [last] = "number", c1 = "string" } })
        assert.same({ "01", 2, columns }, { found[1].c1, found[1].c2, found[1][last] })
        local _, failures = rows(text .. text:gsub("^.-\n", ""):gsub("0" .. columns .. "\n$", "x\n"), { types = { [last] = "number" } })
        assert.equal(("column '%s': 'x' is no number"):format(last), failures[1].message)
      end
    end)

    it("decimals are as exact as Lua's own", function()
      local lines, numbers = { "v" }, {}
      for k = 1, 500 do
        local text = ("%d.%0" .. (k % 9 + 1) .. "d"):format(k * 7919 % 99991, k * 104729 % 10 ^ (k % 9 + 1))
        lines[#lines + 1], numbers[k] = text, tonumber(text)
      end
      local found = rows(table.concat(lines, "\n"))
      for k = 1, 500 do assert.equal(numbers[k], found[k].v) end
    end)

    it("quotes hold separators, line ends and, twice, themselves", function()
      assert.same({ { a = 'say "hi"', b = "x,y\nz" }, { a = "", b = 2 }, n = 2 }, (rows 'a,b\n"say ""hi""","x,y\nz"\n"",2\n'))
    end)

    it("empty fields are nil, empty lines are no rows", function()
      assert.same({ { b = 1 }, { a = 2 }, n = 2 }, (rows "a,b\n\n,1\n\r\n2,\n\n"))
    end)

    it("there may be no header, or one given", function()
      assert.same({ { 1, "x", n = 2 }, { 2, nil, 3, n = 3 }, n = 2 }, (rows("1,x\n2,,3\n", { header = false })))
      assert.same({ { p = 1, q = "x" }, n = 1 }, (rows("1;x\n", { header = { "p", "q" }, separator = ";" })))
    end)

    it("types rule", function()
      assert.same({ { zip = "0123", price = 2 }, n = 1 }, (rows('zip,price\n0123,"2"\n', { types = { zip = "string", price = "number" } })))
      local found, failures = rows("price\n1\ncheap\n3\n", { types = { price = "number" } })
      assert.same({ price = 3 }, found[3])
      assert.equal("column 'price': 'cheap' is no number", failures[1].message)
      assert.equal(2, failures[1].index)
    end)

    it("a row of the wrong length fails, and no other", function()
      local found, failures = rows "a,b\n1,2\n1,2,3\n4\n5,6\n"
      assert.same({ a = 5, b = 6 }, found[4])
      assert.equal(2, #failures)
      assert.equal("the row has 3 fields, the header 2", failures[1].message)
      assert.equal("the row has 1 field, the header 2", failures[2].message)
      assert.same({ n = 1, "1,2,3\n" }, failures[1].args)
    end)

    it("many rows, in parts, each once", function()
      local lines = { "i,text" }
      for i = 1, 5000 do lines[#lines + 1] = i .. ',"line\n' .. i .. '"' end
      local path = helper.write(directory .. "/many.csv", table.concat(lines, "\n"))
      for _, chunk in ipairs { 1, 7, 900 } do
        local results = parlua.map(function(row) return row.text == "line\n" .. row.i and row.i or -1 end,
          parlua.take(parlua.csv(path), 4000), with { chunk = chunk })
        assert.equal(4000, results.n)
        for i = 1, 4000 do assert.equal(i, results[i]) end
      end
      assert.equal(5000 * 5001 / 2, (parlua.reduce(function(row) return row.i end, parlua.csv(path), parlua.sum, with())))
    end)

    it("standard input is read as a stream", function()
      helper.write(directory .. "/job.lua", [[
        local parlua = require "parlua"
        return { arguments = parlua.csv "-", map = function(row) return row.b end, reduce = parlua.collect }]])
      local result = helper.run_parlua("--engine " .. engine .. " job.lua", { directory = directory, stdin = 'a,b\n1,"x\ny"\n2,3\n' })
      assert.equal('["x\\ny",3]\n', result.stdout)
    end)
  end)
end)

describe("sources made of others", function()
  local function refused(message, f, ...)
    local ok, told = pcall(f, ...)
    assert.is_false(ok)
    assert.truthy(told:find(message, 1, true), told)
  end

  it("say what they can't be made of", function()
    refused("take: n must be an integer of at least 0, got -1", parlua.take, { 1 }, -1)
    refused("batch: n must be an integer of at least 1, got 0", parlua.batch, { 1 }, 0)
    refused("csv: unknown option 'seperator'; did you mean separator?", parlua.csv, "x", { seperator = ";" })
    refused("csv: unknown option 'x'; there are: columns, header, quote, separator, skip, types", parlua.csv, "x", { x = 1 })
    refused("write_csv: unknown option 'column'; did you mean columns?", parlua.write_csv, "x", {}, { column = {} })
    refused('blocks: size must be a number of bytes, or one such as "64K" or "1M", got "64Q"', parlua.blocks, "x", { size = "64Q" })
    refused("csv: option 'separator' must be one character", parlua.csv, "x", { separator = "::" })
    refused("the option 'header' has no column 'c'; it has a, b", parlua.csv, "x", { header = { "a", "b" }, types = { c = "string" } })
    refused("option 'header' must be a list of different names, but 'a' is in it twice", parlua.csv, "x", { header = { "a", "a" } })
    refused("option 'header' must be a list of different names, but item 1 is a number", parlua.csv, "x", { header = { 1 } })
    refused("csv: the type of column 'a' must be auto, number or string, got date", parlua.csv, "x", { types = { a = "date" } })
    refused("cannot read '/nowhere'", parlua.map, tostring, parlua.csv "/nowhere")
    helper.with_directory(function(directory)
      refused("is empty", parlua.map, tostring, parlua.csv(helper.write(directory .. "/e", "")))
      refused("names 'a' twice", parlua.map, tostring, parlua.csv(helper.write(directory .. "/e", "a,a\n")))
      refused("has no column 'c'; it has a, b", parlua.map, tostring,
        parlua.csv(helper.write(directory .. "/e", "a,b\n"), { types = { c = "string" } }))
    end)
  end)
end)
