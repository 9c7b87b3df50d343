--- parlua status PID: asks a running program where it is.
local ffi = require "ffi"
local host = require "parlua.host"
local texts = require "parlua.job.text"
local words_module = require "parlua.command.words"
require "parlua.wire.block" -- declares what src/lua/ffi.h has

local M = {}

local FAILED = 1 -- exit status
local ROOM, PATIENCE = 4096, 5
local ESRCH, EPERM, EINVAL, ETIMEDOUT = 3, 1, 22, 110

local reasons = {
  [ESRCH] = "there is no process %d",
  [EPERM] = "process %d belongs to another user",
  [EINVAL] = "process %d is no parlua that runs tasks",
  [ETIMEDOUT] = "process %d does not answer: it runs no tasks just now, or its script is busy",
}

--- Runs `parlua status` with the words behind it.
---@param words string[]
---@return integer status
function M.run(words)
  return words_module.run(function()
    local numbers = words_module.read("status", words, {}, "parlua status: name the process: parlua status 1234")
    for k, word in ipairs(numbers) do
      local number = word:match "^%d+$" and tonumber(word)
      if not number or number < 1 or number > 2 ^ 22 then
        error(("parlua status takes the number of a process, not '%s'"):format(word), 0)
      end
      numbers[k] = number
    end
    local status, answer = 0, ffi.new("char[?]", ROOM)
    for _, number in ipairs(numbers) do
      local length = ffi.C.ask_wait(number, PATIENCE, answer, ROOM)
      local errno = ffi.errno()
      if length > 0 then
        io.write(ffi.string(answer, length))
      else
        status = FAILED
        texts.say("%s", (reasons[errno] or "cannot ask process %d: " .. host.strerror(errno)):format(number))
      end
    end
    return status
  end)
end

return M
