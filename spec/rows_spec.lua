-- What is written as JSON or as rows, and read back: parlua.json, parlua.jsonl, parlua.write_csv, the formats csv and tsv of jobs.

local ffi = require "ffi"
local parlua = require "parlua"
local helper = require "spec.helper"

local function identity(...) return ... end

describe("parlua.json", function()
  local encode, decode = parlua.json.encode, parlua.json.decode

  local function back(value) return decode(encode(value)) end

  it("reads what JSON has", function()
    assert.same({ a = { 1, -2.5, 1e3, true, false }, b = "x", c = {}, d = { e = {} } },
      decode ' {"a" : [1,-2.5,1E3,true,false], "b":"x","c":[],"d":{"e":{}}, "f":null }\n')
    assert.equal("\"\\/\b\f\n\r\t\195\169\226\130\172\240\159\152\128",
      decode [["\"\\\/\b\f\n\r\t\u00e9\u20AC\ud83d\ude00"]])
    assert.equal(0.1, decode "0.1")
    assert.equal(123456789012345680000, decode "123456789012345678901")
    assert.is_nil(decode "null")
    assert.equal("", decode '""')
    assert.same({ ["$a"] = 1, b = 2 }, decode '{"$a":1,"b":2}')
  end)

  it("gives back what it has written, what JSON lacks too", function()
    local nan = back(0 / 0)
    assert(nan ~= nan)
    assert.equal(math.huge, back(math.huge))
    assert.equal(-math.huge, back(-math.huge))
    assert.equal(-math.huge, 1 / back(-0.0))
    for length = 0, 5 do
      local bytes = ("\255\0\128z\200"):sub(1, length)
      assert.equal(bytes, back(bytes))
    end
    assert.same({ 1, nil, 3, x = "y", [true] = { 2 } }, back { 1, nil, 3, x = "y", [true] = { 2 } })
    assert.same({ ["$number"] = "nan" }, back { ["$number"] = "nan" })
    assert.same({ a = { ["$deep"] = 1 } }, back { a = { ["$deep"] = 1 } })
    assert.equal("-9223372036854775807LL", tostring(back(-9223372036854775807LL)))
    assert.equal("18446744073709551615ULL", tostring(back(18446744073709551615ULL)))
    local complex = back(ffi.new("complex", 1, -2))
    assert.same({ 1, -2 }, { complex.re, complex.im })
    local list = {}
    for k = 1, 200 do list = { list, k } end
    assert.same(list, back(list))
  end)

  it("gives back cycles", function()
    local t = { name = "t", inner = { list = { 1, 2 } } }
    t.inner.list[3], t.self, t["a/~b"] = t.inner, t, { t }
    local got = back(t)
    assert.equal(got, got.self)
    assert.equal(got.inner, got.inner.list[3])
    assert.equal(got, got["a/~b"][1])
    local mixed = { 1, nil, 3, key = {} }
    mixed.key.up = mixed
    got = back(mixed)
    assert.equal(got, got.key.up)
  end)

  it("says what is wrong with a text, and where", function()
    for text, message in pairs {
      [""] = "a value is missing at byte 1", ["[1,"] = "a value is missing at byte 4",
      ["[1"] = "ends in the middle of a value, at byte 3", ["{"] = "ends in the middle of a value, at byte 2",
      ["[1 2]"] = "neither , nor ] behind an item at byte 4",
      ["{a:1}"] = "a member without a name in quotes at byte 2", ['{"a" 1}'] = "no : behind a member's name at byte 6",
      ["nul"] = "no value at byte 1", ["1 2"] = "more behind the value at byte 3", ['"ab'] = "ends in the middle of a string at byte 4",
      ['"\\x"'] = "an unknown escape at byte 2", ["01"] = "begins with 0", ["-"] = "a number without a digit", ["1."] = "without a digit",
      ["1e999"] = "too large", ['"\\ud800x"'] = "half of a surrogate pair", ['"a\nb"'] = "a control character", ["[1}"] = "neither",
      [("["):rep(1001)] = "more than 1000 levels", ['{"$cycle":"/no"}'] = "", ['{"a":{"$same":"/no"}}'] = "nothing is at /no",
    } do
      local ok, raised = pcall(decode, text)
      assert(message == "" or not ok, text)
      if message ~= "" then assert.truthy(raised:find(message, 1, true), raised) end
    end
    assert.has_error(function() decode(5) end, "json.decode: a string is expected, got number")
  end)
end)

