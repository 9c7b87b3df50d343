--- The page of a report: one file of HTML, which needs no network. Light or dark as the reader has it, and for paper
--- and phones too.
local chart = require "parlua.report.chart"
local figures_module = require "parlua.report.figures"
local recorder_module = require "parlua.report.recorder"
local units = require "parlua.report.units"
local style = require "parlua.report.style"
local time = require "parlua.report.time"

local M = {}

local MOST_WORKERS = 64  -- rows of the table of workers
local MOST_GROUPS = 20   -- of failures
local TASKS_A_POINT = 2  -- of the throughput: of fewer than that, it would only show when each ended

local escape, short = chart.escape, units.short_duration
local count_text = chart.count_text

local function put(out, ...) out[#out + 1] = select("#", ...) > 1 and (...):format(select(2, ...)) or (...) end

local function tile(out, value, name, detail)
  put(out, '<div class="tile"><b>%s</b><span>%s</span>%s</div>', escape(value), escape(name),
    detail and "<small>" .. escape(detail) .. "</small>" or "")
end

--- One thing a paragraph; `class` of its box.
local function section(out, title, body, note)
  if not body or body == "" then return end
  put(out, "<section><h3>%s</h3>", escape(title))
  if note then put(out, '<p class="note">%s</p>', escape(note)) end
  out[#out + 1] = body
  put(out, "</section>")
end

local CLASSES = { "work", "start", "source", "sink", "between", "finish", "unused" }

local function put_parts(figures)
  local out, list, legend = {}, {}, {}
  for k, part in ipairs(figures.parts) do
    local share = part.seconds / figures.capacity
    list[k] = { name = part.name, share = share, class = CLASSES[k] }
    if share >= 0.005 or k == 1 then
      legend[#legend + 1] = ('<li><i class="%s"></i>%s <b>%.1f%%</b></li>'):format(CLASSES[k], escape(part.name),
        100 * share)
    end
  end
  out[1] = chart.stack(list)
  out[2] = '<ul class="legend">' .. table.concat(legend) .. "</ul>"
  return table.concat(out)
end

local function put_slow(recorder)
  if #recorder.slow == 0 then return nil end
  local has_arguments = false
  for _, one in ipairs(recorder.slow) do has_arguments = has_arguments or (one.arguments or "") ~= "" end
  local out = { '<div class="wide"><table><tr><th>task<th class="r">time<th>worker' }
  put(out, "%s</tr>", has_arguments and "<th>arguments" or "")
  for _, one in ipairs(recorder.slow) do
    local is_one = one.first == one.last
    local arguments = escape(one.arguments or "") .. (is_one and "" or ", ...")
    put(out, '<tr><td>%s<td class="r">%s%s<td>%.0f%s</tr>',
      is_one and ("%.0f"):format(one.first) or ("%.0f to %.0f"):format(one.first, one.last), escape(short(one.seconds)),
      is_one and "" or " each", one.worker, has_arguments and "<td><code>" .. arguments .. "</code>" or "")
  end
  put(out, "</table></div>")
  return table.concat(out)
end

local function put_failures(recorder)
  local list = recorder.groups:sorted()
  if #list == 0 then return nil end
  local out = { '<div class="wide"><table><tr><th class="r">count<th>kind<th>message<th>first task</tr>' }
  for k = 1, math.min(#list, MOST_GROUPS) do
    local group = list[k]
    put(out, '<tr><td class="r">%.0f<td>%s<td>%s%s<td>%.0f</tr>', group.count, escape(group.kind),
      escape(group.message), group.traceback and "<details><summary>traceback of the first</summary><pre>"
      .. escape(group.traceback) .. "</pre></details>" or "", group.first)
  end
  put(out, "</table></div>")
  if #list > MOST_GROUPS then put(out, "<p>and %d other messages</p>", #list - MOST_GROUPS) end
  return table.concat(out)
end

local FAILED_CLASSES = { error = "f1", timeout = "f2", crash = "f3", memory = "f4", unsendable = "f5" }

local function put_kinds(recorder, wall)
  local series, legend = {}, {}
  for kind, values in pairs(recorder.bins_failed) do
    series[#series + 1] = { name = kind, class = FAILED_CLASSES[kind] or "f1", values = values }
  end
  table.sort(series, function(a, b) return a.name < b.name end)
  for k, one in ipairs(series) do legend[k] = ('<li><i class="%s"></i>%s</li>'):format(one.class, escape(one.name)) end
  local drawn = chart.over_time(series, { seconds = wall, width = recorder.width, bins = recorder.bins, scale = 1,
    is_count = true, show = count_text, label = "failures over time" })
  return drawn and drawn .. '<ul class="legend">' .. table.concat(legend) .. "</ul>"
end

local function put_memory(recorder, wall)
  if not recorder.has_memory then return nil end
  local own, children = recorder.bins_memory, recorder.bins_children
  local first = 0
  while own[first] == 0 and first < recorder.bins - 1 do first = first + 1 end
  for k = 0, recorder.bins - 1 do -- bins in which nobody looked are as the one before, or as the first
    local from = k < first and first or own[k] == 0 and k - 1 or k
    own[k], children[k] = own[from], children[from]
  end
  local drawn = chart.over_time({ { name = "the script's process", class = "memory", values = own },
    { name = "its workers on this host", class = "children", values = children } }, { seconds = wall,
      width = recorder.width, bins = recorder.bins, is_level = true, scale = 1, show = chart.bytes_text,
      label = "memory" })
  return drawn and drawn .. '<ul class="legend"><li><i class="memory"></i>the script\'s process</li><li><i class='
    .. '"children"></i>its workers on this host</li></ul>'
end

local function put_workers(recorder, wall, host_of, stragglers)
  local slow, list = {}, {}
  for _, one in ipairs(stragglers) do slow[one.worker] = one.times end
  for worker, own in pairs(recorder.by_worker) do list[#list + 1] = { worker = worker, own = own } end
  if #list < 2 then return nil end
  table.sort(list, function(a, b)
    local first, second = slow[a.worker] or 0, slow[b.worker] or 0
    if first ~= second then return first > second end
    return a.worker < b.worker
  end)
  local out = { '<div class="wide"><table><tr><th>worker<th>host<th class="r">tasks<th class="r">busy<th class="r">'
    .. "a task<th></tr>" }
  for k = 1, math.min(#list, MOST_WORKERS) do
    local worker, own = list[k].worker, list[k].own
    put(out, '<tr><td>%.0f<td>%s<td class="r">%.0f<td class="r">%.0f%%<td class="r">%s<td>%s</tr>', worker,
      escape(host_of(worker)), own.tasks, math.min(100, 100 * own.busy / wall),
      short(own.busy / math.max(own.tasks, 1)),
      slow[worker] and ('<em class="warn">%.1f times the median</em>'):format(slow[worker]) or "")
  end
  put(out, "</table></div>")
  if #list > MOST_WORKERS then put(out, "<p>and %d more workers</p>", #list - MOST_WORKERS) end
  return table.concat(out)
end

local ABOUT = { { "command", "command" }, { "place", "call at" }, { "source", "arguments" }, { "engine", "engine" },
  { "workers", "workers" }, { "seed", "seed" }, { "options", "options" }, { "hosts", "hosts" },
  { "version", "versions" }, { "pid", "process number" } }

local function put_about(about)
  local out = { "<table>" }
  for _, pair in ipairs(ABOUT) do
    local value = about[pair[1]]
    if value ~= nil and value ~= "" then
      put(out, "<tr><th>%s<td><code>%s</code></tr>", pair[2], escape(type(value) == "number" and ("%.0f"):format(value)
        or value))
    end
  end
  put(out, "</table>")
  return table.concat(out)
end

---@class parlua.RecordedRun
---@field recorder parlua.Recorder
---@field ended number by the recorder's clock
---@field about table<string, string|number> what was run: command, place, engine, workers, seed, options, hosts, ...
---@field wall_began number since 1970
---@field host_of fun(worker: integer): string
---@field summary { tasks: integer, failed: integer, cancelled: integer, resumed: integer?, outcome: string? }

local ZOOM = '<div class="zoom"><p class="buttons"><button data-by="0.5" title="zoom out">&minus;</button>'
  .. '<button data-by="2" title="zoom in">+</button></p><div class="scroll">'

--- What the timeline shows, in words.
local function timeline_note(recorder)
  if not recorder.pieces then return "The stronger the colour, the busier." end
  local note = recorder.chunks < recorder.tasks and "Each bar is a chunk: tasks that were handed out together."
    or "Each bar is a task."
  return note .. (recorder.failed_tasks and " Red ones failed." or "")
end

--- A run as a part of the page.
---@param run parlua.RecordedRun
---@param number integer
---@return string
function M.run(run, number)
  local out, recorder, summary = {}, run.recorder, run.summary
  local figures = figures_module.of(recorder, run.ended)
  local stragglers = figures_module.stragglers(recorder)
  local wall = figures.wall
  put(out, '<article id="run%d"><h2>Run %d%s</h2>', number, number, run.about.place and ": " .. escape(run.about.place)
    or "")
  put(out, '<p class="note">%s%s</p>', escape(time.text(run.wall_began):sub(1, 19)), summary.outcome
    and ', <em class="warn">ended early: ' .. escape(summary.outcome) .. "</em>" or "")
  put(out, '<div class="tiles">')
  tile(out, short(wall), "wall time")
  tile(out, count_text(summary.tasks), summary.tasks == 1 and "task" or "tasks", summary.resumed
    and ("%.0f from the journal"):format(summary.resumed))
  tile(out, count_text(summary.failed), "failed", summary.cancelled > 0 and ("%.0f cancelled"):format(
    summary.cancelled))
  tile(out, ("%.2f"):format(figures.speedup), ("speed-up, of %.0f"):format(recorder.workers))
  tile(out, ("%.0f%%"):format(100 * figures.efficiency), "efficiency")
  tile(out, (units.rate(recorder.tasks / wall):gsub(" tasks", "")), "throughput")
  put(out, "</div>")
  local advice = figures_module.advice(recorder, figures, stragglers)
  if #advice > 0 then
    put(out, '<section class="advice"><h3>Advice</h3><ul>')
    for _, sentence in ipairs(advice) do put(out, "<li>%s</li>", escape(sentence)) end
    put(out, "</ul></section>")
  end
  section(out, "Where the workers' time went", put_parts(figures), ("%s of %.0f workers; tasks took %s together")
    :format(short(figures.capacity), recorder.workers, short(recorder.busy)))
  local group = recorder.workers / recorder.rows
  local function label(row)
    if group <= 1 then return "worker " .. row + 1 end
    return ("%d-%d"):format(math.ceil(row * group) + 1, math.ceil((row + 1) * group))
  end
  section(out, "Timeline", ZOOM .. chart.timeline(recorder, wall, label) .. "</div></div>", timeline_note(recorder))
  section(out, "Throughput, tasks a second", chart.over_time({ { name = "tasks a second", class = "rate",
    values = recorder.bins_tasks } }, { seconds = wall, width = recorder.width, bins = recorder.bins, scale = 1,
      show = count_text, label = "throughput", points = recorder.tasks / TASKS_A_POINT }))
  local marks = {}
  for _, pair in ipairs { { "median", 0.5 }, { "99%", 0.99 } } do
    local seconds = figures_module.quantile(recorder, pair[2])
    if seconds > 0 then marks[#marks + 1] = { name = pair[1] .. " " .. short(seconds), seconds = seconds } end
  end
  section(out, "How long tasks took", chart.distribution(recorder.durations, recorder_module.LEAST,
    recorder_module.MOST - recorder_module.LEAST + 1, marks), recorder.chunks < recorder.tasks
    and "Of tasks that were handed out together, each counts with their mean." or nil)
  section(out, "Slowest", put_slow(recorder))
  section(out, "Failures", put_failures(recorder))
  section(out, "Failures over time, by kind", put_kinds(recorder, wall))
  section(out, "Memory", put_memory(recorder, wall))
  section(out, "Workers", put_workers(recorder, wall, run.host_of, stragglers))
  section(out, "What was run", put_about(run.about))
  put(out, "</article>")
  return table.concat(out)
end

--- The whole page.
---@param title string
---@param runs string[] what M.run gave
---@param left_out integer runs that are not shown
---@return string
function M.whole(title, runs, left_out)
  local out = {}
  put(out, '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width='
    .. 'device-width, initial-scale=1"><meta name="color-scheme" content="light dark"><title>')
  put(out, escape(title))
  put(out, "</title><style>")
  out[#out + 1] = style.css
  put(out, "</style></head><body><main><header><h1>")
  put(out, escape(title))
  put(out, "</h1></header>")
  for _, text in ipairs(runs) do out[#out + 1] = text end
  if left_out > 0 then put(out, "<p>%d more runs are not shown.</p>", left_out) end
  put(out, "</main><script>")
  out[#out + 1] = style.script
  put(out, "</script></body></html>\n")
  return table.concat(out)
end

return M
