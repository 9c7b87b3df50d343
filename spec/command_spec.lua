local helper = require "spec.helper"

--- Runs parlua and compares: `stdout` exactly, `stderr` by a Lua pattern (default: empty), `status` (default: 0).
local function transcript(arguments, expected, options)
  local result = helper.run_parlua(arguments, options)
  local shown = ("$ parlua %s\nstatus %d\n%s\n%s"):format(arguments, result.status, result.stdout, result.stderr)
  if expected.stdout then assert.equal(expected.stdout, result.stdout, shown) end
  if expected.pattern then assert.truthy(result.stdout:find(expected.pattern), shown) end
  if expected.stderr then
    assert.truthy(result.stderr:find(expected.stderr), shown)
  else
    assert.equal("", result.stderr, shown)
  end
  assert.equal(expected.status or 0, result.status, shown)
end

describe("the command parlua", function()
  local directory
  local run_in ---@type table  options for transcript: in the directory of scripts

  setup(function()
    directory = helper.new_directory()
    run_in = { directory = directory }
  end)

  teardown(function() helper.remove(directory) end)

  local function script(name, text) return helper.write(directory .. "/" .. name, text) end

  --- As transcript, with other options beside the directory.
  local function transcript_with(options, arguments, expected)
    options.directory = directory
    transcript(arguments, expected, options)
  end

  describe("as a Lua interpreter", function()
    it("runs a script with its words in `...` and in `arg`", function()
      script("words.lua", "print(select('#', ...), ...) print(arg[0], arg[1], arg[2], #arg)")
      transcript("words.lua a 'b c'", { stdout = "2\ta\tb c\nwords.lua\ta\tb c\t2\n" }, run_in)
    end)

    it("keeps the words before the script at negative indices", function()
      script("negative.lua", "print(arg[-1], arg[-2], arg[-3] ~= nil, arg[-4])")
      transcript("-n 3 negative.lua", { stdout = "3\t-n\ttrue\tnil\n" }, run_in)
    end)

    it("leaves the words after the script to the script, whatever they look like", function()
      script("own.lua", "print(...)")
      transcript("own.lua --help -e --workers x -- -", { stdout = "--help\t-e\t--workers\tx\t--\t-\n" }, run_in)
    end)

    it("runs code given with -e, each piece in order, and then the script", function()
      script("after.lua", "print(x)")
      transcript("-e 'x = 1' -e'x = x + 1' after.lua", { stdout = "2\n" }, run_in)
      transcript("-e 'print(...)'", { stdout = "\n" })
      transcript("-e 'print(#parlua.map(math.sqrt, { 4, 9 }))' -e 'print(rawget(_G, [[parlua]]))'", { stdout = "2\nnil\n" })
      transcript("-e 'parlua = 5' -e 'print(_G.parlua == 5)'", { stdout = "true\n" })
      transcript("-e 'local parlua = require [[parlua]]' -e 'error(parlua ~= nil and [[here]])'",
        { stderr = "^parlua: %(command line%):1: here\n", status = 1 })
    end)

    it("gives -e the words of the command line in `arg`, at negative indices, as luajit does", function()
      transcript("-e 'print(arg[-2], arg[-1] ~= nil, arg[0], #arg)'", { stdout = "-e\ttrue\tnil\t0\n" })
    end)

    it("requires modules given with -l", function()
      script("module.lua", "greeting = 'hello' return {}")
      transcript("-l module -e 'print(greeting)'", { stdout = "hello\n" }, run_in)
      transcript("-lmodule -e 'print(greeting)'", { stdout = "hello\n" }, run_in)
      transcript("-l nosuchmodule", { stdout = "", stderr = "^parlua: module 'nosuchmodule' not found", status = 1 })
    end)

    it("runs a script from standard input", function()
      local code = { stdin = "print('from stdin', ...)" }
      transcript("", { stdout = "from stdin\n" }, code)
      transcript("-", { stdout = "from stdin\n" }, code)
      transcript("- a b", { stdout = "from stdin\ta\tb\n" }, code)
    end)

    it("takes the word after -- for a script, even when it begins with a dash", function()
      script("-dash.lua", "print('dash', ...)")
      script("-", "print('a file called -')")
      transcript("-- -dash.lua x", { stdout = "dash\tx\n" }, run_in)
      transcript("-- -", { stdout = "a file called -\n" }, run_in)
    end)

    it("skips a first line with #!, and a byte order mark", function()
      script("hash.lua", "#!/usr/bin/env parlua\nprint(debug.getinfo(1, 'l').currentline)")
      transcript("hash.lua", { stdout = "2\n" }, run_in)
      script("bom.lua", "\239\187\191print('bom')")
      transcript("bom.lua", { stdout = "bom\n" }, run_in)
      script("both.lua", "\239\187\191#!/usr/bin/parlua\nprint('both')")
      transcript("both.lua", { stdout = "both\n" }, run_in)
    end)

    it("runs scripts with CRLF line ends, without a last line end, and empty ones", function()
      script("crlf.lua", "#!/usr/bin/parlua\r\nprint(\r\n1)\r\nprint(debug.getinfo(1, 'l').currentline)")
      transcript("crlf.lua", { stdout = "1\n4\n" }, run_in)
      script("empty.lua", "")
      transcript("empty.lua", { stdout = "" }, run_in)
    end)

    it("runs a script that starts with #! as a program of the system", function()
      local path = script("program", "#!" .. helper.parlua .. "\nprint('program', ...)")
      local result = helper.run("chmod +x " .. path .. " && " .. path .. " x")
      assert.equal("program\tx\n", result.stdout)
    end)

    it("runs precompiled bytecode, and makes it with -b", function()
      script("plain.lua", "print('compiled', ...)")
      transcript("-b plain.lua plain.raw", { stdout = "" }, run_in)
      transcript("plain.raw x", { stdout = "compiled\tx\n" }, run_in)
      transcript("-bl plain.lua", { pattern = "^%-%- BYTECODE" }, run_in)
    end)

    it("controls the compiler with -j and -O", function()
      transcript("-joff -e 'print((jit.status()))'", { stdout = "false\n" })
      transcript("-j off -j on -e 'print((jit.status()))'", { stdout = "true\n" })
      transcript("-O0 -e 'print(#{jit.status()})'", { pattern = "^%d+\n$" })
      transcript("-O3 -Ohotloop=10,-fuse -e ''", { stdout = "" })
      transcript("-jnosuch -e ''", { stderr = "^parlua: unknown luaJIT command or jit%.%* modules not installed\n$", status = 1 })
      transcript("-j4 -e ''", { stderr = "for 4 workers: %-n 4", status = 1 })
      transcript("-Onosuch -e ''", { stderr = "^parlua: .*nosuch", status = 1 })
    end)

    it("runs LUA_INIT first: code, or a file after @", function()
      script("init.lua", "x = 'from file'")
      transcript_with({ env = { LUA_INIT = "x = 'from code'" } }, "-e 'print(x)'", { stdout = "from code\n" })
      transcript_with({ env = { LUA_INIT = "@init.lua" } }, "-e 'print(x)'", { stdout = "from file\n" })
      transcript_with({ env = { LUA_INIT = "x =" } }, "-e 'print(x)'", { stderr = "^parlua: LUA_INIT:1: ", status = 1 })
    end)

    it("ignores LUA_INIT and LUA_PATH with -E", function()
      transcript_with({ env = { LUA_INIT = "x = 1", LUA_PATH = "/nosuch/?.lua" } },
        [[-E -e 'print(x, package.path:find("nosuch")) require "parlua.options"']], { stdout = "nil\tnil\n" })
      transcript_with({ env = { LUA_PATH = "/nosuch/?.lua" } },
        [[-e 'print(package.path)']], { stdout = "/nosuch/?.lua\n" })
    end)

    it("loads C modules made for Lua 5.1", function()
      transcript([[-e 'print(type(require("lfs").currentdir()))']], { stdout = "string\n" })
    end)

    it("prefers its own modules to files of the same name", function()
      helper.run("mkdir -p " .. directory .. "/parlua")
      script("parlua/options.lua", "error 'not this one'")
      transcript([[-e 'print(type(require("parlua.options").resolve))']], { stdout = "function\n" }, run_in)
      transcript([[-e 'print(pcall(require, "parlua.nosuch"))']],
        { pattern = "^false\tmodule 'parlua.nosuch' not found:\n\tno field package.preload%['parlua.nosuch'%]\n\tno file " }, run_in)
    end)

    it("has package.loaders and package.preload as luajit has them", function()
      script("package.lua", [[
        print(#package.loaders, package.loaders[1]("nosuch"))
        for name in pairs(package.preload) do assert(not name:find("parlua", 1, true), name) end
        package.preload.nosuch = function() return "preloaded" end
        print(require "nosuch")
      ]])
      local expected = "4\t\n\tno field package.preload['nosuch']\npreloaded\n"
      transcript("package.lua", { stdout = expected }, run_in)
      transcript("-E package.lua", { stdout = expected }, run_in)
    end)

    it("takes a module that returns its functions, `map` among them, for no job", function()
      script("module.lua", "local M = {} function M.map() end function M.reduce() end return M")
      transcript("module.lua", { stdout = "" }, run_in)
      transcript("-n 2 module.lua", { stderr = "there are no tasks: the job has no `arguments`", status = 2 }, run_in)
    end)

    it("refuses -o and --format where there is no job", function()
      script("plain.lua", "return 1")
      local error_text = "^parlua: the option %-%-output is about the results of a job, but 'plain.lua' is none: it returned no table"
      transcript("-o out.jsonl plain.lua", { stderr = error_text, status = 2 }, run_in)
      transcript("--format text -e ''", { stderr = "^parlua: the option %-%-format is about the results of a job script", status = 2 })
      transcript_with({ env = { PARLUA_FORMAT = "text" } }, "plain.lua", { stdout = "" })
    end)

    it("refuses a variable of the environment that is nearly an option", function()
      transcript_with({ env = { PARLUA_WORKER = "2" } }, "-e 'print(1)'",
        { stderr = "^parlua: unknown environment variable PARLUA_WORKER; did you mean PARLUA_WORKERS%?\n$", status = 2 })
    end)

    it("passes on what os.exit says", function()
      transcript("-e 'os.exit(7)'", { status = 7 })
      transcript("-e 'os.exit(0)'", { status = 0 })
      transcript("-e 'os.exit(false)'", { status = 1 })
      transcript("-e 'io.write(1) os.exit(3, true)'", { stdout = "1", status = 3 })
    end)

    it("closes the state at the end, so that finalizers run", function()
      transcript("-e 'x = newproxy(true) getmetatable(x).__gc = function() print(\"closed\") end'",
        { stdout = "closed\n" })
    end)

    it("works with many words", function()
      script("many.lua", "print(select('#', ...), (select(6999, ...)))")
      transcript("many.lua $(seq 7000)", { stdout = "7000\t6999\n" }, run_in)
      transcript("many.lua $(seq 20000)", { stderr = "too many arguments to the script", status = 1 }, run_in)
    end)

    it("runs busted", function()
      script("one_spec.lua",
        "it('is', function() assert.truthy(jit) end) it('is not', function() assert.falsy(jit) end)")
      local result = helper.run(("busted --lua=%s --output=plainTerminal one_spec.lua"):format(helper.quote(
        helper.parlua)), run_in)
      assert.truthy(result.stdout:find("1 success / 1 failure / 0 errors", 1, true), result.stdout .. result.stderr)
      assert.equal("", result.stderr)
      assert.not_equal(0, result.status)
    end)
  end)

  describe("on an error", function()
    it("of a program: prints the message and the traceback, exit status 1", function()
      script("fails.lua", "local function f() error('boo') end\nprint('before')\nf()")
      transcript("fails.lua", {
        stdout = "before\n", status = 1,
        stderr = "^parlua: fails.lua:1: boo\nstack traceback:\n"
          .. ".*fails.lua:1: in function 'f'\n\tfails.lua:3: in main chunk",
      }, run_in)
      transcript("-e 'error(\"boo\", 0)'", { stderr = "^parlua: boo\nstack traceback:", status = 1 })
    end)

    it("that parlua has raised: shows the script's frames, none of parlua's own", function()
      script("wrong.lua", "local parlua = require 'parlua'\nlocal function f() parlua.map(3) end\nf()")
      transcript("wrong.lua", { status = 1, stderr = "^parlua: the map function must be a function, got number\n"
        .. "stack traceback:\n\twrong.lua:2: in function 'f'\n\twrong.lua:3: in main chunk\n\t%[C%]: at 0x%x+\n$" }, run_in)
    end)

    it("that is no string: shows it readably", function()
      transcript("-e 'error(setmetatable({}, {__tostring = function() return \"my error\" end}))'",
        { stderr = "^parlua: my error\nstack traceback:", status = 1 })
      transcript("-e 'error{code = 5}'", { stderr = "^parlua: {code = 5}\n", status = 1 })
      transcript("-e 'error(print)'", { stderr = "^parlua: <function print>\n", status = 1 })
      transcript("-e 'error(setmetatable({}, {__tostring = function() error(1) end}))'",
        { stderr = "^parlua: <table whose __tostring failed: %(command line%):1: 1>\n", status = 1 })
      transcript("-e 'error(42)'", { stderr = "^parlua: %(command line%):1: 42\n", status = 1 })
    end)

    it("that is nil: says nothing, as every Lua interpreter", function()
      transcript("-e 'error()'", { stdout = "", status = 1 })
    end)

    it("of the stack: says so", function()
      transcript("-e 'local function f() return 1 + f() end f()'", { stderr = "^parlua: .*stack overflow", status = 1 })
    end)

    it("of syntax: names the line, exit status 1, as in luajit, and 2 with options of parlua's own", function()
      script("syntax.lua", "print('never')\nlocal x = = 1")
      transcript("syntax.lua", { stdout = "", stderr = "^parlua: syntax.lua:2: unexpected symbol near '='\n$",
        status = 1 }, run_in)
      transcript("-n 2 syntax.lua", { stdout = "", stderr = "^parlua: syntax.lua:2: ", status = 2 }, run_in)
      transcript("-e 'x ='", { stderr = "^parlua: %(command line%):1: ", status = 1 })
      transcript("", { stderr = "^parlua: stdin:1: ", status = 1 }, { stdin = "x =" })
    end)

    it("of a file that can't be read: names it and the reason, with the same statuses", function()
      transcript("nosuch.lua", { stderr = "^parlua: cannot open nosuch.lua: No such file or directory\n$", status = 1 },
        run_in)
      transcript("-n 2 .", { stderr = "^parlua: cannot read %.: Is a directory\n$", status = 2 }, run_in)
    end)

    it("of the disk that standard output goes to: says so, exit status 1", function()
      transcript("-e 'print(1)' >/dev/full",
        { stderr = "^parlua: cannot write standard output: No space left on device\n$", status = 1 })
      for _, words in ipairs { "-e 'for k = 1, 20000 do print(k) end'", "--help",
        "--engine process -e 'parlua.each(print, { 1, 2, 3 })'", "--engine threads -e 'parlua.each(print, { 1, 2, 3 })'" } do
        transcript(words .. " >/dev/full",
          { stderr = "^parlua: cannot write standard output: No space left on device\n$", status = 1 })
      end
    end)

    it("of a standard output that is closed: nothing else gets what is meant for it", function()
      local job = script("numbers.lua", "return { map = tonumber, arguments = { 1, 2, 3 } }")
      transcript("-e 'print(1)' >&-",
        { stderr = "^parlua: cannot write standard output: Bad file descriptor\n$", status = 1 })
      transcript("-n 2 " .. job .. " >&-",
        { stderr = "^parlua: cannot write the results to standard output: Bad file descriptor\n", status = 2 })
    end)
  end)

  describe("a signal", function()
    helper.for_each_engine(function(engine)
      for signal, status in pairs { INT = 130, TERM = 143 } do
        it("SIG" .. signal .. " during a run lets the script go on to its end, with exit status " .. status, function()
          local path = script("signal.lua", ([[
            local parlua, ffi = require "parlua", require "ffi"
            ffi.cdef "int getpid(void);"
            local pid = ffi.C.getpid()
            local _, _, summary = parlua.map(function(n)
              if n == 1 then io.popen("kill -%d " .. pid):close() end
              return n
            end, coroutine.wrap(function()
              local n = 0
              while true do n = n + 1 coroutine.yield(n) end
            end))
            print(summary.interrupted)
          ]]):format(status - 128))
          transcript("--engine " .. engine .. " -n 2 " .. path, { stdout = "SIG" .. signal .. "\n", status = status })
        end)
      end
    end)
  end)

  describe("options", function()
    it("--help prints a page with four examples", function()
      local first = helper.run_parlua("--help")
      assert.truthy(first.stdout:find("^usage: parlua %[options%] script.lua %[arguments%]"))
      assert.truthy(first.stdout:find("examples:%s+parlua [^\n]+\n%s+parlua [^\n]+\n%s+parlua [^\n]+\n%s+seq [^\n]+\n$"))
      assert.equal(0, first.status)
      assert.equal(first.stdout, helper.run_parlua("-h").stdout)
      assert.equal(first.stdout, helper.run_parlua("--help nosuch.lua").stdout)
    end)

    it("--version and -v name parlua, where that is known its commit, its LuaJIT and its engines", function()
      local version = "^parlua %d+%.%d+%.%d+[ %x()]* on LuaJIT [%w%.%-]+; engines: serial, async, threads, process, mpi\n"
      transcript("--version", { pattern = version .. "$" })
      transcript("-v", { pattern = version .. "$" })
      transcript("-v -e 'print(1)'", { pattern = version .. "1\n$" })
    end)

    it("come with a value in the next word, or after =, or for letters in the same word", function()
      local show = [[-e 'local o = require("parlua.options").resolve() print(o.workers, o.engine, o.timeout)']]
      transcript("-n 3 --engine serial --timeout 2 " .. show, { stdout = "3\tserial\t2\n" })
      transcript("-n3 --engine=serial --timeout=0.5 " .. show, { stdout = "3\tserial\t0.5\n" })
      transcript("--workers=3 --workers 4 -n=5 " .. show, { stdout = "5\tauto\tnil\n" })
    end)

    it("without a value set what they say", function()
      local show = [[-e 'local o = require("parlua.options").resolve({ journal = "j" })
        print(o.on_error, o.ordered, o.debug, o.resume)']]
      transcript(show, { stdout = "skip\ttrue\tnil\tnil\n" })
      transcript("--halt --unordered --debug --resume --journal=x " .. show, { stdout = "halt\tfalse\ttrue\ttrue\n" })
      transcript("--unordered --ordered " .. show, { stdout = "skip\ttrue\tnil\tnil\n" })
    end)

    it("come from the environment when the command line lacks them", function()
      local show = [[-e 'local o = require("parlua.options").resolve() print(o.workers, o.engine)']]
      transcript_with({ env = { PARLUA_WORKERS = "3", PARLUA_ENGINE = "threads" } }, "-n 4 " .. show,
        { stdout = "4\tthreads\n" })
    end)

    it("that are unknown stop the command, with the nearest name", function()
      transcript("--timout 3 -e 'print(1)'",
        { stdout = "", stderr = "^parlua: unknown option %-%-timout; did you mean %-%-timeout%?\n$", status = 2 })
      transcript("--max_failures=3 x.lua",
        { stderr = "^parlua: unknown option %-%-max_failures; did you mean %-%-max%-failures%?\n$", status = 2 })
      transcript("--frobnicate x.lua", { stderr = "^parlua: unknown option %-%-frobnicate; there are: ", status = 2 })
      transcript("-x", { stderr = "^parlua: unknown option %-x; parlua %-%-help lists the options\n$", status = 2 })
    end)

    it("with a wrong value stop the command before the script does anything", function()
      script("effect.lua", "print('effect')")
      transcript("--timeout never effect.lua",
        { stdout = "", stderr = "^parlua: wrong value for the option timeout, from %-%-timeout: \"never\"",
          status = 2 }, run_in)
      transcript("--engine thread effect.lua", { stdout = "", stderr = "did you mean threads%?", status = 2 }, run_in)
      transcript_with({ env = { PARLUA_WORKERS = "many" } }, "effect.lua",
        { stdout = "", stderr = "from the environment variable PARLUA_WORKERS: \"many\"", status = 2 })
    end)

    it("without the value that they need stop the command", function()
      for _, option in ipairs { "--timeout", "-n", "--output", "-o", "-e", "-l", "-j" } do
        local pattern = "^parlua: .*option " .. option:gsub("%-", "%%-") .. " needs a value: "
        transcript(option, { stderr = pattern, status = 2 })
      end
      transcript("--timeout --halt x.lua", { stderr = "^parlua: the option %-%-timeout needs a value", status = 2 })
      transcript("--halt=yes x.lua", { stderr = "^parlua: the option %-%-halt takes no value", status = 2 })
    end)
  end)

  describe("at the prompt (-i)", function()
    local function session(lines, expected)
      transcript("-i", { pattern = expected.stdout, stderr = expected.stderr }, { stdin = lines })
    end

    it("prints the values of expressions, and runs statements", function()
      session("1 + 1, 'x', nil\n= 'y'\nz = 5\nz\n\n", { stdout = '\n> 2\n"x"\nnil\n> "y"\n> > 5\n> > \n$' })
    end)

    it("reads on while a chunk is incomplete", function()
      session("for i = 1, 2 do\nprint(i)\nend\n", { stdout = "\n> >> >> 1\n2\n> \n$" })
    end)

    it("goes on after errors, which it shows with their traceback", function()
      session("error('boo')\nx x\nerror()\nerror({})\n'alive'\n", {
        stdout = '> "alive"\n',
        stderr = "^stdin:1: boo\n  stdin:1:  error%('boo'%)\n"
          .. "syntax error: '=' expected near 'x'\n  x x\n    %^\nnil\n  stdin:1:[^\n]*\n{}\n  stdin:1:",
      })
    end)

    it("starts after the script, whose globals it sees", function()
      script("before.lua", "seen = 'by the prompt'")
      transcript_with({ stdin = "seen\n" }, "-i before.lua", { pattern = '> "by the prompt"\n' })
    end)

    it("shows the prompts that _PROMPT and _PROMPT2 hold", function()
      session("_PROMPT = 'ask: '\n_PROMPT2 = 'more: '\ndo\nend\n", { stdout = "ask: ask: more: ask: \n$" })
    end)
  end)

  describe("given a job script", function()
    it("tells a job without a function `map` from a program, exit status 2", function()
      script("no_map.lua", "return { arguments = { 1, 2 } }")
      transcript("no_map.lua", { stdout = "", stderr = "^parlua: [^\n]*map", status = 2 }, run_in)
      script("bad_map.lua", "return { arguments = { 1, 2 }, map = 5 }")
      transcript("bad_map.lua", { stdout = "", stderr = "^parlua: [^\n]*map", status = 2 }, run_in)
    end)

    it("ignores any other value that a script returns", function()
      for i, value in ipairs { "5", "'x'", "nil", "{}", "{ 1, 2 }", "{ x = 1 }", "print",
        "setmetatable({}, { __index = function(_, key) error('strict: ' .. key) end })" } do
        script("returns.lua", "print(" .. i .. ") return " .. value)
        transcript("returns.lua", { stdout = i .. "\n" }, run_in)
      end
      transcript("-e 'return { map = 5 }'", { stdout = "" })
    end)

    it("runs it over its arguments and prints a line for each task", function()
      script("job.lua", "return { map = function(x) return x * x end, arguments = function(n) "
        .. "local list = {} for i = 1, tonumber(n) do list[i] = i end return list end }")
      local result = helper.run_parlua("--engine serial job.lua 3", run_in)
      assert.equal('{"index":1,"args":[1],"result":1}\n{"index":2,"args":[2],"result":4}\n'
        .. '{"index":3,"args":[3],"result":9}\n', result.stdout)
      assert.equal(0, result.status)
    end)
  end)
end)