describe("rows that are written", function()
  helper.for_each_engine(function(engine)
    local with = helper.options(engine)

    it("come back from parlua.csv as they were", function()
      helper.with_directory(function(directory)
        local path = directory .. "/t.csv"
        local rows = {
          { a = 1, b = "x" }, { a = 0.1, b = 'say "a,b"' }, { a = 2 ^ 60, b = "007" }, { a = -1e-300, b = "" },
          { a = 12345678901234567, b = "12" },
          { a = 1 / 3, b = "two\r\nlines" }, { b = "-5" }, { a = 5e-324, b = "1e5" }, { b = " padded " },
          { a = -0.5 }, { a = 2 ^ 53 + 2, b = "a\0b" },
        }
        assert.equal(#rows, parlua.write_csv(path, rows))
        assert.equal("a,b\n1,x\n", helper.read(path):sub(1, 8))
        local got = parlua.map(identity, parlua.csv(path), with())
        got.n = nil
        assert.same(rows, got)
      end)
    end)

    it("are lists, or come from an iterator, a source, the results of a map", function()
      helper.with_directory(function(directory)
        local path = directory .. "/t.csv"
        assert.equal(2, parlua.write_csv(path, { { 1, "a" }, { 2, nil, "c", n = 3 } }, { separator = ";" }))
        assert.equal("1;a\n2;;c\n", helper.read(path))
        local _, raised = pcall(parlua.write_csv, path .. ".none", coroutine.wrap(function()
          coroutine.yield { 1 }
          error "the source broke"
        end))
        assert.matches("^[^:]*rows_spec%.lua:%d+: the source broke$", raised)
        assert.is_nil(io.open(path .. ".none"))
        assert.equal(1, parlua.write_csv(path, { { b = 1, c = 2 } }, { columns = { "b", "a" } }))
        assert.equal("b,a\n1,\n", helper.read(path))
        local results = parlua.map(function(i) return i ~= 2 and { i = i } or nil end, parlua.range(3), with())
        assert.equal(2, parlua.write_csv(path, results))
        assert.equal("i\n1\n3\n", helper.read(path))
        local stream = parlua.imap(function(i) return i ~= 2 and { i = i, k = -i } or nil end, parlua.range(3), with())
        assert.equal(2, parlua.write_csv(path, stream, { columns = { "k" } }))
        assert.equal("k\n-1\n-3\n", helper.read(path))
        assert.equal(2, parlua.write_csv(path, parlua.imap(function(row) return { 2 * row.k } end, parlua.csv(path), with())))
        assert.equal("-2\n-6\n", helper.read(path))
        assert.has_error(function() parlua.write_csv(path .. ".gz", { { 1 } }) end, ("write_csv: '%s.gz' would be no compressed file: "
          .. "write the name without '.gz', and compress it then"):format(path))
        assert.equal(3, parlua.write_csv(directory .. "/u.csv", parlua.range(3)))
        assert.equal("1\n2\n3\n", helper.read(directory .. "/u.csv"))
        assert.equal(0, parlua.write_csv(path, {}, { columns = { "x" } }))
        assert.equal("x\n", helper.read(path))
      end)
    end)

    it("of a run that was ended early stand under another name, and a line says so", function()
      helper.with_directory(function(directory)
        helper.write(directory .. "/old.csv", "old")
        local result = helper.run_parlua("--engine " .. engine .. " " .. helper.write(directory .. "/script.lua", [[
          local parlua = require "parlua"
          print(parlua.write_csv("old.csv", parlua.imap(function(i)
            if i == 3 then error("no") end
            return { n = i }
          end, parlua.range(9), { max_failures = 1 })))]]), { directory = directory })
        assert.equal("2\n", result.stdout, result.stderr)
        assert.truthy(result.stderr:find("write_csv: the run was stopped: 1 task failed (max_failures = 1); "
          .. "what was done is in 'old.csv.partial'\n", 1, true), result.stderr)
        assert.same({ "old", "n\n1\n2\n" }, { helper.read(directory .. "/old.csv"),
          helper.read(directory .. "/old.csv.partial") })
      end)
    end)

    it("of JSON are the tasks of parlua.jsonl; what is none fails its task", function()
      helper.with_directory(function(directory)
        local path = helper.write(directory .. "/t.jsonl", '\239\187\191{"a":1}\n\n{"a":{"$number":"inf"}}\r\n[1,2]\n{bad\n"end"')
        local got, failures = parlua.map(identity, parlua.jsonl(path), with())
        assert.same({ { a = 1 }, { a = math.huge }, { 1, 2 }, nil, "end", n = 5 }, got)
        assert.equal(4, failures[1].index)
        assert.truthy(failures[1].message:find("no JSON: a member without a name", 1, true))
        assert.same({ "{bad", n = 1 }, failures[1].args)
        assert.equal(1, (parlua.reduce(function(t) return type(t) == "table" and t[1] or 0 end, parlua.jsonl(path), parlua.sum, with())))
        helper.write(path, '{\n "a": 1\n}\n')
        got, failures = parlua.map(identity, parlua.jsonl(path), with())
        assert.same({ 3, 0 }, { #failures, #got })
        assert.equal("no JSON: it ends in the middle of a value (each line must hold a whole one), at byte 2", failures[1].message)
      end)
    end)

    it("by a job are lines of JSON that feed the next, or rows under their names", function()
      helper.with_directory(function(directory)
        helper.write(directory .. "/job.lua", [[
          return {
            arguments = require("parlua").range(5),
            map = function(i)
              if i == 2 then error("two", 0) end
              if i == 4 then return nil end
              return { i = i, name = "n" .. i, half = i / 2 }
            end,
          }]])
        local function run(words)
          local result = helper.run_parlua(("--engine %s %s"):format(engine, words), { directory = directory })
          assert.equal(1, result.status)
          return result.stdout
        end
        assert.equal("half,i,name\n0.5,1,n1\n1.5,3,n3\n2.5,5,n5\n", run "--format csv job.lua")
        assert.equal("half\ti\tname\n0.5\t1\tn1\n1.5\t3\tn3\n2.5\t5\tn5\n", run "--format tsv job.lua")
        run "-o out.jsonl job.lua"
        local results = parlua.map(function(line) return line.error and line.error.message or line.result end,
          parlua.jsonl(directory .. "/out.jsonl"), with())
        assert.same({ { i = 1, name = "n1", half = 0.5 }, "two", { i = 3, name = "n3", half = 1.5 }, nil,
                      { i = 5, name = "n5", half = 2.5 }, n = 5 }, results)
      end)
    end)
  end)

  it("by a job are the same file on every engine, whatever the results are", function()
    helper.with_directory(function(directory)
      helper.write(directory .. "/job.lua", [[
        return {
          arguments = require("parlua").range(300),
          map = function(i)
            local kind = i % 15
            if kind < 3 then return { b = i, a = i / 7, ["key \"q\""] = "s" .. i, yes = i % 2 == 0 } end
            if kind == 3 then return "text \"q\" \1 \127 caf\195\169 " .. i end
            if kind == 4 then error("no", 0) end
            if kind == 5 then local t = { i } t[2] = t return { x = t } end
            if kind == 6 then return nil end
            if kind == 7 then return i % 2 == 0 end
            if kind == 8 then return { 1, nil, 3 } end
            if kind == 9 then return 0 / 0, "second" end
            if kind == 10 then return { a = "\255", b = -0.0, c = 2 ^ 53, d = 1e300, e = 0 / 0, f = 1 / 0, g = "" } end
            if kind == 11 then return {} end
            if kind == 12 then return { ["$number"] = "nan" } end
            if kind == 13 then return { [i] = 1, ["f" .. i] = 2 } end
            return { a = { b = { i } }, c = "x" }
          end,
        }]])
      for _, format in ipairs { "jsonl", "json" } do
        local expected
        for _, engine in ipairs(helper.engines) do
          local result = helper.run_parlua(("--engine %s --format %s job.lua"):format(engine, format), { directory = directory })
          assert.equal(1, result.status)
          expected = expected or result.stdout
          assert.equal(expected, result.stdout)
        end
      end
    end)
  end)

  it("have the columns that the job names", function()
    helper.with_directory(function(directory)
      local text = "return { arguments = { 1, 2 }, columns = %s, map = function(i) return { a = i, b = -i, c = 0 } end }"
      helper.write(directory .. "/job.lua", text:format "{ 'b', 'a' }")
      assert.equal("b,a\n-1,1\n-2,2\n", helper.run(helper.parlua .. " --format csv job.lua", { directory = directory }).stdout)
      helper.write(directory .. "/bad.lua", text:format "{ 'b', 'b' }")
      local result = helper.run(helper.parlua .. " --format csv bad.lua", { directory = directory })
      assert.equal(2, result.status)
      assert.truthy(result.stderr:find("columns must be a list of different names, but 'b' is in it twice", 1, true), result.stderr)
    end)
  end)

  it("that fit no column are an error, and leave no file", function()
    helper.with_directory(function(directory)
      local path = directory .. "/t.csv"
      local function refused(message, ...)
        local ok, raised = pcall(parlua.write_csv, ...)
        assert.is_false(ok)
        assert.truthy(raised:find(message, 1, true), raised)
      end
      refused("has the field 'b', for which there is no column: the columns are those of the first row (a)", path, { { a = 1 }, { b = 2 } })
      refused("unknown option 'sep'", path, {}, { sep = ";" })
      refused("one character that is part of no number", path, {}, { separator = "1" })
      refused("rows must be a list, an iterator or a source, got number", path, 5)
      refused("a path is expected, got table", {}, path)
      refused("No such file or directory", directory .. "/none/t.csv", {})
      assert.equal(0, #parlua.map(identity, parlua.files(directory .. "/*")))
    end)
  end)

  it("go into devices, pipes and where links lead, and leave these what they are", function()
    helper.with_directory(function(directory)
      local function mode(path) return require("lfs").symlinkattributes(path, "mode") end
      -- a device in its own folder: the machine's own are not put at risk; a FIFO where no device can be made
      local full = directory .. "/full"
      if os.execute(("mknod %s c 1 7 2>/dev/null && sh -c ': < %s' 2>/dev/null"):format(helper.quote(full), helper.quote(full))) == 0 then
        local ok, raised = pcall(parlua.write_csv, full, { { a = 1 } })
        assert.is_false(ok)
        assert.truthy(raised:find("cannot write '" .. full .. "': No space left on device", 1, true), raised)
        assert.equal("char device", mode(full))
      end
      os.execute(("mkfifo %s/fifo; cat %s/fifo > %s/got &"):format(directory, directory, directory))
      assert.equal(1, parlua.write_csv(directory .. "/fifo", { { a = 1 } }))
      assert.equal("named pipe", mode(directory .. "/fifo"))
      helper.write(directory .. "/file", "old")
      require("lfs").link("file", directory .. "/link", true)
      parlua.write_csv(directory .. "/link", { { a = 2 } })
      assert.equal("link", mode(directory .. "/link"))
      assert.equal("a\n2\n", helper.read(directory .. "/file"))
      local result = helper.run_parlua("-", { stdin = 'io.write "first\\n" require("parlua").write_csv("-", { { a = 3 } }) print "last"' })
      assert.equal("first\na\n3\nlast\n", result.stdout)
    end)
  end)
end)
