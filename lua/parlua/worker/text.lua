--- The text of a worker's loop, written for each job: how a task's arguments are read, and what becomes of its result.
local ffi = require "ffi"
local block = require "parlua.wire.block"
local indexed = require "parlua.source.indexed"
local lazy = require "parlua.lazy"
local others = lazy "parlua.worker.other_text"

local concat = require("parlua.wire.start").libraries.table.concat -- a script may have put its own in its place
local M = {}

local C = ffi.C
local NIL, ABSENT = C.TAG_NIL, C.TAG_ABSENT

-- Why the loop returns: the chunk is done; task k may not be begun; the block is full; task k's value waits for the
-- next block; (it is to be run again;) task k returned what is looked for;
-- task k returned what is no number, where those are put into an array.
local DONE, STOPPED, FULL, PENDING, AGAIN, FOUND, KEPT = 0, 1, 2, 3, 4, 5, 6
M.DONE, M.STOPPED, M.FULL, M.PENDING, M.AGAIN, M.FOUND, M.KEPT = DONE, STOPPED, FULL, PENDING, AGAIN, FOUND, KEPT

local prologue = [[
local xpcall, type, floor, unpack, cast, slot, f, store, collect, fetch, special, ffi_string, memchr, char_pointer,
  cursor, constants = ...
]]

--- Lines of code that make the arguments of a task, and their expressions, by kind of supplied source.
local supplied = {}
M.supplied = supplied

local MOST_WRITTEN = 40 -- arguments that are fetched into locals, of which a function has at most 200

local function fetch_words(builder, width, from)
  if width > MOST_WRITTEN then return { "fetch(chunk, i)" } end
  local expressions = {}
  builder.lines[#builder.lines + 1] = ("local at = (i - origin) * %d"):format(width)
  for j = from or 0, width - 1 do
    local name = "a" .. j
    builder.lines[#builder.lines + 1] = ([[
      local %s
      do
        local tag = ahalf[2 * (at + %d) + 1]
        if tag >= 0 or tag < %d then %s = awords[at + %d] else %s = special(chunk, ahalf, at + %d, tag) end
      end]]):format(name, j, C.TAG_LOWEST, name, j, name, j)
    expressions[#expressions + 1] = name
  end
  return expressions
end

function supplied.values(source, builder, width)
  local expressions = fetch_words(builder, width)
  if source.raw then return { "cast(char_pointer, a0)", "#a0" } end
  return expressions
end

supplied.calls = function(...) return others.calls(fetch_words, ...) end
supplied["local"] = function(...) return others.held(...) end
supplied.blocks = function(...) return others.blocks(fetch_words, ...) end

-- Text that workers cut up themselves: how it is read stands in worker/texts.lua.
M.is_text = { lines = true, csv = true, jsonl = true, pieces = true }

--- What a task is told whose text is no longer there.
function M.cut_message(source)
  return ("%s: '%s' was cut short while it was read"):format(source.kind, source.path)
end

--- Code that puts v, a table whose keys are known beforehand, into the block: `room` is nil or false where that fails.
--- nil: there is no such code.
local function put_made(job, builder, outlet)
  local source = job.source
  if not (outlet and outlet.has_blocks) or indexed.is_few(source) or source.kind == "calls" then return nil end
  return others.put_made(job, builder, outlet)
end

--- Code for one value of a task; `put`: see above.
local function keep_value(call, put)
  return ([[
    local v = %s
    if type(v) == "number" then words[k] = v
    elseif type(v) == 'nil' then half[2 * k + 1] = %d
    else
      %s
      room = room or store(k, i, v)
      if room < 0 then return k, %d end
    end]]):format(call, NIL, put or "room = false", PENDING)
end

--- What becomes of a task's result, by what is kept.
local keeps = {
  none = function(call) return ("%s"):format(call) end,
  found = function(call) return ("local v = %s\nif v then return k, %d, v end"):format(call, FOUND) end,
  lacking = function(call) return ("if not %s then return k, %d, false end"):format(call, FOUND) end,
  into = function(call, job, builder) return others.into(call, job, builder) end,
  packed = function(call, job, builder) return others.packed(call, job, builder, KEPT) end,
  all = function(call, job, builder, outlet)
    local put = put_made(job, builder, outlet)
    if put then return keep_value(call, put) end
    return ("room = collect(k, i, words, half, room, %s)\nif room < 0 then return k, %d end"):format(call, PENDING)
  end,
  first = function(call, job, builder, outlet) return keep_value(call, put_made(job, builder, outlet)) end,
}

-- Kept as pairs of an index and a value.
local is_sparse = block.is_sparse

--- The loop's text. It runs tasks base + k for k0..k1, k being the word of the result; it returns the first k that it
--- did not do, and why.
function M.text(job, builder, expressions, width, outlet)
  if job.fold then expressions = { "i", unpack(expressions) } end
  local function kept(list)
    if job.encodes then return others.write_line(job, builder, list, outlet, PENDING, keeps.first) end
    return keeps[job.keep](("f(%s)"):format(concat(list, ", ")), job, builder, outlet)
  end
  local body
  if width and width > 0 and width <= MOST_WRITTEN and job.source.kind == "values" and not job.source.raw then
    -- a task with fewer arguments than the chunk's width
    local choice = ("if ahalf[2 * (at + %d) + 1] == %d then %%s else %%s end"):format(width - 1, ABSENT)
    if job.keep == "first" and not job.encodes then
      local calls = choice:format("r = f(fetch(chunk, i))", ("r = f(%s)"):format(concat(expressions, ", ")))
      body = ("local r\n%s\n%s"):format(calls, keeps.first("r", job, builder, outlet))
    else
      body = choice:format(kept { "fetch(chunk, i)" }, kept(expressions))
    end
  end
  body = body or kept(expressions)
  local names = {}
  for k, name in ipairs(builder.names) do names[k] = ("local %s = constants[%d]"):format(name, k) end
  return concat({
    prologue, concat(names, "\n"),
    "return function(k0, k1, base, room, limit, words, half, chunk, awords, ahalf, origin)",
    "  for k = k0, k1 do",
    "    local i = base + k",
    "    slot.current = i",
    ("    if i > limit[0] then return k, %d end"):format(STOPPED),
    is_sparse[job.keep] and "" or ("    if k >= room then return k, %d end"):format(FULL),
    concat(builder.lines, "\n"),
    body,
    "  end",
    ("  return k1 + 1, %d"):format(DONE),
    "end",
  }, "\n")
end

return M
