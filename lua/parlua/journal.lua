--- The journal: an SQLite file of finished tasks, from which a run resumes.
--
-- The library is opened when a journal is asked for, not before: `parlua` starts as fast without it.
--
-- The file can be read (sqlite3 run.db 'select * from tasks') while the run writes. It has SQLite's rollback journal, not its WAL: WAL needs
-- memory that all its readers share, which a network file system has not. A transaction is open all the time, from one commit to the
-- next: that keeps a second run off the file, and keeps no reader off it. A process that is killed leaves what was committed; the next to
-- open the file rolls the rest back.
local ffi = require "ffi"
local bit = require "bit"
local util = require "jit.util"
local codec = require "parlua.codec"
local hash = require "parlua.hash"
local host = require "parlua.host"
local sources = require "parlua.sources"

local M = {}

local FORMAT = 1            -- of the tables below
local commit_seconds = 0.2  -- at least so long between two commits,
local commit_share = 20     -- and so many times as long as the last one took (a slow disk), but
local longest_seconds = 2   -- no longer than this
local most_pending = 20000  -- tasks in a transaction
local busy_milliseconds = 100
local most_passed = 1000      -- recorded tasks of a supplied source that are delivered at once
local final_seconds = 60    -- how long the last commit waits for readers

local OK, BUSY, ROW, DONE = 0, 5, 100, 101
local FLOAT, TEXT, BLOB = 2, 3, 4
local OPEN_FLAGS = 0x2 + 0x4 -- SQLITE_OPEN_READWRITE, SQLITE_OPEN_CREATE
local NO_FUNCTIONS = { functions = false }

local schema = [[
CREATE TABLE meta (key TEXT PRIMARY KEY, value);
CREATE TABLE runs (run INTEGER PRIMARY KEY, script TEXT, source TEXT, seed TEXT, results TEXT);
CREATE TABLE tasks (run INTEGER, task INTEGER, arguments TEXT, status TEXT, result, kind TEXT, message TEXT, traceback TEXT,
  attempts INTEGER, seconds REAL, worker INTEGER, host TEXT, PRIMARY KEY (run, task)) WITHOUT ROWID;
]]

local sqlite -- the library

