--- The log: lines for people, from the script and from tasks on any engine (parlua.log). Where they go, and from which
--- level on, the options log and log_level say. What is needed for that stands in parlua.worker.log.
local log = require "parlua.worker.log"
local task = require "parlua.task"

local M = {}

--- Writes a line of what only helps to find faults (shown with --log-level debug).
--- Example: `parlua.log.debug("x = %g after %d steps", x, steps)`
---@param format string as for string.format; %s shows tables too. Alone, without values, it is written as it is
---@param ... any
function M.debug(format, ...) if task.log_level <= 1 then log.put(1, format, ...) end end

--- Writes a line of what goes on.
---@param format string
---@param ... any
function M.info(format, ...) if task.log_level <= 2 then log.put(2, format, ...) end end

--- Writes a line of what may be wrong.
---@param format string
---@param ... any
function M.warn(format, ...) if task.log_level <= 3 then log.put(3, format, ...) end end

--- Writes a line of what is wrong.
---@param format string
---@param ... any
function M.error(format, ...) if task.log_level <= 4 then log.put(4, format, ...) end end

return M
