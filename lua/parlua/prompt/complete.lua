--- What may stand at the cursor: names, fields, methods, modules, files, options of parlua's calls, commands; and the
--- signature of the call that the cursor is in.
local array = require("parlua.lazy") "parlua.array.core"
local arrays = require "parlua.array.known"
local help = require "parlua.prompt.help"
local common = require "parlua.common"
local is_own_source = require("parlua.wire.record").is_own_source
local lexer = require "parlua.prompt.lexer"
local show = require "parlua.prompt.show"

local M = {}

---@class parlua.Completion
---@field from integer bytes of the text before what is completed
---@field words string[] sorted
---@field common string what all of them begin with
---@field suffix? string follows when there is only one

--- A value by its name alone, without calling anything of the user's.
local function lookup_name(session, name)
  local cell = session.locals.cells[name]
  if cell then return session.locals:get(name) end
  if session.variables then return session.variables[name] end
  return rawget(_G, name)
end

--- t[key] without calling functions of the user's: through tables of __index only, and the methods of arrays.
local function lookup_field(value, key)
  if type(value) == "cdata" then return arrays.is(value) and array.methods[key] or nil end
  for _ = 1, 20 do
    if type(value) == "string" then value = string end
    if type(value) ~= "table" then return nil end
    if value == package.loaded.parlua then return value[key] end
    local field = rawget(value, key)
    if field ~= nil then return field end
    local meta = debug.getmetatable(value)
    value = type(meta) == "table" and rawget(meta, "__index")
  end
end

--- Calls visit(key, value) for the fields with names that a value has, its metatable's included.
local function each_field(value, visit)
  if arrays.is(value) then
    for _, fields in ipairs { array.methods, array.properties } do
      for name, field in next, fields do visit(name, field) end
    end
    return
  end
  if value == package.loaded.parlua then
    for _, name in ipairs(help.public_names()) do visit(name, value[name]) end
  end
  for _ = 1, 20 do
    if type(value) == "string" then value = string end
    if type(value) ~= "table" then return end
    for key, field in next, value do
      if type(key) == "string" then visit(key, field) end
    end
    local meta = debug.getmetatable(value)
    value = type(meta) == "table" and rawget(meta, "__index")
  end
end

--- The key that a token between brackets stands for; nil: it is no number and no string.
local function constant(token)
  if token.kind == "number" then return tonumber(token.text) end
  if token.kind == "string" and not token.open then
    local read = loadstring("return " .. token.text)
    return read and read()
  end
end

--- The names before the cursor that lead to a value: {"parlua", "map"} for "parlua.ma", and what joins the last one:
--- ".", ":" or nil.
local function chain_at(tokens)
  local names, k, joint = {}, #tokens, nil
  local last = tokens[k]
  if last and (last.text == "." or last.text == ":") then
    names[1], joint = "", last.text
    k = k - 1
  elseif last and (last.kind == "name" or last.kind == "keyword") then
    names[1] = last.text
    k = k - 1
    if tokens[k] and (tokens[k].text == "." or tokens[k].text == ":") then
      joint = tokens[k].text
      k = k - 1
    end
  else
    return { "" }, nil, k
  end
  if not joint then return names, nil, k end
  while tokens[k] do
    local key = tokens[k].text == "]" and tokens[k - 2] and tokens[k - 2].text == "[" and constant(tokens[k - 1])
    if key then -- t[1].name
      table.insert(names, 1, key)
      k = k - 3
    elseif tokens[k].kind == "name" then
      table.insert(names, 1, tokens[k].text)
      k = k - 1
    elseif tokens[k].kind == "string" and #names == 1 then
      table.insert(names, 1, "string")
      k = k - 1
      break
    elseif #names == 1 and tokens[k].text == ")" and k > 2 and tokens[k - 1].kind == "string"
      and tokens[k - 2].text == "(" then
      table.insert(names, 1, "string")
      break
    else
      return nil -- what a call gives, say: not known
    end
    local is_joined = tokens[k] and (tokens[k].text == "." or tokens[k].text == ":")
    if not is_joined and not key then break end
    if is_joined then k = k - 1 end
  end
  return names, joint, k
