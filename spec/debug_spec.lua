local helper = require "spec.helper"
local terminal = require "spec.terminal"

local script = [[
local parlua = require "parlua"
local limit = 3
local function check(x)
  local doubled = x * 2
  local nothing
  if doubled > limit then error("too large", 0) end
  return doubled
end
local ok, failure = pcall(parlua.map, function(i)
  local before = i + 0.5
  return check(i) + before
end, parlua.range(5), { engine = "threads", workers = 2, timeout = 100, retries = 3 })
print(ok, failure and failure.message, failure and failure.index)
]]

describe("--debug", function()
  --- Runs the script without a terminal.
  local function run(text, typed, options)
    return helper.with_directory(function(directory)
      local path = helper.write(directory .. "/script.lua", text)
      local input = helper.write(directory .. "/typed", typed)
      local command = ("%s --debug %s %s"):format(helper.parlua, options or "", path)
      return helper.run(("HOME=%s %s < %s"):format(directory, command, input))
    end)
  end

  it("runs serially and stops at the first task that fails, with its own traceback", function()
    local result = run(script, "")
    assert.equal("false\ttoo large\t2\n", result.stdout, result.stderr)
    assert.equal("", result.stderr)
  end)

  it("only shows tracebacks where another engine is named", function()
    local result = run([[
      local results, failures, summary = require("parlua").map(function(i) error("no", 0) end, { 1, 2 }, { workers = 1 })
      print(#failures, summary.engine)]], "", "--engine process")
    assert.equal("2\tprocess\n", result.stdout, result.stderr)
  end)

  describe("on a terminal opens a prompt where the task failed", function()
    --- Types lines at the prompt of a failing script, then Ctrl-D. Returns all that is on the terminal then.
    local function said(typed, text)
      local shown
      helper.with_directory(function(directory)
        local path = helper.write(directory .. "/script.lua", text or script)
        local command = ("%s --debug %s"):format(helper.parlua, path)
        terminal.with_prompt({ command = command, columns = 120, rows = 100 }, function(t)
          for line in typed:gmatch("[^\n]+") do
            local shown_line = "> " .. line:gsub("%p", "%%%0") .. "\n"
            local _, before = t:text():gsub(shown_line, "")
            t:type(line)
            t:press("Enter")
            t:wait_for(function(screen) -- the answer to this one, and a prompt behind it
              return select(2, screen:gsub(shown_line, "")) > before and screen:find "\ndebug> *\n$"
            end)
          end
          t:press("C-d")
          shown = t:wait("[status ")
        end)
      end)
      return shown
    end

    it("with the function's variables, upvalues and globals", function()
      local text = said("doubled + limit\nnothing == nil\ntype(print)\ndoubled = 10\ndoubled * doubled\n")
      assert.truthy(text:find("task 2 failed: too large", 1, true), text)
      assert.truthy(text:find("\n7\n", 1, true), text)
      assert.truthy(text:find("\ntrue\n", 1, true), text)
      assert.truthy(text:find('\n"function"\n', 1, true), text)
      assert.truthy(text:find("\n100\n", 1, true), text)
      assert.truthy(text:find("false   too large       2", 1, true), text)
    end)

    it("and those of the functions that called it", function()
      local text = said("before\nframe(2)\nbefore\nframe()\nframe(9)\n")
      assert.truthy(text:find("> before\nnil\n", 1, true), text)
      assert.truthy(text:find("> before\n2.5\n", 1, true), text)
      assert.truthy(text:find("* 2 [^\n]*script.lua:11: the task's function\n"), text)
      assert.truthy(text:find("there are frames 1 to 2", 1, true), text)
    end)

    it("also in a deep recursion", function()
      local text = said("depth\nframe(40)\n", [[
        local function deeper(depth) if depth == 1000 then error("deep") end return 1 + deeper(depth + 1) end
        print(pcall(require("parlua").map, deeper, { 1 }))]])
      assert.truthy(text:find("> depth\n1000\n", 1, true), text)
      assert.truthy(text:find("depth = 961\n", 1, true), text)
    end)
  end)
end)
