--- Values as the prompt shows them: parlua.value's text in the terminal's width, and forms of their own for what an
--- analysis is about: lists of records, lists of numbers, results, failures, futures, pools, sources, arrays of the
--- FFI.
local common = require "parlua.common"
local name_of = require("parlua.failure").name_of
local records = require "parlua.prompt.records"
local style = require "parlua.prompt.style"
local terminal = require "parlua.terminal"
local value_module = require "parlua.value"
local width = require "parlua.prompt.width"

local M = {}

--- What is shown of a value: items and levels of a table, bytes of a string and of all, rows of a table of records.
local usual = { items = 100, depth = 5, bytes = 1000, limit = 20000 }
local unbounded = { items = math.huge, depth = 50, bytes = math.huge, limit = math.huge, rows = math.huge }
local bounds = usual
local most_failures = 10

local results_of = setmetatable({}, { __mode = "k" }) -- results of a call -> its failures

-- results of a call that was ended -> { last = the last task that had begun, left = how many had not }
local ended = setmetatable({}, { __mode = "k" })

local known_failures = setmetatable({}, { __mode = "k" }) -- lists of failures, which may be empty

--- A NULL pointer is equal to nil, but a value.
local function is_there(value) return type(value) ~= "nil" end

--- How many tasks were cut off.
---@param failures parlua.Failure[]
---@return integer
function M.count_cut_off(failures)
  local count = 0
  for _, failure in ipairs(failures) do
    if failure.kind == "cancelled" then count = count + 1 end
  end
  return count
end

