-- The C sources form layers, and what they include points down only: a part can be read, tested and replaced without what stands above it.

local helper = require "spec.helper"
local lfs = require "lfs"

local LAYERS = { sys = 1, slot = 2, engines = 3, run = 4, mpi = 5, lua = 5, main = 6 }

local MOST_LINES, MOST_COLUMNS = 700, 120

--- Files that are longer than that, and why they may be, for now.
local LONG = {
}

--- All C files below src: path -> text.
local function read_sources(directory, sources)
  for name in lfs.dir(directory) do
    local path = directory .. "/" .. name
    if name:sub(1, 1) == "." then -- luacheck: ignore
    elseif lfs.attributes(path, "mode") == "directory" then
      read_sources(path, sources)
    elseif name:find "%.[ch]$" then
      sources[path] = helper.read(path)
    end
  end
  return sources
end

--- What each file includes of the tree: path -> list of paths.
local function read_graph(sources)
  local graph = {}
  for path, text in pairs(sources) do
    local includes = {}
    for name in ("\n" .. text):gmatch '\n%s*#%s*include%s+"([^"]+)"' do
      local beside = path:gsub("[^/]*$", "") .. name
      includes[#includes + 1] = sources["src/" .. name] and "src/" .. name or beside
    end
    graph[path] = includes
  end
  return graph
end

--- The graph of modules, a module being a header and the file of the same name: module -> list of modules.
local function by_module(graph)
  local modules = {}
  for path, includes in pairs(graph) do
    local module = path:gsub("%.[ch]$", "")
    modules[module] = modules[module] or {}
    for _, included in ipairs(includes) do
      local other = included:gsub("%.[ch]$", "")
      if other ~= module then table.insert(modules[module], other) end
    end
  end
  return modules
end

--- A circle in a graph as text, "a -> b -> a"; nil when there is none.
local function find_circle(graph)
  local state, way = {}, {}
  local function visit(node)
    if state[node] == "done" then return nil end
    way[#way + 1] = node
    if state[node] == "open" then
      local from = 1
      while way[from] ~= node do from = from + 1 end
      return table.concat(way, " -> ", from)
    end
    state[node] = "open"
    for _, other in ipairs(graph[node] or {}) do
      local circle = visit(other)
      if circle then return circle end
    end
    state[node] = "done"
    way[#way] = nil
    return nil
  end
  for node in pairs(graph) do
    local circle = visit(node)
    if circle then return circle end
  end
  return nil
end

--- The MPI engine is a shared object of its own, which runs a dispatcher in every rank.
local function layer_of(path)
  if path:find "^src/engines/mpi/" then return LAYERS.mpi end
  return LAYERS[path:match "^src/(%w+)/" or path:match "^src/(%w+)%.c$"]
end

--- Arrows that point up, each as text.
local function find_arrows_up(graph)
  local arrows = {}
  for path, includes in pairs(graph) do
    for _, included in ipairs(includes) do
      local from, to = layer_of(path), layer_of(included)
      if not from or not to or to > from then arrows[#arrows + 1] = path .. " -> " .. included end
    end
  end
  table.sort(arrows)
  return arrows
end

local function count_lines(text) return select(2, text:gsub("\n", "")) end

describe("the C sources", function()
  local sources = read_sources("src", {})
  local graph = read_graph(sources)

  it("belong to a layer each", function()
    local strays = {}
    for path in pairs(sources) do if not layer_of(path) then strays[#strays + 1] = path end end
    assert.same({}, strays)
  end)

  it("include only files of the tree by quotes", function()
    local missing = {}
    for path, includes in pairs(graph) do
      for _, included in ipairs(includes) do if not sources[included] then missing[#missing + 1] = path .. ": " .. included end end
    end
    assert.same({}, missing)
  end)

  it("include what lies in their own layer or below it: main, lua, run, engines, slot, sys", function()
    assert.same({}, find_arrows_up(graph))
  end)

  it("include nothing in a circle", function()
    assert.is_nil(find_circle(graph))
    assert.is_nil(find_circle(by_module(graph)))
  end)

  it("are files of at most " .. MOST_LINES .. " lines", function()
    local long = {}
    for path, text in pairs(sources) do
      local lines = count_lines(text)
      if lines > MOST_LINES and not LONG[path] then long[#long + 1] = ("%s: %d lines"):format(path, lines) end
    end
    assert.same({}, long)
  end)

  it("have lines of at most " .. MOST_COLUMNS .. " columns", function()
    local wide = {}
    for path, text in pairs(sources) do
      local number = 0
      for line in text:gmatch "([^\n]*)\n" do
        number = number + 1
        local columns = #line:gsub("[\128-\191]", "")
        if columns > MOST_COLUMNS then wide[#wide + 1] = ("%s:%d: %d columns"):format(path, number, columns) end
      end
    end
    assert.same({}, wide)
  end)

  it("have no exception that is not needed any more", function()
    for path in pairs(LONG) do
      assert.is_true(sources[path] ~= nil and count_lines(sources[path]) > MOST_LINES, path .. ": take it off the list in this spec")
    end
  end)
end)

describe("these checks", function()
  it("find an arrow up", function()
    local graph = read_graph({ ["src/sys/clock.c"] = '#include "run/queue.h"\n', ["src/run/queue.h"] = '# include "sys/list.h"\n' })
    assert.same({ "src/sys/clock.c -> src/run/queue.h" }, find_arrows_up(graph))
  end)

  it("find a circle, also one that goes through a header and its file", function()
    local headers = { ["src/run/a.h"] = '#include "run/b.h"\n', ["src/run/b.h"] = '#include "run/a.h"\n' }
    assert.truthy(find_circle(read_graph(headers)))
    local files = { ["src/run/a.c"] = '#include "run/b.h"\n', ["src/run/b.c"] = '#include "run/a.h"\n',
      ["src/run/a.h"] = "", ["src/run/b.h"] = "" }
    assert.is_nil(find_circle(read_graph(files)))
    assert.truthy(find_circle(by_module(read_graph(files))))
  end)
end)
