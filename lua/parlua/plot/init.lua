--- Pictures of numbers, in the terminal or as SVG.
local ffi = require "ffi"
local axis = require "parlua.plot.axis"
local lazy = require "parlua.lazy"
local canvas = lazy "parlua.plot.canvas"
local svg = lazy "parlua.plot.svg"
local terminal = lazy "parlua.terminal"

local M = {}

local option_names = { title = "string", x = "string", y = "string", labels = "table", width = "number", height = "number", file = "string",
                       kind = "string", from = "number", to = "number", bins = "number" }
M.option_names = option_names -- for completion

local kinds = { line = true, points = true }
local most_points = 1e7
local few_points = 300 -- which are not joined are shown as large dots

local function fail(format, ...) error("plot: " .. format:format(...), 0) end

--- The length of a list, a table of results, or an array of the FFI; nil: it is none.
local function length_of(value)
  if type(value) == "table" then
    local n = rawget(value, "n")
    return type(n) == "number" and n or #value
  elseif type(value) == "cdata" then
    local ok, item = pcall(function() return value[0] end)
    local count = ok and tostring(ffi.typeof(value)):match("%[(%d+)%]>$")
    if count and tonumber(item) then return tonumber(count) end
  end
end

--- A list of numbers, with false for what is missing: nil, NaN, what failed.
local function numbers_of(value, what)
  local n = length_of(value)
  if not n then fail("%s must be a list of numbers, got %s", what, type(value)) end
  if n > most_points then fail("%s has %.0f numbers, more than a picture can show; take every k-th", what, n) end
  local list, base = {}, type(value) == "cdata" and -1 or 0
  for k = 1, n do
    local item = value[k + base]
    local number = item ~= nil and type(item) ~= "string" and tonumber(item) or nil
    if item ~= nil and item ~= false and not number then
      fail("%s must be numbers, but number %d is a %s%s", what, k, type(item),
        type(item) == "table" and "; name a field: parlua.plot(rows, \"x\", \"y\")" or "")
    end
    list[k] = number and number == number and math.abs(number) < math.huge and number or false
  end
  return list
end

local function is_list(value)
  return type(value) == "table" and (length_of(value) or 0) > 0 or type(value) == "cdata" and length_of(value) ~= nil
end

--- Is it a list of points {x, y}?
local function is_points(value)
  local n = length_of(value)
  if type(value) ~= "table" or n < 3 then return false end
  local some = false
  for k = 1, n do
    local item = value[k]
    if item ~= nil then
      if type(item) ~= "table" or #item ~= 2 or type(item[1]) ~= "number" or type(item[2]) ~= "number" then
        return false
      end
      some = true
    end
  end
  return some
end

--- Is it a list of records, tables with names?
local function is_records(value)
  for k = 1, type(value) == "table" and length_of(value) or 0 do
    local item = value[k]
    if item ~= nil then return type(item) == "table" and item[1] == nil and type(next(item)) == "string" end
  end
  return false
end

local function column(rows, name)
  local list = { n = length_of(rows) }
  for k = 1, list.n do
    local row = rows[k]
    if type(row) == "table" then list[k] = row[name] end
  end
  return list
end

