--- Figures for people: lengths of time, rates, kinds of failures. For whatever writes a line that a person reads.
local floor, format = math.floor, string.format

local M = {}

--- A length of time in its two largest units: "0.4 s", "12 s", "3 min 20 s", "2 h 5 min", "3 d 4 h".
---@param seconds number
---@return string
function M.duration(seconds)
  if seconds < 9.95 then return format("%.1f s", seconds) end
  seconds = floor(seconds + 0.5)
  if seconds < 60 then return seconds .. " s" end
  if seconds < 3600 then return format("%d min %d s", floor(seconds / 60), seconds % 60) end
  local minutes = floor(seconds / 60)
  if minutes < 24 * 60 then return format("%d h %d min", floor(minutes / 60), minutes % 60) end
  local hours = floor(minutes / 60)
  return format("%d d %d h", floor(hours / 24), hours % 24)
end

--- A rate with three digits or so: "45 tasks/s", "1.2M tasks/s", "6 tasks/min".
---@param per_second number
---@return string
function M.rate(per_second)
  if per_second >= 999.5e6 then return format("%.1fG tasks/s", per_second / 1e9) end
  if per_second >= 999.5e3 then return format("%.1fM tasks/s", per_second / 1e6) end
  if per_second >= 9999.5 then return format("%.0fk tasks/s", per_second / 1e3) end
  if per_second >= 9.95 then return format("%.0f tasks/s", per_second) end
  if per_second >= 1 then return format("%.1f tasks/s", per_second) end
  if per_second >= 1 / 60 then return format("%.1f tasks/min", per_second * 60) end
  return format("%.1f tasks/h", per_second * 3600)
end

--- A length of time that may be short: "85 us", "12.5 ms", and as M.duration from a second on.
---@param seconds number
---@return string
function M.short_duration(seconds)
  if seconds < 1e-6 then return format("%.0f ns", seconds * 1e9) end
  if seconds < 1e-3 then return format(seconds < 1e-5 and "%.1f us" or "%.0f us", seconds * 1e6) end
  if seconds < 0.9995 then return format(seconds < 1e-2 and "%.1f ms" or "%.0f ms", seconds * 1e3) end
  return M.duration(seconds)
end

--- Kinds of failures, the most frequent first: "2 error, 1 timeout".
---@param counts table<string, integer>
---@return string text, integer kinds
function M.kinds_text(counts)
  local kinds, parts = {}, {}
  for kind in pairs(counts) do kinds[#kinds + 1] = kind end
  table.sort(kinds, function(a, b)
    if counts[a] ~= counts[b] then return counts[a] > counts[b] end
    return a < b
  end)
  for k, kind in ipairs(kinds) do parts[k] = format("%.0f %s", counts[kind], kind) end
  return table.concat(parts, ", "), #kinds
end

return M
