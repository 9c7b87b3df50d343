-- Writes the annotations of lua/parlua/types.lua, which are in LuaCATS form, as LDoc reads them: lua reference.lua > parlua.lua
-- A comment before a function, a class or an alias becomes one of the same kind there, with types as text.

local SOURCE = "lua/parlua/types.lua"

local out = {}
local function put(format, ...) out[#out + 1] = select("#", ...) > 0 and format:format(...) or format end

--- Text as HTML, with what stands between backticks as code.
local function html(text)
  return (text:gsub("&", "&amp;"):gsub("<", "&lt;"):gsub(">", "&gt;"):gsub("`([^`]*)`", "<code>%1</code>"))
end

local function type_html(type) return "<code>" .. html((type:gsub("parlua%.(%u)", "%1"))) .. "</code>" end

--- Splits what begins with a type: types may hold spaces within brackets, after a colon, a comma and around "|".
local function split_type(text)
  local depth, k = 0, 1
  while k <= #text do
    local char = text:sub(k, k)
    if char:find "[%(%[{<]" then depth = depth + 1 end
    if char:find "[%)%]}>]" then depth = depth - 1 end
    if char == " " and depth == 0 and not text:sub(1, k - 1):find "[:,|]$" then break end
    k = k + 1
  end
  return text:sub(1, k - 1), (text:sub(k + 1))
end

--- The parts of one comment: its text, its annotations.
local function read_comment(lines)
  local comment = { text = {}, tags = {} }
  for _, line in ipairs(lines) do
    local tag, rest = line:match "^%-%-%-@(%l+)%s*(.*)$"
    local text = line:match "^%-%-%-%s?(.*)$"
    if tag then
      comment.tags[#comment.tags + 1] = { tag, rest }
    elseif #comment.tags > 0 then
      local last = comment.tags[#comment.tags]
      last[2] = last[2] .. " " .. text
    else
      comment.text[#comment.text + 1] = text
    end
  end
  return comment
end

local function put_text(comment, otherwise)
  local text = table.concat(comment.text, " ")
  put("--- %s", html(text ~= "" and text or otherwise))
end

local function put_function(comment, name)
  put_text(comment, name)
  put("-- @function %s", name)
  for _, tag in ipairs(comment.tags) do
    if tag[1] == "param" then
      local parameter, optional, rest = tag[2]:match "^([%w_.]+)(%??)%s*(.*)$"
      local type, text = split_type(rest)
      put("-- @param%s %s %s %s", optional == "?" and "[opt]" or "", parameter, type_html(type), html(text))
    elseif tag[1] == "return" then
      local type, text = split_type(tag[2])
      put("-- @return %s %s", type_html(type), html(text))
    end
  end
  put ""
end

local function put_class(comment, class)
  local name, parent = class:match "^parlua%.([%w_]+)%s*:?%s*(.*)$"
  if not name then return end
  put_text(comment, name)
  if parent ~= "" then put("-- All of %s, and:", html((parent:gsub("parlua%.", "")))) end
  put("-- @table %s", name)
  for _, tag in ipairs(comment.tags) do
    local field, optional, rest = tag[2]:match "^([%w_]+)(%??)%s+(.*)$"
    if tag[1] == "field" and field then
      local type, text = split_type(rest)
      put("-- @field %s %s%s %s", field, type_html(type), optional == "?" and ", optional." or "", html(text))
    end
  end
  put ""
end

put "--- Runs Lua functions over many sets of arguments, in parallel. `local parlua = require \"parlua\"`"
put "-- @module parlua"
put ""
local pending, count = {}, 0
for line in io.lines(SOURCE) do
  local section = line:match "^%-%- %-%-%-%- (.-) %-%-%-%-$"
  if line:find "^%-%-%-" then
    pending[#pending + 1] = line
  elseif section then
    put("--- %s", (section:gsub("^%l", string.upper)))
    put("-- @section %s", (section:gsub("%W", "_")))
    put ""
    pending = {}
  else
    local comment, name = read_comment(pending), line:match "^function ([%w_.:]+)%("
    for _, tag in ipairs(comment.tags) do
      if tag[1] == "class" then put_class(comment, tag[2]) end
      if tag[1] == "alias" then
        put_text(comment, "One of these.")
        put("-- It is: %s", type_html(tag[2]:match "^%S+%s+(.*)$"))
        put("-- @table %s\n", (tag[2]:match "^parlua%.(%S+)"))
      end
    end
    if name then
      put_function(comment, name)
      count = count + 1
    end
    pending = {}
  end
end
assert(count > 50, "no functions were found in " .. SOURCE)
put "return parlua"
io.write(table.concat(out, "\n"), "\n")
