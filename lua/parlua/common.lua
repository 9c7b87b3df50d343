--- Small helpers that many modules need, each once. Requires nothing.
local M = {}
local stderr = io.stderr -- a script may take it away

--- Values in a table, with their number as `n`.
---@return table
function M.pack(...) return { n = select("#", ...), ... } end

--- Raises for a method that was called with a dot, or on something else.
---@param what string the method
---@param kind string what it is a method of
---@param self any
---@param level integer of the method's caller, as seen from who calls this
function M.refuse_self(what, kind, self, level)
  error(("%s: a %s is expected, got %s; it is called with a colon, %s:%s()"):format(what, kind, type(self), kind, what),
    level + 1)
end

--- A text as one word of a shell's command.
---@param text string
---@return string
function M.shell_word(text)
  if text:find "^[%w_./:=@%%+,-]+$" then return text end
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- Can the value be called: a function, or a table whose metatable says how?
---@return boolean
function M.is_callable(value)
  if type(value) == "function" then return true end
  local meta = debug.getmetatable(value)
  return type(meta) == "table" and type(rawget(meta, "__call")) == "function"
end

---@return boolean
function M.is_future(value)
  local meta = type(value) == "table" and getmetatable(value)
  return type(meta) == "table" and rawget(meta, "is_future") == true
end

--- A function for what can be called. What is a function stays the same.
---@return function
function M.as_function(value)
  if type(value) == "function" then return value end
  return function(...) return value(...) end
end

--- "1 task", "2 tasks".
---@param n number
---@param noun string
---@return string
function M.count(n, noun) return ("%.0f %s%s"):format(n, noun, n == 1 and "" or "s") end

--- A text on one line, without control characters.
---@return string
function M.one_line(text) return (tostring(text):gsub("%s*\n%s*", " "):gsub("%c", " ")) end

local signal_names = {
  [1] = "SIGHUP", [2] = "SIGINT", [3] = "SIGQUIT", [4] = "SIGILL", [5] = "SIGTRAP", [6] = "SIGABRT", [7] = "SIGBUS",
    [8] = "SIGFPE",
  [9] = "SIGKILL", [10] = "SIGUSR1", [11] = "SIGSEGV", [12] = "SIGUSR2", [13] = "SIGPIPE", [14] = "SIGALRM",
    [15] = "SIGTERM",
  [24] = "SIGXCPU", [25] = "SIGXFSZ",
}

--- "SIGINT"; "signal 99" where there is no name.
---@param number integer
---@return string
function M.signal_name(number) return signal_names[tonumber(number)] or "signal " .. tonumber(number) end

--- An iterator over what a coroutine yields; each step gives all values of one yield. `pending`: what it has yielded
--- already, as coroutine.resume returned it, packed. An error in the coroutine is raised with its traceback.
---@param thread thread
---@param pending? table
---@return fun(): ...
function M.yields(thread, pending)
  local function take(resumed, ...)
    if not resumed then
      local message = (...)
      error(type(message) == "string" and debug.traceback(thread, message) or message, 0)
    end
    if coroutine.status(thread) == "dead" then return nil end
    return ...
  end
  return function()
    if pending then
      local values = pending
      pending = nil
      return unpack(values, 2, values.n)
    end
    if coroutine.status(thread) == "dead" then return nil end
    return take(coroutine.resume(thread))
  end
end

--- A value that calls f when it is collected. What f raises is told on standard error: raised out of a finalizer, an
--- error can end the program (LuaJIT 2.1, where a compiled trace is left).
---@param f function must not lead to what holds the value
---@return userdata
function M.when_collected(f)
  local value = newproxy(true)
  getmetatable(value).__gc = function()
    local ok, message = pcall(f)
    if not ok then stderr:write("parlua: ", tostring(message), "\n") end
  end
  return value
end

--- What a call is told whose engine can't be opened.
---@param engine string
---@param why string
function M.unopened(engine, why)
  local limit = why:match "Too many open files"
  return ("cannot open the %s engine: %s"):format(engine, limit and limit .. ": see ulimit -n" or why)
end

return M
