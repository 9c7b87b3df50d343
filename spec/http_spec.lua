--- lua-http (Debian: lua-http), which waits by cqueues, in tasks of the async engine: requests to a server on this host wait side by side.
local helper = require "spec.helper"

local has_http = pcall(require, "http.request")
if not has_http then print "spec/http_spec.lua: lua-http is not installed; its requests are not made in tasks" end

--- A server of lua-http's, in a thread of its own. It answers each request after 50 ms; /slow never; /most says how many waited at the
--- same time; /stop ends it.
local server_text = [[
  local cqueues, headers = require "cqueues", require "http.headers"
  local port_file = ...
  local waiting, most = 0, 0
  local server = assert(require("http.server").listen { host = "127.0.0.1", port = 0, tls = false, onstream = function(_, stream)
    local path = stream:get_headers():get ":path"
    if path == "/stop" then os.exit(0) end
    if path == "/slow" then cqueues.sleep(600) end
    waiting = waiting + 1
    most = math.max(most, waiting)
    if path ~= "/most" then cqueues.sleep(0.05) end
    waiting = waiting - 1
    local number = path:match "^/item/(%d+)$"
    local answer = headers.new()
    answer:append(":status", (number or path == "/most") and "200" or "404")
    stream:write_headers(answer, false)
    stream:write_chunk(path == "/most" and tostring(most) or number and "item " .. number or "nothing here", true)
  end })
  assert(server:listen())
  local file = assert(io.open(port_file .. ".new", "w"))
  file:write((select(3, server:localname())))
  file:close()
  os.rename(port_file .. ".new", port_file)
  assert(server:loop())]]

local client_text = [[
  local parlua, request, cqueues = require "parlua", require "http.request", require "cqueues"
  local file
  repeat -- until the server is there
    file = io.open(arg[1])
    if not file then cqueues.sleep(0.01) end
  until file
  local address = "http://127.0.0.1:" .. file:read "*a"
  file:close()
  local function get(path)
    local head, stream = request.new_from_uri(address .. path):go()
    if not head then error(stream, 0) end
    local body = assert(stream:get_body_as_string())
    if head:get ":status" ~= "200" then error(("%s: %s, %s"):format(path, head:get ":status", body), 0) end
    return body
  end
]]

--- Runs a script beside a server; `get(path)` gives the body of an answer, or raises.
local function run(script)
  return helper.with_directory(function(directory)
    local server = helper.write(directory .. "/server.lua", server_text)
    local client = helper.write(directory .. "/client.lua", client_text .. script .. "\n  pcall(get, '/stop')\n")
    local port = directory .. "/port"
    return helper.run(("%s %s %s & server=$!; %s --engine async %s %s; kill $server 2>/dev/null; wait"):format(helper.parlua, server, port,
      helper.parlua, client, port))
  end)
end

describe("lua-http in tasks of the async engine", function()
  if not has_http then return end

  it("has requests wait side by side, and gives their results in order", function()
    local result = run [[
      local results, failures, summary = parlua.map(function(k) return get("/item/" .. k) end, parlua.range(40))
      print(results[1], results[40], #failures, summary.returned)
      print(tonumber(get "/most") > 20)]]
    assert.equal("item 1\titem 40\t0\t40\ntrue\n", result.stdout, result.stderr)
  end)

  it("has at most so many at once as the option workers says", function()
    local result = run [[
      for k, text in parlua.imap(get, { "/item/7", "/item/8", "/item/9", "/item/10" }, { workers = 2 }) do print(k, text) end
      print(get "/most")]]
    assert.equal("1\titem 7\n2\titem 8\n3\titem 9\n4\titem 10\n2\n", result.stdout, result.stderr)
  end)

  it("ends a request at the time limit of its task, while others go on; an answer that is none is that task's failure", function()
    local result = run [[
      local results, failures = parlua.map(get, { "/item/1", "/slow", "/missing", "/item/2" }, { timeout = 2, warn = false })
      print(results[1], results[2], results[4])
      for _, failure in ipairs(failures) do print(failure.index, failure.kind, failure.message) end]]
    assert.equal("item 1\tnil\titem 2\n2\ttimeout\tthe task took more than 2 s\n3\terror\t/missing: 404, nothing here\n",
      result.stdout, result.stderr)
  end)

  it("tries a request again, and lets submitted calls wait for each other", function()
    local result = run [[
      local results = parlua.map(function(path) return parlua.task.attempt == 1 and get "/missing" or get(path) end, { "/item/3" },
        { retries = 1 })
      print(results[1])
      local pool = parlua.pool()
      local first, second = pool:submit(get, "/item/4"), pool:submit(get, "/item/5")
      print(pool:submit(function(a, b) return a .. ", " .. b .. ", " .. get "/item/6" end, first, second):get())]]
    assert.equal("item 3\nitem 4, item 5, item 6\n", result.stdout, result.stderr)
  end)
end)
