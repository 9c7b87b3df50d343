--- The text of a worker's loop, written for each job: how a task's arguments are read, and what becomes of its result.
local ffi = require "ffi"
local block = require "parlua.wire.block"
local failure = require "parlua.failure"
local indexed = require "parlua.source.indexed"
local lazy = require "parlua.lazy"
local lines = lazy "parlua.worker.line"
local made = lazy "parlua.worker.made"
local shape = lazy "parlua.wire.shape"
local own = lazy "parlua.source.own"
local wire_text = require "parlua.wire.text"
local place = lazy "parlua.array.place"

local concat = require("parlua.wire.start").libraries.table.concat -- a script may have put its own in its place
local M = {}

local C = ffi.C
local cast = ffi.cast
local NIL, ABSENT = C.TAG_NIL, C.TAG_ABSENT
local text_string = wire_text.string

ffi.cdef [[
/* the next task's text; where the range's ends; the present task's; where the range begins, its number from 0, its file
   and line */
struct parlua_cursor { const char *next, *stop, *from, *begin; double range, part, line; };
void *memchr(const void *, int, size_t);
]]

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

--- Submitted calls: the place of the head, the number of the call, how many arguments it has, and these
--- (calls/run.lua).
function supplied.calls(_, builder, width)
  builder.lines[#builder.lines + 1] = ("local head = ahalf[2 * (i - origin) * %d]"):format(width)
  local expressions = fetch_words(builder, width, 1)
  table.insert(expressions, 1, "chunk, head")
  return expressions
end

--- Serial: the arguments as they were pulled, in the run's own table.
supplied["local"] = function(source, builder)
  local run = builder:constant(source.run)
  local line = [[
    local held = %s.arguments
    local values = held[i - held.origin + 1]
    if values.unread then %s(values.unread) end]]
  builder.lines[#builder.lines + 1] = line:format(run, builder:constant(failure.raise))
  return { ("unpack(%s(values), 1, values.n)"):format(builder:constant(own.own_all)) }
end

function supplied.blocks(source, builder, width)
  fetch_words(builder, width)
  local text = builder:constant(cast("const char *", source.text:pointer()))
  builder.lines[#builder.lines + 1] = ("cursor.from = %s + a0"):format(text)
  local expressions = source.raw and { text .. " + a0", "a1" } or
    { ("%s(%s + a0, a1)"):format(builder:constant(text_string), text) }
  if source.enumerated then table.insert(expressions, 1, "i") end
  return expressions
end

-- Text that workers cut up themselves: how it is read stands in worker/texts.lua.
M.is_text = { lines = true, csv = true, jsonl = true, pieces = true }

--- What a task is told whose text is no longer there.
function M.cut_message(source)
  return ("%s: '%s' was cut short while it was read"):format(source.kind, source.path)
end

--- Code that puts a number into the job's array at once; `other` is the code for what can't be put so.
local function put_directly(call, job, builder, other)
  local at, step, condition = place.direct(job.into)
  if not at then return ("local v = %s\n%s"):format(call, other) end
  builder:constant(job.into) -- holds what `at` points to
  local index = step == 1 and "i - 1" or ("(i - 1) * %d"):format(step)
  return ([[
    local v = %s
    if type(v) == "number" and %s then %s[%s] = v
    else %s end]]):format(call, condition, builder:constant(at), index, other)
end

--- Code that puts v, a table whose keys are known beforehand, into the block: `room` is nil or false where that fails.
--- nil: there is no such code.
local function put_made(job, builder, outlet)
  local source = job.source
  if not (outlet and outlet.has_blocks) or indexed.is_few(source) or source.kind == "calls" then return nil end
  local keys, is_object = made.keys(job)
  local write = keys and shape.sure_writer(keys, is_object and getfenv(job.f))
  if not write then return nil end
  outlet = builder:constant(outlet)
  return ("room = %s(%s.block, half, k, v, %s.epoch)"):format(builder:constant(write), outlet, outlet)
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
  into = function(call, job, builder)
    local put = builder:constant(place.put)
    return put_directly(call, job, builder, ("%s(%s, i, v)"):format(put, builder:constant(job.into)))
  end,
  packed = function(call, job, builder)
    return put_directly(call, job, builder, ("return k, %d, v"):format(KEPT))
  end,
  all = function(call, job, builder, outlet)
    local put = put_made(job, builder, outlet)
    if put then return keep_value(call, put) end
    return ("room = collect(k, i, words, half, room, %s)\nif room < 0 then return k, %d end"):format(call, PENDING)
  end,
  first = function(call, job, builder, outlet) return keep_value(call, put_made(job, builder, outlet)) end,
}

--- Code for a task of a job whose lines workers write. As JSON: the whole line, where its arguments are plain; else the
--- text of the result.
---@param expressions string[] of the arguments
local function write_line(job, builder, expressions, outlet)
  if job.encodes ~= true then
    return ([[
    local v = f(%s)
    if type(v) == 'nil' then half[2 * k + 1] = %d
    else
      room = %s(k, i, v)
      if room < 0 then return k, %d end
    end]]):format(concat(expressions, ", "), NIL, builder:constant(lines.row_writer(outlet, job.encodes)), PENDING)
  end
  local begin, finish, encode = lines.writer(outlet)
  local n, names = #expressions, {}
  encode = builder:constant(encode)
  if n > lines.MOST_ARGUMENTS or (expressions[n] or ""):find "^unpack" or (expressions[n] or ""):find "^fetch" then
    local call = ("%s((f(%s)))"):format(encode, concat(expressions, ", "))
    return keeps.first(call, job, builder)
  end
  for j = 1, n do names[j] = "x" .. j end
  local list = concat(names, ", ")
  return ([[
    %s
    local is_line = %s(i, %d%s)
    local v = f(%s)
    if is_line then
      room = %s(k, i, v)
      if room < 0 then return k, %d end
    else
      %s
    end]]):format(n > 0 and ("local %s = %s"):format(list, concat(expressions, ", ")) or "", builder:constant(begin), n,
    n > 0 and ", " .. list or "", list, builder:constant(finish), PENDING, keeps.first(encode .. "(v)", job, builder))
end

-- Kept as pairs of an index and a value.
local is_sparse = block.is_sparse

--- The loop's text. It runs tasks base + k for k0..k1, k being the word of the result; it returns the first k that it
--- did not do, and why.
function M.text(job, builder, expressions, width, outlet)
  if job.fold then expressions = { "i", unpack(expressions) } end
  local function kept(list)
    if job.encodes then return write_line(job, builder, list, outlet) end
    return keeps[job.keep](("f(%s)"):format(concat(list, ", ")), job, builder, outlet)
  end
  local body = kept(expressions)
  if width and width > 0 and width <= MOST_WRITTEN and job.source.kind == "values" and not job.source.raw then
    -- a task with fewer arguments than the chunk's width
    local of_few = kept { "fetch(chunk, i)" }
    body = ("if ahalf[2 * (at + %d) + 1] == %d then\n%s\nelse\n%s\nend"):format(width - 1, ABSENT, of_few, body)
  end
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
