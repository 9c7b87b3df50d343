--- The journal: an SQLite file of finished tasks, from which a run resumes.
--
-- The library is opened when a journal is asked for, not before: `parlua` starts as fast without it.
--
-- Here the file is opened, compared with the run and read; rows are written by a thread (src/lua/journal.c) over a
-- connection of its own, so that neither the script nor its workers wait for the disk. The file can be read (sqlite3
-- run.db 'select * from tasks') while the run writes. While it is in use it has SQLite's write-ahead log, beside which
-- readers and the writer are never in each other's way; but that needs memory which all of them share, so on a file
-- system that is not known to be this machine's own it has a rollback journal. A byte of the file is locked as long as
-- a run uses it: one run at a time. A process that is killed leaves what was committed; the next to open the file sets
-- the rest aside.
local ffi = require "ffi"
local is_own_source = require("parlua.wire.record").is_own_source
local codec = require "parlua.codec"
local hash = require "parlua.hash"
local indexed = require "parlua.source.indexed"
local files = require "parlua.journal.file"
local identity_module = require "parlua.journal.identity"
local lookout = require("parlua.lazy") "parlua.journal.lookout"
local puller = require "parlua.journal.puller"
local record = require "parlua.journal.record"
local spawned = require("parlua.lazy") "parlua.journal.spawned"
local task = require "parlua.task"
local time = require "parlua.report.time"

local M = {}

local C = ffi.C
local column = files.column
local NO_FUNCTIONS = { functions = false }
local FIRST_SPAWNED = task.FIRST_SPAWNED

---@class parlua.Journal
---@field file parlua.JournalFile
---@field run integer its number in the file
---@field done number[][] ranges of recorded tasks that are not to run: {first, last}, ascending
---@field has_spawned boolean tasks that were spawned are recorded
---@field lookout? userdata what puts rows while the script is away; `notes` is the same, for calls by FFI
---@field notes ffi.cdata*|false
---@field completes boolean rows that other ranks have prepared lack the arguments
---@field left_out? table<number, boolean> tasks that the file can't hold: they run again on resuming
local Journal = {}
Journal.__index = Journal
Journal.take, Journal.fail = record.take, record.fail

--- Raises when writing has failed: the run is not to go on without its journal.
function Journal:check_writing()
  if C.journal_failed(self.file.handle) ~= 0 then error(self.file:broken(), 0) end
end

--- Notes what is known of the run, for those who read the file.
---@param about table<string, string|number>
function Journal:note(about)
  for key, value in pairs(about) do
    self.file:once("INSERT OR REPLACE INTO about VALUES (?, ?, ?)", nil, self.run, key, value)
  end
end

--- Ends the use of the file. What was recorded is in it, or this raises.
---@param about? table<string, string|number> to be noted
function Journal:close(about)
  local file = self.file
  if not file then return end
  self.notes = false
  if about and C.journal_failed(file.handle) == 0 then pcall(self.note, self, about) end
  self.file = nil
  file.users = file.users - 1
  if file.users == 0 then file:release() end
end

--- Reads recorded tasks first..last: calls visit(index, record) for each; record: status, n and values, or the fields
--- of a failure.
function Journal:read(first, last, visit)
  self.file:go(self.file.select, function(statement)
    local index = column(statement, 0)
    local found = { status = column(statement, 1), kind = column(statement, 3), message = column(statement, 4), n = 1,
                     traceback = column(statement, 5), attempts = column(statement, 6), seconds = column(statement, 7),
                     worker = column(statement, 8), host = column(statement, 9) }
    local value, kind = column(statement, 2)
    if kind == files.BLOB then
      local function keep(...)
        found.n = select("#", ...)
        return { ... }
      end
      local ok, values = pcall(function() return keep(codec.decode(value, NO_FUNCTIONS)) end)
      if not ok then
        error(("the journal '%s' is damaged: the result of task %d: %s"):format(self.file.path, index,
          tostring(values)), 0)
      end
      found.values = values
    else
      found.values = { value }
    end
    visit(index, found)
  end, self.run, first, last)
end

--- The hash of a task's arguments: those that were pulled, or what the source makes of the index.
function Journal:hash_of(index) return self.hashes[index] or hash(self.make(index)) end

--- A puller that passes over the tasks that are recorded.
function Journal:puller(source, force) return puller.open(source, self, force) end

--- Is task `index` one that is recorded and not to run? Asked in ascending order. With `force`, arguments that differ
--- make it run again.
function Journal:is_done(index)
  local range = self.done[self.at]
  while range and range[2] < index do
    self.at = self.at + 1
    range = self.done[self.at]
  end
  return range ~= nil and index >= range[1]
end

function Journal:recorded_hash(index)
  local found
  self.file:go(self.file.select_hash, function(statement) found = column(statement, 0) end, self.run, index)
  return found
end

