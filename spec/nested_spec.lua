--- What a task may do with the script's pools, futures and streams: a forked worker has copies of them, whose workers are not its own.
local helper = require "spec.helper"
local parlua = require "parlua"

describe("inside a task", function()
  helper.for_each_engine(function(engine)
    local with = helper.options(engine)

    it("a submitted call runs in the task, also where the script has a pool of its own", function()
      assert.equal("d", parlua.submit(function() return "d" end):get())
      local results, failures = parlua.map(function(i)
        return (parlua.submit(function(x) return x * 10, "more" end, i):get())
      end, parlua.range(200), with())
      assert.same({}, failures)
      for i = 1, 200 do assert.equal(10 * i, results[i]) end
      assert.equal("d2", parlua.submit(function() return "d2" end):get())
    end)

    it("the failure of a submitted call is raised there, as in the script", function()
      local results = parlua.map(function()
        local future = parlua.submit(function(x) error("no " .. x, 0) end, 5)
        local ok, failure = pcall(future.get, future)
        return tostring(ok) .. " " .. failure.kind .. " " .. failure.message
      end, { 1 }, with())
      assert.equal("false error no 5", results[1])
    end)

    it("nested calls are not held to limits that the command line gives to tasks", function()
      if engine == "serial" then return end
      helper.with_directory(function(directory)
        helper.write(directory .. "/s.lua", [[
          local parlua = require "parlua"
          local results, failures = parlua.map(function(i)
            return parlua.map(function(j) return i * j end, parlua.range(3))[3]
          end, parlua.range(4))
          print(results[4], #failures)
        ]])
        local limits = engine == "process" and { "--timeout 5", "--memory 500M" } or { "--timeout 5" }
        for _, limit in ipairs(limits) do
          local result = helper.run(("%s %s s.lua"):format(helper.command(engine), limit), { directory = directory })
          assert.equal("12\t0\n", result.stdout, result.stderr)
        end
      end)
    end)
  end)

  -- Where workers share nothing with the script, its pools and streams can't be sent to them.
  helper.for_each_engine(function(engine)
    it("a stream of the script is refused, and loses nothing", function()
      local stream = parlua.imap(function(x) return x end, parlua.range(1000), { engine = engine, workers = 2, window = 4, chunk = 1 })
      stream()
      local _, failures = parlua.map(function() return (select(2, stream())) end, parlua.range(4), { engine = engine, workers = 2 })
      assert.equal(4, #failures)
      assert.matches("this stream belongs to the script", failures[1].message)
      local n = 1
      for i, value in stream do
        n = n + 1
        assert.same({ n, n }, { i, value })
      end
      assert.equal(1000, n)
    end)

    it("a future of the script gives what it has, and is not waited for", function()
      local pool = parlua.pool { engine = engine, workers = 1 }
      local done, open = pool:submit(function() return "done" end), pool:submit(function() return "open" end)
      assert.equal("done", done:get())
      local results = parlua.map(function()
        local ok, message = pcall(open.get, open)
        local closed, why = pcall(pool.close, pool)
        return { done:get(), ok or tostring(message), closed or tostring(why), pool:submit(function() return "here" end):get() }
      end, { 1 }, { engine = engine, workers = 1 })
      assert.equal("done", results[1][1])
      if results[1][2] ~= true then assert.matches("belongs to the script", results[1][2]) end
      assert.matches("belongs to the script", results[1][3])
      assert.equal("here", results[1][4])
      assert.equal("open", open:get())
      pool:close()
    end)
  end, { "serial", "process" })
end)
