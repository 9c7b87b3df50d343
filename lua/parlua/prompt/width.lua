--- UTF-8 text and the columns that it takes on a terminal, whatever the locale says.
local M = {}

--- Ranges of characters that take no column: combining marks, joiners, variation selectors (Unicode 15, general
--- categories Mn, Me, Cf; neighbours are joined where what lies between is rare).
local none = {
  { 0x300, 0x36f }, { 0x483, 0x489 }, { 0x591, 0x5bd }, { 0x5bf, 0x5bf }, { 0x5c1, 0x5c2 }, { 0x5c4, 0x5c5 },
  { 0x5c7, 0x5c7 }, { 0x610, 0x61a }, { 0x64b, 0x65f }, { 0x670, 0x670 }, { 0x6d6, 0x6dc }, { 0x6df, 0x6e4 },
  { 0x6e7, 0x6e8 }, { 0x6ea, 0x6ed }, { 0x711, 0x711 }, { 0x730, 0x74a }, { 0x7a6, 0x7b0 }, { 0x7eb, 0x7f3 },
  { 0x816, 0x82d }, { 0x859, 0x85b }, { 0x898, 0x89f }, { 0x8ca, 0x902 }, { 0x93a, 0x93a }, { 0x93c, 0x93c },
  { 0x941, 0x948 }, { 0x94d, 0x94d }, { 0x951, 0x957 }, { 0x962, 0x963 }, { 0x981, 0x981 }, { 0x9bc, 0x9bc },
  { 0x9c1, 0x9c4 }, { 0x9cd, 0x9cd }, { 0xa01, 0xa02 }, { 0xa3c, 0xa3c }, { 0xa41, 0xa51 }, { 0xa70, 0xa71 },
  { 0xa81, 0xa82 }, { 0xabc, 0xabc }, { 0xac1, 0xac8 }, { 0xacd, 0xacd }, { 0xb01, 0xb01 }, { 0xb3c, 0xb3c },
  { 0xbc0, 0xbc0 }, { 0xbcd, 0xbcd }, { 0xc3e, 0xc40 }, { 0xc46, 0xc56 }, { 0xcbc, 0xcbc }, { 0xccc, 0xccd },
  { 0xd41, 0xd44 }, { 0xd4d, 0xd4d }, { 0xdca, 0xdca }, { 0xdd2, 0xdd6 }, { 0xe31, 0xe31 }, { 0xe34, 0xe3a },
  { 0xe47, 0xe4e }, { 0xeb1, 0xeb1 }, { 0xeb4, 0xebc }, { 0xec8, 0xecd }, { 0xf18, 0xf19 }, { 0xf35, 0xf39 },
  { 0xf71, 0xf7e }, { 0xf80, 0xf84 }, { 0xf86, 0xf87 }, { 0xf8d, 0xfbc }, { 0x102d, 0x1030 }, { 0x1032, 0x1037 },
  { 0x1039, 0x103a }, { 0x1160, 0x11ff }, { 0x135d, 0x135f }, { 0x17b4, 0x17b5 }, { 0x17b7, 0x17bd },
  { 0x17c6, 0x17c6 }, { 0x17c9, 0x17d3 }, { 0x180b, 0x180f }, { 0x1ab0, 0x1aff }, { 0x1dc0, 0x1dff },
  { 0x200b, 0x200f }, { 0x202a, 0x202e }, { 0x2060, 0x206f }, { 0x20d0, 0x20f0 }, { 0x302a, 0x302d },
  { 0x3099, 0x309a }, { 0xa66f, 0xa672 }, { 0xa674, 0xa67d }, { 0xa8e0, 0xa8f1 }, { 0xfb1e, 0xfb1e },
  { 0xfe00, 0xfe0f }, { 0xfe20, 0xfe2f }, { 0xfeff, 0xfeff }, { 0xe0001, 0xe007f },
  { 0xe0100, 0xe01ef },
}

