-- Texts of several files, compressed ones, blocks that begin where the caller says; where a task comes from.

local parlua = require "parlua"
local helper = require "spec.helper"

local function identity(...) return ... end

local PACKERS = { { "gz", "gzip -c" }, { "zst", "zstd -q -c" }, { "xz", "xz -c" } }

describe("texts of several files:", function()
  local directory = helper.new_directory()
  local q = helper.quote

  local function file(name, text) return helper.write(directory .. "/" .. name, text) end

  --- Compresses a file, by programs that may not be there; returns the paths.
  local function packed(path)
    local paths = {}
    for _, packer in ipairs(PACKERS) do
      if os.execute("command -v " .. packer[2]:match "%S+" .. " >/dev/null") == 0 then
        -- named so that nothing but the first bytes tells
        local to = path .. "-" .. packer[1]
        assert(os.execute(("%s < %s > %s"):format(packer[2], q(path), q(to))) == 0)
        paths[#paths + 1] = to
      end
    end
    return paths
  end

  teardown(function() helper.remove(directory) end)

  local numbered = {}
  for i = 1, 6000 do numbered[i] = ("%d,name%d,%.2f"):format(i, i % 100, i / 7) end
  local big = table.concat(numbered, "\n") .. "\n"

  helper.for_each_engine(function(engine)
    local with = helper.options(engine)

    local function all(source, f)
      local results, failures = parlua.map(f or identity, source, with())
      assert.equal(0, #failures, failures[1] and failures[1].message)
      results.n = nil
      return results
    end

    it("lists, patterns and what parlua.files gives, in their order; empty files among them", function()
      local a, b, c = file("m1.txt", "one\ntwo"), file("m2.txt", ""), file("m3.txt", "three\n\nfive\n")
      local expected = { "one", "two", "three", "", "five" }
      assert.same(expected, all(parlua.lines { a, b, c }))
      assert.same(expected, all(parlua.lines(directory .. "/m?.txt")))
      assert.same(expected, all(parlua.lines(parlua.files(directory .. "/m?.txt"))))
      assert.same({ "three", "", "five", "one", "two" }, all(parlua.lines { c, directory .. "/m[1].txt" }))
      assert.same({ "one\ntwo", "three\n\nfive\n" }, all(parlua.blocks { a, b, c }))
      assert.same({}, all(parlua.lines { b, b }))
      assert.same({}, all(parlua.lines(parlua.files(directory .. "/none*"))))
      assert.equal(5, (parlua.reduce(function() return 1 end, parlua.lines { a, b, c }, parlua.sum, with())))
      assert.equal(15, (parlua.reduce(function(text) return #text:gsub("%s", "") end, parlua.blocks { a, b, c }, parlua.sum, with())))
    end)

    it("rows of files with the same header", function()
      local a, b, c = file("r1.csv", "x,y\n1,a\n"), file("r2.csv", 'x,y\n2,"b\nb"\n3,c'), file("r3.csv", "x,y\n")
      assert.same({ { x = 1, y = "a" }, { x = 2, y = "b\nb" }, { x = 3, y = "c" } }, all(parlua.csv { a, c, b }))
      assert.equal(6, (parlua.reduce(identity, parlua.csv { a, b, c }, parlua.sum "x", with())))
      local other = file("r4.csv", "x,z\n1,2\n")
      local ok, message = pcall(parlua.map, identity, parlua.csv { a, other }, with())
      assert.is_false(ok)
      assert.truthy(message:find("r4.csv' has the columns x, z, but '", 1, true), message)
      assert.same({ { p = "x", q = "y" }, { p = 1, q = "a" }, { p = "x", q = "y" } }, all(parlua.csv({ a, c }, { header = { "p", "q" } })))
    end)

    it("many small ones", function()
      local expected = {}
      for k = 1, 300 do
        file(("s%03d"):format(k), ("line %d\n"):format(k))
        expected[k] = "line " .. k
      end
      assert.same(expected, all(parlua.lines(directory .. "/s???")))
      assert.equal(300, (parlua.reduce(function() return 1 end, parlua.lines(directory .. "/s???"), parlua.sum, with())))
    end)

    it("compressed ones are read for what is in them, whatever they are called", function()
      local path = file("big.csv", "i,name,x\n" .. big)
      for _, to in ipairs(packed(path)) do
        local rows = all(parlua.csv(to), function(row) return row.i .. row.name end)
        assert.equal(6000, #rows)
        assert.equal("6000name0", rows[6000])
        assert.equal(6000 * 6001 / 2, (parlua.reduce(identity, parlua.csv(to), parlua.sum "i", with())))
        assert.equal(6001, #all(parlua.lines(to)))
        local bytes = 0
        for _, length in ipairs(all(parlua.blocks(to, { size = 10000 }), function(text) return #text end)) do bytes = bytes + length end
        assert.equal(#big + 9, bytes)
      end
      local mixed = parlua.lines { path, packed(path)[1], path }
      assert.equal(18003, (parlua.reduce(function() return 1 end, mixed, parlua.sum, with())))
    end)

    it("gzip in many parts, as bgzip writes it, or put together", function()
      local path = packed(file("part", "a\nb\n"))[1]
      local to = directory .. "/parts"
      os.execute(("cat %s %s %s > %s"):format(q(path), q(path), q(path), q(to)))
      assert.same({ "a", "b", "a", "b", "a", "b" }, all(parlua.lines(to)))
    end)

    it("of a truncated or damaged one, what was read before is kept, and an error is told", function()
      local whole = helper.read(packed(file("t.csv", "i,name,x\n" .. big))[1])
      local cut = file("cut", whole:sub(1, #whole - 2000))
      local damaged = file("damaged", whole:sub(1, #whole / 2) .. ("\255"):rep(100) .. whole:sub(#whole / 2 + 101))
      for path, told in pairs { [cut] = "it ends in the middle of its compressed data", [damaged] = "its compressed data are damaged" } do
        local results, failures = parlua.map(function(row) return row.i end, parlua.csv(path), with())
        assert(results.n > 1000 and results[1000] == 1000)
        assert.truthy(failures[#failures].message:find(told, 1, true), failures[#failures].message)
        if path == cut then assert.equal(1, #failures) end
      end
    end)

    it("a task knows where it comes from, and so does its failure", function()
      local a = file("w1.csv", 'x\n1\n\n"2\n2"\n3\n')
      local b = file("w2.csv", "x\n4\n5\n")
      local function place() return parlua.task.path:match "[^/]*$" .. ":" .. parlua.task.line end
      local expected = { "w1.csv:2", "w1.csv:4", "w1.csv:6", "w2.csv:2", "w2.csv:3" }
      assert.same(expected, all(parlua.csv { a, b }, place))
      local gz = packed(b)[1]
      assert.same({ "w1.csv:2", "w1.csv:4", "w1.csv:6", "w2.csv-gz:2", "w2.csv-gz:3" }, all(parlua.csv { a, gz }, place))
      assert.same({ "w2.csv:1", "w2.csv:2", "w2.csv:3", "w1.csv:1" }, all(parlua.take(parlua.lines { b, a }, 4), place))
      assert.same({ "w2.csv:1", "w2.csv:2", "w2.csv:3" }, all(parlua.blocks(b, { size = 1 }), place))
      for _, second in ipairs { b, gz } do
        local _, failures = parlua.map(function(row)
          if row.x == 5 or row.x == 3 then error("five or three", 0) end
        end, parlua.csv { a, second }, with())
        assert.same({ a, 6, second, 3 }, { failures[1].path, failures[1].line, failures[2].path, failures[2].line })
      end
      local _, failures = parlua.reduce(function(row) return row.x + 1 end, parlua.csv { a, b }, parlua.sum, with())
      assert.same({ a, 4 }, { failures[1].path, failures[1].line })
      assert.same({ n = 2 }, parlua.map(function() return parlua.task.path or parlua.task.line end, { 1, 2 }, with()))
    end)

    it("a task finds its line in as few steps as the one before it, however much of its file was read with it", function()
      local rows = 3000
      local text = ("1,one\n"):rep(rows)
      jit.off() -- steps of compiled code are not counted
      finally(jit.on)
      local function look()
        local steps = 0
        debug.sethook(function() steps = steps + 1 end, "", 1)
        local line = parlua.task.line
        debug.sethook()
        return { line, steps }
      end
      for kind, path in pairs { lines = file("far", text), csv = packed(file("far.csv", "n,name\n" .. text))[1],
                                jsonl = packed(file("far.jsonl", ("1\n"):rep(rows)))[1] } do
        local found = parlua.map(look, parlua[kind](path), with { chunk = rows })
        assert.equal(rows, found.n)
        for i = 1, rows do
          assert.equal(kind == "csv" and i + 1 or i, found[i][1])
          if i > 1 then assert.is_true(found[i][2] < 1000, ("%s: %d steps for task %d"):format(kind, found[i][2], i)) end
        end
      end
    end)

    it("a task of a block knows the block's file and first line, compressed or not", function()
      local a, b = file("blocks1", "1\n\n3\n4\n"), file("blocks2", "1\n2\n3\n")
      local function place() return parlua.task.path:match "[^/]*$" .. ":" .. parlua.task.line end
      for _, second in ipairs { b, packed(b)[1] } do
        local name = second:match "[^/]*$"
        local expected = { "blocks1:1", "blocks1:3", name .. ":1", name .. ":3" }
        local function source() return parlua.blocks({ a, second }, { size = 4 }) end
        assert.same(expected, all(source(), place))
        assert.same(expected, (parlua.reduce(place, source(), parlua.collect, with())))
        local _, failures = parlua.map(function(text) error(text, 0) end, source(), with { retries = 1 })
        local told = {}
        for k, failure in ipairs(failures) do
          told[k] = failure.path:match "[^/]*$" .. ":" .. failure.line
          assert.equal(failure.message, failure.args[1])
          assert.equal(1, failure.args.n)
        end
        assert.same(expected, told)
        local sizes = parlua.map(function(pointer, length) return pointer[0] + 1000 * length end,
          parlua.blocks({ a, second }, { size = 4, raw = true }), with())
        assert.same({ 3049, 4051, 4049, 2051 }, { sizes[1], sizes[2], sizes[3], sizes[4] })
      end
    end)

    it("blocks begin with a line that begins so, or have whole records", function()
      local fasta = file("f.fa", ";note\n>one\nACGT\nAC\n>two\nGG\n>three\nT")
      assert.same({ ";note\n", ">one\nACGT\nAC\n", ">two\nGG\n", ">three\nT" }, all(parlua.blocks(fasta, { start = ">", size = 1 })))
      assert.same({ ";note\n>one\nACGT\nAC\n", ">two\nGG\n>three\nT" }, all(parlua.blocks(fasta, { start = ">", size = 20 })))
      local records = file("records", "aaaabbbbccccddd")
      assert.same({ "aaaa", "bbbb", "cccc", "ddd" }, all(parlua.blocks(records, { record = 4, size = 1 })))
      assert.same({ "aaaabbbb", "ccccddd" }, all(parlua.blocks(records, { record = 4, size = 11 })))
      assert.same({ "aaaabbbb", "ccccddd" }, all(parlua.blocks(packed(records)[1], { record = 4, size = 11 })))
      local gz = packed(fasta)[1]
      assert.same({ ";note\n", ">one\nACGT\nAC\n", ">two\nGG\n", ">three\nT" }, all(parlua.blocks(gz, { start = ">", size = 1 })))
    end)

    it("tasks that are tried again are given the same", function()
      local gz = packed(file("again", "a\nb\nc\nd\n"))[1]
      for _, path in ipairs { gz, directory .. "/again" } do
        local results = parlua.map(function(line)
          if parlua.task.attempt < 3 and line ~= "b" then error("again", 0) end
          return line .. parlua.task.attempt
        end, parlua.lines(path), with { retries = 3, retry_on = { "error" } })
        assert.same({ "a3", "b1", "c3", "d3", n = 4 }, results)
        local text = parlua.reduce(function(line)
          if parlua.task.attempt < 3 and line ~= "b" then error("again", 0) end
          return line
        end, parlua.lines(path), { init = "", step = function(t, v) return t .. v end, merge = function(x, y) return x .. y end, block = 2 },
          with { retries = 3, retry_on = { "error" } })
        assert.equal("abcd", text)
      end
    end)
  end)

  it("workers that die take no task of a compressed file with them but the one", function()
    local gz = packed(file("die", "1\n2\n3\n4\n5\n6\n"))[1]
    local sum, failures = parlua.reduce(function(line)
      if line == "4" then os.exit(3) end
      return tonumber(line)
    end, parlua.lines(gz), parlua.sum, { engine = "process", workers = 2 })
    assert.equal(17, sum)
    assert.same({ 4, "crash", gz, 4 }, { failures[1].index, failures[1].kind, failures[1].path, failures[1].line })
  end)

  it("what is compressed in another way is refused, not taken for text", function()
    for magic, program in pairs { ["BZh91AY&SY"] = "bzip2 -dc", ["\4\34\77\24"] = "lz4 -dc", ["\31\157\144"] = "zcat" } do
      local path = file("odd", magic .. "\1\2\n\3\n")
      for _, paths in ipairs { { path }, { file("odd2", "a\n"), path } } do
        local _, failures = nil, {}
        local ok, message = pcall(function() _, failures = parlua.map(identity, parlua.lines(paths)) end)
        message = ok and failures[1].message or message
        assert.truthy(message:find("cannot read '" .. path .. "': it is compressed by ", 1, true), message)
        assert.truthy(message:find("read the output of `" .. program, 1, true), message)
      end
    end
    assert.same({ "BZhx", "BZ", n = 2 }, parlua.map(identity, parlua.lines(file("odd", "BZhx\nBZ"))))
  end)

  it("a compressed pipe is read, and a slow one is not waited for", function()
    local gz = packed(file("piped", "a\nb\n"))[1]
    local script = file("pipe.lua", [[
      local parlua = require "parlua"
      for _, line in parlua.imap(function(line) return line end, parlua.lines "-") do print(line) io.stdout:flush() end]])
    assert.equal("a\nb\n", helper.run(("cat %s | %s %s"):format(q(gz), helper.parlua, script)).stdout)
    -- the second line is written when a task has had the first
    local mark = directory .. "/mark"
    script = file("slow.lua", ([[
      local parlua = require "parlua"
      local lines = parlua.map(function(line)
        local f = io.open(%q, "w")
        f:write(line)
        f:close()
        return line
      end, parlua.lines "-")
      print(lines[1], lines[2])]]):format(mark))
    local result = helper.run(("(echo x; until test -s %s; do sleep 0.01; done; echo y) | %s %s"):format(q(mark), helper.parlua, script),
      { seconds = 30 })
    assert.equal("x\ty\n", result.stdout)
  end)
end)
