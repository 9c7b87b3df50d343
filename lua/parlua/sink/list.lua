--- map and each: the list of all results, or nothing.
local common = require "parlua.common"
local host = require "parlua.host"
local pace = require "parlua.run.pace"
local run_module = require "parlua.run"
local new_table = require "table.new"

local M = {}

-- A table is made in its final size up to here (800 MB); beyond, it grows as results come.
local MOST_PREALLOCATED = 1e8

local function never_ahead() return math.huge end

-- ---- the list of map ----

local List = { name = "map", takes_spawned = true, is_gathered = true, takes_any_order = true, keep = "first",
  limit = math.huge, is_enough = false, ahead = never_ahead }
List.__index = List
M.List = List

function List:begin(run)
  self.run = run
  run.pace = pace -- what comes stays
end

--- Made when the first results come: forked workers then do not share its pages, which would be copied as they are
--- written.
local function results_of(list)
  if not list.results then
    local total = list.run.total
    list.results = new_table(total and math.min(total, MOST_PREALLOCATED) or 0, 1)
  end
  return list.results
end

-- 1.6 ns a number (bench/decode.lua).
local function copy_numbers(results, first, numbers, n)
  for k = 0, n - 1 do results[first + k] = numbers[k] end
end

local function copy_values(results, first, values, n)
  for k = 0, n - 1 do
    local value = values[k]
    if type(value) ~= "nil" then results[first + k] = value end
  end
end

function List:take(batch)
  if batch.is_void then return end
  local results = results_of(self)
  if batch.numbers then
    copy_numbers(results, batch.first, batch.numbers, batch.n)
  else
    copy_values(results, batch.first, batch.values, batch.n)
  end
end

function List:fail() end

---@return table results, parlua.Failure[] failures, parlua.Summary summary
function M.map(f, arguments, options, given)
  if type(options) == "table" and (options.into ~= nil or options.as == "array") then
    return require("parlua.sink.array").map(f, arguments, options, given)
  end
  local list = setmetatable({ results = false, run = false }, List)
  local run = run_module.open(f, arguments, options, list, given)
  run:go()
  local failures, summary = run:outcome()
  local results = list.results or {}
  for index = run.last + 1, run.reached do results[index] = nil end -- behind the end of a run that was ended early
  results.n = run:length()
  if run.spawned then results.parents = run.spawned:parents_of() end
  list.results = false -- a compiled trace may hold the run for long
  run_module.recycle(run)
  return results, failures, summary
end

local function call(f) return f() end

--- Calls functions side by side and returns the first result of each; raises the first failure.
function M.run(functions, options)
  if type(functions) ~= "table" or #functions == 0 and next(functions) ~= nil then
    error(("run: a list of functions is expected, got %s"):format(type(functions) == "table"
      and "a table without one" or type(functions)), 3)
  end
  for k = 1, #functions do
    if not common.is_callable(functions[k]) then
      error(("run: item %d is no function but %s"):format(k, type(functions[k])), 3)
    end
  end
  if #functions == 0 then return end
  local all = { workers = not host.ranks() and #functions or nil, chunk = 1, on_error = "halt" }
  for name, value in pairs(options or {}) do all[name] = value end
  local results = M.map(call, functions, all)
  return unpack(results, 1, #functions)
end

-- ---- the nothing of each ----

local nothing = { name = "each", takes_spawned = true, is_gathered = true, takes_any_order = true, keep = "none",
  limit = math.huge, is_enough = false, ahead = never_ahead }

function nothing:take() end
function nothing:fail() end

---@return parlua.Failure[] failures, parlua.Summary summary
function M.each(f, arguments, options, given)
  local run = run_module.open(f, arguments, options, nothing, given)
  run:go()
  return run:outcome()
end

return M
