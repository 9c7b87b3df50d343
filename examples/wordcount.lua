-- The most frequent identifiers and words of many files: all C headers and licence texts below /usr, or those given.
--
--   parlua wordcount.lua                                     as `make demo` runs it
--   parlua wordcount.lua '/usr/share/doc/**/*.txt' notes.md  patterns of one's own: *, ?, [...], and ** for any folders

local parlua = require "parlua"

local SHOWN = 20

local patterns = #arg > 0 and { unpack(arg) } or {
  "/usr/include/**/*.h", "/usr/lib/**/*.h", "/usr/share/common-licenses/*", "/usr/share/doc/*/copyright",
}

-- A task: the words of one file, each with how often it is there, and how large the file is.
local function count_words(path)
  local file = assert(io.open(path, "rb"))
  local text = assert(file:read("*a"))
  file:close()
  local counts = {}
  for word in text:gmatch "[%a_][%w_]*" do counts[word] = (counts[word] or 0) + 1 end
  return counts, #text
end

local files = parlua.files(patterns)
if files.n == 0 then error("no file matches " .. table.concat(patterns, " "), 0) end

-- The counts of a file are added to the totals as soon as they are there, while the workers read on; in which order
-- does not matter here. On a terminal a bar shows how far it is.
local totals, bytes = {}, 0
local results, stream = parlua.imap(count_words, files, { ordered = false })
for _, counts, size in results do
  bytes = bytes + size
  for word, count in pairs(counts) do totals[word] = (totals[word] or 0) + count end
end

-- The most frequent words, in order. Sorting all of them (half a million) to show a few would take longest of all.
local function before(a, b)
  if totals[a] ~= totals[b] then return totals[a] > totals[b] end
  return a < b
end

local top, words, different = {}, 0, 0
for word, count in pairs(totals) do
  words, different = words + count, different + 1
  local place = #top + 1
  while place > 1 and before(word, top[place - 1]) do place = place - 1 end
  if place <= SHOWN then
    table.insert(top, place, word)
    top[SHOWN + 1] = nil
  end
end

for place, word in ipairs(top) do print(("%3d %9d  %s"):format(place, totals[word], word)) end

-- A file that can't be read fails its own task only. After Ctrl-C what has been counted is shown.
io.stdout:flush()
local summary = stream:summary()
for k = 1, math.min(3, #stream.failures) do io.stderr:write(stream.failures[k].message, "\n") end
io.stderr:write(("%d words, %d different, in %.1f MB of %d files%s; %.2f s, %s engine, %d workers\n"):format(words,
  different, bytes / 1e6, summary.returned, summary.interrupted and " (interrupted)" or "", summary.seconds,
  summary.engine, summary.workers))
if summary.failed > 0 then os.exit(1) end
