--- Records, strings and pairs as results: two workers, beside Python's `Pool.map` with its best chunk size, and beside one plain
--- loop that makes them. Then the same records as lines of JSON, written by a job to a file.
local measure = require "measure"
local parlua = require "parlua"

local kinds = {
  record = { what = "records of a number, a number and a short string", reach = 8, times = 5,
             f = function(i) return { a = i, b = i * 0.5, c = "s" .. i % 100 } end },
  string = { what = "strings of about 12 bytes", reach = 10, times = 2, f = function(i) return "text" .. 1e7 + i end },
  triple = { what = "{ i, x, y }", reach = 12, f = function(i) return { i, i * 0.5, i * 2 } end },
}

local function check(kind)
  return function(results)
    local last = results[results.n]
    if kind == "record" then return ("%d:%d:%.1f:%s"):format(results.n, last.a, last.b, last.c) end
    if kind == "string" then return ("%d:%s"):format(results.n, last) end
    return ("%d:%d:%.1f:%d"):format(results.n, last[1], last[2], last[3])
  end
end

local job_text = [[
return {
  arguments = require("parlua").range(%d),
  map = function(i) return { a = i, b = i * 0.5, c = "s" .. i %% 100 } end,
}
]]

--- A side that is a job in a process of its own, with its output in a file.
local function job_side(engine, n)
  local script = measure.scratch .. "/records-job.lua"
  local file = assert(io.open(script, "w"))
  file:write(job_text:format(n))
  file:close()
  local output = ("%s/records-%s.jsonl"):format(measure.scratch, engine)
  return { name = "job " .. engine, run = function()
    local seconds = measure.program_seconds { measure.parlua, "--engine", engine, "--workers", tostring(measure.workers), "--progress",
                                              "none", "-o", output, script }
    return seconds, (measure.shell(("cksum < '%s'"):format(output)):gsub("%s+", " "))
  end }
end

return function()
  local n = measure.size(1e6, 1e4)
  local rows = {}
  for _, kind in ipairs { "record", "string", "triple" } do
    local one, sides = kinds[kind], {}
    for k, engine in ipairs { "threads", "process" } do
      sides[k] = { name = engine, warm = true, run = measure.timed(function()
        return parlua.map(one.f, parlua.range(n), { engine = engine, workers = measure.workers }), check(kind)
      end) }
    end
    sides[3] = measure.python { name = "Pool.map", call = "map_" .. kind, words = { n },
                                chunks = measure.quick and { 1000 } or { 1000, 10000 } }
    sides[4] = measure.plain_loop(n, one.f, nil, check(kind))
    local got = measure.compare(sides)
    for _, engine in ipairs { "threads", "process" } do
      rows[#rows + 1] = measure.row { what = ("%s %s returned, %s"):format(measure.count(n), one.what, engine), unit = "M/s", more = true,
                                      ours = n / got[engine].seconds / 1e6, at_least = one.reach, ratio_at_least = one.times,
                                      rival = got["Pool.map"].note, theirs = n / got["Pool.map"].seconds / 1e6 }
      rows[#rows + 1] = measure.beside_loop(got, engine, n)
    end
  end
  local sides = {}
  for k, engine in ipairs { "threads", "process" } do
    sides[k] = { name = engine, warm = true, run = measure.timed(function()
      local sum = 0
      for _, a, b in parlua.imap(function(i) return i, -i end, parlua.range(n), { engine = engine, workers = measure.workers }) do
        sum = sum + a - b
      end
      return sum
    end) }
  end
  local got = measure.compare(sides)
  for _, engine in ipairs { "threads", "process" } do
    rows[#rows + 1] = measure.row { what = "two numbers a task through imap, " .. engine, unit = "M/s", more = true,
                                    ours = n / got[engine].seconds / 1e6, at_least = 20 }
  end
  got = measure.compare { job_side("threads", n), job_side("process", n) }
  for _, engine in ipairs { "threads", "process" } do
    rows[#rows + 1] = measure.row { what = "a job that writes such records as lines of JSON, " .. engine, unit = "M lines/s", more = true,
                                    ours = n / got["job " .. engine].seconds / 1e6, at_least = 2.5 }
  end
  return rows
end
