-- A Gaussian filter over a stack of images. Shows an array that every worker sees: each task takes one image and writes
-- the filtered one in place, so that no picture element is sent anywhere.
--
--   parlua image_filter.lua [images] [rows] [columns] [sigma]
--
-- Leaves before.png and after.png, the first image, in the current directory. (On mpi, where workers can't write to the
-- script's memory, `parlua.map(filter, tasks, { into = filtered })` puts in place what each task returns.)

local parlua = require "parlua"

local images, rows, columns = tonumber(arg[1]) or 16, tonumber(arg[2]) or 1000, tonumber(arg[3]) or 1500
local sigma = tonumber(arg[4]) or 3

local stack = parlua.array("float", images, rows, columns)
local filtered = parlua.array("float", images, rows, columns)

-- Rings, under so much noise that one hardly sees them. The pointer counts from 0, as in C.
local function draw(i)
  local image = stack:slice(i):data()
  for y = 0, rows - 1 do
    for x = 0, columns - 1 do
      local dx, dy = x / columns - 0.5, y / rows - 0.5
      image[y * columns + x] = math.cos(60 * math.sqrt(dx * dx + dy * dy) + i) + 3 * math.random()
    end
  end
end

-- The weights of one dimension: a Gaussian filter of two is one down the columns, then one along the rows.
local radius, weights, sum = math.floor(4 * sigma + 0.5), {}, 0
for k = -radius, radius do
  local weight = math.exp(-k * k / (2 * sigma * sigma))
  weights[#weights + 1], sum = weight, sum + weight
end
for k, weight in ipairs(weights) do weights[k] = weight / sum end

local function filter(i)
  stack:slice(i):convolve(weights, { axis = { 1, 2 }, into = filtered:slice(i) })
end

parlua.each(draw, parlua.range(images))
parlua.each(filter, parlua.range(images))

--- How far the values of an image lie apart: the standard deviation.
local function spread(image)
  local mean = image:mean()
  return math.sqrt((image - mean):map_in_place(function(x) return x * x end):mean())
end

local before, after = stack:slice(1), filtered:slice(1)
before:save "before.png"
after:save "after.png"
print(("%d images of %d x %d, sigma %g"):format(images, rows, columns, sigma))
print(("spread before %.3f, after %.3f; see before.png and after.png"):format(spread(before), spread(after)))
