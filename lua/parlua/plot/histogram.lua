--- Histograms: numbers counted in bins, drawn as bars.
local axis = require "parlua.plot.axis"
local fail = require("parlua.plot.arguments").fail
local svg = require("parlua.lazy") "parlua.plot.svg"
local text = require "parlua.plot.text"

local M = {}

--- Counts of numbers in bins with round borders, at most as many as the option height says.
---@param list (number|false)[]
---@param options table
---@return table counts
function M.count(list, options)
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
    local most = options.height and math.max(1, math.floor(options.height)) or math.huge
    if bins then
      from, to = from or low, to or high
      if from == to then to = from + 1 end
    else
      local round
      wanted = math.min(wanted, most) + 1
      repeat
        wanted, round = wanted - 1, axis.new(from or low, to or high, wanted + 1)
      until #round.ticks - 1 <= most or wanted <= 1
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
  local bar = ("█"):rep(math.floor(filled / 8)) .. (eighths[filled % 8] or "")
  return bar == "" and share > 0 and eighths[1] or bar
end

local function border_text(number, step)
  local digits = axis.digits(step)
  if digits > 6 or math.abs(number) >= 1e7 then return ("%.4g"):format(number) end
  return ("%." .. (step * 10 ^ digits % 1 > 1e-9 and digits + 1 or digits) .. "f"):format(number)
end

--- Counts with as few bins as the option height allows: neighbours are put together, as many in each but the last.
local function in_height(counts, options)
  local most = options.height and math.max(1, math.floor(options.height)) or math.huge
  if #counts <= most then return counts end
  local each, width = math.ceil(#counts / most), (counts.to - counts.from) / #counts
  local few = { from = counts.from, to = counts.to, below = counts.below, above = counts.above, width = each * width }
  for k = 1, #counts do
    local place = math.ceil(k / each)
    few[place] = (few[place] or 0) + counts[k]
  end
  return few
end

--- The bars as lines of text.
---@return string[] lines
function M.draw(counts, options)
  counts = in_height(counts, options)
  local columns = text.size_of(options)
  local bins, most = #counts, 1
  local step = counts.width or (counts.to - counts.from) / bins
  local heads, head_width, count_width = {}, 0, 0
  for k = 1, bins do
    local from, to = counts.from + (k - 1) * step, k == bins and counts.to or counts.from + k * step
    heads[k] = border_text(from, step) .. " – " .. border_text(to, step)
    most = math.max(most, counts[k])
    head_width, count_width = math.max(head_width, text.text_width(heads[k])),
      math.max(count_width, #("%.0f"):format(counts[k]))
  end
  local lines = {}
  local room = math.max(5, columns - head_width - count_width - 4)
  local colour = text.colours_wanted() and "\27[34m%s\27[0m" or "%s"
  if options.title then lines[1] = text.centred(options.title, columns) end
  local function add(head, count, bar)
    lines[#lines + 1] = ("%s%s │%s %.0f"):format((" "):rep(head_width - text.text_width(head)), head, bar, count)
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

--- Writes the bars to an SVG file.
function M.write(counts, options)
  local most = 1
  for k = 1, #counts do most = math.max(most, counts[k]) end
  local step = (counts.to - counts.from) / #counts
  local picture = svg.new(axis.new(counts.from, counts.to, 9, true), axis.new(0, most, 6), options)
  for k = 1, #counts do
    if counts[k] > 0 then picture:bar(counts.from + (k - 1) * step, counts.from + k * step, counts[k]) end
  end
  picture:write(options.file)
  return options.file
end

return M
