--- Pictures made of braille characters: each has two columns and four rows of dots.
local bit = require "bit"

local M = {}

--- The dots of a cell, by column and row, as bits of the character above U+2800.
local dots = { [0] = { [0] = 0x01, 0x02, 0x04, 0x40 }, { [0] = 0x08, 0x10, 0x20, 0x80 } }

local Canvas = {}
Canvas.__index = Canvas

--- A canvas of so many characters.
---@param columns integer
---@param rows integer
function M.new(columns, rows)
  return setmetatable({ columns = columns, rows = rows, cells = {}, owners = {} }, Canvas)
end

--- Sets a dot; x to the right, y downwards, from 0. `owner`: the series, which decides about the colour.
function Canvas:dot(x, y, owner)
  if not (x >= 0 and y >= 0 and x < 2 * self.columns and y < 4 * self.rows) then return end
  x, y = math.floor(x), math.floor(y)
  local cell = math.floor(y / 4) * self.columns + math.floor(x / 2)
  self.cells[cell] = bit.bor(self.cells[cell] or 0, dots[x % 2][y % 4])
  self.owners[cell] = owner
end

--- A straight line between two dots.
function Canvas:line(x1, y1, x2, y2, owner)
  local steps = math.max(math.abs(x2 - x1), math.abs(y2 - y1), 1)
  if steps > 1e5 then return end
  for k = 0, math.ceil(steps) do
    local share = math.min(1, k / steps)
    self:dot(x1 + (x2 - x1) * share, y1 + (y2 - y1) * share, owner)
  end
end

--- A row of characters. `paint(owner, text)` gives a cell its colour, or another character.
function Canvas:row(row, paint)
  local parts = {}
  for column = 0, self.columns - 1 do
    local cell = row * self.columns + column
    local bits = self.cells[cell]
    if bits then
      local text = string.char(0xe2, 0xa0 + math.floor(bits / 64), 0x80 + bits % 64)
      parts[#parts + 1] = paint(self.owners[cell], text)
    else
      parts[#parts + 1] = " "
    end
  end
  return (table.concat(parts):gsub(" +$", ""))
end

return M