--- Ranges of characters that take two columns: East Asian wide and full-width ones, and pictures.
local two = {
  { 0x1100, 0x115f }, { 0x231a, 0x231b }, { 0x2329, 0x232a }, { 0x23e9, 0x23ec }, { 0x23f0, 0x23f0 },
  { 0x23f3, 0x23f3 }, { 0x25fd, 0x25fe }, { 0x2614, 0x2615 }, { 0x2648, 0x2653 }, { 0x267f, 0x267f },
  { 0x2693, 0x2693 }, { 0x26a1, 0x26a1 }, { 0x26aa, 0x26ab }, { 0x26bd, 0x26be }, { 0x26c4, 0x26c5 },
  { 0x26ce, 0x26ce }, { 0x26d4, 0x26d4 }, { 0x26ea, 0x26ea }, { 0x26f2, 0x26f3 }, { 0x26f5, 0x26f5 },
  { 0x26fa, 0x26fa }, { 0x26fd, 0x26fd }, { 0x2705, 0x2705 }, { 0x270a, 0x270b }, { 0x2728, 0x2728 },
  { 0x274c, 0x274c }, { 0x274e, 0x274e }, { 0x2753, 0x2755 }, { 0x2757, 0x2757 }, { 0x2795, 0x2797 },
  { 0x27b0, 0x27b0 }, { 0x27bf, 0x27bf }, { 0x2b1b, 0x2b1c }, { 0x2b50, 0x2b50 }, { 0x2b55, 0x2b55 },
  { 0x2e80, 0x303e }, { 0x3041, 0x33ff }, { 0x3400, 0x4dbf }, { 0x4e00, 0x9fff }, { 0xa000, 0xa4cf },
  { 0xa960, 0xa97f }, { 0xac00, 0xd7a3 }, { 0xf900, 0xfaff }, { 0xfe10, 0xfe19 }, { 0xfe30, 0xfe6f },
  { 0xff01, 0xff60 }, { 0xffe0, 0xffe6 }, { 0x16fe0, 0x18cff }, { 0x1b000, 0x1b2ff }, { 0x1f004, 0x1f004 },
  { 0x1f0cf, 0x1f0cf }, { 0x1f18e, 0x1f18e }, { 0x1f191, 0x1f19a }, { 0x1f200, 0x1f320 }, { 0x1f32d, 0x1f335 },
  { 0x1f337, 0x1f37c }, { 0x1f37e, 0x1f393 }, { 0x1f3a0, 0x1f3ca }, { 0x1f3cf, 0x1f3d3 }, { 0x1f3e0, 0x1f3f0 },
  { 0x1f3f4, 0x1f3f4 }, { 0x1f3f8, 0x1f43e }, { 0x1f440, 0x1f440 }, { 0x1f442, 0x1f4fc }, { 0x1f4ff, 0x1f53d },
  { 0x1f54b, 0x1f54e }, { 0x1f550, 0x1f567 }, { 0x1f57a, 0x1f57a }, { 0x1f595, 0x1f596 }, { 0x1f5a4, 0x1f5a4 },
  { 0x1f5fb, 0x1f64f }, { 0x1f680, 0x1f6c5 }, { 0x1f6cc, 0x1f6cc }, { 0x1f6d0, 0x1f6d2 }, { 0x1f6d5, 0x1f6d7 },
  { 0x1f6dc, 0x1f6df }, { 0x1f6eb, 0x1f6ec }, { 0x1f6f4, 0x1f6fc }, { 0x1f7e0, 0x1f7eb }, { 0x1f90c, 0x1f93a },
  { 0x1f93c, 0x1f945 }, { 0x1f947, 0x1f9ff }, { 0x1fa70, 0x1faff }, { 0x20000, 0x3fffd },
}

local function is_in(ranges, c)
  local low, high = 1, #ranges
  while low <= high do
    local middle = math.floor((low + high) / 2)
    local range = ranges[middle]
    if c < range[1] then high = middle - 1 elseif c > range[2] then low = middle + 1 else return true end
  end
  return false
