--- Arrays in tasks: captured, as arguments and as results, on the engines of one host. On mpi: mpi_array_spec.lua.
local ffi = require "ffi"
local helper = require "spec.helper"
local lfs = require "lfs"
local parlua = require "parlua"

local LARGE = 50000 -- doubles: more than what is copied

helper.for_each_engine(function(engine)
  local with = helper.options(engine)

  it("an array that was captured is the script's own: what tasks write is seen", function()
    for _, n in ipairs { 10, LARGE } do
      local a = parlua.array("double", n)
      local _, failures = parlua.map(function(i) a[i] = i * i end, parlua.range(10), with())
      assert.same({}, failures)
      assert.equal(385, a:sum())
    end
  end)

  it("each task writes its slice of an array", function()
    local out = parlua.array("float", 6, 4, 5)
    parlua.each(function(i) out:slice(i):fill(i) end, parlua.range(6), with())
    assert.same({ 20, 40, 60, 80, 100, 120 }, out:sum(3):sum(2):totable())
    local turned = parlua.array("int32", 4, 6):transpose()
    parlua.each(function(i)
      local p, row = turned:data(), turned:slice(i)
      assert(p ~= nil and row.size == 4)
      for k = 1, 4 do row[k] = 10 * i + k end
    end, parlua.range(6), with())
    assert.same({ 61, 62, 63, 64 }, turned:slice(6):totable())
  end)

  it("arrays of a list are arguments without being copied", function()
    local list = {}
    for k = 1, 5 do list[k] = parlua.array("double", k == 3 and 10 or LARGE):fill(k) end
    local sums = parlua.map(function(a)
      a[2] = -1
      return a:sum()
    end, list, with())
    for k = 1, 5 do
      assert.equal(k * (list[k].size - 1) - 1, sums[k])
      assert.equal(-1, list[k][2])
    end
  end)

  it("so are those that an iterator makes while tasks run, though the script forgets them", function()
    local k = 0
    local function next_array()
      k = k + 1
      collectgarbage()
      if k <= 12 then return parlua.array("int32", k % 2 == 0 and 10 or 2 * LARGE):fill(k) end
    end
    local results, failures = parlua.map(function(a)
      a[1] = 1000
      return { a:sum() - 1000, a }
    end, next_array, with { chunk = 1 })
    assert.same({}, failures)
    for i = 1, 12 do
      local size = i % 2 == 0 and 10 or 2 * LARGE
      assert.same({ i * (size - 1), 1000, size }, { results[i][1], results[i][2][1], results[i][2].size })
    end
  end)

  it("such arguments are there for a second try", function()
    local k = 0
    local tried = parlua.array("int32", 6)
    local results, failures = parlua.map(function(a)
      local index = parlua.task.index
      tried[index] = tried[index] + 1
      if tried[index] == 1 then error "once more" end
      return a:sum()
    end, function()
      k = k + 1
      collectgarbage()
      if k <= 6 then return parlua.array("double", LARGE):fill(k) end
    end, with { retries = 1, chunk = 2 })
    assert.same({}, failures)
    for i = 1, 6 do assert.equal(i * LARGE, results[i]) end
  end)

  it("arrays that tasks make are results, large and small, views and of every type", function()
    local results, failures = parlua.map(function(i)
      if i == 1 then return parlua.array("double", LARGE):fill(1) end
      if i == 2 then return parlua.array("uint8", { 1, 2, 3 }) end
      if i == 3 then return parlua.array("double", 100, 1000):fill(3):slice(7) end
      if i == 4 then return parlua.array("float", 1000, 300):fill(4):transpose() end
      if i == 5 then return { left = parlua.array("complex", LARGE), right = { parlua.array("int64", 2, 2) } } end
      return parlua.array("double", LARGE):fill(i), parlua.array("int8", 3)
    end, parlua.range(20), with())
    assert.same({}, failures)
    assert.equal(LARGE, results[1]:sum())
    assert.same({ 1, 2, 3 }, results[2]:totable())
    assert.same({ 1000, 3000 }, { results[3].size, results[3]:sum() })
    assert.same({ 300, 1000 }, results[4].shape)
    assert.equal(4, results[4]:get(300, 1000))
    assert.same({ "complex", "int64" }, { results[5].left.type, results[5].right[1].type })
    for i = 6, 20 do assert.equal(i * LARGE, results[i]:sum()) end
    results[20][1] = 5
    assert.equal(5, results[20][1])
  end)

  it("an array of the script's that a task returns is that one", function()
    local small, large = parlua.array("double", 10), parlua.array("double", LARGE)
    local results = parlua.map(function(i) return i == 1 and small or i == 2 and large or large:reshape(2, -1):slice(2) end,
      parlua.range(3), with())
    assert.is_true(results[1] == small and results[2] == large)
    results[3][1] = 7
    assert.equal(7, large[LARGE / 2 + 1])
  end)

  it("the same array twice in a message is one array", function()
    local results = parlua.map(function()
      local a = parlua.array("double", LARGE)
      return { a, a, a:slice(1) }
    end, { 1, 2 }, with())
    for i = 1, 2 do assert.is_true(rawequal(results[i][1], results[i][2])) end
    results[1][1][1] = 5
    assert.equal(5, results[1][2][1])
  end)

  it("arrays go through streams, reductions and searches", function()
    local total = 0
    for _, a in parlua.imap(function(i) return parlua.array("double", LARGE):fill(i) end, parlua.range(8), with()) do
      total = total + a[LARGE]
    end
    assert.equal(36, total)
    local sum = parlua.reduce(function(i) return parlua.array("double", 3):fill(i) end, parlua.range(10), {
      init = function() return parlua.array("double", 3) end, step = function(sum, a) return sum + a end,
      merge = function(a, b) return a + b end,
    }, with())
    assert.same({ 55, 55, 55 }, sum:totable())
    local index, found = parlua.find(function(i) return i > 3 and parlua.array("int8", 2):fill(i) end, parlua.range(10), with())
    assert.same({ 4, 4 }, { index, found[2] })
  end)

  it("a task that fails leaves what it wrote, and the arrays whole", function()
    local a = parlua.array("double", LARGE)
    local results, failures = parlua.map(function(i)
      a[i] = i
      local made = parlua.array("double", LARGE):fill(i)
      if i == 3 then error "no" end
      return made
    end, parlua.range(5), with())
    assert.equal(1, #failures)
    assert.equal(15, a:sum())
    assert.equal(5 * LARGE, results[5]:sum())
  end)

  it("wrong use in a task is its failure, which names what was given", function()
    local a = parlua.array("double", 10)
    local freed = parlua.array("double", LARGE)
    local _, failures = parlua.map(function(i)
      if i == 1 then return a[11] end
      if i == 2 then return parlua.array("double", -1) end
      freed:free()
      return freed:sum()
    end, parlua.range(3), with())
    assert.equal(3, #failures)
    assert.truthy(failures[1].message:find("array_engines_spec.lua:%d+: index 11 is out of range: the array has the elements 1 to 10"))
    assert.truthy(failures[2].message:find("must be an integer of at least 1, got -1", 1, true))
    assert.truthy(failures[3].message:find("the array was freed", 1, true))
  end)

  it("can't be given to tasks any more when it was freed", function()
    if engine == "serial" then return end
    local k = 0
    local _, failures = parlua.map(function(a) return a:sum() end, function()
      k = k + 1
      if k > 1 then return end
      local a = parlua.array("double", 3)
      a:free()
      return a
    end, with())
    assert.equal(1, #failures)
    assert.truthy(failures[1].message:find("freed", 1, true), failures[1].message)
  end)

  it("results that nobody takes are let go of", function()
    for _ = 1, 3 do
      local stream = parlua.imap(function(i) return parlua.array("double", LARGE):fill(i) end, parlua.range(100), with { window = 20 })
      local _, a = stream()
      assert.equal(LARGE, a.size)
      stream:close()
    end
    collectgarbage()
    collectgarbage()
  end)
end, helper.one_host)

describe("a pool", function()
  for _, engine in ipairs(helper.engines) do
    it(("of the %s engine takes arrays as arguments and gives them as results, also such as are younger than its workers"):format(engine),
      function()
        local pool = parlua.pool(helper.options(engine)())
        for _, n in ipairs { 10, LARGE } do
          local a = parlua.array("double", n):fill(2)
          local future = pool:submit(function(x, y)
            x[1] = y
            return x, x:sum(), parlua.array("double", n):fill(3)
          end, a, 5)
          local same, sum, made = future:get()
          assert.is_true(same == a)
          assert.same({ 2 * n + 3, 5, 3 * n }, { sum, a[1], made:sum() })
        end
        pool:close()
      end)
  end
end)

-- Memory of 2 MB and more may be made of huge pages; what was let go of is used again.
describe("arrays of about the size of huge pages", function()
  local sizes = { 2 ^ 20 * 1.9, 2 ^ 21, 2 ^ 21 + 8, 8e6 }

  helper.for_each_engine(function(engine)
    it("reach tasks, are written in them, and come from them, whole: " .. engine, function()
      local with = helper.options(engine)
      for _, bytes in ipairs(sizes) do
        local n = math.floor(bytes / 8)
        local a, b = parlua.array("double", n), parlua.array("double", n)
        assert.same({ 0, 0, 0 }, { a[1], a[n], b:sum() })
        a[1], a[n] = 1, 2
        local made = parlua.map(function(i)
          local c = parlua.array("double", n)
          c[1], c[n] = c:sum() + a[1] + i, a[n]
          b[i == 1 and 1 or n] = i
          return c
        end, parlua.range(2), with())
        for i = 1, 2 do assert.same({ 1 + i, 2, 3 + i }, { made[i][1], made[i][n], made[i]:sum() }) end
        assert.same({ 1, 2, 3 }, { b[1], b[n], b:sum() })
        a:free()
        b:free()
        made[1]:free()
        assert.equal(0, parlua.array("double", n):sum())
      end
    end)
  end, helper.one_host) -- elsewhere what is captured can't be written

  it("take one fault for each huge page in a worker that touches them, where the system can give such pages", function()
    local enabled = io.open "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
    local version = io.open("/proc/sys/kernel/osrelease"):read "*a"
    local major, minor = version:match "^(%d+)%.(%d+)"
    local setting = enabled and enabled:read "*a":match "%[(%w+)%]"
    if not setting or setting == "deny" or major * 1000 + minor < 6001 then return pending("no huge pages here") end
    local a, n = parlua.array("double", 2 ^ 23):fill(1), 2 ^ 23
    local faults = parlua.map(function()
      local function count() return tonumber((io.open("/proc/self/stat"):read "*a":match "%) %a (.*)":match(
        "^" .. ("%S+ "):rep(6) .. "(%d+)"))) end
      local before, at = count(), a:data()
      for k = 0, n - 1, 512 do at[k] = at[k] + 1 end
      return count() - before
    end, { 1 }, { engine = "process", workers = 1 })
    assert.is_true(faults[1] < 4096, "faults for 64 MB: " .. faults[1])
  end)
end)

-- A description of an array was read after it had become garbage: strides were those of something else, in one of some
-- thousand arrays.
describe("of many results, while garbage is collected,", function()
  helper.for_each_engine(function(engine)
    it("each is as its task has made it: " .. engine, function()
      helper.with_directory(function(directory)
        local script = helper.write(directory .. "/many.lua", [[
          collectgarbage("setpause", 100)
          collectgarbage("setstepmul", 1000)
          local parlua, wrong = require "parlua", 0
          for _ = 1, 20 do
            local all = parlua.map(function(i)
              local a = parlua.array("double", 16, 10)
              for r = 1, 16 do for c = 1, 10 do a:set(r, c, i * 1000 + r * 10 + c) end end
              return a
            end, parlua.range(300))
            for i, a in ipairs(all) do
              for r = 1, 16 do for c = 1, 10 do
                if a:get(r, c) ~= i * 1000 + r * 10 + c then wrong = wrong + 1 end
              end end
            end
          end
          print(wrong)
        ]])
        assert.equal("0\n", helper.run_parlua(("--engine %s -n 2 %s"):format(engine, script)).stdout)
      end)
    end)
  end)
end)

describe("memory", function()
  --- Descriptors of this process that are arrays.
  local function open_files()
    local count = 0
    for name in lfs.dir "/proc/self/fd" do
      local target = ffi.new("char[256]")
      local length = ffi.C.readlink("/proc/self/fd/" .. name, target, 256)
      if length > 0 and ffi.string(target, length):find("parlua-array", 1, true) then count = count + 1 end
    end
    return count
  end

  it("is given back when the last array of it is collected, on every engine", function()
    collectgarbage()
    collectgarbage()
    local before = open_files()
    for _, engine in ipairs(helper.engines) do
      local results = parlua.map(function(i) return parlua.array("double", LARGE):fill(i) end, parlua.range(20),
        helper.options(engine)())
      assert.equal(20 * LARGE, results[20]:sum())
      for i = 1, 20 do results[i]:free() end
    end
    collectgarbage()
    collectgarbage()
    require("parlua.array.c").shared_trim() -- what is kept for the next arrays
    assert.is_true(open_files() <= before + 16, "so many are open: " .. open_files() .. ", before: " .. before)
  end)

  it("is given back at once by a:free()", function()
    local before = require("parlua.array.c").shared_total()
    local a = parlua.array("double", 1e7)
    assert.equal(8e7, require("parlua.array.c").shared_total() - before)
    a:free()
    assert.equal(0, require("parlua.array.c").shared_total() - before)
  end)

  it("is given back by workers that wait for the next call", function()
    local function total() return require("parlua.array.c").shared_total() end
    collectgarbage()
    local before = total()
    for _, how in ipairs { "captured", "given", "into", "packed" } do
      for lap = 1, 40 do
        local a = parlua.array("double", 1e6)
        if how == "captured" then parlua.each(function(i) a[i] = i end, parlua.range(4), { engine = "threads", workers = 2 })
        elseif how == "given" then parlua.each(function(x) x[1] = 1 end, { a }, { engine = "threads", workers = 2 })
        elseif how == "into" then parlua.map(function(i) return i end, parlua.range(100), { engine = "threads", workers = 2, into = a })
        else a = parlua.map(function(i) return i end, parlua.range(1e5), { engine = "threads", workers = 2, as = "array" }) end
        if lap % 2 == 0 then a:free() end
      end
    end
    collectgarbage()
    assert.is_true(total() - before < 6e8, "held: " .. total() - before)
    local large = parlua.array("double", 8e6)
    parlua.each(function(i) large[i] = i end, parlua.range(4), { engine = "threads", workers = 2 })
    local with_it = total()
    large:free()
    assert.is_true(total() <= with_it - 6.4e7)
  end)

  it("is given back while a script makes arrays and forgets them", function()
    for _ = 1, 300 do parlua.array("double", 1e6) end
    assert.is_true(require("parlua.array.c").shared_total() < 1e9)
  end)

  it("beyond what a worker may have is a failure of its task", function()
    local _, failures = parlua.map(function(i)
      if i == 2 then return parlua.array("double", 4e7):fill(1):sum() end
      return i
    end, parlua.range(3), { engine = "process", workers = 2, memory = "100M" })
    assert.equal(1, #failures)
    assert.same({ 2, "memory" }, { failures[1].index, failures[1].kind })
  end)
end)

describe("an array in a job", function()
  helper.for_each_engine(function(engine)
    it("is written as lists of numbers, a level for each dimension", function()
      helper.with_directory(function(directory)
        local script = helper.write(directory .. "/job.lua", [[
          local parlua = require "parlua"
          return { arguments = { 1, 2 }, map = function(i)
            if i == 1 then return parlua.array("int16", 2, 2):fill(i) end
            return { a = parlua.array("float", { 0.5, 0 / 0 }), b = parlua.array("int64", 1) }
          end }]])
        local result = helper.run_parlua(("--engine %s --format text %s"):format(engine, script))
        assert.equal('[[1,1],[1,1]]\n{"a":[0.5,{"$number":"nan"}],"b":[{"$int64":"0"}]}\n', result.stdout, result.stderr)
      end)
    end)
  end, helper.one_host)
end)

describe("an array in a journal", function()
  helper.for_each_engine(function(engine)
    it("is recorded with its elements", function()
      helper.with_directory(function(directory)
        local script = helper.write(directory .. "/job.lua", [[
          local parlua = require "parlua"
          local results = parlua.map(function(i)
            local ran = io.open("]] .. directory .. [[/ran", "a")
            ran:write("x")
            ran:close()
            return parlua.array("double", 3, i):fill(i)
          end, parlua.range(3))
          print(results[3]:sum(), results[2].shape[2])]])
        for _, resume in ipairs { "", "--resume " } do
          local result = helper.run_parlua(("--engine %s --journal %s/j %s%s"):format(engine, directory, resume, script))
          assert.equal("27\t2\n", result.stdout, result.stderr)
        end
        assert.equal("xxx", helper.read(directory .. "/ran"))
      end)
    end)
  end, helper.one_host)
end)

-- `make kill-test` kills more of them, on mpi as well.
describe("a script that is killed, after some of its workers,", function()
  it("while arrays are made, returned, written and saved, leaves nothing behind, and had nothing that was wrong", function()
    local seed = tonumber(os.getenv "SEED") or os.time() % 1000000
    local result = helper.run(('%s spec/array_kills.lua 6 %d "threads process"'):format(helper.quote(helper.parlua), seed))
    assert.truthy(result.stdout:find("array kills: all well: 6 scripts", 1, true), result.stdout .. result.stderr)
  end)
end)
