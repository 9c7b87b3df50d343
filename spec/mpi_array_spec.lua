--- Arrays on the mpi engine, on two ranks: what was captured is shared by the workers of a node, and read-only there.
local helper = require "spec.helper"

if not helper.has_mpi then
  describe("arrays on the mpi engine", function()
    it("need an MPI", function() pending "the mpi engine or mpirun is not there" end)
  end)
  return
end

describe("arrays on the mpi engine", function()
  local result

  -- One program for all, as starting ranks takes half a second.
  local program = [[
    local parlua = require "parlua"
    local with = { engine = "mpi", warn = false }
    local big, small = parlua.array("double", 300000):fill(2), parlua.array("int32", 10):fill(3)
    local view = big:reshape(300, 1000):transpose()

    local r, f = parlua.map(function() return big:sum() + small:sum() + view:slice(2):sum() end, parlua.range(4), with)
    print("captured", #f, r[1], r[4])

    r, f = parlua.map(function(i)
      if i == 1 then big[1] = 3 end
      if i == 2 then big:data()[0] = 3 end
      if i == 3 then small:set(1, 3) end
      if i == 4 then big:fill(3) end
      return big[1] + small[1]
    end, parlua.range(5), with)
    for _, failure in ipairs(f) do print("written", failure.index, failure.kind, failure.message) end
    print("not written", r[5], big[1], small[1])

    local ffi, waves = require "ffi", parlua.array("complex", 4)
    ffi.cdef 'void clear_waves(complex *at, size_t bytes) __asm__("bzero");'
    r, f = parlua.map(function() ffi.C.clear_waves(waves:data(), 64) end, { 1 }, with)
    print("written in C", f[1].kind, f[1].message)

    r, f = parlua.map(function(i) return parlua.array("float", 100, 1000):fill(i) end, parlua.range(3), with)
    print("results", #f, r[3].type, r[3]:sum(), r[1].read_only)

    r, f = parlua.map(function(x)
      x[1] = 5
      return x:sum()
    end, { big, small }, with)
    print("arguments", #f, r[1], r[2], big[1], small[1])

    big[1] = 77
    print("changed", parlua.map(function() return big[1] end, { 1 }, with)[1])

    global = parlua.array("double", 5):fill(1)
    local function first() return global[1] end
    local before = parlua.map(first, { 1 }, with)[1]
    global[1] = 9
    print("global", before, parlua.map(first, { 1 }, with)[1])

    local into = parlua.array("int16", 4, 2)
    r, f = parlua.map(function(i)
      if i == 2 then return { 1, 2, 3 } end
      if i == 3 then return parlua.array("double", { 7, 8 }) end
      return { i, -i }
    end, parlua.range(4), { engine = "mpi", warn = false, into = into })
    print("into", #f, table.concat(into:reshape(8):totable(), " "))

    local packed = parlua.map(function(i)
      if i == 2 then error "no" end
      return i / 2
    end, parlua.range(4), { engine = "mpi", warn = false, as = "array" })
    print("packed", packed[1], packed[2] ~= packed[2], packed[4])

    parlua.array("double", 6):fill(4):save("a.npy")
    local loaded = parlua.load "a.npy"
    print("file", parlua.map(function() return loaded:sum() end, { 1 }, with)[1])
  ]]

  setup(function()
    helper.with_directory(function(directory)
      helper.write(directory .. "/program.lua", program)
      result = helper.run(helper.command "mpi" .. " program.lua", { directory = directory })
    end)
  end)

  --- Does the program print such a line?
  local function prints(line)
    assert.truthy(("\n" .. result.stdout):find("\n" .. line:gsub(" | ", "\t") .. "\n", 1, true), result.stdout .. result.stderr)
  end

  it("are captured with their elements, views as well", function() prints "captured | 0 | 600630 | 600630" end)

  it("can't be written to where they were captured: the failure says why, and nothing is changed", function()
    local why = "the array is read-only here: on the mpi engine the workers of a node share one copy of what a task has captured. "
      .. "Return what is new, or let the call put it in place: parlua.map(f, arguments, { into = array })"
    for index = 1, 4 do
      local message = result.stdout:match("written\t" .. index .. "\terror\t([^\n]*)")
      assert.truthy(message and message:find(why, 1, true), result.stdout .. result.stderr)
    end
    prints "not written | 5 | 2 | 3"
    local message = result.stdout:match "written in C\terror\t([^\n]*)"
    assert.truthy(message and message:find("cannot convert 'complex *' to 'complex *') (" .. why, 1, true), result.stdout .. result.stderr)
  end)

  it("are results", function() prints "results | 0 | float | 300000 | false" end)

  it("are arguments, each task's own", function() prints "arguments | 0 | 600003 | 32 | 2 | 3" end)

  it("are sent as they are by then", function()
    prints "changed | 77"
    prints "global | 1 | 9"
  end)

  it("take results, and results are packed into them", function()
    prints "into | 1 | 1 -1 0 0 7 8 4 -4"
    prints "packed | 0.5 | true | 2"
  end)

  it("are read from files in the script", function() prints "file | 24" end)

  it("leave nothing behind when processes of the job are killed", function()
    local killed = helper.run(('%s spec/array_kills.lua 1 %d mpi'):format(helper.quote(helper.parlua), os.time() % 1000000))
    assert.truthy(killed.stdout:find("array kills: all well: 1 scripts", 1, true), killed.stdout .. killed.stderr)
  end)
end)
