--- Words in a large text, a task a line, counted by a Lua pattern: beside parlua with one worker, and Python's `imap`
--- over the lines with its best chunk size.
local measure = require "measure"
local parlua = require "parlua"

local function words_of_line(line)
  local _, words = line:gsub("%S+", "")
  return words
end

local function sum_of(results)
  local sum = 0
  for i = 1, results.n do sum = sum + results[i] end
  return sum
end

return function()
  local path, size = measure.text(measure.size(500e6, 5e6))
  local function side(engine, workers)
    return { name = engine .. workers, run = measure.timed(function()
      return sum_of(parlua.map(words_of_line, parlua.lines(path), { engine = engine, workers = workers }))
    end) }
  end
  local got = measure.compare {
    side("threads", 2), side("threads", 1), side("process", 2), side("process", 1),
    measure.python { name = "imap", call = "lines", words = { path },
                     chunks = measure.quick and { 1000 } or { 1000, 10000 } },
  }
  local function row(what, ours, rival, theirs, ratio_at_least)
    return measure.row { what = what, ours = got[ours].seconds, unit = "s", rival = rival, theirs = got[theirs].seconds,
                         ratio_at_least = ratio_at_least }
  end
  local imap = got.imap.note
  return {
    row(("words in %.0f MB, a line a task, pattern, threads"):format(size / 1e6), "threads2", "one worker", "threads1",
        1.9),
    row("", "threads2", imap, "imap", 5),
    row("the same, process engine, fork included", "process2", "one worker", "process1", 1.9),
    row("", "process2", imap, "imap", 5),
  }
end
