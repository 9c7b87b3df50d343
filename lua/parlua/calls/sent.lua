--- Submitted calls on their way to workers: each is written into the intake of its pool's run (src/run/event.h), words
--- and bytes, while whoever holds the dispatcher may copy them out. Calls of one function share a head: the function
--- as codec bytes, with the number of the script's state that it sees. It is made again when what the function holds,
--- or the state, has changed; and each time that the collector has come by, as a head keeps its function alive.
--
-- What a call costs in the script: 0.5 us where its function names no global and holds no table (nothing that it sees
-- can change unnoticed); else the state is looked at too, 1 to 2 us; arguments that are no numbers, strings, booleans
-- or nil are encoded (bench/futures.lua).
local ffi = require "ffi"
local arrays = require "parlua.array.known"
local block = require "parlua.wire.block"
local captured_by = require "parlua.wire.captured"
local common = require "parlua.common"
local closure = require "parlua.wire.closure"
local codec = require "parlua.codec"
local context = require "parlua.wire.context"
local states = require("parlua.lazy") "parlua.wire.state"
local world = require("parlua.lazy") "parlua.wire.world"
require "parlua.wire.header" "run/pushed.h"

local C = ffi.C
local NIL, FALSE, TRUE, ABSENT, STRING = C.TAG_NIL, C.TAG_FALSE, C.TAG_TRUE, C.TAG_ABSENT, C.TAG_STRING
local HEAD, HAND_OUT = C.BLOCK_HEAD, C.INTAKE_HAND_OUT
local WORDS = 3       -- before the arguments: place of the head, number of the call, number of arguments
local AWAKE = 50e-6   -- seconds that a worker with nothing to do stays awake: src/slot/mailbox.c
local MOST_PLAIN = 20 -- arguments that have words of their own
local intake_pointer, u64, bytes_pointer = ffi.typeof "struct intake *", ffi.typeof "uint64_t *", ffi.typeof "char *"

local no_walk = codec.book() -- stands where that of what was inherited is

local Sent = {}
Sent.__index = Sent

local all, is_guarded = setmetatable({}, { __mode = "k" }), false -- those that are open

--- Lets go of all heads. A weak table would not: each of its values would keep its own key alive.
local function forget_heads(self) self.free, self.bound = {}, {} end

local function forget_all()
  is_guarded = false
  for self in pairs(all) do forget_heads(self) end
end

--- Keeps a function's head until the collector has come by.
local function keep(heads, f, head)
  heads[f] = head
  if is_guarded then return end
  is_guarded = true
  common.when_collected(forget_all) -- it is garbage at once
end

--- For the calls of a pool's run.
---@param driver parlua.Driver
---@param inherits boolean its workers have what the script had as the run began
local function open(driver, inherits)
  local plain_watch = not states.has_changed_plain() and codec.watch(codec.book(), states.of_strings()) or false
  local self = setmetatable({ driver = driver, handle = driver.handle, inherits = inherits, intake = false,
    block = false, words = false, half = false, floor = 0, count = 0, width = 0, places = {}, free = false,
    bound = false, is_home = false, plain_watch = plain_watch, everywhere = false }, Sent)
  forget_heads(self)
  all[self] = true
  return self
end

--- Before the next call each worker is to call these functions, as far as it has not (worker/everywhere.lua): they go
--- with the call's own.
---@param list table[]
function Sent:set_everywhere(list)
  self.everywhere = list[1] and list or false
  forget_heads(self)
end

-- ---- heads ----

local plain = { number = true, string = true, boolean = true, ["nil"] = true }

--- Does the function need nothing of the script's state? It names no global, and holds plain values and functions of
--- the same kind.
local function is_free(f, depth)
  if depth > 8 or debug.getinfo(f, "S").what == "C" then return false end
  if #(closure.plans[f] or closure.plan(f)) > 1 then return false end
  local k = 1
  local name, value = debug.getupvalue(f, 1)
  while name do
    if type(value) == "function" then
      if value ~= f and not is_free(value, depth + 1) then return false end
    elseif not plain[type(value)] then
      return false
    end
    k = k + 1
    name, value = debug.getupvalue(f, k)
  end
  return true
end

--- Is what a head was made of as it was then? A watch that has told of a change is not to be asked again: the head
--- is let go.
local function is_unchanged(head) return head.watch and codec.changes(head.watch) == false end

