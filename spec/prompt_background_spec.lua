--- parlua.background: a call in a worker of its own.
local helper = require "spec.helper"
local parlua = require "parlua"
local host = require "parlua.host"

describe("a call in the background", function()
  it("gives all its results, and sees all that the script has", function()
    local factor = 3
    local future = parlua.background(function(a, b) return factor * a, factor * b end, 1, 2)
    assert.same({ 3, 6 }, { future:get() })
    assert.same({ 3, 6 }, { future:get() })
    assert.is_true(future:done())
  end)

  it("begins at once, whatever the program's pool has to do", function()
    local busy = {}
    for k = 1, host.cores() + 1 do busy[k] = parlua.submit(function() while true do end end) end
    assert.equal(7, parlua.background(function() return 7 end):get())
    for _, future in ipairs(busy) do future:cancel() end
  end)

  it("is a thread where no process can be forked: while a call on threads runs", function()
    helper.with_directory(function(directory)
      local path = directory .. "/go"
      local pool = parlua.pool { engine = "threads", workers = 1 }
      local running = pool:submit(function() repeat until io.open(path) return 5 end)
      repeat running:wait(0.01) until host.threads_in_tasks() > 0
      assert.equal(7, parlua.background(function(x) return x end, 7):get())
      helper.write(path, "")
      assert.equal(5, running:get())
      pool:close()
    end)
    helper.let_threads_rest()
  end)

  it("raises its failure, can be waited for and cancelled, and leaves no worker", function()
    local failing = parlua.background(function() error("no", 0) end)
    local ok, failure = pcall(failing.get, failing)
    assert.is_false(ok)
    assert.equal("no", failure.message)
    assert.equal("error", failing.failure.kind)
    local endless = parlua.background(function() while true do end end)
    assert.is_false(endless:wait(0.01))
    assert.is_true(endless:cancel())
    assert.equal("cancelled", endless.failure.kind)
    assert.is_true(failing.pool.closed)
    assert.is_true(endless.pool.closed)
  end)

  it("refuses what is no function", function()
    assert.has_error(function() parlua.background(5) end, "background: a function is expected, got number")
  end)
end)
