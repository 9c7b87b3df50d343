--- Between submitted calls a script changes what it has in globals and modules, or what its functions hold, here at
--- random: each call finds all as it is in the script. A failed one names its seed: STATE_SEED=... runs that alone.
local ffi = require "ffi"
local helper = require "spec.helper"
local parlua = require "parlua"

ffi.cdef "typedef struct { int number; double pair[2]; struct { uint8_t low : 3, high : 5; } bits; } spec_state_t;"

local CALLS = 40

-- Where the state is: a function that gives what has a name, and one that sets it.
local captured, environment = {}, setmetatable({}, { __index = _G })
local places = {
  ["in globals"] = { function(name) return rawget(_G, name) end, function(name, value) rawset(_G, name, value) end },
  ["held by the function"] = { function(name) return captured[name] end, function(name, value) captured[name] = value end },
  ["in the function's environment"] = {
    setfenv(loadstring 'local name = ... return name == "spec_state" and spec_state or name == "spec_extra" and spec_extra or nil',
      environment),
    function(name, value) rawset(environment, name, value) end },
}
local read, assign

--- The state as text, the same for states that can't be told apart. Runs in the script and in tasks.
local function describe_state()
  local numbers, queue, out = {}, {}, {}
  local function name(value)
    if type(value) == "function" then return "function of " .. tostring(value()) end
    if type(value) == "cdata" then
      return ("data %d %g %d %d"):format(value.number, value.pair[1], value.bits.low, value.bits.high)
    end
    if type(value) ~= "table" then return tostring(value) end
    if not numbers[value] then
      queue[#queue + 1] = value
      numbers[value] = #queue
    end
    return "table " .. numbers[value]
  end
  local root = read("spec_state")
  out[1] = name(root) .. " " .. name(read("spec_extra")) .. " " .. name(package.loaded.spec_differences)
  local at = 0
  while at < #queue do
    at = at + 1
    local t, keys, line = queue[at], {}, {}
    for key in pairs(t) do keys[#keys + 1] = key end
    table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
    local meta = getmetatable(t)
    line[1] = meta == root.class and "of the class" or meta == nil and "plain" or "of another class"
    for _, key in ipairs(keys) do line[#line + 1] = tostring(key) .. "=" .. name(t[key]) end
    out[#out + 1] = table.concat(line, " ")
  end
  return table.concat(out, "\n")
end

--- A function with a value of its own, and one that sets it.
local function counter(n)
  return function() return n end, function(value) n = value end
end

local function begin()
  local class = { number = 1 }
  class.__index = class
  local nodes = {}
  for k = 1, 20 do nodes[k] = setmetatable({ id = k }, k % 2 == 0 and class or nil) end
  for k = 1, 20 do nodes[k].next = nodes[k % 20 + 1] end
  local get, set = counter(0)
  local data = ffi.new("spec_state_t", { number = 1 })
  nodes[3].data, nodes[4].data = data, data
  assign("spec_state", { class = class, nodes = nodes, get = get, data = data })
  package.loaded.spec_differences = { level = 1, node = nodes[1] }
  return nodes, class, set
end

local function change(draw, nodes, class, set)
  local node, other = nodes[draw(#nodes)], nodes[draw(#nodes)]
  local state, kind = read("spec_state"), draw(16)
  if kind == 1 then node.value = draw(100)
  elseif kind == 2 then node.value = nil
  elseif kind == 3 then node.link = other
  elseif kind == 4 then node.new = { draw(9), other, { deep = node } }
  elseif kind == 5 then debug.setmetatable(node, getmetatable(node) == nil and class or nil)
  elseif kind == 6 then set(draw(100))
  elseif kind == 7 then node.f = (counter(draw(50)))
  elseif kind == 8 then assign("spec_extra", draw(3) == 1 and node or draw(3) == 1 and nil or draw(100))
  elseif kind == 9 then table.insert(nodes, setmetatable({ id = #nodes + 1, next = node }, class))
  elseif kind == 10 then package.loaded.spec_differences.level = draw(100)
  elseif kind == 11 then package.loaded.spec_differences.node = node
  elseif kind == 12 then class.number = draw(9)
  elseif kind == 13 then for k = 1, draw(200) do node["many" .. k] = k end
  elseif kind == 14 then state.data.number, state.data.pair[1], state.data.bits.high = draw(9), draw(9), draw(31)
  elseif kind == 15 then node.data = draw(3) == 1 and ffi.new("spec_state_t", { number = draw(9) }) or state.data
  elseif state.get then state.get = nil
  else state.get = node.f end
end

--- A change in which no object comes or goes: bytes of C data, a global's number.
local function change_plainly(draw)
  local data = read("spec_state").data
  if draw(3) > 1 then data.number, data.pair[1], data.bits.low = draw(9), draw(9), draw(7) end
  if draw(2) == 1 then assign("spec_extra", draw(100)) end
end

describe("state that changes between submitted calls", function()
  local given = tonumber(os.getenv "STATE_SEED" or "")
  local first = given or os.time() % 1e6

  helper.for_each_engine(function(engine)
    for place, access in pairs(places) do
      it(("is in tasks what it is in the script, %s, from seed %d on"):format(place, first), function()
        read, assign = access[1], access[2]
        local draw = helper.generator(first)
        local nodes, class, set = begin()
        local pool = parlua.pool { engine = engine, workers = 2 }
        for k = 1, CALLS do
          if k <= CALLS / 4 or draw(6) == 1 then
            change_plainly(draw)
          else
            for _ = 1, draw(3) do change(draw, nodes, class, set) end
          end
          local told = pool:submit(describe_state):get()
          assert.equal(describe_state(), told, ("seed %d, call %d"):format(first, k))
          if k % 20 == 0 then -- a call with workers of its own
            assert.equal(describe_state(), parlua.map(describe_state, { 1 }, helper.options(engine)())[1])
          end
        end
        pool:close()
        assign("spec_state", nil)
        assign("spec_extra", nil)
        package.loaded.spec_differences = nil
      end)
    end
  end)

  helper.for_each_engine(function(engine)
    it("may be NaN, wherever it is, also where a number stood before and will stand again", function()
      local held, meta = { n = 0 }, getmetatable ""
      local module = {}
      package.loaded.spec_nan = module
      finally(function()
        rawset(math, "spec", nil)
        rawset(meta, "spec", nil)
        rawset(_G, "spec_state", nil)
        package.loaded.spec_nan, package.loaded.spec_nan_itself = nil, nil
      end)
      local upvalue
      local function look()
        local told = {}
        for k, value in ipairs { tostring(rawget(math, "spec")), tostring(rawget(getmetatable "", "spec")),
          tostring(rawget(_G, "spec_state")), tostring(require("spec_nan").value),
          tostring(package.loaded.spec_nan_itself), tostring(held.n), tostring(upvalue) } do
          told[k] = value
        end
        return table.concat(told, " ")
      end
      local pool = parlua.pool { engine = engine, workers = 1 }
      for _, value in ipairs { 0 / 0, 5, 0 / 0, 0 / 0, 6 } do
        rawset(math, "spec", value)
        rawset(meta, "spec", value)
        rawset(_G, "spec_state", value)
        module.value, package.loaded.spec_nan_itself, held.n, upvalue = value, value, value, value
        local expected = (tostring(value) .. " "):rep(7):sub(1, -2)
        assert.equal(expected, look())
        assert.equal(expected, pool:submit(look):get())
        assert.equal(expected, pool:map(look, { 1 })[1])
        assert.equal(expected, parlua.map(look, { 1 }, helper.options(engine)())[1])
      end
      pool:close()
    end)

    it("that it has got since the first call is known as its own, wherever it is", function()
      local module, own = {}, {}
      package.loaded.spec_known = module
      rawset(_G, "spec_state", {})
      finally(function()
        package.loaded.spec_known = nil
        rawset(_G, "spec_state", nil)
        rawset(math, "spec", nil)
      end)
      local pool = parlua.pool { engine = engine, workers = 1 }
      local function look()
        local state = rawget(_G, "spec_state")
        local there = { module.value, state and state.value, rawget(math, "spec"), module.deep and module.deep.value }
        local told = {}
        for k = 1, 4 do told[k] = tostring(own[k] == there[k]) end
        return table.concat(told, " "), unpack(there, 1, 4)
      end
      local deep = {}
      pool:submit(look):get()
      for round = 1, 12 do
        own = { { round }, { round }, { round }, { round } }
        if round % 3 == 1 then pool:submit(look):get() end -- which holds them before they are anywhere else
        module.value, rawget(_G, "spec_state").value = own[1], own[2]
        rawset(math, "spec", own[3])
        module.deep, deep.value = deep, own[4]
        if round == 5 then collectgarbage() collectgarbage() end
        assert.equal("true true true true", (look()))
        local results = { pool:submit(look):get() }
        assert.equal("true true true true", results[1])
        for k = 1, 4 do assert.equal(own[k], results[k + 1]) end
      end
      pool:close()
    end)
  end)

  helper.for_each_engine(function(engine)
    it("is the older one again for an older call that is tried again later", function()
      rawset(_G, "spec_state", { value = 1 })
      local pool = parlua.pool { engine = engine, workers = 1, retries = 1, backoff = 0.05 }
      local function look()
        local state = rawget(_G, "spec_state")
        return state.value, state.more or "nothing more"
      end
      local function read_later()
        if require("parlua").task.attempt == 1 then error "not yet" end
        local state = rawget(_G, "spec_state")
        return state.value, state.more or "nothing more"
      end
      local older = pool:submit(read_later)
      for k = 2, 4 do
        rawget(_G, "spec_state").value, rawget(_G, "spec_state").more = k, k
        assert.same({ k, k }, { pool:submit(look):get() })
      end
      assert.same({ 1, "nothing more" }, { older:get() })
      assert.same({ 4, 4 }, { pool:submit(look):get() })
      pool:close()
      rawset(_G, "spec_state", nil)
    end)
  end, { "threads" })

  helper.for_each_engine(function(engine)
    it("has not changed because a pool that a module holds has got calls", function()
      local pools = {}
      package.loaded.spec_pools = function() return pools.first end
      pools.first = parlua.pool { engine = engine, workers = 1 }
      local world, held = require "parlua.wire.world", { n = 1 }
      local function look() return held.n end
      pools.first:submit(look):get()
      local before = world.prepare(engine == "threads", false).id
      for _ = 1, 3 do assert.equal(1, pools.first:submit(look):get()) end
      assert.equal(before, world.prepare(engine == "threads", false).id)
      held.n = 2
      assert.equal(2, pools.first:submit(look):get())
      pools.first:close()
      package.loaded.spec_pools = nil
    end)
  end, { "threads", "process" })

  it("goes along in a few bytes when C data of a module were written, as by a clock that it keeps", function()
    local time, rest = ffi.new("spec_state_t"), {}
    for k = 1, 1000 do rest[k] = "value " .. k end
    package.loaded.spec_clock = { read = function() return time.number, #rest end }
    local world = require "parlua.wire.world"
    local function look() return (require("spec_clock").read()) end
    for _, engine in ipairs { "threads", "process", "serial" } do
      local pool = parlua.pool { engine = engine, workers = 1 }
      for k = 1, 5 do
        time.number = k
        assert.equal(k, parlua.map(look, { 1 }, { engine = engine })[1])
        assert.equal(k, pool:submit(look):get())
      end
      pool:close()
    end
    local before = world.prepare(true, false).version
    for k = 6, 9 do
      time.number = k
      local state = world.prepare(true, false)
      assert.equal(before, state.version)
      assert.is_true(#state.before < 300)
    end
    package.loaded.spec_clock = nil
  end)

  it("is the same where globals have come and gone, or a global's key is no name", function()
    local changes = {
      function() rawset(_G, places, 1) end,
      function()
        for k = 1, 300 do _G["spec_global" .. k] = k end
        for k = 1, 300 do _G["spec_global" .. k] = nil end
      end,
    }
    for _, engine in ipairs { "threads", "process" } do
      for _, alter in ipairs(changes) do
        local pool = parlua.pool { engine = engine, workers = 1 }
        assert.same({ 2 }, { pool:map(function(i) return i + 1 end, { 1 })[1] })
        alter()
        assert.same({ 2 }, { pool:map(function(i) return i + 1 end, { 1 })[1] })
        assert.same({ 2 }, { pool:submit(function(i) return i + 1 end, 1):get() })
        pool:close()
      end
    end
    rawset(_G, places, nil)
  end)

  it("is told of nothing that LuaJIT has refused", function()
    local record = require "parlua.wire.record"
    local function counts() return { #record.declarations, #record.metatypes, #record.libraries, #record.options } end
    local before = counts()
    local refused = {
      ["declaration specifier expected near 'doubl'"] = function() ffi.cdef "doubl spec_wrong;" end,
      ["wrong number of type parameters"] = function() ffi.cdef("int spec_wrong;", ffi.typeof "int") end,
      ["attempt to redefine"] = function() ffi.cdef "struct spec_twice { int a; }; struct spec_twice { int b; };" end,
      ["invalid C type"] = function() ffi.metatype("int", {}) end,
      ["cannot open shared object"] = function() ffi.load("spec_nonsense", true) end,
      ["malformed optimization flag"] = function() require("jit.opt").start "spec_nonsense" end,
    }
    for wanted, f in pairs(refused) do
      local ok, message = pcall(f)
      assert.is_false(ok, wanted)
      assert.truthy(message:find(wanted, 1, true), message)
    end
    assert.same(before, counts())
    ffi.cdef "typedef struct { int right; } spec_right_t;"
    assert.same(before[1] + 1, counts()[1])
  end)
end)
