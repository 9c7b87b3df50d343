-- Compressed files that are unpacked ahead by several threads: blocks of bgzip, frames of zstd, several files at once.

local ffi = require "ffi"
local parlua = require "parlua"
local helper = require "spec.helper"

ffi.cdef [[
int compress2(void *to, unsigned long *to_length, const void *from, unsigned long length, int level);
unsigned long crc32(unsigned long crc, const void *bytes, unsigned length);
]]
local zlib = ffi.load "libz.so.1"

local function identity(...) return ... end

--- A number in so many bytes, the lowest first.
local function bytes_of(number, count)
  local bytes = {}
  for k = 1, count do
    bytes[k] = string.char(number % 256)
    number = math.floor(number / 256)
  end
  return table.concat(bytes)
end

--- A block as bgzip writes it.
local function block(text)
  local length = ffi.new("unsigned long[1]", #text + 1000)
  local to = ffi.new("char[?]", length[0])
  assert(zlib.compress2(to, length, text, #text, 1) == 0)
  local packed = ffi.string(to, length[0]):sub(3, -5) -- without what zlib puts around it
  local head = "\31\139\8\4\0\0\0\0\0\255\6\0BC\2\0" .. bytes_of(#packed + 25, 2)
  return head .. packed .. bytes_of(tonumber(zlib.crc32(0, text, #text)), 4) .. bytes_of(#text, 4)
end

--- A text as bgzip writes it, its blocks in a list; the last is empty.
local function blocks(text, size)
  local list = {}
  for from = 1, #text, size or 60000 do list[#list + 1] = block(text:sub(from, from + (size or 60000) - 1)) end
  list[#list + 1] = block ""
  return list
end

describe("compressed files in parts:", function()
  local directory = helper.new_directory()
  local q = helper.quote
  local has_zstd = os.execute("command -v zstd >/dev/null") == 0
  local function file(name, text) return helper.write(directory .. "/" .. name, text) end
  teardown(function() helper.remove(directory) end)

  local lines, random = {}, 7
  for i = 1, 200000 do
    random = (random * 1103515245 + 12345) % 2 ^ 31
    lines[i] = ("%d,%d,name%d"):format(i, random, random % 1000)
  end
  local text = "i,x,name\n" .. table.concat(lines, "\n") .. "\n"
  local list = blocks(text)
  local bgzip = file("t.gz", table.concat(list))
  local sum = 200000 * 200001 / 2

  --- Some frames of zstd: with what is passed over before and between.
  local function frames()
    local skipped, parts = "\x5a\x2a\x4d\x18" .. bytes_of(5, 4) .. "hello", {}
    for k = 1, 4 do
      local from, to = math.floor((k - 1) * #text / 4) + 1, math.floor(k * #text / 4)
      local path = file("frame", text:sub(from, to))
      os.execute(("zstd -q -1 -c %s > %s.zst"):format(q(path), q(path)))
      parts[k] = skipped .. helper.read(path .. ".zst")
    end
    return table.concat(parts) .. skipped
  end
  local zst = has_zstd and file("t.zst", frames())

  helper.for_each_engine(function(engine)
    local with = helper.options(engine)

    it("all lines and rows come, in order", function()
      for _, path in ipairs { bgzip, zst or bgzip } do
        assert.equal(sum, (parlua.reduce(identity, parlua.csv(path), parlua.sum "i", with())))
        local got = parlua.map(function(line) return #line end, parlua.lines(path), with())
        assert.equal(200001, got.n)
        for i = 1, 200000, 997 do assert.equal(#lines[i], got[i + 1]) end
      end
      assert.equal(sum * 2, (parlua.reduce(identity, parlua.csv { bgzip, zst or bgzip }, parlua.sum "i", with())))
    end)

    it("what comes before a damaged part, or before the end of a cut one, is kept", function()
      local k = math.floor(#list / 2)
      local half = table.concat(list, "", 1, k)
      local last = list[k + 1]
      local cases = {
        ["it ends in the middle of its compressed data"] = half .. last:sub(1, #last - 10),
        ["its compressed data are damaged"] = half .. last:sub(1, 2000) .. ("\255"):rep(500) .. last:sub(2501) .. table.concat(list, "", k + 2),
      }
      for told, packed in pairs(cases) do
        local results, failures = parlua.map(function(row) return row.i end, parlua.csv(file("bad.gz", packed)), with())
        local whole = select(2, text:sub(1, k * 60000):gsub("\n", "")) - 1 -- lines of the blocks that are right
        assert.equal(whole, results[whole])
        assert.truthy(failures[#failures].message:find(told, 1, true), failures[#failures].message)
        assert.truthy(failures[#failures].message:find("bad.gz", 1, true))
      end
    end)

    it("many small files are one after the other, whole", function()
      local paths, expected = {}, {}
      for k = 1, 40 do
        local one = ("file %d\n"):format(k)
        paths[k] = file("s" .. k, k % 3 == 0 and one or block(one) .. (k % 3 == 1 and block "" or ("\0"):rep(512)))
        expected[k] = "file " .. k
      end
      expected.n = 40
      assert.same(expected, parlua.map(identity, parlua.lines(paths), with()))
    end)

    it("an end that comes early waits for nothing", function()
      assert.equal(5, (parlua.find(function(row) return row.i == 5 end, parlua.csv { bgzip, bgzip, bgzip }, with())))
    end)
  end)

  it("a member without its length among the blocks, zeros at the end, one block alone", function()
    local path = file("plain", "100001,1,z\n")
    os.execute(("gzip -n -c %s > %s.gz"):format(q(path), q(path)))
    local mixed = file("mixed", table.concat(list, "", 1, #list - 1) .. helper.read(path .. ".gz") .. block "7,1,z\n" .. ("\0"):rep(1000))
    assert.equal(sum + 100008, (parlua.reduce(identity, parlua.csv(mixed), parlua.sum "i")))
    assert.same({ "a", "b", n = 2 }, parlua.map(identity, parlua.lines(file("one", block "a\nb"))))
    assert.same({ n = 0 }, parlua.map(identity, parlua.lines(file("none", block ""))))
  end)

  it("are unpacked by as many threads as there are processors", function()
    local function threads()
      local n = 0
      for _ in require("lfs").dir "/proc/self/task" do n = n + 1 end
      return n
    end
    local function during(paths)
      local before = threads()
      return parlua.map(function() return threads() - before end, parlua.take(parlua.lines(paths), 1), { engine = "serial" })[1]
    end
    local most = math.min(require("parlua.host").cores(), 8)
    assert.equal(most, during { bgzip })
    -- one stream each
    local path = file("long", text)
    os.execute(("gzip -1 -n -c %s > %s.gz"):format(q(path), q(path)))
    local gz = path .. ".gz"
    assert.equal(1, during { gz })
    assert.equal(most, during { gz, gz, gz, gz, gz, gz, gz, gz, gz })
  end)

  it("of pzstd, which begins with a frame that is passed over", function()
    if os.execute("command -v pzstd >/dev/null") ~= 0 then return end
    local path = file("p", text)
    os.execute(("pzstd -q -p 4 -1 -c %s > %s.zst"):format(q(path), q(path)))
    assert.equal(sum, (parlua.reduce(identity, parlua.csv(path .. ".zst"), parlua.sum "i")))
    os.execute(("cat %s.zst | %s -e %s > %s"):format(q(path), helper.parlua, q([[
      local p = require "parlua"
      print((p.reduce(function(row) return row.i end, p.csv "-", p.sum)))]]), q(directory .. "/out")))
    assert.equal(("%d\n"):format(sum), helper.read(directory .. "/out"))
  end)
end)
