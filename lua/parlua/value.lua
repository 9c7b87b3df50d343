--- Shows a Lua value to a person: for failures, messages about options, the debugger, the prompt. Knows nothing of
--- parlua and requires nothing of it but what shows objects of the FFI, so every module may use it.
--
-- The text is Lua where Lua has a form for the value: numbers, quoted strings, tables. Keys come in a fixed order, so
-- the same value always has the same text. What has no such form stands in angle brackets.
local cdata = require "parlua.lazy" "parlua.cdata"

local M = {}

--- Bounds of the text. Each has a default.
---@class parlua.ValueOptions
---@field depth? integer levels of tables that are shown; a deeper table is {...}. Default 4
---@field length? integer entries that are shown of each table. Default 50
---@field bytes? integer bytes that are shown of each string. Default 200
---@field width? integer columns of a line: a table that does not fit is broken over several lines. Default: all in one
--- line
---@field limit? integer bytes of the whole text, about: once it is reached, entries are left out. Default 10000
---@field shared? boolean a table that is met again is told by the path where it was shown first. Default: it is shown
--- again
---@field measure? fun(text: string): integer columns of a text, for `width`. Default: its characters
---@field fill? boolean a broken table has as many entries on a line as fit. Default: one
---@field describe? fun(value: any): string? a text in place of a table, a function, userdata or cdata; nil: the usual
--- one
---@field paint? fun(kind: string, text: string): string gives a "string", "number", "keyword", "key" or "comment" its
--- colour

local DEPTH, LENGTH, BYTES, LIMIT = 4, 50, 200, 10000
local INDENT = 2

local keywords = {}
local words = "and break do else elseif end false for function goto if in local nil not or repeat return then true "
  .. "until while"
for word in words:gmatch "%a+" do
  keywords[word] = true
end