function Journal:refusal(what, recorded, now)
  local values = recorded and (" (recorded: %s, now: %s)"):format(tostring(recorded), tostring(now)) or ""
  local call = self.run > 1 and (" in call %d of the script"):format(self.run) or ""
  return ("the journal '%s' is of another run: %s%s%s. Name another file, or go on with it all the same by "
    .. "--force"):format(self.file.path,
    what, call, values)
end

--- Finds what is recorded. Indexed sources: the arguments are looked at right away.
function Journal:load_done(retry_failed, force)
  local done, range = {}, nil
  local condition = retry_failed and " AND status = 'returned'" or ""
  self.file:once(("SELECT task, hash FROM tasks WHERE run = ? AND task < %.0f%s ORDER BY task"):format(
    FIRST_SPAWNED, condition), function(statement)
    local index, recorded = column(statement, 0), column(statement, 1)
    if self.make then
      if index > self.total then return end
      if hash(self.make(index)) ~= recorded then
        if force then return end
        error(self:refusal(("the arguments of task %d differ"):format(index)), 0)
      end
    end
    if range and range[2] == index - 1 then
      range[2] = index
    else
      range = { index, index }
      done[#done + 1] = range
    end
  end, self.run)
  self.done = done
end

--- Has rows written also while the script is away.
---@param handle any of the driver
---@param run parlua.Run
function Journal:look_out(handle, run) lookout.open(self, handle, run) end

--- What is recorded of tasks that were spawned, and records more of them.
---@return parlua.JournalSpawned
function Journal:spawned() return spawned.open(self) end

--- Compares what the file says of this run with what the run is.
function Journal:check(identity)
  local recorded = {}
  self.file:once("SELECT script, captured, source, seed, results FROM runs WHERE run = ?", function(statement)
    for k, key in ipairs { "script", "captured", "source", "seed", "results" } do recorded[key] = column(statement,
      k - 1) end
  end, self.run)
  if recorded.script ~= identity.script then error(self:refusal("the code of the map function differs"), 0) end
  if recorded.source ~= identity.source then
    error(self:refusal("the arguments differ", recorded.source, identity.source), 0)
  end
  if recorded.seed ~= identity.seed then
    error(self:refusal("the seed, or the number of the call in the program, differs", recorded.seed, identity.seed), 0)
  end
  if recorded.results ~= identity.results then
    error(self:refusal("it was another kind of call", M.calls[recorded.results], M.calls[identity.results]), 0)
  end
  if recorded.captured ~= identity.captured then
    local name = identity_module.differing(recorded.captured, identity.captured)
    local info = type(self.f) == "function" and debug.getinfo(self.f, "S")
    if info and is_own_source(info.source) then -- of a command line without a script
      error(self:refusal(name == "save" and "the option --save differs, which says where output goes"
        or "the command, or an option that says what it does, differs"), 0)
    end
    error(self:refusal(name and ("the variable '%s' differs, which the map function uses"):format(name)
      or "the map function uses other variables"), 0)
  end
end

--- Kinds of calls by what is kept of results: those that can be recorded.
M.calls = { first = "map, reduce or a job", all = "imap", none = "each", found = "find or any", lacking = "all" }

--- Opens the journal for a run.
---@param run table { f, source, keep, seed: what its random numbers follow from, indexed: do workers make the
--- arguments? about: what else is known }
---@param options table journal, resume, retry_failed, force
---@return parlua.Journal
function M.open(run, options)
  local path = options.journal
  if run.keep == "call" then
    error("option 'journal': single calls (submit) are not recorded; give the pool the option journal = false, or "
      .. "use map", 0)
  end
  run.about = run.about or {}
  run.about.began = time.now()
  local file = files.open(path, options)
  file.ordinal = file.ordinal + 1
  local self = setmetatable({ file = file, run = file.ordinal, hashes = {}, texts = {}, at = 1, done = {},
    total = run.source.n, f = run.f, has_spawned = false, notes = false, retry_failed = options.retry_failed }, Journal)
  local ok, message = pcall(function()
    if run.indexed then self.make = indexed.maker(run.source) end
    local script, captured = identity_module.script_of(run.f)
    local identity = { script = script, captured = captured, source = identity_module.describe(run.source),
      seed = run.seed,
                       results = run.keep }
    if file:value("SELECT count(*) FROM runs WHERE run = ?", self.run) > 0 then
      if not options.force then self:check(identity) end
      self:load_done(options.retry_failed, options.force)
      self.has_spawned = file:value("SELECT count(*) FROM spawned WHERE run = ?", self.run) > 0
    end
    file:once("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?)", nil, self.run, identity.script,
      identity.captured, identity.source,
      identity.seed, identity.results)
    file:once("DELETE FROM about WHERE run = ? AND key IN ('ended', 'outcome')", nil, self.run)
    self:note(run.about)
  end)
  if not ok then
    pcall(self.close, self)
    error(message, 0)
  end
  files.counted(path, self.run)
  return self
end

return M
