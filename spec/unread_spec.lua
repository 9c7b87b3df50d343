-- Files that can't be read to their end, among others: what could be read counts, one failure tells of each, and the files behind it are read.
local parlua = require "parlua"
local helper = require "spec.helper"

local function identity(...) return ... end

describe("files that can't be read to their end:", function()
  local directory = helper.new_directory()
  local q = helper.quote
  teardown(function() helper.remove(directory) end)

  local function path(name) return directory .. "/" .. name end

  --- A text, compressed by gzip, as a string.
  local function packed(text)
    helper.write(path "text", text)
    assert(os.execute(("gzip -c %s > %s"):format(q(path "text"), q(path "text.gz"))) == 0)
    return helper.read(path "text.gz")
  end

  local numbers = {}
  for i = 1, 60000 do numbers[i] = tostring(i * 7919 % 100003) end
  local text = table.concat(numbers, "\n") .. "\n"
  local whole = packed(text)
  local CUT = helper.write(path "cut.gz", whole:sub(1, math.floor(#whole / 2)))
  local TAIL = helper.write(path "tail.gz", whole .. "trailing bytes")
  local WIDE = helper.write(path "wide.txt", "\255\254a\0\n\0")
  local NONE = helper.write(path "none.gz", whole:sub(1, 2) .. ("\255"):rep(100))
  local GOOD = helper.write(path "good.gz", packed "1\n2\n3\n")
  local PLAIN = helper.write(path "plain.txt", "4\n5\n")
  local CUT_CSV = helper.write(path "cut_csv.gz", packed("v\n" .. text):sub(1, math.floor(#whole / 2)))
  local GOOD_CSV = helper.write(path "good_csv.gz", packed "v\n1\n2\n3\n")

  helper.for_each_engine(function(engine)
    local with = helper.options(engine)

    --- What came of the cut file: its failure is the task behind the last line that could be read.
    local function check_cut(failures, file, headers)
      assert.equal(1, #failures)
      local failure = failures[1]
      assert.equal(file, failure.path)
      assert.equal(failure.index + headers, failure.line)
      assert.equal(0, failure.args.n)
      assert.equal("error", failure.kind)
      assert.equal(("cannot read '%s': it ends in the middle of its compressed data"):format(file), failure.message)
      assert(failure.index > 20000 and failure.index < 40000, failure.index)
      return failure.index - 1
    end

    local options = { none = {}, retried = { retries = 2 }, small = { chunk = 7 } }
    for name, given in pairs(options) do
      local function more()
        local copy = { warn = false }
        for key, value in pairs(given) do copy[key] = value end
        return with(copy)
      end

      it("lines, with the options " .. name, function()
        local results, failures, summary = parlua.map(tonumber, parlua.lines { CUT, GOOD, PLAIN }, more())
        local n = check_cut(failures, CUT, 0)
        for i = 1, n, 101 do assert.equal(tonumber(numbers[i]), results[i]) end
        assert.equal(tonumber(numbers[n]), results[n])
        assert.equal(nil, results[n + 1])
        for k = 1, 5 do assert.equal(k, results[n + 1 + k]) end
        assert.equal(n + 6, results.n)
        assert.equal(n + 5, summary.returned)
      end)

      it("a reduction of lines, with the options " .. name, function()
        local count, failures = parlua.reduce(function() return 1 end, parlua.lines { GOOD, CUT, GOOD }, parlua.sum, more())
        local n = failures[1].index - 4
        assert.equal(n + 6, count)
        assert.equal(1, #failures)
        assert.equal(CUT, failures[1].path)
        assert.equal(n + 1, failures[1].line)
      end)

      it("rows, with the options " .. name, function()
        local sum, failures = parlua.reduce(identity, parlua.csv { CUT_CSV, GOOD_CSV }, parlua.sum "v", more())
        local n, expected = check_cut(failures, CUT_CSV, 1), 6
        for i = 1, n do expected = expected + tonumber(numbers[i]) end
        assert.equal(expected, sum)
      end)
    end

    it("several of them: a failure each", function()
      local results, failures = parlua.map(identity, parlua.lines { TAIL, WIDE, GOOD, NONE, PLAIN }, with { warn = false })
      assert.equal(3, #failures)
      assert.same({ TAIL, 60001, 60001 }, { failures[1].path, failures[1].line, failures[1].index })
      assert.truthy(failures[1].message:find(TAIL, 1, true))
      assert.same({ WIDE, 60002 }, { failures[2].path, failures[2].index })
      assert.truthy(failures[2].message:find("UTF-16", 1, true))
      assert.same({ NONE, 60006 }, { failures[3].path, failures[3].index })
      assert.same({ "1", "2", "3" }, { results[60003], results[60004], results[60005] })
      assert.same({ "4", "5" }, { results[60007], results[60008] })
      assert.equal(60008, results.n)
    end)

    it("blocks: whole lines, whatever their size", function()
      for _, size in ipairs { 1000, 2 ^ 20, 2 ^ 22 } do
        local results, failures = parlua.map(identity, parlua.blocks({ CUT, GOOD }, { size = size }), with { warn = false })
        assert.equal(1, #failures)
        assert.equal(CUT, failures[1].path)
        assert.equal("1\n2\n3\n", results[results.n])
        local at = failures[1].index
        assert.equal(results.n - 1, at)
        local read = table.concat(results, "", 1, at - 1)
        assert(#read > 100000 and read == text:sub(1, #read) and read:sub(-1) == "\n", #read)
        assert.equal(select(2, read:gsub("\n", "")) + 1, failures[1].line)
      end
    end)

    it("blocks that begin with a line of some kind, and records: whole ones only", function()
      local parts = {}
      for i = 1, 20000 do parts[i] = (">%d\nabc\n%d\n"):format(i, i * 7919 % 100003) end
      local all = table.concat(parts)
      local fasta = packed(all)
      helper.write(path "fasta.gz", fasta:sub(1, math.floor(#fasta / 2)))
      local results = parlua.map(identity, parlua.blocks(path "fasta.gz", { start = ">" }), with { warn = false })
      local read = results[1]
      assert.equal(2, results.n)
      assert.equal(all:sub(1, #read), read)
      assert.equal(">", all:sub(#read + 1, #read + 1))
      results = parlua.map(identity, parlua.blocks(path "fasta.gz", { record = 1000 }), with { warn = false })
      assert.equal(0, #results[1] % 1000)
      assert(#results[1] > 100000)
    end)

    it("numbers, taken tasks, imap and each", function()
      local function numbered(i, line) return i .. " " .. line end
      local results, failures = parlua.map(numbered, parlua.enumerate(parlua.lines { CUT, GOOD }), with { warn = false })
      local n = check_cut(failures, CUT, 0)
      assert.equal(("%d 1"):format(n + 2), results[n + 2])
      results, failures =
        parlua.map(identity, parlua.take(parlua.lines { CUT, GOOD }, n + 2), with { warn = false })
      check_cut(failures, CUT, 0)
      assert.same({ n + 2, "1" }, { results.n, results[n + 2] })
      local last
      local step, stream, at = parlua.imap(identity, parlua.lines { CUT, GOOD }, with { warn = false })
      for i, line in step, stream, at do last = i .. " " .. line end
      assert.equal(("%d 3"):format(n + 4), last)
      check_cut(stream.failures, CUT, 0)
      check_cut(parlua.each(identity, parlua.lines { CUT, GOOD }, with { warn = false }), CUT, 0)
    end)

    it("what is made of all tasks in the script ends there, and says how many files were not read", function()
      local _, failures = parlua.map(identity, parlua.batch(parlua.lines { CUT, GOOD, PLAIN }, 1000), with { warn = false })
      assert.equal(1, #failures)
      assert.truthy(failures[1].message:find("nor were the 2 files behind it read", 1, true), failures[1].message)
      assert.has_error(function() for _ in parlua.lines { CUT, GOOD } do end end) -- luacheck: ignore 542
    end)

    it("of one file nothing can be read at all: that is an error of the call", function()
      local ok, message = pcall(parlua.map, identity, parlua.lines(NONE), with())
      assert.is_false(ok)
      assert.truthy(tostring(message):find("cannot read '" .. NONE .. "': ", 1, true), message)
    end)

    it("a journal goes on, and reads the file again", function()
      local journal, file = path("journal" .. engine), path "later.gz"
      helper.write(file, helper.read(CUT))
      -- the calls of a journal are numbered in a program, so each try is one of its own
      helper.write(path "go.lua", ([[
        local parlua = require "parlua"
        local count = 0
        local results, failures, summary = parlua.map(function(line) return line end, parlua.lines { %q, arg[1] }, { engine = %q, workers = 2,
          warn = false, journal = %q, resume = true, retry_failed = true })
        print(results.n, #failures, summary.resumed, results[results.n], failures[1] and failures[1].path:match "[^/]*$")
      ]]):format(file, engine, journal))
      local function go(last)
        local result = helper.run(("%s %s %s"):format(helper.command(engine), q(path "go.lua"), q(last)))
        return result.stdout ~= "" and result.stdout or result.stderr
      end
      local n = tonumber(go(GOOD):match "^(%d+)\t1\t0\t3\tlater.gz\n$")
      assert.equal(("%d\t1\t%d\t3\tlater.gz\n"):format(n, n - 1), go(GOOD))
    end)
  end)

  it("a command line tells the file and the line", function()
    for _, words in ipairs { "--map line", "--filter true", "--map line --format text", "--each line", "--map 1 --reduce count" } do
      local result = helper.run_parlua(("%s --lines %s %s"):format(words, q(CUT), q(GOOD)))
      local name = CUT:gsub("%p", "%%%0")
      local told = ("parlua: task (%%d+) of %s:(%%d+) failed: error: cannot read '%s': it ends in the middle"):format(name, name)
      local index, line = result.stderr:match(told)
      assert(index and index == line, words .. ": " .. result.stderr)
      assert.truthy(result.stderr:find((" %d tasks, %d returned, 1 failed"):format(index + 3, index + 2), 1, true), result.stderr)
    end
  end)
end)
