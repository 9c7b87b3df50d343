--- The journal: an SQLite file of finished tasks, from which a run resumes.
--
-- The library is opened when a journal is asked for, not before: `parlua` starts as fast without it.
--
-- Here the file is opened, compared with the run and read; rows are written by a thread (src/lua/journal.c) over a connection of its own, so that
-- neither the script nor its workers wait for the disk. The file can be read (sqlite3 run.db 'select * from tasks') while the run
-- writes. While it is in use it has SQLite's write-ahead log, beside which readers and the writer are never in each other's way; but
-- that needs memory which all of them share, so on a file system that is not known to be this machine's own it has a rollback
-- journal. A byte of the file is locked as long as a run uses it: one run at a time. A process that is killed leaves what was
-- committed; the next to open the file sets the rest aside.
local ffi = require "ffi"
local bit = require "bit"
local util = require "jit.util"
local block = require "parlua.wire.block"
local codec = require "parlua.codec"
local hash = require "parlua.hash"
local host = require "parlua.host"
local indexed = require "parlua.source.indexed"
local supply = require "parlua.feed.supply"

local M = {}

local C = ffi.C
local cast = ffi.cast
local LOWEST, TUPLE, FAILURE, NIL_TAG = C.TAG_LOWEST, C.TAG_TUPLE, C.TAG_FAILURE, C.TAG_NIL

local FORMAT = 2               -- of the tables below
local busy_milliseconds = 60000 -- how long one waits for who reads or writes the file just now
local most_bytes = 9e8         -- of a result: SQLite takes rows of up to 1e9 bytes
local most_passed = 1000       -- recorded tasks of a supplied source that are delivered at once

local OK, READONLY, CORRUPT, CANTOPEN, NOT_A_DATABASE, ROW, DONE = 0, 8, 11, 14, 26, 100, 101
local INTEGER, FLOAT, TEXT, BLOB = 1, 2, 3, 4
local OPEN_READWRITE = 2
local EAGAIN = 11
-- What fcntl answers where there are no locks on files: EINVAL, ENOLCK, ENOSYS, EOPNOTSUPP.
local no_locks = { [22] = true, [37] = true, [38] = true, [95] = true }
local NO_FUNCTIONS = { functions = false }

local schema = [[
CREATE TABLE meta (key TEXT PRIMARY KEY, value);
CREATE TABLE runs (run INTEGER PRIMARY KEY, script TEXT, captured TEXT, source TEXT, seed TEXT, results TEXT);
CREATE TABLE tasks (run INTEGER, task INTEGER, arguments INTEGER, status TEXT, result, kind TEXT, message TEXT, traceback TEXT,
  attempts INTEGER, seconds REAL, worker INTEGER, host TEXT, PRIMARY KEY (run, task)) WITHOUT ROWID;
]]

local insert = "INSERT OR REPLACE INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

local sqlite -- the library

local function library()
  if sqlite then return sqlite end
  local ok, result = pcall(ffi.load, "libsqlite3.so.0")
  if not ok then
    error(("the option journal needs the SQLite library (in Debian: apt-get install libsqlite3-0): %s"):format(result), 0)
  end
  ffi.cdef [[
    typedef struct sqlite3 sqlite3;
    typedef struct sqlite3_stmt sqlite3_stmt;
    int sqlite3_open_v2(const char *, sqlite3 **, int, const char *);
    int sqlite3_close_v2(sqlite3 *);
    int sqlite3_exec(sqlite3 *, const char *, void *, void *, char **);
    const char *sqlite3_errmsg(sqlite3 *);
    int sqlite3_errcode(sqlite3 *);
    int sqlite3_system_errno(sqlite3 *);
    int sqlite3_busy_timeout(sqlite3 *, int);
    int sqlite3_prepare_v2(sqlite3 *, const char *, int, sqlite3_stmt **, const char **);
    int sqlite3_finalize(sqlite3_stmt *);
    int sqlite3_step(sqlite3_stmt *);
    int sqlite3_reset(sqlite3_stmt *);
    int sqlite3_clear_bindings(sqlite3_stmt *);
    int sqlite3_bind_double(sqlite3_stmt *, int, double);
    int sqlite3_bind_text(sqlite3_stmt *, int, const char *, int, intptr_t);
    int sqlite3_column_type(sqlite3_stmt *, int);
    double sqlite3_column_double(sqlite3_stmt *, int);
    const char *sqlite3_column_blob(sqlite3_stmt *, int);
    int sqlite3_column_bytes(sqlite3_stmt *, int);
  ]]
  sqlite = result
  return sqlite
