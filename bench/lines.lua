--- Words in a large text, a task a line, counted by a Lua pattern: beside parlua with one worker, and Python's `imap`
--- over the lines with its best chunk size.
--- Then what `string.gsub` alone costs, on lines that are strings already, beside a loop over the same bytes.
local bit = require "bit"
local ffi = require "ffi"
local measure = require "measure"
local parlua = require "parlua"

local function words_of_line(line)
  local _, words = line:gsub("%S+", "")
  return words
end

local band, bxor, rshift = bit.band, bit.bxor, bit.rshift

--- Words of the bytes from..from + length - 1.
local function words_of_bytes(from, length)
  local words, inside = 0, 0
  for k = 0, length - 1 do
    local is_letter = rshift(32 - from[k], 31)
    words = words + band(is_letter, bxor(inside, 1))
    inside = is_letter
  end
  return words
end

--- Seconds that each way needs for the words of a part of the text, here.
local function alone(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read(measure.size(50e6, 1e6))
  file:close()
  local list = {}
  for line in text:gmatch "[^\n]+" do list[#list + 1] = line end
  return measure.compare {
    { name = "gsub", warm = true, run = measure.timed(function()
      local sum = 0
      for k = 1, #list do sum = sum + words_of_line(list[k]) end
      return sum
    end) },
    { name = "bytes", warm = true, run = measure.timed(function()
      return words_of_bytes(ffi.cast("const uint8_t *", text), #text)
    end) },
  }, #text
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
  local ways, bytes = alone(path)
  return {
    row(("words in %.0f MB, a line a task, pattern, threads"):format(size / 1e6), "threads2", "one worker", "threads1",
        1.9),
    row("", "threads2", imap, "imap", 5),
    row("the same, process engine, fork included", "process2", "one worker", "process1", 1.9),
    row("", "process2", imap, "imap", 5),
    measure.row { what = ("a loop over the bytes of %.0f MB, alone"):format(bytes / 1e6), ours = ways.bytes.seconds,
                  unit = "s", rival = "string.gsub alone", theirs = ways.gsub.seconds },
  }
end
