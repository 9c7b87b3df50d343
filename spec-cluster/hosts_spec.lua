-- The mpi engine over TCP between hosts that have nothing in common but a bridge.

local cluster = require "spec-cluster.cluster"
local helper = require "spec.helper"

local parlua = helper.quote(helper.parlua)

--- Runs a script in a rank on each host; returns its standard output, after it has ended well.
local function output_of(script, hosts)
  local result
  helper.with_directory(function(directory)
    helper.write(directory .. "/script.lua", 'local parlua = require "parlua"\n' .. script)
    result = helper.run(cluster.mpirun("", hosts) .. parlua .. " " .. directory .. "/script.lua")
  end)
  assert.equal("", result.stderr)
  assert.equal(0, result.status)
  return result.stdout
end

describe("three hosts:", function()
  it("every host works", function()
    local output = output_of [=[
      local hosts = parlua.map(function()
        local until_then = os.clock() + 0.05
        while os.clock() < until_then do end
        return io.open("/proc/sys/kernel/hostname"):read()
      end, parlua.range(30), { chunk = 1 })
      local seen = {}
      for i = 1, hosts.n do seen[hosts[i]] = true end
      print(seen.node1, seen.node2, seen.node3)
    ]=]
    assert.equal("true\ttrue\ttrue\n", output)
  end)

  it("results are those of a serial run, to the byte", function()
    local arguments = "examples/primes.lua 1 20000"
    local serial = helper.run(parlua .. " --engine serial " .. arguments)
    local ranks = helper.run(cluster.mpirun() .. parlua .. " " .. arguments)
    assert.same({ 0, 0 }, { serial.status, ranks.status })
    assert.is_true(#serial.stdout > 100000)
    assert.is_true(serial.stdout == ranks.stdout)
  end)
end)
