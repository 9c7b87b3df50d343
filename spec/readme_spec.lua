-- Every code block of README.md and of the pages in docs/ is run as it stands there. What these files follow:
--
--   ```lua    a whole script; if it begins with "-- name.lua" it is kept under that name for the blocks after it
--   ```sh     commands
--   ```text   directly after either: what it prints, standard output and standard error together as on a terminal
--
-- The blocks of a page run in one directory, in order, on every engine (those that name their engine: on that one; those with mpirun: on mpi).
-- Times, numbers of workers and the engine in a summary may differ from what is shown; all else is compared to the letter.
-- PAGES="docs/CALLS.md docs/JOBS.md" limits the pages.

local helper = require "spec.helper"

local ffi = require "ffi"
local lfs = require "lfs"

ffi.cdef [[
int symlink(const char *target, const char *path);
]]

--- Pages whose blocks are of another form, each run by a spec of its own.
local OTHER_FORM = { ["docs/COMMANDS.md"] = true, ["docs/NEW_ENGINE.md"] = true, ["docs/NUMERICS.md"] = true }

--- The pages: README.md, then those of docs/, by the alphabet.
---@return string[]
local function list_pages()
  local pages = { "README.md" }
  for name in lfs.dir "docs" do
    if name:find "%.md$" then pages[#pages + 1] = "docs/" .. name end
  end
  table.sort(pages, function(a, b) return (a == "README.md" and "" or a) < (b == "README.md" and "" or b) end)
  return pages
end

--- The blocks of a page, in order.
---@return { kind: string, line: integer, code: string, output?: string, name?: string }[]
local function read_blocks(page, text)
  local blocks, open, number, after = {}, nil, 0, nil
  local function check(holds, line, what) assert(holds, ("%s:%d: %s"):format(page, line, what)) end
  for line in (text .. "\n"):gmatch "(.-)\n" do
    number = number + 1
    local kind = line:match "^```(%a*)$"
    if open and kind then
      local code = table.concat(open.lines)
      if open.kind == "text" then
        check(after, open.line, "a text block must follow a lua or sh block")
        check(not after.output, open.line, "a second text block")
        after.output = code
      else
        after = { kind = open.kind, line = open.line, code = code, name = code:match "^%-%- ([%w_]+%.lua)%f[^%w]" }
        blocks[#blocks + 1] = after
      end
      open = nil
    elseif kind then
      check(kind == "lua" or kind == "sh" or kind == "text", number, "a block without a kind")
      open = { kind = kind, line = number, lines = {} }
    elseif open then
      open.lines[#open.lines + 1] = line .. "\n"
    end
  end
  check(not open, number, "the page ends inside a block")
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

local pages = list_pages()

--- The anchors that GitHub makes of a page's headings.
local function anchors_of(text)
  local anchors = {}
  for heading in ("\n" .. text):gmatch "\n#+ ([^\n]+)" do
    anchors[heading:lower():gsub("[^%w%- ]", ""):gsub(" ", "-")] = true
  end
  return anchors
end

describe("the documentation", function()
  local all = {}
  for _, page in ipairs(pages) do all[#all + 1] = helper.read(page) end
  local text = table.concat(all, "\n")

  it("names targets that the Makefile has", function()
    local found, targets = {}, {}
    for target in text:gsub("\n    make ", "\n`make "):gmatch "`make (%l[%l-]*)%f[%s`]" do
      if not found[target] then
        found[target] = true
        targets[#targets + 1] = target
      end
    end
    assert.is_true(#targets >= 15)
    local known = helper.read "Makefile"
    for _, target in ipairs(targets) do
      assert.truthy(("\n" .. known):find("\n" .. target:gsub("%-", "%%-") .. ":"), "make " .. target)
    end
  end)

  it("names examples that exist", function()
    local names = 0
    for name in text:gmatch "examples/([%w_]+%.lua)" do
      names = names + 1
      assert.truthy(lfs.attributes("examples/" .. name), name)
    end
    assert.is_true(names > 0)
  end)

  it("has links that lead somewhere", function()
    for number, page in ipairs(pages) do
      for target in all[number]:gsub("```.-\n```", ""):gmatch "%]%(([^)%s]+)%)" do
        local path, anchor = target:match "^([^#]*)#?(.*)$"
        if not target:find "^https?:" then
          local file = path == "" and page or page:match "^(.-)[^/]*$" .. path
          assert.truthy(lfs.attributes(file), page .. " has a link to " .. target)
          if anchor ~= "" then assert.is_true(anchors_of(helper.read(file))[anchor], page .. " has a link to " .. target) end
        end
      end
    end
  end)

  it("can be reached from README.md, every page of it", function()
    for _, page in ipairs(pages) do
      assert.truthy(page == "README.md" or all[1]:find("](" .. page .. ")", 1, true), page)
    end
  end)

  it("begins with an introduction of about 200 lines", function()
    local _, lines = all[1]:gsub("\n", "")
    assert.is_true(lines < 220, lines .. " lines")
  end)

  it("has a row for each option, with its spelling and default", function()
    for _, spec in ipairs(require("parlua.options").specs) do
      local words = { spec.long, spec.short, spec.flags and spec.flags[1][1], (spec.help and not spec.command_only) and spec.name or nil }
      for _, word in pairs(words) do assert.truthy(text:find("`" .. word, 1, true), word) end
    end
  end)
end)

local function run_blocks(page, blocks)
  it("leaves no script without showing what comes of it", function()
    for _, block in ipairs(blocks) do
      assert.truthy(block.output or block.name, ("%s:%d"):format(page, block.line))
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
        -- What names its engine is the same under each: once is enough.
        local names_engine = uses_mpi or block.code:find 'engine = "%l+"' or block.code:find "%-%-engine %l"
        if not block.output or uses_mpi and not has_mpi or names_engine and engine ~= helper.engines[1] then return end
        if engine == "mpi" and uses_mpi then return end -- mpirun can't start another
        if engine == "mpi" and block.code:find("a:slice(i):fill(i)", 1, true) then return end -- read-only there, as the page says
        local expected, shown = settled(block.output), settled(run(command, uses_mpi).stdout)
        if engine == "mpi" or uses_mpi then -- mpirun passes standard output and standard error on each by itself
          expected, shown = sorted(expected), sorted(shown)
        end
        assert.equal(expected, shown)
      end)
    end
  end)
end

local wanted = os.getenv "PAGES"
for _, page in ipairs(pages) do
  if not OTHER_FORM[page] and (not wanted or (" " .. wanted .. " "):find(" " .. page .. " ", 1, true)) then
    local blocks = read_blocks(page, helper.read(page))
    if #blocks > 0 then
      describe(page, function() run_blocks(page, blocks) end)
    end
  end
end
