--- Charts of a report as inline SVG. Colours are classes, which the page's style gives for light and dark.
local units = require "parlua.report.units"

local M = {}

local floor, max, min = math.floor, math.max, math.min

local WIDTH = 900

--- Text for HTML.
---@param text any
---@return string
function M.escape(text)
  return (tostring(text):gsub("[&<>\"']", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;",
    ["'"] = "&#39;" }))
end
local escape = M.escape

--- A number with few digits for coordinates.
local function at(x) return (("%.2f"):format(x):gsub("%.?0+$", "")) end

--- Round steps for an axis from 0 to `most`, about `count` of them.
---@return number step
local function step_of(most, count)
  local rough = most / count
  local power = 10 ^ floor(math.log10(rough))
  local digit = rough / power
  return power * (digit <= 1 and 1 or digit <= 2 and 2 or digit <= 5 and 5 or 10)
end

--- 12000 -> "12k".
function M.count_text(n)
  if n >= 1e9 then return ("%.3gG"):format(n / 1e9) end
  if n >= 1e6 then return ("%.3gM"):format(n / 1e6) end
  if n >= 1e4 then return ("%.3gk"):format(n / 1e3) end
  return ("%.4g"):format(n)
end

--- Bytes: "12 MB".
function M.bytes_text(n)
  if n >= 1e9 then return ("%.3g GB"):format(n / 1e9) end
  if n >= 1e6 then return ("%.3g MB"):format(n / 1e6) end
  return ("%.3g kB"):format(n / 1e3)
end

local function open(parts, height, label, class)
  parts[#parts + 1] = ('<svg class="chart %s" viewBox="0 0 %d %d" role="img" aria-label="%s"%s>'):format(class or "",
    WIDTH, height, escape(label), class == "stack" and ' preserveAspectRatio="none"' or "")
end

