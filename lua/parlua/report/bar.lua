--- The progress bar: one line at the foot of the terminal.
local common = require "parlua.common"
local estimate = require "parlua.report.estimate"
local units = require "parlua.report.units"

local floor, format, max, min = math.floor, string.format, math.max, math.min

local MAX_BAR = 40 -- cells; a longer bar says no more
local MIN_BAR = 8  -- cells; a shorter one says nothing
local FIRST_UPDATE = 0.2 -- seconds: shorter runs show no bar
local EIGHTHS = { [0] = "", "▏", "▎", "▍", "▌", "▋", "▊", "▉" }
local BLUE, RED, YELLOW, PLAIN = "\27[34m", "\27[31m", "\27[33m", "\27[0m"

---@class parlua.BarStyle
---@field unicode? boolean the bar has parts of cells, which a terminal without UTF-8 can't show
---@field color? boolean

--- What the terminal of this program can show: UTF-8 by the locale, colours unless NO_COLOR is set.
---@return parlua.BarStyle
local function terminal_style()
  local function set(name)
    local value = os.getenv(name)
    return value ~= "" and value or nil
  end
  local locale = (set "LC_ALL" or set "LC_CTYPE" or set "LANG" or ""):lower()
  return { unicode = locale:find "utf%-?8" ~= nil, color = not set "NO_COLOR" }
end

--- The bar itself, of so many cells.
local function drawing(share, cells, style)
  if not style.unicode then
    local full = floor(share * cells)
    return "[" .. ("="):rep(full) .. (" "):rep(cells - full) .. "] "
  end
  local eighths = floor(share * cells * 8)
  local full, part = floor(eighths / 8), EIGHTHS[eighths % 8]
  local bar = ("█"):rep(full) .. part
  if style.color then bar = BLUE .. bar .. PLAIN end
  return "▕" .. bar .. (" "):rep(cells - full - (part == "" and 0 or 1)) .. "▏ "
end

--- The functions of the reporter.
---@param tools { write: function, update_interval: number } how to write, and seconds between two drawings
---@return table<string, function>
return function(tools)
  local bar = {}

  --- The text of the bar, as much as fits (what matters least goes first), and how many columns it has.
  local function bar_text(state, columns, style)
    local room = columns - 3 -- behind it the terminal writes ^C; a full line would make some wrap
    local rate, left = estimate.rate(state), estimate.seconds_left(state)
    local done = state.tasks and format("%.0f/%.0f", state.done, state.tasks) or common.count(state.done, "task")
    local share = state.tasks and (state.tasks > 0 and min(1, (state.done + (state.part or 0)) / state.tasks) or 1)
    local percent = share and format("%3.0f%% ", floor(share * 100))
    local failed, kinds = "", ""
    if state.failed > 0 then
      failed, kinds = estimate.failed_text(state)
      failed = "  " .. failed
    end
    local stall = estimate.stall_text(state)
    local speed = rate and "  " .. units.rate(rate) or ""
    local time = left and "  " .. units.duration(left) .. " left" or "  " .. units.duration(state.seconds)

    local text = (percent or "") .. done .. failed
    if #text + #time <= room then
      text = text .. time
      if #text + #speed <= room then text = (percent or "") .. done .. speed .. failed .. time end
      if #text + #kinds + MIN_BAR + 3 <= room and kinds ~= "" then
        text = text:gsub("failed", function(word) return word .. kinds end, 1)
      end
      if stall and #text + #stall + 2 <= room then text = text .. "  " .. stall else stall = nil end
    else
      stall = nil
    end
    text = text:sub(1, max(room, 0))
    local width, cells = #text, min(MAX_BAR, room - #text - 3)
    if style.color then
      text = text:gsub("%d+ failed", RED .. "%0" .. PLAIN, 1)
      if stall then text = text:gsub("task %d+ for [^%z]*$", YELLOW .. "%0" .. PLAIN, 1) end
    end
    if share and cells >= MIN_BAR then
      text, width = drawing(share, cells, style) .. text, width + cells + 3
    end
    return text, width
  end

  --- Back to the bar's beginning: a terminal that has become narrower shows it in several lines.
  local function home(reporter)
    local rows = reporter.drawn and math.ceil(reporter.width / max(1, reporter.columns())) or 1
    -- line by line: of a whole screen that is cleared tmux keeps a copy, which would stand among what was scrolled out
    return "\r" .. ("\27[K\27[A"):rep(rows - 1)
  end

  --- Draws the bar, over the old one.
  local function draw(reporter)
    if reporter.mid_line then return end
    local text, width = bar_text(reporter.state, reporter.columns(), reporter.style)
    tools.write(reporter.stream, home(reporter) .. text .. "\27[K")
    reporter.drawn, reporter.width = true, width
  end

  --- Takes the bar off the terminal.
  local function erase(reporter)
    if reporter.drawn then tools.write(reporter.stream, home(reporter) .. "\27[K") end
    reporter.drawn = false
  end

  function bar.on_start(reporter)
    reporter.style = reporter.style or terminal_style()
    reporter.due = FIRST_UPDATE
  end

  function bar.on_progress(reporter, data)
    reporter.due = data.seconds + tools.update_interval
    draw(reporter)
  end

  -- Text that ends within a line leaves no place for the bar until the line is ended.
  function bar.on_print(reporter, stream, text)
    local drawn = reporter.drawn
    erase(reporter)
    local written, message, code = tools.write(stream, text)
    local ended = text:sub(-1) == "\n"
    drawn = drawn or (reporter.mid_line and ended)
    if text ~= "" then reporter.mid_line = not ended end
    if drawn then draw(reporter) end
    return written, message, code
  end

  bar.on_hide = erase
  bar.on_finish = erase

  return bar
end
