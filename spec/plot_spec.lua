--- Pictures of numbers.
local helper = require "spec.helper"
local terminal = require "spec.terminal"

--- What a script prints, where standard output is no terminal.
local function printed(text)
  return helper.with_directory(function(directory)
    local script = helper.write(directory .. "/plot.lua", "local parlua = require 'parlua'\n" .. text)
    local result = helper.run(helper.quote(helper.parlua) .. " " .. script, { directory = directory })
    assert.equal("", result.stderr)
    return result.stdout
  end)
end

describe("parlua.plot", function()
  it("draws numbers over their index, between axes with round numbers", function()
    local text = printed("parlua.plot({ 10, 12, 19, 31, 39 }, { width = 32, height = 5 })")
    assert.matches("^40 ┤[^\n]+\n   │[^\n]+\n20 ┤[^\n]+\n   │[^\n]+\n 0 ┤\n   └", text)
    assert.matches("\n +2 +4\n$", text)
  end)

  it("puts the least and the largest number where they belong", function()
    local lines = {}
    for line in printed("parlua.plot({ 0, 0, 10, 10 }, { width = 40, height = 5 })"):gmatch("[^\n]+") do
      lines[#lines + 1] = line
    end
    assert.matches("^10 ┤ +[^%s]+$", lines[1])
    assert.matches("^ 0 ┤[^%s]+ *$", lines[5])
    assert.matches("^   └", lines[6])
    assert.matches("^ +2 +4$", lines[7])
  end)

  it("draws x and y, several series with their names, functions, fields of records, points, arrays of the FFI", function()
    for _, call in ipairs {
      "parlua.plot({ 1, 2, 3 }, { 4, 5, 6 })", "parlua.plot { { 1, 2, 3 }, { 4, 5, 6 }, title = 'a title' }", "parlua.plot(math.sin, 0, 10)",
      "parlua.plot({ { x = 1, y = 4 }, { x = 2, y = 6 } }, 'x', 'y')", "parlua.plot { { 1, 4 }, { 2, 5 }, { 3, 6 } }",
      "parlua.plot(require('ffi').new('double[3]', 4, 5, 6))", "parlua.plot { 4, 5, 6, height = 6 }",
      "parlua.plot(parlua.map(function(x) return x + 3 end, parlua.range(3)))", "parlua.plot(parlua.array('double', { 4, 5, 6 }))",
      "parlua.plot { require('ffi').new('int[3]', 1, 2, 3), parlua.array('double', { 4, 5, 6 }), title = 'a title' }",
      "parlua.plot { 4LL, 5LL, 7LL }",
    } do
      assert.matches("┤.*└", printed(call), call)
    end
    local text = printed("parlua.plot { { 1, 2 }, { 0, 1 }, { 1, 0 }, labels = { 'up', 'down' }, title = 'both', x = 'time', y = 'height' }")
    for _, word in ipairs { "both", "time", "height", "o up", "x down" } do
      assert.truthy(text:find(word, 1, true), text)
    end
  end)

  it("draws fields of structs: of results, of lists, of arrays of the FFI", function()
    local declare = "local ffi = require 'ffi' ffi.cdef 'typedef struct { int x; float y; int64_t n; char name[4]; } point_t;' "
    local make = "function(x) return ffi.new('point_t', x, x * x, x) end"
    local wanted = printed("parlua.plot({ { x = 1, y = 1 }, { x = 2, y = 4 }, { x = 3, y = 9 } }, 'x', 'y', { height = 5 })")
    for _, rows in ipairs { "parlua.map(" .. make .. ", parlua.range(3))", "ffi.new('point_t[3]', { { 1, 1 }, { 2, 4 }, { 3, 9 } })",
      "{ (" .. make .. ")(1), (" .. make .. ")(2), (" .. make .. ")(3) }" } do
      assert.equal(wanted, printed(declare .. "local rows = " .. rows .. " parlua.plot(rows, 'x', 'y', { height = 5 })"))
    end
    local lines = printed(declare .. "local rows = { ffi.new('point_t', 1, 2, 3) } for _, f in ipairs { function() parlua.plot(rows) end, "
      .. "function() parlua.plot(rows, 'z') end, function() parlua.histogram(rows) end, function() parlua.plot(rows, 'name') end } do "
      .. "print((select(2, pcall(f)))) end parlua.histogram(rows, 'n', { bins = 1 })")
    assert.equal([[
plot: which fields of the records (x, y, n, name)? parlua.plot(rows, "x", "y")
plot: no record has a number in a field z (x, y, n, name)
histogram: what is counted must be numbers, but number 1 is a struct; name one of its fields (x, y, n, name): parlua.histogram(rows, "x")
plot: the field name must be numbers, but number 1 is a cdata, <char[4]: "">
]], (lines:gsub("[^\n]*│[^\n]*\n", "")))
    assert.matches("│[█]+ 1\n$", lines)
  end)

  it("leaves gaps where results are missing", function()
    local text = printed([[
      local results = parlua.map(function(x) if x > 10 and x < 40 then error("no") end return 1 end, parlua.range(50), { workers = 1 })
      parlua.plot(results, { width = 60, height = 5 })]])
    assert.matches("[^%s]%s%s%s%s%s%s%s%s%s%s+[^%s]", text:match("\n1[^\n]*┤([^\n]*)") or text:match("1%.?0* ┤([^\n]*)"))
  end)

  it("fits the terminal, wide or narrow", function()
    for _, columns in ipairs { 80, 30 } do
      for _, lang in ipairs { "C", "C.UTF-8" } do
        terminal.with_prompt({ columns = columns, lang = lang }, function(t)
          local text = t:run("parlua.plot(math.sin, 0, 6)")
          assert.matches("┤", text)
          for line in text:gmatch("[^\n]+") do
            assert.is_true(#line:gsub("[\128-\191]", "") <= columns, line)
          end
        end)
      end
    end
  end)

  it("writes an SVG file", function()
    helper.with_directory(function(directory)
      local path = directory .. "/picture.svg"
      assert.equal("", printed(("parlua.plot { { 1, 2, 3 }, { 4, 5, 6 }, { 6, 5, 4 }, labels = { 'a<b', 'c' }, file = %q }"):format(path)))
      local text = helper.read(path)
      assert.matches("^<svg xmlns=", text)
      assert.matches("</svg>\n$", text)
      assert.equal(2, select(2, text:gsub("<polyline", "")))
      assert.truthy(text:find("a&lt;b", 1, true))
      printed(("parlua.plot.histogram({ 1, 1, 2 }, { bins = 2, file = %q })"):format(path))
      assert.equal(2, select(2, helper.read(path):gsub('stroke="white"', "")))
    end)
  end)

  it("tells what it can't draw", function()
    local text = printed([[
      for _, f in ipairs {
        function() parlua.plot() end, function() parlua.plot {} end, function() parlua.plot("x") end, function() parlua.plot({ 1, "x" }) end,
        function() parlua.plot({ 1, 2 }, { 1 }) end, function() parlua.plot { 1, 2, colour = 1 } end, function() parlua.plot({ { a = 1 } }) end,
        function() parlua.plot { 1, file = "/dev/null/x.svg" } end, function() parlua.plot(math.sin) end,
        function() parlua.plot { 1, kind = "pie" } end, function() parlua.plot { north = 3, south = 4 } end,
        function() parlua.plot { n = 3 } end, function() parlua.plot({ n = 3 }, "x", "y") end, function() parlua.plot({ 1 }, { n = 1 }) end,
        function() parlua.histogram { n = 3 } end, function() parlua.histogram({ { a = 1 } }) end, function() parlua.histogram { north = 1 } end,
        function() parlua.plot(parlua.array("double", 2, 2)) end, function() parlua.plot({ { a = 1 } }, "b") end,
        function() parlua.plot({ north = { n = 3 }, south = { n = 4 } }, "n") end, function() parlua.plot { [2019] = { n = 3 } } end,
      } do
        print(((select(2, pcall(f))):gsub("^[^ ]*%.lua:%d+: ", "")))
      end]])
    assert.equal([[
plot: nothing to draw: parlua.plot(ys), parlua.plot(xs, ys), parlua.plot(f, from, to)
plot: there is no number to draw
plot: what is drawn must be a list of numbers, got string
plot: what is drawn must be numbers, but number 2 is a string, "x"
plot: there are 2 numbers for x, and 1 for y
plot: unknown option colour; there are bins, file, from, height, kind, labels, title, to, width, x, y
plot: which fields of the records (a)? parlua.plot(rows, "x", "y")
plot: /dev/null/x.svg: Not a directory
plot: a function is drawn between two numbers: parlua.plot(f, from, to)
plot: the option kind is "line" or "points", got "pie"
plot: the table has its values by names ("north", "south"), which stand nowhere on an axis; draw a list in an order of your own: ]]
      .. [[list = {} for _, value in pairs(t) do list[#list + 1] = value end parlua.plot(list)
plot: there is no number: all 3 are nil, as results of failed tasks are
plot: there is no number: all 3 are nil, as results of failed tasks are
plot: there is no number: the only one is nil, as results of failed tasks are
histogram: there is no number: all 3 are nil, as results of failed tasks are
histogram: what is counted must be numbers, but number 1 is a table; name one of its fields (a): parlua.histogram(rows, "a")
]]
      .. "histogram: unknown field 'north'; the reducer takes { from =, to =, bins = }, and a list of numbers or records is drawn: "
      .. [[parlua.plot.histogram(rows, "x")
plot: an array of 2 dimensions cannot be drawn; take a part of one dimension, such as a[1]
plot: no record has a number in a field b (a)
plot: the table has its values by names ("north", "south"), which stand nowhere on an axis; draw a list in an order of your own: ]]
      .. [[rows = {} for _, row in pairs(t) do rows[#rows + 1] = row end parlua.plot(rows, "y")
plot: which fields of the values? parlua.plot(t, "y") draws them by keys
]], text)
  end)

  it("draws what parlua.group gives by its keys, where these are numbers", function()
    local rows = "{ { x = 2019, n = 3 }, { x = 2020, n = 5 }, { x = 2022, n = 1 } }, 'x', 'n', { height = 6, width = 40, x = '', y = '' }"
    local wanted = printed("parlua.plot(" .. rows .. ")")
    assert.equal(wanted, printed("parlua.plot({ [2022] = 1, [2019] = 3, [2020] = 5 }, { kind = 'points', height = 6, width = 40, x = '', y = '' })"))
    assert.equal(wanted, printed("parlua.plot({ [2022] = { n = 1 }, [2019] = { n = 3 }, [2020] = { n = 5 } }, 'n', "
      .. "{ kind = 'points', height = 6, width = 40, x = '', y = '' })"))
  end)
end)

describe("a histogram", function()
  it("counts numbers in bins with round borders", function()
    assert.equal("0 – 1 │██████████ 2\n1 – 2 │█████ 1\n", printed("parlua.plot.histogram({ 0, 0.5, 2 }, { bins = 2, width = 20 })"))
    local text = printed("local t = {} for i = 0, 999 do t[i + 1] = i / 100 end parlua.histogram(t)")
    assert.matches("^ 0 – 1 │[█]+ 100\n", text)
    assert.matches("9 – 10 │[█]+ 100\n$", text)
  end)

  it("has at most as many bars as height says, between round borders", function()
    assert.equal(" 0 – 5 │██████████ 4\n5 – 10 │█████ 2\n", printed("parlua.histogram({ 1, 2, 3, 4, 5, 6 }, { height = 2, width = 21 })"))
    assert.matches("^[^\n]*│[█]+ 6\n$", printed("parlua.histogram({ -1, 2, 3, 4, 5, 6 }, { height = 1 })"))
    assert.matches("^0 – 2 │[^\n]* 1\n2 – 4 │[^\n]* 2\n4 – 5 │[^\n]* 2\n$",
      printed("parlua.histogram({ 1, 2, 3, 4, 5 }, { from = 0, to = 5, bins = 5, height = 3 })"))
  end)

  it("shows what the reducer counts", function()
    local text = printed([[
      parlua.plot((parlua.reduce(function(x) return x end, parlua.range(0, 11), parlua.histogram { from = 0, to = 10, bins = 2 })))]])
    assert.matches("0 – 5 +│[█]+[^\n]* 5\n", text:gsub(" +–", " –"))
    assert.matches("1 above 10\n", text)
  end)
end)
