--- Makes a text: words of small letters, 1 to 16 of them, in lines of about 80 bytes. The same seed gives the same
--- text.
local ffi = require "ffi"

local M = {}

local WORDS = 4096       -- different ones
local LINE_BYTES = 80    -- a line ends at the first word beyond a length that is drawn up to twice this
local PIECE_BYTES = 2 ^ 20

--- A generator of 31-bit random numbers (a linear congruential one, whose low bits are left out).
local function generator(seed)
  local state = ffi.new("uint64_t", seed)
  return function()
    state = state * 6364136223846793005ULL + 1442695040888963407ULL
    return tonumber(state / 2 ^ 33)
  end
end

local function vocabulary(random)
  local words = {}
  for k = 0, WORDS - 1 do
    local letters = {}
    for j = 1, 1 + random() % 8 + random() % 9 do letters[j] = string.char(97 + random() % 26) end
    words[k] = table.concat(letters)
  end
  return words
end

--- Writes a text of at least `bytes` and at most a line more to the file.
function M.write(path, bytes, seed)
  local random = generator(seed)
  local words = vocabulary(random)
  local file = assert(io.open(path, "wb"))
  local piece = ffi.new("uint8_t[?]", PIECE_BYTES + 4 * LINE_BYTES)
  local left = bytes
  while left > 0 do
    local at, want = 0, math.min(left, PIECE_BYTES)
    while at < want do
      local line_end = at + random() % (2 * LINE_BYTES)
      repeat
        local word = words[random() % WORDS]
        ffi.copy(piece + at, word, #word)
        at = at + #word
        piece[at] = 32
        at = at + 1
      until at > line_end
      piece[at - 1] = 10
    end
    file:write(ffi.string(piece, at))
    left = left - at
  end
  file:close()
end

return M
