--- Words in a large text, a task a block of whole lines, counted over bytes by FFI: beside C over a mapped file on two
--- threads, one LuaJIT thread over a mapped file, GNU parallel with mawk, and Python's Pool over pieces of a mapped
--- file. All counts must be the same.
local bit = require "bit"
local measure = require "measure"
local parlua = require "parlua"

local BLOCK_BYTES = 2 ^ 20

--- Words end at bytes up to the space. No branch: whether a byte begins a word can't be foreseen.
local function count_words(bytes, length)
  local band, bxor, rshift = bit.band, bit.bxor, bit.rshift
  local p = require("ffi").cast("const uint8_t *", bytes)
  local words, inside = 0, 0
  for i = 0, length - 1 do
    local is_letter = rshift(32 - p[i], 31)
    words = words + band(is_letter, bxor(inside, 1))
    inside = is_letter
  end
  return words
end

local function sum_of(results)
  local sum = 0
  for i = 1, results.n do sum = sum + results[i] end
  return sum
end

--- A side that a shell command is: it prints the count.
local function shell_side(name, command)
  return { name = name, run = measure.timed(function() return tonumber(measure.shell(command)) end) }
end

return function()
  local path, size = measure.text(measure.size(500e6, 5e6))
  local function side(engine)
    return { name = engine, warm = true, run = measure.timed(function()
      local blocks = parlua.blocks(path, { raw = true, size = BLOCK_BYTES })
      return sum_of(parlua.map(count_words, blocks, { engine = engine, workers = measure.workers }))
    end) }
  end
  local bytes, length = measure.map_file(path)
  local got = measure.compare {
    side "threads", side "process",
    measure.c { name = "C", program = "words", words = { path, measure.workers } },
    { name = "one", warm = true, run = measure.timed(function() return count_words(bytes, length) end) },
    shell_side("mawk", ([[parallel --will-cite -j %d --pipe-part -a '%s' --block %d \
      "mawk '{ n += NF } END { print n }'" | mawk '{ n += $1 } END { printf "%%d", n }']]):format(
      measure.workers, path, measure.size(32e6, 1e6))),
    measure.python { name = "Pool", call = "words", words = { path },
                     chunks = measure.quick and { 1e6 } or { 1000000, 8000000 } },
  }
  local function row(engine, what, rival, theirs, within)
    return measure.row { what = what, ours = got[engine].seconds * 1e3, unit = "ms", rival = rival,
                         theirs = got[theirs].seconds * 1e3, within = within }
  end
  return {
    row("threads", ("words in %.0f MB, blocks by FFI, threads"):format(size / 1e6), "C, mapped, 2 threads", "C", 1.5),
    row("process", "the same, process engine, fork included", "C, mapped, 2 threads", "C", 1.5),
    row("process", "", "one LuaJIT thread, mapped", "one"),
    row("process", "", "GNU parallel, mawk", "mawk"),
    row("process", "", got.Pool.note:gsub("^Pool", "Pool, split()"), "Pool"),
  }
end