--- `chain`: by which arguments are written; `results`: by which results are read.
local function head_of(seed, state, newer, code, chain, results, watch)
  return { seed = seed, state = state, watch = watch or false, chain = chain, results = results,
    plain = codec.encode(true, seed, state, newer, code), packed = codec.encode(false, seed, state, newer, code) }
end

--- The head of a function that needs nothing of the script's state; nil: it does. Once the script has changed what can
--- be done with strings and other plain values, each does.
function Sent:free_head(f, seed)
  local head = self.free[f]
  if self.everywhere or head == false then return nil end
  if not self.plain_watch or codec.changes(self.plain_watch) ~= false then
    self.plain_watch = false
    return nil
  end
  if head and head.seed == seed and (not head.watch or is_unchanged(head)) then return head end
  self.free[f] = nil
  if not is_free(f, 1) then
    keep(self.free, f, false)
    return nil
  end
  local book = codec.book()
  context.use(nil, self.driver.shares)
  local code = codec.encode_book(book, "submitted function", f)
  if not code then return nil end
  local watch = debug.getupvalue(f, 1) and codec.watch(book, {})
  if watch == nil and debug.getupvalue(f, 1) then return nil end
  local own = { book }
  head = head_of(seed, false, false, code, own, own, watch)
  keep(self.free, f, head)
  return head
end

--- What a function has captured, looked at when it is needed.
local function captured(f)
  return function() return captured_by({ f }, 1) end
end

--- Encodes a function, which may refer to what is in the books of `base`, into a book of its own. Returns bytes, chain,
--- book; or nil and a message.
---@param is_old? boolean the first of them is what workers have inherited
local function encode_bound(self, f, base, is_old)
  arrays.sent = false
  local book = codec.book()
  context.use(context.longer(base), self.driver.shares, is_old and 1 or 0, is_old)
  local code, message = codec.encode_book(book, "submitted function", f, self.everywhere or nil)
  if not code then return nil, message end
  local chain = context.longer(base, book)
  chain.captured, chain.arrays = base.captured, arrays.sent
  return code, chain, book
end

--- The head of a function as it sees the script's state now: where that has changed since the run began, it goes along.
--- What the function has captured goes by content. Where that can't be, it may still be what forked workers have
--- inherited, if it has not changed since: then the head is made anew for each call, as no watch looks at all of that.
--- Returns nil and a message when it can't be sent.
function Sent:bound_head(f, seed)
  local driver = self.driver
  local chain = driver.chain
  local state = world.unchanged(driver.shares, chain.is_distant, chain.inherits)
  if not state then
    local ok, prepared = pcall(world.prepare, driver.shares, chain.is_distant, chain.inherits)
    if not ok then return nil, prepared end
    state = prepared
  end
  local head = self.bound[f]
  if head and head.seed == seed and head.state == state.id and is_unchanged(head) then return head end
  self.bound[f] = nil
  local is_newer, newer = state.id ~= chain.world, false
  if is_newer or self.inherits then
    newer = state.version == chain.version and state.before or world.complete(state)
  end
  local base = self.inherits and { no_walk, state.chain[1], state.chain[2] }
    or { state.chain[1], state.chain[2], chain[3] }
  base.inherits, base.captured = chain.inherits, captured(f)
  local is_old = false
  local code, longer, book = encode_bound(self, f, base)
  if not code and self.inherits and not is_newer then
    base[1], is_old = chain[1], true
    local by_reference, longer_one = encode_bound(self, f, base, true)
    if by_reference then code, longer = by_reference, longer_one end
  end
  if not code then return nil, longer end
  local results = longer
  if self.inherits and not is_old then -- workers may refer to what they have inherited
    results = context.longer(longer)
    results[1], results.captured, results.arrays = chain[1], longer.captured, longer.arrays
  end
  head = head_of(seed, state.id, newer, code, longer, results, book and codec.watch(book, {}))
  head.is_old, head.fresh = is_old, #base
  keep(self.bound, f, head)
  return head
end

--- The arguments as bytes, which may refer to what the function holds. Returns them, a message about what can't cross,
--- and the chain by which results are read.
local function pack(self, head, args)
  arrays.sent = false
  local book = codec.book()
  context.use(head.chain, self.driver.shares, head.fresh, head.is_old)
  codec.moved() -- the chain may be that of the call before
  local bytes, trouble = codec.encode_book(book, "argument", unpack(args, 1, args.n))
  local chain = context.longer(head.results, book)
  -- workers open arrays when they come to the call: till then they are kept
  chain.arrays, chain.head = arrays.sent, head
  arrays.sent = false
  return bytes or "", trouble, chain
