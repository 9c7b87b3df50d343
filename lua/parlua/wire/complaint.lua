--- The message for a value that can't be sent: the way to it, in the words of the script.
require("jit").off(true, true)

local M = {}

--- The name of a userdata's type: what its metatable says, or the name under which the registry has that metatable.
local function type_name(value)
  local metatable = debug.getmetatable(value)
  if type(metatable) ~= "table" then
    return nil
  end
  local name = rawget(metatable, "__name")
  if type(name) == "string" then
    return name
  end
  for key, object in next, debug.getregistry() do
    if type(key) == "string" and object == metatable then
      return key
    end
  end
end

-- What to do instead, by what a value is and what it was to be: a result, an argument, or else something captured.
local advice = {
  file = { result = "return its name, or what was read", argument = "send its name, and open it in the task",
           captured = "open it in the task, or in `setup`" },
  userdata = { result = "return what it holds", argument = "send what it is made of, and make it in the task",
               captured = "make it in `setup`, or in a module that workers require" },
  thread = { result = "return what it yields", argument = "send what it yields", captured = "make it in the task" },
  ["function"] = { result = "return what it gives, in a list", argument = "send what it gives, in a list",
                   captured = "make it in the task" },
}

local function advice_for(value, what)
  local kind = type(value)
  if kind == "userdata" and type_name(value) == "FILE*" then kind = "file" end
  local words = advice[kind]
  return words and ": " .. (words[what] or words.captured) or ""
end

--- What a value is, for an error message: `userdata (FILE*)`, `a C function`, ...
local function describe(value)
  local kind = type(value)
  if kind == "userdata" then
    local name = type_name(value)
    return name and ("userdata (%s)"):format(name) or "userdata"
  elseif kind == "cdata" then
    return ("cdata (%s)"):format(tostring(require("ffi").typeof(value)):match("^ctype<(.*)>$") or "unknown")
  elseif kind == "function" then
    return "a C function that no loaded module has, such as coroutine.wrap and io.lines make"
  elseif kind == "thread" then
    return "a coroutine"
  end
  return "a " .. kind
end

local function where_defined(f)
  local info = debug.getinfo(f, "S")
  return ("%s:%d"):format(info.short_src, info.linedefined)
end

local LONGEST_KEY = 40

--- One key, as it would be written after a table's name: `.name`, `[3]`, `["two words"]`.
local function subscript(key)
  if type(key) == "string" then
    if key:find("^[%a_][%w_]*$") and #key <= LONGEST_KEY then
      return "." .. key
    end
    local shown = #key > LONGEST_KEY and key:sub(1, LONGEST_KEY) .. "..." or key
    local quoted = ("%q"):format(shown):gsub("[%c\127-\255]", function(c)
      return ("\\%d"):format(c:byte())
    end)
    return "[" .. quoted .. "]"
  end
  if type(key) == "number" or type(key) == "boolean" then
    return ("[%s]"):format(tostring(key))
  end
  return ("[%s]"):format(describe(key))
end

-- A longer path is shown by its two ends.
local LONGEST_PATH = 12

--- The message for a value that can't be sent.
---@param what string what the values of the message are called
---@param number integer which of them it is in
---@param count integer how many there are
---@param steps table three entries a step, the innermost first: kind, key or name, function or false
---@param value any the culprit
---@param reason string|nil what is wrong with it, if not its type
---@return string
function M.complaint(what, number, count, steps, value, reason)
  local path = count > 1 and ("%s %d"):format(what, number) or what
  local suffix, is_captured = "", false
  local total = #steps / 3
  for step = total, 1, -1 do
    local kind, key, f = steps[3 * step - 2], steps[3 * step - 1], steps[3 * step]
    is_captured = is_captured or kind == "upvalue" or kind == "global"
    if kind == "upvalue" then
      path, suffix = ("upvalue '%s'"):format(key), " of function at " .. where_defined(f)
    elseif kind == "global" then
      path, suffix = ("global '%s'"):format(key), " named by function at " .. where_defined(f)
    elseif kind == "metatable" then
      path = ("getmetatable(%s)"):format(path)
    elseif kind == "module" and type(key) == "string" then
      path, suffix = ("module '%s'"):format(key), ""
    elseif kind == "key" then
      path = ("the key %s of %s"):format(subscript(key), path)
    elseif total <= LONGEST_PATH or step <= LONGEST_PATH / 2 or step > total - LONGEST_PATH / 2 then
      path = path .. subscript(key)
    elseif step == total - LONGEST_PATH / 2 then
      path = path .. " ... "
    end
  end
  return ("cannot send %s%s: %s"):format(path, suffix,
    reason or describe(value) .. advice_for(value, is_captured and "captured" or what))
end

return M
