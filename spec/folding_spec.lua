-- Reductions with `merge` over MPI ranks: values of blocks are merged where they are made. All specs of reductions run over mpi too
-- (spec/mpi_spec.lua); here is what concerns ranks alone.

local lfs = require "lfs"

local helper = require "spec.helper"

local has_engine = os.execute("command -v mpirun > /dev/null") == 0
  and lfs.attributes(helper.parlua:gsub("[^/]*$", "") .. "parlua_mpi.so", "mode") == "file"

-- Prints whether the value is that of serial, the number of failures, how many blocks rank 0's own workers ran, and how many merges the script
-- made itself. In a worker a merge begins with `what`. Values tell in which order they were merged.
local text = [[
  local parlua, host = require "parlua", require "parlua.host"
  local function process() return io.open("/proc/self/stat"):read("*n") end
  local script, merges = process(), 0
  local function reduction(on_worker)
    return {
      init = "", block = 1, step = function(all, result) return all .. result end,
      merge = function(a, b)
        if process() ~= script then on_worker() end
        merges = merges + 1
        return "(" .. a .. b .. ")"
      end,
    }
  end
  -- a worker's parent is its rank's helper, whose parent is the rank
  local function parent_of(id) return tonumber(io.open("/proc/" .. id .. "/stat"):read("*a"):match("%%) %%a (%%d+)")) end
  local function f(i)
    host.sleep(0.001)
    if parent_of(parent_of("self")) == script then
      local file = io.open("own", "a")
      file:write(".")
      file:close()
    end
    return i .. ";"
  end
  local n = 3000
  local expected = parlua.reduce(function(i) return i .. ";" end, parlua.range(n), reduction(), { engine = "serial" })
  merges = 0
  local value, failures = parlua.reduce(f, parlua.range(n), reduction(function() %s end), %s)
  print(value == expected, #failures)
  io.stderr:write(merges, " merges\n")
]]

--- Runs it on three ranks with twelve workers together. Returns what it printed, how many merges the script made, whether a file "done" was
--- made, and how many blocks rank 0's own workers ran.
---@param what? string
---@param options? string
---@param setup? fun(command: string): string changes the command
local function run(what, options, setup)
  local result, was_done, own
  helper.with_directory(function(directory)
    local script = helper.write(directory .. "/script.lua", text:format(what or "", options or "{ workers = 12 }"))
    helper.write(directory .. "/whole", "")
    local command = ("%s %s %s"):format(helper.mpirun(3), helper.quote(helper.parlua), script)
    result = helper.run(setup and setup(command) or command, { directory = directory, seconds = 60 })
    was_done = lfs.attributes(directory .. "/done") ~= nil
    own = lfs.attributes(directory .. "/own", "size") or 0
  end)
  return result, tonumber(result.stderr:match "(%d+) merges\n$"), was_done, own
end

--- Are most values of other ranks merged there? Each that is not costs the script a merge, as do all of its own rank.
local function assert_merged_there(merges, own)
  assert.is_true(own > 0)
  assert.is_true(merges - own < 0.6 * (2999 - own), merges .. " merges, of " .. own .. " own blocks")
end

describe("a map over ranks with many workers", function()
  if not has_engine then
    it("needs mpirun, which is not here", function() end)
    return
  end

  it("gives each task's result, whatever stands beside it", function()
    helper.with_directory(function(directory)
      local script = helper.write(directory .. "/script.lua", [[
        local parlua = require "parlua"
        local n = 50000
        local function f(i)
          if i % 1000 == 7 then error("no", 0) end
          if i % 97 == 0 then return tostring(i) end
          if i % 7 == 0 then return nil end
          if i % 11 == 0 then return i % 2 == 0 end
          return 2 * i
        end
        local function check(get)
          for i = 1, n do assert(get(i) == (i % 1000 ~= 7 and f(i) or nil) or i % 11 == 0 and get(i) == f(i), i) end
        end
        local options = { workers = 40 }
        local results, failures = parlua.map(f, parlua.range(n), options)
        check(function(i) return results[i] end)
        io.write(results.n, " ", #failures, " ")
        local last = 0
        results, failures = parlua.map(f, function()
          last = last + 1
          if last <= n then return last end
        end, options)
        check(function(i) return results[i] end)
        io.write(results.n, " ", #failures, " ")
        local found, count = {}, 0
        for i, value in parlua.imap(f, parlua.range(n), options) do
          found[i], count = value, count + 1
        end
        check(function(i) return found[i] end)
        print(count)
      ]])
      for _, fan in ipairs { "256", "1" } do
        local result = helper.run(("%s %s %s"):format(helper.mpirun(3), helper.quote(helper.parlua), script),
          { seconds = 60, env = { PARLUA_MPI_FAN = fan } })
        assert.equal("50000 50 50000 50 49950\n", result.stdout, result.stderr)
      end
    end)
  end)
end)

describe("a reduction with merge over ranks", function()
  if not has_engine then
    it("needs mpirun, which is not here", function() end)
    return
  end

  it("has most values merged by the workers of the ranks that have them, in the same shape", function()
    local result, merges, _, own = run()
    assert.equal("true\t0\n", result.stdout, result.stderr)
    assert_merged_there(merges, own)
  end)

  it("does so in a tree of ranks", function()
    local result, merges, _, own = run(nil, nil, function(command) return "PARLUA_MPI_FAN=1 " .. command end)
    assert.equal("true\t0\n", result.stdout, result.stderr)
    assert_merged_there(merges, own)
  end)

  it("loses nothing when a worker ends as it merges", function()
    local result, _, was_done = run 'if os.rename("whole", "done") then os.exit(3) end'
    assert.equal("true\t0\n", result.stdout, result.stderr)
    assert.is_true(was_done)
  end)

  it("is merged in the script where merge raises in workers, or does not end within the time limit of a task", function()
    local result = run 'error("not here")'
    assert.equal("true\t0\n", result.stdout, result.stderr)
    local slow, _, was_done = run('if os.rename("whole", "done") then host.sleep(60) end', "{ workers = 12, timeout = 0.5 }")
    assert.equal("true\t0\n", slow.stdout, slow.stderr)
    assert.is_true(was_done)
  end)

  it("is merged in the script where merge can't be sent", function()
    local result, merges = run("local _ = file", nil, function(command)
      return "sed -i '1s/^/local file = io.open(\"whole\") /' script.lua && " .. command
    end)
    assert.equal("true\t0\n", result.stdout, result.stderr)
    assert.equal(2999, merges)
  end)

  it("loses nothing when a rank is lost as it merges", function()
    if helper.mpi == "mpich" then return end -- its mpiexec ends the job
    local result, _, was_done = run([[
      if os.rename("whole", "done") then
        local starter = io.open("/proc/self/stat"):read("*a"):match("%) %a (%d+)")
        os.execute("kill -9 " .. io.open("/proc/" .. starter .. "/stat"):read("*a"):match("%) %a (%d+)"))
        host.sleep(60)
      end]], nil, function(command) return (command:gsub("mpirun ", "mpirun --enable-recovery ")) end)
    assert.equal("true\t0\n", result.stdout, result.stderr)
    assert.is_true(was_done)
    assert.truthy(result.stderr:find("is lost: its process has ended"), result.stderr)
  end)
end)
