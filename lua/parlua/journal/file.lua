--- The file of a journal: opened, locked, compared with what parlua writes, and read. Several runs of this program may
--- use one file at a time. Rows are written by a thread (src/lua/journal.c) over a connection of its own.
local ffi = require "ffi"
local host = require "parlua.host"
require "parlua.wire.header" "lua/ffi_journal.h"

local M = {}

local C = ffi.C

local FORMAT = 3 -- of the tables below; one of format 2 is brought up to it
local busy_milliseconds = 60000 -- how long one waits for who reads or writes the file just now

local OK, READONLY, CORRUPT, CANTOPEN, NOT_A_DATABASE, ROW, DONE = 0, 8, 11, 14, 26, 100, 101
local INTEGER, FLOAT, TEXT, BLOB = 1, 2, 3, 4 -- types of columns
M.BLOB = BLOB
local OPEN_READONLY, OPEN_READWRITE = 1, 2
local EAGAIN = 11
-- What fcntl answers where there are no locks on files: EINVAL, ENOLCK, ENOSYS, EOPNOTSUPP.
local no_locks = { [22] = true, [37] = true, [38] = true, [95] = true }

local schema = [[
CREATE TABLE meta (key TEXT PRIMARY KEY, value);
CREATE TABLE runs (run INTEGER PRIMARY KEY, script TEXT, captured TEXT, source TEXT, seed TEXT, results TEXT);
CREATE TABLE tasks (run INTEGER, task INTEGER, hash INTEGER, status TEXT, result, kind TEXT, message TEXT,
  traceback TEXT, attempts INTEGER, seconds REAL, worker INTEGER, host TEXT, arguments TEXT, value BLOB, ended REAL,
  PRIMARY KEY (run, task)) WITHOUT ROWID;
]]

--- Tasks that tasks have spawned. Not in files of before there were some.
local spawned = [[
CREATE TABLE IF NOT EXISTS spawned (run INTEGER, task INTEGER, parent INTEGER, nth INTEGER, hash INTEGER, call BLOB,
  PRIMARY KEY (run, parent, nth)) WITHOUT ROWID;
]]

--- What a file has in format 3 beside these tables: what is known of each run, and when each task began and ended.
local more = [[
CREATE TABLE about (run INTEGER, key TEXT, value, PRIMARY KEY (run, key)) WITHOUT ROWID;
CREATE VIEW times AS SELECT run, task, status,
  strftime('%Y-%m-%d %H:%M:%f', ended - coalesce(seconds, 0), 'unixepoch', 'localtime') AS began,
  strftime('%Y-%m-%d %H:%M:%f', ended, 'unixepoch', 'localtime') AS ended, seconds, worker, host FROM tasks;
]]

local from_format_2 = [[
ALTER TABLE tasks RENAME COLUMN arguments TO hash;
ALTER TABLE tasks ADD COLUMN arguments TEXT;
ALTER TABLE tasks ADD COLUMN value BLOB;
ALTER TABLE tasks ADD COLUMN ended REAL;
UPDATE tasks SET value = result, result = NULL WHERE typeof(result) = 'blob';
UPDATE meta SET value = 3 WHERE key = 'format';
]]

local COLUMNS = "run, task, hash, status, result, kind, message, traceback, attempts, seconds, worker, host, "
  .. "arguments, value, ended"

local insert = "INSERT OR REPLACE INTO tasks (" .. COLUMNS .. ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

local insert_spawned = "INSERT OR REPLACE INTO spawned (run, task, parent, nth, hash, call) VALUES (?, ?, ?, ?, ?, ?)"

local sqlite -- the library: struct sqlite of src/lua/ffi.h

local function library()
  if sqlite then return sqlite end
  local message = ffi.new("const char *[1]")
  local found = C.sqlite_library(message)
  if found == nil then
    error(("the option journal needs the SQLite library (in Debian: apt-get install libsqlite3-0): %s"):format(
      ffi.string(message[0])), 0)
  end
  sqlite = found
  return sqlite
end

--- A file that runs of this program use: several may at a time (a map in the loop of an imap).
---@class parlua.JournalFile
local File = {}
File.__index = File

local open_files = {} -- by path

local function strerror_of(number) return number ~= 0 and (" (" .. host.strerror(number) .. ")") or "" end

function File:fail(what)
  local code = sqlite.errcode(self.db) % 256
  local message = ffi.string(sqlite.errmsg(self.db)) .. strerror_of(sqlite.system_errno(self.db))
  local advice = ""
  if code == CORRUPT then
    advice = ("; what can still be read of it: sqlite3 %s .recover"):format(self.path)
  elseif code == NOT_A_DATABASE then
    advice = "; name another file"
  elseif code == CANTOPEN or code == READONLY then
    advice = "; the directory must be one in which files can be made"
  end
  error(("cannot %s the journal '%s': %s%s"):format(what, self.path, message, advice), 0)
end

function File:execute(text, what)
  if sqlite.exec(self.db, text, nil, nil, nil) ~= OK then self:fail(what or "write") end
end

