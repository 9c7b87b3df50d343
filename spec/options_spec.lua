local ffi = require "ffi"

ffi.cdef [[
int setenv(const char *name, const char *value, int overwrite);
int unsetenv(const char *name);
]]

--- parlua.options as a process would see it that was started with these options on its command line and in its
--- environment; `use` is called with it.
local function with_options(command, environment, use)
  local before = { package.loaded["parlua.options"], package.loaded["parlua.command"] }
  package.loaded["parlua.options"], package.loaded["parlua.command"] = nil, command
  ffi.C.unsetenv("PARLUA_WARN") -- the suite's own
  for name, value in pairs(environment) do ffi.C.setenv(name, value, 1) end
  local right, message = pcall(function() use(require "parlua.options") end)
  for name in pairs(environment) do ffi.C.unsetenv(name) end
  ffi.C.setenv("PARLUA_WARN", "false", 1)
  package.loaded["parlua.options"], package.loaded["parlua.command"] = before[1], before[2]
  if not right then error(message, 0) end
end

--- The message with which resolving these options fails.
local function message_for(call, job, command, environment)
  local found
  with_options(command or {}, environment or {}, function(options)
    local right, message = pcall(options.resolve, call, job)
    assert.is_false(right)
    assert.is_string(message)
    found = message
  end)
  return found
end

--- The options that a call gets.
local function resolved(call, job, command, environment)
  local found
  with_options(command or {}, environment or {}, function(options) found = options.resolve(call, job) end)
  return found
end

