-- Many downloads at once: the same function on three engines, over a server that this program starts. Of its pages some
-- are missing, some slow. It needs the Lua module cqueues (in Debian: lua-cqueues).
--
--     parlua examples/downloads.lua [pages]
--
-- With async all requests wait side by side in one state; processes wait as many at a time as there are workers.

local parlua = require "parlua"
local cqueues = require "cqueues"

local pages = tonumber(arg[1]) or 100

--- Answers a request after its time.
local function answer(client)
  client:setmode("b", "b")
  local number = tonumber((client:read "*l" or ""):match "/(%d+)")
  repeat local header = client:read "*l" until not header or header:match "^%s*$"
  cqueues.sleep(number % 7 == 0 and 0.1 or 0.01)
  local is_there = number % 10 > 0
  client:write("HTTP/1.0 ", is_there and "200 OK" or "404 Not Found", "\r\n\r\n")
  if is_there then client:write(("page %d\n"):format(number):rep(number)) end
  client:close()
end

--- Serves until it is ended. Writes its port into the file.
local function serve(port_file)
  local server, queue = require("cqueues.socket").listen("127.0.0.1", 0), cqueues.new()
  local file = assert(io.open(port_file, "w"))
  file:write(select(3, server:localname()), "\n")
  file:close()
  queue:wrap(function()
    for client in server:clients() do queue:wrap(answer, client) end
  end)
  assert(queue:loop())
end

--- The length of a page.
local function download(port, number)
  local server = assert(require("cqueues.socket").connect("127.0.0.1", port))
  server:setmode("b", "b")
  server:write(("GET /%d HTTP/1.0\r\n\r\n"):format(number))
  server:flush()
  local status = assert(server:read "*l", "no answer")
  repeat local header = server:read "*l" until not header or header:match "^%s*$"
  local body = server:read "*a" or ""
  server:close()
  if not status:find " 200 " then error(status:match " (.-)%s*$", 0) end
  return #body
end

local port_file = os.tmpname()
local server = parlua.background(serve, port_file)
while not io.lines(port_file)() do assert(not server:wait(0.01), server.failure) end
local port = tonumber(io.lines(port_file)())
os.remove(port_file)

print(" engine  at once  pages  missing  bytes")
for _, case in ipairs { { "async", 1000 }, { "process", 8 }, { "serial", 1 } } do
  local began, bytes = cqueues.monotime(), 0
  local lengths, failures = parlua.map(function(number) return download(port, number) end, parlua.range(pages),
    { engine = case[1], workers = case[2], warn = false })
  for number = 1, lengths.n do bytes = bytes + (lengths[number] or 0) end
  print(("%7s  %7d  %5d  %7d  %5d"):format(case[1], case[2], lengths.n - #failures, #failures, bytes))
  io.stderr:write(("%s: %.2f s\n"):format(case[1], cqueues.monotime() - began))
end
server:cancel()
