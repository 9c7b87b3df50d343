--- pool:everywhere: each of a pool's workers calls a function once. It goes with every job and every submitted call of
--- the pool from now on, and a worker calls it before anything else (worker/everywhere.lua). So that this happens at
--- once, and its results come back, tasks ask for them as long as a worker has not answered.
local codec = require "parlua.codec"
local engines = require "parlua.run.engine"
local failure = require "parlua.failure"
local list = require "parlua.sink.list"
local warning = require "parlua.run.warning"
local worker = require "parlua.worker.everywhere"

local M = {}

local MOST_ROUNDS = 50 -- one after the other in which no worker answers that has not before: then none is left

--- What a call that asks is not to have of the pool's options.
local function asking(options)
  local asks = {}
  for name, value in pairs(options) do asks[name] = value end
  for _, name in ipairs { "journal", "resume", "report", "trace", "deadline", "retries", "max_failures" } do
    asks[name] = nil
  end
  asks.chunk, asks.on_error, asks.progress = 1, "halt", "none"
  return asks
end

--- In the script's own state there is one worker: the script.
local function call_here(f, options, given)
  local place = warning.place()
  local ok, results = pcall(list.map, function() return worker.call_one(f, place) end, { 1 }, options, given)
  if ok then return { n = 1, results[1] } end
  error(failure.is(results) and results.message or results, 0)
end

--- Asks workers until each has answered.
local function ask_all(id, options, given)
  local results, answered, idle, workers = { n = 0 }, {}, 0, engines.count_workers(engines.choose(options), options)
  while results.n < workers and idle < MOST_ROUNDS do
    local asked, before = {}, results.n
    for k = 1, workers do asked[k] = id end
    local answers, _, summary = list.map(worker.tell, asked, options, given)
    for k = 1, answers.n do
      local answer = answers[k]
      if answer and not answered[answer.worker] then
        answered[answer.worker] = true
        results.n = results.n + 1
        results[results.n] = answer.result
      end
    end
    workers = math.min(workers, summary.workers)
    idle = results.n == before and idle + 1 or 0
  end
  return results
end

--- Has the pool's workers call f.
---@param all table[] the functions that the pool's workers call; f is added, and taken away when it fails
---@param options table of the pool
---@param given table what its runs are told
---@return any[] results with n
function M.call(all, f, options, given)
  options, given.unrecorded = asking(options), true
  if engines.runs_in_program(engines.choose(options)) then return call_here(f, options, given) end
  local id = codec.number()
  all[#all + 1] = { id, f, warning.place() }
  given.everywhere = all
  local ok, results = pcall(ask_all, id, options, given)
  if ok then return results end
  for k = #all, 1, -1 do
    if all[k][1] == id then table.remove(all, k) end
  end
  error(results, 0)
end

return M
