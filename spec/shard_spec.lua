--- Shards of a job, and putting together what they have done.
local helper = require "spec.helper"

local parlua = helper.quote(helper.parlua)

--- A job whose results show a task's number and its random numbers; task 4 fails until there is a file `fixed`.
local job = [[
  local parlua = require "parlua"
  local function values() return { n = 10, "a", "b", "c", nil, "e", "f", "g", "h", "i", "j" } end
  local sources = {
    list = values,
    range = function() return parlua.range(10) end,
    iterator = function() local i = 0 return function() i = i + 1 if i <= 10 then return i, i * i end end end,
    lines = function() return parlua.lines "lines.txt" end,
    product = function() return parlua.product({ 1, 2 }, { "x", "y", "z", "u", "v" }) end,
  }
  return {
    arguments = function(kind) return sources[kind]() end,
    map = function(a, b)
      if parlua.task.index == 4 and not io.open "fixed" then error("no four", 0) end
      return ("%d %s %s %d"):format(parlua.task.index, tostring(a), tostring(b), math.random(1e6))
    end,
  }
]]

local function in_directory(body)
  helper.with_directory(function(directory)
    helper.write(directory .. "/job.lua", job)
    helper.write(directory .. "/lines.txt", "1\n2\n3\n4\n5\n6\n7\n8\n9\nlast")
    body(directory, function(arguments, command)
      local result = helper.run((command or parlua) .. " " .. arguments, { directory = directory })
      return result.stdout, result.status, result.stderr
    end)
  end)
end

