-- The commands of docs/CLUSTER.md that need several hosts, each run as it stands there.

local lfs = require "lfs"

local cluster = require "spec-cluster.cluster"
local helper = require "spec.helper"

describe("docs/CLUSTER.md:", function()
  local text = helper.read "docs/CLUSTER.md"
  local directory, serial

  setup(function()
    assert.equal("", helper.run("spec-cluster/slurm start").stderr)
    directory = helper.new_directory()
    helper.write(directory .. "/collatz.lua", text:match "```lua\n(%-%- collatz%.lua.-)```")
    helper.write(directory .. "/hosts", "node1\nnode2\nnode3\n")
    assert(os.execute("cp examples/cluster/parlua.sbatch " .. directory) == 0)
    serial = helper.run(helper.quote(helper.parlua) .. " --engine serial collatz.lua 1 1000", { directory = directory }).stdout
    assert.is_true(#serial > 30000)
  end)

  teardown(function()
    assert.equal("", helper.run("spec-cluster/slurm stop").stderr)
    helper.remove(directory)
  end)

  local count = 0
  for command in text:gsub("```.-\n```", ""):gmatch "\n    (%l[^\n]+)" do
    count = count + 1
    it(command, function()
      local result = helper.run(lfs.currentdir() .. "/" .. cluster.on("node1", command), { directory = directory, env = {
        PATH = helper.parlua:match "^(.*)/" .. ":" .. os.getenv "PATH",
        SLURM_CONF = "/run/slurm/slurm.conf",
        SBATCH_WAIT = "1", -- for the end of the job, as with --wait
        OMPI_ALLOW_RUN_AS_ROOT = "1",
        OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = "1",
        OMPI_MCA_plm_rsh_agent = lfs.currentdir() .. "/spec-cluster/ssh",
      } })
      assert.equal(0, result.status, result.stderr)
      local job = result.stdout:match "^Submitted batch job (%d+)"
      local results = job and helper.read(directory .. "/parlua-" .. job .. ".out") or result.stdout
      local messages = job and helper.read(directory .. "/parlua-" .. job .. ".err") or result.stderr
      assert.is_true(results == serial)
      assert.truthy(messages:find "1000 tasks, 1000 returned, 0 failed, [%d.]+ s, mpi engine, %d ranks x %d workers?", messages)
    end)
  end

  it("has three such commands", function() assert.equal(3, count) end)
end)
