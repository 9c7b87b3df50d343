--- What an element of an array costs: a[i], with its check, beside the pointer without one.
--
--   parlua bench/elements.lua
local parlua = require "parlua"

local COUNT, ROUNDS = 1e6, 100
local a = parlua.array("double", COUNT)
local at = a:data()

local loops = {
  { "a[i] = x", function() for i = 1, COUNT do a[i] = i end end },
  { "x = a[i]", function() local sum = 0 for i = 1, COUNT do sum = sum + a[i] end return sum end },
  { "x = pointer[i]", function() local sum = 0 for i = 0, COUNT - 1 do sum = sum + at[i] end return sum end },
}

for _, loop in ipairs(loops) do
  local name, f = unpack(loop)
  f()
  local began = os.clock()
  for _ = 1, ROUNDS do f() end
  print(("%-16s %.2f ns"):format(name, (os.clock() - began) / ROUNDS / COUNT * 1e9))
end