describe("parlua.options", function()
  describe("resolve", function()
    it("gives the defaults when nothing is set", function()
      assert.same({
        engine = "auto", on_error = "skip", retries = 0, backoff = 0, ordered = true, as = "table", format = "jsonl",
      }, resolved())
    end)

    it("goes by what a call's options say now, though the same table said something else before", function()
      with_options({}, {}, function(options)
        local call = { workers = 2 }
        assert.equal(2, options.resolve(call).workers)
        assert.equal(2, options.resolve(call).workers)
        call.workers = 3
        assert.equal(3, options.resolve(call).workers)
        call.workers, call.retries = nil, 1
        assert.is_nil(options.resolve(call).workers)
        assert.equal(1, options.resolve(call).retries)
        assert.equal(0, options.resolve().retries)
        local kinds = { "crash" }
        assert.same({ "crash" }, options.resolve({ retry_on = kinds }).retry_on)
        kinds[1] = "nonsense"
        assert.has_error(function() options.resolve({ retry_on = kinds }) end)
      end)
    end)

    it("leaves the tables that it is given as they are", function()
      local call, job = { workers = 2, memory = "1M" }, { seed = 3 }
      resolved(call, job)
      assert.same({ workers = 2, memory = "1M" }, call)
      assert.same({ seed = 3 }, job)
    end)

    it("prefers the call to the command line to the environment to the job to the default", function()
      local environment = { PARLUA_WORKERS = "3", PARLUA_SEED = "3", PARLUA_RETRIES = "3" }
      local command = { workers = "2", seed = "2" }
      local job = { workers = 4, seed = 4, retries = 4, chunk = 4 }
      local found = resolved({ workers = 1 }, job, command, environment)
      assert.equal(1, found.workers)
      assert.equal(2, found.seed)
      assert.equal(3, found.retries)
      assert.equal(4, found.chunk)
      assert.equal("auto", found.engine)
    end)

    it("takes back an option without a default when a call or job sets it to false", function()
      assert.is_nil(resolved({ timeout = false }, nil, { timeout = "5" }).timeout)
      assert.is_nil(resolved({ timeout = false }, { timeout = 5 }).timeout)
      assert.equal(5, resolved(nil, { timeout = false }, { timeout = "5" }).timeout)
    end)

    it("takes an empty environment variable for none", function()
      assert.is_nil(resolved(nil, nil, nil, { PARLUA_TIMEOUT = "" }).timeout)
    end)

    it("reads sizes with their units, as powers of 1024", function()
      local sizes = {
        ["1M"] = 2 ^ 20, ["512M"] = 2 ^ 29, ["512m"] = 2 ^ 29, ["512MB"] = 2 ^ 29, ["512 MiB"] = 2 ^ 29,
        ["2G"] = 2 ^ 31,
        ["1.5G"] = 1.5 * 2 ^ 30, ["2048K"] = 2 ^ 21, ["1T"] = 2 ^ 40, ["1048576"] = 2 ^ 20, [2 ^ 20] = 2 ^ 20,
      }
      for given, bytes in pairs(sizes) do assert.equal(bytes, resolved({ memory = given }).memory) end
    end)

    it("accepts every value that an option documents", function()
      local function f() end
      local call = {
        engine = "threads", workers = 4096, on_error = "halt", max_failures = 1, timeout = 0.001, retries = 5,
        memory = "1G", ordered = false, chunk = 100, seed = 2 ^ 53, setup = f, progress = f, as = "array",
        journal = "run.journal", resume = true, window = 10, backoff = 0.5,
      }
      local found = resolved(call)
      for name, value in pairs(call) do
        if name ~= "memory" then assert.equal(value, found[name]) end
      end
      for _, kind in ipairs { "bar", "plain", "json", "none" } do
        assert.equal(kind, resolved({ progress = kind }).progress)
      end
    end)

    it("reads durations with their units, in a call too", function()
      local durations = { ["5s"] = 5, ["5"] = 5, ["200ms"] = 0.2, ["2m"] = 120, ["1.5h"] = 5400, [" 3 S "] = 3, ["1e-2s"] = 0.01, ["1d"] = 86400 }
      for given, seconds in pairs(durations) do
        assert.equal(seconds, resolved({ timeout = given }).timeout)
        assert.equal(seconds, resolved(nil, nil, { timeout = given }).timeout)
        assert.equal(seconds, resolved(nil, { backoff = given }).backoff)
      end
    end)

    it("takes one kind of failures for a list of them", function()
      assert.same({ "error" }, resolved({ retry_on = "error" }).retry_on)
      assert.same({ "crash", "timeout" }, resolved({ retry_on = "crash, timeout" }).retry_on)
    end)

    it("takes a share of the tasks as a limit of failures", function()
      assert.equal("5%", resolved({ max_failures = "5%" }).max_failures)
      assert.equal("2.5%", resolved(nil, nil, { max_failures = " 2.5 %" }).max_failures)
    end)

    it("reads every option from the environment", function()
      local found = resolved(nil, nil, nil, {
        PARLUA_ENGINE = "process", PARLUA_WORKERS = "7", PARLUA_ON_ERROR = "halt", PARLUA_MAX_FAILURES = "9",
        PARLUA_TIMEOUT = "1.5", PARLUA_RETRIES = "2", PARLUA_MEMORY = "64M", PARLUA_ORDERED = "no", PARLUA_CHUNK = "8",
        PARLUA_SEED = "11", PARLUA_PROGRESS = "none", PARLUA_JOURNAL = "j", PARLUA_RESUME = "1", PARLUA_OUTPUT = "o",
        PARLUA_FORMAT = "text", PARLUA_DEBUG = "yes", PARLUA_BACKOFF = "0.25", PARLUA_RETRY_ON = "crash, memory",
      })
      assert.same({
        engine = "process", workers = 7, on_error = "halt", max_failures = 9, timeout = 1.5, retries = 2,
        memory = 2 ^ 26, ordered = false, chunk = 8, seed = 11, progress = "none", journal = "j", resume = true,
        output = "o", format = "text", debug = true, as = "table",
        backoff = 0.25, retry_on = { "crash", "memory" },
      }, found)
    end)
  end)

  describe("a wrong value", function()
    it("is told with its option, where it came from, what it was and what is allowed", function()
      assert.equal("wrong value for the option workers, from the call: 0; it takes an integer from 1 to 4096 (of the async engine to 1000000)",
        message_for({ workers = 0 }))
      assert.equal("wrong value for the option workers, from the job's options: 5000000; "
        .. "it takes an integer from 1 to 4096 (of the async engine to 1000000)", message_for(nil, { workers = 5000000 }))
      assert.equal('wrong value for the option timeout, from --timeout: "abc"; it takes a number of seconds above 0, '
        .. 'or text as "5s", "200ms", "2m" or "1h"', message_for(nil, nil, { timeout = "abc" }))
      assert.equal('wrong value for the option timeout, from the environment variable PARLUA_TIMEOUT: "-1"; '
        .. 'it takes a number of seconds above 0, or text as "5s", "200ms", "2m" or "1h"',
        message_for(nil, nil, nil, { PARLUA_TIMEOUT = "-1" }))
    end)

    it("comes with the nearest of the allowed words", function()
      assert.equal('wrong value for the option engine, from the call: "thread"; '
        .. "it takes auto, serial, async, threads, process or mpi (did you mean threads?)", message_for({ engine = "thread" }))
      assert.equal('wrong value for the option engine, from the call: "cuda"; '
        .. "it takes auto, serial, async, threads, process or mpi", message_for({ engine = "cuda" }))
    end)

    it("is one of the wrong type, out of range, or no number", function()
      local nan = 0 / 0
      local wrong = {
        workers = { "4", 1.5, -1, nan, math.huge, {} }, engine = { 1, "", "Threads" }, on_error = { "stop", true },
        max_failures = { 0, -1, 0.5, "5", "0%", "101%", "x%" }, backoff = { -1, "1x", math.huge },
        retry_on = { {}, "errors", "", { "errors" }, { error = true } }, timeout = { 0, -1, nan, math.huge, "0s", "s", "5 parsecs" },
        retries = { -1, 0.5, 1e7 },
        memory = { "", "M", "12X", "-1M", "1", 0, 1.5, nan, math.huge, {}, "1.2.3M" }, ordered = { "true", 1, 0 },
        chunk = { 0, -3, 2.5 }, seed = { -1, 0.1, 2 ^ 60, "x", false }, setup = { "f", {} }, progress = { "Bar", 1 },
        as = { "list", 1 }, journal = { "", 1, "a\0b", {} }, resume = { "yes", 0 }, retry_failed = { 1 }, force = { "no" }, window = { 0, 1.5 },
      }
      for name, values in pairs(wrong) do
        for _, value in ipairs(values) do
          local message = message_for({ [name] = value })
          assert.truthy(message:find("wrong value for the option " .. name .. ", from the call: ", 1, true), message)
        end
      end
    end)

    it("is shortened when it is long, and shown as Lua where it is no plain value", function()
      assert.truthy(message_for({ engine = ("x"):rep(1000) }):find('"' .. ("x"):rep(40) .. '"...;', 1, true))
      assert.truthy(message_for({ engine = { 1 } }):find("from the call: {1};", 1, true))
    end)
  end)

  describe("an unknown option", function()
    it("is an error that names the nearest", function()
      assert.equal("unknown option timout in the call; did you mean timeout?", message_for({ timout = 1 }))
      assert.equal("unknown option wokrers in the job's options; did you mean workers?",
        message_for(nil, { wokrers = 1 }))
      assert.equal("unknown option maxfailures in the call; did you mean max_failures?",
        message_for({ maxfailures = 1 }))
    end)

    it("is an error with all names when none is near", function()
      local message = message_for({ frobnicate = 1 })
      assert.truthy(message:find("^unknown option frobnicate in the call; there are: workers, engine, timeout, "))
    end)

    it("is explained when it has another name, or another place", function()
      local expected = {
        init = "in each worker before its first task is the option setup", stop = "belongs to parlua.reduce and to jobs",
        threads = 'did you mean engine = "threads", or workers?',
      }
      for name, text in pairs(expected) do
        local message = message_for({ [name] = print })
        assert.truthy(message:find("^unknown option " .. name .. " in the call; "), message)
        assert.truthy(message:find(text, 1, true), message)
      end
    end)

    it("may be a key that is no string", function()
      assert.truthy(message_for({ 5 }):find("^unknown option %[1%] in the call"))
    end)
  end)

  it("refuses options that are no table", function()
    assert.equal("the options of a call must be a table, not 4", message_for(4))
    assert.equal('the options of a job must be a table, not "x"', message_for(nil, "x"))
  end)

  it("refuses in a call what is for the command", function()
    for _, name in ipairs { "output", "format", "debug" } do
      assert.truthy(message_for({ [name] = "x" }):find("^the option " .. name .. " is for the command line"))
    end
    assert.equal("text", resolved(nil, { format = "text" }).format)
  end)

  it("refuses to resume without a journal", function()
    assert.truthy(message_for({ resume = true }):find("name its file with the option journal", 1, true))
  end)

  describe("nearest", function()
    local nearest = require("parlua.options").nearest

    it("counts insertions, deletions, substitutions and swaps of neighbours", function()
      local cases = {
        { "threads", "threads", 0 }, { "thread", "threads", 1 }, { "threadds", "threads", 1 },
        { "thraeds", "threads", 1 }, { "thresds", "threads", 1 }, { "", "abc", 3 }, { "abc", "", 3 }, { "ab", "ba", 1 },
        { "kitten", "sitting", 3 },
      }
      for _, case in ipairs(cases) do
        local word, errors = nearest(case[1], { case[2] })
        assert.equal(case[2], word)
        assert.equal(case[3], errors)
      end
    end)

    it("picks the best of a list, the first among equals, whatever the case of letters", function()
      assert.equal("serial", (nearest("SERIEL", { "process", "serial", "threads" })))
      assert.equal("aa", (nearest("ab", { "aa", "bb" })))
      assert.is_nil((nearest("x", {})))
    end)
  end)

  describe("the page of help", function()
    local help = require("parlua.options.command").help()

    it("fits lines of a terminal", function()
      for line in help:gmatch("([^\n]*)\n") do assert.is_true(#line <= 80, line) end
      for name in ("journal report export merge status"):gmatch "%l+" do assert.truthy(help:find("parlua " .. name, 1, true), name) end
    end)

    it("names every option, and says what it is for", function()
      for _, spec in ipairs(require("parlua.options").specs) do
        local words = { spec.long, spec.short }
        for _, flag in ipairs(spec.flags or {}) do words[#words + 1] = flag[1] end
        if #words == 0 and spec.help then words[1] = spec.name end
        for _, word in ipairs(words) do
          assert.truthy(help:find("%f[%S]" .. word:gsub("%-", "%%-") .. "%f[%s,]"), word)
        end
      end
    end)

    it("says what workers means where there are ranks", function()
      assert.truthy(help:gsub("%s+", " "):find("under mpirun or srun in each rank", 1, true))
    end)
  end)

  describe("the environment", function()
    local function complaint(...)
      return require("parlua.options.command").check { ... }
    end

    it("may not hold an unknown variable that looks like an option", function()
      assert.equal("unknown environment variable PARLUA_WORKER; did you mean PARLUA_WORKERS?", complaint "PARLUA_WORKER")
      assert.truthy(complaint("PARLUA_DIRECTORY"):find("^unknown environment variable PARLUA_DIRECTORY; there are: PARLUA_WORKERS, "))
      assert.is_nil(complaint("PARLUA_WORKERS", "PARLUA_MAX_FAILURES"))
      assert.is_nil(complaint())
    end)
  end)

  describe("a job's table", function()
    local misplaced = require("parlua.options").misplaced

    it("may not hold options: they go into its table `options`", function()
      for name, value in pairs { workers = 4, timeout = "5s", retry_on = "error", format = "text", setup = print, resume = false } do
        local message = misplaced { map = print, [name] = value }
        assert.truthy(message:find(("options go into its table `options`, as options = { %s = "):format(name), 1, true), message)
      end
    end)

    it("may hold helpers with the names of options, if they are no values of these", function()
      assert.is_nil(misplaced { map = print, format = print, output = print, seed = print, memory = {}, window = print, debug = print })
    end)

    it("may not hold the fields of a reduction beside `map`, but helpers with one of their names", function()
      local message = misplaced { map = print, init = 0, step = print }
      assert.truthy(message:find("reduce = { init = 0, step = ... }", 1, true), message)
      assert.is_nil(misplaced { map = print, step = print })
      assert.is_nil(misplaced { map = print, init = print, finish = print })
      assert.is_nil(misplaced { map = print, init = 0, step = print, reduce = print })
    end)
  end)
end)
