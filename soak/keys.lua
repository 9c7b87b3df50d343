--- Random keys at the prompt, on terminals of random sizes: it must not end, hang, or leave on the screen what is not
--- in the line. Whatever was typed, the line drawn anew (Ctrl-L) looks as it did, and after Ctrl-C 1 + 1 is 2.
--
--   ./parlua soak/keys.lua [SECONDS] [SEED]
local host = require "parlua.host"
local terminal = require "spec.terminal"

local seconds, seed = tonumber(arg[1]) or 60, tonumber(arg[2]) or os.time()
local ROUND = 300 -- keys of a session
local BURST = 40  -- that are sent at most before the screen is looked at
local STEADY = 5  -- looks at which it waits: all has been drawn

local function pick(list) return list[math.random(#list)] end

local texts = { "x", "foo", "größe", "日本", "e\204\129", "👍🏽", "\226\128\139", "local ",
  "function ", "end", "if ", "then ", "do ", "for i=1,2 ",
  "(", ")", "{", "}", "[[", "]]", "--[[", "--", "'", '"', "\\", " ", "  ", "=", ",",
  ".", ":", ";", "%", "?", "!", "> ", ">> ", "string.", "parlua.", "1",
  "..", ("long"):rep(30), ("ü"):rep(50),
  "print", "\194", "\240\159", "\255", "return ", "goto ", "%hel", "%opt", "'/us", "require 'par", "math.sin(" }

local sequences = { "\27[A", "\27[B", "\27[C", "\27[D", "\27[H", "\27[F", "\27[3~", "\27[1;5C", "\27[1;5D",
  "\27[1;3C", "\27OA", "\27OB", "\27\r", "\27",
  "\27b", "\27f", "\27d", "\27u", "\27[Z", "\27[<0;1;1M", "\27[M !!",
  "\27[", "\27O", "\27]0;x\7", "\27P", "\27[200~", "\27[201~", "\27[[A", "\27[1;2",
  "\27[200~a\nb\27[201~", "\27[200~for i=1,2 do\n\tprint(i)\nend\n\27[201~", "\27[200~> 1\n1\n\27[201~", "\27[5~", "\27.", "\27[I" }

--- Keys that are no matter of the line: Ctrl-D leaves; Ctrl-\, and Ctrl-S, which halts the terminal, may come while a
--- statement runs.
local excluded = { [4] = true, [19] = true, [28] = true }

--- A key, or what a terminal may send.
local function key()
  local kind = math.random(100)
  if kind <= 40 then return pick(texts) end
  if kind <= 70 then return pick(sequences) end
  if kind <= 78 then return "\r" end
  if kind <= 84 then return "\t" end
  if kind <= 90 then return pick { "\127", "\8" } end
  if kind <= 97 then
    local control = math.random(1, 31)
    return excluded[control] and "\1" or string.char(control)
  end
  if kind == 98 then return string.char(math.random(32, 255)) end
  local bytes = {}
  for k = 1, math.random(10) do bytes[k] = string.char(math.random(29, 255)) end
  if kind == 99 then return table.concat(bytes) end
  return "\27[" .. math.random(0, 300) .. ";" .. math.random(0, 9) .. pick { "m", "h", "~", "R", "q", "$p", "A", "J" }
end

local function quoted(text)
  local escaped = ("%q"):format(text):gsub("\\\n", "\\n")
  return (escaped:gsub("[%c\127-\255]", function(c) return ("\\%03d"):format(c:byte()) end))
end

local function read(path)
  local file = io.open(path)
  local text = file and file:read("*a")
  if file then file:close() end
  return text or ""
end

--- Does the program wait for keys, and for nothing else?
local function is_idle(t)
  if not t.program then
    local shell = t:tmux("display-message -p -t main '#{pane_pid}'"):match("%d+")
    t.program = read(("/proc/%s/task/%s/children"):format(shell, shell)):match("%d+")
  end
  return t.program and read("/proc/" .. t.program .. "/syscall"):find("^%d+ %S+ 0x1 0xffffffff ") -- poll without an end
end

--- The screen once nothing more is drawn.
local function settled(t)
  local same, began = 0, host.now()
  while same < STEADY do
    same = is_idle(t) and same + 1 or 0
    t:cursor() -- tmux hands on what was typed before it answers again
    host.sleep(0.005)
    if host.now() - began > 30 then error("it does not come to rest:\n" .. t:text(), 0) end
  end
  return (t:tmux("capture-pane -p -t main"):gsub("[ ]+\n", "\n"):gsub("\n+$", "\n"))
end

local function lines_of(text)
  local lines = {}
  for line in text:gmatch "([^\n]*)\n" do lines[#lines + 1] = line end
  return lines
end

--- Draws the line anew, which must look as it did.
local function compare(t)
  t:type("\27[201~\27[99~") -- what was begun ends, and what stood below the line goes
  local before = lines_of(settled(t))
  t:type("\12")
  local after = lines_of(settled(t))
  for k = 0, #after - 1 do
    if after[#after - k] ~= before[#before - k] then
      error(("drawn:\n%s\nanew:\n%s"):format(table.concat(before, "\n"), table.concat(after, "\n")), 0)
    end
  end
end

local function session(round)
  math.randomseed(seed + round)
  local columns, rows = pick { 5, 10, 20, 30, 80, 120, math.random(5, 200) }, pick { 4, 8, 24, 50 }
  local sent = {}
  terminal.with_prompt({ columns = columns, rows = rows, lang = pick { "C", "C.UTF-8" }, is_busy = true }, function(t)
    t:wait(">")
    local function check()
      compare(t)
      for _ = 1, 3 do -- what is typed at once after a statement is for it
        t:type("\3")
        settled(t)
      end
      t:type("\12'a'..1\r")
      t:wait_for(function(text)
        if text:find("[status", 1, true) then error("it has ended:\n" .. text, 0) end
        return text:gsub("%s", ""):find('>\'a\'..1"a1">', 1, true)
      end)
    end
    local ok, message = pcall(function()
      local left = ROUND
      while left > 0 do
        for _ = 1, math.random(BURST) do
          sent[#sent + 1] = key()
          t:type(sent[#sent])
          left = left - 1
        end
        if math.random(4) == 1 then
          t:tmux(("resize-window -t main -x %d -y %d"):format(math.random(5, 120), math.random(4, 50)))
          host.sleep(0.3) -- tmux tells the program of it a quarter of a second later
        end
        check()
        sent = {}
      end
    end)
    if not ok then
      local parts = {}
      for k, bytes in ipairs(sent) do parts[k] = quoted(bytes) end
      error(("round %d (./parlua soak/keys.lua 0 %d) on %d x %d, after %s:\n%s"):format(round, seed + round, columns, rows,
        table.concat(parts, " "), message), 0)
    end
  end)
end

local began, round = host.now(), 0
repeat
  session(round)
  round = round + 1
until host.now() - began > seconds
print(("keys: %d sessions of %d keys, all well"):format(round, ROUND))
