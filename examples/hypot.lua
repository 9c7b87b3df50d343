-- The hypotenuse for every combination of two lists of sides, as a table.
--
--   parlua hypot.lua

local parlua = require "parlua"

local as = { 1, 3, 5, 8, 20 }
local bs = parlua.range(4, 24, 4)

-- Called as math.sqrt would be: with plain arguments, here one from each list.
local function hypot(a, b)
  return math.sqrt(a * a + b * b)
end

-- Results stand in the order of the arguments: as nested loops over `as` and `bs` would give them.
local lengths = parlua.map(hypot, parlua.product(as, bs))

local head = { "  a \\ b" }
for b = 4, 24, 4 do head[#head + 1] = ("%8d"):format(b) end
print(table.concat(head))

local columns = lengths.n / #as
for row, a in ipairs(as) do
  local line = { ("%7d"):format(a) }
  for column = 1, columns do line[#line + 1] = ("%8.2f"):format(lengths[(row - 1) * columns + column]) end
  print(table.concat(line))
end
