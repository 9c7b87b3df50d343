local ffi = require "ffi"
local json = require "parlua.wire.json"
local new_buffer = require("string.buffer").new

local decode = require("cjson").decode

--- A list that holds itself `levels` deep.
local function nested(levels)
  local value = {}
  for _ = 2, levels do value = { value } end
  return value
end

describe("a value as JSON", function()
  local function is(text, value)
    assert.equal(text, json.encode(value))
  end

  it("writes nil, booleans, strings and numbers as JSON has them", function()
    is("null", nil)
    is("true", true)
    is("false", false)
    is('"word"', "word")
    is('""', "")
    is("42", 42)
    is("-1", -1)
    is("0.5", 0.5)
  end)

  it("writes integers up to 2^53 without exponent", function()
    is("100000000000000", 1e14)
    is("1000000000000000", 1e15)
    is("9007199254740992", 2 ^ 53)
    is("-9007199254740992", -2 ^ 53)
  end)

  it("writes other numbers with the fewest digits that give the same double", function()
    is("0.1", 0.1)
    is("0.30000000000000004", 0.1 + 0.2)
    is("1e+300", 1e300)
    for _, x in ipairs { 1 / 3, math.pi, 2 ^ 53 + 2, 5e-324, 1.7976931348623157e308, -2 ^ 0.5, 123456.789e-20 } do
      assert.equal(x, tonumber(json.encode(x)))
    end
  end)

  it("keeps the sign of a negative zero", function()
    is("-0.0", -0.0)
    is("0", 0)
  end)

  it("writes NaN and the infinities as $number", function()
    is('{"$number":"nan"}', 0 / 0)
    is('{"$number":"inf"}', 1 / 0)
    is('{"$number":"-inf"}', -1 / 0)
    is('[1,{"$number":"nan"}]', { 1, 0 / 0 })
  end)

  it("escapes what a JSON string can't hold", function()
    is([["a\"b\\c\n\r\t\b\f\u0000\u001f\u007f"]], 'a"b\\c\n\r\t\b\f\0\31\127')
    is([["é\u0000\n"]], "é\0\n")
  end)

  it("stays one line for readers that know the line ends of Unicode", function()
    is([["a\u2028b\u2029c\u0085d"]], "a\226\128\168b\226\128\169c\194\133d")
  end)

  it("writes UTF-8 as it is", function()
    is('"naïve 数 😀"', "naïve 数 😀")
  end)

  it("writes strings that are not valid UTF-8 as $bytes, in base64", function()
    is('{"$bytes":"/w=="}', "\255")
    is('{"$bytes":"YfA="}', "a\240")
    is('{"$bytes":"AID/"}', "\0\128\255")
    is('{"$bytes":"wIA="}', "\192\128")              -- overlong
    is('{"$bytes":"7aCA"}', "\237\160\128")          -- a surrogate
    is('{"$bytes":"9JCAgA=="}', "\244\144\128\128")  -- above U+10FFFF
    is('{"$bytes":"4oI="}', "\226\130")              -- cut short
  end)

  it("writes every byte string so that it can be read back", function()
    local digits = {}
    for i, d in ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"):gmatch "()(.)" do
      digits[d] = i - 1
    end
    local bytes = {}
    for i = 0, 255 do bytes[i + 1] = string.char(i) end
    for length = 250, 256 do
      local text = table.concat(bytes, "", 257 - length)
      local base64 = decode(json.encode(text))["$bytes"]
      local read = base64:gsub("....", function(group)
        local bits, padding = 0, select(2, group:gsub("=", ""))
        for d in group:gmatch "." do bits = bits * 64 + (digits[d] or 0) end
        return string.char(math.floor(bits / 65536), math.floor(bits / 256) % 256, bits % 256):sub(1, 3 - padding)
      end)
      assert.equal(text, read)
    end
  end)

  it("writes a table with the keys 1..n as an array, an empty one too", function()
    is("[]", {})
    is("[1,[2,3],[]]", { 1, { 2, 3 }, {} })
  end)

  it("writes a table with string keys as an object, in the order of its keys", function()
    is('{"a":1,"b":{"d":true},"c":[1]}', { c = { 1 }, a = 1, b = { d = true } })
    is('{"":1,"\\n":2,"ä":3}', { [""] = 1, ["\n"] = 2, ["ä"] = 3 })
  end)

  it("writes all other tables as the pairs of $table", function()
    is('{"$table":[[1,1],[3,3]]}', { 1, nil, 3 })
    is('{"$table":[[-1,"a"],[0,"b"],[0.5,"c"],[{"$number":"inf"},"d"]]}',
      { [-1] = "a", [0] = "b", [0.5] = "c", [1 / 0] = "d" })
    is('{"$table":[[1,1],[10,2],["a",3],["b",4],[false,5],[true,6]]}',
      { 1, [10] = 2, a = 3, b = 4, [false] = 5, [true] = 6 })
    is('{"$table":[[{"$bytes":"/w=="},1]]}', { ["\255"] = 1 })
    is('{"$table":[[[1,2],"list"],[{"$function":"print"},"f"]]}', { [print] = "f", [{ 1, 2 }] = "list" })
  end)

  it("never takes a script's own keys for its forms", function()
    is('{"$table":[["$number","nan"]]}', { ["$number"] = "nan" })
  end)

  it("writes equal tables equally, however they were made", function()
    local a, b = {}, {}
    for i = 1, 100 do a["key" .. i], b["key" .. 101 - i] = i, 101 - i end
    assert.equal(json.encode(a), json.encode(b))
  end)

  it("takes no notice of metatables", function()
    local function raise() error "touched" end
    local metatable = { __index = raise, __len = raise, __pairs = raise, __tostring = raise, __eq = raise }
    is('[{"a":1},[1]]', setmetatable({ setmetatable({ a = 1 }, metatable), setmetatable({ 1 }, metatable) }, metatable))
  end)

  it("points to where a table begins that holds itself", function()
    local list = { 1 }
    list[2] = list
    is('[1,{"$cycle":""}]', list)
    local tree = { children = { {}, { ["a/b~"] = {} } } }
    tree.children[2]["a/b~"].up = tree.children[2]
    tree.children[2]["a/b~"].here = tree.children[2]["a/b~"]
    is('{"children":[[],{"a/b~":{"here":{"$cycle":"/children/1/a~1b~0"},"up":{"$cycle":"/children/1"}}}]}', tree)
  end)

  it("points through $table too, and into the whole text when told where the value stands", function()
    local t = { 1, nil, { {} } }
    t[3][1].t, t[3][1].third = t, t[3]
    local buffer = new_buffer()
    json.put(buffer, t, "/result")
    assert.equal(
      '{"$table":[[1,1],[3,[{"t":{"$cycle":"/result"},"third":{"$cycle":"/result/$table/1/1"}}]]]}', buffer:tostring())
  end)

  it("ends for a table that is a key of itself", function()
    local t = {}
    t[t] = t
    is('{"$table":[[{"$cycle":""},{"$cycle":""}]]}', t)
    local a, b = {}, {}
    a[b], b[a] = 1, 2
    decode(json.encode(a))
  end)

  it("writes a shared table in full each time", function()
    local point = { x = 1 }
    is('{"a":{"x":1},"b":{"x":1},"c":[{"x":1}]}', { a = point, b = point, c = { point } })
  end)

  it("bounds what a web of shared tables grows to, and points to what was written", function()
    local web = { "end" }
    for _ = 1, 60 do web = { web, web } end
    local text = json.encode(web)
    assert.is_true(#text < 10e6)
    assert.truthy(text:find('{"$same":"/0/0', 1, true))
    decode(text)
  end)

  it("stops at a depth that readers can take", function()
    assert.equal(("["):rep(250) .. ("]"):rep(250), json.encode(nested(250)))
    assert.truthy(json.encode(nested(251)):find('[{"$deep":"table"}]', 1, true))
    assert.is_true(#json.encode(nested(100000)) < 1000)
    local sparse = 1
    for _ = 1, 200 do sparse = { [2] = sparse } end
    decode(json.encode(sparse))
  end)

  it("says of functions where they are from", function()
    local line = debug.getinfo(1, "l").currentline + 1
    local function here() end
    local text = json.encode(here)
    assert.truthy(text:find(("json_spec.lua:%d\"}"):format(line), 1, true), text)
    is('{"$function":"string.rep"}', string.rep)
    is('{"$function":"print"}', _G.print)
  end)

  it("says of other values what they are", function()
    is('{"$userdata":"FILE*"}', io.tmpfile())
    is('{"$userdata":"userdata"}', newproxy())
    is('{"$thread":"suspended"}', coroutine.create(function() end))
    is('{"$int64":"-9223372036854775808"}', ffi.new("int64_t", -2 ^ 63))
    is('{"$uint64":"18446744073709551615"}', -1ULL)
    is('{"$complex":[1,{"$number":"inf"}]}', ffi.new("complex", 1, 1 / 0))
    is('{"$cdata":"int [3]"}', ffi.new "int[3]")
    is('{"$cdata":"char *"}', ffi.new "char *")
    is("null", require("cjson").null)
  end)

  it("gives text that a JSON reader takes, on one line, for any value", function()
    local random = 7
    local function pick(n)
      random = random * 16807 % 2147483647
      return random % n + 1
    end
    local known = {}
    local makers = {
      function() return pick(1000) - 500 end,
      function() return pick(2 ^ 31) / pick(1000) end,
      function() return 0 / 0 end,
      function() return string.char(pick(256) - 1, pick(256) - 1, pick(128) - 1) end,
      function() return ("k"):rep(pick(4)) end,
      function() return pick(2) == 1 end,
      function() return print end,
      function() return 7LL end,
      function() return known[pick(#known + 1)] or "none" end,
    }
    local function make(depth)
      if depth == 0 or pick(3) == 1 then return makers[pick(#makers)]() end
      local t = {}
      known[#known + 1] = t
      for i = 1, pick(5) do
        local key = pick(2) == 1 and i or make(depth - 1)
        if key ~= nil and key == key then t[key] = make(depth - 1) end
      end
      return t
    end
    for _ = 1, 60 do
      known = {}
      local text = json.encode({ make(5) })
      assert.is_nil(text:find "[%c]")
      decode(text)
    end
  end)
end)

describe("a packed list as JSON", function()
  local function list_text(...)
    local buffer = new_buffer()
    json.put_list(buffer, ...)
    return buffer:tostring()
  end

  it("is an array with null for nil, to its last place", function()
    assert.equal("[]", list_text { n = 0 })
    assert.equal('[null,1,"a",null]', list_text { n = 4, nil, 1, "a", nil })
    assert.equal("[1,2]", list_text { 1, 2 })
    assert.equal("[1,null]", list_text({ 1 }, 2))
  end)

  it("points to the values in the whole text", function()
    local t = {}
    t.t = t
    assert.equal('[1,{"t":{"$cycle":"/args/1"}}]', list_text({ 1, t }, 2, "/args"))
  end)
end)
