--- Calls in the background at the prompt: they go on while a line is typed, and show a line when they end.
local calls = require "parlua.prompt.calls"
local host = require "parlua.host"
local show = require "parlua.prompt.show"
local style = require "parlua.prompt.style"
local task = require "parlua.task"
local library = require "parlua.worker.library"

local M = {}

local look_seconds = 0.05 -- between two looks while calls run

--- Functions that were replaced, by those that stand for them: for help.
M.originals = {}

local watched = {} -- futures that have not ended, or whose end was not told
local installed = false

local captured -- while a line is typed: what calls print, to be shown above it

--- Can a future be waited for with these arguments? If not, its own method says why, with the place of its caller.
local function can_wait(Future, future, seconds)
  if getmetatable(future) ~= Future or task.is_inside() ~= future.pool.is_inside then return false end
  return seconds == nil or type(seconds) == "number" and seconds >= 0
end

--- Follows the futures of all pools from here on.
function M.install()
  if installed then return end
  installed = true
  local report = require "parlua.report"
  local print_text = report.print
  function report.print(stream, text)
    if not captured then return print_text(stream, text) end
    captured[#captured + 1] = text
    return true
  end
  local pool_module = require "parlua.pool"
  library.sets_calls_aside = true -- Ctrl-C is for what stands in the foreground, not for programs of calls behind it
  local count = 0
  local watch = function(future)
    count = count + 1
    future.number = count
    show.know_call(future, count)
    watched[#watched + 1] = future
    return future
  end
  local open = pool_module.open
  local function surround(pool)
    local Pool = getmetatable(pool)
    if Pool.is_watched then return pool end
    Pool.is_watched = true
    local submit = Pool.submit
    function Pool:submit(...)
      local future = watch(submit(self, ...))
      local Future = getmetatable(future)
      if not Future.is_watched then -- whoever waits for a future needs no line
        Future.is_watched = true
        local get, wait = Future.get, Future.wait
        function Future.get(asked, seconds)
          if getmetatable(asked) == Future then asked.was_asked = true end
          return get(asked, seconds)
        end
        --- As before, but Ctrl-C ends the waiting.
        function Future.wait(awaited, seconds)
          if not can_wait(Future, awaited, seconds) then return wait(awaited, seconds) end
          local last = seconds and host.now() + seconds or math.huge
          repeat
            local done = wait(awaited, math.min(look_seconds, math.max(0, last - host.now())))
            if calls.was_interrupted(awaited.pool) then
              awaited.was_asked = awaited.is_done or nil -- of one that goes on, the end is to be told
              error("interrupted", 0)
            end
          until done or awaited.is_done or host.now() >= last
          return awaited.is_done and true or false -- it is a number, see M.new of future
        end
        M.originals[Future.wait] = wait
        M.originals[Future.get] = get
      end
      return future
    end
    return pool
  end
  function pool_module.open(...) return surround(open(...)) end
  surround(open()):close()
end

--- The line about a future that has ended.
local function line_of(future)
  local name = ("call %d"):format(future.number)
  local failure = future.failure
  if failure then
    return style.paint("failed", ("[%s failed (%s)]"):format(name, failure.kind)) .. " "
      .. show.first_line(failure.message)
  end
  local parts = {}
  local results = require("parlua.future.content").results(future) or { n = 0 }
  for k = 1, math.min(results.n, 3) do parts[k] = show.in_line(results[k]) end
  return style.paint("good", ("[%s returned]"):format(name)) .. (#parts > 0 and " " .. table.concat(parts, ", ") or "")
end

--- Lets calls go on, without waiting. Returns the lines about those that have ended, and how many have not. Calls that
--- run in this program, those on serial and async, wait until they are asked for: the prompt would wait for them.
local function look()
  local lines, left, pools = {}, {}, {}
  for _, future in ipairs(watched) do
    local pool = future.pool
    if not future.is_done and not pools[pool] and not pool.is_serial then
      pools[pool] = true
      pcall(future.wait, future, 0)
    end
  end
  for _, future in ipairs(watched) do
    if not future.is_done then
      left[#left + 1] = future
    else
      if not future.was_asked then lines[#lines + 1] = line_of(future) end
      if future.pool.is_for_one_call then pcall(future.pool.close, future.pool) end
    end
  end
  watched = left
  return lines, #left
end

--- Called while nothing is typed. Returns after how many seconds to look again, nil: there is nothing to look at.
function M.idle(_, editor)
  if #watched == 0 then return nil end
  captured = {}
  local ok, lines, left = pcall(look)
  local text = table.concat(captured)
  captured = nil
  if not ok then error(lines, 0) end
  if text ~= "" and text:sub(-1) ~= "\n" then text = text .. "\n" end
  if #lines > 0 then text = text .. table.concat(lines, "\n") .. "\n" end
  if text ~= "" then editor:print_above(text) end
  return left > 0 and look_seconds or nil
end

--- After a statement, where there is no editor.
function M.tell(session)
  if #watched == 0 then return end
  local lines = look()
  if #lines > 0 then session:write(table.concat(lines, "\n") .. "\n") end
end

--- The prompt is left: what runs in the background ends with it.
function M.leave(session)
  local lines, left = {}, 0
  if #watched > 0 then lines, left = look() end
  if #lines > 0 then session:write(table.concat(lines, "\n") .. "\n") end
  if left > 0 then
    local futures = require "parlua.future"
    futures.end_with_program()
    for _, future in ipairs(watched) do
      pcall(future.cancel, future)
      require("parlua.future.unseen").see(future)
    end
    session:write(style.paint("faint", show.plural(left, "call") .. " in the background ended with the prompt") .. "\n")
  end
end

return M
