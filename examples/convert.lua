--- Converts files by a program, several at a time: pictures, sound, documents, whatever the program takes. What is
--- converted already, and newer than its source, is passed over; a file that can't be converted costs one failure, and
--- leaves nothing half written.
--
--   parlua convert.lua gz 'gzip -9c' logs/*.txt              logs/x.txt -> logs/x.gz
--   parlua convert.lua png 'rsvg-convert {} -o {out}' *.svg
--   parlua --timeout 1m --retries 1 convert.lua pdf 'libreoffice --convert-to pdf ...' *.odt
--
-- Without {out} the program writes to standard output, without {} it reads standard input.
local parlua = require "parlua"

local job = {}

local extension, words

function job.arguments(new_extension, command, ...)
  if not command then error("usage: convert.lua EXTENSION 'PROGRAM WORDS' FILES...", 0) end
  extension, words = new_extension, {}
  for word in command:gmatch "%S+" do words[#words + 1] = word end
  return { ... }
end

--- Seconds since 1970 when a file was last changed; nil: it is not there.
local function time_of(path)
  local ok, text = pcall(parlua.exec, "stat", "--format=%Y", "--", path)
  return ok and tonumber(text) or nil
end

function job.map(source)
  local target = source:gsub("%.[^./]*$", "") .. "." .. extension
  local changed, made = time_of(source), time_of(target)
  if not changed then error("there is no such file", 0) end
  if made and made >= changed then return target .. " is up to date" end

  local half = target .. ".half"
  local reads, writes = true, true
  local command = {}
  for k, word in ipairs(words) do
    if word:find "{out}" then writes = false end
    if word:find "{}" then reads = false end
    command[k] = word:gsub("{out}", function() return half end):gsub("{}", function() return source end)
  end
  local ok, raised = pcall(parlua.exec, command, {
    stdin = reads and { file = source } or nil,
    stdout = writes and { file = half } or false,
  })
  if not ok then
    os.remove(half)
    error(raised, 0)
  end
  assert(os.rename(half, target))
  return target
end

job.options = { format = "text" }

return job