end

-- ---- what a run is known by ----

-- Instructions that LuaJIT exchanges while it runs a function, by the name that stands for them all.
local same_instruction = {
  JFORI = "FORI", JFORL = "FORL", IFORL = "FORL", JITERL = "ITERL", IITERL = "ITERL", JLOOP = "LOOP", ILOOP = "LOOP", IFUNCF = "FUNCF",
  JFUNCF = "FUNCF", IFUNCV = "FUNCV", JFUNCV = "FUNCV", ITERN = "ITERC", ISNEXT = "JMP",
}

--- The functions of loaded modules, by name: "math.sqrt".
local function library_names()
  local names = {}
  for module, fields in pairs(package.loaded) do
    for name, value in pairs(type(fields) == "table" and fields or {}) do
      if type(value) == "function" and type(name) == "string" then
        local full = module .. "." .. name
        if not names[value] or full < names[value] then names[value] = full end
      end
    end
  end
  return names
end

--- Adds the code of a function or prototype to a list: instructions and constants. (Not string.dump: its order of constant tables'
--- fields differs from process to process.)
local function add_code(list, f, names, seen, capture)
  local info = util.funcinfo(f)
  if not info.bytecodes then -- of C
    list[#list + 1] = "C:" .. (library_names()[f] or "?")
    return
  end
  for at = 1, info.bytecodes - 1 do
    local instruction = util.funcbc(f, at)
    local code = bit.band(instruction, 0xff)
    local name = names:sub(6 * code + 1, 6 * code + 6):gsub(" ", "")
    local plain = same_instruction[name] or name
    -- a compiled loop's operand is the number of its trace
    local is_loop = plain == "FORL" or plain == "ITERL" or plain == "LOOP"
    list[#list + 1] = plain .. (is_loop and bit.band(bit.rshift(instruction, 8), 0xff) or bit.rshift(instruction, 8))
  end
  for at = 0, (info.nconsts or 0) - 1 do list[#list + 1] = tostring(util.funck(f, at)) end
  for at = 1, info.gcconsts or 0 do
    local constant = util.funck(f, -at)
    if type(constant) == "proto" then
      add_code(list, constant, names, seen, capture)
    else
      list[#list + 1] = type(constant) == "cdata" and tostring(constant) or constant
    end
  end
  if type(f) ~= "function" then return end
  for at = 1, info.upvalues or 0 do -- functions that it uses are part of it
    local name, value = debug.getupvalue(f, at)
    if type(value) ~= "function" then
      capture(name, value)
    elseif not seen[value] then
      seen[value] = true
      local source = debug.getinfo(value, "S")
      if source.source:find("^=parlua/") then -- parlua's own, which keep state
        list[#list + 1] = source.source .. ":" .. source.linedefined
      else
        add_code(list, value, names, seen, capture)
      end
    end
  end
end

--- A number for the code of a map function and of the functions that it uses; and "name=number" of each variable that these captured,
--- as far as it is data: what a task returns depends on it. Modules are known by their names.
local function script_of(f)
  local list, captured, seen, modules = {}, {}, { [f] = true }, {}
  for _, module in pairs(package.loaded) do modules[module] = true end
  add_code(list, f, require("jit.vmdef").bcnames, seen, function(name, value)
    if modules[value] then return end
    captured[#captured + 1] = ("%s=%.0f"):format(name, hash(value))
  end)
  return ("%.0f"):format(hash(list)), table.concat(captured, " ")
end

--- The first captured variable that differs between two lists, or nil where they are of different variables.
local function differing(recorded, now)
  local values = {}
  for name, value in recorded:gmatch("(%S+)=(%d+)") do values[#values + 1] = { name, value } end
  local k = 0
  for name, value in now:gmatch("(%S+)=(%d+)") do
    k = k + 1
    if not values[k] or values[k][1] ~= name then return nil end
    if values[k][2] ~= value then return name end
  end
end

--- A source in words.
local function describe(source)
  if source.kind == "range" then
    return ("range(%.17g, step %.17g, %d tasks)"):format(source.first, source.step, source.n)
  end
  local parts = {}
  for k, part in ipairs(source.parts or {}) do parts[k] = describe(part) end
  if source.path then parts[1] = source.path end
  return source.kind .. (parts[1] and "(" .. table.concat(parts, ", ") .. ")" or "")
    .. (source:is_indexed() and (" of %d tasks"):format(source.n) or "")
end

-- ---- the file ----

--- A file that runs of this program use: several may at a time (a map in the loop of an imap).
---@class parlua.JournalFile
local File = {}
File.__index = File

local open_files = {} -- by path

local function strerror_of(number) return number ~= 0 and (" (" .. host.strerror(number) .. ")") or "" end

function File:fail(what)
  local code = sqlite.sqlite3_errcode(self.db) % 256
  local message = ffi.string(sqlite.sqlite3_errmsg(self.db)) .. strerror_of(sqlite.sqlite3_system_errno(self.db))
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
  if sqlite.sqlite3_exec(self.db, text, nil, nil, nil) ~= OK then self:fail(what or "write") end
end

function File:prepare(text)
  local statement = ffi.new("sqlite3_stmt *[1]")
  if sqlite.sqlite3_prepare_v2(self.db, text, #text, statement, nil) ~= OK then self:fail("read") end
  return statement[0]
end

local function column(statement, k)
  local kind = sqlite.sqlite3_column_type(statement, k)
  if kind == INTEGER or kind == FLOAT then return sqlite.sqlite3_column_double(statement, k), kind end
  if kind ~= TEXT and kind ~= BLOB then return nil, kind end
  return ffi.string(sqlite.sqlite3_column_blob(statement, k), sqlite.sqlite3_column_bytes(statement, k)), kind
end

--- Runs a statement with values bound; calls `row(statement)` for each of its rows. What `row` raises ends it.
function File:go(statement, row, ...)
  for k = 1, select("#", ...) do
    local value = (select(k, ...))
    if type(value) == "number" then
      sqlite.sqlite3_bind_double(statement, k, value)
    elseif value then
      sqlite.sqlite3_bind_text(statement, k, value, #value, -1)
    end
  end
  local code = sqlite.sqlite3_step(statement)
  while code == ROW do
    if row then
      local ok, message = pcall(row, statement)
      if not ok then
        sqlite.sqlite3_reset(statement)
        error(message, 0)
      end
    end
    code = sqlite.sqlite3_step(statement)
  end
  if code ~= DONE then
    local ok, message = pcall(self.fail, self, row and "read" or "write")
    sqlite.sqlite3_reset(statement)
    error(not ok and message, 0)
  end
  sqlite.sqlite3_reset(statement)
  sqlite.sqlite3_clear_bindings(statement)
end

--- The same, of a statement that is used once.
function File:once(text, row, ...)
  local statement = self:prepare(text)
  local ok, message = pcall(self.go, self, statement, row, ...)
  sqlite.sqlite3_finalize(statement)
  if not ok then error(message, 0) end
end

function File:value(text, ...)
  local found
  self:once(text, function(statement) found = column(statement, 0) end, ...)
  return found
end

function File:connect()
  local handle = ffi.new("sqlite3 *[1]")
  local code = sqlite.sqlite3_open_v2(self.path, handle, OPEN_READWRITE, nil)
  self.db = handle[0]
  if code ~= OK then self:fail("open") end
  sqlite.sqlite3_busy_timeout(self.db, busy_milliseconds)
end

--- What the run that has the file says of itself, as far as it can be read.
local function user_of(path)
  local file = setmetatable({ path = path }, File)
  local ok, name = pcall(function()
    file:connect()
    return file:value("SELECT value FROM meta WHERE key = 'owner'")
  end)
  if file.db then sqlite.sqlite3_close_v2(file.db) end
  return ok and name and (" (%s)"):format(name) or ""
end

--- Locks the file, or says why not.
local function lock(path)
  local number = ffi.new("int[1]")
  local handle = C.journal_open(path, number)
  if handle ~= nil then return handle end
  if number[0] == EAGAIN then
    error(("another run is using the journal '%s'%s: wait for its end, or give this one a journal of its own"):format(path, user_of(path)), 0)
  elseif no_locks[number[0]] then
    error(("cannot lock the journal '%s': %s; its file system may have no locks: keep the journal on another"):format(path,
      host.strerror(number[0])), 0)
  end
  error(("cannot open the journal '%s': %s"):format(path, host.strerror(number[0])), 0)
end

function File:make_tables()
  self:execute(schema)
  self:execute(("INSERT INTO meta VALUES ('format', %d)"):format(FORMAT))
end

--- Raises where the file is something else, or its structure is damaged: what was recorded must not be taken for nothing. Changes nothing.
function File:inspect(options)
  local tables, ours = 0, 0
  self:once("SELECT count(*), sum(name IN ('meta', 'runs', 'tasks')) FROM sqlite_master", function(statement)
    tables, ours = column(statement, 0), column(statement, 1)
  end)
  if tables == 0 then return end
  if ours ~= 3 then error(("'%s' is a database, but no journal of parlua's: name another file"):format(self.path), 0) end
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
    self:execute("DROP TABLE tasks; DROP TABLE runs; DROP TABLE meta")
    self:make_tables()
    return
  end
  local format = self:value("SELECT value FROM meta WHERE key = 'format'")
  if format ~= FORMAT then
    error(("the journal '%s' has format %s; this version reads format %d: name another file, or begin anew by --force"):format(self.path,
      tostring(format), FORMAT), 0)
  end
  if is_first and self:value("SELECT count(*) FROM runs") > 0 then
    error(("the journal '%s' holds a run already: go on with it by --resume, or begin anew by --force"):format(self.path), 0)
  end
end

-- Runs of this program in each file: a script may have several calls, each its own run in the file.
local ordinals = {}

--- Takes the file into use.
local function open_file(path, options)
  local file = open_files[path]
  if file then
    file.users = file.users + 1
    return file
  end
  library()
  file = setmetatable({ path = path, users = 1, ordinal = ordinals[path] or 0, handle = lock(path), row = ffi.new("struct journal_row") }, File)
  local ok, message = pcall(function()
    file:connect()
    file:inspect(options)
    file.is_local = C.journal_is_local(file.handle) ~= 0
    file:execute("PRAGMA synchronous = FULL; PRAGMA journal_mode = " .. (file.is_local and "WAL" or "DELETE"), "open")
    file:execute("BEGIN IMMEDIATE")
    file:prepare_tables(options)
    file:once("INSERT OR REPLACE INTO meta VALUES ('owner', ?)", nil, ("process %d on %s"):format(host.pid(), host.hostname()))
    file:execute("COMMIT")
    local code = C.journal_begin(file.handle, insert)
    if code ~= 0 then
      error(("cannot write the journal '%s': %s"):format(path, code > 0 and host.strerror(code) or ffi.string(C.journal_message(file.handle))), 0)
    end
    file.select = file:prepare("SELECT task, status, result, kind, message, traceback, attempts, seconds, worker, host FROM tasks"
      .. " WHERE run = ? AND task BETWEEN ? AND ? ORDER BY task")
    file.select_hash = file:prepare("SELECT arguments FROM tasks WHERE run = ? AND task = ?")
  end)
  if not ok then
    file.users = 0
    pcall(file.release, file)
    error(message, 0)
  end
  open_files[path] = file
  return file
end

--- Writes what is left and lets go of the file. Raises when something could not be written.
function File:release()
  open_files[self.path] = nil
  local well = C.journal_end(self.handle) == 0
  if self.select then sqlite.sqlite3_finalize(self.select) end
  if self.select_hash then sqlite.sqlite3_finalize(self.select_hash) end
  if self.db then
    -- one plain file, which can be read from anywhere; someone who reads it just now may prevent that
    if well and self.is_local then
      sqlite.sqlite3_busy_timeout(self.db, 0)
      sqlite.sqlite3_exec(self.db, "PRAGMA journal_mode = DELETE", nil, nil, nil)
    end
    sqlite.sqlite3_close_v2(self.db)
  end
  self.db = nil
  local message = not well and self:broken()
  C.journal_close(self.handle)
  if message then error(message, 0) end
end

function File:broken()
  return ("cannot write the journal '%s': %s. What was recorded before is in it: go on by --resume once it can be written"):format(self.path,
    ffi.string(C.journal_message(self.handle)))
end

-- ---- one run in it ----

---@class parlua.Journal
---@field file parlua.JournalFile
---@field run integer its number in the file
---@field done number[][] ranges of recorded tasks that are not to run: {first, last}, ascending
local Journal = {}
Journal.__index = Journal

--- Raises when writing has failed: the run is not to go on without its journal.
function Journal:check_writing()
  if C.journal_failed(self.file.handle) ~= 0 then error(self.file:broken(), 0) end
end

--- Ends the use of the file. What was recorded is in it, or this raises.
function Journal:close()
  local file = self.file
  if not file then return end
  self.file = nil
  file.users = file.users - 1
  if file.users == 0 then file:release() end
end

-- ---- recording ----

--- Puts a result into the row: numbers and strings as they are, so that one can read them; other values as bytes of the codec. Returns what
--- must be kept until the row was put; nil: the file can't hold it (a function, or too large).
local function set_result(row, values, n)
  local value = values[1]
  row.result_bytes = 0
  if n == 1 and value == nil then
    row.result_kind = C.JOURNAL_NIL
    return true
  end
  if n == 1 and type(value) == "number" and value == value and not (value == 0 and 1 / value < 0) then
    row.result_kind, row.number = C.JOURNAL_NUMBER, value
    return true
  end
  local bytes, kind = value, C.JOURNAL_TEXT
  if n ~= 1 or type(value) ~= "string" then bytes, kind = codec.encode_data(unpack(values, 1, n)), C.JOURNAL_BYTES end
  if not bytes or #bytes > most_bytes then return nil end
  row.result_kind, row.result, row.result_bytes = kind, bytes, #bytes
  return bytes
end

local function set_text(row, name, value)
  row[name], row[name .. "_bytes"] = value, value and #value or 0
end

function Journal:put(index)
  local row = self.file.row
  row.run, row.task, row.arguments = self.run, index, self:hash_of(index)
  self.hashes[index] = nil
  if C.journal_put(self.file.handle, row) ~= 0 then error(self.file:broken(), 0) end
end

--- What all rows of an event have in common.
local function set_common(row, attempts, seconds, worker, host_name)
  row.failed, row.attempts, row.seconds, row.worker = 0, attempts, seconds > 0 and seconds or -1, worker
  row.host, row.host_bytes = host_name, #host_name
  row.kind, row.kind_bytes, row.message, row.message_bytes, row.traceback, row.traceback_bytes = nil, 0, nil, 0, nil, 0
end

--- Records a task that returned values[1 .. n]. One that returned what the file can't hold is left out: it runs again on resuming.
function Journal:returned(index, values, n)
  local anchor = set_result(self.file.row, values, n)
  if anchor then self:put(index) else self.hashes[index] = nil end
  return anchor
end

--- Records a run of numbers and nils: with what the writer does, 1.2 us of processor time each (bench/journal.lua). Returns the first word that
--- is neither.
function Journal:plain_words(words, half, k, last, first)
  local row, handle, hashes, make, run = self.file.row, self.file.handle, self.hashes, self.make, self.run
  row.run, row.result_bytes = run, 0
  for at = k, last do
    local tag, index = half[2 * at + 1], first + at
    local value = words[at]
    if tag >= 0 or tag < LOWEST then
      if value ~= value or value == 0 and 1 / value < 0 then return at end
      row.result_kind, row.number = C.JOURNAL_NUMBER, value
    elseif tag == NIL_TAG then
      row.result_kind = C.JOURNAL_NIL
    else
      return at
    end
    row.task, row.arguments = index, hashes[index] or hash(make(index))
    hashes[index] = nil
    if C.journal_put(handle, row) ~= 0 then error(self.file:broken(), 0) end
  end
  return last + 1
end

--- Records what an event tells of tasks that returned; failures are recorded when they are final.
---@param run parlua.Run
function Journal:results(run, event)
  local out, row = event.block, self.file.row
  local half, words = cast(block.halves, out.word), out.word
  set_common(row, event.attempt, event.seconds, event.worker, run:host_of(event.worker))
  local from, last = event.from, event.from + event.count - 1
  if out.kind == C.BLOCK_SPARSE then return self:sparse(run, event, half) end
  local k = from
  while k <= last do
    k = self:plain_words(words, half, k, last, event.first)
    if k > last then return end
    local tag, index = half[2 * k + 1], event.first + k
    if tag >= 0 or tag < LOWEST then
      self:returned(index, { words[k] }, 1)
    elseif tag == TUPLE then
      local tuple = run:tuple(out, half, k, tag)
      self:returned(index, tuple, tuple.n)
    elseif tag ~= FAILURE then
      self:returned(index, { (run:special(out, half, k, tag)) }, 1)
    end
    k = k + 1
  end
end

--- The same where only some results came: those of the others are not kept.
function Journal:sparse(run, event, half)
  local out, told = event.block, {}
  for k = event.from, event.from + event.count - 1 do
    local index, tag = out.word[2 * k], half[4 * k + 3]
    told[index] = true
    if tag ~= FAILURE then self:returned(index, { (run:special(out, half, 2 * k + 1, tag)) }, 1) end
  end
  local row = self.file.row
  row.result_kind, row.result_bytes = C.JOURNAL_NIL, 0
  for index = event.last - event.want + 1, event.last do
    if not told[index] then self:put(index) end
  end
end

---@param failure parlua.Failure
function Journal:failure(failure)
  local row = self.file.row
  set_common(row, failure.attempts, failure.seconds, failure.worker, failure.host)
  row.failed = 1
  local anchor = set_result(row, { failure.value }, 1)
  if not anchor then row.result_kind, row.result_bytes = C.JOURNAL_NIL, 0 end
  set_text(row, "kind", failure.kind)
  set_text(row, "message", failure.message)
  set_text(row, "traceback", failure.traceback)
  self:put(failure.index)
  return anchor
end

--- The hash of a task's arguments: those that were pulled, or what the source makes of the index.
function Journal:hash_of(index)
  return self.hashes[index] or hash(self.make(index))
end

-- ---- resuming ----

--- Reads recorded tasks first..last: calls visit(index, record) for each; record: status, n and values, or the fields of a failure.
function Journal:read(first, last, visit)
  self.file:go(self.file.select, function(statement)
    local index = column(statement, 0)
    local record = { status = column(statement, 1), kind = column(statement, 3), message = column(statement, 4), n = 1,
                     traceback = column(statement, 5), attempts = column(statement, 6), seconds = column(statement, 7),
                     worker = column(statement, 8), host = column(statement, 9) }
    local value, kind = column(statement, 2)
    if kind == BLOB then
      local function keep(...)
        record.n = select("#", ...)
        return { ... }
      end
      local ok, values = pcall(function() return keep(codec.decode(value, NO_FUNCTIONS)) end)
      if not ok then
        error(("the journal '%s' is damaged: the result of task %d: %s"):format(self.file.path, index, tostring(values)), 0)
      end
      record.values = values
    else
      record.values = { value }
    end
    visit(index, record)
  end, self.run, first, last)
end

--- Is task `index` one that is recorded and not to run? Asked in ascending order. With `force`, arguments that differ make it run again.
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
  return ("the journal '%s' is of another run: %s%s%s. Name another file, or go on with it all the same by --force"):format(self.file.path,
    what, call, values)
end

--- Finds what is recorded. Indexed sources: the arguments are looked at right away.
function Journal:load_done(retry_failed, force)
  local done, range = {}, nil
  local condition = retry_failed and " AND status = 'returned'" or ""
  self.file:once("SELECT task, arguments FROM tasks WHERE run = ?" .. condition .. " ORDER BY task", function(statement)
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

--- Compares what the file says of this run with what the run is.
function Journal:check(identity)
  local recorded = {}
  self.file:once("SELECT script, captured, source, seed, results FROM runs WHERE run = ?", function(statement)
    for k, key in ipairs { "script", "captured", "source", "seed", "results" } do recorded[key] = column(statement, k - 1) end
  end, self.run)
  if recorded.script ~= identity.script then error(self:refusal("the code of the map function differs"), 0) end
  if recorded.source ~= identity.source then error(self:refusal("the arguments differ", recorded.source, identity.source), 0) end
  if recorded.seed ~= identity.seed then
    error(self:refusal("the seed, or the number of the call in the program, differs", recorded.seed, identity.seed), 0)
  end
  if recorded.results ~= identity.results then
    error(self:refusal("it was another kind of call", M.calls[recorded.results], M.calls[identity.results]), 0)
  end
  if recorded.captured ~= identity.captured then
    local name = differing(recorded.captured, identity.captured)
    error(self:refusal(name and ("the variable '%s' differs, which the map function uses"):format(name)
      or "the map function uses other variables"), 0)
  end
end

--- Kinds of calls by what is kept of results: those that can be recorded.
M.calls = { first = "map, reduce or a job", all = "imap", none = "each", found = "find or any", lacking = "all" }

--- Opens the journal for a run.
---@param run table { f, source, keep, seed: what its random numbers follow from, indexed: do workers make the arguments? }
---@param options table journal, resume, retry_failed, force
---@return parlua.Journal
function M.open(run, options)
  local path = options.journal
  local file = open_file(path, options)
  file.ordinal = file.ordinal + 1
  local self = setmetatable({ file = file, run = file.ordinal, hashes = {}, at = 1, done = {}, total = run.source.n }, Journal)
  local ok, message = pcall(function()
    if run.indexed then self.make = indexed.maker(run.source) end
    local script, captured = script_of(run.f)
    local identity = { script = script, captured = captured, source = describe(run.source), seed = run.seed,
                       results = run.keep }
    if file:value("SELECT count(*) FROM runs WHERE run = ?", self.run) > 0 then
      if not options.force then self:check(identity) end
      self:load_done(options.retry_failed, options.force)
    end
    file:once("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?)", nil, self.run, identity.script, identity.captured, identity.source,
      identity.seed, identity.results)
  end)
  if not ok then
    pcall(self.close, self)
    error(message, 0)
  end
  ordinals[path] = self.run
  return self
end

--- Pulls tasks one after the other, hashes their arguments, and passes over those that are recorded: see Run:supply.
function M.puller(source, journal, force)
  local read = supply.reader(source)
  local index, held, ended = 0, nil, false
  local function pack(more, ...)
    if not more then return nil end
    return { n = select("#", ...), ... }
  end
  local function next_task()
    if ended then return nil end
    local task = pack(read())
    if not task then ended = true end
    return task
  end
  local puller = { pulled = 0 }
  --- Is this the recorded task of that number?
  local function is_recorded(task)
    if not journal:is_done(index + 1) then return false end
    task.hash = task.hash or hash(unpack(task, 1, task.n))
    local recorded = journal:recorded_hash(index + 1)
    if recorded == task.hash then return true end
    if not force then puller.refused = journal:refusal(("the arguments of task %d differ"):format(index + 1)) end
    return false
  end
  local function take(task)
    index = index + 1
    journal.hashes[index] = task.hash or hash(unpack(task, 1, task.n))
  end
  function puller.fill(self, writer, want)
    local count, passed = 0, nil
    self.pulled, self.passed = 0, nil
    while count < want do
      local task = held or next_task()
      held = nil
      if not task then break end
      local recorded = is_recorded(task)
      if self.refused then return 0 end
      if recorded and count == 0 and (not passed or #passed < math.min(want, most_passed)) then
        passed = passed or {}
        index = index + 1
        passed[#passed + 1] = task
        self.passed = passed
      elseif recorded or passed then
        held = task
        break
      elseif writer:task(count, unpack(task, 1, task.n)) then
        take(task)
        count = count + 1
        self.pulled = count
      elseif count == 0 then
        writer:task_alone(task)
        take(task)
        return 1
      else
        held = task
        break
      end
    end
    return count
  end
  return puller
end

return M
