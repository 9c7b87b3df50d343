--- The text of parlua's modules is rewritten before it becomes bytecode (src/lua/rewrite.lua): it means what it meant.
local util = require "jit.util"

local rewrite = dofile "src/lua/rewrite.lua"

--- Adds the templates of a function's constructors, and of those nested in it, in order.
local function add_templates(list, f)
  for at = -1, -util.funcinfo(f).gcconsts, -1 do
    local constant = util.funck(f, at)
    if type(constant) == "proto" then add_templates(list, constant) end
    if type(constant) == "table" then list[#list + 1] = constant end
  end
  return list
end

--- As the bytecode has them.
local function templates_of(text) return add_templates({}, loadstring(string.dump(assert(loadstring(text))))) end

local function value_of(text) return assert(loadstring("local a, b, f = ... return " .. text)) end

describe("the rewriting of modules", function()
  local constructors = {
    "{ x = a }", "{ x = a, }", "{ x = a; y = { z = b, f(a), f(b) }, w = 1 }", "{ n = select('#', ...), ... }", "{ x = a, f(a, b) }",
    "{ x = function(p) local q, r = p, 2 if q then return q, r end end, y = b }", "{ [a] = b, x = a == b, a == b }",
    "{ x = true, y = false, z = nil, v = -1, w = 'x' }", "{ x = a and { y = b } or nil, y = not a, z = #a }", "{ x = (a):sub(1):upper() }",
    "{ x = f { y = a }, y = f 'z' }", "{ x = nil, y = a or nil, z = b and nil }",
  }
  for _, text in ipairs(constructors) do
    it("lets a constructor make what it made: " .. text, function()
      local function f(...) return ... end
      local before, after = value_of(text)("one", "two", f), assert(loadstring(rewrite("local a, b, f = ... return " .. text)))("one", "two", f)
      local function plain(value)
        local copy = {}
        for key, field in pairs(value) do
          copy[key] = type(field) == "function" and { field(1) } or type(field) == "table" and plain(field) or field
        end
        return copy
      end
      assert.same(plain(before), plain(after))
    end)
  end

  it("makes room for the fields that are set afterwards, which bytecode else loses", function()
    local text = "local a = ... return { x = a, y = 1, z = a + 1 }"
    assert.same({ { y = 1 } }, templates_of(text))
    assert.same({ { x = false, y = 1, z = false } }, templates_of(rewrite(text)))
  end)

  it("leaves a text that is no Lua alone, for the compiler to say what is wrong", function()
    for _, text in ipairs { "return 'open\n", "return { x = a", "local t = x)", "return [[", "f(" } do
      assert.equal(text, rewrite(text))
    end
  end)

  it("leaves the constants of all modules as they are, and each line where it is", function()
    local fields = 0
    for path in io.popen "find lua -name '*.lua'":lines() do
      local file = assert(io.open(path))
      local text = file:read "*a"
      file:close()
      local rewritten = rewrite(text)
      assert.equal(select(2, text:gsub("\n", "")), select(2, rewritten:gsub("\n", "")), path)
      local before, after = add_templates({}, assert(loadstring(text))), add_templates({}, assert(loadstring(rewritten)))
      assert.equal(#before, #after, path)
      for k, template in ipairs(before) do
        for key, value in pairs(template) do assert.equal(value, after[k][key], path .. ": " .. tostring(key)) end
        for key, value in pairs(after[k]) do
          if template[key] == nil then
            assert.is_false(value, path .. ": " .. tostring(key))
            fields = fields + 1
          end
        end
      end
    end
    assert.truthy(fields > 1000, fields .. " fields")
  end)
end)
