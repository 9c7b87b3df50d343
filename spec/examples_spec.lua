local helper = require "spec.helper"

local lfs = require "lfs"

--- Runs an example as it stands in the repository.
local function run(engine, words, options)
  return helper.run_parlua("--engine " .. engine .. " -n 2 " .. words, options)
end

local function shown(result)
  return ("status %d\n%s\n%s"):format(result.status, result.stdout:sub(1, 2000), result.stderr:sub(1, 2000))
end

local function lines_of(text)
  local lines = {}
  for line in text:gmatch "(.-)\n" do lines[#lines + 1] = line end
  return lines
end

-- What each prints; the same on every engine, since each task's random numbers are seeded by its arguments.
local FIRING_RATE = [[
rate (Hz)   mean (Hz)   variance/mean of the counts (1 for a Poisson process)
        2        1.95        0.98
        5        5.00        0.93
       10       10.14        0.97
       20       20.11        1.02
       50       50.14        0.91
      100      100.04        1.03
]]

local HYPOT = [[
  a \ b       4       8      12      16      20      24
      1    4.12    8.06   12.04   16.03   20.02   24.02
      3    5.00    8.54   12.37   16.28   20.22   24.19
      5    6.40    9.43   13.00   16.76   20.62   24.52
      8    8.94   11.31   14.42   17.89   21.54   25.30
     20   20.40   21.54   23.32   25.61   28.28   31.24
]]

describe("the examples", function()
  it("fit a page each", function()
    local count = 0
    for name in lfs.dir "examples" do
      if name:find "%.lua$" then
        local lines = lines_of(helper.read("examples/" .. name))
        assert.is_true(#lines <= 66, name .. " has " .. #lines .. " lines")
        count = count + 1
      end
    end
    assert.is_true(count >= 6)
  end)

  helper.for_each_engine(function(engine)
    it("convert: files by a program, those that are up to date passed over, failures without a trace", function()
      helper.with_directory(function(directory)
        local example = helper.run("pwd").stdout:match "[^\n]+" .. "/examples/convert.lua"
        helper.write(directory .. "/a b.txt", "one\n")
        helper.write(directory .. "/c.txt", "two\n")
        local function convert(words)
          return helper.run(helper.command(engine) .. " -n 2 " .. helper.quote(example) .. " " .. words,
            { directory = directory })
        end
        local result = convert "up 'tr a-z A-Z' *.txt none.txt"
        assert.same({ "a b.up\nc.up\n", 1 }, { result.stdout, result.status }, shown(result))
        assert.equal("ONE\n", helper.read(directory .. "/a b.up"))
        assert.equal("a b.up is up to date\nc.up is up to date\n", convert("up 'tr a-z A-Z' *.txt").stdout)
        assert.equal("c.two\n", convert("two 'cp {} {out}' c.txt").stdout)
        assert.equal(1, convert("bad 'sh -c exit\\ 3' c.txt").status)
        assert.is_nil(lfs.attributes(directory .. "/c.bad"))
        assert.is_nil(lfs.attributes(directory .. "/c.bad.half"))
      end)
    end)

    it("primes: a line of JSON for each number, the primes alone as text", function()
      local result = run(engine, "examples/primes.lua")
      local lines = lines_of(result.stdout)
      assert.equal(100, #lines, shown(result))
      assert.equal('{"index":4,"args":[4],"result":null}', lines[4])
      assert.equal('{"index":97,"args":[97],"result":97}', lines[97])
      assert.equal(0, result.status)
      assert.equal("101\n103\n107\n109\n", run(engine, "--format text examples/primes.lua 100 110").stdout)
    end)

    it("primes: takes large ranges", function()
      local result = run(engine, "--format text examples/primes.lua 1 2e5")
      local lines = lines_of(result.stdout)
      assert.equal(17984, #lines, shown(result))
      assert.equal("199999", lines[#lines])
    end)

    it("primes: refuses what is no number", function()
      local result = run(engine, "examples/primes.lua ten")
      assert.equal(2, result.status, shown(result))
      assert.truthy(result.stderr:find("first must be a number", 1, true), shown(result))
    end)

    it("wordcount: adds up the words of the files that it is given", function()
      helper.with_directory(function(directory)
        assert(lfs.mkdir(directory .. "/deep"))
        helper.write(directory .. "/one.h", "int x, y; /* the int */\n")
        helper.write(directory .. "/two.h", "int the_x = x;")
        helper.write(directory .. "/deep/three.h", "x\n")
        helper.write(directory .. "/not.c", "int int int int int int\n")
        local result = run(engine, ("examples/wordcount.lua '%s/**/*.h'"):format(directory))
        assert.equal(table.concat({
          "  1         3  int\n", "  2         3  x\n", "  3         1  the\n", "  4         1  the_x\n",
          "  5         1  y\n",
        }), result.stdout, shown(result))
        assert.truthy(result.stderr:find "^9 words, 5 different, in 0%.0 MB of 3 files; %d+%.%d+ s, %l+ engine, %d",
          shown(result))
        assert.equal(0, result.status)
      end)
    end)

    it("wordcount: tells of files that can't be read, and counts the others", function()
      helper.with_directory(function(directory)
        helper.write(directory .. "/one.txt", "alone")
        -- reading this file fails, for root too: its first page is not mapped
        local result = run(engine, ("examples/wordcount.lua '%s/one.txt' /proc/self/mem"):format(directory))
        assert.equal("  1         1  alone\n", result.stdout, shown(result))
        assert.truthy(result.stderr:find("Input/output error", 1, true), shown(result))
        assert.truthy(result.stderr:find("1 words, 1 different, in 0.0 MB of 1 files;", 1, true), shown(result))
        assert.equal(1, result.status)
      end)
    end)

    it("mandelbrot: draws the set, which is the same above and below its middle, and writes it as a picture", function()
      if engine == "mpi" then return end -- mpirun gives its ranks a terminal: there it draws in colours
      local lines = lines_of(run(engine, "examples/mandelbrot.lua").stdout)
      assert.equal(24, #lines)
      local inside = select(2, table.concat(lines):gsub("@", ""))
      assert.is_true(inside > 250 and inside < 400, inside)
      for _, line in ipairs(lines) do assert.equal(76, #line) end
      if engine ~= "process" then return end -- a second of work
      helper.with_directory(function(directory)
        local result = run(engine, ("examples/mandelbrot.lua '%s/m.png'"):format(directory))
        assert.truthy(result.stderr:find("m.png: 1920 x 1080, in %d", 1, false), shown(result))
        assert.equal("\137PNG", helper.read(directory .. "/m.png"):sub(1, 4))
      end)
    end)

    it("wordcount: says so when no file matches", function()
      local result = run(engine, "examples/wordcount.lua '/usr/no such place/*'")
      assert.truthy(result.stderr:find("no file matches /usr/no such place/*", 1, true), shown(result))
      assert.equal(1, result.status)
    end)

    it("firing_rate: finds the rates that it simulates", function()
      local result = run(engine, "examples/firing_rate.lua")
      assert.equal(FIRING_RATE, result.stdout, shown(result))
      assert.equal(0, result.status)
    end)

    it("histogram: chooses a width and draws both hills", function()
      local result = run(engine, "examples/histogram.lua")
      local lines = lines_of(result.stdout)
      assert.equal("best of 39 bin widths: 0.15", lines[1], shown(result))
      local values = 0
      for k = 2, #lines do values = values + tonumber(lines[k]:match "^ *%-?[%d.]+ +(%d+)") end
      assert.equal(3000, values)
      assert.truthy(result.stdout:find("\n   4.95    123  " .. ("#"):rep(50) .. "\n", 1, true), shown(result))
      assert.equal(0, result.status)
    end)

    it("hypot: makes the table of all combinations", function()
      local result = run(engine, "examples/hypot.lua")
      assert.equal(HYPOT, result.stdout, shown(result))
      assert.equal(0, result.status)
    end)

    it("pipeline: calls that need each other's results", function()
      local result = run(engine, "examples/pipeline.lua 200")
      assert.equal("north: mean 20.82, deviation 3.53, from 15.08 to 25.92\nsouth: mean 20.83, deviation 3.49, from 15.08 to 25.93\n"
        .. "failed: argument 2, failed: argument 1, failed: examples/pipeline.lua:19: 'for' limit must be a number\n",
        result.stdout, shown(result))
      assert.same({ "", 0 }, { result.stderr, result.status })
    end)

    it("montecarlo_pi: comes close", function()
      local result = run(engine, "examples/montecarlo_pi.lua 20")
      assert.equal("pi is about 3.1419, give or take 0.0012 (2 million darts)\n", result.stdout, shown(result))
      assert.equal(0, result.status)
    end)
  end)

  it("downloads: the same pages on each engine", function()
    if not pcall(require, "cqueues") then return end
    local result = helper.run_parlua("examples/downloads.lua 20")
    assert.equal(" engine  at once  pages  missing  bytes\n  async     1000     18        2   1395\n"
      .. "process        8     18        2   1395\n serial        1     18        2   1395\n", result.stdout, shown(result))
    assert.equal(0, result.status)
  end)

  it("crawl: all pages that others name, and those that are missing", function()
    if not pcall(require, "cqueues") then return end
    for _, engine in ipairs { "serial", "threads", "process", "async" } do
      local result = helper.run_parlua("--engine " .. engine .. " examples/crawl.lua 3")
      assert.equal("36 pages, 252 words\n/2/3: 404 Not Found\n", result.stdout, shown(result))
    end
  end)

  it("wordcount finds enough to count on any machine that can build parlua", function()
    local result = helper.run_parlua("examples/wordcount.lua")
    local lines = lines_of(result.stdout)
    assert.equal(20, #lines, shown(result))
    for place, line in ipairs(lines) do
      assert.truthy(line:find(("^ *%d +%%d+  [%%w_]+$"):format(place)), line)
    end
    assert.equal(0, result.status, shown(result))
  end)
end)
