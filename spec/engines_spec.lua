-- The page that adds an engine is right: its code is built into a copy of parlua, where calls run on it.

local helper = require "spec.helper"
local lfs = require "lfs"

local page = helper.read "docs/NEW_ENGINE.md"

--- The blocks of the page in a language ("text" for output), in their order.
local function blocks_of(language)
  local blocks = {}
  for text in page:gmatch("\n```" .. language .. "\n(.-\n)```\n") do blocks[#blocks + 1] = text end
  return blocks
end

--- Applies a diff of lines, or parts of lines, without places: each "-" is replaced by the "+" behind it.
local function apply(diff, text)
  for old, new in diff:gmatch "%-([^\n]+)\n%+([^\n]+)\n" do
    local from, to = text:find(old, 1, true)
    assert(from, "the table of engines has no line with: " .. old)
    text = text:sub(1, from - 1) .. new .. text:sub(to + 1)
  end
  return text
end

local function shell(command, directory)
  local result = helper.run(command, { directory = directory })
  assert.equal(0, result.status, result.stdout .. result.stderr)
  return result.stdout
end

--- Copies what parlua is built from. What this tree has built already is copied too, and need not be built again.
local function copy_tree(directory)
  shell(("cp -a src lua Makefile %s"):format(directory))
  if lfs.attributes("build/embedded.o", "mode") ~= "file" then return end
  shell(("mkdir %s/build && cp -a build/*.o build/*.d build/embed build/embedded.c build/modules.list %s/build"):format(directory, directory))
  for _, part in ipairs { "sys", "slot", "engines", "run", "lua" } do shell(("cp -a build/%s %s/build"):format(part, directory)) end
end

describe("the engine of docs/NEW_ENGINE.md", function()
  local directory, parlua

  --- Runs a script on the copy of parlua.
  local function run(script, arguments)
    helper.write(directory .. "/script.lua", script)
    return helper.run(("%s %s script.lua"):format(parlua, arguments or ""), { directory = directory })
  end

  setup(function()
    directory = helper.new_directory()
    parlua = directory .. "/parlua"
    copy_tree(directory)
    helper.write(directory .. "/src/engines/fresh.c", blocks_of("c")[1])
    local table_of_engines = directory .. "/src/engines/engines.c"
    helper.write(table_of_engines, apply(blocks_of("diff")[1], helper.read(table_of_engines)))
    shell("make binary MPICC= CFLAGS='-O0 -Werror'", directory)
  end)

  teardown(function() helper.remove(directory) end)

  it("prints what the page says", function()
    local result = run(blocks_of("lua")[1])
    assert.equal(blocks_of("text")[1], result.stdout, result.stderr)
    assert.equal(0, result.status)
  end)

  it("is known wherever engines are named", function()
    assert.truthy(helper.run(parlua .. " --version").stdout:find("engines: serial, async, threads, process, fresh, mpi", 1, true))
    local help = helper.run(parlua .. " --help").stdout:gsub("%s+", " ")
    assert.truthy(help:find("serial, async, threads, process (the default), fresh or mpi", 1, true), help)
    local result = run("require('parlua').map(print, { 1 }, { engine = 'frehs' })")
    assert.truthy(result.stderr:find("did you mean fresh?", 1, true), result.stderr)
    result = run("require('parlua').map(print, { 1 }, { engine = 'serial', timeout = 1 })")
    assert.truthy(result.stderr:find('engine = "fresh"', 1, true), result.stderr)
  end)

  it("keeps its workers from call to call, and sends them what the function needs", function()
    local result = run([[
      local parlua, ffi = require "parlua", require "ffi"
      ffi.cdef "int getpid(void);"
      local own, options = ffi.C.getpid(), { engine = "fresh", workers = 1 }
      local function ask(x)
        local library = require "ffi"
        library.cdef "int getpid(void);"
        seen = (seen or 0) + 1
        return { library.C.getpid(), own, x, seen }
      end
      local first = parlua.map(ask, { "a" }, options)[1]
      local second = parlua.map(ask, { "b" }, options)[1]
      print(first[1] == second[1], first[1] ~= own, first[2] == own, first[3], second[3], seen)
    ]])
    assert.equal("true\ttrue\ttrue\ta\tb\tnil\n", result.stdout, result.stderr)
  end)

  it("prints once what the script has printed before its workers were started", function()
    local result = run([[
      print "once"
      local _, failures = require("parlua").map(function() os.exit(1) end, { 1, 2 }, { engine = "fresh", workers = 2 })
      print(#failures)
    ]])
    assert.equal("once\n2\n", result.stdout, result.stderr)
  end)

  it("contains errors, crashes, time limits and memory", function()
    local result = run([[
      local parlua = require "parlua"
      local ffi = require "ffi"
      local results, failures = parlua.map(function(i)
        if i == 2 then error "raised" end
        if i == 4 then require("ffi").cast("int *", 8)[0] = 1 end
        if i == 6 then while true do end end
        if i == 8 then return #("x"):rep(2^29) end
        return i
      end, parlua.range(9), { engine = "fresh", workers = 2, timeout = 2, memory = "256M" })
      for i = 1, 9, 2 do assert(results[i] == i) end
      for _, failure in ipairs(failures) do print(failure.index, failure.kind) end
    ]])
    assert.equal("2\terror\n4\tcrash\n6\ttimeout\n8\tmemory\n", result.stdout, result.stderr)
  end)

  it("leaves no process behind", function()
    local result = run([[
      local parlua, ffi = require "parlua", require "ffi"
      ffi.cdef "int getpid(void);"
      local results = parlua.map(function()
        local library = require "ffi"
        library.cdef "int getpid(void);"
        return library.C.getpid()
      end, parlua.range(4), { engine = "fresh", workers = 2 })
      print(table.concat(results, "\n"))
    ]])
    assert.equal("", result.stderr)
    local count = 0
    for pid in result.stdout:gmatch "%d+" do
      count = count + 1
      assert.is_nil(lfs.attributes("/proc/" .. pid, "mode"))
    end
    assert.equal(4, count)
  end)
end)
