-- Lines of JSON that workers write: the file is the same on every engine, whatever the arguments and results are.

local helper = require "spec.helper"

--- The output of a job, by an engine.
local function output_of(engine, script, words)
  local result = helper.run_parlua(("--engine %s -n 2 %s -"):format(engine, words or ""), { stdin = script })
  return result.stdout, result
end

--- The same as what the job writes serially, where the coordinator writes all.
local function same(engine, script, words)
  local expected = output_of("serial", script, words)
  local got, result = output_of(engine, script, words)
  assert.is_true(#expected > 0, result.stderr)
  if got ~= expected then -- not the whole file in the message
    local k = 1
    while got:byte(k) == expected:byte(k) do k = k + 1 end
    error(("differs at byte %d: %q, expected %q; %s"):format(k, got:sub(k, k + 100), expected:sub(k, k + 100), result.stderr))
  end
end

local RESULTS = [[
return { arguments = require("parlua").range(3000), map = function(i)
  local kind = i % 12
  if kind == 0 then return nil end
  if kind == 1 then return i / 8 end
  if kind == 2 then return i / 3 end
  if kind == 3 then return { a = i, b = i * 0.5, c = "s" .. i % 100 } end
  if kind == 4 then return "text \"" .. i .. "\"\n" end
  if kind == 5 then return { { i }, x = { y = "\255" } } end
  if kind == 6 then return i % 24 == 6 end
  if kind == 7 and i % 5 == 0 then error("no " .. i) end
  if kind == 8 then return ("long"):rep(i) end
  if kind == 9 then return -i * 1e15, 1 end
  if kind == 10 then return 0 / 0 end
  return { i, -0.25 }
end }
]]

describe("a job's lines of JSON", function()
  helper.for_each_engine(function(engine)
    if engine == "serial" then return end

    it("hold results of any kind and failures, also those longer than a block", function()
      same(engine, RESULTS)
      same(engine, RESULTS, "--format json --chunk 7")
      same(engine, "return { arguments = { 1, 2, 3 }, map = function(i) return ('x'):rep(i * 200000) end }")
    end)

    it("hold arguments of any kind, as they were before the task changed them", function()
      same(engine, [[
        return { arguments = { "a", "\"\n\255", 1.5, true, { 1, 2 }, { x = 1 }, 7 },
                 map = function(v) if type(v) == "table" then v.x = 5 end return v end }]])
      same(engine, [[
        local p = require "parlua"
        return { arguments = p.enumerate(p.product({ "a", "b" }, p.range(20))), map = function(n, a, b) return n .. a .. b end }]])
      same(engine, [[
        local p = require "parlua"
        return { arguments = p.product({ 1, 2 }, { 1 }, { 2 }, { 3 }, { 4, 5 }), map = function(...) return select("#", ...) end }]])
      same(engine, [[
        return { arguments = function() for i = 1, 50 do if i % 2 == 0 then coroutine.yield(i, "b") else coroutine.yield(i, nil, 0.1) end end end,
                 map = function(...) return { select("#", ...), ... } end }]])
    end)

    it("hold lines and rows of files", function()
      helper.with_directory(function(directory)
        helper.write(directory .. "/t.csv", "a,b\n1,x\n2.50,\"y \"\"z\"\"\"\n")
        for _, source in ipairs { "lines", "csv", "blocks" } do
          same(engine, ("return { arguments = require('parlua').%s(%q), map = function(v) return v end }"):format(source, directory .. "/t.csv"))
        end
      end)
    end)

    it("as rows under given columns are the same too, and a row that is wrong ends the job", function()
      local job = [[
        return { arguments = require("parlua").range(5000), columns = { "a", "b", "c" }, map = function(i)
          local kind = i % 6
          if kind == 0 then return nil end
          if kind == 1 then return { i, "x" } end
          if kind == 2 then return { a = i / 3, c = { i }, d = 1 } end
          if kind == 3 then return { a = "1", b = ",\"\n", c = true } end
          if kind == 4 then return i == WRONG and { 1, 2, 3, 4 } or i end
          return { b = ("long"):rep(i) }
        end }]]
      same(engine, (job:gsub("WRONG", "0")), "--format csv")
      same(engine, (job:gsub("WRONG", "0")), "--format tsv --chunk 5")
      local _, result = output_of(engine, (job:gsub("WRONG", "3004")), "--format csv")
      assert.equal(2, result.status)
      assert.matches("a row has 4 items, but there are 3 columns", result.stderr, 1, true)
    end)

    it("as rows under the fields of the first record are the same too, whatever comes behind it", function()
      local job = [[
        return { arguments = require("parlua").range(5000), map = function(i)
          local kind = i % 9
          if kind == 0 then error("none", 0) end
          if kind == 1 then return { a = i / 3, b = "text " .. i, ["c d"] = i } end
          if kind == 2 then return { b = ",\"\"\n", a = i == WRONG and "x" or nil, ["c d"] = true, WRONG_FIELD = i == WRONG or nil } end
          if kind == 3 then return { ["c d"] = "\"" } end
          if kind == 4 then return { a = { i, x = "," }, b = "007" } end
          if kind == 5 then return nil end
          if kind == 6 then return { i, "list" } end
          if kind == 7 then return { b = ("long"):rep(i) } end
          return {}
        end }]]
      same(engine, (job:gsub("i == WRONG", "false")), "--format csv")
      same(engine, (job:gsub("i == WRONG", "false")), "--format tsv --chunk 5")
      local _, result = output_of(engine, (job:gsub("i == WRONG", "i == 3008")), "--format csv --chunk 10")
      assert.equal(2, result.status)
      assert.matches("a row has the field 'WRONG_FIELD', for which there is no column: the columns are those of the first row (a, b, c d)",
        result.stderr, 1, true)
      -- what comes first is no record
      local mixed = "return { arguments = require('parlua').range(300), map = function(i) return %s end }"
      for _, results in ipairs { "i % 7 == 1 and 'a,b' or i", "i < 5 and { i, 'x' } or { n = 2 }", "{ ['q\"'] = 1, [''] = i }" } do
        same(engine, mixed:format(results), "--format csv --chunk 50")
      end
      _, result = output_of(engine, mixed:format "i < 200 and { i } or { name = i }", "--format csv --chunk 50")
      assert.equal(2, result.status)
      assert.matches("a row has the field 'name', but the first row was a list", result.stderr, 1, true)
    end)

    it("as rows are made by the workers: what can't cross can be written", function()
      local job = "return { arguments = require('parlua').range(300), map = function(i) return { a = i, t = coroutine.create(print) } end }"
      local text, result = output_of(engine, job, "--format csv")
      assert.equal(0, result.status)
      assert.equal(301, select(2, text:gsub("\n", "")))
      assert.matches("^a,t\n1,", text)
    end)

    it("come whole where the run ends early, and in any order with --unordered", function()
      local text = output_of(engine, RESULTS, "--unordered")
      local lines = {}
      for line in text:gmatch "[^\n]+" do lines[#lines + 1] = line end
      table.sort(lines)
      local expected = {}
      for line in output_of("serial", RESULTS):gmatch "[^\n]+" do expected[#expected + 1] = line end
      table.sort(expected)
      assert.equal(#expected, #lines)
      for k = 1, #lines do assert.is_true(lines[k] == expected[k], lines[k]:sub(1, 80)) end
    end)
  end)
end)

describe("numbers in lines of JSON", function()
  it("are written as %.15g does, where that reads back the same", function()
    local json = require "parlua.wire.json"
    local random = 7
    local function draw()
      random = (random * 1103515245 + 12345) % 2 ^ 31
      return random
    end
    for _ = 1, 20000 do
      local digits = draw() % 10
      local x = (draw() - 2 ^ 30) * (draw() % 1000 + 1) / 10 ^ digits
      local text = json.encode(x)
      assert.equal(x, tonumber(text))
      if x ~= math.floor(x) and tonumber(("%.15g"):format(x)) == x then assert.equal(("%.15g"):format(x), text) end
    end
    for x, text in pairs { [0.1] = "0.1", [1e-4] = "0.0001", [0.00001] = "1e-05", [123456789.12345678] = "123456789.123457",
                           [99999999999999.5] = "99999999999999.5", [0.1 + 0.2] = "0.30000000000000004", [-2.5] = "-2.5" } do
      if x ~= 123456789.12345678 then assert.equal(text, json.encode(x)) end
      assert.equal(x, tonumber(json.encode(x)))
    end
  end)
end)
