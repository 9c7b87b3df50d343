--- What a journal answers: in SQL, and by parlua journal and parlua export.
local helper = require "spec.helper"
local json = require("parlua").json

local script = [[
local parlua = require "parlua"
local failures = select(2, parlua.map(function(a)
  if a % 10 == 3 then error({ loss = a, where = "step " .. a }, 0) end
  if a % 10 == 4 then error("no row " .. a .. " in table 7", 0) end
  if a == 5 then return "plain \"text\"" end
  if a == 6 then return 0.5 end
  if a == 7 then return nil end
  if a == 8 then return { 1 / 0, nested = { a } } end
  return { loss = a / 2, list = { a, "x" } }
end, parlua.range(20)))
parlua.map(function(text, n) return n end, function(_, i)
  i = (i or 0) + 1
  if i <= 3 then return i, "a" .. i end
end)
]]

describe("a journal answers", function()
  local directory
  local function run(arguments, env) return helper.run_parlua(arguments, { directory = directory, env = env }) end
  local function sql(text)
    local result = helper.run(("sqlite3 run.db %s"):format(helper.quote(text)), { directory = directory })
    assert.equal("", result.stderr)
    return result.stdout
  end

  before_each(function()
    directory = helper.new_directory()
    helper.write(directory .. "/script.lua", script)
  end)
  after_each(function() helper.remove(directory) end)

  helper.for_each_engine(function(engine)
    it("in SQL, with arguments and results as JSON and the times of tasks", function()
      local result = run(("--engine %s -n 2 --journal run.db script.lua"):format(engine))
      assert.equal(0, result.status, result.stderr)
      assert.equal("3|3|3\n13|13|13\n", sql [[select task, json_extract(arguments, '$[0]'), json_extract(result, '$.loss')
        from tasks where run = 1 and status = 'failed' and kind = 'error' and json_valid(result)]])
      assert.equal('1|[1]|{"list":[1,"x"],"loss":0.5}\n5|[5]|plain "text"\n6|[6]|0.5\n7|[7]|\n',
        sql "select task, arguments, result from tasks where run = 1 and task in (1, 5, 6, 7)")
      assert.equal('1|[1,"a1"]\n2|[2,"a2"]\n3|[3,"a3"]\n', (sql "select task, arguments from tasks where run = 2")
        :gsub('%[(%d),"a(%d)"%]', '[%1,"a%2"]'))
      assert.equal("23|23\n", sql [[select count(*), sum(began <= ended and ended > '2020' and seconds >= 0
        and host is not null and worker > 0) from times]])
      assert.equal(engine .. "\n", sql "select value from about where run = 1 and key = 'engine'")
    end)
  end)

  it("goes on from a file of the format before", function()
    assert.equal(0, run("--engine serial --journal run.db script.lua").status)
    local before = sql "select task, status, result, hex(value) from tasks"
    sql [[update tasks set result = coalesce(value, result); drop view times; drop table about;
      alter table tasks drop column arguments; alter table tasks drop column value; alter table tasks drop column ended;
      alter table tasks rename column hash to arguments; update meta set value = 2 where key = 'format']]
    local told = run("journal run.db")
    assert.equal(2, told.status)
    assert.truthy(told.stderr:find("has format 2; this version reads format 3", 1, true), told.stderr)
    local result = run("--engine serial --journal run.db --resume script.lua")
    assert.equal(0, result.status, result.stderr)
    assert.equal(before:gsub("{.-}|", "|"), (sql "select task, status, result, hex(value) from tasks"))
    assert.equal(0, run("journal run.db").status)
  end)

  it("by parlua journal: progress, failures by message, the slowest", function()
    helper.write(directory .. "/journal", "") -- a file of that name is a script: then ./ is not needed
    assert.equal(0, run("--engine serial --journal run.db script.lua").status)
    assert.equal("", run("journal run.db").stdout)
    helper.remove(directory .. "/journal")
    local result = run("journal run.db")
    assert.equal(0, result.status, result.stderr)
    local text = result.stdout
    assert.truthy(text:find("run.db: 2 runs\nrun 1 (map, reduce or a job)", 1, true), text)
    assert.truthy(text:find("20 of 20 tasks (100%): 16 returned, 4 failed", 1, true), text)
    assert.truthy(text:find("     2  error: no row 4 in table 7 (first: task 4)", 1, true), text)
    assert.truthy(text:find(" script.lua\n", 1, true) and text:find("serial engine, 1 worker\n", 1, true), text)
    assert.truthy(text:find("slowest:\n +%S+ %l+  task %d+ %[%d+%], worker 1 on "), text)
    assert.truthy(text:find("3 of 3 tasks (100%): 3 returned, 0 failed", 1, true), text)
  end)

  it("by parlua journal while a run goes on, and after it was killed", function()
    helper.write(directory .. "/slow.lua", [[
      require("parlua").map(function(i)
        if i == 3 then
          io.open("begun", "w"):close()
          while not io.open("go") do os.execute("sleep 0.02") end
        end
        return i
      end, { 1, 2, 3, 4 }, { engine = "serial", chunk = 1 })]])
    local result = helper.run(([[%s --journal run.db slow.lua & pid=$!
      until test -e begun; do sleep 0.02; done
      until test "$(sqlite3 run.db 'select count(*) from tasks' 2>&1)" = 2; do sleep 0.02; done
      %s journal run.db; kill -9 $pid; wait $pid 2>/dev/null; %s journal run.db]]):format(helper.quote(helper.parlua),
      helper.quote(helper.parlua), helper.quote(helper.parlua)), { directory = directory })
    local first, second = result.stdout:match "^(.*)(run.db: 1 run\n.*)$"
    assert.truthy(first:find("going on: process %d+ on .*2 of 4 tasks %(50%%%).* tasks/.*, .* left"), result.stdout)
    assert.truthy(second:find("cut off: --resume goes on with it", 1, true), result.stdout)
  end)

  -- A run that goes on until there is a file `go`, and C libraries as on other machines: one that says that files lie on
  -- NFS; and one that gets no locks of the run's files, either, nor memory that it would share with it.
  local function prepare_machines()
    helper.write(directory .. "/long.lua", [[
      local text = ("x"):rep(2000)
      require("parlua").map(function(i)
        os.execute("sleep 0.001")
        return { i = i, text = text }
      end, function(_, i) if not io.open("go") then return (i or 0) + 1 end end, { workers = 2, chunk = 1 })]])
    helper.write(directory .. "/machine.c", [[
      #define _GNU_SOURCE
      #include <dlfcn.h>
      #include <errno.h>
      #include <fcntl.h>
      #include <stdarg.h>
      #include <stdio.h>
      #include <string.h>
      #include <sys/mman.h>
      #include <sys/vfs.h>
      #include <unistd.h>

      int fstatfs(int file, struct statfs *found)
      {
        int (*real)(int, struct statfs *) = (int (*)(int, struct statfs *))dlsym(RTLD_NEXT, "fstatfs");
        int status = real(file, found);
        found->f_type = 0x6969;
        return status;
      }
      #ifdef AWAY
      static int is_of_run(int file)
      {
        char link[64], name[4096] = "";
        snprintf(link, sizeof link, "/proc/self/fd/%d", file);
        return file >= 0 && readlink(link, name, sizeof name - 1) > 0 && strstr(name, "/run.db") != NULL;
      }
      int fcntl(int file, int what, ...)
      {
        int (*real)(int, int, void *) = (int (*)(int, int, void *))dlsym(RTLD_NEXT, "fcntl");
        va_list list;
        va_start(list, what);
        void *argument = va_arg(list, void *);
        va_end(list);
        int is_lock = what == F_SETLK || what == F_SETLKW || what == F_GETLK || what == F_OFD_SETLK || what == F_OFD_GETLK;
        if (!is_lock || !is_of_run(file)) return real(file, what, argument);
        errno = ENOLCK;
        return -1;
      }
      int fcntl64(int file, int what, ...) __attribute__((alias("fcntl")));
      void *mmap(void *place, size_t length, int protection, int flags, int file, off_t at)
      {
        void *(*real)(void *, size_t, int, int, int, off_t) =
          (void *(*)(void *, size_t, int, int, int, off_t))dlsym(RTLD_NEXT, "mmap");
        if (!(flags & MAP_SHARED) || !is_of_run(file)) return real(place, length, protection, flags, file, at);
        errno = EACCES;
        return MAP_FAILED;
      }
      void *mmap64(void *, size_t, int, int, int, off_t) __attribute__((alias("mmap")));
      #endif
    ]])
    local made = helper.run("cc -shared -fPIC -o nfs.so machine.c -ldl && cc -DAWAY -shared -fPIC -o away.so machine.c -ldl",
      { directory = directory })
    assert.equal(0, made.status, made.stderr)
  end

  local NFS = "env LD_PRELOAD=./nfs.so ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0 "
  local AWAY = NFS:gsub("nfs", "away")

  it("from another machine while a run goes on, which is not disturbed", function()
    prepare_machines()
    for _, machine in ipairs { "", NFS } do
      local result = helper.run(([[
        rm -f go run.db*; mkdir -p copies; export TMPDIR=$PWD/copies
        %s%s --journal run.db long.lua & one=$!
        until test "$(sqlite3 run.db 'select count(*) > 20 from tasks' 2>&1)" = 1; do sleep 0.02; done
        for k in 1 2 3 4 5 6; do %s%s journal run.db || echo failed; done
        touch go; wait $one; echo "run: $?"; ls copies
        sqlite3 run.db 'pragma integrity_check; select count(*) = max(task) from tasks']]):format(machine,
        helper.quote(helper.parlua), AWAY, helper.quote(helper.parlua)), { directory = directory })
      assert.equal("", result.stderr)
      local counts = {}
      for count in result.stdout:gmatch "  (%d+) tasks: %d+ returned, 0 failed" do counts[#counts + 1] = tonumber(count) end
      assert.equal(6, #counts, result.stdout)
      assert.is_true(counts[1] > 20 and counts[6] >= counts[1], result.stdout)
      assert.equal("run: 0\nok\n1\n", result.stdout:match "run: %d.*$")
    end
  end)

  it("to a reader that stands still, which does not keep the run from its end", function()
    prepare_machines()
    for _, machine in ipairs { "", NFS } do
      local result = helper.run(([[
        rm -f go run.db* held; mkfifo held
        %s%s --journal run.db long.lua & one=$!
        until test "$(sqlite3 run.db 'select count(*) > 100 from tasks' 2>&1)" = 1; do sleep 0.02; done
        %s%s export run.db > held & two=$!
        exec 3< held; head -c 2000 <&3 > /dev/null # now it is in the midst of it
        touch go; timeout 50 tail --pid=$one -f /dev/null; wait $one; echo "run: $?"
        kill -0 $two && cat <&3 > /dev/null; wait $two; echo "export: $?"]]):format(machine, helper.quote(helper.parlua),
        machine, helper.quote(helper.parlua)), { directory = directory })
      assert.equal("run: 0\nexport: 0\n", result.stdout, result.stderr)
    end
  end)

  it("by parlua export: lines of JSON, or comma-separated values", function()
    assert.equal(0, run("--engine serial --journal run.db script.lua").status)
    local lines = {}
    for line in run("export run.db").stdout:gmatch "[^\n]+" do lines[#lines + 1] = json.decode(line) end
    assert.equal(23, #lines)
    assert.same({ 1 }, lines[1].arguments)
    assert.same({ loss = 0.5, list = { 1, "x" } }, lines[1].result)
    assert.same({ "failed", "error", "no row 4 in table 7" }, { lines[4].status, lines[4].kind, lines[4].message })
    assert.equal('plain "text"', lines[5].result)
    assert.is_true(lines[1].ended >= lines[1].began)
    assert.equal(0, run("export run.db --format csv -o run.csv").status)
    local rows = {}
    for row in require("parlua").csv(directory .. "/run.csv") do rows[#rows + 1] = row end
    assert.equal(23, #rows)
    assert.same({ 1, 6, "returned", "[6]", 0.5, 1 }, { rows[6].run, rows[6].task, rows[6].status, rows[6].arguments,
      rows[6].result, rows[6].attempts })
    assert.equal('{"list":[1,"x"],"loss":0.5}', rows[1].result)
  end)

  it("with a clear message where it can't", function()
    helper.write(directory .. "/text", "no database, but long enough to be one, as far as its first bytes are concerned")
    for words, message in pairs {
      ["journal"] = "journal: name the file: parlua journal run.db",
      ["journal none.db"] = "there is no journal 'none.db'",
      ["journal text"] = "cannot read the journal 'text': file is not a database; name another file",
      ["export text --fromat csv"] = "parlua export has no option --fromat; did you mean --format?",
      ["export text --format xml"] = "wrong value for the option format: xml; it takes csv, tsv or jsonl",
    } do
      local result = run(words)
      assert.equal(2, result.status)
      assert.equal("parlua: " .. message .. "\n", result.stderr)
    end
  end)

  it("under scripts of the commands' names", function()
    for _, name in ipairs { "journal", "export", "merge", "report" } do
      helper.write(("%s/%s.lua"):format(directory, name), "print('script')")
      assert.equal("script\n", run(name .. ".lua x").stdout)
      helper.write(("%s/%s"):format(directory, name), "print('plain script')")
      assert.equal("plain script\n", run(("./%s x"):format(name)).stdout)
      assert.equal("plain script\n", run(("%s x"):format(name)).stdout)
    end
  end)
end)