--- `results` come from a call with these failures.
---@param results table
---@param failures parlua.Failure[]
---@param summary parlua.Summary
function M.know_results(results, failures, summary)
  results_of[results] = failures
  known_failures[failures] = true
  if summary.cancelled == 0 then return end
  local last = failures[#failures] and failures[#failures].index or 0
  for k = results.n, last + 1, -1 do
    if is_there(rawget(results, k)) then
      last = k
      break
    end
  end
  local there = 0
  for k = 1, last do
    if is_there(rawget(results, k)) then there = there + 1 end
  end
  ended[results] = { last = math.max(last, 1), left = summary.cancelled - M.count_cut_off(failures),
    absent = there == summary.returned and "<not begun>" or "nil" } -- else some have returned nil: which, nobody knows
end

--- `failures` is such a list, also where it is empty.
function M.know_failures(failures) known_failures[failures] = true end

local colours = { key = "name" }
local function paint(kind, text) return style.paint(colours[kind] or kind, text) end

local plural = common.count
M.plural = plural

--- Seconds for people: "1.5 µs", "20 ms", "1.2 s", "3 min 5 s".
---@param seconds number
---@return string
function M.seconds(seconds)
  if seconds < 1e-6 then return ("%.3g ns"):format(seconds * 1e9) end
  if seconds < 1e-3 then return ("%.3g µs"):format(seconds * 1e6) end
  if seconds < 1 then return ("%.3g ms"):format(seconds * 1e3) end
  if seconds < 60 then return ("%.3g s"):format(seconds) end
  return require("parlua.report.units").duration(seconds)
end

-- ---- values in a line ----

--- Names of a Lua function's parameters: "a, b, ...".
---@param f function
---@return string? parameters nil: it is no Lua function
function M.parameters(f)
  local info = debug.getinfo(f, "S")
  if info.what == "C" then return nil end
  local names, details = {}, require("jit.util").funcinfo(f)
  for k = 1, details.params or 0 do names[k] = debug.getlocal(f, k) or "_" end
  if details.isvararg then names[#names + 1] = "..." end
  return table.concat(names, ", ")
end

local function has_methods(value, ...)
  local meta = getmetatable(value)
  local methods = type(meta) == "table" and rawget(meta, "__index")
  if type(methods) ~= "table" then return false end
  for _, name in ipairs { ... } do
    if type(rawget(methods, name)) ~= "function" then return false end
  end
  return true
end

local function is_failure(value)
  return type(value) == "table" and require("parlua.failure").is(value)
end

local function is_summary(value)
  return type(rawget(value, "tasks")) == "number" and type(rawget(value, "returned")) == "number"
    and type(rawget(value, "engine")) == "string"
end

--- The first line of a message, with a sign that there is more.
---@param message any
---@return string
function M.first_line(message)
  local line, rest = tostring(message):match("^([^\n]*)(.*)$")
  return rest:find("%S") and line .. " …" or line
end

local numbers_of_calls = setmetatable({}, { __mode = "k" }) -- by their futures

--- A submitted call has this number at the prompt.
function M.know_call(future, number) numbers_of_calls[future] = number end

--- "call 3", the number that the prompt has given it; else as everywhere.
local function failed_name(failure)
  for future, number in next, numbers_of_calls do
    if rawget(future, "record") == failure then return "call " .. number end
  end
  return name_of(failure)
end

--- A failure as a text, under the name that the prompt has for its task.
---@param failure parlua.Failure
---@return string
function M.failure_text(failure)
  return failed_name(failure) .. tostring(failure):sub(#name_of(failure) + 1)
end

local function reason_line(failure)
  return ("failed (%s): %s"):format(failure.kind, M.first_line(failure.message))
end

local function name_and_reason(failure) return failed_name(failure) .. " " .. reason_line(failure) end

local function summary_line(summary)
  local parts = { ("%s in %s on %s (%s)"):format(plural(summary.tasks, "task"), M.seconds(summary.seconds),
    plural(summary.workers or 1, "worker"),
    summary.engine) }
  if summary.failed and summary.failed > 0 then
    parts[#parts + 1] = style.paint("failed", ("%.0f failed"):format(summary.failed))
  end
  if summary.cancelled and summary.cancelled > 0 then parts[#parts + 1] = ("%.0f not run"):format(summary.cancelled) end
  if summary.resumed then parts[#parts + 1] = ("%.0f from the journal"):format(summary.resumed) end
  if summary.interrupted then parts[#parts + 1] = "interrupted by " .. summary.interrupted end
  if summary.stopped then parts[#parts + 1] = summary.stopped end
  return table.concat(parts, ", ")
end

local function future_line(future)
  local number = rawget(future, "number") or future.index
  if not future.is_done then -- on serial and async it goes on while it is asked for
    return ("<future %d: %s>"):format(number, future.pool.is_serial and "waits to be asked for" or "running")
  end
  if future.failure then
    return ("<future %d: %s>"):format(number, reason_line(future.failure))
  end
  local values = {}
  local results = require("parlua.future.content").results(future) or { n = 0 }
  for k = 1, math.min(results.n, 3) do
    values[k] = value_module.format(results[k], { depth = 1, length = 5, bytes = 40 })
  end
  return ("<future %d: returned %s>"):format(number, #values > 0 and table.concat(values, ", ") or "nothing")
end

local function pool_line(pool)
  local open = 0
  for _ in pairs(pool.futures and pool.futures.waiting or {}) do open = open + 1 end
  local options = {}
  for name, value in pairs(pool.options or {}) do
    options[#options + 1] = ("%s = %s"):format(name, value_module.format(value, { depth = 1 }))
  end
  table.sort(options)
  if pool.closed then options = { "closed" } end
  if open > 0 then options[#options + 1] = plural(open, "call") .. " running or waiting" end
  return "<pool" .. (#options > 0 and ": " or "") .. table.concat(options, ", ") .. ">"
end

local function source_line(source)
  local n, kind, path = rawget(source, "n"), rawget(source, "kind"), rawget(source, "path")
  local count = type(n) == "number" and (n < math.huge and plural(n, "task") or "tasks without end")
    or "as many tasks as it gives"
  return ("<source%s%s: %s>"):format(kind and " " .. tostring(kind) or "",
    type(path) == "string" and " of " .. value_module.quote(path) or "", count)
end

--- A text for what has a form of its own in a line; nil: it has none.
---@param value any
---@return string?
local function describe(value)
  local kind = type(value)
  if kind == "function" then
    local parameters = M.parameters(value)
    if not parameters then return nil end
    local info = debug.getinfo(value, "S")
    return ("<function(%s) at %s:%d>"):format(parameters, info.short_src, info.linedefined)
  elseif kind ~= "table" then
    return nil
  end
  if is_failure(value) then return "<" .. name_and_reason(value) .. ">" end
  if is_summary(value) then return "<" .. summary_line(value) .. ">" end
  if common.is_future(value) then return future_line(value) end
  if has_methods(value, "submit", "close", "map") then return pool_line(value) end
  if rawget(value, "is_stream") or has_methods(value, "summary", "close") then return "<stream of results>" end
  if type(rawget(value, "step")) == "function" and has_methods(value, "__call") then return "<reducer>" end
  if has_methods(value, "is_made_by_workers") or has_methods(value, "is_indexed") then return source_line(value) end
  local known = value ~= _G and type(getmetatable(value)) ~= "table" and M.module_name(value)
  if known then return ("<module %s>"):format(known) end
end

local modules -- by table: made anew for each text

--- The name by which `require` knows a table.
function M.module_name(value)
  if not modules then
    modules = {}
    for name, module in pairs(package.loaded) do
      if type(module) == "table" and name ~= "_G" and type(name) == "string" then
        modules[module] = modules[module] or name
      end
    end
  end
  return modules[value]
end

local function format(value, columns)
  return value_module.format(value,
    { width = columns, length = bounds.items, bytes = bounds.bytes, depth = bounds.depth, limit = bounds.limit,
    shared = true, fill = true, measure = width.of, describe = describe, paint = paint })
end

-- ---- results and failures ----

local function failures_text(failures, columns)
  local rows = {}
  local most = bounds == usual and most_failures or #failures
  for k = 1, math.min(#failures, most) do
    local failure = failures[k]
    local arguments = {}
    for a = 1, failure.args and failure.args.n or 0 do
      arguments[a] = value_module.format(failure.args[a], { depth = 2, length = 4, bytes = 30 })
    end
    rows[k] = { tostring(failure.index), failure.kind, M.first_line(failure.message),
      table.concat(arguments, ", ") }
  end
  local lines = records.table_lines({ "task", "kind", "message", "arguments" }, rows, { true }, columns)
  if #failures > most then
    lines[#lines + 1] = style.paint("faint", ("… %d more failures"):format(#failures - most))
  end
  return table.concat(lines, "\n")
end

local function is_list_of_failures(value)
  return is_failure(rawget(value, 1)) and is_failure(rawget(value, #value))
end

--- Results of a call: what failed is marked, what returned nil is shown as that.
local function results_text(results, failures, columns)
  local failed, shown, total = {}, {}, results.n
  local most, not_begun = total, 0
  local nothing = ended[results] and ended[results].absent or "nil"
  if ended[results] then most, not_begun = ended[results].last, ended[results].left end
  for _, failure in ipairs(failures) do failed[failure.index] = failure.kind end
  local function notes(left, further)
    local parts, cut = {}, M.count_cut_off(failures)
    local unseen = total - not_begun -- ranks begin at several places: also before the last may be some that did not
    for k = 1, most - left do
      if is_there(rawget(results, k)) or failed[k] then unseen = unseen - 1 end
    end
    left = math.min(left, unseen)
    if left > 0 then parts[1] = ("%.0f more"):format(left) .. (further or "") end
    if #failures > cut then parts[#parts + 1] = ("%d of %.0f failed"):format(#failures - cut, results.n) end
    if cut > 0 then parts[#parts + 1] = ("%d cut off"):format(cut) end
    if not_begun > 0 then parts[#parts + 1] = ("%.0f not begun"):format(not_begun) end
    return #parts > 0 and "\n" .. style.paint("faint", "… " .. table.concat(parts, ", ")) or ""
  end
  local names = records.columns(results, most, true, bounds.rows)
  if names then
    local text, left = records.text(results, most, names, columns, function(k)
      return failed[k] == "cancelled" and "<cut off>" or failed[k] and "<failed>" or nothing
    end, bounds.rows)
    return text .. notes(left, left > 0 and records.further(results, most, names))
  end
  local n = math.min(most, bounds.items)
  local marked, cut, absent = {}, {}, {}
  local texts = { [marked] = style.paint("failed", "<failed>"), [cut] = style.paint("faint", "<cut off>"),
    [absent] = nothing == "nil" and nothing or style.paint("faint", nothing) }
  for k = 1, n do
    local value = rawget(results, k)
    if not is_there(value) then value = failed[k] == "cancelled" and cut or failed[k] and marked or absent end
    shown[k] = value
  end
  local text = value_module.format(shown,
    { width = columns, length = bounds.items, bytes = bounds == usual and 200 or bounds.bytes, depth = 4,
    limit = bounds.limit, shared = true, fill = true, measure = width.of, paint = paint,
    describe = function(value) return texts[value] or describe(value) end })
  return text .. notes(most - n)
end

-- ---- any value ----

local function table_text(value, columns)
  if rawget(value, "n") and results_of[value] then
    local failures = results_of[value]
    if #failures > 0 or value.n > #value then return results_text(value, failures, columns) end
  end
  local count = #value
  if count == 0 and known_failures[value] and next(value) == nil then return "no failures" end
  if count > 0 and is_list_of_failures(value) then return failures_text(value, columns) end
  local is_free = getmetatable(value) == nil
  local names, list, labels = is_free and records.columns(value, count, false, bounds.rows) or nil, value, nil
  if is_free and rawget(value, 1) == nil then
    list, labels, names = records.keyed(value)
    count = list and #list or 0
  end
  if names then
    local text, left = records.text(list, count, names, columns, nil, bounds.rows, labels)
    if left == 0 then return text end
    local note = ("… %d more"):format(left) .. (labels and "" or records.further(list, count, names))
    return text .. "\n" .. style.paint("faint", width.cut(note, columns))
  end
  if results_of[value] and type(rawget(value, "n")) == "number" then -- `n` is not an entry
    local items = {}
    for k = 1, math.min(count, bounds.items) do items[k] = value[k] end
    local text = format(items, columns)
    if count <= bounds.items then return text end
    return text .. "\n" .. style.paint("faint", ("… %d more"):format(count - bounds.items))
  end
  return format(value, columns)
end

--- A value in a line, cut short.
---@param value any
---@param columns? integer that it may take
---@return string
function M.in_line(value, columns)
  modules = nil
  if type(value) == "table" and results_of[value] and type(rawget(value, "n")) == "number" then -- that is no entry
    local list = {}
    for k = 1, math.min(value.n, 8) do list[k] = value[k] end
    local left = value.n - 8
    local text = M.in_line(list)
    if left > 0 then text = text:gsub("}$", (", … %.0f more}"):format(left)) end
    return columns and width.cut(text, math.max(10, columns)) or text
  end
  local text = value_module.format(value, { depth = 2, length = 8, bytes = 60, limit = 150, describe = describe,
                                            paint = not columns and paint or nil })
  return columns and width.cut(text, math.max(10, columns)) or text
end

--- A value, in as many lines as it takes.
---@param value any
---@param columns? integer default: the terminal's
---@param everything? boolean without the bounds of a table's items, of a string's bytes
---@return string
function M.show(value, columns, everything)
  bounds = everything and unbounded or usual
  columns = columns or (terminal.size())
  modules = nil
  if type(value) == "table" then
    local text = describe(value)
    if text and value == package.loaded.parlua then text = nil end
    if text then
      if is_failure(value) then
        return style.paint("failed", name_and_reason(value)) .. (value.traceback and "\n" .. value.traceback or "")
      end
      return (text:gsub("^<(.*)>$", is_summary(value) and "%1" or "%0"))
    end
    return table_text(value, columns)
  end
  return format(value, columns)
end

--- The first lines of a text, as many as the terminal shows, and how to see all.
---@param text string
---@param where? string where the others are; else %all shows them
---@return string
function M.screenful(text, where)
  local most = math.max(10, select(2, terminal.size()) - 4)
  local count, at = 1, 0
  local cut
  for _ in text:gmatch "\n" do
    at = text:find("\n", at + 1, true)
    if count == most then cut = at - 1 end
    count = count + 1
  end
  if not cut or count <= most + 2 then return text end
  local reset = text:find("\27", 1, true) and "\27[0m" or ""
  return text:sub(1, cut) .. reset .. "\n"
    .. style.paint("faint", ("… %d more%s"):format(count - most, where and " " .. where
      or " lines; %all shows all that there is"))
end

return M
