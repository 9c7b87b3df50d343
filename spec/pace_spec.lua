-- The collector while results come that stay: it looks at them less often, and memory stays bounded all the same.

local helper = require "spec.helper"

local function run(engine, script)
  local result = helper.run_parlua("--engine " .. engine .. " -n 2 -", { stdin = 'local parlua = require "parlua"\n' .. script })
  assert.equal("", result.stderr)
  return result.stdout
end

describe("the collector, while map keeps results:", function()
  helper.for_each_engine(function(engine)
    it("results that nobody holds any more do not pile up", function()
      assert.equal("true\n", run(engine, [[
        local most = 0
        for _ = 1, 30 do
          parlua.map(function(i) return { i, i } end, parlua.range(20000))
          most = math.max(most, collectgarbage "count")
        end
        print(most < 16000 or most)]])) -- 2 MB each
    end)

    it("a script's own garbage between small calls is collected", function()
      assert.equal("true\n", run(engine, [[
        local most = 0
        for _ = 1, 30 do
          local text = ("x"):rep(2e6)
          parlua.map(function(i) return { i } end, { 1, 2 })
          most = math.max(most, collectgarbage "count")
        end
        print(most < 32000 or most)]]))
    end)

    it("it runs while a function of the script decides about failures", function()
      assert.equal("true\n", run(engine, [[
        local most = 0
        parlua.map(function() error "no" end, parlua.range(100), { on_error = function(failure)
          local text = ("x"):rep(1e6 + failure.index)
          most = math.max(most, collectgarbage "count" + #text * 0)
          return "skip"
        end })
        print(most < 50000 or most)]]))
    end)

    it("it runs again afterwards, also when the call raises, and has the script's pace", function()
      assert.equal("true true true 200 150 false\n", run(engine, [[
        local function call(f) return pcall(parlua.map, f, parlua.range(100), { on_error = "halt" }) end
        local function returned(i) return { i } end
        call(returned)
        local first = collectgarbage "isrunning"
        local ok = call(function(i) if i == 50 then error "x" end return { i } end)
        local second, pause = collectgarbage "isrunning", collectgarbage("setpause", 150)
        call(returned)
        local own = collectgarbage("setpause", 200)
        collectgarbage() -- LuaJIT goes on with a collection that is nearly done, though it is stopped then
        collectgarbage "stop"
        call(returned)
        print(not ok and first, first, second, pause, own, collectgarbage "isrunning")]]):gsub("\t", " "))
    end)
  end)
end)
