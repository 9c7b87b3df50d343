--- Programs that tasks run: their signals, and what they and the tasks read.
local helper = require "spec.helper"

describe("a program that a task runs", function()
  local directory

  before_each(function() directory = helper.new_directory() end)
  after_each(function() helper.remove(directory) end)

  local function script(text) return helper.write(directory .. "/script.lua", "local parlua = require 'parlua'\n" .. text) end

  --- Runs the script on an engine in a shell's command, where %s stands for the start of parlua.
  local function run(engine, command, options)
    options = options or {}
    options.directory, options.seconds = directory, 60
    return helper.run(command:format(helper.command(engine) .. " -n 2"), options)
  end

  helper.for_each_engine(function(engine)
    it("has the signal mask and the dispositions with which parlua was started", function()
      script("local asked = " .. tostring(engine == "mpi") .. [[
        local show = "grep -E '^Sig(Blk|Ign):' /proc/self/status"
        local function open() local pipe = io.popen(show) local text = pipe:read("*a") pipe:close() return text end
        local function execute(i)
          local name = os.tmpname()
          os.execute(show .. " >" .. name)
          local file = io.open(name) local text = file:read("*a") file:close() os.remove(name)
          return text
        end
        local outside = open()
        -- mpirun passes SIGUSR1, a question to rank 0, on to the whole group: there workers and their programs pass it over.
        local function comparable(text) return asked and (text:gsub("%x%x%x\n$", "")) or text end
        for _, program in ipairs { open, execute } do
          for _, text in ipairs((parlua.map(program, parlua.range(8), { chunk = 1 }))) do
            assert(comparable(text) == comparable(outside), text .. outside)
          end
        end
        print(outside)
      ]])
      local result = run(engine, "%s script.lua")
      assert.truthy(result.stdout:find("SigBlk:\t0+\n"), result.stdout .. result.stderr)
      assert.equal("", result.stderr)
    end)

    it("can wait for what it has begun in the background", function()
      script [[print(parlua.map(function() return os.execute("sleep 0.1 & wait") end, parlua.range(3))[3])]]
      assert.equal("0\n", run(engine, "%s script.lua").stdout)
    end)

    it("ends by Ctrl-C at the terminal, and so does the call", function()
      if engine == "mpi" then return end -- there is no terminal that reaches all hosts
      script [[
        local results, _, summary = parlua.map(function(i)
          io.open("began" .. i, "w"):close()
          if i % 2 == 0 then return os.execute("sleep 50") end
          local pipe = io.popen("sleep 50")
          pipe:close()
        end, parlua.range(100), { chunk = 1 })
        print(summary.interrupted, summary.tasks < 10)
      ]]
      local began = os.time()
      local result = helper.run(([[
        { while [ ! -e began1 ]; do sleep 0.01; done; sleep 0.2; kill -INT -$(cat pid); } &
        setsid -w %s -n 2 script.lua
        echo $?
      ]]):format(helper.command(engine, "pid")), { directory = directory, seconds = 60 })
      assert.equal("SIGINT\ttrue\n130\n", result.stdout, result.stderr)
      assert.is_true(os.time() - began < 40)
    end)

    it("finds standard input empty while a source reads it, and so do tasks: no line is lost", function()
      script [[
        local count, read = 0, 0
        for _, line, of_task in parlua.imap(function(line)
          os.execute("cat >/dev/null")
          local pipe = io.popen("cat")
          local of_program = pipe:read("*a")
          pipe:close()
          return line, of_program .. (io.read("*a") or "")
        end, parlua.lines("-")) do
          count, read = count + 1, read + #of_task
        end
        print(count, read)
      ]]
      local result = run(engine, "seq 300 | %s script.lua")
      assert.equal("300\t0\n", result.stdout, result.stderr)
    end)
  end)

  helper.for_each_engine(function(engine)
    local text = [[
      local function read(i)
        local pipe = io.popen("cat")
        local text = pipe:read("*a") .. "|" .. (io.read("*a") or "")
        pipe:close()
        return text
      end
      print(parlua.map(read, { 1 }, { workers = 1 })[1])
      print(parlua.map(read, { 1 }, { workers = 1, stdin = true })[1])
      print(parlua.map(read, { 1 }, { workers = 1 })[1])
      print(io.read("*l"))
    ]]

    it("finds it empty in any case, unless the option stdin says otherwise", function()
      if engine == "mpi" then return end -- what ranks read is mpirun's to say
      script(text)
      assert.equal("|\nmine\n|\n|\nnil\n", run(engine, "echo mine | %s script.lua").stdout)
      script "print(parlua.map(function() return io.read('*l') end, { 1 })[1])"
      assert.equal("mine\n", run(engine, "echo mine | %s --stdin script.lua").stdout)
    end)

    it("finds an end there, not an error", function()
      if engine == "mpi" then return end
      script [[print(parlua.map(function()
        return table.concat({ tostring(io.read("*a")), tostring(io.read("*l")), tostring(io.lines()()), io.stdin:read("*a") }, "|")
      end, { 1 })[1])]]
      assert.equal("|nil|nil|\n", run(engine, "echo mine | %s script.lua").stdout)
    end)

    it("leaves it to the script, in which a generator may read it", function()
      script [[
        local header = io.read("*l")
        local results = parlua.map(function(line)
          os.execute("cat >/dev/null")
          return line .. "!"
        end, io.lines())
        print(header, results.n, results[1], results[results.n])
      ]]
      assert.equal("1\t199\t2!\t200!\n", run(engine, "seq 200 | %s script.lua").stdout)
    end)
  end, { "threads", "process", "mpi" })

  it("finds the script's standard input again when the source has read all of it", function()
    script [[
      parlua.map(tostring, parlua.lines("-"))
      os.execute("readlink /proc/self/fd/0")
      parlua.map(tostring, parlua.take(parlua.lines("-"), 1))
      os.execute("readlink /proc/self/fd/0")
    ]]
    local result = run("serial", "echo 1 >input; %s script.lua <input")
    assert.equal(("%s/input\n"):format(directory):rep(2), result.stdout, result.stderr)
  end)

  it("of which a source reads the rest behind lines that the script has read itself", function()
    script [[
      print(io.read("*l"))
      print(table.concat(parlua.map(function(line) return line end, parlua.lines("-")), " "))
    ]]
    assert.equal("1\n2 3 4\n", run("process", "seq 4 | %s script.lua").stdout)
  end)

  it("that nobody reads any more is an error to a task of a thread, not the end of the program", function()
    script [[
      local results = parlua.map(function()
        local pipe = io.popen("exit 0", "w")
        os.execute("sleep 0.1")
        local _, message = pipe:write(("x"):rep(1e6))
        pipe:close()
        return message
      end, parlua.range(2))
      print(results[2])
    ]]
    assert.equal("Broken pipe\n", run("threads", "%s script.lua").stdout)
  end)
end)
