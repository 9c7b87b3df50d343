--- What C code, forked copies and programs of tasks write to standard output and standard error: it is captured, so that lines
--- are whole and stand where those of print do, on the engines whose workers are processes.
local helper = require "spec.helper"

local engines = {}
for _, name in ipairs(helper.engines) do
  if name == "process" then engines[#engines + 1] = name end
end
if helper.has_mpi and (os.getenv "SPEC_ENGINES" or "mpi"):find "mpi" then engines[#engines + 1] = "mpi" end

local DECLARED = [[
  local ffi = require "ffi"
  ffi.cdef "int printf(const char *, ...); int puts(const char *); void perror(const char *); int fflush(void *); int usleep(unsigned);"
  ffi.cdef "long write(int, const void *, size_t); int fork(void); int waitpid(int, int *, int); void _exit(int);"
  ffi.cdef "int posix_spawnp(int *, const char *, void *, void *, const char *const *, const char *const *);"
]]

for _, engine in ipairs(engines) do
  describe("what a task's programs print, engine " .. engine .. ":", function()
    local directory
    before_each(function() directory = helper.new_directory() end)
    after_each(function() helper.remove(directory) end)

    local function run(text, options)
      helper.write(directory .. "/script.lua", "local parlua = require 'parlua'\n" .. DECLARED .. text)
      local result = helper.run_parlua(("--engine %s -n 1 %s script.lua"):format(engine, options or ""), { directory = directory })
      assert.equal(0, result.status, result.stderr)
      return result
    end

    --- Checks that the lines that begin with "N " stand in the order of `expected`, for each N.
    local function check(expected, text)
      local of = {}
      for number, line in text:gmatch "(%d+) ([^\n]*)\n" do
        of[number] = (of[number] or "") .. line .. "\n"
      end
      for number = 1, 4 do assert.equal(expected, of[tostring(number)], "task " .. number) end
      assert.equal("", (text:gsub("%d+ [^\n]*\n", "")))
    end

    it("stands in whole lines in the order in which the task did it", function()
      local result = run [[
        parlua.each(function(i)
          print(i .. " print")
          os.execute("echo " .. i .. " program; printf '" .. i .. " half, '")
          print("and print")
          ffi.C.printf("%d printf\n", ffi.new("int", i))
          ffi.C.puts(i .. " puts")
          io.write(i .. " three ")
          ffi.C.write(1, "parts ", 6)
          os.execute("echo of a line")
          local pipe = io.popen("cat", "w")
          pipe:write(i .. " popen\n")
          pipe:close()
          local pid = ffi.new("int[1]")
          local words = ffi.new("const char *[4]", "sh", "-c", "echo " .. i .. " spawned")
          assert(ffi.C.posix_spawnp(pid, "sh", nil, nil, words, nil) == 0)
          ffi.C.waitpid(pid[0], nil, 0)
          parlua.exec("echo", i .. " exec", { stdout = true })
          print(i .. " end")
        end, parlua.range(4))
      ]]
      check("print\nprogram\nhalf, and print\nprintf\nputs\nthree parts of a line\npopen\nspawned\nexec\nend\n", result.stdout)
    end)

    it("goes to standard error if it was written there", function()
      local result = run [[
        parlua.each(function(i)
          io.stderr:write(i, " io\n")
          os.execute("echo " .. i .. " program >&2")
          ffi.C.write(2, i .. " write\n", 8)
          ffi.C.perror(i .. " perror")
          assert(io.popen("echo " .. i .. " beside a pipe >&2"):read "*a" == "")
        end, parlua.range(4))
      ]]
      assert.equal("", result.stdout)
      check("io\nprogram\nwrite\nperror\nbeside a pipe\n", (result.stderr:gsub("perror: [^\n]*", "perror")))
    end)

    it("has the tag of its task, however late it comes", function()
      local result = run([[
        parlua.each(function(i)
          if i == 1 then os.execute("{ while [ ! -e go ]; do sleep 0.01; done; echo late; echo late; touch gone; } &") end
          if i == 2 then os.execute("touch go; while [ ! -e gone ]; do sleep 0.01; done; sleep 0.02; echo two") end
        end, parlua.range(2))
      ]], "--tag --chunk 2")
      local lines = {}
      for line in result.stdout:gmatch "[^\n]+" do lines[#lines + 1] = line end
      table.sort(lines)
      assert.equal("1\tlate 1\tlate 2\ttwo", table.concat(lines, " "))
    end)

    it("comes from copies that the task has forked, too", function()
      local result = run [[
        parlua.each(function(i)
          io.write(i, " begun by the task, ")
          local pid = ffi.C.fork()
          if pid == 0 then
            print(i .. " printed by the copy")
            os.execute("echo " .. i .. " run by the copy")
            ffi.C._exit(0)
          end
          ffi.C.waitpid(pid, nil, 0)
          print "ended by it"
        end, parlua.range(4))
      ]]
      local lines = {}
      for line in result.stdout:gmatch "[^\n]+" do lines[#lines + 1] = line end
      assert.equal(12, #lines, result.stdout)
    end)

    it("keeps lines whole, of many programs, up to 256 KiB", function()
      local result = run([[
        parlua.each(function(i)
          for k = 1, 10 do
            os.execute("{ for i in 1 2 3 4 5 6 7 8; do printf a; sleep 0.00$((" .. k .. " % 7)); printf b; echo c; done; touch "
              .. i .. "." .. k .. "; } &")
          end
          for k = 1, 10 do os.execute("head -c 200000 /dev/zero | tr '\\0' x; echo") end
          for k = 1, 10 do
            while not io.open(i .. "." .. k) do ffi.C.usleep(1000) end
          end
        end, parlua.range(4))
      ]], "--tag -n 2")
      local short, long, other = 0, 0, 0
      for line in result.stdout:gmatch "%d\t([^\n]+)" do
        if line == "abc" then short = short + 1
        elseif #line == 200000 and not line:find "[^x]" then long = long + 1
        else other = other + 1 end
      end
      assert.same({ 320, 40, 0 }, { short, long, other })
    end)

    it("may be one long line", function()
      local result = run [[parlua.each(function() os.execute("head -c 3000000 /dev/zero | tr '\\0' x; echo") end, { 1 })]]
      assert.is_true(("x"):rep(3000000) .. "\n" == result.stdout)
    end)

    it("may be as much as it likes; the script, other tasks and time limits go on", function()
      local result = run([[
        local results, failures = parlua.map(function(i)
          if i == 1 then os.execute "yes" end
          if i == 2 then return io.popen("seq 100000 >&2"):read "*a" end
          return "returned"
        end, parlua.range(3), { timeout = 0.3, warn = false })
        io.stderr:write(#failures, failures[1].index, failures[1].kind, " ", tostring(results[3]), "\n")
      ]], "--chunk 1 -n 2")
      assert.truthy(result.stderr:find "11timeout returned\n" or result.stderr:find "21timeout returned\n", result.stderr:sub(-200))
    end)

    it("is not captured where the task has put a file there, and is then in the file", function()
      local result = run [[
        ffi.cdef "int dup2(int, int); int creat(const char *, int); int dup(int);"
        parlua.each(function(i)
          local before = ffi.C.dup(1)
          ffi.C.dup2(ffi.C.creat("file" .. i, 420), 1)
          os.execute("echo program")
          ffi.C.write(1, "write\n", 6)
          ffi.C.dup2(before, 1)
          os.execute("echo " .. i .. " after")
        end, parlua.range(4))
      ]]
      check("after\n", result.stdout)
      for i = 1, 4 do assert.equal("program\nwrite\n", helper.read(directory .. "/file" .. i)) end
    end)

    it("is there where the worker dies after it", function()
      local result = run [[
        parlua.each(function(i)
          os.execute("echo " .. i .. " program")
          if i == 2 then os.exit(3) end
          if i == 3 then os.execute "kill -SEGV $PPID" end
          if i == 4 then ffi.cdef "void abort(void);" ffi.C.abort() end
        end, parlua.range(4))
      ]]
      check("program\n", result.stdout)
    end)

    if engine == "process" then
      it("has no time limit while nobody takes it", function()
        local result = run([[
          local taken = 0
          for i, lines in parlua.imap(function() os.execute "seq 150000" return 150000 end, parlua.range(2), { timeout = 3, chunk = 1 }) do
            taken = taken + lines
            parlua.cores()
            ffi.C.usleep(3300000)
          end
          io.stderr:write(taken, "\n")
        ]])
        assert.equal("300000\n", result.stderr)
        assert.equal(300000, select(2, result.stdout:gsub("\n", "")))
      end)

      it("goes on after the worker's end, in whole lines", function()
        local result = run [[
          parlua.each(function(i)
            os.execute("{ while [ ! -e go ]; do sleep 0.01; done; printf '" .. i .. " la'; sleep 0.05; printf te; touch gone" .. i .. "; } &")
          end, parlua.range(4))
          io.open("go", "w"):close()
          for i = 1, 4 do
            while not io.open("gone" .. i) do ffi.C.usleep(10000) end
          end
          ffi.C.usleep(50000)
        ]]
        check("late\n", result.stdout)
      end)

      it("costs a worker without programs neither descriptors nor threads", function()
        local result = run [[
          local lfs = require "lfs"
          local function entries(path) local n = 0 for _ in lfs.dir(path) do n = n + 1 end return n end
          local counts = parlua.map(function()
            print "x"
            return entries "/proc/self/task" - 2
          end, parlua.range(1))
          io.stderr:write(counts[1], "\n")
        ]]
        assert.equal("1\n", result.stderr)
      end)
    end
  end)
end
