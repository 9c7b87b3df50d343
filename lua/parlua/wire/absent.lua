--- What stands in a worker for something of the script's that can't be sent there: a value that raises an error when it
--- is used, with the way to what is missing and what to do instead. So nothing of a script's state is left out in
--- silence. (Of a global that can't be sent, a worker is told when it reads the global: install.lua.)
local codec = require "parlua.codec"
local failure = require "parlua.failure"
local kinds = require "parlua.wire.entries"

require("jit").off(true, true)

local M = {}

local EVENTS = {
  "__index", "__newindex", "__call", "__len", "__concat", "__unm", "__add", "__sub", "__mul", "__div", "__mod", "__pow",
  "__lt", "__le",
}

local made, MOST_NAMED = {}, 3 -- why each object is missing

local function what_is_missing()
  local more = #made > MOST_NAMED and ("; so are %d others"):format(#made - MOST_NAMED) or ""
  return table.concat(made, "; ", 1, math.min(#made, MOST_NAMED)) .. more
end

--- A function of C that is given what stands for an object of its own tells only what it got: the failure says more.
local function note(why)
  if not made[why] then made[#made + 1], made[why] = why, true end
  failure.what_is_missing = what_is_missing
end

--- A state is put in place anew.
function M.forget() made, failure.what_is_missing = {}, nil end

--- Such a value.
---@param kind string what the script has: a function or a thread is stood for by one, all else by userdata
---@param why string
function M.of(kind, why)
  local function tell() error(why, 2) end
  if kind == "function" then return tell end
  if kind == "thread" then return coroutine.create(function() error(why, 0) end) end
  if kind == "searcher" then return function() return "\n\t" .. why end end -- as `require` lists what was tried
  note(why)
  local stand_in = newproxy(true)
  local meta = getmetatable(stand_in)
  for _, event in ipairs(EVENTS) do meta[event] = tell end
  function meta.__tostring() return why end
  function meta.__gc() end -- it does not cross
  return stand_in
end

--- Says why something is not in a worker.
---@param title string|nil what a script would call it; nil: what the problem says
---@param problem string what the codec has said of it: wire/complaint.lua, or "too large"
function M.why(title, problem)
  if problem == "too large" then
    return ("%s is not in this worker: it takes more than 1 MB; give it to the task as an argument, or let the "
      .. "function hold it in a local"):format(title)
  end
  local path, what = problem:match "^cannot send (.-): (.*)$"
  if not path then return ("%s is not in this worker: %s"):format(title or "it", problem) end
  what = what:match "^it (.*)$" or "is " .. what -- a reason is a sentence of its own
  local inside, n = path:gsub("state ?%d*%[%d%]", function() return title end)
  if n > 0 or not title then
    return ("%s is not in this worker: it can't be sent there, as it %s"):format(inside, what)
  end
  return ("%s is not in this worker: %s can't be sent there, as it %s"):format(title, path, what)
end

-- ---- Entries of a state (entries.lua) ----

local titles = {
  [kinds.MODULE] = "module '%s'", [kinds.GLOBAL] = "global '%s'", [kinds.PRELOAD] = "package.preload['%s']",
  [kinds.LOADERS] = "package.loaders[%s]", [kinds.METATYPE] = 'ffi.metatype("%s")',
}
local meta_titles = {
  ["nil"] = "debug.getmetatable(nil)", boolean = "debug.getmetatable(true)", number = "debug.getmetatable(0)",
  string = 'getmetatable("")', ["function"] = "debug.getmetatable(print)", thread = "the metatable of coroutines",
}

--- What a script would call the value of an entry.
local function title_of(entry)
  local kind, name = entry[1], tostring(entry[2])
  if kind == kinds.LIBRARY then return ("%s.%s"):format(name, tostring(entry[3])) end
  if kind == kinds.METATABLE then return name == "_G" and "getmetatable(_G)" or meta_titles[name] end
  return (titles[kind] or "%s"):format(name:match "^ctype<(.*)>$" or name)
end

M.title_of = title_of

local MOST_DEPTH = 3 -- tables in tables that are looked at for what can't be sent

--- A copy of `value` without what can't be sent, which is added to `list` with the keys that lead to it; nil if it is
--- the value itself.
local function reduced(value, title, problem, path, n, list, kind)
  if type(value) == "table" and problem ~= "too large" and n < MOST_DEPTH then
    local copy = {}
    for key, field in next, value do
      if codec.encode_as("state", key) then
        local bytes, why = codec.encode_as("state", field)
        path[n + 1] = key
        if bytes then
          copy[key] = field
        else
          local part = type(key) == "string" and ("%s.%s"):format(title, key) or ("%s[%s]"):format(title, tostring(key))
          copy[key] = reduced(field, part, why:gsub("^cannot send state:", "cannot send state[3]:"), path, n + 1, list)
        end
        path[n + 1] = nil
      end
    end
    return copy
  end
  list[#list + 1] = { path = { unpack(path, 1, n) }, why = M.why(title, problem), kind = kind or type(value) }
  return nil
end

--- The entry, whose value can't be sent as it is, without what of it can't; the rest is added to `list`: what
--- `complete` puts there.
---@param entry table of a library, a metatable or the like
---@param problem string
---@param place integer of the entry in the state
function M.reduce(entry, problem, place, list)
  local at = entry[1] == kinds.LIBRARY and 4 or 3
  local first, copy = #list + 1, { unpack(entry, 1, 4) }
  copy[at] = reduced(entry[at], title_of(entry), problem, {}, 0, list, entry[1] == kinds.LOADERS and "searcher" or nil)
  for k = first, #list do list[k].place, list[k].at = place, at end
  return copy
end

--- Puts into a state's entries what stands for that which is missing in them.
---@param list table see `reduce`
function M.complete(state, list)
  for _, missing in ipairs(list) do
    local holder, key = state[missing.place], missing.at
    for _, step in ipairs(missing.path) do holder, key = holder and holder[key], step end
    if holder then rawset(holder, key, M.of(missing.kind, missing.why)) end
  end
end

return M
