--- Submitted calls, of which many go to a worker together: deaths, cancellations and signals concern those that they are
--- about, and no others.
local helper = require "spec.helper"
local parlua = require "parlua"

local function nap(seconds) require("parlua.host").sleep(seconds) end

describe("submitted calls that are handed out together", function()
  helper.for_each_engine(function(engine)
    it("are cancelled one by one, also amid a chunk that runs", function()
      local pool, futures = parlua.pool { engine = engine, workers = 1 }, {}
      for _ = 1, 2000 do pool:submit(function() end) end -- chunks have grown
      futures[1] = pool:submit(nap, 0.2)
      for k = 2, 400 do futures[k] = pool:submit(function(x) return x end, k) end
      local cancelled = {}
      for k = 390, 400 do cancelled[k] = futures[k]:cancel() end
      for k = 2, 400 do
        if cancelled[k] then
          assert.equal("cancelled", futures[k].failure.kind)
        else
          assert.equal(k, futures[k]:get())
        end
      end
      assert.is_true(cancelled[400])
      pool:close()
    end)

    it("give their results when they have ended, though a long one runs behind them", function()
      helper.with_directory(function(directory)
        local pool, futures = parlua.pool { engine = engine, workers = 1 }, {}
        for _ = 1, 2000 do pool:submit(function() end) end
        for k = 1, 50 do futures[k] = pool:submit(function(x) return x end, k) end
        local long = pool:submit(function(path)
          while not io.open(path) do nap(0.002) end
          return "long"
        end, directory .. "/go")
        for k = 1, 50 do assert.equal(k, futures[k]:get()) end
        assert.is_false(long:done())
        helper.write(directory .. "/go", "")
        assert.equal("long", long:get())
        pool:close()
      end)
    end)

    it("see what their function holds, and the script's state, as it was at each of them", function()
      local pool, futures = parlua.pool { engine = engine, workers = 2 }, {}
      local base
      local list = { 0 }
      for k = 1, 50 do
        base, list[1], _G.spec_global = k, 10 * k, 100 * k
        futures[k] = pool:submit(function(x) return base + list[1] + _G.spec_global + x end, 1000 * k)
      end
      for k = 1, 50 do assert.equal(1111 * k, futures[k]:get()) end
      _G.spec_global = nil
      pool:close()
    end)

    it("give back the script's own tables, which each knows from its function, and copies of its arguments", function()
      local pool, futures = parlua.pool { engine = engine, workers = 1 }, {}
      local held, given = { 1 }, {}
      for k = 1, 400 do
        given[k] = { k }
        local f = k % 2 == 0 and function(t) return t, held end or function(t) error({ t, held }, 0) end
        futures[k] = pool:submit(f, given[k])
      end
      for k = 1, 400 do
        futures[k]:wait()
        local values = k % 2 == 0 and { futures[k]:get() } or futures[k].failure.value
        assert.is_true(not rawequal(given[k], values[1]) and rawequal(held, values[2]), "call " .. k)
        assert.same(given[k], values[1])
      end
      pool:close()
    end)

    it("see strings' methods as they are", function()
      local pool, upper = parlua.pool { engine = engine, workers = 2 }, string.upper
      local function shout(text) return text:upper() end
      assert.equal("A", pool:submit(shout, "a"):get())
      function string.upper(text) return text .. "!" end -- luacheck: ignore 122
      local ok, text = pcall(function() return pool:submit(shout, "a"):get() end)
      string.upper = upper -- luacheck: ignore 122
      assert.same({ true, "a!" }, { ok, text })
      assert.equal("A", pool:submit(shout, "a"):get())
      pool:close()
    end)
  end, { "threads", "process" })
end)

--- A script whose second of four calls has Ctrl-C come, while the script waits in one of several ways.
local interrupted = [[
  local parlua = require "parlua"
  local pool, futures = parlua.pool { engine = %q, workers = 1 }, {}
  local pid, path, is_serial = require("parlua.host").pid(), arg[1], %q == "serial"
  local function wait()
    local ok, cqueues = pcall(require, "cqueues")
    if ok and cqueues.running() then return cqueues.sleep(20) end
    local host = require "parlua.host"
    if not is_serial then return host.sleep(20) end
    repeat host.sleep(0.01) until host.signals_count() > 0
  end
  for k = 1, 4 do
    futures[k] = pool:submit(function()
      if k ~= 2 then return k end
      os.execute(("( until [ -e %%s ]; do sleep 0.01; done; sleep 0.3; kill -INT %%d ) &"):format(path, pid))
      wait()
    end)
  end
  io.open(path, "w"):close()
  local function finish(...)
    print(...)
    local cancelled = 0
    for k = 3, 4 do
      local failure = futures[k].failure
      if failure and failure.kind == "cancelled" and failure.message == "the program was interrupted by SIGINT" then cancelled = cancelled + 1 end
    end
    print(cancelled, futures[1]:get(), select(2, pcall(pool.submit, pool, print)), select(2, pcall(parlua.map, print, { 1 })))
  end
  ]]

local ways = {
  get = "finish(pcall(futures[3].get, futures[3]) == false)",
  wait = "finish(futures[3]:wait())",
  ["wait for all"] = "finish(#parlua.wait(futures) == 4)",
  race = "finish(pcall(parlua.race, { futures[3], futures[4] }) == false)",
  as_completed = "local n = 0 for _ in parlua.as_completed(futures) do n = n + 1 end finish(n == 4)",
}

describe("Ctrl-C while the script waits for submitted calls", function()
  helper.for_each_engine(function(engine)
    -- one worker in all; under mpirun as specs of ranks run, none can be spawned
    local start = engine == "mpi" and helper.mpirun(1) .. " " or ""
    for name, text in pairs(ways) do
      it("ends them, says how many, and lets the script go on: " .. name, function()
        helper.with_directory(function(directory)
          local script = helper.write(directory .. "/script.lua", interrupted:format(engine, engine) .. text)
          local result = helper.run(start .. helper.quote(helper.parlua) .. " " .. script .. " " .. directory .. "/waits",
            { env = { PARLUA_WARN = "" } })
          local why = "the program was interrupted by SIGINT"
          assert.same({ ("true\n2\t1\t%s\t%s\n"):format(why, why), 130 }, { result.stdout, result.status }, result.stderr)
          -- on serial the call that runs ends by itself
          assert.equal(("parlua: interrupted by SIGINT: %d submitted calls are cancelled\n"):format(engine == "serial" and 2 or 3),
            result.stderr)
        end)
      end)
    end
  end)
end)
