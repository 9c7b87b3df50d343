--- Help: the documentation comments of parlua's source, of the libraries, of the user's own functions.
local arrays = require "parlua.array.known"
local errors = require "parlua.prompt.errors"
local show = require "parlua.prompt.show"
local style = require "parlua.prompt.style"
local terminal = require "parlua.terminal"
local width = require "parlua.prompt.width"

local wrap = width.wrap

local M = {}

---@class parlua.Documented
---@field name string
---@field signature string
---@field parameters? string "(a, b)"; empty for what is no function
---@field comment string lines that begin with "--"

local by_place, by_name -- of what the documentation has: "parlua/init.lua:35", "parlua.map"

--- Modules whose fields are parlua's own, under another name in their files.
local public = { "parlua/init.lua", "parlua/source/init.lua", "parlua/source/products.lua", "parlua/source/texts.lua",
  "parlua/sink/reducers.lua", "parlua/pool.lua", "parlua/background.lua", "parlua/future/init.lua",
  "parlua/sink/stream.lua", "parlua/plot/init.lua" }

local function load_documentation()
  if by_place then return end
  by_place, by_name = {}, {}
  local is_public = {}
  for _, path in ipairs(public) do is_public[path] = true end
  for _, entry in ipairs(require "parlua.prompt.documentation") do
    local path, line, name, parameters, comment = unpack(entry)
    local public_name = is_public[path]
      and name:gsub("^M%.", "parlua."):gsub("^Pool:", "pool:"):gsub("^Future:", "future:")
      :gsub("^Stream:", "stream:") or nil
    if public_name == "parlua.histogram" and path == "parlua/plot/init.lua" then
      public_name = "parlua.plot.histogram"
    end
    if path:find "^parlua/array/" and name:find "^methods%." then -- of an array: a:sum(axis)
      name, parameters = name:gsub("^methods%.", "a:"), parameters:gsub("^%(self,?%s*", "(")
    end
    local documented = { name = public_name or name, signature = (public_name or name) .. parameters,
      parameters = parameters, comment = comment }
    by_place[path .. ":" .. line] = documented
    if public_name and not by_name[public_name] then by_name[public_name] = documented end
  end
end

local function interface() return package.loaded.parlua or {} end

--- The fields of parlua that are loaded when they are first used.
local function on_demand()
  local meta = debug.getmetatable(interface())
  return meta and meta.on_demand or {}
end

