-- Memory of a Lua state: for small objects in plain C (spec/c/small.c), and as a script sees it.

local helper = require "spec.helper"

describe("memory for objects", function()
  it("is each object's own, comes back when there is none in it, and is not shared with a forked process", function()
    helper.assert_holds_in_c("small", "src/sys/small.c src/sys/large.c src/sys/huge.c -pthread")
  end)

  helper.for_each_engine(function(engine)
    it("does not grow when a script calls again and again and lets go of the results", function()
      local result = helper.run_parlua("--engine " .. engine .. " -n 2 -", { stdin = [[
        local parlua = require "parlua"
        local function kilobytes()
          for line in io.lines "/proc/self/status" do
            local n = line:match "^VmSize:%s*(%d+)"
            if n then return tonumber(n) end
          end
        end
        local function call()
          local list = parlua.map(function(i) return { a = i, b = "s" .. i } end, parlua.range(4e4))
          assert(list[4e4].a == 4e4 and list[7].b == "s7")
        end
        for _ = 1, 3 do call() end
        local before = kilobytes()
        for _ = 1, 10 do call() end
        print(kilobytes() < before + 32 * 1024 or kilobytes() - before)]] })
      assert.same({ "true\n", "", 0 }, { result.stdout, result.stderr, result.status })
    end)
  end, { "serial", "threads", "process", "mpi" })

  it("goes back to the system when a script has let go of what it held", function()
    local result = helper.run_parlua("-", { stdin = [[
      local function kilobytes()
        for line in io.lines "/proc/self/status" do
          local n = line:match "^VmSize:%s*(%d+)"
          if n then return tonumber(n) end
        end
      end
      local list = {}
      for i = 1, 2e6 do list[i] = { i } end
      local most = kilobytes()
      list = nil
      collectgarbage()
      collectgarbage()
      print(kilobytes() < most - 30 * 1024 or most - kilobytes())]] })
    assert.same({ "true\n", "", 0 }, { result.stdout, result.stderr, result.status })
  end)
end)
