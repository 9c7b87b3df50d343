-- The smallest counterexample: Euler's conjecture says that no four fifth powers sum to a fifth power. The search ends
-- at the lowest index whose result is not nil, the same one however many workers look.
--
--   parlua examples/search.lua [largest base]

local parlua = require "parlua"

local most = tonumber(arg and arg[1]) or 150

local fifth, root = {}, {}
for n = 1, 2 * most do
  fifth[n] = n ^ 5
  root[n ^ 5] = n
end

--- Looks for a^5 + b^5 + c^5 + d^5 = e^5 with a >= b >= c >= d.
local function counterexample(a)
  for b = 1, a do
    local ab = fifth[a] + fifth[b]
    for c = 1, b do
      local abc = ab + fifth[c]
      for d = 1, c do
        local e = root[abc + fifth[d]]
        if e then return { a, b, c, d, e } end
      end
    end
  end
end

local a, found, _, summary = parlua.find(counterexample, parlua.range(most))
if found then
  print(("%d^5 + %d^5 + %d^5 + %d^5 = %d^5"):format(unpack(found)))
  print(("found at a = %d, after %.2f s with %d workers"):format(a, summary.seconds, summary.workers))
else
  print(("there is none with bases up to %d"):format(most))
end
