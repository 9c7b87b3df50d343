--- What a pool has each of its workers call once (pool:everywhere): the functions come with each job and each submitted
--- call, as a list of { id, f, place }; a worker calls those that it has not called, so one that begins later, or
--- replaces another, has what the others have. Globals that they set stay the worker's, as those of a set-up do.
local failure = require "parlua.failure"
local host = require "parlua.host"
local task = require "parlua.task"

local M = {}

local WAIT = 1e-3 -- seconds that a worker waits which was asked before, so that others are

---@type table<integer, table> by id: what the function has returned, with n; `is_told`
local called = {}
---@type string[] names of globals that the functions have set
local set = {}

--- Calls a function and adds the names of globals that it sets to a list.
---@param names string[]
---@return boolean ok, any ... as xpcall
function M.noting_globals(names, f)
  local before = {}
  for name, value in next, _G do before[name] = value end
  local results = { xpcall(f, failure.capture) }
  for name, value in next, _G do
    if before[name] ~= value then names[#names + 1] = name end
  end
  return unpack(results, 1, table.maxn(results))
end

--- Calls one function, of this place in the script. Returns its first result. Raises, with the place, what it raises.
function M.call_one(f, place)
  local ok, result = M.noting_globals(set, f)
  if ok then return result end
  local record = failure.record(result)
  error(("everywhere at %s failed: %s"):format(place, record.message .. (record.traceback and "\n"
    .. record.traceback or "")), 0)
end

--- Calls the functions of a list that were not called here.
---@param list? table[]
function M.call(list)
  for _, entry in ipairs(list or {}) do
    local id = entry[1]
    if not called[id] then called[id] = { result = M.call_one(entry[2], entry[3]), is_told = false } end
  end
  for _, name in ipairs(set) do task.set_up[#task.set_up + 1] = name end
end

--- The globals that functions have set, to be given to `restore` when a message has brought others of these names.
function M.globals() return task.globals(set) end

function M.restore(values) task.restore_globals(set, values) end

--- A task: what the function of such an id has returned in this worker. Told once; then another worker is to be asked.
---@return { worker: integer, result: any }? nil: it was told
function M.tell(id)
  local entry = called[id]
  if not entry or entry.is_told then
    host.sleep(WAIT)
    return nil
  end
  entry.is_told = true
  return { worker = task.running.worker, result = entry.result }
end

return M
