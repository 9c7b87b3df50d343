--- What it costs that Ctrl-C ends compiled loops at the prompt: loops as in any program, with the check that the prompt
--- has compiled into them, and interpreted. Run alone: ./parlua bench/prompt_loops.lua
local terminal = require "parlua.terminal"

local loops = {
  { "sum over numbers", function()
    local sum = 0
    for i = 1, 2e7 do sum = sum + i end
    return sum
  end },
  { "arithmetic on four lines", function()
    local sum = 0
    for i = 1, 2e7 do
      local a = i * 2
      local b = a + 1
      sum = sum + b % 7
    end
    return sum
  end },
  { "fields of a table", function()
    local point = { x = 0, y = 1 }
    for i = 1, 2e7 do
      point.x = point.x + point.y
      point.y = i
    end
    return point.x
  end },
  { "new tables", function()
    local list = {}
    for i = 1, 1e6 do
      list[i % 100 + 1] = { x = i, y = 2 }
    end
    return #list
  end },
  { "math.random", function()
    local sum = 0
    for _ = 1, 1e7 do sum = sum + math.random() end
    return sum
  end },
  { "primes", function()
    local sieve = {}
    for i = 2, 1e6 do sieve[i] = true end
    for i = 2, 1e6 do
      if sieve[i] then
        for k = i * i, 1e6, i do sieve[k] = false end
      end
    end
    return #sieve
  end },
  { "text", function()
    local length = 0
    for i = 1, 1e6 do length = length + #(("%d "):format(i) .. "x"):upper() end
    return length
  end },
}

local function best_of_five(f)
  local best = math.huge
  for _ = 1, 5 do
    local began = os.clock()
    f()
    best = math.min(best, os.clock() - began)
  end
  return best
end

local seconds = { {}, {}, {} }
local function measure(k)
  for n, loop in ipairs(loops) do seconds[k][n] = best_of_five(loop[2]) end
end

measure(1)
terminal.watch()
measure(2)
jit.off()
jit.flush()
for _, loop in ipairs(loops) do jit.off(loop[2], true) end
measure(3)

print(("%-26s %10s %16s %14s"):format("", "compiled", "and watched", "interpreted"))
for n, loop in ipairs(loops) do
  local plain = seconds[1][n]
  print(("%-26s %8.0f ms %13.2f x %12.2f x"):format(loop[1], plain * 1000, seconds[2][n] / plain, seconds[3][n] / plain))
end
