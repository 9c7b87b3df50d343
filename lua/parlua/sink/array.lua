--- The results of map as an array: put into one that the script has (`into`), or packed into a new one
--- (`as = "array"`).
-- Where workers reach the script's memory they put numbers in place themselves, and nothing of them travels: over a
-- range of 1e8, 1.3 ns a task and worker (bench/array.lua). Elsewhere, and where a task returns several numbers into an
-- array whose width is not known yet, results come as always.
local common = require "parlua.common"
local core = require "parlua.array.core"
local engines = require "parlua.run.engine"
local ffi = require "ffi"
local kinds = require "parlua.array.kinds"
local make = require "parlua.array.make"
local options_module = require "parlua.options"
local place = require "parlua.array.place"
local run_module = require "parlua.run"
local sources = require "parlua.source"

require "parlua.array"

local M = {}

---@class parlua.ArraySink
---@field out parlua.Array|false what the results are put into; it grows where their number is not known
---@field width integer? numbers a task
---@field returned integer[][] ranges of tasks whose results stand in the array, ascending
---@field held table<integer, any>|false results of another width, by task, until `candidate` is known to be the first
---@field about table<integer, table> what failures of these are to say of their arguments: as of Run:about
---@field candidate integer the first task that has returned numbers, as far as is known
---@field failed table<integer, true>|false tasks from `head` on that have failed
local Sink = { name = "map", takes_arrays = true, is_gathered = true, limit = math.huge, is_enough = false }
Sink.__index = Sink

function Sink.ahead() return math.huge end

function Sink:begin(run) self.run = run end

-- ---- which tasks have returned ----

--- Tasks first..last have returned. Ranges that touch are joined: there are about as many as workers.
local function note_returned(self, first, last)
  local ranges, low, high = self.returned, 1, #self.returned
  while low <= high do -- the first range that ends at first - 1 or later
    local middle = math.floor((low + high) / 2)
    if ranges[middle][2] < first - 1 then low = middle + 1 else high = middle - 1 end
  end
  local at = low
  while ranges[at] and ranges[at][1] <= last + 1 do
    first, last = math.min(first, ranges[at][1]), math.max(last, ranges[at][2])
    table.remove(ranges, at)
  end
  table.insert(ranges, at, { first, last })
end

--- Calls visit(first, last) for tasks up to n that did not return.
local function each_gap(self, n, visit)
  local next_task = 1
  for _, range in ipairs(self.returned) do
    if range[1] > n then break end
    if range[1] > next_task then visit(next_task, range[1] - 1) end
    next_task = range[2] + 1
  end
  if next_task <= n then visit(next_task, n) end
end

-- ---- taking results ----

local function copy_numbers(to, from, n)
  for k = 0, n - 1 do to[k] = from[k] end
end

local function numbers(n) return n == 1 and "1 number" or ("%.0f numbers"):format(n) end

--- Room for tasks up to `last` in an array that grows, of `width` numbers each.
local function make_room(self, last, width)
  local out = self.out
  if self.width and width ~= self.width then
    error(("the results are not alike: %s, and such of %s before"):format(numbers(width), numbers(self.width)), 0)
  end
  if not out and width == 1 and self.into then
    self.width, self.out = 1, self.into
  elseif not out then
    self.width = width
    local n = self.n or math.max(last, 1024)
    self.out = core.new(self.kind, width > 1 and { n, width } or { n })
  elseif last > out._shape[0] then
    local shape = core.shape(out)
    shape[1] = math.max(last, 2 * shape[1])
    self.out = core.new(self.kind, shape)
    ffi.copy(self.out._at, out._at, out._count * self.kind.size)
    out:free()
  end
end

--- How many numbers a result is; raises where it is none.
local function width_of(index, value)
  local width = place.width(value)
  if width then return width end
  error(("task %.0f returned %s, where numbers are to be packed into an array"):format(index, core.show(value)), 0)
end