end

--- A call is about to be put there: a worker that sleeps meanwhile is woken at once, so that it wakes while the call is
--- written.
function Sent:rouse()
  local intake = self.intake
  if intake and C.clock_seconds() - intake.left_at > AWAKE then self.handle:rouse() end
end

-- ---- writing ----

local function room_of(text) return 8 + math.floor((#text + 7) / 8) * 8 end

--- Puts a text below all others, as word k.
local function put_text(self, k, text)
  local floor = self.floor - room_of(text)
  local at = ffi.cast(bytes_pointer, self.block) + floor
  ffi.cast(u64, at)[0] = #text
  ffi.copy(at + 8, text, #text)
  self.floor = floor
  self.half[2 * k], self.half[2 * k + 1] = floor / 8, STRING
  return floor / 8
end

--- Begins the block anew, for tasks from `first` on of which the first needs so many bytes.
local function renew(self, first, bytes)
  self.handle:come_back()
  self.is_home = true
  self.intake = ffi.cast(intake_pointer, self.handle:intake(first, bytes))
  self.block = self.intake.block
  self.words = self.block.word
  self.half = ffi.cast(block.halves, self.words)
  self.floor, self.count, self.places = tonumber(self.block.size), 0, {}
end

--- The next call begins the block anew: those that follow are to be in it together.
function Sent:begin_anew() self.block = false end

--- Writes a call as the next task. `texts`: bytes that its texts need.
local function write(self, index, head, number, n, texts, args, first, second)
  local width, count = WORDS + n, self.count
  local place = self.places[head]
  local bytes = texts + (place and 0 or room_of(head))
  if not self.block or width > self.width or HEAD + 8 * (count + 1) * self.width + bytes > self.floor then
    renew(self, index, HEAD + 8 * width + texts + room_of(head))
    count, place = 0, nil
    self.width, self.block.width = width, width
  end
  width = self.width
  local words, half, at = self.words, self.half, count * width
  if place then
    half[2 * at], half[2 * at + 1] = place, STRING
  else
    self.places[head] = put_text(self, at, head)
  end
  words[at + 1], words[at + 2] = number, n
  for k = 1, n do
    local word = at + WORDS - 1 + k
    local value = second
    if args then value = args[k] elseif k == 1 then value = first end
    if type(value) == "number" then
      words[word] = value
    elseif type(value) == "string" then
      put_text(self, word, value)
    elseif value == nil then
      half[2 * word + 1] = NIL
    else
      half[2 * word + 1] = value and TRUE or FALSE
    end
  end
  for word = at + WORDS + n, at + width - 1 do half[2 * word + 1] = ABSENT end
  self.count = count + 1
  local wish = C.intake_publish(self.intake, count + 1)
  if self.is_home and wish == 0 then wish = HAND_OUT end
  self.is_home = false
  return wish
end

--- Bytes that the texts among plain arguments need; nil: some are not plain.
local function texts_of(args)
  local bytes = 0
  if args.n > MOST_PLAIN then return nil end
  for k = 1, args.n do
    local value = args[k]
    local kind = type(value)
    if kind == "string" then bytes = bytes + room_of(value) elseif not plain[kind] then return nil end
  end
  return bytes
end

--- Puts the call f(...) there as task `index` of the run, the one behind the last.
---@param args table|false with n; false: there are none
---@param seed number
---@param number integer of the call in the program
---@return integer|nil wish what is to be done now: enum intake_wish; nil: it can't be sent
---@return table|string chain by which its results are read; or a message
function Sent:put(index, f, args, seed, number)
  local texts = args and texts_of(args) or not args and 0
  local head = texts and self:free_head(f, seed)
  local message
  if not head then
    head, message = self:bound_head(f, seed)
    if not head then return nil, message end
  end
  if texts then return write(self, index, head.plain, number, args and args.n or 0, texts, args), head.results end
  local bytes, trouble, chain = pack(self, head, args)
  return write(self, index, head.packed, number, trouble and 2 or 1, room_of(bytes) + room_of(trouble or ""), nil,
    bytes, trouble), chain
end

return { open = open }
