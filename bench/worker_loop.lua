--- The worker's loop alone: x * x over a range, with error capture, progress cell, limit, and results packed into
--- blocks. Beside a plain loop that stores the same numbers into an array, and one with a protected call around each
--- task.
local ffi = require "ffi"
local measure = require "measure"
local block = require "parlua.wire.block"
local sources = require "parlua.source"
local runner = require "parlua.worker.runner"

local C = ffi.C

--- Takes blocks of results and keeps nothing but the last number.
local function outlet_to_nowhere()
  local memory = ffi.new("uint64_t[?]", C.BLOCK_BYTES / 8)
  local outlet = { memory = memory, block = ffi.cast(block.pointer, memory) }
  outlet.half = ffi.cast(block.halves, outlet.block.word)

  function outlet.open(first, kind)
    local out = outlet.block
    out.first, out.size, out.floor, out.kind = first, C.BLOCK_BYTES, C.BLOCK_BYTES, kind
    return out
  end

  function outlet.close(_, count) outlet.last = outlet.block.word[count - 1] end

  return outlet
end

local function square(x) return x * x end

return function()
  local n = measure.size(1e8, 1e6)
  local outlet = outlet_to_nowhere()
  local run = runner.open({ f = square, source = sources.range(n), keep = "first" }, ffi.new("struct slot"), outlet)
  local chunk, limit = ffi.new("struct block", { first = 1, last = n, origin = 1 }), ffi.new("double[1]", n)
  local room = (C.BLOCK_BYTES - C.BLOCK_HEAD) / 8
  local words = ffi.new("double[?]", room)

  local got = measure.compare {
    { name = "ours", warm = true, run = measure.timed(function()
      run(chunk, limit)
      return outlet.last
    end) },
    { name = "plain", warm = true, run = measure.timed(function()
      for first = 1, n, room do
        for i = first, math.min(n, first + room - 1) do words[i - first] = square(i) end
      end
      return words[(n - 1) % room]
    end) },
    { name = "pcall", warm = true, run = measure.timed(function()
      for first = 1, n, room do
        for i = first, math.min(n, first + room - 1) do
          local _, value = pcall(square, i)
          words[i - first] = value
        end
      end
      return words[(n - 1) % room]
    end) },
  }
  local function nanoseconds(name) return got[name].seconds / n * 1e9 end
  return {
    measure.row { what = "worker loop, x*x over a range, a task", ours = nanoseconds("ours"), unit = "ns", at_most = 3,
                  rival = "plain loop", theirs = nanoseconds("plain") },
    measure.row { what = "", ours = nanoseconds("ours"), unit = "ns", rival = "plain loop with pcall",
                  theirs = nanoseconds("pcall") },
  }
end