describe("--shard", function()
  helper.for_each_engine(function(engine)
    local command = helper.command(engine)

    it("gives the same lines, together, as the whole job, whatever the source", function()
      in_directory(function(_, run)
        for _, kind in ipairs(engine == "mpi" and { "list" } or { "list", "range", "iterator", "lines", "product" }) do
          local whole = run("job.lua " .. kind, command)
          for _, way in ipairs { "", ":block" } do
            if way == "" or kind ~= "iterator" then
              local found = {}
              for k = 1, 3 do
                local text, status = run(("--shard %d/3%s job.lua %s"):format(k, way, kind), command)
                for index, line in text:gmatch '({"index":%d+)([^\n]*)' do
                  found[tonumber(index:match "%d+")] = index .. line .. "\n"
                end
                local has_four = way == "" and k == 1 or way ~= "" and k == 2
                assert.equal(has_four and 1 or 0, status)
              end
              assert.equal(whole, table.concat(found), kind .. way)
            end
          end
        end
      end)
    end)

    it("that was killed resumes alone, and merged journals go on as the whole", function()
      in_directory(function(directory, run)
        local whole = run("job.lua range", command)
        for k = 1, 3 do run(("--shard %d/3 --journal %d.db job.lua range"):format(k, k), command) end
        local _, _, message = run("--shard 1/3 --journal 1.db --resume job.lua range", command)
        assert.truthy(message:find("4 of them from the journal", 1, true), message)
        _, _, message = run("--shard 2/3 --journal 1.db --resume job.lua range", command)
        assert.truthy(message:find("the arguments differ", 1, true), message)
        local text, status, told = run "merge 1.db 2.db 3.db -o all.db"
        assert.same({ "", 1 }, { text, status })
        assert.equal("parlua: 10 tasks from 3 journals\nparlua: 1 task failed\n", told)
        text, status, told = run("--journal all.db --resume job.lua range", command)
        assert.same({ whole, 1 }, { text, status })
        assert.truthy(told:find("10 of them from the journal", 1, true), told)
        helper.write(directory .. "/fixed", "")
        text, status = run("--journal all.db --resume --retry-failed job.lua range", command)
        assert.equal(0, status)
        assert.truthy(text:find('{"index":4,"args":[4],"result":"4 4 nil ', 1, true), text)
      end)
    end)
  end)

  it("of a job that reduces needs a journal; the whole has the value", function()
    in_directory(function(directory, run)
      helper.write(directory .. "/sum.lua", [[local parlua = require "parlua"
        return { arguments = parlua.range(100), map = function(x) return x end, reduce = parlua.sum }]])
      local _, status, message = run "--shard 1/2 sum.lua"
      assert.equal(2, status)
      assert.truthy(message:find("name a file with --journal", 1, true), message)
      for k = 1, 2 do assert.equal("", (run(("--shard %d/2 --journal %d.db sum.lua"):format(k, k)))) end
      run "merge 1.db 2.db -o all.db"
      local text, last, told = run "--journal all.db --resume sum.lua"
      assert.same({ "5050\n", 0 }, { text, last })
      assert.truthy(told:find("100 of them from the journal", 1, true), told)
    end)
  end)

  it("takes Slurm's variables of a job array", function()
    in_directory(function(_, run)
      local variables = "SLURM_ARRAY_TASK_ID=5 SLURM_ARRAY_TASK_MIN=1 SLURM_ARRAY_TASK_STEP=2 SLURM_ARRAY_TASK_COUNT=4 "
      assert.equal("3\n7\n", (run("--shard slurm --format text --map 'x' 1 2 3 4 5 6 7 8", "env " .. variables .. parlua)))
      local _, status, message = run "--shard slurm --map x 1"
      assert.equal(2, status)
      assert.truthy(message:find('"slurm" in a job array', 1, true), message)
      -- some of an array, once more: 3 of these is not the first half
      variables = "SLURM_ARRAY_TASK_ID=3 SLURM_ARRAY_TASK_MIN=3 SLURM_ARRAY_TASK_MAX=7 SLURM_ARRAY_TASK_COUNT=2 "
      local text
      text, status, message = run("--shard slurm --map x 1 2 3", "env " .. variables .. parlua)
      assert.same({ "", 2 }, { text, status })
      assert.truthy(message:find("takes a job array without gaps, and this one has 2 of the numbers from 3 to 7", 1, true), message)
    end)
  end)

  it("is told to be wrong before anything runs", function()
    in_directory(function(_, run)
      for _, value in ipairs { "0/3", "4/3", "1/0", "x", "1/3:odd", "1.5/3" } do
        local text, status, message = run("--shard " .. value .. " job.lua range")
        assert.same({ "", 2 }, { text, status })
        assert.truthy(message:find("wrong value for the option shard", 1, true), message)
      end
      local _, status, message = run "--shard 1/3:block job.lua iterator"
      assert.equal(2, status)
      assert.truthy(message:find("1/3:block needs a known number of tasks", 1, true), message)
      assert.equal(2, select(2, run "--shard 1/3 -e 'print(1)'"))
    end)
  end)

  it("goes with programs and code of the command line", function()
    in_directory(function(_, run)
      assert.equal("2 b\n4 d\n", (run "--shard 2/2 --exec 'echo {#} {}' a b c d"))
      assert.equal("4\n5\n6\n", (run "--shard 2/2:block --map 'x' 1 2 3 4 5 6"))
      assert.equal("4\n8\n", (run("--shard 2/2 --map '2 * x'", "seq 4 | " .. parlua)))
    end)
  end)
end)

