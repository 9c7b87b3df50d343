--- Several futures: in the order in which they end, until some have ended, the first of them.
local future_module = require "parlua.future"
local unseen = require "parlua.future.unseen"

local M = {}

local function check_futures(what, list)
  if type(list) ~= "table" or future_module.is(list) then
    local what_it_is = future_module.is(list) and "one future" or type(list)
    error(("%s: a list of futures is expected, got %s"):format(what, what_it_is), 3)
  end
  for k = 1, #list do
    if not future_module.is(list[k]) then
      error(("%s: item %d is no future but %s"):format(what, k, list[k] == nil and "nil" or type(list[k])), 3)
    end
    future_module.check_owner(list[k], what, 4)
  end
end

local function by_end(a, b) return a.is_done < b.is_done end

local Completed = { is_patient = true }
Completed.__index = Completed

function Completed:note(future)
  self.last = self.last + 1
  self[self.last] = future
  self.is_done = true
end

--- The next one to have ended.
function Completed.__call(queue)
  if queue.first > queue.n then return nil end
  while queue.first > queue.last do
    queue.is_done = false
    if not future_module.advance(queue) then return nil end
  end
  local future = queue[queue.first]
  queue[queue.first] = nil
  queue.first = queue.first + 1
  return future, queue.place_of[future]
end

--- Futures in the order in which their calls end: `for future, k in parlua.as_completed(futures)`, where k is its place
--- in the list.
---@param list parlua.Future[]
---@return fun(): parlua.Future?, integer?
function M.as_completed(list)
  check_futures("as_completed", list)
  local queue = setmetatable({ first = 1, last = 0, n = 0, is_done = false, place_of = {} }, Completed)
  local ended, open = {}, {}
  for k, future in ipairs(list) do
    if not queue.place_of[future] then
      queue.place_of[future], queue.n = k, queue.n + 1
      table.insert(future.is_done and ended or open, future)
    end
  end
  table.sort(ended, by_end)
  for _, future in ipairs(ended) do queue:note(future) end
  for _, future in ipairs(open) do future_module.watch(future, queue) end
  return queue
end

--- Counts calls that end, and keeps them in the order in which they do.
local Counter = {}
Counter.__index = Counter

function Counter:note(future)
  local ended = self.ended
  if not ended then return end
  local n = self.n + 1
  self.n, ended[n] = n, future
  if n >= self.wanted or (self.ends_at_failure and rawget(future, "record")) then self.is_done = true end
end

--- Waits, and returns those that have ended, and the others.
local function wait_for(list, how, seconds)
  local ended = {}
  local counter = setmetatable({ is_done = #list == 0, wanted = how == "first" and 1 or #list, n = 0, ended = ended,
    is_patient = how == "all", ends_at_failure = how == "first_failure" }, Counter)
  for _, future in ipairs(list) do future_module.watch(future, counter) end
  if counter.n > 1 then table.sort(ended, by_end) end -- they had ended before
  future_module.advance(counter, seconds)
  counter.ended = false -- futures that go on still know the counter
  local open = {}
  if counter.n < #list then
    for _, future in ipairs(list) do
      if not future.is_done then open[#open + 1] = future end
    end
  end
  return ended, open
end

local manners = { first = true, all = true, first_failure = true }

--- Waits for calls. Returns those that have ended, in the order in which they did, and the others.
---@param list parlua.Future[]
---@param how? "all"|"first"|"first_failure" default: "all"; "first_failure": until one fails, or all have ended
---@param seconds? number at most so long
---@return parlua.Future[] ended
---@return parlua.Future[] open
function M.wait(list, how, seconds)
  if type(how) == "number" and seconds == nil then how, seconds = nil, how end
  check_futures("wait", list)
  future_module.check_seconds("wait", seconds)
  how = how or "all"
  if not manners[how] then
    error(('wait: "first", "all" or "first_failure" is expected, got %s'):format(tostring(how)), 2)
  end
  return wait_for(list, how, seconds)
end

--- Waits for the first call that ends, cancels the others, and returns all that it returned; raises its failure when it
--- failed.
---@param list parlua.Future[]
---@return any ...
function M.race(list)
  check_futures("race", list)
  if #list == 0 then error("race: there is no future in the list", 2) end
  local first = wait_for(list, "first")[1]
  for _, future in ipairs(list) do
    if future ~= first then
      future:cancel()
      unseen.see(future)
    end
  end
  return first:get()
end

return M
