--- Arrays: many numbers of one type, in memory that every worker sees. What stands where: core.lua the array and its
--- elements, views.lua other views of them, make.lua how they come about, numbers.lua what is computed, show.lua how
--- they look, wire.lua how they cross between states, files.lua how they are kept.
local core = require "parlua.array.core"

require "parlua.array.views"
require "parlua.array.show"
require "parlua.array.arithmetic"

local make = require "parlua.array.make"

require "parlua.array.numbers"

local files = require "parlua.array.files"

local M = { array = make.array, load = files.load, save = files.save, is = core.is }

return M
