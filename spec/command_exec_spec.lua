--- parlua --exec: a program for each word, line or row, as a job.
local helper = require "spec.helper"
local lfs = require "lfs"

local parlua = helper.quote(helper.parlua)

--- What a command writes to standard output, and its exit status; `%s` in it is parlua.
local function run(command, options)
  local result = helper.run((command:gsub("PARLUA", function() return parlua end)), options)
  return result.stdout, result.status, result.stderr
end

local function first_two(a, b) return { a, b } end

--- The message of a command that is wrong: before anything runs, with status 2.
local function refusal(command, options)
  local stdout, status, stderr = run(command, options)
  assert.same({ "", 2 }, { stdout, status }, stderr)
  return (stderr:gsub("^parlua: ", ""):gsub("\n$", ""))
end

describe("parlua --exec", function()
  it("runs a program for each word, without a shell", function()
    assert.equal("[a b]\n[it's]\n[$HOME *]\n", (run [[PARLUA --exec 'echo [{}]' 'a b' "it's" '$HOME *']]))
    assert.equal("-n\n", (run [[PARLUA --exec 'printf "%s\n" {}' -- -n]]))
    assert.equal("x 1\nx 2\n", (run [[PARLUA --exec 'echo x' 1 2]])) -- without a placeholder, at the end
  end)

  it("puts parts of a path into placeholders, and the task's number", function()
    assert.equal("d/a.tar.gz d/a.tar a.tar.gz d a.tar 1\n/.rc /.rc .rc / .rc 2\nx x x . x 3\n",
      (run "PARLUA --exec 'echo {} {.} {/} {//} {/.} {#}' d/a.tar.gz /.rc x"))
    assert.equal("{} {.} {nothing} {1,2} {a x\n", (run "PARLUA --exec 'echo {{}} {{.}} {{nothing}} {1,2} {a {}' x"))
  end)

  it("takes names with any bytes, and any number of them", function()
    helper.with_directory(function(directory)
      local names = { "a b", "it's", 'q"', "new\nline", "\255\254", "-rf", "$(id)", "tab\t", "\\" }
      for _, name in ipairs(names) do helper.write(directory .. "/" .. name, name) end
      local text = run("PARLUA --exec 'cat ./{}' -- *", { directory = directory })
      table.sort(names)
      local list = run("ls | wc -l", { directory = directory })
      assert.is_true(tonumber(list) >= #names)
      for _, name in ipairs(names) do assert.truthy(text:find(name, 1, true), name) end
      local same = run("find . -type f -print0 | PARLUA -0 --exec 'cat {}' | wc -c", { directory = directory })
      assert.equal(#table.concat(names), tonumber(same))
    end)
    assert.equal("20000\n", (run "seq 20000 | xargs PARLUA --dry-run --exec true -- | wc -l"))
  end)

  it("reads words from standard input: lines, or with -0 texts that end with NUL", function()
    assert.equal("[a b]\n[]\n[c]\n", (run [[printf 'a b\n\nc' | PARLUA --exec 'echo [{}]']]))
    assert.equal("[a\nb]\n[c]\n", (run [[printf 'a\nb\0c' | PARLUA --null --exec 'echo [{}]']]))
    assert.equal("[x]\n[y]\n[z]\n", (run [[printf 'x\ny\n' >1; printf 'z' >2; PARLUA --lines --exec 'echo [{}]' 1 2; rm 1 2]]))
  end)

  it("runs nothing, with status 0, where there are no words", function()
    assert.same({ "", 0 }, first_two(run "PARLUA --exec 'echo {}' --"))
    assert.same({ "", 0 }, first_two(run "PARLUA --exec 'echo {}' </dev/null"))
    assert.same({ "", 0 }, first_two(run "PARLUA --exec 'echo {}' :::"))
  end)

  it("takes columns of CSV and TSV by name, as they are written", function()
    helper.with_directory(function(directory)
      helper.write(directory .. "/a.csv", 'city,zip code\nBern,007\n"São, ""P""",1.50\n,\n')
      helper.write(directory .. "/b.tsv", "city\tn\nOslo\t1e3\n")
      local function in_directory(command) return run(command, { directory = directory }) end
      assert.equal('Bern 007 1\nSão, "P" 1.50 2\n  3\n', (in_directory "PARLUA --csv --exec 'echo {city} {zip code} {#}' a.csv"))
      assert.equal("Oslo 1e3\n", (in_directory "PARLUA --tsv --exec 'echo {city} {n}' <b.tsv"))
      local text, status, message = in_directory "PARLUA --csv --exec 'echo {cty}' a.csv"
      assert.same({ "", 2 }, { text, status })
      assert.truthy(message:find("no column 'cty'; it has city, zip code", 1, true), message)
    end)
  end)

  it("names the columns of files without a header by --header, also side by side as by --link of GNU parallel", function()
    helper.with_directory(function(directory)
      helper.write(directory .. "/a", "1\n2\n")
      helper.write(directory .. "/b", "c\nd e\n")
      local options = { directory = directory }
      local advised = refusal("PARLUA --link --exec 'echo {1} {2}' ::: a b"):match "`(.-)`"
      local migrating = helper.read "docs/MIGRATING.md":gsub("\\|", "|")
      assert.truthy(migrating:find(advised, 1, true), advised)
      assert.equal("1 c\n2 d e\n", (run(advised:gsub("| parlua", "| PARLUA"), options)))
      assert.equal("1-c\n2-d e\n", (run("paste a b | PARLUA --tsv --header p,q --map 'p .. \"-\" .. q'", options)))
      assert.equal("y,x\nd e,2\n", (run("paste -d, a b | PARLUA --csv --header x,y --filter 'row.x > 1' --map row --format csv "
        .. "--columns y,x", options)))
      assert.equal("2,d e\n", (run("paste -d, a b | PARLUA --csv --header x,y --filter 'row.x > 1'", options)))
      for command, told in pairs {
        ["--csv --header : --exec 'echo {x}' a"] = "':' is of GNU parallel; --csv and --tsv take the first line as the names anyway",
        ["--csv --header x,x --exec 'echo {x}' a"] = "'x' is in it twice",
        ["--csv --header x --exec 'echo {y}' a"] = "no column 'y'; it has x",
        ["--csv --header x --map zz a"] = "the option --header has no column 'zz'; it has x",
        ["--header x --map x a"] = "the option --header goes with --csv, --tsv",
      } do
        local _, status, message = run("PARLUA " .. command, options)
        assert.equal(2, status, command)
        assert.truthy(message:find(told, 1, true), message)
      end
    end)
  end)

  it("combines lists that stand behind :::, and puts several words into one command by --batch", function()
    assert.equal("a-1\na-2\nb-1\nb-2\n", (run "PARLUA --exec 'echo {1}-{2}' ::: a b ::: 1 2"))
    assert.equal("1 2 3\n4 5\n", (run "seq 5 | PARLUA --batch 3 --exec echo"))
    assert.equal("1/1 2\n2/3\n", (run "PARLUA --batch 2 --exec 'echo {#}/{1} {2}' 1 2 3 | sed 's/ $//'"))
  end)

  it("gives pieces of standard input to programs by --pipe", function()
    assert.equal("20000\n", (run "seq 20000 | PARLUA --pipe 10K --exec 'wc -l' | paste -sd+ | bc"))
    assert.equal("1\ta\n2\tb\n", (run "printf 'a\nb\n' | PARLUA --pipe 2 --tag --exec cat")) -- a piece has a number, no word
  end)

  it("gives the template to a shell by --shell, with words quoted", function()
    assert.equal("7\n", (run [[PARLUA --shell --exec 'printf %s {} | wc -c' "a 'b' c"]]))
    assert.equal("$HOME\n", (run [[PARLUA --shell --exec 'echo {} && true' '$HOME']]))
  end)

  it("writes the word before each line by --tag, and to files by --save", function()
    assert.equal("a b\tx\na b\ty\nc\tx\nc\ty\n", (run [[PARLUA --tag --exec 'printf "x\ny%.0s" {}' 'a b' c]]))
    assert.equal("a b\ta\na b\tb\n", (run "PARLUA --tag --exec 'echo {}' 'a\nb'")) -- a tag is one line
    helper.with_directory(function(directory)
      helper.write(directory .. "/a.txt", "b\na\n")
      local text, status = run("PARLUA --save 'out/{/.}.sorted' --exec 'sort {}' a.txt; ls out",
        { directory = directory })
      assert.same({ "a.sorted\n", 0 }, { text, status })
      assert.equal("a\nb\n", helper.read(directory .. "/out/a.sorted"))
      run("PARLUA --save '{}.new' --exec 'cat a.txt no-file' a.txt", { directory = directory })
      assert.is_nil(lfs.attributes(directory .. "/a.txt.new"))
    end)
  end)

  it("gives a program that is deaf to the first signal one second, and keeps what it wrote until its end", function()
    assert.same({ "a\nb\n", 1 }, first_two(run [[PARLUA --timeout 1 --exec 'sh -c "trap \"echo b\" TERM; echo a; while :; do sleep {}; done"' 0.1]]))
  end)

  it("tells with a failure in JSON what the program had written, and its status", function()
    assert.equal('{"index":1,"args":["3"],"error":{"kind":"error","message":"\'sh\' exited with status 3: e","stdout":"o\\n",'
      .. '"stderr":"e\\n","status":3}}\n', (run [[PARLUA --format jsonl --exec 'sh -c "echo o; echo e >&2; exit {}"' 3]]))
  end)

  it("shows what would be run by --dry-run, as one would type it", function()
    assert.equal("gzip -9 'a b'\ngzip -9 'it'\\''s'\n", (run [[PARLUA --dry-run --exec 'gzip -9 {}' 'a b' "it's"]]))
    assert.equal("echo 'a b' | cat\n", (run [[PARLUA --dry-run --shell --exec 'echo {} | cat' 'a b']]))
  end)

  it("tells what is wrong before anything runs", function()
    assert.equal("the option --exec: cannot run 'no-such': No such file or directory (it is looked for in PATH)",
      refusal "PARLUA --exec 'no-such {}' x")
    assert.equal("the option --exec: cannot run './x': No such file or directory", refusal "PARLUA --exec './x {}' x")
    assert.equal("the option --exec: unknown placeholder {name}: arguments have names with --csv, --tsv or --jsonl; "
      .. "{{name}} stands for the text itself", refusal "PARLUA --exec 'echo {name}' x")
    assert.equal("the option --exec: there is no argument 2 for {2}: a task has 1", refusal "PARLUA --exec 'echo {2}' x")
    assert.equal("the option --exec: unknown placeholder {0}: arguments are counted from 1, as {1}; {{0}} stands for the text "
      .. "itself", refusal "PARLUA --exec 'echo {0}' x")
    assert.equal("cannot read standard input: Bad file descriptor", refusal "PARLUA --exec 'echo {}' <&-")
    assert.truthy(refusal("PARLUA --map x </tmp"):find("cannot read standard input: it is a directory", 1, true))
    assert.equal("the option --exec: | is for a shell: add --shell, or put it in quotes", refusal "PARLUA --exec 'ls {} | wc' x")
    assert.equal("the option --exec: a ' has no end", refusal [[PARLUA --exec "ls '" x]])
    assert.equal("the option --exec: it is empty", refusal "PARLUA --exec '' x")
    assert.equal("the option --shell goes with --exec; options stand before all words", refusal "PARLUA --shell x.lua")
    assert.equal("the options --exec and --map can't go together", refusal "PARLUA --exec true --map x")
    assert.equal("the options --null and --csv can't go together: both say how arguments are read",
      refusal "PARLUA --csv -0 --exec 'echo {a}'")
    assert.equal("the option --null is about standard input, but there are words: x", refusal "PARLUA -0 --exec true x")
    assert.equal("the option --save: there is no placeholder in it, so all would go to one file; parlua -o does that",
      refusal "PARLUA --save out --exec true x")
    assert.truthy(refusal("PARLUA --exce true x"):find("unknown option --exce; did you mean --exec?", 1, true))
    assert.truthy(refusal("PARLUA --batch 0 --exec true x"):find("it takes an integer from 1 to 100000", 1, true))
  end)

  it("refuses options behind words, and signs of GNU parallel that it does not know", function()
    local advice = " stands behind words: options come before them; where it is a word itself, put -- before the words"
    for _, option in ipairs { "--dry-run", "-n", "--no-such" } do
      assert.equal("'" .. option .. "'" .. advice, refusal("PARLUA --exec 'echo {}' a " .. option .. " b"))
    end
    assert.equal("unknown option -1; parlua --help lists the options; where it is a word itself, put -- before the words",
      refusal "PARLUA --exec 'echo {}' -1")
    for words, told in pairs {
      ["--joblog x"] = "unknown option --joblog: it is of GNU parallel or xargs; here, --journal FILE records all tasks, `parlua export "
        .. "FILE` shows them",
      ["-P 4"] = "unknown option -P; parlua --help lists the options: it is of GNU parallel or xargs; here, -n N sets the number of workers",
      ["--exec 'echo {%}' a"] = "the option --exec: unknown placeholder {%}: it is of GNU parallel; {{%}} stands for the text itself",
      ["--exec 'echo {=s/a/b/=}' a"] = "the option --exec: unknown placeholder {=s/a/b/=}: it is of GNU parallel, code for each "
        .. "word, as --map has it; {{=s/a/b/=}} stands for the text itself",
      ["--shell --exec '{}' 'echo a'"] = "the option --exec: with --shell, what is put in is one word: lines that are commands are "
        .. "run by --exec 'sh -c {}', without --shell",
    } do
      assert.equal(told, refusal("PARLUA " .. words))
    end
    assert.equal("a\nb\n", (run "printf 'echo a\\necho b\\n' | PARLUA --exec 'sh -c {}'"))
    assert.truthy(select(3, run "PARLUA -j 4 --exec 'echo {}' a"):find("-n 4 sets the number of workers", 1, true))
    local _, _, err = run("PARLUA --map x -l no_such")
    assert.truthy(err:find("-l loads the Lua module 'no_such'; where it is a word itself, put -- before the words", 1, true))
    assert.truthy(refusal("PARLUA --map x -l"):find("where it is a word itself, put -- before the words", 1, true))
    assert.equal("a\n--x\n", (run "PARLUA --exec 'printf \"%s\\n\" {}' a -- --x"))
    assert.equal("--x\n", (run "PARLUA --map line -- --x"))
    assert.truthy(refusal("PARLUA --exec 'echo {}' :::: file"):find(":::: is of GNU parallel, and not known here: for the lines of", 1, true))
    assert.truthy(refusal("PARLUA --exec 'echo {}' ::: a :::+ b"):find(":::+ is of GNU parallel", 1, true))
    assert.truthy(refusal("PARLUA --csv --exec echo x.csv"):find("a row has columns, none of which is in the template", 1, true))
  end)

  it("refuses placeholders inside of quotes that a shell would read", function()
    for _, template in ipairs { [["echo '{}'"]], [['echo "{}"']], [['echo "$(ls "{}")"']], [['echo "a $(ls) {}"']] } do
      local message = refusal("PARLUA --shell --exec " .. template .. " x")
      assert.truthy(message:find("with --shell leave these quotes out: what is put in is quoted", 1, true), message)
    end
    assert.equal("a'b z $x a'b\n", (run [[PARLUA --shell --exec 'echo "$(echo {} "z")" '\''$x'\'' {}' "a'b"]]))
    assert.equal("\"x\n", (run [[PARLUA --shell --exec 'echo \"{}' x]]))
  end)

  it("refuses two outputs in one file", function()
    helper.with_directory(function(directory)
      local options = { directory = directory }
      assert.equal("the option --save: tasks 1 and 3 would both write 'w/x'; tell them apart, by {#} for example",
        refusal("PARLUA --save 'w/{/.}' --exec 'echo {}' a/x.c y b/x.h", options))
      local _, status, stderr = run("printf 'a/x\\nb/x\\n' | PARLUA --save 'w/{/}' --exec 'echo {}'", options)
      assert.equal(1, status)
      assert.truthy(stderr:find("tasks 1 and 2 would both write 'w/x'", 1, true), stderr)
      assert.equal("a/x\n", helper.read(directory .. "/w/x"))
      assert.equal("1\n2\n", (run("PARLUA --save 'v/{#}' --exec 'echo {}' a a; ls v", options)))
      local text = run("PARLUA --journal j.db --exec true a 2>&1; seq 2 | PARLUA --journal k.db --map x >o 2>&1; PARLUA journal k.db", options)
      assert.falsy(text:find("nil", 1, true), text)
      assert.equal("usage: parlua journal run.db\n", (run "PARLUA journal --help"))
      assert.equal("run\ttask\n1\t1\n", (run("PARLUA export j.db --format tsv | cut -f 1,2", options)))
    end)
  end)

  it("ends quietly where nobody reads the output", function()
    helper.with_directory(function(directory)
      run("{ seq 1000 | PARLUA --exec 'seq {} 1000'; echo $? >status; } | head -1", { directory = directory })
      assert.equal("141\n", helper.read(directory .. "/status"))
      local _, _, err = run("{ seq 100000 | PARLUA --each 'print(x)'; echo $? >status; } | head -1", { directory = directory })
      assert.same({ "", "141\n" }, { err, helper.read(directory .. "/status") })
    end)
  end)

  helper.for_each_engine(function(engine)
    local start = helper.command(engine) .. " -n 2 "
    local function run_here(words, options)
      local result = helper.run(start .. words, options)
      return result.stdout, result.status, result.stderr
    end

    it("keeps each output whole and in order; the status is that of the worst", function()
      local words = [[--exec 'sh -c "echo a{}; echo e{} >&2; sleep 0.{}; echo b{}; exit {}"' 3 0 2]]
      local out, status, err
      if engine == "mpi" then -- mpirun joins the two streams as it likes, also within an output
        out, status, err = run_here(words)
        assert.equal("a3\nb3\na0\nb0\na2\nb2\n", out)
        out = err
      else
        out, status, err = run_here(words .. " 2>&1")
        assert.equal("", err)
        assert.truthy(out:find("a3\nb3\n.*a0\nb0\n.*a2\nb2\n"), out)
      end
      assert.equal(3, status)
      assert.truthy(out:find("3 tasks, 1 returned, 2 failed", 1, true), out)
    end)

    it("resumes a run that saves outputs; refuses to with other files, other arguments, or none saved", function()
      helper.with_directory(function(directory)
        local options = { directory = directory }
        helper.write(directory .. "/list", "a\nb\nc\n")
        local function go_on(save, journal)
          return run_here("--journal " .. journal .. " --resume " .. save .. " --exec 'sh -c \"echo {} >>log; echo {}\"' --lines list", options)
        end
        local save = "--save 'out/{}'"
        go_on(save, "s.db")
        local _, status, told = go_on(save, "s.db")
        assert.equal(0, status, told)
        assert.truthy(told:find("3 of them from the journal", 1, true), told)
        assert.equal(3, select(2, helper.read(directory .. "/log"):gsub("\n", "")))
        go_on("", "n.db")
        for _, refused in ipairs { { "", "s.db" }, { "--save 'other/{}'", "s.db" }, { save, "n.db" } } do
          _, status, told = go_on(refused[1], refused[2])
          assert.equal(2, status, told)
          assert.truthy(told:find("is of another run: the option --save differs, which says where output goes", 1, true), told)
        end
        helper.write(directory .. "/list", "a\nB\nc\n")
        _, status, told = go_on(save, "s.db")
        assert.equal(2, status, told)
        assert.truthy(told:find("the arguments of task 2 differ", 1, true), told)
      end)
    end)

    it("is a job: journal, resume, limits, retries, halting, formats", function()
      helper.with_directory(function(directory)
        local command = [[--exec 'sh -c "echo {} >>log; echo out {}; test {} != 2 -o -e fixed"' 1 2 3]]
        local options = { directory = directory }
        local out, status = run_here("--journal j.db " .. command, options)
        assert.same({ "out 1\nout 2\nout 3\n", 1 }, { out, status })
        helper.write(directory .. "/fixed", "")
        out, status = run_here("--journal j.db --resume " .. command, options)
        assert.same({ "out 1\nout 2\nout 3\n", 1 }, { out, status })
        out, status = run_here("--journal j.db --resume --retry-failed " .. command, options)
        assert.same({ "out 1\nout 2\nout 3\n", 0 }, { out, status })
        local count = select(2, helper.read(directory .. "/log"):gsub("\n", ""))
        assert.equal(4, count)
        assert.truthy(select(3, run_here("--journal j.db --resume --exec 'echo {}' 1 2 3", options)):find("is of another run", 1, true))
        assert.truthy(select(3, run_here("--journal j.db --resume --exec 'echo {} {}' 1 2 3", options)):find("the command, or an option", 1, true))
        out = run_here("--format jsonl --exec 'echo {}' a", options)
        assert.equal('{"index":1,"args":["a"],"result":{"status":0,"stderr":"","stdout":"a\\n"}}\n', out)
        out, status = run_here("--halt -n 1 -o x --exec 'sh -c \"exit {}\"' 0 4 0", options)
        assert.same({ "", 4 }, { out, status })
        local slow = [[--timeout 1 --exec 'sh -c "echo {}; echo e{} >&2; exec sleep {}"' 50]]
        local told
        out, status, told = run_here("--journal t.db " .. slow, options)
        assert.same({ "50\n", 1 }, { out, status }) -- what was written before the limit, too
        assert.truthy(told:find('task 1 ("50") failed: timeout: the task took more than 1 s\n', 1, true), told)
        assert.truthy(told:find("e50\n", 1, true), told)
        out = run_here("--journal t.db --resume " .. slow:gsub("1", "2", 1), options) -- another limit is the same run
        assert.equal("50\n", out)
        helper.write(directory .. "/tries", "")
        out, status = run_here([[--retries 2 --exec 'sh -c "echo {} >>tries; test $(wc -l <tries) = 3 && echo third"' x]], options)
        assert.same({ "third\n", 0 }, { out, status })
      end)
    end)

    -- More than a pipe holds: what comes before it has been read once the program goes on.
    local writes = [[echo begun {}; echo told {} >&2; printf %0200000d 0]]

    --- Standard output has what both programs wrote, in order, standard error what they told.
    local function assert_kept(out, err, words)
      local expected = {}
      for k, word in ipairs(words) do
        expected[k] = "begun " .. word .. "\n" .. "0*"
        assert.truthy(err:find("told " .. word .. "\n", 1, true), err)
      end
      assert.truthy(out:find("^" .. table.concat(expected) .. "$"), out:sub(1, 200))
    end

    it("keeps what programs wrote before Ctrl-C", function()
      helper.with_directory(function(directory)
        local words = engine == "serial" and { "1" } or { "1", "2" }
        local result = helper.run(([[
          { while [ ! -e has.%s ]; do sleep 0.02; done; kill -INT $(cat pid); } &
          %s -n 2 --exec 'sh -c "%s; while [ {} = 2 -a ! -e has.1 ]; do sleep 0.02; done; echo >has.{}; exec sleep 100"' 1 2
          echo $?
        ]]):format(words[#words], helper.command(engine, "pid"), writes), { directory = directory })
        local out, status = result.stdout:match "^(.*)\n?(130)\n$"
        assert.equal("130", status, result.stderr)
        assert_kept(out:gsub("\n$", ""), result.stderr, words)
      end)
    end)

    if engine ~= "process" and engine ~= "mpi" then return end

    it("keeps what a program wrote before its worker was killed, in a journal too", function()
      helper.with_directory(function(directory)
        local command = [[--journal j.db --exec 'sh -c "]] .. writes .. [[; kill -9 \$PPID; exec sleep 100"' a]]
        for _, again in ipairs { "", "--resume " } do
          local out, status, err = run_here(again .. command, { directory = directory })
          assert.equal(1, status)
          assert_kept(out, err, { "a" })
          assert.truthy(err:find('task 1 ("a") failed: crash: the worker was killed by SIGKILL\n', 1, true), err)
        end
      end)
    end)

    it("keeps the end of what a program wrote where a worker has no memory for all of it", function()
      local out, status, err = run_here([[--memory 60M --exec 'sh -c "yes {} | head -c 200000000"' ab]])
      assert.same({ 1, 2 ^ 20, 6 }, { status, #out, #out:match "ab\nab\n" }, err)
      assert.truthy(err:find("^parlua: task 1 had written more: the first %d+ bytes are lost\n"), err)
      assert.truthy(err:find('failed: memory: not enough memory for what the program writes', 1, true), err)
    end)

    it("limits the memory of programs, and of what they start, by --memory", function()
      local large = [["\"PARLUA\" -e \"print(#(\\\"x\\\"):rep(2e8))\"]]
      large = (large:gsub("PARLUA", function() return helper.parlua end))
      for _, ending in ipairs { '"', '; echo {}"' } do
        local command = "--exec 'sh -c " .. large .. ending .. "' a"
        local out, status, err = run_here("--memory 100M " .. command)
        assert.same({ ending == '"' and "" or "a\n", ending == '"' and 1 or 0 }, { out, math.min(status, 1) }, err)
        assert.truthy(err:find("not enough memory", 1, true), err)
        out = run_here("--memory 1G " .. command)
        assert.equal("200000000\n" .. (ending == '"' and "" or "a\n"), out)
      end
    end)
  end)
end)
