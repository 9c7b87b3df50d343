--- What the codec needs to recognise an array, without loading what arrays are made of: a program that has none does
--- not pay for them.
-- One table in a state, also where a script has its modules loaded again (busted does): the codec keeps those that it
-- knows.
local registry = debug.getregistry()
if registry["parlua.arrays"] then return registry["parlua.arrays"] end

-- LuaJIT's own: a script's (busted has one) may keep what it gave for a value, and that goes to workers, where the same
-- type is another.
local typeof = require("parlua.wire.start").libraries.ffi.typeof

local M = {}
registry["parlua.arrays"] = M

--- The numbers of the ctypes of arrays, as ffi.typeof knows them -> true.
---@type table<integer, boolean>
M.numbers = {}

local numbers = M.numbers

--- Is a value an array?
function M.is(value) return type(value) == "cdata" and numbers[tonumber(typeof(value))] == true end

--- Arrays that were encoded for workers since somebody has looked: they are to be kept until these have opened them.
--- False: none.
---@type table|false
M.sent = false

--- What this state is to the one that it exchanges values with: "script"; or a worker, "forked", "thread" or "distant".
M.role = "script"

--- The script: what is encoded now is for workers that were forked from it.
M.to_forked = false

--- Distant workers: what is decoded now was captured, and is to be read only.
M.is_captured = false

--- Why an array of this state can't be written to; false: all can.
---@type string|false
M.why_read_only = false

--- The arrays of this state that are mapped from files -> true, as far as they are not collected; false: there never
--- was one.
---@type table<parlua.Array, boolean>|false
M.files = false

--- An array is mapped from a file.
function M.note_file(array)
  M.files = M.files or setmetatable({}, { __mode = "k" })
  M.files[array] = true
end

--- What is said of an array whose file others have cut short.
---@param path string
function M.cut_message(path)
  return ("the array is mapped from '%s', which was cut short meanwhile: what is gone from it reads as zeros"):format(
    path)
end

--- Ends workers that wait for the next call and share this process's memory; set by parlua.run.engine.
---@type fun()|false
M.end_idle = false

--- Called by a worker that gets another job; set by parlua.array.lent.
---@type fun()|false
M.begin_job = false

--- Called by a worker that has nothing to do; set by parlua.array.room.
---@type fun()|false
M.rest = false

return M