--- Puts a result in place; what is wrong with it is its task's failure.
local function put(self, index, value)
  local ok, message = pcall(function()
    if not self.is_into then make_room(self, index, width_of(index, value)) end
    place.put(self.out, index, value)
  end)
  if ok then note_returned(self, index, index) else self.run:refuse(index, message, self.about[index]) end
end

-- ---- whose width it is: the first task's that returned numbers, whichever came first ----

--- The first task that has returned numbers is known: results that are not as wide have failed.
local function decide(self)
  local held, index = self.held, self.candidate
  self.held, self.failed = false, false
  local value = held[index]
  if value ~= nil then
    local others = self.returned
    local width, were = place.width(value), self.width
    self.out, self.width, self.returned = false, false, {}
    self.into = width == 1 and self.into -- workers go on to put numbers there
    make_room(self, index, width)
    for _, range in ipairs(others) do
      for other = range[1], range[2] do
        self.run:refuse(other, ("the results are not alike: %s, and such of %s before"):format(numbers(were),
          numbers(width)), self.about[other])
      end
    end
  end
  local indices = {}
  for other in pairs(held) do indices[#indices + 1] = other end
  table.sort(indices)
  for _, other in ipairs(indices) do put(self, other, held[other]) end
end

--- Looks whether all tasks before the first that returned numbers have failed.
local function settle_first(self)
  while self.failed[self.head] do
    self.failed[self.head] = nil
    self.head = self.head + 1
  end
  if self.candidate == self.head then decide(self) end
end

--- Tasks from `index` on have returned numbers.
local function note_first(self, index)
  if not self.held or index >= self.candidate then return end
  self.candidate = index
  settle_first(self)
end

--- Puts a result in place, or holds it back where its width may be that of all.
local function put_first(self, index, value)
  if not self.held then return put(self, index, value) end
  local ok, width = pcall(width_of, index, value)
  if ok and self.width and width ~= self.width then
    self.held[index], self.about[index] = value, self.run:about(index)
  else
    put(self, index, value)
    if not ok then return end
  end
  note_first(self, index)
end

--- Workers have put numbers in place.
local function take_in_place(self, first, n)
  local ok, message = true, nil
  if not self.is_into then ok, message = pcall(make_room, self, first + n - 1, 1) end
  if ok then
    note_returned(self, first, first + n - 1)
    return note_first(self, first)
  end
  if self.held then
    for index = first, first + n - 1 do
      self.held[index], self.about[index] = tonumber(self.into:get(index)), self.run:about(index)
    end
    return note_first(self, first)
  end
  for index = first, first + n - 1 do self.run:refuse(index, message) end
end

function Sink:take(batch)
  local first, n = batch.first, batch.n
  local is_plain = self.kind.class == "float"
  if batch.numbers then
    if not self.is_into and is_plain and (self.width or 1) == 1 then make_room(self, first + n - 1, 1) end
    local out = self.out
    local is_row = out and out._rank == 1 and core.has(out, core.CONTIGUOUS)
    if is_row and is_plain and first + n - 1 <= out._shape[0] then
      if self.kind.name == "double" then
        ffi.copy(out._at + (first - 1), batch.numbers, 8 * n)
      else
        copy_numbers(out._at + (first - 1), batch.numbers, n)
      end
      note_returned(self, first, first + n - 1)
      return note_first(self, first)
    end
    for k = 0, n - 1 do put_first(self, first + k, batch.numbers[k]) end
  elseif batch.values then
    for k = 0, n - 1 do put_first(self, first + k, batch.values[k]) end
  elseif n > 0 then -- they stand in the array
    take_in_place(self, first, n)
  end
end

function Sink:fail(failure)
  if not self.held then return end
  self.failed[failure.index] = true
  settle_first(self)
end

-- ---- the end ----

--- Says what stands for tasks that did not return.
local function fill_gaps(self, n, failures, fill)
  if fill == nil and self.kind.class == "float" then fill = 0 / 0 end
  if fill == nil and self.kind.class == "complex" then fill = ffi.new("complex", 0 / 0, 0 / 0) end
  local count, first_gap = 0, nil
  each_gap(self, n, function(first, last) count, first_gap = count + last - first + 1, first_gap or first end)
  if count == 0 then return end
  if fill == nil then
    local why = failures[1] and (": task %.0f: %s"):format(failures[1].index, failures[1].message) or ""
    error(("map: %.0f of %.0f tasks gave no result, and an array of %s has nothing that stands for none; name a value "
      .. "with the option fill%s"):format(count, n, self.kind.name, why), 0)
  end
  each_gap(self, n, function(first, last) self.out:view({ first, last }):fill(fill) end)
end

--- The array of the first n tasks.
local function finish(self, failures, options)
  local n = self.run:length()
  if n < 1 then error('map: there are no tasks, and an array (as = "array") has at least one element', 0) end
  if not self.out then make_room(self, n, 1) end
  if self.out._shape[0] < n then make_room(self, n, self.width or 1) end
  fill_gaps(self, n, failures, options.fill)
  return self.out._shape[0] == n and self.out or self.out:view { 1, n }
end

-- ---- the call ----

local function check_into(into, n)
  if not core.is(into) then
    error(("wrong value for the option into, from the call: %s; it takes an array (parlua.array)"):format(
      core.show(into)), 0)
  end
  core.check_writable(into)
  if into._rank == 0 then error("the option into takes an array with a dimension for the tasks", 0) end
  if n and n > into._shape[0] then
    error(("the array that is to take the results has room for %.0f tasks, the size of its first dimension (%s), and "
      .. "there are %.0f"):format(into._shape[0], core.shape_text(into), n), 0)
  end
end

local function check_kind(name)
  local kind = kinds.of(name or "double")
  if kind then return kind end
  error(("wrong value for the option type, from the call: %s; it takes the type of an array's elements: %s"):format(
    core.show(name), kinds.names), 0)
end

local function check_fill(kind, fill)
  if fill == nil then return end
  if not make.fits(kind, fill) or not place.holds(kind, fill) then
    error(("wrong value for the option fill, from the call: %s; it takes a number that is of the type %s"):format(
      core.show(fill), kind.name), 0)
  end
end

--- How many tasks there will be; nil: that is not known.
local function count_of(source)
  if source.is_endless or not (source:is_indexed() or source.kind == "list") then return nil end
  return source.n
end

--- Is this call one for here?
function M.is_wanted(options) return options.into ~= nil or options.as == "array" end

---@return parlua.Array array, parlua.Failure[] failures, parlua.Summary summary
function M.map(f, arguments, options, given)
  if sources.is_source(f) or not common.is_callable(f) then
    run_module.open(f, arguments, options, Sink, given) -- raises
  end
  sources.refuse_misunderstood(arguments)
  local resolved = options_module.resolve(options)
  local source = sources.of(arguments)
  local n, into = count_of(source), options.into
  if into ~= nil and options.as == "array" then error('the options into and as = "array" exclude each other', 0) end
  if into ~= nil then check_into(into, n) end
  local kind = into ~= nil and core.kind_of(into) or check_kind(options.type)
  check_fill(kind, options.fill)
  local reaches = engines.reaches(engines.choose(resolved)) and not resolved.journal
  local sink = setmetatable({ kind = kind, is_into = into ~= nil, out = into or false, n = n, returned = {},
                              keep = "first", run = false, into = false, held = into == nil and {}, failed = {},
                              head = 1, candidate = math.huge, about = {} }, Sink)
  if reaches and into ~= nil then
    sink.keep, sink.into = "into", into
  elseif reaches and n and n > 0 and kind.class ~= "complex" and not kind.wide then
    sink.keep, sink.into = "packed", core.new(kind, { n }, true) -- gaps are filled in the end
  end
  local run = run_module.open(f, source, options, sink, given)
  run:go()
  if sink.held and sink.candidate < math.huge then decide(sink) end
  local failures, summary = run:outcome()
  if into ~= nil then return into, failures, summary end
  return finish(sink, failures, options), failures, summary
end

return M
