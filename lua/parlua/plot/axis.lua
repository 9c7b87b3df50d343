--- Axes with round numbers.
local M = {}

---@class parlua.Axis
---@field low number
---@field high number
---@field ticks number[] round numbers from low to high
---@field text fun(tick: number): string

--- A round step, 1, 2 or 5 times a power of ten, that is at least `least`.
local function round_step(least)
  local power = 10 ^ math.floor(math.log10(least))
  for _, factor in ipairs { 1, 2, 5, 10 } do
    if factor * power >= least * (1 - 1e-9) then return factor * power end
  end
end

--- Digits behind the point that a step needs.
---@param step number
---@return integer
function M.digits(step)
  local power = math.floor(math.log10(step) + 1e-9)
  return power < 0 and -power or 0
end

--- An axis for numbers from low to high, with at most so many ticks.
---@param low number
---@param high number
---@param most integer
---@param is_tight? boolean it ends where the numbers do, not at ticks
---@return parlua.Axis
function M.new(low, high, most, is_tight)
  if low == high then
    local wide = low == 0 and 1 or math.abs(low) * 0.5
    low, high = low - wide, high + wide
  end
  local step = round_step((high - low) / math.max(1, most - 1))
  local first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
  if is_tight then
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
  else
    low, high = first * step, last * step
  end
  local ticks = {}
  for k = first, last do ticks[#ticks + 1] = k * step end
  local largest = math.max(math.abs(low), math.abs(high))
  local digits = M.digits(step)
  local function text(tick)
    if math.abs(tick) < step * 1e-6 then tick = 0 end
    if largest >= 1e7 or largest < 1e-4 then return (("%.3g"):format(tick):gsub("e%+?(-?)0*", "e%1")) end
    return ("%." .. digits .. "f"):format(tick)
  end
  return { low = low, high = high, ticks = ticks, text = text }
end

return M
