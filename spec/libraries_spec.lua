--- Libraries of Debian's packages work in tasks as they do in the script, and what a script has made of them crosses, or is refused with
--- what to do instead.
local helper = require "spec.helper"

--- library -> a module of it, and what to try: each prints what no engine may change.
local libraries = {
  Penlight = { module = "pl.class", script = [[
    local class, List, Map = require "pl.class", require "pl.List", require "pl.OrderedMap"
    local stringx, pretty = require "pl.stringx", require "pl.pretty"
    local Animal = class()
    function Animal:_init(name) self.name = name end
    function Animal:__tostring() return self.name .. ": " .. self:speak() end
    local Dog = class(Animal)
    function Dog:speak() return "bark" end
    local dogs = parlua.map(function(name) return Dog(name) end, { "Fido", "Rex" })
    print(tostring(dogs[1]), dogs[2]:is_a(Animal), Dog:class_of(dogs[2]))
    local captured = List { 3, 1, 2 }
    run(function(dog) return tostring(dog) .. tostring(dog:is_a(Dog)) .. tostring(captured:clone():sort()) end, { Dog "Spot" })
    local lists = parlua.map(function(n) return List.range(1, n):map(function(x) return x * x end) end, { 3 })
    print(tostring(lists[1]), lists[1]:reduce "+", List:class_of(lists[1]))
    local map = parlua.map(function() local m = Map() m:set("z", 1) m:set("a", 2) return m end, { 1 })[1]
    print(tostring(map), map:keys():concat ",")
    run(function(text) return pretty.write(stringx.split(text, ","), "") end, { "a,b" })]] },
  ["lua-cjson"] = { module = "cjson", script = [[
    local cjson = require "cjson"
    run(function(n) return cjson.encode { n, cjson.null, { a = n } } end, { 1 })
    local back = parlua.map(function(text) return cjson.decode(text) end, { '{"list":[1,null],"none":null}' })[1]
    print(back.list[2] == cjson.null, back.none == cjson.null)
    run(function(x) return tostring(x == cjson.null) end, { cjson.null })
    cjson.encode_number_precision(3)
    run(function() return cjson.encode { 1 / 3 } end, { 1 })
    local parsers = require "parsers"
    run(function() return parsers.json.encode { 2 / 3 } end, { 1 })]] },
  LPeg = { module = "lpeg", script = [[
    local lpeg, parsers = require "lpeg", require "parsers"
    run(function(text)
      local word = lpeg.C(lpeg.R "az" ^ 1)
      return table.concat({ lpeg.match(lpeg.Ct((word * lpeg.S " ," ^ 0) ^ 0), text)[2], parsers.number:match "42x" }, " ")
    end, { "one, two" })
    run(function() return pattern:match "aab" end, { 1 }, { setup = function() pattern = lpeg.P "a" ^ 0 * lpeg.Cp() end })]] },
  cqueues = { module = "cqueues", script = [[
    local cqueues, condition = require "cqueues", require "cqueues.condition"
    run(function(n)
      local queue, changed, order = cqueues.new(), condition.new(), {}
      queue:wrap(function() changed:wait() order[#order + 1] = "woken" end)
      queue:wrap(function() cqueues.sleep(0.001) order[#order + 1] = "slept" changed:signal() end)
      assert(queue:loop())
      return table.concat(order, " ") .. n
    end, { 1, 2 })
    run(function() return type(cqueues.monotime()) end, { 1 })]] },
  ["LuaFileSystem"] = { module = "lfs", script = [[
    local lfs, attributes = require "lfs", require("lfs").attributes
    run(function(path) return lfs.attributes(path, "mode") .. attributes(path).mode end, { ".", "parsers.lua" })
    run(function()
      local names = {}
      for name in lfs.dir "." do if name:find "%.lua$" then names[#names + 1] = name end end
      table.sort(names)
      return table.concat(names, " ")
    end, { 1 })
    print(parlua.map(function() return lfs end, { 1 })[1] == lfs)]] },
  LuaSocket = { module = "socket", script = [[
    local socket, http = require "socket", require "socket.http"
    http.TIMEOUT = 7
    run(function(word)
      local server = assert(socket.bind("127.0.0.1", 0))
      local client = assert(socket.connect("127.0.0.1", (select(2, server:getsockname()))))
      local accepted = server:accept()
      client:send(word .. "\n")
      local line = accepted:receive()
      accepted:close() client:close() server:close()
      return line .. http.TIMEOUT .. require("socket.url").parse("http://a/b").host
    end, { "hello", "there" })
    print(type(parlua.map(socket.gettime, { 1 })[1]))]] },
}

--- What can't cross is made where the module that has it is required again.
local parsers = [[
local M = {}
local has_lpeg, lpeg = pcall(require, "lpeg")
if has_lpeg then M.number = lpeg.C(lpeg.R "09" ^ 1) end
local has_cjson, cjson = pcall(require, "cjson")
if has_cjson then
  M.json = cjson.new()
  M.json.encode_number_precision(5)
end
return M
]]

local names, present = {}, {}
for name, library in pairs(libraries) do
  names[#names + 1] = name
  present[name] = pcall(require, library.module)
end
table.sort(names)

--- What each library's part printed: name -> text.
local function outputs(command)
  local parts = { helper.mapping_prologue }
  for _, name in ipairs(names) do
    if present[name] then
      parts[#parts + 1] = ("print %q\ndo\n%s\nend\n"):format("== " .. name, libraries[name].script)
    end
  end
  local told = {}
  helper.with_directory(function(directory)
    helper.write(directory .. "/parsers.lua", parsers)
    helper.write(directory .. "/script.lua", table.concat(parts))
    local result = helper.run(("cd %s && %s --progress none script.lua"):format(directory, command))
    local name
    for line in result.stdout:gmatch "[^\n]*\n" do
      name = line:match "^== (.*)\n" or name
      if not line:find "^== " then told[name] = (told[name] or "") .. line end
    end
    told.error = result.stderr
  end)
  return told
end

describe("a library works in tasks, and so does what a script makes of it:", function()
  local serial
  helper.for_each_engine(function(engine)
    local told
    for _, name in ipairs(names) do
      it(name, function()
        if not present[name] then return pending("no module " .. libraries[name].module .. " is installed") end
        serial = serial or outputs(helper.command "serial")
        told = told or outputs(helper.command(engine))
        assert.truthy(serial[name] and #serial[name] > 0, serial.error)
        assert.is_nil(serial[name]:find("error", 1, true), serial[name])
        assert.equal(serial[name], told[name], told.error)
      end)
    end
  end)
end)
