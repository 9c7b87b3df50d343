--- What a program holds: memory, descriptors, threads, children, shared memory; of this process and, under MPI, of those of the other ranks.
local ffi = require "ffi"
local host = require "parlua.host"

local M = {}

pcall(ffi.cdef, [[
int malloc_trim(size_t pad);
bool large_give_up(void);
int getppid(void);
struct __dirstream;
struct __dirstream *opendir(const char *name);
int closedir(struct __dirstream *directory);
struct soak_entry { uint64_t inode; int64_t offset; uint16_t length; uint8_t type; char name[256]; };
struct soak_entry *readdir(struct __dirstream *directory);
ssize_t readlink(const char *path, char *target, size_t size);
]])

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read("*a") or ""
  if file then file:close() end
  return text
end

--- Names in a directory, but . and ..
local function names(path)
  local list, directory = {}, ffi.C.opendir(path)
  if directory == nil then return list end
  while true do
    local entry = ffi.C.readdir(directory)
    if entry == nil then break end
    local name = ffi.string(entry.name)
    if name ~= "." and name ~= ".." then list[#list + 1] = name end
  end
  ffi.C.closedir(directory)
  return list
end

local function children(pid)
  local list = {}
  for _, thread in ipairs(names(("/proc/%d/task"):format(pid))) do
    for child in read(("/proc/%d/task/%s/children"):format(pid, thread)):gmatch("%d+") do list[#list + 1] = tonumber(child) end
  end
  return list
end

local function count_shared(pid)
  local count = 0
  for line in read(("/proc/%d/maps"):format(pid)):gmatch("[^\n]+") do
    if line:find("/dev/zero", 1, true) or line:find("/memfd:", 1, true) then count = count + 1 end
  end
  return count
end

--- What the descriptors of a process lead to, each kind with its number: those of a rank are mostly Open MPI's.
local function targets(pid)
  local counts, room = {}, ffi.new("char[4096]")
  for _, name in ipairs(names(("/proc/%d/fd"):format(pid))) do
    local length = ffi.C.readlink(("/proc/%d/fd/%s"):format(pid, name), room, 4096)
    local target = length > 0 and ffi.string(room, length):gsub("%[%d+%]$", "") or "?"
    counts[target] = (counts[target] or 0) + 1
  end
  return counts
end

local function descriptors(held, name, pid)
  local total = 0
  for target, count in pairs(targets(pid)) do
    held[("%s (%s)"):format(name, target)] = count
    total = total + count
  end
  held[name] = total
end

--- Without the pages of slots: of these there are only so many, and they are touched bit by bit.
local function resident_kb(pid) return tonumber(read(("/proc/%d/status"):format(pid)):match("RssAnon:%s*(%d+)")) or 0 end

--- Processes of the other ranks: those beside this one that run the same program.
local function other_ranks()
  local list, own = {}, host.pid()
  for _, pid in ipairs(children(ffi.C.getppid())) do
    if pid ~= own and read(("/proc/%d/comm"):format(pid)) == read("/proc/self/comm") then list[#list + 1] = pid end
  end
  return list
end

local ranks = host.ranks() and other_ranks() or {}

--- What is held now, after collecting garbage, by name. Those in M.trends go up and down; the others must come back.
function M.take()
  collectgarbage()
  collectgarbage()
  local own = host.pid()
  local held = { ["threads"] = #names("/proc/self/task"), ["shared mappings"] = count_shared(own),
                 ["files in /dev/shm"] = 0 }
  for _, name in ipairs(names("/dev/shm")) do -- others have files there too
    if name:find("parlua", 1, true) then held["files in /dev/shm"] = held["files in /dev/shm"] + 1 end
  end
  descriptors(held, "descriptors", own)
  local below = children(own)
  held["child processes"] = #below
  if host.ranks() then -- the helper's: workers, which are kept
    held["child processes"] = 0
    for _, child in ipairs(below) do held["child processes"] = held["child processes"] + 1 + #children(child) end
  end
  for k, pid in ipairs(ranks) do
    descriptors(held, "descriptors of rank " .. k, pid)
    held["threads of rank " .. k] = #names(("/proc/%d/task"):format(pid))
    held["shared mappings of rank " .. k] = count_shared(pid)
    local workers = 0
    for _, child in ipairs(children(pid)) do workers = workers + 1 + #children(child) end
    held["child processes of rank " .. k] = workers
  end
  return held
end

--- The things of which more is held than before, in words; nil: there are none.
function M.more(before, now)
  local parts, is_more = {}, false
  for name, count in pairs(now) do
    if count > (before[name] or 0) then
      is_more = is_more or not name:find("(", 1, true) -- kinds of descriptors explain a total, and may take turns
      parts[#parts + 1] = ("%s: %d, before %d"):format(name, count, before[name] or 0)
    end
  end
  table.sort(parts)
  return is_more and table.concat(parts, "; ") or nil
end

--- Memory in KB, by name. What allocators keep for later, up to a bound, is given back before: it comes bit by bit.
function M.memory()
  ffi.C.malloc_trim(0)
  ffi.C.large_give_up()
  local held = { ["memory of Lua"] = collectgarbage("count"), ["resident memory"] = resident_kb(host.pid()) }
  for k, pid in ipairs(ranks) do held["resident memory of rank " .. k] = resident_kb(pid) end
  return held
end

--- Does a series of readings grow without end? Its first quarter is warming up; the rest is cut into WINDOWS, of which the least reading
--- counts, since what a large round leaves for a while, garbage of workers' states above all, is no leak. Growth: the last two windows are
--- above all of the first half, by more than `slack` KB and a twentieth.
local WINDOWS, LEAST_READINGS = 8, 20
local slack = { ["memory of Lua"] = 512 }
local OTHER_SLACK = 6144

local function least_of_windows(readings)
  local first = math.floor(#readings / 4) + 1
  local size = math.floor((#readings - first + 1) / WINDOWS)
  local least = {}
  for w = 1, size >= LEAST_READINGS and WINDOWS or 0 do
    least[w] = math.huge
    for k = first + (w - 1) * size, first + w * size - 1 do least[w] = math.min(least[w], readings[k]) end
  end
  return least
end

--- In words, or nil; and in words how the readings went, whatever they did. `series`: readings by name.
function M.growth(series)
  local grown, told = nil, {}
  for name, readings in pairs(series) do
    local least = least_of_windows(readings)
    if #least > 0 then
      local before = math.max(unpack(least, 1, WINDOWS / 2))
      local after = math.min(least[WINDOWS - 1], least[WINDOWS])
      local text = ("%s: %s KB"):format(name, table.concat(least, ", "):gsub("%.%d+", ""))
      told[#told + 1] = text
      if after - before > (slack[name] or OTHER_SLACK) and after > before * 1.05 then grown = text end
    end
  end
  table.sort(told)
  return grown, table.concat(told, "; ")
end

return M
