--- What is to be drawn: numbers, points, series and options, from the arguments of parlua.plot.
local is_array = require("parlua.array.known").is
local cdata = require "parlua.lazy" "parlua.cdata"
local value_module = require "parlua.value"

local M = {}

local option_names = { title = "string", x = "string", y = "string", labels = "table", width = "number",
  height = "number", file = "string",
                       kind = "string", from = "number", to = "number", bins = "number" }
M.option_names = option_names -- for completion

local kinds = { line = true, points = true }
local most_points = 1e7

--- Whose arguments they are: "plot" or "histogram", for errors.
M.whose = "plot"

local function fail(format, ...) error(M.whose .. ": " .. format:format(...), 0) end

M.fail = fail

--- The length of an array of the FFI, or of parlua.array; nil: it is neither.
local function length_of_array(value)
  if type(value) ~= "cdata" then return nil end
  return is_array(value) and #value or cdata.length(value)
end

--- An array of the FFI, whose first element is [0], or of parlua.array, as a list; anything else as it is.
local function listed(value)
  local n = length_of_array(value)
  if not n then return value end
  if n > most_points then fail("there are %.0f numbers, more than a picture can show; take every k-th", n) end
  local base = is_array(value) and 0 or 1
  if base == 0 and value.rank ~= 1 then
    fail("an array of %.0f dimensions cannot be drawn; take a part of one dimension, such as a[1]", value.rank)
  end
  local list = { n = n }
  for k = 1, n do list[k] = value[k - base] end
  return list
end

--- The length of a list or a table of results; nil: it is none.
local function length_of(value)
  if type(value) ~= "table" then return nil end
  local n = rawget(value, "n")
  return type(n) == "number" and n or #value
end

--- Does a list have nothing but nil, as the results of tasks that all failed?
local function is_empty_list(value)
  if type(value) ~= "table" then return false end
  local name, n = next(value)
  return name == "n" and type(n) == "number" and n > 0 and next(value, name) == nil
end

local function fail_empty(n)
  fail("there is no number: %s nil, as results of failed tasks are", n == 1 and "the only one is"
    or ("all %.0f are"):format(n))
end

