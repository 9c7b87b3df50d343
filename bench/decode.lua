--- Decoding alone: blocks of packed numbers into a table of the right size. Beside a plain copy loop.
local ffi = require "ffi"
local measure = require "measure"
local block = require "parlua.wire.block"
local Driver = require "parlua.drive.driver"
local list = require "parlua.sink.list"
local new_table = require "table.new"

local C = ffi.C

return function()
  local count = (C.BLOCK_BYTES - C.BLOCK_HEAD) / 8
  local blocks = measure.size(1000, 10)
  local memory = ffi.new("uint64_t[?]", C.BLOCK_BYTES / 8)
  local out = ffi.cast(block.pointer, memory)
  local words = out.word
  for k = 0, count - 1 do words[k] = k end
  local results = new_table(blocks * count, 0)

  local function last() return results[blocks * count] end
  --- Through the driver and the list of map, as results come.
  local driver = Driver.new { event = ffi.new "struct event" }
  local event = driver.event
  local sink = { run = { total = blocks * count }, results = results, take = list.List.take, fail = error }
  function sink:failed() return error(self) end
  event.block, event.count = ffi.cast(block.pointer, memory), count
  event.block.count, event.block.size, event.block.floor = count, C.BLOCK_BYTES, C.BLOCK_BYTES

  local got = measure.compare {
    { name = "ours", warm = true, run = measure.timed(function()
      for b = 0, blocks - 1 do
        event.first = b * count + 1
        driver:results(sink, event)
      end
      return last()
    end) },
    { name = "plain", warm = true, run = measure.timed(function()
      for b = 0, blocks - 1 do
        local first = b * count + 1
        for k = 0, count - 1 do results[first + k] = words[k] end
      end
      return last()
    end) },
  }
  local function nanoseconds(name) return got[name].seconds / (blocks * count) * 1e9 end
  return {
    measure.row { what = "decoding packed numbers into a table, each", ours = nanoseconds("ours"), unit = "ns",
                  rival = "plain loop", theirs = nanoseconds("plain") },
  }
end
