--- Failures: the record of a task that did not return.
local arrays = require "parlua.array.known"
local common = require "parlua.common"
local value_module = require "parlua.lazy" "parlua.value"

-- asked of whatever is shown, also where a script has given the name to something else
local getmetatable = getmetatable

local M = {}

local SHORT = { depth = 1, length = 6, bytes = 200, limit = 1000 }

---@class parlua.Failure
---@field index integer the task
---@field parent? integer the task that has spawned it
---@field args table its arguments, with `n`
---@field place? string of a submitted call: where it was submitted
---@field path? string of lines, rows and blocks: the file that its argument comes from
---@field line? integer and the line
---@field kind "error"|"timeout"|"crash"|"memory"|"unsendable"|"cancelled"
---@field message string always readable
---@field value any what was raised, when it can cross
---@field traceback? string the task's own
---@field worker integer
---@field host string
---@field attempts integer how often it was tried
---@field seconds number how long the last try took (of tasks far shorter than a chunk: the mean over those since the
--- last reading)
local Failure = {}
Failure.__index = Failure

--- What has failed: "task 3", or the call, by the place where it was submitted.
---@param failure parlua.Failure
---@return string
function M.name_of(failure)
  local place = rawget(failure, "place")
  return place and "the call submitted at " .. place or "task " .. tostring(failure.index)
end

function Failure:__tostring()
  local text = ("%s failed (%s): %s"):format(M.name_of(self), self.kind, self.message)
  return self.traceback and text .. "\n" .. self.traceback or text
end

---@return parlua.Failure
function M.new(fields) return setmetatable(fields, Failure) end

--- Seconds to wait before a failed task is tried again: `backoff` after the first try, twice as much after each further
--- one, and up to half as much again, by the task's index, so that tasks that failed together are not tried again
--- together. The same on every engine.
function M.delay(backoff, seed, index, attempt)
  if backoff == 0 then return 0 end
  local x = bit.tobit(index % 2 ^ 31 + 0x9e3779b9 * (seed % 2 ^ 16 + attempt))
  for _ = 1, 2 do -- xorshift: neighbours come far apart
    x = bit.bxor(x, bit.lshift(x, 13))
    x = bit.bxor(x, bit.rshift(x, 17))
    x = bit.bxor(x, bit.lshift(x, 5))
  end
  return backoff * 2 ^ (attempt - 1) * (1 + x % 1024 / 2048)
end

function M.is(value) return getmetatable(value) == Failure end

--- The message for a result that a ready reducer can't take: without the place in parlua and the names there.
---@param message any as it was raised
---@return any
function M.of_reducer(message)
  local what = type(message) == "string" and message:match "^parlua[%w_/%.]*:%d+: (.*)$"
  if not what then return message end
  local kind = what:match "^attempt to perform arithmetic on .-%(a (%l+) value%)$"
  return kind and "a number is expected, got a " .. kind or "the reducer cannot take this result: " .. what
end

--- A short readable form of a raised value that is no string.
local function describe(raised) return value_module.format(raised, SHORT) end
M.describe = describe -- also for what ends a program (src/lua/state.c)

local function kind_of(message)
  if type(message) == "string" and message:find("not enough memory", 1, true) then return "memory" end
  return "error"
end

