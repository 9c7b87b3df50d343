-- Files that are given as scripts and are none, or look odd.

local helper = require "spec.helper"

local bom = "\239\187\191"
local job = "return { map = function(x) return x end, arguments = { 1 } }"

describe("as a script", function()
  local directory

  setup(function()
    directory = helper.new_directory()
    helper.write(directory .. "/good.lua", job)
    for arguments, name in pairs { ["-b"] = "whole.bc", ["-bs"] = "stripped.bc" } do
      helper.run_parlua(arguments .. " good.lua " .. name, { directory = directory })
    end
    helper.write(directory .. "/cut.bc", helper.read(directory .. "/whole.bc"):sub(1, 40))
    os.execute("ln -s loop " .. directory .. "/loop")
  end)
  teardown(function() helper.remove(directory) end)

  --- Runs a file of the directory, written first when its text is given, on each engine.
  local function run(name, text)
    if text then helper.write(directory .. "/" .. name, text) end
    local results = {}
    for _, engine in ipairs(helper.engines) do
      results[#results + 1] = helper.run_parlua("--engine " .. engine .. " -n 2 " .. name, { directory = directory })
    end
    return results
  end

  for name, text in pairs {
    ["a file with a byte order mark"] = bom .. job,
    ["a file with a byte order mark and a first line for the kernel"] = bom .. "#!/usr/bin/env parlua\n" .. job,
    ["a file with CRLF at its lines' ends"] = "#!/usr/bin/env parlua\r\n" .. job:gsub(" ", "\r\n"),
    ["bytecode"] = false, ["bytecode without debug information"] = false,
  } do
    it(name .. " runs as any other", function()
      for _, result in ipairs(run(text and "odd.lua" or name == "bytecode" and "whole.bc" or "stripped.bc", text)) do
        assert.equal('{"index":1,"args":[1],"result":1}\n', result.stdout, result.stderr)
        assert.equal(0, result.status)
      end
    end)
  end

  for what, case in pairs {
    ["what ends in the middle"] = { "half.lua", job:sub(1, -3), "half%.lua:1: .*'}' expected near '<eof>'" },
    ["bytecode that was cut off"] = { "cut.bc", nil, "cut%.bc: cannot load malformed bytecode" },
    ["bytecode of another Lua"] = { "other.bc", "\27LuaQ\0\1\4\8", "other%.bc: cannot load incompatible bytecode" },
    ["text in UTF-16"] = { "wide.lua", "\255\254r\0e\0", "wide%.lua:1: " },
    ["a directory"] = { ".", nil, "cannot read %.: Is a directory" },
    ["a file that is missing"] = { "missing.lua", nil, "cannot open missing%.lua: No such file or directory" },
    ["a link to itself"] = { "loop", nil, "cannot open loop: Too many levels of symbolic links" },
    ["a device without end"] = { "/dev/zero", nil, "/dev/zero:1: unexpected symbol" },
  } do
    it(what .. " is an error, exit status 2", function()
      for _, result in ipairs(run(case[1], case[2])) do
        assert.equal("", result.stdout)
        assert.truthy(result.stderr:find("^parlua: " .. case[3]), result.stderr)
        assert.equal(2, result.status)
      end
    end)
  end

  it("an empty file and an empty device do nothing", function()
    for _, name in ipairs { "empty.lua", "/dev/null" } do
      for _, result in ipairs(run(name, name == "empty.lua" and "" or nil)) do
        assert.same({ "", "", 0 }, { result.stdout, result.stderr, result.status })
      end
    end
  end)
end)