end

local function value_of(session, names, count)
  local value = lookup_name(session, names[1])
  for k = 2, count do value = lookup_field(value, names[k]) end
  return value
end

--- Sorts words, and leaves out those that are there twice.
local function completion(from, set, suffixes)
  local words = {}
  for word in pairs(set) do words[#words + 1] = word end
  if #words == 0 then return nil end
  table.sort(words)
  local shared, last = words[1], words[#words] -- what these have in common, all between them have
  while last:sub(1, #shared) ~= shared do shared = shared:sub(1, -2) end
  return { from = from, words = words, common = shared,
    suffix = suffixes and #words == 1 and suffixes[words[1]] or nil }
end

-- ---- files and modules ----

--- Names in a directory that begin with a text.
local function names_in(directory, prefix)
  local names = {}
  local quoted = common.shell_word(directory)
  local pipe = io.popen("ls -1ap -- " .. quoted .. " 2>/dev/null")
  if not pipe then return names end
  for name in pipe:lines() do
    if name ~= "./" and name ~= "../" and name:sub(1, #prefix) == prefix
      and (prefix ~= "" or name:sub(1, 1) ~= ".") then
      names[#names + 1] = name
    end
  end
  pipe:close()
  return names
end

local function files(text, typed, quote)
  local directory, prefix = typed:match("^(.*/)(.-)$")
  if not directory then directory, prefix = "", typed end
  local place = directory == "" and "." or directory:gsub("^~/", (os.getenv("HOME") or "~") .. "/")
  local set, suffixes = {}, {}
  for _, name in ipairs(names_in(place, prefix)) do
    set[name] = true
    if quote and name:sub(-1) ~= "/" then suffixes[name] = quote end
  end
  return completion(#text - #prefix, set, suffixes)
end

local function modules(text, typed, quote)
  local set, suffixes = {}, {}
  local function add(name)
    if name:sub(1, #typed) == typed then set[name], suffixes[name] = true, quote end
  end
  for name in pairs(package.loaded) do
    if type(name) == "string" and name ~= "_G" and not (name:find("^parlua%.")) then add(name) end
  end
  for name in pairs(package.preload) do
    if not name:find("^parlua%.") then add(name) end
  end
  for _, name in ipairs { "table.new", "table.clear", "string.buffer", "jit.util", "jit.p", "jit.v", "jit.dump",
    "jit.zone" } do
    add(name)
  end
  local parent = typed:match("^(.*%.)[^.]*$") or ""
  for template in (package.path .. ";" .. package.cpath):gmatch("[^;]+") do
    local directory, rest = template:match("^(.*/?)%?(.*)$")
    if directory then
      local folder = directory .. parent:gsub("%.", "/")
      for _, name in ipairs(names_in(folder == "" and "." or folder, "")) do
        local module = name:match("^([%w_%-]+)/$")
        if not module and name:sub(-#rest) == rest and not rest:find("/") then module = name:sub(1, -#rest - 1) end
        if module and rest:find("/") and not name:find("/$") then module = nil end
        if module and module:find("^[%w_%-]+$") then add(parent .. module) end
      end
    end
  end
  return completion(#text - #typed, set, suffixes)
end

-- ---- calls ----

local closing = { [")"] = "(", ["}"] = "{", ["]"] = "[" }

--- Brackets that are open before the cursor, the innermost first: {text, k (its token)}.
local function open_brackets(tokens)
  local open, depth = {}, 0
  for k = #tokens, 1, -1 do
    local text = tokens[k].kind == "symbol" and tokens[k].text
    if closing[text] then
      depth = depth + 1
    elseif text == "(" or text == "{" or text == "[" then
      if depth > 0 then depth = depth - 1 else open[#open + 1] = { text = text, k = k } end
    end
  end
  return open
end

--- The function that is called by the bracket at token k, and its name.
local function called(session, tokens, k)
  local before = {}
  for i = 1, k - 1 do before[i] = tokens[i] end
  local names, joint = chain_at(before)
  if not names or names[1] == "" or names[#names] == "" then return nil end
  if lexer.keywords[names[#names]] then return nil end
  return value_of(session, names, #names), table.concat(names, ".", 1, #names - 1) .. (joint or "") .. names[#names]
end

--- Which options a function takes: "call" for parlua's, "plot" for those of pictures, or a list that its documentation
--- has; nil: none.
local function takes_options(f)
  local plot = package.loaded["parlua.plot"]
  if plot and (f == plot or f == plot.histogram) then return "plot" end
  local documented = type(f) == "function" and help.of_function(f)
  local takes = documented and documented.signature:find("options", 1, true)
    and is_own_source(debug.getinfo(f, "S").source)
  if not takes then return nil end
  local listed = documented.comment:match "@param options%?? (%b{})"
  if not listed then return "call" end
  local names = {}
  for name in listed:gmatch "([%a_]+)%??:" do names[#names + 1] = name end
  return names
end

local function options_at(session, tokens)
  local open = open_brackets(tokens)
  if not open[1] or open[1].text ~= "{" then return nil end
  return takes_options((called(session, tokens, open[1].k)))
    or open[2] and open[2].text == "(" and takes_options((called(session, tokens, open[2].k))) or nil
end

local function option_names(text, typed, kind)
  local set, suffixes, names = {}, {}, {}
  if kind == "plot" then
    for name in pairs(require("parlua.plot").option_names) do names[#names + 1] = name end
  elseif type(kind) == "table" then
    names = kind
  else
    names = require("parlua.options").call_names()
  end
  for _, name in ipairs(names) do
    if name:sub(1, #typed) == typed then set[name], suffixes[name] = true, " = " end
  end
  return completion(#text - #typed, set, suffixes)
end

--- Values of an option that is one of a few words.
local function option_values(session, tokens, text, typed, quote)
  local k = #tokens
  local name = tokens[k - 2] and tokens[k - 1].text == "=" and tokens[k - 2].text
  local is_option = name and options_at(session, { unpack(tokens, 1, k - 3) }) == "call"
  local spec = is_option and require("parlua.options").spec(name)
  if not spec or not spec.values then return nil end
  local set, suffixes = {}, {}
  for _, value in ipairs(spec.values) do
    if value:sub(1, #typed) == typed then set[value], suffixes[value] = true, quote end
  end
  return completion(#text - #typed, set, suffixes)
end

-- ---- names ----

local function plain_names(session, text, typed, tokens)
  local set = {}
  local function add(name)
    local is_name = name:find("^[%a_\128-\255][%w_\128-\255]*$") and not (typed == "" and name:find("^_"))
    if is_name and name:sub(1, #typed) == typed then set[name] = true end
  end
  for name in next, _G do
    if type(name) == "string" then add(name) end
  end
  for name in pairs(session.locals.cells) do add(name) end
  if session.variables and session.variables["(names)"] then
    for _, name in ipairs(session.variables["(names)"]) do add(name) end
  end
  for k = 1, #tokens - 1 do -- what the statement itself has named
    if tokens[k].kind == "name" then add(tokens[k].text) end
  end
  if typed ~= "" then
    for word in pairs(lexer.keywords) do add(word) end
  end
  return completion(#text - #typed, set)
end

local function fields(session, text, names, joint)
  local value = value_of(session, names, #names - 1)
  local typed, set = names[#names], {}
  local sources = package.loaded["parlua.source"]
  local is_source = sources and sources.is_source(value)
  each_field(value, function(key, field)
    if is_source and type(field) == "function" and sources[key] ~= field then return end -- parlua's own affair
    if key:sub(1, #typed) == typed and key:find("^[%a_][%w_]*$") and (joint == "." or type(field) == "function")
      and not (typed == "" and key:find("^_")) then
      set[key] = true
    end
  end)
  return completion(#text - #typed, set)
end

--- Completions of a command of the prompt.
local function of_command(session, text)
  local head, rest = text:match("^(%s*%%%a+%s+)(.*)$")
  if not head then
    local typed = text:match("^%s*%%(%a*)$")
    if typed then
      local set, suffixes = {}, {}
      for _, name in ipairs(require("parlua.prompt.commands").names) do
        if name:sub(1, #typed) == typed then set[name], suffixes[name] = true, " " end
      end
      return completion(#text - #typed, set, suffixes)
    end
    local file = text:match("^%s*!.-(%S*)$")
    return file and files(text, file)
  end
  local command = head:match("%%(%a+)")
  if command == "options" then
    local name, value = rest:match("([%w_]+)=([%w_]*)$")
    local spec = name and require("parlua.options").spec(name)
    if spec and spec.values then
      local set = {}
      for _, word in ipairs(spec.values) do
        if word:sub(1, #value) == value then set[word] = true end
      end
      return completion(#text - #value, set)
    end
    local found = option_names(text, rest:match("[%w_]*$"))
    if found then found.suffix = found.suffix and "=" end
    return found
  elseif command == "load" or command == "save" or command == "edit" then
    return files(text, rest)
  end
  return M.candidates(session, text, #text, #head)
end

--- What may stand at the cursor.
---@param session parlua.Session
---@param text string
---@param cursor integer
---@param skip? integer bytes at the beginning that are no Lua
---@return parlua.Completion?
function M.candidates(session, text, cursor, skip)
  local before = text:sub(1, cursor)
  if not skip and before:find("^%s*[%%!]") then return of_command(session, before) end
  local lua = before:sub((skip or 0) + 1):gsub("^%s*%?", function(mark) return (" "):rep(#mark) end)
  local tokens = lexer.tokens(lua)
  local last = tokens[#tokens]
  if last and last.kind == "comment" and last.to == #lua then return nil end
  if last and last.kind == "string" and last.open then
    local quote, typed = last.text:match("^([\"'])(.*)$")
    if not quote then return nil end
    local caller = tokens[#tokens - 1]
    if caller and caller.text == "(" then caller = tokens[#tokens - 2] end
    if caller and caller.text == "require" then return modules(before, typed, quote) end
    return option_values(session, tokens, before, typed, quote) or files(before, typed, quote)
  end
  local is_typing = last and last.to == #lua
    and (last.kind == "name" or last.kind == "keyword" or last.text == "." or last.text == ":")
  if not is_typing then tokens[#tokens + 1] = { kind = "name", text = "", from = #lua + 1, to = #lua } end
  local names, joint = chain_at(tokens)
  if not names then return nil end
  if joint then return fields(session, before, names, joint) end
  local typed = names[1]
  local previous = tokens[#tokens - 1]
  if previous and (previous.text == "{" or previous.text == ",") then
    local kind = options_at(session, { unpack(tokens, 1, #tokens - 1) })
    local found = kind and option_names(before, typed, kind)
    if found then return found end
  end
  return plain_names(session, before, typed, tokens)
end

--- The signature of the call that the cursor is in, and what it does; nil: none is known.
---@param session parlua.Session
---@param text string
---@param cursor integer
---@return string?
function M.signature(session, text, cursor)
  local before = text:sub(1, cursor)
  if before:find("^%s*[%%!?]") then return nil end
  local tokens = lexer.tokens(before)
  for _, bracket in ipairs(open_brackets(tokens)) do
    if bracket.text == "(" then
      local f, name = called(session, tokens, bracket.k)
      local meta = type(f) == "table" and debug.getmetatable(f)
      if type(f) == "function" or meta and rawget(meta, "__call") then
        local documented = help.find(name, f)
        if not documented then return nil end
        local summary = help.summary(documented.comment)
        return documented.signature .. (summary ~= "" and "  " .. summary or "")
      elseif f ~= nil then
        return nil
      end
    end
  end
end

--- For the debugger and %who: a value in a line.
M.in_line = show.in_line

return M
