local helper = require "spec.helper"
local parlua = require "parlua"

-- A task that writes through a wrong pointer can hit the memory in which its worker and the coordinator exchange messages (src/slot/layout.h). The
-- fuzz target fuzz/slot.c tries what can stand there; here a few of its kinds are written by tasks.

local ffi = require "ffi"
require "parlua.wire.block" -- declares what is in shared.h

local is_inside = require("parlua.task").is_inside

--- The slot of the worker that this runs in, and the block that it is filling. The cell with the task's index is the slot's first.
local function own_slot()
  local name, context = debug.getupvalue(is_inside, 1)
  assert(name == "context")
  local slot = ffi.cast("struct slot *", context.index)
  local blocks = ffi.cast("char *", slot) + 4096 + (ffi.C.CHANNEL_BLOCKS + slot.out.tail % ffi.C.CHANNEL_BLOCKS) * ffi.C.BLOCK_BYTES
  return slot, ffi.cast("struct block *", blocks)
end

--- The message with the tasks that the worker runs, or one of those behind it.
local function chunk_of(slot, behind)
  local blocks = ffi.cast("char *", slot) + 4096 + (slot["in"].head + (behind or 0)) % ffi.C.CHANNEL_BLOCKS * ffi.C.BLOCK_BYTES
  return ffi.cast("struct block *", blocks)
end

--- Each costs its task, and at most one more whose result was not read before.
local damages = {
  ["the counter of its results"] = function(slot) slot.out.tail = slot.out.tail + 1000 end,
  ["the counter of its messages"] = function(slot) slot["in"].head = slot["in"].head + 1000 end,
  ["the counter of messages to it"] = function(slot) slot["in"].tail = slot["in"].tail + 1000 end,
  ["the counter of its text"] = function(slot) slot.text_tail = slot.text_tail + 1e6 end,
  ["the kind of its block"] = function(_, block) block.kind = 77 end,
  ["the size of its block"] = function(_, block) block.size = 2 ^ 40 end,
  ["where values begin in its block"] = function(_, block) block.floor = 3 end,
  ["the tasks of its block"] = function(_, block) block.first = -1e300 end,
  ["what chunk its block belongs to"] = function(_, block) block.chunk = 12345 end,
  ["the number of its chunk"] = function(slot) chunk_of(slot).chunk = 12345 end,
  ["the kind of the chunk to come"] = function(slot) chunk_of(slot, 1).kind = 77 end,
  ["the tasks of the chunk to come"] = function(slot) chunk_of(slot, 1).first = 0 / 0 end,
}

describe("the coordinator survives a worker that overwrites", function()
  for what, damage in pairs(damages) do
    helper.for_each_engine(function(engine)
      it(what, function()
        local results, failures = parlua.map(function(i)
          if i == 5 then damage(own_slot()) end
          return i
        end, parlua.range(40), { engine = engine, workers = 2, chunk = 1, timeout = 20 })
        assert.equal(40, results.n)
        assert.is_true(#failures <= 2)
        local failed = {}
        for _, failure in ipairs(failures) do
          failed[failure.index] = true
          assert.equal("crash", failure.kind)
          assert.truthy(failure.message:find("overwritten memory", 1, true), failure.message)
        end
        for i = 1, 40 do assert.is_true(results[i] == i or failed[i] == true) end
      end)
    end, { "process", "mpi" })
  end

  helper.for_each_engine(function(engine)
    it("the task that it is in", function()
      for _, number in ipairs { 3.5, 0 / 0, -1, 1e300, 1 / 0 } do
        local ok, results, failures = pcall(parlua.map, function(i)
          if i == 5 then
            own_slot().current = number
            os.exit(1)
          end
          return i
        end, parlua.range(40), { engine = engine, workers = 2, chunk = 1 })
        if ok then -- it was seen in the task before
          assert.same({ 5, "crash" }, { failures[1].index, failures[1].kind })
        else -- no task is to blame, and again and again it ends its worker
          assert.truthy(results:find("they end as soon as they begin", 1, true), results)
        end
      end
    end)

    it("the kind of its block, where pairs are expected", function()
      local index, value, failures = parlua.find(function(i)
        if i == 5 then
          local _, block = own_slot()
          block.kind, block.count = ffi.C.BLOCK_DENSE, 1
        end
        return i == 30 and "hit"
      end, parlua.range(40), { engine = engine, workers = 2, chunk = 1 })
      assert.same({ 30, "hit" }, { index, value })
      assert.is_true(#failures >= 1 and #failures <= 2)
      for _, failure in ipairs(failures) do assert.truthy(failure.message:find("overwritten memory", 1, true), failure.message) end
    end)

    it("the task of a pair, with one that has a pair already", function()
      local failures = parlua.each(function(i)
        if i == 3 or i == 4 then error("number " .. i, 0) end
        if i ~= 6 then return end
        local _, block = own_slot()
        assert(block.count == 2 and block.word[0] == 3 and block.word[2] == 4)
        block.word[2] = 3
      end, parlua.range(10), { engine = engine, workers = 1, chunk = 10, retries = 0 })
      local seen = {}
      for _, failure in ipairs(failures) do
        assert.is_nil(seen[failure.index], "task " .. tostring(failure.index) .. " has failed twice")
        seen[failure.index] = failure
      end
      local is_noticed = false
      for _, failure in pairs(seen) do is_noticed = is_noticed or failure.message:find("overwritten memory", 1, true) ~= nil end
      assert.is_true(is_noticed)
    end)

    it("the task that it is in, with one whose result is known", function()
      local _, failures, summary = parlua.map(function(i)
        local slot, block = own_slot()
        local chunk = chunk_of(slot)
        if chunk.last - chunk.first >= 20 and i == chunk.last - 2 then
          os.execute("sleep 0.2") -- meanwhile the results before are taken, and the other worker comes to rest
          slot.current = block.first
          os.execute("sleep 0.1")
        end
        return i
      end, parlua.range(1000), { engine = engine, workers = 2 })
      assert.equal(1000, summary.tasks)
      assert.is_true(#failures <= 2)
    end)

    it("the value of a result", function()
      local ok, message = pcall(parlua.map, function(i)
        local slot, block = own_slot()
        if i == 5 then
          ffi.cast("int32_t *", block.word + 1)[0] = 2 ^ 30 -- of the next task's result: where it stands
          ffi.cast("int32_t *", block.word + 1)[1] = ffi.C.TAG_STRING
          slot.current = 7
          os.exit(1)
        end
        return "text " .. i
      end, parlua.range(40), { engine = engine, workers = 1, chunk = 40 })
      assert.is_true(ok or type(message) == "string", tostring(message))
    end)

    it("everything", function()
      for _, byte in ipairs { 0x00, 0x01, 0x7f, 0xff } do
        local ok, message = pcall(parlua.map, function(i)
          if i == 5 then ffi.fill(own_slot(), 4096 + 2 * ffi.C.CHANNEL_BLOCKS * ffi.C.BLOCK_BYTES, byte) end
          return i
        end, parlua.range(40), { engine = engine, workers = 2, timeout = 1 })
        assert.is_true(ok or type(message) == "string", tostring(message))
      end
      assert.same({ 1, 2, 3, n = 3 }, (parlua.map(function(x) return x end, { 1, 2, 3 }, { engine = engine })))
    end)
  end, { "process", "mpi" })
end)
