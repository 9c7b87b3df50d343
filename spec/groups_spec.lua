-- parlua.group: groups that travel as bytes are the same, to the bit, as those that travel as tables.

local parlua = require "parlua"
local helper = require "spec.helper"

local function record(i)
  if i % 13 == 0 then return nil end
  return {
    k = i % 7 == 0 and i % 5 or i % 11 ~= 0 and "k" .. i % 100 or nil,
    x = i % 3 ~= 0 and (i * 37 % 101) / 7 or nil, y = i % 17 == 0 and 0 / 0 or -i,
  }
end

--- A value as a text, its numbers to the last bit.
local function dump(value)
  if type(value) == "number" then return ("%a"):format(value) end
  if type(value) ~= "table" then return tostring(value) end
  local parts = {}
  for key, of in pairs(value) do parts[#parts + 1] = type(key) .. " " .. tostring(key) .. " = " .. dump(of) end
  table.sort(parts)
  return "{ " .. table.concat(parts, ", ") .. " }"
end

--- The same reduction by functions of which nothing is known.
local function plain(reducer)
  return { init = reducer.init, step = reducer.step, merge = reducer.merge, finish = reducer.finish }
end

describe("groups", function()
  local several = {
    count = parlua.count, sum = parlua.sum "x", mean = parlua.mean "x", min = parlua.min "x", max = parlua.max "y",
    stats = parlua.stats "x", n = parlua.count "x",
  }
  local function key(row) return row.k end
  local reducers = {
    function() return parlua.group "k" end,
    function() return parlua.group("k", parlua.mean "x") end,
    function() return parlua.group(key, parlua.min "y") end,
    function() return parlua.group(key, parlua.stats "y") end,
    function() return parlua.group("k", several) end,
    function() return parlua.group("k", { list = parlua.collect "x", mean = parlua.mean "x" }) end,
    function() return parlua.group("k", parlua.group "x") end,
    function() return parlua.group("k", parlua.argmax "x") end,
  }

  helper.for_each_engine(function(engine)
    local with = helper.options(engine)

    it("of any reducers are what a fold by functions gives", function()
      for _, make in ipairs(reducers) do
        local expected = dump((parlua.reduce(record, parlua.range(2500), plain(make()), { engine = "serial" })))
        local reducer = make()
        for _ = 1, 2 do -- what is used again is as new
          assert.equal(expected, dump((parlua.reduce(record, parlua.range(2500), reducer, with()))))
        end
      end
    end)

    it("of sums that are no numbers stay what they are", function()
      local sums = parlua.reduce(function(i) return { k = i % 3, x = i * 1LL } end, parlua.range(3000), parlua.group("k", parlua.sum "x"), with())
      assert.equal("1501500LL", tostring(sums[0]))
    end)

    it("lack nothing but the tasks that failed", function()
      local groups, failures = parlua.reduce(function(i)
        if i == 1500 then error("no", 0) end
        return { k = i % 2, x = i }
      end, parlua.range(3000), parlua.group("k", { n = parlua.count, sum = parlua.sum "x" }), with())
      assert.equal(1, #failures)
      assert.same({ [0] = { n = 1499, sum = 3000 * 3002 / 4 - 1500 }, { n = 1500, sum = 1500 * 1500 } }, groups)
    end)
  end)

  it("that are damaged on their way are an error", function()
    local groups = require "parlua.worker.groups"
    local flat, spare = groups.list(2), { of = {} }
    local packed = groups.packer(flat, spare, { 0, 0 }) { a = { 1, 2 }, [7] = { 3, 4 } }
    local merge = groups.merger(flat, function(a) return a end)
    assert.same({ a = { 1, 2 }, [7] = { 3, 4 } }, merge({}, packed))
    assert.is_nil(merge({}, {}))
    for length = 0, #packed - 1 do
      local ok, message = pcall(merge, {}, packed:sub(1, length))
      assert.is_false(ok)
      assert.truthy(message:find("they are damaged", 1, true))
    end
  end)
end)
