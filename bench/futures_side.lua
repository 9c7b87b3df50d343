--- A side of the measures of bench/futures.lua in a program of its own: futures_side.lua CALL ENGINE N [PAUSE] prints
--- the seconds, or the share. So what one measure leaves behind (its heap, compiled traces that fit what it does) is not
--- there for the next. Each measure is run once before it counts.
package.path = arg[0]:match "^(.*/)" .. "?.lua;" .. package.path
local measure = require "measure"
local parlua = require "parlua"
local lengths = require "futures_lengths"

local call, engine, n, pause = arg[1], arg[2], tonumber(arg[3]), tonumber(arg[4])
local pool = parlua.pool { engine = engine, workers = measure.workers }
local calls = {}

local function nothing() end

--- The median of the seconds that a call takes.
function calls.round_trip()
  local all = {}
  for k = 1, n do
    if pause then measure.pause(pause) end
    local began = measure.now()
    pool:submit(nothing):get()
    all[k] = measure.now() - began
  end
  return measure.median(all)
end

--- All that n calls take which are submitted and then waited for.
function calls.many()
  local futures = {}
  local began = measure.now()
  for k = 1, n do futures[k] = pool:submit(nothing) end
  parlua.wait(futures)
  return measure.now() - began
end

--- The share of the workers' time that calls of random length had.
function calls.share()
  local each, sum = lengths.draw(n)
  local futures = {}
  local began = measure.now()
  for k = 1, n do futures[k] = pool:submit(lengths.spin, each[k]) end
  for future in parlua.as_completed(futures) do future:get() end
  return sum / measure.workers / (measure.now() - began)
end

calls[call]()
collectgarbage()
print(("%.17g"):format(calls[call]()))
pool:close()
