--- The files of reports and traces that this program writes. A script with several calls has them all on one page: it
--- is written anew when a call has ended, but no more often than is cheap, and in any case when the program ends.
local host = require "parlua.host"
local outfile = require "parlua.outfile"
local page = require "parlua.report.page"
local report = require "parlua.report"
local library = require "parlua.worker.library"
local trace_module = require "parlua.report.trace"

local M = {}

local MOST_RUNS = 30  -- on a page
local RARE = 30       -- times as long as a page takes to be written, no other is written

local open_pages = {} -- by path
local traces = {}

--- Raises where the page can't be written.
---@param path string
function M.check(path)
  if open_pages[path] then return end
  local file, message = io.open(path, "a")
  if not file then error(("cannot write the report '%s': %s"):format(path, (message:gsub("^.*: ", ""))), 0) end
  file:close()
end

local file_options = { "output", "journal", "report", "trace", "log" } -- they name a file to write

--- Raises where two options name the same file. Each would write over what the other has written.
---@param options table
function M.check_apart(options)
  for k = 2, #file_options do
    local path = options[file_options[k]]
    for j = 1, path and k - 1 or 0 do
      local other = options[file_options[j]]
      if other and not path:find "^/dev/" and outfile.same(other, path) then
        error(("options '%s' and '%s': both name the file %s; each needs one of its own"):format(file_options[j],
          file_options[k], other), 0)
      end
    end
  end
end

--- Writes a page in one step.
---@param path string
---@param text string
---@return string? message what went wrong
function M.write(path, text)
  local partial = path .. ".partial"
  local file, message = io.open(path:find "^/dev/" and path or partial, "w")
  if not file then return message end
  local written
  written, message = file:write(text)
  if written then written, message = file:close() end
  if written and not path:find "^/dev/" then written, message = os.rename(partial, path) end
  if not written then os.remove(partial) end
  return not written and message or nil
end

local function title_of(one) return "parlua: " .. (one.command or "report") end

local function write(path, one)
  local from = host.now()
  local message = M.write(path, page.whole(title_of(one), one.runs, one.left_out))
  one.is_due = false
  one.next_time = host.now() + RARE * (host.now() - from)
  if message then
    report.print("stderr", ("parlua: warning: cannot write the report '%s': %s\n"):format(path, message))
  end
end

local sentinel

--- Writes what is not written yet.
local function write_rest()
  for path, one in pairs(open_pages) do
    if one.is_due and one.pid == host.pid() then write(path, one) end
  end
end

local function write_at_end()
  if sentinel then return end
  sentinel = newproxy(true)
  getmetatable(sentinel).__gc = write_rest -- the state is closed at the end
  library.before_exit = write_rest            -- os.exit closes none
end

--- Adds a run that has ended to a page.
---@param path string
---@param run parlua.RecordedRun
function M.add(path, run)
  local one = open_pages[path]
  if not one then
    one = { runs = {}, left_out = 0, next_time = 0, pid = host.pid(), command = run.about.command, count = 0 }
    open_pages[path] = one
  end
  one.count = one.count + 1
  if #one.runs < MOST_RUNS then
    one.runs[#one.runs + 1] = page.run(run, one.count)
  else
    one.left_out = one.left_out + 1
  end
  one.is_due = true
  if host.now() >= one.next_time then write(path, one) else write_at_end() end
end

--- The trace of that name.
---@param path string
---@param origin number the time that is its 0, if it is new
function M.trace(path, origin)
  traces[path] = traces[path] or trace_module.open(path, origin)
  return traces[path]
end

return M
