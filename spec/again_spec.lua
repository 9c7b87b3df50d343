--- A call with the function, options and source of the call before sends nothing where nothing has changed. What has
--- changed since, and be it behind everybody's back, is what the tasks see.
local ffi = require "ffi"
local helper = require "spec.helper"
local parlua = require "parlua"

local CALLS = 4 -- the same call: from the third on nothing is sent

--- Calls `f` several times, then once more behind each change; returns what the last one of each gave.
local function results_of(options, f, changes, source)
  local function call() return parlua.map(f, source or { 1 }, options)[1] end
  local all = {}
  for _, change in ipairs(changes) do
    for _ = 1, CALLS do call() end
    change()
    all[#all + 1] = call()
  end
  return all
end

describe("a call whose job the workers have:", function()
  helper.for_each_engine(function(engine)
    local with = helper.options(engine)

    it("sees what has become of captured variables and tables", function()
      local number, text, list, class = 1, "a", { { deep = { 1 } } }, { __index = { x = 1 } }
      local object = setmetatable({}, class)
      local function f() return table.concat({ number, text, #list, list[1].deep[1], list[1].more or "-",
        tostring(object.x), tostring(rawget(object, "y")) }, " ") end
      local all = results_of(with(), f, {
        function() number = 2 end,
        function() text = "b" end,
        function() list[1].deep[1] = 5 end,
        function() list[1].more = "more" end,
        function() list[2] = "second" end,
        function() class.__index.x = 7 end,
        function() setmetatable(object, nil) end,
        function() rawset(object, "y", true) end,
        function() list[1].deep = { 9 } end,
      })
      assert.same({ "2 a 1 1 - 1 nil", "2 b 1 1 - 1 nil", "2 b 1 5 - 1 nil", "2 b 1 5 more 1 nil", "2 b 2 5 more 1 nil",
        "2 b 2 5 more 7 nil", "2 b 2 5 more nil nil", "2 b 2 5 more nil true", "2 b 2 9 more nil true" }, all)
    end)

    it("sees globals, and those of an environment with a metatable", function()
      rawset(_G, "spec_kept", 1)
      local beyond = { value = 1 }
      local environment = setmetatable({}, { __index = function(_, key) return beyond[key] or _G[key] end })
      local function f() return spec_kept end -- luacheck: ignore 113
      local own = setfenv(function() return value end, environment) -- luacheck: ignore 113
      assert.same({ 2, "x" }, results_of(with(), f, {
        function() rawset(_G, "spec_kept", 2) end,
        function() rawset(_G, "spec_kept", "x") end,
      }))
      rawset(_G, "spec_kept", nil)
      assert.same({ 2, 3 }, results_of(with(), own, {
        function() beyond.value = 2 end,
        function() rawset(environment, "value", 3) end,
      }))
    end)

    it("sees globals by computed names, whatever they become: plain, a table, a function, nothing, plain again", function()
      local draw, names, held = helper.generator(5), { "spec_kept_a", "spec_kept_b", "spec_kept_c" }, { level = 0, list = {} }
      local class = { __index = { name = "of the class" } }
      local shared, latest = setmetatable({ 1 }, class), nil
      local makers = {
        function(k) return k end, function(k) return "text " .. k end, function(k) return k % 2 == 0 end, function() return nil end,
        function(k) return { k, held.list } end, function(k) return function() return "called " .. k end end, function() return shared end,
      }
      local function describe(value)
        if type(value) == "function" then return value() end
        if type(value) ~= "table" then return tostring(value) end
        return ("table %s %s %s"):format(tostring(value[1]), tostring(value == shared), tostring(value.name or value[2] == held.list))
      end
      local function look()
        local out = { held.level, #held.list, shared[1], describe(latest), tostring(latest == rawget(_G, names[2])) }
        for _, name in ipairs(names) do out[#out + 1] = describe(rawget(_G, name)) end
        return table.concat(out, ", ")
      end
      local function give() return rawget(_G, names[1]) end
      for k = 1, 60 do
        local place = draw(8)
        if place <= 6 then
          latest = makers[place <= 3 and draw(4) or draw(#makers)](k) -- the function holds it too
          rawset(_G, names[draw(3)], latest)
        elseif place == 7 then
          held.level = k
        else
          shared[1] = k
        end
        local expected, results = look(), parlua.map(look, { 1, 2 }, with { chunk = 1 })
        assert.same({ expected, expected }, { results[1], results[2] })
        if k % 5 == 0 then -- else the workers have the job of the call before
          local given, got = give(), parlua.map(give, { 1 }, with())[1]
          if type(given) == "table" then given, got = given[1], got[1] end
          if type(given) == "function" then given, got = given(), got() end
          assert.equal(given, got)
        end
      end
      for _, name in ipairs(names) do rawset(_G, name, nil) end
    end)

    it("sees C data, buffers and arrays", function()
      local data, buffer = ffi.new("double[4]"), require("string.buffer").new()
      local array = parlua.array("double", 3):fill(2)
      local function f() return ("%g %s %g"):format(data[1], tostring(buffer), array[2]) end
      assert.same({ "5  2", "5 put 2", "5 put 8" }, results_of(with(), f, {
        function() data[1] = 5 end,
        function() buffer:put "put" end,
        function() array[2] = 8 end,
      }))
    end)

    it("sees the settings of a C module, as lua-cjson's", function()
      local has_it, cjson = pcall(require, "cjson")
      if not has_it then return end
      local function f() return require("cjson").encode(1 / 3) .. " " .. select(3, require("cjson").encode_sparse_array()) end
      assert.same({ "0.333 10", "0.333 11", "0.33333333333333 10" }, results_of(with(), f, {
        function() cjson.encode_number_precision(3) end,
        function() cjson.encode_sparse_array(false, 2, 11) end,
        function()
          cjson.encode_number_precision(14)
          cjson.encode_sparse_array(false, 2, 10)
        end,
      }))
    end)

    it("sees another function, another set-up, other results kept, and another source", function()
      local function setup() rawset(_G, "spec_kept_setup", "set up") end
      local function f(x, y) return tostring(x) .. tostring(y) .. tostring(rawget(_G, "spec_kept_setup")) end
      local function g(x) return x end
      for _ = 1, CALLS do
        assert.same({ "1nilnil", n = 1 }, (parlua.map(f, { 1 }, with())))
        assert.same({ "1nilnil", n = 1 }, (parlua.map(f, parlua.range(1), with())))
        assert.same({ "1nilnil", "2nilnil", n = 2 }, (parlua.map(f, parlua.range(2), with())))
        assert.same({ "3nilnil", n = 1 }, (parlua.map(f, parlua.range(3, 3), with())))
        assert.same({ "12nil", n = 1 }, (parlua.map(f, parlua.zip({ 1 }, { 2 }), with())))
        assert.same({ 1, n = 1 }, (parlua.map(g, { 1 }, with())))
        assert.same({}, (parlua.each(g, { 1 }, with())))
      end
      for _ = 1, CALLS do
        assert.same({ "1nilset up", n = 1 }, (parlua.map(f, { 1 }, with { setup = setup })))
      end
      rawset(_G, "spec_kept_setup", nil)
    end)

    it("gives results of the script's own classes, and refers to what it has captured", function()
      local class, sentinel = {}, {}
      class.__index = class
      local function f(x) return setmetatable({ x = x, sentinel = sentinel }, class) end
      for k = 1, CALLS do
        local result = parlua.map(f, { k }, with())[1]
        assert.equal(class, getmetatable(result))
        assert.equal(sentinel, result.sentinel)
        assert.equal(k, result.x)
      end
    end)
  end)

  -- on serial, compiled code keeps constants
  helper.for_each_engine(function(engine)
    local with = helper.options(engine)

    it("sees variables that debug functions have changed", function()
      local one, other = 1, 2
      local function f() return one end
      local function g() return other end
      local all = results_of(with(), f, {
        function() debug.setupvalue(f, 1, 10) end,
        function() debug.upvaluejoin(f, 1, g, 1) end,
        function() other = 20 end,
      })
      assert.same({ 10, 2, 20 }, all)
    end)

    it("keeps nothing alive for longer than until the collector has come by", function()
      local weak = setmetatable({}, { __mode = "v" })
      do
        local captured = { 1, 2, 3 }
        weak[1] = captured
        local function f(x) return captured[x] end
        for _ = 1, CALLS do assert.equal(2, parlua.map(f, { 2 }, with())[1]) end
      end
      for _ = 1, 4 do collectgarbage() end
      assert.is_nil(weak[1])
    end)
  end, { "threads", "process", "mpi" })
end)