--- The names of parlua's fields, also of those that are loaded when they are first used, in order.
---@return string[]
function M.public_names()
  local names, seen = {}, {}
  for _, fields in ipairs { interface(), on_demand() } do
    for name in next, fields do
      if not seen[name] and type(name) == "string" and not name:find "^_" then names[#names + 1] = name end
      seen[name] = true
    end
  end
  table.sort(names)
  return names
end

--- What users call a function of parlua's: "parlua.range", "parlua.json.encode"; nil: it is none of the interface.
local function public_name(f)
  for name, value in next, interface() do
    if rawequal(value, f) then return "parlua." .. name end
    if type(value) == "table" and on_demand()[name] then
      for field, one in next, value do
        if rawequal(one, f) then return ("parlua.%s.%s"):format(name, tostring(field)) end
      end
    end
  end
end

--- The comment above line `number` of a text.
local function comment_above(text, number)
  local lines, n = {}, 0
  for line in (text .. "\n"):gmatch("(.-)\n") do
    n = n + 1
    if n >= number then break end
    lines[n] = line
  end
  local first = number
  while first > 1 and lines[first - 1] and lines[first - 1]:find("^%s*%-%-") do first = first - 1 end
  if first == number then return nil end
  return table.concat(lines, "\n", first, number - 1)
end

local library_names -- by function

local function standard_name(f)
  if not library_names then
    library_names = {}
    for name in pairs(require "parlua.prompt.standard") do
      local library, field = name:match("^(.-)%.(.*)$")
      local holder = library and package.loaded[library] or not library and _G
      local value = holder and rawget(holder, field or name)
      if value ~= nil then library_names[value] = name end
    end
  end
  return library_names[f]
end

--- What is known of a function of the libraries.
local function standard(f)
  local known = standard_name(f)
  if not known then return nil end
  local signature, text = unpack(require("parlua.prompt.standard")[known])
  return { name = known, signature = signature, comment = "-- " .. text }
end

--- What is known of a function. `name`: what the user calls it.
---@param f function
---@param name? string
---@return parlua.Documented?
function M.of_function(f, name)
  f = require("parlua.prompt.background").originals[f] or f
  local info = debug.getinfo(f, "S")
  if info.what ~= "C" then
    load_documentation()
    local source = info.source:match("^=(parlua/.*)")
    local documented = source and by_place[source .. ":" .. info.linedefined]
    local own_name = documented and public_name(f)
    if own_name then return setmetatable({ name = own_name, signature = own_name .. documented.parameters },
      { __index = documented }) end
    if documented then return documented end
    if standard_name(f) then return standard(f) end
    local text = errors.source_text(info.source)
    local label = name or "function"
    return { name = label, signature = ("%s(%s)"):format(label, show.parameters(f)),
      comment = text and comment_above(text, info.linedefined) or "",
             where = ("%s:%d"):format(info.short_src, info.linedefined) }
  end
  return standard(f)
end

--- Help on an option of parlua's calls.
local function of_option(name)
  local options = require "parlua.options"
  local spec = options.spec and options.spec(name)
  if not spec then return nil end
  local lines = { "-- " .. (spec.help or "an option of a call"), "-- It takes " .. options.takes(spec) .. "." }
  if spec.default ~= nil then lines[#lines + 1] = "-- default: " .. tostring(spec.default) end
  if spec.long then lines[#lines + 1] = ("-- on the command line: %s %s"):format(spec.long, spec.metavar or "") end
  return { name = name, signature = "{ " .. name .. " = ... }", comment = table.concat(lines, "\n--\n") } -- a line each
end

--- What is known of a value or a name.
---@param name? string
---@param value any
---@return parlua.Documented?
function M.find(name, value)
  load_documentation()
  if type(value) == "nil" and name and by_name[name] and name:find "[:]" then return by_name[name] end
  if type(value) ~= "nil" and type(value) ~= "function" and name and by_name[name] then return by_name[name] end
  if type(value) == "function" then return M.of_function(value, name) end
  if name and value == nil then
    for _, whole in ipairs { name, "parlua." .. name } do
      local field = whole:match "^parlua%.([%w_]+)$"
      if field and interface()[field] ~= nil then return M.find(whole, interface()[field]) end
    end
    local known = require("parlua.prompt.standard")[name]
      or require("parlua.prompt.standard")["string." .. name:match("[%w_]*$")]
    if known then return { name = name, signature = known[1], comment = "-- " .. known[2] } end
    return of_option(name)
  end
end

--- The first sentence of a comment.
function M.summary(comment)
  local text = comment:gsub("\n%-%-%-@.*", ""):gsub("^%-%-+%s?", ""):gsub("\n%-%-+%s?", " ")
  return text:match("^(.-%.)%s") or text:match("^(.-)%s*$")
end

local taken = { param = true, ["return"] = true, field = true }

--- What a tag of a comment says.
local function tagged_text(tag, rest)
  if tag == "return" then return "  gives " .. rest end
  if tag == "field" then return "  ." .. rest end
  local name, kind, what = rest:match("^(%S+)%s+(%b{}%S*)%s*(.*)$") -- { ... }, { ... }[], { ... }|string
  for _, form in ipairs { "fun%b():%s*%S+", "fun%b()" } do
    if not name then name, kind, what = rest:match("^(%S+)%s+(" .. form .. ")%s*(.*)$") end
  end
  if not name then name, kind, what = rest:match("^(%S+)%s+(%S-%b<>%S*)%s*(.*)$") end -- table<string, any>
  if not name then name, kind, what = rest:match("^(%S+)%s+(%S+)%s*(.*)$") end
  return ("  %s (%s) %s"):format((name or rest):gsub("%?$", ""), kind or "", what or "")
end

--- A documented thing as text for the terminal.
---@param documented parlua.Documented
---@param columns integer
---@return string
function M.text(documented, columns)
  local lines = {}
  for k, line in ipairs(wrap(documented.signature, columns - 1, "  ")) do lines[k] = style.paint("name", line) end
  local function add(text, indent)
    for _, line in ipairs(wrap(text, columns - 1, indent or "")) do lines[#lines + 1] = line end
  end
  local paragraph, tag, tagged
  local function flush()
    if paragraph then add(paragraph) end
    if tagged then add(tagged_text(tag, tagged), "      ") end
    paragraph, tagged = nil, nil
  end
  for line in documented.comment:gmatch("[^\n]+") do
    local next_tag, rest = line:match("^%s*%-%-%-@(%w+)%s*(.*)$")
    if next_tag then
      flush()
      tag, tagged = next_tag, taken[next_tag] and rest
    elseif tagged then -- goes on
      tagged = tagged .. " " .. line:gsub("^%s*%-%-+%s?", "")
    else
      local text = line:gsub("^%s*%-%-+%s?", "")
      if text:find("^Example") then flush() end
      if text == "" then flush() else paragraph = paragraph and paragraph .. " " .. text or text end
    end
  end
  flush()
  if documented.where then lines[#lines + 1] = style.paint("faint", "defined at " .. documented.where) end
  return table.concat(lines, "\n")
end

--- What is shown without a name: paragraphs, and things with what they are.
local overview = {
  "An expression shows its value, a statement is run. Lua goes on over lines until it is complete.",
  { "parlua.map(f, parlua.range(100))", "f of 1 to 100, in parallel; ?parlua.map tells more" },
  { "?name, help(value)", "explains; %help lists the commands" },
  { "_, _1, _2, ...", "former results" },
  { "results, failures, summary", "what is done, after Ctrl-C in a call" },
  "Tab completes, twice Tab goes through what fits. Ctrl-R searches what was typed before. Ctrl-C ends what runs, "
    .. "Ctrl-D leaves.",
}

local function overview_text(columns)
  local lines = {}
  for k, part in ipairs(overview) do
    if type(part) == "string" then
      if #lines > 0 then lines[#lines + 1] = "" end
      for _, line in ipairs(wrap(part, columns - 1, "")) do lines[#lines + 1] = line end
      if k == 1 then lines[#lines + 1] = "" end
    else
      local beside = ("  %-34s%s"):format(part[1], part[2])
      if #beside < columns then
        lines[#lines + 1] = beside
      else
        lines[#lines + 1] = "  " .. part[1]
        for _, line in ipairs(wrap(part[2], columns - 7, "")) do lines[#lines + 1] = "      " .. line end
      end
    end
  end
  return table.concat(lines, "\n")
end

-- ---- what holds functions: parlua, libraries, modules, objects ----

--- The fields of parlua by what they are for; others come last.
local groups = {
  { "Calls", "map starmap each imap reduce find any all exec pool" },
  { "In the background", "submit background as_completed wait race run" },
  { "Sources of tasks", "range list product zip lines blocks files csv jsonl iterate take enumerate batch filter" },
  { "Reductions", "sum count mean stats min max argmin argmax quantiles histogram top collect group" },
  { "In a task", "task spawn progress log" },
  { "Data and pictures", "array load save write_csv json plot" },
}

--- A line about a field: what it is called, and the first sentence of its documentation.
local function field_line(name, label, value, columns, room)
  local documented = M.find(name, value)
  local text = documented and M.summary(documented.comment) or ""
  if text == "" and type(value) == "table" then
    local names = {}
    for field, f in next, value do
      if type(f) == "function" and type(field) == "string" then names[#names + 1] = field end
    end
    table.sort(names)
    text = table.concat(names, ", ")
  end
  local line = "  " .. width.pad(label, room)
  if text ~= "" then line = line .. "  " .. text end
  return width.cut((line:gsub(" +$", "")), columns - 1)
end

--- The fields of parlua: a line each, or only their names where the terminal is narrow.
local function interface_text(columns)
  local lines, left = {}, {}
  for _, name in ipairs(M.public_names()) do left[name] = true end
  local function add(title, names)
    lines[#lines + 1] = style.paint("title", title)
    if columns < 60 then
      for _, line in ipairs(wrap("  " .. table.concat(names, " "), columns - 1, "  ")) do lines[#lines + 1] = line end
      return
    end
    for _, name in ipairs(names) do
      lines[#lines + 1] = field_line("parlua." .. name, name, interface()[name], columns, 12)
    end
  end
  for _, line in ipairs(wrap("parlua runs a Lua function over many sets of arguments, in parallel. ?parlua.map tells "
    .. "all of one function.", columns - 1, "")) do lines[#lines + 1] = line end
  for _, group in ipairs(groups) do
    local names = {}
    for name in group[2]:gmatch "%S+" do
      if left[name] then names[#names + 1], left[name] = name, nil end
    end
    if #names > 0 then add(group[1], names) end
  end
  local others = {}
  for name in pairs(left) do others[#others + 1] = name end
  table.sort(others)
  if #others > 0 then add("Others", others) end
  return table.concat(lines, "\n")
end

--- The functions that a table of fields has, in lines with what they take.
local function functions_text(fields, prefix, columns, is_wanted)
  local names, labels, room = {}, {}, 0
  for name, value in next, fields do
    if type(name) == "string" and type(value) == "function" and is_wanted(name, value) then
      names[#names + 1] = name
      local documented = M.find(prefix .. name, value)
      labels[name] = name .. (documented and documented.signature:match "%b()"
        or ("(%s)"):format(show.parameters(value) or ""))
      room = math.max(room, math.min(30, #labels[name]))
    end
  end
  table.sort(names)
  local lines = {}
  for k, name in ipairs(names) do
    lines[k] = field_line(prefix .. name, labels[name], fields[name], columns, columns < 60 and 0 or room)
  end
  return table.concat(lines, "\n")
end

--- What an object's methods have in their documentation, as the prompt calls them.
local function is_method(name, f)
  local documented = not name:find "^_" and M.of_function(f)
  return documented and documented.name:find "^[apf][%l.]*[:.]" ~= nil -- a:, pool:, future:, parlua.
end

--- What there is of functions in a value; nil: nothing of the kind.
---@return string?
---@return boolean? is_whole there is nothing else to be shown of it
local function members_text(value, name, columns)
  if rawequal(value, interface()) then return interface_text(columns), true end
  local known = type(value) == "table" and show.module_name(value)
  for field in next, on_demand() do
    if type(value) == "table" and rawequal(rawget(interface(), field), value) then known = "parlua." .. field end
  end
  local text
  if known then
    text = functions_text(value, known .. ".", columns, function(field) return not field:find "^_" end)
  elseif arrays.is(value) then
    text = functions_text(require("parlua.array.core").methods, "a:", columns, is_method)
  else
    local meta = debug.getmetatable(value)
    local methods = type(value) == "table" and type(meta) == "table" and meta.__index
    if type(methods) == "function" then methods = meta end -- a future, say
    if type(methods) == "table" then text = functions_text(methods, (name or "") .. ":", columns, is_method) end
  end
  if text ~= "" then return text, known ~= nil and known ~= false end
end

--- Prints help on a value, or on what a name means.
---@param what any
---@param name? string what the user calls it
function M.print(what, name)
  if what == nil and not name then
    io.stdout:write(overview_text((terminal.size())), "\n")
    return
  end
  if type(what) == "string" and not name then name, what = what, nil end
  local documented = M.find(name, what)
  local columns = terminal.size()
  if documented then
    io.stdout:write(M.text(documented, columns), "\n")
  elseif type(what) == "nil" then
    io.stdout:write(("nothing is known of %s\n"):format(tostring(name)))
  else
    local members, is_whole = members_text(what, name, columns)
    io.stdout:write((name and style.paint("name", name) .. ": " or "") .. type(what) .. "\n",
      is_whole and "" or show.show(what, columns) .. "\n", members and members .. "\n" or "")
  end
end

return M
