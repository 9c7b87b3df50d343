--- Tasks that tasks have spawned, in a run with a journal: what is recorded of them is not run again on resuming, and
--- what a resumed run gives is what one gives that was not disturbed.
local helper = require "spec.helper"

local has_cqueues = pcall(require, "cqueues")

local function on_each(body)
  helper.for_each_engine(body)
  if has_cqueues then describe("engine async:", function() body("async") end) end
end

--- Each task appends what it visits to the file $RAN. Where $KILL is, the task that visits that number ends the program
--- by SIGKILL, once $ROWS tasks are recorded.
local start = [[
local parlua = require "parlua"
local ffi = require "ffi"
ffi.cdef "int getpid(void); int kill(int, int);"
PID = ffi.C.getpid() -- a global: a variable that differs would make it another run
local function ran(what)
  local file = io.open(os.getenv("RAN"), "a")
  file:write(what, "\n")
  file:close()
  if os.getenv("KILL") ~= tostring(what) then return end
  repeat
    local rows = io.popen("sqlite3 -cmd '.timeout 60000' run.db 'select count(*) from tasks' 2>/dev/null")
    local count = tonumber(rows:read("*a")) or 0
    rows:close()
  until count >= tonumber(os.getenv "ROWS")
  ffi.C.kill(PID, 9)
  while true do end
end
]]

--- A tree: each node spawns two below it, as far as the fourth generation.
local tree = start .. [[
local function visit(k, depth)
  ran(k)
  if depth < 4 then
    parlua.spawn(visit, 2 * k, depth + 1)
    parlua.spawn(visit, 2 * k + 1, depth + 1)
  end
  if k == 5 or k == 40 then error("no " .. k, 0) end
  return { k, math.random(1e6) }
end
local results, failures, summary = parlua.map(function(k) return visit(k, 1) end, { 1, 10 })
for i = 1, results.n do
  print(i, results[i] and results[i][1], results[i] and results[i][2], results.parents[i])
end
for _, f in ipairs(failures) do print(f.index, f.parent, f.message, f.args[1]) end
print(summary.tasks, summary.returned)
]]

describe("a journal of a run whose tasks make tasks:", function()
  on_each(function(engine)
    local directory, path, runs

    before_each(function() directory, runs = helper.new_directory(), 0 end)
    after_each(function() helper.remove(directory) end)

    local function sql(text) return helper.run(("sqlite3 %s/run.db %s"):format(directory, helper.quote(text))).stdout end

    --- Runs the script. Returns the result, and what its tasks have visited: a sorted list of texts.
    local function run(options, env)
      runs = runs + 1
      local all = { RAN = directory .. "/ran" .. runs }
      for name, value in pairs(env or {}) do all[name] = value end
      local result = helper.run(("%s --workers 2 --journal run.db %s %s"):format(helper.command(engine), options, path),
        { env = all, directory = directory })
      local ran, file = {}, io.open(all.RAN)
      for line in file and file:lines() or function() end do ran[#ran + 1] = line end
      if file then file:close() end
      table.sort(ran)
      return result, ran
    end

    it("a run that was killed goes on, and nothing that is recorded is run again", function()
      path = helper.write(directory .. "/tree.lua", tree)
      local expected = run "--force"
      local found, visited = run("--force", { KILL = 43, ROWS = 6 })
      if helper.mpi == "mpich" and engine == "mpi" then -- its mpiexec writes there that rank 0 was killed
        assert.is_nil(found.stdout:find "%d\t")
      else
        assert.equal("", found.stdout)
      end
      local before = {}
      for row in sql("select json_extract(arguments, '$[0]') from tasks"):gmatch "%S+" do before[row] = true end
      assert.is_true(#visited < 26)
      found, visited = run "--resume"
      assert.equal(expected.stdout, found.stdout)
      assert.truthy(expected.stdout:find("4\t3\t", 1, true) or expected.stdout:find "no 5", expected.stdout)
      for _, k in ipairs(visited) do assert.is_nil(before[k], k .. " ran again") end
      assert.is_true(#visited > 0)
      found, visited = run "--resume"
      assert.same({ expected.stdout, {} }, { found.stdout, visited })
    end)

    it("failed tasks are tried again where that is asked for, and nothing else", function()
      path = helper.write(directory .. "/tree.lua", tree)
      run "--force"
      local _, visited = run "--resume --retry-failed"
      assert.same({ "40", "5" }, visited)
    end)

    it("functions that tasks make, classes and methods are found again in the script", function()
      path = helper.write(directory .. "/kinds.lua", start .. [[
        local Node = {}
        Node.__index = Node
        function Node.new(k) return setmetatable({ k = k, list = {} }, Node) end
        function Node:visit(more)
          ran(self.k)
          return ("%s %d %s"):format(tostring(getmetatable(self) == Node), self.k, more and more() or "")
        end
        local callable = setmetatable({}, { __call = function(_, k) ran("called " .. k) return k end })
        results = parlua.map(function(k)
          local node, count = Node.new(k), 0
          node.own = node
          local function step() count = count + 1 return count end
          local function again(n)
            if n > 0 then return again(n - 1) end
            return step() + step()
          end
          parlua.spawn(Node.visit, node, function() return again(3) end)
          parlua.spawn(callable, k)
          parlua.spawn(string.rep, "x", k)
          return k
        end, { 1, 2 })
        print(table.concat(results, "\n"))
      ]])
      local expected = run "--force"
      assert.truthy(expected.stdout:find "^1\n2\ntrue 1 3\n1\nx\ntrue 2 3\n2\nxx\n$", expected.stdout .. expected.stderr)
      sql "delete from tasks where task > 2"
      local found, visited = run "--resume"
      assert.same({ expected.stdout, { "1", "2", "called 1", "called 2" } }, { found.stdout, visited },
        found.stderr)
    end)

    it("what no file can hold runs again, with the task that has spawned it, and nothing else does", function()
      path = helper.write(directory .. "/held.lua", start .. [[
        local results = parlua.map(function(k)
          ran("root " .. k)
          parlua.spawn(function(x) ran(x) return x end, k)
          if k == 2 then
            parlua.spawn(function(x) ran("held") return 7 end, require("ffi").new("struct { int x; }", 5))
          end
          return k
        end, { 1, 2, 3 })
        print(table.concat(results, " "))
      ]])
      local expected = run "--force"
      assert.equal("1 2 3 1 2 7 3\n", expected.stdout, expected.stderr)
      local found, visited = run "--resume"
      assert.same({ expected.stdout, { "held", "root 2" } }, { found.stdout, visited })
    end)
  end)

  it("is refused when the code of a function that was spawned differs", function()
    helper.with_directory(function(directory)
      local text = [[
        local parlua = require "parlua"
        local kinds = { spawned = function(k) return k + ADDED end }
        print(table.concat(parlua.map(function(k)
          parlua.spawn(kinds.spawned, k)
          return k
        end, { 1 }), " "))]]
      local options = { directory = directory }
      helper.write(directory .. "/one.lua", (text:gsub("ADDED", "1")))
      assert.equal("1 2\n", helper.run_parlua("--journal run.db one.lua", options).stdout)
      helper.run("sqlite3 run.db 'delete from tasks where task > 1'", options)
      helper.write(directory .. "/one.lua", (text:gsub("ADDED", "2")))
      local result = helper.run_parlua("--journal run.db --resume one.lua", options)
      assert.equal(1, result.status)
      assert.truthy(result.stderr:find("the journal 'run.db' is of another run: a function that a task has spawned is "
        .. "not in the script any more, or its code differs (spawned by task 1)", 1, true), result.stderr)
    end)
  end)
end)
