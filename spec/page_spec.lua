--- The page that --report writes, and the trace of --trace.
local helper = require "spec.helper"
local json = require("parlua").json

local script = [[
local parlua = require "parlua"
local function busy(n) local x = 0 for k = 1, n do x = x + k % 7 end return x end
parlua.map(function(i)
  busy(i == 9 and 3e6 or 2e4)
  if i % 10 == 4 then error("no row " .. i .. " in <table>", 0) end
  return i
end, parlua.range(60), { chunk = 1 })
local list = { { name = "long & winding", n = 1 }, { name = "b", n = 2 } }
parlua.map(function(case) return case.n end, list, { seed = 3 })
parlua.reduce(function(i) return i end, parlua.range(2e5), parlua.sum)
parlua.reduce(function(word) return busy(#word * 1e4) end, ("pear & plum apple"):gmatch "%S+", parlua.sum)
]]

--- Are all elements of a page closed in the order in which they were opened?
local function check_nesting(text)
  local void = { meta = true, br = true, th = true, td = true, tr = true } -- th, td, tr: their ends may be left out
  local open = {}
  local body = text:gsub("<style>.-</style>", ""):gsub("<script>.-</script>", ""):gsub("<!doctype html>", "")
  for close, name, rest in body:gmatch "<(/?)(%a[%w]*)([^>]*)>" do
    if not void[name] and rest:sub(-1) ~= "/" then
      if close == "" then
        open[#open + 1] = name
      else
        assert.equal(open[#open], name)
        open[#open] = nil
      end
    end
  end
  assert.same({}, open)
end

describe("the report of a run", function()
  local directory
  before_each(function()
    directory = helper.new_directory()
    helper.write(directory .. "/script.lua", script)
  end)
  after_each(function() helper.remove(directory) end)
  local function run(arguments) return helper.run_parlua(arguments, { directory = directory }) end

  helper.for_each_engine(function(engine)
    it("is one page that needs nothing else, with each call of the script, beside a trace", function()
      local result = run(("--engine %s -n 2 --report run.html --trace run.json script.lua"):format(engine))
      assert.equal(0, result.status, result.stderr)
      local text = helper.read(directory .. "/run.html")
      check_nesting(text)
      assert.is_nil(text:find("https?://") or text:find("<link") or text:find(" src="))
      for number = 1, 4 do assert.truthy(text:find(('<article id="run%d">'):format(number), 1, true)) end
      local first, second, third = text:match '(<article id="run1">.-</article>)(.-</article>)(.-</article>)'
      assert.truthy(first:find("<b>60</b><span>tasks</span>", 1, true))
      assert.truthy(first:find("<b>6</b><span>failed</span>", 1, true))
      for _, title in ipairs { "Where the workers&#39; time went", "Timeline", "Throughput, tasks a second",
        "How long tasks took", "Slowest", "Failures", "Failures over time, by kind", "Memory", "What was run" } do
        assert.truthy(first:find("<h3>" .. title .. "</h3>", 1, true), title)
      end
      -- the longest task is among the slowest, failures with other numbers are one group
      assert.truthy(first:find('<tr><td>9<td class="r">', 1, true))
      assert.truthy(first:find('<td class="r">6<td>error<td>no row 4 in &lt;table&gt;', 1, true))
      assert.truthy(first:find("<code>" .. engine .. "</code>", 1, true))
      assert.truthy(first:find("script.lua:3", 1, true) and first:find("range(1, step 1, 60 tasks)", 1, true))
      assert.truthy(second:find("long &amp; winding", 1, true) and second:find("<th>seed<td><code>3</code>", 1, true))
      assert.truthy(first:find("<th>seed<td><code>0 in call 1</code>", 1, true))
      assert.truthy(third:find("<b>200k</b><span>tasks</span>", 1, true) or third:find("<b>2e+05</b>", 1, true))
      local slow = third:match "<h3>Slowest</h3>(.-)</section>" -- of tasks in a row, the first one's arguments
      assert.truthy(slow:find "<td>(%d+) to %d+<td class=\"r\">[^<]*each<td>%d+<td><code>%1, %.%.%.</code>"
        or slow:find "<td>(%d+)<td class=\"r\">[^<]*<td>%d+<td><code>%1</code>", slow)
      local fourth = text:match('<article id="run4">.-</article>') -- a fold over an iterator
      assert.truthy(fourth:find "<h3>Slowest</h3>.-<code>[^<]*pear", fourth)
      assert.truthy(first:find "<span>speed%-up, of %d+</span>")
      assert.truthy(first:find("Each bar is a task. Red ones failed.", 1, true))
      for share in first:gmatch "<b>([%d.]+)%%</b>" do assert.is_true(tonumber(share) <= 100) end

      -- a trace is JSON, with a piece for all tasks
      local events, tasks, failed, runs = json.decode(helper.read(directory .. "/run.json")), 0, 0, 0
      for _, event in ipairs(events) do
        if event.cat == "tasks" then
          assert.equal(event.args.last - event.args.first + 1, event.args.tasks)
          assert.is_true(event.ts >= 0 and event.dur >= 0 and event.pid > 0 and event.tid > 0)
          tasks = tasks + event.args.tasks
        elseif event.cat == "failures" then
          failed = failed + 1
        elseif event.cat == "runs" then
          runs = runs + 1
        end
      end
      assert.same({ 60 + 2 + 2e5 + 4, 6, 4 }, { tasks, failed, runs })
    end)
  end)

  it("is of ranks too", function()
    if not helper.has_mpi then return end
    local result = run("--engine mpi -n 2 --report run.html script.lua")
    assert.equal(0, result.status, result.stderr)
    local text = helper.read(directory .. "/run.html")
    assert.truthy(text:find("<b>60</b><span>tasks</span>", 1, true))
    assert.truthy(text:find("<th>workers<td><code>4</code>", 1, true))
  end)

  it("can be made of a journal", function()
    assert.equal(0, run("--engine threads -n 2 --journal run.db script.lua").status)
    local result = run("report run.db")
    assert.equal(0, result.status, result.stderr)
    assert.equal("parlua: the report is in 'run.html'\n", result.stderr)
    local text = helper.read(directory .. "/run.html")
    check_nesting(text)
    assert.truthy(text:find("<b>60</b><span>tasks</span>", 1, true) and text:find("no row 4 in &lt;table&gt;", 1, true))
    assert.truthy(text:find("<td>9<td", 1, true) and text:find("<code>9</code>", 1, true))
    assert.truthy(text:find("<th>seed<td><code>0 in call 1</code>", 1, true)
      and text:find("<th>seed<td><code>3</code>", 1, true))
    assert.equal(0, run("report run.db -o other.html").status)
    assert.truthy(helper.read(directory .. "/other.html"):find "</html>")
    assert.equal(2, run("report none.db").status)
  end)

  it("has all calls also when the script ends by os.exit, and many of them", function()
    helper.write(directory .. "/many.lua", [[
      local parlua = require "parlua"
      for i = 1, 40 do parlua.map(tostring, { i }, { engine = "serial" }) end
      os.exit(3)]])
    assert.equal(3, run("--report run.html many.lua").status)
    local text = helper.read(directory .. "/run.html")
    assert.truthy(text:find('id="run30"', 1, true))
    assert.truthy(text:find("10 more runs are not shown", 1, true))
  end)

  it("says what is the matter before any task runs", function()
    for _, option in ipairs { "report", "trace" } do
      local result = run(("--%s nowhere/x script.lua"):format(option))
      assert.equal(1, result.status)
      assert.truthy(result.stderr:find(("cannot write the %s 'nowhere/x': No such file or directory"):format(option), 1,
        true), result.stderr)
    end
  end)
end)

describe("what a report advises", function()
  local recorder_module = require "parlua.report.recorder"
  local figures = require "parlua.report.figures"

  local function advice_of(recorder, ended)
    local found = figures.of(recorder, ended)
    return table.concat(figures.advice(recorder, found, figures.stragglers(recorder)), "\n"), found
  end

  it("names a task that is most of the run", function()
    local recorder = recorder_module.new(0, 2)
    for i = 1, 9 do recorder:chunk(1, i, i, 0.1, i * 0.1) end
    recorder:chunk(2, 10, 10, 9, 9)
    local text, found = advice_of(recorder, 9)
    assert.truthy(text:find("Task 10 alone took 9.0 s of 9.0 s", 1, true), text)
    assert.truthy(math.abs(found.speedup - 1.1) < 1e-9)
    local sum = 0
    for _, part in ipairs(found.parts) do sum = sum + part.seconds end
    assert.truthy(math.abs(sum - 18) < 1e-6)
  end)

  it("counts the time of workers whose rank gave up in the midst of the run: no share is above 100 %", function()
    local recorder = recorder_module.new(0, 6)
    for worker = 1, 6 do recorder:chunk(worker, worker, worker, 0.1, 0.1) end
    recorder.workers = 2 -- those of the summary
    local _, found = advice_of(recorder, 1)
    local sum = 0
    for _, part in ipairs(found.parts) do
      assert.is_true(part.seconds <= found.capacity, part.name)
      sum = sum + part.seconds
    end
    assert.truthy(math.abs(sum - 6) < 1e-6 and math.abs(found.capacity - 6) < 1e-6)
  end)

  it("tells of a source that is slower than the workers, and of a slow script", function()
    local sentences = { source = "Workers waited for arguments", script = "for the script to take results" }
    for what, sentence in pairs(sentences) do
      local recorder = recorder_module.new(0, 2)
      for i = 1, 50 do recorder:chunk(i % 2 + 1, i, i, 0.01, i * 0.2) end
      recorder.spent[what] = 9
      assert.truthy(advice_of(recorder, 10):find(sentence, 1, true))
    end
  end)

  it("tells of tasks that are too short, and what to do for the source that they have", function()
    local recorder = recorder_module.new(0, 2)
    for i = 1, 100 do recorder:chunk(i % 2 + 1, 10 * i - 9, 10 * i, 1e-5, i * 1e-4) end
    assert.truthy(advice_of(recorder, 0.01):find("A task takes 1.0 us.*or fold results with parlua.reduce%."))
    recorder.spent.source = 1e-4
    assert.truthy(advice_of(recorder, 0.01):find("A task takes 1.0 us.*a source that costs nothing to send"))
  end)

  it("draws the throughput of a few tasks as steps that hold several", function()
    local chart = require "parlua.report.chart"
    local recorder = recorder_module.new(0, 2)
    for i = 1, 10 do recorder:chunk(i % 2 + 1, i, i, 0.2, i * 0.2) end
    local function steps(points)
      local drawn = chart.over_time({ { name = "rate", class = "rate", values = recorder.bins_tasks } }, { seconds = 2,
        width = recorder.width, bins = recorder.bins, scale = 1, show = tostring, label = "rate", points = points })
      return math.floor(select(2, drawn:match(' d="([^"]+)"'):gsub("L", "")) / 2)
    end
    assert.is_true(steps(5) <= 5 and steps() > 60, steps(5))
  end)

  it("names stragglers", function()
    local recorder = recorder_module.new(0, 4)
    for i = 1, 80 do
      local worker = i % 4 + 1
      recorder:chunk(worker, i, i, worker == 3 and 0.3 or 0.1, i * 0.1)
    end
    assert.truthy(advice_of(recorder, 8):find("Worker 3 took 3.0 times as long", 1, true))
  end)

  it("keeps to its memory, whatever the length of the run", function()
    local recorder = recorder_module.new(0, 1000)
    for i = 1, 5000 do recorder:chunk(i % 1000 + 1, 10 * i - 9, 10 * i, 5, i * 3) end
    assert.is_nil(recorder.pieces)
    local busy, tasks = 0, 0
    for k = 0, recorder.rows * recorder.bins - 1 do busy = busy + recorder.bins_busy[k] end
    for k = 0, recorder.bins - 1 do tasks = tasks + recorder.bins_tasks[k] end
    assert.truthy(math.abs(busy - recorder.busy) < 5)
    assert.equal(50000, tasks)
  end)
end)
