--- Programs that tasks of the async engine run by parlua.exec: the task waits for them by cqueues, so others go on.
local program_errors = require "parlua.lazy" "parlua.failure.program"
local host = require "parlua.host"

local M = {}

local SIGKILL = 9
local MOST_READS = 16 -- of a pipe's content each
local LOOK_SECONDS = 0.05 -- between two looks, where the system can't tell of a program's end

--- What a program waits for: { pollfd, events }, as cqueues has it.
local function watched(program)
  local input, output, errors, ending = program:descriptors()
  local list = {}
  if input then list[#list + 1] = { pollfd = input, events = "w" } end
  for _, fd in ipairs { output or -1, errors or -1, ending or -1 } do
    if fd >= 0 then list[#list + 1] = { pollfd = fd, events = "r" } end
  end
  return list, ending ~= nil
end

--- A function that waits for a program as program:wait does. `task_of()`: the task that runs now.
function M.waiter(cqueues, task_of)
  return function(program, seconds)
    local running, deadline = task_of(), seconds and host.now() + seconds
    running.program = program
    while true do
      local event = program:wait(0)
      local left = deadline and deadline - host.now() or math.huge
      if event ~= "late" or left <= 0 then
        running.program = false
        return event
      end
      local list, tells_end = watched(program)
      if not tells_end then left = math.min(left, LOOK_SECONDS) end
      local n = #list
      if left < math.huge then list[n + 1] = left end
      cqueues.poll(unpack(list))
      for k = 1, n do cqueues.cancel(list[k].pollfd) end -- it may be closed now, and its number be another's
    end
  end
end

--- The task is given up: its program ends, with what that has started. Returns what that had written, as a value of the
--- task's failure.
function M.kill(cqueues, running)
  local program = running.program
  running.program = false
  for _, each in ipairs((watched(program))) do cqueues.cancel(each.pollfd) end
  program:kill(SIGKILL)
  for _ = 1, MOST_READS do -- what has come since the task looked last
    local ok, event = pcall(program.wait, program, 0)
    if not ok or event == "ended" or event == "late" then break end
  end
  local written = program_errors.ended(program:remains())
  program:close()
  return written
end

return M
