--- The option deadline: no task is begun that would not end in time.
local helper = require "spec.helper"

local parlua_module = require "parlua"

--- Tasks of a fifth of a second, or of what the word says.
local job = [[
  local parlua = require "parlua"
  return {
    arguments = parlua.range(24),
    map = function(x)
      local host = require "parlua.host"
      host.sleep(0.2)
      return x
    end,
  }
]]

describe("the option deadline", function()
  helper.for_each_engine(function(engine)
    it("ends a job in time, with its own status; --resume goes on until all is done", function()
      helper.with_directory(function(directory)
        helper.write(directory .. "/job.lua", job)
        local function run(deadline)
          return helper.run(helper.command(engine) .. " -n 1 --journal j.db --resume -o all.jsonl --deadline " .. deadline
            .. " job.lua", { directory = directory })
        end
        local first = run "2s" -- since the program has begun
        assert.equal(75, first.status)
        assert.equal("", first.stdout)
        local tasks, cancelled = first.stderr:match "(%d+) tasks?, %d+ returned, 0 failed, (%d+) cancelled, [^\n]*stopped: the time is up\n"
        assert.truthy(tasks, first.stderr)
        assert.equal(24, tasks + cancelled)
        assert.truthy(first.stderr:find("the same command with --resume goes on from 'j.db'", 1, true), first.stderr)
        assert.truthy(first.stderr:find("what was done is in 'all.jsonl.partial'", 1, true), first.stderr)
        local last = run "10m"
        assert.equal(0, last.status)
        assert.truthy(last.stderr:find(tasks .. " of them from the journal", 1, true), last.stderr)
        local lines = {}
        for x = 1, 24 do lines[x] = ('{"index":%d,"args":[%d],"result":%d}\n'):format(x, x, x) end
        assert.equal(table.concat(lines), helper.read(directory .. "/all.jsonl"))
      end)
    end)

    it("counts from when the program began; calls that it cuts off say so, and are not taken for whole", function()
      helper.with_directory(function(directory)
        helper.write(directory .. "/script.lua", [[
          local parlua = require "parlua"
          require("parlua.host").sleep(1.2)
          local _, _, summary = parlua.map(tostring, parlua.range(10))
          print(summary.tasks, summary.stopped)
          print((parlua.all(function() return true end, parlua.range(10))))
        ]])
        local result = helper.run(helper.command(engine) .. " --deadline 1s script.lua",
          { directory = directory, env = { PARLUA_WARN = "true" } })
        assert.equal("0\tthe time is up\nfalse\n", result.stdout, result.stderr)
        assert.equal("parlua: map at script.lua:3: the time is up: 0 of 10 tasks are done\n"
          .. "parlua: all at script.lua:5: the time is up: 0 of 10 tasks are done\n", result.stderr)
      end)
    end)

    it("far away changes nothing", function()
      local results, failures, summary = parlua_module.map(function(x) return x end, parlua_module.range(1000),
        helper.options(engine) { deadline = 1e9 })
      assert.same({ 1000, 1000, 0 }, { results.n, summary.returned, #failures })
    end)
  end)

  it("that is over begins nothing", function()
    local results, _, summary = parlua_module.map(tostring, parlua_module.range(1000), { deadline = 1e-3 })
    assert.same({ 0, 1000, true }, { summary.tasks, summary.cancelled, summary.out_of_time })
    assert.is_nil(results[1])
  end)

  it("ends what still runs when it comes", function()
    local result = helper.run_parlua "--deadline 3s --exec 'sleep {}' 0.01 100"
    assert.equal(75, result.status)
    assert.truthy(result.stderr:find("1 task, 1 returned, 0 failed, 1 cancelled", 1, true), result.stderr)
  end)

  it("takes durations in several units, and Slurm's end of the job", function()
    local checks = require("parlua.options.checks").checks
    for text, seconds in pairs { ["23h50m"] = 85800, ["1d2h3m4s"] = 93784, ["90s"] = 90, ["1.5h"] = 5400, ["2m 30s"] = 150 } do
      assert.equal(seconds, checks.seconds({ min = 0 }, text))
    end
    for _, text in ipairs { "1h2", "h1m", "1x2s", "" } do assert.is_nil(checks.seconds({ min = 0 }, text)) end
    local function run(variables)
      return helper.run(variables .. helper.quote(helper.parlua) .. " --deadline slurm --map 'x' 1")
    end
    local result = run "env -u SLURM_JOB_ID "
    assert.equal(2, result.status)
    assert.truthy(result.stderr:find("'slurm' is for jobs of Slurm", 1, true), result.stderr)
    assert.equal("1\n", run("SLURM_JOB_ID=1 SLURM_JOB_END_TIME=" .. os.time() + 1000 .. " ").stdout)
    assert.equal(75, run("SLURM_JOB_ID=1 SLURM_JOB_END_TIME=" .. os.time() - 10 .. " ").status)
  end)
end)
