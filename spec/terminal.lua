--- A terminal for specs: tmux shows what a program draws, and types what the spec says. Nothing waits for a time:
--- what is expected is waited for, and looked for again when the screen has changed.
--
--   local terminal = require "spec.terminal"

local ffi = require "ffi"
local helper = require "spec.helper"
local host = require "parlua.host"

ffi.cdef [[
struct spec_pollfd { int fd; short events, revents; };
int getpid(void);
int spec_open(const char *path, int flags, ...) __asm__("open");
int spec_close(int fd) __asm__("close");
int spec_mkfifo(const char *path, unsigned mode) __asm__("mkfifo");
long spec_read(int fd, void *bytes, size_t length) __asm__("read");
int spec_poll(struct spec_pollfd *polled, unsigned long count, int milliseconds) __asm__("poll");
]]

local C = ffi.C
local M = {}

--- Seconds until what was waited for is missed: only what never comes takes so long.
local TIME_LIMIT = tonumber(os.getenv("SPEC_TERMINAL_SECONDS")) or 60
local LOOK = 20 -- milliseconds between two looks while the screen does not change: something else may
local REST = 0.001 -- seconds between two looks while it does
local RDONLY_CLOEXEC = 0x80000
local BYTES = 65536

local Terminal = {}
Terminal.__index = Terminal

local opened = 0
local bytes = ffi.new("char[?]", BYTES)

--- Reads what tmux has sent, once something has come. Returns false when nothing did in so many milliseconds.
function Terminal:receive(milliseconds)
  local polled = ffi.new("struct spec_pollfd", self.fd, 1)
  if C.spec_poll(polled, 1, milliseconds) <= 0 then return false end
  local length = C.spec_read(self.fd, bytes, BYTES)
  if length <= 0 then error("tmux has ended", 0) end
  self.received = self.received .. ffi.string(bytes, length)
  return true
end

--- The next line that tmux sends.
function Terminal:line()
  while true do
    local at = self.received:find("\n", self.at, true)
    if at then
      local line = self.received:sub(self.at, at - 1)
      self.at = at + 1
      return line
    end
    self.received, self.at = self.received:sub(self.at), 1
    if not self:receive(TIME_LIMIT * 1000) then error("tmux does not answer", 0) end
  end
end

