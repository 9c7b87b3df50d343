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
end)
