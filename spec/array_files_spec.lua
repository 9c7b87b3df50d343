--- Arrays in files: NumPy's .npy and .npz both ways, plain elements, pictures; and files that are damaged, wrong or
--- hostile.
local helper = require "spec.helper"
local lfs = require "lfs"
local parlua = require "parlua"

local types = { "float", "double", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "complex", "complex float" }
local numpy_names = { "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "complex128",
  "complex64" }

local function message_of(f, ...)
  local ok, message = pcall(f, ...)
  assert.is_false(ok, "no error was raised")
  return tostring(message)
end

--- A .npy file's bytes.
local function npy(header, elements, version)
  local length = #header
  local field = version and version > 1 and string.char(length % 256, math.floor(length / 256), 0, 0)
    or string.char(length % 256, math.floor(length / 256))
  return "\147NUMPY" .. string.char(version or 1, 0) .. field .. header .. elements
end

describe("a .npy file", function()
  it("goes from here to here, of every type, in both orders, by mapping", function()
    helper.with_directory(function(directory)
      for _, name in ipairs(types) do
        local a = parlua.array(name, { { 1, 2, 3 }, { 4, 5, 6 } })
        assert.equal(a, a:save(directory .. "/a.npy"))
        local b = parlua.load(directory .. "/a.npy")
        assert.same({ name, { 2, 3 }, a:bytes(), true }, { b.type, b.shape, b:bytes(), b.read_only })
        a:transpose():save(directory .. "/t.npy")
        local t = parlua.load(directory .. "/t.npy")
        assert.same({ { 3, 2 }, a:bytes() }, { t.shape, t:transpose():bytes() })
        a:view(true, { 1, 3, 2 }):save(directory .. "/v.npy")
        assert.same({ { 2, 2 }, a:view(true, { 1, 3, 2 }):bytes() }, { parlua.load(directory .. "/v.npy").shape,
          parlua.load(directory .. "/v.npy"):bytes() })
      end
    end)
  end)

  it("is read-only, and says why", function()
    helper.with_directory(function(directory)
      parlua.array("double", { 1, 2 }):save(directory .. "/a.npy")
      local a = parlua.load(directory .. "/a.npy")
      for _, write in ipairs { function() a[1] = 3 end, function() a:set(1, 3) end, function() a:fill(0) end,
        function() a:map_in_place(math.sqrt) end } do
        assert.truthy(message_of(write):find("read-only: it is mapped from a file, which is not to change; a:copy()", 1, true))
      end
      assert.is_false((pcall(function() a:data()[0] = 1 end)))
      local _, failures = parlua.map(function() a:data()[0] = 1 end, { 1 }, { engine = "process" })
      assert.truthy(failures[1].message:find("constant location %(the array is read%-only"), failures[1].message)
      local copy = a:copy()
      copy[1] = 3
      assert.same({ 3, 1 }, { copy[1], a[1] })
    end)
  end)

  it("can be saved over while it is mapped", function()
    helper.with_directory(function(directory)
      parlua.array("double", 1e5):fill(1):save(directory .. "/a.npy")
      local a = parlua.load(directory .. "/a.npy")
      parlua.array("double", { 5 }):save(directory .. "/a.npy")
      assert.equal(1e5, a:sum())
      assert.equal(5, parlua.load(directory .. "/a.npy")[1])
    end)
  end)

  it("reaches the tasks of every engine, and is made in tasks", function()
    helper.with_directory(function(directory)
      parlua.array("float", 6, 50000):fill(2):save(directory .. "/a.npy")
      local a = parlua.load(directory .. "/a.npy")
      for _, engine in ipairs(helper.engines) do
        local results, failures = parlua.map(function(i)
          return { a:slice(i):sum(), parlua.load(directory .. "/a.npy"):slice(i) }
        end,
          parlua.range(6), { engine = engine, workers = 2 })
        assert.same({}, failures)
        for i = 1, 6 do assert.same({ 1e5, 1e5 }, { results[i][1], results[i][2]:sum() }) end
      end
    end)
  end)
end)

