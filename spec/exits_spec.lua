-- Workers that are processes end by themselves: nothing that they share with the script, an open file above all, notices it.
local helper = require "spec.helper"

local engines = { "process", helper.has_mpi and "mpi" or nil }

describe("a task that ends its process", function()
  helper.for_each_engine(function(engine)
    --- Runs a script on the engine in a directory of its own; returns its result.
    local function run_script(text)
      return helper.with_directory(function(directory)
        helper.write(directory .. "/script.lua", "local parlua, ffi = require 'parlua', require 'ffi'\n" .. text)
        return helper.run_parlua(("--engine %s -n 2 script.lua"):format(engine), { directory = directory })
      end)
    end

    for name, leave in pairs {
      ["by os.exit"] = "os.exit(7)",
      ["by os.exit, closing its state"] = "os.exit(7, true)",
      ["by a function of C"] = "pcall(ffi.cdef, 'void exit(int);') ffi.C.exit(7)",
    } do
      it(name .. " moves no file that the script reads", function()
        local result = run_script([[
          local file = assert(io.open("numbers", "w"))
          for i = 1, 20000 do file:write(("%06d\n"):format(i)) end
          file:close()
          local read, last, count, wrong = io.lines("numbers"), 0, 0, 0
          local failures = parlua.each(function(line)
            local ffi = require "ffi"
            if tonumber(line) % 1000 == 5 then ]] .. leave .. [[ end
          end, function()
            local line = count < 30000 and read()
            if not line then return nil end
            count = count + 1
            if tonumber(line) ~= last + 1 then wrong = wrong + 1 end
            last = tonumber(line)
            return line
          end, { chunk = 10 })
          for _, failure in ipairs(failures) do assert(failure.message:find("status 7"), failure.message) end
          print(count, wrong, #failures)
        ]])
        assert.equal("20000\t0\t20\n", result.stdout, result.stderr)
      end)
    end

    it("keeps what it has printed and written", function()
      local result = run_script([[
        local _, failures = parlua.map(function(i)
          if i ~= 2 then return i end
          io.open("written", "w"):write("by the task\n")
          io.write("printed by the task\n")
          os.exit(3)
        end, parlua.range(3))
        print(#failures, failures[1].kind, failures[1].message)
        io.write(io.open("written"):read("*a"))
      ]])
      assert.equal("printed by the task\n1\tcrash\tthe worker exited with status 3\nby the task\n", result.stdout, result.stderr)
    end)

    it("finalizes nothing that is the script's", function()
      local result = run_script([[
        local exit = os.exit
        guard = newproxy(true)
        getmetatable(guard).__gc = function() io.stderr:write("finalized\n") end
        local _, failures = parlua.map(function(i)
          if i == 2 then exit(true, true) end
          return i
        end, parlua.range(3))
        print(#failures, failures[1].message)
      ]])
      assert.equal("1\tthe worker exited with status 0\n", result.stdout, result.stderr)
      assert.equal("finalized\n", result.stderr)
    end)
  end, engines)
end)

describe("a task that closes all descriptors", function()
  helper.for_each_engine(function(engine)
    it("finds in its own files what it has written", function()
      local result = helper.with_directory(function(directory)
        helper.write(directory .. "/script.lua", [[
          local parlua = require "parlua"
          -- slow enough for the script to sleep, and to be woken
          local results, failures = parlua.map(function(i)
            local ffi, now = require "ffi", require("parlua.host").now
            pcall(ffi.cdef, "int close(int);")
            for fd = 3, 1023 do ffi.C.close(fd) end
            files = files or {}
            for k = 1, 3 do
              local file = assert(io.open(("file%d.%d"):format(i, k), "w"))
              file:setvbuf("no")
              file:write("text\n")
              files[#files + 1] = file -- stays open when the task ends
            end
            local until_time = now() + 0.002
            while now() < until_time do end
            print("printed by task " .. i)
            return i
          end, parlua.range(40), { chunk = 1 })
          local right, wrong = 0, 0
          for i = 1, 40 do
            for k = 1, 3 do
              local file = io.open(("file%d.%d"):format(i, k))
              if file and file:read("*a") ~= "text\n" then wrong = wrong + 1 end
            end
            right = right + (results[i] == i and 1 or 0)
          end
          for _, failure in ipairs(failures) do assert(failure.kind == "crash", failure.message) end
          print(right + #failures, wrong)
        ]])
        return helper.run_parlua(("--engine %s -n 2 script.lua"):format(engine), { directory = directory })
      end)
      assert.equal("40\t0", result.stdout:match("([^\n]*)\n$"), result.stdout .. result.stderr)
    end)
  end, engines)
end)