local escapes = { ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r", ["\\"] = "\\\\", ['"'] = '\\"' }

--- How many bytes the UTF-8 character at `at` has; 0 where there is no whole one.
local function utf8_length(text, at)
  local first = text:byte(at)
  local n = first < 0x80 and 1 or first < 0xC2 and 0 or first < 0xE0 and 2 or first < 0xF0 and 3 or first < 0xF5 and 4
    or 0
  for k = at + 1, at + n - 1 do
    local byte = text:byte(k)
    if not byte or byte < 0x80 or byte > 0xBF then return 0 end
  end
  return n
end

--- The escape of a byte, which stays right whatever follows it.
local function escape(byte, following)
  local is_digit = following and following >= 48 and following <= 57
  return (is_digit and "\\%03d" or "\\%d"):format(byte)
end

--- A string in quotes, as Lua reads it: control characters and bytes that are no UTF-8 are escaped.
---@param text string
---@param most? integer bytes of the string that are shown; then "..." follows. Default: all
---@return string
function M.quote(text, most)
  local shown = text
  if most and #text > most then
    local last = most
    while last > 0 and (text:byte(last + 1) or 0) >= 0x80 and text:byte(last + 1) < 0xC0 do last = last - 1 end
    shown = text:sub(1, last)
  end
  if not shown:find("[%c\\\"\127-\255]") then return '"' .. shown .. (#shown < #text and '"...' or '"') end
  local parts, at = {}, 1
  while at <= #shown do
    local plain = shown:match("^[^%c\\\"\127-\255]+", at)
    if plain then
      parts[#parts + 1], at = plain, at + #plain
    else
      local byte = shown:sub(at, at)
      local n = utf8_length(shown, at)
      if escapes[byte] then
        parts[#parts + 1], n = escapes[byte], 1
      elseif n > 1 then
        parts[#parts + 1] = shown:sub(at, at + n - 1)
      else
        parts[#parts + 1], n = escape(byte:byte(), shown:byte(at + 1)), 1
      end
      at = at + n
    end
  end
  return '"' .. table.concat(parts) .. (#shown < #text and '"...' or '"')
end

--- A number as Lua reads it back.
---@param number number
---@return string
function M.number(number)
  if number ~= number then return "nan" end
  if number == math.huge then return "inf" end
  if number == -math.huge then return "-inf" end
  if number == 0 and 1 / number < 0 then return "-0" end
  for digits = 14, 16 do
    local text = ("%%.%dg"):format(digits):format(number)
    if tonumber(text) == number then return text end
  end
  return ("%.17g"):format(number)
end

local BASE = { "assert", "collectgarbage", "dofile", "error", "getfenv", "getmetatable", "ipairs", "load", "loadfile",
  "loadstring", "module", "next", "pairs", "pcall", "print", "rawequal", "rawget", "rawset", "require", "select",
  "setfenv", "setmetatable", "tonumber", "tostring", "type", "unpack", "xpcall" }

local names -- of the functions in the libraries, by function: made when it is first needed

--- "math.sqrt"; nil for a function that is in no library.
local function library_name(f)
  if not names then
    names = {}
    local function add(name, value)
      if type(value) == "function" then names[value] = name end
    end
    for name, value in pairs(_G) do
      if type(name) == "string" and not name:find "^_%d*$" then add(name, value) end -- no former result of the prompt
    end
    for _, name in ipairs(BASE) do add(name, rawget(_G, name)) end -- rather than by the user's name for it
    for _, library in ipairs { "string", "table", "math", "io", "os", "debug", "coroutine", "bit", "jit", "ffi" } do
      for name, value in pairs(type(package.loaded[library]) == "table" and package.loaded[library] or {}) do
        if type(value) == "function" and type(name) == "string" then names[value] = library .. "." .. name end
      end
    end
  end
  return names[f]
end

local function function_text(f)
  local name = library_name(f)
  if name then return ("<function %s>"):format(name) end
  local info = debug.getinfo(f, "S")
  if info.what == "C" then return "<function of C>" end
  return ("<function at %s:%d>"):format(info.short_src, info.linedefined)
end

--- What the value says of itself (__tostring), or nil.
local function own_text(value)
  local meta = debug.getmetatable(value)
  if type(meta) ~= "table" or rawget(meta, "__tostring") == nil then return nil end
  local ok, text = pcall(tostring, value)
  if ok and type(text) == "string" then return text end
  return ("<%s whose __tostring failed: %s>"):format(type(value), tostring(text))
end

--- A value that is no table, without colours.
local function plain_atom(value, options)
  local kind = type(value)
  if kind == "string" then return M.quote(value, options.bytes or BYTES) end
  if kind == "number" then return M.number(value) end
  if kind == "nil" or kind == "boolean" then return tostring(value) end
  if kind == "function" then return function_text(value) end
  if kind == "thread" then return ("<coroutine, %s>"):format(coroutine.status(value)) end
  if io.type(value) then return ("<%s>"):format(io.type(value)) end
  if kind == "cdata" then
    local text = tostring(value)
    if not text:find "^c%a+<" then return text end
    return cdata.line(value, M) or text:find "^cdata<" and ("<%s>"):format(text) or text
  end
  return own_text(value) or "<userdata>"
end

local function paint(options, kind, text)
  return options.paint and options.paint(kind, text) or text
end

local colours = { string = "string", number = "number", boolean = "keyword", ["nil"] = "keyword" }

--- A value that is no table.
local function atom(value, options)
  local kind = type(value)
  local described = not colours[kind] and options.describe and options.describe(value)
  return paint(options, colours[kind] or "comment", described or plain_atom(value, options))
end

local ranks = { number = 1, string = 2, boolean = 3 }

local function key_order(a, b)
  local x, y = type(a), type(b)
  if x ~= y then
    local rank_a, rank_b = ranks[x] or 4, ranks[y] or 4
    if rank_a ~= rank_b then return rank_a < rank_b end
    return x < y
  end
  if x == "number" or x == "string" then return a < b end
  return tostring(a) < tostring(b)
end

local function key_text(key, options)
  if type(key) == "string" and key:find("^[%a_][%w_]*$") and not keywords[key] then return key end
  if type(key) == "table" then return "[<table>]" end
  return "[" .. plain_atom(key, options) .. "]"
end

--- The part of a path behind which a cycle leads: ".a[2]".
local function step_text(key, options)
  local text = key_text(key, options)
  return text:sub(1, 1) == "[" and text or "." .. text
end

local table_text

--- Characters of a text, colours left out.
local function characters(text)
  return #text:gsub("\27%[[%d;]*m", ""):gsub("[\128-\191]", "")
end

--- Entries joined to lines of so many columns. One that is broken itself stays alone.
local function filled(parts, columns, visible)
  local lines, present = {}, nil
  for _, part in ipairs(parts) do
    local is_broken = part:find("\n", 1, true)
    local joined = present and not is_broken and present .. ", " .. part
    if joined and visible(joined) < columns then
      present = joined
    else
      lines[#lines + 1] = present
      present = part
      if is_broken then
        lines[#lines + 1] = present
        present = nil
      end
    end
  end
  lines[#lines + 1] = present
  return lines
end

--- The text of any value; `state` holds what is spent, and the tables that it lies in, with their paths. `column`:
--- where its line begins; `beside`: columns that its key and a comma take there.
local function value_text(value, options, state, depth, path, column, beside)
  local text
  if type(value) == "table" then
    local own = options.describe and options.describe(value) or own_text(value)
    text = own and paint(options, "comment", own) or table_text(value, options, state, depth, path, column, beside)
  else
    text = atom(value, options)
  end
  return text
end

--- Keys of a table that are shown, in order: how many items of a list come first; the other keys; how many are left
--- out.
local function sorted_keys(value, most)
  local items, others, left_out = 0, {}, 0
  while items < most and type(rawget(value, items + 1)) ~= "nil" do items = items + 1 end
  for key in next, value do
    local is_item = type(key) == "number" and key >= 1 and key <= items and key % 1 == 0
    if not is_item then others[#others + 1] = key end
  end
  table.sort(others, key_order)
  while items + #others > most do
    others[#others], left_out = nil, left_out + 1
  end
  return items, others, left_out
end

function table_text(value, options, state, depth, path, column, beside)
  if state.paths[value] then return paint(options, "comment", ("<cycle to %s>"):format(state.paths[value])) end
  if next(value) == nil then return "{}" end
  if state.shown and state.shown[value] then
    return paint(options, "comment", ("<the same as %s>"):format(state.shown[value]))
  end
  if depth >= (options.depth or DEPTH) then return "{...}" end
  state.paths[value] = path == "" and "the whole" or path
  if state.shown then state.shown[value] = state.paths[value] end
  local items, keys, left_out = sorted_keys(value, options.length or LENGTH)
  local parts, inner = {}, column + INDENT
  local visible = options.measure or characters
  local function add(head, item, item_path)
    if state.spent > (options.limit or LIMIT) then
      left_out = left_out + 1
      return
    end
    local text = paint(options, "key", head)
      .. value_text(item, options, state, depth + 1, item_path, inner, options.width and visible(head) + 1 or 0)
    state.spent = state.spent + #head + (type(item) == "table" and 2 or #text)
    parts[#parts + 1] = text
  end
  for k = 1, items do add("", rawget(value, k), ("%s[%d]"):format(path, k)) end
  for _, key in ipairs(keys) do
    add(key_text(key, options) .. " = ", rawget(value, key), path .. step_text(key, options))
  end
  if left_out > 0 then
    parts[#parts + 1] = paint(options, "comment", #parts > 0 and ("... %d more"):format(left_out) or "...")
  end
  state.paths[value] = nil
  local line = "{" .. table.concat(parts, ", ") .. "}"
  local fits = not options.width or column + beside + visible(line) <= options.width
  if fits and not (options.width and line:find("\n", 1, true)) then return line end
  if options.fill then parts = filled(parts, options.width - inner, visible) end
  local indent = (" "):rep(inner)
  return "{\n" .. indent .. table.concat(parts, ",\n" .. indent) .. "\n" .. (" "):rep(column) .. "}"
end

local no_options = {}

--- A value as a text for people.
--- Example: `value.format({ 1, "a", x = { 2 } })` is `{1, "a", x = {2}}`.
---@param value any
---@param options? parlua.ValueOptions
---@return string
function M.format(value, options)
  options = options or no_options
  return value_text(value, options, { paths = {}, shown = options.shared and {}, spent = 0 }, 0, "", 0, 0)
end

return M
