--- parlua merge: puts together what the shards of a job have done. Journals become one journal, from which the whole
--- job goes on by --resume, or lines of JSON; outputs (lines of JSON, each with its index) become one.
local common = require "parlua.common"
local files = require "parlua.journal.file"
local json = require "parlua.wire.json"
local json_values = require "parlua.wire.json_values"
local outputs = require "parlua.job.output"
local shards = require "parlua.job.shard"
local texts = require "parlua.job.text"
local words_module = require "parlua.command.words"

local M = {}

local RETURNED, LACKING = 0, 1 -- exit statuses
local MOST_RANGES = 8           -- of missing tasks that are named

local USAGE = "parlua merge: name the journals (or outputs) of the shards, and the file for the whole: "
  .. "parlua merge a.db b.db -o all.db"

local function is_journal(path)
  local file, message = io.open(path, "rb")
  if not file then error("cannot read " .. message, 0) end
  local head, trouble = file:read(15)
  file:close()
  if trouble then error(("cannot read %s: %s"):format(path, trouble), 0) end
  return head == "SQLite format 3"
end

-- ---- what is missing ----

--- Notes tasks in ascending order, and where there are gaps.
local function new_gaps()
  return { last = 0, missing = 0, ranges = {} }
end

local function note(gaps, index)
  if index > gaps.last + 1 then
    gaps.missing = gaps.missing + index - gaps.last - 1
    if #gaps.ranges < MOST_RANGES then gaps.ranges[#gaps.ranges + 1] = { gaps.last + 1, index - 1 } end
  end
  gaps.last = index
end

