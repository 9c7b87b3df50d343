local helper = require "spec.helper"
local report = require "parlua.report"
local units = require "parlua.report.units"

local decode = require("cjson").decode

--- A stream that keeps what is written; `writes` counts.
local function new_stream()
  local stream = { text = "", writes = 0 }
  function stream:write(text)
    self.text, self.writes = self.text .. text, self.writes + 1
    return self
  end
  function stream.flush() return true end
  function stream:take()
    local text = self.text
    self.text = ""
    return text
  end
  return stream
end

--- A stream that fails at each write, as a full disk does.
local function full_stream()
  return {
    write = function() return nil, "No space left on device", 28 end,
    flush = function() return nil, "No space left on device", 28 end,
  }
end

--- What a terminal of one line shows after the text: only \r, \n and "erase to the end of the line" are known.
local function screen(text)
  local lines, line, column = {}, "", 0
  text = text:gsub("\27%[K", "\1")
  for character in text:gmatch "." do
    if character == "\r" then column = 0
    elseif character == "\n" then lines[#lines + 1], line, column = line, "", 0
    elseif character == "\1" then line = line:sub(1, column)
    else
      line = line:sub(1, column) .. character .. line:sub(column + 2)
      column = column + 1
    end
  end
  lines[#lines + 1] = line
  return lines
end

describe("the progress bar", function()
  local stream, reporter

  before_each(function()
    stream = new_stream()
    reporter = report.open("bar", { stream = stream, columns = 80 })
  end)

  after_each(function() reporter:finish() end)

  local function progress(seconds, done, failed, tasks)
    reporter:progress { done = done, failed = failed or 0, tasks = tasks, seconds = seconds }
  end

  it("shows what is done, the rate, failures and the time left", function()
    reporter:start { tasks = 1000, workers = 2, engine = "process" }
    progress(2, 250, 3, 1000)
    local line = screen(stream.text)[1]
    local drawn, told = line:match "^(%[=+ +%])(.*)$"
    assert.equal("  25% 250/1000  125 tasks/s  3 failed  6.0 s left", told)
    assert.equal(math.floor((#drawn - 2) / 4), select(2, drawn:gsub("=", "")))
    assert.is_true(#line < 80)
  end)

  it("fills as the tasks are done", function()
    reporter:start { tasks = 100 }
    local lengths = {}
    for i = 0, 4 do
      progress(1 + i, 25 * i, 0, 100)
      lengths[#lengths + 1] = #screen(stream:take())[1]:match("%[(=*)")
    end
    assert.equal(0, lengths[1])
    for i = 2, 5 do assert.is_true(lengths[i] > lengths[i - 1]) end
  end)

  it("does without the total when it is not known", function()
    reporter:start {}
    progress(2, 90, 0, nil)
    assert.same({ "90 tasks  45 tasks/s  2.0 s" }, screen(stream.text))
  end)

  it("is not drawn for a run of less than 0.2 seconds", function()
    reporter:start { tasks = 10 }
    progress(0.05, 5, 0, 10)
    progress(0.19, 9, 0, 10)
    reporter:finish {}
    assert.equal("", stream.text)
  end)

  it("is drawn at most ten times a second, however often progress is told", function()
    reporter:start { tasks = 1e5 }
    for i = 1, 1e5 do progress(i / 1e5 * 3, i, 0, 1e5) end
    assert.is_true(stream.writes >= 25)
    assert.is_true(stream.writes <= 30)
  end)

  it("has parts of cells and colours where the terminal can show them", function()
    local styled = report.open("bar", { stream = stream, columns = 80, style = { unicode = true, color = true } })
    styled:start { tasks = 100, workers = 2, engine = "process" }
    styled:progress { done = 51, failed = 2, tasks = 100, seconds = 1, longest_task = 7, longest_seconds = 3 }
    local text = stream:take()
    styled:finish()
    assert.truthy(text:find("▕\27[34m█+[▏▎▍▌▋▊▉]?\27%[0m +▏  51%% 51/100") or text:find("▕\27[34m", 1, true), text)
    assert.truthy(text:find("\27[31m2 failed\27[0m", 1, true), text)
    assert.truthy(text:find("\27[33mtask 7 for 3.0 s\27[0m", 1, true), text)
  end)

  it("is of ASCII without colours elsewhere: by the locale, by NO_COLOR", function()
    local function shown(environment)
      return helper.with_directory(function(directory)
        local result = helper.run(("env -u LC_ALL -u LC_CTYPE -u LANG -u NO_COLOR TERM=xterm %s script -qec %s /dev/null"):format(environment,
          helper.quote(helper.quote(helper.parlua) .. [[ --engine serial -e 'local parlua, host = require "parlua", require "parlua.host"
            parlua.each(function(i) host.sleep(0.1) if i == 1 then error "no" end end, parlua.range(5), { warn = false })']])),
          { directory = directory })
        return result.stdout
      end)
    end
    local plain, unicode, bare = shown "LANG=C", shown "LANG=C.UTF-8", shown "LC_ALL=C.UTF-8 NO_COLOR=1"
    assert.truthy(plain:find("%[=+ +%] ") and plain:find("\27[31m1 failed", 1, true), plain)
    assert.truthy(unicode:find("█", 1, true) and unicode:find("\27[31m1 failed", 1, true), unicode)
    assert.truthy(bare:find("█", 1, true) and not bare:find("\27%[%d+m"), bare)
  end)

  it("is erased whole when the terminal has become narrower", function()
    local columns = 80
    local environment = setmetatable({ stream = stream }, { __index = function(_, key) return key == "columns" and columns or nil end })
    local narrow = report.open("bar", environment)
    narrow:start { tasks = 100, workers = 2, engine = "process" }
    narrow:progress { done = 50, failed = 0, tasks = 100, seconds = 1 }
    stream:take()
    columns = 30
    narrow:progress { done = 60, failed = 0, tasks = 100, seconds = 2 }
    assert.truthy(stream:take():find("^\r\27%[K\27%[A\27%[K\27%[A[^\27]"))
    narrow:progress { done = 61, failed = 0, tasks = 100, seconds = 3 }
    assert.truthy(stream:take():find("^\r%s*%d"))
    narrow:finish()
  end)

  it("leaves nothing behind", function()
    reporter:start { tasks = 10 }
    progress(1, 5, 0, 10)
    reporter:finish { tasks = 10 }
    assert.same({ "" }, screen(stream.text))
  end)

  it("leaves nothing behind after an error, and is silent afterwards", function()
    reporter:start { tasks = 10 }
    progress(1, 5, 0, 10)
    reporter:finish()
    progress(2, 6, 0, 10)
    reporter:finish()
    assert.same({ "" }, screen(stream.text))
  end)

  it("steps aside for what is printed, and is drawn again", function()
    reporter:start { tasks = 10 }
    progress(1, 5, 0, 10)
    reporter:print(stream, "one\ntwo\n")
    local lines = screen(stream.text)
    assert.equal(3, #lines)
    assert.equal("one", lines[1])
    assert.equal("two", lines[2])
    assert.truthy(lines[3]:find "5/10")
    reporter:finish {}
    assert.same({ "one", "two", "" }, screen(stream.text))
  end)

  it("leaves printed text alone before it is drawn", function()
    reporter:start { tasks = 10 }
    reporter:print(stream, "early\n")
    assert.equal("early\n", stream.text)
  end)

  it("waits while a printed line has no end", function()
    reporter:start { tasks = 10 }
    progress(1, 5, 0, 10)
    reporter:print(stream, "half")
    progress(2, 6, 0, 10)
    reporter:print(stream, " a line\n")
    progress(3, 7, 0, 10)
    local lines = screen(stream.text)
    assert.equal("half a line", lines[1])
    assert.truthy(lines[2]:find "7/10")
  end)

  it("fits narrow terminals", function()
    reporter:finish()
    for columns = 1, 120 do
      local narrow = report.open("bar", { stream = new_stream(), columns = columns })
      narrow:start { tasks = 1e9 }
      narrow:progress { done = 123456789, failed = 4321, tasks = 1e9, seconds = 100 }
      assert.is_true(#screen(narrow.stream.text)[1] < columns)
      narrow:finish()
    end
  end)

  it("follows a rate that changes", function()
    reporter:start { tasks = 1e6 }
    for i = 1, 100 do progress(i * 0.1, i * 1000, 0, 1e6) end       -- 10000 a second
    for i = 1, 600 do progress(10 + i * 0.1, 1e5 + i, 0, 1e6) end   -- 10 a second
    local rate = tonumber(screen(stream.text)[1]:match "(%d+) tasks/s")
    assert.is_true(rate < 50, rate)
  end)

  it("counts the rate from what this run has done, not from what an earlier one did", function()
    reporter:start { tasks = 1000, done = 900 }
    progress(1, 910, 0, 1000)
    assert.truthy(screen(stream.text)[1]:find("10 tasks/s", 1, true))
  end)

  it("survives a stream that can't be written", function()
    for _, bad in ipairs { full_stream(), { write = function() error "closed" end } } do
      local quiet = report.open("bar", { stream = bad, columns = 80 })
      quiet:start { tasks = 10 }
      quiet:progress { done = 5, failed = 0, tasks = 10, seconds = 1 }
      assert.is_nil((quiet:print(bad, "text\n")))
      quiet:finish {}
    end
  end)

  it("tells why text could not be printed", function()
    local written, message, code = reporter:print(full_stream(), "text\n")
    assert.is_nil(written)
    assert.equal("No space left on device", message)
    assert.equal(28, code)
  end)
end)

describe("plain progress", function()
  it("is a line every few seconds", function()
    local stream = new_stream()
    local reporter = report.open("plain", { stream = stream, interval = 2 })
    reporter:start { tasks = 1000 }
    for i = 1, 45 do reporter:progress { done = 10 * i, failed = 3, tasks = 1000, seconds = i / 10 } end
    reporter:finish {}
    assert.equal("parlua: 200 of 1000 tasks, 3 failed, 100 tasks/s, 8.0 s left\n"
      .. "parlua: 400 of 1000 tasks, 3 failed, 100 tasks/s, 6.0 s left\n", stream.text)
  end)

  it("tells the time that has passed when the total is not known", function()
    local stream = new_stream()
    local reporter = report.open("plain", { stream = stream })
    reporter:start {}
    reporter:progress { done = 1, failed = 0, seconds = 4000 }
    reporter:finish {}
    assert.equal("parlua: 1 task, 0.9 tasks/h, 1 h 6 min\n", stream.text)
  end)
end)

describe("progress as JSON", function()
  local stream, reporter

  before_each(function()
    stream = new_stream()
    reporter = report.open("json", { stream = stream })
  end)

  after_each(function() reporter:finish() end)

  local function events()
    local list = {}
    for line in stream:take():gmatch "(.-)\n" do list[#list + 1] = decode(line) end
    return list
  end

  it("is one object a line for each event", function()
    reporter:start { tasks = 10, workers = 2, engine = "threads" }
    reporter:progress { done = 4, failed = 1, tasks = 10, seconds = 0.5 }
    reporter:failure { index = 3, args = { n = 2, "x", nil }, kind = "error", message = "bad\nthing", worker = 1 }
    reporter:finish { tasks = 10, returned = 9, failed = 1, seconds = 1 }
    local list = events()
    assert.same({ event = "start", tasks = 10, workers = 2, engine = "threads" }, list[1])
    assert.same({ event = "progress", done = 4, failed = 1, tasks = 10, seconds = 0.5 }, list[2])
    assert.equal("failure", list[3].event)
    assert.equal(3, list[3].index)
    assert.equal("x", list[3].args[1])
    assert.equal(2, #list[3].args)
    assert.equal("bad\nthing", list[3].message)
    assert.same({ event = "finish", tasks = 10, returned = 9, failed = 1, seconds = 1 }, list[4])
  end)

  it("tells progress at most ten times a second", function()
    reporter:start { tasks = 1e4 }
    for i = 1, 1e4 do reporter:progress { done = i, failed = 0, tasks = 1e4, seconds = i / 1e4 } end
    assert.is_true(#events() <= 12)
  end)

  it("makes an event of text that would go between its lines", function()
    reporter:print(stream, "a warning\n")
    assert.same({ { event = "print", stream = "stderr", text = "a warning\n" } }, events())
    local other = new_stream()
    reporter:print(other, "a result\n")
    assert.equal("a result\n", other.text)
  end)
end)

describe("a progress function", function()
  local stream

  before_each(function() stream = new_stream() end)

  it("is called with each event and its data", function()
    local calls = {}
    local reporter = report.open(function(event, data) calls[#calls + 1] = { event, data } end, { stream = stream })
    local failure = { index = 1, kind = "error" }
    reporter:start { tasks = 2 }
    reporter:progress { done = 1, failed = 0, tasks = 2, seconds = 0.001 }
    reporter:failure(failure)
    reporter:finish { tasks = 2 }
    assert.same({
      { "start", { tasks = 2 } },
      { "progress", { done = 1, failed = 0, tasks = 2, seconds = 0.001 } },
      { "failure", failure },
      { "finish", { tasks = 2 } },
    }, calls)
    assert.equal("", stream.text)
  end)

  it("is told of text after it was written", function()
    local out, told = new_stream(), nil
    local reporter = report.open(function(event, data)
      if event == "print" then told = data.text .. out.text end
    end, { stream = stream })
    reporter:print(out, "x\n")
    reporter:finish()
    assert.equal("x\nx\n", told)
  end)

  it("may print", function()
    local reporter
    reporter = report.open(function() reporter:print(stream, "called\n") end, { stream = stream })
    reporter:start {}
    reporter:print(stream, "text\n")
    reporter:finish()
    assert.equal("called\ntext\ncalled\ncalled\n", stream.text)
  end)

  it("that raises is reported once and not called again", function()
    local calls = 0
    local reporter = report.open(function()
      calls = calls + 1
      error({ code = 1 })
    end, { stream = stream })
    reporter:start {}
    for i = 1, 10 do reporter:progress { done = i, failed = 0, seconds = i } end
    reporter:finish {}
    assert.equal(1, calls)
    assert.equal(1, select(2, stream.text:gsub("\n", "")))
    assert.truthy(stream.text:find("parlua: warning: the progress function raised an error", 1, true))
  end)
end)

describe("reporters", function()
  it("that are none write nothing", function()
    local stream = new_stream()
    local reporter = report.open("none", { stream = stream })
    reporter:start { tasks = 1 }
    reporter:progress { done = 1, failed = 1, tasks = 1, seconds = 100 }
    reporter:failure { index = 1 }
    reporter:finish {}
    assert.equal("", stream.text)
  end)

  it("are a bar on a terminal and nothing elsewhere, unless said otherwise", function()
    for is_terminal, drawn in pairs { [true] = true, [false] = false } do
      local stream = new_stream()
      local reporter = report.open(nil, { stream = stream, is_terminal = is_terminal, columns = 80 })
      reporter:start { tasks = 2 }
      reporter:progress { done = 1, failed = 0, tasks = 2, seconds = 1 }
      reporter:finish {}
      assert.equal(drawn, stream.text ~= "")
    end
  end)

  it("of a kind that does not exist are an error that names those that do", function()
    assert.has_error(function() report.open("bra") end,
      "unknown progress 'bra': it is bar, plain, json, none or a function")
  end)

  it("take text from anywhere while they are open", function()
    local stream = new_stream()
    report.print(stream, "before\n")
    local reporter = report.open("json", { stream = stream })
    report.print(stream, "during\n")
    reporter:finish()
    report.print(stream, "after\n")
    assert.equal('before\n{"event":"print","stream":"stderr","text":"during\\n"}\n{"event":"finish"}\nafter\n',
      stream.text)
  end)

  it("let others follow the events of every run", function()
    local seen = {}
    local stop = report.subscribe(function(event) seen[#seen + 1] = event end)
    local reporter = report.open("none")
    reporter:start { tasks = 1 }
    reporter:progress { done = 1, failed = 0, tasks = 1, seconds = 0.01 }
    reporter:finish {}
    stop()
    report.open("none"):finish {}
    assert.same({ "start", "progress", "finish" }, seen)
  end)

  it("need not be open for others to follow a run", function()
    local seen
    local stop = report.subscribe(function(_, data) seen = data.done end)
    report.publish("progress", { done = 3, failed = 0, seconds = 1 })
    stop()
    report.publish("progress", { done = 4, failed = 0, seconds = 2 })
    assert.equal(3, seen)
  end)
end)

describe("a length of time", function()
  it("is told in its two largest units", function()
    for seconds, text in pairs {
      [0] = "0.0 s", [1.26] = "1.3 s", [9.96] = "10 s", [59.4] = "59 s", [59.6] = "1 min 0 s", [200] = "3 min 20 s",
      [7500] = "2 h 5 min", [86400 * 3 + 3600 * 4] = "3 d 4 h",
    } do
      assert.equal(text, units.duration(seconds))
    end
  end)
end)
