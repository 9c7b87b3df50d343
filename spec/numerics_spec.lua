--- docs/NUMERICS.md: each program runs as it stands there, on every engine, where its library is installed.
local ffi = require "ffi"
local helper = require "spec.helper"

--- Programs and what they print, by name.
local function read_programs()
  local programs, outputs, lines, name, kind = {}, {}, nil, nil, nil
  for line in helper.read("docs/NUMERICS.md"):gmatch "(.-)\n" do
    local form, of = line:match "^```(%a+) ([%w]+)$"
    if form then
      kind, name, lines = form, of, {}
    elseif line == "```" then
      (kind == "lua" and programs or outputs)[name] = table.concat(lines, "\n") .. "\n"
      lines = nil
    elseif lines then
      lines[#lines + 1] = line
    end
  end
  return programs, outputs
end

describe("docs/NUMERICS.md", function()
  local programs, outputs = read_programs()

  it("has a program for each library", function()
    for _, name in ipairs { "openblas", "lapacke", "fftw", "hdf5" } do assert.truthy(programs[name] and outputs[name], name) end
  end)

  for name, text in pairs(programs) do
    helper.for_each_engine(function(engine)
      it("does what it says with " .. name, function()
        local library = text:match 'ffi%.load "([^"]+)"'
        if not pcall(ffi.load, library) then return pending("there is no " .. library) end
        helper.with_directory(function(directory)
          helper.write(directory .. "/program.lua", text)
          local result = helper.run(helper.command(engine) .. " -n 2 program.lua", { directory = directory })
          assert.same({ outputs[name], "", 0 }, { result.stdout, result.stderr, result.status })
        end)
      end)
    end)
  end
end)

describe("libraries that start threads", function()
  local script = [[
    local ffi, parlua = require "ffi", require "parlua"
    local function shown() return os.getenv "OPENBLAS_NUM_THREADS" .. os.getenv "OMP_NUM_THREADS" end
    local results = parlua.map(shown, { 1 })
    ffi.load "m"
    print(results[1], shown())
  ]]

  helper.for_each_engine(function(engine)
    it("are told to start one in each worker, unless the user has said how many", function()
      helper.with_directory(function(directory)
        helper.write(directory .. "/script.lua", engine == "serial" and script:gsub("(local results)", 'ffi.load "m" %1') or script)
        local command = ("%s --engine %s %s/script.lua"):format(helper.quote(helper.parlua), engine, directory)
        assert.equal("11\t11\n", helper.run(command).stdout)
        assert.equal("13\t13\n", helper.run(command, { env = { OMP_NUM_THREADS = "3" } }).stdout)
      end)
    end)
  end, helper.one_host)
end)
