--- Memory of the script's that a worker has: it is not to keep it for long when it is through with it. Its collector
--- sees small objects where an array takes a gigabyte, and compiled code may name the arrays of jobs before.
local known = require "parlua.array.known"

local M = {}

local MOST = 128 * 2 ^ 20 -- bytes

-- Array -> bytes, as far as they are not collected: those of the present job and of jobs before.
local weak = { __mode = "k" }
local lent, lent_before = setmetatable({}, weak), setmetatable({}, weak)
local bytes_lent, limit = 0, MOST

--- A worker has got an array whose memory is the script's.
---@param array parlua.Array
---@param bytes number
function M.note(array, bytes)
  lent[array] = bytes
  bytes_lent = bytes_lent + bytes
end

function known.begin_job()
  for array, bytes in pairs(lent) do lent_before[array] = bytes end
  lent = setmetatable({}, weak)
end

local function sum_of(list)
  local sum = 0
  for _, bytes in pairs(list) do sum = sum + bytes end
  return sum
end

local flush_traces = require("jit").flush
local room = require "parlua.array.room"

--- Lets go of what is garbage, and of what only compiled code of jobs before still names.
local function give_back()
  room.collect()
  if sum_of(lent_before) > MOST / 2 then
    flush_traces()
    room.collect()
  end
  bytes_lent = sum_of(lent) + sum_of(lent_before)
  limit = bytes_lent + MOST
end

local rest = known.rest

function known.rest()
  if bytes_lent > limit then give_back() else rest() end
end

return M
