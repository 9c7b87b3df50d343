-- The Mandelbrot set: a row of the picture is a task, and becomes a row of an array that all workers share.
--
--   parlua mandelbrot.lua                    draws it in the terminal
--   parlua mandelbrot.lua mandelbrot.png     writes a picture of 1920 x 1080

local parlua = require "parlua"
local path = arg[1]
local width, height = path and 1920 or 76, path and 1080 or 48

local MOST = 400 -- steps after which a point counts as inside
local LEFT, TOP, SIZE = -2.3, 1.2, 3.4 -- SIZE is the width of the part of the plane that is shown

-- How soon a point runs away, with a fraction, so that there are no steps in the picture; 0 for one that stays.
local function escape(cr, ci)
  local zr, zi = 0, 0
  for step = 1, MOST do
    local rr, ii = zr * zr, zi * zi
    if rr + ii > 1000 then return step + 1 - math.log(math.log(rr + ii) / 2) / math.log(2) end
    zr, zi = rr - ii + cr, 2 * zr * zi + ci
  end
  return 0
end

local function row(y)
  local values = {}
  for x = 1, width do
    values[x] = math.log(1 + escape(LEFT + SIZE * (x - 0.5) / width, TOP - 2.4 * (y - 0.5) / height))
  end
  return values
end

-- Rows that cross the set take much longer than the others: the workers share them as they come.
local picture = parlua.array("float", height, width)
local _, _, summary = parlua.map(row, parlua.range(height), { into = picture })

if path then
  picture:save(path)
  local seconds, workers = summary.seconds, summary.workers
  return io.stderr:write(("%s: %d x %d, in %.2f s on %d workers\n"):format(path, width, height, seconds, workers))
end

-- In a terminal a character shows two rows: the upper one as its colour, the lower one as its background. Elsewhere,
-- and with NO_COLOR, letters of growing darkness.
local ffi = require "ffi"
ffi.cdef "int isatty(int fd);"
local has_colours = ffi.C.isatty(1) == 1 and not os.getenv "NO_COLOR"
local COLOURS = { 17, 18, 19, 20, 26, 32, 38, 44, 80, 116, 152, 188, 223, 222, 221, 220, 214, 208 }
local LETTERS = " .:-=+*#%"

local function place(value, places)
  return math.max(1, math.min(places, math.floor((value - 0.7) / 3.3 * places) + 1))
end
local function colour(value) return value == 0 and 16 or COLOURS[place(value, #COLOURS)] end
local function letter(value)
  local k = place(value, #LETTERS)
  return value == 0 and "@" or LETTERS:sub(k, k)
end

for y = 1, height - 1, 2 do
  local line = {}
  for x = 1, width do
    local upper, lower = picture:get(y, x), picture:get(y + 1, x)
    line[x] = has_colours and ("\27[38;5;%d;48;5;%dm▀"):format(colour(upper), colour(lower)) or letter(upper)
  end
  print(table.concat(line) .. (has_colours and "\27[0m" or ""))
end
