-- Large arguments and results: memory is lent to workers and to ranks of the same host (src/sys/lent.h), used again, and sent where it
-- can't be mapped.

local helper = require "spec.helper"

describe("large values", function()
  -- PARLUA_MPI_APART: each rank counts as a host, and nothing is lent from rank to rank
  for _, variables in ipairs { "", "PARLUA_MPI_APART=1 " } do
    local where = variables == "" and "of one host" or "of several hosts"

    --- What a script prints on three ranks, each with a worker.
    local function output_of(script)
      local result = helper.run(variables .. helper.mpirun(3) .. " " .. helper.parlua .. " -n 3 -", { stdin = script })
      assert.equal(0, result.status, result.stderr)
      return result.stdout
    end

    it("come back as they were from ranks " .. where .. ", call after call, whatever their kind", function()
      assert.equal("18 18 18 18\n", output_of [[
        local parlua = require "parlua"
        local same = { 0, 0, 0, 0 }
        for round = 1, 3 do
          local strings, tables, both = {}, {}, {}
          for k = 1, 6 do
            strings[k] = (string.char(96 + k + round)):rep(3e6 + k * 1e5) .. k
            tables[k] = { name = ("t"):rep(3e6) .. k, list = { k, round } }
            both[k] = { strings[k], tables[k] }
          end
          local function keep(...) return ... end
          local back = parlua.map(keep, strings)
          local tables_back = parlua.map(keep, tables)
          local pairs_back = parlua.map(keep, both)
          local kept = parlua.map(function(s) if #s % 2 == 0 then return s end end, strings)
          for k = 1, 6 do
            local t, p = tables_back[k], pairs_back[k]
            same[1] = same[1] + (back[k] == strings[k] and 1 or 0)
            same[2] = same[2] + (t.name == tables[k].name and t.list[1] == k and t.list[2] == round and 1 or 0)
            same[3] = same[3] + (p[1] == strings[k] and p[2].name == tables[k].name and 1 or 0)
            same[4] = same[4] + (kept[k] == (#strings[k] % 2 == 0 and strings[k] or nil) and 1 or 0)
          end
        end
        print(table.concat(same, " "))
      ]])
    end)

    it("are there again for a task that is tried again after its worker has ended, on ranks " .. where, function()
      helper.with_directory(function(directory)
        assert.equal("12 12\n", output_of(([[
          local parlua = require "parlua"
          local strings = {}
          for k = 1, 12 do strings[k] = (string.char(96 + k)):rep(4e6) end
          local results = parlua.map(function(s)
            local name = %q .. "/" .. s:sub(1, 1)
            local file = io.open(name)
            if not file then
              io.open(name, "w"):close()
              if s:byte() %% 2 == 0 then os.exit(3) end
              error "the first time"
            end
            file:close()
            return s .. "!"
          end, strings, { retries = 2, chunk = 1 })
          local same = 0
          for k = 1, 12 do same = same + (results[k] == strings[k] .. "!" and 1 or 0) end
          print(results.n .. " " .. same)
        ]]):format(directory)))
      end)
    end)
  end

  helper.for_each_engine(function(engine)
    it("do not pile up in a worker that has done with them", function()
      local result = helper.run_parlua("--engine " .. engine .. " -n 1 -", { stdin = [[
        local parlua = require "parlua"
        local strings, most = {}, 0
        for k = 1, 20 do strings[k] = ("x"):rep(6e6) .. k end
        local used = parlua.map(function() return collectgarbage "count" end, strings, { chunk = 1 })
        local least = math.huge
        for k = 1, 20 do least, most = math.min(least, used[k]), math.max(most, used[k]) end
        print(most - least < 30000 or most - least)
      ]] })
      assert.equal("true\n", result.stdout, result.stderr)
    end)
  end, { "threads", "mpi" })
end)
