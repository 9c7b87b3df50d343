--- What a function has captured is changed at random between calls: each call sees all as it is in the script then, for
--- whatever kind of value and way of change. A failed one names its seed and the changes: CAPTURED_SEED=... runs that
--- alone.
local ffi = require "ffi"
local buffer = require "string.buffer"
local clear = require "table.clear"
local helper = require "spec.helper"
local parlua = require "parlua"

ffi.cdef [[
typedef struct { int number; double pair[2]; struct { uint8_t low : 3, high : 5; } bits; } spec_captured_t;
typedef struct { int n; double value[?]; } spec_captured_line_t;
]]

local CALLS = 30

local function is_array(value)
  return pcall(function() return value.totable end)
end

--- All that can be reached from a value as text, the same for graphs that can't be told apart: numbers with the sign of
--- zero, C data by type and bytes, arrays by elements, functions by what they hold and share. Runs in the script and in
--- tasks.
local function describe_graph(root)
  local numbers, queue, cells, out, count = {}, {}, {}, {}, 0
  local function name(value)
    local kind = type(value)
    if kind == "number" then return value ~= value and "nan" or ("%.17g"):format(value) end
    if kind == "cdata" then
      local ctype = tostring(ffi.typeof(value)):gsub("%d+", "")
      if ctype:find "int_t>" or ctype:find "complex" then return tostring(value) end
      if is_array(value) then return "array: " .. table.concat(value:totable(), " ") end
      return ctype .. ffi.string(value, ffi.sizeof(value)):gsub(".", function(c) return ("%02x"):format(c:byte()) end)
    end
    if kind == "userdata" then return "buffer " .. tostring(value) end
    if kind ~= "table" and kind ~= "function" then return kind .. " " .. tostring(value) end
    if not numbers[value] then
      count = count + 1
      queue[count], numbers[value] = value, count
    end
    return kind .. " " .. numbers[value]
  end
  out[1] = name(root)
  local at = 0
  while at < count do
    at = at + 1
    local object, line = queue[at], {}
    if type(object) == "function" then
      local k = 1
      local title, value = debug.getupvalue(object, 1)
      while title do
        local cell = tostring(debug.upvalueid(object, k))
        cells[cell] = cells[cell] or name(value) .. " of " .. at
        line[k] = title .. ": " .. cells[cell]
        k = k + 1
        title, value = debug.getupvalue(object, k)
      end
      line[k] = "line " .. debug.getinfo(object, "S").linedefined
    else
      local keys, meta = {}, debug.getmetatable(object)
      for key in next, object do keys[#keys + 1] = key end
      local function rank(key) return type(key) == "table" and "table" .. tostring(rawget(key, "id")) or tostring(key) end
      table.sort(keys, function(a, b) return rank(a) < rank(b) end)
      if meta then line[1] = "of " .. name(meta) end
      for _, key in ipairs(keys) do line[#line + 1] = name(key) .. " = " .. name(object[key]) end
    end
    out[#out + 1] = at .. ": " .. table.concat(line, ", ")
  end
  return table.concat(out, "\n")
end

--- Two functions with one value.
local function pair_of(value)
  return function() return value end, function(other) value = other end
end

--- A function whose value lies behind so many others.
local function nested(value, depth)
  local get, set = pair_of(value)
  for _ = 1, depth do
    local inner = get
    get = function() return inner() end
  end
  return get, set
end

local classes = {}
for k = 1, 3 do
  classes[k] = { id = "class" .. k }
  classes[k].__index = classes[k]
end

-- What makes a value of a kind; and what changes it in place. Each is in the graph from the beginning.
local kinds = {
  { "a table", function() return { 1, 2, key = "text", [2.5] = false } end, function(t, draw)
    local how = draw(9)
    if how == 1 then t[#t + 1] = draw(9) elseif how == 2 then t[#t] = nil
    elseif how == 3 then rawset(t, "key", draw(9)) elseif how == 4 then t.key = nil
    elseif how == 5 then clear(t)
    elseif how == 6 then for k = 1, draw(60) do t["many" .. k] = draw(3) end
    elseif how == 7 then table.sort(t, function(a, b) return tostring(a) > tostring(b) end)
    elseif how == 8 then for k in pairs(t) do t[k] = nil end
    else t.key, t.other = t.other, t.key or draw(5) end
  end },
  { "numbers that are equal but not the same", function() return { zero = 0 } end, function(t, draw)
    t.zero = ({ 0, -0 * 1, 1 / -math.huge, 0 / 0, 1LL, 1ULL, 1, "1", true, 2 ^ 53, 2 ^ 53 + 2 })[draw(11)]
  end },
  { "a 64-bit integer", function() return { 1LL } end, function(t, draw) t[1] = t[1] + draw(3) end },
  { "a complex number", function() return { ffi.new("complex", 1, 2) } end, function(t, draw)
    t[1] = ffi.new("complex", draw(4), 2)
  end },
  { "a struct", function() return ffi.new("spec_captured_t", { number = 1 }) end, function(data, draw)
    data.number, data.pair[draw(2) - 1], data.bits.high = draw(9), draw(9), draw(31)
  end },
  { "a struct of variable length", function() return ffi.new("spec_captured_line_t", 5) end, function(data, draw)
    data.value[draw(5) - 1] = draw(100)
  end },
  { "an array of C", function() return ffi.new("double[20]") end, function(data, draw) data[draw(20) - 1] = draw(9) end },
  { "an array of C of variable length", function() return ffi.new("int[?]", 7) end,
    function(data, draw) data[draw(7) - 1] = draw(9) end },
  { "an array of structs", function() return ffi.new("spec_captured_t[4]") end,
    function(data, draw) data[draw(4) - 1].pair[1] = draw(9) end },
  { "an array of parlua's", function() return parlua.array("double", 6) end, function(array, draw)
    array[draw(6)] = draw(9)
  end },
  { "a buffer", function() return buffer.new():put("text") end, function(text, draw)
    local how = draw(3)
    if how == 1 then text:put(draw(9)) elseif how == 2 then text:reset() else text:get(draw(3)) end
  end },
  { "a buffer in tables", function() return { { buffer.new():put("text") } } end,
    function(t, draw) t[1][1]:put(draw(9)) end },
  { "a metatable", function() return setmetatable({}, classes[1]) end, function(t, draw)
    debug.setmetatable(t, classes[draw(4)])
  end },
  { "a class", function()
    local class = { number = 1 }
    class.__index = class
    return { class = class, object = setmetatable({}, class) }
  end, function(t, draw)
    local how = draw(4)
    if how == 1 then t.class.number = draw(9)
    elseif how == 2 then t.class.__index = { number = draw(9) }
    elseif how == 3 then local n = draw(9) t.class.method = function() return n end
    else t.class.__index = t.class end
  end },
  { "an __index that is another table", function() return setmetatable({}, { __index = { a = 1 } }) end,
    function(t, draw) getmetatable(t).__index = { a = draw(9) } end },
  { "a weak table", function() return setmetatable({ 1, 2 }, { __mode = "k" }) end, function(t, draw)
    t[draw(3)] = draw(9)
    getmetatable(t).__mode = ({ "k", "v", "kv" })[draw(3)]
  end },
  { "a weak table with objects that others hold", function()
    local held = { { id = "a" }, { id = "b" } }
    return { held = held, weak = setmetatable({ [held[1]] = 1, [held[2]] = 2 }, { __mode = "k" }) }
  end, function(t, draw) t.weak[t.held[draw(2)]] = draw(9) end },
  { "tables as keys", function() return { [{ id = 1 }] = 1, [{ id = 2 }] = 2 } end, function(t, draw)
    for key in pairs(t) do key.value = draw(9) end
  end },
  { "a function's value", function() return { pair_of(1) } end, function(t, draw) t[2](draw(9)) end },
  { "a value that two functions share", function()
    local get, set = pair_of({ n = 1 })
    return { get = get, set = set, again = get }
  end, function(t, draw)
    local how = draw(3)
    if how == 1 then t.get().n = draw(9) elseif how == 2 then t.set({ n = draw(9) }) else t.again = t.set end
  end },
  { "a value behind functions behind functions", function() return { nested(1, 5) } end,
    function(t, draw) t[2](draw(9)) end },
  { "C data behind functions", function() return { nested(ffi.new("int[3]"), 3) } end,
    function(t, draw) t[1]()[draw(3) - 1] = draw(9) end },
  { "a buffer behind functions", function() return { nested(buffer.new(), 3) } end,
    function(t, draw) t[1]():put(draw(9)) end },
  { "a method with a cache of its own", function()
    local cache, class = {}, {}
    class.__index = class
    function class.get(key) return cache[key] end
    function class.set(key, value) cache[key] = value end
    return setmetatable({}, class)
  end, function(t, draw) t.set(draw(5), draw(9)) end },
  { "a method with C data of its own", function()
    local data, class = ffi.new("double[3]"), {}
    class.__index = class
    function class.get(key) return data[key] end
    function class.set(key, value) data[key] = value end
    return setmetatable({}, class)
  end, function(t, draw) t.set(draw(3) - 1, draw(9)) end },
  { "functions that are replaced", function() return { f = (pair_of(1)) } end, function(t, draw)
    t.f = draw(2) == 1 and (pair_of(draw(9))) or nil
  end },
  { "joined upvalues", function()
    local a, set_a = pair_of(1)
    local b, set_b = pair_of(2)
    return { a, set_a, b, set_b }
  end, function(t, draw)
    local how = draw(4)
    if how == 1 then debug.upvaluejoin(t[1], 1, t[3], 1) elseif how == 2 then debug.upvaluejoin(t[1], 1, t[2], 1)
    elseif how == 3 then t[2](draw(9)) else t[4](draw(9)) end
  end },
  { "a function's environment", function() return { setfenv(loadstring "return function() return x end", { x = 1 })() } end,
    function(t, draw) getfenv(t[1]).x = draw(9) end },
  { "nested tables", function()
    local t = {}
    for _ = 1, 150 do t = { next = t } end
    return t
  end, function(t, draw)
    for _ = 1, draw(150) - 1 do t = t.next end
    t.value = draw(9)
  end },
  { "a circle", function() local t = { {} } t[1].outer = t return t end, function(t, draw) t[1][draw(2)] = t[draw(2)] end },
}

describe("what a function has captured", function()
  local given = tonumber(os.getenv "CAPTURED_SEED" or "")
  local first = given or os.time() % 1e6

  --- Values of all kinds, or of one, and what holds them: a table, or functions of a class.
  local function graph_of(only)
    local graph = {}
    for k, kind in ipairs(kinds) do
      if not only or k == only then graph[#graph + 1] = { kind = kind, value = kind[2]() } end
    end
    return graph
  end

  --- Functions that see the graph, each in another way.
  local function lookers(graph)
    local values = {}
    for k, entry in ipairs(graph) do values[k] = entry.value end
    local class = {}
    class.__index = class
    function class.values() return values end
    local object = setmetatable({}, class)
    local first_value = values[1]
    return {
      function() return describe_graph(values) end,
      function() return describe_graph(object) end,
      function() return describe_graph({ first_value, object.values }) end,
      function(given_object) return describe_graph(given_object) .. describe_graph(given_object.values()) end,
    }, object
  end

  local function check(pool, graph, seed, calls)
    local draw = helper.generator(seed)
    local look, object = lookers(graph)
    local told = {}
    for k = 1, calls do
      for _ = 1, draw(3) - (k % 5 == 0 and 1 or 0) do
        local entry = graph[draw(#graph)]
        entry.kind[3](entry.value, draw)
        told[#told + 1] = entry.kind[1]
      end
      local which, way = draw(#look), draw(3)
      local got
      local f = look[which]
      if way == 1 then got = pool:submit(f, object):get()
      elseif way == 2 then got = pool:map(f, { object })[1]
      else got = pool:map(f, { object, object, object }, { chunk = 1 })[2] end
      local wanted = f(object)
      if got ~= wanted then
        local at = 1
        while got and got:byte(at) == wanted:byte(at) do at = at + 1 end
        local from = math.max(1, at - 150)
        error(("seed %d, call %d, way %d, function %d: the script has\n...%s\nthe task saw\n...%s\nlast changes: %s"):format(
          seed, k, way, which, wanted:sub(from, at + 60), got and got:sub(from, at + 60) or "nil",
          table.concat(told, ", ", math.max(1, #told - 5))), 0)
      end
    end
  end

  helper.for_each_engine(function(engine)
    local pool

    setup(function() pool = parlua.pool { engine = engine, workers = 2 } end)
    teardown(function() pool:close() end)

    for k, kind in ipairs(kinds) do
      it(("is in the next call what the script has made of it: %s, from seed %d on"):format(kind[1], first), function()
        check(pool, graph_of(k), first + k, 12)
      end)
    end

    it("is in the next call what the script has made of it: all kinds together, from seed " .. first .. " on", function()
      for round = 1, 3 do check(pool, graph_of(), first + 1000 * round, CALLS) end
    end)

    it("is in the next call what the script has made of it: far away in large graphs, behind methods", function()
      for _, size in ipairs { 20000, 70000 } do -- tables; entries of one table
        local far, list, class = { n = 0 }, {}, { n = 0 }
        class.__index = class
        for k = 1, size do list[k] = size == 20000 and { k } or k end
        list[size + 1] = far
        function class.far() return list[size + 1] end
        local object = setmetatable({}, class)
        local function look(passed) return passed.far().n, object.far().n, passed.n end
        local fresh = parlua.pool { engine = engine, workers = 1 } -- its workers begin with the graph
        for k = 1, 3 do
          for _, each in ipairs { fresh, pool } do assert.same({ far.n, far.n, class.n }, { each:submit(look, object):get() }) end
          far.n, class.n = k, -k
          if k == 2 then list[size + 1], far = { n = 5 }, { n = 5 } end
        end
        fresh:close()
      end
    end)
  end)

  helper.for_each_engine(function(engine)
    it("is never an older one where it holds what can't be sent: it is there in forked workers, or an error tells", function()
      local data, cache, file = ffi.new("int[1]"), {}, io.tmpfile()
      local class = { file = file, n = 0 }
      class.__index = class
      function class.get() return data[0], cache.n or 0 end
      local object = setmetatable({}, class)
      local pool = parlua.pool { engine = engine, workers = 1 }
      local function look() return io.type(object.file), object.n, object.get() end
      for k = 0, 6 do
        local ok, kind, n, number, cached = pcall(function() return pool:submit(look):get() end)
        if ok then
          assert.same({ "file", class.n, data[0], cache.n or 0 }, { kind, n, number, cached })
        else
          assert.truthy(tostring(kind):find(".file of function at", 1, true), tostring(kind))
        end
        if k % 3 == 0 then data[0] = k elseif k % 3 == 1 then cache.n = k else class.n = k end
      end
      pool:close()
      file:close()
    end)
  end, { "threads", "process", "mpi" })
end)