local function text(parts, x, y, anchor, content)
  parts[#parts + 1] = ('<text x="%s" y="%s" text-anchor="%s">%s</text>'):format(at(x), at(y), anchor, escape(content))
end

--- The axis of time at the foot: from 0 to `seconds`.
local function time_axis(parts, left, right, y, seconds)
  local step = step_of(seconds, 8)
  local k = 0
  while k * step <= seconds * 1.0001 do
    local x = left + (right - left) * k * step / seconds
    parts[#parts + 1] = ('<line class="tick" x1="%s" y1="%s" x2="%s" y2="%s"/>'):format(at(x), at(y), at(x), at(y + 4))
    local label = k == 0 and "0" or step < 1 and units.short_duration(k * step) or units.duration(k * step)
      :gsub("%.0 s$", " s")
    if x < right - 20 then text(parts, x, y + 16, k == 0 and "start" or "middle", label) end
    k = k + 1
  end
end

--- A value axis: lines across, with what they stand for.
local function value_axis(parts, left, right, top, bottom, most, show, is_whole)
  local step = step_of(most, 4)
  if is_whole then step = max(1, step) end
  local k = 1
  while k * step <= most * 1.0001 do
    local y = bottom - (bottom - top) * k * step / most
    parts[#parts + 1] = ('<line class="grid" x1="%s" y1="%s" x2="%s" y2="%s"/>'):format(at(left), at(y), at(right),
      at(y))
    text(parts, left - 6, y + 4, "end", show(k * step))
    k = k + 1
  end
end

local LEFT, RIGHT = 70, WIDTH - 10

--- A stacked bar of parts of a whole, with a legend in words.
---@param list { name: string, share: number, class: string }[]
function M.stack(list)
  local parts, x = {}, 0
  open(parts, 28, "where the time went", "stack")
  for _, part in ipairs(list) do
    local width = WIDTH * part.share
    parts[#parts + 1] = ('<rect class="%s" x="%s" y="0" width="%s" height="28"><title>%s: %.1f%%</title></rect>')
      :format(part.class, at(x), at(width), escape(part.name), 100 * part.share)
    x = x + width
  end
  parts[#parts + 1] = "</svg>"
  return table.concat(parts)
end

---@class parlua.TimelineRow
---@field label string

--- The timeline: a row for each worker, or group of workers.
---@param recorder parlua.Recorder
---@param seconds number of the run
---@param label fun(row: integer): string
function M.timeline(recorder, seconds, label)
  local parts, rows = {}, recorder.rows
  local height = rows <= 8 and 22 or rows <= 32 and 13 or 7
  local bottom = rows * height
  open(parts, bottom + 22, "timeline of tasks by worker", "timeline")
  for row = 0, rows - 1 do
    parts[#parts + 1] = ('<rect class="lane" x="%d" y="%s" width="%d" height="%s"/>'):format(LEFT, at(row * height),
      RIGHT - LEFT, at(height - 1))
    local every = height >= 13 and 1 or 8
    if row % every == 0 then text(parts, LEFT - 6, row * height + min(height, 13) - 2, "end", label(row)) end
  end
  local scale = (RIGHT - LEFT) / seconds
  if recorder.pieces then
    for _, piece in ipairs(recorder.pieces) do
      local worker, from, to, first, last = piece[1], piece[2] - recorder.began, piece[3] - recorder.began, piece[4],
        piece[5]
      local failed = first == last and recorder.failed_tasks and recorder.failed_tasks[first]
      local name = first == last and ("task %.0f"):format(first) or ("tasks %.0f to %.0f"):format(first, last)
      parts[#parts + 1] = ('<rect class="%s" x="%s" y="%s" width="%s" height="%s"><title>%s: %s, worker %.0f%s</title>'
        .. '</rect>'):format(failed and "bad" or "piece", at(LEFT + from * scale), at(recorder:row_of(worker) * height),
        at(max(0.6, (to - from) * scale)), at(height - 1), name, units.short_duration(to - from), worker,
        failed and ", failed" or "")
    end
  else
    local group = recorder.workers / rows
    for row = 0, rows - 1 do
      local k = 0
      local function level(bin)
        local share = recorder.bins_busy[row * recorder.bins + bin] / (recorder.width * group)
        return min(5, floor(share * 5 + 0.5))
      end
      while k < recorder.bins and k * recorder.width < seconds do
        local from, here = k, level(k)
        repeat k = k + 1 until k >= recorder.bins or level(k) ~= here
        if here > 0 then
          local x = LEFT + from * recorder.width * scale
          local right = min(RIGHT, LEFT + k * recorder.width * scale)
          parts[#parts + 1] = ('<rect class="piece l%d" x="%s" y="%s" width="%s" height="%s"><title>%s, %s to %s: %d%% '
            .. 'busy</title></rect>'):format(here, at(x), at(row * height), at(right - x), at(height - 1),
            escape(label(row)), units.short_duration(from * recorder.width),
            units.short_duration(k * recorder.width), here * 20)
        end
      end
    end
  end
  time_axis(parts, LEFT, RIGHT, bottom, seconds)
  parts[#parts + 1] = "</svg>"
  return table.concat(parts)
end

--- Areas over time, one above the other.
---@param series { name: string, class: string, values: ffi.cdata* }[] values by bin
---@param given { seconds: number, width: number, bins: integer, scale: number, show: fun(n: number): string,
--- label: string, points: number? at most so many }
function M.over_time(series, given)
  local parts, top, bottom = {}, 6, 120
  local last = min(given.bins, math.ceil(given.seconds / given.width)) - 1
  local most_points = max(1, min(160, given.points or 160))
  local join = max(1, math.ceil((last + 1) / most_points)) -- bins that become one point
  local points, most = {}, 0
  for k = 0, last, join do
    local stack, sum = {}, 0
    for s, one in ipairs(series) do
      local value, count = 0, 0
      for j = k, min(last, k + join - 1) do
        value, count = given.is_level and max(value, one.values[j]) or value + one.values[j], count + 1
      end
      if not given.is_level then
        local width = min(count * given.width, given.seconds - k * given.width)
        value = value * given.scale / (given.is_count and 1 or max(width, join * given.width * 0.5))
      end
      sum = sum + value
      stack[s] = sum
    end
    points[#points + 1] = stack
    most = max(most, sum)
  end
  if most <= 0 then return nil end
  open(parts, bottom + 22, given.label)
  value_axis(parts, LEFT, RIGHT, top, bottom, most, given.show, given.is_count)
  local scale = (RIGHT - LEFT) / given.seconds
  for s = #series, 1, -1 do
    local path = { ("M%s %s"):format(at(LEFT), at(bottom)) }
    for p, stack in ipairs(points) do
      local x, right = LEFT + (p - 1) * join * given.width * scale, min(RIGHT, LEFT + p * join * given.width * scale)
      local y = bottom - (bottom - top) * stack[s] / most
      path[#path + 1] = ("L%s %sL%s %s"):format(at(x), at(y), at(right), at(y))
    end
    path[#path + 1] = ("L%s %sZ"):format(at(min(RIGHT, LEFT + #points * join * given.width * scale)), at(bottom))
    parts[#parts + 1] = ('<path class="%s" d="%s"><title>%s</title></path>'):format(series[s].class,
      table.concat(path), escape(series[s].name))
  end
  time_axis(parts, LEFT, RIGHT, bottom, given.seconds)
  parts[#parts + 1] = "</svg>"
  return table.concat(parts)
end

--- The distribution of durations: bars over a logarithmic axis.
---@param counts ffi.cdata* by tenths of decades
---@param least integer the tenth of the first
---@param n integer how many
---@param marks { name: string, seconds: number }[]
function M.distribution(counts, least, n, marks)
  local first, last, most = n, -1, 0
  for k = 0, n - 1 do
    if counts[k] > 0 then
      first, last, most = min(first, k), max(last, k), max(most, counts[k])
    end
  end
  if last < 0 then return nil end
  first, last = max(0, first - 2), min(n - 1, last + 2)
  local parts, top, bottom = {}, 18, 130
  open(parts, bottom + 22, "distribution of durations")
  value_axis(parts, LEFT, RIGHT, top, bottom, most, M.count_text, true)
  local width = (RIGHT - LEFT) / (last - first + 1)
  for k = first, last do
    if counts[k] > 0 then
      local height = max(1, (bottom - top) * counts[k] / most)
      local from, to = 10 ^ ((least + k) / 10), 10 ^ ((least + k + 1) / 10)
      parts[#parts + 1] = ('<rect class="piece" x="%s" y="%s" width="%s" height="%s"><title>%s to %s: %.0f</title>'
        .. '</rect>'):format(at(LEFT + (k - first) * width + 0.5), at(bottom - height), at(max(1, width - 1)),
        at(height), units.short_duration(from), units.short_duration(to), counts[k])
    end
  end
  local every = last - first > 40 and 10 or last - first > 12 and 5 or 2
  for k = first, last do
    if (least + k) % every == 0 then
      text(parts, LEFT + (k - first) * width, bottom + 16, "middle", units.short_duration(10 ^ ((least + k) / 10)))
    end
  end
  for _, mark in ipairs(marks) do
    local x = LEFT + (10 * math.log10(mark.seconds) - least - first) * width
    parts[#parts + 1] = ('<line class="mark" x1="%s" y1="%d" x2="%s" y2="%d"/>'):format(at(x), top - 4, at(x), bottom)
    text(parts, x, top - 7, "middle", mark.name)
  end
  parts[#parts + 1] = "</svg>"
  return table.concat(parts)
end

return M
