--- lua/parlua/types.lua, which tells editors of the module: is it what the module is?
local helper = require "spec.helper"
local parlua = require "parlua"

describe("the annotations for editors", function()
  local text = helper.read "lua/parlua/types.lua"
  local stubs = dofile "lua/parlua/types.lua"

  --- Fields that a class has, by a pattern before the name.
  local function has_field(class, name)
    local from = text:find("---@class " .. class:gsub("%.", "%%.") .. "%f[%s:]")
    assert.truthy(from, class)
    local body = text:sub(from, (text:find("\n\n", from, true)))
    return body:find("\n%-%-%-@field " .. name .. "%??%s") ~= nil
  end

  it("name every option, each where it may stand", function()
    for _, spec in ipairs(require("parlua.options").specs) do
      if spec.help then
        assert.is_true(has_field(spec.command_only and "parlua.JobOptions" or "parlua.Options", spec.name), spec.name)
      end
    end
  end)

  it("name no option that there is not", function()
    local known = {}
    for _, spec in ipairs(require("parlua.options").specs) do known[spec.name] = true end
    for _, class in ipairs { "parlua%.Options\n", "parlua%.JobOptions" } do
      local body = text:match("%-%-%-@class " .. class .. ".-\n\n")
      for name in body:gmatch "%-%-%-@field ([%w_]+)" do assert.is_true(known[name], name) end
    end
  end)

  it("name all that the module has, with the same parameters", function()
    local names = {}
    for name in pairs(parlua) do names[name] = true end
    for name in pairs(getmetatable(parlua).on_demand) do names[name] = parlua[name] ~= nil end
    for name in pairs(names) do
      assert.truthy(text:find("\nfunction parlua%." .. name .. "%(") or text:find("\nparlua%." .. name .. " = nil\n"), name)
      if type(parlua[name]) == "function" and stubs[name] then
        local own, told = debug.getinfo(parlua[name], "u"), debug.getinfo(stubs[name], "u")
        assert.same({ name, own.nparams, own.isvararg }, { name, told.nparams, told.isvararg })
      end
    end
    for name in pairs(stubs) do assert.is_true(names[name], name) end
    for name in text:gmatch "\nparlua%.([%w_]+) = nil" do assert.is_true(names[name], name) end
  end)

  it("name the methods of pools, futures, streams and sources", function()
    local pool = parlua.pool { engine = "serial" }
    local objects = { Pool = pool, Future = pool:submit(tostring, 1), Stream = (parlua.imap(tostring, { 1 }, { engine = "serial" })),
                      Source = parlua.range(3) }
    for class, object in pairs(objects) do
      local count = 0
      for name in text:gmatch("\nfunction " .. class .. ":([%w_]+)") do
        assert.equal("function", type(object[name]), class .. ":" .. name)
        count = count + 1
      end
      assert.is_true(count > 0)
    end
    for name in pairs(getmetatable(pool).__index) do
      if name:sub(1, 2) ~= "__" then assert.truthy(text:find("\nfunction Pool:" .. name .. "(", 1, true), name) end
    end
    objects.Stream:close()
    pool:close()
  end)

  it("have pools with every function that calls tasks", function()
    local pool = parlua.pool()
    for _, name in ipairs { "map", "starmap", "each", "imap", "reduce", "find", "any", "all", "submit" } do
      assert.equal("function", type(parlua[name]))
      assert.equal("function", type(pool[name]))
    end
    pool:close()
  end)

  it("are installed, and are no part of the program", function()
    helper.with_directory(function(directory)
      local result = helper.run(("make -n install PREFIX=%s"):format(directory))
      assert.truthy(result.stdout:find("lua/parlua/types.lua " .. directory .. "/share/parlua/parlua.lua", 1, true), result.stdout .. result.stderr)
    end)
    assert.is_false((pcall(require, "parlua.types")))
  end)
end)
