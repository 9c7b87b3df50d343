--- A session of all that the prompt has, on wide and narrow terminals, in a locale with UTF-8 and without, on each
--- engine and under mpirun. The other files of the prompt's specs look closer at each part.
local helper = require "spec.helper"
local terminal = require "spec.terminal"

local engines = { unpack(helper.engines) }
if not os.getenv("SPEC_ENGINES") then engines[#engines + 1] = "mpi" end

local script = [[
local parlua = require "parlua"
local word = ...
local function twice(x) return 2 * x end
local doubled = parlua.map(twice, { 1, 2, 3 })
return { arguments = { 5 }, map = function(x) return { word = word, x = x } end }
]]

--- A text without spaces and line ends: the terminal breaks what is longer than it is wide.
local function squeezed(text) return (text:gsub("%s+", "")) end

local session = {}

--- What a statement shows, without the statement.
local function shown(t, statement)
  local text = squeezed(t:run(statement))
  local typed = ">" .. squeezed((statement:gsub("\n", ">>")))
  assert.equal(typed, text:sub(1, #typed))
  return text:sub(#typed + 1)
end

--- The debugger's prompt, or a line that was typed, is left.
local function leave(t, key)
  t:press(key)
  t:wait_for_prompt()
end

function session.input(t)
  assert.equal("5", shown(t, "#'größe' - 2"))
  assert.equal("> for i = 1, 2 do\n>>   if i > 1 then\n>>     print(i, 'ü')\n>>   end\n>> end\n2       ü\n",
    t:run("for i = 1, 2 do\nif i > 1 then\nprint(i, 'ü')\nend\nend"))
  t:press("Up")
  t:wait("\n> for i = 1, 2 do\n>>   if i > 1 then\n>>     print(i, 'ü')\n>>   end\n>> end\n")
  leave(t, "C-c")
  t:paste("> local b = 3\n> for i = 1, 2 do\n>>   b = b * 10\n>> end\n> b\n300\n")
  t:wait("\n>> b\n")
  t:press("Enter")
  t:wait(">> b\n300\n>")
  t:type("loc") -- the suggestion goes on behind the cursor
  t:wait_for(function(text) return text:find("\n> local b = 3 …\n$") and t:cursor() == 5 end)
  leave(t, "C-c")
  t:press("C-r")
  t:type("#'gr")
  t:wait("> #'größe' - 2\nsearch: #'gr\n")
  leave(t, "C-c")
  leave(t, "C-c")
  t:run("local person = { nickname = 'x', greet = function() end }")
  for typed, whole in pairs {
    ["pers"] = "person", ["person.ni"] = "person.nickname", ["person:gr"] = "person:greet", ["retu"] = "return",
    ["parlua.prod"] = "parlua.product", ["require 'jit.u"] = "require 'jit.util'", ["io.open 'scr"] = "io.open 'script.lua'",
    ["parlua.map(f,x,{ timeo"] = "parlua.map(f,x,{ timeout =", ["%hel"] = "%help",
  } do
    t:type(typed)
    t:press("Tab")
    t:wait("\n> " .. whole .. "\n")
    leave(t, "C-c")
  end
  t:type("string.rep(")
  t:wait("\n> string.rep(\nstring.rep(s, n, separator)")
  leave(t, "C-c")
end

function session.reading(t)
  assert.equal("3", shown(t, "1 +\n2"))
  assert.matches("> größe = = 2\n[^^]*\n  größe = = 2\n          %^\n", t:run("größe = = 2"))
  t:run("local k = 6")
  assert.equal("48", shown(t, "k * ffi.sizeof 'double'"))
  assert.equal("54", shown(t, "_ + k"))
  local number = t:run("%results"):match("_(%d+) = 54\n$")
  assert.equal("54", shown(t, "_" .. number))
  assert.equal("", shown(t, "k;"))
  assert.matches("^parlua.cores%(%)Processorsthatthisprocessmayuse", shown(t, "?parlua.cores"))
  assert.matches("^parlua.map%(f,arguments,options%)", shown(t, "help(parlua.map)"))
  assert.equal("größe", shown(t, "!echo größe"))
  assert.matches("^6took[%d.]+%S+;", shown(t, "%time k"))
  assert.matches("^median[%d.]+%S+,halfoftherunsfrom", shown(t, "%bench k + 1"))
  assert.matches("k=k%+1$", shown(t, "%edit"))
  assert.equal("7", shown(t, "k"))
  assert.matches("statementswrittentosaved.lua$", shown(t, "%save saved.lua"))
  helper.write(t.directory .. "/loaded.lua", "local from_file = 'ü'\n")
  assert.equal("", shown(t, "%load loaded.lua"))
  assert.equal('"ü"', shown(t, "from_file"))
  assert.matches("retries=1$", shown(t, "%options retries=1"))
  assert.is_nil(shown(t, "%options retries="):find("retries"))
  assert.matches("%%quit", shown(t, "%help"))
end

function session.printing(t)
  assert.equal('{1, {"ü"}, b = true}\n{}\n', t:run("{1, {'ü'}, b = true}, {}"):gsub("^[^\n]+\n", ""), nil)
  t:run("local tree = { name = 'tree' }")
  t:run("tree.me = tree")
  assert.equal('{me=<cycletothewhole>,name="tree"}', shown(t, "tree"))
  t:run("rows = {{c='Ü',t=1},{t=22}}")
  assert.matches("\n   c   t\n1  Ü   1\n2     22\n$", t:run("rows"))
  assert.equal("<double[3]:1,1,1>", shown(t, "ffi.new('double[3]', 1)"))
  assert.equal("<sourcerange:9tasks>", shown(t, "parlua.range(9)"))
  assert.equal("<pool:workers=1>", shown(t, "parlua.pool { workers = 1 }"))
  t:run("function wrong(x)\n  return x.a.b\nend")
  assert.matches("^%[(%d+)%]:2:attempttoindexfield'a'%(anilvalue%)%[%1%]:2:inwrongreturnx.a.b%[%d+%]:1:wrong{}$",
    shown(t, "wrong {}"))
end

function session.pictures(t)
  for _, statement in ipairs { "parlua.plot({ 1, 2, 4 }, { 1, 4, 20 }, { height = 5 })", "parlua.plot { 1, 20, height = 5 }" } do
    local lines = {}
    for line in t:run(statement):gmatch("[^\n]+") do table.insert(lines, 1, line) end
    assert.matches("^ +[%d. ]+$", lines[1])
    assert.matches("^ +└[─┬]+$", lines[2])
    for k = 3, 7 do assert.matches(k % 2 == 1 and "^ *%d+ ┤" or "^ +│", lines[k]) end
  end
  assert.matches("\n15 – 20 │█[^\n]* 1\n$", t:run("parlua.plot.histogram { 1, 2, 2, 20 }"))
  t:run("parlua.plot{1,4,file='x.svg'}")
  assert.matches("^<svg", helper.read(t.directory .. "/x.svg"))
end

function session.parallel(t, engine)
  local on = "%(" .. engine .. "%)$"
  t:run("f = function(x) return k * x end")
  assert.matches("^{7,14,21}nofailures3tasksin[^()]*" .. on, shown(t, "parlua.map(f, {1, 2, 3})"))
  assert.equal("taskütaskünil", shown(t, "parlua.each(function() print 'task ü' end, { 1, 2 }) and nil"))
  assert.equal("14", shown(t, "parlua.submit(f, 2):get()"))
  t:run("until_go = function() repeat until io.open 'go' return 'ü' end")
  t:run("call = parlua.background(until_go)")
  t:type("1 + ")
  helper.write(t.directory .. "/go", "")
  t:wait_for(function(text) return squeezed(text):find('[call2returned]"ü">1+', 1, true) end)
  leave(t, "C-c")
  -- Ctrl-C
  t:run("h = function(x) while x == 3 do os.rename('one', 'begun') end return x end")
  helper.write(t.directory .. "/one", "")
  t:type("parlua.map(h, { 1, 2, 3, 4 }, { chunk = 1, progress = 'bar' })\n")
  t:wait_for_file("begun")
  t:press("C-c")
  t:wait_for_prompt()
  assert.equal('"SIGINT"4"cancelled"', shown(t, "summary.interrupted, results.n, failures[1].kind"))
  assert.equal("{1,2}", shown(t, "(parlua.map(h, { 1, 2 }))"))
  t:type("while true do end\n")
  t:wait("while true do end\n")
  t:press("C-c")
  t:wait("interrupted")
  t:wait_for_prompt()
  t:type("not this")
  t:wait("not this")
  leave(t, "C-c")
end

function session.debugging(t)
  t:run("limit = 1")
  t:run("g = function(x) local y = 2 * x if x > limit then error 'ü' end return y end")
  assert.matches("^{2,<failed>}…1of2failedtaskkindmessage", shown(t, "parlua.map(g, { 1, 2 })"))
  t:type("%debug\n")
  t:wait("    y = 4\n")
  t:wait_for_prompt()
  t:type("x + 40\n")
  t:wait("\n42\n")
  t:press("C-d")
  t:wait_for(function(text) return text:find("\ndebug> *\n> *\n$") end)
  t:run("limit = 2")
  assert.equal("1taskreturnednow,nonefailedagain", shown(t, "%retry"))
  assert.equal("40", shown(t, "results[2], #failures"))
end

for _, engine in ipairs(engines) do
  for _, columns in ipairs { 80, 30 } do
    for _, lang in ipairs { "C", "C.UTF-8" } do
      it(("a session at %d columns, LANG=%s, engine %s"):format(columns, lang, engine), function()
        local start = engine == "mpi" and helper.mpirun(2) .. " " .. helper.quote(helper.parlua)
          or helper.quote(helper.parlua) .. " --engine " .. engine .. " -n 2"
        terminal.with_prompt({
          columns = columns, lang = lang, rows = 45, command = start .. " -i script.lua ü", env = { EDITOR = "sh edit" },
          files = { ["script.lua"] = script, edit = "echo 'k = k + 1' > \"$1\"\n" },
        }, function(t)
          -- a script with a job, and its locals
          assert.truthy(squeezed(t:text()):find('"result":{"word":"ü","x":5}', 1, true), t:text())
          assert.equal("6", shown(t, "twice(doubled[3]) / 2"))
          for _, part in ipairs { "input", "reading", "printing", "pictures", "parallel", "debugging" } do
            session[part](t, engine)
          end
          t:press("C-d")
          t:wait("[status 0]")
        end)
      end)
    end
  end
end
