--- Words of Lua: for colours, completion, the caret below a syntax error, and locals that last. Takes any text, also
--- what is half typed.
local M = {}

M.keywords = {}
local words = "and break do else elseif end false for function goto if in local nil not or repeat return then true "
  .. "until while"
for word in words:gmatch "%a+" do
  M.keywords[word] = true
end

---@class parlua.Token
---@field kind "name"|"keyword"|"number"|"string"|"comment"|"symbol"
---@field from integer its first byte
---@field to integer its last byte
---@field text string
---@field open? boolean a string or comment without its end

--- The end of a long bracket that begins at `at`; nil: none begins there. Second: whether it is open.
local function long_bracket(text, at)
  local level = text:match("^%[(=*)%[", at)
  if not level then return nil end
  local _, last = text:find("]" .. level .. "]", at + #level + 2, true)
  return last or #text, last == nil
end

--- The end of a quoted string.
local function quoted(text, at)
  local quote = text:sub(at, at)
  local k = at + 1
  while k <= #text do
    local c = text:sub(k, k)
    if c == "\\" then
      if text:sub(k + 1, k + 1) == "z" then
        k = (text:match("^%s*()", k + 2)) - 2
      end
      k = k + 1
    elseif c == quote then
      return k, false
    elseif c == "\n" then
      return k - 1, true
    end
    k = k + 1
  end
  return #text, true
end

local symbols = { "^%.%.%.", "^%.%.", "^[=~<>]=", "^::" }

--- The words of a text.
---@param text string
---@return parlua.Token[]
function M.tokens(text)
  local tokens = {}
  local function add(kind, from, to, open)
    tokens[#tokens + 1] = { kind = kind, from = from, to = to, text = text:sub(from, to), open = open or nil }
    return to + 1
  end
  local at = 1
  while true do
    at = text:match("^%s*()", at)
    if at > #text then return tokens end
    local c = text:sub(at, at)
    local name = text:match("^[%a_\128-\255][%w_\128-\255]*()", at)
    if name then
      at = add(M.keywords[text:sub(at, name - 1)] and "keyword" or "name", at, name - 1)
    elseif text:find("^%-%-", at) then
      local last, open = long_bracket(text, at + 2)
      if not last then last = (text:find("\n", at, true) or #text + 1) - 1 end
      at = add("comment", at, last, open)
    elseif c == '"' or c == "'" then
      at = add("string", at, quoted(text, at))
    elseif text:find("^%.?%d", at) then
      local last = text:match("^0[xX][%x%.]*[pP]?[%+%-]?[%w]*()", at) or text:match("^[%d%.]+[eE][%+%-]?%w*()", at)
        or text:match("^[%d%.][%w%.]*()", at)
      if text:find("^0[xX]", at) and not text:find("^0[xX][%x%.]*[pP]", at) then
        last = text:match("^0[xX][%w%.]*()", at)
      end
      if text:find("^%d+%.%.", at) then last = text:match("^%d+()", at) end
      at = add("number", at, last - 1)
    else
      local last, open = long_bracket(text, at)
      if last then
        at = add("string", at, last, open)
      else
        local length = 1
        for _, symbol in ipairs(symbols) do
          local _, stop = text:find(symbol, at)
          if stop then
            length = stop - at + 1
            break
          end
        end
        at = add("symbol", at, at + length - 1)
      end
    end
  end
end

local opens = { ["function"] = true, ["do"] = true, ["if"] = true, ["repeat"] = true }

---@class parlua.Return where a text returns, outside of all functions
---@field from integer the first byte of the `return`, or of the outermost block that it stands in
---@field names string[] locals outside of all blocks that are declared before that
---@field is_last boolean it stands outside of all blocks

---@class parlua.Declaration a `local` outside of all blocks
---@field from integer its first byte
---@field to integer the last byte of its names
---@field is_function boolean
---@field has_values boolean

--- The tokens that are no comments.
local function words_of(text)
  local tokens = {}
  for _, token in ipairs(M.tokens(text)) do
    if token.kind ~= "comment" then tokens[#tokens + 1] = token end
  end
  return tokens
end

--- The names from a token on, with commas between them; and the place of the last.
local function names_from(tokens, at)
  local names = {}
  while tokens[at] and tokens[at].kind == "name" do
    names[#names + 1] = tokens[at].text
    if not (tokens[at + 1] and tokens[at + 1].text == ",") then break end
    at = at + 2
  end
  return names, at
end

--- The locals that a text declares outside of all blocks, each once, in their order; the places where it returns, and
--- where it declares.
---@param text string of whole statements
---@return string[] names
---@return parlua.Return[] returns
---@return parlua.Declaration[] declarations
function M.locals(text)
  local names, seen, returns, declarations = {}, {}, {}, {}
  local tokens = words_of(text)
  local blocks, functions = {}, 0 -- that are open: the words that opened them, and how many of these are `function`
  local outermost -- where that of them begins, until it is known to have a return
  local function open(token)
    if #blocks == 0 then outermost = token end
    blocks[#blocks + 1] = token.text
    if token.text == "function" then functions = functions + 1 end
  end
  for k, token in ipairs(tokens) do
    local word = token.kind == "keyword" and token.text
    if word == "local" and #blocks == 0 then
      local is_function = tokens[k + 1] and tokens[k + 1].text == "function" or false
      local given, last = names_from(tokens, is_function and k + 2 or k + 1)
      for _, name in ipairs(given) do
        if not seen[name] then names[#names + 1] = name end
        seen[name] = true
      end
      if #given > 0 then
        local behind = tokens[last + 1]
        declarations[#declarations + 1] = { from = token.from, to = tokens[last].to, is_function = is_function,
          has_values = behind ~= nil and behind.text == "=" }
      end
    elseif word == "return" and functions == 0 and (outermost or #blocks == 0) then
      returns[#returns + 1] = { from = (outermost or token).from, names = { unpack(names) }, is_last = #blocks == 0 }
      outermost = nil
    elseif word == "do" and (blocks[#blocks] == "for" or blocks[#blocks] == "while") then
      blocks[#blocks] = word -- the end of their header
    elseif opens[word] or word == "for" or word == "while" then
      open(token)
    elseif word == "end" or word == "until" then
      if table.remove(blocks) == "function" then functions = functions - 1 end
      if #blocks == 0 then outermost = nil end
    end
  end
  return names, returns, declarations
end

--- Does a text end within a long string or comment?
---@param text string
---@return boolean
function M.is_open(text)
  local tokens = M.tokens(text)
  local last = tokens[#tokens]
  return last ~= nil and last.open == true and last.text:find "^%-?%-?%[=*%[" ~= nil
end

--- How deep the blocks and brackets are nested that a text leaves open: for the indentation of its next line.
---@param text string
---@return integer
function M.depth(text)
  local depth = 0
  for _, token in ipairs(M.tokens(text)) do
    local word = (token.kind == "keyword" or token.kind == "symbol") and token.text
    if opens[word] or word == "(" or word == "{" or word == "[" then
      depth = depth + 1
    elseif word == "end" or word == "until" or word == ")" or word == "}" or word == "]" then
      depth = math.max(0, depth - 1)
    end
  end
  return depth
end

return M
