--- Pictures in the terminal: how they are coloured, how large they are, lines of characters.
local lazy = require "parlua.lazy"
local axis = require "parlua.plot.axis"
local canvas = lazy "parlua.plot.canvas"
local terminal = lazy "parlua.terminal"

local M = {}

local few_points = 300 -- which are not joined are shown as large dots

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
---@param series parlua.Series[]
---@param joined boolean
---@param options table
---@param x_low number
---@param x_high number
---@param y_low number
---@param y_high number
---@return string[] lines
function M.draw(series, joined, options, x_low, x_high, y_low, y_high)
  local columns, rows = size_of(options)
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
    lines[#lines + 1] = ("%" .. label_width .. "s %s%s"):format(labels[row] or "", labels[row] and "┤" or "│",
      picture:row(row, paint))
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

--- Writes a picture to standard output.
---@param lines string[]
function M.write(lines)
  require("parlua.report").print("stdout", table.concat(lines, "\n") .. "\n")
end

M.colours_wanted, M.text_width, M.centred, M.size_of = colours_wanted, text_width, centred, size_of

return M