local function library()
  if sqlite then return sqlite end
  local ok, result = pcall(ffi.load, "libsqlite3.so.0")
  if not ok then error("the option journal needs the SQLite library: install the package libsqlite3-0", 0) end
  ffi.cdef [[
    typedef struct sqlite3 sqlite3;
    typedef struct sqlite3_stmt sqlite3_stmt;
    int sqlite3_open_v2(const char *, sqlite3 **, int, const char *);
    int sqlite3_close_v2(sqlite3 *);
    int sqlite3_exec(sqlite3 *, const char *, void *, void *, char **);
    const char *sqlite3_errmsg(sqlite3 *);
    int sqlite3_system_errno(sqlite3 *);
    int sqlite3_busy_timeout(sqlite3 *, int);
    int sqlite3_get_autocommit(sqlite3 *);
    int sqlite3_prepare_v2(sqlite3 *, const char *, int, sqlite3_stmt **, const char **);
    int sqlite3_finalize(sqlite3_stmt *);
    int sqlite3_step(sqlite3_stmt *);
    int sqlite3_reset(sqlite3_stmt *);
    int sqlite3_clear_bindings(sqlite3_stmt *);
    int sqlite3_bind_double(sqlite3_stmt *, int, double);
    int sqlite3_bind_int64(sqlite3_stmt *, int, int64_t);
    int sqlite3_bind_text(sqlite3_stmt *, int, const char *, int, intptr_t);
    int sqlite3_bind_blob(sqlite3_stmt *, int, const char *, int, intptr_t);
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

--- Adds the code of a function or prototype to a list: instructions and constants. (Not string.dump: its order of constant tables'
--- fields differs from process to process.)
local function add_code(list, f, names, seen)
  local info = util.funcinfo(f)
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
      add_code(list, constant, names, seen)
    else
      list[#list + 1] = type(constant) == "cdata" and tostring(constant) or constant
    end
  end
  if type(f) ~= "function" then return end
  for at = 1, info.upvalues or 0 do -- functions that it uses are part of it
    local _, value = debug.getupvalue(f, at)
    if type(value) == "function" and not seen[value] and util.funcinfo(value).bytecodes then
      seen[value] = true
      add_code(list, value, names, seen)
    end
  end
end

local function script_of(f)
  local list = {}
  add_code(list, f, require("jit.vmdef").bcnames, { [f] = true })
  return hash(list)
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

---@class parlua.Journal
---@field done number[][] ranges of recorded tasks that are not to run: {first, last}, ascending
local Journal = {}
Journal.__index = Journal

function Journal:fail(what)
  local message = ffi.string(sqlite.sqlite3_errmsg(self.db))
  local number = sqlite.sqlite3_system_errno(self.db)
  if number ~= 0 then message = message .. " (" .. host.strerror(number) .. ")" end
  error(("cannot %s the journal '%s': %s"):format(what, self.path, message), 0)
end

function Journal:execute(text, what)
  local code = sqlite.sqlite3_exec(self.db, text, nil, nil, nil)
  if code ~= OK then self:fail(what or "write") end
end

function Journal:prepare(text)
  local statement = ffi.new("sqlite3_stmt *[1]")
  if sqlite.sqlite3_prepare_v2(self.db, text, #text, statement, nil) ~= OK then self:fail("read") end
  self.statements[#self.statements + 1] = statement[0]
  return statement[0]
end

local function bind(statement, k, value)
  if value == nil then return end
  if type(value) == "number" then sqlite.sqlite3_bind_double(statement, k, value)
  else sqlite.sqlite3_bind_text(statement, k, value, #value, -1) end
end

local function column(statement, k)
  local kind = sqlite.sqlite3_column_type(statement, k)
  if kind == 1 or kind == FLOAT then return sqlite.sqlite3_column_double(statement, k), kind end
  if kind ~= TEXT and kind ~= BLOB then return nil, kind end
  return ffi.string(sqlite.sqlite3_column_blob(statement, k), sqlite.sqlite3_column_bytes(statement, k)), kind
end

--- Runs a statement; calls `row(statement)` for each of its rows.
function Journal:go(statement, row, ...)
  for k = 1, select("#", ...) do bind(statement, k, (select(k, ...))) end
  local code = sqlite.sqlite3_step(statement)
  while code == ROW do
    if row then row(statement) end
    code = sqlite.sqlite3_step(statement)
  end
  if code ~= DONE then
    sqlite.sqlite3_reset(statement)
    self.failed = true
    self:fail(row and "read" or "write")
  end
  sqlite.sqlite3_reset(statement)
  sqlite.sqlite3_clear_bindings(statement)
end

function Journal:value(text, ...)
  local found
  self:go(self:prepare(text), function(statement) found = column(statement, 0) end, ...)
  return found
end

--- Begins the transaction; false when another run has one.
function Journal:begin()
  local code = sqlite.sqlite3_exec(self.db, "BEGIN IMMEDIATE", nil, nil, nil)
  if code ~= OK and code ~= BUSY then self:fail("write") end
  return code == OK
end

--- Makes sure that no other run writes. Between two of its transactions a run is off the file for a moment: hence two tries.
function Journal:lock()
  for try = 1, 2 do
    local deadline = host.now() + 0.2 -- a reader that rolls back what a killed run left locks the file for a moment
    while not self:begin() do
      if host.now() > deadline then
        error(("another run is using the journal '%s': wait for its end, or give this one a journal of its own"):format(self.path), 0)
      end
      host.sleep(0.02)
    end
    if try == 1 then
      self:execute("ROLLBACK")
      host.sleep(0.01)
    end
  end
end

--- Commits what was recorded and begins the next transaction. A reader may be in the way: then later.
function Journal:commit(final)
  local began = host.now()
  repeat
    local code = sqlite.sqlite3_exec(self.db, "COMMIT", nil, nil, nil)
    if code ~= OK and (code ~= BUSY or final and host.now() - began > final_seconds) then
      self.failed = true
      self:fail("write")
    end
    if code == BUSY and not final then
      self.next_commit = host.now() + commit_seconds
      return
    end
  until code == OK
  self.pending = 0
  if final then return end
  local now = host.now()
  self.next_commit = now + math.min(math.max(commit_seconds, commit_share * (now - began)), longest_seconds)
  repeat
    local begun = self:begin()
  until begun or host.now() - now > 2
  if sqlite.sqlite3_get_autocommit(self.db) == 1 or self:owner() ~= self.name then
    self.failed = true
    error(("another run has taken over the journal '%s'; what this one recorded is in it"):format(self.path), 0)
  end
end

function Journal:owner()
  local name
  self:go(self.owner_statement, function(statement) name = column(statement, 0) end)
  return name
end

--- Commits when it is time to.
function Journal:tick()
  if self.pending > 0 and (self.pending >= most_pending or host.now() >= self.next_commit) then self:commit() end
end

--- Ends the use of the file. What was recorded is in it, or this raises.
function Journal:close()
  if not self.db then return end
  local ok, message = true, nil
  if not self.failed and sqlite.sqlite3_get_autocommit(self.db) == 0 then ok, message = pcall(self.commit, self, true) end
  for _, statement in ipairs(self.statements) do sqlite.sqlite3_finalize(statement) end
  sqlite.sqlite3_close_v2(self.db)
  self.db = nil
  if not ok then error(message, 0) end
end

-- ---- recording ----

local insert = "INSERT OR REPLACE INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

--- Binds a result: numbers and strings as they are, so that one can read them; other values as bytes of the codec.
local function bind_result(statement, values, n)
  local value = values[1]
  if n == 1 and value == nil then return true end
  if n == 1 and type(value) == "number" and value == value and not (value == 0 and 1 / value < 0) then
    sqlite.sqlite3_bind_double(statement, 5, value)
  elseif n == 1 and type(value) == "string" then
    sqlite.sqlite3_bind_text(statement, 5, value, #value, -1)
  else
    local bytes = codec.encode_data(unpack(values, 1, n))
    if not bytes then return false end
    sqlite.sqlite3_bind_blob(statement, 5, bytes, #bytes, -1)
  end
  return true
end

--- Records a task that returned values[1 .. n]. One that returned what no file can hold (a function) is left out: it runs again on resume.
function Journal:returned(index, values, n, attempts, seconds, worker)
  local statement = self.insert
  if not bind_result(statement, values, n) then return end
  bind(statement, 4, "returned")
  self:put(index, attempts, seconds, worker, host.hostname())
end

---@param failure parlua.Failure
function Journal:failure(failure)
  local statement = self.insert
  if failure.value ~= nil and type(failure.value) ~= "string" then bind_result(statement, { failure.value }, 1)
  elseif failure.value then bind(statement, 5, failure.value) end
  bind(statement, 4, "failed")
  bind(statement, 6, failure.kind)
  bind(statement, 7, failure.message)
  bind(statement, 8, failure.traceback)
  self:put(failure.index, failure.attempts, failure.seconds, failure.worker, failure.host)
end

function Journal:put(index, attempts, seconds, worker, host_name)
  local statement = self.insert
  bind(statement, 1, self.run)
  sqlite.sqlite3_bind_int64(statement, 2, index)
  bind(statement, 3, self:hash_of(index))
  bind(statement, 9, attempts)
  bind(statement, 10, seconds)
  bind(statement, 11, worker)
  bind(statement, 12, host_name)
  self:go(statement)
  self.hashes[index] = nil
  self.pending = self.pending + 1
end

--- The hash of a task's arguments: those that were pulled, or what the source makes of the index.
function Journal:hash_of(index)
  if self.hashes[index] then return self.hashes[index] end
  return self.make and hash(self.make(index)) or nil
end

-- ---- resuming ----

--- Reads recorded tasks first..last: calls visit(index, record) for each; record: status, n and values, or the fields of a failure.
function Journal:read(first, last, visit)
  self:go(self.select, function(statement)
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
        error(("the journal '%s' is damaged: the result of task %d: %s"):format(self.path, index, tostring(values)), 0)
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
  self:go(self.select_hash, function(statement) found = column(statement, 0) end, self.run, index)
  return found
end

function Journal:refusal(what, recorded, now)
  return ("the journal '%s' is of another run: %s (recorded: %s, now: %s). Name another file, or go on with it all the same by --force")
    :format(self.path, what, tostring(recorded), tostring(now))
end

--- Finds what is recorded. Indexed sources: the arguments are looked at right away.
function Journal:load_done(retry_failed, force)
  local done, range = {}, nil
  local condition = retry_failed and " AND status = 'returned'" or ""
  self:go(self:prepare("SELECT task, arguments FROM tasks WHERE run = ?" .. condition .. " ORDER BY task"), function(statement)
    local index, recorded = column(statement, 0), column(statement, 1)
    if self.make then
      if index > self.total then return end
      local now = hash(self.make(index))
      if now ~= recorded then
        if force then return end
        error(self:refusal(("the arguments of task %d"):format(index), recorded, now), 0)
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

-- Runs of this program on each journal: a script may have several maps, each its own run in the file.
local ordinals = {}

--- Compares what the file says of this run with what the run is.
function Journal:check(identity, force)
  local names = { script = "the script's map function", source = "the arguments", seed = "the seed", results = "the kind of call" }
  for _, key in ipairs { "script", "source", "seed", "results" } do
    local recorded = self:value("SELECT " .. key .. " FROM runs WHERE run = ?", self.run)
    if recorded ~= identity[key] and not force then error(self:refusal(names[key] .. " differs", recorded, identity[key]), 0) end
  end
end

function Journal:prepare_tables(options)
  local tables = self:value("SELECT count(*) FROM sqlite_master")
  if tables == 0 then
    self:execute(schema)
    self:execute(("INSERT INTO meta VALUES ('format', %d)"):format(FORMAT))
  else
    local is_journal = self:value("SELECT count(*) FROM sqlite_master WHERE name IN ('meta', 'runs', 'tasks')") == 3
    if not is_journal then error(("'%s' is a database, but no journal of parlua's"):format(self.path), 0) end
    local format = self:value("SELECT value FROM meta WHERE key = 'format'")
    if format ~= FORMAT then
      error(("the journal '%s' has format %s; this version reads format %d"):format(self.path, tostring(format), FORMAT), 0)
    end
    if not options.resume and self.run == 1 and self:value("SELECT count(*) FROM runs") > 0 then
      if not options.force then
        error(("the journal '%s' holds a run already: go on with it by --resume, or begin anew by --force"):format(self.path), 0)
      end
      self:execute("DELETE FROM tasks; DELETE FROM runs")
    end
  end
end

--- Opens the journal for a run.
---@param run table { f, source, keep, seed, indexed: do workers make the arguments? }
---@param options table journal, resume, retry_failed, force
---@return parlua.Journal
function M.open(run, options)
  library()
  local path = options.journal
  local handle = ffi.new("sqlite3 *[1]")
  local code = sqlite.sqlite3_open_v2(path, handle, OPEN_FLAGS, nil)
  local self = setmetatable({ db = handle[0], path = path, statements = {}, hashes = {}, pending = 0, at = 1, done = {},
                              next_commit = host.now() + commit_seconds, total = run.source.n }, Journal)
  local ok, message = pcall(function()
    if code ~= OK then self:fail("open") end
    self.run = (ordinals[path] or 0) + 1
    self:execute("PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL; PRAGMA cache_spill = OFF", "open")
    self:lock()
    self:prepare_tables(options)
    self.name = ("%s %d %.6f"):format(host.hostname(), host.pid(), host.now())
    self:go(self:prepare("INSERT OR REPLACE INTO meta VALUES ('owner', ?)"), nil, self.name)
    self.owner_statement = self:prepare("SELECT value FROM meta WHERE key = 'owner'")
    self.insert = self:prepare(insert)
    self.select = self:prepare("SELECT task, status, result, kind, message, traceback, attempts, seconds, worker, host FROM tasks"
      .. " WHERE run = ? AND task BETWEEN ? AND ? ORDER BY task")
    self.select_hash = self:prepare("SELECT arguments FROM tasks WHERE run = ? AND task = ?")
    if run.indexed then self.make = sources.maker(run.source) end
    local identity = { script = script_of(run.f), source = describe(run.source), seed = ("%.17g"):format(run.seed), results = run.keep }
    if self:value("SELECT count(*) FROM runs WHERE run = ?", self.run) > 0 then
      self:check(identity, options.force)
      self:load_done(options.retry_failed, options.force)
    end
    self:go(self:prepare("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)"), nil, self.run, identity.script, identity.source,
      identity.seed, identity.results)
    sqlite.sqlite3_busy_timeout(self.db, busy_milliseconds)
    self:commit()
  end)
  if not ok then
    self.failed = true
    self:close()
    error(message, 0)
  end
  ordinals[path] = self.run
  return self
end

--- Pulls tasks one after the other, hashes their arguments, and passes over those that are recorded: see Run:supply.
function M.puller(source, journal, force)
  local read = sources.reader(source)
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
    if not force then puller.refused = journal:refusal(("the arguments of task %d"):format(index + 1), recorded, task.hash) end
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