end

--- Columns that a character takes: 0, 1 or 2.
---@param c integer
---@return integer
function M.of_character(c)
  if c < 0x300 then return 1 end
  return is_in(none, c) and 0 or is_in(two, c) and 2 or 1
end

--- The character at a byte of UTF-8 text, and how many bytes it has. A byte that begins none is U+FFFD.
---@param text string
---@param at integer
---@return integer character, integer length
function M.decode(text, at)
  local b = text:byte(at)
  if b < 0x80 then return b, 1 end
  local more = b >= 0xc2 and b < 0xe0 and 1 or b >= 0xe0 and b < 0xf0 and 2 or b >= 0xf0 and b < 0xf5 and 3
  if not more or at + more > #text then return 0xfffd, 1 end
  local value = b % (more == 1 and 0x20 or more == 2 and 0x10 or 0x08)
  for k = 1, more do
    local next_byte = text:byte(at + k)
    if next_byte < 0x80 or next_byte >= 0xc0 then return 0xfffd, 1 end
    value = value * 64 + next_byte % 64
  end
  return value, more + 1
end

--- UTF-8 of a character.
function M.encode(c)
  if c < 0x80 then return string.char(c) end
  local floor = math.floor
  if c < 0x800 then return string.char(0xc0 + floor(c / 64), 0x80 + c % 64) end
  if c < 0x10000 then return string.char(0xe0 + floor(c / 4096), 0x80 + floor(c / 64) % 64, 0x80 + c % 64) end
  return string.char(0xf0 + floor(c / 262144), 0x80 + floor(c / 4096) % 64, 0x80 + floor(c / 64) % 64, 0x80 + c % 64)
end

--- Columns of a text without line ends; escape sequences for colours take none.
---@param text string
---@return integer
function M.of(text)
  text = text:gsub("\27%[[%d;]*m", "")
  if not text:find("[\128-\255]") then return #text end
  local columns, at = 0, 1
  while at <= #text do
    local c, length = M.decode(text, at)
    columns, at = columns + M.of_character(c), at + length
  end
  return columns
end

--- The beginning of a text that fits into so many columns; "…" says that something is cut off.
---@param text string without escape sequences
---@param columns integer
---@return string
function M.cut(text, columns)
  if M.of(text) <= columns then return text end
  local used, at = 0, 1
  while at <= #text do
    local c, length = M.decode(text, at)
    local wide = M.of_character(c)
    if used + wide > columns - 1 then break end
    used, at = used + wide, at + length
  end
  return columns < 1 and "" or text:sub(1, at - 1) .. "…"
end

--- The text with spaces up to so many columns; at the left of it when `right`.
function M.pad(text, columns, right)
  local space = (" "):rep(columns - M.of(text))
  return right and space .. text or text .. space
end

--- Where the character before byte `at` begins, combining marks included; 0-based offsets into the text, as the cursor.
function M.before(text, at)
  while at > 0 do
    repeat at = at - 1 until at == 0 or text:byte(at + 1) < 0x80 or text:byte(at + 1) >= 0xc0
    if M.of_character((M.decode(text, at + 1))) > 0 then break end
  end
  return at
end

--- Where the character after it ends.
function M.after(text, at)
  if at >= #text then return #text end
  local _, length = M.decode(text, at + 1)
  at = at + length
  while at < #text do
    local c, more = M.decode(text, at + 1)
    if M.of_character(c) > 0 then break end
    at = at + more
  end
  return at
end

--- Words in lines of so many columns; `indent`: before all but the first.
function M.wrap(text, columns, indent)
  local lines, line = {}, nil
  local first = text:match("^%s*")
  for word in text:gmatch("%S+") do
    if line and M.of(line) + 1 + M.of(word) > columns then
      lines[#lines + 1] = line
      line = nil
    end
    line = line and line .. " " .. word or (#lines > 0 and indent or first) .. word
  end
  lines[#lines + 1] = line
  return lines
end

return M
