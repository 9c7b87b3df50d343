--- The error of a program that was run by parlua.exec: what is raised, and what a task's failure has for its value.
local M = {}

--- What is raised where a program can't be started, fails, or takes too long.
---@class parlua.ExecError
---@field program string
---@field reason "start"|"status"|"timeout"|"ended" ended: its task did before it
---@field message string
---@field status? integer|string its exit status, or the name of the signal that ended it
---@field signal? integer that signal's number
---@field stdout? string what it had written, where that was collected
---@field stderr? string
---@field missing? integer so many bytes of the beginning of these are lost
local ExecError = {}
ExecError.__index = ExecError
M.ExecError = ExecError -- so that it is known on both sides of a crossing

function ExecError:__tostring() return self.message end

--- Is it such an error, or what a journal has kept of one?
function M.is_error(value)
  return type(value) == "table" and type(rawget(value, "program")) == "string" and rawget(value, "reason") ~= nil
end

--- A word as messages show it.
local function quote(word)
  return "'" .. (#word > 100 and word:sub(1, 100) .. "..." or word) .. "'"
end
M.quote = quote

--- What is known of a program whose task has ended before it; nil where it had nothing to write for the task.
---@param program string
---@param stdout? string what it had written by then, or the end of that
---@param stderr? string
---@param output? number bytes that it had written
---@param errors? number
---@return parlua.ExecError?
function M.ended(program, stdout, stderr, output, errors)
  if not (stdout or stderr) then return nil end
  local missing = stdout and math.max(0, (output or 0) - #stdout) or 0
  missing = missing + (stderr and math.max(0, (errors or 0) - #stderr) or 0)
  return setmetatable({ program = program, reason = "ended", stdout = stdout, stderr = stderr,
    missing = missing > 0 and missing or nil, message = quote(program) .. " was ended with its task" }, ExecError)
end

--- Raises the error with these fields.
---@param fields table
function M.fail(fields) error(setmetatable(fields, ExecError), 0) end

return M
