--- parlua status [PID...]: asks running programs where they are.
local ffi = require "ffi"
local host = require "parlua.host"
local texts = require "parlua.job.text"
local words_module = require "parlua.command.words"
require "parlua.wire.header" "lua/ffi_ask.h"

local M = {}

local FAILED = 1 -- exit status
local ROOM, PATIENCE = 4096, 5
local ESRCH, EPERM, EINVAL, ETIMEDOUT = 3, 1, 22, 110
local USR1 = 10 -- on x86-64 and aarch64

ffi.cdef "long readlink(const char *path, char *target, size_t size);"

local reasons = {
  [ESRCH] = "there is no process %d",
  [EPERM] = "process %d belongs to another user",
  [EINVAL] = "process %d is no parlua that runs tasks",
  [ETIMEDOUT] = "process %d does not answer: it runs no tasks just now, or its script is busy",
}

--- The program that a process runs; nil: that can't be known.
local function program_of(pid)
  local target = ffi.new("char[?]", ROOM)
  local length = tonumber(ffi.C.readlink(("/proc/%s/exe"):format(pid), target, ROOM))
  return length > 0 and ffi.string(target, length):gsub(" %(deleted%)$", "") or nil
end

--- What the kernel tells of a process: its parent and the signals that it catches, or nothing.
local function read_status(pid)
  local file = io.open(("/proc/%s/status"):format(pid))
  if not file then return nil end
  local text = file:read "*a"
  file:close()
  return tonumber(text:match "\nPPid:%s*(%d+)"), tonumber(text:match "\nSigCgt:%s*%x*(%x%x%x%x)\n", 16)
end

--- The programs on this host that run tasks, below a process or anywhere.
---@param top? integer
---@return integer[]
local function running(top)
  local parents, found, own = {}, {}, program_of "self"
  for _, path in ipairs(host.glob "/proc/[0-9]*/status" or {}) do
    local pid = tonumber(path:match "%d+")
    local parent, caught = read_status(pid)
    parents[pid] = parent
    local program = caught and math.floor(caught / 2 ^ (USR1 - 1)) % 2 == 1 and program_of(pid)
    if program and (program == own or program:find "/parlua$") then found[#found + 1] = pid end
  end
  if not top then return found end
  local below = {}
  for _, pid in ipairs(found) do
    local above = parents[pid]
    while above and above > 1 and above ~= top do above = parents[above] end
    if above == top then below[#below + 1] = pid end
  end
  return below
end

--- Asks one process; returns the status of exit.
local function ask(pid, is_tolerant)
  local answer = ffi.new("char[?]", ROOM)
  local length = ffi.C.ask_wait(pid, PATIENCE, answer, ROOM)
  local errno = ffi.errno()
  if length > 0 then
    io.write(ffi.string(answer, length))
    return 0
  end
  if is_tolerant and errno ~= ETIMEDOUT then return 0 end -- it has ended meanwhile, or is another's
  texts.say("%s", (reasons[errno] or "cannot ask process %d: " .. host.strerror(errno)):format(pid))
  return FAILED
end

--- Asks the process that a word names. One that is no parlua may have started it, as mpirun does: it is not to be sent
--- the signal, which it would pass on to all.
local function ask_word(word)
  local pid = word:match "^%d+$" and tonumber(word)
  if not pid or pid < 1 or pid > 2 ^ 22 then
    error(("parlua status takes the number of a process, not '%s'"):format(word), 0)
  end
  local program = program_of(pid)
  if not program or program == program_of "self" or program:find "/parlua$" then return ask(pid) end
  local below = running(pid)
  if #below == 0 then
    texts.say("%s", ("process %d (%s) is no parlua, and has started none on this host that runs tasks"):format(pid,
      program))
    return FAILED
  end
  local status = 0
  for _, one in ipairs(below) do status = math.max(status, ask(one)) end
  return status
end

--- Runs `parlua status` with the words behind it.
---@param words string[]
---@return integer status
function M.run(words)
  return words_module.run(function()
    local numbers, status = {}, 0
    if #words > 0 then numbers = words_module.read("status", words, {}, "parlua status PID") end
    for _, word in ipairs(numbers) do status = math.max(status, ask_word(word)) end
    if #words > 0 then return status end
    local all = running()
    for _, pid in ipairs(all) do status = math.max(status, ask(pid, true)) end
    if #all == 0 then
      texts.say("%s", "no parlua runs tasks on this host")
      return FAILED
    end
    return status
  end)
end

return M
