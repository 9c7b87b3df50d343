-- A crawl: each page that is read hands the pages that it names to the same run, until none is left. The site is made
-- by this program, and served by it; there is no list of pages. It needs the Lua module cqueues (in Debian:
-- lua-cqueues).
--
--     parlua examples/crawl.lua [levels]
--
-- A task knows nothing of the others, so it can't tell which pages were seen. Here each page is named by one other.
-- Where many name the same one, the script asks: it takes what tasks return, and submits the pages that are new.

local parlua = require "parlua"
local cqueues = require "cqueues"

local levels = tonumber(arg[1]) or 4

--- A page of the site: some words, and the names of pages below it. Page /2/3 is missing.
local function page_of(path)
  local _, depth = path:gsub("/%d", "")
  if path == "/2/3" then return nil end
  local lines = { ("page %s of level %d"):format(path, depth) }
  for k = 1, depth < levels and 3 or 0 do lines[#lines + 1] = ("see %s/%d"):format(path == "/" and "" or path, k) end
  return table.concat(lines, "\n") .. "\n"
end

--- Serves the site until it is ended. Writes its port into the file.
local function serve(port_file)
  local server, queue = require("cqueues.socket").listen("127.0.0.1", 0), cqueues.new()
  local file = assert(io.open(port_file, "w"))
  file:write(select(3, server:localname()), "\n")
  file:close()
  queue:wrap(function()
    for client in server:clients() do
      queue:wrap(function()
        local page = page_of((client:read "*l" or ""):match "GET (%S+)")
        cqueues.sleep(0.01) -- a server that is far away
        client:write("HTTP/1.0 ", page and "200 OK" or "404 Not Found", "\r\n\r\n", page or "")
        client:close()
      end)
    end
  end)
  assert(queue:loop())
end

--- Reads a page, and has those read that it names. Returns how many words it has.
local function visit(port, path)
  local server = assert(require("cqueues.socket").connect("127.0.0.1", port))
  server:write("GET ", path, " HTTP/1.0\r\n\r\n")
  server:flush()
  local answer = server:read "*a" or ""
  server:close()
  if not answer:find "^%S+ 200 " then error(path .. ": " .. (answer:match " (.-)\r?\n" or "no answer"), 0) end
  local page = answer:match "\r\n\r\n(.*)"
  for link in page:gmatch "see (%S+)" do parlua.spawn(visit, port, link) end
  return select(2, page:gsub("%S+", ""))
end

local port_file = os.tmpname()
local server = parlua.background(serve, port_file)
while not io.lines(port_file)() do assert(not server:wait(0.01), server.failure) end
local port = tonumber(io.lines(port_file)())
os.remove(port_file)
local words, failures = parlua.starmap(visit, { { port, "/" } }, { warn = false })
local sum = 0
for k = 1, words.n do sum = sum + (words[k] or 0) end
print(("%d pages, %d words"):format(words.n - #failures, sum))
for _, failure in ipairs(failures) do print(failure.message) end
server:cancel()
