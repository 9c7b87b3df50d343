--- Where a job's results go: bytes are collected and written to a file or to standard output (src/lua/outfile.c). Not
--- through stdio: a forked worker that ends by os.exit must not write its copy of a buffer, and a write that a signal
--- cuts short must not lose bytes.
local host = require "parlua.host"
local outfile = require "parlua.outfile"
local report = require "parlua.report"
local new_buffer = require("string.buffer").new

local M = {}

local STDOUT_FD = 1
local BATCH_BYTES = 65536 -- a pipe's capacity
local FLUSH_SECONDS = 0.2 -- a finished task's line waits no longer than about this

---@class parlua.Output
---@field name string for messages
---@field code integer|nil the error number of the write that failed; nothing is written after it
---@field buffer table string.buffer: what is to be written is put into it. At each flush it ends with a whole result
---@field is_by_line? boolean each result is one line
local Output = {}
Output.__index = Output

local function new(file, name)
  return setmetatable({ file = file, name = name, buffer = new_buffer(BATCH_BYTES * 2), flushed = host.now() }, Output)
end

--- Opens a file, which gets its name at the end; devices and pipes are written to directly. nil, "-": standard output.
--- Returns nil and a message when the file can't be written.
---@param path? string
---@return parlua.Output?, string?
function M.open(path)
  if path == nil or path == "-" then
    local output = new(outfile.stdout(), "standard output")
    output.is_stdout, output.is_terminal = true, report.is_terminal(STDOUT_FD)
    return output
  end
  local file, message = outfile.open(path)
  if not file then return nil, message end
  local output = new(file, "'" .. path .. "'")
  output.path = path
  return output
end

--- Is this the file by another path?
M.is_same = outfile.same

--- A write failed in the midst of what was collected: takes away what was written of a result that is not whole.
local function keep_whole(self, written)
  local whole = self.is_by_line and self.buffer:tostring():sub(1, written):match ".*()\n" or 0
  self.file:cut(written - whole)
end

--- Writes out what was collected. Returns false after an error, which `code` keeps.
function Output:flush()
  self.flushed = host.now()
  if self.code or #self.buffer == 0 then return not self.code end
  local written, code, _
  -- What tasks and the script printed goes before: it may have been written up to the middle of a line.
  if self.is_stdout then
    written, _, code = io.stdout:flush()
    if not written then
      self.code = code or -1
      return false
    end
  end
  if self.is_terminal then
    written, _, code = report.print("stdout", self.buffer:tostring())
  else
    local bytes
    written, code, bytes = self.file:write(self.buffer:ref())
    if bytes and bytes > 0 then keep_whole(self, bytes) end
  end
  self.buffer:reset()
  if not written then self.code = code or -1 end
  return not self.code
end

--- Called after each task: writes out what is enough or has waited long enough. Returns false after an error.
function Output:settle()
  if #self.buffer >= BATCH_BYTES or host.now() - self.flushed >= FLUSH_SECONDS then return self:flush() end
  return not self.code
end

--- Writes what is left and closes. `outcome` says what becomes of a file: "complete" gives it its name, "partial" the
--- name with `.partial`, "discard" removes it. What could be written before the disk was full is partial, too. Returns
--- the path of a partial file.
function Output:close(outcome)
  self:flush()
  if self.is_stdout then return nil end
  local partial
  if outcome ~= "discard" then
    local is_partial = outcome == "partial" or self.code ~= nil
    local published, name = self.file:publish(is_partial and ".partial" or "", self.code ~= nil)
    if not published then self.code = self.code or name end
    if published and name and is_partial then partial = self.path .. ".partial" end
    -- on resuming, what an interrupted run left is part of the whole
    if published and not is_partial and self.resumes then self.file:discard(".partial") end
  end
  local closed, code = self.file:close()
  if not closed and not self.code then self.code = code end
  return partial
end

return M
