--- Programs of submitted calls drawn at random: calls are waited for, asked, cancelled and chained at any moment, and each
--- ends as it must. A failed one names its seed: PROPERTY_SEED=... runs that program alone.
local helper = require "spec.helper"
local host = require "parlua.host"
local parlua = require "parlua"

local PROGRAMS = tonumber(os.getenv("PROPERTY_PROGRAMS")) or 25

local function number_of(value) return type(value) == "table" and value.x or tonumber(value) or 0 end

--- Kinds of calls: what is called, and what call k returns; false: it fails.
local kinds = {
  { function(k) return k end, function(k) return { n = 1, k } end },
  { function() end, function() return { n = 0 } end },
  { function(k) return k, nil, -k, nil end, function(k) return { n = 4, k, nil, -k, nil } end },
  { function(k) return { x = k, text = ("y"):rep(k) } end, function(k) return { n = 1, { x = k, text = ("y"):rep(k) } } end },
  { function(k, milliseconds)
    local cqueues = package.loaded.cqueues
    local is_async = cqueues and cqueues.running()
    if is_async then cqueues.sleep(milliseconds / 1000) else require("parlua.host").sleep(milliseconds / 1000) end
    return k
  end, function(k) return { n = 1, k } end },
  { function(k) error("call " .. k) end, function() return false end },
  { function(k)
    local ended = require("parlua.task").owns_process and os.exit(3)
    error("call " .. k .. tostring(ended))
  end, function() return false end },
}

--- A program: what was submitted, and what the script has done with it.
local function new_program(engine, draw)
  local options = { engine = engine, workers = draw(3), retries = draw(5) == 1 and 1 or nil, window = draw(4) == 1 and draw(20) or nil }
  return { pool = parlua.pool(options), draw = draw, futures = {}, expected = {}, cancelled = {}, asked = {}, told = {} }
end

local function any(program) return program.futures[program.draw(#program.futures)] end

local function cancel(program, future)
  if not future:cancel() then return end
  assert(future.failure.kind == "cancelled")
  assert(not future:cancel())
  program.cancelled[future] = true
end

--- One more call; of some, the arguments are futures of others.
local function submit(program, k)
  local draw, futures = program.draw, program.futures
  local future
  if k > 1 and draw(5) == 1 then
    local a, b = any(program), any(program)
    future = program.pool:submit(function(x, y, z)
      local function number(value) return type(value) == "table" and value.x or tonumber(value) or 0 end
      return number(x) + number(y) + z
    end, a, b, k)
    program.expected[k] = function()
      if a.failure or b.failure then return false end
      return { n = 1, number_of((a:get())) + number_of((b:get())) + k }
    end
  else
    local kind = kinds[draw(#kinds)]
    future = program.pool:submit(kind[1], k, draw(3))
    program.expected[k] = function() return kind[2](k) end
  end
  futures[k] = future
  if draw(5) > 1 then return end
  program.asked[k], program.told[k] = true, 0
  future:on_done(function(done)
    assert(rawequal(done, future))
    program.told[k] = program.told[k] + 1
    if draw(4) == 1 and not program.pool.closed then program.pool:submit(math.abs, 1) end
    if draw(4) == 1 then cancel(program, any(program)) end
  end)
end

--- What the script does between two calls.
local between = {
  function(program) cancel(program, any(program)) end,
  function(program) any(program):wait(0) end,
  function(program) pcall(any(program).get, any(program), program.draw(3) / 1000) end,
  function(program) parlua.wait(program.futures, "first", program.draw(3) / 1000) end,
  function(program) parlua.wait(program.futures, "first_failure", program.draw(3) / 1000) end,
  function(program) parlua.wait(program.futures, "all", 0) end,
  function(program) host.sleep(program.draw(3) / 1000) end,
  function(program) tostring(any(program)) end,
}

--- How it ends.
local ends = {
  function(program) program.pool:close() end,
  function(program)
    local count = 0
    for future, k in parlua.as_completed(program.futures) do
      assert(rawequal(future, program.futures[k]))
      count = count + 1
      if program.draw(10) == 1 then cancel(program, any(program)) end
    end
    assert.equal(#program.futures, count)
  end,
  function(program)
    local ended, open = parlua.wait(program.futures)
    assert.same({ #program.futures, 0 }, { #ended, #open })
  end,
  function(program)
    for k = #program.futures, 1, -1 do pcall(program.futures[k].get, program.futures[k]) end
  end,
  function(program)
    for _, future in ipairs(program.futures) do
      while not future:done() do host.sleep(0.0005) end
    end
  end,
}

--- Each call has ended as it must.
local function check(program)
  local closed = program.pool.closed
  for k, future in ipairs(program.futures) do
    assert.truthy(future:done())
    local record = future.failure
    local is_cancelled = record and record.kind == "cancelled"
    if program.cancelled[future] then
      assert.truthy(is_cancelled)
    elseif not (is_cancelled and closed) then
      local expected = program.expected[k]()
      assert.equal(not expected, record ~= nil, record and record.message)
      if expected then assert.same(expected, { n = select("#", future:get()), future:get() }) end
    end
  end
  program.pool:close()
  for k in pairs(program.asked) do assert.equal(1, program.told[k]) end
  assert.equal(0, program.pool.outstanding)
end

local function run(engine, seed)
  local draw = helper.generator(seed)
  local program = new_program(engine, draw)
  for k = 1, draw(40) do
    submit(program, k)
    if draw(3) == 1 then between[draw(#between)](program) end
  end
  ends[draw(#ends)](program)
  check(program)
end

describe("submitted calls", function()
  helper.for_each_engine(function(engine)
    it("end as they must, whatever the script does meanwhile", function()
      local only = tonumber(os.getenv("PROPERTY_SEED"))
      for seed = only or 1, only or PROGRAMS do
        local ok, message = xpcall(run, debug.traceback, engine, seed)
        if not ok then error(("PROPERTY_SEED=%d: %s"):format(seed, tostring(message)), 0) end
      end
    end)
  end)
end)
