--- `--debug` on a terminal: a prompt at the place where a task failed, with the variables of the functions that were
--- running.
local is_own_source = require("parlua.wire.record").is_own_source
local errors = require "parlua.prompt.errors"
local failure = require "parlua.failure"
local lazy = require "parlua.lazy"
local statement = lazy "parlua.prompt.statement"
local show = lazy "parlua.prompt.show"

local M = {}

--- The module parlua.prompt, which sets it: requiring it here would be a circle.
---@type table
M.prompt = nil

local MOST_FRAMES = 40 -- of a recursion without end, the innermost are enough

---@class parlua.Frame a call of a Lua function that was running
---@field where string its file, line and name
---@field values table<string, any> its variables, upvalues included
---@field known table<string, boolean> their names: a variable may be nil
---@field globals table

--- The frame of a function at a level of the caller's stack.
---@return parlua.Frame
local function frame_at(level)
  local info = debug.getinfo(level + 1, "nSlf")
  local caller = debug.getinfo(level + 2, "S")
  local called = errors.name_of(info, caller) or caller and caller.source:find "^=parlua" and "the task's function"
  local frame = { where = ("%s:%d: %s"):format(info.short_src, info.currentline, called or "(a function)"),
                  values = {}, known = {}, globals = debug.getfenv(info.func), names = {} }
  local function add(name, value)
    if not name:find("^%(") then
      if not frame.known[name] then table.insert(frame.names, name) end
      frame.values[name], frame.known[name] = value, true
    end
  end
  for k = 1, math.huge do
    local name, value = debug.getupvalue(info.func, k)
    if not name then break end
    add(name, value)
  end
  for k = 1, math.huge do -- after the upvalues, which they hide; of two with one name the inner one comes last
    local name, value = debug.getlocal(level + 1, k)
    if not name then break end
    add(name, value)
  end
  return frame
end

--- The task's own frames of Lua functions, the innermost first; `level` as for debug.getinfo.
local function frames_from(level)
  local frames = {}
  while true do
    local info = debug.getinfo(level + 1, "S")
    if not info or info.source == "=parlua.loop" or #frames == MOST_FRAMES then return frames end
    if info.what ~= "C" and not is_own_source(info.source) then frames[#frames + 1] = frame_at(level + 1) end
    level = level + 1
  end
end

local function list(frames, present)
  for k, frame in ipairs(frames) do
    io.stderr:write(("%s %d %s\n"):format(k == present and "*" or " ", k, frame.where))
  end
end

local function show_values(frame)
  for _, name in ipairs(frame.names) do
    io.stderr:write(("    %s = %s\n"):format(name, show.in_line(frame.values[name])))
  end
end

--- Shows the failure and opens the prompt; returns when it is left. To be called where the error was raised.
---@param record table see parlua.failure
---@param level integer of the function that raised, for the caller
---@param index? integer of the task; default: the one that runs
function M.open(record, level, index)
  local frames, present = frames_from(level + 1), 1
  local function go_to(k)
    if k ~= nil then
      if not frames[k] then error(("there are frames 1 to %d"):format(#frames), 2) end
      present = k
      show_values(frames[k])
    else
      list(frames, present)
    end
  end
  local outer = M.prompt.session -- %debug: what was typed is at hand, too
  local variables = setmetatable({}, {
    __index = function(_, name)
      local frame = frames[present]
      if frame and frame.known[name] then return frame.values[name] end
      if outer and outer.locals.cells[name] then return outer.locals:get(name) end
      if name == "frame" then return go_to end
      if name == "(names)" then return frame and frame.names end -- for completion
      return (frame and frame.globals or _G)[name]
    end,
    __newindex = function(_, name, value)
      local frame = frames[present]
      local is_local = frame and frame.known[name]
      local holder = is_local and frame.values or frame and frame.globals or _G
      holder[name] = value
    end,
  })
  index = index or require("parlua.task").running.index
  io.stderr:write(("parlua: %s failed: %s\n%s\n"):format(index and ("task %.17g"):format(index) or "a task",
    record.message,
    record.traceback or ""))
  list(frames, present)
  if frames[1] then show_values(frames[1]) end
  io.stderr:write("The variables of frame 1 are at hand; frame(2) goes to another, frame() lists them.\n"
    .. (outer and "Ctrl-D goes back to the session.\n" or "Ctrl-D ends the prompt and the run.\n"))
  -- in a coroutine: an error while an error is handled would be told as just that
  assert(coroutine.resume(coroutine.create(function()
    local prompt = M.prompt
    prompt.run(prompt.open { variables = variables, first_prompt = statement.DEBUG_PROMPT })
  end)))
end

--- From here on a failing task opens the prompt.
function M.install() failure.observer = M.open end

return M