describe("NumPy", function()
  local has_numpy = os.execute("/usr/bin/python3 -c 'import numpy' 2>/dev/null") == 0

  --- Runs a program of Python's in a directory.
  local function python(directory, text)
    helper.write(directory .. "/program.py", "import numpy as np\n" .. text)
    local result = helper.run("/usr/bin/python3 program.py", { directory = directory })
    assert.same({ 0, "" }, { result.status, result.stderr })
    return result.stdout
  end

  it("reads what is written here: .npy of every type and order, and .npz", function()
    if not has_numpy then return pending "there is no python3-numpy" end
    helper.with_directory(function(directory)
      for k, name in ipairs(types) do
        parlua.array(name, { { 1, 2, 3 }, { 4, 5, 6 } }):save(directory .. "/" .. numpy_names[k] .. ".npy")
      end
      parlua.array("int16", { { 1, 2, 3 }, { 4, 5, 6 } }):transpose():save(directory .. "/fortran.npy")
      parlua.save(directory .. "/all.npz", { x = parlua.array("double", { 1, 2 }), y = parlua.array("uint8", 2, 2):fill(7) })
      assert.equal("ok True (3, 2)\n['x', 'y'] 3.0 28 uint8\n", python(directory, ([=[
for name in "%s".split():
    a = np.load(name + ".npy")
    assert a.dtype == name and a.tolist() == [[1, 2, 3], [4, 5, 6]], name
f = np.load("fortran.npy")
assert f.tolist() == [[1, 4], [2, 5], [3, 6]]
print("ok", f.flags.f_contiguous, f.shape)
z = np.load("all.npz")
print(sorted(z.files), z["x"].sum(), z["y"].sum(), z["y"].dtype)
]=]):format(table.concat(numpy_names, " "))))
    end)
  end)

  it("writes what is read here: versions 1 to 3, both orders, both orders of bytes, .npz stored and compressed", function()
    if not has_numpy then return pending "there is no python3-numpy" end
    helper.with_directory(function(directory)
      python(directory, ([=[
for name in "%s".split():
    a = np.arange(1, 7).reshape(2, 3).astype(name)
    np.save(name, a)
    np.save("f_" + name, np.asfortranarray(a))
    np.save("b_" + name, a.astype(a.dtype.newbyteorder(">")))
for version in (1, 0), (2, 0), (3, 0):
    with open("v%%d.npy" %% version[0], "wb") as f:
        np.lib.format.write_array(f, np.arange(5.0), version=version)
np.save("scalar", np.float64(2.5))
np.save("bool", np.array([True, False]))
np.savez("stored.npz", np.arange(3), b=np.ones((2, 2), "f4"))
np.savez_compressed("packed.npz", a=np.arange(100000.0), b=np.zeros((100, 100), "i4"))
]=]):format(table.concat(numpy_names, " ")))
      local function load(name) return parlua.load(directory .. "/" .. name) end
      for k, name in ipairs(types) do
        local expected = parlua.array(name, { { 1, 2, 3 }, { 4, 5, 6 } })
        for _, prefix in ipairs { "", "f_", "b_" } do
          local a = load(prefix .. numpy_names[k] .. ".npy")
          assert.same({ name, { 2, 3 }, expected:bytes() }, { a.type, a.shape, a:bytes() })
        end
      end
      for version = 1, 3 do assert.same({ 0, 1, 2, 3, 4 }, load("v" .. version .. ".npy"):totable()) end
      assert.same({ 0, 2.5 }, { load("scalar.npy").rank, load("scalar.npy"):totable() })
      assert.same({ 1, 0 }, load("bool.npy"):totable())
      local stored, packed = load "stored.npz", load "packed.npz"
      assert.same({ 3LL, { { 1, 1 }, { 1, 1 } } }, { stored.arr_0[3] + 1, stored.b:totable() })
      assert.same({ 4999950000, 0, { 100, 100 } }, { packed.a:sum(), packed.b:sum(), packed.b.shape })
    end)
  end)

  -- Such an archive was refused whole.
  it("puts more into .npz files than arrays can be: what can be read is there, the rest is told when it is asked for", function()
    if not has_numpy then return pending "there is no python3-numpy" end
    helper.with_directory(function(directory)
      python(directory, [=[
import zipfile
for write, name in (np.savez, "stored.npz"), (np.savez_compressed, "packed.npz"):
    write(name, a=np.arange(3.0), objects=np.array([{}, None]), names=np.array(["x", "yz"]), empty=np.zeros((0, 3)),
          half=np.ones(2, "f2"), when=np.array(["2026-01-01"], "M8[D]"), pairs=np.zeros(2, [("x", "f8"), ("y", "i4")]))
    with zipfile.ZipFile(name, "a", zipfile.ZIP_STORED if name == "stored.npz" else zipfile.ZIP_DEFLATED) as z:
        z.writestr("notes.txt", "taken at night\n")
        z.writestr("nothing.txt", "")
        z.writestr("text.npy", "this is none")
]=])
      for _, name in ipairs { "stored.npz", "packed.npz" } do
        local path = directory .. "/" .. name
        local all, refused = parlua.load(path)
        assert.same({ 3, "taken at night\n", nil }, { all.a:sum(), all["notes.txt"]:bytes(), all.mistyped })
        local names = {}
        for key, array in pairs(all) do names[#names + 1] = key .. " " .. array.size end
        table.sort(names)
        assert.same({ "a 3", "notes.txt 15" }, names)
        local count = 0
        for key, words in pairs {
          objects = "'|O' (Python objects)", names = "'<U2'", empty = "it has no elements", half = "'<f2' (16 bit floats)",
          when = "'<M8[D]'", pairs = "its elements are records", ["nothing.txt"] = "has no bytes", text = "it is no .npy file",
        } do
          local message = message_of(function() return all[key] end)
          assert.truthy(message:find("array_files_spec.lua:%d+: parlua.load: ") and message:find(path .. ", entry '" .. key, 1, true)
            and message:find(words, 1, true), message)
          assert.truthy(message:find(refused[key], 1, true), refused[key])
          count = count + 1
        end
        for _ in pairs(refused) do count = count - 1 end
        assert.equal(0, count)
        for _, engine in ipairs(name == "packed.npz" and helper.engines or {}) do -- in tasks as well
          local results, failures = parlua.map(function(key) return (all[key]:sum()) end, { "a", "objects" }, { engine = engine, warn = false })
          assert.equal(3, results[1])
          assert.truthy(failures[1].message:find("Python objects", 1, true), failures[1].message)
          local loaded = parlua.map(function() return (parlua.load(path)) end, { 1 }, { engine = engine })[1]
          assert.equal(3, loaded.a:sum())
          assert.truthy(message_of(function() return loaded.names end):find("<U2", 1, true))
        end
      end
    end)
  end)

  it("prints arrays as they are printed here", function()
    if not has_numpy then return pending "there is no python3-numpy" end
    helper.with_directory(function(directory)
      local list = {
        parlua.array("double", { { 1, 2.5 }, { -3, 0.125 } }), parlua.array("double", { 1e-5, 1 }), parlua.array("double", { 1, 2000 }),
        parlua.array("double", { 0.1, 123456.7 }), parlua.array("float", { 0.1, 1 / 3 }), parlua.array("int32", { { -1, 20 }, { 3, 4 } }),
        parlua.array("double", { 1 / 3, 2 / 3, 1e3 }), parlua.array("double", 40):fill(1.5), parlua.array("int64", 2, 3, 4),
        parlua.array("double", 5000), parlua.array("uint8", 200, 300):fill(3), parlua.array("double", { 1e300, -1 }),
      }
      for k, a in ipairs(list) do a:save(("%s/%02d.npy"):format(directory, k)) end
      local printed = python(directory, 'import glob\nfor n in sorted(glob.glob("*.npy")): print(np.load(n), end="\\n--\\n")\n')
      local own = {}
      for k, a in ipairs(list) do own[k] = tostring(a):gsub("\n[^\n]*$", "") .. "\n--\n" end
      assert.equal(printed, table.concat(own))
    end)
  end)
end)

describe("a file of plain elements", function()
  it("is read by type, shape and offset, and written", function()
    helper.with_directory(function(directory)
      local path = directory .. "/a.raw"
      parlua.array("float", { 1, 2, 3, 4, 5, 6 }):save(path)
      assert.equal(24, #helper.read(path))
      assert.same({ 1, 2, 3, 4, 5, 6 }, parlua.load(path, { type = "float" }):totable())
      assert.same({ { 2, 3 }, { 4, 5 } }, parlua.load(path, { type = "float", shape = { 2, 2 }, offset = 4 }):totable())
      assert.same({ 2, 3 }, parlua.load(path, { type = "float", shape = 2, offset = 4 }):totable())
      assert.equal(5, #parlua.load(path, { type = "float", offset = 1 }))
      for words, options in pairs {
        ["there is no type \"flot\""] = { type = "flot" },
        ["24 bytes: 2 x 4 of float from byte 0 on take 32"] = { type = "float", shape = { 2, 4 } },
        ["behind the offset of 24 there is no float"] = { type = "float", offset = 24 },
        ["the size of dimension 1 must be an integer of at least 1, got -2"] = { type = "float", shape = { -2 } },
        ["offset must be an integer of at least 0, got -1"] = { type = "float", offset = -1 },
      } do
        assert.truthy(message_of(parlua.load, path, options):find(words, 1, true), words)
      end
    end)
  end)
end)

describe("a picture", function()
  it("is written and read as PGM and PPM, of 8 and of 16 bits", function()
    helper.with_directory(function(directory)
      local grey = parlua.array("uint8", { { 0, 100, 255 }, { 1, 2, 3 } })
      grey:save(directory .. "/a.pgm")
      assert.equal("P5\n3 2\n255\n" .. grey:bytes(), helper.read(directory .. "/a.pgm"))
      assert.same(grey:totable(), parlua.load(directory .. "/a.pgm"):totable())
      local wide = parlua.array("uint16", { { 0, 1000, 65535 } })
      wide:save(directory .. "/w.pgm")
      assert.same({ "uint16", wide:totable() }, { parlua.load(directory .. "/w.pgm").type, parlua.load(directory .. "/w.pgm"):totable() })
      local colour = parlua.array("uint8", 2, 4, 3):fill(9)
      colour:save(directory .. "/c.ppm")
      assert.same({ 2, 4, 3 }, parlua.load(directory .. "/c.ppm").shape)
      helper.write(directory .. "/text.pgm", "P2 # a comment\n3 1\n# another\n15\n0 7 15\n")
      assert.same({ { 0, 7, 15 } }, parlua.load(directory .. "/text.pgm"):totable())
      helper.write(directory .. "/text.ppm", "P3 1 1 300 1 2 300")
      assert.same({ { { 1, 2, 300 } } }, parlua.load(directory .. "/text.ppm"):totable())
    end)
  end)

  it("of floating-point numbers goes from black for the least to white for the largest, or by low and high", function()
    helper.with_directory(function(directory)
      local a = parlua.array("double", { { -1, 0, 1 } })
      a:save(directory .. "/a.pgm")
      assert.same({ { 0, 128, 255 } }, parlua.load(directory .. "/a.pgm"):totable())
      a:save(directory .. "/a.pgm", { low = 0, high = 2, bits = 16 })
      assert.same({ { 0, 0, 32768 } }, parlua.load(directory .. "/a.pgm"):totable())
      parlua.array("double", 2, 2):save(directory .. "/flat.pgm")
      assert.equal(0, parlua.load(directory .. "/flat.pgm"):sum())
    end)
  end)

  it("is written as PNG, grey and in colour, of 8 and of 16 bits", function()
    helper.with_directory(function(directory)
      for name, a in pairs { grey = parlua.array("uint8", { { 0, 100, 255 }, { 1, 2, 3 } }), wide = parlua.array("uint16", 2, 3):fill(1000),
        colour = parlua.array("uint8", 2, 3, 3):fill(7), clear = parlua.array("uint8", 2, 3, 4) } do
        a:save(("%s/%s.png"):format(directory, name))
      end
      local result = helper.run([[/usr/bin/python3 - <<'END'
import struct, zlib
for name, kind, bits, size in ("grey", 0, 8, 1), ("wide", 0, 16, 2), ("colour", 2, 8, 3), ("clear", 6, 8, 4):
    data = open(name + ".png", "rb").read()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, found, packed = 8, [], b""
    while at < len(data):
        length, what = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length:at + 12 + length])[0] == zlib.crc32(what + body)
        found.append(what)
        if what == b"IHDR": assert struct.unpack(">IIBB", body[:10]) == (3, 2, bits, kind)
        if what == b"IDAT": packed += body
        at += 12 + length
    rows = zlib.decompress(packed)
    assert len(rows) == 2 * (1 + 3 * size) and rows[0] == 0, name
    if name == "grey": assert rows == bytes([0, 0, 100, 255, 0, 1, 2, 3])
    if name == "wide": assert rows[1:3] == bytes([3, 232])
    assert found == [b"IHDR", b"IDAT", b"IEND"]
print("ok")
END]], { directory = directory })
      assert.same({ "ok\n", "" }, { result.stdout, result.stderr })
    end)
  end)

  it("that can't be one is refused", function()
    helper.with_directory(function(directory)
      local function refused(words, a, name, options)
        local message = message_of(a.save, a, directory .. "/" .. name, options)
        assert.truthy(message:find(words, 1, true), message)
        assert.same({ "0\n", "" }, { helper.run("ls " .. directory .. " | wc -l").stdout, "" })
      end
      refused("a picture is of rows x columns, or rows x columns x 3; the array is 5", parlua.array("uint8", 5), "a.pgm")
      refused("rows x columns x 3 (or 4); the array is 2 x 2 x 2", parlua.array("uint8", 2, 2, 2), "a.png")
      refused("values from -1 to 0 are none of a picture", parlua.array("int32", { { -1, 0 } }), "a.png")
      refused("a value is 300, more than 8 bits hold", parlua.array("int32", { { 300, 0 } }), "a.png", { bits = 8 })
      refused("bits must be 8 or 16, got 12", parlua.array("float", 2, 2), "a.png", { bits = 12 })
      refused("a picture is not of complex numbers", parlua.array("complex", 2, 2), "a.pgm")
    end)
  end)
end)

describe("NaNs of other programs", function()
  it("that Lua would take for values of other types are plain ones", function()
    local odd = { float = "\32\50\138\255", double = ("\255"):rep(8), complex = ("\255"):rep(16), ["complex float"] = ("\255"):rep(8) }
    helper.with_directory(function(directory)
      for name, bytes in pairs(odd) do
        local path = directory .. "/odd"
        local made = { parlua.array(name, bytes) }
        helper.write(path, bytes)
        made[2] = parlua.load(path, { type = name })
        made[3] = parlua.load(path, { type = name, offset = 0, shape = { 1 } })
        local code = ({ float = "f4", double = "f8", complex = "c16", ["complex float"] = "c8" })[name]
        for k, order in ipairs { "<", ">" } do
          helper.write(path, npy(("{'descr': '%s%s', 'fortran_order': False, 'shape': (1,)}"):format(order, code),
            order == ">" and bytes:reverse() or bytes))
          made[3 + k] = parlua.load(path)
        end
        for _, a in ipairs(made) do
          local value = name:find "complex" and a[1].re or a[1]
          assert.equal("number", type(value))
          assert.is_true(value ~= value)
        end
      end
    end)
  end)

  it("are looked for in large files where that is asked for", function()
    helper.with_directory(function(directory)
      local path = directory .. "/large"
      local n = 33 * 2 ^ 20 -- doubles: 264 MB, nearly all of them a hole of the file
      local file = io.open(path, "wb")
      file:seek("set", 8 * (n - 1))
      file:write(("\255"):rep(8))
      file:close()
      local a = parlua.load(path, { type = "double", check = true })
      assert.same({ n, false }, { a.size, a.read_only })
      assert.equal("number", type(a[n]))
      assert.is_true(parlua.load(path, { type = "double" }).read_only)
      local ok, message = pcall(parlua.load, path, { type = "double", check = 1 })
      assert.is_true(not ok and message:find("check must be true or false, got 1", 1, true) ~= nil, message)
    end)
  end)
end)

describe("saving an array", function()
  it("replaces a file when it is whole, through a link, with the old one's rights, and leaves nothing else", function()
    helper.with_directory(function(directory)
      local path, link = directory .. "/a.npy", directory .. "/link.npy"
      parlua.array("double", { 1, 2, 3 }):save(path)
      os.execute(("chmod 640 '%s'; ln -s a.npy '%s'"):format(path, link))
      local old = parlua.load(path)
      parlua.array("double", { 4, 5 }):save(link)
      assert.same({ { 1, 2, 3 }, { 4, 5 } }, { old:totable(), parlua.load(path):totable() })
      assert.equal("link", lfs.symlinkattributes(link, "mode"))
      assert.equal("rw-r-----", lfs.attributes(path, "permissions"))
      assert.is_false(pcall(parlua.save, directory .. "/b.pgm", { a = old }))
      assert.is_false(pcall(old.save, parlua.array("double", 2, 3, 4, 5), directory .. "/b.png"))
      local names = {}
      for name in lfs.dir(directory) do names[#names + 1] = name end
      table.sort(names)
      assert.same({ ".", "..", "a.npy", "link.npy" }, names)
    end)
  end)

  it("writes into a pipe", function()
    helper.with_directory(function(directory)
      local pipe, copy = directory .. "/pipe.npy", directory .. "/copy.npy"
      os.execute(("mkfifo '%s'"):format(pipe))
      local reader = io.popen(("cat '%s' > '%s'"):format(pipe, copy))
      parlua.array("float", 300, 300):fill(2):save(pipe)
      reader:close()
      assert.equal(180000, parlua.load(copy):sum())
    end)
  end)

  helper.for_each_engine(function(engine)
    it("to one file in several tasks at once leaves that of one of them: " .. engine, function()
      helper.with_directory(function(directory)
        local path = directory .. "/a.npy"
        local failures = select(2, parlua.map(function(i)
          parlua.array("int32", 5000):fill(i):save(path)
        end, parlua.range(40), helper.options(engine) { chunk = 1 }))
        assert.same({}, failures)
        local a = parlua.load(path)
        assert.same({ 5000, a[1], a[1] }, { #a, a:min(), a:max() })
        local n = 0
        for _ in lfs.dir(directory) do n = n + 1 end
        assert.equal(3, n)
      end)
    end)
  end)
end)

describe("what can't be loaded or saved", function()
  --- Bytes -> what is said of a file of these.
  local whole = npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }\n", ("x"):rep(48))
  local cases = {
    { "", "it is empty" },
    { "hello", "it is no .npy, .npz, PGM or PPM file; for plain elements" },
    { "\147NUMPY", "it is no .npy file" },
    { whole:sub(1, 30), "it is cut short: its header is of 70 bytes, the file of 30" },
    { whole:sub(1, -2), "it is cut short: 2 x 3 of double take 48 bytes, there are 47" },
    { npy("", ""), "its header is damaged: " },
    { npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }", "", 9), "it is of version 9.0 of .npy" },
    { npy("{'descr': '<f8', 'shape': (2,), }", ""), "does not say the order" },
    { npy("{'descr': '<f8', 'fortran_order': False}", ""), "its header has no shape" },
    { npy("{'fortran_order': False, 'shape': (2,)}", ""), "its header has no type" },
    { npy("{'descr': '\27[31m', 'fortran_order': False, 'shape': (2,)}", ""), "of NumPy's type '\\27[31m'; what can be" },
    { npy("{'descr': '<f2', 'fortran_order': False, 'shape': (2,)}", ""), "of NumPy's type '<f2' (16 bit floats)" },
    { npy("{'descr': '|O', 'fortran_order': False, 'shape': (2,)}", ""), "of NumPy's type '|O' (Python objects)" },
    { npy("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (2,)}", ""), "its elements are records" },
    { npy("{'descr': '<f8', 'fortran_order': False, 'shape': (0,)}", ""), "it has no elements" },
    { npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}", ""), "its header has no shape" },
    { npy("{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999,)}", ""), "a dimension has 99999999999999999999" },
    { npy("{'descr': '<f8', 'fortran_order': False, 'shape': (4503599627370496, 4096)}", ""), "more than there can be" },
    { npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}", ("x"):rep(64)), "take 8000000000000 bytes, there are 64" },
    { npy("{'descr': '<f8', 'fortran_order': False, 'shape': (" .. ("1,"):rep(17) .. ")}", ("x"):rep(8)), "17 dimensions" },
    { "\147NUMPY\2\0\255\255\255\255", "its header is of 4294967295 bytes" },
    { "\147NUMPY\3\0\1\0", "it is cut short" },
    { "PK\3\4 and so on", "it is no .npz file" },
    { "PK\5\6" .. ("\255"):rep(18), "cut short, or its directory is damaged" },
    { "\137PNG\r\n", "PNG pictures are only written" },
    { "P5 10 10 255\nabc", "it is cut short: 10 x 10 points take 100 values, there are 3" },
    { "P5 0 10 255\n", "a picture of 0 x 10 points" },
    { "P5 10", "it is cut short" },
    { "P5 10 x", "there is no number where one is expected" },
    { "P5 1 1 70000\n", "its highest value is 70000" },
    { "P5 2147483648 2147483648 255\n", "it is cut short" },
    { "P5 99999999999 1 255\n", "a number in it is too large" },
    { "P2 2 1 9 3 10", "a value is 10, more than the highest, 9" },
  }

  it("is an error that says what is wrong with the file", function()
    helper.with_directory(function(directory)
      local path = directory .. "/odd"
      for _, case in ipairs(cases) do
        helper.write(path, case[1])
        local message = message_of(parlua.load, path)
        assert.truthy(message:find(case[2], 1, true), message .. "\nexpected: " .. case[2])
        assert.truthy(message:find(path, 1, true), message)
      end
    end)
  end)

  it("is an .npz file in which something is damaged", function()
    helper.with_directory(function(directory)
      local path = directory .. "/a.npz"
      parlua.save(path, { first = parlua.array("double", 10):fill(1), second = parlua.array("int8", 5) })
      local text = helper.read(path)
      assert.same({ 10, 0 }, { parlua.load(path).first:sum(), parlua.load(path).second:sum() })
      for length = 1, #text - 1, 7 do
        helper.write(path, text:sub(1, length))
        message_of(parlua.load, path)
      end
      local found = 0
      for at = 1, #text do -- each byte in turn: an error, or arrays
        helper.write(path, text:sub(1, at - 1) .. string.char((text:byte(at) + 128) % 256) .. text:sub(at + 1))
        if not pcall(parlua.load, path) then found = found + 1 end
      end
      assert.is_true(found > 100)
    end)
  end)

  it("is a name that is none, or a form that is not known", function()
    local a = parlua.array("double", 3)
    for words, f in pairs {
      ["cannot read '/does/not/exist.npy': No such file"] = function() parlua.load "/does/not/exist.npy" end,
      ["cannot read '/tmp': Is a directory"] = function() parlua.load "/tmp" end,
      ["cannot read '/dev/zero': it is no plain file"] = function() parlua.load "/dev/zero" end,
      ["the name of a file is expected, got 3"] = function() parlua.load(3) end,
      ["a.npy\" has a NUL in it"] = function() a:save "x\0a.npy" end,
      ["b.npy\" has a NUL in it"] = function() parlua.load "x\0b.npy" end,
      ['there is no option "ofset"; did you mean offset?'] = function() parlua.load("/etc/passwd", { type = "int8", ofset = 3 }) end,
      ["shape and offset are of plain elements, whose type is to be named"] = function() parlua.load("/etc/passwd", { shape = 3 }) end,
      ['there is no option "depth"; there are: format, low'] = function() a:save("a.png", { depth = 16 }) end,
      ["a:save: 'a.txt': the ending of the name, or the option format, says the form: npy, npz"] = function() a:save "a.txt" end,
      ["cannot write '/does/not/exist.npy': No such file"] = function() a:save "/does/not/exist.npy" end,
      ["cannot write '/dev/full': No space left"] = function() a:save("/dev/full", { format = "npy" }) end,
      ["an array is expected, or a table of arrays by names for .npz"] = function() parlua.save("a.npy", { x = a }) end,
      ['at "x" it has 5'] = function() parlua.save("a.npz", { x = 5 }) end,
    } do
      local message = message_of(f)
      assert.truthy(message:find(words, 1, true), message .. "\nexpected: " .. words)
    end
  end)
end)

-- Reading what others have cut off raises SIGBUS: that ended the program.
describe("an array of a file that others cut short while it is mapped", function()
  local rows, row = 8, 1e5

  local function cut(path, bytes) assert.equal(0, os.execute(("truncate -s %d '%s'"):format(bytes, path))) end

  helper.for_each_engine(function(engine)
    it("fails the tasks that would read zeros, and the script goes on: " .. engine, function()
      helper.with_directory(function(directory)
        local path = directory .. "/points.npy"
        for _, bytes in ipairs { 3e6, rows * row * 8 + 128 - 100 } do -- the latter within the last page
          parlua.array("double", rows, row):fill(1):save(path)
          local a = parlua.load(path)
          local results, failures = parlua.map(function(i)
            if i == 1 then os.execute(("truncate -s %d '%s'"):format(bytes, path)) end
            local at, sum = a:slice(i):data(), 0
            for k = 0, row - 1 do sum = sum + at[k] end
            return sum
          end, parlua.range(rows), helper.options(engine) { chunk = 1 })
          for i = 1, rows do assert.is_true(results[i] == nil or results[i] == row, tostring(results[i])) end
          assert.is_true(#failures > 0 or engine == "mpi") -- other ranks have what was sent them
          for _, failure in ipairs(failures) do
            assert.is_truthy(failure.message:find("mapped from '" .. path .. "', which was cut short", 1, true),
              failure.message)
          end
          a:free()
          local sum = parlua.reduce(function(i) return i end, { 1, 2 }, helper.options(engine) {
            init = 0, step = function(all, i) return all + i end })
          assert.equal(3, sum)
        end
      end)
    end)
  end)

  it("is an error of the script that reads it", function()
    helper.with_directory(function(directory)
      local path = directory .. "/points.npy"
      for _, read in ipairs {
        function(a) return a[700000] end, function(a) return a:get(700000) end, function(a) return a:sum() end,
        function(a) return a + 1 end, function(a) return a:save(directory .. "/copy.npy") end,
        function(a) return a:copy() end, function(a) return a:view({ 1, 10 }):totable() end,
      } do
        parlua.array("double", 8e5):fill(1):save(path)
        local a = parlua.load(path)
        assert.equal(8e5, a:sum())
        cut(path, 3e6)
        local ok, message = pcall(read, a)
        assert.is_false(ok)
        assert.is_truthy(message:find("mapped from '" .. path .. "', which was cut short meanwhile", 1, true), message)
        a:free()
      end
    end)
  end)
end)
