--- What few jobs need of the text of a worker's loop (worker/text.lua): submitted calls, tasks in the script's own
--- state, blocks of files, results that go into an array, tables whose keys are known, lines of the job's output.
local ffi = require "ffi"
local failure = require "parlua.failure"
local lazy = require "parlua.lazy"
local lines = lazy "parlua.worker.line"
local made = lazy "parlua.worker.made"
local own = lazy "parlua.source.own"
local place = lazy "parlua.array.place"
local shape = lazy "parlua.wire.shape"
local text_string = require("parlua.wire.text").string

local concat = require("parlua.wire.start").libraries.table.concat -- a script may have put its own in its place
local M = {}

local cast = ffi.cast
local NIL = ffi.C.TAG_NIL

--- Submitted calls: the place of the head, the number of the call, how many arguments it has, and these
--- (calls/run.lua).
function M.calls(fetch_words, _, builder, width)
  builder.lines[#builder.lines + 1] = ("local head = ahalf[2 * (i - origin) * %d]"):format(width)
  local expressions = fetch_words(builder, width, 1)
  table.insert(expressions, 1, "chunk, head")
  return expressions
end

--- Serial: the arguments as they were pulled, in the run's own table.
function M.held(source, builder)
  local run = builder:constant(source.run)
  local line = [[
    local held = %s.arguments
    local values = held[i - held.origin + 1]
    if values.unread then %s(values.unread) end]]
  builder.lines[#builder.lines + 1] = line:format(run, builder:constant(failure.raise))
  return { ("unpack(%s(values), 1, values.n)"):format(builder:constant(own.own_all)) }
end

function M.blocks(fetch_words, source, builder, width)
  fetch_words(builder, width)
  local text = builder:constant(cast("const char *", source.text:pointer()))
  builder.lines[#builder.lines + 1] = ("cursor.from = %s + a0"):format(text)
  local expressions = source.raw and { text .. " + a0", "a1" } or
    { ("%s(%s + a0, a1)"):format(builder:constant(text_string), text) }
  if source.enumerated then table.insert(expressions, 1, "i") end
  return expressions
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

function M.into(call, job, builder)
  local put = builder:constant(place.put)
  return put_directly(call, job, builder, ("%s(%s, i, v)"):format(put, builder:constant(job.into)))
end

---@param kept integer why the loop returns: the task has returned no number
function M.packed(call, job, builder, kept)
  return put_directly(call, job, builder, ("return k, %d, v"):format(kept))
end

--- Code that puts v, a table whose keys are known beforehand, into the block: `room` is nil or false where that fails.
--- nil: there is no such code.
function M.put_made(job, builder, outlet)
  local keys, is_object = made.keys(job)
  local write = keys and shape.sure_writer(keys, is_object and getfenv(job.f))
  if not write then return nil end
  outlet = builder:constant(outlet)
  return ("room = %s(%s.block, half, k, v, %s.epoch)"):format(builder:constant(write), outlet, outlet)
end

--- Code for a task of a job whose lines workers write. As JSON: the whole line, where its arguments are plain; else the
--- text of the result.
---@param expressions string[] of the arguments
---@param pending integer why the loop returns: a value waits for the next block
---@param keep function code for a value
function M.write_line(job, builder, expressions, outlet, pending, keep)
  if job.encodes ~= true then
    return ([[
    local v = f(%s)
    if type(v) == 'nil' then half[2 * k + 1] = %d
    else
      room = %s(k, i, v)
      if room < 0 then return k, %d end
    end]]):format(concat(expressions, ", "), NIL, builder:constant(lines.row_writer(outlet, job.encodes)), pending)
  end
  local begin, finish, encode = lines.writer(outlet)
  local n, names = #expressions, {}
  encode = builder:constant(encode)
  if n > lines.MOST_ARGUMENTS or (expressions[n] or ""):find "^unpack" or (expressions[n] or ""):find "^fetch" then
    local call = ("%s((f(%s)))"):format(encode, concat(expressions, ", "))
    return keep(call, job, builder)
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
    n > 0 and ", " .. list or "", list, builder:constant(finish), pending, keep(encode .. "(v)", job, builder))
end

return M
