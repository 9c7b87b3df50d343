--- Sinks and the decisions of a run over a simulated driver: outcomes come in an order of the spec's own.
local simulated = require "parlua.drive.simulated"
local fold = require "parlua.sink.fold"
local list = require "parlua.sink.list"
local parlua = require "parlua"
local plans = require "parlua.sink.plan"
local reduce = require "parlua.sink.reduce"
local search = require "parlua.sink.search"
local stream = require "parlua.sink.stream"
local visit = require "parlua.sink.visit"

local function options(more)
  local all = { engine = "serial", progress = "none", warn = false }
  for name, value in pairs(more or {}) do all[name] = value end
  return all
end

local function refuse() error("no task runs here") end

local function raised(message) return { kind = "error", message = message } end

describe("over a simulated driver", function()
  it("the list of map puts results in their places, in whatever order they come", function()
    local driver = simulated.open { { 5, "e", nil, "g" }, { failed = 4, raised "four" }, { 1, "a", "b", "c" } }
    local results, failures, summary = list.map(refuse, parlua.range(7), options(), { driver = driver })
    assert.same({ "a", "b", "c", nil, "e", nil, "g", n = 7 }, results)
    assert.same({ 1, 4, "four" }, { #failures, failures[1].index, failures[1].message })
    assert.same({ 7, 6, 1, 0 }, { summary.tasks, summary.returned, summary.failed, summary.cancelled })
    assert.same({ "close" }, driver.calls)
  end)

  it("a task is tried again as often as it may be, and its last failure counts", function()
    local driver = simulated.open {
      { failed = 2, raised "first", attempt = 1 }, { failed = 2, raised "second", attempt = 2 },
      { failed = 2, raised "third", attempt = 3 }, { failed = 1, { kind = "memory", message = "full" } },
    }
    local failures = list.each(refuse, parlua.range(2), options { retries = 2 }, { driver = driver })
    assert.same({ "full", 1, "third", 3 },
      { failures[1].message, failures[1].attempts, failures[2].message, failures[2].attempts })
    assert.same({ "again 2 in 0", "again 2 in 0", "close" }, driver.calls)
  end)

  it("the end by max_failures is the n-th failure by index, though others came first", function()
    local driver = simulated.open {
      { failed = 90, raised "90" }, { failed = 50, raised "50" }, { 91, 91, 92 }, { failed = 70, raised "70" },
      { failed = 10, raised "10" }, { 1, 1, 2, 3 },
    }
    local results, failures, summary = list.map(refuse, parlua.range(100), options { max_failures = 2 }, { driver = driver })
    assert.same({ 10, 50 }, { failures[1].index, failures[2].index })
    assert.same({ 50, 2, 50 }, { summary.tasks, summary.failed, summary.cancelled })
    assert.is_nil(results[91])
    assert.same({ "shorten 90", "shorten 70", "shorten 50", "close" }, driver.calls)
  end)

  it("a halt raises the failure with the lowest index", function()
    local driver = simulated.open { { failed = 9, raised "nine" }, { failed = 3, raised "three" }, { failed = 5, raised "five" } }
    local ok, failure = pcall(list.map, refuse, parlua.range(10), options { on_error = "halt" }, { driver = driver })
    assert.same({ false, 3, "three" }, { ok, failure.index, failure.message })
    assert.same({ "shorten 9", "shorten 3", "close" }, driver.calls)
  end)

  it("a loop over imap gets results in order, as soon as their turn has come", function()
    local driver = simulated.open { { 3, 30, 40 }, { 1, 10 }, { failed = 5, raised "five" }, { 6, 60 }, { 2, 20 } }
    local got = {}
    for i, value in stream.imap(refuse, parlua.range(6), options(), { driver = driver }) do
      got[#got + 1] = ("%d=%d@%d"):format(i, value, driver.at)
    end
    assert.same({ "1=10@2", "2=20@5", "3=30@5", "4=40@5", "6=60@5" }, got)
  end)

  it("a loop whose order does not matter gets them as they come", function()
    local driver = simulated.open { { 3, 30, 40 }, { 1, 10, 20 } }
    local got = {}
    for i in stream.imap(refuse, parlua.range(4), options { ordered = false }, { driver = driver }) do got[#got + 1] = i end
    assert.same({ 3, 4, 1, 2 }, got)
  end)

  it("no more is handed out than a window beyond what the loop has taken", function()
    local driver = simulated.open { { 1, 1, 2 }, { 3, 3 } }
    for _ in stream.imap(refuse, parlua.range(3), options { window = 10 }, { driver = driver }) do end -- luacheck: ignore 542
    assert.same({ "ceiling 10", "ceiling 12", "ceiling 13", "close" }, driver.calls)
  end)

  it("blocks of a reduction are handed out further ahead for many workers, until what waits takes too much memory", function()
    local plan = plans.of { init = 0, step = function(a, x) return a + x end, merge = function(a, b) return a + b end }
    local function sink_for(workers)
      local sink = fold.open(plan, true)
      sink:begin { workers = workers, options = {}, last = math.huge }
      return sink
    end
    local function take(sink, block) sink.order:take { first = block, n = 1, bytes = 8, values = { 1 } } end
    for workers, ahead in pairs { [2] = 2 ^ 13, [128] = 2 ^ 16 } do
      local sink = sink_for(workers)
      take(sink, 2)
      assert.equal(ahead, sink:ahead())
    end
    local sink, highest = sink_for(10000), 1
    repeat
      highest = highest + 1
      take(sink, highest)
    until highest >= sink:ahead()
    assert.is_true(highest < 200000, highest)
  end)

  it("a fold takes results in order, and ends where it has enough", function()
    local driver = simulated.open { { 4, "d", "e" }, { failed = 2, raised "two" }, { 1, "a" }, { 3, "c" }, { 6, "f" } }
    local plan = plans.of { init = "", step = function(a, v, i) return a .. v .. i end, stop = function(a) return #a >= 6 end }
    local value, failures, summary = reduce.run_plan(refuse, parlua.range(9), plan, options(), { driver = driver })
    assert.same({ "a1c3d4", 1, 2 }, { value, #failures, failures[1].index })
    assert.same({ 4, 3, 1, 5 }, { summary.tasks, summary.returned, summary.failed, summary.cancelled })
    assert.equal(4, driver.at)
  end)

  it("a search takes the lowest hit, and asks for nothing behind one", function()
    local driver = simulated.open { { 8, "h" }, { 3, "c" }, { 5, "e" } }
    local index, value, failures = search.find(refuse, parlua.range(9), options(), { driver = driver })
    assert.same({ 3, "c", 0 }, { index, value, #failures })
    assert.same({ "shorten 8", "shorten 3", "close" }, driver.calls)
  end)

  it("a job visits outcomes in order, and ends where its visitor does", function()
    local driver = simulated.open { { 2, "b", "c", "d" }, { failed = 1, raised "one" }, { 5, "e" } }
    local seen = {}
    local _, summary = visit.outcomes(refuse, parlua.range(9), options(), function(index, args, result, failure)
      seen[#seen + 1] = ("%d %d %s"):format(index, args[1], failure and failure.message or result)
      return index < 3
    end, { driver = driver })
    assert.same({ "1 1 one", "2 2 b", "3 3 c" }, seen)
    assert.same({ 3, 2, 1 }, { summary.tasks, summary.returned, summary.failed })
  end)

  it("an error of the whole run is raised", function()
    local driver = simulated.open { { 1, 1 }, { broke = "no set-up" } }
    assert.has_error(function() list.map(refuse, parlua.range(5), options(), { driver = driver }) end, "no set-up")
    assert.same({ "cancel", "close" }, driver.calls)
  end)

  it("results stand in for failures where on_error gives some", function()
    local driver = simulated.open { { failed = 2, raised "two" }, { failed = 1, raised "one" } }
    local results, failures, summary = list.map(refuse, parlua.range(2), options {
      on_error = function(failure) if failure.index == 2 then return failure.message end end,
    }, { driver = driver })
    assert.same({ nil, "two", n = 2 }, results)
    assert.same({ 1, 1, 1, 1 }, { #failures, summary.returned, summary.failed, summary.replaced })
  end)

  it("a run that ends though tasks have neither returned nor failed is an error, and no list with holes", function()
    local outcomes = { { 1, "a", "b" }, { failed = 5, raised "five" } }
    local message = "only 3 of 6 tasks have returned or failed, and the run is over. This is a fault of parlua"
    for name, call in pairs {
      map = function(given) list.map(refuse, parlua.range(6), options(), given) end,
      each = function(given) list.each(refuse, parlua.range(6), options(), given) end,
      imap = function(given)
        for _ in stream.imap(refuse, parlua.range(6), options(), given) do end -- luacheck: ignore 542
      end,
    } do
      local ok, raised_message = pcall(call, { driver = simulated.open(outcomes) })
      assert.same({ false, true }, { ok, (tostring(raised_message):find(message, 1, true)) ~= nil }, name .. ": " .. tostring(raised_message))
    end
  end)
end)
