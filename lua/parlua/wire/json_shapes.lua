--- Tables of one shape as JSON: as wire/json.lua writes them, by a writer that is made for their fields, so that keys
--- are sorted once. For results that a worker turns into text. What is no table of a few plain fields goes the general
--- way.
local ffi = require "ffi"
local json = require "parlua.wire.json"
local shape = require "parlua.wire.shape"

require "parlua.wire.header" "lua/ffi_json.h"

local loadstring = require("parlua.wire.start").globals.loadstring -- a script may have taken it away
local M = {}

local C = ffi.C
local MOST_FIELDS, MOST_SHAPES, MOST_MISSES = 18, 64, 32
local SHORT = 1e14 -- up to here string.buffer writes an integer as its digits

local plain = { number = true, string = true, boolean = true }

--- Appends a field's value.
local function put(buffer, v)
  if type(v) == "number" then
    if v % 1 == 0 and v < SHORT and v > -SHORT and v ~= 0 then buffer:put(v) else json.put(buffer, v) end
  elseif type(v) == "string" then
    if C.parlua_json_is_plain(v, #v) ~= 0 then buffer:put('"', v, '"') else json.put(buffer, v) end
  else
    buffer:put(v and "true" or "false")
  end
end

--- The writer of tables with these keys: false where a table is another.
local function make_writer(keys)
  local checks, writes, sorted = {}, {}, {}
  for k, key in ipairs(keys) do
    checks[k] = ("  if not plain[type(v%d)] then return false end"):format(k)
    sorted[k] = { key = key, k = k }
  end
  table.sort(sorted, function(a, b) return a.key < b.key end)
  for k, field in ipairs(sorted) do
    local text = (k == 1 and "{" or ",") .. json.encode(field.key) .. ":"
    writes[k] = ("  buffer:put(%q)\n  put(buffer, v%d)"):format(text, field.k)
  end
  local text = ([[
local next, type, plain, put = ...
return function(buffer, v)
%s
%s
%s
  buffer:put("}")
  return true
end]]):format(shape.fields_text(keys), table.concat(checks, "\n"), table.concat(writes, "\n"))
  return assert(loadstring(text, "=parlua.json"))(next, type, plain, put)
end

--- The keys of a table that has a shape, and a text for them; nil: it has none.
local function shape_of(v)
  local keys, lengths = {}, {}
  for key, value in next, v do
    local n = #keys + 1
    if n > MOST_FIELDS or type(key) ~= "string" or key:byte() == 36 or not plain[type(value)] then return nil end
    if key:find "[\128-\255]" then return nil end
    keys[n], lengths[n] = key, #key
  end
  if #keys == 0 then return nil end
  return keys, table.concat(lengths, ",") .. ":" .. table.concat(keys)
end

--- A function that appends any result to a buffer, as json.put does.
---@param prefix string JSON Pointer of the result's place
function M.writer(prefix)
  local writers, count, misses, write = {}, 0, 0, nil
  local function other(buffer, v)
    misses = misses + 1
    if misses <= MOST_MISSES or misses % MOST_MISSES == 0 then
      local keys, text = shape_of(v)
      if keys and (writers[text] or count < MOST_SHAPES) then
        if not writers[text] then writers[text], count = make_writer(keys), count + 1 end
        write, misses = writers[text], 0
        if write(buffer, v) then return end
      end
    end
    json.put(buffer, v, prefix)
  end
  return function(buffer, v)
    if type(v) ~= "table" then return json.put(buffer, v, prefix) end
    if not write or not write(buffer, v) then other(buffer, v) end
  end
end

return M
