--- Build-time, called by embed.c for each of parlua's modules, whose text it changes before it becomes bytecode. Lines
--- stay where they are.
--
-- Methods of strings become calls of the functions in `string`, as `text:sub(2)` becomes `string.sub(text, 2)`. The
-- modules have a `string` of their own, the first one (lua/parlua/wire/start.lua). Methods would be looked up in what a
-- script has made of its `string` and of the metatable of strings.
--
-- Constructors keep the room for their fields: `{ x = a }` becomes `{ x = a,x=false }`. LuaJIT makes a table as a copy
-- of a template, which has the fields whose values are constants, here false, and sets the others afterwards, here x to
-- a. Its parser makes room in the template for those too, but bytecode loses that (see also
-- lua/parlua/wire/template.lua): then each field that is set makes the table grow. A fifth of the time of a small call
-- went there.

local function set_of(words)
  local set = {}
  for word in words:gmatch "%a+" do set[word] = true end
  return set
end

-- No object of parlua's own has methods with these names that parlua calls: spec/requires_spec.lua.
local methods = set_of "byte find format gmatch gsub len lower match rep reverse sub upper"

local keywords = set_of [[and break do else elseif end for function goto if in local not or repeat return then until
  while]]

local opening = { [")"] = "(", ["]"] = "[", ["}"] = "{" }

--- The token at `at`: its kind (name, keyword, text, number, space, or what it is), and the place behind it.
local function token(source, at)
  local long = source:match("^%-%-%[(=*)%[", at) or source:match("^%[(=*)%[", at)
  if long then
    local kind = source:sub(at, at) == "-" and "space" or "text"
    return kind, select(2, assert(source:find("]" .. long .. "]", at + 2, true))) + 1
  end
  local quote = source:match("^[\"']", at)
  if quote then
    local last = at + 1
    while source:sub(last, last) ~= quote do last = last + (source:sub(last, last) == "\\" and 2 or 1) end
    return "text", last + 1
  end
  local function found(pattern, kind)
    local _, last = source:find("^" .. pattern, at)
    if last then return kind, last + 1 end
  end
  local kind, behind = found("%-%-[^\n]*", "space")
  if not kind then kind, behind = found("%s+", "space") end
  if not kind then kind, behind = found("0[xX]%x+[%a]*", "number") end
  if not kind then kind, behind = found("%.?%d[%d.]*[eE][+-]?%d+", "number") end
  if not kind then kind, behind = found("%.?%d[%w.]*", "number") end
  if not kind then kind, behind = found("[%a_][%w_]*", "name") end
  if kind then
    if keywords[source:sub(at, behind - 1)] then kind = "keyword" end
    return kind, behind
  end
  local operator = source:match("^%.%.%.?", at) or source:match("^::", at) or source:sub(at, at)
  return operator, at + #operator
end

--- All tokens but space and comments: { kind, first place, place behind }, and for a bracket its other one.
local function tokens_of(source)
  local tokens, open, at = {}, {}, 1
  while at <= #source do
    local kind, behind = token(source, at)
    if kind ~= "space" then
      tokens[#tokens + 1] = { kind, at, behind }
      if kind == "(" or kind == "[" or kind == "{" then
        open[#open + 1] = #tokens
      elseif opening[kind] then
        local other = table.remove(open)
        tokens[#tokens].other, tokens[other].other = other, #tokens
      end
    end
    at = behind
  end
  return tokens
end

--- Can a token end what is called or indexed?
local ends = { name = true, [")"] = true, ["]"] = true, text = true }

local function ends_value(one) return one and ends[one[1]] end

--- The number of the token where the value begins whose last token is `last`: `a.b[1](x)` from its end.
local function beginning(tokens, last)
  while true do
    local kind, before = tokens[last][1], tokens[last].other
    if kind == "name" then
      local link = tokens[last - 1]
      if not link or link[1] ~= "." and link[1] ~= ":" then return last end
      last = last - 2
    elseif kind == "text" then
      last = last - 1
    elseif kind == ")" and not ends_value(tokens[before - 1]) then
      return before
    else
      last = before - 1
    end
  end
end

-- Is it as said above in this LuaJIT: in the template x is false, in the table what it is set to?
local keeps_room = assert(loadstring "local a = 1 local t = { x = a, x = false } return t.x == a")()

local opens = { ["function"] = true, ["do"] = true, ["if"] = true, ["repeat"] = true }
local closes = { ["end"] = true, ["until"] = true }
local varies = { name = true, ["{"] = true, ["..."] = true }
local constants = { ["true"] = true, ["false"] = true, ["nil"] = true }

--- The last token of a field's value that begins with token `k`, in a constructor that ends with token `close`; whether
--- the value may be no constant.
local function value_end(tokens, k, close, text_of)
  local depth, is_variable = 0, false
  while k < close do
    local kind = tokens[k][1]
    local word = kind == "keyword" and text_of(tokens[k])
    if depth == 0 and (kind == "," or kind == ";") then break end
    if opens[word] then depth = depth + 1 elseif closes[word] then depth = depth - 1 end
    is_variable = is_variable or varies[kind] and not constants[text_of(tokens[k])] or word == "function"
    k = (kind == "(" or kind == "{" or kind == "[") and tokens[k].other + 1 or k + 1
  end
  return k - 1, is_variable
end

--- Calls edit(place, text) for the fields of the constructor that begins with token `open`.
local function keep_room(tokens, open, text_of, edit)
  local k, close = open + 1, tokens[open].other
  while k < close do
    local is_field = tokens[k][1] == "name" and tokens[k + 1][1] == "=" and tokens[k + 2][1] ~= "="
    local last, is_variable = value_end(tokens, is_field and k + 2 or k, close, text_of)
    if is_field and is_variable then edit(tokens[last][3], "," .. text_of(tokens[k]) .. "=false") end
    k = last + 2 -- behind the separator
  end
end

--- An edit of the text: where, how many bytes are replaced, by what; then its order among those at the same place.
local function edits_of(source)
  local tokens, edits = tokens_of(source), {}
  local function text_of(one) return source:sub(one[2], one[3] - 1) end
  local function edit(first, behind, text, order) edits[#edits + 1] = { first, behind, text, order } end
  for k = 2, #tokens - 2 do
    local name, arguments = text_of(tokens[k + 1]), tokens[k + 2]
    local is_defined = k > 2 and text_of(tokens[k - 2]) == "function"
    if tokens[k][1] == ":" and methods[name] and not is_defined then
      local in_brackets = arguments[1] == "("
      edit(tokens[beginning(tokens, k - 1)][2], nil, "string." .. name .. "(", -k) -- the outermost first
      edit(tokens[k][2], in_brackets and arguments[3] or tokens[k + 1][3], arguments.other == k + 3 and "" or ",", k)
      if not in_brackets then edit(tokens[arguments.other or k + 2][3], nil, ")", k) end
    end
  end
  for k = 1, #tokens do
    if tokens[k][1] == "{" and keeps_room then
      keep_room(tokens, k, text_of, function(at, text) edit(at, nil, text, #tokens + k) end)
    end
  end
  table.sort(edits, function(one, other)
    if one[1] ~= other[1] then return one[1] < other[1] end
    return one[4] < other[4]
  end)
  return edits
end

return function(source)
  if not loadstring(source) then return source end -- it is no Lua: whoever compiles it says where
  local parts, at = {}, 1
  for _, one in ipairs(edits_of(source)) do
    parts[#parts + 1] = source:sub(at, one[1] - 1) .. one[3]
    at = one[2] or one[1]
  end
  return table.concat(parts) .. source:sub(at)
end
