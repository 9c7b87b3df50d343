-- Every code block of README.md is run as it stands there. What the file follows:
--
--   ```lua    a whole script; if it begins with "-- name.lua" it is kept under that name for the blocks after it
--   ```sh     commands; those that only build or test (make ...) are checked to be targets of the Makefile
--   ```text   directly after either: what it prints, standard output and standard error together as on a terminal
--
-- Blocks run in one directory, in order, on every engine (those that name their engine: on that one; those with mpirun: on mpi). Times,
-- numbers of workers and the engine in a summary may differ from what is shown; all else is compared to the letter.

local helper = require "spec.helper"

local ffi = require "ffi"
local lfs = require "lfs"

ffi.cdef [[
int symlink(const char *target, const char *path);
]]

--- The blocks of the page, in order.
---@return { kind: string, line: integer, code: string, output?: string, name?: string }[]
local function read_blocks(text)
  local blocks, open, number, after = {}, nil, 0, nil
  for line in (text .. "\n"):gmatch "(.-)\n" do
    number = number + 1
    local kind = line:match "^```(%a*)$"
    if open and kind then
      local code = table.concat(open.lines)
      if open.kind == "text" then
        assert(after, ("README.md:%d: a text block must follow a lua or sh block"):format(open.line))
        assert(not after.output, ("README.md:%d: a second text block"):format(open.line))
        after.output = code
      else
        after = { kind = open.kind, line = open.line, code = code, name = code:match "^%-%- ([%w_]+%.lua)%f[^%w]" }
        blocks[#blocks + 1] = after
      end
      open = nil
    elseif kind then
      assert(kind == "lua" or kind == "sh" or kind == "text", ("README.md:%d: a block without a kind"):format(number))
      open = { kind = kind, line = number, lines = {} }
    elseif open then
      open.lines[#open.lines + 1] = line .. "\n"
    end
  end
  assert(not open, "README.md ends inside a block")
  return blocks
end

--- Takes out what differs from machine to machine and from run to run.
local function settled(text)
  return (text:gsub("%d+%.%d+ s%f[%A]", "N s"):gsub("%d+ ranks x ", ""):gsub("%d+ workers?%f[%A]", "N workers"):gsub(", %l+ engine,", ", E engine,")
    :gsub(' or engine = "mpi"', ""))
end

--- The same lines in the order of their bytes.
local function sorted(text)
  local lines = {}
  for line in text:gmatch "[^\n]*\n?" do lines[#lines + 1] = line end
  table.sort(lines)
  return table.concat(lines)
end

local has_mpi = os.execute("command -v mpirun > /dev/null") == 0
  and lfs.attributes(helper.parlua:gsub("[^/]*$", "") .. "parlua_mpi.so", "mode") == "file"
if not has_mpi then print("spec/readme_spec.lua: blocks with mpirun are not run, as mpirun or parlua_mpi.so is missing") end

describe("README.md", function()
  local text = helper.read "README.md"
  local blocks = read_blocks(text)

  it("shows scripts, jobs and commands with their output", function()
    local kinds = { lua = 0, sh = 0 }
    for _, block in ipairs(blocks) do kinds[block.kind] = kinds[block.kind] + 1 end
    assert.is_true(kinds.lua >= 8)
    assert.is_true(kinds.sh >= 3)
  end)

  it("leaves no script without showing what comes of it", function()
    for _, block in ipairs(blocks) do
      assert.truthy(block.output or block.name, ("README.md:%d"):format(block.line))
    end
  end)

  it("names targets that the Makefile has", function()
    local names = 0
    for target in text:gmatch "make ([%l]+)%f[%s`]" do
      names = names + 1
      if target ~= "git" then -- apt-get install make git
        local result = helper.run("env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make -n " .. target)
        assert.equal(0, result.status, "make " .. target .. ": " .. result.stderr)
      end
    end
    assert.is_true(names >= 5)
  end)

  it("names examples that exist", function()
    local names = 0
    for name in text:gmatch "examples/([%w_]+%.lua)" do
      names = names + 1
      assert.truthy(io.open("examples/" .. name), name)
    end
    assert.is_true(names > 0)
  end)

  it("has a row for each option, with its spelling and default", function()
    for _, spec in ipairs(require("parlua.options").specs) do
      local words = { spec.long, spec.short, spec.flags and spec.flags[1][1], (spec.help and not spec.command_only) and spec.name or nil }
      for _, word in pairs(words) do assert.truthy(text:find("`" .. word, 1, true), word) end
    end
  end)

  helper.for_each_engine(function(engine)
    local directory

    setup(function()
      directory = helper.new_directory()
      assert(os.execute("mkdir " .. helper.quote(directory .. "/bin")) == 0)
      if engine == "mpi" then
        helper.write(directory .. "/bin/parlua", "#!/bin/sh\n" .. helper.command(engine) .. " \"$@\"\n")
        assert(os.execute("chmod +x " .. helper.quote(directory .. "/bin/parlua")) == 0)
      else
        assert(ffi.C.symlink(helper.parlua, directory .. "/bin/parlua") == 0)
      end
    end)

    teardown(function() helper.remove(directory) end)

    local function run(command, uses_mpi)
      return helper.run("exec 2>&1\n" .. command, {
        directory = directory,
        env = {
          PARLUA_WARN = "",
          PATH = directory .. "/bin:" .. os.getenv("PATH"),
          PARLUA_ENGINE = uses_mpi and "auto" or engine,
          OMPI_ALLOW_RUN_AS_ROOT = "1",
          OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = "1",
          OMPI_MCA_rmaps_base_oversubscribe = "1",
        },
      })
    end

    for _, block in ipairs(blocks) do
      it(("does what line %d says"):format(block.line), function()
        local command = block.code
        if block.kind == "lua" then
          local name = block.name or "script.lua"
          helper.write(directory .. "/" .. name, block.code)
          command = "parlua " .. name
        end
        local uses_mpi = command:find "^mpirun"
        if not block.output or (uses_mpi and (not has_mpi or engine == "mpi")) then return end
        if engine == "mpi" and block.code:find("a:slice(i):fill(i)", 1, true) then return end -- read-only there, as the page says
        local expected, shown = settled(block.output), settled(run(command, uses_mpi).stdout)
        if engine == "mpi" or uses_mpi then -- mpirun passes standard output and standard error on each by itself
          expected, shown = sorted(expected), sorted(shown)
        end
        assert.equal(expected, shown)
      end)
    end
  end)
end)
