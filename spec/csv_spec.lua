-- Rows of comma-separated values: odd files, numbers to the last bit, columns that are asked for, what a function uses of a row.

local parlua = require "parlua"
local ffi = require "ffi"
local helper = require "spec.helper"

ffi.cdef "double strtod(const char *text, char **end);"

local function identity(row) return row end

describe("csv", function()
  local directory = helper.new_directory()
  local made = 0

  teardown(function() helper.remove(directory) end)

  local function file(text)
    made = made + 1
    return helper.write(("%s/%d.csv"):format(directory, made), text)
  end

  helper.for_each_engine(function(engine)
    local with = helper.options(engine)

    local function rows(text, options)
      local results, failures = parlua.map(identity, parlua.csv(file(text), options), with())
      results.n = nil
      return results, failures
    end

    it("gives what stands in quotes as it is: separators, line ends, quotes, text behind them", function()
      assert.same({
        { a = "x,y", b = "two\nlines" }, { a = 'say "hi"', b = "" }, { a = "1", b = 1 }, { a = "ab", b = "c\r\nd" },
      }, (rows('a,b\n"x,y","two\nlines"\n"say ""hi""",""\n"1",1\n"a"b,"c\r\nd"\r\n')))
    end)

    it("takes line ends of both kinds, none at the end, empty lines between, zero bytes and lone returns", function()
      assert.same({ { a = 1, b = 2 }, { a = "x\0y", b = "p\rq" }, { a = "e" } }, (rows("a,b\r\n1,2\r\n\r\n\nx\0y,p\rq\r\ne,")))
      assert.same({}, (rows("a,b\n")))
      assert.same({}, (rows("a,b")))
    end)

    it("fails the tasks of rows that have another number of fields, and no others", function()
      local results, failures = rows("a,b\n1,2\n1\n3,4\n1,2,3,4\n5,6")
      assert.same({ { a = 1, b = 2 }, nil, { a = 3, b = 4 }, nil, { a = 5, b = 6 } }, results)
      assert.equal("the row has 1 field, the header 2", failures[1].message)
      assert.equal("the row has 4 fields, the header 2", failures[2].message)
      assert.same({ 2, 4 }, { failures[1].index, failures[2].index })
    end)

    it("fails the row whose quotes are not closed, whichever columns are read", function()
      local text = 'a,b\n1,x\n2,"y\n3,z\n'
      for _, options in ipairs { {}, { columns = { "a" } }, { header = false, skip = 1 } } do
        local results, failures = rows(text, options)
        assert.equal(1, #results)
        assert.equal(1, #failures)
        assert.equal("a field is in quotes that are not closed before the file ends", failures[1].message)
        assert.equal(3, failures[1].line)
      end
    end)

    it("passes over as many lines as it is told to, in each file, also compressed ones", function()
      local path = file("\239\187\191# taken today\n\nx,x\n1,2\n3,4\n")
      local packed = path .. ".gz"
      os.execute(("gzip -kf '%s'"):format(path))
      local results = parlua.map(function(row) return row.a .. row.b .. ":" .. parlua.task.line end,
        parlua.csv({ path, packed }, { header = { "a", "b" }, skip = 3 }), with())
      assert.same({ "12:4", "34:5", "12:4", "34:5", n = 4 }, results)
      results = parlua.map(function(row) return row.x end, parlua.csv(file("old\nx,y\n1,2\n"), { skip = 1 }), with())
      assert.same({ 1, n = 1 }, results)
      assert.same({}, (rows("a,b\n", { skip = 5, header = { "a", "b" } })))
    end)

    it("takes one name that is empty, as pandas writes it for its index", function()
      assert.same({ { [""] = 0, a = "x" }, { [""] = 1, a = "y" } }, (rows(",a\n0,x\n1,y\n")))
    end)

    it("reads rows of ten thousand columns, and some columns of them", function()
      local names, values = {}, {}
      for k = 1, 10000 do names[k], values[k] = "c" .. k, k % 3 == 0 and "t" .. k or k end
      local text = table.concat(names, ",") .. "\n" .. (table.concat(values, ",") .. "\n"):rep(5)
      local results = rows(text)
      assert.equal(5, #results)
      for _, row in ipairs(results) do
        for k = 1, 10000 do assert(row["c" .. k] == values[k]) end
      end
      assert.same({ c9999 = "t9999", c7 = 7 }, rows(text, { columns = { "c9999", "c7" } })[5])
    end)

    it("gives texts that come often and texts that come once, of all lengths up to a hundred bytes", function()
      local lines, expected = { "a,b,c" }, {}
      for i = 1, 3000 do
        local row = { a = ("x"):rep(i % 100 + 1), b = "u" .. i, c = "g" .. i % 7 }
        expected[i], lines[i + 1] = row, ("%s,%s,%s"):format(row.a, row.b, row.c)
      end
      assert.same(expected, (rows(table.concat(lines, "\n"))))
    end)

    it("gives the columns that are asked for", function()
      local text = "id,city,t\n1,Bern,9\n2,,20\n"
      assert.same({ { city = "Bern", t = 9 }, { t = 20 } }, (rows(text, { columns = { "t", "city" } })))
      local count = parlua.reduce(identity, parlua.csv(file(text), { columns = { "t" } }), parlua.sum "t", with())
      assert.equal(29, count)
      assert.has_error(function() rows(text, { columns = { "town" } }) end)
    end)

    it("looks into a column of numbers whether it is used or not", function()
      local path = file("a,b\n1,2\n3,four\n5,6\n")
      local results, failures = parlua.map(function(row) return row.a end, parlua.csv(path, { types = { b = "number" } }), with())
      assert.same({ 1, nil, 5, n = 3 }, results)
      assert.equal("column 'b': 'four' is no number", failures[1].message)
    end)

    it("gives the same whatever way a function uses its row", function()
      local path = file("a,b,c\n1,x,3\n4,y,6\n")
      local function each(f) return (parlua.map(f, parlua.csv(path), with())) end
      local key, held = "b", nil
      assert.same({ 4, 10, n = 2 }, each(function(row) return row.a + row.c end))
      assert.same({ "x", "y", n = 2 }, each(function(row) return row[key] end))
      assert.same({ "x", "y", n = 2 }, each(function(row)
        local other = row
        return other.b
      end))
      assert.same({ 3, 3, n = 2 }, each(function(row)
        local n = 0
        for _ in pairs(row) do n = n + 1 end
        return n
      end))
      assert.same({ { a = 1, b = "x", c = 3, d = 5 }, { a = 4, b = "y", c = 6, d = 5 }, n = 2 }, each(function(row)
        row.d = 5
        return row
      end))
      assert.same({ 6, 12, n = 2 }, each(function(row)
        held = row
        row = { a = 2 * held.c }
        return row.a
      end))
      assert.same({ "x3", "y6", n = 2 }, each(function(...)
        local row = ...
        return row.b .. row.c
      end))
      assert.same({ "x", "y", n = 2 }, each(function(row) return (function() return row.b end)() end))
      assert.same({ "x", nil, n = 2 }, each(function(row) return row.a < 2 and row.b or nil end))
      assert.same({ "1x", "2y", n = 2 }, (parlua.map(function(i, row) return i .. row.b end,
        parlua.enumerate(parlua.csv(path)), with())))
    end)

    it("groups as a loop over the rows does", function()
      local lines, sums, counts, most = { "skip,name,value" }, {}, {}, {}
      for i = 1, 5000 do
        local name, value = "n" .. i % 37, i * 0.25
        lines[i + 1] = ("s%d,%s,%.2f"):format(i, name, value)
        sums[name], counts[name] = (sums[name] or 0) + value, (counts[name] or 0) + 1
        most[name] = math.max(most[name] or 0, value)
      end
      local groups = parlua.reduce(identity, parlua.csv(file(table.concat(lines, "\n"))),
        parlua.group("name", { n = parlua.count, sum = parlua.sum "value", most = parlua.max "value" }), with())
      for name, n in pairs(counts) do
        assert.same({ n = n, sum = sums[name], most = most[name] }, groups[name])
        groups[name] = nil
      end
      assert.is_nil(next(groups))
    end)

    it("passes a row that can't be read on to nobody, and reads on behind it, in reductions too", function()
      local path = file("a,b\n1,2\n3\n5,6\n")
      local sum, failures = parlua.reduce(identity, parlua.csv(path), parlua.sum "a", with())
      assert.equal(6, sum)
      assert.equal(2, failures[1].index)
    end)
  end)

  it("reads numbers as strtod does, to the last bit, and nothing else as a number", function()
    local texts = {
      "0", "-0", "1", "0.1", "123456789012345", "9007199254740993.0", "9007199254740992", "1e22", "1e23", "1.5e300", "-2.5E-7",
      "4.9e-324", "2.2250738585072011e-308", "1.7976931348623157e308", "0.000000000000000000001", "5.", "1.e3", "1E+2", "1e-400",
      "9007199254740991", "18014398509481984", "72057594037927936", "100000000000000000000", "0.30000000000000004",
      "179769313486231570000000000000000000000.5", "1234567890.1234567890123456789",
      "0." .. ("3"):rep(100), ("9"):rep(40) .. ".5", "1" .. ("0"):rep(30) .. "1.0",
    }
    local random = 12345
    local function draw(n)
      random = (random * 1103515245 + 12345) % 2 ^ 31
      return math.floor(random / 2 ^ 31 * n)
    end
    for digits = 1, 25 do
      for _ = 1, 40 do
        local list = { draw(2) == 0 and "-" or "", tostring(1 + draw(9)) }
        for k = 2, digits do list[k + 1] = tostring(draw(10)) end
        table.insert(list, 3 + draw(digits), ".")
        list[#list + 1] = "5"
        if draw(2) == 0 then list[#list + 1] = ("e%d"):format(draw(80) - 40) end
        texts[#texts + 1] = table.concat(list)
      end
    end
    local results = parlua.map(identity, parlua.csv(file("x\n" .. table.concat(texts, "\n"))), { engine = "serial" })
    local bits = ffi.new "union { double number; uint64_t word; }"
    local function word(number)
      bits.number = number
      return bits.word + 0ULL
    end
    for i, text in ipairs(texts) do
      local got, expected = results[i].x, ffi.C.strtod(text, nil)
      assert(type(got) == "number" and word(got) == word(expected), text .. " is read as " .. tostring(got))
    end
    local others = {
      "007", "00", "-01", "1e", "1e+", "--1", "1-5", "1.2.3", "0x10", "nan", "inf", "1e400", " 1", "1 ", "1_000", "-", ".", "-.", "e5",
      "9007199254740993", "123456789012345678901", "-9007199254740993", "1,5",
    }
    for _, text in ipairs(others) do
      local got = parlua.map(identity, parlua.csv(file("x\n" .. text), { separator = ";" }), { engine = "serial" })[1].x
      assert.equal(text, got)
    end
  end)

  it("refuses columns that can't be meant", function()
    local path = file("a,b\n1,2\n")
    local function refused(pattern, options)
      local ok, message = pcall(function() return parlua.map(identity, parlua.csv(path, options)) end)
      assert.is_false(ok)
      assert.truthy(message:find(pattern, 1, true), message)
    end
    refused("has no column 'c'; it has a, b", { columns = { "c" } })
    refused("option 'columns' must be a list of different names, but 'a' is in it twice", { columns = { "a", "a" } })
    refused("option 'columns' must be a list of names, it is empty", { columns = {} })
    refused("there is no header", { columns = { "a" }, header = false })
    refused("option 'columns' must be a list of names", { columns = "a" })
    refused("option 'skip' must be a number of lines, got 1.5", { skip = 1.5 })
  end)

  it("says what to do about a header that is none, or of another kind of file", function()
    local function refused(text, pattern, read, options)
      for _, name in ipairs { file(text), file(text) .. ".gz" } do
        if name:find "gz$" then os.execute(("gzip -kf '%s'"):format(name:sub(1, -4))) end
        local ok, message = pcall(function() return parlua.map(identity, (read or parlua.csv)(name, options)) end)
        assert.is_false(ok)
        assert.truthy(message:find(pattern, 1, true), message)
      end
    end
    refused("a,b,a\n1,2,3\n", "the header names 'a' twice; name the columns yourself: { header = { ... }, skip = 1 }")
    refused("a,,b,\n1,2,3,4\n", "the header has no names for columns 2 and 4; name the columns yourself")
    refused('a,"b\n1,2\n', "a name in its header is in quotes that are not closed")
    refused("a;b\n1;2\n", [[its header is one column, 'a;b': say { separator = ";" } if it is several, { separator = "," } if not]])
    refused("a\tb\n1\t2\n", [[its header is one column, 'a\tb': say { separator = "\t" }]])
    refused("a,b\r1,2\r", "its lines end with a carriage return alone; tr '\\r' '\\n' writes them as they should be")
    for _, read in ipairs { parlua.csv, parlua.lines, parlua.jsonl } do
      refused("\255\254a\0\n\0b\0\n\0", "is a text in UTF-16; iconv -f UTF-16 -t UTF-8", read)
      refused("\254\255\0a\0\n\0b\0\n", "is a text in UTF-16; iconv -f UTF-16 -t UTF-8", read)
    end
    assert.same({ { ["a;b"] = "1;2" }, n = 1 }, (parlua.map(identity, parlua.csv(file("a;b\n1;2\n"), { separator = "," }))))
  end)

  it("reads rows from a pipe as from a file, with the columns that are asked for", function()
    local text = 'a,b,c\n1,"x\ny",3\n4,,6\n'
    local script = helper.write(directory .. "/pipe.lua", [[
      local parlua = require "parlua"
      local rows = parlua.map(function(row) return row end, parlua.csv("-", { columns = { "a", "b" } }))
      for i = 1, rows.n do print(rows[i].a, rows[i].b, rows[i].c) end]])
    local result = helper.run(("cat %s | %s %s"):format(helper.quote(file(text)), helper.parlua, script))
    assert.equal("1\tx\ny\tnil\n4\tnil\tnil\n", result.stdout)
  end)

  it("reads fields of many megabytes from a pipe, closed or not", function()
    local script = helper.write(directory .. "/long.lua", [[
      local parlua = require "parlua"
      local results, failures = parlua.map(function(row) return row.a + #row.b end, parlua.csv("-"), { warn = false })
      print(results[1], results[2], #failures, failures[1].line, failures[1].message)]])
    local program = [[printf 'a,b\n1,x\n2,"'; yes 'some text, of a field' | head -c 44000000; printf '"\n3,"'; ]]
      .. "yes 'with, commas' | head -c 40000000"
    local result = helper.run(("(%s) | %s %s"):format(program, helper.parlua, script))
    assert.equal("2\t44000002\t1\t2000004\ta field is in quotes that are not closed before the file ends\n", result.stdout, result.stderr)
  end)
end)
