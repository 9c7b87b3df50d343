--- Pictures of numbers, in the terminal or as SVG.
local arguments_module = require "parlua.plot.arguments"
local axis = require "parlua.plot.axis"
local lazy = require "parlua.lazy"
local histogram = lazy "parlua.plot.histogram"
local svg = lazy "parlua.plot.svg"
local text = lazy "parlua.plot.text"

local M = {}

local fail = arguments_module.fail

M.option_names = arguments_module.option_names -- for completion

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

--- Draws how often numbers occur, as bars in the terminal, or as an SVG file. The bins have round borders unless
--- `bins` says how many.
--- Example: `parlua.plot.histogram(results)`, `parlua.plot.histogram { results, bins = 20, file = "h.svg" }`
---@param values any numbers: a list, results, an array of the FFI, what the reducer parlua.histogram gives; or
---records, and the name of a
--- field before the options
---@param options? {bins: integer, from: number, to: number, title: string, width: integer, file: string}
function M.histogram(values, ...)
  arguments_module.whose = "histogram"
  local arguments, options = arguments_module.read(values, ...)
  local data, field = arguments[1], arguments[2]
  if type(field) == "string" and arguments_module.is_records(data) then
    data, field = arguments_module.column(data, field), nil
  end
  if data == nil or field ~= nil then
    fail('one list of numbers is expected, or records and the name of a field: parlua.histogram(rows, "x")')
  end
  local counts
  -- of the reducer, which need not say from where to where
  if type(data) == "table" and rawget(data, "below") ~= nil then
    counts = { from = data.from or options.from or 0, to = data.to or options.to or #data, below = data.below,
      above = data.above }
    for k = 1, #data do counts[k] = data[k] end
  else
    counts = histogram.count(arguments_module.numbers_of(data, "what is counted"), options)
  end
  if options.file then return histogram.write(counts, options) end
  text.write(histogram.draw(counts, options))
end

--- Draws numbers as a line in the terminal, or as an SVG file: of lists, results (what failed is a gap), arrays of
--- the FFI, fields of records, functions. Several lists after the first are several series.
--- Example: `parlua.plot(results)`, `parlua.plot(xs, ys)`, `parlua.plot { xs, ys, title = "a title", file =
--- "picture.svg" }`, `parlua.plot(rows, "time", "speed")`, `parlua.plot(math.sin, 0, 10)`
---@param xs any x, if y follows; else y over 1, 2, 3, ...
---@param ... any y, further series, then options: title, x, y (names of the axes), labels (of the series), kind
---("line", "points"), width,
---height (in characters), file (of an SVG picture)
---@return string? file the picture's, where one was asked for
function M.plot(xs, ...)
  arguments_module.whose = "plot"
  local arguments, options = arguments_module.read(xs, ...)
  local first = arguments[1]
  if type(first) == "table" and rawget(first, "below") ~= nil and #arguments == 1 then
    return M.histogram(first, next(options) and options or nil)
  end
  local series, joined, names = arguments_module.series_of(arguments)
  local shown = { title = options.title, x = options.x or names and names.x, y = options.y or names and names.y,
    width = options.width,
                  height = options.height, file = options.file }
  for k, one in ipairs(series) do one.label = tostring(options.labels and options.labels[k] or one.label) end
  if options.kind then joined = options.kind == "line" end
  if not options.file then return text.write(text.draw(series, joined, shown, bounds(series))) end
  local x_low, x_high, y_low, y_high = bounds(series)
  local picture = svg.new(axis.new(x_low, x_high, 9, true), axis.new(y_low, y_high, 7), shown)
  for k, one in ipairs(series) do picture:series(one.points, k, joined) end
  if #series > 1 then
    local labels = {}
    for k, one in ipairs(series) do labels[k] = one.label end
    picture:legend(labels)
  end
  picture:write(options.file)
  return options.file
end

return setmetatable(M, { __call = function(_, ...) return M.plot(...) end })