--- The names of a record's fields in words, for a message; nil: it is no record.
local function fields_of(record)
  local names = type(record) == "cdata" and not is_array(record) and cdata.fields(record) or nil
  if type(record) == "table" and getmetatable(record) == nil then
    names = {}
    for name in next, record do
      if type(name) == "string" then names[#names + 1] = name end
    end
    table.sort(names)
  end
  if not names or #names == 0 then return nil end
  local more = #names > 8
  for k = #names, 9, -1 do names[k] = nil end
  return names, table.concat(names, ", ") .. (more and ", ..." or "")
end

--- A list of numbers, with false for what is missing: nil, NaN, what failed.
---@param value any
---@param what string how errors call it
local function numbers_of(value, what)
  local n = length_of(value)
  if not n then
    fail("%s must be a list of numbers, got %s", what,
      type(value) == "cdata" and value_module.format(value) or type(value))
  end
  if n > most_points then fail("%s has %.0f numbers, more than a picture can show; take every k-th", what, n) end
  if is_empty_list(value) then fail_empty(n) end
  local list = {}
  for k = 1, n do
    local item = value[k]
    local number = type(item) ~= "string" and tonumber(item) or nil
    if type(item) ~= "nil" and item ~= false and not number then
      local names, text = fields_of(item)
      local hint = type(item) == "string" and ", " .. value_module.quote(item, 40)
        or names and ("; name one of its fields (%s): parlua.%s(rows, %s)"):format(text, M.whose,
        value_module.quote(names[1])) or type(item) == "cdata" and ", " .. value_module.format(item) or ""
      fail("%s must be numbers, but number %d is a %s%s", what, k, names and type(item) == "cdata" and "struct"
        or type(item), hint)
    end
    list[k] = number and number == number and math.abs(number) < math.huge and number or false
  end
  return list
end

local function is_list(value)
  return type(value) == "table" and (length_of(value) or 0) > 0
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

--- Is it a list of records: tables with names, structs of the FFI?
local function is_records(value)
  for k = 1, type(value) == "table" and length_of(value) or 0 do
    local item = value[k]
    if type(item) == "cdata" then return not tonumber(item) and fields_of(item) ~= nil end
    if item ~= nil then return type(item) == "table" and item[1] == nil and type(next(item)) == "string" end
  end
  return false
end

local function field(row, name) return row[name] end

--- The fields of the first record in words: " (x, y)".
local function named_fields(rows)
  for k = 1, length_of(rows) do
    local _, text = fields_of(rows[k])
    if text then return " (" .. text .. ")" end
  end
  return ""
end

local function column(rows, name)
  local list = { n = length_of(rows) }
  for k = 1, list.n do
    local row = rows[k]
    if type(row) == "table" then
      list[k] = row[name]
    elseif type(row) == "cdata" then
      local has, value = pcall(field, row, name) -- a struct raises an error for a name that it has not
      if has then list[k] = value end
    end
  end
  return list
end

--- Names that give values an order of their own, in words: what is to be drawn instead.
local function refuse_names(group, held)
  local one = "parlua." .. M.whose
  local names = {}
  for name in pairs(group) do names[#names + 1] = name end
  table.sort(names)
  local shown = {}
  for k = 1, math.min(#names, 3) do shown[k] = value_module.quote(names[k], 20) end
  fail("the table has its values by names (%s%s), which stand nowhere on an axis; draw a list in an order of your own: "
    .. (held == "table" and "rows = {} for _, row in pairs(t) do rows[#rows + 1] = row end %s(rows, \"y\")"
    or "list = {} for _, value in pairs(t) do list[#list + 1] = value end %s(list)"),
    table.concat(shown, ", "), #names > 3 and ", ..." or "", one)
end

--- The keys of a table of values by numbers, as parlua.group gives it, in order; nil: it is none, or a list.
local function keys_of_group(value)
  if type(value) ~= "table" or getmetatable(value) ~= nil or next(value) == nil or is_empty_list(value) then
    return nil
  end
  local kind, keys, is_list_only = type(next(value)), {}, true
  local held = type(value[next(value)])
  if held ~= "number" and held ~= "table" then return nil end
  for key, item in next, value do
    if type(key) ~= kind or type(item) ~= held or kind == "string" and option_names[key] == held then return nil end
    keys[#keys + 1] = key
  end
  if kind == "string" then refuse_names(value, held) end
  if kind ~= "number" then return nil end
  for _, key in ipairs(keys) do is_list_only = is_list_only and key >= 1 and key <= #value and key % 1 == 0 end
  if is_list_only then return nil end
  table.sort(keys)
  return keys
end

--- A group as the rows and the numbers that its values and keys are.
local function rows_of_group(group, keys)
  local rows, xs = { n = #keys }, { n = #keys }
  for k, key in ipairs(keys) do rows[k], xs[k] = group[key], key end
  return rows, xs
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
    if count > 1 and type(failures) == "table"
      and (next(failures) == nil or require("parlua.failure").is(failures[1])) then
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
  for k = 1, count do given[k] = listed(given[k]) end
  local first = given[1]
  local is_call = count == 1 and type(first) == "table" and not is_points(first) and not is_records(first)
    and (type(first[1]) == "table" or length_of_array(first[1]) or type(first[1]) == "function")
  local has_names = false
  if count == 1 and type(first) == "table" and rawget(first, "below") == nil then
    for name in pairs(first) do
      if type(name) == "string" and name ~= "n" and rawget(first, 1) ~= nil then has_names = true end
    end
  end
  if is_call or has_names and (is_list(first[1]) or length_of_array(first[1]) or type(first[1]) == "function") then
    for name, value in pairs(first) do
      if type(name) == "number" then
        arguments[name] = listed(value)
      elseif name ~= "n" then
        options[name] = value
      end
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
  local series, keys = {}, keys_of_group(first)
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
  elseif keys then
    local rows, xs = rows_of_group(first, keys)
    xs = numbers_of(xs, "the keys")
    if type(rows[1]) == "number" then
      if arguments[2] ~= nil then fail("the table has a number for each key: parlua.plot(t) draws it") end
      add(xs, numbers_of(rows, "the values"), "y")
      return series, true
    end
    local names = { unpack(arguments, 2) }
    for k = 1, math.max(#names, 1) do
      if type(names[k]) ~= "string" then
        fail('which fields of the values? parlua.plot(t, "y") draws them by keys')
      end
      add(xs, numbers_of(column(rows, names[k]), "the field " .. names[k]), names[k])
    end
    return series, true, { y = #names == 1 and names[1] or nil }
  elseif is_empty_list(first) then
    fail_empty(first.n)
  elseif is_records(first) then
    local names = { unpack(arguments, 2) }
    for _, name in ipairs(names) do
      if type(name) ~= "string" then fail("of a list of records, fields are drawn: parlua.plot(rows, \"x\", \"y\")") end
    end
    if #names == 0 then
      fail("which fields of the records%s? parlua.plot(rows, \"x\", \"y\")", named_fields(first))
    end
    for _, name in ipairs(names) do
      if is_empty_list(column(first, name)) then
        fail("no record has a number in a field %s%s", name, named_fields(first))
      end
    end
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
      if type(ys) == "table" and is_list(listed(ys[1])) then -- several series in a list
        for j = 1, #ys do add(xs, numbers_of(listed(ys[j]), "y"), "y" .. j) end
      else
        add(xs, numbers_of(ys, "y"), #arguments > 2 and "y" .. k - 1 or "y")
      end
    end
  end
  return series, true
end

M.numbers_of, M.is_records, M.column, M.read, M.series_of = numbers_of, is_records, column, read_arguments, series_of

return M
