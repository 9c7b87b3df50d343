--- Graphs of objects drawn at random, with classes, shared parts, cycles and data of the FFI: as arguments, captured, and as results they are
--- on every engine what they are on serial. A failed one names its seed: GRAPH_SEED=... runs that graph alone.
local helper = require "spec.helper"

local ffi = require "ffi"
local parlua = require "parlua"

pcall(ffi.cdef, "typedef struct { int id; double at[3]; } spec_graph_t;")

local classes = {}
for k = 1, 3 do
  local class = { number = k }
  class.__index = class
  function class.numbered(self) return self.id * 10 + class.number end
  classes[k] = class
end
local sentinel = {}

--- A graph: nodes that lead to each other.
local function build(seed)
  local draw = helper.generator(seed)
  local nodes = {}
  for i = 1, draw(40) do
    nodes[i] = { id = i }
    local kind = draw(5)
    if classes[kind] then setmetatable(nodes[i], classes[kind]) end
  end
  for _, node in ipairs(nodes) do
    for k = 1, draw(4) do
      local kind = draw(9)
      if kind <= 3 then
        node[k] = nodes[draw(#nodes)]
      elseif kind == 4 then
        node["to" .. k] = { nodes[draw(#nodes)], sentinel }
      elseif kind == 5 then
        local data = ffi.new("spec_graph_t", draw(100))
        data.at[1] = draw(100) / 8
        node["data" .. k], node["again" .. k] = data, data
      elseif kind == 6 then
        node["list" .. k] = ffi.new("int[?]", 3, draw(9))
      elseif kind == 7 then
        node["number" .. k] = 2LL ^ draw(40)
      elseif kind == 8 then
        node[nodes[draw(#nodes)]] = classes[draw(3)]
      else
        node["f" .. k] = classes[draw(3)].numbered
      end
    end
  end
  return nodes[1]
end

--- What a graph is, as text: the same for graphs that can't be told apart.
local function describe_graph(root)
  local numbers, queue, out = { [root] = 1 }, { root }, {}
  local function name(value)
    local kind = type(value)
    if kind == "table" then
      for k, class in ipairs(classes) do
        if value == class then return "class " .. k end
      end
      if value == sentinel then return "sentinel" end
      if not numbers[value] then
        queue[#queue + 1] = value
        numbers[value] = #queue
      end
      return "table " .. numbers[value]
    elseif kind == "function" then
      for k, class in ipairs(classes) do
        if value == class.numbered then return "method " .. k end
      end
      return "another function"
    elseif kind == "cdata" then
      if ffi.istype("spec_graph_t", value) then return ("data %d %g"):format(value.id, value.at[1]) end
      if ffi.istype("int64_t", value) then return tostring(value) end
      return ("list %d %d"):format(ffi.sizeof(value), value[2])
    end
    return tostring(value)
  end
  local at = 0
  while at < #queue do
    at = at + 1
    local t, lines, keys, objects = queue[at], {}, {}, {}
    local meta = getmetatable(t)
    lines[1] = ("%d: %s"):format(at, meta and name(meta) .. " " .. t:numbered() or "plain")
    for key in pairs(t) do
      if type(key) == "table" then objects[#objects + 1] = key else keys[#keys + 1] = key end
    end
    table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
    table.sort(objects, function(a, b) return a.id < b.id end)
    for _, list in ipairs { keys, objects } do
      for _, key in ipairs(list) do lines[#lines + 1] = name(key) .. " = " .. name(t[key]) end
    end
    for key, value in pairs(t) do
      local number = type(key) == "string" and key:match "^data(%d)"
      if number and type(t["again" .. number]) == "cdata" then
        lines[#lines + 1] = "same data " .. tostring(ffi.cast("void *", value) == ffi.cast("void *", t["again" .. number]))
        break
      end
    end
    out[at] = table.concat(lines, ", ")
  end
  return table.concat(out, "\n")
end

describe("graphs of objects are the same on each engine", function()
  local given = tonumber(os.getenv("GRAPH_SEED") or "")
  local first, count = given or os.time() % 1e6, given and 1 or 60

  helper.for_each_engine(function(engine)
    it(("for %d of them, from seed %d on"):format(count, first), function()
      local options = { engine = engine, workers = 2 }
      for seed = first, first + count - 1 do
        local graph = build(seed)
        local expected, told = describe_graph(graph), "GRAPH_SEED=" .. seed
        local n = 0
        local results, failures = parlua.map(function(argument)
          return { describe_graph(argument), describe_graph(graph), build(seed), argument }
        end, function()
          n = n + 1
          if n <= 2 then return build(seed) end
        end, options)
        assert.equal(nil, failures[1] and failures[1].message, told)
        for k = 1, 2 do
          assert.equal(expected, results[k][1], told .. ": an argument")
          assert.equal(expected, results[k][2], told .. ": captured")
          assert.equal(expected, describe_graph(results[k][3]), told .. ": a result")
          assert.equal(expected, describe_graph(results[k][4]), told .. ": an argument as a result")
        end
      end
    end)
  end)
end)

-- Test runners keep what ffi.typeof gave by its text, and so may scripts: what was kept must stay what it is.
describe("a type that ffi.typeof gave, and that a script keeps by its text", function()
  helper.for_each_engine(function(engine)
    it("stays that type here and in workers, whatever else is decoded", function()
      local own, kept = ffi.typeof, {}
      ffi.typeof = function(text, ...)
        if not kept[text] then kept[text] = own(text, ...) end
        return kept[text]
      end
      local ok, results, failures = pcall(parlua.map, function(i)
        local library = require "ffi"
        return { tostring(library.typeof "int"), library.new("struct { int x; double y; }", i, i), library.new("double[2]", i) }
      end, parlua.range(8), helper.options(engine) { chunk = 1 })
      local int = tostring(ffi.typeof "int")
      ffi.typeof = own
      assert.is_true(ok, results)
      assert.equal(0, #failures)
      assert.equal("ctype<int>", int)
      for i = 1, 8 do assert.same({ "ctype<int>", i, i }, { results[i][1], results[i][2].x, results[i][3][0] }) end
    end)
  end)
end)
