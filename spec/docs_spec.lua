--- make docs: the pages and the reference of the interface as HTML.
local helper = require "spec.helper"
local lfs = require "lfs"

local function has(program) return os.execute("command -v " .. program .. " > /dev/null") == 0 end
local has_tools = has "ldoc" and has "cmark-gfm"
if not has_tools then print "spec/docs_spec.lua: ldoc or cmark-gfm is not installed; make docs is not run" end

if has_tools then
  describe("make docs", function()
    local folder = "build/html/"

    setup(function()
      local result = helper.run "env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make docs"
      assert.equal(0, result.status, result.stderr)
      assert.truthy(result.stdout:find "build/html/index.html\n$", result.stdout)
    end)

    it("makes a page of each page, with links that lead somewhere", function()
      local pages = 0
      for name in lfs.dir "docs" do
        local page = name:match "^(.*)%.md$"
        if page then
          pages = pages + 1
          assert.truthy(lfs.attributes(folder .. page .. ".html"), name)
        end
      end
      assert.is_true(pages > 20)
      for name in lfs.dir(folder) do
        if name:find "%.html$" then
          local text = helper.read(folder .. name)
          for target in text:gmatch '[ha][rs][ec]f?="([^"#]+)' do
            if not target:find "^https?:" then assert.truthy(lfs.attributes(folder .. target), name .. ": " .. target) end
          end
          for anchor in text:gmatch 'href="#([^"]+)"' do
            assert.truthy(text:find('id="' .. anchor .. '"', 1, true), name .. ": #" .. anchor)
          end
        end
      end
    end)

    it("has each function, its parameters and each option in the reference", function()
      local reference = helper.read(folder .. "reference/index.html")
      for name, value in pairs(require "parlua") do
        if type(value) == "function" and not name:find "^_" then
          assert.truthy(reference:find('<a href="#' .. name .. '">', 1, true), name)
        end
      end
      assert.truthy(reference:find "map%(f, arguments%[, options%]%)", "the parameters of map")
      for _, spec in ipairs(require("parlua.options").specs) do
        if spec.name and spec.help and not spec.command_only then
          assert.truthy(reference:find(">" .. spec.name .. "<", 1, true), spec.name)
        end
      end
    end)
  end)
end
