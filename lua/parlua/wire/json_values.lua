--- Values as JSON and back: `parlua.json`. What JSON lacks is an object with one key that begins with `$`, both ways
--- (wire/json.lua lists these).
local ffi = require "ffi"
local read = require "parlua.json_reader"
local writer = require "parlua.wire.json"

local M = {}

local numbers = { nan = 0 / 0, inf = math.huge, ["-inf"] = -math.huge }

local digits = {}
for k = 1, 64 do
  digits[("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"):byte(k)] = k - 1
end

--- The bytes that a text in base64 stands for; nil: it is none.
local function from_base64(text)
  if #text % 4 ~= 0 or not text:find "^[%w+/]*=?=?$" then return nil end
  local parts = {}
  for at = 1, #text, 4 do
    local a, b, c, d = text:byte(at, at + 3)
    local bits = digits[a] * 2 ^ 18 + digits[b] * 2 ^ 12 + (digits[c] or 0) * 2 ^ 6 + (digits[d] or 0)
    local bytes = string.char(math.floor(bits / 65536), math.floor(bits / 256) % 256, bits % 256)
    parts[#parts + 1] = not digits[c] and bytes:sub(1, 1) or not digits[d] and bytes:sub(1, 2) or bytes
  end
  return table.concat(parts)
end

--- Tables that stand for one that was written before: table -> JSON Pointer; nil: there were none in this text.
local pointers

local revive = {}

revive["$number"] = function(value) return numbers[value] end
revive["$bytes"] = function(value) return type(value) == "string" and from_base64(value) or nil end

revive["$table"] = function(value)
  if type(value) ~= "table" then return nil end
  local made = {}
  for _, pair in ipairs(value) do
    if type(pair) ~= "table" or pair[1] == nil or pair[1] ~= pair[1] then return nil end
    made[pair[1]] = pair[2]
  end
  pointers = pointers or {}
  pointers[made] = value -- a pointer leads through what is written
  return made
end

local function whole(pattern, suffix)
  return function(value)
    if type(value) ~= "string" or not value:find(pattern) then return nil end
    local f = loadstring("return " .. value .. suffix)
    return f and f()
  end
end

revive["$int64"], revive["$uint64"] = whole("^%-?%d+$", "LL"), whole("^%d+$", "ULL")

revive["$complex"] = function(value)
  if type(value) ~= "table" or type(value[1]) ~= "number" or type(value[2]) ~= "number" then return nil end
  return ffi.new("complex", value[1], value[2])
end

local function pointer(value)
  if type(value) ~= "string" then return nil end
  local made = {}
  pointers = pointers or {}
  pointers[made] = value
  return made
end

revive["$cycle"], revive["$same"] = pointer, pointer

local function revive_one(name, value)
  local make = revive[name]
  if make then return make(value) end
end

--- Where a JSON Pointer leads in what was read; nil: nowhere.
local function follow(root, text, marks)
  local at = root
  for token in text:gmatch "/([^/]*)" do
    token = token:gsub("~1", "/"):gsub("~0", "~")
    if type(at) ~= "table" then return nil end
    if token == "$table" and type(marks[at]) == "table" then
      at = marks[at]
    else
      local index = tonumber(token)
      local field = rawget(at, token)
      if field == nil and index then field = rawget(at, index + 1) end
      at = field
    end
  end
  return at
end

--- Puts the tables that pointers lead to in the pointers' places.
local function resolve(root, marks)
  local seen, queue = { [root] = true }, { root }
  local function target(value)
    local text = type(value) == "table" and marks[value]
    if type(text) ~= "string" then return value end
    local found = follow(root, text, marks)
    if found == nil then error(("no JSON: nothing is at %s, where a $cycle or $same leads"):format(text), 0) end
    return found
  end
  while #queue > 0 do
    local t = table.remove(queue)
    local changes
    for key, value in next, t do
      local new_key, new_value = target(key), target(value)
      if new_key ~= key or new_value ~= value then
        changes = changes or {}
        changes[#changes + 1] = { key, new_key, new_value }
      end
      for _, each in ipairs { new_key, new_value } do
        if type(each) == "table" and not seen[each] then
          seen[each] = true
          queue[#queue + 1] = each
        end
      end
    end
    for _, change in ipairs(changes or {}) do t[change[1]] = nil end
    for _, change in ipairs(changes or {}) do t[change[2]] = change[3] end
  end
end

local function finish(ok, value)
  local marks = pointers
  pointers = nil
  if not ok and tostring(value):find "string length overflow$" then
    error("no JSON that can be read: a string in it has more than 2 GB", 0)
  end
  if not ok then error((tostring(value):gsub("^.-no JSON: ", "no JSON: ")), 0) end
  if marks and type(value) == "table" then resolve(value, marks) end
  return value
end

--- The value of a text in JSON: objects and arrays are tables, null is nil. Objects with one key such as `$number` are
--- what parlua writes for values that JSON lacks: they become these again. Raises what is wrong with the text, and at
--- which byte. Example: `parlua.json.decode('{"a":[1,2]}').a[2]`
---@param text string
---@return any
function M.decode(text)
  if type(text) ~= "string" then error("json.decode: a string is expected, got " .. type(text), 2) end
  return finish(pcall(read, text, revive_one))
end

local function finish_line(ok, value)
  if ok then return finish(ok, value) end
  return finish(ok, (tostring(value):gsub("ends in the middle of a value", "%0 (each line must hold a whole one)")))
end

--- The same of a line, as a text.
---@param text string
function M.decode_line(text) return finish_line(pcall(read, text, revive_one)) end

--- The same of a line as bytes, with or without its end.
---@param from ffi.cdata*
---@param length integer
function M.decode_bytes(from, length)
  while length > 0 and (from[length - 1] == 10 or from[length - 1] == 13) do length = length - 1 end
  return finish_line(pcall(read, tonumber(ffi.cast("intptr_t", from)), length, revive_one))
end

--- A value as one line of JSON, without a line end; the keys of objects are sorted. Never raises. Example:
--- `print(parlua.json.encode { a = { 1, 2 } })`
---@param value any
---@return string
function M.encode(value) return writer.encode(value) end

return M
