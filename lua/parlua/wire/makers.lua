--- Objects of C modules that can be made again in another state: what makes them, and their settings where these can
--- be asked for. For other objects of C modules (LPeg patterns, sockets) nothing of the kind is known.
local codec = require "parlua.codec"

local M = {}

local loaded = package.loaded

-- Functions that return their settings when they are called without arguments, and take the same.
local cjson_settings = {
  "encode_sparse_array", "encode_max_depth", "decode_max_depth", "encode_number_precision", "encode_keep_buffer",
  "encode_invalid_numbers", "decode_invalid_numbers", "encode_empty_table_as_object", "decode_array_with_array_mt",
  "encode_escape_forward_slash", "encode_skip_unsupported_value_types", "encode_indent", "decode_allow_comment",
}

--- By module: the function that makes an object, one of the object's functions by which it is known, and its settings.
local known = {
  cjson = { maker = "new", probe = "encode", settings = cjson_settings },
  ["cjson.safe"] = { maker = "new", probe = "encode_number_precision", settings = cjson_settings },
}

local function settings_of(object, names)
  local settings = {}
  for _, name in ipairs(names) do
    local f = rawget(object, name)
    if type(f) == "function" and codec.c_address(f) then
      local values = { pcall(f) }
      if values[1] and #values > 1 then
        values[1] = name
        settings[#settings + 1] = values
      end
    end
  end
  return settings
end

local function apply(object, settings)
  for _, values in ipairs(settings) do
    local f = rawget(object, values[1])
    if type(f) == "function" then pcall(f, unpack(values, 2)) end
  end
  return object
end

--- How an object was made: module, function, settings; nil if that is not known.
function M.how(object)
  for name, maker in pairs(known) do
    local module = package.loaded[name]
    local probe = rawget(object, maker.probe)
    if type(module) == "table" and type(probe) == "function" and codec.c_address(probe)
      and type(module[maker.probe]) == "function"
      and codec.c_address(probe) == codec.c_address(module[maker.probe]) then
      return name, maker.maker, settings_of(object, maker.settings)
    end
  end
end

--- Makes such an object here.
function M.make(name, maker, settings)
  if not known[name] then error("cannot decode: nothing makes such an object", 0) end
  return apply(require(name)[maker](), settings)
end

--- Is one of the modules loaded?
function M.has_modules() return loaded.cjson ~= nil or loaded["cjson.safe"] ~= nil end

local asked_cjson, asked_safe -- these modules as they were asked last

-- What was asked for last. Entries for each setting: module, name, function, and up to three values that it returned.
local asked, STRIDE = {}, 6

--- A number for the settings that were asked for last, another each time that they have changed; 0: can't be told.
M.number = 0

--- Do two lists hold the same?
local function is_same(one, other)
  for k = 1, math.max(#one, #other) do
    if one[k] ~= other[k] then return false end
  end
  return true
end

--- Puts settings of a module behind `n` entries of the list; returns how many there are then; nil: they don't fit.
local function note(list, n, module, settings)
  for _, values in ipairs(settings) do
    if #values > STRIDE - 2 then return nil end
    list[n + 1], list[n + 2], list[n + 3] = module, values[1], rawget(module, values[1])
    for k = 2, STRIDE - 2 do
      local value = values[k]
      if value == nil then value = false end
      list[n + k + 2] = value
    end
    n = n + STRIDE
  end
  return n
end

local last_number = 0

--- Settings of the loaded modules themselves: a list of names and settings.
function M.of_modules()
  local all, list, n = {}, {}, 0
  asked_cjson, asked_safe = loaded.cjson, loaded["cjson.safe"]
  for name, maker in pairs(known) do
    local module = package.loaded[name]
    if type(module) == "table" then
      local settings = settings_of(module, maker.settings)
      all[#all + 1] = name
      all[#all + 1] = settings
      n = n and note(list, n, module, settings)
    end
  end
  if not n then
    M.number = 0
  elseif M.number == 0 or not is_same(list, asked) then
    last_number = last_number + 1
    asked, M.number = list, last_number
  end
  return all
end

--- Do the loaded modules have the settings of this number? A microsecond, as all are asked.
---@param number integer
function M.have(number)
  if number == 0 or number ~= M.number or asked_cjson ~= loaded.cjson or asked_safe ~= loaded["cjson.safe"] then
    return false
  end
  for k = 1, #asked, STRIDE do
    local f = asked[k + 2]
    if rawget(asked[k], asked[k + 1]) ~= f then return false end
    local one, two, three = f()
    if one ~= asked[k + 3] or (two or false) ~= asked[k + 4] or (three or false) ~= asked[k + 5] then return false end
  end
  return true
end

--- Gives the modules of this state such settings.
function M.set_modules(all)
  for i = 1, #all, 2 do
    local module = package.loaded[all[i]]
    if type(module) == "table" then apply(module, all[i + 1]) end
  end
end

return M
