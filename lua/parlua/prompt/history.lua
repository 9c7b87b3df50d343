--- The statements that were typed, in a file that grows with each: $XDG_STATE_HOME/parlua/history. Each is a line, in
--- which "\n" stands for the end of a line and "\\" for a backslash. Several sessions may write it at once.
local ffi = require "ffi"

ffi.cdef [[
int parlua_mkdir(const char *path, unsigned mode) __asm__("mkdir");
int parlua_open(const char *path, int flags, ...) __asm__("open");
int parlua_flock(int fd, int operation) __asm__("flock");
long parlua_write(int fd, const void *bytes, size_t length) __asm__("write");
int parlua_close(int fd) __asm__("close");
long parlua_seek(int fd, long offset, int whence) __asm__("lseek");
]]

local C = ffi.C
local M = {}

local most_bytes = 2 ^ 20 -- of the file: at the start of a session it is cut to the newest half of that
local WRONLY_CREATE_APPEND_CLOEXEC = 0x1 + 0x40 + 0x400 + 0x80000
local RDONLY_NONBLOCK_CLOEXEC = 0x800 + 0x80000
local LOCK_EXCLUSIVE, SEEK_END = 2, 2

local History = {}
History.__index = History

local function encode(text) return (text:gsub("\\", "\\\\"):gsub("\n", "\\n")) end

local function decode(line)
  return (line:gsub("\\(.)", function(c) return c == "n" and "\n" or c end))
end

--- The directory of the history; nil without a home.
local function directory()
  local state, home = os.getenv("XDG_STATE_HOME"), os.getenv("HOME")
  if state and state:find("^/") then return state end
  return home and home ~= "" and home .. "/.local/state" or nil
end

local function make_directories(path)
  for at in path:gmatch("()/") do
    if at > 1 then C.parlua_mkdir(path:sub(1, at - 1), tonumber("700", 8)) end
  end
  C.parlua_mkdir(path, tonumber("700", 8))
end

--- Calls a function with the descriptor of a file that is open for appending, and locked against other sessions.
--- Returns what it returns; nil where the file can't be written.
local function with_lock(path, body)
  local fd = C.parlua_open(path, WRONLY_CREATE_APPEND_CLOEXEC, ffi.cast("int", tonumber("600", 8)))
  if fd < 0 then return end
  C.parlua_flock(fd, LOCK_EXCLUSIVE)
  local result = body(fd)
  C.parlua_close(fd)
  return result
end

--- The text of a file; nil: there is none; false: it is no plain file, and what it has might have no end.
local function read(path)
  local fd = C.parlua_open(path, RDONLY_NONBLOCK_CLOEXEC)
  if fd < 0 then return nil end
  local size = tonumber(C.parlua_seek(fd, 0, SEEK_END))
  C.parlua_close(fd)
  local file = size >= 0 and size < 2 ^ 32 and io.open(path, "rb")
  if not file then return false end
  local text = size > 0 and file:read(size) or ""
  file:close()
  return text or false
end

--- What parlua kept before, by libedit: a byte that is no plain character as "\040".
local function old_history()
  local text = read((os.getenv("HOME") or "") .. "/.parlua_history")
  if not text then return "" end
  local lines = {}
  for line in text:gsub("^_HiStOrY_V2_\n", ""):gmatch("[^\n]+") do
    lines[#lines + 1] = encode((line:gsub("\\(%d%d%d)",
      function(octal) return string.char(tonumber(octal, 8) % 256) end))) .. "\n"
  end
  return table.concat(lines)
end

--- Cuts a file that has grown long. All sessions lock a file of its own, since this one is replaced.
local function shorten(path)
  with_lock(path .. ".lock", function()
    local text = read(path) or ""
    local from = text:find("\n", #text - most_bytes / 2, true)
    local file = from and io.open(path .. ".new", "wb")
    if not file then return end
    file:write(text:sub(from + 1))
    if file:close() then os.rename(path .. ".new", path) end
  end)
end

--- Reads the history.
function M.open()
  local self = setmetatable({ list = {} }, History)
  local parent = directory()
  if not parent then return self end
  local folder = parent .. "/parlua"
  self.path = folder .. "/history"
  local text = read(self.path)
  if text == false then
    self.trouble, self.path = ("the history is not kept: %s is no plain file"):format(self.path), nil
    text = ""
  elseif not text then
    make_directories(folder)
    text = old_history()
    if text ~= "" then self:append(text) end
  elseif #text > most_bytes then
    shorten(self.path)
  end
  for line in text:gmatch("[^\n]+") do self:remember(decode(line)) end
  return self
end

function History:remember(text)
  if text ~= self.list[#self.list] then self.list[#self.list + 1] = text end
end

function History:append(bytes)
  local written = with_lock(self.path .. ".lock", function()
    return with_lock(self.path, function(fd) return C.parlua_write(fd, bytes, #bytes) == #bytes end)
  end)
  if written then return end
  self.trouble, self.path = ("the history is not kept: %s cannot be written"):format(self.path), nil
end

--- A statement was typed.
---@param text string
function History:add(text)
  if text:find("^%s*$") or text == self.list[#self.list] then return end
  self:remember(text)
  if self.path then self:append(encode(text) .. "\n") end
end

--- The place of the next statement that `fits`, from place `from` on, towards older ones (`step` -1) or newer ones
--- (1); nil: none does.
---@param from integer
---@param step integer
---@param fits fun(text: string): any
---@return integer?
function History:nearest(from, step, fits)
  local k = from
  while self.list[k] do
    if fits(self.list[k]) then return k end
    k = k + step
  end
end

--- The newest statement that goes on from a text.
---@param text string
---@return string? rest
function History:suggestion(text)
  if text:find("^%s*$") then return nil end
  local k = self:nearest(#self.list, -1, function(line) return #line > #text and line:sub(1, #text) == text end)
  return k and self.list[k]:sub(#text + 1)
end

return M
