--- What the prompt costs: the time until it waits for a first statement, the time from a key to its picture, and the
--- memory that it takes beside a script. Run alone: ./parlua bench/prompt.lua
local ffi = require "ffi"

ffi.cdef [[
int forkpty(int *amaster, char *name, const void *termios, const void *size);
int execv(const char *path, const char *const *words);
int setenv(const char *name, const char *value, int overwrite);
void _exit(int status);
long read(int fd, void *bytes, size_t length);
long write(int fd, const void *bytes, size_t length);
int kill(int pid, int signal);
int waitpid(int pid, int *status, int options);
]]

local C = ffi.C
local now = require("parlua.host").now

local function median(list)
  table.sort(list)
  return list[math.ceil(#list / 2)]
end

--- Starts parlua on a terminal of its own. Returns its process and the terminal's descriptor.
local function start(...)
  local master = ffi.new("int[1]")
  local words = { "parlua", ... }
  local argv = ffi.new("const char *[?]", #words + 1) -- ends with NULL
  for k, word in ipairs(words) do argv[k - 1] = word end
  local size = ffi.new("unsigned short[4]", 40, 80)
  local pid = C.forkpty(master, nil, nil, size)
  if pid == 0 then
    C.setenv("TERM", "xterm-256color", 1)
    C.setenv("HOME", "/dev/null", 1) -- no history
    C.execv("/proc/" .. require("parlua.host").pid() .. "/exe", argv)
    C._exit(127)
  end
  return pid, master[0]
end

local bytes = ffi.new("char[65536]")

--- Reads until a text has come.
local function read_until(fd, wanted)
  local text = ""
  while not text:find(wanted, 1, true) do
    local length = C.read(fd, bytes, 65536)
    if length <= 0 then error("the program ended: " .. text) end
    text = text .. ffi.string(bytes, length)
  end
end

local function finish(pid)
  C.kill(pid, 9)
  C.waitpid(pid, nil, 0)
end

--- Memory that only this process has, in bytes.
local function private_memory(pid)
  local total = 0
  for kilobytes in io.open(("/proc/%d/smaps_rollup"):format(pid)):read("*a"):gmatch("Private_%a+:%s*(%d+) kB") do
    total = total + kilobytes
  end
  return total * 1024
end

local ready = "\27[?25h" -- the cursor is shown again after each picture

local starts = {}
for k = 1, 21 do
  local began = now()
  local pid, fd = start()
  read_until(fd, ready)
  starts[k] = now() - began
  finish(pid)
end

local pid, fd = start()
read_until(fd, ready)
local keys, text = {}, "local result = parlua.map(function(x) return x * x end, parlua.range(1000), { workers = 2 })"
for _ = 1, 5 do
  for k = 1, #text do
    local began = now()
    C.write(fd, text:sub(k, k), 1)
    read_until(fd, ready)
    keys[#keys + 1] = now() - began
  end
  C.write(fd, "\21", 1) -- Ctrl-U
  read_until(fd, ready)
end
local with = private_memory(pid)
finish(pid)

local script, script_fd = start("-e", "print('ready') io.read()")
read_until(script_fd, "ready")
local without = private_memory(script)
finish(script)

print(("start to the first prompt:  %.1f ms"):format(median(starts) * 1e3))
print(("a key to its picture:       %.2f ms (worst of %d: %.1f ms)"):format(median(keys) * 1e3, #keys, keys[#keys] * 1e3))
print(("memory beside a script:     %.1f MB (%.1f MB against %.1f MB)"):format((with - without) / 1e6, with / 1e6, without / 1e6))