--- The frames of the task alone: what stands below the worker's loop, or what calls set-ups, belongs to the runner.
local function own_frames(traceback)
  local kept = {}
  for line in traceback:gmatch("[^\n]+") do
    if line:find("parlua.loop:", 1, true) or line:find("parlua/future/here.lua:", 1, true) then
      -- which calls the function by a name of its own
      if kept[1] then kept[#kept] = kept[#kept]:gsub("in function 'f'$", "in the task's function") end
      break
    end
    if line:find("parlua/worker/everywhere.lua:", 1, true) then -- which has called a set-up by xpcall
      kept[#kept] = nil
      break
    end
    if line:find("parlua/wire/install.lua:", 1, true) or line:find("parlua/wire/absent.lua:", 1, true) then
      -- something that is not there was used
      kept[#kept] = nil
    -- the message handlers of loops over tasks
    elseif not (line:find("parlua/failure.lua:", 1, true) or line:find("parlua/worker/fold.lua:", 1, true)) then
      kept[#kept + 1] = line
    end
  end
  return table.concat(kept, "\n")
end

--- The frames of a script's code that was called from here, of a traceback: those above the first of ours. nil: none.
function M.script_frames(traceback)
  local kept, has_own = {}, false
  for line in traceback:gmatch "[^\n]+" do
    if line:find "^%s*parlua/" then break end
    kept[#kept + 1] = line
    has_own = has_own or #kept > 1 and not line:find "^%s*%[C%]"
  end
  return has_own and table.concat(kept, "\n") or nil
end

local last_traceback, last_frames -- where many tasks fail, most do so in the same place

--- The same, of a whole traceback.
local function frames_of(traceback)
  if traceback ~= last_traceback then
    last_traceback, last_frames = traceback, own_frames(traceback:gsub("^\n", ""))
  end
  return last_frames
end

local Record = {} -- marks records that `capture` made: what a task raises can be any table

--- Marks a record that was made elsewhere, to be raised.
function M.mark(record) return setmetatable(record, Record) end

--- Raises a record.
function M.raise(record) error(M.mark(record), 0) end

local Cut = setmetatable({}, Record)

--- Raised in the middle of a block of tasks that is not to be gone on with.
function M.raise_cut() error(Cut, 0) end
function M.is_cut(value) return value == Cut end

--- A record without its mark.
function M.plain(record) return setmetatable(record, nil) end

--- Called with each record that `capture` makes, and the level of the function that raised, while the stack of the
--- error still stands.
---@type fun(record: table, level: integer)?
M.observer = nil

local function is_or_nil(value, kind) return value == nil or type(value) == kind end

--- A record as a worker sent it. One that no worker makes (its memory was overwritten) stands for a crash.
function M.sent(record)
  if type(record) == "table" and type(record.kind) == "string" and type(record.message) == "string"
    and is_or_nil(record.traceback, "string") and is_or_nil(record.seconds, "number") then
    return record
  end
  return { kind = "crash", message = "the worker's record of the failure is damaged" }
end

-- What LuaJIT says of a write through a pointer to constants, and of such a pointer given for another.
local constant_errors = { "attempt to write to constant location", "cannot convert 'const " }

--- In a worker where something stands for objects that could not be sent there: which these are (wire/absent.lua).
---@type (fun(): string)?
M.what_is_missing = nil

--- A message with the reason why an array's elements are constants, or an object is none, where it is about that.
local function explain(message)
  if M.what_is_missing and message:find(" expected, got userdata)", 1, true) then
    return ("%s; %s"):format(message, M.what_is_missing())
  end
  if not arrays.why_read_only then return message end
  for _, text in ipairs(constant_errors) do
    if message:find(text, 1, true) then return message .. " (" .. arrays.why_read_only .. ")" end
  end
  -- of pointers to complex numbers LuaJIT does not say which one is constant
  local from, to = message:match "cannot convert '([^']+ %*)' to '([^']+)'"
  if from and from == to then return message .. " (" .. arrays.why_read_only .. ")" end
  return message
end

--- Message handler: makes the record of a raised value while the stack of the error still stands.
function M.capture(value)
  if getmetatable(value) == Record then return value end
  -- where the map function is `error` itself, its caller is no line of the user's
  if type(value) == "string" then
    if value:sub(1, 6) == "parlua" then
      value = value:gsub("^parlua%.loop:%d+: ", ""):gsub("^parlua/future/here%.lua:%d+: ", "")
      -- coroutine.wrap puts the place of its caller before
      value = value:gsub("^parlua/[%w_/]+%.lua:%d+: ([^\n]-:%d+: )", "%1")
    end
    -- whether there is a place depends on what of it was compiled; the traceback has the place
    if value:find ": stack overflow$" then value = "stack overflow" end
  end
  local record = { message = type(value) == "string" and explain(value) or describe(value), kind = kind_of(value) }
  if type(value) ~= "nil" then record.value = value end
  -- From the function that raised: LuaJIT finds the name of what that has called (this handler) from the place that it
  -- was at, and reads outside of its code where compiled code found the stack full.
  local ok, traceback = pcall(debug.traceback, "", 3)
  if ok then record.traceback = frames_of(traceback) end
  if M.observer then M.observer(record, 2) end
  return setmetatable(record, Record)
end

--- The message of an error whose handler did not come to its end. Of what our handlers do only a lack of stack can
--- fail, and newer LuaJITs leave a handler less of it.
---@param message string
---@return string
function M.without_handler(message) return message == "error in error handling" and "stack overflow" or message end

--- The record behind what a protected call returned: `capture` itself may not have come to run (out of memory, stack
--- overflow).
function M.record(value)
  if getmetatable(value) == Record then return setmetatable(value, nil) end
  local message = type(value) == "string" and value or describe(value)
  local told = M.without_handler(message)
  if told ~= message then message, value = told, told end
  return { kind = kind_of(message), message = message, value = value }
end

--- What a wait status tells, in words.
---@param status integer as from wait(2); -1: not known
function M.status_text(status)
  if status == -1 then
    return "the worker ended; how is not known, as the script waits for all children itself or ignores SIGCHLD"
  end
  local signal = status % 128
  if signal == 0 then return ("the worker exited with status %d"):format(math.floor(status / 256) % 256) end
  local name = common.signal_name(signal)
  local core = status % 256 >= 128 and ", core dumped" or ""
  return ("the worker was killed by %s%s"):format(name, core)
end

return M