function File:prepare(text)
  local statement = ffi.new("void *[1]")
  if sqlite.prepare_v2(self.db, text, #text, statement, nil) ~= OK then self:fail("read") end
  return statement[0]
end

function M.column(statement, k)
  local kind = sqlite.column_type(statement, k)
  if kind == INTEGER or kind == FLOAT then return sqlite.column_double(statement, k), kind end
  if kind ~= TEXT and kind ~= BLOB then return nil, kind end
  return ffi.string(sqlite.column_blob(statement, k), sqlite.column_bytes(statement, k)), kind
end

--- Runs a statement with values bound; calls `row(statement)` for each of its rows. What `row` raises ends it.
function File:go(statement, row, ...)
  for k = 1, select("#", ...) do
    local value = (select(k, ...))
    if type(value) == "number" then
      sqlite.bind_double(statement, k, value)
    elseif value then
      sqlite.bind_text(statement, k, value, #value, -1)
    end
  end
  local code = sqlite.step(statement)
  while code == ROW do
    if row then
      local ok, message = pcall(row, statement)
      if not ok then
        sqlite.reset(statement)
        error(message, 0)
      end
    end
    code = sqlite.step(statement)
  end
  if code ~= DONE then
    local ok, message = pcall(self.fail, self, row and "read" or "write")
    sqlite.reset(statement)
    error(not ok and message, 0)
  end
  sqlite.reset(statement)
  sqlite.clear_bindings(statement)
end

--- The same, of a statement that is used once.
function File:once(text, row, ...)
  local statement = self:prepare(text)
  local ok, message = pcall(self.go, self, statement, row, ...)
  sqlite.finalize(statement)
  if not ok then error(message, 0) end
end

function File:value(text, ...)
  local found
  self:once(text, function(statement) found = M.column(statement, 0) end, ...)
  return found
end

function File:connect(flags)
  local handle = ffi.new("void *[1]")
  local code = sqlite.open_v2(self.copy or self.path, handle, flags or OPEN_READWRITE, nil)
  self.db = handle[0]
  if code ~= OK then self:fail("open") end
  sqlite.busy_timeout(self.db, busy_milliseconds)
end

--- What the run that has the file says of itself, as far as it can be read.
local function user_of(path)
  local file = setmetatable({ path = path }, File)
  local ok, name = pcall(function()
    file:connect()
    return file:value("SELECT value FROM meta WHERE key = 'owner'")
  end)
  if file.db then sqlite.close_v2(file.db) end
  return ok and name and (" (%s)"):format(name) or ""
end

--- Locks the file, or says why not.
local function lock(path)
  local number = ffi.new("int[1]")
  local handle = C.journal_open(path, number)
  if handle ~= nil then return handle end
  if number[0] == EAGAIN then
    error(("another run is using the journal '%s'%s: wait for its end, or give this one a journal of its "
      .. "own"):format(path, user_of(path)), 0)
  elseif no_locks[number[0]] then
    error(("cannot lock the journal '%s': %s; its file system may have no locks: keep the journal on "
      .. "another"):format(path,
      host.strerror(number[0])), 0)
  end
  error(("cannot open the journal '%s': %s"):format(path, host.strerror(number[0])), 0)
end

function File:make_tables()
  self:execute(schema)
  self:execute(more)
  self:execute(("INSERT INTO meta VALUES ('format', %d)"):format(FORMAT))
end

--- Raises where the file is something else, or its structure is damaged: what was recorded must not be taken for
--- nothing. Changes nothing.
function File:inspect(options)
  local tables, ours = 0, 0
  self:once("SELECT count(*), sum(name IN ('meta', 'runs', 'tasks')) FROM sqlite_master", function(statement)
    tables, ours = M.column(statement, 0), M.column(statement, 1)
  end)
  if tables == 0 then return end
  if ours ~= 3 then
    error(("'%s' is a database, but no journal of parlua's: name another file"):format(self.path), 0)
  end
  local found = options.resume and self:value("PRAGMA quick_check(1)") or "ok"
  if found ~= "ok" then
    error(("the journal '%s' is damaged (%s); what can still be read of it: sqlite3 %s .recover"):format(self.path,
      (tostring(found):gsub("%s+", " ")), self.path), 0)
  end
end

function File:prepare_tables(options)
  if self:value("SELECT count(*) FROM sqlite_master") == 0 then return self:make_tables() end
  local is_first = self.ordinal == 0 and not options.resume
  if is_first and options.force then
    self:execute("DROP VIEW IF EXISTS times; DROP TABLE IF EXISTS about; DROP TABLE IF EXISTS spawned; "
      .. "DROP TABLE tasks; DROP TABLE runs; DROP TABLE meta")
    self:make_tables()
    return
  end
  local format = self:value("SELECT value FROM meta WHERE key = 'format'")
  if format == 2 and options.resume then
    self:execute(from_format_2)
    self:execute(more)
  elseif format ~= FORMAT then
    error(("the journal '%s' has format %s; this version reads format %d: name another file, or begin anew by "
      .. "--force"):format(self.path,
      tostring(format), FORMAT), 0)
  end
  if is_first and self:value("SELECT count(*) FROM runs") > 0 then
    error(("the journal '%s' holds a run already: go on with it by --resume, or begin anew by "
      .. "--force"):format(self.path), 0)
  end
end

-- Runs of this program in each file: a script may have several calls, each its own run in the file.
local ordinals = {}

--- Run number `run` of this program in the file is under way.
function M.counted(path, run) ordinals[path] = run end

--- Takes the file into use.
function M.open(path, options)
  local file = open_files[path]
  if file then
    file.users = file.users + 1
    return file
  end
  library()
  file = setmetatable({ path = path, users = 1, ordinal = ordinals[path] or 0, handle = lock(path),
    row = ffi.new("struct journal_row") }, File)
  local ok, message = pcall(function()
    file:connect()
    file:inspect(options)
    file.is_local = C.journal_is_local(file.handle) ~= 0
    file:execute("PRAGMA synchronous = FULL; PRAGMA journal_mode = " .. (file.is_local and "WAL" or "DELETE"), "open")
    file:execute("BEGIN IMMEDIATE")
    file:prepare_tables(options)
    file:execute(spawned)
    file:once("INSERT OR REPLACE INTO meta VALUES ('owner', ?)", nil, ("process %d on %s"):format(host.pid(),
      host.hostname()))
    file:execute("COMMIT")
    local code = C.journal_begin(file.handle, insert, insert_spawned)
    if code ~= 0 then
      error(("cannot write the journal '%s': %s"):format(path, code > 0 and host.strerror(code)
        or ffi.string(C.journal_message(file.handle))), 0)
    end
    file.select = file:prepare("SELECT task, status, coalesce(value, result), kind, message, traceback, attempts, "
      .. "seconds, worker, host FROM tasks WHERE run = ? AND task BETWEEN ? AND ? ORDER BY task")
    file.select_hash = file:prepare("SELECT hash FROM tasks WHERE run = ? AND task = ?")
  end)
  if not ok then
    file.users = 0
    pcall(file.release, file)
    error(message, 0)
  end
  open_files[path] = file
  return file
end

--- Can a file not be read in place: does its run, or this reader, perhaps stand on another machine? There, SQLite's
--- locks and shared memory may not reach; and without a write-ahead log whoever reads keeps the run from writing.
local function must_copy(path)
  if C.journal_lies_here(path) == 0 then return true end
  return C.journal_has_log(path) == 0 and C.journal_is_in_use(path) ~= 0
end

--- A copy of a file that must not be read in place: its path.
local function copy_of(path)
  local room = 4096
  local copy = ffi.new("char [?]", room)
  local code = C.journal_copy(path, copy, room)
  if code == 0 then return ffi.string(copy) end
  if code == EAGAIN then
    error(("cannot read the journal '%s': it is written faster than it can be copied; on the machine of its "
      .. "run, parlua reads it in place"):format(path), 0)
  end
  error(("cannot copy the journal '%s', to read it while its run goes on: %s"):format(path, host.strerror(code)), 0)
end

--- Opens a journal that another program may be writing, for reading. That one is neither kept waiting nor disturbed.
---@param path string
---@return parlua.JournalFile
function M.read(path)
  library()
  local file = setmetatable({ path = path, copy = must_copy(path) and copy_of(path) }, File)
  local ok, message = pcall(function()
    file:connect(not file.copy and OPEN_READONLY or nil)
    file:inspect {}
    if file:value("SELECT count(*) FROM sqlite_master WHERE name = 'tasks'") == 0 then
      error(("'%s' is empty: no run has written into it yet"):format(path), 0)
    end
    local format = file:value("SELECT value FROM meta WHERE key = 'format'")
    if format ~= FORMAT then
      error(("the journal '%s' has format %s; this version reads format %d, to which a run with --resume brings older "
        .. "ones"):format(path, tostring(format), FORMAT), 0)
    end
  end)
  if file.copy then C.journal_forget(file.copy) end
  if ok then return file end
  file:close()
  error(message, 0)
end

--- Ends the reading.
function File:close()
  if self.db then sqlite.close_v2(self.db) end
  self.db = nil
end

--- Is a run using the file just now?
---@param path string
function M.is_in_use(path) return C.journal_is_in_use(path) ~= 0 end

--- Writes what is left and lets go of the file. Raises when something could not be written.
function File:release()
  open_files[self.path] = nil
  local well = C.journal_end(self.handle) == 0
  if self.select then sqlite.finalize(self.select) end
  if self.select_hash then sqlite.finalize(self.select_hash) end
  if self.db then
    -- one plain file, which can be read from anywhere; someone who reads it just now may prevent that
    if well and self.is_local then
      sqlite.busy_timeout(self.db, 0)
      sqlite.exec(self.db, "PRAGMA journal_mode = DELETE", nil, nil, nil)
    end
    sqlite.close_v2(self.db)
  end
  self.db = nil
  local message = not well and self:broken()
  C.journal_close(self.handle)
  if message then error(message, 0) end
end

function File:broken()
  return ("cannot write the journal '%s': %s. What was recorded before is in it: go on by --resume once it can be "
    .. "written"):format(self.path,
    ffi.string(C.journal_message(self.handle)))
end

return M