local function check_options(options)
  for name, value in pairs(options) do
    local wanted = option_names[name]
    if not wanted then
      local names = {}
      for known in pairs(option_names) do names[#names + 1] = known end
      table.sort(names)
      fail("unknown option %s; there are %s", tostring(name), table.concat(names, ", "))
    end
    if type(value) ~= wanted then fail("the option %s takes a %s, got %s", name, wanted, type(value)) end
  end
  if options.kind and not kinds[options.kind] then
    fail('the option kind is "line" or "points", got %q', options.kind)
  end
end

--- How many of the values are meant: a call that is drawn at once gives its failures and summary, too.
local function count_meant(given, count)
  while count > 1 and given[count] == nil do count = count - 1 end
  local last = given[count]
  if count > 1 and type(last) == "table" and rawget(last, "tasks") and rawget(last, "engine") then
    count = count - 1
    local failures = given[count]
    if count > 1 and type(failures) == "table" and (next(failures) == nil or require("parlua.failure").is(failures[1])) then
      count = count - 1
    end
  end
  return count
end

--- Arguments and options: `plot(xs, ys, options)` and `plot { xs, ys, title = ... }` are the same.
local function read_arguments(...)
  local arguments, options = {}, {}
  local given = { ... }
  local count = count_meant(given, select("#", ...))
  local first = given[1]
  local is_call = count == 1 and type(first) == "table" and not is_points(first) and not is_records(first)
    and (type(first[1]) == "table" or type(first[1]) == "cdata" or type(first[1]) == "function")
  local has_names = false
  if count == 1 and type(first) == "table" and rawget(first, "below") == nil then
    for name in pairs(first) do
      if type(name) == "string" and name ~= "n" and rawget(first, 1) ~= nil then has_names = true end
    end
  end
  if is_call or has_names and (is_list(first[1]) or type(first[1]) == "function") then
    for name, value in pairs(first) do
      if type(name) == "number" then arguments[name] = value elseif name ~= "n" then options[name] = value end
    end
  elseif has_names then -- numbers and options in one table
    local list = { n = #first }
    for name, value in pairs(first) do
      if type(name) == "number" then list[name] = value elseif name ~= "n" then options[name] = value end
    end
    arguments[1] = list
  else
    for k = 1, count do arguments[k] = given[k] end
    local last = arguments[#arguments]
    if #arguments > 1 and type(last) == "table" and #last == 0 and rawget(last, "n") == nil and next(last) ~= nil then
      options = last
      arguments[#arguments] = nil
    end
  end
  check_options(options)
  return arguments, options
end

---@class parlua.Series
---@field points (number[]|false)[] {x, y}; false: a gap
---@field label string

--- The series that arguments stand for, and whether points are joined by default.
local function series_of(arguments)
  local first = arguments[1]
  if first == nil then fail("nothing to draw: parlua.plot(ys), parlua.plot(xs, ys), parlua.plot(f, from, to)") end
  local series = {}
  local function add(xs, ys, label)
    if xs and #xs ~= #ys then fail("there are %d numbers for x, and %d for y", #xs, #ys) end
    local points = {}
    for k = 1, #ys do
      local x = xs and xs[k] or not xs and k
      points[k] = x and ys[k] and { x, ys[k] } or false
    end
    series[#series + 1] = { points = points, label = label }
  end
  if type(first) == "function" then
    local functions, k = {}, 1
    while type(arguments[k]) == "function" do
      functions[k], k = arguments[k], k + 1
    end
    local from, to = arguments[k], arguments[k + 1]
    if type(from) ~= "number" or type(to) ~= "number" or not (from < to) then
      fail("a function is drawn between two numbers: parlua.plot(f, from, to)")
    end
    for j, f in ipairs(functions) do
      local xs, ys, count = {}, {}, 400
      for p = 0, count do
        xs[p + 1] = from + (to - from) * p / count
        ys[p + 1] = f(xs[p + 1])
      end
      ys.n = count + 1
      add(xs, numbers_of(ys, "what the function gives"), "f" .. j)
    end
  elseif is_records(first) then
    local names = { unpack(arguments, 2) }
    for _, name in ipairs(names) do
      if type(name) ~= "string" then fail("of a list of records, fields are drawn: parlua.plot(rows, \"x\", \"y\")") end
    end
    if #names == 0 then fail("which fields of the records? parlua.plot(rows, \"x\", \"y\")") end
    if #names == 1 then
      add(nil, numbers_of(column(first, names[1]), "the field " .. names[1]), names[1])
    else
      local xs = numbers_of(column(first, names[1]), "the field " .. names[1])
      for k = 2, #names do add(xs, numbers_of(column(first, names[k]), "the field " .. names[k]), names[k]) end
    end
    return series, #names == 1, { x = #names > 1 and names[1] or nil, y = #names <= 2 and names[#names] or nil }
  elseif is_points(first) and arguments[2] == nil then
    local xs, ys = { n = length_of(first) }, { n = length_of(first) }
    for k = 1, xs.n do
      local point = first[k] or {}
      xs[k], ys[k] = point[1], point[2]
    end
    add(numbers_of(xs, "x"), numbers_of(ys, "y"), "y")
    return series, false
  elseif arguments[2] == nil then
    add(nil, numbers_of(first, "what is drawn"), "y")
  else
    local xs = numbers_of(first, "x")
    for k = 2, #arguments do
      local ys = arguments[k]
      if type(ys) == "table" and is_list(ys[1]) then -- several series in a list
        for j = 1, #ys do add(xs, numbers_of(ys[j], "y"), "y" .. j) end
      else
        add(xs, numbers_of(ys, "y"), #arguments > 2 and "y" .. k - 1 or "y")
      end
    end
  end
  return series, true
end

local function bounds(series)
  local x_low, x_high, y_low, y_high = math.huge, -math.huge, math.huge, -math.huge
  for _, one in ipairs(series) do
    for _, point in ipairs(one.points) do
      if point then
        x_low, x_high = math.min(x_low, point[1]), math.max(x_high, point[1])
        y_low, y_high = math.min(y_low, point[2]), math.max(y_high, point[2])
      end
    end
  end
  if x_low > x_high then fail("there is no number to draw") end
  return x_low, x_high, y_low, y_high
end

local marks = { "o", "x", "+", "*", "#", "@", "%", "&" }
local codes = { 34, 31, 32, 33, 35, 36, 37, 90 }

local function colours_wanted()
  local none = os.getenv("NO_COLOR")
  return terminal.is_terminal() and (none == nil or none == "") and os.getenv("TERM") ~= "dumb"
end

--- How a cell looks that a series owns: in colour, or as a mark where there are several series and no colours; as
--- `dot` if that is given.
local function painter(count, dot)
  if colours_wanted() then
    return function(owner, text) return ("\27[%dm%s\27[0m"):format(codes[(owner - 1) % #codes + 1], dot or text) end
  elseif count > 1 then
    return function(owner) return marks[(owner - 1) % #marks + 1] end
  end
  return function(_, text) return dot or text end
end

local function text_width(text)
  return #(text:gsub("\27%[[%d;]*m", ""):gsub("[\128-\191]", ""))
end

local function centred(text, columns)
  return (" "):rep(math.max(0, math.floor((columns - text_width(text)) / 2))) .. text
end

--- The size of a picture in characters.
local function size_of(options)
  local columns, rows = terminal.size()
  return math.max(20, math.floor(options.width or math.min(columns - 1, 100))),
    math.max(5, math.floor(options.height or math.min(rows - 6, 16)))
end

--- Draws series in the terminal.
local function draw(series, joined, options)
  local columns, rows = size_of(options)
  local x_low, x_high, y_low, y_high = bounds(series)
  local y_axis = axis.new(y_low, y_high, math.max(3, math.min(6, math.floor(rows / 2))))
  local label_width = 0
  for _, tick in ipairs(y_axis.ticks) do label_width = math.max(label_width, #y_axis.text(tick)) end
  local inner = columns - label_width - 2
  local x_axis
  local most_ticks = math.max(2, math.floor(inner / 12))
  repeat
    x_axis, most_ticks = axis.new(x_low, x_high, most_ticks, true), most_ticks + 1
  until #x_axis.ticks >= 2
  local picture = canvas.new(inner, rows)
  local function place(point)
    return (point[1] - x_axis.low) / (x_axis.high - x_axis.low) * (2 * inner - 1) + 0.5,
      (1 - (point[2] - y_axis.low) / (y_axis.high - y_axis.low)) * (4 * rows - 1) + 0.5
  end
  for number, one in ipairs(series) do
    local before_x, before_y
    for _, point in ipairs(one.points) do
      if point then
        local x, y = place(point)
        if joined and before_x then picture:line(before_x, before_y, x, y, number) else picture:dot(x, y, number) end
        before_x, before_y = x, y
      else
        before_x = nil
      end
    end
  end
  local labels = {}
  for _, tick in ipairs(y_axis.ticks) do
    local row = math.floor((1 - (tick - y_axis.low) / (y_axis.high - y_axis.low)) * (rows - 1) + 0.5)
    labels[row] = y_axis.text(tick)
  end
  local count = 0
  for _, one in ipairs(series) do count = count + #one.points end
  local lines, paint = {}, painter(#series, not joined and count <= few_points and "•" or nil)
  if options.title then lines[#lines + 1] = centred(options.title, columns) end
  if options.y then lines[#lines + 1] = options.y end
  for row = 0, rows - 1 do
    lines[#lines + 1] = ("%" .. label_width .. "s %s%s"):format(labels[row] or "", labels[row] and "┤" or "│", picture:row(row, paint))
  end
  local base, below, taken = {}, {}, 0
  for k = 1, inner do base[k] = "─" end
  for _, tick in ipairs(x_axis.ticks) do
    local at = math.floor((tick - x_axis.low) / (x_axis.high - x_axis.low) * (inner - 1) + 0.5) + 1
    local text = x_axis.text(tick)
    local start = math.min(math.max(at - math.floor(#text / 2), 1), inner - #text + 1)
    if start > taken then
      base[at] = "┬"
      below[#below + 1] = (" "):rep(start - taken - 1) .. text
      taken = start + #text
      below[#below + 1] = " "
    end
  end
  lines[#lines + 1] = (" "):rep(label_width + 1) .. "└" .. table.concat(base)
  lines[#lines + 1] = (" "):rep(label_width + 2) .. table.concat(below):gsub(" +$", "")
  if options.x then lines[#lines + 1] = centred(options.x, columns) end
  if #series > 1 then
    local names = {}
    for number, one in ipairs(series) do names[number] = paint(number, "━") .. " " .. one.label end
    lines[#lines + 1] = (" "):rep(label_width + 2) .. table.concat(names, "   ")
  end
  return lines
end

local function write_lines(lines)
  require("parlua.report").print("stdout", table.concat(lines, "\n") .. "\n")
end

-- ---- histograms ----

--- Counts of numbers in bins with round borders.
local function count_bins(list, options)
  local low, high, n = math.huge, -math.huge, 0
  for _, number in ipairs(list) do
    if number then low, high, n = math.min(low, number), math.max(high, number), n + 1 end
  end
  if n == 0 then fail("there is no number to count") end
  local from, to, bins = options.from, options.to, options.bins
  if bins and not (bins >= 1 and bins % 1 == 0 and bins <= 1000) then
    fail("the option bins takes an integer from 1 to 1000, got %s", tostring(bins))
  end
  if not bins or not from or not to then
    local wanted = bins or math.max(4, math.min(20, math.ceil(math.log(n) / math.log(2)) + 1))
    if bins then
      from, to = from or low, to or high
      if from == to then to = from + 1 end
    else
      local round = axis.new(from or low, to or high, wanted + 1)
      from, to, bins = from or round.low, to or round.high, #round.ticks - 1
    end
  end
  if not (from < to) then fail("the option from must be less than to") end
  local counts = { from = from, to = to, below = 0, above = 0 }
  for k = 1, bins do counts[k] = 0 end
  for _, number in ipairs(list) do
    if number then
      local k = math.floor((number - from) / (to - from) * bins) + 1
      if number == to then k = bins end
      if k < 1 then counts.below = counts.below + 1
      elseif k > bins then counts.above = counts.above + 1
      else counts[k] = counts[k] + 1 end
    end
  end
  return counts
end

--- Blocks that fill a character by eighths.
local eighths = { "▏", "▎", "▍", "▌", "▋", "▊", "▉" }

local function bar_text(share, columns)
  local filled = math.floor(share * columns * 8 + 0.5)
  local text = ("█"):rep(math.floor(filled / 8)) .. (eighths[filled % 8] or "")
  return text == "" and share > 0 and eighths[1] or text
end

local function border_text(number, step)
  local digits = axis.digits(step)
  if digits > 6 or math.abs(number) >= 1e7 then return ("%.4g"):format(number) end
  return ("%." .. (step * 10 ^ digits % 1 > 1e-9 and digits + 1 or digits) .. "f"):format(number)
end

local function draw_bins(counts, options)
  local columns = size_of(options)
  local bins, most = #counts, 1
  local step = (counts.to - counts.from) / bins
  local heads, head_width, count_width = {}, 0, 0
  for k = 1, bins do
    heads[k] = border_text(counts.from + (k - 1) * step, step) .. " – " .. border_text(counts.from + k * step, step)
    most = math.max(most, counts[k])
    head_width, count_width = math.max(head_width, text_width(heads[k])), math.max(count_width, #("%.0f"):format(counts[k]))
  end
  local lines = {}
  local room = math.max(5, columns - head_width - count_width - 4)
  local colour = colours_wanted() and "\27[34m%s\27[0m" or "%s"
  if options.title then lines[1] = centred(options.title, columns) end
  local function add(head, count, bar)
    lines[#lines + 1] = ("%s%s │%s %.0f"):format((" "):rep(head_width - text_width(head)), head, bar, count)
  end
  for k = 1, bins do add(heads[k], counts[k], colour:format(bar_text(counts[k] / most, room))) end
  if (counts.below or 0) > 0 then
    lines[#lines + 1] = ("%.0f below %s"):format(counts.below, border_text(counts.from, step))
  end
  if (counts.above or 0) > 0 then
    lines[#lines + 1] = ("%.0f above %s"):format(counts.above, border_text(counts.to, step))
  end
  return lines
end

local function write_bins(counts, options)
  local most = 1
  for k = 1, #counts do most = math.max(most, counts[k]) end
  local step = (counts.to - counts.from) / #counts
  local picture = svg.new(axis.new(counts.from, counts.to, 9, true), axis.new(0, most, 6), options)
  for k = 1, #counts do
    if counts[k] > 0 then picture:bar(counts.from + (k - 1) * step, counts.from + k * step, counts[k]) end
  end
  picture:write(options.file)
end

--- Draws how often numbers occur, as bars in the terminal, or as an SVG file. The bins have round borders unless
--- `bins` says how many.
--- Example: `parlua.plot.histogram(results)`, `parlua.plot.histogram { results, bins = 20, file = "h.svg" }`
---@param values any numbers: a list, results, an array of the FFI, what the reducer parlua.histogram gives; or
---records, and the name of a
--- field before the options
---@param options? {bins: integer, from: number, to: number, title: string, width: integer, file: string}
function M.histogram(values, ...)
  local arguments, options = read_arguments(values, ...)
  local data, field = arguments[1], arguments[2]
  if type(field) == "string" and is_records(data) then data, field = column(data, field), nil end
  if data == nil or field ~= nil then
    fail('histogram: one list of numbers is expected, or records and the name of a field: histogram(rows, "x")')
  end
  local counts
  if type(data) == "table" and rawget(data, "below") ~= nil then -- of the reducer, which need not say from where to where
    counts = { from = data.from or options.from or 0, to = data.to or options.to or #data, below = data.below, above = data.above }
    for k = 1, #data do counts[k] = data[k] end
  else
    counts = count_bins(numbers_of(data, "what is counted"), options)
  end
  if options.file then return write_bins(counts, options) end
  write_lines(draw_bins(counts, options))
end

--- Draws numbers as a line in the terminal, or as an SVG file: of lists, results (what failed is a gap), arrays of
--- the FFI, fields of records, functions. Several lists after the first are several series.
--- Example: `parlua.plot(results)`, `parlua.plot(xs, ys)`, `parlua.plot { xs, ys, title = "a title", file =
--- "picture.svg" }`, `parlua.plot(rows, "time", "speed")`, `parlua.plot(math.sin, 0, 10)`
---@param xs any x, if y follows; else y over 1, 2, 3, ...
---@param ... any y, further series, then options: title, x, y (names of the axes), labels (of the series), kind
---("line", "points"), width,
---height (in characters), file (of an SVG picture)
function M.plot(xs, ...)
  local arguments, options = read_arguments(xs, ...)
  local first = arguments[1]
  if type(first) == "table" and rawget(first, "below") ~= nil and #arguments == 1 then
    return M.histogram(first, next(options) and options or nil)
  end
  local series, joined, names = series_of(arguments)
  local shown = { title = options.title, x = options.x or names and names.x, y = options.y or names and names.y, width = options.width,
                  height = options.height, file = options.file }
  for k, one in ipairs(series) do one.label = tostring(options.labels and options.labels[k] or one.label) end
  if options.kind then joined = options.kind == "line" end
  if not options.file then return write_lines(draw(series, joined, shown)) end
  local x_low, x_high, y_low, y_high = bounds(series)
  local picture = svg.new(axis.new(x_low, x_high, 9, true), axis.new(y_low, y_high, 7), shown)
  for k, one in ipairs(series) do picture:series(one.points, k, joined) end
  if #series > 1 then
    local labels = {}
    for k, one in ipairs(series) do labels[k] = one.label end
    picture:legend(labels)
  end
  picture:write(options.file)
end

return setmetatable(M, { __call = function(_, ...) return M.plot(...) end })
