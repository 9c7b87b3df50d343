--- Groups of a reduction (`parlua.group`) on their way: a worker's block of tasks may have thousands, and each is a few
--- numbers. They go as one string of bytes, from which the script merges them; as tables in a table, the codec would
--- take ten times as long as the worker needs to fold the rows.
--
-- Words of 8 bytes: how many groups; for each the length of its key (below 0: a number), the key, the numbers.
--
-- What has gone as bytes is set back and used for the worker's next block: the collector has nothing to do with it.
local ffi = require "ffi"

local start = require "parlua.wire.start"
local concat = start.libraries.table.concat -- a script may have put its own in its place
local M = {}

---@class parlua.Flat
---@field places string[] where the numbers of an accumulator are: what follows its name ("", "[2]")
---@field lacks table<integer, true> those that may be nil
---@field build string the accumulator of numbers $1, $2, ...

--- The description of an accumulator that is so many numbers in a list.
---@return parlua.Flat
function M.list(n)
  local places, parts = {}, {}
  for k = 1, n do places[k], parts[k] = ("[%d]"):format(k), "$" .. k end
  return { places = places, lacks = {}, build = "{ " .. concat(parts, ", ") .. " }" }
end

--- That of one which is a number, or nil.
---@return parlua.Flat
function M.one(may_lack)
  return { places = { "" }, lacks = { may_lack or nil }, build = may_lack and "($1 == $1 and $1 or nil)" or "$1" }
end

local MOST_PLACES = 60

--- That of a list of accumulators; nil: one of them can't be described.
---@param flats parlua.Flat[] with n
---@return parlua.Flat?
function M.together(flats)
  local all, parts = { places = {}, lacks = {} }, {}
  for k = 1, flats.n do
    local flat = flats[k]
    if not flat or #all.places + #flat.places > MOST_PLACES then return nil end
    local before = #all.places
    for j, place in ipairs(flat.places) do
      all.places[before + j], all.lacks[before + j] = ("[%d]%s"):format(k, place), flat.lacks[j]
    end
    parts[k] = flat.build:gsub("%$(%d+)", function(j) return "$" .. before + j end)
  end
  all.build = "{ " .. concat(parts, ", ") .. " }"
  return all
end

local MOST_SPARE = 20000 -- accumulators that are kept for the next block

---@class parlua.Spare accumulators and a table of groups that can be used again
---@field of table<any, any> accumulators by keys
---@field groups? table

--- A table for groups.
---@param spare parlua.Spare
function M.take(spare)
  local groups = spare.groups
  spare.groups = nil
  return groups or {}
end

local packer_text = [[
local cast, copy, ffi_string, next, type, new, clear, spare, a = ...
%s
local room, words = 1024, new("double[?]", 1024)
local bytes = cast("char *", words)
return function(groups)
  local at, n = 1, 0
  for key, a in next, groups do
    local length, key_words = -1, 1
    if type(key) == "string" then
      length = #key
      key_words = (length + 7 - (length + 7) %% 8) / 8
    elseif type(key) ~= "number" then
      return groups
    end
    if at + 1 + key_words + COUNT > room then
      local more = 2 * room + key_words
      local larger = new("double[?]", more)
      copy(larger, words, 8 * at)
      room, words, bytes = more, larger, cast("char *", larger)
    end
    words[at] = length
    if length >= 0 then copy(bytes + 8 * (at + 1), key, length) else words[at + 1] = key end
    at = at + 1 + key_words
%s
    at, n = at + COUNT, n + 1
  end
%s
  words[0] = n
  return ffi_string(bytes, 8 * at)
end]]

local field_text = [[
    local x# = aPLACE
    if LACK then x# = 0 / 0 end
    if type(x#) ~= "number" then return groups end
    words[at + AT] = x#]]

local recycle_text = [[
  if n > MOST then
    spare.of, spare.groups = {}, nil
  else
    local of = spare.of
    for key, a in next, groups do
%s
      of[key] = a
    end
    clear(groups)
    spare.groups = groups
  end]]

--- A function that makes a string of groups; what is none that it can make one of, it returns as it is.
---@param flat parlua.Flat
---@param spare parlua.Spare gets what is not needed any more
---@param fresh any an accumulator as it is at first
function M.packer(flat, spare, fresh)
  local lines, inits, resets = {}, {}, {}
  for k, place in ipairs(flat.places) do
    local lack = flat.lacks[k] and ("x%d == nil"):format(k) or "false"
    lines[k] = field_text:gsub("#", k):gsub("PLACE", place):gsub("LACK", lack):gsub("AT", k - 1)
    inits[k] = ("local i%d = a%s"):format(k, place)
    resets[k] = ("      a%s = i%d"):format(place, k)
  end
  local recycle = type(fresh) == "table" and recycle_text:gsub("MOST", MOST_SPARE):format(concat(resets, "\n")) or ""
  local text = packer_text:gsub("COUNT", #flat.places):format(concat(inits, "\n"), concat(lines, "\n"), recycle)
  return start.compile(text, "=parlua.groups")(ffi.cast, ffi.copy, ffi.string, next, type, ffi.new,
    require "table.clear", spare, fresh)
end

local merger_text = [[
local cast, ffi_string, merge, damaged, type = ...
return function(groups, packed)
  if type(packed) ~= "string" then return nil end
  local words, bytes, last, at = cast("const double *", packed), cast("const char *", packed), #packed / 8, 1
  if last < 1 then damaged() end
  for _ = 1, words[0] do
    if at + 1 > last then damaged() end
    local length, key, key_words = words[at], nil, 1
    if length >= 0 then key_words = (length + 7 - (length + 7) %% 8) / 8 end
    if not (at + 1 + key_words + COUNT <= last) then damaged() end
    if length >= 0 then key = ffi_string(bytes + 8 * (at + 1), length) else key = words[at + 1] end
    at = at + 1 + key_words
%s
    at = at + COUNT
    local b, a = %s, groups[key]
    if a == nil then groups[key] = b else groups[key] = merge(a, b) end
  end
  return groups
end]]

local function damaged() error("cannot decode the groups of a worker: they are damaged", 0) end

--- A function that merges such a string into groups, each by `merge`; for what is no such string it returns nil.
---@param flat parlua.Flat
function M.merger(flat, merge)
  local lines = {}
  for k = 1, #flat.places do lines[k] = ("    local x%d = words[at + %d]"):format(k, k - 1) end
  local text = merger_text:gsub("COUNT", #flat.places):format(concat(lines, "\n"), (flat.build:gsub("%$", "x")))
  return start.compile(text, "=parlua.groups")(ffi.cast, ffi.string, merge, damaged, type)
end

return M
