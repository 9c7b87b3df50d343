--- HTTP requests to a local server that answers each after 50 ms: tasks of the async engine, all at once, beside one
--- after the other, and beside Python's asyncio with aiohttp. The server is a process of its own.
local measure = require "measure"
local parlua = require "parlua"

local DELAY = 0.05

--- Serves until it is ended. Writes its port into the file.
local function serve(port_file, delay)
  local cqueues = require "cqueues"
  local server, queue = require("cqueues.socket").listen { host = "127.0.0.1", port = 0, nodelay = true }, cqueues.new()
  local file = assert(io.open(port_file, "w"))
  file:write(select(3, server:localname()), "\n")
  file:close()
  queue:wrap(function()
    for client in server:clients() do
      queue:wrap(function()
        client:setmode("b", "b")
        repeat local line = client:read "*l" until not line or line:match "^%s*$"
        cqueues.sleep(delay)
        client:write "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nanswer"
        client:flush()
        client:close()
      end)
    end
  end)
  assert(queue:loop())
end

--- The length of an answer.
local function request(port)
  local server = assert(require("cqueues.socket").connect("127.0.0.1", port))
  server:setmode("b", "b")
  server:write "GET /page HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
  server:flush()
  repeat local line = server:read "*l" until not line or line:match "^%s*$"
  local body = server:read "*a"
  server:close()
  return #body
end

return function()
  if not pcall(require, "cqueues") then return {} end
  local n, few = measure.size(1000, 20), measure.size(40, 4)
  local port_file = measure.scratch .. "/port"
  local server = parlua.background(serve, port_file, DELAY)
  local file
  repeat
    measure.pause(0.01)
    file = io.open(port_file)
  until file and file:read "*l"
  file:seek "set"
  local port = tonumber(file:read "*l")
  file:close()
  local function all(engine, count)
    return measure.timed(function()
      return nil, (parlua.reduce(function() return request(port) end, parlua.range(count), parlua.sum,
        { engine = engine, workers = count }))
    end)
  end
  local has_aiohttp = os.execute(measure.python_path .. " -c 'import aiohttp' 2>/dev/null") == 0
  local sides = { { name = "async", warm = true, run = all("async", n) } }
  if has_aiohttp then sides[2] = measure.python { name = "aiohttp", call = "requests", words = { port, n } } end
  local got = measure.compare(sides)
  local serial = measure.compare({ { name = "serial", run = all("serial", few) } }, 1).serial.seconds * n / few
  server:cancel()
  os.remove(port_file)
  local rows = { measure.row { what = ("%d HTTP requests, each answered after 50 ms, async: times serial"):format(n),
    ours = serial / got.async.seconds, unit = "x", more = true, at_least = 50 } }
  if has_aiohttp then
    rows[2] = measure.row { what = "the same beside asyncio with aiohttp", ours = got.async.seconds, unit = "s",
      theirs = got.aiohttp.seconds, rival = "aiohttp", ratio_at_least = 1 }
  end
  return rows
end