--- A command of tmux; returns what it gives. Its answer stands between %begin and %end (or %error); all else that a
--- client of this kind is sent tells of changes.
function Terminal:tmux(words)
  self.client:write(words, "\n")
  self.client:flush()
  local lines
  while true do
    local line = self:line()
    if not lines then
      if line:find("^%%begin %d+ %d+ 1$") then lines = {} end
    elseif line:find("^%%end %d+ %d+ 1$") or line:find("^%%error %d+ %d+ 1$") then
      return table.concat(lines)
    else
      lines[#lines + 1] = line .. "\n"
    end
  end
end

--- Waits until the screen has changed since the last look, for a short while at most.
function Terminal:await_change()
  if self.at > #self.received and not self:receive(LOOK) then return end
  host.sleep(REST)
end

--- Connects with the server as a client that is told of changes.
function Terminal:connect()
  local out = self.directory .. "/.tmux"
  C.spec_mkfifo(out, tonumber("600", 8))
  self.client = io.popen(("exec env -u TMUX tmux -u -L %s -C attach -t main -f ignore-size >%s"):format(self.socket,
    helper.quote(out)), "w")
  self.fd, self.received, self.at = C.spec_open(out, RDONLY_CLOEXEC), "", 1
  os.remove(out)
end

---@class spec.TerminalOptions
---@field columns? integer default 80
---@field rows? integer default 40
---@field env? table<string, string>
---@field lang? string default C.UTF-8
---@field files? table<string, string> that are in the directory, with their text
---@field directory? string the program's home and present directory

--- Runs a command in a terminal. Close it, whatever happens: `terminal.with` does.
---@param command string
---@param options? spec.TerminalOptions
function M.open(command, options)
  options = options or {}
  opened = opened + 1
  local self = setmetatable({ socket = ("spec-%d-%d"):format(C.getpid(), opened) }, Terminal)
  self.directory = options.directory or helper.new_directory()
  self.owns_directory = not options.directory
  for name, text in pairs(options.files or {}) do helper.write(self.directory .. "/" .. name, text) end
  local words = {}
  local env = { HOME = self.directory, LANG = options.lang or "C.UTF-8", LC_ALL = options.lang or "C.UTF-8",
                XDG_STATE_HOME = self.directory .. "/state",
                NO_COLOR = "1", PARLUA_WARN = "true", OMPI_ALLOW_RUN_AS_ROOT = "1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = "1" }
  for name, value in pairs(options.env or {}) do env[name] = value end
  for name, value in pairs(env) do words[#words + 1] = name .. "=" .. helper.quote(value) end
  -- the status is shown, and the terminal stays to be looked at
  local script = helper.write(self.directory .. "/.run",
    ("cd %s\ntrap : INT QUIT\nenv %s %s\necho \"[status $?]\"\nexec sleep 1000\n"):format(
    helper.quote(self.directory), table.concat(words, " "), command))
  local started = os.execute(("env -u TMUX tmux -u -L %s -f /dev/null new-session -d -x %d -y %d -s main 'exec sh %s'"):format(
    self.socket, options.columns or 80, options.rows or 40, script))
  assert(started == 0, "tmux does not start")
  self:connect()
  self:tmux("set-option -g history-limit 5000")
  return self
end

function Terminal:close()
  self.client:write("kill-server\n")
  self.client:close()
  C.spec_close(self.fd)
  if self.owns_directory then helper.remove(self.directory) end
end

--- The screen, and what was scrolled out of it at the top. Lines end where their text does.
function Terminal:text()
  local text = self:tmux("capture-pane -p -S -2000 -t main")
  return (text:gsub("[ ]+\n", "\n"):gsub("\n+$", "\n"))
end

--- Where the cursor is: column and row from 0.
function Terminal:cursor()
  local x, y = self:tmux("display-message -p -t main '#{cursor_x} #{cursor_y}'"):match("(%d+) (%d+)")
  return tonumber(x), tonumber(y)
end

--- Waits until a text, or a pattern, is on the screen. Returns the screen.
---@param wanted string
---@param is_pattern? boolean
function Terminal:wait(wanted, is_pattern)
  local began = os.time()
  while true do
    local text = self:text()
    if text:find(wanted, 1, not is_pattern) then return text end
    if os.time() - began > TIME_LIMIT then error(("not on the terminal: %s\n%s"):format(wanted, text), 2) end
    self:await_change()
  end
end

--- Waits until a function of the screen gives something.
function Terminal:wait_for(f)
  local began = os.time()
  while true do
    local text = self:text()
    local found = f(text)
    if found then return found, text end
    if os.time() - began > TIME_LIMIT then error("what was waited for does not come\n" .. text, 2) end
    self:await_change()
  end
end

--- Waits until the program has made a file in its directory, and removes it.
function Terminal:wait_for_file(name)
  self:wait_for(function()
    local file = io.open(self.directory .. "/" .. name)
    return file and file:close()
  end)
  os.remove(self.directory .. "/" .. name)
end

--- Types text as it stands.
function Terminal:type(text)
  local hex = text:gsub(".", function(c) return ("%02x "):format(c:byte()) end)
  self:tmux("send-keys -t main -H " .. hex)
end

--- Presses keys by tmux's names: "Enter", "Up", "C-c", "Tab".
function Terminal:press(...)
  for _, name in ipairs { ... } do self:tmux("send-keys -t main " .. name) end
end

--- Pastes text as a terminal does.
function Terminal:paste(text)
  local path = helper.write(self.directory .. "/.paste", text)
  self:tmux("load-buffer " .. path)
  self:tmux("paste-buffer -p -t main")
end

--- Pastes text as a terminal does that knows no bracketed paste: as if it were typed.
function Terminal:paste_plainly(text)
  self:tmux("load-buffer " .. helper.write(self.directory .. "/.paste", text))
  self:tmux("paste-buffer -t main")
end

--- Is an empty prompt all that there is?
local function is_prompt(text) return text:find("^[debug]*> *\n$") end

local function ends_with_prompt(text) return is_prompt(text) or text:find("\n[debug]*> *\n$") end

--- Waits for an empty prompt at the end of the screen: the program waits for a statement.
function Terminal:wait_for_prompt()
  return select(2, self:wait_for(ends_with_prompt))
end

--- Types a statement, and waits until it has run. Returns what it showed.
---@param text string
function Terminal:run(text)
  self:wait_for_prompt()
  self:press("C-l")
  self:wait_for(function()
    self:tmux("clear-history -t main") -- tmux keeps there what is cleared
    return is_prompt(self:text())
  end)
  self:type(text)
  self:press("Enter")
  local screen = select(2, self:wait_for(function(shown) return not is_prompt(shown) and ends_with_prompt(shown) end))
  return (screen:gsub("\n[debug]*> *\n$", "\n"))
end

--- Calls a function with a terminal in which a prompt waits.
---@param options? spec.TerminalOptions|{arguments: string, command: string, is_busy: boolean} is_busy: no prompt is
---waited for
---@param body fun(terminal: table)
function M.with_prompt(options, body)
  options = options or {}
  local terminal = M.open(options.command or helper.quote(helper.parlua) .. " " .. (options.arguments or ""), options)
  local ok, message = xpcall(function()
    if not options.is_busy then terminal:wait_for_prompt() end
    body(terminal)
  end, function(value) return type(value) == "string" and debug.traceback(value, 2) or value end)
  terminal:close()
  if not ok then error(message, 0) end
end

--- Has `body` use a prompt whose terminal goes away behind it; returns the status with which the prompt ended, as a
--- string (129: by SIGHUP), nil when it has not within 30 s.
---@param body fun(t: table)
---@return string?
function M.status_after_hangup(body)
  local directory = helper.new_directory()
  M.with_prompt({ directory = directory, command = ("sh -c 'trap : HUP; %s; echo $? >ended'"):format(helper.parlua) }, body)
  local began = os.time()
  local status
  repeat status = (io.open(directory .. "/ended") or io.open("/dev/null")):read "*l" until status or os.time() - began > 30
  helper.remove(directory)
  return status
end

return M