describe("parlua merge and parlua export", function()
  it("end silently with status 141 where nobody reads what they write", function()
    in_directory(function(directory, run)
      for _, ending in ipairs { "db", "jsonl" } do
        run((ending == "db" and "--journal" or "-o") .. " all." .. ending .. " --map 'x' $(seq 3000)")
      end
      run "--format jsonl -o all.jsonl --map x $(seq 30000)"
      for _, words in ipairs { "export all.db", "export all.db --format csv", "merge all.db", "merge all.jsonl" } do
        local text, _, stderr = run(("{ %s %s; echo $? >status; } | head -n 1"):format(parlua, words), "")
        assert.truthy(#text > 5, words)
        assert.same({ "", "141\n" }, { stderr, helper.read(directory .. "/status") }, words)
      end
    end)
  end)
end)

describe("parlua merge", function()
  it("writes lines of JSON, and tells of gaps", function()
    in_directory(function(_, run)
      for _, k in ipairs { 1, 3 } do run(("--shard %d/3 --journal %d.db -o %d.jsonl job.lua range"):format(k, k, k)) end
      local text, status, message = run "merge 1.db 3.db"
      assert.equal((run "merge 1.jsonl 3.jsonl"), text)
      assert.equal(1, status)
      assert.equal("parlua: 7 tasks from 2 journals\nparlua: 1 task failed\n"
        .. "parlua: 3 tasks are missing: 2, 5, 8; shard 2/3 is not among these\n", message)
      text, status, message = run "merge 3.jsonl 1.jsonl"
      assert.equal(1, status)
      assert.equal("parlua: 7 tasks from 2 outputs\nparlua: 1 task failed\nparlua: 3 tasks are missing: 2, 5, 8\n", message)
      run "--shard 2/3 -o 2.jsonl --unordered job.lua range"
      run "merge 1.jsonl 2.jsonl 3.jsonl -o all.jsonl"
      assert.equal((run "job.lua range"), (run("all.jsonl", "cat")))
      assert.is_true(#text > 0)
    end)
  end)

  it("takes the task of a line that is cut short for missing", function()
    in_directory(function(directory, run)
      helper.write(directory .. "/fixed", "") -- nothing else is lacking
      run "-o whole.jsonl job.lua range"
      local text = helper.read(directory .. "/whole.jsonl")
      local last = text:match "\n([^\n]+)\n$"
      for _, left in ipairs { 3, 9, 10, 20, #last - 1 } do
        helper.write(directory .. "/cut.jsonl", text:sub(1, #text - 1 - #last + left))
        local merged, status, message = run "merge cut.jsonl"
        assert.equal(text:sub(1, #text - 1 - #last), merged)
        assert.truthy(message:find("of 'cut.jsonl' is cut short: its task is taken for missing", 1, true), message)
        assert.equal(1, status)
      end
    end)
  end)

  it("refuses a part that is named twice, and one in whose place the whole would be written", function()
    in_directory(function(_, run)
      run("--shard 1/2 --journal 1.db -o 1.jsonl job.lua range")
      for _, part in ipairs { "1.db", "1.jsonl" } do
        local _, status, stderr = run("merge " .. part .. " ./" .. part)
        assert.same({ 2, ("parlua: '%s' and './%s' are the same file: name each part once\n"):format(part, part) },
          { status, stderr })
        _, status, stderr = run("merge " .. part .. " -o " .. part)
        assert.equal(2, status)
        assert.truthy(stderr:find("is a part, and -o names it", 1, true), stderr)
      end
    end)
  end)

  it("refuses what does not belong together", function()
    in_directory(function(directory, run)
      run "--shard 1/3 --journal 1.db job.lua range"
      run "--shard 2/4 --journal 2.db job.lua range"
      run "--shard 2/3 --journal list.db job.lua list"
      run "--shard 2/3 --journal seed.db --seed 5 job.lua range"
      helper.write(directory .. "/other.lua", "return { arguments = require('parlua').range(10), map = function(x) return x end }")
      run "--shard 2/3 --journal other.db other.lua"
      run "-o 1.jsonl job.lua range"
      run "-o 2.jsonl --seed 5 job.lua range"
      local function refused(files, why)
        local text, status, message = run("merge " .. files)
        assert.same({ "", 2 }, { text, status })
        assert.truthy(message:find(why, 1, true), message)
      end
      refused("1.db 2.db", "'1.db' and '2.db' do not belong together: they are cut differently (1/3, 2/4)")
      refused("1.db list.db", "the arguments differ")
      refused("1.db seed.db", "the seed differs")
      refused("1.db other.db", "the code of the map function differs")
      refused("1.db 1.jsonl", "'1.db' is a journal and '1.jsonl' is none")
      refused("1.jsonl 2.jsonl -o x.jsonl", "both have task 1, with different results")
      refused("job.lua", "'job.lua' is no output of a job: line 1")
      refused("nothing.db", "cannot read nothing.db")
      refused(directory, ("cannot read %s: Is a directory"):format(directory))
      refused("1.jsonl -o x.db", "can be made of journals only")
      refused("1.db -o 1.db", "is a part, and -o names it")
      refused("--frob 1.db", "parlua merge has no option --frob")
      refused("", "name the journals")
    end)
  end)
end)
