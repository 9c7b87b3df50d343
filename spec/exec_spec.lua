--- parlua.exec: programs without a shell, in tasks and in the script.
local helper = require "spec.helper"
local parlua = require "parlua"

local exec = parlua.exec

--- Is a process there, and no zombie?
local function is_running(pid)
  local file = io.open("/proc/" .. pid .. "/stat")
  if not file then return false end
  local state = file:read("*a"):match "%) (%a)"
  file:close()
  return state ~= "Z" and state ~= "X"
end

--- Waits for the end of the processes whose numbers are in a file.
local function wait_for_ends(path)
  for pid in helper.read(path):gmatch "%d+" do
    local tries = 0
    while is_running(pid) do
      os.execute "sleep 0.05"
      tries = tries + 1
      assert(tries < 400, "process " .. pid .. " is still running")
    end
  end
end

describe("parlua.exec", function()
  it("gives what a program wrote, and how it ended", function()
    assert.same({ "one two\n", "", 0 }, { exec("echo", "one two") })
    assert.same({ "", "oh\n", 3 }, { exec("sh", "-c", "echo oh >&2; exit 3", { check = false }) })
    assert.same({ "", "", "SIGKILL" }, { exec("sh", "-c", "kill -9 $$", { check = false }) })
    assert.same({ "1 0.5\n", "", 0 }, { exec { "echo", 1, 0.5 } })
    assert.same({ "x\n", "", 0 }, { exec({ "echo", "x" }, { check = true }) })
  end)

  it("finds a program where PATH has it now", function()
    local ffi = require "ffi"
    pcall(ffi.cdef, "int setenv(const char *name, const char *value, int overwrite);")
    helper.with_directory(function(directory)
      local before = os.getenv "PATH"
      for _, name in ipairs { "first", "second" } do
        os.execute(("mkdir '%s/%s'"):format(directory, name))
        local path = ("%s/%s/which-one"):format(directory, name)
        helper.write(path, "#!/bin/sh\necho " .. name .. "\n")
        os.execute(("chmod +x '%s'"):format(path))
      end
      local function set(path) ffi.C.setenv("PATH", path .. ":" .. before, 1) end
      local ok, message = pcall(function()
        set(directory .. "/first:" .. directory .. "/second")
        assert.equal("first\n", (exec "which-one"))
        os.remove(directory .. "/first/which-one")
        assert.equal("second\n", (exec "which-one"))
        os.remove(directory .. "/second/which-one")
        assert.equal("cannot start 'which-one': No such file or directory (it is looked for in PATH)",
          tostring(select(2, pcall(exec, "which-one"))))
        helper.write(directory .. "/first/which-one", "echo by sh\n")
        os.execute(("chmod +x '%s/first/which-one'"):format(directory))
        assert.equal("by sh\n", (exec "which-one"))
        set(directory .. "/second")
        assert.is_false((pcall(exec, "which-one")))
        set("first") -- below the directory where it runs
        assert.equal("by sh\n", (exec("which-one", { cwd = directory })))
      end)
      ffi.C.setenv("PATH", before, 1)
      assert(ok, message)
    end)
  end)

  it("waits for a program that has closed what it writes to", function()
    assert.same({ "x\n", "", 3 }, { exec("sh", "-c", "echo x; exec >&- 2>&-; sleep 0.1; exit 3", { check = false }) })
    assert.same({ "", "", 0 }, { exec("sh", "-c", "exec >&- 2>&- <&-; sleep 0.1", { stdin = ("x"):rep(100000) }) })
  end)

  it("needs no quotes, whatever the bytes", function()
    for _, word in ipairs { "a b", "it's", '"', "$HOME `id`", "a\nb", "\255\254", "", "-n", "*", "\\" } do
      assert.equal(word, (exec("printf", "%s", word)))
    end
  end)

  it("raises what a program says that fails, with all that is known of it", function()
    local ok, raised = pcall(exec, "sh", "-c", "echo out; echo first >&2; echo last >&2; exit 7")
    assert.is_false(ok)
    assert.equal("'sh' exited with status 7: last", tostring(raised))
    assert.same({ "sh", "status", 7, "out\n", "first\nlast\n" },
      { raised.program, raised.reason, raised.status, raised.stdout, raised.stderr })
    assert.equal("'sh' was killed by SIGTERM", tostring(select(2, pcall(exec, "sh", "-c", "kill $$"))))
    assert.equal("cannot start 'no-such-program': No such file or directory (it is looked for in PATH)",
      tostring(select(2, pcall(exec, "no-such-program"))))
    assert.equal("cannot start 'echo': Argument list too long", tostring(select(2, pcall(exec, "echo", ("x"):rep(2e5)))))
    assert.equal("cannot start '/etc/passwd': Permission denied", tostring(select(2, pcall(exec, "/etc/passwd"))))
    assert.equal("cannot start 'true': No such file or directory: '/no/where'",
      tostring(select(2, pcall(exec, "true", { cwd = "/no/where" }))))
    assert.equal("cannot start 'true': No such file or directory: '/no/file'",
      tostring(select(2, pcall(exec, "true", { stdin = { file = "/no/file" } }))))
  end)

  it("is told what is wrong with its arguments", function()
    local function message(...) return (tostring(select(2, pcall(exec, ...))):gsub("^[^:]*:%d+: ", "")) end
    assert.equal("exec: the program must be a string or a number, got nil", message(nil))
    assert.equal("exec: argument 2 of 'echo' must be a string or a number, got boolean", message("echo", 1, true))
    assert.equal("exec: argument 1 of 'echo' has a NUL byte in it, which no program can be given", message("echo", "a\0"))
    assert.equal("exec: unknown option timout; did you mean timeout?", message("true", { timout = 1 }))
    assert.equal("exec: option 'timeout' must be a number of seconds above 0, or text as \"5s\", got 'soon'",
      message("true", { timeout = "soon" }))
    assert.equal("exec: option 'stdin' must be a string, { file = \"name\" }, true or false, got 5", message("cat", { stdin = 5 }))
    assert.equal("exec: option 'env' must be a table of variables: strings, or false to take one out, got a table",
      message("true", { env = { "A=1" } }))
    assert.equal("exec: option 'cwd' must be the name of a directory, got 1", message("true", { cwd = 1 }))
    assert.equal("exec: there is no program", message {})
  end)

  it("gives input and takes output at the same time, more than pipes hold", function()
    local text = ("0123456789abcdef"):rep(200000)
    local out, err = exec("sh", "-c", "tee /dev/stderr", { stdin = text })
    assert.is_true(out == text and err == text)
    assert.equal("", (exec("true", { stdin = text }))) -- it reads nothing
    assert.equal("0123", (exec("head", "-c", 4, { stdin = text })))
    assert.equal("", (exec("cat", { stdin = "" })))
    assert.equal("", (exec("cat", { stdin = false })))
  end)

  it("works in a directory and with variables of its own", function()
    assert.equal("/usr\n", (exec("pwd", { cwd = "/usr" })))
    assert.equal("[a=b] [none]\n", (exec("sh", "-c", 'echo "[$ONE] [${HOME-none}]"', { env = { ONE = "a=b", HOME = false } })))
    assert.equal(os.getenv "PATH" .. "\n", (exec("sh", "-c", "echo $PATH", { env = { ONE = 1 } })))
  end)

  it("reads from a file and writes to files", function()
    helper.with_directory(function(directory)
      local path = helper.write(directory .. "/in", "b\na\n")
      local out, err = exec("sort", { stdin = { file = path }, stdout = { file = directory .. "/out" } })
      assert.same({ nil, "" }, { out, err })
      exec("echo", "c", { stdout = { file = directory .. "/out", append = true } })
      assert.equal("a\nb\nc\n", helper.read(directory .. "/out"))
      assert.same({ "e\n" }, { (exec("sh", "-c", "echo e >&2", { stderr = "stdout" })) })
      assert.is_nil((exec("echo", "x", { stdout = false })))
    end)
  end)

  it("gives lines to a function as they come, and ends where that raises", function()
    local lines = {}
    local out = exec("printf", "one\\n\\nthree", { stdout = function(line) lines[#lines + 1] = line end })
    assert.is_nil(out)
    assert.same({ "one", "", "three" }, lines)
    helper.with_directory(function(directory)
      local ok, message = pcall(exec, "sh", "-c", "echo $$ > " .. directory .. "/pid; echo x; exec sleep 100",
        { stdout = function() error("enough", 0) end })
      assert.same({ false, "enough" }, { ok, message })
      wait_for_ends(directory .. "/pid")
    end)
  end)

  it("does not wait for what a program leaves in the background", function()
    local began = require("parlua.host").now()
    assert.equal("done\n", (exec("sh", "-c", "sleep 20 & echo done")))
    assert.is_true(require("parlua.host").now() - began < 15)
  end)

  it("ends a program at its time limit, with what it has started, also one that will not hear of it", function()
    helper.with_directory(function(directory)
      for _, deaf in ipairs { "", "trap '' TERM; " } do
        local ok, raised = pcall(exec, "sh", "-c", deaf .. "echo begun; sleep 100 & echo $! $$ >pids; wait; wait; sleep 100",
          { timeout = "300ms", cwd = directory })
        assert.is_false(ok)
        assert.equal("'sh' took more than 0.3 s", tostring(raised))
        assert.same({ "timeout", "begun\n" }, { raised.reason, raised.stdout })
        wait_for_ends(directory .. "/pids")
      end
    end)
  end)

  helper.for_each_engine(function(engine)
    local options = helper.options(engine)

    it("runs in tasks; a program that fails is its task's failure", function()
      local function run(n)
        local out, err, status = exec("sh", "-c", 'read -r x; echo "$1 $x"; exit $2', "sh", "a b", n % 2, { stdin = n .. "\n" })
        return out .. err .. status
      end
      local results, failures = parlua.map(run, parlua.range(2, 5), options())
      assert.same({ "a b 2\n0", nil, "a b 4\n0" }, { results[1], results[2], results[3] })
      assert.same({ 2, 4 }, { failures[1].index, failures[2].index })
      assert.equal("'sh' exited with status 1", failures[1].message)
      assert.same({ "status", 1, "a b 3\n" }, { failures[1].value.reason, failures[1].value.status, failures[1].value.stdout })
      assert.equal("'sh' exited with status 1", tostring(failures[1].value))
    end)

    it("reads nothing of the script's in tasks, unless it is told to", function()
      local result = helper.run_parlua("--engine " .. engine .. [[ -e '
        local parlua = require "parlua"
        print(#parlua.map(function() return (parlua.exec("cat")) end, { 1 }, { workers = 1 })[1])
        print((parlua.exec("cat")))
      ']], { stdin = "the script's" })
      assert.equal("0\nthe script's\n", result.stdout, result.stderr)
    end)

    it("ends with its task at the time limit, and so does what it has started", function()
      if engine == "serial" then return end
      helper.with_directory(function(directory)
        local function run(n)
          if n == 2 then exec("sh", "-c", "sleep 100 & echo $! $$ >pids; wait", { cwd = directory }) end
          return n
        end
        local results, failures = parlua.map(run, parlua.range(3), options { timeout = 0.5 })
        assert.same({ 1, nil, 3 }, { results[1], results[2], results[3] })
        assert.equal("timeout", failures[1].kind)
        wait_for_ends(directory .. "/pids")
      end)
      helper.let_threads_rest()
    end)

    it("leaves with its task's failure what the program had written by the time limit", function()
      if engine == "serial" then return end
      local _, failures = parlua.map(function() return (exec("sh", "-c", "echo out; echo err >&2; exec sleep 100")) end, { 1 },
        options { timeout = 1 })
      local value = failures[1].value
      assert.same({ "timeout", "ended", "out\n", "err\n" }, { failures[1].kind, value.reason, value.stdout, value.stderr })
      assert.same({ "sh", "'sh' was ended with its task" }, { value.program, tostring(value) })
      -- what was handed on, or written elsewhere, is not kept
      _, failures = parlua.map(function()
        return exec("sh", "-c", "echo out; echo err >&2; exec sleep 100", { stdout = function() end, stderr = false })
      end, { 1 }, options { timeout = 0.5 })
      assert.is_nil(failures[1].value)
      helper.let_threads_rest()
    end)

    it("ends at Ctrl-C, and so does what it has started; the call gives what is done", function()
      helper.with_directory(function(directory)
        helper.write(directory .. "/script.lua", [[
          local parlua = require "parlua"
          local function tell(event, data)
            if event == "progress" and data.done == 2 then io.open("done", "w"):close() end
          end
          local results, failures, summary = parlua.map(function(n)
            if n < 3 then return n end
            parlua.exec("sh", "-c", "sleep 100 & echo $! $$ >pids.new; mv pids.new pids; wait")
          end, parlua.range(3), { workers = 1, warn = false, chunk = 1, progress = tell })
          print(summary.interrupted, results[1], results[2], failures[1] and failures[1].kind)
        ]])
        -- tasks that run in the script's own state follow one another, and nothing is told meanwhile
        if helper.in_script[engine] then helper.write(directory .. "/done", "") end
        local began = os.time()
        local result = helper.run(([[
          { while [ ! -e pids ] || [ ! -e done ]; do sleep 0.02; done; kill -INT $(cat pid); } &
          %s script.lua
          echo $?
        ]]):format(helper.command(engine, "pid")), { directory = directory })
        assert.equal("SIGINT\t1\t2\tcancelled\n130\n", result.stdout, result.stderr)
        assert.is_true(os.time() - began < 60)
        wait_for_ends(directory .. "/pids")
      end)
    end)

    it("ends with the program that is killed", function()
      helper.with_directory(function(directory)
        helper.write(directory .. "/script.lua", [[
          local parlua = require "parlua"
          parlua.map(function(n) parlua.exec("sh", "-c", "echo $$ >pid.new; mv pid.new program; exec sleep 100") end, { 1 })
        ]])
        helper.run(([[
          { while [ ! -e program ]; do sleep 0.02; done; kill -KILL $(cat pid); } &
          %s script.lua
          true
        ]]):format(helper.command(engine, "pid")), { directory = directory })
        wait_for_ends(directory .. "/program")
      end)
    end)
  end)

  it("is interrupted in the script by Ctrl-C", function()
    helper.with_directory(function(directory)
      helper.write(directory .. "/script.lua", [[
        local parlua = require "parlua"
        parlua.exec("sh", "-c", "echo $$ >pid.new; mv pid.new program; exec sleep 100")
        print "not reached"
      ]])
      local result = helper.run(([[
        { while [ ! -e program ]; do sleep 0.02; done; kill -INT $(cat pid); } &
        %s script.lua
        true
      ]]):format(helper.command("serial", "pid")), { directory = directory })
      assert.equal("", result.stdout)
      assert.truthy(result.stderr:find("interrupted!", 1, true), result.stderr)
      wait_for_ends(directory .. "/program")
    end)
  end)
end)
