--- The progress bar on a real terminal.
local helper = require "spec.helper"
local terminal = require "spec.terminal"

describe("the bar on a terminal", function()
  for _, engine in ipairs(helper.engines) do
    it("is the outer call's alone, whatever tasks call themselves: " .. engine, function()
      local script = [[
        local parlua = require "parlua"
        parlua.each(function(i)
          parlua.each(function(k)
            if k == 7 then
              io.open("inside" .. i, "w"):close()
              local file repeat file = io.open "go" until file
              file:close()
            end
          end, parlua.range(77))
        end, parlua.range(5), { workers = 1, chunk = 1 })
        print "all done"
      ]]
      terminal.with_prompt({ files = { ["nested.lua"] = script }, is_busy = true,
        command = helper.quote(helper.parlua) .. " --engine " .. engine .. " nested.lua" }, function(t)
        t:wait_for_file("inside1")
        -- a task of serial holds the script up, and then nothing is drawn
        if engine ~= "serial" then assert.is_nil(t:wait("0/5"):find("/77", 1, true)) end
        helper.write(t.directory .. "/go", "")
        assert.equal("all done\n[status 0]\n", t:wait("[status"))
      end)
    end)
  end

  it("is one line in a window of any width, and goes with its run", function()
    local script = [[
      local parlua = require "parlua"
      for run = 1, 2 do
        parlua.each(function(i)
          while i >= 20 and not io.open("go" .. run) do os.execute "sleep 0.02" end
        end, parlua.range(77), { workers = 1, chunk = 1 })
        print("run " .. run)
      end
    ]]
    terminal.with_prompt({ files = { ["runs.lua"] = script }, is_busy = true, command = helper.quote(helper.parlua) .. " runs.lua" },
      function(t)
        --- What is to be seen. (What a narrower window moved out of it at the top is tmux's business.)
        local function screen()
          return (t:tmux("capture-pane -p -t main"):gsub("[ ]+\n", "\n"):gsub("\n+$", "\n"))
        end
        --- Waits until the screen has these lines, the bar's last and within so many columns.
        local function shows(before, columns)
          t:wait_for(function()
            local text = screen()
            local rest = text:sub(1, #before) == before and text:sub(#before + 1):gsub("\n+$", "")
            local bar = rest and rest:find("19/77", 1, true) and not rest:find "\n" and rest:gsub("[\128-\191]", "")
            return bar and #bar <= columns and (columns < 60 or #bar > 40)
          end)
        end
        shows("", 80)
        t:tmux "resize-window -t main -x 40"
        shows("", 40)
        t:tmux "resize-window -t main -x 100"
        shows("", 100)
        helper.write(t.directory .. "/go1", "")
        shows("run 1\n", 100)
        helper.write(t.directory .. "/go2", "")
        t:wait "[status"
        assert.equal("run 1\nrun 2\n[status 0]\n", screen())
      end)
  end)
end)
