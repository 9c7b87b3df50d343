--- Submitted calls in a worker: a task of the pool's run is one call. Its words are the place of its head, its number,
--- how many arguments it has, and these. The head has what many calls have in common (calls/sent.lua makes it), and
--- stands once in a block: the function behind it is decoded once, and stays compiled.
--
-- 0.2 us a call of an empty function on a worker (bench/futures.lua).
local block = require "parlua.wire.block"
local codec = require "parlua.codec"
local common = require "parlua.common"
local context = require "parlua.wire.context"
local everywhere = require("parlua.lazy") "parlua.worker.everywhere"
local failure = require "parlua.failure"
local install = require("parlua.lazy") "parlua.wire.install"
local task = require "parlua.task"

local M = {}

local MOST_KEPT = 64 -- heads that a worker keeps

local heads, kept = {}, 0
local last_chunk, last_place, last_head = -1, 0, false

local function forget()
  heads, kept = {}, 0
  last_chunk = -1
end

--- The function behind `bytes`. It brings the globals that it names along; but those that the worker's set-up has set
--- stay as they are here.
local function decode(book, bytes)
  local names = task.set_up
  local values = task.globals(names)
  local f, list = codec.decode_book(book, bytes)
  task.restore_globals(names, values)
  if list then everywhere.call(list) end
  return f
end

--- The head at a place of a chunk.
local function head_at(chunk, place)
  local bytes = block.string(chunk, tonumber(chunk.size), place)
  local head = heads[bytes]
  if not head then
    if kept >= MOST_KEPT then forget() end
    local is_plain, seed, state, newer, code = codec.decode(bytes)
    head = { is_plain = is_plain, seed = seed, state = state, newer = newer, code = code, f = false, chain = false,
             globals = false }
    heads[bytes], kept = head, kept + 1
  end
  last_chunk, last_place, last_head = chunk.chunk, place, head
  return head
end

--- Makes the function of a head. One that needs nothing of the script's state has no state's number.
local function open(head, shares)
  local base = head.state and context.base or nil
  local book = codec.book()
  context.use(base, shares)
  if base then
    head.globals, head.f = install.bring_along(decode, book, head.code)
  else
    head.f = decode(book, head.code)
  end
  head.chain = base and context.longer(base, book) or { book }
end

--- Puts the script's state in place as it was when the call was made. Returns the head, which then may be another.
local function bring(chunk, place, head)
  if not install.bring(head.state, head.newer) then return head end
  forget()
  return head_at(chunk, place)
end

local has_large = false -- globals that a function has brought along are there

--- Such globals are there for the functions that name them alone.
local function exchange(globals)
  install.exchange(globals)
  has_large = globals
end

--- A call whose arguments came as bytes. Classes in them are known to both sides while the call runs: results refer to
--- these.
local function run_packed(head, shares, arguments, trouble)
  if trouble then error(failure.mark { kind = "unsendable", message = trouble }, 0) end
  context.use(head.chain, shares)
  local book = codec.book()
  local values = common.pack(codec.decode_book(book, arguments))
  context.use(context.longer(head.chain, book), shares, #head.chain)
  return head.f(unpack(values, 1, values.n))
end

local function run_many(f, n, ...) return f(unpack({ ... }, 1, n)) end

--- The map function of a pool's run in its workers.
---@param chunk ffi.cdata* struct block *
---@param place number of the head in it
---@param number number of the call in the program
---@param n integer arguments
function M.run(chunk, place, number, n, a, b, c, ...)
  local shares, head = not task.owns_process, last_head
  if place ~= last_place or chunk.chunk ~= last_chunk then head = head_at(chunk, place) end
  if head.state then head = bring(chunk, place, head) end
  if not head.f then open(head, shares) end
  if head.globals or has_large then exchange(head.globals) end
  task.set_call(head.seed, number)
  if not head.is_plain then return run_packed(head, shares, a, b) end
  context.use(head.chain, shares)
  local f = head.f
  if n == 0 then return f() end
  if n == 1 then return f(a) end
  if n == 2 then return f(a, b) end
  if n == 3 then return f(a, b, c) end
  return run_many(f, n, a, b, c, ...)
end

--- The same where tasks run in the script's own state: see future/here.lua.
---@param key string of the call's random numbers; false: it was cancelled
---@param job function
function M.run_here(_, key, job)
  if not key then return end
  task.set_key(key)
  return job()
end

return M
