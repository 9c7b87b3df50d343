--- parlua --map, --filter, --each, --reduce: Lua for each word, line or row; and jobs that -e returns.
local helper = require "spec.helper"

local parlua = helper.quote(helper.parlua)

local function run(command, options)
  local result = helper.run((command:gsub("PARLUA", function() return parlua end)), options)
  return result.stdout, result.status, result.stderr
end

local function output(command, options) return (run(command, options)) end

local function refusal(command, options)
  local stdout, status, stderr = run(command, options)
  assert.same({ "", 2 }, { stdout, status }, stderr)
  return (stderr:gsub("^parlua: ", ""):gsub("\n$", ""))
end

--- Numbers, text, and what is neither: the number that a line reads as, or nothing.
local lines = "1\n-2.5\n1e3\n007\n0x10\n\n+1\n .5\n.5\n9007199254740993\n9007199254740992\nnan\n-0\n5.\n1e400\nx y\r\n12"

describe("parlua --map and --filter", function()
  it("write what an expression gives for each line", function()
    assert.equal("1\n4\n9\n", output "seq 3 | PARLUA --map 'x * x'")
    assert.equal("4\n5\n", output "seq 5 | PARLUA --filter 'x > 3'")
    assert.equal("16\n25\n", output "seq 5 | PARLUA --filter 'x > 3' --map 'x * x'")
    assert.equal("0.1\n0.30000000000000004\n1e+300\n100000000000000\n-0\n",
      output "seq 5 | PARLUA --map '({ 0.1, 0.1 + 0.2, 1e300, 1e14, -0.0 })[x]'")
    assert.equal("two\n", output "seq 3 | PARLUA --map 'if x == 2 then return \"two\" end'")
    assert.equal("A\nB\n", output "PARLUA --map 'x:upper()' a b")
    assert.equal('{"n":1}\ntrue\n', output "PARLUA --map 'x == 1 and { n = x } or true' 1 2")
  end)

  it("give the same for lines in blocks as for lines alone", function()
    for _, code in ipairs { "--map 'type(x) .. \" \" .. tostring(x) .. line'", "--filter 'type(x) == \"number\"'",
      "--map 'x + 1'", "--map '#line'", "--filter 'x ~= 5' --map 'x'", "--map 'x / 7'" } do
      local blocks, status = run("PARLUA " .. code, { stdin = lines })
      local alone, other_status = run("PARLUA --chunk 3 " .. code, { stdin = lines })
      assert.same({ alone, other_status }, { blocks, status })
    end
  end)

  it("read and write numbers of any length, wherever they stand in a block", function()
    local numbers, expected, total = {}, {}, 0
    local function add(text, written)
      numbers[#numbers + 1], expected[#expected + 1], total = text, written, total + #text + 1
    end
    for digits = 1, 19 do
      local nines = ("9"):rep(digits)
      local is_number = digits <= 15
      for _, text in ipairs { nines, "1" .. nines:gsub("9", "0"):sub(2), nines:gsub("9", "1"), "-" .. nines } do
        local fits = is_number or tonumber(text) and math.abs(tonumber(text)) <= 2 ^ 53
        add(text, (fits and "number " or "string ") .. text)
        add(text .. "\r", (fits and "number " or "string ") .. text)
      end
      add("0" .. nines, "string 0" .. nines)
      add(nines .. "x", "string " .. nines .. "x")
      add(nines .. " ", "string " .. nines .. " ")
    end
    local text = table.concat(numbers, "\n") -- the last one has no end
    local code = "'if type(x) == \"number\" then return (\"number %.0f\"):format(x) end return \"string \" .. x'"
    assert.equal(table.concat(expected, "\n") .. "\n", output("PARLUA --map " .. code, { stdin = text }))
    local read = {}
    for k, line in ipairs(expected) do read[k] = line:gsub("^%l+ ", "") end
    assert.equal(table.concat(read, "\n") .. "\n", output("PARLUA --map x", { stdin = text }))
  end)

  it("read lines of files, also of several", function()
    helper.with_directory(function(directory)
      helper.write(directory .. "/a", "1\n2")
      helper.write(directory .. "/b", "3\n")
      assert.equal("2\n4\n", output("PARLUA --lines --map '2 * x' a", { directory = directory }))
      assert.equal("2\n4\n6\n", output("PARLUA --lines --map '2 * x' a b", { directory = directory }))
      assert.equal("1 2\n", output("printf '1\\0002' | PARLUA -0 --map x | paste -sd' '"))
    end)
  end)

  it("tell which lines fail, and go on", function()
    for _, options in ipairs { "", "--chunk 2 " } do
      local stdout, status, stderr = run("printf '1\\nabc\\n3\\n' | PARLUA " .. options .. "--map 'x * 2'")
      assert.same({ "2\n6\n", 1 }, { stdout, status })
      assert.truthy(stderr:find('parlua: task 2 of -:2 ("abc") failed: error: --map:1: attempt to perform arithmetic on '
        .. "local 'x'", 1, true), stderr)
      assert.truthy(stderr:find("parlua: 3 tasks, 2 returned, 1 failed", 1, true), stderr)
    end
    for _, command in ipairs { "PARLUA --each 'error(\"no\")' a", "PARLUA --map 'error(\"no\")' a",
      "echo a | PARLUA --map 'error(\"no\")'", "echo a | PARLUA --filter 'error(\"no\")'",
      "echo a | PARLUA --halt --each 'error(\"no\")'" } do
      local _, _, where = run(command)
      assert.truthy(where:find("error: %-%-%l+:1: no\n"), where)
    end
    local _, status, stderr = run "seq 100 | PARLUA --map 'error(\"no\", 0)'"
    assert.equal(1, status)
    assert.truthy(stderr:find("task 10 of -:10 (\"10\") failed: error: no\nparlua: 90 more tasks failed\n"
      .. "parlua: 100 tasks, 0 returned, 100 failed", 1, true), stderr)
  end)

  it("write nothing of what is behind the failure by --halt, and no frames of our own", function()
    for _ = 1, 3 do
      for _, command in ipairs { "seq 10 | PARLUA -n 2 --chunk 1 --halt --map CODE", "PARLUA -n 2 --halt --map CODE 1 2 3 4 5 6 7 8" } do
        local stdout, status, stderr = run((command:gsub("CODE", "'x == 4 and error(\"no\") or x'")))
        assert.same({ "1\n2\n3\n", 1 }, { stdout, status })
        assert.truthy(stderr:find('%("4"%) failed: error: %-%-map:1: no\nparlua: 4 tasks, 3 returned, 1 failed, '
          .. '[%d%l ,.]+ s, process engine, 2 workers, halted\n$'), stderr)
      end
    end
  end)

  helper.for_each_engine(function(engine)
    it("count a halted run's tasks alike with and without a reduction, and say what is known of it", function()
      for _, words in ipairs { "", "--reduce sum " } do
        local _, status, stderr = run(helper.command(engine) .. " --halt " .. words .. "--map 'x + 1' 1 2 boom 4 5")
        assert.equal(1, status)
        assert.truthy(stderr:find(("\nparlua: 3 tasks, 2 returned, 1 failed, 2 cancelled, [%%d.]+ s, %s engine, [%%l%%d ]+, halted\n$")
          :format(engine)), stderr)
      end
    end)
  end)

  it("go over more than one block, in order, on files and pipes", function()
    local expected = output "seq 400000 | awk '{ printf \"%d\\n\", $1 * 2 }' | md5sum"
    assert.equal(expected, output "seq 400000 | PARLUA --map 'x * 2' | md5sum")
    helper.with_directory(function(directory)
      assert.equal(expected, output("seq 400000 >n; PARLUA --lines --map 'x * 2' n | md5sum", { directory = directory }))
      assert.equal(expected, output("PARLUA --map 'x * 2' <n | md5sum", { directory = directory }))
    end)
  end)

  it("go over rows of CSV and TSV, whose columns are names", function()
    helper.with_directory(function(directory)
      helper.write(directory .. "/a.csv", "city,t\nBern,9\nLima,20\nOslo,\n")
      local function here(command) return output(command, { directory = directory }) end
      assert.equal("Bern 9\nLima 20\n", here "PARLUA --csv --filter t --map 'city .. \" \" .. t' a.csv")
      assert.equal("city,t\nLima,20\n", here "PARLUA --csv --filter 'row.t and x.t > 10' a.csv")
      assert.equal('{"city":"Lima","t":20}\n', here "PARLUA --csv --map 't and t > 10 and row or nil' a.csv")
      assert.equal("Bern\nLima\nOslo\n",
        here "PARLUA --csv --map row --format none a.csv; PARLUA --csv --map '{ c = city }' a.csv | PARLUA --jsonl --map c")
      assert.equal("[x y]\n", here "printf '{\"a\":1,\"b\":\"x y\"}\\n{\"a\":2}\\n7\\n' | PARLUA --jsonl --exec 'echo [{b}]'")
      assert.equal("BERN\nLIMA\nOSLO\n", here "PARLUA --csv --map 'city:upper()' <a.csv")
      assert.equal("8\n8\n", here "printf 'a\\tb\\n1\\t8\\n2\\t8\\n' | PARLUA --tsv --map b")
      assert.equal("29\n", here "PARLUA --csv --map t --reduce sum a.csv")
      assert.equal('{"Bern":9,"Lima":20}\n', here "PARLUA --csv --filter t --reduce 'group(\"city\", max \"t\")' a.csv")
    end)
  end)

  it("need columns for names that stand for nothing else, before anything runs", function()
    helper.with_directory(function(directory)
      helper.write(directory .. "/c.csv", "city,n\nBern,1\n")
      helper.write(directory .. "/h.lua", "function twice(x) return 2 * x end\n")
      local options = { directory = directory }
      for _, command in ipairs { "--map 'ctiy'", "--filter 'ctiy == 1'", "--each 'print(ctiy)'", "--map 'pcall(function() return ctiy end)'",
        "--engine serial --map ctiy" } do
        assert.equal("csv: 'c.csv' has no column 'ctiy'; it has city, n", refusal("PARLUA --csv " .. command .. " c.csv", options))
      end
      assert.equal("csv: standard input has no column 'ctiy'; it has city, n", refusal("PARLUA --csv --map ctiy <c.csv", options))
      for _, code in ipairs { "twice(n)", "local m = n return 2 * m", "m = 2 * n return m", "row.m or 2 * n", "tonumber(line:match '%d') * 2",
        "(function(m) return m * 2 end)(n)" } do
        assert.equal("2\n", (run("PARLUA --csv --with h.lua --map " .. helper.quote(code) .. " c.csv", options)), code)
      end
    end)
  end)

  it("write rows that a filter lets through as they stand in their file, under its header", function()
    helper.with_directory(function(directory)
      local text = 'city,b,a,zip\nBern,1.50,,007\n"São, ""P""",1e3,x y,\nOslo,"two\nlines",,\n'
      helper.write(directory .. "/c.csv", text)
      helper.write(directory .. "/c.tsv", (text:gsub(",", "\t"):gsub("\n", "\r\n")))
      helper.write(directory .. "/j", '{"b":1.50, "a":[ ]}\n\n{"b": 1e3}')
      local function here(command) return output(command, { directory = directory }) end
      for _, engine in ipairs { "serial", "threads", "process", "async" } do
        local start = "PARLUA --engine " .. engine .. " "
        assert.equal(text .. text, here(start .. "--csv --filter true c.csv; cat c.csv | " .. start .. "--csv --filter true --format csv"))
        assert.equal('{"b":1.50, "a":[ ]}\n{"b": 1e3}\n', here(start .. "--jsonl --filter b j"))
      end
      assert.equal(text:gsub(",", "\t"):gsub("\n", "\r\n"), here "PARLUA --tsv --filter true c.tsv")
      assert.equal("city,b,a,zip\n", here "PARLUA --csv --filter false c.csv")
      assert.equal('city,b,a,zip\n"São, ""P""",1e3,x y,\n', here "PARLUA --shard 2/2 --csv --filter true c.csv")
      assert.equal('Bern,1.50,,007\n', here "PARLUA --csv --filter zip --map line c.csv")
      for _ = 1, 2 do
        assert.equal('city,b,a,zip\nOslo,"two\nlines",,\n', here [[PARLUA --journal j.db --resume --csv --filter 'city == "Oslo"' c.csv]])
      end
      local _, _, stderr = run("PARLUA --csv --filter 'x.a + 1' c.csv", { directory = directory })
      assert.truthy(stderr:find('task 1 of c.csv:2 ("Bern,1.50,,007") failed: error: --filter:1: attempt to perform', 1, true), stderr)
      _, _, stderr = run("PARLUA --csv --filter true </dev/null", { directory = directory })
      assert.equal("parlua: csv: standard input is empty: it has no header\n", stderr)
    end)
  end)

  it("write rows that code makes under columns in the order of the file, or of the code, or of --columns", function()
    helper.with_directory(function(directory)
      helper.write(directory .. "/c.csv", "city,b,a\nBern,,1\nOslo,2,\n")
      local function here(command) return output("PARLUA --csv --format csv " .. command .. " c.csv", { directory = directory }) end
      assert.equal("city,b,a\nBern,,1\nOslo,2,\n", here "--map row")
      assert.equal("city,b,a\n", here "--filter false --map row")
      assert.equal("city,b,a,new\nBern,,1,0\nOslo,2,,0\n", here "--map 'row.new = 0 return row'")
      assert.equal("z,a\nBern,1\nOslo,\n", here "--map '{ z = city, a = a }'")
      assert.equal("a,b,z\n1,,Bern\n,2,Oslo\n", here "--map '{ z = city, a = a, b = b }' --columns a,b,z")
      assert.equal("n,sq\n2,4\n", output "PARLUA --format csv --map '{ n = x, sq = x * x }' 2")
      assert.truthy(refusal("PARLUA --map x --format csv --columns a,,b 1"):find("--columns: 'a,,b'; it takes names", 1, true))
      local _, _, stderr = run("PARLUA --csv --format csv --map '{ z = city, [\"b\"] = b }' c.csv", { directory = directory })
      assert.truthy(stderr:find("or --columns on a command line without a script", 1, true), stderr)
    end)
  end)

  it("write the value of a reduction as rows, too", function()
    helper.with_directory(function(directory)
      helper.write(directory .. "/c.csv", "city,price\nOslo,2\nBern,1\nBern,4\n,7\n")
      local function here(command)
        return output("PARLUA --csv --format csv --filter 'price < 5' " .. command .. " c.csv", { directory = directory })
      end
      assert.equal("key,m,n\nBern,2.5,2\nOslo,2,1\n", here [[--reduce 'group("city", { n = count, m = mean "price" })']])
      assert.equal("n,key\n2,Bern\n1,Oslo\n", here [[--reduce 'group("city", { n = count, m = mean "price" })' --columns n,key]])
      assert.equal("Bern,Oslo\n2,1\n", here [[--reduce 'group "city"']])
      assert.equal("city,price\nOslo,2\nBern,1\nBern,4\n", here "--reduce collect")
      assert.equal("city,price\nBern,4\nOslo,2\n", here [[--map row --reduce 'top(2, "price")']])
      assert.equal("index,value\n3,4\n", here [[--reduce 'argmax "price"']])
      assert.equal("3\n", here "--reduce count")
      assert.equal("price,new\n2,\n1,\n4,1\n", here [[--map '{ price = price, new = price == 4 and 1 or nil }' --reduce collect --columns price,new]])
      assert.equal("new,price\n,2\n,1\n1,4\n", here [[--map '{ price = price, new = price == 4 and 1 or nil }' --reduce collect]])
      local list = "echo Bern x | PARLUA --format tsv --map '{ line:match \"(%a+) (%a+)\" }' --reduce collect"
      assert.equal("Bern\tx\n", output(list))
      assert.equal("city,price\n", here [[--filter false --reduce collect --columns city,price]])
    end)
  end)

  it("of rows that are only reduced read the columns that the reducer uses, and no others", function()
    helper.with_directory(function(directory)
      helper.write(directory .. "/c.csv", "city,price\nOslo,2\n")
      local job = require("parlua.command.code").job({ csv = "true", reduce = 'mean "price"' }, { directory .. "/c.csv" }, false)
      assert.same({ price = true }, require("parlua.source.uses").of(job.map, 0, { price = true }))
    end)
  end)

  it("write lines of JSON as rows; a field without a column ends the run, which --resume goes on with", function()
    helper.with_directory(function(directory)
      helper.write(directory .. "/r.jsonl", '{"b":2,"a":1}\n{"a":5}\n{"b":3,"c":4}\n{"d":1}\n')
      local function here(command)
        return run("PARLUA --jsonl --map row --format csv --journal j.db " .. command .. " r.jsonl", { directory = directory })
      end
      local out, status, err = here ""
      assert.same({ "a,b\n1,2\n5,\n", 2 }, { out, status }, err)
      assert.equal(1, select(2, err:gsub("a row has the field 'c', for which there is no column", "")), err)
      out, status, err = here "--resume --columns a,b,c,d"
      assert.same({ "a,b,c,d\n1,2,,\n5,,,\n,3,4,\n,,,1\n", 0 }, { out, status }, err)
    end)
  end)

  it("answer who writes into a pipe line by line before the next line comes", function()
    helper.with_directory(function(directory)
      local kinds = { "--map 'x + 1'", "--chunk 1 --map 'x + 1'", "--engine serial --map 'x + 1'", "--engine threads --filter x",
        "--exec echo", "--journal j.db --map 'x + 1'", "--csv --filter true", "--jsonl --map 'x + 1'" }
      local parts = {}
      for k, kind in ipairs(kinds) do -- 2 is written when something of 1 is there
        parts[k] = ("{ echo 1; echo 1; for i in $(seq 3000); do [ -s %d ] && touch end%d && break; sleep 0.02; done; echo 2; } "
          .. "| timeout 90 PARLUA %s >%d 2>/dev/null &")
          :format(k, k, kind, k)
      end
      run(table.concat(parts, " ") .. " wait", { directory = directory })
      for k, kind in ipairs(kinds) do
        assert.truthy(io.open(directory .. "/end" .. k), kind)
        assert.truthy(helper.read(directory .. "/" .. k):find "\n[23]\n$", kind)
      end
    end)
  end)

  it("are told what is wrong with the code before anything runs", function()
    assert.truthy(refusal "PARLUA --map x ::: a ::: b":find("a task has 2 words, one of each list behind :::", 1, true))
    assert.equal("the option --lines: no file matches 'nosuch*.txt'", refusal "PARLUA --lines --map x 'nosuch*.txt'")
    assert.equal("the option --reduce: a reducer is expected, got function, quantiles itself; it makes a reducer when it is "
      .. "called: quantiles(0.25, 0.5, 0.75)", refusal "PARLUA --reduce quantiles 1 2")
    assert.equal("the code of --map is not complete:\n  x +", refusal "PARLUA --map 'x +' 1")
    assert.equal("the code of --map: syntax error: '=' expected near ')'\n  x ) y\n    ^", refusal "PARLUA --map 'x ) y' 1")
    assert.equal("the code of --filter is empty", refusal "PARLUA --filter '' 1")
    assert.truthy(refusal("PARLUA --map 'x, x * x' 1"):find("the code of --map is several values, and one is wanted", 1, true))
    assert.equal("the option --reduce: there is no reducer 'summ'; did you mean sum?", refusal "PARLUA --reduce summ 1")
    assert.truthy(refusal("PARLUA --with no-file.lua --map x 1"):find("the option --with: cannot open no-file.lua", 1, true))
    assert.equal("the options --each and --map can't go together: --each keeps no results", refusal "PARLUA --each x --map x 1")
    assert.truthy(refusal("PARLUA --begin x --exec true 1"):find("the option --begin goes with --map", 1, true))
  end)
end)

describe("parlua --each, --reduce, --begin, --end, --with", function()
  it("run statements, fold results, and come before and behind", function()
    assert.equal("A\nB\n", output "PARLUA -n 1 --each 'print(x:upper())' a b")
    assert.equal("5050\n", output "seq 100 | PARLUA --reduce sum")
    assert.equal("9 3 99\n", output([[seq 9 | PARLUA --begin 'k = 11' --filter 'x <= 9' --map 'x * k' --reduce 'max' ]]
      .. [[--end 'print(9, 3, value)' | tail -1 | tr '\t' ' ']]))
    assert.equal("end 2 1\n", output [[PARLUA --map 'x + 1' --format none --end 'print("end", summary.tasks, #failures)' 1 a | tr '\t' ' ']])
    assert.equal("[1,2,3]\n", output "seq 3 | PARLUA --reduce 'collect'")
    assert.equal("6\n", output "seq 3 | PARLUA --reduce '{ init = 0, step = function(sum, x) return sum + x end }'")
    local text, status = run "PARLUA --map x --"
    assert.same({ "", 0 }, { text, status })
  end)

  it("point to the line of the code that raises, whatever stands at its end", function()
    for _, code in ipairs { "x.y.z", "x.y.z -- what", "x.y.z --[[ what ]]", "local a = x.y.z", "return x.y.z", "x:y()", "x.y.z()" } do
      for _, command in ipairs { "PARLUA --map ", "PARLUA --engine serial --filter ", "echo a | PARLUA --map " } do
        local words = command:find "echo" and "" or " a"
        local _, status, err = run(command .. helper.quote(code) .. words)
        assert.equal(1, status)
        assert.matches("failed: error: %-%-%l+:1: attempt to ", err)
      end
    end
    local _, _, err = run("PARLUA --map 'local a = 1\n return x.y.z' a")
    assert.matches("--map:2: attempt to index field 'y'", err, 1, true)
    assert.equal("the code of --map is empty", refusal "PARLUA --map '-- nothing' 1")
  end)

  it("tell once what is wrong, in the user's own code", function()
    local text, status, told = run [[PARLUA --map x --end 'local t
      print(t.x)' 1]]
    assert.same({ "1\n", 2 }, { text, status })
    assert.truthy(told:find("^parlua: the code of %-%-end raised an error: %-%-end:2: attempt to index local 't' %(a nil value%)\n"
      .. "parlua: 1 task, [^\n]*\n$"), told)
    assert.equal("the code of --begin raised an error: --begin:1: no", refusal [[PARLUA --begin 'error "no"' --map x 1]])
    text, status, told = run "printf 'a\n2\nb\n' | PARLUA --reduce sum"
    assert.same({ "2\n", 1 }, { text, status })
    assert.truthy(told:find('^parlua: task 1 of %-:1 %("a"%) failed: error: a number is expected, got a string\n'
      .. 'parlua: task 3 of %-:3 %("b"%) failed: [^\n]*\nparlua: 3 tasks, 1 returned, 2 failed, [^\n]*\n$'), told)
    assert.truthy(refusal("PARLUA --reduce '{ 0, function(a, b) return a + b end }' 1"):find("its fields have names: { init = 0, step =", 1, true))
  end)

  it("leave numbers in a journal that are numbers, and texts that are text", function()
    helper.with_directory(function(directory)
      local here = { directory = directory }
      local command = "seq 4 | PARLUA --journal j.db --resume --map 'x == 4 and line or x ~= 3 and x / 2 or nil'"
      assert.equal("0.5\n1\n4\n", output(command, here))
      assert.equal("0.5\n1\n4\n", output(command, here))
      assert.equal("1.5|real\n4|text\n", output(
        "sqlite3 j.db \"select sum(result), typeof(result) from tasks where result is not null group by 2\"", here))
    end)
  end)

  helper.for_each_engine(function(engine)
    it("know helpers, and what was set before", function()
      helper.with_directory(function(directory)
        helper.write(directory .. "/helpers.lua", "function twice(x) return 2 * x end\nlocal M = {}\n"
          .. "function M.add(x) return x + base end\nreturn M\n")
        local command = helper.command(engine) .. " --with helpers.lua --begin 'base = 100' --map 'add(twice(x))' "
        assert.equal("102\n104\n", helper.run("seq 2 | " .. command, { directory = directory }).stdout)
        assert.equal("102\n104\n", helper.run(command .. "1 2", { directory = directory }).stdout)
      end)
    end)

    it("are jobs: journal and resume", function()
      helper.with_directory(function(directory)
        local command = "seq 3 | " .. helper.command(engine) .. " --journal j.db --resume --map 'x * 3'"
        assert.equal("3\n6\n9\n", helper.run(command, { directory = directory }).stdout)
        local again = helper.run(command, { directory = directory })
        assert.equal("3\n6\n9\n", again.stdout)
        assert.truthy(again.stderr:find("3 of them from the journal", 1, true), again.stderr)
      end)
    end)
  end)
end)

describe("parlua -e", function()
  it("runs a job that its code returns, over the words", function()
    assert.equal('{"index":1,"args":["a"],"result":"A"}\n{"index":2,"args":["b"],"result":"B"}\n',
      output "PARLUA -e 'return { map = string.upper }' a b")
    assert.equal("2\n4\n", output "PARLUA --format text -e 'return { arguments = { 1, 2 }, map = function(x) return 2 * x end }'")
    assert.equal("5\n", output "PARLUA -e 'print(5) return { map = 1 }'")
    assert.equal("the job's `map` must be a function, it is a number", refusal "PARLUA -e 'return { arguments = { 1 }, map = 5 }'")
  end)
end)
