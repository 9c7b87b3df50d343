local helper = require "spec.helper"
local parlua = require "parlua"

describe("text from", function()
  local directory

  setup(function() directory = helper.new_directory() end)
  teardown(function() helper.remove(directory) end)

  local files = 0
  --- A new file with this text; returns its path.
  local function file_with(text)
    files = files + 1
    return helper.write(directory .. "/text" .. files, text)
  end

  --- What a plain reader makes of the text: lines without their ends.
  local function lines_in(text, keep_cr)
    local lines, at = {}, 1
    while at <= #text do
      local stop = text:find("\n", at, true) or #text + 1
      local line = text:sub(at, stop - 1)
      if not keep_cr and line:sub(-1) == "\r" then line = line:sub(1, -2) end
      lines[#lines + 1] = line
      at = stop + 1
    end
    return lines
  end

  helper.for_each_engine(function(engine)
    local with = helper.options(engine)

    --- The argument of every task, in order.
    local function pieces_of(source, options)
      local results, failures = parlua.map(function(text, ...)
        assert(select("#", ...) == 0 and type(text) == "string")
        return text
      end, source, with(options))
      assert.same({}, failures)
      results.n = nil
      return results
    end

    --- The same file as a regular one and through a pipe gives the same.
    local function check_lines(text, options)
      local expected = lines_in(text, options and options.keep_cr)
      assert.same(expected, pieces_of(parlua.lines(file_with(text), options)))
      return expected
    end

    describe("parlua.lines", function()
      it("is the lines without their ends", function()
        assert.same({ "one", "two", "three" }, check_lines("one\ntwo\nthree\n"))
      end)

      it("counts a last line that has no end", function()
        assert.same({ "one", "two" }, check_lines("one\ntwo"))
        assert.same({ "one" }, check_lines("one"))
      end)

      it("keeps empty lines", function()
        assert.same({ "", "", "a", "", "b", "" }, check_lines("\n\na\n\nb\n\n"))
        assert.same({ "" }, check_lines("\n"))
      end)

      it("takes CRLF ends off, or leaves the CR when told so", function()
        assert.same({ "one", "", "a\rb", "two" }, check_lines("one\r\n\r\na\rb\r\ntwo\r"))
        assert.same({ "one\r", "\r", "two\r" }, check_lines("one\r\n\r\ntwo\r", { keep_cr = true }))
        assert.same({ "\r" }, check_lines("\r\r\n"))
      end)

      it("keeps NUL and all other bytes", function()
        local bytes = {}
        for b = 0, 255 do bytes[#bytes + 1] = string.char(b) .. "x" .. string.char(b) end
        check_lines(table.concat(bytes) .. "\n" .. "a\0b\0\n\0\n")
      end)

      it("of an empty file is no tasks", function()
        assert.same({}, check_lines(""))
      end)

      it("gives lines of every length, longer than a chunk and than any buffer too", function()
        local parts = {}
        for i, length in ipairs { 0, 1, 5000, 70000, 3, 300000, 0, 262144, 1000001, 2 } do
          parts[i] = string.char(96 + i):rep(length)
        end
        check_lines(table.concat(parts, "\n"))
        check_lines(table.concat(parts, "\r\n") .. "\r\n")
        assert.same(parts, pieces_of(parlua.lines(file_with(table.concat(parts, "\n"))), { chunk = 1 }))
      end)

      it("gives the lines of a larger file once each, in order", function()
        local lines = {}
        for i = 1, 30000 do lines[i] = ("%d %s"):format(i, ("w"):rep(i % 50)) end
        assert.same(lines, pieces_of(parlua.lines(file_with(table.concat(lines, "\n")))))
        local count = 0
        for i, line in parlua.imap(function(line) return line end, parlua.lines(file_with(table.concat(lines, "\n"))),
          with()) do
          count = count + 1
          if lines[i] ~= line then assert.equal(lines[i], line) end
        end
        assert.equal(30000, count)
      end)

      it("names the line of a task that fails", function()
        local path = file_with("good\nbad\r\ngood\nbad2")
        for _, chunk in ipairs { false, 1, 3 } do
          local _, failures = parlua.map(function(line) if line:find("bad") then error("bad line") end end,
            parlua.lines(path),
            with { chunk = chunk or nil })
          assert.equal(2, #failures)
          assert.equal(2, failures[1].index)
          assert.same({ "bad", n = 1 }, failures[1].args)
          assert.equal(4, failures[2].index)
          assert.same({ "bad2", n = 1 }, failures[2].args)
        end
      end)

      it("reads a FIFO as a stream", function()
        local text = {}
        for i = 1, 5000 do text[i] = "line " .. i .. (i % 7 == 0 and "\r" or "") .. (i % 100 == 0 and ("x"):rep(5000)
          or "") end
        text = table.concat(text, "\n")
        local path = file_with(text)
        local fifo = directory .. "/fifo" .. engine
        os.execute("mkfifo " .. fifo)
        os.execute(("cat %s > %s &"):format(path, fifo))
        assert.same(lines_in(text), pieces_of(parlua.lines(fifo)))
      end)

      it("reads a FIFO's line that is longer than any buffer", function()
        local text = ("a"):rep(700000) .. "\n\n" .. ("b"):rep(300000)
        local fifo = directory .. "/fifolong" .. engine
        os.execute("mkfifo " .. fifo)
        os.execute(("cat %s > %s &"):format(file_with(text), fifo))
        assert.same(lines_in(text), pieces_of(parlua.lines(fifo)))
      end)

      it("reads standard input", function()
        local script = helper.write(directory .. "/stdin.lua", [[
          local parlua = require "parlua"
          local results = parlua.map(string.upper, parlua.lines("-"))
          print(results.n, table.concat(results, "|", 1, results.n))
        ]])
        local result = helper.run_parlua(("--engine %s -n 2 %s"):format(engine, script),
          { stdin = "one\ntwo\n\nthree" })
        assert.equal("4\tONE|TWO||THREE\n", result.stdout, result.stderr)
        result = helper.run(("printf 'a\\nb' | %s -n 2 %s"):format(helper.command(engine), script))
        assert.equal("2\tA|B\n", result.stdout, result.stderr)
      end)

      it("reads a file of /proc, which does not tell its size", function()
        local expected = {}
        for line in io.lines("/proc/cpuinfo") do expected[#expected + 1] = line:gsub("MHz.*", "") end
        local lines = pieces_of(parlua.lines("/proc/cpuinfo"))
        for i, line in ipairs(lines) do lines[i] = line:gsub("MHz.*", "") end
        assert.same(expected, lines)
      end)
    end)

    describe("parlua.blocks", function()
      it("is pieces of whole lines that make up the file", function()
        local text = {}
        for i = 1, 3000 do text[i] = ("line %d %s\n"):format(i, ("y"):rep(i % 77)) end
        text = table.concat(text)
        for _, size in ipairs { 50, 1000, 65536, 1e9 } do
          local pieces = pieces_of(parlua.blocks(file_with(text), { size = size }))
          assert.equal(text, table.concat(pieces))
          for _, piece in ipairs(pieces) do
            assert.equal("\n", piece:sub(-1))
            assert.is_true(#piece <= math.max(size, 100), "a piece of " .. #piece)
          end
          if size == 1e9 then assert.equal(1, #pieces) end
        end
      end)

      it("of one byte is a line a task", function()
        assert.same({ "one\n", "\n", "three" }, pieces_of(parlua.blocks(file_with("one\n\nthree"), { size = 1 })))
      end)

      it("gives a longer line whole", function()
        local long = ("z"):rep(800000) .. "\n"
        assert.same({ "a\n", long, "b" }, pieces_of(parlua.blocks(file_with("a\n" .. long .. "b"), { size = 4 })))
      end)

      it("of an empty file is no tasks", function()
        assert.same({}, pieces_of(parlua.blocks(file_with(""))))
      end)

      it("keeps every byte: CRLF, NUL, no last line end", function()
        local text = "a\r\nb\0c\n\0\n\r\n\255"
        for size = 1, 12 do assert.equal(text, table.concat(pieces_of(parlua.blocks(file_with(text),
          { size = size })))) end
      end)

      it("raw is a pointer and a length", function()
        local text = ("some words here\n"):rep(20000)
        local results, failures = parlua.map(function(p, length)
          local bytes = require("ffi").cast("const char *", p)
          local lines = 0
          for i = 0, length - 1 do
            if bytes[i] == 10 then lines = lines + 1 end
          end
          return { lines, length, require("ffi").string(p, 4) }
        end, parlua.blocks(file_with(text), { size = 10000, raw = true }), with())
        assert.same({}, failures)
        local lines, length = 0, 0
        for i = 1, results.n do
          lines, length = lines + results[i][1], length + results[i][2]
          assert.equal("some", results[i][3])
        end
        assert.equal(20000, lines)
        assert.equal(#text, length)
      end)

      it("names the piece of a task that fails", function()
        for _, raw in ipairs { true, false } do
          local _, failures = parlua.map(function(p, length)
            local text = length and require("ffi").string(p, length) or p
            if text:find("bad") then error("bad piece") end
          end, parlua.blocks(file_with("good\nbad\ngood\n"), { size = 1, raw = raw }), with())
          assert.equal(1, #failures)
          assert.equal(2, failures[1].index)
          assert.same({ "bad\n", n = 1 }, failures[1].args)
        end
      end)

      it("reads a FIFO as a stream, raw or not", function()
        local text = ("a few words\n"):rep(50000) .. "end"
        local path = file_with(text)
        for _, raw in ipairs { false, true } do
          local fifo = directory .. "/blocks" .. engine .. tostring(raw)
          os.execute("mkfifo " .. fifo)
          os.execute(("cat %s > %s &"):format(path, fifo))
          local results, failures = parlua.map(function(p, length)
            return length and require("ffi").string(p, length) or p
          end, parlua.blocks(fifo, { size = 30000, raw = raw }), with())
          assert.same({}, failures)
          assert.is_true(results.n > 10)
          assert.is_true(text == table.concat(results, "", 1, results.n))
          for i = 1, results.n - 1 do assert.equal("\n", results[i]:sub(-1)) end
        end
      end)
    end)

    describe("a file that is written anew between calls", function()
      local path

      --- In the place of the same path, first for a longer text: workers that live on must not go by what the file was.
      local function check_versions(source, expected, write)
        local texts = { ("short\n"):rep(3), ("a longer line, over and over\n"):rep(3000), ("line\n"):rep(5000), "", "one" }
        for k, text in ipairs(texts) do
          write(path, text)
          assert.same(expected(text), pieces_of(source(path)), ("version %d"):format(k))
        end
      end

      before_each(function() path = file_with("") end)

      it("gives its lines as they are now", function() check_versions(parlua.lines, lines_in, helper.write) end)

      it("gives its blocks as they are now", function()
        check_versions(function(name) return parlua.blocks(name, { size = 1e6 }) end,
          function(text) return #text > 0 and { text } or {} end, helper.write)
      end)

      it("gives its lines as they are now when another file has taken its place", function()
        check_versions(parlua.lines, lines_in, function(name, text)
          helper.write(name .. ".new", text)
          os.rename(name .. ".new", name)
        end)
      end)
    end)

    describe("a file that can't be read:", function()
      local function refused(pattern, source)
        local ok, message = pcall(parlua.map, function() end, source, with())
        assert.is_false(ok)
        assert.truthy(tostring(message):find(pattern), tostring(message))
      end

      it("missing", function()
        refused("^lines: cannot read '/no/such/file': No such file or directory$", parlua.lines("/no/such/file"))
        refused("^blocks: cannot read '/no/such/file': No such file or directory$", parlua.blocks("/no/such/file"))
      end)

      it("a directory", function()
        refused("^lines: cannot read '/tmp': it is a directory", parlua.lines("/tmp"))
        refused("^blocks: cannot read '/tmp': it is a directory", parlua.blocks("/tmp"))
      end)
    end)
  end)

  it("a line that is too long for a string fails its task, and those behind it come, with their places", function()
    helper.with_directory(function(own)
      local path = helper.write(own .. "/t", "first\n")
      local file = assert(io.open(path, "r+b"))
      file:seek("set", 2 ^ 31 + 100) -- the file has a hole here, which takes no room
      file:write("\nlast\n")
      file:close()
      local results, failures = parlua.map(function(line) return line .. parlua.task.line end, parlua.lines(path), { engine = "threads" })
      assert.same({ "first1", nil, "last3", n = 3 }, results)
      assert.equal(1, #failures)
      assert.equal(2, failures[1].line)
      assert.truthy(failures[1].message:find("a text of 2147483742 bytes does not fit into a string", 1, true), failures[1].message)
    end)
  end)

  describe("wrong options:", function()
    local function refused(pattern, f, ...)
      local ok, message = pcall(f, ...)
      assert.is_false(ok)
      assert.truthy(tostring(message):find(pattern), tostring(message))
    end

    it("are told by name", function()
      refused("lines: a path is expected, got an empty list", parlua.lines, {})
      refused("lines: a path is expected, got a list with a number in it", parlua.lines, { "a", 5 })
      refused("blocks: a path is expected, got nil", parlua.blocks)
      refused("lines: unknown option 'size'", parlua.lines, "x", { size = 5 })
      refused("lines: unknown option 'raw'", parlua.lines, "x", { raw = true })
      refused('blocks: size must be a number of bytes, or one such as "64K" or "1M", got "much"', parlua.blocks, "x", { size = "much" })
      refused("blocks: option 'raw' must be a boolean, got number", parlua.blocks, "x", { raw = 1 })
      refused("blocks: size must be at least 1 byte", parlua.blocks, "x", { size = 0 })
      refused("blocks: size must be at least 1 byte", parlua.blocks, "x", { size = 0 / 0 })
      refused("blocks: record must be a whole number of bytes", parlua.blocks, "x", { record = 0.5 })
      refused("blocks: start must be what a line begins with", parlua.blocks, "x", { start = "" })
      refused("blocks: either record", parlua.blocks, "x", { start = ">", record = 8 })
      refused("lines: options must be a table, got number", parlua.lines, "x", 5)
    end)
  end)
end)
