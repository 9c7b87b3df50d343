--- How the prompt shows values and errors, and its commands, on a real terminal.
local helper = require "spec.helper"
local terminal = require "spec.terminal"
local width = require "parlua.prompt.width"

local function with_prompt(f, options) terminal.with_prompt(options or {}, f) end

--- What a statement shows, without the statement itself.
local function shown(t, text)
  local lines = t:run(text)
  local count = select(2, text:gsub("\n", "\n")) + 1
  for _ = 1, count do lines = lines:gsub("^[^\n]*\n", "") end
  return lines
end

describe("the prompt shows", function()
  it("tables readably: keys in order, strings in quotes, cycles and shared parts named, bounded", function()
    with_prompt(function(t)
      assert.equal('{1, "a", [10] = true, b = {}, c = {1, 2}}\n', shown(t, "{ 1, 'a', c = { 1, 2 }, b = {}, [10] = true }"))
      t:run("t = { name = 't' } t.me = t t.list = { 1 } t.same = t.list")
      assert.equal('{list = {1}, me = <cycle to the whole>, name = "t", same = <the same as .list>}\n', shown(t, "t"))
      assert.equal('"line\\nend \\"quoted\\" größe"\n', shown(t, "'line\\nend \"quoted\" größe'"))
      t:run("deep = {} do local d = deep for i = 1, 10 do d.d = {} d = d.d end end")
      assert.equal("{d = {d = {d = {d = {d = {...}}}}}}\n", shown(t, "deep"))
      t:run("long = {} for i = 1, 1000 do long[i] = i end")
      local text = shown(t, "long")
      assert.matches("^{\n  1, 2, 3,", text)
      assert.matches("... 900 more\n}\n$", text)
      for line in text:gmatch("[^\n]+") do assert.is_true(#line <= 80) end
      t:run("local text = ('x'):rep(5000)")
      assert.is_true(#shown(t, "text") < 1200)
    end)
  end)

  it("at most a screenful of a value's lines, and all with %all", function()
    with_prompt(function(t)
      t:run("list = {} for i = 1, 60 do list[i] = ('x'):rep(50) .. i end")
      local text = shown(t, "list")
      assert.matches("x9\",\n… 52 more lines; %%all shows all that there is\n$", text)
      t:run("rows = {} for i = 1, 30 do rows[i] = { i = i } end")
      t:run("rows[30].word = ('y'):rep(3)")
      assert.matches("\n29  29\n30  30  yyy\n", t:run("%all rows"))
      t:run("numbers = {} for i = 1, 120 do numbers[i] = i end")
      t:run("numbers")
      assert.matches("119, 120\n}\n", t:run("%all"))
    end, { rows = 12 })
  end)

  it("within the width of a narrow terminal", function()
    with_prompt(function(t)
      local text = shown(t, "{alpha='some words',beta='more of them'}")
      assert.equal('{\n  alpha = "some words",\n  beta = "more of them"\n}\n', (text:gsub("^[^{]*", "")))
      t:run("t = {}")
      t:run("deep, wide, many = t, {}, {}")
      t:run("for i = 1, 9 do t.a = { b = ('x'):rep(i), 'ü' } t = t.a wide[('k'):rep(i)] = { ('日'):rep(i), { i } } many[i] = { i * i } end")
      for _, name in ipairs { "deep", "wide", "many" } do
        for line in shown(t, name):gmatch("[^\n]+") do
          assert.is_true(width.of(line) <= 30, line)
        end
      end
    end, { columns = 30 })
  end)

  it("lists of records as an aligned table", function()
    with_prompt(function(t)
      t:run("rows = { { city = 'Bern', t = 9.5 }, { city = 'Lima', t = 20 }, { city = 'Ürümqi' } }")
      assert.equal("   city      t\n1  Bern    9.5\n2  Lima     20\n3  Ürümqi\n", shown(t, "rows"))
      t:run("many = {} for i = 1, 50 do many[i] = { i = i, square = i * i } end")
      local text = shown(t, "many")
      assert.matches("\n20  20     400\n… 30 more\n$", text)
      t:run("many[40].cube, many[50].root = 64000, 7.07")
      assert.matches("\n20  20     400\n… 30 more, some with cube, root\n$", shown(t, "many"))
    end)
  end)

  it("a recursion without end in few lines, each with its place", function()
    with_prompt(function(t)
      t:run("local function deep(x) return 1 + deep(x) end")
      local text = shown(t, "deep(1)")
      if text:find "too full" then -- newer LuaJITs leave a handler less of the stack
        assert.equal("stack overflow\n  [2]:1:  deep(1)\nThe stack was too full to say where.\n", text)
      else
        assert.matches("^%[1%]:1: stack overflow\n  %[1%]:1: in deep  local function deep%(x%) return 1 %+ deep%(x%) end\n"
          .. "  … at least 19%d times\n$", text)
      end
      t:run("function deeper() deeper() deeper() end")
      text = shown(t, "deeper()")
      if text:find("Compiled code") then -- it has found the stack full: then the calls are gone
        assert.equal("stack overflow\n  [4]:1:  deeper()\nCompiled code could not say where: %jit off, and the same again, tells.\n", text)
      else
        assert.matches("stack overflow\n  %[3%]:1: in deeper  function deeper%(%) deeper%(%) deeper%(%) end\n  … at least 19%d times\n$", text)
      end
      t:run("t = setmetatable({}, { __index = function(t, k) return t[k] end })") -- as many lines as it has to have
      assert.matches("stack overflow\n  %[5%]:1: in __index  t = setmetatable%({}, { __index = function%(t, [^\n]*…\n  … at least 19%d times\n$",
        shown(t, "t.x"))
    end)
  end)

  it("a value on a line of its own, behind text without a line end", function()
    with_prompt(function(t)
      assert.equal("half\ntrue\n", shown(t, "io.write 'half'"))
      assert.equal("half\nmine\n  [3]:1:  io.write 'half' error('mine', 0)\n", shown(t, "io.write 'half' error('mine', 0)"):gsub("%[2%]", "[3]"))
    end)
  end)

  it("functions of the libraries by their own names, whatever else they are called", function()
    with_prompt(function(t)
      assert.equal("<function print>\n", shown(t, "print"))
      t:run("mine, _9 = print, print")
      assert.equal("<function print>\n", shown(t, "mine"))
      assert.equal("<function string.rep>\n", shown(t, "string.rep"))
    end)
  end)

  it("records by keys, as parlua.group gives them, as a table too", function()
    with_prompt(function(t)
      t:run("rows = { { city = 'Lima', t = 20 }, { city = 'Bern', t = 9 }, { city = 'Bern', t = 11.5 } }")
      assert.matches("\n       mean  n\nBern  10%.25  2\nLima     20  1\n$", t:run("(parlua.reduce(function(r) return r end, rows, "
        .. "parlua.group('city', { n = parlua.count, mean = parlua.mean 't' })))"))
      assert.equal("    x\n2   1\n10  5\nb   3\n", shown(t, "{ [10] = { x = 5 }, [2] = { x = 1 }, b = { x = 3 } }"))
      assert.equal("{a = {x = 1}, b = {y = 2}}\n", shown(t, "{ a = { x = 1 }, b = { y = 2 } }")) -- of two shapes
      assert.equal("{a = {x = 1}}\n", shown(t, "{ a = { x = 1 } }"))
      assert.matches("\n… 10 more\n$", shown(t, "(function() local s = {} for i = 2, 31 do s[i * 2] = { x = i } end return s end)()"))
    end)
  end)

  it("numbers with as many digits as tell them apart", function()
    with_prompt(function(t)
      assert.equal("{848.1000000000001, 0.1, 0.30000000000000004, 12.182433}\n",
        shown(t, "{ 848.1000000000001, 0.1, 0.1 + 0.2, 12.182433 }"))
    end)
  end)

  it("rows of a file of comma-separated values with its columns in order", function()
    with_prompt(function(t)
      helper.write(t.directory .. "/x.csv", "town,date,air\nBern,3,9.5\nLima,4,20\n")
      for _, engine in ipairs { "serial", "process", "threads" } do
        local text = shown(t, ("(parlua.map(function(row) return row end, parlua.csv 'x.csv', { engine = '%s' }))"):format(engine))
        assert.matches("   town  date  air\n1  Bern     3  9.5\n2  Lima     4   20\n", text)
      end
    end, { columns = 120 })
  end)

  it("records with more columns than fit, and says which are left out", function()
    with_prompt(function(t)
      local text = shown(t, "{ { aaaaaaaa = 1, bbbbbbbb = 2, cccccccc = 3 }, { aaaaaaaa = 1, bbbbbbbb = 2, cccccccc = 3 } }")
      assert.matches("1         1         2\n", text)
      assert.matches("also: cccccccc\n$", text)
    end, { columns = 30 })
  end)

  it("functions, FFI arrays, sources, pools, futures, modules in a line each", function()
    with_prompt(function(t)
      assert.equal("<function(a, b, ...) at [1]:1>\n", shown(t, "function(a, b, ...) end"))
      assert.equal("<function math.sin>\n", shown(t, "math.sin"))
      assert.equal("<double [20]: 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, …>\n", shown(t, "ffi.new('double[20]', 0.5)"))
      assert.equal("<source range: 1000 tasks>\n", shown(t, "parlua.range(1000)"))
      assert.equal("<pool: workers = 2>\n", shown(t, "parlua.pool { workers = 2 }"))
      assert.equal("<module string>\n", shown(t, "string"))
      assert.equal("42ULL\n", shown(t, "42ULL"))
      t:run("f = parlua.submit(function() return 1, 'two' end) f:wait()")
      assert.equal('<future 1: returned 1, "two">\n', shown(t, "f"):gsub("^%[.-\n", ""))
      t:run("Point = setmetatable({}, { __tostring = function() return 'a point' end })")
      assert.equal("a point\n", shown(t, "Point"))
    end)
  end)

  it("structs, texts and pointers of the FFI, in failures and for the names of former results too", function()
    with_prompt(function(t)
      t:run("ffi.cdef 'typedef struct { char name[8]; double t; } town_t;' bern = ffi.new('town_t', 'Bern', 9.5)")
      assert.equal('<town_t: name = "Bern", t = 9.5>\n', shown(t, "bern"))
      assert.matches('3  error  no       <town_t: name = "Bern", t = 9.5>\n',
        t:run("select(2, parlua.map(function(x) if x ~= 1 and x ~= 2 then error('no', 0) end end, { 1, 2, bern }))"))
      assert.equal("<int *: NULL>\n", shown(t, 'ffi.cast("int*", 0)'))
      assert.equal("<int *: NULL>\n", shown(t, "_4"))
      assert.matches("_4 = <int %*: NULL>\n", shown(t, "%results"))
    end, { columns = 160 })
  end)

  it("values also after the names and fields of libraries have been given other values", function()
    with_prompt(function(t)
      t:type("for name in pairs(_G) do if name ~= '_G' and name ~= 'pairs' then _G[name] = 5 end end\n")
      t:wait_for_prompt()
      assert.equal("3\n", shown(t, "1 + 2"))
      t:run("string = nil")
      assert.equal("5\n", shown(t, "table"))
      assert.matches("unexpected symbol near '='", shown(t, "x = = 2"))
      assert.equal('{a = 1}\n', shown(t, "{ a = 1 }"))
      t:run("_G = nil")
      assert.matches("attempt to call global 'error'", shown(t, "error()"))
    end)
    with_prompt(function(t)
      t:run("string.find, string.format, string.sub, string.rep, table.concat, io.stdout = nil")
      assert.equal("3\n", shown(t, "1 + 2"))
      assert.matches("'y' %(a nil value%)", shown(t, "x.y.z"):gsub("global 'x'", "'y'"))
      t:run("_PROMPT = setmetatable({}, { __tostring = function() error('p') end })")
      assert.equal("4\n", shown(t, "2 + 2"))
    end)
  end)

  it("values whose metatables raise", function()
    with_prompt(function(t)
      assert.matches("__tostring failed", shown(t, "setmetatable({}, { __tostring = function() error('no') end })"))
      assert.equal("{a = 1}\n", shown(t, "setmetatable({ a = 1 }, { __index = function() error('strict') end })"))
    end)
  end)

  it("errors with the lines of source that led to them, and no line of parlua's own", function()
    with_prompt(function(t)
      t:run("local function inner(x) return x.field.other end")
      t:run("local function outer(x)\nlocal y = inner(x)\nreturn y\nend")
      local text = shown(t, "outer({})")
      assert.equal("[1]:1: attempt to index field 'field' (a nil value)\n"
        .. "  [1]:1: in inner  local function inner(x) return x.field.other end\n"
        .. "  [2]:2: in outer  local y = inner(x)\n  [3]:1:  outer({})\n", text)
      helper.write(t.directory .. "/lib.lua", "local M = {}\nfunction M.fail() error('in the file') end\nreturn M\n")
      text = shown(t, "require('lib').fail()")
      assert.truthy(text:find("lib.lua:2: in fail  function M.fail() error('in the file') end", 1, true), text)
      assert.matches("{code = 5}\n", shown(t, "error({ code = 5 })"))
      assert.matches("declaration specifier expected near 'doubl'\n  doubl y;\n  %^\n  %[6%]:1:  ffi.cdef %[%[\n$", -- not its last line
        shown(t, "ffi.cdef [[\nint x;\ndoubl y;\nint z;\n]]"))
      t:run("text = 'int x;\\ndoubl y;'")
      assert.matches("^line 2 of the declarations: ", shown(t, "ffi.cdef(text)"))
      assert.matches("stack overflow", shown(t, "(function() local function f() return 1 + f() end f() end)()"))
      assert.matches("the map function must be a function", shown(t, "parlua.map(nil, {})"))
    end, { columns = 120 })
  end)

  it("colours, unless NO_COLOR is set", function()
    with_prompt(function(t)
      t:run("'text'")
      local colours = t:tmux("capture-pane -p -e -t main")
      assert.matches("\27%[32m", colours)
      t:type("local x")
      t:wait("local x")
      assert.matches("\27%[35m", t:tmux("capture-pane -p -e -t main"))
    end, { env = { NO_COLOR = "" } })
    with_prompt(function(t)
      t:run("'text'")
      assert.is_nil(t:tmux("capture-pane -p -e -t main"):find("\27%[3%d"))
    end)
  end)

  it("help from documentation comments: parlua's, the libraries', the user's own", function()
    with_prompt(function(t)
      local text = shown(t, "?parlua.reduce")
      assert.matches("^parlua.reduce%(f, arguments, reduction, options%)\nFolds f's results", text)
      assert.matches("gives any value", text)
      assert.equal(text, shown(t, "help(parlua.reduce)"))
      assert.matches("Numbers from first to last", shown(t, "?parlua.range"))
      assert.matches("\n  options %({header: boolean|string%[%], [^}]-separator: string[^}]*}%) header: true", shown(t, "?parlua.csv"))
      assert.matches("time limit of a task", shown(t, "?timeout"))
      assert.matches("string.gsub%(s, pattern, replacement, most%)\nreplaces", shown(t, "?string.gsub"))
      t:run("future = parlua.submit(math.sqrt, 4) future:get()")
      assert.matches("Waits for the call and returns", shown(t, "?future.get"))
      t:run("-- doubles a number\nfunction double(x) return 2 * x end")
      helper.write(t.directory .. "/lib.lua", "local M = {}\n\n--- Says hello.\n---@param name string whom\nfunction M.hello(name) end\n\nreturn M\n")
      t:run("local lib = require 'lib'")
      text = shown(t, "?lib.hello")
      assert.matches("^lib.hello%(name%)\nSays hello.\n  name %(string%) whom\ndefined at ./lib.lua:5\n$", text)
      assert.matches("nothing is known of nonsense", shown(t, "?nonsense"))
      assert.equal("%time statement\nruns it, and tells how long it took\n", shown(t, "?%time"))
      assert.matches("nothing is known of %%tim\n", shown(t, "?%tim"))
      t:run("a = parlua.array('double', 3)")
      assert.matches("^a:sum%(axis%)\nThe sum of all elements", shown(t, "?a.sum"))
      assert.matches("^a:sum%(axis%)\nThe sum of all elements", shown(t, "?a:sum"))
      for statement, name in pairs { ["?parlua.array"] = "parlua.array(name, ...)", ["?iterate"] = "parlua.iterate(step, state, control)",
        ["help(parlua.filter)"] = "parlua.filter(arguments, f)", ["?parlua.json.encode"] = "parlua.json.encode(value)",
        ["?math.random"] = "math.random(m, n)", ["?future:get"] = "future:get(seconds)" } do
        assert.equal(name, shown(t, statement):match "^[^\n]*")
      end
      for line in shown(t, "help()"):gmatch "[^\n]+" do assert.is_true(#line < 80, line) end
      assert.matches("number\n3\n$", shown(t, "?1 + 2"))
    end)
  end)
end)

describe("help at the prompt", function()
  local parlua = require "parlua"
  for _, columns in ipairs { 80, 30 } do
    it(("on parlua, modules and objects lists what they have, at %d columns"):format(columns), function()
      with_prompt(function(t)
        for _, statement in ipairs { "help(parlua)", "?parlua" } do
          local text = shown(t, statement)
          for _, heading in ipairs { "Calls", "In the background", "Sources of tasks", "Reductions", "In a task" } do
            assert.truthy(text:find("\n" .. heading .. "\n", 1, true), text)
          end
          for _, fields in ipairs { parlua, getmetatable(parlua).on_demand } do
            for name in pairs(fields) do
              if name ~= "_VERSION" then assert.truthy(text:find("%f[%w_]" .. name .. "%f[^%w_]"), name) end
            end
          end
          assert.falsy(text:find("function", 1, true) and text:find("0x", 1, true), text)
        end
        assert.matches("\n  rep%(s, n, separator%) +the", shown(t, "help(string)"))
        assert.matches("\n  encode%(value%)", shown(t, "?parlua.json"))
        assert.matches("\n  done%(%) +Has the call ended", (shown(t, "future = parlua.submit(math.sqrt, 4) future:get() help(future)")))
        local source = shown(t, "?parlua.range(3)")
        assert.matches("<source range: 3 tasks>\n", source)
        assert.matches("\n  take%(arguments, n%)", source)
        assert.falsy(source:find("is_indexed", 1, true), source)
      end, { columns = columns, rows = 80 })
    end)
  end
end)

describe("the prompt's command", function()
  it("%time tells how long a statement took", function()
    with_prompt(function(t) assert.matches("^3\ntook [%d.]+ %S+; [%d.]+ %S+ of this process's processor time\n$", shown(t, "%time 1 + 2")) end)
  end)

  it("%bench measures a function or an expression", function()
    with_prompt(function(t)
      t:run("local n = 100")
      t:run("local function sum() local s = 0 for i = 1, n do s = s + i end return s end")
      for _, what in ipairs { "sum", "sum()", "local x = sum() + 1" } do
        assert.matches("^median [%d.]+ [^\n]*compiled%)\n", shown(t, "%bench " .. what))
      end
      assert.matches("needs a function", shown(t, "%bench"))
      assert.matches("attempt to", shown(t, "%bench nothing()"))
    end, { columns = 120 })
  end)

  it("%bench can be interrupted", function()
    with_prompt(function(t)
      t:type("%bench (function() io.open('begun', 'w'):close() while true do end end)()")
      t:press("Enter")
      t:wait_for_file("begun")
      t:press("C-c")
      t:wait("interrupted")
      assert.equal("2\n", shown(t, "1 + 1"))
    end)
  end)

  it("%save writes what ran, %load runs it, %edit changes it", function()
    with_prompt(function(t)
      assert.matches("\nIt takes .*\ndefault: 0\non the command line: %-%-retries", shown(t, "?retries"))
      t:run("local a = 20")
      t:run("b = a + 1")
      t:run("error('not this')")
      t:run("a + b")
      assert.matches("3 statements written to session.lua", shown(t, "%save session.lua"))
      assert.equal("41\n", helper.run(helper.quote(helper.parlua) .. " " .. t.directory .. "/session.lua").stdout)
      for _, odd in ipairs { "t = { 1, 2 }", "#t", "= t[2]", "3, 4", "type(function() end)", "f = print",
        "('x'):rep(3)", "5 -- five", "return 6", "_2 + 1" } do
        t:run(odd)
      end
      assert.matches("13 statements", shown(t, "%save odd.lua"))
      assert.equal("41\n2\n2\n3\t4\nfunction\nxxx\n5\n6\n3\n",
        helper.run(helper.quote(helper.parlua) .. " " .. t.directory .. "/odd.lua").stdout)
      t:run("a, b = nil")
      t:paste("local d, e\nlocal function f() return d end\nd = 7\nif f() == 7 then return d, 8 end")
      t:press("Enter")
      t:wait("7\n8\n")
      t:run("d + 1")
      t:run("%save odd.lua")
      assert.matches("\n7\t8\n8\n$",
        helper.run(helper.quote(helper.parlua) .. " " .. t.directory .. "/odd.lua").stdout)
      assert.equal("41\n", shown(t, "%load session.lua"))
      assert.equal("21\n", shown(t, "b"))
      helper.write(t.directory .. "/precious.lua", "return 1\n")
      assert.matches("is left as it is", shown(t, "%save precious.lua"))
      helper.write(t.directory .. "/ed", "#!/bin/sh\nsed -i s/21/55/ \"$1\"\n")
      os.execute("chmod +x " .. t.directory .. "/ed")
      t:run("c = 21")
      assert.matches("c = 55\n", shown(t, "%edit"))
      for path, why in pairs { ["none/x.lua"] = "there is no directory none", ["~/none/x.lua"] = "there is no directory none",
        ["/tmp"] = "/tmp is a directory" } do
        assert.matches("^%%edit: .*" .. why .. "\n$", (shown(t, "%edit " .. path):gsub("directory /.*/none\n", "directory none\n")))
      end
      assert.equal("55\n", shown(t, "c"))
      assert.matches("cannot open", shown(t, "%load nothing.lua"))
      helper.write(t.directory .. "/wrong file.lua", "local x = 1\nif größe then y z end\n")
      for _, quote in ipairs { "", "'", '"' } do
        assert.equal("syntax error: wrong file.lua:2: '=' expected near 'z'\n  if größe then y z end\n                  ^\n",
          shown(t, "%load " .. quote .. "wrong file.lua" .. quote))
      end
      assert.matches("wrong file.lua:2: '=' expected near 'z'\n  if größe then y z end\n                  %^\n  %[%d+%]:1:  dofile",
        shown(t, "dofile 'wrong file.lua'"))
      helper.write(t.directory .. "/short.lua", "for i = 1, 2 do\n  print(i)\n")
      assert.matches("short.lua:2: 'end' expected .-\n    print%(i%)\n            %^\n", shown(t, "%load short.lua"))
    end, { env = { EDITOR = "./ed" } })
  end)

  it("%options sets the options of all calls, and refuses wrong ones", function()
    with_prompt(function(t)
      assert.matches('engine = "threads"\n', shown(t, "%options engine=threads workers=3"))
      assert.matches("on 3 workers %(threads%)\n$", shown(t, "select(3, parlua.map(math.sqrt, { 1, 4 }))"))
      assert.matches("wrong value for the option engine", shown(t, "%options engine=thread"))
      assert.equal("workers = 3\n", shown(t, "%options workers"):match("workers[^\n]*\n"))
      assert.matches("seed = 5\n", shown(t, "%options seed = 5"))
      assert.matches("^[^\n]*\n[^\n]*\ntimeout is not set\n", (shown(t, "%options timeout"):gsub("seed[^\n]*\n", "")))
      shown(t, "%options seed=")
      assert.matches("there is no option worker; did you mean workers%?", shown(t, "%options worker=3"))
      assert.matches("on 3 workers %(threads%)\n$", shown(t, "select(3, parlua.map(math.sqrt, { 1, 4 }))"))
      shown(t, "%options workers= engine=")
      assert.matches("%(process%)\n$", shown(t, "select(3, parlua.map(math.sqrt, { 1, 4 }))"))
    end, { columns = 120 })
  end)

  it("!command runs a command of the shell, and tells how it ended", function()
    with_prompt(function(t)
      assert.equal("größe\n", shown(t, "!echo größe"))
      assert.equal("status 3\n", shown(t, "!exit 3"))
      t:type("!touch begun; exec sleep 1000") -- a shell that is about to start a program would keep the signal to itself
      t:press("Enter")
      t:wait_for_file("begun")
      t:press("C-c")
      t:wait_for_prompt()
      assert.equal("2\n", shown(t, "1 + 1"))
    end)
  end)

  it("results that are records are a table, with what failed or is nil in its place", function()
    with_prompt(function(t)
      t:run("function f(n) if n == 2 then error('no', 0) end if n ~= 3 then return { n = n, half = n / 2 } end end")
      assert.equal("       half  n\n1       0.5  1\n2  <failed>\n3       nil\n4         2  4\n… 1 of 4 failed\n",
        shown(t, "(parlua.map(f, parlua.range(4)))"):gsub("see failures[^\n]*\n", ""):gsub("parlua: map [^\n]*\n", ""), nil)
    end)
  end)

  it("sources with a file name it; reducers are a word; types of tables stay whole in help", function()
    with_prompt(function(t)
      helper.write(t.directory .. "/x.csv", "a,b\n1,2\n")
      assert.equal('<source csv of "x.csv": as many tasks as it gives>\n', shown(t, "parlua.csv 'x.csv'"))
      assert.equal("{sum = <reducer>}\n", shown(t, "{ sum = parlua.sum }"))
      assert.matches("reducer %(parlua.Reducer|table<string, parlua.Reducer>%)", shown(t, "?parlua.group"))
    end)
  end)

  it("%who, %history, %results, %jit, %help; an unknown one is told", function()
    with_prompt(function(t)
      t:run("for i = 1, 1000 do _G['v' .. i] = i end")
      assert.matches("v1 = 1\n.*\n… 96%d more in the globals\n$", shown(t, "%who"))
      t:run("for i = 1, 1000 do _G['v' .. i] = nil end")
      t:run("local one = 1")
      t:run("two = { 2 }")
      assert.equal("local one = 1\ntwo = {2}\n", shown(t, "%who"))
      assert.matches("local one = 1\ntwo = { 2 }\n%%who\n", shown(t, "%history"))
      assert.matches("compiled", shown(t, "%jit on"))
      assert.equal("true\n", shown(t, "(jit.status())"))
      assert.matches("interpreted", shown(t, "%jit off"))
      assert.equal("false\n", shown(t, "(jit.status())"))
      assert.matches("%%retry", shown(t, "%help"))
      for wrong, near in pairs { retri = "retry", hlep = "help", jti = "jit", al = "all" } do
        assert.equal(("there is no command %%%s; did you mean %%%s?\n"):format(wrong, near), shown(t, "%" .. wrong))
      end
      for _, wrong in ipairs { "foo", "x", "", "xyzzy" } do
        assert.equal(("there is no command %%%s; %%help lists the commands\n"):format(wrong), shown(t, "%" .. wrong))
      end
      assert.equal("%history takes how many statements are to be shown, got x\n", shown(t, "%history x"))
      t:type("%quit")
      t:press("Enter")
      t:wait("[status 0]")
    end)
  end)
end)