--- Tells of gaps and failures. Returns the exit status.
local function tell(gaps, total, failed, absent)
  if total then note(gaps, total + 1) end
  if failed > 0 then texts.say("%s failed", common.count(failed, "task")) end
  if gaps.missing == 0 then return failed > 0 and LACKING or RETURNED end
  local parts, named = {}, 0
  for k, range in ipairs(gaps.ranges) do
    parts[k] = range[1] == range[2] and ("%.0f"):format(range[1]) or ("%.0f to %.0f"):format(range[1], range[2])
    named = named + range[2] - range[1] + 1
  end
  if named < gaps.missing then parts[#parts + 1] = "..." end
  texts.say("%s missing: %s%s", gaps.missing == 1 and "1 task is" or ("%.0f tasks are"):format(gaps.missing),
    table.concat(parts, ", "), absent and "; " .. absent or "")
  return LACKING
end

-- ---- journals ----

---@class parlua.MergedPart
---@field path string
---@field file parlua.JournalFile
---@field about table script, captured, source, seed, results
---@field place table what the label of its source says

local COLUMNS = { "script", "captured", "source", "seed", "results" }

local function open_part(path)
  local file = files.open(path, { resume = true })
  local about = {}
  local ok, message = pcall(function()
    file:once("SELECT script, captured, source, seed, results FROM runs WHERE run = 1", function(statement)
      for k, name in ipairs(COLUMNS) do about[name] = files.column(statement, k - 1) end
    end)
    if not about.source then error(("the journal '%s' holds no run"):format(path), 0) end
    if file:value("SELECT count(*) FROM runs") > 1 then
      error(("the journal '%s' is of a script with several calls, not of a job"):format(path), 0)
    end
  end)
  if not ok then
    file:release()
    error(message, 0)
  end
  local place = shards.read_label(about.source) or { first = 1, step = 1, whole = about.source }
  return { path = path, file = file, about = about, place = place }
end

local DIFFERENCES = {
  script = "the code of the map function differs", captured = "a variable that the map function uses differs",
  seed = "the seed differs", results = "they are of different kinds of calls",
}

--- Raises where two journals are not of the same job.
local function compare(first, other)
  local function refuse(what)
    error(("'%s' and '%s' do not belong together: %s"):format(first.path, other.path, what), 0)
  end
  for name, what in pairs(DIFFERENCES) do
    if first.about[name] ~= other.about[name] then refuse(what) end
  end
  if first.place.whole ~= other.place.whole then
    refuse(("the arguments differ (%s, %s)"):format(first.place.whole, other.place.whole))
  end
  local a, b = first.place, other.place
  if a.count and b.count and (a.count ~= b.count or a.is_block ~= b.is_block) then
    refuse(("they are cut differently (%d/%d, %d/%d)"):format(a.number, a.count, b.number, b.count))
  end
end

--- Which shards have no journal here, in words; nil: none.
local function absent_shards(parts)
  local count = parts[1].place.count
  if not count then return nil end
  local seen, absent = {}, {}
  for _, part in ipairs(parts) do
    if not part.place.number then return nil end
    seen[part.place.number] = true
  end
  for k = 1, count do
    if not seen[k] then absent[#absent + 1] = ("%d/%d"):format(k, count) end
  end
  if #absent == 0 then return nil end
  return (#absent == 1 and "shard %s is" or "shards %s are"):format(table.concat(absent, ", ")) .. " not among these"
end

--- Calls visit(index, part, local index, status) for each recorded task, in the order of the whole.
local function each_task(parts, visit)
  local tasks = {}
  for p, part in ipairs(parts) do
    part.file:once("SELECT task, status FROM tasks WHERE run = 1 ORDER BY task", function(statement)
      local own = files.column(statement, 0)
      tasks[#tasks + 1] = { part.place.first + (own - 1) * part.place.step, p, own, files.column(statement, 1) }
    end)
  end
  table.sort(tasks, function(a, b)
    if a[1] ~= b[1] then return a[1] < b[1] end
    return a[4] > b[4] -- of a task that is in two journals, the one that returned
  end)
  local last
  for _, one in ipairs(tasks) do
    if one[1] ~= last then visit(one[1], parts[one[2]], one[3], one[4]) end
    last = one[1]
  end
end

local COPY = [[INSERT OR IGNORE INTO tasks (run, task, hash, status, result, kind, message, traceback, attempts,
  seconds, worker, host, arguments, value, ended) SELECT run, %.0f + (task - 1) * %.0f, hash, status, result, kind,
  message, traceback, attempts, seconds, worker, host, arguments, value, ended FROM part.tasks
  WHERE run = 1 AND status = '%s']]

--- Writes a journal of the whole.
local function write_journal(parts, path)
  local about = parts[1].about
  local target = files.open(path, { force = true })
  local ok, message = pcall(function()
    target:once("INSERT OR REPLACE INTO runs VALUES (1, ?, ?, ?, ?, ?)", nil, about.script, about.captured,
      parts[1].place.whole, about.seed, about.results)
    for _, status in ipairs { "returned", "failed" } do -- of a task that is in two, the one that returned
      for _, part in ipairs(parts) do
        target:once("ATTACH ? AS part", nil, part.path)
        target:execute(COPY:format(part.place.first, part.place.step, status))
        target:execute "DETACH part"
      end
    end
  end)
  target:release()
  if not ok then error(message, 0) end
end

local SELECT = "SELECT status, result, kind, message, arguments FROM tasks WHERE run = 1 AND task = ?"

--- Writes lines of JSON, as a job does.
local function write_lines(parts, output)
  local buffer = output.buffer
  local codec = require "parlua.codec"
  each_task(parts, function(index, part, own)
    part.file:once(SELECT, function(statement)
      local value, kind = files.column(statement, 1)
      if kind == files.BLOB then value = codec.decode(value, { functions = false }) end
      buffer:put('{"index":', ("%.0f"):format(index), ',"args":', files.column(statement, 4) or "null")
      if files.column(statement, 0) == "returned" then
        buffer:put ',"result":'
        json.put(buffer, value, "/result")
        buffer:put "}\n"
      else
        buffer:put ',"error":{"kind":'
        json.put(buffer, files.column(statement, 2))
        buffer:put ',"message":'
        json.put(buffer, files.column(statement, 3))
        buffer:put "}}\n"
      end
    end, own)
    words_module.settle(output)
  end)
end

local function open_output(path)
  local output, message = outputs.open(path)
  if not output then error(message, 0) end
  return output
end

local function merge_journals(paths, target)
  local parts = {}
  local ok, result = pcall(function()
    for k, path in ipairs(paths) do
      if path == target then
        error(("'%s' is to be read and to be written: name another file with -o"):format(path), 0)
      end
      parts[k] = open_part(path)
      if k > 1 then compare(parts[1], parts[k]) end
    end
    local gaps, failed, count = new_gaps(), 0, 0
    each_task(parts, function(index, _, _, status)
      note(gaps, index)
      count = count + 1
      if status ~= "returned" then failed = failed + 1 end
    end)
    if target and target:find "%.db$" then
      write_journal(parts, target)
    else
      local output = open_output(target)
      write_lines(parts, output)
      words_module.finish(output)
    end
    local total = tonumber(parts[1].place.whole:match "(%d+) tasks%)?$")
    texts.say("%s from %s", common.count(count, "task"), common.count(#parts, "journal"))
    return tell(gaps, total, failed, absent_shards(parts))
  end)
  for _, part in ipairs(parts) do pcall(part.file.release, part.file) end
  if not ok then error(result, 0) end
  return result
end

-- ---- outputs ----

local HEAD = '{"index":'

--- Is a line the beginning of its first field?
local function is_cut_head(line)
  local text = line:gsub("%d+$", "")
  return text ~= "" and HEAD:sub(1, #text) == text
end

--- Lines of an output, in the order of their index: a function that gives index and line; and whether one is lacking.
local function open_lines(path)
  local step, number, last, is_cut = io.lines(path), 0, 0, false
  local function read()
    local line = step()
    if not line then return nil end
    number = number + 1
    local index = tonumber(line:match '^{"index":(%d+)[,}]')
    if not index and is_cut_head(line) and not step() then
      is_cut = true
      return nil
    elseif not index then
      error(("'%s' is no output of a job: line %d does not begin with {\"index\":"):format(path, number), 0)
    end
    return index, line
  end
  local ordered, is_ordered = {}, true
  for index, line in read do -- an output of --unordered has to be sorted
    ordered[#ordered + 1] = { index, line }
    is_ordered = is_ordered and index > last
    last = index
  end
  local final = ordered[#ordered]
  if final and not pcall(json_values.decode, final[2]) then -- of a run that was killed
    is_cut = true
    ordered[#ordered] = nil
  end
  if is_cut then texts.say("line %d of '%s' is cut short: its task is taken for missing", number, path) end
  if not is_ordered then table.sort(ordered, function(a, b) return a[1] < b[1] end) end
  local at = 0
  return function()
    at = at + 1
    if ordered[at] then return ordered[at][1], ordered[at][2] end
  end, is_cut
end

local function merge_outputs(paths, target)
  local heads, lacks = {}, false
  for k, path in ipairs(paths) do
    local read, is_cut = open_lines(path)
    lacks = lacks or is_cut
    local index, line = read()
    heads[k] = { path = path, read = read, index = index, line = line }
  end
  local output, gaps, failed, count, last = open_output(target), new_gaps(), 0, 0, nil
  while true do
    local least
    for _, head in ipairs(heads) do
      if head.index and (not least or head.index < least.index) then least = head end
    end
    if not least then break end
    if last and last.index == least.index then
      if last.line ~= least.line then
        output:close "discard"
        error(("'%s' and '%s' do not belong together: both have task %.0f, with different results"):format(last.path,
          least.path, least.index), 0)
      end
    else
      note(gaps, least.index)
      count = count + 1
      if least.line:find(',"error":{"kind":', 1, true) then failed = failed + 1 end
      output.buffer:put(least.line, "\n")
      words_module.settle(output)
    end
    last = { index = least.index, line = least.line, path = least.path }
    least.index, least.line = least.read()
  end
  words_module.finish(output)
  texts.say("%s from %s", common.count(count, "task"), common.count(#paths, "output"))
  local status = tell(gaps, nil, failed)
  return lacks and LACKING or status
end

--- Each part once, and none of them where the whole is to be written.
local function check_files(paths, target)
  for k, path in ipairs(paths) do
    for j = 1, k - 1 do
      if path == paths[j] or outputs.is_same(path, paths[j]) then
        error(("'%s' and '%s' are the same file: name each part once"):format(paths[j], path), 0)
      end
    end
    if target and target ~= "-" and (path == target or outputs.is_same(path, target)) then
      error(("'%s' is a part, and -o names it as the file for the whole: choose another name"):format(path), 0)
    end
  end
end

--- Runs `parlua merge` with the words behind it.
---@param words string[]
---@return integer status 0: all is there and returned; 1: something is missing, or failed; 2: it can't be done
function M.run(words)
  require("parlua.host").ignore_sigpipe()
  return words_module.run(function()
    local paths, values = words_module.read("merge", words, { ["-o"] = "output", ["--output"] = "output" }, USAGE)
    local target = values.output or (package.loaded["parlua.command"] or {}).output
    local kinds = {}
    for _, path in ipairs(paths) do kinds[is_journal(path)] = path end
    if kinds[true] and kinds[false] then
      error(("'%s' is a journal and '%s' is none: merge journals, or outputs"):format(kinds[true], kinds[false]), 0)
    end
    if target and target:find "%.db$" and kinds[false] then
      error(("a journal, '%s', can be made of journals only, and '%s' is none"):format(target, kinds[false]), 0)
    end
    check_files(paths, target)
    return (kinds[true] and merge_journals or merge_outputs)(paths, target)
  end)
end

return M
