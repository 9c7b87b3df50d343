--- Pictures as SVG files: plain shapes and text, no script, no style sheet of elsewhere.
local M = {}

local WIDTH, HEIGHT = 640, 400
local LEFT, RIGHT, TOP, BOTTOM = 70, 20, 40, 50
local colours = { "#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#17becf", "#7f7f7f" }

local function escape(text)
  return (tostring(text):gsub("[&<>\"]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }))
end

local Picture = {}
Picture.__index = Picture

--- A picture with two axes.
---@param x_axis parlua.Axis
---@param y_axis parlua.Axis
---@param options {title: string?, x: string?, y: string?}
function M.new(x_axis, y_axis, options)
  local self = setmetatable({ x_axis = x_axis, y_axis = y_axis, lines = {} }, Picture)
  local function add(...) self:add(...) end
  add('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" '
    .. 'font-family="sans-serif" font-size="12">',
    WIDTH, HEIGHT, WIDTH, HEIGHT)
  add('<rect width="%d" height="%d" fill="white"/>', WIDTH, HEIGHT)
  for _, tick in ipairs(y_axis.ticks) do
    local y = self:y(tick)
    add('<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#dddddd"/>', LEFT, y, WIDTH - RIGHT, y)
    add('<text x="%d" y="%.1f" text-anchor="end">%s</text>', LEFT - 6, y + 4, escape(y_axis.text(tick)))
  end
  for _, tick in ipairs(x_axis.ticks) do
    local x = self:x(tick)
    add('<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="black"/>', x, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 5)
    add('<text x="%.1f" y="%d" text-anchor="middle">%s</text>', x, HEIGHT - BOTTOM + 18, escape(x_axis.text(tick)))
  end
  add('<path d="M%d %d V%d H%d" fill="none" stroke="black"/>', LEFT, TOP, HEIGHT - BOTTOM, WIDTH - RIGHT)
  if options.title then
    add('<text x="%d" y="22" text-anchor="middle" font-size="15">%s</text>', (LEFT + WIDTH - RIGHT) / 2,
      escape(options.title))
  end
  if options.x then
    add('<text x="%d" y="%d" text-anchor="middle">%s</text>', (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12,
      escape(options.x))
  end
  if options.y then
    add('<text transform="translate(16 %d) rotate(-90)" text-anchor="middle">%s</text>', (TOP + HEIGHT - BOTTOM) / 2,
      escape(options.y))
  end
  return self
end

function Picture:add(format, ...) self.lines[#self.lines + 1] = format:format(...) end

function Picture:x(value)
  return LEFT + (value - self.x_axis.low) / (self.x_axis.high - self.x_axis.low) * (WIDTH - LEFT - RIGHT)
end
function Picture:y(value)
  return HEIGHT - BOTTOM - (value - self.y_axis.low) / (self.y_axis.high - self.y_axis.low) * (HEIGHT - TOP - BOTTOM)
end

--- A series: points {x, y}, joined where `joined`; a gap where a point is false.
function Picture:series(points, number, joined)
  local colour = colours[(number - 1) % #colours + 1]
  if not joined then
    for _, point in ipairs(points) do
      if point then
        self:add('<circle cx="%.2f" cy="%.2f" r="2.5" fill="%s"/>', self:x(point[1]), self:y(point[2]), colour)
      end
    end
    return
  end
  local run = {}
  local function flush()
    if #run > 0 then
      self:add('<polyline fill="none" stroke="%s" stroke-width="1.5" points="%s"/>', colour, table.concat(run, " "))
    end
    run = {}
  end
  for _, point in ipairs(points) do
    if point then run[#run + 1] = ("%.2f,%.2f"):format(self:x(point[1]), self:y(point[2])) else flush() end
  end
  flush()
end

--- A bar from low to high, of a height.
function Picture:bar(low, high, height)
  local x, y = self:x(low), self:y(height)
  self:add('<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" fill="%s" stroke="white"/>', x, y, self:x(high) - x,
    HEIGHT - BOTTOM - y, colours[1])
end

--- Names of the series, in the corner.
function Picture:legend(labels)
  for k, label in ipairs(labels) do
    local y = TOP + 6 + 16 * k
    self:add('<rect x="%d" y="%d" width="12" height="4" fill="%s"/>', LEFT + 12, y - 6, colours[(k - 1) % #colours + 1])
    self:add('<text x="%d" y="%d">%s</text>', LEFT + 30, y, escape(label))
  end
end

--- Writes the file; raises when it can't.
function Picture:write(path)
  self:add("</svg>")
  local file, message = io.open(path, "wb")
  if not file then error("plot: " .. message, 0) end
  local ok, why = file:write(table.concat(self.lines, "\n"), "\n")
  local closed, at_end = file:close()
  if not (ok and closed) then error(("plot: %s: %s"):format(path, why or at_end), 0) end
end

return M
