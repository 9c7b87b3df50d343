--- Names that are nearly right: for messages about options, fields, words of the command line.
local M = {}

--- The number of insertions, deletions, substitutions and swaps of neighbours that turn one word into another
--- (Damerau-Levenshtein distance, where no piece is edited twice).
local function distance(a, b)
  local before, previous, current = {}, {}, {} -- three rows of the table of distances between prefixes
  for j = 0, #b do current[j] = j end
  for i = 1, #a do
    before, previous, current = previous, current, before
    current[0] = i
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      local best = math.min(previous[j] + 1, current[j - 1] + 1, previous[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        best = math.min(best, before[j - 2] + 1)
      end
      current[j] = best
    end
  end
  return current[#b]
end

--- The word of a list that is most like the given one: the first of those with the fewest typing errors between them.
---@param word string
---@param list string[]
---@return string? nearest  nil when the list is empty
---@return integer? errors  how many single edits apart they are
---@nodiscard
function M.nearest(word, list)
  local nearest, least
  for _, candidate in ipairs(list) do
    local errors = distance(word:lower(), candidate:lower())
    if not least or errors < least then nearest, least = candidate, errors end
  end
  return nearest, least
end

--- "; did you mean x?" when some word of the list is like the given one, else a list of them all.
---@param word string
---@param list string[]
---@return string
function M.suggestion(word, list)
  local nearest, errors = M.nearest(word, list)
  if nearest and errors <= math.max(2, math.floor(#word / 3)) then return "; did you mean " .. nearest .. "?" end
  return "; there are: " .. table.concat(list, ", ")
end

--- A message about an option that a function doesn't have.
---@param name any
---@param known table<string, any> by their names
---@return string
function M.unknown(name, known)
  local list = {}
  for each in pairs(known) do list[#list + 1] = each end
  table.sort(list)
  return ("unknown option '%s'%s"):format(tostring(name), list[1] and M.suggestion(tostring(name), list)
    or ": it has none")
end

return M
