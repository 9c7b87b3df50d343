--- The modules of the Lua side require downwards only, and in no circle: job -> sink -> run -> drive -> feed -> source -> wire.
local helper = require "spec.helper"
local lfs = require "lfs"

local root = "lua/parlua"

--- Folders, and the modules beside them, from the lowest on. A module may require those of its own line and of lines above in this list.
local layers = {
  { "common", "lazy", "garbage", "cdata", "value", "task", "types" },
  { "array", "wire", "failure", "options" },
  { "source" },
  { "report", "plot" },
  { "worker", "feed", "log" },
  { "journal" },
  { "drive" },
  { "run", "exec" },
  { "sink", "calls" },
  { "future" },
  { "pool", "job" },
  { "background", "init" },
  { "prompt" },
  { "command" },
}

local level_of = {}
for level, names in ipairs(layers) do
  for _, name in ipairs(names) do level_of[name] = level end
end

--- All modules: the name for require -> the text.
local function read_modules()
  local modules = {}
  local function walk(path)
    for entry in lfs.dir(path) do
      local full = path .. "/" .. entry
      if entry:sub(1, 1) ~= "." and lfs.attributes(full, "mode") == "directory" then
        walk(full)
      elseif entry:find("%.lua$") then
        local name = full:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
        local file = assert(io.open(full))
        modules[name] = file:read("*a"):gsub("%-%-[^\n]*", "")
        file:close()
      end
    end
  end
  walk(root)
  return modules
end

--- The folder, or the name of a module beside the folders.
local function part_of(name) return name == "parlua" and "init" or name:match("^parlua%.([%w_]+)") end

--- All modules that a text asks for, at any time: at the head of a file, within a function, when a field is first used
--- (parlua.lazy), by a table of names, or where it looks whether a module is loaded.
local forms = {
  'require%s*%(?%s*["\'](parlua[%w_.]*)["\']', 'lazy%s*%(?%s*["\'](parlua[%w_.]*)["\']',
  '["\']parlua%.lazy["\']%s*%)?%s*%(?%s*["\'](parlua[%w_.]*)["\']', 'loaded%s*%[%s*["\'](parlua[%w_.]*)["\']',
  'require%s*,%s*["\'](parlua[%w_.]*)["\']', '[%w_]+ = ["\'](parlua%.[%w_.]+)["\'],', '[{,]%s*["\'](parlua%.[%w_.]+)["\']',
}

local function requires_of(text, modules)
  local found = {}
  for _, form in ipairs(forms) do
    for name in text:gmatch(form) do
      if modules[name] then found[name] = true end
    end
  end
  return found
end

describe("the modules of the Lua side", function()
  local modules = read_modules()
  local requires = {}
  for name, text in pairs(modules) do requires[name] = requires_of(text, modules) end

  it("are found, and their requires", function()
    assert.is_true(requires["parlua.sink.list"]["parlua.run"])
    assert.is_true(requires["parlua.run"]["parlua.drive.serial"])
  end)

  it("are found to require others also at the time of use, in whatever form", function()
    assert.is_true(requires["parlua.drive.async"]["parlua.worker.spawn"]) -- require("parlua.lazy") "..."
    assert.is_true(requires["parlua.run"]["parlua.report"]) -- lazy "..."
    assert.is_true(requires["parlua.prompt.calls"]["parlua.sink.list"]) -- in a function
    assert.is_true(requires["parlua"]["parlua.plot"]) -- a field that is loaded on demand
    assert.is_true(requires["parlua.prompt"]["parlua.run"]) -- package.loaded
  end)

  it("lie in folders that are known here", function()
    for name in pairs(modules) do assert.is_truthy(level_of[part_of(name)], name .. " is in no layer") end
  end)

  it("require nothing that lies above them", function()
    local wrong = {}
    for name, list in pairs(requires) do
      for other in pairs(list) do
        local arrow = name .. " -> " .. other
        if level_of[part_of(other)] > level_of[part_of(name)] then wrong[#wrong + 1] = arrow end
      end
    end
    table.sort(wrong)
    assert.same({}, wrong)
  end)

  it("require each other in no circle", function()
    local state = {}
    local function visit(name, path)
      if state[name] == "done" then return end
      path = path .. " -> " .. name
      assert.is_nil(state[name], "a circle:" .. path)
      state[name] = "open"
      for other in pairs(requires[name]) do
        if other ~= name then visit(other, path) end
      end
      state[name] = "done"
    end
    for name in pairs(modules) do visit(name, "") end
  end)

  it("know of no tag, block or event of the dispatcher, if they are sinks", function()
    local sinks, wrong = 0, {}
    for name, text in pairs(modules) do
      if name:find "^parlua%.sink%." then
        sinks = sinks + 1
        for _, pattern in ipairs { "TAG_%u+", "EVENT_%u+", "BLOCK_%u+", "wire%.block", "wire%.shape", "[%.:]event%f[^%w_]" } do
          local found = text:match(pattern)
          if found then wrong[#wrong + 1] = name .. ": " .. found end
        end
      end
    end
    assert.is_true(sinks > 10)
    assert.same({}, wrong)
  end)

  it("call no method of their own that is named like one of strings, which would be taken for it (src/lua/rewrite.lua)", function()
    local named, wrong = {}, {}
    for name in helper.read("src/lua/rewrite.lua"):match('methods = set_of "([^"]+)"'):gmatch "%a+" do named[name] = true end
    assert.is_true(named.find and named.format)
    for module, text in pairs(modules) do
      for class, name in text:gmatch "function ([%w_]+):([%w_]+)" do
        if named[name] and class ~= "Pool" then wrong[#wrong + 1] = module .. ": " .. class .. ":" .. name end -- scripts call it
      end
    end
    assert.same({}, wrong)
  end)

  it("are not much over 400 lines", function()
    for name, text in pairs(modules) do
      if name == "parlua.types" then text = "" end -- stubs, for editors
      local _, lines = text:gsub("\n", "")
      local most = 450
      assert.is_true(lines <= most, name .. " has " .. lines .. " lines")
    end
  end)
end)
