#!/usr/bin/env parlua
-- The primes in a range, by trial division. A job script: it returns a map function and where its arguments come from.
--
--   parlua primes.lua                                        1 to 100, a line of JSON for each number
--   parlua --format text primes.lua 1000 2000                the primes alone
--   parlua --engine threads -o primes.jsonl primes.lua 1 1e6

local parlua = require "parlua"

local job = {}

-- Called once, with the words after the script. Nothing is materialised: a range of 1e9 numbers is fine too.
function job.arguments(first, last)
  return parlua.range(tonumber(first or 1), tonumber(last or 100))
end

-- Called for each number, by one of the workers. What it returns is the result; nil is a result like any other.
function job.map(n)
  for divisor = 2, math.sqrt(n) do
    if n % divisor == 0 then return nil end
  end
  return n > 1 and n or nil
end

return job
